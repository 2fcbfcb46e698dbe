"""Traffic of a model, drawn as counts: ordinary months, and faults in them. What thresholds are tested on.

`Stream` draws hourly counts of numeric and categorical columns over frozen bins, whose shares may follow a
driver; `Stream.rows` draws the same hours as rows, for tools that want values. `KINDS` are the ordinary
months that the benchmark of alarms uses.
"""

import csv
import io
import math
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from barograph.bins import Bins, BinSet, CategoryBins, NumericBins, numeric_bins
from barograph.lanes import DAY, HOUR
from barograph.naming import PREDICTION, SCORE
from barograph.profile import Profile
from barograph.reference import Reference, ReferenceWindows
from barograph.schema import Column, Schema

T0 = 15_000 * DAY  # a UTC midnight
MONTH, LIVE = 28 * 24, 30 * 24  # hours of the reference, and hours after it
FINE = 12  # windows of five minutes in an hour
MISSING = 0.02
POSITIVES = 0.05
Shares = np.ndarray


class Stream:
    """Hourly counts of a model: numeric and categorical columns whose shares may follow a driver.

    `driver` is (T,) or (T, columns), standard deviations by hour; each column follows it with a weight of its
    own between 0 and `strength`. `outputs` adds a score and an answer (0 or 1), which follow the mean driver.
    `novelty` is the part of the categorical columns in which up to 0.8 % of values are new each hour.
    `counts` int64[T, slots]; `starts` int64[T] epoch seconds; `shares` by column float64[T, size].
    """

    def __init__(
        self,
        seed: int,
        columns: int = 20,
        rows: int = 1000,
        driver: np.ndarray | None = None,
        strength: float = 0.0,
        live: int = LIVE,
        *,
        outputs: bool = False,
        novelty: float = 0.0,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        hours = MONTH + live
        self.rows = np.full(hours, rows)
        self.starts = T0 + HOUR * np.arange(hours)
        self.driver = np.zeros(hours) if driver is None else driver[:hours]
        self.names = [f"c{i}" for i in range(columns)]
        self.latent: dict[str, tuple[float, float]] = {}  # of numbers: middle, weight of the driver
        self.kinds: dict[str, Bins] = {}
        self.shares: dict[str, Shares] = {}
        self.novel: dict[str, np.ndarray] = {}
        for i, name in enumerate(self.names):
            follows = self.driver if self.driver.ndim == 1 else self.driver[:, i]
            weight = strength * self.rng.uniform(0, 1)
            if i % 2:
                self._category(name, 4 + i, weight * follows)
                if self.rng.random() < novelty:
                    self._novelty(name)
            else:
                self._number(name, 5.0, follows, weight)
        if outputs:
            self._outputs(self.driver if self.driver.ndim == 1 else self.driver.mean(axis=1), strength)
        roles = {name: name if name in (SCORE, PREDICTION) else "feature" for name in self.names}
        self.bins = BinSet(self.kinds, roles)
        self.counts = self.draw(self.rows)

    def draw(self, rows: np.ndarray) -> np.ndarray:
        """int64[T, slots]: counts of hours of so many rows."""
        drawn = [self.rng.multinomial(rows, self._live(name)) for name in self.names]
        return np.hstack(drawn)

    def reference(self, hours: int = MONTH, novel: dict[str, np.ndarray] | None = None) -> Reference:
        """The first hours as a reference."""
        counts, rows = self.counts[:hours], self.rows[:hours]
        kinds = {n: "numeric" if b.kind == "numeric" else "categorical" for n, b in self.kinds.items()}
        schema = Schema(tuple(Column(n, kind, role=self.bins.roles[n]) for n, kind in kinds.items()))
        new = {}
        for name, kind in kinds.items():
            if kind == "categorical":
                share = self.novel.get(name, np.zeros(len(self.rows)))[:hours]
                new[name] = self.rng.binomial(rows, share).astype(np.int64)
        new.update(novel or {})
        for counted in new.values():
            counted[: hours * 3 // 4] = -1
        profile = Profile(self.bins, int(rows.sum()), counts.sum(axis=0), np.zeros(self.bins.size))
        windows = ReferenceWindows(self.starts[:hours], rows, counts, new)
        return Reference("regression", schema, self.bins, profile, windows)

    def live(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and counts of the hours after the reference."""
        return self.starts[MONTH:], self.counts[MONTH:]

    def fine(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts int64[W] and counts int64[W, slots] of live windows of five minutes, features left empty.

        The driver runs straight from the middle of one hour to that of the next. The hours' counts become
        their sums.
        """
        hours = np.arange(MONTH, len(self.starts))
        at = hours[0] + (np.arange(len(hours) * FINE) + 0.5) / FINE - 0.5
        counts = np.zeros((len(at), self.bins.size), dtype=np.int64)
        part = self.rows[MONTH:] // FINE
        rows = np.repeat(part, FINE)
        rows[::FINE] += self.rows[MONTH:] - part * FINE
        for name in self.names:
            if self.bins.roles[name] == "feature":
                continue
            index = np.clip(at, 0, len(self.starts) - 1)
            low, up = np.floor(index).astype(int), np.ceil(index).astype(int)
            part_of = (index - low)[:, None]
            shares = self.shares[name][low] * (1 - part_of) + self.shares[name][up] * part_of
            where = self.bins.slice(name)
            counts[:, where] = self.rng.multinomial(rows, shares)
            self.counts[MONTH:, where] = counts[:, where].reshape(len(hours), FINE, -1).sum(axis=1)
        return T0 + HOUR * MONTH + HOUR // FINE * np.arange(len(at)), counts

    def faulty(
        self, hour: int, name: str, change: Callable[[Bins, Shares], Shares], hours: int = 3
    ) -> np.ndarray:
        """The counts of some live hours from `hour` on, with one column's counts drawn from changed shares."""
        at = slice(MONTH + hour, MONTH + hour + hours)
        counts = self.counts[at].copy()
        shares = np.array([change(self.kinds[name], p.copy()) for p in self._live(name)[at]])
        counts[:, self.bins.slice(name)] = self.rng.multinomial(self.rows[at], shares)
        return counts

    def shifted(self, name: str, hours: np.ndarray, by: np.ndarray | float) -> Shares:
        """Shares of a number in these hours if it were `by` standard deviations (of its own, within an hour) higher."""
        follows = self._follows(name)
        middle, weight = self.latent[name]
        missing = 0.0 if name == SCORE else MISSING
        return normal_shares(self.kinds[name], middle + weight * follows[hours] + by, missing)  # type: ignore[arg-type]

    def _follows(self, name: str) -> np.ndarray:
        if self.driver.ndim == 1:
            return self.driver
        return (
            self.driver.mean(axis=1)
            if name in (SCORE, PREDICTION)
            else self.driver[:, self.names.index(name)]
        )

    def values(self, hour: int, rows: int | None = None) -> dict[str, list[Any]]:
        """An hour as rows: by column a list of numbers, categories or None, drawn from the hour's shares.

        A number is drawn evenly within its bin's part of the reference's range; a category that is new is
        spelt `new-` and a number.
        """
        return {
            name: self._values(name, hour, self.rows[hour] if rows is None else rows) for name in self.names
        }

    def _values(self, name: str, hour: int, rows: int) -> list[Any]:
        bins, shares = self.kinds[name], self._live(name)[hour]
        slots = self.rng.choice(bins.size, size=rows, p=shares)
        if isinstance(bins, CategoryBins):
            texts = [*bins.categories, "rare", "new", None, None]
            news = self.rng.integers(0, 1_000_000, rows)
            return [
                f"new-{news[i]}" if slot == bins.unseen else texts[slot]
                for i, slot in enumerate(slots.tolist())
            ]
        if name == PREDICTION:
            one = int(bins.index([1.0])[0])
            return [None if s == bins.missing else float(s == one) for s in slots.tolist()]
        middle, _ = self.latent[name]
        edges = np.clip(bins.edges, middle - 8, middle + 8)
        left, right = np.append(edges[:1], edges), np.append(edges, edges[-1:])
        drawn = self.rng.uniform(
            left[np.minimum(slots, bins.values - 1)], right[np.minimum(slots, bins.values - 1)]
        )
        return [None if s >= bins.missing else float(x) for s, x in zip(slots.tolist(), drawn, strict=True)]

    def _live(self, name: str) -> Shares:
        """Shares by hour, with what is new since the reference as unseen."""
        shares = self.shares[name]
        if name not in self.novel:
            return shares
        bins, new = self.kinds[name], self.novel[name][:, None]
        out = shares * (1 - new)
        slot = np.where(np.arange(len(shares)) < MONTH, bins.other, bins.unseen)
        out[np.arange(len(shares)), slot] += new[:, 0]
        return out

    def _category(self, name: str, categories: int, moved: np.ndarray) -> None:
        bins = CategoryBins(tuple(f"k{j}" for j in range(categories)))
        logits = self.rng.normal(size=categories) + moved[:, None] * self.rng.normal(size=categories) / 2
        odds = np.exp(logits)
        values = np.hstack([odds / odds.sum(axis=1, keepdims=True), np.zeros((len(moved), 4))])
        values[:, bins.missing] = MISSING
        self.kinds[name], self.shares[name] = bins, values / values.sum(axis=1, keepdims=True)

    def _novelty(self, name: str) -> None:
        """Some values are new every hour, on some days more than on others."""
        days = -(-len(self.starts) // 24)
        wobble = np.repeat(np.exp(0.3 * self.rng.normal(size=days)), 24)[: len(self.starts)]
        self.novel[name] = np.minimum(self.rng.uniform(0.001, 0.006) * wobble, 0.01)

    def _number(self, name: str, middle: float, follows: np.ndarray, weight: float) -> None:
        spread = follows.std() * weight
        bins = numeric_bins(self.rng.normal(middle, math.hypot(1, spread), 20_000))
        self.kinds[name], self.latent[name] = bins, (middle, weight)
        self.shares[name] = normal_shares(bins, middle + weight * follows, MISSING)

    def _outputs(self, follows: np.ndarray, strength: float) -> None:
        """A score on a scale of its own, standard normal about its middle, and whether it is high."""
        weight = strength * self.rng.uniform(0, 1)
        spread = math.hypot(1, follows[:MONTH].std() * weight)
        limit = float(special.ndtri(1 - POSITIVES) * spread + weight * follows[:MONTH].mean())
        bins = numeric_bins(self.rng.normal(0, spread, 20_000), quantiles=64, points=(limit,))
        self.kinds[SCORE], self.latent[SCORE] = bins, (0.0, weight)
        self.shares[SCORE] = normal_shares(bins, weight * follows, 0.0)
        answers = numeric_bins(np.array([0.0, 1.0]))
        no, yes = answers.index([0.0, 1.0]).tolist()
        shares = np.zeros((len(follows), answers.size))
        shares[:, yes] = special.ndtr(weight * follows - limit)
        shares[:, no] = 1 - shares[:, yes]
        self.kinds[PREDICTION], self.shares[PREDICTION] = answers, shares
        self.names += [SCORE, PREDICTION]


def normal_shares(bins: NumericBins, mean: np.ndarray, missing: float) -> Shares:
    """float64[T, size]: shares of a normal column of sd 1 with these means by hour."""
    values = np.zeros((len(mean), bins.size))
    below = special.ndtr(bins.edges - mean[:, None])
    values[:, : bins.values] = np.maximum(np.diff(below, prepend=0, append=1), 0)
    values[:, bins.missing] = missing
    return np.asarray(values / values.sum(axis=1, keepdims=True))


# Faults: each changes the shares of one column in one hour.


def times_1000(bins: Bins, shares: Shares) -> Shares:
    """Every value comes in another unit, and lies far out of range."""
    out = np.zeros_like(shares)
    out[bins.values - 1] = shares[: bins.values].sum()
    out[bins.missing] = shares[bins.missing]
    return out


def lose(part: float) -> Callable[[Bins, Shares], Shares]:
    """A part of all rows loses its value."""

    def change(bins: Bins, shares: Shares) -> Shares:
        shares *= 1 - part
        shares[bins.missing] += part
        return shares

    return change


def rename(which: int) -> Callable[[Bins, Shares], Shares]:
    """One of the categories that more than 3 % of rows have, the `which`-th of them, gets a name that the reference lacks."""

    def change(bins: Bins, shares: Shares) -> Shares:
        assert bins.unseen is not None
        common = np.flatnonzero(shares[: bins.values] > 0.03)
        slot = common[which % len(common)]
        shares[bins.unseen] += shares[slot]
        shares[slot] = 0.0
        return shares

    return change


def triple(bins: Bins, shares: Shares) -> Shares:
    """Three times as many positive answers."""
    no, yes = bins.index([0.0, 1.0]).tolist()
    more = min(3 * shares[yes], 1 - shares[bins.missing])
    shares[no] += shares[yes] - more
    shares[yes] = more
    return shares


# What drives ordinary months: standard deviations by hour, from the hour `start` on.


def bike(data: Path) -> np.ndarray:
    """How many bicycles were hired, and how warm it was: days, weeks, and a season that comes."""
    with (data / "bike-sharing" / "hour.csv").open() as lines:
        rows = [
            (f"{r['dteday']}T{int(r['hr']):02d}:00:00", float(r["temp"]), int(r["cnt"]))
            for r in csv.DictReader(lines)
        ]
    at = np.array([datetime.fromisoformat(r[0]).replace(tzinfo=UTC).timestamp() for r in rows])
    every = np.arange(at[0], at[-1], HOUR)
    driver = np.interp(every, at, np.log([r[2] for r in rows])) / 1.5
    driver += np.interp(every, at, np.array([r[1] for r in rows])) * 3
    return np.asarray((driver - driver.mean()) / driver.std())


def elec2(data: Path) -> np.ndarray:
    """Demand of electricity in New South Wales, two half hours as one: days, weeks, heat and cold."""
    with zipfile.ZipFile(data / "elec2" / "Electricity.zip") as packed:
        text = io.TextIOWrapper(packed.open("Electricity.arff"), "utf-8").read()
    lines = text.split("@data", 1)[1].split()
    demand = np.array([float(line.split(",")[4]) for line in lines]).reshape(-1, 2).mean(axis=1)
    return np.asarray((demand - demand.mean()) / demand.std())


def trend(seed: int, hours: int) -> np.ndarray:
    """Days and weeks of one size, weather that lasts some days, and a line of 0.2 sd a month, up or down."""
    rng = np.random.default_rng(seed)
    t, days = np.arange(hours), -(-hours // 24) + 1
    weather = np.zeros(days)
    for day in range(1, days):
        weather[day] = 0.7 * weather[day - 1] + rng.normal(0, 0.3 * math.sqrt(1 - 0.7**2))
    season = np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 168)
    line = rng.choice([-1, 1]) * 0.2 / (30 * 24) * t
    return np.asarray(season + line + np.interp(t / 24, np.arange(days), weather))


def ordinary(
    kind: str, seed: int, rows: int, data: Path | None, *, columns: int = 50, live: int = LIVE
) -> Stream:
    """A month of one of the `KINDS`, with a score and an answer among its columns, and news in a third of the categories.

    What is driven by real data begins at an hour of a Monday of theirs that the seed draws.
    """
    features, hours = columns - 2, MONTH + live
    if kind == "iid":
        return Stream(seed, features, rows, live=live, outputs=True, novelty=1 / 3)
    if kind == "trend":
        driver, strength = trend(seed, hours), 1.0
    else:
        assert data is not None
        whole = {"bike": bike, "elec2": elec2}[kind](data)
        start = int(np.random.default_rng(seed).integers(0, (len(whole) - hours) // 168)) * 168
        driver, strength = whole[start:], 1.0
    return Stream(seed, features, rows, driver, strength, live, outputs=True, novelty=1 / 3)


KINDS = ("iid", "bike", "elec2", "trend")
