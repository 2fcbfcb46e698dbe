"""Recurring errors of a model: the ways in which its task can be wrong, the groups that are found, and their rows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from barograph.errors.axes import Axis, axes
from barograph.errors.chance import ENOUGH, Rows
from barograph.errors.reading import ErrorsError, Labelled, with_columns
from barograph.errors.search import Condition, Found, Kind, TooShort, search

FALSE_POSITIVE, FALSE_NEGATIVE = "false positive", "false negative"
TOO_HIGH, TOO_LOW = "too high", "too low"
TAIL = 0.95  # of residuals' sizes, past which one is an error where no limit is given
KNOWN = 0.9  # share of rows that must have a score, for scores to say anything,
LEAST, FIRST = 10, 1_000  # and how many of the first of them must differ
MOST_CONFUSIONS = 20  # pairs of classes that are looked at, the most frequent


@dataclass(frozen=True, eq=False)
class Group:
    """Rows in which a model errs again and again.

    `errors` of `rows` are of this kind, `elsewhere` is the rate in other rows of about the same scores; it is there in
    `periods[0]` of `periods[1]` spans of time. `p` is the probability of as much by chance, over all that was looked at.
    `positions` are those of the errors among the labelled rows.
    """

    kind: str
    text: str
    rows: int
    errors: int
    elsewhere: float
    periods: tuple[int, int]
    p: float
    positions: np.ndarray

    @property
    def rate(self) -> float:
        """The share of its rows that are wrong."""
        return self.errors / self.rows


def recurring(data: Labelled, *, limit: float | None = None) -> list[Group]:
    """Groups of errors that recur; those with most errors first. ErrorsError where the time is too short to say.

    Binary: false positives among what was predicted positive, false negatives among what was predicted negative. Multiclass:
    the true class among what was predicted as another. Regression: predictions too high or too low by more than `limit`, or by
    more than 95 % of all are off.
    """
    columns = axes(data.table)
    try:
        found = search(columns, list(kinds(data, limit)), data.times)
    except TooShort as error:
        raise ErrorsError(str(error)) from None
    return [_group(columns, one) for one in found]


def kinds(data: Labelled, limit: float | None = None) -> Iterator[Kind]:
    """The ways to be wrong that have errors enough."""
    if data.task == "regression":
        every = _residuals(data, limit)
    else:
        every = _binary(data) if data.task == "binary" else _confusions(data)
    for kind in every:
        if kind.rows.wrong.sum() >= 2 * ENOUGH and not kind.rows.wrong.all():
            yield kind


def _binary(data: Labelled) -> Iterator[Kind]:
    for name, answer in ((FALSE_POSITIVE, 1.0), (FALSE_NEGATIVE, 0.0)):
        rows = np.flatnonzero(data.predicted == answer)
        yield Kind(name, _rows(data, rows, data.true[rows] != answer), falling=answer == 1.0)


def _confusions(data: Labelled) -> Iterator[Kind]:
    wrong = data.predicted != data.true
    pairs, n = np.unique(
        np.stack([data.predicted[wrong], data.true[wrong]]).astype(str), axis=1, return_counts=True
    )
    for i in np.argsort(-n, kind="stable")[:MOST_CONFUSIONS].tolist():
        answer, truth = pairs[:, i].tolist()
        rows = np.flatnonzero(data.predicted == answer)
        yield Kind(f"{answer}, was {truth}", _rows(data, rows, data.true[rows] == truth))


def _rows(data: Labelled, at: np.ndarray, wrong: np.ndarray) -> Rows:
    """With their scores, where nearly all have one, and not one of a few values."""
    score = data.score[at]
    known = score[np.isfinite(score)]
    told = len(known) > KNOWN * len(at) and len(np.unique(known[:FIRST])) >= LEAST
    return Rows(at, wrong, score if told else None)


def _residuals(data: Labelled, limit: float | None) -> Iterator[Kind]:
    residual = data.predicted - data.true
    line = float(np.quantile(np.abs(residual), TAIL)) if limit is None else limit
    rows = np.arange(len(residual))
    yield Kind(TOO_HIGH, Rows(rows, residual > line))
    yield Kind(TOO_LOW, Rows(rows, residual < -line))


def _group(columns: Sequence[Axis], one: Found) -> Group:
    text = " and ".join(_text(columns[c.axis], c) for c in sorted(one.conditions, key=lambda c: c.axis))
    return Group(
        one.kind, text, len(one.rows), len(one.errors), one.elsewhere, one.periods, one.p, one.errors
    )


def _text(axis: Axis, c: Condition) -> str:
    if c.first >= axis.ranges:
        text = axis.texts[c.first - axis.ranges]
        return f"{axis.name} is {text}" if axis.ranges else f"{axis.name} = {text}"
    if axis.discrete:
        low, high = (_number(axis.edges[i]) for i in (c.first, c.last))
        return f"{axis.name} = {low}" if low == high else f"{axis.name} = {low} to {high}"
    bounds = [f">= {_number(c.low)}"] * (c.low > -math.inf) + [f"< {_number(c.high)}"] * (c.high < math.inf)
    return " and ".join(f"{axis.name} {bound}" for bound in bounds) or f"{axis.name} is known"


def _number(value: float) -> str:
    return f"{value:.12g}"


def retraining(data: Labelled, groups: Sequence[Group]) -> pa.Table:
    """The wrong rows of groups: all columns of the log, `label`, `error` (its kind) and `group` (what the row is part of)."""
    rows = np.concatenate([np.zeros(0, dtype=np.intp), *(g.positions for g in groups)])
    order = np.argsort(rows, kind="stable")
    names = [[getattr(g, what) for g in groups for _ in range(len(g.positions))] for what in ("kind", "text")]
    columns = [
        (name, pa.array(texts, pa.string()).take(order))
        for name, texts in zip(("error", "group"), names, strict=True)
    ]
    return with_columns(data.table.take(rows[order]), columns)


def save(table: pa.Table, path: Path) -> None:
    """Write a Parquet file, whole or not at all."""
    scratch = path.with_name(f"{path.name}.part")
    pq.write_table(table, scratch, compression="zstd")
    scratch.replace(path)
