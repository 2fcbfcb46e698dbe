"""`make bench-alarms`: how often ordinary months raise an alarm, and how soon faults do, under the same lines.

Every month is judged in all lanes together, by lines that are refreshed weekly from what has been lived so
far; faults are put into the same months and judged by the lines in force at that hour.
"""

import argparse
import datetime as dt
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from barograph.calibrate import Calibration, calibrate, calibrate_lanes, judge
from barograph.jumps import pairs
from barograph.lanes import DAILY, FIVE_MINUTES, HOUR, HOURLY, JUMP, LANES, Lane
from barograph.naming import PREDICTION, SCORE
from barograph.reference import Reference
from barograph.refresh import Live, creeping, refresh_lanes
from benchmarks.measure import Budget, median
from benchmarks.streams import (
    FINE,
    KINDS,
    LIVE,
    MONTH,
    Stream,
    lose,
    ordinary,
    rename,
    times_1000,
    triple,
)

ROOT = Path(__file__).resolve().parent.parent
ROWS = (100, 1_000, 10_000)
COLUMNS = 50
WEEK = 7 * 24
APART = 6  # hours without alarm after which the next one is another
DRIFT, DRIFTING = 0.6, 90 * 24  # standard deviations, over so many hours
WARM = 14 * 24
CREEP = "creep"
TRIES = 6  # of each fault in a month


@dataclass(frozen=True)
class Task:
    """A month to be lived: `what` is `clean`, `drift` or `learning`."""

    what: str
    kind: str
    rows: int
    seed: int


@dataclass(frozen=True, eq=False)
class Lived:
    """A stream that was judged. `lines` are calibrations by lane from an hour on; `ratios` and `alarms` by lane and signal."""

    stream: Stream
    lines: Sequence[tuple[int, Mapping[str, Calibration]]]
    ratios: Mapping[str, Mapping[str, np.ndarray]]
    alarms: Mapping[str, Mapping[str, np.ndarray]]
    hours: np.ndarray  # bool (T, C): hours in alarm of any lane
    fine: tuple[np.ndarray, np.ndarray] | None

    def at(self, hour: int) -> Mapping[str, Calibration]:
        """The lines in force."""
        return [lines for begin, lines in self.lines if begin <= hour][-1]


