"""`make bench-detectors`: how the field's usual detectors do on the months and faults that barograph is measured by.

All judge the same hours: every row is drawn into the bin that the stream counted it in. `benchmarks.detector_rules` holds
rules of a few lines; Evidently and NannyML run in environments of their own (`benchmarks.detector_peers`).
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import special

from barograph.bins import Bins, NumericBins
from benchmarks import alarms
from benchmarks.alarms import COLUMNS, ROOT, TRIES, episodes
from benchmarks.detector_peers import CHECKED, EVIDENTLY, SAMPLE, Month
from benchmarks.detector_rules import FLOOR, KS, MEAN, PSI, RULES, THIN, Hours
from benchmarks.estimate import nannyml_python
from benchmarks.peers import environment
from benchmarks.streams import KINDS, LIVE, MONTH, Stream, lose, ordinary, rename

MONTHS = {100: 5, 1_000: 5, 10_000: 1}  # by rows an hour
PEER_MONTHS = {100: 1, 1_000: 1}  # the same months, from the first on
OURS = "barograph"
COLUMNWISE, DATASET, NANNYML = "Evidently, any column", "Evidently, data set", "NannyML"
DETECTORS = (OURS, PSI, KS, MEAN, COLUMNWISE, DATASET, NANNYML)
FAULTS = {
    "x1000": "x1000",
    "rename": "renamed",
    "+20 missing": "+20 points missing",
    "+5 missing": "+5 points missing",
    "shift": "mean + 0.5 sd",
}
FRESH = 100_000_000  # codes kept for the rare rows of a column, and of each fault
BLOCK = 96  # hours whose rows are drawn at once


@dataclass(frozen=True)
class Task:
    """A month to be judged; `peers`: by those in environments of their own too."""

    kind: str
    rows: int
    seed: int
    peers: bool


@dataclass(frozen=True, eq=False)
class Fault:
    """Two live hours from `hour` on in which something is wrong with a column: with `counts` of theirs, else values x1000.

    A number is then `by` standard deviations higher.
    """

    name: str
    column: str
    hour: int
    counts: np.ndarray | None = None
    by: float = 0.0

    @property
    def live(self) -> slice:
        """Its live hours."""
        return slice(self.hour, self.hour + 2)

    @property
    def at(self) -> slice:
        """The same, counted from the reference's first hour on."""
        return slice(MONTH + self.hour, MONTH + self.hour + 2)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a detector says: `clean` bool[H, columns] of live `hours`, `faulty` and `before` bool[faults, 2].

    `faulty` is of the faults' columns in their hours, `before` of the same without the fault.
    """

    hours: np.ndarray
    clean: np.ndarray
    faulty: np.ndarray
    before: np.ndarray


@dataclass(frozen=True)
class Found:
    """A month: by detector, figures as sums and counts, or why there are none; and versions of the peers."""

    task: Task
    figures: Mapping[str, Mapping[str, tuple[float, int]] | str]
    versions: Mapping[str, str]


# The rows of a month.


def hours_of(stream: Stream, name: str, rng: np.random.Generator) -> Hours:
    """All hours of a column, with its rows where it is a number."""
    bins, counts = stream.kinds[name], stream.counts[:, stream.bins.slice(name)]
    if name not in stream.latent:
        return Hours(bins, counts)
    return Hours(bins, counts, values_of(bins, counts, _means(stream, name), rng))


def values_of(bins: Bins, counts: np.ndarray, means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float64[H, n]: rows that have these counts, of a normal column of sd 1 with these means by hour; in order of the bins."""
    assert isinstance(bins, NumericBins)
    out = np.empty((len(counts), int(counts[0].sum())))
    edges = np.concatenate([[-np.inf], bins.edges, [np.inf]])
    for start in range(0, len(counts), BLOCK):
        some, middle = counts[start : start + BLOCK], means[start : start + BLOCK, None]
        low, width = np.full((2, *some.shape), np.nan)  # of slots that hold no value it stays so
        below = special.ndtr(edges - middle)
        low[:, : bins.values], width[:, : bins.values] = below[:, :-1], np.diff(below)
        first, span = (np.repeat(of.ravel(), some.ravel()).reshape(len(some), -1) for of in (low, width))
        out[start : start + BLOCK] = middle + special.ndtri(first + span * rng.random(first.shape))
    return out


