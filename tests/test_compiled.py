"""What is compiled counts the same as what it stands for, refuses what is not plain, and is not needed."""

import gc
import os
import subprocess
import sys
import sysconfig
import threading
import weakref
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph import Monitor, Reference, compiled, naming
from barograph.bins import NumericBins
from barograph.layout import Layout
from barograph.lookup import Lookup, add
from barograph.rows import RowCounter

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(0)
FRAME = {
    "x": RNG.normal(0, 1, 2_000),
    "n": RNG.integers(0, 9, 2_000),
    "c": RNG.choice(["a", "b", "7"], 2_000).tolist(),
    "p": RNG.uniform(size=2_000),
}
REFERENCE = Reference.fit(FRAME, task="binary", score="p", threshold=0.5)
GOOD = {"x": 0.5, "n": 3, "c": "a"}
needs_compiler = pytest.mark.skipif(not compiled.available(), reason="nothing was compiled here")

numbers = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.none(), st.sampled_from(["1", 2**80, 10**400, np.float64(0.1), np.int64(4)])
)  # fmt: skip
categories = st.one_of(
    st.sampled_from(["a", "b", "7", "never seen", "", "x" * 200, 7, 7.0, 0, 1, True, None, b"a", np.str_("a")]),
    st.text(max_size=3),
)  # fmt: skip
plain_rows = st.fixed_dictionaries({"x": numbers, "n": numbers, "c": categories})
odd_rows = st.one_of(
    st.dictionaries(st.sampled_from(["x", "n", "c", "z"]), numbers), st.none(), st.just([0.5, 3, "a"])
)
answers = st.sampled_from([None, 0.2, 0.9, 1, True, "", "a", float("nan")])


def layout():
    return Layout(REFERENCE.bins, REFERENCE.schema, REFERENCE.counter, "binary", 0.5)


def rest(answer, prediction):
    return (answer, prediction, None, None, None, None, None)


@needs_compiler
@settings(deadline=None)
@given(st.lists(st.tuples(st.one_of(plain_rows, odd_rows), answers, answers), min_size=1, max_size=40))
def test_packed_rows_count_as_rows_do(rows):
    plan = layout()
    packer, packed, slow = plan.packer(1_000), RowCounter(plan), RowCounter(layout())
    for features, score, prediction in rows:
        if not packer.append(features, *rest(score, prediction)):
            packed.add([(features, *rest(score, prediction), None)], 0.0)
        slow.add([(features, *rest(score, prediction), None)], 0.0)
    packed.add_packed(packer.drain())
    one, other = packed.take(), slow.take()
    assert one.rows == other.rows == len(rows) and one.empty == other.empty
    for a, b in ((one.counts, other.counts), (one.sums, other.sums)):
        assert (a is None) == (b is None)
    if one.counts is not None:
        assert np.array_equal(one.counts, other.counts)
        assert np.allclose(one.sums, other.sums, rtol=1e-12, atol=0)
    assert (one.grid, one.bad, one.missing_columns, one.extra_columns) == (
        other.grid,
        other.bad,
        other.missing_columns,
        other.extra_columns,
    )


