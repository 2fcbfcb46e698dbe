"""What a serving process holds: it takes rows without blocking, counts them in shared memory, and never raises."""

import logging
import os
import threading
import time as wall
import uuid
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from barograph import frames, lifetime, naming
from barograph.arguments import is_count, require_name, require_options
from barograph.bins import BinSet, score_alone
from barograph.buffer import Flusher
from barograph.clock import Clock
from barograph.counters import Series, SharedCounters, Snapshot
from barograph.environment import config_hash, digest
from barograph.exposition import render
from barograph.inline import Inline
from barograph.layout import Layout
from barograph.naming import Metric
from barograph.profile import Counter
from barograph.reference import Reference
from barograph.request import Pending, Request
from barograph.resources import usage
from barograph.rows import SINGLE, Row, RowCounter
from barograph.schema import Column, Schema, SchemaViolation, Violation
from barograph.watch import Watched, check_features, named, own, watched
from barograph.writer import Writer

if TYPE_CHECKING:
    from barograph.journal import Journal

log = logging.getLogger("barograph")

LOOKING = 5.0  # seconds between two looks at what the process uses


class Monitor:
    """Watches one version of one model from inside its serving process.

    `reference` is a Reference or a path to one; without it, service and scores are watched and features are not. `clock`
    replaces wall time. `log` is a folder, or a URL that fsspec knows, where predictions and feedback are written to be joined
    (needs barograph[serve]). `artifact` (a path or bytes) and `config` are identified by their hashes. `directory` is where the
    workers of this service share their counters (default: BAROGRAPH_DIR, else found from the server). `token` guards
    /profile (default: BAROGRAPH_TOKEN). `heuristics` are functions of a row or a batch, each counted as a column of it.
    `strict` raises what is else counted and logged once: for tests. Every `flush_interval` seconds a thread counts what was
    recorded; at most `buffer_rows` plain rows, as many other rows, and as many rows of batches wait, and the rest is dropped.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Monitor("m", directory=folder) as monitor:
    ...     monitor.record({"x": 1.0}, score=0.7)
    ...     monitor.total(naming.PREDICTIONS)
    1
    """

    def __init__(
        self,
        model: str,
        *,
        version: str = "0",
        reference: Reference | str | Path | None = None,
        clock: Clock | None = None,
        log: "str | os.PathLike[str] | None" = None,
        artifact: str | Path | bytes | None = None,
        config: Any = None,
        heuristics: Mapping[str, Callable[[Any], Any]] | None = None,
        strict: bool = False,
        directory: str | Path | None = None,
        token: str | None = None,
        flush_interval: float = 0.25,
        buffer_rows: int = 65_536,
    ) -> None:
        require_name("model", model)
        require_name("version", version)
        require_options(reference, clock, flush_interval, buffer_rows)
        self.model, self.version, self.clock, self.strict = model, version, clock or Clock(), strict
        self.reference = Reference.load(reference) if isinstance(reference, (str, Path)) else reference
        self._place = log
        self.token = token if token is not None else os.environ.get(naming.TOKEN_VARIABLE) or None
        self._digest, self._config = digest(artifact), config_hash(config)
        self._layout = _layout(self.reference)
        self._inline = Inline.of(heuristics, self._layout, self._keep)
        self._rows: deque[tuple[Any, ...]] = deque()
        self._observed: deque[tuple[Series, float]] = deque()
        self._limit = self._buffer_rows = buffer_rows
        self._reject = False
        self._logged: set[str] = set()
        self._error: Exception | None = None  # with `strict`: the first of the flusher's thread
        self._request: ContextVar[Request | None] = ContextVar("barograph_request", default=None)
        self.current = self._request
        self.nested: ContextVar[bool] = ContextVar("barograph_nested", default=False)
        self._counters = SharedCounters(None if directory is None else Path(directory))
        self._flush_seconds = flush_interval
        self._closed = False
        if self.reference is not None:
            name = f"{self.reference.id}{naming.REFERENCE_SUFFIX}"
            self._counters.publish(name, self.reference.to_json())
        self._begin()
        lifetime.follow(self)

    def begin_again(self) -> None:
        """In a forked child: a buffer, a flusher and counters of its own."""
        if not self._closed:
            self._logged = set()
            self._begin()

    def _begin(self) -> None:
        """Whatever a process must have of its own: made at the start, and anew in a forked child."""
        self._rows.clear()
        self._observed.clear()
        self._used = 0.0  # CPU seconds of the flush that is under way
        self._waiting = 0  # rows that it found
        self._batched = self._dropped = 0
        self._lock = threading.RLock()  # of these two; a signal's handler may record, too
        self._counter = RowCounter(self._layout, () if self._inline is None else self._inline.names)
        self._packer = self._layout.packer(self._limit)
        self.journal = self._open_journal()
        self._set_path()
        self._flusher = Flusher(
            self._rows,
            self._consume,
            self._finish,
            self._flush_failed,
            interval=self._flush_seconds,
            limit=self._limit,
        )
        self._writer = Writer(self.model, self.version, self._layout, self._counters)
        self._writer.create(self.reference, self._digest, self._config)
        self._look()
        self._flusher.start()

    # Recording.

    def record(
        self,
        features: Any = None,
        *,
        score: Any = None,
        prediction: Any = None,
        id: Any = None,
        time: Any = None,
        segments: Mapping[str, str] | None = None,
        delivered: Any = None,
        rule: Any = None,
    ) -> None:
        """Record one row or a batch: what the model was given, and what it answered.

        `features` is a dict, a sequence in the schema's order, or a batch: a pandas, Polars or Arrow frame, a 2-d array, a
        dict of columns, a list of rows. For a batch the other arguments hold one value a row. `score` is the probability or
        raw score, `prediction` the answer; `delivered` and `rule` say what post-processing made of it. `time` is the row's
        own time (aware datetime or epoch seconds). Costs the caller less than a microsecond; a full buffer drops the row and
        counts it.
        """
        request = self._request.get()
        if request is not None and time is None:
            time = request.time
        if self._pack is not None and self._pack(
            features, score, prediction, id, time, segments, delivered, rule
        ):
            if request is not None:
                request.rows += 1
            return
        if self._direct and type(features) is dict and len(self._rows) < self._limit:
            row = features.copy()  # before anybody looks into it: another thread may change it
            if _is_row(row):
                if not (type(score) in SINGLE and type(prediction) in SINGLE and type(delivered) in SINGLE):
                    score, prediction, delivered = self._owned(score, prediction, delivered)
                row_id = id if request is None else request.name(id, None, named=self.journal is not None)
                if self.journal is not None:
                    self.journal.took()
                # A plain tuple in the order of Row, which would cost as much again as all the rest.
                self._rows.append((row, score, prediction, row_id, time, segments, delivered, rule, request))
                return
        self._record(features, score, prediction, id, time, segments, delivered, rule)

    def _owned(self, score: Any, prediction: Any, delivered: Any) -> tuple[Any, Any, Any]:
        """The answers of one row, so that nobody can change them before they are counted."""
        try:
            return _only(own(score)), _only(own(prediction)), own(delivered)
        except Exception as error:  # a type of the caller's own
            self.failed("copy an answer", error)
            return score, prediction, delivered

    def _record(self, features: Any, score: Any, prediction: Any, *rest: Any) -> None:
        if self._closed:
            return
        self._raise_kept()
        try:
            if self.reject:
                self.refuse(features)
            request = self._request.get()
            if request is not None:
                rows = _rows_of(features) if _is_batch(features) else None
                rest = (request.name(rest[0], rows, named=self.journal is not None), *rest[1:])
            if not _is_batch(features):
                score, prediction = _only(score), _only(prediction)
            self._append(own(features), *map(own, (score, prediction, *rest)), request)
        except SchemaViolation:
            raise
        except Exception as error:
            self.failed("record", error)

    @property
    def reject(self) -> bool:
        """Whether rows that break the schema raise SchemaViolation; set by an integration."""
        return self._reject

    @reject.setter
    def reject(self, reject: bool) -> None:
        self._reject = reject
        self._set_path()

    def _set_path(self) -> None:
        """Rows that nobody has to look at first are taken directly, and packed where they are plain."""
        self._direct = not (self._reject or self.strict or self._closed)
        self._pack = (
            self._packer.append if self._direct and self.journal is None and self._inline is None else None
        )  # a log, and a heuristic, take what rows hold

    def _append(self, features: Any, *rest: Any) -> None:
        """Hand a row or a batch to the flusher, or drop and count it where the buffer is full. A batch that finds it empty
        is taken, whatever its size."""
        more = _rows_of(features) - 1
        with self._lock:
            full = len(self._rows) >= self._limit or (self._batched and self._batched + more > self._limit)
            if not full:
                self._batched += more
                if self.journal is not None:
                    self.journal.took_batch(more + 1)
                self._rows.append(Row(features, *rest))
        if full:
            self._drop(more + 1)

    def _drop(self, rows: int) -> None:
        if not self._closed:
            with self._lock:
                self._dropped += rows

    def refuse(self, features: Any) -> None:
        """Raise SchemaViolation for rows that break the reference's schema, and count them."""
        violations = [] if features is None else self._violations(features)
        if not violations:
            return
        rows = _rows_of(features)
        whole = any(v.row is None for v in violations)
        self.observe(
            self._of(naming.BAD_ROWS, reason="rejected"), rows if whole else len({v.row for v in violations})
        )
        found: Tally[tuple[str, str]] = Tally()
        for v in violations:
            found[v.column, v.kind] += rows if v.row is None else 1
        for (column, kind), n in found.items():
            name = self._writer.bounded("extra", column) if kind == "extra_column" else column
            self.observe(self._of(naming.VIOLATIONS, column=name, kind=kind), n)
        raise SchemaViolation(violations)

    def _violations(self, features: Any) -> list[Violation]:
        try:
            return self.check(features)
        except Exception as error:  # of another shape, or unreadable: the caller's mistake, not the service's
            return [Violation("rows", "type", None, None, str(error))]

    def check(self, rows: Any) -> list[Any]:
        """What in `rows` breaks the reference's schema; nothing without a reference."""
        return [] if self.reference is None else self.reference.check(rows)

    def watch(self, model: Any) -> Watched:
        """A proxy of `model` that records `predict`, `predict_proba` and calls; everything else is the model's own.

        `predict_proba` gives the score: the share of the second class where there are two, else of the likeliest class.
        ValueError if the model says (`feature_names_in_`, `n_features_in_`) that it takes other features than the reference.
        """
        if self.reference is not None:
            check_features(model, self.reference.schema.features)
        return watched(model, self)

    @contextmanager
    def request(
        self, id: str | None = None, time: Any = None, segments: Mapping[str, str] | None = None
    ) -> Iterator[Request]:
        """The context of one request: what is recorded in it shares its id, time and segments; its duration is counted."""
        request = Request(id or uuid.uuid4().hex, time, segments)
        token = self._request.set(request)
        start = wall.perf_counter()
        try:
            yield request
        finally:
            self._request.reset(token)
            self.end(request, wall.perf_counter() - start)

    def end(self, request: Request, seconds: float) -> None:
        """Record what a request still holds, and its duration; at its first end only."""
        if request.closed:
            return
        for answer in request.close():
            self._settle(request, answer)
        if request.rows:
            self.observe(self._total, seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of the request: `with monitor.stage("feature_store"): ...`"""
        start = wall.perf_counter()
        try:
            yield
        finally:
            label = self._writer.bounded("stage", name)
            self.observe(self._of(naming.DURATION, stage=label), wall.perf_counter() - start)

    def feedback(self, id: str, label: Any, *, time: Any = None, kind: str | None = None) -> None:
        """Tell what became known of a prediction: its label, a number, a truth value or a class; later ones correct it.

        `time` (aware datetime or epoch seconds) is when it became true, now if left out. `kind` tells labels of a prediction
        apart that are not its outcome. It is queued; after `flush` it is on the disk. Needs `log`.
        """
        try:
            if not self._require_journal().tell(id, label, time, kind):
                raise BufferError("too many labels wait to be written; flush, or look at the disk")
        except Exception as error:
            self.failed("take feedback", error)
            return
        self._count_feedback(kind, 1)

    def store_feedback(self, labels: Sequence[tuple[str, float | str, float | None, str | None]]) -> None:
        """Write labels (id, label, time in epoch seconds, kind) to the disk, now. OSError where that fails: give all again."""
        self._require_journal().store(labels)
        for kind, n in Tally(kind for *_, kind in labels).items():
            self._count_feedback(kind, n)

    def _count_feedback(self, kind: str | None, n: int) -> None:
        self.observe(self._of(naming.FEEDBACK, kind=self._writer.bounded("kind", kind or "label")), n)

    def business(self, event: str, n: int = 1) -> None:
        """Count events that stakeholders count: orders, loans paid out."""
        if not is_count(n):
            self.failed(
                "count events", ValueError(f"n: {n!r} is no number of events; give an integer from 1")
            )
            return
        labels = {"model": self.model, "event": self._writer.bounded("event", event)}
        self.observe(Series.of(naming.BUSINESS, labels), n)

    def error(self, kind: str) -> None:
        """Count a prediction that failed, by kind of error."""
        self.observe(self._of(naming.ERRORS, error=self._writer.bounded("error", kind)), 1)

    def observe(self, series: Series, value: float) -> None:
        """Add `value` to a series without blocking: a counter or gauge grows by it, a histogram takes it as seconds."""
        if len(self._observed) < self._limit:
            self._observed.append((series, value))
        else:
            self._drop(1)

    def create(self, series: Series) -> None:
        """Show a series at 0 before anything is observed."""
        self._counters.vector(series)

    # Reading.

    def flush(self) -> None:
        """Count everything recorded so far, now."""
        if not self._closed:
            self._flusher.flush()
        self._raise_kept()

    def snapshot(self) -> Snapshot:
        """All counts of this service's processes, after a flush of this one."""
        self.flush()
        return self._counters.snapshot(clock=self.clock.now())

    def render(self) -> bytes:
        """The same as Prometheus text."""
        return render(self.snapshot(), self._counters.references())

    def reference_json(self, id: str) -> bytes | None:
        """The reference of this content id, as its file's content, if a process of this service holds it."""
        return self._counters.published(f"{id}{naming.REFERENCE_SUFFIX}")

    def total(self, metric: Metric, **labels: str) -> int:
        """The sum over this model's series of a counter, narrowed by labels."""
        wanted = {"model": self.model, "version": self.version, **labels}
        return sum(
            int(vector.counts.sum())
            for series, vector in self.snapshot().series.items()
            if series.metric == metric.name and all(series.label(k) in (v, None) for k, v in wanted.items())
        )

    @property
    def bins(self) -> BinSet:
        """The frozen bins that this monitor counts over: the reference's, or those of a score in 0..1."""
        return self._layout.bins

    def close(self) -> None:
        """Flush, and end the thread. A second close does nothing.

        What was counted is left to the other processes of the service: read totals before.
        """
        if not self._closed:
            self._closed = True
            self._limit = 0  # what is recorded from now on is neither held nor counted
            self._set_path()
            self._flusher.stop()
            if self.journal is not None:
                self.journal.close()
            self._counters.close()
            self._raise_kept()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The flusher's side.

    def _consume(self, rows: list[tuple[Any, ...]]) -> None:
        start = wall.thread_time()
        self._waiting = max(self._waiting, len(rows) + len(self._rows), self._batched)
        batched = sum(_rows_of(row[0]) - 1 for row in rows if type(row) is Row)
        rows = rows if self._inline is None else self._inline.extend(rows)
        self._counter.add(rows, self.clock.now())
        if self.journal is not None:
            self.journal.add(rows)
        if batched:
            with self._lock:
                self._batched -= batched
        self._used += wall.thread_time() - start

    def _finish(self) -> None:
        start = wall.thread_time()
        for what, write in (
            ("count", self._write_counted),
            ("count", self._write_observed),
            ("log", self._write_journal),
        ):
            try:
                write()
            except Exception as error:
                self._keep(what, error)
        if wall.monotonic() >= self._look_at:
            self._look()
        self._writer.observe([(self._of(naming.FLUSH_SECONDS), self._used + wall.thread_time() - start)])
        self._used = 0.0

    def _look(self) -> None:
        """Show what the process uses."""
        self._look_at = wall.monotonic() + LOOKING
        try:
            self._writer.use(usage())
        except Exception as error:
            self._keep("see what the process uses", error)

    def _write_counted(self) -> None:
        waiting, self._waiting = max(self._waiting, len(self._packer)), 0
        self._counter.add_packed(self._packer.drain())
        counted = self._counter.take()
        if counted.error is not None:
            self._keep("count rows", counted.error)
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            counted.dropped["buffer_full"] += dropped
        self._writer.write(counted, clock=self.clock.now(), fill=min(waiting / self._buffer_rows, 1.0))

    def _write_journal(self) -> None:
        if self.journal is not None:
            self.journal.write()

    def _open_journal(self) -> "Journal | None":
        """Of each process its own; imported here, for what it needs is not there where only counts are kept."""
        if self._place is None:
            return None
        from barograph.journal import Journal
        from barograph.logs import Log

        return Journal(
            Log(self._place), self.model, self.version, self._layout,
            segments=self.reference.segments if self.reference is not None else (),
            clock=cast(Clock, SimpleNamespace(now=self._now)), lost=self._not_logged,
        )  # fmt: skip

    def _require_journal(self) -> "Journal":
        if self.journal is None:
            raise ValueError("log: feedback is kept beside the predictions; make the monitor with log=FOLDER")
        return self.journal

    def _now(self) -> float:
        """By whatever clock the monitor has by then."""
        return self.clock.now()

    def _not_logged(self, rows: int) -> None:
        self.observe(self._of(naming.DROPPED_ROWS, reason="not_logged"), rows)

    def _write_observed(self) -> None:
        take = self._observed.popleft
        self._writer.observe(take() for _ in range(len(self._observed)))

    def _of(self, metric: Metric, **labels: str) -> Series:
        return self._writer.of(metric, **labels)

    # Watched models.

    @cached_property
    def in_progress(self) -> Series:
        """Calls of watched models that run now."""
        return self._of(naming.IN_PROGRESS)

    @cached_property
    def predict_stage(self) -> Series:
        """The duration of calls of watched models."""
        return self._of(naming.DURATION, stage=naming.PREDICT)

    @cached_property
    def _total(self) -> Series:
        return self._of(naming.DURATION, stage=naming.TOTAL)

    def answered(self, request: Request, answer: Pending) -> None:
        """Take the answer of a watched model, and record those that nothing can complete any more."""
        for complete in request.take(answer):
            self._settle(request, complete)

    def _settle(self, request: Request, answer: Pending) -> None:
        features = named(answer.features, answer.names)
        batch = frames.is_batch(features)
        score, prediction = (v if batch else _only(v) for v in (answer.score, answer.prediction))
        ids = request.next_ids(frames.length(features) if batch else 1)
        named_ids = ids if batch else next(iter(ids))
        self._append(
            features, score, prediction, named_ids, request.time, request.segments, None, None, request
        )

    def failed(self, what: str, error: Exception, rows: int = 1) -> None:
        """Count what could not be done and say it once; with `strict`, raise it."""
        if self.strict:
            raise error
        self.observe(self._of(naming.BAD_ROWS, reason="failed"), rows)
        if what not in self._logged:
            self._logged.add(what)
            log.error(
                "barograph could not %s for model %s; said once, counted from now on",
                what, self.model, exc_info=error,
            )  # fmt: skip

    def _flush_failed(self, error: BaseException) -> None:
        self._keep("flush", error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def _keep(self, what: str, error: Exception, rows: int = 1) -> None:
        """The same on the flusher's side, which must go on: with `strict`, the next caller is told."""
        if self.strict:
            self._error = self._error or error
        else:
            self.failed(what, error, rows)

    def _raise_kept(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def _layout(reference: Reference | None) -> Layout:
    if reference is not None:
        return Layout(
            reference.bins, reference.schema, reference.counter, reference.task, reference.threshold
        )
    bins = score_alone()
    schema = Schema((Column(naming.SCORE, "numeric", role="score"),))
    return Layout(bins, schema, Counter(bins, schema), None, None)


def _only(answer: Any) -> Any:
    """The answer of one row: the only element where a model wraps it in an array."""
    if isinstance(answer, (list, tuple, np.ndarray)) and len(answer) == 1:
        return answer[0]
    return answer


def _is_row(features: dict[Any, Any]) -> bool:
    """Whether a dict is one row, for sure: one value tells, for a batch has none that stands alone."""
    return type(next(iter(features.values()), None)) in SINGLE


def _is_batch(features: Any) -> bool:
    try:
        return frames.is_batch(features)
    except Exception:  # it cannot even be asked
        return False


def _rows_of(features: Any) -> int:
    return frames.length(features) if _is_batch(features) else 1
