"""Groups of rows in which a model is wrong more often than elsewhere, again and again.

A group is one or two conditions: a category, or a range of a number. It is found on every other day by the likelihood ratio of
its errors against what is expected by the scores (see `chance`), less what it costs to say which group it is, so that a second
condition must earn its place; each is found on the rows that those before it have left over. What was found is confirmed on the
other days by an exact test. `LEVEL` is the probability that anything at all is confirmed where labels have nothing to do with
the columns (Holm over all that was found). A group that is confirmed gets its bounds from all days, and must be there in most
periods of time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from barograph.errors.axes import Axis
from barograph.errors.chance import Rows, Scale, likelihood_ratio

LEVEL = 0.001  # family-wise, of one run
MOST = 8  # groups of one kind
MOST_AXES = 24  # in pairs; of more columns those that tell most by themselves
PERIODS, MOSTLY = 8, 2 / 3  # spans of time, and the share of them in which a group must be
LEAST_UNITS = 4  # days, or hours, that are needed
PLAIN, DIGITS = 2.0, 5  # how dear the digits of a bound are, and how many it may have
HOUR, DAY = 3600, 86_400


class TooShort(ValueError):
    """There are too few days or hours to say what recurs."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Codes `first` to `last` of an axis; of a range of many values with bounds `low` (from) and `high` (below)."""

    axis: int
    first: int
    last: int
    low: float = -math.inf
    high: float = math.inf

    def holds(self, axis: Axis) -> np.ndarray:
        """bool[n]: of which rows it is true."""
        if self.first >= axis.ranges or axis.discrete or axis.x is None:
            return np.asarray((axis.codes >= self.first) & (axis.codes <= self.last))
        return np.asarray((axis.x >= self.low) & (axis.x < self.high))


@dataclass(frozen=True, eq=False)
class Kind:
    """One way to be wrong: the rows that can be; `falling` says that a higher score promises fewer of these errors, not more."""

    name: str
    rows: Rows
    falling: bool = True


@dataclass(frozen=True, eq=False)
class Found:
    """A group: rows of it, and which of them are wrong, as positions; the rate elsewhere; in how many periods it is.

    `p` is the adjusted probability of the confirmation.
    """

    kind: str
    conditions: tuple[Condition, ...]
    rows: np.ndarray
    errors: np.ndarray
    elsewhere: float
    periods: tuple[int, int]
    p: float


@dataclass(frozen=True, eq=False)
class Spans:
    """Of n rows: `half` bool[n], of which the first half finds and the second confirms; `period` intp[n]; how many periods."""

    half: np.ndarray
    period: np.ndarray
    periods: int


