"""Readiness: points rest on what is seen to work, indicators on what chance would not do, and nothing is said without facts."""

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from typer.testing import CliRunner

from barograph import naming
from barograph.cli import app
from barograph.clock import Clock
from barograph.config import Config, DrillConfig, ModelConfig, PrometheusConfig, WebhookConfig, load_text
from barograph.console import readiness
from barograph.console.by_day import indicators as by_day
from barograph.console.state import Span, State, tidy
from barograph.drill.report import Report, Result, Seen, Try
from barograph.evaluate import evaluate
from barograph.known import References
from barograph.ledger import Ledger
from barograph.outbox import Outbox
from barograph.policy import Mute
from barograph.readiness.answers import answers
from barograph.readiness.drilled import Drill, DrillFileError, current
from barograph.readiness.facts import ANY, FEW, LEARNING, MUTE, OFF, ON, Check, Facts, Indicators, Told
from barograph.readiness.indicators import (
    ENOUGH_DAYS,
    chance,
    correlation,
    days_apart,
    false_discovery,
    indicators,
    interval,
    least_told,
    ranks,
)
from barograph.readiness.rubric import LEVELS, TESTS, level, marks
from barograph.serve import Address, Server
from barograph.sources import StoredReferences
from barograph.tiles import Tiles
from outcome_world import DAY, MODEL, OutcomeWorld, Truth, fit
from world import START, World, draw

HOUR = 3600
WALL = 1_795_000_000.0  # 2026-11-18
FLOATS = st.floats(-100, 100).map(lambda x: round(x, 1))  # with ties
PAIRS = st.integers(5, 60).flatmap(lambda n: st.tuples(arrays(float, n, elements=FLOATS), arrays(float, n, elements=FLOATS)))  # fmt: skip


# Indicators.


@given(PAIRS)
def test_ranks_and_their_correlation_are_scipys(pair):
    x, y = pair
    np.testing.assert_allclose(ranks(x), stats.rankdata(x))
    if np.ptp(x) and np.ptp(y):
        found = stats.spearmanr(x, y)
        rho = correlation(ranks(x), ranks(y))
        assert rho == pytest.approx(found.statistic, abs=1e-12)
        if abs(rho) < 1 - 1e-9:
            assert chance(rho, len(x)) == pytest.approx(found.pvalue, abs=1e-9)
    else:
        assert np.isnan(correlation(ranks(x), ranks(y)))


@given(PAIRS)
def test_a_correlation_is_the_same_both_ways_and_under_any_rising_function(pair):
    x, y = map(ranks, pair)
    if np.ptp(x) and np.ptp(y):
        rho = correlation(x, y)
        assert correlation(y, x) == pytest.approx(rho)
        assert correlation(ranks(np.exp(pair[0] / 50)), y) == pytest.approx(rho)
        assert correlation(-x, y) == pytest.approx(-rho)
        assert 1 <= days_apart(x, y) <= len(x)
        low, high = interval(rho, len(x))
        assert -1 <= low <= high <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_values_are_those_of_benjamini_and_hochberg(p):
    np.testing.assert_allclose(false_discovery(p), stats.false_discovery_control(p), atol=1e-12)


def wandering(rng, phi, shape):
    """Series in which each value is phi times the one before it, and chance."""
    found = rng.normal(size=shape)
    for i in range(1, shape[-1]):
        found[..., i] += phi * found[..., i - 1]
    return found


@pytest.mark.parametrize("days", [14, 30, 60])
@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_days_that_are_alike_tell_no_relation_where_there_is_none(phi, days):
    rng, runs = np.random.default_rng(5), 400
    pairs = wandering(rng, phi, (runs, 2, days + 30))[..., 30:]
    found = [indicators(x, {"s": y})[0] for x, y in pairs]
    assert np.mean([one.told for one in found]) <= 0.08
    naive = np.mean([chance(correlation(ranks(x), ranks(y)), days) < 0.05 for x, y in pairs])
    assert naive > 0.12 if phi else naive < 0.08  # what it would be if days alike counted in full


