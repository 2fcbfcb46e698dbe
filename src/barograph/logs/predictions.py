"""The prediction log: what a model was asked and answered, a row each, as it arrived."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph.clock import Clock
from barograph.logs.appender import Appender
from barograph.logs.log import Log
from barograph.logs.paths import DAY, Partition, day_of
from barograph.logs.types import (
    FLOAT,
    INT,
    PREDICTION_COLUMNS,
    TEXT,
    TIME,
    TWINS,
    converted,
    family,
    feature_column,
    feature_types,
    inferred,
    segment_column,
    texts,
)
from barograph.schema import Schema

MAX_COLUMNS = 1_000  # of features that no schema names: past it they are not logged
MOST_TOGETHER = (
    16_384  # rows that are one message in the file: bounds what is held, and how long a reader waits for it
)

_MICRO_DAY = DAY * 1_000_000

log = logging.getLogger("barograph")


class PredictionLog:
    """Logs the predictions of one version of a model, from one thread.

    With a `schema` its features are logged, as it types them; a value of another type is text in a column `name__string`. Without
    one all features are, and the first type of each has its name. `lost(rows, reason)` is told of rows that could not be
    logged (`disk` or `values`): nothing is raised, and the next batch is tried as if nothing had been.
    """

    def __init__(
        self,
        place: Log,
        model: str,
        version: str,
        bins: str = "",
        *,
        schema: Schema | None = None,
        clock: Clock | None = None,
        lost: Callable[[int, str], None] | None = None,
    ) -> None:
        self._clock, self._lost = clock or Clock(), lost
        self._declared = schema is not None
        self._types: dict[str, pa.DataType] = {} if schema is None else feature_types(schema)
        self._failing: set[str] = set()
        self._schema = pa.schema([])
        self._schema_of: tuple[str, ...] = ()  # the columns that it is of, as `_types` types them
        self._empty: dict[pa.DataType, pa.Array] = {}
        inferred([None])  # has Arrow import what it does on first use, which may take a second
        self._appender = Appender(
            place.spool,
            lambda day: Partition("predictions", model, day, version, bins),
            place.limits["predictions"],
        )

    def append(self, columns: Mapping[str, Any], n: int, features: Mapping[str, Any] | None = None) -> None:
        """Log n rows: hand them to the operating system.

        `columns` are the fixed ones (`PREDICTION_COLUMNS`), of n values each, and may be left out. `prediction` and
        `delivered` may be numbers or texts, `segments` a mapping for each row or columns by key. Times are epoch seconds or
        datetimes; `arrival` is now, and `time` the arrival, unless given. `features` are the model's; names in `columns` that
        are not fixed are features too. Values are NumPy or Arrow arrays or lists; None is missing, and NaN among numbers.

        >>> import tempfile
        >>> place = Log(tempfile.mkdtemp())
        >>> with PredictionLog(place, "m", "1") as predictions:
        ...     predictions.append(
        ...         {"id": ["a", "b"], "score": np.array([0.2, 0.9])}, 2, {"carrier": ["AA", None]}
        ...     )
        >>> next(place.read("predictions", "m", ["id", "score", "carrier"])).to_pylist()[0]
        {'id': 'a', 'score': 0.2, 'carrier': 'AA'}
        """
        if n == 0:
            self._appender.tend()
            return
        written = 0
        try:
            for batch, day in self._batches(columns, n, features or {}):
                self._appender.append(batch, day)
                written += batch.num_rows
            self._failing.clear()
        except OSError as error:
            self._failed(n - written, "disk", error)
        except (
            pa.ArrowException,
            ArithmeticError,
            LookupError,
            NotImplementedError,
            TypeError,
            ValueError,
        ) as error:
            self._failed(n - written, "values", error)

    def tend(self) -> None:
        """Close the file if its time is over: to be called now and then where rows may stay away."""
        self._appender.tend()

    def close(self) -> None:
        """Close the file."""
        self._appender.close()

    def __enter__(self) -> "PredictionLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _failed(self, rows: int, reason: str, error: Exception) -> None:
        if reason not in self._failing:  # once until it works again
            self._failing.add(reason)
            log.error("barograph cannot log predictions: %s: %s", type(error).__name__, error)
        if self._lost is not None:
            self._lost(rows, reason)

    def _batches(
        self, columns: Mapping[str, Any], n: int, features: Mapping[str, Any]
    ) -> Iterator[tuple[pa.RecordBatch, str]]:
        now = round(self._clock.now(), 6)
        arrays = self._fixed(columns, n, now)
        given = {name: values for name, values in columns.items() if name not in PREDICTION_COLUMNS}
        given |= {feature_column(name): values for name, values in features.items()}
        arrays |= self._features(given, n)
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), schema=self._schema_for(arrays))
        for part, day in _by_day(batch) if "arrival" in columns else ((batch, day_of(now)),):
            for first in range(0, part.num_rows, MOST_TOGETHER):
                yield part.slice(first, MOST_TOGETHER), day

    def _schema_for(self, arrays: Mapping[str, pa.Array]) -> pa.Schema:
        names = tuple(arrays)
        if names != self._schema_of:
            self._schema = pa.schema([(name, array.type) for name, array in arrays.items()])
            self._schema_of = names
        return self._schema

    def _fixed(self, columns: Mapping[str, Any], n: int, now: float) -> dict[str, pa.Array]:
        found: dict[str, pa.Array] = {}
        for name, own in PREDICTION_COLUMNS.items():
            values = columns.get(name)
            if name == "segments":
                found[name] = segment_column(values, n)
            elif values is None:
                found.setdefault(name, self._nulls(n, own))
            elif name in ("id", "rule") or name in TWINS.values():
                found[name] = texts(values)
            else:
                found[name], rest = converted(values, own)
                if name in TWINS and rest is not None:
                    found[TWINS[name]] = rest
        arrival = pa.array(np.full(n, round(now * 1e6))).view(TIME)
        found["arrival"] = found["arrival"].fill_null(arrival[0]) if "arrival" in columns else arrival
        if columns.get("time") is None:
            found["time"] = found["arrival"]
        elif found["time"].null_count:
            found["time"] = pc.coalesce(found["time"], found["arrival"])
        return {name: found[name] for name in PREDICTION_COLUMNS}

    def _nulls(self, n: int, own: pa.DataType) -> pa.Array:
        known = self._empty.get(own)
        if known is None or len(known) < n:
            known = self._empty[own] = pa.nulls(max(n, 1_024), own)
        return known.slice(0, n)

    def _features(self, given: Mapping[str, Any], n: int) -> dict[str, pa.Array]:
        found: dict[str, pa.Array] = {}
        for name, values in given.items():
            if self._declared and name not in self._types:
                continue
            self._put(found, name, values)
        return {name: found[name] if name in found else pa.nulls(n, own) for name, own in self._types.items()}

    def _put(self, found: dict[str, pa.Array], name: str, values: Any) -> None:
        own = self._type(name, values)
        if own is None:
            return
        if family(own) != family(self._types[name]):
            name = f"{name}__{family(own)}"
        if own == TEXT:
            found[name] = texts(values)
            return
        found[name], rest = converted(values, self._types[name])
        if rest is not None and self._room(f"{name}__string", TEXT):
            found[f"{name}__string"] = rest

    def _type(self, name: str, values: Any) -> pa.DataType | None:
        """The type to log these values as, which is known from then on; None if they are not to be logged."""
        known = self._types.get(name)
        if known is not None and self._declared:
            return known
        found = inferred(values)
        if found is None or known is None:
            return found if found is not None and self._room(name, found) else None
        if {known, found} == {INT, FLOAT}:
            self._types[name], self._schema_of = FLOAT, ()
            found = FLOAT
        if found != known and family(found) != family(self._types[name]):
            return found if self._room(f"{name}__{family(found)}", found) else None
        return found

    def _room(self, name: str, type: pa.DataType) -> bool:
        if name in self._types:
            return True
        if len(self._types) >= MAX_COLUMNS and not self._declared:
            if "columns" not in self._failing:
                self._failing.add("columns")
                log.warning("barograph logs %s columns of features and no more: not %r", MAX_COLUMNS, name)
            return False
        self._types[name] = type
        return True


def _by_day(batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, str]]:
    """Rows by the day on which they arrived: nearly always one."""
    days = batch.column("arrival").view(INT).to_numpy() // _MICRO_DAY
    if days[0] == days[-1] and (days == days[0]).all():
        yield batch, day_of(float(days[0]) * DAY)
        return
    for day in np.unique(days):
        yield batch.filter(pa.array(days == day)), day_of(float(day) * DAY)
