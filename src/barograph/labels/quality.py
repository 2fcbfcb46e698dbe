"""What confirmed outcomes say: metrics over the last day of predictions of which nearly all labels have come."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from barograph import naming
from barograph.counters import Series
from barograph.labels.counting import CELLS, age_series, logged_series, outcome_series
from barograph.maturity import FINAL, lag_quantiles
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.performance import metrics
from barograph.tiles import DAY, HOUR, Tiles

LOOKED_BACK = 30 * DAY  # over which a settled day is looked for
ENOUGH = 50  # labels of a day, below which it is joined with the days before


@dataclass(frozen=True, eq=False)
class Settled:
    """Outcomes of the predictions from `start` to `end` (epoch seconds), of which a share of `complete` has its label."""

    start: int
    end: int
    complete: float
    profile: OutcomeProfile


def settled(
    tiles: Tiles, model: str, version: str, segment: str, bins: OutcomeBins, now: float
) -> Settled | None:
    """The last day of which 95 % of the labels have come, or as many days before it as hold 50; None where there is none."""
    end = int(now // HOUR + 1) * HOUR
    series = outcome_series(model, version, segment, bins)
    (labelled,) = tiles.windows_many([series], end - LOOKED_BACK, end, HOUR, bins.answered)
    (logged,) = tiles.windows_many([logged_series(model, version, segment)], end - LOOKED_BACK, end, HOUR)
    labels = np.append(0, np.cumsum(labelled.counts.sum(axis=1)))
    made = np.append(0, np.cumsum(logged.counts[:, 0]))
    hours = DAY // HOUR
    for last in range(len(labels) - 1, hours - 1, -1):
        first = min(last - hours, int(np.searchsorted(labels, labels[last] - ENOUGH, side="right")) - 1)
        if first < 0:
            return None
        if made[last] > made[first] and labels[last] - labels[first] >= FINAL * (made[last] - made[first]):
            start, stop = (int(end - LOOKED_BACK + i * HOUR) for i in (first, last))
            found = tiles.window(series, start, stop)
            complete = float((labels[last] - labels[first]) / (made[last] - made[first]))
            return Settled(start, stop, complete, OutcomeProfile(bins, found.counts, found.sums))
    return None


def quality_gauges(
    tiles: Tiles, model: str, version: str, bins: OutcomeBins, now: float
) -> Iterator[tuple[naming.Metric, dict[str, str], float]]:
    """Gauges of a version: each metric that can be told, with its interval; the share of labels that came of the last day, and
    how long they take."""
    names = {"model": model, "version": version}
    for segment in segments_of(tiles, model, version):
        found = settled(tiles, model, version, segment, bins, now)
        for name, told in () if found is None else metrics(found.profile).items():
            labels = {**names, "segment": segment, "metric": name, "basis": "confirmed"}
            if told.enough and np.isfinite(told.value):
                yield naming.QUALITY, labels, told.value
                yield naming.QUALITY_LOWER, labels, told.low
                yield naming.QUALITY_UPPER, labels, told.high
    day = int(now) - DAY
    made = tiles.window(logged_series(model, version, ""), day, now + HOUR).counts[0]
    vector = tiles.window(outcome_series(model, version, "", bins), day, now + HOUR)
    if made:
        yield naming.LABEL_COMPLETENESS, names, OutcomeProfile(bins, vector.counts, vector.sums).rows / made
    ages = (
        tiles.window(age_series(model, version, bins), now - 30 * DAY, now + HOUR).counts
        if bins.task == "binary"
        else None
    )
    if ages is not None and ages.any():
        median, p90 = lag_quantiles(ages.reshape(2, -1, CELLS).sum(axis=(0, 2)), [0.5, 0.9])
        for quantile, seconds in (("0.5", median), ("0.9", p90)):
            if np.isfinite(seconds):
                yield naming.LABEL_LAG, {**names, "quantile": quantile}, float(seconds)


def segments_of(tiles: Tiles, model: str, version: str) -> list[str]:
    """All rows (empty), and each segment that predictions of a version were in."""
    found: list[Series] = tiles.series(naming.LOGGED, model=model, version=version)
    return sorted({series.label("segment") or "" for series in found})
