"""What is prepared once for a model's columns: which is read how, and where its counts lie."""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from operator import itemgetter
from typing import Any

import numpy as np

from barograph import compiled, frames
from barograph.bins import BinSet, CategoryBins
from barograph.compiled import Packer
from barograph.naming import PREDICTION, SCORE
from barograph.profile import Counter
from barograph.schema import Schema

MAX_KEPT = 10_000  # values of a column whose slot is kept at hand


class Slots(dict[Any, int]):
    """The slot of each category of a column. One that is not among them is asked of the bins, and kept for the next time."""

    def __init__(self, bins: CategoryBins) -> None:
        super().__init__((name, i) for i, name in enumerate(bins.categories))
        self._bins = bins
        for text in ("0", "1"):  # by which compiled code knows the integers
            self[text] = bins.slot(text)

    def __missing__(self, value: Any) -> int:
        slot = self._bins.slot(value)
        short = len(value) <= 100 if type(value) is str else type(value) is int and 1 < value < 10**18
        if short and len(self) < MAX_KEPT:
            self[value] = slot  # but not 0 and 1: False and True are the same keys, and other categories
        return slot

    def of(self, values: Sequence[Any]) -> bytes:
        """The slot of each value."""
        try:
            return bytes(map(self.__getitem__, values))
        except Exception:  # a value that cannot be hashed, or whose own __hash__ or __eq__ raises
            return bytes(map(self._slot, values))

    def _slot(self, value: Any) -> int:
        try:
            return self._bins.slot(value)
        except Exception:
            return self._bins.invalid


@dataclass(frozen=True, eq=False)
class Layout:
    """What is prepared once for a model's columns: who is read how, and the binning of batches."""

    bins: BinSet
    schema: Schema
    counter: Counter
    task: str | None
    threshold: float | None

    @cached_property
    def features(self) -> tuple[str, ...]:
        return tuple(n for n in self.bins.columns if self.bins.roles[n] == "feature")

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Features that are looked up in tables and are plain numbers."""
        tabled = set(self.counter.numbers)
        return tuple(n for n in self.features if n in tabled and self.schema[n].kind != "datetime")

    @cached_property
    def categories(self) -> tuple[str, ...]:
        return tuple(n for n in self.features if isinstance(self.bins.columns[n], CategoryBins))

    @cached_property
    def slots(self) -> list[Slots]:
        """Slots of the values of `categories`."""
        columns = (self.bins.columns[n] for n in self.categories)
        return [Slots(bins) for bins in columns if isinstance(bins, CategoryBins)]

    @cached_property
    def others(self) -> tuple[str, ...]:
        """Features that are read one by one: datetimes, and columns of very many bins."""
        return tuple(n for n in self.features if n not in self.numbers and n not in self.categories)

    @cached_property
    def whole(self) -> tuple[tuple[int, str], ...]:
        """Position among `numbers` and name of each column on the grid of whole numbers."""
        return tuple(
            (i, n) for i, n in enumerate(self.numbers) if self.schema[n].kind in ("integer", "boolean")
        )

    @cached_property
    def lookup(self) -> Any:
        """Tables of `numbers`, and where each begins in the vector of counts."""
        order = [self.counter.numbers.index(n) for n in self.numbers]
        starts = np.array([self.bins.offsets[n] for n in self.numbers], dtype=np.intp)[:, None]
        return self.counter.lookup.select(order), starts

    def packer(self, limit: int) -> Packer:
        """What reads plain rows on the request path; nothing does where some features are read one by one."""
        numbers, categories = ((), ()) if self.others else (self.numbers, self.categories)
        missing = [self.bins.columns[n].missing for n in categories]
        return Packer(numbers, categories, self.slots, missing, limit)

    @cached_property
    def places(self) -> list[tuple[str, slice]]:
        """Name of each of `numbers`, and where it lies in the vector of counts."""
        return [(n, self.bins.slice(n)) for n in self.numbers]

    @cached_property
    def category_starts(self) -> np.ndarray:
        """intp[categories, 1]: where each of `categories` begins in the vector of counts."""
        return np.array([self.bins.offsets[n] for n in self.categories], dtype=np.intp)[:, None]

    @cached_property
    def summed(self) -> np.ndarray:
        """intp[]: the slots of `numbers` that hold values, and not what is missing or invalid."""
        where = ((self.bins.offsets[n], self.bins.columns[n].values) for n in self.numbers)
        return np.concatenate([np.arange(0), *(np.arange(start, start + size) for start, size in where)])

    @cached_property
    def _answers(self) -> tuple[str, ...]:
        """The score and the prediction, where they are numbers."""
        columns = self.bins.columns
        return tuple(
            n for n in (SCORE, PREDICTION) if n in columns and not isinstance(columns[n], CategoryBins)
        )

    def prepare(self) -> None:
        """Make the tables now: before the first request has to wait for them, and before a server forks its workers."""
        _ = self.slots, [self.counter.table(n) for n in (*self.numbers, *self._answers)]
        if not compiled.available():
            _ = self.lookup

    @cached_property
    def _getters(self) -> tuple[Callable[[Any], tuple[Any, ...]], ...]:
        return _getter(self.numbers), _getter(self.categories), _getter(self.others)

    @cached_property
    def one(self) -> Callable[[Any], Any]:
        """One value of a row: of its first feature, or of whatever it holds if none is known."""
        return itemgetter(self.features[0]) if self.features else lambda row: next(iter(row.values()), None)

    @cached_property
    def _pack(self) -> Callable[..., bytes]:
        return struct.Struct(f"{len(self.numbers)}d").pack

    def read(self, rows: Sequence[Mapping[str, Any]]) -> tuple[bytes, list[Any], list[Any]]:
        """Numbers, row by row, as float64; columns of categories; columns of others. KeyError if one is lacking."""
        numbers, categories, others = self._getters
        texts = list(zip(*map(categories, rows), strict=True)) if self.categories else []
        rest = list(zip(*map(others, rows), strict=True)) if self.others else []
        try:
            packed = b"".join(starmap(self._pack, map(numbers, rows)))
        except Exception:  # a value's own __float__ may raise anything
            packed = b"".join(map(self._pack_any, map(numbers, rows)))
        return packed, texts, rest

    def _pack_any(self, values: tuple[Any, ...]) -> bytes:
        """The same for one row of which some values may be missing, or no numbers."""
        try:
            return self._pack(*values)
        except Exception:  # a value's own __float__ may raise anything
            return frames.floats([math.nan if value is None else value for value in values]).tobytes()


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple(row[name] for name in names)