def slots_of(counts: np.ndarray) -> np.ndarray:
    """intp[H, n]: the slot of each row, in order, where every hour has as many rows."""
    hours, size = counts.shape
    return np.repeat(np.tile(np.arange(size), hours), counts.ravel()).reshape(hours, -1)


def _means(stream: Stream, name: str) -> np.ndarray:
    middle, weight = stream.latent[name]
    return np.asarray(middle + weight * stream._follows(name))


def faults(stream: Stream, seed: int) -> Iterator[Fault]:
    """Each fault at some hours of the month, in some columns, as `alarms.detected` draws them."""
    rng = np.random.default_rng([seed, 1])
    features = [n for n in stream.names if stream.bins.roles[n] == "feature"]
    numbers = [n for n in features if n in stream.latent]
    categories = [n for n in features if n not in stream.latent]
    for _ in range(TRIES):
        for name, among, change in (
            ("x1000", numbers, None),
            ("rename", categories, rename(int(rng.integers(100)))),
            ("+20 missing", features, lose(0.2)),
            ("+5 missing", features, lose(0.05)),
        ):
            hour, column = int(rng.integers(1, LIVE - 2)), among[rng.integers(len(among))]
            if change is None:
                yield Fault(name, column, hour)
            else:
                counts = stream.faulty(hour, column, change, 2)[:, stream.bins.slice(column)]
                yield Fault(name, column, hour, counts)
        hour, column = int(rng.integers(1, LIVE - 2)), numbers[rng.integers(len(numbers))]
        shift = Fault("shift", column, hour, by=0.5)
        shares = stream.shifted(shift.column, np.arange(shift.at.start, shift.at.stop), shift.by)
        yield replace(shift, counts=stream.rng.multinomial(stream.rows[shift.at], shares))


def wrong(stream: Stream, fault: Fault, whole: Hours, rng: np.random.Generator) -> Hours:
    """What the fault's column holds in its hours."""
    if fault.counts is None:
        assert whole.values is not None
        values = whole.values[fault.at] * 1000
        slots = [np.bincount(whole.bins.index(row), minlength=whole.bins.size) for row in values]
        return Hours(whole.bins, np.array(slots), values)
    if whole.values is None:
        return Hours(whole.bins, fault.counts)
    means = _means(stream, fault.column)[fault.at] + fault.by
    return Hours(whole.bins, fault.counts, values_of(whole.bins, fault.counts, means, rng))


# A month, by all.


def judged(task: Task, data: Path | None) -> Found:
    """What all detectors say of a month, column by column."""
    stream = ordinary(task.kind, task.seed, task.rows, data, columns=COLUMNS)
    month = alarms.live(stream)
    drawn = list(faults(stream, task.seed))
    seen: dict[int, Hours] = {}
    columns: dict[str, np.ndarray] = {}
    clean: dict[str, list[np.ndarray]] = {name: [] for name in RULES}
    faulty = {name: np.zeros((len(drawn), 2), dtype=bool) for name in RULES}
    for i, name in enumerate(stream.names):
        rng = np.random.default_rng([task.seed, 3, i])
        whole = hours_of(stream, name, rng)
        mine = [j for j, fault in enumerate(drawn) if fault.column == name]
        seen |= {j: wrong(stream, drawn[j], whole, rng) for j in mine}
        live = _joined([whole.at(slice(MONTH, None)), *(seen[j] for j in mine)])
        for rule, judge in RULES.items():
            said = judge(whole.at(slice(MONTH)), live)
            clean[rule].append(said[:LIVE])
            faulty[rule][mine] = said[LIVE:].reshape(-1, 2)
        if task.peers:
            columns[name] = coded(whole)
    hours, wrongs = np.arange(LIVE), [seen[j] for j in range(len(drawn))]
    found: dict[str, Judged | str] = {OURS: by_barograph(month, drawn, wrongs)}
    for rule in RULES:
        table = np.column_stack(clean[rule])
        found[rule] = Judged(hours, table, faulty[rule], _before(hours, table, drawn, stream.names))
    versions: dict[str, str] = {}
    if task.peers:
        peers, versions = by_peers(as_rows(stream, columns, drawn, wrongs), drawn)
        found |= peers
    figures = {name: one if isinstance(one, str) else summed(one, drawn) for name, one in found.items()}
    return Found(task, figures, versions)


