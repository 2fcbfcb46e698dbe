"""Tiles: adding to them, rolling them up, forgetting them, and reading windows."""

import json
import threading
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from barograph.counters import ADDITIVE, Series, Vector
from barograph.tiles.arrow import Coarser, Row, Rows, key_table, series_table, tile_table
from barograph.tiles.batch import Batch, Tile
from barograph.tiles.file import MEMORY, TilesFileError, connect, open_file, wal_of
from barograph.tiles.model import (
    DAY,
    HOUR,
    MINUTE,
    Frame,
    Increment,
    Part,
    Retention,
    Size,
    Windows,
)

TABLES = {MINUTE: "minutes", HOUR: "hours", DAY: "days"}

_WHOLE = {MINUTE: HOUR, HOUR: DAY, DAY: DAY}  # tiles expire by whole tiles of the next resolution
_FORMAT = 1
_NEVER = -(2**62)  # before every tile
_CHUNK = 4_000_000  # numbers that are written or rolled up in one piece: bounds memory
_TOGETHER = 50_000  # rows that are added up in one piece
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name VARCHAR, value BIGINT);
CREATE TABLE IF NOT EXISTS series (
    id INTEGER, metric VARCHAR, labels JSON, kind VARCHAR, counts INTEGER, sums INTEGER,
    first BIGINT, last BIGINT
);
CREATE TABLE IF NOT EXISTS minutes (series INTEGER, start BIGINT, counts BIGINT[], sums DOUBLE[]);
CREATE TABLE IF NOT EXISTS hours (series INTEGER, start BIGINT, counts BIGINT[], sums DOUBLE[]);
CREATE TABLE IF NOT EXISTS days (series INTEGER, start BIGINT, counts BIGINT[], sums DOUBLE[]);
CREATE TABLE IF NOT EXISTS dirty (resolution INTEGER, start BIGINT);
CREATE VIEW IF NOT EXISTS tiles AS
    SELECT series, 60 AS resolution, start, counts, sums FROM minutes
    UNION ALL SELECT series, 3600, start, counts, sums FROM hours
    UNION ALL SELECT series, 86400, start, counts, sums FROM days;
