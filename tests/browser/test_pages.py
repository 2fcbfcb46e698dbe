"""The console's pages in a browser, over invented documents: every page, theme, width and state."""

import json
import re
from collections.abc import Callable

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import checks
from playwright.sync_api import Browser, Route, expect

pytestmark = pytest.mark.browser

APPEARANCES = [
    pytest.param("light", checks.DESKTOP, id="light-desktop"),
    pytest.param("dark", checks.PHONE, id="dark-phone"),
    pytest.param("dark", checks.DESKTOP, id="dark-desktop", marks=pytest.mark.slow),
    pytest.param("light", checks.PHONE, id="light-phone", marks=pytest.mark.slow),
]
PAGES = {
    "fleet": "/",
    "model": "/models/flight-delay?range=6h&at=1381771200",
    "feature": "/models/flight-delay/columns/dep_delay?range=6h",
    "incidents": "/incidents?id=INC-209",
}
STATES = {
    "a week": "/models/flight-delay?range=7d",
    "healthy": "/models/credit-limit",
    "no data": "/models/churn-weekly",
    "learning, too few rows": "/models/price-elasticity",
    "categories": "/models/flight-delay/columns/dest",
    "no change": "/models/flight-delay/columns/distance",
    "tables": "/models/flight-delay?range=6h&view=table",
}


@pytest.mark.parametrize(("theme", "viewport"), APPEARANCES)
def test_every_page_is_quiet_fits_and_can_be_read(
    browser: Browser, fixture_url: str, theme: str, viewport: dict[str, int]
) -> None:
    checks.check_appearances(browser, [fixture_url + path for path in PAGES.values()], theme, viewport)


@pytest.mark.parametrize(
    ("theme", "viewport"),
    [("light", checks.PHONE), ("dark", checks.DESKTOP)],
    ids=["light-phone", "dark-desktop"],
)
def test_every_state_is_quiet_fits_and_can_be_read(
    browser: Browser, fixture_url: str, theme: str, viewport: dict[str, int]
) -> None:
    checks.check_appearances(browser, [fixture_url + path for path in STATES.values()], theme, viewport)


