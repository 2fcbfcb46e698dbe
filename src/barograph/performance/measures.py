"""Metrics of an outcome profile: functions of it, and the registry that names them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from barograph.bins import CELLS, equal_mass
from barograph.drift import MINIMUM_ROWS
from barograph.outcomes import NONE, OutcomeBins, OutcomeProfile
from barograph.performance.curves import by_slot, values_of
from barograph.performance.intervals import (
    NOTHING,
    Estimate,
    Z,
    jeffreys,
    logit_estimate,
    mean_estimate,
    share_estimate,
    whole,
    wilson,
)
from barograph.quantiles import quantile, ratio

MINIMUM_CASES = 50  # positives, or negatives: fewer say too little about either
RESIDUAL_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEAST_SQUARE = 1e-140  # a mean square whose own square can still be told from 0
_STEPS = 16  # at which the positives of one bin are placed among its negatives


# Answers at the decision threshold.


def confusion(profile: OutcomeProfile) -> np.ndarray:
    """Confusion matrix: a row for each label, a column for each prediction.

    Binary: [2, 2], of the predictions where there are any, else of the scores at the threshold. Multiclass: [K + 1, K + 2],
    the classes, other, and none for the prediction.

    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> confusion(OutcomeProfile.of(bins, label=[0, 1, 1], score=[0.1, 0.4, 0.9])).tolist()
    [[1, 0], [1, 1]]
    """
    if profile.bins.task == "multiclass":
        return profile.answers
    predicted = profile.answers[:, :NONE]
    if predicted.any() or profile.bins.threshold is None:
        return predicted
    assert profile.bins.score is not None
    first = int(profile.bins.score.index([profile.bins.threshold])[0])
    values = values_of(profile)
    return np.stack([values[:, :first].sum(axis=1), values[:, first:].sum(axis=1)], axis=1)


def accuracy(profile: OutcomeProfile) -> Estimate:
    """Share of predictions that were right; no prediction is wrong among classes, and left out where there are two."""
    if profile.bins.task == "multiclass":
        return share_estimate(float(profile.scores[1].sum()), float(profile.answers.sum()))
    table = confusion(profile)
    return share_estimate(float(np.trace(table)), float(table.sum()))


def precision(profile: OutcomeProfile) -> Estimate:
    """Share of positives among rows predicted positive."""
    table = confusion(profile)
    return share_estimate(float(table[1, 1]), float(table[:, 1].sum()))


def recall(profile: OutcomeProfile) -> Estimate:
    """Share predicted positive among positives: the true positive rate, sensitivity."""
    table = confusion(profile)
    return share_estimate(float(table[1, 1]), float(table[1].sum()))


def specificity(profile: OutcomeProfile) -> Estimate:
    """Share predicted negative among negatives: the true negative rate."""
    table = confusion(profile)
    return share_estimate(float(table[0, 0]), float(table[0].sum()))


def f1(profile: OutcomeProfile) -> Estimate:
    """F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
    (_, fp), (fn, tp) = confusion(profile).tolist()
    return _f1(tp, tp + fp + fn)


def _f1(hits: float, either: float) -> Estimate:
    """F1 = 2J / (1 + J), where J is the share of true positives among rows that are positive or predicted so."""
    if not either > 0:
        return NOTHING
    value, low, high = (2 * share / (1 + share) for share in (hits / either, *wilson(hits, either)))
    return Estimate(float(value), low, high, whole(either))


def balanced_accuracy(profile: OutcomeProfile) -> Estimate:
    """Mean of recall and specificity."""
    table = confusion(profile)
    return _average(table, 2, "recall") if table.sum(axis=1).all() else NOTHING


