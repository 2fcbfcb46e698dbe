"""The share of answers that rules replace, against the days before."""

from dataclasses import replace

import numpy as np
import pytest

from barograph import naming
from barograph.delivered import SIGNAL, overridden_limit
from world import DAY, START, World, draw

KEY = (naming.OUTPUT_SHIFTED.name, "")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def serve(world, days, share, rows=1_200):
    """Days of which a rule replaces a share of the answers."""
    for _ in range(days * 4):
        n = rows // 4
        features, score = draw(n)
        replaced = np.arange(n) < round(share * n)
        delivered = np.where(replaced, 1.0 - (score >= 0.5), None)
        world.monitor.record(
            features, score=score, delivered=delivered, rule=[("r" if r else None) for r in replaced]
        )
        world.clock.time += 6 * 3600 - 60
        world.before = replace(
            world.before, clock=world.clock.time
        )  # all of it in the last minute: fewer tiles
        world.tick(60)


def look(world):
    world.clock.time += 180
    world.tick(0)
    world.evaluate()
    world.clock.time -= 180
    return [a for a in world.ledger.alerts() if a.condition.signal == SIGNAL and a.state == "firing"]


def test_a_rule_that_replaces_more_than_in_the_week_before_pages(world):
    serve(world, 4, 0.02)
    assert look(world) == []
    serve(world, 1, 0.06)
    (found,) = look(world)
    assert found.rule.severity == "page" and found.condition.value == pytest.approx(0.06)
    assert found.condition.text.startswith("6.0") and "2.0" in found.condition.text


def test_nothing_is_said_of_a_version_that_is_not_known_for_three_days(world):
    serve(world, 2, 0.0)
    serve(world, 1, 0.5)
    assert look(world) == []


def test_the_line_is_above_what_is_usual_and_falls_with_rows():
    assert overridden_limit(0.02, 100) > overridden_limit(0.02, 10_000) > 0.025
    assert overridden_limit(1.0, 100) == 1.0
    assert START % DAY == 0
