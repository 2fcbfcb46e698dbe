"""What a serving process holds: it takes rows without blocking, counts them in shared memory, and never raises."""

import atexit
import inspect
import logging
import os
import time as wall
import uuid
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from barograph import frames, naming
from barograph.bins import BinSet, score_bins
from barograph.buffer import Flusher
from barograph.clock import Clock
from barograph.counters import Series, SharedCounters, Snapshot
from barograph.environment import config_hash, digest, package_version
from barograph.exposition import render
from barograph.naming import Metric
from barograph.profile import Counter
from barograph.reference import Reference
from barograph.request import Pending, Request
from barograph.rows import Counted, Layout, Row, RowCounter
from barograph.schema import Column, Schema, SchemaViolation

log = logging.getLogger("barograph")

MAX_LABELS = 50  # values of a label that callers make up: stages, errors, rules, events
OTHER = "other"


class Monitor:
    """Watches one version of one model from inside its serving process.

    `reference` is a Reference or a path to one; without it, service and scores are watched and features are not. `clock`
    replaces wall time. `artifact` (a path or bytes) and `config` are identified by their hashes. `directory` is where the
    workers of this service share their counters (default: BAROGRAPH_DIR, else found from the server). `token` guards
    /profile (default: BAROGRAPH_TOKEN). `strict` raises what is else counted and logged once: for tests.

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
        artifact: str | Path | bytes | None = None,
        config: Any = None,
        strict: bool = False,
        directory: str | Path | None = None,
        token: str | None = None,
        flush_interval: float = 0.25,
        buffer_rows: int = 65_536,
    ) -> None:
        _check_name("model", model)
        _check_name("version", version)
        self.model, self.version, self.clock, self.strict = model, version, clock or Clock(), strict
        self.reference = Reference.load(reference) if isinstance(reference, (str, Path)) else reference
        self.token = token if token is not None else os.environ.get(naming.TOKEN_VARIABLE) or None
        self.reject = False  # set by an integration: rows that break the schema raise SchemaViolation
        self._digest, self._config = digest(artifact), config_hash(config)
        self._layout = _layout(self.reference)
        self._rows: deque[tuple[Any, ...]] = deque()
        self._observed: deque[tuple[Series, float]] = deque()
        self._limit = buffer_rows
        self._dropped = 0
        self._logged: set[str] = set()
        self._labels: dict[str, set[str]] = {}
        self._request: ContextVar[Request | None] = ContextVar("barograph_request", default=None)
        self._counters = SharedCounters(None if directory is None else Path(directory))
        self._flush_seconds = flush_interval
        self._closed = False
        if self.reference is not None:
            self._counters.publish(f"{self.reference.bins.id}.reference.json", self.reference.to_json())
        self._begin()
        _after_fork(self)
        atexit.register(_close, weakref.ref(self))

    def _begin(self) -> None:
        """Whatever a process must have of its own: made at the start, and anew in a forked child."""
        self._rows.clear()
        self._observed.clear()
        self._dropped = 0
        self._counter = RowCounter(self._layout)
        self._flusher = Flusher(
            self._rows, self._consume, self._finish, interval=self._flush_seconds, limit=self._limit
        )
        self._create()
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
        if type(features) is dict and len(self._rows) < self._limit and not self.reject:
            request = self._request.get()
            if request is not None:
                request.rows += 1
            # A plain tuple in the order of Row, which would cost as much again as all the rest.
            self._rows.append(
                (features.copy(), score, prediction, id, time, segments, delivered, rule, request)
            )
            return
        self._record(features, score, prediction, id, time, segments, delivered, rule)

    def _record(self, features: Any, *answers: Any) -> None:
        try:
            if self.reject:
                self._refuse(features)
            request = self._request.get()
            if request is not None:
                request.rows += frames.length(features) if frames.is_batch(features) else 1
            self._append(features, *answers, request)
        except SchemaViolation:
            raise
        except Exception as error:
            self._failed("record", error)

    def _append(self, features: Any, score: Any, prediction: Any, *rest: Any) -> None:
        """Hand a row or a batch to the flusher, or drop and count it where the buffer is full."""
        if len(self._rows) < self._limit:
            self._rows.append(Row(_own(features), _own(score), _own(prediction), *rest))
        else:
            self._dropped += frames.length(features) if frames.is_batch(features) else 1

    def _refuse(self, features: Any) -> None:
        violations = self.check(features)
        if violations:
            self.observe(self._of(naming.BAD_ROWS, reason="rejected"), len({v.row for v in violations}))
            raise SchemaViolation(violations)

    def check(self, rows: Any) -> list[Any]:
        """What in `rows` breaks the reference's schema; nothing without a reference."""
        return [] if self.reference is None else self.reference.check(rows)

    def watch(self, model: Any) -> "Watched":
        """A proxy of `model` that records `predict`, `predict_proba` and calls; everything else is the model's own."""
        return Watched(model, self)

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
            self._settle(request)
            if request.rows:
                self.observe(self._of(naming.DURATION, stage=naming.TOTAL), wall.perf_counter() - start)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of the request: `with monitor.stage("feature_store"): ...`"""
        start = wall.perf_counter()
        try:
            yield
        finally:
            label = self._bounded("stage", name)
            self.observe(self._of(naming.DURATION, stage=label), wall.perf_counter() - start)

    def business(self, event: str, n: int = 1) -> None:
        """Count events that stakeholders count: orders, loans paid out."""
        labels = {"model": self.model, "event": self._bounded("event", event)}
        self.observe(Series.of(naming.BUSINESS, labels), n)

    def error(self, kind: str) -> None:
        """Count a prediction that failed, by kind of error."""
        self.observe(self._of(naming.ERRORS, error=self._bounded("error", kind)), 1)

    def observe(self, series: Series, value: float) -> None:
        """Add `value` to a series without blocking: a counter or gauge grows by it, a histogram takes it as seconds."""
        if len(self._observed) < self._limit:
            self._observed.append((series, value))
        else:
            self._dropped += 1

    def create(self, series: Series) -> None:
        """Show a series at 0 before anything is observed."""
        self._counters.vector(series)

    # Reading.

    def flush(self) -> None:
        """Count everything recorded so far, now."""
        self._flusher.flush()

    def snapshot(self) -> Snapshot:
        """All counts of this service's processes, after a flush of this one."""
        self.flush()
        return self._counters.snapshot(clock=self.clock.now())

    def render(self) -> bytes:
        """The same as Prometheus text."""
        return render(self.snapshot(), self._counters.references())

    def reference_json(self, bins: str) -> bytes | None:
        """The reference of these bins, as its file's content, if a process of this service holds it."""
        return self._counters.published(f"{bins}.reference.json")

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
        """Flush, and end the thread. A second close does nothing."""
        if not self._closed:
            self._closed = True
            self._flusher.stop()
            self._counters.close()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The flusher's side.

    def _consume(self, rows: list[tuple[Any, ...]]) -> None:
        self._counter.add(rows, self.clock.now())

    def _finish(self) -> None:
        start = wall.thread_time()
        for write in (self._write_counted, self._write_observed):
            try:
                write()
            except Exception as error:
                self._failed("count", error)
        used = self._counters.vector(self._of(naming.FLUSH_SECONDS))
        used.sums[0] += wall.thread_time() - start

    def _write_counted(self) -> None:
        self._write(self._counter.take())

    def _write(self, counted: Counted) -> None:
        if counted.error is not None:
            self._failed("count rows", counted.error)
        dropped, self._dropped = self._dropped, 0
        if dropped:
            counted.dropped["buffer_full"] += dropped
        vector = self._counters.vector
        vector(Series.of(naming.CLOCK, {})).sums[0] = self.clock.now()
        vector(self._of(naming.PREDICTIONS)).counts[0] += counted.rows
        vector(self._of(naming.EMPTY)).counts[0] += counted.empty
        if counted.counts is not None and counted.sums is not None:
            columns = vector(self._columns)
            columns.counts[:] += counted.counts
            columns.sums[:] += counted.sums
        self._count(naming.DROPPED_ROWS, "reason", counted.dropped)
        self._count(naming.BAD_ROWS, "reason", counted.bad)
        self._count(naming.OVERRIDDEN, "rule", counted.overridden)
        by_kind = {
            "grid": counted.grid,
            "missing_column": counted.missing_columns,
            "extra_column": counted.extra_columns,
        }
        for kind, columns_of_kind in by_kind.items():
            for column, n in columns_of_kind.items():
                name = self._bounded("extra", column) if kind == "extra_column" else column
                vector(self._of(naming.VIOLATIONS, column=name, kind=kind)).counts[0] += n

    def _write_observed(self) -> None:
        for _ in range(len(self._observed)):
            series, value = self._observed.popleft()
            vector = self._counters.vector(series)
            if series.kind == "histogram":
                vector.counts[int(np.searchsorted(naming.DURATION_BUCKETS, value, side="left"))] += 1
                vector.sums[0] += value
            elif series.counts:
                vector.counts[0] += int(value)
            else:
                vector.sums[0] += value

    def _create(self) -> None:
        """Make every series that can be named at 0: a counter that is first seen at 5 has an increase of 0."""
        zero = [
            *(
                self._of(m)
                for m in (naming.PREDICTIONS, naming.EMPTY, naming.IN_PROGRESS, naming.FLUSH_SECONDS)
            ),
            *(self._of(naming.DURATION, stage=stage) for stage in (naming.TOTAL, naming.PREDICT)),
            *(
                self._of(naming.DROPPED_ROWS, reason=r)
                for r in ("buffer_full", "time", "batch", "unreadable")
            ),
            *(
                self._of(naming.BAD_ROWS, reason=r)
                for r in (
                    "shape",
                    "length",
                    "time",
                    "naive_time",
                    "empty_batch",
                    "batch",
                    "rejected",
                    "failed",
                )
            ),
            Series.of(naming.CLOCK, {}),
        ]
        for series in zero:
            self._counters.vector(series)
        self._counters.vector(self._columns)
        for column in self._layout.features:
            kinds = ["missing_column"] + ["grid"] * (
                self._layout.schema[column].kind in ("integer", "boolean")
            )
            for kind in kinds:
                self._counters.vector(self._of(naming.VIOLATIONS, column=column, kind=kind))
        self._counters.vector(self._of(naming.MODEL_INFO, **self._info())).sums[0] = 1
        for labels in self._dependencies():
            self._counters.vector(self._of(naming.DEPENDENCY_INFO, **labels)).sums[0] = 1

    def _info(self) -> dict[str, str]:
        reference = self.reference
        trained = {} if reference is None else reference.environment.get("packages", {})
        return {
            "task": "" if reference is None else reference.task,
            "reference": "" if reference is None else reference.id,
            "bins": self.bins.id,
            "digest": self._digest,
            "config": self._config,
            "framework": next((f"{package} {version}" for package, version in trained.items()), ""),
        }

    def _dependencies(self) -> list[dict[str, str]]:
        trained = {} if self.reference is None else self.reference.environment.get("packages", {})
        return [
            {"package": package, "trained": version, "running": package_version(package) or "absent"}
            for package, version in trained.items()
        ]

    @cached_property
    def _columns(self) -> Series:
        labels = {"model": self.model, "version": self.version, "bins": self.bins.id}
        return Series.of(naming.COLUMN_VALUES, labels, size=self.bins.size)

    def _of(self, metric: Metric, **labels: str) -> Series:
        return Series.of(metric, {"model": self.model, "version": self.version, **labels})

    def _count(self, metric: Metric, label: str, counts: Mapping[str, int]) -> None:
        for value, n in counts.items():
            self._counters.vector(self._of(metric, **{label: self._bounded(label, value)})).counts[0] += n

    def _bounded(self, label: str, value: str) -> str:
        """A label value that a caller made up, cut to 80 characters; past 50 of them it is `other`."""
        known = self._labels.setdefault(label, set())
        value = str(value)[:80]
        if value not in known:
            if len(known) >= MAX_LABELS:
                return OTHER
            known.add(value)
        return value

    # Watched models.

    def _watched(self, request: Request, features: Any, *, score: Any = None, prediction: Any = None) -> None:
        pending = request.pending
        if pending is not None and pending.completes(features, score=score, prediction=prediction):
            pending.score = score if pending.score is None else pending.score
            pending.prediction = prediction if pending.prediction is None else pending.prediction
            return
        self._settle(request)
        request.pending = Pending(features, score, prediction)

    def _settle(self, request: Request) -> None:
        pending, request.pending = request.pending, None
        if pending is None:
            return
        batch = frames.is_batch(pending.features)
        rows = frames.length(pending.features) if batch else 1
        score, prediction = (v if batch else _only(v) for v in (pending.score, pending.prediction))
        ids = request.next_ids(rows)
        named = ids if batch else ids[0]
        self._append(
            pending.features, score, prediction, named, request.time, request.segments, None, None, request
        )

    def _failed(self, what: str, error: Exception) -> None:
        if self.strict:
            raise error
        self._count(naming.BAD_ROWS, "reason", {"failed": 1})
        if what not in self._logged:
            self._logged.add(what)
            log.exception(
                "barograph could not %s for model %s; said once, counted from now on", what, self.model
            )


