"""Windows of columns against their lines: what has closed in each lane, by the calibration that was in force, each once."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from barograph import jumps, refresh, sentences
from barograph.alert import PAGE, PENDING, Alert
from barograph.calibrate import Calibration, Verdicts
from barograph.config import ModelConfig
from barograph.counters import Series
from barograph.known import Known, References
from barograph.lanes import DAILY, FIVE_MINUTES, Lane, lanes, main_lane
from barograph.ledger import Counted, History, Ledger
from barograph.limited import Limited
from barograph.policy import Mark
from barograph.tiles import DAY, HOUR, MINUTE, Tiles
from barograph.versions import Deployed

SETTLED = 120  # seconds after its end at which a window is judged
UNJUDGED = DAY + 2 * HOUR  # few rows may take a day to a verdict
_OVER = {FIVE_MINUTES: "five minutes", DAILY: "the day"}  # what a window other than the usual one is called
_REFRESHED = (
    16  # moments of refresh that are remembered of a version: those of a week, of lanes that learn and others
)
# Seconds for which a verdict speaks, by how often there is one; of jumps, too.
_STANDS = {FIVE_MINUTES.seconds: 900, DAILY.seconds: UNJUDGED}


def by_lane(version: Deployed, bins: str, window: int) -> Iterator[tuple[Lane, Counted]]:
    """Each lane, and under what a version's columns over some bins are remembered in it."""
    for lane in lanes(window):
        yield lane, Counted(version.model, version.version, bins, _name(lane, window))


def _name(lane: Lane, window: int) -> str:
    return "" if lane == main_lane(window) else lane.name