@needs_compiler
@pytest.mark.parametrize(
    "features",
    [
        {**GOOD, "x": "1"}, {**GOOD, "x": 10**400}, {**GOOD, "x": 1j}, {**GOOD, "c": "never seen"},
        {**GOOD, "c": ["a"]}, {**GOOD, "z": 1}, {"x": 1.0, "n": 1, "z": "a"}, {"x": 1.0, "n": 1}, {}, None, [1.0, 2, "a"],
        {"x": 1.0, "n": 1, 7: "a"},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_is_not_plain_is_refused_and_leaves_nothing(features):
    packer = layout().packer(10)
    assert not packer.append(features, *rest(0.5, True)) and len(packer) == 0
    assert packer.append(GOOD, *rest(0.5, True)) and len(packer) == 1
    assert np.frombuffer(packer.drain().numbers).tolist() == [0.5, 3.0]


@needs_compiler
@pytest.mark.parametrize("field", range(2, 7))
def test_a_row_with_a_time_an_id_segments_or_an_override_is_refused(field):
    fields = list(rest(0.5, True))
    fields[field] = "given"
    assert not layout().packer(10).append(GOOD, *fields)


@needs_compiler
@pytest.mark.parametrize("answer", [[1], {"a": 1}, (1,), np.array([0.5]), np.array(0.5)], ids=repr)
def test_an_answer_that_may_change_before_it_is_counted_is_refused(answer):
    packer = layout().packer(10)
    assert not packer.append(GOOD, *rest(answer, None)) and not packer.append(GOOD, *rest(0.5, answer))
    assert packer.append(GOOD, *rest(np.float32(0.5), np.int64(1))) and len(packer) == 1


@needs_compiler
def test_the_integers_0_and_1_are_categories_and_not_booleans():
    frame = {"k": ["0", "1", "2"] * 100 + ["False"] * 9}
    reference = Reference.fit(frame, task="binary")
    bins = reference.bins.columns["k"]
    plan = Layout(reference.bins, reference.schema, reference.counter, "binary", None)
    packer, counter = plan.packer(100), RowCounter(plan)
    for value in (0, 1, 1, "1", False, True, -1):
        if not packer.append({"k": value}, *rest(None, 1)):
            assert value not in (0, 1) or type(value) is bool
            counter.add([({"k": value}, *rest(None, 1), None)], 0.0)
    counter.add_packed(packer.drain())
    found = counter.take().counts[reference.bins.slice("k")]
    assert {name: int(n) for name, n in zip(bins.labels(), found, strict=True) if n} == {
        "0": 1, "1": 3, "False": 1, "other": 2,
    }  # fmt: skip


@needs_compiler
def test_columns_may_come_in_any_order_and_under_equal_names():
    packer = layout().packer(10)
    packer.append(GOOD, *rest(0.1, False))
    packer.append({"c": "b", "x": 1.5, "n": 4}, *rest(0.2, True))
    packer.append({"".join(["", name]): value for name, value in GOOD.items()}, *rest(0.3, True))
    found = packer.drain()
    assert np.frombuffer(found.numbers).tolist() == [0.5, 3.0, 1.5, 4.0, 0.5, 3.0]
    assert found.scores == [0.1, 0.2, 0.3] and found.predictions == [False, True, True]


@needs_compiler
def test_a_full_packer_refuses_and_goes_on_after_a_drain():
    packer = layout().packer(300)
    assert [packer.append(GOOD, *rest(0.5, True)) for _ in range(301)] == [True] * 300 + [False]
    assert packer.drain().rows == 300 and packer.drain() == compiled.NOTHING
    assert packer.append(GOOD, *rest(0.5, True))


@needs_compiler
def test_a_category_that_is_seen_again_and_again_is_taken_from_then_on():
    plan = layout()
    packer, counter = plan.packer(10), RowCounter(plan)
    assert not packer.append({**GOOD, "c": "new"}, *rest(0.5, True))
    counter.add([({**GOOD, "c": "new"}, *rest(0.5, True), None)], 0.0)
    assert packer.append({**GOOD, "c": "new"}, *rest(0.5, True))
    counter.add_packed(packer.drain())
    found = counter.take().counts[REFERENCE.bins.slice("c")]
    assert found[REFERENCE.bins.columns["c"].unseen] == 2


@needs_compiler
def test_answers_are_let_go_with_the_packer_even_in_a_circle():
    class Answer:
        pass

    answer = Answer()
    packer = layout().packer(10)
    answer.packer = packer
    gone = weakref.ref(answer)
    packer.append(GOOD, *rest(answer, None))
    del answer, packer
    gc.collect()
    assert gone() is None


@needs_compiler
def test_rows_are_counted_once_while_threads_record_and_flush(tmp_path):
    with Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=0.01) as monitor:

        def record():
            for i in range(5_000):
                monitor.record({"x": i / 1_000, "n": i % 9, "c": "ab"[i % 2]}, score=0.5)

        threads = [threading.Thread(target=record) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert monitor.total(naming.PREDICTIONS) == 20_000
        (counts,) = (
            v.counts for s, v in monitor.snapshot().series.items() if s.metric == naming.COLUMN_VALUES.name
        )
        assert counts[REFERENCE.bins.slice("x")].sum() == 20_000


def test_a_rejecting_and_a_strict_monitor_look_at_each_row_first(tmp_path):
    with Monitor("m", reference=REFERENCE, directory=tmp_path / "a", strict=True) as monitor:
        monitor.record(GOOD, score=0.5)
        monitor._error = ValueError("kept")  # of the flusher's thread
        with pytest.raises(ValueError, match="kept"):
            monitor.record(GOOD, score=0.5)
    with Monitor("m", reference=REFERENCE, directory=tmp_path / "b") as monitor:
        monitor.reject = True
        with pytest.raises(ValueError, match="z"):
            monitor.record({**GOOD, "z": 1}, score=0.5)
        monitor.reject = False
        monitor.record({**GOOD, "z": 1}, score=0.5)


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40, unique=True),
    st.lists(st.floats(), max_size=50),
    st.integers(1, 3),
)
def test_counting_equals_binary_search_at_every_edge(cuts, values, step):
    edges = np.unique(np.array(cuts) + 0.0)
    with np.errstate(over="ignore"):
        beside = [np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)]
    near = np.concatenate([edges, *beside, [-0.0, np.inf, -np.inf, np.nan]])
    x = np.concatenate([near, np.array(values, dtype=float)])
    with np.errstate(over="ignore"):
        centre = float(np.median(edges)) if np.isfinite(np.median(edges)) else 0.0
    bins = NumericBins(edges, low=edges[0], high=edges[-1])
    lookup = Lookup.build([bins], [centre])
    counts, sums = np.zeros(bins.size, dtype=np.int64), np.zeros(bins.size)
    with np.errstate(over="ignore", invalid="ignore"):
        lookup.count(0, x, counts, sums, first=1, step=step)
        expected, added = np.zeros_like(counts), np.zeros_like(sums)
        add(bins.index(x[1::step]), x[1::step], expected, added)
    assert np.array_equal(counts, expected)
    assert np.allclose(sums, added, rtol=1e-12, atol=0, equal_nan=True)


