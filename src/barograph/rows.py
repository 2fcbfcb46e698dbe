"""Rows out of the buffer into counts: what the flusher does with what the request path left behind.

Rows are read in small chunks, each a short hold of the interpreter's lock; the counting itself runs over all that was read,
in numpy.
"""

import math
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np

from barograph import compiled, frames
from barograph.bins import CategoryBins
from barograph.compiled import Drained
from barograph.layout import Layout
from barograph.lookup import bounded
from barograph.naming import OTHER, PREDICTION, SCORE
from barograph.reference import positive

FAR = 3600.0  # seconds: a row whose own time is further from the clock is not counted by arrival
MAX_RULES = 50
FEW = 256  # rows up to which a batch is counted as single rows
_NONE = type(None)
# Types of values of one row, for sure: those of Python, and numbers of NumPy.
SINGLE = frozenset({float, int, bool, str, _NONE}) | frozenset(
    np.dtype(code).type for code in ("?", *np.typecodes["AllInteger"], *np.typecodes["AllFloat"])
)
SIZED = frozenset({str, list, tuple, dict})  # types of answers that can be empty


class Row(NamedTuple):
    """What `Monitor.record` hands over, in this order. `features` is one row (a dict, a sequence) or a batch of any make.

    On the request path it is a plain tuple, which costs half as much to make. Of a chunk of rows, each field is a column.
    """

    features: Any
    score: Any
    prediction: Any
    id: Any
    time: Any
    segments: Any
    delivered: Any
    rule: Any
    context: Any


@dataclass(slots=True)
class Counted:
    """What some rows added up to. `bad` counts by reason what was wrong, `dropped` the rows that were not counted,
    `error` is the last exception."""

    rows: int = 0
    empty: int = 0
    counts: np.ndarray | None = None
    sums: np.ndarray | None = None
    grid: dict[str, int] = field(default_factory=dict)
    missing_columns: Tally[str] = field(default_factory=Tally)
    extra_columns: Tally[str] = field(default_factory=Tally)
    overridden: Tally[str] = field(default_factory=Tally)
    bad: Tally[str] = field(default_factory=Tally)
    dropped: Tally[str] = field(default_factory=Tally)
    error: Exception | None = None


