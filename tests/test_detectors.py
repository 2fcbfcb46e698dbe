"""The field's usual rules say what scipy and paper say; a month gives all detectors the same rows; the table in the docs is whole."""

import re
from dataclasses import replace

import numpy as np
import pytest
from benchmarks import alarms, detectors
from benchmarks.detector_peers import EVIDENTLY, Month
from benchmarks.detector_rules import FLOOR, Hours, _chi_square, _critical, _ks, _psi, ks, mean, psi
from benchmarks.detectors import DETECTORS, FAULTS, Found, Judged, Task
from benchmarks.estimate import NANNYML
from benchmarks.streams import KINDS, LIVE, MONTH, ordinary
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from barograph.bins import CategoryBins, numeric_bins

TASK = Task("iid", 100, 0, peers=False)
CATEGORIES = CategoryBins(("a", "b", "c"))


def numbers(values: np.ndarray) -> Hours:
    bins = numeric_bins(np.linspace(-4, 4, 50))
    counts = [np.bincount(bins.index(row), minlength=bins.size) for row in values]
    return Hours(bins, np.array(counts), values)


def categories(*counts: list[int]) -> Hours:
    """Hours of a, b, c, rare, new, missing."""
    return Hours(CATEGORIES, np.array([[*row, 0] for row in counts]))


@pytest.fixture
def drawn() -> tuple[Hours, Hours]:
    rng = np.random.default_rng(0)
    reference, live = rng.normal(size=(40, 60)), rng.normal(0.3, 1, size=(9, 60))
    reference[rng.random(reference.shape) < 0.05] = np.nan
    live[rng.random(live.shape) < 0.2] = np.nan
    return numbers(reference), numbers(live)


def test_ks_is_scipys_on_the_values_that_are_there(drawn):
    reference, live = drawn
    far, n = _ks(reference, live)
    known = reference.values[~np.isnan(reference.values)]
    for i, row in enumerate(live.values):
        told = stats.ks_2samp(known, row[~np.isnan(row)], method="asymp")
        assert far[i] == pytest.approx(told.statistic, abs=1e-12)
        assert ks(reference, live)[i] == (told.pvalue < 0.05)
    assert 0 < ks(reference, live).sum() < len(live.values)
    assert stats.kstwo.sf(_critical(int(n[0])), n[0]) == pytest.approx(0.05)


@given(
    st.lists(st.integers(0, 5), min_size=6, max_size=6), st.lists(st.integers(0, 5), min_size=20, max_size=20)
)
def test_ks_distance_is_scipys_where_values_are_equal(live, reference):
    a, b = np.array([reference], dtype=float), np.array([live], dtype=float)
    assert _ks(numbers(a), numbers(b))[0][0] == pytest.approx(stats.ks_2samp(a[0], b[0]).statistic, abs=1e-12)


def test_an_hour_without_values_is_in_nobodys_alarm_but_psis(drawn):
    reference, _ = drawn
    empty = numbers(np.full((1, 60), np.nan))
    assert not ks(reference, empty)[0] and not mean(reference, empty)[0]
    assert psi(reference, empty)[0]


def test_chi_square_is_scipys_without_missing_values_and_without_empty_categories():
    reference = categories([300, 200, 0, 4, 0, 50], [290, 220, 0, 6, 0, 40])
    live = categories([30, 20, 0, 0, 2, 9], [15, 40, 0, 0, 0, 0], [0, 0, 0, 0, 0, 60])
    whole = [590, 420, 10]
    for i, row in enumerate(([30, 20, 2], [15, 40, 0])):
        told = stats.chi2_contingency([whole, row], correction=False).pvalue
        assert _chi_square(reference, live)[i] == pytest.approx(told)
    assert ks(reference, live).tolist() == [False, True, False]


def test_psi_is_what_paper_says():
    reference = categories([50, 30, 20, 0, 0, 0])
    live = categories([50, 30, 20, 0, 0, 0], [20, 30, 50, 0, 0, 0])
    by_hand = (0.2 - 0.5) * np.log(0.2 / 0.5) + (0.5 - 0.2) * np.log(0.5 / 0.2)
    assert _psi(reference, live) == pytest.approx([0.0, by_hand])
    renamed = categories([50, 30, 0, 0, 20, 0])
    gone = (FLOOR - 0.2) * np.log(FLOOR / 0.2) + (0.2 - FLOOR) * np.log(0.2 / FLOOR)
    assert _psi(reference, renamed) == pytest.approx([gone])
    assert psi(reference, live).tolist() == [False, True] and psi(reference, renamed)[0]


