"""Rows 1 and 2: what one row costs the caller, and what it costs in all, flush included."""

import tempfile
import time

import numpy as np

from barograph import Monitor, naming
from benchmarks import model, peers
from benchmarks.measure import Budget, Result, Scale, median, number, ratio

BLOCK = 250  # rows timed as one
FLUSH = 1_250  # rows a flush: what a quarter of a second brings at 5,000 rows/s


def measure(scale: Scale) -> list[Result]:
    """Both rows."""
    found = [
        peers.prometheus(scale.peer_blocks, BLOCK),
        peers.prometheus(scale.peer_blocks, BLOCK, multiprocess=True),
        peers.whylogs(max(scale.peer_blocks // 3, 1), BLOCK, install=scale.install),
    ]
    rng = np.random.default_rng(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        Monitor("bench", reference=model.reference(rng), directory=folder) as monitor,
    ):
        record(monitor, rng, FLUSH)  # makes the tables
        callers = [record(monitor, rng, BLOCK)[:2] for _ in range(scale.blocks)]
        totals = [record(monitor, rng, FLUSH)[2] for _ in range(scale.blocks)]
        counted = monitor.total(naming.PREDICTIONS)
    if counted != FLUSH + scale.blocks * (BLOCK + FLUSH):
        raise RuntimeError(f"{counted} rows were counted, {FLUSH + scale.blocks * (BLOCK + FLUSH)} recorded")
    walls, used = zip(*callers, strict=True)
    return [_caller_row(median(walls), median(used), found), _total_row(median(totals), found)]


def record(monitor: Monitor, rng: np.random.Generator, n: int) -> tuple[float, float, float]:
    """Microseconds a row of n fresh rows: the caller's wall and CPU time, and CPU in all once they are flushed."""
    rows, scores = model.rows(rng, n), model.scores(rng, n)
    given = list(zip(rows, scores.tolist(), (scores >= 0.5).tolist(), strict=True))
    everything, used, wall = time.process_time(), time.thread_time(), time.perf_counter()
    for row, score, prediction in given:
        monitor.record(row, score=score, prediction=prediction)
    wall, used = time.perf_counter() - wall, time.thread_time() - used
    monitor.flush()
    everything = time.process_time() - everything
    return wall / n * 1e6, used / n * 1e6, everything / n * 1e6


def _caller_row(wall: float, used: float, found: list[peers.Recorded]) -> Result:
    prometheus, _, whylogs = found
    return Result(
        row="caller's cost of one row",
        ours=f"{number(wall)} µs",
        peers=_said(found, "wall"),
        budgets=[
            Budget("median", wall, 0.5, " µs"),
            Budget("below prometheus_client", ratio(prometheus.cpu, used), 50, "×", at_least=True),
            Budget("below whylogs track", ratio(whylogs.cpu, used), 1_000, "×", at_least=True),
        ],
        figures={"caller_wall_us": wall, "caller_cpu_us": used, "peers": [vars(one) for one in found]},
        notes=_missing(found),
    )


def _total_row(total: float, found: list[peers.Recorded]) -> Result:
    prometheus, multiprocess, whylogs = found
    return Result(
        row="total CPU a row, flush included",
        ours=f"{number(total)} µs",
        peers=_said(found, "cpu"),
        budgets=[
            Budget("below prometheus_client", ratio(prometheus.cpu, total), 15, "×", at_least=True),
            Budget("below its multi-process mode", ratio(multiprocess.cpu, total), 30, "×", at_least=True),
            Budget("below whylogs track", ratio(whylogs.cpu, total), 200, "×", at_least=True),
        ],
        figures={"total_cpu_us": total, "peers": [vars(one) for one in found]},
        notes=_missing(found),
    )


def _said(found: list[peers.Recorded], figure: str) -> str:
    said = [(one.name, getattr(one, figure)) for one in found]
    return ", ".join(f"{name} {'–' if value is None else f'{number(value)} µs'}" for name, value in said)


def _missing(found: list[peers.Recorded]) -> list[str]:
    return [f"{one.name}: {one.missing}" for one in found if one.missing]
