"""What the model answers, from counts: empty and overridden answers, classes, quantiles of the response over time.

Arrays have one value a window, NaN where too few answers were counted: never 0.
"""

from collections.abc import Mapping

import numpy as np

from barograph.bins import Bins, NumericBins
from barograph.drift import MINIMUM_ROWS
from barograph.quantiles import quantile
from barograph.traffic import shares

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def empty_share(empty: np.ndarray, predictions: np.ndarray, minimum: int = MINIMUM_ROWS) -> np.ndarray:
    """Share of answers that hold none.

    >>> empty_share(np.array([3, 0]), np.array([60, 5])).tolist()
    [0.05, nan]
    """
    return shares(empty, predictions, minimum)


def overridden_shares(
    overridden: Mapping[str, np.ndarray], predictions: np.ndarray, minimum: int = MINIMUM_ROWS
) -> dict[str, np.ndarray]:
    """Share of answers that post-processing changed, by rule, the largest in all first.

    >>> overridden_shares({"cap": np.array([6])}, np.array([60]))["cap"].tolist()
    [0.1]
    """
    by_size = sorted(overridden, key=lambda rule: (-float(np.sum(overridden[rule])), rule))
    return {rule: shares(overridden[rule], predictions, minimum) for rule in by_size}


def class_shares(bins: Bins, counts: np.ndarray, minimum: int = MINIMUM_ROWS) -> dict[str, np.ndarray]:
    """Share of each predicted class among all answers, by label of the slot: counts (..., size) to (...).

    Slots that hold no answer in any window are left out.

    >>> from barograph.bins import CategoryBins
    >>> found = class_shares(CategoryBins(("ham", "spam")), np.array([[75, 25, 0, 0, 0, 0]]))
    >>> {label: s.tolist() for label, s in found.items()}
    {'ham': [0.75], 'spam': [0.25]}
    """
    rows = np.sum(counts, axis=-1)
    held = np.flatnonzero(counts.reshape(-1, bins.size).sum(axis=0))
    labels = bins.labels()
    return {labels[slot]: shares(counts[..., slot], rows, minimum) for slot in held.tolist()}


def positive_share(
    bins: NumericBins, counts: np.ndarray, threshold: float = 0.5, minimum: int = MINIMUM_ROWS
) -> np.ndarray:
    """Share of the non-missing answers at or above `threshold`: counts (..., size) to (...).

    Exact where the threshold is an edge, as it is for a score's own and for a prediction of 0 or 1; else the
    bin that holds it counts as below.

    >>> bins = NumericBins(np.array([0.0, 0.5, 1.0]), low=0.0, high=1.0)
    >>> positive_share(bins, np.array([0, 60, 20, 20, 9, 0])).tolist()
    0.4
    """
    values = counts[..., : bins.values]
    first = int(np.searchsorted(bins.edges, threshold, side="left")) + 1
    return shares(values[..., first:].sum(axis=-1), values.sum(axis=-1), minimum)


def response_quantiles(
    bins: NumericBins,
    counts: np.ndarray,
    sums: np.ndarray | None = None,
    q: tuple[float, ...] = QUANTILES,
    minimum: int = MINIMUM_ROWS,
) -> np.ndarray:
    """Quantiles of the response over time: counts (T, size) to (T, Q)."""
    found = quantile(bins, counts, np.array(q), sums)
    return np.where(counts[..., : bins.values].sum(axis=-1)[..., None] >= minimum, found, np.nan)
