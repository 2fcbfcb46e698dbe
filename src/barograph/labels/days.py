"""Outcomes of a version by UTC day of the prediction, and of which days the labels are there."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from barograph.labels.counting import CELLS, age_series, coarse_cells, logged_series, outcome_series
from barograph.maturity import AGES, FINAL, Maturity, lag_quantiles
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.tiles import DAY, HOUR, Tiles

LOOKED_BACK = 90  # days
FARTHEST = 365  # days, where labels take long
LEAST_SHARE = 0.05  # of predictions that ever get a label, below which it is not known how many do
ENOUGH_DAYS = 5
KEPT = 2 * HOUR  # that days are remembered for, of versions that nobody asks for
READ_EVERY = 600  # seconds: what labels say of whole days is no matter of minutes
ENOUGH = 50  # labels of a day, below which it is joined with the days after
LATE = 0.5  # of the labels that should be there: fewer are missing, and not just few by chance
STOPPED = (1, 2, 4, 7, 14, 21, 30, 45)  # days after which it is asked whether labels still come

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Days:
    """D days that are over, in order, with predictions that could have a label.

    `starts` int64[D] epoch seconds; `counts` (D, bins.counts) and `sums` (D, bins.sums) of the labels that have come; `logged`
    int64[D] predictions; `ages` int64[D, 2, ages + 1, cells], how old labels were, of no rows where it is not known.
    """

    bins: OutcomeBins
    starts: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    logged: np.ndarray
    ages: np.ndarray
    now: float
    _worked_out: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, what: Hashable, work: Callable[[], _T]) -> _T:
        """What is worked out of these days, and of nothing that changes: the first time only."""
        if what not in self._worked_out:
            self._worked_out[what] = work()
        return self._worked_out[what]  # type: ignore[no-any-return]

    @cached_property
    def labelled(self) -> np.ndarray:
        """Predictions with a label, int64[D]."""
        return np.asarray(self.counts[:, self.bins.answered].sum(axis=1))

    @cached_property
    def share(self) -> np.ndarray:
        """Share of the labels that have come, float64[D]."""
        return np.asarray(self.labelled / np.maximum(self.logged, self.labelled))

    @cached_property
    def slow(self) -> float:
        """Seconds after which 95 % of the labels that came had come; NaN where it is not known.

        Where ages are not counted: the age at which days have nearly the share of labels of those twice as old.
        """
        if self.ages.any():
            return float(lag_quantiles(self.ages.sum(axis=(0, 1, 3)), [FINAL])[0])
        age = (self.now - self.starts - DAY) / DAY
        for days in STOPPED:
            old, younger = age >= 2 * days, (age >= days) & (age < 2 * days)
            if old.sum() >= ENOUGH_DAYS and 0 < FINAL * self.share_of(old) <= self.share_of(younger):
                return float(days * DAY)
        return np.nan

    def share_of(self, chosen: np.ndarray) -> float:
        """Share of the labels of some days, bool[D] or their places; NaN without predictions."""
        logged = np.maximum(self.logged, self.labelled)[chosen].sum()
        return float(self.labelled[chosen].sum() / logged) if logged > 0 else np.nan

    @cached_property
    def old(self) -> np.ndarray:
        """bool[D]: days that are twice as old as nearly all labels were."""
        return np.asarray(self.starts + DAY + 2 * self.slow < self.now)

    @cached_property
    def eventual(self) -> float:
        """Share of predictions that ever get a label, by days that are old; 1 if unknown."""
        if not self.old.sum() >= ENOUGH_DAYS:
            return 1.0
        share = self.share_of(self.old)
        return share if share >= LEAST_SHARE else 1.0

    @cached_property
    def matured(self) -> np.ndarray:
        """bool[D]: whether nearly all labels that ever come are there. Of old days that are few by chance, these are all."""
        usual = FINAL * self.eventual
        known = self.old & (self.old.sum() >= ENOUGH_DAYS)
        least = np.where(known, LATE * usual, usual)
        return np.asarray((self.labelled > 0) & (self.share >= least))

    @cached_property
    def settled(self) -> "Days":
        """The matured ones, of 50 labels each."""
        return self.where(self.matured).pooled(ENOUGH)

    @cached_property
    def maturity(self) -> Maturity | None:
        """How labels of matured days came in; None where it is not known, or none came of one class."""
        counts = self.ages[self.matured].sum(axis=0)
        if self.bins.task != "binary" or self.matured.sum() < ENOUGH_DAYS:
            return None
        try:
            return Maturity.learn(coarse_cells(self.bins), counts, eventual=self.eventual)
        except ValueError:  # labels of one class alone
            return None

    def where(self, chosen: np.ndarray) -> "Days":
        """Some of the days, bool[D] or their places."""
        names = ("starts", "counts", "sums", "logged", "ages")
        starts, counts, sums, logged, ages = (getattr(self, name)[chosen] for name in names)
        return Days(self.bins, starts, counts, sums, logged, ages, self.now)

    def pooled(self, least: float, weights: np.ndarray | None = None) -> "Days":
        """Days joined with those that follow until there are so many labels, or so much weight, float64[D].

        What is left over at the end is left out.
        """
        ends, held = [0], 0.0
        for i, labels in enumerate((self.labelled if weights is None else weights).tolist(), start=1):
            held += labels
            if held >= least:
                ends.append(i)
                held = 0.0
        starts = np.array(ends[:-1], dtype=np.intp)
        cut = self.where(np.arange(ends[-1]))
        if not len(starts):
            return cut
        names = ("counts", "sums", "logged", "ages")
        counts, sums, logged, ages = (np.add.reduceat(getattr(cut, name), starts, axis=0) for name in names)
        return Days(self.bins, cut.starts[starts], counts, sums, logged, ages, self.now)

    @cached_property
    def profiles(self) -> list[OutcomeProfile]:
        """Of each day."""
        return [OutcomeProfile(self.bins, *both) for both in zip(self.counts, self.sums, strict=True)]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class _Page:
    """Days as they were read at `days.now`; `mark` is another one once there is something new."""

    mark: tuple[int, ...]
    days: Days


class DayBook:
    """Days of versions, each read anew only when labels have come, and every ten minutes at most, or another hour has begun.

    Versions that nobody asks for are forgotten.
    """

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self._pages: dict[tuple[str, str, str, str], _Page] = {}
        self._hour = 0

    def of(self, model: str, version: str, bins: OutcomeBins, now: float, segment: str = "") -> Days:
        """The last 90 days of a version, of all rows or of a segment (`key=value`)."""
        hour, key = int(now // HOUR), (model, version, segment, bins.id)
        if hour != self._hour:
            self._hour = hour
            self._pages = {key: page for key, page in self._pages.items() if abs(now - page.days.now) < KEPT}
        before = self._pages.get(key)
        lately = (
            before is not None and before.days.now // HOUR == hour and abs(now - before.days.now) < READ_EVERY
        )
        if before is not None and lately and before.mark[0] == self._tiles.rollbacks:
            return before.days
        read = (outcome_series(model, version, segment, bins), logged_series(model, version, segment))
        mark = (self._tiles.rollbacks, hour, *(self._tiles.changed(series) for series in read))
        if before is not None and before.mark == mark:
            return before.days
        found = days_of(self._tiles, model, version, bins, now, segment)
        self._pages[key] = _Page(mark, found)
        return found


def days_of(tiles: Tiles, model: str, version: str, bins: OutcomeBins, now: float, segment: str = "") -> Days:
    """Read the last 90 days of a version that are over at `now` (epoch seconds); more where its labels take long."""
    found = _read(tiles, model, version, bins, now, segment, LOOKED_BACK)
    back = 3 * found.slow / DAY
    if back > LOOKED_BACK:
        return _read(tiles, model, version, bins, now, segment, int(min(back, FARTHEST)))
    return found


def _read(
    tiles: Tiles, model: str, version: str, bins: OutcomeBins, now: float, segment: str, back: int
) -> Days:
    end = int(now // DAY) * DAY
    series = [outcome_series(model, version, segment, bins), logged_series(model, version, segment)]
    if not segment:
        series.append(age_series(model, version, bins))
    known = [seen[0] for one in series if (seen := tiles.seen(one)) is not None]
    start = max(end - back * DAY, min(known, default=end) // DAY * DAY)
    found = tiles.windows_many(series, start, max(end, start), DAY)
    counts, logged = found[0].counts, found[1].counts[:, 0]
    shape = (-1, 2, len(AGES) + 1, CELLS)
    ages = found[2].counts.reshape(shape) if len(found) > 2 else np.zeros((len(logged), 0, len(AGES) + 1, 1))
    days = Days(bins, found[0].starts, counts, found[0].sums, logged, ages, now)
    return days.where((logged > 0) | (days.labelled > 0))
