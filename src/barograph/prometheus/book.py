"""What was read from Prometheus, counted into tiles: stored together with how far each process had counted, so that nothing
counts twice, and nothing is lost while the evaluator is away."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from barograph import naming
from barograph.counters import Series, Vector
from barograph.counters.series import HIGHEST
from barograph.prometheus.api import Labels
from barograph.prometheus.references import ReferenceFiles
from barograph.prometheus.scrapes import READ, Bins, Cursor, Line, Lines, Plan, Samples, Scrapes, split, steps
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Tiles

YOUNG = 900.0  # seconds from the start of a process to its first scrape, if Prometheus is at work
GAP = 300.0  # seconds without any scrape: Prometheus was not at work
FORGOTTEN = 2 * DAY
_SCHEMA = """
CREATE TABLE IF NOT EXISTS prometheus_state (name VARCHAR, value VARCHAR);
CREATE TABLE IF NOT EXISTS prometheus_lines (id VARCHAR, body BLOB);
CREATE TABLE IF NOT EXISTS prometheus_cursors (target VARCHAR, clock DOUBLE, lines VARCHAR, counted BLOB);
"""


@dataclass(frozen=True, eq=False)
class Page:
    """Samples by process. `times` are all moments of a scrape, in order."""

    samples: Mapping[Labels, Samples]
    times: np.ndarray

    def first(self, target: Labels) -> float:
        """The first moment of a process."""
        return float(self.samples[target].times.min())


@dataclass(frozen=True)
class Lacking:
    """What of a process cannot be counted: `unknown` bins, with the reference that they lack, and columns that it `hides`."""

    unknown: Mapping[Bins, str]
    hides: bool


@dataclass
class _Taken:
    """What a page says, before it is stored."""

    increments: list[Increment] = field(default_factory=list)
    cursors: dict[Labels, Cursor] = field(default_factory=dict)
    lasting: dict[tuple[Series, int], dict[Labels, float]] = field(default_factory=dict)  # by minute
    lacking: dict[Labels, Lacking] = field(default_factory=dict)


def refuse_mixed(tiles: Tiles, *, fleet: bool) -> None:
    """Raise ValueError where tiles hold what another kind of source counted: it would be counted a second time."""
    other = "cursors" if fleet else "prometheus_state"
    with tiles.lock:
        query = "SELECT table_name FROM duckdb_tables() WHERE table_name = ?"
        there = tiles.connection.execute(query, [other]).fetchall()
        rows = tiles.connection.execute(f"SELECT * FROM {other} LIMIT 1").fetchall() if there else []
    if rows:
        kind = "services" if fleet else "Prometheus"
        raise ValueError(
            f"store: {tiles.path} holds what was read from {kind}; give another file, so that nothing counts twice"
        )


class Book:
    """Counts pages of samples into tiles. One at a time may write.

    `began` is the moment (epoch seconds) from which is counted, `read` the one up to which samples have been read, None before
    the first. `cursors` are by process, and so is what is `lacking`. `gap` is the last span in which Prometheus scraped
    nothing.
    """

    def __init__(self, tiles: Tiles, references: ReferenceFiles) -> None:
        self._tiles, self._references = tiles, references
        with tiles.transaction() as connection:
            connection.execute(_SCHEMA)
        state = {
            name: json.loads(value) for name, value in self._fetch("SELECT name, value FROM prometheus_state")
        }
        self.began: float | None = state.get("began")
        self.read: float | None = state.get("read")
        self._lines: dict[str, Lines] = {}
        self._line_ids: dict[Lines, str] = {}
        self._interned: dict[Line, Line] = {}
        self.cursors = self._stored_cursors()
        self._stored = set(self._lines)
        self._newly_read = set(READ) - set(state.get("names", READ))
        self._met: set[Labels] = set()
        self._splits: dict[frozenset[tuple[str, str]], tuple[Labels, Line]] = {}
        self._plans: dict[tuple[Lines, bytes], Plan] = {}
        self._revision = references.revision
        self._lasting: dict[tuple[Series, int], dict[Labels, float]] = {}
        self._latest = max((c.clock for c in self.cursors.values()), default=None)
        self._next_tidy = 0.0
        self.lacking: dict[Labels, Lacking] = {}
        self.gap: tuple[float, float] | None = None

    def begin(self, moment: float) -> None:
        """Count from a moment on, in an empty book."""
        self._save_state({"began": moment})
        self.began = moment

    def parse(self, found: Iterable[Mapping[str, Any]]) -> Page:
        """Raw samples, as the query API gives them, by process; but for those that count nothing, such as ourselves."""
        listed: dict[Labels, tuple[list[Line], list[Any]]] = {}
        for one in found:
            key = frozenset(one["metric"].items())
            known = self._splits.get(key)
            if known is None:
                target, line = split(one["metric"])
                known = self._splits[key] = target, self._interned.setdefault(line, line)
            lines, pairs = listed.setdefault(known[0], ([], []))
            lines.append(known[1])
            pairs.append(one["values"])
        counting = {t: both for t, both in listed.items() if any(line.counts for line in both[0])}
        samples = {target: Samples.of(*both) for target, both in counting.items()}
        samples = {target: one for target, one in samples.items() if len(one.times)}
        times = [np.unique(one.times) for one in samples.values()]
        return Page(samples, np.unique(np.concatenate([np.zeros(0), *times])))

    def new(self, page: Page) -> list[Labels]:
        """Processes that were never seen before the page."""
        began = self.began or 0.0
        return [t for t in page.samples if t not in self.cursors and page.first(t) > began]

    def count(self, page: Page, until: float, starts: Mapping[Labels, float]) -> None:
        """Count a page that holds all samples up to `until`. `starts` says when new processes began (epoch seconds)."""
        taken = _Taken()
        if self._revision != self._references.revision:
            self._plans, self._revision = {}, self._references.revision
        gaps, tidy = self._gaps(page.times), until >= self._next_tidy
        for target, samples in page.samples.items():
            unseen = _unseen_since(page.first(target), gaps)
            self._count(target, samples, unseen, starts.get(target), taken)
        lasting = {key: {**self._lasting.get(key, {}), **values} for key, values in taken.lasting.items()}
        with self._tiles.transaction():
            self._tiles.add([*taken.increments, *_gauges(lasting)])
            stored = self._save_cursors(taken.cursors)
            self._save_state({"read": until, "names": sorted(READ)})
            if tidy:
                self._tidy(until)
        self.read = until
        self._stored |= stored
        self.cursors |= taken.cursors
        if tidy:
            self._tidied(until)
        self._lasting = {key: value for key, value in lasting.items() if key[1] > until - 3 * MINUTE}
        self.lacking = {t: self.lacking[t] for t in self.lacking.keys() & self.cursors.keys()} | taken.lacking
        self.gap = gaps[-1] if gaps else self.gap
        if len(page.times):
            self._latest = max(float(page.times[-1]), self._latest or 0.0)

    def _count(
        self,
        target: Labels,
        samples: Samples,
        unseen: float,
        start: float | None,
        taken: _Taken,
    ) -> None:
        cursor = self.cursors.get(target)
        lines = self._union(cursor, samples)
        scrapes = Scrapes.of(lines, samples, -np.inf if cursor is None else cursor.clock).complete()
        if not len(scrapes.times):
            return
        end = float(scrapes.times[-1])
        if cursor is None:
            begin, before, scrapes = self._begin(scrapes, unseen, start)
        else:
            begin, before = cursor.clock, _moved(cursor, lines)
            if self._newly_read and target not in self._met:
                new = np.array([line.name in self._newly_read for line in lines.lines])
                before = np.where(np.isnan(before) & new, _first_values(scrapes.values), before)
        self._met.add(target)
        found, values = steps(begin, before, scrapes)
        for step in found:
            taken.increments += self._plan(lines, step.infos).increments(step)
        if found:
            plan = self._plan(lines, found[-1].infos)
            taken.lacking[target] = _lacking(lines, plan, values)
            _take_lasting(target, plan, scrapes, taken)
        kept = ~np.isnan(values)
        if not kept.all():
            lines = self._shared([one for one, k in zip(lines.lines, kept, strict=True) if k])
        taken.cursors[target] = Cursor(end, lines, values[kept])

    def _begin(
        self, scrapes: Scrapes, unseen: float, start: float | None
    ) -> tuple[float, np.ndarray, Scrapes]:
        """Where counting of a new process begins: moment, values, and the scrapes after that.

        What it had counted before the book began is not counted, nor that of a process that ran, while Prometheus was at work,
        before `unseen`: it is known under other labels then, or was not meant to be.
        """
        nothing = np.full(len(scrapes.lines.lines), np.nan)
        began, first = self.began or 0.0, float(scrapes.times[0])
        old = int(np.searchsorted(scrapes.times, began, side="right"))
        if old == 0:
            if start is None:
                return first, nothing, scrapes
            if start >= max(began, unseen):
                return min(start, first), nothing, scrapes
            old = 1
        before = Scrapes(scrapes.times[:old], scrapes.lines, scrapes.values[:old])
        after = Scrapes(scrapes.times[old:], scrapes.lines, scrapes.values[old:])
        return float(scrapes.times[old - 1]), steps(first, nothing, before)[1], after

    def _plan(self, lines: Lines, infos: np.ndarray) -> Plan:
        key = lines, infos.tobytes()
        if key not in self._plans:
            by_bins = {}
            for row in lines.infos[infos]:
                line = lines.lines[row]
                coarse = self._references.get(line.label("reference"))
                if coarse is not None and coarse.original.bins.id == line.bins[2]:
                    by_bins[line.bins] = coarse
            named = {lines.lines[row].bins for row in lines.infos}
            counted = {line.bins for line in lines.lines if line.metric is naming.COLUMN_VALUES}
            for bins in counted - named:
                if (coarse := self._references.of_bins(bins[2])) is not None:
                    by_bins[bins] = coarse
            self._plans[key] = Plan(lines, by_bins)
        return self._plans[key]

    def _gaps(self, times: np.ndarray) -> list[tuple[float, float]]:
        """Spans without a scrape of any process, with the last one that was known, in order."""
        latest = self._latest if self._latest is not None else self.began
        known = times if latest is None else np.append(latest, times[times > latest])
        wide = np.flatnonzero(np.diff(known) > GAP)
        new = [(float(known[i]), float(known[i + 1])) for i in wide]
        return new if self.gap is None else [self.gap, *new]

    def _union(self, cursor: Cursor | None, samples: Samples) -> Lines:
        if cursor is None:
            return self._shared(samples.lines)
        new = [line for line in samples.lines if line not in cursor.lines.index]
        return self._shared([*cursor.lines.lines, *new]) if new else cursor.lines

    def _shared(self, lines: Iterable[Line]) -> Lines:
        """The same object for the same lines, so that replicas share what is made of it."""
        ordered = tuple(sorted(lines, key=lambda line: (line.name, line.labels)))
        name = _id(ordered)
        found = self._lines.setdefault(name, Lines(ordered))
        self._line_ids[found] = name
        return found

    # Storage.

    def _fetch(self, query: str) -> list[tuple[Any, ...]]:
        with self._tiles.lock:
            return self._tiles.connection.execute(query).fetchall()

    def _stored_cursors(self) -> dict[Labels, Cursor]:
        for name, body in self._fetch("SELECT id, body FROM prometheus_lines"):
            listed = json.loads(zlib.decompress(body))
            found = [Line(n, tuple((k, v) for k, v in labels)) for n, labels in listed]
            lines = Lines(tuple(self._interned.setdefault(line, line) for line in found))
            self._lines[name], self._line_ids[lines] = lines, name
        rows = self._fetch("SELECT target, clock, lines, counted FROM prometheus_cursors")
        return {
            tuple((k, v) for k, v in json.loads(target)): Cursor(
                clock, self._lines[lines], np.frombuffer(zlib.decompress(counted), dtype="<f8")
            )
            for target, clock, lines, counted in rows
        }

    def _save_cursors(self, cursors: Mapping[Labels, Cursor]) -> set[str]:
        """Within a transaction. Returns the lines that are stored with them."""
        used = {self._line_ids[c.lines]: c.lines for c in cursors.values()}
        with self._tiles.transaction() as connection:
            for name in used.keys() - self._stored:
                listed = [[line.name, line.labels] for line in used[name].lines]
                body = zlib.compress(json.dumps(listed).encode())
                connection.execute("DELETE FROM prometheus_lines WHERE id = ?", [name])
                connection.execute("INSERT INTO prometheus_lines VALUES (?, ?)", [name, body])
            given = pa.table({
                "target": pa.array([json.dumps(target) for target in cursors], pa.string()),
                "clock": pa.array([c.clock for c in cursors.values()], pa.float64()),
                "lines": pa.array([self._line_ids[c.lines] for c in cursors.values()], pa.string()),
                "counted": pa.array(
                    [zlib.compress(c.values.astype("<f8").tobytes(), 1) for c in cursors.values()], pa.binary()
                ),
            })  # fmt: skip
            with self._tiles.given(given):
                connection.execute(
                    "DELETE FROM prometheus_cursors WHERE target IN (SELECT target FROM given)"
                )
                connection.execute("INSERT INTO prometheus_cursors SELECT * FROM given")
        return set(used)

    def _save_state(self, changes: Mapping[str, Any]) -> None:
        with self._tiles.transaction() as connection:
            for name, value in changes.items():
                connection.execute("DELETE FROM prometheus_state WHERE name = ?", [name])
                connection.execute("INSERT INTO prometheus_state VALUES (?, ?)", [name, json.dumps(value)])

    def _tidy(self, now: float) -> None:
        """Forget processes that have not been seen for days, and lines that no process has; within a transaction."""
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM prometheus_cursors WHERE clock < ?", [now - FORGOTTEN])
            connection.execute(
                "DELETE FROM prometheus_lines WHERE id NOT IN (SELECT lines FROM prometheus_cursors)"
            )

    def _tidied(self, now: float) -> None:
        """The same in memory."""
        self._next_tidy = now + HOUR
        self.cursors = {t: c for t, c in self.cursors.items() if c.clock >= now - FORGOTTEN}
        used = {cursor.lines for cursor in self.cursors.values()}
        self._line_ids = {lines: name for lines, name in self._line_ids.items() if lines in used}
        self._lines = {name: lines for lines, name in self._line_ids.items()}
        self._interned = {line: line for lines in used for line in lines.lines}
        self._splits, self._plans, self._stored = {}, {}, set()


def _unseen_since(first: float, gaps: Sequence[tuple[float, float]]) -> float:
    """The earliest start of a process that is first scraped at `first`, and that could not have been scraped before."""
    near = [start for start, end in gaps if start < first and first - end <= YOUNG]
    return min([first, *near]) - YOUNG


def _moved(cursor: Cursor, lines: Lines) -> np.ndarray:
    """A cursor's values in the order of other lines, that hold all of its; NaN of those that are new."""
    if cursor.lines is lines:
        return cursor.values
    values = np.full(len(lines.lines), np.nan)
    values[[lines.index[line] for line in cursor.lines.lines]] = cursor.values
    return values


