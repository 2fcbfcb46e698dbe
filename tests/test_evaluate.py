"""The evaluator: calm when all is ordinary, and in the first judged hours of a fault it says which."""

from dataclasses import replace

import numpy as np
import pytest

from barograph import Monitor, Reference, alert, checks, evaluate, known, naming, outcome_checks
from barograph.config import Config, ModelConfig
from barograph.console import pages
from barograph.counters import Series
from barograph.known import References
from barograph.ledger import CHANGE, DEPLOYMENT, Counted, Event, Ledger
from barograph.mixin import alerts as mixin_alerts
from barograph.mixin.options import Options
from barograph.profile import Profile
from barograph.sources import Status
from barograph.versions import deployed
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


def test_windows_of_five_minutes_find_a_fault_in_minutes(tmp_path):
    world = World(tmp_path, Config(window=300))
    found = []
    for window in range(20):
        features, score = draw(60)
        changed, score = thousandfold(features, score) if window >= 14 else (features, score)
        world.monitor.record(changed, score=score)
        world.tick(300)
        found.append((window, {c.alert.condition.rule for c in world.evaluate()}))
    first = next(window for window, rules in found if rules)
    assert first <= 16 and naming.INPUT_BROKEN.name in dict(found)[first]
    (alert, *_) = (a for a in world.ledger.alerts() if a.condition.column == "amount")
    assert alert.condition.at - alert.condition.since < 900
    world.close()


def test_shorter_windows_share_the_same_budget_of_a_month(world):
    world.hour()
    version, bins = deployed_one(world)
    hourly = world.references.of(version, bins).calibration
    often = References(world.files, Config(window=300)).of(version, bins).calibration
    assert (
        often.budget == hourly.budget
        and often.windows == 12 * hourly.windows
        and often.alpha == pytest.approx(hourly.alpha / 12)
    )
    counts = world.reference.windows.counts[:5]
    by_hour, by_minutes = (c.verdicts(counts).thresholds["A"] for c in (hourly, often))
    assert (by_minutes > by_hour * 0.999).all() and (by_minutes > by_hour * 1.01).any()


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
                features, score = draw(len(s), rng)  # the same rows for both
                return {**features, "amount": features["amount"] * (1000 if broken else 1)}, score

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


def second_version(world, tmp_path, reference=None):
    """Version 2 of the same model, beside the first."""
    return Monitor(
        "risk",
        version="2",
        reference=reference or world.reference,
        directory=tmp_path,
        clock=world.clock,
        flush_interval=3600,
    )


@pytest.mark.slow
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
        assert world.firing()
        world.tick(10 * 3600)
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


# References: what a version is judged by.

SWAPPED = {"DE": "PL", "FR": "FR", "PL": "DE"}


def swapped(reference):
    """The same bins with other counts: as if country had been DE where it was PL."""
    where = reference.bins.offsets["country"] + np.array([0, 2])

    def swap(counts):
        counts = counts.copy()
        counts[..., where] = counts[..., where[::-1]]
        return counts

    windows = replace(reference.windows, counts=swap(reference.windows.counts))
    baseline = Profile(
        reference.bins, reference.baseline.rows, swap(reference.baseline.counts), reference.baseline.sums
    )
    return replace(reference, baseline=baseline, windows=windows)


def exchange(features, score):
    return {**features, "country": [SWAPPED[c] for c in features["country"]]}, score


def test_references_of_the_same_bins_judge_each_its_own_version(world, tmp_path):
    other = swapped(world.reference)
    assert other.bins.id == world.reference.bins.id and other.id != world.reference.id
    world.files[other.id] = other.to_json()
    with second_version(world, tmp_path, other) as second:
        for _ in range(5):
            features, score = exchange(*draw(80))
            second.record(features, score=score)
            second.flush()
            world.hour()
    assert world.firing() == set()
    assert {v.version: world.references.of(v, other.bins.id).reference.id for v in deployed(world.tiles)} == {
        "1": world.reference.id,
        "2": other.id,
    }


