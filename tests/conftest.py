"""What every test can ask for, and what the summary says of those that did not run."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings

# Tests with these marks run one at a time: each fills the machine, or counts what a whole machine's worth of processes did.
ALONE = ("workers", "browser", "demo")


settings.register_profile("barograph", deadline=None)  # on a busy machine a test may wait for its turn
settings.load_profile("barograph")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets: BAROGRAPH_DATA, else ../shared/data; where it is absent, the test skips."""
    named = os.environ.get("BAROGRAPH_DATA")
    beside = Path(__file__).parents[2] / "shared" / "data"
    if not named and beside.is_dir():
        return beside
    if not named:
        pytest.skip("no folder of real data: BAROGRAPH_DATA is not set and ../shared/data is absent")
    if not Path(named).is_dir():
        pytest.fail(
            f"BAROGRAPH_DATA: {named!r} is not a folder; name the one that holds the data sets, or unset it"
        )
    return Path(named)


@pytest.fixture(autouse=True)
def same_rows_in_any_order() -> None:
    """A test draws the rows it would draw alone, whatever ran before it in the same process."""
    if made := sys.modules.get("world"):
        made.rewind()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if any(item.get_closest_marker(name) for name in ALONE):
            item.add_marker(pytest.mark.xdist_group("alone"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section(f"{len(skipped)} skipped", sep="-")
    for reason, count in Counter(_reason(report) for report in skipped).most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ") or "no reason given"
