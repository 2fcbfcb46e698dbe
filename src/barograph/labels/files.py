"""Runs as files: the columns one after the other, each where it can be used as it lies, and at the end what they are.

A file appears under its name when all of it is on the disk, and never changes.
"""

import json
import mmap
import os
import struct
import threading
from collections.abc import Mapping
from concurrent.futures import Executor, Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from barograph.labels.runs import Run, repeated

KEY = "key"
_END = struct.Struct("<Q8s")  # bytes of what says what the columns are, which is JSON; a mark
_MARK = b"BARORUN1"
_PAGE = 4096
_sync = getattr(os, "fdatasync", os.fsync)  # which not every system has


class Unfinished(RuntimeError):
    """A part that is not written because another one could not be made."""


class Writer:
    """Writes a run of up to `most` rows in parts, which may come from any thread; the disk works on `disk` meanwhile.

    Columns have the types `kinds`, but those of `constants` have one value alone. Parts are numbered in the order of their keys.
    """

    def __init__(
        self,
        path: Path,
        most: int,
        kinds: "Mapping[str, np.dtype[Any]]",
        constants: Mapping[str, np.ndarray],
        disk: Executor,
    ) -> None:
        self.rows = 0
        self.path, self._disk = path, disk
        self._scratch = path.with_name(f"{path.name}.part")
        self._constants = {name: (values.dtype.str, values[0].item()) for name, values in constants.items()}
        self._columns: dict[str, tuple[np.dtype[Any], int]] = {}
        self._size = 0
        for name, kind in {KEY: np.dtype(np.uint64), **kinds}.items():
            if name in constants:
                continue
            self._columns[name] = kind, self._size
            self._size += -(-most * kind.itemsize // _PAGE) * _PAGE
        self._turn, self._next, self._failed = threading.Condition(), 0, False
        self._syncing: Future[None] | None = None
        self._file = os.open(self._scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def put(self, part: int, run: Run) -> None:
        """Write a part behind the one before it, which may still have to come."""
        with self._turn:
            self._turn.wait_for(lambda: self._failed or self._next == part)
            if self._failed:
                raise Unfinished("another part could not be made")
            row, self._next = self.rows, part + 1
            self.rows += len(run)
            self._turn.notify_all()
        for name, (kind, begin) in self._columns.items():
            values = run.keys if name == KEY else run.columns[name]
            _write(self._file, np.ascontiguousarray(values, dtype=kind), begin + row * kind.itemsize)
        with self._turn:
            if self._syncing is None or self._syncing.done():
                self._syncing = self._disk.submit(_sync, self._file)

    def fail(self) -> None:
        """Have no part wait for one that does not come."""
        with self._turn:
            self._failed = True
            self._turn.notify_all()

    def finish(self) -> None:
        """Put all of it onto the disk, under its name; nothing where it has no rows."""
        if not self.rows:
            self.discard()
            return
        columns = {name: [kind.str, begin] for name, (kind, begin) in self._columns.items()}
        said = json.dumps({"rows": self.rows, "columns": columns, "constants": self._constants}).encode()
        _write(self._file, np.frombuffer(said + _END.pack(len(said), _MARK), dtype=np.uint8), self._size)
        os.fsync(self._file)
        self._close()
        self._scratch.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Leave nothing of it."""
        self._close()
        for path in (self._scratch, self.path):
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._syncing is not None:
            wait([self._syncing])
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _write(file: int, values: np.ndarray, at: int) -> None:
    left = values.view(np.uint8).data
    while len(left):
        done = os.pwrite(file, left, at)
        left, at = left[done:], at + done


def load(path: Path) -> Run:
    """Read a run where it lies: of its columns only what is looked at comes into memory. ValueError for another file."""
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    size, mark = _END.unpack_from(held, len(held) - _END.size)
    if mark != _MARK:
        raise ValueError(
            f"{path} is no run of labels or predictions; remove the folder and the tiles beside it"
        )
    said = json.loads(held[-_END.size - size : -_END.size])
    columns = {
        name: np.frombuffer(held, dtype=kind, count=said["rows"], offset=begin)
        for name, (kind, begin) in said["columns"].items()
    }
    for name, (kind, value) in said["constants"].items():
        columns[name] = repeated(np.array(value, dtype=kind), said["rows"])
    return Run(columns.pop(KEY), columns)
