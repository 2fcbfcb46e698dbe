"""Cells: what of a column is shown on /metrics: its slots in 16 of about equal mass in the reference, and the rest."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from barograph import naming
from barograph.bins import SENTINEL, Bins, BinSet, CategoryBins, NumericBins, equal_mass
from barograph.reference import Reference

SCORE_CELLS = 32


@dataclass(frozen=True, eq=False)
class CellMap:
    """Which line on /metrics each slot of a model's columns adds to.

    `lines` name (column, role, cell); `index` intp[bins.size] holds the line of each slot. Cells are of about equal mass in
    the reference: 16, or 32 of a score with the decision threshold between two of them. They refine the cells over which
    drift is judged. Slots out of range, exactly 0, a
    sentinel (-1 where the reference has none), unseen, missing and invalid have cells of their own.

    >>> bins = BinSet({"c": CategoryBins(("a", "b"))}, {"c": "feature"})
    >>> CellMap.of(bins, np.array([30, 10, 0, 0, 0, 0])).lines[0]
    ('c', 'feature', 'c06')
    """

    bins: BinSet
    lines: tuple[tuple[str, str, str], ...]
    index: np.ndarray

    @classmethod
    def of(cls, bins: BinSet, counts: np.ndarray, *, threshold: float | None = None) -> "CellMap":
        """From a model's bins, the reference's counts (int64[bins.size]) and the decision threshold of its score."""
        lines: dict[tuple[str, str, str], int] = {}
        index: list[int] = []
        for name, column in bins.columns.items():
            role = bins.roles[name]
            cells = _cells(column, counts[bins.slice(name)], role, threshold)
            index.extend(lines.setdefault((name, role, cell), len(lines)) for cell in cells)
        return cls(bins, tuple(lines), np.array(index, dtype=np.intp))

    @classmethod
    def of_reference(cls, data: bytes) -> "CellMap":
        """From a reference's JSON."""
        reference = Reference.from_json(data)
        return cls.of(reference.bins, reference.baseline.counts, threshold=reference.threshold)


def violations(bins: BinSet, counts: np.ndarray) -> dict[tuple[str, str], int]:
    """Values that break the schema, by (feature, kind), from a vector over the bins (int64[bins.size]).

    Kinds: `type` (wrong type or infinite), `range` (numbers out of range), `category` (categories never seen).
    """
    return {key: int(counts[slots].sum()) for key, slots in violating(bins)}


def violating(bins: BinSet) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """The slots whose values violate, by (feature, kind)."""
    for name, column in bins.columns.items():
        if bins.roles[name] == "feature":
            start = bins.offsets[name]
            yield (name, "type"), np.array([start + column.invalid])
            if isinstance(column, CategoryBins):
                yield (name, "category"), np.array([start + column.unseen])
            else:
                yield (name, "range"), start + np.flatnonzero(column.outside)


def _cells(column: Bins, counts: np.ndarray, role: str, threshold: float | None) -> list[str]:
    """The cell of each slot."""
    if role == "score" and isinstance(column, NumericBins):
        numbers = _score_cells(column, counts, threshold)
    else:
        numbers = column.cells(counts)[: column.values]
    cells = [naming.cell_label(int(number)) for number in numbers] + [naming.MISSING] * (
        column.size - column.values
    )
    cells[column.missing], cells[column.invalid] = naming.MISSING, naming.INVALID
    if isinstance(column, CategoryBins):
        cells[column.unseen] = naming.UNSEEN
        return cells
    for slot in np.flatnonzero(column.outside):
        above = slot == len(column.edges) or (slot > 0 and column.edges[slot - 1] >= column.high)
        cells[slot] = naming.ABOVE if above else naming.BELOW
    for value, label in ((0.0, naming.ZERO), (SENTINEL, naming.SENTINEL)):
        if (alone := _slot_of_one(column.edges, value)) is not None:
            cells[alone] = label
    return cells


def _slot_of_one(edges: np.ndarray, value: float) -> int | None:
    """The slot that holds this value and no other normal number; None where it shares its slot."""
    slot = int(np.searchsorted(edges, value, side="right"))
    if not 0 < slot < len(edges) or edges[slot - 1] != value:
        return None
    width = edges[slot] - value
    return slot if width <= max(abs(np.spacing(value)), np.finfo(np.float64).tiny) else None


def _score_cells(column: NumericBins, counts: np.ndarray, threshold: float | None) -> np.ndarray:
    """Cells of a score's value slots: each of the 16 in two halves, one of them cut at the threshold instead.

    No cell spans the threshold, therefore. Without counts all slots weigh the same.
    """
    mass = counts[: column.values]
    if not mass.any():
        mass = np.ones(column.values, dtype=np.int64)
    split = 0 if threshold is None else int(np.searchsorted(column.edges, threshold, side="right"))
    whole, cells = equal_mass(mass), np.zeros(column.values, dtype=np.intp)
    for cell in np.unique(whole):
        slots = np.flatnonzero(whole == cell)
        first, last = slots[0], slots[-1] + 1
        second = (np.cumsum(mass[slots]) - mass[slots] / 2) * 2 >= (mass[slots].sum() or 1)
        if first < split < last:
            second = slots >= split
        cells[slots] = 2 * cell + second
    return cells
