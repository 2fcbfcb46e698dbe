"""What errors are to be expected, as far as the score says, and how likely more of them are by chance.

An honest score says itself where a model errs: near the threshold. What is looked for is more than that, so errors in a group are
held against those of rows elsewhere that have about the same score. Where no scores are logged, all rows are alike.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, signal, stats

BINS = 64  # of scores, before those in which errors are equally frequent become one block
LIFT = 2.0  # times the odds of an error that are expected, at least
SUPPORT = 30  # rows of a group at least,
ENOUGH = 10  # and errors
_WIDE = 12.0  # standard deviations beyond which nothing is counted on
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Rows:
    """Some of the rows that can be wrong: their positions, whether they are, and their scores, None where none are logged."""

    at: np.ndarray
    wrong: np.ndarray
    score: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.at)

    def take(self, chosen: np.ndarray) -> "Rows":
        """Some of them."""
        score = None if self.score is None else self.score[chosen]
        return Rows(self.at[chosen], self.wrong[chosen], score)


@dataclass(frozen=True, eq=False)
class Scale:
    """Scores in blocks: `cuts` float64[k] between bins, `block` intp[k + 2] of each bin (the last is of no score).

    `rate` float64[] is the share of errors in each block: rising or falling with the score, as `fit` is told.
    """

    cuts: np.ndarray
    block: np.ndarray
    rate: np.ndarray

    @classmethod
    def fit(cls, rows: Rows, *, falling: bool) -> "Scale":
        """From rows whose errors are known: isotonic regression over bins of equal numbers of rows.

        >>> rows = Rows(np.arange(4), np.array([True, True, False, False]), np.array([0.5, 0.6, 0.8, 0.9]))
        >>> Scale.fit(rows, falling=True).expected(rows).tolist()
        [1.0, 1.0, 0.0, 0.0]
        """
        if rows.score is None:
            mean = float(rows.wrong.mean()) if len(rows) else 0.0
            return cls(np.zeros(0), np.zeros(2, dtype=np.intp), np.array([mean]))
        known = rows.score[np.isfinite(rows.score)]
        cuts = np.unique(np.quantile(known, np.arange(1, BINS) / BINS)) if len(known) else np.zeros(0)
        bins = _bins(cuts, rows.score)
        n = np.bincount(bins, minlength=len(cuts) + 2)
        share = np.bincount(bins, weights=rows.wrong, minlength=len(n)) / np.maximum(n, 1)
        here = np.flatnonzero(n[:-1])
        block = np.zeros(len(n), dtype=np.intp)
        if not len(here):
            return cls(cuts, block, share[-1:])
        fitted = optimize.isotonic_regression(share[here], weights=n[here], increasing=not falling).x
        steps = np.append(0, np.cumsum(np.diff(fitted) != 0))
        block[:-1] = steps[np.clip(np.searchsorted(here, np.arange(len(n) - 1), side="right") - 1, 0, None)]
        block[-1] = steps[-1] + 1
        first = np.append(True, np.diff(fitted) != 0)
        return cls(cuts, block, np.append(fitted[first], share[-1]))

    def blocks(self, rows: Rows) -> np.ndarray:
        """intp[n]: the block of each row."""
        return (
            np.zeros(len(rows), dtype=np.intp)
            if rows.score is None
            else self.block[_bins(self.cuts, rows.score)]
        )

    def expected(self, rows: Rows) -> np.ndarray:
        """float64[n]: how likely each row is wrong, as far as its score says."""
        return np.asarray(self.rate[self.blocks(rows)])

    def elsewhere(self, rows: Rows, inside: np.ndarray) -> float:
        """The rate of errors elsewhere, in rows that have the scores of those inside."""
        blocks, size = self.blocks(rows), len(self.rate)
        n = np.bincount(blocks[inside], minlength=size)
        out = np.bincount(blocks[~inside], minlength=size)
        wrong = np.bincount(blocks[~inside & rows.wrong], minlength=size)
        usual = np.where(out > 0, wrong / np.maximum(out, 1), self.rate)
        return float((usual * n).sum() / max(n.sum(), 1))

    def chance(self, rows: Rows, inside: np.ndarray) -> float:
        """The probability of as many errors inside, were those of each block spread over its rows at random: exact."""
        blocks, size = self.blocks(rows), len(self.rate)
        n, all_rows, all_wrong = (
            np.bincount(blocks[chosen], minlength=size) for chosen in (inside, slice(None), rows.wrong)
        )
        first, total = 0, np.ones(1)
        for drawn, of, wrong in zip(n.tolist(), all_rows.tolist(), all_wrong.tolist(), strict=True):
            low, shares = _hypergeometric(of, wrong, drawn)
            first, total = first + low, signal.convolve(total, shares)
        errors = int((rows.wrong & inside).sum())
        return float(np.clip(total[max(errors - first, 0) :].sum(), 0.0, 1.0))


def _hypergeometric(rows: int, wrong: int, drawn: int) -> tuple[int, np.ndarray]:
    """The distribution of errors among the drawn rows: the first number that may be, and how likely it and the next ones are."""
    low, high = max(0, drawn - (rows - wrong)), min(drawn, wrong)
    if low == high:
        return low, np.ones(1)
    middle = drawn * wrong / rows
    spread = _WIDE * max(1.0, np.sqrt(middle * (1 - wrong / rows) * (rows - drawn) / max(rows - 1, 1)))
    low, high = max(low, int(middle - spread)), min(high, int(middle + spread) + 1)
    return low, np.asarray(stats.hypergeom.pmf(np.arange(low, high + 1), rows, wrong, drawn))


def _bins(cuts: np.ndarray, score: np.ndarray) -> np.ndarray:
    found = np.searchsorted(cuts, score, side="right")
    found[~np.isfinite(score)] = len(cuts) + 1
    return found


def likelihood_ratio(n: np.ndarray, e: np.ndarray, mean: np.ndarray, rows: int, errors: int) -> np.ndarray:
    """Logarithm of how much likelier e errors among n are at a rate of their own than at the expected one; -inf for no group.

    `mean` errors are expected in a group, `errors` in all `rows`. It is none with too few rows or errors, or where its odds of
    an error are not `LIFT` times what is expected by the rows elsewhere.

    >>> n, e, mean = np.array([50, 50]), np.array([40, 5]), np.array([5.0, 5.0])
    >>> likelihood_ratio(n, e, mean, 1_000, 100).round(1).tolist()
    [76.3, -inf]
    """
    mean = np.clip(mean, _LEAST * n, (1 - _LEAST) * n)
    usual = mean * ((errors - e) / np.maximum(errors - mean, _LEAST))
    group = (n >= SUPPORT) & (e >= ENOUGH) & (n < rows) & (e * (n - usual) >= LIFT * usual * (n - e))
    ratio = np.full(n.shape, -np.inf)
    n, e, mean = n[group], e[group], mean[group]
    rest = np.clip(errors - mean, _LEAST * (rows - n), (1 - _LEAST) * (rows - n))
    ratio[group] = _divergence(n, e, mean) + _divergence(rows - n, errors - e, rest)
    return ratio


def _divergence(n: np.ndarray, e: np.ndarray, mean: np.ndarray) -> np.ndarray:
    right = n - e
    return np.asarray(
        e * np.log(np.maximum(e, _LEAST) / mean) + right * np.log(np.maximum(right, _LEAST) / (n - mean))
    )
