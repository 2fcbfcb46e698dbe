"""What pages show of a numeric column: quantiles, mean and deviation, from counts over its bins and the sums in them."""

import numpy as np

from barograph.bins import Bins, NumericBins


def quantile(
    bins: NumericBins, counts: np.ndarray, q: float | np.ndarray, sums: np.ndarray | None = None
) -> np.ndarray:
    """Quantiles of the non-missing values: counts (..., size), and q or Q of them, to (...) or (..., Q).

    Values are spread evenly over their bin; with `sums`, over the widest part of it around their mean, and
    not at all where they look like one value (see `_points`). An open outer bin reaches as far as its mean
    says, or, without sums, no farther than its edge.

    >>> bins = NumericBins(np.array([0.0, 10.0]), low=0.0, high=10.0)
    >>> quantile(bins, np.array([0, 100, 0, 7, 0]), np.array([0.1, 0.5])).tolist()
    [1.0, 5.0]
    """
    values = counts[..., : bins.values]
    below = np.cumsum(values, axis=-1)
    total = below[..., -1:]
    wanted = np.asarray(q, dtype=np.float64).reshape(-1) * total
    index = np.sum(below[..., None, :] < wanted[..., :, None], axis=-1)
    index = np.maximum(
        index, np.argmax(values > 0, axis=-1)[..., None]
    )  # q = 0: the first that holds a value
    left, right = _spans(bins, values, sums)
    mass = np.take_along_axis(values, index, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (wanted - (np.take_along_axis(below, index, axis=-1) - mass)) / mass
        low = np.take_along_axis(left, index, axis=-1)
        found = low + (np.take_along_axis(right, index, axis=-1) - low) * part
    found = np.where(total > 0, found, np.nan)
    return found if np.ndim(q) else np.asarray(found[..., 0])


def moments(
    bins: NumericBins, counts: np.ndarray, sums: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the non-missing values, each of shape (...).

    The mean is exact with `sums`. The deviation is that of the bins' means, without the spread inside the
    bins: a little low, and much too low under a heavy tail.
    """
    values = counts[..., : bins.values]
    means = bin_means(bins, values, sums)
    rows = values.sum(axis=-1)
    mean = ratio((values * means).sum(axis=-1), rows)
    with np.errstate(over="ignore", invalid="ignore"):
        square = ratio((values * (means - mean[..., None]) ** 2).sum(axis=-1), rows)
    return mean, np.sqrt(square)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where the whole is 0: no rows are no answer."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.true_divide(part, np.where(whole > 0, whole, np.nan)))


def edges_of(bins: NumericBins) -> tuple[np.ndarray, np.ndarray]:
    """Left and right edge of each value slot; an open side is as far as its only edge."""
    if not len(bins.edges):
        return np.zeros(1), np.zeros(1)
    return np.append(bins.edges[:1], bins.edges), np.append(bins.edges, bins.edges[-1:])


def middles_of(bins: Bins) -> np.ndarray:
    """float64[values]: the middle of each slot; NaN where the bins are no numbers."""
    if not isinstance(bins, NumericBins):
        return np.full(bins.values, np.nan)
    left, right = edges_of(bins)
    return np.asarray(left + (right - left) / 2)


def bin_means(bins: NumericBins, values: np.ndarray, sums: np.ndarray | None) -> np.ndarray:
    """float64[..., values]: the mean of each slot; its middle without sums, or where it is empty."""
    middles: np.ndarray = np.broadcast_to(middles_of(bins), values.shape)
    if sums is None:
        return middles
    return np.asarray(np.divide(sums[..., : bins.values], values, out=middles.copy(), where=values > 0))


def _spans(bins: NumericBins, values: np.ndarray, sums: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """From where to where the values of each slot are taken to lie."""
    left, right = edges_of(bins)
    if sums is None:
        return np.broadcast_to(left, values.shape), np.broadcast_to(right, values.shape)
    left, right = left.copy(), right.copy()
    left[0], right[-1] = -np.inf, np.inf
    means = bin_means(bins, values, sums)
    with np.errstate(invalid="ignore"):
        reach = np.minimum(means - left, right - means)
    spread = np.isfinite(reach) & ~_points(bins, values, means)
    reach = np.where(spread, np.maximum(reach, 0.0), 0.0)
    return means - reach, means + reach


def _points(bins: NumericBins, values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """bool, like `values`: slots whose values are taken to be equal, and so to be the slot's mean.

    One value is; so is what stands alone, nothing in the slots beside it: a default, a sensor that is stuck
    (were it no single value, it would spread no farther than its slot); and so are two neighbours whose edge
    lies midway between their means, as edges do between values that the reference has one by one.
    """
    held = values > 0
    points = values == 1
    beside = np.zeros_like(held)
    beside[..., 1:] |= held[..., :-1]
    beside[..., :-1] |= held[..., 1:]
    points |= held & ~beside
    with np.errstate(over="ignore", invalid="ignore"):
        left, right = means[..., :-1], means[..., 1:]
        rounding = 1e-9 * (right - left) + 1e-13 * np.maximum(np.abs(left), np.abs(right))
        midway = np.abs(left + (right - left) / 2 - bins.edges) <= rounding
    midway &= held[..., :-1] & held[..., 1:]
    points[..., :-1] |= midway
    points[..., 1:] |= midway
    return np.asarray(points)
