"""Increments keep every count through splits, gaps and restarts; the poller reads real HTTP servers, good and bad."""

import asyncio
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph import Reference, intake, naming
from barograph.clock import Clock
from barograph.counters import ADDITIVE, Series, Snapshot, Vector
from barograph.increments import MOST_PIECES, increments, restarted
from barograph.sources import Poller, Source, StoredReferences, Target
from barograph.tiles import DAY, HOUR, MINUTE, Increment, Tiles

ROWS = Series("ml_predictions_total", (("model", "m"), ("version", "1")), "counter", 1, 0)
COLUMNS = Series(
    "ml_column_values_total", (("bins", "0a1b2c3d"), ("model", "m"), ("version", "1")), "columns", 6, 6
)
TIMES = Series("ml_prediction_duration_seconds", (("model", "m"), ("stage", "total")), "histogram", 3, 1)
SECONDS = Series("ml_monitor_flush_seconds_total", (("model", "m"), ("version", "1")), "counter", 0, 1)
BUSY = Series("ml_predictions_in_progress", (("model", "m"),), "gauge", 0, 1)
ADDED = (ROWS, COLUMNS, TIMES, SECONDS)
X = [float(i) for i in range(10)] * 5
REFERENCE = Reference.fit({"x": X}, task="regression")
LATER = Reference.fit({"x": [*X, 3.0]}, task="regression")  # the same bins, other counts


def info(reference: Reference, bins: str | None = None) -> Series:
    """What a process says of the reference that it counts over."""
    labels = {"model": "m", "version": "1", "reference": reference.id, "bins": bins or reference.bins.id}
    return Series.of(naming.MODEL_INFO, labels)


def vector(series: Series, values: Sequence[int]) -> Vector:
    """Counts from the front of `values`, each sum three times its counts (all of them, where there is one sum)."""
    counts = np.array(values[: series.counts], dtype=np.int64)
    sums = 3.0 * counts if series.sums == series.counts else np.full(series.sums, 3.0 * counts.sum())
    return Vector(counts, sums)


def snapshot(clock: float, values: Sequence[int], *, epoch: str = "e1", busy: float = 2.0) -> Snapshot:
    series = {s: vector(s, values) for s in (ROWS, COLUMNS, TIMES)}
    series[SECONDS] = Vector(np.zeros(0, np.int64), np.array([0.25 * sum(values)]))
    lasting = {BUSY: busy, info(REFERENCE): 1.0}
    series |= {one: Vector(np.zeros(0, np.int64), np.array([value])) for one, value in lasting.items()}
    return Snapshot(clock, epoch, 1, series)


def totals(found: Sequence[Increment]) -> dict[Series, Vector]:
    sums: dict[Series, Vector] = {}
    for one in found:
        sums[one.series] = sums.get(one.series, Vector.zero(one.series)) + one.vector
    return sums


def assert_equal(found: Sequence[Increment], grown: dict[Series, Vector]) -> None:
    added = totals([one for one in found if one.series.kind in ADDITIVE])
    assert added.keys() == grown.keys()
    for series, expected in grown.items():
        assert added[series].counts.tolist() == expected.counts.tolist()
        assert np.allclose(added[series].sums, expected.sums, rtol=1e-9, atol=1e-9)


grown_values = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10**12)), min_size=6, max_size=6)
clocks = st.floats(1e9, 2e9)
gaps = st.one_of(st.floats(0.001, 300), st.floats(1, 2 * DAY), st.floats(DAY, 2000 * DAY))


@settings(deadline=None, max_examples=60)
@given(clocks, gaps, grown_values, grown_values)
def test_shares_of_a_gap_sum_exactly_to_the_whole(
    clock: float, gap: float, before: list[int], grown: list[int]
) -> None:
    first = snapshot(clock, before)
    last = snapshot(clock + gap, [a + b for a, b in zip(before, grown, strict=True)])
    found = increments(first, last)
    assert_equal(found, {s: last.series[s] - first.series[s] for s in ADDED})
    assert all((one.vector.counts >= 0).all() for one in found)
    assert all(one.start % MINUTE == 0 and one.start <= last.clock for one in found)
    assert all(one.start > first.clock - MINUTE for one in found)
    starts = Tally(one.start for one in found if one.series is ROWS)
    assert max(starts.values()) == 1
    assert len(starts) <= MOST_PIECES + 1


