"""Signals and measures of drift: pure functions of counts over frozen bins.

A window is compared with the reference of its own bins. `counts` is int64[size] or int64[T, size] (T
windows), laid out as `bins` says, and every answer has one value a window: NaN where nothing can be said,
never 0.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np

from barograph.bins import CELL_MISSING, CELL_UNSEEN, Bins, BinSet, NumericBins
from barograph.quantiles import bin_means, edges_of, middles_of, ratio

_TINY = float(np.finfo(np.float64).tiny)
MINIMUM_ROWS = 30  # fewer give no verdict
CELLS = 18  # 16 of about equal reference mass, missing or invalid, unseen


@dataclass(frozen=True, eq=False)
class Merge:
    """Adds slots up by group: (..., slots) to (..., groups)."""

    order: np.ndarray
    starts: np.ndarray
    targets: np.ndarray
    size: int

    @classmethod
    def of(cls, slots: np.ndarray, groups: np.ndarray, size: int) -> "Merge":
        """Slot `slots[i]` goes into group `groups[i]`, below `size`."""
        by_group = np.argsort(groups, kind="stable")
        targets, starts = np.unique(groups[by_group], return_index=True)
        return cls(slots[by_group], starts, targets, size)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Totals of the groups; a group without slots is 0."""
        out = np.zeros((*values.shape[:-1], self.size), dtype=values.dtype)
        if len(self.starts):
            out[..., self.targets] = np.add.reduceat(values[..., self.order], self.starts, axis=-1)
        return out


