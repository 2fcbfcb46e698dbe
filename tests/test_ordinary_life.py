"""Outcomes of models that are not like the examples: few labels, rare classes, labels that never come, falls that are put right."""

import numpy as np
import pytest

from barograph import Reference, naming, outcome_checks
from barograph.concept import Meaning
from barograph.config import load_text
from barograph.counters import Vector
from barograph.labels.counting import logged_series, outcome_series
from barograph.labels.days import DayBook, Days
from barograph.labels.quality import settled
from barograph.leak import Losses, Usual, course
from barograph.maturity import AGES
from barograph.outcomes import OutcomeBins, OutcomeProfile, count
from barograph.performance import METRICS, Formula
from barograph.tiles import DAY, HOUR, Increment, Tiles
from outcome_world import START, OutcomeWorld, Truth, fit, frame

BINARY = OutcomeBins.default("binary", threshold=0.5)
CLASSES = OutcomeBins.default("multiclass", classes=("a", "b"))


def errors(rng, rows, shares):
    """Days of so many rows with these shares of errors."""
    rows = np.broadcast_to(rows, np.shape(shares)).astype(np.float64)
    mean = rng.binomial(rows.astype(int), shares) / rows
    return Losses("accuracy", rows, mean, mean * (1 - mean))


def each_day(usual, days, first=1):
    return [course(usual, days.at(slice(n))) for n in range(first, len(days.rows) + 1)]


@pytest.mark.parametrize("seed", range(5))
def test_a_fall_that_is_put_right_after_five_days_is_over_within_two_and_was_no_leak(seed):
    rng = np.random.default_rng(seed)
    usual = Usual.learn(errors(rng, 1000, np.full(28, 0.05)))
    went = each_day(usual, errors(rng, 1000, np.repeat([0.05, 0.20, 0.05], [20, 5, 15])))
    fell = [i for i, one in enumerate(went) if one.fall is not None]
    assert fell[:5] == list(range(20, 25)) and fell[-1] <= 26
    assert not any(one.leak is not None for one in went)
    assert {went[i].fall for i in fell} == {20}


@pytest.mark.parametrize("seed", range(5))
def test_quality_that_stays_lower_is_one_alert_and_no_series_of_them(seed):
    rng = np.random.default_rng(seed)
    usual = Usual.learn(errors(rng, 400, np.full(28, 0.05)))
    went = each_day(usual, errors(rng, 400, np.repeat([0.05, 0.095], [20, 60])))
    told = [(one.fall is not None) + 2 * (one.leak is not None) for one in went]
    assert 1 <= np.count_nonzero(np.diff(told)) <= 2


def test_few_labels_of_the_reference_are_no_leak_of_many_later_ones():
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        usual = Usual.learn(errors(rng, 60, np.full(7, 0.1)))
        found += course(usual, errors(rng, 2000, np.full(60, 0.1))).leak is not None
    assert found == 0


def test_days_of_one_label_do_not_hide_how_steady_the_others_are():
    rng = np.random.default_rng(0)
    rows = np.where(np.arange(28) % 3 == 0, 1, 1000)
    assert Usual.learn(errors(rng, rows, np.full(28, 0.05))).spread < 0.01


def test_one_wrong_answer_of_a_model_that_had_none_and_one_number_far_out_are_no_fall():
    none = Losses("accuracy", np.full(28, 50.0), np.zeros(28), np.zeros(28))
    one = Losses("accuracy", np.full(2, 50.0), np.array([0, 0.04]), np.array([0, 0.0384]))
    assert course(Usual.learn(none), one).fall is None
    many = Losses("accuracy", np.full(2, 50.0), np.array([0, 0.5]), np.array([0, 0.25]))
    assert course(Usual.learn(none), many).fall == 1
    usual = Usual("mae", mean=2.0, error=0.05, spread=0.05, deviation=2.0, middle=2.0, steady=0.05)
    error = np.append(np.full(99, 2.0), 2000.0)
    far = Losses("mae", np.array([100.0]), error.mean(keepdims=True), error.var(keepdims=True))
    assert course(usual, far).fall is None


def labelled(rng, days, rows, meant, base=0.0):
    scores = 1 / (1 + np.exp(-base - 1.5 * rng.normal(0, 1, (days, rows))))
    labels = rng.random(scores.shape) < meant(scores)
    return np.stack([OutcomeProfile.of(BINARY, *day).counts for day in zip(labels, scores, strict=True)])


