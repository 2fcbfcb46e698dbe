"""One pass: source -> signals -> alerts. A pure function of what is stored and of `now`; twice is the same as once."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from barograph import alert, delivered, naming, outcome_checks
from barograph.alert import Alert, Condition, Incident
from barograph.checks import CHECKS, OF_MODEL, Counters, Look, resources, targets
from barograph.clock import iso
from barograph.config import Config
from barograph.judging import UNJUDGED, Judged, Judging
from barograph.known import ROOM, References
from barograph.labels.days import DayBook
from barograph.ledger import DEPLOYMENT, Event, Ledger
from barograph.policy import Policy, news
from barograph.sources import Status
from barograph.tiles import DAY, Tiles
from barograph.versions import Deployed, by_model, deployed

log = logging.getLogger("barograph")

AT_MOST = 7 * DAY  # of history is judged in one go: bounds memory


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began to fire, or was resolved."""

    alert: Alert
    incident: Incident


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
    what people are to be told of a model, as policy has it, within the transaction that stores it; `done` is told of each model,
    and of the error that stopped it. `book` remembers what labels say from one pass to the next.
    """
    changes: list[Change] = []
    counters, found, book = Counters(tiles, now), deployed(tiles), book or DayBook(tiles)
    references.room = max(ROOM, 2 * sum(len(v.references) for v in found if now - v.last <= DAY))
    alerts: dict[str, list[Alert]] = {}
    for one in ledger.alerts():
        alerts.setdefault(one.condition.model, []).append(one)
    incidents = {i.model: i for i in reversed(ledger.incidents(since=9e18)) if i.open}
    policy, told = ledger.policy(now), ledger.told()
    for model, versions in by_model(found).items():
        try:
            with tiles.transaction():
                watch = _Watch(tiles, ledger, references, config, model, counters, book, policy)
                watch.take(alerts.get(model, ()), incidents.get(model))
                for version in versions:
                    watch.deployment(version)
                watch.judge(versions, now)
                watch.look(versions, statuses)
                lasting = _lasting(watch.changes)
                keep(watch.news(told.get(model, ()), lasting))
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
        policy: Policy,
    ) -> None:
        self._tiles, self._ledger, self._references = tiles, ledger, references
        self._model, self._counters, self._policy = model, counters, policy
        self._config, self._book = config.model(model), book
        self._judging = Judging(tiles, ledger, references, self._config, model, config.window, policy.marks)
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
        checks = (*CHECKS, *delivered.CHECKS, *outcome_checks.CHECKS)
        found += [condition for look in looks for check in checks for condition in check(look)]
        held = {(a.condition.rule, a.condition.column): a.since for a in self._alerts.values()}
        found += targets(self._model, statuses, held, end)
        found += resources(self._model, statuses, self._config.limits, end)
        seen = {condition.key for condition in found}
        minutely = [a.condition for a in self._alerts.values() if a.condition.rule not in alert.OF_COLUMNS]
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
        return [a for a in self._alerts.values() if a.condition.rule in alert.OF_COLUMNS]

    def _resolve(self, alerts: Iterable[Alert], until: float) -> None:
        """End alerts; one that was pending has never been one."""
        over = ((a, replace(a, state=alert.RESOLVED, until=until)) for a in alerts)
        self._close([(a, None if a.state == alert.PENDING else b) for a, b in over], until)

    def judge(self, versions: Sequence[Deployed], now: float) -> None:
        """Judge the windows that have closed since the last pass, each once, of all versions and lanes in the order of time."""
        self._versions = {v.version: v for v in versions}
        for v in versions:
            reached = max((self._judging.reached(v, bins) for bins in v.series), default=0)
            self._judged_at[v.version] = max(reached, self._judged_at.get(v.version, 0))
        due = [d for v in versions for bins in v.series for d in self._judging.due(v, bins, now)]
        start, closed = min((d.start for d in due), default=0), max((d.closed for d in due), default=0)
        while start < closed:
            end = min(start // DAY * DAY + AT_MOST, closed)
            parts = [
                one
                for d in due
                if d.start < end
                for one in self._judging.judge(d, max(start, d.start), min(end, d.closed))
            ]
            self._replay(parts, versions)
            start = end

    def _replay(self, judged: Sequence[Judged], versions: Sequence[Deployed]) -> None:
        """Move the alerts of columns on, window by window of all versions and lanes, in the order of time."""
        windows = ((int(end), one, w) for one in judged for w, end in enumerate(one.history.ends.tolist()))
        for end, group in groupby(sorted(windows, key=_first), key=_first):
            self._end_unjudged(end)
            conditions: list[Condition] = []
            together = list(group)
            for _, one, w in together:
                self._judging.note(one, w)
            for _, one, w in together:
                if not one.counted.lane:
                    self._judged_at[one.counted.version] = end
                conditions += self._conditions(one, w)
            self._move(conditions, float(end))
            self._end_replaced(self._counters.answering(versions, end), float(end))

    def _conditions(self, judged: Judged, w: int) -> list[Condition]:
        """What window w says of each signal of a column that is in alarm, or was."""
        names, version = list(judged.known.reference.bins.columns), judged.counted.version
        mine = [a.condition for a in self._of_columns() if a.condition.version == version]
        wanted = {(c.signal, names.index(c.column)) for c in mine if c.column in names}
        wanted |= {(s, i) for s, found in judged.alarms.items() for i in np.flatnonzero(found[w]).tolist()}
        known = {
            (s, i)
            for s, i in wanted
            if s in judged.alarms
            and not np.isnan(judged.history.values[s][w, i] / judged.history.thresholds[s][w, i])
        }
        order = list(judged.alarms)
        return [
            condition
            for s, i in sorted(known, key=lambda pair: (order.index(pair[0]), pair[1]))
            for condition in self._column(judged, names[i], i, s, w, bool(judged.alarms[s][w, i]))
        ]

    def _column(
        self, judged: Judged, name: str, i: int, signal: str, w: int, active: bool
    ) -> list[Condition]:
        """Conditions of one signal of a column in one window: of the rule that fits, and the end of the others."""
        value, line = (float(a[signal][w, i]) for a in (judged.history.values, judged.history.thresholds))
        points, owner = judged.points(name, signal, value), judged.limited.by_owner(name, signal)
        rule = alert.column_rule(judged.known.reference.bins.roles[name], signal, points)
        skewed = rule is naming.FEATURE_SHIFTED and not owner and name in self._skewed_of(judged)
        active = active and not skewed  # it never was otherwise: that is another alert
        span = (float(judged.history.starts[w]), float(judged.history.ends[w]))
        model, version = judged.counted.model, judged.counted.version
        found = []
        for one in alert.COLUMN_RULES:
            here = active and one is rule
            held = (one.name, model, version, name, signal) in self._alerts
            if held and not here and not skewed and self._judging.stands(judged, signal, i, int(span[1])):
                continue  # another lane has not said that it is over
            if here or held:
                text = judged.text(name, signal, w) if here else ""
                found.append(
                    Condition(one.name, model, version, here, *span, name, signal, value, line, text, owner)
                )
        return found

    def _skewed_of(self, judged: Judged) -> frozenset[str]:
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
        last: dict[tuple[str, ...], Alert | None] = {}  # two lanes may end at once, and speak of one alert
        for condition in conditions:
            before = last.get(condition.key, self._alerts.get(condition.key))
            after = alert.step(before, condition)
            if after != before:
                moved.append((before, after))
                last[condition.key] = after
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
        self._incident = alert.incident(was, self._model, self._policy.heard(self._alerts.values()), now)
        if self._incident is not None and self._incident != was:
            self._ledger.save_incident(self._incident)
        self._note(moved)
        if self._incident is not None and not self._incident.open:
            self._incident = None

    def news(self, told: Sequence[Alert], lasting: Sequence[Change]) -> list[Change]:
        """What people are to be told of now; it is remembered that they were."""
        begun, ended = news(told, self._alerts.values(), lambda a: self._policy.hushed(a, self._incident))
        if begun or ended:
            self._ledger.save_told(begun, ended)
        over = {c.alert.condition.key: c for c in lasting if c.alert.state == alert.RESOLVED}
        end = float(self._counters.end)
        found = [over.get(a.condition.key) or self._over(a, end) for a in ended]
        return found + [Change(a, self._incident) for a in begun if self._incident is not None]

    def _over(self, told: Alert, end: float) -> Change:
        """The end of an alert that was told of, and is part of no incident any more."""
        c = told.condition
        past = Incident("", self._model, c.version, told.rule.severity, c.text, told.since, end)
        return Change(replace(told, state=alert.RESOLVED, until=end), past)

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
