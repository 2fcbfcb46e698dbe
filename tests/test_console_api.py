"""The API: every document in the shape that pages read, honest about what it does not know, closed to what may not write."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import httpx
import numpy as np
import pytest

from barograph import Monitor, Reference, naming
from barograph.bins import numeric_bins
from barograph.clock import Clock
from barograph.config import Config, ModelConfig
from barograph.console import pages
from barograph.console.app import create
from barograph.console.columns import _axis, _scale
from barograph.console.documents import Documents
from barograph.console.health import Health
from barograph.glossary import GLOSSARY
from barograph.increments import increments
from barograph.links import model_path, segment
from world import START, World, draw

HOUR = 3600


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("counters"))
    for _ in range(8):
        made.hour()
    for _ in range(3):
        made.hour(change=lambda f, s: ({**f, "amount": f["amount"] * 1000}, s * 0 + 0.9))
    yield made
    made.close()


@pytest.fixture(scope="module")
def get(world):
    app = create(
        world.state(), world.clock.now, health=Health(), token="secret", metrics=lambda: b"# nothing\n"
    )

    def ask(path, method="GET", **options):
        async def call():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://test"
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(call())

    return ask


def test_the_fleet_names_the_model_what_is_wrong_and_since_when(get):
    fleet = get("/api/fleet").json()
    (model,) = fleet["models"]
    assert fleet["headline"] == "One model needs action" and fleet["incidents"] == 1
    assert model["name"] == "risk" and model["version"] == "1" and model["status"] == "act"
    assert model["predictions"] > 800 and model["since"] == "2013-09-30T08:00:00Z"
    assert (
        "usual" in model["reason"]
        and model["output"]["status"] == "act"
        and model["service"]["status"] == "ok"
    )
    assert model["causes"] == {"drifted": 1, "columns": 3, "status": "act"}
    spark = model["spark"]
    assert len(spark["t"]) == len(spark["y"]) == len(spark["ribbon"]) and "act" in spark["ribbon"]
    assert "as usual" not in fleet["lede"] and "uptime checks do not notice" in fleet["lede"]


def test_a_model_comes_in_the_order_of_what_matters(get):
    model = get("/api/models/risk").json()
    keys = [k for k in model if k in ("service", "output", "outcomes", "causes")]
    assert keys == ["service", "output", "outcomes", "causes"]
    assert [p["id"] for p in model["service"]["panels"]] == ["traffic", "latency", "errors"]
    assert [p["id"] for p in model["output"]["panels"]] == ["answers", "scores"]
    assert (
        model["causes"]["columns"][0]["name"] == "amount" and model["causes"]["columns"][0]["status"] == "act"
    )
    assert {row["role"] for row in model["causes"]["columns"]} == {"feature"}
    for panel in model["service"]["panels"] + model["output"]["panels"]:
        assert all(len(s["y"]) == len(panel["t"]) for s in panel["series"])
        assert len(panel["t"]) <= 600


def test_a_column_shows_live_beside_reference(get):
    column = get("/api/models/risk/columns/amount").json()
    shown = column["distribution"]
    assert len(shown["edges"]) == len(shown["live"]) + 1 == len(shown["reference"]) + 1
    assert sum(shown["reference"]) == pytest.approx(1, abs=0.02) and sum(shown["live"]) == pytest.approx(
        1, abs=0.02
    )
    assert shown["scale"] == "log"
    median = next(row for row in column["comparison"] if row["name"] == "Median")
    assert median["ratio"] == pytest.approx(1000, rel=0.1) and median["status"] == "act"
    assert {s["signal"] for s in column["signals"]} >= {"D", "L", "A", "O"}
    assert {m["name"] for m in column["measures"]} >= {"PSI", "Kolmogorov-Smirnov"}
    assert column["since"] == "2013-09-30T08:00:00Z" and column["status"] == "act"


def test_a_category_is_shown_by_its_names(get):
    column = get("/api/models/risk/columns/country").json()
    assert column["distribution"]["labels"][:3] == ["DE", "FR", "PL"]
    assert column["status"] == "ok" and column["evidence"] == []


def test_an_incident_lists_its_alerts(get):
    (incident,) = get("/api/incidents").json()["incidents"]
    assert incident["status"] == "firing" and incident["severity"] == "page"
    assert {a["column"] for a in incident["alerts"]} >= {"amount", "score"}


@pytest.mark.parametrize("span", ["1h", "6h", "24h", "7d", "30d"])
def test_every_range_is_answered_without_nan(get, span):
    for path in (
        "/api/fleet",
        "/api/models/risk",
        "/api/models/risk/columns/amount",
        "/api/models/risk/columns/score",
        "/api/incidents",
    ):
        answer = get(f"{path}?range={span}")
        assert answer.status_code == 200
        assert "NaN" not in answer.text and "Infinity" not in answer.text, path


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/api/models/gone", 404, "'gone' is not known here"),
        ("/api/models/risk/columns/gone", 404, "'gone' is not known here"),
        ("/api/models/risk?version=9", 404, "'9' is not known here"),
        ("/api/fleet?to=yesterday", 422, "to: 'yesterday' is no time with a zone"),
        ("/api/incidents?to=2013-09-30T08:00:00", 422, "is no time with a zone"),
        ("/api/models/risk?to=2013-10-30T08:00:00Z", 422, "lies ahead of the clock"),
        ("/api/names?to=1969-01-01T00:00:00Z", 422, "lies before 1970"),
        ("/api/fleet?range=2y", 422, "range: '2y' is not one of 1h, 6h"),
    ],
)
def test_what_is_not_known_is_said_with_the_remedy(get, path, code, said):
    answer = get(path)
    assert answer.status_code == code and said in answer.json()["error"]["what"]


def asker(app):
    """Asks an app without a server in between."""

    def ask(path, **options):
        async def call():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://test"
            ) as client:
                return await client.get(path, **options)

        return asyncio.run(call())

    return ask


class Service:
    """A target's status, as the poller tells it."""

    url, up, error, lag = "http://service", True, None, 0.0123


