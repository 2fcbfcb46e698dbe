"""Row 5: signals and measures of all columns over a week of hours, from counts."""

import time

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from barograph import Reference
from barograph.drift import MEASURES, ColumnReference, Columns, signals
from benchmarks import model
from benchmarks.measure import Budget, Result, Scale, median, number

HOURS, ROWS = 168, 500


def measure(scale: Scale) -> list[Result]:
    """The row, beside scipy's measures of one column and one window at a time."""
    rng = np.random.default_rng(3)
    reference = model.reference(rng)
    names = (*model.numbers, *model.categories)
    ours, theirs = [], []
    for repeat in range(min(scale.repeats, 9)):
        windows = counts(reference, rng)
        start = time.process_time()
        drift(reference, names, windows)
        ours.append(time.process_time() - start)
        if repeat < max(scale.repeats // 10, 1):
            start = time.process_time()
            one_by_one(reference, names, windows)
            theirs.append(time.process_time() - start)
    used = median(ours)
    return [
        Result(
            row=f"drift of {len(names)} columns in {HOURS} hourly windows, counts given",
            ours=f"{number(used)} CPU s: five signals, PSI, Jensen-Shannon",
            peers=f"scipy, one column and one window at a time, PSI and Jensen-Shannon only: "
            f"{number(median(theirs))} CPU s",
            budgets=[Budget("CPU", used, 0.05, " s")],
            figures={"cpu_s": used, "scipy_cpu_s": median(theirs), "slots": reference.bins.size},
        )
    ]


def counts(reference: Reference, rng: np.random.Generator) -> np.ndarray:
    """int64[HOURS, slots]: windows like the reference, each drawn anew."""
    found = np.zeros((HOURS, reference.bins.size), dtype=np.int64)
    for name in reference.bins.columns:
        own = reference.baseline.column(name)[0]
        found[:, reference.bins.slice(name)] = rng.multinomial(ROWS, own / own.sum(), size=HOURS)
    return found


def drift(reference: Reference, names: tuple[str, ...], windows: np.ndarray) -> None:
    """From a reference as it is loaded, and the counts of windows, to signals and measures of every column."""
    columns = Columns.of(reference.bins, reference.baseline.counts, reference.baseline.sums)
    signals(columns, columns.totals(windows))
    for name in names:
        column, where = columns.references[name], reference.bins.slice(name)
        for measured in ("psi", "jensen_shannon"):
            MEASURES[measured](column, windows[:, where])


def one_by_one(reference: Reference, names: tuple[str, ...], windows: np.ndarray) -> None:
    """The same two measures as a script would write them with scipy."""
    for name in names:
        own = ColumnReference(reference.bins.columns[name], reference.baseline.column(name)[0])
        expected = own.smoothed
        for window in windows[:, reference.bins.slice(name)]:
            seen = (own.merge(window) + 0.5) / (window.sum() + 0.5 * len(expected))
            entropy(seen, expected) + entropy(expected, seen)
            jensenshannon(seen, expected, base=2)
