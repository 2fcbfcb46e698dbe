"""Outcomes: were the answers right? What labels say of a version, by the time of the prediction, from the tiles.

A new metric of the page is its name in SHOWN. Nothing here alerts: a section says what is known, and on how many labels.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from barograph import sentences
from barograph.bins import score_alone
from barograph.clock import iso
from barograph.console.expected import Early, Learnt, Promised, learnt_from
from barograph.console.panels import Panel, line, panel
from barograph.console.state import DAY, HOUR, View, listed, plain
from barograph.counters import Series
from barograph.drift import MINIMUM_ROWS
from barograph.estimate import MINIMUM
from barograph.labels.counting import age_series, logged_series, outcome_series
from barograph.labels.days import days_of
from barograph.maturity import AGES, lag_quantiles
from barograph.naming import LEARNING, NO_DATA, OK
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.performance import METRICS, Estimate, confusion
from barograph.traffic import shares

CONFIRMED = 0.9  # of the labels, from which a metric counts as confirmed
SHOWN = {
    "binary": ("roc_auc", "precision", "recall"),
    "multiclass": ("accuracy",),
    "regression": ("mae",),
}
SHORT = {"roc_auc": "AUC", "mae": "MAE"}
# Seconds between two points, and of the windows to each: one holds the one before it a whole number of times.
STEPS = (HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 7 * DAY)
MOST_POINTS = 96
HELD = 0.8  # of the windows hold enough labels; narrower ones would say "too few" too often
LEARNT = 60  # days of labels before the span, from which it is learnt what scores promise
DIGITS = 4  # of a panel's value at most; it is rounded to what its interval is worth before
AGE_QUANTILES = (0.5, 0.9)
_PERIODS = {"1h": "hour", "6h": "6 h", "24h": "24 h", "7d": "7 days", "30d": "30 days"}
_NAMES = {HOUR: "hour", DAY: "day", 7 * DAY: "week"}
ARRIVING = "Labels still arriving"
_OPEN = "Open circles: under 90 % of the labels."


def cell(view: View) -> dict[str, Any]:
    """The fleet's cell: the key metric, and how many labels it stands on."""
    bins = bins_of(view)
    found = None if bins is None else Outcomes(view, bins)
    if found is None or not found.ever:
        return {"text": "No labels yet", "sub": "", "status": NO_DATA}
    if not found.rows:
        return {"text": ARRIVING if found.logged else "No predictions logged", "sub": "", "status": NO_DATA}
    told = found.key
    if not told.enough and not found.confirmed:
        return {"text": ARRIVING, "sub": _of_labels(found), "status": LEARNING}
    if not told.enough:
        text, _, held = told.why.partition(": ")
        return {"text": _capital(text), "sub": held or _of_labels(found), "status": LEARNING}
    figure = f"{told.value:,.{sentences.decimals(told.low, told.high)}f}"
    name = SHORT.get(found.names[0], METRICS[found.bins.task][found.names[0]].title)
    return {"text": f"{name} {figure}", "sub": _of_labels(found), "status": found.status}


def _of_labels(found: "Outcomes") -> str:
    return f"{sentences.share(found.share)} of labels{', confirmed' if found.confirmed else ' so far'}"


def section(view: View) -> dict[str, Any]:
    """The model page's section: what is known in a sentence, and its panels."""
    bins = bins_of(view)
    found = None if bins is None else Outcomes(view, bins)
    if found is None or not found.ever:
        summary, absent = _absent(view, found)
        drawn = [] if found is None or not found.logged else [received(found)]
        return {"status": NO_DATA, "summary": summary, "state": absent, "panels": drawn, "judged": False}
    summary, state = _said(found)
    drawn = [*qualities(found), received(found), *ages(found)]
    return {"status": found.status, "summary": summary, "state": state, "panels": drawn, "judged": False}


def bins_of(view: View) -> OutcomeBins | None:
    """How the outcomes of a version are counted; None where nothing could tell, or where its task has none."""
    if view.known is not None:
        try:
            return OutcomeBins.of(view.known.reference)
        except ValueError:
            return None
    alone = view.bins is None or view.bins == score_alone().id
    return OutcomeBins.default("binary") if alone else None