@dataclass(frozen=True, eq=False)
class ColumnReference:
    """What one column's windows are compared with: its frozen bins and the reference's counts.

    `counts` int64[size]; `sums` float64[size], the sum of x in each bin, or None.

    >>> bins = NumericBins(np.array([0.0, 1.0, 2.0]), low=-1.0, high=3.0)
    >>> column = ColumnReference(bins, np.array([0, 50, 50, 0, 0, 0]))
    >>> column.rows, column.dof, float(column.ridits[2])
    (100, 1, 0.25)
    """

    bins: Bins
    counts: np.ndarray
    sums: np.ndarray | None = None

    def __post_init__(self) -> None:
        if np.shape(self.counts) != (self.bins.size,):
            raise ValueError(
                f"counts: shape {np.shape(self.counts)}, but the bins have {self.bins.size} slots; "
                "give the counts of this column over these bins"
            )
        if not np.any(self.counts):
            raise ValueError("counts: all are 0; a reference needs rows")

    @cached_property
    def rows(self) -> int:
        """N, the reference's rows."""
        return int(self.counts.sum())

    @cached_property
    def present(self) -> int:
        """Nb, the reference's rows that are neither missing nor invalid."""
        return self.rows - int(self.cell_counts[CELL_MISSING])

    @cached_property
    def cells(self) -> np.ndarray:
        """intp[size]: the cell, 0 to 17, of each slot."""
        return self.bins.cells(self.counts)

    @cached_property
    def merge(self) -> Merge:
        """Adds slots up to cells."""
        return Merge.of(np.arange(self.bins.size), self.cells, CELLS)

    @cached_property
    def cell_counts(self) -> np.ndarray:
        """int64[18]: the reference's counts by cell."""
        return self.merge(self.counts)

    @cached_property
    def shares(self) -> np.ndarray:
        """p0, float64[18]: the reference's shares by cell."""
        return self.cell_counts / self.rows

    @cached_property
    def smoothed(self) -> np.ndarray:
        """p0c, float64[18]: the same with half a row added to each cell: none is 0, and they sum to 1."""
        return (self.cell_counts + 0.5) / (self.rows + 0.5 * CELLS)

    @cached_property
    def dof(self) -> int:
        """Degrees of freedom: cells with reference mass, less one."""
        return int(np.count_nonzero(self.cell_counts)) - 1

    @cached_property
    def ridits(self) -> np.ndarray:
        """float64[size]: each value slot's mid-rank among the reference's values, less 0.5; 0 elsewhere."""
        ridits = np.zeros(self.bins.size)
        values = self.counts[: self.bins.values]
        total = values.sum()
        if isinstance(self.bins, NumericBins) and total:
            ridits[: self.bins.values] = (np.cumsum(values) - values / 2) / total - 0.5
        return ridits

    @cached_property
    def ridit_sd(self) -> float:
        """Standard deviation of the ridit in the reference; NaN where it has no spread, or no order."""
        values = self.counts[: self.bins.values]
        square = float(values @ self.ridits[: self.bins.values] ** 2)
        return float(np.sqrt(square / values.sum())) if square > 0 else np.nan

    @cached_property
    def faulty(self) -> np.ndarray:
        """bool[size]: slots out of range, or invalid."""
        mask = self.bins.outside.copy()
        mask[self.bins.invalid] = True
        return mask

    @cached_property
    def faulty_share(self) -> float:
        """The reference's own share out of range or invalid."""
        return float(self.counts[self.faulty].sum() / self.rows)

    @cached_property
    def missing_share(self) -> float:
        """The reference's own share missing or invalid."""
        return float(self.shares[CELL_MISSING])

    @property
    def tests_unseen(self) -> bool:
        """Whether a value that the reference never had is news: not for numbers, nor in open columns."""
        return self.bins.kind == "categorical" and not getattr(self.bins, "open", False)

    @cached_property
    def ceilings(self) -> dict[str, float]:
        """The most that each signal could reach in this column."""
        shape_most = float(-2 * np.log(self.smoothed.min()))
        farthest = float(np.abs(self.ridits).max() / self.ridit_sd)
        gone = max(self.missing_share, 1 - self.missing_share)
        return {"D": shape_most, "L": farthest, "A": gone, "U": 1.0, "O": 1 - self.faulty_share}

    @cached_property
    def means(self) -> np.ndarray:
        """float64[values]: a typical value of each bin: the reference's mean, or the bin's middle without sums."""
        middles = middles_of(self.bins)
        counts = self.counts[: self.bins.values]
        if self.sums is None:
            return middles
        own = np.divide(self.sums[: self.bins.values], counts, out=middles.copy(), where=counts > 0)
        return np.where(np.isfinite(own), own, middles)

    @cached_property
    def discrete(self) -> bool:
        """Whether the reference has one value a bin: the edges then lie midway between the bins' means."""
        if not isinstance(self.bins, NumericBins) or self.sums is None:
            return False
        values = self.means[np.flatnonzero(self.counts[: self.bins.values])]
        if len(values) < 2:
            return len(values) == 1
        middles = (values[:-1] + values[1:]) / 2
        off = np.abs(self.bins.edges - middles[:, None]).min(axis=1)
        return bool(np.all(off <= 1e-9 * (values[-1] - values[0])))


@dataclass(frozen=True, eq=False)
class Totals:
    """Of each window, all that the five signals need: `cells` (..., 18), `ridits` and `faulty` (...).

    Additive like the counts it is made of.
    """

    cells: np.ndarray
    ridits: np.ndarray
    faulty: np.ndarray

    @cached_property
    def rows(self) -> np.ndarray:
        """n: rows of each window."""
        return np.asarray(self.cells.sum(axis=-1))

    @cached_property
    def present(self) -> np.ndarray:
        """nb: rows of each window that are neither missing nor invalid."""
        return np.asarray(self.rows - self.cells[..., CELL_MISSING])