def last_closed(now: float, window: int) -> int:
    """The end of the last window that is over, and has had time to be read; epoch seconds.

    >>> last_closed(7260.0, 3600), last_closed(7320.0, 3600), last_closed(7320.0, 60)
    (3600, 7200, 7260)
    """
    return int((now - min(SETTLED, window)) // window * window)


@dataclass(frozen=True, slots=True)
class Due:
    """Columns that have windows of a lane to judge, in [start, closed) epoch seconds. `first` is when they were first seen."""

    counted: Counted
    lane: Lane
    series: Series
    known: Known
    first: int
    start: int
    closed: int


@dataclass(frozen=True, eq=False)
class Judged:
    """Windows of one version and lane that were just judged, with their counts: W windows over the slots of all columns.

    `alarms` are bool (W, C) by signal. `before` holds counts and sums of what jumps are compared with.
    """

    counted: Counted
    lane: Lane
    known: Known
    history: History
    alarms: Mapping[str, np.ndarray]
    counts: np.ndarray
    sums: np.ndarray
    limited: Limited
    before: tuple[np.ndarray, np.ndarray] | None = None

    def text(self, name: str, signal: str, w: int) -> str:
        """What the signal saw in window w."""
        where = self.known.reference.bins.slice(name)
        column = self.known.calibration.columns.references[name]
        if self.before is not None:
            counts, sums = (part[w, where] for part in self.before)
            earlier = replace(column, counts=counts, sums=sums)
            return sentences.column(
                name, signal, earlier, self.counts[w, where], self.sums[w, where], sentences.BEFORE
            )
        said = sentences.column(name, signal, column, self.counts[w, where], self.sums[w, where])
        i = self.known.calibration.columns.names.index(name)
        value, line = (float(a[signal][w, i]) for a in (self.history.values, self.history.thresholds))
        over = f", over {_OVER[self.lane]}" if self.lane in _OVER else ""
        return f"{self.limited.text(name, signal, value, line, said)}{over}"

    def points(self, name: str, signal: str, value: float) -> float:
        """How far a signal is off: an owner's limit of what is missing is one of the share itself."""
        one = self.limited.columns.get(name)
        if signal != "A" or one is None or one.missing is None:
            return value
        return abs(value - self.known.calibration.columns.references[name].missing_share)


class Judging:
    """Judges the columns of one model's versions, each `window` seconds and in the other lanes.

    A pure function of what is stored, of the `marks` that people made of its alerts, and of when it is asked.
    """

    def __init__(
        self,
        tiles: Tiles,
        ledger: Ledger,
        references: References,
        config: ModelConfig,
        model: str,
        window: int,
        marks: Sequence[Mark] = (),
    ) -> None:
        self._tiles, self._ledger, self._references = tiles, ledger, references
        self._config, self._model, self._window, self._marks = config, model, window, marks
        self._standing: dict[Counted, tuple[int, Mapping[str, np.ndarray]]] = {}

    def reached(self, version: Deployed, bins: str) -> int:
        """Until when a version's columns are judged (epoch seconds); 0 where they have never been seen."""
        seen = self._tiles.seen(version.series[bins])
        if seen is None:
            return 0
        judged = self._ledger.judged_until(Counted(version.model, version.version, bins))
        first = seen[0] // self._window * self._window if judged is None else judged
        return max(first, self._tiles.kept_from(HOUR if self._window == HOUR else MINUTE))

    def due(self, version: Deployed, bins: str, now: float) -> Iterator[Due]:
        """By lane what of a version may have windows to judge: those that have closed, and are kept as such."""
        series = version.series[bins]
        seen = self._tiles.seen(series)
        known = None if seen is None else self._references.of(version, bins)
        if seen is None or known is None:
            return
        for lane, counted in by_lane(version, bins, self._window):
            if lane.before and not len(known.first(lane).outputs.index):
                continue
            closed, judged = last_closed(now, lane.seconds), self._ledger.judged_until(counted)
            first = seen[0] // lane.seconds * lane.seconds if judged is None else judged
            kept = self._tiles.kept_from(HOUR if lane.seconds >= HOUR else MINUTE)
            start = max(first, -(-kept // lane.seconds) * lane.seconds)
            if start >= closed or seen[1] < start:
                continue
            if not self._ledger.looked(counted, (closed, self._tiles.changed(series))):
                yield Due(counted, lane, series, known, seen[0], start, closed)

    def judge(self, due: Due, start: int, end: int) -> Iterator[Judged]:
        """Judge the windows that begin from `start` on and have closed by `end`, piece by piece as lines are refreshed."""
        while start < end:
            calibration, until = self._calibration(due, start)
            stop = min(end, until)
            found = self._judge(due, calibration, start, stop)
            if found is not None:
                yield found
            start = stop

    def in_force(self, version: Deployed, bins: str, lane: Lane, at: float) -> Calibration | None:
        """What columns are judged by in a lane at a moment; None without a reference."""
        series, known = version.series[bins], self._references.of(version, bins)
        seen = self._tiles.seen(series)
        if seen is None or known is None:
            return None
        counted = dict(by_lane(version, bins, self._window))[lane]
        return self._calibration(Due(counted, lane, series, known, seen[0], 0, 0), int(at))[0]

    def _judge(self, due: Due, calibration: Calibration, start: int, end: int) -> Judged | None:
        if due.lane.before:
            return self._jumps(due, calibration, start, end)
        bins, lane = due.known.reference.bins, due.lane
        step, longest = min(lane.seconds, HOUR), lane.seconds if lane.outputs else DAY
        windows = self._tiles.windows(due.series, start // longest * longest, end, step)
        rows = windows.counts[:, bins.slice(next(iter(bins.columns)))].sum(axis=1)
        pooled = calibration.pool(windows.starts, rows, step=step, until=end)
        todo = np.flatnonzero(pooled.closed & (pooled.starts >= start))
        if not len(todo):
            return None
        counts, sums = pooled.sum(windows.counts)[todo], pooled.sum(windows.sums)[todo]
        limited = Limited.of(due.known.reference, self._config.limits)
        found = limited(calibration.verdicts(counts), counts, moves=not due.counted.lane)
        return self._added(due, (pooled.starts[todo], pooled.ends[todo]), found, (counts, sums), limited)

    def _jumps(self, due: Due, calibration: Calibration, start: int, end: int) -> Judged | None:
        """Quarters of an hour that end after `start`, beside those before them: none where five minutes of either are empty."""
        bins, lane = due.known.reference.bins, due.lane
        windows = self._tiles.windows(due.series, start + lane.seconds - 2 * lane.before, end, lane.seconds)
        some = windows.counts[:, bins.slice(next(iter(bins.columns)))].sum(axis=1) > 0
        todo = np.flatnonzero(some[2 * lane.before // lane.seconds - 1 :])
        if not len(todo):
            return None
        given = (windows.counts, windows.sums)
        counts, sums = (jumps.pairs(windows.starts, part, lane.seconds).only(todo) for part in given)
        gaps = jumps.pairs(windows.starts, ~some, lane.seconds).only(todo)
        counts.before[(gaps.later + gaps.before) > 0] = 0
        limited = Limited.of(due.known.reference, {})  # an owner's limits are of levels, not of steps
        spans, before = (counts.starts, counts.ends), (counts.before, sums.before)
        return self._added(due, spans, calibration.jumps(counts), (counts.later, sums.later), limited, before)

    def _added(
        self,
        due: Due,
        spans: tuple[np.ndarray, np.ndarray],
        found: Verdicts,
        counted: tuple[np.ndarray, np.ndarray],
        limited: Limited,
        before: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Judged:
        """Remember verdicts, and say which of them are alarms, with those before them."""
        lane, columns = due.lane, len(due.known.reference.bins.columns)
        new = History(*spans, found.rows, dict(found.values), dict(found.thresholds))
        begin = int(new.starts[0])
        earlier = self._ledger.history(due.counted, begin - lane.history, begin, columns)
        self._ledger.add(due.counted, new)
        alarms = limited.alarms(_alarms(lane, earlier, new), new.ratios)
        if lane is DAILY:
            alarms = self._untold(due.counted, new, alarms)
        return Judged(due.counted, lane, due.known, new, alarms, *counted, limited, before)

    def _untold(
        self, counted: Counted, days: History, alarms: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Alarms of days without those of columns that an hour of the day has told of: nothing is told twice."""
        lane, first, columns = main_lane(self._window), int(days.starts[0]), days.rows.shape[1]
        hours = self._ledger.history(
            replace(counted, lane=""), first - lane.history, float(days.ends[-1]), columns
        )
        told = np.zeros((len(hours.starts), columns), dtype=bool)
        for signal, ratios in hours.ratios.items():
            told |= lane.alarm(signal, hours.starts, hours.ends, ratios)
        within = (hours.starts >= days.starts[:, None]) & (hours.starts < days.ends[:, None])
        return {signal: found & ~(within @ told) for signal, found in alarms.items()}

    def _calibration(self, due: Due, at: int) -> tuple[Calibration, int]:
        """What the lane's windows are judged by from `at` on, and until when: the reference's, refreshed by live hours."""
        known, version, bins = due.known, due.counted.version, due.counted.bins
        learning = known.first(due.lane).learning is not None
        until = refresh.due(due.first, at, learning=learning)
        again = until + (DAY if learning else refresh.WEEK)
        begin = max(due.first // HOUR * HOUR, self._tiles.kept_from(HOUR))
        if until <= begin:
            return known.first(due.lane), again
        marks = tuple(
            one for one in self._marks if (one.model, one.version, one.bins) == (self._model, version, bins)
        )
        held = known.of_versions.setdefault(("calibrations", self._model, version, bins), OrderedDict())
        key = (until, learning, marks)
        if key not in held:
            alike = [
                lane for lane in lanes(self._window) if (known.first(lane).learning is not None) == learning
            ]
            firsts = {lane.name: known.first(lane) for lane in alike}
            held[key] = self._refreshed(due, firsts, (begin, until), marks)
            if len(held) > _REFRESHED:
                held.popitem(last=False)
        return held[key][due.lane.name], again

    def _refreshed(
        self, due: Due, firsts: Mapping[str, Calibration], lived: tuple[int, int], marks: Sequence[Mark]
    ) -> Mapping[str, Calibration]:
        """By the hours lived, without those in which something was wrong; what was no problem is ordinary."""
        hours = self._tiles.windows(due.series, *lived, HOUR)
        names = next(iter(firsts.values())).columns.names
        left_out = np.zeros((len(hours.starts), len(names)), dtype=bool)
        for alert in self._ledger.alerts(self._model, since=float(lived[0])):
            if alert.state != PENDING:  # muted or not
                wrong = _during(hours.starts, alert.since, alert.until)
                left_out[np.ix_(wrong, _concerned(alert, names, due.counted.version))] = True
        for mark in marks:
            if mark.column in names:
                left_out[_during(hours.starts, mark.since, mark.until), names.index(mark.column)] = False
        live = refresh.Live(hours.starts, hours.counts)
        taught = {(mark.column, mark.signal) for mark in marks}
        return refresh.refresh_lanes(firsts, due.known.reference, live, leave_out=left_out, taught=taught)

    def note(self, judged: Judged, w: int) -> None:
        """Remember what a lane says now."""
        flags = {signal: found[w] for signal, found in judged.alarms.items()}
        self._standing[judged.counted] = int(judged.history.ends[w]), flags

    def stands(self, judged: Judged, signal: str, column: int, at: int) -> bool:
        """Whether another lane's last verdict on a signal of a column is still one of alarm."""
        for lane in lanes(self._window):
            if lane == judged.lane:
                continue
            counted = replace(judged.counted, lane=_name(lane, self._window))
            end, flags = self._last(counted, lane, judged.limited, judged.history.rows.shape[1], at)
            if at - end <= _STANDS.get(lane.seconds, UNJUDGED) and signal in flags and flags[signal][column]:
                return True
        return False

    def _last(
        self, counted: Counted, lane: Lane, limited: Limited, columns: int, at: int
    ) -> tuple[int, Mapping[str, np.ndarray]]:
        """When a lane last had a verdict by `at`, and what it was."""
        if counted not in self._standing:
            begin = at - _STANDS.get(lane.seconds, UNJUDGED) - lane.seconds - lane.history
            past = self._ledger.history(counted, begin, at, columns)
            if not len(past.starts):
                return -1 << 40, {}
            found = {s: lane.alarm(s, past.starts, past.ends, r) for s, r in past.ratios.items()}
            found = limited.alarms(found, past.ratios)
            found = self._untold(counted, past, found) if lane is DAILY else found
            self._standing[counted] = int(past.ends[-1]), {s: flags[-1] for s, flags in found.items()}
        return self._standing[counted]


def _concerned(alert: Alert, names: Sequence[str], version: str) -> np.ndarray:
    """bool[C]: a ticket about a column says nothing of other ones, a page may of all."""
    column = alert.condition.column if alert.condition.version == version else ""
    return np.array([alert.rule.severity == PAGE or name == column for name in names])


def _during(hours: np.ndarray, since: float, until: float | None) -> np.ndarray:
    """Which hours a span of time touches; without an end it goes on."""
    return np.asarray((hours + HOUR > since) & (hours < (np.inf if until is None else until)))


def _alarms(lane: Lane, earlier: History, new: History) -> dict[str, np.ndarray]:
    """By signal bool (W, C): whether each new window is in alarm, with the windows before it."""
    starts, ends = np.concatenate([earlier.starts, new.starts]), np.concatenate([earlier.ends, new.ends])
    before, found = earlier.ratios, {}
    for signal, ratios in new.ratios.items():
        past = before.get(signal, np.full((len(earlier.starts), ratios.shape[1]), np.nan))
        found[signal] = lane.alarm(signal, starts, ends, np.concatenate([past, ratios]))[
            len(earlier.starts) :
        ]
    return found
