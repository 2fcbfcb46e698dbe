"""The weekly refresh: what is ordinary is learnt anew from the reference's weeks and those that a version has lived since.

The reference's shares stay what they are, so that a slow change adds up; only the lines move, and no farther
than 1.25 times where they first were: else a slow enough drift would teach them that nothing is out of the
ordinary. What a line may not follow shows as `creeping`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from barograph.bins import CELL_UNSEEN
from barograph.calibrate import BOUND, FLOORS, Calibration, Hours, fitted, own_hours
from barograph.drift import Columns, Totals
from barograph.lanes import DAY, HOUR
from barograph.reference import Reference

WEEK = 7 * DAY
LEARNT, CLAIMED = 14, 28  # days of live traffic: lines are drawn; the budget is claimed
CREEP, CREEP_DAYS = 0.5, 7


@dataclass(frozen=True, eq=False)
class Live:
    """The closed hours that a version has lived: `starts` int64[T] epoch seconds, in order; `counts` int64[T, slots]."""

    starts: np.ndarray
    counts: np.ndarray


def due(first: float, now: float, *, learning: bool = False) -> int:
    """Up to when the hours count that lines at `now` are drawn from, for a version first seen at `first`; epoch seconds.

    Once a week, at midnight UTC; once a day while a version is `learning`. Between two of these moments the
    lines stay what they are.

    >>> due(0.0, 20 * 86_400.0) // 86_400, due(0.0, 20 * 86_400.0, learning=True) // 86_400
    (14, 20)
    """
    every, begin = DAY if learning else WEEK, int(first // DAY * DAY)
    return begin + int(max(now - begin, 0) // every) * every


def refresh(
    first: Calibration,
    reference: Reference,
    live: Live,
    *,
    leave_out: np.ndarray | None = None,
    taught: Collection[tuple[str, str]] = (),
) -> Calibration:
    """Draw a lane's lines anew from the reference's hours and those of a version; the same inputs give the same lines.

    `first` is the first calibration of the lane, `leave_out` bool[T] or bool[T, C] says which hours of `live`
    belong to incidents. `taught` are the (column, signal) pairs that a person marked "not a problem": their
    lines may rise as they need to. Where `first` is learning, the hours of `live` alone tell what is
    ordinary, from 14 days of them on.
    """
    firsts = {first.lane.name: first}
    return refresh_lanes(firsts, reference, live, leave_out=leave_out, taught=taught)[first.lane.name]


def refresh_lanes(
    firsts: Mapping[str, Calibration],
    reference: Reference,
    live: Live,
    *,
    leave_out: np.ndarray | None = None,
    taught: Collection[tuple[str, str]] = (),
) -> dict[str, Calibration]:
    """The same for the lanes of a model, by name, as `calibrate_lanes` gave them."""
    columns = next(iter(firsts.values())).columns
    known = np.ones((len(live.starts), len(columns)), dtype=bool)
    if leave_out is not None:
        if len(leave_out) != len(live.starts):
            raise ValueError(
                f"leave_out: {len(leave_out)} hours, but live has {len(live.starts)}; give one each"
            )
        known &= ~(leave_out[:, None] if leave_out.ndim == 1 else leave_out)
    hours, marks = _live_hours(columns, live, known), frozenset(taught)
    found = {n: _learnt(first, hours, marks) for n, first in firsts.items() if first.learning is not None}
    others = {n: replace(first, first=first, taught=marks) for n, first in firsts.items() if n not in found}
    if others and reference.windows is not None:
        own = own_hours(columns, reference.windows)
        found |= {name: fitted(first, [own, hours], "the reference") for name, first in others.items()}
    return found


def creeping(first: Calibration, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Slow changes, which lines would follow: by signal bool (D, C), of D days with their counts int64[D, slots] in order.

    True where 7 days together, one of them among the last 7, are farther from the reference than half of what
    a single day may be by the first daily calibration: what makes one day differ from the next cancels out in
    a week. D is the square of a distance, and goes by a quarter. The first 6 days are never creeping.
    """
    sums = np.cumsum(np.vstack([np.zeros_like(counts[:1]), counts]), axis=0)
    weeks = sums[CREEP_DAYS:] - sums[:-CREEP_DAYS]
    values, lines = first.verdicts(weeks).values, first.verdicts(counts).thresholds
    out = {}
    for signal in BOUND:
        out[signal] = np.zeros((len(counts), len(first.columns)), dtype=bool)
        most = (CREEP**2 if signal == "D" else CREEP) * lines[signal][CREEP_DAYS - 1 :]
        beyond = values[signal] > np.maximum(most, FLOORS[signal])
        for later in range(CREEP_DAYS):  # weeks that share a day are no two changes
            out[signal][CREEP_DAYS - 1 + later :] |= beyond[: len(beyond) - later]
    return out


def _live_hours(columns: Columns, live: Live, known: np.ndarray) -> Hours:
    totals = columns.totals(live.counts)
    novel = np.where(columns.tests_unseen, totals.cells[..., CELL_UNSEEN], np.nan)
    return Hours(live.starts, totals, novel, known, own=False)


def _learnt(first: Calibration, hours: Hours, taught: frozenset[tuple[str, str]]) -> Calibration:
    """Lines of a reference that tells nothing of ordinary weeks: after 14 days, held from 28 on."""
    over = int(hours.starts[-1] + HOUR) // DAY if len(hours.starts) else 0
    lived = np.unique(hours.starts[hours.rows > 0] // DAY)
    lived = lived[lived < over]  # days that are over
    if len(lived) < LEARNT:
        why = f"{first.learning}; {len(lived)} of {LEARNT} days of live traffic are there to learn from"
        return replace(first, learning=why)
    what = "live traffic"
    if len(lived) < CLAIMED:
        found = fitted(replace(first, learning=None), [hours], what)
        note = (
            f"calibrated on {found.days} days of live traffic; the budget is claimed from {CLAIMED} days on"
        )
        return replace(found, note=note)
    end = (int(lived[CLAIMED - 1]) + 1) * DAY
    early = fitted(replace(first, learning=None), [_until(hours, end)], what)
    return fitted(replace(early, first=early, taught=taught), [hours], what)


def _until(hours: Hours, end: int) -> Hours:
    before = hours.starts < end
    t = hours.totals
    totals = Totals(t.cells[before], t.ridits[before], t.faulty[before])
    return Hours(hours.starts[before], totals, hours.novel[before], hours.known[before], hours.own)
