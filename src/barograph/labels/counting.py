"""What matched labels add to the tiles: outcome profiles by version, segment and hour of the prediction.

Beside them it counts predictions that can have a label at all (`logged`), so that the share of labels that have come is known,
and how old labels were when they came (`ages`), from which it is learnt how many are still to come.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from barograph import frames, naming
from barograph.bins import NumericBins
from barograph.counters import Series, Vector
from barograph.labels.match import Matched
from barograph.labels.runs import Run, grouped
from barograph.lookup import Lookup
from barograph.maturity import AGES
from barograph.outcomes import Countable, OutcomeBins, tally_to
from barograph.tiles import HOUR, Increment

MICROSECONDS = 1_000_000
CELLS = 8  # of a score, by which it is learnt how late labels come


class UnknownBins(LookupError):
    """Predictions over bins of a reference that is not known yet: they wait for it."""


@dataclass(frozen=True, slots=True)
class Group:
    """What predictions have in common: the version and bins that made them, and their segments (key, value)."""

    version: str
    bins: str
    segments: tuple[tuple[str, str], ...] = ()


BinsOf = Callable[[str, str], OutcomeBins]  # version, bins
Made = tuple[str, str]  # what made a prediction: its version and bins


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


def arrival_series(model: str, version: str, bins: OutcomeBins) -> Series:
    """Where labels are counted by the hour in which they came: by the outcomes of ARRIVED."""
    return _series(naming.ARRIVALS, model, version, "", bins.id, len(ARRIVED[bins.task]), 0)


@lru_cache(maxsize=8192)
def _series(metric: str, model: str, version: str, segment: str, bins: str, counts: int, sums: int) -> Series:
    labels = (("bins", bins), ("model", model), ("segment", segment), ("version", version))
    return Series(metric, labels, "columns", counts, sums)


class Known:
    """How the outcomes of each version are counted, looked up once.

    What was made over bins that are not known is not counted before it is taken from `waiting` and all of it is counted at
    once. Bins of `counted` were known before: if they are no longer, nothing can go on.
    """

    def __init__(
        self, bins_of: BinsOf, waiting: Mapping[Made, str] | None = None, counted: Collection[Made] = ()
    ) -> None:
        self._bins_of, self._counted = bins_of, counted
        self.waiting = dict(waiting or {})  # and why
        self._found: dict[Made, OutcomeBins] = {}
        self._lock = threading.Lock()

    def of(self, made: Made) -> OutcomeBins | None:
        """The bins, or None for what waits; UnknownBins for what did not have to before."""
        with self._lock:
            if made not in self._found and made not in self.waiting:
                try:
                    self._found[made] = self._bins_of(*made)
                except UnknownBins as error:
                    if made in self._counted:
                        raise
                    self.waiting[made] = str(error)
            return self._found.get(made)


Cell = tuple[str, int]  # segment, hour
# What a label that comes says of its prediction; a binary one may have no answer.
ARRIVED: Mapping[str, tuple[str, ...]] = {
    "binary": ("tn", "fp", "negative", "fn", "tp", "positive"),
    "multiclass": ("wrong", "right"),
    "regression": ("labelled",),
}


class _Sheet:
    """Counts and sums that add up, a row for each cell. Any thread may add to it."""

    def __init__(self, counts: int, sums: int) -> None:
        self.counts, self.sums = np.zeros((0, counts), dtype=np.int64), np.zeros((0, sums))
        self.cells: dict[Cell, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def rows(self, cells: Sequence[Cell]) -> Iterator[np.ndarray]:
        """intp[n]: the row of each cell, to add to until this is left."""
        with self._lock:
            rows = np.array([self.cells.setdefault(cell, len(self.cells)) for cell in cells], dtype=np.intp)
            new = len(self.cells) - len(self.counts)
            if new:
                self.counts = np.concatenate([self.counts, np.zeros((new, self.counts.shape[1]), np.int64)])
                self.sums = np.concatenate([self.sums, np.zeros((new, self.sums.shape[1]))])
            yield rows


class Counting:
    """What a model's matches add up to. Any thread may add."""

    def __init__(self, model: str, names: Names, bins: Known) -> None:
        self._model, self._names, self._bins = model, names, bins
        self._sheets: dict[tuple[str, Made], _Sheet] = {}
        self._lock = threading.Lock()
        self.unreadable = 0

    def predict(self, predictions: Run) -> None:
        """Count predictions that can have a label."""
        codes = predictions.columns["group"]
        combinations, index = grouped(codes, _hours(predictions))
        counts = np.bincount(index, minlength=len(combinations))[:, None]
        by_group: dict[int, list[int]] = {}
        for i, (code, _) in enumerate(combinations):
            by_group.setdefault(code, []).append(i)
        for code, rows in by_group.items():
            group = self._names.groups[code]
            for segment in ("", *(f"{key}={value}" for key, value in group.segments)):
                sheet = self._sheet(naming.LOGGED, (group.version, ""), 1, 0)
                with sheet.rows([(segment, combinations[i][1]) for i in rows]) as mine:
                    sheet.counts[mine] += counts[rows]

    def label(self, change: Matched) -> None:
        """Count predictions that have a label, or no longer have this one. Those that wait for their bins are left out."""
        for made, rows in _by_version(change, self._names):
            bins = self._bins.of(made)
            if bins is not None:
                self._label(made, bins, rows)

    def _label(self, made: Made, bins: OutcomeBins, rows: Matched) -> None:
        counted = Countable.of(bins, *_columns(bins, rows, self._names))
        whole = len(counted) == len(rows)
        hours, group = _hours(rows.predictions), rows.predictions.columns["group"]
        if not whole:
            hours, group = hours[counted.kept], group[counted.kept]
        if rows.sign > 0:
            with self._lock:
                self.unreadable += len(rows) - len(counted)
        combinations, index = grouped(hours)
        cells = [("", hour) for (hour,) in combinations]
        self._outcomes(made, rows.sign, counted, cells, index)
        self._ages(made, rows, counted, cells, index)
        if rows.sign > 0:
            self._arrivals(made, rows, counted)
        for names, code in _segments(group, self._names.groups):
            here = np.flatnonzero(code >= 0)
            combinations, index = grouped(code[here], hours[here])
            cells = [(names[value], hour) for value, hour in combinations]
            some = counted if len(here) == len(code) else counted.at(here)
            self._outcomes(made, rows.sign, some, cells, index)

    def _outcomes(
        self, made: Made, sign: int, rows: Countable, cells: Sequence[Cell], index: np.ndarray
    ) -> None:
        sheet = self._sheet(naming.OUTCOMES, made, rows.bins.counts, rows.bins.sums)
        with sheet.rows(cells) as mine:
            rows.add_to(sheet.counts, sheet.sums, mine[index], sign)

    def _ages(
        self, made: Made, rows: Matched, counted: Countable, cells: Sequence[Cell], index: np.ndarray
    ) -> None:
        """How old labels were when they came; of two classes by class and score, for what comes late is not alike in all."""
        bins = counted.bins
        told, size = rows.labels.columns, 2 * (len(AGES) + 1) * CELLS
        age = (told["time"] - rows.predictions.columns["time"] + told["delay"]) / MICROSECONDS
        age = age if len(age) == len(counted) else age[counted.kept]
        place = _age(age).astype(np.intp) * CELLS
        if bins.task == "binary" and bins.score is not None:
            place += counted.first * ((len(AGES) + 1) * CELLS)
            place += np.tile(coarse_cells(bins), 2)[counted.places[0].values]
        sheet = self._sheet(naming.LABEL_AGES, made, size, 0)
        with sheet.rows(cells) as mine:
            tally_to(sheet.counts, mine[index] * size + place, rows.sign)

    def _arrivals(self, made: Made, rows: Matched, counted: Countable) -> None:
        """Labels by the hour in which they came."""
        told, size = rows.labels.columns, len(ARRIVED[counted.bins.task])
        hour = (told["time"] + told["delay"]) // (HOUR * MICROSECONDS)
        combinations, index = grouped(hour if len(hour) == len(counted) else hour[counted.kept])
        sheet = self._sheet(naming.ARRIVALS, made, size, 0)
        with sheet.rows([("", one) for (one,) in combinations]) as mine:
            tally_to(sheet.counts, mine[index] * size + counted.verdict, 1)

    def _sheet(self, metric: str, made: Made, counts: int, sums: int) -> _Sheet:
        with self._lock:
            return self._sheets.setdefault((metric, made), _Sheet(counts, sums))

    def increments(self) -> list[Increment]:
        """All of it: one for each series and hour."""
        found = []
        for (metric, made), sheet in self._sheets.items():
            series = {name: self._series(metric, made, name) for name in {name for name, _ in sheet.cells}}
            found += [
                Increment(series[name], hour * HOUR, Vector(sheet.counts[i], sheet.sums[i]))
                for (name, hour), i in sheet.cells.items()
            ]
        return found

    def _series(self, metric: str, made: Made, segment: str) -> Series:
        bins = None if metric == naming.LOGGED else self._bins.of(made)
        if bins is None:
            return logged_series(self._model, made[0], segment)
        if metric == naming.LABEL_AGES:
            return age_series(self._model, made[0], bins)
        if metric == naming.ARRIVALS:
            return arrival_series(self._model, made[0], bins)
        return outcome_series(self._model, made[0], segment, bins)


