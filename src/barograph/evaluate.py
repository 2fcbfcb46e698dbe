"""One pass: source -> signals -> alerts. A pure function of what is stored and of `now`; twice is the same as once."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from barograph import alert, naming, outcome_checks, sentences
from barograph.alert import Alert, Condition, Incident
from barograph.calibrate import APART, Verdicts, pool
from barograph.calibrate import alarm as in_alarm
from barograph.checks import CHECKS, OF_MODEL, Counters, Look, targets
from barograph.clock import iso
from barograph.config import Config
from barograph.counters import Series
from barograph.known import ROOM, Known, References
from barograph.labels.days import DayBook
from barograph.ledger import DEPLOYMENT, Counted, Event, History, Ledger
from barograph.sources import Status
from barograph.tiles import DAY, HOUR, MINUTE, Tiles
from barograph.versions import Deployed, by_model, deployed

log = logging.getLogger("barograph")

SETTLED = 120  # seconds after its end at which a window is judged
AT_MOST = 7 * DAY  # of history is judged in one go: bounds memory
UNJUDGED = DAY + 2 * HOUR  # few rows may take a day to a verdict
_COLUMN_RULES = (naming.OUTPUT_SHIFTED, naming.INPUT_BROKEN, naming.FEATURE_SHIFTED)
_COLUMN_NAMES = frozenset(rule.name for rule in _COLUMN_RULES)


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began to fire, or was resolved."""

    alert: Alert
    incident: Incident


def last_closed(now: float, window: int) -> int:
    """The end of the last window that is over, and has had time to be read; epoch seconds.

    >>> last_closed(7260.0, 3600), last_closed(7320.0, 3600), last_closed(7320.0, 60)
    (3600, 7200, 7260)
    """
    return int((now - min(SETTLED, window)) // window * window)


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
    book: DayBook | None = None,
    keep: Callable[[Sequence[Change]], object] = lambda _: None,
    done: Callable[[str, Exception | None], object] = lambda *_: None,
) -> list[Change]:
    """Judge what has closed, look at what is open, and move alerts and incidents on. Returns what began or ended.

    `statuses` say how the reading of targets goes. A model that cannot be evaluated is logged and stops no other. `keep` gets
    what began or ended with a model within the transaction that stores it; `done` is told of each model, and of the error
    that stopped it. `book` remembers what labels say from one pass to the next.
    """
    changes: list[Change] = []
    counters, found, book = Counters(tiles, now), deployed(tiles), book or DayBook(tiles)
    references.room = max(ROOM, 2 * sum(len(v.references) for v in found if now - v.last <= DAY))
    alerts: dict[str, list[Alert]] = {}
    for one in ledger.alerts():
        alerts.setdefault(one.condition.model, []).append(one)
    incidents = {i.model: i for i in reversed(ledger.incidents(since=9e18)) if i.open}
    for model, versions in by_model(found).items():
        try:
            with tiles.transaction():
                watch = _Watch(tiles, ledger, references, config, model, counters, book)
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
        book: DayBook,
    ) -> None:
        self._tiles, self._ledger, self._references = tiles, ledger, references
        self._model, self._counters = model, counters
        self._config, self._window, self._book = config.model(model), config.window, book
        self._skewed: dict[tuple[str, str], frozenset[str]] = {}
        self._alerts: dict[tuple[str, ...], Alert] = {}
        self._incident: Incident | None = None
        self._versions: dict[str, Deployed] = {}
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
        looks = [self._look(v, first) for v in active]
        whole = self._look(chosen, first)
        found = [condition for check in OF_MODEL for condition in check(whole)]
        checks = (*CHECKS, *outcome_checks.CHECKS)
        found += [condition for look in looks for check in checks for condition in check(look)]
        held = {(a.condition.rule, a.condition.column): a.since for a in self._alerts.values()}
        found += targets(self._model, statuses, held, end)
        seen = {condition.key for condition in found}
        minutely = [a.condition for a in self._alerts.values() if a.condition.rule not in _COLUMN_NAMES]
        found += [replace(c, active=False, since=end, at=end) for c in minutely if c.key not in seen]
        self._end_unjudged(end)
        self._move(found, end)
        self._end_replaced(active, end)

    def _look(self, version: Deployed, first: int) -> Look:
        return Look(
            self._tiles, self._counters, version, first, self._config, self._references.of, self._book
        )

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
        self._versions = {v.version: v for v in versions}
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
            limits = {
                s: limit for s in thresholds if (limit := self._config.limits.get(f"{name}.{s}")) is not None
            }
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
        if rule is naming.FEATURE_SHIFTED and name in self._skewed_of(judged):
            active = False  # it never was otherwise: that is another alert
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

    def _skewed_of(self, judged: _Judged) -> frozenset[str]:
        """Columns of a version that never looked like training."""
        key = (judged.counted.version, judged.counted.bins)
        if key not in self._skewed:
            version = self._versions[judged.counted.version]
            look = self._look(version, version.first)
            self._skewed[key] = frozenset(c.column for c in outcome_checks.skew(look) if c.active)
        return self._skewed[key]

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