def test_the_interval_holds_the_correlation_and_real_ones_are_told():
    rng = np.random.default_rng(6)
    true = 6 / np.pi * np.arcsin(0.7 / 2)  # of ranks, where the values' is 0.7
    held = told = 0
    for _ in range(300):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 40).T
        (one,) = indicators(x, {"s": y})
        held, told = held + (one.low <= true <= one.high), told + one.told
    assert held >= 0.92 * 300 and told >= 0.97 * 300


def test_of_many_signals_few_are_told_by_chance_and_the_real_one_is_first():
    rng = np.random.default_rng(7)
    loss = rng.normal(size=45)
    signals = {f"noise {i}": rng.normal(size=45) for i in range(60)} | {
        "real": loss + 0.5 * rng.normal(size=45)
    }
    found = indicators(loss, signals)
    assert found[0].name == "real" and found[0].verdict == "rises with the error"
    assert sum(one.told for one in found) <= 3
    assert sum(one.p <= 0.05 for one in found) > sum(one.told for one in found)
    (turned,) = indicators(loss, {"turned": -signals["real"]})
    assert turned.verdict == "falls as the error rises" and turned.rho < 0


@pytest.mark.parametrize(
    ("days", "signal", "why"),
    [
        (0, lambda x: x, "too few days (0 of 14)"),
        (ENOUGH_DAYS - 2, lambda x: x, "too few days (12 of 14)"),
        (40, lambda x: x * 0 + 3, "always the same"),
        (40, lambda x: np.where(np.arange(len(x)) < 13, x, np.nan), "too few days (13 of 14)"),
        (40, lambda x: np.full(len(x), np.nan), "too few days (0 of 14)"),
    ],
)
def test_what_cannot_be_compared_says_why(days, signal, why):
    loss = np.random.default_rng(1).normal(size=days)
    (one,) = indicators(loss, {"s": signal(loss)})
    assert one.why == why == one.verdict and not one.told and np.isnan(one.rho) and np.isnan(one.q)


def test_a_loss_that_never_moves_and_a_steady_trend_tell_nothing():
    (flat,) = indicators(np.ones(30), {"s": np.arange(30.0)})
    assert flat.why == "the error is always the same"
    (trend,) = indicators(np.arange(20.0), {"s": np.arange(20.0) ** 2})
    assert trend.why.startswith("days too much alike (worth ") and trend.why.endswith(" of 20)")


def test_the_weakest_correlation_that_is_told_falls_with_days_and_rises_with_signals():
    assert chance(least_told(40, 1), 40) == pytest.approx(0.05)
    assert least_told(20, 1) > least_told(40, 1) and least_told(40, 50) > least_told(40, 1)


# What a drill said.


def result(name, *, caught=True, model="m", reference="r1", delay=3780.0, stated=0.01, f=0.01, **rest):
    first = Seen("MLModelInputBroken", "page", "amount", "O", "amount is out", delay, 1) if caught else None
    return Result(
        model, 1, name, f"{name} happens", stated, "of rows", "a signal", f"a cure for {name}",
        tries=(Try(f, first, first),), reference=reference, **rest,
    )  # fmt: skip


def drill(*results):
    return Drill.from_json(Report("2026-11-17T09:00:00Z", "barograph drill", tuple(results)).to_json())


def test_a_drill_is_read_as_it_was_written():
    found = drill(result("unit-change"), result("dip", caught=False), result("runs", why_not="no labels"))
    hit, blind, other = found.of("m")
    assert (hit.caught, hit.proven, hit.delay, hit.needs, hit.verdict) == (
        True,
        True,
        3780.0,
        "1 % of rows",
        "caught",
    )
    assert hit.signal == "ModelInputBroken of amount (O)" and hit.reference == "r1" and not hit.lacking
    assert (blind.caught, blind.signal, blind.lacking) == (False, "nothing at 1 % of rows", "a cure for dip")
    assert (other.caught, other.signal) == (None, "no labels")
    (late,) = drill(result("bots", f=0.08)).of("m")
    assert late.caught and not late.proven and late.verdict == "caught when larger"


