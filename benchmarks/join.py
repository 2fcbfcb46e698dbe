"""The join of labels with their predictions, as a whole and of what is new, beside a plain DuckDB query over the same files.

Both read the same Parquet log: 30 days of a binary model's predictions, and a label for nearly each of them. The join runs in a
process of its own, which is this file: `python -m benchmarks.join ours|duckdb FOLDER [REPEATS]`.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import MILLI, Budget, Result, Scale, median, number

if TYPE_CHECKING:
    from barograph.outcomes import OutcomeBins

ROOT = Path(__file__).resolve().parent.parent
MODEL, VERSION, BINS = "bench", "1", "b1"
DAYS, DAY, HOUR = 30, 86_400, 3_600
START = 1_380_499_200  # of the first prediction, at midnight
NEW, INCREMENTS = 10_000, 5  # labels of an increment, and how many there are of each kind
PER_REPEAT = 10  # rows of the scale's frames to one prediction: 10 M in a full run
MEMORY = 3  # bytes that a child may use for each byte of the log, files included
MOST = 1.25  # times DuckDB's wall time: 3 s where it takes 2.4
THRESHOLD = 0.5
SEED = 5


def measure(scale: Scale) -> list[Result]:
    """The row: a whole join, increments over a day and over all hours, and DuckDB over the same files."""
    n, repeats = scale.frame_rows * PER_REPEAT, max(scale.profiles // 2, 1)
    with tempfile.TemporaryDirectory() as folder:
        late = make(Path(folder), n)
        return [_row(n, [(_child("ours", folder, late), _child("duckdb", folder)) for _ in range(repeats)])]


def _row(n: int, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Result:
    ours, peers = ({name: _middle(runs, i, name) for name in runs[0][i]} for i in (0, 1))
    share = max(ours["day_cpu_s"], ours["hours_cpu_s"]) / ours["cpu_s"]
    return Result(
        row=f"labels joined, {n:,} with {n:,} predictions of {DAYS} days",
        ours=f"{number(ours['wall_s'])} s, {number(ours['cpu_s'])} CPU s, {number(ours['peak_mb'])} MB; of {ours['new']:,.0f} "
        f"new ones {number(ours['day_cpu_s'] * MILLI)} CPU ms over two days, {number(ours['hours_cpu_s'] * MILLI)} over all "
        "hours",
        peers=f"one query of DuckDB, which stores nothing and joins all again: {number(peers['wall_s'])} s, "
        f"{number(peers['cpu_s'])} CPU s ({number(peers['cpu_s'] / ours['cpu_s'])} × as much), {number(peers['peak_mb'])} MB",
        budgets=[
            Budget("DuckDB's time", ours["wall_s"] / peers["wall_s"], MOST, "×"),
            Budget("at its peak", ours["peak_mb"], 1_500, " MB"),
            Budget("of the whole for new labels", 100 * share, 3, " %"),
        ],
        figures={**ours, "duckdb": peers},
    )


def _middle(runs: list[tuple[dict[str, Any], dict[str, Any]]], which: int, name: str) -> float:
    return median([run[which][name] for run in runs])


def _child(what: str, folder: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.join", what, folder, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


# The log.


def make(folder: Path, n: int) -> str:
    """Write the log of n predictions and n labels; the file that names predictions whose labels come later.

    One in a hundred labels is of no prediction, so that the labels of some predictions can still come.
    """
    rng = np.random.default_rng(SEED)
    late = min(2 * NEW * INCREMENTS, n // 10)
    ids, moments = _ids(rng, n), np.sort(rng.integers(0, DAYS * DAY * 1_000_000, n)) + START * 1_000_000
    scores = rng.beta(2, 5, n)
    _by_day(
        folder / f"log/predictions/model={MODEL}",
        f"version={VERSION}/bins={BINS}/",
        moments,
        lambda rows: _predictions(ids.take(pa.array(rows)), moments[rows], scores[rows]),
    )
    recent = np.flatnonzero(moments >= (START + (DAYS - 2) * DAY) * 1_000_000)
    day = rng.choice(recent, min(late // 2, len(recent) // 2), replace=False)
    hours = rng.choice(np.setdiff1d(np.arange(n), day, assume_unique=True), late - len(day), replace=False)
    told = np.setdiff1d(np.arange(n), np.concatenate([day, hours]), assume_unique=True)
    arrival = moments[told] + (rng.lognormal(2, 1, len(told)) * HOUR * 1e6).astype(np.int64)
    order = np.argsort(arrival, kind="stable")
    told, arrival = told[order], arrival[order]
    labels = (rng.random(n) < scores) * 1.0
    _by_day(
        folder / f"log/feedback/model={MODEL}",
        "",
        arrival,
        lambda rows: _labels(ids.take(pa.array(told[rows])), labels[told[rows]], arrival[rows]),
    )
    strange = _labels(
        _ids(rng, n - len(told)), np.ones(n - len(told)), np.repeat(arrival[-1:], n - len(told))
    )
    _write(folder / f"log/feedback/model={MODEL}/day={_day(arrival[-1])}/strange.parquet", strange)
    path = folder / "late.json"
    path.write_text(
        json.dumps({k: ids.take(pa.array(v)).to_pylist() for k, v in (("day", day), ("hours", hours))})
    )
    return str(path)


def _ids(rng: np.random.Generator, n: int) -> pa.Array:
    """n texts of 32 hexadecimal digits."""
    digits = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), dtype=np.uint16)
    text = digits[np.frombuffer(rng.bytes(16 * n), dtype=np.uint8)]
    offsets = np.arange(0, 32 * n + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def _by_day(folder: Path, below: str, moments: np.ndarray, table: Callable[[np.ndarray], pa.Table]) -> None:
    days, first = np.unique(moments // (DAY * 1_000_000), return_index=True)
    for rows, day in zip(np.split(np.arange(len(moments)), first[1:]), days, strict=True):
        path = folder / f"day={_day(day * DAY * 1_000_000)}/{below}{rows[0]:012d}.parquet"
        _write(path, table(rows))


def _day(moment: int) -> str:
    return str(np.datetime64(int(moment), "us").astype("datetime64[D]"))


def _write(path: Path, table: pa.Table) -> None:
    """As the keeper of logs does."""
    from barograph.logs.keeping import GROUP_ROWS, parquet_options

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=GROUP_ROWS, **parquet_options(table.schema))


def _predictions(ids: pa.Array, moments: np.ndarray, scores: np.ndarray) -> pa.Table:
    from barograph.logs.types import PREDICTION_COLUMNS

    times = pa.array(moments, PREDICTION_COLUMNS["time"])
    given = {
        "id": ids,
        "time": times,
        "arrival": times,
        "score": pa.array(scores),
        "prediction": pa.array((scores >= THRESHOLD) * 1.0),
    }
    return _table(given, PREDICTION_COLUMNS)


def _labels(ids: pa.Array, labels: np.ndarray, arrival: np.ndarray) -> pa.Table:
    from barograph.logs.types import FEEDBACK_COLUMNS

    times = pa.array(arrival, FEEDBACK_COLUMNS["time"])
    given = {"id": ids, "label": pa.array(labels), "time": times, "arrival": times}
    given["model"] = pa.repeat(pa.scalar(MODEL), len(ids))
    return _table(given, FEEDBACK_COLUMNS)


def _table(given: dict[str, pa.Array], columns: dict[str, pa.DataType]) -> pa.Table:
    n = len(given["id"])
    return pa.table({name: given.get(name, pa.nulls(n, own)) for name, own in columns.items()})


# What runs in a process of its own.


def ours(folder: Path, late: str) -> dict[str, float]:
    """Join the log, then labels that come in later."""
    from barograph.labels.join import Join
    from barograph.labels.state import JoinState
    from barograph.logs import FeedbackLog, Log
    from barograph.tiles import Tiles

    remove_streams(folder)
    ids = json.loads(Path(late).read_text("utf-8"))
    logs, bins = Log(folder / "log"), outcome_bins()
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        Tiles(Path(place) / "tiles.duckdb") as tiles,
        FeedbackLog(logs) as feedback,
    ):
        state = JoinState(tiles, Path(place) / "runs")
        join = Join(tiles, logs, state, lambda _: lambda *_: bins)
        touch_memory(folder)
        whole = timed(lambda: join.run(MODEL))
        size = min(NEW, *(len(some) // INCREMENTS for some in ids.values()))
        found = {"wall_s": whole[0], "cpu_s": whole[1], "peak_mb": peak_mb(), "new": float(size)}
        matched = state.tally(MODEL)["matched"]
        for name, some in ids.items():
            times = []
            for first in range(0, size * INCREMENTS, size):
                feedback.append_columns(
                    MODEL, {"id": some[first : first + size], "label": np.ones(size)}, size
                )
                times.append(timed(lambda: join.run(MODEL)))
                matched += size
                if state.tally(MODEL)["matched"] != matched:
                    raise RuntimeError(f"{state.tally(MODEL)} is tallied, {matched} labels have a prediction")
            found |= {
                f"{name}_{what}_s": median([t[i] for t in times]) for i, what in enumerate(("wall", "cpu"))
            }
    remove_streams(folder)
    return found


def remove_streams(folder: Path) -> None:
    """The log as it was before labels came in."""
    for path in folder.glob("log/feedback/**/*.arrows"):
        path.unlink()


def outcome_bins() -> "OutcomeBins":
    """Of a reference with scores as the log has them."""
    from barograph.bins import SCORE_BINS, numeric_bins
    from barograph.outcomes import OutcomeBins

    scores = np.random.default_rng(SEED).beta(2, 5, 50_000)
    return OutcomeBins("binary", numeric_bins(scores, quantiles=SCORE_BINS, points=(THRESHOLD,)), THRESHOLD)


def duckdb(folder: Path) -> dict[str, float]:
    """The same outcomes, in one query, without what is known for the next time."""
    import duckdb as database

    edges = outcome_bins().score.edges.tolist()  # type: ignore[union-attr]
    query = f"""
        WITH made AS (SELECT id, time, score, prediction FROM read_parquet('{folder}/log/predictions/**/*.parquet')),
             told AS (SELECT id, label, arrival FROM read_parquet('{folder}/log/feedback/**/*.parquet'))
        SELECT time_bucket(INTERVAL 1 HOUR, time) AS hour, label, prediction, width_bucket AS slot, count(*), sum(score),
               sum(score * score), sum((label - score) ** 2)
        FROM (SELECT *, (score * {len(edges)})::INTEGER AS width_bucket FROM made JOIN told USING (id)) GROUP BY ALL
    """
    touch_memory(folder)
    with database.connect(":memory:") as connection:
        used = timed(lambda: connection.sql(query).to_arrow_table())
    return {"wall_s": used[0], "cpu_s": used[1], "peak_mb": peak_mb()}


def touch_memory(folder: Path) -> None:
    """Have the machine use as much memory as will be needed: a virtual one pays for each page that it has not had for a while.

    Through a file: what is not the process's own is not in its peak.
    """
    path, size = folder / "touched", sum(file.stat().st_size for file in folder.glob("log/**/*.parquet"))
    with path.open("wb") as file:
        for _ in range(MEMORY * size >> 20):
            file.write(bytes(1 << 20))
    path.unlink()


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads."""
    used, wall = _used(), time.perf_counter()
    call()
    return time.perf_counter() - wall, _used() - used


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def peak_mb() -> float:
    """The most memory that this process ever had. What the system tells of resources begins with what its parent had."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        / 1024
    )


def main(what: str, folder: str, *arguments: str) -> None:
    """Print what was measured."""
    found = ours(Path(folder), *arguments) if what == "ours" else duckdb(Path(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
