"""Thresholds that keep a false-alarm budget: a model's own ordinary weeks would cross them about once.

Chance moves a signal by an amount that the row count tells; ordinary weeks move it by an amount that the
reference's hours tell (`tau`), and some columns have worse days than others (`kappa`). Nothing here knows of
severity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import special

from barograph.drift import MINIMUM_ROWS, SIGNALS, Against, ColumnReference, Columns, Totals, signals
from barograph.reference import Reference

HOUR, DAY = 3600, 86_400
MINIMUM_DAYS = 7
WINDOWS_A_MONTH = 720
BOUND = ("D", "L", "A", "U")  # signals that share the budget; O has a limit of its own
FLOORS = {"D": 0.02, "L": 0.05, "A": 0.01, "U": 0.01}
GROSS_MISSING = 0.20
FAULTY_SHARE, FAULTY_ROWS = 0.01, 5
AT_ONCE = 2.0
APART = 6 * HOUR

State = Literal["judged", "cannot_alarm", "learning", "too_few_rows"]


@dataclass(frozen=True, eq=False)
class Pool:
    """Hours pooled into windows, in order.

    `starts`, `ends` (epoch seconds), `rows` int64[G]; `closed` bool[G]: whether no further hour can join.
    `index` intp[T]: the window of each hour given, -1 where it has no rows.
    """

    starts: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    closed: np.ndarray
    index: np.ndarray
    minimum: int = MINIMUM_ROWS

    @property
    def enough(self) -> np.ndarray:
        """bool[G]: windows with rows enough for a verdict."""
        return self.rows >= self.minimum

    def sum(self, counts: np.ndarray) -> np.ndarray:
        """Add up what belongs to the hours: (T, ...) to (G, ...)."""
        kept = np.flatnonzero(self.index >= 0)
        if not len(kept):
            return np.zeros((0, *counts.shape[1:]), dtype=counts.dtype)
        _, first = np.unique(self.index[kept], return_index=True)
        return np.asarray(np.add.reduceat(counts[kept], first, axis=0))


def pool(
    starts: np.ndarray | Sequence[int],
    rows: np.ndarray | Sequence[int],
    *,
    minimum: int = MINIMUM_ROWS,
    longest: int = DAY,
    step: int = HOUR,
    until: float | None = None,
) -> Pool:
    """Join hours below `minimum` rows with those that follow, until there are enough.

    `starts` are epoch seconds in order, `rows` their rows. An hour without rows belongs to no window, whether
    given or left out. A window never crosses a multiple of `longest` (a UTC day), so that the windows of a
    day depend on that day alone: what is left of it stays a window below `minimum`. `until` is how far time
    has come (the end of the last hour given, if left out): before its day is over, a window below `minimum`
    is not `closed`.

    >>> hours = pool([0, 3600, 7200, 10800], [10, 25, 0, 40])
    >>> hours.starts.tolist(), hours.rows.tolist(), hours.index.tolist()
    ([0, 10800], [35, 40], [0, 0, -1, 1])
    """
    begins: list[int] = []
    ends: list[int] = []
    totals: list[int] = []
    index = np.full(len(starts), -1, dtype=np.intp)
    joins = False
    hours = zip(np.asarray(starts).tolist(), np.asarray(rows).tolist(), strict=True)
    for i, (start, count) in enumerate(hours):
        if not count:
            continue
        if not (joins and start // longest == begins[-1] // longest):
            begins.append(start)
            ends.append(start)
            totals.append(0)
        ends[-1], totals[-1] = start + step, totals[-1] + count
        index[i] = len(begins) - 1
        joins = totals[-1] < minimum
    first, total = np.array(begins, dtype=np.int64), np.array(totals, dtype=np.int64)
    now = until if until is not None else (int(np.asarray(starts)[-1]) + step if len(starts) else 0)
    closed = (total >= minimum) | ((first // longest + 1) * longest <= now)
    return Pool(first, np.array(ends, dtype=np.int64), total, closed, index, minimum)


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
        self, n: np.ndarray, present: np.ndarray, alpha: float, own: bool = False
    ) -> dict[str, np.ndarray]:
        """Lines before kappa for windows of n rows, `present` of them not missing.

        Ordinary windows are above them with probability `alpha`. `own` windows are part of the reference, so
        that its error is not added but taken off.
        """
        sign = -1.0 if own else 1.0
        z = float(-special.ndtri(alpha / 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            r = np.maximum(1 / n + sign / self.against.rows, 1e-12)
            rb = np.maximum(1 / present + np.divide(sign, self.against.present), 1e-12)
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

    `learning` says why ordinary variation is unknown (None where it is known): then only out of range,
    unseen, and 20 points of missing values are judged.
    """

    columns: Columns
    variation: Variation
    budget: float = 1.0
    windows: int = WINDOWS_A_MONTH
    learning: str | None = None
    _applies: Mapping[str, np.ndarray] = field(init=False, repr=False)
    _ceilings: Mapping[str, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        references = self.columns.references.values()
        every = np.ones(len(self.columns), dtype=bool)
        located, novel = np.isfinite(self.columns.ridit_sd), self.columns.tests_unseen
        applies = {"D": every, "L": located, "A": every, "U": novel, "O": every}
        object.__setattr__(self, "_applies", applies)
        ceilings = {s: np.array([c.ceilings[s] for c in references]) for s in SIGNALS}
        object.__setattr__(self, "_ceilings", ceilings)

    @property
    def alpha(self) -> float:
        """Share of ordinary windows that one signal of one column may put above its line, before kappa."""
        return _alpha(self.budget, self.windows, len(self.columns))

    def thresholds(
        self, column: str, n: np.ndarray | int, present: np.ndarray | int | None = None
    ) -> dict[str, np.ndarray]:
        """Lines of one column for windows of n rows, `present` of them not missing (all, if left out).

        By signal, each of the shape of n; NaN where ordinary variation is unknown.
        """
        if column not in self.columns.references:
            raise ValueError(
                f"column: {column!r} is not in the reference, which has {list(self.columns.names)}"
            )
        i, reference = self.columns.names.index(column), self.columns.references[column]
        rows = np.asarray(n, dtype=np.float64)
        values = rows if present is None else np.asarray(present, dtype=np.float64)
        return self._lines(self.variation.at(i, reference), rows, values)

    def verdicts(self, counts: np.ndarray) -> Verdicts:
        """Judge windows: counts int64[W, slots] over all columns."""
        window = self.columns.totals(counts)
        return self._verdicts(window)

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

    def _verdicts(self, window: Totals) -> Verdicts:
        n, present = window.rows.astype(np.float64), window.present.astype(np.float64)
        lines = self._lines(self.variation, n, present)
        values = signals(self.columns, window)
        few, few_present = n < MINIMUM_ROWS, present < MINIMUM_ROWS
        judged = {s: np.where(few_present if s == "L" else few, np.nan, v) for s, v in values.items()}
        known = {s: np.where(np.isnan(judged[s]), np.nan, line) for s, line in lines.items()}
        return Verdicts(window.rows, judged, known)

    def _lines(self, variation: Variation, n: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
        base = variation.base(n, present, self.alpha)
        if self.learning is None:
            lines = {signal: base[signal] * variation.kappa[signal] for signal in BOUND}
        else:
            unknown = np.full(base["D"].shape, np.nan)
            lines = {"D": unknown, "L": unknown, "A": np.full(unknown.shape, GROSS_MISSING), "U": base["U"]}
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


def calibrate(reference: Reference, budget: float = 1.0, *, windows: int = WINDOWS_A_MONTH) -> Calibration:
    """Learn the ordinary variation of a reference's hours.

    `budget` is the number of alarms a month that ordinary traffic may raise over all columns, `windows` how
    many are judged a month. Without timestamps, or with fewer than 7 days of them, the answer is in the state
    `learning`.

    >>> reference = Reference.fit({"x": [float(i) for i in range(100)]}, task="regression")
    >>> calibrate(reference).learning
    'the reference has no timestamps'
    """
    if not budget > 0:
        raise ValueError(f"budget: {budget} alarms a month; it must be above 0, such as 1.0")
    columns = Columns.of(reference.bins, reference.baseline.counts, reference.baseline.sums)
    if reference.windows is None:
        return Calibration(columns, _unknown(columns), budget, windows, "the reference has no timestamps")
    hours = reference.windows
    pooled = pool(hours.starts, hours.rows)
    days = len(np.unique(pooled.starts[pooled.enough] // DAY))
    if days < MINIMUM_DAYS:
        why = f"the reference has {days} days with windows of {MINIMUM_ROWS} rows, fewer than {MINIMUM_DAYS}"
        return Calibration(columns, _unknown(columns), budget, windows, why)
    enough = pooled.enough
    window = columns.totals(pooled.sum(hours.counts)[enough])
    novel = pooled.sum(_novel(columns, hours.novel, len(hours.starts)))[enough]
    variation = _variation(columns, window, pooled.starts[enough], novel, budget, windows)
    return Calibration(columns, variation, budget, windows)


def judge(calibration: Calibration, counts: np.ndarray) -> tuple[Judgement, ...]:
    """Judge one window: counts int64[slots] over all columns, one judgement for each signal that a column has.

    >>> reference = Reference.fit({"x": [float(i) for i in range(100)]}, task="regression")
    >>> judge(calibrate(reference), reference.baseline.counts)[-1]
    Judgement(column='x', signal='O', value=0.0, threshold=0.045, ratio=0.0, n=100, state='judged')
    """
    return calibration.judge(counts)


def alarm(signal: str, starts: np.ndarray, ends: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Whether a history of windows is in alarm: bool[T], one verdict a window.

    `starts` and `ends` are epoch seconds, `ratios` value / threshold with NaN where a window was not judged.
    An alarm is a ratio above 1 in two consecutive judged windows at most 6 hours apart, or above 2 once; O
    needs but one above 1.

    >>> alarm("D", np.arange(4) * 3600, np.arange(1, 5) * 3600, np.array([1.2, np.nan, 1.1, 2.5])).tolist()
    [False, False, True, True]
    """
    ratios = np.asarray(ratios, dtype=np.float64)
    alarms = np.zeros(len(ratios), dtype=bool)
    judged = np.flatnonzero(~np.isnan(ratios))
    ratio = ratios[judged]
    alarms[judged] = ratio > (1.0 if signal == "O" else AT_ONCE)
    near = np.asarray(starts)[judged][1:] - np.asarray(ends)[judged][:-1] <= APART
    alarms[judged[1:]] |= (ratio[1:] > 1) & (ratio[:-1] > 1) & near
    return alarms


def _alpha(budget: float, windows: int, columns: int) -> float:
    return budget / (windows * columns * len(BOUND))


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


def _novel(columns: Columns, novel: Mapping[str, np.ndarray], hours: int) -> np.ndarray:
    """(T, C): values that the first three quarters of the reference lack; NaN in those, and for numbers."""
    out = np.full((hours, len(columns)), np.nan)
    for i, name in enumerate(columns.names):
        if name in novel:
            out[:, i] = np.where(novel[name] >= 0, novel[name], np.nan)
    return out


def _variation(
    columns: Columns, window: Totals, starts: np.ndarray, novel: np.ndarray, budget: float, windows: int
) -> Variation:
    n, present = window.rows.astype(np.float64), window.present.astype(np.float64)
    values = signals(columns, window)
    values["L"] = np.where(present < MINIMUM_ROWS, np.nan, values["L"])
    values["U"] = novel / n
    p, u = columns.missing_share, _mean(novel, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        r, rb = 1 / n - 1 / columns.rows, 1 / present - 1 / columns.present
    tau = np.maximum(_mean(values["D"] - columns.dof * r), 0.0)
    calm = Variation(
        columns,
        tau=tau,
        tau2=_tau2(columns, window, starts, tau),
        tau_location=_root(values["L"] ** 2 - rb),
        tau_missing=_root(values["A"] ** 2 - p * (1 - p) * r),
        unseen_share=u,
        tau_unseen=_root((values["U"] - u) ** 2 - u * (1 - u) / n),
        kappa={},
    )
    base = calm.base(n, present, _alpha(budget, windows, len(columns)), own=True)
    kappa = {signal: _kappa(values[signal] / base[signal], starts // DAY, budget) for signal in BOUND}
    kappa["U"] = np.where(np.isnan(kappa["U"]), 1.0, kappa["U"])  # measured on a quarter of the days at most
    return replace(calm, kappa=kappa)


def _tau2(columns: Columns, window: Totals, starts: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Square sum of the covariance of ordinary hours, by products of hours too far apart to depend on each other."""
    step = 5  # no divisor of a day or a week, so that every hour of both is among them
    while len(starts) > 300 * step:
        step *= 5
    cells, n, t = window.cells[::step], window.rows[::step], starts[::step]
    root = np.sqrt(columns.shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(root > 0, (cells / n[..., None] - columns.shares) / root, 0.0).transpose(1, 0, 2)
    products = (y @ y.transpose(0, 2, 1)) ** 2
    inverse = 1 / n.T
    chance = inverse[:, :, None] * inverse[:, None, :]
    sums = inverse[:, :, None] + inverse[:, None, :]
    dof = np.maximum(columns.dof, 1)
    apart = np.abs(t[:, None] - t[None, :]) >= 40 * HOUR
    excess = (products - dof[:, None, None] * chance - tau[:, None, None] * sums)[:, apart]
    found = excess.mean(axis=1) if apart.any() else np.zeros(len(columns))
    return np.asarray(np.maximum(found, tau**2 / dof))


def _kappa(ratios: np.ndarray, days: np.ndarray, budget: float) -> np.ndarray:
    """How far above its line the worst window of a day is once a budget, by a Gumbel law of the days' worst.

    NaN with fewer than 7 days.
    """
    columns = ratios.shape[1]
    _, first = np.unique(days, return_index=True)
    worst = np.fmax.reduceat(ratios, first, axis=0)
    y = np.log(np.maximum(worst, 0.01))
    known = np.sum(~np.isnan(y), axis=0)
    mean = _mean(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt(np.nansum((y - mean) ** 2, axis=0) / (known - 1))
    b = np.sqrt(6) / np.pi * np.maximum(sd, 0.05)
    crossing = -np.log1p(-budget / (30 * columns * 2)) if budget < 60 * columns else np.inf
    kappa = np.maximum(1.0, np.exp(mean - np.euler_gamma * b - 1.2 * b * np.log(crossing)))
    return np.asarray(np.where(known >= MINIMUM_DAYS, kappa, np.nan))


def _mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over windows of what is known: sum / sum of weights; 0 where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, 1.0 if weights is None else weights, 0.0).sum(axis=0)
    return np.asarray(np.nansum(values, axis=0) / np.maximum(total, 1))


def _root(squares: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(_mean(squares), 0.0)))
