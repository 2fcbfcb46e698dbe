"""Alerts: the state machine, severities, and incidents that group them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph import alert, naming
from barograph.alert import Condition, column_rule, incident, status, step

SHIFT = Condition(naming.FEATURE_SHIFTED.name, "m", "1", True, 0, 3600, "x", "D", 2.0, 1.0, "x is higher")
ERRORS = Condition(naming.ERRORS_HIGH.name, "m", "1", True, 0, 60, text="5 % of predictions fail")


def at(condition, begin, end, active=True):
    return replace(condition, since=float(begin), at=float(end), active=active)


def test_a_condition_with_a_wait_is_pending_before_it_fires():
    alert_ = step(None, at(ERRORS, 0, 60))
    assert alert_.state == alert.PENDING
    assert step(alert_, at(ERRORS, 60, 121)).state == alert.FIRING


def test_a_pending_alert_that_ends_was_nothing():
    assert step(step(None, at(ERRORS, 0, 60)), at(ERRORS, 60, 120, active=False)) is None


def test_a_firing_alert_keeps_firing_for_a_while_and_then_resolves():
    alert_ = step(None, SHIFT)
    assert alert_.state == alert.FIRING
    quiet = step(alert_, at(SHIFT, 3600, 7200, active=False))
    assert quiet.state == alert.FIRING
    done = step(quiet, at(SHIFT, 7200, 10_800, active=False))
    assert done.state == alert.RESOLVED and done.until == 10_800


def test_no_verdict_changes_nothing():
    alert_ = step(None, SHIFT)
    assert step(alert_, at(SHIFT, 3600, 99_999, active=None)) == alert_
    assert step(None, at(SHIFT, 0, 1, active=None)) is None


def test_a_resolved_alert_begins_anew():
    alert_ = step(None, SHIFT)
    done = step(alert_, at(SHIFT, 20_000, 23_600, active=False))
    again = step(done, at(SHIFT, 90_000, 93_600))
    assert again.state == alert.FIRING and again.since == 90_000 and again.until is None


@given(st.lists(st.sampled_from([True, False, None]), max_size=30))
def test_looking_twice_at_the_same_moment_changes_nothing(seen):
    once = twice = None
    for i, active in enumerate(seen):
        look = at(ERRORS, i * 60, i * 60 + 60, active)
        once = step(once, look)
        twice = step(step(twice, look), look)
    assert once == twice


@pytest.mark.parametrize(
    ("role", "signal", "value", "severity"),
    [
        ("score", "L", 0.1, "page"),
        ("prediction", "D", 0.1, "page"),
        ("feature", "D", 9.0, "ticket"),
        ("feature", "A", 0.19, "ticket"),
        ("feature", "A", 0.2, "page"),
        ("feature", "U", 0.5, "page"),
        ("feature", "O", 0.011, "page"),
    ],
)
def test_answers_page_and_inputs_are_tickets_unless_gross(role, signal, value, severity):
    assert column_rule(role, signal, value).severity == severity


def test_a_model_needs_action_only_for_a_page():
    page, ticket = step(None, at(ERRORS, 0, 999)), step(None, SHIFT)
    assert status([]) == "ok"
    assert status([ticket]) == "watch"
    assert status([ticket, page]) == "act"
    assert status([replace(page, state=alert.PENDING)]) == "ok"


def test_one_incident_groups_a_models_alerts_from_the_first_to_the_last():
    ticket, page = step(None, SHIFT), step(None, at(ERRORS, 1800, 9000))
    first = incident(None, "m", [ticket], 3600)
    assert first.open and first.severity == "ticket" and first.since == 0 and first.headline == "x is higher"
    worse = incident(first, "m", [ticket, page], 9000)
    assert worse.id == first.id and worse.severity == "page" and worse.headline == ERRORS.text
    better = incident(worse, "m", [ticket], 9600)
    assert better.severity == "page" and better.headline == ERRORS.text and better.open
    assert incident(better, "m", [], 10_000).until == 10_000


def test_the_most_urgent_alert_comes_first():
    page, ticket = step(None, at(ERRORS, 0, 999)), step(None, SHIFT)
    worse = step(None, replace(SHIFT, column="y", value=9.0))
    assert [a.condition.column for a in alert.firing([ticket, worse, page])] == ["", "y", "x"]


def test_an_incident_never_ends_before_it_began():
    """The hour that ends the last alert may have closed before the minute in which another one began."""
    seen = step(None, at(ERRORS, 7260, 7500))
    opened = incident(None, "m", [seen], 7500.0)
    assert opened.open and incident(opened, "m", [], 7200.0).until == opened.since
