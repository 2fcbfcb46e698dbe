"""`barograph drill`: the verb of the command line."""

import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from barograph.terminal import FINDING, configured, err, out, wrong

if TYPE_CHECKING:
    from barograph.config import Config
    from barograph.drill.incidents import Incident
    from barograph.drill.reading import Columns
    from barograph.drill.report import Clean, Report, Result
    from barograph.drill.rows import Rows
    from barograph.drill.world import Model

WORKERS = 2
OUTPUT = "drills"


@dataclass(frozen=True, eq=False)
class Plan:
    """What a process needs to drill a model by itself; `made` gives the model, `incidents` those of the configuration."""

    make: Callable[[], "Model"]
    folder: Path
    magnitude: float | None
    days: int | None
    incidents: Mapping[str, str]


def drill(
    source: Annotated[
        str | None,
        typer.Argument(
            help="Logged predictions: a file or URL (CSV, Parquet, NDJSON; * for many). Else the log."
        ),
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="The model's reference.")] = None,
    model: Annotated[str | None, typer.Option(help="The model; with --demo one of its two.")] = None,
    incident: Annotated[
        str, typer.Option(help="One incident by its name, several with commas, or all.")
    ] = "all",
    magnitude: Annotated[
        float | None,
        typer.Option(help="How large: 0.02 is 2 % of the rows. Else the smallest that is caught."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="How long each is watched, at most.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the JSON and the page.")] = Path(
        OUTPUT
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    require: Annotated[
        str | None, typer.Option(help="Incidents that must be caught, with commas, or all: else exit code 1.")
    ] = None,
    clean: Annotated[
        int | None, typer.Option(min=1, help="Instead: so many clean months of the rows' own days.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The two models of barograph demo.")] = False,
    scorer: Annotated[
        str | None,
        typer.Option(
            help="MODULE:FUNCTION that scores a dict of columns: else answers stay as they were logged."
        ),
    ] = None,
    log: Annotated[str | None, typer.Option(help="Where services log (that of barograph.toml).")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times. Else the reference's.")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the score. Else the reference's.")] = None,
    prediction: Annotated[
        str | None, typer.Option(help="Column of the answer. Else the reference's.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth. Else the reference's.")] = None,
    label_time: Annotated[
        str | None, typer.Option(help="Column of when it was known. Else a day after the prediction.")
    ] = None,
    id: Annotated[str | None, typer.Option(help="Column of ids.")] = None,
    duration: Annotated[str | None, typer.Option(help="Column of how long each took, seconds.")] = None,
    events: Annotated[str | None, typer.Option(help="Column of business events that came of each.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="barograph.toml; by default the one in this folder, if there is one.")
    ] = None,
) -> None:
    """Inject faults into recorded traffic, and say which would be caught, how soon, and from what size on.

    [bold]barograph drill --demo[/bold] shows it on two models.

    [bold]barograph drill "scored-*.parquet" --model fraud --reference fraud.reference.json[/bold] does so with rows of your own;
    without a file, with those of the log. They go through the code that serves and judges live ones, on a clock of their own:
    nothing of a running server is touched. [bold]--clean 12[/bold] counts the alarms of twelve months without any fault.
    """
    from barograph.drill.incidents import INCIDENTS
    from barograph.drill.months import clean_months
    from barograph.drill.reading import Columns, DrillError
    from barograph.drill.report import Report
    from barograph.history.named import Named

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = configured(config)
    own = dict(settings.drill.incidents)
    known = {**dict.fromkeys(INCIDENTS), **own}
    chosen, wanted = _names("--incident", incident, known), _names("--require", require, known)
    for undrilled in set(wanted) - set(chosen):
        wrong(f"--require: {undrilled!r} is not drilled; name it in --incident, too")
    if magnitude is not None and not magnitude >= 0:
        wrong(f"--magnitude: {magnitude:g} is below 0; 0.02 is 2 % of the rows")
    if not demo and (model is None or reference is None):
        lacking = "--model" if model is None else "--reference"
        wrong(f"{lacking}: is not given; name the model and its reference, or see --demo")
    named = Named(time, score, prediction, label, label_time, id)
    began, command = _now(), shlex.join(["barograph", *sys.argv[1:]])
    report = Report(began, command)
    try:
        with _interruptible(), tempfile.TemporaryDirectory(prefix="barograph-drill-") as name:
            place = Path(name)
            makers = (
                _demo(place, model)
                if demo
                else {
                    str(model): _Own(
                        source, Path(str(reference)), str(model), Columns(named, duration, events),
                        log or settings.log, scorer, settings, days,
                    )
                }
            )  # fmt: skip
            plans = {n: Plan(make, place / n, magnitude, days, own) for n, make in makers.items()}
            if clean is not None:
                with _progress() as bar:
                    task = bar.add_task("days", total=clean * 28 * len(plans))
                    months = [
                        clean_months(p.make(), p.folder, clean, lambda n: bar.advance(task, n))
                        for p in plans.values()
                    ]
                report = replace(report, months=tuple(months))
            else:
                report = _drills(report, plans, chosen)
    except DrillError as error:
        wrong(str(error))
    except BrokenProcessPool:
        wrong("a process of the drills was killed, for its memory perhaps; give fewer rows")
    except KeyboardInterrupt:
        err.print("Interrupted: nothing is written.")
        raise typer.Exit(130) from None
    try:
        page, document = report.save(output)
    except OSError as error:
        wrong(f"--output: cannot write into {str(output)!r} ({error.strerror})")
    if as_json:
        out.print_json(report.to_json())
    else:
        _print(report)
        err.print(f"Written: {page}, {document}", highlight=False, markup=False)
    missed = sorted({r.name for r in report.results if r.name in wanted and not r.caught})
    if require is not None and missed:
        err.print(f"Not caught: {', '.join(missed)}", highlight=False, markup=False)
        raise typer.Exit(FINDING)


def _names(option: str, given: str | None, known: Mapping[str, object]) -> list[str]:
    """The incidents that are meant; wrong use where one is not known."""
    import difflib

    if given is None:
        return []
    names = list(known) if given == "all" else [n.strip() for n in given.split(",")]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            wrong(f"{option}: {name!r} is no incident; {hint}")
    return names


@dataclass(frozen=True, eq=False)
class _Own:
    """A user's model: read anew in each process."""

    source: str | None
    reference: Path
    model: str
    columns: "Columns"
    log: str | None
    scorer: str | None
    config: "Config"
    days: int | None

    def __call__(self) -> "Model":
        from barograph.drill.reading import DrillError, from_files, from_log, moment_of
        from barograph.drill.world import Model
        from barograph.logs import Log
        from barograph.reference import Reference, ReferenceFileError

        try:
            reference = Reference.load(self.reference)
        except ReferenceFileError as error:
            raise DrillError(str(error)) from None
        if self.source is None and self.log is None:
            raise DrillError("SOURCE: is not given, and neither is --log, nor does barograph.toml name one")
        if self.source is not None:
            rows = from_files(self.source, reference, self.columns)
        else:
            rows = from_log(Log(str(self.log)), self.model, reference)
        _require_answers(rows, reference)
        start = moment_of(rows, self.days or _spare(rows))
        return Model(self.model, reference, rows, start, self.config, _function(self.scorer))


def _spare(rows: "Rows") -> float:
    """Days after the fault: four weeks where that leaves four before, else a quarter of what there is, three at least."""
    span = (rows.time[-1] - rows.time[0]) / 86_400
    return float(min(29.0, max(3.0, span / 2 if span >= 57 else span / 4)))


def _require_answers(rows: "Rows", reference: Any) -> None:
    from barograph.drill.reading import DrillError

    if rows.score is None and rows.prediction is None:
        raise DrillError("--score: is not given, and neither is --prediction; name what the model answered")
    if reference.task == "binary" and rows.score is None and "score" in reference.bins.columns:
        raise DrillError("--score: is not given, and the reference has one; name its column")


def _function(scorer: str | None) -> Any:
    from barograph.drill.reading import DrillError
    from barograph.heuristics import HeuristicError, load

    if scorer is None:
        return None
    try:
        (found,) = load([scorer], Path.cwd())
    except HeuristicError as error:
        raise DrillError(f"--scorer: {str(error).removeprefix('heuristics: ')}") from None
    return found.function


@dataclass(frozen=True, eq=False)
class _OfDemo:
    folder: Path
    name: str

    def __call__(self) -> "Model":
        from barograph.drill.demo import models

        return models(self.folder, self.name)


def _demo(place: Path, model: str | None) -> dict[str, Callable[[], "Model"]]:
    """The demo's models, trained now."""
    try:
        from barograph.demo.flights import DemoDataMissing
        from barograph.drill.demo import NAMES, prepare
    except ModuleNotFoundError as error:
        wrong(f'the demo needs {error.name}: pip install "barograph[demo]"')
    if model not in (None, *NAMES):
        wrong(f"--model: {model!r} is not one of the demo's, {', '.join(NAMES)}")
    try:
        with err.status("The demo") as status:
            for step in prepare(place):
                status.update(step)
    except DemoDataMissing as error:
        wrong(str(error))
    return {name: _OfDemo(place, name) for name in NAMES if model in (None, name)}


# Two processes share the drills: of two models each takes one first, and then what is left.

_RUNNERS: dict[str, Any] = {}


def _one(plan: Plan, name: str) -> "tuple[Result, Clean | None]":
    """A drill, in a process that keeps its models."""
    from barograph.drill.report import Clean
    from barograph.drill.runner import Runner

    key = str(plan.folder)
    if key not in _RUNNERS:
        _RUNNERS[key] = Runner(plan.make(), plan.folder)
    runner = _RUNNERS[key]
    result = runner.drill(_incident(name, plan.incidents), plan.magnitude, plan.days)
    course = runner.clean_course
    if course is None:
        return result, None
    began = {
        (*k, a.since): a
        for firing in course.firing
        for k, a in firing.items()
        if a.since >= runner.model.start
    }
    days = (course.at[-1] - runner.model.start) / 86_400
    return result, Clean.of(runner.model.name, days, began.values())


def _incident(name: str, own: Mapping[str, str]) -> "Incident":
    from barograph.drill.incidents import INCIDENTS, of_user
    from barograph.drill.reading import DrillError
    from barograph.heuristics import HeuristicError, load

    if name not in own:
        return INCIDENTS[name]
    try:
        (found,) = load([own[name]], Path.cwd())
    except HeuristicError as error:
        raise DrillError(f"drill.incidents: {str(error).removeprefix('heuristics: ')}") from None
    return of_user(name, found.function)


def _prepared(plan: Plan, names: Sequence[str]) -> str:
    from barograph.drill.runner import Runner

    model = plan.make()
    runner = _RUNNERS[str(plan.folder)] = Runner(model, plan.folder)
    runner.prepare()
    runner.clean(
        max(
            (i.days for n in names if runner.applies(i := _incident(n, plan.incidents), plan.days)), default=2
        )
    )
    return model.name


def _drills(report: "Report", plans: Mapping[str, Plan], chosen: Sequence[str]) -> "Report":
    """All drills of all models, in two processes where there is more than one."""
    jobs = [(plan, name) for plan in plans.values() for name in chosen]
    found: dict[tuple[str, str], Result] = {}
    cleans: dict[str, Clean] = {}
    with _progress() as bar, ExitStack() as ending:
        task = bar.add_task("history", total=len(plans) + len(jobs))
        if len(jobs) == 1:
            (plan, name) = jobs[0]
            _prepared(plan, [name])
            bar.advance(task)
            results: Iterator[tuple[Plan, str, Any]] = iter([(plan, name, _one(plan, name))])
        else:
            results = _shared(ending, plans, jobs, lambda: bar.advance(task))
        for plan, name, (result, clean) in results:
            bar.update(task, advance=1, description=f"{result.model}: {name}")
            found[str(plan.folder), name] = result
            if clean is not None and clean.days > getattr(cleans.get(result.model), "days", 0.0):
                cleans[result.model] = clean
    ordered = [found[str(plan.folder), name] for plan, name in jobs]
    return replace(report, results=tuple(ordered), clean=tuple(cleans.values()))


def _shared(
    ending: ExitStack, plans: Mapping[str, Plan], jobs: Sequence[tuple[Plan, str]], step: Callable[[], object]
) -> Iterator[tuple[Plan, str, Any]]:
    """Results as they come, of processes that end with this one, whatever ends it."""
    pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), initializer=_end_at_once)
    ending.callback(pool.shutdown, cancel_futures=True)
    for made in as_completed(
        [pool.submit(_prepared, plan, [n for p, n in jobs if p is plan]) for plan in plans.values()]
    ):
        made.result()
        step()
    futures: dict[Future[Any], tuple[Plan, str]] = {pool.submit(_one, *job): job for job in jobs}
    for future in as_completed(futures):
        yield (*futures[future], future.result())


def _end_at_once() -> None:
    """Ctrl-C reaches all processes of a terminal: what this one has under way is for nothing then."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))


@contextmanager
def _interruptible() -> Iterator[None]:
    """A plain `kill` ends it as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        yield bar


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(report: "Report") -> None:
    from barograph.drill.report import (
        HEADINGS,
        MONTH_HEADINGS,
        RAISED_HEADINGS,
        cells,
        clean_text,
        month_cells,
        raised_cells,
    )

    if report.months:
        _table(MONTH_HEADINGS, [month_cells(m) for m in report.months])
    for model in dict.fromkeys(r.model for r in report.results):
        out.print(f"[bold]{escape(model)}[/bold]", highlight=False)
        for one in report.clean:
            if one.model == model:
                out.print(clean_text(one), highlight=False)
                if one.raised:
                    _table(RAISED_HEADINGS, [raised_cells(r) for r in one.raised])
        _table(HEADINGS, [cells(r) for r in report.results if r.model == model])


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)
