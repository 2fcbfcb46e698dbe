"""The feedback log: labels, acknowledged when they are on the disk.

Those who wait are served together: one of them writes and syncs for all. A commit begins at once if none has begun for
10 ms, or if as many wait as the last one served (nobody is known to be on the way); else it waits for more.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from barograph.clock import Clock
from barograph.logs.appender import Appender
from barograph.logs.log import Log
from barograph.logs.paths import Partition, day_of
from barograph.logs.types import FEEDBACK_COLUMNS, TEXT, TIME, converted, epoch_times, texts

INTERVAL = 0.010  # seconds between commits in which more may come

_SCHEMA = pa.schema(list(FEEDBACK_COLUMNS.items()))


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became known of a prediction: its label, a number (True is 1) or a text.

    `time` is when it became true, in epoch seconds (None: when it arrived); `kind` tells several labels of a prediction apart.
    """

    model: str
    id: str
    label: float | str | None
    time: float | None = None
    kind: str | None = None


@dataclass(eq=False, slots=True)
class _Waiting:
    """Rows of one caller, or a batch of them by model, and what became of them."""

    rows: Sequence[Feedback]
    columns: Mapping[str, pa.RecordBatch] = field(default_factory=dict)
    done: bool = False
    error: BaseException | None = None


class FeedbackLog:
    """Logs labels of any model, from any thread. What has returned survives the process and the machine."""

    def __init__(
        self,
        place: Log,
        *,
        clock: Clock | None = None,
        interval: float = INTERVAL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._clock, self._interval, self._monotonic = (
            place,
            clock or Clock(),
            interval,
            monotonic,
        )
        self._fresh()

    def append(self, rows: Sequence[Feedback]) -> None:
        """Return when all rows are on the disk. After an OSError (disk full, not writable) some may be: give all again.

        A label given twice does no harm, the last one counts. ValueError for a row without a model.

        >>> import tempfile
        >>> place = Log(tempfile.mkdtemp())
        >>> with FeedbackLog(place) as feedback:
        ...     feedback.append([Feedback("m", "b41f", True), Feedback("m", "b420", "late", time=0.5)])
        >>> next(place.read("feedback", "m", ["id", "label", "label_text"])).to_pylist()[1]
        {'id': 'b420', 'label': None, 'label_text': 'late'}
        """
        for row in rows:
            if not row.model:
                raise ValueError(
                    f"rows: feedback on {row.id!r} names no model; give the model that predicted it"
                )
        if rows:
            self._wait(_Waiting(rows))

    def append_columns(self, model: str, columns: Mapping[str, Any], n: int) -> None:
        """The same for n labels of one model by column: `id` and `label`, and if known `time` and `kind`."""
        if not model:
            raise ValueError("model: is empty; give the model that predicted these")
        if n:
            self._wait(_Waiting((), {model: self._batch(model, columns, n)}))

    def tend(self) -> None:
        """Close files whose time is over: to be called now and then where labels may stay away."""
        for appender in list(self._appenders.values()):
            appender.tend()

    def close(self) -> None:
        """Close all files."""
        for appender in list(self._appenders.values()):
            appender.close()

    def __enter__(self) -> "FeedbackLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fresh(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._queue: list[_Waiting] = []
        self._committing, self._began, self._served = False, -self._interval, 0
        self._appenders: dict[str, Appender] = getattr(self, "_appenders", {})  # they know by themselves

    # Committing.

    def _wait(self, mine: _Waiting) -> None:
        if (
            self._pid != os.getpid()
        ):  # in a forked child a thread of the parent may hold what it never gives back
            self._fresh()
        with self._changed:
            self._queue.append(mine)
            if self._committing:
                self._changed.notify_all()  # whoever gathers may have enough
            while not mine.done and self._committing:
                self._changed.wait()
            if not mine.done:
                self._lead()
        if mine.error is not None:
            raise mine.error

    def _lead(self) -> None:
        """Commit for all who wait. Called and left with the lock held, which it gives away meanwhile."""
        self._committing = True
        try:
            self._gather()
            batch, self._queue = self._queue, []
            self._began, self._served = self._monotonic(), len(batch)
            self._changed.release()
            try:
                self._commit(batch)
            finally:
                self._changed.acquire()
                for one in batch:
                    one.done = True
        finally:
            self._committing = False
            self._changed.notify_all()

    def _gather(self) -> None:
        while len(self._queue) < self._served:
            left = self._began + self._interval - self._monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        by_model: dict[str, list[_Waiting]] = {}
        for one in batch:
            for model in dict.fromkeys([*one.columns, *(row.model for row in one.rows)]):
                by_model.setdefault(model, []).append(one)
        for model, those in by_model.items():
            try:
                self._write(model, those)
            except BaseException as error:  # noqa: BLE001 (it is raised in each that waits for it)
                for one in those:
                    one.error = error

    def _write(self, model: str, those: Iterable[_Waiting]) -> None:
        rows = [row for one in those for row in one.rows if row.model == model]
        batches = [one.columns[model] for one in those if model in one.columns]
        if rows:
            named = {name: [getattr(row, name) for row in rows] for name in ("id", "label", "time", "kind")}
            batches.append(self._batch(model, named, len(rows)))
        whole = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        self._appender(model).append(whole, day_of(self._clock.now()))

    def _batch(self, model: str, columns: Mapping[str, Any], n: int) -> pa.RecordBatch:
        arrival = epoch_times(np.full(n, self._clock.now()))
        label, text = converted(columns["label"], FEEDBACK_COLUMNS["label"])
        moments = columns.get("time")
        times = arrival if moments is None else converted(moments, TIME)[0].fill_null(arrival[0])
        arrays = {
            "id": texts(columns["id"]),
            "label": label,
            "label_text": pa.nulls(n, TEXT) if text is None else text,
            "time": times,
            "arrival": arrival,
            "kind": texts(columns["kind"]) if columns.get("kind") is not None else pa.nulls(n, TEXT),
            "model": pa.repeat(pa.scalar(model, TEXT), n),
        }
        return pa.RecordBatch.from_arrays([arrays[name] for name in FEEDBACK_COLUMNS], schema=_SCHEMA)

    def _appender(self, model: str) -> Appender:
        if model not in self._appenders:
            self._appenders[model] = Appender(
                self._place.spool,
                lambda day: Partition("feedback", model, day),
                self._place.limits["feedback"],
                durable=True,
            )
        return self._appenders[model]
