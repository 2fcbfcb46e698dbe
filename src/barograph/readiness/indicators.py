"""Do signals move together with how good the answers were? Rank correlation over days whose labels have matured.

Days in a row are alike, so that fewer than there are count: Bartlett's correction of their number, by the autocorrelation of both
series (Pyper and Peterman, 1998). Many signals are asked at once: q-values of Benjamini and Hochberg (1995). A correlation is no
cause, and says nothing of faults that no day had yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

ENOUGH_DAYS = 14  # with fewer, only what nobody can miss would be told
ENOUGH_APART = 8.0  # days that are left once those alike are taken off
FALSE = 0.05  # share of false ones among those that are told
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Indicator:
    """How a signal went along with the loss of a day's answers.

    `rho` is Spearman's rank correlation with its 95 % interval, `p` its two-sided chance without any relation, `q` the same among
    all signals asked; NaN (None in JSON) where `why` says that it cannot be told. `days` were compared, worth `apart`
    that are not alike.
    """

    name: str
    days: int
    apart: float
    rho: float
    low: float
    high: float
    p: float
    q: float
    why: str = ""

    @property
    def told(self) -> bool:
        """Whether there is a relation, as far as one false in twenty allows."""
        return bool(self.q <= FALSE)

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.why:
            return self.why
        if not self.told:
            return "no relation told"
        return "rises with the error" if self.rho > 0 else "falls as the error rises"


def indicators(loss: np.ndarray, signals: Mapping[str, np.ndarray]) -> tuple[Indicator, ...]:
    """Each signal, float64[D], against the loss of the days' answers, float64[D]; the closest first.

    D days are in order; NaN is a day on which one of the two is not known.

    >>> day = np.arange(20) % 7.0
    >>> found = indicators(day + np.arange(20) % 3, {"late": day * 2, "flat": np.ones(20)})
    >>> [(one.name, one.told, one.why) for one in found]
    [('late', True, ''), ('flat', False, 'always the same')]
    """
    found = [_one(name, np.asarray(values, dtype=np.float64), loss) for name, values in signals.items()]
    held = [i for i, one in enumerate(found) if not one.why]
    for i, q in zip(held, false_discovery(np.array([found[i].p for i in held])).tolist(), strict=True):
        one = found[i]
        found[i] = Indicator(one.name, one.days, one.apart, one.rho, one.low, one.high, one.p, q)
    return tuple(sorted(found, key=lambda one: (bool(one.why), one.q, one.p, -abs(one.rho), one.name)))


def _one(name: str, values: np.ndarray, loss: np.ndarray) -> Indicator:
    both = np.isfinite(values) & np.isfinite(loss)
    days, nothing = int(both.sum()), float("nan")

    def none(why: str, apart: float = nothing) -> Indicator:
        return Indicator(name, days, apart, nothing, nothing, nothing, nothing, nothing, why)

    if days < ENOUGH_DAYS:
        return none(f"too few days ({days} of {ENOUGH_DAYS})")
    x, y = ranks(values[both]), ranks(loss[both])
    if not np.ptp(x) or not np.ptp(y):
        return none("always the same" if not np.ptp(x) else "the error is always the same")
    rho, apart = correlation(x, y), days_apart(x, y)
    if apart < ENOUGH_APART:
        return none(f"days too much alike (worth {apart:.0f} of {days})", apart)
    return Indicator(name, days, apart, rho, *interval(rho, apart), chance(rho, apart), nothing)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 on, of equal ones their mean: float64[n].

    >>> ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist()
    [3.5, 1.0, 3.5, 2.0]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation: of ranks, Spearman's. NaN where either is constant."""
    x, y = x - x.mean(), y - y.mean()
    under = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / under, -1, 1)) if under > 0 else float("nan")


def days_apart(x: np.ndarray, y: np.ndarray) -> float:
    """How many independent days n days in order are worth for a correlation: n where they are not alike, else fewer."""
    n = len(x)
    lags = np.arange(1, max(n // 5, 1) + 1)
    alike = _alike(x, lags) * _alike(y, lags)
    return float(n / max(1.0, 1 + 2 * ((n - lags) / n * alike).sum()))


def _alike(x: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Autocorrelation at each lag, with what chance takes off given back (Kendall, 1954): about -1/n without any."""
    x = x - x.mean()
    n, square = len(x), float(x @ x)
    found = np.array([n / (n - k) * float(x[k:] @ x[:-k]) / square for k in lags.tolist()])
    return np.asarray(np.clip(found + 1 / (n - lags), -1.0, 1.0))


def chance(rho: float, n: float) -> float:
    """Two-sided p-value of Spearman's rho over n independent pairs, by Student's t with n - 2 degrees of freedom.

    >>> round(chance(0.5, 20), 4)
    0.0248
    """
    if abs(rho) >= 1:
        return 0.0
    t = abs(rho) * np.sqrt((n - 2) / (1 - rho**2))
    return float(2 * special.stdtr(n - 2, -t))


def interval(rho: float, n: float) -> tuple[float, float]:
    """95 % interval of Spearman's rho over n independent pairs: Fisher's z with the error of Bonett and Wright (2000).

    >>> [round(end, 2) for end in interval(0.5, 40)]
    [0.2, 0.71]
    """
    rho = float(np.clip(rho, -1 + 1e-9, 1 - 1e-9))
    half = _Z * np.sqrt((1 + rho**2 / 2) / max(n - 3, 1))
    low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return float(low), float(high)


def false_discovery(p: np.ndarray | Sequence[float]) -> np.ndarray:
    """q-values of p-values, float64[m]: the share of false ones among those that are no larger (Benjamini and Hochberg, 1995).

    >>> false_discovery([0.01, 0.04, 0.03, 0.5]).round(3).tolist()
    [0.04, 0.053, 0.053, 0.5]
    """
    p = np.asarray(p, dtype=np.float64)
    if not len(p):
        return p
    order = np.argsort(p)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return q


def least_told(n: float, signals: int) -> float:
    """The weakest correlation that n independent days can tell, if it is the only one among so many signals.

    >>> round(least_told(30, 1), 2), round(least_told(30, 40), 2)
    (0.36, 0.56)
    """
    t = -special.stdtrit(n - 2, FALSE / (2 * max(signals, 1)))
    return float(t / np.sqrt(n - 2 + t**2))
