"""From two snapshots of a process to what it counted between them, spread over minutes."""

from collections.abc import Mapping, Sequence

import numpy as np

from barograph.counters import ADDITIVE, Series, Snapshot, Vector
from barograph.tiles import DAY, HOUR, MINUTE, Increment

_STEP = 618_033_989  # by which sums that are near each other begin far apart
MOST_PIECES = 1_500  # a longer gap is spread over hours, then days; past 1,500 days not at all


def increments(previous: Snapshot | None, current: Snapshot) -> list[Increment]:
    """What was counted between two snapshots of a target, spread over the UTC minutes between their clocks.

    Every series has an increment in every minute, of zeros if it was quiet; counts sum exactly to the whole. Gauges and
    infos go to the minute of `current`. Without `previous` all goes there. Another epoch is a restart: all of `current` is
    new; a count that fell says the same of its version alone, which was retired or lost. A clock that went back, or leapt
    by more than 1,500 days, says nothing about the time between: all goes to the minute of `current`. Over a gap of more
    than a day (25 hours) shares go to the first minute of each hour; over more than 62 days, of each day.

    >>> rows = Series("ml_predictions_total", (("model", "m"),), "counter", 1, 0)
    >>> before, after = (
    ...     Snapshot(clock, "e", 1, {rows: Vector(np.array([n]), np.zeros(0))})
    ...     for clock, n in ((30.0, 4), (120.0, 7))
    ... )
    >>> [(i.start, i.vector.counts.tolist()) for i in increments(before, after)]
    [(0, [1]), (60, [2])]
    """
    known: Mapping[Series, Vector] = {}
    if previous is not None and previous.epoch == current.epoch:
        anew = _fell(previous, current)
        known = {series: vector for series, vector in previous.series.items() if _version(series) not in anew}
    adding = {series: vector for series, vector in current.series.items() if series.kind in ADDITIVE}
    minute = int(current.clock // MINUTE) * MINUTE
    lasting = [Increment(s, minute, v) for s, v in current.series.items() if s.kind not in ADDITIVE]
    starts, seconds = _pieces(current.clock if previous is None else previous.clock, current.clock)
    return _spread({s: _grown(known.get(s), v) for s, v in adding.items()}, starts, seconds) + lasting


def restarted(previous: Snapshot, current: Snapshot) -> bool:
    """Whether the counters began anew between two snapshots: another epoch, or a count that fell."""
    return previous.epoch != current.epoch or bool(_fell(previous, current))


def _fell(previous: Snapshot, current: Snapshot) -> set[tuple[str | None, ...]]:
    """The versions of which a count fell."""
    return {
        _version(series)
        for series, vector in current.series.items()
        if (before := previous.series.get(series)) is not None
        and series.kind in ADDITIVE
        and (vector.counts < before.counts).any()
    }


def _version(series: Series) -> tuple[str | None, ...]:
    return series.label("model"), series.label("version")


def _grown(before: Vector | None, vector: Vector) -> Vector:
    """How much a vector grew. A sum that ran into infinity has no difference any more: it counts as 0."""
    if before is None:
        counts, sums = vector.counts, vector.sums
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            counts, sums = vector.counts - before.counts, vector.sums - before.sums
    return Vector(counts, np.where(np.isfinite(sums), sums, 0.0))


def _pieces(begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The minutes (hours, days over a long gap) between two clocks: the minute each begins in, and its seconds."""
    step = next((s for s in (MINUTE, HOUR, DAY) if end - begin <= s * MOST_PIECES), None)
    if end <= begin or step is None:
        return np.array([end // MINUTE * MINUTE], dtype=np.int64), np.ones(1)
    inner = np.arange(begin // step * step + step, end, step)
    cuts = np.concatenate([[begin], inner, [end]])
    return (cuts[:-1] // MINUTE * MINUTE).astype(np.int64), np.diff(cuts)


def _spread(grown: Mapping[Series, Vector], starts: np.ndarray, seconds: np.ndarray) -> list[Increment]:
    """Share out vectors in proportion to `seconds`.

    All counts lie end to end. The total of a piece is rounded so that it is right at every moment to within one; what it
    takes from each slot is rounded so that every run of slots (a column) has its proportion to within one.
    """
    if not grown:
        return []
    counts = np.concatenate([vector.counts for vector in grown.values()])
    sums = np.concatenate([vector.sums for vector in grown.values()])
    passed = np.cumsum(seconds) / np.sum(seconds)
    passed[-1] = 1.0
    low, high = _beside(list(grown))
    weights = _totals(counts, low, high)
    found: list[Increment] = []
    total, order = int(counts.sum()), _order(grown)
    rest, given = counts, np.zeros_like(sums)
    for start, share in zip(starts.tolist(), passed.tolist(), strict=True):
        taken = rest if share == 1.0 else _take(rest, order, round(total * share) - (total - int(rest.sum())))
        rest = rest - taken
        done = np.divide(
            _totals(counts - rest, low, high), weights, out=np.full(len(sums), share), where=weights > 0
        )
        found += _cut(grown, start, taken, sums * done - given)
        given = sums * done
    return found


def _order(grown: Mapping[Series, Vector]) -> np.ndarray:
    """intp[slots]: in which order slots are rounded; each series begins somewhere, as good as by chance.

    Few rows of each of many processes would else all be taken from the same parts of a column, and none of its minutes would
    look like it. The same counts have the same order.
    """
    found, place = [], 0
    for vector in grown.values():
        n = len(vector.counts)
        begin = int(np.cumsum(vector.counts).sum()) * _STEP % max(n, 1)
        found.append(place + np.roll(np.arange(n), begin))
        place += n
    return np.concatenate(found)


def _take(rest: np.ndarray, order: np.ndarray, n: int) -> np.ndarray:
    """Take `n` of what is left, from each slot its proportion."""
    ends = np.cumsum(rest[order])
    taken = np.zeros_like(rest)
    if n <= 0 or not len(ends) or ends[-1] == 0:
        return taken
    rounded = np.floor(ends * (n / ends[-1]) + 0.5).astype(np.int64)
    taken[order] = np.diff(rounded, prepend=0)
    return np.asarray(np.minimum(taken, rest))


def _beside(series: Sequence[Series]) -> tuple[np.ndarray, np.ndarray]:
    """For each sum, the range of counts that it sums over: its own slot's, or all of its series'."""
    low, high, place = [], [], 0
    for one in series:
        slots = np.arange(place, place + one.counts)
        own = one.sums == one.counts
        low.append(slots if own else np.full(one.sums, place))
        high.append(slots + 1 if own else np.full(one.sums, place + one.counts))
        place += one.counts
    return np.concatenate(low), np.concatenate(high)


def _totals(counts: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    totals: np.ndarray = (ends[high] - ends[low]).astype(np.float64)
    return totals


def _cut(grown: Mapping[Series, Vector], start: int, counts: np.ndarray, sums: np.ndarray) -> list[Increment]:
    found, count, total = [], 0, 0
    for series in grown:
        vector = Vector(counts[count : count + series.counts], sums[total : total + series.sums])
        found.append(Increment(series, start, vector))
        count, total = count + series.counts, total + series.sums
    return found
