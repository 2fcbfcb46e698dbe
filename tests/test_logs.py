"""Nothing that was acknowledged is lost, and no row is read twice, whoever writes, reads, compacts, or is killed meanwhile."""

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.clock import Clock
from barograph.logs import (
    Cursor,
    Feedback,
    FeedbackLog,
    Keeper,
    Limits,
    Log,
    Position,
    PredictionLog,
    feature_column,
    feature_types,
    keeping,
    predictions,
    streams,
)
from barograph.logs.paths import Partition
from barograph.logs.stores import Local, Remote
from barograph.schema import Column, Schema

NOW = 1_381_752_000.0  # 2013-10-14T12:00:00Z
DAY = 86_400
NOON = Clock(start=NOW, origin=time.time(), speed=0.001)
SMALL = Limits(rotate_bytes=20_000)
SCHEMA = Schema((
    Column("amount", "numeric"), Column("seats", "integer"), Column("night", "boolean"),
    Column("carrier", "categorical"), Column("leaves", "datetime"), Column("tone", "numeric", role="heuristic"),
    Column("p", "numeric", role="score"),
))  # fmt: skip


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def ids(place: Log, kind: str = "predictions", model: str = "m", since: Cursor | None = None) -> list[str]:
    return [one for table in place.read(kind, model, ["id"], since=since) for one in table["id"].to_pylist()]


def rows(place: Log, columns: list[str] | None = None, kind: str = "predictions") -> list[dict[str, Any]]:
    return [row for table in place.read(kind, "m", columns) for row in table.to_pylist()]


def log_ids(writer: PredictionLog, names: list[str]) -> None:
    writer.append({"id": names, "score": np.linspace(0, 1, len(names))}, len(names))


def files(place: Log, ending: str) -> list[Path]:
    return sorted(place.spool.root.rglob(f"*{ending}"))


def predicting(place: Log, version: str = "1", **options: Any) -> PredictionLog:
    return PredictionLog(place, "m", version, "b", clock=NOON, **options)


# What is logged.


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    place = Log(tmp_path)
    fixed = {
        "id": ["a", "b"], "time": [NOW - 5, None], "score": np.array([0.25, np.nan]), "prediction": ["late", None],
        "delivered": [1, 0], "rule": [None, "cap"], "segments": [{"origin": "JFK", "class": 1}, None],
    }  # fmt: skip
    features = {
        "amount": [1.5, None], "seats": np.array([3, 4]), "night": [True, None],
        "carrier": np.array(["AA", None], dtype=object), "leaves": np.array(["2013-10-14T10:00", "NaT"], "datetime64[s]"),
        "tone": np.array([0.5, 0.25], np.float32), "other": [1, 2],
    }  # fmt: skip
    with predicting(place, schema=SCHEMA) as writer:
        writer.append(fixed, 2, features)
    first, second = rows(place)
    assert first["time"].timestamp() == NOW - 5
    assert second["time"] == second["arrival"] and abs(second["arrival"].timestamp() - NOW) < 60
    assert (first["score"], first["prediction"], first["prediction_text"]) == (0.25, None, "late")
    assert np.isnan(second["score"]) and second["prediction_text"] is None
    assert (first["delivered"], second["delivered"], second["rule"]) == (1.0, 0.0, "cap")
    assert dict(first["segments"]) == {"origin": "JFK", "class": "1"} and second["segments"] is None
    names = ("amount", "seats", "night", "carrier", "tone")
    assert [first[name] for name in names] == [1.5, 3.0, True, "AA", 0.5]
    assert [second[name] for name in names] == [None, 4.0, None, None, 0.25]
    assert first["leaves"].isoformat() == "2013-10-14T10:00:00+00:00" and second["leaves"] is None
    assert "other" not in first and "p" not in first
    assert (first["model"], first["day"], first["version"], first["bins"]) == ("m", "2013-10-14", "1", "b")


@pytest.mark.parametrize(
    "segments",
    [{"a": ["x", None], "b": np.array(["y", "z"], object)}, [{"a": "x", "b": "y"}, {"a": None, "b": "z"}]],
)
def test_segments_come_by_column_or_by_row(tmp_path: Path, segments: Any) -> None:
    with predicting(Log(tmp_path)) as writer:
        writer.append({"id": ["1", "2"], "segments": segments}, 2)
    found = [dict(row["segments"]) for row in rows(Log(tmp_path), ["segments"])]
    assert found == [{"a": "x", "b": "y"}, {"a": None, "b": "z"}]


def test_a_value_of_another_type_is_kept_as_text_beside_its_column(tmp_path: Path) -> None:
    place, lost = Log(tmp_path), list[int]()
    with predicting(place, schema=SCHEMA, lost=lambda n, why: lost.append(n)) as writer:
        writer.append({"id": ["a"]}, 1, {"amount": [1.0]})
        writer.append({"id": ["b", "c"]}, 2, {"amount": [2, "n/a"], "night": [2, 1], "carrier": [5, 5.0]})
    found = rows(place, ["amount", "amount__string", "night", "night__string", "carrier"])
    assert [row["amount"] for row in found] == [1.0, 2.0, None]
    assert [row["amount__string"] for row in found] == [None, None, "n/a"]
    assert [row["night"] for row in found] == [None, None, True] and found[1]["night__string"] == "2"
    assert [row["carrier"] for row in found] == [None, "5", "5"]
    assert not lost


@given(
    st.lists(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(), st.datetimes(),
            st.text(st.characters(categories=["Cs"])), st.lists(st.integers()),
        ),
        min_size=1, max_size=5,
    ),
    st.sampled_from(["amount", "seats", "night", "carrier", "leaves"]), st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=150)
