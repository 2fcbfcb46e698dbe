"""Keeping a log in order: what ended is compacted, uploaded, set aside or retired.

A kill at any moment neither loses a row nor doubles one. Streams that nobody writes any more become a table, and small tables
a larger one. The table says in its footer whose rows it holds; it is on the disk under its name before anything it replaces is
removed, and what a kill left to be removed is told by that footer, by readers and by the next keeper alike.
"""

import contextlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from barograph.counters.files import flock, unlock
from barograph.logs.appender import MEGABYTE, Limits
from barograph.logs.paths import DAY, KINDS, LOCK, TABLE, Entry, Partition, day_of
from barograph.logs.reading import SOURCES, Catalogue, Head, Part, Rows, claimed, is_damage
from barograph.logs.stores import Local, Store
from barograph.logs.streams import FAILURES, finished
from barograph.logs.types import TEXT
from barograph.logs.union import Union

GROUP_ROWS = 131_072  # of a row group, which is what is read at once
SMALL = 32 * MEGABYTE  # tables below are merged ...
MANY = 8  # ... where a folder has as many
UNFINISHED = 3600.0  # seconds after which a file that was being made is a leftover of a killed process

log = logging.getLogger("barograph")


@dataclass(slots=True)
class Kept:
    """What was done: numbers of files. `damaged` says why files were set aside, by path. `busy`: another process is at it."""

    compacted: int = 0
    uploaded: int = 0
    retired: int = 0
    busy: bool = False
    damaged: dict[str, str] = field(default_factory=dict)


def keep(catalogue: Catalogue, limits: Mapping[str, Limits], now: float, *, everything: bool = True) -> Kept:
    """Put a log in order (see `Log.keep`)."""
    kept = Kept()
    root = catalogue.spool.root
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(root / LOCK) as held:
        if not held:
            kept.busy = True
            return kept
        stores = catalogue.stores if everything else (catalogue.spool,)
        for kind in KINDS:
            for store in dict.fromkeys(stores):
                kept.retired += _retire(store, kind, limits[kind], now)
        _each_folder(catalogue, stores, kept)
        _remove_unfinished(root)
    for path, why in kept.damaged.items():
        log.error(
            "barograph set aside %s, which is damaged (%s); what could be read of it is kept", path, why
        )
    return kept


def _each_folder(catalogue: Catalogue, stores: Sequence[Store], kept: Kept) -> None:
    """Compact and upload folder by folder; one that fails does not keep the others from it."""
    failed: OSError | None = None
    for kind in KINDS:
        for store in dict.fromkeys(stores):
            folders: dict[Partition, list[Entry]] = {}
            for entry in store.entries(kind):
                folders.setdefault(entry.partition, []).append(entry)
            for partition in sorted(folders, key=lambda one: one.path):
                try:
                    _Folder(catalogue, store, partition, folders[partition], kept).compact()
                    if store is catalogue.spool and catalogue.remote is not None:
                        _upload(catalogue.spool, catalogue.remote, partition, kept)
                except OSError as error:
                    failed = failed or error
    if failed is not None:
        raise failed


class _Folder:
    """One folder of the spool or of the object store, while it is compacted."""

    def __init__(
        self, catalogue: Catalogue, store: Store, partition: Partition, entries: Sequence[Entry], kept: Kept
    ) -> None:
        self._catalogue, self._store, self._partition, self._kept = catalogue, store, partition, kept
        self._entries = entries

    def compact(self) -> None:
        """Remove what a table has replaced already, and replace what is ready to be."""
        files = self._readable()
        parts = claimed(files)
        needed = {part.entry.name for part in parts}
        for _, entry, _ in files:
            if entry.name not in needed:
                self._store.remove(entry)
        chosen = sorted(self._chosen(parts), key=lambda part: part.entry.order)
        if chosen:
            self._replace(chosen)

    def _readable(self) -> list[tuple[Store, Entry, Head]]:
        """The files that nobody writes any more. A local one that is damaged from its start is set aside."""
        found = []
        for entry in self._entries:
            if entry.streamed and not self._over(entry):
                continue
            try:
                found.append((self._store, entry, self._catalogue.head(self._store, entry)))
            except FileNotFoundError:
                continue
            except FAILURES as error:
                if not is_damage(error, self._store):
                    raise
                self._set_aside(entry, str(error) or repr(error))
        return found

    def _over(self, entry: Entry) -> bool:
        try:
            return finished(self._catalogue.spool.path(entry))
        except FileNotFoundError:
            return False

    def _chosen(self, parts: Sequence[Part]) -> list[Part]:
        streams = [part for part in parts if part.entry.streamed]
        small = [
            part
            for part in parts
            if not part.entry.streamed
            and part.entry.size < SMALL
            and part.entry.path not in self._catalogue.damaged
        ]
        return [*small, *streams] if len(small) + bool(streams) > MANY else streams

    def _replace(self, parts: Sequence[Part]) -> None:
        """Make one table of some files, then remove these. The steps must stay in this order."""
        spool = self._catalogue.spool
        entry = Entry(
            self._partition, f"{parts[0].entry.stem.partition('.')[0]}.{secrets.token_hex(4)}{TABLE}", 0
        )
        hidden = spool.path(entry).with_name(f".{entry.name}")
        hidden.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rows = Rows(spool)
        try:
            written = _write_table(hidden, self._partition, parts, rows)
            tables = {part.entry.path for part in parts if not part.entry.streamed}
            if spoilt := tables & rows.damaged.keys():  # its rows cannot be counted: it stays as it is
                self._catalogue.damaged.update(spoilt)
                return
            if written:
                self._store.put(hidden, entry)
        finally:
            hidden.unlink(missing_ok=True)
            if not isinstance(self._store, Local):
                spool.remove(entry)  # the folder was made for this alone
        for part in parts:
            if part.entry.path in rows.damaged:
                self._set_aside(part.entry, rows.damaged[part.entry.path])
            else:
                self._store.remove(part.entry)
        self._kept.compacted += len(parts)

    def _set_aside(self, entry: Entry, why: str) -> None:
        if isinstance(self._store, Local):  # in an object store it may be another process's upload under way
            self._store.set_aside(entry)
            self._kept.damaged[entry.path] = why


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """How tables are written: ids and times as differences, which are smaller and read in a third of the time."""
    words = [field.name for field in schema if field.type == TEXT and field.name != "id"]
    encodings = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_timestamp(field.type)}
    encodings |= {field.name: "DELTA_LENGTH_BYTE_ARRAY" for field in schema if field.name == "id"}
    return {
        "compression": "zstd",
        "use_dictionary": words,
        "column_encoding": encodings,
        "write_page_checksum": True,
    }


