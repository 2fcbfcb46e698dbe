"""What must hold on every page of the console, whichever server is behind it.

Each check takes a Playwright page and an address, opens the address and raises AssertionError with what it found. They
know nothing about the fixture: `check_console` runs all of them over any running server that has at least one model.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
OVERLAPS = (Path(__file__).parent / "overlaps.js").read_text()

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
THEMES = ("light", "dark")
READY = "main[aria-busy=false] h1, main[aria-busy=false] .state"


@contextmanager
def console_context(
    browser: Browser, theme: str = "light", viewport: dict[str, int] = DESKTOP
) -> Iterator[BrowserContext]:
    """A browser without a past, in one theme and size."""
    context = browser.new_context(viewport=viewport, color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    try:
        yield context
    finally:
        context.close()


@contextmanager
def console_page(browser: Browser) -> Iterator[Page]:
    """One page of such a browser: light, desktop."""
    with console_context(browser) as context:
        yield context.new_page()


def open_page(page: Page, url: str) -> None:
    """Opens an address and waits until its content is drawn."""
    page.goto(url)
    page.wait_for_selector(READY)
    page.evaluate("document.fonts.ready")


def model_url(base: str, model: str, query: str = "") -> str:
    return f"{base}/models/{quote(model, safe='')}{query}"


def feature_url(base: str, model: str, column: str, query: str = "") -> str:
    return f"{base}/models/{quote(model, safe='')}/columns/{quote(column, safe='')}{query}"


def check_appearance(page: Page, url: str) -> None:
    """Draws without an error, asks no other host, fits its width, can be read, and says what its charts show."""
    errors: list[str] = []
    foreign: list[str] = []
    host = urlsplit(url).netloc
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None)
    page.on("request", lambda request: foreign.append(request.url) if is_foreign(request.url, host) else None)
    open_page(page, url)
    assert not errors, f"{url}: the browser reports {errors}"
    assert not foreign, f"{url}: requests to other hosts: {foreign}"
    assert_fits(page)
    assert_readable(page)
    assert_described(page)


def check_appearances(browser: Browser, urls: Iterable[str], theme: str, viewport: dict[str, int]) -> None:
    """The appearance of several pages in one theme and size."""
    with console_context(browser, theme, viewport) as context:
        for url in urls:
            page = context.new_page()
            check_appearance(page, url)
            page.close()


def is_foreign(address: str, host: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme not in ("data", "blob") and parts.netloc != host


def assert_fits(page: Page) -> None:
    """No horizontal scrolling, and no text of a chart outside of the window or over another."""
    excess = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert excess <= 0, f"{page.url}: {excess} px wider than the window"
    problems = page.evaluate(OVERLAPS)
    assert not problems, f"{page.url}: {problems}"


def assert_readable(page: Page) -> None:
    """Every text reaches a contrast of 4.5 to 1 on the ground it stands on."""
    faint = page.evaluate(CONTRAST)
    assert not faint, f"{page.url}: below 4.5:1: {faint}"


def assert_described(page: Page) -> None:
    """Charts carry a sentence, controls a name, the page one title."""
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('[role=img], button, a[href], input, select, [role=region]')]
        .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')))
        .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert not unnamed, f"{page.url}: without a name: {unnamed}"
    assert page.locator("h1").count() <= 1
    assert page.title().endswith("barograph")


def check_keyboard(page: Page, base: str) -> None:
    """From the fleet to a model, its tables, the help, the find box and back, with the keyboard alone."""
    open_page(page, f"{base}/")
    page.keyboard.press("j")
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.textContent") == name
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/**")
    page.wait_for_selector("main[aria-busy=false] .tabs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys and words")).to_be_visible()
    expect(page.get_by_role("term").filter(has_text="PSI")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type(name[:4])
    expect(page.locator("#hits [role=option]").first).to_contain_text(name[:4], ignore_case=True)
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("i")
    page.wait_for_url("**/incidents*")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_selector("table.fleet")
    assert urlsplit(page.url).path == "/"


def check_theme_key(page: Page, url: str) -> None:
    """`d` switches the theme, and the choice outlives a reload."""
    open_page(page, url)
    before = page.evaluate("document.documentElement.dataset.theme")
    page.keyboard.press("d")
    chosen = page.evaluate("document.documentElement.dataset.theme")
    assert {before, chosen} == set(THEMES)
    page.reload()
    page.wait_for_selector(READY)
    assert page.evaluate("document.documentElement.dataset.theme") == chosen


def check_earlier_and_later(page: Page, url: str) -> None:
    """`[` goes back in time, says so in the address, and `]` returns to the present."""
    open_page(page, url)
    page.keyboard.press("[")
    page.wait_for_url("**to=*")
    expect(page.get_by_role("button", name="To now")).to_be_visible()
    page.wait_for_selector(READY)
    page.keyboard.press("]")
    page.wait_for_url(lambda address: "to=" not in address)


def check_chart_keys(page: Page, url: str) -> None:
    """Arrows step through a chart, every chart shows the moment, the address keeps it, Esc clears it."""
    open_page(page, url)
    chart = page.locator("[data-panel] svg[role=img]").first
    chart.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".tooltip")).to_have_count(1)
    charts = page.locator("[data-panel] svg[role=img]").count()
    assert page.locator(".crosshair").count() >= charts - 1, "the crosshair is not shared"
    page.wait_for_url("**at=*")
    reading = page.locator(".tooltip").inner_text()
    page.reload()
    page.wait_for_selector(".tooltip")
    assert page.locator(".crosshair").count() >= charts - 1, f"the moment of {reading!r} was not restored"
    page.locator("[data-panel] svg[role=img]").first.focus()
    page.keyboard.press("Escape")
    expect(page.locator(".crosshair")).to_have_count(0)


def check_table_view(page: Page, url: str) -> None:
    """`t` turns every chart into a table that holds what its tooltip says, and back."""
    open_page(page, url)
    charts = page.locator("[data-panel] svg[role=img]").count()
    assert charts, f"{url} has no charts"
    chart = page.locator("[data-panel] svg[role=img]").first
    name = chart.evaluate("(e) => e.closest('[data-panel]').dataset.panel")
    chart.focus()
    page.keyboard.press("End")
    values = page.locator(".tooltip b").all_inner_texts()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    page.wait_for_url("**view=table*")
    expect(page.locator("[data-panel] svg[role=img]")).to_have_count(0)
    expect(page.locator("[data-panel] .chart-table")).to_have_count(charts)
    row = page.locator(f"[data-panel='{name}'] tbody tr").first.inner_text()
    missing = [value for value in values if value.split("\u00a0")[0] not in row]
    assert not missing, f"{url}: {missing} of the tooltip are not in the table's row {row!r}"
    page.keyboard.press("t")
    expect(page.locator("[data-panel] svg[role=img]")).to_have_count(charts)


def check_disconnected(page: Page, url: str) -> None:
    """Without its server the page keeps what it shows, dates it, counts down, and recovers by itself."""
    open_page(page, url)
    drawn = page.locator("main").inner_text()
    page.route("**/api/**", lambda route: route.abort())
    page.evaluate("dispatchEvent(new Event('online'))")  # asks at once instead of at the next turn
    banner = page.get_by_role("status").filter(has_text="Console lost its server")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("Showing data from")
    expect(banner).to_contain_text("Trying again")
    title = page.locator("h1").inner_text()
    assert title in drawn, "the page's content is gone"
    assert_readable(page)
    assert_fits(page)
    page.unroute("**/api/**")
    banner.get_by_role("button", name="Try now").click()
    expect(banner).to_have_count(0)


def check_missing(page: Page, base: str) -> None:
    """An address that leads nowhere says so, and shows the way back."""
    open_page(page, f"{base}/models/no-such-model")
    expect(page.get_by_role("link", name="To the fleet")).to_be_visible()


def check_console(browser: Browser, base: str) -> None:
    """Every check over a running console at `base`, on the first model and the first column that it lists."""
    base = base.rstrip("/")
    with console_page(browser) as page:
        model = page.request.get(f"{base}/api/fleet").json()["models"][0]["name"]
        columns = page.request.get(f"{base}/api/models/{quote(model, safe='')}").json()["causes"]["columns"]
    pages = [
        f"{base}/",
        model_url(base, model),
        feature_url(base, model, columns[0]["name"]),
        f"{base}/incidents",
    ]
    for theme in THEMES:
        for viewport in (DESKTOP, PHONE):
            check_appearances(browser, pages, theme, viewport)
    for check, url in (
        (check_keyboard, base),
        (check_theme_key, pages[0]),
        (check_earlier_and_later, pages[1]),
        (check_chart_keys, pages[1]),
        (check_table_view, pages[1]),
        (check_disconnected, pages[1]),
        (check_missing, base),
    ):
        with console_page(browser) as page:
            check(page, url)
