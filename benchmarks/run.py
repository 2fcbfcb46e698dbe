"""Measure all rows, print them as a table, and write docs/benchmarks.md and docs/benchmarks.json."""

import argparse
import datetime as dt
import json
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import (
    drift,
    estimate,
    evaluator,
    importing,
    join,
    logs,
    peers,
    profiling,
    recording,
    requests,
    scrape,
)
from benchmarks.measure import FULL, TINY, Result

GROUPS = {
    "recording": recording.measure,
    "requests": requests.measure,
    "profiling": profiling.measure,
    "drift": drift.measure,
    "evaluator": evaluator.measure,
    "scrape": scrape.measure,
    "logs": logs.measure,
    "join": join.measure,
    "estimate": estimate.measure,
    "importing": importing.measure,
}
DOCS = peers.ROOT / "docs"

INTRODUCTION = """\
# Benchmarks

Written by `make bench` on {date}, in {seconds:.0f} s; do not edit. Times are medians. A peer or the machine's own limit is
measured in the same run; a budget is a ratio to it, or an absolute limit. *CPU* is of all threads, beside the caller's latency
wherever one is given: an append alone costs next to nothing, and somebody has to count what was appended. Rows have 30 features
(20 float64, 10 categories) and are fresh in each repetition.

{machine}
"""

NOTES = """\
## How each row is measured

- **Caller's cost.** `Monitor.record(row, score=, prediction=)` with a dict, in blocks of {block} fresh rows; the flush between
  two blocks is not in it. prometheus_client does the same job with a histogram a number, over the bounds of the 16 cells that
  barograph shows, and a labelled counter a category; it and whylogs (`DatasetProfile.track`) run in processes of their own.
  Ratios compare the CPU time of the calling thread.
- **Total CPU.** From the first call to the counts in shared memory, {flush:,} rows a flush, over all threads.
- **Added p99.** A loop that parses, scores and answers 5,000 requests/s of one row each, which arrive by a schedule; latency
  runs from the scheduled arrival. Without recording, with barograph and with prometheus_client by turns; the figure is the
  median difference of a round. CPU is the median call plus what the flusher's thread used, in that run: caches are colder
  than in a loop that does nothing else.
- **Profile.** `Reference.profile(frame)`, a new frame each time. Reading the bytes is NumPy's sum of each column as it is.
- **Drift.** From a loaded reference and the counts of the windows to D, L, A, U, O, PSI and Jensen-Shannon of each column.
- **Evaluator.** Snapshots of 100 models decoded, counted and stored in a DuckDB file four times a minute, a pass each minute, and
  a sixtieth of what comes once an hour: tiles rolled up, and all columns judged. Reading over HTTP is not in it.
- **Scrape.** `Monitor.render()`: flush, snapshot, text. The other processes' counts lie in files that all share.
- **Prediction log.** Batches of {batch:,} rows as columns, from the call until the operating system has them: Arrow, lz4, a
  checksum, one write. By turns with it, the bytes that it came to are written to another file, and nothing else is done.
- **Feedback.** Threads that each wait for their labels to be on the disk before they send the next. The peer does that alone.
- **Join.** From a log in Parquet and empty tiles to outcomes by hour and segment, stored; then labels that come later, of two
  days or of all hours. In a process of its own, whose peak of memory it is.
- **Expected without labels.** From counts of ten windows to seven metrics, each with its band; NannyML's CBPE gets the same
  windows' rows and the same reference. Shares are those of windows and days in which the labels, once there, lie in the band.
- **Import.** In a new interpreter that has imported NumPy, bytecode there.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for; exits with 1 where a budget was not met, or could not be judged."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; all if none is named"
    )
    parser.add_argument("--tiny", action="store_true", help="next to no data: whether it runs, not how fast")
    parser.add_argument(
        "--output", type=Path, help="folder of benchmarks.md and benchmarks.json (default for all: docs)"
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.groups if name not in GROUPS]:
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    started = time.monotonic()
    results: list[Result] = []
    for name in options.groups or GROUPS:
        for result in GROUPS[name](TINY if options.tiny else FULL):
            print(said(result), flush=True)
            results.append(result)
    output = options.output or (None if options.groups or options.tiny else DOCS)
    if output is not None:
        write(output, results, time.monotonic() - started)
    budgets = [budget for result in results for budget in result.budgets]
    met = sum(bool(budget.met) for budget in budgets)
    print(f"{met} of {len(budgets)} budgets met, in {time.monotonic() - started:.0f} s.")
    sys.exit(0 if met == len(budgets) else 1)


def said(result: Result) -> str:
    """A result for a terminal."""
    lines = [
        result.row,
        f"    {result.ours}",
        *textwrap.wrap(result.peers, 110, initial_indent="    beside  "),
    ]
    lines += [f"    {budget.verdict:<18} {budget.limit_text}" for budget in result.budgets]
    return "\n".join([*lines, *(f"    {note}" for note in result.notes)]) + "\n"


def write(folder: Path, results: list[Result], seconds: float) -> None:
    """The table for people, and every figure for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    now, machine = dt.datetime.now(dt.UTC), peers.machine()
    head = INTRODUCTION.format(
        date=f"{now:%Y-%m-%d %H:%M} UTC", seconds=seconds, machine=_versions(machine, results)
    )
    notes = NOTES.format(block=recording.BLOCK, flush=recording.FLUSH, batch=logs.BATCH)
    (folder / "benchmarks.md").write_text(f"{head}\n{table(results)}\n{notes}", encoding="utf-8")
    rows = [
        {
            "row": result.row,
            "budgets": [{"text": b.limit_text, "value": b.value, "met": b.met} for b in result.budgets],
            "figures": result.figures,
            "notes": list(result.notes),
        }
        for result in results
    ]
    content = {"date": now.isoformat(timespec="seconds"), "machine": machine, "rows": rows}
    (folder / "benchmarks.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(results: list[Result]) -> str:
    """The results as Markdown."""
    lines = ["| what | barograph | beside, in the same run | budget |", "|---|---|---|---|"]
    for result in results:
        budgets = "<br>".join(f"{budget.limit_text}: {budget.verdict}" for budget in result.budgets)
        peer = "<br>".join([result.peers, *result.notes])
        lines.append(f"| {result.row} | {result.ours} | {peer} | {budgets} |")
    return "\n".join(lines) + "\n"


def _versions(machine: dict[str, str], results: list[Result]) -> str:
    named = [f"{name} {version}" for name, version in machine.items() if name not in ("processor", "system")]
    whylogs = {
        one["version"]
        for r in results
        for one in r.figures.get("peers", ())
        if one["name"] == "whylogs" and one["version"]
    }
    nannyml = {peer["version"] for r in results if (peer := r.figures.get("peer"))}
    named += [f"whylogs {version}" for version in whylogs] + [f"NannyML {version}" for version in nannyml]
    return f"{machine['processor']}; {machine['system']}; {', '.join(named)}."
