"""Row 6: what an evaluator of 100 models takes of a core: their snapshots stored four times a minute, and a pass each minute."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from barograph import Monitor, Reference, naming
from barograph.config import Config
from barograph.counters import Series, Snapshot, Vector
from barograph.evaluate import evaluate
from barograph.intake import Intake
from barograph.known import References
from barograph.ledger import Ledger
from barograph.sources import StoredReferences
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Tiles
from benchmarks import model
from benchmarks.measure import MILLI, Budget, Result, Scale, median, number, processor_time

MODELS, FEW = 100, 3
NUMBERS, CATEGORIES = 32, 16  # with the score and the prediction, 50 columns
COLUMNS = NUMBERS + CATEGORIES + 2
EVERY = 15  # seconds between two snapshots of a target
ROWS = 50  # a snapshot
START = 1_380_499_200.0  # a Monday, 0 h UTC
WEEKS = 4  # of history, which tells what traffic is usual


def measure(scale: Scale) -> list[Result]:
    """The row, with the CPU of a minute, and of what comes once an hour: hours rolled up, and judged."""
    models, minutes = (MODELS, 8) if scale.repeats > 9 else (FEW, 2)
    with tempfile.TemporaryDirectory() as folder, Fleet.of(Path(folder), models) as fleet:
        fleet.minute()  # the first one makes all series known
        each = [fleet.minute() for _ in range(minutes)]
        fleet.begin_next_hour()
        first = fleet.hour()  # reads and calibrates the references
        fleet.begin_next_hour()
        hourly = fleet.hour()
    stored, passed = (median(values) for values in zip(*each, strict=True))
    used = stored + passed + hourly / 60
    return [
        Result(
            row=f"evaluator, {models} models x {COLUMNS} columns",
            ours=f"{number(used)} CPU s a minute: {number(stored / models / 4 * MILLI)} ms a snapshot stored, "
            f"{number(passed)} s a pass, {number(hourly)} s once an hour",
            peers="none: the budget is a tenth of a core",
            budgets=[Budget("CPU a minute", used, 6.0, " s")],
            figures={
                "cpu_s_a_minute": used,
                "stored_cpu_s_a_minute": stored,
                "snapshot_cpu_ms": stored / models / 4 * MILLI,
                "pass_cpu_s": passed,
                "hour_cpu_s": hourly,
                "first_hour_cpu_s": first,
            },
        )
    ]


@dataclass
class Fleet:
    """An evaluator, and the models that it watches: one real monitor's counts under many names."""

    monitor: Monitor
    tiles: Tiles
    ledger: Ledger
    references: References
    intake: Intake
    names: list[dict[Series, Series]]  # by model: the monitor's series, and what the model calls them
    rng: np.random.Generator
    time: float = START

    @classmethod
    def of(cls, folder: Path, models: int) -> "Fleet":
        """Models with a reference each, and a month of traffic."""
        rng = np.random.default_rng(6)
        own = reference(rng)
        monitor = Monitor("m", reference=own, directory=folder, flush_interval=3600.0)
        tiles = Tiles(folder / "tiles.duckdb")
        files = StoredReferences(tiles)
        names: list[dict[Series, Series]] = []
        for i in range(models):
            other = replace(own, importance={"amount_000": i / models})
            files[other.id] = other.to_json()
            labels = {"model": f"model-{i:03d}", "reference": other.id}
            names.append({series: renamed(series, labels) for series in monitor.snapshot().series})
        tiles.expire(START)
        tiles.add(history(names))
        tiles.roll_up(START)
        references = References(files, Config())
        intake = Intake(tiles, lambda _, error: print(f"not stored: {error}"))
        return cls(monitor, tiles, Ledger(tiles), references, intake, names, rng)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.close()
        self.tiles.close()

    def minute(self) -> tuple[float, float]:
        """CPU seconds of storing a minute's snapshots, and of the pass after them."""
        stored = 0.0
        for _ in range(MINUTE // EVERY):
            stored += self.store(EVERY)
        stored += processor_time(self.tiles.catch_up)
        return stored, processor_time(self.evaluate)

    def begin_next_hour(self) -> None:
        """Traffic up to three minutes into the next hour."""
        end = (self.time // HOUR + 1) * HOUR + 3 * MINUTE
        while self.time < end:
            self.store(min(20 * MINUTE, end - self.time))
        self.tiles.catch_up()

    def hour(self) -> float:
        """CPU seconds of a roll-up and of the pass that judges the hour that has closed."""
        return processor_time(lambda: self.tiles.roll_up(self.time)) + processor_time(self.evaluate)

    def store(self, seconds: float) -> float:
        """CPU seconds of storing a snapshot of each model, `seconds` after the last one."""
        self.time += seconds
        frame = columns(self.rng, ROWS)
        self.monitor.record(frame, score=model.scores(self.rng, ROWS))
        bodies = list(self.bodies())

        def store() -> None:
            for i, body in enumerate(bodies):
                self.intake.add(f"http://model-{i:03d}", Snapshot.from_bytes(body), body)

        return processor_time(store)

    def bodies(self) -> Iterator[bytes]:
        """What each model's /profile answers."""
        now = self.monitor.snapshot().series
        for i, names in enumerate(self.names):
            series = {mine: now[theirs] for theirs, mine in names.items()}
            yield Snapshot(self.time, f"epoch-{i}", 1, series).to_bytes()

    def evaluate(self) -> None:
        """One pass."""
        evaluate(self.tiles, self.ledger, self.references, Config(), self.time)


def columns(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """All features by name."""
    found = {f"amount_{i:03d}": model.amounts(rng, i, n) for i in range(NUMBERS)}
    for i in range(CATEGORIES):
        texts = np.array([f"value_{k:02d}" for k in range(60)], dtype=object)
        found[f"kind_{i:03d}"] = texts[model.codes(rng, i, n)]
    return found


def reference(rng: np.random.Generator, days: int = 14, rows: int = 60) -> Reference:
    """Two weeks of hours of some 60 rows, before START."""
    n = days * 24 * rows
    times = START - days * DAY + np.sort(rng.uniform(0, days * DAY, n))
    frame = {**columns(rng, n), "p": model.scores(rng, n), "t": times}
    return Reference.fit(frame, task="binary", score="p", threshold=0.5, time="t")


def renamed(series: Series, labels: dict[str, str]) -> Series:
    """The same series of another model."""
    pairs = tuple((name, labels.get(name, value)) for name, value in series.labels)
    return Series(series.metric, pairs, series.kind, series.counts, series.sums)


def history(names: list[dict[Series, Series]]) -> Iterator[Increment]:
    """Weeks of hours of what is compared with the same hours of earlier weeks."""
    usual = (naming.PREDICTIONS.name, naming.EMPTY.name)
    counted = [series for one in names for series in one.values() if series.metric in usual]
    for start in range(int(START) - WEEKS * 7 * DAY, int(START), HOUR):
        for series in counted:
            yield Increment(series, start, Vector(np.array([ROWS * HOUR // EVERY]), np.zeros(0)))
