"""Columns are judged by five minutes, hours and days, by lines that are refreshed each week: through the real code path."""

from dataclasses import replace

import numpy as np
import pytest

from barograph import naming, refresh
from barograph.judging import Judging, by_lane
from barograph.lanes import FIVE_MINUTES
from barograph.ledger import Counted, Ledger
from barograph.policy import Mark
from barograph.versions import deployed
from world import DAY, START, World, draw

HOUR = 3600


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def five_minutes(world, rows, shift=0.0):
    """Rows whose scores are moved by so many standard deviations (0.12), and a pass two minutes after their end."""
    features, score = draw(rows)
    world.monitor.record(features, score=np.clip(score + 0.12 * shift, 0, 1))
    world.tick(300)
    world.clock.time += 120
    world.evaluate()
    world.clock.time -= 120


def judged(world, lane):
    return world.ledger.history(
        Counted("risk", "1", world.reference.bins.id, lane), 0, 9e12, len(world.reference.bins.columns)
    )


def located(features, score):
    """Amounts a quarter of a standard deviation higher."""
    return {**features, "amount": features["amount"] * np.exp(0.5 * 0.25)}, score


def test_an_output_that_shifts_pages_within_a_quarter_of_an_hour(world):
    for _ in range(3):
        five_minutes(world, 833)
    assert world.firing() == set()
    for _ in range(3):
        five_minutes(world, 833, shift=0.5)
    assert world.firing() == {(naming.OUTPUT_SHIFTED.name, "score")}
    assert all(a.condition.text.endswith(", over five minutes") for a in world.ledger.alerts())


def test_inputs_are_not_judged_by_five_minutes_and_few_rows_are_no_verdict(world):
    five_minutes(world, 833)
    five_minutes(world, FIVE_MINUTES.minimum - 1)
    found, names = judged(world, "5m"), list(world.reference.bins.columns)
    known = np.isfinite(found.values["D"])
    assert found.ends.tolist() == [START + 300, START + 600]
    assert {name for name, here in zip(names, known[0], strict=True) if here} == {"score", "prediction"}
    assert not known[1].any()


def test_a_shift_too_small_for_an_hour_is_found_by_the_day_and_stays_until_a_day_is_ordinary(world):
    for _ in range(25):
        world.hour(change=located)
    assert world.firing() == {(naming.FEATURE_SHIFTED.name, "amount")}
    found = [a for a in world.ledger.alerts() if a.state == "firing"]
    assert all(a.condition.text.endswith(", over the day") and a.since == START for a in found)
    for _ in range(22):
        world.hour()
        assert world.firing()  # ordinary hours say nothing of what no hour could tell
    for _ in range(5):
        world.hour()
    assert world.firing() == set()


def test_what_an_hour_has_told_the_day_does_not_tell_again(world):
    for i in range(25):
        world.hour(change=(lambda f, s: ({**f, "amount": f["amount"] * 1000}, s)) if 2 <= i < 5 else None)
    days = judged(world, "1d")
    amount = list(world.reference.bins.columns).index("amount")
    assert (days.values["O"] / days.thresholds["O"])[0, amount] > 1
    assert world.firing() == set() and len(world.ledger.incidents()) == 1


def test_a_restart_forgets_nothing_of_what_other_lanes_say(world):
    for _ in range(25):
        world.hour(change=located)
    before = world.firing()
    world.ledger = type(world.ledger)(world.tiles)
    for _ in range(3):
        world.hour()
    assert world.firing() == before != set()


def test_each_lane_judges_each_window_once(world):
    for _ in range(26):
        world.hour(rows=2400)
    for lane, seconds in (("5m", 300), ("jump", 900), ("", HOUR), ("1d", DAY)):
        found = judged(world, lane)
        assert len(set(found.starts.tolist())) == len(found.starts)
        assert (found.ends - found.starts == seconds).all()
        assert found.ends[-1] > START + 26 * HOUR - seconds - 900  # rows come each quarter of an hour


# The refresh.

FIRST = START - 6 * DAY  # a version's first day, so that its first week is over after one day of this world


def refreshed(world, at, marks=()):
    """The hourly calibration in force at a moment, and until when it is."""
    version, bins = deployed_one(world)
    model = world.config.model("risk")
    judging = Judging(world.tiles, Ledger(world.tiles), world.references, model, "risk", HOUR, marks)
    due = {d.counted.lane: d for d in judging.due(version, bins, START + 9 * DAY)}[""]
    return judging._calibration(replace(due, first=FIRST), at)


def hours(world, n, change=None):
    """Hours of traffic in the tiles, without a pass."""
    for _ in range(n):
        features, score = draw(60) if change is None else change(*draw(60))
        world.monitor.record(features, score=score)
        world.tick(HOUR)


def test_lines_stay_for_a_week_and_then_learn_from_it(world):
    hours(world, 25)
    first, until = refreshed(world, START + 23 * HOUR)
    again, later = refreshed(world, START + DAY)
    assert first is world.references.of(*deployed_one(world)).first(again.lane)
    assert (until, later) == (START + DAY, START + DAY + refresh.WEEK)
    assert again.first is first and again.days == first.days + 1


def test_hours_of_incidents_are_left_out_but_not_those_of_a_mark(world):
    def dearer(features, score):
        return {**features, "amount": features["amount"] * 4}, score

    hours(world, 3)
    for _ in range(4):
        world.hour(change=dearer)
    assert world.ledger.incidents()[0].open
    hours(world, 18, change=dearer)
    firing = [a for a in world.ledger.alerts() if a.condition.signal in "DL"]
    marks = [Mark.of(a, world.reference.bins.id, world.clock.time, "ada", "a sale") for a in firing]
    assert {mark.column for mark in marks} == {"amount"}
    first, left_out, no_problem = (
        float(refreshed(world, at, made)[0].thresholds("amount", 60)["L"])
        for at, made in ((START + 23 * HOUR, ()), (START + DAY, ()), (START + DAY, marks))
    )
    assert left_out <= 1.25 * first < no_problem


def deployed_one(world):
    (version,) = deployed(world.tiles)
    return version, world.reference.bins.id


def test_every_lane_is_remembered_under_a_name_of_its_own(world):
    world.tick(60)
    (version,) = deployed(world.tiles)
    for window, names in (
        (HOUR, ["5m", "jump", "", "1d"]),
        (300, ["jump", "", "1d"]),
        (600, ["5m", "jump", "", "1d"]),
    ):
        assert [counted.lane for _, counted in by_lane(version, "b", window)] == names