def matthews(profile: OutcomeProfile) -> Estimate:
    """Matthews correlation coefficient, -1 to 1, with the interval of its Fisher z; NaN where a margin is empty."""
    table = confusion(profile).astype(np.float64)
    by_label, by_answer = table.sum(axis=1), table.sum(axis=0)
    if not (by_label.all() and by_answer.all()):
        return replace(NOTHING, n=whole(table.sum()))
    root = np.sqrt(by_label.prod()) * np.sqrt(by_answer.prod())
    (tn, fp), (fn, tp) = table
    value = float(np.clip((tp * tn - fp * fn) / root, -1, 1))
    gradient = np.array([[tp, -fn], [-fp, tn]]) / root - value / 2 * (1 / by_label[:, None] + 1 / by_answer)
    rest = 1 - value**2
    if rest < 1e-12:  # no spread: as sure as so many trials of the smaller class without a miss
        limit = float(2 * jeffreys(by_label.min(), by_label.min())[0] - 1) * value
        return Estimate(value, min(value, limit), max(value, limit), whole(table.sum()))
    half = Z * np.sqrt(np.sum(table * gradient**2)) / rest
    low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return Estimate(value, float(low), float(high), whole(table.sum()))


# A class's metric is a * hits / (b * rows labelled so + c * rows predicted so).
_FORMS = {"precision": (1, 0, 1), "recall": (1, 1, 0), "f1": (2, 1, 1)}


def class_average(profile: OutcomeProfile, form: str, weighted: bool = False) -> Estimate:
    """Mean of a metric over the classes, or weighted by their labels, as scikit-learn averages; rare classes are left out."""
    return _average(profile.answers, len(profile.bins.classes), form, weighted)


def _average(table: np.ndarray, classes: int, form: str, weighted: bool = False) -> Estimate:
    """The same from a confusion matrix; its variance by the delta method on the cells.

    Rows and columns past the classes are other and none. A class with neither labels nor predictions is left out; one without
    a denominator counts as 0.
    """
    a, b, c = _FORMS[form]
    labels, answers = table.sum(axis=1)[:classes], table.sum(axis=0)[:classes]
    held = labels if weighted else (labels + answers > 0).astype(np.float64)
    if not held.sum() > 0:
        return NOTHING
    weights, under = held / held.sum(), b * labels + c * answers
    per = np.divide(1.0, under, out=np.zeros(classes), where=under > 0)
    values = a * np.diag(table)[:classes] * per
    value = float(weights @ values)
    gradient = np.zeros(table.shape)
    gradient[:classes] -= (b * weights * values * per)[:, None]
    gradient[:, :classes] -= c * weights * values * per
    gradient[np.arange(classes), np.arange(classes)] += a * weights * per
    if weighted:
        gradient[:classes] += ((values - value) / held.sum())[:, None]
    return logit_estimate(value, float(np.sum(table * gradient**2)), float(labels.sum()))


def by_class(profile: OutcomeProfile) -> dict[str, dict[str, Estimate]]:
    """Precision, recall and F1 of each class of a multiclass model, one against the rest.

    >>> bins = OutcomeBins.default("multiclass", classes=("ham", "spam"))
    >>> found = by_class(OutcomeProfile.of(bins, ["ham", "ham", "spam"], prediction=["ham", "spam", "spam"]))
    >>> found["ham"]["recall"].value, found["ham"]["recall"].why
    (0.5, 'too few labels of the class: 2 of 50')
    """
    table = profile.answers
    labels, answers, hits = table.sum(axis=1), table.sum(axis=0), np.diag(table)
    found = {}
    for i, name in enumerate(profile.bins.classes):
        tp, labelled, predicted = float(hits[i]), float(labels[i]), float(answers[i])
        estimates = {
            "precision": share_estimate(tp, predicted),
            "recall": share_estimate(tp, labelled),
            "f1": _f1(tp, labelled + predicted - tp),
        }
        why = _few("labels of the class", MINIMUM_CASES, labelled)
        found[name] = {form: _judged(estimate, why) for form, estimate in estimates.items()}
    return found


# Scores.


