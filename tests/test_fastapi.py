"""FastAPI and Starlette: what is counted of a request, under which name, and that the application does not notice."""

import asyncio
import contextlib
import json
import re

import httpx
import numpy as np
import prometheus_client
import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route

import barograph
from barograph import Monitor, Reference, naming
from barograph.counters import Snapshot
from barograph.integrations.fastapi import MAX_ID, Routes, instrument, request_id

RNG = np.random.default_rng(0)
REFERENCE = Reference.fit(
    {"x": RNG.normal(10, 2, 500), "c": RNG.choice(["a", "b"], 500).tolist(), "p": RNG.beta(2, 5, 500)},
    task="binary",
    score="p",
    threshold=0.5,
)


@pytest.fixture
def monitor(tmp_path):
    with Monitor(
        "m", version="1", reference=REFERENCE, directory=tmp_path, strict=True, flush_interval=60
    ) as m:
        yield m


@pytest.fixture
def registry():
    return prometheus_client.CollectorRegistry()


def ask(app, path, method="GET", *, raises=False, client="127.0.0.1", **options) -> httpx.Response:
    """One request to an application, without a server."""

    async def asked():
        transport = httpx.ASGITransport(app, raise_app_exceptions=raises, client=(client, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            return await http.request(method, path, **options)

    return asyncio.run(asked())


def lines(app) -> dict[str, float]:
    """/metrics, line by line."""
    text = ask(app, "/metrics").text
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(number) for name, _, number in pairs}


def requests(app) -> dict[tuple[str, str, str], float]:
    """Counts of requests that are not 0, by (handler, method, status)."""
    pattern = re.compile(r'http_requests_total\{handler="(.*)",method="(.*)",status="(.*)"\}')
    found = {match.groups(): n for name, n in lines(app).items() if (match := pattern.fullmatch(name))}
    return {labels: n for labels, n in found.items() if n}


def value(app, name: str, **labels: str) -> float:
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return lines(app)[f"{name}{{{inside}}}" if labels else name]


class Model:
    def predict(self, rows):
        if rows == "broken":
            raise ZeroDivisionError("no such flight")
        return [1.0]


@pytest.fixture
def app(monitor, registry):
    """An application with everything that routes can be."""
    app = FastAPI()
    model = monitor.watch(Model())
    items, deep = APIRouter(), APIRouter()

    @deep.get("/deep/{y}")
    def answer_deep(y: int) -> int:
        return y

    @items.get("/items/{x}")
    def answer_item(x: int) -> int:
        return x

    items.include_router(deep, prefix="/inner")
    app.include_router(items, prefix="/api/{tenant}")

    inside = FastAPI()

    @inside.get("/sub/{z}")
    def answer_sub(z: int) -> int:
        return z

    app.mount("/mounted/{client}", inside)
    app.mount("/files", PlainTextResponse("a file"))

    @app.post("/predict")
    def predict(row: dict) -> float:
        return model.predict([row])[0]

    @app.get("/broken")
    def broken() -> None:
        model.predict("broken")

    @app.get("/wrapped")
    def wrapped() -> None:
        try:
            model.predict("broken")
        except ZeroDivisionError as error:
            raise RuntimeError("the model failed") from error

    @app.get("/late")
    def late() -> None:
        model.predict([{"x": 10.0, "c": "a"}])
        raise KeyError("late")

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError("bug")

    @app.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418)

    instrument(app, monitor, registry=registry)
    return app


# Endpoints.


def test_instrument_adds_metrics_and_profile_but_not_to_the_documentation(app):
    assert ask(app, "/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    snapshot = Snapshot.from_bytes(ask(app, "/profile").content)
    assert any(series.metric == naming.PREDICTIONS.name for series in snapshot.series)
    assert Reference.from_json(ask(app, f"/profile/reference/{REFERENCE.id}").content).id == REFERENCE.id
    assert not any("metrics" in path or "profile" in path for path in app.openapi()["paths"])
    assert ask(app, "/metrics", "POST").status_code == 405
    assert ask(app, "/profile", client="203.0.113.9").status_code == 403


def test_a_route_that_matches_everything_does_not_hide_them(monitor, registry):
    app = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("mine"))])
    instrument(app, monitor, registry=registry)
    assert "ml_predictions_total" in ask(app, "/metrics").text
    assert ask(app, "/else").text == "mine"
    assert requests(app) == {("/{path:path}", "GET", "2xx"): 1}


