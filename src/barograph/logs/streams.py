"""Stream files: Arrow IPC that one process appends to and others read meanwhile.

A process is known to write a file as long as it holds the file's lock, which the kernel lets go of however the process ends.
A file appears under its name when its head is in it and its lock is held; a batch is one write, and what a failed write left
of it is cut off. So whoever reads a file finds whole batches, and after them at most a part of one.

A batch's message has a checksum in the padding of its metadata, which other readers of Arrow pass over: what a crash of the
machine made of a file is not mistaken for rows.
"""

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from barograph.counters.files import flock, unlock
from barograph.logs.paths import STREAM, new_stem

END = b"\xff\xff\xff\xff\0\0\0\0"
FAILURES = (
    pa.ArrowException,
    OSError,
    ValueError,
    NotImplementedError,
    EOFError,
)  # what reading a damaged file raises

_MARK = END[:4]
_PREFIX = struct.Struct("<4si")  # the mark, and bytes of metadata
_SUM = 8  # bytes of the checksum, the last of the metadata
_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)  # the other threads answer requests


class Stream:
    """A stream file that this process writes, in `folder`, locked until `close`.

    With `durable` its name outlives a crash of the machine once `sync` has returned. OSError where there is no space.
    """

    def __init__(self, folder: Path, schema: pa.Schema, *, durable: bool = False) -> None:
        self.schema, self.stem, self.broken = schema, new_stem(), False
        self.rows, self.pid, self._head = 0, os.getpid(), schema.serialize()
        self.path, hidden = folder / f"{self.stem}{STREAM}", folder / f".{self.stem}"
        self._file, made = _made(hidden)
        try:
            flock(self._file, exclusive=True)
            self.size = _write(self._file, self._head, 0)
            if durable:
                os.fsync(self._file)
            hidden.rename(self.path)
            if durable:
                for changed in (folder, *made):
                    sync_folder(changed)
        except BaseException:
            os.close(self._file)
            for path in (hidden, self.path):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise

    @property
    def gone(self) -> bool:
        """Whether somebody removed the file: what is appended to it nobody will read."""
        return os.fstat(self._file).st_nlink == 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Hand a batch to the operating system. After an OSError the file holds what it held before, or is `broken`."""
        message = self._message(batch)
        try:
            self.size = _write(self._file, message, self.size)
        except BaseException:
            try:
                os.ftruncate(self._file, self.size)
            except OSError:
                self.broken = True
            raise
        self.rows += batch.num_rows

    def sync(self) -> None:
        """Return when all is on the disk. After an OSError nobody knows what is: the file is `broken`."""
        try:
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        except OSError:
            self.broken = True
            raise

    def close(self) -> None:
        """Say that this is all, where there is space to say it, and let go of the file."""
        if self._file < 0:
            return
        if self.pid == os.getpid():  # in a forked child it is the parent's file
            with contextlib.suppress(OSError):
                if not self.broken:
                    _write(self._file, END, self.size)
            unlock(self._file)  # a child that was forked meanwhile holds it too, as long as it lives
        os.close(self._file)
        self._file = -1

    def _message(self, batch: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        pa.ipc.new_stream(sink, self.schema, options=_LZ4).write_batch(batch)
        message = memoryview(sink.getvalue())[self._head.size :]
        mark, size = _PREFIX.unpack(message[: _PREFIX.size])
        body = _PREFIX.size + size
        parts = (
            _PREFIX.pack(mark, size + _SUM),
            message[_PREFIX.size : body],
            checksum(message),
            message[body:],
        )
        return b"".join(parts)


def checksum(message: memoryview) -> bytes:
    """Of a message without its prefix: the sum of its words, which no zeros and no foreign page leave as it is."""
    total = np.frombuffer(message[_PREFIX.size :], dtype=np.uint64).sum(dtype=np.uint64)
    return int(total).to_bytes(_SUM, "little")


def _write(file: int, data: Any, at: int) -> int:
    """Write all of it at `at`; returns where it ends."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written
    return at


