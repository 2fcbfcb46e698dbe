"""Thresholds that keep a false-alarm budget: a model's own ordinary weeks would cross them about once.

Chance moves a signal by an amount that the row count tells; ordinary weeks move it by an amount that the
reference's hours tell (`tau`), and some columns have worse days than others (`kappa`). Nothing here knows of
severity.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import special

from barograph import jumps
from barograph.bins import CELL_UNSEEN
from barograph.drift import MINIMUM_ROWS, SIGNALS, Against, ColumnReference, Columns, Totals, signals
from barograph.lanes import DAY, HOUR, HOURLY, LANES, Lane
from barograph.pooling import MINIMUM_DAYS, Pool, pool, whole_days, worst_days
from barograph.reference import Reference, ReferenceWindows

WINDOWS_A_MONTH = HOURLY.windows
BOUND = ("D", "L", "A", "U")  # signals that share the budget; O has a limit of its own
FLOORS = {"D": 0.02, "L": 0.05, "A": 0.01, "U": 0.01}
GROSS_MISSING, GROSS_UNSEEN = 0.20, 0.03  # judged before anything is known of ordinary days
FAULTY_SHARE, FAULTY_ROWS = 0.01, 5
APART = HOURLY.apart
RISE = 1.25  # times the first line: the most that a line may become
WHOLE = 0.75  # of the hours that a day usually has

State = Literal["judged", "cannot_alarm", "learning", "too_few_rows"]


@dataclass(frozen=True, eq=False)
class Variation:
    """All that a threshold depends on beside the rows of the window: arrays of C columns, or, by `at`, of one.

    `tau` is the mean of D that ordinary hours add to chance, `tau2` the square sum of its directions;
    `tau_location`, `tau_missing` and `tau_unseen` are standard deviations, `unseen_share` is a mean.
    `kappa[signal]` lifts a line to a column's own worst days; NaN where too few days had a verdict. `against`
    holds the reference's own row counts and shares.
    """

    against: Against
    tau: np.ndarray
    tau2: np.ndarray
    tau_location: np.ndarray
    tau_missing: np.ndarray
    unseen_share: np.ndarray
    tau_unseen: np.ndarray
    kappa: Mapping[str, np.ndarray]

    def at(self, i: int, column: ColumnReference) -> "Variation":
        """Those of the i-th column."""
        one = {f.name: getattr(self, f.name)[i] for f in fields(self) if f.name not in ("against", "kappa")}
        return Variation(column, **one, kappa={signal: value[i] for signal, value in self.kappa.items()})

    def base(
        self, n: np.ndarray, present: np.ndarray, alpha: float, sign: np.ndarray | float = 1.0
    ) -> dict[str, np.ndarray]:
        """Lines before kappa for windows of n rows, `present` of them not missing.

        Ordinary windows are above them with probability `alpha`. `sign` is -1 for windows that are part of
        the reference: its error is not added, but taken off.
        """
        z = float(-special.ndtri(alpha / 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            r = np.maximum(1 / n + sign / self.against.rows, 1e-12)
            rb = np.maximum(1 / present + sign / self.against.present, 1e-12)
            p, u = self.against.missing_share, self.unseen_share
            lines = {
                "D": self._shape(r, alpha),
                "L": z * np.sqrt(rb + self.tau_location**2),
                "A": z * np.sqrt((p * (1 - p) + r) * r + self.tau_missing**2),
                "U": np.maximum((z + 3) / n, u + z * np.sqrt((u * (1 - u) + 1 / n) / n + self.tau_unseen**2)),
            }
        return {signal: np.maximum(line, FLOORS[signal]) for signal, line in lines.items()}

    def _shape(self, r: np.ndarray, alpha: float) -> np.ndarray:
        """D of ordinary windows is near the scaled chi-square of the same mean m and variance v."""
        dof = np.maximum(self.against.dof, 1)
        m = dof * r + self.tau
        v = 2 * (dof * r**2 + 2 * self.tau * r + self.tau2)
        return np.asarray(v / (2 * m) * special.chdtri(2 * m**2 / v, alpha))


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Signals of W windows and C columns against their lines: `rows` (W, C), the rest by signal, (W, C) each.

    Both are NaN where the signal does not exist or rows are too few; a threshold alone is NaN where nothing
    is known to compare the value with.
    """

    rows: np.ndarray
    values: Mapping[str, np.ndarray]
    thresholds: Mapping[str, np.ndarray]

    @cached_property
    def ratios(self) -> dict[str, np.ndarray]:
        """Value / threshold; above 1 the window is out of the ordinary."""
        return {signal: value / self.thresholds[signal] for signal, value in self.values.items()}


