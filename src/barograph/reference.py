"""The reference: what normal looks like, frozen once. One JSON file, no pickle."""

import base64
import hashlib
import json
import zlib
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from barograph import frames
from barograph.bins import SCORE_BINS, Bins, BinSet, CategoryBins, NumericBins, category_bins, numeric_bins
from barograph.clock import iso
from barograph.environment import environment
from barograph.heuristics import fitted
from barograph.labelled import LabelledDays, label_counts
from barograph.naming import EXPECTED_ERROR, PREDICTION, SCORE
from barograph.outcomes import SUMS, OutcomeBins
from barograph.profile import Counter, Profile
from barograph.schema import Column, Schema, Violation, infer_kinds

FORMAT, FORMAT_VERSION = "barograph-reference", 1
TASKS = ("binary", "multiclass", "regression", "ranking")
HOUR = 3600
_ANSWERS = (SCORE, PREDICTION)


class ReferenceFileError(ValueError):
    """A reference file that cannot be used: damaged, of another format version, or no reference at all."""


@dataclass(frozen=True, eq=False)
class ReferenceWindows:
    """The reference by UTC clock hour.

    `starts` int64[T] epoch seconds; `rows` int64[T]; `counts` int64[T, slots] over the reference's bins. `novel[column]`
    int64[T]: values of a category that the first three quarters of the reference had not; -1 for the hours before that.
    """

    starts: np.ndarray
    rows: np.ndarray
    counts: np.ndarray
    novel: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Reference:
    """Frozen schema, bins and counts of a labelled, held-out period close to production. Made by `fit` or `load`."""

    task: str
    schema: Schema
    bins: BinSet
    baseline: Profile
    windows: ReferenceWindows | None = None
    training: Profile | None = None
    threshold: float | None = None
    columns: Mapping[str, str | None] = field(
        default_factory=dict
    )  # score, prediction, label, time: names in the frame
    segments: tuple[str, ...] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    period: tuple[float, float] | None = None  # first and last time, epoch seconds
    labelled: LabelledDays | None = None  # where `label` names a column
    training_labels: np.ndarray | None = None  # int64[classes], where `training` has the label, too

    @classmethod
    def fit(
        cls,
        frame: Any,
        *,
        task: str,
        features: Sequence[str] | Schema | None = None,
        score: str | None = None,
        prediction: str | None = None,
        threshold: float | None = None,
        label: str | None = None,
        time: str | None = None,
        training: Any = None,
        segments: Sequence[str] = (),
        importance: Mapping[str, float] | None = None,
        heuristics: Mapping[str, Callable[[Any], Any]] | None = None,
        expected_error: str | None = None,
    ) -> "Reference":
        """Freeze what normal looks like.

        `frame` is a pandas, Polars or Arrow frame, or a dict of columns: a labelled, held-out period close to production.
        `score`, `prediction`, `label`, `time` name its columns; `threshold` is the score from which an answer is positive.
        Without `features` every other column is one, with kinds read off the frame. `training` is the frame that the model
        was trained on; it tells train-serve skew from drift. Without `time`, what is ordinary must be learnt in production.
        `heuristics` are functions of a row or a batch, each of which makes a column, frozen like any other. `expected_error`
        names what an `ErrorModel` says of each row of a regression.
        Labels tell how good answers were and what scores meant: what live labels are compared with, and estimates made of.

        >>> reference = Reference.fit(
        ...     {"x": [1.0, 2.0, 3.0], "p": [0.1, 0.4, 0.9]}, task="binary", score="p", threshold=0.5
        ... )
        >>> list(reference.bins.columns)
        ['x', 'score', 'prediction']
        """
        if task not in TASKS:
            raise ValueError(f"task: {task!r} is not one of {', '.join(TASKS)}")
        data = frames.table(frame)
        if not data.rows:
            raise ValueError("frame: it has no rows; a reference needs a held-out period")
        named = {"score": score, "prediction": prediction, "label": label, "time": time}
        others = [n for n in (*named.values(), expected_error) if n] + list(segments)
        _require(data, others)
        schema = _schema(frame, data, features, others)
        answers = _answers(data, task, score, prediction, threshold)
        kinds = {PREDICTION: infer_kinds(frame, data, [prediction])[prediction]} if prediction else {}
        schema = Schema(
            schema.columns + tuple(_answer_column(n, kinds.get(n, "numeric"), task) for n in answers)
        )
        data = frames.Table({**data.columns, **answers}, data.rows)
        made, values = fitted(heuristics or {}, data)
        if expected_error is not None:
            made += (Column(EXPECTED_ERROR, "numeric", role="heuristic"),)
            values = {**values, EXPECTED_ERROR: frames.floats(data.columns[expected_error])}
        schema, data = Schema(schema.columns + made), frames.Table({**data.columns, **values}, data.rows)
        data, moments = _in_order(data, time)
        bins = _draw(data, schema, threshold, moments)
        counter = Counter(bins, schema)
        reference = cls(
            task=task,
            schema=schema,
            bins=bins,
            baseline=counter.profile(data, now=_now(moments)),
            windows=_windows(data, schema, bins, moments),
            threshold=threshold,
            columns=named,
            segments=tuple(segments),
            importance=_importance(importance, schema),
            environment=environment(),
            period=None if moments is None else (float(moments[0]), float(moments[-1])),
        )
        if label is not None and reference.outcomes is not None:
            drawn = bins.columns.get(EXPECTED_ERROR)
            expected = (drawn, data.columns[EXPECTED_ERROR]) if isinstance(drawn, NumericBins) else None
            scores, answered = map(data.columns.get, _ANSWERS)
            days = LabelledDays.of(
                reference.outcomes, moments, data.columns[label], scores, answered, expected
            )
            reference = replace(reference, labelled=days if len(days) else None)
        return reference if training is None else reference.trained_on(training)

    def trained_on(self, frame: Any) -> "Reference":
        """The same, with the frame that the model was trained on; its label counts, too, where it has one."""
        label, data = self.columns.get("label"), frames.table(frame)
        labels = None
        if self.outcomes is not None and label and label in data.columns:
            labels = label_counts(self.outcomes, data.columns[label])
        return replace(self, training=self.profile(frame), training_labels=labels)

    @cached_property
    def outcomes(self) -> OutcomeBins | None:
        """How outcomes are counted; None for a task without any."""
        return OutcomeBins.of(self) if self.task in SUMS else None

    @cached_property
    def id(self) -> str:
        """Content id: 16 hex digits, equal for equal content."""
        return _digest(self._content())

    @cached_property
    def counter(self) -> Counter:
        """Counts batches over this reference's bins."""
        return Counter(self.bins, self.schema, self.centres)

    @cached_property
    def centres(self) -> dict[str, float]:
        """Where each numeric column is dense: an edge near its median."""
        return {
            name: _centre(bins, self.baseline.column(name)[0])
            for name, bins in self.bins.columns.items()
            if isinstance(bins, NumericBins)
        }

    def profile(self, frame: Any, *, now: np.ndarray | float | None = None) -> Profile:
        """Additive counts of another frame over this reference's bins; a score or prediction goes by its name in the frame."""
        data = frames.table(frame, self.schema.features)
        score, prediction = (
            n if (n := self.columns.get(k)) in data.columns else None for k in (SCORE, PREDICTION)
        )
        answers = _answers(data, self.task, score, prediction, self.threshold)
        time = self.columns.get("time")
        if now is None:
            now = frames.times(data.columns[time]) if time and time in data.columns else 0.0
        return self.counter.profile(frames.Table({**data.columns, **answers}, data.rows), now=now)

    def check(self, rows: Any) -> list[Violation]:
        """What in `rows` (one row or a batch) breaks the schema, before a model sees it: type, missing or extra column, range,
        category, grid (a fraction in a column of whole numbers). A missing value is no violation.

        >>> reference = Reference.fit({"x": [1, 2, 3]}, task="regression")
        >>> [v.text for v in reference.check({"x": 2.5, "y": 0})]
        ["column 'y' is not in the schema", 'row 0: x is 2.5, off the grid of whole numbers']
        """
        batch = rows if frames.is_batch(rows) or isinstance(rows, frames.Table) else [rows]
        data = frames.table(batch, self.schema.features)
        features = self.schema.features
        found = [
            _column_violation(n, "missing_column", "is missing") for n in features if n not in data.columns
        ]
        extra = [n for n in data.columns if n not in self.schema]
        found += [_column_violation(n, "extra_column", "is not in the schema") for n in extra]
        for name in features:
            if name in data.columns:
                found += _value_violations(self.schema[name], self.bins.columns[name], data.columns[name])
        return found

    def save(self, path: str | Path) -> None:
        """Write one JSON file, whole or not at all."""
        path = Path(path)
        text = json.dumps({"format": FORMAT, "version": FORMAT_VERSION, "id": self.id, **self._content()})
        scratch = path.with_name(path.name + ".part")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> "Reference":
        """Read a file that `save` wrote; ReferenceFileError where it is damaged or of another format version."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ReferenceFileError(f"reference: cannot read {str(path)!r} ({error.strerror})") from error
        return cls.from_json(data, origin=repr(str(path)))

    @classmethod
    def from_json(cls, data: bytes, *, origin: str = "the data") -> "Reference":
        """Read what `to_json` gave."""
        remedy = "fit the reference again, or restore the file"
        try:
            content = json.loads(data)
        except ValueError as error:
            raise ReferenceFileError(f"reference: {origin} is no JSON ({error}); {remedy}") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ReferenceFileError(f"reference: {origin} is no barograph reference; {remedy}")
        if content.get("version") != FORMAT_VERSION:
            raise ReferenceFileError(
                f"reference: {origin} has format version {content.get('version')!r}, this barograph reads "
                f"{FORMAT_VERSION}; fit it again with this version"
            )
        stated = content.pop("id", None)
        body = {k: v for k, v in content.items() if k not in ("format", "version")}
        if stated != _digest(body):
            raise ReferenceFileError(
                f"reference: {origin} is damaged, its content is not what its id says; {remedy}"
            )
        try:
            return cls._from_content(body)
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise ReferenceFileError(f"reference: {origin} is damaged ({error!r}); {remedy}") from error

    def to_json(self) -> bytes:
        """The content of the file that `save` writes."""
        return json.dumps(
            {"format": FORMAT, "version": FORMAT_VERSION, "id": self.id, **self._content()}
        ).encode()

    def _content(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "threshold": self.threshold,
            "columns": dict(self.columns),
            "segments": list(self.segments),
            "importance": dict(self.importance),
            "environment": dict(self.environment),
            "period": None if self.period is None else list(self.period),
            "schema": self.schema.to_list(),
            "bins": self.bins.to_list(),
            "baseline": _profile_content(self.baseline),
            "training": None if self.training is None else _profile_content(self.training),
            "windows": None if self.windows is None else _windows_content(self.windows),
            "labelled": None if self.labelled is None else _days_content(self.labelled),
            "training_labels": None if self.training_labels is None else self.training_labels.tolist(),
        }

    @classmethod
    def _from_content(cls, content: Mapping[str, Any]) -> "Reference":
        bins = BinSet.from_list(content["bins"])
        training, windows, period = content["training"], content["windows"], content["period"]
        days, labels = content["labelled"], content["training_labels"]
        reference = cls(
            task=content["task"],
            schema=Schema.from_list(content["schema"]),
            bins=bins,
            baseline=_profile_from(bins, content["baseline"]),
            windows=None if windows is None else _windows_from(bins, windows),
            training=None if training is None else _profile_from(bins, training),
            threshold=content["threshold"],
            columns=content["columns"],
            segments=tuple(content["segments"]),
            importance=content["importance"],
            environment=content["environment"],
            period=None if period is None else (period[0], period[1]),
            training_labels=None if labels is None else np.array(labels, dtype=np.int64),
        )
        if days is None or reference.outcomes is None:
            return reference
        expected = bins.columns.get(EXPECTED_ERROR)
        slots = 0 if expected is None else expected.size
        return replace(reference, labelled=_days_from(reference.outcomes, slots, days))

    def describe(self) -> str:
        """One line for people."""
        when = "" if self.period is None else f", {iso(self.period[0])[:10]} to {iso(self.period[1])[:10]}"
        return f"{self.baseline.rows:,} rows{when}, {len(self.schema.features)} features, {self.task}"


def _require(data: frames.Table, names: Sequence[str]) -> None:
    absent = [name for name in names if name not in data.columns]
    if absent:
        raise ValueError(f"columns {absent} are not in the frame, which has {list(data.columns)}")


def _schema(
    frame: Any, data: frames.Table, features: Sequence[str] | Schema | None, others: Sequence[str]
) -> Schema:
    if isinstance(features, Schema):
        _require(data, features.features)
        schema = features
    else:
        names = [n for n in data.columns if n not in others] if features is None else list(features)
        _require(data, names)
        kinds = infer_kinds(frame, data, names)
        schema = Schema(tuple(Column(name, kind) for name, kind in kinds.items()))
    clash = [name for name in (SCORE, PREDICTION) if name in schema]
    if clash:
        raise ValueError(f"features: {clash} are names of the model's answers here; rename these columns")
    return schema


def _answers(
    data: frames.Table, task: str, score: str | None, prediction: str | None, threshold: float | None
) -> dict[str, frames.Column]:
    answers: dict[str, frames.Column] = {}
    if score is not None:
        answers[SCORE] = frames.floats(data.columns[score])
    if prediction is not None:
        answers[PREDICTION] = data.columns[prediction]
    elif task == "binary" and score is not None and threshold is not None:
        answers[PREDICTION] = positive(answers[SCORE], threshold)
    return answers


def positive(scores: np.ndarray, threshold: float) -> np.ndarray:
    """1.0 where a score reaches the threshold, 0.0 below it, NaN where there is none."""
    return np.where(np.isnan(scores), np.nan, (scores >= threshold).astype(np.float64))


def _answer_column(name: str, kind: str, task: str) -> Column:
    if name == SCORE:
        return Column(SCORE, "numeric", role="score")
    if task == "multiclass":
        kind = "categorical"
    elif task == "binary" and kind != "categorical":
        kind = "boolean"
    return Column(PREDICTION, kind, role="prediction")


def _in_order(data: frames.Table, time: str | None) -> tuple[frames.Table, np.ndarray | None]:
    if time is None:
        return data, None
    moments = frames.times(data.columns[time])
    bad = int(np.sum(~np.isfinite(moments)))
    if bad:
        raise ValueError(
            f"time: {bad} of {data.rows} values of {time!r} are no time; give datetimes or epoch seconds"
        )
    order = np.argsort(moments, kind="stable")
    return frames.Table({n: frames.take(v, order) for n, v in data.columns.items()}, data.rows), moments[
        order
    ]


def _now(moments: np.ndarray | None) -> np.ndarray | float:
    return 0.0 if moments is None else moments


def _draw(data: frames.Table, schema: Schema, threshold: float | None, moments: np.ndarray | None) -> BinSet:
    columns: dict[str, Bins] = {}
    for column in schema.columns:
        values = data.columns[column.name]
        if column.kind == "categorical":
            columns[column.name] = _draw_categories(values)
        else:
            score = column.role == "score"
            columns[column.name] = numeric_bins(
                column.values(values, _now(moments)),
                quantiles=SCORE_BINS if score else 28,
                points=() if threshold is None or not score else (threshold,),
                minimum=column.minimum,
                maximum=column.maximum,
            )
    return BinSet(columns, {column.name: column.role for column in schema.columns})


def _draw_categories(values: frames.Column) -> CategoryBins:
    texts = category_texts(values)
    first, last = texts[: len(texts) * 3 // 4], texts[len(texts) * 3 // 4 :]
    known = set(first)
    novelty = sum(t not in known for t in last if isinstance(t, str)) / max(len(last), 1)
    return category_bins(Tally(t for t in texts if isinstance(t, str)), novelty=novelty)


def category_texts(values: frames.Column) -> list[Any]:
    """Each value of a categorical column as text, None or INVALID."""
    if isinstance(values, frames.Coded):
        texts = [*map(frames.text, values.categories), None]
        return [texts[code] for code in values.codes.tolist()]
    return [frames.text(value) for value in frames.items(values)]


def _windows(
    data: frames.Table, schema: Schema, bins: BinSet, moments: np.ndarray | None
) -> ReferenceWindows | None:
    if moments is None:
        return None
    hours, index = np.unique(np.floor_divide(moments, HOUR).astype(np.int64), return_inverse=True)
    counts = np.zeros((len(hours), bins.size), dtype=np.int64)
    novel: dict[str, np.ndarray] = {}
    for name, column_bins in bins.columns.items():
        values = data.columns[name]
        if isinstance(column_bins, CategoryBins):
            slots = column_bins.index(values)
            novel[name] = _novel(category_texts(values), index, len(hours))
        else:
            slots = column_bins.index(schema[name].values(values, _now(moments)))
        size = column_bins.size
        flat = np.bincount(index * size + slots, minlength=len(hours) * size)
        counts[:, bins.slice(name)] = flat.reshape(len(hours), size)
    return ReferenceWindows(hours * HOUR, np.bincount(index), counts, novel)


def _novel(texts: Sequence[Any], hours: np.ndarray, total: int) -> np.ndarray:
    """By hour, how many values the first three quarters of the hours had not; -1 in those hours themselves."""
    begin = total * 3 // 4
    known = {t for t, hour in zip(texts, hours.tolist(), strict=True) if hour < begin}
    new = np.array([isinstance(t, str) and t not in known for t in texts], dtype=bool)
    counts = np.bincount(hours, weights=new, minlength=total).astype(np.int64)
    counts[:begin] = -1
    return counts


def _importance(importance: Mapping[str, float] | None, schema: Schema) -> dict[str, float]:
    unknown = [name for name in importance or {} if name not in schema]
    if unknown:
        raise ValueError(f"importance: {unknown} are not features; the model has {list(schema.features)}")
    return {name: float(weight) for name, weight in (importance or {}).items()}


def _centre(bins: NumericBins, counts: np.ndarray) -> float:
    values = counts[: bins.values]
    if not values.sum() or not len(bins.edges):
        return 0.0
    slot = int(np.searchsorted(np.cumsum(values), values.sum() / 2))
    return float(bins.edges[min(slot, len(bins.edges) - 1)])


def _column_violation(name: str, kind: str, what: str) -> Violation:
    return Violation(name, kind, None, None, f"column {name!r} {what}")


def _value_violations(column: Column, bins: Bins, values: frames.Column) -> list[Violation]:
    if isinstance(bins, CategoryBins):
        slots = bins.index(values)
        wrong = {"type": slots == bins.invalid, "category": slots == bins.unseen}
    else:
        x = column.values(values, 0.0)
        slots = bins.index(x)
        wrong = {"type": slots == bins.invalid, "range": bins.outside[slots]}
        if column.kind == "datetime" and column.part == "age":
            wrong.pop("range")  # an age is measured from the row's own time
        if column.kind in ("integer", "boolean"):
            wrong["grid"] = np.isfinite(x) & (x != np.floor(x))
    raw = list(frames.items(values)) if not isinstance(values, frames.Coded) else category_texts(values)
    return [
        Violation(column.name, kind, shorten(raw[row]), row, _say(column, bins, kind, raw[row], row))
        for kind, mask in wrong.items()
        for row in np.flatnonzero(mask).tolist()
    ]


def _say(column: Column, bins: Bins, kind: str, value: Any, row: int) -> str:
    shown = shorten(value)
    reasons = {
        "type": f"no {column.kind} value",
        "category": "never seen in the reference",
        "grid": "off the grid of whole numbers",
    }
    if kind == "range" and isinstance(bins, NumericBins):
        reasons["range"] = f"outside {bins.low:g} to {bins.high:g}"
    return f"row {row}: {column.name} is {shown}, {reasons[kind]}"


def shorten(value: Any, limit: int = 80) -> str:
    """A value as a short text for messages."""
    shown = repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}... ({len(shown)} characters)"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _profile_content(profile: Profile) -> dict[str, Any]:
    return {"rows": profile.rows, "counts": _pack(profile.counts), "sums": _pack(profile.sums)}


def _profile_from(bins: BinSet, content: Mapping[str, Any]) -> Profile:
    counts, sums = _unpack(content["counts"], (bins.size,)), _unpack(content["sums"], (bins.size,))
    return Profile(bins, int(content["rows"]), counts, sums)


def _windows_content(windows: ReferenceWindows) -> dict[str, Any]:
    novel = {name: _pack(values) for name, values in windows.novel.items()}
    packed = {name: _pack(getattr(windows, name)) for name in ("starts", "rows", "counts")}
    return {**packed, "hours": len(windows.starts), "novel": novel}


def _windows_from(bins: BinSet, content: Mapping[str, Any]) -> ReferenceWindows:
    hours = int(content["hours"])
    return ReferenceWindows(
        _unpack(content["starts"], (hours,)),
        _unpack(content["rows"], (hours,)),
        _unpack(content["counts"], (hours, bins.size)),
        {name: _unpack(packed, (hours,)) for name, packed in content["novel"].items()},
    )


def _days_content(days: LabelledDays) -> dict[str, Any]:
    held = {name: getattr(days, name) for name in ("starts", "counts", "sums", "errors")}
    return {
        "days": len(days),
        **{name: None if values is None else _pack(values) for name, values in held.items()},
    }


def _days_from(bins: OutcomeBins, slots: int, content: Mapping[str, Any]) -> LabelledDays:
    days = int(content["days"])
    shapes = {"starts": (days,), "counts": (days, bins.counts), "sums": (days, bins.sums)}
    starts, counts, sums = (_unpack(content[name], shape) for name, shape in shapes.items())
    errors = None if content["errors"] is None else _unpack(content["errors"], (days, 4, slots))
    return LabelledDays(starts, counts, sums, errors)


def _pack(values: np.ndarray) -> str:
    """An int64 or float64 array as text: its type, then base64 of its compressed little-endian bytes."""
    kind = "<f8" if values.dtype.kind == "f" else "<i8"
    return kind + ":" + base64.b64encode(zlib.compress(values.astype(kind).tobytes(), 6)).decode()


def _unpack(text: str, shape: tuple[int, ...]) -> np.ndarray:
    kind, _, packed = text.partition(":")
    if kind not in ("<f8", "<i8"):
        raise ValueError(f"array of unknown type {kind!r}")
    values = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype=kind)
    return values.astype(values.dtype.newbyteorder("=")).reshape(shape)
