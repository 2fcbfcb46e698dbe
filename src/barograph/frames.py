"""Tables of any make as plain arrays: pandas, Polars, Arrow, NumPy, dicts of columns, lists of rows.

Nothing here imports a data frame library: a frame is known by what it can do. A column comes out in one of two shapes:
`floats` (float64, NaN is missing, +-inf is invalid) or `texts` (str, None is missing, INVALID is invalid).
"""

import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

INVALID = object()
Column = Any  # array, list, pandas, Polars or Arrow column
_HUGE = sys.float_info.max
_LARGE = 10**1000  # integers from here on are no categories; Python refuses to write out far larger ones
_MISSING_TYPES = frozenset({"NAType", "NaTType"})


@dataclass(frozen=True, slots=True)
class Coded:
    """A dictionary-encoded column: `codes` (signed integers of any width, -1 is missing) into `categories`."""

    codes: np.ndarray
    categories: list[Any]

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length by name."""

    columns: Mapping[str, Column]
    rows: int

    def __post_init__(self) -> None:
        for name, values in self.columns.items():
            if len(values) != self.rows:
                raise ValueError(
                    f"column {name!r} has {len(values)} values, the others have {self.rows}; pass columns of one length"
                )


def is_batch(features: object) -> bool:
    """Whether `features` holds many rows (a frame, a 2-d array, a dict of columns, a list of rows) and not one row."""
    if isinstance(features, Mapping):
        return bool(features) and all(_is_column(value) for value in features.values())
    if isinstance(features, (list, tuple)) and not hasattr(features, "_asdict"):
        first = features[0] if features else ()
        return isinstance(first, (Mapping, list, tuple, np.ndarray)) or _is_record(first)
    if isinstance(features, np.ndarray):
        return features.ndim != 1 or features.dtype.names is not None
    return hasattr(features, "columns") or hasattr(features, "column_names")


def _is_record(row: object) -> bool:
    return (
        (hasattr(row, "to_dict") and hasattr(row, "index"))
        or hasattr(row, "_asdict")
        or hasattr(row, "model_dump")
        or (is_dataclass(row) and not isinstance(row, type))
        or isinstance(row, np.void)
    )


def record(row: Any) -> dict[str, Any] | None:
    """A row that knows its names as a dict: a mapping, Series, named tuple, dataclass, pydantic model; of any other make None."""
    if isinstance(row, Mapping):
        found: Mapping[Any, Any] = row
    elif isinstance(row, np.void) and row.dtype.names:
        found = dict(zip(row.dtype.names, row.tolist(), strict=True))
    elif not _is_record(row):
        return None
    elif is_dataclass(row) and not isinstance(row, type):
        found = {f.name: getattr(row, f.name) for f in fields(row)}
    else:
        found = next(getattr(row, n) for n in ("model_dump", "_asdict", "to_dict") if hasattr(row, n))()
    return {str(name): value for name, value in found.items()}


def flat(values: Any) -> Any:
    """Answers in one column: what is n x 1, as some models answer, loses its second dimension."""
    shape = tuple(getattr(values, "shape", ()))
    if len(shape) > 1 and shape[1:] == (1,):
        return values[values.columns[0]] if hasattr(values, "columns") else values.reshape(-1)
    return values


def table(features: Any, names: Sequence[str] = ()) -> Table:
    """Read a batch of any make.

    `names` gives the columns' names where the batch has none (a 2-d array, rows as sequences).

    >>> table([{"a": 1, "b": "x"}, {"a": 2}]).columns["b"]
    ['x', None]
    """
    if isinstance(features, Table):
        return features
    if isinstance(features, Mapping):
        columns = {str(name): column(values) for name, values in features.items()}
        return Table(columns, len(next(iter(columns.values()), ())))
    if isinstance(features, np.ndarray):
        return _from_matrix(features, names)
    if isinstance(features, (list, tuple)):
        return _from_rows(features, names)
    column_names = getattr(features, "column_names", None)  # Arrow
    if column_names is None:
        column_names = getattr(features, "columns", None)  # pandas, Polars
    if column_names is None:
        raise TypeError(
            f"rows: cannot read a {type(features).__name__}; pass a pandas, Polars or Arrow frame, a dict of columns, "
            "a list of dicts, or a 2-d array"
        )
    listed = [str(name) for name in column_names]
    if len(set(listed)) < len(listed):
        twice = sorted({name for name in listed if listed.count(name) > 1})
        raise ValueError(f"columns {twice} are there twice; give each column a name of its own")
    return Table({str(name): _column_of(features, name) for name in column_names}, len(features))


def _column_of(features: Any, name: Any) -> Column:
    """A column of a frame; one of a type that cannot be read is invalid in every row."""
    try:
        return column(features[name])
    except Exception:
        return np.full(len(features), math.inf)


def _from_matrix(matrix: np.ndarray, names: Sequence[str]) -> Table:
    if matrix.dtype.names is not None:
        return Table({name: matrix[name] for name in matrix.dtype.names}, len(matrix))
    if matrix.ndim != 2:
        raise ValueError(f"rows: an array of shape {matrix.shape} is not a batch; pass rows x columns")
    if matrix.shape[1] != len(names):
        raise ValueError(
            f"rows: the array has {matrix.shape[1]} columns, the schema has {len(names)} features"
        )
    return Table({name: matrix[:, i] for i, name in enumerate(names)}, len(matrix))


def _from_rows(rows: Sequence[Any], names: Sequence[str]) -> Table:
    records = [record(row) for row in rows]
    if rows and all(found is not None for found in records):
        known = [found for found in records if found is not None]
        seen = dict.fromkeys(name for found in known for name in found)
        return Table({name: [found.get(name) for found in known] for name in seen}, len(rows))
    for row in rows:
        if len(row) != len(names):
            raise ValueError(f"rows: a row has {len(row)} values, the schema has {len(names)} features")
    return Table({name: [row[i] for row in rows] for i, name in enumerate(names)}, len(rows))


def _is_column(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, (list, tuple, Coded)) or hasattr(value, "to_numpy")


def column(values: Any) -> Column:
    """One column of any make as an array, a list, or Coded."""
    if isinstance(values, (list, tuple, Coded)):
        return values
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"a column has the shape {values.shape}; pass one value a row")
        return values
    return _pandas(values) if hasattr(values, "array") else _arrow_or_polars(values)


def _pandas(series: Any) -> Column:
    dtype = series.dtype
    if hasattr(dtype, "categories"):
        return Coded(np.asarray(series.array.codes), list(dtype.categories))
    kind = getattr(dtype, "kind", "O")
    if kind in "iufb" and not isinstance(dtype, np.dtype):  # nullable extension types
        return series.to_numpy(dtype=np.float64, na_value=math.nan)
    if kind == "M" and not isinstance(dtype, np.dtype):  # with a zone, or Arrow's
        parts = getattr(series, "dt", series)
        moved = parts.tz_convert(None) if getattr(parts, "tz", None) is not None else series
        return moved.to_numpy(dtype="datetime64[us]")
    if str(dtype) in ("str", "string"):
        codes, categories = series.factorize()
        return Coded(codes, list(categories))
    return series.to_numpy()


def _arrow_or_polars(values: Any) -> Column:
    kind = str(getattr(values, "type", getattr(values, "dtype", "")))
    if kind.startswith(("dictionary", "string", "large_string")):  # Arrow
        whole = values.combine_chunks() if hasattr(values, "combine_chunks") else values
        whole = whole if kind.startswith("dictionary") else whole.dictionary_encode()
        return Coded(_arrow_codes(whole.indices), whole.dictionary.to_pylist())
    if kind.startswith(("Categorical", "Enum")):  # Polars
        return _polars_categories(values)
    if kind.startswith(("decimal", "Decimal")):
        return values.to_pylist() if hasattr(values, "to_pylist") else values.to_list()
    try:
        return np.asarray(values.to_numpy(zero_copy_only=False))  # Arrow
    except TypeError:
        return np.asarray(values.to_numpy())  # Polars


def _arrow_codes(indices: Any) -> np.ndarray:
    """Codes as they lie in memory, where none is missing; -1 for one that is."""
    if indices.null_count == 0 and not str(indices.type).startswith("u"):
        return np.asarray(indices.to_numpy())
    return np.asarray(indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False))


def _polars_categories(values: Any) -> Coded:
    distinct = values.drop_nulls().unique()
    known = np.asarray(distinct.to_physical().to_list(), dtype=np.int64)
    order = np.argsort(known)
    codes = np.searchsorted(known[order], values.to_physical().fill_null(0).to_numpy().astype(np.int64))
    texts = distinct.to_list()
    return Coded(np.where(values.is_null().to_numpy(), -1, codes), [texts[i] for i in order.tolist()])


def floats(values: Column) -> np.ndarray:
    """A column as float64: NaN where a value is missing, +-inf where it is no number.

    Texts are invalid even if they look like numbers: a model would not take them either. An integer too large for a
    float becomes the largest float.

    >>> floats([1.5, True, None, "7"])
    array([1.5, 1. , nan, inf])
    """
    if isinstance(values, Coded):
        lookup = np.append(floats(values.categories), math.nan)
        return np.asarray(lookup[values.codes])
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "fiub":
            return values.astype(np.float64, copy=False)
        if values.dtype.kind in "mM":
            return _seconds_of(values)
        if values.dtype.kind != "O":
            return np.full(len(values), math.inf)
        values = values.tolist()
    try:
        return np.frombuffer(array("d", values), dtype=np.float64)
    except Exception:  # a value's own __float__ may raise anything
        return np.array([_float(value) for value in values], dtype=np.float64)


def _float(value: Any) -> float:
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return math.nan
    if isinstance(value, (str, bytes, complex)):
        return math.inf
    if isinstance(value, (datetime, date)):
        return timestamp(value)
    if isinstance(value, np.datetime64):
        return float(_seconds_of(np.array([value]))[0])
    try:
        return float(value)
    except OverflowError:
        return _HUGE if value > 0 else -_HUGE
    except Exception:  # a value's own __float__ may raise anything
        return math.inf


def _seconds_of(values: np.ndarray) -> np.ndarray:
    unit = "timedelta64[us]" if values.dtype.kind == "m" else "datetime64[us]"
    micros = values.astype(unit).astype(np.int64)
    return np.where(np.isnat(values), math.nan, micros / 1e6)


def timestamp(value: datetime | date) -> float:
    """Epoch seconds; a naive time is read as UTC, a date as its midnight."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def times(values: Column) -> np.ndarray:
    """A time column as epoch seconds (float64): datetimes, ISO texts, or numbers that already are epoch seconds."""
    if isinstance(values, Coded):
        return np.asarray(np.append(times(values.categories), math.nan)[values.codes])
    items = values.tolist() if isinstance(values, np.ndarray) and values.dtype.kind in "OUST" else values
    if isinstance(items, np.ndarray):
        return floats(items)
    return np.array([_time(value) for value in items], dtype=np.float64)


