"""From raw samples to what each scraped process counted: lines of /metrics back to series, restarts found, steps put in time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from barograph import naming
from barograph.counters import ADDITIVE, Series, Snapshot, Vector
from barograph.increments import increments
from barograph.naming import Metric
from barograph.prometheus.api import Labels
from barograph.prometheus.coarse import CoarseReference
from barograph.tiles import MINUTE, Increment

BUCKET, SUM = "_bucket", "_sum"
_GAUGES = (
    naming.IN_PROGRESS,
    naming.BUFFER_FILL,
    naming.WORKERS,
    naming.WORKERS_UNSHARED,
    naming.SERIES_HIDDEN,
)
_BOUNDS = {bound: i for i, bound in enumerate((*naming.DURATION_BUCKETS, np.inf))}
Bins = tuple[str, str, str]  # model, version, id of the bins


def _read() -> Iterator[tuple[str, Metric]]:
    """What is asked for: all that is counted and said of models, by its name at Prometheus."""
    for metric in naming.METRICS.values():
        if metric.name.startswith(naming.PREFIX) and (
            metric.type in (*ADDITIVE, "info") or metric in _GAUGES
        ):
            parts = (BUCKET, SUM) if metric.type == "histogram" else ("",)
            yield from ((metric.name + part, metric) for part in parts)


READ: dict[str, Metric] = dict(_read())


@dataclass(frozen=True, slots=True)
class Line:
    """One line of /metrics without what Prometheus added: its name, and its own labels, in order."""

    name: str
    labels: Labels
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.name, self.labels)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def metric(self) -> Metric:
        return READ[self.name]

    @property
    def counts(self) -> bool:
        """Whether it is added up, over processes and over time."""
        return self.metric.type in ADDITIVE

    def label(self, name: str) -> str:
        """The value of a label, empty where the line lacks it."""
        return next((value for key, value in self.labels if key == name), "")

    @property
    def bins(self) -> Bins:
        return self.label("model"), self.label("version"), self.label("bins")


def split(labels: Mapping[str, str]) -> tuple[Labels, Line]:
    """What Prometheus says of the process (job, instance, pod, ...), and the line.

    A label that both have is taken as Prometheus keeps it apart, in `exported_NAME`.

    >>> split({"__name__": "ml_predictions_total", "model": "m", "version": "1", "instance": "a:1"})[0]
    (('instance', 'a:1'),)
    """
    rest = {k: v for k, v in labels.items() if k != "__name__"}
    name = labels["__name__"]
    own = {}
    for label in READ[name].labels:
        exported = f"exported_{label}"
        value = rest.pop(exported if exported in rest else label, "")
        if value:
            own[label] = value
    if name.endswith(BUCKET):
        own["le"] = rest.pop("le", "")
    return tuple(sorted(rest.items())), Line(name, tuple(sorted(own.items())))


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a process, in a fixed order."""

    lines: tuple[Line, ...] = field(repr=False)

    @cached_property
    def index(self) -> dict[Line, int]:
        return {line: i for i, line in enumerate(self.lines)}

    @cached_property
    def counted(self) -> np.ndarray:
        """bool[L]: lines that count whole things, and never fall but for a restart. Sums of seconds may, by rounding."""
        found = [line.counts and not _is_sum(line) for line in self.lines]
        return np.array(found, dtype=bool)

    @cached_property
    def infos(self) -> np.ndarray:
        """intp[n]: lines that name references."""
        found = [i for i, line in enumerate(self.lines) if line.metric is naming.MODEL_INFO]
        return np.array(found, dtype=np.intp)

    @cached_property
    def scopes(self) -> np.ndarray:
        """intp[L]: lines that begin anew together: all of a model's version; others for themselves."""
        places: dict[Any, int] = {}
        found = [places.setdefault(_scope(line), len(places)) for line in self.lines]
        return np.array(found, dtype=np.intp)

    @cached_property
    def groups(self) -> np.ndarray:
        """intp[L]: lines of one number belong together: the buckets of a histogram, the cells of a model's columns."""
        places: dict[Any, int] = {}
        found = [places.setdefault(_group(line), len(places)) for line in self.lines]
        return np.array(found, dtype=np.intp)


