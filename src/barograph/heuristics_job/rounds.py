"""Heuristics beside the evaluator: every ten minutes of its clock, on a thread of their own."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from barograph import naming
from barograph.cells import CellMap
from barograph.counters import Series
from barograph.heuristics import Heuristic
from barograph.heuristics_job.job import HeuristicsJob
from barograph.heuristics_job.places import Place
from barograph.reference import Reference
from barograph.tiles import MINUTE, Tiles
from barograph.versions import Deployed

EVERY = 600.0  # seconds of the clock between two runs,
BEHIND = 60.0  # so many after the full ten minutes: what an hour held is counted before the hour is judged
KEPT = 60.0  # seconds of wall time for which what was counted is told again

log = logging.getLogger("barograph")

Counter = tuple[naming.Metric, dict[str, str], float]


def due(now: float) -> float:
    """When the last run should have been, in epoch seconds.

    >>> due(7_200.0), due(7_260.0)
    (6660.0, 7260.0)
    """
    return (now - BEHIND) // EVERY * EVERY + BEHIND


class _Stopped(Exception):
    """The evaluator ends."""


class Rounds:
    """Runs the heuristics of models again and again. `pause` is how often the clock is looked at, in seconds of wall time.

    A heuristic that fails is told of once for each error, and stops nothing else.
    """

    def __init__(
        self,
        job: HeuristicsJob,
        heuristics: Mapping[str, Sequence[Heuristic]],
        *,
        now: Callable[[], float],
        pause: float = 5.0,
    ) -> None:
        self._job, self._heuristics, self._now, self._pause = job, heuristics, now, pause
        self._told: dict[tuple[str, str], str] = {}
        self._ran = due(now())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="barograph-heuristics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the piece of a log that is being counted."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def run(self) -> None:
        """One round now: what is new of every model's log."""
        for model, heuristics in self._heuristics.items():
            if self._stop.is_set():
                return
            try:
                done = self._job.run(model, heuristics, self._go_on)
            except _Stopped:
                return
            except Exception as error:  # noqa: BLE001 (a full disk, an object store, a user's code)
                self._tell(model, "", f"cannot be counted: {error!r}; it is tried again")
                continue
            self._told.pop((model, ""), None)
            for name, why in done.errors.items():
                self._tell(model, name, why)
            for path, why in done.damaged.items():
                self._tell(model, path, f"cannot be read ({why}); the rest of the log is")

    def _go_on(self, _: int) -> None:
        """Between two pieces of a log: what was read is stored, and the rest is read after the next start."""
        if self._stop.is_set():
            raise _Stopped

    def _tell(self, model: str, name: str, text: str) -> None:
        if self._told.get((model, name)) != text:
            self._told[model, name] = text
            log.warning("heuristics of %s: %s %s", model, name, text)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            when = due(self._now())
            if when != self._ran:
                self._ran = when
                self.run()


class Shown:
    """What the job has counted, as a service shows its columns on /metrics: so that dashboards show it beside them."""

    def __init__(
        self, tiles: Tiles, job: HeuristicsJob, heuristics: Mapping[str, Sequence[Heuristic]]
    ) -> None:
        self._tiles, self._job, self._heuristics = tiles, job, heuristics
        self._read: dict[tuple[str, str], tuple[float, list[Counter]]] = {}

    def of(
        self, version: Deployed, reference_of: Callable[[str], Reference | None], now: float
    ) -> list[Counter]:
        """Counters of one version since its tiles begin; looked at once a minute."""
        key = version.model, version.version
        made_at, found = self._read.get(key, (-np.inf, []))
        if time.monotonic() - made_at > KEPT:
            found = list(self._counters(version, reference_of, now))
            self._read[key] = time.monotonic(), found
        return found

    def _counters(
        self, version: Deployed, reference_of: Callable[[str], Reference | None], now: float
    ) -> Iterator[Counter]:
        for one in self._heuristics.get(version.model, ()):
            if not self._job.state.progress(version.model, one.name).counted:
                continue
            for bins in version.series:
                place = self._job.places.of(version.model, version.version, bins, one.name)
                reference = None if place is None else reference_of(place.bins.id)
                if place is not None and reference is not None and place.bins.id == bins:
                    yield from self._cells(version, place, reference, now)

    def _cells(self, version: Deployed, place: Place, reference: Reference, now: float) -> Iterator[Counter]:
        seen = self._tiles.seen(place.series)
        if seen is None:
            return
        step = max(MINUTE, int(now) + MINUTE - seen[0])
        windows = self._tiles.windows(place.series, seen[0], seen[0] + step, step, place.slots)
        cells = CellMap.of(reference.bins, reference.baseline.counts, threshold=reference.threshold)
        lines = cells.index[place.slots]
        counts = np.bincount(lines, weights=windows.counts[0], minlength=len(cells.lines))
        for line in np.unique(lines).tolist():
            column, role, cell = cells.lines[line]
            labels = {**version.names, "bins": place.bins.id, "column": column, "role": role, "cell": cell}
            yield naming.COLUMN_VALUES, labels, float(counts[line])


def counter(metric: naming.Metric, labels: Mapping[str, str]) -> Series:
    """A single counter of a metric whose series are vectors elsewhere."""
    return Series(metric.name, tuple(sorted(labels.items())), "counter", 1, 0)