def test_a_reference_that_was_replaced_by_one_of_the_same_bins_judges_no_more(world, tmp_path):
    for _ in range(3):
        world.hour()
    other = swapped(world.reference)
    world.files[other.id] = other.to_json()
    world.monitor.close()
    options = {"directory": tmp_path, "clock": world.clock, "flush_interval": 3600, "strict": True}
    world.monitor = Monitor("risk", version="1", reference=other, **options)
    for _ in range(5):
        world.hour(change=exchange)
    assert world.firing() == {(naming.REFERENCE_CHANGED.name, "")}, (
        "one version, and another reference than before"
    )
    (version,) = deployed(world.tiles)
    assert version.references == {other.bins.id: other.id}
    for _ in range(3):
        world.hour()
    assert (naming.FEATURE_SHIFTED.name, "country") in world.firing()


@pytest.mark.parametrize("damage", [lambda body: b"[", lambda body: body[:-9], lambda body: b"{}"])
def test_a_damaged_reference_is_said_once_and_empties_no_page(world, caplog, damage):
    world.files[world.reference.id] = damage(world.reference.to_json())
    for _ in range(2):
        world.hour()
        (shown,) = pages.fleet(world.state(), world.span())["models"]
        assert shown["name"] == "risk"
    assert pages.model(world.state(), "risk", world.span())["name"] == "risk"
    assert caplog.text.count(f"reference {world.reference.id} cannot be used") == 1


def test_each_reference_is_read_and_calibrated_once_however_many_there_are(world, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "ROOM", 1)
    world.references.room = 1
    calibrated = []
    inner = known.calibrate_lanes
    monkeypatch.setattr(known, "calibrate_lanes", lambda ref, *a: calibrated.append(ref.id) or inner(ref, *a))
    other = swapped(world.reference)
    world.files[other.id] = other.to_json()
    with second_version(world, tmp_path, other) as second:
        for _ in range(4):
            second.record(*draw(80)[:1], score=draw(80)[1])
            second.flush()
            world.hour()
    assert sorted(calibrated) == sorted(world.files)


def test_a_reference_takes_a_quarter_of_its_hours_in_memory(world):
    (version, bins), windows = (deployed_one(world)), world.reference.windows
    kept = world.references.of(version, bins).reference
    assert kept.windows.counts.nbytes <= windows.counts.nbytes / 4
    assert np.array_equal(kept.windows.counts, windows.counts)
    assert kept.id == world.reference.id


def deployed_one(world):
    world.tick(60)
    (version,) = deployed(world.tiles)
    return version, world.reference.bins.id


# Versions that catch up together.


def two_versions(world, tmp_path, hours, faults):
    """Hours of traffic of two versions; `faults` are the hours in which a version gets amounts a thousandfold."""
    rng = np.random.default_rng(11)
    with second_version(world, tmp_path) as second:
        for hour in range(hours):
            for _ in range(2):
                for name, monitor in (("1", world.monitor), ("2", second)):
                    features, score = draw(40, rng)
                    if hour in faults[name]:
                        features, score = thousandfold(features, score)
                    monitor.record(features, score=score)
                    monitor.flush()
                world.tick(1800)
            world.clock.time += 180
            world.evaluate()
            world.clock.time -= 180


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({"1": {30, 31, 32}, "2": {4, 5, 6}}, marks=pytest.mark.slow),
        {"1": {4, 5, 6, 7}, "2": {6, 7, 8, 9}},
    ],
)
def test_versions_that_catch_up_together_have_the_incidents_that_they_had_one_by_one(tmp_path, faults):
    worlds = {name: World(tmp_path / name) for name in ("present", "away")}
    worlds["away"].evaluate = list
    for name, world in worlds.items():
        two_versions(world, tmp_path / name, 40, faults)
    del worlds["away"].evaluate
    worlds["away"].clock.time += 180
    worlds["away"].evaluate()
    incidents, alerts = (
        [
            [(i.id, i.since, i.until, i.version, i.headline) for i in world.ledger.incidents()]
            for world in worlds.values()
        ],
        [
            sorted((a.condition.key, a.since, a.last, a.until) for a in world.ledger.alerts(since=0))
            for world in worlds.values()
        ],
    )
    assert incidents[0] == incidents[1] and alerts[0] == alerts[1]
    assert len(incidents[0]) == (2 if faults["1"].isdisjoint(faults["2"]) else 1)
    assert all(since < until for _, since, until, _, _ in incidents[0])
    for world in worlds.values():
        world.close()