@pytest.mark.parametrize(
    ("check", "path"),
    [
        (checks.check_keyboard, ""),
        (checks.check_theme_key, "/"),
        (checks.check_earlier_and_later, PAGES["model"]),
        (checks.check_chart_keys, "/models/flight-delay?range=6h"),
        (checks.check_table_view, "/models/flight-delay?range=6h"),
        (checks.check_disconnected, PAGES["model"]),
        (checks.check_missing, ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_behaviour(browser: Browser, fixture_url: str, check: Callable[..., None], path: str) -> None:
    with checks.console_page(browser) as page:
        check(page, fixture_url + path)


def test_the_fleet_names_what_needs_action_first(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, fixture_url)
        expect(page.locator("h1")).to_have_text("One model needs action, two are worth a look")
        first = page.locator("tbody tr").first
        expect(first).to_contain_text("flight-delay")
        expect(first).to_contain_text("Act now")
        assert page.title().startswith("Act now: ")
        coloured = page.locator("tbody tr[data-model=credit-limit] .raised")
        expect(coloured).to_have_count(0)


def test_an_empty_fleet_shows_the_lines_to_add(
    browser: Browser, fixture_url: str, settings: Callable[..., None]
) -> None:
    settings(fleet="empty")
    with checks.console_page(browser) as page:
        checks.check_appearance(page, fixture_url)
        expect(page.locator("pre")).to_contain_text("barograph.Monitor(")


def test_a_target_that_cannot_be_read_is_named(
    browser: Browser, fixture_url: str, settings: Callable[..., None]
) -> None:
    settings(fleet="unread")
    with checks.console_page(browser) as page:
        checks.check_appearance(page, fixture_url)
        expect(page.get_by_text("The target does not answer")).to_be_visible()
        expect(page.get_by_text("http://127.0.0.1:8701: connection refused")).to_be_visible()


def test_a_calm_fleet_has_nothing_to_do_and_no_alarm_colour(
    browser: Browser, fixture_url: str, settings: Callable[..., None]
) -> None:
    settings(fleet="calm")
    with checks.console_page(browser) as page:
        checks.check_appearance(page, fixture_url)
        expect(page.locator("h1")).to_have_text("Nothing to do")
        expect(page.locator(".raised, .glyph.crit, .glyph.warn, .count")).to_have_count(0)


def test_an_error_says_what_failed_and_what_is_unaffected(
    browser: Browser, fixture_url: str, settings: Callable[..., None]
) -> None:
    settings(fleet="broken")
    with checks.console_page(browser) as page:
        checks.open_page(page, fixture_url)
        expect(page.get_by_text("The store answered with a timeout after 5 s.")).to_be_visible()
        expect(page.get_by_text("Collection is not affected")).to_be_visible()
        settings(fleet="full")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("table.fleet")).to_be_visible()


def test_loading_is_grey_blocks_only_after_300_ms(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        page.route("**/api/fleet*", lambda route: None)  # never answered
        page.goto(fixture_url)
        blocks = page.locator(".skeleton")
        blocks.wait_for(state="attached")
        delay = blocks.evaluate("(e) => getComputedStyle(e).animationDelay")
        assert delay == "0.3s"
        expect(blocks).to_have_css("opacity", "1")
        assert page.locator("main svg").count() == 0


def test_new_data_redraws_charts_without_blanking_them(
    browser: Browser, fixture_url: str, settings: Callable[..., None]
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{fixture_url}/models/flight-delay?range=1h")
        page.evaluate(
            """() => {
              const charts = () => document.querySelectorAll('[data-panel] svg[role=img]').length;
              window.fewest = charts();
              window.node = document.querySelector('[data-panel] svg[role=img]');
              new MutationObserver(() => { window.fewest = Math.min(window.fewest, charts()); })
                .observe(document.body, {childList: true, subtree: true});
            }"""
        )
        before = page.locator(".now").inner_text()
        charts = page.evaluate("window.fewest")
        settings(minutes=7)
        page.evaluate("dispatchEvent(new Event('online'))")
        expect(page.locator(".now")).not_to_have_text(before)
        assert page.evaluate("window.fewest") == charts > 0
        assert page.evaluate("window.node.isConnected"), "the chart was replaced instead of updated"


def test_another_range_keeps_the_old_charts_until_the_new_ones_are_here(
    browser: Browser, fixture_url: str
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{fixture_url}/models/flight-delay?range=6h")
        page.route("**/api/models/**", lambda route: None)  # never answered
        page.get_by_role("button", name="7 d").click()
        expect(page.locator("main[aria-busy=true]")).to_have_count(1)
        assert page.locator("[data-panel] svg[role=img]").count() > 3
        assert "range=7d" in page.url


def test_an_unchanged_document_is_not_sent_again(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, fixture_url)
        with page.expect_response("**/api/fleet*") as answer:
            page.evaluate("dispatchEvent(new Event('online'))")
        assert answer.value.status == 304


def test_the_range_goes_along_from_page_to_page(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{fixture_url}/?range=7d")
        page.get_by_role("link", name="flight-delay", exact=True).first.click()
        page.wait_for_selector(".tabs")
        page.locator("table.causes a").first.click()
        page.wait_for_selector(".feature-main")
        assert re.search(r"/models/flight-delay/columns/dep_delay\?range=7d$", page.url)
        page.go_back()
        page.wait_for_selector(".tabs")
        page.go_back()
        expect(page.locator("table.fleet")).to_be_visible()


def test_gaps_are_hatched_and_named_and_no_line_crosses_them(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{fixture_url}/models/flight-delay?range=6h")
        panel = page.locator("[data-panel=rate]")
        line = panel.locator("path.line").first.get_attribute("d") or ""
        assert line.count("M") == 2, "the line is not broken at the gap"
        assert "No data: 13:39–13:54" in (panel.locator("svg").get_attribute("aria-label") or "")
        expect(panel.locator("rect.gap title")).to_have_text("no data, 13:39–13:54 UTC")


def test_a_limit_is_drawn_only_where_the_data_comes_near(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{fixture_url}/models/flight-delay?range=6h")
        expect(page.locator("[data-panel=late]").get_by_text("act above 45 %")).to_have_count(
            2
        )  # in words, and drawn
        expect(page.locator("[data-panel=p95] .zone")).to_have_count(0)
        expect(page.locator("[data-panel=p95] small")).to_contain_text("act above 80 ms")


def test_quality_is_solid_where_confirmed_dashed_where_estimated_and_open_while_labels_arrive(
    browser: Browser, fixture_url: str
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{fixture_url}/models/credit-limit")
        panel = page.locator("[data-panel=precision]")
        expect(panel.locator("path.line.estimate")).to_have_css("stroke-dasharray", "4px, 3px")
        expect(panel.locator("path.line.live")).to_have_css("stroke-dasharray", "none")
        expect(panel.locator("path.band.estimate")).to_have_count(1)
        expect(panel.locator("circle.open")).to_have_count(4)
        expect(panel.locator(".panel-value")).to_contain_text("0.903")
        head = page.locator(".section-head", has_text="Outcomes")
        expect(head.locator(".status")).to_have_count(0)  # nobody judges it yet
        expect(page.locator("[data-panel=ages] circle.open")).to_have_count(4)


def test_labels_that_are_missing_are_said_with_what_to_do(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{fixture_url}/models/flight-delay?range=6h")
        expect(page.locator(".state-title", has_text="Labels still arriving")).to_be_visible()
        expect(page.locator("pre", has_text="monitor.feedback(")).to_be_visible()
        expect(page.locator("[data-panel=labels] svg[role=img]")).to_be_visible()


def test_live_carried_back_is_drawn_dashed_beside_the_size_of_the_shift(
    browser: Browser, fixture_url: str
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, fixture_url + PAGES["feature"])
        chart = page.locator(".diagnosis-sheet svg[role=img]")
        expect(chart.locator("text.shift")).to_have_text("×\u00a060")
        expect(chart.locator("path.carried")).to_have_count(1)
        expect(chart).to_have_attribute(
            "aria-label", re.compile("the median is −2.minutes in the reference and −120.minutes live")
        )


def test_the_find_box_leads_to_a_column(browser: Browser, fixture_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, fixture_url)
        page.keyboard.press("/")
        page.keyboard.type("dep_d")
        expect(page.locator("#hits [role=option]").first).to_contain_text("dep_delay")
        page.keyboard.press("Enter")
        page.wait_for_selector(".feature-main")
        expect(page.locator("h1")).to_have_text("dep_delay")


def test_a_document_that_cannot_be_drawn_costs_one_panel_not_the_page(
    browser: Browser, fixture_url: str
) -> None:
    def damaged(route: Route) -> None:
        answer = route.fetch()
        if answer.status == 200:
            document = json.loads(answer.text())
            document["service"]["panels"][0] |= {"series": None, "t": [1]}
            route.fulfill(response=answer, json=document)
        else:
            route.fulfill(response=answer)

    with checks.console_page(browser) as page:
        page.route("**/api/models/**", damaged)
        page.goto(f"{fixture_url}/models/flight-delay")
        expect(page.get_by_text("could not be drawn")).to_be_visible()
        expect(page.locator("[data-panel=late] svg")).to_be_visible()


def test_a_real_console_passes_the_same_checks(browser: Browser, real_url: str) -> None:
    checks.check_console(browser, real_url)
