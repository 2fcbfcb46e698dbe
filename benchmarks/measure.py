"""What a measurement is: figures, budgets met or not, and how much is run."""

import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MICRO, MILLI = 1e6, 1e3  # from seconds


@dataclass(frozen=True)
class Scale:
    """How much of everything is run: enough for steady medians, or next to nothing to see that it works."""

    blocks: int  # blocks of rows that are recorded, each timed as one
    peer_blocks: int
    rounds: int  # rounds of open-loop traffic, each arm once a round
    arrivals: int  # requests an arm and a round
    profiles: int  # profiles of fresh frames, for each kind of frame
    frame_rows: int
    repeats: int  # repetitions of what is short
    processes: int  # processes that share counters in the scrape
    wide: int  # columns of the model that is scraped
    interpreters: int  # interpreters started to time an import
    install: bool  # whether to make the environment of a peer that is not there yet


FULL = Scale(
    blocks=60, peer_blocks=12, rounds=10, arrivals=5_000, profiles=5, frame_rows=1_000_000, repeats=41,
    processes=16, wide=200, interpreters=9, install=True,
)  # fmt: skip
TINY = Scale(
    blocks=2, peer_blocks=1, rounds=1, arrivals=50, profiles=1, frame_rows=5_000, repeats=3,
    processes=2, wide=6, interpreters=1, install=False,
)  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """A limit and what was measured; None where the peer could not be measured."""

    what: str
    value: float | None
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the limit was kept; None where that is not known."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def limit_text(self) -> str:
        """`≤ 0.5 µs in the caller`."""
        return f"{'≥' if self.at_least else '≤'} {number(self.limit)}{self.unit} {self.what}"

    @property
    def verdict(self) -> str:
        """`met (0.27)`."""
        if self.value is None:
            return "not measured"
        return f"{'met' if self.met else 'NOT MET'} ({number(self.value)})"


@dataclass(frozen=True)
class Result:
    """One row of the table. `figures` holds every number by name, with its unit in the name."""

    row: str
    ours: str
    peers: str
    budgets: Sequence[Budget]
    figures: dict[str, Any]
    notes: Sequence[str] = field(default_factory=tuple)


def number(value: float) -> str:
    """Three digits, as people write them.

    >>> number(0.0423), number(1250.0), number(50)
    ('0.0423', '1,250', '50')
    """
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def ratio(whole: float | None, part: float) -> float | None:
    """How many times `part` goes into `whole`; None where that was not measured."""
    return None if whole is None else whole / part


def processor_time(call: Callable[[], Any]) -> float:
    """CPU seconds of this process, all threads, for one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def peak_of(call: Callable[[], Any]) -> int:
    """Bytes that a call allocates at its peak, NumPy's arrays among them."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
