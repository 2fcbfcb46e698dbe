"""What the join remembers, in the tiles' own file: so that what is counted and what is known to be counted are stored together.

The rows themselves are sorted runs in a folder beside it. A run that no table names was written by a join that did not end; it
is deleted at the next start, and its rows are read again.
"""

import json
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from barograph.labels.counting import Group, Made, Names
from barograph.labels.files import Writer, load
from barograph.labels.runs import Run
from barograph.tiles import Tiles

_TABLES = """
CREATE TABLE IF NOT EXISTS join_runs (model VARCHAR, kind VARCHAR, name VARCHAR, rows BIGINT);
CREATE TABLE IF NOT EXISTS join_cursors (model VARCHAR, kind VARCHAR, cursor VARCHAR);
CREATE TABLE IF NOT EXISTS join_names (model VARCHAR, kind VARCHAR, code INTEGER, name VARCHAR);
CREATE TABLE IF NOT EXISTS join_tallies (model VARCHAR, kind VARCHAR, labels BIGINT);
CREATE TABLE IF NOT EXISTS join_waiting (model VARCHAR, version VARCHAR, bins VARCHAR);
"""
PREDICTIONS, FEEDBACK = "predictions", "feedback"
MOST_TEXTS = 10_000  # classes that are told apart; labels are no free text
MOST_KEYS, MOST_VALUES = 5, 20  # of segments that are told apart
OTHER = "other"
SUFFIX = ".run"


@dataclass(frozen=True, slots=True)
class RunFile:
    """A run that is part of what is known."""

    kind: str
    name: str
    rows: int

    @classmethod
    def of(cls, kind: str, written: Writer) -> "RunFile":
        """Of what was written."""
        return cls(kind, written.path.name, written.rows)


class JoinState:
    """Runs, cursors, names and tallies of the join. Used within one process, `serve`'s."""

    def __init__(self, tiles: Tiles, folder: Path) -> None:
        self._tiles, self._folder = tiles, folder
        folder.mkdir(parents=True, exist_ok=True)
        with tiles.transaction() as connection:
            connection.execute(_TABLES)
        self._open: dict[str, Run] = {}
        known = {name for (name,) in self._all("SELECT name FROM join_runs")}
        self._last = max((int(name.partition("-")[0]) for name in known), default=0)
        self._forget(known)

    def _forget(self, known: Collection[str]) -> None:
        """Delete what no table names."""
        for path in self._folder.glob(f"*{SUFFIX}*"):
            if path.name not in known:
                path.unlink(missing_ok=True)

    def files(self, model: str, kind: str) -> list[RunFile]:
        """The runs of a model, in the order in which they were made."""
        found = self._all(
            "SELECT kind, name, rows FROM join_runs WHERE model = ? AND kind = ? ORDER BY name", [model, kind]
        )
        return [RunFile(*row) for row in found]

    def runs(self, files: Iterable[RunFile]) -> list[Run]:
        """The runs themselves, where they lie."""
        return [self._load(file.name) for file in files]

    def _load(self, name: str) -> Run:
        if name not in self._open:
            self._open[name] = load(self._folder / name)
        return self._open[name]

    def writer(
        self,
        kind: str,
        most: int,
        kinds: "Mapping[str, np.dtype[Any]]",
        constants: Mapping[str, np.ndarray],
        disk: Executor,
    ) -> Writer:
        """What writes a run (see `Writer`). It is part of nothing before `replace` names it."""
        self._last += 1
        return Writer(self._folder / f"{self._last:012d}-{kind}{SUFFIX}", most, kinds, constants, disk)

    def replace(self, model: str, old: Iterable[RunFile], new: Iterable[RunFile]) -> None:
        """Name new runs, and no longer the old ones. Within the transaction that stores what they count."""
        with self._tiles.transaction() as connection:
            for file in old:
                connection.execute("DELETE FROM join_runs WHERE name = ?", [file.name])
            for file in new:
                connection.execute(
                    "INSERT INTO join_runs VALUES (?, ?, ?, ?)", [model, file.kind, file.name, file.rows]
                )

    def delete(self, files: Iterable[RunFile]) -> None:
        """Remove files that nothing names any more."""
        for file in files:
            self._open.pop(file.name, None)
            (self._folder / file.name).unlink(missing_ok=True)

    def cursor(self, model: str, kind: str) -> str | None:
        """How far a log is read; None where nothing is."""
        found = self._all("SELECT cursor FROM join_cursors WHERE model = ? AND kind = ?", [model, kind])
        return found[0][0] if found else None

    def move(self, model: str, kind: str, cursor: str) -> None:
        """Remember how far a log is read."""
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM join_cursors WHERE model = ? AND kind = ?", [model, kind])
            connection.execute("INSERT INTO join_cursors VALUES (?, ?, ?)", [model, kind, cursor])

    def waiting(self, model: str) -> list[Made]:
        """What is not counted yet, as its bins are not known."""
        return self._all("SELECT version, bins FROM join_waiting WHERE model = ?", [model])

    def wait(self, model: str, waiting: Collection[Made]) -> None:
        """Remember all that is not counted yet."""
        if sorted(waiting) == sorted(self.waiting(model)):
            return
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM join_waiting WHERE model = ?", [model])
            for made in waiting:
                connection.execute("INSERT INTO join_waiting VALUES (?, ?, ?)", [model, *made])

    def names(self, model: str) -> "KnownNames":
        """What codes stand for."""
        found = self._all("SELECT kind, name FROM join_names WHERE model = ? ORDER BY code", [model])
        groups = [_group(text) for kind, text in found if kind == "group"]
        return KnownNames(groups, [text for kind, text in found if kind == "text"])

    def learn(self, model: str, names: "KnownNames") -> None:
        """Remember codes that are new."""
        with self._tiles.transaction() as connection:
            for kind, code, text in names.new:
                connection.execute("INSERT INTO join_names VALUES (?, ?, ?, ?)", [model, kind, code, text])

    def count(self, model: str, tally: Mapping[str, int]) -> None:
        """Add to what has come of labels so far."""
        before = self.tally(model)
        rows = [[model, kind, before.get(kind, 0) + tally.get(kind, 0)] for kind in sorted({*before, *tally})]
        if not rows:
            return
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM join_tallies WHERE model = ?", [model])
            values = ", ".join(["(?, ?, ?)"] * len(rows))  # at once: each statement costs half a millisecond
            connection.execute(f"INSERT INTO join_tallies VALUES {values}", [v for row in rows for v in row])

    def tally(self, model: str) -> dict[str, int]:
        """What has come of labels so far, see `match.Match`."""
        return dict(self._all("SELECT kind, labels FROM join_tallies WHERE model = ?", [model]))

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._tiles.lock:
            return self._tiles.connection.execute(query, list(values)).fetchall()


