"""The join beside the evaluator: again and again, for every model that is logged."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from barograph.clock import Clock
from barograph.labels.counting import BinsOf, UnknownBins
from barograph.labels.join import Join, Joined
from barograph.labels.state import JoinState
from barograph.logs import Feedback, FeedbackLog, Log
from barograph.tiles import Tiles

__all__ = ["JoinStatus", "Joiner", "UnknownBins"]

log = logging.getLogger("barograph")


KEEP_EVERY = 600.0  # seconds of wall time between two times that logs are put in order


@dataclass(frozen=True, slots=True)
class JoinStatus:
    """How joining a model went the last time: what is wrong, or None; and when it last went well, in epoch seconds.

    Where labels of a version wait for its reference, both are said: those of the others are joined.
    """

    error: str | None = None
    succeeded: float | None = None


class Joiner:
    """Joins what is new every `pause` seconds of wall time, on a thread of its own.

    A model that cannot be joined is told of once and stops no other. `folder` holds what is known of predictions and labels;
    `now` is the evaluator's clock.
    """

    def __init__(
        self,
        tiles: Tiles,
        logs: Log,
        folder: Path,
        bins_of: Callable[[str], BinsOf],
        *,
        now: Callable[[], float],
        pause: float = 60.0,
    ) -> None:
        self.state = JoinState(tiles, folder)
        self.statuses: dict[str, JoinStatus] = {}
        self._feedback = FeedbackLog(logs, clock=cast(Clock, SimpleNamespace(now=now)))
        self._logs, self._join = logs, Join(tiles, logs, self.state, bins_of)
        self._now, self._pause = now, pause
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="barograph-join", daemon=True)

    def store(self, model: str, labels: Sequence[tuple[str, float | str, float | None, str | None]]) -> None:
        """Write labels (id, label, time in epoch seconds, kind) to the disk; OSError where that fails."""
        self._feedback.append([Feedback(model, *label) for label in labels])

    def start(self) -> None:
        """Begin to join."""
        self._thread.start()

    def stop(self) -> None:
        """End after the model that is being joined."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._feedback.close()

    def join(self, moved: Callable[[int], object] = lambda _: None) -> dict[str, Joined]:
        """Join all models now; what each came to, without those that failed."""
        found = {}
        with self._lock:
            for model in sorted({*self._logs.models("predictions"), *self._logs.models("feedback")}):
                if self._stop.is_set():
                    break
                joined = self._one(model, moved)
                if joined is not None:
                    found[model] = joined
        return found

    def _one(self, model: str, moved: Callable[[int], object]) -> Joined | None:
        before = self.statuses.get(model, JoinStatus())
        try:
            joined = self._join.run(model, moved)
        except Exception as error:
            text = str(error) or repr(error)
            if before.error != text:
                log.error("labels of %s cannot be joined: %s; it is tried again", model, text)
                log.debug("join", exc_info=error)
            self.statuses[model] = JoinStatus(text, before.succeeded)
            return None
        for path, why in joined.damaged.items():
            log.warning("%s cannot be read (%s); the rest of the log is", path, why)
        waits = "; ".join(joined.waiting.values()) or None
        if waits is not None and before.error != waits:
            log.warning("some labels of %s wait: %s", model, waits)
        self.statuses[model] = JoinStatus(waits, self._now())
        return joined

    def keep(self) -> None:
        """Put the logs in order: compact what is over, forget what is kept too long."""
        found = self._logs.keep(self._now())
        for path, why in found.damaged.items():
            log.warning("%s is damaged (%s) and was set aside", path, why)

    def _run(self) -> None:
        keep_at = time.monotonic()
        while not self._stop.is_set():
            try:
                self.join()
                if time.monotonic() >= keep_at:
                    keep_at = time.monotonic() + KEEP_EVERY
                    self.keep()
            except Exception as error:  # noqa: BLE001 (an object store's library raises what it likes)
                log.error("the log cannot be read: %s; it is tried again", error)
            self._stop.wait(self._pause)
