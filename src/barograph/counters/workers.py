"""Which processes serve together. Workers of one server share a directory of counts; two servers never do.

Processes that were forked from one another without a new program share, and so do processes that one parent started through
`multiprocessing` to do the same work: that is gunicorn, with and without --preload, and `uvicorn --workers`.
"""

import hashlib
import logging
import os
import re
import stat
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barograph.naming import DIRECTORY_VARIABLE

PROC = Path("/proc")
SHARED_MEMORY = Path("/dev/shm")
FOREIGN_AGE = 86_400  # seconds after which an unused directory of another container or boot is a leftover
INDICES = 1024  # numbers below tell workers apart (a worker's index); numbers from here on tell services apart (a port)

_ADDR_NO_RANDOMIZE = 0x0040000
_TEAM = re.compile(r"(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>[0-9a-f]+)-(?P<work>[0-9a-f]{8})")

log = logging.getLogger("barograph")


@dataclass(frozen=True, slots=True)
class Team:
    """Processes that share: known by the process that they have in common, and by what they do.

    `host` stands for the boot and the pid namespace; `start` for when that process began, since pids are used again.
    """

    host: str
    pid: int
    start: str
    work: str

    @property
    def name(self) -> str:
        """The name of the team's directory."""
        return f"{self.host}-{self.pid}-{self.start}-{self.work}"

    @classmethod
    def parse(cls, name: str) -> "Team | None":
        """Back from the name of a directory.

        >>> Team.parse("00c0ffee-17-1b2c-00000000").pid
        17
        """
        match = _TEAM.fullmatch(name)
        return match and cls(match["host"], int(match["pid"]), match["start"], match["work"])

    def ended(self, path: Path) -> bool:
        """Whether the process that the team has in common is gone; `path` is the team's directory."""
        if self.host != _host():
            return time.time() - path.stat().st_mtime > FOREIGN_AGE
        if PROC.exists():
            return _start(self.pid) != self.start
        return self.start != _tree() if self.pid == os.getpid() else not _exists(self.pid)


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process keeps its counts. Without a `path` in its own memory; without a `team` where the user said.

    `doubtful` says that there may be processes to share with that could not be told.
    """

    path: Path | None
    team: Team | None = None
    doubtful: bool = False

    @property
    def alone(self) -> bool:
        """Whether no other process was found to share with."""
        return self.path is None or (self.team is not None and self.team.pid == os.getpid())


def find_place(directory: Path | None = None) -> Place:
    """The directory given, that of the environment variable BAROGRAPH_DIR, or the team's own in shared memory."""
    if sys.platform == "win32":
        return Place(None, doubtful=True)  # has no locks that end with their process
    named = directory or os.environ.get(DIRECTORY_VARIABLE)
    if named:
        return Place(Path(named))
    team, doubtful = find_team()
    base = base_directory()
    return Place(None if base is None else base / team.name, team, doubtful)


def find_team() -> tuple[Team, bool]:
    """The team of this process, and whether it could not be told for certain."""
    parent, work = _started_by()
    pid, certain = (parent, True) if parent else _fork_root()
    start = _start(pid)
    if start is None:  # the parent has ended, or there is no /proc
        start, certain = _tree(), certain and parent is not None
    return Team(_host(), pid, start, work), not certain


def base_directory() -> Path | None:
    """The directory of this user's teams: in shared memory if it can be, else among temporary files."""
    import tempfile

    for parent in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            base = parent / f"barograph-{os.geteuid()}"
            if _is_private(base):
                return base
    return None


def unshared_workers(place: Place) -> int:
    """How many other workers this server visibly has that do not share with this process. 0 where there is no sign of any."""
    if _started_by()[0]:
        return max((_declared_workers() or 2) - 1, 0)
    if not (place.doubtful and _looks_forked()):
        return 0
    siblings = _siblings()
    return siblings if siblings is not None else max((_declared_workers() or 1) - 1, 0)


def start_of_process() -> int:
    """When this process began, in ticks since boot; 0 where that is not known. With the pid it tells processes apart."""
    return int(_start(os.getpid()) or "0", 16)


