"""This process's vectors in shared memory, and the totals over all processes of its server."""

import atexit
import contextlib
import json
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from barograph import naming
from barograph.counters.files import Block, Reader, Words, Writer
from barograph.counters.folder import Folder, entering, leave
from barograph.counters.limit import folded, lines, most_series
from barograph.counters.series import (
    ADDITIVE,
    COLUMNS,
    HIGHEST,
    Layout,
    Series,
    Snapshot,
    Table,
    Vector,
    listed,
)
from barograph.counters.workers import find_place, start_of_process, unshared_workers

TIDYING = (
    900.0  # seconds between looks for what is to be folded or retired; whoever reads has been there by then
)
LOOKING = 60.0  # seconds for which the series that other processes have made are remembered
_LONG = 64  # slots from which a slice is faster than an index

log = logging.getLogger("barograph")


class SharedCounters:
    """This process's vectors in shared memory, and the totals over all processes of its server.

    Without `directory` it is BAROGRAPH_DIR, else found so that the workers of one server, and only they, share it. Where
    there is no shared memory to be had, or none any more, counts are kept in this process alone from then on; that is logged
    once. Such a process shows the totals of the others while there are any, else its own, as those of another epoch.

    >>> import tempfile
    >>> ticks = Series("ticks_total", (), "counter", 1, 0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     counters = SharedCounters(Path(folder))
    ...     counters.vector(ticks).counts[0] += 3
    ...     int(counters.snapshot().series[ticks].counts[0])
    ...     counters.close()
    3
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._place = find_place(directory)
        self._generation, self._closed, self._blind = 0, False, False
        self._most = most_series()
        self._said: set[str] = set()
        self._folder: Folder | None = None
        self._writer: Writer | None = None
        self._known: dict[tuple[bytes, int, int], Series | None] = {}
        self._private_files: dict[str, bytes] = {}
        self._open()
        self._pid = os.getpid()
        _watch(self)

    @property
    def generation(self) -> int:
        """Grows when this process turns out to be a fork, or goes on alone: vectors are then to be fetched anew."""
        self._ready()
        return self._generation

    def vector(self, series: Series) -> Vector:
        """Writable views of this process's numbers for a series, 0 at first; the same object on each call.

        Where there are too many series already, those of `other` for a label value that a caller made up.
        """
        if os.getpid() != self._pid:
            self._ready()
        found = self._vectors.get(series)
        return self._create(series) if found is None else found

    def leads(self, series: Series) -> bool:
        """Whether a series of this process, and not of a model, is ours to write: no other monitor in it has it here."""
        with self._lock:
            self._ready()
            if series in self._vectors:
                return True
            others = (
                s for s in self._sources() if isinstance(s, Reader) and s.alive and s.pid == os.getpid()
            )
            return all(self._series_of(block) != series for other in others for block in other.blocks)

    def snapshot(self, clock: float | None = None) -> Snapshot:
        """The totals: this process, other live ones, and what ended ones left. `clock` in epoch seconds, else wall time."""
        with self._lock:
            self._ready()
            sources = self._tidied()
            table = self._merged_as(sources).table(sources, {} if sources else self._private)
            workers = len({(source.pid, source.start) for source in sources if source.alive}) or 1
            table.sums[-2:] = workers, self._unshared()
            epoch = self._epoch if sources else self._own_epoch
        return Snapshot(time.time() if clock is None else clock, epoch, workers, table.vectors(), table)

    def publish(self, name: str, data: bytes) -> None:
        """Lay a small file (`*.json`) beside the counts for all processes of the server; the first of a name stays."""
        with self._lock:
            self._ready()
            try:
                if self._folder is not None:
                    self._folder.publish(name, data)
            except OSError as error:
                self._say("publish a file", error)
            self._private_files.setdefault(name, data)

    def published(self, name: str) -> bytes | None:
        """What was published under a name, by any process of the server."""
        with self._lock, contextlib.suppress(OSError):
            self._ready()
            if self._folder is not None and (found := self._folder.published(name)) is not None:
                return found
        return self._private_files.get(name)

    def references(self) -> dict[str, bytes]:
        """The references that processes of the server published as `<content id>.reference.json`, by content id."""
        names = set(self._private_files)
        with self._lock, contextlib.suppress(OSError):
            self._ready()
            if self._folder is not None:
                names.update(self._folder.published_names())
        found = {
            name.removesuffix(naming.REFERENCE_SUFFIX): self.published(name)
            for name in names
            if name.endswith(naming.REFERENCE_SUFFIX)
        }
        return {name: data for name, data in found.items() if data is not None}

    def close(self) -> None:
        """Leave what was counted to the other processes; the last one of a directory of our own making removes it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            folder, writer = self._folder, self._writer
            self._folder, self._writer = None, None
            if writer is not None:
                writer.close()
            if folder is not None and os.getpid() == self._pid:
                with contextlib.suppress(OSError):
                    leave(self._place, folder)

    # Opening, and what forks ask for.

    def _open(self) -> None:
        """Begin in a directory with a file of our own, or in memory of our own."""
        self._vectors: dict[Series, Vector] = {}
        self._private: dict[Series, Vector] = {}  # all of them where there is no file of our own
        self._aliases: dict[Series, Series] = {}  # series that were folded into another
        self._merge: _Merge | None = None
        self._known_series: dict[Series, int] = {}  # lines of each
        self._looked, self._tidy_at = -LOOKING, time.monotonic() + TIDYING
        self._epoch, self._own_epoch = "", secrets.token_hex(16)
        if self._place.path is None:
            self._say("count", None)
            return
        try:
            with entering(self._place):
                self._folder = Folder(self._place.path)
                self._epoch = self._folder.epoch()
                self._writer = Writer(self._place.path, start=start_of_process())
        except OSError as error:
            self._say("count", error)
        else:
            self._fold(retire=False)  # what has been idle for a week is first shown again

    def _fold(self, *, retire: bool) -> None:
        try:
            if self._folder is not None:
                self._folder.fold(self._writer, retire=retire)
        except OSError as error:
            self._say("add up what ended processes had counted", error)

    def _ready(self) -> None:
        """In a forked child: open anew, with all series at 0."""
        if os.getpid() != self._pid:
            with self._lock:
                if os.getpid() != self._pid and not self._closed:
                    series = [one for one in self._vectors if one not in self._aliases]
                    self._let_go()
                    self._open()
                    self._generation += 1
                    for one in series:
                        self._create(one)
                    self._pid = os.getpid()  # last: until then other threads wait here

    def _let_go(self) -> None:
        """Close what a child inherited: a descriptor kept open would make its parent look alive for ever."""
        if self._writer is not None:
            self._writer.close()
        if self._folder is not None:
            self._folder.close()
        self._writer = self._folder = None

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork_in_parent(self) -> None:
        with contextlib.suppress(RuntimeError):  # made by another thread while this one was forking
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._let_go()

    # Writing.

    def _create(self, series: Series) -> Vector:
        with self._lock:
            if series not in self._vectors:
                shown = self._within_limit(series)
                if shown is series:
                    self._vectors[series] = self._allocate(series)
                else:
                    self._vectors[series] = self._create(shown)
                    self._aliases[series] = shown
            return self._vectors[series]

    def _within_limit(self, series: Series) -> Series:
        """The series, or the one that it folds into where it would be one too many."""
        other = folded(series)
        if other is series or other == series:
            return series
        now = time.monotonic()
        if now - self._looked >= LOOKING:
            self._merged_as(self._sources())
            self._looked = now
        if series in self._known_series or sum(self._known_series.values()) + lines(series) <= self._most:
            return series
        self._say_once(
            "fold",
            "barograph counts %s as those of %r from now on: more than %d series are too many; set %s to allow more",
            series, naming.OTHER, self._most, naming.SERIES_VARIABLE,
        )  # fmt: skip
        return other

    def _allocate(self, series: Series) -> Vector:
        if series.kind != COLUMNS:
            self._known_series.setdefault(series, lines(series))
        if self._writer is not None:
            try:
                additive = series.kind in ADDITIVE
                return Vector(
                    *self._writer.append(_descriptor(series), series.counts, series.sums, additive=additive)
                )
            except OSError as error:
                self._say("make room for a series", error)
                self._go_alone()
        self._private[series] = Vector.zero(series)
        return self._private[series]

    def _go_alone(self) -> None:
        """Leave what was counted to the others, as if this process had ended, and count on in memory of our own.

        A total that holds some of this process's series and not others would be another one each time another worker is asked.
        """
        writer, self._writer = self._writer, None
        for series, vector in self._vectors.items():
            if series not in self._aliases:
                lasting = series.kind not in ADDITIVE
                self._private[series] = (
                    Vector(vector.counts.copy(), vector.sums.copy()) if lasting else Vector.zero(series)
                )
        self._vectors = dict(self._private)
        self._vectors |= {alias: self._private[series] for alias, series in self._aliases.items()}
        self._merge = None
        self._generation += 1
        if writer is not None:
            writer.close()

    def _say(self, what: str, error: OSError | None) -> None:
        self._say_once(
            what,
            "barograph could not %s in %s (%s), so totals over several workers are too low; set %s to a directory that they "
            "all can write, with space in it",
            what,
            self._place.path or "this platform's shared memory",
            error or "there is none with locks that end with their process",
            naming.DIRECTORY_VARIABLE,
        )

    def _say_once(self, what: str, text: str, *values: Any) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning(text, *values)

    # Reading.

    def _tidied(self) -> list[Writer | Reader]:
        """What counts, once what is due to be folded or retired has been."""
        sources = self._sources()
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDYING
            if self._folder is not None and self._folder.due(self._writer):
                self._fold(retire=True)
                return self._sources()
        return sources

    def _sources(self) -> list[Writer | Reader]:
        """The files that count; none where this process has none and is the only one."""
        if self._folder is None:
            return []
        try:
            found = self._folder.files(self._writer)
            blind = self._folder.unread
        except OSError as error:
            found, blind = self._folder.known(), error
        self._blind = blind is not None
        if blind is not None:
            self._say("read all of the other processes' counters", blind)
        own = [] if self._writer is None else [self._writer]
        if not own and not (self._epoch and any(reader.alive for reader in found)):
            return []
        return [*own, *found, *([] if self._folder.remains is None else [self._folder.remains])]

    def _merged_as(self, sources: Sequence[Writer | Reader]) -> "_Merge":
        files = tuple((source.id, source.inode, source.alive, len(source.blocks)) for source in sources)
        private = {} if sources else self._private
        state = (files, len(private))
        if self._merge is None or self._merge.state != state:
            self._merge = _Merge.of(state, sources, private, self._series_of)
            made = {*self._merge.layout.series, *self._vectors} - self._aliases.keys()
            self._known_series = {one: lines(one) for one in made if one.kind != COLUMNS}
        return self._merge

    def _series_of(self, block: Block) -> Series | None:
        """The series of a block; None where it was not written by us, or its numbers ended with their process."""
        if block.key not in self._known:
            try:
                metric, labels, kind = json.loads(block.descriptor)
                self._known[block.key] = listed(metric, labels, kind, block.counts, block.sums)
            except (ValueError, TypeError):
                self._known[block.key] = None
        return self._known[block.key]

    def _unshared(self) -> int:
        """How many workers are known of whose counts are not in the totals, or that do not see all of ours."""
        private = self._writer is None or self._blind
        if not (private or self._place.alone):
            return 0
        others = max(unshared_workers(self._place), int(private and not self._place.alone))
        if others:
            self._say_once(
                "share",
                "barograph: %d other workers of this server do not share counters with this one, so totals are too low; "
                "set %s to a directory that they all can write",
                others,
                naming.DIRECTORY_VARIABLE,
            )
        return others


