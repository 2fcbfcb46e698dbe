"""What confirmed outcomes say: metrics over the last day of predictions of which nearly all labels have come."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import numpy as np

from barograph import naming
from barograph.counters import Series
from barograph.estimate import Calibration, estimate
from barograph.labels.counting import (
    ARRIVED,
    CELLS,
    age_series,
    arrival_series,
    logged_series,
    outcome_series,
)
from barograph.labels.days import ENOUGH, Days, days_of
from barograph.maturity import FINAL, LEAST, lag_quantiles, weighted
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.performance import Estimate, Metric, with_formulas
from barograph.tiles import DAY, HOUR, Tiles

LOOKED_BACK = 30 * DAY  # over which a settled day is looked for, more where labels take longer
FARTHEST = 95 * DAY  # hours are not kept for ever
EARLY_DAYS = 14  # back, that early labels are weighed of
WIDER = (7 * DAY, 30 * DAY)  # for metrics that need more cases than a day has


@dataclass(frozen=True, eq=False)
class Settled:
    """Outcomes of the predictions from `start` to `end` (epoch seconds), of which a share of `complete` has its label.

    `wider` are the outcomes of longer times to the same end, the shortest first, read where they are asked for.
    """

    start: int
    end: int
    complete: float
    profile: OutcomeProfile
    wider: tuple[Callable[[], OutcomeProfile], ...] = ()

    def tell(self, metric: Metric) -> Estimate:
        """A metric of the shortest time that has enough cases for it; of the day itself, where none has."""
        told = metric.of(self.profile)
        if told.enough:
            return told
        return next((one for read in self.wider if (one := metric.of(read())).enough), told)


def settled(
    tiles: Tiles,
    model: str,
    version: str,
    segment: str,
    bins: OutcomeBins,
    now: float,
    days: Days | None = None,
) -> Settled | None:
    """The last day of which 95 % of the labels have come, or as many days before it as hold 50; None where there is none.

    Of the labels that ever come, as `days` tell, the version's (or the segment's) own.
    """
    days = days_of(tiles, model, version, bins, now, segment) if days is None else days
    back = np.clip(np.nan_to_num(2 * days.slow + 7 * DAY, posinf=FARTHEST), LOOKED_BACK, FARTHEST)
    end = int(now // HOUR + 1) * HOUR
    begin, series = end - int(back) // HOUR * HOUR, outcome_series(model, version, segment, bins)
    (labelled,) = tiles.windows_many([series], begin, end, HOUR, bins.answered)
    (logged,) = tiles.windows_many([logged_series(model, version, segment)], begin, end, HOUR)
    labels = np.append(0, np.cumsum(labelled.counts.sum(axis=1)))
    made = np.append(0, np.cumsum(logged.counts[:, 0]))
    last = np.arange(DAY // HOUR, len(labels))
    first = np.minimum(last - DAY // HOUR, np.searchsorted(labels, labels[last] - ENOUGH, side="right") - 1)
    last, first = last[first >= 0], first[first >= 0]
    of, came = made[last] - made[first], labels[last] - labels[first]
    complete = np.flatnonzero((of > 0) & (came >= FINAL * days.eventual * of))
    if not len(complete):
        return None
    i = complete[-1]
    start, stop = (int(begin + hours[i] * HOUR) for hours in (first, last))

    def read(start: int) -> OutcomeProfile:
        found = tiles.window(series, start, stop)
        return OutcomeProfile(bins, found.counts, found.sums)

    wider = tuple(cache(partial(read, stop - span)) for span in WIDER if stop - span < start)
    return Settled(start, stop, float(came[i] / of[i]), read(start), wider)


def quality_gauges(
    tiles: Tiles,
    model: str,
    version: str,
    bins: OutcomeBins,
    now: float,
    *,
    formulas: Mapping[str, str] = MappingProxyType({}),
    expected: Mapping[str, Estimate] = MappingProxyType({}),
) -> Iterator[tuple[naming.Metric, dict[str, str], float]]:
    """Gauges of a version: each metric that can be told, with its interval; the share of labels that came of the last day, and
    how long they take.

    Confirmed ones are of the last day that has its labels, weighted ones of the last days that have not, and `expected` ones of
    the last day whatever its labels. `formulas` are metrics of the owner's.
    """
    names = {"model": model, "version": version}
    known = with_formulas(bins.task, formulas)
    days = days_of(tiles, model, version, bins, now)
    for segment in segments_of(tiles, model, version):
        found = settled(tiles, model, version, segment, bins, now, None if segment else days)
        told = {} if found is None else {name: found.tell(metric) for name, metric in known.items()}
        yield from _told({**names, "segment": segment, "basis": "confirmed"}, told)
    yield from _told({**names, "segment": "", "basis": "weighted"}, early(tiles, model, version, days))
    yield from _told({**names, "segment": "", "basis": "estimated"}, expected)
    day = int(now) - DAY
    made = tiles.window(logged_series(model, version, ""), day, now + HOUR).counts[0]
    vector = tiles.window(outcome_series(model, version, "", bins), day, now + HOUR)
    if made:
        yield naming.LABEL_COMPLETENESS, names, OutcomeProfile(bins, vector.counts, vector.sums).rows / made
    arrived = tiles.window(arrival_series(model, version, bins), 0, now + HOUR).counts
    for outcome, labels in zip(ARRIVED[bins.task], arrived.tolist(), strict=True):
        yield naming.OUTCOMES_ARRIVED, {**names, "outcome": outcome}, labels
    ages = tiles.window(age_series(model, version, bins), now - 30 * DAY, now + HOUR).counts
    if ages.any():
        median, p90 = lag_quantiles(ages.reshape(2, -1, CELLS).sum(axis=(0, 2)), [0.5, 0.9])
        for quantile, seconds in (("0.5", median), ("0.9", p90)):
            if np.isfinite(seconds):
                yield naming.LABEL_LAG, {**names, "quantile": quantile}, float(seconds)


def early(tiles: Tiles, model: str, version: str, days: Days) -> dict[str, Estimate]:
    """Metrics of the last predictions whose labels are still arriving, weighed: of the last day where labels take less than one,
    else of as many days back as it takes to tell them."""
    maturity, span = days.maturity, HOUR if days.slow < DAY else DAY
    if maturity is None:
        return {}
    coming = _hours(tiles, model, version, days) if span == HOUR else _open_days(days)
    cohorts = [one for one in coming if maturity.share(one[0], span).min() >= LEAST]  # else it is too early
    found: dict[str, Estimate] = {}
    for n in range(max(len(cohorts) if span == HOUR else 1, 1), len(cohorts) + 1):
        found = weighted(maturity, cohorts[:n], span=span).estimates
        if any(one.enough for one in found.values()):
            break
    return found


def _open_days(days: Days) -> list[tuple[float, OutcomeProfile]]:
    """Outcomes of the last days whose labels are still arriving, the latest first: how old each is, and what has come."""
    chosen = np.flatnonzero(~days.matured).tolist()[: -EARLY_DAYS - 1 : -1]
    return [(days.now - float(days.starts[i]) - DAY, days.profiles[i]) for i in chosen]


def _hours(tiles: Tiles, model: str, version: str, days: Days) -> list[tuple[float, OutcomeProfile]]:
    """Outcomes of the hours of the last day that are over: how old each is, and what has come."""
    end = int(days.now // HOUR) * HOUR
    found = tiles.windows(outcome_series(model, version, "", days.bins), end - DAY, end, HOUR)
    return [
        (days.now - start - HOUR, OutcomeProfile(days.bins, counts, sums))
        for start, counts, sums in zip(found.starts.tolist(), found.counts, found.sums, strict=True)
        if counts.any()
    ]


def expected(
    tiles: Tiles, columns: Series, slots: slice, promised: Calibration | None, now: float
) -> Mapping[str, Estimate]:
    """Metrics of the last day as scores promise them; `slots` are those of the score, or of the expected
    error, among the columns' counts."""
    if promised is None:
        return {}
    return estimate(promised, tiles.window(columns, now - DAY, now).counts[slots])


def _told(
    labels: Mapping[str, str], found: Mapping[str, Estimate]
) -> Iterator[tuple[naming.Metric, dict[str, str], float]]:
    for name, told in found.items():
        if told.enough and np.isfinite(told.value):
            for metric, value in (
                (naming.QUALITY, told.value), (naming.QUALITY_LOWER, told.low), (naming.QUALITY_UPPER, told.high),
            ):  # fmt: skip
                yield metric, {**labels, "metric": name}, value


def segments_of(tiles: Tiles, model: str, version: str) -> list[str]:
    """All rows (empty), and each segment that predictions of a version were in."""
    found: list[Series] = tiles.series(naming.LOGGED, model=model, version=version)
    return sorted({series.label("segment") or "" for series in found})
