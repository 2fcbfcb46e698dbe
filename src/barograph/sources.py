"""Where a window's counts come from: the snapshots of serving processes, read over HTTP."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import quote

import httpx

from barograph import naming
from barograph.clock import Clock
from barograph.counters import ADDITIVE, Series, Snapshot, Vector
from barograph.intake import Intake
from barograph.reference import Reference
from barograph.tiles import Tiles, Windows

WRITE_SECONDS = 60.0  # of wall time, after which what was counted is stored even if nobody reads
REFERENCE_RETRY = 4  # polls between two tries of a reference that could not be read

log = logging.getLogger(__name__)


class Source(Protocol):
    """What the evaluator reads windows from. Times are epoch seconds."""

    def series(self, metric: str | None = None, **labels: str) -> list[Series]:
        """The series of a metric (of all, if left out) that have these labels."""
        ...

    def window(self, series: Series, start: float, end: float) -> Vector:
        """The sum of a series over [start, end)."""
        ...

    def windows(
        self, series: Series, start: float, end: float, step: int, slots: slice | None = None
    ) -> Windows:
        """A series over the windows [start, start + step), ... up to `end`."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """A serving process to read: its base address, and the monitor's token if it has one.

    >>> Target("http://127.0.0.1:8701/metrics").url
    'http://127.0.0.1:8701'
    """

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = httpx.URL(self.url)
        except (httpx.InvalidURL, TypeError) as error:
            raise ValueError(f"url: cannot read {self.url!r} ({error}); write http://host:port") from None
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise ValueError(f"url: {self.url!r} is no base address; write http://host:port")
        if parts.userinfo:
            raise ValueError(
                f"url: the address of {parts.host} holds a user or password; give `token` instead"
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token):
            raise ValueError(
                "token: it is empty or holds characters that no header can carry; give the monitor's"
            )
        base = self.url.rstrip("/")
        for ending in ("/metrics", "/profile"):
            base = base.removesuffix(ending)
        object.__setattr__(self, "url", base.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Status:
    """How reading a target goes. Times are epoch seconds of the evaluator's clock.

    `up` is None before the first try. `error` says what is wrong and what to do, also where the target is up but its
    reference cannot be had. `clock` is the process's own time in its last snapshot, `lag` the seconds by which it was
    behind the evaluator's. `failures` in a row; `restarts` seen since the poller began. `models` are those it last told of, and
    `unshared` the workers that then counted for themselves.
    """

    url: str
    up: bool | None = None
    error: str | None = None
    failures: int = 0
    restarts: int = 0
    attempted: float | None = None
    succeeded: float | None = None
    clock: float | None = None
    lag: float | None = None
    epoch: str | None = None
    workers: int | None = None
    models: tuple[str, ...] = ()
    unshared: int = 0
    usage: Mapping[str, float] = field(
        default_factory=dict
    )  # memory in bytes, cpu in processors, disk as a share
    cpu_seconds: float | None = None


class TargetError(Exception):
    """A target that could not be read: what happened, and the remedy."""


class StoredReferences(MutableMapping[str, bytes]):
    """References by content id, as the JSON that targets gave, in the file of the tiles: there before a target answers.

    >>> with Tiles() as tiles:
    ...     references = StoredReferences(tiles)
    ...     references["1f3a90bc5d6e7081"] = b"{}"
    ...     dict(StoredReferences(tiles))
    {'1f3a90bc5d6e7081': b'{}'}
    """

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        with tiles.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS stored_references (id VARCHAR, body BLOB)")
            rows = connection.execute("SELECT id FROM stored_references").fetchall()
        self._ids = {name for (name,) in rows}

    def __getitem__(self, name: str) -> bytes:
        if name not in self._ids:
            raise KeyError(name)
        with self._tiles.lock:
            query = "SELECT body FROM stored_references WHERE id = ?"
            found = self._tiles.connection.execute(query, [name]).fetchall()
        return bytes(found[0][0])

    def __setitem__(self, name: str, body: bytes) -> None:
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM stored_references WHERE id = ?", [name])
            connection.execute("INSERT INTO stored_references VALUES (?, ?)", [name, body])
        self._ids.add(name)

    def __delitem__(self, name: str) -> None:
        if name not in self._ids:
            raise KeyError(name)
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM stored_references WHERE id = ?", [name])
        self._ids.discard(name)

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._ids))

    def __len__(self) -> int:
        return len(self._ids)


class Background:
    """A poller's thread. `main` reads, again and again, until the event that it is given is set."""

    def __init__(self, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self._main = main
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> None:
        """Begin to read."""
        if self._thread is not None:
            raise RuntimeError("the poller runs already; stop it first")
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(ready)), name="barograph-poller", daemon=True
        )
        self._thread.start()
        ready.wait()

    def stop(self) -> bool:
        """Stop reading, and wait until it has. Returns whether it ran."""
        if self._thread is None or self._loop is None or self._stop is None:
            return False
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = self._loop = self._stop = None
        return True

    def refuse(self) -> None:
        """Raise if it runs: nobody may read by hand beside it."""
        if self._thread is not None:
            raise RuntimeError("the poller runs in the background; stop it before reading by hand")

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await self._main(self._stop)


