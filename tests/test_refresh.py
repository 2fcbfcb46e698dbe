"""The weekly refresh: lines follow ordinary life, but no farther than 1.25 times; what they may not follow shows as creeping."""

import numpy as np
import pytest
from benchmarks.streams import MONTH, T0, Stream, lose

from barograph.calibrate import RISE, calibrate, calibrate_lanes
from barograph.drift import SIGNALS
from barograph.lanes import DAILY, DAY, HOUR, HOURLY
from barograph.reference import Reference
from barograph.refresh import WEEK, Live, creeping, due, refresh, refresh_lanes

N = np.array([100.0, 1000.0, 10_000.0])


@pytest.fixture(scope="module")
def stream():
    return Stream(1, columns=4, live=35 * 24)


@pytest.fixture(scope="module")
def reference(stream):
    return stream.reference()


@pytest.fixture(scope="module")
def first(reference):
    return calibrate(reference)


@pytest.fixture(scope="module")
def wilder():
    """A reference of calm weeks, and live ones in which columns move from hour to hour."""
    driver = np.random.default_rng(5).normal(size=MONTH + 28 * 24)
    driver[:MONTH] = 0
    return Stream(2, columns=4, driver=driver, strength=0.4, live=28 * 24)


def lived(stream, hours):
    return Live(*(part[:hours] for part in stream.live()))


def without_time(reference):
    return Reference(reference.task, reference.schema, reference.bins, reference.baseline)


def test_lines_change_once_a_week_and_once_a_day_while_learning():
    begun = T0 + 5 * HOUR
    moments = begun + HOUR * np.arange(24 * 22)
    weekly = {due(begun, now) for now in moments.tolist()}
    assert weekly == {T0, T0 + WEEK, T0 + 2 * WEEK, T0 + 3 * WEEK}
    assert len({due(begun, now, learning=True) for now in moments.tolist()}) == 23
    assert due(begun, begun - 10 * DAY) == T0


def test_without_live_hours_the_lines_stay_what_they_are(stream, reference, first):
    same = refresh(first, reference, lived(stream, 0))
    for signal, line in first.thresholds("c0", N).items():
        np.testing.assert_allclose(same.thresholds("c0", N)[signal], line)


def test_the_same_inputs_give_the_same_lines(stream, reference, first):
    left = np.arange(200) % 9 == 0
    one, two = (refresh(first, reference, lived(stream, 200), leave_out=left) for _ in range(2))
    for signal in SIGNALS:
        np.testing.assert_array_equal(one.thresholds("c1", N)[signal], two.thresholds("c1", N)[signal])


def test_the_reference_s_shares_stay_frozen(stream, reference, first):
    assert refresh(first, reference, lived(stream, 300)).columns is first.columns


def test_no_line_rises_above_one_and_a_quarter_of_its_first_at_any_number_of_rows(wilder):
    reference = wilder.reference()
    first = calibrate(reference)
    found = refresh(first, reference, lived(wilder, 21 * 24))
    at_most = first.thresholds("c0", N)["L"] * RISE
    np.testing.assert_allclose(found.thresholds("c0", N)["L"][1:], at_most[1:])  # they would rise farther
    counts = wilder.live()[1][:50]
    for signal, line in found.verdicts(counts).thresholds.items():
        most = RISE * first.verdicts(counts).thresholds[signal]
        known = ~np.isnan(line)
        assert (line[known] <= most[known] * (1 + 1e-9)).all()


def test_what_a_person_marked_is_no_problem_teaches_its_own_line_and_no_other(wilder):
    reference = wilder.reference()
    first = calibrate(reference)
    found = refresh(first, reference, lived(wilder, 21 * 24), taught=[("c0", "L")])
    assert (found.thresholds("c0", N)["L"] > RISE * 1.5 * first.thresholds("c0", N)["L"])[1:].all()
    np.testing.assert_allclose(found.thresholds("c2", N)["L"][2], RISE * first.thresholds("c2", N)["L"][2])
    counts = wilder.live()[1][:5]
    of_column = counts[:, wilder.bins.slice("c0")]
    present = of_column.sum(axis=1) - of_column[:, wilder.kinds["c0"].missing]
    again = found.verdicts(counts).thresholds["L"][:, 0]
    np.testing.assert_allclose(again, found.thresholds("c0", 1000.0, present)["L"])


def test_hours_of_incidents_teach_nothing(stream, reference, first):
    counts, hours = stream.live()[1].copy(), slice(50, 90)
    ordinary = refresh(first, reference, Live(stream.starts[MONTH:], counts))
    counts[hours] = stream.faulty(50, "c1", lose(0.4), 40)
    left = np.zeros(len(counts), dtype=bool)
    left[hours] = True
    live = Live(stream.starts[MONTH:], counts)
    taught, kept = refresh(first, reference, live), refresh(first, reference, live, leave_out=left)
    of_one = refresh(first, reference, live, leave_out=left[:, None] & (np.arange(4) == 1))
    line = float(ordinary.thresholds("c1", 1000)["A"])
    assert taught.variation.tau_missing[1] > 0.03
    assert kept.thresholds("c1", 1000)["A"] == pytest.approx(line, rel=0.02)
    assert of_one.thresholds("c1", 1000)["A"] == pytest.approx(line, rel=0.02)
    np.testing.assert_allclose(of_one.thresholds("c0", N)["L"], ordinary.thresholds("c0", N)["L"])


