"""Runbooks: what an alert means for users, how to check it, what it usually is, what to do, and when it is over."""

from importlib import resources
from string import Template

from barograph import naming
from barograph.grafana.parts import FEATURES, MAIN, MODEL, SYSTEM
from barograph.mixin.alerts import WATCHDOG
from barograph.mixin.options import Options

FOLDER = "runbooks"
TITLES = ("For users", "Check", "Usual causes", "Do now", "Over when")


def files(options: Options) -> dict[str, str]:
    """A page for each alert."""
    return {f"{FOLDER}/{name}.md": runbook(name, options) for name in (*naming.RULES, WATCHDOG)}


def runbook(name: str, options: Options) -> str:
    """The page of an alert, its links as the options say.

    >>> runbook("Watchdog", Options()).splitlines()[0]
    '# Watchdog'
    """
    text = (resources.files("barograph.mixin") / "runbooks" / f"{name}.md").read_text("utf-8")
    boards = {"main": MAIN, "system": SYSTEM, "model": MODEL, "features": FEATURES}
    links = {board: f"{options.grafana_url}/d/{uid}" for board, uid in boards.items()}
    return Template(text).substitute(links, console=options.console_url)
