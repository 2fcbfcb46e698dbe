"""Outcome profiles: predictions whose labels have arrived, as counts and sums that add up.

A profile is int64[counts] and float64[sums], of any rows: a model version, a segment, an hour of predictions. Profiles
are a commutative group: two halves add up to the whole, and a corrected label is one profile subtracted and one added.
Counts come back exactly. Sums come back to the rounding of the largest number that they ever held, so a cohort that held a
label grossly too large is better counted again.

    task          counts                                                sums
    binary        label 0|1 x slot of the score;                        by label: s, s^2, loss, loss^2, error^4
                  label 0|1 x prediction 0|1|none
    multiclass    label x prediction: the classes, other; and none      by wrong|right: s, s^2
                  for the prediction;
                  prediction wrong|right x slot of its confidence
    regression    slot of the residual e = prediction - label;          e, |e|, e^2, e^4, y, y^2, and those of SUMS
                  labels other than 0, which MAPE divides by
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from barograph import compiled, frames
from barograph.bins import BinSet, CategoryBins, NumericBins, score_bins
from barograph.drift import ColumnReference
from barograph.lookup import Lookup
from barograph.naming import PREDICTION, SCORE
from barograph.quantiles import middles_of, moments

# The sums of each task, by name: for a label (binary), for wrong and right (multiclass), or once (regression).
SUMS: Mapping[str, tuple[str, ...]] = {
    "binary": ("score", "score2", "loss", "loss2", "error4"),
    "multiclass": ("score", "score2"),
    "regression": (
        "e", "abs_e", "e2", "e4", "y", "y2", "ape", "smape",  # ape: |e / y|; smape: 2|e| / (|y| + |p|)
        "ape2", "smape2", "y3", "y4", "e2y", "e2y2",  # what the intervals of MAPE, sMAPE and R2 need
    ),
}  # fmt: skip
GROUPS = {"binary": 2, "multiclass": 2, "regression": 1}
MAX_CLASSES = 32
NONE = 2  # the slot of a binary prediction that is neither 0 nor 1
EPSILON = float(np.finfo(np.float64).eps)  # where scikit-learn clips probabilities
LARGEST = 1e70  # a number beyond is no measurement: its fourth power, summed, would reach infinity
SMALLEST = 1e-70  # a label nearer to 0 is 0
RESIDUAL_EDGES = 256  # on each side of 0
_MANY = 50_000  # scores for which making a table pays
_SPARSE = 4  # counts to a row from which looking at all of them takes longer than looking for some


class Described(Protocol):
    """What of a reference says how outcomes are counted."""

    @property
    def task(self) -> str: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def bins(self) -> BinSet: ...
    @property
    def baseline(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class OutcomeBins:
    """How the outcomes of a model are counted.

    `score` cuts the score, or the confidence in the predicted class; `threshold` is the score from which an answer is
    positive, and one of its edges. `typical` float64[score.values] is a usual score of each slot, and `ties` says that a slot
    holds no other. `classes` are those of a multiclass model, most frequent first; all others count as one more. `residual`
    cuts prediction - label.

    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> bins.counts == 2 * bins.score.size + 6, bins.sums
    (True, 10)
    """

    task: str
    score: NumericBins | None = None
    threshold: float | None = None
    classes: tuple[str, ...] = ()
    residual: NumericBins | None = None
    typical: np.ndarray | None = None
    ties: bool = False

    @classmethod
    def of(cls, reference: Described) -> "OutcomeBins":
        """From a reference: its own score bins, its classes (32 at most), residuals on the scale of its predictions.

        ValueError for a task that is not binary, multiclass or regression.
        """
        _check_task(reference.task)
        if reference.task == "regression":
            return cls("regression", residual=residual_bins(_spread(reference)))
        classes = _classes(reference) if reference.task == "multiclass" else ()
        if not isinstance(reference.bins.columns.get(SCORE), NumericBins):
            return cls.default(reference.task, reference.threshold, classes)
        column = _column(reference, SCORE)
        score = column.bins
        assert isinstance(score, NumericBins)
        return cls(
            reference.task,
            score,
            reference.threshold,
            classes,
            typical=column.means,
            ties=column.discrete,
        )

    @classmethod
    def default(
        cls, task: str, threshold: float | None = None, classes: tuple[str, ...] = ()
    ) -> "OutcomeBins":
        """Without a reference: scores by even steps of their logit, residuals over 60 powers of two; ValueError as in `of`."""
        _check_task(task)
        if task == "regression":
            return cls(task, residual=residual_bins())
        score = score_bins(() if threshold is None else (threshold,))
        return cls(task, score, threshold, classes, typical=middles_of(score))

    @property
    def counts(self) -> int:
        """Length of a profile's counts."""
        if self.residual is not None:
            return self.residual.size + 1
        answers = 6 if self.task == "binary" else (self.labels + 1) * self.labels
        return 2 * self.slots + answers

    @property
    def sums(self) -> int:
        """Length of a profile's sums."""
        return GROUPS[self.task] * len(SUMS[self.task])

    @property
    def slots(self) -> int:
        """Slots of the score, with those of missing and invalid ones; 0 in a regression."""
        return 0 if self.score is None else self.score.size

    def score_slot(self, values: np.ndarray) -> np.ndarray:
        """Slot of each score (float64): as `score.index`, which many at a time would search for too long."""
        assert self.score is not None
        if len(values) < _MANY:
            return self.score.index(values)
        return np.asarray(self._lookup.index(values[None, :])[0])

    @cached_property
    def _lookup(self) -> Lookup:
        assert self.score is not None
        edges = self.score.edges
        return Lookup.build([self.score], [float(np.median(edges)) if len(edges) else 0.0])

    @property
    def labels(self) -> int:
        """Rows of the confusion matrix: the classes, and other."""
        return len(self.classes) + 1

    @property
    def answered(self) -> slice:
        """The part of the counts that adds up to the labelled rows."""
        if self.task == "binary":
            return slice(2 * self.slots, self.counts)
        return slice(0, self.counts - 2 * self.slots if self.residual is None else self.residual.size)

    @cached_property
    def categories(self) -> CategoryBins:
        """The classes as bins, all others in one slot."""
        return CategoryBins(self.classes, open=True)

    @cached_property
    def id(self) -> str:
        """Content id, 8 hex digits. Profiles of different ids are never added."""
        drawn = [bins and bins.to_dict() for bins in (self.score, self.residual)]
        content = [self.task, self.threshold, list(self.classes), drawn]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


