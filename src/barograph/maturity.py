"""Label maturity: early labels are a biased sample of those to come, and complete cohorts teach how to put them right.

G(age, score) of a class is the share of its labels that have come at an age. Learnt from cohorts whose labels have all
come, it turns each early label into 1 / G labels, where G is at least a tenth in both classes; below that, nothing is said.
Binary models only. All of it holds if labels go on arriving as they did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from barograph.drift import MINIMUM_ROWS, Merge
from barograph.estimate import ACCURACY, MINIMUM, Z, first_positive
from barograph.outcomes import OutcomeProfile
from barograph.performance import Estimate
from barograph.quantiles import ratio
from barograph.slopes import AT_THRESHOLD, ROC_AUC, at_threshold, roc_auc, sides

AGES = 60 * 2.0 ** np.arange(0, 20.5, 0.5)  # seconds, a minute to two years
LEAST = 0.1  # of each class's labels, below which early ones tell nothing
FINAL = 0.95  # of the labels that ever come, from which a metric is final
PRIOR = 20.0  # labels' worth of the whole class that each cell is given, so that few labels of its own do not decide
MOMENTS = 12  # at which the ages of a cohort's predictions are sampled


def count_lags(
    cells: np.ndarray, label: np.ndarray, slot: np.ndarray, lag: np.ndarray, ages: np.ndarray = AGES
) -> np.ndarray:
    """Count labels by how long they took: int64[2, ages + 1, cells], by label 0|1, age and coarse cell of the score.

    `cells` intp[slots] is the cell of each slot, `label`, `slot` and `lag` (seconds) are those of each label. A label that
    took exactly `ages[i]` is counted at i; the last place takes what took longer than all ages. Counts add up.

    >>> cells = np.array([0, 0, 1])
    >>> counts = count_lags(cells, np.array([1, 1, 0]), np.array([2, 2, 0]), np.array([30.0, 7200.0, 60.0]))
    >>> counts.shape, int(counts[1].sum()), int(counts[0, 0, 0])
    ((2, 42, 2), 2, 1)
    """
    shape = (2, len(ages) + 1, int(cells.max()) + 1)
    place = np.searchsorted(ages, lag, side="left")
    flat = np.ravel_multi_index((np.asarray(label, dtype=np.intp), place, cells[slot]), shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)


def lag_quantiles(counts: np.ndarray, q: Sequence[float], ages: np.ndarray = AGES) -> np.ndarray:
    """Seconds that labels take, float64[q]: counts (ages + 1,), spread evenly between two ages; inf beyond the last one.

    >>> lag_quantiles(np.array([10, 10, 0]), [0.5, 0.75], ages=np.array([60.0, 120.0])).tolist()
    [60.0, 90.0]
    """
    total = counts.sum()
    if not total:
        return np.full(len(q), np.nan)
    share = np.append(0.0, np.cumsum(counts[:-1]) / total)
    found = np.interp(q, share, np.append(0.0, ages))
    return np.where(np.asarray(q) > share[-1], np.inf, found)


@dataclass(frozen=True, eq=False)
class Maturity:
    """How the labels of complete cohorts came in.

    `cells` intp[slots], the coarse cell of each slot of the score. `reported` float64[2, ages, cells]: G, the share of a
    class's labels in the cell that had come at each of `ages` (seconds). `held` float64[2, cells]: how many labels tell
    it. `eventual` is the share of predictions that ever get a label.
    """

    cells: np.ndarray
    reported: np.ndarray
    held: np.ndarray
    ages: np.ndarray
    eventual: float = 1.0

    @classmethod
    def learn(
        cls, cells: np.ndarray, counts: np.ndarray, *, ages: np.ndarray = AGES, eventual: float = 1.0
    ) -> "Maturity":
        """From the counts of `count_lags` over complete cohorts alone; ValueError where they lack a class.

        >>> counts = np.zeros((2, 3, 1), dtype=np.int64)
        >>> counts[1, 0], counts[1, 1], counts[0, 1] = 50, 50, 100
        >>> maturity = Maturity.learn(np.zeros(4, dtype=int), counts, ages=np.array([60.0, 120.0]))
        >>> maturity.share(60.0).tolist(), maturity.share(90.0).tolist()
        ([[0.0], [0.5]], [[0.5], [0.75]])
        """
        held = counts.sum(axis=1)
        if not held.sum(axis=-1).all():
            raise ValueError(
                "counts: they lack labels of a class; learn from complete cohorts that hold both"
            )
        came = np.cumsum(counts[:, :-1], axis=1)
        overall = came.sum(axis=-1, keepdims=True) / held.sum(axis=-1)[:, None, None]
        reported = (came + PRIOR * overall) / (held[:, None] + PRIOR)
        return cls(np.asarray(cells), reported, held + PRIOR, np.asarray(ages, dtype=np.float64), eventual)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        arrays = {name: getattr(self, name).tolist() for name in ("cells", "reported", "held", "ages")}
        return {**arrays, "eventual": self.eventual}

    @classmethod
    def from_dict(cls, item: Mapping[str, Any]) -> "Maturity":
        """Back from plain JSON."""
        cells = np.array(item["cells"], dtype=np.intp)
        reported, held, ages = (
            np.array(item[name], dtype=np.float64) for name in ("reported", "held", "ages")
        )
        return cls(cells, reported, held, ages, float(item["eventual"]))

    def share(self, age: float, span: float = 0.0) -> np.ndarray:
        """G, float64[2, cells], of predictions whose ages lie evenly from `age` to `age + span` seconds."""
        moments = age + span * (np.arange(MOMENTS) + 0.5) / MOMENTS
        reported = np.concatenate([np.zeros_like(self.reported[:, :1]), self.reported], axis=1)
        knots = np.append(0.0, self.ages)
        right = np.clip(np.searchsorted(knots, moments), 1, len(self.ages))
        part = np.clip((moments - knots[right - 1]) / (knots[right] - knots[right - 1]), 0.0, 1.0)[:, None]
        return np.asarray((reported[:, right - 1] * (1 - part) + reported[:, right] * part).mean(axis=1))


@dataclass(frozen=True, eq=False)
class Weighted:
    """Early labels of a window, weighed so that they stand for all: `profile`, whose counts are no whole numbers.

    `variances` float64[2, slots] of the counts, by chance; `doubts`, their standard errors by how roughly G is known, which
    the slots of a cell have in common. `labels` int64[2], how many there are of each class. `why` they say nothing yet, or
    empty.
    """

    profile: OutcomeProfile
    variances: np.ndarray
    doubts: np.ndarray
    cells: np.ndarray
    labels: np.ndarray
    why: str = ""

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Metrics by name with 95 % intervals: of AT_THRESHOLD, where there is a threshold, and the ROC AUC.

        The intervals hold chance and what is not known of G; not that labels may come sooner or later than they used to.
        """
        names, values, by_slot = _slopes(self.profile)
        in_cells = Merge.of(np.arange(len(self.cells)), self.cells, int(self.cells.max()) + 1)
        common = in_cells(by_slot * self.doubts)
        half = Z * np.sqrt(np.sum(by_slot**2 * self.variances, axis=(1, 2)) + np.sum(common**2, axis=(1, 2)))
        return {
            name: self._estimate(name, value, error)
            for name, value, error in zip(names, values.tolist(), half.tolist(), strict=True)
        }

    def _estimate(self, name: str, value: float, half: float) -> Estimate:
        n = float(self.labels.sum())
        if self.why:
            return Estimate(np.nan, np.nan, np.nan, n, False, self.why)
        few = n < MINIMUM_ROWS or (name != ACCURACY and self.labels.min() < MINIMUM)
        why = f"{self.labels.min():,} labels of the rarer class, fewer than {MINIMUM}" if few else ""
        return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), n, not few, why)


