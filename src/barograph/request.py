"""The context of one request: its id, time and segments, and what watched models did in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Request:
    """One request. Row k of it has the id `id/k`.

    `depth` is above 0 while a watched model runs, so that nested calls count once. `pending` holds the last recorded rows of
    a watched model until the request ends, so that `predict` after `predict_proba` on the same rows completes them.
    """

    id: str
    time: Any = None
    segments: Mapping[str, str] | None = None
    depth: int = 0
    rows: int = 0
    pending: "Pending | None" = field(default=None)

    def next_ids(self, rows: int) -> list[str]:
        """Ids of the next rows."""
        ids = [f"{self.id}/{self.rows + i}" for i in range(rows)]
        self.rows += rows
        return ids


@dataclass(slots=True)
class Pending:
    """Rows that a watched model has answered in part."""

    features: Any
    score: Any = None
    prediction: Any = None

    def completes(self, features: Any, *, score: Any, prediction: Any) -> bool:
        """Whether an answer of another kind for the same rows is what is lacking here."""
        lacking = (self.prediction is None and prediction is not None) or (
            self.score is None and score is not None
        )
        return lacking and (features is self.features or _same(features, self.features))


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or len(a) != len(b):
        return False
    try:
        return bool((a == b).all()) if hasattr(a, "shape") else bool(a == b)
    except (TypeError, ValueError, AttributeError):
        return False
