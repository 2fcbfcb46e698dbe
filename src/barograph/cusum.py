"""What adds up over days though no single one shows it, and when it is over: Page, "Continuous inspection schemes" (1954)."""

from collections.abc import Sequence

import numpy as np

ALLOWED = 0.5  # standard errors a day that a CUSUM forgives
LIMIT = 8.0  # of the CUSUM: ordinary days cross it once in 50 years
OVER = 4.0  # of a CUSUM of days that are nearer to ordinary ones than to what they were: it is over


class Shift:
    """Days that are worse since `onset`, by a `level`, until later ones are nearer to ordinary ones for sure."""

    def __init__(self, onset: int, values: Sequence[float], least: float) -> None:
        self.onset, self._least = onset, least
        self._days, self._total = len(values), float(sum(values))
        self._level, self._back = self._total / self._days, 0.0

    def lasts(self, value: float) -> bool:
        """Whether it goes on after one more day."""
        self._days, self._total = self._days + 1, self._total + value
        self._level = max(self._level, self._total / self._days)
        self._back = max(0.0, self._back + max(self._level / 2, self._least) - value)
        return self._back < OVER


class Cusum:
    """What adds up over days (Page, 1954), and the shift that it found; `began` is the day on which that showed."""

    def __init__(self) -> None:
        self.shift: Shift | None = None
        self.began, self._first, self._values, self._total = 0, 0, list[float](), 0.0

    def take(self, i: int, value: float, allowed: float) -> None:
        """One more day."""
        if self.shift is not None:
            self.shift = self.shift if self.shift.lasts(value) else None
            return
        if self._total <= 0:
            self._first, self._values = i, []
        self._values.append(value)
        self._total = max(0.0, self._total + value - allowed)
        if self._total > LIMIT:
            self.shift, self.began, self._total = Shift(self._first, self._values, allowed), i, 0.0

    def forget(self, day: int) -> None:
        """What showed from a day on is something else."""
        self._total = 0.0
        if self.began >= day:
            self.shift = None

    @property
    def onset(self) -> int | None:
        """The first day of the shift that goes on; None where there is none."""
        return None if self.shift is None else self.shift.onset


def rising(z: np.ndarray, allowed: np.ndarray) -> int | None:
    """The onset of what a CUSUM of days adds up, if the last one is still in it; NaN says nothing.

    >>> rising(np.array([0.0, 0.0, 3.0, 3.0, 3.0, 3.0]), np.full(6, 0.5))
    2
    """
    sums = Cusum()
    for i, (value, least) in enumerate(zip(np.nan_to_num(z).tolist(), allowed.tolist(), strict=True)):
        sums.take(i, value, least)
    return sums.onset
