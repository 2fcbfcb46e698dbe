"""A reference as gauges: its share of each cell that /metrics shows, so that live and reference can be laid over each other."""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import numpy as np

from barograph import naming
from barograph.bins import CELL_MISSING, CELL_UNSEEN, CategoryBins, NumericBins
from barograph.cells import CellMap
from barograph.drift import ColumnReference
from barograph.naming import Metric
from barograph.reference import Reference

LONGEST = 40  # characters of a label that says what a cell holds
_SHAPES = {CELL_MISSING: naming.MISSING, CELL_UNSEEN: naming.UNSEEN}
_TINY = float(np.finfo(np.float64).tiny)
_ALONE = {naming.ZERO: "0", naming.SENTINEL: "-1"}

Gauge = tuple[Metric, dict[str, str], float]


_MADE: WeakKeyDictionary[Reference, tuple[Gauge, ...]] = WeakKeyDictionary()  # gone with the reference


def reference_gauges(reference: Reference) -> tuple[Gauge, ...]:
    """Metric, labels (but for model and version) and value of a reference's gauges.

    `cell` is the label on /metrics, `position` its place in the column's order, `shape` the one of the 18 cells over which
    drift is judged that it lies in, `values` what falls into it. Categories of an open column (names, ids) are not told.
    """
    found = _MADE.get(reference)
    if found is None:
        found = _MADE[reference] = tuple(_gauges(reference))
    return found


def _gauges(reference: Reference) -> Iterator[Gauge]:
    cells = CellMap.of(reference.bins, reference.baseline.counts, threshold=reference.threshold)
    shown = {(column, cell): line for line, (column, _, cell) in enumerate(cells.lines)}
    columns = {name: _column(reference, name) for name in reference.bins.columns}
    for name, column in columns.items():
        labels = {"bins": reference.bins.id, "column": name}
        yield naming.REFERENCE_ROWS, labels, float(column.rows)
    for (name, cell), line in shown.items():
        column, index = columns[name], cells.index[reference.bins.slice(name)]
        slots = np.flatnonzero(index == line)
        first = np.unique(index, return_index=True)[1]
        labels = {
            "bins": reference.bins.id,
            "column": name,
            "cell": cell,
            "position": f"{np.sum(first < slots[0]):02d}",
            "shape": _shape(column, slots),
            "values": _values(column, cell, slots),
        }
        yield naming.REFERENCE_RATIO, labels, float(column.counts[slots].sum() / column.rows)


def _column(reference: Reference, name: str) -> ColumnReference:
    counts, sums = reference.baseline.column(name)
    return ColumnReference(reference.bins.columns[name], counts, sums)


def _shape(column: ColumnReference, slots: np.ndarray) -> str:
    """The cell that these slots are judged in; where an owner's range cuts through several, the one that held most."""
    number = int(column.cells[slots[np.argmax(column.counts[slots])]])
    return _SHAPES.get(number, naming.cell_label(number))


def _values(column: ColumnReference, cell: str, slots: np.ndarray) -> str:
    bins = column.bins
    if cell in (naming.MISSING, naming.INVALID, naming.UNSEEN):
        return cell
    if isinstance(bins, CategoryBins):
        texts = bins.labels()
        return cell if bins.open else _shortened([texts[slot] for slot in slots])
    if cell in _ALONE:
        return _ALONE[cell]
    return _range(bins, column, slots)


def _range(bins: NumericBins, column: ColumnReference, slots: np.ndarray) -> str:
    """From where to where; the values themselves where the reference has one a bin."""
    held = slots[column.counts[slots] > 0]
    if column.discrete and len(held):
        low, high = _number(column.means[held[0]]), _number(column.means[held[-1]])
        return low if low == high else f"{low} to {high}"
    edges = [_number(edge) for edge in bins.edges]
    first, last = int(slots[0]), int(slots[-1])
    if first == 0:
        return f"below {edges[last]}" if last < len(edges) else "any"
    return f"{edges[first - 1]} and more" if last == len(edges) else f"{edges[first - 1]} to {edges[last]}"


def _number(value: float) -> str:
    """Four digits; 0 for the smallest numbers, which cut zero off from what is above it."""
    return f"{value if abs(value) > _TINY else 0.0:.4g}"


def _shortened(texts: list[str]) -> str:
    """As many as there is room for, and how many more."""
    text = ", ".join(texts)
    if len(text) <= LONGEST:
        return text
    shown = [one for i, one in enumerate(texts) if sum(map(len, texts[: i + 1])) + 2 * i <= LONGEST - 10]
    first = shown or [texts[0][: LONGEST - 10]]
    rest = len(texts) - len(first)
    return ", ".join(first) + (f" and {rest} more" if rest else "")
