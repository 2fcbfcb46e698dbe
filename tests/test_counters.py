"""Counts in shared memory: they add up over processes, never fall, and survive whatever kills a process."""

import errno
import json
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from barograph import naming
from barograph.counters import (
    Series,
    SharedCounters,
    Snapshot,
    Table,
    Vector,
    files,
    workers,
)
from barograph.counters import (
    folder as folders,
)
from barograph.counters.files import Reader, Writer
from barograph.counters.folder import Folder
from barograph.counters.workers import Team, find_place, find_team
from teams import report

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of processes")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")

SHARED = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ROWS = Series.of(naming.PREDICTIONS, {"model": "m", "version": "1"})
SECONDS = Series.of(naming.FLUSH_SECONDS, {"model": "m", "version": "1"})
DURATION = Series.of(naming.DURATION, {"model": "m", "version": "1", "stage": "total"})
BUSY = Series.of(naming.IN_PROGRESS, {"model": "m", "version": "1"})
CLOCK = Series.of(naming.CLOCK, {})
INFO = Series("info", (("package", "numpy"),), "info", 0, 1)
COLUMNS = Series.of(naming.COLUMN_VALUES, {"model": "m", "version": "1", "bins": "00c0ffee"}, size=500)
UNSHARED = Series.of(naming.WORKERS_UNSHARED, {})


@pytest.fixture
def folder():
    """A directory in shared memory, where there is one."""
    with tempfile.TemporaryDirectory(dir=SHARED) as name:
        yield Path(name)


def rows(counters: SharedCounters) -> int:
    return int(counters.snapshot().series[ROWS].counts[0])


def sums(counters: SharedCounters, series: Series) -> float | None:
    vector = counters.snapshot().series.get(series)
    return None if vector is None else float(vector.sums[0])


def die(counters: SharedCounters) -> None:
    """What the kernel does when a process is killed: it lets go of the locks, and nothing else happens."""
    counters._closed = True
    counters._let_go()


# Series and vectors.


def test_a_series_is_the_same_however_its_labels_were_given():
    assert Series.of(naming.PREDICTIONS, {"version": "1", "model": "m"}) is ROWS
    assert hash(Series("ml_predictions_total", (("model", "m"), ("version", "1")), "counter", 1, 0)) == hash(
        ROWS
    )
    assert (ROWS.label("version"), ROWS.label("stage")) == ("1", None)


@pytest.mark.parametrize(
    ("series", "counts", "sums"),
    [
        (ROWS, 1, 0),
        (SECONDS, 0, 1),
        (DURATION, len(naming.DURATION_BUCKETS) + 1, 1),
        (CLOCK, 0, 1),
        (COLUMNS, 500, 500),
    ],
)
def test_the_sizes_of_a_series_follow_from_its_metric(series, counts, sums):
    assert (series.counts, series.sums) == (counts, sums)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ml rows", (), "counter", 1, 0), "metric: 'ml rows'"),
        (("rows", (), "tally", 1, 0), "kind: 'tally' is not one of counter"),
        (("rows", (("b", ""), ("a", "")), "counter", 1, 0), "must be sorted by name"),
        (("rows", (("a", ""), ("a", "")), "counter", 1, 0), "each once"),
        (("rows", (("a-b", ""),), "counter", 1, 0), "no names of labels"),
    ],
)
def test_a_series_that_would_break_the_exposition_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Series(*arguments)


def test_a_label_that_the_metric_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"ml_predictions_total has no \['stage'\]; it has model, version"):
        Series.of(naming.PREDICTIONS, {"model": "m", "stage": "total"})


def test_a_pickled_series_is_found_again_in_a_process_with_other_hashes():
    code = "import pickle, sys; s = pickle.load(sys.stdin.buffer); print({type(s).of(*%s): 1}[s])"
    code %= "(__import__('barograph').naming.PREDICTIONS, {'model': 'm', 'version': '1'})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(ROWS),
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"1\n"


vectors = st.builds(
    Vector,
    arrays(np.int64, 5, elements=st.integers(-(2**40), 2**40)),
    arrays(np.float64, 3, elements=st.integers(-(2**40), 2**40).map(float)),
)


def same(a: Vector, b: Vector) -> bool:
    return np.array_equal(a.counts, b.counts) and np.array_equal(a.sums, b.sums)


@given(vectors, vectors, vectors)
def test_vectors_are_a_commutative_group(a, b, c):
    zero = Vector(np.zeros(5, dtype=np.int64), np.zeros(3))
    assert same(a + b, b + a)
    assert same((a + b) + c, a + (b + c))
    assert same(a + zero, a)
    assert same(a + b - b, a)