def pause(failures: int, interval: float, longest: float) -> float:
    """Seconds from one try to the next, after so many failures in a row: `interval`, then twice as long, up to `longest`.

    >>> [pause(n, 15.0, 60.0) for n in (0, 1, 2, 3, 99)]
    [15.0, 15.0, 30.0, 60.0, 60.0]
    """
    longer = interval * 2.0 ** max(0, min(failures, 30) - 1)
    return min(longer, max(interval, longest))


class Poller:
    """Reads targets every `interval` seconds into tiles, in a thread of its own; a slow or dead target delays no other.

    After a failure a target is asked again after `interval`, then twice as long, up to `longest_wait` (four intervals).
    `references` takes the JSON of each reference that it lacks, by content id, once it has proved whole. `timeout` bounds a
    whole answer, in seconds of wall time; `most_bytes` its size. What was counted is in the tiles for whoever reads them,
    and in their file within a minute.

    >>> with Tiles() as tiles:
    ...     poller = Poller(tiles, [Target("http://127.0.0.1:9")], timeout=1.0)
    ...     poller.poll()
    ...     poller.statuses()[0].up
    False
    """

    def __init__(
        self,
        tiles: Tiles,
        targets: Sequence[Target],
        *,
        references: MutableMapping[str, bytes] | None = None,
        interval: float = 15.0,
        timeout: float = 5.0,
        longest_wait: float | None = None,
        most_bytes: int = 64 << 20,
        clock: Clock | None = None,
    ) -> None:
        urls = [target.url for target in targets]
        if len(set(urls)) < len(urls):
            raise ValueError(f"targets: {max(urls, key=urls.count)} is there twice; name each process once")
        if not (interval > 0 and timeout > 0):
            raise ValueError(f"interval={interval}, timeout={timeout}: both are seconds and must be above 0")
        self.tiles, self.targets = tiles, tuple(targets)
        self.references: MutableMapping[str, bytes] = {} if references is None else references
        self.interval, self.timeout, self.most_bytes = interval, timeout, most_bytes
        self.longest_wait = 4 * interval if longest_wait is None else longest_wait
        self.clock = clock or Clock()
        self._intake = Intake(tiles, self._not_stored)
        self._statuses = {url: Status(url) for url in urls}
        self._owners: dict[str, str] = {}  # the target through which each epoch is counted
        self._complaints: dict[
            str, dict[str, tuple[int, str]]
        ] = {}  # by target and reference: polls to wait, why
        self._background = Background(self._follow_all)

    def __enter__(self) -> "Poller":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to read, in the background."""
        self._background.start()

    def stop(self) -> None:
        """Stop reading, and store what was read."""
        if self._background.stop():
            self.tiles.catch_up()

    def poll(self) -> None:
        """Read every target once, now. For a poller that is not started."""
        self._background.refuse()
        asyncio.run(self._visit_all())
        self.tiles.catch_up()

    def pause(self, failures: int) -> float:
        """Seconds from one try of a target to the next, after so many failures in a row."""
        return pause(failures, self.interval, self.longest_wait)

    def until(self, now: float) -> float | None:
        """The moment up to which what was counted is known: `now`, as a service that cannot be read is a finding."""
        return now

    def statuses(self) -> list[Status]:
        """How each target does, in the order in which they were given."""
        return [self._statuses[target.url] for target in self.targets]

    async def _follow_all(self, stop: asyncio.Event) -> None:
        async with _client(self.targets) as client:
            tasks = [asyncio.create_task(self._follow(client, target)) for target in self.targets]
            tasks.append(asyncio.create_task(self._write_now_and_then()))
            await stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, client: httpx.AsyncClient, target: Target) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due = now()
            await self._visit(client, target)
            due += self.pause(self._statuses[target.url].failures)
            await asyncio.sleep(max(0.0, due - now()))

    async def _write_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await asyncio.to_thread(self.tiles.catch_up)

    async def _visit_all(self) -> None:
        async with _client(self.targets) as client:
            await asyncio.gather(*(self._visit(client, target) for target in self.targets))

    async def _visit(self, client: httpx.AsyncClient, target: Target) -> None:
        """Read a target once. Whatever goes wrong is its status, and no other target's."""
        attempted = self.clock.now()
        try:
            body = await self._get(client, target, "/profile")
            snapshot = _decoded(target, body)
            lag = self.clock.now() - snapshot.clock
            complaint = await self._get_references(client, target, snapshot)
            restarts = await asyncio.to_thread(self._store, target, snapshot, body)
        except TargetError as error:
            self._failed(target.url, attempted, str(error))
        except Exception as error:  # noqa: BLE001 (a full disk, a damaged file: the next read counts from the same cursor)
            self._not_stored([target.url], error)
        else:
            if self._intake.error is None:
                self._succeeded(target, attempted, snapshot, lag, complaint, restarts)

    def _store(self, target: Target, snapshot: Snapshot, body: bytes) -> int:
        """Count a snapshot. Returns 1 if the target had restarted."""
        with self.tiles.lock:
            self._refuse_twin(target, snapshot)
            anew = self._intake.add(target.url, snapshot, body)
            self._owners = {e: url for e, url in self._owners.items() if url != target.url}
            self._owners[snapshot.epoch] = target.url
        return int(anew)

    def _refuse_twin(self, target: Target, snapshot: Snapshot) -> None:
        """Two addresses of one process: it is counted through the one that was first, while that one answers."""
        owner = self._owners.get(snapshot.epoch, target.url)
        if owner != target.url and self._statuses[owner].up is not False:
            raise TargetError(
                f"{target.url} shows the same counters as {owner}, which is counted; remove one of the two"
            )

    def _not_stored(self, urls: Iterable[str], error: Exception) -> None:
        for url in urls:
            why = f"what {url} counted could not be stored: {error!r}; see to the store"
            self._failed(url, self.clock.now(), why)

    def _failed(self, url: str, attempted: float, error: str) -> None:
        before = self._statuses[url]
        if before.error != error:
            log.warning("%s", error)
        self._statuses[url] = replace(
            before, up=False, error=error, failures=before.failures + 1, attempted=attempted
        )

    def _succeeded(
        self, target: Target, at: float, snapshot: Snapshot, lag: float, complaint: str | None, restarts: int
    ) -> None:
        before = self._statuses[target.url]
        if before.up is False:
            log.info("%s answers again", target.url)
        if complaint and complaint != before.error:
            log.warning("%s", complaint)
        self._statuses[target.url] = Status(
            target.url,
            up=True,
            error=complaint,
            restarts=before.restarts + restarts,
            attempted=at,
            succeeded=at,
            clock=snapshot.clock,
            lag=lag,
            epoch=snapshot.epoch,
            workers=snapshot.workers,
            models=_models(snapshot),
            unshared=_unshared(snapshot),
            usage=_usage(snapshot, before, at, self.clock.speed),
            cpu_seconds=_value(snapshot, naming.PROCESS_CPU),
        )

    async def _get_references(
        self, client: httpx.AsyncClient, target: Target, snapshot: Snapshot
    ) -> str | None:
        """Ask for the references that are not known yet. Returns what is wrong with one, if any: counts come first."""
        before, now = self._complaints.get(target.url, {}), dict[str, tuple[int, str]]()
        for name, bins in _references(snapshot).items():
            if name in self.references:
                continue
            wait, complaint = before.get(name, (0, ""))
            if wait == 0:
                try:
                    body = await self._get(client, target, f"/profile/reference/{quote(name, safe='')}")
                    await asyncio.to_thread(self._keep, target, name, bins, body)
                    continue
                except TargetError as error:
                    wait, complaint = REFERENCE_RETRY, f"reference {name}: {error}"
            now[name] = wait - 1, complaint
        self._complaints[target.url] = now
        return "; ".join(complaint for _, complaint in now.values()) or None

    def _keep(self, target: Target, name: str, bins: str, body: bytes) -> None:
        """Take a reference over, if it is whole and the one that was asked for."""
        try:
            found = Reference.from_json(body, origin=f"{name} of {target.url}")
        except Exception as error:  # noqa: BLE001 (whatever it is that answers there)
            raise TargetError(f"{error}; until then its columns are not judged") from None
        if (found.id, found.bins.id) != (name, bins):
            raise TargetError(
                f"{target.url} gave reference {found.id} over bins {found.bins.id} for {name} over bins {bins}; restart "
                "the service, so that both are from the same file"
            )
        self.references[name] = body

    async def _get(self, client: httpx.AsyncClient, target: Target, path: str) -> bytes:
        headers = {} if target.token is None else {"Authorization": f"Bearer {target.token}"}
        address = target.url + path
        try:
            async with (
                asyncio.timeout(self.timeout),
                client.stream("GET", address, headers=headers) as response,
            ):
                _accept(address, response)
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > self.most_bytes:
                        raise TargetError(
                            f"{address} answered with more than {self.most_bytes:,} bytes; check that it is a monitored "
                            "service, or raise most_bytes"
                        )
                return bytes(body)
        except TimeoutError:
            raise TargetError(
                f"{address} did not answer within {self.timeout:g} s; look at the service, or raise the timeout"
            ) from None
        except httpx.HTTPError as error:
            raise TargetError(
                f"cannot read {address} ({str(error) or type(error).__name__}); start the service, or correct the target's url"
            ) from None


