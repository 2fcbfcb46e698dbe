"""The join: labels to the predictions that they are of, and both to outcomes in the tiles.

It costs what is new, not what is known: new rows of the logs are matched with all that came before (`match`), and only the
difference is counted (`counting`). What is counted, how far the logs are read, and which runs are known is stored in one
transaction (`step`), so that a join which is killed at any moment and started again counts nothing twice and leaves nothing out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from barograph.labels.counting import BinsOf, Made
from barograph.labels.match import LATEST
from barograph.labels.rows import FEEDBACK_COLUMNS, PREDICTION_COLUMNS
from barograph.labels.runs import merged, to_merge
from barograph.labels.state import FEEDBACK, PREDICTIONS, JoinState
from barograph.labels.step import Piece, Steps
from barograph.logs import Cursor, Log, Reading
from barograph.tiles import Tiles

_BY = {PREDICTIONS: ("time",), FEEDBACK: LATEST}


@dataclass(frozen=True)
class Joined:
    """What one run of the join came to: by kind how many rows (see `match.Match`), and what could not be read, by path.

    `duplicate_predictions` are of an id that was there already, of which the first counts; `nameless` have none. `waiting` says
    by version and bins why outcomes are not counted yet.
    """

    tally: Mapping[str, int] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[Made, str] = field(default_factory=dict)


class Join:
    """Joins the logs of models into tiles. `bins_of(model)` says how the outcomes of its versions are counted.

    What was made over bins that it does not know waits, and stops nothing else: once they are known all of it is counted.
    """

    def __init__(self, tiles: Tiles, logs: Log, state: JoinState, bins_of: Callable[[str], BinsOf]) -> None:
        self._tiles, self._logs, self._state, self._bins_of = tiles, logs, state, bins_of

    def run(self, model: str, moved: Callable[[int], object] = lambda _: None) -> Joined:
        """Join all that is new of a model. `moved` is told how many rows each step read."""
        damaged: dict[str, str] = {}
        with Steps(self._tiles, self._state, model, self._bins_of(model)) as steps:
            unreadable = steps.release()
            total = {"unreadable": unreadable} if unreadable else {}
            while True:
                made = Piece(self._reading(PREDICTIONS, model, PREDICTION_COLUMNS))
                told = Piece(self._reading(FEEDBACK, model, FEEDBACK_COLUMNS))
                for kind, n in steps.join(made, told).items():
                    total[kind] = total.get(kind, 0) + n
                damaged |= {**made.damaged, **told.damaged}
                self._merge(model, steps)
                moved(made.rows + told.rows)
                if not (made.more or told.more):
                    return Joined(total, damaged, steps.waiting)

    def _reading(self, kind: str, model: str, columns: Sequence[str]) -> Reading:
        cursor = self._state.cursor(model, kind)
        return self._logs.read(
            kind, model, columns, since=None if cursor is None else Cursor.from_json(cursor)
        )

    def _merge(self, model: str, steps: Steps) -> None:
        """Make one run of many small ones."""
        for kind, by in _BY.items():
            files = self._state.files(model, kind)
            chosen = [files[i] for i in to_merge([file.rows for file in files])]
            if chosen:
                steps.merge(kind, chosen, merged(self._state.runs(chosen), by))
