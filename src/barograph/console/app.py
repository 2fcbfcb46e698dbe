"""The console's server: JSON for the page, static files, health, its own metrics. It listens where it is told, by default on
loopback; what writes needs the token."""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barograph.clock import Clock, iso, parse_time
from barograph.console import pages, readiness
from barograph.console.decisions import DECISIONS, Refused
from barograph.console.documents import Documents
from barograph.console.health import Health
from barograph.console.state import RANGES, Span, State
from barograph.glossary import GLOSSARY
from barograph.labels.join import Joined
from barograph.ledger import CHANGE, Event
from barograph.links import named
from barograph.mixin import runbooks
from barograph.mixin.options import Options
from barograph.naming import RULES

log = logging.getLogger("barograph")

MOST_BODY = 64 << 10
CLOCK_HEADER = "x-barograph-clock"  # the evaluator's clock when an answer was sent
PROOF_HEADER = "x-barograph-proof"
AHEAD = 60.0  # seconds that the asker's clock may be ahead
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)

Answer = Callable[[Request], Awaitable[Response]]


def create(
    state: State,
    now: Callable[[], float],
    *,
    health: Health,
    token: str,
    metrics: Callable[[], bytes],
    poll_seconds: float = 5.0,
    hosts: frozenset[str] | None = None,
    join: Callable[[], Mapping[str, Joined]] | None = None,
    inboxes: Sequence[Route] = (),
) -> ASGIApp:
    """The ASGI application. `now` is the evaluator's clock; `poll_seconds` is how often a page asks again; `hosts` are the
    names by which it may be asked for (any, if left out). `join` joins labels now, `inboxes` take them."""
    speed = _speed(now)

    def mark() -> tuple[object, ...]:
        """Another value once any document could say something else."""
        targets = tuple((s.url, s.up, s.error) for s in state.statuses())
        return (now() // 60, state.revision(), health.passes, targets)

    documents = Documents(mark)

    def document(make: Callable[[Request, Span], dict[str, Any]]) -> Answer:
        def body(request: Request) -> bytes:
            found = make(request, _span(request, now()))
            judged = health.last_success
            every = {
                "incidents": pages.pages_firing(state),
                "updated": None if judged is None else iso(int(judged)),
                "speed": speed,
                "poll_seconds": poll_seconds,
            }
            return json.dumps({**every, **found}, separators=(",", ":")).encode()

        async def answer(request: Request) -> Response:
            key = f"{request.scope['path']}?{request.url.query}"
            try:
                found, tag = await asyncio.to_thread(documents.get, key, lambda: body(request))
            except KeyError as error:
                raise HTTPException(
                    404, f"{error.args[0]!r} is not known here; GET /api/fleet lists what is"
                ) from None
            # The clock is no part of what is compared: a reader whose document still holds sees that it is fresh.
            headers = {"etag": tag, "cache-control": "no-cache", CLOCK_HEADER: iso(int(now()))}
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers=headers)
            return Response(found, media_type="application/json", headers=headers)

        return answer

    def _version(request: Request) -> str | None:
        return request.query_params.get("version") or None

    async def event(request: Request) -> Response:
        _authorise(request, token)
        body = await _body(request)
        label = body.get("label")
        if not isinstance(label, str) or not 0 < len(label) <= 200:
            raise HTTPException(422, f"label: {label!r}; give a text of 1 to 200 characters")
        model = body.get("model")
        if model is not None and (not isinstance(model, str) or model not in state.models()):
            raise HTTPException(
                422, f"model: {model!r} is not known here; leave it out for an event of all models"
            )
        await asyncio.to_thread(state.ledger.add_event, Event(now(), CHANGE, model, label))
        documents.clear()
        return JSONResponse({"accepted": True}, status_code=202)

    def decision(take: Callable[[State, float, Mapping[str, Any]], dict[str, Any]]) -> Answer:
        async def answer(request: Request) -> Response:
            _authorise(request, token)
            body = await _body(request)
            try:
                found = await asyncio.to_thread(take, state, now(), body)
            except Refused as refused:
                raise HTTPException(refused.code, str(refused)) from None
            documents.clear()
            return JSONResponse(found)

        return answer

    async def joined(request: Request) -> Response:
        _authorise(request, token)
        if join is None:
            raise HTTPException(409, "log: nothing is logged here; give barograph serve --log")
        found = await asyncio.to_thread(join)
        documents.clear()
        return JSONResponse({"models": {model: dict(one.tally) for model, one in found.items()}})

    def _health(request: Request, fine: str, problem: str | None) -> Response:
        challenge = request.query_params.get("challenge", "")
        headers = {PROOF_HEADER: proof(token, challenge)} if challenge else {}
        if problem is None:
            return Response(f"{fine}\n", headers=headers)
        return Response(f"not {fine}: {problem}\n", status_code=503, headers=headers)

    async def ready(request: Request) -> Response:
        first = None if health.last_success is not None else "the first pass has not ended yet"
        return _health(request, "ready", health.complaint() or first)

    async def healthy(request: Request) -> Response:
        return _health(request, "healthy", health.complaint())

    async def own_metrics(_: Request) -> Response:
        return Response(
            await asyncio.to_thread(metrics), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def glossary(_: Request) -> Response:
        terms = [{"term": term, "text": text} for term, text in GLOSSARY.items()]
        return JSONResponse({"terms": terms}, headers={"cache-control": "max-age=3600"})

    async def runbook(request: Request) -> Response:
        alert, options = request.path_params["alert"], Options(console_url=str(request.base_url).rstrip("/"))
        if alert not in RULES:
            raise HTTPException(404, f"runbook: no alert is named {alert!r}; there are {', '.join(RULES)}")
        return PlainTextResponse(runbooks.runbook(alert, options))

    static = Path(str(resources.files("barograph.console") / "static"))

    async def page(_: Request) -> Response:
        return FileResponse(static / "index.html", headers={"cache-control": "no-cache"})

    routes = [
        Route("/api/fleet", document(lambda _, s: pages.fleet(state, s))),
        Route(
            "/api/models/{name}",
            document(lambda r, s: pages.model(state, _name(r, "name"), s, _version(r))),
        ),
        Route(
            "/api/models/{name}/columns/{column}",
            document(lambda r, s: pages.column(state, _name(r, "name"), _name(r, "column"), s, _version(r))),
        ),
        Route(
            "/api/models/{name}/readiness",
            document(lambda r, s: readiness.document(state, _name(r, "name"), s, _version(r))),
        ),
        Route("/api/incidents", document(lambda _, s: pages.incidents(state, s))),
        Route("/api/names", document(lambda _, s: pages.names(state, s))),
        Route("/api/glossary", glossary),
        Route("/api/events", event, methods=["POST"]),
        Route("/api/join", joined, methods=["POST"]),
        Route("/api/policy", document(lambda _, s: pages.policy(state, s))),
        *(Route(f"/api/{name}", decision(take), methods=["POST"]) for name, take in DECISIONS.items()),
        *inboxes,
        Route("/api/openapi.json", _openapi),
        Route("/runbooks/{alert}", runbook),
        Route("/-/healthy", healthy),
        Route("/-/ready", ready),
        Route("/metrics", own_metrics),
        Mount("/static", StaticFiles(directory=static)),
        *(
            Route(path, page)
            for path in (
                "/",
                "/incidents",
                "/models/{name}",
                "/models/{name}/readiness",
                "/models/{name}/columns/{column}",
            )
        ),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    return _Secured(_Whole(app), hosts)


def _host(scope: Scope) -> str:
    """The name that was asked for, without its port."""
    named: str = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
    return named.partition("]")[0] + "]" if named.startswith("[") else named.partition(":")[0]


class _Secured:
    """Adds the headers that keep a page to itself to every answer, and answers to no name but its own.

    A page of another site can make its name mean this machine; `hosts` are the names and addresses that are ours, None is
    any (a server that listens for the whole network stands behind a proxy of its own).
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._hosts is not None and _host(scope) not in self._hosts:
            refusal = Response("this server answers to its own address only\n", status_code=421)
            await refusal(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)


class _Whole:
    """Keeps names in one piece: a slash that is encoded in a path is part of a name, not a border between two."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path")
        if raw is not None and raw.startswith((b"/models/", b"/api/models/")):
            parts = (unquote(part) for part in raw.decode("latin-1").split("/"))
            path = "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
            scope = {**scope, "path": path, "kept_whole": True}
        await self._app(scope, receive, send)


def _name(request: Request, part: str) -> str:
    """A name in the path as it was given."""
    text: str = request.path_params[part]
    return named(unquote(text) if request.scope.get("kept_whole") else text)


def _speed(now: Callable[[], float]) -> float:
    """Seconds of the evaluator's clock in one of the wall's."""
    owner = getattr(now, "__self__", None)
    return owner.speed if isinstance(owner, Clock) else 1.0


def _span(request: Request, now: float) -> Span:
    name = request.query_params.get("range", "24h")
    if name not in RANGES:
        raise HTTPException(422, f"range: {name!r} is not one of {', '.join(RANGES)}")
    text = request.query_params.get("to")
    return Span(name, now, None if not text else _to(text, now))


def _to(text: str, now: float) -> float:
    remedy = "give a time such as 2026-11-20T09:00:00Z, or leave it out for now"
    try:
        moment = parse_time(text)
    except (ValueError, OverflowError):
        raise HTTPException(422, f"to: {text[:60]!r} is no time with a zone; {remedy}") from None
    if moment > now + AHEAD:
        raise HTTPException(
            422, f"to: {text!r} lies ahead of the clock, which shows {iso(int(now))}; {remedy}"
        )
    if moment < RANGES["30d"]:
        raise HTTPException(422, f"to: {text!r} lies before 1970-01-31; {remedy}")
    return moment


def proof(token: str, challenge: str) -> str:
    """What only a holder of the token can answer to a challenge, without showing the token."""
    return hmac.new(token.encode(), f"barograph serve {challenge}".encode(), hashlib.sha256).hexdigest()


def _authorise(request: Request, token: str) -> None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise HTTPException(
            401,
            "writing needs the token; it lies in the file beside the store, or in the variable that you named",
        )


async def _body(request: Request) -> dict[str, Any]:
    size, chunks = 0, []
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BODY:
            raise HTTPException(413, f"the body is larger than {MOST_BODY} bytes; send less at once")
        chunks.append(chunk)
    try:
        body = json.loads(b"".join(chunks))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is no JSON ({error})") from None
    if not isinstance(body, dict):
        raise HTTPException(422, "the body must be a JSON object")
    return body


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what, _, remedy = str(error.detail).partition("; ")
    return JSONResponse(
        {"error": {"what": what, "remedy": remedy}}, status_code=error.status_code, headers=error.headers
    )


async def _failed(request: Request, error: Exception) -> Response:
    log.error("%s failed", request.url.path, exc_info=error)
    what = "the evaluator could not make this page"
    return JSONResponse(
        {"error": {"what": what, "remedy": "see its log; what is stored is unaffected"}}, status_code=500
    )


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi())