class Watched:
    """A model whose answers are recorded. Made by `Monitor.watch`."""

    def __init__(self, model: Any, monitor: Monitor) -> None:
        self._model, self._monitor = model, monitor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, features: Any, *args: Any, **options: Any) -> Any:
        """The model's `predict`, recorded as predictions."""
        return self._call(self._model.predict, _as_prediction, features, args, options)

    def predict_proba(self, features: Any, *args: Any, **options: Any) -> Any:
        """The model's `predict_proba`, recorded as scores: of the second class where there are two, else of the likeliest."""
        return self._call(self._model.predict_proba, _as_score, features, args, options)

    def __call__(self, features: Any, *args: Any, **options: Any) -> Any:
        return self._call(self._model, _as_prediction, features, args, options)

    def _call(self, method: Any, answer: Any, features: Any, args: Any, options: Any) -> Any:
        request = self._monitor._request.get()
        if request is None:
            with self._monitor.request() as request:
                return self._call(method, answer, features, args, options)
        if request.depth == 0 and self._monitor.reject:
            self._monitor._refuse(features)
        request.depth += 1
        try:
            with self._timed(request):
                result = method(features, *args, **options)
        except Exception as error:
            if request.depth == 1:
                self._monitor.error(type(error).__name__)
            raise
        finally:
            request.depth -= 1
        if inspect.isawaitable(result):
            return self._awaited(result, request, answer, features)
        self._answered(request, answer, features, result)
        return result

    async def _awaited(self, result: Any, request: Request, answer: Any, features: Any) -> Any:
        value = await result
        self._answered(request, answer, features, value)
        self._monitor._settle(request)
        return value

    def _answered(self, request: Request, answer: Any, features: Any, result: Any) -> None:
        if request.depth:
            return
        try:
            self._monitor._watched(request, features, **answer(self._model, result))
        except Exception as error:
            self._monitor._failed("record an answer", error)

    @contextmanager
    def _timed(self, request: Request) -> Iterator[None]:
        if request.depth > 1:
            yield
            return
        in_progress = self._monitor._of(naming.IN_PROGRESS)
        self._monitor.observe(in_progress, 1)
        try:
            with self._monitor.stage(naming.PREDICT):
                yield
        finally:
            self._monitor.observe(in_progress, -1)