def _joined(parts: Sequence[Hours]) -> Hours:
    values = [part.values for part in parts if part.values is not None]
    rows = np.vstack(values) if values else None
    return Hours(parts[0].bins, np.vstack([part.counts for part in parts]), rows)


def _before(
    hours: np.ndarray, clean: np.ndarray, drawn: Sequence[Fault], names: Sequence[str] | None
) -> np.ndarray:
    """bool[faults, 2]: what was said of the faults' columns in their hours without them; or of the data set."""
    at = [np.searchsorted(hours, np.arange(fault.live.start, fault.live.stop)) for fault in drawn]
    where = [names.index(fault.column) if names else 0 for fault in drawn]
    return np.array([clean[two, column] for two, column in zip(at, where, strict=True)])


def by_barograph(month: alarms.Lived, drawn: Sequence[Fault], wrongs: Sequence[Hours]) -> Judged:
    """All lanes in ordinary hours, and the lane of hours in those of a fault."""
    stream = month.stream

    def said(fault: Fault, counts: np.ndarray) -> np.ndarray:
        rows = stream.counts[fault.at].copy()
        rows[:, stream.bins.slice(fault.column)] = counts
        return alarms.hourly(month, fault.hour, fault.column, rows)

    faulty = [said(fault, hours.counts) for fault, hours in zip(drawn, wrongs, strict=True)]
    before = [said(fault, stream.counts[fault.at, stream.bins.slice(fault.column)]) for fault in drawn]
    return Judged(np.arange(len(month.hours)), month.hours, np.array(faulty), np.array(before))


def by_peers(month: Month, drawn: Sequence[Fault]) -> tuple[dict[str, Judged | str], dict[str, str]]:
    """Evidently and NannyML, or why they say nothing; and their versions."""
    found: dict[str, Judged | str] = {}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        month.save(Path(folder) / "month.npz")
        for peer, (python, why) in environments().items():
            names = (COLUMNWISE, DATASET) if peer == "evidently" else (NANNYML,)
            version, problem = _run(peer, python, Path(folder)) if python is not None else ("", why)
            if problem:
                found |= dict.fromkeys(names, problem)
                continue
            versions[peer] = version
            with np.load(Path(folder) / "judged.npz") as said:
                hours = said["hours"]
                for name, head, columns in zip(
                    names, ("", "set "), (list(month.columns), None), strict=False
                ):
                    clean = said[f"{head}clean"]
                    before = _before(hours, clean, drawn, columns)
                    found[name] = Judged(hours, clean, said[f"{head}faulty"], before)
    return found, versions


def environments() -> dict[str, tuple[Path | None, str]]:
    """By peer, its interpreter, which is installed on first use; or None and why there is none."""
    evidently = environment("Evidently", EVIDENTLY, sys.executable, "", install=True)
    return {"evidently": evidently, "nannyml": nannyml_python()}


def _run(peer: str, python: Path, folder: Path) -> tuple[str, str]:
    """The peer's version, and what went wrong."""
    command = [str(python), "-W", "ignore", "-m", "benchmarks.detector_peers", peer, str(folder)]
    place = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=ROOT, env=place, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return "", f"not measured: {said[-1]}"
    return str(json.loads(done.stdout.splitlines()[-1])["version"]), ""