def _host() -> str:
    """Eight hex digits for this boot and pid namespace: elsewhere the same pid is another process."""
    boot = _read(PROC / "sys/kernel/random/boot_id") or b""
    try:
        namespace = (PROC / "self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{zlib.crc32(boot + str(namespace).encode()):08x}"


def _started_by() -> tuple[int | None, str]:
    """The process that started this one through multiprocessing, if one did, and a hash of what it is to do."""
    module: Any = sys.modules.get("multiprocessing.process")
    parent = module and module.parent_process()
    if not parent:
        return None, "0" * 8
    process = module.current_process()
    target = getattr(process, "_target", None)
    named = (
        type(process).__qualname__,
        getattr(target, "__module__", ""),
        getattr(target, "__qualname__", ""),
        _plain(getattr(process, "_args", ())),
        _plain(getattr(process, "_kwargs", {})),
    )
    return int(parent.pid), hashlib.sha256(repr(named).encode("utf-8", "replace")).hexdigest()[:8]


def _plain(value: Any) -> Any:
    """What tells one task from another in a process's arguments: texts, numbers that are no indices, and types."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return [(str(key), _plain(item)) for key, item in value.items()]
    if isinstance(value, (str, bytes, float)) or (isinstance(value, int) and abs(value) >= INDICES):
        return value
    return type(value).__qualname__


def _fork_root() -> tuple[int, bool]:
    """The first of the processes that were forked from one another without a new program; and whether that is certain.

    A fork has its parent's auxiliary vector to the bit; a new program gets other addresses in it.
    """
    pid, parent = os.getpid(), os.getppid()
    own = _read(PROC / "self/auxv")
    if not own or not _addresses_are_random():
        return pid, False
    while parent and (theirs := _read(PROC / str(parent) / "auxv")) == own:
        pid, parent = parent, _parent(parent)
    return pid, not parent or bool(theirs) or pid != os.getpid()


def _addresses_are_random() -> bool:
    system, own = _read(PROC / "sys/kernel/randomize_va_space"), _read(PROC / "self/personality")
    return (system or b"2").strip() != b"0" and not int(own or b"0", 16) & _ADDR_NO_RANDOMIZE


def _looks_forked() -> bool:
    """Whether the parent runs the same program with the same arguments, or calls itself a master."""
    theirs = _read(PROC / str(os.getppid()) / "cmdline")
    if theirs is None:
        return "gunicorn.arbiter" in sys.modules
    return theirs == _read(PROC / "self/cmdline") or theirs.startswith(b"gunicorn: master")


def _siblings() -> int | None:
    """How many other children the parent has; None where the system does not say."""
    parent = os.getppid()
    children = _read(PROC / str(parent) / "task" / str(parent) / "children")
    return None if children is None else max(len(children.split()) - 1, 0)


def _declared_workers() -> int | None:
    """The number of workers that the server was told to run, if that can be read anywhere."""
    module: Any = sys.modules.get("multiprocessing.process")
    options = getattr(module.current_process(), "_kwargs", {}) if module else {}
    stated = getattr(options.get("config"), "workers", None) if isinstance(options, dict) else None
    for value in (stated, *_options(("-w", "--workers")), os.environ.get("WEB_CONCURRENCY")):
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    return None


def _options(names: tuple[str, ...]) -> list[str]:
    pairs = zip(sys.argv, sys.argv[1:], strict=False)
    apart = [value for name, value in pairs if name in names]
    joined = [item.partition("=")[2] for item in sys.argv if item.startswith(tuple(f"{n}=" for n in names))]
    return [*apart, *joined]


def _stat(pid: int) -> list[str]:
    """Fields of a process from its state on; none where it is gone."""
    text = _read(PROC / str(pid) / "stat")
    fields = (text or b"").rpartition(b")")[2].split()
    return [] if not fields or fields[0] in (b"Z", b"X") else [field.decode() for field in fields]


def _start(pid: int) -> str | None:
    """When a live process began, in ticks since boot (hex)."""
    fields = _stat(pid)
    return f"{int(fields[19]):x}" if fields else None


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _tree() -> str:
    """A key that a process shares with what multiprocessing starts from it, where the system does not tell when one began."""
    import multiprocessing

    return hashlib.sha256(multiprocessing.current_process().authkey).hexdigest()[:12]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_private(base: Path) -> bool:
    """Make the directory; whether it is ours alone. Somebody else's, or a link, is not used."""
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        info = base.lstat()
    except OSError:
        return False
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077:
        return True
    log.warning(
        "barograph does not use %s: it must be a directory of uid %d with mode 0700", base, os.geteuid()
    )
    return False


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
