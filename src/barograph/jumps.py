"""Sudden jumps of what a model answers: a quarter of an hour beside the one before it.

Seasons move an output by more than many faults do, but they take hours for it, and a fault takes no time. How
far ordinary quarters of an hour step is learnt from hours, as nothing finer is kept for weeks: from the step
between two hours at each hour of the day, and from how much larger the step between two hours is than that
between twice two. Pure functions of counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from barograph.bins import CELL_MISSING
from barograph.drift import Columns, Totals
from barograph.lanes import DAY, HOUR
from barograph.pooling import MINIMUM_DAYS, beyond

QUARTER = 900
CALMEST, WILDEST = 0.25, 2.0  # a quarter's step for an hour's: of a straight slope, and of white noise
_VALUES = CELL_MISSING  # cells of values come before it


@dataclass(frozen=True, eq=False)
class Outputs:
    """The K columns of a model whose steps are measured, and what they are measured by.

    `index` intp[K] are their places among all columns. Numbers are `located` (bool[K]): one measure, the mean
    rank. The others, and numbers of two values, have one for the share of each cell that the reference fills
    (of two cells, one): `measured` bool[K, 16]. `means` and `squares` float64[K, 16] are the mean rank in each
    cell, and that of its square.
    """

    index: np.ndarray
    located: np.ndarray
    measured: np.ndarray
    means: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, columns: Columns, judged: np.ndarray) -> "Outputs":
        """Those of `columns` that `judged` bool[C] names."""
        index = np.flatnonzero(judged)
        located = np.zeros(len(index), dtype=bool)
        measured = np.zeros((len(index), _VALUES), dtype=bool)
        means, squares = np.zeros(measured.shape), np.zeros(measured.shape)
        for k, i in enumerate(index.tolist()):
            column = columns.references[columns.names[i]]
            held = column.cell_counts[:_VALUES]
            filled = np.maximum(held, 1)
            means[k] = column.merge(column.counts * column.ridits)[:_VALUES] / filled
            squares[k] = column.merge(column.counts * column.ridits**2)[:_VALUES] / filled
            cells = np.flatnonzero(held)
            located[k] = np.isfinite(column.ridit_sd) and len(cells) > 2
            measured[k, 0 if located[k] else cells[-1:] if len(cells) == 2 else cells] = True
        return cls(index, located, measured, means, squares)

    @property
    def tests(self) -> int:
        """How many steps a window has; at least 1."""
        return max(int(self.measured.sum()), 1)

    def present(self, window: Totals) -> np.ndarray:
        """int64[W, K]: rows of each window that are neither missing nor invalid."""
        return np.asarray(window.present[..., self.index])

    def steps(self, later: Totals, before: Totals) -> tuple[np.ndarray, np.ndarray]:
        """How far W windows lie from those before them: float64[W, K, 16], signed; and the variance of chance, [W, K].

        Of numbers the difference of the mean ranks, in standard deviations of a rank within the two windows.
        Of shares that of 2 arcsin sqrt(share), which chance moves alike for rare and common answers
        (Anscombe's, Biometrika 35, 1948): near the difference in standard deviations of an answer. NaN where
        a window has no rows, and in cells that are not measured.
        """
        n, m = self.present(later)[..., None], self.present(before)[..., None]
        a, b = later.cells[..., self.index, :_VALUES], before.cells[..., self.index, :_VALUES]
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = 1 / n + 1 / m
            shares = 2 * (_root_angle(a, n) - _root_angle(b, m))
            both = (a + b) / (n + m)
            variance = (both * self.squares).sum(axis=-1) - (both * self.means).sum(axis=-1) ** 2
            moved = later.ridits[..., self.index] / n[..., 0] - before.ridits[..., self.index] / m[..., 0]
            mean = np.where(variance > 1e-12, moved / np.sqrt(np.maximum(variance, 1e-12)), 0.0)
        found = np.where(self.located[:, None], mean[..., None], shares)
        known = self.measured & (n > 0) & (m > 0)
        return np.where(known, found, np.nan), np.asarray(chance[..., 0])


def _root_angle(count: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.arcsin(np.sqrt((count + 0.375) / (rows + 0.75))))


@dataclass(frozen=True, eq=False)
class Swing:
    """How far ordinary quarters of an hour step, by the hour of the day: float64[24, K, 16].

    `course` is the step that is usual in an hour, `reach` how far that of a quarter of an hour departs from a
    quarter of it; NaN in hours of the day of which fewer than 7 are known. `z` is how many standard deviations
    of chance a line lies beyond.
    """

    outputs: Outputs
    course: np.ndarray
    reach: np.ndarray
    z: float

    def lines(self, chance: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """float64[W, K, 16], of the variance of chance, [W, K], and the begin of each window."""
        return np.asarray(np.sqrt(self.z**2 * chance[..., None] + self.reach[slope_of(starts)] ** 2))

    @cached_property
    def widest(self) -> np.ndarray:
        """float64[K]: `reach` at the hour of the day at which it is largest; NaN where none is known."""
        known = np.where(np.isnan(self.reach), -1.0, self.reach).max(axis=(0, 2), initial=-1.0)
        return np.asarray(np.where(known < 0, np.nan, known))


def slope_of(starts: np.ndarray) -> np.ndarray:
    """intp[W]: the hour of the day, UTC, to whose middle a moment lies from the middle of the one before.

    >>> slope_of(np.array([0, 1799, 1800, 23 * 3600 + 1800])).tolist()
    [0, 0, 1, 0]
    """
    return np.asarray((np.asarray(starts) + HOUR // 2) // HOUR % 24)


def judged(
    outputs: Outputs,
    later: Totals,
    before: Totals,
    starts: np.ndarray,
    swing: Swing | None,
    first: Swing | None = None,
    rise: float = np.inf,
    free: np.ndarray | bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """How far the steps of W windows, which begin at `starts`, are from what is usual, and their lines: float64[W, K].

    Of several measures the one that is farthest beyond its line. No line is more than `rise` times that of
    `first`, but for the columns that `free` bool[K] names. Without a swing there are no lines.
    """
    steps, chance = outputs.steps(later, before)
    if swing is None:
        off, lines = np.abs(steps), np.full(steps.shape, np.nan)
    else:
        off = np.abs(steps - swing.course[slope_of(starts)] * QUARTER / HOUR)
        lines = swing.lines(chance, starts)
    if first is not None:
        kept = np.broadcast_to(free, outputs.index.shape)[:, None]
        lines = np.where(kept, lines, np.fmin(lines, rise * first.lines(chance, starts)))
    ratios = off if swing is None else off / lines
    worst = np.argmax(np.where(np.isnan(ratios), -1.0, ratios), axis=-1, keepdims=True)
    return tuple(np.take_along_axis(x, worst, axis=-1)[..., 0] for x in (off, lines))  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Quarters of an hour, and those before them, of five-minute windows that follow one another.

    W windows: `starts` and `ends` int64[W] of the later one; `later` and `before` are sums of what belongs to the
    five minutes, (W, ...).
    """

    starts: np.ndarray
    ends: np.ndarray
    later: np.ndarray
    before: np.ndarray

    def only(self, which: np.ndarray) -> "Pairs":
        """Some of them: `which` are their places, or bool[W]."""
        return Pairs(self.starts[which], self.ends[which], self.later[which], self.before[which])


def pairs(starts: np.ndarray, counts: np.ndarray, step: int) -> Pairs:
    """Pairs of quarters that end with each of T windows of `step` seconds, but the first few; `counts` (T, ...).

    >>> found = pairs(np.arange(7) * 300, np.arange(7)[:, None], 300)
    >>> found.starts.tolist(), found.later[:, 0].tolist(), found.before[:, 0].tolist()
    ([900, 1200], [12, 15], [3, 6])
    """
    each = QUARTER // step
    size = max(len(counts) - 2 * each + 1, 0)
    before, later = (
        np.sum([counts[i : i + size] for i in range(first, first + each)], axis=0) for first in (0, each)
    )
    begins = np.asarray(starts)[each : each + size]
    return Pairs(begins, begins + QUARTER, later, before)


# What hours tell.


@dataclass(frozen=True, eq=False)
class Hourly:
    """Hours to learn from: `starts` int64[T] in order, `totals` of C columns, `known` bool[T, C]."""

    starts: np.ndarray
    totals: Totals
    known: np.ndarray


@dataclass(frozen=True, eq=False)
class _Steps:
    """S steps: `starts` of the later hour, `values` float64[S, K, 16], NaN where unknown, `chance` float64[S, K, 1]."""

    starts: np.ndarray
    values: np.ndarray
    chance: np.ndarray

    @property
    def hours(self) -> np.ndarray:
        """intp[S]: hour of the day."""
        return np.asarray(self.starts // HOUR % 24)

    def without_course(self) -> "tuple[np.ndarray, _Steps]":
        """The mean at each hour of the day, float64[24, K, 16], and what is left of the steps, as large as of new days."""
        course, left = np.zeros((24, *self.values.shape[1:])), self.values.copy()
        for hour in range(24):
            here = self.hours == hour
            n = np.count_nonzero(~np.isnan(self.values[here]), axis=0)
            course[hour] = np.where(n > 1, np.nansum(self.values[here], axis=0) / np.maximum(n, 1), 0.0)
            left[here] = (self.values[here] - course[hour]) * np.where(n > 1, n / np.maximum(n - 1, 1), 1.0)
        return course, _Steps(self.starts, left, self.chance)

    def excess(self) -> np.ndarray:
        """float64[K, 16]: mean square beyond chance."""
        squares = self.values**2 - self.chance
        n = np.count_nonzero(~np.isnan(squares), axis=0)
        return np.asarray(np.nansum(squares, axis=0) / np.maximum(n, 1))


def learn(
    outputs: Outputs,
    parts: Sequence[Hourly],
    *,
    budget: float,
    windows: int,
    tail: float,
    minimum: int,
) -> tuple[Swing | None, int]:
    """How far ordinary quarters of an hour step, by hours of `minimum` rows and more, and how many days tell of it.

    `budget` is the number of alarms a month that `windows` of them may raise. None with fewer than 7 days.
    """
    single = _joined([_between(outputs, part, minimum, 1) for part in parts])
    days = len(np.unique(single.starts // DAY))
    if days < MINIMUM_DAYS:
        return None, days
    double = _joined([_between(outputs, part, minimum, 2) for part in parts])
    alpha, crossing = budget / (windows * outputs.tests), budget / (30 * outputs.tests)
    flat = np.zeros((24, *single.values.shape[1:]))
    course, left = single.without_course()
    reach = _reach(left, double.without_course()[1], crossing, tail)
    plain = _reach(single, double, crossing, tail)
    calmer = np.nansum(reach**2, axis=0) < np.nansum(plain**2, axis=0)
    z = float(-special.ndtri(alpha / 2))
    return Swing(outputs, np.where(calmer, course, flat), np.where(calmer, reach, plain), z), days


def quarter_for_hour(single: np.ndarray, double: np.ndarray) -> np.ndarray:
    """How large steps between quarters of an hour are for those between hours, by what is known of the latter.

    `single` and `double` are the mean squares, beyond chance, of steps between hours and between twice two
    hours. Twice as long a window multiplies the mean square by double / single; halving it twice multiplies
    it by the square of single / double, and the steps by single / double (of noise that is alike at all
    scales; Mandelbrot and van Ness, SIAM Review 10, 1968).

    >>> slope, walk, white = 4.0, 2.0, 0.5
    >>> quarter_for_hour(np.ones(3), np.array([slope, walk, white])).tolist()
    [0.25, 0.5, 2.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.clip(single / double, CALMEST, WILDEST)
    return np.where(single > 0, np.where(double > 0, factor, WILDEST), 1.0)


def _reach(single: _Steps, double: _Steps, crossing: float, tail: float) -> np.ndarray:
    """float64[24, K, 16]: the step of a quarter of an hour that is crossed as seldom as `crossing` a day."""
    factor = quarter_for_hour(single.excess(), double.excess())
    # Three hours of a day are looked at together: the step that chance makes of one of them is not learnt.
    z = float(-special.ndtri(crossing / 6))
    sizes = np.sqrt(np.maximum(single.values**2 - z**2 * single.chance, 0.0))
    dates, day = np.unique(single.starts // DAY, return_inverse=True)
    grid = np.full((len(dates), 24, *sizes.shape[1:]), np.nan)
    grid[day, single.hours] = sizes
    worst = np.fmax(np.fmax(np.roll(grid, 1, axis=1), grid), np.roll(grid, -1, axis=1))
    enough = np.count_nonzero(~np.isnan(worst), axis=0) >= MINIMUM_DAYS
    return np.asarray(np.where(enough, factor * beyond(worst, crossing, tail), np.nan))


def _between(outputs: Outputs, part: Hourly, minimum: int, length: int) -> _Steps:
    """Steps between `length` hours and as many before them, without a gap among them."""
    cells, ridits, faulty = part.totals.cells, part.totals.ridits, part.totals.faulty
    enough = part.known[:, outputs.index] & (outputs.present(part.totals) >= minimum)
    size = max(len(part.starts) - 2 * length + 1, 0)
    at = np.arange(size)[:, None] + np.arange(2 * length)
    together = (np.diff(part.starts[at], axis=1) == HOUR).all(axis=1)
    before, later = at[together, :length], at[together, length:]
    sums = [Totals(*(x[hours].sum(axis=1) for x in (cells, ridits, faulty))) for hours in (later, before)]
    values, chance = outputs.steps(*sums)
    held = enough[at[together]].all(axis=1)
    some = held.any(axis=1)
    values = np.where(held[..., None], values, np.nan)
    return _Steps(part.starts[later[:, 0]][some], values[some], chance[some][..., None])


def _joined(parts: Sequence[_Steps]) -> _Steps:
    return _Steps(
        np.concatenate([p.starts for p in parts]),
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.chance for p in parts]),
    )
