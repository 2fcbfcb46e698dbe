"""Recurring errors: what is planted is exported exactly, chance and a single bad day are not."""

import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from typer.testing import CliRunner

from barograph.cli import app
from barograph.errors.chance import Rows, Scale
from barograph.errors.groups import recurring, retraining
from barograph.errors.reading import ErrorsError, Labelled, read
from barograph.errors.search import DAY, HOUR, LEVEL
from barograph.logs import Feedback, FeedbackLog, Log, PredictionLog

START = 1_380_499_200
ORIGINS = ["JFK", "LGA", "EWR", "BOS"]
REGIONS = {
    "a segment": lambda c: c["origin"] == "LGA",
    "a segment and hours": lambda c: (c["origin"] == "JFK") & (c["hour"] >= 6) & (c["hour"] < 9),
    "a range": lambda c: (c["amount"] >= 100) & (c["amount"] < 150),
    "a segment and a range": lambda c: (c["origin"] == "EWR") & (c["amount"] >= 50) & (c["amount"] < 100),
    "an open range and a category": lambda c: (c["amount"] >= 200) & (c["carrier"] == "C"),
    "a narrow range": lambda c: (c["amount"] >= 100) & (c["amount"] < 110),
    "what is missing": lambda c: np.isnan(c["distance"]),
}


def columns_of(n, rng):
    return {
        "origin": rng.choice(ORIGINS, n, p=[0.4, 0.3, 0.2, 0.1]),
        "hour": rng.integers(0, 24, n).astype(float),
        "amount": rng.lognormal(4, 1, n),
        "carrier": rng.choice(list("ABCDEFGH"), n),
        "distance": np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)),
        "noise": rng.normal(size=n),
    }


def data(seed, region=None, n=10_000, days=20, usual=0.1, kind=1.0, when=lambda times: times >= 0):
    """Labelled predictions of which 10 % are wrong, 95 % of the positive (`kind`) ones in a region; and the region's errors."""
    rng = np.random.default_rng(seed)
    times = START + np.sort(rng.uniform(0, days * DAY, n))
    columns = columns_of(n, rng)
    predicted = (rng.random(n) < 0.4) * 1.0
    wrong = rng.random(n) < usual
    planted = np.zeros(n, dtype=bool)
    if region is not None:
        planted = REGIONS[region](columns) & (predicted == kind) & when(times)
        wrong = np.where(planted, rng.random(n) < 0.95, wrong)
    true = np.where(wrong, 1 - predicted, predicted)
    table = pa.table(
        {
            "id": [f"{i}" for i in range(n)],
            "segments": pa.array(
                [[("origin", o)] for o in columns["origin"]], pa.map_(pa.string(), pa.string())
            ),
            **{k: pa.array(v, from_pandas=True) for k, v in columns.items() if k != "origin"},
            "label": true,
        }
    )
    return Labelled("binary", table, times, predicted, true), planted & wrong


def exported(found, n):
    rows = np.zeros(n, dtype=bool)
    for group in found:
        rows[group.positions] = True
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_a_planted_recurring_false_positive_is_exported_exactly(seed):
    given, planted = data(seed, "a segment and hours", n=6_000)
    (group,) = found = recurring(given)
    assert np.array_equal(exported(found, len(given)), planted)
    assert group.kind == "false positive" and group.text == "hour >= 6 and hour < 9 and origin = JFK"
    assert group.errors == planted.sum() and group.rate > 0.9 and group.elsewhere < 0.12
    assert group.periods == (8, 8) and group.p < LEVEL


@pytest.mark.parametrize("region", REGIONS)
def test_what_is_planted_is_exported_exactly_whatever_it_is(region):
    given, planted = data(5, region)
    assert np.array_equal(exported(recurring(given), len(given)), planted)


@pytest.mark.slow
@pytest.mark.parametrize("region", REGIONS)
def test_what_is_planted_is_exported_exactly_over_20_seeds(region):
    for seed in range(20):
        given, planted = data(seed, region, n=20_000)
        assert np.array_equal(exported(recurring(given), len(given)), planted), seed


def shuffled(given, seed):
    true = np.random.default_rng(seed).permutation(given.true)
    return Labelled("binary", given.table, given.times, given.predicted, true)


