"""What people decide: mutes, acknowledgements, what was no problem; who is told of what, and what pages show of it."""

import asyncio
import json
import shutil
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from barograph import alert, naming
from barograph.alert import Alert, Condition, column_rule, incident, step
from barograph.cli import app
from barograph.clock import Clock, parse_time
from barograph.config import Config
from barograph.console import decisions, pages
from barograph.console.app import create
from barograph.console.decisions import Refused
from barograph.console.health import Health
from barograph.evaluate import evaluate
from barograph.ledger import Ledger
from barograph.naming import RULES
from barograph.policy import Acknowledgement, Mark, Mute, Policy, news
from barograph.serve import Address, Server
from barograph.sources import StoredReferences
from barograph.tiles import Tiles
from world import START, World, reference

HOUR, DAY = 3600, 86_400
REFERENCE = cache(reference)
SEEN = Condition(
    naming.INPUT_BROKEN.name, "risk", "1", True, 0, HOUR, "amount", "A", 0.5, 0.2, "amount is missing"
)
FIRING = step(None, SEEN)


def thousandfold(features, score):
    return {**features, "amount": features["amount"] * 1000}, score


def blank(features, score):
    return {**features, "amount": [None] * len(score)}, score


class Office:
    """A world whose people are told, and decide."""

    def __init__(self, directory, config=None):
        self.world, self.told = World(directory, config or Config(), REFERENCE()), []

    def hour(self, change=None):
        """An hour of traffic, and a pass; what people are told of it."""
        before = self.world.evaluate
        self.world.evaluate = self.evaluate
        self.told = []
        self.world.hour(change=change)
        self.world.evaluate = before
        return self.heard()

    def evaluate(self):
        w = self.world
        return evaluate(w.tiles, w.ledger, w.references, w.config, w.clock.time, keep=self.told.extend)

    def pass_(self, seconds=60):
        self.world.clock.time += seconds
        self.told = []
        self.evaluate()
        return self.heard()

    def heard(self):
        return {(c.alert.condition.rule, c.alert.condition.column, c.alert.state) for c in self.told}

    def decide(self, what, **body):
        return decisions.DECISIONS[what](self.world.state(), self.world.clock.time, body)

    def model(self):
        return pages.model(self.world.state(), "risk", self.world.span())


@pytest.fixture
def office(tmp_path):
    made = Office(tmp_path)
    for _ in range(2):
        made.hour()
    yield made
    made.world.close()


BROKEN = (naming.INPUT_BROKEN.name, "amount", "firing")
RESOLVED = (naming.INPUT_BROKEN.name, "amount", "resolved")


# Routing, by itself.


@given(
    role=st.sampled_from(["feature", "score", "prediction", "heuristic", "segment"]),
    signal=st.sampled_from("DLAUO"),
    value=st.floats(0, 10),
)
def test_answers_page_and_inputs_page_only_where_they_are_gross(role, signal, value):
    severity = column_rule(role, signal, value).severity
    gross = signal == "O" or (signal in "AU" and value >= 0.2)
    assert severity == ("page" if gross or role in ("score", "prediction", "heuristic") else "ticket")


def test_symptoms_page_and_causes_are_tickets():
    pages_ = {rule.name for rule in RULES.values() if rule.severity == "page"}
    assert pages_ == {
        "MLModelNoTraffic", "MLModelErrors", "MLModelSlow", "MLModelEmptyResponses", "MLModelOutputShifted",
        "MLModelInputBroken", "MLModelBusinessStopped", "MLModelQualityLow", "MLModelFearCameTrue", "MLModelTrafficLow",
    }  # fmt: skip
    assert {r.name for r in RULES.values() if r.group == "causes" and r.severity == "page"} == {
        "MLModelInputBroken"
    }


