"""One pass: source -> signals -> alerts. A pure function of what is stored and of `now`; twice is the same as once."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from barograph import alert, naming, sentences
from barograph.alert import Alert, Condition, Incident
from barograph.calibrate import Calibration, Verdicts, calibrate, pool
from barograph.calibrate import alarm as in_alarm
from barograph.checks import CHECKS, Counters, Deployed, Look, silence
from barograph.clock import iso
from barograph.config import Config, ModelConfig
from barograph.counters import Series
from barograph.ledger import DEPLOYMENT, Counted, Event, History, Ledger
from barograph.reference import Reference, ReferenceFileError
from barograph.tiles import Tiles

log = logging.getLogger("barograph")

HOUR, DAY = 3600, 86_400
SETTLED = 120  # seconds after its end at which an hour is judged
AT_MOST = 30 * DAY  # judged in one go
_COLUMN_RULES = (naming.OUTPUT_SHIFTED, naming.INPUT_BROKEN, naming.FEATURE_SHIFTED)
_COLUMN_NAMES = frozenset(rule.name for rule in _COLUMN_RULES)


@dataclass(frozen=True, eq=False)
class Known:
    """A reference and what it calibrates to."""

    reference: Reference
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began to fire, or was resolved."""

    alert: Alert
    incident: Incident


class References:
    """References by bins id, read from `files` (bins id -> the file's content) and calibrated once each."""

    def __init__(self, files: Mapping[str, bytes], config: Config) -> None:
        self._files, self._config = files, config
        self._get = lru_cache(maxsize=256)(self._read)
        self._refused: set[str] = set()

    def get(self, bins: str, model: str) -> Known | None:
        """The reference of these bins, calibrated to the model's budget; None where there is none, or one that is damaged."""
        if bins in self._refused or bins not in self._files:
            return None
        return self._get(bins, self._config.model(model).budget)

    def _read(self, bins: str, budget: float) -> Known | None:
        try:
            reference = Reference.from_json(self._files[bins], origin=f"of bins {bins}")
        except ReferenceFileError as error:
            self._refused.add(bins)
            log.warning("%s", error)
            return None
        return Known(reference, calibrate(reference, budget))


def deployed(tiles: Tiles) -> list[Deployed]:
    """Every version of every model that has been seen."""
    found = []
    for series in tiles.series(naming.PREDICTIONS.name):
        model, version = series.label("model") or "", series.label("version") or ""
        columns = tiles.series(naming.COLUMN_VALUES.name, model=model, version=version)
        seen = tiles.seen(series) or (0, 0)
        found.append(Deployed(model, version, {s.label("bins") or "": s for s in columns}, *seen))
    return found


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
    tiles: Tiles, ledger: Ledger, references: References, config: Config, now: float
) -> list[Change]:
    """Judge what has closed, look at what is open, and move alerts and incidents on. Returns what began or ended.

    A model that cannot be evaluated is logged and stops no other.
    """
    changes: list[Change] = []
    counters = Counters(tiles, now)
    for model, versions in by_model(deployed(tiles)).items():
        try:
            with tiles.transaction():
                watch = _Watch(tiles, ledger, references, config.model(model), model)
                for version in versions:
                    watch.deployment(version)
                    for bins, series in version.series.items():
                        watch.judge(version, bins, series, now)
                watch.look(versions, counters)
        except Exception:
            log.exception("model %s could not be evaluated; the next pass tries again", model)
            continue
        changes += _lasting(watch.changes)
    return changes


def _lasting(changes: list[Change]) -> list[Change]:
    """Without the alerts that both began and ended in one pass over what is past: nobody is to be called for history."""
    began = {c.alert.condition.key for c in changes if c.alert.state == alert.FIRING}
    ended = {c.alert.condition.key for c in changes if c.alert.state == alert.RESOLVED}
    return [c for c in changes if c.alert.condition.key not in began & ended]


