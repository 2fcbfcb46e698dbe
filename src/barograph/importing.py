"""`barograph import` and `barograph labels import`: the verbs of the command line."""

import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.clock import Clock
from barograph.reference import Reference, ReferenceFileError
from barograph.terminal import configured, counting, err, out, wrong

if TYPE_CHECKING:
    from barograph.labels.counting import BinsOf
    from barograph.tiles import Tiles

StoreOption = Annotated[
    str | None, typer.Option(help="The evaluator's file of tiles (that of barograph.toml).")
]
SqlOption = Annotated[bool, typer.Option("--sql", help="SOURCE is a query in SQL.")]
AttachOption = Annotated[
    str | None,
    typer.Option(help="The database that it asks: a file of DuckDB or SQLite, postgresql://..., mysql:..."),
]
AttachVariableOption = Annotated[
    str | None,
    typer.Option(
        help="The environment variable that holds its address, so that no list of processes shows it."
    ),
]


def labels(
    source: Annotated[
        str, typer.Argument(help="A file or URL (CSV, Parquet, NDJSON; * for many), or with --sql a query.")
    ],
    model: Annotated[str, typer.Option(help="The model that predicted these.")],
    id: Annotated[str, typer.Option(help="Column of the prediction's id.")] = "id",
    label: Annotated[
        str, typer.Option(help="Column of what became true: a number, a truth value or a class.")
    ] = "label",
    time: Annotated[
        str | None, typer.Option(help="Column of when it became true; UTC where it has no zone.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Column of the kind of feedback.")] = None,
    sql: SqlOption = False,
    attach: AttachOption = None,
    attach_variable: AttachVariableOption = None,
    log: Annotated[str | None, typer.Option(help="Where services log (that of barograph.toml).")] = None,
) -> None:
    """Write labels from a file or a database into the feedback log. The join takes them from there.

    [bold]barograph labels import chargebacks.csv --model fraud --id payment --label fraud --time reported_at[/bold]
    Importing the same labels again changes nothing.
    """
    from barograph.labels.importing import Imported, store
    from barograph.logs import FeedbackLog, Log
    from barograph.tables import ImportFailed, read

    place = log or configured().log
    if place is None:
        wrong("--log: is not given, and barograph.toml names none; give where services log")
    columns = {"id": id, "label": label, "time": time, "kind": kind}
    done = Imported()
    try:
        with FeedbackLog(Log(place)) as feedback, counting("labels stored") as step:
            for table in read(source, attach=_attached(attach, attach_variable), sql=sql):
                found = store(feedback, model, table, columns)
                done = Imported(done.stored + found.stored, done.lacking + found.lacking)
                step(found.stored)
    except (ImportFailed, OSError) as error:
        stored = (
            f" {done.stored:,} labels are stored; importing all of them again does no harm."
            if done.stored
            else ""
        )
        wrong(f"{error}{stored}")
    lacking = f"; {done.lacking:,} rows have no id or no label" if done.lacking else ""
    out.print(f"{done.stored:,} labels of {model} stored{lacking}", highlight=False, markup=False)


def predictions(
    source: Annotated[
        str, typer.Argument(help="A file or URL (CSV, Parquet, NDJSON; * for many), or with --sql a query.")
    ],
    model: Annotated[str, typer.Option(help="The model that predicted these.")],
    time: Annotated[
        str | None,
        typer.Option(
            help="Column of when each was predicted; UTC where it has no zone. Else the reference's."
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="The model's version, or the column that says it.")] = "0",
    reference: Annotated[
        Path | None,
        typer.Option(help="The model's reference: its features, task and bins. Else scores alone count."),
    ] = None,
    score: Annotated[str | None, typer.Option(help="Column of the score. Else the reference's.")] = None,
    prediction: Annotated[
        str | None, typer.Option(help="Column of the answer. Else the reference's.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of what became true. Else the reference's.")
    ] = None,
    label_time: Annotated[
        str | None, typer.Option(help="Column of when that was known; tells how late labels come.")
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            help="Column of the prediction's id: by it later labels find it, and nothing counts twice."
        ),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(
            "--segment", "--segments", help="Column of segments; may be repeated. Else the reference's."
        ),
    ] = None,
    sql: SqlOption = False,
    attach: AttachOption = None,
    attach_variable: AttachVariableOption = None,
    store: StoreOption = None,
    config: Annotated[
        Path | None, typer.Option(help="barograph.toml; by default the one in this folder, if there is one.")
    ] = None,
    clock: Annotated[
        str, typer.Option(help="The clock of barograph serve: wall, or 2013-10-14T13:00:00Z.")
    ] = "wall",
) -> None:
    """Bring in predictions that were kept elsewhere, as if they had been recorded live.

    [bold]barograph import "scored-*.parquet" --model fraud --version 3 --reference fraud.reference.json --time scored_at
    --label fraud --id payment[/bold]

    Each row counts in the minute of its time; older than three days, in its hour. With --id, importing again counts new rows and
    takes new labels; without, a file that was imported is passed over.
    """
    from barograph.history import AlreadyImported, Importer, Named, Report
    from barograph.serve import join_folder
    from barograph.tables import ImportFailed, located

    place, frozen = _importable(store, config), None if reference is None else _load(reference)
    columns = Named(time, score, prediction, label, label_time, id, segments=tuple(segment or ()))
    total, files, passed = Report(), 0, list[str]()
    try:
        now = Clock.parse(clock).now()
        sources = located(source, attach=_attached(attach, attach_variable), sql=sql)
        first = next(sources)
        with _opened(place) as tiles, counting("rows read") as step:
            importer = Importer(
                tiles, join_folder(place), model, version=version, reference=frozen, named=columns,
                bins_of=_bins_of(tiles, model), now=now,
            )  # fmt: skip
            for one in chain([first], sources):
                files += 1
                try:
                    total += importer.add(one, step)
                except AlreadyImported as error:
                    passed.append(str(error))
            importer.finish()
    except (ImportFailed, ValueError, OSError) as error:
        done = files - len(passed) - 1
        wrong(f"{error}{f' {done:,} files before it are imported.' if done > 0 else ''}")
    for text in passed:
        err.print(text, highlight=False, markup=False)
    if files > len(passed):
        out.print(total.told(model), highlight=False, markup=False)


def _attached(attach: str | None, variable: str | None) -> str | None:
    """The database that is meant; its address may hold a password, which a variable hides."""
    if variable is None:
        return attach
    if attach is not None:
        wrong("--attach-variable: --attach is given too; leave one of them out")
    found = os.environ.get(variable)
    if not found:
        wrong(f"--attach-variable: {variable} is not set; set it to the database's address")
    return found


def _importable(given: str | None, config: Path | None) -> str:
    """The store to import into; refused while a server has it open."""
    from barograph.serve import Address

    store = given or configured(config).store
    address = Address.of(store)
    if address is not None:
        wrong(
            f"--store: {store} is open in barograph serve, at {address.url}; stop it, import, and start it again: what services "
            "count meanwhile is read then"
        )
    return store


def _opened(store: str) -> "Tiles":
    """The store, made where there is none."""
    from barograph.tiles import Tiles

    Path(store).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Tiles(store)


def _bins_of(tiles: "Tiles", model: str) -> "BinsOf":
    """How outcomes of versions that are in the store are counted."""
    from barograph.config import Config
    from barograph.known import References
    from barograph.serve import outcome_bins
    from barograph.sources import StoredReferences

    return outcome_bins(tiles, References(StoredReferences(tiles), Config()), model)


def _load(path: Path) -> Reference:
    try:
        return Reference.load(path)
    except ReferenceFileError as error:
        wrong(str(error))
