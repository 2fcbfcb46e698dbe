"""Watched models: they answer as the bare model does, and every row they answer is counted once."""

import asyncio
import copy
import pickle
import threading
import time
from collections import UserDict, namedtuple
from contextvars import copy_context

import numpy as np
import pytest

from barograph import Monitor, Reference, SchemaViolation, naming
from barograph.request import Ids, Pending, same
from barograph.watch import named, own

RNG = np.random.default_rng(0)
REFERENCE = Reference.fit(
    {"x": RNG.normal(10, 2, 500), "k": RNG.normal(1000, 10, 500), "p": RNG.beta(2, 5, 500)},
    task="binary",
    score="p",
    threshold=0.5,
)
CLASSES = Reference.fit(
    {"x": RNG.normal(10, 2, 500), "y": RNG.choice(["a", "b", "c"], 500).tolist()},
    task="multiclass",
    prediction="y",
)
ROWS = [{"x": 10.0, "k": 1000.0}, {"x": 11.0, "k": 1001.0}]


@pytest.fixture
def monitor(tmp_path):
    with Monitor(
        "m", version="1", reference=REFERENCE, directory=tmp_path, strict=True, flush_interval=60
    ) as m:
        yield m


class Model:
    def predict(self, rows):
        time.sleep(0.002)
        return np.zeros(len(rows), dtype=bool)

    def predict_proba(self, rows):
        return np.full((len(rows), 2), 0.5)


class Three:
    classes_ = np.array(["a", "b", "c"])

    def predict_proba(self, rows):
        return np.tile([0.2, 0.5, 0.3], (len(rows), 1))

    def predict(self, rows):
        return np.array(["c"] * len(rows))


def column(monitor, name):
    """Counts of one column."""
    counts = next(v.counts for s, v in monitor.snapshot().series.items() if s.kind == "columns")
    return counts[monitor.bins.slice(name)]


def stages(monitor):
    return {
        s.label("stage"): (int(v.counts.sum()), float(v.sums[0]))
        for s, v in monitor.snapshot().series.items()
        if s.metric == naming.DURATION.name
    }


def test_parallel_predicts_of_one_request_are_all_counted(monitor):
    model = monitor.watch(Model())

    async def many():
        with monitor.request():
            await asyncio.gather(*(asyncio.to_thread(model.predict, ROWS) for _ in range(40)))

    asyncio.run(many())
    assert monitor.total(naming.PREDICTIONS) == 80


