"""An owner's limits over a reference's bins: what they count, what they make of verdicts, and what they cannot see.

A row is past a limit where its whole bin is: what is counted is never more than there is. It is exact where the limit is an
edge, as it is where the reference was fitted with it (`declared`).
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from barograph import sentences
from barograph.bins import Bins, BinSet, CategoryBins, NumericBins, hash64
from barograph.calibrate import FAULTY_ROWS, FAULTY_SHARE, Verdicts
from barograph.drift import SIGNALS as NAMED
from barograph.limits import QUALITY, TYPES, ColumnLimits, of_columns, of_quality
from barograph.naming import OTHER
from barograph.performance import METRICS
from barograph.reference import Reference
from barograph.schema import Schema

NOT_KEPT = "not kept"  # how a note of a limit begins that changes nothing
NOTHING = 1e-12  # the line of a limit of 0: any row is past it
_MORE = re.compile(r".+ and \d+ more( \(\d+\))?")


@dataclass(frozen=True, eq=False)
class Bound:
    """A column's bounds over its bins: `mask` bool[size] are the slots wholly past them, `exact` whether none is so in part."""

    mask: np.ndarray
    exact: bool
    note: str | None = None

    @classmethod
    def of(cls, bins: Bins, limits: ColumnLimits, *, whole: bool = False) -> "Bound":
        """`whole` says that the column holds whole numbers only.

        >>> bins = NumericBins(np.array([0.0, 8.0, 12.0, 16.0]), low=0.0, high=16.0)
        >>> bound = Bound.of(bins, ColumnLimits({}, maximum=10.0))
        >>> bound.mask.tolist(), bound.exact
        ([True, False, False, True, True, False, True], False)
        """
        if isinstance(bins, CategoryBins):
            return _categories(bins, limits)
        values = (0.0, 1.0) if limits.type == "boolean" and not limits.values else limits.values
        mask = np.zeros(bins.size, dtype=bool)
        mask[bins.invalid] = True
        if values:
            return _listed(bins, mask, values, whole or limits.type == "boolean")
        return _between(bins, mask, limits, whole)


def _between(bins: NumericBins, mask: np.ndarray, limits: ColumnLimits, whole: bool) -> Bound:
    """Values go right on an edge: a maximum is exact where the next float above it is an edge."""
    lower, upper = np.append(-np.inf, bins.edges), np.append(bins.edges, np.inf)
    inside, notes = bins.values, []
    low, high = limits.minimum, limits.maximum
    if low is None:
        mask[:inside] |= bins.outside[:inside] & (upper <= bins.low)
    else:
        mask[:inside] |= upper <= low
        partly = (lower < low) & (upper > low) & ~((lower > np.ceil(low) - 1) if whole else False)
        notes += [f"{low:g} is no edge: rows below {_cut(lower, partly)} are counted"] if partly.any() else []
    if high is None:
        mask[:inside] |= bins.outside[:inside] & (lower >= bins.high)
    else:
        above = np.nextafter(high, np.inf)
        mask[:inside] |= lower >= above
        partly = (lower < above) & (upper > above) & ~((upper <= np.floor(high) + 1) if whole else False)
        notes += (
            [f"{high:g} is no edge: rows from {_cut(upper, partly)} on are counted"] if partly.any() else []
        )
    note = "; ".join(notes)
    return Bound(mask, not note, f"{note}; fit the reference with its limits to count all" if note else None)


def _cut(ends: np.ndarray, here: np.ndarray) -> str:
    return f"{float(ends[here][0]):g}"


def _listed(bins: NumericBins, mask: np.ndarray, values: Sequence[float], whole: bool) -> Bound:
    """Numbers share a bin with others, unless each has one of its own."""
    slots = bins.index(np.array(values, dtype=np.float64))
    mask[: bins.values] = True
    mask[slots] = False
    ends = np.concatenate([[-np.inf], bins.edges, [np.inf]])
    shared = (ends[slots + 1] - ends[slots] > (1.0 if whole else 1e-9)).any()
    note = "numbers that share a bin with a listed one are not counted" if shared else None
    return Bound(mask, not shared, note)


def _categories(bins: CategoryBins, limits: ColumnLimits) -> Bound:
    """A category without a bin of its own lies among others: these are not counted then.

    Cells that Prometheus shows hold several categories: one that is allowed lets all of its cell pass.
    """
    mask = np.zeros(bins.size, dtype=bool)
    mask[bins.invalid] = True
    if not limits.values:
        return Bound(mask, True)
    wanted = {str(value) for value in limits.values}
    mask[: bins.unseen + 1] = True
    placed: set[str] = set()
    several = False
    for slot, name in enumerate(bins.categories):
        here = {name} & wanted or set(name.split(", ")) & wanted
        placed |= {
            name
        } & wanted  # a name with a comma may be one category: what seems to be in it may lie elsewhere
        several |= bool(here) and name not in wanted
        mask[slot] = not here
    notes = ["a cell of several categories passes where one of them is allowed"] if several else []
    lost = sorted(wanted - placed)
    if lost:
        known = [name for name in lost if bins.open or hash64(name) in bins.rare]
        shared = [i for i, name in enumerate(bins.categories) if _MORE.fullmatch(name) or OTHER in name.split(", ")]  # fmt: skip
        mask[[*shared, bins.other]] = False
        mask[bins.unseen] = len(known) == len(lost)
        what = "rare ones" if mask[bins.unseen] else "rare and unseen ones"
        notes.append(f"{', '.join(lost[:3])} has no bin of its own: {what} are not counted")
    return Bound(mask, not notes, "; ".join(notes) or None)


