"""A thread that keeps a log in order: closes streams whose time is over, compacts, uploads, retires."""

import logging
import os
import threading
from collections.abc import Sequence
from typing import Protocol

from barograph.clock import Clock
from barograph.logs.log import Log

EVERY = 60.0  # seconds

log = logging.getLogger("barograph")


class Tended(Protocol):
    """What has files to close: a PredictionLog, a FeedbackLog."""

    def tend(self) -> None:
        """Close files whose time is over."""


class Keeper:
    """Calls `tend` of some writers and `keep` of their log every minute, until `stop`, which does both once more.

    What fails is logged once until it works again, and tried again the next time. `whole` is for the one process of a fleet that
    also merges and retires what lies in the object store.
    """

    def __init__(
        self,
        place: Log,
        writers: Sequence[Tended] = (),
        *,
        clock: Clock | None = None,
        every: float = EVERY,
        whole: bool = True,
    ) -> None:
        self._place, self._writers, self._clock, self._every = place, writers, clock or Clock(), every
        self._whole, self._failing = whole, False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="barograph-log", daemon=True)
        self._pid = os.getpid()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._pid == os.getpid():
            self._thread.join(timeout=30)
            self._once()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._once()

    def _once(self) -> None:
        try:
            for writer in self._writers:
                writer.tend()
            self._place.keep(self._clock.now(), whole=self._whole)
            self._failing = False
        except Exception as error:  # noqa: BLE001 (an object store's library raises what it likes)
            if not self._failing:
                log.error("barograph cannot keep its logs in order: %s: %s", type(error).__name__, error)
            self._failing = True