@dataclass(frozen=True, eq=False)
class OutcomeProfile:
    """The outcomes of some rows: `counts` (bins.counts) and `sums` (bins.sums).

    Counts are whole numbers, or weighted ones where early labels stand for those still to come. Profiles of different bins
    don't add up: ValueError.

    >>> bins = OutcomeBins.default("binary", threshold=0.5)
    >>> one = OutcomeProfile.of(bins, label=[0, 1, 1], score=[0.1, 0.4, 0.9], prediction=[0, 0, 1])
    >>> one.answers.tolist()  # by label: predicted 0, predicted 1, no prediction
    [[1, 0, 0], [1, 1, 0]]
    >>> (one + one - one).rows
    3
    """

    bins: OutcomeBins
    counts: np.ndarray
    sums: np.ndarray

    def __post_init__(self) -> None:
        for name, wanted in (("counts", self.bins.counts), ("sums", self.bins.sums)):
            found = np.shape(getattr(self, name))
            if found != (wanted,):
                raise ValueError(
                    f"{name}: shape {found}, but these bins need ({wanted},); count over the same bins"
                )

    @classmethod
    def of(
        cls,
        bins: OutcomeBins,
        label: frames.Column,
        score: frames.Column = None,
        prediction: frames.Column = None,
    ) -> "OutcomeProfile":
        """Count rows; see `count`."""
        counts, sums = count(bins, label, score, prediction)
        return cls(bins, counts[0], sums[0])

    @classmethod
    def zero(cls, bins: OutcomeBins) -> "OutcomeProfile":
        """The profile of no rows."""
        return cls(bins, np.zeros(bins.counts, dtype=np.int64), np.zeros(bins.sums))

    def __add__(self, other: "OutcomeProfile") -> "OutcomeProfile":
        self._same_bins(other, "add")
        return OutcomeProfile(self.bins, self.counts + other.counts, self.sums + other.sums)

    def __sub__(self, other: "OutcomeProfile") -> "OutcomeProfile":
        self._same_bins(other, "subtract")
        return OutcomeProfile(self.bins, self.counts - other.counts, self.sums - other.sums)

    def _same_bins(self, other: "OutcomeProfile", verb: str) -> None:
        if self.bins.id != other.bins.id:
            raise ValueError(
                f"cannot {verb} outcomes over different bins: {self.bins.id} and {other.bins.id}; "
                "count both over the bins of one reference"
            )

    @cached_property
    def scores(self) -> np.ndarray:
        """[2, slots]: by label and slot of the score (binary), by wrong|right and slot of the confidence (multiclass)."""
        size = 2 * self.bins.slots
        first = 0 if self.bins.task == "binary" else self.bins.counts - size
        return self.counts[first : first + size].reshape(2, self.bins.slots)

    @cached_property
    def answers(self) -> np.ndarray:
        """[2, 3]: label by prediction 0, 1, none (binary); [K + 1, K + 2]: label by prediction (multiclass).

        The classes come in the order of `bins.classes`, then other; the last column is none.
        """
        size = 2 * self.bins.slots
        if self.bins.task == "binary":
            return self.counts[size:].reshape(2, 3)
        labels = self.bins.labels
        return self.counts[: labels * (labels + 1)].reshape(labels, labels + 1)

    @cached_property
    def residuals(self) -> np.ndarray:
        """[residual.size]: counts of prediction - label (regression)."""
        return self.counts[:-1]

    @cached_property
    def rows(self) -> float:
        """Labelled rows, with or without a prediction."""
        held = self.residuals if self.bins.task == "regression" else self.answers
        return held.sum().item()  # type: ignore[no-any-return]

    def total(self, name: str) -> np.ndarray:
        """A sum by its name in SUMS, for each of the groups: [2] by label, [2] by wrong|right, or [1]."""
        names = SUMS[self.bins.task]
        return np.asarray(self.sums.reshape(-1, len(names))[:, names.index(name)])


