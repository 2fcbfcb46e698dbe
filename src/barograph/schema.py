"""What columns a model takes and answers: their kinds, roles and declared ranges."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np

from barograph import frames

KINDS = ("numeric", "integer", "boolean", "categorical", "datetime")
ROLES = ("feature", "score", "prediction", "heuristic", "segment")
_TYPE = re.compile(r"((?P<boolean>bool(ean)?)|u?int\d+)(\[pyarrow\])?")
VIOLATION_KINDS = ("type", "missing_column", "extra_column", "range", "category", "grid")


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    `kind` is numeric, integer (numeric on a grid of whole numbers), boolean, categorical or datetime; a datetime is binned
    by its `part` (hour, weekday, day, month, or age in days). `minimum` and `maximum`, where declared, are the range that
    its owner allows; else the range is taken from the reference.

    >>> Column("dep_delay", "numeric", minimum=-60)
    Column(name='dep_delay', kind='numeric', role='feature', minimum=-60, maximum=None, part=None)
    """

    name: str
    kind: str
    role: str = "feature"
    minimum: float | None = None
    maximum: float | None = None
    part: str | None = None

    def __post_init__(self) -> None:
        _known("kind", self.kind, KINDS)
        _known("role", self.role, ROLES)
        if self.part is not None:
            _known("part", self.part, frames.DATETIME_PARTS)
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"column {self.name!r}: minimum {self.minimum} is above maximum {self.maximum}")

    @property
    def numbers(self) -> bool:
        """Whether values are binned as numbers."""
        return self.kind != "categorical"

    def values(self, raw: frames.Column, now: np.ndarray | float) -> np.ndarray:
        """A numeric, boolean or datetime column as float64 (see `frames.floats`); `now` in epoch seconds dates an age."""
        if self.kind == "datetime":
            return frames.datetime_part(frames.times(raw), self.part or "hour", now)
        return frames.floats(raw)


@dataclass(frozen=True)
class Schema:
    """The columns of a model, in order.

    >>> Schema.infer({"a": [1, 2], "b": ["x", None]}).columns[1].kind
    'categorical'
    """

    columns: tuple[Column, ...]
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        by_name = {column.name: column for column in self.columns}
        if len(by_name) != len(self.columns):
            names = [column.name for column in self.columns]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"schema: columns {twice} are declared twice; declare each once")
        object.__setattr__(self, "_by_name", by_name)

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the model takes."""
        return tuple(column.name for column in self.columns if column.role == "feature")

    @classmethod
    def infer(cls, frame: Any, features: Sequence[str] | None = None) -> "Schema":
        """Read the kinds off a frame (pandas, Polars, Arrow, dict of columns); all its columns, or those named."""
        data = frames.table(frame)
        names = list(data.columns) if features is None else list(features)
        absent = [name for name in names if name not in data.columns]
        if absent:
            raise ValueError(f"features: {absent} are not in the frame, which has {list(data.columns)}")
        return cls(tuple(Column(name, kind) for name, kind in infer_kinds(frame, data, names).items()))

    def to_list(self) -> list[dict[str, Any]]:
        """Plain JSON."""
        return [{k: v for k, v in asdict(column).items() if v is not None} for column in self.columns]

    @classmethod
    def from_list(cls, items: Iterable[Mapping[str, Any]]) -> "Schema":
        """Back from plain JSON."""
        return cls(tuple(Column(**item) for item in items))


@dataclass(frozen=True, slots=True)
class Violation:
    """One value, or one column, that breaks the schema. `row` is None where a whole column is concerned."""

    column: str
    kind: str
    value: str | None
    row: int | None
    text: str


class SchemaViolation(ValueError):
    """Rows were refused; `violations` says why."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        more = f" and {len(violations) - 3} more" if len(violations) > 3 else ""
        super().__init__("; ".join(v.text for v in self.violations[:3]) + more)


def infer_kinds(frame: Any, data: frames.Table, names: Sequence[str]) -> dict[str, str]:
    """The kinds of some columns of `frame`, by their own types where these say more than `data`, which was read from it.

    Whole numbers and booleans some of which are missing are floats there, if they come from a frame whose types know missing
    values: those of Arrow and Polars, and pandas' Int64 and boolean.
    """
    return {name: _typed_kind(frame, name) or infer_kind(data.columns[name]) for name in names}


def _typed_kind(frame: Any, name: str) -> str | None:
    try:
        values = frame[name]
    except Exception:  # noqa: BLE001 (an array, rows, a table that was read already, a column whose name is no text)
        return None
    typed = _TYPE.fullmatch(str(getattr(values, "dtype", getattr(values, "type", ""))).lower())
    return typed and ("boolean" if typed["boolean"] else "integer")


def infer_kind(values: frames.Column) -> str:
    """The kind of a column, from its type or, for Python objects, from its values."""
    if isinstance(values, frames.Coded):
        return "categorical"
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return {"b": "boolean", "i": "integer", "u": "integer", "f": "numeric", "M": "datetime"}.get(
            values.dtype.kind, "categorical"
        )
    kinds = {_kind_of(value) for value in frames.items(values)} - {None}
    if kinds <= {"boolean"} and kinds:
        return "boolean"
    if kinds <= {"boolean", "integer"} and kinds:
        return "integer"
    if kinds <= {"boolean", "integer", "numeric"}:
        return "numeric"
    return "datetime" if kinds == {"datetime"} else "categorical"


def _kind_of(value: Any) -> str | None:
    if isinstance(value, (bool, np.bool_)):
        return "boolean"
    if isinstance(value, (int, np.integer)):
        return "integer"
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else "numeric"
    if isinstance(value, (datetime, date)):
        return "datetime" if value == value else None  # NaT differs from itself
    return None if frames.text(value) is None else "categorical"


def _known(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{argument}: {value!r} is not one of {', '.join(allowed)}")
