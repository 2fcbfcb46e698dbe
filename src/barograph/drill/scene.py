"""What an injection may know of the model, and the chance that it uses: the same in each run, so that more holds the less."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from barograph.bins import NumericBins
from barograph.reference import Reference

DAY = 86_400
FEW = 20  # bins that hold values: hours and weekdays have no more, and what is measured has


@dataclass(frozen=True, eq=False)
class Scene:
    """A model's reference, and the moment of the injection in epoch seconds."""

    reference: Reference
    start: float
    seed: int = 0
    _drawn: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def draw(self, n: int) -> np.ndarray:
        """float64[n] in [0, 1): rows below f are the share f of them, and those of a smaller f are among them."""
        if n not in self._drawn:
            self._drawn[n] = np.random.default_rng(self.seed).random(n)
        return self._drawn[n]

    def rng(self) -> np.random.Generator:
        """Chance of another kind."""
        return np.random.default_rng(self.seed + 1)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The features, the most important first."""
        weight = self.reference.importance
        return tuple(sorted(self.reference.schema.features, key=lambda name: -weight.get(name, 0.0)))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Those that are numbers; those of few values, such as weekdays, come last."""
        schema, counts = self.reference.schema, self.reference.baseline.column
        found = [name for name in self.features if schema[name].kind in ("numeric", "integer")]
        return tuple(sorted(found, key=lambda name: int((counts(name)[0] > 0).sum()) <= FEW))

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Those that are categories."""
        return tuple(name for name in self.features if self.reference.schema[name].kind == "categorical")

    def share(self, name: str, value: float) -> float:
        """Share of the reference's rows in the bin that holds a number."""
        bins = self.reference.bins.columns[name]
        counts = self.reference.baseline.column(name)[0]
        return float(counts[int(bins.index(np.array([value]))[0])] / max(counts.sum(), 1))

    def reaches(self, name: str, value: float) -> bool:
        """Whether a number is within the range of a column."""
        bins = self.reference.bins.columns[name]
        return isinstance(bins, NumericBins) and bins.low <= value < bins.high

    def top(self, name: str) -> str:
        """The most frequent category of a column."""
        bins, counts = self.reference.bins.columns[name], self.reference.baseline.column(name)[0]
        names = bins.categories  # type: ignore[union-attr]
        return str(names[int(np.argmax(counts[: len(names)]))])

    @cached_property
    def hour(self) -> str | None:
        """A feature that holds the hour of the day."""
        for name in self.numbers:
            bins = self.reference.bins.columns[name]
            reach = (
                isinstance(bins, NumericBins) and bins.low > -25 and bins.high < 49
            )  # a range above and below
            if "hour" in name.lower().split("_") and reach:
                return name
        return None