@dataclass(frozen=True, slots=True)
class _Moves:
    """Where the numbers of a file go: short vectors by index, long ones as slices."""

    taken: np.ndarray
    placed: np.ndarray
    runs: list[tuple[slice, slice]]

    @classmethod
    def of(cls, spans: Iterable[tuple[slice, slice]]) -> "_Moves":
        """From pairs of slices: in the file's words, and in the table's array."""
        pairs = list(spans)
        short = [(a, b) for a, b in pairs if a.stop - a.start < _LONG]
        taken, placed = (
            np.array([i for pair in short for i in range(pair[side].start, pair[side].stop)], dtype=np.intp)
            for side in (0, 1)
        )
        return cls(taken, placed, [(a, b) for a, b in pairs if a.stop - a.start >= _LONG])

    def add(self, words: np.ndarray, into: np.ndarray) -> None:
        into[self.placed] += words[self.taken]
        for source, target in self.runs:
            into[target] += words[source]

    def raise_to(self, words: np.ndarray, into: np.ndarray) -> None:
        into[self.placed] = np.maximum(into[self.placed], words[self.taken])


@dataclass(frozen=True, slots=True)
class _Plan:
    """Moves of one file: counts, sums that add up, and sums of which the highest counts."""

    counts: _Moves
    sums: _Moves
    highest: _Moves

    @classmethod
    def of(cls, found: Sequence[tuple[Block, Series]], layout: Layout) -> "_Plan":
        places = [(block, series.kind in HIGHEST, *layout.places[series]) for block, series in found]
        sums = [(slice(b.start + b.counts, b.end), to, highest) for b, highest, _, to in places]
        return cls(
            _Moves.of((slice(b.start, b.start + b.counts), to) for b, _, to, _ in places),
            _Moves.of((source, to) for source, to, highest in sums if not highest),
            _Moves.of((source, to) for source, to, highest in sums if highest),
        )

    def apply(self, words: Words, counts: np.ndarray, sums: np.ndarray) -> None:
        self.counts.add(words.ints, counts)
        self.sums.add(words.floats, sums)
        self.highest.raise_to(words.floats, sums)


