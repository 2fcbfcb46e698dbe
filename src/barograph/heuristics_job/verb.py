"""`barograph heuristics`: the verb of the command line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from barograph.clock import Clock
from barograph.heuristics import Heuristic, HeuristicError, load
from barograph.terminal import FINDING, configured, counting, out, wrong

if TYPE_CHECKING:
    from barograph.config import Config
    from barograph.heuristics_job.job import Done


def heuristics(
    functions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]MODULE:FUNCTION",
            help="Functions of a row or a batch, from a module or FILE.py; those of barograph.toml, if left out.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model whose log is read.")] = None,
    log: Annotated[str | None, typer.Option(help="Where services log (that of barograph.toml).")] = None,
    store: Annotated[str | None, typer.Option(help="The evaluator's file of tiles.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute quality heuristics over logged responses, and count each as a column of the model.

    [bold]barograph heuristics checks:favourite_rank --model movies --log predictions/[/bold] reads what is new only.
    [bold]barograph serve[/bold] does so every ten minutes with what stands in \\[models.NAME.heuristics] of barograph.toml.

    A function whose argument is called `row` is given one row, any other a batch of columns. Exit code 1 where one fails.
    """
    settings = configured()
    store, log = store or settings.store, log or settings.log
    if log is None:
        wrong("--log: is not given, and barograph.toml names none; give where services log")
    if functions and model is None:
        wrong("--model: is not given; name the model whose answers these functions look at")
    wanted = {model: functions} if functions and model else _of_file(settings, model)
    try:
        made = {name: load(given, Path.cwd()) for name, given in wanted.items()}
    except HeuristicError as error:
        wrong(str(error))
    found = _run(store, log, made)
    _print(found, as_json)
    raise typer.Exit(FINDING if any(done.errors for done in found.values()) else 0)


def _of_file(config: "Config", model: str | None) -> dict[str, list[str]]:
    """The functions that barograph.toml names, of one model or of all."""
    named = {name: one.heuristics for name, one in config.models.items() if model in (None, name)}
    found = {name: [f"{n}={where}" for n, where in one.items()] for name, one in named.items() if one}
    if not found:
        wrong("FUNCTION: is not given, and barograph.toml names none; write MODULE:FUNCTION")
    return found


def _run(store: str, log: str, made: Mapping[str, Sequence[Heuristic]]) -> "dict[str, Done]":
    """The heuristics of each model, over what is new."""
    from barograph.config import Config
    from barograph.heuristics_job.job import HeuristicsJob
    from barograph.known import References
    from barograph.logs import Log
    from barograph.sources import StoredReferences
    from barograph.tiles import Tiles, TilesFileError

    try:
        Path(store).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Tiles(store) as tiles:
            files = StoredReferences(tiles)
            job = HeuristicsJob(tiles, Log(log), References(files, Config()), files, now=Clock().now)
            with counting("rows read") as moved:
                return {model: job.run(model, one, moved) for model, one in made.items()}
    except TilesFileError as error:
        wrong(str(error))


def _print(found: "Mapping[str, Done]", as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps({model: asdict(done) for model, done in found.items()}))
        return
    table = Table("model", "heuristic", "rows read", "counted", "failed", "", box=None)
    for model, done in found.items():
        for name in dict.fromkeys((*done.counted, *done.errors, *done.halted)):
            said = done.errors.get(name, "waits for more rows" if name in done.halted else "")
            figures = (f"{n:,}" for n in (done.rows, done.counted.get(name, 0), done.failed.get(name, 0)))
            table.add_row(escape(model), escape(name), *figures, escape(said))
    out.print(table if table.row_count else "Nothing new in the log")
