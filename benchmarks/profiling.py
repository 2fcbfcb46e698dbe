"""Row 4: the profile of a frame in memory, beside reading its bytes."""

import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from barograph import Reference
from benchmarks import model
from benchmarks.measure import Budget, Result, Scale, median, number, peak_of, processor_time

KINDS = ("pandas with Categorical", "Arrow with dictionaries", "pandas with texts")


def measure(scale: Scale) -> list[Result]:
    """The row. Each repetition has a frame of its own: the same values again would be predicted."""
    rng = np.random.default_rng(time.time_ns())
    reference = model.reference(rng)
    reference.profile(frame(rng, 10_000, KINDS[0]))  # makes the tables
    used: dict[str, list[float]] = {}
    reading: list[float] = []
    for kind in KINDS:
        for repeat in range(scale.profiles if kind != KINDS[2] else 1):
            data = frame(rng, scale.frame_rows, kind)
            if (
                repeat % 2 == 0 and kind == KINDS[0]
            ):  # by turns before and after: who comes second finds some of it cached
                reading.append(processor_time(lambda d=data: read(plain(d))))
            used.setdefault(kind, []).append(processor_time(lambda d=data: reference.profile(d)))
            if repeat % 2 and kind == KINDS[0]:
                reading.append(processor_time(lambda d=data: read(plain(d))))
    data = frame(rng, scale.frame_rows, KINDS[0])
    peak = peak_of(lambda: reference.profile(data))
    _check(reference, data)
    return [
        _row(scale, {kind: median(found) for kind, found in used.items()}, median(reading), peak, plain(data))
    ]


def frame(rng: np.random.Generator, n: int, kind: str) -> Any:
    """n fresh rows: 20 float64 columns and 10 of categories, as codes or as texts."""
    found: dict[str, Any] = {name: model.amounts(rng, i, n) for i, name in enumerate(model.numbers)}
    for i, name in enumerate(model.categories):
        kept = model.texts[i][: model.SIZES[i]]
        if kind == KINDS[1]:
            indices = pa.array(model.codes(rng, i, n).astype(np.int32))
            found[name] = pa.DictionaryArray.from_arrays(indices, pa.array(kept))
        else:
            values = pd.Categorical.from_codes(model.codes(rng, i, n), categories=kept)
            found[name] = values if kind == KINDS[0] else pd.Series(values).astype("str")
    return pa.table(found) if kind == KINDS[1] else pd.DataFrame(found, copy=False)


def plain(data: pd.DataFrame) -> list[np.ndarray]:
    """The arrays that a pandas frame consists of, without a copy."""
    return [
        np.asarray(data[name].array.codes) if name in model.categories else data[name].to_numpy()
        for name in data
    ]


def read(arrays: list[np.ndarray]) -> None:
    """Touch every byte once, and do next to nothing with it: the sum of each column, as it is."""
    for values in arrays:
        values.sum()


def _check(reference: Reference, data: pd.DataFrame) -> None:
    """What was timed is the profile: each column's counts hold all rows."""
    profile = reference.profile(data)
    for name in (*model.numbers, *model.categories):
        if profile.column(name)[0].sum() != len(data):
            raise RuntimeError(f"{name}: {profile.column(name)[0].sum()} values were counted of {len(data)}")


def _row(scale: Scale, used: dict[str, float], reading: float, peak: int, arrays: list[np.ndarray]) -> Result:
    ours = used[KINDS[0]]
    held = sum(values.nbytes for values in arrays)
    others = ", ".join(f"{kind} {number(used[kind])} s" for kind in KINDS[1:])
    return Result(
        row=f"profile of {scale.frame_rows:,} x {model.NUMBERS + model.CATEGORIES} in memory",
        ours=f"{number(ours)} CPU s ({KINDS[0]}); {others}",
        peers=f"reading its {number(held / 1e6)} MB once {number(reading)} CPU s (NumPy's sum of each column)",
        budgets=[
            Budget("CPU", ours, 0.25, " s"),
            Budget("the time to read the bytes", ours / reading, 9, "×"),
            Budget("extra memory at the peak", peak / 1e6, 30, " MB"),
        ],
        figures={"cpu_s": used, "read_cpu_s": reading, "bytes": held, "peak_mb": peak / 1e6},
    )