@dataclass(frozen=True, eq=False)
class Limited:
    """The limits of a model's columns over the bins of one reference. Without limits it changes nothing.

    >>> reference = Reference.fit({"x": [float(i) for i in range(100)]}, task="regression")
    >>> Limited.of(reference, {"x.max": 50.0, "y.D": 0.1}).columns["x"].maximum
    50.0
    """

    bins: BinSet
    columns: Mapping[str, ColumnLimits]
    bounds: Mapping[str, Bound]

    @classmethod
    def of(cls, reference: Reference, limits: Mapping[str, Any]) -> "Limited":
        """What of a model's `limits` (by flat name) concerns the columns of a reference."""
        mine = {name: one for name, one in of_columns(limits).items() if name in reference.bins.columns}
        bounds = {
            name: Bound.of(reference.bins.columns[name], one, whole=_whole(reference.schema, name))
            for name, one in mine.items()
            if one.bounded and _fits(reference, name, one) is None
        }
        return cls(reference.bins, mine, bounds)

    @cached_property
    def _names(self) -> list[str]:
        return list(self.bins.columns)

    def by_owner(self, column: str, signal: str) -> bool:
        """Whether the line of a signal is the owner's.

        A limit of what may be in a column, or be missing, is one of O, or of A.
        """
        one = self.columns.get(column)
        return one is not None and (
            signal in one.signals
            or (signal == "A" and one.missing is not None)
            or (signal == "O" and column in self.bounds)
        )

    def owned(self, signal: str) -> np.ndarray:
        """bool[C]: the columns whose line of a signal is the owner's."""
        return np.array([self.by_owner(name, signal) for name in self._names], dtype=bool)

    def __call__(self, verdicts: Verdicts, counts: np.ndarray, *, moves: bool = True) -> Verdicts:
        """Verdicts of W windows, counts int64[W, slots], with the owner's limits in the place of what was calibrated.

        How far D and L move depends on the rows of a window; their limits are for windows of one length. Where these are
        others (`moves` is false) they have no line.
        """
        if not self.columns:
            return verdicts
        values = {s: v.copy() for s, v in verdicts.values.items()}
        lines = {s: v.copy() for s, v in verdicts.thresholds.items()}
        for name, one in self.columns.items():
            i, live = self._names.index(name), counts[:, self.bins.slice(name)]
            rows = np.maximum(verdicts.rows[:, i], 1).astype(np.float64)
            if one.missing is not None:
                slots = [self.bins.columns[name].missing, self.bins.columns[name].invalid]
                values["A"][:, i] = np.where(
                    np.isnan(values["A"][:, i]), np.nan, live[:, slots].sum(axis=1) / rows
                )
                lines["A"][:, i] = max(one.missing, NOTHING)
            if name in self.bounds:
                past = live[:, self.bounds[name].mask].sum(axis=1) / rows
                values["O"][:, i] = np.where(np.isnan(values["O"][:, i]), np.nan, past)
                lines["O"][:, i] = np.maximum(FAULTY_SHARE, (FAULTY_ROWS - 0.5) / rows)
            for signal, limit in one.signals.items():
                lines[signal][:, i] = max(limit, NOTHING) if moves or signal in "AUO" else np.nan
        return replace(verdicts, values=values, thresholds=lines)

    def alarms(
        self, calibrated: Mapping[str, np.ndarray], ratios: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Alarms, bool (W, C) by signal, of which those of an owner's limit need no second window: past it is past it."""
        if not self.columns:
            return dict(calibrated)
        with np.errstate(invalid="ignore"):
            return {s: np.where(self.owned(s), ratios[s] > 1, found) for s, found in calibrated.items()}

    def text(self, column: str, signal: str, value: float, line: float, said: str) -> str:
        """What is said of a signal that is past its owner's limit; `said` is what is said of it anyway."""
        one = self.columns.get(column)
        if one is None or not self.by_owner(column, signal):
            return said
        allowed = sentences.share(line) if signal in "AUO" else sentences.number(line)
        if signal == "O" and column in self.bounds:
            least = "" if self.bounds[column].exact else "at least "
            said = f"{column} is {described(one)} in {least}{sentences.share(value)} of rows"
        elif signal in "DL":
            said = f"{said}: {NAMED[signal].title.lower()} {sentences.number(value)}"
        return sentences.limited(said, allowed)


def described(one: ColumnLimits) -> str:
    """What a value past the bounds is.

    >>> described(ColumnLimits({}, minimum=0.0)), described(ColumnLimits({}, values=("DE", "FR")))
    ('below 0', 'none of DE, FR')
    """
    low, high = one.minimum, one.maximum
    if one.values:
        listed = [f"{v:g}" if isinstance(v, float) else str(v) for v in one.values]
        return f"none of {', '.join(listed[:4])}{' ...' if len(listed) > 4 else ''}"
    if low is not None and high is not None:
        return f"outside {sentences.number(low)} to {sentences.number(high)}"
    if low is not None:
        return f"below {sentences.number(low)}"
    if high is not None:
        return f"above {sentences.number(high)}"
    return {"number": "no number", "boolean": "no boolean", "time": "no time"}.get(one.type or "", "no text")


def notes(
    references: Iterable[Reference], limits: Mapping[str, Any], metrics: Iterable[str] = ()
) -> dict[str, str]:
    """What is to be known of limits, by flat name: that one is not kept, and why, or what it does not count.

    `metrics` are the owner's own.
    """
    listed, found = list(references), dict[str, str]()
    if not listed:
        return {}
    task, own = listed[0].task, set(metrics)
    for metric in of_quality(limits).keys() - own - METRICS.get(task, {}).keys():
        found[f"{QUALITY}{metric}"] = f"{NOT_KEPT}: the labels of a {task} model tell no {metric}"
    known = [name for reference in listed for name in reference.bins.columns]
    for name, one in of_columns(limits).items():
        mine = [key for key in limits if key.rpartition(".")[0] == name]
        reference = next((r for r in listed if name in r.bins.columns), None)
        if reference is None:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known[:8])}"
            found |= dict.fromkeys(mine, f"{NOT_KEPT}: the reference has no column {name!r}; {hint}")
            continue
        found |= _notes_of(reference, name, one)
    return found


