"""What is looked at each minute, in stories: batches, few rows, new versions. The mixin's rules have the same ones."""

import math

import numpy as np
import pytest

from barograph import checks, naming, traffic
from world import World, draw

NO_TRAFFIC = (naming.NO_TRAFFIC.name, "")
EMPTY = (naming.EMPTY_HIGH.name, "")


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path)
    yield found
    found.close()


def weeks(world, hour):
    """Ten hours of traffic, and the first four of the same hours a week later."""
    for _ in range(10):
        hour(world)
    world.tick((7 * 24 - 10) * 3600)
    for _ in range(4):
        hour(world)


def steady_hour(world):
    """300 rows, one after the other."""
    features, score = draw(300)
    world.monitor.record(features, score=score)
    world.tick(3600)


def batch_hour(world):
    """A batch, and nothing else."""
    batch(world)
    world.tick(59 * 60)


def batch(world):
    """200 rows in one minute of an hour."""
    features, score = draw(200)
    world.monitor.record(features, score=score)
    world.tick(60)


def test_a_batch_an_hour_is_no_silence_between(world):
    weeks(world, batch_hour)
    for _ in range(2):
        batch(world)
        for _ in range(11):
            world.tick(300)
            world.evaluate()
            assert NO_TRAFFIC not in world.firing()
        world.tick(240)


def test_a_batch_that_stays_away_is_missed_after_two_hours(world):
    weeks(world, batch_hour)
    world.tick(50 * 60)  # the batch of this hour did not come
    world.evaluate()
    assert NO_TRAFFIC not in world.firing()
    world.tick(15 * 60)
    world.evaluate()
    assert NO_TRAFFIC in world.firing()
    batch(world)
    world.tick(6 * 60)
    world.evaluate()
    assert NO_TRAFFIC not in world.firing()


def test_steady_traffic_that_stops_is_missed_after_five_minutes_and_as_long_as_it_lasts(world):
    weeks(world, steady_hour)
    fired = []
    for _ in range(40):
        world.tick(300)
        world.evaluate()
        fired.append(NO_TRAFFIC in world.firing())
    assert all(fired[1:])


def test_events_without_a_gap_are_steady():
    assert traffic.steady(np.ones(60), 5)
    assert not traffic.steady(np.repeat([1, 0, 1], [20, 5, 35]), 5)
    assert traffic.steady(np.repeat([1, 0, 1], [20, 4, 36]), 5)
    assert not traffic.steady(np.zeros(1), 5)


def answers(world, rows, empty, version=None):
    """An hour of one kind of traffic: so many rows, of which some are empty."""
    monitor = world.monitor if version is None else version
    features, score = draw(rows)
    monitor.record(features, score=[None if i < empty else float(s) for i, s in enumerate(score)])
    world.tick(3600)


def test_a_share_of_few_answers_that_chance_explains_is_no_page(world):
    for _ in range(30):
        answers(world, 40, 2)
    answers(world, 40, 6)  # 15 %: three times as many
    world.clock.time += 180
    world.evaluate()
    assert EMPTY not in world.firing()


def test_more_empty_answers_than_chance_explains_page(world):
    for _ in range(30):
        answers(world, 40, 2)
    answers(world, 40, 12)
    world.clock.time += 180
    world.evaluate()
    assert EMPTY in world.firing()


@pytest.mark.parametrize(("empty", "pages"), [(26, False), (78, True)])
def test_of_a_new_model_more_than_half_of_the_answers_must_be_empty(world, empty, pages):
    answers(world, 80, empty)
    world.clock.time += 180
    world.evaluate()
    assert (EMPTY in world.firing()) is pages


def test_the_line_is_five_points_above_usual_where_rows_are_many():
    assert checks.empty_limit(0.1, 1e9) == pytest.approx(0.15, abs=1e-4)
    assert checks.empty_limit(0.97, 100) > 1  # nothing is too much for a model that answers nothing


@pytest.mark.parametrize("usual", [0.0, 0.05, 0.3, 0.6])
@pytest.mark.parametrize("rows", [30, 100, 1000])
def test_chance_crosses_the_line_once_in_thousands_of_hours(usual, rows):
    least = math.floor(checks.empty_limit(usual, rows) * rows) + 1
    beyond = sum(
        math.exp(
            math.lgamma(rows + 1) - math.lgamma(k + 1) - math.lgamma(rows - k + 1)
            + k * math.log(max(usual, 1e-9)) + (rows - k) * math.log1p(-usual)
        )
        for k in range(least, rows + 1)
    )  # fmt: skip
    assert beyond < 1 / 2000