def test_psi_of_numbers_counts_deciles_and_missing_values():
    reference = numbers(np.arange(100.0).reshape(1, 100))
    rows = np.concatenate([np.repeat(np.arange(10) * 10.0 + 5, 8), np.full(20, np.nan)])[None]
    by_hand = 10 * (0.08 - 0.1) * np.log(0.08 / 0.1) + (0.2 - FLOOR) * np.log(0.2 / FLOOR)
    assert _psi(reference, numbers(rows)) == pytest.approx([by_hand])


def test_a_mean_is_in_alarm_beyond_three_deviations_of_the_hourly_means_either_way():
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(200, 50))
    middle, spread = reference.mean(axis=1).mean(), reference.mean(axis=1).std(ddof=1)
    live = np.array([[middle + by * spread] * 50 for by in (2.9, 3.1, -2.9, -3.1)])
    assert mean(numbers(reference), numbers(live)).tolist() == [False, True, False, True]
    assert not mean(categories([9, 1, 0, 0, 0, 0]), categories([0, 9, 0, 0, 0, 1])).any()


def test_drawn_rows_have_the_counts_of_their_hours():
    stream = ordinary("trend", 1, 100, None, columns=8, live=24)
    for name in stream.latent:
        whole = detectors.hours_of(stream, name, np.random.default_rng(0))
        counts = [np.bincount(whole.bins.index(row), minlength=whole.bins.size) for row in whole.values[:50]]
        assert np.array_equal(counts, stream.counts[:50, stream.bins.slice(name)])
        assert np.nanstd(
            whole.values[:MONTH] - detectors._means(stream, name)[:MONTH, None]
        ) == pytest.approx(1, abs=0.02)


@pytest.fixture(scope="module")
def faulty():
    """A month of few columns, its faults, and what their columns hold."""
    stream = ordinary("iid", 3, 400, None, columns=6)
    month = alarms.live(stream)
    drawn = list(detectors.faults(stream, 3))
    rng = np.random.default_rng(0)
    whole = {name: detectors.hours_of(stream, name, rng) for name in stream.names}
    return stream, month, drawn, [detectors.wrong(stream, f, whole[f.column], rng) for f in drawn], whole


def test_a_fault_is_in_the_rows_as_it_is_in_the_counts(faulty):
    _, _, drawn, wrongs, whole = faulty
    assert {f.name for f in drawn} == set(FAULTS) and len(drawn) == len(FAULTS) * alarms.TRIES
    for fault, hours in zip(drawn, wrongs, strict=True):
        assert (hours.counts.sum(axis=1) == 400).all()
        if hours.values is not None:
            counts = [np.bincount(hours.bins.index(row), minlength=hours.bins.size) for row in hours.values]
            assert np.array_equal(counts, hours.counts)
        lost = hours.counts[:, hours.bins.missing].mean() / 400
        assert abs(lost - {"+20 missing": 0.216, "+5 missing": 0.07}.get(fault.name, 0.02)) < 0.06
        if fault.name == "x1000":
            assert np.nanmedian(hours.values) == pytest.approx(
                1000 * np.nanmedian(whole[fault.column].values[fault.at])
            )
        if fault.name == "shift":
            moved = np.nanmean(hours.values) - np.nanmean(whole[fault.column].values)
            assert moved == pytest.approx(0.5, abs=0.2)
        if fault.name == "rename":
            assert (hours.counts[:, hours.bins.unseen] > 400 * 0.02).all()


def test_barograph_is_judged_by_the_lanes_that_docs_alarms_counts(faulty):
    _, month, drawn, wrongs, _ = faulty
    said = detectors.by_barograph(month, drawn, wrongs)
    assert np.array_equal(said.clean, month.hours)
    found = detectors.summed(said, drawn)
    assert found["x1000 1"] == (6.0, 6) and found["before"][0] <= 1
    assert found["alarms"] == (float(alarms.episodes(month.hours.any(axis=1))), 1)


def test_rows_for_other_environments_are_read_as_they_were_written(faulty, tmp_path):
    stream, _, drawn, wrongs, whole = faulty
    columns = {name: detectors.coded(hours)[:, :7] for name, hours in whole.items()}
    detectors.as_rows(stream, columns, drawn, wrongs).save(tmp_path / "month.npz")
    read = Month.load(tmp_path / "month.npz")
    assert read.hours == LIVE and read.fault_columns == tuple(f.column for f in drawn)
    assert read.categories == ("c1", "c3", "prediction")
    for name in stream.names:
        assert np.array_equal(read.columns[name], columns[name], equal_nan=True)
    for fault, hours, at in zip(drawn, wrongs, read.faults, strict=True):
        assert np.isnan(at).sum() == hours.counts[:, hours.bins.missing].sum(), fault