@needs_compiler
def test_arrays_that_do_not_fit_are_refused():
    edges, table = np.array([0.0]), np.zeros(1 << 4, dtype=np.uint8)
    counts, sums, x = np.zeros(4, dtype=np.int64), np.zeros(4), np.zeros(3)
    compiled.count(x, 0, 1, table, 4, 0.0, edges, counts, sums)
    for wrong in (
        (x.astype(np.float32), 0, 1, table, 4, 0.0, edges, counts, sums),
        (x, 0, 0, table, 4, 0.0, edges, counts, sums),
        (x, -1, 1, table, 4, 0.0, edges, counts, sums),
        (x, 0, 1, table, 5, 0.0, edges, counts, sums),
        (x, 0, 1, table, 4, 0.0, edges, counts[:3].copy(), sums),
        (x, 0, 1, table, 4, 0.0, edges, counts, sums[:3].copy()),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            compiled.count(*wrong)


@needs_compiler
@given(st.lists(st.integers(0, 5)), st.sampled_from([1, -1]))
def test_a_tally_adds_as_often_as_a_place_is_named(places, sign):
    counts = np.arange(6)
    compiled.tally(counts, np.array(places, dtype=np.int64), sign)
    assert np.array_equal(counts, np.arange(6) + sign * np.bincount(np.array(places, dtype=int), minlength=6))


@needs_compiler
@pytest.mark.parametrize("place", [-1, 6, 2**62])
def test_a_tally_refuses_a_place_that_is_none(place):
    with pytest.raises(ValueError, match="do not fit"):
        compiled.tally(np.zeros(6, dtype=np.int64), np.array([0, place]), 1)
    with pytest.raises(ValueError, match="do not fit"):
        compiled.tally(np.zeros(6, dtype=np.int64), np.array([0], dtype=np.int32), 1)


def test_everything_works_without_it():
    code = (
        "import tempfile; from barograph import Monitor, Reference, compiled, naming;"
        "import numpy as np; assert not compiled.available();"
        "x = np.random.default_rng(0).normal(size=500); r = Reference.fit({'x': x, 'c': ['a', 'b'] * 250}, task='binary');"
        "m = Monitor('m', reference=r, directory=tempfile.mkdtemp());"
        "[m.record({'x': float(v), 'c': 'a'}, score=0.5) for v in x]; assert m.total(naming.PREDICTIONS) == 500"
    )
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, naming.PURE_VARIABLE: "1"}, check=True, timeout=60
    )


@needs_compiler
def test_the_wheel_holds_the_compiled_module_for_its_platform_and_no_source_of_it(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert "barograph/_compiled.abi3.so" in names and not [n for n in names if n.endswith(".c")]
    assert "barograph/console/static/index.html" in names


def test_the_wheel_is_pure_python_where_there_is_no_compiler(tmp_path):
    if os.name != "posix" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("it is pure Python here anyway")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    without = {**os.environ, "CC": "no-such-compiler"}
    done = subprocess.run(
        command, cwd=ROOT, env=without, check=True, capture_output=True, text=True, timeout=120
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl") and "pure Python" in done.stderr
    assert not [n for n in zipfile.ZipFile(wheel).namelist() if n.endswith(".so")]
