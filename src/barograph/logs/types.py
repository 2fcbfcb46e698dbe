"""The columns of the logs, and how values become Arrow: fixed columns typed for ever, features typed by the schema."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from barograph import frames
from barograph.schema import Schema

INT, FLOAT, BOOL, TEXT = pa.int64(), pa.float64(), pa.bool_(), pa.string()
TIME = pa.timestamp("us", "UTC")
SEGMENTS = pa.map_(TEXT, TEXT)

PREDICTION_COLUMNS: dict[str, pa.DataType] = {
    "id": TEXT, "time": TIME, "arrival": TIME, "score": FLOAT, "prediction": FLOAT, "prediction_text": TEXT,
    "delivered": FLOAT, "delivered_text": TEXT, "rule": TEXT, "segments": SEGMENTS,
}  # fmt: skip
FEEDBACK_COLUMNS: dict[str, pa.DataType] = {
    "id": TEXT, "label": FLOAT, "label_text": TEXT, "time": TIME, "arrival": TIME, "kind": TEXT, "model": TEXT,
}  # fmt: skip
FIXED = {"predictions": PREDICTION_COLUMNS, "feedback": FEEDBACK_COLUMNS}
FOLDERS = ("model", "day", "version", "bins")  # columns that the names of the folders say
TWINS = {"prediction": "prediction_text", "delivered": "delivered_text", "label": "label_text"}

_OF_KIND = {"numeric": FLOAT, "integer": FLOAT, "boolean": BOOL, "categorical": TEXT, "datetime": TIME}
_PREFIX = "feature."
UNREADABLE = "(unreadable)"  # in place of a value that raises when it is looked at
_FIRST, _LAST = -62_135_596_800.0, 253_402_300_800.0  # epoch seconds of the years 1 and 10000


def feature_column(name: str) -> str:
    """The log's column of a feature: its own name, unless a fixed column has that.

    >>> feature_column("dep_delay"), feature_column("score")
    ('dep_delay', 'feature.score')
    """
    taken = name in PREDICTION_COLUMNS or name in FOLDERS or name.startswith(_PREFIX)
    return f"{_PREFIX}{name}" if taken else name


def feature_types(schema: Schema) -> dict[str, pa.DataType]:
    """Types of a schema's features and quality heuristics by column of the log: numbers are float64, also whole ones.

    >>> from barograph.schema import Column
    >>> feature_types(Schema((Column("dep_delay", "integer"), Column("carrier", "categorical"))))
    {'dep_delay': DataType(double), 'carrier': DataType(string)}
    """
    logged = [column for column in schema.columns if column.role in ("feature", "heuristic")]
    return {feature_column(column.name): _OF_KIND[column.kind] for column in logged}


def family(type: pa.DataType) -> str:
    """What a type is called where a column changes it: `x__string` is what is text in a column `x` that was of numbers."""
    tests = {
        "int": pa.types.is_integer, "float": pa.types.is_floating, "bool": pa.types.is_boolean,
        "timestamp": pa.types.is_temporal, "map": pa.types.is_map,
    }  # fmt: skip
    if pa.types.is_dictionary(type):
        return family(type.value_type)
    if pa.types.is_string(type) or pa.types.is_large_string(type):
        return "string"
    return next((name for name, test in tests.items() if test(type)), str(type))


def canonical(type: pa.DataType) -> pa.DataType:
    """The one type of a family that is read."""
    known = {"int": INT, "float": FLOAT, "bool": BOOL, "string": TEXT, "timestamp": TIME, "map": SEGMENTS}
    return known.get(family(type), type)


def converted(values: Any, type: pa.DataType) -> tuple[pa.Array, pa.Array | None]:
    """Values (NumPy, Arrow or a list) as Arrow of `type`, and the texts of those that are not of it, None if all are.

    A value that is not of the type is null in the first and text in the second; the other way round for all others.

    >>> [part.to_pylist() for part in converted([1, None, "x"], FLOAT)]
    [[1.0, None, None], [None, None, 'x']]
    """
    try:
        return _at_once(values, type), None
    except Exception:  # noqa: BLE001 (a value's own code may raise anything)
        return _one_by_one(_listed(values), type)


def inferred(values: Any) -> pa.DataType | None:
    """The type of a column that no schema knows; None where no value says it, text where they are mixed."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        found = values.type
    elif isinstance(values, np.ndarray) and values.dtype.kind in "fiubM":
        return {"f": FLOAT, "i": INT, "u": INT, "b": BOOL, "M": TIME}[values.dtype.kind]
    else:
        try:
            found = pa.array(values).type
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return TEXT
    if pa.types.is_null(found):
        return None
    return canonical(found) if family(found) in ("int", "float", "bool", "string", "timestamp") else TEXT


