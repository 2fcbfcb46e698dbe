"""Labels from files and databases: stored as they are, row by row, and again without harm."""

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from barograph.cli import app
from barograph.labels.importing import store
from barograph.logs import FeedbackLog, Log
from barograph.tables import ImportFailed, read

ROWS = [("a", 1, "2013-10-14 13:20:00"), ("b", 0, "2013-10-15 13:20:00"), (None, 1, None), ("d", None, None)]


@pytest.fixture
def files(tmp_path):
    """The same labels in each of the formats."""
    table = pa.table({
        "payment": [r[0] for r in ROWS], "fraud": pa.array([r[1] for r in ROWS], pa.int64()), "at": [r[2] for r in ROWS],
    })  # fmt: skip
    with duckdb.connect(str(tmp_path / "labels.duckdb")) as connection:
        connection.register("given", table)
        connection.execute(
            'CREATE TABLE chargebacks AS SELECT payment, fraud, CAST("at" AS TIMESTAMP) AS "at" FROM given'
        )
        connection.execute(f"COPY chargebacks TO '{tmp_path}/labels.csv' (HEADER)")
        connection.execute(f"COPY chargebacks TO '{tmp_path}/labels.csv.gz' (HEADER, COMPRESSION gzip)")
        connection.execute(f"COPY chargebacks TO '{tmp_path}/labels.ndjson' (FORMAT json)")
    pq.write_table(
        table.set_column(2, "at", table["at"].cast(pa.timestamp("us"))), tmp_path / "labels.parquet"
    )
    return tmp_path


def stored(place) -> list[tuple]:
    rows = [row for table in Log(place / "log").read("feedback", "fraud") for row in table.to_pylist()]
    return [(row["id"], row["label"], f"{row['time']:%Y-%m-%d %H:%M:%S}") for row in rows]


@pytest.fixture
def verb(files, monkeypatch):
    """Runs the command in the folder of the files."""
    monkeypatch.chdir(files)
    return lambda *given: CliRunner().invoke(
        app, ["labels", "import", *given, "--model", "fraud", "--log", "log"]
    )


MAPPING = ["--id", "payment", "--label", "fraud", "--time", "at"]
EXPECTED = [("a", 1.0, "2013-10-14 13:20:00"), ("b", 0.0, "2013-10-15 13:20:00")]


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz", "labels.ndjson", "labels.parquet"])
def test_labels_of_any_format_are_stored_with_their_times(files, verb, name):
    done = verb(name, *MAPPING)
    assert done.exit_code == 0, done.output
    assert done.stdout == "2 labels of fraud stored; 2 rows have no id or no label\n"
    assert stored(files) == EXPECTED


def test_labels_come_from_a_query_of_a_database(files, verb):
    query = 'SELECT payment AS id, fraud AS label, "at" AS time FROM chargebacks WHERE payment IS NOT NULL'
    done = verb(query, "--sql", "--attach", "labels.duckdb", "--time", "time")
    assert done.exit_code == 0, done.output
    assert stored(files) == EXPECTED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.csv"], "'gone.csv' cannot be read"),
        (["labels.xlsx"], "ends with none of .csv"),
        (["labels.csv", "--id", "id"], "--id: there is no column 'id'; there are payment, fraud, at"),
        (["SELECT * FROM nowhere", "--sql"], "cannot be read"),
    ],
)
def test_what_cannot_be_imported_is_said_with_the_remedy(files, verb, arguments, said):
    (files / "labels.xlsx").write_bytes(b"PK")
    done = verb(*arguments)
    assert done.exit_code == 2 and said in " ".join(done.stderr.split())
    assert stored(files) == []


def test_classes_are_stored_as_texts(tmp_path):
    (tmp_path / "l.csv").write_text("id,label\na,cat\nb,dog\n")
    with FeedbackLog(Log(tmp_path / "log")) as log:
        for table in read(str(tmp_path / "l.csv")):
            store(log, "m", table, {"id": "id", "label": "label", "time": None, "kind": None})
    (table,) = Log(tmp_path / "log").read("feedback", "m", ["id", "label_text"])
    assert table.to_pylist() == [{"id": "a", "label_text": "cat"}, {"id": "b", "label_text": "dog"}]


def test_a_quote_in_a_name_is_no_way_into_the_query(tmp_path):
    with pytest.raises(ImportFailed, match="cannot be read"):
        list(read("x'); DROP TABLE y; --.csv"))