@dataclass(frozen=True, eq=False)
class Columns:
    """The references of all columns of a model, side by side, so that one pass judges them all.

    It has the names of `ColumnReference` with a leading axis of C columns, and takes counts of all slots.
    """

    references: Mapping[str, ColumnReference]
    rows: np.ndarray = field(init=False)
    present: np.ndarray = field(init=False)
    shares: np.ndarray = field(init=False)
    smoothed: np.ndarray = field(init=False)
    dof: np.ndarray = field(init=False)
    ridit_sd: np.ndarray = field(init=False)
    faulty_share: np.ndarray = field(init=False)
    missing_share: np.ndarray = field(init=False)
    tests_unseen: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        for stacked in fields(self)[1:]:
            values = np.array([getattr(column, stacked.name) for column in self.references.values()])
            object.__setattr__(self, stacked.name, values)

    @classmethod
    def of(cls, bins: BinSet, counts: np.ndarray, sums: np.ndarray | None = None) -> "Columns":
        """From the bins and the reference's counts (int64[bins.size]) of all columns."""
        references = {}
        for name, own in bins.columns.items():
            where = bins.slice(name)
            references[name] = ColumnReference(own, counts[where], None if sums is None else sums[where])
        return cls(references)

    def __len__(self) -> int:
        return len(self.references)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(self.references)

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each column begins in the vector of counts, and at last the vector's length."""
        return np.cumsum([0, *(c.bins.size for c in self.references.values())])

    @cached_property
    def _cells(self) -> Merge:
        groups = [i * CELLS + c.cells for i, c in enumerate(self.references.values())]
        return Merge.of(np.arange(self.starts[-1]), np.concatenate(groups), len(self) * CELLS)

    @cached_property
    def _ridits(self) -> np.ndarray:
        return np.concatenate([c.ridits for c in self.references.values()])

    @cached_property
    def _faulty(self) -> Merge:
        slots = np.flatnonzero(np.concatenate([c.faulty for c in self.references.values()]))
        return Merge.of(slots, np.searchsorted(self.starts, slots, side="right") - 1, len(self))

    def totals(self, counts: np.ndarray) -> Totals:
        """Totals of windows: counts (..., slots) to cells (..., C, 18)."""
        cells = self._cells(counts).reshape(*counts.shape[:-1], len(self), CELLS)
        ridits = np.add.reduceat(counts * self._ridits, self.starts[:-1], axis=-1)
        return Totals(cells, ridits, self._faulty(counts))


Against = ColumnReference | Columns


def totals(column: ColumnReference, counts: np.ndarray) -> Totals:
    """Totals of windows of one column: counts (..., size) to cells (..., 18)."""
    return Totals(column.merge(counts), counts @ column.ridits, counts[..., column.faulty].sum(axis=-1))


# The five signals. Each takes the reference (of one column, or of C columns) and the totals of windows.


def shape(reference: Against, window: Totals) -> np.ndarray:
    """D: 2 * sum q ln(q / p0c) over the 18 cells, q the window's shares; nats, times 2.

    By chance alone n * D is near a chi-square with `dof` degrees of freedom.
    """
    c = window.cells
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.maximum(c, 1)) - np.log(reference.smoothed)
        return np.asarray(2 * (np.sum(c * logs, axis=-1) / window.rows - np.log(window.rows)))


def location(reference: Against, window: Totals) -> np.ndarray:
    """L: how far the mean rank among the reference's values has moved, in that rank's sd; numbers only."""
    return np.asarray(np.abs(ratio(window.ridits, window.present)) / reference.ridit_sd)


def missing(reference: Against, window: Totals) -> np.ndarray:
    """A: difference of the missing-or-invalid share from the reference's, as an absolute share."""
    return np.asarray(np.abs(ratio(window.cells[..., CELL_MISSING], window.rows) - reference.missing_share))


def unseen(reference: Against, window: Totals) -> np.ndarray:
    """U: share of values that the reference never had; NaN where that is no news."""
    return np.where(reference.tests_unseen, ratio(window.cells[..., CELL_UNSEEN], window.rows), np.nan)


