"""What an import came to."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Report:
    """Rows and labels of an import. Reports add up.

    `counted` predictions, and of their labels those `labelled`; rows that were not counted: `known` by their ids, without a
    time (`timeless`), an id (`nameless`) or a version (`versionless`), or `forgotten`: older than what is kept. `labels`
    that the model's task does not know are `unreadable`. `first` and `last` (epoch seconds) are the times of what counted, and
    `lacking` the columns that count as missing in all of it.
    """

    counted: int = 0
    known: int = 0
    timeless: int = 0
    nameless: int = 0
    versionless: int = 0
    forgotten: int = 0
    labelled: int = 0
    corrected: int = 0
    unreadable: int = 0
    first: float | None = None
    last: float | None = None
    lacking: tuple[str, ...] = ()

    def __add__(self, other: "Report") -> "Report":
        """
        >>> (Report(counted=2, first=5.0) + Report(counted=1, first=3.0)).first
        3.0
        """
        numbers = {
            f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.default == 0
        }
        firsts = [one.first for one in (self, other) if one.first is not None]
        lasts = [one.last for one in (self, other) if one.last is not None]
        lacking = tuple(dict.fromkeys([*self.lacking, *other.lacking]))
        first, last = min(firsts, default=None), max(lasts, default=None)
        return replace(self, **numbers, first=first, last=last, lacking=lacking)

    @property
    def rows(self) -> int:
        """All rows that were read."""
        lacking = self.timeless + self.nameless + self.versionless
        return self.counted + self.known + lacking + self.forgotten

    def told(self, model: str) -> str:
        """In words, a line for each thing that there is to say."""
        labels = f"; {self.labelled:,} of their labels are joined" if self.labelled else ""
        labels += f", {self.corrected:,} corrected" if self.corrected else ""
        span = ""
        if self.first is not None and self.last is not None:
            span = f", from {_minute(self.first)} to {_minute(self.last)} UTC"
        return "\n".join(
            [f"{self.counted:,} predictions of {model} imported{span}{labels}", *self.left_out()]
        )

    def left_out(self) -> Iterator[str]:
        """What did not count, and why."""
        for n, what in (
            (self.known, "counted before, by their ids"),
            (self.timeless, "left out: no time (epoch seconds, or ISO 8601)"),
            (self.nameless, "left out: no id"),
            (self.versionless, "left out: no version"),
            (self.forgotten, "left out: older than what is kept"),
        ):
            if n:
                yield f"{n:,} {'row' if n == 1 else 'rows'} {what}"
        if self.unreadable:
            yield f"{self.unreadable:,} {'label' if self.unreadable == 1 else 'labels'} left out: not of the model's task"
        if self.lacking:
            yield f"there is no column of {', '.join(self.lacking)}: counted as missing"


def _minute(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
