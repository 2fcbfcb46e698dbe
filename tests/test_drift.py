"""Signals and measures against brute force and SciPy on the same bins, and the algebra that additive counts promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.spatial import distance

from barograph.bins import BinSet, CategoryBins, NumericBins, category_bins, numeric_bins
from barograph.drift import (
    CELLS,
    MEASURES,
    SIGNALS,
    ColumnReference,
    Columns,
    signals,
    totals,
)
from barograph.lookup import add
from barograph.quantiles import moments, quantile

EDGES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 4.0])
NUMERIC = NumericBins(EDGES, low=-2.0, high=4.0)
CATEGORIES = CategoryBins(("a", "b", "c", "d"), rare=frozenset({1}))
OPEN = CategoryBins(("a", "b"), open=True)


def slots(bins, most=400):
    return hnp.arrays(np.int64, bins.size, elements=st.integers(0, most))


def counted(bins, values):
    counts, sums = np.zeros(bins.size, dtype=np.int64), np.zeros(bins.size)
    add(bins.index(values), values, counts, sums)
    return counts, sums


def drawn(reference, live, quantiles=28):
    bins = numeric_bins(reference, quantiles=quantiles)
    return (ColumnReference(bins, *counted(bins, reference)), *counted(bins, live))


def rows_of(counts):
    return np.repeat(np.arange(len(counts)), counts)


@settings(deadline=None)
@given(slots(NUMERIC), slots(NUMERIC))
def test_numeric_signals_equal_their_definitions_row_by_row(own, live):
    own[1] += 1
    live[2] += 1
    column = ColumnReference(NUMERIC, own)
    found = signals(column, totals(column, live))
    cells, n, total = column.cells, live.sum(), own.sum()
    shape = 0.0
    for cell in range(CELLS):
        q, p = live[cells == cell].sum() / n, (own[cells == cell].sum() + 0.5) / (total + 9)
        shape += 2 * q * math.log(q / p) if q else 0.0
    assert found["D"] == pytest.approx(shape, abs=1e-9)
    missing = (live[-2] + live[-1]) / n - (own[-2] + own[-1]) / total
    assert found["A"] == pytest.approx(abs(missing), abs=1e-12)
    fault = (live[[0, 6, 8]].sum() / n) - own[[0, 6, 8]].sum() / total
    assert found["O"] == pytest.approx(max(fault, 0), abs=1e-12)
    assert np.isnan(found["U"])


@settings(deadline=None)
@given(slots(NUMERIC), slots(NUMERIC))
def test_location_is_the_mean_midrank_in_its_own_standard_deviations(own, live):
    own[[1, 4]] += 1
    live[2] += 1
    column = ColumnReference(NUMERIC, own)
    ranked = rows_of(own[: NUMERIC.values])
    midrank = lambda slot: (np.sum(ranked < slot) + np.sum(ranked == slot) / 2) / len(ranked) - 0.5
    ridits = np.array([midrank(slot) for slot in range(NUMERIC.values)])
    expected = abs(ridits[rows_of(live[: NUMERIC.values])].mean()) / ridits[ranked].std()
    assert signals(column, totals(column, live))["L"] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(slots(CATEGORIES), slots(CATEGORIES))
def test_categorical_signals_equal_their_definitions(own, live):
    own[0] += 1
    own[CATEGORIES.unseen] = 0
    live[1] += 1
    column = ColumnReference(CATEGORIES, own)
    found = signals(column, totals(column, live))
    n, total = live.sum(), own.sum()
    assert found["U"] == pytest.approx(live[CATEGORIES.unseen] / n)
    assert found["O"] == pytest.approx(max(live[CATEGORIES.invalid] / n - own[CATEGORIES.invalid] / total, 0))
    assert np.isnan(found["L"])


def test_an_open_column_does_not_test_what_is_unseen():
    column = ColumnReference(OPEN, np.array([5, 5, 1, 0, 0, 0]))
    assert np.isnan(signals(column, totals(column, np.array([5, 5, 9, 0, 0, 0])))["U"])


def test_a_constant_column_has_no_location_but_a_shape():
    column = ColumnReference(NUMERIC, np.array([0, 0, 100, 0, 0, 0, 0, 0, 0]))
    found = signals(column, totals(column, np.array([0, 0, 0, 50, 0, 0, 0, 0, 0])))
    assert np.isnan(found["L"])
    assert found["D"] > 5


@pytest.mark.parametrize("bins", [NUMERIC, CATEGORIES, OPEN], ids=["numeric", "categorical", "open"])
def test_an_empty_window_has_no_value_and_never_0(bins):
    column = ColumnReference(bins, np.arange(1, bins.size + 1))
    empty = np.zeros((2, bins.size), dtype=np.int64)
    for value in signals(column, totals(column, empty)).values():
        assert np.isnan(value).all()
    for measure in MEASURES.values():
        assert np.isnan(measure(column, empty)).all()


def test_a_reference_without_rows_or_of_other_bins_is_refused():
    with pytest.raises(ValueError, match="needs rows"):
        ColumnReference(NUMERIC, np.zeros(NUMERIC.size, dtype=np.int64))
    with pytest.raises(ValueError, match="have 9 slots"):
        ColumnReference(NUMERIC, np.ones(4, dtype=np.int64))


@pytest.mark.parametrize("bins", [NUMERIC, CATEGORIES], ids=["numeric", "categorical"])
@settings(deadline=None)
@given(data=st.data())
def test_the_reference_itself_has_hardly_any_drift(bins, data):
    own = data.draw(slots(bins)) + 1
    if bins.unseen is not None:
        own[bins.unseen] = 0
    column = ColumnReference(bins, own)
    found = signals(column, totals(column, own))
    assert -1e-9 <= found["D"] <= 2 * math.log1p(9 / own.sum()) + 1e-9
    for signal in ("L", "A", "U", "O"):
        assert np.isnan(found[signal]) or found[signal] == pytest.approx(0, abs=1e-9)
    for measure in MEASURES.values():
        value = measure(column, own)
        assert np.isnan(value) or value == pytest.approx(0, abs=1e-7)


@settings(deadline=None)
@given(slots(CATEGORIES), slots(CATEGORIES), slots(CATEGORIES))
def test_totals_add_up_so_that_no_signal_depends_on_the_split_of_counts(own, a, b):
    own[0] += 1
    column = ColumnReference(CATEGORIES, own)
    one, other, whole = totals(column, a), totals(column, b), totals(column, a + b)
    np.testing.assert_array_equal(one.cells + other.cells, whole.cells)
    assert one.faulty + other.faulty == whole.faulty
    numeric = ColumnReference(NUMERIC, np.arange(1, 10))
    a, b = a[: NUMERIC.size].repeat(2)[: NUMERIC.size], b[: NUMERIC.size].repeat(2)[: NUMERIC.size]
    together = totals(numeric, a).ridits + totals(numeric, b).ridits
    assert together == pytest.approx(totals(numeric, a + b).ridits, abs=1e-6)


def test_scores_of_replicas_are_not_averaged_but_their_counts_are_added():
    rng = np.random.default_rng(1)
    own = rng.multinomial(100_000, np.full(20, 0.05))
    bins = CategoryBins(tuple(f"k{i:02d}" for i in range(20)))
    column = ColumnReference(bins, np.append(own, [0, 0, 0, 0]))
    replicas = np.array([np.append(rng.multinomial(100, np.full(20, 0.05)), [0, 0, 0, 0]) for _ in range(20)])
    whole = signals(column, totals(column, replicas.sum(axis=0)))["D"]
    assert whole < 0.1 * signals(column, totals(column, replicas))["D"].mean()


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_a_permutation_of_categories_changes_nothing(order, seed):
    rng = np.random.default_rng(seed)
    own = rng.choice(
        np.arange(10, 500), 6, replace=False
    )  # no ties: equal counts may be told apart by their order
    live = rng.integers(0, 300, 6) + 1
    names = np.array(["a", "b", "c", "d", "e", "f"])
    rest = [3, 0, 2, 1]
    first = ColumnReference(CategoryBins(tuple(names)), np.append(own, [3, 0, 2, 1]))
    second = ColumnReference(
        CategoryBins(tuple(names[list(order)])), np.append(own[list(order)], [3, 0, 2, 1])
    )
    windows = np.append(live, rest), np.append(live[list(order)], rest)
    a, b = signals(first, totals(first, windows[0])), signals(second, totals(second, windows[1]))
    for signal in ("D", "A", "U", "O"):
        assert a[signal] == pytest.approx(b[signal], abs=1e-12)
    for measure in MEASURES.values():
        assert measure(first, windows[0]) == pytest.approx(
            measure(second, windows[1]), nan_ok=True, abs=1e-12
        )


def test_all_columns_in_one_pass_equal_each_column_alone():
    rng = np.random.default_rng(3)
    columns = {"n": NUMERIC, "c": CATEGORIES, "o": OPEN, "m": NumericBins(np.array([0.0]), -1.0, 1.0)}
    bins = BinSet(columns, dict.fromkeys(columns, "feature"))
    own, live = rng.integers(1, 90, bins.size), rng.integers(0, 50, (7, bins.size))
    together = signals(Columns.of(bins, own), Columns.of(bins, own).totals(live))
    for i, name in enumerate(columns):
        column = ColumnReference(columns[name], own[bins.slice(name)])
        alone = signals(column, totals(column, live[:, bins.slice(name)]))
        for signal in SIGNALS:
            np.testing.assert_allclose(together[signal][:, i], alone[signal], atol=1e-12)


class TestAgainstSciPy:
    rng = np.random.default_rng(5)
    reference, live = rng.gamma(2.0, 10.0, 20_000), rng.gamma(2.4, 9.0, 3_000)
    column, counts, sums = drawn(reference, live)
    p, q = column.shares, column.merge(counts) / len(live)

    def test_jensen_shannon(self):
        expected = distance.jensenshannon(self.p, self.q, base=2)
        assert MEASURES["jensen_shannon"](self.column, self.counts) == pytest.approx(expected)

    def test_psi_is_the_two_entropies_less_the_bias(self):
        held = (self.column.cell_counts > 0) | (self.q > 0)
        p = (self.column.cell_counts[held] + 0.5) / (20_000 + 0.5 * held.sum())
        q = (self.q[held] * 3_000 + 0.5) / (3_000 + 0.5 * held.sum())
        bias = (np.count_nonzero(self.column.cell_counts) - 1) * (1 / 3_000 + 1 / 20_000)
        expected = stats.entropy(p, q) + stats.entropy(q, p) - bias
        assert MEASURES["psi"](self.column, self.counts) == pytest.approx(expected)

    def test_kolmogorov_smirnov_on_the_bins(self):
        bins = self.column.bins
        expected = stats.ks_2samp(bins.index(self.live), bins.index(self.reference)).statistic
        assert MEASURES["kolmogorov_smirnov"](self.column, self.counts) == pytest.approx(expected)

    def test_kolmogorov_smirnov_is_near_that_of_the_raw_values(self):
        raw = stats.ks_2samp(self.live, self.reference).statistic
        found = MEASURES["kolmogorov_smirnov"](self.column, self.counts)
        assert raw - 0.02 < found <= raw + 1e-12

    def test_hellinger(self):
        expected = distance.euclidean(np.sqrt(self.p), np.sqrt(self.q)) / np.sqrt(2)
        assert MEASURES["hellinger"](self.column, self.counts) == pytest.approx(expected)

    def test_chi_square(self):
        table = np.array([self.column.merge(self.counts), self.column.cell_counts])
        expected = stats.chi2_contingency(table[:, table.any(axis=0)], correction=False).statistic
        assert MEASURES["chi_square"](self.column, self.counts) == pytest.approx(expected)

    def test_l_infinity(self):
        expected = distance.chebyshev(self.counts / 3_000, self.column.counts / 20_000)
        assert MEASURES["l_infinity"](self.column, self.counts) == pytest.approx(expected)

    def test_categorical_columns_too(self):
        rng = np.random.default_rng(9)
        names = [f"k{i}" for i in range(30)]
        own = np.append(rng.multinomial(9_000, np.arange(1, 31) / 465), [0, 0, 90, 0])
        live = np.append(rng.multinomial(900, np.arange(30, 0, -1) / 465), [0, 40, 5, 1])
        column = ColumnReference(category_bins({n: 30 - i for i, n in enumerate(names)}), own)
        p, q = column.shares, column.merge(live) / live.sum()
        expected = distance.jensenshannon(p, q, base=2)
        assert MEASURES["jensen_shannon"](column, live) == pytest.approx(expected)
        assert np.isnan(MEASURES["kolmogorov_smirnov"](column, live))
        assert np.isnan(MEASURES["wasserstein"](column, live))


def heavy(rng, size):
    return np.exp(1.5 * rng.standard_normal(size))


SHIFT, SCALE, UNIT, SIGN = (lambda x: x + 0.5), (lambda x: x * 1.3), (lambda x: x * 1000), (lambda x: -x)


@pytest.mark.parametrize("change", [SHIFT, SCALE, UNIT, SIGN], ids=["shift", "scale", "unit", "sign"])
@pytest.mark.parametrize("draw", [lambda r, n: r.normal(3, 2, n), lambda r, n: r.gamma(2.0, 3.0, n)])
def test_wasserstein_is_within_half_a_percent_of_the_sample_value(draw, change):
    rng = np.random.default_rng(11)
    reference, live = draw(rng, 40_000), change(draw(rng, 40_000))
    column, counts, sums = drawn(reference, live)
    expected = stats.wasserstein_distance(live, reference)
    assert MEASURES["wasserstein"](column, counts, sums) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("change", [UNIT, SIGN], ids=["unit", "sign"])
def test_wasserstein_holds_under_a_heavy_tail(change):
    rng = np.random.default_rng(11)
    reference, live = heavy(rng, 40_000), change(heavy(rng, 5_000))
    column, counts, sums = drawn(reference, live)
    expected = stats.wasserstein_distance(live, reference)
    assert MEASURES["wasserstein"](column, counts, sums) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("change", [SHIFT, SCALE, UNIT, SIGN, lambda x: np.where(x > 1, x, 0.0), lambda x: x])
def test_wasserstein_of_whole_numbers_is_exact(change):
    rng = np.random.default_rng(11)
    reference, live = rng.poisson(4, 40_000) * 1.0, change(rng.poisson(4, 5_000) * 1.0)
    column, counts, sums = drawn(reference, live)
    expected = stats.wasserstein_distance(live, reference)
    assert column.discrete
    assert MEASURES["wasserstein"](column, counts, sums) == pytest.approx(expected, rel=1e-6)


def test_wasserstein_without_sums_knows_the_reference_s_means():
    rng = np.random.default_rng(12)
    reference, live = rng.normal(0, 1, 40_000), rng.normal(0.3, 1, 5_000)
    column, counts, _ = drawn(reference, live)
    expected = stats.wasserstein_distance(live, reference)
    assert MEASURES["wasserstein"](column, counts) == pytest.approx(expected, rel=0.05)


def test_a_wasserstein_of_sums_that_overflowed_is_no_number_and_no_error():
    column, counts, sums = drawn(np.array([1.0, 2.0, 3.0]), np.array([1e9, 1.5]))
    sums[column.bins.values - 1] = np.inf
    assert not np.isfinite(MEASURES["wasserstein"](column, counts, sums))


@settings(deadline=None, max_examples=60)
@given(slots(NUMERIC), slots(NUMERIC))
def test_measures_stay_within_their_bounds(own, live):
    own[3] += 1
    live[2] += 1
    column = ColumnReference(NUMERIC, own)
    for measure in MEASURES.values():
        low, high = measure.bounds
        value = float(measure(column, np.array([live]))[0])
        assert np.isnan(value) or low <= value <= high + 1e-12, measure.name


def test_the_bias_of_psi_is_taken_off():
    rng = np.random.default_rng(13)
    reference = rng.normal(size=50_000)
    bins = numeric_bins(reference)
    column = ColumnReference(bins, counted(bins, reference)[0])
    windows = np.array([counted(bins, rng.normal(size=500))[0] for _ in range(300)])
    assert np.median(MEASURES["psi"](column, windows)) < 0.005  # with its bias 0.03


def test_every_measure_says_over_which_bins_it_is():
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert "18 cells" in measure.definition or "fine bin" in measure.definition
    for name in ("psi", "jensen_shannon"):
        assert "logarithm" in MEASURES[name].definition


@pytest.mark.parametrize(
    "draw", [lambda r: r.normal(3, 2, 20_000), lambda r: heavy(r, 20_000)], ids=["normal", "heavy"]
)
def test_quantiles_are_near_those_of_the_values(draw):
    values = draw(np.random.default_rng(17))
    column, counts, sums = drawn(values, values)
    q = np.array([0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    expected = np.quantile(values, q)
    ranks = np.searchsorted(np.sort(values), quantile(column.bins, counts, q, sums)) / len(values)
    np.testing.assert_allclose(ranks, q, atol=0.006)
    np.testing.assert_allclose(quantile(column.bins, counts, 0.5, sums), expected[2], rtol=0.02)


def test_quantiles_of_windows_are_those_of_each_window():
    rng = np.random.default_rng(19)
    counts = rng.integers(0, 20, (5, NUMERIC.size))
    sums = np.zeros((5, NUMERIC.size))
    sums[:, : NUMERIC.values] = counts[:, : NUMERIC.values] * [-3, -1.5, -0.2, 0.9, 1.1, 3, 9]
    q = np.array([0.0, 0.1, 0.5, 1.0])
    for given_sums in (None, sums):
        together = quantile(NUMERIC, counts, q, given_sums)
        assert (np.diff(together, axis=1) >= -1e-12).all()
        for i in range(5):
            row = None if given_sums is None else given_sums[i]
            np.testing.assert_allclose(together[i], [quantile(NUMERIC, counts[i], x, row) for x in q])


def test_a_quantile_in_an_open_outer_bin_stays_at_its_edge_or_near_its_mean():
    counts = np.array([0, 0, 0, 0, 0, 1, 10, 0, 0])
    assert quantile(NUMERIC, counts, 0.9) == 4.0
    sums = np.array([0, 0, 0, 0, 0, 3.0, 70.0, 0, 0])
    assert 7.0 < quantile(NUMERIC, counts, 0.9, sums) < 10.0


EVERYWHERE = np.array([0.0, 0.05, 0.5, 0.95, 1.0])


@pytest.mark.parametrize("value", [71.3, 0.0, -1.0, 13.37, 9_999.0, -999.0, 1e-7, 1e12, 6e15])
@pytest.mark.parametrize("rows", [1, 30, 977])
def test_quantiles_of_one_value_are_that_value(value, rows):
    """A sensor that is stuck, a default: whichever bin it falls into."""
    reference = np.random.default_rng(29).normal(70, 10, 5_000)
    column, counts, sums = drawn(reference, np.full(rows, value))
    np.testing.assert_allclose(quantile(column.bins, counts, EVERYWHERE, sums), value, rtol=1e-12)


def test_a_default_among_ordinary_values_is_itself():
    rng = np.random.default_rng(31)
    reference = rng.normal(70, 10, 5_000)
    column, counts, sums = drawn(reference, np.append(rng.normal(70, 10, 700), np.full(300, 999.0)))
    low, middle, high = quantile(column.bins, counts, np.array([0.05, 0.6, 0.95]), sums)
    assert 50 < low < 60 and 75 < middle < 85
    assert high == pytest.approx(999.0, rel=1e-12)


@pytest.mark.parametrize("start", [0, 3, 1_600_000_000], ids=["from 0", "from 3", "epoch seconds"])
def test_quantiles_of_few_whole_numbers_are_among_them(start):
    rng = np.random.default_rng(37)
    reference, live = (start + rng.integers(0, 9, n).astype(float) for n in (4_000, 500))
    column, counts, sums = drawn(reference, live)
    q = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    expected = np.quantile(live, q, method="inverted_cdf")
    np.testing.assert_allclose(quantile(column.bins, counts, q, sums), expected, rtol=1e-12)


def test_quantiles_of_a_yes_or_no_are_0_and_1():
    values = np.repeat([0.0, 1.0], [400, 600])
    column, counts, sums = drawn(values, values)
    assert quantile(column.bins, counts, np.array([0.05, 0.4, 0.41, 0.95]), sums).tolist() == [0, 0, 1, 1]


def test_a_quantile_of_nothing_is_no_number():
    assert np.isnan(quantile(NUMERIC, np.zeros(NUMERIC.size, dtype=np.int64), 0.5))


def test_the_mean_is_exact_and_the_deviation_a_little_low():
    values = np.random.default_rng(23).normal(3, 2, 30_000)
    column, counts, sums = drawn(values, values)
    mean, sd = moments(column.bins, counts, sums)
    assert not column.discrete
    assert mean == pytest.approx(values.mean())
    assert 0.97 * values.std() < sd <= values.std()
