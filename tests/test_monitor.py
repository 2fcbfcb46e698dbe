"""The monitor: whatever a caller hands over, it counts, and never raises."""

import asyncio
import datetime as dt
import logging
import math
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barograph import Clock, Monitor, Reference, SchemaViolation, naming

NOW = 1_381_752_000.0  # 2013-10-14T12:00:00Z
RNG = np.random.default_rng(0)
FRAME = {
    "x": RNG.normal(10, 2, 3_000), "k": RNG.integers(0, 9, 3_000), "c": RNG.choice(["a", "b"], 3_000).tolist(),
    "p": RNG.beta(2, 5, 3_000), "t": NOW - RNG.uniform(0, 14 * 86_400, 3_000),
}  # fmt: skip
REFERENCE = Reference.fit(FRAME, task="binary", score="p", threshold=0.5, time="t")
GOOD = {"x": 10.0, "k": 3, "c": "a"}


@pytest.fixture
def monitor(tmp_path):
    clock = Clock(start=NOW, origin=0.0, speed=1e-9)
    with Monitor(
        "m", version="1", reference=REFERENCE, directory=tmp_path, clock=clock, strict=True, flush_interval=60
    ) as m:
        yield m


def counts(monitor):
    """Counts of the monitor's columns."""
    return next(v.counts for s, v in monitor.snapshot().series.items() if s.kind == "columns")


def by_label(monitor, metric, label):
    """A counter's non-zero series by the value of one label."""
    found = {
        s.label(label): int(v.counts[0])
        for s, v in monitor.snapshot().series.items()
        if s.metric == metric.name
    }
    return {name: n for name, n in found.items() if n}


def test_rows_one_by_one_count_as_the_reference_profiles_them(monitor):
    for i in range(500):
        row = {"x": float(FRAME["x"][i]), "k": int(FRAME["k"][i]), "c": FRAME["c"][i]}
        monitor.record(row, score=float(FRAME["p"][i]))
    expected = REFERENCE.profile({name: values[:500] for name, values in FRAME.items()})
    assert counts(monitor).tolist() == expected.counts.tolist()
    assert monitor.total(naming.PREDICTIONS) == 500


values = st.one_of(
    st.floats(), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.sampled_from(["a", "b", "7", "", "z" * 10_000]),
    st.just({1}), st.just({}), st.just(10**400), st.datetimes(), st.just(object()), st.just(np.float32(2.5)), st.just(np.int64(3)), st.just(1j),
)  # fmt: skip


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(st.fixed_dictionaries({"x": values, "k": values, "c": values}), min_size=1, max_size=30))
def test_a_flush_equals_the_definition_for_every_kind_of_value(monitor, rows):
    before = counts(monitor).copy()
    for row in rows:
        monitor.record(row)
    got = counts(monitor) - before
    for name in ("x", "k", "c"):
        bins, where = REFERENCE.bins.columns[name], REFERENCE.bins.slice(name)
        expected = np.zeros(bins.size, dtype=int)
        for row in rows:
            expected[slot(name, row[name])] += 1
        assert got[where].tolist() == expected.tolist(), name


def slot(name, value):
    """Where one value belongs, by the definition."""
    bins = REFERENCE.bins.columns[name]
    if name != "c":
        value = REFERENCE.schema[name].values([value], NOW)[0]
    return int(bins.index([value])[0])


@pytest.mark.parametrize(
    "batch",
    [
        {"x": np.array([1.0, 2.0]), "k": np.array([1, 2]), "c": ["a", None]},
        [{"x": 1.0, "k": 1, "c": "a"}, {"x": 2.0, "k": 2, "c": None}],
        [[1.0, 1, "a"], [2.0, 2, None]],
        ((1.0, 1, "a"), (2.0, 2, None)),
        np.array([[1.0, 1, "a"], [2.0, 2, None]], dtype=object),
    ],
)
def test_batches_of_every_make_count_alike(monitor, batch):
    monitor.record(batch, score=[0.1, 0.9])
    rows = {"x": [1.0, 2.0], "k": [1, 2], "c": ["a", None], "p": [0.1, 0.9]}
    assert counts(monitor).tolist() == REFERENCE.profile(rows).counts.tolist()


