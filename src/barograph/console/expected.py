"""Outcomes that are not known yet: what scores promise, and what labels say that are still arriving."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from barograph.clock import iso
from barograph.drift import MINIMUM_ROWS
from barograph.estimate import ACCURACY, ERRORS, MINIMUM, Calibrated, Calibration, Expectation, interval
from barograph.known import Known
from barograph.maturity import Maturity, weighted
from barograph.outcomes import OutcomeBins, OutcomeProfile


@dataclass(frozen=True, eq=False)
class Learnt:
    """What scores promise, by labels of days from `first` to `last` (epoch seconds)."""

    calibrated: Calibration
    first: float
    last: float

    @classmethod
    def fit(cls, bins: OutcomeBins, scores: np.ndarray, first: float, last: float) -> "Learnt | None":
        """From labelled days, int64[days, 2, slots]; None where they cannot tell a band."""
        try:
            found = Calibrated.fit(bins, scores)
        except ValueError:  # labels of one class alone
            return None
        return None if found.band.why else cls(found, first, last)


def learnt_from(known: Known) -> Learnt | None:
    """What scores promise by the reference; None where its labels cannot tell a band."""
    found, period = known.promised, known.reference.period
    return None if found is None or period is None or found.band.why else Learnt(found, *period)


@dataclass(frozen=True, eq=False)
class ByStep:
    """Metrics by step: `names`, and values and the ends of their 95 % band, each (names, T); NaN where they cannot be told."""

    names: tuple[str, ...]
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def row(self, name: str) -> int | None:
        """Where a metric is; None where it is not told at all."""
        at = self.names.index(name) if name in self.names else None
        return None if at is None or np.isnan(self.values[at]).all() else at


@dataclass(frozen=True, eq=False)
class Promised(ByStep):
    """Metrics as scores promise them, by labels of days from `first` to `last` (epoch seconds)."""

    first: float
    last: float

    @classmethod
    def of(cls, learnt: Learnt, live: np.ndarray) -> "Promised":
        """Of steps, from live counts by slot of the score, int64[T, slots]."""
        expected = learnt.calibrated.expect(live)
        low, high = interval(expected, learnt.calibrated.band)
        few = _few(expected)
        values, low, high = (np.where(few | np.isnan(low), np.nan, x) for x in (expected.values, low, high))
        return cls(expected.names, values, low, high, learnt.first, learnt.last)

    def assumption(self) -> str:
        """What it assumes."""
        first, last = (iso(t)[:10] for t in (self.first, self.last))
        period = first if first == last else f"{first} to {last}"
        what = "expected errors" if self.names == ERRORS else "scores"
        return f"Estimated from {what}, if they still mean what the labels of {period} say."


class Windows(Protocol):
    """Steps of outcomes: their ends (T,), seconds, whether labels are still arriving (T,), and profiles."""

    @property
    def ends(self) -> np.ndarray: ...
    @property
    def width(self) -> int: ...
    @property
    def open(self) -> np.ndarray: ...
    @property
    def profiles(self) -> list[OutcomeProfile]: ...


@dataclass(frozen=True, eq=False)
class Early(ByStep):
    """Metrics of steps whose labels are still arriving, each label weighed by how many it stands for."""

    @classmethod
    def of(cls, maturity: Maturity, steps: Windows, now: float) -> "Early | None":
        """Of the steps that are open; None where none of them can be told yet."""
        told = {}
        for i in np.flatnonzero(steps.open).tolist():
            if steps.profiles[i].rows:
                cohort = (max(now - float(steps.ends[i]), 0.0), steps.profiles[i])
                told[i] = weighted(maturity, [cohort], span=float(steps.width)).estimates
        if not told:
            return None
        names = tuple(next(iter(told.values())))
        ends = np.full((3, len(names), len(steps.ends)), np.nan)
        for i, estimates in told.items():
            for k, name in enumerate(names):
                one = estimates[name]
                if one.enough:
                    ends[:, k, i] = one.value, one.low, one.high
        return cls(names, *ends)

    @property
    def assumption(self) -> str:
        """What it assumes."""
        return (
            "Weighed: labels so far, if the rest come as late, of each score, as those of complete days did."
        )


def _few(expected: Expectation) -> np.ndarray:
    """Which steps hold too few rows for each metric, (names, T)."""
    few = np.repeat((expected.n < MINIMUM_ROWS)[None], len(expected.names), axis=0)
    if expected.least is not None:
        both = np.array([name != ACCURACY for name in expected.names])
        few |= both[:, None] & (expected.least < MINIMUM)
    return few
