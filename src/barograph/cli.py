"""The command line: the same verbs as the library. Exit codes: 0 fine, 1 a finding, 2 wrong use."""

import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

try:
    import typer
    from rich.markup import escape
    from rich.table import Table
except ModuleNotFoundError:
    sys.exit('The command line needs more than the library: pip install "barograph[serve]"')

from barograph import __version__, deciding, importing
from barograph.clock import Clock
from barograph.drill.verb import drill
from barograph.errors.verb import errors
from barograph.heuristics_job.verb import heuristics
from barograph.mixin.verb import mixin
from barograph.readying import readiness
from barograph.reference import Reference, ReferenceFileError
from barograph.terminal import FINDING, configured, counting, err, out, wrong

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="barograph",
    help="Monitoring for machine-learning models in production: service, output, outcomes, causes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
reference_app = typer.Typer(
    help="Freeze what normal looks like, look at it, and check rows against it.", no_args_is_help=True
)
app.add_typer(reference_app, name="reference")
labels_app = typer.Typer(help="Bring in what became true of predictions.", no_args_is_help=True)
app.add_typer(labels_app, name="labels")

STORE = ".barograph/tiles.duckdb"
StoreOption = Annotated[
    str | None, typer.Option(help=f"The evaluator's file of tiles (that of barograph.toml, else {STORE}).")
]


def main() -> None:
    """Entry point."""
    app()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(f"barograph {__version__}")
        raise typer.Exit


