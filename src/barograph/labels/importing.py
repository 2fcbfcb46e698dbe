"""Labels that lie elsewhere: in a file, at a URL, or in a database, read through DuckDB into the feedback log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from barograph.logs import FeedbackLog

BATCH = 50_000  # labels that are on the disk together
_READERS = {
    ".csv": "read_csv", ".tsv": "read_csv", ".parquet": "read_parquet",
    ".ndjson": "read_json", ".jsonl": "read_json", ".json": "read_json",
}  # fmt: skip
_PACKED = (".gz", ".zst")


class ImportFailed(ValueError):
    """Labels that cannot be read: what is wrong, and the remedy."""


@dataclass(frozen=True, slots=True)
class Imported:
    """How many labels were stored, and how many rows lack an id or a label."""

    stored: int = 0
    lacking: int = 0


def read(source: str, *, attach: str | None = None, sql: bool = False) -> Iterator[pa.Table]:
    """Tables of a file or URL (CSV, Parquet, NDJSON; `*` for many), or with `sql` of a query over what `attach` names.

    ImportFailed where it cannot be read.
    """
    try:
        with duckdb.connect() as connection:
            if attach is not None:
                connection.execute(f"ATTACH {_quoted(attach)} AS attached (READ_ONLY)")
                connection.execute("USE attached")
            query = source if sql else f"SELECT * FROM {_reader(source)}({_quoted(source)})"
            for batch in connection.sql(query).to_arrow_reader(BATCH):
                yield pa.Table.from_batches([batch])
    except duckdb.Error as error:
        what = str(error).splitlines()[0]
        raise ImportFailed(f"{source!r} cannot be read: {what}") from None


def _reader(source: str) -> str:
    name = source.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    for ending, reader in _READERS.items():
        if name.endswith(ending):
            return reader
    raise ImportFailed(
        f"{source!r} ends with none of {', '.join(_READERS)}; rename it, or give a query with --sql"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def store(log: FeedbackLog, model: str, table: pa.Table, columns: Mapping[str, str | None]) -> Imported:
    """Write one table's labels to the disk. `columns` name its id, label, time and kind (None: there is none).

    ImportFailed where a column is not there; OSError where the disk takes nothing.
    """
    named = {what: name for what, name in columns.items() if name is not None}
    for what, name in named.items():
        if name not in table.column_names:
            raise ImportFailed(
                f"--{what}: there is no column {name!r}; there are {', '.join(table.column_names)}"
            )
    whole = table.filter(pc.and_(pc.is_valid(table[named["id"]]), pc.is_valid(table[named["label"]])))
    log.append_columns(model, {what: whole[name] for what, name in named.items()}, len(whole))
    return Imported(len(whole), len(table) - len(whole))
