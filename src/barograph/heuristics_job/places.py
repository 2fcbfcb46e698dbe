"""Where a heuristic is counted: over the bins of the model's reference, or over bins that its own first values have drawn.

A reference that was fitted with the heuristic has frozen its bins: there it is one more column of the version. Else the first
values in the log draw bins of its own (numbers: those of `bins.numeric_bins`; texts: `bins.category_bins`), which stay; what is
ordinary is learnt from the hours in the tiles, after 14 days, and again after 28.
"""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace

import numpy as np

from barograph import frames, naming
from barograph.bins import BinSet, CategoryBins
from barograph.counters import Series, Vector
from barograph.heuristics import HeuristicError, kind_of
from barograph.heuristics_job.state import JobState
from barograph.known import References
from barograph.profile import Profile
from barograph.reference import Reference, ReferenceWindows
from barograph.schema import Column, Schema
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Tiles
from barograph.versions import Deployed, deployed

ROLE = "heuristic"
MOST_MINUTES = 1_500  # a longer stretch of the log is counted by the hour
LEARNT_DAYS = (14, 28)  # of which what is ordinary is learnt
TASK = "ranking"  # of a reference of heuristics alone: the one without outcomes


@dataclass(frozen=True, eq=False)
class Place:
    """A column of a series. `reference` is the content id of what was learnt, None where the model's own has the column."""

    series: Series
    bins: BinSet
    name: str
    reference: str | None = None

    @property
    def slots(self) -> slice:
        """Where the column lies in the series."""
        return self.bins.slice(self.name)

    def increments(self, values: frames.Column, times: np.ndarray) -> Iterator[Increment]:
        """What values at `times` (epoch seconds) add, by minute, or by hour where these are many."""
        bins = self.bins.columns[self.name]
        x = np.zeros(len(values)) if isinstance(bins, CategoryBins) else frames.floats(values)
        slots = bins.index(values if isinstance(bins, CategoryBins) else x)
        x = np.where(slots < bins.values, x, 0.0)
        starts, index = _starts(times)
        flat = index * bins.size + slots
        counts = np.bincount(flat, minlength=len(starts) * bins.size).reshape(-1, bins.size)
        sums = np.bincount(flat, weights=x, minlength=len(starts) * bins.size).reshape(-1, bins.size)
        for start, more, total in zip(starts.tolist(), counts, sums, strict=True):
            vector = Vector.zero(self.series)
            vector.counts[self.slots], vector.sums[self.slots] = more, total
            yield Increment(self.series, start, vector)

    def info(self, start: int) -> Iterator[Increment]:
        """What says by which reference the column is judged, where it was learnt."""
        if self.reference is not None:
            labels = {name: self.series.label(name) or "" for name in ("bins", "model", "version")}
            series = _info({**labels, "reference": self.reference})
            yield Increment(series, start, Vector(np.zeros(0, dtype=np.int64), np.ones(1)))


def _info(labels: dict[str, str]) -> Series:
    return Series(naming.HEURISTIC_INFO, tuple(sorted(labels.items())), "info", 0, 1)