def test_history_of_a_version_that_was_replaced_in_it_ends_with_it(world, tmp_path):
    """Caught up later: its last hours were in alarm, and another version has answered since."""
    evaluate_now, world.evaluate = world.evaluate, list
    for _ in range(3):
        world.hour(change=thousandfold)
    with second_version(world, tmp_path) as second:
        for _ in range(20):
            send(world, second, 80)
            world.tick(3600)
    world.clock.time += 180
    evaluate_now()
    (incident,) = world.ledger.incidents()
    assert incident.until - START <= 6 * 3600


# What is kept for how long.


def test_what_is_over_is_forgotten_after_a_while(world):
    for _ in range(3):
        world.hour(change=thousandfold)
    for _ in range(6):
        world.hour()
    ledger, open_event = world.ledger, Event(float(START), CHANGE, None, "profile-service 4.12")
    ledger.add_event(open_event)
    assert ledger.alerts(since=0) and ledger.incidents() and len(ledger.events(0, 9e12)) == 2
    clock = world.clock.time
    for days, judgements, records in (
        (99, True, True),
        (102, False, True),
        (399, False, True),
        (402, False, False),
    ):
        world.clock.time = clock + days * DAY
        world.tiles.expire(world.clock.time)
        ledger.expire(world.clock.time)
        world.evaluate()
        assert bool(len(judged(world).starts)) is judgements
        assert (
            bool(ledger.incidents())
            is bool(ledger.alerts(since=0))
            is bool(ledger.events(0, 9e12))
            is records
        )
        ledger = Ledger(world.tiles)  # one that knows only what is stored


def test_what_goes_on_is_never_forgotten(world):
    for _ in range(3):
        world.hour(change=thousandfold)
    firing = world.firing()
    assert firing
    world.ledger.expire(world.clock.time + 4000 * DAY)
    assert world.firing() == firing and world.ledger.incidents()[0].open


def test_hours_that_are_not_kept_are_not_judged(world):
    """Their counts live on in days: an hour that held a whole day's would be in alarm."""
    world.evaluate, evaluate_now = list, world.evaluate
    for _ in range(30):
        world.hour()
    world.clock.time += 150 * DAY
    world.tiles.expire(world.clock.time)
    evaluate_now()
    assert not len(judged(world).starts)
    world.before = world.monitor.snapshot()
    world.evaluate = evaluate_now
    for _ in range(3):
        world.hour()
    assert len(judged(world).starts) == 3 and world.firing() == set()


def test_what_a_pass_that_failed_has_judged_is_judged_again(world, monkeypatch, caplog):
    inner = evaluate._Watch.look
    monkeypatch.setattr(evaluate._Watch, "look", lambda *_: 1 / 0)
    for _ in range(3):
        world.hour(change=thousandfold)
    assert "could not be evaluated" in caplog.text and not len(judged(world).starts)
    monkeypatch.setattr(evaluate._Watch, "look", inner)
    world.clock.time += 180
    world.evaluate()
    assert len(judged(world).starts) == 3 and (naming.INPUT_BROKEN.name, "amount") in world.firing()


def test_a_quiet_version_is_read_again_only_when_something_came(world, monkeypatch):
    world.hour()
    world.hour(rows=0)
    world.evaluate()
    read, inner = [], world.tiles.windows
    monkeypatch.setattr(world.tiles, "windows", lambda *a: read.append(a) or inner(*a))
    for _ in range(3):
        world.evaluate()
    assert read == []
    world.monitor.record(draw(40)[0], score=draw(40)[1])
    world.tick(600)
    world.clock.time += 180
    world.evaluate()
    assert sorted(args[3] for args in read) == [300, 300, 3600]  # each lane that has a window to judge


