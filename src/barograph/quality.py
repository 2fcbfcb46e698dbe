"""Quality of what comes in, from counts: values that are missing, invalid, unseen or out of range, and schema violations.

Arrays have one value a window, NaN where too few rows were counted: never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from barograph.bins import Bins, CategoryBins
from barograph.drift import MINIMUM_ROWS
from barograph.traffic import share, shares


@dataclass(frozen=True, eq=False)
class Faults:
    """Shares of a column's rows, each of the windows' shape; `unseen` is None where the column knows no such thing."""

    missing: np.ndarray
    invalid: np.ndarray
    unseen: np.ndarray | None
    out_of_range: np.ndarray


def faults(bins: Bins, counts: np.ndarray, minimum: int = MINIMUM_ROWS) -> Faults:
    """Shares of faulty values: counts (..., size) to (...).

    >>> from barograph.bins import CategoryBins
    >>> found = faults(CategoryBins(("a",)), np.array([80, 0, 10, 5, 5]))
    >>> float(found.missing), float(found.invalid), float(found.unseen)
    (0.05, 0.05, 0.1)
    """
    rows = np.sum(counts, axis=-1)
    news = isinstance(bins, CategoryBins) and not bins.open
    unseen = shares(counts[..., bins.unseen], rows, minimum) if news else None
    return Faults(
        missing=shares(counts[..., bins.missing], rows, minimum),
        invalid=shares(counts[..., bins.invalid], rows, minimum),
        unseen=unseen,
        out_of_range=shares(counts[..., bins.outside].sum(axis=-1), rows, minimum),
    )


def violation_shares(
    violations: Mapping[str, int], rows: int, minimum: int = MINIMUM_ROWS
) -> dict[str, float | None]:
    """Schema violations a row, by kind or column, the most frequent first; None where rows are too few.

    A row can break the schema in several columns, so a total may pass 1.

    >>> violation_shares({"type": 3, "range": 12}, 60)
    {'range': 0.2, 'type': 0.05}
    """
    by_size = sorted(violations, key=lambda kind: (-violations[kind], kind))
    return {kind: share(violations[kind], rows, minimum) for kind in by_size}
