"""A log: its place, how it is read, and how it is kept in order."""

import os
from collections.abc import Mapping, Sequence

from barograph.logs.appender import MEGABYTE, Limits
from barograph.logs.cursor import Cursor
from barograph.logs.keeping import Kept, keep
from barograph.logs.paths import KINDS
from barograph.logs.reading import Catalogue, Reading
from barograph.logs.stores import Days, Local, Remote, Store, located

LIMITS: dict[str, Limits] = {
    "predictions": Limits(),
    "feedback": Limits(days=400.0, rotate_bytes=16 * MEGABYTE),
}


class Log:
    """Predictions and feedback in one place: a folder, or a URL that fsspec knows (`s3://bucket/logs`).

    What is logged to a URL is written to `spool`, a folder on a disk of this machine, and uploaded by `keep`; where none is given
    it is one of the user's own (`~/.local/state/barograph/logs`). Any number of processes may log to one place, and read it.
    """

    def __init__(
        self,
        place: "str | os.PathLike[str]",
        *,
        spool: "str | os.PathLike[str] | None" = None,
        limits: Mapping[str, Limits] | None = None,
    ) -> None:
        root, url = located(place, spool)
        if unknown := sorted((limits or {}).keys() - set(KINDS)):
            raise ValueError(f"limits: {unknown[0]!r} is no log; give limits of {', '.join(KINDS)}")
        self.limits: dict[str, Limits] = {**LIMITS, **(limits or {})}
        self.spool = Local(root)
        self.remote: Store | None = None if url is None else Remote(url)
        self._catalogue = Catalogue(self.spool, self.remote)

    def read(
        self,
        kind: str,
        model: str,
        columns: Sequence[str] | None = None,
        *,
        since: Cursor | None = None,
        days: Days = (None, None),
    ) -> Reading:
        """Tables of all rows, or of those that `since` has not read, by the order of their arrival as far as that goes.

        `kind` is predictions or feedback. `columns` are names of fixed columns, of features (`feature_column`), and of `model`,
        `day`, `version` and `bins`; only these are read, and all of them where none are named. `days` are the first and the last
        day of arrival (2013-10-14), None for open. After the last table, `Reading.cursor` is what to go on from and
        `Reading.damaged` what could not be read. Each row comes once, whoever writes or compacts beside it.

        >>> import tempfile
        >>> reading = Log(tempfile.mkdtemp()).read("predictions", "m", ["id", "score"])
        >>> sum(table.num_rows for table in reading), reading.cursor.rows
        (0, 0)
        """
        return Reading(self._catalogue, kind, model, columns, since or Cursor(), days)

    def models(self, kind: str) -> list[str]:
        """Models of which there is anything."""
        entries = [entry for store in self._catalogue.stores for entry in store.entries(kind)]
        return sorted({entry.partition.model for entry in entries})

    def keep(self, now: float, *, whole: bool = True) -> Kept:
        """Put the log in order, as of `now` in epoch seconds: what is over is compacted, uploaded, retired, set aside.

        One process at a time does it; for the others there is nothing to do. OSError where the disk is full or the object
        store cannot be reached: nothing is lost by it, and the next time goes on from there. Without `whole` what lies in the
        object store stays as it is: one process of a fleet is enough to merge and retire that.
        """
        return keep(self._catalogue, self.limits, now, everything=whole)
