"""The API: every document in the shape that pages read, honest about what it does not know, closed to what may not write."""

import asyncio
import time
from datetime import datetime
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from barograph import Monitor
from barograph.bins import numeric_bins
from barograph.clock import Clock
from barograph.console import pages
from barograph.console.app import Health, create
from barograph.console.columns import _axis, _scale
from barograph.increments import increments
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
    assert [p["id"] for p in model["service"]["panels"]] == ["traffic", "latency", "errors", "stages"]
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


def test_an_unchanged_document_is_not_sent_again(get):
    tag = get("/api/fleet").headers["etag"]
    again = get("/api/fleet", headers={"if-none-match": tag})
    assert again.status_code == 304 and again.content == b""


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


def test_the_openapi_document_names_every_route(get):
    described = get("/api/openapi.json").json()["paths"]
    assert set(described) == {
        "/api/fleet",
        "/api/models/{name}",
        "/api/models/{name}/columns/{column}",
        "/api/incidents",
        "/api/names",
        "/api/events",
    }


def test_nothing_reported_yet_is_a_state_of_its_own(tmp_path):
    from barograph.config import Config
    from barograph.console.state import Span, State
    from barograph.evaluate import References
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
    "name", ["team/risk", "risk 50 %", "Prüfung/ä b", "a%2Fb", "models/x/columns/y", "?#&"]
)
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

    path = f"/models/{quote(name, safe='')}"
    assert asyncio.run(ask(f"/api{path}")).json()["name"] == name
    column = asyncio.run(ask(f"/api{path}/columns/amount")).json()
    assert column["model"] == name and column["name"] == "amount"
    unknown = asyncio.run(ask(f"/api{path}/columns/{quote(name, safe='')}"))
    assert unknown.status_code == 404 and repr(name) in unknown.json()["error"]["what"]
    for page in (path, f"{path}/columns/amount", f"{path}/columns/{quote(name, safe='')}"):
        assert asyncio.run(ask(page)).text.startswith("<!doctype html>")
    monitor.close()
    world.close()