def out_of_range(reference: Against, window: Totals) -> np.ndarray:
    """O: share out of range or invalid above the reference's own; never below 0."""
    return np.asarray(np.maximum(ratio(window.faulty, window.rows) - reference.faulty_share, 0.0))


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal by its letter, for people: a title, its function and its unit."""

    name: str
    title: str
    function: Callable[[Against, Totals], np.ndarray]
    unit: str


SIGNALS: dict[str, Signal] = {
    s.name: s
    for s in (
        Signal("D", "Shape", shape, "nats"),
        Signal("L", "Location", location, "sd"),
        Signal("A", "Missing", missing, "share"),
        Signal("U", "Unseen", unseen, "share"),
        Signal("O", "Out of range", out_of_range, "share"),
    )
}


def signals(reference: Against, window: Totals) -> dict[str, np.ndarray]:
    """All five signals by letter, each of the windows' shape.

    >>> bins = NumericBins(np.array([0.0, 1.0, 2.0]), low=-1.0, high=3.0)
    >>> column = ColumnReference(bins, np.array([0, 50, 50, 0, 0, 0]))
    >>> found = signals(column, totals(column, np.array([0, 20, 20, 0, 10, 0])))
    >>> float(found["A"]), float(found["L"])
    (0.2, 0.0)
    """
    return {name: signal.function(reference, window) for name, signal in SIGNALS.items()}


# The measures that people know. Each is a function of a comparison.


@dataclass(frozen=True, eq=False)
class Comparison:
    """One column's windows beside its reference: counts (..., size) and, where there are any, sums of x."""

    reference: ColumnReference
    counts: np.ndarray
    sums: np.ndarray | None = None

    @cached_property
    def rows(self) -> np.ndarray:
        """n: rows of each window."""
        return np.asarray(self.counts.sum(axis=-1))

    @cached_property
    def cells(self) -> np.ndarray:
        """int64[..., 18]: counts by cell."""
        return self.reference.merge(self.counts)

    @cached_property
    def shares(self) -> np.ndarray:
        """float64[..., 18]: shares by cell; NaN for an empty window."""
        return ratio(self.cells, self.rows[..., None])

    @cached_property
    def gaps(self) -> np.ndarray:
        """float64[..., values]: live minus reference cumulative share of values at the end of each slot."""
        k = self.reference.bins.values
        if not isinstance(self.reference.bins, NumericBins):
            return np.full((*self.counts.shape[:-1], k), np.nan)
        own, live = np.cumsum(self.reference.counts[:k]), np.cumsum(self.counts[..., :k], axis=-1)
        return np.asarray(ratio(live, live[..., -1:]) - ratio(own, own[-1:]))


def psi(window: Comparison) -> np.ndarray:
    """Population stability index, minus the part that chance adds.

    sum (q - p) ln(q / p), natural logarithm, over those of the 18 cells that hold rows of either side, with
    half a row added to each; minus (k - 1)(1/n + 1/N), k the cells with reference mass; never below 0. Other
    tools leave that in.
    """
    reference, live = window.reference, window.cells
    held = (live > 0) | (reference.cell_counts > 0)
    extra = 0.5 * held.sum(axis=-1, keepdims=True)
    q = (live + 0.5) / (window.rows[..., None] + extra)
    p = (reference.cell_counts + 0.5) / (reference.rows + extra)
    raw = np.sum(np.where(held, (q - p) * np.log(q / p), 0.0), axis=-1)
    bias = reference.dof * (ratio(np.ones(()), window.rows) + 1 / reference.rows)
    return np.asarray(np.maximum(raw - bias, 0.0))


def jensen_shannon(window: Comparison) -> np.ndarray:
    """Jensen-Shannon distance: the root of the divergence, logarithm to base 2, over the 18 cells; 0 to 1.

    Some tools show the divergence (no root), or base e, which is smaller by sqrt(ln 2).
    """
    p, q = window.reference.shares, window.shares
    middle = np.maximum((p + q) / 2, _TINY)
    kl_p = np.sum(p * np.log2(np.maximum(p, _TINY) / middle), axis=-1)
    kl_q = np.sum(q * np.log2(np.maximum(q, _TINY) / middle), axis=-1)
    return np.asarray(np.sqrt(np.maximum(kl_p + kl_q, 0.0) / 2))


def hellinger(window: Comparison) -> np.ndarray:
    """Hellinger distance: sqrt(sum (sqrt q - sqrt p)^2 / 2), over the 18 cells; 0 to 1."""
    roots = np.sqrt(window.shares) - np.sqrt(window.reference.shares)
    return np.asarray(np.sqrt(np.sum(roots**2, axis=-1) / 2))


def chi_square(window: Comparison) -> np.ndarray:
    """Chi-square statistic of the table (window, reference) x the 18 cells, without a continuity correction.

    No p-value: no hour of real traffic is a random sample of the month, which p-values take it for.
    """
    reference = window.reference
    weights = window.rows[..., None] * reference.rows / np.maximum(window.cells + reference.cell_counts, 1)
    return np.asarray(np.sum(weights * (window.shares - reference.shares) ** 2, axis=-1))


