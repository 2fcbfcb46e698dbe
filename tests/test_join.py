"""The join over real logs: outcomes in the tiles, by version, segment and hour of the prediction, whatever happens to it."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import world as served
from barograph import naming
from barograph.config import Config, ModelConfig
from barograph.labels import step
from barograph.labels.counting import CELLS, UnknownBins, outcome_series
from barograph.labels.join import Join
from barograph.labels.joiner import Joiner
from barograph.labels.quality import quality_gauges, settled
from barograph.labels.state import FEEDBACK, PREDICTIONS, JoinState
from barograph.logs import Feedback, FeedbackLog, Log, PredictionLog
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.serve import join_folder, outcome_bins
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
        self.place, self.clock, self.unknown = place, Hands(), set()
        self.logs = Log(place / "log")
        self.feedback = FeedbackLog(self.logs, clock=self.clock)
        self.open()

    def open(self):
        self.tiles = Tiles(self.place / "tiles.duckdb")
        self.state = JoinState(self.tiles, self.place / "runs")
        self.join = Join(self.tiles, self.logs, self.state, lambda model: self.find)

    def find(self, version, bins):
        """The bins of all versions but those that are not known."""
        if version in self.unknown:
            raise UnknownBins(f"no reference of {version}")
        return BINS

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
    counts = world.tiles.window(series, START, START + HOUR).counts.reshape(2, -1, CELLS)
    assert counts.sum() == 2 and counts[1].sum() == 1
    assert np.flatnonzero(counts[1].sum(axis=1)) < np.flatnonzero(counts[0].sum(axis=1))


def test_labels_are_counted_by_the_hour_in_which_they_came_whatever_is_corrected_later(world):
    world.predict(["a", "b"], [0.2, 0.9])
    world.clock.time += 3 * HOUR
    world.tell(["a", "b"], [True, True])
    world.join.run("m")
    world.clock.time += 24 * HOUR
    world.tell(["a"], [False])
    world.join.run("m")
    (series,) = world.tiles.series(naming.ARRIVALS)
    at = [
        world.tiles.window(series, START + h * HOUR, START + (h + 1) * HOUR).counts.tolist()
        for h in (0, 3, 27)
    ]
    assert at == [[0] * 6, [0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]]  # tn, fp, negative, fn, tp, positive


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
    told = [(m.name, value) for m, _, value in quality_gauges(world.tiles, "m", "1", BINS, world.clock.now())]
    assert told == [("ml_label_completeness_ratio", 0.0), *[("ml_outcomes_total", 0)] * 6]


# What waits for its reference.


def test_a_version_whose_reference_is_not_known_stops_no_other(world):
    world.unknown = {"2"}
    world.predict(["a"], [0.2], "1")
    world.predict(["b", "c", "d"], [0.9, 0.4, 0.6], "2", segments={"origin": ["JFK", "JFK", "LGA"]})
    world.tell(["a", "b", "c"], [True, True, False])
    joined = world.join.run("m")
    assert joined.tally["matched"] == 3 and joined.waiting == {("2", "b1"): "no reference of 2"}
    same(world.outcomes("1"), "a", [0.2], [1])
    assert world.outcomes("2").rows == 0
    world.clock.time += HOUR
    world.tell(["a", "b", "d"], [False, False, True])  # corrected, and new, while it waits
    world.predict(["e"], [0.1], "2")
    world.tiles.close()
    world.open()
    assert world.join.run("m").waiting
    same(world.outcomes("1"), "a", [0.2], [0])
    assert world.outcomes("2").rows == 0
    world.unknown = set()
    world.tell(["e"], ["perhaps"])
    assert not world.join.run("m").waiting
    same(world.outcomes("2"), "bcd", [0.9, 0.4, 0.6], [0, 0, 1])
    same(world.outcomes("2", "origin=JFK"), "bc", [0.9, 0.4], [0, 0])
    world.tell(["c"], [True])
    world.join.run("m")
    same(world.outcomes("2"), "bcd", [0.9, 0.4, 0.6], [0, 1, 1])
    assert world.state.tally("m")["unreadable"] == 1


def test_a_join_that_dies_as_a_reference_comes_counts_what_waited_once(world, monkeypatch):
    world.unknown = {"1"}
    world.predict(["a"], [0.2])
    world.tell(["a"], [True])
    world.join.run("m")
    world.unknown = set()
    with monkeypatch.context() as patch:
        patch.setattr(JoinState, "wait", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            world.join.run("m")
    for _ in range(2):
        world.join.run("m")
        same(world.outcomes(), "a", [0.2], [1])


@pytest.mark.parametrize("part", [1, 1_000_000])
def test_a_reference_that_is_lost_stops_the_model_and_loses_no_label(world, part, monkeypatch):
    monkeypatch.setattr(step, "PART", part)
    world.predict(["a", "b"], [0.2, 0.9])
    world.tell(["a"], [True])
    world.join.run("m")
    world.unknown = {"1"}
    world.tell(["b", "x", "y", "z"], [True] * 4)
    for _ in range(2):
        with pytest.raises(UnknownBins, match="no reference of 1"):
            world.join.run("m")
    assert len(list((world.place / "runs").iterdir())) == 2  # what is tried every minute leaves nothing
    world.unknown = set()
    world.join.run("m")
    same(world.outcomes(), "ab", [0.2, 0.9], [1, 1])


def test_the_status_of_a_model_says_what_waits(world):
    world.unknown = {"2"}
    world.predict(["a"], [0.2], "1")
    world.predict(["b"], [0.2], "2")
    joiner = Joiner(
        world.tiles, world.logs, world.place / "runs", lambda model: world.find, now=world.clock.now
    )
    joiner.join()
    status = joiner.statuses["m"]
    assert status.error == "no reference of 2" and status.succeeded == world.clock.time
    world.predict(["c"], [0.2], "1")  # which does not change it
    joiner.join()
    assert joiner.statuses["m"].error == "no reference of 2"
    world.unknown = set()
    joiner.join()
    assert joiner.statuses["m"].error is None
    joiner.stop()


# Any history, in any parts.

MOMENT = st.integers(0, 3 * HOUR)
EVENT = st.one_of(
    st.tuples(
        st.just("predict"),
        st.lists(st.integers(0, 30), min_size=1, max_size=8),
        st.sampled_from("12"),
        MOMENT,
    ),
    st.tuples(
        st.just("tell"), st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 1), MOMENT
    ),
    st.tuples(st.sampled_from(["join", "restart", "know", "fail"])),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EVENT, max_size=14), st.sampled_from([3, 10_000]), st.sampled_from([4, 10_000]))
def test_whatever_happens_is_counted_as_a_plain_recount_would(tmp_path_factory, events, part, most):
    """Every id's first prediction that came (of one batch the earliest), its last label by its own time."""
    world = World(tmp_path_factory.mktemp("world"))
    world.unknown = {"2"}  # until it is told
    made, told, score, n = {}, {}, lambda i: (i * 37 % 31) / 31, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "PART", part)
        patch.setattr(step, "MOST_ROWS", most)
        for what, *arguments in [*events, ("know",), ("join",)]:
            n += 1
            world.clock.time = START + 5 * HOUR + n
            if what == "predict":
                ids, version, moment = arguments
                ids = [i for i in dict.fromkeys(ids) if i not in made]
                if ids:
                    world.predict(
                        [str(i) for i in ids], [score(i) for i in ids], version, time=START + moment
                    )
                made |= dict.fromkeys(ids, (version, moment // HOUR))
            elif what == "tell":
                ids, label, moment = arguments
                world.tell([str(i) for i in ids], [label] * len(ids), time=START + moment)
                for i in ids:
                    told[i] = max(told.get(i, (moment, n, label)), (moment, n, label))
            elif what == "restart":
                world.tiles.close()
                world.open()
            elif what == "know":
                world.unknown = set()
            elif what == "fail":
                with patch.context() as dying:
                    dying.setattr(JoinState, "move", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
                    try:
                        world.join.run("m")
                    except OSError:
                        world.tiles.close()
                        world.open()
            else:
                world.join.run("m")
    for version in "12":
        for hour in range(4):
            ids = [i for i in made if made[i] == (version, hour) and i in told]
            found = world.outcomes(version, hours=(START + hour * HOUR, START + (hour + 1) * HOUR))
            same(found, ids, [score(i) for i in ids], [told[i][2] for i in ids])
    world.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from test_join import START, World
from barograph.labels import files, join, state, step
from barograph.tiles import Tiles

where, name, calls = sys.argv[2], sys.argv[3], int(sys.argv[4])
owner = {"Writer": files.Writer, "Tiles": Tiles, "JoinState": state.JoinState, "Join": join.Join}[where]
before = getattr(owner, name)

def die(*arguments):
    global calls
    calls -= 1
    if calls < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments)

setattr(owner, name, die)
step.PART = 100
world = World(Path(sys.argv[1]))
world.clock.time = START + 9 * 3600
world.join.run("m")
"""


@pytest.mark.parametrize(
    ("where", "name", "calls"),
    [
        ("Writer", "put", 0), ("Writer", "put", 5), ("Writer", "finish", 0), ("Writer", "finish", 1), ("Tiles", "add", 0),
        ("JoinState", "learn", 0), ("JoinState", "move", 1), ("Join", "_merge", 0),
    ],
)  # fmt: skip
def test_a_join_that_is_killed_counts_once(world, where, name, calls):
    rng = np.random.default_rng(0)
    ids, scores = [f"p{i}" for i in range(400)], rng.random(400)
    world.predict(ids[:200], scores[:200])
    world.tell(ids[:200], [True] * 200)
    world.join.run("m")
    world.predict(ids[200:], scores[200:], time=START + 2 * HOUR)
    world.clock.time += HOUR
    labels = (rng.random(400) < 0.5) * 1.0
    world.tell(ids, labels)
    world.close()
    out = subprocess.run(
        [sys.executable, "-c", KILLED, str(world.place), where, name, str(calls)],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert out.returncode == -signal.SIGKILL, out.stderr
    world.feedback = FeedbackLog(world.logs, clock=world.clock)
    world.open()
    world.join.run("m")
    same(world.outcomes(), ids, scores, labels)
    assert len(list((world.place / "runs").iterdir())) == 4


# The verb, with and without a server.


def test_the_verb_says_for_which_reference_labels_wait(world):
    world.predict(["a", "b"], [0.2, 0.9])
    world.tell(["a"], [1])
    world.tiles.close()
    out = subprocess.run(
        [sys.executable, "-m", "barograph", "join", "--log", "log", "--store", "tiles.duckdb", "--json"],
        cwd=world.place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    world.open()
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout)["m"]["matched"] == 1
    assert "no reference with bins b1" in " ".join(out.stderr.split())
    assert world.outcomes().rows == 0
    state = JoinState(world.tiles, join_folder(world.place / "tiles.duckdb"))
    Join(world.tiles, world.logs, state, lambda model: world.find).run("m")  # which knows them
    same(world.outcomes(), "a", [0.2], [1])


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
