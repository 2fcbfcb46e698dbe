"""Counts as Prometheus text (format 0.0.4), and the endpoints of a serving process: /metrics and /profile.

The text of every line up to its number is made once for a set of series; a scrape only puts the numbers in.
"""

import asyncio
import hmac
import ipaddress
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector

from barograph import naming
from barograph.bins import score_alone
from barograph.cells import CellMap, violating
from barograph.counters import Layout, Series, Snapshot, most_series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FORWARDING = ("forwarded", "x-forwarded-for", "x-real-ip", "via")  # headers that a proxy adds

_TYPES = {"columns": "counter", "gauge_max": "gauge", "info": "gauge"}
_ORDER = {name: i for i, name in enumerate(naming.METRICS)}
_REFERENCE_ID = re.compile(r"[0-9a-f]{16}")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")

log = logging.getLogger("barograph")


# Text.


def render(snapshot: Snapshot, cells: Mapping[str, CellMap | bytes]) -> bytes:
    """Prometheus text of a snapshot. `cells` holds, by the content id of the reference, how columns are shown, or its JSON.

    Columns are shown by the reference that their version's ml_model_info names, else by one of the same bins. Columns over
    bins that are not in `cells` are left out, but for a score without a reference; and so are those for which there is no
    room under BAROGRAPH_MAX_SERIES, first those of versions that no process holds.

    >>> ticks = Series("ticks_total", (("model", 'a "b"'),), "counter", 1, 0)
    >>> from barograph.counters import Vector
    >>> one = Snapshot(0.0, "e", 1, {ticks: Vector(np.array([7]), np.array([]))})
    >>> print(render(one, {}).decode(), end="")
    # HELP ticks_total Counted by barograph.
    # TYPE ticks_total counter
    ticks_total{model="a \\"b\\""} 7
    # HELP ml_monitor_series Series that are shown here, with this one.
    # TYPE ml_monitor_series gauge
    ml_monitor_series 3
    # HELP ml_monitor_series_hidden Series of columns that are not shown, as they would be too many.
    # TYPE ml_monitor_series_hidden gauge
    ml_monitor_series_hidden 0
    """
    table = snapshot.table
    known = ((name, _cell_map(name, cells[name])) for name in sorted(cells))
    maps = tuple((name, found) for name, found in known if found is not None)
    return _template(table.layout, maps, most_series()).fill(table.counts, table.sums)


def _cell_map(id: str, cells: CellMap | bytes) -> CellMap | None:
    return cells if isinstance(cells, CellMap) else _cell_map_of_reference(id, cells)


@lru_cache(maxsize=64)
def _cell_map_of_reference(id: str, data: bytes) -> CellMap | None:
    """None for a reference that cannot be read: a worker of another version may have laid it there."""
    try:
        return CellMap.of_reference(data)
    except ValueError as error:
        log.warning("barograph shows no columns by reference %s: %s", id, error)
        return None


