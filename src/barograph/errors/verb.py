"""`barograph errors`: the verb of the command line."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from barograph.terminal import FINDING, configured, err, out, wrong

if TYPE_CHECKING:
    from barograph.errors.groups import Group


def errors(
    model: Annotated[str, typer.Argument(help="The model.")],
    log: Annotated[str | None, typer.Option(help="Where services log (that of barograph.toml).")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the wrong rows there, as Parquet, to retrain on."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Predictions from then on: 2013-10-14, UTC.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Predictions before then.")] = None,
    version: Annotated[str | None, typer.Option(help="One version; else all of them.")] = None,
    task: Annotated[
        str | None, typer.Option(help="binary, multiclass or regression; else as answers and labels look.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Score from which an answer is positive, where only scores are logged.")
    ] = 0.5,
    limit: Annotated[
        float | None, typer.Option(help="Regression: how far off is an error (farther than 95 % are).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find where a model is wrong again and again: by segment, category and range of a feature. Exit code 1 where it is.

    [bold]barograph errors fraud --log predictions/ -o retraining.parquet[/bold] joins logged predictions with their labels, finds
    groups on every other day, confirms them on the others, and writes their errors to retrain on. Where labels have nothing to do
    with the columns, it finds anything in one run of a thousand at most.
    """
    from barograph.errors.groups import recurring, retraining, save
    from barograph.errors.reading import TASKS, ErrorsError, read
    from barograph.logs import Log

    if task is not None and task not in TASKS:
        wrong(f"--task: {task!r} is not one of {', '.join(TASKS)}")
    try:
        place = Log(log or _configured_log())
        with err.status("Reading the log"):
            data = read(
                place, model, version=version, since=_moment("--from", since), until=_moment("--to", until), task=task,
                threshold=threshold,
            )  # fmt: skip
        with err.status(f"Looking at {len(data):,} labelled predictions"):
            found = recurring(data, limit=limit)
        if output is not None and found:
            save(retraining(data, found), output)
    except ErrorsError as error:
        wrong(str(error))
    except OSError as error:
        wrong(f"--output: cannot write {str(output)!r} ({error.strerror})")
    if as_json:
        out.print_json(
            json.dumps({"model": model, "rows": len(data), "groups": [_document(g) for g in found]})
        )
    else:
        _print(model, len(data), found, output)
    raise typer.Exit(FINDING if found else 0)


def _document(group: "Group") -> dict[str, object]:
    return {
        "error": group.kind, "group": group.text, "rows": group.rows, "errors": group.errors, "rate": group.rate,
        "elsewhere": group.elsewhere, "periods": list(group.periods), "p": group.p,
    }  # fmt: skip


def _print(model: str, rows: int, found: Sequence["Group"], output: Path | None) -> None:
    if not found:
        out.print(f"{model}: no error recurs in {rows:,} labelled predictions", highlight=False, markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("Error", "Where", "Rows", "Errors", "Rate", "Elsewhere", "Periods"):
        table.add_column(heading, justify="left" if heading in ("Error", "Where") else "right")
    for g in found:
        figures = (f"{g.rows:,}", f"{g.errors:,}", f"{g.rate:.1%}", f"{g.elsewhere:.1%}")
        table.add_row(escape(g.kind), escape(g.text), *figures, "{} of {}".format(*g.periods))
    out.print(table)
    if output is not None:
        total = sum(g.errors for g in found)
        out.print(f"{total:,} wrong rows in {output}", highlight=False, markup=False)


def _configured_log() -> str:
    found = configured().log
    if found is None:
        wrong("--log: is not given, and barograph.toml names none; give where services log")
    return found


def _moment(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        wrong(f"{option}: {text!r} is no time; write 2013-10-14 or 2013-10-14T08:00Z")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