def test_under_shuffled_labels_nothing_is():
    for seed in range(6):
        given, _ = data(seed, "a segment and hours")
        assert recurring(shuffled(given, seed + 1_000)) == []


@pytest.mark.slow
def test_under_200_shuffles_of_labels_nothing_is():
    for seed in range(200):
        given, _ = data(seed % 20, list(REGIONS)[seed % len(REGIONS)], usual=0.25)
        assert recurring(shuffled(given, seed + 1_000)) == []


def test_without_anything_planted_nothing_is():
    for seed in range(3):
        assert recurring(data(seed)[0]) == []


def scored(seed, planted=False, n=20_000):
    """A model whose scores are honest: its errors lie near the threshold, and so in parts of its features."""
    rng = np.random.default_rng(seed)
    columns = columns_of(n, rng)
    tilt = 1.5 * columns["noise"] + 0.5 * (columns["origin"] == "JFK") + (columns["hour"] - 12) / 12
    score = 1 / (1 + np.exp(-tilt))
    true, predicted = (rng.random(n) < score) * 1.0, (score >= 0.5) * 1.0
    region = REGIONS["a segment and hours"](columns) & (predicted == 1)
    if planted:
        true = np.where(region & (rng.random(n) < 0.95), 0.0, true)
    given, _ = data(seed, n=n)
    features = {k: pa.array(v, from_pandas=True) for k, v in columns.items()}
    table = pa.table(
        {
            "id": given.table["id"],
            "segments": pa.nulls(n, given.table["segments"].type),
            "score": score,
            **features,
        }
    )
    return Labelled("binary", table, given.times, predicted, true), region & (true == 0)


def test_that_a_model_errs_near_its_threshold_is_no_finding():
    for seed in range(4):
        assert recurring(scored(seed)[0]) == []


def test_what_is_planted_in_a_model_with_honest_scores_is_exported_exactly():
    for seed in range(4):
        given, planted = scored(seed, planted=True)
        (group,) = recurring(given)
        assert np.array_equal(exported([group], len(given)), planted)
        assert group.rate > 0.9 and 0.2 < group.elsewhere < 0.5


@pytest.mark.slow
def test_with_scores_20_seeds_are_exact_and_100_shuffles_give_nothing():
    for seed in range(20):
        given, planted = scored(seed, planted=True)
        assert np.array_equal(exported(recurring(given), len(given)), planted), seed
    for seed in range(100):
        given, _ = scored(seed % 20, planted=True, n=10_000)
        assert recurring(shuffled(given, seed)) == []


def test_the_chance_of_a_single_block_is_fishers():
    rng = np.random.default_rng(0)
    wrong, inside = rng.random(500) < 0.2, rng.random(500) < 0.3
    rows = Rows(np.arange(500), wrong)
    table = [
        [(wrong & inside).sum(), (~wrong & inside).sum()],
        [(wrong & ~inside).sum(), (~wrong & ~inside).sum()],
    ]
    exact = stats.fisher_exact(table, alternative="greater").pvalue
    assert Scale.fit(rows, falling=True).chance(rows, inside) == pytest.approx(exact)


def test_the_chance_over_blocks_is_that_of_permutations_within_them():
    rng = np.random.default_rng(1)
    score = rng.random(300)
    wrong, inside = rng.random(300) > score, rng.random(300) < 0.2 + 0.3 * (score < 0.5)
    rows = Rows(np.arange(300), wrong, score)
    scale = Scale.fit(rows, falling=True)
    blocks, more, n = scale.blocks(rows), 0, 4_000
    assert len(scale.rate) > 3
    for _ in range(n):
        mixed = wrong.copy()
        for block in np.unique(blocks):
            mixed[blocks == block] = rng.permutation(mixed[blocks == block])
        more += (mixed & inside).sum() >= (wrong & inside).sum()
    assert scale.chance(rows, inside) == pytest.approx(more / n, abs=0.03)


@pytest.mark.parametrize("days", [1, 3])
def test_an_incident_of_a_few_days_is_nothing_that_recurs(days):
    begin = START + 5 * DAY
    given, planted = data(2, "a segment", when=lambda t: (t >= begin) & (t < begin + days * DAY))
    assert planted.sum() > 50 and recurring(given) == []


