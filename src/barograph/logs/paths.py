"""Where a log's files lie and what they are called: folders by model, day, version and bins."""

import os
import re
import secrets
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

KINDS = ("predictions", "feedback")
STREAM, TABLE, DAMAGED = ".arrows", ".parquet", ".damaged"
LOCK = ".lock"  # held by the one process that compacts
DAY = 86_400  # seconds

_KEYS = {"predictions": ("model", "day", "version", "bins"), "feedback": ("model", "day")}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Partition:
    """One folder of a log. `day` is the day, in UTC, on which the rows arrived; feedback has no version and no bins.

    >>> Partition("feedback", "late/early", "2013-10-14").path
    'feedback/model=late%2Fearly/day=2013-10-14'
    >>> Partition.parse("predictions/model=m/day=2013-10-14/version=3/bins=7f").version
    '3'
    """

    kind: str
    model: str
    day: str
    version: str = ""
    bins: str = ""

    @property
    def path(self) -> str:
        """The folder, relative to the log's root. Values are percent-encoded."""
        values = [(key, quote(getattr(self, key), safe="")) for key in _KEYS[self.kind]]
        return "/".join([self.kind, *(f"{key}={value}" for key, value in values)])

    @classmethod
    def parse(cls, path: str) -> "Partition | None":
        """Back from a folder; None for one that is no part of a log."""
        kind, *parts = path.split("/")
        pairs = [part.partition("=") for part in parts]
        if tuple(key for key, _, _ in pairs) != _KEYS.get(kind):
            return None
        values = {key: unquote(value) for key, _, value in pairs}
        return cls(kind, **values) if _DATE.fullmatch(values["day"]) else None


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a log: a stream, which grows while its process writes it, or a table of what streams held."""

    partition: Partition
    name: str
    size: int

    @property
    def path(self) -> str:
        """Relative to the log's root."""
        return f"{self.partition.path}/{self.name}"

    @property
    def streamed(self) -> bool:
        """Whether it is a stream."""
        return self.name.endswith(STREAM)

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.name.rpartition(".")[0]

    @property
    def order(self) -> tuple[str, str, str]:
        """Files are read in this order: by day, and by when they were begun."""
        return self.partition.day, self.name, self.partition.path


def parent_of(kind: str, model: str | None) -> str:
    """The folder of all days of a model, or of all models."""
    return kind if model is None else f"{kind}/model={quote(model, safe='')}"


def day_of(seconds: float) -> str:
    """The day in UTC of epoch seconds.

    >>> day_of(0.0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def new_stem() -> str:
    """A name that no other file has or will have: when it was begun, on which host and in which process, and chance."""
    began = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%S%f")
    host = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())[:40] or "host"
    return f"{began}-{host}-{os.getpid()}-{secrets.token_hex(3)}"