def test_a_deployment_is_one_event(world):
    for _ in range(3):
        world.hour()
    again = Ledger(world.tiles)
    again.add_event(Event(float(START), DEPLOYMENT, "risk", "risk 1"))
    kinds = [e.kind for e in world.ledger.events(0, 9e12)]
    assert kinds == [DEPLOYMENT]


# One definition of alerts, for this evaluator and for Prometheus.

ELSEWHERE = {naming.EVALUATOR_STALE: "/-/healthy answers 503: an evaluator that stands still cannot say so"}
OF_COLUMNS = {naming.OUTPUT_SHIFTED, naming.INPUT_BROKEN, naming.FEATURE_SHIFTED}
MINUTES = {
    checks.silence: {naming.NO_TRAFFIC},
    checks.volume: {naming.TRAFFIC_LOW},
    checks.business: {naming.BUSINESS_STOPPED},
    checks.errors: {naming.ERRORS_HIGH},
    checks.latency: {naming.SLOW},
    checks.empty: {naming.EMPTY_HIGH},
    checks.dependencies: {naming.DEPENDENCY_DIFFERS},
    checks.dropped: {naming.ROWS_DROPPED},
    checks.references: {naming.REFERENCE_CHANGED},
    checks.artifacts: {naming.ARTIFACT_DIFFERS},
    outcome_checks.quality: {naming.QUALITY_LOW},
    outcome_checks.fears: {naming.FEAR_CAME_TRUE},
    outcome_checks.fall: {naming.QUALITY_LOW, naming.SLOW_LEAK},
    outcome_checks.concept: {naming.CONCEPT_DRIFT},
    outcome_checks.late: {naming.LABELS_LATE},
    outcome_checks.skew: {naming.TRAIN_SERVE_SKEW},
    checks.targets: {naming.TARGET_DOWN, naming.WORKERS_APART},
    checks.resources: {naming.RESOURCES_HIGH},
}


def test_every_rule_is_looked_at_here_and_by_prometheus():
    of_targets = {checks.targets, checks.resources}
    assert {*checks.CHECKS, *outcome_checks.CHECKS, *checks.OF_MODEL, *of_targets} == set(MINUTES)
    here = OF_COLUMNS.union(*MINUTES.values())
    assert here.isdisjoint(ELSEWHERE) and here | set(ELSEWHERE) == set(naming.RULES.values())
    options = Options()
    assert all(mixin_alerts.ALERTS[name].expression(options) for name in naming.RULES)


def test_each_check_speaks_of_its_own_rules(world):
    series = Series.of(
        naming.DEPENDENCY_INFO,
        {"model": "risk", "version": "1", "package": "zz", "running": "1", "trained": "2"},
    )
    world.monitor._counters.vector(series).sums[0] = 1
    send(world, world.monitor, 60)
    world.monitor.business("order", 20)
    world.tick(120)
    world.tick(60)
    (version,) = deployed(world.tiles)
    look = checks.Look(
        world.tiles,
        checks.Counters(world.tiles, world.clock.time),
        version,
        version.first - 2 * 3600,
        ModelConfig(limits={"traffic": 1e9}),
    )
    for check, rules in MINUTES.items():
        others = (checks.targets, checks.resources, *outcome_checks.CHECKS)  # which need targets, and labels
        if check not in others:
            assert {c.rule for c in check(look)} == {rule.name for rule in rules}, check.__name__
    found = checks.targets("risk", [Status("http://a", True, models=("risk",))], {}, look.end)
    assert {c.rule for c in found} == {rule.name for rule in MINUTES[checks.targets]}