def test_two_groups_of_two_kinds_are_told_apart():
    (one, first), (other, second) = data(3, "a segment"), data(3, "a range", kind=0.0)
    true = np.where(one.true != data(3)[0].true, one.true, other.true)
    found = recurring(Labelled("binary", one.table, one.times, one.predicted, true))
    assert [(g.kind, g.text) for g in sorted(found, key=lambda g: g.kind)] == [
        ("false negative", "amount >= 100 and amount < 150"), ("false positive", "origin = LGA"),
    ]  # fmt: skip
    assert np.array_equal(exported(found, len(one)), first | second)
    table = retraining(one, found)
    assert table["group"].to_pylist().count("origin = LGA") == first.sum()
    assert table["id"].to_pylist() == [str(i) for i in np.flatnonzero(first | second)]


def test_classes_are_confused_one_with_another():
    given, planted = data(4, "a segment and hours")
    names = np.array(["no", "yes"], dtype=object)
    true = names[given.true.astype(int)]
    other = (np.random.default_rng(0).random(len(given)) < 0.3) & ~planted
    true[other] = "maybe"
    found = recurring(
        Labelled("multiclass", given.table, given.times, names[given.predicted.astype(int)], true)
    )
    assert [(g.kind, g.text) for g in found] == [("yes, was no", "hour >= 6 and hour < 9 and origin = JFK")]
    assert np.array_equal(exported(found, len(given)), planted)


def test_of_a_regression_what_is_far_off_is_an_error():
    given, _ = data(6)
    rng = np.random.default_rng(0)
    where = REGIONS["a segment and hours"]({"origin": origins(given), "hour": given.table["hour"].to_numpy()})
    true = rng.normal(10, 3, len(given))
    predicted = true + rng.normal(0, 1, len(given)) + 8 * where
    found = recurring(Labelled("regression", given.table, given.times, predicted, true), limit=4)
    assert [(g.kind, g.text) for g in found] == [("too high", "hour >= 6 and hour < 9 and origin = JFK")]
    assert len(recurring(Labelled("regression", given.table, given.times, predicted, true))) == 1


def origins(given):
    return np.array([dict(row)["origin"] for row in given.table["segments"].to_pylist()])


def test_too_short_a_time_says_so():
    given, _ = data(1, n=500)
    short = Labelled(
        "binary", given.table, START + np.linspace(0, 3 * HOUR - 1, 500), given.predicted, given.true
    )
    with pytest.raises(ErrorsError, match="within 3 hours"):
        recurring(short)


def test_hours_do_where_there_are_few_days():
    given, planted = data(7, "a segment", days=1)
    assert np.array_equal(exported(recurring(given), len(given)), planted)


# From the log.


class Hands:
    def now(self):
        return START


def logged(place, given, *, texts=False):
    """The same rows through the logs: each with an id, labels later, in any order, some twice."""
    log, n, names = Log(place), len(given), ("no", "yes")
    features = {k: given.table[k].to_pylist() for k in ("hour", "amount", "carrier", "distance", "noise")}
    answers = [names[int(p)] for p in given.predicted] if texts else given.predicted
    labels = [names[int(t)] for t in given.true] if texts else given.true.tolist()
    with PredictionLog(log, "m", "1", "b1", clock=Hands()) as predictions:
        columns = {"id": given.table["id"].to_pylist(), "time": given.times, "prediction": answers}
        predictions.append({**columns, "segments": {"origin": origins(given).tolist()}}, n, features)
        predictions.append({"id": ["no label"], "time": [START]}, 1, {})
        predictions.append({"id": ["0"], "time": [START + 900 * DAY], "prediction": answers[:1]}, 1, {})
    with FeedbackLog(log, clock=Hands()) as feedback:
        feedback.append([Feedback("m", str(i), labels[-1 - i], time=START - 1) for i in range(50)])
        order = np.random.default_rng(0).permutation(n).tolist()
        feedback.append_columns(
            "m",
            {"id": [f"{i}/0" if i % 7 else str(i) for i in order], "label": [labels[i] for i in order]},
            n,
        )
        feedback.append([Feedback("m", "3", 0.0, kind="opinion")])
    return log


