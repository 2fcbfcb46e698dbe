"""Row 6: a scrape, from the flush to the text, by one process and over the files of many."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from barograph import Monitor, Reference
from benchmarks import model, peers
from benchmarks.measure import Budget, Result, Scale, median, number, ratio

ROWS = 200  # recorded by each process


def measure(scale: Scale) -> list[Result]:
    """The row. `wide` columns make about 4,500 lines."""
    rng = np.random.default_rng(4)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "wide.reference.json"
        wide(rng, scale.wide).save(path)
        shared = Path(folder) / "counts"
        monitor = stack.enter_context(Monitor("bench", reference=path, directory=shared))
        record(monitor, rng, scale.wide)
        one = scrape(monitor.render, scale.repeats)
        for _ in range(scale.processes - 1):
            stack.callback(_end, _worker("benchmarks.scrape", str(path), str(shared), str(scale.wide)))
        many = scrape(monitor.render, scale.repeats)
        text = monitor.render()
    lines = sum(not line.startswith(b"#") for line in text.splitlines())
    total = next(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith(b"ml_predictions_total")
    )
    if total != scale.processes * ROWS:
        raise RuntimeError(f"{total:.0f} predictions are shown, {scale.processes * ROWS} were recorded")
    peer_one, peer_many = prometheus(scale, lines, 1), prometheus(scale, lines, scale.processes)
    return [_row(scale, lines, one, many, peer_one, peer_many)]


def wide(rng: np.random.Generator, columns: int) -> Reference:
    """The reference of a model of many columns, two thirds of them numbers."""
    frame = {**_wide_columns(rng, columns, 5_000), "p": model.scores(rng, 5_000)}
    return Reference.fit(frame, task="binary", score="p", threshold=0.5)


def _wide_columns(rng: np.random.Generator, columns: int, n: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i in range(columns):
        if i % 3:
            found[f"amount_{i:03d}"] = model.amounts(rng, i % model.NUMBERS, n)
        else:
            names = np.array(model.texts[i % model.CATEGORIES], dtype=object)
            found[f"kind_{i:03d}"] = names[model.codes(rng, i, n)]
    return found


def record(monitor: Monitor, rng: np.random.Generator, columns: int) -> None:
    """Record a batch of ROWS."""
    monitor.record(_wide_columns(rng, columns, ROWS), score=model.scores(rng, ROWS))
    monitor.flush()


def scrape(render: Callable[[], bytes], repeats: int) -> tuple[float, float]:
    """Milliseconds of a scrape, CPU and wall, as medians; the first ones, which prepare what is kept, are not in it."""
    for _ in range(2):
        render()
    used, walls = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.thread_time()
        render()
        used.append((time.thread_time() - cpu) * 1e3)
        walls.append((time.perf_counter() - wall) * 1e3)
    return median(used), median(walls)


def prometheus(scale: Scale, lines: int, processes: int) -> tuple[float, float]:
    """The same for prometheus_client with as many lines: in its memory, or over the files of so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        place = {peers.MULTIPROCESS: folder} if processes > 1 else {}
        environment = {k: v for k, v in os.environ.items() if k != peers.MULTIPROCESS} | place
        command = [sys.executable, "-m", "benchmarks.scrape_prometheus", str(lines)]
        for _ in range(processes - 1):
            subprocess.run([*command, "0"], cwd=peers.ROOT, env=environment, check=True)
        repeats = str(min(scale.repeats, 9))
        done = subprocess.run(
            [*command, repeats], cwd=peers.ROOT, env=environment, check=True, capture_output=True, text=True
        )
    used, wall = json.loads(done.stdout)
    return used, wall


def _worker(module: str, *arguments: str) -> "subprocess.Popen[str]":
    """A process that has recorded, and lives until its input ends."""
    worker = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=peers.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    if worker.stdout.readline() != "ready\n":
        raise RuntimeError("a process that shares counters did not start; see its message above")
    return worker


def _end(worker: "subprocess.Popen[str]") -> None:
    worker.communicate()


def _row(
    scale: Scale, lines: int, one: tuple[float, float], many: tuple[float, float],
    peer_one: tuple[float, float], peer_many: tuple[float, float],
) -> Result:  # fmt: skip
    return Result(
        row=f"scrape of {lines:,} lines",
        ours=f"{number(one[0])} ms, {number(many[0])} ms with {scale.processes} processes (CPU)",
        peers=f"prometheus_client {number(peer_one[0])} ms ({number(peer_one[0] / one[0])}×), "
        f"{number(peer_many[0])} ms ({number(peer_many[0] / many[0])}×)",
        budgets=[
            Budget("single", one[0], 1, " ms"),
            Budget(f"with {scale.processes} processes", many[0], 2, " ms"),
        ],
        figures={
            "lines": lines,
            **{
                f"{name}_cpu_ms": cpu
                for name, (cpu, _) in zip(_NAMES, (one, many, peer_one, peer_many), strict=True)
            },
            **{
                f"{name}_wall_ms": wall
                for name, (_, wall) in zip(_NAMES, (one, many, peer_one, peer_many), strict=True)
            },
            "ratio": ratio(peer_one[0], one[0]),
        },
    )


_NAMES = ("one", "many", "prometheus_one", "prometheus_many")


if __name__ == "__main__":  # one of the processes that share counters
    with Monitor("bench", reference=sys.argv[1], directory=sys.argv[2]) as worker_monitor:
        record(worker_monitor, np.random.default_rng(os.getpid()), int(sys.argv[3]))
        print("ready", flush=True)
        sys.stdin.read()