def as_rows(
    stream: Stream, columns: Mapping[str, np.ndarray], drawn: Sequence[Fault], wrongs: Sequence[Hours]
) -> Month:
    """A month as another environment reads it."""
    categories = tuple(name for name in stream.names if name not in stream.latent)
    at = np.array([fault.hour for fault in drawn])
    faulty = tuple(coded(hours, FRESH * (i + 1)) for i, hours in enumerate(wrongs))
    return Month(MONTH, columns, categories, tuple(fault.column for fault in drawn), at, faulty)


def coded(hours: Hours, first: int = 0) -> np.ndarray:
    """float64[H, n]: numbers, or the slots of categories, NaN where missing; what is rare or new has codes of its own, unlike
    those of another `first`: every such row is a category that no other row has, in the reference as later.
    """
    if hours.values is not None:
        return hours.values
    bins, slots = hours.bins, slots_of(hours.counts)
    out = np.where(slots < bins.missing, slots, np.nan)
    fresh = np.isin(slots, [slot for slot in (bins.other, bins.unseen) if slot is not None])
    out[fresh] = first + bins.size + np.arange(np.count_nonzero(fresh))
    return out


def summed(one: Judged, drawn: Sequence[Fault]) -> dict[str, tuple[float, int]]:
    """Figures of a month as sums and counts. Alarms are those of a whole month: where hours are lacking, there are none."""
    windows = np.any(one.clean, axis=1)
    out = {"windows": (float(windows.sum()), len(windows))}
    if len(one.hours) == LIVE:
        out["alarms"] = (float(episodes(windows)), 1)
        if one.clean.shape[1] > 1:
            out["column alarms"] = (float(sum(episodes(column) for column in one.clean.T)), 1)
    for name in FAULTS:
        mine = [i for i, fault in enumerate(drawn) if fault.name == name]
        found = one.faulty[mine]
        out[f"{name} 1"] = (float(found[:, 0].sum()), len(mine))
        out[f"{name} 2"] = (float(found.any(axis=1).sum()), len(mine))
    out["before"] = (float(one.before.any(axis=1).sum()), len(drawn))
    return out


# The run, and what it writes.


def tasks(months: Mapping[int, int], kinds: Sequence[str], peers: Mapping[int, int]) -> list[Task]:
    """All months, the longest first."""
    every = [
        Task(kind, rows, seed, seed < peers.get(rows, 0))
        for rows, n in months.items()
        for seed in range(n)
        for kind in kinds
    ]
    return sorted(every, key=lambda task: (-task.peers, -task.rows))


def run(work: Sequence[Task], data: Path | None, processes: int) -> list[Found]:
    """Judge them all, saying how far it is."""
    found, started = [], time.monotonic()
    print(f"{len(work)} months; the first take minutes each.", file=sys.stderr, flush=True)
    with ProcessPoolExecutor(processes) as pool:
        for one in pool.map(judged, work, [data] * len(work)):
            found.append(one)
            end = "\r" if sys.stderr.isatty() and len(found) < len(work) else "\n"
            said = f"{len(found)} of {len(work)} months judged, {time.monotonic() - started:.0f} s   "
            print(said, end=end, file=sys.stderr, flush=True)
    return found


def means(
    found: Sequence[Found], by: Callable[[Task], object]
) -> dict[object, dict[str, dict[str, float] | str]]:
    """By group and detector, the mean of each figure, and `months`; or why there are none."""
    sums: dict[tuple[object, str], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(lambda: [0.0, 0.0])
    )
    out: dict[object, dict[str, dict[str, float] | str]] = defaultdict(dict)
    for one in found:
        for detector, figures in one.figures.items():
            if isinstance(figures, str):
                out[by(one.task)][detector] = figures
                continue
            for name, (total, n) in [*figures.items(), ("months", (1.0, 0))]:
                kept = sums[by(one.task), detector][name]
                kept[0], kept[1] = kept[0] + total, kept[1] + n
    for (group, detector), kept_of in sums.items():
        out[group][detector] = {name: total / n if n else total for name, (total, n) in kept_of.items()}
    return out


HEAD = ["alarms a month", "column alarms a month", "windows in alarm", *FAULTS.values(), "without fault"]


