"""Train-serve skew: whether production ever looked like what the model was trained on.

The first rows of a version are compared with the training data, column by column. Drift is a change of production since the
reference; skew was there from the first hour on, and its cause is a difference of code or data between training and serving.
"""

from dataclasses import dataclass

import numpy as np

from barograph.bins import Bins
from barograph.calibrate import Calibration
from barograph.drift import MINIMUM_ROWS, ColumnReference, Columns, signals
from barograph.profile import Profile

EARLY_ROWS = 300
# Training is of another season: a smaller difference is no fault. Nats, standard deviations, shares.
FLOORS = {"D": 0.25, "L": 0.5, "A": 0.05, "U": 0.05}
LABEL = "label"
LABEL_POINTS = 0.05
_SURE = 4.0  # standard errors


@dataclass(frozen=True, slots=True)
class Skew:
    """The signal of a column that is farthest beyond its line."""

    column: str
    signal: str
    value: float
    threshold: float

    @property
    def ratio(self) -> float:
        """How far beyond; above 1 the column is skewed."""
        return self.value / self.threshold


def skews(calibration: Calibration, training: Profile, early: np.ndarray) -> list[Skew]:
    """Features of a version's first rows, int64[slots], against the training data: each with its farthest signal.

    A line is what ordinary hours of the reference reach, and a floor at least. A feature that training has not is left out.
    """
    bins = training.bins
    names = list(bins.columns)
    held = [n for n in names if bins.roles[n] == "feature" and _told(bins.columns[n], training.column(n)[0])]
    if not held or early[bins.slice(held[0])].sum() < EARLY_ROWS:
        return []
    columns = Columns({n: ColumnReference(bins.columns[n], *training.column(n)) for n in held})
    found = signals(columns, columns.totals(np.concatenate([early[bins.slice(n)] for n in held])))
    lines = calibration.verdicts(early[None]).thresholds
    told: dict[str, list[Skew]] = {}
    for signal, floor in FLOORS.items():
        for name, value in zip(held, found[signal].tolist(), strict=True):
            line = float(np.fmax(lines[signal][0, names.index(name)], floor))
            if np.isfinite(value):
                told.setdefault(name, []).append(Skew(name, signal, value, line))
    return [max(of_column, key=lambda one: one.ratio) for of_column in told.values()]


def _told(bins: Bins, counts: np.ndarray) -> bool:
    """Whether the training data have a column at all."""
    return bool(counts.sum() >= EARLY_ROWS and counts[bins.missing] < counts.sum())


def label_skew(training: np.ndarray, labels: np.ndarray, spread: float) -> Skew | None:
    """Shares of classes among labels, int64[classes], against those of training; None where few labels tell nothing.

    `spread` is the standard deviation of a day's shares. The signal is the largest difference of a share.

    >>> found = label_skew(np.array([900, 100]), np.array([600, 400]), spread=0.01)
    >>> round(found.value, 2), found.ratio > 1
    (0.3, True)
    """
    n, rows = labels.sum(), training.sum()
    if n < MINIMUM_ROWS or rows < MINIMUM_ROWS:
        return None
    shares, usual = labels / n, training / rows
    error = np.sqrt(usual * (1 - usual) * (1 / n + 1 / rows) + spread**2)
    lines = np.maximum(_SURE * error, LABEL_POINTS)
    worst = int(np.argmax(np.abs(shares - usual) / lines))
    return Skew(LABEL, "A", float(abs(shares - usual)[worst]), float(lines[worst]))
