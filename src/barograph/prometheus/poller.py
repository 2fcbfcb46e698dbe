"""Reads what Prometheus scraped, every so often, into tiles: the evaluator's source in a fleet."""

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import replace

import httpx

from barograph import naming
from barograph.clock import Clock, iso
from barograph.prometheus.api import Endpoint, Labels, QueryError, TooMuchError
from barograph.prometheus.book import GAP, Book
from barograph.prometheus.references import ReferenceFiles
from barograph.prometheus.scrapes import READ
from barograph.sources import Background, Status, pause
from barograph.tiles import DAY, HOUR, Tiles

LOOKBACK = 300  # seconds after which Prometheus takes a series for gone
OVERLAP = 15  # seconds that are read again: a scrape is seen once it has ended
LATE = 600  # seconds for which a process that is not scraped any more holds nothing up
LONGEST = DAY  # of history is read scrape by scrape; a longer gap is one step
SHORTEST_PIECE, FIRST_PIECE, LONGEST_PIECE = 30.0, 300.0, 3600.0  # seconds that are asked for at once
SMALL, LARGE = 4 << 20, 24 << 20  # bytes of an answer below and above which more or less is asked for at once
TOLD = HOUR  # seconds for which a status tells of a gap

log = logging.getLogger("barograph")


class PrometheusPoller:
    """Reads the counters of `naming` from Prometheus' query API into tiles, in a thread of its own. It scrapes nothing.

    Raw samples are read, not `increase()`: what each process counted is exact, over restarts, and over any time for which
    Prometheus, or this, was down. `files` are references (paths, folders, or with `*`), by which the columns of the models that
    name them are counted; `references` takes what is to be judged by. An empty store begins `history` seconds ago.
    `moved` is called as reading makes progress.

    >>> with Tiles() as tiles:
    ...     poller = PrometheusPoller(tiles, Endpoint("http://127.0.0.1:9", timeout=1.0))
    ...     poller.poll()
    ...     poller.statuses()[0].up, poller.until(0.0)
    (False, None)
    """

    def __init__(
        self,
        tiles: Tiles,
        endpoint: Endpoint,
        *,
        files: Sequence[str] = (),
        references: MutableMapping[str, bytes] | None = None,
        interval: float = 30.0,
        history: float = DAY,
        clock: Clock | None = None,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        if not interval > 0 or not history >= 0:
            raise ValueError(
                f"interval={interval}, history={history}: seconds; interval must be above 0, history not below"
            )
        self.tiles, self.endpoint, self.clock = tiles, endpoint, clock or Clock()
        self.interval, self.history, self.longest_wait = interval, history, 4 * interval
        self.references = ReferenceFiles(files, {} if references is None else references)
        self.book = Book(tiles, self.references)
        self._moved = moved
        self._status = Status(endpoint.url)
        self._down: dict[Labels, str] = {}
        self._seen: set[Labels] = set()  # processes that Prometheus scrapes now
        self._reach: float | None = None
        self._answers: float | None = None  # since when it does
        self._told_gap: tuple[float, float] | None = None
        self._notes: list[tuple[float, str]] = []  # until when it is told, and what
        self._piece = FIRST_PIECE
        self._background = Background(self._follow)

    def __enter__(self) -> "PrometheusPoller":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to read, in the background."""
        self._background.start()

    def stop(self) -> None:
        """Stop reading."""
        self._background.stop()

    def poll(self) -> None:
        """Read once, now. For a poller that is not started."""
        self._background.refuse()
        asyncio.run(self._visit())

    def until(self, now: float) -> float | None:
        """The moment (epoch seconds, `now` at the latest) up to which all is known; None before the first read.

        What lies after it may only be unread, and is not to be judged.
        """
        return None if self._reach is None else min(self._reach, now)

    def statuses(self) -> list[Status]:
        """How reading Prometheus goes; then the processes that it scrapes."""
        return [self._status, *(self._status_of(target) for target in sorted(self._seen))]

    def _status_of(self, target: Labels) -> Status:
        cursor, error = self.book.cursors.get(target), self._down.get(target)
        found = Status(_name(target), up=error is None, error=error, attempted=self._status.attempted)
        return found if cursor is None else replace(found, clock=cursor.clock, succeeded=cursor.clock)

    def pause(self, failures: int) -> float:
        """Seconds from one try to the next, after so many failures in a row."""
        return pause(failures, self.interval, self.longest_wait)

    async def _follow(self, stop: asyncio.Event) -> None:
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            due = time.monotonic()
            visit = asyncio.create_task(self._visit())
            await asyncio.wait({visit, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not visit.done():
                visit.cancel()
                await asyncio.gather(visit, return_exceptions=True)
                return
            due += self.pause(self._status.failures)
            await asyncio.wait({stopped}, timeout=max(0.0, due - time.monotonic()))

    async def _visit(self) -> None:
        """Read once. Whatever goes wrong is the status."""
        now = self.clock.now()
        try:
            complaints = await asyncio.to_thread(self.references.refresh)
            async with self.endpoint.client() as client:
                await self._read(client, now)
        except QueryError as error:
            self._failed(now, str(error))
        except Exception as error:
            log.debug("reading Prometheus failed", exc_info=True)
            self._failed(
                now, f"what {self.endpoint.url} answered could not be counted: {error!r}; see to the store"
            )
        else:
            self._succeeded(now, complaints)

    async def _read(self, client: httpx.AsyncClient, now: float) -> None:
        if self.book.began is None:
            await asyncio.to_thread(self.book.begin, now - self.history)
        seen, newest = await self._scraped(client, now)
        start = self._start(now, seen)
        while start < now:
            end = min(start + self._piece, now)
            try:
                await self._read_piece(client, start, end)
            except TooMuchError:
                if self._piece <= SHORTEST_PIECE:
                    raise
                self._piece = max(SHORTEST_PIECE, min(self._piece, end - start) / 4)
                continue
            self._status = replace(self._status, attempted=self.clock.now())
            self._moved()
            start = end
        self._down = await self._not_up(client, seen, now)
        self._seen = set(seen)
        missing = self.book.cursors.keys() - seen.keys()
        if not missing or await self._at_work(client, now):
            self._reached(now, seen, newest)

    async def _read_piece(self, client: httpx.AsyncClient, start: float, end: float) -> None:
        names = "|".join(READ)
        seconds = math.ceil(end - start) + 1
        query = f"{self._selector(f'__name__=~{_quoted(names)}')}[{seconds}s]"
        found, size = await self.endpoint.samples(client, query, end)
        self._piece = (
            min(2 * self._piece, LONGEST_PIECE) if size < SMALL else self._piece / (2 if size > LARGE else 1)
        )
        try:
            page = await asyncio.to_thread(self.book.parse, found)
        except (KeyError, TypeError, ValueError) as error:
            raise QueryError(
                f"{self.endpoint.url} gave samples that cannot be read ({error!r}); look at what answers there"
            ) from None
        new = self.book.new(page)
        starts = await self._started(client, new, end) if new else {}
        await asyncio.to_thread(self.book.count, page, end, starts)

    def _start(self, now: float, seen: dict[Labels, float]) -> float:
        """From where to read: what every process that is scraped has been read up to."""
        assert self.book.began is not None
        if self.book.read is None:
            return self.book.began - LOOKBACK
        known = [self.book.cursors[t].clock for t in seen if t in self.book.cursors]
        start = max(min([self.book.read, *known]), self.book.read - LATE) - OVERLAP
        return max(start, now - LONGEST)

    async def _scraped(
        self, client: httpx.AsyncClient, now: float
    ) -> tuple[dict[Labels, float], float | None]:
        """The last scrape, good or not, of each of our processes, and of anything (epoch seconds)."""
        any_scrape = f"max(timestamp({self._selector('', 'up')}))"
        jobs = self._jobs(self.book.cursors)
        ours = f"timestamp({self._selector(jobs, 'up')}) or " if self.book.cursors else ""
        seen: dict[Labels, float] = {}
        newest = None
        for labels, moment in await self.endpoint.instant(client, ours + any_scrape, now):
            target = _target(labels)
            if not target:
                newest = moment
            elif target in self.book.cursors:
                seen[target] = moment
        return seen, newest

    async def _not_up(
        self, client: httpx.AsyncClient, seen: Iterable[Labels], now: float
    ) -> dict[Labels, str]:
        """Our processes that Prometheus scrapes in vain."""
        wanted = set(seen)
        if not wanted:
            return {}
        query = f"{self._selector(self._jobs(wanted), 'up')} == 0"
        found = {_target(labels) for labels, _ in await self.endpoint.instant(client, query, now)}
        remedy = f"start the service, or see the targets page of {self.endpoint.url}"
        return {t: f"Prometheus cannot scrape {_name(t)}; {remedy}" for t in found & wanted}

    async def _at_work(self, client: httpx.AsyncClient, now: float) -> bool:
        """Whether Prometheus has scraped for two minutes. Before that, what it does not show may only not be scraped yet."""
        query = f"count(count_over_time({self._selector('', 'up')}[2m] offset 2m))"
        return bool(await self.endpoint.instant(client, query, now))

    async def _started(
        self, client: httpx.AsyncClient, targets: Iterable[Labels], now: float
    ) -> dict[Labels, float]:
        """When processes began, as far as they say so (epoch seconds); of workers of one server, the first."""
        wanted = {frozenset(target): target for target in targets}
        query = self._selector(self._jobs(wanted.values()), naming.PROCESS_START.name)
        found, _ = await self.endpoint.samples(client, f"{query}[{LOOKBACK}s]", now)
        starts: dict[Labels, float] = {}
        for one in found:
            labels = {k: v for k, v in one["metric"].items() if k not in ("__name__", "pid")}
            target, value = wanted.get(frozenset(labels.items())), float(one["values"][0][1])
            if target is not None and value > 0:
                starts[target] = min(value, starts.get(target, value))
        return starts

    def _jobs(self, targets: Iterable[Labels]) -> str:
        """A matcher for the jobs of processes."""
        jobs = {dict(target).get("job") for target in targets}
        names = sorted(job for job in jobs if job)
        if not names or None in jobs:
            return ""
        return f"job=~{_quoted('|'.join(map(re.escape, names)))}"

    def _selector(self, matchers: str, name: str = "") -> str:
        given = ",".join(part for part in (matchers, self.endpoint.match) if part)
        return f"{name}{{{given}}}" if given else name

    def _reached(self, now: float, seen: dict[Labels, float], newest: float | None) -> None:
        """Up to where all is known: the oldest of the last scrapes of our processes.

        Where none of ours is scraped any more, the last scrape of anything. Where nothing is, nothing is known.
        """
        cursors, before = self.book.cursors, self._reach
        reach = min((max(moment, cursors[t].clock) for t, moment in seen.items()), default=newest)
        if reach is None or (before is not None and reach <= before):
            return
        self._reach = min(reach, now)
        self._tell_gap(now)
        if before is not None and self._reach - before > GAP + self.interval:
            self._tell(now, f"caught up: what was counted from {iso(int(before))} on is read now")

    def _tell_gap(self, now: float) -> None:
        gap = self.book.gap
        if gap is None or gap == self._told_gap or gap[0] == self.book.began:
            return
        self._told_gap = gap
        self._tell(
            now,
            f"nothing was scraped from {iso(int(gap[0]))} to {iso(int(gap[1]))}; what was counted in that time is "
            "spread evenly over it",
        )

    def _tell(self, now: float, text: str) -> None:
        self._notes.append((now + TOLD, text))

    def _failed(self, now: float, error: str) -> None:
        before = self._status
        if before.error != error:
            log.warning("%s", error)
        self._answers = None
        self._status = replace(before, up=False, error=error, failures=before.failures + 1, attempted=now)

    def _succeeded(self, now: float, complaints: Sequence[str]) -> None:
        before = self._status
        if before.up is False:
            log.info("%s answers again", self.endpoint.url)
        self._notes = [note for note in self._notes if note[0] > now]
        idle = self._idle(now)
        said = [*idle, *complaints, *self._lacking(), *(text for _, text in self._notes)]
        error = "; ".join(said) or None
        if error and error != before.error:
            log.warning("%s: %s", self.endpoint.url, error)
        reach = self._reach
        lag = None if reach is None else now - reach
        self._status = Status(
            self.endpoint.url, not idle, error, attempted=now, succeeded=now, clock=reach, lag=lag
        )

    def _idle(self, now: float) -> list[str]:
        """Whether Prometheus answers but scrapes nothing: that is no silence of any model."""
        self._answers = now if self._answers is None else self._answers
        if now - max(self._answers, self._reach or 0.0) <= GAP + self.interval:
            return []
        since = iso(int(self._reach or self._answers))
        return [
            f"{self.endpoint.url} answers, but has scraped nothing since {since}; nothing is judged until it does: "
            "see what scrapes for it"
        ]

    def _lacking(self) -> list[str]:
        """What is not counted, and what would help."""
        lacking = {t: one for t, one in self.book.lacking.items() if t in self._seen}
        unknown = {bins: name for one in lacking.values() for bins, name in one.unknown.items()}
        found = [
            f"{model} {version} is judged by its golden signals alone: "
            + (f"reference {name} is in none of `references`" if name else "it has no reference")
            for (model, version, _), name in sorted(unknown.items())
        ]
        hidden = [_name(target) for target in sorted(lacking) if lacking[target].hides]
        if hidden:
            found.append(
                f"{', '.join(hidden[:3])} shows only a part of its columns, as they would be too many series; raise "
                "BAROGRAPH_MAX_SERIES there"
            )
        return found


def _target(labels: dict[str, str]) -> Labels:
    return tuple(sorted((k, v) for k, v in labels.items() if k != "__name__"))


def _name(target: Labels) -> str:
    """A process as people know it."""
    labels = dict(target)
    named = labels.get("pod") or labels.get("instance")
    job = labels.get("job")
    if named and job:
        return f"{named} ({job})"
    return named or ", ".join(f"{k}={v}" for k, v in target) or "a process without labels"


def _quoted(text: str) -> str:
    """A text as a string of PromQL."""
    return json.dumps(text, ensure_ascii=False)