def minutes(world, n, calls=60, failed=0, slow=0, looks=True):
    """Minutes of timed calls, each looked at."""
    total = Series.of(naming.DURATION, {"model": "risk", "version": "1", "stage": naming.TOTAL})
    for _ in range(n):
        for i in range(calls):
            world.monitor.observe(total, 0.8 if i < slow else 0.02)
        for _ in range(failed):
            world.monitor.error("Timeout")
        world.tick(60)
        if looks:
            world.evaluate()


@pytest.mark.parametrize(("rule", "fault"), [(naming.ERRORS_HIGH, "failed"), (naming.SLOW, "slow")])
def test_a_budget_that_burns_fast_pages_and_ends(world, rule, fault):
    minutes(world, 30)
    assert world.firing() == set()
    minutes(world, 20, **{fault: 40})
    (found,) = [a for a in world.ledger.alerts() if a.state == "firing"]
    assert found.rule is rule and "in the last hour" in found.condition.text
    assert found.condition.value > found.condition.threshold
    minutes(world, 45)
    assert world.firing() == set(), "the longer windows see it for half an hour more"


@pytest.mark.parametrize(
    ("rule", "fault", "share"), [(naming.ERRORS_HIGH, "failed", 1), (naming.SLOW, "slow", 8)]
)
def test_a_budget_that_burns_slowly_pages_by_the_longer_windows(world, rule, fault, share):
    """Six times the budget for six hours, which no single hour shows: 1 of 101 calls fails, or 8 of 100 are slow."""
    minutes(world, 60, calls=100, looks=False)
    minutes(world, 285, calls=100, looks=False, **{fault: share})
    minutes(world, 15, calls=100, **{fault: share})
    (found,) = [a for a in world.ledger.alerts() if a.state == "firing"]
    assert found.rule is rule and "in the last 6 hours" in found.condition.text


@pytest.mark.parametrize(("calls", "failed"), [(4, 4), (15, 4), (3_000, 15)])
def test_few_failures_or_a_share_within_the_budget_raise_nothing(world, calls, failed):
    minutes(world, 2, calls=1)
    minutes(world, 1, calls=calls, failed=failed)
    minutes(world, 4, calls=0)
    assert world.firing() == set()


def test_a_blip_that_is_over_does_not_page(world):
    minutes(world, 30)
    minutes(world, 1, failed=40)
    assert {a.state for a in world.ledger.alerts()} == {"pending"}
    minutes(world, 1, calls=6_000)
    assert world.firing() == set() and world.ledger.incidents() == []


def test_an_owners_limits_replace_the_burn_rates(tmp_path):
    config = Config(models={"risk": ModelConfig(limits={"errors": 0.5, "latency_p95": 1.0})})
    world = World(tmp_path, config)
    minutes(world, 10, failed=20, slow=40)
    assert world.firing() == set()
    minutes(world, 6, failed=200)
    assert world.firing() == {(naming.ERRORS_HIGH.name, "")}
    world.close()


def test_what_is_fast_enough_is_one_number_here_and_in_the_mixin():
    options = Options()
    assert (options.error_objective, options.latency_objective, options.latency_seconds) == (
        alert.ERROR_OBJECTIVE,
        alert.LATENCY_OBJECTIVE,
        alert.LATENCY_SECONDS,
    )


def test_a_business_event_that_stops_pages_while_predictions_come(world):
    for _ in range(7 * 24 + 10):
        send(world, world.monitor, 40)
        world.monitor.business("order", 30)
        world.monitor.business("refund", 2)
        world.tick(3600)
    world.evaluate()
    assert world.firing() == set()
    send(world, world.monitor, 40)
    world.tick(3600)
    world.evaluate()
    (found,) = [a for a in world.ledger.alerts() if a.state == "firing"]
    assert (found.rule, found.condition.column) == (naming.BUSINESS_STOPPED, "order")
    assert found.condition.text == "order rate fell to 0: about 30 were expected in the last 60 minutes"
    send(world, world.monitor, 40)
    world.monitor.business("order", 3)
    world.tick(400)
    world.evaluate()
    assert world.firing() == set()


