"""Exact binning of many numeric columns at once, with hardly any search.

A value's key is the upper 16 bits of float32(x - centre). A table of 65,536 entries a column maps a key to its slot wherever
every value with that key lies in one slot; the other keys, a few in a hundred, are resolved by binary search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from barograph.bins import NumericBins

_KEYS = 1 << 16
_AMBIGUOUS8, _AMBIGUOUS16 = np.iinfo(np.uint8).max, np.iinfo(np.uint16).max
_UPPER_HALF = slice(1, None, 2) if np.little_endian else slice(0, None, 2)


@dataclass(frozen=True, eq=False)
class Lookup:
    """Tables of several columns, one after the other, with the centre of each."""

    bins: tuple[NumericBins, ...]
    centres: np.ndarray
    table: np.ndarray
    ambiguous: int

    @classmethod
    def build(cls, bins: Sequence[NumericBins], centres: Sequence[float]) -> "Lookup":
        """Make the tables; a centre is where a column's values are dense (its median)."""
        ambiguous = _AMBIGUOUS8 if all(b.size < _AMBIGUOUS8 for b in bins) else _AMBIGUOUS16
        kind = np.uint8 if ambiguous == _AMBIGUOUS8 else np.uint16
        rounded = np.array([_float32(c) for c in centres], dtype=np.float64)
        tables = [_table(b, c, ambiguous) for b, c in zip(bins, rounded, strict=True)]
        table = np.concatenate(tables).astype(kind) if tables else np.empty(0, kind)
        return cls(tuple(bins), rounded, table, ambiguous)

    def select(self, columns: Sequence[int]) -> "Lookup":
        """The tables of some columns, by position."""
        if list(columns) == list(range(len(self.bins))):
            return self
        tables = [self.table[i * _KEYS : (i + 1) * _KEYS] for i in columns]
        table = tables[0] if len(tables) == 1 else np.concatenate([self.table[:0], *tables])
        return Lookup(tuple(self.bins[i] for i in columns), self.centres[list(columns)], table, self.ambiguous)

    def index(self, matrix: np.ndarray) -> np.ndarray:
        """Slots (columns, rows) of float64 values (columns, rows); equal to each column's `NumericBins.index`."""
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = (matrix - self.centres[:, None]).astype(np.float32)
        keys = narrow.view(np.uint16)[:, _UPPER_HALF]
        slots = self.table.take(keys + self._starts(), mode="clip")
        unsure = np.flatnonzero(slots.ravel() == self.ambiguous)
        if len(unsure):
            self._resolve(matrix, slots, unsure)
        return np.asarray(slots)

    def _starts(self) -> np.ndarray:
        return (np.arange(len(self.bins), dtype=np.int32) * _KEYS)[:, None]

    def _resolve(self, matrix: np.ndarray, slots: np.ndarray, unsure: np.ndarray) -> None:
        columns = unsure // matrix.shape[1]
        cuts = np.searchsorted(columns, np.arange(len(self.bins) + 1))
        values, flat = matrix.ravel()[unsure], slots.reshape(-1)
        for column in np.unique(columns).tolist():
            part = slice(cuts[column], cuts[column + 1])
            flat[unsure[part]] = self.bins[column].index(values[part])


def _float32(centre: float) -> float:
    limit = float(np.finfo(np.float32).max) / 4
    return float(np.float32(np.clip(centre, -limit, limit))) if np.isfinite(centre) else 0.0


def _table(bins: NumericBins, centre: float, ambiguous: int) -> np.ndarray:
    """Slot of each key, or `ambiguous`. A key's interval is widened by one float32 step, which covers both roundings."""
    uppers = np.arange(_KEYS, dtype=np.uint32) << 16
    ends = np.stack([uppers, uppers | 0xFFFF]).view(np.float32)
    good = np.isfinite(ends).all(axis=0)
    least, most = np.minimum(*ends), np.maximum(*ends)
    with np.errstate(over="ignore", invalid="ignore"):
        least = np.nextafter(least, np.float32(-np.inf)).astype(np.float64) + centre
        most = np.nextafter(most, np.float32(np.inf)).astype(np.float64) + centre
        first = np.searchsorted(bins.edges, np.nextafter(least, -np.inf), side="right")
        last = np.searchsorted(bins.edges, np.nextafter(most, np.inf), side="right")
    table = np.where(good & np.isfinite(least) & np.isfinite(most) & (first == last), first, ambiguous)
    table[np.isnan(ends).all(axis=0)] = bins.missing  # a cast to float32 sets the quiet bit, so every NaN has such a key
    return table
