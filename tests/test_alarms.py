"""Whole months in all lanes, with the weekly refresh: few alarms where nothing happened, and faults found under the same lines.

The limits are looser than those of `make bench-alarms`, whose table is docs/alarms.md.
"""

import numpy as np
import pytest
from benchmarks import alarms
from benchmarks.alarms import Found, Task, calm, detected, episodes, live, lived
from benchmarks.streams import LIVE, MONTH, ordinary, triple

from barograph.lanes import DAILY, FIVE_MINUTES, HOURLY, JUMP


@pytest.fixture(scope="module")
def month():
    return live(ordinary("trend", 3, 3_000, None, columns=8, live=14 * 24))


def test_a_month_is_judged_in_all_lanes_and_its_lines_are_refreshed_each_week(month):
    assert set(month.alarms) == {FIVE_MINUTES.name, JUMP.name, HOURLY.name, DAILY.name}
    assert [begin for begin, _ in month.lines] == [0, 168]
    assert month.at(167)["1h"].first is None and month.at(168)["1h"].first is not None
    assert {name: len(found["L"]) for name, found in month.alarms.items()} == {
        "5m": 14 * 288,
        "jump": 14 * 288,
        "1h": 336,
        "1d": 14,
    }


def test_jumps_are_judged_through_the_refresh_but_for_the_first_half_hour(month):
    known = np.isfinite(month.ratios["jump"]["L"])
    outputs = [month.stream.names.index(name) for name in ("score", "prediction")]
    assert known[5:, outputs].all() and not known[:5].any() and known.sum() == 2 * (14 * 288 - 5)


@pytest.mark.parametrize("column", ["score", "prediction"])
def test_a_jump_within_a_season_is_found_in_a_quarter_of_an_hour(month, column):
    stream, found = month.stream, []
    for hour in range(200, 230):
        if column == "score":
            shares = stream.shifted(column, np.array([MONTH + hour]), 0.5)[0]
        else:
            shares = triple(stream.kinds[column], stream.shares[column][MONTH + hour].copy())
        found.append(alarms.quarter(month, hour, column, shares))
    assert np.mean(found) > (0.9 if column == "score" else 0.5)


def test_without_2400_rows_an_hour_there_are_no_five_minutes():
    short = live(ordinary("iid", 1, 1_000, None, columns=4, live=48))
    assert set(short.alarms) == {HOURLY.name, DAILY.name}


def test_two_ordinary_weeks_raise_at_most_two_alarms_and_stand_in_few_windows(month):
    figures = calm(month)
    assert figures["alarms"][0] <= 2
    windows, n = figures["windows"]
    assert windows / n < 0.02


def test_alarms_less_than_six_hours_apart_are_one():
    hours = np.zeros(48, dtype=bool)
    hours[[3, 4, 10, 20]] = True
    assert episodes(hours) == 2
    assert episodes(np.zeros(5, dtype=bool)) == 0


def test_rows_drawn_from_a_stream_have_its_shares():
    stream = ordinary("iid", 2, 1_000, None, columns=10, live=24)
    rows = stream.values(MONTH + 3, 4000)
    profile = stream.reference().profile({**rows, "score": rows["score"], "prediction": rows["prediction"]})
    for name in stream.names[:4]:
        counts = profile.counts[stream.bins.slice(name)]
        expected = 4000 * stream._live(name)[MONTH + 3]
        assert counts.sum() == 4000
        assert (np.abs(counts - expected) < 6 * np.sqrt(expected + 4)).all()


def test_ordinary_novelty_is_unseen_in_live_hours_and_known_to_the_reference():
    stream = ordinary("iid", 2, 10_000, None, columns=20, live=24)
    assert stream.novel
    for name in stream.novel:
        bins, counts = stream.kinds[name], stream.counts[:, stream.bins.slice(name)]
        assert counts[:MONTH, bins.unseen].sum() == 0 and counts[MONTH:, bins.unseen].sum() > 0
        assert stream.reference().windows.novel[name].max() > 0


def test_a_run_says_what_it_could_not_measure():
    found = [Found(Task("clean", "iid", 1_000, 0), {"alarms": (1.0, 1), "x1000 1": (5.0, 6)})]
    promises = {b.what: b.met for b in alarms.budgets(found, (0.5, 0.001))}
    assert promises["alarms a month, 1,000 rows an hour, worst kind"] is False
    assert promises["found: x1000, first window, 1,000 rows an hour"] is False
    assert promises["alarms in 14 days of warm-up, 1,000 rows an hour, worst kind"] is None
    assert promises["s to judge one window"] is True


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 1_000, 10_000])
def test_months_of_50_columns_keep_the_budget_and_find_faults(data, rows):
    totals = {}
    for kind in ("iid", "bike", "elec2", "trend"):
        for seed in range(3):
            one = live(ordinary(kind, seed, rows, data))
            for name, (total, n) in {**calm(one), **detected(one, seed)}.items():
                before = totals.get(name, (0.0, 0))
                totals[name] = (before[0] + total, before[1] + n)
    mean = {name: total / n for name, (total, n) in totals.items()}
    assert mean["alarms"] <= 1.0 and mean["windows"] <= 0.01 and mean["more"] <= 0.25
    assert mean["x1000 1"] >= 0.9
    if rows >= 1_000:
        assert mean["rename 2"] >= 0.9 and mean["+20 missing 2"] >= 0.8 and mean["+5 missing 2"] >= 0.6


@pytest.mark.slow
def test_a_version_that_learns_raises_few_alarms(data):
    found = [
        lived(Task("learning", kind, 1_000, seed), data) for kind in ("iid", "bike") for seed in range(3)
    ]
    assert sum(one.figures["warm-up"][0] for one in found) <= 2 * len(found)


@pytest.mark.slow
def test_a_drift_of_90_days_is_found_under_the_weekly_refresh(data):
    found = [
        lived(Task("drift", kind, 1_000, seed), data)
        for kind in ("iid", "bike", "elec2", "trend")
        for seed in range(2)
    ]
    assert np.mean([one.figures["drift"][0] for one in found]) >= 0.4


def test_a_stream_begins_where_its_seed_says(data):
    one, two = (ordinary("elec2", seed, 100, data, columns=4, live=24) for seed in (1, 1))
    assert np.array_equal(one.counts, two.counts)
    assert LIVE == 720


def test_the_table_in_the_docs_is_of_a_full_run_with_every_kind_and_size():
    text = (alarms.ROOT / "docs" / "alarms.md").read_text("utf-8")
    assert "make bench-alarms" in text and "20 months of each row" in text
    for kind in alarms.KINDS:
        for n in alarms.ROWS:
            assert text.count(f"| {kind} | {n:,} |") == 2
    promised = [line for line in text.splitlines() if line.startswith(("| ≤", "| ≥"))]
    assert len(promised) == 3 * len(alarms.LIMITS) + 2 * len(alarms.LEAST) + 2 * len(alarms.AT_ONCE) + 3
    assert all("not measured" not in line for line in promised)