@dataclass(frozen=True, eq=False)
class Calibration:
    """A model's columns and their ordinary variation, calibrated to `budget` alarms a month over all columns.

    It judges the windows of one `lane`, `windows` of them a month, and spends the lane's share of the budget.
    `learning` says why ordinary variation is unknown (None where it is known): then only out of range,
    3 % of unseen and 20 points of missing values are judged. `days` is how many days it rests on; `note` is what is
    to be said of it beside. Where `first` is given, no line rises above `RISE` times the first one's, but for
    the (column, signal) pairs in `taught`. `swing` is what the lane of jumps is judged by.
    """

    columns: Columns
    variation: Variation
    budget: float = 1.0
    windows: int = WINDOWS_A_MONTH
    learning: str | None = None
    lane: Lane = HOURLY
    roles: Mapping[str, str] = field(default_factory=dict)
    days: int = 0
    hours_a_day: int = 0
    note: str | None = None
    first: "Calibration | None" = None
    taught: frozenset[tuple[str, str]] = frozenset()
    swing: jumps.Swing | None = None
    _applies: Mapping[str, np.ndarray] = field(init=False, repr=False)
    _ceilings: Mapping[str, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        references = self.columns.references.values()
        judged = self.judged
        located, novel = np.isfinite(self.columns.ridit_sd), self.columns.tests_unseen
        applies = {"D": judged, "L": judged & located, "A": judged, "U": judged & novel, "O": judged}
        object.__setattr__(self, "_applies", applies)
        ceilings = {s: np.array([c.ceilings[s] for c in references]) for s in SIGNALS}
        object.__setattr__(self, "_ceilings", ceilings)

    @cached_property
    def judged(self) -> np.ndarray:
        """bool[C]: the columns that the lane judges."""
        return np.array([self.lane.judges(self.roles.get(n, "feature")) for n in self.columns.names])

    @property
    def alpha(self) -> float:
        """Share of ordinary windows that one signal of one column may put above its line, before kappa."""
        return self.budget * self.lane.share / (self.windows * max(int(self.judged.sum()), 1) * len(BOUND))

    def pool(
        self,
        starts: np.ndarray | Sequence[int],
        rows: np.ndarray | Sequence[int],
        *,
        step: int | None = None,
        until: float | None = None,
    ) -> Pool:
        """The lane's windows of `rows` by `starts`, which are `step` seconds long (5 minutes in the shortest lane, else an hour).

        In the daily lane a day with few hours (fewer than 3/4 of what is usual in the reference), such as the
        first one of a version, belongs to no window: other times of the day are no change of the world.
        """
        size = step or min(self.lane.seconds, HOUR)
        if self.lane.outputs:
            longest = self.lane.seconds
            return pool(starts, rows, minimum=self.lane.minimum, longest=longest, step=size, until=until)
        if self.lane.seconds < DAY:
            return pool(starts, rows, step=size, until=until)
        return whole_days(np.asarray(starts), np.asarray(rows), self.hours_a_day, size, until)

    def thresholds(
        self, column: str, n: np.ndarray | int, present: np.ndarray | int | None = None
    ) -> dict[str, np.ndarray]:
        """Lines of one column for windows of n rows, `present` of them not missing (all, if left out).

        By signal, each of the shape of n; NaN where ordinary variation is unknown. Of jumps, between two quarters of
        n rows each, at the hour of the day at which the column moves farthest.
        """
        if column not in self.columns.references:
            raise ValueError(
                f"column: {column!r} is not in the reference, which has {list(self.columns.names)}"
            )
        i, reference = self.columns.names.index(column), self.columns.references[column]
        rows = np.asarray(n, dtype=np.float64)
        if self.lane.before:
            return self._farthest(column, rows)
        values = rows if present is None else np.asarray(present, dtype=np.float64)
        lines = self._lines(self.variation.at(i, reference), rows, values)
        if self.first is None:
            return lines
        most = self.first.thresholds(column, rows, values)
        capped = {s for s in lines if (column, s) not in self.taught}
        return {s: np.fmin(line, RISE * most[s]) if s in capped else line for s, line in lines.items()}

    def _farthest(self, column: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Lines of jumps, at the hour of the day at which the column moves farthest."""
        i = self.columns.names.index(column)
        signal = "L" if self._applies["L"][i] else "D"
        lines = {s: np.full(rows.shape, np.nan) for s in SIGNALS}
        if self.swing is not None and self.judged[i]:
            k = self.outputs.index.tolist().index(i)
            with np.errstate(divide="ignore"):
                lines[signal] = np.sqrt(self.swing.z**2 * 2 / rows + self.swing.widest[k] ** 2)
        if self.first is not None and (column, signal) not in self.taught:
            lines[signal] = np.fmin(lines[signal], RISE * self.first._farthest(column, rows)[signal])
        return lines

    @cached_property
    def outputs(self) -> jumps.Outputs:
        """The columns that the lane judges, as jumps are measured."""
        return jumps.Outputs.of(self.columns, self.judged)

    def jumps(self, pairs: jumps.Pairs) -> Verdicts:
        """Judge the windows of the lane of jumps: `pairs` of counts int64[W, slots] over all columns.

        L of numbers, D of the others. No verdict where either of a pair has too few rows.
        """
        later, before = (self.columns.totals(counts) for counts in (pairs.later, pairs.before))
        index, names = self.outputs.index, self.columns.names
        signals = np.where(self._applies["L"], "L", "D")[index]
        free = np.array(
            [(names[i], s) in self.taught for i, s in zip(index.tolist(), signals.tolist(), strict=True)]
        )
        highest = None if self.first is None else self.first.swing
        off, lines = jumps.judged(self.outputs, later, before, pairs.starts, self.swing, highest, RISE, free)
        few = np.minimum(self.outputs.present(later), self.outputs.present(before)) < self.lane.minimum
        values: dict[str, np.ndarray] = {}
        thresholds: dict[str, np.ndarray] = {}
        for signal in sorted(set(signals.tolist())):
            here = signals == signal
            for store, part in ((values, off), (thresholds, lines)):
                store[signal] = np.full(later.rows.shape, np.nan)
                store[signal][:, index[here]] = np.where(few, np.nan, part)[:, here]
        return Verdicts(later.rows, values, thresholds)

    def verdicts(self, counts: np.ndarray) -> Verdicts:
        """Judge windows: counts int64[W, slots] over all columns. Those of the lane of jumps take `jumps`."""
        if self.lane.before:
            raise ValueError(
                f"counts: windows of the lane {self.lane.name!r} are judged in pairs; call jumps(pairs)"
            )
        return self.of_totals(self.columns.totals(counts))

    def judge(self, counts: np.ndarray) -> "tuple[Judgement, ...]":
        """See `judge`."""
        found = self.verdicts(np.atleast_2d(counts))
        names, rows = self.columns.names, found.rows[0].tolist()
        out: list[Judgement] = []
        for signal in SIGNALS:
            value, line = found.values[signal][0].tolist(), found.thresholds[signal][0].tolist()
            ceiling = self._ceilings[signal].tolist()
            out += [
                _judgement(names[i], signal, value[i], line[i], ceiling[i], rows[i])
                for i in np.flatnonzero(self._applies[signal]).tolist()
            ]
        return tuple(out)

    def of_totals(self, window: Totals) -> Verdicts:
        """The same from totals: of W windows, (W, C)."""
        n, present = window.rows.astype(np.float64), window.present.astype(np.float64)
        lines = self._capped(n, present)
        values = judged_signals(self.columns, window)
        few, few_present = n < self.lane.minimum, present < self.lane.minimum
        few = few | ~self.judged
        judged = {s: np.where(few | few_present if s == "L" else few, np.nan, v) for s, v in values.items()}
        known = {s: np.where(np.isnan(judged[s]), np.nan, line) for s, line in lines.items()}
        return Verdicts(window.rows, judged, known)

    def _capped(self, n: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
        lines = self._lines(self.variation, n, present)
        if self.first is None:
            return lines
        most = self.first._lines(self.first.variation, n, present)
        for signal in BOUND:
            free = np.array([(name, signal) in self.taught for name in self.columns.names])
            lines[signal] = np.where(free, lines[signal], np.fmin(lines[signal], RISE * most[signal]))
        return lines

    def _lines(self, variation: Variation, n: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
        base = variation.base(n, present, self.alpha)
        if self.learning is None:
            lines = {signal: base[signal] * variation.kappa[signal] for signal in BOUND}
        else:
            unknown = np.full(base["D"].shape, np.nan)
            gross = {"A": np.full(unknown.shape, GROSS_MISSING), "U": np.maximum(base["U"], GROSS_UNSEEN)}
            lines = {"D": unknown, "L": unknown, **gross}
        with np.errstate(divide="ignore"):
            # Counts are whole: five rows and more are more than four and a half.
            lines["O"] = np.maximum(FAULTY_SHARE, (FAULTY_ROWS - 0.5) / n - variation.against.faulty_share)
        return lines


@dataclass(frozen=True, slots=True)
class Judgement:
    """One signal of one column in one window.

    `state`: judged; cannot_alarm (the line lies beyond what the signal can reach); learning (no line yet);
    too_few_rows. What does not exist is None, never 0. `n` is the window's rows.
    """

    column: str
    signal: str
    value: float | None
    threshold: float | None
    ratio: float | None
    n: int
    state: State = "judged"


def calibrate(
    reference: Reference, budget: float = 1.0, *, windows: int | None = None, lane: Lane = HOURLY
) -> Calibration:
    """Learn the ordinary variation of a reference's hours, for the windows of one lane.

    `budget` is the number of alarms a month that ordinary traffic may raise over all columns and lanes,
    `windows` how many the lane judges a month. Without timestamps, or with fewer than 7 days of them, the
    answer is in the state `learning`.

    >>> reference = Reference.fit({"x": [float(i) for i in range(100)]}, task="regression")
    >>> calibrate(reference).learning
    'the reference has no timestamps'
    """
    return _calibrate(reference, budget, {lane: windows or lane.windows})[lane.name]


def calibrate_lanes(
    reference: Reference, budget: float = 1.0, lanes: Iterable[Lane] = LANES.values()
) -> dict[str, Calibration]:
    """The same for several lanes in one pass, by name.

    >>> reference = Reference.fit({"x": [float(i) for i in range(100)]}, task="regression")
    >>> list(calibrate_lanes(reference))
    ['5m', 'jump', '1h', '1d']
    """
    return _calibrate(reference, budget, {lane: lane.windows for lane in lanes})


def _calibrate(reference: Reference, budget: float, lanes: Mapping[Lane, int]) -> dict[str, Calibration]:
    if not budget > 0:
        raise ValueError(f"budget: {budget} alarms a month; it must be above 0, such as 1.0")
    columns = Columns.of(reference.bins, reference.baseline.counts, reference.baseline.sums)
    unknown, roles = _unknown(columns), reference.bins.roles
    starts = [Calibration(columns, unknown, budget, n, lane=lane, roles=roles) for lane, n in lanes.items()]
    if reference.windows is None:
        why = "the reference has no timestamps"
        return {one.lane.name: replace(one, learning=why) for one in starts}
    own = own_hours(columns, reference.windows)
    return {one.lane.name: fitted(one, [own], "the reference") for one in starts}


def judge(calibration: Calibration, counts: np.ndarray) -> tuple[Judgement, ...]:
    """Judge one window: counts int64[slots] over all columns, one judgement for each signal that a column has.

    >>> reference = Reference.fit({"x": [float(i) for i in range(100)]}, task="regression")
    >>> judge(calibrate(reference), reference.baseline.counts)[-1]
    Judgement(column='x', signal='O', value=0.0, threshold=0.045, ratio=0.0, n=100, state='judged')
    """
    return calibration.judge(counts)


def judged_signals(columns: Columns, window: Totals) -> dict[str, np.ndarray]:
    """The five signals as they are judged: D of the values that are not unseen, where U judges those.

    A few new categories an hour are ordinary in many columns; against a reference that has none they would
    outweigh all else in D.
    """
    cells = window.cells.copy()
    cells[..., columns.tests_unseen, CELL_UNSEEN] = 0
    known = Totals(cells, window.ridits, window.faulty)
    return {**signals(columns, window), "D": SIGNALS["D"].function(columns, known)}


def _judgement(column: str, signal: str, value: float, line: float, ceiling: float, n: int) -> Judgement:
    if value != value:
        return Judgement(column, signal, None, None, None, n, "too_few_rows")
    if line != line:
        return Judgement(column, signal, value, None, None, n, "learning")
    state: State = "judged" if line < ceiling else "cannot_alarm"
    return Judgement(column, signal, value, line, value / line, n, state)


def _unknown(columns: Columns) -> Variation:
    """Chance alone: what is left to compare with while ordinary variation is unknown."""
    none = np.zeros(len(columns))
    return Variation(columns, none, none, none, none, none, none, dict.fromkeys(BOUND, none + 1))


@dataclass(frozen=True, eq=False)
class Hours:
    """Ordinary hours that variation is learnt from: `starts` int64[T], `totals` of T hours and C columns.

    `novel` float64[T, C] is how many values were news then, NaN where that is unknown; `known` bool[T, C] is
    false where an hour is left out. `own` hours are part of the reference.
    """

    starts: np.ndarray
    totals: Totals
    novel: np.ndarray
    known: np.ndarray
    own: bool

    @property
    def rows(self) -> np.ndarray:
        """int64[T]: rows of each hour."""
        return np.asarray(self.totals.rows[:, 0])

    def pooled(self, windows: Pool) -> "Hours":
        """The same by windows with rows enough; one that holds an hour left out is left out itself."""
        enough, sums = windows.enough, windows.sum
        t = self.totals
        totals = Totals(*(sums(part)[enough] for part in (t.cells, t.ridits, t.faulty)))
        known = sums((~self.known).astype(np.int64))[enough] == 0
        return Hours(windows.starts[enough], totals, sums(self.novel)[enough], known, self.own)


def own_hours(columns: Columns, windows: ReferenceWindows) -> Hours:
    """The reference's own hours."""
    novel = np.full((len(windows.starts), len(columns)), np.nan)
    for i, name in enumerate(columns.names):
        if name in windows.novel:
            novel[:, i] = np.where(windows.novel[name] >= 0, windows.novel[name], np.nan)
    known = np.ones(novel.shape, dtype=bool)
    return Hours(windows.starts, columns.totals(windows.counts), novel, known, own=True)


def fitted(start: Calibration, parts: Sequence[Hours], what: str) -> Calibration:
    """`start` with the variation of these hours; `learning` where they are of fewer than 7 days."""
    if start.lane.before:
        return _swinging(start, parts, what)
    hours = [_days_hours(part) for part in parts]
    usual = int(WHOLE * np.median(np.concatenate(hours))) if sum(map(len, hours)) else 0
    start = replace(start, hours_a_day=usual)
    pooled = [part.pooled(_learnt_from(start, part)) for part in parts]
    days = len(np.unique(np.concatenate([part.starts for part in pooled]) // DAY))
    if days < MINIMUM_DAYS:
        why = f"{what} has {days} days with windows of {start.lane.minimum} rows, fewer than {MINIMUM_DAYS}"
        return replace(start, learning=why, days=days)
    return replace(start, variation=_variation(start, pooled), learning=None, days=days)


def _swinging(start: Calibration, parts: Sequence[Hours], what: str) -> Calibration:
    """`start` with what ordinary quarters of an hour do, by these hours."""
    lane, hours = start.lane, [jumps.Hourly(p.starts, p.totals, p.known) for p in parts]
    if not len(start.outputs.index):
        return replace(start, learning="the reference has no column of answers")
    swing, days = jumps.learn(
        start.outputs,
        hours,
        budget=start.budget * lane.share,
        windows=start.windows,
        tail=lane.tail,
        minimum=lane.minimum,
    )
    if swing is None:
        why = f"{what} has {days} days with hours of {lane.minimum} rows, one after the other, fewer than {MINIMUM_DAYS}"
        return replace(start, learning=why, days=days)
    return replace(start, swing=swing, learning=None, days=days)


def _learnt_from(calibration: Calibration, hours: Hours) -> Pool:
    """A lane of less than an hour learns from hours: nothing finer is kept for weeks."""
    if calibration.lane.seconds < HOUR:
        return pool(hours.starts, hours.rows)
    return calibration.pool(hours.starts, hours.rows)


def _days_hours(part: Hours) -> np.ndarray:
    """How many hours with rows each day has."""
    _, count = np.unique(part.starts[part.rows > 0] // DAY, return_counts=True)
    return np.asarray(count)


def _variation(calibration: Calibration, parts: Sequence[Hours]) -> Variation:
    columns, lane = calibration.columns, calibration.lane
    starts, known = (np.concatenate([getattr(p, name) for p in parts]) for name in ("starts", "known"))
    novel = np.concatenate([p.novel for p in parts])
    window = Totals(
        *(np.concatenate([getattr(p.totals, name) for p in parts]) for name in ("cells", "ridits", "faulty"))
    )
    sign = np.concatenate([np.full((len(p.starts), 1), -1.0 if p.own else 1.0) for p in parts])
    n, present = window.rows.astype(np.float64), window.present.astype(np.float64)
    values = {s: np.where(known, v, np.nan) for s, v in judged_signals(columns, window).items()}
    values["L"] = np.where(present < MINIMUM_ROWS, np.nan, values["L"])
    values["U"] = np.where(known, novel / n, np.nan)
    p, u = columns.missing_share, _mean(np.where(known, novel, np.nan), n)
    with np.errstate(divide="ignore", invalid="ignore"):
        r, rb = 1 / n + sign / columns.rows, 1 / present + sign / columns.present
    tau = np.maximum(_mean(values["D"] - columns.dof * r), 0.0)
    calm = Variation(
        columns,
        tau=tau,
        tau2=_tau2(columns, window, starts, known, tau, lane),
        tau_location=_root(values["L"] ** 2 - rb),
        tau_missing=_root(values["A"] ** 2 - p * (1 - p) * r),
        unseen_share=u,
        tau_unseen=_root((values["U"] - u) ** 2 - u * (1 - u) / n),
        kappa={},
    )
    base = calm.base(n, present, calibration.alpha, sign)
    _, first = np.unique(starts // DAY, return_index=True)
    crossing = calibration.budget * lane.share / (30 * max(int(calibration.judged.sum()), 1) * 2)
    ends = starts + min(lane.seconds, HOUR) if lane.seconds < DAY else starts + DAY
    kappa = {}
    for signal in BOUND:
        ratios = values[signal] / base[signal]
        level = ratios if lane.seconds < HOUR else lane.level(starts, ends, ratios)
        lifted = (
            worst_days(np.sqrt(level), first, crossing, lane.tail) ** 2
            if signal == "D"
            else worst_days(level, first, crossing, lane.tail)
        )
        kappa[signal] = lifted  # D is the square of a distance
    kappa["U"] = np.where(np.isnan(kappa["U"]), 1.0, kappa["U"])  # measured on a quarter of the days at most
    return replace(calm, kappa=kappa)


def _tau2(
    columns: Columns, window: Totals, starts: np.ndarray, known: np.ndarray, tau: np.ndarray, lane: Lane
) -> np.ndarray:
    """Square sum of the covariance of ordinary windows, by products of windows too far apart to depend on each other."""
    step = (
        5 if lane.seconds < DAY else 1
    )  # no divisor of a day or a week, so that every hour of both is among them
    while len(starts) > 300 * step:
        step *= 5
    cells, n, t, held = window.cells[::step], window.rows[::step], starts[::step], known[::step].T
    root = np.sqrt(columns.shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(root > 0, (cells / n[..., None] - columns.shares) / root, 0.0).transpose(1, 0, 2)
    products = (y @ y.transpose(0, 2, 1)) ** 2
    inverse = 1 / n.T
    chance = inverse[:, :, None] * inverse[:, None, :]
    sums = inverse[:, :, None] + inverse[:, None, :]
    dof = np.maximum(columns.dof, 1)
    apart = np.abs(t[:, None] - t[None, :]) >= (40 * HOUR if lane.seconds < DAY else 2 * DAY)
    pairs = held[:, :, None] & held[:, None, :] & apart
    excess = np.where(pairs, products - dof[:, None, None] * chance - tau[:, None, None] * sums, 0.0)
    found = excess.sum(axis=(1, 2)) / np.maximum(pairs.sum(axis=(1, 2)), 1)
    return np.asarray(np.maximum(found, tau**2 / dof))


def _mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over windows of what is known: sum / sum of weights; 0 where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, 1.0 if weights is None else weights, 0.0).sum(axis=0)
    return np.asarray(np.nansum(values, axis=0) / np.maximum(total, 1))


def _root(squares: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(_mean(squares), 0.0)))