def _hours(run: Run) -> np.ndarray:
    return np.asarray(run.columns["time"] // (HOUR * MICROSECONDS))


@cache
def _age_table() -> Lookup:
    """As `maturity.count_lags` counts: an age of exactly AGES[i] is counted at i."""
    edges = np.nextafter(AGES, np.inf)
    return Lookup.build([NumericBins(edges, float(edges[0]), float(edges[-1]))], [0.0])


def _age(seconds: np.ndarray) -> np.ndarray:
    return np.asarray(_age_table().index(seconds[None, :])[0])


def _by_version(change: Matched, names: Names) -> Iterator[tuple[Made, Matched]]:
    """The rows of each version and its bins."""
    codes = change.predictions.columns["group"]
    kinds: dict[Made, list[int]] = {}
    for (code,) in grouped(codes)[0]:
        group = names.groups[code]
        kinds.setdefault((group.version, group.bins), []).append(code)
    if len(kinds) == 1:
        yield next(iter(kinds)), change
        return
    for made, mine in kinds.items():
        rows = np.flatnonzero(np.isin(codes, mine))
        yield made, Matched(change.predictions.take(rows), change.labels.take(rows), change.sign)


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
    values, inverse = np.unique(numbers[plain].astype(np.float64), return_inverse=True)
    codes = codes.astype(np.int32)
    codes[plain] = len(texts) + inverse
    return frames.Coded(codes, [*texts, *map(frames.text, values.tolist())])


def _segments(codes: np.ndarray, groups: Sequence[Group]) -> Iterator[tuple[list[str], np.ndarray]]:
    """For each key of segments: the segments by name, and which of them each row is in, -1 for none."""
    if not any(group.segments for group in groups):
        return
    here = {code for (code,) in grouped(codes)[0]}
    used = [group if code in here else None for code, group in enumerate(groups)]
    for key in sorted({k for group in used if group is not None for k, _ in group.segments}):
        values = [None if g is None else dict(g.segments).get(key) for g in used]
        known = sorted({v for v in values if v is not None})
        table = np.array([-1 if v is None else known.index(v) for v in values], dtype=np.int64)
        yield [f"{key}={value}" for value in known], table[codes]


def coarse_cells(bins: OutcomeBins) -> np.ndarray:
    """intp[slots]: the coarse cell of each slot of the score; as many slots in each, and what is no value in the last."""
    assert bins.score is not None
    return np.minimum(np.arange(bins.score.size) * CELLS // bins.score.values, CELLS - 1)
