"""Golden signals against brute force; too few is no number, never 0."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.naming import DURATION_BUCKETS
from barograph.traffic import WEEK, duration_quantiles, durations, rate, share, shares, silent, slower, usual

HOUR = 3600
BUCKETS = len(DURATION_BUCKETS) + 1


def bucketed(seconds):
    index = np.searchsorted(DURATION_BUCKETS, seconds, side="left")
    return np.bincount(index, minlength=BUCKETS)


@settings(deadline=None)
@given(st.lists(st.floats(1e-4, 60), min_size=100, max_size=400))
def test_a_quantile_lies_in_the_bucket_of_the_value_that_it_stands_for(seconds):
    counts = bucketed(seconds)
    for q, found in zip(
        (0.5, 0.95, 0.99), duration_quantiles(counts, np.array([0.5, 0.95, 0.99])), strict=True
    ):
        value = np.quantile(seconds, q, method="inverted_cdf")
        bucket = int(np.searchsorted(DURATION_BUCKETS, value))
        low, high = [0.0, *DURATION_BUCKETS][bucket], [*DURATION_BUCKETS, DURATION_BUCKETS[-1]][bucket]
        assert low - 1e-12 <= found <= high + 1e-12


def test_a_quantile_is_interpolated_in_its_bucket():
    counts = np.zeros(BUCKETS, dtype=np.int64)
    counts[10], counts[11] = 60, 40  # 50 to 75 ms, and 75 to 100 ms
    found = duration_quantiles(counts, np.array([0.3, 0.6, 0.8]))
    np.testing.assert_allclose(found, [0.0625, 0.075, 0.0875])


def test_many_windows_are_each_window():
    counts = np.random.default_rng(0).integers(0, 9, (6, BUCKETS))
    q = np.array([0.5, 0.9])
    np.testing.assert_array_equal(duration_quantiles(counts, q), [duration_quantiles(c, q) for c in counts])


@pytest.mark.parametrize(("n", "known"), [(0, 0), (1, 0), (2, 1), (19, 1), (20, 2), (99, 2), (100, 3)])
def test_a_quantile_needs_requests_beyond_it(n, known):
    found = durations(bucketed(np.full(n, 0.02)), 0.02 * n)
    assert [found.p50, found.p95, found.p99].count(None) == 3 - known
    assert (found.mean is None) == (n == 0)
    assert found.n == n


def test_requests_slower_than_the_last_bucket_count_as_its_bound():
    assert durations(bucketed(np.full(200, 55.0)), 11_000).p99 == 30.0


def test_a_histogram_of_other_buckets_is_refused():
    with pytest.raises(ValueError, match="27"):
        duration_quantiles(np.zeros(5), np.array([0.5]))


def test_a_rate_over_no_time_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        rate(1, 0)


def test_a_share_of_too_few_is_no_number():
    assert share(0, 0) is None
    assert share(2, 19, minimum=20) is None
    assert share(2, 20, minimum=20) == 0.1
    found = shares(np.array([0, 1, 5]), np.array([0, 4, 50]), minimum=5)
    assert np.isnan(found[:2]).all()
    assert found[2] == 0.1


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 500)), min_size=6, max_size=6),
    st.integers(1, 6),
    st.integers(1, 3),
)
def test_usual_is_the_same_hour_of_the_weeks_before(history, weeks, least):
    known = [(k * WEEK, count) for k, count in enumerate(history) if count is not None]
    noise = [(k * WEEK + HOUR, 9_999) for k in range(6)]
    starts, counts = np.array(sorted(known + noise)).T
    found = usual(np.array([6 * WEEK]), starts, counts, weeks=weeks, least=least)
    past = [count for count in history[6 - weeks :] if count is not None]
    if len(past) < least:
        assert np.isnan([found.expected[0], found.low[0], found.high[0]]).all()
        return
    assert found.expected[0] == np.median(past)
    assert found.low[0] == pytest.approx(max(min(past) - 2 * math.sqrt(min(past)), 0))
    assert found.high[0] == pytest.approx(max(past) + 2 * math.sqrt(max(past)))


def test_usual_of_many_hours_looks_only_back():
    starts = np.arange(5 * 168) * HOUR
    counts = 100 + starts // WEEK
    found = usual(starts, starts, counts)
    assert np.isnan(found.expected[: 2 * 168]).all()
    assert found.expected[2 * 168 :].tolist() == [100.5] * 168 + [101.0] * 168 + [101.5] * 168


def test_usual_of_nothing_known_is_no_number():
    assert np.isnan(usual(np.array([0]), np.array([], dtype=np.int64), np.array([])).expected).all()


@pytest.mark.parametrize(
    ("count", "expected", "verdict"),
    [(0, 14.0, True), (0, 13.9, None), (1, 500.0, False), (0, None, None), (0, math.nan, None)],
)
def test_none_where_14_were_expected_is_silence(count, expected, verdict):
    assert silent(count, expected) is verdict


def test_requests_slower_than_a_bound_are_those_beyond_its_bucket():
    counts = np.arange(len(DURATION_BUCKETS) + 1)
    for i, bound in enumerate(DURATION_BUCKETS):
        assert slower(counts, bound) == counts[i + 1 :].sum()
    assert slower(counts, 0.6) == slower(counts, 0.75), "a bucket is not cut"
    assert slower(counts, 99.0) == 0
