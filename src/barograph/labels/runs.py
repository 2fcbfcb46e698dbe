"""Sorted runs: what the join knows of predictions and of labels, by key.

New rows make a new run, and runs of like size are merged, so that finding a key costs the logarithm of all that is known, and
adding one costs its share of a few merges. Which runs there are is said by the tables that hold what the join has counted
(`state`); how they lie on the disk by `files`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from barograph import compiled

MOST_PARTS, _PART_SHIFT = 64, np.uint64(58)  # by the first 6 bits of a key
_MOST_ROOM = 1 << 20  # values that memory is asked for at once
_FEW = 10_000_000  # combinations that are counted in a table
_SAMPLE = 64  # values that tell of most columns that they cannot be held in less
_NARROWER = {"f": (np.int8, np.float32), "i": (np.int8, np.int16, np.int32)}  # by kind, the smallest first


@dataclass(frozen=True, eq=False)
class Run:
    """Rows in order of `keys` (uint64[n], each once). `columns` are arrays of n, of any type that holds what they say."""

    keys: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """int64[n]: the row of each key, -1 where it is not among them. Quickest where they are in order, too.

        >>> Run(np.array([3, 7], dtype=np.uint64), {}).find(np.array([7, 4], dtype=np.uint64)).tolist()
        [1, -1]
        """
        if compiled.find is not None:
            rows = np.empty(len(keys), dtype=np.int64)
            compiled.find(self.keys, keys, rows)
            return rows
        if not len(self.keys):
            return np.full(len(keys), -1, dtype=np.int64)
        at = np.searchsorted(self.keys, keys)
        at[at == len(self.keys)] = 0
        return np.where(self.keys[at] == keys, at, -1)

    def take(self, rows: np.ndarray) -> "Run":
        """Some of the rows, in order of keys where `rows` rise."""
        return Run(self.keys[rows], {n: taken(v, rows) for n, v in self.columns.items()})

    def slice(self, low: int, high: int) -> "Run":
        """Rows from `low` to before `high`, where they lie."""
        return Run(self.keys[low:high], {n: v[low:high] for n, v in self.columns.items()})


def parts(runs: Sequence[Run], n: int) -> Iterator[list[Run]]:
    """All runs in n parts, each of all keys between two bounds: they have nothing to do with each other.

    >>> run = Run(np.array([3, 2**63 + 1], dtype=np.uint64), {})
    >>> [[len(part) for part in some] for some in parts([run, run.slice(0, 1)], 2)]
    [[1, 1], [1, 0]]
    """
    bounds = np.array([i * 2**64 // n for i in range(1, n)], dtype=np.uint64)
    cuts = [[0, *np.searchsorted(run.keys, bounds).tolist(), len(run)] for run in runs]
    for i in range(n):
        yield [run.slice(cut[i], cut[i + 1]) for run, cut in zip(runs, cuts, strict=True)]


class Loose:
    """Rows as they come, in few bytes, and already by the first bits of their keys: a part of them is soon gathered.

    >>> rows = Loose("time")
    >>> rows.add(np.array([2**63, 3], dtype=np.uint64), {"time": np.array([7, 8])})
    >>> [rows.part(i, 2)[1]["time"].tolist() for i in range(2)]
    [[8], [7]]
    """

    def __init__(self, *names: str) -> None:
        self._kinds: dict[str, np.dtype[Any] | None] = dict.fromkeys(names)
        self._pieces: list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]] = []
        self._rooms: dict[str, np.ndarray] = {}
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def kinds(self) -> "dict[str, np.dtype[Any]]":
        """The type that holds all of a column."""
        return {name: kind or np.dtype(np.int64) for name, kind in self._kinds.items()}

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """Columns of which all values are the same, and that value."""
        whole = {
            name: joined([held[name] for _, _, held in self._pieces if alike(held[name])], kind)
            for name, kind in self.kinds.items()
        }
        return {
            name: values[:1] for name, values in whole.items() if alike(values) and len(values) == len(self)
        }

    def add(self, keys: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Take in some rows."""
        part = (keys >> _PART_SHIFT).astype(np.uint8)
        order, counts = np.argsort(part, kind="stable"), np.bincount(part, minlength=MOST_PARTS)
        held = {name: self._kept(name, narrow(values), order) for name, values in columns.items()}
        for name, kind in self._kinds.items():
            own = held[name].dtype
            self._kinds[name] = own if kind is None else np.promote_types(kind, own)
        self._pieces.append((np.append(0, np.cumsum(counts)), self._kept("", keys, order), held))
        self._rows += len(keys)

    def _kept(self, name: str, values: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Values in this order, in an array that has room for many more: the machine gives memory for these at less cost."""
        if alike(values):
            return repeated(values[0], len(values))
        room = self._rooms.get(name)
        if room is None or room.dtype != values.dtype or len(room) < len(values):
            room = np.empty(max(len(values), min(2 * self._rows, _MOST_ROOM)), dtype=values.dtype)
        found, self._rooms[name] = room[: len(values)], room[len(values) :]
        return np.take(values, order, out=found, mode="clip")

    def part(self, i: int, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Keys and columns of the i-th of n parts, as `parts` cuts; n is a power of two up to MOST_PARTS."""
        ends = [i * MOST_PARTS // n, (i + 1) * MOST_PARTS // n]
        cuts = [slice(*starts[ends].tolist()) for starts, _, _ in self._pieces]
        keys = [keys[cut] for cut, (_, keys, _) in zip(cuts, self._pieces, strict=True)]
        columns = {
            name: joined(
                [held[name][cut] for cut, (_, _, held) in zip(cuts, self._pieces, strict=True)], kind
            )
            for name, kind in self.kinds.items()
        }
        return np.concatenate([np.zeros(0, dtype=np.uint64), *keys]), columns


def narrow(values: np.ndarray) -> np.ndarray:
    """The same numbers in as few bytes as hold each of them exactly: all alike in those of one (see `alike`).

    >>> (
    ...     narrow(np.array([0.0, 1.0])).dtype,
    ...     narrow(np.array([0.5, np.nan])).dtype,
    ...     narrow(np.array([0.1, 1])).dtype,
    ... )
    (dtype('int8'), dtype('float32'), dtype('float64'))
    """
    for kind in _NARROWER[values.dtype.kind]:
        if _held(values[:_SAMPLE], kind) is not None:
            found = _held(values, kind)
            if found is not None:
                values = found
                break
    return repeated(values[0], len(values)) if _same(values[:_SAMPLE]) and _same(values) else values


def _held(values: np.ndarray, kind: type) -> np.ndarray | None:
    with np.errstate(invalid="ignore", over="ignore"):
        found: np.ndarray = values.astype(kind)
    same = found == values
    if not same.all() and kind is np.float32:
        same |= np.isnan(values)
    return found if same.all() else None


def _same(values: np.ndarray) -> bool:
    return bool(len(values)) and bool((values == values[0]).all() or np.isnan(values).all())


def repeated(value: Any, n: int) -> np.ndarray:
    """One number n times, which takes the bytes of one."""
    return np.broadcast_to(np.asarray(value), n)


def alike(values: np.ndarray) -> bool:
    """Whether it is known without a look that all values are the same."""
    return values.strides == (0,) and len(values) > 0


def taken(values: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """`values[rows]`."""
    if alike(values) and isinstance(rows, np.ndarray):
        return repeated(values[0], len(rows))
    if isinstance(rows, slice):
        return values[rows]
    return np.take(values, rows, mode="clip")  # half the time of an index, which is looked at first


def joined(arrays: Sequence[np.ndarray], kind: "np.dtype[Any]") -> np.ndarray:
    """Arrays one after the other, as a type that holds them all."""
    some = [values for values in arrays if len(values)]
    if some and all(map(alike, some)) and _same(np.array([values[0] for values in some])):
        return repeated(some[0][0].astype(kind), sum(map(len, some)))
    return np.concatenate([np.zeros(0, kind), *some])


def in_order(
    keys: np.ndarray, columns: Mapping[str, np.ndarray], by: Sequence[str], *, first: bool = False
) -> Run:
    """A run of rows in any order. It may put `keys` in order where they lie.

    Of equal keys the last by the columns `by` stays, or the `first`.

    >>> run = in_order(np.array([9, 4, 9], dtype=np.uint64), {"time": np.array([2, 1, 1])}, by=["time"])
    >>> run.keys.tolist(), run.columns["time"].tolist()
    ([4, 9], [1, 2])
    """
    keys, order = sort(keys)
    again = np.flatnonzero(keys[1:] == keys[:-1])
    if len(again):
        shared = np.union1d(again, again + 1)
        rows = order[shared]
        order[shared] = rows[
            np.lexsort((rows, *(columns[name][rows] for name in reversed(by)), keys[shared]))
        ]
        kept = np.ones(len(keys), dtype=bool)
        kept[again + 1 if first else again] = False
        keys, order = keys[kept], order[kept]
    return Run(keys, {name: taken(values, order) for name, values in columns.items()})


def sort(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys in order, perhaps where they lie, and the row that each had.

    >>> [found.tolist() for found in sort(np.array([9, 4, 2**63], dtype=np.uint64))]
    [[4, 9, 9223372036854775808], [1, 0, 2]]
    """
    if compiled.sort is not None:
        order = np.empty(len(keys), dtype=np.uint32)
        compiled.sort(keys, order)
        return keys, order.astype(np.intp)  # once, and not for each column
    part = (keys >> np.uint64(56)).astype(np.uint8)  # first into parts that fit into the cache: half the time
    order = np.argsort(part, kind="stable")
    parted, ends = keys[order], np.cumsum(np.bincount(part, minlength=256))
    for start, end in pairwise([0, *ends.tolist()]):
        order[start:end] = order[start:end][np.argsort(parted[start:end])]
    return keys[order], order


def merged(runs: Sequence[Run], by: Sequence[str]) -> Run:
    """One run of several; of equal keys the last by the columns `by` stays."""
    columns = {}
    for name in runs[0].columns:
        arrays = [run.columns[name] for run in runs]
        columns[name] = joined(arrays, np.result_type(*arrays))
    return in_order(np.concatenate([run.keys for run in runs]), columns, by)


def to_merge(sizes: Sequence[int], fan: int = 8) -> list[int]:
    """Which runs, from the oldest on, to merge into one: the last ones of which none is larger than all after it, if `fan` are.

    No run is passed over: of two labels of one time the one that came later stays the later one.

    >>> to_merge([1000, 10, 9, 11, 10, 9, 12, 10, 10]), to_merge([1000, 10, 9])
    ([1, 2, 3, 4, 5, 6, 7, 8], [])
    """
    total, first = 0, len(sizes)
    while first and (not total or sizes[first - 1] <= total):
        first -= 1
        total += sizes[first]
    return list(range(first, len(sizes))) if len(sizes) - first >= fan else []


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
            place = place * size + np.subtract(code, low, dtype=np.int64)
    if math.prod(sizes) <= _FEW:
        distinct = np.flatnonzero(np.bincount(place, minlength=1))
        table = np.zeros(int(distinct[-1]) + 1, dtype=np.intp)
        table[distinct] = np.arange(len(distinct))
        index = table[place]
    else:
        distinct, index = np.unique(place, return_inverse=True)
    found = np.unravel_index(distinct, sizes)
    return list(zip(*((f + low).tolist() for f, low in zip(found, lows, strict=True)), strict=True)), index
