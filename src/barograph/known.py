"""References by content id, each calibrated once: what versions are judged by."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from barograph.bins import NumericBins
from barograph.calibrate import Calibration, calibrate_lanes
from barograph.concept import Meaning
from barograph.config import Config
from barograph.estimate import Calibrated, CalibratedErrors
from barograph.estimate import Calibration as Promises
from barograph.lanes import HOURLY, Lane, lanes, main_lane
from barograph.leak import Losses, Usual
from barograph.naming import EXPECTED_ERROR, SCORE
from barograph.outcomes import OutcomeBins
from barograph.reference import Reference
from barograph.versions import Deployed

log = logging.getLogger("barograph")

ROOM = 64  # references that are kept calibrated at least


@dataclass(frozen=True, eq=False)
class Known:
    """A reference and what it calibrates to."""

    reference: Reference
    budget: float
    lane: Lane = HOURLY  # in which columns are judged first of all
    of_versions: dict[Hashable, Any] = field(
        default_factory=dict, repr=False
    )  # what was found of each, for good

    @cached_property
    def _first(self) -> Mapping[str, Calibration]:
        return calibrate_lanes(self.reference, self.budget, lanes(self.lane.seconds))

    def first(self, lane: Lane) -> Calibration:
        """What a lane is judged by as far as the reference alone tells."""
        return self._first[lane.name]

    @property
    def calibration(self) -> Calibration:
        """What windows of an hour, or of what the owner chose instead, are judged by at first."""
        return self.first(self.lane)

    @cached_property
    def meaning(self) -> Meaning | None:
        """What scores meant in the reference; None where its labels do not tell."""
        labelled = self.reference.labelled
        return (
            None
            if labelled is None or self.outcomes is None
            else Meaning.learn(self.outcomes, labelled.counts)
        )

    @cached_property
    def usual(self) -> Usual | None:
        """How good answers were on the days of the reference; None where its labels do not tell."""
        labelled = self.reference.labelled
        if labelled is None or self.outcomes is None:
            return None
        return Usual.learn(Losses.of(labelled.profiles(self.outcomes)))

    @cached_property
    def promised(self) -> Promises | None:
        """What scores, or expected errors, promise by the reference; None where its labels do not tell, or there are none."""
        labelled, bins = self.reference.labelled, self.outcomes
        if labelled is None or bins is None:
            return None
        if labelled.errors is not None and labelled.errors.any():
            expected = self.reference.bins.columns[EXPECTED_ERROR]
            assert isinstance(expected, NumericBins)
            return CalibratedErrors.fit(expected, labelled.errors)
        if bins.score is None:
            return None
        try:
            return Calibrated.fit(bins, np.stack([day.scores for day in labelled.profiles(bins)]))
        except ValueError:  # labels of one class alone
            return None

    @property
    def promising(self) -> str:
        """The column whose live counts tell what to expect."""
        return EXPECTED_ERROR if self.reference.task == "regression" else SCORE

    @cached_property
    def label_spread(self) -> float:
        """Standard deviation of the share of a class among the labels of a day of the reference; 0 where it is not known."""
        labelled, bins = self.reference.labelled, self.outcomes
        if labelled is None or bins is None or bins.task == "regression":
            return 0.0
        days = np.array([day.answers.sum(axis=1) for day in labelled.profiles(bins)], dtype=np.float64)
        rows = days.sum(axis=1, keepdims=True)
        shares, usual = days / rows, days.sum(axis=0) / rows.sum()
        return float(np.sqrt(((shares - usual) ** 2 * rows).sum(axis=0) / rows.sum()).max())

    @cached_property
    def outcomes(self) -> OutcomeBins | None:
        """How outcomes are counted; None for a task without any."""
        return self.reference.outcomes


class References:
    """References by content id, read from `files` (id -> the file's content) and calibrated once each.

    `room` of them are kept in memory, those asked for last.
    """

    def __init__(self, files: Mapping[str, bytes], config: Config) -> None:
        self._files, self._config = files, config
        self.room = ROOM
        self._known: OrderedDict[tuple[str, float], Known] = OrderedDict()
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def of(self, version: Deployed, bins: str | None) -> Known | None:
        """The reference that a version's columns over these bins are judged by, calibrated to its model's budget.

        None where there is none, or one that is damaged.
        """
        name = version.references.get(bins or "")
        if name is None or name in self._refused or name not in self._files:
            return None
        key = (name, self._config.model(version.model).budget)
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
        found = found or self._read(*key)
        return found if found is not None and found.reference.bins.id == bins else None

    def _read(self, name: str, budget: float) -> Known | None:
        try:
            reference = Reference.from_json(self._files[name], origin=name)
            found = Known(_narrow(reference), budget, main_lane(self._config.window))
            found.first(found.lane)  # so that it is refused here, if at all
        except Exception as error:  # noqa: BLE001 (one damaged file is to empty no page of other models)
            self._refused.add(name)
            log.warning("reference %s cannot be used: %s; its columns are not judged", name, error)
            return None
        with self._lock:
            self._known[name, budget] = found
            while len(self._known) > self.room:
                self._known.popitem(last=False)
        return found


def _narrow(reference: Reference) -> Reference:
    """The same with its hours in the narrowest integers that hold them: most of what a reference takes of memory."""
    if reference.windows is None:
        return reference
    counts = reference.windows.counts
    kind = np.result_type(np.int8, np.min_scalar_type(int(counts.max(initial=0))))
    return replace(reference, windows=replace(reference.windows, counts=counts.astype(kind)))
