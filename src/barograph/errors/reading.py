"""Logged predictions that have a label: every column of the log, what was predicted, what became true, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph.labels.keys import keys
from barograph.labels.rows import FEEDBACK_COLUMNS, floats, outcomes, times
from barograph.logs import Log

TASKS = ("binary", "multiclass", "regression")


class ErrorsError(ValueError):
    """Errors that cannot be looked for: what is wrong, and the remedy."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """n rows of a log with their labels, in order of time.

    `table` has the columns of the log and `label`; `times` float64[n] epoch seconds; `predicted` and `true` are float64[n]
    for binary (0 or 1) and regression, and object[n] of texts for multiclass.
    """

    task: str
    table: pa.Table
    times: np.ndarray
    predicted: np.ndarray
    true: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """float64[n]: the scores, NaN where none was logged."""
        if "score" not in self.table.column_names:
            return np.full(len(self), np.nan)
        return floats(self.table["score"])

    def __len__(self) -> int:
        return len(self.times)


def read(
    log: Log,
    model: str,
    *,
    version: str | None = None,
    since: float | None = None,
    until: float | None = None,
    task: str | None = None,
    threshold: float = 0.5,
) -> Labelled:
    """Join a model's predictions from `since` to before `until` (epoch seconds) with their labels; of one version, or of all.

    The first prediction of an id counts, and the last label by its own time. Where no answer was logged, it is the score
    against `threshold`. `task` is told by the answers and labels, unless given. ErrorsError where there is nothing to join.
    """
    predictions = _predictions(log, model, version, since, until)
    labels = _labels(log, model)
    made, told = keys(predictions["id"], first=True), keys(labels["id"], first=True)
    first = _one_each(made, times(predictions["time"]), last=False)
    latest = _one_each(told, times(labels["time"]), times(labels["arrival"]), last=True)
    known = told[latest]
    at = np.minimum(np.searchsorted(known, made[first]), max(len(known) - 1, 0))
    here = known[at] == made[first] if len(known) else np.zeros(len(first), dtype=bool)
    rows, labels = first[here], labels.take(latest[at[here]])
    order = np.lexsort((rows, times(predictions["time"])[rows]))
    table, labels = predictions.take(rows[order]), labels.take(order)
    return _labelled(table, labels, model, task, threshold)


def _predictions(
    log: Log, model: str, version: str | None, since: float | None, until: float | None
) -> pa.Table:
    tables = []
    for table in log.read("predictions", model):
        keep = pc.is_valid(table["id"])
        if version is not None:
            keep = pc.and_(keep, pc.equal(table["version"], version))
        if since is not None:
            keep = pc.and_(keep, pc.greater_equal(table["time"], _moment(since)))
        if until is not None:
            keep = pc.and_(keep, pc.less(table["time"], _moment(until)))
        tables.append(table.filter(keep))
    if not sum(map(len, tables)):
        raise ErrorsError(
            f"{model}: no prediction with an id is in the log then; record(..., id=...) names them"
        )
    return pa.concat_tables(tables, promote_options="default")


def _labels(log: Log, model: str) -> pa.Table:
    tables = list(log.read("feedback", model, FEEDBACK_COLUMNS))
    if not tables:
        raise ErrorsError(
            f"{model}: no label is in the log; tell them with monitor.feedback or barograph labels import"
        )
    whole = pa.concat_tables(tables)
    whole = outcomes(whole)
    return whole.set_column(
        whole.column_names.index("time"), "time", pc.coalesce(whole["time"], whole["arrival"])
    )


def _one_each(found: np.ndarray, *by: np.ndarray, last: bool) -> np.ndarray:
    """intp[]: of the rows of each key the first or the last by `by`; in order of keys."""
    order = np.lexsort((*reversed(by), found))
    ordered = found[order]
    differs = ordered[1:] != ordered[:-1]
    edge = np.append(differs, True) if last else np.append(True, differs)
    return np.asarray(order[edge[: len(order)]])


def _moment(seconds: float) -> pa.Scalar:
    return pa.scalar(datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds), pa.timestamp("us", "UTC"))


def _labelled(table: pa.Table, labels: pa.Table, model: str, task: str | None, threshold: float) -> Labelled:
    score, answer, label = (floats(c) for c in (table["score"], table["prediction"], labels["label"]))
    texts = [c.null_count < len(c) for c in (table["prediction_text"], labels["label_text"])]
    if task is None:
        task = (
            "multiclass" if any(texts) else "binary" if _binary(answer) and _binary(label) else "regression"
        )
    if task == "multiclass":
        predicted = _texts(table["prediction_text"], answer)
        true = _texts(labels["label_text"], label)
        known = np.array(
            [p is not None and t is not None for p, t in zip(predicted, true, strict=True)], dtype=bool
        )
    else:
        predicted, true = answer, label
        if task == "binary":
            predicted = np.where(np.isnan(answer) & ~np.isnan(score), score >= threshold, answer)
        known = np.isfinite(predicted) & np.isfinite(true)
    if not known.any():
        raise ErrorsError(
            f"{model}: none of {len(table):,} predictions in the log has an answer and a label yet"
        )
    told = pa.array(true, pa.string() if task == "multiclass" else pa.float64(), from_pandas=True)
    rows = np.flatnonzero(known)
    whole = table.append_column(_free(table, "label"), told).take(rows)
    return Labelled(task, whole, times(whole["time"]) / 1e6, predicted[rows], true[rows])


def _free(table: pa.Table, name: str) -> str:
    """A name that no column has yet."""
    while name in table.column_names:
        name += "_"
    return name


def _binary(values: np.ndarray) -> bool:
    return bool(np.all(np.isnan(values) | (values == 0) | (values == 1)))


def _texts(texts: pa.ChunkedArray, numbers: np.ndarray) -> np.ndarray:
    """object[n]: classes that came as texts, or as numbers; None where there is none."""
    plain = [None if np.isnan(x) else f"{x:g}" for x in numbers.tolist()]
    found = np.empty(len(plain), dtype=object)
    found[:] = [n if t is None else t for t, n in zip(texts.to_pylist(), plain, strict=True)]
    return found


def with_columns(table: pa.Table, columns: Sequence[tuple[str, pa.Array]]) -> pa.Table:
    """The table with more columns, each under a name that is free."""
    for name, values in columns:
        table = table.append_column(_free(table, name), values)
    return table
