"""History, so that the pages are full at once: past flights through the same code as live ones.

The last day goes through the service itself, request by request: its application is called in this process, without a socket
between. The weeks before go through a Monitor in batches, with the model's real answers; how long those took nobody measured,
and the pages say so. After each step a snapshot is taken, and what it grew by is added to the tiles, as `barograph serve` does.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from barograph import Clock, Monitor, Reference
from barograph.clock import parse_time
from barograph.counters import Snapshot
from barograph.demo import model as artefacts
from barograph.demo.flights import FEATURES, seconds
from barograph.demo.replay import Departure, departures, landings
from barograph.demo.service import create_app
from barograph.increments import increments
from barograph.naming import REQUEST_ID_HEADER
from barograph.sources import StoredReferences
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Retention, Tiles

FINE = 600  # seconds: the steps of the days of which minutes are kept; an hour before that
TOGETHER = 24  # steps that are stored together
Landed = deque[tuple[float, dict[str, Any]]]  # when a flight landed, and its label
Steps = Iterator[tuple[list[Increment], float, int]]  # what grew, the clock, the flights


def backfill(
    rows: pd.DataFrame,
    model: Pipeline,
    reference: Reference,
    directory: Path,
    store: Path,
    counters: Path,
    log: Path,
) -> Iterator[tuple[float, int]]:
    """Put the flights of the 28 days before LIVE into the tiles at `store`; yields the share done, and the flights so far.

    The model and the reference lie in `directory`; monitors count in `counters`, which is made, and log to `log`.
    """
    end = parse_time(artefacts.LIVE)
    start, served = end - artefacts.HISTORY_DAYS * DAY, end - DAY
    past = _between(rows, start, end)
    landed = deque(landings(past.sort_values("landed_at")))
    parts = (
        _recorded(
            _between(past, start, served),
            landed,
            model,
            reference,
            directory,
            counters / "recorded",
            log,
            start,
            served,
        ),
        _served(_between(past, served, end), landed, directory, counters / "served", log, served, end),
    )
    with Tiles(store) as tiles:
        StoredReferences(tiles)[reference.id] = reference.to_json()
        tiles.expire(end)  # what is older than minutes are kept then goes to its hour
        total, kept = 0, list[Increment]()
        for i, (grown, moment, count) in enumerate(step for part in parts for step in part):
            kept += grown
            total += count
            if i % TOGETHER == 0 or moment == end:
                tiles.add(kept)
                kept = []
                yield (moment - start) / (end - start), total
        tiles.roll_up(end)


def _between(rows: pd.DataFrame, start: float, end: float) -> pd.DataFrame:
    times = seconds(rows["departed_at"])
    return rows[(times >= start) & (times < end)]


def _recorded(
    rows: pd.DataFrame,
    landed: Landed,
    model: Pipeline,
    reference: Reference,
    directory: Path,
    counters: Path,
    log: Path,
    start: float,
    end: float,
) -> Steps:
    """In batches, one a step."""
    counters.mkdir(parents=True)
    times, features, scores = (
        seconds(rows["departed_at"]),
        rows[list(FEATURES)],
        artefacts.scores(model, rows),
    )
    monitor = Monitor(
        artefacts.NAME,
        version=artefacts.VERSION,
        reference=reference,
        artifact=directory / artefacts.MODEL_FILE,
        config=artefacts.CONFIG,
        clock=_standing(start),
        directory=counters,
        log=log,
    )
    ids = rows["id"].to_numpy()
    with monitor:
        low = 0
        for begin, moment in steps(start, end, end + DAY - Retention().minutes * DAY):
            before, high = _snapshot(monitor, begin), int(np.searchsorted(times, moment))
            if high > low:
                monitor.record(
                    features.iloc[low:high], score=scores[low:high], time=times[low:high], id=ids[low:high]
                )
            _tell(monitor, landed, moment)
            yield increments(before, _snapshot(monitor, moment)), moment, high - low
            low = high


def _served(
    rows: pd.DataFrame, landed: Landed, directory: Path, counters: Path, log: Path, start: float, end: float
) -> Steps:
    """Request by request, through the service's application."""
    counters.mkdir(parents=True)
    app = create_app(directory, _standing(start), counters, log)
    monitor: Monitor = app.state.monitor
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")
    coming = list(departures(rows))
    with monitor, asyncio.Runner() as runner:
        for begin, moment in steps(start, end, start):
            due = [d for d in coming if begin <= d.time < moment]
            before = _snapshot(monitor, begin)
            runner.run(_ask(client, monitor, due))
            _tell(monitor, landed, moment)
            yield increments(before, _snapshot(monitor, moment)), moment, len(due)
        runner.run(client.aclose())


async def _ask(client: httpx.AsyncClient, monitor: Monitor, due: list[Departure]) -> None:
    for departure in due:
        monitor.clock = _standing(departure.time)
        headers = {REQUEST_ID_HEADER: departure.id}
        answer = await client.post("/predict", json=departure.features, headers=headers)
        answer.raise_for_status()


def _tell(monitor: Monitor, landed: Landed, moment: float) -> None:
    """Tell of the flights that have landed by a moment whether they were late."""
    labels = []
    while landed and landed[0][0] < moment:
        time, label = landed.popleft()
        labels.append((label["id"], float(label["label"]), time, None))
    monitor.clock = _standing(moment)
    monitor.store_feedback(labels)


def _snapshot(monitor: Monitor, moment: float) -> Snapshot:
    monitor.clock = _standing(moment)
    return monitor.snapshot()


def _standing(moment: float) -> Clock:
    return Clock(start=moment, speed=0.0)


def steps(start: float, end: float, fine_from: float) -> Iterator[tuple[float, float]]:
    """The clock before and after each step from `start` to `end`, epoch seconds.

    Steps of ten minutes adjoin: their flights spread over their minutes. Those before `fine_from` end with their hour, and
    their clock passes but its last minute: the hour is all that is kept, so nothing is gained by spreading over sixty minutes
    what is added up again at once.

    >>> list(steps(0.0, 9000.0, 7200.0))
    [(3540.0, 3600.0), (7140.0, 7200.0), (7200.0, 7800.0), (7800.0, 8400.0), (8400.0, 9000.0)]
    """
    moment = start
    while moment < end:
        begin, step = moment, FINE if moment >= fine_from else HOUR
        moment = min((moment // step + 1) * step, end)
        yield begin if step == FINE else max(begin, moment - MINUTE), moment
