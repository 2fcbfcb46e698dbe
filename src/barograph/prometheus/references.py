"""References from files: what /metrics shows can only be judged by the reference that a service names, and no scrape holds it."""

from collections.abc import Iterator, MutableMapping, Sequence
from glob import glob
from pathlib import Path

from barograph.prometheus.coarse import CoarseReference
from barograph.reference import Reference, ReferenceFileError

_FOLDER = "*.json"


class ReferenceFiles:
    """References over cells, by content id, from files. `patterns` are paths, folders, or have `*` in them.

    `kept` takes what the evaluator is to judge by: the JSON over cells, under the id of the file's reference. Files are looked
    at again by `refresh`: one that is new or has changed, as a mounted volume does, is read then. `revision` is another number
    once there is one more.

    >>> ReferenceFiles(["no-such-folder/*.json"], {}).refresh()
    ["references: no file matches 'no-such-folder/*.json'; mount it, or correct the path"]
    """

    def __init__(self, patterns: Sequence[str], kept: MutableMapping[str, bytes]) -> None:
        self._patterns, self._kept = tuple(patterns), kept
        self._known: dict[str, CoarseReference] = {}
        self._read: dict[Path, tuple[int, int]] = {}  # modified, size
        self._refused: dict[Path, str] = {}
        self.revision = 0

    def get(self, name: str) -> CoarseReference | None:
        """The reference of this content id."""
        return self._known.get(name)

    def of_bins(self, bins: str) -> CoarseReference | None:
        """One of these bins (the id of the reference's own), where only one is."""
        found = [one for one in self._known.values() if one.original.bins.id == bins]
        return found[0] if len(found) == 1 else None

    def of_cells(self, bins: str) -> CoarseReference | None:
        """The one whose cells have this id."""
        return next((one for one in self._known.values() if one.reference.bins.id == bins), None)

    def refresh(self) -> list[str]:
        """Read what is new. Returns what is wrong, and what helps."""
        complaints = []
        for pattern in self._patterns:
            paths = list(_paths(pattern))
            if not paths:
                what = "no file" if not Path(pattern).is_dir() else "no .json file"
                complaints.append(f"references: {what} matches {pattern!r}; mount it, or correct the path")
            for path in paths:
                self._look(path)
                if path in self._refused:
                    complaints.append(self._refused[path])
        return complaints

    def _look(self, path: Path) -> None:
        try:
            status = path.stat()
            mark = status.st_mtime_ns, status.st_size
            if self._read.get(path) == mark:
                return
            self._read[path] = mark
            found = Reference.load(path)
        except (OSError, ReferenceFileError) as error:
            self._refused[path] = f"{error}"
            return
        self._refused.pop(path, None)
        if found.id not in self._known:
            coarse = CoarseReference.of(found)
            self._kept[found.id] = coarse.reference.to_json()
            self._known[found.id] = coarse
            self.revision += 1


def _paths(pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    if path.is_dir():
        yield from sorted(path.glob(_FOLDER))
    else:
        yield from (Path(found) for found in sorted(glob(pattern)) if Path(found).is_file())  # noqa: PTH207