@app.command()
def demo(
    name: Annotated[str, typer.Argument(help="Which demo: flights.")] = "flights",
    speed: Annotated[float, typer.Option(help="How many times as fast as real time (at most 240).")] = 60.0,
    incident: Annotated[str, typer.Option(help="The fault to inject, or none.")] = "unit-change",
    after: Annotated[float, typer.Option(help="Seconds before it is injected, at least.")] = 60.0,
    port: Annotated[int, typer.Option(help="The console's port; the service takes the next one.")] = 8700,
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser.")] = False,
    duration: Annotated[
        float | None, typer.Option(help="Seconds after which it ends; else Ctrl-C does.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep model, reference and tiles here; else a temporary folder."),
    ] = None,
) -> None:
    """Watch a real model on real flights, and a silent fault in it being caught.

    Trains a classifier on the flights that left New York in 2013, serves it behind FastAPI, replays the weeks that follow as
    requests, and injects a fault that HTTP dashboards do not see. Everything runs on this machine and ends with Ctrl-C.
    """
    try:
        from barograph.demo.processes import DemoError
        from barograph.demo.run import run
    except ModuleNotFoundError as error:
        wrong(f'the demo needs {error.name}: pip install "barograph[demo]"')
    if name != "flights":
        wrong(f"demo {name!r} is not known; flights is")
    try:
        code = run(
            speed=speed,
            incident=incident,
            after=after,
            port=port,
            headless=headless,
            duration=duration,
            directory=directory,
        )
    except DemoError as error:
        wrong(str(error))
    raise typer.Exit(code)


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option(help="barograph.toml; by default the one in this folder, if there is one.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="A service to read, such as http://127.0.0.1:8701; may be repeated."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="prometheus=URL: take counts from its query API; no service is read then."),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option(help="With --source: references of the models, as a file or folder; may be repeated."),
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The console's port (8700).")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on (127.0.0.1).")] = None,
    store: Annotated[str | None, typer.Option(help=f"The file of tiles ({STORE}).")] = None,
    log: Annotated[
        str | None,
        typer.Option(help="Where services log predictions and labels, which are joined: a folder or URL."),
    ] = None,
    clock: Annotated[str, typer.Option(help="wall, or a simulated time: 2013-10-14T13:00:00Z@60.")] = "wall",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    """Read services, judge what they count, and serve the console.

    [bold]barograph serve --target http://127.0.0.1:8701[/bold] is all that a first look needs. Times are UTC.
    [bold]barograph serve --source prometheus=http://127.0.0.1:9090 --references models/[/bold] reads what Prometheus scraped.
    """
    from dataclasses import replace

    from barograph.config import Config, ConfigError, PrometheusConfig, TargetConfig, load
    from barograph.serve import ServeError, Server
    from barograph.tiles import TilesFileError

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        path = config or (Path("barograph.toml") if Path("barograph.toml").is_file() else None)
        settings = load(path) if path else Config()
        given = {"port": port, "host": host, "store": store, "log": log}
        settings = replace(settings, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
        if target:
            settings = replace(settings, targets=(*settings.targets, *(TargetConfig(t) for t in target)))
        if source is not None:
            kind, _, url = source.partition("=")
            if kind != "prometheus" or not url:
                wrong(f"--source: {source!r} is not known; write prometheus=http://127.0.0.1:9090")
            given_there = settings.prometheus or PrometheusConfig(url)
            settings = replace(settings, prometheus=replace(given_there, url=url))
        settings = replace(settings, references=(*settings.references, *(references or ())))
        if not settings.targets and settings.prometheus is None:
            err.print("No service to read yet: give --target, or targets in barograph.toml.")
        server = Server(settings, clock=Clock.parse(clock))
    except (ConfigError, ServeError, TilesFileError, ValueError) as error:
        wrong(str(error))
    err.print(f"barograph {__version__} on {server.url}, tiles in {settings.store}; Ctrl-C ends it")
    server.run()


@app.command()
def status(
    store: StoreOption = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Say how every model does. Exit code 1 where one needs action.

    Asks the running server; where none runs, reads the file.
    """
    document = _fleet(_store(store))
    if as_json:
        out.print_json(json.dumps(document))
    else:
        out.print(f"[bold]{escape(document['headline'])}[/bold]", highlight=False)
        table = Table(box=None, pad_edge=False)
        for heading in ("Model", "Version", "Status", "Predictions, 24 h", "Reason"):
            table.add_column(heading, justify="right" if heading.startswith("Pred") else "left")
        for model in document["models"]:
            name, version, reason = (escape(model[key]) for key in ("name", "version", "reason"))
            table.add_row(name, version, model["status"], f"{model['predictions']:,}", reason)
        out.print(table)
    raise typer.Exit(FINDING if document["status"] == "act" else 0)


@app.command()
def event(
    label: Annotated[str, typer.Argument(help="What happened: 'profile-service 4.12'.")],
    model: Annotated[str | None, typer.Option(help="The model that it concerns; else all.")] = None,
    store: StoreOption = None,
) -> None:
    """Tell of a change, so that pages show it beside what moved: a deployment of another service, a campaign."""
    import httpx

    from barograph.ledger import CHANGE, Event, Ledger
    from barograph.serve import Address

    path = _store(store)
    address = Address.of(path)
    if address is None:
        with _tiles(path) as tiles:
            Ledger(tiles).add_event(Event(Clock().now(), CHANGE, model, label))
    else:
        answer = address.post("/api/events", {"label": label, "model": model})
        if answer.status_code != httpx.codes.ACCEPTED:
            wrong(answer.json()["error"]["what"])
    out.print(f"Noted: {label}", highlight=False, markup=False)


@app.command()
def join(
    log: Annotated[str | None, typer.Option(help="Where services log (that of barograph.toml).")] = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Join labels to predictions now, and say what came of it.

    [bold]barograph serve --log predictions/[/bold] does so by itself; where it runs, it is asked to.
    """
    from barograph.serve import Address

    path = _store(store)
    address = Address.of(path)
    if address is None:
        found = _join_here(path, log or configured().log)
    else:
        answer = address.post("/api/join", timeout=600)
        if answer.is_error:
            wrong(answer.json()["error"]["what"])
        found = answer.json()["models"]
    if as_json:
        out.print_json(json.dumps(found))
        return
    names = ("predictions", "labels", "matched", "waiting", "corrected", "unreadable")
    table = Table("model", *names, box=None)
    for model, tally in found.items():
        table.add_row(escape(model), *(f"{tally.get(name, 0):,}" for name in names))
    out.print(table)


app.command("import")(importing.predictions)
labels_app.command("import")(importing.labels)


def _join_here(store: str, log: str | None) -> dict[str, dict[str, int]]:
    from barograph.config import Config
    from barograph.known import References
    from barograph.labels.joiner import Joiner
    from barograph.logs import Log
    from barograph.serve import join_folder, outcome_bins
    from barograph.sources import StoredReferences

    if log is None:
        wrong("--log: is not given, and barograph.toml names none; give where services log")
    with _tiles(store) as tiles:
        references = References(StoredReferences(tiles), Config())
        bins_of = partial(outcome_bins, tiles, references)
        joiner = Joiner(tiles, Log(log), join_folder(store), bins_of, now=Clock().now)
        with counting("rows joined") as step:
            found = joiner.join(step)
        joiner.keep()
        joiner.stop()
    for model, status in joiner.statuses.items():
        if status.error is not None:
            err.print(f"{model}: {status.error}", style="red", markup=False)
    return {model: dict(joined.tally) for model, joined in found.items()}


app.command()(deciding.mute)
app.command()(deciding.unmute)
app.command()(deciding.ack)
app.command("not-a-problem")(deciding.not_a_problem)
app.command()(mixin)
app.command()(heuristics)
app.command()(errors)
app.command()(drill)
app.command()(readiness)


@reference_app.command("fit")
def reference_fit(
    data: Annotated[
        Path, typer.Argument(help="Parquet or CSV: a labelled, held-out period close to production.")
    ],
    task: Annotated[str, typer.Option(help="binary, multiclass, regression or ranking.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The reference's file.")],
    score: Annotated[str | None, typer.Option(help="Column of the score.")] = None,
    prediction: Annotated[str | None, typer.Option(help="Column of the answer.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Score from which an answer is positive.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth.")] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of the time; without it, faults are judged, and drift is not.")
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="A feature; may be repeated. All other columns, if left out.")
    ] = None,
    limits: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Count the ranges in this model's limits (barograph.toml) to the row."
        ),
    ] = None,
) -> None:
    """Freeze what normal looks like into one JSON file."""
    frame = _read(data)
    others = {score, prediction, label, time}
    try:
        reference = Reference.fit(
            frame,
            task=task,
            features=_declared(frame, feature, others, limits) if limits else feature or None,
            score=score,
            prediction=prediction,
            threshold=threshold,
            label=label,
            time=time,
        )
    except ValueError as error:
        wrong(str(error))
    try:
        reference.save(output)
    except OSError as error:
        wrong(f"--output: cannot write {str(output)!r} ({error.strerror})")
    out.print(f"{output}: {reference.describe()}, id {reference.id}", highlight=False)