def _made(path: Path) -> tuple[int, list[Path]]:
    """A new file, open, and the folders above its own in which a name is new."""
    for attempt in range(3):
        made = make_folder(path.parent)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), made
        except FileNotFoundError:  # a keeper has just found the folder empty
            if attempt == 2:
                raise
    raise AssertionError


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the folders in which a name is new."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [path.parent for path in missing]


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finished(path: Path) -> bool:
    """Whether nobody writes the file any more. Only its writer ever takes its lock, when the file is made."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not flock(descriptor, exclusive=False):
            return False
        unlock(descriptor)
        return True
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch of a stream: `offset` is the byte after it. `skipped` is why what lay before it could not be read."""

    batch: pa.RecordBatch
    offset: int
    skipped: str | None = None


class StreamReader:
    """Reads a stream file from its start, or from the end of an earlier batch, as far as it is whole.

    `left` says, once all has been read, why what follows could not be; None at a proper end.
    """

    def __init__(self, path: Path) -> None:
        self.left: str | None = None
        self._source = pa.OSFile(str(path), "rb")
        try:
            self.schema = pa.ipc.open_stream(self._source).schema
            self._head = self._source.tell()
        except BaseException:
            self._source.close()
            raise

    def __enter__(self) -> "StreamReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def pieces(
        self, columns: Sequence[str] | None = None, offset: int = 0, *, recover: bool = False
    ) -> Iterator[Piece]:
        """Batches from byte `offset` on, with the named columns only. `recover` looks for whole ones after a damaged one."""
        names = self.schema.names if columns is None else columns
        fields = sorted(self.schema.get_field_index(name) for name in names)
        reader = self._reader(fields)
        at, skipped = max(offset, self._head), None
        while True:
            batch, why = self._next(reader, at)
            if batch is not None:
                at = self._source.tell()
                yield Piece(batch, at, skipped)
                skipped = None
                continue
            if why is None:
                self.left = skipped
                return
            further = self._mark_after(at) if recover else None
            if further is None:
                self.left = skipped or why
                return
            skipped, at = skipped or why, further
            reader = self._reader(fields)  # one that has failed does not read on

    def _reader(self, fields: Sequence[int]) -> Any:
        self._source.seek(0)
        options = pa.ipc.IpcReadOptions(included_fields=list(fields), use_threads=False)
        return pa.ipc.open_stream(self._source, options=options)

    def _next(self, reader: Any, at: int) -> tuple[pa.RecordBatch | None, str | None]:
        """The batch at byte `at`; else why there is none, None at a proper end."""
        self._source.seek(at)
        try:
            batch = reader.read_next_batch()
            return (batch, None) if self._sound(at) else (None, f"at byte {at}: the checksum is another")
        except StopIteration:  # so it is at an end, at an older format's, which is zeros, and at a torn mark
            self._source.seek(at)
            rest = self._source.read(2 * len(END))
            return None, None if rest in (b"", END) else f"no batch at byte {at}"
        except FAILURES as error:
            return None, f"at byte {at}: {str(error).splitlines()[0] if str(error) else error!r}"

    def _sound(self, at: int) -> bool:
        """Whether the message that was just read is what was written. The source is behind it, before and after."""
        end = self._source.tell()
        self._source.seek(at)
        message = memoryview(self._source.read_buffer(end - at))
        body = _PREFIX.size + _PREFIX.unpack(message[: _PREFIX.size])[1]
        own = int.from_bytes(message[body - _SUM : body], "little")
        total = np.frombuffer(message[_PREFIX.size :], dtype=np.uint64).sum(dtype=np.uint64)
        return (int(total) - 2 * own) % (1 << 64) == 0  # its own word is in the total

    def _mark_after(self, at: int) -> int | None:
        """Where the next message may begin: messages are aligned to 8 bytes."""
        at += 8
        if at >= self._source.size():
            return None
        self._source.seek(at)
        rest: bytes = self._source.read()
        found = rest.find(_MARK)
        while found >= 0 and found % 8:
            found = rest.find(_MARK, found + 1)
        return None if found < 0 else at + found