def test_hours_to_leave_out_are_one_for_each_live_hour(stream, reference, first):
    with pytest.raises(ValueError, match="leave_out: 3 hours, but live has 20"):
        refresh(first, reference, lived(stream, 20), leave_out=np.zeros(3, dtype=bool))


def test_gaps_in_live_hours_are_no_windows(stream, reference, first):
    starts, counts = stream.live()
    there = np.ones(400, dtype=bool)
    there[30:200] = False
    empty = counts[:400].copy()
    empty[~there] = 0
    found = refresh(first, reference, Live(starts[:400][there], counts[:400][there]))
    zeros = refresh(first, reference, Live(starts[:400], empty))
    for signal in SIGNALS:
        np.testing.assert_allclose(found.thresholds("c1", N)[signal], zeros.thresholds("c1", N)[signal])


def test_all_lanes_are_refreshed_as_each_is(stream, reference):
    firsts, live = calibrate_lanes(reference), lived(stream, 14 * 24)
    together = refresh_lanes(firsts, reference, live)
    for name, lines in firsts.items():
        alone = refresh(lines, reference, live)
        np.testing.assert_array_equal(together[name].variation.tau_location, alone.variation.tau_location)
        assert together[name].lane is lines.lane


# A reference that tells nothing of ordinary weeks.


def test_a_version_learns_for_14_days_and_claims_its_budget_from_28(stream, reference):
    first = calibrate(without_time(reference))
    young = refresh(first, without_time(reference), lived(stream, 13 * 24 + 23))
    assert "13 of 14 days" in young.learning  # the fourteenth is not over
    eleven = refresh(first, without_time(reference), lived(stream, 11 * 24))
    assert "no timestamps; 11 of 14 days" in eleven.learning
    two_weeks = refresh(first, without_time(reference), lived(stream, 14 * 24))
    assert two_weeks.learning is None and two_weeks.days == 14
    assert "claimed from 28 days" in two_weeks.note
    four_weeks = refresh(first, without_time(reference), lived(stream, 28 * 24))
    assert four_weeks.note is None and four_weeks.first is not None
    later = refresh(first, without_time(reference), lived(stream, 35 * 24))
    assert later.days == 35 and later.first.days == 28


def test_lines_learnt_from_live_weeks_are_near_those_of_a_reference_with_time(stream, reference, first):
    learnt = refresh(calibrate(without_time(reference)), without_time(reference), lived(stream, 28 * 24))
    for signal in ("D", "L", "A"):
        assert learnt.thresholds("c0", 1000)[signal] == pytest.approx(
            first.thresholds("c0", 1000)[signal], rel=0.4
        )


# What lines may not follow.


def days_of(stream, name, by):
    """Daily counts, one column moved by so many standard deviations on each day."""
    at = np.arange(MONTH, MONTH + 24 * len(by))
    counts = stream.counts[at].copy()
    counts[:, stream.bins.slice(name)] = stream.rng.multinomial(
        stream.rows[at], stream.shifted(name, at, np.repeat(by, 24))
    )
    return counts


def test_a_week_that_is_farther_off_than_half_of_what_a_day_may_be_is_creeping():
    small = Stream(6, columns=4, rows=30)
    first = calibrate(small.reference(), lane=DAILY)
    line = float(first.thresholds("c0", 720)["L"])
    counts = days_of(small, "c0", np.append(np.zeros(4), np.full(10, 0.75)) * line)
    days = counts.reshape(14, 24, -1).sum(axis=1)
    found = creeping(first, days)["L"]
    assert not found[:6, 0].any() and found[12:, 0].all()
    assert not found[:, 1:].any()
    assert first.verdicts(days).ratios["L"][:, 0].max() < 1.3  # a line that follows by a quarter sees nothing


def test_fewer_than_seven_days_are_never_creeping(stream, reference):
    first = calibrate(reference, lane=DAILY)
    counts = days_of(stream, "c0", np.full(6, 3.0)).reshape(6, 24, -1).sum(axis=1)
    assert not any(found.any() for found in creeping(first, counts).values())
    assert creeping(first, counts[:0])["D"].shape == (0, 4)


def test_nothing_creeps_while_ordinary_days_are_unknown(stream, reference):
    first = calibrate(without_time(reference), lane=DAILY)
    counts = days_of(stream, "c0", np.full(8, 0.5)).reshape(8, 24, -1).sum(axis=1)
    assert not creeping(first, counts)["L"].any()


def test_a_few_new_categories_are_no_alarm_while_learning(stream, reference):
    first = calibrate(without_time(reference))
    assert first.thresholds("c1", 100_000)["U"] == 0.03


def test_a_drift_of_half_a_year_s_size_is_found_though_lines_follow_it(stream, reference):
    days = 35
    counts = days_of(stream, "c0", 0.6 * np.arange(1, days + 1) / 90)
    firsts, starts = calibrate_lanes(reference, lanes=[HOURLY, DAILY]), stream.starts[MONTH:]
    out = []
    for week in range(0, days, 7):
        now = refresh_lanes(firsts, reference, Live(starts[: week * 24], counts[: week * 24]))
        daily = counts[week * 24 : (week + 7) * 24].reshape(7, 24, -1).sum(axis=1)
        out.append(now["1d"].verdicts(daily).ratios["L"][:, 0])
    assert np.concatenate(out).max() > 1
