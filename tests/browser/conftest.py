"""The browser, and a server behind it: the fixture's, or a real one named by BAROGRAPH_CONSOLE_URL."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# No examples to collect there, and the imports need what may be absent.
collect_ignore = ["checks.py", "fixture_data.py", "fixture_server.py"]

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(
    scope="module"
)  # a driver that stays open keeps an event loop running, in which no other test could run one
def browser() -> Iterator[Any]:
    """Debian's Chromium, headless."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed (Debian package chromium)")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, headless=True)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def fixture_url() -> Iterator[str]:
    """The address of the fixture server, on a free port of this machine."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from fixture_server import build

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build(), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def settings(fixture_url: str) -> Iterator[Callable[..., None]]:
    """Turns the fixture server to another state, and back after the test."""
    import httpx

    def change(**values: Any) -> None:
        httpx.post(f"{fixture_url}/fixture", json=values).raise_for_status()

    yield change
    change(minutes=0, fleet="full")


@pytest.fixture(scope="session")
def real_url() -> str:
    """The address of a running console with data in it."""
    url = os.environ.get("BAROGRAPH_CONSOLE_URL")
    if not url:
        pytest.skip("BAROGRAPH_CONSOLE_URL names no running console")
    return url