def _as_prediction(_: Any, result: Any) -> dict[str, Any]:
    return {"prediction": result}


def _as_score(model: Any, result: Any) -> dict[str, Any]:
    shares = np.asarray(result)
    if shares.ndim != 2:
        return {"score": result}
    if shares.shape[1] == 2:
        return {"score": shares[:, 1]}
    classes = getattr(model, "classes_", np.arange(shares.shape[1]))
    return {"score": shares.max(axis=1), "prediction": np.asarray(classes)[shares.argmax(axis=1)]}


def _layout(reference: Reference | None) -> Layout:
    if reference is not None:
        return Layout(
            reference.bins, reference.schema, reference.counter, reference.task, reference.threshold
        )
    bins = BinSet({naming.SCORE: score_bins()}, {naming.SCORE: "score"})
    schema = Schema((Column(naming.SCORE, "numeric", role="score"),))
    return Layout(bins, schema, Counter(bins, schema), None, None)


def _own(values: Any) -> Any:
    """A copy of what the caller may change before the flush; immutable frames as they are."""
    if isinstance(values, (dict, list)):
        return values.copy()
    if isinstance(values, np.ndarray) or (hasattr(values, "iloc") and hasattr(values, "copy")):
        return values.copy()
    return values


def _only(answer: Any) -> Any:
    """The answer of one row: the only element where a model wraps it in an array."""
    if isinstance(answer, (list, tuple, np.ndarray)) and len(answer) == 1:
        return answer[0]
    return answer


def _check_name(argument: str, value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise ValueError(f"{argument}: {value!r} is no name; give a text of 1 to 200 characters")


def _after_fork(monitor: Monitor) -> None:
    if hasattr(os, "register_at_fork"):
        ref = weakref.ref(monitor)
        os.register_at_fork(after_in_child=lambda: _begin_again(ref))


def _begin_again(ref: "weakref.ref[Monitor]") -> None:
    monitor = ref()
    if monitor is not None and not monitor._closed:
        monitor._logged = set()
        monitor._begin()


def _close(ref: "weakref.ref[Monitor]") -> None:
    monitor = ref()
    if monitor is not None:
        monitor.close()