def cells(figures: Mapping[str, float] | str) -> list[str]:
    """A row of the table: of faults `first window / within two`."""
    if isinstance(figures, str):
        return [figures, *[""] * (len(HEAD) - 1)]
    alarms_ = [f"{figures[name]:.2f}" if name in figures else "" for name in ("alarms", "column alarms")]
    found = [f"{figures[f'{name} 1']:.0%} / {figures[f'{name} 2']:.0%}" for name in FAULTS]
    return [*alarms_, f"{figures['windows']:.1%}", *found, f"{figures['before']:.0%}"]


def short(found: Sequence[Found]) -> str:
    """All kinds of months together, by rows an hour, each detector on the months it was given."""
    rows = means(found, lambda task: task.rows)
    sizes = sorted({one.task.rows for one in found})
    lines = [([f"{n:,}", name], rows[n][name]) for n in sizes for name in DETECTORS if name in rows[n]]
    return _table(["rows an hour", "detector"], lines)


def whole(found: Sequence[Found]) -> str:
    """Each kind by itself."""
    rows = means(found, lambda task: (task.rows, task.kind))
    groups = [(n, kind) for n in sorted({one.task.rows for one in found}) for kind in KINDS]
    lines = [
        ([f"{n:,}", kind, name], rows[n, kind][name])
        for n, kind in groups
        for name in DETECTORS
        if name in rows.get((n, kind), {})
    ]
    return _table(["rows an hour", "ordinary months", "detector"], lines)


def _table(head: Sequence[str], rows: Sequence[tuple[list[str], Mapping[str, float] | str]]) -> str:
    every = [*head, "months", *HEAD]
    lines = ["| " + " | ".join(every) + " |", "|---" * len(every) + "|"]
    for names, figures in rows:
        months = "" if isinstance(figures, str) else f"{figures['months']:.0f}"
        lines.append("| " + " | ".join([*names, months, *cells(figures)]) + " |")
    return "\n".join(lines) + "\n"


def better(found: Sequence[Found]) -> str:
    """Where another finds a fault more often than barograph does in the same months, by 5 points or more, and what that costs."""
    lines = []
    for n in sorted({one.task.rows for one in found}):
        for detector in DETECTORS[1:]:
            same = [f for f in found if f.task.rows == n and isinstance(f.figures.get(detector), dict)]
            if not same:
                continue
            both = means(same, lambda _: None)[None]
            ours, theirs = both[OURS], both[detector]
            assert isinstance(ours, dict) and isinstance(theirs, dict)
            more = [
                f"{said} in {theirs[f'{name} 2']:.0%} (barograph {ours[f'{name} 2']:.0%})"
                for name, said in FAULTS.items()
                if theirs[f"{name} 2"] >= ours[f"{name} 2"] + 0.05
            ]
            if more:
                cost = f"in alarm in {theirs['windows']:.1%} of ordinary windows (barograph {ours['windows']:.1%})"
                lines.append(
                    f"- {n:,} rows an hour, **{detector}** finds {'; '.join(more)}. It is {cost}, and in "
                    f"{theirs['before']:.0%} of the tries it is in alarm without the fault."
                )
    return "\n".join(lines) or "Nowhere in this run."


