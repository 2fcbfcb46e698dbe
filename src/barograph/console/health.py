"""Whether the evaluator does its work: when a pass last ended well, and what stopped the last one."""

import time
from collections.abc import Callable

from barograph.sentences import duration

PATIENCE = 300.0


class Health:
    """Told by the evaluator's loop, asked by /-/healthy, /-/ready and /metrics.

    After `patience` seconds (wall time) in which no pass ended well and no model was judged, something is wrong. `also`
    looks at what else has to go on; it gives a complaint, or None.
    """

    def __init__(self, patience: float = PATIENCE, *, also: Callable[[], str | None] = lambda: None) -> None:
        self.patience, self.also = patience, also
        self.passes = 0  # ended, well or not
        self.last_success: float | None = None  # the evaluator's clock in the last pass that ended well
        self.finished: float | None = None  # wall time at its end, epoch seconds
        self._problem: str | None = None
        self._alive = self._began = time.monotonic()

    def moved(self) -> None:
        """A model was judged: a pass over long history is no standstill."""
        self._alive = time.monotonic()

    def succeeded(self, now: float) -> None:
        """A pass for `now` (the evaluator's clock, epoch seconds) ended well."""
        self.last_success, self.finished, self._problem = now, time.time(), None
        self._alive = self._began = time.monotonic()
        self.passes += 1

    def failed(self, error: BaseException) -> None:
        """A pass was stopped by an error."""
        self._problem = f"{type(error).__name__}: {error}".split("\n")[0]
        self.passes += 1

    def complaint(self) -> str | None:
        """What is wrong, or None."""
        now = time.monotonic()
        if now - self._alive <= self.patience:
            return self.also()
        missed = (
            "no pass has ended well"
            if self.last_success is not None
            else "no pass has ended yet, well or not,"
        )
        cause = f"; the last one was stopped by {self._problem}" if self._problem else ""
        return (
            f"{missed} for {duration(now - self._began)}{cause}; see the log of barograph serve, restart it"
        )

    @property
    def ready(self) -> bool:
        """Whether pages have been judged, and still are."""
        return self.last_success is not None and self.complaint() is None
