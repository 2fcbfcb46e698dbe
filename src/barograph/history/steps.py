"""The steps of an import: some rows each, sorted out, counted and joined in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph import frames
from barograph.arguments import require_name
from barograph.history.columns import ColumnCounts
from barograph.history.named import Named
from barograph.history.outcomes import Outcomes, ids_of, label_table, prediction_table, whole
from barograph.history.report import Report
from barograph.labels.counting import BinsOf
from barograph.labels.state import JoinState
from barograph.logs.types import TEXT, texts
from barograph.naming import SCORE
from barograph.outcomes import SUMS, OutcomeBins
from barograph.reference import Reference
from barograph.tables import ImportFailed
from barograph.tiles import DAY, Tiles

_YEARS = 8e9  # epoch seconds of the year 2223: a number past it counts milliseconds, or less


@dataclass(frozen=True, eq=False)
class Plan:
    """What is imported as what, and where to."""

    tiles: Tiles
    state: JoinState
    counts: ColumnCounts
    model: str
    version: str
    reference: Reference | None
    named: Named
    bins_of: BinsOf | None
    now: float

    @property
    def time(self) -> str | None:
        """The column of times, as far as it is known before the source is."""
        return self.named.time or (None if self.reference is None else self.reference.columns.get("time"))

    @property
    def said_version(self) -> str:
        """What version the rows have."""
        return (
            f"version {self.version}" if self.named.version is None else f"versions by {self.named.version!r}"
        )

    @property
    def by_ids(self) -> bool:
        """Whether rows are known by their ids when they come again; of a task without outcomes ids are not kept."""
        return self.named.id is not None and self._has_outcomes

    @property
    def _has_outcomes(self) -> bool:
        return self.reference is None or self.reference.task in SUMS

    def lacking(self, named: Named, columns: Sequence[str]) -> tuple[str, ...]:
        """What the model takes and answers, and the source does not hold."""
        features = () if self.reference is None else self.reference.schema.features
        unscored = (SCORE,) if SCORE in self.counts.bins.columns and named.score is None else ()
        return (*(name for name in features if name not in columns), *unscored)

    def outcome_bins(self, version: str, bins: str) -> OutcomeBins:
        """How outcomes are counted: by the reference, and of other versions as they say."""
        if bins != self.counts.bins.id and self.bins_of is not None:
            return self.bins_of(version, bins)
        return OutcomeBins.default("binary") if self.reference is None else OutcomeBins.of(self.reference)

    def outcomes(self, named: Named) -> Outcomes | None:
        """What joins labels; None where there are none, and none can come."""
        if not self._has_outcomes or (named.id is None and named.label is None):
            return None
        return Outcomes(self.tiles, self.state, self.model, self.outcome_bins, named=named.id is not None)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows with their ids (text[n]), times (epoch seconds, float64[n]) and versions (text[n])."""

    table: pa.Table
    ids: pa.Array
    times: np.ndarray
    versions: pa.Array

    def where(self, mask: np.ndarray) -> "_Rows":
        if mask.all():
            return self
        chosen = pa.array(mask)
        return _Rows(
            self.table.filter(chosen), self.ids.filter(chosen), self.times[mask], self.versions.filter(chosen)
        )


