"""Limits that an owner sets in `[models.NAME.limits]`: what may be limited, how it is written, and what is wrong with it.

A limit is flat here, whatever way TOML wrote it: `amount.max = 10` and `"amount.max" = 10` are the same.
"""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

QUALITY = "quality."  # before the name of a metric of outcomes
LATENCY = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
RESOURCES = ("memory", "cpu", "disk")
SHARE, SECONDS, ROWS, BYTES, NUMBER = "share", "seconds", "rows", "bytes", "number"
SERVICE = {"errors": SHARE, **dict.fromkeys(LATENCY, SECONDS), "empty": SHARE, "traffic": ROWS} | {
    "memory": BYTES, "cpu": NUMBER, "disk": SHARE,
}  # fmt: skip
SIGNALS = ("D", "L", "A", "U", "O")
OF_COLUMN = ("min", "max", "values", "type", "missing", *SIGNALS)
TYPES = {"number": ("numeric", "integer"), "boolean": ("boolean",), "text": ("categorical",), "time": ("datetime",)}  # fmt: skip
SLOWEST = 30.0  # seconds: longer ones are not told apart
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMGT]?)(i?)B")
_WANTED = {
    SHARE: "a share from 0 to 1, such as 0.01 for 1 %",
    SECONDS: f"seconds above 0 and up to {SLOWEST:g}, such as 0.3 for 300 ms",
    ROWS: "rows an hour, a number above 0",
    BYTES: 'bytes, a number above 0 or a text such as "2 GiB"',
    NUMBER: "a number above 0, such as 1.5 processors",
}


@dataclass(frozen=True)
class ColumnLimits:
    """What an owner allows of one column: lines of `signals` by letter, the share that may be `missing`, and what may be in it.

    Without `values` any value is allowed, without `minimum` or `maximum` that side is as the reference has it.
    """

    signals: Mapping[str, float]
    missing: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[Any, ...] = ()
    type: str | None = None

    @property
    def bounded(self) -> bool:
        """Whether it says what may be in the column, and not only how much it may move."""
        ends = (self.minimum, self.maximum, self.type)
        return bool(self.values) or any(end is not None for end in ends)


def parse(table: Any) -> dict[str, Any]:
    """Limits by flat name, from what TOML gives; ValueError names key, value and remedy.

    >>> parse({"errors": 0.01, "amount": {"min": 0, "max": 10_000}, "country.values": ["DE", "FR"]})
    {'errors': 0.01, 'amount.min': 0.0, 'amount.max': 10000.0, 'country.values': ('DE', 'FR')}
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"limits is {table!r}; write a table: errors = 0.01, amount.max = 10_000")
    found: dict[str, Any] = {}
    for name, value in _flat(table):
        if name in found:
            raise ValueError(f"limits: {name!r} is set twice; write it once")
        found[name] = _read(name, value)
    for column, limits in of_columns(found).items():
        low, high = limits.minimum, limits.maximum
        if low is not None and high is not None and low > high:
            raise ValueError(f"limits: {column}.min is {low:g}, above {column}.max {high:g}; exchange them")
    return found


def of_columns(limits: Mapping[str, Any]) -> dict[str, ColumnLimits]:
    """The limits of columns, by column.

    >>> of_columns({"amount.D": 0.3, "errors": 0.01, "amount.min": 0.0})["amount"].minimum
    0.0
    """
    by_column: dict[str, dict[str, Any]] = {}
    for name, value in limits.items():
        column, _, what = name.rpartition(".")
        if column and what in OF_COLUMN:
            by_column.setdefault(column, {})[what] = value
    return {column: _column(given) for column, given in by_column.items()}


def _column(given: Mapping[str, Any]) -> ColumnLimits:
    signals = {s: given[s] for s in SIGNALS if s in given}
    low, high, kind = (given.get(name) for name in ("min", "max", "type"))
    return ColumnLimits(signals, given.get("missing"), low, high, tuple(given.get("values", ())), kind)


def of_quality(limits: Mapping[str, Any]) -> dict[str, float]:
    """The limits of metrics of confirmed outcomes, by metric; a column may be called `quality`, too."""
    found = {name.removeprefix(QUALITY): value for name, value in limits.items() if name.startswith(QUALITY)}
    return {metric: value for metric, value in found.items() if metric not in OF_COLUMN}


def _flat(table: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{within}.{key}" if within else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, value


def _read(name: str, value: Any) -> Any:
    column, _, what = name.rpartition(".")
    if name in SERVICE:
        return _amount(name, value, SERVICE[name])
    if column and what in OF_COLUMN:
        return _of_column(name, what, value)
    if name.startswith(QUALITY):
        return _number(name, value, "a number")
    raise ValueError(f"limits: unknown limit {name!r}; {_nearest(name, column, what)}")


def _nearest(name: str, column: str, what: str) -> str:
    """The limit that was meant, or all that there are."""
    choices = [f"{column}.{one}" for one in OF_COLUMN] if column else list(SERVICE)
    near = difflib.get_close_matches(name, choices, 1, cutoff=0.7 if column else 0.6)
    near = near or [f"{column}.{one}" for one in difflib.get_close_matches(what, OF_COLUMN, 1) if column]
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(SERVICE)}, quality.METRIC, and COLUMN.{', .'.join(OF_COLUMN)}"


def _of_column(name: str, what: str, value: Any) -> Any:
    if what == "values":
        return _values(name, value)
    if what == "type":
        if not isinstance(value, str) or value not in TYPES:
            raise ValueError(f"limits: {name} is {value!r}; write one of {', '.join(TYPES)}")
        return value
    if what in ("min", "max"):
        return _number(name, value, "a number")
    if what in ("D", "L"):
        return _least(name, value, 0.0, "a number from 0 on")
    return _amount(name, value, SHARE)


def _values(name: str, value: Any) -> tuple[Any, ...]:
    remedy = 'write a list of texts, or one of numbers: ["DE", "FR"]'
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"limits: {name} is {value!r}; {remedy}")
    texts = all(isinstance(one, str) for one in value)
    numbers = all(isinstance(one, (bool, int, float)) and math.isfinite(one) for one in value)
    if not texts and not numbers:
        raise ValueError(f"limits: {name} is {value!r}; {remedy}")
    return tuple(dict.fromkeys(value if texts else map(float, value)))


def _amount(name: str, value: Any, unit: str) -> float:
    wanted = _WANTED[unit]
    if unit == BYTES and isinstance(value, str):
        value = _size(name, value)
    number = _number(name, value, wanted)
    fits = 0 <= number <= 1 if unit == SHARE else 0 < number <= (SLOWEST if unit == SECONDS else math.inf)
    if not fits:
        raise ValueError(f"limits: {name} is {value!r}; write {wanted}")
    return number


def _size(name: str, text: str) -> float:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"limits: {name} is {text!r}; write {_WANTED[BYTES]}")
    power: int = " kMGT".index(match[2] or " ")
    return float(match[1]) * float((1024 if match[3] else 1000) ** power)


def _least(name: str, value: Any, least: float, wanted: str) -> float:
    number = _number(name, value, wanted)
    if number < least:
        raise ValueError(f"limits: {name} is {value!r}; write {wanted}")
    return number


def _number(name: str, value: Any, wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"limits: {name} is {value!r}; it must be a number: write {wanted}")
    return float(value)