@dataclass(frozen=True, eq=False)
class Steps:
    """Outcomes over time: T windows of `width` seconds, one to the end of each `step`; they overlap where they are wider.

    `ends` int64 (T,); `counts` and `sums` (T, ...), as in a profile; `logged` (T,), how many predictions could have a label.
    """

    bins: OutcomeBins
    step: int
    width: int
    ends: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    logged: np.ndarray

    @cached_property
    def profiles(self) -> list[OutcomeProfile]:
        """Of each window."""
        return [OutcomeProfile(self.bins, *both) for both in zip(self.counts, self.sums, strict=True)]

    @cached_property
    def rows(self) -> np.ndarray:
        """Labelled rows, (T,)."""
        return np.array([profile.rows for profile in self.profiles], dtype=np.int64)

    @cached_property
    def share(self) -> np.ndarray:
        """Share of the labels that have come, (T,); NaN where there are none to come."""
        return shares(self.rows, np.maximum(self.logged, self.rows), 1)

    @cached_property
    def open(self) -> np.ndarray:
        """Whether labels are still arriving, (T,)."""
        return np.asarray(self.share < CONFIRMED)

    @property
    def few(self) -> np.ndarray:
        """Whether there are fewer labels than the key metric needs, (T,): of the rarer class of two, else any."""
        if self.bins.task != "binary":
            return np.asarray(self.rows < MINIMUM_ROWS)
        return np.array([profile.answers.sum(axis=1).min() < MINIMUM for profile in self.profiles])

    def last(self, n: int) -> "Steps":
        """The last windows alone."""
        return replace(
            self, **{name: getattr(self, name)[-n:] for name in ("ends", "counts", "sums", "logged")}
        )

    def widened(self, width: int) -> "Steps":
        """Wider windows, of which the first ones that are not whole are left out."""
        counts, sums, logged = (
            together(x, width // self.step) for x in (self.counts, self.sums, self.logged)
        )
        return replace(
            self,
            width=width,
            ends=self.ends[len(self.ends) - len(logged) :],
            counts=counts,
            sums=sums,
            logged=logged,
        )

    def apart(self, chosen: np.ndarray) -> np.ndarray:
        """Chosen windows (T,) that do not overlap: the last one, and back from there."""
        return np.flatnonzero(chosen)[:: -(self.width // self.step)]

    @property
    def says(self) -> str:
        """`by hour of prediction`, `each point over 12 h`."""
        name, hours = _NAMES.get(self.width), f"{self.width // HOUR} h"
        if self.width == self.step:
            return f"by {name or hours} of prediction"
        return f"each point over {f'a {name}' if name else hours}"


def together(values: np.ndarray, n: int) -> np.ndarray:
    """Sums of each `n` values in a row along the first axis, (T - n + 1, ...).

    >>> together(np.array([1, 2, 3, 4]), 3).tolist()
    [6, 9]
    """
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, n, axis=0).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcomes of a version over the span of a view."""

    view: View
    bins: OutcomeBins

    @property
    def _names(self) -> tuple[str, str]:
        return self.view.version.model, self.view.version.version

    @cached_property
    def _series(self) -> Series:
        return outcome_series(*self._names, "", self.bins)

    @property
    def ever(self) -> bool:
        """Whether any label has come."""
        return self.view.tiles.seen(self._series) is not None

    @cached_property
    def total(self) -> OutcomeProfile:
        """All that is labelled of the span's hours, the first and the last one whole."""
        found = self.view.tiles.window(self._series, *self.view.span.grid(HOUR))
        return OutcomeProfile(self.bins, found.counts, found.sums)

    @cached_property
    def rows(self) -> int:
        """Labelled predictions of the span."""
        return int(self.total.rows)

    @cached_property
    def logged(self) -> int:
        """Predictions of the span that can have a label."""
        series = logged_series(*self._names, "")
        return max(self.rows, int(self.view.tiles.window(series, *self.view.span.grid(HOUR)).counts.sum()))

    @property
    def share(self) -> float:
        """Share of the span's labels that have come."""
        return self.rows / self.logged if self.logged else np.nan

    @property
    def confirmed(self) -> bool:
        """Whether so many have come that metrics count."""
        return self.share >= CONFIRMED

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The metrics that its labels can tell, the key one first."""
        names = SHOWN[self.bins.task]
        if self.bins.task != "binary":
            return names
        assert self.bins.score is not None
        scored = self.total.scores[:, : self.bins.score.values].any()
        decided = confusion(self.total).any()
        return names[0 if scored else 1 : len(names) if decided else 1] or names

    @cached_property
    def key(self) -> Estimate:
        """The key metric over the span."""
        return METRICS[self.bins.task][self.names[0]].of(self.total)

    @property
    def status(self) -> str:
        """Not a judgement: whether there is something to read."""
        return NO_DATA if not self.rows else OK if self.key.enough and self.confirmed else LEARNING

    def between(self, start: int, end: int, step: int) -> Steps:
        """Outcomes by step; the last is cut at the end."""
        logged = logged_series(*self._names, "")
        found, could = self.view.tiles.windows_many([self._series, logged], start, end, step)
        ends = np.minimum(found.starts + step, end)
        return Steps(self.bins, step, step, ends, found.counts, found.sums, could.counts[:, 0])

    @cached_property
    def steps(self) -> Steps:
        """Over the span, in the narrowest windows that hold enough labels nearly everywhere."""
        span = self.view.span
        length, finest = span.end - span.start, self.view.tiles.finest(span.start)
        step = next(s for s in STEPS if s >= finest and (s * MOST_POINTS >= length or s == STEPS[-1]))
        widths = [s for s in STEPS if step <= s <= max(length, DAY)] or [step]
        start, end = span.grid(step)
        points = len(span.ends(step))
        all_of = self.between(start - widths[-1] + step, end, step)
        for width in widths[:-1]:
            found = all_of.last(points + width // step - 1).widened(width)
            judged = found.rows > 0
            judged = judged & ~found.open if (judged & ~found.open).any() else judged
            if judged.any() and np.mean(~found.few[judged]) >= HELD:
                return found
        return all_of.widened(widths[-1])

    def beside(self, series: Series, slots: slice | None = None) -> np.ndarray:
        """Counts of another series in the same windows, (T, ...)."""
        step, width = self.steps.step, self.steps.width
        start, end = self.view.span.grid(step)
        found = self.view.tiles.windows(series, start - width + step, end, step, slots)
        return together(found.counts, width // step)

    @cached_property
    def promised(self) -> Promised | None:
        """What scores promise for the same steps."""
        view, known = self.view, self.view.known
        if view.columns is None or known is None or known.promising not in known.reference.bins.columns:
            return None
        learnt = learnt_from(known) or self._learnt
        live = self.beside(view.columns, known.reference.bins.slice(known.promising))
        return None if learnt is None else Promised.of(learnt, live)

    @cached_property
    def early(self) -> Early | None:
        """What labels that are still arriving say of the same steps, weighed by how labels came before."""
        if self.bins.task != "binary" or not self.steps.open.any():
            return None
        days = days_of(self.view.tiles, *self._names, self.bins, self.view.span.now)
        return None if days.maturity is None else Early.of(days.maturity, self.steps, self.view.span.now)

    @property
    def _learnt(self) -> Learnt | None:
        """From complete days before the span, where the reference has no labels."""
        view = self.view
        end = view.span.start // DAY * DAY
        start = max(view.version.first // DAY * DAY, end - LEARNT * DAY)
        days = self.between(start, end, DAY) if end > start and self.bins.score is not None else None
        whole = [] if days is None else np.flatnonzero(days.share >= CONFIRMED).tolist()
        if days is None or not whole:
            return None
        scores = np.stack([days.profiles[i].scores for i in whole])
        return Learnt.fit(self.bins, scores, int(days.ends[whole[0]]) - DAY, int(days.ends[whole[-1]]) - DAY)

    @cached_property
    def ages(self) -> np.ndarray:
        """Labels of the steps by how old they were when they came, (T, ages + 1)."""
        counts = self.beside(age_series(*self._names, self.bins))
        return np.asarray(counts.reshape(len(counts), 2, len(AGES) + 1, -1).sum(axis=(1, 3)))


# Panels.


def qualities(found: Outcomes) -> list[Panel]:
    """How good the answers were: each metric over time, by the time of the prediction."""
    return [quality(found, name) for name in found.names]


def quality(found: Outcomes, name: str) -> Panel:
    """One metric over time with its 95 % band, and beside it what scores promise."""
    steps, metric = found.steps, METRICS[found.bins.task][name]
    told = [
        metric.of(profile) if rows else None for profile, rows in zip(steps.profiles, steps.rows, strict=True)
    ]
    kept = [estimate if estimate is not None and estimate.enough else None for estimate in told]
    value, low, high = (
        np.array([np.nan if e is None else getattr(e, end) for e in kept]) for end in ("value", "low", "high")
    )
    early = found.early
    row = None if early is None else early.row(name)
    if early is not None and row is not None:
        value, low, high = (np.where(steps.open, np.nan, x) for x in (value, low, high))
    series = [{**line("confirmed", value, "live"), "open": steps.open.tolist()}]
    bands = [{"name": "95 % interval", "lo": listed(low), "hi": listed(high)}]
    notes = []
    if early is not None and row is not None:
        series.append({**line("weighted", early.values[row], "live"), "open": steps.open.tolist()})
        bands.append({"name": "weighted, 95 %", "lo": listed(early.low[row]), "hi": listed(early.high[row])})
        notes.append(f"{_OPEN} {early.assumption}")
    elif (steps.open & np.isfinite(value)).any():
        notes.append(_OPEN)
    promised = found.promised
    at = None if promised is None else promised.row(name)
    if promised is not None and at is not None:
        series.append(line("estimated", promised.values[at], "estimate"))
        bands.append({
            "name": "estimated, 95 %", "lo": listed(promised.low[at]), "hi": listed(promised.high[at]), "role": "estimate",
        })  # fmt: skip
        notes += [promised.assumption(), *_record(promised, at, value, steps)]
    now = metric.of(found.total)
    return panel(
        name, f"{metric.title}, {steps.says}", "", steps.ends, value=_rounded(now) if now.enough else None,
        digits=DIGITS, text=_words(found, now), series=series, bands=bands, n=steps.rows.tolist(),
        zero=metric.unit == "number", few="too few labels", note=" ".join(notes) or None,
    )  # fmt: skip


def _words(found: Outcomes, now: Estimate) -> str:
    """The interval of a metric over the span; what is missing, where it cannot be told."""
    if not found.rows:
        return _lowered(ARRIVING) if found.logged else "no predictions are logged"
    if not now.enough:
        return now.why if found.confirmed else f"{_lowered(ARRIVING)}, {now.why}"
    digits = sentences.decimals(now.low, now.high)
    so_far = "" if found.confirmed else "so far, "
    return f"{so_far}95 % interval {now.low:,.{digits}f}–{now.high:,.{digits}f}"


def _rounded(now: Estimate) -> float | None:
    return plain(round(now.value, sentences.decimals(now.low, now.high)))


def _record(promised: Promised, at: int, found: np.ndarray, steps: Steps) -> list[str]:
    """How estimates fared where labels have come, over windows that do not overlap."""
    apart = steps.apart(np.isfinite(found) & np.isfinite(promised.values[at]) & ~steps.open)
    if not len(apart):
        return []
    held = ((promised.low[at] <= found) & (found <= promised.high[at]))[apart]
    doubt = "" if held[0] else ". The last one is not: do not rely on it"
    return [f"Confirmed values in its band: {int(held.sum())} of {len(held)}{doubt}."]


def received(found: Outcomes) -> Panel:
    """What share of the predictions that can have a label has one, by the time of the prediction."""
    span = found.view.span
    step = span.step(max(HOUR, found.view.tiles.finest(span.start)), found.view.rate)
    steps = found.between(*span.grid(step), step)
    text = f"of {sentences.plural(found.logged, 'prediction')} that can have one"
    return panel(
        "labels", "Labels received", "share", steps.ends, value=plain(found.share),
        text=text if found.logged else "no predictions are logged",
        series=[line("Labels received", steps.share)], n=np.maximum(steps.logged, steps.rows).tolist(),
        few="no predictions", note="From 90 % on, a metric counts as confirmed.",
    )  # fmt: skip


def ages(found: Outcomes) -> list[Panel]:
    """How old labels are when they come; nothing before there are any."""
    counts, steps = found.ages, found.steps
    if not counts.sum():
        return []
    settled = counts[steps.apart(~steps.open)].sum(axis=0)
    middle, late = lag_quantiles(settled if settled.sum() else counts.sum(axis=0), AGE_QUANTILES).tolist()
    n = counts.sum(axis=1)
    y = np.full((len(n), len(AGE_QUANTILES)), np.nan)
    for i in np.flatnonzero(n >= MINIMUM_ROWS).tolist():
        y[i] = lag_quantiles(counts[i], AGE_QUANTILES)
    early = (steps.open & np.isfinite(y[:, 0])).any()
    return [
        panel(
            "ages", "How fast labels come", "seconds", steps.ends, value=plain(middle), text=f"median, {_late(late)}",
            series=[{**line("median", y[:, 0], "live"), "open": steps.open.tolist()}],
            bands=[{"name": "median–p90", "lo": listed(y[:, 0]), "hi": listed(y[:, 1])}],
            n=n.tolist(), few="too few labels", note=f"{_OPEN} Those still to come will be older." if early else None,
        )
    ]  # fmt: skip


def _late(seconds: float) -> str:
    return (
        f"90 % within {sentences.duration(seconds)}" if seconds < np.inf else "a tenth takes over two years"
    )


# States.


def _absent(view: View, found: Outcomes | None) -> tuple[str, dict[str, Any]]:
    """Nothing has a label: why, and what to do."""
    if found is None and view.known is not None:
        task = view.known.reference.task
        text = f"They are of binary, multiclass and regression models; this one is of {task}."
        return "Outcomes are not told of this task", _state("Outcomes are not told of this task", text)
    if found is None:
        text = "They are counted over its bins. The log of barograph serve says why it is missing."
        return "Labels wait for the reference", _state("Labels wait for the reference", text)
    if found.logged:
        text = (
            f"{sentences.plural(found.logged, 'prediction')} of the {_period(view)} can have a label. Tell what became true by "
            "the id of the prediction, as soon as it is known; it is joined within a minute."
        )
        return "No labels yet", _state("No labels yet", text, "monitor.feedback(request_id, label)")
    if view.state.config.log is None:
        text = (
            "Whether answers were right is known once labels are joined to logged predictions. Have the service log, to a folder "
            "or a URL, tell it what became true, and give barograph serve the same place:"
        )
        return "No labels yet", _state("Predictions are not logged", text, _logging(view, serve=True))
    text = (
        f"The log holds no prediction of this version in the {_period(view)}. Have the service log to where barograph serve "
        "reads, and give each prediction its id:"
    )
    return "No labels yet", _state("No predictions are logged", text, _logging(view))


def _logging(view: View, serve: bool = False) -> str:
    place = view.state.config.log or "/var/lib/model-log"
    name, version = view.version.model, view.version.version
    lines = [f"monitor = barograph.Monitor({name!r}, version={version!r}, log={place!r})"]
    lines += ["monitor.feedback(request_id, label)", f"barograph serve --log {place}"] if serve else []
    return "\n".join(lines)


def _state(title: str, text: str, code: str | None = None) -> dict[str, Any]:
    return {"kind": "no_labels", "title": title, "text": text, "code": code}


def _said(found: Outcomes) -> tuple[str, dict[str, Any] | None]:
    """What labels say, in a sentence; and what is missing, where they say nothing yet."""
    period = _period(found.view)
    if not found.logged:
        return f"No predictions of the {period} are logged", None
    if not found.rows:
        text = f"None of {sentences.plural(found.logged, 'prediction')} of the {period} has a label yet."
        return ARRIVING, _state(ARRIVING, f"{text} A longer range shows those that have.")
    told = found.key
    share = sentences.share(found.share)
    if not told.enough and not found.confirmed:
        return f"{ARRIVING}: {share} of those of the {period} are there", None
    if not told.enough:
        return f"{_capital(told.why)}, on {share} of the labels of the {period}", None
    title = METRICS[found.bins.task][found.names[0]].title
    figure = sentences.quality(told.value, told.low, told.high)
    return sentences.labelled(title, figure, share, period, found.confirmed), None


def _period(view: View) -> str:
    """`last 24 h`, or, of the past, `24 h to 2013-10-14T12:00:00Z`."""
    length = _PERIODS[view.span.name]
    return f"last {length}" if view.span.until == view.span.now else f"{length} to {iso(view.span.end)}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
