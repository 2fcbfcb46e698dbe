"""What the verbs of the command line share: the terminal, exit codes, what barograph.toml says, a line that counts up."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn

from barograph.config import Config, ConfigError, load

FINDING, WRONG_USE = 1, 2  # exit codes
WIDE = 200  # characters of a line that no terminal shows: what reads it does not want it folded
out, err = Console(width=None if sys.stdout.isatty() else WIDE), Console(stderr=True, soft_wrap=True)


def wrong(text: str) -> NoReturn:
    """Say what is wrong with how a verb is used, and end."""
    err.print(f"[bold red]barograph:[/bold red] {escape(text)}", highlight=False)
    raise typer.Exit(WRONG_USE)


def configured(path: Path | None = None) -> Config:
    """What a file says, barograph.toml unless another is given, or the defaults."""
    try:
        return load(path or "barograph.toml") if path or Path("barograph.toml").is_file() else Config()
    except ConfigError as error:
        wrong(str(error))


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """A line that counts up."""
    columns = (SpinnerColumn(), TextColumn(f"{{task.completed:,.0f}} {what}"))
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda n: bar.advance(task, n)