def spans(times: np.ndarray) -> Spans:
    """Days, or where there are few of them hours, in turns to one half and the other; TooShort where even these are few."""
    found, index = np.unique(times // DAY, return_inverse=True)
    if len(found) < LEAST_UNITS:
        found, index = np.unique(times // HOUR, return_inverse=True)
    if len(found) < LEAST_UNITS:
        raise TooShort(
            f"labelled predictions lie within {len(found)} hours; what recurs shows in {LEAST_UNITS} and more"
        )
    periods = min(PERIODS, len(found))
    return Spans(index % 2 == 1, index * periods // len(found), periods)


def search(axes: Sequence[Axis], kinds: Sequence[Kind], times: np.ndarray) -> list[Found]:
    """Groups of all kinds, those with most errors first. `times` float64[n] are epoch seconds."""
    when = spans(times)
    candidates = [(kind, c, p) for kind in kinds for c, p in _candidates(axes, kind, when)]
    adjusted = _holm([p for _, _, p in candidates])
    found: list[Found] = []
    for (kind, conditions, _), p in zip(candidates, adjusted, strict=True):
        if p <= LEVEL:
            taken = [f.rows for f in found if f.kind == kind.name]
            group = _settled(axes, kind, when, conditions, taken, p)
            if group is not None:
                found.append(group)
    return sorted(found, key=lambda f: -len(f.errors))


def _holm(p: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any false one among them is held."""
    order = np.argsort(p)
    adjusted = np.ones(len(p))
    worst = 0.0
    for rank, i in enumerate(order.tolist()):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return [float(x) for x in adjusted]


# Finding, on one half of the days; and the test on the other.


def _candidates(
    axes: Sequence[Axis], kind: Kind, when: Spans
) -> Iterator[tuple[tuple[Condition, ...], float]]:
    """Groups of the first half, one by one on what the others have left; each with its test on the second half."""
    half = when.half[kind.rows.at]
    finding, confirming = kind.rows.take(~half), kind.rows.take(half)
    scale = Scale.fit(finding, falling=kind.falling)
    tables = _Tables(axes, finding, scale.expected(finding))
    for _ in range(MOST):
        conditions = tables.best()
        if conditions is None:
            return
        inside = _inside(axes, confirming, conditions)
        yield conditions, scale.chance(confirming, inside)
        confirming = confirming.take(~inside)
        tables.leave_out(_inside(axes, finding, conditions))


def _inside(axes: Sequence[Axis], rows: Rows, conditions: Sequence[Condition]) -> np.ndarray:
    """bool[rows]: by codes alone."""
    found = np.ones(len(rows), dtype=bool)
    for c in conditions:
        codes = axes[c.axis].codes[rows.at]
        found &= (codes >= c.first) & (codes <= c.last)
    return found


class _Tables:
    """Rows, errors and expected errors by the codes of each pair of columns, from which every group's are sums."""

    def __init__(self, axes: Sequence[Axis], rows: Rows, expected: np.ndarray) -> None:
        self._axes, self._all, self._expected = axes, rows, expected
        self._alike = float(expected[0]) if len(expected) and np.ptp(expected) == 0 else None
        self._codes = [axis.codes[rows.at].astype(np.int32) for axis in axes]
        self._left = np.ones(len(rows), dtype=bool)
        self._totals = np.array([len(rows), int(rows.wrong.sum()), float(expected.sum())])
        self._single = [self._count((i,), self._left) for i in range(len(axes))]
        chosen = range(len(axes))
        if len(axes) > MOST_AXES:
            told = [self._best_of((i,), self._single[i])[0] for i in chosen]
            chosen = sorted(np.argsort(told)[-MOST_AXES:].tolist())  # type: ignore[assignment]
        self._pairs = {pair: self._count(pair, self._left) for pair in combinations(chosen, 2)}

    def _count(self, columns: tuple[int, ...], chosen: np.ndarray) -> np.ndarray:
        """float64[3, size, ...]: rows, errors, expected errors."""
        shape = tuple(self._axes[i].size for i in columns)
        code = self._codes[columns[0]]
        for i in columns[1:]:
            code = code * self._axes[i].size + self._codes[i]
        size, mine = math.prod(shape), code[chosen]
        n = np.bincount(mine, minlength=size)
        e = np.bincount(code[chosen & self._all.wrong], minlength=size)
        weights = None if self._alike is not None else self._expected[chosen]
        mean = (
            n * (self._alike or 0.0)
            if weights is None
            else np.bincount(mine, weights=weights, minlength=size)
        )
        return np.stack([n, e, mean]).reshape(3, *shape)

    def leave_out(self, inside: np.ndarray) -> None:
        """Go on without the rows of a group."""
        gone = inside & self._left
        self._left &= ~inside
        wrong = int((gone & self._all.wrong).sum())
        self._totals = self._totals - [int(gone.sum()), wrong, float(self._expected[gone].sum())]
        for i, table in enumerate(self._single):
            np.subtract(table, self._count((i,), gone), out=table)
        for pair, table in self._pairs.items():
            np.subtract(table, self._count(pair, gone), out=table)

    def best(self) -> tuple[Condition, ...] | None:
        """The group that tells most; None where none tells more than it costs to say which one it is."""
        tables: list[tuple[tuple[int, ...], np.ndarray]] = [((i,), one) for i, one in enumerate(self._single)]
        tables += self._pairs.items()
        found = [(*self._best_of(columns, table), columns) for columns, table in tables]
        score, intervals, columns = max(found, key=lambda one: one[0], default=(0.0, (), ()))
        if score <= 0:
            return None
        return tuple(
            Condition(i, *_bounds(self._axes[i], *both)) for i, both in zip(columns, intervals, strict=True)
        )

    def _best_of(
        self, columns: tuple[int, ...], table: np.ndarray
    ) -> tuple[float, tuple[tuple[int, int], ...]]:
        """The best group of a column or a pair: its likelihood ratio less the logarithm of how many there are to choose from."""
        intervals = [self._axes[i].intervals for i in columns]
        n, e, mean = _sums(table, intervals)
        rows, errors, expected = self._totals.tolist()
        ratio = likelihood_ratio(n, e, mean * (errors / max(expected, 1.0)), rows, errors)
        at = int(np.argmax(ratio))
        groups = math.comb(len(self._axes), len(columns)) * ratio.size
        where = np.unravel_index(at, ratio.shape)
        chosen = tuple((int(iv[k, 0]), int(iv[k, 1])) for iv, k in zip(intervals, where, strict=True))
        return float(ratio.flat[at]) - math.log(groups), chosen


def _bounds(axis: Axis, first: int, last: int) -> tuple[int, int, float, float]:
    if first >= axis.ranges:
        return first, last, -math.inf, math.inf
    low = -math.inf if first == 0 else float(axis.edges[first])
    return first, last, low, math.inf if last == axis.ranges - 1 else float(axis.edges[last + 1])


def _sums(table: np.ndarray, intervals: Sequence[np.ndarray]) -> np.ndarray:
    """Rows, errors and expected errors of every interval, or of every pair of intervals."""
    found = table
    for axis, chosen in enumerate(intervals, start=1):
        running = np.cumsum(found, axis=axis)
        running = np.concatenate([np.zeros_like(np.take(running, [0], axis=axis)), running], axis=axis)
        found = np.take(running, chosen[:, 1] + 1, axis=axis) - np.take(running, chosen[:, 0], axis=axis)
    return found


# Settling, on all days.


def _settled(
    axes: Sequence[Axis],
    kind: Kind,
    when: Spans,
    conditions: tuple[Condition, ...],
    taken: Sequence[np.ndarray],
    p: float,
) -> Found | None:
    """The group with its final bounds; None where it is not there most of the time."""
    rows = kind.rows
    if taken:
        rows = rows.take(~np.isin(rows.at, np.concatenate(taken)))
    scale = Scale.fit(rows, falling=kind.falling)
    expected = scale.expected(rows)
    for _ in range(2):
        for i in range(len(conditions)):
            conditions = _moved(axes, rows, expected, conditions, i)
    inside = _holds(axes, rows.at, conditions)
    n, e, mean = (np.array([x.sum()]) for x in (inside, inside & rows.wrong, expected[inside]))
    if likelihood_ratio(n, e, mean, len(rows), int(rows.wrong.sum()))[0] == -np.inf:
        return None
    elsewhere = scale.elsewhere(rows, inside)
    there, of = _recurs(when.period[rows.at], when.periods, inside, rows.wrong, elsewhere)
    if of < 3 or there < MOSTLY * of:
        return None
    return Found(
        kind.name, conditions, rows.at[inside], rows.at[inside & rows.wrong], elsewhere, (there, of), p
    )


def _recurs(
    period: np.ndarray, periods: int, inside: np.ndarray, wrong: np.ndarray, usual: float
) -> tuple[int, int]:
    """In how many periods the group is wrong more often than elsewhere, of all in which anything was predicted."""
    every = np.bincount(period, minlength=periods)
    n = np.bincount(period[inside], minlength=periods)
    e = np.bincount(period[inside & wrong], minlength=periods)
    return int(((e > usual * n) & (e > 0)).sum()), int((every > 0).sum())


def _holds(axes: Sequence[Axis], rows: np.ndarray, conditions: Sequence[Condition]) -> np.ndarray:
    found = np.ones(len(rows), dtype=bool)
    for c in conditions:
        found &= c.holds(axes[c.axis])[rows]
    return found


def _moved(
    axes: Sequence[Axis], rows: Rows, expected: np.ndarray, conditions: tuple[Condition, ...], i: int
) -> tuple[Condition, ...]:
    """The same with the best range of one column, given the other condition."""
    mine = conditions[i]
    axis = axes[mine.axis]
    if mine.first >= axis.ranges:
        return conditions
    others = [c for k, c in enumerate(conditions) if k != i]
    given = _holds(axes, rows.at, others)
    codes = axis.codes[rows.at[given]]
    weights = (None, rows.wrong[given], expected[given])
    table = np.stack([np.bincount(codes, weights=w, minlength=axis.size) for w in weights])
    ranges = axis.intervals[axis.intervals[:, 1] < axis.ranges]
    n, e, mean = _sums(table, [ranges])
    ratio = likelihood_ratio(n, e, mean, len(rows), int(rows.wrong.sum()))
    best = int(np.argmax(ratio))
    if ratio[best] == -np.inf:
        return conditions
    moved = Condition(mine.axis, *_bounds(axis, int(ranges[best, 0]), int(ranges[best, 1])))
    if not axis.discrete and axis.x is not None:
        moved = _between(axis, axis.x[rows.at], rows.wrong, given, moved)
    return (*conditions[:i], moved, *conditions[i + 1 :])


def _between(axis: Axis, x: np.ndarray, wrong: np.ndarray, given: np.ndarray, c: Condition) -> Condition:
    """Bounds within the ranges, by the rows themselves: those that tell most for what it costs to write them down."""
    low, high = max(c.first - 1, 0), min(c.last + 2, axis.ranges)
    near = given & (x >= axis.edges[low]) & (x < axis.edges[high])
    order = np.argsort(x[near], kind="stable")
    values, bad = x[near][order], wrong[near][order]
    first, last = (int(i) for i in np.searchsorted(values, [c.low, c.high]))
    weights = _weights(bad, slice(first, last), len(x), int(wrong.sum()))
    for _ in range(4):
        if weights is None:
            return c
        first, last = _heaviest(weights)
        weights = _weights(bad, slice(first, last), len(x), int(wrong.sum()))
    if weights is None:
        return c
    running, middle = np.append(0.0, np.cumsum(weights)), (first + last) // 2
    inner = float(values[min(middle, len(values) - 1)])
    below = float(running[middle]) if low == 0 else -math.inf
    above = float(running[-1] - running[middle]) if high == axis.ranges else -math.inf
    lower = _cut(
        float(axis.edges[low]), inner, lambda at: running[middle] - running[np.searchsorted(values, at)]
    )
    upper = _cut(
        inner, float(axis.edges[high]), lambda at: running[np.searchsorted(values, at)] - running[middle]
    )
    return Condition(
        c.axis,
        c.first,
        c.last,
        -math.inf if below >= lower[0] else lower[1],
        math.inf if above >= upper[0] else upper[1],
    )


def _weights(bad: np.ndarray, inside: slice, rows: int, errors: int) -> np.ndarray | None:
    """What each row speaks for the group that is `inside`, by the rates in it and elsewhere."""
    n, e = len(bad[inside]), int(bad[inside].sum())
    if not 0 < n < rows:
        return None
    rate = min(max(e / n, 0.5 / n), 1 - 0.5 / n)
    usual = min(max((errors - e) / (rows - n), 0.5 / (rows - n)), 1 - 0.5 / (rows - n))
    if rate <= usual:
        return None
    return np.where(bad, math.log(rate / usual), math.log((1 - rate) / (1 - usual)))


def _heaviest(weights: np.ndarray) -> tuple[int, int]:
    """The run of the largest sum, as first and past the last."""
    running = np.append(0.0, np.cumsum(weights))
    gain = running - np.minimum.accumulate(running)
    last = int(np.argmax(gain))
    first = int(np.argmin(running[: last + 1]))
    return first, max(last, first + 1)


def _cut(low: float, high: float, gain: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """The cut between two values that gains most, less `PLAIN` times the logarithm of how many are as short to write: what it
    gains, and the cut. Who draws a line draws it at a round number."""
    best = (-math.inf, low)
    if not high > low:
        return best
    top = math.floor(math.log10(high - low)) + 1
    for level in range(top, top - DIGITS, -1):
        first, last = math.ceil(low / 10.0**level), math.floor(high / 10.0**level)
        if first <= last:
            whole = np.arange(first, last + 1)
            cuts = whole * 10.0**level if level >= 0 else whole / 10.0**-level
            told = gain(cuts)
            at = int(np.argmax(told))
            best = max(best, (float(told[at]) - PLAIN * math.log(len(cuts)), float(cuts[at])))
    return best
