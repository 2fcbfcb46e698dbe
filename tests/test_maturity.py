"""Label maturity: early labels mislead, weighted ones don't, and too early ones say nothing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.bins import numeric_bins
from barograph.maturity import AGES, Maturity, completeness, count_lags, lag_quantiles, weighted
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.slopes import AT_THRESHOLD

DAY, HOUR = 86_400.0, 3600.0
RNG = np.random.default_rng(0)
SCORES = RNG.beta(1, 6, 20_000)
BINS = OutcomeBins("binary", numeric_bins(SCORES, quantiles=512, points=(0.5,)), 0.5)
COUNTS = np.bincount(BINS.score.index(SCORES), minlength=BINS.slots)
CELLS = BINS.score.cells(COUNTS)


def frauds(rng, rows, soonest=1.0):
    """Scores, labels and lags in seconds: frauds are reported within days, the soonest where the score is high; the rest in months."""
    score = rng.beta(1, 6, rows)
    label = (rng.random(rows) < score).astype(np.int64)
    days = np.where(label == 1, rng.exponential(12 - 6 * score), rng.exponential(35, rows)) * soonest
    return score, label, days * DAY


def learnt(rng, rows=60_000, **options):
    score, label, lag = frauds(rng, rows, **options)
    return Maturity.learn(CELLS, count_lags(CELLS, label, BINS.score.index(score), lag))


def profile(score, label):
    return OutcomeProfile.of(BINS, label, score, score >= 0.5)


def cohort(rng, rows, age, span=DAY):
    """What has come of a day's predictions when its last one is `age` old, and all that will come."""
    score, label, lag = frauds(rng, rows)
    came = lag <= age + rng.uniform(0, span, rows)
    return profile(score[came], label[came]), profile(score, label)


def metric(outcomes, name):
    (tn, fp), (fn, tp) = outcomes.answers[:, :2]
    return {
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
    }[name]


# What complete cohorts teach.


def test_the_share_that_has_come_is_the_law_of_the_lags():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 200_000)
    lag = np.where(label == 1, rng.exponential(10 * DAY, len(label)), rng.exponential(40 * DAY, len(label)))
    slot = BINS.score.index(rng.beta(1, 6, len(label)))
    maturity = Maturity.learn(CELLS, count_lags(CELLS, label, slot, lag))
    held = np.bincount(CELLS[slot]) > 0
    for days in (2, 7, 30):
        law = 1 - np.exp(-days / np.array([40, 10]))
        assert np.allclose(maturity.share(days * DAY)[:, : len(held)][:, held], law[:, None], atol=0.02)


def test_predictions_of_many_ages_have_their_mean_share():
    maturity = learnt(np.random.default_rng(2))
    ages = 3 * DAY + np.linspace(0, DAY, 1001)
    mean = np.mean([maturity.share(age) for age in ages], axis=0)
    assert np.allclose(maturity.share(3 * DAY, DAY), mean, atol=1e-4)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_what_has_come_never_goes_again(one, other):
    maturity = MATURITY
    early, late = maturity.share(min(one, other)), maturity.share(max(one, other))
    assert np.all(early <= late + 1e-12) and np.all((early >= 0) & (late <= 1 + 1e-12))


def test_a_cell_with_few_labels_follows_its_class():
    counts = np.zeros((2, len(AGES) + 1, 2), dtype=np.int64)
    counts[:, 20, 0], counts[:, 30, 0] = 500, 500
    counts[:, 30, 1] = 1
    share = Maturity.learn(np.array([0, 1]), counts).share(float(AGES[20]))
    assert share[:, 0] == pytest.approx(0.5, abs=0.01) and share[:, 1] == pytest.approx(
        20 * 0.4995 / 21, abs=0.001
    )


def test_what_was_learnt_survives_json():
    again = Maturity.from_dict(json.loads(json.dumps(MATURITY.to_dict())))
    assert np.array_equal(again.share(5 * DAY, DAY), MATURITY.share(5 * DAY, DAY))
    assert np.array_equal(again.cells, MATURITY.cells) and again.eventual == MATURITY.eventual


def test_cohorts_without_a_class_teach_nothing():
    with pytest.raises(ValueError, match="lack labels of a class"):
        Maturity.learn(
            CELLS, count_lags(CELLS, np.ones(5, dtype=int), np.zeros(5, dtype=int), np.full(5, DAY))
        )


def test_lags_add_up_and_each_falls_where_it_had_come_by():
    label, slot = np.array([1, 0, 1]), np.array([3, 3, 9])
    lag = np.array([60.0, 61.0, 1e12])
    counts = count_lags(CELLS, label, slot, lag)
    parts = sum(count_lags(CELLS, label[i : i + 1], slot[i : i + 1], lag[i : i + 1]) for i in range(3))
    assert np.array_equal(counts, parts)
    assert counts[1, 0].sum() == 1 and counts[0, 1].sum() == 1 and counts[1, len(AGES)].sum() == 1


