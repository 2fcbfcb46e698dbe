"""Thresholds against their formulas, the rule of alarms, and whole months of traffic: few false alarms, faults found."""

import math

import numpy as np
import pytest
from benchmarks.streams import LIVE, MONTH, T0, Stream, bike, lose, rename, times_1000
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from barograph.bins import BinSet, NumericBins
from barograph.calibrate import calibrate, judge, judged_signals
from barograph.drift import SIGNALS
from barograph.lanes import DAY, HOUR, HOURLY
from barograph.pooling import pool
from barograph.profile import Profile
from barograph.reference import Reference, ReferenceWindows
from barograph.schema import Column, Schema

# Pooling.

hours = st.lists(st.integers(0, 50), max_size=100)


def pooled_by_hand(starts, rows, minimum=30):
    windows, begun = [], None
    for start, count in zip(starts, rows, strict=True):
        if count == 0:
            continue
        if begun is not None and start // DAY != begun[0] // DAY:
            windows.append(begun)
            begun = None
        begun = [
            start if begun is None else begun[0],
            start + HOUR,
            count + (0 if begun is None else begun[2]),
        ]
        if begun[2] >= minimum:
            windows.append(begun)
            begun = None
    return windows + ([begun] if begun is not None else [])


@settings(deadline=None)
@given(hours, st.integers(0, 30))
def test_hours_are_pooled_until_there_are_enough_rows_within_a_day(rows, first):
    starts = T0 + HOUR * (first + np.arange(len(rows)))
    found = pool(starts, rows)
    expected = pooled_by_hand(starts.tolist(), rows)
    assert list(zip(found.starts, found.ends, found.rows, strict=True)) == [tuple(w) for w in expected]
    assert found.sum(np.array(rows, dtype=np.int64)).tolist() == found.rows.tolist()
    assert (found.starts // DAY == (found.ends - 1) // DAY).all()


@settings(deadline=None)
@given(hours)
def test_an_hour_without_rows_may_be_given_or_left_out(rows):
    starts = T0 + HOUR * np.arange(len(rows))
    held = [i for i, count in enumerate(rows) if count]
    whole, sparse = pool(starts, rows), pool(starts[held], [rows[i] for i in held])
    assert whole.starts.tolist() == sparse.starts.tolist()
    assert whole.ends.tolist() == sparse.ends.tolist()


@settings(deadline=None)
@given(hours, st.integers(0, 100))
def test_a_closed_window_stays_what_it_is_when_more_hours_come(rows, cut):
    starts = T0 + HOUR * np.arange(len(rows))
    early, late = pool(starts[:cut], rows[:cut], until=T0 + HOUR * min(cut, len(rows))), pool(starts, rows)
    closed = int(early.closed.sum())
    assert early.closed[:closed].all()
    assert early.ends[:closed].tolist() == late.ends[:closed].tolist()
    assert len(early.closed) - closed <= 1


def test_what_is_left_of_a_day_closes_with_the_day():
    assert pool([T0], [10], until=T0 + 5 * HOUR).closed.tolist() == [False]
    assert pool([T0], [10], until=T0 + DAY).closed.tolist() == [True]
    assert pool([T0], [10]).enough.tolist() == [False]


# Traffic, drawn as counts.


def alarms(calibration, starts, counts):
    """bool (T, C): hours in alarm, by column."""
    ratios = calibration.verdicts(counts).ratios
    found = np.zeros((len(starts), len(calibration.columns)), dtype=bool)
    for signal in SIGNALS:
        for i in range(found.shape[1]):
            found[:, i] |= HOURLY.alarm(signal, starts, starts + HOUR, ratios[signal][:, i])
    return found


@pytest.fixture(scope="module")
def stream():
    return Stream(1)


@pytest.fixture(scope="module")
def calibration(stream):
    return calibrate(stream.reference())


def test_iid_months_raise_at_most_a_few_alarms(stream, calibration):
    found = [alarms(calibration, *stream.live()).any(axis=1).sum()]
    for seed in (2, 3):
        other = Stream(seed)
        found.append(alarms(calibrate(other.reference()), *other.live()).any(axis=1).sum())
    assert sum(found) <= 2


@pytest.mark.parametrize(
    ("name", "change"),
    [("c0", times_1000), ("c0", lose(0.2)), ("c1", lose(0.2)), ("c1", rename(0))],
    ids=["unit", "missing numbers", "missing categories", "renamed"],
)
def test_a_gross_fault_is_found_in_its_first_hour(stream, calibration, name, change):
    for hour in (3, 200, 500):
        counts = stream.faulty(hour, name, change)
        found = alarms(calibration, stream.starts[MONTH + hour :][:3], counts)
        assert found[0, stream.names.index(name)]


def test_ordinary_seasons_stay_within_the_budget_and_faults_are_still_found(data):
    if not (data / "bike-sharing" / "hour.csv").exists():
        pytest.skip("bike-sharing/hour.csv is not in the folder of real data")
    driver = bike(data)
    months, in_alarm, found = 0, 0, []
    for seed, start in enumerate((60, 200, 300)):
        season = Stream(seed, driver=driver[start * 24 :], strength=1.0)
        calibration = calibrate(season.reference())
        assert np.median(calibration.variation.tau) > 0.01  # ordinary hours are no random samples
        in_alarm += np.count_nonzero(alarms(calibration, *season.live()).any(axis=1))
        months += 1
        for name, change in (("c2", times_1000), ("c3", lose(0.2)), ("c5", rename(0))):
            counts = season.faulty(100, name, change)
            found.append(
                alarms(calibration, season.starts[MONTH + 100 :][:3], counts)[0, season.names.index(name)]
            )
    assert in_alarm <= 0.005 * months * LIVE
    assert all(found)


def test_fixed_thresholds_would_stand_in_alarm_where_calibrated_ones_do_not():
    season = Stream(4, driver=np.sin(np.arange(MONTH + LIVE) * 2 * np.pi / 24), strength=2.0)
    starts, counts = season.live()
    calibration = calibrate(season.reference())
    verdicts = calibration.verdicts(counts)
    fixed = (verdicts.values["D"] > 0.4).any(axis=1).mean()  # near PSI 0.4
    assert fixed > 0.2
    assert alarms(calibration, starts, counts).any(axis=1).mean() < 0.005


# The formulas.


def test_lines_are_those_of_the_design(stream, calibration):
    column, n, present = "c0", 500.0, 480.0
    i, v = 0, calibration.variation
    reference = calibration.columns.references[column]
    alpha = HOURLY.share / (720 * 20 * 4)
    z = stats.norm.isf(alpha / 2)
    r, rb = 1 / n + 1 / reference.rows, 1 / present + 1 / reference.present
    m = reference.dof * r + v.tau[i]
    var = 2 * (reference.dof * r**2 + 2 * v.tau[i] * r + v.tau2[i])
    expected = {
        "D": var / (2 * m) * stats.chi2.isf(alpha, 2 * m**2 / var),
        "L": z * math.sqrt(rb + v.tau_location[i] ** 2),
    }
    p = reference.missing_share
    expected["A"] = z * math.sqrt((p * (1 - p) + r) * r + v.tau_missing[i] ** 2)
    expected["U"] = max((z + 3) / n, v.unseen_share[i] + z * math.sqrt(1 / n / n + v.tau_unseen[i] ** 2))
    floors = {"D": 0.02, "L": 0.05, "A": 0.01, "U": 0.01}
    lines = calibration.thresholds(column, n, present)
    for signal, line in expected.items():
        assert lines[signal] == pytest.approx(max(line, floors[signal]) * v.kappa[signal][i], rel=1e-9)
    assert lines["O"] == 0.01


def test_kappa_lifts_a_line_to_what_the_worst_days_would_need(stream):
    wild = Stream(
        11, columns=2, driver=np.repeat(np.random.default_rng(2).standard_t(3, 58), 24), strength=1.0
    )
    calibration = calibrate(wild.reference())
    v = calibration.variation
    window = calibration.columns.totals(wild.counts[:MONTH])
    n, present = window.rows.astype(float), window.present.astype(float)
    base = v.base(n, present, calibration.alpha, sign=-1.0)
    ratio = (judged_signals(calibration.columns, window)["L"] / base["L"])[:, 0]
    before = np.append(0.0, ratio[:-1])
    days = np.maximum(np.minimum(ratio, before), ratio / 2).reshape(28, 24).max(axis=1)
    middle = np.median(days)
    excess = np.mean(days[days > middle] - middle)
    crossing = HOURLY.share / (30 * 2 * 2)
    expected = middle + HOURLY.tail * excess * math.log(0.5 / crossing)
    assert v.kappa["L"][0] == pytest.approx(expected, rel=1e-9)
    assert expected > 1


def test_calm_days_do_not_lower_a_line_below_what_chance_needs(calibration):
    for kappa in calibration.variation.kappa.values():
        assert np.nanmin(kappa) >= 1


def test_new_categories_are_left_to_the_signal_that_is_for_them(stream, calibration):
    counts = stream.live()[1][:2].copy()
    where, bins = stream.bins.slice("c1"), stream.bins.columns["c1"]
    counts[1, where.start + bins.unseen] += 10
    found = calibration.verdicts(counts).values
    assert found["D"][1, 1] < 0.1 and found["U"][1, 1] > 0.009
    assert SIGNALS["D"].function(calibration.columns, calibration.columns.totals(counts))[1, 1] > 0.1


def test_chance_alone_is_no_variation(calibration):
    v = calibration.variation
    assert v.tau.max() < 0.001
    assert v.tau_location[::2].max() < 0.015  # two square roots of what 672 windows can tell
    assert v.tau_missing.max() < 0.002


def test_what_ordinary_hours_add_to_chance_is_measured():
    rng = np.random.default_rng(8)
    bins = NumericBins(np.array([0.0]), -1.0, 1.0)
    share = np.clip(
        0.5 + 0.1 * rng.standard_normal(MONTH), 0.05, 0.95
    )  # ridits: +-0.25, so 0.1 moves L by 0.2
    low = rng.binomial(2000, share)
    counts = np.column_stack([low, 2000 - low, np.zeros(MONTH, int), np.zeros(MONTH, int)])
    columns = BinSet({"x": bins}, {"x": "feature"})
    profile = Profile(columns, 2000 * MONTH, counts.sum(axis=0), np.zeros(4))
    windows = ReferenceWindows(T0 + HOUR * np.arange(MONTH), np.full(MONTH, 2000), counts, {})
    v = calibrate(
        Reference("regression", Schema((Column("x", "numeric"),)), columns, profile, windows)
    ).variation
    assert v.tau_location[0] == pytest.approx(0.2, rel=0.1)
    assert v.tau[0] == pytest.approx(0.04, rel=0.15)  # chi-square distance: (0.1 / 0.5) squared
    assert v.tau2[0] >= v.tau[0] ** 2 * (1 - 1e-9)  # all of it in one direction


def test_a_missing_share_that_varies_by_the_hour_is_measured():
    varied = Stream(6, columns=2)
    part, rng = varied.bins.slice("c1"), np.random.default_rng(9)
    missing = rng.binomial(1000, np.clip(0.2 + 0.05 * rng.standard_normal(len(varied.starts)), 0, 1))
    varied.counts[:, part] = 0
    varied.counts[:, part.start] = 1000 - missing
    varied.counts[:, part.start + varied.bins.columns["c1"].missing] = missing
    calibration = calibrate(varied.reference())
    assert calibration.variation.tau_missing[1] == pytest.approx(0.05, rel=0.1)
    assert not alarms(calibration, *varied.live()).any()


def test_the_reference_s_own_hours_hold_a_part_of_its_error(calibration):
    n = np.full(20, 300.0)
    own, live = (calibration.variation.base(n, n, calibration.alpha, sign=s) for s in (-1.0, 1.0))
    for signal in ("D", "L", "A"):
        assert (own[signal] < live[signal]).all()


def test_lines_fall_with_rows_and_rise_with_a_smaller_budget(stream, calibration):
    n = np.array([30, 100, 1_000, 100_000])
    strict = calibrate(stream.reference(), budget=0.01)
    for signal, line in calibration.thresholds("c1", n).items():
        if signal in ("D", "A", "U", "O"):
            assert (np.diff(line) <= 1e-12).all()
            assert (strict.thresholds("c1", n)[signal] >= line - 1e-12).all()


def test_lines_of_one_column_are_those_of_all_in_one_pass(stream, calibration):
    counts = stream.live()[1][:10]
    together = calibration.verdicts(counts).thresholds
    window = calibration.columns.totals(counts)
    for i in (0, 1):
        alone = calibration.thresholds(stream.names[i], window.rows[:, i], window.present[:, i])
        for signal, lines in together.items():
            known = ~np.isnan(lines[:, i])
            np.testing.assert_allclose(lines[known, i], alone[signal][known])


def test_new_categories_that_come_every_week_raise_the_line_of_unseen(stream, calibration):
    news = np.full(MONTH, 20)  # 2 % of each hour's rows
    calm, used = calibration, calibrate(stream.reference(novel={"c1": news}))
    assert used.variation.unseen_share[1] == pytest.approx(0.02)
    assert used.thresholds("c1", 1000)["U"] > calm.thresholds("c1", 1000)["U"] + 0.02


def test_an_unknown_column_is_named(calibration):
    with pytest.raises(ValueError, match="'nope' is not in the reference"):
        calibration.thresholds("nope", 100)


def test_a_budget_of_nothing_is_refused(stream):
    with pytest.raises(ValueError, match="budget: 0"):
        calibrate(stream.reference(), budget=0)


# States that are no verdict.


def test_below_30_rows_there_is_no_verdict(stream, calibration):
    counts = np.zeros(stream.bins.size, dtype=np.int64)
    counts[stream.bins.slice("c1").start] = 29
    found = judge(calibration, counts)
    assert {j.state for j in found} == {"too_few_rows"}
    assert {(j.value, j.threshold, j.ratio) for j in found} == {(None, None, None)}


def test_location_needs_30_values_that_are_not_missing(stream, calibration):
    counts = np.zeros(stream.bins.size, dtype=np.int64)
    where = stream.bins.slice("c0")
    counts[where.start + 12], counts[where.start + stream.bins.columns["c0"].missing] = 29, 500
    found = {j.signal: j for j in judge(calibration, counts) if j.column == "c0"}
    assert found["L"].state == "too_few_rows"
    assert found["A"].ratio > 2


@pytest.mark.parametrize("days", [None, 6])
def test_without_weeks_to_learn_from_only_gross_faults_are_judged(stream, days):
    reference = stream.reference(24 * (days or 7))
    if days is None:
        reference = Reference("regression", reference.schema, reference.bins, reference.baseline)
    calibration = calibrate(reference)
    assert ("timestamps" if days is None else "6 days") in calibration.learning
    found = {(j.column, j.signal): j for j in judge(calibration, stream.faulty(5, "c1", lose(0.3))[0])}
    assert found["c1", "D"].state == "learning"
    assert found["c1", "D"].value is not None
    assert (found["c1", "D"].threshold, found["c1", "D"].ratio) == (None, None)
    assert found["c1", "A"].threshold == 0.2
    assert found["c1", "A"].ratio > 1
    assert found["c0", "L"].state == "learning"
    renamed = {(j.column, j.signal): j for j in judge(calibration, stream.faulty(5, "c1", rename(0))[0])}
    assert renamed["c1", "U"].ratio > 2
    other_unit = {(j.column, j.signal): j for j in judge(calibration, stream.faulty(5, "c0", times_1000)[0])}
    assert other_unit["c0", "O"].ratio > 2


def test_a_line_beyond_what_the_signal_can_reach_says_so():
    wild = Stream(
        5, columns=2, driver=np.repeat(np.random.default_rng(0).standard_cauchy(58), 24) * 3, strength=9.0
    )
    states = {
        j.signal: j.state for j in judge(calibrate(wild.reference()), wild.live()[1][0]) if j.column == "c0"
    }
    assert states["L"] == "cannot_alarm"
    assert states["O"] == "judged"


def test_a_judgement_exists_only_for_signals_that_the_column_has(stream, calibration):
    by_column = {name: set() for name in stream.names}
    for found in judge(calibration, stream.live()[1][0]):
        by_column[found.column].add(found.signal)
        assert found.ratio == pytest.approx(found.value / found.threshold)
        assert found.n == 1000
    assert by_column["c0"] == {"D", "L", "A", "O"}
    assert by_column["c1"] == {"D", "A", "U", "O"}


@pytest.mark.parametrize(
    ("n", "faulty", "expected"), [(40, 4, False), (40, 5, True), (5000, 50, False), (5000, 51, True)]
)
def test_out_of_range_needs_one_percent_and_five_rows(calibration, stream, n, faulty, expected):
    counts = np.zeros(stream.bins.size, dtype=np.int64)
    where, bins = stream.bins.slice("c0"), stream.bins.columns["c0"]
    counts[where.start + bins.values - 1], counts[where.start + bins.values // 2] = faulty, n - faulty
    (found,) = [j for j in judge(calibration, counts) if (j.column, j.signal) == ("c0", "O")]
    assert (found.ratio > 1) == expected


# The rule of alarms.


def alarm_by_hand(signal, hours, ratios):
    out, previous = [], None
    for hour, ratio in zip(hours, ratios, strict=True):
        if math.isnan(ratio):
            out.append(False)
            continue
        once = ratio > (1 if signal == "O" else 2)
        twice = previous is not None and ratio > 1 and previous[1] > 1 and hour - (previous[0] + 1) <= 6
        out.append(once or twice)
        previous = (hour, ratio)
    return out


@settings(deadline=None)
@given(
    st.sampled_from(["D", "L", "A", "U", "O"]),
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.2, 1.0, 1.5, 2.0, 2.5, math.nan])), max_size=30),
)
def test_an_alarm_is_two_in_a_row_or_twice_the_line(signal, history):
    hours, ratios = np.cumsum([h for h, _ in history], dtype=np.int64), [r for _, r in history]
    found = HOURLY.alarm(signal, hours * HOUR, (hours + 1) * HOUR, np.array(ratios))
    assert found.tolist() == alarm_by_hand(signal, hours.tolist(), ratios)


def test_an_empty_history_is_no_alarm():
    assert HOURLY.alarm("D", np.array([]), np.array([]), np.array([])).tolist() == []