def test_a_batch_in_a_frame_counts_alike(monitor):
    pd, pl, pa = (pytest.importorskip(n) for n in ("pandas", "polars", "pyarrow"))
    columns = {"x": [1.0, 2.0], "k": [1, 2], "c": ["a", None]}
    for make in (pd.DataFrame, pl.DataFrame, pa.table):
        monitor.record(make(columns), score=np.array([0.1, 0.9]))
    once = REFERENCE.profile({**columns, "p": [0.1, 0.9]}).counts
    assert counts(monitor).tolist() == (3 * once).tolist()


def test_a_sequence_is_one_row_in_the_schemas_order(monitor):
    monitor.record([10.0, 3, "a"], score=0.3)
    monitor.record(np.array([10.0, 3.0, 1.0]), score=0.3)
    assert monitor.total(naming.PREDICTIONS) == 2


def test_a_row_may_be_changed_by_its_owner_at_once(monitor):
    row = dict(GOOD)
    batch = np.array([[10.0, 3.0, 0.0]])
    monitor.record(row)
    monitor.record(batch)
    row["x"], batch[0, 0] = 1e12, 1e12
    assert by_kind(monitor, "x", "outside") == 0


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("make", [np.array, list, tuple])
def test_the_answer_of_one_row_may_be_the_only_one_of_an_array(tmp_path, make, strict):
    with Monitor("m", reference=REFERENCE, directory=tmp_path, strict=strict, flush_interval=60) as monitor:
        monitor.record(GOOD, score=make([0.25]), prediction=make([True]))
        for name, value in (("score", 0.25), ("prediction", 1.0)):
            column = counts(monitor)[REFERENCE.bins.slice(name)]
            assert column[REFERENCE.bins.columns[name].index([value])[0]] == column.sum() == 1


@pytest.mark.parametrize("strict", [True, False])  # strict rows take a path of their own
@pytest.mark.parametrize("row", [GOOD, {**GOOD, "x": "no number"}], ids=["plain", "odd"])
def test_an_answer_may_be_changed_by_its_owner_at_once(tmp_path, row, strict):
    items, score = ["a film"], np.array([0.25])
    with Monitor("m", reference=REFERENCE, directory=tmp_path, strict=strict, flush_interval=60) as monitor:
        monitor.record(row, score=0.5, prediction=items)
        monitor.record([row], score=score)
        items.clear()
        score[0] = 0.75
        assert monitor.total(naming.PREDICTIONS) == 2 and monitor.total(naming.EMPTY) == 0
        column = counts(monitor)[REFERENCE.bins.slice("score")]
        assert column[REFERENCE.bins.columns["score"].index([0.25])[0]] == 1


def test_a_row_that_another_thread_changes_raises_nothing_and_is_counted(tmp_path):
    row, done = dict(GOOD), threading.Event()

    def change():
        while not done.is_set():
            row["z"] = 1
            del row["z"]

    with Monitor("m", reference=REFERENCE, directory=tmp_path) as monitor:
        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(20_000):
                monitor.record(row, score=0.5)
        finally:
            done.set()
            thread.join()
        assert monitor.total(naming.PREDICTIONS) == 20_000
        assert counts(monitor)[REFERENCE.bins.slice("x")].sum() == 20_000


@pytest.mark.parametrize("features", [GOOD, [GOOD]], ids=["row", "batch"])
def test_what_is_recorded_in_a_request_has_its_time_unless_it_has_its_own(monitor, features):
    with monitor.request(time=NOW - 9_000):
        monitor.record(features, score=[0.5] if type(features) is list else 0.5)
        monitor.record(features, score=[0.5] if type(features) is list else 0.5, time=NOW)
    assert monitor.total(naming.PREDICTIONS) == 1
    assert by_label(monitor, naming.DROPPED_ROWS, "reason") == {"time": 1}


def test_a_name_that_cannot_be_written_raises_nothing(monitor):
    class Unwritable:
        def __str__(self):
            raise RuntimeError("no text")

    monitor.business(Unwritable())
    monitor.error(Unwritable())
    with monitor.stage(Unwritable()):
        pass
    assert by_label(monitor, naming.BUSINESS, "event") == {"other": 1}


