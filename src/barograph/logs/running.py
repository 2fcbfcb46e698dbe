"""How many rows of a process are on their way to the log: a file that outlives the process where it is killed.

Nothing can be asked of a process that was killed. So each keeps a file of its own, locked and mapped into its memory while it
lives, of the rows that it took and of those that it has written, or counted as not logged. Who logs for the same model next finds
the files that nobody holds: what was taken and not written is lost, at most. (Rows may be written and not yet said to be.)
"""

import contextlib
import itertools
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from barograph.counters.files import flock, unlock
from barograph.logs.paths import new_stem
from barograph.logs.streams import make_folder

FOLDER = ".running"
_SINGLES, _BATCHED, _DONE = range(3)  # rows taken one by one and in batches, rows done with
_ROWS = struct.Struct("=3q")


class Running:
    """The file of this process for one model of the log in `root`. A forked child makes one of its own.

    `took()` counts a row that was taken. OSError where the file cannot be made.
    """

    took: Callable[[], None]

    def __init__(self, root: Path, model: str) -> None:
        self._pid = os.getpid()
        folder = root / FOLDER
        self._path = folder / f"{_prefix(model)}{new_stem()}"
        hidden = folder / f".{self._path.name}"
        make_folder(folder)
        # A file object: a forked child, which forgets it, closes what it has inherited of it.
        self._file = os.fdopen(os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b", buffering=0)
        try:
            flock(self._file.fileno(), exclusive=True)
            os.pwrite(self._file.fileno(), _ROWS.pack(0, 0, 0), 0)
            self._rows = memoryview(mmap.mmap(self._file.fileno(), _ROWS.size)).cast("q")
            hidden.rename(self._path)
        except BaseException:
            self._file.close()
            hidden.unlink(missing_ok=True)
            raise
        self.took = _counting(self._rows)

    def took_batch(self, rows: int) -> None:
        """So many rows were taken at once; one thread at a time may say so."""
        self._rows[_BATCHED] += rows

    def done(self, rows: int) -> None:
        """So many are written, or counted as not logged."""
        self._rows[_DONE] += rows

    def close(self) -> None:
        """The process ends as it should."""
        if self._pid == os.getpid():
            self._path.unlink(missing_ok=True)
            unlock(self._file.fileno())  # a child that was forked meanwhile holds it too
        self._file.close()


def _counting(rows: memoryview) -> Callable[[], None]:
    """Counts calls from any thread. Without a lock, which every prediction would take."""
    count = itertools.count(1).__next__

    def took() -> None:
        rows[_SINGLES] = count()

    return took


def left_over(root: Path, model: str) -> list[int]:
    """Of each process that was killed since this was last asked, how many rows of the model it took along, at most.

    >>> import tempfile
    >>> left_over(Path(tempfile.mkdtemp()), "m")
    []
    """
    found = []
    for path in sorted((root / FOLDER).glob(f"{_prefix(model)}*")):
        with contextlib.suppress(OSError):  # another process was quicker
            descriptor = os.open(path, os.O_RDWR)
            try:
                if flock(descriptor, exclusive=True) and os.fstat(descriptor).st_nlink:
                    path.unlink()
                    singles, batched, done = _ROWS.unpack(os.pread(descriptor, _ROWS.size, 0))
                    found.append(max(singles + batched - done, 0))
            finally:
                os.close(descriptor)
    return found


def _prefix(model: str) -> str:
    return f"{quote(model, safe='')}@"