def test_a_users_registry_is_shown_beside_ours(app, registry):
    prometheus_client.Counter("orders", "Orders.", registry=registry).inc(3)
    assert value(app, "orders_total") == 3


# Names.


@pytest.mark.parametrize(
    ("path", "handler", "status"),
    [
        ("/api/acme/items/3", "/api/{tenant}/items/{x}", "2xx"),
        ("/api/acme/items/three", "/api/{tenant}/items/{x}", "4xx"),
        ("/api/acme/inner/deep/4", "/api/{tenant}/inner/deep/{y}", "2xx"),
        ("/mounted/acme/sub/5", "/mounted/{client}/sub/{z}", "2xx"),
        ("/mounted/acme/nothing", "none", "4xx"),
        ("/files/a/b.css", "/files", "2xx"),
        ("/nothing/1234", "none", "4xx"),
        ("/teapot", "/teapot", "4xx"),
        ("/teapot/", "none", "3xx"),
        ("/predict", "/predict", "4xx"),  # GET where only POST is answered
    ],
)
def test_a_request_is_counted_under_its_routes_template(app, path, handler, status):
    ask(app, path)
    assert requests(app) == {(handler, "GET", status): 1}
    labels = {"handler": handler, "method": "GET"}
    assert value(app, "http_request_duration_seconds_count", **labels) == 1
    assert 0 < value(app, "http_request_duration_seconds_sum", **labels) < 5


def test_paths_and_methods_that_anybody_can_make_up_do_not_become_series(app):
    before = None
    for i in range(1200):
        if i == 20:
            before = len(lines(app))
        ask(app, f"/made/up/{i}", ["GET", f"MADE{i}"][i % 2])
    assert len(lines(app)) == before
    assert requests(app) == {("none", "GET", "4xx"): 600, ("none", "OTHER", "4xx"): 600}


def test_reading_the_metrics_is_not_counted(app):
    for path in ("/metrics", "/profile", f"/profile/reference/{REFERENCE.id}"):
        ask(app, path)
    assert requests(app) == {}


def test_templates_hold_below_a_proxys_prefix_and_for_hosts(monitor, registry):
    host = Host("api.example.org", app=Starlette(routes=[Route("/on/{host}", PlainTextResponse("x"))]))
    app = FastAPI(root_path="/prefix", routes=[Route("/items/{x}", lambda _: PlainTextResponse("x")), host])
    instrument(app, monitor, registry=registry)
    assert ask(app, "/prefix/items/1").status_code == 200
    assert ask(app, "/items/2").status_code == 200
    assert requests(app) == {("/items/{x}", "GET", "2xx"): 2}
    assert Routes(app).template("GET", "/on/3") == "/on/{host}"


def test_the_first_route_that_takes_the_method_names_the_request():
    app = Starlette(
        routes=[
            Route("/items/{id}", PlainTextResponse(""), methods=["DELETE"]),
            Route("/items/new", PlainTextResponse(""), methods=["GET"]),
            Mount("/deep", routes=[Mount("/er", routes=[Route("/{id:int}", PlainTextResponse(""))])]),
        ]
    )
    routes = Routes(app)
    assert routes.template("GET", "/items/new") == "/items/new"
    assert routes.template("DELETE", "/items/new") == "/items/{id}"
    assert routes.template("PUT", "/items/new") == "/items/{id}"  # answered 405 by the first
    assert routes.template("GET", "/deep/er/7") == "/deep/er/{id:int}"
    assert routes.template("GET", "/deep/er/seven") == "none"


def test_all_routes_are_there_at_0_once_the_application_has_started(app):
    async def start():
        received = asyncio.Queue()
        await received.put({"type": "lifespan.startup"})
        sent = asyncio.Queue()
        task = asyncio.create_task(app({"type": "lifespan", "state": {}}, received.get, sent.put))
        assert (await sent.get())["type"] == "lifespan.startup.complete"
        await received.put({"type": "lifespan.shutdown"})
        assert (await sent.get())["type"] == "lifespan.shutdown.complete"
        await task

    asyncio.run(start())
    found = lines(app)
    for handler, method in (
        ("/predict", "POST"),
        ("/api/{tenant}/inner/deep/{y}", "GET"),
        ("/teapot", "GET"),
    ):
        for status in ("2xx", "4xx", "5xx"):
            assert (
                found[f'http_requests_total{{handler="{handler}",method="{method}",status="{status}"}}'] == 0
            )
        assert found[f'http_request_duration_seconds_count{{handler="{handler}",method="{method}"}}'] == 0
        assert found[f'http_requests_in_progress{{handler="{handler}",method="{method}"}}'] == 0