def by_kind(monitor, name, kind):
    """How many values of a column are missing, invalid, unseen or outside."""
    bins, column = REFERENCE.bins.columns[name], counts(monitor)[REFERENCE.bins.slice(name)]
    return int(column[bins.outside].sum() if kind == "outside" else column[getattr(bins, kind)])


def test_missing_and_extra_columns_are_counted_and_the_rest_of_the_row_kept(monitor):
    monitor.record({"x": 10.0, "c": "a", "y": 1})
    violations = {(s.label("column"), s.label("kind")): int(v.counts[0]) for s, v in monitor.snapshot().series.items() if s.metric == naming.VIOLATIONS.name and v.counts[0]}  # fmt: skip
    assert violations == {("k", "missing_column"): 1, ("y", "extra_column"): 1}
    assert by_kind(monitor, "k", "missing") == 1 and by_kind(monitor, "x", "missing") == 0


def test_a_fraction_in_a_column_of_whole_numbers_is_off_the_grid(monitor):
    monitor.record({**GOOD, "k": 2.5})
    monitor.record({"x": [10.0, 10.0], "k": [2.5, 3.0], "c": ["a", "a"]})
    assert by_label(monitor, naming.VIOLATIONS, "kind") == {"grid": 2}


@pytest.mark.parametrize(
    ("features", "options", "reason"),
    [
        ([], {}, "empty_batch"),
        ({"x": [1.0], "k": [1], "c": ["a"]}, {"score": [0.1, 0.2]}, "length"),
        ([1, 2], {}, "shape"),
        (GOOD, {"time": dt.datetime(2013, 10, 14, 12)}, "naive_time"),
        (GOOD, {"time": "yesterday"}, "time"),
        ({"x": [1.0], "k": [1, 2], "c": ["a"]}, {}, "batch"),
    ],
)
def test_bad_input_is_counted_by_its_reason(monitor, features, options, reason):
    monitor.record(features, **options)
    assert by_label(monitor, naming.BAD_ROWS, "reason") == {reason: 1}


def test_a_bad_row_takes_no_good_row_with_it(monitor):
    for i in range(200):
        monitor.record({"x": "broken" if i == 77 else 10.0, "k": 3, "c": {} if i == 99 else "a"})
    assert monitor.total(naming.PREDICTIONS) == 200
    assert by_kind(monitor, "x", "invalid") == 1 and by_kind(monitor, "c", "invalid") == 1
    assert by_kind(monitor, "k", "missing") == 0


def test_rows_far_from_the_clock_are_not_counted_by_arrival(monitor):
    monitor.record(GOOD, time=NOW - 7200)
    monitor.record(GOOD, time=NOW - 60)
    monitor.record(GOOD, time=dt.datetime.fromtimestamp(NOW, dt.UTC))
    monitor.record({"x": [1.0, 2.0], "k": [1, 1], "c": ["a", "b"]}, time=[NOW, NOW - 7200], score=[0.1, 0.9])
    assert monitor.total(naming.PREDICTIONS) == 3
    assert by_label(monitor, naming.DROPPED_ROWS, "reason") == {"time": 2}


def test_what_post_processing_changed_is_counted_by_rule(monitor):
    monitor.record(GOOD, prediction=True, delivered=True)
    monitor.record(GOOD, prediction=True, delivered=False)
    monitor.record(GOOD, prediction=True, delivered=False, rule="cap")
    monitor.record({"x": [1.0, 2.0], "k": [1, 1], "c": ["a", "b"]}, prediction=[1, 0], delivered=[1, 1])
    assert by_label(monitor, naming.OVERRIDDEN, "rule") == {"cap": 1, "unnamed": 2}


def test_empty_answers_are_counted(monitor):
    for prediction in (None, [], "", "x", 0):
        monitor.record(GOOD, prediction=prediction)
    monitor.record(GOOD, score=0.5)
    assert monitor.total(naming.EMPTY) == 3


def test_the_answer_follows_from_the_score_where_none_is_given(monitor):
    for score in (0.1, 0.5, 0.9):
        monitor.record(GOOD, score=score)
    bins, where = REFERENCE.bins.columns["prediction"], REFERENCE.bins.slice("prediction")
    column = counts(monitor)[where]
    assert column[bins.index([1.0])[0]] == 2 and column[bins.index([0.0])[0]] == 1