@pytest.mark.parametrize("seed", range(5))
def test_five_points_more_positives_are_found_at_200_labels_a_day_and_once(seed):
    rng = np.random.default_rng(seed)
    meaning = Meaning.learn(BINARY, labelled(rng, 28, 200, lambda p: p))
    days = np.concatenate(
        [labelled(rng, 20, 200, lambda p: p), labelled(rng, 30, 200, lambda p: np.minimum(p + 0.05, 1))]
    )
    told = [meaning.course(days[:n])[0] is not None for n in range(1, len(days) + 1)]
    assert not any(told[:20]) and all(told[40:])
    assert np.count_nonzero(np.diff(told)) == 1
    _, verdict = meaning.course(days)
    assert 0.01 < verdict.found - verdict.promised < 0.09


def test_of_rare_positives_days_are_joined_until_they_tell_something():
    rng = np.random.default_rng(0)
    rare = labelled(rng, 28, 300, lambda p: p, base=-6.0)
    meaning = Meaning.learn(BINARY, rare)
    days = days_of_counts(BINARY, rare, np.full(28, 300))
    told = days.pooled(10, meaning.information(days.counts))
    assert 1 < len(told) < 28
    assert np.isfinite(meaning.judge(told.counts[-1]).value)


def days_of_counts(bins, counts, logged, now=None):
    n = len(counts)
    starts = START + DAY * np.arange(n)
    ages = np.zeros((n, 0, len(AGES) + 1, 1), dtype=np.int64)
    now = float(START + DAY * n + 600) if now is None else now
    return Days(bins, starts, counts, np.zeros((n, bins.sums)), np.asarray(logged), ages, now)


def of_classes(came):
    return np.stack([count(CLASSES, ["a"] * n, None, ["a"] * n)[0][0] for n in came])


def test_where_only_some_predictions_ever_get_a_label_days_mature_whatever_the_task():
    rng = np.random.default_rng(0)
    days = days_of_counts(CLASSES, of_classes(rng.binomial(200, 0.6, 30)), np.full(30, 200))
    assert days.eventual == pytest.approx(0.6, abs=0.02)
    assert days.matured[:25].all()


def test_labels_that_are_still_coming_are_not_taken_for_all():
    age = np.arange(40, 0, -1)
    came = np.round(200 * (1 - np.exp(-age / 30))).astype(int)
    assert not days_of_counts(CLASSES, of_classes(came), np.full(40, 200)).matured.any()


def test_no_days_and_days_without_labels_say_nothing():
    for n in (0, 30):
        days = days_of_counts(CLASSES, of_classes([0] * n) if n else np.zeros((0, CLASSES.counts)), [100] * n)
        assert not days.matured.any() and not len(days.settled) and days.maturity is None


@pytest.mark.parametrize("text", ["n / " + "9" * 400, "n * 1e400", "1e308 * n * n", "n / (tp - tp)"])
def test_a_formula_without_a_finite_value_tells_nothing(text):
    profile = OutcomeProfile.of(BINARY, [0, 1] * 20, [0.9, 0.4] * 20)
    assert np.isnan(Formula(text).of(profile).value)


def test_a_formula_of_three_cases_is_not_sure():
    profile = OutcomeProfile.of(BINARY, [0] * 37 + [1] * 3, [0.1] * 37 + [0.9] * 3)
    told = Formula("tp / (tp + fn)").of(profile)
    assert told.value == 1 and outcome_checks._past(told, 0.9, below=False) is None


def predictions(tiles, bins, day, label, score, logged):
    names = ("m", "1", "")
    counts, sums = count(bins, label, score)
    tiles.add(
        [
            Increment(outcome_series(*names, bins), START + day * DAY, Vector(counts[0], sums[0])),
            Increment(logged_series(*names), START + day * DAY, Vector(np.array([logged]), np.zeros(0))),
        ]
    )


def test_a_day_is_settled_by_the_labels_that_ever_come_and_rare_cases_are_told_of_more_days():
    rng = np.random.default_rng(0)
    with Tiles(":memory:") as tiles:
        for day in range(30):
            score = rng.random(120)
            predictions(tiles, BINARY, day, (rng.random(120) < 0.1).astype(float), score, 200)
        found = settled(tiles, "m", "1", "", BINARY, START + 30 * DAY)
        assert found.complete == pytest.approx(0.6)
        roc_auc = METRICS["binary"]["roc_auc"]
        assert not roc_auc.of(found.profile).enough
        assert found.tell(roc_auc).enough
        assert found.tell(METRICS["binary"]["accuracy"]).n == found.profile.rows