@pytest.fixture
def polled(tmp_path):
    """A world, its evaluator's health, a target, and who asks for a path as a page does: with the ETag of last time."""
    world, health, service = World(tmp_path), Health(), Service()
    for _ in range(3):
        world.hour()
    world.clock.time += 200  # 03:03:20
    state = replace(world.state(), statuses=lambda: [service])
    app = create(state, world.clock.now, health=health, token="secret", metrics=lambda: b"")
    ask, tags = asker(app), {}

    def poll(path):
        answer = ask(path, headers={"if-none-match": tags.get(path, "")})
        tags[path] = answer.headers["etag"]
        return answer

    yield world, health, service, poll
    world.close()


PATHS = ("/api/fleet", "/api/models/risk?range=6h", "/api/models/risk/columns/amount", "/api/incidents")


def test_while_nothing_changes_a_poll_costs_nothing_and_still_tells_the_time(polled, monkeypatch):
    world, _, service, poll = polled
    first = [poll(path) for path in PATHS]
    assert {answer.status_code for answer in first} == {200}
    monkeypatch.setattr("barograph.console.pages.fleet", None)  # nobody makes it again
    for moment in ("03:03:25", "03:03:59"):
        hours, minutes, seconds = map(int, moment.split(":"))
        world.clock.time = START + hours * HOUR + minutes * 60 + seconds
        service.lag = -0.5  # of no reading is it the same as of the last
        for path in PATHS:
            again = poll(path)
            assert again.status_code == 304 and again.content == b"", path
            assert again.headers["x-barograph-clock"] == f"2013-09-30T{moment}Z"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("what", ["a minute", "rows", "a pass", "a target"])
def test_a_document_is_made_anew_once_anything_in_it_may_have_changed(polled, path, what):
    world, health, service, poll = polled
    poll(path)
    assert poll(path).status_code == 304
    if what == "a minute":
        world.clock.time += 60
    elif what == "rows":
        features, score = draw(50)
        world.monitor.record(features, score=score)
        world.tick(1)
    elif what == "a pass":
        health.succeeded(world.clock.time)
    else:
        service.up, service.error = False, "connection refused"
    changed = poll(path)
    quiet = what == "a target" and path != "/api/fleet"
    quiet = quiet or (what == "rows" and path == "/api/incidents")
    assert changed.status_code in ((200, 304) if quiet else (200,))
    assert poll(path).status_code == 304


def test_a_quiet_service_that_is_read_changes_no_document(polled):
    world, _, _, poll = polled
    poll("/api/fleet")
    world.tick(10)
    assert poll("/api/fleet").status_code == 304


