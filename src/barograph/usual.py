"""Lines for what is no column: traffic by the hour of the week, shares of rows, and values with an error of their own.

Each has its own law of chance; to it comes what ordinary hours vary beyond chance, and how much worse a
column's worst days are, as for columns (see `calibrate`). Where the history tells too little the answer is
NaN, never a line.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from barograph.lanes import DAY, HOUR, HOURLY
from barograph.pooling import MINIMUM_DAYS, worst_days

WEEK = 7 * DAY
WEEKS = 8  # that tell what is usual for an hour of the week
LEAST = 2


@dataclass(frozen=True, eq=False)
class Band:
    """What is usual: `expected`, and the lines `low` and `high`, each float64[W]; NaN where nothing is known.

    An alarm is a window outside the band, by the rule of the hourly lane.
    """

    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def ratios(self, values: np.ndarray) -> np.ndarray:
        """How far values are from what is expected, as multiples of the way to the line: above 1 is outside."""
        with np.errstate(divide="ignore", invalid="ignore"):
            up = (values - self.expected) / (self.high - self.expected)
            down = (self.expected - values) / (self.expected - self.low)
        return np.asarray(np.where(values >= self.expected, up, down))


def counts_band(
    at: np.ndarray, starts: np.ndarray, counts: np.ndarray, *, budget: float = 1.0, series: int = 1
) -> Band:
    """The usual number of events in the hours that begin at `at`, by the same hour of up to eight weeks before.

    `starts` int64[T] are the epoch seconds of hours known, in order, `counts` their events; an hour left out
    is unknown, not empty. Counts vary more than chance has it: as gamma-Poisson, whose spread all hours of
    the history tell. `budget` alarms a month are shared by `series` such series. NaN with fewer than two
    weeks, or seven days of hours that have two weeks before them.

    >>> hours = 3600 * np.arange(5 * 168)
    >>> band = counts_band(np.array([3600 * 5 * 168]), hours, np.full(5 * 168, 400))
    >>> band.expected.tolist(), bool(band.low[0] < 350), bool(band.high[0] > 450)
    ([400.0], True, True)
    """
    at, starts = np.asarray(at, dtype=np.int64), np.asarray(starts, dtype=np.int64)
    known = np.append(np.asarray(counts, dtype=np.float64), np.nan)
    expected, weeks = _same_hours(at, starts, known)
    before, held = _same_hours(starts, starts, known)
    judged = np.flatnonzero(~np.isnan(before))
    if len(np.unique(starts[judged] // DAY)) < MINIMUM_DAYS:
        nothing = np.full(len(at), np.nan)
        return Band(nothing, nothing, nothing)
    value, mean, k = known[judged], before[judged], held[judged]
    squares = (value - mean) ** 2 / (1 + 1 / k) - mean
    extra = max(float(squares.sum() / max((mean**2).sum(), 1.0)), 0.0)

    def lines(mean: np.ndarray, k: np.ndarray) -> Band:
        variance = (mean + extra * mean**2) * (1 + 1 / k) + 1.0
        return _gamma(mean, variance, _alpha(budget, series))

    kappa = _lift(lines(mean, k).ratios(value), starts[judged], budget, series)
    band = _widened(lines(expected, weeks), kappa)
    return Band(band.expected, np.maximum(band.low, 0.0), band.high)


def shares_band(
    n: np.ndarray,
    starts: np.ndarray,
    parts: np.ndarray,
    totals: np.ndarray,
    *,
    budget: float = 1.0,
    series: int = 1,
) -> Band:
    """The usual share in windows of n rows, from `parts` of `totals` in the hours that begin at `starts`.

    Shares vary more than chance has it: as beta-binomial. Slow requests, errors, empty answers: whatever is a
    part of rows. Hours with fewer than 30 rows tell nothing; NaN with fewer than seven days.

    >>> hours = 3600 * np.arange(14 * 24)
    >>> band = shares_band(np.array([1000.0]), hours, np.full(14 * 24, 20), np.full(14 * 24, 1000))
    >>> band.expected.tolist(), bool(0.03 < band.high[0] < 0.06)
    ([0.02], True)
    """
    n, starts = np.asarray(n, dtype=np.float64), np.asarray(starts)
    kept = np.asarray(totals) >= HOURLY.minimum
    part, total, at = np.asarray(parts, np.float64)[kept], np.asarray(totals, np.float64)[kept], starts[kept]
    if len(np.unique(at // DAY)) < MINIMUM_DAYS:
        nothing = np.full(n.shape, np.nan)
        return Band(nothing, nothing, nothing)
    p, rows = float(part.sum() / total.sum()), float(total.sum())
    tau = max(float(np.mean((part / total - p) ** 2 - p * (1 - p) * (1 / total - 1 / rows))), 0.0)

    def lines(n: np.ndarray, sign: float) -> Band:
        r = np.maximum(1 / n + sign / rows, 1e-12)
        return _beta(np.full(n.shape, p), (p * (1 - p) + r) * r + tau, n, _alpha(budget, series))

    kappa = _lift(lines(total, -1.0).ratios(part / total), at, budget, series)
    few = n < HOURLY.minimum
    band = _widened(lines(np.maximum(n, 1.0), 1.0), kappa)
    low, high = np.maximum(band.low, 0.0), np.minimum(band.high, 1.0)
    return Band(*(np.where(few, np.nan, one) for one in (band.expected, low, high)))


def values_band(
    error: np.ndarray,
    starts: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    *,
    budget: float = 1.0,
    series: int = 1,
) -> Band:
    """The usual value in windows whose standard error is `error`, from `values` with their `errors` at `starts`.

    Quality metrics and quantiles of latency, whatever has an error of its own. Windows without one tell
    nothing; NaN with fewer than seven days.
    """
    error = np.asarray(error, dtype=np.float64)
    kept = np.isfinite(values) & np.isfinite(errors)
    x, e, at = np.asarray(values)[kept], np.asarray(errors)[kept], np.asarray(starts)[kept]
    if len(np.unique(at // DAY)) < MINIMUM_DAYS:
        nothing = np.full(error.shape, np.nan)
        return Band(nothing, nothing, nothing)
    mean = float(np.mean(x))
    tau = max(float(np.mean((x - mean) ** 2 - e**2)), 0.0)
    z = float(-special.ndtri(_alpha(budget, series) / 2))

    def lines(error: np.ndarray) -> Band:
        reach = z * np.sqrt(error**2 + tau + 1e-18)
        return Band(np.full(error.shape, mean), mean - reach, mean + reach)

    return _widened(lines(error), _lift(lines(e).ratios(x), at, budget, series))


def _same_hours(at: np.ndarray, starts: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the same hour of the weeks before, and of how many: NaN with fewer than two."""
    past = at[:, None] - WEEK * np.arange(1, WEEKS + 1)
    where = np.searchsorted(starts, past)
    found = np.append(starts, np.int64(-1))[where] == past
    values = np.where(found, known[np.where(found, where, len(starts))], 0.0)
    k = found.sum(axis=1).astype(np.float64)
    return np.where(k >= LEAST, values.sum(axis=1) / np.maximum(k, 1), np.nan), np.maximum(k, 1)


