"""The peers: prometheus_client in this environment, whylogs in one of its own, for it needs an older numpy.

Each records in a process of its own, which is this file: `python -m benchmarks.peers prometheus|whylogs BLOCKS ROWS`.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import model
from benchmarks.measure import median

ROOT = Path(__file__).resolve().parent.parent
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
# The newest whylogs, with what installs beside it on Python 3.11 from wheels alone.
WHYLOGS = (
    "whylogs==1.6.4", "whylogs-sketching==3.4.1.dev3", "whylabs-client==0.6.16", "numpy==1.26.4", "backoff==2.2.1",
    "certifi", "charset-normalizer", "idna", "platformdirs==3.11.0", "protobuf", "python-dateutil", "requests",
    "typing-extensions", "urllib3", "tzdata",
)  # fmt: skip
WHYLOGS_PYTHON = (3, 11)

Record = Callable[[dict[str, Any], float], Any]


@dataclass(frozen=True)
class Recorded:
    """Microseconds a row of one peer, wall and CPU of its thread, as medians over blocks; or why there is none."""

    name: str
    version: str = ""
    wall: float | None = None
    cpu: float | None = None
    missing: str = ""  # why it was not measured


def prometheus_recorder(registry: Any = None) -> Record:
    """The same job with prometheus_client: a histogram a number, a labelled counter a category, score and prediction.

    What is missing is counted too; a histogram would raise on None, and barograph does not.
    """
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = registry or CollectorRegistry()
    bounds = model.buckets(np.random.default_rng(0))
    numbers = [(n, Histogram(n, n, registry=registry, buckets=bounds[n])) for n in model.numbers]
    kinds = [(n, Counter(n, n, ["value"], registry=registry)) for n in model.categories]
    score = Histogram("score", "score", registry=registry, buckets=[i / 32 for i in range(1, 32)])
    missing = Counter("missing", "missing", ["column"], registry=registry)
    prediction = Counter("prediction", "prediction", ["value"], registry=registry)

    def record(row: dict[str, Any], value: float) -> None:
        for name, histogram in numbers:
            if (given := row.get(name)) is None:
                missing.labels(name).inc()
            else:
                histogram.observe(given)
        for name, counter in kinds:
            counter.labels(row[name]).inc()
        score.observe(value)
        prediction.labels("1" if value >= 0.5 else "0").inc()

    return record


def whylogs_recorder() -> Record:
    """The same job with whylogs: `track` of one profile."""
    from whylogs.core import DatasetProfile

    profile = DatasetProfile()
    return lambda row, value: profile.track({**row, "score": value, "prediction": value >= 0.5})


def prometheus(blocks: int, rows: int, *, multiprocess: bool = False) -> Recorded:
    """prometheus_client in a process of its own, counting in its memory or in files that processes share."""
    name = "prometheus_client, multi-process" if multiprocess else "prometheus_client"
    with tempfile.TemporaryDirectory() as folder:
        place = {MULTIPROCESS: folder} if multiprocess else {}
        return _recorded(name, [sys.executable], "prometheus", blocks, rows, place)


def whylogs(blocks: int, rows: int, *, install: bool = True) -> Recorded:
    """whylogs in its own environment, which is made on first use if it may be."""
    python, why = whylogs_python(install=install)
    if python is None:
        return Recorded("whylogs", missing=why)
    return _recorded("whylogs", [str(python)], "whylogs", blocks, rows, {})


def whylogs_python(*, install: bool) -> tuple[Path | None, str]:
    """The interpreter of the environment of whylogs; or None and why there is none."""
    lacking = f"it has wheels up to Python {_dotted(WHYLOGS_PYTHON)}, which is not here"
    return environment("whylogs", WHYLOGS, _old_python(), lacking, install=install)


def environment(
    name: str, packages: Sequence[str], host: str | None, lacking: str, *, install: bool
) -> tuple[Path | None, str]:
    """The interpreter of a peer's own environment, which is made with `host` on first use; or None and why there is none.

    `lacking` says why where there is no host; the folder is named by the first package.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(cache) / "barograph" if cache else ROOT / ".barograph") / "peers" / packages[0]
    python = folder / "bin" / "python"
    if (folder / ".ready").exists():
        return python, ""
    if not install:
        return None, "not measured: its environment is not there, and a tiny run installs nothing"
    if host is None:
        return None, f"not measured: {lacking}"
    print(f"Installing {name} into an environment of its own.", file=sys.stderr, flush=True)
    for command in (
        [host, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            return None, f"not measured: it could not be installed: {said[-1] if said else command}"
    (folder / ".ready").touch()
    return python, ""


def _old_python() -> str | None:
    """An interpreter for which there are wheels."""
    if sys.version_info[:2] <= WHYLOGS_PYTHON:
        return sys.executable
    return shutil.which(f"python{_dotted(WHYLOGS_PYTHON)}")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _recorded(
    name: str, python: list[str], peer: str, blocks: int, rows: int, place: dict[str, str]
) -> Recorded:
    command = [*python, "-m", "benchmarks.peers", peer, str(blocks), str(rows)]
    environment = {k: v for k, v in os.environ.items() if k not in (MULTIPROCESS, "PYTHONPATH")} | place
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it failed"]
        return Recorded(name, missing=f"not measured: {said[-1]}")
    return Recorded(name, **json.loads(done.stdout.splitlines()[-1]))


def record_blocks(record: Record, blocks: int, rows: int) -> tuple[list[float], list[float]]:
    """Microseconds a row of blocks of fresh rows: wall, and CPU of this thread."""
    rng = np.random.default_rng(os.getpid())
    walls, used = [], []
    for _ in range(blocks + 1):
        fresh, values = model.rows(rng, rows), model.scores(rng, rows).tolist()
        wall, cpu = time.perf_counter(), time.thread_time()
        for row, value in zip(fresh, values, strict=True):
            record(row, value)
        walls.append((time.perf_counter() - wall) / rows * 1e6)
        used.append((time.thread_time() - cpu) / rows * 1e6)
    return walls[1:], used[1:]  # the first fills caches, and the peer's tables


def main(peer: str, blocks: int, rows: int) -> None:
    """Record, and print what it took."""
    record = prometheus_recorder() if peer == "prometheus" else whylogs_recorder()
    walls, used = record_blocks(record, blocks, rows)
    version = importlib.metadata.version({"prometheus": "prometheus_client"}.get(peer, peer))
    print(json.dumps({"version": version, "wall": median(walls), "cpu": median(used)}))


def machine() -> dict[str, str]:
    """What the figures were measured with."""
    packages = ("numpy", "pandas", "pyarrow", "duckdb", "scipy", "prometheus_client")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        **versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
