"""Windows of five minutes, an hour and a day: their rules, what they judge, and what they find together."""

import numpy as np
import pytest
from benchmarks.streams import LIVE, MONTH, T0, Stream, triple
from hypothesis import given
from hypothesis import strategies as st

from barograph.calibrate import calibrate, calibrate_lanes
from barograph.lanes import DAILY, DAY, FIVE_MINUTES, HOUR, LANES
from barograph.naming import PREDICTION, SCORE

RATIOS = st.lists(st.sampled_from([0.2, 1.0, 1.5, 2.5, np.nan]), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def stream():
    return Stream(3, columns=8, rows=4000, live=8 * 24, outputs=True)


@pytest.fixture(scope="module")
def lanes(stream):
    return calibrate_lanes(stream.reference())


def test_the_lanes_share_the_budget():
    assert sum(lane.share for lane in LANES.values()) == 1


@given(st.sampled_from(list(LANES.values())), st.sampled_from("DLAUO"), RATIOS)
def test_columns_side_by_side_are_judged_like_each_alone(lane, signal, ratios):
    at = T0 + lane.seconds * np.arange(len(ratios))
    both = np.column_stack([ratios, ratios[::-1]])
    together = lane.alarm(signal, at, at + lane.seconds, both)
    assert together[:, 0].tolist() == lane.alarm(signal, at, at + lane.seconds, ratios).tolist()
    assert together[:, 1].tolist() == lane.alarm(signal, at, at + lane.seconds, ratios[::-1]).tolist()


@given(st.sampled_from(list(LANES.values())), RATIOS, st.floats(0.3, 3))
def test_the_level_is_how_far_a_line_can_rise_and_the_alarm_stay(lane, ratios, higher):
    at = T0 + lane.seconds * np.arange(len(ratios))
    level = lane.level(at, at + lane.seconds, ratios)
    raised = lane.alarm("D", at, at + lane.seconds, np.array(ratios) / higher)
    clear = np.abs(level - higher) > 1e-9
    assert np.array_equal(raised[clear], (level > higher)[clear])


def test_five_minutes_take_two_windows_in_a_row_and_a_day_takes_one():
    at = T0 + 300 * np.arange(3)
    assert FIVE_MINUTES.alarm("L", at, at + 300, [1.5, 0.5, 1.5]).tolist() == [False] * 3
    assert FIVE_MINUTES.alarm("L", at, at + 300, [0.5, 1.5, 1.5]).tolist() == [False, False, True]
    days = T0 + DAY * np.arange(3)
    assert DAILY.alarm("L", days, days + DAY, [0.9, 1.1, np.nan]).tolist() == [False, True, False]


def test_five_minutes_judge_the_output_alone(stream, lanes):
    found = lanes["5m"].verdicts(stream.fine()[1][:4])
    names = list(stream.names)
    outputs = [names.index(SCORE), names.index(PREDICTION)]
    assert np.isfinite(found.ratios["D"][:, outputs]).all()
    assert np.isnan(np.delete(found.ratios["D"], outputs, axis=1)).all()
    assert [j.column for j in lanes["5m"].judge(stream.fine()[1][0]) if j.signal == "D"] == [
        SCORE,
        PREDICTION,
    ]


def test_below_200_rows_five_minutes_have_no_verdict(stream, lanes):
    counts = stream.fine()[1][:1].copy()
    where = stream.bins.slice(SCORE)
    counts[0, where] = 0
    counts[0, where.start + 20] = 199
    assert np.isnan(lanes["5m"].verdicts(counts).values["D"][0, stream.names.index(SCORE)])


def test_lines_of_longer_windows_are_lower(lanes):
    for signal, low in lanes["1d"].thresholds("c0", 96_000).items():
        assert low <= lanes["1h"].thresholds("c0", 4_000)[signal]


def test_a_day_that_began_at_noon_is_not_judged():
    hours = T0 + HOUR * np.arange(12, 72)
    stream = Stream(1, columns=2)
    windows = calibrate(stream.reference(), lane=DAILY).pool(hours, np.full(60, 10))
    assert windows.starts.tolist() == [T0 + DAY, T0 + 2 * DAY]
    assert windows.index.tolist() == [-1] * 12 + [0] * 24 + [1] * 24
    assert windows.rows.tolist() == [240, 240]


def test_a_model_that_is_used_in_office_hours_has_days_of_those():
    stream = Stream(1, columns=2)
    office = np.isin(np.arange(len(stream.rows)) % 24, range(8, 18))
    stream.counts[~office], stream.rows[~office] = 0, 0
    calibration = calibrate(stream.reference(), lane=DAILY)
    assert calibration.days == 28
    starts, counts = stream.live()
    assert len(calibration.pool(starts, stream.rows[MONTH:]).starts) == LIVE // 24
    assert np.isfinite(calibration.verdicts(counts[:24].sum(axis=0, keepdims=True)).ratios["D"]).all()


def test_a_day_under_way_is_not_closed():
    calibration = calibrate(Stream(1, columns=2).reference(), lane=DAILY)
    hours = T0 + HOUR * np.arange(20)
    assert calibration.pool(hours, np.full(20, 100)).closed.tolist() == [False]
    assert calibration.pool(hours, np.full(20, 100), until=T0 + DAY).closed.tolist() == [True]
    assert len(calibration.pool([], []).starts) == 0


@pytest.mark.parametrize("fault", ["score", "positives"])
def test_an_output_that_shifts_is_found_in_a_quarter_of_an_hour(stream, lanes, fault):
    starts, counts = stream.fine()
    name = SCORE if fault == "score" else PREDICTION
    where, shares = stream.bins.slice(name), stream.shares[name][MONTH + 50]
    shares = (
        stream.shifted(SCORE, np.array([MONTH + 50]), 0.5)[0]
        if fault == "score"
        else triple(stream.kinds[name], shares.copy())
    )
    window = counts[600:604].copy()
    window[1:, where] = stream.rng.multinomial(window[1:, where].sum(axis=1), shares)
    ratios = lanes["5m"].verdicts(window).ratios
    at = starts[600:604]
    found = [FIVE_MINUTES.alarm(s, at, at + 300, r[:, stream.names.index(name)]) for s, r in ratios.items()]
    assert np.any(found, axis=0)[1:].any() and not np.any(found, axis=0)[0]


def test_a_small_change_that_lasts_is_found_by_the_day_and_not_by_its_first_hours():
    small = Stream(4, columns=2, rows=200)
    lanes, at = calibrate_lanes(small.reference()), MONTH + np.arange(24)
    counts = small.counts[at].copy()
    counts[:, small.bins.slice("c0")] = small.rng.multinomial(small.rows[at], small.shifted("c0", at, 0.14))
    day = lanes["1d"].verdicts(counts.sum(axis=0, keepdims=True)).ratios["L"][:, 0]
    assert day[0] > 1
    assert lanes["1h"].verdicts(counts[:2]).ratios["L"][:, 0].max() < 1


def test_ordinary_days_of_all_lanes_raise_no_alarm(stream, lanes):
    _, fine = stream.fine()
    counts = stream.counts[MONTH:]
    windows = {"5m": fine, "1h": counts, "1d": counts.reshape(8, 24, -1).sum(axis=1)}
    for name, lane in LANES.items():
        if lane.before:
            continue  # tests/test_jumps.py
        at = T0 + lane.seconds * np.arange(len(windows[name]))
        ratios = lanes[name].verdicts(windows[name]).ratios
        assert sum(lane.alarm(s, at, at + lane.seconds, r).sum() for s, r in ratios.items()) <= 1
