"""The evaluator: calm when all is ordinary, and in the first judged hours of a fault it says which."""

import numpy as np
import pytest

from barograph import Monitor, Reference, naming
from barograph.config import Config, ModelConfig
from barograph.ledger import Counted
from world import DAY, START, World, draw


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def thousandfold(features, score):
    return {**features, "amount": features["amount"] * 1000}, score


def test_two_ordinary_days_raise_nothing(world):
    for _ in range(48):
        assert world.hour() == []
    assert world.firing() == set()


@pytest.mark.parametrize(
    ("change", "rule", "column"),
    [
        (thousandfold, naming.INPUT_BROKEN, "amount"),
        (lambda f, s: ({**f, "amount": np.where(np.arange(len(s)) % 2, np.nan, f["amount"])}, s), naming.INPUT_BROKEN, "amount"),
        (lambda f, s: ({**f, "country": ["GER" if c == "DE" else c for c in f["country"]]}, s), naming.INPUT_BROKEN, "country"),
        (lambda f, s: (f, np.full(len(s), 0.93)), naming.OUTPUT_SHIFTED, "score"),
        (lambda f, s: ({**f, "visits": f["visits"] * 0 + 8}, s), naming.FEATURE_SHIFTED, "visits"),
    ],
)  # fmt: skip
def test_a_fault_is_found_within_two_judged_hours(world, change, rule, column):
    for _ in range(6):
        world.hour()
    for _ in range(2):
        world.hour(change=change)
    assert (rule.name, column) in world.firing()


def test_a_ticket_does_not_turn_a_model_red(world):
    for _ in range(3):
        world.hour(change=lambda f, s: ({**f, "visits": f["visits"] * 0 + 8}, s))
    assert {a.rule.severity for a in world.ledger.alerts()} == {"ticket"}


def test_an_incident_opens_once_and_closes_after_the_fault(world):
    world.hour()
    opened = [c for _ in range(3) for c in world.hour(change=thousandfold)]
    assert len({c.incident.id for c in opened}) == 1 and opened[0].incident.id.startswith(
        f"risk-{START + 3600}-"
    )
    (incident,) = world.ledger.incidents()
    assert incident.open and incident.severity == "page" and "amount" in incident.headline
    for _ in range(5):
        world.hour()
    (incident,) = world.ledger.incidents()
    assert not incident.open and world.firing() == set()


def test_an_hour_is_judged_once_and_a_second_pass_changes_nothing(world):
    for _ in range(4):
        world.hour(change=thousandfold)
    before = (world.ledger.alerts(), world.ledger.incidents(), len(judged(world).starts))
    assert world.evaluate() == [] and world.evaluate() == []
    assert before == (world.ledger.alerts(), world.ledger.incidents(), len(judged(world).starts))


def judged(world):
    counted = Counted("risk", "1", world.reference.bins.id)
    return world.ledger.history(counted, 0, 9e12, len(world.reference.bins.columns))


def test_hours_with_few_rows_pool_until_there_are_enough(world):
    for _ in range(12):
        world.hour(rows=8)
    history = judged(world)
    assert len(history.starts) == 3
    assert (history.rows[:, 0] >= 30).all() and (history.ends - history.starts == 4 * 3600).all()


def test_an_evaluator_that_was_away_catches_up_and_finds_the_same(tmp_path):
    present, away = World(tmp_path / "a"), World(tmp_path / "b")
    for world in (present, away):
        if world is away:
            world.evaluate = list
        rng = np.random.default_rng(5)
        for hour in range(10):
            broken = hour in (4, 5, 6)

            def change(f, s, broken=broken, rng=rng):
                return {**f, "amount": rng.lognormal(3, 0.5, len(s)) * (1000 if broken else 1)}, s

            world.hour(change=change)
    del away.evaluate
    away.clock.time += 180
    away.evaluate()
    assert [i.headline[:24] for i in away.ledger.incidents()] == [
        i.headline[:24] for i in present.ledger.incidents()
    ]
    assert [(i.since, i.until) for i in away.ledger.incidents()] == [
        (i.since, i.until) for i in present.ledger.incidents()
    ]
    present.close()
    away.close()


def test_silence_pages_where_traffic_is_usual_at_this_hour(world):
    for _ in range(7 * 24 + 10):
        features, score = draw(40)
        world.monitor.record(features, score=score)
        world.tick(3600)
    world.evaluate()
    assert world.firing() == set()
    world.tick(3600)
    world.evaluate()
    assert (naming.NO_TRAFFIC.name, "") in world.firing()
    world.monitor.record(draw(10)[0], score=draw(10)[1])
    world.tick(60)
    world.tick(400)
    world.evaluate()
    assert (naming.NO_TRAFFIC.name, "") not in world.firing()


def test_silence_in_the_first_week_is_no_news(world):
    world.hour()
    for _ in range(6):
        world.hour(rows=0)
    assert world.firing() == set()


def test_failing_predictions_page_after_two_minutes(world):
    for _ in range(4):
        world.monitor.record(draw(10)[0], score=draw(10)[1])
        for _ in range(3):
            world.monitor.error("Timeout")
        world.tick(60)
        world.evaluate()
    assert (naming.ERRORS_HIGH.name, "") in world.firing()


def test_empty_answers_page(world):
    for _ in range(3):
        world.hour()
    for _ in range(2):
        for _ in range(4):
            world.monitor.record(draw(10)[0])
            world.tick(900)
        world.tick(180)
        world.evaluate()
        world.clock.time -= 180
    assert (naming.EMPTY_HIGH.name, "") in world.firing()