def test_a_business_event_of_the_first_week_is_not_expected(world):
    for _ in range(30):
        send(world, world.monitor, 40)
        world.monitor.business("order", 30)
        world.tick(3600)
    for _ in range(3):
        send(world, world.monitor, 40)
        world.tick(3600)
        world.evaluate()
        assert world.firing() == set()


def info(world, **labels):
    """A process of version 1 that says so of itself, until it is let go."""
    named = {
        "model": "risk",
        "version": "1",
        "task": "",
        "bins": "",
        "framework": "",
        "reference": "",
        "digest": "",
        "config": "",
    }
    series = Series.of(naming.MODEL_INFO, {**named, **labels})
    world.monitor._counters.vector(series).sums[0] = 1


def quarters(world, n):
    for _ in range(n):
        for _ in range(3):
            send(world, world.monitor, 5)
            world.tick(300)
            world.evaluate()


@pytest.mark.parametrize(
    ("rule", "label", "said"),
    [
        (naming.REFERENCE_CHANGED, "reference", "2 references at once"),
        (naming.ARTIFACT_DIFFERS, "digest", "2 artifacts"),
        (naming.ARTIFACT_DIFFERS, "config", "2 configurations"),
    ],
)
def test_one_version_that_is_two_things_is_a_ticket_after_half_an_hour(world, rule, label, said):
    value = world.reference.id if label == "reference" else "a" * 16
    info(world, **{label: value})
    quarters(world, 3)
    assert world.firing() == set()
    info(world, **{label: "b" * 16})
    quarters(world, 1)
    assert world.firing() == set()
    quarters(world, 2)
    (found,) = [a for a in world.ledger.alerts() if a.state == "firing"]
    assert found.rule is rule and said in found.condition.text


def test_a_roll_out_of_a_version_with_its_own_reference_raises_nothing(world, tmp_path):
    other = swapped(world.reference)
    world.files[other.id] = other.to_json()
    with second_version(world, tmp_path, other) as second:
        for _ in range(12):
            features, score = exchange(*draw(10))
            second.record(features, score=score)
            second.flush()
            quarters(world, 1)
        assert {d.version for d in deployed(world.tiles)} == {"1", "2"}
    assert world.firing() == set() and not world.ledger.alerts()


def judge(world, *statuses):
    send(world, world.monitor, 5)
    world.tick(60)
    return evaluate.evaluate(
        world.tiles, world.ledger, world.references, world.config, world.clock.time, statuses=statuses
    )


def test_a_target_that_cannot_be_read_is_a_ticket_of_its_models(world):
    up = Status("http://a", True, models=("risk",), succeeded=world.clock.time)
    other = Status("http://b", False, failures=9, models=("other",), succeeded=world.clock.time)
    down = replace(up, up=False, failures=3)
    judge(world, up, other)
    for _ in range(3):
        judge(world, down, other)
    assert world.firing() == set()
    for _ in range(2):
        judge(world, down, other)
    assert world.firing() == {(naming.TARGET_DOWN.name, "http://a")}
    judge(world, Status("http://a"), other)
    judge(world, Status("http://a", False, failures=3), other)
    assert world.firing() == {(naming.TARGET_DOWN.name, "http://a")}, (
        "an evaluator that was restarted remembers it"
    )
    judge(world, replace(up, succeeded=world.clock.time), other)
    assert world.firing() == set()


def test_one_slow_answer_is_no_target_that_is_down(world):
    began = world.clock.time
    for _ in range(8):
        judge(world, Status("http://a", False, failures=2, models=("risk",), succeeded=began))
    assert world.firing() == set()


def test_workers_that_count_for_themselves_are_a_ticket_after_five_minutes(world):
    apart = Status("http://a", True, models=("risk",), unshared=3, succeeded=world.clock.time)
    for _ in range(3):
        judge(world, apart)
    assert world.firing() == set()
    for _ in range(3):
        judge(world, apart)
    assert world.firing() == {(naming.WORKERS_APART.name, "http://a")}
    judge(world, replace(apart, unshared=0))
    assert world.firing() == set()
