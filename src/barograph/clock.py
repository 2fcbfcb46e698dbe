"""The process's clock: wall time, or a simulated time that runs `speed` times as fast."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

_SPEC = re.compile(r"^(?P<start>[^@#]+)(@(?P<speed>[0-9.]+))?(#(?P<origin>[0-9.]+))?$")


@dataclass(frozen=True, slots=True)
class Clock:
    """Tell the time in epoch seconds.

    Without arguments it is wall time. Otherwise the clock showed `start` at the wall time `origin` and runs `speed` times
    as fast, so that two processes with the same three numbers agree.

    >>> clock = Clock(start=1000.0, origin=50.0, speed=60.0)
    >>> clock.at(52.0)
    1120.0
    >>> Clock.parse("2013-10-14T13:00:00Z@60#1700000000").speed
    60.0
    """

    start: float | None = None
    origin: float = 0.0
    speed: float = 1.0

    def now(self) -> float:
        """Epoch seconds, now."""
        return self.at(time.time())

    def at(self, wall: float) -> float:
        """Epoch seconds on this clock at the wall time `wall`."""
        return wall if self.start is None else self.start + (wall - self.origin) * self.speed

    @property
    def simulated(self) -> bool:
        """Whether this clock is another than wall time."""
        return self.start is not None

    @classmethod
    def parse(cls, text: str) -> "Clock":
        """Read `wall`, or `START[@SPEED][#ORIGIN]`: START in ISO 8601 with Z, ORIGIN in epoch seconds of wall time, or now."""
        if text == "wall":
            return cls()
        match = _SPEC.match(text)
        if match is None:
            raise ValueError(f"clock: cannot read {text!r}; write wall, or 2013-10-14T13:00:00Z@60")
        try:
            start = parse_time(match["start"])
            speed = float(match["speed"] or 1.0)
            origin = float(match["origin"] or time.time())
        except ValueError as error:
            raise ValueError(
                f"clock: cannot read {text!r} ({error}); write wall, or 2013-10-14T13:00:00Z@60"
            ) from None
        if speed <= 0:
            raise ValueError(f"clock: speed is {speed}; it must be above 0")
        return cls(start=start, origin=origin, speed=speed)

    def __str__(self) -> str:
        if self.start is None:
            return "wall"
        return f"{iso(self.start)}@{self.speed:g}#{self.origin!r}"


def iso(seconds: float) -> str:
    """Epoch seconds as ISO 8601 in UTC with Z, to the second or, where there is a fraction, to the microsecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="auto").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """Epoch seconds of an ISO 8601 text. A text without a zone is refused: it means another instant on another machine."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone; add Z for UTC, or an offset")
    return moment.timestamp()