def count(
    bins: OutcomeBins,
    label: frames.Column,
    score: frames.Column = None,
    prediction: frames.Column = None,
    group: np.ndarray | None = None,
    groups: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Count labelled rows by group: int64[groups, bins.counts] and float64[groups, bins.sums].

    Columns of any make, one value a row. `label` is 0 or 1 (binary), a class (multiclass) or a number (regression); rows
    whose label is no such thing count nowhere (see `labelled`). `score` is the probability of 1, or the confidence in the
    predicted class; `prediction` the answer at the threshold, the class, or the number, for which a regression's score may
    stand. Either may be missing, all of it or in some rows. `group` (whole numbers below `groups`) is the profile that a row
    goes to.

    ValueError for columns of unequal lengths, or a group that is not below `groups`.

    >>> bins = OutcomeBins.default("regression")
    >>> counts, sums = count(bins, label=[1.0, 2.0, None], prediction=[1.5, 2.0, 9.0])
    >>> int(counts[0, :-1].sum()), float(sums[0, 0])
    (2, 0.5)
    """
    rows = Countable.of(bins, label, score, prediction)
    if group is None:
        return rows.by(np.zeros(len(rows.first), dtype=np.intp), groups)
    return rows.by(_groups(group, len(rows.kept), groups)[rows.kept], groups)


@dataclass(frozen=True, eq=False)
class Countable:
    """Labelled rows, ready to be counted by one group after the other (see `count`).

    `kept` says which of the rows that were given these are. `places` are where they count, `first` is the group of sums of each
    (the label in a binary task), and `addends` are what it adds to these.
    """

    bins: OutcomeBins
    kept: np.ndarray
    places: "tuple[_Place, ...]"
    first: np.ndarray
    addends: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of(
        cls,
        bins: OutcomeBins,
        label: frames.Column,
        score: frames.Column = None,
        prediction: frames.Column = None,
    ) -> "Countable":
        """From columns of any make; see `count`."""
        label = frames.column(label)
        columns = [
            _column_or_none(values, name, len(label))
            for name, values in (("score", score), ("prediction", prediction))
        ]
        kept = labelled(bins, label)
        if not kept.all():
            label, *columns = (frames.take(values, kept) for values in (label, *columns))
        return cls(bins, kept, *_TASKS[bins.task](bins, label, *columns))

    @property
    def verdict(self) -> np.ndarray:
        """intp[rows]: label by answer 0, 1, none (binary: 0 to 5), wrong or right (0, 1), or 0 (numbers)."""
        if self.bins.task == "binary":
            return self.places[1].values
        return self.first

    def at(self, rows: np.ndarray | slice) -> "Countable":
        """Some of the rows."""
        places = tuple(replace(place, values=place.values[rows]) for place in self.places)
        return replace(
            self,
            places=places,
            first=self.first[rows],
            addends=tuple(values[rows] for values in self.addends),
        )

    def by(self, group: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """int64[groups, bins.counts] and float64[groups, bins.sums]; `group` intp[rows], below `groups`."""
        counts = np.empty((groups, self.bins.counts), dtype=np.int64)
        for place in self.places:
            counts[:, place.low : place.low + place.width] = _tally(group, place, groups)
        return counts, self._sums(group, groups)

    def add_to(self, counts: np.ndarray, sums: np.ndarray, group: np.ndarray, sign: int) -> None:
        """Add what `by` counts to arrays like those that it returns, or take it away."""
        sums += sign * self._sums(group, len(sums))
        begin = group * self.bins.counts
        for place in self.places:
            where = begin + (place.low + place.values)
            tally_to(counts, where if place.always else where[place.values < place.width], sign)

    def _sums(self, group: np.ndarray, groups: int) -> np.ndarray:
        sums, size = np.empty((groups, self.bins.sums)), self.bins.sums // len(self.addends)
        of = group * size + self.first
        for i, values in enumerate(self.addends):
            found = np.bincount(of, values, minlength=groups * size)
            sums[:, i :: len(self.addends)] = found.reshape(groups, size)
        return sums


def labelled(bins: OutcomeBins, label: frames.Column) -> np.ndarray:
    """bool[rows]: whether a label can be counted: 0 or 1 (binary), a text or number (multiclass), a finite number.

    >>> labelled(OutcomeBins.default("binary"), [0, True, 0.5, None, "yes"]).tolist()
    [True, True, False, False, False]
    """
    if bins.task == "multiclass":
        return np.asarray(bins.categories.index(label) <= len(bins.classes))
    y = frames.floats(label)
    return np.asarray((y == 0) | (y == 1) if bins.task == "binary" else np.abs(y) <= LARGEST)


def residual_bins(scale: float | None = None) -> NumericBins:
    """Bins of prediction - label: powers of two on both sides of 0, cut in eight, and 0 in a bin of its own.

    They reach from 2^-16 to 2^16 times `scale`, a power of two near it; without one, over 2^-32 to 2^32, cut in four.
    """
    reach, centre = (16, 2.0 ** np.round(np.log2(scale))) if scale else (32, 1.0)
    side = centre * np.exp2(np.linspace(-reach, reach, RESIDUAL_EDGES + 1))
    zero = [0.0, float(np.finfo(np.float64).tiny)]
    edges = np.concatenate([-side[::-1], zero, side])
    return NumericBins(edges, float(edges[0]), float(edges[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where in the counts each row counts: at `low` + `values`, which are below `width`, or, if not `always`, equal: nowhere."""

    low: int
    width: int
    values: np.ndarray
    always: bool = True


# How the rows of each task are counted: their places in the counts, their group of sums, and what they add.
_Counted = tuple[tuple[_Place, ...], np.ndarray, tuple[np.ndarray, ...]]


def _binary(
    bins: OutcomeBins, label: frames.Column, score: frames.Column, prediction: frames.Column
) -> _Counted:
    y, s, answer = (frames.floats(column) for column in (label, score, prediction))
    of = y.astype(np.intp)
    answer = np.where((answer == 0) | (answer == 1), answer, NONE).astype(np.intp)
    places = (
        _Place(0, 2 * bins.slots, of * bins.slots + bins.score_slot(s)),
        _Place(2 * bins.slots, 6, 3 * of + answer),
    )
    scored: np.ndarray | None = None
    if not (len(s) and s.min() >= -LARGEST and s.max() <= LARGEST):
        scored = np.isfinite(s)
        s = np.where(scored, np.clip(s, -LARGEST, LARGEST), 0.0)
    loss = np.where(of == 1, s, 1 - s)
    np.negative(np.log(np.clip(loss, EPSILON, 1 - EPSILON, out=loss), out=loss), out=loss)
    error2 = (y - s) ** 2
    if scored is not None:
        loss, error2 = loss * scored, error2 * scored
    return places, of, (s, s**2, loss, loss**2, error2**2)


def _multiclass(
    bins: OutcomeBins, label: frames.Column, score: frames.Column, prediction: frames.Column
) -> _Counted:
    assert bins.score is not None
    y = bins.categories.index(label)
    answer = np.minimum(bins.categories.index(prediction), bins.labels)
    answered = answer < bins.labels
    right = (answer == y) & (y < len(bins.classes))
    both = np.flatnonzero((answer == y) & ~right)  # two classes of the rest may still be one and the same
    right[both] = _equal_texts(frames.take(label, both), frames.take(prediction, both))
    s = frames.floats(score)
    confidence = right * bins.slots + bins.score_slot(s)
    size, answers = 2 * bins.slots, bins.labels * (bins.labels + 1)
    places = (
        _Place(0, answers, y * (bins.labels + 1) + answer),
        _Place(answers, size, np.where(answered, confidence, size), always=False),
    )
    s = np.where(np.isfinite(s) & answered, np.clip(s, -LARGEST, LARGEST), 0.0)
    return places, right.astype(np.intp), (s, s**2)


def _regression(
    bins: OutcomeBins, label: frames.Column, score: frames.Column, prediction: frames.Column
) -> _Counted:
    assert bins.residual is not None
    y = frames.floats(label)
    p, fallback = frames.floats(prediction), frames.floats(score)
    p = np.where(np.isnan(p), fallback, p)
    p = np.where(np.abs(p) <= LARGEST, p, np.where(np.isnan(p), np.nan, np.inf))
    slots = bins.residual.index(p - y)
    paired = np.isfinite(p)
    y, p = np.where(paired, y, 0.0), np.where(paired, p, 0.0)
    e = p - y
    divides = np.abs(y) >= SMALLEST
    ape = np.abs(np.divide(e, y, out=np.zeros_like(e), where=divides))
    size = np.abs(y) + np.abs(p)
    smape = np.divide(2 * np.abs(e), size, out=np.zeros_like(e), where=size > 0)
    places = (
        _Place(0, bins.residual.size, slots),
        _Place(bins.residual.size, 1, np.where(divides, 0, 1), always=False),
    )
    e2, y2 = e**2, y**2
    powers = (e, np.abs(e), e2, e2**2, y, y2, ape, smape)
    return (
        places,
        np.zeros(len(y), dtype=np.intp),
        (*powers, ape**2, smape**2, y2 * y, y2**2, e2 * y, e2 * y2),
    )


_TASKS = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}