def test_an_event_is_on_the_page_as_soon_as_it_is_told(polled):
    world, health, _, _ = polled
    app = create(world.state(), world.clock.now, health=health, token="secret", metrics=lambda: b"")
    tag = asker(app)("/api/fleet").headers["etag"]

    async def tell():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post(
                "/api/events", json={"label": "profile 4.12"}, headers={"authorization": "Bearer secret"}
            )

    assert asyncio.run(tell()).status_code == 202
    answer = asker(app)("/api/fleet", headers={"if-none-match": tag})
    assert answer.status_code == 200 and "profile 4.12" in answer.text


def test_many_who_ask_at_once_wait_for_one_making():
    made = []

    def make():
        made.append(time.sleep(0.2))
        return b"{}"

    documents = Documents(lambda: 1)
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(documents.get, "/", make) for _ in range(8)]
        assert len({one.result() for one in found}) == 1
    assert len(made) == 1
    for i in range(100):
        documents.get(f"/{i}", lambda: b"x")
    assert len(documents._kept) <= 48


def test_health_is_green_until_passes_stop_and_says_why(world):
    health = Health(patience=0.2)
    ask = asker(create(world.state(), world.clock.now, health=health, token="secret", metrics=lambda: b""))
    assert ask("/-/healthy").text == "healthy\n"
    assert ask("/-/ready").status_code == 503 and "first pass" in ask("/-/ready").text
    health.succeeded(1.0)
    assert ask("/-/ready").text == "ready\n"
    health.failed(OSError("no space left on device"))
    time.sleep(0.25)
    for path in ("/-/healthy", "/-/ready"):
        answer = ask(path)
        assert answer.status_code == 503 and "stopped by OSError: no space left on device" in answer.text
    health.moved()  # one model after the other over a long history is no standstill
    assert ask("/-/healthy").status_code == 200
    health.also = lambda: "no service has been asked for 10 min"
    assert "no service has been asked" in ask("/-/healthy").text
    assert "x-barograph-proof" not in ask("/-/healthy").headers
    proofs = {ask(f"/-/healthy?challenge={c}").headers["x-barograph-proof"] for c in ("a", "b")}
    assert len(proofs) == 2 and "secret" not in str(proofs)


def test_writing_needs_the_token_and_a_sensible_body(get, world):
    body = {"label": "profile-service 4.12", "model": "risk"}
    right = {"authorization": "Bearer secret"}
    assert get("/api/events", "POST", json=body).status_code == 401
    assert get("/api/events", "POST", json=body, headers={"authorization": "Bearer guess"}).status_code == 401
    assert get("/api/events", "POST", content=b"{", headers=right).status_code == 400
    assert get("/api/events", "POST", json={"label": ""}, headers=right).status_code == 422
    assert get("/api/events", "POST", json={"label": "x", "model": "gone"}, headers=right).status_code == 422
    assert get("/api/events", "POST", content=b"x" * 70_000, headers=right).status_code == 413
    assert get("/api/events", "POST", json=body, headers=right).status_code == 202
    assert "profile-service 4.12" in [e["label"] for e in pages.events(world.state(), world.span(), "risk")]


def test_every_answer_keeps_the_page_to_itself(get):
    for path in ("/", "/api/fleet", "/models/risk", "/static/app.js", "/nowhere"):
        policy = get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
        assert "style-src 'self';" in policy and "unsafe" not in policy


def test_pages_fall_back_to_the_one_document(get):
    index = get("/").text
    assert (
        get("/models/risk").text == get("/models/risk/columns/amount").text == get("/incidents").text == index
    )


def test_every_alert_has_its_runbook_here_with_links_to_this_console(get):
    for name in naming.RULES:
        answer = get(f"/runbooks/{name}")
        assert answer.status_code == 200 and answer.text.startswith(f"# {name}")
        assert "http://127.0.0.1:8700" not in answer.text
    refused = get("/runbooks/NoSuchAlert")
    assert refused.status_code == 404 and "MLModelNoTraffic" in refused.text


def test_the_openapi_document_names_every_route(get):
    described = get("/api/openapi.json").json()["paths"]
    assert set(described) == {
        "/api/fleet",
        "/api/models/{name}",
        "/api/models/{name}/columns/{column}",
        "/api/models/{name}/readiness",
        "/api/incidents",
        "/api/names",
        "/api/glossary",
        "/api/join",
        "/api/events",
        "/api/policy",
        "/api/mute",
        "/api/unmute",
        "/api/acknowledge",
        "/api/not-a-problem",
    }


def test_the_glossary_is_there_for_pages_and_people(get):
    terms = get("/api/glossary").json()["terms"]
    assert {t["term"]: t["text"] for t in terms} == GLOSSARY