def test_rows_of_the_log_are_joined_with_their_last_labels(tmp_path):
    given, _ = data(8, n=1_000)
    log = logged(tmp_path / "log", given)
    found = read(log, "m")
    assert found.task == "binary" and len(found) == 1_000
    assert found.table["id"].to_pylist() == given.table["id"].to_pylist()
    assert np.array_equal(found.true, given.true) and np.array_equal(found.predicted, given.predicted)
    half = read(log, "m", since=START + 5 * DAY, until=START + 10 * DAY)
    assert len(half) == ((given.times >= START + 5 * DAY) & (given.times < START + 10 * DAY)).sum()
    with pytest.raises(ErrorsError, match="no prediction"):
        read(log, "m", version="2")
    with pytest.raises(ErrorsError, match="no prediction"):
        read(log, "other")
    (tmp_path / "unlabelled").mkdir()
    with PredictionLog(Log(tmp_path / "unlabelled"), "m", "1", clock=Hands()) as predictions:
        predictions.append({"id": ["a"], "score": [0.3]}, 1, {})
    with pytest.raises(ErrorsError, match="no label"):
        read(Log(tmp_path / "unlabelled"), "m")


def test_scores_alone_are_answers_by_their_threshold(tmp_path):
    log = Log(tmp_path)
    with PredictionLog(log, "m", "1", clock=Hands()) as predictions:
        predictions.append({"id": ["a", "b"], "score": [0.3, 0.6]}, 2, {})
    with FeedbackLog(log, clock=Hands()) as feedback:
        feedback.append([Feedback("m", "a", True), Feedback("m", "b", True)])
    assert read(log, "m").predicted.tolist() == [0.0, 1.0]
    assert read(log, "m", threshold=0.2).predicted.tolist() == [1.0, 1.0]


def verb(*arguments):
    return CliRunner().invoke(app, ["errors", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.mark.parametrize("texts", [False, True])
def test_the_verb_writes_the_wrong_rows_to_retrain_on(tmp_path, texts):
    given, planted = data(9, "a segment and hours", n=6_000)
    logged(tmp_path / "log", given, texts=texts)
    said = verb("m", "--log", tmp_path / "log", "-o", tmp_path / "wrong.parquet")
    assert said.exit_code == 1, said.output
    assert "hour >= 6 and hour < 9 and origin = JFK" in said.stdout and "8 of 8" in said.stdout
    table = pq.read_table(tmp_path / "wrong.parquet")
    assert set(table["id"].to_pylist()) == {str(i) for i in np.flatnonzero(planted)}
    kind, label = ("yes, was no", "no") if texts else ("false positive", 0.0)
    assert set(table["error"].to_pylist()) == {kind} and set(table["label"].to_pylist()) == {label}
    assert {"id", "time", "score", "prediction", "segments", "amount", "carrier", "version", "group"} <= set(
        table.column_names
    )
    found = json.loads(verb("m", "--log", tmp_path / "log", "--json").stdout)
    assert found["rows"] == 6_000 and found["groups"][0]["errors"] == planted.sum()


def test_the_verb_says_that_nothing_recurs_and_what_is_wrong_use(tmp_path):
    given, _ = data(10, n=2_000)
    logged(tmp_path / "log", given)
    calm = verb("m", "--log", tmp_path / "log", "-o", tmp_path / "wrong.parquet")
    assert calm.exit_code == 0 and "no error recurs in 2,000 labelled predictions" in calm.stdout
    assert not (tmp_path / "wrong.parquet").exists()
    for arguments, said in (
        (["m"], "--log"), (["m", "--log", tmp_path / "log", "--from", "May"], "--from"),
        (["x", "--log", tmp_path / "log"], "no prediction"), (["m", "--log", tmp_path / "log", "--task", "ranking"], "--task"),
    ):  # fmt: skip
        wrong = verb(*arguments)
        assert wrong.exit_code == 2 and said in wrong.output


@pytest.mark.slow
def test_a_million_rows_take_seconds():
    given, planted = data(0, "a segment and hours", n=1_000_000)
    begin = time.process_time()
    found = recurring(given)
    assert time.process_time() - begin < 15
    assert np.array_equal(exported(found, len(given)), planted)
