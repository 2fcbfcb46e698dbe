"""Increments put together by tile before they are written."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from barograph.counters import ADDITIVE, Series, Vector
from barograph.tiles.model import DAY, MINUTE, Increment


@dataclass(slots=True)
class Tile:
    """One tile that is being added up."""

    counts: np.ndarray
    sums: np.ndarray
    last: bool  # keeps the last value

    @property
    def counts_change(self) -> bool:
        """Whether adding this to a stored tile changes its counts."""
        return not self.last and bool(self.counts.any())

    @property
    def changes(self) -> bool:
        """Whether adding this to a stored tile changes it."""
        return self.last or bool(self.counts.any() or self.sums.any())

    def put(self, vector: Vector) -> None:
        """Take in what comes later."""
        if self.last:
            self.counts, self.sums = vector.counts, vector.sums
        else:
            self.counts, self.sums = self.counts + vector.counts, self.sums + vector.sums

    def absorb(self, counts: np.ndarray, sums: np.ndarray) -> None:
        """Take in what is stored already."""
        if not self.last:
            self.counts, self.sums = self.counts + counts, self.sums + sums


class Batch:
    """Increments by (resolution, series, start). `expired`: the moment before which a resolution's tiles are gone.

    `spans` are the first and the last minute of each series; `slots` is how many numbers are held.
    """

    def __init__(self, expired: Mapping[int, int]) -> None:
        self.expired = expired
        self.tiles: dict[tuple[int, Series, int], Tile] = {}
        self.spans: dict[Series, tuple[int, int]] = {}
        self.slots = 0

    def put(self, increment: Increment) -> None:
        """Add one to its minute or, where the minutes are gone, to its hour or day."""
        series, vector = increment.series, increment.vector
        if len(vector.counts) != series.counts or len(vector.sums) != series.sums:
            raise ValueError(
                f"increments: {series.metric} has {series.counts} counts and {series.sums} sums, its vector has "
                f"{len(vector.counts)} and {len(vector.sums)}; give a vector of the series' own sizes"
            )
        minute = increment.start // MINUTE * MINUTE
        resolution = MINUTE
        if minute < self.expired[MINUTE]:
            resolution = next((r for r, gone in self.expired.items() if minute >= gone), DAY)
        key = (resolution, series, minute // resolution * resolution)
        first, last = self.spans.get(series, (minute, minute))
        self.spans[series] = min(first, minute), max(last, minute)
        if key in self.tiles:
            self.tiles[key].put(vector)
        else:
            self.tiles[key] = Tile(vector.counts, vector.sums, series.kind not in ADDITIVE)
            self.slots += series.counts + series.sums