@dataclass(frozen=True, slots=True)
class _Merge:
    """How some files are added up. Made once, used until a file, a series or a death is new."""

    state: tuple[Any, ...]
    layout: Layout
    plans: tuple[_Plan, ...]
    start: np.ndarray  # sums to start from: -inf where the highest is sought, else 0

    @classmethod
    def of(
        cls,
        state: tuple[Any, ...],
        sources: Sequence[Writer | Reader],
        private: Mapping[Series, Vector],
        series_of: Callable[[Block], Series | None],
    ) -> "_Merge":
        found: list[list[tuple[Block, Series]]] = []
        for source in sources:
            named = [(block, series_of(block)) for block in source.blocks]
            found.append([(b, s) for b, s in named if s is not None and (source.alive or s.kind in ADDITIVE)])
        own = (Series.of(naming.WORKERS, {}), Series.of(naming.WORKERS_UNSHARED, {}))
        all_series = dict.fromkeys([*(s for one in found for _, s in one), *private])
        layout = Layout((*(s for s in all_series if s not in own), *own))
        start = np.zeros(layout.sum_starts[-1])
        for series, _, sums in layout.spans:
            if series.kind in HIGHEST:
                start[sums] = -np.inf
        return cls(state, layout, tuple(_Plan.of(one, layout) for one in found), start)

    def table(self, sources: Sequence[Writer | Reader], private: Mapping[Series, Vector]) -> Table:
        """The totals, now."""
        counts, sums = np.zeros(self.layout.count_starts[-1], dtype=np.int64), self.start.copy()
        for source, plan in zip(sources, self.plans, strict=True):
            plan.apply(source.words, counts, sums)
        for series, vector in private.items():
            to_counts, to_sums = self.layout.places[series]
            counts[to_counts] += vector.counts
            merged = (
                np.maximum(sums[to_sums], vector.sums)
                if series.kind in HIGHEST
                else sums[to_sums] + vector.sums
            )
            sums[to_sums] = merged
        return Table(self.layout, counts, sums)


def _descriptor(series: Series) -> bytes:
    return json.dumps([series.metric, series.labels, series.kind], separators=(",", ":")).encode()


def _watch(counters: SharedCounters) -> None:
    """Have forks and the end of the process told to `counters`, for as long as it exists."""
    ref = weakref.ref(counters)

    def tell(method: str) -> Any:
        def told() -> None:
            found = ref()
            if found is not None and not found._closed:
                getattr(found, method)()

        return told

    atexit.register(tell("close"))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=tell("_before_fork"),
            after_in_parent=tell("_after_fork_in_parent"),
            after_in_child=tell("_after_fork_in_child"),
        )