def tally_to(counts: np.ndarray, places: np.ndarray, sign: int) -> None:
    """Add 1, or -1, to each of some places of counts (int64, contiguous), by their number in the order of memory."""
    flat = counts.reshape(-1)
    if compiled.tally is not None:
        compiled.tally(flat, places.astype(np.int64, copy=False), sign)
    elif len(flat) > _SPARSE * len(places):
        np.add.at(flat, places, sign)
    else:
        flat += sign * np.bincount(places, minlength=len(flat))


def _tally(group: np.ndarray, place: _Place, groups: int) -> np.ndarray:
    """[groups, place.width]: how many rows came to each place."""
    size = place.width if place.always else place.width + 1
    flat = np.bincount(group * size + place.values, minlength=groups * size)
    return np.asarray(flat.reshape(groups, size)[:, : place.width])


def _equal_texts(left: frames.Column, right: frames.Column) -> list[bool]:
    pairs = zip(frames.items(left), frames.items(right), strict=True)
    return [frames.text(a) == frames.text(b) for a, b in pairs]


def _column_or_none(values: frames.Column, name: str, rows: int) -> frames.Column:
    values = np.full(rows, np.nan) if values is None else frames.column(values)
    if len(values) != rows:
        raise ValueError(f"{name}: {len(values)} values for {rows} labels; pass one a row")
    return values