def _notes_of(reference: Reference, name: str, one: ColumnLimits) -> dict[str, str]:
    found: dict[str, str] = {}
    bins = reference.bins.columns[name]
    bounded = [f"{name}.{what}" for what, value in _written(one).items() if value]
    misfit = _fits(reference, name, one)
    if misfit is not None:
        found |= dict.fromkeys(bounded, f"{NOT_KEPT}: {misfit}")
    elif bounded:
        note = Bound.of(bins, one, whole=_whole(reference.schema, name)).note
        found |= {} if note is None else dict.fromkeys(bounded, note)
    if "L" in one.signals and isinstance(bins, CategoryBins):
        found[f"{name}.L"] = f"{NOT_KEPT}: {name} is a category, which has no location; limit its D"
    if "U" in one.signals and (not isinstance(bins, CategoryBins) or bins.open):
        why = "is no category" if not isinstance(bins, CategoryBins) else "has new categories all the time"
        found[f"{name}.U"] = f"{NOT_KEPT}: {name} {why}; what is unseen is no news there"
    return found


def _written(one: ColumnLimits) -> dict[str, bool]:
    ends = {"min": one.minimum is not None, "max": one.maximum is not None}
    return {**ends, "values": bool(one.values), "type": one.type is not None}


def _fits(reference: Reference, name: str, one: ColumnLimits) -> str | None:
    """Why bounds cannot be kept in a column; None where they can."""
    kind, bins = reference.schema[name].kind if name in reference.schema else None, reference.bins.columns[name]  # fmt: skip
    if one.type is not None and kind is not None and kind not in TYPES[one.type]:
        other = next(t for t, kinds in TYPES.items() if kind in kinds)
        return f"{name} is a {other} in the reference, and its values were counted as such; fit it anew with the right kind"
    texts = any(isinstance(value, str) for value in one.values)
    if isinstance(bins, CategoryBins) and (one.minimum is not None or one.maximum is not None):
        return f"{name} is a text in the reference, which has no range; limit its values"
    if isinstance(bins, CategoryBins) is not texts and one.values:
        return f"{name} holds {'numbers' if texts else 'texts'} in the reference; list such"
    return None


def _whole(schema: Schema, name: str) -> bool:
    return name in schema and schema[name].kind in ("integer", "boolean")


def declared(schema: Schema, limits: Mapping[str, Any]) -> Schema:
    """A schema with the owner's ranges: a reference that is fitted with it has them for edges, and counts to the row.

    >>> from barograph.schema import Column
    >>> declared(Schema((Column("x", "numeric"),)), {"x.min": 0.0}).columns[0].minimum
    0.0
    """
    ranges = of_columns(limits)
    columns = []
    for column in schema.columns:
        one = ranges.get(column.name)
        if one is not None and column.numbers:
            low = column.minimum if one.minimum is None else one.minimum
            high = column.maximum if one.maximum is None else one.maximum
            columns.append(replace(column, minimum=low, maximum=high))
        else:
            columns.append(column)
    return Schema(tuple(columns))
