"""A reference over the cells that /metrics shows, so that what Prometheus keeps is judged as full profiles are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from barograph.bins import Bins, BinSet, CategoryBins, NumericBins
from barograph.cells import CellMap
from barograph.drift import ColumnReference, Merge
from barograph.profile import Profile
from barograph.reference import Reference

LONGEST = 40  # characters of the name of a cell that holds several categories


@dataclass(frozen=True, eq=False)
class CoarseReference:
    """A reference whose bins are the cells that /metrics shows of `original` (without its hours).

    `slots` is where each (column, cell) lies in `reference.bins`; `merge` adds counts over the original bins up to it;
    `typical` float64[size] is a value that stands for all of its cell: the reference's mean there. Cells are bins of their
    own, with an id of their own. Where a cell lies on both sides of another, such as of the one of exactly 0, it is counted
    where most of it was, and the other part stays empty.

    >>> reference = Reference.fit({"x": [1.0, 2.0, 3.0, None]}, task="regression")
    >>> coarse = CoarseReference.of(reference)
    >>> int(coarse.reference.baseline.counts[coarse.slots["x", "missing"]])
    1
    """

    original: Reference
    reference: Reference
    slots: Mapping[tuple[str, str], int]
    merge: Merge

    @classmethod
    def of(cls, reference: Reference) -> "CoarseReference":
        """Merge a reference's counts to cells: the period's, its hours', and those of the training set."""
        fine = reference.bins
        cells = CellMap.of(fine, reference.baseline.counts, threshold=reference.threshold)
        columns: dict[str, Bins] = {}
        index = np.zeros(fine.size, dtype=np.intp)
        start = 0
        for name, bins in fine.columns.items():
            where = fine.slice(name)
            column, places = _column(bins, cells.index[where], reference.baseline.counts[where])
            columns[name], index[where] = column, start + places
            start += column.size
        coarse = BinSet(columns, fine.roles)
        merge = Merge.of(np.arange(fine.size), index, coarse.size)
        windows = reference.windows
        found = replace(
            reference,
            bins=coarse,
            baseline=_merged(reference.baseline, coarse, merge),
            training=None if reference.training is None else _merged(reference.training, coarse, merge),
            windows=None if windows is None else replace(windows, counts=merge(windows.counts)),
            labelled=None,  # outcomes are counted over the bins, and those are others now
        )
        first = np.unique(cells.index, return_index=True)[1]
        slots = {
            (name, cell): int(index[slot])
            for (name, _, cell), slot in zip(cells.lines, first.tolist(), strict=True)
        }
        return cls(replace(reference, windows=None), found, slots, merge)

    @cached_property
    def typical(self) -> np.ndarray:
        """float64[size]: what stands for the values of each slot; 0 where it holds none."""
        bins, baseline = self.reference.bins, self.reference.baseline
        found = np.zeros(bins.size)
        for name, column in bins.columns.items():
            if isinstance(column, NumericBins):
                start = bins.offsets[name]
                means = ColumnReference(column, *baseline.column(name)).means
                found[start : start + column.values] = means
        return found


def _merged(profile: Profile, bins: BinSet, merge: Merge) -> Profile:
    with np.errstate(over="ignore", invalid="ignore"):
        return Profile(bins, profile.rows, merge(profile.counts), merge(profile.sums))


def _column(bins: Bins, lines: np.ndarray, counts: np.ndarray) -> tuple[Bins, np.ndarray]:
    """A column's cells as bins, and the slot of each fine slot among them. `lines` tell cells apart."""
    if isinstance(bins, CategoryBins):
        return _categories(bins, lines)
    return _numbers(bins, lines, counts)


def _numbers(bins: NumericBins, lines: np.ndarray, counts: np.ndarray) -> tuple[NumericBins, np.ndarray]:
    values = lines[: bins.values]
    cuts = np.flatnonzero(values[1:] != values[:-1])
    coarse = NumericBins(bins.edges[cuts], bins.low, bins.high)
    runs = np.searchsorted(cuts, np.arange(bins.values), side="left")
    mass = np.bincount(runs, weights=counts[: bins.values], minlength=coarse.values)
    index = np.empty(bins.size, dtype=np.intp)
    for line in np.unique(values):
        here = np.flatnonzero(values == line)
        among = np.unique(runs[here])
        index[here] = among[np.argmax(mass[among])]
    index[bins.missing], index[bins.invalid] = coarse.missing, coarse.invalid
    return coarse, index


def _categories(bins: CategoryBins, lines: np.ndarray) -> tuple[CategoryBins, np.ndarray]:
    labels, known = bins.labels(), lines[: bins.values]
    alone = bool(np.sum(known == known[bins.other]) == 1)
    order = [line for line in dict.fromkeys(known.tolist()) if not (alone and line == known[bins.other])]
    names: dict[int, str] = {}
    for line in order:
        name = _named([labels[slot] for slot in np.flatnonzero(known == line)])
        names[line] = name if name not in names.values() else f"{name} ({len(names) + 1})"
    coarse = CategoryBins(tuple(names.values()), open=bins.open)
    places = {line: i for i, line in enumerate(order)}
    index = np.array([places.get(line, coarse.other) for line in lines.tolist()], dtype=np.intp)
    index[bins.unseen], index[bins.missing], index[bins.invalid] = (
        coarse.unseen,
        coarse.missing,
        coarse.invalid,
    )
    return coarse, index


def _named(categories: Iterable[str]) -> str:
    """A cell's categories as one text: all of them where they are short."""
    listed = list(categories)
    text = ", ".join(listed)
    return text if len(text) <= LONGEST or len(listed) == 1 else f"{listed[0]} and {len(listed) - 1} more"
