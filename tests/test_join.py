"""The join over real logs: outcomes in the tiles, by version, segment and hour of the prediction, whatever happens to it."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import world as served
from barograph import naming
from barograph.config import Config, ModelConfig
from barograph.labels.counting import outcome_series
from barograph.labels.join import Join
from barograph.labels.joiner import Joiner
from barograph.labels.quality import quality_gauges, settled
from barograph.labels.state import FEEDBACK, PREDICTIONS, JoinState
from barograph.logs import Feedback, FeedbackLog, Log, PredictionLog
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.serve import outcome_bins
from barograph.tiles import HOUR, Tiles

START = 1_380_499_200
BINS = OutcomeBins.default("binary", threshold=0.5)


class Hands:
    def __init__(self, time=START):
        self.time = time

    def now(self):
        return self.time


class World:
    """Logs of a model, and the join beside them."""

    def __init__(self, place):
        self.place, self.clock = place, Hands()
        self.logs = Log(place / "log")
        self.feedback = FeedbackLog(self.logs, clock=self.clock)
        self.open()

    def open(self):
        self.tiles = Tiles(self.place / "tiles.duckdb")
        self.state = JoinState(self.tiles, self.place / "runs")
        self.join = Join(self.tiles, self.logs, self.state, lambda model: lambda version, bins: BINS)

    def predict(self, ids, scores, version="1", segments=None, time=None):
        n = len(ids)
        columns = {
            "id": list(ids),
            "score": np.asarray(scores, dtype=float),
            "prediction": (np.asarray(scores) >= 0.5) * 1.0,
        }
        columns["time"] = np.full(n, self.clock.now() if time is None else time)
        if segments is not None:
            columns["segments"] = segments
        with PredictionLog(self.logs, "m", version, "b1", clock=self.clock) as log:
            log.append(columns, n, {})

    def tell(self, ids, labels, time=None):
        self.feedback.append([Feedback("m", i, v, time) for i, v in zip(ids, labels, strict=True)])

    def outcomes(self, version="1", segment="", hours=None):
        series = outcome_series("m", version, segment, BINS)
        end = START + 400 * 24 * HOUR
        found = (
            self.tiles.window(series, START - 24 * HOUR, end)
            if hours is None
            else self.tiles.window(series, *hours)
        )
        return OutcomeProfile(BINS, found.counts, found.sums)

    def close(self):
        self.feedback.close()
        self.tiles.close()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def same(found, ids, scores, labels):
    wanted = OutcomeProfile.of(BINS, labels, scores, (np.asarray(scores) >= 0.5) * 1.0)
    assert np.array_equal(found.counts, wanted.counts)
    assert np.allclose(found.sums, wanted.sums)


def test_labels_that_come_hours_later_count_in_the_hour_of_their_prediction(world):
    world.predict(["a", "b"], [0.2, 0.9])
    world.clock.time += 2 * HOUR
    world.predict(["c"], [0.7])
    world.clock.time += 5 * HOUR
    world.tell(["a", "b", "c"], [False, True, False])
    assert world.join.run("m").tally["matched"] == 3
    same(world.outcomes(), "abc", [0.2, 0.9, 0.7], [0, 1, 0])
    same(world.outcomes(hours=(START, START + HOUR)), "ab", [0.2, 0.9], [0, 1])
    same(world.outcomes(hours=(START + 2 * HOUR, START + 3 * HOUR)), "c", [0.7], [0])


def test_a_second_run_changes_nothing(world):
    world.predict(["a"], [0.2])
    world.tell(["a"], [True])
    world.join.run("m")
    before = world.outcomes()
    assert not any(world.join.run("m").tally.values())
    assert np.array_equal(world.outcomes().counts, before.counts)


def test_a_corrected_label_takes_back_the_earlier_one(world):
    world.predict(["a", "b"], [0.2, 0.9])
    world.tell(["a", "b"], [False, True])
    world.join.run("m")
    world.clock.time += 40 * 24 * HOUR
    world.tell(["a"], [True])
    world.tell(["b"], [False], time=START - 5)  # of a time before the label that is known
    assert {k: v for k, v in world.join.run("m").tally.items() if v} == {
        "labels": 2,
        "corrected": 1,
        "outdated": 1,
    }
    same(world.outcomes(), "ab", [0.2, 0.9], [1, 1])


def test_a_label_waits_for_its_prediction(world):
    world.tell(["a", "never"], [True, False])
    assert world.join.run("m").tally["waiting"] == 2
    world.predict(["a"], [0.8])
    assert world.join.run("m").tally["early"] == 1
    same(world.outcomes(), "a", [0.8], [1])


def test_the_first_row_of_a_request_goes_by_the_requests_own_id(world):
    world.predict(["r1/0", "r1/1", "r2/0"], [0.2, 0.9, 0.6])
    world.tell(["r1", "r1/1", "r2/0"], [0, 1, 1])
    assert world.join.run("m").tally["matched"] == 3


def test_outcomes_are_kept_by_version_and_by_segment(world):
    world.predict(["a", "b"], [0.2, 0.9], "1", segments={"origin": ["JFK", "LGA"]})
    world.predict(["c"], [0.4], "2", segments={"origin": ["JFK"]})
    world.tell(["a", "b", "c"], [0, 1, 1])
    world.join.run("m")
    same(world.outcomes("1"), "ab", [0.2, 0.9], [0, 1])
    same(world.outcomes("1", "origin=JFK"), "a", [0.2], [0])
    same(world.outcomes("1", "origin=LGA"), "b", [0.9], [1])
    same(world.outcomes("2", "origin=JFK"), "c", [0.4], [1])


def test_rows_without_an_id_and_labels_that_are_none_are_counted(world):
    world.predict([None, "a"], [0.2, 0.4])
    world.tell(["a"], ["perhaps"])
    tally = world.join.run("m").tally
    assert tally["nameless"] == 1 and tally["unreadable"] == 1
    assert world.outcomes().rows == 0


def test_a_join_that_dies_before_it_has_stored_counts_once(world, monkeypatch):
    world.predict(["a"], [0.2])
    world.tell(["a"], [True])
    with monkeypatch.context() as patch:
        patch.setattr(JoinState, "move", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            world.join.run("m")
    assert len(list((world.place / "runs").iterdir())) == 2  # written, and named by nothing
    world.tiles.close()
    world.open()
    assert not list((world.place / "runs").iterdir())
    world.join.run("m")
    same(world.outcomes(), "a", [0.2], [1])


def test_what_is_known_outlives_a_restart(world):
    world.predict(["a", "b"], [0.2, 0.6], segments={"origin": ["JFK", "LGA"]})
    world.tell(["a"], [False])
    world.join.run("m")
    world.tiles.close()
    world.open()
    world.tell(["a", "b"], [True, True])
    world.join.run("m")
    same(world.outcomes(), "ab", [0.2, 0.6], [1, 1])
    same(world.outcomes(segment="origin=LGA"), "b", [0.6], [1])


def test_many_small_runs_become_few(world):
    for i in range(30):
        world.predict([f"p{i}"], [i / 30])
        world.tell([f"p{i}"], [i % 2])
        world.join.run("m")
    for kind in (PREDICTIONS, FEEDBACK):
        assert len(world.state.files("m", kind)) < 10
    assert len(list((world.place / "runs").iterdir())) < 20
    scores = [i / 30 for i in range(30)]
    same(world.outcomes(), range(30), scores, [i % 2 for i in range(30)])
    assert world.state.tally("m")["matched"] == 30


def test_ages_of_labels_are_counted_by_class(world):
    world.predict(["a", "b"], [0.2, 0.9])
    world.clock.time += 3 * HOUR
    world.tell(["a"], [True])
    world.clock.time += 24 * HOUR
    world.tell(["b"], [False])
    world.join.run("m")
    (series,) = world.tiles.series(naming.LABEL_AGES)
    counts = world.tiles.window(series, START, START + HOUR).counts.reshape(2, -1, 16)
    assert counts.sum() == 2 and counts[1].sum() == 1
    assert np.flatnonzero(counts[1].sum(axis=1)) < np.flatnonzero(counts[0].sum(axis=1))


def test_quality_is_told_of_the_last_day_that_has_its_labels(world):
    rng = np.random.default_rng(0)
    told = {}
    for hour in range(48):
        ids, scores = [f"{hour}-{i}" for i in range(20)], rng.random(20)
        labels = (rng.random(20) < scores) * 1.0
        world.predict(ids, scores, segments={"origin": ["JFK"] * 20})
        if hour < 30:
            world.tell(ids, labels)
            told[hour] = (scores, labels)
        world.clock.time += HOUR
    world.join.run("m")
    found = settled(world.tiles, "m", "1", "", BINS, world.clock.now())
    assert (found.start, found.end) == (START + 7 * HOUR, START + 31 * HOUR)  # 23 of 24 hours are labelled
    scores, labels = (np.concatenate([told[h][i] for h in range(7, 30)]) for i in (0, 1))
    gauges = list(quality_gauges(world.tiles, "m", "1", BINS, world.clock.now()))
    accuracy = {
        (metric.name, names["segment"]): value
        for metric, names, value in gauges
        if names.get("metric") == "accuracy"
    }
    assert accuracy["ml_quality", ""] == pytest.approx(((scores >= 0.5) == labels).mean())
    assert accuracy["ml_quality_lower", ""] < accuracy["ml_quality", ""] < accuracy["ml_quality_upper", ""]
    assert accuracy["ml_quality", "origin=JFK"] == accuracy["ml_quality", ""]
    completeness = [value for metric, _, value in gauges if metric is naming.LABEL_COMPLETENESS]
    assert completeness == [pytest.approx(6 / 24)]


def test_nothing_is_told_of_quality_before_labels_have_come(world):
    world.predict(["a"], [0.2])
    world.join.run("m")
    assert [m.name for m, _, _ in quality_gauges(world.tiles, "m", "1", BINS, world.clock.now())] == [
        "ml_label_completeness_ratio"
    ]


# The verb, with and without a server.


def test_the_verb_says_of_which_model_it_knows_no_reference(world):
    world.predict(["a", "b"], [0.2, 0.9])
    world.tell(["a"], [1])
    world.tiles.close()
    out = subprocess.run(
        [sys.executable, "-m", "barograph", "join", "--log", "log", "--store", "tiles.duckdb", "--json"],
        cwd=world.place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    world.open()
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout) == {} and "no reference with bins b1" in " ".join(out.stderr.split())


def test_the_verb_without_a_log_says_what_to_give(world):
    out = subprocess.run(
        [sys.executable, "-m", "barograph", "join", "--store", "tiles.duckdb"],
        cwd=world.place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert out.returncode == 2 and "--log: is not given" in " ".join(out.stderr.split())


# Alerts on quality.


@pytest.fixture
def judged(tmp_path):
    """A monitor with a reference and a log, an evaluator with limits on quality, and the join beside it."""
    limits = {"quality.accuracy": 0.7, "quality.log_loss": 9.0}
    made = served.World(tmp_path / "world", Config(models={"risk": ModelConfig(limits=limits)}))
    yield made
    made.close()


def day_of_labels(world, logs, good, hours=24):
    """A day of scores and their labels, of which a share is `good`, through the log and the join."""
    rng = np.random.default_rng(7)
    joiner = Joiner(
        world.tiles,
        logs,
        world.directory / "runs",
        partial(outcome_bins, world.tiles, world.references),
        now=world.clock.now,
    )
    with (
        PredictionLog(logs, "risk", "1", world.reference.bins.id, clock=world.clock) as log,
        FeedbackLog(logs, clock=world.clock) as feedback,
    ):
        for _ in range(hours):
            ids, scores = [f"{world.clock.time:.0f}-{i}" for i in range(30)], rng.beta(2, 8, 30)
            right = rng.random(30) < good
            labels = np.where(right, scores >= 0.5, scores < 0.5) * 1.0
            log.append({"id": ids, "score": scores, "prediction": (scores >= 0.5) * 1.0}, 30)
            feedback.append_columns("risk", {"id": ids, "label": labels}, 30)
            world.tick(3600)
        joined = joiner.join()
    joiner.stop()
    assert joined["risk"].tally["matched"] == 30 * hours
    return world.evaluate()


def test_confirmed_quality_past_the_owners_limit_pages_and_ends_when_it_is_back(judged, tmp_path):
    logs = Log(tmp_path / "log")
    assert day_of_labels(judged, logs, 0.9) == []
    (change,) = day_of_labels(judged, logs, 0.5)
    condition = change.alert.condition
    assert (condition.rule, condition.signal, change.alert.state) == (
        naming.QUALITY_LOW.name,
        "accuracy",
        "firing",
    )
    assert 0.4 < condition.value < 0.6 and condition.threshold == 0.7
    assert condition.text.startswith("Accuracy is 0.") and condition.text.endswith("should be 0.7 or more")
    day_of_labels(judged, logs, 0.9)
    judged.tick(3 * 3600)
    judged.evaluate()
    assert (naming.QUALITY_LOW.name, "") not in judged.firing()