def test_whatever_the_values_no_row_is_lost(values: list[Any], name: str, typed: bool, array: bool) -> None:
    lost: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Log(folder)
        given = np.fromiter(values, dtype=object, count=len(values)) if array else values
        n = len(values)
        with predicting(
            place, schema=SCHEMA if typed else None, lost=lambda *what: lost.append(what)
        ) as writer:
            writer.append({"id": [str(i) for i in range(n)]}, n, {name: [1.0] * n})
            writer.append({"id": given, "prediction": given, "time": given}, n, {name: given})
        with FeedbackLog(place, clock=NOON) as feedback:
            feedback.append([Feedback("m", str(i), value) for i, value in enumerate(values)])
        assert not lost
        assert len(rows(place)) == 2 * n and len(rows(place, kind="feedback")) == n


def test_many_rows_at_once_become_messages_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "MOST_TOGETHER", 10)
    with predicting(Log(tmp_path)) as writer:
        log_ids(writer, [str(i) for i in range(25)])
    (path,) = files(Log(tmp_path), ".arrows")
    with streams.StreamReader(path) as reader:
        assert [piece.batch.num_rows for piece in reader.pieces()] == [10, 10, 5]
    assert ids(Log(tmp_path)) == [str(i) for i in range(25)]


def test_without_a_schema_the_first_type_has_the_name(tmp_path: Path) -> None:
    place = Log(tmp_path)
    with predicting(place) as writer:
        for value in (1, 1.5, "one", True, None, 2):
            writer.append({"id": ["a"]}, 1, {"x": [value]})
    found = rows(place, ["x", "x__string", "x__bool", "x__float"])
    assert [row["x"] for row in found] == [1.0, 1.5, None, None, None, 2.0]
    assert found[2]["x__string"] == "one" and found[3]["x__bool"] is True
    assert [row["x__float"] for row in found] == [row["x"] for row in found]
    assert (
        len(files(place, ".arrows")) <= 4
    )  # a column that changes its type all the time does not make a file each time


def test_made_up_columns_come_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barograph.logs.predictions.MAX_COLUMNS", 3)
    place = Log(tmp_path)
    with predicting(place) as writer:
        for i in range(6):
            writer.append({"id": [str(i)]}, 1, {f"x{i}": [i]})
    assert set(rows(place)[0]) & {f"x{i}" for i in range(6)} == {"x0", "x1", "x2"} and len(rows(place)) == 6


def test_a_feature_may_be_called_like_a_fixed_column(tmp_path: Path) -> None:
    schema = Schema((Column("time", "numeric"), Column("version", "categorical"), Column("x", "numeric")))
    with predicting(Log(tmp_path), schema=schema) as writer:
        writer.append({"id": ["a"]}, 1, {"time": [3.0], "version": ["old"], "x": [1.0]})
    (row,) = rows(Log(tmp_path), [feature_column("time"), feature_column("version"), "x", "version"])
    assert row == {"feature.time": 3.0, "feature.version": "old", "x": 1.0, "version": "1"}
    assert list(feature_types(schema)) == ["feature.time", "feature.version", "x"]


def test_rows_lie_in_the_folder_of_the_day_on_which_they_arrived(tmp_path: Path) -> None:
    place = Log(tmp_path)
    midnight = NOW + DAY / 2
    with predicting(place) as writer:
        writer.append({"id": ["b", "a", "c"], "arrival": np.array([midnight, midnight - 1, midnight + 1])}, 3)
    found = {row["id"]: row["day"] for row in rows(place, ["id", "day"])}
    assert found == {"a": "2013-10-14", "b": "2013-10-15", "c": "2013-10-15"}
    days = ("2013-10-15", None)
    assert [t.num_rows for t in place.read("predictions", "m", ["id"], days=days)] == [2]


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_any_name_of_a_model_or_version_makes_a_folder_and_comes_back(model: str, version: str) -> None:
    try:
        model.encode(), version.encode()
    except UnicodeEncodeError:
        return
    partition = Partition("predictions", model, "2013-10-14", version, "..")
    assert Partition.parse(partition.path) == partition
    assert len(Path(partition.path).parts) == 5 and ".." not in Path(partition.path).parts


def test_streams_are_rotated_by_time_and_size(tmp_path: Path) -> None:
    place = Log(tmp_path, limits={"predictions": Limits(rotate_seconds=0.05)})
    with predicting(place) as writer:
        log_ids(writer, ["a"])
        time.sleep(0.06)
        log_ids(writer, ["b"])
        assert len(files(place, ".arrows")) == 2
        time.sleep(0.06)
        writer.append({}, 0)
        assert place.keep(NOW).compacted == 2  # nobody writes them, though no row came
    sized = Log(tmp_path / "sized", limits={"predictions": SMALL})
    with predicting(sized) as writer:
        for i in range(40):
            log_ids(writer, [f"{i}-{k}" for k in range(100)])
    assert 2 <= len(files(sized, ".arrows")) <= 20
    assert len(ids(sized)) == 4_000


# Reading.


def test_two_versions_with_a_dropped_an_added_and_a_retyped_feature_read_as_one(tmp_path: Path) -> None:
    place = Log(tmp_path)
    old = Schema((Column("kept", "numeric"), Column("dropped", "categorical"), Column("retyped", "numeric")))
    new = Schema((Column("kept", "numeric"), Column("added", "boolean"), Column("retyped", "categorical")))
    with predicting(place, "1", schema=old) as one, predicting(place, "2", schema=new) as two:
        one.append({"id": ["a"]}, 1, {"kept": [1], "dropped": ["x"], "retyped": [7]})
        two.append({"id": ["b"]}, 1, {"kept": [2], "added": [True], "retyped": ["seven"]})
    wanted = ["id", "version", "kept", "dropped", "added", "retyped", "retyped__string"]
    for _ in range(2):
        found = sorted(rows(place, wanted), key=lambda row: row["id"])
        assert list(found[0].values()) == ["a", "1", 1.0, "x", None, 7.0, None]
        assert list(found[1].values()) == ["b", "2", 2.0, None, True, None, "seven"]
        assert {t.schema for t in place.read("predictions", "m")} == {
            next(place.read("predictions", "m")).schema
        }
        assert set(wanted) <= set(next(place.read("predictions", "m")).column_names)
        place.keep(NOW)  # and the same from tables