def _first_values(values: np.ndarray) -> np.ndarray:
    """The first number of each line, NaN where there is none: values (T, L) to (L,)."""
    there = ~np.isnan(values)
    return np.where(there.any(axis=0), values[np.argmax(there, axis=0), np.arange(values.shape[1])], np.nan)


def _lacking(lines: Lines, plan: Plan, values: np.ndarray) -> Lacking:
    named = {lines.lines[row].bins: lines.lines[row].label("reference") for row in lines.infos}
    hidden = [i for i, line in enumerate(lines.lines) if line.metric is naming.SERIES_HIDDEN]
    return Lacking({bins: named.get(bins, "") for bins in plan.unknown}, bool((values[hidden] > 0).any()))


def _take_lasting(target: Labels, plan: Plan, scrapes: Scrapes, taken: _Taken) -> None:
    """The last value of each gauge and info in each minute."""
    minutes = (scrapes.times // MINUTE * MINUTE).astype(np.int64)
    for series, row in plan.lasting:
        for t in np.flatnonzero(~np.isnan(scrapes.values[:, row])).tolist():
            value = float(scrapes.values[t, row])
            taken.lasting.setdefault((series, int(minutes[t])), {})[target] = value


def _gauges(lasting: Mapping[tuple[Series, int], Mapping[Labels, float]]) -> list[Increment]:
    """Gauges of several processes: added up, or the highest of them."""
    found = []
    for (series, minute), values in lasting.items():
        value = max(values.values()) if series.kind in HIGHEST else sum(values.values())
        found.append(Increment(series, minute, Vector(np.zeros(0, dtype=np.int64), np.array([value]))))
    return found


def _id(lines: Sequence[Line]) -> str:
    listed = [[line.name, line.labels] for line in lines]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
