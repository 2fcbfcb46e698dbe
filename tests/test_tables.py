"""Rows from files, URLs and databases: the same rows whatever they come from, and errors that tell no secret."""

import functools
import http.server
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from barograph.cli import app
from barograph.tables import ImportFailed, located, read

ROWS = [("a", 1, 0.5), ("b", 0, None), ("c", 1, 2.5)]


def rows(tables):
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


@pytest.fixture
def files(tmp_path):
    table = pa.table({name: [row[i] for row in ROWS] for i, name in enumerate(("id", "label", "x"))})
    pq.write_table(table, tmp_path / "one.parquet")
    with duckdb.connect() as connection:
        for name, options in (
            ("one.csv", "HEADER"),
            ("one.ndjson", "FORMAT json"),
            ("one.csv.gz", "HEADER, COMPRESSION gzip"),
        ):
            connection.execute(f"COPY (FROM '{tmp_path}/one.parquet') TO '{tmp_path}/{name}' ({options})")
    return tmp_path


@pytest.mark.parametrize("name", ["one.parquet", "one.csv", "one.ndjson", "one.csv.gz", "*.parquet"])
def test_files_of_any_format_hold_the_same_rows(files, name):
    assert rows(read(str(files / name))) == ROWS


def test_each_file_of_a_pattern_is_a_source_of_its_own_known_by_its_content(files):
    shutil.copy(files / "one.csv", files / "two.csv")
    found = {source.name: source.digest for source in located(f"{files}/*.csv")}
    assert [Path(name).name for name in found] == ["one.csv", "two.csv"] and len(set(found.values())) == 1


def test_a_column_of_numbers_that_later_holds_texts_is_one_of_texts(tmp_path):
    (tmp_path / "codes.csv").write_text("code\n" + "7\n" * 30_000 + "A7\n")
    (source,) = located(str(tmp_path / "codes.csv"))
    found = pa.concat_tables(source.tables(order="code"))
    assert found["code"].type == pa.string() and len(found) == 30_001


def test_rows_come_in_order_and_some_at_a_time(files):
    (source,) = located(str(files / "one.csv"))
    assert [table["id"].to_pylist() for table in source.tables(rows=2, order="x")] == [["a", "c"], ["b"]]
    assert source.last("x").to_pylist() == [2.5]


@pytest.fixture
def web(files):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(files))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_come_from_urls_without_an_extension_of_duckdbs(files, web):
    assert rows(read(f"{web}/one.parquet?token=s3cret")) == ROWS
    fsspec.filesystem("memory").pipe("/place/one.csv", (files / "one.csv").read_bytes())
    assert rows(read("memory://place/*.csv")) == ROWS


def test_a_url_that_cannot_be_read_is_told_without_its_secrets(web):
    with pytest.raises(ImportFailed, match="gone.csv' cannot be read: it answered 404") as caught:
        list(read(f"{web.replace('//', '//me:s3cret@')}/gone.csv?signature=s3cret"))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ImportFailed, match="cannot be read: ") as caught:
        list(read("memory://me:s3cret@place/gone.csv"))
    assert "s3cret" not in str(caught.value)


# SQLite.


@pytest.fixture
def sqlite(tmp_path):
    with sqlite3.connect(tmp_path / "kept.db") as connection:
        connection.execute("CREATE TABLE t (id TEXT, label INTEGER, x REAL)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
    connection.close()
    return tmp_path / "kept.db"


@pytest.mark.parametrize("address", ["{}", "sqlite:{}", "sqlite://{}"])
def test_a_query_of_sqlite_answers_in_order(sqlite, address):
    (source,) = located("SELECT * FROM t;", attach=address.format(sqlite), sql=True)
    assert sorted(rows(source.tables())) == ROWS and source.digest is None
    assert [table["id"].to_pylist() for table in source.tables(rows=2, order="label")] == [["b", "a"], ["c"]]
    assert source.last("x").to_pylist() == [2.5]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nowhere", "cannot be read: no such table: nowhere"),
        ("DELETE FROM t", "cannot be read: near"),
        ("SELECT 1 AS x UNION ALL SELECT 'a'", "column 'x' holds values of several types.*CAST"),
    ],
)
def test_what_sqlite_cannot_answer_is_said(sqlite, query, said):
    with pytest.raises(ImportFailed, match=said):
        list(read(query, attach=str(sqlite), sql=True))


def test_a_database_that_is_not_there_is_named():
    with pytest.raises(ImportFailed, match="--attach: 'gone.db' cannot be read: there is no such file"):
        list(read("SELECT 1", attach="sqlite:gone.db", sql=True))


def test_an_extension_that_is_not_there_is_told_with_what_to_do():
    attached = "mysql:host=127.0.0.1 user=me password=s3cret port=1"
    with pytest.raises(ImportFailed) as caught:
        list(read("SELECT 1", attach=attached, sql=True))
    assert "s3cret" not in str(caught.value) and 'duckdb.sql("INSTALL mysql")' in str(caught.value)


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(ImportFailed, match=r'pip install "barograph\[postgres\]"'):
        list(read("SELECT 1", attach="postgresql://db/risk", sql=True))


# PostgreSQL.


