"""One pass: source -> signals -> alerts. A pure function of what is stored and of `now`; twice is the same as once."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from barograph import alert, naming, sentences, traffic
from barograph.alert import Alert, Condition, Incident
from barograph.calibrate import Calibration, Verdicts, calibrate, pool
from barograph.calibrate import alarm as in_alarm
from barograph.clock import iso
from barograph.config import Config, ModelConfig
from barograph.counters import Series
from barograph.ledger import DEPLOYMENT, Counted, Event, History, Ledger
from barograph.naming import Metric, Rule
from barograph.reference import Reference, ReferenceFileError
from barograph.tiles import Tiles

log = logging.getLogger("barograph")

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, traffic.WEEK
SETTLED = 120  # seconds after its end at which an hour is judged
ENOUGH_CALLS = 20
ENOUGH_ROWS = 30
ERROR_LIMIT = 0.05
EMPTY_POINTS = 0.05
RECENT = 2 * HOUR
AT_MOST = 30 * DAY  # judged in one go


@dataclass(frozen=True, eq=False)
class Known:
    """A reference and what it calibrates to."""

    reference: Reference
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Deployed:
    """A version of a model that has been seen: `series` are its counted columns, by bins id; `last` its last minute."""

    model: str
    version: str
    series: Mapping[str, Series]
    first: int
    last: int


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
        if bins not in self._files or bins in self._refused:
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


def current(versions: Iterable[Deployed], tiles: Tiles, now: float) -> Deployed:
    """The version that answers: the one with most predictions in the last hours, else the last one seen."""

    def rank(v: Deployed) -> tuple[int, int, str]:
        return (total(tiles, naming.PREDICTIONS, v, now - RECENT, now), v.last, v.version)

    return max(versions, key=rank)


def total(tiles: Tiles, metric: Metric, version: Deployed, start: float, end: float, **labels: str) -> int:
    """What a version's counter grew by in [start, end), over all its other labels."""
    found = tiles.series(metric.name, model=version.model, version=version.version, **labels)
    return int(sum(tiles.window(series, start, end).counts.sum() for series in found))


def evaluate(tiles: Tiles, ledger: Ledger, references: References, config: Config, now: float) -> list[Change]:
    """Judge what has closed, look at what is open, and move alerts and incidents on. Returns what began or ended."""
    changes: list[Change] = []
    for model, versions in by_model(deployed(tiles)).items():
        watch = _Watch(tiles, ledger, references, config.model(model), model)
        with tiles.transaction():
            for version in versions:
                watch.deployment(version)
                for bins, series in version.series.items():
                    watch.judge(version, bins, series, now)
            watch.look(current(versions, tiles, now), now)
        changes += watch.changes
    return changes


def by_model(versions: Iterable[Deployed]) -> dict[str, list[Deployed]]:
    """Versions by model, in order of names."""
    found: dict[str, list[Deployed]] = {}
    for version in versions:
        found.setdefault(version.model, []).append(version)
    return dict(sorted(found.items()))


