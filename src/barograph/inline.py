"""Heuristics beside the counting of rows: computed in the flusher's thread, so that no request waits for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from barograph import frames
from barograph.heuristics import Batch, Function, Heuristic, answers, inline
from barograph.layout import Layout
from barograph.rows import Row, as_record, is_batch

Failed = Callable[[str, Exception, int], object]  # what could not be done, why, and of how many rows


class Inline:
    """Gives rows the values of heuristics. What fails is missing, and told to `failed`; nothing is raised."""

    def __init__(self, heuristics: Sequence[Heuristic], layout: Layout, failed: Failed) -> None:
        self.names = tuple(one.name for one in heuristics)
        self._heuristics, self._layout, self._failed = heuristics, layout, failed

    @classmethod
    def of(cls, functions: Mapping[str, Function] | None, layout: Layout, failed: Failed) -> "Inline | None":
        """None where there are none. HeuristicError for one that the reference has no bins for."""
        return cls(inline(functions, layout.schema), layout, failed) if functions else None

    def extend(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The same rows, each with its features and what the heuristics made of them. One that cannot be read stays as it is."""
        found: list[Row] = [Row(*row) for row in rows]
        singles = [i for i, row in enumerate(found) if not _is_batch(row.features)]
        try:
            for i, features in zip(singles, self._singles([found[i] for i in singles]), strict=True):
                found[i] = found[i]._replace(features=features)
        except Exception as error:  # noqa: BLE001 (rows of the caller's own types)
            self._failed("compute heuristics", error, len(singles))
        for i in sorted(set(range(len(found))) - set(singles)):
            try:
                found[i] = found[i]._replace(features=self._batch(found[i]))
            except Exception:  # noqa: BLE001 (of another shape, which whoever counts it says)
                continue
        return list(found)

    def _singles(self, rows: Sequence[Row]) -> list[Any]:
        records = [as_record(self._layout, row.features) for row in rows]
        columns: dict[str, Any] = {
            name: [None if record is None else record.get(name) for record in records]
            for name in self._layout.features
        }
        columns |= answers(
            *([getattr(row, name) for row in rows] for name in ("score", "prediction", "delivered"))
        )
        made = self._computed(columns, len(rows))
        each = zip(*(frames.items(values) for values in made.values()), strict=True)
        return [
            row.features if record is None else {**record, **dict(zip(made, values, strict=True))}
            for row, record, values in zip(rows, records, each, strict=True)
        ]

    def _batch(self, row: Row) -> dict[str, Any]:
        """An array first: that is how a dict of columns is known."""
        data = frames.table(row.features, self._layout.features)
        given = answers(row.score, row.prediction, row.delivered)
        columns = {**data.columns, **{name: _each(values, data.rows) for name, values in given.items()}}
        made = self._computed(columns, data.rows)
        return {**{name: _as_array(values) for name, values in made.items()}, **data.columns}

    def _computed(self, columns: Mapping[str, Any], rows: int) -> dict[str, frames.Column]:
        batch, found = Batch(columns, rows), dict[str, frames.Column]()
        for heuristic in self._heuristics:
            made = heuristic.compute(batch)
            found[heuristic.name] = made.values
            if made.error is not None:
                self._failed(f"compute heuristic {heuristic.name}", made.error, made.failed)
        return found


def _is_batch(features: Any) -> bool:
    try:
        return is_batch(features)
    except Exception:  # noqa: BLE001 (it cannot even be asked)
        return False


def _each(values: Any, rows: int) -> Any:
    """Answers of a batch, one a row; all missing where their number is another."""
    if values is None or isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        return [values] * rows
    column = frames.column(frames.flat(values))
    return column if len(column) == rows else [None] * rows


def _as_array(values: frames.Column) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    found = np.empty(len(values), dtype=object)
    found[:] = list(frames.items(values))
    return found
