"""What a monitor logs: every row that it was given, with ids that labels can name."""

import multiprocessing
import os
import time

import numpy as np
import pandas as pd
import pytest

from barograph import Monitor, Reference, journal, naming
from barograph.logs import Log
from barograph.logs.running import Running, left_over
from test_logs import killed, started


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(0)
    frame = {
        "delay": rng.normal(10, 5, 500),
        "carrier": rng.choice(["AA", "B6"], 500).tolist(),
        "p": rng.beta(2, 5, 500),
    }
    return Reference.fit(
        frame, task="binary", score="p", threshold=0.5, segments=["carrier"], features=["delay", "carrier"]
    )


@pytest.fixture
def monitor(reference, tmp_path):
    with Monitor(
        "m", version="3", reference=reference, log=tmp_path / "log", directory=tmp_path / "counts"
    ) as made:
        yield made


def rows(tmp_path, kind="predictions", columns=None) -> list[dict]:
    return [row for table in Log(tmp_path / "log").read(kind, "m", columns) for row in table.to_pylist()]


def test_a_row_is_logged_with_its_answer_id_and_segments(monitor, tmp_path):
    monitor.record(
        {"delay": 3.0, "carrier": "AA"}, score=0.83, prediction=True, id="b41f", delivered=False, rule="cap"
    )
    monitor.flush()
    (row,) = rows(tmp_path)
    assert {k: row[k] for k in ("id", "score", "prediction", "delivered", "rule", "delay", "carrier", "version")} == {
        "id": "b41f", "score": 0.83, "prediction": 1.0, "delivered": 0.0, "rule": "cap", "delay": 3.0, "carrier": "AA",
        "version": "3",
    }  # fmt: skip
    assert row["segments"] == [("carrier", "AA")] and row["bins"] == monitor.bins.id
    assert monitor.total(naming.PREDICTIONS) == 1


def test_given_segments_join_those_of_the_features(monitor, tmp_path):
    monitor.record({"delay": 3.0, "carrier": "AA"}, score=0.1, segments={"market": "DE"})
    monitor.record({"delay": 3.0, "carrier": "B6"}, score=0.1)
    monitor.flush()
    assert [dict(row["segments"]) for row in rows(tmp_path)] == [
        {"carrier": "AA", "market": "DE"},
        {"carrier": "B6"},
    ]


def test_rows_of_a_request_carry_its_id(monitor, tmp_path):
    with monitor.request(id="r1"):
        for score in (0.1, 0.2):
            monitor.record({"delay": 1.0, "carrier": "AA"}, score=score)
        monitor.record(pd.DataFrame({"delay": [1.0, 2.0], "carrier": ["AA", "B6"]}), score=[0.3, 0.4])
        monitor.record({"delay": 1.0, "carrier": "AA"}, score=0.5, id="own")
    monitor.flush()
    found = {row["score"]: row["id"] for row in rows(tmp_path)}
    assert found == {0.1: "r1/0", 0.2: "r1/1", 0.3: "r1/2", 0.4: "r1/3", 0.5: "own"}


def test_a_watched_model_is_logged_with_both_of_its_answers(monitor, tmp_path):
    class Model:
        def predict_proba(self, frame):
            return np.array([[0.3, 0.7]] * len(frame))

        def predict(self, frame):
            return np.array([1] * len(frame))

    model = monitor.watch(Model())
    frame = pd.DataFrame({"delay": [1.0], "carrier": ["AA"]})
    with monitor.request(id="r1"):
        model.predict_proba(frame)
        model.predict(frame)
    monitor.flush()
    (row,) = rows(tmp_path)
    assert (row["id"], row["score"], row["prediction"]) == ("r1/0", 0.7, 1.0)


@pytest.mark.parametrize(
    "batch",
    [
        pd.DataFrame({"delay": [1.0, 2.0], "carrier": ["AA", None]}),
        pd.DataFrame({"delay": [1.0, 2.0], "carrier": pd.Categorical(["AA", None])}),
        {"delay": [1.0, 2.0], "carrier": ["AA", None]},
        [{"delay": 1.0, "carrier": "AA"}, {"delay": 2.0, "carrier": None}],
    ],
)
def test_batches_of_any_make_are_logged_row_by_row(monitor, tmp_path, batch):
    monitor.record(batch, score=np.array([0.1, 0.2]), id=["a", "b"], time=[time.time()] * 2)
    monitor.flush()
    found = rows(tmp_path, columns=["id", "score", "delay", "carrier"])
    assert found == [
        {"id": "a", "score": 0.1, "delay": 1.0, "carrier": "AA"},
        {"id": "b", "score": 0.2, "delay": 2.0, "carrier": None},
    ]


def test_rows_of_another_time_are_logged_though_not_counted(monitor, tmp_path):
    monitor.record({"delay": 3.0, "carrier": "AA"}, score=0.1, time=1_000_000_000.0)
    monitor.flush()
    (row,) = rows(tmp_path)
    assert row["time"].timestamp() == 1_000_000_000 and monitor.total(naming.PREDICTIONS) == 0


class Odd:
    def __float__(self):
        raise ValueError("odd")

    def __str__(self):
        raise ValueError("odd")

    __repr__ = __str__


def test_a_value_that_cannot_be_read_takes_no_other_row_with_it(monitor, tmp_path):
    monitor.record({"delay": 1.0, "carrier": "AA"}, score=0.1, id="good")
    monitor.record({"delay": Odd(), "carrier": Odd()}, score=Odd(), id="odd")
    monitor.record({"delay": 2.0, "carrier": "AA"}, score=0.2, id="fine")
    monitor.flush()
    logged = {row["id"] for row in rows(tmp_path, columns=["id"])}
    assert {"good", "fine"} <= logged
    assert len(logged) + monitor.total(naming.DROPPED_ROWS, reason="not_logged") == 3


