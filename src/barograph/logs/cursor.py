"""How far a reader has read a log: rows of each stream, wherever these lie by now."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Position:
    """Of one stream: the day of its folder, rows read, and the byte after them while it is a file of its own."""

    day: str
    rows: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Cursor:
    """What has been read of one model's predictions or feedback. It says nothing about other logs or other models.

    >>> Cursor.from_json(Cursor({"s": Position("2013-10-14", 5, 900)}).to_json()).rows
    5
    """

    positions: Mapping[str, Position] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows read of the streams that it still knows of."""
        return sum(position.rows for position in self.positions.values())

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({stem: [p.day, p.rows, p.offset] for stem, p in self.positions.items()})

    @classmethod
    def from_json(cls, text: str) -> "Cursor":
        """Back from JSON. ValueError for another text."""
        try:
            return cls(
                {str(stem): Position(str(d), int(r), int(o)) for stem, (d, r, o) in json.loads(text).items()}
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"text: {text[:80]!r} is no cursor ({error}); give what to_json wrote") from None

    def kept(self, oldest: str | None) -> "Cursor":
        """Without streams of days before `oldest`, the first that the log still has; all of it where it has none."""
        if oldest is None:
            return self
        return Cursor({stem: p for stem, p in self.positions.items() if p.day >= oldest})
