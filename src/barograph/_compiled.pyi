from typing import Any

import numpy as np

def count(
    values: np.ndarray,
    first: int,
    step: int,
    table: np.ndarray,
    bits: int,
    centre: float,
    edges: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    /,
) -> None: ...
def keys(texts: Any, offsets: np.ndarray, first: bool, found: np.ndarray, /) -> bool: ...
def sort(keys: np.ndarray, order: np.ndarray, /) -> None: ...
def tally(counts: np.ndarray, places: np.ndarray, sign: int, /) -> None: ...
def find(keys: np.ndarray, wanted: np.ndarray, rows: np.ndarray, /) -> None: ...

class Packed:
    def __new__(
        cls,
        numbers: tuple[str, ...],
        categories: tuple[str, ...],
        tables: tuple[dict[Any, int], ...],
        missing: tuple[int, ...],
        limit: int,
    ) -> Packed: ...
    def append(
        self,
        features: Any,
        score: Any,
        prediction: Any,
        id: Any,
        time: Any,
        segments: Any,
        delivered: Any,
        rule: Any,
        /,
    ) -> bool: ...
    def drain(self) -> tuple[int, bytes, bytes, list[Any], list[Any]]: ...
    def __len__(self) -> int: ...