def test_a_full_buffer_drops_and_counts(tmp_path):
    with Monitor("m", directory=tmp_path, buffer_rows=10, flush_interval=60) as monitor:
        for _ in range(25):
            monitor.record({"x": 1.0})
        assert monitor.total(naming.PREDICTIONS) == 10
        assert by_label(monitor, naming.DROPPED_ROWS, "reason") == {"buffer_full": 15}


def test_nothing_raises_and_a_failure_is_logged_once(tmp_path, caplog):
    class Rude:
        def __len__(self):
            raise RuntimeError("no")

        columns = property(lambda self: 1 / 0)

    with (
        Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=60) as monitor,
        caplog.at_level(logging.ERROR),
    ):
        for _ in range(3):
            monitor.record(Rude())
            monitor.record(GOOD)
        assert monitor.total(naming.PREDICTIONS) == 3
        assert by_label(monitor, naming.DROPPED_ROWS, "reason") == {"unreadable": 3}
    assert len([r for r in caplog.records if "barograph could not" in r.message]) == 1


def test_many_threads_lose_nothing(monitor):
    def work():
        for _ in range(2_000):
            monitor.record(GOOD, score=0.2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        monitor.flush()
    for thread in threads:
        thread.join()
    assert monitor.total(naming.PREDICTIONS) == 8_000


class Model:
    """A classifier: the score is x / 20."""

    classes_ = np.array([False, True])

    def predict_proba(self, rows):
        x = np.array([row["x"] for row in rows]) if isinstance(rows, list) else np.asarray(rows["x"])
        return np.column_stack([1 - x / 20, x / 20])

    def predict(self, rows):
        return self.predict_proba(rows)[:, 1] >= 0.5

    async def later(self, rows):
        return self.predict(rows)


ROWS = [{"x": 4.0, "k": 1, "c": "a"}, {"x": 16.0, "k": 2, "c": "b"}]


def test_a_watched_model_records_itself_and_stays_itself(monitor):
    model = monitor.watch(Model())
    assert model.predict_proba(ROWS).tolist() == Model().predict_proba(ROWS).tolist()
    assert model.classes_.tolist() == [False, True]
    assert monitor.total(naming.PREDICTIONS) == 2
    expected = REFERENCE.profile({"x": [4.0, 16.0], "k": [1, 2], "c": ["a", "b"], "p": [0.2, 0.8]})
    assert counts(monitor).tolist() == expected.counts.tolist()


def test_predict_after_predict_proba_on_the_same_rows_completes_them(monitor):
    model = monitor.watch(Model())
    with monitor.request(id="r"):
        model.predict_proba(ROWS)
        model.predict(ROWS)
    assert monitor.total(naming.PREDICTIONS) == 2
    with monitor.request():
        model.predict(ROWS[:1])
        model.predict(ROWS[1:])
    assert monitor.total(naming.PREDICTIONS) == 4


def test_nested_calls_count_once(monitor):
    inner = monitor.watch(Model())

    class Outer:
        def predict(self, rows):
            return inner.predict(rows)

    monitor.watch(Outer()).predict(ROWS)
    assert monitor.total(naming.PREDICTIONS) == 2


def test_a_watched_error_is_counted_and_raised(monitor):
    class Broken:
        def predict(self, rows):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        monitor.watch(Broken()).predict(ROWS)
    assert by_label(monitor, naming.ERRORS, "error") == {"ZeroDivisionError": 1}
    assert monitor.total(naming.PREDICTIONS) == 0


def test_an_awaited_answer_is_recorded_when_it_comes(monitor):
    class Later:
        async def predict(self, rows):
            await asyncio.sleep(0)
            return np.array([True, False])

    assert asyncio.run(monitor.watch(Later()).predict(ROWS)).tolist() == [True, False]
    assert monitor.total(naming.PREDICTIONS) == 2


def test_stages_and_requests_are_timed(monitor):
    with monitor.request(), monitor.stage("feature_store"):
        monitor.watch(Model()).predict(ROWS)
    stages = {
        s.label("stage"): int(v.counts.sum())
        for s, v in monitor.snapshot().series.items()
        if s.metric == naming.DURATION.name
    }
    assert stages == {"total": 1, "predict": 1, "feature_store": 1}


def test_business_events_are_counted_and_their_names_bounded(monitor):
    monitor.business("order", 3)
    for i in range(200):
        monitor.business(f"e{i}")
    found = by_label(monitor, naming.BUSINESS, "event")
    assert found["order"] == 3 and len(found) <= 51 and sum(found.values()) == 203


def test_rejecting_raises_before_the_model_sees_the_rows(monitor):
    monitor.reject = True
    model = monitor.watch(Model())
    with pytest.raises(SchemaViolation, match="outside"):
        model.predict([{"x": 1e9, "k": 1, "c": "a"}])
    with pytest.raises(SchemaViolation):
        monitor.record({"x": 1e9, "k": 1, "c": "a"})
    model.predict(ROWS)
    assert monitor.total(naming.PREDICTIONS) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "model: ''"),
        ({"artifact": "gone.bin"}, "artifact: cannot read 'gone.bin'"),
        ({"reference": "gone.json"}, "cannot read 'gone.json'"),
    ],
)
def test_wrong_use_is_an_error_at_the_start(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Monitor(**{"model": "m", "directory": tmp_path, **options})


def test_two_references_under_one_name_are_never_added(tmp_path):
    other = Reference.fit({"x": [1.0, 2.0, 3.0]}, task="regression")
    with (
        Monitor("m", reference=REFERENCE, directory=tmp_path) as a,
        Monitor("m", reference=other, directory=tmp_path) as b,
    ):
        a.record(GOOD)
        b.record({"x": 2.0})
        b.flush()
        found = {
            s.label("bins"): int(v.counts.sum())
            for s, v in a.snapshot().series.items()
            if s.kind == "columns"
        }
        assert found == {REFERENCE.bins.id: len(REFERENCE.bins.columns), other.bins.id: 1}
        assert a.total(naming.PREDICTIONS) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_counts_for_itself_and_adds_up(tmp_path):
    with Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=60) as monitor:
        monitor.record(GOOD)
        child = os.fork()
        if child == 0:
            for _ in range(5):
                monitor.record(GOOD)
            monitor.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert monitor.total(naming.PREDICTIONS) == 6


