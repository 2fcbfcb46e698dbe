"""The join: labels to the predictions that they are of, and both to outcomes in the tiles.

It costs what is new, not what is known: new rows of the logs are matched with all that came before (`match`), and only the
difference is counted (`counting`). What is counted, how far the logs are read, and which runs are known is stored in one
transaction, so that a join which is killed at any moment and started again counts nothing twice and leaves nothing out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from barograph.labels.counting import BinsOf, increments
from barograph.labels.match import LATEST, match
from barograph.labels.rows import FEEDBACK_COLUMNS, PREDICTION_COLUMNS, feedback_run, prediction_run
from barograph.labels.runs import merged, to_merge
from barograph.labels.state import FEEDBACK, PREDICTIONS, JoinState
from barograph.logs import Cursor, Log, Reading
from barograph.tiles import Tiles

MOST_ROWS = 4_000_000  # of each log that are joined at once: bounds memory
_BY = {PREDICTIONS: ("time",), FEEDBACK: LATEST}


@dataclass(frozen=True)
class Joined:
    """What one run of the join came to: by kind how many rows (see `match.Match`), and what could not be read, by path."""

    tally: Mapping[str, int] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)


class Join:
    """Joins the logs of models into tiles. `bins_of(model)` says how the outcomes of its versions are counted."""

    def __init__(self, tiles: Tiles, logs: Log, state: JoinState, bins_of: Callable[[str], BinsOf]) -> None:
        self._tiles, self._logs, self._state, self._bins_of = tiles, logs, state, bins_of

    def run(self, model: str, moved: Callable[[int], object] = lambda _: None) -> Joined:
        """Join all that is new of a model. `moved` is told how many rows each step read."""
        total: dict[str, int] = {}
        damaged: dict[str, str] = {}
        while True:
            made = _Piece(self._reading(PREDICTIONS, model, PREDICTION_COLUMNS))
            told = _Piece(self._reading(FEEDBACK, model, FEEDBACK_COLUMNS))
            for kind, n in self._step(model, made, told).items():
                total[kind] = total.get(kind, 0) + n
            damaged |= {**made.damaged, **told.damaged}
            self._merge(model)
            moved(made.rows + told.rows)
            if not made.rows + told.rows:
                return Joined(total, damaged)

    def _reading(self, kind: str, model: str, columns: Sequence[str]) -> Reading:
        cursor = self._state.cursor(model, kind)
        return self._logs.read(
            kind, model, columns, since=None if cursor is None else Cursor.from_json(cursor)
        )

    def _step(self, model: str, made: "_Piece", told: "_Piece") -> dict[str, int]:
        """Match, count and store what was read; the tally of it."""
        state, names = self._state, self._state.names(model)
        predictions, nameless = prediction_run(made, names)
        labels = feedback_run(told, names)
        if not made.rows + told.rows:
            return {}
        known = {kind: state.runs(state.files(model, kind)) for kind in _BY}
        found = match(known[PREDICTIONS], known[FEEDBACK], predictions, labels)
        added, unreadable = increments(model, found, names.all, self._bins_of(model))
        tally = dict(found.tally)
        tally["duplicate_predictions"] += made.rows - nameless - len(predictions)
        tally["repeated"] += told.rows - len(labels)
        tally |= {"nameless": nameless, "unreadable": unreadable}
        runs = {PREDICTIONS: found.predictions, FEEDBACK: found.labels}
        new = [state.write(kind, run) for kind, run in runs.items() if len(run)]
        with self._tiles.transaction():
            self._tiles.add(added)
            state.replace(model, [], new)
            state.learn(model, names)
            state.count(model, tally)
            for kind, piece in ((PREDICTIONS, made), (FEEDBACK, told)):
                state.move(model, kind, piece.cursor.to_json())
        return tally

    def _merge(self, model: str) -> None:
        """Make one run of many small ones."""
        for kind, by in _BY.items():
            files = self._state.files(model, kind)
            chosen = [files[i] for i in to_merge([file.rows for file in files])]
            if chosen:
                new = self._state.write(kind, merged(self._state.runs(chosen), by))
                self._state.replace(model, chosen, [new])
                self._state.delete(chosen)


class _Piece:
    """Tables of a log until there are enough rows for one step; `cursor` is where the next one goes on."""

    def __init__(self, reading: Reading) -> None:
        self._reading, self.rows = reading, 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._reading:
            self.rows += len(table)
            yield table
            if self.rows >= MOST_ROWS:
                return

    @property
    def cursor(self) -> Cursor:
        return self._reading.cursor

    @property
    def damaged(self) -> Mapping[str, str]:
        return self._reading.damaged