class Steps:
    """Takes the tables of one source. `seen` is by version the first and the last of the times that counted."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._named: Named | None = None
        self._outcomes: Outcomes | None = None
        self._unsettled: list[Callable[[], None]] = []
        self.seen: dict[str, tuple[float, float]] = {}

    def settle(self) -> None:
        """Delete the files that nothing names any more; when what was counted is stored."""
        for settle in self._unsettled:
            settle()
        self._unsettled = []

    def take(self, table: pa.Table) -> Report:
        """Count some rows: all of them, or none where it raises."""
        named = self._within(table)
        with self._plan.tiles.transaction():
            rows, report = self._sorted_out(table, named)
            if not len(rows.times):
                return report
            fresh = rows
            if named.id is not None and self._outcomes is not None:
                fresh = rows.where(~self._outcomes.known(rows.ids))
            self._count(fresh, named)
            tally = {} if self._outcomes is None else self._join(self._outcomes, rows, fresh, named)
        return report + Report(
            counted=len(fresh.times),
            known=len(rows.times) - len(fresh.times),
            labelled=tally.get("matched", 0),
            corrected=tally.get("corrected", 0),
            unreadable=tally.get("unreadable", 0),
            first=float(fresh.times.min()) if len(fresh.times) else None,
            last=float(fresh.times.max()) if len(fresh.times) else None,
            lacking=self._plan.lacking(named, table.column_names),
        )

    def _within(self, table: pa.Table) -> Named:
        """What the columns are, by those of the first rows."""
        if self._named is None:
            plan, columns = self._plan, table.column_names
            self._named = plan.named.within(columns, plan.reference, plan.version)
            _require_features(plan.reference, columns)
            self._outcomes = plan.outcomes(self._named)
        return self._named

    def _sorted_out(self, table: pa.Table, named: Named) -> tuple[_Rows, Report]:
        """The rows that can be counted, and how many cannot."""
        assert named.time is not None
        times, versions = moments(table[named.time]), self._versions(table, named)
        timeless = ~np.isfinite(times)
        nameless = np.zeros(len(table), dtype=bool)
        if named.id is not None:
            nameless = ~timeless & pc.is_null(table[named.id], nan_is_null=True).to_numpy()
        kept = ~timeless & ~nameless
        versionless = kept & np.asarray(pc.is_null(versions).to_numpy(zero_copy_only=False))
        kept &= ~versionless
        forgotten = kept & (np.where(kept, times, np.inf) < self._plan.tiles.kept_from(DAY))
        report = Report(
            timeless=int(timeless.sum()),
            nameless=int(nameless.sum()),
            versionless=int(versionless.sum()),
            forgotten=int(forgotten.sum()),
        )
        return _Rows(table, ids_of(table, named), times, versions).where(kept & ~forgotten), report

    def _versions(self, table: pa.Table, named: Named) -> pa.Array:
        if named.version is None:
            return pa.repeat(pa.scalar(self._plan.version, TEXT), len(table))
        return texts(whole(table[named.version]))

    def _count(self, rows: _Rows, named: Named) -> None:
        """Count columns, version by version."""
        tiles = self._plan.tiles
        for version in sorted(pc.unique(rows.versions).to_pylist()):
            require_name("--version", version)
            mine = rows.where(pc.equal(rows.versions, version).to_numpy(zero_copy_only=False))
            tiles.add(self._plan.counts.increments(version, mine.table, named, mine.times))
            first, last = float(mine.times.min()), float(mine.times.max())
            before = self.seen.get(version, (first, last))
            self.seen[version] = min(first, before[0]), max(last, before[1])

    def _join(self, outcomes: Outcomes, rows: _Rows, fresh: _Rows, named: Named) -> Mapping[str, int]:
        """Join new predictions, and the labels of all rows: one that was imported without may have one by now."""
        bins = self._plan.counts.bins.id
        predictions = prediction_table(fresh.table, fresh.ids, named, fresh.times, fresh.versions, bins)
        tally, kept = outcomes.add(predictions, [] if named.label is None else self._labels(rows, named))
        self._unsettled.append(kept.settle)
        return tally

    def _labels(self, rows: _Rows, named: Named) -> list[tuple[pa.Table, bool]]:
        """Tables of the labels whose times are known, and of those whose are not."""
        assert named.label is not None
        told = rows.where(pc.is_valid(rows.table[named.label]).to_numpy() & ~_is_nan(rows.table[named.label]))
        came = np.full(len(told.times), np.nan)
        if named.label_time is not None:
            came = moments(told.table[named.label_time])
        timed = np.isfinite(came)
        return [
            (label_table(part.table, part.ids, named, at), known)
            for part, at, known in (
                (told.where(timed), came[timed], True),
                (told.where(~timed), np.full(int((~timed).sum()), self._plan.now), False),
            )
            if len(at)
        ]


def moments(column: pa.ChunkedArray) -> np.ndarray:
    """Times as epoch seconds (float64): times, ISO texts (UTC where they have no zone) or epoch seconds; NaN for what is none."""
    found = frames.times([None] * len(column) if pa.types.is_null(column.type) else frames.column(column))
    return np.where(np.abs(found) < _YEARS, found, np.nan)


def _is_nan(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_floating(column.type):
        return np.zeros(len(column), dtype=bool)
    return np.asarray(pc.fill_null(pc.is_nan(column), False).to_numpy())


def _require_features(reference: Reference | None, columns: list[str]) -> None:
    """ImportFailed where the rows hold nothing that the model takes: they are another's."""
    wanted = () if reference is None else reference.schema.features
    if wanted and not set(wanted).intersection(columns):
        raise ImportFailed(
            f"--reference: none of its features ({', '.join(wanted)}) is a column; there are {', '.join(columns)}: give the "
            "reference of this model, or name the columns in a query"
        )