@reference_app.command("show")
def reference_show(file: Annotated[Path, typer.Argument(help="A reference's file.")]) -> None:
    """Say what a reference holds."""
    reference = _load(file)
    out.print(f"[bold]{file}[/bold]  {reference.describe()}", highlight=False)
    out.print(
        f"id {reference.id}, bins {reference.bins.id}, made with Python {reference.environment.get('python', '?')}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("Column", "Kind", "Role", "Slots", "Missing", "Range or categories"):
        table.add_column(heading, justify="right" if heading in ("Slots", "Missing") else "left")
    for column in reference.schema.columns:
        bins = reference.bins.columns[column.name]
        counts = reference.baseline.column(column.name)[0]
        missing = counts[bins.missing] / max(counts.sum(), 1)
        reach = f"{bins.low:g} to {bins.high:g}" if bins.kind == "numeric" else ", ".join(bins.categories[:6])  # type: ignore[union-attr]
        table.add_row(
            escape(column.name), column.kind, column.role, str(bins.size), f"{missing:.1%}", escape(reach)
        )
    out.print(table)


@reference_app.command("check")
def reference_check(
    file: Annotated[Path, typer.Argument(help="A reference's file.")],
    data: Annotated[Path, typer.Argument(help="Parquet or CSV: rows that a model is to see.")],
    most: Annotated[int, typer.Option(help="How many violations to print.")] = 20,
) -> None:
    """Say what in rows breaks the reference's schema, before a model sees them. Exit code 1 where something does."""
    reference = _load(file)
    rows = _read(data)
    found = reference.check(rows.select([name for name in rows.column_names if name in reference.schema]))
    for violation in found[:most]:
        out.print(violation.text, highlight=False, markup=False)
    if len(found) > most:
        out.print(f"and {len(found) - most:,} more")
    out.print(f"{len(found):,} violations" if found else "No violation")
    raise typer.Exit(FINDING if found else 0)


def _declared(frame: Any, features: list[str] | None, others: set[str | None], model: str) -> Any:
    """The features with the ranges that the owner of a model allows."""
    from barograph.limited import declared
    from barograph.schema import Schema

    models = configured().models
    if model not in models:
        wrong(f"--limits: barograph.toml has no model {model!r}; it has {', '.join(models) or 'none'}")
    names = features or [name for name in frame.column_names if name not in others]
    return declared(Schema.infer(frame, names), models[model].limits)


def _store(given: str | None) -> str:
    """The store that is meant: as given, else as barograph.toml says."""
    return given or configured().store


def _fleet(store: str) -> dict[str, Any]:
    import httpx

    from barograph.config import Config
    from barograph.console.pages import fleet
    from barograph.console.state import Span, State
    from barograph.known import References
    from barograph.ledger import Ledger
    from barograph.serve import Address
    from barograph.sources import StoredReferences

    address = Address.of(store)
    if address is not None:
        found: dict[str, Any] = httpx.get(f"{address.url}/api/fleet", timeout=30, trust_env=False).json()
        return found
    with _tiles(store) as tiles:
        references = References(StoredReferences(tiles), Config())
        return fleet(State(tiles, Ledger(tiles), references, Config(), list), Span("24h", Clock().now()))


def _tiles(store: str) -> Any:
    from barograph.tiles import Tiles, TilesFileError

    if not Path(store).is_file():
        wrong(f"--store: there is no {store!r}; barograph serve makes it")
    try:
        return Tiles(store)
    except TilesFileError as error:
        wrong(str(error))


def _read(path: Path) -> Any:
    import duckdb

    if not path.is_file():
        wrong(f"{str(path)!r} is no file; give a Parquet or CSV file")
    try:
        relation = duckdb.sql(f"SELECT * FROM '{str(path).replace(chr(39), chr(39) * 2)}'")
        return None if relation is None else relation.to_arrow_table()
    except duckdb.Error as error:
        wrong(f"{path}: {error}")


def _load(path: Path) -> Reference:
    try:
        return Reference.load(path)
    except ReferenceFileError as error:
        wrong(str(error))


if __name__ == "__main__":
    main()
