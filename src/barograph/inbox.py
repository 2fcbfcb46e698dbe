"""What other programs tell a monitor: POST /business counts events, POST /feedback takes labels.

The body is one object, a list of them, or one a line (application/x-ndjson). Good ones are taken whatever stands beside them;
the answer is 202 for all, or 422 with `refused`, which says what is wrong with each of the others. Labels are on the disk
before they are answered.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from barograph.clock import parse_time
from barograph.exposition import Answer, refusal
from barograph.exposition import Request as Asked
from barograph.monitor import Monitor

BUSINESS, FEEDBACK = "/business", "/feedback"
JSON, NDJSON = "application/json", "application/x-ndjson"
MAX_EVENTS = 1_000_000_000
MAX_NAME = 80  # characters: a longer label would be cut
MAX_ID = 256
MAX_LABELS = 8 * 1024 * 1024  # bytes of labels at once
MAX_REFUSED = 1_000  # items of which it is said what is wrong with them

Item = Mapping[str, Any]
Label = tuple[str, float | str, float | None, str | None]  # id, label, time in epoch seconds, kind
Store = Callable[[Sequence[Label]], None]


@dataclass(frozen=True)
class Words:
    """What an inbox takes, for people."""

    things: str
    done: str
    example: str


class Inbox:
    """An endpoint: it asks for the token, reads items, has `wrong` say what is wrong with one, and hands the good to `take`."""

    def __init__(
        self,
        path: str,
        token: Callable[[], str | None],
        *,
        words: Words,
        limit: int,
        wrong: Callable[[Any], str | None],
        take: Callable[[Sequence[Item]], Awaitable[None]],
    ) -> None:
        self.path, self._token, self._words, self._limit = path, token, words, limit
        self._wrong, self.take = wrong, take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in request.headers.raw}
        client = None if request.client is None else request.client.host
        if (refused := refusal(self._token(), Asked("POST", self.path, client, headers))) is not None:
            return _said(refused)
        # A page of another site can have a browser send any other type without asking.
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, NDJSON):
            what = "the body is not said to be JSON"
            return _said(
                Answer.error(415, what, f"send Content-Type: {JSON}, or {NDJSON} with an object a line")
            )
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._limit:
                what = f"the body is longer than {self._limit:,} bytes"
                return _said(Answer.error(413, what, f"send fewer {self._words.things} at once"))
        try:
            items = _lines(bytes(body)) if kind == NDJSON else _listed(json.loads(bytes(body)))
        except (ValueError, RecursionError) as error:
            return _said(Answer.error(400, f"the body is no JSON: {error}", f"send {self._words.example}"))
        return await self._taken(items)

    async def _taken(self, items: Sequence[Any]) -> Response:
        wrong = {i: what for i, item in enumerate(items) if (what := self._wrong(item)) is not None}
        good = [item for i, item in enumerate(items) if i not in wrong]
        try:
            if good:
                await self.take(good)
        except OSError as error:
            what = f"nothing of this could be stored: {error.strerror or error}"
            return _said(Answer.error(503, what, "send all of it again, later"))
        words, taken = self._words, {self._words.done: len(good)}
        if not wrong:
            return JSONResponse(taken, status_code=202)
        problem = {
            "what": f"{len(wrong)} of {len(items)} items are no {words.things}; the others are {words.done}",
            "remedy": f"send what `refused` lists anew, as {words.example}, and not the others",
        }
        refused = [{"item": i, "what": what} for i, what in list(wrong.items())[:MAX_REFUSED]]
        return JSONResponse({**taken, "error": problem, "refused": refused}, status_code=422)


def inboxes(monitor: Monitor) -> list[Route]:
    """The endpoints of a monitor: /business, and /feedback where it logs."""
    found = [_business(monitor)]
    if monitor.journal is not None:
        stores: dict[str, Store] = {monitor.model: monitor.store_feedback}
        found.append(Feedback(lambda: stores, monitor.model).inbox(lambda: monitor.token))
    return [route(inbox) for inbox in found]


def route(inbox: Inbox) -> Route:
    """Where an inbox is reached."""
    return Route(inbox.path, inbox, methods=["POST"], include_in_schema=False)


def join(routes: Iterable[BaseRoute], monitor: Monitor) -> None:
    """Have the /feedback that is there take labels of another monitor, too."""
    for one in routes:
        feedback = getattr(getattr(getattr(one, "endpoint", None), "take", None), "__self__", None)
        if isinstance(feedback, Feedback) and monitor.journal is not None:
            feedback.stores()[monitor.model] = monitor.store_feedback


# Business events.


def _business(monitor: Monitor) -> Inbox:
    async def count(items: Sequence[Item]) -> None:
        for item in items:
            monitor.business(item["event"], item.get("n", 1))

    words = Words("business events", "counted", '{"event": "order", "n": 1}, or a list of these')
    return Inbox(BUSINESS, lambda: monitor.token, words=words, limit=64 * 1024, wrong=_no_event, take=count)


def _no_event(item: Any) -> str | None:
    """Why an item is no business event; None where it is one."""
    if (what := _no_object(item, {"event", "n"})) is not None:
        return what
    event, n = item.get("event"), item.get("n", 1)
    if not _is_text(event, MAX_NAME):
        return f"event is no text of 1 to {MAX_NAME} characters"
    if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= MAX_EVENTS:
        return f"n is no integer from 1 to {MAX_EVENTS:,}"
    return None


# Feedback.


class Feedback:
    """Takes labels of models, for each of which `stores` has what writes them to the disk.

    An item that names no model is of the model `otherwise`; without one it must name it.
    """

    def __init__(self, stores: Callable[[], dict[str, Store]], otherwise: str | None = None) -> None:
        self.stores, self._otherwise = stores, otherwise

    def inbox(self, token: Callable[[], str | None]) -> Inbox:
        """The endpoint."""
        model = "" if self._otherwise is not None else ', "model": "fraud"'
        words = Words("labels", "stored", f'{{"id": "b41f", "label": true{model}}}, or a list of these')
        return Inbox(FEEDBACK, token, words=words, limit=MAX_LABELS, wrong=self.wrong, take=self.take)

    def wrong(self, item: Any) -> str | None:
        """Why an item is no label; None where it is one."""
        if (what := _no_object(item, {"id", "label", "time", "kind", "model"})) is not None:
            return what
        known = self.stores()
        if item.get("model", self._otherwise) not in known:
            return f"model is none of {', '.join(map(repr, sorted(known)[:20]))}"
        return no_label(item)

    async def take(self, items: Sequence[Item]) -> None:
        """Write labels to the disk; OSError where that fails."""
        by_model: dict[str, list[Label]] = {}
        for item in items:
            by_model.setdefault(item.get("model", self._otherwise), []).append(label_of(item))
        stores = self.stores()
        for model, labels in by_model.items():
            await asyncio.to_thread(stores[model], labels)


def no_label(item: Item) -> str | None:
    """Why an object holds no label; None where it does."""
    label, kind, time = item.get("label"), item.get("kind"), item.get("time")
    if not _is_text(item.get("id"), MAX_ID):
        return f"id is no text of 1 to {MAX_ID} characters"
    if not (_is_text(label, MAX_ID) or (isinstance(label, (bool, int, float)) and math.isfinite(label))):
        return "label is no number, no true or false, and no text"
    if kind is not None and not _is_text(kind, MAX_NAME):
        return f"kind is no text of 1 to {MAX_NAME} characters"
    try:
        _seconds(time)
    except ValueError as error:
        return f"time: {error}"
    return None


def label_of(item: Item) -> Label:
    """Id, label, time in epoch seconds, and kind of an object that `no_label` finds nothing wrong with."""
    label = item["label"] if isinstance(item["label"], str) else float(item["label"])
    return item["id"], label, _seconds(item.get("time")), item.get("kind")


def _seconds(time: Any) -> float | None:
    """Epoch seconds of a number, or of an ISO 8601 text."""
    if time is None:
        return None
    if isinstance(time, str):
        return parse_time(time)
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not 0 <= time < 1e11:
        raise ValueError(f"{time!r} is neither epoch seconds nor ISO 8601")
    return float(time)


# Reading.


def _listed(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [content]


def _lines(body: bytes) -> list[Any]:
    """An object a line; a line that is no JSON is an item that is none."""
    found: list[Any] = []
    for line in body.splitlines():
        if line.strip():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError):
                found.append(None)
    return found


def _no_object(item: Any, known: set[str]) -> str | None:
    if not isinstance(item, dict):
        return "it is no object"
    if unknown := sorted(set(item) - known):
        return f"{unknown[0][:80]!r} is no key of it"
    return None


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most


def _said(found: Answer) -> Response:
    return Response(found.body, found.status, dict(found.fields()))