@pytest.mark.parametrize("rule", [r for r in RULES.values() if r.keep_firing], ids=lambda r: r.name)
def test_an_alert_keeps_firing_for_as_long_as_its_rule_says_and_not_longer(rule):
    seen = Condition(rule.name, "m", "1", True, 0, float(rule.pending))
    began = step(None, seen)
    assert began.state == alert.FIRING
    at = rule.pending + rule.keep_firing
    quiet = replace(seen, active=False, since=at - 2.0, at=at - 1.0)
    assert step(began, quiet).state == alert.FIRING
    assert step(began, replace(quiet, at=float(at))).state == alert.RESOLVED
    again = step(step(began, quiet), replace(seen, since=at - 1.0, at=at - 0.5))
    assert again.state == alert.FIRING and again.since == began.since, "a gap within it is no second alert"


# Mutes.


def test_a_mute_is_quiet_on_every_page_and_tells_nobody(office):
    made = office.decide("mute", model="risk", column="amount", seconds=DAY, reason="backfill", by="ada")
    assert office.hour(thousandfold) == set()
    assert office.hour(thousandfold) == set()
    document = office.model()
    assert document["status"] in ("ok", "learning") and document["incident"] is None
    assert {(a["column"], a["muted"]["reason"], a["muted"]["until"]) for a in document["muted"]} == {
        ("amount", "backfill", made["until"])
    }
    fleet = pages.fleet(office.world.state(), office.world.span())
    assert fleet["status"] != "act" and fleet["incidents"] == 0
    assert fleet["models"][0]["muted"] >= 1 and fleet["mutes"][0]["by"] == "ada"


def test_a_mute_ends_by_itself_and_what_still_fires_is_told_then(office):
    office.decide("mute", model="risk", column="amount", seconds=3 * HOUR, reason="backfill", by="ada")
    for _ in range(2):
        assert office.hour(thousandfold) == set()
    heard = set().union(*(office.hour(thousandfold) for _ in range(2)))
    assert BROKEN in heard
    document = office.model()
    assert document["status"] == "act" and document["muted"] == [] and document["mutes"] == []
    assert office.hour(thousandfold) == set(), "once is enough"


def test_a_mute_of_what_fires_closes_its_incident_and_its_end_is_still_told(office):
    office.hour(thousandfold)
    assert BROKEN in office.hour(thousandfold) or BROKEN[:2] in office.world.firing()
    office.decide("mute", model="risk", seconds=2 * DAY, reason="known", by="ada")
    assert office.pass_() == set()
    assert [i.open for i in office.world.ledger.incidents(model="risk")] == [False]
    heard = set().union(*(office.hour() for _ in range(5)))
    assert RESOLVED in heard, "a receiver that was told that it began is told that it is over"
    assert not any(state == "firing" for _, _, state in heard)


def test_what_began_and_ended_while_it_was_muted_is_never_told(office):
    office.decide("mute", model="risk", seconds=12 * HOUR, reason="release", by="ada")
    heard = set().union(*(office.hour(thousandfold) for _ in range(2)))
    heard |= set().union(*(office.hour() for _ in range(5)))
    assert heard == set() and not office.world.firing()


def test_a_mute_is_of_its_model_rule_and_column_alone(office):
    other = {"model": "risk", "seconds": DAY, "reason": "r", "by": "ada"}
    office.decide("mute", **other, rule=naming.FEATURE_SHIFTED.name, column="amount")
    office.decide("mute", **other, column="visits")
    heard = set().union(*(office.hour(thousandfold) for _ in range(2)))
    assert BROKEN in heard and (naming.FEATURE_SHIFTED.name, "amount", "firing") not in heard


def test_unmuting_ends_a_mute_at_once(office):
    made = office.decide("mute", model="risk", seconds=DAY, reason="r", by="ada")
    for _ in range(2):
        office.hour(thousandfold)
    assert office.decide("unmute", id=made["id"]) == {"ended": [made["id"]]}
    assert BROKEN in office.pass_()
    with pytest.raises(Refused, match="no such mute goes on; there is none") as refused:
        office.decide("unmute", model="risk")
    assert refused.value.code == 404