def openapi() -> dict[str, Any]:
    """What the API offers, as OpenAPI 3.1."""
    span = {
        "name": "range",
        "in": "query",
        "schema": {"type": "string", "enum": list(RANGES), "default": "24h"},
    }
    to = {
        "name": "to",
        "in": "query",
        "schema": {"type": "string", "format": "date-time"},
        "description": "the end of the window, with its zone; the evaluator's clock, if left out",
    }
    version = {
        "name": "version",
        "in": "query",
        "schema": {"type": "string"},
        "description": "a version of the model; the one that answers, if left out",
    }

    def part(name: str) -> dict[str, Any]:
        return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}

    def read(summary: str, *parameters: dict[str, Any]) -> dict[str, Any]:
        found = {
            "200": {"description": "found"},
            "304": {"description": "as when last asked (ETag)"},
            "404": {"description": "not known"},
            "422": {"description": "a range or a time that cannot be read"},
        }
        return {"get": {"summary": summary, "parameters": list(parameters), "responses": found}}

    event = {"label": {"type": "string", "maxLength": 200}, "model": {"type": ["string", "null"]}}
    write = {
        "post": {
            "summary": "Tell of a change: a deployment of another service, a campaign",
            "security": [{"token": []}],
            "requestBody": {
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": event, "required": ["label"]}
                    }
                }
            },
            "responses": {"202": {"description": "stored"}, "401": {"description": "no token"}},
        }
    }
    from barograph import __version__

    return {
        "openapi": "3.1.0",
        "info": {"title": "barograph", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/api/fleet": read("Every model in a row, the most urgent first", span, to),
            "/api/models/{name}": read(
                "A model: service, output, outcomes, causes", part("name"), span, to, version
            ),
            "/api/models/{name}/columns/{column}": read(
                "A column, live against reference", part("name"), part("column"), span, to, version
            ),
            "/api/models/{name}/readiness": read(
                "What is monitored, how soon a bug would be found, and a score", part("name"), version
            ),
            "/api/incidents": read("Open incidents, and those of the last 30 days", to),
            "/api/names": read("Every model with its columns, by name"),
            "/api/glossary": {
                "get": {"summary": "What the words mean", "responses": {"200": {"description": "found"}}}
            },
            "/api/join": {
                "post": {
                    "summary": "Join labels to predictions now",
                    "security": [{"token": []}],
                    "responses": {"200": {"description": "what came of it, by model"}},
                }
            },
            "/api/events": write,
            "/api/policy": read(
                "Mutes that go on, incidents that are worked on, and alerts that were no problem"
            ),
            **{f"/api/{name}": _decision(take) for name, take in DECISIONS.items()},
        },
    }


def _decision(take: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return {
        "post": {
            "summary": (take.__doc__ or "").strip().split("\n")[0],
            "security": [{"token": []}],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {
                "200": {"description": "what was stored"},
                "401": {"description": "no token"},
                "404": {"description": "not known"},
                "422": {"description": "what is wrong, and the remedy"},
            },
        }
    }
