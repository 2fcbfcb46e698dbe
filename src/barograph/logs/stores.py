"""Where files of a log lie: a local folder, and, where the log is a URL, the object store behind it."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

from barograph.logs.paths import DAMAGED, KINDS, STREAM, TABLE, Entry, Partition, parent_of
from barograph.logs.streams import sync_folder

Days = tuple[str | None, str | None]  # the first and the last day, 2013-10-14; None is open


class Store(Protocol):
    """A tree of files."""

    def entries(self, kind: str, model: str | None = None, days: Days = (None, None)) -> list[Entry]:
        """Streams and tables, in no order."""

    def table(self, entry: Entry) -> "contextlib.AbstractContextManager[pq.ParquetFile]":
        """Open a table; FileNotFoundError where it is gone."""

    def put(self, source: Path, entry: Entry) -> None:
        """Make a file of the log out of a local one, which may be gone after it."""

    def remove(self, entry: Entry) -> None:
        """Remove a file that may be gone already."""


class Local:
    """A folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, entry: Entry) -> Path:
        """The file."""
        return self.root / entry.path

    def entries(self, kind: str, model: str | None = None, days: Days = (None, None)) -> list[Entry]:
        return list(_walk(self.root, parent_of(kind, model), days))

    @contextlib.contextmanager
    def table(self, entry: Entry) -> Iterator[pq.ParquetFile]:
        with pq.ParquetFile(
            self.path(entry)
        ) as table:  # Arrow opens it: a file of Python's holds the lock as it reads
            yield table

    def put(self, source: Path, entry: Entry) -> None:
        """Under its name at once, and on the disk."""
        path = self.path(entry)
        with source.open("rb+") as file:
            os.fsync(file.fileno())
        source.rename(path)
        sync_folder(path.parent)

    def set_aside(self, entry: Entry) -> None:
        """Rename a damaged file, so that it is read no more and stays for whoever wants to look at it."""
        path = self.path(entry)
        path.rename(path.with_name(f"{path.name}{DAMAGED}"))

    def remove(self, entry: Entry) -> None:
        path = self.path(entry)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # folders with other files stay
            for folder in path.relative_to(self.root).parents:
                if folder.name not in ("", *KINDS) and not folder.name.startswith("model="):
                    (self.root / folder).rmdir()


class Remote:
    """A prefix of an object store, by fsspec."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._files, root = fsspec.core.url_to_fs(url)
        self._root = root.rstrip("/")

    def entries(self, kind: str, model: str | None = None, days: Days = (None, None)) -> list[Entry]:
        self._files.invalidate_cache()
        try:
            found: dict[str, Any] = self._files.find(f"{self._root}/{parent_of(kind, model)}", detail=True)
        except FileNotFoundError:
            return []
        listed = [_entry(path[len(self._root) + 1 :], info["size"] or 0) for path, info in found.items()]
        return [
            one for one in listed if one is not None and not one.streamed and _within(one.partition.day, days)
        ]

    @contextlib.contextmanager
    def table(self, entry: Entry) -> Iterator[pq.ParquetFile]:
        with self._files.open(self._path(entry), "rb") as file, pq.ParquetFile(file) as table:
            yield table

    def put(self, source: Path, entry: Entry) -> None:
        """Put it there under its own name: a half of it has no footer, and the next attempt replaces it."""
        path = self._path(entry)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(source), path)

    def remove(self, entry: Entry) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(entry))

    def _path(self, entry: Entry) -> str:
        return f"{self._root}/{entry.path}"


def located(
    place: "str | os.PathLike[str]", spool: "str | os.PathLike[str] | None"
) -> tuple[Path, str | None]:
    """The local folder of a log, and its URL where it has one."""
    text = os.fspath(place)
    protocol, separator, rest = text.partition("://")
    if not separator:
        return Path(text).absolute(), None
    if protocol in ("file", "local"):
        return Path(rest).absolute(), None
    if spool is not None:
        return Path(spool).absolute(), text
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "barograph" / "logs" / hashlib.sha256(text.encode()).hexdigest()[:16], text


def _walk(root: Path, path: str, days: Days) -> Iterator[Entry]:
    try:
        with os.scandir(root / path) as scan:
            inside = list(scan)
    except (FileNotFoundError, NotADirectoryError):
        return
    for one in inside:
        if one.name.startswith("."):
            continue
        if "=" in one.name and one.is_dir(follow_symlinks=False):
            key, _, day = one.name.partition("=")
            if key != "day" or _within(day, days):
                yield from _walk(root, f"{path}/{one.name}", days)
        elif one.name.endswith((STREAM, TABLE)):
            with contextlib.suppress(FileNotFoundError):
                entry = _entry(f"{path}/{one.name}", one.stat().st_size)
                if entry is not None:
                    yield entry


def _entry(path: str, size: int) -> Entry | None:
    folder, _, name = path.rpartition("/")
    partition = Partition.parse(folder)
    if partition is None or name.startswith(".") or not name.endswith((STREAM, TABLE)):
        return None
    return Entry(partition, name, size)


def _within(day: str, days: Days) -> bool:
    first, last = days
    return (first is None or first <= day) and (last is None or day <= last)
