"""Numbers in shared memory: files that one process writes and others read, and the directory that they lie in.

A file is a header and a sequence of blocks that only grows. A block is a descriptor (bytes that say what it counts), int64
counts and float64 sums. The header's `end` moves last, so a reader never sees half a block, and parses only what is new.

A process is alive while it holds the lock on its file: the kernel lets go of it however the process dies, and a new process
with an old pid does not hold it. What dead processes counted is added up in `dead.counts`, which also lists the files that
are in it: it is replaced in one step, so that a kill at any moment neither loses a file nor counts it twice.
"""

import contextlib
import errno
import json
import logging
import mmap
import os
import re
import secrets
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from barograph.counters.workers import Place, Team
from barograph.naming import COUNTS_SUFFIX, DEAD_COUNTS, EPOCH_FILE, LOCK_FILE

if sys.platform != "win32":
    import fcntl

MAGIC = int.from_bytes(b"BAROCNT1", "little")
HEADER = 64  # bytes: eight words, of which magic, end, pid and start are used
START_SIZE = 1 << 16
KEPT_IDS = 100  # folded files that dead.counts goes on listing, for readers that could not have the lock
SHARED_WAIT, EXCLUSIVE_WAIT = 0.05, 5.0  # seconds that a lock is waited for

_BLOCK = struct.Struct("<5I4x")  # bytes of the descriptor, counts, sums, additive, crc32 of all that
_FOLDED = b"folded"
_PUBLISHED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*\.json")

log = logging.getLogger("barograph")


class SharedFileError(OSError):
    """A file of counts that cannot be read: of another format, or damaged."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block's numbers lie: `start` is the word of the first count; the sums follow the counts."""

    descriptor: bytes
    counts: int
    sums: int
    additive: bool  # whether the numbers outlive their process
    start: int

    @property
    def key(self) -> tuple[bytes, int, int]:
        """What blocks of several files must share to be added up."""
        return self.descriptor, self.counts, self.sums

    @property
    def end(self) -> int:
        """The word after the last sum."""
        return self.start + self.counts + self.sums


class Words:
    """The 8-byte words of a file in memory, and the blocks in them. The base of what is written and of what is read."""

    def __init__(self, buffer: "mmap.mmap | bytes | bytearray") -> None:
        self.ints = np.frombuffer(buffer, dtype=np.int64)
        self.floats = np.frombuffer(buffer, dtype=np.float64)

    def counts(self, block: Block) -> np.ndarray:
        """int64[block.counts], a view."""
        return self.ints[block.start : block.start + block.counts]

    def sums(self, block: Block) -> np.ndarray:
        """float64[block.sums], a view."""
        return self.floats[block.start + block.counts : block.end]


