"""History, so that the pages are full at once: past flights through the same code as live ones.

Each step records its flights in a Monitor whose clock stands at the step's end, takes a snapshot, and adds what it grew by
to the tiles. That is what a service and an evaluator do, without HTTP between them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from barograph import Clock, Monitor, Reference
from barograph.clock import parse_time
from barograph.demo import model as artefacts
from barograph.demo.flights import FEATURES, seconds
from barograph.sources import StoredReferences, increments
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Retention, Tiles

FINE = 600  # seconds: the steps of the days of which minutes are kept; an hour before that
TOGETHER = 24  # steps that are stored together


def backfill(
    rows: pd.DataFrame, model: Pipeline, reference: Reference, artifact: Path, store: Path, counters: Path
) -> Iterator[tuple[float, int]]:
    """Put the flights of the 28 days before LIVE into the tiles at `store`; yields the share done, and the flights so far.

    `artifact` is the model's file, `counters` an empty directory for the monitor.
    """
    end = parse_time(artefacts.LIVE)
    start = end - artefacts.HISTORY_DAYS * DAY
    times = seconds(rows["departed_at"])
    inside = (times >= start) & (times < end)
    rows, times = rows[inside], times[inside]
    features, scores = rows[list(FEATURES)], artefacts.scores(model, rows)
    monitor = Monitor(
        artefacts.NAME,
        version=artefacts.VERSION,
        reference=reference,
        artifact=artifact,
        config=artefacts.CONFIG,
        clock=_standing(start),
        directory=counters,
    )
    with Tiles(store) as tiles, monitor:
        StoredReferences(tiles)[reference.bins.id] = reference.to_json()
        tiles.expire(end)  # what is older than minutes are kept then goes to its hour
        low, grown = 0, list[Increment]()
        for i, (begin, moment) in enumerate(steps(start, end)):
            monitor.clock = _standing(begin)
            before = monitor.snapshot()
            monitor.clock = _standing(moment)
            high = int(np.searchsorted(times, moment))
            if high > low:
                monitor.record(features.iloc[low:high], score=scores[low:high], time=times[low:high])
            grown += increments(before, monitor.snapshot())
            low = high
            if i % TOGETHER == 0 or moment == end:
                tiles.add(grown)
                grown = []
                yield (moment - start) / (end - start), high
        tiles.roll_up(end)


def _standing(moment: float) -> Clock:
    return Clock(start=moment, speed=0.0)


def steps(start: float, end: float) -> Iterator[tuple[float, float]]:
    """The clock before and after each step from `start` to `end`, epoch seconds.

    The steps of the last three days, of which minutes are kept, adjoin: their flights spread over their minutes. Those before
    end with their hour, and their clock has passed but its last minute: only the hour will be kept, so nothing is gained by
    spreading over sixty minutes what is added up again at once.

    >>> found = list(steps(0.0, 4 * 86_400.0))
    >>> found[0], found[-2:], len(found)
    ((3540.0, 3600.0), [(344400.0, 345000.0), (345000.0, 345600.0)], 456)
    """
    fine_from = end - Retention().minutes * DAY
    moment = start
    while moment < end:
        begin, step = moment, FINE if moment >= fine_from else HOUR
        moment = min((moment // step + 1) * step, end)
        yield begin if step == FINE else max(begin, moment - MINUTE), moment