@settings(deadline=None, max_examples=30)
@given(
    clocks,
    st.lists(
        st.one_of(st.floats(0.001, 200), st.floats(1, HOUR), st.floats(2 * DAY, 3 * DAY)),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
def test_any_split_of_the_time_sums_to_the_whole(
    clock: float, split: list[float], data: st.DataObject
) -> None:
    values = [0] * 6
    snapshots = [snapshot(clock, values)]
    for gap in split:
        clock += gap
        values = [a + b for a, b in zip(values, data.draw(grown_values), strict=True)]
        snapshots.append(snapshot(clock, values))
    parts = [one for a, b in pairwise(snapshots) for one in increments(a, b)]
    whole = increments(snapshots[0], snapshots[-1])
    assert_equal(parts, {s: totals(whole)[s] for s in ADDED})


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, HOUR), grown_values), min_size=1, max_size=8),
    st.integers(0, 5 * HOUR),
)
def test_whatever_the_restarts_windows_hold_all_that_was_counted(
    runs: list[tuple[bool, float, list[int]]], cut: int
) -> None:
    """A process counts on, or begins anew under another epoch; two adjoining windows hold it all in the end."""
    clock, epoch, values, previous = 1000.0, 0, [0] * 6, None
    counted = np.zeros(6, dtype=np.int64)
    with Tiles() as tiles:
        for anew, gap, grown in runs:
            clock, epoch = clock + gap, epoch + anew
            values = grown if anew else [a + b for a, b in zip(values, grown, strict=True)]
            counted += np.array(grown)
            current = snapshot(clock, values, epoch=f"e{epoch}")
            tiles.add(increments(previous, current))
            previous = current
        tiles.roll_up(clock)
        parts = [tiles.window(COLUMNS, a, b).counts for a, b in ((0, cut), (cut, DAY))]
    assert (parts[0] + parts[1]).tolist() == counted.tolist()


@settings(deadline=None, max_examples=100)
@given(st.floats(0, 60), st.floats(0.1, 900), grown_values)
def test_shares_are_in_proportion_to_time_for_the_total_and_for_every_column(
    clock: float, gap: float, grown: list[int]
) -> None:
    """At each moment the running total is right to within 1, and any run of slots to within 2 of its share of it."""
    big = [one % 1000 for one in grown]
    first, last = snapshot(clock, [0] * 6), snapshot(clock + gap, big)
    found = [one for one in increments(first, last) if one.series in ADDED]
    everything = sum(int(last.series[s].counts.sum()) for s in ADDED)
    seen = 0
    for start in sorted({one.start for one in found}):
        here = [one for one in found if one.start == start]
        seen += sum(int(one.vector.counts.sum()) for one in here)
        share = (min(start + MINUTE, last.clock) - clock) / gap
        assert abs(seen - everything * share) <= 0.501 + 1e-6 * everything
    if len({one.start for one in found}) == 2:
        share = (found[0].start + MINUTE - clock) / gap
        column = found[1].vector.counts[2:5].sum()
        assert abs(column - share * sum(big[2:5])) <= 2.01


def test_sums_go_where_their_counts_go() -> None:
    first = snapshot(0.0, [0] * 6)
    found = increments(first, snapshot(600.0, [1, 0, 2, 1, 0, 0]))
    columns = [one.vector for one in found if one.series is COLUMNS]
    assert len(columns) == 10
    for one in columns:
        assert np.allclose(one.sums, 3.0 * one.counts)
    seconds = [float(one.vector.sums[0]) for one in found if one.series is SECONDS]
    assert np.allclose(seconds, 0.1)  # no counts beside it: in proportion to time alone


def test_the_first_snapshot_of_a_process_belongs_to_the_minute_of_its_clock() -> None:
    found = increments(None, snapshot(125.0, [7, 1, 2, 3, 4, 5]))
    assert {one.start for one in found} == {120}
    assert_equal(found, dict(list(snapshot(0, [7, 1, 2, 3, 4, 5]).series.items())[:4]))


def test_a_quiet_minute_is_an_increment_of_zeros() -> None:
    found = increments(snapshot(0.0, [1] * 6), snapshot(180.0, [1] * 6))
    assert [(one.start, one.vector.counts.tolist()) for one in found if one.series is ROWS] == [
        (0, [0]), (60, [0]), (120, [0])
    ]  # fmt: skip


