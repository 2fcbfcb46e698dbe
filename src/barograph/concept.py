"""Concept drift: whether scores still mean what they meant.

What a score promises, P(y = 1 | score), is learnt from labelled days: of the reference, or the first ones of a version. Labels
of later days are compared with it cell by cell of the score. A shift of the inputs alone moves rows between cells, not what a
cell promises. Of a multiclass model it is P(right | confidence). A regression has no score: there it is how often the residual
is as large, and of the sign, that it was.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from barograph.cusum import ALLOWED, Shift, rising
from barograph.drift import Merge
from barograph.estimate import isotonic
from barograph.outcomes import OutcomeBins
from barograph.quantiles import ratio

CELLS = 6
MINIMUM_DAYS = 7  # below which it is unknown how far ordinary days differ
INFORMATION = (
    5.0  # positives expected, times the share of negatives: a cell with less tells nothing by itself
)
FLOOR = 0.02  # of a standard deviation: a change of what scores mean that matters to nobody
ALPHA = 0.01  # of ordinary days are beyond the line; an alarm takes two in a row, or twice the line
LATELY = 14  # days, of which a drift that adds up is told


@dataclass(frozen=True, eq=False)
class Verdict:
    """How far a window is from what scores meant: `value` standard errors in the worst cell, `threshold` the line.

    In that cell, of scores (or residuals) from `low` to `high`, a share of `found` was positive, and `promised` was expected.
    NaN where labels are too few.
    """

    value: float
    threshold: float
    low: float = np.nan
    high: float = np.nan
    found: float = np.nan
    promised: float = np.nan


@dataclass(frozen=True, eq=False)
class Meaning:
    """What scores meant: by slot the `chance` of a positive, by cell its standard error and the spread of ordinary days.

    `cells` intp[slots]; `error` and `spread` float64[cells]; `held` bool[slots], where there were any.
    """

    bins: OutcomeBins
    cells: np.ndarray
    chance: np.ndarray
    error: np.ndarray
    spread: np.ndarray
    held: np.ndarray

    @classmethod
    def learn(cls, bins: OutcomeBins, counts: np.ndarray) -> "Meaning | None":
        """From labelled days, int64[days, bins.counts]; None where fewer than 7 days, or labels of one class, tell nothing.

        >>> from barograph.outcomes import OutcomeProfile
        >>> bins, rng = OutcomeBins.default("binary", threshold=0.5), np.random.default_rng(0)
        >>> def days(n, meant):
        ...     scores = rng.uniform(0, 1, (n, 2000))
        ...     labels = rng.random((n, 2000)) < meant(scores)
        ...     return np.stack([OutcomeProfile.of(bins, *day).counts for day in zip(labels, scores)])
        >>> meaning = Meaning.learn(bins, days(14, lambda s: s))
        >>> [
        ...     bool(v.value > v.threshold)
        ...     for v in map(meaning.judge, [*days(1, lambda s: s), *days(1, np.sqrt)])
        ... ]
        [False, True]
        """
        hits, rows = _hits(bins, counts)
        held = rows.sum(axis=-1) > 0
        hits, rows = hits[held], rows[held]
        total, seen = hits.sum(axis=0), rows.sum(axis=0)
        if held.sum() < MINIMUM_DAYS or not (bins.residual is not None or 0 < total.sum() < seen.sum()):
            return None
        chance = _chance(bins, total, seen)
        rows_of = total.sum() if bins.residual is not None else seen
        information = rows_of * chance * (1 - chance)
        if not information.any():  # each score had one label: there is nothing to be less sure of
            return None
        cells = _cells(information)
        plain = cls(bins, cells, chance, np.zeros(1), np.zeros(1), seen > 0)
        found, expected, variance, n = plain._compare(hits, rows)
        excess = ((found - expected) ** 2 - variance).sum(axis=0)
        unsure = np.sqrt(2 * (variance**2).sum(axis=0))  # of the excess, in as many days
        spread = ratio(np.maximum(excess, 0.0) + unsure, (n**2).sum(axis=0))
        _, _, variance, n = plain._compare(total, seen)
        least = FLOOR**2 * ratio(variance, n)
        error = ratio(np.sqrt(variance), n)
        return replace(plain, error=error, spread=np.sqrt(np.fmax(spread, least)))

    def judge(self, counts: np.ndarray) -> Verdict:
        """Labels of one window, int64[bins.counts], against it."""
        found = self._deviations(counts[None])
        if not found.told.any():
            return Verdict(np.nan, np.nan)
        return found.verdict(0, int(np.nanargmax(np.abs(found.z[0]))))

    def course(self, counts: np.ndarray) -> tuple[int | None, Verdict]:
        """The first of the days that the last one is drifted since, or None, and by what: int64[days, bins.counts], one at least.

        A cell that is off two days in a row, or by far, is one; so is a little each day, of all cells, that a CUSUM adds up.
        """
        found = self._deviations(counts)
        last = len(counts) - 1
        if self.bins.residual is None:
            for sign in (1, -1):
                since = rising(sign * found.z[:, -1], found.allowed)
                if since is not None:
                    lately = counts[max(since, len(counts) - LATELY) :].sum(axis=0, keepdims=True)
                    return since, self._deviations(lately).verdict(0, -1)
        since, group = _off(found.z, found.lines)
        if since is None and not found.told[last].any():
            return None, Verdict(np.nan, np.nan)
        return since, found.verdict(
            last, int(np.nanargmax(np.abs(found.z[last]))) if since is None else group
        )

    def information(self, counts: np.ndarray) -> np.ndarray:
        """What labels of days tell: float64[days], positives expected, times the share of negatives."""
        return np.asarray(self._compare(*_hits(self.bins, counts))[2].sum(axis=-1))

    def _deviations(self, counts: np.ndarray) -> "_Deviations":
        """Of days, by cell, and of all cells together: a change that none shows by itself. Residuals have no such."""
        found, expected, variance, n = self._compare(*_hits(self.bins, counts))
        error, spread = n**2 * self.error**2, n**2 * self.spread**2
        if self.bins.residual is None:
            found, expected, variance, n, error, spread = (
                np.concatenate([x, x.sum(axis=-1, keepdims=True)], axis=-1)
                for x in (found, expected, variance, n, error, spread)
            )
        told = variance >= INFORMATION
        z = np.where(told, ratio(found - expected, np.sqrt(variance + error + spread)), np.nan)
        lines = -special.ndtri(ALPHA / np.maximum(told.sum(axis=-1), 1) / 2)
        unsure = np.nan_to_num(np.sqrt(ratio(error, variance + spread)))[:, -1]
        ends = [self._ends([i]) for i in range(len(self.error))] + [self._ends(list(range(len(self.error))))]
        return _Deviations(
            told, z, lines, np.maximum(ALLOWED, 2 * unsure), ratio(found, n), ratio(expected, n), ends
        )

    def _compare(self, hits: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Positives found and expected, the variance of these, and rows: each (..., cells) of slots (..., slots)."""
        merge = Merge.of(np.arange(len(self.cells)), self.cells, int(self.cells.max()) + 1)
        found = merge(hits).astype(np.float64)
        if self.bins.residual is not None:
            chance = merge(self.chance)
            n = rows.sum(axis=-1, keepdims=True) * np.ones(len(chance))
            return found, n * chance, n * chance * (1 - chance), n
        spread = self.chance * (1 - self.chance)
        return found, merge(rows * self.chance), merge(rows * spread), merge(rows).astype(np.float64)

    def _ends(self, cells: list[int]) -> tuple[float, float]:
        """From where to where the slots of some cells reach."""
        drawn = self.bins.score or self.bins.residual
        assert drawn is not None
        slots = np.flatnonzero(np.isin(self.cells, cells) & self.held)
        edges = np.concatenate([[drawn.low], drawn.edges, [drawn.high]])
        return float(edges[slots.min()]), float(edges[min(slots.max() + 1, len(edges) - 1)])