def segment_column(values: Any, n: int) -> pa.Array:
    """map<string, string>[n] from columns by key (arrays of n, or one text for all), from one mapping a row, or from Arrow."""
    if values is None:
        return pa.nulls(n, SEGMENTS)
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return _whole(values).cast(SEGMENTS)
    if not isinstance(values, Mapping):
        rows = [None if row is None else [(str(k), _text(v)) for k, v in row.items()] for row in values]
        return pa.array(rows, SEGMENTS)
    if not values:
        return pa.nulls(n, SEGMENTS)
    columns = [_repeated(column, n) for column in values.values()]
    items, keys = columns[0], pa.repeat(pa.scalar(str(next(iter(values))), TEXT), n)
    if len(columns) > 1:
        order = np.arange(n * len(columns)).reshape(len(columns), n).T.ravel()
        items = pa.concat_arrays(columns).take(pa.array(order))
        keys = pa.array([str(key) for key in values], TEXT).take(pa.array(order // n))
    offsets = pa.array(np.arange(0, n * len(columns) + 1, len(columns), dtype=np.int32))
    return pa.MapArray.from_arrays(offsets, keys, items)


def _repeated(values: Any, n: int) -> pa.Array:
    return pa.array([values] * n, TEXT) if isinstance(values, str) else texts(values)


def texts(values: Any) -> pa.Array:
    """Any values as text: numbers that are equal as one text (see `frames.text`).

    >>> texts(np.array([5, 6])).to_pylist(), texts([5.0, None, "b"]).to_pylist()
    (['5', '6'], ['5', None, 'b'])
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return pa.array(values).cast(TEXT)
    found, rest = converted(values, TEXT)
    return found if rest is None else pa.array([_text(value) for value in _listed(values)], TEXT)


def _at_once(values: Any, type: pa.DataType) -> pa.Array:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return _checked_cast(_whole(values), type)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return _numbers(values, type)
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        micro = values.astype("datetime64[us]")
        known = (micro >= np.datetime64(int(_FIRST), "s")) & (micro < np.datetime64(int(_LAST), "s"))
        return _checked_cast(pa.array(np.where(known, micro, np.datetime64("NaT", "us"))), type)
    if pa.types.is_timestamp(type) and not isinstance(values, np.ndarray):
        values = [_moment(value) for value in values]
    return pa.array(values, type)


def _numbers(values: np.ndarray, type: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(type) and values.dtype.kind != "b":
        return epoch_times(values)
    if pa.types.is_boolean(type) and values.dtype.kind != "b":
        if not np.isin(values, (0, 1)).all():
            raise ValueError("numbers other than 0 and 1 are no booleans")
        return pa.array(values == 1)
    if pa.types.is_floating(type):
        return pa.array(np.ascontiguousarray(values, dtype=np.float64))
    return _checked_cast(pa.array(values), type)


def _checked_cast(values: pa.Array, type: pa.DataType) -> pa.Array:
    """A cast that changes how a value is held, never what it is: a number is no text, and a time is no number."""
    if values.type == type or pa.types.is_null(values.type):
        return values.cast(type)
    pair = family(values.type), family(type)
    if pair[0] != pair[1] and pair not in (
        ("int", "float"),
        ("bool", "float"),
        ("float", "int"),
        ("int", "bool"),
    ):
        raise TypeError(f"{values.type} is not {type}")
    return values.cast(type)


def epoch_times(seconds: np.ndarray) -> pa.Array:
    """Times from epoch seconds; null for NaN, and for what lies in no year from 1 to 9999.

    >>> epoch_times(np.array([0.5])).to_pylist()[0].isoformat()
    '1970-01-01T00:00:00.500000+00:00'
    """
    missing = ~((seconds >= _FIRST) & (seconds < _LAST))
    micro = np.round(np.where(missing, 0.0, seconds) * 1e6).astype(np.int64)
    return pa.array(micro, pa.int64(), mask=missing if missing.any() else None).view(TIME)


def _moment(value: Any) -> Any:
    """A time as Arrow takes it: epoch seconds in microseconds, a text in ISO 8601 as what it says, all else as it is."""
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        if not (math.isnan(value) or _FIRST <= value < _LAST):
            raise ValueError(f"{value} is no time in epoch seconds")
        return None if math.isnan(value) else round(float(value) * 1e6)
    return value


def _one_by_one(values: Sequence[Any], type: pa.DataType) -> tuple[pa.Array, pa.Array | None]:
    good: list[Any] = []
    bad: list[str | None] = []
    for value in values:
        fits = None if value is None else _single(value, type)
        good.append(fits)
        bad.append(_text(value) if value is not None and fits is None else None)
    return pa.array(good, type), pa.array(bad, TEXT) if any(text is not None for text in bad) else None


def _single(value: Any, type: pa.DataType) -> Any:
    """The value as Arrow takes it into a column of `type`, None where it is not of it."""
    if isinstance(value, np.generic):
        value = value.item()
    if pa.types.is_floating(type) and isinstance(value, (bool, int, float)):
        return float(value) if abs(value) < 1e308 or isinstance(value, float) else None
    if pa.types.is_boolean(type) and isinstance(value, (bool, int, float)):
        return bool(value) if value in (0, 1) else None
    if pa.types.is_string(type):
        return _text(value) if isinstance(value, str) else None
    try:
        return pa.scalar(_moment(value) if pa.types.is_timestamp(type) else value, type).as_py()
    except Exception:  # noqa: BLE001 (a value's own code may raise anything)
        return None


def _text(value: Any) -> str | None:
    """Any value as text that UTF-8 can hold; a missing one is None."""
    try:
        found = frames.text(value)
        if found is None:
            return None
        return str(value if found is frames.INVALID else found).encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 (a value's own code may raise anything)
        return UNREADABLE


def _listed(values: Any) -> list[Any]:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return list(values.to_pylist())
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _whole(values: "pa.Array | pa.ChunkedArray") -> pa.Array:
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(whole, pa.ChunkedArray):  # what has no chunk, in some releases
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole
