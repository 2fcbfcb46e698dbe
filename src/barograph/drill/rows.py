"""Recorded traffic: rows with what was answered, what became true, and how the request went."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

ABSENT = object()  # in place of a value: the row has no such field


@dataclass(frozen=True, eq=False)
class Rows:
    """n predictions in order of time.

    `features` by name float64[n] or object[n]; `time` float64[n] epoch seconds; `id` object[n]. `score` float64[n] and
    `prediction` (float64 or object)[n] are what was answered, `delivered` object[n] what post-processing made of it, None where
    that is the same. `label` (float64 or object)[n], NaN or None where there is none, came at `label_time` float64[n]. `duration`
    float64[n] seconds, `events` int64[n] business events of each request. `empty`, `failed` bool[n]: answered nothing, or with an
    error. `replica` int8[n]: 1 for rows that the other replica answered.
    """

    features: Mapping[str, np.ndarray]
    time: np.ndarray
    id: np.ndarray
    score: np.ndarray | None = None
    prediction: np.ndarray | None = None
    label: np.ndarray | None = None
    label_time: np.ndarray | None = None
    duration: np.ndarray | None = None
    events: np.ndarray | None = None
    delivered: np.ndarray | None = None
    empty: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    failed: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    replica: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int8))

    def __post_init__(self) -> None:
        for name in ("empty", "failed", "replica"):
            given = getattr(self, name)
            if len(given) != len(self.time):
                object.__setattr__(self, name, np.zeros(len(self.time), dtype=given.dtype))

    def __len__(self) -> int:
        return len(self.time)

    def take(self, at: np.ndarray | slice) -> "Rows":
        """Some of the rows: bool[n], their places, or a slice.

        >>> rows = Rows({"x": np.arange(3.0)}, np.arange(3.0), np.array(["a", "b", "c"], dtype=object))
        >>> rows.take(rows.time > 0).features["x"].tolist()
        [1.0, 2.0]
        """
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "features"}
        some = {name: None if values is None else values[at] for name, values in found.items()}
        return Rows({name: values[at] for name, values in self.features.items()}, **some)  # type: ignore[arg-type]

    def between(self, start: float, end: float) -> "Rows":
        """Those of [start, end), epoch seconds."""
        low, high = np.searchsorted(self.time, [start, end])
        return self.take(slice(int(low), int(high)))

    def put(self, where: np.ndarray, **values: Any) -> "Rows":
        """The same with other features in the rows `where`, bool[n]; each value is one, or an array of n.

        >>> rows = Rows({"x": np.arange(3.0)}, np.arange(3.0), np.array(["a", "b", "c"], dtype=object))
        >>> rows.put(rows.time > 1, x=None).features["x"].tolist()
        [0.0, 1.0, nan]
        """
        features = dict(self.features)
        for name, value in values.items():
            features[name] = mixed(self.features[name], where, value)
        return replace(self, features=features)

    def changed(self, other: "Rows") -> np.ndarray:
        """bool[n]: rows of `other` whose features differ from those here; none where rows came or went."""
        differs = np.zeros(len(other), dtype=bool)
        if len(self) != len(other):
            return differs
        for name, values in other.features.items():
            before = self.features[name]
            if values is not before:
                differs |= ~same(before, values)
        return differs

    @classmethod
    def joined(cls, parts: "list[Rows]") -> "Rows":
        """All rows of several, in order of time."""
        first = parts[0]
        found = {
            f.name: None
            if getattr(first, f.name) is None
            else np.concatenate([getattr(p, f.name) for p in parts])
            for f in fields(cls)
            if f.name != "features"
        }
        features = {n: np.concatenate([p.features[n] for p in parts]) for n in first.features}
        whole = cls(features, **found)  # type: ignore[arg-type]
        return whole.take(np.argsort(whole.time, kind="stable"))


def mixed(values: np.ndarray, where: np.ndarray, new: Any) -> np.ndarray:
    """`values` with `new` (one value, or n) in the places `where`; None is missing."""
    if not where.any():
        return values
    if new is None and values.dtype.kind == "f":
        new = np.nan
    given = np.broadcast_to(np.asarray(new, dtype=None if _plain(new) else object), values.shape)
    kind = values.dtype if given.dtype.kind in "fiub" and values.dtype.kind == "f" else np.dtype(object)
    found = values.astype(kind)
    found[where] = given[where]
    return found


def _plain(value: Any) -> bool:
    return isinstance(value, (np.ndarray, int, float, bool, np.generic))


def same(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """bool[n]: places that hold the same; what is missing is the same as what is missing."""
    equal = np.asarray(before == after, dtype=bool)
    both = np.asarray((before != before) & (after != after), dtype=bool)
    return np.asarray(equal | both)
