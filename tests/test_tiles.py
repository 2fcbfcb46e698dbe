"""Time tiles: what is added is what any window reads, through roll-ups, expiry, restarts and damaged files."""

import logging
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.counters import Series, Vector
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Retention, Tiles, TilesFileError, store

ROWS = Series("ml_predictions_total", (("model", "m"), ("version", "1")), "counter", 1, 0)
OTHER = Series("ml_predictions_total", (("model", "n"), ("version", "1")), "counter", 1, 0)
COLUMNS = Series("ml_column_values_total", (("bins", "0a1b2c3d"), ("model", "m")), "columns", 4, 4)
COLUMNS_1000 = Series("ml_column_values_total", (("bins", "99999999"),), "columns", 1000, 1000)
TIMES = Series("ml_prediction_duration_seconds", (("model", "m"), ("stage", "total")), "histogram", 3, 1)
BUSY = Series("ml_predictions_in_progress", (("model", "m"),), "gauge", 0, 1)
INFO = Series("ml_model_info", (("model", "m"), ("version", "1")), "info", 0, 1)


@pytest.fixture
def tiles() -> Iterator[Tiles]:
    with Tiles() as memory:
        yield memory


def increment(series: Series, start: int, value: float) -> Increment:
    """An increment of which every slot can be told from `value`."""
    counts = np.arange(1, series.counts + 1) * int(value)
    sums = np.arange(1, series.sums + 1) * float(value)
    return Increment(series, start, Vector(counts, sums))


def total(tiles: Tiles, series: Series, start: float, end: float) -> int:
    return int(tiles.window(series, start, end).counts[0])


def stored(tiles: Tiles, resolution: int) -> dict[tuple[int, int], list[int]]:
    """Counts in the file by (series id, start); fails where a key is there twice."""
    query = f"SELECT series, start, counts FROM tiles WHERE resolution = {resolution}"
    rows = tiles.connection.execute(query).fetchall()
    found = {(series, start): counts for series, start, counts in rows}
    assert len(found) == len(rows)
    return found


class Sums:
    """What tiles must answer, worked out minute by minute."""

    def __init__(self) -> None:
        self.values: dict[tuple[Series, int], int] = defaultdict(int)

    def add(self, series: Series, minute: int, value: int) -> None:
        self.values[series, minute] = value if series is BUSY else self.values[series, minute] + value

    def windows(self, series: Series, start: int, end: int, step: int) -> list[int | None]:
        """The total of each window (a gauge's last value), None where there is nothing."""
        found: list[int | None] = [None] * len(range(start, end, step))
        for (one, minute), value in sorted(self.values.items(), key=lambda item: item[0][1]):
            if one == series and start <= minute < end:
                i = (minute - start) // step
                found[i] = value if series is BUSY else (found[i] or 0) + value
        return found


def read(tiles: Tiles, series: Series, start: int, end: int, step: int) -> list[int | None]:
    found = tiles.windows(series, start, end, step)
    assert found.starts.tolist() == list(range(start, end, step))
    factors = np.arange(1, series.counts + 1)
    first = found.sums[:, 0] if series is BUSY else found.counts[:, 0]
    assert np.array_equal(found.counts, np.outer(first, factors) if series.counts else found.counts)
    assert np.array_equal(found.sums, np.outer(first, np.arange(1, series.sums + 1)))
    assert not first[~found.present].any()
    return [int(value) if there else None for value, there in zip(first, found.present, strict=True)]


