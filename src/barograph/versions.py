"""Versions of models that have been seen, and what each is counted over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from barograph import naming
from barograph.counters import Series
from barograph.tiles import Tiles


@dataclass(frozen=True, slots=True)
class Deployed:
    """A version of a model that has been seen: `first` and `last` are its minutes, `series` its counted columns by bins id.

    `references` are the content ids of its references, by bins id: of two with the same bins, the one seen last.
    """

    model: str
    version: str
    series: Mapping[str, Series]
    first: int
    last: int
    references: Mapping[str, str]

    @property
    def names(self) -> dict[str, str]:
        """Its labels."""
        return {"model": self.model, "version": self.version}


def deployed(tiles: Tiles) -> list[Deployed]:
    """Every version of every model that has been seen."""
    columns: dict[tuple[str, str], dict[str, Series]] = {}
    for series in tiles.series(naming.COLUMN_VALUES.name):
        columns.setdefault(_names(series), {})[series.label("bins") or ""] = series
    references: dict[tuple[str, str], dict[str, tuple[tuple[int, int], str]]] = {}
    for series in (*tiles.series(naming.MODEL_INFO.name), *tiles.series(naming.HEURISTIC_INFO)):
        bins, name = series.label("bins") or "", series.label("reference")
        first, last = tiles.seen(series) or (0, 0)
        if name:
            of_version = references.setdefault(_names(series), {})
            of_version[bins] = max(of_version.get(bins, ((0, 0), "")), ((last, first), name))
    found = []
    for series in tiles.series(naming.PREDICTIONS.name):
        key, seen = _names(series), tiles.seen(series) or (0, 0)
        named = {bins: name for bins, (_, name) in references.get(key, {}).items()}
        found.append(Deployed(*key, columns.get(key, {}), *seen, named))
    return found


def _names(series: Series) -> tuple[str, str]:
    return series.label("model") or "", series.label("version") or ""


def by_model(versions: Iterable[Deployed]) -> dict[str, list[Deployed]]:
    """Versions by model, in order of names."""
    found: dict[str, list[Deployed]] = {}
    for version in versions:
        found.setdefault(version.model, []).append(version)
    return dict(sorted(found.items()))


def imported(tiles: Tiles) -> dict[str, float]:
    """Until when rows of each model were imported, epoch seconds; models that were only recorded are not in it."""
    with tiles.lock:
        known = tiles.connection.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_name = 'imports'"
        ).fetchall()
        rows = (
            tiles.connection.execute("SELECT model, max(last) FROM imports GROUP BY model").fetchall()
            if known
            else []
        )
    return {model: float(last) for model, last in rows if last is not None}
