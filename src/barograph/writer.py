"""From what was counted to the series of shared memory: which are there at 0, and what grows by what."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from barograph import naming
from barograph.counters import Series, SharedCounters
from barograph.environment import package_version
from barograph.layout import Layout
from barograph.naming import OTHER, Metric
from barograph.reference import Reference
from barograph.resources import Usage
from barograph.rows import Counted, short

MAX_LABELS = 50  # values of a label that callers make up: stages, errors, rules, events
DROPPED = ("buffer_full", "time", "batch", "unreadable", "not_logged")
BAD = ("shape", "length", "time", "naive_time", "empty_batch", "batch", "rejected", "failed")


class Writer:
    """Writes the counts of one version of a model."""

    def __init__(self, model: str, version: str, layout: Layout, counters: SharedCounters) -> None:
        self._names = {"model": model, "version": version}
        self._layout, self._counters, self._vector = layout, counters, counters.vector
        self._used: dict[Metric, float] = {}  # since the process started, as last shown
        self._labels: dict[str, set[str]] = {}

    def of(self, metric: Metric, **labels: str) -> Series:
        """The series of this version with these labels."""
        return Series.of(metric, {**self._names, **labels})

    def bounded(self, label: str, value: Any) -> str:
        """A label value that a caller made up, cut to 80 characters; past 50 of them it is `other`."""
        known = self._labels.setdefault(label, set())
        name = short(value)
        if name not in known:
            if len(known) >= MAX_LABELS:
                return OTHER
            known.add(name)
        return name

    def create(self, reference: Reference | None, digest: str, config: str) -> None:
        """Make every series that can be named at 0: a counter that is first seen at 5 has an increase of 0."""
        metrics = (
            naming.PREDICTIONS,
            naming.EMPTY,
            naming.IN_PROGRESS,
            naming.FLUSH_SECONDS,
            naming.BUFFER_FILL,
        )
        zero = [
            *map(self.of, metrics),
            *(self.of(naming.DURATION, stage=stage) for stage in (naming.TOTAL, naming.PREDICT)),
            self.of(naming.FEEDBACK, kind="label"),
            *(self.of(naming.DROPPED_ROWS, reason=reason) for reason in DROPPED),
            *(self.of(naming.BAD_ROWS, reason=reason) for reason in BAD),
            self.of(naming.ERRORS, error=OTHER),
            self.of(naming.OVERRIDDEN, rule=OTHER),
            *(self.of(naming.VIOLATIONS, column=column, kind=kind) for column, kind in self._violations()),
            self._columns,
            Series.of(naming.CLOCK, {}),
        ]
        for series in zero:
            self._vector(series)
        trained = {} if reference is None else reference.environment.get("packages", {})
        info = {
            "task": "" if reference is None else reference.task,
            "reference": "" if reference is None else reference.id,
            "bins": self._layout.bins.id,
            "digest": digest,
            "config": config,
            "framework": next((f"{package} {version}" for package, version in trained.items()), ""),
        }
        self._vector(self.of(naming.MODEL_INFO, **info)).sums[0] = 1
        for package, version in trained.items():
            labels = {"package": package, "trained": version, "running": package_version(package) or "absent"}
            self._vector(self.of(naming.DEPENDENCY_INFO, **labels)).sums[0] = 1

    def write(self, counted: Counted, *, clock: float, fill: float) -> None:
        """Add what a flush counted. `clock` is in epoch seconds, `fill` how full the buffer was, 0 to 1."""
        vector = self._vector
        vector(Series.of(naming.CLOCK, {})).sums[0] = clock
        vector(self.of(naming.BUFFER_FILL)).sums[0] = fill
        vector(self.of(naming.PREDICTIONS)).counts[0] += counted.rows
        vector(self.of(naming.EMPTY)).counts[0] += counted.empty
        if counted.counts is not None and counted.sums is not None:
            columns = vector(self._columns)
            columns.counts[:] += counted.counts
            columns.sums[:] += counted.sums
        self._count(naming.DROPPED_ROWS, "reason", counted.dropped)
        self._count(naming.BAD_ROWS, "reason", counted.bad)
        self._count(naming.OVERRIDDEN, "rule", counted.overridden)
        self._count_violations("grid", counted.grid)
        self._count_violations("missing_column", counted.missing_columns)
        self._count_violations("extra_column", counted.extra_columns)

    def use(self, used: Usage) -> None:
        """Show what this process uses, unless another monitor in it does."""
        if self._counters.leads(Series.of(naming.PROCESS_CPU, {})):
            for metric, value in used.now.items():
                self._vector(Series.of(metric, {})).sums[0] = value
            self.observe(
                (Series.of(metric, {}), value - self._used.get(metric, 0.0))
                for metric, value in used.since_start.items()
            )
        self._used = used.since_start

    def observe(self, observed: Iterable[tuple[Series, float]]) -> None:
        """Add single values: a counter or gauge grows by one, a histogram takes it as seconds."""
        for series, value in observed:
            vector = self._vector(series)
            if series.kind == "histogram":
                vector.counts[int(np.searchsorted(naming.DURATION_BUCKETS, value, side="left"))] += 1
                vector.sums[0] += value
            elif series.counts:
                vector.counts[0] += int(value)
            else:
                vector.sums[0] += value

    @cached_property
    def _columns(self) -> Series:
        bins = self._layout.bins
        return Series.of(naming.COLUMN_VALUES, {**self._names, "bins": bins.id}, size=bins.size)

    def _violations(self) -> Iterable[tuple[str, str]]:
        for column in self._layout.features:
            yield column, "missing_column"
            if self._layout.schema[column].kind in ("integer", "boolean"):
                yield column, "grid"

    def _count(self, metric: Metric, label: str, counts: Mapping[str, int]) -> None:
        for value, n in counts.items():
            self._vector(self.of(metric, **{label: self.bounded(label, value)})).counts[0] += n

    def _count_violations(self, kind: str, counts: Mapping[str, int]) -> None:
        for column, n in counts.items():
            name = self.bounded("extra", column) if kind == "extra_column" else column
            self._vector(self.of(naming.VIOLATIONS, column=name, kind=kind)).counts[0] += n
