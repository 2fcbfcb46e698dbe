"""A model's key output: the one figure of what it answers that stands for it in the fleet."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from barograph import sentences
from barograph.bins import CategoryBins, NumericBins
from barograph.console.state import HOUR, ROWS_A_POINT, View
from barograph.naming import PREDICTION, SCORE
from barograph.output import positive_share, response_quantiles
from barograph.pooling import pool
from barograph.traffic import shares

Figure = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]


@dataclass(frozen=True)
class Key:
    """A figure of a column. `of` gives it by counts (..., size), their sums and the fewest rows; NaN where there are fewer."""

    column: str
    words: str
    is_share: bool
    of: Figure

    def text(self, value: float) -> str:
        """`31 % late`, `41 median`."""
        figure = sentences.share(value) if self.is_share else sentences.number(value)
        return f"{figure} {self.words}"


def key_of(view: View) -> Key | None:
    """The share of positive answers, or of the class that is usually the most frequent; else the median answer or score."""
    if view.known is None:
        return None
    reference = view.known.reference
    name = next((n for n in (PREDICTION, SCORE) if n in reference.bins.columns), None)
    if name is None:
        return None
    bins = reference.bins.columns[name]
    if isinstance(bins, CategoryBins):
        slot = int(np.argmax(reference.baseline.column(name)[0][: bins.values]))
        return Key(name, bins.labels()[slot], True, _class(slot))
    if reference.task == "binary" and name == PREDICTION:
        words = reference.columns.get("label") or "positive"
        return Key(name, words, True, lambda counts, _, least: positive_share(bins, counts, minimum=least))
    return median(name, bins)


def median(name: str, bins: NumericBins) -> Key:
    """The median of a column of numbers."""

    def of(counts: np.ndarray, sums: np.ndarray | None, least: int) -> np.ndarray:
        return np.asarray(response_quantiles(bins, counts, sums, (0.5,), minimum=least)[..., 0])

    return Key(name, "median", False, of)


def _class(slot: int) -> Figure:
    return lambda counts, _, least: shares(counts[..., slot], counts.sum(axis=-1), least)


def usual(view: View, key: Key) -> tuple[float, float] | None:
    """Between which figures nine in ten of the reference's windows lie."""
    known = view.known
    if known is None or known.reference.windows is None:
        return None
    hours = known.reference.windows
    pooled = pool(hours.starts, hours.rows)
    counts = pooled.sum(hours.counts[:, known.reference.bins.slice(key.column)])[pooled.enough]
    figures = key.of(counts, None, 1) if len(counts) else np.zeros(0)
    if not np.isfinite(figures).any():
        return None
    low, high = np.nanquantile(figures, [0.05, 0.95])
    return float(low), float(high)


def latest(view: View, key: Key) -> float | None:
    """The figure of the last hours (one, three, six or a day) that hold some 30 rows."""
    if view.known is None or view.columns is None:
        return None
    where = view.known.reference.bins.slice(key.column)
    for hours in (1, 3, 6, 24):
        found = view.counted(view.span.end - hours * HOUR)
        if found.counts[where].sum() >= ROWS_A_POINT:
            figure = float(key.of(found.counts[where], found.sums[where], 1))
            return figure if np.isfinite(figure) else None
    return None


def spread(low_high: tuple[float, float] | None, is_share: bool) -> str:
    """`, usual 27–35 %`, or nothing.

    >>> spread((0.271, 0.349), True).replace(sentences.NBSP, " ")
    ', usual 27–35 %'
    """
    if low_high is None:
        return ""
    low, high = (sentences.share(v) if is_share else sentences.about(v) for v in low_high)
    return f", usual {low.removesuffix(sentences.NBSP + '%') if is_share else low}–{high}"
