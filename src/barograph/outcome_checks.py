"""What labels say, looked at each minute: quality, what stakeholders fear, what scores mean, labels that are late, skew.

All of it of predictions whose labels have matured; nothing judges early ones. A new check is a function here and its name in
CHECKS.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from barograph import naming, sentences
from barograph.alert import Condition
from barograph.checks import Look
from barograph.clock import iso
from barograph.concept import INFORMATION, Meaning, Verdict
from barograph.drift import SIGNALS
from barograph.known import Known
from barograph.labels.days import ENOUGH, ENOUGH_DAYS, LATE, LOOKED_BACK, Days, days_of
from barograph.labels.quality import Settled, settled
from barograph.leak import Course, Losses, Usual, course
from barograph.limits import QUALITY, of_quality
from barograph.maturity import FINAL
from barograph.performance import METRICS, Estimate, Metric, with_formulas
from barograph.profile import Profile
from barograph.skew import EARLY_ROWS, Skew, label_skew, skews
from barograph.tiles import DAY, HOUR

FIRST_DAYS = 14  # of a version, that are ordinary by definition where the reference has no labels
FIRST_WEEK = 7 * DAY  # of a version: its labels are compared with those of training
STALE = 14 * DAY  # nothing is said of now by labels of older predictions

_T = TypeVar("_T")


def quality(look: Look) -> list[Condition]:
    """Metrics of confirmed outcomes that the owner limits: past the limit for sure, by the whole of the interval."""
    found = []
    for name, limit in of_quality(look.config.limits).items():
        for metric, told, last in _confirmed(look, name):
            more = bool(metric.higher_is_better)
            text = sentences.quality_low(metric.title, _figures(told), limit, more)
            past = _past(told, limit, below=more)
            one = look.condition(
                naming.QUALITY_LOW, past, last.start, value=told.value, threshold=limit, text=text
            )
            found.append(replace(one, signal=name, by_owner=True))
    return found


def fears(look: Look) -> list[Condition]:
    """What stakeholders fear has come true, for sure."""
    found = []
    for fear in look.config.fears:
        for metric, told, last in _confirmed(look, fear.metric, fear.segment):
            below = fear.worse == "below" if fear.worse else bool(metric.higher_is_better)
            text = sentences.fear(
                fear.name, metric.title, _figures(told), fear.limit, below, fear.owner, fear.feared
            )
            past = _past(told, fear.limit, below=below)
            one = look.condition(
                naming.FEAR_CAME_TRUE, past, last.start, value=told.value, threshold=fear.limit, text=text
            )
            found.append(replace(one, column=fear.name, signal=fear.metric))
    return found


def _confirmed(look: Look, name: str, segment: str = "") -> Iterator[tuple[Metric, Estimate, Settled]]:
    """A metric of the last day that has its labels, of each way that the version is counted."""
    for _, known in look.known():
        if known.outcomes is None:
            continue
        metric = with_formulas(known.outcomes.task, look.config.metrics).get(name)
        if metric is None:
            continue
        model, version = look.version.model, look.version.version
        days = look.days(known.outcomes, segment)
        read = partial(settled, look.tiles, model, version, segment, known.outcomes, look.end, days)
        last = days.once("last", read)
        if last is not None:
            yield metric, days.once(("last", metric.name), partial(last.tell, metric)), last


def _past(told: Estimate, limit: float, *, below: bool) -> bool | None:
    """Whether a limit is passed for sure; None where it is passed, and that may be by chance: what was said stays."""
    if not told.enough or not np.isfinite(told.value):
        return False
    if told.high > told.low and (told.high < limit if below else told.low > limit):
        return True  # rows that are all alike have no interval: three of three are not for sure all
    return None if (told.value < limit if below else told.value > limit) else False


def fall(look: Look) -> list[Condition]:
    """Quality fell within days, or leaks away over weeks, against the days of the reference."""
    found = []
    for days, (usual, losses, starts, went) in _worked_out(look, _course):
        metric = METRICS[days.bins.task][usual.metric]
        value, before = _as_metric(usual.metric, losses.mean[-1]), _as_metric(usual.metric, usual.mean)
        figures = _figures(metric.of(days.profiles[-1]))
        dip = look.condition(
            naming.QUALITY_LOW, went.fall is not None, int(starts[went.fall or 0]), value=value, threshold=before,
            text=sentences.quality_fell(metric.title, figures, before),
        )  # fmt: skip
        if f"{QUALITY}{usual.metric}" not in look.config.limits:
            found.append(replace(dip, signal=usual.metric))
        onset = int(starts[went.leak or 0])
        text = sentences.leak(metric.title, before, value, iso(onset)[:10], went.per_day, went.sudden)
        leak = look.condition(
            naming.SLOW_LEAK, went.leak is not None, onset, value=value, threshold=before, text=text
        )
        found.append(replace(leak, signal=usual.metric))
    return found


def concept(look: Look) -> list[Condition]:
    """What scores promise is not what labels say: by far, two days in a row, or a little for long."""
    found = []
    for days, (since, last) in _worked_out(look, _drifted):
        text = sentences.concept(days.bins.task, last.low, last.high, last.found, last.promised)
        start = int(days.starts[-1] if since is None else since)
        value, line = (None if np.isnan(x) else x for x in (last.value, last.threshold))
        found.append(
            look.condition(
                naming.CONCEPT_DRIFT, since is not None, start, value=value, threshold=line, text=text
            )
        )
    return found


def late(look: Look) -> list[Condition]:
    """Labels that should be there by now have not come: fewer than half of them, and too few for chance."""
    found = []
    for _, known in look.known():
        if known.outcomes is None:
            continue
        days = look.days(known.outcomes)
        due = np.flatnonzero(days.starts + DAY + 2 * days.slow + HOUR < look.end)
        if len(due) < ENOUGH_DAYS or not days.matured[due].any():
            continue
        enough = np.flatnonzero(np.cumsum(days.logged[due][::-1]) >= ENOUGH)
        if not len(enough):
            continue
        lately = due[-1 - int(enough[0]) :]
        start, share, usual = int(days.starts[lately[0]]), days.share_of(lately), FINAL * days.eventual
        period = " to ".join(dict.fromkeys(iso(int(days.starts[i]))[:10] for i in (lately[0], lately[-1])))
        text = sentences.labels_late(share, period, usual)
        found.append(
            look.condition(
                naming.LABELS_LATE, share < LATE * usual, start, value=share, threshold=usual, text=text
            )
        )
    return found


def skew(look: Look) -> list[Condition]:
    """Features of a version's first day, and its labels, that never looked like the training data."""
    found = []
    for bins, known in look.known():
        training = known.reference.training
        if training is None:
            continue
        told = _feature_skews(look, bins, known, training)
        labels = _label_skew(look, known)
        for one in [*told, *([] if labels is None else [labels])]:
            text = sentences.skew(one.column, SIGNALS[one.signal].title, one.value, one.threshold)
            start = look.version.first
            condition = look.condition(
                naming.TRAIN_SERVE_SKEW, one.ratio > 1, start, value=one.value, threshold=one.threshold, text=text
            )  # fmt: skip
            found.append(replace(condition, column=one.column, signal=one.signal))
    return found


