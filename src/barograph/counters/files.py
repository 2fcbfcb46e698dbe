"""Numbers in shared memory: a file that one process writes and others read.

A file is a header and a sequence of blocks that only grows. A block is a descriptor (bytes that say what it counts), int64
counts and float64 sums. The header's `end` moves last, so a reader never sees half a block, and parses only what is new.

A process is alive while it holds the lock on its file: the kernel lets go of it however the process dies, and a new process
with an old pid does not hold it.
"""

import errno
import mmap
import os
import secrets
import struct
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from barograph.naming import COUNTS_SUFFIX

if sys.platform != "win32":
    import fcntl

MAGIC = int.from_bytes(b"BAROCNT2", "little")
HEADER = 64  # bytes: eight words, of which magic, end, pid and start are used
START_SIZE = 1 << 16

_BLOCK = struct.Struct("<5I4x")  # bytes of the descriptor, counts, sums, additive, crc32 of all that


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
            flock(self._locked, exclusive=True)
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
        end = min(
            end, self._size
        )  # it says more than there is where a machine went down before all was written
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
        if not flock(self._file, exclusive=False):
            return False
        unlock(self._file)
        return True

    def _map(self) -> None:
        size = os.fstat(self._file).st_size
        if size < HEADER or size % 8:
            raise SharedFileError(f"{self.id}: {size} bytes are no file of counts")
        self.words = Words(mmap.mmap(self._file, size, access=mmap.ACCESS_READ))
        if self.words.ints[0] != MAGIC:
            raise SharedFileError(f"{self.id}: is no file of counts")
        self._size = size


def flock(descriptor: int, *, exclusive: bool) -> bool:
    """Take a lock if it is free."""
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "this platform has no file locks that end with their process")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
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
    while old < size:  # what is written is less than was asked for where the file system is about to be full
        old += os.write(descriptor, bytes(min(size - old, START_SIZE)))


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


def composed(descriptor: bytes, blocks: Iterable[tuple[Block, Words]]) -> bytes:
    """A file that holds a block without numbers, which says what the file is, and the sums of `blocks` by their key."""
    totals: dict[tuple[bytes, int, int], tuple[np.ndarray, np.ndarray]] = {}
    for block, words in blocks:
        none = np.zeros(block.counts, np.int64), np.zeros(block.sums)
        counts, sums = totals.setdefault(block.key, none)
        counts += words.counts(block)
        sums += words.sums(block)
    parts = [_head(descriptor, 0, 0, False)]
    for (name, n, m), (counts, sums) in totals.items():
        parts += [_head(name, n, m, True), counts.tobytes(), sums.tobytes()]
    body = b"".join(parts)
    header = np.zeros(HEADER // 8, dtype=np.int64)
    header[:2] = MAGIC, HEADER + len(body)
    return header.tobytes() + body
