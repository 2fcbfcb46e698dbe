"""The DuckDB file of the tiles: opened by one process, and set aside, never lost, when it is damaged."""

import logging
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb

MEMORY = ":memory:"

_ROW_GROUP = (
    2048  # rows; with the default of 122,880 a checkpoint that touches wide rows takes ten times as long
)
_MEMORY_LIMIT = "1GB"
_OURS = {"settings", "series", "dirty", "minutes", "hours", "days"}
_DAMAGED = (
    "not a valid DuckDB", "Corrupt", "Could not read enough", "replaying WAL", "deserialize", "INTERNAL Error",
)  # fmt: skip

log = logging.getLogger(__name__)


class TilesFileError(ValueError):
    """A file that cannot be used as tiles: open elsewhere, of another format, or not tiles at all."""


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that loads nothing from the network and takes a bounded part of the machine."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": 2,
        "memory_limit": _MEMORY_LIMIT,
        "autoinstall_known_extensions": False,
        "python_enable_replacements": False,
    }
    return duckdb.connect(MEMORY, config=settings)


def open_file(path: Path) -> duckdb.DuckDBPyConnection:
    """Open or make the file. What is damaged is renamed: first the write-ahead log alone, then the file.

    The file without its log is what it was at its last checkpoint, with the cursors of that moment; what was counted
    since is read again from the counters.
    """
    wal = wal_of(path)
    for suspect in (wal, path):
        try:
            return _attach(path)
        except duckdb.Error as error:
            why = str(error)
            if not any(mark in why for mark in _DAMAGED) or not _was_database(path):
                raise _explained(path, why) from error
            _set_aside(suspect if suspect.exists() else path, why)
    return _attach(path)


def wal_of(path: Path) -> Path:
    """Where DuckDB keeps the write-ahead log of a file."""
    return path.with_name(path.name + ".wal")


def _attach(path: Path) -> duckdb.DuckDBPyConnection:
    connection = connect()
    try:
        quoted = str(path).replace("'", "''")
        connection.execute(f"SET temp_directory = '{quoted}.tmp'")
        connection.execute(f"ATTACH '{quoted}' AS store (ROW_GROUP_SIZE {_ROW_GROUP})")
        connection.execute("USE store")
        tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if tables and not tables >= _OURS:
            raise TilesFileError(
                f"path: {path} is a database with other tables, such as {min(tables)!r}; give another path"
            )
        for table in tables & _OURS:  # damage shows only when a block is read
            columns = "start" if table in ("minutes", "hours", "days") else "COLUMNS(*)"
            connection.execute(f"SELECT max({columns}) FROM {table}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _was_database(path: Path) -> bool:
    """Whether a damaged file was a database: it bears the mark, or its name says so. No other file is moved away."""
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK" or path.suffix in (".duckdb", ".db")


def _set_aside(path: Path, why: str) -> None:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    path.rename(aside)
    log.error("%s is damaged (%s). It is kept as %s; going on without it.", path, why.splitlines()[0], aside)


def _explained(path: Path, why: str) -> TilesFileError:
    if "onflicting lock" in why or "already attached" in why:
        holder = re.search(r"PID (\d+)", why)
        who = f"process {holder[1]}" if holder else "another connection of this process"
        return TilesFileError(
            f"path: {path} is open in {who}, and only one can have it; ask the running `barograph serve` at its "
            "address, stop it, or give another path"
        )
    if path.is_dir():
        return TilesFileError(f"path: {path} is a folder; give the path of a file in it")
    if not path.parent.is_dir():
        return TilesFileError(f"path: {path} cannot be made, there is no folder {path.parent}; make it first")
    return TilesFileError(
        f"path: {path} cannot be opened ({why.splitlines()[0]}); give the path of a tiles file that this user can "
        "write, or of one that is not there yet"
    )
