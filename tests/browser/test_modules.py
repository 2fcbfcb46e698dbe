"""The console's pure functions, called in the browser that runs them."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import checks
from playwright.sync_api import Browser

NBSP = "\u00a0"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def call(browser: Browser, fixture_url: str) -> Iterator[Callable[..., Any]]:
    """Calls an exported function of a module with JSON arguments."""
    with checks.console_page(browser) as page:
        checks.open_page(page, fixture_url)

        def run(module: str, function: str, *arguments: Any) -> Any:
            return page.evaluate(
                "async ([module, name, args]) => (await import(`/static/${module}.js`))[name](...args)",
                [module, function, list(arguments)],
            )

        yield run


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (7.12, "7.12"),
        (0.02134, "0.0213"),
        (412317, "412,317"),
        (1234.56, "1,235"),
        (-120, "−120"),
        (1e-9, "1.00e−9"),
    ],
)
def test_numbers_have_three_digits_separators_and_a_true_minus(
    call: Callable[..., Any], value: float, text: str
) -> None:
    assert call("format", "number", value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.069, "share", f"6.9{NBSP}%"),
        (0.00002, "share", f"under 0.01{NBSP}%"),
        (0, "share", f"0{NBSP}%"),
        (0.038, "seconds", f"38{NBSP}ms"),
        (1.5, "seconds", f"1.5{NBSP}s"),
        (600, "seconds", f"10{NBSP}min"),
        (7.1, "requests/s", f"7.1{NBSP}requests/s"),
        (2140, "count", "2,140"),
        (None, "share", "–"),
    ],
)
def test_values_carry_the_unit_that_fits_them(
    call: Callable[..., Any], value: float, unit: str, text: str
) -> None:
    assert call("format", "quantity", value, unit) == text


def test_axis_numbers_are_short(call: Callable[..., Any]) -> None:
    assert [call("format", "compact", v) for v in (0.1, 950, 1000, 1_500_000, -20_000)] == [
        "0.1", "950", f"1{NBSP}k", f"1.5{NBSP}M", f"−20{NBSP}k",
    ]  # fmt: skip


def test_times_name_the_day_only_where_it_is_another(call: Callable[..., Any]) -> None:
    noon = 1381752000  # 14 Oct 2013, 12:00 UTC
    assert call("format", "moment", noon - 3600, noon) == "11:00"
    assert call("format", "moment", noon - 86400, noon) == f"13{NBSP}Oct, 12:00"
    assert call("format", "fullTime", noon) == f"14{NBSP}Oct 2013, 12:00{NBSP}UTC"
    assert [call("format", "duration", s) for s in (5, 90, 4380, 7200, 90000, 3 * 86400)] == [
        f"5{NBSP}s", f"2{NBSP}min", f"1{NBSP}h 13{NBSP}min", f"2{NBSP}h", f"1{NBSP}day", f"3{NBSP}days",
    ]  # fmt: skip


def test_a_sentence_keeps_percent_signs_with_numbers_and_says_times_as_people_do(
    call: Callable[..., Any],
) -> None:
    assert call("format", "unbroken", "31 % late, 4% empty") == f"31{NBSP}% late, 4{NBSP}% empty"
    assert (
        call("format", "unbroken", "Since 2013-10-14T12:05:00Z.")
        == f"Since 14{NBSP}Oct 2013, 12:05{NBSP}UTC."
    )


def test_only_unmistakable_names_and_names_in_backticks_become_names(call: Callable[..., Any]) -> None:
    parts = call(
        "sentence",
        "splitNames",
        "In the last hour `hour` moved, dep_delay and xdep_delay too",
        ["hour", "dep_delay"],
    )
    assert [part["text"] for part in parts if part["name"]] == ["hour", "dep_delay"]
    assert (
        "".join(part["text"] for part in parts) == "In the last hour hour moved, dep_delay and xdep_delay too"
    )


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [(0, 10, 2, [0, 5, 10]), (0, 0.24, 3, [0, 0.1, 0.2]), (-3, 3, 3, [-2, 0, 2]), (5, 5, 3, [5])],
)
def test_axis_marks_are_round(
    call: Callable[..., Any], low: float, high: float, count: int, ticks: list[float]
) -> None:
    assert call("charts/scales", "niceTicks", low, high, count) == ticks


def test_only_the_server_knows_where_nothing_was_reported(call: Callable[..., Any]) -> None:
    times = [60 * k for k in range(10)]
    values = [1, 1, None, None, 1, 1, 1, 1, 1, 1]
    assert call("charts/gaps", "findGaps", times, values, 0, 900, []) == []
    named = [{"from": 100, "to": 200, "text": "restart"}]
    assert call("charts/gaps", "findGaps", times, values, 0, 540, named) == named
    assert call("charts/gaps", "absence", 180, named) == "no data"
    assert call("charts/gaps", "absence", 240, named) == "too few rows"
    assert call("charts/gaps", "absence", 240, named, "too few labels") == "too few labels"


def test_a_point_without_a_value_outside_of_a_gap_had_too_few_rows(call: Callable[..., Any]) -> None:
    times = [60 * k for k in range(6)]
    values = [None, 1, None, None, 1, 1]
    assert call("charts/gaps", "findThin", times, values, []) == [
        {"from": 0, "to": 60},
        {"from": 60, "to": 240},
    ]
    gap = [{"from": 60, "to": 180}]
    assert call("charts/gaps", "findThin", times, values, gap) == [{"from": 0, "to": 60}]
    assert call("charts/gaps", "findThin", [], [], []) == []


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (2140, f"2,140{NBSP}/s"),
        (7.12, f"7.1{NBSP}/s"),
        (0.5, f"30{NBSP}/min"),
        (0.0113, f"41{NBSP}/h"),
        (0, "0"),
    ],
)
def test_a_rate_is_told_in_the_unit_that_reads_well(call: Callable[..., Any], rate: float, text: str) -> None:
    assert call("format", "requestRate", rate) == text


@pytest.mark.parametrize(
    ("value", "digits", "least", "text"),
    [
        (123456, 3, 0, "123,000"),
        (0.0213, 2, 0.001, "0.021"),
        (12.347, 2, 0.001, "12"),
        (2e-4, 2, 0.001, "under 0.001"),
        (2e-4, 3, 0, "0.0002"),
        (0, 2, 0.001, "0"),
        (None, 3, 0, "–"),
    ],
)
def test_a_measure_has_three_figures_at_most(
    call: Callable[..., Any], value: float, digits: int, least: float, text: str
) -> None:
    assert call("format", "figure", value, digits, least) == text


def test_a_gap_that_the_server_names_is_none_where_a_chart_has_values(call: Callable[..., Any]) -> None:
    assert call("charts/gaps", "findGaps", [0, 60, 120], [1, 1, 1], 0, 120, [{"from": 30, "to": 90}]) == []


def panel(y: list[float | None], **more: Any) -> dict[str, Any]:
    base = {
        "unit": "",
        "series": [{"name": "", "y": y, "role": "main"}],
        "bands": [],
        "usual": None,
        "limits": None,
        "zero": True,
    }
    return base | more


ABOVE = {"watch": 8, "act": 12, "worse": "high"}
BELOW = {"watch": 2, "act": -20, "worse": "low"}


@pytest.mark.parametrize(
    ("y", "limits", "usual", "drawn"),
    [
        ([1, 2], ABOVE, (0, 3), []),
        ([1, 7], ABOVE, (0, 3), ["warn"]),
        ([1, 12], ABOVE, (0, 3), ["warn", "crit"]),
        ([9, 1], BELOW, (8, 10), ["warn"]),
        ([9, 9], BELOW, (8, 10), []),
        ([None, None], ABOVE, (0, 3), []),
    ],
)
def test_a_limit_is_near_when_the_data_comes_most_of_the_way(
    call: Callable[..., Any],
    y: list[float | None],
    limits: dict[str, Any],
    usual: tuple[float, float],
    drawn: list[str],
) -> None:
    band = {"lo": [usual[0]] * 2, "hi": [usual[1]] * 2}
    near = call("charts/domain", "nearLimits", panel(y, limits=limits, usual=band))
    assert [limit["tone"] for limit in near] == drawn


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "linear"),
        ([1, 10, 1000], "log"),
        ([-120, -2, 3, 4, 5, 5000], "symlog"),
        ([0, 0, 0], "linear"),
        ([], "linear"),
    ],
)
def test_the_scale_follows_the_spread_of_values(
    call: Callable[..., Any], values: list[float], kind: str
) -> None:
    assert call("charts/domain", "scaleKind", values) == kind


def test_labels_push_apart_and_stay_within_bounds(call: Callable[..., Any]) -> None:
    placed = call(
        "charts/layout", "pushApart", [{"y": 50}, {"y": 52}, {"y": 51}, {"y": 98}, {"y": 99}], 4, 100
    )
    positions = [label["y"] for label in placed]
    assert all(b - a >= 13 for a, b in pairwise(positions))
    assert positions[0] >= 4 and positions[-1] <= 100


def test_lines_break_at_nulls_and_lone_points_stay_visible(call: Callable[..., Any]) -> None:
    assert call("charts/paths", "linePath", [0, 1, 2, 3], [5, None, 7, 8]) == "M-3 5h6M2 7L3 8"
    assert (
        call("charts/paths", "areaPath", [0, 1, 2, 3], [1, 1, None, 1], [2, 2, 2, 2]) == "M0 2L1 2L1 1L0 1Z"
    )


def test_the_find_box_ranks_beginnings_first(call: Callable[..., Any]) -> None:
    names = [
        {"name": "flight-delay", "columns": ["delay", "dep_delay"]},
        {"name": "delivery-eta", "columns": ["distance"]},
    ]
    hits = call("find", "search", names, "de", "flight-delay")
    assert [hit["text"] for hit in hits] == ["delivery-eta", "delay", "dep_delay", "flight-delay"]
    assert call("find", "search", names, "zzz", None) == []
    everything = call("find", "search", names, "", "flight-delay")
    assert [hit["text"] for hit in everything] == ["flight-delay", "delivery-eta", "delay", "dep_delay"]
