"""`barograph readiness`: the verb of the command line. A running server is asked; where none runs, the store's file is opened."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from barograph.clock import Clock
from barograph.deciding import StoreOption, opened
from barograph.terminal import FINDING, configured, counting, out, wrong


def readiness(
    model: Annotated[str | None, typer.Option(help="The model; all of them, if left out.")] = None,
    drill: Annotated[
        Path | None,
        typer.Option(help="What the last barograph drill wrote (report under drill in barograph.toml)."),
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(min=0, max=7, help="Points below which the exit code is 1, for CI.")
    ] = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a model's monitoring is ready: what is looked at now, and what the last drill proved.

    [bold]barograph readiness --model fraud[/bold]

    What is monitored; do the metrics go along with success; how soon would a bug be found; would a difference between
    development and production be caught; and a score along the seven monitoring tests of the ML Test Score. All of it is of what
    the evaluator has seen and judged, and of the last [bold]barograph drill[/bold].
    """
    found = _documents(store or configured().store, model)
    if drill is not None:
        found = [_with_drill(document, drill) for document in found]
    if as_json:
        out.print_json(json.dumps({"models": found}))
    else:
        for document in found:
            _print(document)
    below = [d["name"] for d in found if at_least is not None and d["points"] < at_least]
    if below and not as_json:
        out.print(f"Below {at_least:g} points: {', '.join(below)}", highlight=False, markup=False)
    raise typer.Exit(FINDING if below else 0)


def _documents(store: str, model: str | None) -> list[dict[str, Any]]:
    import httpx

    from barograph.console.readiness import document
    from barograph.console.state import Span
    from barograph.links import segment
    from barograph.serve import Address

    address = Address.of(store)
    if address is None:
        with opened(store) as state:
            names, now = _chosen(model, list(state.models())), Span("24h", Clock().now())
            return _each(names, lambda name: document(state, name, now))

    def get(path: str) -> Any:
        answer = httpx.get(f"{address.url}{path}", timeout=60, trust_env=False)
        if answer.is_error:
            wrong("; ".join(part for part in answer.json()["error"].values() if part))
        return answer.json()

    names = _chosen(model, [one["name"] for one in get("/api/names")["models"]])
    return _each(names, lambda name: get(f"/api/models/{segment(name)}/readiness"))


def _each(names: list[str], make: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """A document for each model; many take a while."""
    found = []
    with counting("models") as step:
        for name in names:
            found.append(make(name))
            step(1)
    return found


def _chosen(model: str | None, names: list[str]) -> list[str]:
    """The model that is meant, or all."""
    import difflib

    if model is None:
        return names or wrong("no model has been seen yet; point barograph serve at a service")
    if model not in names:
        near = difflib.get_close_matches(model, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
        wrong(f"--model: {model!r} is not known; {hint}")
    return [model]


def _with_drill(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The same facts, answered by another drill."""
    from barograph.console.state import tidy
    from barograph.readiness.answers import answers
    from barograph.readiness.drilled import Drill, DrillFileError
    from barograph.readiness.facts import Facts

    try:
        drill = Drill.load(path)
    except DrillFileError as error:
        wrong(f"--drill: {error}")
    if drill is None:
        wrong(f"--drill: there is no {str(path)!r}; barograph drill writes it")
    return {**document, **tidy(answers(Facts.from_json(document["facts"]), drill, Clock().now()))}


def _print(document: Mapping[str, Any]) -> None:
    out.print(f"[bold]{escape(document['name'])}: {escape(document['headline'])}[/bold]", highlight=False)
    out.print(document["lede"], highlight=False, markup=False)
    for answer in document["answers"]:
        out.print()
        title = f"[bold]{escape(answer['name'])}[/bold]  {escape(answer['question'])} {escape(answer['summary'])}."
        out.print(title, highlight=False)
        for group in answer["groups"]:
            rows = [[row["name"], row["text"], row["note"]] for row in group["rows"]]
            _table([group["name"], "", ""], rows)
        if answer["table"] is not None:
            _table(answer["table"]["head"], answer["table"]["rows"])
        if answer["note"]:
            out.print(answer["note"], highlight=False, markup=False, style="dim")
    out.print()


def _table(head: list[str], rows: list[list[str]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=any(head))
    for heading in head:
        table.add_column(escape(heading), overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table, highlight=False)
