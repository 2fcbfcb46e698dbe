"""Days of a simulated model, written to tiles as a service and the join would: columns by hour, outcomes by day."""

from dataclasses import dataclass, field

import numpy as np

from barograph import Reference, naming
from barograph.config import Config
from barograph.counters import Series, Vector
from barograph.evaluate import evaluate
from barograph.known import References
from barograph.labels.counting import (
    CELLS,
    age_series,
    arrival_series,
    coarse_cells,
    logged_series,
    outcome_series,
)
from barograph.labels.days import DayBook
from barograph.ledger import Ledger
from barograph.maturity import count_lags
from barograph.outcomes import count
from barograph.sources import StoredReferences
from barograph.tiles import DAY, HOUR, Increment, Tiles

START = 1_380_499_200  # 2013-09-30T00:00:00Z, a Monday
MODEL, VERSION = "risk", "1"
NAMED = {"task": "binary", "framework": ""}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@dataclass(frozen=True)
class Truth:
    """Rows of a model whose scores are right: `rows` (x, y, kind), their scores, and labels drawn from these."""

    rows: int = 2400  # a day

    def features(self, rng, rows):
        return {
            "x": rng.normal(0, 1, rows),
            "y": rng.lognormal(0, 0.5, rows),
            "kind": rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]).astype(object),
        }

    def score(self, features):
        return sigmoid(1.5 * features["x"] - 0.8 * features["y"] + (features["kind"] == "c") - 0.2)


def frame(truth, rng, start, days):
    rows = truth.rows * days
    features = truth.features(rng, rows)
    score = truth.score(features)
    times = start + np.sort(rng.uniform(0, days * DAY, rows))
    return {**features, "p": score, "late": (rng.random(rows) < score).astype(float), "t": times}


def fit(truth, rng, days=28, training=None):
    return Reference.fit(
        frame(truth, rng, START - days * DAY, days), task="binary", score="p", threshold=0.5, label="late", time="t",
        training=frame(truth, rng, START - 90 * DAY, 10) if training is None else training or None,
    )  # fmt: skip


def outcomes(names, bins, start, label, score, lag, logged=0, segment=""):
    """What the join adds for labels of the predictions of one hour or day, `lag` seconds old when they came."""
    counts, sums = count(bins, label, score, (score >= 0.5).astype(float))
    grown = [Increment(outcome_series(*names, segment, bins), start, Vector(counts[0], sums[0]))]
    if logged:
        grown.append(
            Increment(logged_series(*names, segment), start, Vector(np.array([logged]), np.zeros(0)))
        )
    if not segment:
        arrived = Vector(np.bincount((label * 3 + (score >= 0.5)).astype(int), minlength=6), np.zeros(0))
        grown.append(Increment(arrival_series(*names, bins), start, arrived))
        slot = bins.score.index(score)
        ages = count_lags(coarse_cells(bins), label.astype(int), slot, lag)
        assert ages.size == age_series(*names, bins).counts and ages.shape[2] == CELLS
        grown.append(Increment(age_series(*names, bins), start, Vector(ages.ravel(), np.zeros(0))))
    return grown


@dataclass
class OutcomeWorld:
    """A version from START on; `day` adds one day of rows and labels and judges it."""

    reference: Reference
    config: Config = field(default_factory=Config)
    now: float = START
    hours: int = 24  # of a day that have rows

    def __post_init__(self):
        self.tiles = Tiles(":memory:")
        self.ledger, self.book = Ledger(self.tiles), DayBook(self.tiles)
        files = StoredReferences(self.tiles)
        files[self.reference.id] = self.reference.to_json()
        self.references = References(files, self.config)
        self.bins, self.grown = self.reference.outcomes, []

    def day(self, features, score, label, known=None, lag=3600.0):
        """A day of rows, evenly spread; labels of the rows `known` have come, `lag` seconds after their rows."""
        start, self.now = int(self.now), self.now + DAY
        self.rows(start, features, score)
        known = np.ones(len(score), dtype=bool) if known is None else known
        self.labels(start, score, label, known, lag, logged=len(score))
        return self.judge()

    def rows(self, start, features, score):
        hours = np.arange(len(score)) * self.hours // len(score)
        size = self.reference.bins.size
        labels = {"model": MODEL, "version": VERSION, "bins": self.reference.bins.id}
        columns = Series(naming.COLUMN_VALUES.name, tuple(sorted(labels.items())), "columns", size, size)
        made = Series.of(naming.PREDICTIONS, {"model": MODEL, "version": VERSION})
        info = Series.of(
            naming.MODEL_INFO, {**labels, "reference": self.reference.id, "digest": "", "config": ""} | NAMED
        )
        grown = []
        for hour in range(self.hours):
            mine = hours == hour
            found = self.reference.profile({n: v[mine] for n, v in features.items()} | {"p": score[mine]})
            at = start + hour * HOUR
            grown.append(Increment(columns, at, Vector(found.counts, found.sums)))
            grown.append(Increment(made, at, Vector(np.array([mine.sum()]), np.zeros(0))))
            grown.append(Increment(info, at, Vector(np.zeros(0, dtype=np.int64), np.ones(1))))
        self.grown += grown

    def labels(self, start, score, label, known, lag, logged=0):
        """Labels of some of a day's rows come; `logged` predictions could have one."""
        lag = np.broadcast_to(lag, known.shape)[known]
        self.grown += outcomes((MODEL, VERSION), self.bins, start, label[known], score[known], lag, logged)

    def judge(self, wait=600):
        """A pass ten minutes later; what is firing, by rule and column."""
        now = self.now + wait
        self.tiles.add(self.grown)
        self.grown = []
        self.tiles.roll_up(now)
        evaluate(self.tiles, self.ledger, self.references, self.config, now, book=self.book)
        return {(a.condition.rule, a.condition.column) for a in self.ledger.alerts() if a.state == "firing"}

    def close(self):
        self.tiles.close()
