"""Metrics of outcome profiles against scikit-learn on the raw rows, and intervals against SciPy and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from barograph.bins import CELLS, equal_mass
from barograph.outcomes import OutcomeBins, OutcomeProfile, count
from barograph.performance import (
    METRICS,
    Estimate,
    Formula,
    by_class,
    by_threshold,
    calibration,
    confusion,
    jeffreys,
    metrics,
    residual_quantiles,
    wilson,
    with_formulas,
)
from barograph.reference import Reference

DECISIONS = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
    "specificity": lambda y, p: sk.recall_score(y, p, pos_label=0),
    "matthews": sk.matthews_corrcoef,
}
REGRESSION = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "bias": lambda y, p: np.mean(p - y),
    "mape": sk.mean_absolute_percentage_error,
    "smape": lambda y, p: np.mean(2 * np.abs(p - y) / (np.abs(p) + np.abs(y))),
    "r2": sk.r2_score,
}


def drawn(rng, rows, rate, separation):
    """Labels, and scores that are their probabilities."""
    y = (rng.random(rows) < rate).astype(float)
    x = rng.normal(size=rows) + separation * y
    return y, expit(separation * x - separation**2 / 2 + math.log(rate / (1 - rate)))


def reference_bins(score, threshold):
    return OutcomeBins.of(
        Reference.fit({"x": score, "p": score}, task="binary", score="p", threshold=threshold)
    )


def held_by(estimate, truth):
    return estimate.low <= truth <= estimate.high


# Binary.


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.005])
@pytest.mark.parametrize("separation", [1.0, 2.5, 4.0])
def test_binary_metrics_equal_scikit_learn_on_the_raw_rows(rate, separation):
    rng = np.random.default_rng(round(1000 * rate + separation))
    own, live = drawn(rng, 50_000, rate, separation)[1], drawn(rng, 50_000, rate, separation)
    threshold = float(np.quantile(own, 1 - rate))
    y, score = live
    answer = score >= threshold
    for bins in (reference_bins(own, threshold), OutcomeBins.default("binary", threshold)):
        profile = OutcomeProfile.of(bins, y, score, answer)
        assert confusion(profile).tolist() == sk.confusion_matrix(y, answer).tolist()
        found = metrics(profile)
        for name, function in DECISIONS.items():
            assert found[name].value == pytest.approx(function(y, answer), rel=1e-12), name
        assert found["log_loss"].value == pytest.approx(sk.log_loss(y, score), rel=1e-9)
        assert found["brier"].value == pytest.approx(sk.brier_score_loss(y, score), rel=1e-9)
        assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(y, score), abs=1e-3)
        assert found["positive_rate"].value == y.mean()
        assert all(
            estimate.enough and estimate.low <= estimate.value <= estimate.high for estimate in found.values()
        )


@pytest.mark.parametrize(("rate", "within"), [(0.5, 1e-3), (0.1, 2e-3), (0.005, 3e-2)])
def test_average_precision_is_as_exact_as_the_bins_are_fine_where_the_positives_are(rate, within):
    rng = np.random.default_rng(5)
    for separation in (1.0, 2.5, 4.0):
        own, (y, score) = drawn(rng, 50_000, rate, separation)[1], drawn(rng, 50_000, rate, separation)
        truth = sk.average_precision_score(y, score)
        quantiles = OutcomeProfile.of(reference_bins(own, 0.5), y, score)
        assert metrics(quantiles)["average_precision"].value == pytest.approx(truth, abs=within)
        logits = OutcomeProfile.of(OutcomeBins.default("binary"), y, score)
        assert metrics(logits)["average_precision"].value == pytest.approx(truth, abs=1e-3)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=80))
def test_metrics_of_scores_of_few_values_are_exact(rows):
    y, score = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows]) / 20
    bins = reference_bins(np.arange(21) / 20, 0.35)
    profile = OutcomeProfile.of(bins, y, score)
    found = metrics(profile)
    assert bins.ties
    assert confusion(profile).tolist() == sk.confusion_matrix(y, score >= 0.35, labels=[0, 1]).tolist()
    if 0 < y.sum() < len(y):
        assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(y, score), abs=1e-12)
    if y.sum():
        assert found["average_precision"].value == pytest.approx(
            sk.average_precision_score(y, score), abs=1e-12
        )
    cells = equal_mass(np.bincount(bins.score.index(score), minlength=bins.score.values))[
        bins.score.index(score)
    ]
    gaps = [abs(np.sum((y - score)[cells == cell])) for cell in range(CELLS)]
    assert found["calibration_error"].value == pytest.approx(sum(gaps) / len(y), abs=1e-12)
    assert found["log_loss"].value == pytest.approx(sk.log_loss(y, score, labels=[0, 1]), rel=1e-9)


def test_the_curves_points_are_those_of_the_raw_rows_at_each_edge():
    rng = np.random.default_rng(6)
    y, score = drawn(rng, 5_000, 0.2, 1.5)
    curve = by_threshold(OutcomeProfile.of(reference_bins(score, 0.4), y, score))
    assert curve.threshold[0] == np.inf and curve.threshold[-1] == -np.inf and 0.4 in curve.threshold
    assert np.all(np.diff(curve.threshold) < 0)
    for i, threshold in enumerate(curve.threshold):
        table = sk.confusion_matrix(y, score >= threshold, labels=[0, 1])
        assert [curve.tn[i], curve.fp[i], curve.fn[i], curve.tp[i]] == table.ravel().tolist()
    at = int(np.flatnonzero(curve.threshold == 0.4)[0])
    assert curve.precision[at] == pytest.approx(sk.precision_score(y, score >= 0.4))
    assert curve.recall[at] == pytest.approx(sk.recall_score(y, score >= 0.4))
    assert curve.f1[at] == pytest.approx(sk.f1_score(y, score >= 0.4))
    assert curve.positive_share[at] == np.mean(score >= 0.4)
    assert np.isnan(curve.precision[0]) and curve.recall[-1] == curve.false_positive_rate[-1] == 1


def test_curves_of_scores_of_few_values_are_scikit_learns():
    rng = np.random.default_rng(7)
    score = rng.integers(0, 50, 3_000) / 50
    y = (rng.random(3_000) < score).astype(float)
    curve = by_threshold(OutcomeProfile.of(reference_bins(score, 0.5), y, score))
    mine = set(zip(curve.false_positive_rate.round(12), curve.recall.round(12), strict=True))
    fpr, tpr, _ = sk.roc_curve(y, score, drop_intermediate=False)
    assert set(zip(fpr.round(12), tpr.round(12), strict=True)) == mine
    precision, recall, _ = sk.precision_recall_curve(y, score)
    held = ~np.isnan(curve.precision)
    mine = set(zip(curve.precision[held].round(12), curve.recall[held].round(12), strict=True))
    assert set(zip(precision[:-1].round(12), recall[:-1].round(12), strict=True)) == mine


def test_the_calibration_curve_is_scikit_learns_where_each_cell_is_one_score():
    rng = np.random.default_rng(8)
    score = np.repeat([0.125, 0.375, 0.625, 0.875], 500)
    y = (rng.random(2_000) < score**2).astype(float)
    curve = calibration(OutcomeProfile.of(reference_bins(score, 0.5), y, score))
    observed, predicted = calibration_curve(y, score, n_bins=4)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)
    assert np.all((curve.low < curve.observed) & (curve.observed < curve.high)) and curve.rows.sum() == 2_000


def test_predictions_are_judged_where_there_are_any_and_else_the_scores_at_the_threshold():
    bins = OutcomeBins.default("binary", threshold=0.5)
    y, score = [0, 0, 1, 1], [0.2, 0.6, 0.4, 0.9]
    assert confusion(OutcomeProfile.of(bins, y, score)).tolist() == [[1, 1], [1, 1]]
    assert confusion(OutcomeProfile.of(bins, y, score, [0, 0, 1, None])).tolist() == [[2, 0], [0, 1]]
    assert not confusion(OutcomeProfile.of(OutcomeBins.default("binary"), y, score)).any()


def test_a_score_on_the_threshold_is_positive():
    bins = reference_bins(np.linspace(0, 1, 1_000), 0.3)
    assert confusion(OutcomeProfile.of(bins, [1, 1], [0.3, np.nextafter(0.3, 0)])).tolist() == [
        [0, 0],
        [1, 1],
    ]


# Multiclass.


def classified(rng, rows, classes, right=0.6):
    shares = rng.dirichlet(np.ones(len(classes)) * 3)
    y = rng.choice(classes, rows, p=shares)
    return y, np.where(rng.random(rows) < right, y, rng.choice(classes, rows))


@pytest.mark.parametrize("seed", range(4))
def test_multiclass_metrics_equal_scikit_learn_on_the_raw_rows(seed):
    rng = np.random.default_rng(seed)
    classes = ("a", "b", "c", "d", "e")
    y, answer = classified(rng, 4_000, [*classes, "rare", "rarer"])
    answer = np.where(rng.random(4_000) < 0.05, None, answer)
    profile = OutcomeProfile.of(
        OutcomeBins.default("multiclass", classes=classes), y, rng.random(4_000), answer
    )
    texts = np.where(answer == None, "none", answer).astype(str)  # noqa: E711
    merged = [np.where(np.isin(v, [*classes, "none"]), v, "other") for v in (y, texts)]
    wanted = sk.confusion_matrix(*merged, labels=[*classes, "other", "none"])
    assert profile.answers.tolist() == wanted[:-1].tolist()
    found = metrics(profile)
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(y, texts))
    for mean in ("macro", "weighted"):
        scores = sk.precision_recall_fscore_support(y, texts, labels=classes, average=mean)[:3]
        for form, value in zip(("precision", "recall", "f1"), scores, strict=True):
            assert found[f"{mean}_{form}"].value == pytest.approx(value, rel=1e-12)
    scores = sk.precision_recall_fscore_support(y, texts, labels=classes)[:3]
    for i, estimates in enumerate(by_class(profile).values()):
        assert [estimate.value for estimate in estimates.values()] == pytest.approx([v[i] for v in scores])


def test_a_class_without_labels_and_predictions_is_left_out_and_one_never_predicted_counts_as_zero():
    bins = OutcomeBins.default("multiclass", classes=("a", "b", "gone"))
    y, answer = ["a"] * 40 + ["b"] * 20, ["a"] * 60
    found = metrics(OutcomeProfile.of(bins, y, None, answer))
    for name, average in (("macro_precision", "macro"), ("weighted_precision", "weighted")):
        assert found[name].value == pytest.approx(
            sk.precision_score(y, answer, average=average, zero_division=0)
        )


def test_accuracy_of_classes_that_are_not_known_is_exact():
    y, answer = classified(np.random.default_rng(9), 500, [f"c{i}" for i in range(50)])
    found = metrics(OutcomeProfile.of(OutcomeBins.default("multiclass"), y, None, answer))
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(y, answer))
    assert math.isnan(found["macro_f1"].value) and found["macro_f1"].why == "no labels of known classes"


# Regression.


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_regression_metrics_equal_scikit_learn_on_the_raw_rows(scale):
    rng = np.random.default_rng(10)
    y = scale * rng.gamma(2, 10, 5_000)
    p = 0.9 * y + scale * rng.standard_t(5, 5_000)
    bins = OutcomeBins.of(Reference.fit({"x": p, "p": p}, task="regression", prediction="p"))
    profile = OutcomeProfile.of(bins, y, None, p)
    found = metrics(profile)
    for name, function in REGRESSION.items():
        assert found[name].value == pytest.approx(function(y, p), rel=1e-9), name
        assert found[name].enough and found[name].low < found[name].value < found[name].high
    wanted = np.quantile(p - y, [0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(residual_quantiles(profile), wanted, atol=0.01 * np.std(p - y))


def test_labels_of_zero_are_left_out_of_mape_alone():
    y, p = np.array([0.0] * 10 + [2.0] * 40), np.array([1.0] * 10 + [3.0] * 40)
    found = metrics(OutcomeProfile.of(OutcomeBins.default("regression"), y, None, p))
    assert found["mape"].value == 0.5 and found["mape"].n == 40
    assert found["mae"].value == 1 and found["mae"].n == 50
    assert found["smape"].value == pytest.approx((10 * 2 + 40 * 0.4) / 50)
    none = metrics(OutcomeProfile.of(OutcomeBins.default("regression"), np.zeros(50), None, np.ones(50)))
    assert math.isnan(none["mape"].value) and none["mape"].why == "no labels other than 0"


@pytest.mark.parametrize("constant", [0.0, 0.1, 7.0, -1e9])
def test_r2_of_labels_that_are_all_equal_is_no_number(constant):
    y, p = np.full(100, constant), np.random.default_rng(11).normal(size=100) + constant
    found = metrics(OutcomeProfile.of(OutcomeBins.default("regression"), y, None, p))["r2"]
    assert math.isnan(found.value) and not found.enough and found.why == "labels are all equal"


def test_a_perfect_regression_is_perfect():
    found = metrics(
        OutcomeProfile.of(OutcomeBins.default("regression"), np.arange(50.0), None, np.arange(50.0))
    )
    assert [found[name].value for name in ("mae", "rmse", "bias", "r2")] == [0, 0, 0, 1]


# What is too little.


@pytest.mark.parametrize("task", sorted(METRICS))
def test_no_rows_are_no_answer(task):
    for name, estimate in metrics(OutcomeProfile.zero(OutcomeBins.default(task))).items():
        assert math.isnan(estimate.value) and not estimate.enough and estimate.why, name


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_says_which_is_absent(label):
    rng = np.random.default_rng(12)
    bins = OutcomeBins.default("binary", 0.5)
    found = metrics(OutcomeProfile.of(bins, np.full(200, label), rng.random(200)))
    why = "no positives" if label == 0 else "no negatives"
    for name in ("roc_auc", "matthews", "balanced_accuracy"):
        assert math.isnan(found[name].value) and found[name].why == why
    assert found["accuracy"].enough and found["log_loss"].enough


def test_few_positives_are_too_few():
    rng = np.random.default_rng(13)
    y, score = np.arange(1_000) < 49, rng.random(1_000)
    found = metrics(OutcomeProfile.of(OutcomeBins.default("binary", 0.5), y, score))
    for name in (
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "average_precision",
        "matthews",
        "balanced_accuracy",
    ):
        assert found[name].why == "too few positives: 49 of 50" and not math.isnan(found[name].value)
    assert found["accuracy"].enough and found["specificity"].enough
    few = metrics(OutcomeProfile.of(OutcomeBins.default("binary", 0.5), y[:20], score[:20]))
    assert few["brier"].why == "too few rows with label and score: 20 of 30"


def test_where_nothing_is_predicted_positive_precision_is_no_number():
    y = np.arange(200) < 100
    found = metrics(OutcomeProfile.of(OutcomeBins.default("binary", 0.5), y, np.full(200, 0.1)))
    assert math.isnan(found["precision"].value) and found["precision"].why == "no predicted positives"
    assert found["recall"].value == found["f1"].value == 0 and found["recall"].enough


def test_scores_that_are_missing_leave_the_predictions_judged():
    y = np.arange(200) < 100
    found = metrics(OutcomeProfile.of(OutcomeBins.default("binary", 0.5), y, np.full(200, np.nan), y))
    assert found["accuracy"].value == 1 and found["log_loss"].why == "no rows with label and score"


def test_scores_that_are_no_probabilities_have_a_rank_but_no_loss():
    rng = np.random.default_rng(14)
    y = rng.random(2_000) < 0.3
    margin = rng.normal(size=2_000) + y
    found = metrics(OutcomeProfile.of(reference_bins(margin, 0.0), y, margin))
    assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(y, margin), abs=1e-3)
    for name in ("log_loss", "brier", "calibration_error"):
        assert math.isnan(found[name].value) and found[name].why == "scores outside 0 to 1"


def test_scores_of_exactly_0_and_1_are_probabilities():
    y, score = np.array([0.0, 1.0, 1.0, 0.0] * 20), np.array([0.0, 1.0, 0.0, 0.5] * 20)
    for bins in (reference_bins(score, 0.5), OutcomeBins.default("binary", 0.5)):
        found = metrics(OutcomeProfile.of(bins, y, score))
        assert found["log_loss"].value == pytest.approx(sk.log_loss(y, score))


# Intervals.


@pytest.mark.parametrize("trials", [1, 20, 333])
def test_jeffreys_and_wilson_equal_scipys(trials):
    for hits in range(0, trials + 1, max(trials // 20, 1)):
        low, high = jeffreys(hits, trials)
        beta = stats.beta(hits + 0.5, trials - hits + 0.5)
        assert low == pytest.approx(beta.ppf(0.025) if hits else 0, rel=1e-9)
        assert high == pytest.approx(beta.ppf(0.975) if hits < trials else 1, rel=1e-9)
        exact = stats.binomtest(hits, trials).proportion_ci(method="wilson")
        assert wilson(hits, trials) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize("trials", [20, 100, 1_000])
def test_jeffreys_covers_what_it_says_over_all_shares(trials):
    hits = np.arange(trials + 1)
    low, high = jeffreys(hits, trials)
    shares = np.linspace(0.01, 0.99, 197)
    inside = (low <= shares[:, None]) & (shares[:, None] <= high)
    coverage = np.sum(stats.binom.pmf(hits, trials, shares[:, None]) * inside, axis=1)
    assert abs(coverage.mean() - 0.95) < 0.01 and coverage.min() > 0.87


def test_the_variance_of_auc_is_delongs_with_the_farthest_rows_counted_twice():
    rng = np.random.default_rng(15)
    y, score = drawn(rng, 400, 0.4, 1.0)
    score = score.round(2)
    profile = OutcomeProfile.of(reference_bins(np.arange(101) / 100, 0.5), y, score)
    positives, negatives = score[y == 1], score[y == 0]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    area = wins.mean()
    variance = 0.0
    for placements in (wins.mean(axis=1), wins.mean(axis=0)):
        m = len(placements)
        variance += placements.var(ddof=1) / m + np.max((placements - area) ** 2) / m**2
    half = 1.959963984540054 * np.sqrt(variance) / (area * (1 - area))
    found = metrics(profile)["roc_auc"]
    logit = np.log(area / (1 - area))
    assert (found.low, found.high) == pytest.approx((expit(logit - half), expit(logit + half)), abs=1e-12)


def test_a_perfect_ranking_keeps_an_interval():
    y = np.arange(200) < 60
    found = metrics(OutcomeProfile.of(OutcomeBins.default("binary", 0.5), y, np.where(y, 0.9, 0.1)))
    assert found["roc_auc"].value == 1 == found["roc_auc"].high
    assert found["roc_auc"].low == pytest.approx(float(jeffreys(60, 60)[0]))


@pytest.mark.parametrize(
    ("rate", "separation", "rows"),
    [(0.3, 1.5, 400), (0.05, 2.0, 3_000), (0.005, 2.0, 15_000), (0.1, 4.0, 1_000)],
)
def test_intervals_of_binary_metrics_hold_the_populations_value(rate, separation, rows):
    rng, repeats = np.random.default_rng(16), 200 if rows > 10_000 else 400
    bins = OutcomeBins.default("binary", threshold=0.5 if rate > 0.1 else 0.15)
    truth = metrics(OutcomeProfile.of(bins, *drawn(rng, 2_000_000, rate, separation)))
    y, score = drawn(rng, rows * repeats, rate, separation)
    group = np.repeat(np.arange(repeats), rows)
    counts, sums = count(bins, y, score, None, group, repeats)
    found = [metrics(OutcomeProfile(bins, c, s)) for c, s in zip(counts, sums, strict=True)]
    for name, true in truth.items():
        coverage = np.mean([held_by(estimates[name], true.value) for estimates in found])
        assert coverage >= 0.90, name
        if name != "calibration_error":  # which allows for all that chance may have made
            assert coverage <= 0.99 or name == "roc_auc", name


def test_calibrated_scores_are_not_said_to_be_off():
    rng, bins = np.random.default_rng(17), OutcomeBins.default("binary")
    for rows in (200, 20_000):
        score = rng.random(rows)
        calibrated = metrics(OutcomeProfile.of(bins, rng.random(rows) < score, score))["calibration_error"]
        assert calibrated.low == 0
        off = metrics(OutcomeProfile.of(bins, rng.random(rows) < 0.5 * score, score))["calibration_error"]
        assert off.low > 0.05 and held_by(off, 0.25)


def test_intervals_of_class_averages_hold_the_populations_value():
    rng, repeats, rows = np.random.default_rng(18), 400, 300
    shares = (
        rng.dirichlet(np.ones(20)).reshape(4, 5) * 0.4
    )  # labels by predictions, the last of which is none
    shares[np.arange(4), np.arange(4)] += 0.15
    bins = OutcomeBins.default("multiclass", classes=("a", "b", "c"))

    def profile(cells):
        counts = np.zeros(bins.counts, dtype=cells.dtype)
        counts[:20] = cells
        return OutcomeProfile(bins, counts, np.zeros(bins.sums))

    truth = metrics(profile(shares.ravel() * 1e6))
    found = [metrics(profile(cells)) for cells in rng.multinomial(rows, shares.ravel(), repeats)]
    for name in truth:
        if name.startswith(("macro", "weighted")):
            coverage = np.mean([held_by(estimates[name], truth[name].value) for estimates in found])
            assert 0.92 <= coverage <= 0.98, name


def test_intervals_of_regression_metrics_hold_the_populations_value():
    rng, repeats, rows = np.random.default_rng(19), 400, 400
    bins = OutcomeBins.default("regression")

    def values(n):
        y = rng.normal(20, 4, n)
        return y, 0.8 * y + 4.5 + rng.normal(0, 1 + 0.05 * np.abs(y), n)

    y, p = values(2_000_000)
    truth = metrics(OutcomeProfile.of(bins, y, None, p))
    y, p = values(rows * repeats)
    counts, sums = count(bins, y, None, p, np.repeat(np.arange(repeats), rows), repeats)
    found = [metrics(OutcomeProfile(bins, c, s)) for c, s in zip(counts, sums, strict=True)]
    for name, true in truth.items():
        coverage = np.mean([held_by(estimates[name], true.value) for estimates in found])
        assert 0.92 <= coverage <= 0.98, name


def test_weighted_counts_give_what_the_rows_so_often_would():
    rng = np.random.default_rng(20)
    y, score = drawn(rng, 2_000, 0.3, 1.5)
    bins = OutcomeBins.default("binary", 0.5)
    once = OutcomeProfile.of(bins, y, score)
    thrice = metrics(OutcomeProfile(bins, 3.0 * once.counts, 3.0 * once.sums))
    for name, estimate in metrics(once + once + once).items():
        assert thrice[name].value == pytest.approx(estimate.value, rel=1e-12), name


# The registry.


def test_every_metric_says_what_it_is():
    for task, entries in METRICS.items():
        for name, metric in entries.items():
            assert name == metric.name and metric.title and metric.unit in ("share", "number"), (task, name)
            assert len(metric.definition) > 20


def test_shares_stay_within_0_and_1():
    rng = np.random.default_rng(21)
    for rows in (2, 5, 20, 200):
        y, score = rng.integers(0, 2, rows), rng.random(rows)
        profile = OutcomeProfile.of(OutcomeBins.default("binary", 0.5), y, score)
        for name, estimate in metrics(profile).items():
            if METRICS["binary"][name].unit == "share" and not math.isnan(estimate.value):
                assert 0 <= estimate.low <= estimate.value <= min(estimate.high, 1), (name, estimate)


def test_an_estimate_is_plain():
    assert Estimate(0.5, 0.4, 0.6, 100).enough and Estimate(0.5, 0.4, 0.6, 100).why == ""


# Real rows.


def test_car_loans_metrics_equal_scikit_learn_however_the_labels_arrive(data):
    folder = data / "car-loan"
    own = pd.read_csv(folder / "synthetic_car_loan_reference.csv")
    live = pd.read_csv(folder / "synthetic_car_loan_analysis.csv")
    live = live.merge(pd.read_csv(folder / "synthetic_car_loan_analysis_target.csv"), on="id")
    reference = Reference.fit(
        own[["car_value", "timestamp", "y_pred_proba", "y_pred", "repaid"]],
        task="binary",
        score="y_pred_proba",
        prediction="y_pred",
        label="repaid",
        time="timestamp",
        threshold=0.5,
    )
    bins = OutcomeBins.of(reference)
    rng = np.random.default_rng(22)
    rare = np.append(
        np.flatnonzero(live.repaid == 0), rng.choice(np.flatnonzero(live.repaid == 1), 125, replace=False)
    )
    for rows in (np.arange(len(live)), rare):
        table = live.iloc[rng.permutation(rows)]
        wrong = rng.random(len(table)) < 0.05
        told = np.where(wrong, 1 - table.repaid, table.repaid)
        group = rng.integers(0, 24, len(table))
        counts, sums = count(bins, told, table.y_pred_proba, table.y_pred, group, 24)
        pieces = sum(
            (OutcomeProfile(bins, *parts) for parts in zip(counts, sums, strict=True)),
            OutcomeProfile.zero(bins),
        )
        fixed = table[wrong]
        pieces -= OutcomeProfile.of(bins, told[wrong], fixed.y_pred_proba, fixed.y_pred)
        pieces += OutcomeProfile.of(bins, fixed.repaid, fixed.y_pred_proba, fixed.y_pred)
        y, score, answer = table.repaid, table.y_pred_proba, table.y_pred
        found = metrics(pieces)
        assert confusion(pieces).tolist() == sk.confusion_matrix(y, answer).tolist()
        for name, function in DECISIONS.items():
            assert found[name].value == pytest.approx(function(y, answer), rel=1e-12), name
        assert found["log_loss"].value == pytest.approx(sk.log_loss(y, score), rel=1e-9)
        assert found["brier"].value == pytest.approx(sk.brier_score_loss(y, score), rel=1e-9)
        assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(y, score), abs=1e-12)
        assert found["average_precision"].value == pytest.approx(
            sk.average_precision_score(y, score), abs=1e-12
        )
        assert pieces.rows == len(table)


# Whatever the rows: an answer, or why there is none.

WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(0, 1),
    st.floats(),
    st.sampled_from([0.0, 1e-160, 1e-90, 1e69, -1e69, "a", "b"]),
)


@given(
    st.sampled_from(sorted(METRICS)),
    st.lists(st.tuples(WILD, WILD, WILD), max_size=12),
    st.lists(st.tuples(WILD, WILD, WILD), max_size=12),
    st.integers(1, 60),
)
def test_every_profile_has_an_estimate_and_what_is_no_number_says_why(task, rows, others, times):
    bins = OutcomeBins.default(task, threshold=0.5, classes=("a", "b") if task == "multiclass" else ())
    one, other = (
        OutcomeProfile.of(bins, *([row[i] for row in part] for i in range(3)))
        for part in (rows * times, others)
    )
    for profile in (one, one + other - other):
        for name, found in metrics(profile).items():
            assert not (math.isnan(found.value) and found.enough), name
            assert bool(found.why) != found.enough, name
            assert math.isnan(found.low) or found.low <= found.value <= found.high, name


def test_sure_things_keep_an_interval():
    y = np.arange(200) < 60
    for answer, value in ((y, 1.0), (~y, -1.0)):
        found = metrics(OutcomeProfile.of(OutcomeBins.default("binary"), y, None, answer))["matthews"]
        assert found.value == value and 0 < found.high - found.low < 0.2


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=30, max_size=200), st.integers(1, 9))
def test_a_formula_of_the_owner_is_that_of_the_rows(rows, weight):
    label, answer = (np.array(column) for column in zip(*rows, strict=True))
    bins = OutcomeBins.default("binary", threshold=0.5)
    profile = OutcomeProfile.of(bins, label * 1.0, prediction=answer * 1.0)
    told = Formula(f"({weight} * fn + fp) / n").of(profile)
    cost = weight * (label & ~answer) + 1.0 * (~label & answer)
    assert told.value == pytest.approx(cost.mean())
    half = 1.959964 * np.sqrt(
        np.mean((cost - cost.mean()) ** 2) / len(cost)
    )  # it is a mean: so is its interval
    assert told.high - told.value == pytest.approx(half, rel=1e-6, abs=1e-12)
    assert Formula("tp / (tp + fp)").of(profile).value == pytest.approx(
        sk.precision_score(label, answer, zero_division=np.nan), nan_ok=True
    )


def test_a_formula_of_few_labels_or_of_another_task_says_nothing():
    bins = OutcomeBins.default("binary", threshold=0.5)
    few = Formula("fp / n").of(OutcomeProfile.of(bins, [0.0] * 29, prediction=[1.0] * 29))
    assert not few.enough and few.why == "too few labels: 29 of 30"
    assert "cost" in with_formulas("binary", {"cost": "fp / n"})
    assert "cost" not in with_formulas("multiclass", {"cost": "fp / n"})
    assert with_formulas("multiclass", {"cost": "wrong / n"})["cost"].higher_is_better is False