def test_vectors_of_other_sizes_are_not_broadcast():
    with pytest.raises(ValueError, match=r"cannot add vectors of \(1, 0\) and \(0, 1\)"):
        Vector.zero(ROWS) + Vector.zero(CLOCK)


# Snapshots as bytes.


def a_snapshot(counts: list[int] | None = None) -> Snapshot:
    counts = [0, 3, 1] if counts is None else counts
    size = len(counts)
    columns = Series.of(naming.COLUMN_VALUES, {"model": 'm"\n€', "version": "1", "bins": "b"}, size=size)
    series = {
        ROWS: Vector(np.array([7]), np.array([])),
        CLOCK: Vector(np.array([], dtype=np.int64), np.array([1.5])),
    }
    series[columns] = Vector(np.array(counts, dtype=np.int64), np.linspace(-1, 1, size))
    return Snapshot(12.25, "e" * 32, 4, series)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_a_snapshot_comes_back_from_its_bytes(counts):
    one = a_snapshot(counts)
    other = Snapshot.from_bytes(one.to_bytes())
    assert (other.clock, other.epoch, other.workers) == (one.clock, one.epoch, one.workers)
    assert list(other.series) == list(one.series)
    assert all(same(other.series[s], one.series[s]) for s in one.series)
    assert all(v.counts.dtype == np.int64 and v.sums.dtype == np.float64 for v in other.series.values())


def test_damaged_bytes_of_a_snapshot_are_refused_with_a_remedy():
    data = a_snapshot().to_bytes()
    broken = [data[:n] for n in range(len(data))]
    broken += [data[:i] + bytes([data[i] ^ 0x10]) + data[i + 1 :] for i in range(len(data))]
    for damaged in [*broken, data + b"x", b"<html>" * 100]:
        with pytest.raises(ValueError, match=r"^snapshot: .*; fetch it again"):
            Snapshot.from_bytes(damaged)


def test_a_snapshot_whose_header_lies_is_refused(monkeypatch):
    real = json.dumps

    def lie(fields, **options):
        return real({**fields, "series": [["rows", [], "counter", 2**40, 0]]}, **options)

    monkeypatch.setattr("barograph.counters.series.json.dumps", lie)
    data = a_snapshot().to_bytes()
    with pytest.raises(ValueError, match=r"^snapshot: its header cannot be read"):
        Snapshot.from_bytes(data)


def test_a_table_holds_the_same_numbers_as_its_vectors():
    one = a_snapshot()
    table = Table.of(one.series)
    assert table.counts.tolist() == [7, 0, 3, 1]
    assert all(same(table.vectors()[s], v) for s, v in one.series.items())


# Shared counters.


def test_a_vector_is_the_same_object_on_each_call_and_begins_at_0(folder):
    counters = SharedCounters(folder)
    vector = counters.vector(COLUMNS)
    assert counters.vector(COLUMNS) is vector
    assert not vector.counts.any() and not vector.sums.any()
    assert (vector.counts.shape, vector.sums.shape) == ((500,), (500,))
    counters.close()


def test_processes_of_one_directory_add_up(folder):
    one, other = SharedCounters(folder), SharedCounters(folder)
    one.vector(ROWS).counts[0] += 3
    other.vector(SECONDS).sums[0] += 0.5
    other.vector(ROWS).counts[0] += 4
    one.vector(COLUMNS).counts[:] += 1
    other.vector(COLUMNS).counts[:] += 2
    other.vector(COLUMNS).sums[7] -= 2.5
    one.vector(DURATION).counts[3] += 1
    for counters in (one, other):
        series = counters.snapshot(clock=5.0).series
        assert series[ROWS].counts.tolist() == [7]
        assert series[SECONDS].sums.tolist() == [0.5]
        assert series[COLUMNS].counts.tolist() == [3] * 500
        assert series[COLUMNS].sums[7] == -2.5
        assert series[DURATION].counts[3] == 1
    assert one.snapshot(clock=5.0).clock == 5.0
    assert one.snapshot().epoch == other.snapshot().epoch
    one.close()
    other.close()


def test_gauges_add_up_or_take_the_highest_and_vanish_with_their_process(folder):
    one, other = SharedCounters(folder), SharedCounters(folder)
    for counters, busy, clock in ((one, 2, -7.0), (other, 3, -5.0)):
        counters.vector(BUSY).sums[0] = busy
        counters.vector(CLOCK).sums[0] = clock
        counters.vector(INFO).sums[0] = 1
        counters.vector(ROWS).counts[0] += 1
    assert [sums(one, s) for s in (BUSY, CLOCK, INFO)] == [5.0, -5.0, 1.0]
    die(other)
    assert [sums(one, s) for s in (BUSY, CLOCK, INFO)] == [2.0, -7.0, 1.0]
    die(one)
    last = SharedCounters(folder)
    assert [sums(last, s) for s in (BUSY, CLOCK, INFO)] == [None, None, None]
    assert rows(last) == 2
    last.close()


