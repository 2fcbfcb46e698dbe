"""The job: reads what is new of a model's prediction log, computes heuristics, and counts them into the tiles.

Each heuristic has a cursor of its own, so that one that is new reads the whole log and delays no other. What is counted and how
far it was read is stored in one transaction: a job that is killed at any moment and started again counts nothing twice and
leaves nothing out. Every logged row counts, by the time of its prediction, as the service counted it.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph import frames
from barograph.heuristics import Batch, Computed, Heuristic, HeuristicError
from barograph.heuristics_job.places import Place, Places
from barograph.heuristics_job.state import JobState, Progress
from barograph.known import References
from barograph.logs import PREDICTION_COLUMNS, Cursor, Log, feature_column
from barograph.tiles import DAY, MINUTE, Increment, Tiles

MOST_ROWS = 250_000  # that are read at once: bounds memory
ENOUGH = 1_000  # rows that draw bins of their own, or those of a day
_FOLDERS = ("version", "bins")
_PREFIX = "feature."
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Done:
    """What a run came to: `rows` were read; of how many each heuristic has a value counted, and failed; what went wrong.

    `errors` are by heuristic, `damaged` files by path; `halted` are heuristics that have rows to read still: those without an
    error wait for rows enough to draw bins.
    """

    rows: int = 0
    counted: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    halted: tuple[str, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: "Done") -> "Done":
        return Done(
            self.rows + other.rows,
            _added(self.counted, other.counted),
            _added(self.failed, other.failed),
            {**self.errors, **other.errors},
            tuple(dict.fromkeys((*self.halted, *other.halted))),
            {**self.damaged, **other.damaged},
        )


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


@dataclass(frozen=True, eq=False)
class _Piece:
    """Rows of the log: their columns as functions see them, the times, and which rows each (version, bins) has."""

    table: pa.Table
    times: np.ndarray
    parts: Mapping[tuple[str, str], np.ndarray]

    @classmethod
    def of(cls, table: pa.Table) -> "_Piece":
        times = table["time"].cast(pa.int64()).to_numpy() / _MICROSECONDS
        codes = [table[name].combine_chunks().dictionary_encode() for name in _FOLDERS]
        both = [np.asarray(one.indices) for one in codes]
        texts = [one.dictionary.to_pylist() for one in codes]
        found, index = np.unique(np.stack(both), axis=1, return_inverse=True)
        names = ((texts[0][v], texts[1][b]) for v, b in found.T.tolist())
        return cls(table, times, {name: np.flatnonzero(index.ravel() == i) for i, name in enumerate(names)})

    def batch(self) -> Batch:
        """What functions are given: the answers and the features, by their own names."""
        fixed = {n: self.table[n] for n in ("id", "time", "version", "score", "rule")}
        fixed |= {n: _answer(self.table, n) for n in ("prediction", "delivered")}
        taken = {*PREDICTION_COLUMNS, *_FOLDERS, "model", "day"}
        features = {n.removeprefix(_PREFIX): self.table[n] for n in self.table.column_names if n not in taken}
        return Batch({**fixed, **features}, len(self.table))


def _answer(table: pa.Table, name: str) -> Any:
    """Numbers or texts, whichever the model answers."""
    numbers, texts = table[name], table[f"{name}_text"]
    if texts.null_count == len(texts):
        return numbers
    return texts if numbers.null_count == len(numbers) else pc.coalesce(texts, numbers.cast(pa.string()))


class HeuristicsJob:
    """Counts heuristics over the logs of models. `files` keeps references that are learnt; `now` is the evaluator's clock."""

    def __init__(
        self,
        tiles: Tiles,
        logs: Log,
        references: References,
        files: MutableMapping[str, bytes],
        *,
        now: Callable[[], float],
    ) -> None:
        self.state = JobState(tiles)
        self.places = Places(tiles, references, files, self.state)
        self._tiles, self._logs, self._now = tiles, logs, now

    def run(
        self, model: str, heuristics: Sequence[Heuristic], moved: Callable[[int], object] = lambda _: None
    ) -> Done:
        """Count all that is new for each. `moved` is told how many rows each step read. A function that fails stops no other."""
        done = Done()
        groups: dict[str, list[Heuristic]] = {}
        for one in heuristics:
            groups.setdefault(self.state.progress(model, one.name).cursor, []).append(one)
        for cursor, group in groups.items():
            done += self._catch_up(model, group, cursor, moved)
        for one in heuristics:
            with self._tiles.transaction():
                self.places.learn_more(model, one.name, self._now())
        return done

    def _catch_up(
        self, model: str, group: Sequence[Heuristic], cursor: str, moved: Callable[[int], object]
    ) -> Done:
        done = Done()
        while group:
            table, cursor, damaged = self._read(model, cursor)
            done += Done(damaged=damaged)
            if table is None:
                break
            moved(len(table))
            found = self._step(model, group, _Piece.of(table), cursor)
            done += replace(found, rows=len(table))
            group = [one for one in group if one.name not in found.halted]
        return done

    def _read(self, model: str, cursor: str) -> tuple[pa.Table | None, str, Mapping[str, str]]:
        """Rows that a cursor has not read, so many at a time, and the cursor behind them."""
        reading = self._logs.read("predictions", model, since=Cursor.from_json(cursor))
        tables: list[pa.Table] = []
        for table in reading:
            tables.append(table)
            if sum(map(len, tables)) >= MOST_ROWS:
                break
        whole = pa.concat_tables(tables, promote_options="default") if tables else None
        return whole, reading.cursor.to_json(), dict(reading.damaged)

    def _step(self, model: str, group: Sequence[Heuristic], piece: _Piece, cursor: str) -> Done:
        """Compute and count one piece; what of it is counted is stored together with the cursor."""
        batch, done = piece.batch(), Done()
        computed = {one.name: one.compute(batch) for one in group}
        with self._tiles.transaction():
            for one in group:
                try:
                    done += self._count(model, one.name, computed[one.name], piece, cursor)
                except HeuristicError as error:
                    done += Done(errors={one.name: str(error)}, halted=(one.name,))
        return done

    def _count(self, model: str, name: str, found: Computed, piece: _Piece, cursor: str) -> Done:
        _refuse_inline(piece, name)
        places = self._places(model, name, found, piece)
        if places is None:
            return Done(halted=(name,))
        self._tiles.add(self._increments(places, found.values, piece))
        before = self.state.progress(model, name)
        n = len(piece.times) - found.failed
        self.state.move(model, name, Progress(cursor, before.counted + n, before.failed + found.failed))
        told = {} if found.error is None else {name: f"it failed on some rows: {found.error!r}"}
        return Done(counted={name: n}, failed={name: found.failed}, errors=told)

    def _places(
        self, model: str, name: str, found: Computed, piece: _Piece
    ) -> dict[tuple[str, str], Place] | None:
        """Where the rows of each version are counted. Bins are drawn by the first rows, if these are enough."""
        places = {key: self.places.of(model, *key, name) for key in piece.parts}
        if None in places.values():
            young = self._now() - float(piece.times.min(initial=np.inf)) < DAY
            if found.failed == len(piece.times):
                raise HeuristicError(f"it failed on all of {found.failed:,} rows: {found.error!r}")
            if len(piece.times) < ENOUGH and young:
                return None
            self.places.learn(model, name, found.values, piece.times)
            places = {key: self.places.of(model, *key, name) for key in piece.parts}
        return {key: place for key, place in places.items() if place is not None}

    def _increments(
        self, places: Mapping[tuple[str, str], Place], values: frames.Column, piece: _Piece
    ) -> Iterator[Increment]:
        for key, place in places.items():
            rows = piece.parts[key]
            times = piece.times[rows]
            yield from place.increments(frames.take(values, rows), times)
            yield from place.info(int(times.max() // MINUTE) * MINUTE)


def _refuse_inline(piece: _Piece, name: str) -> None:
    """What the service has counted itself is in the log, too, and would count twice."""
    column = feature_column(name)
    if column in piece.table.column_names and piece.table[column].null_count < len(piece.table):
        raise HeuristicError(
            f"{name} is a column of the log already: leave it out here where its service computes it, else give another name"
        )
