"""The directory in which the processes of a server count: files of the living, of the dead, and what the dead left.

What dead processes counted is added up in `dead.counts`, which also lists the files that are in it: it is replaced in one
step, so that a kill at any moment neither loses a file nor counts it twice. Versions that no process has held for a day are
left out of it then: until it is replaced all of them are shown, by every process alike.
"""

import contextlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from barograph.counters.files import Reader, SharedFileError, Writer, composed, flock
from barograph.counters.tenure import RETIRED_AFTER, Owner, Register, labels_of, owner_of, owners
from barograph.counters.workers import Place, Team
from barograph.naming import COUNTS_SUFFIX, DEAD_COUNTS, EPOCH_FILE, LOCK_FILE, REFERENCE_SUFFIX

KEPT_IDS = 100  # folded files that dead.counts goes on listing, for readers that could not have the lock
SHARED_WAIT, EXCLUSIVE_WAIT = 0.05, 5.0  # seconds that a lock is waited for
UNFINISHED = 3600.0  # seconds after which a file that was being made is a leftover of a killed process

_FOLDED = b"folded"
_PUBLISHED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*\.json")
_HIDDEN = re.compile(r"\.([0-9a-f]{32}|.+\.[0-9a-f]{8})")

log = logging.getLogger("barograph")


class Folder:
    """A directory of counts. `unread` is why a file in it could not be read, None where all could."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.remains: Reader | None = None
        self.unread: OSError | None = None
        self._register, self._listed = Register(), frozenset[str]()
        self._readers: dict[str, Reader] = {}
        self._published: dict[str, bytes] = {}
        self._ignored: set[str] = set()

    @contextlib.contextmanager
    def locked(self, *, exclusive: bool) -> Iterator[bool]:
        """Hold the directory's lock; yields False where it could not be had in time."""
        with lock_file(self.path / LOCK_FILE, exclusive=exclusive) as held:
            yield held

    # Reading.

    def files(self, own: Writer | None = None) -> list[Reader]:
        """Files of live and of dead processes, refreshed, besides one's own. Refreshes `remains`.

        Files are opened before `dead.counts` is, and those that it lists are left out: so the answer is right even where the
        lock could not be had. OSError where the directory, or one's own file in it, is gone: `known` holds what was there.
        """
        with self.locked(exclusive=False):
            self._refresh(own)
        return self.known()

    def known(self) -> list[Reader]:
        """The same as of the last look: memory that is mapped can be read whatever became of its file."""
        return [reader for name, reader in self._readers.items() if name not in self._listed]

    def _refresh(self, own: Writer | None) -> None:
        found = {name.removesuffix(COUNTS_SUFFIX) for name in _names(self.path) if _is_counts(name)}
        if own is not None and own.id not in found:
            raise FileNotFoundError(f"{own.id}{COUNTS_SUFFIX} is not there any more")
        self.unread = None
        for name in found - self._ignored - {own.id if own is not None else ""}:
            self._refresh_file(name)
        self._refresh_remains()
        for gone in self._readers.keys() - found:  # they are in the remains by now
            self._readers.pop(gone).close()

    def _refresh_file(self, name: str) -> None:
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
        except OSError as error:  # too many files are open, or there is no memory: another time
            self.unread = error

    def _refresh_remains(self) -> None:
        path = self.path / DEAD_COUNTS
        try:
            if self.remains is None or self.remains.inode != path.stat().st_ino:
                fresh = Reader(path)
                register = _register(fresh)
                if self.remains is not None:
                    self.remains.close()
                self.remains, self._register, self._listed = fresh, register, frozenset(register.files)
        except FileNotFoundError:
            self.remains, self._register, self._listed = None, Register(), frozenset()
        except SharedFileError as error:
            if DEAD_COUNTS not in self._ignored:
                self._ignored.add(DEAD_COUNTS)
                log.error("barograph lost what ended processes had counted: %s/%s", self.path, error)

    # Adding up what the dead left.

    def due(self, own: Writer | None) -> bool:
        """Whether, as of the last look, there is anything to fold or to retire."""
        dead = any(not reader.alive for reader in self.known())
        return dead or bool(self._register.due(self._held(own), now=time.time()))

    def fold(self, own: Writer | None = None, *, retire: bool = False) -> bool:
        """Add the files of dead processes up in `dead.counts` and remove them. False where the lock was not to be had.

        With `retire`, versions that no process has held for a day are left out of it.
        """
        with self.locked(exclusive=True) as held:
            if held:
                self._refresh(own)
                if self.unread is not None:
                    raise self.unread
                self._fold([reader for reader in self.known() if not reader.alive], own, retire)
                self._remove_folded()
                self._remove_unfinished()
            return held

    def _fold(self, ended: list[Reader], own: Writer | None, retire: bool) -> None:
        now, held, before = time.time(), self._held(own), self._register
        retired = before.due(held, now=now) if retire else set()
        if not (ended or retired or any(moment > now for moment in before.seen.values())):
            return
        listed = [name for i, name in enumerate(before.files) if i < KEPT_IDS or name in self._readers]
        blocks = [block.descriptor for reader in ended for block in reader.blocks]
        files = (*(reader.id for reader in ended), *listed)
        after = before.with_files(files, blocks, held, now=now).without(retired)
        self._replace_remains(ended, retired, after)
        if retired:
            log.info("barograph retires %s, which no process has held for a day", _versions(retired))
            self._remove_references(after, own)

    def _held(self, own: Writer | None) -> set[Owner]:
        """The versions that live processes hold."""
        living: list[Reader | Writer] = [reader for reader in self.known() if reader.alive]
        living += [] if own is None else [own]
        return owners(block.descriptor for one in living for block in one.blocks)

    def _replace_remains(self, ended: list[Reader], retired: set[Owner], register: Register) -> None:
        sources = [*ended, *([self.remains] if self.remains is not None else [])]
        blocks = [(block, one.words) for one in sources for block in one.blocks if block.additive]
        kept = [(block, words) for block, words in blocks if owner_of(block.descriptor) not in retired]
        _write(self.path / DEAD_COUNTS, composed(_FOLDED + register.to_bytes(), kept))
        self._refresh_remains()

    def _remove_folded(self) -> None:
        for name in self._register.files:
            if name in self._readers:
                (self.path / f"{name}{COUNTS_SUFFIX}").unlink(missing_ok=True)
                self._readers.pop(name).close()

    def _remove_references(self, register: Register, own: Writer | None) -> None:
        """Remove the references that no version left here judges by. A new one may be there before its process says so."""
        living: list[Reader | Writer] = [*self.known(), *([] if own is None else [own])]
        used = {labels_of(block.descriptor).get("reference") for one in living for block in one.blocks}
        used |= {name for names in register.references.values() for name in names}
        for name in self.published_names():
            path = self.path / name
            if name.endswith(REFERENCE_SUFFIX) and name.removesuffix(REFERENCE_SUFFIX) not in used:
                self._published.pop(name, None)
                _remove_older(path, RETIRED_AFTER)

    def _remove_unfinished(self) -> None:
        for name in _names(self.path):
            if _HIDDEN.fullmatch(name):
                _remove_older(self.path / name, UNFINISHED)

    # Other files.

    def epoch(self) -> str:
        """The random id that the directory got when it was first used."""
        path = self.path / EPOCH_FILE
        if not path.exists():
            with self.locked(exclusive=True):  # for file systems that cannot make a file unless it is there
                if not path.exists():
                    _write(path, secrets.token_hex(16).encode(), once=True)
        return path.read_text()

    def publish(self, name: str, data: bytes) -> None:
        """Lay a small file beside the counts, once: what is there already under that name stays."""
        path = self.path / _checked(name)
        try:
            os.utime(path)  # it is in use again
        except FileNotFoundError:
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
        self._refresh(None)
        return self.unread is not None or any(reader.alive for reader in self.known())

    def close(self) -> None:
        """Give back all descriptors."""
        readers = [*self._readers.values(), *([self.remains] if self.remains is not None else [])]
        self._readers, self.remains = {}, None
        for reader in readers:
            reader.close()


def _register(remains: Reader) -> Register:
    try:
        return Register.from_bytes(remains.blocks[0].descriptor.removeprefix(_FOLDED))
    except (LookupError, ValueError, TypeError) as error:
        remains.close()
        raise SharedFileError(f"{DEAD_COUNTS}: it does not say what is in it ({error!r})") from None


def _versions(retired: Iterable[Owner]) -> str:
    return ", ".join(f"version {version} of {model}" for model, version in sorted(retired) if version)


@contextlib.contextmanager
def lock_file(path: Path, *, exclusive: bool) -> Iterator[bool]:
    """Hold the lock on a file, which is made if needed; yields False where it could not be had in time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _wait(
            lambda: flock(descriptor, exclusive=exclusive), EXCLUSIVE_WAIT if exclusive else SHARED_WAIT
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


def _remove_older(path: Path, seconds: float) -> None:
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > seconds:
            path.unlink()


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
    with contextlib.suppress(OSError):
        folder.fold()
    with contextlib.suppress(OSError), _base_locked(place) as held:
        team = place.team
        over = held and team is not None and (team.pid == os.getpid() or team.ended(folder.path))
        if over and not folder.anyone_alive():
            shutil.rmtree(folder.path, ignore_errors=True)
    folder.close()


def remove_leftovers(base: Path, *, keep: str) -> None:
    """Remove directories of teams that have ended and of which no process lives."""
    for path in base.iterdir():
        team = Team.parse(path.name)
        with contextlib.suppress(OSError):  # one that cannot be read is nothing to this process
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
