"""FastAPI and Starlette: our endpoints, the golden signals of HTTP, and a request context for each request."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from traceback import walk_tb
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barograph import naming
from barograph.counters import Series
from barograph.exposition import asgi_app
from barograph.inbox import inboxes, join
from barograph.monitor import Monitor
from barograph.schema import SchemaViolation
from barograph.watch import Watched

PATHS = ("/metrics", "/profile", "/profile/reference/{id}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STATUSES = ("2xx", "4xx", "5xx")  # made at 0 for each route; others when they first occur
UNMATCHED = "none"
MAX_ID = 128
MAX_VIOLATIONS = 100

_REQUEST_ID = naming.REQUEST_ID_HEADER.lower().encode()
_PREDICTION_ID = naming.PREDICTION_ID_HEADER.lower().encode()
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._:/+=@-]")
_MODELS_CALLS = frozenset({Watched._call.__code__, Watched._awaited.__code__})
_SCOPE_KEY = "barograph.id"


def instrument(
    app: Starlette, monitor: Monitor, *, registry: CollectorRegistry | None = None, reject: bool = False
) -> None:
    """Watch a FastAPI or Starlette application with a monitor.

    Adds GET /metrics and /profile; POST /business, which counts business events, {"event": "order", "n": 1}; and where the
    monitor logs, POST /feedback, which takes labels, {"id": "b41f", "label": true}: both for those that hold the monitor's
    token, or for this machine, and lists of these too (see `inbox`). Counts requests, their duration, those in progress
    and errors by type; opens the monitor's request context for each request, whose id is X-Request-ID or a new one, answered
    as X-Prediction-Id.
    `registry` is a prometheus_client registry to show on /metrics too, by default the process's. With `reject`, rows that
    break the reference's schema are answered 422 with the violations. Call it before the application starts; a second
    monitor of the same application shares the HTTP counts and the endpoints of the first. An application that has a
    /business or /feedback of its own by then keeps it.

    >>> from starlette.applications import Starlette
    >>> app, monitor = Starlette(), Monitor("flight-delay")
    >>> instrument(app, monitor)
    >>> [route.path for route in app.routes]
    ['/metrics', '/profile', '/profile/reference/{id}', '/business']
    >>> monitor.close()
    """
    first = all(getattr(one, "cls", None) is not Instrumented for one in app.user_middleware)
    app.add_middleware(Instrumented, monitor=monitor, routes=Routes(app) if first else None)
    if first:
        endpoints = asgi_app(monitor, registry)
        added = [Route(path, endpoints, include_in_schema=False) for path in PATHS]
        added += [
            inbox
            for inbox in inboxes(monitor)
            if all(getattr(r, "path", None) != inbox.path for r in app.routes)
        ]
        app.router.routes[:0] = added  # before the application's own: one of those may match every path
    else:
        join(app.routes, monitor)
    if reject:
        monitor.reject = True
        app.add_exception_handler(SchemaViolation, _refuse)


class Instrumented:
    """The middleware. It hands every message through as it comes; `routes` is None where another one counts HTTP."""

    def __init__(self, app: ASGIApp, monitor: Monitor, routes: "Routes | None") -> None:
        self.app, self.monitor = app, monitor
        self.http = None if routes is None else HttpCounts(monitor, routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] != "http" or _is_ours(_path(scope)):
            await self.app(scope, receive, send)
        else:
            exchange = Exchange(scope, send)
            if self.http is None:
                await self._answer(exchange, receive)
            else:
                with self.http.counted(exchange):
                    await self._answer(exchange, receive)

    async def _answer(self, exchange: "Exchange", receive: Receive) -> None:
        with self.monitor.request(id=exchange.id) as request:
            exchange.ended = lambda: self.monitor.end(request, exchange.seconds)
            try:
                await self.app(exchange.scope, receive, exchange.send)
            except Exception as error:
                exchange.status = 500  # whatever was said before: the answer is not whole
                predicted = request.ran or request.rows
                if predicted and not _left_a_watched_model(error):  # those it has counted itself
                    self.monitor.error(type(error).__name__)
                raise

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make all series before the first request, and leave nothing uncounted after the last."""

        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and self.http is not None:
                self.http.create()
            if message["type"] == "lifespan.shutdown.complete":
                self.monitor.flush()
            await send(message)

        await self.app(scope, receive, told)


class Exchange:
    """One request and its answer: the id, the status, and when it began and ended."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.id: str = scope.get(_SCOPE_KEY) or request_id(scope)
        scope[_SCOPE_KEY] = self.id
        self.start, self.end, self.status = time.perf_counter(), 0.0, 500
        self.ended: Callable[[], None] | None = None  # called once the whole answer is sent

    async def send(self, message: Message) -> None:
        """Hand a message on, with the id among the headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            if all(name.lower() != _PREDICTION_ID for name, _ in headers):
                message = {**message, "headers": [*headers, (_PREDICTION_ID, self.id.encode())]}
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.end = time.perf_counter()
            if self.ended is not None:
                self.ended()

    @property
    def seconds(self) -> float:
        """From the request's start to the answer's end, without what runs in the background after it."""
        return (self.end or time.perf_counter()) - self.start