def test_digests_follow_content(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"model")
    with Monitor(
        "m", artifact=tmp_path / "a.bin", config={"b": 1, "a": math.pi}, directory=tmp_path / "d"
    ) as monitor:
        info = next(s for s in monitor.snapshot().series if s.metric == naming.MODEL_INFO.name)
    with Monitor("m", artifact=b"model", config={"a": math.pi, "b": 1}, directory=tmp_path / "e") as monitor:
        again = next(s for s in monitor.snapshot().series if s.metric == naming.MODEL_INFO.name)
    assert info == again and len(info.label("digest")) == len(info.label("config")) == 16


def test_an_array_of_another_shape_is_rejected_as_a_violation(monitor):
    monitor.reject = True
    for rows in (np.zeros((4, 7)), [[1.0, 2]]):
        with pytest.raises(SchemaViolation) as caught:
            monitor.record(rows)
        assert [v.kind for v in caught.value.violations] == ["type"]
    assert by_label(monitor, naming.BAD_ROWS, "reason") == {"rejected": 5}


def test_a_score_without_features_is_not_checked(monitor):
    monitor.reject = True
    monitor.record(score=0.3)
    assert monitor.total(naming.PREDICTIONS) == 1


def test_what_is_rejected_is_counted_by_column_and_kind(monitor):
    monitor.reject = True
    with pytest.raises(SchemaViolation):
        monitor.record({"x": [1e9, 1e9, 10.0], "c": ["a", "a", "zebra"]})
    found = {(s.label("column"), s.label("kind")): int(v.counts[0]) for s, v in monitor.snapshot().series.items() if s.metric == naming.VIOLATIONS.name and v.counts[0]}  # fmt: skip
    assert found == {("x", "range"): 2, ("c", "category"): 1, ("k", "missing_column"): 3}
    assert by_label(monitor, naming.BAD_ROWS, "reason") == {"rejected": 3}


