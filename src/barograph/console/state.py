"""What the pages read: the store, what is configured, and the span of time that is asked for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from barograph import naming, sentences
from barograph.calibrate import Calibration
from barograph.checks import Counters
from barograph.clock import iso
from barograph.config import Config
from barograph.counters import Series, Vector
from barograph.drift import MINIMUM_ROWS
from barograph.evaluate import current
from barograph.judging import Judging
from barograph.known import Known, References
from barograph.ledger import Counted, Ledger
from barograph.naming import Metric
from barograph.sentences import Unjudged
from barograph.tiles import Tiles
from barograph.versions import Deployed, by_model, deployed

MINUTE, HOUR, DAY = 60, 3600, 86_400
RANGES: dict[str, int] = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
STEPS = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY)
MOST_POINTS = 600
ROWS_A_POINT = 30  # so that a share in a chart means something
ROWS_OF_A_RATE = 5  # a count needs fewer
SILENT = 6 * HOUR  # without any prediction, before a model is said to send no data


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time by its name, ending with the last whole minute before `now`, or before `to` (epoch seconds)."""

    name: str
    now: float
    to: float | None = None

    @property
    def until(self) -> float:
        """The moment at which it ends."""
        return self.now if self.to is None else min(self.to, self.now)

    @property
    def end(self) -> int:
        return int(self.until // MINUTE * MINUTE)

    @property
    def start(self) -> int:
        return self.end - RANGES[self.name]

    def step(self, finest: int, rate: float = math.inf) -> int:
        """Seconds a point: as fine as the tiles are, and coarse enough for some 30 rows at `rate` rows a second."""
        for step in STEPS:
            if (
                step >= finest
                and (self.end - self.start) / step <= MOST_POINTS
                and rate * step >= ROWS_A_POINT
            ):
                return step
        return next(s for s in reversed(STEPS) if (self.end - self.start) / s >= 12)

    def grid(self, step: int) -> tuple[int, int]:
        """Start on a whole step, and the end: the last step may still go on."""
        return self.start // step * step, self.end

    def ends(self, step: int) -> np.ndarray:
        """The end of each step, int64 (T,): what is counted in a step is known then. The last is cut at the span's end."""
        start, end = self.grid(step)
        return np.minimum(np.arange(start, end, step, dtype=np.int64) + step, end)

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "from": iso(self.start), "to": iso(self.end)}


@dataclass(frozen=True)
class State:
    """All that the pages are made of."""

    tiles: Tiles
    ledger: Ledger
    references: References
    config: Config
    statuses: Callable[[], Sequence[Any]]  # of the poller, one a target

    def models(self) -> dict[str, list[Deployed]]:
        """Versions by model."""
        return by_model(deployed(self.tiles))

    def revision(self) -> int:
        """Another number once more has been counted."""
        with self.tiles.lock:
            self.tiles.catch_up()
            return self.tiles.revision

    def view(self, name: str, span: Span, version: str | None = None) -> "View":
        """One model over a span; KeyError where there is none, or not this version."""
        versions = self.models()[name]
        if version is None:
            return self.choose(versions, span)
        chosen = {v.version: v for v in versions}[version]
        return View(self, chosen, tuple(versions), span)

    def choose(self, versions: Sequence[Deployed], span: Span, counters: Counters | None = None) -> "View":
        """The version that answers; `counters` saves a read where there are many models."""
        if len(versions) == 1:
            return View(self, versions[0], tuple(versions), span)
        found = current(versions, counters or Counters(self.tiles, span.now))
        return View(self, found, tuple(versions), span)