def test_quantiles_of_the_lag_are_those_of_the_rows():
    lag = np.random.default_rng(3).lognormal(11, 1, 50_000)
    zeros = np.zeros(len(lag), dtype=int)
    counts = count_lags(CELLS, zeros, zeros, lag).sum(axis=(0, 2))
    assert lag_quantiles(counts, [0.1, 0.5, 0.9]) == pytest.approx(
        np.quantile(lag, [0.1, 0.5, 0.9]), rel=0.03
    )
    assert np.isnan(lag_quantiles(counts * 0, [0.5])).all()
    late = np.zeros_like(counts)
    late[-1] = 1
    assert lag_quantiles(late, [0.5]).tolist() == [np.inf]


# What early labels say.


def test_naive_precision_misleads_and_the_weighted_one_is_within_its_interval():
    rng = np.random.default_rng(4)
    held, naive_held, runs = dict.fromkeys(("precision", "recall", "accuracy"), 0), 0, 60
    for _ in range(runs):
        early, final = cohort(rng, 15_000, 7 * DAY)
        found = weighted(MATURITY, [(7 * DAY, early)], span=DAY).estimates
        for name in held:
            held[name] += found[name].low <= metric(final, name) <= found[name].high
        naive_held += found["precision"].low <= metric(early, "precision") <= found["precision"].high
        assert metric(early, "precision") > metric(final, "precision") + 0.1
    assert min(held.values()) >= 0.93 * runs, held
    assert naive_held == 0


def test_its_interval_is_about_as_wide_as_the_estimate_varies():
    rng = np.random.default_rng(5)
    runs = [
        weighted(MATURITY, [(7 * DAY, cohort(rng, 15_000, 7 * DAY)[0])], span=DAY).estimates
        for _ in range(150)
    ]
    for name in (*AT_THRESHOLD, "roc_auc"):
        half = np.mean([(run[name].high - run[name].low) / 2 for run in runs])
        sd = np.std([run[name].value for run in runs])
        assert 1.5 * sd < half < 3.2 * sd, name


def test_cohorts_of_several_ages_are_each_weighed_at_their_own():
    rng = np.random.default_rng(6)
    cohorts, whole = [], OutcomeProfile.zero(BINS)
    for age in (20, 14, 9, 6):
        early, final = cohort(rng, 6_000, age * DAY)
        cohorts.append((age * DAY, early))
        whole = whole + final
    found = weighted(MATURITY, cohorts, span=DAY)
    for name in ("precision", "recall", "accuracy"):
        assert found.estimates[name].low <= metric(whole, name) <= found.estimates[name].high
        assert metric(found.profile, name) == pytest.approx(found.estimates[name].value)
    assert found.profile.rows == pytest.approx(whole.rows, rel=0.05)


def test_old_labels_count_once():
    rng = np.random.default_rng(7)
    score, label, _ = frauds(rng, 5_000)
    final = profile(score, label)
    found = weighted(MATURITY, [(1000 * DAY, final)])
    assert np.allclose(found.profile.counts, final.counts) and np.allclose(found.profile.sums, final.sums)
    assert found.estimates["precision"].value == pytest.approx(metric(final, "precision"))


def test_below_a_tenth_of_either_class_nothing_is_said():
    early, _ = cohort(np.random.default_rng(8), 20_000, DAY)
    found = weighted(MATURITY, [(DAY, early)])
    assert (
        found.why.startswith("not yet: at this age ")
        and "labels of negatives have come, 10% are needed" in found.why
    )
    assert all(np.isnan(e.value) and not e.enough and e.why == found.why for e in found.estimates.values())


def test_a_young_cohort_holds_its_window_back():
    rng = np.random.default_rng(9)
    old, young = cohort(rng, 5_000, 20 * DAY)[0], cohort(rng, 5_000, HOUR)[0]
    assert not weighted(MATURITY, [(20 * DAY, old)], span=DAY).why
    assert weighted(MATURITY, [(20 * DAY, old), (HOUR, young)], span=DAY).why


def test_few_labels_are_said():
    early, _ = cohort(np.random.default_rng(10), 150, 10 * DAY)
    found = weighted(MATURITY, [(10 * DAY, early)], span=DAY).estimates["precision"]
    assert not found.enough and "labels of the rarer class, fewer than 50" in found.why


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="of a binary model"):
        weighted(MATURITY, [])
    with pytest.raises(ValueError, match="of a binary model"):
        weighted(MATURITY, [(1.0, OutcomeProfile.zero(OutcomeBins.default("regression")))])


# How complete.


def test_completeness_says_how_many_labels_and_positives_have_come():
    assert completeness(1000, 180).text == "labels 18 % complete"
    assert completeness(0, 0).text == "no predictions" and not completeness(0, 0).final
    assert [completeness(1000, n).final for n in (949, 950)] == [False, True]
    assert completeness(1000, 780, eventual=0.8).final


MATURITY = learnt(np.random.default_rng(11))