class KnownNames:
    """Codes of groups and texts, for any thread; new ones are kept in `new` (kind, code, name) until they are stored.

    >>> names = KnownNames([], [])
    >>> names.text("fraud"), names.text("ok"), names.text("fraud"), names.text(None)
    (0, 1, 0, -1)
    """

    def __init__(self, groups: Sequence[Group], texts: Sequence[str]) -> None:
        self._groups = {group: i for i, group in enumerate(groups)}
        self._texts = {text: i for i, text in enumerate(texts)}
        self._segments: dict[str, set[str]] = {}
        for group in groups:
            for key, value in group.segments:
                self._segments.setdefault(key, set()).add(value)
        self.new: list[tuple[str, int, str]] = []
        self._lock = threading.Lock()

    @property
    def all(self) -> Names:
        """All that are known."""
        return Names(list(self._groups), list(self._texts))

    def group(self, group: Group) -> int:
        """The code of a group of predictions."""
        if group not in self._groups:
            self._groups[group] = len(self._groups)
            self.new.append(
                ("group", self._groups[group], json.dumps([group.version, group.bins, group.segments]))
            )
        return self._groups[group]

    def bounded(self, segments: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Segments of which only so many are told apart: of 5 keys 20 values each, what comes later is `other`."""
        found = []
        for key, value in segments:
            if key not in self._segments and len(self._segments) >= MOST_KEYS:
                continue
            known = self._segments.setdefault(key, set())
            told = value if value in known or len(known) < MOST_VALUES else OTHER
            known.add(told)
            found.append((key, told))
        return tuple(sorted(found))

    def text(self, text: str | None) -> int:
        """The code of an answer or a label, -1 for none."""
        if text is None:
            return -1
        with self._lock:
            if text not in self._texts and len(self._texts) >= MOST_TEXTS:
                text = OTHER
            if text not in self._texts:
                self._texts[text] = len(self._texts)
                self.new.append(("text", self._texts[text], text))
            return self._texts[text]


def _group(text: str) -> Group:
    version, bins, segments = json.loads(text)
    return Group(version, bins, tuple((key, value) for key, value in segments))