def test_a_dead_process_whose_pid_lives_again_counts_as_dead(folder):
    dead = SharedCounters(folder)
    dead.vector(ROWS).counts[0] += 5
    dead.vector(BUSY).sums[0] = 5
    die(dead)
    (path,) = folder.glob("*.counts")
    assert Reader(path).pid == os.getpid()  # alive, by its pid
    counters = SharedCounters(folder)
    assert (rows(counters), sums(counters, BUSY), counters.snapshot().workers) == (5, None, 1)
    counters.close()


def test_counts_of_ended_processes_stay_and_their_files_go(folder):
    keeper = SharedCounters(folder)
    for i in range(20):
        worker = SharedCounters(folder)
        worker.vector(ROWS).counts[0] += 1
        die(worker) if i % 2 else worker.close()
        assert rows(keeper) == i + 1
    SharedCounters(folder).close()
    assert len(list(folder.glob("*.counts"))) == 2  # the keeper's, and dead.counts
    assert rows(keeper) == 20
    keeper.close()


def test_views_stay_good_when_the_file_grows(folder):
    one, other = SharedCounters(folder), SharedCounters(folder)
    first = one.vector(ROWS)
    before = one._writer._size
    other.snapshot()
    for i in range(30):
        labels = {"model": "m", "version": str(i), "bins": "b"}
        one.vector(Series.of(naming.COLUMN_VALUES, labels, size=1000)).counts[:] += i
    assert one._writer._size > 4 * before
    first.counts[0] += 9
    assert one.vector(ROWS) is first
    assert (rows(one), rows(other)) == (9, 9)
    assert sum(int(v.counts.sum()) for v in other.snapshot().series.values()) == 9 + 1000 * sum(range(30))
    one.close()
    other.close()


operations = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["add", "add", "add", "new series", "close", "die", "open"])
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(operations)
def test_totals_are_exact_whatever_processes_do(steps):
    """Any order of counting, starting, stopping and dying: every process answers with the exact total, which never falls."""
    with tempfile.TemporaryDirectory(dir=SHARED) as name:
        running: dict[int, SharedCounters] = {}
        total, made = 0, 0
        watcher = SharedCounters(Path(name))
        for who, what in steps:
            counters = running.get(who)
            if what == "open" or counters is None:
                if counters is None:
                    running[who] = SharedCounters(Path(name))
            elif what == "add":
                counters.vector(ROWS).counts[0] += who + 1
                total += who + 1
            elif what == "new series":
                made += 1
                counters.vector(Series("made", (("n", str(made)),), "counter", 1, 0)).counts[0] = 1
            elif what == "close":
                running.pop(who).close()
            else:
                die(running.pop(who))
            for reader in (watcher, *running.values()):
                series = reader.snapshot().series
                assert int(series.get(ROWS, Vector.zero(ROWS)).counts[0]) == total
                assert sum(s.metric == "made" for s in series) == made
        for counters in (watcher, *running.values()):
            counters.close()


# Deaths at bad moments.


@pytest.mark.parametrize(
    "moment", ["before the file is written", "before it is renamed", "after it is renamed", "between unlinks"]
)
def test_a_kill_in_the_middle_of_a_fold_neither_loses_nor_counts_twice(folder, moment, monkeypatch):
    keeper = SharedCounters(folder)
    team = [SharedCounters(folder) for _ in range(3)]
    for worker in team:
        worker.vector(ROWS).counts[0] += 10
        worker.vector(COLUMNS).sums[:] += 1
        keeper.snapshot()
    for worker in team:
        die(worker)

    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    real_unlink, unlinked = Path.unlink, []

    def unlink(path, **options):
        if path.suffix == naming.COUNTS_SUFFIX:
            if unlinked:
                raise Killed
            unlinked.append(path)
        real_unlink(path, **options)

    with monkeypatch.context() as patch:
        if moment == "before the file is written":
            patch.setattr(folders, "_write", killed)
        elif moment == "before it is renamed":
            patch.setattr(Path, "replace", killed)
            patch.setattr(Path, "unlink", lambda *_, **__: None)  # nothing is tidied up after a kill
        elif moment == "after it is renamed":
            patch.setattr(Folder, "_remove_folded", killed)
        else:
            patch.setattr(Path, "unlink", unlink)
        victim = Folder(folder)
        with pytest.raises(Killed):
            victim.fold()
    victim.close()
    assert rows(keeper) == 30
    late = SharedCounters(folder)  # folds what is left
    assert (rows(keeper), rows(late)) == (30, 30)
    assert late.snapshot().series[COLUMNS].sums[0] == 3
    assert len(list(folder.glob("*.counts"))) == 3
    late.close()
    keeper.close()