def test_a_report_on_disk_is_read_by_file_and_by_folder(tmp_path):
    assert Drill.load(tmp_path / "none.json") is None and Drill.load(tmp_path) is None
    Report("2026-11-17T09:00:00Z", "barograph drill", (result("unit-change"),)).save(tmp_path)
    assert Drill.load(tmp_path) == Drill.load(tmp_path / "drill.json") == drill(result("unit-change"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no report of drills"),
        ("[]", "is no report of drills"),
        ('{"format": 2}', "its format is 2, this version reads 1; drill again"),
        ('{"format": 1, "began": "x", "results": [{"model": "m"}]}', "is no report of drills"),
    ],
)
def test_a_damaged_report_is_refused_with_the_remedy(text, said, tmp_path):
    file = tmp_path / "drill.json"
    file.write_text(text)
    with pytest.raises(DrillFileError, match="drill again") as refused:
        Drill.load(file)
    assert said in str(refused.value) and str(file) in str(refused.value)


def test_a_drill_is_of_now_where_its_reference_still_judges():
    found = drill(result("unit-change")).of("m")
    assert current(found, ["r0", "r1"]) and not current(found, ["r2"]) and not current((), ["r1"])
    unnamed = drill(result("unit-change", reference="")).of("m")
    assert not current(unnamed, ["r1"]) and not current(unnamed, [""])


# The score.

KINDS = {kind: test for test in TESTS for kind in (*test.kinds, *test.half)}
RULES = {
    "packages": naming.DEPENDENCY_DIFFERS, "feature": naming.INPUT_BROKEN, "skew": naming.TRAIN_SERVE_SKEW,
    "leak": naming.SLOW_LEAK, "concept": naming.CONCEPT_DRIFT, "answer": naming.OUTPUT_SHIFTED,
    "latency": naming.SLOW, "traffic": naming.NO_TRAFFIC, "memory": naming.RESOURCES_HIGH, "quality": naming.QUALITY_LOW,
}  # fmt: skip
HEARD = Told(("page", "ticket"), text="pages and tickets go to 1 webhook")


def check(kind, state=ON, name=""):
    rules = (RULES[kind].name,) if kind in RULES else ()
    return Check(kind, "causes", name or kind.capitalize(), state, "seen", f"a cure for {kind}", rules)


def made(states=None, told=HEARD, more=(), **rest):
    states = {} if states is None else states
    checks = [check(kind, states.get(kind, ON)) for kind in KINDS]
    return Facts("m", "1", float(START), ("r1",), (*checks, *more), told, Indicators(why="No labels"), **rest)


def points(facts, drilled=()):
    return [mark.points for mark in marks(facts, drilled)]


def test_all_that_is_judged_and_told_is_worth_a_point_each():
    assert points(made()) == [1.0] * 7
    assert points(made(dict.fromkeys(KINDS, OFF))) == [0.0] * 7
    assert {mark.proven for mark in marks(made(), ())} == {None}


def test_what_nobody_is_told_of_is_worth_half_a_point():
    nobody = Told(remedy="webhooks = [...]")
    assert points(made(told=nobody)) == [0.5] * 7
    assert all("reach nobody: webhooks = [...]" in mark.missing[-1] for mark in marks(made(told=nobody), ()))
    pages = points(made(told=Told(("page",))))
    assert pages == [0.5, 1.0, 0.5, 0.5, 1.0, 0.5, 1.0]  # tickets: packages, skew, leaks, memory
    muted = marks(made(told=replace(HEARD, muted=(naming.SLOW.name,))), ())
    assert [mark.points for mark in muted] == [1, 1, 1, 1, 1, 0.5, 1] and muted[5].missing == (
        "end the mute",
    )
    assert points(made(told=replace(HEARD, muted=(ANY,)))) == [0.5] * 7


def test_gross_faults_are_enough_for_invariants_and_not_for_quality():
    states = dict.fromkeys(KINDS, LEARNING)
    assert points(made(states)) == [0, 1, 0, 0, 1, 0, 0.5 * 0]
    assert (
        points(made(dict.fromkeys(KINDS, MUTE)))[1] == 1 and points(made(dict.fromkeys(KINDS, FEW)))[1] == 0
    )


