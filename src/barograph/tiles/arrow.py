"""Rows of lists between DuckDB and NumPy, through Arrow: no number ever becomes a Python object."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from barograph.counters import Series

Row = tuple[int, int, np.ndarray, np.ndarray]  # series, start, counts, sums


@dataclass(frozen=True)
class Rows:
    """Tiles as they come from the file, with columns series, start, counts and sums."""

    table: pa.Table

    @cached_property
    def ids(self) -> np.ndarray:
        """Ids of the series, int32[n]."""
        ids: np.ndarray = self.table["series"].to_numpy()
        return ids

    @cached_property
    def starts(self) -> np.ndarray:
        """Epoch seconds, int64[n]."""
        starts: np.ndarray = self.table["start"].to_numpy()
        return starts

    @cached_property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """All counts end to end, and where each row's begin."""
        return _flat(self.table["counts"], np.int64)

    @cached_property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """All sums end to end, and where each row's begin."""
        return _flat(self.table["sums"], np.float64)

    def sort(self) -> "Rows":
        """The rows by series and start. Most lie so already, and moving wide rows costs more than looking."""
        order = np.lexsort((self.starts, self.ids))
        if bool((np.diff(order) > 0).all()):
            return self
        return Rows(self.table.take(pa.array(order)))

    def runs(self, *keys: np.ndarray) -> list[tuple[int, int]]:
        """Ranges of rows over which the keys stay the same."""
        changed = np.zeros(max(0, len(self.ids) - 1), dtype=bool)
        for key in keys:
            changed |= key[1:] != key[:-1]
        cuts = [0, *(np.flatnonzero(changed) + 1).tolist(), len(self.ids)]
        return [(low, high) for low, high in pairwise(cuts) if low < high]

    def block(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Counts (n, k) and sums (n, m) of rows that belong to one series."""
        return _block(*self.counts, low, high), _block(*self.sums, low, high)

    def each(self) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
        """Every row: its key (series, start), counts and sums."""
        (counts, count_ends), (sums, sum_ends) = self.counts, self.sums
        for i, key in enumerate(zip(self.ids.tolist(), self.starts.tolist(), strict=True)):
            yield key, counts[count_ends[i] : count_ends[i + 1]], sums[sum_ends[i] : sum_ends[i + 1]]


class Coarser:
    """Coarser tiles as they add up from finer ones, in whatever order and however many at a time these come.

    `lasting` are the ids of series of which the last value counts, not the sum.
    """

    def __init__(self, resolution: int, lasting: Sequence[int]) -> None:
        self._resolution, self._lasting = resolution, np.array(lasting, dtype=np.int32)
        self._found: dict[tuple[int, int], tuple[int, np.ndarray, np.ndarray]] = {}

    def add(self, rows: Rows) -> None:
        """Take in more tiles. Those of one width are added up together: wide rows are not moved, narrow ones not looped over."""
        (counts, count_ends), (sums, sum_ends) = rows.counts, rows.sums
        lasting = np.isin(rows.ids, self._lasting)
        kinds = np.diff(count_ends) << 32 | np.diff(sum_ends) << 1 | lasting
        for kind in np.unique(kinds):
            at = np.flatnonzero(kinds == kind)
            at = at[np.lexsort((rows.starts[at], rows.ids[at]))]
            ids, tiles = rows.ids[at], rows.starts[at] // self._resolution * self._resolution
            first = np.flatnonzero(np.append(True, (ids[1:] != ids[:-1]) | (tiles[1:] != tiles[:-1])))
            final = np.append(first[1:], len(at)) - 1
            used = at[final] if kind & 1 else at
            parts = [_gathered(counts, count_ends, used), _gathered(sums, sum_ends, used)]
            if not kind & 1:
                parts = [np.add.reduceat(part, first, axis=0) for part in parts]
            keys = zip(ids[first].tolist(), tiles[first].tolist(), strict=True)
            moments = rows.starts[at[final]].tolist()
            for key, moment, own_counts, own_sums in zip(keys, moments, *parts, strict=True):
                self._put(key, moment, own_counts, own_sums, bool(kind & 1))

    def rows(self) -> list[Row]:
        """The coarser tiles, by series and start."""
        return [
            (*key, counts, sums) for key, (_, counts, sums) in sorted(self._found.items(), key=lambda i: i[0])
        ]

    def _put(
        self, key: tuple[int, int], moment: int, counts: np.ndarray, sums: np.ndarray, lasting: bool
    ) -> None:
        before = self._found.get(key)
        if before is None:
            self._found[key] = moment, counts, sums
        elif not lasting:
            self._found[key] = moment, before[1] + counts, before[2] + sums
        elif moment >= before[0]:
            self._found[key] = moment, counts, sums


def _gathered(values: np.ndarray, ends: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of one width as a matrix (n, k)."""
    width = int(ends[rows[0] + 1] - ends[rows[0]])
    found: np.ndarray = values[ends[rows][:, None] + np.arange(width)]
    return found


def tile_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as Arrow, in the order of a tiles table's columns."""
    ids, starts, counts, sums = (list(column) for column in zip(*rows, strict=True))
    return pa.table({
        "series": pa.array(ids, pa.int32()),
        "start": pa.array(starts, pa.int64()),
        "counts": _lists(counts, np.int64),
        "sums": _lists(sums, np.float64),
    })  # fmt: skip


def key_table(keys: Sequence[tuple[int, int]]) -> pa.Table:
    """Keys (series, start) as Arrow."""
    ids, starts = zip(*keys, strict=True)
    return pa.table({"series": pa.array(ids, pa.int32()), "start": pa.array(starts, pa.int64())})


def series_table(new: Sequence[tuple[int, Series, int, int]]) -> pa.Table:
    """New series (id, series, first, last) as Arrow, in the order of the series table's columns."""
    return pa.table({
        "id": [i for i, _, _, _ in new],
        "metric": [s.metric for _, s, _, _ in new],
        "labels": [json.dumps(dict(s.labels)) for _, s, _, _ in new],
        "kind": [s.kind for _, s, _, _ in new],
        "counts": [s.counts for _, s, _, _ in new],
        "sums": [s.sums for _, s, _, _ in new],
        "first": [first for _, _, first, _ in new],
        "last": [last for _, _, _, last in new],
    })  # fmt: skip


def _lists(arrays: Sequence[np.ndarray], dtype: Any) -> pa.Array:
    ends = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    values = np.concatenate(arrays).astype(dtype, copy=False)
    return pa.LargeListArray.from_arrays(pa.array(ends), pa.array(values))


def _flat(column: pa.ChunkedArray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in column.chunks]
    values = [chunk.flatten().to_numpy() for chunk in column.chunks]
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]), dtype=np.int64)
    return np.concatenate([np.zeros(0, dtype), *values]) if len(values) != 1 else values[0], ends


def _block(values: np.ndarray, ends: np.ndarray, low: int, high: int) -> np.ndarray:
    return values[ends[low] : ends[high]].reshape(high - low, int(ends[low + 1] - ends[low]))
