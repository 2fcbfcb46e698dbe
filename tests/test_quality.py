"""Shares of faulty values, from counts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.bins import CategoryBins, NumericBins
from barograph.quality import faults, violation_shares

NUMERIC = NumericBins(np.array([-1.0, 0.0, 1.0]), low=-1.0, high=1.0)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([-5.0, -0.5, 0.5, 1.0, 7.0, None, "x", float("inf")]), min_size=30, max_size=90)
)
def test_shares_are_those_of_the_rows(values):
    counts = np.bincount(NUMERIC.index(values), minlength=NUMERIC.size)
    found = faults(NUMERIC, counts)
    n = len(values)
    assert found.missing == sum(v is None for v in values) / n
    assert found.invalid == sum(v in ("x", float("inf")) for v in values) / n
    assert found.out_of_range == sum(isinstance(v, float) and (v < -1 or 1 <= v < 9) for v in values) / n
    assert found.unseen is None


def test_windows_of_too_few_rows_have_no_share():
    found = faults(CategoryBins(("a",)), np.array([[20, 0, 5, 2, 2], [20, 0, 5, 3, 2]]))
    assert np.isnan(found.unseen[0])
    assert np.isnan(found.missing[0])
    assert found.unseen[1] == 5 / 30


def test_an_open_column_knows_nothing_unseen():
    assert faults(CategoryBins(("a",), open=True), np.array([40, 9, 0, 0, 0])).unseen is None


def test_violations_are_sorted_by_how_frequent_they_are():
    found = violation_shares({"category": 2, "range": 12, "type": 2}, 40)
    assert list(found) == ["range", "category", "type"]
    assert found["range"] == 0.3
    assert violation_shares({"range": 1}, 29) == {"range": None}
