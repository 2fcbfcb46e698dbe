"""Columns as few codes each: the categories of a segment or text, the ranges of a number."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph.logs import PREDICTION_COLUMNS
from barograph.naming import MISSING

RANGES = 16  # of a number of many values
FIRST = 10_000  # values that tell whether there are many
MOST_CATEGORIES = 40  # the most frequent ones; the others are told apart by nothing
MOST_DISTINCT = 10_000  # texts of more are ids
_PREFIX = "feature."
_NO_FEATURE = frozenset({*PREDICTION_COLUMNS, "model", "day", "version", "bins", "label", "label_"})


@dataclass(frozen=True, eq=False)
class Axis:
    """One column of n rows by `codes` int16[n]: ranges 0 to `ranges` - 1 in order, then single values, then all the rest.

    `edges` float64[ranges + 1] are the bounds of the ranges, from the least value to past the largest; `discrete` says that
    each range is one value. `texts` name the single values: categories, or what is missing. `x` are the values themselves.
    """

    name: str
    codes: np.ndarray
    texts: tuple[str, ...]
    edges: np.ndarray
    discrete: bool
    x: np.ndarray | None = None

    @property
    def ranges(self) -> int:
        return max(len(self.edges) - 1, 0)

    @property
    def size(self) -> int:
        """Codes, with that of the rest."""
        return self.ranges + len(self.texts) + 1

    @cached_property
    def intervals(self) -> np.ndarray:
        """int[k, 2]: what may be chosen, as first and last code: every run of ranges but all of them, and every single value."""
        low, high = np.triu_indices(self.ranges)
        part = (high - low + 1) < max(self.ranges, 1) if not self.texts else np.ones(len(low), dtype=bool)
        single = np.arange(self.ranges, self.size - 1)
        return np.concatenate([np.stack([low[part], high[part]], axis=1), np.stack([single, single], axis=1)])


def axes(table: pa.Table) -> list[Axis]:
    """The features of a table of the log, and the segments of its rows; times, ids, and columns of one value are left out."""
    names = {name.removeprefix(_PREFIX): name for name in table.column_names if name not in _NO_FEATURE}
    found = [_axis(name, table[column]) for name, column in names.items()]
    found += [_categories(key, values) for key, values in _segments(table["segments"]) if key not in names]
    return [axis for axis in found if axis is not None and len(axis.intervals)]


def _axis(name: str, column: pa.ChunkedArray) -> Axis | None:
    kind = column.type
    if pa.types.is_string(kind):
        return _categories(name, column.combine_chunks())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        x = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
        return _numbers(name, np.where(np.isinf(x), np.nan, x))
    return None


def _numbers(name: str, x: np.ndarray) -> Axis | None:
    known = x[np.isfinite(x)]
    few = np.unique(known[:FIRST])
    distinct = np.unique(known) if len(few) <= RANGES else few
    if len(distinct) < 2:
        return None
    discrete = len(distinct) <= RANGES
    low, high = (distinct[0], distinct[-1]) if discrete else (known.min(), known.max())
    inner = distinct[1:] if discrete else _quantiles(known)
    codes = np.searchsorted(inner, x, side="right").astype(np.int16)
    missing = ~np.isfinite(x)
    texts = (MISSING,) if missing.any() else ()
    codes[missing] = len(inner) + 1
    edges = np.concatenate([[low], inner, [np.nextafter(high, np.inf)]])
    return Axis(name, codes, texts, edges, discrete, x)


def _quantiles(known: np.ndarray) -> np.ndarray:
    """Cuts of about equal numbers of values, each a value that is there."""
    ranks = np.arange(1, RANGES) * len(known) // RANGES
    cuts = np.unique(np.partition(known, ranks)[ranks])
    return np.asarray(cuts[cuts > known.min()])


def _categories(name: str, column: pa.Array) -> Axis | None:
    encoded = column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    if not 1 <= len(texts) <= MOST_DISTINCT:
        return None
    codes = np.asarray(encoded.indices.fill_null(len(texts)))
    counts = np.bincount(codes, minlength=len(texts) + 1)
    shown = [*texts, MISSING]
    kept = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]][:MOST_CATEGORIES]
    if len(kept) < 2:
        return None
    table = np.full(len(shown), len(kept), dtype=np.int16)
    table[kept] = np.arange(len(kept))
    return Axis(name, table[codes], tuple(shown[i] for i in kept), np.zeros(0), True)


def _segments(column: pa.ChunkedArray) -> Iterator[tuple[str, pa.Array]]:
    """By key of segments the value of each row, null for none."""
    maps = column.combine_chunks()
    if maps.null_count == len(maps):
        return
    rows = np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    found = maps.keys[first:last].dictionary_encode()
    items = maps.items[first:last]
    for i, key in enumerate(found.dictionary.to_pylist()):
        mine = np.flatnonzero(np.asarray(found.indices) == i)
        places = np.full(len(maps), -1)
        places[rows[mine]] = mine
        yield key, items.take(pa.array(places, mask=places < 0))