def roc_auc(profile: OutcomeProfile) -> Estimate:
    """Area under the ROC curve over the score's bins, where rows of one bin are ties; DeLong's interval on the logit.

    DeLong, DeLong and Clarke-Pearson (1988). The positive and the negative that are farthest out are counted once more in the
    variance: near 1 it hangs on a few such rows, and too few of them show in a sample.
    """
    negatives, positives = values_of(profile).astype(np.float64)
    n, p = negatives.sum(), positives.sum()
    if not (n > 0 and p > 0):
        return NOTHING
    outranks = (np.cumsum(negatives) - negatives / 2) / n  # the share of negatives below a positive
    outranked = 1 - (np.cumsum(positives) - positives / 2) / p  # the share of positives above a negative
    area = float(positives @ outranks / p)
    variance = _placement(positives, outranks - area) + _placement(negatives, outranked - area)
    return logit_estimate(area, variance, float(min(n, p)))


def _placement(rows: np.ndarray, deviation: np.ndarray) -> float:
    """Variance of the mean of what the rows deviate by, the farthest one counted twice."""
    square, total = deviation**2, rows.sum()
    return float(rows @ square / max(total - 1, 1) + square[rows > 0].max() / total) / float(total)


def average_precision(profile: OutcomeProfile) -> Estimate:
    """Average precision, the area under the steps of the precision-recall curve, as scikit-learn defines it.

    Where a bin holds one score it is a tie; else the bin's positives are taken to lie evenly among its negatives, which is as
    exact as the bins are fine where the positives are.
    """
    negatives, positives = values_of(profile)[:, ::-1].astype(np.float64)
    total = positives.sum()
    if not total > 0:
        return NOTHING
    tp, fp = np.cumsum(positives), np.cumsum(negatives)
    precisions = ratio(tp, tp + fp) if profile.bins.ties else _precisions(positives, negatives)
    precisions = np.nan_to_num(precisions)
    area = float(positives @ precisions / total)
    worth = positives / total / np.maximum(tp + fp, 1) ** 2  # how a row above shifts the precision here
    by_positive = (precisions - area) / total + np.cumsum((worth * fp)[::-1])[::-1]
    by_negative = -np.cumsum((worth * tp)[::-1])[::-1]
    variance = positives @ by_positive**2 + negatives @ by_negative**2
    return logit_estimate(area, float(variance), float(total))


