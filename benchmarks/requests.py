"""Row 3: what recording adds to a request's latency at 5,000 rows/s.

Open loop: requests arrive by a schedule, whether or not the one before is done, and a latency runs from the scheduled
arrival. Timing from the handler's start would hide what waits while the flusher works (coordinated omission). The arms take
turns, so that a noisy neighbour hits all of them.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from barograph import Monitor
from benchmarks import model, peers
from benchmarks.measure import Budget, Result, Scale, median, number

RATE = 5_000  # requests a second, one row each

Record = Callable[[dict[str, Any], float], Any]


@dataclass(frozen=True)
class Traffic:
    """Of one arm in one round, in microseconds: quantiles of latency, the median call of `record`, CPU beside the caller."""

    p50: float
    p99: float
    call: float
    beside: float


def measure(scale: Scale) -> list[Result]:
    """The row, with both recorders beside none at all."""
    rng = np.random.default_rng(2)
    weights = dict(zip(model.numbers, rng.normal(size=model.NUMBERS).tolist(), strict=True))
    with (
        tempfile.TemporaryDirectory() as folder,
        Monitor("bench", reference=model.reference(rng), directory=folder) as monitor,
    ):
        arms: dict[str, Record] = {
            "none": lambda *_: None,
            "barograph": lambda row, score: monitor.record(row, score=score, prediction=score >= 0.5),
            "prometheus_client": peers.prometheus_recorder(),
        }
        for record in arms.values():
            traffic(record, weights, rng, min(scale.arrivals, 500))  # makes the tables, fills the caches
        rounds = [
            {name: traffic(record, weights, rng, scale.arrivals) for name, record in arms.items()}
            for _ in range(scale.rounds)
        ]
    return [_row(rounds)]


def traffic(record: Record, weights: dict[str, float], rng: np.random.Generator, n: int) -> Traffic:
    """Serve n requests that arrive evenly, RATE a second, and record each."""
    bodies = [json.dumps(row) for row in model.rows(rng, n)]
    latency, calls = np.empty(n), np.empty(n)
    clock, now = _flusher_clock(), time.perf_counter
    before, start = time.clock_gettime(clock), now() + 0.01
    for i, body in enumerate(bodies):
        arrival = start + i / RATE
        while (early := arrival - now()) > 0:
            time.sleep(early)
        row, score = answer(body, weights)
        called = now()
        record(row, score)
        done = now()
        calls[i], latency[i] = done - called, done - arrival
    time.sleep(0.3)  # for the last flush
    beside = (time.clock_gettime(clock) - before) / n
    p50, p99 = np.quantile(latency, (0.5, 0.99))
    return Traffic(*(float(x) * 1e6 for x in (p50, p99, np.median(calls), beside)))


def answer(body: str, weights: dict[str, float]) -> tuple[dict[str, Any], float]:
    """What a small service does with a request: parse it, build the model's row, score it, write the answer."""
    given = json.loads(body)
    row = {name: given[name] for name in (*model.numbers, *model.categories)}
    total = sum(weight * row[name] for name, weight in weights.items())
    score = 1 / (1 + np.exp(-np.clip(total / 1_000, -30, 30)))
    json.dumps({"score": float(score)})
    return row, float(score)


def _flusher_clock() -> int:
    """The CPU clock of the thread that counts what was recorded."""
    (flusher,) = (t for t in threading.enumerate() if t.name == "barograph-flusher")
    assert flusher.ident is not None
    return time.pthread_getcpuclockid(flusher.ident)


def _row(rounds: list[dict[str, Traffic]]) -> Result:
    def added(arm: str, figure: str) -> float:
        return median([getattr(one[arm], figure) - getattr(one["none"], figure) for one in rounds])

    def typical(arm: str, figure: str) -> float:
        return median([getattr(one[arm], figure) for one in rounds])

    ours, peer = added("barograph", "p99"), added("prometheus_client", "p99")
    beside = typical("barograph", "beside") - typical("none", "beside")
    used, theirs = added("barograph", "call") + beside, added("prometheus_client", "call")
    return Result(
        row="added p99 of a request at 5,000 rows/s",
        ours=f"{number(ours / 1e3)} ms; CPU {number(used)} µs a row in this run",
        peers=f"prometheus_client {number(peer / 1e3)} ms; {number(theirs)} µs a row; "
        f"p99 without recording {number(typical('none', 'p99') / 1e3)} ms",
        budgets=[
            Budget("added p99", ours / 1e3, 0.1, " ms"),
            Budget(
                "less CPU than prometheus_client in this run",
                theirs / used,
                15,
                "×",
                at_least=True,
            ),
        ],
        figures={
            "added_p99_us": ours,
            "added_p50_us": added("barograph", "p50"),
            "prometheus_added_p99_us": peer,
            "prometheus_added_p50_us": added("prometheus_client", "p50"),
            "cpu_us": used,
            "rounds": [{arm: vars(found) for arm, found in one.items()} for one in rounds],
        },
    )