def _write_table(path: Path, partition: Partition, parts: Sequence[Part], rows: Rows) -> bool:
    """Write the rows of some files as a table; False, and no table, where there are none."""
    union = Union(partition.kind, (part.head.schema for part in parts))
    columns = union.columns(union.stored)
    batches = (
        union.table(batch, columns, partition)
        for part in parts
        for batches in rows.of(part, union.needed(part.head.schema, columns))
        for batch in batches
    )
    first = next(batches, None)
    if first is None:
        return False
    with pq.ParquetWriter(path, first.schema, **parquet_options(first.schema)) as writer:
        for group in _grouped(first, batches):
            writer.write_table(group, row_group_size=GROUP_ROWS)
        sources = [[stem, position.rows] for stem, position in rows.positions.items()]
        writer.add_key_value_metadata({SOURCES: json.dumps(sources).encode()})
    return True


def _grouped(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables of some GROUP_ROWS rows, of which none but the last has fewer."""
    held, n = [first], first.num_rows
    for table in rest:
        held.append(table)
        n += table.num_rows
        if n >= GROUP_ROWS:
            whole = pa.concat_tables(held)
            full = n - n % GROUP_ROWS
            yield whole.slice(0, full)
            held, n = [whole.slice(full)], n - full
    if n:
        yield pa.concat_tables(held)


def _upload(spool: Local, remote: Store, partition: Partition, kept: Kept) -> None:
    """Move the tables of a folder to the object store. A table may be put there twice, under one name."""
    entries = [
        entry for entry in spool.entries(partition.kind, partition.model) if entry.partition == partition
    ]
    for entry in entries:
        if not entry.streamed:
            remote.put(spool.path(entry), entry)
            spool.remove(entry)
            kept.uploaded += 1


def _retire(store: Store, kind: str, limits: Limits, now: float) -> int:
    """Remove days that are over, then the oldest files of a model that has too many bytes. Never what is being written."""
    oldest = "" if limits.days is None else day_of(now - limits.days * DAY)
    models: dict[str, list[Entry]] = {}
    gone = []
    for entry in sorted(store.entries(kind), key=lambda one: one.order):
        if entry.partition.day < oldest:
            gone.append(entry)
        else:
            models.setdefault(entry.partition.model, []).append(entry)
    for model, entries in models.items():
        total = sum(entry.size for entry in entries)
        for entry in entries:
            if limits.bytes is None or total <= limits.bytes:
                break
            if not (isinstance(store, Local) and entry.streamed and not finished(store.path(entry))):
                log.warning("barograph removes %s: the log of %s is above its limit", entry.path, model)
                gone.append(entry)
                total -= entry.size
    for entry in gone:
        store.remove(entry)
    if isinstance(store, Local):
        _remove_days(store.root / kind, oldest)
    return len(gone)


def _remove_days(folder: Path, oldest: str) -> None:
    """Remove what else lies in folders of days that are over: what was set aside."""
    for path in folder.glob("model=*/day=*"):
        if path.name.removeprefix("day=") < oldest:
            shutil.rmtree(path, ignore_errors=True)


def _remove_unfinished(root: Path) -> None:
    for path in root.glob("*/model=*/**/.*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > UNFINISHED:
                path.unlink()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold the log's lock; yields False where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield flock(descriptor, exclusive=True)
    finally:
        unlock(descriptor)  # a child that was forked meanwhile holds it too
        os.close(descriptor)
