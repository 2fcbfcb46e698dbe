"""Rows into counts: whatever a model is given or answers, good values are counted once, and in their own bins."""

import dataclasses
import datetime as dt
from collections import namedtuple

import numpy as np
import pytest

from barograph import Reference
from barograph.profile import Counter
from barograph.rows import Layout, Row, RowCounter

NOW = 1_381_752_000.0
RNG = np.random.default_rng(0)
FRAME = {"y": RNG.normal(100, 5, 2_000), "x": RNG.normal(0, 1, 2_000), "c": RNG.choice(["a", "b"], 2_000).tolist(), "p": RNG.uniform(size=2_000)}  # fmt: skip
REFERENCE = Reference.fit(FRAME, task="binary", score="p", threshold=0.5)
LAYOUT = Layout(REFERENCE.bins, REFERENCE.schema, REFERENCE.counter, "binary", 0.5)
GOOD = {"y": 100.0, "x": 0.1, "c": "a"}
Named = namedtuple("Named", "x c y")


@dataclasses.dataclass
class Record:
    c: str
    y: float
    x: float


class Tensor:
    """A number that is none when asked, as a tensor of several elements."""

    def __float__(self):
        raise RuntimeError("only one element tensors can be converted")


def row(features, score=None, prediction=None, time=None):
    return Row(features, score, prediction, None, time, None, None, None, None)


def counted(*rows):
    counter = RowCounter(LAYOUT)
    counter.add(list(rows), NOW)
    return counter.take()


def column(found, name):
    return found.counts[REFERENCE.bins.slice(name)]


@pytest.mark.parametrize(
    "odd", [np.array(2), np.array([1, 2]), Tensor(), object(), [], {}, 1j, np.ones((2, 2))]
)
def test_an_odd_answer_stops_nothing_and_costs_no_feature(odd):
    counter = RowCounter(LAYOUT)
    counter.add([row(GOOD, 0.3, 1), row(GOOD, odd, odd), row(GOOD, 0.3, 0)], NOW)
    first = counter.take()
    assert first.rows == 3 and column(first, "x").sum() == 3
    counter.add([row(GOOD, 0.3)], NOW)
    again = counter.take()
    assert again.rows == 1 and again.error is None and column(again, "score").sum() == 1


@pytest.mark.parametrize(
    "odd",
    [Tensor(), 10**5000, "9" * 5000, object(), {1}, b"\xff", 1 + 2j],
    ids=lambda odd: type(odd).__name__,
)
def test_an_odd_value_is_one_value_and_its_neighbours_are_counted_once(odd):
    found = counted(*[row(GOOD)] * 10, row({**GOOD, "x": odd}), row({**GOOD, "c": odd}), *[row(GOOD)] * 10)
    assert found.rows == 22
    assert column(found, "x").sum() == column(found, "y").sum() == column(found, "c").sum() == 22
    assert column(found, "y")[REFERENCE.bins.columns["y"].index([100.0])[0]] == 22


class Unwritable:
    """A name that cannot be written."""

    def __str__(self):
        raise RuntimeError("no text")


class Unhashable:
    def __hash__(self):
        raise ValueError("no hash")


class TooLarge:
    """A number that is out of range, and has no sign."""

    def __float__(self):
        raise OverflowError


class Endless(list):
    def __len__(self):
        raise RuntimeError("no length")


def test_a_row_whose_rule_or_column_cannot_be_written_counts_once_like_its_neighbours():
    odd = [row(GOOD, 0.3, 1)._replace(rule=Unwritable()), row({**GOOD, Unwritable(): 1}, 0.3, 1)]
    found = counted(row(GOOD, 0.3), *odd, row(GOOD, 0.3))
    assert found.rows == 4 and not found.dropped and found.error is None
    assert {column(found, name).sum() for name in ("x", "y", "c", "score")} == {4}
    assert found.overridden == {"other": 1} and found.extra_columns == {"other": 1}


@pytest.mark.parametrize("odd", [TooLarge(), Unhashable(), Endless()], ids=lambda odd: type(odd).__name__)
def test_an_answer_that_raises_costs_no_other_answer(odd):
    found = counted(row(GOOD, 0.3, []), row(GOOD, odd, odd), row(GOOD, 0.3, 0))
    assert found.rows == 3 and found.error is None
    assert column(found, "score").sum() == 3
    assert column(found, "score")[REFERENCE.bins.columns["score"].invalid] == 1


@pytest.mark.parametrize("rows", [3, 1_000])
def test_a_value_that_raises_costs_its_batch_nothing_else(rows):
    batch = {"y": [100.0] * rows, "x": [0.1] * rows, "c": ["a"] * (rows - 1) + [Unhashable()]}
    found = counted(row(batch, [0.3] * rows))
    assert found.rows == rows and not found.dropped
    bins = REFERENCE.bins.columns["c"]
    assert (column(found, "c")[bins.slot("a")], column(found, "c")[bins.invalid]) == (rows - 1, 1)
    assert column(found, "x").sum() == column(found, "score").sum() == rows


