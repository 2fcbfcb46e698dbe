"""Lines of traffic, shares and values: few false alarms on ordinary weeks, and what changes is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.lanes import HOUR, HOURLY
from barograph.usual import WEEK, counts_band, shares_band, values_band

WEEKS = 6
HISTORY = HOUR * np.arange(WEEKS * 168)
LIVE = WEEKS * WEEK + HOUR * np.arange(4 * 168)
PROFILE = np.tile(200 * (1.2 + np.sin(np.arange(168) * 2 * np.pi / 24)), WEEKS + 4)


def traffic(seed, spread=0.15):
    rng = np.random.default_rng(seed)
    return rng.poisson(PROFILE * rng.gamma(1 / spread**2, spread**2, len(PROFILE)))


def rolling(counts):
    """Bands of four live weeks, a week ahead each."""
    bands = []
    for week in range(4):
        known = len(HISTORY) + week * 168
        starts = HOUR * np.arange(known)
        bands.append(counts_band(LIVE[week * 168 : (week + 1) * 168], starts, counts[:known]))
    return bands


def alarmed(ratios, starts):
    return HOURLY.alarm("D", starts, starts + HOUR, ratios)


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_weeks_of_traffic_raise_few_alarms(seed):
    counts = traffic(seed)
    ratios = np.concatenate(
        [b.ratios(c) for b, c in zip(rolling(counts), counts[len(HISTORY) :].reshape(4, 168), strict=True)]
    )
    assert alarmed(ratios, LIVE).sum() <= 1


def test_traffic_that_halves_or_doubles_is_found_at_once_or_within_two_hours():
    counts = traffic(5, spread=0.05)
    band = counts_band(LIVE[:168], HISTORY, counts[: len(HISTORY)])
    now = counts[len(HISTORY) : len(HISTORY) + 168]
    for factor in (0.4, 2.5):
        found = alarmed(band.ratios(now * factor), LIVE[:168])
        busy = PROFILE[:168] > 150
        assert found[busy].mean() > 0.9


def test_steadier_traffic_has_a_narrower_band():
    wide, narrow = (counts_band(LIVE[:24], HISTORY, traffic(1, s)[: len(HISTORY)]) for s in (0.3, 0.05))
    assert ((wide.high - wide.low) > (narrow.high - narrow.low)).all()
    assert (narrow.low >= 0).all()


def test_an_hour_left_out_is_unknown_and_not_empty():
    counts = traffic(2)[: len(HISTORY)]
    held = np.arange(len(HISTORY)) % 168 != 30
    band = counts_band(LIVE[:168], HISTORY[held], counts[held])
    assert np.isnan(band.expected[30]) and np.isnan(band.high[30])
    assert not np.isnan(np.delete(band.expected, 30)).any()


@pytest.mark.parametrize("hours", [0, 24, 168, 2 * 168])
def test_short_histories_of_traffic_give_no_band(hours):
    band = counts_band(np.array([hours * HOUR]), HISTORY[:hours], np.full(hours, 100))
    assert np.isnan(band.high).all() and np.isnan(band.ratios(np.array([50.0]))).all()


def test_no_traffic_at_all_is_a_history_too():
    band = counts_band(LIVE[:1], HISTORY, np.zeros(len(HISTORY), dtype=int))
    assert band.expected[0] == 0 and 0 < band.high[0] < 60


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_shares_raise_few_alarms_and_a_share_that_triples_is_found(seed):
    rng, totals = np.random.default_rng(seed), np.full(28 * 24, 800)
    ordinary = rng.beta(0.05 * 400, 0.95 * 400, 58 * 24)
    parts = rng.binomial(800, ordinary)
    starts = HOUR * np.arange(58 * 24)
    band = shares_band(np.full(30 * 24, 800.0), starts[: 28 * 24], parts[: 28 * 24], totals)
    assert alarmed(band.ratios(parts[28 * 24 :] / 800), starts[28 * 24 :]).sum() <= 1
    tripled = rng.binomial(800, 3 * ordinary[28 * 24 :])
    assert alarmed(band.ratios(tripled / 800), starts[28 * 24 :]).mean() > 0.7


def test_a_share_that_never_was_has_a_line_of_a_few_rows():
    band = shares_band(np.array([1000.0, 20.0]), HISTORY, np.zeros(len(HISTORY)), np.full(len(HISTORY), 1000))
    assert 0.002 < band.high[0] < 0.02 and band.low[0] == 0
    assert np.isnan(band.high[1])  # too few rows


def test_hours_with_few_rows_tell_nothing_of_shares():
    band = shares_band(np.array([1000.0]), HISTORY, np.full(len(HISTORY), 20), np.full(len(HISTORY), 29))
    assert np.isnan(band.high[0])


@given(st.floats(0.001, 0.999), st.integers(30, 100_000))
def test_bands_of_shares_hold_what_is_expected_and_stay_within_0_and_1(p, n):
    starts = HOUR * np.arange(10 * 24)
    band = shares_band(np.array([float(n)]), starts, np.full(240, round(1000 * p)), np.full(240, 1000))
    assert 0 <= band.low[0] <= band.expected[0] <= band.high[0] <= 1


def test_values_vary_by_their_own_error_and_by_the_days():
    rng = np.random.default_rng(3)
    values = 0.8 + rng.normal(0, 0.01, len(HISTORY)) + rng.normal(0, 0.01, len(HISTORY))
    band = values_band(np.array([0.01, 0.1]), HISTORY, values, np.full(len(HISTORY), 0.01))
    assert band.expected[0] == pytest.approx(0.8, abs=0.003)
    assert 0.03 < band.high[0] - 0.8 < 0.12 < band.high[1] - 0.8
    assert band.ratios(np.array([0.6, 0.6]))[0] > 1


def test_windows_without_a_value_tell_nothing():
    values = np.full(len(HISTORY), 0.8)
    values[::2] = np.nan
    assert np.isfinite(values_band(np.array([0.01]), HISTORY, values, np.full(len(HISTORY), 0.01)).high[0])
    assert np.isnan(values_band(np.array([0.01]), HISTORY, values * np.nan, values).high[0])


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="budget: 0"):
        shares_band(
            np.array([100.0]), HISTORY, np.full(len(HISTORY), 2), np.full(len(HISTORY), 100), budget=0
        )
