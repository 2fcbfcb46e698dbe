"""The context of one request: its id, time and segments, and what watched models did in it."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_PENDING = 8  # answers of a request that wait for another half


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of `n` rows of a request, from row `first` on.

    >>> list(Ids("b41f", 3, 2))
    ['b41f/3', 'b41f/4']
    """

    request: str
    first: int
    n: int

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[str]:
        return (f"{self.request}/{i}" for i in range(self.first, self.first + self.n))


@dataclass(slots=True)
class Pending:
    """Rows that a watched model has answered, perhaps in part.

    `prediction` is `provisional` where it only follows from the scores. `names` are the columns of an array.
    """

    features: Any
    score: Any = None
    prediction: Any = None
    provisional: bool = False
    names: tuple[str, ...] | None = None

    def completes(self, other: "Pending") -> bool:
        """Whether `other` holds what is lacking here, for the same rows."""
        predicted = other.prediction is not None and not other.provisional
        lacking = predicted and (self.prediction is None or self.provisional)
        lacking = lacking or (self.score is None and other.score is not None)
        return lacking and same(self.features, other.features)

    def add(self, other: "Pending") -> None:
        """Take what is lacking here from an answer for the same rows."""
        self.score = other.score if self.score is None else self.score
        if (self.prediction is None or self.provisional) and other.prediction is not None:
            self.prediction, self.provisional = other.prediction, other.provisional


@dataclass(slots=True)
class Request:
    """One request. Row k of it has the id `id/k`.

    `pending` holds the last answers of watched models until the request ends, so that `predict` after `predict_proba` on the
    same rows completes them. After its end (`closed`) nothing waits any more. `ran` says that a watched model was called.
    """

    id: str
    time: Any = None
    segments: Mapping[str, str] | None = None
    rows: int = 0
    ran: bool = False
    closed: bool = False
    pending: list[Pending] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def next_ids(self, rows: int) -> Ids:
        """Ids of the next rows."""
        with self.lock:
            ids = Ids(self.id, self.rows, rows)
            self.rows += rows
        return ids

    def name(self, given: Any, rows: int | None, *, named: bool) -> Any:
        """Count the next rows (None: a single one), and answer their ids: those given or, where they are to be `named`, ours."""
        if not named:
            self.rows += 1 if rows is None else rows
            return given
        ids = self.next_ids(1 if rows is None else rows)
        if given is not None:
            return given
        return next(iter(ids)) if rows is None else ids

    def take(self, answer: Pending) -> list[Pending]:
        """Take an answer in; those that are now to be recorded."""
        with self.lock:
            if self.closed:
                return [answer]
            for pending in reversed(self.pending):
                if pending.completes(answer):
                    pending.add(answer)
                    return []
            self.pending.append(answer)
            return [self.pending.pop(0)] if len(self.pending) > MAX_PENDING else []

    def close(self) -> list[Pending]:
        """End the request; the answers that are still to be recorded."""
        with self.lock:
            self.closed = True
            left, self.pending = self.pending, []
        return left


def same(a: Any, b: Any) -> bool:
    """Whether two batches hold the same rows; False where they cannot be compared.

    >>> same(np.array([1.0, np.nan]), np.array([1.0, np.nan])), same([1], (1,))
    (True, False)
    """
    try:
        if a is b:
            return True
        if type(a) is not type(b) or len(a) != len(b):
            return False
        if isinstance(a, np.ndarray):
            return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
        return bool(a.equals(b)) if hasattr(a, "equals") else bool(a == b)
    except Exception:  # arrays in dicts, or a type whose comparison raises
        return False
