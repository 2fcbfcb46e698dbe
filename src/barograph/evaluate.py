"""One pass: source -> signals -> alerts. A pure function of what is stored and of `now`; twice is the same as once."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from barograph import alert, naming, sentences
from barograph.alert import Alert, Condition, Incident
from barograph.calibrate import APART, WINDOWS_A_MONTH, Calibration, Verdicts, calibrate, pool
from barograph.calibrate import alarm as in_alarm
from barograph.checks import CHECKS, OF_MODEL, Counters, Deployed, Look, targets
from barograph.clock import iso
from barograph.config import Config
from barograph.counters import Series
from barograph.ledger import DEPLOYMENT, Counted, Event, History, Ledger
from barograph.outcomes import SUMS, OutcomeBins
from barograph.reference import Reference
from barograph.sources import Status
from barograph.tiles import DAY, HOUR, MINUTE, Tiles

log = logging.getLogger("barograph")

SETTLED = 120  # seconds after its end at which a window is judged
AT_MOST = 7 * DAY  # of history is judged in one go: bounds memory
UNJUDGED = DAY + 2 * HOUR  # few rows may take a day to a verdict
ROOM = 64  # references that are kept calibrated at least
_COLUMN_RULES = (naming.OUTPUT_SHIFTED, naming.INPUT_BROKEN, naming.FEATURE_SHIFTED)
_COLUMN_NAMES = frozenset(rule.name for rule in _COLUMN_RULES)


@dataclass(frozen=True, eq=False)
class Known:
    """A reference and what it calibrates to."""

    reference: Reference
    calibration: Calibration

    @cached_property
    def outcomes(self) -> OutcomeBins | None:
        """How outcomes are counted; None for a task without any."""
        return OutcomeBins.of(self.reference) if self.reference.task in SUMS else None


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began to fire, or was resolved."""

    alert: Alert
    incident: Incident


class References:
    """References by content id, read from `files` (id -> the file's content) and calibrated once each.

    `room` of them are kept in memory, those asked for last.
    """

    def __init__(self, files: Mapping[str, bytes], config: Config) -> None:
        self._files, self._config = files, config
        self.room = ROOM
        self._known: OrderedDict[tuple[str, float], Known] = OrderedDict()
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def of(self, version: Deployed, bins: str | None) -> Known | None:
        """The reference that a version's columns over these bins are judged by, calibrated to its model's budget.

        None where there is none, or one that is damaged.
        """
        name = version.references.get(bins or "")
        if name is None or name in self._refused or name not in self._files:
            return None
        key = (name, self._config.model(version.model).budget)
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
        found = found or self._read(*key)
        return found if found is not None and found.reference.bins.id == bins else None

    def _read(self, name: str, budget: float) -> Known | None:
        try:
            reference = Reference.from_json(self._files[name], origin=name)
            windows = WINDOWS_A_MONTH * HOUR // self._config.window
            found = Known(_narrow(reference), calibrate(reference, budget, windows=windows))
        except Exception as error:  # noqa: BLE001 (one damaged file is to empty no page of other models)
            self._refused.add(name)
            log.warning("reference %s cannot be used: %s; its columns are not judged", name, error)
            return None
        with self._lock:
            self._known[name, budget] = found
            while len(self._known) > self.room:
                self._known.popitem(last=False)
        return found


def _narrow(reference: Reference) -> Reference:
    """The same with its hours in the narrowest integers that hold them: most of what a reference takes of memory."""
    if reference.windows is None:
        return reference
    counts = reference.windows.counts
    kind = np.result_type(np.int8, np.min_scalar_type(int(counts.max(initial=0))))
    return replace(reference, windows=replace(reference.windows, counts=counts.astype(kind)))