def test_many_rows_are_logged_a_part_at_a_time(monitor, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "TOGETHER", 4)
    for i in range(10):
        monitor.record({"delay": 1.0, "carrier": "AA"}, score=0.1, id=str(i))
    monitor.flush()
    assert [row["id"] for row in rows(tmp_path, columns=["id"])] == [str(i) for i in range(10)]


def test_without_a_reference_all_that_is_given_is_logged(tmp_path):
    with Monitor("m", log=tmp_path / "log", directory=tmp_path / "counts") as monitor:
        monitor.record({"x": 1.5, "city": "Berlin"}, score=0.2)
        monitor.record({"x": 2.5}, score=0.4)
    assert [(r["x"], r["city"]) for r in rows(tmp_path)] == [(1.5, "Berlin"), (2.5, None)]


def test_feedback_is_on_the_disk_after_a_flush(monitor, tmp_path):
    monitor.feedback("b41f", True)
    monitor.feedback("b420", label="late", time=time.time() - 60, kind="label")
    monitor.flush()
    found = rows(tmp_path, "feedback", ["id", "label", "label_text", "kind"])
    assert found == [
        {"id": "b41f", "label": 1.0, "label_text": None, "kind": None},
        {"id": "b420", "label": None, "label_text": "late", "kind": "label"},
    ]
    assert monitor.total(naming.FEEDBACK) == 2


@pytest.mark.parametrize(
    ("id", "label"), [("", True), (None, True), ("a", None), ("a", float("nan")), ("a", Odd())]
)
def test_feedback_that_is_none_is_counted_and_raises_nothing(monitor, id, label):
    monitor.feedback(id, label)
    assert monitor.total(naming.FEEDBACK) == 0
    assert monitor.total(naming.BAD_ROWS, reason="failed") == 1


def test_feedback_without_a_log_says_what_to_do(tmp_path):
    with (
        Monitor("m", directory=tmp_path, strict=True) as monitor,
        pytest.raises(ValueError, match="log=FOLDER"),
    ):
        monitor.feedback("b41f", True)


def test_a_log_that_cannot_be_written_stops_no_service(reference, tmp_path):
    (tmp_path / "log").write_text("a file")
    with Monitor("m", reference=reference, log=tmp_path / "log", directory=tmp_path / "counts") as monitor:
        monitor.record({"delay": 3.0, "carrier": "AA"}, score=0.1)
        monitor.flush()
        assert monitor.total(naming.PREDICTIONS) == 1
        assert monitor.total(naming.DROPPED_ROWS, reason="not_logged") == 1


def _record_in_child(monitor):
    monitor.record({"delay": 1.0, "carrier": "AA"}, score=0.9, id="child")
    monitor.close()
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_logs_to_a_file_of_its_own(monitor, tmp_path):
    monitor.record({"delay": 1.0, "carrier": "AA"}, score=0.1, id="parent")
    child = multiprocessing.get_context("fork").Process(target=_record_in_child, args=(monitor,))
    child.start()
    child.join(20)
    monitor.flush()
    assert sorted(row["id"] for row in rows(tmp_path, columns=["id"])) == ["child", "parent"]


KILLED = """
    import sys, time
    from barograph import Monitor
    monitor = Monitor("m", log=sys.argv[1] + "/log", directory=sys.argv[1] + "/first", flush_interval=0.2)
    for i in range(1_000_000):
        monitor.record({"x": 1.0}, score=0.5, id=str(i))
        print(i, flush=True)
        time.sleep(0.001)
"""


def told(tmp_path, counts) -> int:
    """Rows that a service which starts now says were not logged."""
    with Monitor("m", log=tmp_path / "log", directory=tmp_path / counts) as monitor:
        monitor.flush()
        return monitor.total(naming.DROPPED_ROWS, reason="not_logged")


def test_rows_that_a_kill_took_along_are_told_once_by_who_comes_next(tmp_path, caplog):
    process = started(KILLED, tmp_path)
    assert process.stdout.readline() == "0\n"
    time.sleep(0.7)
    lost = 1 + len(killed(process)) - len(rows(tmp_path, columns=["id"]))
    found = told(tmp_path, "second")
    assert lost <= found <= 600  # what was being written and what waited, of at most 1,000 rows a second
    assert (
        f"a process of m was killed: {found} rows that it had not logged yet are lost, at most" in caplog.text
    )
    assert told(tmp_path, "third") == 0


def test_a_process_that_ends_as_it_should_leaves_nothing_to_tell(monitor, tmp_path):
    monitor.record({"delay": 1.0, "carrier": "AA"}, score=0.1)
    monitor.flush()
    assert left_over(tmp_path / "log", "m") == []  # it lives
    monitor.close()
    assert not list((tmp_path / "log" / ".running").iterdir())


def test_a_killed_process_of_another_model_is_none_of_ours(tmp_path):
    one, other = Running(tmp_path, "a"), Running(tmp_path, "a/b")
    for running, rows in ((one, 7), (other, 5)):
        for _ in range(rows):
            running.took()
        running.took_batch(10)
        running.done(4)
        vars(running).clear()  # as the system does at a kill: nobody holds the file any more
    assert left_over(tmp_path, "a") == [13] and left_over(tmp_path, "a") == []
    assert left_over(tmp_path, "a/b") == [11]


def test_what_only_counts_imports_no_arrow():
    import subprocess
    import sys

    code = "import sys, barograph; assert not {'pyarrow', 'barograph.logs', 'barograph.journal'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