CHECKS = (quality, fears, fall, concept, late, skew)


def _figures(told: Estimate) -> str:
    return sentences.quality(told.value, told.low, told.high)


def _worked_out(look: Look, work: Callable[[Look, Known, Days], _T | None]) -> Iterator[tuple[Days, _T]]:
    """What is worked out of the matured days of each way that the version is counted, where it can be."""
    for _, known in look.known():
        days = _matured(look, known)
        told = None if days is None else days.once((work, known), partial(work, look, known, days))
        if days is not None and told is not None:
            yield days, told


def _matured(look: Look, known: Known) -> Days | None:
    """Matured days of a version with enough labels each; None where there are none of late."""
    if known.outcomes is None:
        return None
    days = look.days(known.outcomes).settled
    recent = len(days) and look.end - days.starts[-1] <= max(STALE, 3 * np.nan_to_num(days.slow))
    return days if recent else None


def _course(look: Look, known: Known, days: Days) -> tuple[Usual, Losses, np.ndarray, Course] | None:
    """What is usual, the losses of the days that are judged by it, their starts, and how they went."""
    losses, usual, after = Losses.of(days.profiles), known.usual, -np.inf
    if usual is None or usual.metric != losses.metric:
        first, after = _first_days(look, days)
        usual = Usual.learn(Losses.of(first.profiles)) if len(first) else None
    told = np.flatnonzero((losses.rows > 0) & (days.starts > after))
    if usual is None or usual.metric != losses.metric or not len(told):
        return None
    losses = losses.at(told)
    return usual, losses, days.starts[told], course(usual, losses)


def _drifted(look: Look, known: Known, days: Days) -> tuple[float | None, Verdict] | None:
    """Since when scores do not mean what they meant, and by what; None where labels do not tell."""
    meaning, after = known.meaning, -np.inf
    if meaning is None:
        first, after = _first_days(look, days)
        meaning = Meaning.learn(days.bins, first.counts) if len(first) else None
    if meaning is None:
        return None
    later = days.where(days.starts > after)
    told = later.pooled(2 * INFORMATION, meaning.information(later.counts))
    if not len(told):
        return None
    onset, verdict = meaning.course(told.counts)
    return None if onset is None else float(told.starts[onset]), verdict


def _first_days(look: Look, days: Days) -> tuple[Days, float]:
    """The first 14 days of a version that have their labels, and the start of the last of them; `days` are its last 90."""
    begin, name = look.version.first // DAY * DAY, look.version
    if look.end - begin > LOOKED_BACK * DAY:
        days = days_of(look.tiles, name.model, name.version, days.bins, begin + LOOKED_BACK * DAY).settled
    first = days.where(np.arange(min(FIRST_DAYS, len(days))))
    return first, float(first.starts[-1]) if len(first) else -np.inf


def _as_metric(name: str, loss: float) -> float:
    return float(1 - loss if name == "accuracy" else loss)


def _feature_skews(look: Look, bins: str, known: Known, training: Profile) -> list[Skew]:
    """Of a version's first day: worked out once it is over, and all of it is counted."""
    key = (look.version.model, look.version.version, look.version.first)
    if key in known.of_versions:
        return known.of_versions[key]  # type: ignore[no-any-return]
    found = skews(known.calibration, training, look.early(bins))
    if look.end >= look.version.first + DAY + 2 * HOUR:
        known.of_versions[key] = found
    return found


def _label_skew(look: Look, known: Known) -> Skew | None:
    """Labels of a version's first days against those of the training data."""
    labels = known.reference.training_labels
    if labels is None or known.outcomes is None:
        return None
    days = look.days(known.outcomes)
    first = days.where(days.matured & (days.starts < look.version.first + FIRST_WEEK)).pooled(EARLY_ROWS)
    if not len(first):
        return None
    total = first.profiles[0]
    return label_skew(labels, total.answers.sum(axis=1), known.label_spread)