def test_stopping_leaves_nothing_uncounted(monitor, registry, tmp_path):
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("x"))])
    instrument(app, monitor, registry=registry)
    ask(app, "/")

    async def stop():
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive():
            return messages.pop(0)

        async def send(_):
            pass

        await app({"type": "lifespan", "state": {}}, receive, send)

    asyncio.run(stop())
    others = barograph.counters.SharedCounters(tmp_path)  # without a flush of ours
    counted = {s: v for s, v in others.snapshot().series.items() if s.metric == naming.HTTP_REQUESTS.name}
    assert sum(int(v.counts[0]) for v in counted.values()) == 1
    others.close()


# Requests in progress, errors, time.


def test_a_request_is_in_progress_while_it_is_answered(monitor, registry):
    def seen(_):
        return PlainTextResponse(monitor.render())

    app = Starlette(routes=[Route("/look", seen)])
    instrument(app, monitor, registry=registry)
    assert 'http_requests_in_progress{handler="/look",method="GET"} 1.0' in ask(app, "/look").text
    assert value(app, "http_requests_in_progress", handler="/look", method="GET") == 0


def test_an_error_after_a_prediction_is_counted_by_its_type_and_goes_on(app):
    with pytest.raises(KeyError, match="late"):
        ask(app, "/late", raises=True)
    assert ask(app, "/late").status_code == 500
    assert requests(app) == {("/late", "GET", "5xx"): 2}
    assert value(app, "ml_prediction_errors_total", error="KeyError", model="m", version="1") == 2
    assert value(app, "http_requests_in_progress", handler="/late", method="GET") == 0


def test_an_error_of_a_route_without_a_model_is_no_prediction_error(app):
    assert ask(app, "/bug").status_code == 500
    assert requests(app) == {("/bug", "GET", "5xx"): 1}
    assert not any(name.startswith("ml_prediction_errors_total") and n for name, n in lines(app).items())


def test_an_error_of_an_awaited_model_is_counted_once(monitor, registry):
    class Later:
        async def predict(self, rows):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    app, model = FastAPI(), monitor.watch(Later())

    @app.get("/later")
    async def later() -> None:
        await model.predict([{"x": 1.0, "c": "a"}])

    instrument(app, monitor, registry=registry)
    assert ask(app, "/later").status_code == 500
    assert value(app, "ml_prediction_errors_total", error="ZeroDivisionError", model="m", version="1") == 1


def test_the_whole_stage_ends_with_the_answer_and_not_with_the_background(monitor, registry):
    app, model = FastAPI(), monitor.watch(Model())

    @app.get("/slow")
    def slow(tasks: BackgroundTasks) -> float:
        async def work():
            await asyncio.sleep(0.4)
            model.predict([{"x": 10.0, "c": "a"}])

        tasks.add_task(work)
        return model.predict([{"x": 10.0, "c": "a"}])[0]

    instrument(app, monitor, registry=registry)
    ask(app, "/slow")
    labels = {"model": "m", "stage": "total", "version": "1"}
    assert value(app, "ml_prediction_duration_seconds_sum", **labels) < 0.3
    assert value(app, "ml_prediction_duration_seconds_count", **labels) == 1
    assert value(app, "ml_predictions_total", model="m", version="1") == 2


def test_methods_that_anybody_can_make_up_are_not_kept():
    routes = Routes(Starlette(routes=[Route("/items", lambda _: PlainTextResponse("x"))]))
    for i in range(100):
        routes.template(f"MADE{i}", "/items")
        routes.template("GET", "/items")
    assert len(routes._known) == 1


