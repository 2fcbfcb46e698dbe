"""From recorded rows to the prediction log, and from labels to the feedback log: what the join later puts together."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from itertools import repeat
from operator import itemgetter
from time import monotonic
from typing import Any

from barograph import frames
from barograph.clock import Clock
from barograph.layout import Layout
from barograph.logs import Feedback, FeedbackLog, Keeper, Log, PredictionLog
from barograph.logs.keeper import Tended
from barograph.logs.running import Running, left_over
from barograph.rows import Row, as_record, is_batch

log = logging.getLogger("barograph")

MOST_LABELS = 65_536  # that wait to be written
TOGETHER = 4_096  # rows that become columns at once: bounds how long requests wait for it
EVERY = 60.0  # seconds between two looks at whether the time of a file is over


class Journal:
    """Writes what one version of a model was asked and answered, and what became known of it later.

    `add` takes what the request path left behind, `write` hands it to the operating system; both are the flusher's. `lost(rows)`
    is told of rows that could not be logged, and of those that a process before this one took along when it was killed: `took`
    and `took_batch` count rows as they are taken, so that it is known.
    `segments` are features whose values are segments of the rows.
    """

    def __init__(
        self,
        place: Log,
        model: str,
        version: str,
        layout: Layout,
        *,
        segments: Sequence[str] = (),
        clock: Clock,
        lost: Callable[[int], None],
    ) -> None:
        self._model, self._layout, self._segments, self._lost = model, layout, tuple(segments), lost
        schema = layout.schema if layout.features else None
        self._heuristics = [column.name for column in layout.schema.columns if column.role == "heuristic"]
        self._predictions = PredictionLog(
            place, model, version, layout.bins.id, schema=schema, clock=clock, lost=lambda rows, _: lost(rows)
        )
        self._feedback = FeedbackLog(place, clock=clock)
        # What lies on this machine is kept in order by the evaluator; what must leave it, nobody else can upload.
        logs: list[Tended] = [self._predictions, self._feedback]
        self._keeper = None if place.remote is None else Keeper(place, logs, clock=clock, whole=False)
        self._tend_at = monotonic() + EVERY
        self._running, self._killed = self._follow(place)
        self.took = _nothing if self._running is None else self._running.took
        self._rows: list[Row] = []
        self._labels: deque[Feedback] = deque()

    def _follow(self, place: Log) -> tuple[Running | None, int]:
        """The file that outlives this process if it is killed, and how many rows were lost with those before it, at most."""
        try:
            killed = left_over(place.spool.root, self._model)
            for rows in killed:
                log.warning(
                    "a process of %s was killed: %d rows that it had not logged yet are lost, at most",
                    self._model,
                    rows,
                )
            return Running(place.spool.root, self._model), sum(killed)
        except OSError as error:  # the log tells of it when it is written
            log.debug("rows that a kill loses will not be counted", exc_info=error)
            return None, 0

    def took_batch(self, rows: int) -> None:
        """So many rows were taken at once; see `took`."""
        if self._running is not None:
            self._running.took_batch(rows)

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take rows (the fields of `Row`) until they are written."""
        self._rows += (Row(*row) for row in rows)

    def tell(self, id: str, label: Any, time: Any, kind: str | None) -> bool:
        """Take a label until it is written; False where too many wait already. ValueError where it is none."""
        told = Feedback(self._model, *_label(id, label), _moment(time), kind)
        if len(self._labels) >= MOST_LABELS:
            return False
        self._labels.append(told)
        return True

    def store(self, labels: Iterable[tuple[str, float | str, float | None, str | None]]) -> None:
        """Write labels (id, label, time, kind) to the disk now; OSError where that fails, and then all are to be given again."""
        self._feedback.append([Feedback(self._model, *label) for label in labels])

    def write(self) -> None:
        """Hand all rows to the operating system, and all labels to the disk; OSError where these could not, and wait."""
        rows, self._rows = self._rows, []
        singles: list[Row] = []
        batches: list[Row] = []
        for row in rows:
            (batches if is_batch(row.features) else singles).append(row)
        sizes = [frames.length(row.features) for row in batches]
        self._tell_killed()
        for first in range(0, len(singles), TOGETHER):
            some = singles[first : first + TOGETHER]
            self._try(self._write_singles, some, len(some))
        for row, size in zip(batches, sizes, strict=True):
            self._try(self._write_batch, row, size)
        self._write_labels()
        if monotonic() >= self._tend_at:
            self._tend_at = monotonic() + EVERY
            self._predictions.tend()
            self._feedback.tend()

    def _tell_killed(self) -> None:
        """Say, the first time, how many rows were lost with processes that were killed."""
        killed, self._killed = self._killed, 0
        if killed:
            self._lost(killed)

    def _try(self, write: Callable[[Any], None], what: Any, rows: int) -> None:
        try:
            write(what)
        except Exception as error:  # values of the caller's own types
            log.debug("rows could not be logged", exc_info=error)
            self._lost(rows)
        if self._running is not None:
            self._running.done(rows)

    def _write_singles(self, rows: Sequence[Row]) -> None:
        columns = Row(*zip(*rows, strict=True))
        records = [as_record(self._layout, row) or {} for row in columns.features]
        computed = [name for name in self._heuristics if any(name in record for record in records)]
        features = _by_column(
            records, [*self._layout.features, *computed] if computed else self._layout.features
        )
        self._append(columns, len(rows), features, _given_segments(columns))

    def _write_batch(self, row: Row) -> None:
        data = frames.table(row.features, self._layout.features)
        features = {name: _plain(values) for name, values in data.columns.items()}
        given = (row.score, row.prediction, row.id, row.time, row.delivered, row.rule)
        score, prediction, ids, times, delivered, rule = (_each(values, data.rows) for values in given)
        segments = row.segments if isinstance(row.segments, Mapping) else {}
        columns = Row(None, score, prediction, ids, times, None, delivered, rule, None)
        self._append(columns, data.rows, features, {k: _each(v, data.rows) for k, v in segments.items()})

    def _append(self, columns: Row, n: int, features: Mapping[str, Any], segments: Any) -> None:
        fixed = {"id": columns.id, "time": columns.time, "score": columns.score, "prediction": columns.prediction,
                 "delivered": columns.delivered, "rule": columns.rule}  # fmt: skip
        own = {name: features[name] for name in self._segments if name in features}
        if isinstance(segments, Mapping):
            segments = {**own, **segments}
        elif own:
            segments = [{**dict(zip(own, values, strict=True)), **(given or {})}
                        for *values, given in zip(*own.values(), segments, strict=True)]  # fmt: skip
        told = {name: values for name, values in fixed.items() if values is not None}
        self._predictions.append({**told, "segments": segments or None}, n, features)

    def _write_labels(self) -> None:
        waiting = len(self._labels)
        if waiting:
            self._feedback.append([self._labels[i] for i in range(waiting)])
            for _ in range(waiting):
                self._labels.popleft()

    def close(self) -> None:
        """Write what waits, and close the files."""
        try:
            self.write()
        finally:
            self._predictions.close()
            self._feedback.close()
            if self._running is not None:
                self._running.close()
            if self._keeper is not None:
                self._keeper.stop()