def _groups(group: np.ndarray, rows: int, groups: int) -> np.ndarray:
    if len(group) != rows:
        raise ValueError(f"group: {len(group)} values for {rows} labels; pass one a row")
    if rows and not 0 <= group.min() <= group.max() < groups:
        raise ValueError(
            f"group: {group.min()} to {group.max()}, but there are {groups} groups; number them from 0"
        )
    return np.asarray(group, dtype=np.intp)


def _check_task(task: str) -> None:
    if task not in SUMS:
        raise ValueError(f"task: no outcomes are counted for {task!r}, only for {', '.join(SUMS)}")


def _classes(reference: Described) -> tuple[str, ...]:
    bins = reference.bins.columns.get(PREDICTION)
    return bins.categories[:MAX_CLASSES] if isinstance(bins, CategoryBins) else ()


def _column(reference: Described, name: str) -> ColumnReference:
    return ColumnReference(reference.bins.columns[name], *reference.baseline.column(name))


def _spread(reference: Described) -> float | None:
    """Standard deviation of the reference's predictions; None where it is unknown or 0."""
    name = PREDICTION if PREDICTION in reference.bins.columns else SCORE
    bins = reference.bins.columns.get(name)
    if not isinstance(bins, NumericBins):
        return None
    sd = float(moments(bins, *reference.baseline.column(name))[1])
    return sd if np.isfinite(sd) and sd > 0 else None