def test_gauges_are_taken_as_they_are_at_the_end() -> None:
    found = increments(snapshot(0.0, [1] * 6, busy=5.0), snapshot(180.0, [2] * 6, busy=3.0))
    assert [(one.start, one.vector.sums.tolist()) for one in found if one.series is BUSY] == [(180, [3.0])]


def test_after_a_restart_all_of_the_current_counts_are_new() -> None:
    before, after = snapshot(0.0, [9, 9, 9, 9, 9, 9]), snapshot(90.0, [9, 9, 9, 9, 9, 8], epoch="e2")
    assert restarted(before, after)
    assert_equal(increments(before, after), {s: after.series[s] for s in ADDED})


def test_a_count_that_fell_makes_its_version_new_and_no_other() -> None:
    before, after = snapshot(0.0, [9, 9, 9, 9, 9, 9]), snapshot(90.0, [9, 9, 9, 9, 9, 8])
    assert restarted(before, after)
    grown = {s: after.series[s] for s in ADDED}
    assert_equal(increments(before, after), grown | {TIMES: Vector.zero(TIMES)})  # of no version


def test_a_series_that_appears_later_is_new_as_a_whole() -> None:
    before, after = snapshot(0.0, [1] * 6), snapshot(60.0, [3] * 6)
    before = Snapshot(0.0, "e1", 1, {s: v for s, v in before.series.items() if s is not TIMES})
    assert totals(increments(before, after))[TIMES].counts.tolist() == [3, 3, 3]
    assert totals(increments(before, after))[ROWS].counts.tolist() == [2]


