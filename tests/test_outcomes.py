"""Outcome profiles against counting row by row, and the algebra that additive counts promise."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph import frames
from barograph.bins import NumericBins
from barograph.outcomes import (
    EPSILON,
    LARGEST,
    MAX_CLASSES,
    SUMS,
    OutcomeBins,
    OutcomeProfile,
    count,
    labelled,
    residual_bins,
)
from barograph.reference import Reference

SCORE = NumericBins(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), low=0.0, high=1.0)
BINS = {
    "binary": OutcomeBins("binary", SCORE, 0.5),
    "multiclass": OutcomeBins("multiclass", SCORE, classes=("a", "b")),
    "regression": OutcomeBins.default("regression"),
}
NUMBERS = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, np.nan, np.inf, -np.inf, 1e300, 5e-324, "text"]),
    st.floats(-1e6, 1e6),
)
SCORES = st.one_of(NUMBERS, st.floats(0, 1))
ANSWERS = {
    "binary": st.one_of(st.sampled_from([0, 1, True, False]), NUMBERS),
    "multiclass": st.sampled_from(["a", "b", "c", "d", "1", 1, 1.0, None, np.nan, np.inf]),
    "regression": NUMBERS,
}


def rows_of(task, most=40):
    return st.lists(st.tuples(ANSWERS[task], SCORES, ANSWERS[task]), max_size=most)


TASKS_AND_ROWS = st.sampled_from(sorted(BINS)).flatmap(lambda t: st.tuples(st.just(t), rows_of(t)))


def profile_of(bins, rows):
    label, score, prediction = ([row[i] for row in rows] for i in range(3))
    return OutcomeProfile.of(bins, label, score, prediction)


def number(value):
    return float(frames.floats([value])[0])


def binary_by_hand(rows):
    scores, answers, sums = np.zeros((2, SCORE.size), int), np.zeros((2, 3), int), np.zeros((2, 5))
    for label, score, prediction in rows:
        y, s, p = map(number, (label, score, prediction))
        if y not in (0, 1):
            continue
        y = int(y)
        scores[y, SCORE.index([s])[0]] += 1
        answers[y, int(p) if p in (0, 1) else 2] += 1
        if np.isfinite(s):
            s = float(np.clip(s, -LARGEST, LARGEST))
            loss = -np.log(np.clip(s if y else 1 - s, EPSILON, 1 - EPSILON))
            sums[y] += [s, s**2, loss, loss**2, (y - s) ** 4]
    return np.concatenate([scores.ravel(), answers.ravel()]), sums.ravel()


def multiclass_by_hand(rows):
    classes, table, scores = ("a", "b"), np.zeros((3, 4), int), np.zeros((2, SCORE.size), int)
    sums = np.zeros((2, 2))
    for label, score, prediction in rows:
        y, p, s = frames.text(label), frames.text(prediction), number(score)
        if not isinstance(y, str):
            continue
        row = classes.index(y) if y in classes else 2
        if not isinstance(p, str):
            table[row, 3] += 1
            continue
        table[row, classes.index(p) if p in classes else 2] += 1
        scores[int(y == p), SCORE.index([s])[0]] += 1
        if np.isfinite(s):
            s = float(np.clip(s, -LARGEST, LARGEST))
            sums[int(y == p)] += [s, s**2]
    return np.concatenate([table.ravel(), scores.ravel()]), sums.ravel()


def regression_by_hand(rows):
    bins = BINS["regression"].residual
    counts, sums = np.zeros(bins.size + 1, int), dict.fromkeys(SUMS["regression"], 0.0)
    for label, score, prediction in rows:
        y, p = number(label), number(prediction)
        p = number(score) if np.isnan(p) else p
        if not abs(y) <= LARGEST:
            continue
        if not abs(p) <= LARGEST:
            counts[bins.missing if np.isnan(p) else bins.invalid] += 1
            continue
        e = p - y
        counts[bins.index([e])[0]] += 1
        both = abs(y) + abs(p)
        ape = abs(e / y) if abs(y) >= 1e-70 else 0.0
        counts[-1] += abs(y) >= 1e-70
        smape = 2 * abs(e) / both if both else 0.0
        values = (
            e,
            abs(e),
            e**2,
            e**4,
            y,
            y**2,
            ape,
            smape,
            ape**2,
            smape**2,
            y**3,
            y**4,
            e**2 * y,
            e**2 * y**2,
        )
        for name, value in zip(sums, values, strict=True):
            sums[name] += value
    return counts, np.array(list(sums.values()))


BY_HAND = {"binary": binary_by_hand, "multiclass": multiclass_by_hand, "regression": regression_by_hand}


def close(left, right):
    """Sums that may cancel agree to the rounding of what was added, which may have been far larger."""
    return np.allclose(left, right, rtol=1e-9, atol=1e-12 * max(1.0, np.abs(right).max(initial=0)))


@given(TASKS_AND_ROWS)
def test_counting_at_once_equals_counting_row_by_row(case):
    task, rows = case
    profile = profile_of(BINS[task], rows)
    counts, sums = BY_HAND[task](rows)
    assert profile.counts.tolist() == counts.tolist() and profile.counts.dtype == np.int64
    assert close(profile.sums, sums)


@given(TASKS_AND_ROWS, st.data())
def test_profiles_are_a_commutative_group(case, data):
    task, rows = case
    bins = BINS[task]
    a, b = profile_of(bins, rows), profile_of(bins, data.draw(rows_of(task)))
    zero = OutcomeProfile.zero(bins)
    assert ((a + b) - b).counts.tolist() == a.counts.tolist()
    assert (a + b).counts.tolist() == (b + a).counts.tolist()
    assert (a + b).sums.tolist() == (b + a).sums.tolist()
    assert (a + zero).counts.tolist() == a.counts.tolist() == (a - zero).counts.tolist()
    assert not (a - a).counts.any() and not (a - a).sums.any()


@given(TASKS_AND_ROWS, st.data())
def test_any_split_adds_up_to_the_whole(case, data):
    task, rows = case
    bins = BINS[task]
    parts = data.draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows)))
    label, score, prediction = ([row[i] for row in rows] for i in range(3))
    counts, sums = count(bins, label, score, prediction, np.array(parts, dtype=np.intp), 5)
    whole = profile_of(bins, rows)
    assert counts.shape == (5, bins.counts) and sums.shape == (5, bins.sums)
    assert counts.sum(axis=0).tolist() == whole.counts.tolist()
    assert close(sums.sum(axis=0), whole.sums)
    for part in range(5):
        own = profile_of(bins, [row for row, where in zip(rows, parts, strict=True) if where == part])
        assert counts[part].tolist() == own.counts.tolist() and close(sums[part], own.sums)


def test_a_label_is_corrected_by_subtracting_the_wrong_one_and_adding_the_right_one():
    bins, rng = BINS["binary"], np.random.default_rng(0)
    score = rng.random(500)
    wrong, right = rng.integers(0, 2, 500), rng.integers(0, 2, 500)
    told = OutcomeProfile.of(bins, wrong, score, score >= 0.5)
    changed = wrong != right
    was = OutcomeProfile.of(bins, wrong[changed], score[changed], score[changed] >= 0.5)
    now = OutcomeProfile.of(bins, right[changed], score[changed], score[changed] >= 0.5)
    truth = OutcomeProfile.of(bins, right, score, score >= 0.5)
    corrected = told - was + now
    assert corrected.counts.tolist() == truth.counts.tolist()
    np.testing.assert_allclose(corrected.sums, truth.sums, rtol=1e-12)


def test_rows_in_any_order_and_columns_of_any_make_count_the_same():
    bins, rng = BINS["multiclass"], np.random.default_rng(1)
    label, answer = rng.choice(["a", "b", "c"], 200), rng.choice(["a", "b", "c"], 200)
    score, order = rng.random(200), rng.permutation(200)
    whole = OutcomeProfile.of(bins, label, score, answer).counts.tolist()
    assert OutcomeProfile.of(bins, label[order], score[order], answer[order]).counts.tolist() == whole
    frame = pd.DataFrame({"label": pd.Categorical(label), "score": score, "answer": answer})
    assert OutcomeProfile.of(bins, frame.label, frame.score, frame.answer).counts.tolist() == whole
    polars = pl.DataFrame({"label": label, "score": score, "answer": answer})
    arrow = polars.to_arrow()
    for table in (polars, arrow):
        assert (
            OutcomeProfile.of(bins, table["label"], table["score"], table["answer"]).counts.tolist() == whole
        )


@pytest.mark.parametrize("task", sorted(BINS))
def test_no_rows_are_a_profile_of_zeros(task):
    counts, sums = count(BINS[task], [], [], [], np.array([], dtype=np.intp), 3)
    assert counts.shape == (3, BINS[task].counts) and not counts.any()
    assert sums.shape == (3, BINS[task].sums) and not sums.any()


def test_a_row_without_a_label_counts_nowhere_and_is_told():
    label = [0, 1, True, None, np.nan, 0.5, 2, np.inf, "1"]
    assert labelled(BINS["binary"], label).tolist() == [True] * 3 + [False] * 6
    assert OutcomeProfile.of(BINS["binary"], label).rows == 3
    assert labelled(BINS["multiclass"], ["a", "z", 7, None, np.nan, {}]).tolist() == [True] * 3 + [False] * 3
    assert (
        labelled(BINS["regression"], [0, -5.5, None, np.inf, 1e300, "7"]).tolist() == [True] * 2 + [False] * 4
    )


def test_a_row_without_prediction_or_score_is_still_a_labelled_row():
    binary = OutcomeProfile.of(BINS["binary"], [0, 1, 1])
    assert binary.answers.tolist() == [[0, 0, 1], [0, 0, 2]]
    assert binary.scores[:, SCORE.missing].tolist() == [1, 2]
    assert OutcomeProfile.of(BINS["multiclass"], ["a", "z"]).answers[:, -1].tolist() == [1, 0, 1]
    assert OutcomeProfile.of(BINS["regression"], [1.0, 2.0]).rows == 2


def test_classes_that_are_no_longer_told_apart_are_still_right_or_wrong():
    profile = OutcomeProfile.of(BINS["multiclass"], ["y", "y", "a"], [0.9, 0.9, 0.9], ["y", "z", "y"])
    assert profile.answers[2, 2] == 2
    assert profile.scores.sum(axis=1).tolist() == [2, 1]


def test_numbers_and_texts_of_one_class_are_one_class():
    bins = OutcomeBins("multiclass", SCORE, classes=("1", "2"))
    profile = OutcomeProfile.of(bins, [1, 2.0, "1"], None, ["1", 2, 1.0])
    assert np.diag(profile.answers).tolist() == [2, 1, 0]


def test_wild_numbers_neither_overflow_nor_spoil_the_sums():
    wild = [1e300, -1e300, 1e70, -1e70, 1e-300, 0.0]
    rows = [(y, s, p) for y in wild for s in wild for p in wild]
    assert np.isfinite(profile_of(BINS["regression"], rows).sums).all()
    scores = [(y, s, 1) for y in (0, 1) for s in wild]
    assert np.isfinite(profile_of(BINS["binary"], scores).sums).all()


def test_profiles_over_different_bins_are_not_added():
    one = OutcomeProfile.zero(BINS["binary"])
    other = OutcomeProfile.zero(OutcomeBins("binary", SCORE, 0.25))
    with pytest.raises(ValueError, match="different bins"):
        one + other
    with pytest.raises(ValueError, match="subtract"):
        one - other
    with pytest.raises(ValueError, match="counts: shape"):
        OutcomeProfile(BINS["binary"], np.zeros(3), np.zeros(10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": [0.1]}, "score: 1 values for 2 labels"),
        ({"prediction": [0, 1, 1]}, "prediction: 3 values"),
        ({"group": np.array([0])}, "group: 1 values"),
        ({"group": np.array([0, 1])}, "group: 0 to 1, but there are 1"),
        ({"group": np.array([-1, 0])}, "group: -1"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        count(BINS["binary"], [0, 1], **arguments)


def test_the_id_is_that_of_the_content():
    assert OutcomeBins("binary", SCORE, 0.5).id == BINS["binary"].id
    other = [
        OutcomeBins("binary", SCORE, 0.25),
        OutcomeBins("multiclass", SCORE, 0.5),
        OutcomeBins("multiclass", SCORE, classes=("b", "a")),
        OutcomeBins.default("regression"),
        OutcomeBins("regression", residual=residual_bins(3.0)),
    ]
    assert len({bins.id for bins in (*BINS.values(), *other)}) == 7


def test_bins_of_a_binary_reference_are_its_own_with_the_threshold_as_an_edge():
    rng = np.random.default_rng(2)
    reference = Reference.fit(
        {"x": rng.random(900), "p": rng.random(900)}, task="binary", score="p", threshold=0.37
    )
    bins = OutcomeBins.of(reference)
    assert bins.score is reference.bins.columns["score"] and bins.threshold == 0.37
    assert 0.37 in bins.score.edges and not bins.ties
    assert np.all(np.diff(bins.typical) > 0)
    again = OutcomeBins.of(Reference.from_json(reference.to_json()))
    assert again.id == bins.id and again.typical.tolist() == bins.typical.tolist()


def test_bins_know_whether_the_reference_had_one_score_a_bin():
    rng = np.random.default_rng(3)
    score = rng.integers(0, 100, 5_000) / 100
    bins = OutcomeBins.of(Reference.fit({"x": score, "p": score}, task="binary", score="p", threshold=0.5))
    assert bins.ties
    slots = bins.score.index(np.unique(score))
    np.testing.assert_allclose(bins.typical[slots], np.unique(score), atol=1e-12)


def test_classes_are_the_most_frequent_of_the_reference():
    names = [f"c{i:02d}" for i in range(40) for _ in range(100 - i)]
    bins = OutcomeBins.of(Reference.fit({"x": names, "p": names}, task="multiclass", prediction="p"))
    assert bins.classes == tuple(f"c{i:02d}" for i in range(MAX_CLASSES))
    assert bins.counts == (MAX_CLASSES + 1) * (MAX_CLASSES + 2) + 2 * bins.score.size


def test_residuals_are_cut_on_the_scale_of_the_predictions():
    values = np.random.default_rng(4).normal(0, 1e-6, 500)
    bins = OutcomeBins.of(Reference.fit({"x": values, "p": values}, task="regression", prediction="p"))
    assert bins.residual.high == pytest.approx(2.0 ** (np.round(np.log2(values.std())) + 16))
    constant = Reference.fit({"x": values, "p": np.ones(500)}, task="regression", prediction="p")
    unknown = Reference.fit({"x": values}, task="regression")
    assert OutcomeBins.of(constant).id == OutcomeBins.of(unknown).id == OutcomeBins.default("regression").id


def test_a_ranking_has_no_such_outcomes():
    with pytest.raises(ValueError, match="'ranking', only for binary, multiclass, regression"):
        OutcomeBins.of(Reference.fit({"x": [1.0, 2.0]}, task="ranking"))
    with pytest.raises(ValueError, match="'clustering'"):
        OutcomeBins.default("clustering")


def test_a_classifier_without_scores_in_its_reference_has_default_bins():
    bins = OutcomeBins.of(Reference.fit({"x": [1, 2], "p": [0, 1]}, task="binary", prediction="p"))
    assert bins.id == OutcomeBins.default("binary").id