def _nothing() -> None:
    """Nobody counts."""


def _by_column(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Rows as columns: those of the schema or, without one, all that any row has."""
    wanted = list(names) or list(dict.fromkeys(str(name) for record in records for name in record))
    if not wanted:
        return {}
    try:
        rows = map(itemgetter(*wanted), records)
        columns = zip(*rows, strict=True) if len(wanted) > 1 else [list(rows)]
        return dict(zip(wanted, columns, strict=True))
    except KeyError:
        return {name: [record.get(name) for record in records] for name in wanted}


def _given_segments(columns: Row) -> Any:
    """Segments that came with rows, or with their requests; {} where none did."""
    given = [
        segments if segments is not None else getattr(context, "segments", None)
        for segments, context in zip(columns.segments, columns.context, strict=True)
    ]
    return given if any(given) else {}


def _plain(values: frames.Column) -> Any:
    return list(frames.items(values)) if isinstance(values, frames.Coded) else values


def _each(values: Any, rows: int) -> Any:
    """One value for each row of a batch; None where their number is another."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        return list(repeat(values, rows))
    column = list(values) if not hasattr(values, "dtype") else _plain(frames.column(frames.flat(values)))
    return column if len(column) == rows else None


def _label(id: Any, label: Any) -> tuple[str, float | str]:
    if not isinstance(id, str) or not id:
        raise ValueError(f"id: {id!r} is no id of a prediction; give the text that it was recorded with")
    if isinstance(label, str):
        return id, label
    number = float(label)
    if not math.isfinite(number):
        raise ValueError(
            f"label: {label!r} is no label; give a number, True or False, or the name of a class"
        )
    return id, number


def _moment(time: Any) -> float | None:
    if time is None:
        return None
    moment = frames.timestamp(time) if isinstance(time, date) else float(time)
    if not math.isfinite(moment):
        raise ValueError(f"time: {time!r} is none; give an aware datetime, or epoch seconds")
    return moment