class RowCounter:
    """Adds rows up over a layout (None: a monitor without a reference counts rows and answers only). Not thread-safe.

    `beside` names heuristics, whose values rows hold beside their features.
    """

    def __init__(self, layout: Layout | None, beside: Sequence[str] = ()) -> None:
        self._layout, self._beside = layout, tuple(beside)
        if layout is not None:
            layout.prepare()
        self._clear()

    def _clear(self) -> None:
        self._counted = Counted()
        self._blocks: list[bytes] = []
        self._singles = 0
        self._slots: list[list[bytes]] = []
        self._scores: list[Any] = []
        self._predictions: list[Any] = []
        self._computed: dict[str, list[Any]] = {name: [] for name in self._beside}

    def add(self, rows: Sequence[tuple[Any, ...]], now: float) -> None:
        """Read a chunk of rows (the fields of `Row`); `now` is the clock, in epoch seconds. Never raises.

        A row or batch that cannot be read is dropped and counted, and takes no other with it.
        """
        if not rows:
            return
        columns = Row(*zip(*rows, strict=True))
        if _all_none(columns.time) and self._all_single(columns.features):
            self._add_rows(columns, now)
            return
        singles = []
        for row in (Row(*row) for row in rows):
            try:
                if is_batch(row.features):
                    self._add_batch(row, now)
                elif self._near(row, now):
                    singles.append(row)
            except Exception as error:
                self._lose(frames.length(row.features), error)
        if singles:
            self._add_rows(Row(*zip(*singles, strict=True)), now)

    def add_packed(self, found: Drained) -> None:
        """Take rows that were read on the request path."""
        if not found.rows:
            return
        slots = np.frombuffer(found.slots, dtype=np.uint8).reshape(found.rows, -1)
        self._counted.empty += _empties(found.scores, found.predictions)
        self._counted.rows += found.rows
        self._singles += found.rows
        self._blocks.append(found.numbers)
        self._slots.append([column.tobytes() for column in slots.T])
        self._scores += found.scores
        self._predictions += found.predictions

    def _add_rows(self, columns: Row, now: float) -> None:
        """Rows together or, where one of them cannot be read, each for itself."""
        try:
            self._add_singles(columns, now)
        except Exception as error:
            if len(columns.features) == 1:
                self._lose(1, error)
                return
            for row in zip(*columns, strict=True):
                self._add_rows(Row(*zip(row)), now)

    def _lose(self, rows: int, error: Exception) -> None:
        self._counted.dropped["unreadable"] += rows
        self._counted.error = error

    def take(self) -> Counted:
        """What was added since the last take; what could not be counted is named in its `error`."""
        counted = self._counted
        try:
            if self._layout is not None:
                self._count(self._layout)
        except Exception as error:
            counted.error = error
        finally:
            self._clear()
        return counted

    # One row at a time.

    def _all_single(self, features: Sequence[Any]) -> bool:
        """Whether each holds one row, for sure. One value tells: a dict of columns holds no single value."""
        if self._layout is None:
            return False
        try:
            return set(map(type, map(self._layout.one, features))) <= SINGLE
        except Exception:  # a row that is no dict, or lacks that feature
            return False

    def _add_singles(self, columns: Row, now: float) -> None:
        """What may raise comes first, so that rows are counted as a whole or not at all."""
        layout, counted = self._layout, self._counted
        empty = _empties(columns.score, columns.prediction)
        rules = _overriding(columns.rule, columns.delivered, columns.prediction)
        if layout is not None and layout.features:
            self._add_features(layout, columns.features, now)
        counted.rows += len(columns.features)
        counted.empty += empty
        self._scores += columns.score
        self._predictions += columns.prediction
        for name, values in self._computed.items():
            values.extend(row.get(name) if type(row) is dict else None for row in columns.features)
        self._count_rules(rules)

    def _add_features(self, layout: Layout, features: Sequence[Any], now: float) -> None:
        shapeless = 0
        if set(map(type, features)) != {dict}:
            records = [as_record(layout, row) for row in features]
            shapeless = records.count(None)
            features = [record or {} for record in records]
        try:
            found = layout.read(features)
        except KeyError:
            found = None
        width = len(layout.features) + len(self._beside)
        odd = found is None or sum(map(len, features)) != len(features) * width
        if found is None:
            nothing = dict.fromkeys(layout.features)
            found = layout.read([{**nothing, **row} for row in features])
        numbers, categories, others = found
        slots = [column.of(values) for column, values in zip(layout.slots, categories, strict=True)]
        rest = [
            layout.schema[n].values(list(values), now)
            for n, values in zip(layout.others, others, strict=True)
        ]
        missing, extra = _odd_columns(layout, features) if odd else ([], [])
        # From here on nothing raises.
        self._singles += len(features)
        self._blocks.append(numbers)
        self._slots.append(slots)
        counts, sums = self._vectors(layout)
        for name, x in zip(layout.others, rest, strict=True):
            where = layout.bins.slice(name)
            layout.counter.count(name, x, counts[where], sums[where])
        if shapeless:
            self._counted.bad["shape"] += shapeless
        self._counted.missing_columns.update(missing)
        self._counted.extra_columns.update(extra)

    def _count_rules(self, rules: Sequence[str]) -> None:
        overridden = self._counted.overridden
        for name in rules:
            known = name in overridden or len(overridden) < MAX_RULES
            overridden[name if known else OTHER] += 1

    def _near(self, row: Row, now: float) -> bool:
        """Whether the own time of a single row is near the clock."""
        if row.time is None:
            return True
        moment = self._moment(row.time)
        if moment is not None and abs(moment - now) > FAR:
            self._counted.dropped["time"] += 1
            return False
        return True

    def _moment(self, time: Any) -> float | None:
        if isinstance(time, str):
            try:
                time = datetime.fromisoformat(time)
            except ValueError:
                self._counted.bad["time"] += 1
                return None
        if isinstance(time, date):
            if isinstance(time, datetime) and time.tzinfo is None:
                self._counted.bad["naive_time"] += 1
            return frames.timestamp(time)
        seconds = time if type(time) is float else float(frames.floats([time])[0])
        if not math.isfinite(seconds):
            self._counted.bad["time"] += 1
            return None
        return seconds

    # Batches.

    def _add_batch(self, row: Row, now: float) -> None:
        names = self._layout.features if self._layout else ()
        try:
            data = frames.table(row.features, names)
        except (ValueError, TypeError):
            self._counted.bad["batch"] += 1
            self._counted.dropped["batch"] += frames.length(row.features)
            return
        if not data.rows:
            self._counted.bad["empty_batch"] += 1
            return
        keep = self._near_rows(row.time, data.rows, now)
        given = (row.score, row.prediction, row.delivered, row.rule)
        answers = [self._answers(values, data.rows) for values in given]
        if keep is not None:
            data = frames.Table({n: frames.take(v, keep) for n, v in data.columns.items()}, int(keep.sum()))
            answers = [None if v is None else frames.take(v, keep) for v in answers]
        lists = [[None] * data.rows if v is None else list(frames.items(v)) for v in answers]
        if data.rows <= FEW:
            self._add_as_rows(data, lists, now)
        elif data.rows:
            try:
                self._count_batch(data, lists, now)
            except Exception:  # for one value, perhaps
                self._add_as_rows(data, lists, now)

    def _add_as_rows(self, data: frames.Table, answers: Sequence[list[Any]], now: float) -> None:
        """A batch as rows: a small one, of which setting up the counting costs more than they do, or one that cannot be read."""
        values = zip(*map(frames.items, data.columns.values()), strict=True)
        features = [dict(zip(data.columns, row, strict=True)) for row in values] or [{}] * data.rows
        nothing = [None] * data.rows
        score, prediction, delivered, rule = answers
        columns = (features, score, prediction, nothing, nothing, nothing, delivered, rule, nothing)
        if data.rows:
            self._add_rows(Row(*map(tuple, columns)), now)

    def _count_batch(self, data: frames.Table, answers: Sequence[list[Any]], now: float) -> None:
        """As with rows, what may raise comes first."""
        counted, layout = self._counted, self._layout
        score, prediction, delivered, rule = answers
        empty, rules = _empties(score, prediction), _overriding(rule, delivered, prediction)
        if layout is not None and layout.features:
            features = {n: v for n, v in data.columns.items() if n in layout.features}
            batch = layout.counter.profile(frames.Table(features, data.rows), now=now)
            grid = {n: frames.floats(features[n]) for _, n in layout.whole if n in features}
            counts, sums = self._vectors(layout)
            for name in layout.features:
                where = layout.bins.slice(name)
                counts[where] += batch.counts[where]
                sums[where] += batch.sums[where]
            for name, x in grid.items():
                self._add_grid(name, x)
            counted.missing_columns.update({n: data.rows for n in layout.features if n not in features})
            counted.extra_columns.update({n[:80]: data.rows for n in data.columns if n not in layout.schema})
        counted.rows += data.rows
        counted.empty += empty
        self._scores += score
        self._predictions += prediction
        for name, values in self._computed.items():
            values.extend(frames.items(data.columns[name]) if name in data.columns else [None] * data.rows)
        self._count_rules(rules)

    def _answers(self, values: Any, rows: int) -> Any:
        """Answers of a batch, one for each row, or None where their number is another."""
        if values is None:
            return None
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or np.ndim(values) == 0:
            return [values] * rows
        try:
            column = frames.column(frames.flat(values))
            if len(column) == rows:
                return column
        except Exception:  # whatever else a model may answer
            pass
        self._counted.bad["length"] += 1
        return None

    def _near_rows(self, times: Any, rows: int, now: float) -> np.ndarray | None:
        """bool[rows] of the rows near the clock, or None where all are."""
        values = self._answers(times, rows)
        if values is None:
            return None
        self._counted.bad["naive_time"] += frames.naive_times(times)
        moments = frames.times(values)
        unknown = ~np.isfinite(moments)
        self._counted.bad["time"] += int(unknown.sum())
        far = ~unknown & (np.abs(np.where(unknown, now, moments) - now) > FAR)
        if not far.any():
            return None
        self._counted.dropped["time"] += int(far.sum())
        return np.asarray(~far)

    # Counting.

    def _vectors(self, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
        counted = self._counted
        if counted.counts is None or counted.sums is None:
            counted.counts, counted.sums = (
                np.zeros(layout.bins.size, dtype=np.int64),
                np.zeros(layout.bins.size),
            )
        return counted.counts, counted.sums

    def _count(self, layout: Layout) -> None:
        if not self._counted.rows:
            return
        counts, sums = self._vectors(layout)
        if self._singles and layout.numbers:
            self._count_numbers(layout, counts, sums)
        if self._singles and layout.categories:
            self._count_categories(layout, counts)
        for name, values in self._computed.items():
            self._add_values(layout, name, values, 0.0)
        self._count_answers(layout)  # last: an odd answer costs no feature

    def _count_numbers(self, layout: Layout, counts: np.ndarray, sums: np.ndarray) -> None:
        flat, columns = np.frombuffer(b"".join(self._blocks), dtype=np.float64), len(layout.numbers)
        if compiled.available():
            for i, (name, where) in enumerate(layout.places):
                table, place = layout.counter.table(name)
                table.count(place, flat, counts[where], sums[where], first=i, step=columns)
        else:
            self._count_matrix(layout, flat.reshape(-1, columns), counts, sums)
        for position, name in layout.whole:
            self._add_grid(name, flat[position::columns])

    def _count_matrix(self, layout: Layout, rows: np.ndarray, counts: np.ndarray, sums: np.ndarray) -> None:
        """All columns at once: a call of NumPy for each costs more than a few hundred values."""
        matrix = np.ascontiguousarray(rows.T)
        lookup, starts = layout.lookup
        slots = (lookup.index(matrix) + starts).ravel()
        counts += np.bincount(slots, minlength=len(counts))
        weights = bounded(np.bincount(slots, weights=matrix.ravel(), minlength=len(sums)))
        sums[layout.summed] += weights[layout.summed]

    def _count_categories(self, layout: Layout, counts: np.ndarray) -> None:
        columns = (chunk[i] for i in range(len(layout.categories)) for chunk in self._slots)
        slots = np.frombuffer(b"".join(columns), dtype=np.uint8).reshape(len(layout.categories), -1)
        counts += np.bincount((slots + layout.category_starts).ravel(), minlength=len(counts))

    def _count_answers(self, layout: Layout) -> None:
        scores = _read(frames.floats, self._scores) if SCORE in layout.bins.columns else None
        predictions: Any = self._predictions
        if scores is not None:
            self._add_values(layout, SCORE, scores, 0.0)
            if layout.task == "binary" and layout.threshold is not None:
                predictions = _derived(predictions, scores, layout.threshold)
        if PREDICTION in layout.bins.columns:
            self._add_values(layout, PREDICTION, predictions, 0.0)

    def _add_values(self, layout: Layout, name: str, values: Any, now: float) -> None:
        counts, sums = self._vectors(layout)
        bins, where = layout.bins.columns[name], layout.bins.slice(name)
        if isinstance(bins, CategoryBins):
            counts[where] += np.bincount(_read(bins.index, values), minlength=bins.size)
        else:
            x = _read(lambda given: layout.schema[name].values(given, now), values)
            layout.counter.count(name, x, counts[where], sums[where])

    def _add_grid(self, name: str, values: np.ndarray) -> None:
        off = int(np.sum(np.isfinite(values) & (values != np.floor(values))))
        if off:
            self._counted.grid[name] = self._counted.grid.get(name, 0) + off


def _read(read: Callable[[Any], np.ndarray], values: Any) -> np.ndarray:
    """What `read` makes of values. One that raises when it is looked at is invalid, and takes no other with it."""
    try:
        return read(values)
    except Exception:
        return np.concatenate([_read_one(read, value) for value in values])


def _read_one(read: Callable[[Any], np.ndarray], value: Any) -> np.ndarray:
    try:
        return read([value])
    except Exception:
        return read([frames.INVALID])


def _odd_columns(layout: Layout, rows: Sequence[Mapping[Any, Any]]) -> tuple[list[str], list[str]]:
    """The columns that rows lack, and those that they have too many, each as often as it is so."""
    missing: list[str] = []
    extra: list[str] = []
    for row in rows:
        lacking = [name for name in layout.features if name not in row]
        if lacking or len(row) != len(layout.features):
            missing += lacking
            extra += [short(name) for name in row if name not in layout.schema]
    return missing, extra


def _overriding(rules: Sequence[Any], delivered: Sequence[Any], predictions: Sequence[Any]) -> Sequence[str]:
    """For each answer that post-processing replaced the name of the rule that did."""
    if _all_none(rules) and _all_none(delivered):
        return ()
    given = zip(rules, delivered, predictions, strict=True)
    return [
        "unnamed" if rule is None else short(rule)
        for rule, answer, prediction in given
        if rule is not None or (answer is not None and _differ(answer, prediction))
    ]


def short(name: Any) -> str:
    """A name that a caller made up, as a text of 80 characters at most; `other` where it cannot be written."""
    try:
        return str(name)[:80]
    except Exception:
        return OTHER


def _derived(predictions: list[Any], scores: np.ndarray, threshold: float) -> Any:
    """Predictions as given, and where none was given what the score says."""
    if _NONE not in set(map(type, predictions)):
        return predictions
    derived = positive(scores, threshold).tolist()
    return [d if p is None else p for p, d in zip(predictions, derived, strict=True)]


def as_record(layout: Layout, row: Any) -> dict[str, Any] | None:
    """A row of any make by the names of its columns; None where its shape is another."""
    if row is None:
        return {}
    record = frames.record(row)
    if record is not None:
        return record
    if isinstance(row, (str, bytes, set, frozenset)):
        return None
    values = row.tolist() if isinstance(row, np.ndarray) else row
    try:
        return dict(zip(layout.features, values, strict=True))
    except (TypeError, ValueError):
        return None


def is_batch(features: Any) -> bool:
    if type(features) is dict:
        first = next(iter(features.values()), None)
        return (
            isinstance(first, (list, tuple, np.ndarray)) or hasattr(first, "to_numpy")
        ) and frames.is_batch(features)
    return features is not None and frames.is_batch(features)


def _all_none(values: Sequence[Any]) -> bool:
    try:
        return values.count(None) == len(values)
    except Exception:  # a value whose comparison raises
        return False


def _empties(scores: Sequence[Any], predictions: Sequence[Any]) -> int:
    """How many answers hold nothing: no score and no prediction, or an empty one."""
    kinds = set(map(type, predictions))
    if kinds.isdisjoint(SIZED) and (_NONE not in kinds or _NONE not in set(map(type, scores))):
        return 0
    return sum(
        _is_empty(p) and (p is not None or s is None) for s, p in zip(scores, predictions, strict=True)
    )


def _is_empty(prediction: Any) -> bool:
    """No answer: None, or a text or list without content."""
    try:
        return prediction is None or (isinstance(prediction, (str, list, tuple, dict)) and not prediction)
    except Exception:  # a type of the caller's own, whose length raises
        return False


def _differ(delivered: Any, prediction: Any) -> bool:
    try:
        return bool(delivered != prediction)
    except Exception:  # arrays, or a type whose comparison raises
        return True