def weighted(
    maturity: Maturity, cohorts: Sequence[tuple[float, OutcomeProfile]], span: float = 3600.0
) -> Weighted:
    """Weigh the early labels of cohorts: their age (seconds since the last of their predictions) and what has come so far.

    A cohort's predictions are spread over `span` seconds. The sums of the profile are scaled as their class is. ValueError
    without cohorts, or for a task other than binary.

    >>> from barograph.outcomes import OutcomeBins
    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> counts = np.zeros((2, 3, 1), dtype=np.int64)
    >>> counts[1, 0], counts[0, 0], counts[0, 1] = (
    ...     100,
    ...     50,
    ...     50,
    ... )  # all positives within a minute, half of the negatives
    >>> maturity = Maturity.learn(np.zeros(bins.slots, dtype=int), counts, ages=np.array([60.0, 120.0]))
    >>> early = OutcomeProfile.of(bins, [1] * 60 + [0] * 60, [0.9] * 120, [1] * 120)
    >>> round(weighted(maturity, [(60.0, early)], span=0.0).estimates["precision"].value, 3)  # not 0.5
    0.333
    """
    if not cohorts or cohorts[0][1].bins.task != "binary":
        raise ValueError("cohorts: give at least one, of a binary model")
    bins = cohorts[0][1].bins
    total = OutcomeProfile.zero(bins)
    variances, doubts, least = np.zeros((2, bins.slots)), np.zeros((2, bins.slots)), np.ones(2)
    for age, profile in cohorts:
        share = maturity.share(age, span)
        least = np.minimum(least, share.min(axis=-1))
        share = np.maximum(share, LEAST)
        weights = (1 / share)[:, maturity.cells]
        total = total + _reweighed(profile, weights)
        variances += profile.scores * weights**2
        doubts += profile.scores * weights * np.sqrt((1 - share) / (share * maturity.held))[:, maturity.cells]
    labels = sum(profile.scores.sum(axis=-1) for _, profile in cohorts)
    return Weighted(total, variances, doubts, maturity.cells, np.asarray(labels), _not_yet(least))


