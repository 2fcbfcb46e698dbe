"""Clean months, made of a model's own days: what would be raised if nothing were wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from barograph.alert import OF_COLUMNS
from barograph.drill.report import Months
from barograph.drill.rows import Rows
from barograph.drill.runner import AFTER, Runner
from barograph.drill.world import COARSE, JOINED_EVERY, Model
from barograph.tiles import DAY, HOUR

MONTH = 28  # days: whole weeks


def bootstrapped(rows: Rows, start: float, rng: np.random.Generator) -> Rows:
    """A month from the day of `start` (epoch seconds) on: each day is one of those with its weekday, drawn at random.

    Hours of a day stay together. ValueError where a weekday has no whole day.
    """
    whole = np.unique(rows.time // DAY)[1:-1]
    parts = []
    for i in range(MONTH):
        day = start // DAY + i
        alike = whole[(whole - day) % 7 == 0]
        if not len(alike):
            raise ValueError(
                f"the rows hold {len(whole)} whole days, and none of the weekday of {int(day % 7)} of 7; give a week at least"
            )
        source = float(rng.choice(alike))
        moved = rows.between(source * DAY, (source + 1) * DAY)
        shift = (day - source) * DAY
        came = None if moved.label_time is None else moved.label_time + shift
        ids = np.array([f"{name}@{i}" for name in moved.id], dtype=object)
        parts.append(replace(moved, time=moved.time + shift, label_time=came, id=ids))
    return Rows.joined(parts)


def clean_months(
    model: Model, folder: Path, n: int, moved: Callable[[int], object] = lambda _: None, seed: int = 0
) -> Months:
    """Run `n` clean months after the rows of a model, hour by hour; `moved` is told of days.

    A month's alarms are the alerts that began in it, its windows in alarm the hours whose columns were in alarm.
    """
    start = model.rows.time[-1] // DAY * DAY + DAY
    runner = Runner(replace(model, start=start), folder)
    runner.prepare()
    alarms, pages, windows = [], [], []
    for month in range(n):
        rows = bootstrapped(model.rows, start, np.random.default_rng([seed, month]))
        a, p, w = _month(runner, rows, start, moved)
        alarms.append(a)
        pages.append(p)
        windows.append(w)
    return Months(model.name, tuple(alarms), tuple(pages), tuple(windows))


def _month(
    runner: Runner, rows: Rows, start: float, moved: Callable[[int], object]
) -> tuple[int, int, float]:
    """Alarms, pages, and the share of windows in alarm."""
    began: set[tuple[object, ...]] = set()
    pages: set[tuple[object, ...]] = set()
    in_alarm, judged, joined = 0, 0, start
    with runner.world() as world:
        before = {(*key, one.since) for key, one in world.evaluate().items()}
        for hour in range(1, MONTH * 24 + 1):
            world.serve(rows, start + hour * HOUR + AFTER, COARSE)
            if world.now - joined >= JOINED_EVERY:
                joined = world.now
                world.store()
                world.join(rows)
            firing = world.evaluate()
            new = {(*key, one.since): one for key, one in firing.items()}
            began |= set(new) - before
            pages |= {key for key, one in new.items() if one.rule.severity == "page"} - before
            judged += 1
            closed = start + hour * HOUR
            in_alarm += any(
                one.condition.rule in OF_COLUMNS and one.last >= closed for one in firing.values()
            )
            if hour % 24 == 0:
                moved(1)
    return len(began), len(pages), in_alarm / judged