def test_mutes_acknowledgements_and_marks_survive_a_restart(tmp_path):
    file = tmp_path / "tiles.duckdb"
    mute = Mute.of("risk", "", "amount", 10.0, 500.0, "why", "ada")
    one = Acknowledgement("risk-1", "risk", "page", 20.0, "bob", "on it")
    mark = Mark.of(FIRING, "abcd1234", 30.0, "ada", "a campaign")
    with Tiles(file) as tiles:
        ledger = Ledger(tiles)
        ledger.save_mute(mute)
        ledger.acknowledge(one)
        ledger.save_mark(mark)
        ledger.save_told([FIRING], [])
    with Tiles(file) as tiles:
        ledger = Ledger(tiles)
        assert ledger.policy(400.0) == Policy(400.0, (mute,), (mark,), {"risk-1": one})
        assert ledger.policy(500.0).mutes == ()
        assert ledger.told() == {"risk": [FIRING]}


@given(
    st.lists(st.sampled_from(["fires", "over", "mute", "unmute"]), max_size=30),
)
def test_whoever_was_told_that_it_began_is_told_once_that_it_is_over(steps):
    fires = muted = False
    told, open_ = [], 0
    for one in steps:
        fires, muted = (
            (one == "fires" or (fires and one != "over")),
            (one == "mute" or (muted and one != "unmute")),
        )
        begun, ended = news(told, [FIRING] if fires else [], lambda _, muted=muted: muted)
        told = [a for a in told if a not in ended] + begun
        open_ += len(begun) - len(ended)
        assert open_ in (0, 1) and (not begun or not muted)
        assert open_ == 1 or not fires or muted, "what fires and is not muted was told of"
        assert open_ == 0 or fires, "what is over is not left open"


# Acknowledgements.


def test_an_acknowledged_incident_stays_visible_and_tells_no_more_until_it_is_over(office):
    for _ in range(2):
        office.hour(thousandfold)
    (opened,) = [i for i in office.world.ledger.incidents() if i.open]
    office.decide("acknowledge", incident="risk", by="bob", note="rolling back")

    def worse(features, score):
        features, score = thousandfold(features, score)
        return {**features, "visits": [None] * len(score)}, score

    heard = set().union(*(office.hour(worse) for _ in range(2)))
    assert heard == set() and (naming.INPUT_BROKEN.name, "visits") in office.world.firing()
    document = office.model()
    assert document["status"] == "act" and document["incident"] == opened.id
    assert document["acknowledged"]["by"] == "bob" and document["acknowledged"]["note"] == "rolling back"
    listed = pages.incidents(office.world.state(), office.world.span())["incidents"][0]
    assert listed["acknowledged"]["by"] == "bob"
    heard = set().union(*(office.hour() for _ in range(5)))
    assert heard and {state for _, _, state in heard} == {"resolved"}
    assert (naming.INPUT_BROKEN.name, "visits", "resolved") not in heard, "nobody was told that it began"
    heard = set().union(*(office.hour(thousandfold) for _ in range(2)))
    assert BROKEN in heard, "another incident is another matter"


def test_a_ticket_that_somebody_works_on_is_told_anew_when_it_pages():
    ticket = step(None, replace(SEEN, rule=naming.FEATURE_SHIFTED.name))
    opened = incident(None, "risk", [ticket], 10.0)
    worked_on = Acknowledgement(opened.id, "risk", "ticket", 20.0, "bob")
    policy = Policy(30.0, acknowledgements={opened.id: worked_on})
    assert policy.hushed(ticket, opened)
    worse = incident(opened, "risk", [ticket, FIRING], 40.0)
    assert worse.severity == "page" and not policy.hushed(FIRING, worse)
    paged = replace(worked_on, severity="page")
    assert replace(policy, acknowledgements={opened.id: paged}).hushed(FIRING, worse)