@pytest.mark.parametrize("then", [1e9 - 7200, 1e9 + 1501 * DAY])
def test_a_clock_that_jumps_puts_everything_into_the_minute_it_shows_now(then: float) -> None:
    found = increments(snapshot(1e9, [1] * 6), snapshot(then, [4] * 6))
    assert {one.start for one in found} == {then // MINUTE * MINUTE}
    assert totals(found)[ROWS].counts.tolist() == [3]


@pytest.mark.parametrize(("days", "step"), [(1, MINUTE), (2, HOUR), (90, DAY)])
def test_a_long_gap_is_spread_more_coarsely_and_keeps_its_total(days: int, step: int) -> None:
    found = [
        one
        for one in increments(snapshot(90.0, [0] * 6), snapshot(days * DAY + 90.0, [10**6] * 6))
        if one.series is ROWS
    ]
    assert len(found) == days * DAY // step + 1
    assert [one.start for one in found[:3]] == [60, max(step, 120), max(step, 120) + step]
    assert sum(int(one.vector.counts[0]) for one in found) == 10**6
    assert abs(int(found[1].vector.counts[0]) - 10**6 * step / (days * DAY)) <= 2


def test_a_sum_that_ran_into_infinity_counts_as_nothing() -> None:
    before, after = snapshot(0.0, [1] * 6), snapshot(60.0, [2] * 6)
    for one in (before, after):
        one.series[COLUMNS].sums[0] = np.inf
    found = totals(increments(before, after))[COLUMNS]
    assert found.sums.tolist() == [0.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    assert found.counts.tolist() == [1] * 6


@pytest.mark.parametrize(
    "url", ["", "localhost:8701", "ftp://a", "http://", "http://a/?x=1", "http://me:pw@a", "http://a:b:c"]
)
def test_a_target_without_a_usable_address_is_an_error_that_names_the_remedy(url: str) -> None:
    with pytest.raises(ValueError, match=r"url: .*(write http://host:port|give `token` instead)"):
        Target(url)


def test_a_target_never_shows_its_token() -> None:
    assert "secret" not in repr(Target("http://a", "secret"))
    with pytest.raises(ValueError, match=r"token: .* give the monitor's"):
        Target("http://a", "line\nbreak")


def test_tiles_are_a_source() -> None:
    with Tiles() as tiles:
        source: Source = tiles
        assert source.series() == []


ASKED = f"/profile/reference/{REFERENCE.id}"


class Service:
    """A serving process on a real port: /profile, /profile/reference/ID, and whatever is wrong with it today."""

    def __init__(self) -> None:
        self.snapshot = snapshot(1000.0, [10] * 6)
        self.references = {REFERENCE.id: REFERENCE.to_json()}
        self.token: str | None = None
        self.answer: Callable[[BaseHTTPRequestHandler], bool] = lambda _: (
            False
        )  # True: it has answered already
        self.asked: Tally[str] = Tally()
        self.tokens: list[str | None] = []
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def target(self) -> Target:
        return Target(f"http://127.0.0.1:{self.port}", self.token)

    def count(self, seconds: float, n: int, *, epoch: str | None = None) -> None:
        """Let the clock run on and every slot grow by `n`; with another epoch the process has begun anew."""
        now, old = self.snapshot.clock + seconds, int(self.snapshot.series[ROWS].counts[0])
        anew = epoch is not None
        self.snapshot = snapshot(now, [n + (0 if anew else old)] * 6, epoch=epoch or self.snapshot.epoch)

    def named(self, one: Series) -> None:
        """Say that columns are counted over this reference, and no other."""
        kept = {s: v for s, v in self.snapshot.series.items() if s.metric != naming.MODEL_INFO.name}
        said = Vector(np.zeros(0, np.int64), np.ones(1))
        self.snapshot = Snapshot(self.snapshot.clock, self.snapshot.epoch, 1, {**kept, one: said})

    def up(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked[self.path] += 1
                service.tokens.append(self.headers.get("Authorization"))
                if service.answer(self):
                    return
                if self.headers.get("Authorization") != (
                    f"Bearer {service.token}" if service.token else None
                ):
                    reply(self, 401, b"")
                elif self.path == "/profile":
                    reply(self, 200, service.snapshot.to_bytes())
                else:
                    reference = service.references.get(self.path.removeprefix("/profile/reference/"))
                    reply(self, 404 if reference is None else 200, reference or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def reply(handler: BaseHTTPRequestHandler, code: int, body: bytes, **headers: str) -> bool:
    handler.send_response(code)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
    return True


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    one.up()
    yield one
    one.down()


@pytest.fixture
def other() -> Iterator[Service]:
    one = Service()
    one.snapshot = snapshot(1000.0, [100] * 6, epoch="o1")
    one.up()
    yield one
    one.down()


@pytest.fixture
def tiles() -> Iterator[Tiles]:
    with Tiles() as memory:
        yield memory


def counted(tiles: Tiles) -> int:
    """Rows in all, after a check that all series tell the same at one moment."""
    with tiles.lock:
        rows = int(tiles.window(ROWS, 0, 100 * DAY).counts[0])
        assert tiles.window(COLUMNS, 0, 100 * DAY).counts.tolist() == [rows] * 6
    return rows


def fault(answer: Callable[[BaseHTTPRequestHandler], object]) -> Callable[[BaseHTTPRequestHandler], bool]:
    def whole(handler: BaseHTTPRequestHandler) -> bool:
        answer(handler)
        return True

    return whole


def test_a_target_is_read_into_tiles_by_its_own_clock(service: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target], clock=Clock(start=1300.0, origin=time.time(), speed=1e-9))
    poller.poll()
    service.count(120.0, 7)
    poller.poll()
    assert counted(tiles) == 17
    assert tiles.window(ROWS, 960, 1020).counts[0] == 10 + 1  # 1000 to 1020, a sixth of the seven
    (status,) = poller.statuses()
    assert (status.up, status.error, status.failures, status.restarts) == (True, None, 0, 0)
    assert (status.clock, status.epoch, status.workers) == (1120.0, "e1", 1)
    assert status.lag == pytest.approx(180.0, abs=0.01)
    assert status.succeeded == status.attempted == pytest.approx(1300.0, abs=0.01)


def test_a_target_that_was_down_for_a_while_has_lost_nothing(service: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target])
    poller.poll()
    service.down()
    poller.poll()
    poller.poll()
    (status,) = poller.statuses()
    assert (status.up, status.failures) == (False, 2)
    assert "cannot read" in (status.error or "")
    assert "start the service" in (status.error or "")
    assert status.succeeded is not None
    service.count(HOUR, 60)
    service.up()
    poller.poll()
    (status,) = poller.statuses()
    assert (status.up, status.error, status.failures) == (True, None, 0)
    assert counted(tiles) == 70
    assert tiles.window(ROWS, 1020, 1080).counts[0] == 1  # spread over the hour that it was away


def test_a_restarted_process_is_counted_from_zero(service: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target])
    poller.poll()
    service.count(30.0, 4, epoch="e2")
    poller.poll()
    service.count(30.0, 2)
    poller.poll()
    assert counted(tiles) == 16
    assert poller.statuses()[0].restarts == 1


def test_processes_that_take_turns_under_one_address_are_told_apart(service: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target])
    first, second = snapshot(1000.0, [10] * 6, epoch="a"), snapshot(1001.0, [20] * 6, epoch="b")
    for turn in (first, second, first, second, snapshot(1010.0, [11] * 6, epoch="a"), second):
        service.snapshot = turn
        poller.poll()
    assert counted(tiles) == 11 + 20


