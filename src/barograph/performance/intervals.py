"""Estimates, and the intervals around them: 95 %, for rows that are independent."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv, expit, logit

LEVEL = 0.95
Z = 1.959963984540054  # the normal distribution's quantile at 1 - TAIL
TAIL = (1 - LEVEL) / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, from `n` rows; NaN where nothing can be said.

    Where `enough` is False, `why` says what is missing; the value is then for curiosity, not for judgement.
    """

    value: float
    low: float
    high: float
    n: float
    enough: bool = True
    why: str = ""


NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


def jeffreys(hits: np.ndarray | float, trials: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Jeffreys interval of a share, low and high; open towards 0 without hits, and towards 1 without misses.

    Brown, Cai and DasGupta, "Interval estimation for a binomial proportion" (2001).

    >>> low, high = jeffreys(0, 20)
    >>> float(low), round(float(high), 4)
    (0.0, 0.1166)
    """
    hits, trials = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    misses = trials - hits
    low, high = (betaincinv(hits + 0.5, misses + 0.5, tail) for tail in (TAIL, 1 - TAIL))
    return np.where(hits > 0, low, 0.0), np.where(misses > 0, high, 1.0)


def wilson(hits: float, trials: float) -> tuple[float, float]:
    """Wilson interval of a share, low and high.

    >>> [round(limit, 4) for limit in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    share, spread = hits / trials, Z**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return float(middle - half) if hits > 0 else 0.0, float(middle + half) if hits < trials else 1.0


def share_estimate(hits: float, trials: float) -> Estimate:
    """A share of `trials`, with its Jeffreys interval."""
    if not trials > 0:
        return NOTHING
    low, high = jeffreys(hits, trials)
    return Estimate(float(hits / trials), float(low), float(high), whole(trials))


def logit_estimate(value: float, variance: float, trials: float) -> Estimate:
    """A value in 0..1 whose logit is about normal; at 0 or 1, where it has no spread, that of as many trials."""
    if not 0 < value < 1:
        return share_estimate(trials if value > 0 else 0.0, trials)
    half = Z * np.sqrt(variance) / (value * (1 - value))
    low, high = expit(logit(value) - half), expit(logit(value) + half)
    return Estimate(float(value), float(low), float(high), whole(trials))


def mean_estimate(total: float, squares: float, n: float, least: float = -np.inf) -> Estimate:
    """A mean, from the sums of what is averaged and of its squares."""
    if not n > 1:
        return replace(NOTHING, value=float(total / n), n=whole(n)) if n > 0 else NOTHING
    mean = max(total / n, least)
    half = Z * np.sqrt(max(squares / n - mean**2, 0.0) / (n - 1))
    return Estimate(float(mean), float(max(mean - half, least)), float(mean + half), whole(n))


def whole(rows: float) -> int:
    """The number of rows, which may be weighted, as a whole one."""
    return round(float(rows))