@dataclass(frozen=True)
class Found:
    """What a month showed, as sums and counts: name -> (sum, how many)."""

    task: Task
    figures: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def live(stream: Stream, *, learning: bool = False, every: int = WEEK) -> Lived:
    """Judge all live hours of a stream in all lanes; `learning` begins with a reference that has no timestamps."""
    reference = stream.reference()
    if learning:
        reference = Reference(reference.task, reference.schema, reference.bins, reference.baseline)
    enough = stream.rows[-1] >= FINE * FIVE_MINUTES.minimum
    lanes = [one for one in LANES.values() if one.seconds >= HOUR or enough]
    fine = stream.fine() if enough else None
    firsts = calibrate_lanes(reference, lanes=lanes)
    starts, counts = stream.live()
    windows = {HOURLY: counts, DAILY: counts.reshape(len(counts) // 24, 24, -1).sum(axis=1)}
    if fine is not None:
        windows[FIVE_MINUTES] = windows[JUMP] = fine[1]
    hours = np.zeros((len(starts), len(stream.names)), dtype=bool)
    lines, ratios, alarms = [], {}, {}
    for begin in range(0, len(starts), every):
        end = min(begin + every, len(starts))
        past = Live(starts[:begin], counts[:begin])
        now = refresh_lanes(firsts, reference, past, leave_out=hours[:begin]) if begin else firsts
        lines.append((begin, now))
        for lane in lanes:
            a, b = begin * HOUR // lane.seconds, end * HOUR // lane.seconds
            new = judged(now[lane.name], int(starts[0]), windows[lane][:b], a)
            old = ratios.get(lane.name)
            ratios[lane.name] = new if old is None else {s: np.concatenate([old[s], new[s]]) for s in new}
            alarms[lane.name] = alarms_of(lane, int(starts[0]), ratios[lane.name])
            if lane is DAILY:
                creeps = creeping(firsts[lane.name], windows[lane][:b])
                alarms[lane.name][CREEP] = anything(creeps)
            hours[:end] |= by_hour(lane, anything(alarms[lane.name]))
    return Lived(stream, lines, ratios, alarms, hours, fine)


def judged(calibration: Calibration, begin: int, counts: np.ndarray, first: int) -> dict[str, np.ndarray]:
    """Ratios by signal (W, C) of windows from the `first` on, a day of short ones at a time; those before began at `begin`."""
    parts = []
    for i in range(first, len(counts), 288):
        if calibration.lane.before:
            parts.append(jumped(calibration, begin, counts[: i + 288], i))
        else:
            parts.append(calibration.verdicts(counts[i : i + 288]).ratios)
    return {signal: np.concatenate([part[signal] for part in parts]) for signal in parts[0]}


def jumped(calibration: Calibration, begin: int, counts: np.ndarray, first: int) -> dict[str, np.ndarray]:
    """The same of the lane of jumps, which needs the windows before too: NaN where there are too few of them."""
    step, reach = calibration.lane.seconds, 2 * calibration.lane.before // calibration.lane.seconds - 1
    at = max(first - reach, 0)
    found = calibration.jumps(pairs(begin + step * np.arange(at, len(counts)), counts[at:], step)).ratios
    missing = np.full((at + reach - first, len(calibration.columns)), np.nan)
    return {signal: np.concatenate([missing, ratios]) for signal, ratios in found.items()}


def alarms_of(lane: Lane, start: int, ratios: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """bool (W, C) by signal of windows that follow one another from `start` on."""
    at = start + lane.seconds * np.arange(len(next(iter(ratios.values()))))
    return {signal: lane.alarm(signal, at, at + lane.seconds, ratio) for signal, ratio in ratios.items()}


def anything(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """bool (W, C): any signal."""
    return np.any(list(found.values()), axis=0)


def by_hour(lane: Lane, found: np.ndarray) -> np.ndarray:
    """bool (hours, C): an hour in which a window is in alarm, or that lies in one."""
    if lane.seconds < HOUR:
        return np.asarray(found.reshape(-1, HOUR // lane.seconds, found.shape[1]).any(axis=1))
    return np.repeat(found, lane.seconds // HOUR, axis=0)


def episodes(hours: np.ndarray) -> int:
    """How many alarms there are in bool (T,): those closer than 6 hours are one."""
    at = np.flatnonzero(hours)
    return 0 if not len(at) else 1 + int(np.count_nonzero(np.diff(at) > APART + 1))


# What a month says.


def lived(task: Task, data: Path | None) -> Found:
    """Live one month of a task, and sum up."""
    if task.what == "drift":
        return Found(task, drifted(task, data))
    if task.what == "learning":
        stream = ordinary(task.kind, task.seed, task.rows, data, columns=COLUMNS, live=WARM)
        month = live(stream, learning=True, every=WARM)  # before 14 days are over no line is drawn
        return Found(task, {"warm-up": (episodes(month.hours.any(axis=1)), 1)})
    month = live(ordinary(task.kind, task.seed, task.rows, data, columns=COLUMNS))
    return Found(task, {**calm(month), **detected(month, task.seed)})


def calm(month: Lived) -> dict[str, tuple[float, int]]:
    """Alarms of a month in which nothing happened."""
    model = episodes(month.hours.any(axis=1))
    columns = sum(episodes(one) for one in month.hours.T)
    flags = {name: anything(found).any(axis=1) for name, found in month.alarms.items()}
    out = {
        "alarms": (float(model), 1),
        "column alarms": (float(columns), 1),
        "more": (float(model > 1), 1),
        "windows": (float(sum(f.sum() for f in flags.values())), sum(map(len, flags.values()))),
    }
    for name, found in flags.items():
        lane = LANES[name]
        hours = by_hour(lane, found[:, None])[:, 0]
        out[f"alarms {name}"] = (float(episodes(hours)), 1)
        out[f"windows {name}"] = (float(found.sum()), len(found))
    return out


def detected(month: Lived, seed: int) -> dict[str, tuple[float, int]]:
    """Share of faults found, each tried at some hours of the month, in some columns."""
    stream, rng = month.stream, np.random.default_rng([seed, 1])
    features = [n for n in stream.names if stream.bins.roles[n] == "feature"]
    numbers = [n for n in features if n in stream.latent]
    categories = [n for n in features if n not in stream.latent]
    out: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))

    def add(name: str, value: bool) -> None:
        total, n = out[name]
        out[name] = (total + value, n + 1)

    for _ in range(TRIES):
        for name, among, change in (
            ("x1000", numbers, times_1000),
            ("rename", categories, rename(int(rng.integers(100)))),
            ("+20 missing", features, lose(0.2)),
            ("+5 missing", features, lose(0.05)),
        ):
            hour, column = int(rng.integers(1, LIVE - 2)), among[rng.integers(len(among))]
            found = hourly(month, hour, column, stream.faulty(hour, column, change, 2))
            add(f"{name} 1", bool(found[0]))
            add(f"{name} 2", bool(found.any()))
        hour, column = int(rng.integers(1, LIVE - 2)), numbers[rng.integers(len(numbers))]
        shares = stream.shifted(column, MONTH + hour + np.arange(2), 0.5)
        found = hourly(month, hour, column, put(stream, hour, column, shares))
        add("shift 2", bool(found.any()))
        if month.fine is not None:
            hour = int(rng.integers(1, LIVE - 2))
            add(
                "output shift",
                quarter(month, hour, SCORE, stream.shifted(SCORE, np.array([MONTH + hour]), 0.5)[0]),
            )
            tripled = triple(stream.kinds[PREDICTION], stream.shares[PREDICTION][MONTH + hour].copy())
            add("positives", quarter(month, hour, PREDICTION, tripled))
    return dict(out)


def put(stream: Stream, hour: int, column: str, shares: np.ndarray) -> np.ndarray:
    """The counts of live hours with one column drawn from these shares."""
    at = slice(MONTH + hour, MONTH + hour + len(shares))
    counts = stream.counts[at].copy()
    counts[:, stream.bins.slice(column)] = stream.rng.multinomial(stream.rows[at], shares)
    return counts


def hourly(month: Lived, hour: int, column: str, faulty: np.ndarray) -> np.ndarray:
    """bool[2]: whether the column is in alarm in the first and the second hour of a fault."""
    before = month.stream.counts[MONTH + hour - 1 : MONTH + hour]
    return _found(
        month.at(hour)[HOURLY.name], HOURLY, np.vstack([before, faulty]), month.stream.names.index(column)
    )


def quarter(month: Lived, hour: int, column: str, shares: np.ndarray) -> bool:
    """Whether the column is in alarm within the first fifteen minutes of a fault."""
    assert month.fine is not None
    stream, at = month.stream, hour * FINE
    first = max(at - 2 * FINE, 0)
    counts, where = month.fine[1][first : at + 3].copy(), stream.bins.slice(column)
    counts[-3:, where] = stream.rng.multinomial(counts[-3:, where].sum(axis=1), shares)
    i, begin = stream.names.index(column), int(month.fine[0][first])
    ratios = jumped(month.at(hour)[JUMP.name], begin, counts, len(counts) - 3)
    sudden = anything(alarms_of(JUMP, 0, ratios))[:, i]
    return bool(sudden.any() or _found(month.at(hour)[FIVE_MINUTES.name], FIVE_MINUTES, counts[-4:], i).any())


def _found(calibration: Calibration, lane: Lane, counts: np.ndarray, column: int) -> np.ndarray:
    return anything(alarms_of(lane, 0, calibration.verdicts(counts).ratios))[1:, column]


def drifted(task: Task, data: Path | None) -> dict[str, tuple[float, int]]:
    """Whether a column that drifts for 90 days is found: by an alarm of its own, or as creeping."""
    stream = ordinary(task.kind, task.seed, task.rows, data, columns=COLUMNS, live=DRIFTING)
    numbers = [n for n in stream.names if n in stream.latent and n != SCORE]
    column = numbers[np.random.default_rng([task.seed, 2]).integers(len(numbers))]
    at = np.arange(MONTH, MONTH + DRIFTING)
    by = DRIFT * (np.arange(DRIFTING) + 1) / DRIFTING
    shares = stream.shifted(column, at, by)
    stream.counts[MONTH:, stream.bins.slice(column)] = stream.rng.multinomial(stream.rows[at], shares)
    month, i = live(stream), stream.names.index(column)
    creeps = month.alarms[DAILY.name][CREEP][:, i]
    alarmed = month.hours[:, i]
    found = alarmed.any()
    out = {"drift": (float(found), 1), "drift by creep": (float(creeps.any()), 1)}
    if found:
        out["drift days"] = (float(np.argmax(alarmed)) / 24, 1)
    return out


# The run, and what it writes.


def tasks(months: int, rows: Sequence[int], kinds: Sequence[str]) -> Iterator[Task]:
    """All that is to be lived."""
    for seed in range(months):
        for kind in kinds:
            if not seed % 2:
                yield Task("drift", kind, 1_000, seed)
            for n in rows:
                yield Task("clean", kind, n, seed)
                yield Task("learning", kind, n, seed)


def run(work: Sequence[Task], data: Path | None, processes: int) -> list[Found]:
    """Live them all, saying how far it is."""
    found, started = [], time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for one in pool.map(lived, work, [data] * len(work), chunksize=2):
            found.append(one)
            _progress(len(found), len(work), time.monotonic() - started)
    return found


def _progress(done: int, total: int, seconds: float) -> None:
    if sys.stderr.isatty() or done == total or not done % 50:
        left = seconds / done * (total - done)
        end = "\n" if done == total or not sys.stderr.isatty() else "\r"
        print(
            f"{done} of {total} months lived, about {left:.0f} s left   ",
            end=end,
            file=sys.stderr,
            flush=True,
        )


def means(found: Iterable[Found], by: Callable[[Task], object]) -> dict[object, dict[str, float]]:
    """Mean of each figure by group."""
    sums: dict[object, dict[str, tuple[float, int]]] = defaultdict(lambda: defaultdict(lambda: (0.0, 0)))
    for one in found:
        for name, (total, n) in one.figures.items():
            before = sums[by(one.task)][name]
            sums[by(one.task)][name] = (before[0] + total, before[1] + n)
    return {group: {name: t / n for name, (t, n) in figures.items()} for group, figures in sums.items()}


def cost() -> tuple[float, float]:
    """Seconds to fit 50 columns on 672 windows, and to judge one window of them; medians."""
    stream = Stream(0, COLUMNS)
    reference = stream.reference()
    calibration, fits, judges = calibrate(reference), [], []
    for i in range(5):
        began = time.perf_counter()
        calibrate(reference)
        fits.append(time.perf_counter() - began)
        began = time.perf_counter()
        judge(calibration, stream.counts[-1 - i])
        judges.append(time.perf_counter() - began)
    return median(fits), median(judges)


CALM = {
    "alarms": "alarms a month",
    "more": "months with more than one",
    "windows": "windows in alarm",
    "warm-up": "alarms in 14 days of warm-up",
    "column alarms": "column alarms a month",
    "alarms 5m": "5 min",
    "alarms jump": "jump",
    "alarms 1h": "hour",
    "alarms 1d": "day",
}
FAULTS = {
    "x1000 1": "x1000, first window",
    "rename 1": "renamed, first window",
    "rename 2": "renamed, 2 windows",
    "+20 missing 2": "+20 points missing, 2 windows",
    "+5 missing 2": "+5 points missing, 2 windows",
    "shift 2": "mean + 0.5 sd, 2 windows",
    "output shift": "score + 0.5 sd, 15 min",
    "positives": "positives x3, 15 min",
}
LIMITS = {"alarms": 0.5, "more": 0.10, "windows": 0.005, "warm-up": 2.0}  # of each kind
LEAST = {"x1000 1": 0.95, "rename 2": 0.95, "+20 missing 2": 0.85, "+5 missing 2": 0.65}  # of all
AT_ONCE = {"output shift": 0.95, "positives": 0.85}  # of all; chance hides some of what is rare at night
IID = 0.95
SHARES = ("more", "windows")


def budgets(found: Sequence[Found], price: tuple[float, float]) -> list[Budget]:
    """The promises, and what was measured: of the kind of months that raises most alarms, and of all in which faults are."""
    rows = sorted({one.task.rows for one in found if one.task.what != "drift"})
    out = []
    for n in rows:
        here = [one for one in found if one.task.rows == n and one.task.what != "drift"]
        kinds, every = means(here, lambda t: t.kind), means(here, lambda _: "all")["all"]
        for name, limit in LIMITS.items():
            values = [figures[name] for figures in kinds.values() if name in figures]
            worst = max(values) if values else None
            out.append(Budget(f"{CALM[name]}, {n:,} rows an hour, worst kind", worst, limit))
        for name, least in (LEAST if n >= 1_000 else {}).items():
            out.append(_least(f"{FAULTS[name]}, {n:,} rows an hour", every.get(name), least))
        for name, least in (AT_ONCE if n >= 10_000 else {}).items():
            out.append(
                _least(f"{FAULTS[name]}, {n:,} rows an hour, iid", kinds.get("iid", {}).get(name), IID)
            )
            out.append(_least(f"{FAULTS[name]}, {n:,} rows an hour", every.get(name), least))
    drift = means(found, lambda t: t.what).get("drift", {})
    out.append(_least("0.6 sd over 90 days, weekly refresh", drift.get("drift"), 0.6))
    out.append(Budget("s to fit 50 columns on 672 windows", price[0], 1.0))
    out.append(Budget("s to judge one window", price[1], 0.005))
    return out


def _least(what: str, value: float | None, least: float) -> Budget:
    return Budget(f"found: {what}", value, least, at_least=True)


def _table(found: Sequence[Found], names: Mapping[str, str]) -> str:
    rows = means(found, lambda t: (t.kind, t.rows))
    lines = [
        "| ordinary months | rows an hour | " + " | ".join(names.values()) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for (kind, n), figures in sorted(rows.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1])):  # type: ignore[index]
        if names.keys() & figures.keys():
            cells = [_cell(name, figures.get(name)) for name in names]
            lines.append(f"| {kind} | {n:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name == "windows":
        return f"{value:.2%}"
    return f"{value:.0%}" if name in FAULTS or name in SHARES else f"{value:.2f}"


TEXT = """\
# Alarms: how many are false, and how soon faults are found

Written by `make bench-alarms` on {date}, in {seconds:.0f} s; do not edit. {months} months of each row, 28 days of reference
and 30 live days of 50 columns: 48 features, a score and an answer. All lanes judge together (5 minutes and jumps from 2,400
rows an hour on), with the whole budget of one alarm a month, and lines are refreshed weekly. An alarm is one of any lane on any
column, before it becomes a page or a ticket, creeping included; those less than six hours apart are one. "Worst kind" is the kind
of months with the highest figure; faults and drifts are those of all kinds together.

{budgets}

## Nothing happened

{calm}
*Column alarms* counts each column by itself: one change of the world moves many. The last columns count the alarms of each lane
by itself. *Windows* are those of all lanes, in which a day counts once. *Warm-up*: a version whose reference has no timestamps,
by day, until it has 14 of its own. What other detectors say of the same months: [detectors](detectors.md).

## Faults

Each in one column, {tries} times a month at an hour and in a column that chance draws, by the lines in force at that hour.

{faults}
Half a standard deviation is less than many of these columns move in an ordinary day, wherever the months are not iid: a line that
ordinary days keep to cannot find it in a window. Of outputs, what takes no time is found as a jump: a quarter of an hour beside
the one before it, in which a season moves little. Three times as many positives as hardly any are still few: in the hours of a
season in which answers are seldom positive, chance hides them from any test.

## A slow drift

0.6 standard deviations over 90 days, in one column, at 1,000 rows an hour, lines refreshed weekly from the drifting hours too;
every second month of each kind. *Creeping*: 7 days together are farther off than half of what a single day may be by the first
lines, which no refresh moves.

{drift}
## The months

- **iid**: nothing but chance. In all kinds, a third of the categorical columns have 0.1 to 0.6 % values each hour that the
  reference never had, on some days more than on others.
- **bike**, **elec2**: every column follows hires of bicycles and warmth (UCI bike sharing), or demand of electricity (ELEC2),
  with a weight of its own between 0 and 1 standard deviation; months begin anywhere in the data.
- **trend**: days, weeks, weather of some days, and a line of 0.2 standard deviations a month, followed in the same way.
"""


def _drift_table(found: Sequence[Found]) -> str:
    rows = means([one for one in found if one.task.what == "drift"], lambda t: t.kind)
    lines = ["| ordinary months | found | as creeping | after days, on average |", "|---|---|---|---|"]
    for kind, figures in rows.items():
        days = f"{figures['drift days']:.0f}" if "drift days" in figures else ""
        lines.append(f"| {kind} | {figures['drift']:.0%} | {figures['drift by creep']:.0%} | {days} |")
    return "\n".join(lines) + "\n"


def written(found: Sequence[Found], promises: Sequence[Budget], months: int, seconds: float) -> str:
    """The page."""
    lines = ["| promised | measured |", "|---|---|", *(f"| {b.limit_text} | {b.verdict} |" for b in promises)]
    return TEXT.format(
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        seconds=seconds,
        months=months,
        tries=TRIES,
        budgets="\n".join(lines),
        calm=_table(found, CALM),
        faults=_table(found, FAULTS),
        drift=_drift_table(found),
    )


def of_months(parser: argparse.ArgumentParser) -> None:
    """Options of which months are run, and by how many processes."""
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, help="ordinary months (default: all whose data are there)"
    )
    parser.add_argument(
        "--processes", type=int, default=min(os.cpu_count() or 1, 8), help="how many run at once"
    )


def data_of(options: argparse.Namespace) -> tuple[Path, list[str]]:
    """The folder of real data, and the kinds of months that are asked for, or can be made; says which cannot."""
    folder = Path(os.environ.get("BAROGRAPH_DATA", ROOT.parent / "shared" / "data"))
    kinds = options.kinds or [k for k in KINDS if k not in ("bike", "elec2") or folder.is_dir()]
    if len(kinds) < len(KINDS) and not options.kinds:
        print(
            f"{folder} is not there: no months of bike and elec2; name the folder of real data in BAROGRAPH_DATA"
        )
    return folder, kinds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print and write docs/alarms.md; exits with 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(prog="benchmarks.alarms", description=__doc__)
    parser.add_argument("--months", type=int, default=20, help="months of each kind and size (default: 20)")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=list(ROWS), help="rows an hour (default: 100 1000 10000)"
    )
    of_months(parser)
    parser.add_argument(
        "--output", type=Path, help="the file to write (default: docs/alarms.md, for a run of everything)"
    )
    options = parser.parse_args(arguments)
    folder, kinds = data_of(options)
    started = time.monotonic()
    price = cost()
    found = run(list(tasks(options.months, options.rows, kinds)), folder, options.processes)
    promises = budgets(found, price)
    page = written(found, promises, options.months, time.monotonic() - started)
    print(page)
    whole = tuple(kinds) == KINDS and tuple(options.rows) == ROWS and options.months >= 20
    output = options.output or (ROOT / "docs" / "alarms.md" if whole else None)
    if output is not None:
        output.write_text(page, encoding="utf-8")
    sys.exit(0 if all(b.met for b in promises) else 1)


if __name__ == "__main__":
    main()