def _starts(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    minutes = np.floor_divide(times, MINUTE).astype(np.int64)
    step = MINUTE if len(np.unique(minutes)) <= MOST_MINUTES else HOUR
    found, index = np.unique(minutes * MINUTE // step, return_inverse=True)
    return found * step, index


class Places:
    """Finds where heuristics of a model are counted, and learns references for those that no reference knows."""

    def __init__(
        self, tiles: Tiles, references: References, files: MutableMapping[str, bytes], state: JobState
    ) -> None:
        self._tiles, self._references, self._files, self._state = tiles, references, files, state

    def of(self, model: str, version: str, bins: str, name: str) -> Place | None:
        """Where it is counted of rows that were logged by a version over these bins; None where that is to be learnt."""
        learnt = self._state.learnt(model, name)
        if learnt is None:
            return self._frozen(model, version, bins, name)
        reference = Reference.from_json(self._files[learnt], origin=learnt)
        labels = {"model": model, "version": version, "bins": reference.bins.id}
        series = Series.of(naming.COLUMN_VALUES, labels, size=reference.bins.size)
        return Place(series, reference.bins, name, learnt)

    def _frozen(self, model: str, version: str, bins: str, name: str) -> Place | None:
        """In the version's own columns, where its reference has it. Counts of Prometheus are over other bins than the log."""
        found = next((v for v in deployed(self._tiles) if (v.model, v.version) == (model, version)), None)
        if found is None or not found.series:
            return None
        own = bins if bins in found.series else _last(self._tiles, found)
        known = self._references.of(found, own)
        if own is None or known is None or name not in known.reference.bins.columns:
            return None
        if known.reference.bins.roles[name] != ROLE:
            raise HeuristicError(f"{name} is a column of {model} already; give the heuristic another name")
        if own != bins and isinstance(known.reference.bins.columns[name], CategoryBins):
            raise HeuristicError(
                f"{name} makes texts, which cannot be told apart in what Prometheus keeps; let the service compute it, with "
                "Monitor(heuristics=...)"
            )
        return Place(found.series[own], known.reference.bins, name)

    def learn(self, model: str, name: str, values: frames.Column, times: np.ndarray) -> None:
        """Draw bins from the first values, and remember them."""
        column = Schema((Column(name, kind_of(values), role=ROLE),))
        when = f"time of {name}"
        reference = Reference.fit({name: values, when: times}, task=TASK, features=column, time=when)
        self._keep(model, name, reference)

    def learn_more(self, model: str, name: str, now: float) -> None:
        """Learn what is ordinary from the hours in the tiles, once there are enough days of them."""
        learnt = self._state.learnt(model, name)
        if learnt is None:
            return
        reference = Reference.from_json(self._files[learnt], origin=learnt)
        known = 0 if reference.windows is None else _days(reference.windows.starts)
        if known >= LEARNT_DAYS[-1]:
            return
        found, sums = self._hours(model, reference.bins, now)
        days = _days(found.starts)
        if any(known < least <= days for least in LEARNT_DAYS):
            self._keep(model, name, _refitted(reference, found, sums))

    def _hours(self, model: str, bins: BinSet, now: float) -> tuple[ReferenceWindows, np.ndarray]:
        """The hours of all versions together, as far as they are over; and the sums of x by slot."""
        series = self._tiles.series(naming.COLUMN_VALUES.name, model=model, bins=bins.id)
        end = int(now // HOUR * HOUR)
        first = min((seen[0] for s in series if (seen := self._tiles.seen(s)) is not None), default=end)
        start = max(first, end - LEARNT_DAYS[-1] * DAY) // HOUR * HOUR
        found = self._tiles.windows_many(series, start, end, HOUR) if start < end else []
        counts, sums = np.zeros((max(end - start, 0) // HOUR, bins.size), dtype=np.int64), np.zeros(bins.size)
        for windows in found:
            counts, sums = counts + windows.counts, sums + windows.sums.sum(axis=0)
        held = np.flatnonzero(counts.any(axis=1))
        novel = {n: np.full(len(held), -1) for n, b in bins.columns.items() if isinstance(b, CategoryBins)}
        starts = (start + held * HOUR).astype(np.int64)
        return ReferenceWindows(starts, counts[held].sum(axis=1), counts[held], novel), sums

    def _keep(self, model: str, name: str, reference: Reference) -> None:
        self._files[reference.id] = reference.to_json()
        self._state.learn(model, name, reference.id)


def _refitted(reference: Reference, windows: ReferenceWindows, sums: np.ndarray) -> Reference:
    """The same bins, with what these hours held as what is normal."""
    baseline = Profile(reference.bins, int(windows.rows.sum()), windows.counts.sum(axis=0), sums)
    period = float(windows.starts[0]), float(windows.starts[-1] + HOUR)
    return replace(reference, baseline=baseline, windows=windows, period=period)


def _days(starts: np.ndarray) -> int:
    return len(np.unique(starts // DAY))


def _last(tiles: Tiles, version: Deployed) -> str | None:
    """The bins that its own columns were counted over last."""
    learnt = {series.label("bins") for series in tiles.series(naming.HEURISTIC_INFO, **version.names)}
    own = (bins for bins in version.series if bins not in learnt)
    return max(own, key=lambda bins: (tiles.seen(version.series[bins]) or (0, 0))[1], default=None)