def test_predicts_on_threads_with_a_copied_context_are_all_counted(monitor):
    model = monitor.watch(Model())
    with monitor.request():
        threads = [threading.Thread(target=copy_context().run, args=(model.predict, ROWS)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert monitor.total(naming.PREDICTIONS) == 40


def test_an_answer_after_the_requests_end_is_recorded_at_once(monitor):
    model = monitor.watch(Model())
    with monitor.request() as request:
        context = copy_context()
    context.run(model.predict, ROWS)
    assert request.closed and monitor.total(naming.PREDICTIONS) == 2


def test_predict_replaces_the_prediction_that_followed_from_predict_proba(tmp_path):
    with Monitor("m", reference=CLASSES, directory=tmp_path, strict=True) as monitor:
        model = monitor.watch(Three())
        with monitor.request():
            model.predict_proba([{"x": 10.0}])
            model.predict([{"x": 10.0}])
        assert monitor.total(naming.PREDICTIONS) == 1
        bins = monitor.bins.columns["prediction"]
        assert column(monitor, "prediction")[bins.index(["c"])[0]] == 1


def test_a_frame_that_is_built_twice_is_completed_and_not_counted_twice(monitor):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": [10.0, np.nan], "k": [1000.0, 1001.0], "else": [1, 2]})
    model = monitor.watch(Model())
    with monitor.request():
        model.predict_proba(frame[["x", "k"]])
        model.predict(frame[["x", "k"]])
    assert monitor.total(naming.PREDICTIONS) == 2


def test_same_compares_missing_values_and_never_raises():
    class Rude:
        def __len__(self):
            raise RuntimeError

    assert same(np.array([[1.0, np.nan]]), np.array([[1.0, np.nan]]))
    assert same([{"x": 1}], [{"x": 1}]) and not same([{"x": 1}], [{"x": 2}])
    assert not same({"x": np.array([1, 2])}, {"x": np.array([1, 2])})  # cannot be told: counted as others
    assert not same(Rude(), Rude())


def test_a_buffer_that_is_used_again_keeps_what_each_call_was_given(monitor):
    model = monitor.watch(Model())
    rows = np.array([[10.0, 1000.0]])
    with monitor.request():
        model.predict(rows)
        rows[:] = 1e12
        model.predict(rows)
    assert monitor.total(naming.PREDICTIONS) == 2
    assert column(monitor, "x")[monitor.bins.columns["x"].outside].sum() == 1


def frame_of(values, **options):
    return pytest.importorskip("pandas").DataFrame(values, **options)


def set_all(batch):
    for name in ("x", "k"):
        batch[name] = 1e12


def changing_frame():
    return pytest.importorskip("polars").DataFrame({"x": [10.0], "k": [1000.0]})


def use_frame_again(frame):
    frame[0, "x"] = 1e12
    frame.drop_in_place("k")


BUFFERS = {
    "a frame of Polars": (changing_frame, use_frame_again),
    "a list of dicts": (lambda: [{"x": 10.0, "k": 1000.0}], lambda b: set_all(b[0])),
    "a tuple of dicts": (lambda: ({"x": 10.0, "k": 1000.0},), lambda b: set_all(b[0])),
    "a list of lists": (lambda: [[10.0, 1000.0]], lambda b: b[0].__setitem__(slice(None), [1e12, 1e12])),
    "a list of arrays": (lambda: [np.array([10.0, 1000.0])], lambda b: b[0].fill(1e12)),
    "an array": (lambda: np.array([[10.0, 1000.0]]), lambda b: b.fill(1e12)),
    "a record of an array": (
        lambda: np.array([(10.0, 1000.0)], dtype=[("x", float), ("k", float)])[0],
        set_all,
    ),
    "a dict of lists": (lambda: {"x": [10.0], "k": [1000.0]}, lambda b: [v.__setitem__(0, 1e12) for v in b.values()]),
    "a dict of arrays": (lambda: {"x": np.array([10.0]), "k": np.array([1000.0])}, lambda b: [v.fill(1e12) for v in b.values()]),
    "a tuple, then an array": (lambda: {"k": (1000.0,), "x": np.array([10.0])}, lambda b: b["x"].fill(1e12)),
    "a user's mapping": (lambda: UserDict(x=np.array([10.0]), k=np.array([1000.0])), lambda b: [v.fill(1e12) for v in b.values()]),
    "a frame": (lambda: frame_of({"x": [10.0], "k": [1000.0]}), set_all),
    "a list of series": (lambda: [frame_of({"x": [10.0], "k": [1000.0]}).iloc[0].copy()], lambda b: set_all(b[0])),
    "a row": (lambda: {"x": 10.0, "k": 1000.0}, set_all),
}  # fmt: skip


def test_rows_that_the_model_changes_are_recorded_as_it_was_given_them(monitor):
    class Scaling:
        def predict(self, rows):
            rows *= 1e12
            return [False] * len(rows)

    monitor.watch(Scaling()).predict(np.array([[10.0, 1000.0]]))
    assert column(monitor, "x")[monitor.bins.columns["x"].outside].sum() == 0


def test_rows_that_cannot_be_copied_reach_the_model_and_are_recorded(tmp_path):
    class Single(list):
        def copy(self):
            raise RuntimeError("there is one of it")

    with Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=60) as monitor:
        assert len(monitor.watch(Model()).predict(Single(ROWS))) == 2
        assert monitor.total(naming.PREDICTIONS) == 2
        assert monitor.total(naming.BAD_ROWS, reason="failed") == 1


def test_what_is_masked_is_missing():
    masked = np.ma.masked_array([10.0, 1e12], [False, True])
    assert own({"x": masked, "k": np.zeros(2)})["x"] == [10.0, None]


@pytest.mark.parametrize("strict", [True, False])  # strict rows take a path of their own
@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_of_any_make_are_copied_where_the_rows_live(tmp_path, name, strict):
    monitor = Monitor("m", reference=REFERENCE, directory=tmp_path, strict=strict, flush_interval=60)
    make, use_again = BUFFERS[name]
    batch = make()
    monitor.record(batch, score=[0.5] if "row" not in name and "record" not in name else 0.5)
    use_again(batch)
    assert monitor.total(naming.PREDICTIONS) == 1
    for column_name in ("x", "k"):
        counts = column(monitor, column_name)
        bins = monitor.bins.columns[column_name]
        assert counts[: bins.values][~bins.outside[: bins.values]].sum() == 1, column_name
    monitor.close()


def test_a_named_tuple_stays_a_row_that_knows_its_names():
    row = namedtuple("row", "k x")(1000.0, 10.0)
    assert own(row) is row


def test_an_asynchronous_model_is_timed_and_in_progress_while_it_is_awaited(monitor):
    seen = []

    class Later:
        async def predict(self, rows):
            await asyncio.sleep(0.05)
            progress = [
                v.sums[0] for s, v in monitor.snapshot().series.items() if s.metric == naming.IN_PROGRESS.name
            ]
            seen.extend(progress)
            return [True] * len(rows)

    asyncio.run(monitor.watch(Later()).predict(ROWS))
    found = stages(monitor)
    assert seen == [1.0]
    assert found["predict"][0] == found["total"][0] == 1
    assert found["predict"][1] >= 0.045 and found["total"][1] >= 0.045


def test_an_error_of_an_asynchronous_model_is_counted_and_raised(monitor):
    class Later:
        async def predict(self, rows):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(monitor.watch(Later()).predict(ROWS))
    assert monitor.total(naming.ERRORS, error="ZeroDivisionError") == 1
    assert monitor.total(naming.PREDICTIONS) == 0


def test_an_asynchronous_model_that_calls_a_watched_one_counts_once(monitor):
    inner = monitor.watch(Model())

    class Outer:
        async def predict(self, rows):
            await asyncio.sleep(0)
            return inner.predict(rows)

    async def both():
        with monitor.request():
            outer = monitor.watch(Outer())
            await asyncio.gather(outer.predict(ROWS), outer.predict(ROWS))

    asyncio.run(both())
    assert monitor.total(naming.PREDICTIONS) == 4


@pytest.mark.parametrize("keyword", ["X", "x", "data"])
def test_features_by_keyword_are_handed_on_and_recorded(monitor, keyword):
    scope: dict = {}
    exec(
        f"class Named:\n    def predict(self, {keyword}, flag=None):\n        return [True] * len({keyword})",
        scope,
    )
    model = monitor.watch(scope["Named"]())
    assert model.predict(**{keyword: ROWS}, flag=1) == [True, True]
    assert column(monitor, "x")[monitor.bins.columns["x"].missing] == 0
    assert monitor.total(naming.PREDICTIONS) == 2


def test_a_watched_model_has_only_what_the_model_has(monitor):
    class Bare:
        score = 3

    bare, many = monitor.watch(Bare()), monitor.watch(["a", "b"])
    assert bare.score == 3 and not callable(bare) and bool(bare)
    assert not hasattr(bare, "predict") and not hasattr(bare, "predict_proba")
    assert list(many) == ["a", "b"] and len(many) == 2 and many[1] == "b"
    with pytest.raises(TypeError):
        len(bare)


def test_attributes_are_set_on_the_model_itself(monitor):
    model = Model()
    watched = monitor.watch(model)
    watched.threshold = 0.7
    assert model.threshold == watched.threshold == 0.7 and repr(watched) == repr(model)
    del watched.threshold
    assert not hasattr(model, "threshold") and not hasattr(watched, "threshold")


def test_a_callable_model_is_called(monitor):
    assert monitor.watch(lambda rows: [1.0] * len(rows))(ROWS) == [1.0, 1.0]
    assert monitor.total(naming.PREDICTIONS) == 2


def test_a_copy_is_watched_and_a_pickle_is_refused_with_the_remedy(monitor):
    model = monitor.watch(Model())
    for again in (copy.copy(model), copy.deepcopy(model)):
        again.predict(ROWS)
    assert monitor.total(naming.PREDICTIONS) == 4
    with pytest.raises(TypeError, match="pickle the bare model"):
        pickle.dumps(model)


class Ordered(Model):
    feature_names_in_ = np.array(["k", "x"], dtype=object)
    n_features_in_ = 2


def test_columns_of_an_array_have_the_models_order(monitor):
    monitor.watch(Ordered()).predict(np.array([[1000.0, 10.0], [1001.0, 11.0]]))
    for name in ("x", "k"):
        assert column(monitor, name)[monitor.bins.columns[name].outside].sum() == 0


def test_an_array_of_another_width_is_left_unnamed():
    assert named(np.zeros((1, 3)), ("a", "b")).shape == (1, 3)
    assert named(ROWS, ("a", "b")) is ROWS


def test_a_model_of_other_features_is_refused_at_the_start(monitor):
    class Other(Model):
        feature_names_in_ = np.array(["x", "z"])

    class Wide(Model):
        n_features_in_ = 3

    with pytest.raises(ValueError, match=r"\['x', 'z'\].*\['k', 'x'\]"):
        monitor.watch(Other())
    with pytest.raises(ValueError, match="3 features.*2"):
        monitor.watch(Wide())
    monitor.watch(Ordered())


def test_rows_are_counted_without_an_answer_where_it_cannot_be_read(tmp_path):
    class Odd:
        def predict_proba(self, rows):
            return [[0.1], [0.2, 0.3]]  # ragged

    with Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=60) as monitor:
        monitor.watch(Odd()).predict_proba(ROWS)
        assert monitor.total(naming.PREDICTIONS) == monitor.total(naming.EMPTY) == 2
        assert monitor.total(naming.BAD_ROWS, reason="failed") == 1


def test_rejected_arrays_are_read_in_the_models_order(monitor):
    monitor.reject = True
    model = monitor.watch(Ordered())
    model.predict(np.array([[1000.0, 10.0]]))
    with pytest.raises(SchemaViolation):
        model.predict(np.array([[10.0, 1000.0]]))
    assert monitor.total(naming.ERRORS) == 0


def test_ids_of_a_million_rows_are_not_made_until_they_are_read():
    ids = Ids("r", 5, 1_000_000)
    assert len(ids) == 1_000_000 and next(iter(ids)) == "r/5"
    assert not Pending([1], prediction=[1]).completes(Pending([1], prediction=[1]))
