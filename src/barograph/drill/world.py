"""An evaluator over recorded traffic: its past is built once, and each drill starts from a copy of it."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from barograph import frames
from barograph.alert import FIRING, Alert
from barograph.config import Config
from barograph.drill.incidents import Incident
from barograph.drill.rows import Rows
from barograph.drill.scene import Scene
from barograph.drill.service import Service
from barograph.evaluate import evaluate
from barograph.history.named import Named
from barograph.history.outcomes import Outcomes, label_table, prediction_table
from barograph.known import References
from barograph.labels.days import DayBook
from barograph.labels.state import JoinState
from barograph.ledger import Ledger
from barograph.logs.types import texts
from barograph.outcomes import SUMS
from barograph.reference import Reference, positive
from barograph.sources import StoredReferences
from barograph.tiles import DAY, HOUR, MINUTE, Tiles

FINE, COARSE = 300, 900  # seconds between two reads of the service: what is counted is spread over them
JOINED_EVERY = 6 * HOUR
STORE, JOIN = "tiles.duckdb", "join"
Firing = dict[tuple[str, str, str], Alert]
_NAMED = Named(time="time", score="score", prediction="prediction", label="label", id="id")


@dataclass(frozen=True, eq=False)
class Model:
    """A model that is drilled: its reference, its rows in order of time, and when the fault comes, epoch seconds.

    `answer` gives the scores of features (of a regression the predictions), if a model is at hand.
    """

    name: str
    reference: Reference
    rows: Rows
    start: float
    config: Config = field(default_factory=Config)
    answer: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None = None
    version: str = "1"

    @cached_property
    def past(self) -> Rows:
        """Rows before the fault."""
        return self.rows.between(-np.inf, self.start)

    @cached_property
    def future(self) -> Rows:
        """Rows from then on."""
        return self.rows.between(self.start, np.inf)

    @cached_property
    def days(self) -> float:
        """How many days of rows there are from then on."""
        return (self.rows.time[-1] - self.start) / DAY if len(self.rows) else 0.0


class World:
    """A model's service and evaluator at one moment, in `folder`."""

    def __init__(self, model: Model, folder: Path, references: References, now: float) -> None:
        self.model, self.now = model, now
        self._folder, self._references, self._ending = folder, references, ExitStack()
        self.tiles = self._ending.enter_context(Tiles(folder / STORE))
        self.ledger, self._book = Ledger(self.tiles), DayBook(self.tiles)
        self.service = Service(
            model.name, model.version, model.reference, folder / f"counters-{now:.0f}", now
        )
        self._ending.callback(self.service.close)
        self._outcomes = self._join_of(folder / JOIN)
        self._joined = now
        self._grown: list[Any] = []

    def _join_of(self, folder: Path) -> Outcomes | None:
        outcomes = self.model.reference.outcomes
        if outcomes is None or self.model.reference.task not in SUMS or self.model.rows.label is None:
            return None
        return Outcomes(
            self.tiles, JoinState(self.tiles, folder), self.model.name, lambda *_: outcomes, named=True
        )

    def serve(self, rows: Rows, until: float, step: int) -> None:
        """Serve rows from now to `until`, read every `step` seconds. An hour is told in its last minute: it is kept as such."""
        while self.now < until:
            moment = min((self.now // step + 1) * step, until)
            begin = max(self.now, moment - MINUTE) if step == HOUR else self.now
            self._grown += self.service.serve(rows.between(self.now, moment), begin, moment)
            self.now = moment

    def store(self) -> None:
        """Store what was counted."""
        self.tiles.add(self._grown)
        self._grown = []

    def join(self, rows: Rows) -> None:
        """Join the predictions since the last time, and labels that came since."""
        since, until, self._joined = self._joined, self.now, self.now
        if self._outcomes is None:
            return
        assert rows.label is not None and rows.label_time is not None
        made = rows.between(since, until)
        came = (rows.label_time >= since) & (rows.label_time < until) & (rows.time < until)
        came |= (rows.label_time < rows.time) & (rows.time >= since) & (rows.time < until)
        told = rows.take(came & ~np.isnan(_known(rows.label)))
        with self.tiles.transaction():
            _, kept = self._outcomes.add(*self._tables(made, told))
        kept.settle()

    def _tables(self, made: Rows, told: Rows) -> tuple[pa.Table, list[tuple[pa.Table, bool]]]:
        bins, n = self.model.reference.bins.id, len(made)
        columns = {
            "score": _arrow(made.score, n),
            "prediction": _arrow(made.prediction, n),
        }
        predictions = prediction_table(
            pa.table(columns), texts(made.id), _NAMED, made.time, texts(np.full(n, self.model.version, dtype=object)),
            bins,
        )  # fmt: skip
        if not len(told):
            return predictions, []
        labels = pa.table({"label": _arrow(told.label, len(told))})
        moments = told.label_time
        assert moments is not None
        return predictions, [(label_table(labels, texts(told.id), _NAMED, moments), True)]

    def evaluate(self) -> Firing:
        """Judge what is stored as of now; what fires, by rule, column and signal. Raises what stopped it."""
        errors: list[Exception] = []
        with self.tiles.transaction():  # one for all: a drill that dies is begun again
            self.store()
            self.tiles.roll_up(self.now)
            evaluate(
                self.tiles, self.ledger, self._references, self.model.config, self.now, book=self._book,
                done=lambda _, error: errors.append(error) if error is not None else None,
            )  # fmt: skip
        if errors:
            raise errors[0]
        return {
            (a.condition.rule, a.condition.column, a.condition.signal): a
            for a in self.ledger.alerts()
            if a.state == FIRING
        }

    def close(self) -> None:
        """End the service, and let go of the file."""
        self._ending.close()


def references_of(model: Model) -> References:
    """What a model is judged by, calibrated once for all drills."""
    return References({model.reference.id: model.reference.to_json()}, model.config)


def build(
    model: Model, folder: Path, references: References, moved: Callable[[int], object] = lambda _: None
) -> None:
    """Put the rows before the fault into `folder`: by the hour, as they are kept, and of the last day by minutes."""
    rows = model.past
    begin = float(rows.time[0] // HOUR * HOUR)
    fine = max(begin, model.start - DAY - 2 * HOUR)
    with Tiles(folder / STORE) as tiles:
        StoredReferences(tiles)[model.reference.id] = model.reference.to_json()
        tiles.expire(fine + tiles.retention.minutes * DAY)  # what is older goes to its hour at once
    world = World(model, folder, references, begin)
    try:
        days = np.arange(begin // DAY * DAY + DAY, model.start, DAY)
        for until in sorted({*days.tolist(), fine, model.start} - {begin}):
            served = len(rows.between(world.now, until))
            world.serve(rows, until, HOUR if until <= fine else COARSE)
            world.store()
            world.join(rows)
            moved(served)
        world.evaluate()
    finally:
        world.close()
    for counters in folder.glob("counters-*"):
        shutil.rmtree(counters)


def copied(model: Model, source: Path, folder: Path, references: References) -> World:
    """A world that goes on from what `build` has put into `source`."""
    folder.mkdir(parents=True)
    shutil.copy(source / STORE, folder / STORE)
    if (source / JOIN).exists():
        shutil.copytree(source / JOIN, folder / JOIN)
    return World(model, folder, references, model.start)


def struck(model: Model, incident: Incident, scene: Scene, f: float) -> Rows:
    """The rows from the fault on, as they are with it."""
    rows = incident.inject(model.future, scene, f)
    return rows if model.answer is None else answered(model, model.future, rows)


def answered(model: Model, before: Rows, rows: Rows) -> Rows:
    """The model's own answers to the features that differ. A row that it cannot answer fails."""
    assert model.answer is not None
    changed = before.changed(rows)
    if not changed.any():
        return rows
    name = "score" if rows.score is not None else "prediction"
    values, failed = np.array(getattr(rows, name)), rows.failed.copy()
    at = np.flatnonzero(changed)
    try:
        values[at] = model.answer({n: v[at] for n, v in rows.features.items()})
    except Exception:  # noqa: BLE001 (whatever a model raises on such rows is what the service would answer with 500)
        failed[at] = True
    if name == "prediction":
        return replace(rows, prediction=values, failed=failed)
    threshold = model.reference.threshold
    if rows.prediction is None or threshold is None or model.reference.task != "binary":
        return replace(rows, score=values, failed=failed)
    decided = np.where(changed, positive(values, threshold), rows.prediction)
    return replace(rows, score=values, prediction=decided, failed=failed)


def _arrow(values: np.ndarray | None, n: int) -> pa.Array:
    return pa.nulls(n, pa.float64()) if values is None else pa.array(values, from_pandas=True)


def _known(labels: np.ndarray) -> np.ndarray:
    """float64[n]: NaN where there is no label."""
    if labels.dtype.kind == "f":
        return labels
    found = frames.floats(labels)
    return np.where(np.isnan(found), np.nan, 0.0)
