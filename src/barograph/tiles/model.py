"""What tiles take in and give out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from barograph.counters import ADDITIVE, Series, Vector

MINUTE, HOUR, DAY = 60, 3600, 86_400

Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # starts int64[n], counts int64[n, k], sums float64[n, m]


@dataclass(frozen=True, slots=True, eq=False)
class Increment:
    """What a series grew by (or, for a gauge, was) in the UTC minute of `start` (epoch seconds)."""

    series: Series
    start: int
    vector: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A series over T windows. Where `present` is False nothing was stored: a gap, which is not a zero.

    `starts` int64[T] epoch seconds; `present` bool[T]; `counts` int64[T, k]; `sums` float64[T, m]. For a gauge or an
    info `sums` holds the last value of the window.
    """

    starts: np.ndarray
    present: np.ndarray
    counts: np.ndarray
    sums: np.ndarray


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days each resolution is kept, and how many days alerts, incidents and events are once they are over.

    Judgements of hours are kept as long as the hours that they judge.

    >>> Retention(minutes=7).seconds[3600] / 86400
    100.0
    """

    minutes: float = 3
    hours: float = 100
    days: float = 800
    records: float = 400

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= self.hours <= self.days:
            raise ValueError(
                f"retention: minutes={self.minutes}, hours={self.hours}, days={self.days} (in days) must be above 0 "
                "and must not fall; keep coarser tiles at least as long as finer ones"
            )
        if not self.records > 0:
            raise ValueError(f"retention: records={self.records} days; it must be above 0, such as 400")

    @property
    def seconds(self) -> dict[int, float]:
        """Seconds that tiles are kept, by resolution in seconds."""
        return {MINUTE: self.minutes * DAY, HOUR: self.hours * DAY, DAY: self.days * DAY}


@dataclass(frozen=True, slots=True)
class Size:
    """What the tiles take: `bytes` on disk (0 in memory), series, and rows by resolution in seconds."""

    bytes: int
    series: int
    rows: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """The windows that are asked for, in whole seconds, and which slots of them."""

    start: int
    end: int
    step: int
    slots: slice | None = None

    @classmethod
    def of(cls, start: float, end: float, step: int, slots: slice | None = None) -> "Frame":
        """Check what is asked. A tile begins at a whole minute, so rounding the bounds up moves no tile."""
        if not (step >= MINUTE and end >= start):
            raise ValueError(
                f"windows: start={start}, end={end}, step={step}; end must not lie before start, and step must be at "
                f"least {MINUTE} seconds: tiles are minutes"
            )
        bounds = (slots.start or 0, slots.stop or 0) if slots is not None else (0, 0)
        if min(bounds) < 0 or (slots is not None and slots.step not in (None, 1)):
            raise ValueError(f"slots: {slots} has a step or counts from the end; give slice(start, stop)")
        return cls(ceil(start), ceil(end), int(step), slots)

    def hold(self, tiles: np.ndarray, width: int) -> np.ndarray:
        """Whether all minutes of each tile lie within one window."""
        final = tiles + width - MINUTE
        one = (tiles - self.start) // self.step == (final - self.start) // self.step
        whole: np.ndarray = one & (tiles >= self.start) & (final < self.end)
        return whole

    def windows(self, series: Series, parts: Sequence[Part]) -> Windows:
        """Put tiles, some from each resolution, into their windows."""
        starts = np.arange(self.start, self.end, self.step, dtype=np.int64)
        present = np.zeros(len(starts), dtype=bool)
        counts = np.zeros((len(starts), self._width(series.counts)), dtype=np.int64)
        beside = series.sums == series.counts
        sums = np.zeros((len(starts), self._width(series.sums) if beside else series.sums))
        if parts:
            moments, tile_counts, tile_sums = _joined(parts)
            where, first = np.unique((moments - self.start) // self.step, return_index=True)
            present[where] = True
            if series.kind not in ADDITIVE:
                final = np.append(first[1:], len(moments)) - 1
                counts[where], sums[where] = tile_counts[final], tile_sums[final]
            else:
                counts[where] = np.add.reduceat(tile_counts, first)
                sums[where] = np.add.reduceat(tile_sums, first)
        return Windows(starts, present, counts, sums)

    def _width(self, size: int) -> int:
        return size if self.slots is None else len(range(*self.slots.indices(size)))


def _joined(parts: Sequence[Part]) -> Part:
    """The tiles of several resolutions in the order of time. Each part is in order."""
    if len(parts) == 1:
        return parts[0]
    moments, counts, sums = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(moments, kind="stable")
    return moments[order], counts[order], sums[order]
