"""The benchmarks run, say what they could not measure, and the table in the docs has every row."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barograph import Monitor

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CAR_LOANS = r"performance of car loans expected without labels, 10 windows of [\d,]+ rows"
ROWS = (
    "caller's cost of one row",
    "total CPU a row, flush included",
    "added p99 of a request at 5,000 rows/s",
    r"profile of [\d,]+ x 30 in memory",
    "drift of 30 columns in 168 hourly windows, counts given",
    r"evaluator, [\d,]+ models x 50 columns",
    r"scrape of [\d,]+ lines",
    "prediction log, a row, batches of 1,250",
    "feedback accepted and durable, 8 threads",
    r"labels joined, [\d,]+ with [\d,]+ predictions of 30 days",
    r"performance of flights expected without labels, 10 windows of [\d,]+ rows",
    CAR_LOANS,
    "`import barograph`",
)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, which lies beside src and is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    import benchmarks.measure
    import benchmarks.requests

    return benchmarks


def described(rows: list[str], *, data: bool = True) -> bool:
    """Whether these are the rows, in order; one of them needs `data`."""
    expected = [row for row in ROWS if data or row != CAR_LOANS]
    return len(rows) == len(expected) and all(re.fullmatch(p, r) for p, r in zip(expected, rows, strict=True))


@pytest.mark.slow
@pytest.mark.workers
def test_a_tiny_run_measures_every_row_and_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: a budget was not met, which a tiny run need not
    written = json.loads((tmp_path / "benchmarks.json").read_text("utf-8"))
    folder = Path(os.environ.get("BAROGRAPH_DATA", ROOT.parent / "shared" / "data"))
    assert described([row["row"] for row in written["rows"]], data=(folder / "car-loan").is_dir())
    unknown = [b for row in written["rows"] for b in row["budgets"] if b["met"] is None]
    notes = [note for row in written["rows"] for note in row["notes"]]
    assert all("whylogs" in budget["text"] or "NannyML" in budget["text"] for budget in unknown)
    assert bool(unknown) == bool(notes) and all("not measured: " in note for note in notes)
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert all(row["row"] in text and row["row"] in done.stdout for row in written["rows"])


def test_the_table_in_the_docs_is_of_a_full_run_with_every_row_peer_and_version() -> None:
    written = json.loads((DOCS / "benchmarks.json").read_text("utf-8"))
    assert described([row["row"] for row in written["rows"]])
    assert written["rows"][3]["row"] == "profile of 1,000,000 x 30 in memory"
    lines = int(re.findall(r"[\d,]+", written["rows"][6]["row"])[0].replace(",", ""))
    assert 4_000 < lines < 5_000
    assert not [note for row in written["rows"] for note in row["notes"]]
    assert [len(row["budgets"]) for row in written["rows"]] == [3, 3, 2, 3, 1, 1, 2, 2, 2, 3, 2, 2, 3]
    text = (DOCS / "benchmarks.md").read_text("utf-8")
    for said in (
        "numpy",
        "prometheus_client",
        "whylogs",
        "NannyML",
        "duckdb",
        "make bench",
        written["date"][:10],
    ):
        assert said in text
    for row in written["rows"]:
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {row['row']} |"))
        assert line.count(": met (") + line.count(": NOT MET (") == len(row["budgets"])


def test_a_budget_is_not_met_by_a_peer_that_was_not_measured(benchmarks: Any) -> None:
    budget = benchmarks.measure.Budget
    assert budget("", 0.5, 0.5).met and not budget("", 0.51, 0.5).met
    assert budget("", 50, 50, at_least=True).met and not budget("", 49.9, 50, at_least=True).met
    assert budget("", None, 50, at_least=True).met is None
    assert budget("", None, 50, at_least=True).verdict == "not measured"


def test_latency_runs_from_the_scheduled_arrival(benchmarks: Any, tmp_path: Path) -> None:
    stalls = iter([0.05])

    def stall_once(*_: object) -> None:
        time.sleep(next(stalls, 0.0))

    weights = dict.fromkeys(benchmarks.model.numbers, 0.1)
    with Monitor("m", directory=tmp_path):
        found = benchmarks.requests.traffic(stall_once, weights, np.random.default_rng(0), 100)
    assert found.p50 > 20_000  # microseconds: all that arrived during one stall of 50 ms have waited
    assert found.call < 20_000


def test_rows_are_fresh_and_of_twenty_numbers_and_ten_categories(benchmarks: Any) -> None:
    rng = np.random.default_rng(0)
    first, second = (benchmarks.model.rows(rng, 3) for _ in range(2))
    assert [type(value) for value in first[0].values()] == [float] * 20 + [str] * 10
    assert first != second
