"""Outcomes of an import: its rows go through the join as if they came from the logs, within the import's own transaction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from barograph import naming
from barograph.history.columns import is_text
from barograph.history.named import Named
from barograph.labels.counting import BinsOf
from barograph.labels.join import Join
from barograph.labels.keys import keys
from barograph.labels.state import FEEDBACK, PREDICTIONS, JoinState, RunFile
from barograph.logs import Cursor, Log, Reading
from barograph.logs.types import FLOAT, TEXT, converted, epoch_times, segment_column, texts
from barograph.tiles import Increment, Tiles


class Outcomes:
    """Joins rows that hold their own labels. With ids (`named`), labels that come later find them too; without, none can."""

    def __init__(self, tiles: Tiles, state: JoinState, model: str, bins_of: BinsOf, *, named: bool) -> None:
        self._tiles, self._state, self._model, self._named = tiles, state, model, named
        groups = state.names(model).all.groups
        self._bins_of = Remembered(bins_of, {(group.version, group.bins) for group in groups})
        kept = _Kept(state, named=True)  # what waits for bins that are known by now is counted before this is
        self._join(kept, {}, timed=True)
        kept.settle()

    def known(self, ids: pa.Array) -> np.ndarray:
        """bool[n]: rows whose id is that of a prediction that was counted before, or of a row before them."""
        found = keys(ids, first=True)
        known = np.ones(len(found), dtype=bool)
        known[np.unique(found, return_index=True)[1]] = False
        for run in self._state.runs(self._state.files(self._model, PREDICTIONS)):
            known |= run.find(found) >= 0
        return known

    def add(
        self, predictions: pa.Table, labels: Sequence[tuple[pa.Table, bool]]
    ) -> tuple[Mapping[str, int], "_Kept"]:
        """Join predictions with tables of labels, each with whether the time of its labels is known; within a transaction.

        Returns what the join tells of them, and what is to be settled once the transaction is stored.
        """
        kept, total = _Kept(self._state, named=self._named), dict[str, int]()
        made: pa.Table | None = predictions
        for told, timed in labels or [(None, True)]:
            for kind, n in self._join(kept, {PREDICTIONS: made, FEEDBACK: told}, timed=timed).items():
                total[kind] = total.get(kind, 0) + n
            made = None
        return total, kept

    def _join(
        self, state: "_Kept", given: Mapping[str, pa.Table | None], *, timed: bool
    ) -> Mapping[str, int]:
        tiles = cast(Tiles, self._tiles if timed else _Untimed(self._tiles))
        join = Join(tiles, cast(Log, _Given(given)), cast(JoinState, state), lambda _: self._bins_of)
        return join.run(self._model).tally


class Remembered:
    """How outcomes are counted, asked before: the join asks from threads, while this one holds the tiles."""

    def __init__(self, bins_of: BinsOf, made: Iterable[tuple[str, str]]) -> None:
        self._bins_of, self._found = bins_of, dict[tuple[str, str], Any]()
        for one in made:
            try:
                self._found[one] = bins_of(*one)
            except LookupError as error:  # a reference that nobody has told of yet
                self._found[one] = error

    def __call__(self, version: str, bins: str) -> Any:
        found = self._found[version, bins] if (version, bins) in self._found else self._bins_of(version, bins)
        if isinstance(found, LookupError):
            raise found
        return found


class _Kept:
    """The join's state, for rows that are in no log: how far the logs are read stays as it was.

    Files are deleted by `settle`, when what no longer names them is stored. Rows without ids (not `named`) are kept nowhere:
    nothing will ask for them.
    """

    def __init__(self, state: JoinState, *, named: bool) -> None:
        self._state, self._named = state, named
        self._over: list[RunFile] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def files(self, model: str, kind: str) -> list[RunFile]:
        return self._state.files(model, kind) if self._named else []

    def replace(self, model: str, old: Iterable[RunFile], new: Iterable[RunFile]) -> None:
        if self._named:
            self._state.replace(model, old, new)
        else:
            self._over += new

    def move(self, *_: object) -> None:
        pass

    def delete(self, files: Iterable[RunFile]) -> None:
        self._over += files

    def settle(self) -> None:
        """Delete what nothing names any more."""
        self._state.delete(self._over)
        self._over = []


class _Given:
    """A log of the rows that are given, which are read once."""

    def __init__(self, tables: Mapping[str, pa.Table | None]) -> None:
        self._tables = dict(tables)

    def read(self, kind: str, _: str, columns: Sequence[str], *, since: Cursor | None = None) -> Reading:
        table = self._tables.pop(kind, None)
        tables = [table.select(columns)] if table is not None and len(table) else []
        return cast(Reading, _Once(tables, since or Cursor()))


class _Once:
    def __init__(self, tables: Iterable[pa.Table], cursor: Cursor) -> None:
        self._tables, self.cursor = iter(tables), cursor
        self.damaged: dict[str, str] = {}

    def __iter__(self) -> Iterator[pa.Table]:
        return self._tables


class _Untimed:
    """The tiles, but for how long labels took: where their times are not known, that is not either."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tiles, name)

    def add(self, increments: Iterable[Increment]) -> None:
        self._tiles.add(i for i in increments if i.series.metric != naming.LABEL_AGES)


def prediction_table(
    rows: pa.Table, ids: pa.Array, named: Named, times: np.ndarray, versions: pa.Array, bins: str
) -> pa.Table:
    """Rows as the prediction log would hold them."""
    prediction, text = _answers(rows, named.prediction)
    segments = {name: texts(whole(rows[name])) for name in named.segments}
    return pa.table({
        "id": ids,
        "time": epoch_times(times),
        "score": _answers(rows, named.score)[0],
        "prediction": prediction,
        "prediction_text": text,
        "segments": segment_column(segments, len(rows)),
        "version": versions,
        "bins": pa.array([bins], TEXT).take(pa.array(np.zeros(len(rows), dtype=np.int64))),
    })  # fmt: skip


def label_table(rows: pa.Table, ids: pa.Array, named: Named, moments: np.ndarray) -> pa.Table:
    """The labels of rows as the feedback log would hold them; `moments` float64[n], in epoch seconds, is when they came."""
    label, text = _answers(rows, named.label)
    at = epoch_times(moments)
    columns = {"id": ids, "label": label, "label_text": text, "time": at, "arrival": at}
    return pa.table({**columns, "kind": pa.nulls(len(rows), TEXT)})


def ids_of(rows: pa.Table, named: Named) -> pa.Array:
    """Ids as texts; without any, the rows' numbers."""
    return texts(np.arange(len(rows)) if named.id is None else whole(rows[named.id]))


def _answers(rows: pa.Table, name: str | None) -> tuple[pa.Array, pa.Array]:
    """A column as numbers, and as texts where it holds such."""
    n = len(rows)
    if name is None:
        return pa.nulls(n, FLOAT), pa.nulls(n, TEXT)
    values = whole(rows[name])
    if isinstance(values, pa.Array) and is_text(values.type):
        return pa.nulls(n, FLOAT), values.cast(TEXT)
    found, text = converted(values, FLOAT)
    return found, pa.nulls(n, TEXT) if text is None else text


def whole(column: pa.ChunkedArray) -> "pa.Array | np.ndarray":
    """A column in one piece; whole numbers as NumPy's, which become texts at once."""
    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy())
    found = column.combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) and found.num_chunks else found