def test_an_int_widens_to_float_and_an_unknown_column_is_null(tmp_path: Path) -> None:
    place = Log(tmp_path)
    for values in ([1], [1.5]):
        with predicting(place) as writer:
            writer.append({"id": ["a"]}, 1, {"x": values})
    (first, second) = place.read("predictions", "m", ["x", "nowhere"])
    assert first["x"].type == second["x"].type == pa.float64()
    assert first["nowhere"].type == pa.null()


def test_only_the_columns_that_are_wanted_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, seen = Log(tmp_path), list[list[str]]()
    with predicting(place) as writer:
        writer.append({"id": ["a"]}, 1, {f"x{i}": [1.0] for i in range(50)})
    original = keeping.Union.table

    def table(self: Any, part: pa.RecordBatch, *rest: Any) -> pa.Table:
        seen.append(part.schema.names)
        return original(self, part, *rest)

    monkeypatch.setattr(keeping.Union, "table", table)
    for _ in range(2):
        assert rows(place, ["x7", "day"]) == [{"x7": 1.0, "day": "2013-10-14"}]
        assert rows(place, ["day"]) == [{"day": "2013-10-14"}]
        assert seen[-2:] == [["x7"], ["id"]]
        place.keep(NOW)


def test_columns_without_any_value_in_a_table_are_none_and_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, seen = Log(tmp_path), list[list[str]]()
    monkeypatch.setattr(keeping, "GROUP_ROWS", 2)
    with predicting(place) as writer:
        writer.append({"id": ["a", "b"], "score": [None, None]}, 2, {"x": [None, None]})
        writer.append({"id": ["c", "d"], "score": [0.5, None]}, 2, {"x": [None, 2.0]})
    before = rows(place, ["id", "score", "x"])
    place.keep(NOW)
    original = keeping.Union.table

    def table(self: Any, part: pa.RecordBatch, *rest: Any) -> pa.Table:
        seen.append(part.schema.names)
        return original(self, part, *rest)

    monkeypatch.setattr(keeping.Union, "table", table)
    assert rows(place, ["id", "score", "x"]) == before
    assert rows(place, ["x"]) == [{"x": row["x"]} for row in before]
    assert seen == [["id"], ["id", "score", "x"], ["x"], ["x"]]


def test_tables_hold_ids_and_times_as_differences(tmp_path: Path) -> None:
    place = Log(tmp_path)
    with predicting(place) as writer:
        log_ids(writer, ["a", "b"])
    place.keep(NOW)
    group = pq.read_metadata(files(place, ".parquet")[0]).row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    assert "DELTA_LENGTH_BYTE_ARRAY" in encodings["id"]
    assert all("DELTA_BINARY_PACKED" in encodings[name] for name in ("time", "arrival"))


def test_reading_what_is_not_there_says_so_or_is_empty(tmp_path: Path) -> None:
    assert ids(Log(tmp_path / "nowhere")) == []
    with pytest.raises(ValueError, match="kind: 'labels'.*predictions, feedback"):
        Log(tmp_path).read("labels", "m")
    with pytest.raises(ValueError, match="limits: 'labels'"):
        Log(tmp_path, limits={"labels": Limits()})
    with pytest.raises(ValueError, match="is no cursor"):
        Cursor.from_json("[3]")
    (tmp_path / "predictions" / "model=m" / "day=soon").mkdir(parents=True)
    (tmp_path / "predictions" / "note.txt").write_text("not ours")
    assert ids(Log(tmp_path)) == [] and Log(tmp_path).models("predictions") == []


def test_a_table_that_another_program_laid_there_is_read(tmp_path: Path) -> None:
    folder = tmp_path / Partition("predictions", "m", "2013-10-14", "1", "b").path
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"id": ["a", "b"], "x": [1, 2]}), folder / "part-0.parquet")
    place = Log(tmp_path)
    reading = place.read("predictions", "m", ["id", "x"])
    assert [row["x"] for table in reading for row in table.to_pylist()] == [1, 2]
    assert ids(place, since=reading.cursor) == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.integers(0, 2), st.integers(1, 5)),
        st.tuples(st.just("close"), st.integers(0, 2), st.just(0)),
        st.tuples(st.sampled_from(["keep", "read", "part"]), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 3))
@settings(max_examples=60)
def test_every_row_is_read_once_whatever_happens_between_two_readings(steps: Any, many: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "MANY", many)
        patch.setattr(keeping, "GROUP_ROWS", 4)
        place, cursor, n, found = Log(folder), Cursor(), 0, list[str]()
        writers = [predicting(place, str(i)) for i in range(3)]
        for step, which, count in [*steps, ("read", 0, 0)]:
            if step == "log":
                log_ids(writers[which], [str(n + i) for i in range(count)])
                n += count
            elif step == "close":
                writers[which].close()
            elif step == "keep":
                assert not place.keep(NOW).damaged
            else:
                reading = Log(folder).read(
                    "predictions", "m", ["id"], since=Cursor.from_json(cursor.to_json())
                )
                for table in reading:
                    found += table["id"].to_pylist()
                    if step == "part":
                        break
                cursor = reading.cursor
        assert sorted(found, key=int) == [str(i) for i in range(n)]
        assert cursor.rows == n


def test_a_cursor_forgets_the_days_that_the_log_has_removed_and_no_others(tmp_path: Path) -> None:
    place = Log(tmp_path, limits={"predictions": Limits(days=2)})
    with predicting(place) as writer:
        for day in range(4):
            writer.append({"id": [str(day)], "arrival": [NOW - DAY * (3 - day)]}, 1)
    reading = place.read("predictions", "m", ["id"])
    assert sum(table.num_rows for table in reading) == 4 and len(reading.cursor.positions) == 4
    place.keep(NOW)
    again = place.read("predictions", "m", ["id"], since=reading.cursor)
    assert list(again) == [] and len(again.cursor.positions) == 3
    empty = Log(tmp_path / "not mounted").read("predictions", "m", ["id"], since=again.cursor)
    assert list(empty) == [] and empty.cursor == again.cursor


