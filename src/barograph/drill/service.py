"""Rows go through the Monitor of a service of one or two replicas, and what it counted is taken out as a poller would."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from barograph import naming
from barograph.clock import Clock
from barograph.counters import ADDITIVE, Series, Vector
from barograph.drill.incidents import Incident
from barograph.drill.rows import ABSENT, Rows
from barograph.increments import increments
from barograph.monitor import Monitor
from barograph.reference import Reference
from barograph.tiles import Increment

EVENT, FAILURE, RULE = "order", "500", "rule"
ARTIFACT, CONFIG = b"the model", {"threshold": "as trained"}
_QUIET = (naming.PREDICTIONS.name, naming.COLUMN_VALUES.name)  # of which a minute of zeros is news
_NEVER = 3600.0  # seconds of wall time between two flushes: snapshots flush


class Service:
    """Serves a model's rows on a clock that stands until it is moved. `folder` is where its processes share their counters."""

    def __init__(self, model: str, version: str, reference: Reference, folder: Path, now: float) -> None:
        self.model, self.version, self.reference = model, version, reference
        self._folder, self._ending = folder, ExitStack()
        folder.mkdir(parents=True)
        self._clock = Clock(start=now, speed=0.0)
        self._monitors = [self._open(reference, {})]
        self._gauges: dict[str, float] = {}
        self._single = False  # a batch that finds the buffer empty is taken, whatever its size
        self._before = self._monitors[0].snapshot()

    def _open(self, reference: Reference, options: dict[str, Any]) -> Monitor:
        given = {"artifact": ARTIFACT, "config": CONFIG, **options}
        return self._ending.enter_context(
            Monitor(
                self.model, version=self.version, reference=reference, clock=self._clock,
                directory=self._folder, flush_interval=_NEVER, **given,
            )
        )  # fmt: skip

    def struck(self, incident: Incident) -> None:
        """From now on there is another replica, and resources are as the incident says."""
        self._gauges = {metric.name: value for metric, value in incident.gauges}
        twin = incident.twin
        if not (twin.options or twin.reference or twin.packages):
            return
        reference = self.reference
        if twin.reference:
            reference = replace(reference, environment={**reference.environment, "replaced": "silently"})
        self._single = "buffer_rows" in twin.options
        self._monitors.append(self._open(reference, dict(twin.options)))
        if twin.packages:
            self._monitors[1].create(self._package())

    def _package(self) -> Series:
        """A package that runs in another version than the model was made with."""
        package, trained = next(iter(self.reference.environment.get("packages", {"numpy": "2.0"}).items()))
        labels = {"model": self.model, "version": self.version}
        return Series.of(
            naming.DEPENDENCY_INFO, {**labels, "package": package, "trained": trained, "running": "0.1"}
        )

    def serve(self, rows: Rows, begin: float, now: float) -> list[Increment]:
        """Serve rows; what was counted from `begin` to `now`, epoch seconds."""
        self._set(now)
        first = self._monitors[0]
        for _ in range(int(rows.failed.sum())):
            first.error(FAILURE)
        if rows.duration is not None:
            total = Series.of(
                naming.DURATION, {"model": self.model, "version": self.version, "stage": naming.TOTAL}
            )
            for seconds in rows.duration[~rows.failed].tolist():
                first.observe(total, seconds)
        if rows.events is not None and (n := int(rows.events[~rows.failed].sum())):
            first.business(EVENT, n)
        for replica in (0, 1):
            mine = rows.take(~rows.failed & (rows.replica == replica))
            if len(mine):
                self._record(self._monitors[min(replica, len(self._monitors) - 1)], mine)
        for monitor in self._monitors[1:]:
            monitor.flush()
        before, after = replace(self._before, clock=begin), first.snapshot()
        self._before = after
        telling = {s: v for s, v in after.series.items() if _tells(s, v, before.series.get(s))}
        return [self._overlaid(one) for one in increments(before, replace(after, series=telling))]

    def _set(self, now: float) -> None:
        self._clock = Clock(start=now, speed=0.0)
        for monitor in self._monitors:
            monitor.clock = self._clock

    def _record(self, monitor: Monitor, rows: Rows) -> None:
        for part, features in _fields(rows):
            if self._single and monitor is not self._monitors[0]:
                for row in range(len(part)):
                    score = None if part.score is None else float(part.score[row])
                    monitor.record({n: v[row] for n, v in features.items()}, score=score)
                continue
            monitor.record(
                features,
                score=_answers(part.score, part.empty),
                prediction=_answers(part.prediction, part.empty),
                delivered=part.delivered,
                rule=None
                if part.delivered is None
                else [None if d is None else RULE for d in part.delivered],
            )

    def _overlaid(self, one: Increment) -> Increment:
        """What a resource says under the incident."""
        if one.series.metric not in self._gauges:
            return one
        sums = np.full_like(one.vector.sums, self._gauges[one.series.metric])
        return replace(one, vector=replace(one.vector, sums=sums))

    def close(self) -> None:
        """End its processes."""
        self._ending.close()


def _tells(series: Series, vector: Vector, before: Vector | None) -> bool:
    """Whether a series says anything: most counters stand still, and are not looked at by the minute."""
    if series.kind not in ADDITIVE or series.metric in _QUIET or before is None:
        return True
    return not (np.array_equal(vector.counts, before.counts) and np.array_equal(vector.sums, before.sums))


def _fields(rows: Rows) -> Iterator[tuple[Rows, dict[str, np.ndarray]]]:
    """Rows by the fields that they have."""
    lacking = np.zeros(len(rows), dtype=np.int64)
    names = [n for n, values in rows.features.items() if values.dtype.kind == "O"]
    for bit, name in enumerate(names):
        lacking |= np.array([value is ABSENT for value in rows.features[name]], dtype=np.int64) << bit
    for pattern in np.unique(lacking).tolist():
        part = rows.take(lacking == pattern)
        without = {name for bit, name in enumerate(names) if pattern >> bit & 1}
        yield part, {n: values for n, values in part.features.items() if n not in without}


def _answers(values: np.ndarray | None, empty: np.ndarray) -> Any:
    if values is None or not empty.any():
        return values
    found = values.astype(object)
    found[empty] = None
    return found
