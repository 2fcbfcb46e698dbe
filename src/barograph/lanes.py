"""Lanes: the same signals in windows of five minutes, an hour and a day, which share a model's budget of alarms.

A short window finds at once what is large, a long one in time what is small. What seasons hide of a short one
is found beside the one before it, in the lane of jumps.
"""

from dataclasses import dataclass, replace

import numpy as np

from barograph.drift import MINIMUM_ROWS

HOUR, DAY = 3600, 86_400
OUTPUT = frozenset({"score", "prediction", "heuristic"})


@dataclass(frozen=True)
class Lane:
    """Windows of one length, and what of them is an alarm.

    `seconds` is a window's length, `share` the part of the model's budget. `outputs` says whether none but
    output columns are judged, `minimum` how many rows a verdict takes. An alarm is a ratio (value /
    threshold) above `once` in a single window, or above 1 in `running` judged windows, each at most `apart`
    seconds after the one before. `tail` multiplies what bad days exceed usual ones by: what rests on single
    windows, or on hours in place of its own windows, takes more of it. Where `before` is above 0, a window is so
    many seconds long, ends with each `seconds`, and is compared with as many seconds before it; else with the
    reference.

    >>> HOURLY.windows, FIVE_MINUTES.judges("feature"), FIVE_MINUTES.judges("score")
    (720, False, True)
    """

    name: str
    title: str
    seconds: int
    share: float
    minimum: int
    once: float
    running: int
    apart: int
    tail: float
    outputs: bool = False
    before: int = 0

    @property
    def windows(self) -> int:
        """How many there are in a month of 30 days."""
        return 30 * DAY // self.seconds

    @property
    def history(self) -> int:
        """Seconds before a window's start in which the windows end that its alarm depends on."""
        return (self.running - 1) * self.apart + max(self.running - 2, 0) * self.seconds

    def judges(self, role: str) -> bool:
        """Whether columns of this role are judged in it."""
        return not self.outputs or role in OUTPUT

    def alarm(self, signal: str, starts: np.ndarray, ends: np.ndarray, ratios: np.ndarray) -> np.ndarray:
        """Whether each of T windows is in alarm: bool, of the shape of `ratios`, (T,) or (T, C).

        `starts` and `ends` are epoch seconds, in order; `ratios` are NaN where a window was not judged. O
        needs but one ratio above 1.

        >>> HOURLY.alarm("D", np.arange(4) * 3600, np.arange(1, 5) * 3600, [1.2, np.nan, 1.1, 2.5]).tolist()
        [False, False, True, True]
        """
        at_once = 1.0 if signal == "O" else self.once
        return np.asarray(self.level(starts, ends, ratios, at_once) > 1)

    def level(
        self, starts: np.ndarray, ends: np.ndarray, ratios: np.ndarray, at_once: float | None = None
    ) -> np.ndarray:
        """How many times higher the line could be, and each window would still be in alarm: of the shape of `ratios`.

        NaN where a window was not judged. `at_once` replaces `once`.

        >>> HOURLY.level(np.arange(3) * 3600, np.arange(1, 4) * 3600, [1.2, 1.1, 2.5]).tolist()
        [0.6, 1.1, 1.25]
        """
        ratios = np.asarray(ratios, dtype=np.float64)
        if not ratios.size:
            return ratios
        by_column = ratios.reshape(len(ratios), -1)
        starts, ends = np.asarray(starts), np.asarray(ends)
        at = np.where(np.isnan(by_column), -1, np.arange(len(ratios))[:, None])
        before = np.vstack([np.full_like(at[:1], -1), np.maximum.accumulate(at, axis=0)[:-1]])
        near = (before >= 0) & (starts[:, None] - ends[before] <= self.apart)
        run = by_column
        for _ in range(self.running - 1):
            last = np.take_along_axis(run, np.maximum(before, 0), axis=0)
            run = np.minimum(by_column, np.where(near, last, 0.0))
        once = by_column / (self.once if at_once is None else at_once)
        return np.asarray(np.maximum(run, once)).reshape(ratios.shape)


FIVE_MINUTES = Lane("5m", "5 minutes", 300, 0.125, 200, 2.0, 2, 900, 1.6, outputs=True)
JUMP = Lane("jump", "quarter of an hour", 300, 0.125, 600, 1.0, 1, 900, 0.85, outputs=True, before=900)
HOURLY = Lane("1h", "hour", HOUR, 0.5, MINIMUM_ROWS, 2.0, 2, 6 * HOUR, 1.2)
DAILY = Lane("1d", "day", DAY, 0.25, MINIMUM_ROWS, 1.0, 1, DAY, 1.6)

LANES = {lane.name: lane for lane in (FIVE_MINUTES, JUMP, HOURLY, DAILY)}


def main_lane(window: int) -> Lane:
    """The lane of all columns that are judged each `window` seconds.

    >>> main_lane(3600) is HOURLY, main_lane(600).name
    (True, '10m')
    """
    return HOURLY if window == HOUR else replace(HOURLY, name=f"{window // 60}m", seconds=window)


def lanes(window: int) -> tuple[Lane, ...]:
    """Those that columns are judged in, where they are judged each `window` seconds: the finest first.

    >>> [lane.name for lane in lanes(3600)], [lane.name for lane in lanes(300)]
    (['5m', 'jump', '1h', '1d'], ['jump', '5m', '1d'])
    """
    finer = [FIVE_MINUTES] if window > FIVE_MINUTES.seconds else []
    return (*finer, JUMP, main_lane(window), DAILY)
