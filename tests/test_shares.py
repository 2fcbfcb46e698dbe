"""A reference as gauges: shares by cell that add up, in order, and what falls into each."""

import numpy as np
import pytest

from barograph import Reference, naming
from barograph.cells import CellMap
from barograph.drift import ColumnReference
from barograph.shares import reference_gauges
from world import reference

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def known() -> Reference:
    return reference()


def ratios(known: Reference, column: str) -> dict[str, tuple[dict[str, str], float]]:
    """The gauges of a column by cell."""
    return {
        labels["cell"]: (labels, value)
        for metric, labels, value in reference_gauges(known)
        if metric is naming.REFERENCE_RATIO and labels["column"] == column
    }


def test_shares_of_every_column_add_up_to_1(known):
    for name in known.bins.columns:
        assert sum(value for _, value in ratios(known, name).values()) == pytest.approx(1)


def test_there_is_a_gauge_for_each_line_on_metrics(known):
    cells = CellMap.of(known.bins, known.baseline.counts, threshold=known.threshold)
    assert {(c, cell) for c, _, cell in cells.lines} == {
        (name, cell) for name in known.bins.columns for cell in ratios(known, name)
    }


def test_shapes_add_up_to_the_cells_over_which_drift_is_judged(known):
    for name, bins in known.bins.columns.items():
        own = ColumnReference(bins, *known.baseline.column(name))
        by_shape = dict.fromkeys((*map(naming.cell_label, range(16)), naming.MISSING, naming.UNSEEN), 0.0)
        for labels, value in ratios(known, name).values():
            by_shape[labels["shape"]] += value
        assert list(by_shape.values()) == pytest.approx(own.shares.tolist())


def test_rows_are_those_of_the_reference(known):
    rows = {
        labels["column"]: v
        for metric, labels, v in reference_gauges(known)
        if metric is naming.REFERENCE_ROWS
    }
    assert rows == dict.fromkeys(known.bins.columns, float(known.baseline.rows))


def test_values_say_what_falls_into_a_cell():
    frame = {
        "hours": np.tile(np.arange(1, 6), 200),
        "amount": RNG.normal(100, 1, 1000),
        "kind": ["a", "b"] * 500,
        "name": [f"customer {i}" for i in range(1000)],
    }
    known = Reference.fit(frame, task="regression")
    texts = {
        n: {c: labels["values"] for c, (labels, _) in ratios(known, n).items()} for n in known.bins.columns
    }
    assert {"1", "2", "3", "4", "5"} <= set(texts["hours"].values())
    assert texts["amount"]["zero"] == "0" and texts["amount"]["sentinel"] == "-1"
    assert texts["amount"]["below"].startswith("below ") and texts["amount"]["above"].endswith(" and more")
    assert "a" in texts["kind"].values() and texts["kind"]["unseen"] == "unseen"
    assert not [t for t in texts["name"].values() if "customer" in t]  # names are not told


def test_positions_follow_the_values():
    known = Reference.fit({"amount": RNG.normal(0, 1, 5000)}, task="regression")
    ordered = sorted(ratios(known, "amount").values(), key=lambda one: one[0]["position"])
    numbered = [labels["cell"] for labels, _ in ordered]
    assert numbered[0] == "below" and numbered[-2:] == ["missing", "invalid"]
    cells = [cell for cell in numbered if cell.startswith("c")]
    assert cells == sorted(cells) and len({labels["position"] for labels, _ in ordered}) == len(ordered)


def test_many_categories_are_shortened():
    names = [f"quite a long category {i:02d}" for i in range(40)]
    known = Reference.fit({"kind": RNG.choice(names, 4000).tolist()}, task="regression")
    texts = [labels["values"] for labels, _ in ratios(known, "kind").values()]
    assert any("more" in text for text in texts)
    assert max(map(len, texts)) <= 60


def test_gauges_are_made_once_for_a_reference(known):
    assert reference_gauges(known) is reference_gauges(known)
