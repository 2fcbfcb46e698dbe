"""What is looked at each minute: traffic, errors, latency, empty answers, dependencies, rows dropped. Counts in, conditions out.

A new check is a function here and its name in CHECKS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from barograph import naming, sentences, traffic
from barograph.alert import Condition
from barograph.counters import Series
from barograph.naming import Metric, Rule
from barograph.tiles import Tiles

MINUTE, HOUR, WEEK = 60, 3600, traffic.WEEK
ENOUGH_CALLS = 20
ENOUGH_ROWS = 30
ERROR_LIMIT = 0.05
EMPTY_POINTS = 0.05
STILL_SEEN = 10 * MINUTE
_BY_MINUTE = (naming.PREDICTIONS, naming.ERRORS, naming.DURATION, naming.EMPTY, naming.DROPPED_ROWS)
_BY_HOUR = (naming.PREDICTIONS, naming.EMPTY)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A version of a model that has been seen: `series` are its counted columns, by bins id; `first` and `last` its minutes."""

    model: str
    version: str
    series: Mapping[str, Series]
    first: int
    last: int

    @property
    def names(self) -> dict[str, str]:
        """Its labels."""
        return {"model": self.model, "version": self.version}


class Counters:
    """The counters of all models: by minute since the last whole hour began, by hour for four weeks; two reads of the store."""

    def __init__(self, tiles: Tiles, now: float) -> None:
        self.end = int(now // MINUTE * MINUTE)
        self.hour = self.end // HOUR * HOUR
        self.start = self.hour - HOUR
        self.first_hour = self.hour - traffic.WEEKS * WEEK - 2 * HOUR
        self._minutes = _read(tiles, _BY_MINUTE, self.start, max(self.end, self.start + MINUTE), MINUTE)
        self._hours = _read(tiles, _BY_HOUR, self.first_hour, self.hour, HOUR)

    def total(
        self, metric: Metric, version: "Deployed | str", start: float, end: float, **labels: str
    ) -> np.ndarray:
        """What the series of a version, or of a model by its name, grew by since the last hour or two: int64[k]."""
        named = {"model": version} if isinstance(version, str) else version.names
        part = slice(max(0, int(start - self.start) // MINUTE), max(0, int(end - self.start) // MINUTE))
        wanted = {**named, **labels}
        found = [
            counts[part].sum(axis=0) for s, counts in self._minutes[metric.name].items() if _has(s, wanted)
        ]
        return np.asarray(sum(found, np.zeros(1, dtype=np.int64)))

    def calls(self, version: "Deployed | str", start: float, end: float) -> tuple[int, int]:
        """Calls that were answered and calls that failed. A call is a request; where none is timed, a row."""
        failed = int(self.total(naming.ERRORS, version, start, end).sum())
        timed = int(self.total(naming.DURATION, version, start, end, stage=naming.TOTAL).sum())
        return timed or int(self.total(naming.PREDICTIONS, version, start, end).sum()), failed

    def by_label(
        self, metric: Metric, version: Deployed, label: str, start: float, end: float
    ) -> dict[str, int]:
        """The same by the values of one label."""
        values = {s.label(label) or "" for s in self._minutes[metric.name]}
        return {v: int(self.total(metric, version, start, end, **{label: v}).sum()) for v in sorted(values)}

    def hours(self, metric: Metric, **labels: str) -> np.ndarray:
        """int64[H] by hour from `first_hour`, over all series with these labels."""
        found = [counts[:, 0] for s, counts in self._hours[metric.name].items() if _has(s, labels)]
        return np.asarray(sum(found, np.zeros((self.hour - self.first_hour) // HOUR, dtype=np.int64)))


@dataclass(frozen=True)
class Look:
    """One version of a model at one moment, with what its owner allows. `first` is when the model was first seen."""

    tiles: Tiles
    counters: Counters
    version: Deployed
    first: int
    limits: Mapping[str, float]

    @property
    def end(self) -> int:
        return self.counters.end

    def total(self, metric: Metric, start: float, end: float, **labels: str) -> int:
        """What a counter grew by."""
        return int(self.counters.total(metric, self.version, start, end, **labels).sum())

    def condition(
        self,
        rule: Rule,
        active: bool | None,
        start: float,
        end: float | None = None,
        *,
        value: float | None = None,
        threshold: float | None = None,
        text: str = "",
        column: str = "",
    ) -> Condition:
        """A condition of this version, seen in [start, end)."""
        at = float(self.end if end is None else end)
        said = text if active else ""
        model, version = self.version.model, self.version.version
        return Condition(
            rule.name, model, version, active, float(start), at, column, "", value, threshold, said
        )

    @cached_property
    def usual(self) -> np.ndarray:
        """Predictions usual in the hour before the last minute's and in that one, from the same hours of earlier weeks."""
        starts = np.arange(self.counters.first_hour, self.counters.hour, HOUR)
        known = starts >= self.first // HOUR * HOUR
        counts = self.counters.hours(naming.PREDICTIONS, model=self.version.model)
        here = (self.end - 1) // HOUR * HOUR
        return traffic.usual(np.array([here - HOUR, here]), starts[known], counts[known], least=1).expected


def silence(look: Look) -> list[Condition]:
    """Nothing came where something was expected."""
    least = float(look.usual.min())
    minutes = next((m for m in (5, 15) if least * m / 60 >= traffic.SILENCE), 60)
    expected = None if np.isnan(least) else least * minutes / 60
    start = look.end - minutes * MINUTE
    rows = int(look.counters.total(naming.PREDICTIONS, look.version.model, start, look.end).sum())
    silent = traffic.silent(rows, expected)
    text = sentences.no_traffic(expected or 0.0, minutes)
    found = look.condition(naming.NO_TRAFFIC, silent, start, value=0.0, threshold=expected, text=text)
    return [
        replace(found, version="")
    ]  # of the model: a version that another one replaced is silent by right


def errors(look: Look) -> list[Condition]:
    """Too large a share of predictions failed, in the last five minutes or, where they were few, in the last hour."""
    limit = look.limits.get("errors", ERROR_LIMIT)
    for minutes in (5, 60):
        start = look.end - minutes * MINUTE
        answered, failed = look.counters.calls(look.version, start, look.end)
        if answered + failed >= ENOUGH_CALLS:
            value = failed / (answered + failed)
            text = sentences.errors(value, limit)
            over = value > limit
            return [look.condition(naming.ERRORS_HIGH, over, start, value=value, threshold=limit, text=text)]
    return [look.condition(naming.ERRORS_HIGH, None, look.end - HOUR)]


def latency(look: Look) -> list[Condition]:
    """Predictions take longer than the owner allows."""
    limit = look.limits.get("latency_p95")
    if limit is None:
        return []
    start = look.end - 5 * MINUTE
    counts = look.counters.total(naming.DURATION, look.version, start, look.end, stage=naming.TOTAL)
    if counts.sum() < ENOUGH_CALLS:
        return [look.condition(naming.SLOW, None, start)]
    value = float(traffic.duration_quantiles(counts, np.array([0.95]))[0])
    text = sentences.slow(value, limit)
    return [look.condition(naming.SLOW, value > limit, start, value=value, threshold=limit, text=text)]


def empty(look: Look) -> list[Condition]:
    """Too large a share of the last whole hour's answers held none."""
    start, end = look.counters.start, look.counters.hour
    found, rows = (look.total(metric, start, end) for metric in (naming.EMPTY, naming.PREDICTIONS))
    if rows < ENOUGH_ROWS:
        return [look.condition(naming.EMPTY_HIGH, None, start, end)]
    labels = look.version.names
    week = slice(-WEEK // HOUR - 1, -1)
    before, all_before = (
        int(look.counters.hours(m, **labels)[week].sum()) for m in (naming.EMPTY, naming.PREDICTIONS)
    )
    usual = before / all_before if all_before else 0.0
    limit = look.limits.get("empty", usual + EMPTY_POINTS)
    value = found / rows
    text = sentences.empty(value, usual)
    return [
        look.condition(naming.EMPTY_HIGH, value > limit, start, end, value=value, threshold=limit, text=text)
    ]


def dependencies(look: Look) -> list[Condition]:
    """Packages run in another version than the model was made with, in any of its processes."""
    differing: dict[str, str] = {}
    for series in look.tiles.series(naming.DEPENDENCY_INFO.name, **look.version.names):
        package, running, trained = (series.label(n) or "" for n in ("package", "running", "trained"))
        seen = look.tiles.seen(series)
        here = running != trained and seen is not None and look.end - seen[1] <= STILL_SEEN
        if here or package not in differing:
            differing[package] = sentences.dependency(package, running, trained) if here else ""
    start = look.end - MINUTE
    return [
        look.condition(naming.DEPENDENCY_DIFFERS, bool(text), start, text=text, column=package)
        for package, text in differing.items()
    ]


def dropped(look: Look) -> list[Condition]:
    """The monitor could not count rows. Those that carry another time are counted by the join, and are not lost."""
    start = look.end - 10 * MINUTE
    by_reason = look.counters.by_label(naming.DROPPED_ROWS, look.version, "reason", start, look.end)
    lost = {reason: n for reason, n in by_reason.items() if n and reason != "time"}
    text = sentences.dropped(sum(lost.values()), sorted(lost))
    return [
        look.condition(naming.ROWS_DROPPED, bool(lost), start, value=float(sum(lost.values())), text=text)
    ]


# Of each version that answers; `silence` is of the model.
CHECKS: tuple[Callable[[Look], list[Condition]], ...] = (
    errors,
    latency,
    empty,
    dependencies,
    dropped,
)


def _read(
    tiles: Tiles, metrics: tuple[Metric, ...], start: int, end: int, step: int
) -> dict[str, dict[Series, np.ndarray]]:
    series = [s for metric in metrics for s in tiles.series(metric.name)]
    found: dict[str, dict[Series, np.ndarray]] = {metric.name: {} for metric in metrics}
    for one, windows in zip(series, tiles.windows_many(series, start, end, step), strict=True):
        found[one.metric][one] = windows.counts
    return found


def _has(series: Series, labels: Mapping[str, str]) -> bool:
    return all(series.label(name) == value for name, value in labels.items())