@pytest.mark.parametrize("n", [0, -1, 1.5, "3", True])
def test_a_number_of_events_that_is_none_is_refused(tmp_path, n):
    with Monitor("m", directory=tmp_path, flush_interval=60) as monitor:
        monitor.business("order", n)
        assert by_label(monitor, naming.BUSINESS, "event") == {}
        assert by_label(monitor, naming.BAD_ROWS, "reason") == {"failed": 1}


def test_a_closed_monitor_holds_and_counts_nothing(tmp_path):
    monitor = Monitor("m", directory=tmp_path)
    monitor.close()
    for _ in range(10):
        monitor.record({"x": 1.0})
        monitor.record([[1.0]])
        monitor.business("order")
    monitor.flush()
    assert not monitor._rows and not monitor._observed and not monitor._dropped


def test_threads_that_drop_lose_no_count(tmp_path):
    with Monitor("m", directory=tmp_path, buffer_rows=1, flush_interval=60) as monitor:
        threads = [
            threading.Thread(target=lambda: [monitor.record({"x": 1.0}) for _ in range(3_000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert by_label(monitor, naming.DROPPED_ROWS, "reason") == {"buffer_full": 11_999}


def test_strict_tells_the_caller_of_the_flushers_first_error_and_goes_on(tmp_path):
    with Monitor("m", directory=tmp_path, strict=True, flush_interval=0.01) as monitor:
        real = monitor._write_counted
        monitor._write_counted = lambda: 1 / 0
        deadline = time.monotonic() + 5
        while monitor._error is None and time.monotonic() < deadline:
            time.sleep(0.01)
        monitor._write_counted = real
        with pytest.raises(ZeroDivisionError):
            monitor.flush()
        monitor.record({"x": 1.0})
        assert monitor.total(naming.PREDICTIONS) == 1
        assert monitor._flusher._thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_of_multiprocessing_that_ends_leaves_nothing_uncounted(tmp_path):
    context = multiprocessing.get_context("fork")
    with Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=60) as monitor:
        process = context.Process(target=lambda: [monitor.record(GOOD) for _ in range(7)])
        process.start()
        process.join()
        assert process.exitcode == 0
        assert monitor.total(naming.PREDICTIONS) == 7


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"clock": 5}, TypeError, "clock: 5"),
        ({"reference": 5}, TypeError, "reference: int"),
        ({"buffer_rows": 0}, ValueError, "buffer_rows: 0"),
        ({"flush_interval": 0}, ValueError, "flush_interval: 0"),
        ({"flush_interval": math.nan}, ValueError, "flush_interval: nan"),
    ],
)
def test_an_option_of_a_wrong_kind_is_refused_with_the_remedy(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        Monitor("m", directory=tmp_path, **options)


def test_a_batch_is_bounded_by_its_rows_and_what_does_not_fit_is_counted(tmp_path):
    with Monitor(
        "m", reference=REFERENCE, directory=tmp_path, flush_interval=1_000, buffer_rows=1_000
    ) as monitor:
        batch = {"x": np.zeros(700), "c": ["a"] * 700}
        monitor.record(batch, score=np.full(700, 0.5))
        monitor.record(batch, score=np.full(700, 0.5))  # 1,400 rows wait: too many
        assert monitor.total(naming.PREDICTIONS) == 700
        assert monitor.total(naming.DROPPED_ROWS, reason="buffer_full") == 700
        monitor.record({"x": np.zeros(5_000), "c": ["a"] * 5_000})  # nothing waits: it is taken
        assert monitor.total(naming.PREDICTIONS) == 5_700


def test_how_full_the_buffer_was_is_shown(tmp_path):
    with Monitor(
        "m", reference=REFERENCE, directory=tmp_path, flush_interval=1_000, buffer_rows=1_000
    ) as monitor:
        for _ in range(250):
            monitor.record(dict(ROWS[0]), score=0.5)
        assert b'ml_monitor_buffer_ratio{model="m",version="0"} 0.25' in monitor.render()
        assert b'ml_monitor_buffer_ratio{model="m",version="0"} 0' in monitor.render()