def test_a_reader_that_cannot_have_the_lock_still_reads_the_right_total(folder, monkeypatch):
    one, other = SharedCounters(folder), SharedCounters(folder)
    one.vector(ROWS).counts[0] += 3
    other.vector(ROWS).counts[0] += 4
    with folders.lock_file(folder / naming.LOCK_FILE, exclusive=True) as held:
        assert held
        start = time.monotonic()
        assert rows(one) == 7
        assert time.monotonic() - start < 2
    die(other)
    monkeypatch.setattr(folders, "SHARED_WAIT", 0.0)
    with folders.lock_file(folder / naming.LOCK_FILE, exclusive=False):  # keeps it from being folded
        assert rows(one) == 7
    one.close()


def test_half_a_block_is_left_alone_until_it_is_whole(folder):
    writer = Writer(folder)
    counts, _ = writer.append(b'["a_total",[],"counter"]', 1, 0, additive=True)
    counts[0] = 5
    words = writer.words.ints
    head = writer.blocks[0].start - 1  # the last word of the descriptor
    whole, words[head] = int(words[head]), 0
    counters = SharedCounters(folder)
    series = Series("a_total", (), "counter", 1, 0)
    assert series not in counters.snapshot().series
    words[head] = whole
    assert counters.snapshot().series[series].counts[0] == 5
    writer.close()
    counters.close()


def test_files_that_are_not_ours_are_passed_over_and_said_once(folder, caplog):
    (folder / "notes.counts").write_text("x" * 400)
    (folder / "empty.counts").touch()
    counters = SharedCounters(folder)
    with caplog.at_level(logging.WARNING):
        counters.vector(ROWS).counts[0] += 1
        assert [rows(counters) for _ in range(3)] == [1, 1, 1]
    assert sum("notes" in record.getMessage() for record in caplog.records) <= 1
    counters.close()


# No space, no directory.


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


allocates = pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="this platform allocates by writing"
)


@allocates
def test_a_process_without_room_shows_the_others_totals_and_says_so_once(folder, monkeypatch, caplog):
    """Its own would come and go in a total, as one worker or another is asked."""
    before = SharedCounters(folder)
    before.vector(ROWS).counts[0] += 10
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with caplog.at_level(logging.WARNING):
        one = SharedCounters(folder)
        one.vector(ROWS).counts[0] += 1
        assert [rows(one) for _ in range(3)] == [10, 10, 10]
    assert one.snapshot().epoch == before.snapshot().epoch
    assert rows(before) == 10
    (said,) = [r.getMessage() for r in caplog.records if "could not" in r.getMessage()]
    assert "No space left" in said and "BAROGRAPH_DIR" in said
    assert sums(one, UNSHARED) == 1
    one.close()
    before.close()


@allocates
def test_a_process_without_room_and_without_company_shows_its_own_as_another_epoch(folder, monkeypatch):
    """Under the directory's epoch it would count again what it cannot leave there."""
    before = SharedCounters(folder)
    before.vector(ROWS).counts[0] += 10
    epoch = before.snapshot().epoch
    before.close()
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    one = SharedCounters(folder)
    one.vector(ROWS).counts[0] += 1
    one.vector(CLOCK).sums[0] = 3
    assert (rows(one), sums(one, CLOCK)) == (1, 3.0)
    assert one.snapshot().epoch not in (epoch, "")
    monkeypatch.undo()
    late = SharedCounters(folder)
    assert (rows(late), rows(one)) == (10, 10)
    assert one.snapshot().epoch == late.snapshot().epoch == epoch
    late.close()
    assert rows(one) == 1
    one.close()


@allocates
def test_a_file_system_that_fills_up_later_keeps_what_was_shared(folder, monkeypatch, caplog):
    one, other = SharedCounters(folder), SharedCounters(folder)
    one.vector(ROWS).counts[0] += 5
    one.vector(BUSY).sums[0] += 2
    epoch, generation = one.snapshot().epoch, one.generation
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", no_space)
        large = Series.of(naming.COLUMN_VALUES, {"model": "m", "version": "1", "bins": "b"}, size=100_000)
        one.vector(large).counts[:] += 2
    one.vector(ROWS).counts[0] += 1
    assert one.generation == generation + 1
    assert (rows(one), rows(other)) == (5, 5)
    assert large not in other.snapshot().series
    other.close()
    assert rows(one) == 1
    assert one.snapshot().series[large].counts.sum() == 200_000
    assert sums(one, BUSY) == 2  # still in progress
    assert one.snapshot().epoch != epoch
    assert sum("could not make room" in r.getMessage() for r in caplog.records) == 1
    one.close()


