"""The benchmarks: the harness runs, and the committed table lacks no row."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = (
    "caller's cost of one row",
    "total CPU a row, flush included",
    "added p99 of a request at 5,000 rows/s",
    "profile of 1,000,000 x 30 in memory",
    "drift of 30 columns in 168 hourly windows",
    "scrape of",
    "`import barograph`",
)


@pytest.mark.parametrize("group", ["drift", "scrape", "importing"])
def test_the_harness_measures_its_rows(group, tmp_path):
    command = [sys.executable, "-m", "benchmarks", group, "--tiny", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: a budget that so little data cannot keep
    assert "| what | barograph |" in (tmp_path / "benchmarks.md").read_text()
    assert (tmp_path / "benchmarks.json").stat().st_size > 100


@pytest.mark.parametrize("row", ROWS)
def test_the_committed_table_has_every_row(row):
    table = (ROOT / "docs" / "benchmarks.md").read_text()
    assert any(line.startswith(f"| {row}") for line in table.splitlines())
    assert "`make bench`" in table