@dataclass(frozen=True, eq=False)
class _Judged:
    """Windows of one version that were just judged, with their counts: W windows over the slots of all columns."""

    counted: Counted
    known: Known
    history: History
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
        self, tiles: Tiles, ledger: Ledger, references: References, config: ModelConfig, model: str
    ) -> None:
        self._tiles, self._ledger, self._references, self._config = tiles, ledger, references, config
        self._model = model
        self._alerts = {a.condition.key: a for a in ledger.alerts(model)}
        self._incident = next((i for i in ledger.incidents(model=model) if i.open), None)
        self._judged_at: dict[str, int] = {}  # by version
        self.changes: list[Change] = []

    def deployment(self, version: Deployed) -> None:
        """Remember when a version was first seen."""
        label = f"{version.model} {version.version}"
        self._ledger.add_event(Event(float(version.first), DEPLOYMENT, version.model, label))

    def look(self, versions: Sequence[Deployed], counters: Counters) -> None:
        """Look at the last minutes of the model, and of each version that answered in them; end what no look is at."""
        first, end = min(v.first for v in versions), float(counters.end)
        chosen = current(versions, counters)
        active = [v for v in versions if v is chosen or any(counters.calls(v, counters.start, end))]
        looks = [Look(self._tiles, counters, v, first, self._config.limits) for v in active]
        found = silence(Look(self._tiles, counters, chosen, first, self._config.limits))
        found += [condition for look in looks for check in CHECKS for condition in check(look)]
        seen = {condition.key for condition in found}
        minutely = [a.condition for a in self._alerts.values() if a.condition.rule not in _COLUMN_NAMES]
        found += [replace(c, active=False, since=end, at=end) for c in minutely if c.key not in seen]
        self._move(found, end)
        self._retire({v.version for v in active}, end)

    def _retire(self, active: set[str], now: float) -> None:
        """Resolve the alerts of columns that nobody judges any more: of a version replaced, or without rows for a day."""
        over = []
        for one in self._alerts.values():
            replaced = one.condition.version not in active and bool(active)
            if one.condition.rule in _COLUMN_NAMES and (
                replaced or now - self._judged_at.get(one.condition.version, one.last) > DAY
            ):
                over.append((one, replace(one, state=alert.RESOLVED, until=now)))
        self._close(over, now)

    def judge(self, version: Deployed, bins: str, series: Series, now: float) -> None:
        """Judge the hours of a version that have closed since the last pass, each once."""
        known, seen = self._references.get(bins, self._model), self._tiles.seen(series)
        if known is None or seen is None:
            return
        counted = Counted(version.model, version.version, bins)
        judged = self._ledger.judged_until(counted)
        judged = seen[0] // HOUR * HOUR if judged is None else judged
        closed = int((now - SETTLED) // HOUR * HOUR)
        self._judged_at[version.version] = max(judged, self._judged_at.get(version.version, 0))
        while judged < closed:
            end = min(judged // DAY * DAY + AT_MOST, closed)
            self._judge(counted, known, series, judged, end)
            judged = end

    def _judge(self, counted: Counted, known: Known, series: Series, judged: int, end: int) -> None:
        bins = known.reference.bins
        hours = self._tiles.windows(series, judged // DAY * DAY, end, HOUR)
        rows = hours.counts[:, bins.slice(next(iter(bins.columns)))].sum(axis=1)
        pooled = pool(hours.starts, rows, until=end)
        todo = np.flatnonzero(pooled.closed & (pooled.starts >= judged))
        if not len(todo):
            return
        counts, sums = pooled.sum(hours.counts)[todo], pooled.sum(hours.sums)[todo]
        found = self._limited(known.calibration.verdicts(counts), known)
        starts, ends = pooled.starts[todo], pooled.ends[todo]
        new = History(starts, ends, found.rows, dict(found.values), dict(found.thresholds))
        earlier = self._ledger.history(counted, int(starts[0]) - DAY, int(starts[0]), len(bins.columns))
        self._ledger.add(counted, new)
        self._judged_at[counted.version] = int(ends[-1])
        self._replay(_Judged(counted, known, new, counts, sums), _alarms(earlier, new))

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

    def _replay(self, judged: _Judged, alarms: dict[str, np.ndarray]) -> None:
        """Move the alerts of columns on, window by window, in the order of time."""
        names, ratios = list(judged.known.reference.bins.columns), judged.history.ratios
        for w in range(len(judged.history.starts)):
            conditions: list[Condition] = []
            for signal, found in alarms.items():
                known = ~np.isnan(ratios[signal][w])
                for i in np.flatnonzero(known).tolist():
                    conditions += self._column(judged, names[i], i, signal, w, bool(found[w, i]))
            self._move(conditions, float(judged.history.ends[w]))

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


def _alarms(earlier: History, new: History) -> dict[str, np.ndarray]:
    """By signal bool (W, C): whether each new window is in alarm, with the windows before it."""
    starts, ends = np.concatenate([earlier.starts, new.starts]), np.concatenate([earlier.ends, new.ends])
    before = earlier.ratios
    found = {}
    for signal, ratios in new.ratios.items():
        past = before.get(signal, np.full((len(earlier.starts), ratios.shape[1]), np.nan))
        both = np.concatenate([past, ratios])
        alarms = np.stack([in_alarm(signal, starts, ends, both[:, i]) for i in range(both.shape[1])], axis=1)
        found[signal] = alarms[len(earlier.starts) :]
    return found
