"""Quality heuristics: a user's functions over what a model was asked and answered, each of which makes a column.

A function that takes `row` is given one row, a dict; any other is given a batch, a mapping of columns. What it returns is
counted like any other column: inline (`Monitor(heuristics=...)`) or from the log (`barograph heuristics`).
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from barograph import frames
from barograph.schema import Column, Schema, infer_kind

Function = Callable[[Any], Any]

BY_ROW = "row"  # the name of the argument of a function that is given one row


class HeuristicError(ValueError):
    """A heuristic that cannot be used: what is wrong, and the remedy."""


class Batch(Mapping[str, np.ndarray]):
    """Columns of n rows by name, each read when it is first looked at, and not to be written to.

    Numbers, truth values and times (epoch seconds) are float64[n], NaN where missing; all else is object[n], None where missing.

    >>> batch = Batch({"delay": [3, None], "carrier": ["AA", None]}, 2)
    >>> batch["delay"].tolist(), batch["carrier"].tolist(), len(batch["delay"])
    ([3.0, nan], ['AA', None], 2)
    """

    def __init__(self, columns: Mapping[str, Any], rows: int) -> None:
        self._columns, self.rows = columns, rows
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            self._read[name] = _array(self._columns[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def each(self) -> Iterator[dict[str, Any]]:
        """The rows one by one."""
        values = [self[name].tolist() for name in self._columns]
        return (dict(zip(self._columns, row, strict=True)) for row in zip(*values, strict=True))


def _array(values: Any) -> np.ndarray:
    """A column of any make as float64 or objects, read-only: what a function changes must change nothing else."""
    column = frames.column(values)
    kind = infer_kind(column)
    if kind == "categorical":
        found = np.empty(len(column), dtype=object)
        found[:] = list(frames.items(column))
    else:
        found = np.array(frames.times(column) if kind == "datetime" else frames.floats(column))
    found.flags.writeable = False
    return found


@dataclass(frozen=True, eq=False)
class Computed:
    """What a heuristic made of n rows: `values`, None where it failed; of how many rows it did, and the last error."""

    values: frames.Column
    failed: int = 0
    error: Exception | None = None


@dataclass(frozen=True, eq=False)
class Heuristic:
    """A function by the name of the column that it makes.

    >>> Heuristic.of("late", lambda batch: batch["delay"] > 15).compute(Batch({"delay": [3, 40]}, 2)).values
    array([False,  True])
    >>> Heuristic.of("late", lambda row: row["delay"] > 15).compute(Batch({"delay": [3, 40]}, 2)).values
    [False, True]
    """

    name: str
    function: Function
    by_row: bool

    @classmethod
    def of(cls, name: str, function: Function) -> "Heuristic":
        """HeuristicError where `function` cannot be called."""
        if not callable(function):
            raise HeuristicError(f"heuristics: {name!r} is {function!r}; give a function of a row or a batch")
        return cls(name, function, _argument(function) == BY_ROW)

    def compute(self, batch: Batch) -> Computed:
        """Its values of a batch. Never raises: where it fails the values are missing."""
        return self._each(batch) if self.by_row else self._whole(batch)

    def _whole(self, batch: Batch) -> Computed:
        try:
            return Computed(_column(self.function(batch), batch.rows))
        except Exception as error:  # noqa: BLE001 (the user's own code)
            return Computed([None] * batch.rows, batch.rows, error)

    def _each(self, batch: Batch) -> Computed:
        values: list[Any] = []
        failed, last = 0, None
        try:
            for row in batch.each():
                try:
                    values.append(self.function(row))
                except Exception as error:  # noqa: BLE001 (the user's own code)
                    values.append(None)
                    failed, last = failed + 1, error
        except Exception as error:  # noqa: BLE001 (a column that cannot be read)
            return Computed([None] * batch.rows, batch.rows, error)
        return Computed(values, failed, last)


def _argument(function: Function) -> str:
    """The name of the first argument; empty where the function does not tell."""
    try:
        return next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):
        return ""


def _column(found: Any, rows: int) -> frames.Column:
    if isinstance(found, (str, bytes)) or not hasattr(found, "__len__"):
        raise HeuristicError(f"it returned {found!r}; return one value for each of {rows} rows")
    column = frames.column(frames.flat(found))
    if len(column) != rows:
        raise HeuristicError(f"it returned {len(column)} values for {rows} rows; return one for each")
    return list(frames.items(column)) if isinstance(column, frames.Coded) else column


def named(functions: Mapping[str, Function]) -> tuple[Heuristic, ...]:
    """Functions by the name of the column that each makes."""
    return tuple(Heuristic.of(name, function) for name, function in functions.items())


def inline(functions: Mapping[str, Function], schema: Schema) -> tuple[Heuristic, ...]:
    """Those that are counted where the model serves: over bins that the reference has frozen.

    HeuristicError for a name that is no column of role heuristic there.
    """
    frozen = {column.name for column in schema.columns if column.role == "heuristic"}
    for name in functions:
        if name not in frozen:
            raise HeuristicError(
                f"heuristics: {name!r} is no heuristic of the reference; fit it with heuristics={{{name!r}: ...}}, or "
                "leave it to barograph heuristics, which reads the log"
            )
    return named(functions)


def fitted(
    functions: Mapping[str, Function], data: frames.Table
) -> tuple[tuple[Column, ...], dict[str, Any]]:
    """Columns that heuristics make of a reference's frame: how they are declared, and their values.

    HeuristicError where one fails, or has the name of another column.
    """
    columns: list[Column] = []
    values: dict[str, Any] = {}
    for heuristic in named(functions):
        if heuristic.name in data.columns:
            raise HeuristicError(
                f"heuristics: the frame has a column {heuristic.name!r}; choose another name"
            )
        found = heuristic.compute(Batch(data.columns, data.rows))
        if found.error is not None:
            raise HeuristicError(
                f"heuristics: {heuristic.name} failed on {found.failed:,} of {data.rows:,} rows: {found.error!r}"
            ) from found.error
        columns.append(Column(heuristic.name, kind_of(found.values), role="heuristic"))
        values[heuristic.name] = found.values
    return tuple(columns), values


def kind_of(values: frames.Column) -> str:
    """The kind of the column that values make: numeric, integer, boolean or categorical."""
    kind = infer_kind(values)
    return "numeric" if kind == "datetime" else kind


def load(given: Iterable[str], folder: Path) -> tuple[Heuristic, ...]:
    """Functions named `MODULE:FUNCTION` or `FILE.py:FUNCTION`, as columns of that name or of `NAME=`.

    A module is looked for in `folder`, too. HeuristicError says what is not there.
    """
    found: dict[str, Function] = {}
    for text in given:
        name, _, where = text.rpartition("=")
        module, _, function = where.partition(":")
        if not module or not function:
            raise HeuristicError(f"heuristics: {text!r} names no function; write MODULE:FUNCTION")
        name = name or function
        if name in found:
            raise HeuristicError(f"heuristics: {name!r} is there twice; write NAME={where} for one of them")
        found[name] = _function(_module(module, folder), function)
    return named(found)


def _function(module: ModuleType, name: str) -> Function:
    found = getattr(module, name, None)
    if not callable(found):
        there = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise HeuristicError(f"heuristics: {module.__name__} has no function {name!r}; it has {there}")
    return found  # type: ignore[no-any-return]


def _module(name: str, folder: Path) -> ModuleType:
    try:
        return _file(folder / name) if name.endswith(".py") else _importable(name, folder)
    except HeuristicError:
        raise
    except Exception as error:
        raise HeuristicError(f"heuristics: cannot import {name!r} ({error!r}); look from {folder}") from error


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise HeuristicError(f"heuristics: there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _importable(name: str, folder: Path) -> ModuleType:
    """A module, found as `python -m` would find it: the folder first."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(place)


def answers(score: Any, prediction: Any, delivered: Any) -> dict[str, Any]:
    """What a model answered, by the names under which functions find it."""
    return {"score": score, "prediction": prediction, "delivered": delivered}


def only(heuristics: Sequence[Heuristic], names: Iterable[str]) -> tuple[Heuristic, ...]:
    """Those of some names."""
    wanted = set(names)
    return tuple(one for one in heuristics if one.name in wanted)