def test_nothing_reported_yet_is_a_state_of_its_own(tmp_path):
    from barograph.console.state import Span, State
    from barograph.known import References
    from barograph.ledger import Ledger
    from barograph.tiles import Tiles

    with Tiles(":memory:") as tiles:
        fleet = pages.fleet(
            State(tiles, Ledger(tiles), References({}, Config()), Config(), list), Span("24h", 1.38e9)
        )
    assert fleet["headline"] == "No model has reported yet" and fleet["models"] == []


def counted(bins, values):
    """Counts of values over bins."""
    return np.bincount(np.searchsorted(bins.edges, values, side="right"), minlength=bins.size)


def test_a_zero_beside_other_values_does_not_stretch_the_axis_to_nothing():
    values = np.concatenate([np.zeros(300), np.random.default_rng(3).gamma(4, 3, 3000)])
    bins = numeric_bins(values)
    counts = counted(bins, values)
    edges, scale = _axis(bins, counts, counts, 72)
    assert scale == "linear" and edges[0] == 0 and 20 < edges[-1] < 100


def test_minutes_sent_as_milliseconds_leave_the_reference_wide_enough_to_see():
    rng = np.random.default_rng(4)
    values = np.round(np.concatenate([rng.normal(-4, 4, 7000), rng.exponential(60, 3000)]))
    bins = numeric_bins(values)
    usual, live = counted(bins, values), counted(bins, values * 60_000)
    edges, scale = _axis(bins, usual, live, 72)
    assert scale == "symlog" and edges[0] < -100_000 and edges[-1] > 1e6 and np.all(np.diff(edges) > 0)
    inside = (edges > np.quantile(values, 0.05)) & (edges < np.quantile(values, 0.95))
    assert inside.sum() > 10
    assert _axis(bins, usual, usual, 72)[1] == "linear"


def test_an_axis_has_no_knee_of_nothing():
    bins = numeric_bins(np.zeros(100))
    usual, live = counted(bins, np.zeros(100)), counted(bins, np.linspace(-500, 500, 100))
    edges, _ = _axis(bins, usual, live, 72)
    assert np.isfinite(edges).all() and np.all(np.diff(edges) > 0)
    assert _scale(-500.0, 500.0, np.array([0.0, 0.0])) == "symlog"


def test_few_whole_numbers_get_a_cell_each(get):
    shown = get("/api/models/risk/columns/visits?range=7d").json()["distribution"]
    assert shown["scale"] == "linear" and shown["edges"] == [k - 0.5 for k in range(10)]
    for shares in (shown["reference"], shown["live"]):
        assert sum(shares) == pytest.approx(1, abs=0.001) and min(shares) > 0.05


def test_points_stand_at_the_end_of_what_they_count_up_to_now(get, world):
    model = get("/api/models/risk").json()
    end = datetime.fromisoformat(model["range"]["to"]).timestamp()
    for panel in model["service"]["panels"] + model["output"]["panels"]:
        assert panel["t"][-1] == end and panel["t"] == sorted(set(panel["t"]))
    answers = next(p for p in model["output"]["panels"] if p["id"] == "answers")
    raised = [
        t for t, y in zip(answers["t"], answers["series"][0]["y"], strict=True) if y is not None and y > 0.5
    ]
    began = datetime.fromisoformat(model["since"]).timestamp()
    assert began <= raised[0] <= began + 2 * HOUR, "the line must not rise before the incident"


def test_the_step_that_goes_on_is_shown_as_soon_as_it_can_say_something(tmp_path):
    world = World(tmp_path)
    for _ in range(4):
        world.hour()
    features, score = draw(60)
    world.monitor.record(features, score=score)
    world.tick(45 * 60)
    panels = {p["id"]: p for p in pages.model(world.state(), "risk", world.span())["service"]["panels"]}
    assert panels["traffic"]["t"][-1] == START + 4 * HOUR + 45 * 60
    assert panels["traffic"]["series"][0]["y"][-1] == pytest.approx(60 / 45, rel=0.05), "a rate by the minute"
    world.close()


