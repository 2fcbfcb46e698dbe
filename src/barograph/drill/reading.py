"""Recorded traffic as rows: from files, or from the log that the service wrote."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph import frames
from barograph.drill.rows import Rows
from barograph.history.named import Named
from barograph.history.outcomes import whole
from barograph.history.steps import moments
from barograph.labels.rows import FEEDBACK_COLUMNS, outcomes, times
from barograph.logs import Log, feature_column
from barograph.reference import Reference
from barograph.tables import ImportFailed, read
from barograph.tiles import DAY

LEAST_DAYS = 7  # of rows before the fault: fewer tell little of what is usual
Moved = Callable[[int], object]


class DrillError(ValueError):
    """Drills that cannot be held: what is wrong, and the remedy."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a source say what, beside those that a reference names."""

    named: Named = field(default_factory=Named)
    duration: str | None = None
    events: str | None = None


def from_files(source: str, reference: Reference, columns: Columns, moved: Moved = lambda _: None) -> Rows:
    """The rows of files or URLs (CSV, Parquet, NDJSON; `*` for many); DrillError where they cannot be used."""
    tables = []
    try:
        for table in read(source):
            tables.append(table)
            moved(len(table))
        if not sum(map(len, tables)):
            raise DrillError(f"{source!r} holds no rows; give logged predictions")
        table = pa.concat_tables(tables, promote_options="permissive")
        named = columns.named.within(table.column_names, reference)
    except ImportFailed as error:
        raise DrillError(str(error)) from None
    for option, name in (("duration", columns.duration), ("events", columns.events)):
        if name is not None and name not in table.column_names:
            raise DrillError(
                f"--{option}: there is no column {name!r}; there are {', '.join(table.column_names)}"
            )
    assert named.time is not None
    when = moments(table[named.time])
    label = None if named.label is None else _answers(table[named.label])
    came = None if label is None else when + DAY
    if label is not None and named.label_time is not None:
        came = moments(table[named.label_time])
    ids = np.array([f"row-{i}" for i in range(len(table))], dtype=object)
    return _ordered(
        Rows(
            _features(table, reference, lambda name: name),
            time=when,
            id=ids if named.id is None else np.array(table[named.id].cast(pa.string()).to_pylist(), dtype=object),
            score=None if named.score is None else frames.floats(frames.column(table[named.score])),
            prediction=None if named.prediction is None else _answers(table[named.prediction]),
            label=label,
            label_time=None if came is None else np.where(np.isfinite(came), came, np.inf),
            duration=None if columns.duration is None else _numbers(table, columns.duration),
            events=None if columns.events is None else np.nan_to_num(_numbers(table, columns.events)).astype(np.int64),
        )
    )  # fmt: skip


def from_log(log: Log, model: str, reference: Reference, moved: Moved = lambda _: None) -> Rows:
    """The predictions of a model in its log, with their labels."""
    tables = []
    for table in log.read("predictions", model):
        tables.append(table)
        moved(len(table))
    if not sum(map(len, tables)):
        raise DrillError(f"{model}: the log holds no predictions of it; give --log, or rows in a file")
    table = pa.concat_tables(tables, promote_options="permissive")
    when = times(pc.coalesce(table["time"], table["arrival"])) / 1e6
    ids = np.array(
        [f"row-{i}" if v is None else v for i, v in enumerate(table["id"].to_pylist())], dtype=object
    )
    label, came = _labels(log, model, ids)
    text = table["prediction_text"].null_count < len(table)
    prediction = table["prediction_text" if text else "prediction"]
    return _ordered(
        Rows(
            _features(table, reference, feature_column),
            time=when, id=ids,
            score=None if table["score"].null_count == len(table) else frames.floats(frames.column(table["score"])),
            prediction=None if prediction.null_count == len(table) else _answers(prediction),
            label=label, label_time=came,
        )
    )  # fmt: skip


def _labels(log: Log, model: str, ids: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The latest label of each id, and when it came; None where no label is logged."""
    tables = [outcomes(table) for table in log.read("feedback", model, FEEDBACK_COLUMNS)]
    if not sum(map(len, tables)):
        return None, None
    table = pa.concat_tables(tables)
    text = table["label_text"].null_count < len(table)
    values = _answers(table["label_text" if text else "label"])
    came = times(pc.coalesce(table["time"], table["arrival"])) / 1e6
    order = np.argsort(came, kind="stable")
    last = dict(
        zip(np.array(table["id"].to_pylist(), dtype=object)[order].tolist(), order.tolist(), strict=True)
    )
    at = np.array([last.get(name, -1) for name in ids.tolist()])
    label = np.append(values, np.array([None if text else np.nan], dtype=values.dtype))
    return label[at], np.append(came, np.inf)[at]


def _features(
    table: pa.Table, reference: Reference, column_of: Callable[[str], str]
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for column in reference.schema.columns:
        if column.name not in reference.schema.features:
            continue
        name = column_of(column.name)
        if name not in table.column_names:
            raise DrillError(
                f"--reference: its feature {name!r} is no column of the rows, which have "
                f"{', '.join(table.column_names)}; give the rows of this model"
            )
        if column.kind == "datetime":
            found[column.name] = frames.times(frames.column(table[name]))
        elif column.numbers:
            found[column.name] = frames.floats(frames.column(table[name]))
        else:
            found[column.name] = np.array(table[name].to_pylist(), dtype=object)
    return found


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return frames.floats(frames.column(table[name]))


def _answers(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers as float64, texts as objects."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    return frames.floats(frames.column(whole(column)))


def _ordered(rows: Rows) -> Rows:
    """In order of time; rows without one are left out."""
    known = np.flatnonzero(np.isfinite(rows.time))
    if not len(known):
        raise DrillError("--time: no row has a time; name a column of times (epoch seconds, or ISO 8601)")
    return rows.take(known[np.argsort(rows.time[known], kind="stable")])


def moment_of(rows: Rows, days: float) -> float:
    """When a fault comes: the busiest hour of the day, so many days before the last row; DrillError where too little is before.

    Epoch seconds, a whole hour.
    """
    hours = np.bincount((rows.time % DAY // 3600).astype(np.int64), minlength=24)
    last = rows.time[-1] - days * DAY
    start = last // DAY * DAY + int(np.argmax(hours)) * 3600
    start = start if start <= last else start - DAY
    before = (start - rows.time[0]) / DAY
    if before < LEAST_DAYS:
        span = (rows.time[-1] - rows.time[0]) / DAY
        raise DrillError(
            f"the rows span {span:.1f} days; {LEAST_DAYS} are needed before a fault and {days:g} after it: give more, or "
            "fewer --days"
        )
    return float(start)
