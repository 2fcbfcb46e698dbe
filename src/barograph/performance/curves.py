"""What every threshold would do, and how scores are calibrated: curves of an outcome profile."""

from dataclasses import dataclass

import numpy as np

from barograph.bins import CELLS, equal_mass
from barograph.outcomes import OutcomeProfile
from barograph.performance.intervals import jeffreys
from barograph.quantiles import middles_of, ratio


def values_of(profile: OutcomeProfile) -> np.ndarray:
    """[2, values]: `scores` without the slots of missing and invalid ones."""
    score = profile.bins.score
    return profile.scores[:, : score.values if score else 0]


def by_slot(profile: OutcomeProfile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By slot of the score, or confidence: rows, those that came true, and a usual score."""
    bins, values = profile.bins, values_of(profile)
    assert bins.score is not None
    typical = middles_of(bins.score) if bins.typical is None else bins.typical
    return values.sum(axis=0), values[1], np.clip(typical, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """What each threshold would do: arrays of one length, from a threshold that none reaches to one that all reach.

    A row is positive from `threshold` on: inf, the edges of the score's bins, -inf. `tp`, `fp`, `fn`, `tn` are rows; rates
    are NaN where they would divide by 0.
    """

    threshold: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """TP / (TP + FP)."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> np.ndarray:
        """TP / (TP + FN): the true positive rate."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def false_positive_rate(self) -> np.ndarray:
        """FP / (FP + TN)."""
        return ratio(self.fp, self.fp + self.tn)

    @property
    def f1(self) -> np.ndarray:
        """2 TP / (2 TP + FP + FN)."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def positive_share(self) -> np.ndarray:
        """Share of rows that would be predicted positive."""
        return ratio(self.tp + self.fp, self.tp + self.fp + self.fn + self.tn)


def by_threshold(profile: OutcomeProfile) -> Thresholds:
    """Counts at each threshold that is an edge of the score's bins, exactly: the ROC and precision-recall curves' points.

    >>> from barograph.outcomes import OutcomeBins
    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> curve = by_threshold(OutcomeProfile.of(bins, label=[0, 1, 1], score=[0.1, 0.4, 0.9]))
    >>> at = curve.threshold.tolist().index(0.5)
    >>> float(curve.precision[at]), float(curve.recall[at])
    (1.0, 0.5)
    """
    assert profile.bins.score is not None
    values = values_of(profile)[:, ::-1]
    fp, tp = np.concatenate([np.zeros((2, 1), dtype=values.dtype), np.cumsum(values, axis=1)], axis=1)
    threshold = np.concatenate([[np.inf], profile.bins.score.edges[::-1], [-np.inf]])
    return Thresholds(threshold, tp, fp, tp[-1] - tp, fp[-1] - fp)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How often what was predicted came true, by cell of about equal mass: arrays of one length.

    `predicted` is the mean score, `observed` the share that came true, `low` and `high` its interval, `rows` the rows.
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray


def calibration(profile: OutcomeProfile) -> Calibration:
    """The calibration curve (binary), or that of the confidence (multiclass), over 16 cells at most.

    >>> from barograph.outcomes import OutcomeBins
    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> curve = calibration(OutcomeProfile.of(bins, label=[0] * 9 + [1], score=[0.1] * 10))
    >>> curve.predicted.round(2).tolist(), curve.observed.tolist(), curve.rows.tolist()
    ([0.1], [0.1], [10.0])
    """
    rows, hits, score = by_slot(profile)
    cells = equal_mass(rows)
    n, k, s = (np.bincount(cells, values, minlength=CELLS) for values in (rows, hits, rows * score))
    n, k, s = n[n > 0], k[n > 0], s[n > 0]
    return Calibration(s / n, k / n, *jeffreys(k, n), n)