TEXT = """\
# Detectors: what the field's usual ones say of the same months

Written by `make bench-detectors` on {date}, in {seconds:.0f} s on {cores} cores; do not edit. 28 days of reference, 30 live days
and 50 columns of the [months that alarms are counted in](alarms.md), from the first seed on; every detector judges the same
rows, by the hour. Barograph: all its lanes with the whole budget, lines refreshed weekly, and its lane of hours for faults; the
others as they come.

- **alarms a month**: of any column, before any routing; hours in alarm less than six hours apart are one. A detector that never
  leaves alarm has one alarm: read it with **windows in alarm**, the share of hours in which any column is (a day in
  barograph's daily lane is 24 of them). **Column alarms** counts those of each column by itself. Evidently judges some {sampled}
  hours of a month, drawn by chance: no alarms are counted.
- **x1000** to **mean + 0.5 sd**: share of faults found in the first window / within two. Each lies in one column, {tries} times a
  month, at an hour and in a column that chance draws; found is what raises an alarm of that column (or of the data set).
- **without fault**: share of these same columns and hours that were in alarm without any fault. What is found no more often
  than that is not found.

## All kinds of months together

{short}
## Where another finds more

Within two windows, by five points or more, in the same months:

{better}

## Each kind of month

{whole}
## The detectors

- **{psi}**: population stability index, Σ (q − p) ln(q / p), of an hour against the whole reference, over deciles of the
  reference, or categories (what was rare in the reference and what is new are one), and a cell for missing values; a share
  below {floor} counts as that. 0.2 is the customary line for "a significant shift".
- **{ks}**: two-sample Kolmogorov-Smirnov test of a number, chi-square test of a category and of the answer, each column and
  hour by itself at 5 %, missing values dropped.
- **{mean}**: the mean of a number in an hour, against mean and standard deviation of the reference's hourly means; missing
  values dropped. Categories and the answer have no mean: it does not look at them.
- **Evidently** {evidently}, `DataDriftPreset` with nothing set: where the reference has more than 1,000 rows, the Wasserstein
  distance of a number in standard deviations of the reference, and the Jensen-Shannon distance (base e) of a category; each is
  a drift from 0.1 on, missing values dropped. The data set has drifted where half of its columns have. The reference is
  {sample:,} rows of the 28 days, drawn by chance, for it is read again for each window. Its functions are called without drawing
  the report; in each month the report itself is asked of {checked} columns, and nothing is measured where it says otherwise.
- **NannyML** {nannyml}, `UnivariateDriftCalculator` with nothing set but the columns, which of them are categories, and a chunk
  for each hour: the Jensen-Shannon distance (base 2) of every column, missing values dropped; a number by bins of Doane's rule.
  Its line is the mean and three standard deviations above it of the distances of the reference's own chunks (some of its
  docstrings say 0.1; the code does not).

Evidently and NannyML run in environments of their own, which the command makes, at 100 and 1,000 rows an hour; values that are
rare in the reference, or new, are each a category of its own, as they come. Where there are
more rows an hour than that, tests and deciles take {thin:,} of each hour of the reference, evenly.
"""


def written(found: Sequence[Found], seconds: float) -> str:
    """The page."""
    versions: dict[str, str] = {}
    for one in found:
        versions |= one.versions
    return TEXT.format(
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        seconds=seconds,
        cores=os.cpu_count(),
        tries=TRIES,
        sampled=2 * TRIES * len(FAULTS),
        thin=THIN,
        short=short(found),
        better=better(found),
        whole=whole(found),
        psi=PSI,
        ks=KS,
        mean=MEAN,
        floor=FLOOR,
        sample=SAMPLE,
        checked=CHECKED,
        evidently=versions.get("evidently", "(not measured)"),
        nannyml=versions.get("nannyml", "(not measured)"),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, and write docs/detectors.md after a run of everything."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors", description=__doc__)
    parser.add_argument(
        "--months", type=int, help="months of each kind (default: 5; 1 at 10,000 rows an hour)"
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=list(MONTHS), help="rows an hour (default: 100 1000 10000)"
    )
    parser.add_argument(
        "--no-peers", action="store_true", help="without Evidently and NannyML: installs nothing"
    )
    alarms.of_months(parser)
    parser.add_argument(
        "--output", type=Path, help="the file to write (default: docs/detectors.md, for a run of everything)"
    )
    options = parser.parse_args(arguments)
    folder, kinds = alarms.data_of(options)
    months = {n: options.months or MONTHS.get(n, 1) for n in options.rows}
    started = time.monotonic()
    peers = {} if options.no_peers else PEER_MONTHS
    if peers:
        environments()  # once, before processes ask for them at the same time
    found = run(tasks(months, kinds, peers), folder, options.processes)
    page = written(found, time.monotonic() - started)
    print(page)
    everything = months == MONTHS and tuple(kinds) == KINDS and not options.no_peers
    output = options.output or (ROOT / "docs" / "detectors.md" if everything else None)
    if output is not None:
        output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
