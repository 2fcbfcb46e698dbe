"""Estimated performance: the published formulae on raw rows, chance and band, and what it cannot see."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from barograph.bins import NumericBins, numeric_bins
from barograph.estimate import (
    ASSUMPTION,
    Band,
    Calibrated,
    CalibratedErrors,
    ErrorModel,
    Estimate,
    OneVsRest,
    checked,
    estimate,
    interval,
    isotonic,
)
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.slopes import AT_THRESHOLD, ROC_AUC, at_threshold, roc_auc, sides

DAY = 86_400
counts = hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 50))


def drawn(scores, threshold=0.5, quantiles=512):
    """Bins as a reference draws them."""
    return OutcomeBins("binary", numeric_bins(scores, quantiles=quantiles, points=(threshold,)), threshold)


def tally(bins, score, label, window):
    """int64[windows, 2, slots]."""
    flat = (window * 2 + label) * bins.slots + bins.score.index(score)
    return np.bincount(flat, minlength=(int(window.max()) + 1) * 2 * bins.slots).reshape(-1, 2, bins.slots)


def simulated(rng, days=60, rows=600, chance=lambda s: s):
    """Scores, labels and days: y = 1 with probability chance(score)."""
    score = rng.beta(2, 4, days * rows)
    label = (rng.random(len(score)) < chance(score)).astype(np.int64)
    return score, label, np.repeat(np.arange(days), rows)


def by_rows(chance, score, threshold=0.5):
    """Metrics to expect, row by row, as they were published: each row is chance of a positive and 1 - chance of a negative."""
    said = score >= threshold
    tp, fn = chance[said].sum(), chance[~said].sum()
    fp, tn = said.sum() - tp, (~said).sum() - fn
    order = np.argsort(score, kind="stable")
    _, starts = np.unique(score[order], return_index=True)
    p, n = (np.add.reduceat(c[order], starts) for c in (chance, 1 - chance))
    auc = np.sum(p * (np.cumsum(n) - n / 2)) / (p.sum() * n.sum())
    confusion = {
        "accuracy": (tp + tn) / len(score),
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
    }
    return {**confusion, ROC_AUC: auc}


# The isotonic fit, and metrics with their derivatives.


@given(counts, st.data())
def test_the_isotonic_fit_is_scikit_learns(weights, data):
    sums = data.draw(hnp.arrays(np.int64, len(weights), elements=st.integers(0, 50)))
    sums = np.minimum(sums, weights)
    held = weights > 0
    if not held.any():
        assert np.isnan(isotonic(sums, weights)).all()
        return
    place = np.arange(held.sum())
    theirs = IsotonicRegression().fit(place, sums[held] / weights[held], weights[held]).predict(place)
    fitted = isotonic(sums, weights)
    assert np.allclose(fitted[held], theirs, atol=1e-12)
    assert np.all(np.diff(fitted) >= 0)


def test_a_slot_without_rows_takes_the_chance_of_the_one_before_it():
    assert isotonic(np.array([0, 1, 0, 4, 0]), np.array([0, 4, 0, 4, 0])).tolist() == [0.25, 0.25, 0.25, 1, 1]


@settings(max_examples=25)
@given(
    hnp.arrays(np.int64, (2, 6), elements=st.integers(0, 9)).filter(lambda c: (c.sum(axis=1) > 0).all()),
    st.integers(0, 6),
)
def test_metrics_of_counts_are_scikit_learns_of_the_rows(table, first):
    label = np.repeat([0, 1], table.sum(axis=1))
    slot = np.concatenate([np.repeat(np.arange(6), row) for row in table])
    said = slot >= first
    found = at_threshold(sides(table[1], first), sides(table[0], first)).value
    values = dict(zip(AT_THRESHOLD, np.nan_to_num(found), strict=True))
    for name, theirs in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert values[name] == pytest.approx(theirs(label, said, zero_division=0), abs=1e-12)
    assert values["accuracy"] == pytest.approx(np.mean(label == said))
    assert float(roc_auc(table[1], table[0]).value) == pytest.approx(roc_auc_score(label, slot))


@given(hnp.arrays(np.float64, (2, 5), elements=st.floats(1, 100)))
def test_derivatives_are_those_of_differences(table):
    def metrics(table):
        return np.append(
            at_threshold(sides(table[1], 2), sides(table[0], 2)).value, roc_auc(*table[::-1]).value
        )

    below_and_above = at_threshold(sides(table[1], 2), sides(table[0], 2))
    auc = roc_auc(table[1], table[0])
    for label, by_side, by_slot in (
        (1, below_and_above.positives, auc.positives),
        (0, below_and_above.negatives, auc.negatives),
    ):
        for slot in range(5):
            step = np.zeros_like(table)
            step[label, slot] = 1e-4
            slope = (metrics(table + step) - metrics(table - step)) / 2e-4
            assert np.allclose(np.append(by_side[:, int(slot >= 2)], by_slot[slot]), slope, atol=1e-7)


@given(
    hnp.arrays(np.int64, (3, 8), elements=st.integers(1, 500)),
    hnp.arrays(np.float64, 8, elements=st.floats(0.01, 0.99)),
)
def test_the_short_way_to_the_roc_auc_of_chances_is_the_long_one(rows, chance):
    positives = rows * chance
    long = roc_auc(positives, rows - positives)
    bins = OutcomeBins("binary", NumericBins(np.arange(1.0, 8.0), low=0.0, high=8.0))
    expected = Calibrated(bins, chance, Band({})).expect(np.pad(rows, ((0, 0), (0, 2))))
    (value,), (variance,) = expected.values, expected.variances
    assert np.allclose(value, long.value)
    assert np.allclose(variance, long.of_flips(positives * (1 - chance)), rtol=1e-6)


@given(
    hnp.arrays(np.int64, (3, 8), elements=st.integers(1, 500)),
    hnp.arrays(np.float64, 8, elements=st.floats(0.01, 0.99)),
    st.integers(0, 7),
)
def test_the_closed_forms_at_the_threshold_are_what_differentiation_finds(rows, chance, first):
    edges = np.arange(1.0, 8.0)
    bins = OutcomeBins("binary", NumericBins(edges, low=0.0, high=8.0), threshold=float(first))
    expected = Calibrated(bins, chance, Band({})).expect(np.pad(rows, ((0, 0), (0, 2))))
    positives, flips = rows * chance, rows * chance * (1 - chance)
    long = at_threshold(sides(positives, first), sides(rows * (1 - chance), first))
    assert np.allclose(expected.values[:-1], long.value, equal_nan=True)
    assert np.allclose(expected.variances[:-1], long.of_flips(sides(flips, first)), equal_nan=True, rtol=1e-6)


# What is expected.


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_discrete_scores_give_what_the_published_formulae_give_on_raw_rows(seed):
    rng = np.random.default_rng(seed)
    score, label, day = simulated(rng, rows=100)
    score = score.round(2)
    bins = drawn(score)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day))
    live = rng.choice(score[score > 0.2], 2000)
    curve = IsotonicRegression(out_of_bounds="clip").fit(score, label)
    expected = calibrated.expect(np.bincount(bins.score.index(live), minlength=bins.slots))
    raw = by_rows(curve.predict(live), live)
    assert dict(zip(expected.names, expected.values.tolist(), strict=True)) == pytest.approx(raw, abs=1e-12)


def test_continuous_scores_give_the_same_within_half_a_thousandth():
    score, label, live, _ = flights_like(np.random.default_rng(5))
    bins = drawn(score)
    calibrated = Calibrated.fit(
        bins, tally(bins, score, label, np.zeros(len(score), dtype=int)), rows=(score, label)
    )
    curve = IsotonicRegression(out_of_bounds="clip").fit(score, label)
    expected = calibrated.expect(np.bincount(bins.score.index(live), minlength=bins.slots))
    raw = by_rows(curve.predict(live), live)
    assert dict(zip(expected.names, expected.values.tolist(), strict=True)) == pytest.approx(raw, abs=5e-4)


def flights_like(rng, n=32_000):
    """A reference with 15 % positives and live scores further up, as in a worse season: scores, labels, scores, labels."""
    parts = []
    for a in (1.0, 1.3):
        score = rng.beta(a * 0.5, 2.0, n)
        parts += [score, (rng.random(n) < score**1.2).astype(np.int64)]
    return parts


def test_windows_at_once_are_windows_one_by_one():
    rng = np.random.default_rng(0)
    score, label, day = simulated(rng, days=20)
    bins = drawn(score)
    days = tally(bins, score, label, day)
    calibrated = Calibrated.fit(bins, days)
    together = calibrated.expect(days.sum(axis=1))
    for i, one in enumerate(days.sum(axis=1)):
        alone = calibrated.expect(one)
        assert np.allclose(together.values[:, i], alone.values) and np.allclose(
            together.variances[:, i], alone.variances
        )


def test_rows_without_a_score_promise_nothing():
    rng = np.random.default_rng(0)
    score, label, day = simulated(rng)
    bins = drawn(score)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day))
    live = np.bincount(bins.score.index(score[:500]), minlength=bins.slots)
    holed = live.copy()
    holed[bins.score.missing], holed[bins.score.invalid] = 300, 20
    assert estimate(calibrated, holed) == estimate(calibrated, live)
    assert calibrated.positives(holed) == pytest.approx(score[:500].sum(), rel=0.05)


def test_without_a_threshold_there_is_the_roc_auc_alone():
    rng = np.random.default_rng(0)
    score, label, day = simulated(rng)
    bins = OutcomeBins("binary", drawn(score).score)
    days = tally(bins, score, label, day)
    assert list(estimate(Calibrated.fit(bins, days), days[0].sum(axis=0))) == [ROC_AUC]


def test_a_multiclass_confidence_gives_the_accuracy():
    rng = np.random.default_rng(0)
    confidence, right, day = simulated(rng)
    bins = OutcomeBins("multiclass", drawn(confidence).score, classes=("a", "b"))
    days = tally(bins, confidence, right, day)
    found = estimate(Calibrated.fit(bins, days), days.sum(axis=(0, 1)))
    assert list(found) == ["accuracy"] and found["accuracy"].value == pytest.approx(right.mean())


# Chance, and the band.


def test_variances_are_those_of_labels_drawn_again():
    rng = np.random.default_rng(1)
    score, label, day = simulated(rng)
    bins = drawn(score)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day))
    live = np.bincount(bins.score.index(score[:1000]), minlength=bins.slots)
    expected = calibrated.expect(live)
    positives = rng.binomial(live[: bins.score.values], calibrated.chance, size=(4000, bins.score.values))
    negatives = live[: bins.score.values] - positives
    first = int(bins.score.index([0.5])[0])
    found = at_threshold(sides(positives, first), sides(negatives, first)).value
    found = np.vstack([found, roc_auc(positives, negatives).value])
    assert found.std(axis=1) == pytest.approx(np.sqrt(expected.variances), rel=0.06)


def coverage(bins, calibrated, days):
    """By metric, the share of days whose value, once labels are there, lies in the band."""
    low, high = interval(calibrated.expect(days.sum(axis=1)), calibrated.band)
    first = int(bins.score.index([0.5])[0])
    positives, negatives = days[:, 1, : bins.score.values], days[:, 0, : bins.score.values]
    truth = at_threshold(sides(positives, first), sides(negatives, first)).value
    truth = np.vstack([truth, roc_auc(positives, negatives).value])
    return np.mean((low <= truth) & (truth <= high), axis=1)


def test_the_band_holds_what_labels_say_where_scores_keep_their_meaning():
    rng = np.random.default_rng(2)
    score, label, day = simulated(rng)
    bins = drawn(score)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day))
    later, labels, days = simulated(rng, days=200)
    held = coverage(bins, calibrated, tally(bins, later, labels, days))
    assert np.all(held >= 0.93)


def test_the_band_is_as_wide_as_ordinary_days_differ():
    rng = np.random.default_rng(3)

    def restless(days):
        score, _, day = simulated(rng, days=days)
        moved = np.clip(score + rng.normal(0, 0.08, days)[day], 0, 1)
        return score, (rng.random(len(score)) < moved).astype(np.int64), day

    score, label, day = restless(80)
    bins = drawn(score)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day))
    later = tally(bins, *restless(200))
    blind = np.sqrt(calibrated.expect(later.sum(axis=1)).variances)
    assert np.all(calibrated.band.of(["accuracy", "precision"]) > 1.5 * blind[[0, 2]].mean(axis=1))
    assert np.all(coverage(bins, calibrated, later) >= 0.9)


def test_too_few_days_give_a_value_without_a_band_and_say_so():
    rng = np.random.default_rng(0)
    score, label, day = simulated(rng, days=3)
    bins = drawn(score)
    days = tally(bins, score, label, day)
    found = estimate(Calibrated.fit(bins, days), days[0].sum(axis=0))["accuracy"]
    assert np.isfinite(found.value) and np.isnan(found.low) and not found.enough
    assert found.why == "the reference has too few labelled days to tell its band"


def test_what_was_learnt_survives_json():
    rng = np.random.default_rng(0)
    score, label, day = simulated(rng)
    bins = drawn(score)
    days = tally(bins, score, label, day)
    calibrated = Calibrated.fit(bins, days, rows=(score, label))
    again = Calibrated.from_dict(bins, json.loads(json.dumps(calibrated.to_dict())))
    assert estimate(again, days[0].sum(axis=0)) == estimate(calibrated, days[0].sum(axis=0))


def test_few_rows_and_few_positives_are_said():
    rng = np.random.default_rng(0)
    score, label, day = simulated(rng)
    bins = drawn(score)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day))

    def live(rows):
        return np.bincount(bins.score.index(score[:rows]), minlength=bins.slots)

    assert estimate(calibrated, live(20))["accuracy"].why == "20 rows, fewer than 30"
    some = estimate(calibrated, live(100))
    assert some["accuracy"].enough and not some["recall"].enough
    assert "of the rarest class expected, fewer than 50" in some["recall"].why
    assert all(one.enough for one in estimate(calibrated, live(1000)).values())
    none = estimate(calibrated, live(0))["precision"]
    assert np.isnan(none.value) and not none.enough


def test_what_cannot_be_calibrated_is_refused_with_a_remedy():
    bins = OutcomeBins.default("binary", threshold=0.5)
    one_class = np.zeros((5, 2, bins.slots), dtype=np.int64)
    one_class[:, 1] = 1
    with pytest.raises(ValueError, match="labels of one class alone"):
        Calibrated.fit(bins, one_class)
    with pytest.raises(ValueError, match="count over the same bins"):
        Calibrated.fit(bins, np.ones((5, 2, 7), dtype=np.int64))
    with pytest.raises(ValueError, match="no score"):
        Calibrated.fit(OutcomeBins.default("regression"), np.ones((5, 2, 7), dtype=np.int64))


# What it cannot see, and the record that tells.


def test_a_change_of_what_scores_mean_is_invisible_and_turns_the_record_grey():
    rng = np.random.default_rng(4)
    score, label, day = simulated(rng)
    bins = drawn(score)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day))
    same, changed = (
        tally(bins, score[:2000], y, np.zeros(2000, dtype=int))[0]
        for y in (label[:2000], (rng.random(2000) < score[:2000] / 2).astype(np.int64))
    )
    told = estimate(calibrated, same.sum(axis=0))["precision"]
    assert told == estimate(calibrated, changed.sum(axis=0))["precision"]
    assert told.assumption == ASSUMPTION

    def matured(days):
        first = int(bins.score.index([0.5])[0])
        value = float(at_threshold(sides(days[1], first), sides(days[0], first)).value[2])
        return Estimate(value, value, value, 2000)

    healthy = checked([0.0], [told], [matured(same)])
    assert (healthy.checks, healthy.inside, healthy.grey) == (1, 1, False)
    found = checked([0.0, 86400.0], [told, told], [matured(same), matured(changed)])
    assert (found.checks, found.inside, found.grey, found.at) == (2, 1, True, 86400.0)
    assert found.text.startswith("Last checked on 1970-01-02: 0.") and "outside its band" in found.text
    greyed = estimate(calibrated, same.sum(axis=0), {"precision": found})
    assert greyed["precision"].grey and not greyed["recall"].grey


def test_what_was_not_enough_is_no_check_and_the_last_is_the_latest_window():
    good, poor = Estimate(0.9, 0.85, 0.95, 500), Estimate(0.9, 0.85, 0.95, 12, False, "12 rows")
    off = Estimate(0.5, 0.4, 0.6, 500)
    assert checked([1.0, 2.0], [good, poor], [None, good]).text == "Not checked against labels yet."
    record = checked([3.0, 1.0, 2.0], [good, good, good], [good, off, poor])
    assert (record.checks, record.inside, record.at, record.grey) == (2, 1, 3.0, False)


# Several classes.


def classes_of(rng, rows, centre):
    """Scores float64[rows, 3], labels, predictions: three bells, scores of a softmax that is too sure of itself."""
    at = np.array([[0, 0], [2, 0], [0, 2]])
    label = rng.choice(3, rows, p=centre)
    x = at[label] + rng.normal(0, 1, (rows, 2))
    logits = -((x[:, None] - at) ** 2).sum(axis=-1) * 0.8 + np.log(centre)
    score = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return score, label, score.argmax(axis=1)


def one_vs_rest(bins, score, label, said, window):
    """int64[windows, 3, 2, 2, slots]."""
    shape = (int(window.max()) + 1, 3, 2, 2, bins.slots)
    found = np.zeros(shape, dtype=np.int64)
    for k in range(3):
        where = (window, (label == k).astype(int), (said == k).astype(int), bins.score.index(score[:, k]))
        flat = np.ravel_multi_index(where, (shape[0], 2, 2, shape[-1]))
        found[:, k] = np.bincount(flat, minlength=shape[0] * 4 * shape[-1]).reshape(shape[0], 2, 2, shape[-1])
    return found


def test_classes_against_the_rest_come_near_rows_that_are_renormalised_one_by_one():
    rng = np.random.default_rng(6)
    score, label, said = classes_of(rng, 40_000, np.array([0.4, 0.35, 0.25]))
    bins = OutcomeBins("multiclass", numeric_bins(score.ravel(), quantiles=512), classes=("a", "b", "c"))
    days = one_vs_rest(bins, score, label, said, np.repeat(np.arange(40), 1000))
    calibrated = OneVsRest.fit(bins, days)
    live, truth, answer = classes_of(rng, 20_000, np.array([0.3, 0.3, 0.4]))
    window = one_vs_rest(bins, live, truth, answer, np.zeros(20_000, dtype=int))[0]
    found = estimate(calibrated, window.sum(axis=1))
    chance = np.stack(
        [
            IsotonicRegression(out_of_bounds="clip").fit(score[:, k], label == k).predict(live[:, k])
            for k in range(3)
        ],
        axis=1,
    )
    chance /= chance.sum(axis=1, keepdims=True)
    tp = np.array([chance[answer == k, k].sum() for k in range(3)])
    claimed, there = np.bincount(answer), chance.sum(axis=0)
    assert found["accuracy"].value == pytest.approx(tp.sum() / len(live), abs=3e-3)
    assert found["macro_precision"].value == pytest.approx((tp / claimed).mean(), abs=3e-3)
    assert found["macro_recall"].value == pytest.approx((tp / there).mean(), abs=3e-3)
    assert found["macro_f1"].value == pytest.approx((2 * tp / (claimed + there)).mean(), abs=3e-3)
    assert list(found) == ["accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_roc_auc"]
    assert all(one.enough and one.low < one.value < one.high for one in found.values())


# Regression.


def noisy(rng, rows, wide):
    """Features, predictions and labels whose error depends on a feature; `wide`: how often it is large."""
    x = np.stack([rng.normal(size=rows), (rng.random(rows) < wide).astype(float)], axis=1)
    return x, x[:, 0], x[:, 0] + rng.normal(size=rows) * np.where(x[:, 1] == 1, 4.0, 1.0)


def moments(bins, column, error, window):
    """float64[windows, 4, slots]."""
    flat = window * bins.size + bins.index(column)
    size = (int(window.max()) + 1) * bins.size
    parts = [np.bincount(flat, np.abs(error) ** p, size).reshape(-1, bins.size) for p in (0, 1, 2, 4)]
    return np.stack(parts, axis=1)


def test_a_regressions_errors_are_expected_where_its_inputs_move():
    rng = np.random.default_rng(7)
    x, said, label = noisy(rng, 12_000, wide=0.2)
    model = ErrorModel.fit(x, said, label, DecisionTreeRegressor(max_depth=3))
    bins = numeric_bins(model.reference, quantiles=64)
    calibrated = CalibratedErrors.fit(
        bins, moments(bins, model.reference, said - label, np.repeat(np.arange(40), 300))
    )
    live, answer, truth = noisy(rng, 8_000, wide=0.7)
    found = estimate(calibrated, np.bincount(bins.index(model.predict(live)), minlength=bins.size))
    error = np.abs(answer - truth)
    assert found["mae"].low <= error.mean() <= found["mae"].high
    assert found["rmse"].low <= np.sqrt((error**2).mean()) <= found["rmse"].high
    assert np.abs(said - label).mean() < 0.7 * found["mae"].low  # what a constant would say
    assert found["mae"].high - found["mae"].low < 0.3 * found["mae"].value


def test_the_error_model_is_of_boosted_trees_unless_another_is_given():
    x, said, label = noisy(np.random.default_rng(8), 200, wide=0.5)
    model = ErrorModel.fit(x, said, label)
    assert model.reference.shape == (200,) and np.all(model.predict(x) >= 0)


def test_errors_are_expected_exactly_where_the_column_has_few_values():
    error = np.array([1.0, 1.0, 3.0, 5.0])
    column = np.array([1.0, 1.0, 4.0, 4.0])
    bins = numeric_bins(column)
    calibrated = CalibratedErrors.fit(bins, moments(bins, column, error, np.zeros(4, dtype=int)))
    live = np.bincount(bins.index(np.array([1.0, 4.0, 4.0, 4.0])), minlength=bins.size)
    expected = calibrated.expect(live)
    assert expected.values.tolist() == pytest.approx([(1 + 3 * 4) / 4, np.sqrt((1 + 3 * 17) / 4)])
    with pytest.raises(ValueError, match="no rows"):
        CalibratedErrors.fit(bins, np.zeros((3, 4, bins.size)))


# Real data.


def car_loan(data: Path, name: str) -> dict[str, np.ndarray]:
    with (data / "car-loan" / f"synthetic_car_loan_{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def test_on_car_loan_it_is_the_published_estimate_and_covers_what_the_labels_say(data):
    reference, live, target = (car_loan(data, name) for name in ("reference", "analysis", "analysis_target"))
    score, label = reference["y_pred_proba"].astype(float), reference["repaid"].astype(float).astype(np.int64)
    later, truth = live["y_pred_proba"].astype(float), target["repaid"].astype(float).astype(np.int64)
    bins = drawn(score)
    window = np.arange(len(later)) // 5_000
    _, day = np.unique(reference["timestamp"].astype("U10"), return_inverse=True)
    calibrated = Calibrated.fit(bins, tally(bins, score, label, day), rows=(score, label))
    months = tally(bins, later, truth, window)
    expected = calibrated.expect(months.sum(axis=1))
    curve = IsotonicRegression(out_of_bounds="clip").fit(score, label)
    for i in range(10):
        raw = by_rows(curve.predict(later[window == i]), later[window == i])
        assert dict(zip(expected.names, expected.values[:, i], strict=True)) == pytest.approx(raw, abs=1e-9)
    assert np.all(coverage(bins, calibrated, months) >= 0.8)


def test_on_flights_it_is_the_published_estimate_within_a_thousandth():
    flights = pytest.importorskip("barograph.demo.flights")
    try:
        rows = flights.load()
    except flights.DemoDataMissing as missing:
        pytest.skip(str(missing))
    rows = rows[rows["late"].notna()]
    features = ["dep_delay", "distance", "hour", "temp", "humid", "wind_speed", "precip", "visib"]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    train, reference, live = (
        flights.between(rows, f"2013-{start}T04:00Z", f"2013-{end}T04:00Z").fillna(
            dict.fromkeys(features, 0.0)
        )
        for start, end in (("07-01", "09-09"), ("09-09", "10-14"), ("10-14", "12-01"))
    )
    model.fit(train[features], train["late"].astype(bool))

    def scored(rows):
        day = flights.seconds(rows["departed_at"]) // DAY
        return model.predict_proba(rows[features])[:, 1], rows["late"].to_numpy(dtype=np.int64), day

    (score, label, day), (later, truth, days) = scored(reference), scored(live)
    bins = drawn(score)
    calibrated = Calibrated.fit(
        bins, tally(bins, score, label, np.unique(day, return_inverse=True)[1]), rows=(score, label)
    )
    weeks = ((days - days[0]) // 7).astype(np.int64)
    windows = tally(bins, later, truth, weeks)
    expected = calibrated.expect(windows.sum(axis=1))
    curve = IsotonicRegression(out_of_bounds="clip").fit(score, label)
    for i in range(len(windows)):
        raw = by_rows(curve.predict(later[weeks == i]), later[weeks == i])
        assert dict(zip(expected.names, expected.values[:, i], strict=True)) == pytest.approx(raw, abs=1e-3)
    assert coverage(bins, calibrated, windows).mean() >= 0.8


def test_a_profile_of_outcomes_is_laid_out_as_days_are():
    bins = OutcomeBins.default("binary", threshold=0.5)
    rng = np.random.default_rng(0)
    score, label, day = simulated(rng, days=2)
    days = tally(bins, score, label, day)
    profile = OutcomeProfile.of(bins, label[day == 1], score[day == 1], score[day == 1] >= 0.5)
    assert np.array_equal(profile.scores, days[1])