class HttpCounts:
    """Counts of HTTP requests under the names and label values of prometheus-fastapi-instrumentator."""

    def __init__(self, monitor: Monitor, routes: "Routes") -> None:
        self.monitor, self.routes = monitor, routes
        self._created = False

    def counted(self, exchange: Exchange) -> "_Counted":
        """A context in which a request is answered: it is in progress within, and counted at the end."""
        self.create()
        method = exchange.scope["method"]
        handler = self.routes.template(method, _path(exchange.scope))
        return _Counted(self.monitor, exchange, handler, method if method in METHODS else "OTHER")

    def create(self) -> None:
        """Make the series of all routes at 0: a counter that is first seen at 5 has an increase of 0."""
        if self._created:
            return
        self._created = True
        for labels in self.routes.listed:
            made = (_in_progress(*labels), _duration(*labels), *(_requests(*labels, s) for s in STATUSES))
            for series in made:
                self.monitor.create(series)


@dataclass(frozen=True, slots=True)
class _Counted:
    monitor: Monitor
    exchange: Exchange
    handler: str
    method: str

    def __enter__(self) -> None:
        self.monitor.observe(_in_progress(self.handler, self.method), 1)

    def __exit__(self, *_: object) -> None:
        observe, labels = self.monitor.observe, (self.handler, self.method)
        observe(_in_progress(*labels), -1)
        observe(_requests(*labels, f"{self.exchange.status // 100}xx"), 1)
        observe(_duration(*labels), self.exchange.seconds)


def _requests(handler: str, method: str, status: str) -> Series:
    return Series.of(naming.HTTP_REQUESTS, {"handler": handler, "method": method, "status": status})


def _in_progress(handler: str, method: str) -> Series:
    return Series.of(naming.HTTP_IN_PROGRESS, {"handler": handler, "method": method})


def _duration(handler: str, method: str) -> Series:
    return Series.of(naming.HTTP_DURATION, {"handler": handler, "method": method})


@dataclass(frozen=True, slots=True)
class Template:
    """A route's path as it was declared, and what it matches."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]  # none: all
    shown: bool  # whether it is of the application itself, and not of its documentation


class Routes:
    """The templates of an application's routes, so that a path with a number in it is not a series of its own."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._known: dict[tuple[str, str], str] = {}

    @cached_property
    def templates(self) -> list[Template]:
        """All templates, in the order in which they are tried."""
        return list(_templates(self._app.routes, ""))

    @property
    def listed(self) -> Iterator[tuple[str, str]]:
        """The (template, method) pairs of the application's own routes."""
        for template in self.templates:
            if template.shown:
                yield from product([template.path], sorted(template.methods - {"HEAD"}))

    def template(self, method: str, path: str) -> str:
        """The template that a request falls under, "none" for no route.

        >>> routes = Routes(Starlette(routes=[Route("/items/{id}", _refuse)]))
        >>> routes.template("GET", "/items/7"), routes.template("GET", "/nothing")
        ('/items/{id}', 'none')
        """
        found = self._known.get((method, path))
        if found is None:
            found = self._match(method, path)
            if (
                found == path and method in METHODS
            ):  # has no parameters: there are no more of these than routes
                self._known[method, path] = found
        return found

    def _match(self, method: str, path: str) -> str:
        partly = UNMATCHED
        for template in self.templates:
            if template.pattern.match(path):
                if not template.methods or method in template.methods:
                    return template.path
                partly = template.path if partly == UNMATCHED else partly
        return partly


def _templates(routes: Any, prefix: str) -> Iterator[Template]:
    for route in routes:
        path = prefix + (getattr(route, "path", None) or "")
        inner = getattr(route, "routes", None)
        if callable(
            contexts := getattr(route, "effective_route_contexts", None)
        ):  # an included router of FastAPI
            yield from _templates((c.starlette_route or c for c in contexts()), prefix)
        elif inner:
            yield from _templates(inner, path)
        elif getattr(route, "path_regex", None) is not None and path not in PATHS:
            is_mount = not hasattr(route, "methods") and hasattr(route, "app") and hasattr(route, "routes")
            pattern, _, _ = compile_path(f"{path}/{{path:path}}" if is_mount else path)
            methods = frozenset(getattr(route, "methods", None) or ())
            yield Template(path, pattern, methods, getattr(route, "include_in_schema", False))


def request_id(scope: Mapping[str, Any]) -> str:
    """The id of a request: X-Request-ID without characters that have no place in an id, cut to 128; else a new one.

    >>> request_id({"headers": [(b"x-request-id", b"b41f")]})
    'b41f'
    """
    for name, value in scope["headers"]:
        if name.lower() == _REQUEST_ID:
            given = _NOT_IN_AN_ID.sub("", value[: 4 * MAX_ID].decode("latin-1"))[:MAX_ID]
            if given:
                return given
    return os.urandom(16).hex()


def _path(scope: MutableMapping[str, Any]) -> str:
    """The path within the application."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _is_ours(path: str) -> bool:
    return path in ("/metrics", "/profile") or path.startswith("/profile/reference/")


def _left_a_watched_model(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, came out of a watched model."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return False
        if any(frame.f_code in _MODELS_CALLS for frame, _ in walk_tb(seen.__traceback__)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    """What rows that break the schema are answered."""
    assert isinstance(error, SchemaViolation)
    listed = [
        {"column": v.column, "kind": v.kind, "value": v.value, "row": v.row, "text": v.text}
        for v in error.violations[:MAX_VIOLATIONS]
    ]
    problem = {
        "what": f"the rows break the model's schema in {len(error.violations)} places: {error}",
        "remedy": "send rows as the reference's schema has them; `violations` says which values do not fit",
    }
    return JSONResponse({"error": problem, "violations": listed}, status_code=422)