def test_a_restart_of_the_evaluator_neither_loses_nor_counts_twice(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "tiles.duckdb"
    with Tiles(path) as tiles:
        Poller(tiles, [service.target]).poll()
    service.count(600.0, 5)
    with Tiles(path) as tiles:
        Poller(tiles, [service.target]).poll()
        assert counted(tiles) == 15
        # The same process under another address of the host: its epoch is known.
        Poller(tiles, [Target(service.target.url.replace("127.0.0.1", "localhost"))]).poll()
        assert counted(tiles) == 15


def test_what_could_not_be_stored_is_counted_by_the_next_read(
    service: Service, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = Poller(tiles, [service.target])
    poller.poll()
    service.count(60.0, 5)

    def full(*_: object) -> None:
        raise duckdb.IOException("no space left on device")

    with monkeypatch.context() as patched:
        # The tiles are written by then, and must be taken back.
        patched.setattr(intake.Cursors, "save", full)
        for failures in (1, 2):
            poller.poll()
            (status,) = poller.statuses()
            assert (status.up, status.failures) == (False, failures)
            assert "no space left" in (status.error or "")
            assert counted(tiles) == 10
    service.count(60.0, 5)
    poller.poll()
    assert counted(tiles) == 20
    assert poller.statuses()[0].up


def test_what_waits_is_read_at_once_and_stored_once_for_all_targets(
    service: Service, other: Service, tmp_path: Path
) -> None:
    """An evaluator that dies before what it read is stored counts it again from the targets, once."""
    path = tmp_path / "tiles.duckdb"
    rows = "SELECT coalesce(sum(list_sum(minutes.counts)), 0) FROM minutes JOIN series ON id = series WHERE metric = ?"
    with Tiles(path) as tiles:
        poller = Poller(tiles, [service.target, other.target])
        for _ in range(3):
            asyncio.run(poller._visit_all())
            service.count(10.0, 5)
        assert tiles.connection.execute(rows, [ROWS.metric]).fetchall() == [(0,)]
        tiles.connection.close()  # as a process ends that is killed
        tiles._waiting.clear()
    with Tiles(path) as tiles:
        poller = Poller(tiles, [service.target, other.target])
        asyncio.run(poller._visit_all())
        assert tiles.connection.execute(rows, [ROWS.metric]).fetchall() == [(0,)]
        assert counted(tiles) == 125
        assert tiles.connection.execute(rows, [ROWS.metric]).fetchall() == [(125,)]
        assert counted(tiles) == 125
        service.count(10.0, 5)
        asyncio.run(poller._visit_all())
    with Tiles(path) as tiles:
        assert counted(tiles) == 130  # what waited was stored on closing


def test_what_waits_is_not_stored_with_a_transaction_that_may_be_taken_back(
    service: Service, tiles: Tiles
) -> None:
    poller = Poller(tiles, [service.target])
    asyncio.run(poller._visit_all())

    def fail() -> None:
        with tiles.transaction():
            assert tiles.series() == []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert counted(tiles) == 10


def test_what_nobody_reads_is_stored_within_a_while(
    service: Service, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barograph.sources.WRITE_SECONDS", 0.01)
    stored = "SELECT count(*) FROM cursors"
    with Poller(tiles, [service.target], interval=100.0):
        assert wait_for(lambda: query(tiles, stored) == [(1,)])


def test_more_than_a_memory_full_is_stored_at_once(
    service: Service, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_WAITING", 10)
    asyncio.run(Poller(tiles, [service.target])._visit_all())
    assert query(tiles, "SELECT count(*) FROM cursors") == [(1,)]


def query(tiles: Tiles, text: str) -> list[tuple[object, ...]]:
    """What is stored, without a read of the tiles that would have more stored first."""
    with tiles.lock:
        return tiles.connection.execute(text).fetchall()


def test_a_cursor_that_cannot_be_read_never_counts_twice(
    service: Service, tiles: Tiles, caplog: pytest.LogCaptureFixture
) -> None:
    Poller(tiles, [service.target]).poll()
    tiles.connection.execute("UPDATE cursors SET snapshot = 'of another format'::BLOB")
    service.count(60.0, 5)
    poller = Poller(tiles, [service.target])
    poller.poll()
    assert counted(tiles) == 10
    assert "cannot be read" in caplog.text
    service.count(60.0, 5)
    poller.poll()
    assert counted(tiles) == 15


def negative() -> bytes:
    bad = snapshot(1000.0, [10] * 6)
    bad.series[ROWS].counts[0] = -1
    return bad.to_bytes()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda h: reply(h, 200, b"<html>hello</html>"),
            "is no snapshot .* check that a barograph monitor answers",
        ),
        (lambda h: reply(h, 200, b""), "is no snapshot"),
        (lambda h: reply(h, 200, snapshot(1000.0, [10] * 6).to_bytes()[:-9]), "is no snapshot"),
        (
            lambda h: reply(h, 200, snapshot(float("nan"), [10] * 6).to_bytes()),
            "no snapshot|the clock nan; correct",
        ),
        (lambda h: reply(h, 200, snapshot(-5.0, [10] * 6).to_bytes()), "no snapshot|the clock -5.0; correct"),
        (lambda h: reply(h, 200, negative()), "no snapshot|counts below 0"),
        (lambda h: reply(h, 200, b"x" * 5000), "more than 4,096 bytes"),
        (lambda h: reply(h, 200, b"\x1f\x8b", **{"Content-Encoding": "gzip"}), "compressed"),
        (lambda h: reply(h, 401, b""), r"refused the token \(401\); give the target the monitor's token"),
        (lambda h: reply(h, 403, b""), "local clients only .* set a token"),
        (lambda h: reply(h, 404, b""), "is not there .* instrument the service"),
        (lambda h: reply(h, 500, b"boom"), "answered 500; look at the service's log"),
        (lambda h: h.wfile.write(b"not http at all\r\n\r\n"), "cannot read"),
        (lambda h: h.close_connection, "cannot read .* start the service"),
    ],
)
def test_a_bad_answer_changes_nothing_and_says_what_to_do(
    service: Service, tiles: Tiles, answer: Callable[[BaseHTTPRequestHandler], object], words: str
) -> None:
    poller = Poller(tiles, [service.target], most_bytes=4096)
    poller.poll()
    before = poller.statuses()[0]
    service.answer = fault(answer)
    poller.poll()
    (status,) = poller.statuses()
    with pytest.raises(ValueError, match=words):
        raise ValueError(status.error)
    assert (status.up, status.failures, status.succeeded) == (False, 1, before.succeeded)
    assert counted(tiles) == 10
    service.answer = lambda _: False
    service.count(60.0, 1)
    poller.poll()
    assert counted(tiles) == 11


def test_the_token_is_sent_and_a_wrong_one_is_said(service: Service, tiles: Tiles) -> None:
    service.token = "open sesame"
    Poller(tiles, [Target(service.target.url, "wrong")]).poll()
    assert tiles.series() == []
    Poller(tiles, [service.target]).poll()
    assert counted(tiles) == 10


def test_a_redirect_is_not_followed_so_that_no_token_goes_astray(
    service: Service, other: Service, tiles: Tiles
) -> None:
    service.token = "secret"
    service.answer = fault(lambda h: reply(h, 307, b"", Location=f"{other.target.url}/profile"))
    poller = Poller(tiles, [service.target])
    poller.poll()
    assert f"redirects to {other.target.url}/profile; give the address behind it" in (
        poller.statuses()[0].error or ""
    )
    assert other.tokens == []


def test_two_addresses_of_one_process_are_counted_once(service: Service, tiles: Tiles) -> None:
    twin = Target(service.target.url.replace("127.0.0.1", "localhost"))
    poller = Poller(tiles, [service.target, twin])
    for _ in range(3):
        poller.poll()
        service.count(60.0, 5)
    assert counted(tiles) == 20
    states = sorted(str(status.error) for status in poller.statuses())
    assert states[0] == "None"
    assert "the same counters as" in states[1]
    with pytest.raises(ValueError, match=r"targets: .* is there twice"):
        Poller(tiles, [twin, twin])


def test_when_one_address_of_a_process_fails_the_other_takes_over(service: Service, tiles: Tiles) -> None:
    twin = Target(service.target.url.replace("127.0.0.1", "localhost"))
    poller = Poller(tiles, [service.target, twin])
    poller.poll()
    first = next(status.url for status in poller.statuses() if status.up)
    service.answer = lambda h: f"http://{h.headers['Host']}" == first and reply(h, 500, b"")
    service.count(60.0, 5)
    poller.poll()
    service.count(60.0, 5)
    poller.poll()
    assert counted(tiles) == 20
    service.answer = lambda _: False
    service.count(60.0, 5)
    poller.poll()
    assert counted(tiles) == 25


def test_cursors_of_processes_long_gone_are_forgotten(
    service: Service, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "EPOCHS_KEPT", 2)
    poller = Poller(tiles, [service.target])
    for i in range(5):
        service.count(60.0, 5, epoch=f"n{i}")
        poller.poll()
    kept = tiles.connection.execute("SELECT epoch FROM cursors ORDER BY place").fetchall()
    assert kept == [("n3",), ("n4",)]
    assert counted(tiles) == 25


def test_replicas_of_a_model_add_up(service: Service, other: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target, other.target])
    poller.poll()
    assert counted(tiles) == 110
    assert [status.epoch for status in poller.statuses()] == ["e1", "o1"]