def deployed(tiles: Tiles) -> list[Deployed]:
    """Every version of every model that has been seen."""
    columns: dict[tuple[str, str], dict[str, Series]] = {}
    for series in tiles.series(naming.COLUMN_VALUES.name):
        columns.setdefault(_names(series), {})[series.label("bins") or ""] = series
    references: dict[tuple[str, str], dict[str, tuple[tuple[int, int], str]]] = {}
    for series in tiles.series(naming.MODEL_INFO.name):
        bins, name = series.label("bins") or "", series.label("reference")
        first, last = tiles.seen(series) or (0, 0)
        if name:
            of_version = references.setdefault(_names(series), {})
            of_version[bins] = max(of_version.get(bins, ((0, 0), "")), ((last, first), name))
    found = []
    for series in tiles.series(naming.PREDICTIONS.name):
        key, seen = _names(series), tiles.seen(series) or (0, 0)
        named = {bins: name for bins, (_, name) in references.get(key, {}).items()}
        found.append(Deployed(*key, columns.get(key, {}), *seen, named))
    return found


def _names(series: Series) -> tuple[str, str]:
    return series.label("model") or "", series.label("version") or ""


def last_closed(now: float, window: int) -> int:
    """The end of the last window that is over, and has had time to be read; epoch seconds.

    >>> last_closed(7260.0, 3600), last_closed(7320.0, 3600), last_closed(7320.0, 60)
    (3600, 7200, 7260)
    """
    return int((now - min(SETTLED, window)) // window * window)


def by_model(versions: Iterable[Deployed]) -> dict[str, list[Deployed]]:
    """Versions by model, in order of names."""
    found: dict[str, list[Deployed]] = {}
    for version in versions:
        found.setdefault(version.model, []).append(version)
    return dict(sorted(found.items()))


def current(versions: Iterable[Deployed], counters: Counters) -> Deployed:
    """The version that answers: the one with most calls in the last quarter of an hour, else the last one seen."""

    def rank(v: Deployed) -> tuple[int, int, int, str]:
        recent, before = (
            sum(counters.calls(v, start, counters.end)) for start in (counters.end - 900, counters.start)
        )
        return (recent, before, v.last, v.version)

    return max(versions, key=rank)


def evaluate(
    tiles: Tiles,
    ledger: Ledger,
    references: References,
    config: Config,
    now: float,
    *,
    statuses: Sequence[Status] = (),
    keep: Callable[[Sequence[Change]], object] = lambda _: None,
    done: Callable[[str, Exception | None], object] = lambda *_: None,
) -> list[Change]:
    """Judge what has closed, look at what is open, and move alerts and incidents on. Returns what began or ended.

    `statuses` say how the reading of targets goes. A model that cannot be evaluated is logged and stops no other. `keep` gets
    what began or ended with a model within the transaction that stores it; `done` is told of each model, and of the error
    that stopped it.
    """
    changes: list[Change] = []
    counters, found = Counters(tiles, now), deployed(tiles)
    references.room = max(ROOM, 2 * sum(len(v.references) for v in found if now - v.last <= DAY))
    alerts: dict[str, list[Alert]] = {}
    for one in ledger.alerts():
        alerts.setdefault(one.condition.model, []).append(one)
    incidents = {i.model: i for i in reversed(ledger.incidents(since=9e18)) if i.open}
    for model, versions in by_model(found).items():
        try:
            with tiles.transaction():
                watch = _Watch(tiles, ledger, references, config, model, counters)
                watch.take(alerts.get(model, ()), incidents.get(model))
                for version in versions:
                    watch.deployment(version)
                watch.judge(versions, now)
                watch.look(versions, statuses)
                lasting = _lasting(watch.changes)
                keep(lasting)
        except Exception as error:
            log.exception("model %s could not be evaluated; the next pass tries again", model)
            done(model, error)
            continue
        done(model, None)
        changes += lasting
    return changes


def _lasting(changes: list[Change]) -> list[Change]:
    """Without the alerts that both began and ended in one pass over what is past: nobody is to be called for history."""
    began = {c.alert.condition.key for c in changes if c.alert.state == alert.FIRING}
    ended = {c.alert.condition.key for c in changes if c.alert.state == alert.RESOLVED}
    return [c for c in changes if c.alert.condition.key not in began & ended]


@dataclass(frozen=True, slots=True)
class _Due:
    """Columns that have windows to judge, from `start` (epoch seconds) on."""

    counted: Counted
    series: Series
    known: Known
    start: int


@dataclass(frozen=True, eq=False)
class _Judged:
    """Windows of one version that were just judged, with their counts: W windows over the slots of all columns.

    `alarms` are bool (W, C) by signal.
    """

    counted: Counted
    known: Known
    history: History
    alarms: Mapping[str, np.ndarray]
    counts: np.ndarray
    sums: np.ndarray

    def text(self, name: str, signal: str, w: int) -> str:
        """What the signal saw in window w."""
        where = self.known.reference.bins.slice(name)
        column = self.known.calibration.columns.references[name]
        return sentences.column(name, signal, column, self.counts[w, where], self.sums[w, where])


class _Watch:
    """One model in one pass: its alerts and its incident, moved on look by look."""

    def __init__(
        self,
        tiles: Tiles,
        ledger: Ledger,
        references: References,
        config: Config,
        model: str,
        counters: Counters,
    ) -> None:
        self._tiles, self._ledger, self._references = tiles, ledger, references
        self._model, self._counters = model, counters
        self._limits, self._window = config.model(model).limits, config.window
        self._alerts: dict[tuple[str, ...], Alert] = {}
        self._incident: Incident | None = None
        self._judged_at: dict[str, int] = {}  # by version
        self.changes: list[Change] = []

    def take(self, alerts: Iterable[Alert], incident: Incident | None) -> None:
        """Go on from what is pending and firing."""
        self._alerts = {a.condition.key: a for a in alerts}
        self._incident = incident

    def deployment(self, version: Deployed) -> None:
        """Remember when a version was first seen, as long as events are kept."""
        if self._counters.end - version.first <= self._tiles.retention.records * DAY:
            label = f"{version.model} {version.version}"
            self._ledger.add_event(Event(float(version.first), DEPLOYMENT, version.model, label))

    def look(self, versions: Sequence[Deployed], statuses: Sequence[Status] = ()) -> None:
        """Look at the last minutes of the model, and of each version that answered in them; end what no look is at."""
        counters = self._counters
        first, end = min(v.first for v in versions), float(counters.end)
        chosen = current(versions, counters)
        active = [v for v in versions if v is chosen or any(counters.calls(v, counters.start, end))]
        looks = [Look(self._tiles, counters, v, first, self._limits, self._outcomes) for v in active]
        whole = Look(self._tiles, counters, chosen, first, self._limits)
        found = [condition for check in OF_MODEL for condition in check(whole)]
        found += [condition for look in looks for check in CHECKS for condition in check(look)]
        held = {(a.condition.rule, a.condition.column): a.since for a in self._alerts.values()}
        found += targets(self._model, statuses, held, end)
        seen = {condition.key for condition in found}
        minutely = [a.condition for a in self._alerts.values() if a.condition.rule not in _COLUMN_NAMES]
        found += [replace(c, active=False, since=end, at=end) for c in minutely if c.key not in seen]
        self._end_unjudged(end)
        self._move(found, end)
        self._end_replaced(active, end)

    def _outcomes(self, version: Deployed) -> Iterator[OutcomeBins]:
        for bins in version.series:
            known = self._references.of(version, bins)
            if known is not None and known.outcomes is not None:
                yield known.outcomes

    def _end_unjudged(self, now: float) -> None:
        """Resolve the alerts of columns that nobody has judged for a day, at the end of that day."""
        over = [(self._judged_at.get(a.condition.version, a.last) + UNJUDGED, a) for a in self._of_columns()]
        for until, group in groupby(sorted(((u, a) for u, a in over if u < now), key=_first), key=_first):
            self._resolve([one for _, one in group], until)

    def _end_replaced(self, active: Iterable[Deployed], now: float) -> None:
        """Resolve the alerts of columns of versions that another one has replaced."""
        names = {v.version for v in active}
        self._resolve([a for a in self._of_columns() if names and a.condition.version not in names], now)

    def _of_columns(self) -> list[Alert]:
        return [a for a in self._alerts.values() if a.condition.rule in _COLUMN_NAMES]

    def _resolve(self, alerts: Iterable[Alert], until: float) -> None:
        """End alerts; one that was pending has never been one."""
        over = ((a, replace(a, state=alert.RESOLVED, until=until)) for a in alerts)
        self._close([(a, None if a.state == alert.PENDING else b) for a, b in over], until)

    def judge(self, versions: Sequence[Deployed], now: float) -> None:
        """Judge the windows that have closed since the last pass, each once, of all versions in the order of time."""
        closed = last_closed(now, self._window)
        due = [d for v in versions for bins in v.series if (d := self._due(v, bins, closed)) is not None]
        start = min((d.start for d in due), default=closed)
        while start < closed:
            end = min(start // DAY * DAY + AT_MOST, closed)
            parts = [self._judge(d, max(start, d.start), end) for d in due if d.start < end]
            self._replay([part for part in parts if part is not None], versions)
            start = end

    def _due(self, version: Deployed, bins: str, closed: int) -> _Due | None:
        """What of a version may have windows to judge: those that closed before `closed`, and are kept as such."""
        series = version.series[bins]
        seen, counted = self._tiles.seen(series), Counted(version.model, version.version, bins)
        if seen is None:
            return None
        judged = self._ledger.judged_until(counted)
        first = seen[0] // self._window * self._window if judged is None else judged
        start = max(first, self._tiles.kept_from(HOUR if self._window == HOUR else MINUTE))
        self._judged_at[version.version] = max(start, self._judged_at.get(version.version, 0))
        if start >= closed or seen[1] < start:
            return None
        known = self._references.of(version, bins)
        if known is None or self._ledger.looked(counted, (closed, self._tiles.changed(series))):
            return None
        return _Due(counted, series, known, start)

    def _judge(self, due: _Due, judged: int, end: int) -> _Judged | None:
        """Judge the windows that begin from `judged` on and have closed by `end`."""
        bins = due.known.reference.bins
        windows = self._tiles.windows(due.series, judged // DAY * DAY, end, self._window)
        rows = windows.counts[:, bins.slice(next(iter(bins.columns)))].sum(axis=1)
        pooled = pool(windows.starts, rows, step=self._window, until=end)
        todo = np.flatnonzero(pooled.closed & (pooled.starts >= judged))
        if not len(todo):
            return None
        counts, sums = pooled.sum(windows.counts)[todo], pooled.sum(windows.sums)[todo]
        found = self._limited(due.known.calibration.verdicts(counts), due.known)
        starts, ends = pooled.starts[todo], pooled.ends[todo]
        new = History(starts, ends, found.rows, dict(found.values), dict(found.thresholds))
        begin = int(starts[0])
        earlier = self._ledger.history(due.counted, begin - APART, begin, len(bins.columns))
        self._ledger.add(due.counted, new)
        return _Judged(due.counted, due.known, new, _alarms(earlier, new), counts, sums)

    def _limited(self, verdicts: Verdicts, known: Known) -> Verdicts:
        """Limits that the owner sets win over calibration."""
        thresholds = dict(verdicts.thresholds)
        for i, name in enumerate(known.reference.bins.columns):
            limits = {s: limit for s in thresholds if (limit := self._limits.get(f"{name}.{s}")) is not None}
            for signal, limit in limits.items():
                column = np.arange(thresholds[signal].shape[1]) == i
                thresholds[signal] = np.where(column, limit, thresholds[signal])
        return replace(verdicts, thresholds=thresholds)

    def _replay(self, judged: Sequence[_Judged], versions: Sequence[Deployed]) -> None:
        """Move the alerts of columns on, window by window of all versions, in the order of time."""
        windows = ((int(end), one, w) for one in judged for w, end in enumerate(one.history.ends.tolist()))
        for end, group in groupby(sorted(windows, key=_first), key=_first):
            self._end_unjudged(end)
            conditions: list[Condition] = []
            for _, one, w in group:
                self._judged_at[one.counted.version] = end
                conditions += self._conditions(one, w)
            self._move(conditions, float(end))
            self._end_replaced(self._counters.answering(versions, end), float(end))

    def _conditions(self, judged: _Judged, w: int) -> list[Condition]:
        """What window w says of each signal of a column that is in alarm, or was."""
        names, version = list(judged.known.reference.bins.columns), judged.counted.version
        mine = [a.condition for a in self._of_columns() if a.condition.version == version]
        wanted = {(c.signal, names.index(c.column)) for c in mine if c.column in names}
        wanted |= {(s, i) for s, found in judged.alarms.items() for i in np.flatnonzero(found[w]).tolist()}
        known = {
            (s, i)
            for s, i in wanted
            if not np.isnan(judged.history.values[s][w, i] / judged.history.thresholds[s][w, i])
        }
        order = list(judged.alarms)
        return [
            condition
            for s, i in sorted(known, key=lambda pair: (order.index(pair[0]), pair[1]))
            for condition in self._column(judged, names[i], i, s, w, bool(judged.alarms[s][w, i]))
        ]

    def _column(
        self, judged: _Judged, name: str, i: int, signal: str, w: int, active: bool
    ) -> list[Condition]:
        """Conditions of one signal of a column in one window: of the rule that fits, and the end of the others."""
        value, line = (float(a[signal][w, i]) for a in (judged.history.values, judged.history.thresholds))
        rule = alert.column_rule(judged.known.reference.bins.roles[name], signal, value)
        span = (float(judged.history.starts[w]), float(judged.history.ends[w]))
        model, version = judged.counted.model, judged.counted.version
        found = []
        for one in _COLUMN_RULES:
            here = active and one is rule
            if here or (one.name, model, version, name, signal) in self._alerts:
                text = judged.text(name, signal, w) if here else ""
                found.append(
                    Condition(one.name, model, version, here, *span, name, signal, value, line, text)
                )
        return found

    def _move(self, conditions: Iterable[Condition], now: float) -> None:
        """One step of the state machine for each condition, then of the incident."""
        moved: list[tuple[Alert | None, Alert | None]] = []
        for condition in conditions:
            before = self._alerts.get(condition.key)
            after = alert.step(before, condition)
            if after == before:
                continue
            moved.append((before, after))
        self._close(moved, now)

    def _close(self, moved: Sequence[tuple[Alert | None, Alert | None]], now: float) -> None:
        """Take what moved over, and move the incident on."""
        for before, after in moved:
            key = (after or before).condition.key  # type: ignore[union-attr]
            if after is None or after.state == alert.RESOLVED:
                self._alerts.pop(key, None)
            else:
                self._alerts[key] = after
        if moved:
            self._ledger.save_alerts(moved)
        was = self._incident
        self._incident = alert.incident(was, self._model, list(self._alerts.values()), now)
        if self._incident is not None and self._incident != was:
            self._ledger.save_incident(self._incident)
        self._note(moved)
        if self._incident is not None and not self._incident.open:
            self._incident = None

    def _note(self, moved: Iterable[tuple[Alert | None, Alert | None]]) -> None:
        for before, after in moved:
            if after is None or self._incident is None:
                continue
            began = after.state == alert.FIRING and (before is None or before.state != alert.FIRING)
            ended = after.state == alert.RESOLVED
            if began or ended:
                self.changes.append(Change(after, self._incident))
                verb = "resolved" if ended else after.rule.severity
                log.info(
                    "%s %s %s: %s", iso(after.until or after.since), verb, self._model, after.condition.text
                )


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


def _alarms(earlier: History, new: History) -> dict[str, np.ndarray]:
    """By signal bool (W, C): whether each new window is in alarm, with the windows before it."""
    starts, ends = np.concatenate([earlier.starts, new.starts]), np.concatenate([earlier.ends, new.ends])
    before = earlier.ratios
    found = {}
    for signal, ratios in new.ratios.items():
        past = before.get(signal, np.full((len(earlier.starts), ratios.shape[1]), np.nan))
        both = np.concatenate([past, ratios])
        found[signal] = np.zeros(ratios.shape, dtype=bool)
        for i in np.flatnonzero((both > 1).any(axis=0)):  # there is no alarm below the line
            found[signal][:, i] = in_alarm(signal, starts, ends, both[:, i])[len(earlier.starts) :]
    return found
