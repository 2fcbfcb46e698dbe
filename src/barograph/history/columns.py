"""Columns of an import: what the rows hold that count, as the model's columns are counted."""

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph import frames, naming
from barograph.bins import BinSet, CategoryBins, score_alone
from barograph.counters import Series, Vector
from barograph.history.named import Named
from barograph.layout import Layout
from barograph.lookup import bounded
from barograph.naming import PREDICTION, SCORE
from barograph.profile import Counter
from barograph.reference import Reference, positive
from barograph.schema import Column, Schema
from barograph.tiles import MINUTE, Increment

TOGETHER = 2_000_000  # counts that are held at once
TileOf = Callable[[np.ndarray], np.ndarray]  # from epoch seconds to the start of the finest tile that is kept


def layout_of(reference: Reference | None) -> Layout:
    """The columns of a model, or without a reference its score alone."""
    if reference is not None:
        r = reference
        return Layout(r.bins, r.schema, r.counter, r.task, r.threshold)
    bins = score_alone()
    schema = Schema((Column(SCORE, "numeric", role="score"),))
    return Layout(bins, schema, Counter(bins, schema), None, None)


class ColumnCounts:
    """Counts rows of a model as its Monitor would, each in the tile of its own time."""

    def __init__(self, model: str, reference: Reference | None, tile_of: TileOf) -> None:
        self._model, self._reference, self._tile_of = model, reference, tile_of
        self._layout = layout_of(reference)
        self._layout.prepare()

    @property
    def bins(self) -> BinSet:
        """The bins that are counted over."""
        return self._layout.bins

    def increments(
        self, version: str, rows: pa.Table, named: Named, times: np.ndarray
    ) -> Iterator[Increment]:
        """What rows of one version add to the tiles; `times` float64[n] are their own, in epoch seconds."""
        tiles = self._tile_of(times)
        order = np.argsort(tiles, kind="stable")
        if not np.array_equal(order, np.arange(len(order))):
            rows, times, tiles = rows.take(pa.array(order)), times[order], tiles[order]
        first = np.unique(tiles, return_index=True)[1]
        ends = np.append(first[1:], len(tiles))
        # A tile is named by the minute of its first row: the tiles know theirs, and when a version was first seen.
        starts = np.minimum.reduceat(minutes(times), first)
        series = _OfVersion(self._model, version, self._reference, self._layout.bins)
        for start, n in zip(starts.tolist(), (ends - first).tolist(), strict=True):
            yield Increment(series.predictions, start, Vector(np.array([n]), np.zeros(0)))
            yield Increment(series.info, start, Vector(np.zeros(0, dtype=np.int64), np.ones(1)))
        yield from _flagged(series.empty, starts, first, _empty(rows, named))
        yield from self._violations(series, rows, starts, first, ends)
        for start, vector in self._counted(rows, named, times, starts, first, ends):
            yield Increment(series.columns, start, vector)
        for one in (series.predictions, series.empty, series.columns):
            yield Increment(one, int(minutes(times).max()), Vector.zero(one))  # and last seen

    def quiet(self, version: str, starts: np.ndarray) -> Iterator[Increment]:
        """That nothing came in these tiles: a quiet hour is no gap."""
        series = _OfVersion(self._model, version, self._reference, self._layout.bins)
        for start in starts.tolist():
            for one in (series.predictions, series.empty):
                yield Increment(one, start, Vector.zero(one))

    def _violations(
        self, series: "_OfVersion", rows: pa.Table, starts: np.ndarray, first: np.ndarray, ends: np.ndarray
    ) -> Iterator[Increment]:
        layout = self._layout
        for name in layout.features:
            if name not in rows.column_names:
                for start, n in zip(starts.tolist(), (ends - first).tolist(), strict=True):
                    one = series.violations(name, "missing_column")
                    yield Increment(one, start, Vector(np.array([n]), np.zeros(0)))
        for _, name in layout.whole:
            if name in rows.column_names:
                x = numbers(rows[name])
                off = np.isfinite(x) & (x != np.floor(x))
                if off.any():
                    yield from _flagged(series.violations(name, "grid"), starts, first, off)

    def _counted(
        self,
        rows: pa.Table,
        named: Named,
        times: np.ndarray,
        starts: np.ndarray,
        first: np.ndarray,
        ends: np.ndarray,
    ) -> Iterator[tuple[int, Vector]]:
        """Each tile's counts and sums over all columns; so many tiles at a time that they fit into memory."""
        slots, values = self._slots(rows, named, times)
        size, step = self._layout.bins.size, max(1, TOGETHER // self._layout.bins.size)
        for low in range(0, len(starts), step):
            high = min(low + step, len(starts))
            mine = slice(int(first[low]), int(ends[high - 1]))
            group = np.repeat(np.arange(high - low), ends[low:high] - first[low:high])
            flat, shape = (slots[:, mine] + group * size).ravel(), (high - low, size)
            counts = np.bincount(flat, minlength=shape[0] * size).reshape(shape)
            sums = np.bincount(flat, values[:, mine].ravel(), minlength=shape[0] * size).reshape(shape)
            for i, start in enumerate(starts[low:high].tolist()):
                yield start, Vector(counts[i], bounded(sums[i]))

    def _slots(self, rows: pa.Table, named: Named, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """intp[C, n], the slot of each value in the vector of all columns, and float64[C, n], what it adds to its sum."""
        layout, bins = self._layout, self._layout.bins
        answers = (SCORE, PREDICTION)
        names = [n for n in bins.columns if n in layout.features or n in answers or n in rows.column_names]
        slots = np.empty((len(names), len(rows)), dtype=np.intp)
        values = np.zeros((len(names), len(rows)))
        tabled = [n for n in layout.numbers if n in rows.column_names]
        if tabled:
            at = [names.index(n) for n in tabled]
            values[at] = [numbers(rows[n]) for n in tabled]
            lookup = layout.counter.lookup.select([layout.counter.numbers.index(n) for n in tabled])
            slots[at] = lookup.index(values[at])
        for i, name in enumerate(names):
            if name not in tabled:
                slots[i], values[i] = self._column(name, rows, named, times)
            values[i][slots[i] >= bins.columns[name].values] = 0.0
            slots[i] += bins.offsets[name]
        return slots, values

    def _column(
        self, name: str, rows: pa.Table, named: Named, times: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Slots of one column, and its values where these are numbers."""
        bins, nothing = self._layout.bins.columns[name], np.zeros(len(rows))
        if name == PREDICTION:
            return self._predictions(rows, named)
        if name == SCORE:
            x = _scores(rows, named)
            return bins.index(x), x
        if name not in rows.column_names:
            return np.full(len(rows), bins.missing), nothing
        if isinstance(bins, CategoryBins):
            return bins.index(categories(rows[name])), nothing
        x = self._layout.schema[name].values(frames.column(rows[name]), times)
        return bins.index(x), x

    def _predictions(self, rows: pa.Table, named: Named) -> tuple[np.ndarray, np.ndarray]:
        """The answers and, where none was given, what the score says."""
        bins, layout = self._layout.bins.columns[PREDICTION], self._layout
        given = rows[named.prediction] if named.prediction else pa.chunked_array([pa.nulls(len(rows))])
        if isinstance(bins, CategoryBins):
            slots, x = bins.index(categories(given)), np.zeros(len(rows))
        else:
            x = layout.schema[PREDICTION].values(numbers(given), 0.0)
            slots = bins.index(x)
        if layout.task != "binary" or layout.threshold is None or not given.null_count:
            return slots, x
        none = pc.is_null(given).to_numpy()
        derived = positive(_scores(rows, named), layout.threshold)
        return np.where(none, bins.index(derived), slots), np.where(none, derived, x)


class _OfVersion:
    """The series of one version."""

    def __init__(self, model: str, version: str, reference: Reference | None, bins: BinSet) -> None:
        self._names, self._reference, self._bins = {"model": model, "version": version}, reference, bins
        self.predictions = Series.of(naming.PREDICTIONS, self._names)
        self.empty = Series.of(naming.EMPTY, self._names)
        self.columns = Series.of(naming.COLUMN_VALUES, {**self._names, "bins": bins.id}, size=bins.size)

    def violations(self, column: str, kind: str) -> Series:
        return Series.of(naming.VIOLATIONS, {**self._names, "column": column, "kind": kind})

    @cached_property
    def info(self) -> Series:
        """What a process of this version would say of itself; nobody knows its artifact and its configuration."""
        reference = self._reference
        trained = {} if reference is None else reference.environment.get("packages", {})
        info = {
            "task": "" if reference is None else reference.task,
            "reference": "" if reference is None else reference.id,
            "bins": self._bins.id,
            "digest": "",
            "config": "",
            "framework": next((f"{package} {version}" for package, version in trained.items()), ""),
        }
        return Series.of(naming.MODEL_INFO, {**self._names, **info})


def minutes(times: np.ndarray) -> np.ndarray:
    """int64[n]: the minute of each moment, in epoch seconds."""
    return np.asarray(np.floor_divide(times, MINUTE).astype(np.int64) * MINUTE)


def _flagged(series: Series, starts: np.ndarray, first: np.ndarray, flags: np.ndarray) -> Iterator[Increment]:
    """How many rows of each tile are flagged."""
    for start, n in zip(
        starts.tolist(), np.add.reduceat(flags.astype(np.int64), first).tolist(), strict=True
    ):
        yield Increment(series, start, Vector(np.array([n]), np.zeros(0)))


def _empty(rows: pa.Table, named: Named) -> np.ndarray:
    """bool[n]: answers that hold nothing, no score and no prediction, or a text without letters."""
    nothing = pa.chunked_array([pa.nulls(len(rows))])
    score, given = (rows[name] if name else nothing for name in (named.score, named.prediction))
    empty = pc.and_(pc.is_null(score), pc.is_null(given)).to_numpy()
    if is_text(given.type):
        empty = empty | pc.equal(pc.fill_null(given.cast(pa.string()), " "), "").to_numpy()
    return np.asarray(empty)


def _scores(rows: pa.Table, named: Named) -> np.ndarray:
    return np.full(len(rows), np.nan) if named.score is None else numbers(rows[named.score])


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts, encoded or not."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as float64, as `frames.floats` reads its values: NaN where one is missing, inf where it is no number."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return frames.floats(frames.column(column) if not pa.types.is_null(kind) else [None] * len(column))
    found = column.cast(pa.float64(), safe=False)
    return np.asarray((pc.fill_null(found, np.nan) if found.null_count else found).to_numpy())


def categories(column: pa.ChunkedArray) -> frames.Column:
    """A column as categories: each distinct value is looked at once."""
    if pa.types.is_null(column.type):
        return [None] * len(column)
    try:
        found = column.combine_chunks()
        encoded = found if pa.types.is_dictionary(found.type) else found.dictionary_encode()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists and the like, which are no categories
        return column.to_pylist()
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return frames.Coded(codes, encoded.dictionary.to_pylist())