def l_infinity(window: Comparison) -> np.ndarray:
    """Largest absolute difference in the share of one fine bin or category, or of missing values; 0 to 1."""
    own = window.reference.counts / window.reference.rows
    return np.asarray(np.abs(ratio(window.counts, window.rows[..., None]) - own).max(axis=-1))


def kolmogorov_smirnov(window: Comparison) -> np.ndarray:
    """Kolmogorov-Smirnov: largest difference of the cumulative shares at the edges of the fine bins; 0 to 1.

    Over values that are not missing; never above the statistic of the raw values. Numeric columns only.
    """
    return np.asarray(np.abs(window.gaps).max(axis=-1))


def wasserstein(window: Comparison) -> np.ndarray:
    """Wasserstein distance of order 1 (earth mover's) over the fine bins' values, in the column's own unit.

    With sums of x by bin, the area between the two cumulative curves is exact in each bin where they don't
    cross, and everywhere if the reference has one value a bin. Without, a bin's values lie where the
    reference's do. Numeric columns only.
    """
    reference, bins = window.reference, window.reference.bins
    if not isinstance(bins, NumericBins):
        return np.full(window.counts.shape[:-1], np.nan)
    own, live = reference.counts[: bins.values], window.counts[..., : bins.values]
    left, right = edges_of(bins)
    before, after = np.zeros(live.shape), window.gaps
    before[..., 1:] = after[..., :-1]
    here = reference.means
    there = here if window.sums is None else np.where(live > 0, bin_means(bins, live, window.sums), here)
    first, last = np.minimum(here, there), np.maximum(here, there)
    between = before + np.where(
        there < here, ratio(live, live.sum(axis=-1)[..., None]), -ratio(own, own.sum())
    )
    with np.errstate(over="ignore", invalid="ignore"):
        areas = np.array([before * (first - left), between * (last - first), after * (right - last)])
        parts = np.abs(areas).sum(axis=0) if reference.discrete else np.abs(areas.sum(axis=0))
        return np.asarray(parts.sum(axis=-1))


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of drift, called with a column's reference, counts (..., size) and, where there are any, sums of x.

    `bounds` are its least and its largest value. `numeric` ones are NaN on categorical columns.

    >>> bins = NumericBins(np.array([0.0, 1.0, 2.0]), low=-1.0, high=3.0)
    >>> column = ColumnReference(bins, np.array([0, 50, 50, 0, 0, 0]))
    >>> float(MEASURES["kolmogorov_smirnov"](column, np.array([0, 40, 60, 0, 0, 0])).round(9))
    0.1
    """

    name: str
    title: str
    function: Callable[[Comparison], np.ndarray]
    unit: str
    bounds: tuple[float, float]
    numeric: bool = False

    def __call__(
        self, column: ColumnReference, counts: np.ndarray, sums: np.ndarray | None = None
    ) -> np.ndarray:
        """The measure of each window; NaN for one without rows."""
        return self.function(Comparison(column, counts, sums))

    @property
    def definition(self) -> str:
        """What exactly is computed: logarithm, bins, range."""
        return inspect.getdoc(self.function) or ""


MEASURES: dict[str, Measure] = {
    m.name: m
    for m in (
        Measure("psi", "PSI", psi, "nats", (0.0, np.inf)),
        Measure("jensen_shannon", "Jensen-Shannon distance", jensen_shannon, "", (0.0, 1.0)),
        Measure("kolmogorov_smirnov", "Kolmogorov-Smirnov", kolmogorov_smirnov, "share", (0.0, 1.0), True),
        Measure("wasserstein", "Wasserstein", wasserstein, "value", (0.0, np.inf), True),
        Measure("l_infinity", "L-infinity", l_infinity, "share", (0.0, 1.0)),
        Measure("hellinger", "Hellinger", hellinger, "", (0.0, 1.0)),
        Measure("chi_square", "Chi-square", chi_square, "", (0.0, np.inf)),
    )
}