def test_a_reference_is_asked_for_once_and_outlives_the_evaluator(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "tiles.duckdb"
    for _ in range(2):
        with Tiles(path) as tiles:
            poller = Poller(tiles, [service.target], references=StoredReferences(tiles))
            poller.poll()
            poller.poll()
            assert dict(poller.references) == service.references
    assert service.asked[ASKED] == 1


def test_a_forgotten_reference_is_asked_for_again(service: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target], references=StoredReferences(tiles))
    poller.poll()
    del poller.references[REFERENCE.id]
    assert not poller.references
    with pytest.raises(KeyError):
        poller.references[REFERENCE.id]
    poller.poll()
    assert dict(poller.references) == service.references


def test_a_reference_of_the_same_bins_and_other_counts_is_another(service: Service, tiles: Tiles) -> None:
    assert LATER.bins.id == REFERENCE.bins.id and LATER.id != REFERENCE.id
    poller = Poller(tiles, [service.target], references=StoredReferences(tiles))
    poller.poll()
    service.references[LATER.id] = LATER.to_json()
    service.named(info(LATER))
    poller.poll()
    assert poller.statuses()[0].error is None
    assert dict(poller.references) == service.references


def test_a_process_without_a_reference_is_asked_for_none(service: Service, tiles: Tiles) -> None:
    service.named(Series.of(naming.MODEL_INFO, {"model": "m", "version": "1", "reference": "", "bins": "0a"}))
    poller = Poller(tiles, [service.target])
    poller.poll()
    assert poller.statuses()[0].error is None
    assert set(service.asked) == {"/profile"}