def test_a_part_is_worth_half_a_point_and_says_what_is_lacking():
    some = marks(made({"memory": OFF, "concept": OFF}, more=(check("feature", FEW, "amount"),)), ())
    assert [mark.points for mark in some] == [1, 0.5, 1, 0.5, 1, 0.5, 1]
    assert some[1].seen[0] == "1 of 2 features are judged" and "amount: a cure for feature" in some[1].missing
    assert "Memory: a cure for memory" in some[5].missing
    assert points(made({"quality": OFF}))[6] == 0.5  # an estimate is there to be seen
    assert points(made({"quality": OFF, "estimate": OFF}))[6] == 0


def test_a_fault_that_went_unnoticed_costs_half_a_point_and_one_caught_proves_it():
    mine = drill(
        result("unit-change"), result("nulls"), result("dip", caught=False), result("slow-leak", f=0.5)
    ).of("m")
    found = marks(made(), mine)
    assert [mark.points for mark in found] == [1, 1, 1, 1, 1, 1, 0.5]
    assert [mark.proven for mark in found] == [None, True, None, False, None, None, False]
    assert "dip happens (what would catch it: a cure for dip)" in found[6].missing[0]
    assert "only from 50 % of rows on: slow-leak happens" in found[3].seen
    undrillable = drill(result("dip", why_not="no labels")).of("m")
    assert marks(made(), undrillable)[6].proven is None and points(made(), undrillable) == [1] * 7


@settings(max_examples=60)
@given(
    st.fixed_dictionaries({kind: st.sampled_from([ON, LEARNING, FEW, MUTE, OFF]) for kind in KINDS}),
    st.sets(st.sampled_from(["page", "ticket"])),
    st.sets(st.sampled_from([name for test in TESTS for name in test.incidents])),
    st.sampled_from(list(KINDS)),
)
def test_more_monitoring_is_never_worth_less_and_a_blind_drill_never_more(states, heard, blind, kind):
    told = Told(tuple(sorted(heard)))
    mine = drill(*(result(name, caught=False) for name in sorted(blind))).of("m")
    facts = made(states, told)
    score = points(facts, mine)
    assert set(score) <= {0, 0.5, 1}
    assert all(np.array(points(made({**states, kind: ON}, told), mine)) >= score)
    assert all(np.array(points(replace(facts, told=HEARD), mine)) >= score)
    assert all(np.array(points(facts)) >= score)
    assert answers(facts, None, WALL)["points"] == sum(points(facts))
    assert level(sum(score)) in dict(LEVELS).values()


def test_the_papers_levels_are_open_below_and_closed_above():
    assert [text for _, text in LEVELS] == [level(x) for x in (0.0, 0.5, 1.5, 2.5, 4.0, 5.5)]
    assert [level(float(most)) for most, _ in LEVELS] == [text for _, text in LEVELS]