@dataclass(frozen=True)
class Completeness:
    """How many of a window's labels have come: `share` of its predictions, `positives` of the expected ones (or NaN).

    `final`: whether at least 95 % of the labels that ever come are there.
    """

    predictions: int
    labelled: float
    share: float
    positives: float
    final: bool

    @property
    def text(self) -> str:
        """`labels 18 % complete (61 % of the expected positives)`."""
        if not self.predictions:
            return "no predictions"
        known = f" ({self.positives:.0%} of the expected positives)".replace("%", " %")
        text = f"labels {self.share:.0%} complete".replace("%", " %")
        return text + (known if np.isfinite(self.positives) else "")


def completeness(
    predictions: int,
    labelled: float,
    positives: float = np.nan,
    expected: float = np.nan,
    eventual: float = 1.0,
) -> Completeness:
    """Of a window: predictions, those labelled, positives among these, positives to expect of all (`Calibrated.positives`).

    `eventual` is the share of predictions that ever get a label.

    >>> completeness(1000, 180, positives=61, expected=100.0).text
    'labels 18 % complete (61 % of the expected positives)'
    """
    share = labelled / predictions if predictions else np.nan
    found = positives / expected if expected > 0 else np.nan
    return Completeness(predictions, labelled, share, found, bool(share >= FINAL * eventual))


def _not_yet(least: np.ndarray) -> str:
    """Why labels say nothing yet; empty where enough of both classes have come."""
    if least.min() >= LEAST:
        return ""
    name = "positives" if least[1] <= least[0] else "negatives"
    return f"not yet: at this age {least.min():.0%} of the labels of {name} have come, {LEAST:.0%} are needed"


def _reweighed(profile: OutcomeProfile, weights: np.ndarray) -> OutcomeProfile:
    """Each label counted `weights` (2, slots) times; by prediction, as the labels on that side of the threshold are."""
    scores = profile.scores * weights
    all_of = ratio(scores.sum(axis=-1), profile.scores.sum(axis=-1))[:, None]
    by_side = np.broadcast_to(all_of, (2, 2))
    if (first := first_positive(profile.bins)) is not None:
        by_side = ratio(sides(scores, first), sides(profile.scores, first))
    factors = np.hstack([np.where(np.isnan(by_side), all_of, by_side), all_of])
    answers = profile.answers * np.nan_to_num(factors, nan=1.0)
    sums = profile.sums.reshape(2, -1) * np.nan_to_num(all_of, nan=1.0)
    return OutcomeProfile(profile.bins, np.append(scores.ravel(), answers.ravel()), sums.ravel())


def _slopes(profile: OutcomeProfile) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, values (names,) and derivatives (names, 2, slots) by the counts of each label and slot."""
    score, first = profile.bins.score, first_positive(profile.bins)
    assert score is not None
    negatives, positives = profile.scores[:, : score.values].astype(np.float64)
    auc = roc_auc(positives, negatives)
    by_slot = np.zeros((1, 2, score.size))
    by_slot[0, :, : score.values] = auc.negatives, auc.positives
    if first is None:
        return (ROC_AUC,), auc.value[None], by_slot
    found = at_threshold(sides(positives, first), sides(negatives, first))
    side = (np.arange(score.values) >= first).astype(np.intp)
    at = np.zeros((len(AT_THRESHOLD), 2, score.size))
    at[:, :, : score.values] = np.stack([found.negatives[:, side], found.positives[:, side]], axis=1)
    return (*AT_THRESHOLD, ROC_AUC), np.append(found.value, auc.value), np.concatenate([at, by_slot])
