"""Bins: every value lands in one slot, and a change of unit, sign or category in a slot of its own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph import frames
from barograph.bins import BinSet, CategoryBins, bins_from_dict, category_bins, numeric_bins, score_bins
from barograph.lookup import Lookup

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
samples = st.lists(finite, min_size=1, max_size=200)


def slot_by_definition(bins, value):
    """The definition in plain Python: count the edges at or below the value."""
    x = float(frames.floats([value])[0])
    if math.isnan(x):
        return bins.missing
    if math.isinf(x):
        return bins.invalid
    return sum(edge <= x for edge in bins.edges.tolist())


def awkward_values(bins):
    """Each edge and its neighbours, and what floats are feared for."""
    edges = bins.edges
    with np.errstate(over="ignore"):
        near = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])
    special = [
        0.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        1e39,
        -1e39,
        5e-324,
        -5e-324,
        2.0**53,
        2.0**53 + 2,
        1.8e308,
    ]
    return np.concatenate([near, special])


@given(samples)
def test_lookup_equals_the_definition_at_every_edge_and_its_neighbours(values):
    bins = numeric_bins(np.array(values))
    probe = awkward_values(bins)
    for centre in (0.0, sorted(values)[len(values) // 2]):
        slots = Lookup.build([bins], [centre]).index(probe[None, :])[0]
        assert (
            slots.tolist()
            == bins.index(probe).tolist()
            == [slot_by_definition(bins, x) for x in probe.tolist()]
        )


def test_lookup_equals_search_on_a_million_values_of_many_scales():
    rng = np.random.default_rng(1)
    columns = [
        rng.normal(3, 1, 50_000),
        np.exp(rng.normal(0, 4, 50_000)),
        rng.integers(-5, 5, 50_000) * 1.0,
        rng.standard_cauchy(50_000),
    ]
    bins = [numeric_bins(column) for column in columns]
    lookup = Lookup.build(bins, [float(np.median(column)) for column in columns])
    matrix = np.stack(
        [rng.permutation(np.concatenate([c, c * 1000, -c, c + rng.normal(0, 1e-9, len(c))])) for c in columns]
    )
    expected = np.stack([b.index(row) for b, row in zip(bins, matrix, strict=True)])
    assert np.array_equal(lookup.index(matrix), expected)


def test_a_lookup_of_wide_bins_uses_wider_entries():
    wide, narrow = (
        numeric_bins(np.random.default_rng(0).normal(size=5_000), quantiles=512),
        numeric_bins(np.arange(9.0)),
    )
    lookup = Lookup.build([wide, narrow], [0.0, 4.0])
    probe = np.linspace(-6, 12, 4_001)
    assert np.array_equal(
        lookup.index(np.stack([probe, probe])), np.stack([wide.index(probe), narrow.index(probe)])
    )


def test_a_nan_never_falls_into_the_top_bin_and_a_finite_giant_does():
    bins = numeric_bins(np.arange(100.0))
    assert (
        bins.index([math.nan, None, 1e39, 1.7e308, 10**400]).tolist()
        == [bins.missing] * 2 + [bins.values - 1] * 3
    )


def test_infinity_and_text_are_invalid_and_booleans_are_numbers():
    bins = numeric_bins(np.array([0.0, 1.0]))
    assert bins.index([math.inf, -math.inf, "1", b"1", 1j, [], {}]).tolist() == [bins.invalid] * 7
    assert bins.index([True, False]).tolist() == bins.index([1, 0]).tolist()


def test_zero_has_a_bin_of_its_own_and_so_has_minus_one():
    bins = numeric_bins(np.linspace(3, 900, 500))
    slots = bins.index([0.0, -0.0, 1e-300, -1e-300, -1.0, -0.999999, -1.0000001])
    assert slots[0] == slots[1]
    assert len(set(slots.tolist()[1:])) == 6
    assert bins.labels()[slots[0]] == "0"


def test_a_value_at_the_decision_threshold_is_positive():
    bins = numeric_bins(np.random.default_rng(0).uniform(size=1000), quantiles=512, points=(0.5,))
    below, at = bins.index([np.nextafter(0.5, 0), 0.5])
    assert at == below + 1


@pytest.mark.parametrize("factor", [1000, 0.001, 60, 1 / 60, -1, 1e6])
def test_a_change_of_unit_or_sign_moves_the_values_to_other_bins(factor):
    data = np.random.default_rng(0).lognormal(3, 0.5, 5_000)
    bins = numeric_bins(data)
    assert np.mean(bins.index(data) == bins.index(data * factor)) < 0.02


def test_outside_is_what_lies_beyond_a_data_width():
    bins = numeric_bins(np.linspace(10, 20, 100))
    inside = [0.0, 10, 20, 30.0]
    outside = [np.nextafter(0.0, -1), np.nextafter(30.0, 99), -1e300, 1e300]
    assert not bins.outside[bins.index(inside)].any()
    assert bins.outside[bins.index(outside)].all()
    assert not bins.outside[bins.index([None, math.inf])].any()


def test_a_declared_range_replaces_the_data_width():
    bins = numeric_bins(np.linspace(10, 20, 100), minimum=0, maximum=24)
    assert bins.outside[bins.index([-0.01, 24.01, 0, 24])].tolist() == [True, True, False, False]


def test_few_distinct_values_have_a_bin_each():
    bins = numeric_bins(np.repeat(np.arange(7.0), 30))
    assert len(set(bins.index(np.arange(7.0)).tolist())) == 7


@given(samples)
def test_bins_survive_json_bit_by_bit(values):
    import json

    bins = numeric_bins(np.array(values))
    again = bins_from_dict(json.loads(json.dumps(bins.to_dict())))
    assert again.edges.tobytes() == bins.edges.tobytes()
    assert bins.size == again.size and bins.size < 255


def test_categories_are_frozen_and_every_value_has_a_slot():
    bins = category_bins({f"c{i:03}": 1000 - i for i in range(100)})
    slots = bins.index(["c000", "c061", "c062", "c099", "new", None, math.nan, {}, [], "x" * 10_000])
    assert slots.tolist() == [
        0,
        61,
        *[bins.other] * 2,
        bins.unseen,
        *[bins.missing] * 2,
        *[bins.invalid] * 2,
        bins.unseen,
    ]


def test_equal_numbers_are_one_category_and_true_is_not_one():
    bins = CategoryBins(("5", "1", "True"))
    assert bins.index([5, 5.0, np.int64(5), "5", np.float32(5)]).tolist() == [0] * 5
    assert bins.index([1, 1.0, True, np.True_, "True"]).tolist() == [1, 1, 2, 2, 2]


def test_an_open_column_has_no_unseen():
    bins = category_bins({"a": 5, "b": 1}, novelty=0.02)
    assert bins.index(["zzz"]).tolist() == [bins.other]


def test_dictionary_encoded_values_fall_where_plain_ones_do():
    bins = category_bins({"a": 5, "b": 1})
    plain = ["b", None, "zz", "a"]
    coded = frames.Coded(np.array([1, -1, 2, 0]), ["a", "b", "zz"])
    assert bins.index(coded).tolist() == bins.index(plain).tolist()


def test_cells_have_about_equal_mass_and_missing_and_unseen_apart():
    data = np.random.default_rng(0).normal(size=16_000)
    bins = numeric_bins(data)
    counts = np.bincount(bins.index(data), minlength=bins.size)
    cells = bins.cells(counts)
    mass = np.bincount(cells, weights=counts, minlength=18)
    assert mass[:16].min() > 300 and mass[:16].max() < 2_500
    assert cells[bins.missing] == cells[bins.invalid] == 16
    categories = category_bins({"a": 5, "b": 1})
    assert categories.cells(np.array([5, 1, 0, 0, 0, 0]))[categories.unseen] == 17


def test_score_bins_without_a_reference_are_fine_near_zero_and_one():
    bins = score_bins((0.5,))
    assert 512 <= bins.size <= 520
    assert len(set(bins.index([1e-6, 1e-5, 1e-4, 1 - 1e-4, 1 - 1e-5]).tolist())) == 5


def test_the_id_of_bins_follows_their_content():
    a, b = (BinSet({"x": numeric_bins(np.arange(n))}, {"x": "feature"}) for n in (5.0, 6.0))
    again = BinSet.from_list(a.to_list())
    assert a.id == again.id != b.id and len(a.id) == 8