def _alpha(budget: float, series: int) -> float:
    if not budget > 0:
        raise ValueError(f"budget: {budget} alarms a month; it must be above 0, such as 1.0")
    return budget / (HOURLY.windows * max(series, 1))


def _lift(ratios: np.ndarray, starts: np.ndarray, budget: float, series: int) -> float:
    """What the worst days of the history ask for."""
    _, first = np.unique(starts // DAY, return_index=True)
    level = HOURLY.level(starts, starts + HOUR, ratios)
    return float(worst_days(level[:, None], first, min(budget / (30 * max(series, 1)), 1.0), HOURLY.tail)[0])


def _widened(band: Band, kappa: float) -> Band:
    low, high = ((1 - kappa) * band.expected + kappa * line for line in (band.low, band.high))
    return Band(band.expected, low, high)


def _gamma(mean: np.ndarray, variance: np.ndarray, alpha: float) -> Band:
    some = np.maximum(mean, 0.5)  # none at all in weeks is no promise of none
    h, g = some**2 / variance, variance / some
    low, high = special.gammaincinv(h, alpha / 2) * g, special.gammainccinv(h, alpha / 2) * g
    return Band(mean, np.minimum(low, mean), np.maximum(high, mean + 1))


def _beta(p: np.ndarray, variance: np.ndarray, n: np.ndarray, alpha: float) -> Band:
    z = float(-special.ndtri(alpha / 2))
    inner = np.clip(p, 1e-12, 1 - 1e-12)
    size = np.maximum(inner * (1 - inner) / variance - 1, 1e-3)
    a, b = inner * size, (1 - inner) * size
    low, high = special.betaincinv(a, b, alpha / 2), special.betainccinv(a, b, alpha / 2)
    return Band(p, np.minimum(low, p), np.maximum(high, p + (z + 3) / n))  # a few rows are no news
