"""What the join remembers, in the tiles' own file: so that what is counted and what is known to be counted are stored together.

The rows themselves are sorted runs in a folder beside it. A run that no table names was written by a join that did not end; it
is deleted at the next start, and its rows are read again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from barograph.labels.counting import Group, Names
from barograph.labels.runs import Run, load, save
from barograph.tiles import Tiles

_TABLES = """
CREATE TABLE IF NOT EXISTS join_runs (model VARCHAR, kind VARCHAR, name VARCHAR, rows BIGINT);
CREATE TABLE IF NOT EXISTS join_cursors (model VARCHAR, kind VARCHAR, cursor VARCHAR);
CREATE TABLE IF NOT EXISTS join_names (model VARCHAR, kind VARCHAR, code INTEGER, name VARCHAR);
CREATE TABLE IF NOT EXISTS join_tallies (model VARCHAR, kind VARCHAR, labels BIGINT);
CREATE SEQUENCE IF NOT EXISTS join_run;
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


class JoinState:
    """Runs, cursors, names and tallies of the join. Used within one process, `serve`'s."""

    def __init__(self, tiles: Tiles, folder: Path) -> None:
        self._tiles, self._folder = tiles, folder
        folder.mkdir(parents=True, exist_ok=True)
        with tiles.transaction() as connection:
            connection.execute(_TABLES)
        self._open: dict[str, Run] = {}
        self._forget()

    def _forget(self) -> None:
        """Delete what no table names."""
        known = {name for (name,) in self._all("SELECT name FROM join_runs")}
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

    def write(self, kind: str, run: Run) -> RunFile:
        """Write a run to the disk; it is part of nothing before `commit` names it."""
        ((number,),) = self._all("SELECT nextval('join_run')")
        name = f"{number:012d}-{kind}{SUFFIX}"
        save(run, self._folder / name)
        return RunFile(kind, name, len(run))

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
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM join_tallies WHERE model = ?", [model])
            for kind in sorted({*before, *tally}):
                total = before.get(kind, 0) + tally.get(kind, 0)
                connection.execute("INSERT INTO join_tallies VALUES (?, ?, ?)", [model, kind, total])

    def tally(self, model: str) -> dict[str, int]:
        """What has come of labels so far, see `match.Match`."""
        return dict(self._all("SELECT kind, labels FROM join_tallies WHERE model = ?", [model]))

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._tiles.lock:
            return self._tiles.connection.execute(query, list(values)).fetchall()


class KnownNames:
    """Codes of groups and texts; new ones are kept in `new` (kind, code, name) until they are stored.

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
        if text not in self._texts and len(self._texts) >= MOST_TEXTS:
            text = OTHER
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            self.new.append(("text", self._texts[text], text))
        return self._texts[text]


def _group(text: str) -> Group:
    version, bins, segments = json.loads(text)
    return Group(version, bins, tuple((key, value) for key, value in segments))
