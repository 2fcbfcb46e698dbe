"""One step of the join: what is new of a model's logs is matched with all that is known, counted, and stored.

Predictions and labels are read, put in order and written side by side, then matched and counted in parts, by key, so that all
cores work and the disk does meanwhile.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from barograph.labels.counting import BinsOf, Counting, Group, Known, Made, Names
from barograph.labels.files import Unfinished, Writer
from barograph.labels.match import LATEST, labelled, latest, match, unknown
from barograph.labels.rows import feedback_rows, prediction_rows
from barograph.labels.runs import MOST_PARTS, Loose, Run, alike, in_order, parts
from barograph.labels.state import FEEDBACK, PREDICTIONS, JoinState, RunFile
from barograph.logs import Cursor, Reading
from barograph.tiles import Tiles

MOST_ROWS = 10_000_000  # of each log that are joined at once: bounds memory
PART = 1_000_000  # predictions and labels that a thread puts in order, matches and counts at once
THREADS = min(4, os.cpu_count() or 1)
_LARGE = 31 << 20  # bytes; 32 MB and more are always given back
_Found = TypeVar("_Found")


class Piece:
    """Tables of a log until there are enough rows for one step; `cursor` is where the next one goes on."""

    def __init__(self, reading: Reading) -> None:
        self._reading, self.rows = reading, 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._reading:
            self.rows += len(table)
            yield table
            if self.more:
                return

    @property
    def more(self) -> bool:
        """Whether there may be more to read."""
        return self.rows >= MOST_ROWS

    @property
    def cursor(self) -> Cursor:
        return self._reading.cursor

    @property
    def damaged(self) -> Mapping[str, str]:
        return self._reading.damaged


def _parts(rows: int) -> int:
    """How many parts to make of so many rows: a power of two."""
    n = 1
    while n < MOST_PARTS and n * PART < rows:
        n *= 2
    return n


def _keep_memory() -> None:
    """Have the arrays of a part make room for those of the next one.

    Before it was given back one piece as large as this, glibc gives memory back to the system at once, and takes it anew page by
    page: a fifth of the join.
    """
    np.empty(_LARGE, dtype=np.uint8)


class Steps:
    """Steps of one model. `waiting` says by version and bins why outcomes are not counted yet."""

    def __init__(self, tiles: Tiles, state: JoinState, model: str, bins_of: BinsOf) -> None:
        _keep_memory()
        self._tiles, self._state, self._model, self._bins_of = tiles, state, model, bins_of
        self._pool = ThreadPoolExecutor(max(2, THREADS), thread_name_prefix="barograph-join")
        self._disk = ThreadPoolExecutor(2, thread_name_prefix="barograph-join-disk")
        self.waiting: dict[Made, str] = dict.fromkeys(state.waiting(model), "")

    def __enter__(self) -> "Steps":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        self._disk.shutdown()

    def release(self) -> int:
        """Count all at once of what waited for bins that are known now; how many labels fit no outcome of the task."""
        known = Known(self._bins_of)
        found = {made for made in self.waiting if known.of(made) is not None}
        self.waiting = known.waiting
        if not found:
            return 0
        names = self._state.names(self._model).all
        counting = Counting(self._model, names, known)
        codes = [i for i, group in enumerate(names.groups) if (group.version, group.bins) in found]
        told = self._runs(FEEDBACK)

        def count(part: Run) -> None:
            predictions = part.take(np.flatnonzero(np.isin(part.columns["group"], codes)))
            counting.label(labelled(predictions, latest(told, predictions.keys)))

        made = self._runs(PREDICTIONS)
        pieces = [(run.slice(at, at + PART),) for run in made for at in range(0, len(run), PART)]
        _each(self._pool, count, pieces)
        with self._tiles.transaction():
            self._tiles.add(counting.increments())
            self._state.wait(self._model, self.waiting)
            self._state.count(self._model, {"unreadable": counting.unreadable})
        return counting.unreadable

    def join(self, made: Piece, told: Piece) -> dict[str, int]:
        """Match, count and store what is read; the tally of it."""
        names = self._state.names(self._model)
        before = names.all.groups
        reading = self._pool.submit(prediction_rows, made, names)
        labels = self._pool.submit(feedback_rows, told, names)
        (predictions, nameless), told_rows = reading.result(), labels.result()
        loose = {PREDICTIONS: predictions, FEEDBACK: told_rows}
        if not made.rows + told.rows:
            return {}
        writers = {
            kind: self._state.writer(kind, len(rows), rows.kinds, rows.constants, self._disk)
            for kind, rows in loose.items()
        }
        try:
            counting, known, tally = self._matched(loose, writers, before, names.all)
            _each(self._disk, Writer.finish, [(writer,) for writer in writers.values()])
        except BaseException:
            for writer in writers.values():  # it may be tried again every minute
                writer.discard()
            raise
        tally |= {
            "nameless": nameless,
            "unreadable": counting.unreadable,
            "duplicate_predictions": made.rows - nameless - tally["predictions"],
            "repeated": tally["repeated"] + told.rows - tally["labels"],
        }
        with self._tiles.transaction():
            self._tiles.add(counting.increments())
            self._state.replace(self._model, [], [RunFile.of(k, w) for k, w in writers.items() if w.rows])
            self._state.learn(self._model, names)
            self._state.count(self._model, tally)
            self._state.wait(self._model, known.waiting)
            for kind, piece in ((PREDICTIONS, made), (FEEDBACK, told)):
                self._state.move(self._model, kind, piece.cursor.to_json())
        self.waiting = known.waiting
        return tally

    def _matched(
        self, new: Mapping[str, Loose], writers: Mapping[str, Writer], before: Sequence[Group], names: Names
    ) -> tuple[Counting, Known, dict[str, int]]:
        counted = {(group.version, group.bins) for group in before} - self.waiting.keys()
        known = Known(self._bins_of, self.waiting, counted)
        for group in names.groups[len(before) :]:
            known.of((group.version, group.bins))  # so that it waits from its first row on, if it has to
        counting = Counting(self._model, names, known)
        runs = {kind: self._runs(kind) for kind in new}
        n = _parts(sum(map(len, new.values())))

        def count(i: int, there: Sequence[Run]) -> Mapping[str, int]:
            old = there[: len(runs[PREDICTIONS])], there[len(runs[PREDICTIONS]) :]
            made = in_order(*new[PREDICTIONS].part(i, n), ["time"], first=True)
            fresh = unknown(old[0], made)
            writers[PREDICTIONS].put(i, fresh)
            labels = in_order(*new[FEEDBACK].part(i, n), LATEST)
            writers[FEEDBACK].put(i, labels)
            found = match(*old, fresh, labels)
            counting.predict(fresh)
            for change in found.changes:
                counting.label(change)
            return found.tally

        def part(i: int, there: Sequence[Run]) -> Mapping[str, int]:
            try:
                return count(i, there)
            except BaseException:
                for writer in writers.values():
                    writer.fail()
                raise

        tally: dict[str, int] = {}
        for one in _each(self._pool, part, enumerate(parts([*runs[PREDICTIONS], *runs[FEEDBACK]], n))):
            for kind, rows in one.items():
                tally[kind] = tally.get(kind, 0) + rows
        return counting, known, tally

    def merge(self, kind: str, old: Sequence[RunFile], run: Run) -> None:
        """Have one run stand for several."""
        kinds = {name: values.dtype for name, values in run.columns.items()}
        constants = {name: values[:1] for name, values in run.columns.items() if alike(values)}
        writer = self._state.writer(kind, len(run), kinds, constants, self._disk)
        writer.put(0, run)
        writer.finish()
        self._state.replace(self._model, old, [RunFile.of(kind, writer)])
        self._state.delete(old)

    def _runs(self, kind: str) -> list[Run]:
        return self._state.runs(self._state.files(self._model, kind))


def _each(pool: Executor, call: Callable[..., _Found], some: Iterable[Sequence[Any]]) -> list[_Found]:
    """Call with each of some arguments, on the threads of a pool. When all have ended it raises what made one of them fail."""
    futures = [pool.submit(call, *arguments) for arguments in some]
    wait(futures)
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, Unfinished)):
        raise error
    return [future.result() for future in futures]