def test_a_window_ends_where_it_is_asked_to(get):
    then = "2013-09-30T04:00:00Z"
    for path in ("/api/fleet", "/api/models/risk", "/api/models/risk/columns/amount", "/api/incidents"):
        document = get(f"{path}?range=6h&to={then}").json()
        assert document["range"]["to"] == then and document["range"]["from"] == "2013-09-29T22:00:00Z", path
        assert document["now"] > then
    assert get(f"/api/incidents?to={then}").json()["incidents"] == []
    column = get(f"/api/models/risk/columns/amount?range=6h&to={then}").json()
    median = next(row for row in column["comparison"] if row["name"] == "Median")
    assert 300 < column["n"]["live"] <= 320 and median["ratio"] == pytest.approx(1, rel=0.2)
    assert get("/api/fleet?to=2013-09-30T06:00:00%2B02:00").json()["range"]["to"] == then
    assert get("/api/fleet?to=1971-01-01T00:00:00Z").json()["models"][0]["predictions"] == 0


def test_the_find_box_gets_every_name(get):
    (model,) = get("/api/names").json()["models"]
    assert model["name"] == "risk" and {"amount", "visits", "country", "score"} <= set(model["columns"])


def test_every_document_says_how_things_stand(world):
    health, clock = Health(), Clock(start=world.clock.time, origin=time.time(), speed=60.0)
    health.last_success = world.clock.time - 120
    app = create(world.state(), clock.now, health=health, token="x", metrics=lambda: b"")

    async def ask(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return (await client.get(path)).json()

    for path in (
        "/api/fleet",
        "/api/models/risk",
        "/api/models/risk/columns/amount",
        "/api/incidents",
        "/api/names",
    ):
        document = asyncio.run(ask(path))
        assert (
            document["speed"] == 60 and document["updated"] == "2013-09-30T10:58:00Z" and document["now"]
        ), path
        if path != "/api/incidents":
            assert document["incidents"] == 1, path


@pytest.mark.parametrize(
    "name",
    [
        "team/risk", "risk 50 %", "Prüfung/ä b", "a%2Fb", "models/x/columns/y", "?#&", ".", "..", "~.", "~", "%2e",
        "../..", "a/", "/", "\\", "a+b;c=d", "...", "models",
    ],
)  # fmt: skip
def test_a_name_may_hold_any_letter(tmp_path, name):
    world = World(tmp_path / "world")
    monitor = Monitor(
        name,
        version="1",
        reference=world.reference,
        directory=tmp_path / "named",
        clock=world.clock,
        strict=True,
    )
    before = monitor.snapshot()
    features, score = draw(50)
    monitor.record(features, score=score)
    world.clock.time += 600
    world.tiles.add(increments(before, monitor.snapshot()))
    app = create(world.state(), world.clock.now, health=Health(), token="x", metrics=lambda: b"")

    async def ask(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path)

    path = model_path(name)
    assert not re.search(r"/(\.|%2e){1,2}(/|$)", path, re.IGNORECASE), "a browser would drop it"
    assert asyncio.run(ask(f"/api{path}")).json()["name"] == name
    column = asyncio.run(ask(f"/api{path}/columns/amount")).json()
    assert column["model"] == name and column["name"] == "amount"
    unknown = asyncio.run(ask(f"/api{path}/columns/{segment(name)}"))
    assert unknown.status_code == 404 and repr(name) in unknown.json()["error"]["what"]
    for page in (path, f"{path}/columns/amount", f"{path}/columns/{segment(name)}"):
        assert asyncio.run(ask(page)).text.startswith("<!doctype html>")
    monitor.close()
    world.close()


def unreferenced(tmp_path):
    """A world beside the first model of which another one serves without a reference; how it counts an hour."""
    world = World(tmp_path / "world")
    monitor = Monitor(
        "bare", version="1", directory=tmp_path / "bare", clock=world.clock, flush_interval=3600
    )

    def hour():
        before = monitor.snapshot()
        features, score = draw(80)
        monitor.record(features, score=score)
        world.hour()
        world.tiles.add(increments(before, monitor.snapshot()))

    return world, hour, monitor.close


def test_a_model_without_a_reference_says_what_is_watched_and_what_is_not(tmp_path):
    world, hour, close = unreferenced(tmp_path)
    for _ in range(3):
        hour()
    model = pages.model(world.state(), "bare", world.span())
    assert model["headline"] == "bare is watched without a reference" and model["status"] == "learning"
    assert "features and drift are not judged: there is no reference" in model["lede"]
    assert "`Reference.fit`" in model["lede"] and "already" not in model["lede"]
    assert (
        model["output"]["status"] == "no_data"
        and model["output"]["summary"] == "Only empty answers are watched"
    )
    assert model["causes"]["status"] == "no_data" and "no reference" in model["causes"]["summary"]
    assert model["service"]["status"] == "ok"
    fleet = pages.fleet(world.state(), world.span())
    row = next(r for r in fleet["models"] if r["name"] == "bare")
    assert "not judged" in row["reason"] and row["causes"] == {
        "drifted": None,
        "columns": 0,
        "status": "no_data",
    }
    assert re.match(r"2 models answered \d+ predictions\. bare: there is no reference", fleet["lede"])
    close()
    world.close()


def test_a_reference_without_times_promises_no_more_than_faults(tmp_path):
    features, score = draw(4_000)
    ref = Reference.fit({**features, "p": score}, task="binary", score="p", threshold=0.5)
    world = World(tmp_path, ref=ref)
    for _ in range(3):
        world.hour()
    model = pages.model(world.state(), "risk", world.span())
    assert model["headline"] == "risk is judged for faults only" and model["status"] == "learning"
    assert "shapes and levels are not: the reference has no timestamps" in model["lede"]
    assert model["output"]["status"] == model["causes"]["status"] == "learning"
    column = pages.column(world.state(), "risk", "amount", world.span())
    assert column["headline"] == "amount is judged for faults only"
    shape = next(s for s in column["signals"] if s["signal"] == "D")
    assert shape["text"].endswith("No line yet: the reference has no timestamps.")
    world.close()


def test_before_the_first_judged_hour_nothing_is_as_usual(tmp_path):
    world = World(tmp_path)
    features, score = draw(80)
    world.monitor.record(features, score=score)
    world.tick(600)
    world.evaluate()
    model = pages.model(world.state(), "risk", world.span())
    assert model["headline"] == "risk has not been judged yet" and "30 rows" in model["lede"]
    assert model["output"]["summary"] == model["causes"]["summary"] == "Not judged yet"
    assert {row["status"] for row in model["causes"]["columns"]} == {"learning"}
    world.close()


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (1.0, "columns about once a month"),
        (0.25, "columns about once in 4 months"),
        (6.0, "columns about 6 times a month"),
    ],
)
def test_a_limit_tells_the_budget_that_it_is_calibrated_to(tmp_path, budget, said):
    world = World(tmp_path, Config(models={"risk": ModelConfig(budget=budget)}))
    for _ in range(2):
        world.hour()
    texts = [s["text"] for s in pages.column(world.state(), "risk", "amount", world.span())["signals"]]
    assert any(said in text for text in texts), texts
    world.close()


