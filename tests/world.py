"""A small world for tests of the evaluator: one model, its reference, and hours of traffic through the real code path."""

from dataclasses import dataclass

import numpy as np

from barograph import Monitor, Reference
from barograph.config import Config
from barograph.console.state import Span, State
from barograph.evaluate import evaluate
from barograph.increments import increments
from barograph.known import References
from barograph.ledger import Ledger
from barograph.sources import StoredReferences
from barograph.tiles import Tiles

DAY = 86_400
START = 1_380_499_200  # 2013-09-30T00:00:00Z, a Monday
RNG = np.random.default_rng(7)
FIRST = RNG.bit_generator.state


def rewind():
    """Begins the draws anew."""
    RNG.bit_generator.state = FIRST


def draw(rows, rng=RNG):
    """Ordinary rows: features and the score."""
    return {
        "amount": rng.lognormal(3, 0.5, rows),
        "visits": rng.integers(0, 9, rows),
        "country": rng.choice(["DE", "FR", "PL"], rows, p=[0.6, 0.3, 0.1]).tolist(),
    }, rng.beta(2, 8, rows)


def reference(days=14):
    """The reference: the two weeks before START."""
    rng = np.random.default_rng(1)
    rows = days * 24 * 80
    features, score = draw(rows, rng)
    times = START - days * DAY + np.sort(rng.uniform(0, days * DAY, rows))
    frame = {**features, "p": score, "late": score > 0.5, "t": times}
    return Reference.fit(
        frame,
        task="binary",
        score="p",
        threshold=0.5,
        label="late",
        time="t",
        importance={"amount": 0.7, "country": 0.3},
    )


@dataclass
class Hands:
    """A clock that stands until it is moved."""

    time: float = START
    simulated = True

    def now(self):
        return self.time


class World:
    """A service and an evaluator in one process, without HTTP between them."""

    def __init__(self, directory, config=None, ref=None):
        self.clock, self.config, self.directory = Hands(), config or Config(), directory
        self.reference = reference() if ref is None else ref
        self.tiles = Tiles(":memory:")
        self.ledger = Ledger(self.tiles)
        self.files = StoredReferences(self.tiles)
        self.files[self.reference.id] = self.reference.to_json()
        self.references = References(self.files, self.config)
        self.monitor = Monitor(
            "risk",
            version="1",
            reference=self.reference,
            directory=directory,
            clock=self.clock,
            flush_interval=3600,
            strict=True,
        )
        self.before = self.monitor.snapshot()

    def hour(self, rows=80, change=None, **options):
        """An hour of traffic, then a pass three minutes past it; `change` maps (features, score) to what is sent."""
        for _ in range(4):
            features, score = draw(max(rows // 4, 1))
            if change is not None:
                features, score = change(features, score)
            if rows:
                self.monitor.record(features, score=score, **options)
            self.tick(900)
        self.clock.time += 180
        changes = self.evaluate()
        self.clock.time -= 180
        return changes

    def tick(self, seconds):
        """Time passes, and the counts go to the tiles."""
        self.clock.time += seconds
        snapshot = self.monitor.snapshot()
        self.tiles.add(increments(self.before, snapshot))
        self.before = snapshot

    def evaluate(self):
        return evaluate(self.tiles, self.ledger, self.references, self.config, self.clock.time)

    def state(self):
        return State(self.tiles, self.ledger, self.references, self.config, list)

    def span(self, name="24h"):
        return Span(name, self.clock.time)

    def firing(self):
        return {(a.condition.rule, a.condition.column) for a in self.ledger.alerts() if a.state == "firing"}

    def close(self):
        self.monitor.close()
        self.tiles.close()
