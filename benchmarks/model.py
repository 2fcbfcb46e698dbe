"""The model that is watched: made-up rows of 20 floats and 10 categories, always fresh, and its reference.

Needs numpy alone, so that a peer's own environment makes the same rows. Repeating one batch would train the branch predictor.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from barograph import Reference

NUMBERS, CATEGORIES = 20, 10
SIZES = (3, 5, 8, 12, 16, 20, 30, 40, 50, 60)  # distinct values of the categorical columns
CELLS = 16  # that /metrics shows of a column, and the buckets of a peer's histogram

numbers = tuple(f"amount_{i:03d}" for i in range(NUMBERS))
categories = tuple(f"kind_{i:03d}" for i in range(CATEGORIES))
texts = [[f"{name}_value_{k:02d}" for k in range(60)] for name in categories]


def amounts(rng: np.random.Generator, column: int, n: int) -> np.ndarray:
    """float64[n]: a bell, a heavy tail, waiting times, or sums of them, by column."""
    draw = (
        lambda: rng.normal(10 * column, 1 + column, n),
        lambda: rng.lognormal(column / 5, 1, n),
        lambda: rng.exponential(100, n),
        lambda: rng.gamma(2, 3, n),
    )[column % 4]
    return draw()


def codes(rng: np.random.Generator, column: int, n: int) -> np.ndarray:
    """int64[n]: categories by number, the first the most frequent."""
    weights = 1 / np.arange(1, SIZES[column % len(SIZES)] + 1)
    return rng.choice(len(weights), size=n, p=weights / weights.sum())


def columns(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """All features by name: float64 and texts."""
    found = {name: amounts(rng, i, n) for i, name in enumerate(numbers)}
    for i, name in enumerate(categories):
        found[name] = np.array(texts[i], dtype=object)[codes(rng, i, n)]
    return found


def rows(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """n rows as dicts, as a service builds them: the names are its own, the values are new."""
    found = columns(rng, n)
    return [
        dict(zip(found, values, strict=True))
        for values in zip(*(v.tolist() for v in found.values()), strict=True)
    ]


def scores(rng: np.random.Generator, n: int) -> np.ndarray:
    """float64[n]: the model's scores."""
    return rng.beta(2, 5, n)


def buckets(rng: np.random.Generator) -> dict[str, list[float]]:
    """Upper bounds of a peer's histograms, by column: the quantiles that the 16 cells of /metrics lie between."""
    steps = np.arange(1, CELLS) / CELLS
    found = {name: amounts(rng, i, 20_000) for i, name in enumerate(numbers)}
    return {name: np.unique(np.quantile(values, steps)).tolist() for name, values in found.items()}


def reference(rng: np.random.Generator, n: int = 50_000) -> "Reference":
    """The model's reference: all features, a score and its prediction."""
    from barograph import Reference

    frame = {**columns(rng, n), "p": scores(rng, n)}
    return Reference.fit(frame, task="binary", score="p", threshold=0.5)