def test_a_quality_check_shows_the_alert_of_what_it_checks(tmp_path):
    rng = np.random.default_rng(2)
    times = START - 14 * 86_400 + np.sort(rng.uniform(0, 14 * 86_400, 14 * 24 * 80))
    frame = {"x": rng.normal(size=len(times)), "answer": rng.choice(["a", "b"], len(times)), "t": times}
    ref = Reference.fit(frame, task="multiclass", prediction="answer", time="t")
    world = World(tmp_path, ref=ref)

    def answers(names):
        for _ in range(4):
            world.monitor.record({"x": rng.normal(size=20)}, prediction=rng.choice(names, 20).tolist())
            world.tick(900)
        world.clock.time += 180
        world.evaluate()
        world.clock.time -= 180

    def check(name):
        return next(
            c
            for c in pages.model(world.state(), "risk", world.span())["output"]["checks"]
            if c["name"] == name
        )

    for _ in range(3):
        answers(["a", "b"])
    assert check("Answer never seen before")["status"] == "ok"
    for _ in range(3):
        answers(["a", "new"])
    assert (naming.OUTPUT_SHIFTED.name, "prediction") in world.firing()
    assert check("Answer never seen before")["status"] == "act"
    assert check("Empty responses")["status"] == "ok"
    world.close()


def test_silence_is_dated_by_the_last_prediction_and_not_by_the_last_reading(tmp_path):
    world = World(tmp_path)
    for _ in range(3):
        world.hour()
    features, score = draw(40)
    world.monitor.record(features, score=score)
    world.tick(600)  # the last one, before 03:10
    for _ in range(40):
        world.tick(15 * 60)  # read, and quiet
    model = pages.model(world.state(), "risk", world.span())
    assert model["status"] == "no_data"
    assert model["lede"] == "No predictions since 2013-09-30T03:10:00Z."
    world.tiles.roll_up(world.clock.time + 40 * 86_400)
    world.tiles.expire(world.clock.time + 40 * 86_400)  # minutes are gone: the hour is what is known
    world.clock.time += 40 * 86_400
    assert "since 2013-09-30T04:00:00Z" in pages.model(world.state(), "risk", world.span())["lede"]
    world.close()