def test_an_acknowledgement_is_taken_back(office):
    for _ in range(2):
        office.hour(thousandfold)
    office.decide("acknowledge", incident="risk", by="bob")
    assert office.decide("acknowledge", incident="risk", undo=True)["acknowledged"] is None
    assert office.model()["acknowledged"] is None
    with pytest.raises(Refused, match="nobody has acknowledged"):
        office.decide("acknowledge", incident="risk", undo=True)


# What was no problem.


def test_what_was_no_problem_is_kept_with_its_span_for_the_calibration(office):
    def shifted(features, score):
        return {**features, "amount": features["amount"] * 1.5}, score

    for _ in range(3):
        office.hour(shifted)
    assert office.model()["status"] == "watch"
    found = office.decide("not-a-problem", model="risk", column="amount", by="ada", reason="a campaign")[
        "marks"
    ]
    assert {m["signal"] for m in found} <= set("DLAU") and found[0]["until"] is None
    (bins,) = {m.bins for m in office.world.ledger.policy(0.0).marks}
    assert bins == office.world.reference.bins.id
    document = office.model()
    assert document["status"] != "watch" and document["muted"][0]["muted"]["kind"] == "not a problem"
    assert len(document["no_problem"]) == len(found)
    for _ in range(6):
        office.hour()
    assert not office.world.firing()
    assert all(m.until is not None and m.until > m.since for m in office.world.ledger.policy(0.0).marks)
    ids = office.decide("not-a-problem", model="risk", column="amount", undo=True)["taken_back"]
    assert sorted(ids) == sorted(m["id"] for m in found) and office.model()["no_problem"] == []


def test_a_mark_is_of_one_alert_and_a_mute_of_its_time():
    mark, mute = Mark.of(FIRING, "b", 10.0, "a", "r"), Mute.of("risk", "", "", 10.0, 20.0, "r", "a")
    policy = Policy(15.0, (mute,), (mark,))
    again = replace(FIRING, since=9000.0)
    assert mark.covers(FIRING) and not mark.covers(again)
    assert not mark.covers(replace(FIRING, condition=replace(SEEN, signal="D")))
    assert policy.muting(again) is mute and replace(policy, now=20.0).muting(again) is None
    assert replace(policy, now=9.0).muting(again) is None and replace(policy, now=20.0).muting(FIRING) is mark


def test_only_what_is_learnt_can_be_marked(office):
    with pytest.raises(Refused, match="has had no alert in 30 days"):
        office.decide("not-a-problem", model="risk", column="amount", by="ada", reason="r")
    with pytest.raises(Refused, match="'O' is not one of D, L, A, U, which are learnt; mute it instead"):
        office.decide("not-a-problem", model="risk", column="amount", signal="O", by="ada", reason="r")


# Requests.

GOOD = {"model": "risk", "seconds": 60, "reason": "r", "by": "ada"}


