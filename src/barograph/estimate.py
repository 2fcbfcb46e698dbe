"""Performance to expect before there are labels, from counts: what the scores promise, and how far to trust that.

What a score slot promises, P(y = 1 | slot), is learnt from the reference. Live counts by slot then tell the outcomes to
expect, and those the metrics: confidence-based performance estimation. It cannot see a change of P(y | score), so each
estimate carries its assumption, a band that holds the errors made on the later half of the reference, and its track record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from barograph.bins import NumericBins
from barograph.clock import iso
from barograph.drift import MINIMUM_ROWS
from barograph.outcomes import OutcomeBins
from barograph.performance import Estimate
from barograph.quantiles import ratio
from barograph.slopes import AT_THRESHOLD, ROC_AUC, at_threshold, roc_auc, sides

ASSUMPTION = "Expected, if scores still mean what they meant in the reference."
Z = 1.959964  # standard errors on each side of a 95 % interval
MINIMUM = 50  # labels of each class, below which a metric that needs both is not told
MINIMUM_WINDOWS = 4  # of the reference's later half, below which its errors tell no band
FOLDS = 5
ACCURACY = "accuracy"
MACRO = ("precision", "recall", "f1")
ERRORS = ("mae", "rmse")


def isotonic(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means that never fall: float64[slots], the weighted least-squares fit to sums / weights (pool adjacent violators).

    `sums` and `weights` are (slots,); a slot without weight takes the mean of the one before it.

    References: Barlow, Bartholomew, Bremner and Brunk, Statistical Inference under Order Restrictions, 1972.

    >>> isotonic(np.array([0, 3, 1, 4]), np.array([4, 4, 4, 4])).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    pools: list[tuple[float, float, int]] = []  # sum, weight, slots
    for total, weight in zip(sums.tolist(), weights.tolist(), strict=True):
        pool = (total, weight, 1)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    means = [total / weight if weight else np.nan for total, weight, _ in pools]
    return np.repeat(means, [slots for _, _, slots in pools])


@dataclass(frozen=True, eq=False)
class Expectation:
    """Metrics of windows as expected: `values` (names, ...), and their `variances` over labels that are still unknown.

    `n` rows (...), and `least`, how many of the rarest class are expected among them; None where there are no classes.
    """

    names: tuple[str, ...]
    values: np.ndarray
    variances: np.ndarray
    n: np.ndarray
    least: np.ndarray | None = None


@dataclass(frozen=True)
class Band:
    """How far off expectations were on the reference's later half, beyond chance: by metric, in its unit.

    Without errors where the reference could not tell, and `why`.
    """

    errors: Mapping[str, float]
    windows: int = 0
    why: str = ""

    def of(self, names: Sequence[str]) -> np.ndarray:
        """float64[names], NaN where it is not told."""
        return np.array([self.errors.get(name, np.nan) for name in names])


class Calibration(Protocol):
    """What a reference taught: turns live counts into what to expect."""

    @property
    def band(self) -> Band:
        """How far off it was."""
        ...

    def expect(self, live: np.ndarray) -> Expectation:
        """Metrics to expect of live counts."""
        ...


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What scores promise: `chance` float64[score.values], P(y = 1 | slot); of a multiclass confidence, P(right | slot).

    Rows whose score is missing or invalid promise nothing and are left out.
    """

    bins: OutcomeBins
    chance: np.ndarray
    band: Band

    @classmethod
    def fit(
        cls, bins: OutcomeBins, by_day: np.ndarray, rows: tuple[np.ndarray, np.ndarray] | None = None
    ) -> "Calibrated":
        """From the reference's labelled days, in order: int64[days, 2, slots], laid out as `OutcomeProfile.scores`.

        `rows`, scores and labels 0 or 1, each float64[n], sharpen the chances where they are at hand: a slot's own is then
        the mean over it of the curve through all rows. The band is that of a temporal split: what the earlier half of the
        days promises, against what the later half held. ValueError without labels of both classes, or over other bins.

        >>> bins = OutcomeBins.default("binary", threshold=0.5)
        >>> day = np.zeros((2, bins.slots), dtype=np.int64)
        >>> day[:, bins.score.index([0.2, 0.7])] = [[80, 60], [20, 140]]
        >>> calibrated = Calibrated.fit(bins, np.stack([day] * 10))
        >>> [round(float(calibrated.chance[slot]), 3) for slot in bins.score.index([0.2, 0.7])]
        [0.2, 0.7]
        """
        days = _scored(bins, by_day)
        labels = days.sum(axis=-1)
        if not labels.sum(axis=0).all():
            raise ValueError("by_day: labels of one class alone tell nothing; give days that hold both")

        def expected(early: np.ndarray, windows: np.ndarray) -> Expectation:
            chance = _chance(early)
            return _expected(bins, chance, _parts(bins, chance), windows.sum(axis=1))

        def found(windows: np.ndarray) -> np.ndarray:
            return _found(bins, windows[:, 1], windows[:, 0])

        chance = _chance(days.sum(axis=0)) if rows is None else _curve(bins, *rows)
        return cls(bins, chance, _band(days, labels, expected, found))

    def positives(self, live: np.ndarray) -> np.ndarray:
        """Positives to expect, (...), among live counts int64[..., slots]."""
        return np.asarray(_scored(self.bins, live) @ self.chance)

    def expect(self, live: np.ndarray) -> Expectation:
        """Metrics to expect of windows: live counts int64[..., slots] by slot of the score, labels unknown."""
        return _expected(self.bins, self.chance, self._parts, _scored(self.bins, live))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without the bins."""
        return {"chance": self.chance.tolist(), "band": asdict(self.band)}

    @classmethod
    def from_dict(cls, bins: OutcomeBins, item: Mapping[str, Any]) -> "Calibrated":
        """Back from plain JSON."""
        return cls(bins, np.array(item["chance"], dtype=np.float64), Band(**item["band"]))

    @cached_property
    def _parts(self) -> np.ndarray:
        return _parts(self.bins, self.chance)


@dataclass(frozen=True, eq=False)
class OneVsRest:
    """What the scores of K classes promise: `chance` float64[K, score.values], P(y = class | slot of the class's score).

    The chances of one row need not add up to 1, and counts cannot mend that row by row: the classes' totals are scaled to
    the rows instead.
    """

    bins: OutcomeBins
    chance: np.ndarray
    band: Band

    @classmethod
    def fit(cls, bins: OutcomeBins, by_day: np.ndarray) -> "OneVsRest":
        """From the reference's labelled days, in order: int64[days, K, 2, 2, slots].

        By class, whether the label is it, whether the prediction is it, and the slot of its score, whose bins all classes
        share. ValueError for a class without labels, or over other bins.
        """
        days = _scored(bins, by_day)
        labels = days[:, :, 1].sum(axis=(-1, -2))
        if not labels.sum(axis=0).all():
            raise ValueError("by_day: a class without labels promises nothing; leave it out")

        def expected(early: np.ndarray, windows: np.ndarray) -> Expectation:
            return _expected_classes(_chances(early), windows.sum(axis=2))

        def found(windows: np.ndarray) -> np.ndarray:
            return _over_classes(windows[:, :, 1], windows[:, :, 0], np.zeros_like(windows[:, :, 1])).values

        return cls(bins, _chances(days.sum(axis=0)), _band(days, labels, expected, found))

    def expect(self, live: np.ndarray) -> Expectation:
        """Metrics to expect of windows: live counts int64[..., K, 2, slots] by class, predicted or not, slot of its score."""
        return _expected_classes(self.chance, _scored(self.bins, live))


@dataclass(frozen=True, eq=False)
class CalibratedErrors:
    """What expected errors promise of a regression: float64[3, values], the means of |e|, e^2 and e^4 by slot.

    The slots are those of a column that an `ErrorModel` writes, or of anything else that rises with the error.
    """

    bins: NumericBins
    means: np.ndarray
    band: Band

    @classmethod
    def fit(cls, bins: NumericBins, by_day: np.ndarray) -> "CalibratedErrors":
        """From the reference's labelled days, in order: float64[days, 4, slots], rows and the sums of |e|, e^2 and e^4.

        ValueError without rows.

        >>> bins = NumericBins(np.array([2.0]), low=0.0, high=9.0)  # small errors are expected, or large ones
        >>> day = np.array([[8, 2, 0, 0], [8, 10, 0, 0], [8, 50, 0, 0], [8, 1250, 0, 0]], dtype=np.float64)
        >>> calibrated = CalibratedErrors.fit(bins, np.stack([day] * 20))
        >>> calibrated.expect(np.array([100, 300, 0, 0])).values.round(3).tolist()  # MAE, RMSE
        [4.0, 4.359]
        """
        days = by_day[..., : bins.values]
        rows = days[:, :1].sum(axis=-1)
        if not rows.any():
            raise ValueError("by_day: it holds no rows; give labelled days")

        def expected(early: np.ndarray, windows: np.ndarray) -> Expectation:
            return _expected_errors(_means(early), windows[:, 0])

        def found(windows: np.ndarray) -> np.ndarray:
            rows, error, square, _ = windows.sum(axis=-1).T
            return np.stack([error / rows, np.sqrt(square / rows)])

        return cls(bins, _means(days.sum(axis=0)), _band(days, rows, expected, found))

    def expect(self, live: np.ndarray) -> Expectation:
        """MAE and RMSE to expect of windows: live counts int64[..., slots] of the column of expected errors."""
        return _expected_errors(self.means, live[..., : self.bins.values])


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """A regressor of |prediction - label| by the features: what a regression's own scores do not promise, rows may.

    Its output is one more column of each row, counted like any other. `reference` float64[n] is that column for the
    reference's rows, each from a regressor that has not seen the row's part of the time.
    """

    regressor: Any
    reference: np.ndarray

    @classmethod
    def fit(
        cls, features: Any, prediction: np.ndarray, label: np.ndarray, regressor: Any = None
    ) -> "ErrorModel":
        """From the reference's labelled rows in order of time: anything scikit-learn reads, float64[n], float64[n].

        `regressor` is one of scikit-learn's, not fitted yet; gradient-boosted trees by default.
        """
        from sklearn.base import clone
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.model_selection import KFold, cross_val_predict

        errors = np.abs(np.asarray(prediction) - np.asarray(label))
        blank = HistGradientBoostingRegressor(random_state=0) if regressor is None else regressor
        apart = cross_val_predict(blank, features, errors, cv=KFold(FOLDS))
        return cls(clone(blank).fit(features, errors), np.maximum(apart, 0.0))

    def predict(self, features: Any) -> np.ndarray:
        """The error to expect of each row, float64[n], never below 0."""
        return np.asarray(np.maximum(self.regressor.predict(features), 0.0))


@dataclass(frozen=True)
class TrackRecord:
    """How estimates of one metric fared against matured labels; the numbers of the last check are NaN before the first.

    >>> record = checked([0.0], [Estimate(0.9, 0.88, 0.92, 500)], [Estimate(0.84, 0.82, 0.86, 500)])
    >>> record.grey, record.text
    (True, 'Last checked on 1970-01-01: 0.9 expected, 0.84 found, outside its band; 0 of 1 checks inside.')
    """

    checks: int = 0
    inside: int = 0
    at: float = np.nan
    expected: float = np.nan
    found: float = np.nan
    grey: bool = False

    @property
    def text(self) -> str:
        """A sentence."""
        if not self.checks:
            return "Not checked against labels yet."
        verdict = "outside" if self.grey else "inside"
        return (
            f"Last checked on {iso(self.at)[:10]}: {self.expected:.3g} expected, {self.found:.3g} found, {verdict} its band; "
            f"{self.inside} of {self.checks} checks inside."
        )


@dataclass(frozen=True)
class Expected(Estimate):
    """An estimate without labels: what it assumes, and how its like fared when labels came."""

    assumption: str = ASSUMPTION
    record: TrackRecord = TrackRecord()

    @property
    def grey(self) -> bool:
        """Whether its last check left the band, so that it should not be trusted."""
        return self.record.grey


def estimate(
    calibration: Calibration, live: np.ndarray, records: Mapping[str, TrackRecord] | None = None
) -> dict[str, Expected]:
    """Metrics of one window without labels, by name, each with a band of 95 %.

    `live` are counts as the calibration's `expect` takes them, of one window. The band holds chance, which the rows tell, and
    the errors beyond chance that the reference's own later half showed.

    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> day = np.zeros((2, bins.slots), dtype=np.int64)
    >>> day[:, bins.score.index([0.2, 0.7])] = [[80, 60], [20, 140]]
    >>> found = estimate(Calibrated.fit(bins, np.stack([day] * 10)), day.sum(axis=0))
    >>> round(found["precision"].value, 3), found["precision"].assumption
    (0.7, 'Expected, if scores still mean what they meant in the reference.')
    """
    expected = calibration.expect(live)
    low, high = interval(expected, calibration.band)
    n, records = float(expected.n), records or {}
    told = zip(expected.names, expected.values.tolist(), low.tolist(), high.tolist(), strict=True)
    whys = _whys(expected, calibration.band)
    return {
        name: Expected(value, a, b, n, not why, why, record=records.get(name, TrackRecord()))
        for (name, value, a, b), why in zip(told, whys, strict=True)
    }


def interval(expected: Expectation, band: Band) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % band, each (names, ...); NaN where the reference could not tell its errors."""
    errors = band.of(expected.names).reshape(-1, *[1] * expected.n.ndim)
    half = Z * np.sqrt(expected.variances + errors**2)
    most = np.inf if expected.names == ERRORS else 1.0
    return np.maximum(expected.values - half, 0.0), np.minimum(expected.values + half, most)


def checked(
    times: Sequence[float], estimates: Sequence[Estimate], matured: Sequence[Estimate | None]
) -> TrackRecord:
    """The record of one metric: windows' times (epoch seconds), what was estimated, and what matured labels said (or None).

    A check is inside where the matured value lies in the estimate's band. What was not enough on either side is no check.
    """
    pairs = [
        (at, told, found)
        for at, told, found in zip(times, estimates, matured, strict=True)
        if found is not None and told.enough and found.enough
    ]
    if not pairs:
        return TrackRecord()
    held = [told.low <= found.value <= told.high for _, told, found in pairs]
    last = max(range(len(pairs)), key=lambda i: pairs[i][0])
    at, told, found = pairs[last]
    return TrackRecord(len(pairs), sum(held), at, told.value, found.value, not held[last])


def _whys(expected: Expectation, band: Band) -> list[str]:
    """Why each metric of one window is not enough; empty where it is."""
    if expected.n < MINIMUM_ROWS:
        return [f"{expected.n:,.0f} rows, fewer than {MINIMUM_ROWS}"] * len(expected.names)
    few = expected.least is not None and expected.least < MINIMUM
    rare = f"{expected.least:,.0f} of the rarest class expected, fewer than {MINIMUM}" if few else ""
    known = np.isfinite(band.of(expected.names))
    return [
        (rare if name != ACCURACY else "")
        or ("" if told else band.why or "the reference could not tell its band")
        for name, told in zip(expected.names, known.tolist(), strict=True)
    ]


# Expectations of each task. Rows, positives, negatives and their variances have a last axis of slots.


def _parts(bins: OutcomeBins, chance: np.ndarray) -> np.ndarray:
    """float64[10, slots]: what a row of each slot adds to positives, negatives and variance, and that it is a row.

    The three are told below the threshold and from it on (fn, tp, tn, fp and two more), then in all.
    """
    parts = np.stack([chance, 1 - chance, chance * (1 - chance)])
    above = np.arange(len(chance)) >= (first_positive(bins) or 0)
    by_side = parts[:, None] * np.stack([~above, above])
    return np.concatenate([by_side.reshape(6, -1), parts, np.ones((1, len(chance)))])


def _expected(bins: OutcomeBins, chance: np.ndarray, parts: np.ndarray, rows: np.ndarray) -> Expectation:
    """Of rows (..., slots), each positive with its slot's chance."""
    counts, shape = rows.reshape(-1, len(chance)), rows.shape[:-1]
    held = counts.astype(np.float64)
    sums = parts @ held.T
    p, n, flips, total = sums[6:]
    told = AT_THRESHOLD if bins.task == "binary" and bins.threshold is not None else ()
    names = (*told, ACCURACY if bins.task == "multiclass" else ROC_AUC)
    values, variances = np.empty((2, len(names), len(counts)))
    with np.errstate(divide="ignore", invalid="ignore"):
        if bins.task == "multiclass":
            values[0], variances[0] = p / total, flips / total**2
        else:
            values[-1], variances[-1] = _roc_auc(counts, held, parts, sums)
        if told:
            values[:-1], variances[:-1] = _at_threshold(sums)
    values, variances = (found.reshape(-1, *shape) for found in (values, variances))
    return Expectation(names, values, variances, total.reshape(shape), np.minimum(p, n).reshape(shape))


def _roc_auc(
    counts: np.ndarray, held: np.ndarray, parts: np.ndarray, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What `slopes.roc_auc` and `of_flips` tell of counts (windows, slots), by the rows' midranks; the copy `held` is spent."""
    p, n, flips, _ = sums[6:]
    ranks = np.cumsum(counts, axis=-1).astype(np.float64)
    ranks *= 2
    ranks -= held  # doubled midranks, which are whole
    held *= ranks
    of_positives, of_flips = parts[6:9:2] @ held.T
    held *= ranks
    pairs = 2 * p * n
    auc = (of_positives - p * p) / pairs
    middle = 2 * (p + auc * (n - p))
    spread = parts[8] @ held.T - middle * (2 * of_flips - middle * flips)
    return auc, np.maximum(spread, 0.0) / (pairs * pairs)


# Metrics at a threshold are ratios, here of fn, tp, tn, fp; balanced accuracy, which is none, is made of recall's and
# specificity's. Closed forms: `slopes.at_threshold` finds the same by differentiating, in twice the time.
_RATIOS = {
    "accuracy": ((0, 1, 1, 0), (1, 1, 1, 1)),
    "balanced_accuracy": ((0, 1, 0, 0), (1, 1, 0, 0)),  # recall, until its mean with specificity is taken
    "precision": ((0, 1, 0, 0), (0, 1, 0, 1)),
    "recall": ((0, 1, 0, 0), (1, 1, 0, 0)),
    "specificity": ((0, 0, 1, 0), (0, 0, 1, 1)),
    "f1": ((0, 2, 0, 0), (1, 2, 0, 1)),
}
_TERMS = np.array([[_RATIOS[name][i] for name in AT_THRESHOLD] for i in (0, 1)], dtype=np.float64)
_STEPS = (_TERMS @ [[1, 0], [0, 1], [-1, 0], [0, -1]])[
    ..., None
]  # by a flip below the threshold, or from it on
_BALANCED, _SPECIFICITY = map(list(AT_THRESHOLD).index, ("balanced_accuracy", "specificity"))


def _at_threshold(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The metrics of AT_THRESHOLD and their variances over flips, each (metrics, windows), of sums as in `_parts`."""
    part, whole = _TERMS @ sums[:4]
    values = part / whole
    slopes = (_STEPS[0] - values[:, None] * _STEPS[1]) / whole[:, None]
    for found in (values, slopes):
        found[_BALANCED] += found[_SPECIFICITY]
        found[_BALANCED] /= 2
    slopes *= slopes
    slopes *= sums[4:6]
    return values, slopes[:, 0] + slopes[:, 1]


def _found(bins: OutcomeBins, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """The same metrics of labels: (names, ...) of positives and negatives (..., slots)."""
    if bins.task == "multiclass":
        right = positives.sum(axis=-1)
        return ratio(right, right + negatives.sum(axis=-1))[None]
    auc = roc_auc(positives, negatives).value[None]
    if (first := first_positive(bins)) is None:
        return auc
    return np.concatenate([at_threshold(sides(positives, first), sides(negatives, first)).value, auc])


def _expected_classes(chance: np.ndarray, rows: np.ndarray) -> Expectation:
    """Of counts (..., K, 2, slots), renormalised: all classes together have as many positives as there are rows."""
    positives = rows * chance[:, None, :]
    n = rows[..., :1, :, :].sum(axis=(-1, -2, -3), keepdims=True)
    positives = np.minimum(positives * ratio(n, positives.sum(axis=(-1, -2, -3), keepdims=True)), rows)
    return _over_classes(positives, rows - positives, positives * (1 - chance[:, None, :]))


def _over_classes(positives: np.ndarray, negatives: np.ndarray, variances: np.ndarray) -> Expectation:
    """Accuracy, and means over the classes of what each has against the rest; classes are taken to vary on their own."""
    p, n, v = (counts.sum(axis=-1) for counts in (positives, negatives, variances))
    rows, classes = (p + n)[..., 0, :].sum(axis=-1), p.shape[-2]
    found = at_threshold(p, n)
    auc = roc_auc(positives.sum(axis=-2), negatives.sum(axis=-2))
    chosen = [list(AT_THRESHOLD).index(name) for name in MACRO]
    value = np.concatenate([found.value[chosen], auc.value[None]]).mean(axis=-1)
    spread = np.concatenate([found.of_flips(v)[chosen], auc.of_flips(variances.sum(axis=-2))[None]])
    return Expectation(
        (ACCURACY, *(f"macro_{name}" for name in (*MACRO, ROC_AUC))),
        np.concatenate([ratio(p[..., 1].sum(axis=-1), rows)[None], value]),
        np.concatenate([ratio(v[..., 1].sum(axis=-1), rows**2)[None], spread.sum(axis=-1) / classes**2]),
        rows,
        p.sum(axis=-1).min(axis=-1),
    )


def _expected_errors(means: np.ndarray, rows: np.ndarray) -> Expectation:
    n = rows.sum(axis=-1)
    within = np.stack([means[1] - means[0] ** 2, means[2] - means[1] ** 2])
    return _of_moments(ratio(rows @ means[:2].T, n[..., None]), rows @ np.maximum(within, 0.0).T, n)


def _of_moments(means: np.ndarray, variances: np.ndarray, n: np.ndarray) -> Expectation:
    """Of means (..., 2) of |e| and e^2, and the variances (..., 2) of their sums."""
    mae, square = np.moveaxis(means, -1, 0)
    of_mae, of_square = np.moveaxis(ratio(variances, n[..., None] ** 2), -1, 0)
    return Expectation(
        ERRORS, np.stack([mae, np.sqrt(square)]), np.stack([of_mae, ratio(of_square, 4 * square)]), n
    )


def first_positive(bins: OutcomeBins) -> int | None:
    """The first slot of the score that is predicted positive; None without a threshold."""
    if bins.threshold is None or bins.score is None:
        return None
    return int(np.searchsorted(bins.score.edges, bins.threshold, side="right"))


def _scored(bins: OutcomeBins, counts: np.ndarray) -> np.ndarray:
    if bins.score is None:
        raise ValueError(f"bins: a {bins.task} model has no score that could promise anything")
    if counts.shape[-1] != bins.slots:
        raise ValueError(
            f"counts: {counts.shape[-1]} slots, but the score has {bins.slots}; count over the same bins"
        )
    return counts[..., : bins.score.values]


def _chance(counts: np.ndarray) -> np.ndarray:
    return isotonic(counts[1], counts.sum(axis=0))


def _curve(bins: OutcomeBins, score: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Mean, between a slot's least and greatest score, of the isotonic curve through rows; as before where it has none."""
    assert bins.score is not None
    kept = np.isfinite(score) & np.isfinite(label)
    points, index = np.unique(score[kept], return_inverse=True)
    curve = isotonic(np.bincount(index, label[kept]), np.bincount(index))
    area = np.append(0.0, np.cumsum(np.diff(points) * (curve[1:] + curve[:-1]) / 2))
    below = np.searchsorted(points, bins.score.edges, side="left")
    last = np.maximum(np.append(below, len(points)) - 1, 0)
    first = np.minimum(np.append(0, below), last)
    width = points[last] - points[first]
    return np.asarray(np.divide(area[last] - area[first], width, out=curve[last].copy(), where=width > 0))


def _chances(counts: np.ndarray) -> np.ndarray:
    """Of (K, 2, 2, slots)."""
    return np.stack([_chance(one) for one in counts.sum(axis=2)])


def _means(sums: np.ndarray) -> np.ndarray:
    """Of (4, slots): rows, and three sums."""
    return np.stack([isotonic(total, sums[0]) for total in sums[1:]])


# The band: by how much what the earlier half of the reference promised was off in the later one.


def _band(
    days: np.ndarray,
    labels: np.ndarray,
    expected: Callable[[np.ndarray, np.ndarray], Expectation],
    found: Callable[[np.ndarray], np.ndarray],
) -> Band:
    """Of days (days, ...), with their labels (days, classes)."""
    held = np.flatnonzero(labels.sum(axis=-1))
    early, late = held[: len(held) // 2], held[len(held) // 2 :]
    starts = _starts(labels[late])
    if len(starts) < MINIMUM_WINDOWS or not labels[early].sum(axis=0).all():
        return Band({}, len(starts), "the reference has too few labelled days to tell its band")
    windows = np.add.reduceat(days[late], starts, axis=0)
    guess, truth = expected(days[early].sum(axis=0), windows), found(windows)
    errors = map(_unexplained, truth - guess.values, guess.variances)
    told = {name: error for name, error in zip(guess.names, errors, strict=True) if np.isfinite(error)}
    return Band(told, len(windows))


def _starts(labels: np.ndarray) -> np.ndarray:
    """First day of each window: whole days until there are MINIMUM labels of each class; the last takes what is left over."""
    starts, held = [0], np.zeros(labels.shape[1])
    for day, fresh in enumerate(labels, start=1):
        held = held + fresh
        if held.min() >= MINIMUM:
            starts.append(day)
            held = np.zeros(labels.shape[1])
    return np.array(starts[:-1], dtype=np.intp)


def _unexplained(errors: np.ndarray, variances: np.ndarray) -> float:
    """Root of the mean square error beyond chance and its standard error: few windows tell it but roughly."""
    excess = (errors**2 - variances)[np.isfinite(errors)]
    if len(excess) < MINIMUM_WINDOWS:
        return np.nan
    return float(np.sqrt(max(excess.mean(), 0.0) + excess.std(ddof=1) / np.sqrt(len(excess))))
