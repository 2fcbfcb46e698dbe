"""A source of rows, and reading it."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from barograph.tables.databases import largest, literal, query, shown
from barograph.tables.failed import ImportFailed
from barograph.tables.files import digest, discard, fetched, named, reader_of

BATCH = 50_000  # rows at a time


@dataclass(frozen=True)
class Source:
    """Rows that lie elsewhere: a file on this machine, or what a database answers. `name` is how messages call it."""

    name: str
    path: Path | None = None
    sql: str = ""
    attach: str | None = None

    @property
    def digest(self) -> str | None:
        """What a file holds, as SHA-256 in hex digits; None of a query, which may answer otherwise the next time."""
        return None if self.path is None else digest(self.path)

    def tables(self, *, rows: int = BATCH, order: str | None = None) -> Iterator[pa.Table]:
        """The rows, some at a time, by the column `order` if there is one; ImportFailed where they cannot be read."""
        with tempfile.TemporaryDirectory(prefix="barograph-") as folder:
            if self.path is None:
                yield from query(self.sql, self.attach, rows=rows, order=order, folder=Path(folder))
            else:
                yield from self._of_file(rows, order, Path(folder))

    def last(self, column: str) -> pa.ChunkedArray:
        """The largest value of a column, as one row; ImportFailed where there is no such column, or it cannot be read."""
        sql = (
            self.sql
            if self.path is None
            else f"SELECT * FROM {reader_of(str(self.path))}({literal(str(self.path))})"
        )
        (found,) = query(largest(sql, column), self.attach, rows=1)
        return found.column(0)

    def _of_file(self, rows: int, order: str | None, folder: Path) -> Iterator[pa.Table]:
        """Types of a CSV file are told from its first rows and, where these mislead, from all of them: once more, slower."""
        reader = reader_of(str(self.path))
        options = ["", ", sample_size = -1"] if reader == "read_csv" else [""]
        for i, option in enumerate(options):
            sql = f"SELECT * FROM {reader}({literal(str(self.path))}{option})"
            begun = False
            try:
                for table in query(sql, None, rows=rows, order=order, folder=folder):
                    begun = True
                    yield table
                return
            except ImportFailed as error:
                if begun or i == len(options) - 1:
                    why = str(error).partition(" cannot be read: ")[2]
                    raise ImportFailed(f"{self.name!r} cannot be read: {why}") from None


def located(source: str, *, attach: str | None = None, sql: bool = False) -> Iterator[Source]:
    """The sources that are meant: each file of a path or URL (`*` for many), or with `sql` one query of what `attach` names.

    What lies at a URL is there, as a file, until the next one is asked for. ImportFailed where nothing is.
    """
    if sql:
        yield Source(source, None, source, attach)
        return
    with tempfile.TemporaryDirectory(prefix="barograph-") as place:
        for name in named(source):
            reader_of(name.partition("?")[0])
            path = fetched(name, Path(place))
            yield Source(shown(name), path)
            discard(path, Path(place))


def read(source: str, *, attach: str | None = None, sql: bool = False) -> Iterator[pa.Table]:
    """Tables of a file or URL (CSV, Parquet, NDJSON; `*` for many), or with `sql` of a query over what `attach` names.

    ImportFailed where it cannot be read.
    """
    for one in located(source, attach=attach, sql=sql):
        yield from one.tables()
