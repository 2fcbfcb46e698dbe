"""Profiles: merging is addition, however the rows are split."""

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph import frames
from barograph.bins import BinSet, category_bins, numeric_bins
from barograph.profile import Counter, Profile
from barograph.schema import Column, Schema

numbers = st.one_of(
    st.floats(), st.integers(-(2**60), 2**60), st.booleans(), st.none(), st.sampled_from(["", "7", "x", "é"]), st.just(10**400),
    st.datetimes(), st.just([1]), st.just(1e39),
)  # fmt: skip
categories = st.one_of(
    st.sampled_from(["a", "b", "rare", "new", ""]),
    st.none(),
    st.integers(0, 3),
    st.booleans(),
    st.floats(),
    st.just({}),
)
rows = st.lists(st.fixed_dictionaries({"x": numbers, "n": numbers, "c": categories}), max_size=40)

SCHEMA = Schema((Column("x", "numeric"), Column("n", "integer"), Column("c", "categorical")))
BINS = BinSet(
    {"x": numeric_bins(np.random.default_rng(0).normal(2, 3, 400)), "n": numeric_bins(np.arange(12.0)), "c": category_bins({"a": 9, "b": 3, "1": 2, "True": 1})},
    dict.fromkeys("xnc", "feature"),
)  # fmt: skip
COUNTER = Counter(BINS, SCHEMA)


def test_pandas_missing_values_are_a_category_of_no_batch():
    missing = pytest.importorskip("pandas").NA
    counts, _ = COUNTER.profile({"c": ["a", missing, "a", 1, True]}).column("c")
    bins = BINS.columns["c"]
    assert (counts[bins.index(["a"])[0]], counts[bins.missing], counts.sum()) == (2, 1, 5)


def one_by_one(batch):
    """Counts by the definition, a value at a time."""
    counts = np.zeros(BINS.size, dtype=np.int64)
    for row in batch:
        for name, bins in BINS.columns.items():
            value = row[name]
            if name != "c" and isinstance(value, dt.datetime):
                value = frames.timestamp(value)
            counts[BINS.offsets[name] + int(bins.index([value])[0])] += 1
    return counts


@given(rows)
def test_a_batch_counts_as_its_rows_one_by_one(batch):
    assert COUNTER.profile(batch).counts.tolist() == one_by_one(batch).tolist()


@given(rows, rows, rows)
def test_profiles_are_a_commutative_group(a, b, c):
    pa, pb, pc = (COUNTER.profile(x) for x in (a, b, c))
    zero = Profile.zero(BINS)
    assert pa + zero == pa
    assert pa + pb == pb + pa
    assert (pa + pb) + pc == pa + (pb + pc)
    assert pa + pb - pb == pa


@given(rows, st.integers(0, 40))
def test_any_split_equals_the_whole(batch, cut):
    assert COUNTER.profile(batch[:cut]) + COUNTER.profile(batch[cut:]) == COUNTER.profile(batch)


def test_the_table_way_and_the_search_way_give_the_same_profile():
    rng = np.random.default_rng(2)
    n = 40_000
    frame = {
        "x": np.where(rng.random(n) < 0.1, math.nan, rng.normal(2, 3, n)),
        "n": rng.integers(0, 15, n),
        "c": rng.choice(["a", "b", "zz"], n),
    }
    whole = COUNTER.profile(frame)
    parts = [COUNTER.profile({k: v[i : i + 999] for k, v in frame.items()}) for i in range(0, n, 999)]
    assert sum(parts[1:], parts[0]) == whole
    assert whole.column("x")[1].sum() == pytest.approx(np.nansum(frame["x"]))


def test_profiles_of_different_bins_are_refused():
    other = BinSet({"x": numeric_bins(np.arange(9.0))}, {"x": "feature"})
    with pytest.raises(ValueError, match="different bins"):
        Profile.zero(BINS) + Profile.zero(other)


def test_a_column_that_a_batch_lacks_counts_as_missing():
    profile = COUNTER.profile({"x": [1.0, 2.0]})
    assert profile.column("c")[0][BINS.columns["c"].missing] == 2


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="3 values"):
        frames.table({"a": [1, 2], "b": [1, 2, 3]})
