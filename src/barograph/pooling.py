"""Hours joined into the windows that are judged, and what the worst window of days tells of ones to come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from barograph.drift import MINIMUM_ROWS
from barograph.lanes import DAY, HOUR

MINIMUM_DAYS = 7


@dataclass(frozen=True, eq=False)
class Pool:
    """Hours pooled into windows, in order.

    `starts`, `ends` (epoch seconds), `rows` int64[G]; `closed` bool[G]: whether no further hour can join.
    `index` intp[T]: the window of each hour given, -1 where it has no rows.
    """

    starts: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    closed: np.ndarray
    index: np.ndarray
    minimum: int = MINIMUM_ROWS

    @property
    def enough(self) -> np.ndarray:
        """bool[G]: windows with rows enough for a verdict."""
        return self.rows >= self.minimum

    def sum(self, counts: np.ndarray) -> np.ndarray:
        """Add up what belongs to the hours: (T, ...) to (G, ...)."""
        kept = np.flatnonzero(self.index >= 0)
        if not len(kept):
            return np.zeros((0, *counts.shape[1:]), dtype=counts.dtype)
        _, first = np.unique(self.index[kept], return_index=True)
        return np.asarray(np.add.reduceat(counts[kept], first, axis=0))


def pool(
    starts: np.ndarray | Sequence[int],
    rows: np.ndarray | Sequence[int],
    *,
    minimum: int = MINIMUM_ROWS,
    longest: int = DAY,
    step: int = HOUR,
    until: float | None = None,
) -> Pool:
    """Join hours below `minimum` rows with those that follow, until there are enough.

    `starts` are epoch seconds in order, `rows` their rows. An hour without rows belongs to no window, whether
    given or left out. A window never crosses a multiple of `longest` (a UTC day), so that the windows of a
    day depend on that day alone: what is left of it stays a window below `minimum`. `until` is how far time
    has come (the end of the last hour given, if left out): before its day is over, a window below `minimum`
    is not `closed`.

    >>> hours = pool([0, 3600, 7200, 10800], [10, 25, 0, 40])
    >>> hours.starts.tolist(), hours.rows.tolist(), hours.index.tolist()
    ([0, 10800], [35, 40], [0, 0, -1, 1])
    """
    begins: list[int] = []
    ends: list[int] = []
    totals: list[int] = []
    index = np.full(len(starts), -1, dtype=np.intp)
    joins = False
    hours = zip(np.asarray(starts).tolist(), np.asarray(rows).tolist(), strict=True)
    for i, (start, count) in enumerate(hours):
        if not count:
            continue
        if not (joins and start // longest == begins[-1] // longest):
            begins.append(start)
            ends.append(start)
            totals.append(0)
        ends[-1], totals[-1] = start + step, totals[-1] + count
        index[i] = len(begins) - 1
        joins = totals[-1] < minimum
    first, total = np.array(begins, dtype=np.int64), np.array(totals, dtype=np.int64)
    now = until if until is not None else (int(np.asarray(starts)[-1]) + step if len(starts) else 0)
    closed = (total >= minimum) | ((first // longest + 1) * longest <= now)
    return Pool(first, np.array(ends, dtype=np.int64), total, closed, index, minimum)


def whole_days(starts: np.ndarray, rows: np.ndarray, least: int, step: int, until: float | None) -> Pool:
    """One window a UTC day, of the days that have rows in `least` hours and more."""
    found = pool(starts, rows, minimum=1 << 62, longest=DAY, step=step, until=until)
    kept = np.flatnonzero(rows)
    hours = np.unique(np.column_stack([starts[kept] // DAY, starts[kept] // HOUR]), axis=0)[:, 0]
    whole = np.array([np.count_nonzero(hours == day) >= least for day in found.starts // DAY], dtype=bool)
    renumbered = np.append(np.where(whole, np.cumsum(whole) - 1, -1), -1)
    return Pool(
        found.starts[whole],
        found.ends[whole],
        found.rows[whole],
        found.closed[whole],
        renumbered[found.index],
    )


def worst_days(levels: np.ndarray, first: np.ndarray, crossing: float, tail: float) -> np.ndarray:
    """How far a line is to be lifted, so that a day's worst window crosses it with probability `crossing`.

    Beyond their median the days' worst are taken to fall off exponentially. `first` intp[days] says where
    each day begins. NaN with fewer than 7 days.
    """
    worst = np.fmax.reduceat(levels, first, axis=0)
    enough = np.sum(~np.isnan(worst), axis=0) >= MINIMUM_DAYS
    return np.asarray(np.where(enough, np.maximum(1.0, beyond(worst, crossing, tail)), np.nan))


def beyond(worst: np.ndarray, crossing: float, tail: float) -> np.ndarray:
    """The level that a day's worst window crosses with probability `crossing`: (D, ...) of D days to (...).

    Beyond their median the days' worst are taken to fall off exponentially, with `tail` times their mean
    excess. NaN is a day without a verdict; where all are, so is the level.

    >>> float(beyond(np.array([1.0, 2.0, 3.0, 5.0, np.nan]), 0.5, 1.0))
    2.5
    """
    known = ~np.isnan(worst)
    middle = np.nanmedian(np.where(known.any(axis=0), worst, 0.0), axis=0)
    over = known & (worst > middle)
    excess = np.where(over, worst - middle, 0.0).sum(axis=0) / np.maximum(over.sum(axis=0), 1)
    level = middle + tail * excess * np.log(max(0.5 / crossing, 1.0))
    return np.asarray(np.where(known.any(axis=0), level, np.nan))