def test_faults_are_those_that_drills_inject_and_the_docs_say_the_same():
    from barograph.drill.incidents import INCIDENTS
    from barograph.readiness.answers import DEVELOPMENT

    assert {name for test in TESTS for name in test.incidents} <= set(INCIDENTS)
    assert {name for names in DEVELOPMENT.values() for name in names} <= set(INCIDENTS)
    page = (Path(__file__).parents[1] / "docs" / "readiness.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines()]
    told = {row[1]: row[3] for row in rows if len(row) == 5}
    for test in TESTS:
        assert told[f"{test.number} {test.name}"] == ", ".join(test.incidents)


# Answers.


def section(document, id):
    return next(one for one in document["answers"] if one["id"] == id)


def test_without_a_drill_it_is_said_how_to_have_one():
    document = answers(made(), None, WALL)
    delays = section(document, "delays")
    assert (
        delays["summary"] == "No drill yet"
        and delays["table"] is None
        and "barograph drill" in delays["note"].lower()
    )
    assert (
        document["drill"] is None
        and document["proven"] == 0
        and "None proven by a drill." in document["lede"]
    )
    assert all(
        "No drill has tried it." in row["note"] for row in section(document, "score")["groups"][0]["rows"]
    )
    unread = section(answers(made(), None, WALL, "drill.json: is no report; drill again"), "delays")
    assert unread["summary"] == "The last drill cannot be read" and "drill again" in unread["note"].lower()


def test_a_drill_of_another_reference_is_stale_and_counts_for_nothing():
    old = drill(result("dip", caught=False, reference="r0"), result("unit-change", reference="r0"))
    document = answers(made(), old, WALL)
    assert document["points"] == 7 and document["proven"] == 0 and document["drill"]["current"] is False
    delays = section(document, "delays")
    assert delays["summary"] == "Stale: 1 of 2 faults caught, half of them within 1 h 3 min"
    assert (
        "reference r0, which is not the one that is live" in delays["note"]
        and len(delays["table"]["rows"]) == 2
    )
    unnamed = section(answers(made(), drill(result("dip", reference="")), WALL), "delays")
    assert "does not say by which reference" in unnamed["note"]
    others = section(answers(made(), drill(result("dip", model="other")), WALL), "delays")
    assert others["summary"] == "No drill of this model" and "other" in others["note"]


def test_a_drill_of_now_is_told_with_its_age_its_delays_and_its_blind_spots():
    now = drill(
        result("unit-change", delay=300.0), result("dip", caught=False), result("runs", why_not="no labels")
    )
    document = answers(made(), now, WALL)
    delays = section(document, "delays")
    assert (
        delays["summary"] == "1 of 2 faults caught, half of them within 5 min" and "old" not in delays["note"]
    )
    assert document["drill"]["age"] == pytest.approx(WALL - 1_794_906_000) and document["drill"]["current"]
    head, rows = delays["table"]["head"], delays["table"]["rows"]
    assert head == ["Found after", "Fault", "Verdict", "From", "First signal"]
    assert rows[0] == [
        "5 min",
        "unit-change happens",
        "caught",
        "1 % of rows",
        "ModelInputBroken of amount (O)",
    ]
    nothing = "nothing at 1 % of rows; what would catch it: a cure for dip"
    assert rows[1] == ["never", "dip happens", "blind", "", nothing]
    assert rows[2] == ["–", "runs happens", "does not apply", "", "no labels"]
    assert "more than a month old" in section(answers(made(), now, WALL + 40 * DAY), "delays")["note"]


def test_a_difference_from_development_is_told_with_what_the_drill_made_of_it():
    mine = drill(result("faulty-library"), result("wrong-entity", caught=False))
    rows = {
        row["name"]: row for row in section(answers(made(), mine, WALL), "development")["groups"][0]["rows"]
    }
    assert (
        rows["Packages"]["status"] == "ok"
        and "The drill caught: faulty-library happens" in rows["Packages"]["note"]
    )
    assert (
        rows["Skew"]["status"] == "watch"
        and "The drill went unnoticed: wrong-entity happens" in rows["Skew"]["note"]
    )


def test_of_many_features_those_that_are_off_are_all_shown():
    many = [check("feature", FEW if i == 39 else ON, f"f{i}") for i in range(40)]
    groups = section(answers(made(more=many), None, WALL), "monitored")["groups"]
    names = [row["name"] for group in groups for row in group["rows"]]
    assert "f39" in names and "f38" not in names and "29 more features" in names


def test_facts_outlive_json_and_give_the_same_answers():
    rng = np.random.default_rng(2)
    loss = rng.normal(size=20)
    told = Indicators(
        "accuracy", 20, indicators(loss, {"a": loss, "flat": loss * 0, "b": rng.normal(size=20)})
    )
    facts = replace(made(more=(replace(check("feature"), since=5.0),)), indicators=told)
    again = Facts.from_json(json.loads(json.dumps(tidy(facts.to_json()))))
    now = drill(result("unit-change"))
    assert answers(again, now, WALL) == answers(facts, now, WALL)
    assert again.checks == facts.checks and again.indicators.found[0] == facts.indicators.found[0]
    said = section(answers(facts, now, WALL), "indicators")
    assert (
        said["summary"] == "1 of 2 signals rises with the error (accuracy, 20 days)"
        and "not cause" in said["note"]
    )


# Facts, of a model that runs.


@pytest.fixture(scope="module")
def labelled():
    """Three weeks of a model whose inputs move from day to day, and its error with them."""
    rng, truth = np.random.default_rng(3), Truth(rows=1200)
    world = OutcomeWorld(fit(truth, rng))
    for moved in rng.random(20) * 0.6:
        features = truth.features(rng, truth.rows)
        features["x"] = features["x"] + moved
        fair = truth.score({**features, "x": features["x"] - 3 * moved})
        label = (rng.random(truth.rows) < fair).astype(float)
        start, world.now = int(world.now), world.now + DAY
        world.rows(start, features, truth.score(features))
        world.labels(start, truth.score(features), label, label >= 0, HOUR, logged=truth.rows)
    world.judge()
    yield world
    world.close()


def state_of(world, **config):
    return State(world.tiles, world.ledger, world.references, replace(world.config, **config), list)


def by_kind(facts):
    return {c.kind: c for c in facts.checks}


def test_a_signal_that_moves_with_the_error_is_found_in_stored_days(labelled):
    found = readiness.facts(state_of(labelled), MODEL, labelled.now + 600).indicators
    assert found.metric == "accuracy" and found.days == 20 and not found.why
    told = {one.name for one in found.found if one.told and one.rho > 0}
    assert {"x, location", "score, location", "estimated error"} <= told
    assert not any(one.name.startswith(("y,", "kind,")) for one in found.found if one.told)
    assert {one.why for one in found.found if one.name == "errors"} == {"always the same"}


def test_outcomes_are_on_once_labels_have_matured(labelled):
    checks = by_kind(readiness.facts(state_of(labelled), MODEL, labelled.now + 600))
    for kind in (
        "quality",
        "leak",
        "late",
        "skew",
        "label skew",
        "estimate",
        "traffic",
        "empty",
        "reference",
    ):
        assert checks[kind].state == ON, kind
    assert (
        checks["quality"].text.startswith("judged by 20 days with their labels: 0.")
        and checks["quality"].since == START
    )
    for kind in ("latency", "memory", "packages", "artifact", "business", "processes", "changes"):
        assert checks[kind].state == OFF and checks[kind].remedy, kind
    feature = checks["feature"]
    assert (
        feature.state == ON
        and "windows of the last day" in feature.text
        and feature.effect.startswith("finds ")
    )


def test_few_matured_days_say_how_many_are_lacking(labelled):
    early = readiness.facts(state_of(labelled), MODEL, START + 6 * DAY + 600.0)
    found = section(answers(early, None, WALL), "indicators")
    assert found["summary"] == "Too few days (6 of 14)" and not found["groups"]


def test_who_hears_of_alerts_is_what_is_configured_reachable_and_not_muted(labelled, monkeypatch):
    def told(**config):
        return readiness.facts(state_of(labelled, **config), MODEL, labelled.now + 600).told

    hook = WebhookConfig("http://hook")
    assert told().severities == () and "webhooks" in told().remedy
    Outbox(labelled.tiles)
    assert told(webhooks=(hook,)).severities == ("page", "ticket")
    assert told(webhooks=(replace(hook, severities=("page",)),)).severities == ("page",)
    assert "not looked at" in told(prometheus=PrometheusConfig("http://p")).text
    Outbox(labelled.tiles).put("hook", MODEL, time.time() - 2 * HOUR, "{}")
    assert told(webhooks=(hook,)).severities == () and "has taken no message" in told(webhooks=(hook,)).text
    now = labelled.now + 600
    mutes = [("", ""), (naming.SLOW.name, ""), ("", "x")]
    for rule, column in mutes:
        labelled.ledger.save_mute(Mute.of(MODEL, rule, column, now - 60, now + 60, "r", "ada"))
    assert told().muted == (ANY, naming.SLOW.name)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a day and a half of a model without labels or webhooks, judged."""
    folder = tmp_path_factory.mktemp("readiness")
    world = World(folder / "counters")
    world.tiles.close()
    world.tiles = Tiles(folder / "tiles.duckdb")
    world.ledger, files = Ledger(world.tiles), StoredReferences(world.tiles)
    files[world.reference.id] = world.reference.to_json()
    world.references = References(files, world.config)
    for _ in range(36):
        features, score = draw(80)
        world.monitor.record(features, score=score)
        world.tick(3600)
    now = world.clock.time + 180
    evaluate(world.tiles, world.ledger, world.references, world.config, now)
    facts = readiness.facts(world.state(), "risk", now)
    with pytest.raises(KeyError):
        readiness.facts(world.state(), "gone", now)
    late = readiness.facts(world.state(), "risk", now + 30 * DAY)
    world.close()
    return folder / "tiles.duckdb", facts, late


def test_a_model_without_labels_is_judged_where_it_can_be_and_says_why_not_elsewhere(store):
    _, facts, _ = store
    checks = by_kind(facts)
    assert checks["feature"].state == checks["answer"].state == checks["empty"].state == ON
    assert checks["errors"].text.startswith("judged in 24 of the last 24 hours")
    assert checks["traffic"].state == LEARNING  # a week is not over yet
    assert checks["quality"].state == OFF and "no predictions are logged" in checks["quality"].text
    assert facts.indicators.why and facts.references
    document = answers(facts, None, WALL)
    assert 0 < document["points"] <= 3.5 and section(document, "indicators")["summary"].startswith(
        "No labels"
    )
    json.dumps(tidy({**document, "facts": facts.to_json()}), allow_nan=False)


def test_a_model_that_went_silent_gets_no_point_for_what_it_once_was(store):
    _, _, late = store
    states = {c.kind: c.state for c in late.checks}
    assert states["feature"] == states["answer"] == OFF and states["errors"] == states["empty"] == FEW
    assert answers(late, None, WALL)["points"] == 0


def test_a_model_without_a_reference_says_what_one_would_bring(tmp_path):
    from barograph import Monitor
    from barograph.increments import increments

    world = World(tmp_path / "counters")
    bare = Monitor("bare", directory=tmp_path / "bare", clock=world.clock)
    before = bare.snapshot()
    bare.record({"x": np.arange(50.0)}, score=np.full(50, 0.5))
    world.tick(3600)
    world.tiles.add(increments(before, bare.snapshot()))
    facts = readiness.facts(world.state(), "bare", world.clock.time)
    bare.close()
    world.close()
    checks = by_kind(facts)
    assert (
        checks["feature"].state == OFF
        and "Reference.fit" in checks["feature"].remedy
        and facts.references == ()
    )
    assert answers(facts, drill(result("dip", model="bare", reference="")), WALL)["drill"]["current"] is False


def test_a_limit_on_memory_counts_where_a_process_tells_it(store):
    class Status:
        url, up, models, usage = "http://a", True, ("risk",), {"memory": 1e9}

    file, _, _ = store
    with Tiles(shutil.copy(file, file.with_name("limits.duckdb"))) as tiles:
        config = Config(models={"risk": ModelConfig(limits={"memory": 2e9})})
        state = State(
            tiles, Ledger(tiles), References(StoredReferences(tiles), config), config, lambda: [Status()]
        )
        checks = by_kind(readiness.facts(state, "risk", START + 36.05 * HOUR))
        without = by_kind(readiness.facts(replace(state, statuses=list), "risk", START + 36.05 * HOUR))
    assert checks["memory"].state == checks["processes"].state == ON and checks["cpu"].state == OFF
    assert without["memory"].state == OFF and "serve --target" in without["memory"].remedy


# Over HTTP, and from the command line.


def run(*arguments):
    return CliRunner().invoke(app, ["readiness", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_configuration_says_where_the_drill_lies():
    assert load_text("").drill.report == "drills/drill.json"
    assert load_text('[drill]\nreport = "build/drills"').drill == DrillConfig(report="build/drills")


def test_the_verb_reads_the_store_and_ends_with_1_below_what_is_asked(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path(shutil.copy(store[0], tmp_path))
    found = run("--store", file)
    assert (
        found.exit_code == 0 and "risk: 0 of 7 points for monitoring" in found.output
    )  # silent by the wall's clock
    assert "Dependency changes result in notification" in found.output and "No drill yet" in found.output
    below = run("--store", file, "--at-least", 5)
    assert below.exit_code == 1 and "Below 5 points: risk" in below.output
    assert run("--store", file, "--at-least", 0).exit_code == 0
    Report("2026-11-17T09:00:00Z", "d", (result("dip", model="risk"),)).save(tmp_path / "drills")
    (document,) = json.loads(run("--store", file, "--json").output)["models"]
    assert document["drill"]["results"] == 1 and document["facts"]["model"] == "risk"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "rsk"], "--model: 'rsk' is not known; did you mean 'risk'?"),
        (["--drill", "nowhere.json"], "--drill: there is no 'nowhere.json'; barograph drill writes it"),
        (["--at-least", "8"], "less than or equal to 7"),
    ],
)
def test_wrong_use_of_the_verb_ends_with_2_and_the_remedy(store, tmp_path, arguments, said):
    found = run("--store", shutil.copy(store[0], tmp_path), *arguments)
    assert found.exit_code == 2 and said in " ".join(found.output.split())


def test_the_verb_asks_the_running_server_and_another_drill_answers_the_same_facts(store, tmp_path):
    file = Path(shutil.copy(store[0], tmp_path))
    given = tmp_path / "drills"
    given.mkdir()
    (given / "drill.json").write_text("{")
    config = Config(
        store=str(file),
        port=0,
        drill=DrillConfig(report=str(given)),
        webhooks=(WebhookConfig("http://127.0.0.1:9/x"),),
    )
    server = Server(config, clock=Clock(start=START + 36 * HOUR + 180.0, origin=time.time()))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 30
        while Address.of(file) is None and time.monotonic() < end:
            time.sleep(0.05)
        (document,) = json.loads(run("--store", file, "--model", "risk", "--json").output)["models"]
        assert (
            document["points"] > 0
            and section(document, "delays")["summary"] == "The last drill cannot be read"
        )
        assert document["facts"]["told"]["severities"] == ["page", "ticket"]
        reference = document["facts"]["references"][0]
        other = tmp_path / "other"
        Report("2026-11-17T09:00:00Z", "d", (result("nulls", model="risk", reference=reference),)).save(other)
        (redone,) = json.loads(run("--store", file, "--drill", other, "--json").output)["models"]
        assert redone["drill"]["current"] and redone["facts"]["checks"] == document["facts"]["checks"]
        assert redone["proven"] == 1 and redone["points"] == document["points"]
        wrong = run("--store", file, "--drill", given)
        assert wrong.exit_code == 2 and "is no report of drills" in " ".join(wrong.output.split())
    finally:
        server.stop()
        thread.join(20)


def test_the_document_is_served_kept_and_refused_like_the_others(store):
    import asyncio

    import httpx

    from barograph.console.app import create
    from barograph.console.health import Health

    file, _, _ = store
    with Tiles(shutil.copy(file, file.with_name("served.duckdb"))) as tiles:
        config = Config(drill=DrillConfig(report=str(file.with_name("no-drill"))))
        state = State(tiles, Ledger(tiles), References(StoredReferences(tiles), config), config, list)
        served = create(state, lambda: START + 36.05 * HOUR, health=Health(), token="t", metrics=lambda: b"")

        def get(path, **options):
            async def call():
                transport = httpx.ASGITransport(app=served)
                async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                    return await client.get(path, **options)

            return asyncio.run(call())

        found = get("/api/models/risk/readiness")
        assert found.status_code == 200 and "NaN" not in found.text
        document = found.json()
        assert [one["id"] for one in document["answers"]] == [
            "score",
            "monitored",
            "indicators",
            "delays",
            "development",
        ]
        assert document["of"] == 7 and document["points"] == sum(
            {"0 points": 0, "½ point": 0.5, "1 point": 1}[row["text"]]
            for row in document["answers"][0]["groups"][0]["rows"]
        )
        again = get("/api/models/risk/readiness", headers={"if-none-match": found.headers["etag"]})
        assert again.status_code == 304
        assert get("/api/models/gone/readiness").status_code == 404
        assert get("/models/risk/readiness").text == get("/").text


def test_days_with_too_few_labels_tell_nothing(labelled):
    view = state_of(labelled).view(MODEL, Span("24h", labelled.now))
    days = labelled.book.of(MODEL, "1", labelled.bins, labelled.now)
    assert by_day(view, days).days == 20
    none = by_day(view, days.where(np.zeros(len(days), dtype=bool)))
    assert none.why.startswith("Too few labels") and not none.found
