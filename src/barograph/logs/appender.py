"""The newest stream of one kind, model, version and bins in this process; rotated by time, size, day and columns."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from barograph.logs.paths import Partition
from barograph.logs.stores import Local
from barograph.logs.streams import Stream

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a log is kept and how large it may grow, for each model.

    A stream is rotated after `rotate_seconds` and at `rotate_bytes`; days older than `days` are removed, and the oldest files
    while there are more than `bytes`. None is no limit.
    """

    days: float | None = 90.0
    bytes: int | None = 20_480 * MEGABYTE
    rotate_seconds: float = 900.0
    rotate_bytes: int = 64 * MEGABYTE


class Appender:
    """Appends batches, from any thread. A forked child begins a stream of its own."""

    def __init__(
        self,
        spool: Local,
        partition: Callable[[str], Partition],
        limits: Limits,
        *,
        durable: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool, self._partition, self._limits, self._durable = spool, partition, limits, durable
        self._monotonic = monotonic
        self._stream: Stream | None = None
        self._day, self._began = "", 0.0
        self._pid, self._lock = os.getpid(), threading.Lock()

    def append(self, batch: pa.RecordBatch, day: str) -> None:
        """Hand a batch to the operating system, or, if the log is durable, to the disk. OSError where that fails."""
        if self._pid != os.getpid():
            self._fresh()
        with self._lock:
            stream = self._ready(batch.schema, day)
            try:
                stream.append(batch)
                if self._durable:
                    stream.sync()
            finally:
                if stream.broken:
                    self._close()

    def tend(self) -> None:
        """Close a stream whose time is over. Without rows nobody else does."""
        if self._pid == os.getpid():
            with self._lock:
                if self._stream is not None and self._over(self._stream):
                    self._close()

    def close(self) -> None:
        """Close the stream; the next row begins another."""
        if self._pid == os.getpid():
            with self._lock:
                self._close()

    def _ready(self, schema: pa.Schema, day: str) -> Stream:
        stream = self._stream
        if stream is not None and not self._fits(stream, schema, day):
            self._close()
            stream = None
        if stream is None:
            folder = self._spool.root / self._partition(day).path
            stream = self._stream = Stream(folder, schema, durable=self._durable)
            self._day, self._began = day, self._monotonic()
        return stream

    def _fits(self, stream: Stream, schema: pa.Schema, day: str) -> bool:
        return (
            day == self._day and schema.equals(stream.schema) and not self._over(stream) and not stream.gone
        )

    def _over(self, stream: Stream) -> bool:
        age = self._monotonic() - self._began
        return age >= self._limits.rotate_seconds or stream.size >= self._limits.rotate_bytes

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _fresh(self) -> None:
        """Begin anew in a forked child: the stream is the parent's, and the lock may be held by a thread that stayed there."""
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._close()
