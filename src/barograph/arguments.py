"""What a monitor cannot be made with: an error that names the argument, the value and the remedy."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from barograph.reference import Reference


def is_count(n: Any) -> bool:
    """Whether it is a whole number from 1."""
    return not isinstance(n, bool) and isinstance(n, (int, np.integer)) and bool(n >= 1)


def require_options(reference: Any, clock: Any, flush_interval: Any, buffer_rows: Any) -> None:
    """TypeError or ValueError for what is no option of a monitor."""
    if not (reference is None or isinstance(reference, (Reference, str, Path))):
        raise TypeError(f"reference: {type(reference).__name__} is none; give a Reference or the path of one")
    if clock is not None and not callable(getattr(clock, "now", None)):
        raise TypeError(f"clock: {clock!r} is none; give barograph.Clock(), or Clock.parse of a text")
    if not isinstance(flush_interval, (int, float)) or not 0 < flush_interval <= threading.TIMEOUT_MAX:
        raise ValueError(f"flush_interval: {flush_interval!r}; give seconds above 0")
    if not is_count(buffer_rows):
        raise ValueError(f"buffer_rows: {buffer_rows!r}; give a number of rows from 1")


def require_name(argument: str, value: Any) -> None:
    """ValueError for what is no name of a model or a version."""
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise ValueError(f"{argument}: {value!r} is no name; give a text of 1 to 200 characters")
