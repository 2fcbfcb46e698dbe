"""Golden signals from counts: rate, errors, duration, and what is usual for the hour of the week.

Where too few were counted the answer is NaN in arrays and None alone: never 0.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from barograph.naming import DURATION_BUCKETS

WEEK = 7 * 86_400
WEEKS = 4
SILENCE = (
    14  # expected events above which none at all is no accident: chance would do it once in a million hours
)
STEADY_BEFORE = (
    2 * 3600,
    86_400,
    WEEK,
)  # seconds ago that an hour ended in which events may have come steadily


def rate(count: float, seconds: float) -> float:
    """Events a second.

    >>> rate(120, 60)
    2.0
    """
    if not seconds > 0:
        raise ValueError(f"seconds: {seconds} is no length of time; it must be above 0")
    return count / seconds


def share(part: float, whole: float, minimum: int = 1) -> float | None:
    """Part of the whole, 0 to 1; None below `minimum` of the whole. Errors among requests, for one.

    >>> share(3, 60), share(0, 0)
    (0.05, None)
    """
    return None if whole < max(minimum, 1) else part / whole


def shares(parts: np.ndarray, wholes: np.ndarray, minimum: int = 1) -> np.ndarray:
    """The same of many windows; NaN below `minimum`."""
    wholes = np.asarray(wholes, dtype=np.float64)
    enough = wholes >= max(minimum, 1)
    return np.asarray(parts / np.where(enough, wholes, np.nan))


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds that requests took: quantiles and mean, None where too few were counted to tell; `n` requests."""

    n: int
    p50: float | None
    p95: float | None
    p99: float | None
    mean: float | None


def durations(counts: np.ndarray, seconds: float) -> Durations:
    """Of one window: counts int64[buckets] of each bucket of `naming.DURATION_BUCKETS` alone, and their seconds in all.

    >>> found = durations(np.array([0] * 9 + [50] + [0] * 17), 2.25)
    >>> found.p50, found.p99, found.mean
    (0.045, None, 0.045)
    """
    n = int(np.sum(counts))
    p50, p95, p99 = (
        None if np.isnan(s) else float(s) for s in duration_quantiles(counts, np.array([0.5, 0.95, 0.99]))
    )
    return Durations(n, p50, p95, p99, seconds / n if n else None)


def duration_quantiles(counts: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Quantiles in seconds: counts (..., buckets), each bucket alone and the last one open, to (..., Q).

    Requests are spread evenly over their bucket; those of the open one count as its lower end, 30 s. NaN
    where fewer than 1 / (1 - q) were counted: then none is expected beyond the quantile.
    """
    q = np.asarray(q, dtype=np.float64)
    bounds = np.array([0.0, *DURATION_BUCKETS, DURATION_BUCKETS[-1]])
    if np.shape(counts)[-1] != len(bounds) - 1:
        raise ValueError(
            f"counts: {np.shape(counts)[-1]} buckets; there are {len(bounds) - 1}, the last one open"
        )
    below = np.cumsum(counts, axis=-1)
    total = below[..., -1:]
    wanted = q * total
    bucket = np.minimum(np.sum(below[..., None, :] < wanted[..., :, None], axis=-1), len(bounds) - 2)
    inside = np.take_along_axis(np.asarray(counts), bucket, axis=-1)
    part = (wanted - np.take_along_axis(below, bucket, axis=-1) + inside) / np.maximum(inside, 1)
    found = bounds[bucket] + (bounds[bucket + 1] - bounds[bucket]) * part
    enough = (total > 0) & (total * (1 - q) >= 1 - 1e-9)
    return np.where(enough, found, np.nan)


def slower(counts: np.ndarray, seconds: float) -> int:
    """How many requests took longer than `seconds`, or than the next bound above it: counts of each bucket alone.

    >>> slower(np.array([0] * 16 + [9, 2] + [0] * 8 + [1]), 0.5)
    3
    """
    return int(np.sum(counts[bisect_left(DURATION_BUCKETS, seconds) + 1 :]))


def steady(counts: np.ndarray, size: int) -> bool:
    """Whether events came in every run of `size` windows: those that come in bursts leave gaps, and a gap is no news then.

    >>> steady(np.array([3, 0, 2, 1, 0, 4]), 2), steady(np.array([9, 0, 0, 0, 0, 9]), 2)
    (True, False)
    """
    if len(counts) < size:
        return False
    return bool(np.convolve(counts > 0, np.ones(size, dtype=np.int64), "valid").all())


@dataclass(frozen=True, eq=False)
class Usual:
    """What is usual for some hours: events `expected`, and the band `low` to `high`; NaN where nothing is known."""

    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray


def usual(
    at: np.ndarray, starts: np.ndarray, counts: np.ndarray, *, weeks: int = WEEKS, least: int = 2
) -> Usual:
    """What is usual for the hours that begin at `at`, from the same hour of up to `weeks` weeks before.

    `starts` are the epoch seconds of the hours known, in order, and `counts` their events; an hour left out
    is unknown, not empty. Expected is the median. The band spans what those weeks had, two standard
    deviations of a count wider at either end. With fewer than `least` such weeks nothing is known.

    >>> hours = np.arange(3) * WEEK
    >>> week = usual(np.array([3 * WEEK]), hours, np.array([100, 64, 81]))
    >>> week.expected.tolist(), week.low.tolist(), week.high.tolist()
    ([81.0], [48.0], [120.0])
    """
    at, starts = np.asarray(at, dtype=np.int64), np.asarray(starts, dtype=np.int64)
    known = np.append(np.asarray(counts, dtype=np.float64), np.nan)
    past = at[:, None] - WEEK * np.arange(1, weeks + 1)
    where = np.searchsorted(starts, past)
    found = np.append(starts, np.int64(-1))[where] == past
    same = np.sort(known[np.where(found, where, len(starts))], axis=1)  # unknown ones, NaN, come last
    n = found.sum(axis=1)
    row = np.arange(len(at))
    low, high = same[:, 0], same[row, np.maximum(n - 1, 0)]
    middle = (same[row, np.maximum(n - 1, 0) // 2] + same[row, n // 2]) / 2
    low, high = np.maximum(low - 2 * np.sqrt(low), 0.0), high + 2 * np.sqrt(high)
    enough = n >= max(least, 1)
    return Usual(*(np.where(enough, line, np.nan) for line in (middle, low, high)))


def silent(count: int, expected: float | None) -> bool | None:
    """Whether nothing came where at least 14 events were expected; None where it is not known what to
    expect, or where nothing is as likely as not: then neither silence nor its end is news.

    >>> silent(0, 20.0), silent(0, 9.0), silent(0, None)
    (True, None, None)
    """
    if expected is None or np.isnan(expected):
        return None
    if count == 0 and expected < SILENCE:
        return None
    return count == 0
