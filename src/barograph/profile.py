"""A profile: integer counts over frozen bins. Merging is addition, so threads, replicas and hours add up exactly."""

from collections import Counter as Tally
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from barograph import frames
from barograph.bins import BinSet, CategoryBins, NumericBins
from barograph.lookup import BLOCK, Lookup, add
from barograph.schema import Schema

PAIRS = 1 << 19  # codes at a time: a table of all pairs of codes pays for itself
TABLE_WORTH = 4_096  # rows above which building a lookup table pays for itself


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts of some rows: a commutative group under `+`, with `zero` and `-`.

    `counts` (int64) and `sums` (float64, the sum of x in each bin) are vectors over all columns' slots, laid out as `bins`
    says.

    >>> from barograph.bins import CategoryBins
    >>> bins = BinSet({"c": CategoryBins(("a", "b"))}, {"c": "feature"})
    >>> one = Profile(bins, 1, np.array([1, 0, 0, 0, 0, 0]), np.zeros(6))
    >>> (one + one - one).counts.tolist()
    [1, 0, 0, 0, 0, 0]
    """

    bins: BinSet
    rows: int
    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def zero(cls, bins: BinSet) -> "Profile":
        """The profile of no rows."""
        return cls(bins, 0, np.zeros(bins.size, dtype=np.int64), np.zeros(bins.size))

    def __add__(self, other: "Profile") -> "Profile":
        self._same_bins(other, "add")
        with np.errstate(over="ignore", invalid="ignore"):
            return Profile(
                self.bins, self.rows + other.rows, self.counts + other.counts, self.sums + other.sums
            )

    def __sub__(self, other: "Profile") -> "Profile":
        self._same_bins(other, "subtract")
        with np.errstate(over="ignore", invalid="ignore"):
            return Profile(
                self.bins, self.rows - other.rows, self.counts - other.counts, self.sums - other.sums
            )

    def __eq__(self, other: object) -> bool:
        """Equal bins and counts; sums of floats depend on the order of addition and are not compared."""
        if not isinstance(other, Profile):
            return NotImplemented
        return (
            self.bins.id == other.bins.id
            and self.rows == other.rows
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Counts and sums of one column's slots."""
        where = self.bins.slice(name)
        return self.counts[where], self.sums[where]

    def _same_bins(self, other: "Profile", verb: str) -> None:
        if self.bins.id != other.bins.id:
            raise ValueError(
                f"cannot {verb} profiles over different bins: {self.bins.id} and {other.bins.id}; "
                "profile both with the same reference"
            )


@dataclass(frozen=True, eq=False)
class Counter:
    """Counts batches over a model's bins. Holds what is prepared once: lookup tables, order of columns."""

    bins: BinSet
    schema: Schema
    centres: Mapping[str, float] = field(default_factory=dict)
    _tables: dict[str, tuple[Lookup, int]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of the columns that are looked up in tables: numeric, with few enough bins."""
        return tuple(n for n, b in self.bins.columns.items() if isinstance(b, NumericBins) and b.size < 255)

    @cached_property
    def lookup(self) -> Lookup:
        """The tables of `numbers`."""
        bins = [b for n in self.numbers if isinstance(b := self.bins.columns[n], NumericBins)]
        return Lookup.build(bins, [self.centres.get(n, 0.0) for n in self.numbers])

    def profile(self, features: Any, *, now: np.ndarray | float = 0.0) -> Profile:
        """Profile of a batch. A column that it lacks counts as missing; a column that the bins lack is passed over."""
        data = frames.table(features, self.schema.features)
        counts, sums = np.zeros(self.bins.size, dtype=np.int64), np.zeros(self.bins.size)
        for name in self.bins.columns:
            where = self.bins.slice(name)
            self._count_column(name, data, now, counts[where], sums[where])
        return Profile(self.bins, data.rows, counts, sums)

    def _count_column(
        self, name: str, data: frames.Table, now: np.ndarray | float, counts: np.ndarray, sums: np.ndarray
    ) -> None:
        bins = self.bins.columns[name]
        if name not in data.columns:
            counts[bins.missing] += data.rows
        elif isinstance(bins, CategoryBins):
            counts += category_counts(bins, data.columns[name])
        else:
            x = self.schema[name].values(data.columns[name], now)
            self.count(name, x, counts, sums)

    def count(self, name: str, x: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> None:
        """Count a numeric column's values (float64) in its slots, in place."""
        bins = self.bins.columns[name]
        if name in self._tables or len(x) >= TABLE_WORTH:
            lookup, place = self.table(name)
            lookup.count(place, x, counts, sums)
        else:
            add(bins.index(x), x, counts, sums)

    def table(self, name: str) -> tuple[Lookup, int]:
        """The tables that a numeric column is looked up in, and its place among them; made on first use."""
        if name not in self._tables:
            if name in self.numbers:
                self._tables[name] = self.lookup, self.numbers.index(name)
            else:  # more bins than the others' tables have numbers for: a score
                bins = self.bins.columns[name]
                assert isinstance(bins, NumericBins)
                self._tables[name] = Lookup.build([bins], [self.centres.get(name, 0.0)]), 0
        return self._tables[name]


def category_counts(bins: CategoryBins, values: frames.Column) -> np.ndarray:
    """Count the categories of a column (int64[bins.size])."""
    if isinstance(values, frames.Coded):
        by_code = _code_counts(values.codes, len(values.categories))
        slots = np.append(bins.missing, bins.index(values.categories))
        return np.bincount(slots, weights=by_code, minlength=bins.size).astype(np.int64)
    try:
        tally = Tally(frames.items(values))
    except Exception:  # noqa: BLE001 (a value that cannot be hashed or compared, and says so in its own way)
        tally = Tally()
    if not tally or any(map(_is_shared, tally)):
        return np.bincount(bins.index(values), minlength=bins.size).astype(np.int64)
    counts = np.zeros(bins.size, dtype=np.int64)
    for value, n in tally.items():
        counts[bins.slot(value)] += n
    return counts


def _is_shared(key: Any) -> bool:
    """Whether two categories may be this key: True and 1 are equal, and so are False and 0."""
    try:
        return not isinstance(key, str) and key in (0, 1)
    except TypeError:  # pandas' NA has no truth
        return False


def _code_counts(codes: np.ndarray, categories: int) -> np.ndarray:
    """How often each code occurs, -1 first (int64[categories + 1]), in blocks: a copy of the whole would fill the memory."""
    if categories < 255 and len(codes) >= PAIRS:
        return _code_counts_by_pairs(codes, categories)
    counts = np.zeros(categories + 1, dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        block = np.add(codes[start : start + BLOCK], 1, dtype=np.intp)
        counts += np.bincount(block, minlength=len(counts))
    return counts


def _code_counts_by_pairs(codes: np.ndarray, categories: int) -> np.ndarray:
    """The same for codes that fit into a byte, two of them as one number: half as many to count."""
    pairs, odd = np.zeros(1 << 16, dtype=np.int64), len(codes) % 2
    for start in range(odd, len(codes), PAIRS):
        block = codes[start : start + PAIRS].astype(np.uint8)  # -1 becomes 255
        pairs += np.bincount(block.view(np.uint16), minlength=1 << 16)
    square = pairs.reshape(256, 256)
    counts = square.sum(axis=0) + square.sum(axis=1)
    counts += np.bincount(codes[:odd].astype(np.uint8), minlength=256)
    return np.append(counts[255], counts[:categories])