class _Watch:
    """One model in one pass: its alerts and its incident, moved on look by look."""

    def __init__(self, tiles: Tiles, ledger: Ledger, references: References, config: ModelConfig, model: str) -> None:
        self._tiles, self._ledger, self._references, self._config = tiles, ledger, references, config
        self._model = model
        self._alerts = {a.condition.key: a for a in ledger.alerts(model)}
        self._incident = next((i for i in ledger.incidents(model=model, since=9e18)), None)
        self.changes: list[Change] = []

    def deployment(self, version: Deployed) -> None:
        """Remember when a version was first seen."""
        label = f"{version.model} {version.version}"
        self._ledger.add_event(Event(float(version.first), DEPLOYMENT, version.model, label))

    # Columns: closed hours, each judged once.

    def judge(self, version: Deployed, bins: str, series: Series, now: float) -> None:
        """Judge the hours of a version that have closed since the last pass."""
        known = self._references.get(bins, self._model)
        if known is None:
            return
        counted = Counted(version.model, version.version, bins)
        seen = self._tiles.seen(series)
        if seen is None:
            return
        judged = self._ledger.judged_until(counted)
        judged = seen[0] // HOUR * HOUR if judged is None else judged
        closed = int((now - SETTLED) // HOUR * HOUR)
        while judged < closed:
            end = min(judged // DAY * DAY + AT_MOST, closed)
            self._judge(counted, known, series, judged, end)
            if end == closed:
                return
            judged = end

    def _judge(self, counted: Counted, known: Known, series: Series, judged: int, end: int) -> None:
        hours = self._tiles.windows(series, judged // DAY * DAY, end, HOUR)
        first = known.reference.bins.slice(next(iter(known.reference.bins.columns)))
        rows = hours.counts[:, first].sum(axis=1)
        pooled = pool(hours.starts, rows, until=end)
        todo = np.flatnonzero(pooled.closed & (pooled.starts >= judged))
        if not len(todo):
            return
        counts, sums = pooled.sum(hours.counts)[todo], pooled.sum(hours.sums)[todo]
        verdicts = self._limited(known.calibration.verdicts(counts), known)
        new = History(pooled.starts[todo], pooled.ends[todo], verdicts.rows, dict(verdicts.values), dict(verdicts.thresholds))
        columns = len(known.reference.bins.columns)
        earlier = self._ledger.history(counted, int(new.starts[0]) - DAY, int(new.starts[0]), columns)
        self._ledger.add(counted, new)
        self._replay(counted, known, new, _alarms(earlier, new), counts, sums)

    def _limited(self, verdicts: Verdicts, known: Known) -> Verdicts:
        """Limits that the owner sets win over calibration."""
        thresholds = dict(verdicts.thresholds)
        for i, name in enumerate(known.reference.bins.columns):
            for signal, lines in thresholds.items():
                limit = self._config.limits.get(f"{name}.{signal}")
                if limit is not None:
                    lines = np.array(lines)
                    lines[:, i] = limit
                    thresholds[signal] = lines
        return replace(verdicts, thresholds=thresholds)

    def _replay(
        self, counted: Counted, known: Known, new: History, alarms: dict[str, np.ndarray], counts: np.ndarray, sums: np.ndarray
    ) -> None:
        names, roles = list(known.reference.bins.columns), known.reference.bins.roles
        ratios = new.ratios
        for w in range(len(new.starts)):
            conditions = []
            for signal, found in alarms.items():
                for i, name in enumerate(names):
                    value, line = float(new.values[signal][w, i]), float(new.thresholds[signal][w, i])
                    active = None if np.isnan(ratios[signal][w, i]) else bool(found[w, i])
                    conditions += self._column(counted, known, name, roles[name], signal, active, value, line, new, w, counts, sums)
            self._move(conditions, float(new.ends[w]))

    def _column(
        self,
        counted: Counted,
        known: Known,
        name: str,
        role: str,
        signal: str,
        active: bool | None,
        value: float,
        line: float,
        new: History,
        w: int,
        counts: np.ndarray,
        sums: np.ndarray,
    ) -> list[Condition]:
        """Conditions of one signal of one column in one window: of the rule that fits, and the end of the others."""
        rule = alert.column_rule(role, signal, value)
        out = []
        for other in (naming.OUTPUT_SHIFTED, naming.INPUT_BROKEN, naming.FEATURE_SHIFTED):
            here = (active if other is rule else False) if active is not None else None
            seen = (other.name, counted.model, counted.version, name, signal) in self._alerts
            if not here and not seen:
                continue
            text = ""
            if here:
                where = known.reference.bins.slice(name)
                reference = known.calibration.columns.references[name]
                text = sentences.column(name, role, signal, reference, counts[w, where], sums[w, where])
            out.append(
                Condition(
                    other.name, counted.model, counted.version, here, float(new.starts[w]), float(new.ends[w]),
                    name, signal, value, line, text,
                )  # fmt: skip
            )
        return out

    # Service: what is open, at every pass.

    def look(self, version: Deployed, now: float) -> None:
        """Look at the last minutes of the version that answers."""
        end = now // MINUTE * MINUTE
        checks = (self._traffic, self._errors, self._latency, self._empty, self._dependencies, self._dropped)
        self._move([c for check in checks for c in check(version, end)], end)

    def _condition(
        self, rule: Rule, version: Deployed, active: bool | None, start: float, end: float, *, value: float | None = None,
        threshold: float | None = None, text: str = "", column: str = "",
    ) -> Condition:  # fmt: skip
        return Condition(
            rule.name, version.model, version.version, active, start, end, column, "", value, threshold, text if active else ""
        )

    def _traffic(self, version: Deployed, end: float) -> list[Condition]:
        minutes, expected = self._expected(version, end)
        start = end - minutes * MINUTE
        silent = traffic.silent(total(self._tiles, naming.PREDICTIONS, version, start, end), expected)
        text = sentences.no_traffic(expected or 0.0, minutes)
        return [self._condition(naming.NO_TRAFFIC, version, silent, start, end, value=0.0, threshold=expected, text=text)]

    def _expected(self, version: Deployed, end: float) -> tuple[int, float | None]:
        """The shortest span, in minutes, in which enough predictions are usual at this hour, and how many; None if unknown."""
        usual = self._usual(version, end)
        for minutes in (5, 15, 60):
            expected = float(usual.min()) * minutes / 60
            if expected >= traffic.SILENCE:
                break
        return minutes, None if np.isnan(expected) else expected

    def _usual(self, version: Deployed, end: float) -> np.ndarray:
        """Predictions usual in the hour before `end` and in the one that it lies in, from the same hours of earlier weeks."""
        here = int((end - 1) // HOUR * HOUR)
        start = here - traffic.WEEKS * traffic.WEEK - HOUR
        series = self._tiles.series(naming.PREDICTIONS.name, model=version.model)
        found = self._tiles.windows_many(series, start, here, HOUR)
        first = min((seen[0] for s in series if (seen := self._tiles.seen(s))), default=here)
        known = found[0].starts >= first
        counts = sum(w.counts[:, 0] for w in found)
        at = np.array([here - HOUR, here])
        return traffic.usual(at, found[0].starts[known], np.asarray(counts)[known], least=1).expected

    def _errors(self, version: Deployed, end: float) -> list[Condition]:
        limit = self._config.limits.get("errors", ERROR_LIMIT)
        for minutes in (5, 60):
            start = end - minutes * MINUTE
            failed = total(self._tiles, naming.ERRORS, version, start, end)
            calls = failed + total(self._tiles, naming.PREDICTIONS, version, start, end)
            if calls >= ENOUGH_CALLS:
                value = failed / calls
                text = sentences.errors(value, limit)
                return [self._condition(naming.ERRORS_HIGH, version, value > limit, start, end, value=value, threshold=limit, text=text)]
        return [self._condition(naming.ERRORS_HIGH, version, None, end - HOUR, end)]

    def _latency(self, version: Deployed, end: float) -> list[Condition]:
        limit = self._config.limits.get("latency_p95")
        if limit is None:
            return []
        start = end - 5 * MINUTE
        series = self._tiles.series(naming.DURATION.name, model=version.model, version=version.version, stage=naming.TOTAL)
        counts = sum((self._tiles.window(s, start, end).counts for s in series), np.zeros(len(naming.DURATION_BUCKETS) + 1))
        if counts.sum() < ENOUGH_CALLS:
            return [self._condition(naming.SLOW, version, None, start, end)]
        value = float(traffic.duration_quantiles(np.asarray(counts), np.array([0.95]))[0])
        text = sentences.slow(value, limit)
        return [self._condition(naming.SLOW, version, value > limit, start, end, value=value, threshold=limit, text=text)]

    def _empty(self, version: Deployed, end: float) -> list[Condition]:
        start = end // HOUR * HOUR - HOUR
        empty, rows = (total(self._tiles, m, version, start, start + HOUR) for m in (naming.EMPTY, naming.PREDICTIONS))
        if rows < ENOUGH_ROWS:
            return [self._condition(naming.EMPTY_HIGH, version, None, start, start + HOUR)]
        before = [total(self._tiles, m, version, start - WEEK, start) for m in (naming.EMPTY, naming.PREDICTIONS)]
        usual = before[0] / before[1] if before[1] else 0.0
        limit = self._config.limits.get("empty", usual + EMPTY_POINTS)
        value = empty / rows
        text = sentences.empty(value, usual)
        return [self._condition(naming.EMPTY_HIGH, version, value > limit, start, start + HOUR, value=value, threshold=limit, text=text)]

    def _dependencies(self, version: Deployed, end: float) -> list[Condition]:
        out = []
        for series in self._tiles.series(naming.DEPENDENCY_INFO.name, model=version.model, version=version.version):
            package, running, trained = (series.label(n) or "" for n in ("package", "running", "trained"))
            seen = self._tiles.seen(series)
            active = running != trained and seen is not None and end - seen[1] <= 10 * MINUTE
            key = (naming.DEPENDENCY_DIFFERS.name, version.model, version.version, package, "")
            if active or (running != trained and key in self._alerts):
                text = sentences.dependency(package, running, trained)
                out.append(self._condition(naming.DEPENDENCY_DIFFERS, version, active, end - MINUTE, end, text=text, column=package))
        return out

    def _dropped(self, version: Deployed, end: float) -> list[Condition]:
        start = end - 10 * MINUTE
        series = self._tiles.series(naming.DROPPED_ROWS.name, model=version.model, version=version.version)
        lost = {s.label("reason") or "": int(self._tiles.window(s, start, end).counts[0]) for s in series}
        lost = {reason: n for reason, n in lost.items() if n and reason != "time"}
        text = sentences.dropped(sum(lost.values()), sorted(lost))
        return [self._condition(naming.ROWS_DROPPED, version, bool(lost), start, end, value=float(sum(lost.values())), text=text)]

    # States.

    def _move(self, conditions: Iterable[Condition], now: float) -> None:
        """One step of the state machine for each condition, then of the incident."""
        moved: list[tuple[Alert | None, Alert | None]] = []
        for condition in conditions:
            before = self._alerts.get(condition.key)
            after = alert.step(before, condition)
            if after == before:
                continue
            moved.append((before if before is None or before.state != alert.RESOLVED else None, after))
            if after is None or after.state == alert.RESOLVED:
                self._alerts.pop(condition.key, None)
            else:
                self._alerts[condition.key] = after
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
            began = after is not None and after.state == alert.FIRING and (before is None or before.state != alert.FIRING)
            ended = after is not None and after.state == alert.RESOLVED
            if (began or ended) and after is not None and self._incident is not None:
                self.changes.append(Change(after, self._incident))
                verb = "resolved" if ended else after.rule.severity
                log.info("%s %s %s: %s", iso(after.until or after.since), verb, self._model, after.condition.text)


def _alarms(earlier: History, new: History) -> dict[str, np.ndarray]:
    """By signal bool (W, C): whether each new window is in alarm, with the windows before it."""
    starts, ends = np.concatenate([earlier.starts, new.starts]), np.concatenate([earlier.ends, new.ends])
    out = {}
    before = earlier.ratios
    for signal, ratios in new.ratios.items():
        past = before.get(signal, np.full((len(earlier.starts), ratios.shape[1]), np.nan))
        both = np.concatenate([past, ratios])
        found = np.stack([in_alarm(signal, starts, ends, both[:, i]) for i in range(both.shape[1])], axis=1)
        out[signal] = found[len(earlier.starts) :]
    return out
