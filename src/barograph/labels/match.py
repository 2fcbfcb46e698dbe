"""Which predictions a label is of, and what that changes: a pure function of sorted runs.

A batch of new predictions and new labels is matched with all that is known, both ways: a label may come before its prediction,
twice, corrected, or late by months. What was counted for the earlier label of a corrected one is taken back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from barograph.labels.runs import Run

NONE = -1  # the code of no text
LATEST = ("time", "arrival")  # of labels of one id the last one counts, by its own time


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
    """What a batch changes. `predictions`, `labels`: what is new to know of. `tally` says how many of each kind there were.

    `duplicate_predictions`: ids that were there already, of which the first prediction counts; `matched`: labels that found
    theirs; `early`: labels whose prediction came only now; `corrected`, `repeated`, `outdated`: labels of an id that had one,
    with another value, the same one, or of an earlier time; `waiting`: labels whose prediction is not known (yet).
    """

    predictions: Run
    labels: Run
    changes: tuple[Matched, ...]
    tally: Mapping[str, int] = field(default_factory=dict)


def match(
    known_predictions: Sequence[Run], known_labels: Sequence[Run], predictions: Run, labels: Run
) -> Match:
    """Match new predictions and labels, each with all that is known and with each other."""
    fresh = predictions.take(np.flatnonzero(~_known(known_predictions, predictions.keys)))
    before = _latest(known_labels, labels.keys)
    newer = _newer(labels, before)
    differs = newer & ~_same(labels, before)
    changed = np.flatnonzero(differs)
    tally = {
        "predictions": len(fresh),
        "labels": len(labels),
        "duplicate_predictions": len(predictions) - len(fresh),
        "outdated": int((~newer).sum()),
        "repeated": int((newer & ~differs).sum()),
        "corrected": int((differs & before.there).sum()),
    }
    effective, earlier = labels.take(changed), before.take(changed)
    changes = [*_changes(known_predictions, effective, earlier), *_first(fresh, known_labels, labels)]
    found = _known(known_predictions, labels.keys) | (fresh.find(labels.keys) >= 0)
    tally |= {
        "matched": int((found & ~before.there).sum()),
        "waiting": int((~found & ~before.there).sum()),
        "early": int(_known(known_labels, fresh.keys).sum()),
    }
    return Match(fresh, labels, tuple(c for c in changes if len(c)), tally)


@dataclass(frozen=True, eq=False)
class _Latest:
    """Of each of n keys the latest label that is known; `there` bool[n] whether there is one."""

    there: np.ndarray
    labels: Run

    def take(self, rows: np.ndarray) -> "_Latest":
        return _Latest(self.there[rows], self.labels.take(rows))


def _known(runs: Sequence[Run], keys: np.ndarray) -> np.ndarray:
    known = np.zeros(len(keys), dtype=bool)
    for run in runs:
        known |= run.find(keys) >= 0
    return known


def _latest(runs: Sequence[Run], keys: np.ndarray) -> _Latest:
    """Over several runs the latest label of each key."""
    there = np.zeros(len(keys), dtype=bool)
    columns = {
        "time": np.full(len(keys), np.iinfo(np.int64).min),
        "arrival": np.full(len(keys), np.iinfo(np.int64).min),
        "label": np.full(len(keys), np.nan),
        "class": np.full(len(keys), NONE, dtype=np.int32),
    }
    for run in runs:
        rows = run.find(keys)
        here = np.flatnonzero(rows >= 0)
        rows = rows[here]
        later = _later([run.columns[name][rows] for name in LATEST], [columns[name][here] for name in LATEST])
        rows, here = rows[later], here[later]
        there[here] = True
        for name, values in columns.items():
            values[here] = run.columns[name][rows]
    return _Latest(there, Run(keys, columns))


def _later(these: Sequence[np.ndarray], those: Sequence[np.ndarray]) -> np.ndarray:
    (time, arrival), (other_time, other_arrival) = these, those
    return np.asarray((time > other_time) | ((time == other_time) & (arrival >= other_arrival)))


def _newer(labels: Run, before: _Latest) -> np.ndarray:
    ours, theirs = ([run.columns[name] for name in LATEST] for run in (labels, before.labels))
    return np.asarray(~before.there | _later(ours, theirs))


def _same(labels: Run, before: _Latest) -> np.ndarray:
    ours, theirs = labels.columns, before.labels.columns
    same = (ours["label"] == theirs["label"]) | (np.isnan(ours["label"]) & np.isnan(theirs["label"]))
    return np.asarray(before.there & same & (ours["class"] == theirs["class"]))


def _changes(known: Sequence[Run], labels: Run, earlier: _Latest) -> Iterator[Matched]:
    """What labels with a new value change of predictions that were known before."""
    for run in known:
        rows = run.find(labels.keys)
        here = np.flatnonzero(rows >= 0)
        yield Matched(run.take(rows[here]), labels.take(here), +1)
        back = here[earlier.there[here]]
        yield Matched(run.take(rows[back]), earlier.labels.take(back), -1)


def _first(fresh: Run, known_labels: Sequence[Run], labels: Run) -> Iterator[Matched]:
    """The label of each prediction that is new, whether it came before, with, or in several pieces."""
    latest = _latest([*known_labels, labels], fresh.keys)
    here = np.flatnonzero(latest.there)
    yield Matched(fresh.take(here), latest.labels.take(here), +1)