def test_space_is_found_to_be_short_where_nothing_allocates(folder, monkeypatch):
    """A file system that is nearly full writes a part of what it was given, and no word of it."""
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    real, left = os.write, [files.START_SIZE - 100]

    def write(descriptor, data):
        if not left[0]:
            raise no_space()
        taken = real(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        Writer(folder)
    assert list(folder.iterdir()) == []
    left[0] = 1 << 30
    writer = Writer(folder)
    assert next(folder.glob("*.counts")).stat().st_size == files.START_SIZE
    writer.close()


@linux
def test_memory_is_there_before_it_is_used(folder):
    counters = SharedCounters(folder)
    counters.vector(COLUMNS)
    (path,) = folder.glob("*.counts")
    assert path.stat().st_blocks * 512 >= path.stat().st_size >= files.START_SIZE
    counters.close()


def test_totals_outlive_their_directory(folder, caplog):
    """As where a user logs out, and the system clears what is his in shared memory."""
    dead, one, other = (SharedCounters(folder / "gone") for _ in range(3))
    for counters in (dead, one, other):
        counters.vector(ROWS).counts[0] += 3
    dead.close()
    assert rows(one) == 9
    shutil.rmtree(folder / "gone")
    assert rows(one) == 9
    other.vector(ROWS).counts[0] += 1
    one.vector(ROWS).counts[0] += 1
    assert rows(one) == 11
    late = SharedCounters(folder / "gone")  # another server, as far as can be told
    late.vector(ROWS).counts[0] += 100
    assert (rows(one), rows(late)) == (11, 100)
    assert one.snapshot().epoch != late.snapshot().epoch
    assert sums(one, UNSHARED) == 1
    for counters in (one, other, late):
        counters.close()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_directory_that_cannot_be_written_by_permission(folder):
    read_only(folder, lambda: folder.chmod(0o500), lambda: folder.chmod(0o700))


def test_a_directory_that_cannot_be_written(folder, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest, **options):
        if flags & (os.O_CREAT | os.O_RDWR | os.O_WRONLY) and Path(path).is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **options)

    read_only(folder, lambda: monkeypatch.setattr(os, "open", refuse), monkeypatch.undo)


def read_only(folder, begin, end):
    before = SharedCounters(folder)
    before.vector(ROWS).counts[0] += 10
    before.close()
    begin()
    try:
        one = SharedCounters(folder)
        one.vector(ROWS).counts[0] += 1
        one.publish("00c0ffee.reference.json", b"{}")
        assert rows(one) == 1
        assert one.references() == {"00c0ffee": b"{}"}
        one.close()
    finally:
        end()
    again = SharedCounters(folder)
    assert rows(again) == 10
    again.close()