@pytest.mark.parametrize("rows", [3, 1_000])
def test_a_missing_text_of_pandas_is_missing(rows):
    pd = pytest.importorskip("pandas")
    texts = pd.array(
        ["a"] * (rows - 1) + [None], dtype=pd.ArrowDtype(pytest.importorskip("pyarrow").string())
    )
    found = counted(row(pd.DataFrame({"y": 100.0, "x": 0.1, "c": texts})))
    bins = REFERENCE.bins.columns["c"]
    assert found.rows == rows
    assert (column(found, "c")[bins.slot("a")], column(found, "c")[bins.missing]) == (rows - 1, 1)


def test_a_batch_that_cannot_be_read_takes_no_other_with_it():
    pd = pytest.importorskip("pandas")
    good = pd.DataFrame({k: v[:100] for k, v in FRAME.items() if k != "p"})
    twice = pd.DataFrame(np.ones((100, 3)), columns=["x", "x", "y"])
    found = counted(row(good), row(twice), row(GOOD))
    assert found.rows == 101 and found.dropped == {"batch": 100}
    assert column(found, "x").sum() == 101


@pytest.mark.parametrize("rows", [5, 1_000])
def test_answers_in_one_column_are_answers(rows):
    batch = {k: v[:rows] for k, v in FRAME.items() if k != "p"}
    scores = FRAME["p"][:rows]
    flat, tall = counted(row(batch, scores)), counted(row(batch, scores.reshape(-1, 1)))
    assert tall.counts.tolist() == flat.counts.tolist() and tall.rows == rows


@pytest.mark.parametrize("rows", [1, 255, 257])
def test_small_and_large_batches_count_alike(rows):
    pd = pytest.importorskip("pandas")
    batch = {k: v[:rows] for k, v in FRAME.items() if k != "p"}
    expected = REFERENCE.profile({**batch, "p": FRAME["p"][:rows]}).counts
    for features in (batch, pd.DataFrame(batch), pd.DataFrame(batch).astype({"c": "category"})):
        found = counted(row(features, FRAME["p"][:rows]))
        assert found.counts.tolist() == expected.tolist() and found.rows == rows


def test_rows_that_know_their_names_are_read_by_them():
    pd = pytest.importorskip("pandas")
    expected = counted(row(GOOD)).counts.tolist()
    made = np.array([(0.1, "a", 100.0)], dtype=[("x", float), ("c", "U1"), ("y", float)])
    for one in (pd.Series(GOOD), Named(0.1, "a", 100.0), Record("a", 100.0, 0.1), made[0]):
        assert counted(row(one)).counts.tolist() == expected, one
    for many in (
        [pd.Series(GOOD)] * 3,
        [Named(0.1, "a", 100.0)] * 3,
        [Record("a", 100.0, 0.1)] * 3,
        np.repeat(made, 3),
    ):
        found = counted(row(many))
        assert (
            found.rows == 3 and column(found, "y").tolist() == (3 * column(counted(row(GOOD)), "y")).tolist()
        )


@pytest.mark.parametrize("odd", ["abc", b"abc", {1, 2, 3}, (1, 2), 7])
def test_what_is_no_row_is_of_another_shape(odd):
    found = counted(row(odd))
    assert found.rows == 1 and found.bad["shape"] == 1
    assert column(found, "x")[REFERENCE.bins.columns["x"].missing] == 1


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_times_of_every_make_are_read(unit):
    pd = pytest.importorskip("pandas")
    batch = {k: v[:3] for k, v in FRAME.items() if k != "p"}
    here, far = dt.datetime.fromtimestamp(NOW, dt.UTC), dt.datetime.fromtimestamp(NOW - 9_000, dt.UTC)
    aware = pd.Series([here, here, far]).astype(f"datetime64[{unit}, UTC]")
    for times, naive in (
        (aware, 0),
        (pd.DatetimeIndex(aware), 0),
        (aware.dt.tz_localize(None), 3),
        (aware.dt.tz_localize(None).to_numpy(), 0),
        ([here, here, far], 0),
    ):
        found = counted(row(batch, time=times))
        assert (found.rows, found.dropped["time"], found.bad["naive_time"]) == (2, 1, naive), type(times)
    assert counted(row(GOOD, time=np.datetime64(int(NOW), "s"))).bad == {}


def test_an_age_is_measured_from_the_rows_own_time():
    born = [dt.datetime.fromtimestamp(NOW - (10 + i) * 86_400, dt.UTC) for i in range(50)]
    frame = {"born": born, "t": [NOW] * 50}
    from barograph import Column, Schema

    reference = Reference.fit(
        frame,
        task="regression",
        features=Schema((Column("born", "datetime", part="age"),)),
        time="t",
        training=frame,
    )
    assert reference.profile(frame) == reference.baseline == reference.training
    assert isinstance(reference.counter, Counter)
