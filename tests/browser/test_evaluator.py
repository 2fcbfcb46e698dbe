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

PAGES = (
    "/",
    "/models/risk?range=6h",
    "/models/risk/columns/amount",
    "/models/risk/columns/visits",
    "/incidents",
)


@pytest.fixture(scope="module")
def evaluator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A console over hours of recorded traffic, the last of which an upstream change has broken, on a free port."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from barograph.console.app import Health, create
    from world import World

    world = World(tmp_path_factory.mktemp("counters"))
    for _ in range(6):
        world.hour()
    for _ in range(3):
        world.hour(change=lambda f, s: ({**f, "amount": f["amount"] * 1000}, s * 0 + 0.9))
    app: Any = create(
        world.state(), world.clock.now, health=Health(), token="secret", metrics=lambda: b"", poll_seconds=60
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
    world.close()


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
