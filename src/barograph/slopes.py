"""Binary metrics with their derivatives by each group of rows, so that an error of the counts becomes one of the metric.

Counts are whole, expected or weighted; all functions take any number of windows at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

ROC_AUC = "roc_auc"
_STEP = 1e-100  # a complex step: a derivative without the rounding of a difference (Squire and Trapp, 1998)
_STEPS = 1j * _STEP * np.eye(4, 5, k=1)  # (counts, directions): none, then along each count


class Confusion(NamedTuple):
    """True and false positives, false and true negatives; of any shape."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray


# Analytic in the four counts, so that a complex step differentiates them.
AT_THRESHOLD: dict[str, Callable[[Confusion], np.ndarray]] = {
    "accuracy": lambda c: (c.tp + c.tn) / (c.tp + c.fp + c.fn + c.tn),
    "balanced_accuracy": lambda c: (c.tp / (c.tp + c.fn) + c.tn / (c.tn + c.fp)) / 2,
    "precision": lambda c: c.tp / (c.tp + c.fp),
    "recall": lambda c: c.tp / (c.tp + c.fn),
    "specificity": lambda c: c.tn / (c.tn + c.fp),
    "f1": lambda c: 2 * c.tp / (2 * c.tp + c.fp + c.fn),
}


@dataclass(frozen=True, eq=False)
class Slopes:
    """Metrics (...) and their derivatives (..., groups) by the positives and the negatives of each group of rows."""

    value: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def of_flips(self, variances: np.ndarray) -> np.ndarray:
        """Variance of the metric where positives vary by group (..., groups), each at the cost of a negative."""
        return np.asarray(np.einsum("...g,...g->...", variances, (self.positives - self.negatives) ** 2))

    def of_counts(self, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
        """Variance of the metric where positives and negatives vary by group (..., groups), each on its own."""
        return np.asarray(np.sum(positives * self.positives**2 + negatives * self.negatives**2, axis=-1))


def sides(counts: np.ndarray, first: int) -> np.ndarray:
    """(..., slots) to (..., 2): what lies below the first slot that is predicted positive, and what lies from it on."""
    out = np.empty((*counts.shape[:-1], 2), dtype=counts.dtype)
    out[..., 0] = counts[..., :first].sum(axis=-1)
    out[..., 1] = counts[..., first:].sum(axis=-1)
    return out


def at_threshold(positives: np.ndarray, negatives: np.ndarray) -> Slopes:
    """The metrics of AT_THRESHOLD, one after the other on the first axis, of positives and negatives (..., 2) as in `sides`.

    NaN where a metric is 0 / 0.

    >>> found = at_threshold(np.array([1.0, 9.0]), np.array([8.0, 2.0]))
    >>> {name: round(float(value), 2) for name, value in zip(AT_THRESHOLD, found.value)}
    {'accuracy': 0.85, 'balanced_accuracy': 0.85, 'precision': 0.82, 'recall': 0.9, 'specificity': 0.8, 'f1': 0.86}
    >>> [
    ...     round(float(slope), 3) for slope in found.positives[2]
    ... ]  # precision, by the positives below and above
    [0.0, 0.017]
    """
    counts = np.array([positives[..., 0], positives[..., 1], negatives[..., 0], negatives[..., 1]])
    fn, tp, tn, fp = counts[:, None] + _STEPS.reshape(4, 5, *[1] * (counts.ndim - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        stepped = Confusion(tp, fp, fn, tn)
        metrics = np.array([metric(stepped) for metric in AT_THRESHOLD.values()])
        by_count = np.moveaxis(metrics.imag[:, 1:], 1, -1) / _STEP
    return Slopes(metrics[:, 0].real, by_count[..., :2], by_count[..., 2:])


def roc_auc(positives: np.ndarray, negatives: np.ndarray) -> Slopes:
    """Area under the ROC curve of positives and negatives (..., slots) by slot, ties counting half; NaN without both.

    >>> round(float(roc_auc(np.array([1.0, 9.0]), np.array([8.0, 2.0])).value), 2)
    0.85
    """
    p, n = positives.sum(axis=-1, keepdims=True), negatives.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (np.cumsum(negatives, axis=-1) - negatives / 2) / n
        above = 1 - (np.cumsum(positives, axis=-1) - positives / 2) / p
        auc = np.sum(positives * below, axis=-1, keepdims=True) / p
        return Slopes(auc[..., 0], (below - auc) / p, (above - auc) / n)
