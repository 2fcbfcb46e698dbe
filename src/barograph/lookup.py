"""Exact binning of many numeric columns at once, with hardly any search.

A value's key is the upper bits of float32(x - centre). A table a column maps a key to its slot wherever every value with
that key lies in one slot; the other keys, fewer than one in a hundred, are resolved by binary search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from barograph import compiled
from barograph.bins import NumericBins

BLOCK = 32_768  # values at a time: what fits into a core's cache
BITS, FEWER_BITS = 18, 16  # of a key: each bit halves what has to be searched, and doubles the tables
MANY = 64  # columns from which tables of 256 kB each would be too much for a serving process
_AMBIGUOUS8, _AMBIGUOUS16 = np.iinfo(np.uint8).max, np.iinfo(np.uint16).max
_EXPONENT_BITS = 9  # with the sign
_INFINITE = 255  # the exponent of what is no finite float32


@dataclass(frozen=True, eq=False)
class Lookup:
    """Tables of several columns in one array, with where each begins and the centre of each column."""

    bins: tuple[NumericBins, ...]
    centres: np.ndarray
    starts: np.ndarray
    table: np.ndarray
    ambiguous: int
    bits: int

    @classmethod
    def build(cls, bins: Sequence[NumericBins], centres: Sequence[float]) -> "Lookup":
        """Make the tables; a centre is where a column's values are dense (its median)."""
        ambiguous = _AMBIGUOUS8 if all(b.size < _AMBIGUOUS8 for b in bins) else _AMBIGUOUS16
        kind = np.uint8 if ambiguous == _AMBIGUOUS8 else np.uint16
        bits = BITS if len(bins) <= MANY else FEWER_BITS
        finite = np.where(np.isfinite(centres), centres, 0.0)
        table = np.empty((len(bins), 1 << bits), kind)
        for row, own, centre in zip(table, bins, finite, strict=True):
            row[:] = _table(own, centre, bits, ambiguous)
        return cls(tuple(bins), finite, np.arange(len(bins)) << bits, table.ravel(), ambiguous, bits)

    def select(self, columns: Sequence[int]) -> "Lookup":
        """The same for some columns, by position; the tables are shared."""
        order = np.array(columns, dtype=np.intp)
        bins = tuple(self.bins[i] for i in columns)
        return Lookup(bins, self.centres[order], self.starts[order], self.table, self.ambiguous, self.bits)

    def count(
        self,
        column: int,
        values: np.ndarray,
        counts: np.ndarray,
        sums: np.ndarray,
        *,
        first: int = 0,
        step: int = 1,
    ) -> None:
        """Count each `step`-th value (float64) from `first` on in a column's slots, in place; `sums` adds up the values."""
        if compiled.count is None:
            own = self.select([column])
            for start in range(first, len(values), BLOCK * step):
                block = np.ascontiguousarray(values[start : start + BLOCK * step : step])
                add(own.index(block[None, :])[0], block, counts, sums)
            return
        begin, edges = self.starts[column], self.bins[column].edges
        table = self.table[begin : begin + (1 << self.bits)]
        whole = np.ascontiguousarray(values)
        compiled.count(whole, first, step, table, self.bits, float(self.centres[column]), edges, counts, sums)

    def index(self, matrix: np.ndarray) -> np.ndarray:
        """Slots (columns, rows) of float64 values (columns, rows); equal to each column's `NumericBins.index`."""
        keys = _keys(matrix, self.centres[:, None], self.bits) + self.starts[:, None]
        slots: np.ndarray = self.table.take(keys, mode="clip")
        unsure = np.flatnonzero(slots.ravel() == self.ambiguous)
        if len(unsure):
            self._resolve(matrix, slots, unsure)
        return slots

    def _resolve(self, matrix: np.ndarray, slots: np.ndarray, unsure: np.ndarray) -> None:
        cuts = np.searchsorted(unsure, np.arange(len(self.bins) + 1) * matrix.shape[1])
        values, flat = matrix.ravel()[unsure], slots.reshape(-1)
        finite = np.isfinite(values).all()
        for bins, first, last in zip(self.bins, cuts, cuts[1:], strict=False):
            if first < last:
                part = values[first:last]
                flat[unsure[first:last]] = (
                    bins.edges.searchsorted(part, "right") if finite else bins.index(part)
                )


def add(slots: np.ndarray, values: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> None:
    """Count values in their slots, in place; `sums` takes the values of the value slots (the last two are not values)."""
    slots = slots.astype(np.intp, copy=False)  # once, not in each bincount
    counts += np.bincount(slots, minlength=len(counts))
    sums[:-2] += bounded(np.bincount(slots, weights=values, minlength=len(sums))[:-2])


def bounded(sums: np.ndarray) -> np.ndarray:
    """Sums that can be added up for ever: one that overflowed must not make all that follow infinite."""
    return np.asarray(np.clip(sums, -1e250, 1e250))


def _keys(values: np.ndarray, centre: np.ndarray | float, bits: int) -> np.ndarray:
    """The upper bits of each value's distance from the centre, as float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = (values - centre).astype(np.float32)
    return narrow.view(np.uint32) >> np.uint32(32 - bits)


def _table(bins: NumericBins, centre: float, bits: int, ambiguous: int) -> np.ndarray:
    """Slot of each key, or `ambiguous`.

    Subtracting and rounding never change the order of two values, so the key of an edge and that of the number just below it
    bound what lies on either side; where they are one key, that key has values of both.
    """
    half, step = 1 << (bits - 1), 1 << (bits - _EXPONENT_BITS)
    with np.errstate(over="ignore"):
        before = np.nextafter(bins.edges, -np.inf)
    below, at = (_rank(_keys(values, centre, bits), half) for values in (before, bins.edges))
    slots = np.cumsum(np.bincount(at, minlength=2 * half))
    slots[at[below == at]] = ambiguous
    if np.any((at >= half - step) & (below < half + step)):
        slots[half - step : half + step] = ambiguous  # 0, and what a library that flushes subnormals makes 0
    finite = slice(half - _INFINITE * step, half + _INFINITE * step)
    slots[: finite.start - 1] = slots[finite.stop + 1 :] = bins.missing
    slots[[finite.start - 1, finite.stop]] = ambiguous  # infinite, or finite and too large for a float32
    return np.concatenate([slots[half:], slots[half - 1 :: -1]])


def _rank(keys: np.ndarray, half: int) -> np.ndarray:
    """Place of a key in the order of values: negative keys, the upper half, run downwards."""
    places = keys.astype(np.intp)
    return np.where(places < half, half + places, 2 * half - 1 - places)
