"""History, so that the pages are full at once: past flights through the same code as live ones.

The last day goes through the service itself, request by request: its application is called in this process, without a socket
between. The weeks before go through a Monitor in batches, with the model's real answers; how long those took nobody measured,
and the pages say so. After each step a snapshot is taken, and what it grew by is added to the tiles, as `barograph serve` does.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from barograph import Clock, Monitor, Reference
from barograph.clock import parse_time
from barograph.counters import Snapshot
from barograph.demo import arrival
from barograph.demo import model as artefacts
from barograph.demo.flights import FEATURES, seconds
from barograph.demo.replay import Departure, departures, landings
from barograph.demo.service import create_app
from barograph.increments import increments
from barograph.naming import REQUEST_ID_HEADER
from barograph.sources import StoredReferences
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Retention, Tiles

FINE = 900  # seconds: the steps of the days of which minutes are kept; an hour before that
TOGETHER = 24  # steps that are stored together
Landed = deque[tuple[float, dict[str, Any]]]  # when a flight landed, and its label
Monitors = Sequence[Monitor]
Steps = Iterator[tuple[list[Increment], float, int]]  # what grew, the clock, the flights


def backfill(
    rows: pd.DataFrame, directory: Path, store: Path, counters: Path, log: Path
) -> Iterator[tuple[float, int]]:
    """Put the flights of the 28 days before LIVE into the tiles at `store`; yields the share done, and the flights so far.

    The models and the references lie in `directory`; monitors count in `counters`, which is made, and log to `log`.
    """
    end = parse_time(artefacts.LIVE)
    start, served = end - artefacts.HISTORY_DAYS * DAY, end - DAY
    past = _between(rows, start, end)
    landed = deque(landings(past.sort_values("landed_at")))
    parts = (
        _recorded(
            _between(past, start, served), landed, directory, counters / "recorded", log, start, served
        ),
        _served(_between(past, served, end), landed, directory, counters / "served", log, served, end),
    )
    with Tiles(store) as tiles:
        for file in (artefacts.REFERENCE_FILE, arrival.REFERENCE_FILE):
            reference = Reference.load(directory / file)
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
    rows: pd.DataFrame, landed: Landed, directory: Path, counters: Path, log: Path, start: float, end: float
) -> Steps:
    """In batches, one a step."""
    counters.mkdir(parents=True)
    app = create_app(directory, _standing(start), counters, log)
    first, second = app.state.monitors
    times, features, ids = seconds(rows["departed_at"]), rows[list(FEATURES)], rows["id"].to_numpy()
    scores = artefacts.scores(artefacts.load(directory), rows)
    minutes, numbers = arrival.minutes(arrival.load(directory), rows), rows[list(arrival.FEATURES)]
    with first, second:
        low = 0
        for begin, moment in steps(start, end, end + DAY - Retention().minutes * DAY):
            before, high = _snapshot((first, second), begin), int(np.searchsorted(times, moment))
            if high > low:
                part = slice(low, high)
                known = {"time": times[part], "id": ids[part]}
                first.record(features.iloc[part], score=scores[part], **known)
                second.record(numbers.iloc[part], prediction=minutes[part], **known)
            _tell((first, second), landed, moment)
            yield increments(before, _snapshot((first, second), moment)), moment, high - low
            low = high


def _served(
    rows: pd.DataFrame, landed: Landed, directory: Path, counters: Path, log: Path, start: float, end: float
) -> Steps:
    """Request by request, through the service's application."""
    counters.mkdir(parents=True)
    app = create_app(directory, _standing(start), counters, log)
    monitors: Monitors = app.state.monitors
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")
    coming = list(departures(rows))
    with monitors[0], monitors[1], asyncio.Runner() as runner:
        for begin, moment in steps(start, end, start):
            due = [d for d in coming if begin <= d.time < moment]
            before = _snapshot(monitors, begin)
            runner.run(_ask(client, monitors, due))
            _tell(monitors, landed, moment)
            yield increments(before, _snapshot(monitors, moment)), moment, len(due)
        runner.run(client.aclose())


async def _ask(client: httpx.AsyncClient, monitors: Monitors, due: list[Departure]) -> None:
    for departure in due:
        _set(monitors, departure.time)
        headers = {REQUEST_ID_HEADER: departure.id}
        answer = await client.post("/predict", json=departure.features, headers=headers)
        answer.raise_for_status()


def _tell(monitors: Monitors, landed: Landed, moment: float) -> None:
    """Tell, at each full hour, of the flights that have landed by then whether they were late, and by how much."""
    if moment % HOUR:
        return
    labels: dict[str, list[tuple[str, float, float, None]]] = {monitor.model: [] for monitor in monitors}
    while landed and landed[0][0] < moment:
        time, label = landed.popleft()
        labels[label["model"]].append((label["id"], float(label["label"]), time, None))
    _set(monitors, moment)
    for monitor in monitors:
        monitor.store_feedback(labels[monitor.model])


def _snapshot(monitors: Monitors, moment: float) -> Snapshot:
    """What all of them have counted: they share a folder, and any of them sees it."""
    _set(monitors, moment)
    for monitor in monitors:
        monitor.flush()
    return monitors[0].snapshot()


def _set(monitors: Monitors, moment: float) -> None:
    for monitor in monitors:
        monitor.clock = _standing(moment)


def _standing(moment: float) -> Clock:
    return Clock(start=moment, speed=0.0)


def steps(start: float, end: float, fine_from: float) -> Iterator[tuple[float, float]]:
    """The clock before and after each step from `start` to `end`, epoch seconds.

    Steps of a quarter of an hour adjoin: their flights spread over their minutes. Those before `fine_from` end with their hour,
    and their clock passes but its last minute: the hour is all that is kept, so nothing is gained by spreading over sixty minutes
    what is added up again at once.

    >>> list(steps(0.0, 9000.0, 7200.0))
    [(3540.0, 3600.0), (7140.0, 7200.0), (7200.0, 8100.0), (8100.0, 9000.0)]
    """
    moment = start
    while moment < end:
        begin, step = moment, FINE if moment >= fine_from else HOUR
        moment = min((moment // step + 1) * step, end)
        yield begin if step == FINE else max(begin, moment - MINUTE), moment
