"""Additive vectors by name, and their totals at one moment."""

import json
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from barograph import naming
from barograph.naming import Metric

COUNTER, GAUGE, GAUGE_MAX, INFO, HISTOGRAM, COLUMNS = (
    "counter",
    "gauge",
    "gauge_max",
    "info",
    "histogram",
    "columns",
)
KINDS = (COUNTER, GAUGE, GAUGE_MAX, INFO, HISTOGRAM, COLUMNS)
ADDITIVE = frozenset({COUNTER, HISTOGRAM, COLUMNS})  # added over processes, and kept when they end
HIGHEST = frozenset({GAUGE_MAX, INFO})  # the highest over live processes; a plain gauge is added over them

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MAGIC = b"BAROSNP1"
_HEAD = struct.Struct("<8sIIQ")  # magic, crc32 of what follows, bytes of the JSON in it, bytes of all of it


@dataclass(frozen=True, slots=True)
class Series:
    """The identity of one additive vector: a metric, label values, and how many numbers it has.

    `labels` are pairs sorted by name. `kind` says how processes are combined: counter, histogram and columns add up for ever,
    a gauge adds up over live processes, a gauge_max and an info take the highest of them.

    >>> Series("ml_predictions_total", (("model", "m"), ("version", "1")), "counter", 1, 0).label("model")
    'm'
    """

    metric: str
    labels: tuple[tuple[str, str], ...]
    kind: str
    counts: int
    sums: int
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [name for name, _ in self.labels]
        if not _METRIC.fullmatch(self.metric):
            raise ValueError(f"metric: {self.metric!r} is no name of a metric; use letters, digits and _")
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is not one of {', '.join(KINDS)}")
        if any(a >= b for a, b in pairwise(names)):
            raise ValueError(f"labels: {names} must be sorted by name, each once; Series.of sorts them")
        if bad := [name for name in names if not _LABEL.fullmatch(name)]:
            raise ValueError(f"labels: {bad} are no names of labels; use letters, digits and _")
        object.__setattr__(self, "_hash", hash((self.metric, self.labels, self.kind, self.counts, self.sums)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> Any:
        """Made anew on unpickling: the hashes of texts differ from process to process."""
        return Series, (self.metric, self.labels, self.kind, self.counts, self.sums)

    @classmethod
    def of(cls, metric: Metric, labels: Mapping[str, str], *, size: int = 1) -> "Series":
        """The series of a metric; kind and sizes follow from its type. `size` is the number of slots of columns.

        >>> from barograph import naming
        >>> Series.of(naming.PREDICTIONS, {"version": "1", "model": "m"}).labels
        (('model', 'm'), ('version', '1'))
        """
        return _series(metric.name, metric.type, metric.labels, tuple(sorted(labels.items())), size)

    def label(self, name: str) -> str | None:
        """The value of a label, None where the series lacks it."""
        return next((value for key, value in self.labels if key == name), None)


@lru_cache(maxsize=8192)
def _series(
    metric: str, kind: str, known: tuple[str, ...], labels: tuple[tuple[str, str], ...], size: int
) -> Series:
    if unknown := [name for name, _ in labels if name not in known]:
        raise ValueError(f"labels: {metric} has no {unknown}; it has {', '.join(known) or 'none'}")
    if kind == COUNTER:
        counts, sums = (0, 1) if metric.endswith("_seconds_total") else (1, 0)
    elif kind == HISTOGRAM:
        counts, sums = len(naming.DURATION_BUCKETS) + 1, 1
    elif kind == COLUMNS:
        counts, sums = size, size
    else:
        counts, sums = 0, 1
    return Series(metric, labels, kind, counts, sums)


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """The numbers of a series: `counts` int64 and `sums` float64. A commutative group under `+`, with `zero` and `-`.

    >>> one = Vector(np.array([1, 2]), np.array([0.5]))
    >>> (one + one - one).counts.tolist()
    [1, 2]
    """

    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def zero(cls, series: Series) -> "Vector":
        """All 0, of the size of a series."""
        return cls(np.zeros(series.counts, dtype=np.int64), np.zeros(series.sums))

    def __add__(self, other: "Vector") -> "Vector":
        self._same_size(other, "add")
        return Vector(self.counts + other.counts, self.sums + other.sums)

    def __sub__(self, other: "Vector") -> "Vector":
        self._same_size(other, "subtract")
        return Vector(self.counts - other.counts, self.sums - other.sums)

    def _same_size(self, other: "Vector", verb: str) -> None:
        ours, theirs = ((len(v.counts), len(v.sums)) for v in (self, other))
        if ours != theirs:
            raise ValueError(
                f"cannot {verb} vectors of {ours} and {theirs} counts and sums; take them of one series"
            )


@dataclass(frozen=True, eq=False)
class Layout:
    """How the vectors of some series stand one after the other in two arrays."""

    series: tuple[Series, ...]

    @cached_property
    def count_starts(self) -> list[int]:
        """Where each series' counts begin, and the number of all."""
        return [0, *accumulate(series.counts for series in self.series)]

    @cached_property
    def sum_starts(self) -> list[int]:
        """Where each series' sums begin, and the number of all."""
        return [0, *accumulate(series.sums for series in self.series)]

    @cached_property
    def spans(self) -> list[tuple[Series, slice, slice]]:
        """Each series with where its counts and its sums lie."""
        counts, sums = (
            [slice(a, b) for a, b in pairwise(starts)] for starts in (self.count_starts, self.sum_starts)
        )
        return list(zip(self.series, counts, sums, strict=True))

    @cached_property
    def places(self) -> dict[Series, tuple[slice, slice]]:
        """Where each series' counts and sums lie."""
        return {series: (counts, sums) for series, counts, sums in self.spans}


@dataclass(frozen=True, eq=False)
class Table:
    """The vectors of many series in two arrays, `counts` int64 and `sums` float64."""

    layout: Layout
    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, series: Mapping[Series, Vector]) -> "Table":
        """Lay vectors out one after the other."""
        none = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        counts = np.concatenate([*none[0], *(vector.counts for vector in series.values())])
        sums = np.concatenate([*none[1], *(vector.sums for vector in series.values())])
        return cls(Layout(tuple(series)), counts, sums)

    def vectors(self) -> dict[Series, Vector]:
        """Each series' vector, as views."""
        counts, sums = self.counts, self.sums
        return {series: Vector(counts[a], sums[b]) for series, a, b in self.layout.spans}


class SnapshotFormatError(ValueError):
    """Bytes that are no snapshot, or a damaged one."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The totals of a server at one moment.

    `clock` is the server's clock in epoch seconds, `workers` the number of live processes that are in it. `epoch` is an id
    that changes when counting began anew: within one epoch a counter never falls.
    """

    clock: float
    epoch: str
    workers: int
    series: Mapping[Series, Vector]
    arranged: Table | None = field(default=None, repr=False)

    @property
    def table(self) -> Table:
        """The same numbers in two arrays."""
        return Table.of(self.series) if self.arranged is None else self.arranged

    def to_bytes(self) -> bytes:
        """A compact binary form: a JSON header, and of each array a bitmap and what is not 0, little-endian."""
        table = self.table
        counts, sums = _Sparse.of(table.counts, "i"), _Sparse.of(table.sums, "f")
        fields = {
            "clock": self.clock,
            "epoch": self.epoch,
            "workers": self.workers,
            "series": [[s.metric, s.labels, s.kind, s.counts, s.sums] for s in table.layout.series],
            "arrays": [[counts.type, len(counts.values)], [sums.type, len(sums.values)]],
        }
        header = json.dumps(fields, separators=(",", ":")).encode()
        body = header + counts.data() + sums.data()
        return _HEAD.pack(_MAGIC, zlib.crc32(body), len(header), len(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Snapshot":
        """Back from `to_bytes`. Raises SnapshotFormatError (a ValueError) that says what is wrong."""
        if len(data) < _HEAD.size or not data.startswith(_MAGIC):
            raise _format_error(f"its {len(data)} bytes do not begin like one")
        _, crc, start, size = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if len(body) != size or zlib.crc32(body) != crc:
            raise _format_error(f"it is damaged or cut off, at {len(body)} of {size} bytes")
        try:
            return cls._from_body(json.loads(body[:start]), body[start:])
        except (ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise _format_error(f"its header cannot be read ({error!r})") from error

    @classmethod
    def _from_body(cls, header: Mapping[str, Any], arrays: bytes) -> "Snapshot":
        layout = Layout(tuple(listed(*item) for item in header["series"]))
        sizes = layout.count_starts[-1], layout.sum_starts[-1]
        (count_type, counts), (sum_type, sums) = header["arrays"]
        middle = -(-sizes[0] // 8) + counts * np.dtype(count_type).itemsize
        table = Table(
            layout,
            _Sparse.parse(arrays[:middle], sizes[0], count_type, counts).astype(np.int64),
            _Sparse.parse(arrays[middle:], sizes[1], sum_type, sums).astype(np.float64),
        )
        return cls(
            float(header["clock"]), str(header["epoch"]), int(header["workers"]), table.vectors(), table
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Sparse:
    """An array as a bitmap of what is not 0, and that, as the narrowest `type` that holds it."""

    type: str
    bitmap: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray, kind: str) -> "_Sparse":
        """`kind` is i for whole numbers, f for others."""
        used = array != 0
        values = array[used]
        if kind == "f":
            kept = "<f8"
        else:
            most = max(int(values.max(initial=0)), -1 - int(values.min(initial=0)))
            kept = next(f"<i{width}" for width in (1, 2, 4, 8) if most < 1 << (8 * width - 1))
        return cls(kept, np.packbits(used), values.astype(kept))

    def data(self) -> bytes:
        return self.bitmap.tobytes() + self.values.tobytes()

    @staticmethod
    def parse(data: bytes, size: int, kept: str, used: int) -> np.ndarray:
        """The array of `size` numbers again."""
        bits = -(-size // 8)
        array = np.zeros(size, dtype=kept)
        where = np.unpackbits(np.frombuffer(data, np.uint8, bits), count=size).astype(bool)
        array[where] = np.frombuffer(data, kept, used, bits)
        return array


def listed(metric: str, labels: Iterable[Sequence[str]], kind: str, counts: int, sums: int) -> Series:
    """A series back from plain JSON."""
    return Series(
        metric, tuple((str(name), str(value)) for name, value in labels), kind, int(counts), int(sums)
    )


def _format_error(what: str) -> SnapshotFormatError:
    return SnapshotFormatError(
        f"snapshot: {what}; fetch it again, from a /profile of the same version of barograph as this"
    )