@pytest.mark.parametrize("path", ["/broken", "/wrapped"])
def test_an_error_of_a_watched_model_is_counted_once(app, path):
    assert ask(app, path).status_code == 500
    errors = {name: n for name, n in lines(app).items() if name.startswith("ml_prediction_errors_total")}
    assert {name: n for name, n in errors.items() if n} == {
        'ml_prediction_errors_total{error="ZeroDivisionError",model="m",version="1"}': 1
    }


def test_an_answer_that_the_application_chose_is_no_error(app):
    ask(app, "/teapot")
    assert not any(name.startswith("ml_prediction_errors_total") and n for name, n in lines(app).items())


def test_an_answer_that_breaks_off_is_a_failure(monitor, registry):
    async def half():
        yield b"first"
        raise OSError("gone")

    app = Starlette(routes=[Route("/half", lambda _: StreamingResponse(half()))])
    instrument(app, monitor, registry=registry)
    with contextlib.suppress(Exception):
        ask(app, "/half", raises=True)
    assert requests(app) == {("/half", "GET", "5xx"): 1}


def test_work_in_the_background_is_not_the_requests_time(monitor, registry):
    app = FastAPI()

    @app.get("/slow")
    def slow(tasks: BackgroundTasks) -> str:
        async def work():
            await asyncio.sleep(0.4)

        tasks.add_task(work)
        return "done"

    instrument(app, monitor, registry=registry)
    ask(app, "/slow")
    assert value(app, "http_request_duration_seconds_sum", handler="/slow", method="GET") < 0.3


def test_a_stream_is_handed_on_piece_by_piece_and_timed_to_its_end(monitor, registry):
    seen = []

    async def pieces():
        for i in range(3):
            seen.append(f"made {i}")
            yield b"x"
            await asyncio.sleep(0.05)

    app = Starlette(routes=[Route("/stream", lambda _: StreamingResponse(pieces()))])
    instrument(app, monitor, registry=registry)

    async def send(message):
        if message.get("body"):
            seen.append("sent")

    async def receive():
        await asyncio.sleep(60)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/stream",
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    assert seen == ["made 0", "sent", "made 1", "sent", "made 2", "sent"]
    assert value(app, "http_request_duration_seconds_sum", handler="/stream", method="GET") >= 0.15


def test_websockets_pass(monitor, registry):
    app = FastAPI()

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    instrument(app, monitor, registry=registry)
    sent = []

    async def send(message):
        sent.append(message["type"])

    async def receive():
        return {"type": "websocket.connect"}

    scope = {
        "type": "websocket",
        "path": "/live",
        "headers": [],
        "query_string": b"",
        "root_path": "",
        "subprotocols": [],
    }
    asyncio.run(app(scope, receive, send))
    assert sent == ["websocket.accept", "websocket.send", "websocket.close"]
    assert requests(app) == {}


# Ids and the request's context.


@pytest.fixture
def echo(monitor, registry):
    """Answers the id of the request's context; one endpoint on the loop, one on a thread."""
    app = FastAPI()

    @app.get("/loop")
    async def loop() -> str | None:
        await asyncio.sleep(0.01)
        return monitor._request.get().id

    @app.get("/thread")
    def thread() -> str | None:
        return monitor._request.get().id

    instrument(app, monitor, registry=registry)
    return app


@pytest.mark.parametrize("path", ["/loop", "/thread"])
def test_the_id_of_a_request_is_its_contexts_and_is_answered(echo, path):
    answer = ask(echo, path, headers={"X-Request-ID": "b41f-2013"})
    assert answer.json() == answer.headers["X-Prediction-Id"] == "b41f-2013"
    first, second = ask(echo, path), ask(echo, path)
    assert first.json() == first.headers["X-Prediction-Id"] != second.json()
    assert re.fullmatch(r"[0-9a-f]{32}", first.json())


def test_requests_at_the_same_time_keep_their_ids_apart(echo):
    async def many():
        transport = httpx.ASGITransport(echo)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            asked = [http.get("/loop", headers={"X-Request-ID": f"id-{i}"}) for i in range(50)]
            return [answer.json() for answer in await asyncio.gather(*asked)]

    assert asyncio.run(many()) == [f"id-{i}" for i in range(50)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"b41f", "b41f"),
        (b"a b\r\nX-Evil: 1\x00", "abX-Evil:1"),
        (b"x" * 10_000, "x" * MAX_ID),
        (b'<script>"', "script"),
        ("café".encode(), "caf"),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736/1=+@", "00-4bf92f3577b34da6a3ce929d0e0e4736/1=+@"),
    ],
)
def test_an_id_from_outside_is_cleaned_and_bounded(given, kept):
    assert request_id({"headers": [(b"x-request-id", given)]}) == kept


