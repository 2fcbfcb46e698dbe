"""Queries of databases, as Arrow: PostgreSQL through its ADBC driver, SQLite with Python's own, what DuckDB attaches through it.

DuckDB would ask these databases too, but with extensions that it fetches from a registry of its own, which many networks do
not let through; the drivers come with the other packages.
"""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import duckdb
import pyarrow as pa

from barograph.tables.failed import ImportFailed
from barograph.tables.plain import plain

POSTGRES = ("postgres:", "postgresql:")
SQLITE = "sqlite:"
_MAGIC = b"SQLite format 3\0"
_MEMORY = "512MB"  # of a sort; what exceeds it goes to the disk
_PASSWORD = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE)


def shown(address: str) -> str:
    """An address as it may be told: without the secrets that it carries.

    >>> shown("postgresql://ml:s3cret@db/risk?sslmode=require"), shown("postgres:dbname=risk password=s3cret")
    ('postgresql://db/risk', 'postgres:dbname=risk password=***')
    """
    if "://" not in address:
        return _PASSWORD.sub(r"\1***", address)
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def without_secrets(text: str, address: str | None) -> str:
    """What a library says of an address, without its secrets."""
    if address is None:
        return text
    secrets = [match[2] for match in _PASSWORD.finditer(address)]
    if "://" in address:
        parts = urlsplit(address)
        secrets += [part for part in (parts.password, parts.query) if part]
    text = text.replace(address, shown(address))
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def query(
    sql: str, attach: str | None, *, rows: int, order: str | None = None, folder: Path | None = None
) -> Iterator[pa.Table]:
    """Tables of at most `rows` rows of what a database answers, by the column `order` if it has one of that name.

    `attach` says which database: a file of DuckDB or SQLite, postgresql://..., or what else DuckDB attaches; without one DuckDB
    itself is asked, which reads files. `folder` is for what a sort holds on the disk. ImportFailed where there is no answer.
    """
    sql = _plain_sql(sql)
    try:
        if attach is not None and attach.startswith(POSTGRES):
            tables = _postgres(attach, sql, order)
        elif attach is not None and (path := _sqlite_file(attach)) is not None:
            tables = _sqlite(path, sql, rows, order)
        else:
            tables = _duckdb(attach, sql, rows, order, folder)
        for table in tables:
            for start in range(0, len(table), rows):
                yield plain(table.slice(start, rows))
    except (duckdb.Error, sqlite3.Error, pa.ArrowException) as error:
        raise _explained(sql, str(error), attach) from None


def _explained(sql: str, why: str, attach: str | None) -> ImportFailed:
    lines = [line for line in without_secrets(why, attach).strip().splitlines() if line.strip()] or [
        "no answer"
    ]
    if attach is not None and "xtension" in why and ":" in attach:
        name = attach.partition(":")[0]
        return ImportFailed(
            f"--attach: DuckDB's extension for {name} is not on this machine ({lines[0]}); install it where the network "
            f'allows (duckdb.sql("INSTALL {name}")), or export the rows as CSV or Parquet and import that file'
        )
    return ImportFailed(f"{sql!r} cannot be read: {lines[0]}")


def _plain_sql(sql: str) -> str:
    return sql.strip().rstrip(";")


def _ordered(sql: str, columns: list[str], order: str | None) -> str:
    """The query with its rows in order; as it is where it has no such column."""
    if order not in columns:
        return sql
    return f"SELECT * FROM (\n{sql}\n) AS asked ORDER BY {_identifier(order)}"


def largest(sql: str, column: str) -> str:
    """The query of the largest value that a query has in a column."""
    return f"SELECT max({_identifier(column)}) AS largest FROM (\n{_plain_sql(sql)}\n) AS asked"


def _empty(sql: str) -> str:
    return f"SELECT * FROM (\n{sql}\n) AS asked LIMIT 0"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _duckdb(
    attach: str | None, sql: str, rows: int, order: str | None, folder: Path | None
) -> Iterator[pa.RecordBatch]:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(config=settings) as connection:
        connection.execute("SET enable_progress_bar = false")
        if folder is not None:
            connection.execute(f"SET temp_directory = {literal(str(folder / 'sort'))}")
        if attach is not None:
            connection.execute(f"ATTACH {literal(attach)} AS attached (READ_ONLY)")
            connection.execute("USE attached")
        found = connection.sql(sql)
        if found is None:
            raise duckdb.InvalidInputException("it answers no rows; write a SELECT")
        ordered = found.order(_identifier(order)) if order in found.columns else found
        for batch in ordered.to_arrow_reader(rows):
            yield pa.Table.from_batches([batch])


def _postgres(attach: str, sql: str, order: str | None) -> Iterator[pa.Table]:
    try:
        from adbc_driver_manager import Error
        from adbc_driver_postgresql.dbapi import connect
    except ModuleNotFoundError:
        raise ImportFailed(
            '--attach: PostgreSQL needs its driver: pip install "barograph[postgres]"'
        ) from None
    address = attach if "://" in attach else attach.partition(":")[2]  # postgres:dbname=risk host=db
    try:
        with connect(address, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute(_empty(sql))
            names = [column[0] for column in cursor.description]
            cursor.execute(_ordered(sql, names, order))
            for batch in cursor.fetch_record_batch():
                yield pa.Table.from_batches([batch])
    except Error as error:
        raise _explained(sql, re.sub(r"^.*?(ERROR|FATAL|\[libpq\]):?\s*", "", str(error)), attach) from None


def _sqlite_file(attach: str) -> Path | None:
    """The file of SQLite that is meant, None for any other database."""
    if attach.startswith(SQLITE):
        return Path(attach.removeprefix(SQLITE).removeprefix("//"))
    path = Path(attach)
    try:
        with path.open("rb") as file:
            return path if file.read(len(_MAGIC)) == _MAGIC else None
    except OSError:
        return None


def _sqlite(path: Path, sql: str, rows: int, order: str | None) -> Iterator[pa.Table]:
    if not path.is_file():
        raise ImportFailed(f"--attach: {str(path)!r} cannot be read: there is no such file; correct the name")
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        cursor = connection.execute(_empty(sql))
        names = [column[0] for column in cursor.description]
        cursor = connection.execute(_ordered(sql, names, order))
        while found := cursor.fetchmany(rows):
            arrays = [
                _array(name, list(column))
                for name, column in zip(names, zip(*found, strict=True), strict=True)
            ]
            yield pa.table(arrays, names=names)
    finally:
        connection.close()


def _array(name: str, values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise ImportFailed(
            f"column {name!r} holds values of several types, as SQLite allows; give it one in the query: "
            f"CAST({name} AS TEXT) AS {name}"
        ) from None