def _client(targets: Sequence[Target]) -> httpx.AsyncClient:
    """Follows no redirect, so that a token goes nowhere else; asks for plain bytes, so that none unpack to gigabytes.

    A connection is not kept: a server may close an idle one just as it is used again.
    """
    return httpx.AsyncClient(
        headers={"Accept-Encoding": "identity", "Cache-Control": "no-cache", "User-Agent": "barograph"},
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=None,
        verify=any(
            target.url.startswith("https:") for target in targets
        ),  # else certificates are read for nothing
        follow_redirects=False,
        trust_env=False,
    )


def _accept(address: str, response: httpx.Response) -> None:
    """Raise what an answer other than 200 means."""
    code = response.status_code
    if response.is_redirect:
        place = response.headers.get("location", "another address")
        raise TargetError(f"{address} redirects to {place}; give the address behind it as the target")
    if code == 401:
        raise TargetError(f"{address} refused the token (401); give the target the monitor's token")
    if code == 403:
        raise TargetError(
            f"{address} answers local clients only (403); set a token on the monitor and on the target"
        )
    if code == 404:
        raise TargetError(
            f"{address} is not there (404); instrument the service, or correct the target's url"
        )
    if code != 200:
        raise TargetError(f"{address} answered {code}; look at the service's log")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TargetError(
            f"{address} answered compressed, which was not asked for; switch that off for this path"
        )