# Windows of any bounds over some four days, before 1970 as well as after: signs must not matter.
SERIES = [ROWS, COLUMNS, BUSY]
minutes = st.integers(-2 * DAY // MINUTE, 2 * DAY // MINUTE).map(lambda i: i * MINUTE)
additions = st.lists(
    st.tuples(st.sampled_from(SERIES), minutes, st.integers(0, 9)),
    min_size=1,
    max_size=30,
    unique_by=lambda a: a[:2],
)
moments = st.integers(-2 * DAY, 3 * DAY)
bounds = st.one_of(moments, moments.map(lambda s: s // HOUR * HOUR), moments.map(lambda s: s // DAY * DAY))
steps = st.one_of(st.integers(MINUTE, 2 * DAY), st.sampled_from([MINUTE, 300, HOUR, DAY]))


@settings(deadline=None, max_examples=40)
@given(additions, additions, moments, st.lists(st.tuples(bounds, bounds, steps), min_size=1, max_size=6))
def test_windows_over_any_bounds_equal_a_sum_over_minutes(
    first: list[tuple[Series, int, int]],
    second: list[tuple[Series, int, int]],
    now: int,
    asked: list[tuple[int, int, int]],
) -> None:
    sums = Sums()
    with Tiles() as tiles:
        for batch in (first, second):  # the second makes dirty again what was rolled up
            tiles.add([increment(*one) for one in batch])
            for one in batch:
                sums.add(*one)
            for a, b, step in asked:
                start, end = min(a, b), max(a, b)
                for series in SERIES:
                    assert read(tiles, series, start, end, step) == sums.windows(series, start, end, step)
            tiles.roll_up(now)
        for a, b, step in asked:
            start, end = min(a, b), max(a, b)
            for series in SERIES:
                assert read(tiles, series, start, end, step) == sums.windows(series, start, end, step)


@settings(deadline=None, max_examples=25)
@given(additions, additions, moments)
def test_roll_ups_equal_the_sum_of_their_minutes_however_often_they_are_made(
    first: list[tuple[Series, int, int]], second: list[tuple[Series, int, int]], now: int
) -> None:
    with Tiles() as tiles:
        for batch in (first, second):
            tiles.add([increment(*one) for one in batch if one[0] is not BUSY])
            tiles.roll_up(now)
            for resolution in (HOUR, DAY):
                expected: dict[tuple[int, int], list[int]] = {}
                for (series, start), counts in stored(tiles, MINUTE).items():
                    key = (series, start // resolution * resolution)
                    if key[1] + resolution <= now:
                        expected[key] = [
                            a + b for a, b in zip(expected.get(key, [0] * len(counts)), counts, strict=True)
                        ]
                assert stored(tiles, resolution) == expected
            assert tiles.roll_up(now) == 0


@settings(deadline=None, max_examples=25)
@given(additions, additions, st.integers(0, 8 * DAY), st.integers(0, 4 * DAY))
def test_expired_minutes_and_hours_live_on_in_coarser_tiles(
    first: list[tuple[Series, int, int]], late: list[tuple[Series, int, int]], now: int, later: int
) -> None:
    """Totals stay; what has no minutes any more belongs to the window that holds its hour's, or its day's, start."""
    with Tiles(retention=Retention(minutes=0.5, hours=2, days=1000)) as tiles:
        tiles.add([increment(*one) for one in first if one[0] is not BUSY])
        tiles.expire(now)
        tiles.add([increment(*one) for one in late if one[0] is not BUSY])
        tiles.expire(now + later)
        sums = Sums()
        for series, minute, value in first + late:
            resolution = tiles.finest(minute)
            sums.add(series, minute // resolution * resolution, value)
        for series in (ROWS, COLUMNS):
            for start, end, step in (
                (-2 * DAY, 3 * DAY, 3 * DAY),
                (-2 * DAY, 3 * DAY, HOUR),
                (-HOUR, 7 * HOUR + 60, 7 * HOUR),
            ):
                assert read(tiles, series, start, end, step) == sums.windows(series, start, end, step)


def test_late_and_repeated_increments_add(tiles: Tiles) -> None:
    tiles.add([increment(ROWS, 0, 1), increment(ROWS, 0, 2)])
    tiles.add([increment(ROWS, 30, 4)])
    assert len(stored(tiles, MINUTE)) == 1
    assert total(tiles, ROWS, 0, 60) == 7
    tiles.roll_up(2 * HOUR)
    assert total(tiles, ROWS, 0, HOUR) == 7
    tiles.add([increment(ROWS, 0, 8)])
    assert total(tiles, ROWS, 0, HOUR) == 15
    assert tiles.roll_up(2 * HOUR) == 1
    assert total(tiles, ROWS, 0, HOUR) == 15


def test_a_late_increment_never_wipes_an_hour_whose_minutes_have_expired(tiles: Tiles) -> None:
    tiles.add([increment(ROWS, 0, 5), increment(ROWS, 10 * DAY, 1)])
    tiles.expire(10 * DAY)
    assert stored(tiles, MINUTE) == {(1, 10 * DAY): [1]}
    tiles.add([increment(ROWS, 120, 2)])
    tiles.roll_up(11 * DAY)
    tiles.expire(11 * DAY)
    assert total(tiles, ROWS, 0, HOUR) == 7
    assert total(tiles, ROWS, 0, DAY) == 7
    assert stored(tiles, DAY)[1, 0] == [7]


def test_what_is_older_than_all_retention_is_gone_and_its_series_too(tiles: Tiles) -> None:
    tiles.add([increment(ROWS, 0, 5), increment(OTHER, 900 * DAY, 1)])
    tiles.expire(900 * DAY + HOUR)
    assert tiles.series() == [OTHER]
    assert total(tiles, ROWS, 0, DAY) == 0
    assert tiles.finest(900 * DAY) == MINUTE
    assert (tiles.finest(890 * DAY), tiles.finest(700 * DAY), tiles.finest(0)) == (HOUR, DAY, DAY)


def test_expiry_never_runs_backwards(tiles: Tiles) -> None:
    tiles.add([increment(ROWS, 0, 5)])
    tiles.expire(10 * DAY)
    tiles.expire(0)
    assert tiles.finest(0) == HOUR


def test_a_gauge_keeps_the_last_value_and_is_not_summed(tiles: Tiles) -> None:
    tiles.add([increment(BUSY, 0, 4), increment(BUSY, 0, 3), increment(BUSY, 120, 9)])
    tiles.add([increment(BUSY, 60, 0)])
    assert tiles.window(BUSY, 0, 60).sums.tolist() == [3.0]
    assert tiles.window(BUSY, 0, 120).sums.tolist() == [0.0]
    assert tiles.window(BUSY, 0, HOUR).sums.tolist() == [9.0]
    tiles.roll_up(DAY)
    assert tiles.window(BUSY, 0, HOUR).sums.tolist() == [9.0]
    assert tiles.window(BUSY, 0, DAY).sums.tolist() == [9.0]


def test_a_quiet_minute_is_present_and_a_gap_is_not(tiles: Tiles) -> None:
    tiles.add([increment(COLUMNS, 0, 3), increment(COLUMNS, 60, 0), increment(COLUMNS, 180, 0)])
    tiles.add([increment(COLUMNS, 0, 0)])
    found = tiles.windows(COLUMNS, 0, 240, 60)
    assert found.present.tolist() == [True, True, False, True]
    assert found.counts[:, 0].tolist() == [3, 0, 0, 0]


def test_when_a_version_came_and_went_is_known_to_the_minute_after_expiry(tiles: Tiles) -> None:
    tiles.add([increment(INFO, 5 * HOUR + 60, 1)])
    tiles.add([increment(INFO, 5 * HOUR + 600, 1), increment(INFO, 5 * HOUR + 300, 1)])
    tiles.expire(200 * DAY)
    assert tiles.seen(INFO) == (5 * HOUR + 60, 5 * HOUR + 600)
    assert tiles.seen(ROWS) is None


def test_slots_slice_counts_and_the_sums_beside_them(tiles: Tiles) -> None:
    tiles.add([increment(COLUMNS, 0, 1), increment(TIMES, 0, 1)])
    tiles.roll_up(HOUR)
    for step in (MINUTE, HOUR):
        found = tiles.windows(COLUMNS, 0, HOUR, step, slice(1, 3))
        assert found.counts[0].tolist() == [2, 3]
        assert found.sums[0].tolist() == [2.0, 3.0]
    found = tiles.windows(TIMES, 0, HOUR, MINUTE, slice(2, None))
    assert (found.counts[0].tolist(), found.sums[0].tolist()) == ([3], [1.0])
    assert tiles.windows(COLUMNS, 0, HOUR, HOUR, slice(4, 9)).counts.shape == (1, 0)
    assert tiles.windows(COLUMNS, 0, HOUR, HOUR, slice(2, 2)).counts.shape == (1, 0)


def test_several_series_are_read_at_once_as_one_by_one(tiles: Tiles) -> None:
    everything = [ROWS, OTHER, COLUMNS, TIMES, BUSY, INFO]
    tiles.add(
        [
            increment(s, 60 * i, i)
            for i in range(300)
            for j, s in enumerate(everything[1:])
            if i % (j + 2) == 0
        ]
    )
    tiles.roll_up(2 * HOUR)
    many = tiles.windows_many(everything, 600, 4 * HOUR, 1800)
    for series, found in zip(everything, many, strict=True):
        one = tiles.windows(series, 600, 4 * HOUR, 1800)
        for name in ("starts", "present", "counts", "sums"):
            assert np.array_equal(getattr(one, name), getattr(found, name))
    assert not many[0].present.any()
    assert many[1].present.any()


def test_series_are_found_by_metric_and_labels(tiles: Tiles) -> None:
    tiles.add([increment(s, 0, 1) for s in (OTHER, BUSY, ROWS)])
    assert tiles.series() == [BUSY, ROWS, OTHER]
    assert tiles.series("ml_predictions_total", model="n") == [OTHER]
    assert tiles.series(version="1") == [ROWS, OTHER]
    assert tiles.series("ml_predictions_total", flavour="x") == []


def test_counts_of_other_bins_are_another_series(tiles: Tiles) -> None:
    other = Series(COLUMNS.metric, (("bins", "ffffffff"), ("model", "m")), "columns", 6, 6)
    tiles.add([increment(COLUMNS, 0, 1), increment(other, 0, 2)])
    assert tiles.window(COLUMNS, 0, 60).counts.tolist() == [1, 2, 3, 4]
    assert tiles.window(other, 0, 60).counts.tolist() == [2, 4, 6, 8, 10, 12]


def test_counts_past_2_to_53_stay_exact(tiles: Tiles) -> None:
    big = 2**61 + 1
    tiles.add([Increment(ROWS, m, Vector(np.array([big]), np.zeros(0))) for m in (0, 60, 120)])
    tiles.roll_up(DAY)
    assert total(tiles, ROWS, 0, 120) == 2 * big
    assert total(tiles, ROWS, 0, DAY) == 3 * big


def test_a_batch_too_large_for_memory_is_written_and_rolled_up_in_pieces(
    tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_CHUNK", 10)
    tiles.add(increment(COLUMNS, i * 600, 1) for i in range(300))
    assert len(stored(tiles, MINUTE)) == 300
    assert tiles.roll_up(10 * DAY) == 50 + 3
    assert tiles.window(COLUMNS, 0, 10 * DAY).counts.tolist() == [300, 600, 900, 1200]
    assert sum(counts[0] for counts in stored(tiles, DAY).values()) == 300


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda t: t.add([Increment(ROWS, 0, Vector(np.zeros(2, int), np.zeros(0)))]),
            "increments: .* own sizes",
        ),
        (lambda t: t.windows(ROWS, 0, 60, 1), "step must be at least 60"),
        (lambda t: t.windows(ROWS, 60, 0, 60), "end must not lie before start"),
        (lambda t: t.windows(ROWS, 0, 60, 60, slice(-2, None)), "slots: .* give slice"),
        (lambda t: t.windows(ROWS, 0, 60, 60, slice(0, 4, 2)), "slots: .* give slice"),
        (lambda _: Retention(minutes=200), "retention: .* keep coarser tiles at least as long"),
    ],
)
def test_an_error_names_the_argument_and_the_remedy(tiles: Tiles, call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(tiles)  # type: ignore[operator]


def test_what_waits_is_stored_before_whatever_reads_tiles(tiles: Tiles) -> None:
    waiting: list[Increment] = []

    def write() -> None:
        some, waiting[:] = waiting[:], []
        tiles.add(some)

    tiles.before_reading(write)
    reads = [
        lambda: total(tiles, ROWS, 0, 60),
        tiles.series,
        lambda: tiles.seen(ROWS),
        lambda: tiles.changed(ROWS),
        tiles.size,
        lambda: tiles.roll_up(0),
    ]
    for read in reads:
        waiting.append(increment(ROWS, 0, 1))
        with tiles.transaction():
            read()
            assert waiting  # it would be taken back together with this
        read()
        assert not waiting
    assert total(tiles, ROWS, 0, 60) == len(reads)


def test_what_waits_is_stored_on_closing(tmp_path: Path) -> None:
    tiles = Tiles(tmp_path / "tiles.duckdb")
    tiles.before_reading(lambda: tiles.add([increment(ROWS, 0, 1)]))
    tiles.close()
    with Tiles(tmp_path / "tiles.duckdb") as again:
        assert total(again, ROWS, 0, 60) == 1


def test_a_series_that_grew_is_told_from_one_that_did_not(tiles: Tiles) -> None:
    assert tiles.changed(ROWS) == 0
    tiles.add([increment(ROWS, 0, 1), increment(OTHER, 0, 1)])
    before, other = tiles.changed(ROWS), tiles.changed(OTHER)
    tiles.add([increment(ROWS, 60, 0), increment(OTHER, 0, 2)])  # the first was quiet
    assert tiles.changed(ROWS) == before and tiles.changed(OTHER) != other


def test_it_is_told_from_when_on_tiles_are_kept(tiles: Tiles) -> None:
    assert tiles.kept_from(HOUR) < 0
    tiles.add([increment(ROWS, 0, 1)])
    tiles.expire(200 * DAY + HOUR)
    assert (tiles.kept_from(MINUTE), tiles.kept_from(HOUR)) == (197 * DAY + HOUR, 100 * DAY)
    with pytest.raises(ValueError, match="retention: records=0 days; it must be above 0"):
        Retention(records=0)


def test_roll_ups_add_up_however_few_rows_come_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of several series, widths and kinds, written in no order, and read some at a time or all at once."""
    rng = np.random.default_rng(3)
    found = []
    for together in (1, 2048, 10**6):
        monkeypatch.setattr(store, "_TOGETHER", together)
        with Tiles() as tiles:
            for some in rng.permutation(3 * 60).reshape(9, 20).tolist():
                tiles.add(
                    [increment(s, 60 * m, 1 + m % 7) for m in some for s in (COLUMNS, BUSY, TIMES, ROWS)]
                )
            many = [
                Series(f"m{i}", (), "counter", 1, 0) for i in range(40)
            ]  # more rows than DuckDB gives at once
            tiles.add([increment(one, start, 1) for start in range(60, 3 * HOUR, 60) for one in many])
            tiles.roll_up(DAY)
            query = (
                "SELECT series, resolution, start, counts, sums FROM tiles WHERE resolution > 60 ORDER BY ALL"
            )
            found.append(tiles.connection.execute(query).fetchall())
            assert read(tiles, BUSY, 0, 3 * HOUR, HOUR) == [1 + m % 7 for m in (59, 119, 179)]
            expected = [sum(1 + m % 7 for m in range(h * 60, h * 60 + 60)) for h in range(3)]
            assert read(tiles, COLUMNS, 0, 3 * HOUR, HOUR) == expected
    assert found[0] == found[1] == found[2]


def test_a_failed_transaction_leaves_nothing_behind(tiles: Tiles) -> None:
    tiles.add([increment(ROWS, 0, 1)])
    tiles.roll_up(HOUR)

    def fail() -> None:
        with tiles.transaction() as connection:
            connection.execute("CREATE TABLE judgements (i INTEGER)")
            tiles.add([increment(ROWS, 60, 1), increment(OTHER, 0, 1)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert tiles.rollbacks == 1
    assert tiles.series() == [ROWS]
    assert tiles.seen(ROWS) == (0, 0)
    assert total(tiles, ROWS, 0, HOUR) == 1
    assert tiles.roll_up(DAY) == 1  # the day alone: the hour is clean again
    with pytest.raises(duckdb.CatalogException):
        tiles.connection.execute("SELECT * FROM judgements")


def test_threads_may_add_and_read_at_once(tiles: Tiles) -> None:
    def work(series: Series) -> None:
        for i in range(20):
            tiles.add([increment(series, 60 * i, 1), increment(COLUMNS, 60 * (i % 3), 1)])
            tiles.windows(COLUMNS, 0, HOUR, HOUR)
            tiles.roll_up(60 * i)

    threads = [threading.Thread(target=work, args=(s,)) for s in (ROWS, OTHER, TIMES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [total(tiles, s, 0, HOUR) for s in (ROWS, OTHER, TIMES, COLUMNS)] == [20, 20, 20, 60]


def test_a_file_keeps_everything_through_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "it's.duckdb"
    with Tiles(path) as tiles:
        tiles.add([increment(s, 10 * DAY, 5) for s in (ROWS, COLUMNS, BUSY)])
        tiles.add([increment(ROWS, 0, 5)])
        tiles.expire(10 * DAY)
        tiles.add([increment(ROWS, 10 * DAY + HOUR, 1)])
    with Tiles(path) as tiles:
        assert tiles.series() == [COLUMNS, BUSY, ROWS]
        assert tiles.seen(ROWS) == (0, 10 * DAY + HOUR)
        assert tiles.finest(0) == HOUR
        assert total(tiles, ROWS, 0, HOUR) == 5
        assert tiles.roll_up(10 * DAY + 2 * HOUR) == 2
        assert total(tiles, ROWS, 10 * DAY, 11 * DAY) == 6
        size = tiles.size()
        assert size.series == 3
        assert size.rows == {MINUTE: 4, HOUR: 5, DAY: 1}
        assert size.bytes >= path.stat().st_size > 0


def killed_after_adding(path: Path, series: Series, times: int) -> None:
    """Add 1 to the first slots of `times` minutes in another process, which then ends without closing anything."""
    script = (
        "import os, sys; import numpy as np\n"
        "from barograph.counters import Series, Vector; from barograph.tiles import Increment, Tiles\n"
        f"series = Series({series.metric!r}, {series.labels!r}, {series.kind!r}, {series.counts}, {series.sums})\n"
        "tiles, vector = Tiles(sys.argv[1]), Vector(np.arange(1, series.counts + 1), np.arange(1.0, series.sums + 1))\n"
        f"for i in range({times}): tiles.add([Increment(series, 60 * i, vector)])\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9


def test_what_was_added_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "tiles.duckdb"
    killed_after_adding(path, ROWS, 9)
    wal = path.with_name("tiles.duckdb.wal")
    os.truncate(wal, wal.stat().st_size - 7)  # as if the power had gone while the last lines were written
    with Tiles(path) as tiles:
        assert total(tiles, ROWS, 0, HOUR) == 8


def test_a_file_that_is_open_elsewhere_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "tiles.duckdb"
    with Tiles(path):
        script = "import sys; from barograph.tiles import Tiles; Tiles(sys.argv[1])"
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True
        )
        assert f"path: {path} is open in process {os.getpid()}" in done.stderr
        assert "barograph serve" in done.stderr
        with pytest.raises(TilesFileError, match="another connection of this process"):
            Tiles(path)
    assert not list(tmp_path.glob("*.damaged*"))
    Tiles(path).close()


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "garbage":
        path.write_bytes(b"?" * len(content))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "header":
        path.write_bytes(content[:4096] + b"?" * 8192 + content[12288:])
    else:
        path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("kind", ["garbage", "empty", "header", "half"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tiles.duckdb"
    with Tiles(path) as tiles:
        tiles.add(increment(COLUMNS, 60 * i, i) for i in range(500))
    damage(path, kind)
    content = path.read_bytes()
    with caplog.at_level(logging.ERROR), Tiles(path) as tiles:
        assert tiles.series() == []
        tiles.add([increment(ROWS, 0, 1)])
        assert total(tiles, ROWS, 0, 60) == 1
    (aside,) = tmp_path.glob("tiles.duckdb.damaged-*")
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text
    assert "is damaged" in caplog.text


def test_a_damaged_log_costs_no_more_than_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tiles.duckdb"
    with Tiles(path) as tiles:
        tiles.add([increment(ROWS, 0, 1)])
    killed_after_adding(path, COLUMNS_1000, 9)
    wal = path.with_name("tiles.duckdb.wal")
    content = bytearray(wal.read_bytes())
    content[len(content) // 2] ^= 255
    wal.write_bytes(content)
    with caplog.at_level(logging.ERROR), Tiles(path) as tiles:
        assert total(tiles, ROWS, 0, HOUR) == 1
    (aside,) = tmp_path.glob("*.damaged-*")
    assert aside.name.startswith("tiles.duckdb.wal.damaged-")
    assert str(aside) in caplog.text


def test_a_file_that_never_was_tiles_is_left_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("buy milk")
    with pytest.raises(TilesFileError, match=r"notes\.txt cannot be opened .* give the path of a tiles file"):
        Tiles(notes)
    assert notes.read_text() == "buy milk"
    database = tmp_path / "mine.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS i")
    with pytest.raises(TilesFileError, match=r"other tables, such as 'mine'; give another path"):
        Tiles(database)
    with pytest.raises(TilesFileError, match="is a folder"):
        Tiles(tmp_path)
    with pytest.raises(TilesFileError, match=r"there is no folder .* make it first"):
        Tiles(tmp_path / "no" / "tiles.duckdb")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.duckdb", "notes.txt"]


def test_tiles_of_a_newer_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiles.duckdb"
    with Tiles(path) as tiles:
        tiles.connection.execute("UPDATE settings SET value = 2 WHERE name = 'format'")
    with pytest.raises(TilesFileError, match="format 2, this version reads 1; use the version"):
        Tiles(path)
    assert not list(tmp_path.glob("*.damaged*"))