# Damage.


def torn(tmp_path: Path) -> tuple[Log, Path, list[int]]:
    """A log of five batches in one file, the file, and where each batch ends."""
    place = Log(tmp_path)
    ends = []
    with predicting(place) as writer:
        for i in range(5):
            log_ids(writer, [f"{i}{k}" for k in range(3)])
            (file,) = files(place, ".arrows")
            ends.append(file.stat().st_size)
    return place, file, ends


@pytest.mark.parametrize("fill", [b"", bytes(64), b"\xff" * 64, b"\xff\xff\xff\xff\0\0"])
def test_a_half_written_tail_costs_the_batch_that_was_being_written(tmp_path: Path, fill: bytes) -> None:
    place, file, ends = torn(tmp_path)
    whole = file.read_bytes()
    for cut in (*range(ends[3] + 1, ends[4], 97), ends[4] - 1):
        left = whole[:cut] + fill
        if left.startswith(whole[: ends[4]]):
            continue  # what was cut off was padding
        file.write_bytes(left)
        reading = place.read("predictions", "m", ["id"])
        assert sum(table.num_rows for table in reading) == 12
        assert list(reading.damaged) == [str(file.relative_to(tmp_path))]
    kept = place.keep(NOW)
    assert (
        list(kept.damaged) == [str(file.relative_to(tmp_path))]
        and file.with_name(f"{file.name}.damaged").exists()
    )
    assert len(ids(place)) == 12 and ids(place, since=reading.cursor) == []
    assert not place.keep(NOW).damaged


def test_a_damaged_batch_costs_no_other(tmp_path: Path) -> None:
    place, file, ends = torn(tmp_path)
    whole = bytearray(file.read_bytes())
    expected = [f"{i}{k}" for i in range(5) for k in range(3)]
    rng = random.Random(1)
    for trial in range(200):
        batch = trial % 5
        start = ends[batch - 1] if batch else ends[0] - (ends[1] - ends[0])
        spoilt = bytearray(whole)
        for _ in range(8):
            spoilt[rng.randrange(start, ends[batch])] = rng.randrange(256)
        file.write_bytes(spoilt)
        found = ids(Log(tmp_path))
        others = [one for one in expected if not one.startswith(str(batch))]
        assert [one for one in found if one in others] == others
        assert len(found) == (12 if spoilt != whole else 15)
    file.write_bytes(whole[: ends[0]] + bytes(ends[1] - ends[0]) + whole[ends[1] :])
    reading = place.read("predictions", "m", ["id"])
    assert [one for t in reading for one in t["id"].to_pylist()] == [x for x in expected if x[0] != "1"]
    assert reading.damaged
    assert list(place.keep(NOW).damaged) == list(reading.damaged)
    assert ids(place) == [x for x in expected if x[0] != "1"] and ids(place, since=reading.cursor) == []


def test_what_is_no_log_file_at_all_is_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    place, file, _ = torn(tmp_path)
    for name in ("x.arrows", "y.parquet", "empty.arrows", "none.parquet"):
        file.with_name(name).write_bytes(b"" if name[0] in "en" else b"PAR1 and nothing more")
    reading = place.read("predictions", "m", ["id"])
    assert sum(table.num_rows for table in reading) == 15
    assert len(reading.damaged) == 4
    assert sorted(place.keep(NOW).damaged) == sorted(reading.damaged)
    assert len(ids(place)) == 15 and len(files(place, ".damaged")) == 4


