"""Reading a log while it is written and compacted: every row once, only the columns that are wanted.

A stream whose rows a table holds is read from the table, so it does not matter in which order compaction makes the one and
removes the other. Folders are listed twice: what one look misses, because it was replaced meanwhile, the other one sees.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from barograph.logs.cursor import Cursor, Position
from barograph.logs.paths import KINDS, Entry
from barograph.logs.stores import Days, Local, Store
from barograph.logs.streams import FAILURES, StreamReader, finished
from barograph.logs.union import Union

SOURCES = b"barograph.sources"  # in a table's footer: [[stem, rows], ...], in the order of its rows
MOST_ROWS = 65_536  # rows of streams that are handed out as one table, up to the batch that exceeds them

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says about itself; `sources` are (stem, rows) of the streams in a table, None for a stream."""

    schema: pa.Schema
    sources: tuple[tuple[str, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A file and what is to be read from it: (stem, first row, rows) of each stream that no other file answers for."""

    store: Store
    entry: Entry
    head: Head
    streams: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Range:
    """Rows of a table that are one stream's, from `first`, and to be read from `begin` to `end`."""

    stem: str
    first: int
    begin: int
    end: int


class Catalogue:
    """The files of a log, and what they say about themselves, which is read once."""

    def __init__(self, spool: Local, remote: Store | None) -> None:
        self.spool, self.remote = spool, remote
        self.stores: tuple[Store, ...] = (spool, spool) if remote is None else (spool, remote)
        self.damaged: set[str] = set()  # tables of which a part cannot be read: they are left as they are
        self._heads: dict[tuple[int, str, int], Head] = {}

    def parts(
        self, kind: str, model: str | None, days: Days = (None, None)
    ) -> tuple[list[Part], dict[str, str]]:
        """What is to be read, each stream once, in order; and why files cannot be, by path."""
        found: dict[tuple[int, str], tuple[Store, Entry]] = {}
        for store in self.stores:
            for entry in store.entries(kind, model, days):
                found[id(store), entry.path] = store, entry
        heads: list[tuple[Store, Entry, Head]] = []
        damaged: dict[str, str] = {}
        for store, entry in found.values():
            try:
                heads.append((store, entry, self.head(store, entry)))
            except FAILURES as error:
                if not is_damage(error, store):
                    raise
                damaged[entry.path] = str(error) or repr(error)
        return claimed(heads), damaged

    def head(self, store: Store, entry: Entry) -> Head:
        """What a file says about itself."""
        key = id(store), entry.path, 0 if entry.streamed else entry.size
        if key not in self._heads:
            if len(self._heads) > 50_000:
                self._heads.clear()
            self._heads[key] = self._read_head(store, entry)
        return self._heads[key]

    def _read_head(self, store: Store, entry: Entry) -> Head:
        if entry.streamed:
            with StreamReader(self.spool.path(entry)) as reader:
                return Head(reader.schema)
        with store.table(entry) as table:
            said = (table.metadata.metadata or {}).get(
                SOURCES
            )  # a table that others laid there is a source of its own
            sources = [(entry.stem, table.metadata.num_rows)] if said is None else json.loads(said)
            return Head(table.schema_arrow, tuple((str(stem), int(rows)) for stem, rows in sources))


def claimed(files: Iterable[tuple[Store, Entry, Head]]) -> list[Part]:
    """Each stream from the file that holds most streams: tables before the tables and streams that they were made of."""
    parts, taken = [], set[str]()
    by_size = sorted(files, key=lambda one: (-len(one[2].sources or ()), one[1].streamed, one[1].order))
    for store, entry, head in by_size:
        at, streams = 0, []
        for stem, rows in head.sources or ((entry.stem, -1),):
            if stem not in taken:
                taken.add(stem)
                streams.append((stem, at, rows))
            at += rows
        if streams:
            parts.append(Part(store, entry, head, tuple(streams)))
    return sorted(parts, key=lambda part: part.entry.order)


class Rows:
    """What is read, and how far: `positions` by stream, in the order in which they were begun; `damaged` by path."""

    def __init__(self, spool: Local, positions: Mapping[str, Position] | None = None) -> None:
        self.positions = dict(positions or {})
        self.damaged: dict[str, str] = {}
        self._spool = spool

    def of(self, part: Part, columns: Sequence[str]) -> Iterator[list[pa.RecordBatch]]:
        """Batches of a part that have not been read, with these columns of its file. `positions` is behind each."""
        return self._stream(part, columns) if part.entry.streamed else self._table(part, columns)

    def _stream(self, part: Part, columns: Sequence[str]) -> Iterator[list[pa.RecordBatch]]:
        path, stem = self._spool.path(part.entry), part.entry.stem
        whole = finished(path)
        position = self.positions.get(stem, Position(part.entry.partition.day))
        held: list[pa.RecordBatch] = []
        with StreamReader(path) as reader:
            for piece in reader.pieces(columns, position.offset, recover=whole):
                if piece.skipped is not None:
                    self.damaged[part.entry.path] = piece.skipped
                held.append(piece.batch)
                position = replace(position, rows=position.rows + piece.batch.num_rows, offset=piece.offset)
                if sum(batch.num_rows for batch in held) >= MOST_ROWS:
                    self.positions[stem] = position
                    yield held
                    held = []
            if whole and reader.left is not None:
                self.damaged[part.entry.path] = reader.left
        if held:
            self.positions[stem] = position
            yield held

    def _table(self, part: Part, columns: Sequence[str]) -> Iterator[list[pa.RecordBatch]]:
        day = part.entry.partition.day
        todo = []
        for stem, first, rows in part.streams:
            done = self.positions.get(stem, Position(day)).rows
            if done < rows:
                todo.append(_Range(stem, first, first + done, first + rows))
        if not todo:
            return
        with part.store.table(part.entry) as table:
            for low, group in _groups(table, todo):
                try:
                    rows = table.read_row_group(
                        group, columns=_filled(table.metadata.row_group(group), columns)
                    )
                except FAILURES as error:
                    if not is_damage(error, part.store):
                        raise
                    self.damaged[part.entry.path] = f"row group {group}: {error}"
                    continue
                yield from self._slices(rows, low, todo, day)

    def _slices(
        self, rows: pa.Table, low: int, todo: Iterable["_Range"], day: str
    ) -> Iterator[list[pa.RecordBatch]]:
        """What of a row group that begins at row `low` is still to be read."""
        for one in todo:
            begin, end = max(one.begin, low), min(one.end, low + rows.num_rows)
            if begin < end:
                self.positions[one.stem] = Position(day, end - one.first)
                yield rows.slice(begin - low, end - begin).to_batches()


class Reading:
    """Tables of a log's rows that `since` has not read. `cursor` is where the next reading goes on after the last table.

    `damaged` says, by path, what could not be read and why: all else was.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        kind: str,
        model: str,
        columns: Sequence[str] | None,
        since: Cursor,
        days: Days,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind: {kind!r} is no log; give one of {', '.join(KINDS)}")
        self.cursor, self.damaged = since, dict[str, str]()
        self._catalogue, self._what, self._wanted = catalogue, (kind, model, days), columns
        self._rows = Rows(catalogue.spool, since.positions)
        self._tables = self._read()

    def __iter__(self) -> "Reading":
        return self

    def __next__(self) -> pa.Table:
        return next(self._tables)

    def _read(self) -> Iterator[pa.Table]:
        for attempt in range(_ATTEMPTS):
            try:
                yield from self._pass()
                return
            except FileNotFoundError:  # compacted or retired between listing and reading: look again
                if attempt == _ATTEMPTS - 1:
                    raise

    def _pass(self) -> Iterator[pa.Table]:
        kind, model, days = self._what
        rows = self._rows
        parts, rows.damaged = self._catalogue.parts(kind, model, days)
        self.damaged = rows.damaged
        union = Union(kind, (part.head.schema for part in parts))
        columns = union.columns(self._wanted)
        for part in parts:
            for batches in rows.of(part, union.needed(part.head.schema, columns)):
                tables = [union.table(batch, columns, part.entry.partition) for batch in batches]
                self.cursor = Cursor(dict(rows.positions))
                yield pa.concat_tables(tables)
        if days == (None, None):
            self.cursor = self.cursor.kept(min((part.entry.partition.day for part in parts), default=None))


def _groups(table: pq.ParquetFile, todo: Sequence["_Range"]) -> Iterator[tuple[int, int]]:
    """First row and number of each row group that holds rows to be read."""
    low = 0
    for group in range(table.metadata.num_row_groups):
        high = low + table.metadata.row_group(group).num_rows
        if any(one.begin < high and low < one.end for one in todo):
            yield low, group
        low = high


def _filled(group: pq.RowGroupMetaData, columns: Sequence[str]) -> list[str]:
    """The columns that have any value in a row group, as it says itself, for decoding the others costs as much; at least one."""
    chunks = map(group.column, range(group.num_columns))
    empty = {
        chunk.path_in_schema
        for chunk in chunks
        if (said := chunk.statistics) is not None
        and said.has_null_count
        and said.null_count == group.num_rows
    }
    return [name for name in columns if name not in empty] or list(columns[:1])


def is_damage(error: BaseException, store: Store) -> bool:
    """Whether a failure to read lies in the file: then the rest is read. What an object store refuses may come another time."""
    if isinstance(error, FileNotFoundError):
        return False
    if isinstance(store, Local):
        return True
    return type(error) in (OSError, pa.ArrowInvalid) and not getattr(error, "errno", None)