def _time(value: Any) -> float:
    if isinstance(value, str):
        try:
            return timestamp(datetime.fromisoformat(value))
        except ValueError:
            return math.inf
    return _float(value)


def naive_times(values: Any) -> int:
    """How many of these times are datetimes without a zone. NumPy's have none; a column of pandas may have one for all."""
    if isinstance(values, (list, tuple)):
        return sum(isinstance(v, datetime) and v.tzinfo is None for v in values)
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    zone = getattr(getattr(values, "dt", values), "tz", None)
    return len(values) if kind == "M" and zone is None and not isinstance(values, np.ndarray) else 0


DATETIME_PARTS = ("hour", "weekday", "day", "month", "age")


def datetime_part(seconds: np.ndarray, part: str, now: np.ndarray | float) -> np.ndarray:
    """A declared part of epoch seconds: hour 0-23, weekday 0-6 (Monday 0), day 1-31, month 1-12, or age in days before `now`."""
    if part == "age":
        return (now - seconds) / 86_400
    out = seconds.copy()
    good = np.isfinite(seconds) & (np.abs(seconds) < 8e9)  # within the years that a calendar knows
    out[~good & np.isfinite(seconds)] = math.inf
    whole = np.floor(seconds[good]).astype(np.int64)
    if part == "hour":
        out[good] = whole // 3600 % 24
    elif part == "weekday":
        out[good] = (whole // 86_400 + 3) % 7
    else:
        days = whole.astype("datetime64[s]").astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        out[good] = (
            (days - months).astype(np.int64) + 1 if part == "day" else months.astype(np.int64) % 12 + 1
        )
    return out


def text(value: Any) -> Any:
    """A category as text, None where it is missing, INVALID where it cannot be one.

    Numbers that are equal get one text, so that 5, 5.0 and numpy's 5 are one category.

    >>> text(5.0), text(True), text(float("nan")), text({}) is INVALID
    ('5', 'True', None, True)
    """
    if isinstance(value, str):
        return str(value)
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value)) if abs(int(value)) < _LARGE else INVALID
    if isinstance(value, (float, np.floating)):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return INVALID
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return INVALID


def length(features: Any) -> int:
    """Number of rows of a batch; 1 for anything else."""
    try:
        if isinstance(features, Mapping):
            first: Any = next(iter(features.values()), None)
            return len(first) if _is_column(first) else 1
        shape = tuple(getattr(features, "shape", ()))
        return int(shape[0]) if len(shape) > 1 else len(features)
    except Exception:  # a caller's object may raise anything
        return 1


def items(values: Column) -> Iterable[Any]:
    """The values of a column as Python objects."""
    if isinstance(values, Coded):
        texts = [*values.categories, None]
        return [texts[code] for code in values.codes.tolist()]
    found: Iterable[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return found


def take(values: Column, order: np.ndarray) -> Column:
    """The values of a column at `order` (positions, or a mask)."""
    if isinstance(values, Coded):
        return Coded(values.codes[order], values.categories)
    if isinstance(values, np.ndarray):
        return values[order]
    positions = np.flatnonzero(order) if order.dtype == bool else order
    return [values[i] for i in positions.tolist()]
