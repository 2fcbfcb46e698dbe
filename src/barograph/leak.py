"""Matured quality over days: sudden falls and slow leaks, told apart.

The loss of a day is its error rate at the threshold (classes), else its log loss, or its mean absolute error (numbers). Ordinary
days of the reference, or the first ones of a version, tell how it varies. A day far above the week before it is a fall. A CUSUM
adds up what single days do not show: Page, "Continuous inspection schemes" (1954).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from barograph.cusum import ALLOWED, LIMIT, Cusum, Shift
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.performance import confusion
from barograph.quantiles import ratio

MINIMUM_DAYS = 7
LINE = 3.5  # standard errors above which a day is no ordinary one; an alarm takes two in a row, or twice the line
FLOOR = 0.01  # of a standard deviation of single rows: days differ that much, however many rows they have
CLEARLY = (
    4.0  # by how much a step must fit better than a line, in squared standard errors, to be called sudden
)
MOST = 20.0  # standard errors that one day adds at most
WEEK = 7  # days, which a fall is measured against
STEADY = 2.5  # standard errors that a day adds at most to what adds up: some days are bad, and no leak

_Measure = Callable[[OutcomeProfile], tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class Losses:
    """Of D days: `rows`, and the `mean` and `variance` of the loss of one row, each float64[D]; `metric` names it."""

    metric: str
    rows: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def at(self, chosen: slice | np.ndarray) -> "Losses":
        """Some of the days."""
        return Losses(self.metric, self.rows[chosen], self.mean[chosen], self.variance[chosen])

    @classmethod
    def of(cls, profiles: Sequence[OutcomeProfile]) -> "Losses":
        """Of the days' outcomes, one at least; a day without an answer has no rows, and NaN.

        >>> bins = OutcomeBins.default("binary", threshold=0.5)
        >>> Losses.of([OutcomeProfile.of(bins, label=[0, 1], score=[0.1, 0.3])]).mean.tolist()
        [0.5]
        """
        name, each = _measure(profiles[0].bins, profiles)
        rows, total, squares = np.array([each(profile) for profile in profiles], dtype=np.float64).T
        mean = ratio(total, rows)
        return cls(name, rows, mean, np.maximum(ratio(squares, rows) - mean**2, 0.0))


def _measure(bins: OutcomeBins, profiles: Sequence[OutcomeProfile]) -> tuple[str, _Measure]:
    """The loss by name, and what gives its rows, sum and sum of squares."""
    if bins.task == "regression":
        return "mae", _errors
    if bins.task == "multiclass" or any(confusion(profile).any() for profile in profiles):
        return "accuracy", _wrong
    return "log_loss", _log_loss


def _errors(profile: OutcomeProfile) -> tuple[float, float, float]:
    assert profile.bins.residual is not None
    rows = float(profile.residuals[: profile.bins.residual.values].sum())
    return rows, float(profile.total("abs_e")[0]), float(profile.total("e2")[0])


def _log_loss(profile: OutcomeProfile) -> tuple[float, float, float]:
    assert profile.bins.score is not None
    loss, squares = (float(profile.total(name).sum()) for name in ("loss", "loss2"))
    return float(profile.scores[:, : profile.bins.score.values].sum()), loss, squares


def _wrong(profile: OutcomeProfile) -> tuple[float, float, float]:
    if profile.bins.task == "multiclass":
        wrong = profile.rows - float(profile.scores[1].sum())
        return profile.rows, wrong, wrong
    table = confusion(profile)
    wrong = float(table.sum() - np.trace(table))
    return float(table.sum()), wrong, wrong


@dataclass(frozen=True)
class Usual:
    """Ordinary days: the `mean` loss with its standard `error`, the `spread` of days, the `deviation` of single rows.

    `middle` and `steady` are the same of most days: a few bad ones move neither.
    """

    metric: str
    mean: float
    error: float
    spread: float
    deviation: float
    middle: float
    steady: float

    @classmethod
    def learn(cls, days: Losses) -> "Usual | None":
        """From days; None where fewer than 7, or equal losses, tell nothing.

        The spread is that of DerSimonian and Laird (1986), and one standard error more: few days may look alike by chance.
        """
        days = days.at(days.rows > 0)
        rows, n = days.rows, len(days.rows)
        if n < MINIMUM_DAYS:
            return None
        total = rows.sum()
        mean = float((days.mean * rows).sum() / total)
        between = float(((days.mean - mean) ** 2 * rows).sum())
        within = float((days.variance * rows).sum() + between) / total
        if days.metric == "accuracy":
            within = max(within, 0.5 / (total + 1))  # none was wrong: that is by chance, too
        if within <= 0:
            return None
        held = total - (rows**2).sum() / total
        excess = max(between - (n - 1) * within, 0.0)
        unsure = (within + excess / (n - 1)) * np.sqrt(2 * (n - 1))
        spread = float(np.sqrt(max((excess + unsure / 2) / held, FLOOR**2 * within)))
        error = float(np.sqrt(within / total + spread**2 * (rows**2).sum() / total**2))
        found = cls(days.metric, mean, error, spread, float(np.sqrt(within)), mean, spread)
        return found._steadied(days)

    def _steadied(self, days: Losses) -> "Usual":
        """With the median of the days, and a spread by how far most of them are from it.

        Both come from mean and spread as near as they can while the days themselves, in their order, do not add up to half of a
        leak.
        """
        median = float(np.median(days.mean))
        off = days.mean - median
        chance = float(np.median(self.sure(days, 0.0) ** 2))
        most = float(np.median(np.abs(off))) / special.ndtri(0.75) * (1 + 1.5 / np.sqrt(len(off)))
        least = min(float(np.sqrt(max(most**2 - chance, (FLOOR * self.deviation) ** 2))), self.spread)
        found = self
        for part in np.linspace(1.0, 0.0, 9)[1:].tolist():
            middle = part * self.mean + (1 - part) * median
            nearer = replace(self, middle=middle, steady=part * self.spread + (1 - part) * least)
            if _most(nearer.adding(days)) > LIMIT / 2:
                break
            found = nearer
        return found

    def sure(self, days: Losses, spread: float | None = None) -> np.ndarray:
        """Standard error of the loss of days: by rows of usual variance, or half of their own where that is more.

        So one wrong answer among few, or one number far out, is no fall.
        """
        variance = np.maximum(self.deviation**2, days.variance / 2)
        return np.asarray(np.sqrt(variance / days.rows + (self.spread if spread is None else spread) ** 2))

    def adding(self, days: Losses) -> np.ndarray:
        """By how many standard errors days are worse than most ordinary ones, as far as it counts for a leak."""
        off = (days.mean - self.middle) / self.sure(days, self.steady)
        return np.asarray(np.clip(off, -STEADY, STEADY))


@dataclass(frozen=True, eq=False)
class Course:
    """How days went, by the last one: the days since which it is in a `fall`, or a `leak`; None where it is in none.

    `per_day` is by how much the loss has grown a day since the leak began, and `sudden` whether it grew at once.
    """

    fall: int | None
    leak: int | None
    per_day: float = 0.0
    sudden: bool = False


def course(usual: Usual, days: Losses) -> Course:
    """Days in order, each with rows, against ordinary ones.

    >>> ordinary = Losses("accuracy", np.full(28, 1000.0), np.full(28, 0.05), np.full(28, 0.0475))
    >>> loss = 0.05 + np.maximum(np.arange(60) - 20, 0) * 0.001
    >>> found = course(
    ...     Usual.learn(ordinary), Losses("accuracy", np.full(60, 1000.0), loss, loss * (1 - loss))
    ... )
    >>> found.fall, found.leak, found.sudden, round(found.per_day, 4)
    (None, 24, False, 0.0011)
    """
    sure = usual.sure(days)
    off = days.mean - usual.mean
    z = np.minimum(off / sure, MOST)
    allowed = np.maximum(ALLOWED, 2 * usual.error / usual.sure(days, usual.steady))
    fall, leak = _lasting(z, usual.adding(days), allowed, np.hypot(1.0, usual.error / sure))
    return Course(fall, leak) if leak is None else Course(fall, leak, *_shape(off[leak:], sure[leak:]))


def _lasting(
    z: np.ndarray, adding: np.ndarray, allowed: np.ndarray, unit: np.ndarray
) -> tuple[int | None, int | None]:
    """The onset of the fall and of the leak that the last day is in.

    A fall is one from the mean of the week before it, on days whose line is so many `unit`s; what is `adding` up is a leak. While
    a fall lasts no leak begins: its days would be no news.
    """
    fall, leak, before, values = None, Cusum(), 0.0, z.tolist()
    days = zip(values, adding.tolist(), allowed.tolist(), unit.tolist(), strict=True)
    for i, (value, added, least, one) in enumerate(days):
        if fall is not None:
            fall = fall if fall.lasts(value - before) else None
        elif (first := _fallen(values, i, LINE * one)) is not None:
            before = _before(values, first)
            fall = Shift(first, [x - before for x in values[first : i + 1]], least)
            leak.forget(first)
        elif leak.shift is None:
            leak.take(i, added, least)
            continue
        if leak.shift is not None:
            leak.take(i, added, least)
    return None if fall is None else fall.onset, leak.onset


def _most(adding: np.ndarray) -> float:
    """The most that a CUSUM of days comes to."""
    total = most = 0.0
    for value in adding.tolist():
        total = max(0.0, total + value - ALLOWED)
        most = max(most, total)
    return most


def _fallen(z: Sequence[float], i: int, line: float) -> int | None:
    """The first day of a fall that shows on day `i`: it and the day before are above the line, or it alone is by far."""
    if i and min(z[i - 1 : i + 1]) - _before(z, i - 1) > line:
        return i - 1
    return i if z[i] - _before(z, i) > 2 * line else None


def _before(z: Sequence[float], i: int) -> float:
    """How much worse than usual the week before a day was."""
    week = z[max(0, i - WEEK) : i]
    return max(0.0, sum(week) / len(week)) if week else 0.0


def _shape(off: np.ndarray, sure: np.ndarray) -> tuple[float, bool]:
    """The slope a day of what came since the onset, and whether one step tells it better than a line does."""
    x, weight = np.arange(1.0, len(off) + 1), 1 / sure**2
    slope = float((weight * x * off).sum() / (weight * x**2).sum())
    line = (weight * (off - slope * x) ** 2).sum()
    level = (weight * off).sum() / weight.sum()
    step = (weight * (off - level) ** 2).sum()
    return slope, bool(step + CLEARLY < line)