def _decoded(target: Target, body: bytes) -> Snapshot:
    try:
        snapshot = Snapshot.from_bytes(body)
    except ValueError as error:
        raise TargetError(
            f"{target.url}/profile is no snapshot ({error}); check that a barograph monitor answers"
        ) from None
    if not 0 <= snapshot.clock < 1e11:
        raise TargetError(
            f"{target.url} has the clock {snapshot.clock}; correct the process's clock (epoch seconds)"
        )
    if any((v.counts < 0).any() for s, v in snapshot.series.items() if s.kind in ADDITIVE):
        raise TargetError(f"{target.url} has counts below 0; its counters are damaged, restart the service")
    return snapshot


def _models(snapshot: Snapshot) -> tuple[str, ...]:
    """The models that processes of a target answer."""
    infos = (series for series in snapshot.series if series.metric == naming.MODEL_INFO.name)
    return tuple(sorted({series.label("model") or "" for series in infos} - {""}))


def _unshared(snapshot: Snapshot) -> int:
    return int(_value(snapshot, naming.WORKERS_UNSHARED) or 0)


def _value(snapshot: Snapshot, metric: naming.Metric) -> float | None:
    """What a metric without labels stands at."""
    found = snapshot.series.get(Series.of(metric, {}))
    return None if found is None else float(found.sums[0])


def _usage(snapshot: Snapshot, before: Status, at: float, speed: float) -> dict[str, float]:
    """What the processes of a target use; processors on average since the last read (`at` on a clock of this `speed`)."""
    memory, free, size, cpu = (
        _value(snapshot, m)
        for m in (naming.PROCESS_MEMORY, naming.DISK_FREE, naming.DISK_SIZE, naming.PROCESS_CPU)
    )
    found = {} if memory is None else {"memory": memory}
    if free is not None and size:
        found["disk"] = 1 - free / size
    seconds = 0.0 if before.succeeded is None else (at - before.succeeded) / speed
    same = before.epoch == snapshot.epoch and before.cpu_seconds is not None
    if cpu is not None and same and seconds > 0:
        found["cpu"] = max(cpu - before.cpu_seconds, 0.0) / seconds  # type: ignore[operator]
    return found


def _references(snapshot: Snapshot) -> dict[str, str]:
    """The references that processes of a target judge by, each with the bins that they say it has."""
    infos = [series for series in snapshot.series if series.metric == naming.MODEL_INFO.name]
    found = {series.label("reference") or "": series.label("bins") or "" for series in infos}
    return {name: bins for name, bins in sorted(found.items()) if name}
