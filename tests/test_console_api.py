"""The API: every document in the shape that pages read, honest about what it does not know, closed to what may not write."""

import asyncio

import httpx
import pytest

from barograph.console import pages
from barograph.console.app import Health, create
from world import World


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