"""


@dataclass(slots=True)
class _Known:
    """A stored series: its id, the first and last minute that it was seen in, and the write that last changed it."""

    id: int
    first: int
    last: int
    changed: int = 0


class Tiles:
    """Time tiles in a DuckDB file, or in memory. Any thread may call any method; one at a time gets in.

    `connection` is there for the evaluator's own tables in the same file: use it inside `transaction()`, or hold
    `lock`, and read every result to its end (`fetchall`): DuckDB refuses other work while rows of one are left.
    `rollbacks` counts transactions that were taken back: what someone keeps in memory of the file is void then.
    `revision` is another number once anything was counted or a series is new; gauges and CPU seconds, which never stand
    still, don't move it.

    Raises:
        TilesFileError: the file is open in another process, of another format, or holds something else. A file that
            is damaged raises nothing: it is renamed, a new one is begun, and the log says so.

    >>> rows = Series("ml_predictions_total", (("model", "m"),), "counter", 1, 0)
    >>> with Tiles() as tiles:
    ...     tiles.add([Increment(rows, 60, Vector(np.array([5]), np.zeros(0)))])
    ...     tiles.window(rows, 0, 3600).counts.tolist()
    [5]
    """

    def __init__(self, path: str | Path = MEMORY, *, retention: Retention | None = None) -> None:
        self.path = None if str(path) == MEMORY else Path(path)
        self.retention = retention or Retention()
        self.lock = threading.RLock()
        self.connection = connect() if self.path is None else open_file(self.path)
        self.rollbacks = self.revision = 0
        self._depth = 0
        self._writes = 0
        self._waiting: list[Callable[[], None]] = []
        self._known: dict[Series, _Known] = {}
        self._by_metric: dict[str, list[Series]] = {}  # each in order of labels
        self._expired: dict[int, int] = {}
        self._dirty: dict[int, set[int]] = {}
        try:
            self.connection.execute(f"BEGIN; {_SCHEMA} COMMIT")
            self._load()
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> "Tiles":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Store what waits, move what the write-ahead log holds into the file, and let go of it."""
        with self.lock:
            self.catch_up()
            self.connection.close()

    def before_reading(self, write: Callable[[], None]) -> None:
        """Have `write` called, and what it has kept waiting stored, before tiles are read outside a transaction.

        Whoever adds often stores many additions together that way, and no reader sees less. It must not raise.
        """
        with self.lock:
            self._waiting.append(write)

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """All or nothing: what happens inside, to tiles and to other tables, is stored together. May be nested."""
        with self.lock:
            if self._depth:
                yield self.connection
                return
            self.connection.execute("BEGIN")
            self._depth = 1
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth = 0

    def add(self, increments: Iterable[Increment]) -> None:
        """Add increments to their minutes. A late or repeated one adds; a gauge or an info replaces.

        Where the minutes have expired, an increment goes to its hour, or to its day.
        """
        with self.transaction():
            batch = Batch(self._expired)
            for increment in increments:
                batch.put(increment)
                if batch.slots > _CHUNK:
                    self._write(batch)
                    batch = Batch(self._expired)
            self._write(batch)

    def catch_up(self) -> None:
        """Have stored what waits. Within a transaction nothing is: it would be taken back together with that."""
        with self.lock:
            if not self._depth:
                for write in self._waiting:
                    write()

    def roll_up(self, now: float) -> int:
        """Compute anew the hours and days that have changed and ended by `now` (epoch seconds). Returns how many."""
        done = 0
        self.catch_up()
        for finer, resolution in pairwise(TABLES):
            for starts in self._pieces(finer, resolution, now):
                with self.transaction():
                    self._recompute(finer, resolution, starts)
                done += len(starts)
        return done

    def expire(self, now: float) -> None:
        """Forget tiles past their retention at `now` (epoch seconds). What they add up to is rolled up first."""
        kept = self.retention.seconds
        with self.lock:
            limits = {r: int((now - kept[r]) // whole * whole) for r, whole in _WHOLE.items()}
            limits = {r: limit for r, limit in limits.items() if limit > self._expired[r]}
            if not limits:
                return
            self.roll_up(now)
            with self.transaction() as connection:
                for resolution, limit in limits.items():
                    connection.execute(f"DELETE FROM {TABLES[resolution]} WHERE start < ?", [limit])
                    connection.execute("DELETE FROM settings WHERE name = ?", [TABLES[resolution]])
                    connection.execute("INSERT INTO settings VALUES (?, ?)", [TABLES[resolution], limit])
                    self._expired[resolution] = limit
                if DAY in limits:
                    connection.execute("DELETE FROM series WHERE last < ?", [limits[DAY]])
                    self._know({s: k for s, k in self._known.items() if k.last >= limits[DAY]})

    def series(self, metric: str | None = None, **labels: str) -> list[Series]:
        """The series of a metric (of all, if left out) that have these labels, in a fixed order."""
        with self.lock:
            self.catch_up()
            metrics = sorted(self._by_metric) if metric is None else [metric]
            found = [s for name in metrics for s in self._by_metric.get(name, ())]
        for pair in labels.items():
            found = [s for s in found if pair in s.labels]
        return found

    def seen(self, series: Series) -> tuple[int, int] | None:
        """The first and the last minute (epoch seconds) that a series was in: when a version came and went."""
        with self.lock:
            self.catch_up()
            known = self._known.get(series)
            return None if known is None else (known.first, known.last)

    def changed(self, series: Series) -> int:
        """A number that is another one once the series has grown. It begins anew when the tiles are opened."""
        with self.lock:
            self.catch_up()
            known = self._known.get(series)
            return 0 if known is None else known.changed

    def finest(self, start: float) -> int:
        """The finest resolution (60, 3600 or 86400 seconds) still kept at `start`. Windows should not be shorter."""
        with self.lock:
            return next((r for r, gone in self._expired.items() if start >= gone), DAY)

    def kept_from(self, resolution: int) -> int:
        """The moment (epoch seconds) from which tiles of a resolution (60, 3600 or 86400 seconds) are kept."""
        with self.lock:
            return self._expired[resolution]

    def window(self, series: Series, start: float, end: float) -> Vector:
        """The sum over [start, end), epoch seconds; of a gauge or an info the last value. Zeros where there is none."""
        first, stop = ceil(start), ceil(end)
        found = self.windows(series, first, stop, max(MINUTE, stop - first))
        if not len(found.starts):
            return Vector.zero(series)
        return Vector(found.counts[0], found.sums[0])

    def windows(
        self, series: Series, start: float, end: float, step: int, slots: slice | None = None
    ) -> Windows:
        """A series over [start, start + step), [start + step, ...), the last window cut at `end`; epoch seconds.

        A tile belongs to the window that holds its start, so adjoining windows never share or lose a count. `slots`
        takes a part of the counts, and of the sums where there are as many (the columns of a model).

        >>> rows = Series("ml_predictions_total", (("model", "m"),), "counter", 1, 0)
        >>> with Tiles() as tiles:
        ...     tiles.add([Increment(rows, 120, Vector(np.array([5]), np.zeros(0)))])
        ...     tiles.windows(rows, 0, 180, 60).present.tolist()
        [False, False, True]
        """
        return self.windows_many([series], start, end, step, slots)[0]

    def windows_many(
        self, series: Sequence[Series], start: float, end: float, step: int, slots: slice | None = None
    ) -> list[Windows]:
        """`windows` of several series in one read, which is much faster than one by one."""
        frame = Frame.of(start, end, step, slots)
        with self.lock:
            self.catch_up()
            known = {s: k for s in series if (k := self._known.get(s)) is not None}
            ids = {k.id: s for s, k in known.items()}
            cells = self._cells(list(known.values()), frame)
            found = [self._read(r, sorted(ids), starts, slots) for r, starts in cells.items() if len(starts)]
        parts: dict[Series, list[Part]] = {s: [] for s in series}
        for rows in found:
            for low, high in rows.runs(rows.ids):
                parts[ids[int(rows.ids[low])]].append((rows.starts[low:high], *rows.block(low, high)))
        return [frame.windows(s, parts[s]) for s in series]

    def size(self) -> Size:
        """How much is stored."""
        with self.lock:
            self.catch_up()
            rows = {r: self._fetch(f"SELECT count(*) FROM {table}")[0][0] for r, table in TABLES.items()}
            files = [] if self.path is None else [self.path, wal_of(self.path)]
            return Size(sum(f.stat().st_size for f in files if f.exists()), len(self._known), rows)

    def _fetch(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def _arrow(self, query: str, parameters: Sequence[Any] = ()) -> Rows:
        return Rows(self.connection.sql(query, params=list(parameters)).to_arrow_table())

    @contextmanager
    def given(self, table: pa.Table) -> Iterator[None]:
        """An Arrow table, readable in SQL as `given`."""
        self.connection.register("given", table)
        try:
            yield
        finally:
            self.connection.unregister("given")

    def _load(self) -> None:
        """Read what is held in memory beside the file: series, what is dirty, what has expired."""
        settings = dict(self._fetch("SELECT name, value FROM settings"))
        if not settings:
            self.connection.execute("INSERT INTO settings VALUES ('format', ?)", [_FORMAT])
        elif settings.get("format") != _FORMAT:
            raise TilesFileError(
                f"path: {self.path} holds tiles of format {settings.get('format')}, this version reads {_FORMAT}; use "
                "the version of barograph that wrote it, or give another path"
            )
        self._expired = {r: int(settings.get(table, _NEVER)) for r, table in TABLES.items()}
        self._dirty = {HOUR: set(), DAY: set()}
        for resolution, start in self._fetch("SELECT resolution, start FROM dirty"):
            self._dirty[resolution].add(start)
        columns = "metric, labels, kind, counts, sums, id, first, last"
        self._know({
            Series(metric, tuple(sorted(json.loads(labels).items())), kind, counts, sums): _Known(*known)
            for metric, labels, kind, counts, sums, *known in self._fetch(f"SELECT {columns} FROM series")
        })  # fmt: skip

    def _know(self, known: dict[Series, _Known]) -> None:
        """Take these for the series that are stored."""
        self._known, self._by_metric = known, {}
        for series in sorted(known, key=lambda s: s.labels):
            self._by_metric.setdefault(series.metric, []).append(series)

    def _roll_back(self) -> None:
        self.rollbacks += 1
        with suppress(duckdb.TransactionException):  # a commit that failed has rolled back by itself
            self.connection.execute("ROLLBACK")
        self._load()

    def _write(self, batch: Batch) -> None:
        self._note(batch)
        self._writes += 1
        parts: dict[tuple[int, bool], dict[tuple[int, int], Tile]] = {}
        for (resolution, series, start), tile in batch.tiles.items():
            known, counts = self._known[series], tile.counts_change
            changes = counts or tile.changes
            parts.setdefault((resolution, changes), {})[known.id, start] = tile
            if changes:
                known.changed = self._writes
            if counts:
                self.revision = self._writes
        for resolution, table in TABLES.items():
            self._replace(table, parts.get((resolution, True), {}))
            self._ensure(table, parts.get((resolution, False), {}))
        self._soil(HOUR, {start // HOUR * HOUR for r, _, start in batch.tiles if r == MINUTE})
        self._soil(DAY, {start // DAY * DAY for r, _, start in batch.tiles if r < DAY})

    def _note(self, batch: Batch) -> None:
        """Know the series of a batch, and when they were first and last seen."""
        new: list[tuple[int, Series, int, int]] = []
        moved: list[_Known] = []
        for series, (first, last) in batch.spans.items():
            known = self._known.get(series)
            if known is None:
                free = new[-1][0] + 1 if new else 1 + max((k.id for k in self._known.values()), default=0)
                self._known[series] = _Known(free, first, last)
                insort(self._by_metric.setdefault(series.metric, []), series, key=lambda s: s.labels)
                new.append((free, series, first, last))
            elif first < known.first or last > known.last:
                known.first, known.last = min(first, known.first), max(last, known.last)
                moved.append(known)
        if new:
            self.revision = self._writes + 1
            with self.given(series_table(new)):
                self.connection.execute("INSERT INTO series SELECT * FROM given")
        if moved:
            with self.given(pa.table({n: [getattr(k, n) for k in moved] for n in ("id", "first", "last")})):
                self.connection.execute(
                    "UPDATE series SET first = given.first, last = given.last FROM given WHERE series.id = given.id"
                )

    def _replace(self, table: str, tiles: dict[tuple[int, int], Tile]) -> None:
        """Store tiles, each put together with the one of its key."""
        if not tiles:
            return
        with self.given(key_table(list(tiles))):
            stored = self._arrow(
                f"DELETE FROM {table} AS t USING given AS g WHERE t.series = g.series AND t.start = g.start "
                f"AND {_near(tiles)} RETURNING t.series, t.start, t.counts, t.sums"
            )
        for key, counts, sums in stored.each():
            tiles[key].absorb(counts, sums)
        self._insert(table, [(*key, tile.counts, tile.sums) for key, tile in tiles.items()])

    def _ensure(self, table: str, tiles: dict[tuple[int, int], Tile]) -> None:
        """Store tiles of zeros where there is none: a quiet minute is not a gap. A stored one is not even read."""
        if not tiles:
            return
        with self.given(key_table(list(tiles))):
            stored = set(self._fetch(
                f"SELECT t.series, t.start FROM {table} AS t SEMI JOIN given AS g "
                f"ON t.series = g.series AND t.start = g.start WHERE {_near(tiles)}"
            ))  # fmt: skip
        self._insert(table, [(*key, t.counts, t.sums) for key, t in tiles.items() if key not in stored])

    def _insert(self, table: str, rows: Sequence[Row]) -> None:
        if rows:
            with self.given(tile_table(rows)):
                self.connection.execute(f"INSERT INTO {table} SELECT * FROM given")

    def _soil(self, resolution: int, starts: set[int]) -> None:
        """Mark hours or days to be computed anew."""
        new = sorted(starts - self._dirty[resolution])
        if new:
            with self.given(pa.table({"resolution": [resolution] * len(new), "start": new})):
                self.connection.execute("INSERT INTO dirty SELECT * FROM given")
            self._dirty[resolution].update(new)

    def _pieces(self, finer: int, resolution: int, now: float) -> list[list[int]]:
        """The closed dirty tiles, in pieces that fit into memory."""
        with self.lock:
            closed = sorted(start for start in self._dirty[resolution] if start + resolution <= now)
            if not closed:
                return []
            widths = {k.id: s.counts + s.sums for s, k in self._known.items()}
            with self.given(pa.table({"id": list(widths), "width": list(widths.values())})):
                sizes = dict(self._fetch(
                    f"SELECT {_floor(resolution)} AS tile, sum(width)::BIGINT FROM {TABLES[finer]} "
                    f"JOIN given ON id = series WHERE start >= {closed[0]} AND start < {closed[-1] + resolution} "
                    "GROUP BY tile"
                ))  # fmt: skip
        pieces: list[list[int]] = [[]]
        room = _CHUNK
        for start in closed:
            if pieces[-1] and sizes.get(start, 0) > room:
                pieces.append([])
                room = _CHUNK
            pieces[-1].append(start)
            room -= sizes.get(start, 0)
        return pieces

    def _recompute(self, finer: int, resolution: int, starts: Sequence[int]) -> None:
        """Compute tiles from finer ones: their sum, or the last of a gauge's. Doing it twice changes nothing."""
        within = f"IN ({', '.join(map(str, starts))})"
        query = (
            f"SELECT series, start, counts, sums FROM {TABLES[finer]} "
            f"WHERE start >= ? AND start < ? AND {_floor(resolution)} {within}"
        )
        coarser = Coarser(resolution, [k.id for s, k in self._known.items() if s.kind not in ADDITIVE])
        bounds = [starts[0], starts[-1] + resolution]
        for batch in self.connection.sql(query, params=bounds).to_arrow_reader(_TOGETHER):
            coarser.add(Rows(pa.Table.from_batches([batch])))
        self.connection.execute(f"DELETE FROM {TABLES[resolution]} WHERE start {within}")
        self._insert(TABLES[resolution], coarser.rows())
        self.connection.execute(f"DELETE FROM dirty WHERE resolution = {resolution} AND start {within}")
        self._dirty[resolution].difference_update(starts)
        if resolution == HOUR:
            self._soil(DAY, {start // DAY * DAY for start in starts})

    def _cells(self, known: Sequence[_Known], frame: Frame) -> dict[int, np.ndarray]:
        """Which tiles answer the windows: starts by resolution, no moment covered twice."""
        if not known:
            return {}
        low = max(frame.start, min(k.first for k in known) // DAY * DAY)
        high = min(frame.end, max(k.last for k in known) + 1)
        free = np.arange(low // HOUR * HOUR, high, HOUR)  # hours that no coarser tile covers
        cells = {}
        for resolution, finer in ((DAY, HOUR), (HOUR, MINUTE)):
            tiles = np.arange(-(-low // resolution) * resolution, high, resolution)
            usable = frame.hold(tiles, resolution) & ~np.isin(tiles, list(self._dirty[resolution]))
            usable |= tiles < self._expired[finer]  # nothing finer is left
            usable &= (tiles >= self._expired[resolution]) & np.isin(tiles, free)
            cells[resolution] = tiles[usable]
            free = free[~np.isin(free // resolution * resolution, cells[resolution])]
        low = max(low, self._expired[MINUTE])
        minutes = (free[free + HOUR > low, None] + np.arange(0, HOUR, MINUTE)).ravel()
        cells[MINUTE] = minutes[(minutes >= low) & (minutes < high)]
        return cells

    def _read(self, resolution: int, ids: Sequence[int], starts: np.ndarray, slots: slice | None) -> Rows:
        """Tiles of the given series and starts, by series and start."""
        low, high = int(starts[0]), int(starts[-1])
        gaps = len(starts) != (high - low) // resolution + 1
        return self._arrow(
            f"SELECT series, start, {_columns(slots)} FROM {TABLES[resolution]} "
            f"WHERE series IN ({', '.join(map(str, ids))}) AND start BETWEEN {low} AND {high} "
            f"{'AND start IN (SELECT unnest(?))' if gaps else ''}",
            [starts.tolist()] if gaps else [],
        ).sort()


def _near(keys: Iterable[tuple[int, int]]) -> str:
    """A condition that lets DuckDB pass over the row groups of other times."""
    starts = [start for _, start in keys]
    return f"t.start BETWEEN {min(starts)} AND {max(starts)}"


def _floor(resolution: int) -> str:
    """The SQL of the tile that holds a start, before 1970 as after."""
    return f"start - ((start % {resolution}) + {resolution}) % {resolution}"


def _columns(slots: slice | None) -> str:
    """The SQL of counts and sums. Sums are sliced where they lie beside the counts, slot by slot."""
    if slots is None:
        return "counts, sums"
    part = f"[{(slots.start or 0) + 1}:{'' if slots.stop is None else slots.stop}]"
    return f"counts{part} AS counts, CASE WHEN len(sums) = len(counts) THEN sums{part} ELSE sums END AS sums"