@dataclass(frozen=True)
class View:
    """One version of a model over a span of time."""

    state: State
    version: Deployed
    versions: tuple[Deployed, ...]
    span: Span
    over: str | None = None  # bins other than those of the model's own columns

    @property
    def tiles(self) -> Tiles:
        return self.state.tiles

    @cached_property
    def bins(self) -> str | None:
        """The bins that its columns were counted over last."""
        if self.over is not None:
            return self.over
        own = {b: s for b, s in self.version.series.items() if b not in self._heuristics}
        seen = {bins: s for bins, series in own.items() if (s := self.tiles.seen(series))}
        return max(seen, key=lambda b: (seen[b][1], b)) if seen else None

    @cached_property
    def _heuristics(self) -> frozenset[str]:
        """The bins of heuristics that were learnt from the log, each a column of its own."""
        found = self.tiles.series(naming.HEURISTIC_INFO, **self.version.names)
        return frozenset(s.label("bins") or "" for s in found) & self.version.series.keys()

    @cached_property
    def beside(self) -> tuple["View", ...]:
        """The same view over the bins of each of these."""
        return tuple(replace(self, over=bins) for bins in sorted(self._heuristics) if self.over is None)

    @cached_property
    def known(self) -> Known | None:
        """Its reference, where there is one."""
        return self.state.references.of(self.version, self.bins)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What its columns are judged by, now."""
        if self.bins is None or self.known is None:
            return None
        config, model = self.state.config, self.version.model
        marks = self.state.ledger.policy(self.span.now).marks
        judging = Judging(
            self.tiles,
            self.state.ledger,
            self.state.references,
            config.model(model),
            model,
            config.window,
            marks,
        )
        return judging.in_force(self.version, self.bins, self.known.lane, self.span.now)

    @cached_property
    def columns(self) -> Series | None:
        """The series of its columns' counts."""
        return None if self.bins is None else self.version.series[self.bins]

    @cached_property
    def silent(self) -> bool:
        """Whether there was no prediction for hours."""
        return not self.counter(naming.PREDICTIONS, self.span.now - SILENT, self.span.now + MINUTE)

    @cached_property
    def recent(self) -> int:
        """How many seconds before the end hold some 30 calls: what "now" means. The whole span, where nothing does."""
        end = self.span.end
        for seconds in (5 * MINUTE, HOUR, 6 * HOUR, DAY):
            calls = sum(self.counter(m, end - seconds, end) for m in (naming.PREDICTIONS, naming.ERRORS))
            if calls >= ROWS_A_POINT:
                return seconds
        return end - self.span.start

    @cached_property
    def unjudged(self) -> Unjudged | None:
        """What of it is not judged, and why; None where all is."""
        if self.silent:
            last = self.last_answered()
            return sentences.silent(None if last is None else iso(last))
        if self.known is None or self.bins is None:
            return sentences.no_reference(self.version.references.get(self.bins or "") is not None)
        if self.known.calibration.learning is not None:
            return sentences.faults_only(self.known.calibration.learning)
        counted = Counted(self.version.model, self.version.version, self.bins)
        if self.state.ledger.judged_until(counted) is None:
            return sentences.not_yet(MINIMUM_ROWS, self.state.config.window)
        return None

    def last_answered(self) -> int | None:
        """The end of the last minute (or hour, or day, where no finer is kept) with predictions; epoch seconds."""
        start, end = self.version.first // DAY * DAY, self.span.end + MINUTE
        found = None
        for step in (DAY, HOUR, MINUTE):
            if step < self.tiles.finest(start):
                break
            windows = self.tiles.windows_many(self.series(naming.PREDICTIONS), start, end, step)
            here = np.flatnonzero(sum(w.counts.sum(axis=1) for w in windows)) if windows else np.zeros(0)
            if not len(here):
                break
            start = int(windows[0].starts[here[-1]])
            found = end = min(start + step, end)
        return found

    @cached_property
    def rows(self) -> int:
        """Predictions in the span."""
        return int(self.counter(naming.PREDICTIONS, self.span.start, self.span.end))

    @cached_property
    def rate(self) -> float:
        """Predictions a second over the span, or since it was first seen."""
        start = max(self.span.start, self.version.first)
        return self.rows / max(self.span.end - start, MINUTE)

    def counter(self, metric: Metric, start: float, end: float, **labels: str) -> int:
        """What a counter grew by, over its other labels."""
        return sum(int(self.tiles.window(s, start, end).counts.sum()) for s in self.series(metric, **labels))

    def series(self, metric: Metric, **labels: str) -> list[Series]:
        """Its series of a metric."""
        return self.tiles.series(
            metric.name, model=self.version.model, version=self.version.version, **labels
        )

    def over_time(
        self, metric: Metric, step: int, **labels: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ends of the steps (T,), counts (T, k) and sums (T, m) of a metric, over its other labels."""
        start, end = self.span.grid(step)
        ends = self.span.ends(step)
        found = self.tiles.windows_many(self.series(metric, **labels), start, end, step)
        if not found:
            return ends, np.zeros((len(ends), 1), dtype=np.int64), np.zeros((len(ends), 1))
        return (
            ends,
            sum(w.counts for w in found[1:]) + found[0].counts,
            sum(w.sums for w in found[1:]) + found[0].sums,
        )

    @cached_property
    def _counted(self) -> dict[float, Vector]:
        return {}

    def counted(self, start: float) -> Vector:
        """Its columns from `start` to the end of the span, read once."""
        assert self.columns is not None
        if start not in self._counted:
            self._counted[start] = self.tiles.window(self.columns, start, self.span.end)
        return self._counted[start]

    def column_over_time(self, name: str, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ends of the steps (T,), counts (T, size) and sums (T, size) of one column."""
        assert self.known is not None and self.columns is not None
        found = self.tiles.windows(
            self.columns, *self.span.grid(step), step, self.known.reference.bins.slice(name)
        )
        return self.span.ends(step), found.counts, found.sums

    def rate_over_time(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the steps (T,), and predictions a second in each.

        NaN before the model was first seen, and where the last step is too young to say.
        """
        ends, counts, _ = self.over_time(naming.PREDICTIONS, step)
        starts = begins(ends, step)
        lengths = ends - starts
        rate = counts[:, 0] / lengths
        young = (lengths < step) & (lengths * self.rate < ROWS_OF_A_RATE) & (lengths < step / 2)
        rate[young | (starts < self.version.first // step * step)] = np.nan
        return ends, rate

    @cached_property
    def gaps(self) -> list[dict[str, int]]:
        """Spans in which nothing was read of this version: three steps and more without its counters, quiet or not."""
        step = self.span.step(self.tiles.finest(self.span.start))
        start, end = self.span.grid(step)
        series = self.series(naming.PREDICTIONS)
        if not series:
            return []
        here = np.any([w.present for w in self.tiles.windows_many(series, start, end, step)], axis=0)
        edges = np.flatnonzero(np.diff(np.concatenate([[True], here, [True]]).astype(int)))
        first = max(start, self.version.first)
        spans = [(start + a * step, min(start + b * step, end)) for a, b in edges.reshape(-1, 2).tolist()]
        return [{"from": max(a, first), "to": b} for a, b in spans if b - max(a, first) >= 3 * step]


def begins(ends: np.ndarray, step: int) -> np.ndarray:
    """The start of each step by its end; the last may be cut."""
    return (ends - 1) // step * step


def listed(values: np.ndarray, digits: int = 6) -> list[float | None]:
    """An array as JSON: null where it is no finite number."""
    return [
        None if not math.isfinite(v) else float(f"{v:.{digits}g}")
        for v in np.asarray(values, dtype=float).tolist()
    ]


def plain(value: float | None, digits: int = 6) -> float | None:
    """A number as JSON: null where it is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def tidy(value: Any) -> Any:
    """JSON without numpy's types and without NaN."""
    if isinstance(value, Mapping):
        return {k: tidy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