@pytest.mark.parametrize("headers", [[], [(b"x-request-id", b"")], [(b"x-request-id", b"\n\n")]])
def test_without_a_usable_id_there_is_a_new_one(headers):
    assert re.fullmatch(r"[0-9a-f]{32}", request_id({"headers": headers}))


def test_an_applications_own_prediction_id_is_left_alone(monitor, registry):
    mine = {"X-Prediction-Id": "mine"}
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("x", headers=mine))])
    instrument(app, monitor, registry=registry)
    assert ask(app, "/").headers.get_list("X-Prediction-Id") == ["mine"]


def test_a_watched_models_rows_are_counted_with_the_request(app):
    for _ in range(5):
        assert ask(app, "/predict", "POST", json={"x": 10.0, "c": "a"}).json() == 1.0
    labels = {"model": "m", "version": "1"}
    assert value(app, "ml_predictions_total", **labels) == 5
    stage = {"model": "m", "stage": "total", "version": "1"}
    assert value(app, "ml_prediction_duration_seconds_count", **stage) == 5
    assert value(app, "ml_predictions_in_progress", **labels) == 0


# Two monitors; rows that break the schema.


def test_two_monitors_of_one_application_share_the_http_counts(monitor, registry, tmp_path):
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("x"))])
    with Monitor("other", directory=tmp_path, flush_interval=60) as other:
        instrument(app, monitor, registry=registry)
        instrument(app, other, registry=registry)
        answer = ask(app, "/")
        assert len(answer.headers.get_list("X-Prediction-Id")) == 1
        assert requests(app) == {("/", "GET", "2xx"): 1}
        assert [route.path for route in app.routes].count("/metrics") == 1
        assert value(app, "ml_predictions_total", model="other", version="0") == 0


@pytest.fixture
def rejecting(monitor, registry):
    app = FastAPI()
    model = monitor.watch(Model())

    @app.post("/watched")
    def watched(row: dict) -> float:
        return model.predict([row])[0]

    @app.post("/recorded")
    async def recorded(row: dict) -> str:
        monitor.record(row, score=0.5)
        return "ok"

    instrument(app, monitor, registry=registry, reject=True)
    return app


@pytest.mark.parametrize("path", ["/watched", "/recorded"])
def test_rows_that_break_the_schema_are_answered_422(rejecting, path):
    assert ask(rejecting, path, "POST", json={"x": 10.0, "c": "a"}).status_code == 200
    answer = ask(rejecting, path, "POST", json={"x": "ten", "c": "zebra"})
    assert answer.status_code == 422
    problem = answer.json()
    assert {(v["column"], v["kind"]) for v in problem["violations"]} == {("x", "type"), ("c", "category")}
    assert all(set(v) == {"column", "kind", "value", "row", "text"} for v in problem["violations"])
    assert "2 places" in problem["error"]["what"]
    assert problem["error"]["remedy"]
    assert requests(rejecting) == {(path, "POST", "2xx"): 1, (path, "POST", "4xx"): 1}
    assert value(rejecting, "ml_predictions_total", model="m", version="1") == 1
    assert not any(n for name, n in lines(rejecting).items() if name.startswith("ml_prediction_errors_total"))


def test_without_reject_such_rows_are_answered_and_counted(app):
    assert ask(app, "/predict", "POST", json={"x": "ten", "c": "zebra"}).status_code == 200
    labels = {"model": "m", "version": "1"}
    assert value(app, "ml_schema_violations_total", column="c", kind="category", **labels) == 1
    assert value(app, "ml_schema_violations_total", column="x", kind="type", **labels) == 1


def test_integrations_are_imported_when_they_are_named():
    from barograph import integrations

    assert integrations.fastapi.instrument is instrument
    with pytest.raises(AttributeError, match="it has fastapi"):
        _ = integrations.flask
    assert json.dumps(dir(integrations)) == '["fastapi"]'
