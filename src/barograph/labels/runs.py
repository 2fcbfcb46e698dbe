"""Sorted runs: what the join knows of predictions and of labels, by key. A run is a file that never changes.

New rows make a new run, and runs of like size are merged, so that finding a key costs the logarithm of all that is known, and
adding one costs its share of a few merges. Which runs there are is said by the tables that hold what the join has counted
(`state`): a file that they do not name is none.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

_FEW = 10_000_000  # combinations that are counted in a table


@dataclass(frozen=True, eq=False)
class Run:
    """Rows in order of `keys` (uint64[n], each once). `columns` are arrays of n."""

    keys: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """intp[n]: the row of each key, -1 where it is not among them. Quickest where they are in order, too.

        >>> Run(np.array([3, 7], dtype=np.uint64), {}).find(np.array([7, 4], dtype=np.uint64)).tolist()
        [1, -1]
        """
        if not len(self.keys):
            return np.full(len(keys), -1, dtype=np.intp)
        at = np.searchsorted(self.keys, keys)
        at[at == len(self.keys)] = 0
        return np.where(self.keys[at] == keys, at, -1)

    def take(self, rows: np.ndarray) -> "Run":
        """Some of the rows, in order of keys where `rows` rise."""
        return Run(self.keys[rows], {n: v[rows] for n, v in self.columns.items()})


def in_order(
    keys: np.ndarray, columns: Mapping[str, np.ndarray], by: Sequence[str], *, first: bool = False
) -> tuple[Run, np.ndarray]:
    """A run of rows in any order, and how many rows each of its keys had.

    Of equal keys the last by the columns `by` stays, or the `first`.

    >>> run, rows = in_order(np.array([9, 4, 9], dtype=np.uint64), {"time": np.array([2, 1, 1])}, by=["time"])
    >>> run.keys.tolist(), run.columns["time"].tolist(), rows.tolist()
    ([4, 9], [1, 2], [1, 2])
    """
    order = argsort(keys)
    ordered = keys[order]
    differs = ordered[1:] != ordered[:-1]
    begins, ends = np.append(True, differs)[: len(keys)], np.append(differs, True)[: len(keys)]
    if not differs.all():
        shared = np.flatnonzero(~(begins & ends))
        rows = order[shared]
        order[shared] = rows[np.lexsort((*(columns[name][rows] for name in reversed(by)), keys[rows]))]
    kept = np.flatnonzero(begins if first else ends)
    rows, counts = order[kept], np.diff(np.flatnonzero(ends), prepend=-1)
    return Run(ordered[kept], {n: v[rows] for n, v in columns.items()}), counts


def argsort(keys: np.ndarray) -> np.ndarray:
    """What sorts keys. By their first byte first, so that each part fits into the cache: half the time of a plain argsort.

    >>> argsort(np.array([9, 4, 2**63], dtype=np.uint64)).tolist()
    [1, 0, 2]
    """
    part = (keys >> np.uint64(56)).astype(np.uint8)
    order = np.argsort(part, kind="stable")
    parted, ends = keys[order], np.cumsum(np.bincount(part, minlength=256))
    for start, end in pairwise([0, *ends.tolist()]):
        order[start:end] = order[start:end][np.argsort(parted[start:end])]
    return order


def merged(runs: Sequence[Run], by: Sequence[str]) -> Run:
    """One run of several; of equal keys the last by the columns `by` stays."""
    columns = {name: np.concatenate([run.columns[name] for run in runs]) for name in runs[0].columns}
    return in_order(np.concatenate([run.keys for run in runs]), columns, by)[0]


def save(run: Run, path: Path) -> None:
    """Write a run, whole or not at all, and onto the disk."""
    table = pa.table({"key": run.keys, **run.columns})
    scratch = path.with_name(f"{path.name}.part")
    with scratch.open("wb") as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> Run:
    """Read a run where it lies: of its columns only what is looked at comes into memory."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    columns = {name: _array(table.column(name)) for name in table.column_names}
    return Run(columns.pop("key"), columns)


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if column.num_chunks == 1:
        return np.asarray(column.chunk(0).to_numpy(zero_copy_only=True))
    return np.asarray(column.to_numpy())


def to_merge(sizes: Sequence[int], fan: int = 8) -> list[int]:
    """Which runs to merge into one: all that are not much larger than the smaller ones together, once there are `fan` of them.

    >>> to_merge([1000, 10, 9, 11, 10, 9, 12, 10, 10]), to_merge([1000, 10, 9])
    ([1, 2, 3, 4, 5, 6, 7, 8], [])
    """
    order = sorted(range(len(sizes)), key=lambda i: sizes[i])
    total, best = 0, 0
    for n, i in enumerate(order):
        if n and sizes[i] > max(total, 1):
            break
        total, best = total + sizes[i], n + 1
    return sorted(order[:best]) if best >= fan else []


def grouped(*codes: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Which combinations of codes (whole numbers from -1) there are, in order, and intp[n]: which one each row has.

    Without a sort where the combinations that could be are few, as those of hours and segments are.

    >>> grouped(np.array([4, 4, -1]), np.array([0, 0, 7]))
    ([(-1, 7), (4, 0)], array([1, 1, 0]))
    """
    if not len(codes[0]):
        return [], np.zeros(0, dtype=np.intp)
    lows, sizes = [int(c.min()) for c in codes], [int(c.max()) - int(c.min()) + 1 for c in codes]
    place = np.zeros(len(codes[0]), dtype=np.int64)
    for code, low, size in zip(codes, lows, sizes, strict=True):
        if size > 1:
            place = place * size + (code - low)
    if math.prod(sizes) <= _FEW:
        distinct = np.flatnonzero(np.bincount(place, minlength=1))
        table = np.zeros(int(distinct[-1]) + 1, dtype=np.intp)
        table[distinct] = np.arange(len(distinct))
        index = table[place]
    else:
        distinct, index = np.unique(place, return_inverse=True)
    found = np.unravel_index(distinct, sizes)
    return list(zip(*((f + low).tolist() for f, low in zip(found, lows, strict=True)), strict=True)), index