def _scope(line: Line) -> Any:
    if "version" in line.metric.labels:
        return line.label("model"), line.label("version")
    return _group(line)


def _group(line: Line) -> Any:
    if line.metric is naming.COLUMN_VALUES:
        return line.bins
    if line.metric.type == "histogram":
        return line.metric.name, tuple(pair for pair in line.labels if pair[0] != "le")
    return line


@dataclass(frozen=True, eq=False)
class Cursor:
    """What a process had counted by `clock` (epoch seconds): `values` float64[L] of its lines."""

    clock: float
    lines: Lines
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of one process: `lines`, and end to end of each of them the `times` (epoch seconds) and `values`, so many as
    `sizes` says."""

    lines: Sequence[Line]
    sizes: np.ndarray
    times: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, lines: Sequence[Line], pairs: Sequence[Sequence[tuple[float, str]]]) -> "Samples":
        """From what the query API gives."""
        every = list(chain.from_iterable(pairs))
        return cls(
            lines,
            np.array([len(one) for one in pairs], dtype=np.intp),
            np.array([moment for moment, _ in every], dtype=np.float64),
            np.array([float(value) for _, value in every]),
        )


@dataclass(frozen=True, eq=False)
class Scrapes:
    """Scrapes of one process: `times` float64[T], in order, and `values` float64[T, L] of its lines; NaN where there is none."""

    times: np.ndarray
    lines: Lines
    values: np.ndarray

    @classmethod
    def of(cls, lines: Lines, samples: Samples, after: float) -> "Scrapes":
        """From the samples past a moment; `lines` hold all of theirs."""
        rows = np.repeat([lines.index[line] for line in samples.lines], samples.sizes)
        new = samples.times > after
        times, places = np.unique(samples.times[new], return_inverse=True)
        values = np.full((len(times), len(lines.lines)), np.nan)
        values[places, rows[new]] = samples.values[new]
        return cls(times, lines, values)

    def complete(self) -> "Scrapes":
        """Without numbers of which a part is not there yet: they come with the next scrape."""
        there = ~np.isnan(self.values)
        lacking = there.any(axis=0) & ~there
        if not lacking.any():
            return self
        groups, values = self.lines.groups, self.values.copy()
        for t in np.flatnonzero(lacking.any(axis=1)):
            values[t, np.isin(groups, groups[lacking[t]])] = np.nan
        return Scrapes(self.times, self.lines, values)


@dataclass(frozen=True, eq=False)
class Step:
    """What the lines of a process grew by (float64[L]) from `begin` to `end`, epoch seconds; `infos` were the lines of
    `lines.infos` that were there (bool)."""

    begin: float
    end: float
    grown: np.ndarray
    infos: np.ndarray


def steps(begin: float, before: np.ndarray, scrapes: Scrapes) -> tuple[list[Step], np.ndarray]:
    """What was counted from one scrape to the next, and the values at the end.

    `before` float64[L] are the values at `begin`, NaN of lines that were not there: they count from 0. A count that fell is a
    restart: all that its version shows is new. (Not of other versions: workers that count in a kept directory hold what those
    counted, while one that was retired begins at 0 again.) Steps within one minute are put together.
    """
    lines, found = scrapes.lines, list[Step]()
    infos = np.zeros(len(lines.infos), dtype=bool)
    for end, now in zip(scrapes.times.tolist(), scrapes.values, strict=True):
        there = ~np.isnan(now)
        fell = lines.counted & there & (now < before)
        if fell.any():
            anew = np.isin(lines.scopes, lines.scopes[fell])
            before = np.where(anew, np.nan, before)
        grown = np.where(there, now - np.nan_to_num(before), 0.0)
        before = np.where(there, now, before)
        infos = there[lines.infos] if there[lines.infos].any() else infos
        last = found[-1] if found else None
        same = last is not None and last.begin // MINUTE == end // MINUTE and (last.infos == infos).all()
        if last is not None and same:
            found[-1] = Step(last.begin, end, last.grown + grown, infos)
        else:
            found.append(Step(begin, end, grown, infos))
        begin = end
    return found, before


@dataclass(frozen=True, eq=False)
class _Part:
    """Where the numbers of a series are among the lines: of `slots` of its counts or, where they are `sums`, of its sums."""

    series: Series
    rows: np.ndarray
    slots: np.ndarray
    sums: bool = False
    typical: np.ndarray | None = None  # of columns: what stands for the values of each slot

    def put(self, grown: np.ndarray, vector: Vector) -> None:
        values = grown[self.rows]
        if self.sums:
            vector.sums[self.slots] = values
            return
        whole = np.rint(values).astype(np.int64)
        if self.series.kind == "histogram":
            whole = np.diff(whole, prepend=0)
        vector.counts[self.slots] = whole
        if self.typical is not None:
            vector.sums[:] = vector.counts * self.typical


class Plan:
    """How the lines of a process become series, by the references that it counts over.

    `by_bins` are these references; `unknown` are bins whose lines cannot be read for want of theirs.
    """

    def __init__(self, lines: Lines, by_bins: Mapping[Bins, CoarseReference]) -> None:
        self._parts: list[_Part] = []
        self.lasting: list[tuple[Series, int]] = []  # gauges and infos, and their lines
        self.unknown: set[Bins] = set()
        grouped: dict[int, list[int]] = {}
        for i, group in enumerate(lines.groups.tolist()):
            grouped.setdefault(group, []).append(i)
        for rows in grouped.values():
            self._add(rows, [lines.lines[row] for row in rows], by_bins)

    def _add(
        self, rows: Sequence[int], lines: Sequence[Line], by_bins: Mapping[Bins, CoarseReference]
    ) -> None:
        first, metric = lines[0], lines[0].metric
        labels = {label: first.label(label) for label in metric.labels}
        if metric is naming.COLUMN_VALUES:
            self._add_columns(rows, lines, by_bins.get(first.bins))
        elif metric.type == "histogram":
            self._add_histogram(rows, lines, Series.of(metric, labels))
        elif first.counts:
            series = Series.of(metric, labels)
            self._parts.append(_Part(series, np.array(rows), np.zeros(1, dtype=np.intp), bool(series.sums)))
        else:
            if metric is naming.MODEL_INFO and (coarse := by_bins.get(first.bins)) is not None:
                labels["bins"] = coarse.reference.bins.id
            self.lasting.append((Series.of(metric, labels), rows[0]))

    def _add_columns(
        self, rows: Sequence[int], lines: Sequence[Line], coarse: CoarseReference | None
    ) -> None:
        if coarse is None:
            self.unknown.add(lines[0].bins)
            return
        bins, (model, version, _) = coarse.reference.bins, lines[0].bins
        named = {"model": model, "version": version, "bins": bins.id}
        series = Series.of(naming.COLUMN_VALUES, named, size=bins.size)
        slots = [coarse.slots.get((line.label("column"), line.label("cell")), -1) for line in lines]
        kept = [i for i, slot in enumerate(slots) if slot >= 0]
        places = np.array([slots[i] for i in kept], dtype=np.intp)
        self._parts.append(_Part(series, np.array(rows)[kept], places, typical=coarse.typical))

    def _add_histogram(self, rows: Sequence[int], lines: Sequence[Line], series: Series) -> None:
        bounds = {
            _BOUNDS.get(_bound(line)): row for row, line in zip(rows, lines, strict=True) if _is_bucket(line)
        }
        if None not in bounds and len(bounds) == series.counts:
            places = np.array([bounds[i] for i in range(series.counts)])
            self._parts.append(_Part(series, places, np.arange(series.counts)))
            sums = [row for row, line in zip(rows, lines, strict=True) if not _is_bucket(line)]
            self._parts.append(_Part(series, np.array(sums[:1], dtype=np.intp), np.arange(len(sums)), True))

    def increments(self, step: Step) -> list[Increment]:
        """What was counted in a step, spread over its minutes; zeros of what was quiet."""
        grown: dict[Series, Vector] = {}
        for part in self._parts:
            part.put(step.grown, grown.setdefault(part.series, Vector.zero(part.series)))
        return increments(Snapshot(step.begin, "", 1, {}), Snapshot(step.end, "", 1, grown))


def _is_bucket(line: Line) -> bool:
    return line.name.endswith(BUCKET)


def _is_sum(line: Line) -> bool:
    return line.name.endswith((SUM, "_seconds_total"))


def _bound(line: Line) -> float:
    try:
        return float(line.label("le"))
    except ValueError:
        return np.nan