def _precisions(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Mean precision at the positives of each bin, from the highest on, where they lie evenly among its negatives."""
    steps = np.clip(np.ceil(positives), 1, _STEPS)[:, None]
    step = np.arange(1, _STEPS + 1)
    rank = positives[:, None] * (step - 0.5) / steps + 0.5
    tp = (np.cumsum(positives) - positives)[:, None] + rank
    fp = (np.cumsum(negatives) - negatives)[:, None] + (negatives / (positives + 1))[:, None] * rank
    return np.asarray(np.sum(np.where(step <= steps, tp / (tp + fp), 0.0) / steps, axis=1))


def log_loss(profile: OutcomeProfile) -> Estimate:
    """Mean of -ln of the probability given to what came true, clipped as scikit-learn clips it."""
    loss, loss2 = _sums(profile, "loss", "loss2")
    return mean_estimate(loss, loss2, values_of(profile).sum(), least=0.0)


def brier(profile: OutcomeProfile) -> Estimate:
    """Mean of (score - label)^2."""
    _, positives = rows = values_of(profile).sum(axis=1)
    score2, error4 = _sums(profile, "score2", "error4")
    errors = score2 - 2 * profile.total("score")[1] + positives
    return mean_estimate(float(errors), error4, rows.sum(), least=0.0)


def calibration_error(profile: OutcomeProfile) -> Estimate:
    """Expected calibration error: mean over the rows of |observed share - mean score| of their cell.

    The cells are 16 of about equal mass. Chance alone makes it larger than 0: what it makes of a calibrated score is taken off
    the interval's lower end.
    """
    rows, hits, score = by_slot(profile)
    n = rows.sum()
    if not n > 0:
        return NOTHING
    cells = equal_mass(rows)
    gap = np.bincount(cells, hits - rows * score, minlength=CELLS)
    noise = np.bincount(cells, rows * score * (1 - score), minlength=CELLS)
    value, chance = np.abs(gap).sum() / n, np.sqrt(2 / np.pi * noise).sum() / n
    sign = np.sign(gap)[cells]
    squares = hits @ (sign * (1 - score) - value) ** 2 + (rows - hits) @ (sign * score + value) ** 2
    half = Z * np.sqrt(squares) / n
    return Estimate(float(value), float(max(value - chance - half, 0)), float(value + half), whole(n))


def positive_rate(profile: OutcomeProfile) -> Estimate:
    """Share of positives among labelled rows: what came true, whatever was predicted."""
    return share_estimate(float(profile.answers[1].sum()), float(profile.rows))


def _sums(profile: OutcomeProfile, *names: str) -> list[float]:
    return [float(profile.total(name).sum()) for name in names]


# Numbers.


def _pairs(profile: OutcomeProfile) -> float:
    """Rows with a label and a prediction that are numbers."""
    assert profile.bins.residual is not None
    return float(profile.residuals[: profile.bins.residual.values].sum())


def mae(profile: OutcomeProfile) -> Estimate:
    """Mean absolute error, in the label's unit."""
    total, squares = _sums(profile, "abs_e", "e2")
    return mean_estimate(total, squares, _pairs(profile), least=0.0)


def bias(profile: OutcomeProfile) -> Estimate:
    """Mean of prediction - label, in the label's unit: above 0 where predictions are too high."""
    total, squares = _sums(profile, "e", "e2")
    return mean_estimate(total, squares, _pairs(profile))


def rmse(profile: OutcomeProfile) -> Estimate:
    """Root of the mean squared error, in the label's unit; its interval is that of the logarithm."""
    e2, e4 = _sums(profile, "e2", "e4")
    square = mean_estimate(e2, e4, _pairs(profile))
    if not square.value > 0:
        return square
    factor = np.exp((square.high - square.value) / square.value / 2)
    value = float(np.sqrt(square.value))
    return Estimate(value, float(value / factor), float(value * factor), square.n)


def mape(profile: OutcomeProfile) -> Estimate:
    """Mean of |error / label| over labels other than 0, as a share."""
    total, squares = _sums(profile, "ape", "ape2")
    return mean_estimate(total, squares, float(profile.counts[-1]), least=0.0)


def smape(profile: OutcomeProfile) -> Estimate:
    """Symmetric mean absolute percentage error: the mean of 2|error| / (|label| + |prediction|), 0 to 2."""
    total, squares = _sums(profile, "smape", "smape2")
    return mean_estimate(total, squares, _pairs(profile), least=0.0)


def r2(profile: OutcomeProfile) -> Estimate:
    """Coefficient of determination, 1 - mean squared error / variance of the labels; NaN where they are all equal.

    The interval is that of ln(1 - R2), by the delta method on the sums' own variances.
    """
    n = _pairs(profile)
    if not n > 1:
        return replace(NOTHING, n=whole(n))
    e2, e4, y, y2, y3, y4, e2y, e2y2 = (
        s / n for s in _sums(profile, "e2", "e4", "y", "y2", "y3", "y4", "e2y", "e2y2")
    )
    spread = y2 - y**2
    if not spread > 1e-12 * y2:  # below, it is the sums' rounding
        return replace(NOTHING, n=whole(n))
    rest = max(e2, 0.0) / spread
    if not min(e2, spread) > _LEAST_SQUARE:
        return Estimate(1 - rest, 1 - rest, 1 - rest, whole(n))
    centred4 = y4 - 4 * y * y3 + 6 * y**2 * y2 - 3 * y**4
    joint = e2y2 - 2 * y * e2y + y**2 * e2
    variance = e4 / e2**2 + centred4 / spread**2 - 2 * joint / (e2 * spread)
    factor = float(np.exp(Z * np.sqrt(max(variance, 0.0) / n)))
    return Estimate(1 - rest, 1 - rest * factor, 1 - rest / factor, whole(n))


def residual_quantiles(profile: OutcomeProfile, q: tuple[float, ...] = RESIDUAL_QUANTILES) -> np.ndarray:
    """Quantiles of prediction - label, float64[len(q)], to within its bins: some 1 % with a reference.

    >>> bins = OutcomeBins.default("regression")
    >>> profile = OutcomeProfile.of(bins, label=np.zeros(1_000), prediction=np.arange(1_000.0))
    >>> abs(residual_quantiles(profile, (0.5,)) / 500 - 1).max() < 0.02
    np.True_
    """
    assert profile.bins.residual is not None
    return quantile(profile.bins.residual, profile.residuals, np.array(q))


# What a metric needs: each says what is missing, or nothing.


def _few(noun: str, minimum: int, held: float) -> str:
    if held >= minimum:
        return ""
    return f"too few {noun}: {held:,.0f} of {minimum}" if held > 0 else f"no {noun}"


def _labelled(profile: OutcomeProfile) -> str:
    return _few("labelled rows", MINIMUM_ROWS, profile.rows)


def _decided(profile: OutcomeProfile) -> str:
    return _few("rows with label and prediction", MINIMUM_ROWS, confusion(profile).sum())


def _scored(profile: OutcomeProfile) -> str:
    return _few("rows with label and score", MINIMUM_ROWS, values_of(profile).sum())


def _paired(profile: OutcomeProfile) -> str:
    return _few("rows with label and prediction", MINIMUM_ROWS, _pairs(profile))


def _divisible(profile: OutcomeProfile) -> str:
    return _few("labels other than 0", MINIMUM_ROWS, profile.counts[-1])


def _positives(profile: OutcomeProfile) -> str:
    return _few("positives", MINIMUM_CASES, confusion(profile)[1].sum())


def _negatives(profile: OutcomeProfile) -> str:
    return _few("negatives", MINIMUM_CASES, confusion(profile)[0].sum())


def _scored_positives(profile: OutcomeProfile) -> str:
    return _few("positives", MINIMUM_CASES, values_of(profile)[1].sum())


def _scored_negatives(profile: OutcomeProfile) -> str:
    return _few("negatives", MINIMUM_CASES, values_of(profile)[0].sum())


def _predicted_positives(profile: OutcomeProfile) -> str:
    return _few("predicted positives", 1, confusion(profile)[:, 1].sum())


def _predicted_negatives(profile: OutcomeProfile) -> str:
    return _few("predicted negatives", 1, confusion(profile)[:, 0].sum())


def _probable(profile: OutcomeProfile) -> str:
    """Whether the scores can be probabilities; those in a bin that reaches into 0..1 may be."""
    assert profile.bins.score is not None
    edges, rows = profile.bins.score.edges, values_of(profile).sum(axis=0)
    below, above = np.append(edges <= 0, False), np.append(False, edges > 1)
    return "scores outside 0 to 1" if rows[below | above].any() else ""


def _known(profile: OutcomeProfile) -> str:
    return _few("labels of known classes", 1, profile.answers[:-1].sum())


def _spread_labels(profile: OutcomeProfile) -> str:
    return "labels are all equal" if np.isnan(r2(profile).value) else ""


def _judged(estimate: Estimate, why: str) -> Estimate:
    return replace(estimate, enough=not why, why=why)


Need = Callable[[OutcomeProfile], str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of an outcome profile, called with its bins, counts and sums.

    `unit` is share, or number for what has none or the label's. `higher_is_better` is None where neither is. `needs` say what
    a profile lacks for a judgement; where a `condition` is not met there is no value either.

    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> profile = OutcomeProfile.of(bins, label=[0, 1, 1], score=[0.1, 0.4, 0.9])
    >>> found = METRICS["binary"]["recall"](bins, profile.counts, profile.sums)
    >>> found.value, found.enough, found.why
    (0.5, False, 'too few positives: 2 of 50')
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool | None
    function: Callable[[OutcomeProfile], Estimate]
    needs: tuple[Need, ...]
    conditions: tuple[Need, ...] = ()

    def __call__(self, bins: OutcomeBins, counts: np.ndarray, sums: np.ndarray) -> Estimate:
        """The metric of a profile."""
        return self.of(OutcomeProfile(bins, counts, sums))

    @property
    def definition(self) -> str:
        """What exactly is computed."""
        return inspect.getdoc(getattr(self.function, "func", self.function)) or ""

    def of(self, profile: OutcomeProfile) -> Estimate:
        """The same of a profile that is put together already."""
        broken = next(filter(None, (met(profile) for met in self.conditions)), "")
        if broken:
            return _judged(NOTHING, broken)
        return _judged(self.function(profile), next(filter(None, (need(profile) for need in self.needs)), ""))


def _class_average(mean: str, form: str) -> Metric:
    title = f"{mean.title()} {form.replace('f1', 'F1')}"
    function = partial(class_average, form=form, weighted=mean == "weighted")
    return Metric(f"{mean}_{form}", title, "share", True, function, (_labelled, _known))


_BOTH = (_positives, _negatives)
_PREDICTED = (_predicted_positives, _predicted_negatives)
_CALIBRATION = Metric(
    "calibration_error", "Calibration error", "share", False, calibration_error, (_scored,), (_probable,)
)
_ENTRIES: Mapping[str, tuple[Metric, ...]] = {
    "binary": (
        Metric("accuracy", "Accuracy", "share", True, accuracy, (_decided,)),
        Metric("balanced_accuracy", "Balanced accuracy", "share", True, balanced_accuracy, _BOTH),
        Metric("precision", "Precision", "share", True, precision, (_positives, _predicted_positives)),
        Metric("recall", "Recall", "share", True, recall, (_positives,)),
        Metric("f1", "F1", "share", True, f1, (_positives,)),
        Metric("specificity", "Specificity", "share", True, specificity, (_negatives,)),
        Metric("matthews", "Matthews correlation", "number", True, matthews, (*_BOTH, *_PREDICTED)),
        Metric("roc_auc", "ROC AUC", "share", True, roc_auc, (_scored_positives, _scored_negatives)),
        Metric("average_precision", "PR AUC", "share", True, average_precision, (_scored_positives,)),
        Metric("log_loss", "Log loss", "number", False, log_loss, (_scored,), (_probable,)),
        Metric("brier", "Brier score", "number", False, brier, (_scored,), (_probable,)),
        _CALIBRATION,
        Metric("positive_rate", "Positive rate", "share", None, positive_rate, (_labelled,)),
    ),
    "multiclass": (
        Metric("accuracy", "Accuracy", "share", True, accuracy, (_labelled,)),
        *(_class_average(mean, form) for mean in ("macro", "weighted") for form in _FORMS),
        _CALIBRATION,
    ),
    "regression": (
        Metric("mae", "Mean absolute error", "number", False, mae, (_paired,)),
        Metric("rmse", "Root mean squared error", "number", False, rmse, (_paired,)),
        Metric("bias", "Bias", "number", None, bias, (_paired,)),
        Metric("mape", "MAPE", "share", False, mape, (_divisible,)),
        Metric("smape", "sMAPE", "share", False, smape, (_paired,)),
        Metric("r2", "R²", "number", True, r2, (_paired, _spread_labels)),
    ),
}
METRICS: dict[str, dict[str, Metric]] = {
    task: {metric.name: metric for metric in entries} for task, entries in _ENTRIES.items()
}


def metrics(profile: OutcomeProfile) -> dict[str, Estimate]:
    """All metrics of a profile by name.

    >>> bins = OutcomeBins.default("regression")
    >>> found = metrics(OutcomeProfile.of(bins, label=np.arange(40.0), prediction=np.arange(40.0) + 2))
    >>> found["mae"].value, found["bias"].value, found["mae"].enough
    (2.0, 2.0, True)
    """
    return {name: metric.of(profile) for name, metric in METRICS[profile.bins.task].items()}
