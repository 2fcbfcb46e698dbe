"""What the job remembers, in the tiles' own file: stored in one transaction with what it counts, so that nothing counts twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from barograph.tiles import Tiles

_TABLES = """
CREATE TABLE IF NOT EXISTS heuristic_cursors (model VARCHAR, name VARCHAR, cursor VARCHAR, counted BIGINT, failed BIGINT);
CREATE TABLE IF NOT EXISTS heuristic_columns (model VARCHAR, name VARCHAR, reference VARCHAR);
"""
START = "{}"  # the cursor of who has read nothing


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a heuristic has read its model's log, of how many rows it has a value counted, and of how many it failed."""

    cursor: str = START
    counted: int = 0
    failed: int = 0


class JobState:
    """Cursors, and the references that the job has learnt itself. Used within one process, the one that has the tiles open."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        with tiles.transaction() as connection:
            connection.execute(_TABLES)

    def progress(self, model: str, name: str) -> Progress:
        """How far one is."""
        query = "SELECT cursor, counted, failed FROM heuristic_cursors WHERE model = ? AND name = ?"
        found = self._all(query, [model, name])
        return Progress(*found[0]) if found else Progress()

    def move(self, model: str, name: str, progress: Progress) -> None:
        """Remember how far one is."""
        values = [model, name, progress.cursor, progress.counted, progress.failed]
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM heuristic_cursors WHERE model = ? AND name = ?", [model, name])
            connection.execute("INSERT INTO heuristic_cursors VALUES (?, ?, ?, ?, ?)", values)

    def learnt(self, model: str, name: str) -> str | None:
        """The content id of the reference that was learnt for a heuristic; None where there is none."""
        found = self._all(
            "SELECT reference FROM heuristic_columns WHERE model = ? AND name = ?", [model, name]
        )
        return found[0][0] if found else None

    def learn(self, model: str, name: str, reference: str) -> None:
        """Remember it."""
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM heuristic_columns WHERE model = ? AND name = ?", [model, name])
            connection.execute("INSERT INTO heuristic_columns VALUES (?, ?, ?)", [model, name, reference])

    def _all(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._tiles.lock:
            return self._tiles.connection.execute(query, list(values)).fetchall()
