"""What the last fire drill found, read from the file that it wrote: which faults were caught, how soon, and from what size on."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "drill.json"
FORMAT = 1
_COUNTED = ("hours", "periods", "times more")  # units that are no shares


class DrillFileError(ValueError):
    """A report of drills that cannot be read: what is wrong, and the remedy."""


@dataclass(frozen=True, slots=True)
class Drilled:
    """One fault on one model.

    `caught` is None where it does not apply, `proven` whether it was caught at a size that it should be. `needs` is the smallest
    size that was caught, `signal` the first alert (or why there was none), `delay` seconds after the fault, `lacking` what would
    catch it where nothing did. `reference` is the id of what it was judged by.
    """

    model: str
    name: str
    title: str
    verdict: str
    caught: bool | None
    proven: bool
    signal: str
    lacking: str = ""
    reference: str = ""
    needs: str = ""
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Drill:
    """All that one call of `barograph drill` found. `began` is ISO 8601 in wall time."""

    began: str
    found: tuple[Drilled, ...]

    def of(self, model: str) -> tuple[Drilled, ...]:
        """What it found of a model."""
        return tuple(one for one in self.found if one.model == model)

    @classmethod
    def load(cls, path: str | Path) -> "Drill | None":
        """Read a file, or the one in a folder; None where there is none, DrillFileError where it cannot be read."""
        place = Path(path)
        place = place / FILE if place.is_dir() else place
        try:
            text = place.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DrillFileError(f"{place}: cannot be read ({error}); drill again") from None
        return cls.from_json(text, str(place))

    @classmethod
    def from_json(cls, text: str, origin: str = "the report") -> "Drill":
        """Read what a drill wrote; DrillFileError for anything else.

        >>> Drill.from_json('{"format": 1, "began": "2026-11-20T09:00:00Z", "results": []}').of("fraud")
        ()
        """
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise DrillFileError(
                    f"{origin}: its format is {found['format']}, this version reads {FORMAT}; drill again"
                )
            return cls(str(found["began"]), tuple(_read(one) for one in found["results"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, DrillFileError):
                raise
            raise DrillFileError(f"{origin}: is no report of drills ({error!r}); drill again") from None


def _read(one: Mapping[str, Any]) -> Drilled:
    names = (one["model"], one["name"], one["title"], one["verdict"], one["caught"])
    reference = one.get("reference") or ""
    if one["why_not"] is not None:
        return Drilled(*names, proven=False, signal=one["why_not"], reference=reference)
    if not one["caught"]:
        nothing = f"nothing at {_amount(one['tries'][-1]['f'], one['unit'])}"
        return Drilled(*names, proven=False, signal=nothing, lacking=one["lacking"], reference=reference)
    (found,) = (t for t in one["tries"] if t["f"] == one["magnitude"])
    return Drilled(
        *names, proven=one["in_time"], signal=_signal(found["first"]), reference=reference,
        needs=_amount(one["magnitude"], one["unit"]), delay=float(one["delay"]),
    )  # fmt: skip


def _amount(f: float, unit: str) -> str:
    """A size: `1.5 hours`, `0.5 % of rows`."""
    return f"{f:.3g} {unit}" if unit in _COUNTED else f"{100 * f:.3g} % {unit}"


def _signal(seen: Mapping[str, Any]) -> str:
    """What was raised: the alert, and of which column."""
    where = f" of {seen['column']}" if seen["column"] else ""
    return f"{seen['rule'].removeprefix('ML')}{where}{' (' + seen['signal'] + ')' if seen['signal'] else ''}"


def current(found: Sequence[Drilled], references: Iterable[str]) -> bool:
    """Whether a model was drilled with a reference that judges it now; one that a report does not name is another one."""
    known = set(references) - {""}
    return bool(found) and all(one.reference in known for one in found)
