"""Which predictions a label is of, and what that changes: a pure function of sorted runs.

A batch of new predictions and new labels is matched with all that is known, both ways: a label may come before its prediction,
twice, corrected, or late by months. What was counted for the earlier label of a corrected one is taken back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from barograph.labels.runs import Run

NONE = -1  # the code of no text
LATEST = (
    "time",
    "delay",
)  # of labels of one id the last one counts, by its own time, then by how much later it came


@dataclass(frozen=True, eq=False)
class Matched:
    """Predictions with a label, row by row: rows of one run of predictions, what a label says of each, and +1 or -1."""

    predictions: Run
    labels: Run
    sign: int

    def __len__(self) -> int:
        return len(self.predictions)


@dataclass(frozen=True, eq=False)
class Match:
    """What a batch changes. `tally` says how many predictions and labels there were, and of these how many of each kind.

    `matched`: those that found their prediction; `early`: those whose prediction came only now; `corrected`, `repeated`,
    `outdated`: those of an id that had one, with another value, the same one, or of an earlier time; `waiting`: those whose
    prediction is not known (yet).
    """

    changes: tuple[Matched, ...]
    tally: Mapping[str, int] = field(default_factory=dict)


def match(known_predictions: Sequence[Run], known_labels: Sequence[Run], fresh: Run, labels: Run) -> Match:
    """Match new predictions (see `unknown`) and labels, each with all that is known and with each other."""
    before = latest(known_labels, labels.keys)
    newer = _newer(labels, before)
    differs = newer & ~_same(labels, before)
    tally = {
        "predictions": len(fresh),
        "labels": len(labels),
        "outdated": len(labels) - int(np.count_nonzero(newer)),
        "repeated": int(np.count_nonzero(newer)) - int(np.count_nonzero(differs)),
        "corrected": int(np.count_nonzero(differs & before.there)),
    }
    changes, found = _changes(known_predictions, labels, before, differs)
    rows = labels.find(fresh.keys)
    here = np.flatnonzero(rows >= 0)
    found[rows[here]] = True
    if known_labels:
        first = labelled(fresh, latest([*known_labels, labels], fresh.keys))
    else:
        first = Matched(fresh.take(here), labels.take(rows[here]), +1)
    came = np.count_nonzero(found & ~before.there)
    tally |= {
        "matched": int(came),
        "waiting": int(np.count_nonzero(~before.there)) - int(came),
        "early": int(np.count_nonzero(_known(known_labels, fresh.keys))),
    }
    return Match(tuple(c for c in (*changes, first) if len(c)), tally)


def unknown(known: Sequence[Run], predictions: Run) -> Run:
    """Predictions whose ids are not known: of each id the first counts."""
    there = _known(known, predictions.keys)
    return predictions.take(np.flatnonzero(~there)) if there.any() else predictions


@dataclass(frozen=True, eq=False)
class Latest:
    """Of each of n keys the latest label that is known; `there` bool[n] whether there is one."""

    there: np.ndarray
    labels: Run


def _known(runs: Sequence[Run], keys: np.ndarray) -> np.ndarray:
    known = np.zeros(len(keys), dtype=bool)
    for run in runs:
        known |= run.find(keys) >= 0
    return known


def latest(runs: Sequence[Run], keys: np.ndarray) -> Latest:
    """Over several runs the latest label of each key."""
    there = np.zeros(len(keys), dtype=bool)
    columns = {
        "time": np.zeros(len(keys), dtype=np.int64),
        "delay": np.zeros(len(keys), dtype=np.int64),
        "label": np.full(len(keys), np.nan),
        "class": np.full(len(keys), NONE, dtype=np.int32),
    }
    for run in runs:
        rows = run.find(keys)
        here = np.flatnonzero(rows >= 0)
        rows = rows[here]
        if there.any():
            these, those = ([c[at] for c in _of(own)] for own, at in ((run.columns, rows), (columns, here)))
            later = ~there[here] | _later(these, those)
            rows, here = rows[later], here[later]
        there[here] = True
        for name, values in columns.items():
            values[here] = run.columns[name][rows]
    return Latest(there, Run(keys, columns))


def _of(columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [columns[name] for name in LATEST]


def _later(these: Sequence[np.ndarray], those: Sequence[np.ndarray]) -> np.ndarray:
    (time, delay), (other_time, other_delay) = these, those
    return np.asarray((time > other_time) | ((time == other_time) & (delay >= other_delay)))


def _newer(labels: Run, before: Latest) -> np.ndarray:
    if not before.there.any():
        return np.ones(len(labels), dtype=bool)
    return np.asarray(~before.there | _later(_of(labels.columns), _of(before.labels.columns)))


def _same(labels: Run, before: Latest) -> np.ndarray:
    if not before.there.any():
        return before.there
    ours, theirs = labels.columns, before.labels.columns
    same = (ours["label"] == theirs["label"]) | (np.isnan(ours["label"]) & np.isnan(theirs["label"]))
    return np.asarray(before.there & same & (ours["class"] == theirs["class"]))


def _changes(
    known: Sequence[Run], labels: Run, before: Latest, differs: np.ndarray
) -> tuple[list[Matched], np.ndarray]:
    """What labels with a new value change of predictions that were known before; and bool[n]: whose predictions those are."""
    changes, found = [], np.zeros(len(labels), dtype=bool)
    for run in known:
        rows = run.find(labels.keys)
        there = rows >= 0
        found |= there
        here = np.flatnonzero(there & differs)
        changes.append(Matched(run.take(rows[here]), labels.take(here), +1))
        back = here[before.there[here]]
        changes.append(Matched(run.take(rows[back]), before.labels.take(back), -1))
    return changes, found


def labelled(predictions: Run, found: Latest) -> Matched:
    """Predictions that have a label."""
    here = np.flatnonzero(found.there)
    return Matched(predictions.take(here), found.labels.take(here), +1)
