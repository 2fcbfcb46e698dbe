"""The logs: what a row of predictions costs, and how many labels become durable in a second."""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from barograph.logs import Feedback, FeedbackLog, Log, PredictionLog
from benchmarks import model
from benchmarks.measure import MICRO, MILLI, Budget, Result, Scale, median, number

BATCH = 1_250  # rows of a flush: what a quarter of a second brings at 5,000 rows/s
BATCHES = 6  # for each block of the scale: a 99th percentile needs some hundred
THREADS = 8
TOGETHER = 10  # labels of one call, where a caller has more than one


def measure(scale: Scale) -> list[Result]:
    """Both rows."""
    return [_predictions(scale), _feedback(scale)]


def _predictions(scale: Scale) -> Result:
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as folder:
        _touch_memory(Path(folder), scale.blocks * BATCHES * BATCH * 600)
        place = Log(folder)
        with PredictionLog(place, "bench", "1", "bins", schema=model.reference(rng, 2_000).schema) as log:
            log.append(*_batch(rng, 0))  # makes the file
            timed, plain = _beside_plain_writes(rng, log, Path(folder), scale.blocks * BATCHES)
        written = (
            sum(path.stat().st_size for path in Path(folder).rglob("*.arrows")) / (len(timed) + 2) / BATCH
        )
        lines = [_timed(_json_lines, Path(folder), *_batch(rng, i)) for i in range(scale.peer_blocks)]
        read = sum(table.num_rows for table in place.read("predictions", "bench", ["id"]))
    if read != (len(timed) + 2) * BATCH:
        raise RuntimeError(f"{read} rows were read, {(len(timed) + 2) * BATCH} logged")
    wall, used = (np.array(column) for column in zip(*timed, strict=True))
    row, tail, least = median(wall.tolist()) / BATCH * MICRO, _p99(wall), _p99(np.array(plain))
    json_row = median([wall for wall, _ in lines]) / BATCH * MICRO
    return Result(
        row=f"prediction log, a row, batches of {BATCH:,}",
        ours=f"{number(row)} µs; {number(tail)} ms p99 of a batch; {number(written)} bytes",
        peers=f"one plain write of the same bytes {number(median(plain) / BATCH * MICRO)} µs, {number(least)} ms p99; "
        f"JSON lines {number(json_row)} µs",
        budgets=[Budget("a row", row, 2, " µs"), Budget("p99 of a batch", tail, 2, " ms")],
        figures={
            "row_us": row,
            "row_cpu_us": median(used.tolist()) / BATCH * MICRO,
            "batch_p99_ms": tail,
            "batch_p99_cpu_ms": _p99(used),
            "plain_write_us": median(plain) / BATCH * MICRO,
            "plain_write_p99_ms": least,
            "bytes_a_row": written,
            "json_lines_us": json_row,
        },
    )


def _beside_plain_writes(
    rng: np.random.Generator, log: PredictionLog, folder: Path, batches: int
) -> tuple[list[tuple[float, float]], list[float]]:
    """Seconds and CPU seconds of each batch, and seconds of one write of what a batch comes to, by turns."""
    (path,) = folder.rglob("*.arrows")
    before = path.stat().st_size
    log.append(*_batch(rng, 1))
    message, timed, plain = path.read_bytes()[before:], [], []
    with (folder / "peer.bytes").open("wb", buffering=0) as peer:
        for i in range(batches):
            timed.append(_timed(log.append, *_batch(rng, i + 2)))
            plain.append(_timed(peer.write, message)[0])
    return timed, plain


def _p99(seconds: np.ndarray) -> float:
    return float(np.quantile(seconds, 0.99)) * MILLI


def _touch_memory(folder: Path, size: int) -> None:
    """Have the machine use as much memory for a file as will be written: a virtual one pays for each page that it never had."""
    path = folder / "touched"
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    path.unlink()


def _batch(rng: np.random.Generator, number: int) -> tuple[dict[str, Any], int, dict[str, np.ndarray]]:
    """Columns of BATCH fresh rows, as a flush has them."""
    scores = model.scores(rng, BATCH)
    ids = [f"{number:016x}{i:016x}" for i in range(BATCH)]
    places = np.array(["JFK", "LGA", "EWR"], dtype=object)[rng.integers(0, 3, BATCH)]
    fixed = {"id": ids, "score": scores, "prediction": scores >= 0.5, "segments": {"origin": places}}
    return fixed, BATCH, model.columns(rng, BATCH)


def _json_lines(folder: Path, fixed: dict[str, Any], _: int, features: dict[str, np.ndarray]) -> None:
    """The same as text: what many services do."""
    columns = {
        "id": fixed["id"],
        "score": fixed["score"].tolist(),
        **{k: v.tolist() for k, v in features.items()},
    }
    rows = zip(*columns.values(), strict=True)
    with (folder / "peer.jsonl").open("a") as file:
        file.writelines(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)


def _timed(call: Callable[..., object], *arguments: Any) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads."""
    used, wall = time.process_time(), time.perf_counter()
    call(*arguments)
    return time.perf_counter() - wall, time.process_time() - used


def _feedback(scale: Scale) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        place = Log(folder)
        with FeedbackLog(place) as log:
            log.append([Feedback("bench", "first", 1.0)])  # makes the file
            single = _labels(log, scale.arrivals * 2 // THREADS, 1)
            several = _labels(log, scale.arrivals * 4 // THREADS // TOGETHER, TOGETHER)
        sync = _bare_sync(Path(folder), scale.arrivals // 10)
        read = sum(table.num_rows for table in place.read("feedback", "bench", ["id"]))
    if read != 1 + single["labels"] + several["labels"]:
        raise RuntimeError(f"{read} labels were read, {1 + single['labels'] + several['labels']} accepted")
    rate, tail = single["rate"], max(single["p99_ms"], several["p99_ms"])
    return Result(
        row=f"feedback accepted and durable, {THREADS} threads",
        ours=f"{number(rate)} labels/s one by one, {number(several['rate'])} by {TOGETHER}; "
        f"{number(single['p99_ms'])} ms p99",
        peers=f"one write and one sync for each label, nothing else: {number(1 / sync)} labels/s",
        budgets=[
            Budget("labels/s", rate, 5_000, at_least=True),
            Budget("p99 of a call", tail, 25, " ms"),
        ],
        figures={"single": single, f"by_{TOGETHER}": several, "bare_sync_ms": sync * MILLI},
    )


def _labels(log: FeedbackLog, calls: int, together: int) -> dict[str, float]:
    """Labels a second, and how long a call takes, over all threads."""
    seconds: list[list[float]] = [[] for _ in range(THREADS)]

    def send(mine: list[float], thread: int) -> None:
        for i in range(calls):
            rows = [Feedback("bench", f"{thread}-{i}-{k}", 1.0, time=1.7e9) for k in range(together)]
            start = time.perf_counter()
            log.append(rows)
            mine.append(time.perf_counter() - start)

    threads = [threading.Thread(target=send, args=(mine, i)) for i, mine in enumerate(seconds)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - start
    taken = np.concatenate(seconds) * MILLI
    labels = THREADS * calls * together
    p50, p99 = np.quantile(taken, (0.5, 0.99))
    return {"labels": labels, "rate": labels / whole, "p50_ms": float(p50), "p99_ms": float(p99)}


def _bare_sync(folder: Path, n: int) -> float:
    """Seconds to write 100 bytes and put them on the disk."""
    with (folder / "peer.log").open("wb", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(n):
            file.write(bytes(100))
            os.fsync(file.fileno())
        return (time.perf_counter() - start) / n