def test_a_category_that_is_rare_or_new_is_like_no_other_row():
    hours = categories([2, 0, 1, 2, 0, 1], [1, 1, 0, 0, 3, 1])
    first, second = detectors.coded(hours), detectors.coded(hours, detectors.FRESH)
    assert np.array_equal(first[:, :3], [[0, 0, 2], [0, 1, first[1, 2]]])
    assert np.isnan(first[:, 5]).all() and not np.isnan(first[:, :5]).any()
    rare = np.concatenate([first[0, 3:5], first[1, 2:5], second[0, 3:5], second[1, 2:5]])
    assert len(set(rare.tolist())) == 10 and rare.min() >= CATEGORIES.size


def test_alarms_a_month_are_counted_only_where_every_hour_was_judged(faulty):
    _, _, drawn, _, _ = faulty
    clean = np.zeros((LIVE, 3), dtype=bool)
    clean[[5, 6, 40], 1] = clean[7, 2] = True
    none = np.zeros((len(drawn), 2), dtype=bool)
    found = detectors.summed(Judged(np.arange(LIVE), clean, none, none), drawn)
    assert (
        found["alarms"] == (2.0, 1) and found["column alarms"] == (3.0, 1) and found["windows"] == (4.0, LIVE)
    )
    some = detectors.summed(Judged(np.arange(0, LIVE, 9), clean[::9], none, none), drawn)
    assert "alarms" not in some and some["windows"][1] == LIVE / 9


def test_a_peer_that_is_not_there_says_why_in_its_row(monkeypatch, faulty):
    _, _, drawn, _, _ = faulty
    why = "not measured: it could not be installed: no route"
    monkeypatch.setattr(
        detectors, "environments", lambda: dict.fromkeys(("evidently", "nannyml"), (None, why))
    )
    month = Month(0, {}, (), (), np.zeros(0, dtype=int), ())
    found, versions = detectors.by_peers(month, drawn)
    assert found == dict.fromkeys(DETECTORS[4:], why) and versions == {}
    table = detectors.whole([Found(TASK, found, versions)])
    assert table.count(why) == 3 and "| 100 | iid | NannyML |" in table


def test_a_page_says_where_another_finds_more_and_what_it_costs():
    quiet = {"windows": (0.0, 720), "alarms": (0.0, 1), "before": (0.0, 30)}
    loud = {"windows": (720.0, 720), "alarms": (1.0, 1), "before": (27.0, 30)}
    ours = quiet | {f"{fault} {n}": (1.0, 6) for fault in FAULTS for n in (1, 2)}
    theirs = loud | ours | loud | {"shift 2": (6.0, 6)}
    said = detectors.better([Found(TASK, {"barograph": ours, "PSI > 0.2": theirs}, {})])
    assert "**PSI > 0.2** finds mean + 0.5 sd in 100% (barograph 17%)" in said
    assert "100.0% of ordinary windows" in said and "90% of the tries" in said
    assert (
        detectors.better([Found(TASK, {"barograph": theirs, "PSI > 0.2": ours}, {})])
        == "Nowhere in this run."
    )


def test_a_month_is_judged_by_every_rule_that_needs_no_environment(monkeypatch):
    monkeypatch.setattr(detectors, "COLUMNS", 12)
    found = detectors.judged(replace(TASK, rows=500), None)
    assert set(found.figures) == set(DETECTORS[:4])
    windows = {name: figures["windows"][0] / figures["windows"][1] for name, figures in found.figures.items()}
    assert (
        windows["barograph"] < 0.02 and 0.005 < windows["mean ± 3 sd"] < 0.1 and windows["KS p < .05"] > 0.25
    )
    assert all(figures["x1000 2"] == (6.0, 6) for figures in found.figures.values())
    assert found.figures["mean ± 3 sd"]["rename 2"] == (0.0, 6)


def test_the_table_in_the_docs_has_a_row_for_each_detector_kind_and_size():
    text = (detectors.ROOT / "docs" / "detectors.md").read_text("utf-8")
    assert "make bench-detectors" in text
    assert "\nbench-detectors:" in (detectors.ROOT / "Makefile").read_text("utf-8")
    for n, months in detectors.MONTHS.items():
        for detector in DETECTORS[: 7 if n in detectors.PEER_MONTHS else 4]:
            lived = months if detector in DETECTORS[:4] else detectors.PEER_MONTHS[n]
            assert text.count(f"| {n:,} | {detector} | {lived * len(KINDS)} |") == 1
            for kind in KINDS:
                (line,) = (x for x in text.splitlines() if x.startswith(f"| {n:,} | {kind} | {detector} |"))
                assert re.search(r"\| \d+\.\d% \|", line) and line.count("% / ") == len(FAULTS)
    assert "not measured" not in text
    for version in (EVIDENTLY[0], NANNYML[0]):
        assert version.partition("==")[2] in text