def test_a_damaged_row_group_of_a_table_costs_no_other_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "GROUP_ROWS", 100)
    monkeypatch.setattr(keeping, "MANY", 1)
    place = Log(tmp_path)
    with predicting(place) as writer:
        for i in range(3):
            log_ids(writer, [f"{i}-{k}" for k in range(100)])
    place.keep(NOW)
    (table,) = files(place, ".parquet")
    column = pq.ParquetFile(table).metadata.row_group(1).column(0)
    whole = bytearray(table.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    whole[middle : middle + 40] = bytes(40)
    table.write_bytes(whole)
    place = Log(tmp_path)
    reading = place.read("predictions", "m", ["id"])
    assert {one[0] for t in reading for one in t["id"].to_pylist()} == {"0", "2"}
    assert "row group 1" in "".join(reading.damaged.values())
    assert ids(place, since=reading.cursor) == []
    with predicting(place) as writer:
        log_ids(writer, ["more"])
    for _ in range(3):
        place.keep(NOW)
    assert table.exists() and ids(place, since=reading.cursor) == ["more"]


# Full and broken disks.


class Disk:
    """Fails calls of the operating system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = self.unsynced = False
        self.syncs = 0
        write, sync = os.pwrite, os.fdatasync

        def pwrite(file: int, data: Any, at: int) -> int:
            if not self.full:
                return write(file, data, at)
            if len(data) > 100:
                return write(file, bytes(data)[: len(data) // 2], at)  # a full disk takes a part first
            raise OSError(errno.ENOSPC, "No space left on device")

        def fdatasync(file: int) -> None:
            self.syncs += 1
            if self.unsynced:
                raise OSError(errno.EIO, "Input/output error")
            sync(file)

        monkeypatch.setattr(streams.os, "pwrite", pwrite)
        monkeypatch.setattr(streams.os, "fdatasync", fdatasync)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_on_a_full_disk_rows_are_counted_as_not_logged_and_logging_recovers(
    tmp_path: Path, disk: Disk
) -> None:
    place, lost = Log(tmp_path), list[tuple[int, str]]()
    reading = place.read("predictions", "m", ["id"])
    with predicting(place, lost=lambda *what: lost.append(what)) as writer:
        log_ids(writer, ["a"])
        cursor = Cursor()
        for i in range(3):
            disk.full = True
            log_ids(writer, [f"lost {k}" for k in range(50)])
            assert ids(Log(tmp_path)) == ["a", *"bcd"[:i]]
            reading = place.read("predictions", "m", ["id"], since=cursor)
            assert [one for t in reading for one in t["id"].to_pylist()] == ["abc"[i]]
            cursor = reading.cursor
            disk.full = False
            log_ids(writer, ["bcd"[i]])
    assert lost == [(50, "disk")] * 3
    assert ids(place) == list("abcd") and not place.keep(NOW).damaged


def test_where_no_file_can_be_made_nothing_is_left_behind(tmp_path: Path, disk: Disk) -> None:
    place, lost = Log(tmp_path), list[Any]()
    disk.full = True
    with predicting(place, lost=lambda *what: lost.append(what)) as writer:
        log_ids(writer, ["lost"])
        assert lost == [(1, "disk")] and not [path for path in tmp_path.rglob("*") if path.is_file()]
        with FeedbackLog(place) as feedback, pytest.raises(OSError, match="No space"):
            feedback.append([Feedback("m", "a", 1.0)])
        disk.full = False
        log_ids(writer, ["a"])
    assert ids(place) == ["a"]


@pytest.mark.parametrize("what", ["full", "unsynced"])
def test_feedback_that_is_not_durable_is_not_acknowledged(tmp_path: Path, disk: Disk, what: str) -> None:
    place = Log(tmp_path)
    with FeedbackLog(place) as feedback:
        feedback.append([Feedback("m", "a", 1.0)])
        cursor = reading_of(place, "feedback")
        setattr(disk, what, True)
        with pytest.raises(OSError, match="No space|Input/output"):
            feedback.append([Feedback("m", "again", 1.0) for _ in range(50)])
        setattr(disk, what, False)
        seen = reading_of(place, "feedback", cursor)
        feedback.append([Feedback("m", "again", 1.0)])
        assert ids(place, "feedback", since=seen) == [
            "again"
        ]  # none hidden behind what a reader saw and was then cut off
    assert set(ids(place, "feedback")) == {"a", "again"}


def reading_of(place: Log, kind: str, since: Cursor | None = None) -> Cursor:
    reading = place.read(kind, "m", ["id"], since=since)
    for _ in reading:
        pass
    return reading.cursor


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 400 KB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("a small file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_really_full_disk(small_disk: Path) -> None:
    place, lost, n = Log(small_disk), list[int](), 0
    with predicting(place, lost=lambda rows, _: lost.append(rows)) as writer, FeedbackLog(place) as feedback:
        accepted, refused = list[str](), list[int | None]()
        while len(lost) < 5:
            assert n < 2_000
            log_ids(writer, [f"{n}-{i}-{random.random()}" for i in range(100)])
            n += 1
            try:
                feedback.append([Feedback("m", str(n), 1.0)])
                accepted.append(str(n))
            except OSError as error:
                refused.append(error.errno)
        assert len(ids(place)) == 100 * (n - 5) and set(refused) <= {errno.ENOSPC}
        assert ids(place, "feedback") == accepted
        writer.close()
        (small_disk / "predictions").rename(small_disk / "gone")
        subprocess.run(["rm", "-r", str(small_disk / "gone")], check=True)
        log_ids(writer, ["more"])
        feedback.append([Feedback("m", "more", 1.0)])
        assert ids(place) == ["more"] and ids(place, "feedback") == [*accepted, "more"]
    with pytest.raises(OSError, match="space"):
        (small_disk / "filler").write_bytes(bytes(1_000_000))
    with pytest.raises(OSError, match="space"):
        place.keep(NOW)  # a table finds no room: the streams stay
    assert ids(place, "feedback") == [*accepted, "more"] and not files(place, ".parquet")
    (small_disk / "filler").unlink()
    assert place.keep(NOW).compacted >= 1 and ids(place, "feedback") == [*accepted, "more"]


def test_a_folder_that_is_removed_or_not_writable_does_not_stop_the_log(tmp_path: Path) -> None:
    place, lost = Log(tmp_path / "log"), list[Any]()
    (tmp_path / "log").write_text("a file where the folder should be")
    with predicting(place, lost=lambda *what: lost.append(what)) as writer, FeedbackLog(place) as feedback:
        log_ids(writer, ["lost"])
        assert lost == [(1, "disk")]
        (tmp_path / "log").unlink()
        for name in "ab":
            log_ids(writer, [name])
            feedback.append([Feedback("m", name, 1.0)])
            assert ids(place) == ids(place, "feedback") == [name]
            subprocess.run(["rm", "-r", str(tmp_path / "log")], check=True)
    assert len(lost) == 1


def test_a_folder_that_a_keeper_removes_before_the_first_file_is_in_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, removed = streams.make_folder, list[Path]()

    def make_folder(folder: Path) -> list[Path]:
        made = original(folder)
        if not removed:
            removed.append(folder)
            folder.rmdir()
        return made

    monkeypatch.setattr(streams, "make_folder", make_folder)
    with predicting(Log(tmp_path)) as writer:
        log_ids(writer, ["a"])
    assert removed and ids(Log(tmp_path)) == ["a"]


# Feedback.


def test_feedback_comes_back_as_it_was(tmp_path: Path) -> None:
    with FeedbackLog(Log(tmp_path), clock=NOON) as feedback:
        feedback.append(
            [Feedback("m", "a", True), Feedback("n", "x", "spam"), Feedback("m", "b", None, NOW - 9, "click")]
        )
        feedback.append_columns(
            "m", {"id": np.array([7, 8]), "label": np.array([0.5, 2]), "time": [None, NOW]}, 2
        )
        feedback.append([])
        with pytest.raises(ValueError, match="names no model"):
            feedback.append([Feedback("", "a", 1)])
    a, b, c, d = rows(Log(tmp_path), kind="feedback")
    assert (a["id"], a["label"], a["label_text"], a["kind"], a["model"], a["day"]) == (
        "a",
        1.0,
        None,
        None,
        "m",
        "2013-10-14",
    )
    assert a["time"] == a["arrival"]
    assert (b["label"], b["time"].timestamp(), b["kind"]) == (None, NOW - 9, "click")
    assert (c["id"], c["label"], d["time"].timestamp()) == ("7", 0.5, NOW)
    assert Log(tmp_path).models("feedback") == ["m", "n"]
    (other,) = (t.to_pylist() for t in Log(tmp_path).read("feedback", "n", ["label", "label_text"]))
    assert other == [{"label": None, "label_text": "spam"}]


def test_those_who_wait_share_one_sync(tmp_path: Path, disk: Disk) -> None:
    place, calls, threads = Log(tmp_path), 50, 8
    with FeedbackLog(place) as feedback:

        def send(thread: int) -> None:
            for i in range(calls):
                feedback.append([Feedback("m", f"{thread}-{i}", 1.0)])

        each = [threading.Thread(target=send, args=(i,)) for i in range(threads)]
        for one in each:
            one.start()
        for one in each:
            one.join()
    found = ids(place, "feedback")
    assert sorted(found) == sorted(f"{t}-{i}" for t in range(threads) for i in range(calls))
    assert disk.syncs < 0.7 * calls * threads


def test_one_models_failure_is_not_anothers(tmp_path: Path) -> None:
    place = Log(tmp_path)
    (tmp_path / "feedback").mkdir()
    (tmp_path / "feedback" / "model=bad").write_text("a file where the folder should be")
    with FeedbackLog(place) as feedback:
        feedback.append([Feedback("m", "a", 1.0)])
        with pytest.raises(OSError, match="model=bad"):
            feedback.append([Feedback("bad", "b", 1.0), Feedback("m", "b", 1.0)])
        feedback.append([Feedback("m", "c", 1.0)])
    assert ids(place, "feedback") == ["a", "b", "c"]


def test_a_forked_child_writes_files_of_its_own(tmp_path: Path) -> None:
    place = Log(tmp_path)
    with predicting(place) as writer, FeedbackLog(place) as feedback:
        log_ids(writer, ["parent"])
        feedback.append([Feedback("m", "parent", 1.0)])
        child = os.fork()
        if child == 0:
            log_ids(writer, ["child"])
            feedback.append([Feedback("m", "child", 1.0)])
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        log_ids(writer, ["parent again"])
        assert sorted(ids(place)) == ["child", "parent", "parent again"]
        assert sorted(ids(place, "feedback")) == ["child", "parent"]
        assert place.keep(NOW).compacted == 2  # those of the child, which has ended
    assert len(files(place, ".arrows")) == 2


def test_a_child_that_logs_nothing_does_not_hold_its_parents_files(tmp_path: Path) -> None:
    place = Log(tmp_path)
    with predicting(place) as writer:
        log_ids(writer, ["a"])
        asks, answers = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(answers)
            os.read(asks, 1)
            os._exit(0)
    try:
        assert place.keep(NOW).compacted == 1
    finally:
        os.close(answers), os.close(asks)
        os.waitpid(child, 0)


# Keeping.


def test_streams_become_one_table_a_folder_and_small_tables_a_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MANY", 3)
    place = Log(tmp_path)
    for i in range(8):
        with predicting(place, str(i % 2)) as writer:
            log_ids(writer, [str(i)])
        assert place.keep(NOW).compacted > 0
        assert not files(place, ".arrows")
    assert 2 <= len(files(place, ".parquet")) <= 6
    assert sorted(ids(place)) == [str(i) for i in range(8)]
    assert place.keep(NOW).compacted == 0


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    place = Log(tmp_path)
    with predicting(place) as writer:
        log_ids(writer, ["a"])
        assert place.keep(NOW).compacted == 0
        log_ids(writer, ["b"])
    assert place.keep(NOW).compacted == 1 and ids(place) == ["a", "b"]


def test_only_one_process_keeps_a_log_at_a_time(tmp_path: Path) -> None:
    place = Log(tmp_path)
    with keeping._alone(tmp_path / ".lock") as held:
        assert held and place.keep(NOW).busy
    assert not place.keep(NOW).busy


def test_days_that_are_over_are_removed_with_what_was_set_aside(tmp_path: Path) -> None:
    place = Log(tmp_path, limits={"predictions": Limits(days=3)})
    with predicting(place) as writer:
        for age in (10, 4, 2, 0):
            writer.append({"id": [str(age)], "arrival": [NOW - age * DAY]}, 1)
    (old,) = (path for path in files(place, ".arrows") if "day=2013-10-04" in str(path))
    old.with_name("x.arrows.damaged").write_text("?")
    assert place.keep(NOW).retired == 2
    assert ids(place) == ["2", "0"]
    assert sorted(path.name for path in (tmp_path / "predictions" / "model=m").iterdir()) == [
        "day=2013-10-12", "day=2013-10-14",
    ]  # fmt: skip


def test_a_log_above_its_limit_loses_its_oldest_files_but_not_the_one_being_written(tmp_path: Path) -> None:
    place = Log(tmp_path, limits={"predictions": Limits(days=None, bytes=100_000, rotate_bytes=20_000)})
    with predicting(place) as writer:
        for i in range(60):
            log_ids(writer, [f"{i}-{k}-{random.random()}" for k in range(100)])
        place.keep(NOW)
        left = ids(place)
        assert 0 < len(left) < 6_000 and left[-1].startswith("59-") and not left[0].startswith("0-")
        assert sum(path.stat().st_size for path in files(place, "") if path.is_file()) < 130_000
    tight = Log(tmp_path, limits={"predictions": Limits(days=None, bytes=1)})
    with predicting(tight) as writer:
        log_ids(writer, ["last"])
        tight.keep(NOW)
        assert ids(tight) == ["last"]


def test_leftovers_of_what_was_being_made_go_after_an_hour(tmp_path: Path) -> None:
    place, file, _ = torn(tmp_path)
    old, young = file.with_name(".old"), file.with_name(".young")
    old.touch(), young.touch()
    os.utime(old, (0, 0))
    place.keep(NOW)
    assert not old.exists() and young.exists()


class Follower:
    """Reads a log on and on, as a process does that starts anew each time."""

    def __init__(self, kind: str, *arguments: Any, **named: Any) -> None:
        self.found: list[str] = []
        self.cursor = Cursor()
        self._open = lambda: Log(*arguments, **named).read(kind, "m", ["id"], since=self.cursor)

    def read(self) -> None:
        reading = self._open()
        for table in reading:
            self.found += table["id"].to_pylist()
        self.cursor = Cursor.from_json(reading.cursor.to_json())

    @property
    def twice(self) -> list[str]:
        return sorted(set(self.found)) if len(set(self.found)) < len(self.found) else []


def killed_at(step: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Have a process be killed before its step-th change of the file system; says how many there were."""
    done = [0]

    def counted(original: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if done[0] == step:
                raise Killed
            done[0] += 1
            return original(*arguments, **named)

        return call

    for owner, name in (
        (Local, "put"), (Local, "remove"), (Local, "set_aside"), (Remote, "put"), (Remote, "remove"),
        (Path, "rename"), (Path, "unlink"), (pq.ParquetWriter, "write_table"),
    ):  # fmt: skip
        patch.setattr(owner, name, counted(getattr(owner, name)))
    return lambda: done[0]


@pytest.mark.parametrize("url", [None, "memory://killed"])
def test_a_keeper_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path, url: str | None) -> None:
    step = 0
    while True:
        root = tmp_path / str(step)
        where = (root,) if url is None else (f"{url}/{step}", root)
        steps, whole = killed_once(where, step)
        if whole:
            assert step == steps > 8
            return
        step += 1


def killed_once(where: tuple[Any, ...], step: int) -> tuple[int, bool]:
    """Kill a keeper before its step-th change; how many there were, and whether there were no more."""

    def place() -> Log:
        return Log(where[0], spool=where[-1])

    follower = Follower("predictions", where[0], spool=where[-1])
    with pytest.MonkeyPatch.context() as setting:
        setting.setattr(keeping, "MANY", 2)
        for third in range(3):  # the last finds two tables and two streams of version 1: all is merged
            for i, version in enumerate("112"):
                with predicting(place(), version) as writer:
                    log_ids(writer, [f"{third}{i}a", f"{third}{i}b"])
            if third < 2:
                place().keep(NOW)
        if step % 2:
            follower.read()
        with pytest.MonkeyPatch.context() as patch:
            steps, whole = killed_at(step, patch), True
            try:
                place().keep(NOW)
            except Killed:
                whole = False
        for _ in range(3):
            follower.read()
            assert len(follower.found) == 18 and not follower.twice, f"killed before step {step}"
            assert sorted(ids(place())) == sorted(follower.found)
            place().keep(NOW)
    assert not files(Log(where[-1]), ".arrows")
    return steps(), whole


# In an object store.


@pytest.fixture
def bucket() -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    name = f"bucket{random.randrange(10**9)}"
    yield f"memory://{name}/logs"
    if memory.exists(name):
        memory.rm(name, recursive=True)


def test_what_is_logged_to_a_url_is_uploaded_as_tables_and_read_from_anywhere(
    tmp_path: Path, bucket: str
) -> None:
    here, there = Log(bucket, spool=tmp_path / "here"), Log(bucket, spool=tmp_path / "there")
    with predicting(here) as writer, FeedbackLog(here, clock=NOON) as feedback:
        log_ids(writer, ["a", "b"])
        feedback.append([Feedback("m", "a", 1.0)])
        assert ids(here) == ["a", "b"] and ids(there) == []  # the spool is read too, where it is
        cursor = reading_of(here, "predictions")
    assert here.keep(NOW).uploaded == 2
    assert not files(here, ".parquet") and not files(here, ".arrows")
    assert ids(here) == ids(there) == ["a", "b"] and ids(here, since=cursor) == []
    assert ids(there, "feedback") == ["a"] and there.models("feedback") == ["m"]
    assert there.keep(NOW).uploaded == 0


def test_tables_in_an_object_store_are_merged_and_retired_by_one_of_a_fleet(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MANY", 2)
    pods = [Log(bucket, spool=tmp_path / str(i), limits={"predictions": Limits(days=2)}) for i in range(4)]
    for i, pod in enumerate(pods):
        with predicting(pod) as writer:
            log_ids(writer, [str(i)])
            writer.append({"id": [f"old {i}"], "arrival": [NOW - 5 * DAY]}, 1)
        pod.keep(NOW - 5 * DAY, whole=False)
    cursor = reading_of(pods[0], "predictions")
    memory = fsspec.filesystem("memory")
    assert len(memory.find(bucket.removeprefix("memory:/"))) == 8
    assert pods[3].keep(NOW).retired == 4
    assert len(memory.find(bucket.removeprefix("memory:/"))) == 1
    assert sorted(ids(pods[1])) == ["0", "1", "2", "3"] and ids(pods[1], since=cursor) == []


def test_half_an_upload_is_reported_and_put_right_by_the_next(tmp_path: Path, bucket: str) -> None:
    place = Log(bucket, spool=tmp_path)
    with predicting(place) as writer:
        log_ids(writer, ["a"])
    original = Remote.put

    def half(self: Any, source: Path, entry: Any) -> None:
        cut = tmp_path / "cut"
        cut.write_bytes(source.read_bytes()[:100])
        original(self, cut, entry)
        raise TimeoutError("the network went away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Remote, "put", half)
        with pytest.raises(TimeoutError):
            place.keep(NOW)
    elsewhere = Log(bucket, spool=tmp_path / "elsewhere").read("predictions", "m", ["id"])
    assert list(elsewhere) == [] and len(elsewhere.damaged) == 1
    assert ids(place) == ["a"]
    assert place.keep(NOW).uploaded == 1
    assert ids(Log(bucket, spool=tmp_path / "elsewhere"), since=elsewhere.cursor) == ["a"]


def test_an_object_store_that_cannot_be_reached_is_no_damage(tmp_path: Path, bucket: str) -> None:
    place = Log(bucket, spool=tmp_path)
    with predicting(place) as writer:
        log_ids(writer, ["a"])
    place.keep(NOW)

    def refuse(*_: Any) -> Any:
        raise ConnectionError(errno.ECONNREFUSED, "refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Remote, "table", refuse)
        with pytest.raises(ConnectionError):
            ids(Log(bucket, spool=tmp_path))
    assert ids(Log(bucket, spool=tmp_path)) == ["a"]


def test_a_keeper_tends_its_writers_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    place = Log(tmp_path, limits={"predictions": Limits(rotate_seconds=0.01)})
    with predicting(place) as writer:
        log_ids(writer, ["a"])
        calls = iter([OSError("no space"), None, None])

        class Failing:
            def tend(self) -> None:
                error = next(calls, None)
                if error is not None:
                    raise error

        keeper = Keeper(place, [writer, Failing()], clock=NOON, every=0.02)
        deadline = time.monotonic() + 10
        while not files(place, ".parquet") and time.monotonic() < deadline:
            time.sleep(0.01)
        keeper.stop()
        assert files(place, ".parquet") and not files(place, ".arrows")
    assert ids(place) == ["a"]


# Several processes, and real kills.

WRITER = """
    import sys, time
    import numpy as np
    from barograph.logs import Feedback, FeedbackLog, Limits, Log, PredictionLog
    from barograph.logs import keeping
    folder, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    limits = Limits(rotate_seconds=0.05)
    place = Log(folder, limits={"predictions": limits, "feedback": limits})
    writer, feedback = PredictionLog(place, "m", "1"), FeedbackLog(place)
    for i in range(count):
        writer.append({"id": [f"{name}-{i}-{k}" for k in range(20)]}, 20, {"x": np.arange(20.0)})
        feedback.append([Feedback("m", f"{name}-{i}", 1.0)])
        print(i, flush=True)
"""
KEEPER = """
    import os, sys, time
    from barograph.logs import Log, keeping
    keeping.MANY = 2
    place = Log(sys.argv[1])
    print("ready", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        place.keep(time.time())
        time.sleep(0.01)
"""


def started(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed(process: "subprocess.Popen[str]") -> list[str]:
    """Kill a process; what it had said."""
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0].splitlines()


def kills(folder: Path, times: int, seed: int = 0) -> None:
    """Writers and keepers are killed at random moments, again and again, while one reads on."""
    rng, place = random.Random(seed), Log(folder)
    labels, predictions = Follower("feedback", folder), Follower("predictions", folder)
    acknowledged, written = set[str](), set[str]()
    for trial in range(times):
        processes = [started(WRITER, folder, f"{trial}{k}", 10_000) for k in "ab"] + [started(KEEPER, folder)]
        first = [process.stdout.readline() for process in processes if process.stdout is not None]
        until = time.monotonic() + rng.uniform(0.01, 0.6)
        while time.monotonic() < until:
            labels.read(), predictions.read()
        for k, one, said in zip("ab", first, map(killed, processes[:2]), strict=False):
            done = [i for i in (one.strip(), *said) if i.isdigit()]
            acknowledged |= {f"{trial}{k}-{i}" for i in done}
            written |= {f"{trial}{k}-{i}-{row}" for i in done for row in range(20)}
        killed(processes[2])
    for _ in range(3):
        labels.read(), predictions.read()
        place.keep(time.time())
    for kind, follower, expected in (
        ("feedback", labels, acknowledged),
        ("predictions", predictions, written),
    ):
        assert not follower.twice, f"{kind} were read twice"
        assert expected <= set(follower.found), f"{kind} were lost"
        assert sorted(ids(place, kind)) == sorted(follower.found)
        unsaid = 2 * times * (20 if kind == "predictions" else 1)  # written when the kill came, and not said
        assert len(follower.found) <= len(expected) + unsaid
    assert not files(place, ".arrows")


@pytest.mark.workers
def test_kills_at_random_moments_lose_no_acknowledged_feedback_and_double_no_row(tmp_path: Path) -> None:
    kills(tmp_path, 2)


@pytest.mark.slow
@pytest.mark.workers
@pytest.mark.parametrize("seed", range(1, 6))
def test_twenty_kills_of_each_process(tmp_path: Path, seed: int) -> None:
    kills(tmp_path, 20, seed)


@pytest.mark.workers
def test_several_processes_write_beside_readers_and_a_keeper(tmp_path: Path) -> None:
    writers = [started(WRITER, tmp_path, name, 40) for name in "abc"]
    keeper = started(KEEPER, tmp_path)
    follower, running = Follower("predictions", tmp_path), True
    while running:
        running = any(process.poll() is None for process in writers)
        follower.read()
    killed(keeper)
    assert [process.communicate() and process.returncode for process in writers] == [0, 0, 0]
    assert len(follower.found) == 3 * 40 * 20 and not follower.twice
    assert sorted(ids(Log(tmp_path), "feedback")) == sorted(
        f"{name}-{i}" for name in "abc" for i in range(40)
    )


def test_a_position_survives_as_text() -> None:
    cursor = Cursor({"20131014T120000-host-1-abc": Position("2013-10-14", 5, 320)})
    assert Cursor.from_json(cursor.to_json()) == cursor
