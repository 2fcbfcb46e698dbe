"""What is to be told, in the tiles' file: written together with what it tells of, removed once a receiver has taken it."""

from dataclasses import dataclass

from barograph.tiles import Tiles

_TABLE = """
CREATE TABLE IF NOT EXISTS outbox (id BIGINT, receiver VARCHAR, model VARCHAR, written DOUBLE, body VARCHAR);
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A body that waits for a receiver. `written` is epoch seconds of wall time."""

    id: int
    receiver: str
    model: str
    written: float
    body: str


class Outbox:
    """Letters by receiver, in the order in which they were written.

    >>> with Tiles() as tiles:
    ...     outbox = Outbox(tiles)
    ...     outbox.put("pager", "fraud", 0.0, "{}")
    ...     [letter.model for letter in outbox.next("pager")]
    ['fraud']
    """

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        with tiles.transaction() as connection:
            connection.execute(_TABLE)

    def put(self, receiver: str, model: str, written: float, body: str) -> None:
        """Add a letter. Within a transaction it is there if, and only if, the rest of that is."""
        with self._tiles.transaction() as connection:
            connection.execute(
                "INSERT INTO outbox SELECT coalesce(max(id), 0) + 1, ?, ?, ?, ? FROM outbox",
                [receiver, model, written, body],
            )

    def next(self, receiver: str) -> list[Letter]:
        """The first letter of each model, oldest first: a later one of the same model must not overtake it."""
        query = (
            "SELECT id, receiver, model, written, body FROM outbox WHERE receiver = ?"
            " QUALIFY row_number() OVER (PARTITION BY model ORDER BY id) = 1 ORDER BY id"
        )
        with self._tiles.lock:
            return [Letter(*row) for row in self._tiles.connection.execute(query, [receiver]).fetchall()]

    def remove(self, letter: Letter) -> None:
        """Forget a letter: it was taken, or given up."""
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM outbox WHERE id = ?", [letter.id])

    def remove_others(self, receivers: set[str]) -> int:
        """Forget the letters to anyone else. Returns how many those were."""
        with self._tiles.transaction() as connection:
            found = connection.execute("SELECT DISTINCT receiver FROM outbox").fetchall()
            gone = [name for (name,) in found if name not in receivers]
            query = "DELETE FROM outbox WHERE receiver IN (SELECT unnest(?::VARCHAR[])) RETURNING id"
            return len(connection.execute(query, [gone]).fetchall())

    def oldest(self) -> float | None:
        """When the letter was written that waits longest, epoch seconds of wall time; None where none waits."""
        with self._tiles.lock:
            found = self._tiles.connection.execute("SELECT min(written) FROM outbox").fetchall()[0][0]
        return None if found is None else float(found)

    def waiting(self) -> int:
        """How many letters wait."""
        with self._tiles.lock:
            return int(self._tiles.connection.execute("SELECT count(*) FROM outbox").fetchall()[0][0])
