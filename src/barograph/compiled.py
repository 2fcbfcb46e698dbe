"""What runs for each row, number and key, as compiled code where it was built; elsewhere NumPy does the same.

Plain rows are read on the request path: reading a row at once, while it is in the processor's cache, costs less than half of
copying it now and reading it later. A dict of floats and texts is plain; whatever is not goes through `rows`, which says
what counts as what. BAROGRAPH_PURE_PYTHON=1 switches all of it off.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from barograph import naming

__all__ = ["Drained", "Packed", "Packer", "available", "count", "find", "keys", "sort", "tally"]

try:
    from barograph._compiled import Packed, count, find, keys, sort, tally
except ImportError:  # a platform that nothing was compiled for
    Packed = count = find = keys = sort = tally = None  # type: ignore[assignment,misc]
if os.environ.get(naming.PURE_VARIABLE, "0") not in ("", "0"):
    Packed = count = find = keys = sort = tally = None  # type: ignore[assignment,misc]


class Drained(NamedTuple):
    """Rows in order: their numbers (float64) and slots (uint8), row by row, and their answers."""

    rows: int
    numbers: bytes
    slots: bytes
    scores: list[Any]
    predictions: list[Any]


NOTHING = Drained(0, b"", b"", [], [])


class Packer:
    """Holds up to `limit` plain rows between two flushes. `append` is None where there is no compiled code.

    `append(features, score, prediction, id, time, segments, delivered, rule)` says whether it took the row. `tables` give
    the slot of each category, `missing` that of None.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        categories: Sequence[str],
        tables: Sequence[dict[Any, int]],
        missing: Sequence[int],
        limit: int,
    ) -> None:
        self._packed = None
        if available() and (numbers or categories):
            self._packed = Packed(tuple(numbers), tuple(categories), tuple(tables), tuple(missing), limit)
        self.append: Callable[..., bool] | None = None if self._packed is None else self._packed.append

    def __len__(self) -> int:
        return 0 if self._packed is None else len(self._packed)

    def drain(self) -> Drained:
        """The rows held; none is held after it."""
        return NOTHING if self._packed is None or not len(self._packed) else Drained(*self._packed.drain())


def available() -> bool:
    """Whether there is compiled code, and it is not switched off."""
    return Packed is not None