@pytest.mark.parametrize(
    ("path", "body", "code", "said"),
    [
        ("mute", {**GOOD, "model": "rsk"}, 404, "did you mean 'risk'"),
        ("mute", {**GOOD, "rule": "MLModelFeatureShift"}, 422, "did you mean 'MLModelFeatureShifted'"),
        ("mute", {**GOOD, "column": "amuont"}, 422, "did you mean 'amount'"),
        ("mute", {**GOOD, "colunm": "amount"}, 422, "did you mean 'column'"),
        ("mute", {**GOOD, "seconds": -1}, 422, "seconds: -1 is no length of time"),
        ("mute", {**GOOD, "seconds": True}, 422, "seconds: True"),
        ("mute", {**GOOD, "seconds": 1e300}, 422, "more than a year from now"),
        ("mute", {**GOOD, "until": "2013-10-01T00:00:00Z"}, 422, "either until, a time, or seconds"),
        ("mute", {"model": "risk", "until": "2013-09-01T00:00:00Z", "reason": "r", "by": "a"}, 422, "would end before now"),
        ("mute", {"model": "risk", "until": "2013-10-01", "reason": "r", "by": "a"}, 422, "is no time with a zone"),
        ("mute", {**GOOD, "reason": " "}, 422, "reason: ' '"),
        ("mute", {**GOOD, "reason": "x" * 501}, 422, "1 to 500 characters"),
        ("mute", {k: v for k, v in GOOD.items() if k != "by"}, 422, "by: None"),
        ("unmute", {}, 422, "give the id of a mute"),
        ("unmute", {"id": "feed"}, 404, "no such mute goes on"),
        ("acknowledge", {"incident": "risk", "by": "bob"}, 404, "'risk' is not open"),
        ("not-a-problem", {"model": "risk", "column": 3, "by": "a", "reason": "r"}, 422, "column: 3"),
        ("mute", [1], 422, "must be a JSON object"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_is_refused_with_the_remedy(asked, path, body, code, said):
    answer = asked(f"/api/{path}", body)
    assert answer.status_code == code, answer.text
    error = answer.json()["error"]
    assert said in f"{error['what']}; {error['remedy']}"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    office = Office(tmp_path_factory.mktemp("counts"))
    office.hour()
    made = create(
        office.world.state(), office.world.clock.now, health=Health(), token="secret", metrics=lambda: b""
    )

    def ask(path, body=None, token="secret", content=None):
        async def call():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(made), base_url="http://test"
            ) as client:
                if body is None and content is None:
                    return await client.get(path)
                given = {"json": body} if content is None else {"content": content}
                return await client.post(path, **given, headers={"authorization": f"Bearer {token}"})

        return asyncio.run(call())

    yield ask
    office.world.close()


@pytest.mark.parametrize("path", ["mute", "unmute", "acknowledge", "not-a-problem"])
def test_who_decides_needs_the_token_and_few_words(asked, path):
    assert asked(f"/api/{path}", GOOD, token="wrong").status_code == 401
    assert asked(f"/api/{path}", content=b"x" * (65 << 10)).status_code == 413
    assert asked(f"/api/{path}", content=b"{").status_code == 400
    assert asked(f"/api/{path}").status_code == 405
    assert f"/api/{path}" in asked("/api/openapi.json").json()["paths"]


def test_a_mute_is_listed_as_soon_as_it_is_made(asked):
    assert asked("/api/policy").json()["mutes"] == []
    made = asked("/api/mute", {**GOOD, "column": "amount"}).json()
    assert (made["since"], made["until"]) == ("2013-09-30T01:00:00Z", "2013-09-30T01:01:00Z")
    assert asked("/api/policy").json()["mutes"] == [made]
    assert asked("/api/models/risk").json()["mutes"] == [made]
    assert asked("/api/unmute", {"model": "risk"}).json() == {"ended": [made["id"]]}
    assert asked("/api/policy").json()["mutes"] == []


def test_decisions_are_forgotten_with_what_they_are_about():
    with Tiles(":memory:") as tiles:
        ledger = Ledger(tiles)
        ledger.save_mute(Mute.of("m", "", "", START, START + HOUR, "r", "a"))
        ledger.acknowledge(Acknowledgement("gone", "m", "page", START, "a"))
        ledger.expire(START + 2 * HOUR)
        assert ledger.policy(START).mutes and not ledger.policy(START).acknowledgements
        ledger.expire(START + 5000 * DAY)
        assert ledger.policy(START).mutes == ()


def test_alerts_of_before_they_knew_of_limits_are_read():
    assert Alert(SEEN, alert.FIRING, 0.0, 1.0).condition.by_owner is False


# The command line.


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A store that holds two ordinary hours and three broken ones, not judged yet."""
    folder = tmp_path_factory.mktemp("store")
    world = World(folder / "counters", ref=REFERENCE())
    world.tiles.close()
    file = folder / "tiles.duckdb"
    world.tiles, world.evaluate = Tiles(file), list
    StoredReferences(world.tiles)[world.reference.id] = world.reference.to_json()
    for hour in range(5):
        world.hour(change=None if hour < 2 else thousandfold)
    world.close()
    return file


@pytest.fixture
def store(broken, tmp_path):
    return Path(shutil.copy(broken, tmp_path))


def test_verbs_open_the_store_where_no_server_runs(store):
    assert run("mute", "--store", store).output.strip() == "Nothing is muted"
    made = json.loads(
        run(
            "mute", "risk", "--for", "2h", "--reason", "[b]", "--by", "ada", "--store", store, "--json"
        ).output
    )
    assert parse_time(made["until"]) - parse_time(made["since"]) == 7200
    listed = run("mute", "--store", store).output
    assert made["id"] in listed and "ada" in listed and "[b]" in listed
    ended = run("unmute", made["id"], "--store", store)
    assert ended.exit_code == 0 and made["id"] in ended.output
    again = run("unmute", "risk", "--store", store)
    assert again.exit_code == 2 and "no such mute goes on" in again.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mute", "risk", "--for", "2h"], "--reason: is not given"),
        (["mute", "risk", "--reason", "r"], "give either --for, such as 2h, or --until"),
        (
            ["mute", "risk", "--reason", "r", "--for", "2 hours"],
            "cannot read '2 hours'; write 30m, 2h, 1d or 1w",
        ),
        (["mute", "rsk", "--reason", "r", "--for", "2h"], "did you mean 'risk'?"),
        (["ack", "risk"], "'risk' is not open"),
        (["not-a-problem", "risk", "amount"], "--reason: is not given"),
        (["not-a-problem", "risk", "amount", "--reason", "r"], "has had no alert in 30 days"),
    ],
)
def test_a_verb_that_cannot_be_is_refused_with_the_remedy(store, arguments, said):
    found = run(*arguments, "--store", store)
    assert found.exit_code == 2 and said in " ".join(found.output.split())
    assert run(*arguments, "--store", store.with_name("none.duckdb")).exit_code == 2


def test_verbs_ask_the_running_server_and_its_clock(store):
    clock = Clock(start=START + 5 * HOUR + 180.0, origin=time.time())
    server = Server(Config(store=str(store), port=0), clock=clock)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 30
        while not server.ledger.incidents() and time.monotonic() < end:
            time.sleep(0.1)
        while Address.of(store) is None and time.monotonic() < end:
            time.sleep(0.1)
        done = run("ack", "risk", "--by", "bob", "--note", "at it", "--store", store)
        assert done.exit_code == 0 and done.output.startswith("Acknowledged by bob: risk-")
        learnt = run("not-a-problem", "risk", "amount", "--reason", "r", "--by", "bob", "--store", store)
        assert learnt.exit_code == 0 and learnt.output.startswith("No problem: ")
        muted = run("mute", "risk", "--for", "1d", "--reason", "r", "--by", "ada", "--store", store)
        assert muted.exit_code == 0 and "Muted until 2013-10-01T05:03:" in muted.output
        assert "ada" in run("mute", "--store", store).output
        assert run("unmute", "risk", "--store", store).exit_code == 0
        assert run("ack", "risk", "--undo", "--store", store).output.startswith("Nobody works on it")
        back = run("not-a-problem", "risk", "amount", "--undo", "--store", store)
        assert back.exit_code == 0 and back.output.startswith("Taken back: ")
        assert "Nothing is muted" in run("mute", "--store", store).output
        wrong = run("mute", "rsk", "--for", "1d", "--reason", "r", "--store", store)
        assert wrong.exit_code == 2 and "did you mean 'risk'?" in wrong.output
    finally:
        server.stop()
        thread.join(20)
