"""The rules that dashboards come with: PSI > 0.2, KS p < .05, mean ± 3 sd.

Each is given a reference and other hours of one column, and says bool[H]: whether the column is in alarm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from barograph.bins import Bins

PSI, KS, MEAN = "PSI > 0.2", "KS p < .05", "mean ± 3 sd"
LEVEL = 0.05
FLOOR = 1e-4  # the least share that PSI reckons with
THIN = 1_000  # rows of an hour of the reference that tests and deciles read, about


@dataclass(frozen=True, eq=False)
class Hours:
    """Hours of one column: `counts` int64[H, size] and, of a number, its `values` float64[H, n], NaN where missing."""

    bins: Bins
    counts: np.ndarray
    values: np.ndarray | None = None

    def at(self, hours: slice) -> "Hours":
        """Some of them."""
        return Hours(self.bins, self.counts[hours], None if self.values is None else self.values[hours])


def psi(reference: Hours, live: Hours) -> np.ndarray:
    """Population stability index above 0.2: deciles of the reference or categories, and a cell for missing values."""
    return _psi(reference, live) > 0.2


def _psi(reference: Hours, live: Hours) -> np.ndarray:
    if reference.values is None or live.values is None:
        whole, hourly = _cells(reference).sum(axis=0), _cells(live)
    else:
        known = _thinned(reference.values)
        cuts = np.nanquantile(known, np.arange(1, 10) / 10)
        whole, hourly = _deciles(cuts, known).sum(axis=0), _deciles(cuts, live.values)
    p = np.maximum(whole / whole.sum(), FLOOR)
    q = np.maximum(hourly / hourly.sum(axis=1, keepdims=True), FLOOR)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def _deciles(cuts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """int64[H, 11]: rows by decile of the reference, and missing ones."""
    size = len(cuts) + 2
    cells = np.where(np.isnan(values), size - 1, np.searchsorted(cuts, values))
    flat = cells + size * np.arange(len(values))[:, None]
    return np.bincount(flat.ravel(), minlength=size * len(values)).reshape(-1, size)


def _cells(hours: Hours) -> np.ndarray:
    """Counts by category; what was rare in the reference and what is new are one."""
    bins, counts = hours.bins, hours.counts
    if bins.unseen is None:
        return counts
    counts = counts.copy()
    counts[:, bins.other] += counts[:, bins.unseen]
    counts[:, bins.unseen] = 0
    return counts


def _thinned(values: np.ndarray) -> np.ndarray:
    """A reference of not many more rows than THIN an hour, taken evenly."""
    return values[:, :: max(1, values.shape[1] // THIN)]


def ks(reference: Hours, live: Hours) -> np.ndarray:
    """Two-sample Kolmogorov-Smirnov test of a number, chi-square test of a category, each at 5 %; missing values dropped."""
    if reference.values is None:
        return _chi_square(reference, live) < LEVEL
    far, n = _ks(reference, live)
    sizes, which = np.unique(n, return_inverse=True)
    return np.asarray(far > np.array([_critical(size) for size in sizes.tolist()])[which])


def _ks(reference: Hours, live: Hours) -> tuple[np.ndarray, np.ndarray]:
    """float64[H] and int64[H]: the distance, and the size that both samples together count for; 0 and 1 without values."""
    assert reference.values is not None and live.values is not None
    known, values = np.sort(_thinned(reference.values), axis=None), np.sort(live.values, axis=1)
    known = known[~np.isnan(known)]
    n, rank = np.count_nonzero(~np.isnan(values), axis=1)[:, None], np.arange(values.shape[1])
    some = np.maximum(n, 1)
    above = (rank + 1) / some - np.searchsorted(known, values, side="right") / len(known)
    below = np.searchsorted(known, values, side="left") / len(known) - rank / some
    far = np.where(rank < n, np.maximum(above, below), 0.0).max(axis=1)
    both = np.round(n[:, 0] * len(known) / (n[:, 0] + len(known)))
    return far, np.maximum(both, 1).astype(np.int64)


@cache
def _critical(n: int) -> float:
    """The distance that chance exceeds in 5 of 100 samples."""
    return float(stats.kstwo.isf(LEVEL, n))


def _chi_square(reference: Hours, live: Hours) -> np.ndarray:
    """float64[H]: p of the same shares of categories in both; 1 where an hour has no value."""
    whole, hourly = _cells(reference).sum(axis=0), _cells(live)
    known = np.arange(len(whole)) < reference.bins.missing
    whole, hourly = whole[known], hourly[:, known]
    both = whole + hourly
    n = hourly.sum(axis=1, keepdims=True)
    share = both / np.maximum(both.sum(axis=1, keepdims=True), 1)
    sizes = (whole.sum(), whole), (n, hourly)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [
            np.where(share * m > 0, (counted - share * m) ** 2 / (share * m), 0.0) for m, counted in sizes
        ]
    chi = (parts[0] + parts[1]).sum(axis=1)
    freedom = np.maximum(np.count_nonzero(both, axis=1) - 1, 1)
    return np.where(n[:, 0] > 0, stats.chi2.sf(chi, freedom), 1.0)


def mean(reference: Hours, live: Hours) -> np.ndarray:
    """An hour's mean more than 3 sd of the reference's hourly means from their mean; numbers only, missing values dropped."""
    if reference.values is None or live.values is None:
        return np.zeros(len(live.counts), dtype=bool)
    before, now = _hourly_means(reference.values), _hourly_means(live.values)
    return np.asarray(np.abs(now - np.nanmean(before)) > 3 * np.nanstd(before, ddof=1))


def _hourly_means(values: np.ndarray) -> np.ndarray:
    n = np.count_nonzero(~np.isnan(values), axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


RULES: dict[str, Callable[[Hours, Hours], np.ndarray]] = {PSI: psi, KS: ks, MEAN: mean}
