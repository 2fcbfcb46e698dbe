"""What the demo does before its pages are up: load, train, freeze, backfill, start. A line of progress for each."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from barograph import Clock
from barograph.clock import parse_time
from barograph.demo import arrival, flights, processes
from barograph.demo import model as artefacts
from barograph.demo.backfill import backfill
from barograph.demo.incidents import Incident
from barograph.demo.live import Show
from barograph.demo.processes import Child
from barograph.naming import DIRECTORY_VARIABLE

STORE = "flight-delay.duckdb"
COUNTERS, PAST_COUNTERS, LOG = "counters", "past-counters", "log"
HEAD_START = (
    4.0  # seconds of wall time for processes to start in, before the clock reaches the first live flight
)


def prepare(
    out: Console, place: Path, children: list[Child], speed: float, fault: Incident, after: float, port: int
) -> Show:
    """Bring everything up in the directory `place`; processes join `children` as they start.

    Raises:
        ChildError: a process did not come up.
        DemoDataMissing: the flights are not installed.
    """
    begin = time.monotonic()
    service, pages = f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port}"
    rows = _past(out, place)
    with out.status("Start the service and the console"):
        clock = Clock(start=parse_time(artefacts.LIVE), origin=time.time() + HEAD_START, speed=speed)
        children += _start(place, clock, port)
        processes.wait_until_ready(children[0], f"{service}/metrics")
        processes.wait_until_ready(children[1], f"{pages}/-/ready")
    seconds = time.monotonic() - begin
    out.print(f"Ready in {seconds:.0f} s. What it writes lies in {place}", markup=False, soft_wrap=True)
    live = rows[rows["departed_at"] >= pd.Timestamp(artefacts.LIVE)]
    landing = rows[rows["landed_at"] >= pd.Timestamp(artefacts.LIVE)].sort_values("landed_at")
    return Show(out, clock, live, landing, fault, after, pages, service, children)


def _past(out: Console, place: Path) -> pd.DataFrame:
    """Load, train, freeze, backfill; answers all flights."""
    columns = (SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.description}"), BarColumn(8))
    with Progress(*columns, TimeElapsedColumn(), console=out) as progress:
        with _step(progress, "Load the flights of 2013") as said:
            rows = flights.load()
            said.append(f"{len(rows):,} with their weather")
        training = flights.between(rows, *artefacts.TRAINING)
        held_out = flights.between(rows, *artefacts.REFERENCE)
        with _step(progress, "Train two models") as said:
            model, second = artefacts.train(training), arrival.train(training)
            artefacts.save(model, place)
            arrival.save(second, place)
            said.append(f"{len(training):,} flights, AUC {artefacts.auc(model, held_out):.2f} on later weeks")
        with _step(progress, "Freeze their references") as said:
            reference = artefacts.freeze(model, held_out, training)
            reference.save(place / artefacts.REFERENCE_FILE)
            arrival.freeze(second, held_out, training).save(place / arrival.REFERENCE_FILE)
            said.append(f"{reference.baseline.rows:,} labelled flights of five weeks")
        with _step(progress, "Backfill history") as said:
            task = progress.task_ids[-1]
            for share, count in backfill(rows, place, place / STORE, place / PAST_COUNTERS, place / LOG):
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
    (place / COUNTERS).mkdir()
    service = [
        "barograph.demo.service",
        "--dir",
        str(place),
        "--port",
        str(port + 1),
        "--clock",
        str(clock),
        "--log",
        str(place / LOG),
    ]
    serve = [
        "barograph", "serve", "--target", f"http://127.0.0.1:{port + 1}", "--port", str(port),
        "--store", str(place / STORE), "--clock", str(clock), "--log", str(place / LOG),
    ]  # fmt: skip
    return [
        processes.start("service", service, place, **{DIRECTORY_VARIABLE: str(place / COUNTERS)}),
        processes.start("serve", serve, place),
    ]
