"""What matched labels add to the tiles: outcome profiles by version, segment and hour of the prediction.

Beside them it counts predictions that can have a label at all (`logged`), so that the share of labels that have come is known,
and how old labels were when they came (`ages`), from which it is learnt how many are still to come.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from barograph import frames, naming
from barograph.counters import Series, Vector
from barograph.labels.match import Match, Matched
from barograph.labels.runs import Run, grouped
from barograph.maturity import AGES, count_lags
from barograph.outcomes import OutcomeBins, count, labelled
from barograph.tiles import HOUR, Increment

MICROSECONDS = 1_000_000
BLOCK = 4_000_000  # counts that are held at once
CELLS = 16  # of a score, by which it is learnt how late labels come


@dataclass(frozen=True, slots=True)
class Group:
    """What predictions have in common: the version and bins that made them, and their segments (key, value)."""

    version: str
    bins: str
    segments: tuple[tuple[str, str], ...] = ()


BinsOf = Callable[[str, str], OutcomeBins]  # version, bins


@dataclass(frozen=True)
class Names:
    """What codes in runs stand for: groups of predictions, and texts of answers and labels."""

    groups: Sequence[Group]
    texts: Sequence[str]


def outcome_series(model: str, version: str, segment: str, bins: OutcomeBins) -> Series:
    """Where the outcomes of a version, and of one segment (`key=value`, or empty: all), are kept."""
    return _series(naming.OUTCOMES, model, version, segment, bins.id, bins.counts, bins.sums)


def logged_series(model: str, version: str, segment: str) -> Series:
    """Where predictions that can have a label are counted."""
    return _series(naming.LOGGED, model, version, segment, "", 1, 0)


def age_series(model: str, version: str, bins: OutcomeBins) -> Series:
    """Where the ages of labels are counted: label 0 or 1, by age, by coarse cell of the score."""
    return _series(naming.LABEL_AGES, model, version, "", bins.id, 2 * (len(AGES) + 1) * CELLS, 0)


@lru_cache(maxsize=8192)
def _series(metric: str, model: str, version: str, segment: str, bins: str, counts: int, sums: int) -> Series:
    labels = (("bins", bins), ("model", model), ("segment", segment), ("version", version))
    return Series(metric, labels, "columns", counts, sums)


def increments(model: str, found: Match, names: Names, bins_of: BinsOf) -> tuple[list[Increment], int]:
    """What a match adds to the tiles, and how many labels fit no outcome of the task."""
    total = _Total()
    _logged(total, model, found.predictions, names)
    unreadable = 0
    for change in found.changes:
        for version, bins, rows in _by_version(change, names, bins_of):
            label, score, prediction = _columns(bins, rows, names)
            readable = labelled(bins, label)
            unreadable += int((~readable).sum()) if rows.sign > 0 else 0
            _outcomes(total, model, version, bins, rows, (label, score, prediction), names)
            _ages(total, model, version, bins, rows, label)
    return total.increments(), unreadable


class _Total:
    """Increments that add up: one for each series and hour."""

    def __init__(self) -> None:
        self._found: dict[tuple[Series, int], Vector] = {}

    def add(self, series: Series, start: int, vector: Vector) -> None:
        before = self._found.get((series, start))
        self._found[series, start] = vector if before is None else before + vector

    def increments(self) -> list[Increment]:
        return [Increment(series, start, vector) for (series, start), vector in self._found.items()]


def _hours(run: Run) -> np.ndarray:
    return np.asarray(run.columns["time"] // (HOUR * MICROSECONDS))


def _logged(total: _Total, model: str, predictions: Run, names: Names) -> None:
    codes, hours = predictions.columns["group"], _hours(predictions)
    combinations, index = grouped(codes, hours)
    for (code, hour), n in zip(
        combinations, np.bincount(index, minlength=len(combinations)).tolist(), strict=True
    ):
        group, vector = names.groups[code], Vector(np.array([n]), np.zeros(0))
        for segment in ("", *(f"{key}={value}" for key, value in group.segments)):
            total.add(logged_series(model, group.version, segment), hour * HOUR, vector)


def _by_version(change: Matched, names: Names, bins_of: BinsOf) -> Iterator[tuple[str, OutcomeBins, Matched]]:
    """The rows of each version and its bins."""
    codes = change.predictions.columns["group"]
    kinds: dict[tuple[str, str], list[int]] = {}
    for (code,) in grouped(codes)[0]:
        group = names.groups[code]
        kinds.setdefault((group.version, group.bins), []).append(code)
    if len(kinds) == 1:
        ((version, bins),) = kinds
        yield version, bins_of(version, bins), change
        return
    for (version, bins), mine in kinds.items():
        rows = np.flatnonzero(np.isin(codes, mine))
        yield (
            version,
            bins_of(version, bins),
            Matched(change.predictions.take(rows), change.labels.take(rows), change.sign),
        )


def _columns(
    bins: OutcomeBins, rows: Matched, names: Names
) -> tuple[frames.Column, frames.Column, frames.Column]:
    """Label, score and prediction, as outcomes are counted."""
    given = rows.predictions.columns
    if bins.task != "multiclass":
        return rows.labels.columns["label"], given["score"], given["prediction"]
    label = _texts(rows.labels.columns["label"], rows.labels.columns["class"], names.texts)
    return label, given["score"], _texts(given["prediction"], given["class"], names.texts)


def _texts(numbers: np.ndarray, codes: np.ndarray, texts: Sequence[str]) -> frames.Column:
    """Classes that came as texts, or as numbers."""
    plain = np.flatnonzero((codes < 0) & ~np.isnan(numbers))
    if not len(plain):
        return frames.Coded(codes, list(texts))
    values, inverse = np.unique(numbers[plain], return_inverse=True)
    codes = codes.copy()
    codes[plain] = len(texts) + inverse
    return frames.Coded(codes, [*texts, *map(frames.text, values.tolist())])


def _segments(codes: np.ndarray, groups: Sequence[Group]) -> Iterator[tuple[list[str], np.ndarray]]:
    """For all rows, and then for each key of segments: the segments by name, and which of them each row is in, -1 for none."""
    yield [""], np.zeros(len(codes), dtype=np.int64)
    here = {code for (code,) in grouped(codes)[0]}
    used = [group if code in here else None for code, group in enumerate(groups)]
    for key in sorted({k for group in used if group is not None for k, _ in group.segments}):
        values = [None if g is None else dict(g.segments).get(key) for g in used]
        known = sorted({v for v in values if v is not None})
        table = np.array([-1 if v is None else known.index(v) for v in values], dtype=np.int64)
        yield [f"{key}={value}" for value in known], table[codes]


def _outcomes(
    total: _Total,
    model: str,
    version: str,
    bins: OutcomeBins,
    rows: Matched,
    columns: Sequence[frames.Column],
    names: Names,
) -> None:
    hours = _hours(rows.predictions)
    for segment, code in _segments(rows.predictions.columns["group"], names.groups):
        for value, hour, counts, sums in _counted(bins, columns, code, hours):
            vector = Vector(rows.sign * counts, rows.sign * sums)
            total.add(outcome_series(model, version, segment[value], bins), hour * HOUR, vector)


def _counted(
    bins: OutcomeBins, columns: Sequence[frames.Column], code: np.ndarray, hours: np.ndarray
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Segment, hour, counts and sums: of so many at a time that they fit into memory."""
    kept = np.flatnonzero(code >= 0)
    if not len(kept):
        return
    where, index = grouped(code[kept], hours[kept])
    order, step = np.argsort(index.astype(np.uint32), kind="stable"), max(1, BLOCK // bins.counts)
    ordered = index[order]
    for first in range(0, len(where), step):
        low, high = np.searchsorted(ordered, [first, first + step])
        rows = kept[order[low:high]]
        size = min(step, len(where) - first)
        label, score, prediction = (frames.take(column, rows) for column in columns)
        counts, sums = count(bins, label, score, prediction, group=ordered[low:high] - first, groups=size)
        for i in range(size):
            yield (*where[first + i], counts[i], sums[i])


def _ages(
    total: _Total, model: str, version: str, bins: OutcomeBins, rows: Matched, label: frames.Column
) -> None:
    """How old labels were when they came. Only of two classes: what comes late of them is not the same share of both."""
    if bins.task != "binary" or bins.score is None:
        return
    y, slot = frames.floats(label), bins.score.index(rows.predictions.columns["score"])
    age = (rows.labels.columns["arrival"] - rows.predictions.columns["time"]) / MICROSECONDS
    kept = np.flatnonzero((y == 0) | (y == 1))
    hours, index = grouped(_hours(rows.predictions)[kept])
    order = np.argsort(index.astype(np.uint32), kind="stable")
    kept, first = kept[order], np.searchsorted(index[order], np.arange(len(hours)))
    cells, series = coarse_cells(bins), age_series(model, version, bins)
    for (hour,), mine in zip(hours, np.split(kept, first)[1:], strict=True):
        counts = count_lags(cells, y[mine], slot[mine], age[mine]).ravel()
        total.add(series, hour * HOUR, Vector(rows.sign * counts, np.zeros(0)))


def coarse_cells(bins: OutcomeBins) -> np.ndarray:
    """intp[slots]: the coarse cell of each slot of the score; as many slots in each, and what is no value in the last."""
    assert bins.score is not None
    return np.minimum(np.arange(bins.score.size) * CELLS // bins.score.values, CELLS - 1)