@lru_cache(maxsize=1)
def _without_reference() -> CellMap:
    """The cells of a monitor that has no reference."""
    bins = score_alone()
    return CellMap.of(bins, np.zeros(bins.size, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class _Template:
    """The text between numbers, and where each number comes from.

    Every whole number is the difference of two places in the running total of the counts taken in the order of `taken`: one
    slot of a counter, the slots of a cell, or all slots up to a bucket's bound.
    """

    pieces: list[str]  # text before a number, and room for the number, in turns
    taken: np.ndarray
    first: np.ndarray
    last: np.ndarray
    floats: np.ndarray
    segments: list[
        tuple[slice, slice, bool]
    ]  # where in `pieces`, which of the numbers, whether they are floats

    def fill(self, counts: np.ndarray, sums: np.ndarray) -> bytes:
        """The text."""
        running = np.zeros(len(self.taken) + 1, dtype=np.int64)
        np.cumsum(counts[self.taken], out=running[1:])
        whole = list(map(str, (running[self.last] - running[self.first]).tolist()))
        real = [_number(value) for value in sums[self.floats].tolist()]
        pieces = self.pieces.copy()
        for where, which, is_real in self.segments:
            pieces[where] = real[which] if is_real else whole[which]
        return "".join(pieces).encode("utf-8", "replace")


@dataclass
class _Lines:
    """Lines of a family as they are collected: suffix, labels, and (first, last) of a whole number or the place of another."""

    whole: list[tuple[str, str, int, int]] = field(default_factory=list)
    real: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass
class _Draft:
    """A template as it is made."""

    families: dict[str, tuple[str, _Lines]] = field(default_factory=dict)
    violating: dict[tuple[tuple[str, str], ...], list[np.ndarray]] = field(default_factory=dict)
    taken: list[np.ndarray] = field(default_factory=list)
    length: int = 0

    def family(self, metric: str, kind: str) -> _Lines:
        return self.families.setdefault(metric, (_TYPES.get(kind, kind), _Lines()))[1]

    @property
    def lines(self) -> int:
        """The number of lines so far."""
        shown = sum(len(lines.whole) + len(lines.real) for _, lines in self.families.values())
        return shown + len(self.violating)

    def take(self, slots: np.ndarray) -> int:
        """Have slots added to the running total; where they begin in it."""
        start = self.length
        self.taken.append(slots)
        self.length += len(slots)
        return start

    def add(self, series: Series, counts: slice, sums: slice) -> None:
        if series.kind == "histogram":
            self._add_histogram(series, counts, sums)
        elif series.metric == naming.VIOLATIONS.name:
            self._add_violations(series.labels, np.arange(counts.start, counts.stop))
        else:
            lines, labels = self.family(series.metric, series.kind), _labels(series.labels)
            for i in range(counts.start, counts.stop):
                start = self.take(np.array([i]))
                lines.whole.append(("", labels, start, start + 1))
            lines.real.extend(("", labels, i) for i in range(sums.start, sums.stop))

    def _add_histogram(self, series: Series, counts: slice, sums: slice) -> None:
        bounds = [*(repr(float(bound)) for bound in naming.DURATION_BUCKETS), "+Inf"]
        if series.counts != len(bounds):
            return
        lines, labels = self.family(series.metric, series.kind), _labels(series.labels)
        start = self.take(np.arange(counts.start, counts.stop))
        for i, bound in enumerate(bounds, 1):
            lines.whole.append(("_bucket", _labels((*series.labels, ("le", bound))), start, start + i))
        lines.whole.append(("_count", labels, start, start + len(bounds)))
        lines.real.append(("_sum", labels, sums.start))

    def add_columns(self, series: Series, offset: int, cells: CellMap) -> None:
        order = np.argsort(cells.index, kind="stable")
        start = self.take(offset + order)
        bounds = start + np.searchsorted(cells.index[order], np.arange(len(cells.lines) + 1))
        lines = self.family(series.metric, series.kind)
        for (column, role, cell), (first, last) in zip(cells.lines, pairwise(bounds.tolist()), strict=True):
            named = (*series.labels, ("cell", cell), ("column", column), ("role", role))
            lines.whole.append(("", _labels(named), first, last))
        of_model = [pair for pair in series.labels if pair[0] != "bins"]
        for (column, kind), slots in violating(cells.bins):
            self._add_violations([*of_model, ("column", column), ("kind", kind)], offset + slots)

    def _add_violations(self, labels: Iterable[tuple[str, str]], slots: np.ndarray) -> None:
        """Violations of a model add up, whatever the bins they were counted over."""
        self.violating.setdefault(tuple(sorted(labels)), []).append(slots)

    def add_violations(self) -> None:
        """A line for each violation that has been added."""
        added, self.violating = self.violating, {}
        for labels, slots in added.items():
            start = self.take(np.concatenate(slots))
            lines = self.family(naming.VIOLATIONS.name, naming.VIOLATIONS.type)
            lines.whole.append(("", _labels(labels), start, self.length))

    def template(self, hidden: int) -> "_Template":
        pieces: list[str] = []
        whole: list[tuple[int, int]] = []
        real: list[int] = []
        segments: list[tuple[slice, slice, bool]] = []
        for metric in sorted(self.families, key=lambda name: (_ORDER.get(name, len(_ORDER)), name)):
            kind, lines = self.families[metric]
            start = len(pieces)
            pieces += _pieces(metric, [row[:2] for row in lines.whole])
            segments.append(
                (slice(start + 1, len(pieces), 2), slice(len(whole), len(whole) + len(lines.whole)), False)
            )
            middle = len(pieces)
            pieces += _pieces(metric, [row[:2] for row in lines.real])
            segments.append(
                (slice(middle + 1, len(pieces), 2), slice(len(real), len(real) + len(lines.real)), True)
            )
            whole += [row[2:] for row in lines.whole]
            real += [row[2] for row in lines.real]
            if len(pieces) > start:
                pieces[start] = _heading(metric, kind) + pieces[start].lstrip("\n")
        first, last = np.array(whole, dtype=np.intp).reshape(-1, 2).T
        taken = np.concatenate([np.zeros(0, dtype=np.intp), *self.taken])
        numbers = {naming.SERIES.name: self.lines + 2, naming.SERIES_HIDDEN.name: hidden}
        pieces += [f"{_heading(name, 'gauge')}{name} {number}" for name, number in numbers.items()]
        pieces = [pieces[0].lstrip("\n"), *pieces[1:], "\n"]
        return _Template(pieces, taken, first, last, np.array(real, dtype=np.intp), segments)


@lru_cache(maxsize=8)
def _template(layout: Layout, maps: tuple[tuple[str, CellMap], ...], most: int) -> _Template:
    draft, shown = _Draft(), _shown(layout, maps)
    for series, counts, sums in layout.spans:
        if series.kind != "columns":
            draft.add(series, counts, sums)
    hidden = 0
    for series, offset in _columns(layout):
        cells = shown.get(_counted(series))
        if cells is not None and len(cells.index) == series.counts:
            lines = len(cells.lines) + sum(1 for _ in violating(cells.bins))
            if draft.lines + lines + 2 > most:
                hidden += lines
                _say_hidden(series.label("model"), series.label("version"), most)
            else:
                draft.add_columns(series, offset, cells)
    draft.add_violations()
    return draft.template(hidden)


def _columns(layout: Layout) -> list[tuple[Series, int]]:
    """Series of columns and where their counts begin, those of versions that a process holds first; the same in all workers."""
    held = {_version(series) for series in layout.series if series.metric == naming.MODEL_INFO.name}
    found = [(series, counts.start) for series, counts, _ in layout.spans if series.kind == "columns"]
    return sorted(found, key=lambda one: (_version(one[0]) not in held, one[0].labels))


def _version(series: Series) -> tuple[str | None, ...]:
    return series.label("model"), series.label("version")


@lru_cache(maxsize=64)
def _say_hidden(model: str | None, version: str | None, most: int) -> None:
    """Once for each version."""
    log.warning(
        "barograph does not show the columns of version %s of %s on /metrics: more than %d series are too many; set %s to "
        "allow more",
        version, model, most, naming.SERIES_VARIABLE,
    )  # fmt: skip


def _shown(layout: Layout, maps: tuple[tuple[str, CellMap], ...]) -> dict[tuple[str | None, ...], CellMap]:
    """How the columns of each (model, version, bins) are shown."""
    by_id, by_bins = dict(maps), {one.bins.id: one for one in (_without_reference(), *dict(maps).values())}
    named = {
        _counted(s): s.label("reference") or "" for s in layout.series if s.metric == naming.MODEL_INFO.name
    }
    found = {}
    for series in layout.series:
        bins = series.label("bins") or ""
        one = by_id.get(named.get(_counted(series), ""), by_bins.get(bins))
        if series.kind == "columns" and one is not None and one.bins.id == bins:
            found[_counted(series)] = one
    return found


def _counted(series: Series) -> tuple[str | None, ...]:
    return tuple(series.label(name) for name in ("model", "version", "bins"))


def _pieces(metric: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    """For each line the text before its number, and room for the number."""
    return [piece for suffix, labels in rows for piece in (f"\n{metric}{suffix}{labels} ", "")]


def _heading(metric: str, kind: str) -> str:
    known = naming.METRICS.get(metric)
    text = "Counted by barograph." if known is None else known.help
    return f"\n# HELP {metric} {text.translate(_HELP_ESCAPES)}\n# TYPE {metric} {kind}\n"


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    listed = ",".join(f'{name}="{_encodable(value).translate(_ESCAPES)}"' for name, value in pairs)
    return f"{{{listed}}}" if listed else ""


def _encodable(text: str) -> str:
    """A text with lone surrogates spelt out, so that two of them stay apart."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _number(value: float) -> str:
    return repr(value) if np.isfinite(value) else {np.inf: "+Inf", -np.inf: "-Inf"}.get(value, "NaN")


# The process's own registry.


def with_registry(text: bytes, registry: CollectorRegistry | None = None) -> bytes:
    """Our text, and the families of a prometheus_client registry that are not in it.

    Without `registry` it is the process's default one, or where PROMETHEUS_MULTIPROC_DIR is set the files in there. A
    registry that fails is left out and logged, so that ours is shown all the same.
    """
    if registry is None:
        registry = REGISTRY
        if any(name in os.environ for name in _MULTIPROCESS):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    ours = {part.partition(b" ")[0].decode() for part in (b"\n" + text).split(b"\n# TYPE ")[1:]}
    try:
        return text + generate_latest(_Others(registry, ours))
    except Exception:  # a user's collector may raise anything
        log.exception("barograph shows only its own metrics: the prometheus_client registry failed")
        return text


@dataclass(frozen=True)
class _Others:
    """The families of a registry but for those named."""

    registry: CollectorRegistry
    names: set[str]

    def collect(self) -> Iterator[Family]:
        for family in self.registry.collect():
            if not self.names & {family.name, f"{family.name}_{family.type}", f"{family.name}_total"}:
                yield family


# Endpoints.


class Exposed(Protocol):
    """What the endpoints need of a monitor."""

    @property
    def token(self) -> str | None: ...
    def render(self) -> bytes: ...
    def snapshot(self) -> Snapshot: ...
    def reference_json(self, id: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What an endpoint looks at. `client` is the address of who asks, None where it is not known.

    Names of headers are in lower case, values are bytes read as Latin-1, as ASGI and WSGI have them.
    """

    method: str
    path: str
    client: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answers."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def error(cls, status: int, what: str, remedy: str, *headers: tuple[str, str]) -> "Answer":
        """A refusal that says what is wrong and what helps."""
        body = json.dumps({"error": {"what": what, "remedy": remedy}}).encode()
        return cls(status, body, "application/json", headers)

    def fields(self) -> list[tuple[str, str]]:
        """All headers."""
        known = [("content-type", self.content_type), ("content-length", str(len(self.body)))]
        return [*known, ("cache-control", "no-store"), *self.headers]


def answer(monitor: Exposed, registry: CollectorRegistry | None, request: Request) -> Answer:
    """GET and HEAD of /metrics, /profile and /profile/reference/{id}."""
    parts = request.path.strip("/").split("/")
    known = parts in (["metrics"], ["profile"]) or (len(parts) == 3 and parts[:2] == ["profile", "reference"])
    if not known:
        return Answer.error(
            404, f"there is no {request.path}", "read /metrics, /profile or /profile/reference/{id}"
        )
    if request.method not in ("GET", "HEAD"):
        return Answer.error(405, f"{request.method} is not answered here", "use GET", ("allow", "GET, HEAD"))
    if parts == ["metrics"]:
        return Answer(200, with_registry(monitor.render(), registry), CONTENT_TYPE)
    if (refused := refusal(monitor.token, request)) is not None:
        return refused
    if parts == ["profile"]:
        return Answer(200, monitor.snapshot().to_bytes(), "application/octet-stream")
    reference = monitor.reference_json(parts[2]) if _REFERENCE_ID.fullmatch(parts[2]) else None
    if reference is None:
        return Answer.error(
            404,
            f"there is no reference {parts[2]!r}",
            "read the ids of references in /profile: ml_model_info",
        )
    return Answer(200, reference, "application/json")


def refusal(token: str | None, request: Request) -> Answer | None:
    """Why a request is refused: a token that is not the monitor's, or none and not this machine. None where it is not."""
    what = f"/{request.path.strip('/').partition('/')[0]}"
    if token:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1"), token.encode()
        ):
            return None
        remedy = "send it as `Authorization: Bearer TOKEN`"
        return Answer.error(401, f"{what} needs the monitor's token", remedy, ("www-authenticate", "Bearer"))
    proxied = any(name in request.headers for name in FORWARDING)
    if not proxied and _is_loopback(request.client):
        return None
    return Answer.error(
        403,
        f"{what} answers this machine only, and no proxy, while the monitor has no token",
        f"give the monitor a token (Monitor(token=...) or {naming.TOKEN_VARIABLE}), and who asks the same",
    )


def _is_loopback(client: str | None) -> bool:
    try:
        address = ipaddress.ip_address((client or "").partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class asgi_app:  # noqa: N801 -- used like a function; a class, since Starlette takes a function for a request handler
    """An ASGI application that answers /metrics, /profile and /profile/reference/{id}.

    `registry` is a prometheus_client registry to show beside our own metrics, by default the process's.
    """

    monitor: Exposed
    registry: CollectorRegistry | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"scope: type {scope['type']!r} is not answered here; use http")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        path, root = scope["path"], scope.get("root_path", "").rstrip("/")
        inner = path[len(root) :] if root and path.startswith(f"{root}/") else path
        request = Request(scope["method"], inner, (scope.get("client") or (None,))[0], headers)
        found = await _off_the_loop(lambda: answer(self.monitor, self.registry, request))
        fields = [(name.encode(), value.encode()) for name, value in found.fields()]
        await send({"type": "http.response.start", "status": found.status, "headers": fields})
        body = b"" if request.method == "HEAD" else found.body
        await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """Answer a server that tells when it starts and stops."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _off_the_loop(work: Callable[[], Answer]) -> Answer:
    """Do work on a thread, so that waiting for a lock does not hold up requests; in place where the loop is not asyncio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    return await asyncio.to_thread(work)


def wsgi_app(monitor: Exposed, registry: CollectorRegistry | None = None) -> Callable[..., list[bytes]]:
    """A WSGI application that answers like `asgi_app`."""

    def app(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        request = Request(
            environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), environ.get("REMOTE_ADDR"), headers
        )
        found = answer(monitor, registry, request)
        start_response(f"{found.status} {HTTPStatus(found.status).phrase}", found.fields())
        return [b"" if request.method == "HEAD" else found.body]

    return app