WHOLE = REFERENCE.to_json()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[not quite", "is no JSON"),
        (b"{}", "is no barograph reference"),
        (WHOLE[:-40], "is no JSON"),
        (WHOLE.replace(b'"regression"', b'"binary"'), "is damaged"),
        (WHOLE.replace(b'"version": 1', b'"version": 99'), "format version 99"),
        (LATER.to_json(), f"gave reference {LATER.id} .* restart"),
    ],
)
def test_a_damaged_reference_is_the_targets_status_and_never_stored(
    service: Service, tiles: Tiles, body: bytes, words: str
) -> None:
    service.references[REFERENCE.id] = body
    poller = Poller(tiles, [service.target], references=StoredReferences(tiles))
    for _ in range(3):
        poller.poll()
    (status,) = poller.statuses()
    assert status.up
    with pytest.raises(ValueError, match=f"reference {REFERENCE.id}: .*{words}"):
        raise ValueError(status.error)
    assert service.asked[ASKED] == 1  # not at every read
    assert counted(tiles) == 10  # it holds up no counts
    assert not poller.references
    service.references[REFERENCE.id] = WHOLE
    for _ in range(3):
        poller.poll()
    assert dict(poller.references) == service.references
    assert poller.statuses()[0].error is None


def test_a_reference_over_other_bins_than_a_process_says_is_not_taken(service: Service, tiles: Tiles) -> None:
    service.named(info(REFERENCE, bins="ffffffff"))
    poller = Poller(tiles, [service.target])
    poller.poll()
    assert "for" in (poller.statuses()[0].error or "") and "over bins ffffffff" in (
        poller.statuses()[0].error or ""
    )
    assert not poller.references


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Long enough for a machine that has much else to do; what holds takes no time."""
    end = time.monotonic() + seconds
    while not (there := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return there


def test_in_the_background_a_stuck_target_delays_no_other(
    service: Service, other: Service, tiles: Tiles
) -> None:
    release = threading.Event()
    service.answer = fault(lambda _: release.wait(100))
    try:
        with Poller(tiles, [service.target, other.target], interval=0.02, timeout=100) as poller:
            assert wait_for(lambda: service.asked["/profile"] == 1 and other.asked["/profile"] >= 5)
            assert poller.statuses()[0].attempted is None  # it hangs still
            with pytest.raises(RuntimeError, match="stop it"):
                poller.poll()
            other.count(60.0, 5)
            assert wait_for(lambda: bool(tiles.series()) and counted(tiles) == 105)
            assert poller.statuses()[0].attempted is None
    finally:
        release.set()
    assert "barograph-poller" not in {thread.name for thread in threading.enumerate()}


def test_in_the_background_a_stuck_target_is_given_up(service: Service, tiles: Tiles) -> None:
    release = threading.Event()
    service.answer = fault(lambda _: release.wait(100))
    try:
        with Poller(tiles, [service.target], interval=0.02, timeout=0.1) as poller:
            assert wait_for(lambda: poller.statuses()[0].failures >= 2)
            assert "did not answer within 0.1 s" in (poller.statuses()[0].error or "")
    finally:
        release.set()


def test_an_answer_that_trickles_is_cut_off(service: Service, tiles: Tiles) -> None:
    release = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not release.wait(0.05):
            handler.wfile.write(b"x")

    service.answer = fault(trickle)
    poller = Poller(tiles, [service.target], timeout=0.3)
    last = threading.Timer(60.0, release.set)
    last.start()
    poller.poll()
    assert not release.is_set()
    last.cancel()
    release.set()
    assert "did not answer within 0.3 s" in (poller.statuses()[0].error or "")


def test_the_pause_after_failures_grows_up_to_a_bound(tiles: Tiles) -> None:
    poller = Poller(tiles, [], interval=15.0)
    assert [poller.pause(n) for n in (0, 1, 2, 3, 4, 99, 10**6)] == [15, 15, 30, 60, 60, 60, 60]
    assert Poller(tiles, [], interval=15.0, longest_wait=1.0).pause(9) == 15
    with pytest.raises(ValueError, match="must be above 0"):
        Poller(tiles, [], interval=0)


def test_a_poller_can_be_stopped_and_started_again(service: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target], interval=0.02)
    poller.stop()
    for n in (1, 2):
        poller.start()
        with pytest.raises(RuntimeError, match="runs already"):
            poller.start()
        service.count(60.0, 5)
        assert wait_for(lambda n=n: bool(tiles.series()) and counted(tiles) == 10 + 5 * n)  # type: ignore[misc]
        poller.stop()


def test_a_status_tells_the_models_of_a_target_also_while_it_is_down(service: Service, tiles: Tiles) -> None:
    poller = Poller(tiles, [service.target])
    poller.poll()
    models = tuple(
        sorted({s.label("model") for s in service.snapshot.series if s.metric == naming.MODEL_INFO.name})
    )
    assert models and poller.statuses()[0].models == models and poller.statuses()[0].unshared == 0
    apart = Vector(np.zeros(0, np.int64), np.array([3.0]))
    series = {**service.snapshot.series, Series.of(naming.WORKERS_UNSHARED, {}): apart}
    service.snapshot = Snapshot(service.snapshot.clock + 60, service.snapshot.epoch, 1, series)
    poller.poll()
    assert poller.statuses()[0].unshared == 3
    service.down()
    poller.poll()
    assert (poller.statuses()[0].up, poller.statuses()[0].models) == (False, models)