def test_the_owners_limit_wins(tmp_path):
    config = Config(models={"risk": ModelConfig(limits={"amount.L": 0.0001})})
    world = World(tmp_path, config)
    for _ in range(3):
        world.hour()
    assert (naming.FEATURE_SHIFTED.name, "amount") in world.firing()
    world.close()


def test_a_reference_without_times_is_learning_and_still_catches_gross_faults(tmp_path):
    frame = {
        "amount": np.random.default_rng(0).lognormal(3, 0.5, 4_000),
        "visits": np.random.default_rng(1).integers(0, 9, 4_000),
        "country": ["DE", "FR"] * 2_000,
        "p": np.random.default_rng(2).beta(2, 8, 4_000),
    }
    world = World(tmp_path, ref=Reference.fit(frame, task="binary", score="p", threshold=0.5))
    for _ in range(4):
        world.hour(change=lambda f, s: ({**f, "country": ["DE"] * len(s)}, s))
    assert world.firing() == set()
    for _ in range(2):
        world.hour(change=lambda f, s: ({**thousandfold(f, s)[0], "country": ["DE"] * len(s)}, s))
    assert (naming.INPUT_BROKEN.name, "amount") in world.firing()
    world.close()


def test_versions_are_judged_by_their_own_references(world, tmp_path):
    from barograph.evaluate import deployed

    other = Reference.fit(
        {"amount": np.linspace(1e6, 2e6, 500), "p": np.linspace(0, 1, 500)},
        task="binary",
        score="p",
        threshold=0.5,
    )
    with Monitor(
        "risk", version="2", reference=other, directory=tmp_path, clock=world.clock, flush_interval=3600
    ) as second:
        for _ in range(3):
            second.record({"amount": np.linspace(1e6, 2e6, 60)}, score=np.linspace(0, 1, 60))
            second.flush()
            world.hour()
    assert world.firing() == set()
    assert {(d.version, *d.series) for d in deployed(world.tiles)} == {
        ("1", world.reference.bins.id),
        ("2", other.bins.id),
    }
    assert START % DAY == 0


def send(world, monitor, rows, error=None):
    """Traffic of one version in the minutes that follow."""
    features, score = draw(rows)
    for _ in range(rows if error else 0):
        monitor.error(error)
    if not error:
        monitor.record(features, score=score)
    monitor.flush()


def second_version(world, tmp_path):
    """Version 2 of the same model, beside the first."""
    return Monitor(
        "risk",
        version="2",
        reference=world.reference,
        directory=tmp_path,
        clock=world.clock,
        flush_interval=3600,
    )


def test_a_deployment_is_no_silence(world, tmp_path):
    for _ in range(7 * 24 + 2):
        send(world, world.monitor, 60)
        world.tick(3600)
    world.evaluate()
    with second_version(world, tmp_path) as second:
        for _ in range(30):
            send(world, second, 20)
            world.tick(300)
            world.evaluate()
            assert world.firing() == set()


def test_alerts_of_a_version_that_was_replaced_end_with_it(world, tmp_path):
    for _ in range(3):
        world.hour(change=thousandfold)
    assert world.ledger.incidents()[0].open
    with second_version(world, tmp_path) as second:
        for _ in range(4 * 4):
            send(world, second, 20)
            world.tick(900)
            world.evaluate()
    assert world.firing() == set() and not world.ledger.incidents()[0].open


def test_alerts_of_a_model_that_nobody_asks_any_more_end_after_a_day(world):
    for _ in range(3):
        world.hour(change=thousandfold)
    for _ in range(3):
        world.tick(9 * 3600)
        world.evaluate()
    assert world.firing() == set()


def test_a_failing_canary_pages_beside_a_healthy_version(world, tmp_path):
    with second_version(world, tmp_path) as canary:
        for _ in range(6):
            send(world, world.monitor, 200)
            send(world, canary, 10, error="Timeout")
            world.tick(60)
            world.evaluate()
    assert (naming.ERRORS_HIGH.name, "") in world.firing()
    assert {a.condition.version for a in world.ledger.alerts() if a.state == "firing"} == {"2"}


def test_two_workers_with_different_packages_are_one_alert_that_does_not_flap(world):
    from barograph.counters import Series

    labels = {"model": "risk", "version": "1", "package": "zz", "trained": "1.0"}
    for running in ("1.0", "1.1"):
        series = Series.of(naming.DEPENDENCY_INFO, {**labels, "running": running})
        world.monitor._counters.vector(series).sums[0] = 1
    changes = []
    for _ in range(20):
        send(world, world.monitor, 5)
        world.tick(60)
        changes += world.evaluate()
    mine = [c.alert.state for c in changes if c.alert.condition.column == "zz"]
    assert mine == ["firing"]


def test_one_model_that_cannot_be_evaluated_stops_no_other(world, monkeypatch, caplog):
    from barograph import evaluate

    with Monitor("broken", directory=world.directory, clock=world.clock, flush_interval=3600) as other:
        other.record({"a": 1})
        other.flush()
        inner = evaluate._Watch.deployment

        def deployment(watch, version):
            if version.model == "broken":
                raise ZeroDivisionError
            inner(watch, version)

        monkeypatch.setattr(evaluate._Watch, "deployment", deployment)
        for _ in range(2):
            world.hour(change=thousandfold)
    assert (naming.INPUT_BROKEN.name, "amount") in world.firing()
    assert "model broken could not be evaluated" in caplog.text
