"""`barograph mute`, `unmute`, `ack` and `not-a-problem`: what people decide of alerts, from the command line.

A running server is asked; where none runs, the store's file is opened.
"""

import contextlib
import getpass
import json
import re
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from barograph.clock import Clock
from barograph.terminal import configured, out, wrong

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
StoreOption = Annotated[
    str | None, typer.Option(help="The evaluator's file of tiles (that of barograph.toml).")
]
ByOption = Annotated[str | None, typer.Option(help="Who says so; your name on this machine, if left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mute(
    model: Annotated[
        str | None, typer.Argument(help="The model; without one, what is muted now is listed.")
    ] = None,
    lasting: Annotated[
        str | None, typer.Option("--for", help="How long: 30m, 2h, 1d, 1w, on the evaluator's clock.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Or until when: 2026-11-20T09:00:00Z.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is shown beside what is muted.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only this alert, such as MLModelFeatureShifted.")] = None,
    column: Annotated[str | None, typer.Option(help="Only alerts of this column.")] = None,
    by: ByOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell nobody of some alerts for a while, or list what is muted.

    [bold]barograph mute fraud --column amount --for 2h --reason "backfill"[/bold]

    What is muted neither pages nor turns a page red; it is listed with its reason and its end. Mutes end by themselves, and what
    still fires then is told. What was told to begin is told to be over, muted or not.
    """
    if model is None:
        _list(store, as_json)
        return
    if reason is None:
        wrong('--reason: is not given; say why, such as --reason "backfill of May"')
    if (lasting is None) == (until is None):
        wrong("--for: give either --for, such as 2h, or --until, a time")
    when = {"until": until} if lasting is None else {"seconds": seconds(lasting)}
    optional = {name: value for name, value in (("rule", rule), ("column", column)) if value is not None}
    made = _decide("mute", store, model=model, reason=reason, by=_by(by), **when, **optional)
    text = f"Muted until {made['until']}: {made['model']}; barograph unmute {made['id']} ends it"
    _print(made, text, as_json)


def unmute(
    what: Annotated[str, typer.Argument(metavar="ID|MODEL", help="A mute by its id, or all of a model.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a mute before its time: one by its id, or all of a model. What still fires is told within a minute.

    [bold]barograph mute[/bold] lists what is muted, with ids.
    """
    listed = [one["id"] for one in _asked(store)["mutes"]]
    made = _decide("unmute", store, **{"id" if what in listed else "model": what})
    _print(made, f"Ended: {', '.join(made['ended'])}", as_json)


def ack(
    incident: Annotated[
        str, typer.Argument(metavar="MODEL|INCIDENT", help="A model with an open incident, or its id.")
    ],
    note: Annotated[str | None, typer.Option(help="What you are at, for those who look.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Nobody works on it any more.")] = False,
    by: ByOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that you work on an incident: nobody is told more of it, and it stays where it is on the pages.

    [bold]barograph ack fraud --note "rolling back"[/bold]

    It holds until the incident is over. A ticket that becomes a page is told again.
    """
    given = {"undo": True} if undo else {"by": _by(by), **({} if note is None else {"note": note})}
    made = _decide("acknowledge", store, incident=incident, **given)
    who = made["acknowledged"]
    done = f"Acknowledged by {who['by']}" if who else "Nobody works on it any more"
    _print(made, f"{done}: {made['incident']}", as_json)


def not_a_problem(
    model: Annotated[str, typer.Argument(help="The model.")],
    column: Annotated[str, typer.Argument(help="The column that has, or last had, an alert.")],
    reason: Annotated[str | None, typer.Option(help="Why it was none.")] = None,
    signal: Annotated[str | None, typer.Option(help="D, L, A or U; all that fire, if left out.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It was one, after all.")] = False,
    by: ByOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that an alert of a column was no problem: the thresholds learn from its time, instead of leaving it out.

    [bold]barograph not-a-problem fraud amount --reason "the Christmas campaign"[/bold]

    This alert is quiet from now on; another one of the same column is told. The line of this column and signal may rise as far as
    its time asks for, from the next weekly refresh on.
    """
    if reason is None and not undo:
        wrong('--reason: is not given; say why it was none, such as --reason "a campaign"')
    given = {"undo": True} if undo else {"by": _by(by), "reason": reason}
    named = {} if signal is None else {"signal": signal}
    made = _decide("not-a-problem", store, model=model, column=column, **named, **given)
    if undo:
        _print(made, f"Taken back: {', '.join(made['taken_back'])}", as_json)
    else:
        signals = ", ".join(one["signal"] for one in made["marks"])
        _print(made, f"No problem: {signals} of {column}; the next refresh learns from it", as_json)


def seconds(text: str) -> float:
    """A length of time such as `2h`.

    >>> seconds("90m"), seconds("1.5h"), seconds("2d")
    (5400.0, 5400.0, 172800.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhdw])", text.strip())
    if match is None:
        wrong(f"--for: cannot read {text!r}; write 30m, 2h, 1d or 1w")
    return float(match[1]) * SECONDS[match[2]]


def _list(store: str | None, as_json: bool) -> None:
    found = _asked(store)
    if as_json:
        out.print_json(json.dumps(found))
        return
    if not found["mutes"]:
        out.print("Nothing is muted")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("Id", "Model", "Alert", "Column", "Until", "By", "Reason"):
        table.add_column(heading)
    for one in found["mutes"]:
        cells = (one[key] or "any" for key in ("id", "model", "rule", "column", "until", "by", "reason"))
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)


def _print(made: Any, text: str, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(made))
    else:
        out.print(text, highlight=False, markup=False, soft_wrap=True)


def _by(given: str | None) -> str:
    try:
        return given or getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        wrong("--by: this machine does not know your name; give it")


def _decide(what: str, store: str | None, **body: Any) -> dict[str, Any]:
    from barograph.console.decisions import DECISIONS, Refused
    from barograph.serve import Address

    path = store or configured().store
    address = Address.of(path)
    if address is None:
        with opened(path) as state:
            try:
                return DECISIONS[what](state, Clock().now(), body)
            except Refused as refused:
                wrong(str(refused))
    answer = address.post(f"/api/{what}", body)
    if answer.is_error:
        wrong("; ".join(part for part in answer.json()["error"].values() if part))
    found: dict[str, Any] = answer.json()
    return found


def _asked(store: str | None) -> dict[str, Any]:
    """What was decided, as the API tells it."""
    import httpx

    from barograph.console.pages import policy
    from barograph.console.state import Span
    from barograph.serve import Address

    path = store or configured().store
    address = Address.of(path)
    if address is None:
        with opened(path) as state:
            return policy(state, Span("24h", Clock().now()))
    found: dict[str, Any] = httpx.get(f"{address.url}/api/policy", timeout=30, trust_env=False).json()
    return found


@contextlib.contextmanager
def opened(store: str) -> Any:
    """The state of a store that no server has open, for reading and deciding; wrong use where there is none."""
    from pathlib import Path

    from barograph.console.state import State
    from barograph.known import References
    from barograph.ledger import Ledger
    from barograph.sources import StoredReferences
    from barograph.tiles import Tiles, TilesFileError

    if not Path(store).is_file():
        wrong(f"--store: there is no {store!r}; barograph serve makes it")
    settings = configured()
    try:
        tiles = Tiles(store)
    except TilesFileError as error:
        wrong(str(error))
    with tiles:
        yield State(tiles, Ledger(tiles), References(StoredReferences(tiles), settings), settings, list)