def programs():
    """Where PostgreSQL's programs lie, the newest first."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[4]), reverse=True
    )
    there = shutil.which("initdb")
    return found[0].parent if found else Path(there).parent if there else None


@pytest.fixture(scope="module")
def postgres():
    """The address of a PostgreSQL of the test's own, as an unprivileged user, on a port of its own."""
    pytest.importorskip("adbc_driver_postgresql", reason="adbc-driver-postgresql is not installed")
    place = programs()
    if place is None:
        pytest.skip("PostgreSQL is not on this machine: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="barograph-postgres-") as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        user = {"user": "nobody"} if os.getuid() == 0 else {}  # PostgreSQL refuses to run as root
        Path(folder).chmod(0o700)
        if user:
            shutil.chown(folder, "nobody")
        kept = Path(folder) / "data"

        def run(*arguments):
            done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, **user)
            assert done.returncode == 0, done.stderr

        (Path(folder) / "secret").write_text("s3cret")
        run(
            place / "initdb",
            "-D",
            kept,
            "-U",
            "owner",
            "--no-sync",
            "-A",
            "scram-sha-256",
            f"--pwfile={folder}/secret",
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        with (Path(folder) / "log").open("w") as log:
            subprocess.run(
                [place / "pg_ctl", "-D", kept, "-w", "-o", options, "start"], cwd=folder, stdout=log, stderr=log, check=True, **user
            )  # fmt: skip
        try:
            yield f"postgresql://owner:s3cret@127.0.0.1:{port}/postgres"
        finally:
            run(place / "pg_ctl", "-D", kept, "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def filled(postgres):
    from adbc_driver_postgresql.dbapi import connect

    with connect(postgres, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE counter")
        cursor.execute(
            "CREATE TABLE scored AS SELECT i AS n, ('00000000-0000-0000-0000-00000000000' || i)::uuid AS id, i::numeric / 4 AS score, "
            "i % 2 = 0 AS label, '{\"a\": 1}'::jsonb AS j, 'c' || i AS country, "
            "timestamptz '2013-10-06 12:00:00+02' - i * interval '1 minute' AS at FROM generate_series(1, 4) i"
        )
    return postgres


def test_a_query_of_postgres_answers_in_order_with_plain_types(filled):
    query = "SELECT id, score, label, j, country, at FROM scored"
    (source,) = located(query, attach=filled, sql=True)
    found = list(source.tables(rows=3, order="at"))
    assert [len(table) for table in found] == [3, 1]
    assert found[0].schema.types == [
        pa.string(), pa.float64(), pa.bool_(), pa.string(), pa.string(), pa.timestamp("us", "UTC"),
    ]  # fmt: skip
    assert found[1].to_pylist() == [{
        "id": "00000000-0000-0000-0000-000000000001", "score": 0.25, "label": False, "j": '{"a": 1}', "country": "c1",
        "at": datetime(2013, 10, 6, 9, 59, tzinfo=UTC),
    }]  # fmt: skip
    assert source.last("at").to_pylist() == [datetime(2013, 10, 6, 9, 59, tzinfo=UTC)]


def test_postgres_is_only_read(filled):
    with pytest.raises(ImportFailed, match="cannot be read"):
        list(read("DELETE FROM scored RETURNING *", attach=filled, sql=True))
    with pytest.raises(ImportFailed, match="read-only transaction"):
        list(read("SELECT nextval('counter')", attach=filled, sql=True))


@pytest.mark.parametrize(
    ("change", "query", "said"),
    [
        ({}, "SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ({"s3cret": "wr0ng"}, "SELECT 1", "password authentication failed"),
        ({"/postgres": "/gone"}, "SELECT 1", 'database "gone" does not exist'),
    ],
)
def test_what_postgres_refuses_is_told_without_its_secrets(filled, change, query, said):
    address = filled
    for old, new in change.items():
        address = address.replace(old, new)
    with pytest.raises(ImportFailed, match=said) as caught:
        list(read(query, attach=address, sql=True))
    assert "s3cret" not in str(caught.value) and "wr0ng" not in str(caught.value)


def test_predictions_and_labels_come_from_postgres_by_the_command_line(filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RISK_DB", filled)
    query, at = "SELECT * FROM scored", ["--sql", "--attach-variable", "RISK_DB", "--model", "risk"]
    given = [
        "--time",
        "at",
        "--score",
        "score",
        "--label",
        "label",
        "--id",
        "id",
        "--clock",
        "2013-10-07T00:00:00Z",
    ]
    done = CliRunner().invoke(app, ["import", query, *at, *given])
    assert done.exit_code == 0, done.output
    assert "4 predictions of risk imported" in done.output and "4 of their labels are joined" in " ".join(
        done.output.split()
    )
    done = CliRunner().invoke(app, ["labels", "import", query, *at, "--log", "log"])
    assert done.exit_code == 0 and "4 labels of risk stored\n" in done.output
    monkeypatch.delenv("RISK_DB")
    done = CliRunner().invoke(app, ["labels", "import", query, *at, "--log", "log"])
    assert done.exit_code == 2 and "--attach-variable: RISK_DB is not set" in " ".join(done.output.split())