def test_a_file_system_without_locks_or_links_is_counted_alone(folder, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(files.fcntl, "flock", no_locks)
        one, other = SharedCounters(folder), SharedCounters(folder)
        one.vector(ROWS).counts[0] += 1
        other.vector(ROWS).counts[0] += 2
        assert (rows(one), rows(other)) == (1, 2)
        assert one.snapshot().epoch != other.snapshot().epoch
        one.close()
        other.close()
    assert "No locks available" in caplog.text


def test_processes_agree_on_the_epoch_where_there_are_no_links(folder, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    found = []
    threads = [threading.Thread(target=lambda: found.append(Folder(folder).epoch())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20 and len(set(found)) == 1


def test_a_hundred_workers_add_up_and_are_folded_when_they_are_gone(folder):
    counters = SharedCounters(folder)
    team = [Writer(folder) for _ in range(150)]
    for i, writer in enumerate(team):
        numbers, _ = writer.append(b'["a_total",[],"counter"]', 1, 0, additive=True)
        numbers[0] = i
        writer.pid = i
    series = Series("a_total", (), "counter", 1, 0)
    assert counters.snapshot().series[series].counts[0] == sum(range(150))
    for writer in team:
        writer.close()
    late = SharedCounters(folder)
    for one in (counters, late):
        assert one.snapshot().series[series].counts[0] == sum(range(150))
    assert len(list(folder.glob("*.counts"))) == 3
    late.close()
    counters.close()


def test_files_that_cannot_be_opened_now_neither_lower_the_total_nor_are_folded(folder, monkeypatch, caplog):
    """Too many open files: what is mapped already goes on counting."""
    counters, other = SharedCounters(folder), SharedCounters(folder)
    other.vector(ROWS).counts[0] += 7
    assert rows(counters) == 7
    real = os.open

    def too_many(path, *rest, **options):
        if str(path).endswith(naming.COUNTS_SUFFIX) or str(path).endswith(naming.LOCK_FILE):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *rest, **options)

    late = SharedCounters(folder)
    late.vector(ROWS).counts[0] += 100
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", too_many)
        other.vector(ROWS).counts[0] += 1
        assert rows(counters) == 8
        assert sums(counters, UNSHARED) == 1
        die(other)
        assert rows(counters) == 8
        with pytest.raises(OSError, match="Too many open files"):
            counters._folder.fold()
    assert rows(counters) == 108
    assert sums(counters, UNSHARED) == 0
    assert sum("Too many open files" in r.getMessage() for r in caplog.records) == 1
    late.close()
    counters.close()


def test_leftovers_of_killed_processes_are_removed(folder):
    old, young = folder / f".{'a' * 32}", folder / f".{'b' * 32}"
    for path in (old, young, folder / ".dead.counts.00c0ffee", folder / ".mine"):
        path.touch()
        if path != young:
            os.utime(path, (0, 0))
    SharedCounters(folder).close()
    assert {path.name for path in folder.glob(".*")} == {young.name, ".mine"}


@pytest.mark.parametrize("end", [2**62, -5, 7_777])
def test_a_header_that_a_crash_left_wrong_hides_nothing_but_itself(folder, end):
    writer = Writer(folder)
    counts, _ = writer.append(b'["a_total",[],"counter"]', 1, 0, additive=True)
    counts[0] = 5
    writer.words.ints[1] = end
    os.truncate(next(folder.glob("*.counts")), 8 * writer.blocks[0].end)
    writer.close()
    counters = SharedCounters(folder)
    counters.vector(ROWS).counts[0] += 1
    assert rows(counters) == 1
    series = Series("a_total", (), "counter", 1, 0)
    assert (series in counters.snapshot().series) == (end > 0)
    counters.close()


def test_totals_are_right_in_every_scrape_while_files_are_folded(folder):
    """Readers and folders at once, with and without the lock: no total is ever too low or too high."""
    counters = SharedCounters(folder)
    base = 40
    for _ in range(base):
        worker = SharedCounters(folder)
        worker.vector(ROWS).counts[0] += 1
        die(worker)
    over, wrong = threading.Event(), []

    def read():
        reader = SharedCounters(folder)
        while not over.is_set():
            if (found := rows(reader)) != base:
                wrong.append(found)
        reader.close()

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        worker = SharedCounters(folder)
        worker.vector(ROWS)
        die(worker)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong
    counters.close()


# Forks.


def in_child(work) -> None:
    """Run in a forked child; fails if the child did, or if it hangs."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    deadline = time.monotonic() + 10
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0
            return
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail("the forked child hangs")
        time.sleep(0.01)


@forks
def test_a_forked_child_counts_in_a_file_of_its_own_from_0(folder):
    counters = SharedCounters(folder)
    counters.vector(ROWS).counts[0] += 3
    counters.vector(CLOCK).sums[0] = 1
    generation = counters.generation

    def work():
        assert counters.generation == generation + 1
        assert counters.vector(ROWS).counts[0] == 0
        assert set(counters._vectors) == {ROWS, CLOCK}
        counters.vector(ROWS).counts[0] += 4
        assert rows(counters) == 7
        assert counters.snapshot().workers == 2

    in_child(work)
    assert counters.generation == generation
    assert rows(counters) == 7
    assert counters.snapshot().workers == 1
    counters.close()


@forks
def test_a_fork_without_pythons_hooks_is_noticed(folder, monkeypatch):
    """Servers written in C fork without telling Python."""
    counters = SharedCounters(folder)
    counters.vector(ROWS).counts[0] += 3
    monkeypatch.setattr(
        SharedCounters, "_after_fork_in_child", lambda self: setattr(self, "_lock", threading.RLock())
    )

    def work():
        counters.vector(ROWS).counts[0] += 4
        assert counters._generation == 1

    in_child(work)
    assert rows(counters) == 7
    counters.close()


@forks
def test_forking_while_other_threads_count_and_read_never_hangs(folder):
    counters = SharedCounters(folder)
    over = threading.Event()

    def busy():
        i = 0
        while not over.is_set():
            i += 1
            counters.vector(Series("made", (("n", str(i % 500)),), "counter", 1, 0))
            counters.snapshot()

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            in_child(lambda: [counters.vector(ROWS).counts.__iadd__(1), counters.snapshot()])
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert rows(counters) == 15
    counters.close()


@forks
def test_a_child_that_outlives_its_parent_does_not_make_it_look_alive(folder):
    """What a child inherits must not hold the parent's lock."""
    code = f"""
import os, sys, time
from pathlib import Path
from barograph.counters import SharedCounters
from barograph import naming
from barograph.counters import Series
counters = SharedCounters(Path({str(folder)!r}))
vector = counters.vector(Series.of(naming.IN_PROGRESS, {{"model": "m", "version": "1"}}))
vector.sums[0] = 1
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    child = int(process.stdout.readline())
    process.wait()
    try:
        counters = SharedCounters(folder)
        assert sums(counters, BUSY) is None
        counters.close()
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


# Published files.


def test_a_published_file_is_seen_by_all_and_never_changes(folder):
    one, other = SharedCounters(folder), SharedCounters(folder)
    one.publish("00c0ffee.reference.json", b"{}")
    other.publish("00c0ffee.reference.json", b"other")
    other.publish("notes.json", b"[]")
    assert other.published("00c0ffee.reference.json") == one.published("00c0ffee.reference.json") == b"{}"
    assert one.references() == {"00c0ffee": b"{}"}
    assert one.published("nothing.json") is None
    one.close()
    other.close()


@pytest.mark.parametrize("name", ["../x.json", "a/b.json", ".hidden.json", "x", "", "dead.counts", "epoch"])
def test_a_published_name_cannot_leave_the_directory(folder, name):
    counters = SharedCounters(folder)
    with pytest.raises(ValueError, match="no name of a published file"):
        counters.publish(name, b"")
    with pytest.raises(ValueError, match="no name of a published file"):
        counters.published(name)
    counters.close()


# Who shares with whom.


@linux
def test_a_process_on_its_own_shares_with_nobody():
    code = "from barograph.counters.workers import find_place; p = find_place(); print(p.path, p.alone, p.doubtful)"
    environment = {k: v for k, v in os.environ.items() if k != naming.DIRECTORY_VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    places = {subprocess.check_output([sys.executable, "-c", code], env=environment) for _ in range(2)}
    assert len(places) == 2
    assert all(place.endswith(b" True False\n") for place in places)


@linux
@forks
def test_forks_without_a_new_program_are_one_team():
    name = find_team()[0].name
    in_child(lambda: (_ for _ in ()).throw(AssertionError) if find_team()[0].name != name else None)


@pytest.mark.parametrize(
    ("arguments", "teams"),
    [
        ([(1,), (2,)], 1),  # workers by their index
        ([("a:app",), ("a:app",)], 1),
        ([("a:app",), ("b:app",)], 2),  # two services that one script starts
        ([("a:app", 8001), ("a:app", 8002)], 2),
    ],
)
def test_processes_that_one_parent_starts_share_if_they_do_the_same_work(arguments, teams):
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    processes = [context.Process(target=report, args=(queue, *own)) for own in arguments]
    for process in processes:
        process.start()
    names = {queue.get() for _ in processes}
    for process in processes:
        process.join()
    assert len(names) == teams
    assert {Team.parse(name).pid for name in names} == {os.getpid()}


def test_a_directory_that_is_named_is_used_and_stays(folder, monkeypatch):
    monkeypatch.setenv(naming.DIRECTORY_VARIABLE, str(folder / "named"))
    assert find_place().path == folder / "named"
    assert find_place(folder).path == folder
    counters = SharedCounters()
    counters.vector(ROWS).counts[0] += 2
    counters.close()
    again = SharedCounters()
    assert rows(again) == 2
    again.close()
    assert (folder / "named").is_dir()


@pytest.fixture
def own_base(folder, monkeypatch):
    """Directories of teams under `folder` instead of shared memory."""
    monkeypatch.setattr(workers, "SHARED_MEMORY", folder)
    monkeypatch.delenv(naming.DIRECTORY_VARIABLE, raising=False)
    return folder / f"barograph-{os.geteuid()}"


@linux
def test_monitors_of_one_process_share_and_the_last_removes_the_directory(own_base):
    one, other = SharedCounters(), SharedCounters()
    one.vector(ROWS).counts[0] += 1
    other.vector(ROWS).counts[0] += 1
    assert (rows(one), rows(other)) == (2, 2)
    assert one.snapshot().workers == 1
    (directory,) = (path for path in own_base.iterdir() if path.is_dir())
    assert directory.stat().st_mode & 0o077 == 0
    one.close()
    assert rows(other) == 2
    other.close()
    assert not directory.exists()


@linux
def test_leftovers_of_ended_servers_are_removed_and_others_are_not(own_base):
    SharedCounters().close()
    ours = find_team()[0]
    ended = Team(ours.host, ours.pid, "1", ours.work)  # this pid, of a process that began at another time
    alive = Team(ours.host, os.getppid(), workers._start(os.getppid()), "0" * 8)
    foreign = Team("00000000", 1, "1", "0" * 8)  # of another boot or container
    held = Team(ours.host, 2**22 + 1, "1", "0" * 8)  # its server is gone, a worker lives on
    for team in (ended, alive, foreign, held):
        (own_base / team.name).mkdir()
    (own_base / "notes").mkdir()
    Writer(own_base / ended.name).close()
    worker = Writer(own_base / held.name)
    SharedCounters().close()
    left = {path.name for path in own_base.iterdir() if path.is_dir()}
    assert left == {alive.name, foreign.name, held.name, "notes"}
    worker.close()
    os.utime(own_base / foreign.name, (0, 0))
    SharedCounters().close()
    assert {path.name for path in own_base.iterdir() if path.is_dir()} == {alive.name, "notes"}


@linux
def test_a_directory_that_others_could_write_is_not_used(own_base, folder, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(folder / "tmp"))
    (folder / "tmp").mkdir()
    own_base.mkdir(mode=0o777)
    own_base.chmod(0o777)
    assert find_place().path.is_relative_to(folder / "tmp")
    assert "mode 0700" in caplog.text
    (folder / "tmp" / own_base.name).rmdir()
    (folder / "tmp" / own_base.name).symlink_to(folder)
    assert find_place().path is None


@linux
def test_workers_that_cannot_be_told_to_share_are_counted(folder):
    """Where addresses are not random a fork looks like a program started anew; its siblings are seen all the same."""
    code = f"""
import os
from pathlib import Path
from barograph.counters import SharedCounters, workers
workers.SHARED_MEMORY = Path({str(folder)!r})
workers._addresses_are_random = lambda: False
started, done, over = os.pipe(), os.pipe(), os.pipe()
for _ in range(3):
    if os.fork() == 0:
        os.close(over[1])
        os.read(started[0], 1)
        snapshot = SharedCounters().snapshot()
        print({{s.metric: v.sums.tolist() for s, v in snapshot.series.items()}}, flush=True)
        os.write(done[1], b"x")
        os.read(over[0], 1)
        os._exit(0)
os.write(started[1], b"xxx")
for _ in range(3):
    os.read(done[0], 1)
os.close(over[1])
for _ in range(3):
    os.wait()
"""
    environment = {k: v for k, v in os.environ.items() if k != naming.DIRECTORY_VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("'ml_monitor_workers_unshared': [2.0]") == 3, done
    assert done.stderr.count("2 other workers of this server do not share counters") == 3


def test_where_nothing_tells_forks_apart_the_servers_own_words_count(own_base, folder, monkeypatch, caplog):
    """As on macOS, where gunicorn's workers without --preload cannot find each other."""
    monkeypatch.setattr(workers, "PROC", folder / "no such thing")
    counters = SharedCounters()
    assert sums(counters, UNSHARED) == 0
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", workers)
    monkeypatch.setattr(sys, "argv", ["gunicorn", "app:app", "-w", "4"])
    assert sums(counters, UNSHARED) == 3
    monkeypatch.setattr(sys, "argv", ["gunicorn", "app:app", "--workers=2"])
    assert sums(counters, UNSHARED) == 1
    monkeypatch.setattr(sys, "argv", ["gunicorn", "app:app"])
    assert sums(counters, UNSHARED) == 0
    monkeypatch.setenv("WEB_CONCURRENCY", "8")
    assert sums(counters, UNSHARED) == 7
    assert sum("do not share counters" in record.getMessage() for record in caplog.records) == 1
    counters.close()


@forks
def test_workers_that_inherit_the_counters_share_even_where_forks_cannot_be_told(own_base, monkeypatch):
    """gunicorn --preload."""
    monkeypatch.setattr(workers, "_addresses_are_random", lambda: False)
    counters = SharedCounters()
    counters.vector(ROWS).counts[0] += 3

    def work():
        counters.vector(ROWS).counts[0] += 4
        assert rows(counters) == 7
        assert sums(counters, UNSHARED) == 0

    in_child(work)
    counters.close()


def test_a_platform_without_such_locks_counts_in_private_memory(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(workers.sys, "platform", "win32")
    one, other = SharedCounters(tmp_path / "counts"), SharedCounters(tmp_path / "counts")
    one.vector(ROWS).counts[0] += 1
    one.publish("00c0ffee.reference.json", b"{}")
    assert (rows(one), one.published("00c0ffee.reference.json"), one.references()) == (
        1,
        b"{}",
        {"00c0ffee": b"{}"},
    )
    assert ROWS not in other.snapshot().series
    assert one.snapshot().epoch != other.snapshot().epoch
    assert not (tmp_path / "counts").exists()
    assert sum("locks that end with their process" in record.getMessage() for record in caplog.records) == 2
    one.close()
    other.close()


def test_two_directories_have_two_epochs(folder):
    one, other = SharedCounters(folder / "a"), SharedCounters(folder / "b")
    assert one.snapshot().epoch != other.snapshot().epoch
    one.vector(ROWS).counts[0] += 1
    assert ROWS not in other.snapshot().series
    one.close()
    other.close()