class Writer:
    """This process's own file in `folder`, locked until `close`.

    Space is allocated before it is used: a full file system raises OSError here and never kills the process later.
    """

    def __init__(self, folder: Path, *, start: int = 0) -> None:
        self.id = secrets.token_hex(16)
        self.pid, self.start, self.alive = os.getpid(), start, True
        self.blocks: list[Block] = []
        self._size, self._end = 0, HEADER
        hidden, path = folder / f".{self.id}", folder / f"{self.id}{COUNTS_SUFFIX}"
        self._locked = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._mapped = -1
        try:
            _flock(self._locked, exclusive=True)
            # Mappings are made through a descriptor of their own: a mapping keeps a copy of it, and a copy of the locked
            # one in a forked child would keep the lock.
            self._mapped = os.open(hidden, os.O_RDWR)
            self.inode = os.fstat(self._mapped).st_ino
            self._grow(START_SIZE)
            self.words.ints[1:4] = HEADER, self.pid, self.start
            self.words.ints[0] = MAGIC
            hidden.rename(path)
        except BaseException:
            self.close()
            hidden.unlink(missing_ok=True)
            raise

    def append(
        self, descriptor: bytes, counts: int, sums: int, *, additive: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """A new block: its counts and sums, all 0. Raises OSError where there is no space."""
        head = _head(descriptor, counts, sums, additive)
        start = self._end + len(head)
        end = start + 8 * (counts + sums)
        if end > self._size:
            self._grow(max(2 * self._size, end))
        self.words.ints[self._end // 8 : start // 8] = np.frombuffer(head, dtype=np.int64)
        block = Block(descriptor, counts, sums, additive, start // 8)
        self.words.ints[1] = self._end = end
        self.blocks.append(block)
        return self.words.counts(block), self.words.sums(block)

    def close(self) -> None:
        """Let go of the lock: from now on the file is that of a dead process."""
        for descriptor in (self._locked, self._mapped):
            if descriptor >= 0:
                os.close(descriptor)
        self._locked = self._mapped = -1

    def _grow(self, size: int) -> None:
        size = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        _allocate(self._mapped, self._size, size)
        # Views of the older, shorter mapping stay good: both show the same pages.
        self.words = Words(mmap.mmap(self._mapped, size))
        self._size = size


class Reader:
    """A file of another process. `refresh` parses what was appended since; numbers are read where they lie."""

    def __init__(self, path: Path) -> None:
        self.id = path.name.removesuffix(COUNTS_SUFFIX)
        self.blocks: list[Block] = []
        self.alive = True
        self._end, self._size = HEADER, 0
        self._file = os.open(path, os.O_RDONLY)
        try:
            self.inode = os.fstat(self._file).st_ino
            self._map()
            self.pid, self.start = int(self.words.ints[2]), int(self.words.ints[3])
            self.refresh()
        except BaseException:
            self.close()
            raise

    def refresh(self) -> None:
        """Look whether the process lives, and parse new blocks."""
        self.alive = self.alive and not self._free()
        end = int(self.words.ints[1])
        if end > self._size:
            self._map()
        while self._end < end:
            block = _parse(self.words, self._end, end)
            if block is None:
                return  # not wholly visible yet, or damaged: what comes after it is left alone
            self.blocks.append(block)
            self._end = 8 * block.end

    def close(self) -> None:
        """Give back the descriptor."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _free(self) -> bool:
        """Whether nobody holds the file's lock. Only its writer ever takes it, when the file is made."""
        if not _flock(self._file, exclusive=False):
            return False
        _unlock(self._file)
        return True

    def _map(self) -> None:
        size = os.fstat(self._file).st_size
        if size < HEADER or size % 8:
            raise SharedFileError(f"{self.id}: {size} bytes are no file of counts")
        self.words = Words(mmap.mmap(self._file, size, access=mmap.ACCESS_READ))
        if self.words.ints[0] != MAGIC:
            raise SharedFileError(f"{self.id}: is no file of counts")
        self._size = size


class Folder:
    """A directory of counts: files of live processes, of dead ones, and the remains of dead ones that were folded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.remains: Reader | None = None
        self._readers: dict[str, Reader] = {}
        self._published: dict[str, bytes] = {}
        self._ignored: set[str] = set()

    @contextlib.contextmanager
    def locked(self, *, exclusive: bool) -> Iterator[bool]:
        """Hold the directory's lock; yields False where it could not be had in time."""
        with lock_file(self.path / LOCK_FILE, exclusive=exclusive) as held:
            yield held

    def files(self, *, besides: str = "") -> list[Reader]:
        """Files of live and of dead processes, refreshed, without the one called `besides`. Refreshes `remains`.

        Files are opened before `dead.counts` is, and those that it lists are left out: so the answer is right even where the
        lock could not be had.
        """
        with self.locked(exclusive=False):
            return self._files(besides)

    def _files(self, besides: str = "") -> list[Reader]:
        found = {name.removesuffix(COUNTS_SUFFIX) for name in _names(self.path) if _is_counts(name)}
        for gone in self._readers.keys() - found:
            self._readers.pop(gone).close()
        for name in found - self._ignored - {besides}:
            self._refresh(name)
        self._refresh_remains()
        folded = _folded(self.remains)
        return [reader for name, reader in self._readers.items() if name not in folded and name != besides]

    def _refresh(self, name: str) -> None:
        try:
            if name in self._readers:
                self._readers[name].refresh()
            else:
                self._readers[name] = Reader(self.path / f"{name}{COUNTS_SUFFIX}")
        except FileNotFoundError:
            return
        except SharedFileError as error:
            self._ignored.add(name)
            log.warning("barograph passes over a file in %s: %s", self.path, error)

    def _refresh_remains(self) -> None:
        path = self.path / DEAD_COUNTS
        try:
            if self.remains is None or self.remains.inode != path.stat().st_ino:
                old, self.remains = self.remains, Reader(path)
                if old is not None:
                    old.close()
        except FileNotFoundError:
            self.remains = None
        except SharedFileError as error:
            if DEAD_COUNTS not in self._ignored:
                self._ignored.add(DEAD_COUNTS)
                log.error("barograph lost what ended processes had counted: %s/%s", self.path, error)

    def fold(self) -> bool:
        """Add the files of dead processes up in `dead.counts` and remove them. False where the lock was not to be had."""
        with self.locked(exclusive=True) as held:
            if held:
                fresh = [reader for reader in self._files() if not reader.alive]
                if fresh:
                    self._replace_remains(fresh)
                self._remove_folded()
            return held

    def _replace_remains(self, fresh: list[Reader]) -> None:
        before = _folded(self.remains)
        kept = [name for i, name in enumerate(before) if i < KEPT_IDS or name in self._readers]
        sources = [*fresh, *([self.remains] if self.remains is not None else [])]
        _write(self.path / DEAD_COUNTS, _composed(sources, [*(reader.id for reader in fresh), *kept]))
        self._refresh_remains()

    def _remove_folded(self) -> None:
        for name in _folded(self.remains):
            if name in self._readers:
                (self.path / f"{name}{COUNTS_SUFFIX}").unlink(missing_ok=True)
                self._readers.pop(name).close()

    def epoch(self) -> str:
        """The random id that the directory got when it was first used."""
        path = self.path / EPOCH_FILE
        if not path.exists():
            _write(path, secrets.token_hex(16).encode(), once=True)
        return path.read_text()

    def publish(self, name: str, data: bytes) -> None:
        """Lay a small file beside the counts, once: what is there already under that name stays."""
        path = self.path / _checked(name)
        if not path.exists():
            _write(path, data, once=True)

    def published(self, name: str) -> bytes | None:
        """The content of a published file."""
        if name not in self._published:
            try:
                self._published[name] = (self.path / _checked(name)).read_bytes()
            except FileNotFoundError:
                return None
        return self._published[name]

    def published_names(self) -> list[str]:
        """Names of all published files."""
        return sorted(name for name in _names(self.path) if _PUBLISHED.fullmatch(name))

    def anyone_alive(self) -> bool:
        """Whether a process holds a file here."""
        return any(reader.alive for reader in self._files())

    def close(self) -> None:
        """Give back all descriptors."""
        readers = [*self._readers.values(), *([self.remains] if self.remains is not None else [])]
        self._readers, self.remains = {}, None
        for reader in readers:
            reader.close()


@contextlib.contextmanager
def lock_file(path: Path, *, exclusive: bool) -> Iterator[bool]:
    """Hold the lock on a file, which is made if needed; yields False where it could not be had in time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _wait(
            lambda: _flock(descriptor, exclusive=exclusive), EXCLUSIVE_WAIT if exclusive else SHARED_WAIT
        )
    finally:
        os.close(descriptor)


def _wait(attempt: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _flock(descriptor: int, *, exclusive: bool) -> bool:
    """Take a lock if it is free."""
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "this platform has no file locks that end with their process")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _allocate(descriptor: int, old: int, size: int) -> None:
    """Make the file `size` bytes long, with space behind every byte."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    os.lseek(descriptor, old, os.SEEK_SET)
    for _ in range(old, size, 4096):
        os.write(descriptor, bytes(4096))


def _head(descriptor: bytes, counts: int, sums: int, additive: bool) -> bytes:
    """What stands before a block's counts, a whole number of words long."""
    fields = (len(descriptor), counts, sums, int(additive))
    padded = descriptor + bytes(-len(descriptor) % 8)
    return _BLOCK.pack(*fields, _crc(descriptor, fields)) + padded


def _crc(descriptor: bytes, fields: tuple[int, ...]) -> int:
    return zlib.crc32(struct.pack("<4I", *fields), zlib.crc32(descriptor))


def _parse(words: Words, at: int, end: int) -> Block | None:
    """The block that begins at byte `at`, or None where it is not whole."""
    if at + _BLOCK.size > end:
        return None
    length, counts, sums, additive, crc = _BLOCK.unpack(
        words.ints[at // 8 : at // 8 + _BLOCK.size // 8].tobytes()
    )
    start = at + _BLOCK.size + length + -length % 8
    if start + 8 * (counts + sums) > end:
        return None
    descriptor = words.ints[(at + _BLOCK.size) // 8 : start // 8].tobytes()[:length]
    if _crc(descriptor, (length, counts, sums, additive)) != crc:
        return None
    return Block(descriptor, counts, sums, bool(additive), start // 8)


def _composed(sources: Iterable[Reader], ids: list[str]) -> bytes:
    """A file of counts that holds the sums of the additive blocks of `sources`, and says which files are in it."""
    totals: dict[tuple[bytes, int, int], tuple[np.ndarray, np.ndarray]] = {}
    for source in sources:
        for block in source.blocks:
            if block.additive:
                counts, sums = totals.setdefault(
                    block.key, (np.zeros(block.counts, np.int64), np.zeros(block.sums))
                )
                counts += source.words.counts(block)
                sums += source.words.sums(block)
    listed = json.dumps(ids).encode()
    parts = [_head(_FOLDED + listed, 0, 0, False)]
    for (descriptor, n, m), (counts, sums) in totals.items():
        parts += [_head(descriptor, n, m, True), counts.tobytes(), sums.tobytes()]
    body = b"".join(parts)
    header = np.zeros(HEADER // 8, dtype=np.int64)
    header[:2] = MAGIC, HEADER + len(body)
    return header.tobytes() + body


def _folded(remains: Reader | None) -> list[str]:
    """Ids of the files that are in `dead.counts`, the latest first."""
    if remains is None or not remains.blocks:
        return []
    ids: list[str] = json.loads(remains.blocks[0].descriptor.removeprefix(_FOLDED))
    return ids


def _write(path: Path, data: bytes, *, once: bool = False) -> None:
    """Make or replace a file in one step; `once` leaves one that is there already as it is."""
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with hidden.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not once or not _link(hidden, path):
            hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def _link(hidden: Path, path: Path) -> bool:
    """Give a file its name unless the name is taken. False where the file system knows no links."""
    try:
        os.link(hidden, path)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def _names(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return [entry.name for entry in entries]


def _is_counts(name: str) -> bool:
    return name.endswith(COUNTS_SUFFIX) and name != DEAD_COUNTS and not name.startswith(".")


def _checked(name: str) -> str:
    if not _PUBLISHED.fullmatch(name):
        raise ValueError(
            f"name: {name!r} is no name of a published file; use letters, digits, - and _, and end in .json"
        )
    return name


@contextlib.contextmanager
def entering(place: Place) -> Iterator[None]:
    """Within it a directory of our own making is not removed by others; on the way in, what ended servers left is."""
    with _base_locked(place) as held:
        if held and place.path is not None:
            remove_leftovers(place.path.parent, keep=place.path.name)
        yield


def leave(place: Place, folder: Folder) -> None:
    """Fold the files of the dead. A directory of our own making goes with the last process, unless its team may come back."""
    folder.fold()
    with _base_locked(place) as held:
        team = place.team
        over = held and team is not None and (team.pid == os.getpid() or team.ended(folder.path))
        if over and not folder.anyone_alive():
            shutil.rmtree(folder.path, ignore_errors=True)
    folder.close()


def remove_leftovers(base: Path, *, keep: str) -> None:
    """Remove directories of teams that have ended and of which no process lives."""
    for path in base.iterdir():
        team = Team.parse(path.name)
        if team is not None and path.name != keep and team.ended(path):
            folder = Folder(path)
            if not folder.anyone_alive():
                shutil.rmtree(path, ignore_errors=True)
            folder.close()


@contextlib.contextmanager
def _base_locked(place: Place) -> Iterator[bool]:
    """Hold the lock on all directories of our own making, so that none is removed while it is being entered."""
    if place.team is None or place.path is None:
        yield False
    else:
        with lock_file(place.path.parent / LOCK_FILE, exclusive=True) as held:
            yield held