@dataclass(frozen=True, eq=False)
class _Deviations:
    """Of days and groups of cells: what is `told` at all, `z` standard errors off; `lines` of a day, and what a CUSUM forgives.

    `found` and `expected` are shares, `ends` where groups begin and end.
    """

    told: np.ndarray
    z: np.ndarray
    lines: np.ndarray
    allowed: np.ndarray
    found: np.ndarray
    expected: np.ndarray
    ends: list[tuple[float, float]]

    def verdict(self, day: int, group: int) -> Verdict:
        """What a group says on a day."""
        value, found, expected = (float(x[day, group]) for x in (self.z, self.found, self.expected))
        return Verdict(abs(value), float(self.lines[day]), *self.ends[group], found, expected)


def _off(z: np.ndarray, lines: np.ndarray) -> tuple[int | None, int]:
    """Since when a group of cells is off by the last day, and which."""
    shift, group, sign = None, 0, 1.0
    for i, (values, line) in enumerate(zip(np.nan_to_num(z), lines.tolist(), strict=True)):
        if shift is not None:
            shift = shift if shift.lasts(sign * float(values[group])) else None
            continue
        size = np.abs(values)
        worst = int(np.argmax(size))
        again = i > 0 and np.nanmax(np.abs(z[i - 1]), initial=0.0) > lines[i - 1]
        if size[worst] > 2 * line or (size[worst] > line and again):
            group, sign = worst, float(np.sign(values[worst]))
            shift = Shift(i, [float(size[worst])], ALLOWED)
    return (None if shift is None else shift.onset), group


def _hits(bins: OutcomeBins, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives (right answers, or residuals) and rows by slot, each (..., slots)."""
    if bins.residual is not None:
        hits = counts[..., : bins.residual.values]
        return hits, hits
    assert bins.score is not None
    first = 0 if bins.task == "binary" else bins.counts - 2 * bins.slots
    both = counts[..., first : first + 2 * bins.slots].reshape(*counts.shape[:-1], 2, bins.slots)
    both = both[..., : bins.score.values]
    return both[..., 1, :], both.sum(axis=-2)


def _chance(bins: OutcomeBins, hits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """By slot: of a score the chance of a positive, which never falls; else the share of residuals."""
    if bins.residual is not None:
        return np.asarray(hits / hits.sum())
    chance = isotonic(hits, rows)
    return np.where(np.isnan(chance), hits.sum() / rows.sum(), chance)


def _cells(information: np.ndarray) -> np.ndarray:
    """intp[slots]: neighbouring slots of about as much information together."""
    before = np.cumsum(information) - information / 2
    place = np.minimum((before / information.sum() * CELLS).astype(np.intp), CELLS - 1)
    return np.unique(place, return_inverse=True)[1]
