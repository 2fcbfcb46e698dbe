"""Frozen bins: edges and categories that the reference draws once, so that counts of any two windows add up.

Every value has a slot. A numeric column has its value slots, then `missing` (None, NaN, NaT) and `invalid` (wrong type,
+-inf); a categorical one has a slot for each category, then `other` (rare in the reference), `unseen` (never in it),
`missing` and `invalid`.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from barograph import frames
from barograph.naming import INVALID, MISSING, OTHER, SCORE, UNSEEN

QUANTILE_BINS = 28
SCORE_BINS = 512
CELLS = 16
CELL_MISSING, CELL_UNSEEN = 16, 17
MAX_CATEGORIES = 62
MAX_RARE = 10_000
LOGIT_SPAN = 16.0
SENTINEL = -1.0
_TINY = float(
    np.finfo(np.float64).tiny
)  # a subnormal edge would vanish where a library has set flush-to-zero


@dataclass(frozen=True, eq=False)
class NumericBins:
    """Bins of a numeric column.

    `edges` (float64, strictly increasing) cut the line; a value on an edge goes right. Values below `low`, or at or above
    `high`, are out of range; both are edges.

    >>> bins = NumericBins(np.array([0.0, 10.0]), low=0.0, high=10.0)
    >>> bins.index([-1, 0, 10, None, "x"]).tolist()
    [0, 1, 2, 3, 4]
    """

    edges: np.ndarray
    low: float
    high: float
    kind = "numeric"
    unseen = None
    other = None

    def __post_init__(self) -> None:
        if len(self.edges) and not (np.all(np.diff(self.edges) > 0) and np.all(np.isfinite(self.edges))):
            raise ValueError("edges must be finite and strictly increasing")

    @property
    def values(self) -> int:
        """Number of slots that hold values."""
        return len(self.edges) + 1

    @property
    def missing(self) -> int:
        return len(self.edges) + 1

    @property
    def invalid(self) -> int:
        return len(self.edges) + 2

    @property
    def size(self) -> int:
        """Number of slots."""
        return len(self.edges) + 3

    @cached_property
    def outside(self) -> np.ndarray:
        """bool[size]: slots that lie wholly out of range."""
        mask = np.zeros(self.size, dtype=bool)
        mask[: int(np.searchsorted(self.edges, self.low, side="left")) + 1] = True
        mask[int(np.searchsorted(self.edges, self.high, side="left")) + 1 : self.values] = True
        return mask

    def index(self, values: frames.Column) -> np.ndarray:
        """Slot of each value (intp), by binary search: the definition that faster ways must equal."""
        x = frames.floats(values)
        slots = np.searchsorted(self.edges, x, side="right")
        slots[np.isnan(x)] = self.missing
        slots[np.isinf(x)] = self.invalid
        return slots

    def labels(self) -> list[str]:
        """One text a slot."""
        cuts = [_number(edge) for edge in self.edges]
        spans = [f"[{a}, {b})" for a, b in pairwise(cuts)]
        spans = [f"< {cuts[0]}", *spans, f"≥ {cuts[-1]}"] if cuts else ["any"]
        if _TINY in self.edges:
            spans[int(np.searchsorted(self.edges, 0.0, side="right"))] = "0"
        return [*spans, MISSING, INVALID]

    def cells(self, counts: np.ndarray) -> np.ndarray:
        """Merge the slots into cells of about equal mass in `counts`: 0 to 15, and 16 for missing or invalid."""
        cells = np.full(self.size, CELL_MISSING, dtype=np.intp)
        cells[: self.values] = equal_mass(counts[: self.values])
        return cells

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; floats keep every bit."""
        return {"kind": self.kind, "edges": self.edges.tolist(), "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class CategoryBins:
    """Bins of a categorical column: `categories`, most frequent first; `rare` holds 64-bit hashes of the others.

    An `open` column (names, ids: new values are ordinary) has no notion of unseen: they fall into `other`.

    >>> CategoryBins(("a", "b")).index(["b", "zzz", None, {}]).tolist()
    [1, 3, 4, 5]
    """

    categories: tuple[str, ...]
    rare: frozenset[int] = frozenset()
    open: bool = False
    kind = "categorical"
    _slots: dict[Any, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_slots", _lookup(self.categories))

    @property
    def values(self) -> int:
        """Number of slots that hold values known to the reference: the categories and `other`."""
        return len(self.categories) + 1

    @property
    def other(self) -> int:
        return len(self.categories)

    @property
    def unseen(self) -> int:
        return len(self.categories) + 1

    @property
    def missing(self) -> int:
        return len(self.categories) + 2

    @property
    def invalid(self) -> int:
        return len(self.categories) + 3

    @property
    def size(self) -> int:
        """Number of slots."""
        return len(self.categories) + 4

    @cached_property
    def outside(self) -> np.ndarray:
        """bool[size]: no category lies out of range."""
        return np.zeros(self.size, dtype=bool)

    def index(self, values: frames.Column) -> np.ndarray:
        """Slot of each value (intp)."""
        if isinstance(values, frames.Coded):
            lookup = np.append(self.index(values.categories), self.missing)
            return np.asarray(lookup[values.codes])
        listed = list(frames.items(values))
        try:
            return np.fromiter(map(self._slots.__getitem__, listed), dtype=np.intp, count=len(listed))
        except (KeyError, TypeError):
            return np.fromiter(map(self.slot, listed), dtype=np.intp, count=len(listed))

    def slot(self, value: Any) -> int:
        """Slot of one value."""
        try:
            return self._slots[value]
        except (KeyError, TypeError):
            return self._slot_of_text(frames.text(value))

    def _slot_of_text(self, text: Any) -> int:
        if text is None:
            return self.missing
        if text is frames.INVALID:
            return self.invalid
        if (slot := self._slots.get(text)) is not None:
            return slot
        return self.other if self.open or hash64(text) in self.rare else self.unseen

    def labels(self) -> list[str]:
        """One text a slot."""
        return [*self.categories, OTHER, UNSEEN, MISSING, INVALID]

    def cells(self, counts: np.ndarray) -> np.ndarray:
        """Merge the slots into cells of about equal mass: 0 to 15, 16 for missing or invalid, 17 for unseen."""
        cells = np.full(self.size, CELL_MISSING, dtype=np.intp)
        cells[self.unseen] = CELL_UNSEEN
        order = np.argsort(-counts[: self.values], kind="stable")
        cells[order] = equal_mass(counts[order])
        return cells

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        rare = [f"{h:016x}" for h in sorted(self.rare)]
        return {"kind": self.kind, "categories": list(self.categories), "rare": rare, "open": self.open}


Bins = NumericBins | CategoryBins


@dataclass(frozen=True, eq=False)
class BinSet:
    """The bins of all columns of a model, one after the other in a single vector.

    `id` is 8 hex digits of their content. Counts of different ids are never added.
    """

    columns: Mapping[str, Bins]
    roles: Mapping[str, str]

    @cached_property
    def id(self) -> str:
        content = {name: [self.roles[name], bins.to_dict()] for name, bins in self.columns.items()}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each column begins in the vector."""
        starts = np.cumsum([0, *(bins.size for bins in self.columns.values())])
        return {name: int(start) for name, start in zip(self.columns, starts, strict=False)}

    @cached_property
    def size(self) -> int:
        """Number of slots of all columns."""
        return sum(bins.size for bins in self.columns.values())

    def slice(self, name: str) -> slice:
        """Where a column lies in the vector."""
        start = self.offsets[name]
        return slice(start, start + self.columns[name].size)

    def to_list(self) -> list[dict[str, Any]]:
        """Plain JSON."""
        return [{"name": n, "role": self.roles[n], **bins.to_dict()} for n, bins in self.columns.items()]

    @classmethod
    def from_list(cls, items: Iterable[Mapping[str, Any]]) -> "BinSet":
        """Back from plain JSON."""
        listed = list(items)
        return cls({i["name"]: bins_from_dict(i) for i in listed}, {i["name"]: i["role"] for i in listed})


def bins_from_dict(item: Mapping[str, Any]) -> Bins:
    """Bins back from plain JSON."""
    if item["kind"] == "numeric":
        return NumericBins(np.array(item["edges"], dtype=np.float64), float(item["low"]), float(item["high"]))
    rare = frozenset(int(h, 16) for h in item["rare"])
    return CategoryBins(tuple(item["categories"]), rare, bool(item["open"]))


def numeric_bins(
    values: np.ndarray,
    *,
    quantiles: int = QUANTILE_BINS,
    points: Iterable[float] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> NumericBins:
    """Draw bins from the reference's values (float64; NaN and inf are passed over).

    Inside the data they are quantile bins (one each where values are few); beyond it they double up to 10^6 times the
    largest magnitude, towards zero they halve, and the other sign is mirrored, so that a change of unit or sign lands in
    bins of its own. Zero has a bin of its own, and so has -1, unless the data hold it. `points`, such as a decision
    threshold, are always edges. `minimum` and `maximum` replace the range that is else a data's width around the data.
    """
    data = np.sort(values[np.isfinite(values)])
    if not len(data):
        data = np.array([0.0, 1.0])
    low, high = _range(float(data[0]), float(data[-1]), minimum, maximum)
    sentinel = [] if np.any(data == SENTINEL) else [SENTINEL, np.nextafter(SENTINEL, 0.0)]
    parts = [_cuts(data, quantiles), _ladders(data), [0.0, _TINY, low, high, *points, *sentinel]]
    edges = np.unique(np.concatenate([np.asarray(part, dtype=np.float64) for part in parts]))
    return NumericBins(edges[np.isfinite(edges)] + 0.0, low, high)


def score_bins(points: Iterable[float] = ()) -> NumericBins:
    """Bins of a score in 0..1 whose distribution is not known yet: even steps of its logit."""
    steps = 1 / (1 + np.exp(-np.linspace(-LOGIT_SPAN, LOGIT_SPAN, SCORE_BINS - 1)))
    high = float(np.nextafter(1.0, 2.0))
    return NumericBins(np.unique(np.concatenate([steps, [0.0, _TINY, 1.0, high, *points]])), 0.0, high)


def score_alone() -> BinSet:
    """What is counted without a reference: a score in 0..1."""
    return BinSet({SCORE: score_bins()}, {SCORE: "score"})


def category_bins(
    counts: Mapping[str, int], *, novelty: float = 0.0, reserve: Iterable[str] = ()
) -> CategoryBins:
    """Draw bins from the reference's categories and how often each occurred.

    `novelty` is the share of values in its last quarter that its first three quarters had not; above 1 %, or with more
    than 10,000 categories, the column is open.
    """
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    ranked += [name for name in reserve if name not in counts]
    is_open = novelty > 0.01 or len(ranked) > MAX_RARE
    rare = frozenset() if is_open else frozenset(hash64(name) for name in ranked[MAX_CATEGORIES:])
    return CategoryBins(tuple(ranked[:MAX_CATEGORIES]), rare, is_open)


def hash64(text: str) -> int:
    """64-bit hash of a text, the same on every machine and in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def _range(least: float, most: float, minimum: float | None, maximum: float | None) -> tuple[float, float]:
    width = (most - least) or max(abs(most), 1.0)
    low = least - width if minimum is None else float(minimum)
    high = most + width if maximum is None else float(maximum)
    biggest = np.finfo(np.float64).max / 2
    return float(np.clip(low, -biggest, biggest)), float(
        np.nextafter(np.clip(high, -biggest, biggest), math.inf)
    )


def _cuts(data: np.ndarray, bins: int) -> np.ndarray:
    distinct = np.unique(data)
    if len(distinct) <= bins:
        right = np.arange(1, len(distinct))
    else:
        ranks = np.arange(1, bins) * len(data) // bins
        right = np.unique(np.searchsorted(distinct, data[ranks]))
        right = right[right > 0]
    left_values, right_values = distinct[right - 1], distinct[right]
    middle = left_values / 2 + right_values / 2
    return np.where((middle > left_values) & (middle <= right_values), middle, right_values)


def _ladders(data: np.ndarray) -> np.ndarray:
    magnitudes = np.abs(data[data != 0])
    if not len(magnitudes):
        magnitudes = np.array([1.0])
    least, most = float(magnitudes.min()), float(magnitudes.max())
    up = _ladder(data[data > 0], least, most)
    down = _ladder(-data[data < 0][::-1], least, most)
    return np.concatenate([up, -down])


def _ladder(side: np.ndarray, least: float, most: float) -> np.ndarray:
    """Edges outside the data on one side of zero, as magnitudes: dense where the data are, sparse on the empty side."""
    with np.errstate(over="ignore"):
        return _rungs(side, least, most)


def _rungs(side: np.ndarray, least: float, most: float) -> np.ndarray:
    if len(side):
        below = side[0] * 2.0 ** -np.arange(1, 11)
        between = np.geomspace(side[-1], most, 7)[1:] if side[-1] < most else np.empty(0)
        return np.concatenate([below, between, _doublings(most, 1)])
    return np.concatenate(
        [least * 4.0 ** -np.arange(1, 6), np.geomspace(least, most, 12), _doublings(most, 2)]
    )


def _doublings(most: float, step: int) -> np.ndarray:
    return most * 2.0 ** np.arange(1, 21, step)


def equal_mass(counts: np.ndarray) -> np.ndarray:
    """Cell 0..15 of each slot by the middle of its share of the mass; all in one cell where there is no mass."""
    total = counts.sum()
    if not total:
        return np.zeros(len(counts), dtype=np.intp)
    middle = (np.cumsum(counts) - counts / 2) / total
    return np.asarray(np.minimum((middle * CELLS).astype(np.intp), CELLS - 1))


def _lookup(categories: tuple[str, ...]) -> dict[Any, int]:
    slots: dict[Any, int] = {name: i for i, name in enumerate(categories)}
    for i, name in enumerate(categories):
        if (
            name.isdecimal()
            and name.isascii()
            and len(name) < 19
            and str(int(name)) == name
            and int(name) > 1
        ):
            slots[int(name)] = i  # found without making a text of it; not 0 and 1, which False and True equal
    return slots


def _number(value: float) -> str:
    return f"{value:.6g}"
