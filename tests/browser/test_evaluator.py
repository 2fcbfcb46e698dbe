"""The pages over the real API: the evaluator's own policy, documents and names in a browser."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import checks
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

APPEARANCES = [
    pytest.param("light", checks.DESKTOP, id="light-desktop"),
    pytest.param("dark", checks.PHONE, id="dark-phone"),
    pytest.param("dark", checks.DESKTOP, id="dark-desktop", marks=pytest.mark.slow),
    pytest.param("light", checks.PHONE, id="light-phone", marks=pytest.mark.slow),
]
PAGES = (
    "/",
    "/models/risk?range=6h",
    "/models/risk/columns/amount",
    "/models/risk/columns/visits",
    "/models/risk/readiness",
    "/incidents",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Hours of recorded traffic, the last of which an upstream change has broken; beside it two models of another kind."""
    from barograph import Monitor
    from barograph.increments import increments
    from world import World, draw

    world = World(tmp_path_factory.mktemp("counters"))
    others = [
        Monitor(name, reference=reference, directory=tmp_path_factory.mktemp("other"), clock=world.clock)
        for name, reference in (("..", world.reference), ("bare", None))
    ]
    for hour in range(9):
        before = [other.snapshot() for other in others]
        for other in others:
            features, score = draw(80)
            other.record(features, score=score)
        broken = hour >= 6
        world.hour(
            change=lambda f, s: ({**f, "amount": f["amount"] * 1000}, s * 0 + 0.9) if broken else (f, s)  # noqa: B023
        )
        for other, snapshot in zip(others, before, strict=True):
            world.tiles.add(increments(snapshot, other.snapshot()))
    yield world
    for other in others:
        other.close()
    world.close()


@pytest.fixture(scope="module")
def evaluator_url(world: Any) -> Iterator[str]:
    """A console over them, on a free port."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from barograph.console.app import create
    from barograph.console.health import Health

    health = Health()
    health.succeeded(world.clock.time)
    app: Any = create(
        world.state(), world.clock.now, health=health, token="secret", metrics=lambda: b"", poll_seconds=60
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(5)


@pytest.mark.parametrize(("theme", "viewport"), APPEARANCES)
def test_every_real_page_fits_and_can_be_read(
    browser: Browser, evaluator_url: str, theme: str, viewport: dict[str, int]
) -> None:
    urls = [evaluator_url + path for path in (*PAGES, "/models/risk?range=1h", "/models/~..", "/models/bare")]
    checks.check_appearances(browser, urls, theme, viewport)


def test_a_model_that_is_named_like_a_folder_is_opened_from_the_fleet_and_the_find_box(
    browser: Browser, evaluator_url: str
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, evaluator_url)
        page.get_by_role("link", name="..", exact=True).click()
        page.wait_for_selector("main[aria-busy=false] .tabs")
        expect(page.locator("h1")).to_contain_text("..")
        assert page.url == f"{evaluator_url}/models/~.."
        page.locator("table.causes a").first.click()
        page.wait_for_selector(".feature-main")
        page.reload()
        page.wait_for_selector(".feature-main")
        page.get_by_role("link", name="..", exact=True).click()
        expect(page.locator("footer a", has_text="JSON")).to_have_attribute("href", "/api/models/~..")


def test_a_model_without_a_reference_shows_the_lines_that_give_it_one(
    browser: Browser, evaluator_url: str
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{evaluator_url}/models/bare")
        expect(page.locator("h1")).to_have_text("bare is watched without a reference")
        expect(page.locator("pre", has_text="Reference.fit(")).to_be_visible()
        expect(page.locator("pre", has_text="serve --log")).to_be_visible()
        expect(page.locator(".section-head .status.ok")).to_have_count(1)  # the service alone


def test_a_document_that_holds_is_fresh_and_one_that_nobody_judges_is_not(
    browser: Browser, evaluator_url: str, world: Any
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, evaluator_url)
        with page.expect_response("**/api/fleet*") as answer:
            page.evaluate("dispatchEvent(new Event('online'))")
        assert answer.value.status == 304
        expect(page.locator(".fresh")).to_have_text("Updated now")
        now = world.clock.time
        world.clock.time += 1800  # the clock goes on, and no pass ends
        page.evaluate("dispatchEvent(new Event('online'))")
        expect(page.locator(".fresh")).to_have_text("Last judged 09:00 UTC")
        world.clock.time = now


def test_what_is_past_its_limit_is_red_from_when_it_began(browser: Browser, evaluator_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{evaluator_url}/models/risk?range=24h")
        panel = page.locator("[data-panel=answers]")
        expect(panel.locator("path.line")).to_have_count(2)
        red = panel.locator("path.line").last
        assert "crit-mark" in (red.get_attribute("stroke") or "") and red.get_attribute("clip-path")
        expect(page.locator("[data-panel=traffic] path.line")).to_have_count(1)


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_lets_every_real_page_through_without_a_complaint(
    browser: Browser, evaluator_url: str, path: str
) -> None:
    complaints: list[str] = []
    with checks.console_page(browser) as page:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text))
        checks.open_page(page, evaluator_url + path)
        chart = page.locator("main .chart svg[role=img]").first
        if chart.count():
            chart.hover()  # the tooltip is placed by styles too
    assert not complaints


def test_earlier_and_later_move_the_window_of_the_real_api(browser: Browser, evaluator_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{evaluator_url}/models/risk?range=6h")
        with page.expect_response("**/api/models/risk?*to=*") as answer:
            page.keyboard.press("[")
        assert answer.value.status == 200
        assert answer.value.json()["range"]["to"] == "2013-09-30T06:00:00Z"
        expect(page.locator(".now.past")).to_be_visible()
        page.keyboard.press("]")
        expect(page.locator(".now.past")).to_have_count(0)


def test_the_find_box_knows_the_columns_of_models_on_other_pages(
    browser: Browser, evaluator_url: str
) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, evaluator_url)
        page.keyboard.press("/")
        page.keyboard.type("amou")
        expect(page.locator("#hits [role=option]").first).to_contain_text("amount")
        page.keyboard.press("Enter")
        page.wait_for_selector(".feature-main")


def test_hours_without_enough_rows_break_the_line_and_say_so(browser: Browser, evaluator_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{evaluator_url}/models/risk?range=24h")
        panel = page.locator("[data-panel=answers]")
        expect(panel.locator("svg[role=img]").get_by_text("too few rows")).to_be_visible()
        expect(panel.locator("rect.gap")).to_have_count(0)


def test_readiness_is_a_tab_of_a_model_and_says_what_is_lacking(browser: Browser, evaluator_url: str) -> None:
    with checks.console_page(browser) as page:
        checks.open_page(page, f"{evaluator_url}/models/risk?range=6h")
        page.keyboard.press("4")
        expect(page.locator("h1")).to_contain_text("of 7 points for monitoring")
        assert page.url == f"{evaluator_url}/models/risk/readiness?range=6h"
        expect(page.locator(".section-head h2")).to_have_text(
            ["Score", "Monitored", "Indicators", "Delays", "Development and production"]
        )
        expect(page.locator(".checks").first.locator("li")).to_have_count(7)
        expect(page.get_by_text("No drill yet")).to_be_visible()
        expect(page.locator("footer a", has_text="JSON")).to_have_attribute(
            "href", "/api/models/risk/readiness"
        )
        page.get_by_role("link", name="risk", exact=True).click()
        expect(page.locator(".tabs a").last).to_have_text("Readiness")
