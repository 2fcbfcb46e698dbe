"""TEST FIXTURE: serves the console's static files beside invented documents. Never part of the package.

The policy is the evaluator's, so that what passes here passes there.
Run it to look at the pages by hand: `python tests/browser/fixture_server.py 8799`.
"""

import hashlib
import json
import sys
from pathlib import Path

import fixture_data as data
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barograph.glossary import GLOSSARY

STATIC = Path(__file__).parents[2] / "src/barograph/console/static"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'"


class Policy:
    """Sets the content security policy on every answer; static files may be kept, so that many pages open fast."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(b"cache-control", b"max-age=60")] if scope["path"].startswith("/static/") else []
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                    *kept,
                ]
            await send(message)

        await self.app(scope, receive, with_policy)


def window(request: Request) -> tuple[data.Window, int]:
    """The window that a request asks for, and the clock."""
    now = data.NOW + 60 * request.app.state.minutes
    end = request.query_params.get("to")
    stop = int(data.datetime.fromisoformat(end).timestamp()) if end else now
    return data.Window(request.query_params.get("range", "24h"), min(stop, now)), now


def answer(request: Request, document: data.Json | None) -> Response:
    """The document with its ETag, 304 where the browser has it, 404 where there is none."""
    if document is None:
        what = f"There is no {request.url.path.removeprefix('/api/')} here."
        return JSONResponse({"error": {"what": what, "remedy": "Check the name, or find it with /."}}, 404)
    body = json.dumps(document, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag, "Cache-Control": "no-cache"})


def fleet(request: Request) -> Response:
    span, now = window(request)
    state = request.app.state.fleet
    if state == "broken":
        error = {
            "what": "The store answered with a timeout after 5 s.",
            "remedy": "Collection is not affected, nothing is lost.",
        }
        return JSONResponse({"error": error}, 503)
    document = data.calm_fleet(span, now) if state == "calm" else data.fleet(span, now)
    if state == "unread":
        document["targets"][0] |= {"up": False, "error": "connection refused"}
    if state == "empty":
        document |= {"models": [], "events": [], "headline": "No models yet", "lede": "", "incidents": 0}
    return answer(request, document)


def model(request: Request) -> Response:
    span, now = window(request)
    return answer(
        request, data.model(request.path_params["name"], span, now, request.query_params.get("version"))
    )


def feature(request: Request) -> Response:
    span, now = window(request)
    return answer(
        request, data.feature(request.path_params["name"], request.path_params["column"], span, now)
    )


def incidents(request: Request) -> Response:
    span, now = window(request)
    return answer(request, data.incidents(span, now))


def names(request: Request) -> Response:
    return answer(request, data.names())


def glossary(_: Request) -> Response:
    return JSONResponse({"terms": [{"term": term, "text": text} for term, text in GLOSSARY.items()]})


async def settings(request: Request) -> Response:
    """Turns the fixture to another state: `minutes` (the clock moves on) and `fleet` (full, calm, unread, empty, broken)."""
    for key, value in (await request.json()).items():
        setattr(request.app.state, key, value)
    return Response(status_code=204)


def page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


def build() -> Starlette:
    app = Starlette(
        routes=[
            Route("/api/fleet", fleet),
            Route("/api/models/{name}", model),
            Route("/api/models/{name}/columns/{column}", feature),
            Route("/api/incidents", incidents),
            Route("/api/names", names),
            Route("/api/glossary", glossary),
            Route("/fixture", settings, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/{path:path}", page),
        ],
        middleware=[Middleware(Policy)],
    )
    app.state.minutes = 0
    app.state.fleet = "full"
    return app


if __name__ == "__main__":
    uvicorn.run(
        build(), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8799, log_level="warning"
    )
