"""`barograph demo`: a real service, monitored, and a silent fault in it that is caught, on this machine alone.

This process trains the model, freezes the reference, backfills history and sends traffic; the service and `barograph serve`
are processes of their own, as they would be anywhere. All of them read one simulated clock.
"""

import contextlib
import shutil
import signal
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from barograph import Clock
from barograph.clock import parse_time
from barograph.demo import flights, processes
from barograph.demo import model as artefacts
from barograph.demo.backfill import backfill
from barograph.demo.incidents import find
from barograph.demo.live import Show, play
from barograph.demo.processes import Child, ChildError, DemoError
from barograph.naming import DIRECTORY_VARIABLE

MOST_SPEED = 240.0
PORT = 8700
STORE = "flight-delay.duckdb"
COUNTERS, PAST_COUNTERS = "counters", "past-counters"
HEAD_START = (
    4.0  # seconds of wall time for processes to start in, before the clock reaches the first live flight
)


def run(
    *,
    speed: float = 60.0,
    incident: str = "unit-change",
    port: int = PORT,
    headless: bool = False,
    duration: float | None = None,
    directory: str | Path | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo until Ctrl-C, or for `duration` seconds after its pages are up; the exit status, 0 or 1.

    `speed` is simulated seconds a second, at most 240; `incident` a name of `incidents.INCIDENTS`; the console listens on
    `port` of 127.0.0.1, the service on the next one. `directory` keeps the model, the reference, the tiles and the logs;
    without it they go with the demo. `console` takes what it says.

    Raises:
        DemoError: an argument that cannot be, a port that is taken, data that is not installed.
    """
    _check(speed, incident, duration)
    out = Console(highlight=False) if console is None else console
    children: list[Child] = []
    try:
        processes.require_free([port, port + 1])
        with _interruptible(), _directory(directory) as place, contextlib.ExitStack() as ending:
            ending.callback(processes.stop, children)
            show = _set_up(out, place, children, speed=speed, incident=incident, port=port)
            if not headless:
                webbrowser.open(show.pages)
            play(show, duration)
    except (PermissionError, flights.DemoDataMissing) as error:
        raise DemoError(str(error)) from error
    except ChildError as error:
        out.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        pass
    out.print("The demo has ended, with all its processes.")
    return 0


def _check(speed: float, incident: str, duration: float | None) -> None:
    try:
        find(incident)
    except ValueError as error:
        raise DemoError(str(error)) from None
    if not 0 < speed <= MOST_SPEED:
        raise DemoError(
            f"speed: {speed:g} is not above 0 and at most {MOST_SPEED:g}, where the console reads the service four times "
            "a second; a faster clock would blur its minutes"
        )
    if duration is not None and not duration >= 0:
        raise DemoError(f"duration: {duration:g} seconds; it must be 0 or more")


@contextlib.contextmanager
def _directory(given: str | Path | None) -> Iterator[Path]:
    """A place that nobody else can write to: removed at the end, unless it was asked for by name."""
    if given is None:
        with tempfile.TemporaryDirectory(prefix="barograph-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    place = Path(given).resolve()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    artefacts.require_private(place)
    for old in (STORE, f"{STORE}.wal"):  # each run begins at the same moment: what it counts would add up
        (place / old).unlink(missing_ok=True)
    for old in (COUNTERS, PAST_COUNTERS):
        shutil.rmtree(place / old, ignore_errors=True)
    yield place


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """A closed terminal and a plain `kill` end the demo as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _set_up(
    out: Console, place: Path, children: list[Child], *, speed: float, incident: str, port: int
) -> Show:
    """Everything up to the moment at which the pages are up."""
    begin = time.monotonic()
    service, pages = f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port}"
    rows = _prepare(out, place)
    with out.status("Start the service and the console"):
        clock = Clock(start=parse_time(artefacts.LIVE), origin=time.time() + HEAD_START, speed=speed)
        children += _start(place, clock, port)
        processes.wait_until_ready(children[0], f"{service}/metrics")
        processes.wait_until_ready(children[1], f"{pages}/-/ready")
    out.print(
        f"Ready in {time.monotonic() - begin:.0f} s. What it writes lies in {escape(str(place))}",
        soft_wrap=True,
    )
    live = rows[rows["departed_at"] >= pd.Timestamp(artefacts.LIVE)]
    return Show(out, clock, live, find(incident), pages, service, children)


def _prepare(out: Console, place: Path) -> pd.DataFrame:
    """Load, train, freeze, backfill; answers all flights."""
    columns = (SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.description}"), BarColumn(10))
    with Progress(*columns, TimeElapsedColumn(), console=out) as progress:
        with _step(progress, "Load the flights of 2013") as said:
            rows = flights.load()
            said.append(f"{len(rows):,}, with the weather of their hour")
        training = flights.between(rows, *artefacts.TRAINING)
        held_out = flights.between(rows, *artefacts.REFERENCE)
        with _step(progress, "Train a model") as said:
            model = artefacts.train(training)
            artefacts.save(model, place)
            said.append(f"{len(training):,} flights, AUC {artefacts.auc(model, held_out):.2f} on later weeks")
        with _step(progress, "Freeze the reference") as said:
            reference = artefacts.freeze(model, held_out, training)
            reference.save(place / artefacts.REFERENCE_FILE)
            said.append(f"{reference.baseline.rows:,} labelled flights of five weeks")
        with _step(progress, "Backfill history") as said:
            task = progress.task_ids[-1]
            counters = place / PAST_COUNTERS
            counters.mkdir()
            past = backfill(rows, model, reference, place / artefacts.MODEL_FILE, place / STORE, counters)
            for share, count in past:
                progress.update(task, completed=share, description=f"Backfill history: {count:,} predictions")
            said.append(f"{count:,} predictions, {artefacts.HISTORY_DAYS} days")
    return rows


@contextlib.contextmanager
def _step(progress: Progress, title: str) -> Iterator[list[str]]:
    """A line of progress; what is put into the list is said at its end."""
    task = progress.add_task(title, total=1.0)
    said: list[str] = []
    yield said
    progress.update(task, completed=1.0, description=": ".join([title, *said]))


def _start(place: Path, clock: Clock, port: int) -> list[Child]:
    counters = place / COUNTERS
    counters.mkdir()
    service = ["barograph.demo.service", "--dir", str(place), "--port", str(port + 1), "--clock", str(clock)]
    serve = [
        "barograph", "serve", "--target", f"http://127.0.0.1:{port + 1}", "--port", str(port),
        "--store", str(place / STORE), "--clock", str(clock),
    ]  # fmt: skip
    return [
        processes.start(
            "service", service, place, **{DIRECTORY_VARIABLE: str(counters), "OMP_NUM_THREADS": "1"}
        ),
        processes.start("serve", serve, place),
    ]
