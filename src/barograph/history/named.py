"""Which columns of a source say what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from barograph.reference import Reference
from barograph.tables import ImportFailed

_OF_REFERENCE = ("time", "score", "prediction", "label")


@dataclass(frozen=True, slots=True)
class Named:
    """Names of columns; None where there is none. `segments` are those whose values are segments of the rows."""

    time: str | None = None
    score: str | None = None
    prediction: str | None = None
    label: str | None = None
    label_time: str | None = None
    id: str | None = None
    version: str | None = None
    segments: tuple[str, ...] = ()

    def within(self, columns: Sequence[str], reference: Reference | None, version: str = "0") -> "Named":
        """The same with the names that the reference has for what is not named, as far as the source has them.

        `version` names a column, if there is one of that name.

        ImportFailed where a column that is named is not there, is there twice, or no column of times is named.

        >>> Named(time="at").within(["at", "p"], None).time
        'at'
        """
        found = replace(self, version=version) if version in columns else self
        known = {} if reference is None else reference.columns
        for what in _OF_REFERENCE:
            name = known.get(what)
            if getattr(found, what) is None and name in columns:
                found = replace(found, **{what: name})  # type: ignore[arg-type]
        if reference is not None and not found.segments:
            found = replace(found, segments=tuple(s for s in reference.segments if s in columns))
        for what, name in found._all():
            if columns.count(name) != 1:
                many = "two columns are" if name in columns else "there is no column"
                raise ImportFailed(f"--{what}: {many} {name!r}; there are {', '.join(columns)}")
        if found.time is None:
            raise ImportFailed(
                f"--time: is not given; name the column of when each prediction was made, of {', '.join(columns)}"
            )
        return found

    def _all(self) -> Iterator[tuple[str, str]]:
        for what in ("time", "score", "prediction", "label", "label_time", "id", "version"):
            name = getattr(self, what)
            if name is not None:
                yield what.replace("_", "-"), name
        for name in self.segments:
            yield "segment", name