def test_days_are_read_every_ten_minutes_at_most_and_forgotten_when_nobody_asks(monkeypatch):
    with Tiles(":memory:") as tiles:
        predictions(tiles, BINARY, 0, [0.0, 1.0], [0.2, 0.7], 2)
        book, now = DayBook(tiles), START + DAY + HOUR
        first = book.of("m", "1", BINARY, now)
        predictions(tiles, BINARY, 0, [0.0], [0.2], 1)
        assert book.of("m", "1", BINARY, now + 300) is first
        again = book.of("m", "1", BINARY, now + 660)
        assert again.labelled.tolist() == [3]
        assert book.of("m", "1", BINARY, now + 1800) is again
        book.of("m", "2", BINARY, now + 5 * HOUR)
        assert [key[1] for key in book._pages] == ["2"]


LIMIT = """
[models.risk.limits]
"quality.accuracy" = 0.75
"""


def test_a_limit_that_was_passed_for_sure_is_said_until_the_value_is_on_the_right_side():
    rng, truth = np.random.default_rng(8), Truth(rows=600)
    world = OutcomeWorld(fit(truth, rng, training={}), load_text(LIMIT), hours=6)
    told = []
    for wrong in (0.25, 0.7, 0.74, 0.76, 0.74, 0.76, 0.9):
        features = truth.features(rng, truth.rows)
        score = np.where(truth.score(features) > 0.5, 0.9, 0.1)
        right = np.arange(truth.rows) < round(truth.rows * (wrong if wrong > 0.5 else 0.8))
        label = np.where(right, score > 0.5, score < 0.5).astype(float)
        fired = world.day(features, score, label)
        told.append((naming.QUALITY_LOW.name, "") in fired)
    assert told == [False, True, True, False, False, False, False]
    world.close()


def test_a_day_of_one_label_does_not_hide_how_steady_the_share_of_a_class_is():
    truth, rng = Truth(rows=2000), np.random.default_rng(1)
    made = frame(truth, rng, START - 14 * DAY, 14)
    days = (made["t"] - START) // DAY
    made["late"][(days % 2 == 0) & (np.append(1, np.diff(days)) == 0)] = np.nan
    reference = Reference.fit(made, task="binary", score="p", threshold=0.5, label="late", time="t")
    world = OutcomeWorld(reference)
    known = world.references._read(reference.id, 1.0)
    assert known.label_spread < 0.03
    world.close()


def test_without_labels_in_the_reference_the_first_days_of_a_version_are_ordinary_after_a_hundred_too():
    rng, truth = np.random.default_rng(2), Truth(rows=300)
    made = frame(truth, rng, START - 14 * DAY, 14)
    reference = Reference.fit(made, task="binary", score="p", threshold=0.5, time="t")
    world = OutcomeWorld(reference, hours=1)
    usual = []
    for day in range(115):
        features = truth.features(rng, truth.rows)
        score = truth.score(features)
        right = (rng.random(truth.rows) < (0.95 if day < 25 else 0.85)).astype(bool)
        label = np.where(right, score >= 0.5, score < 0.5).astype(float)
        start, world.now = int(world.now), world.now + DAY
        world.rows(start, features, score)
        world.labels(start, score, label, np.ones(truth.rows, dtype=bool), 3600.0, logged=truth.rows)
        if day in (60, 114):
            world.judge()
            usual += [
                a.condition.threshold
                for a in world.ledger.alerts()
                if a.state == "firing" and a.condition.signal == "accuracy"
            ]
    assert usual == pytest.approx([0.95, 0.95], abs=0.01)
    world.close()


def with_storms(rng, days, worse=0.0):
    """Losses of days of which one in eight is bad, and all `worse` by the last."""
    bad = np.where(rng.random(days) < 0.12, rng.exponential(0.1, days), 0.0)
    chance = 0.1 + rng.normal(0, 0.01, days) + bad + np.linspace(0, worse, days)
    return errors(rng, 1000, np.clip(chance, 0.001, 0.9))


def test_bad_days_now_and_then_are_no_leak():
    leaks = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        leaks += course(Usual.learn(with_storms(rng, 35)), with_storms(rng, 90)).leak is not None
    assert leaks <= 8  # a mean and a spread that bad days move would call half of them one


def test_bad_days_now_and_then_hide_no_leak():
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        usual, days = Usual.learn(with_storms(rng, 35)), with_storms(rng, 90, worse=0.1)
        found += any(course(usual, days.at(slice(0, d))).leak is not None for d in range(7, 61, 7))
    assert found >= 18


def test_bad_days_move_neither_the_middle_nor_what_counts_for_a_leak():
    rng = np.random.default_rng(0)
    usual = Usual.learn(with_storms(rng, 35))
    assert usual.steady < usual.spread / 2
    assert abs(usual.middle - 0.1) < abs(usual.mean - 0.1)
