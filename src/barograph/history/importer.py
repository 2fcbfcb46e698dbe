"""The import: source by source, so many rows at a time, in transactions that hold what is counted and what was counted.

With ids a row that is known is not counted again, so each step is stored for itself, and an import that was killed goes on where
it was. Without ids a file is known by its content: it counts as a whole or not at all.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from barograph.arguments import require_name
from barograph.clock import iso
from barograph.history.columns import ColumnCounts
from barograph.history.named import Named
from barograph.history.report import Report
from barograph.history.steps import Plan, Steps, moments
from barograph.labels.counting import BinsOf
from barograph.labels.state import JoinState
from barograph.reference import Reference
from barograph.sources import StoredReferences
from barograph.tables import BATCH, ImportFailed, Source
from barograph.tiles import DAY, HOUR, MINUTE, Tiles

_TABLE = """
CREATE TABLE IF NOT EXISTS imports (
    model VARCHAR, version VARCHAR, source VARCHAR, digest VARCHAR, rows BIGINT, first DOUBLE, last DOUBLE, moment DOUBLE
)
"""


class AlreadyImported(ImportFailed):
    """A file that was imported before, under this name or another."""


class Importer:
    """Imports predictions of a model into tiles. `folder` is the join's, beside them; `now` the evaluator's clock, epoch seconds.

    `version` is the version of all rows, or the column that says it. `bins_of` says how the outcomes of other
    versions are counted, which a label that comes again may concern. `rows` are read at a time. ValueError for what is no name;
    ImportFailed where the clock is so late that all that is in the tiles would be forgotten.

    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = ["at,p", "2026-10-01 12:00:30,0.25", "2026-10-01 12:00:50,0.75"]
    >>> _ = (folder / "p.csv").write_text(chr(10).join(rows))
    >>> with Tiles() as tiles:
    ...     importer = Importer(
    ...         tiles, folder / "join", "m", named=Named(time="at", score="p"), now=1790900000.0
    ...     )
    ...     importer.add(Source("p.csv", folder / "p.csv")).counted
    2
    """

    def __init__(
        self,
        tiles: Tiles,
        folder: Path,
        model: str,
        *,
        version: str = "0",
        reference: Reference | None = None,
        named: Named | None = None,
        bins_of: BinsOf | None = None,
        now: float,
        rows: int = BATCH,
    ) -> None:
        require_name("--model", model)
        require_name("--version", version)
        self._tiles, self._rows = tiles, rows
        with tiles.transaction() as connection:
            connection.execute(_TABLE)
            if reference is not None:
                StoredReferences(tiles)[reference.id] = reference.to_json()
        counts = ColumnCounts(model, reference, partial(tile_of, tiles))
        state = JoinState(tiles, folder)
        self._plan = Plan(tiles, state, counts, model, version, reference, named or Named(), bins_of, now)

    def add(self, source: Source, moved: Callable[[int], object] = lambda _: None) -> Report:
        """Import one source; `moved` is told how many rows each step read.

        ImportFailed where it cannot be read: what of it is counted then does not count again when it comes again.
        AlreadyImported where it was.
        """
        if self._plan.by_ids:
            return self._all(source, Steps(self._plan), moved)
        digest = source.digest
        if digest is None:
            raise ImportFailed(
                "--id: is not given, or the task has no outcomes: rows of a query are not known when they come again; give --id, "
                "or write the rows into a file"
            )
        self._refuse_known(source, digest)
        steps = Steps(self._plan)
        with self._tiles.transaction():
            report = self._all(source, steps, moved, digest)
        steps.settle()
        return report

    def finish(self) -> None:
        """Add up hours and days."""
        self._tiles.roll_up(self._plan.now)

    def _all(
        self, source: Source, steps: Steps, moved: Callable[[int], object], digest: str | None = None
    ) -> Report:
        """All steps of a source, which is known by its `digest` or, step by step, by its ids."""
        self._refuse_times(source)
        _forget(self._tiles, self._plan.now)
        total = Report()
        for table in source.tables(rows=self._rows, order=self._plan.time):
            total += steps.take(table)
            if digest is None:
                steps.settle()
            moved(len(table))
        if not total.counted + total.known:
            raise ImportFailed(
                f"{source.name!r} holds nothing to count: {'; '.join(total.left_out()) or 'no rows'}"
            )
        with self._tiles.transaction():
            for version, (first, last) in steps.seen.items():
                starts = np.unique(tile_of(self._tiles, np.arange(first, last, MINUTE)))
                self._tiles.add(self._plan.counts.quiet(version, starts[starts > first]))
            self._remember(source, digest, total)
        return total

    def _refuse_times(self, source: Source) -> None:
        """Times of another zone, or of another age, are told before anything is counted or forgotten."""
        name, now = self._plan.time, self._plan.now
        if name is None:
            return
        try:
            last = float(moments(source.last(name))[0])
        except ImportFailed:  # what is wrong is told when all of it is read
            return
        if last > now + HOUR:
            raise ImportFailed(
                f"--time: {name!r} goes to {iso(round(last))}, and it is {iso(round(now))}: times without a zone are UTC; "
                "convert them in a query, or give a later --clock"
            )
        if last < now - self._tiles.retention.days * DAY:
            raise ImportFailed(
                f"--clock: it is {iso(round(now))}, and {name!r} goes to {iso(round(last))}, longer ago than anything is kept; "
                "give --clock, and the same to barograph serve, to see it as of then"
            )

    def _refuse_known(self, source: Source, digest: str) -> None:
        plan = self._plan
        with self._tiles.lock:
            found = self._tiles.connection.execute(
                "SELECT source, rows, moment FROM imports WHERE model = ? AND version = ? AND digest = ?",
                [plan.model, plan.version, digest],
            ).fetchall()
        if found:
            name, rows, moment = found[0]
            raise AlreadyImported(
                f"{source.name!r} was imported as {name!r} at {iso(round(moment))}: {rows:,} rows of {plan.model}, "
                f"--version {plan.version}; nothing is counted again"
            )

    def _remember(self, source: Source, digest: str | None, report: Report) -> None:
        plan = self._plan
        with self._tiles.transaction() as connection:
            connection.execute(
                "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [plan.model, plan.version, source.name, digest, report.rows, report.first, report.last, plan.now],
            )  # fmt: skip


def tile_of(tiles: Tiles, times: np.ndarray) -> np.ndarray:
    """int64[n]: the start of the finest tile that is kept of each moment (epoch seconds)."""
    steps = [np.floor_divide(times, r).astype(np.int64) * r for r in (MINUTE, HOUR, DAY)]
    minutes, hours, days = steps
    coarse = np.where(minutes >= tiles.kept_from(HOUR), hours, days)
    return np.asarray(np.where(minutes >= tiles.kept_from(MINUTE), minutes, coarse))


def _forget(tiles: Tiles, now: float) -> None:
    """Have the tiles forget what is over, as the evaluator does; from then on older minutes count by hours."""
    last = max((seen[1] for s in tiles.series() if (seen := tiles.seen(s))), default=None)
    if last is not None and last < now - tiles.retention.days * DAY:
        raise ImportFailed(
            f"--clock: it is {iso(round(now))}, and all that is in the store is from before {iso(last + MINUTE)}: it would be "
            "forgotten; give the clock that barograph serve has there"
        )
    tiles.expire(now)
