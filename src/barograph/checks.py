"""What is looked at each minute: traffic, errors, latency, empty answers, business events, what runs. Counts in, conditions out.

A new check is a function here and its name in CHECKS, or in OF_MODEL where versions are looked at together.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from barograph import naming, sentences, traffic
from barograph.alert import (
    BURNS,
    ENOUGH_BAD,
    ENOUGH_CALLS,
    ERROR_OBJECTIVE,
    LATENCY_OBJECTIVE,
    LATENCY_SECONDS,
    Condition,
)
from barograph.config import ModelConfig
from barograph.counters import Series
from barograph.known import Known
from barograph.labels.days import DayBook, Days
from barograph.limits import LATENCY, RESOURCES
from barograph.naming import Metric, Rule
from barograph.outcomes import OutcomeBins
from barograph.sources import Status
from barograph.tiles import Tiles
from barograph.versions import Deployed, imported

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, traffic.WEEK
ENOUGH_ROWS = 30
EMPTY_POINTS = 0.05
EMPTY_DEVIATIONS = 3  # of chance: an hour of few rows has a larger share now and then
EMPTY_KNOWN = 300  # rows from which on a version's own week says what is usual; before, the model's does
EMPTY_UNKNOWN = (
    0.45  # usual, as long as nothing is known of the model: more than half of its answers are then too many
)
_BURSTS = 120  # minutes without events that are news of what comes in bursts
STILL_SEEN = 10 * MINUTE
FAILURES = 3  # in a row: one slow answer is no outage, however fast the clock runs
LONGEST = max(burn.long for burn in BURNS)
_CALLS = (naming.PREDICTIONS, naming.ERRORS, naming.DURATION)
_BY_MINUTE = (*_CALLS, naming.EMPTY, naming.DROPPED_ROWS, naming.BUSINESS)
_BY_HOUR = (naming.PREDICTIONS, naming.EMPTY, naming.BUSINESS, naming.OVERRIDDEN)


class Counters:
    """The counters of all models: by minute since the last whole hour began, by hour for four weeks; two reads of the store.

    The calls of the last six hours in all are a third read, for who asks.
    """

    def __init__(self, tiles: Tiles, now: float) -> None:
        self._tiles = tiles
        self.end = int(now // MINUTE * MINUTE)
        self.hour = self.end // HOUR * HOUR
        self.start = self.hour - HOUR
        self.first_hour = self.hour - traffic.WEEKS * WEEK - 2 * HOUR
        self._minutes = _Windows.read(
            tiles, _BY_MINUTE, self.start, max(self.end, self.start + MINUTE), MINUTE
        )
        self._hours = _Windows.read(tiles, _BY_HOUR, self.first_hour, self.hour, HOUR)

    def total(
        self, metric: Metric, version: "Deployed | str", start: float, end: float, **labels: str
    ) -> np.ndarray:
        """What the series of a version, or of a model by its name, grew by since the last hour or two: int64[k].

        Of calls, also in the last six hours in all.
        """
        part = slice(max(0, int(start - self.start) // MINUTE), max(0, int(end - self.start) // MINUTE))
        windows = self._minutes
        if (start, end) == (self.end - LONGEST, self.end):
            part, windows = slice(None), self._longest
        named = {} if isinstance(version, str) else {"version": version.version}
        model = version if isinstance(version, str) else version.model
        found = windows.find(metric, model, {**named, **labels})
        return np.asarray(sum((counts[part].sum(axis=0) for counts in found), np.zeros(1, dtype=np.int64)))

    def lately(self, metric: Metric, model: str, minutes: int, **labels: str) -> int:
        """What the series of a model grew by in so many minutes, two hours at most."""
        if minutes <= HOUR // MINUTE:
            return int(self.total(metric, model, self.end - minutes * MINUTE, self.end, **labels).sum())
        return int(sum(counts.sum() for counts in self._two_hours.find(metric, model, labels)))

    def steady(self, metric: Metric, model: str, minutes: int, **labels: str) -> bool:
        """Whether events came without a gap of so many minutes, in an hour some time ago of which the minutes are known."""
        found = (hour.find(metric, model, labels) for hour in self._before)
        hours = (sum((counts[:, 0] for counts in each), np.zeros(1, dtype=np.int64)) for each in found)
        return any(traffic.steady(np.asarray(hour), minutes) for hour in hours)

    @cached_property
    def imported(self) -> Mapping[str, float]:
        """Until when rows of models were imported."""
        return imported(self._tiles)

    @cached_property
    def _two_hours(self) -> "_Windows":
        return _Windows.read(self._tiles, _BY_HOUR, self.end - 2 * HOUR, self.end, 2 * HOUR)

    @cached_property
    def _before(self) -> list["_Windows"]:
        """Hours that tell whether events come steadily; read where there is silence, which is rare."""
        return [
            _Windows.read(self._tiles, _BY_HOUR, end - HOUR, end, MINUTE)
            for end in (self.end - before for before in traffic.STEADY_BEFORE)
        ]

    @cached_property
    def _longest(self) -> "_Windows":
        """Whole hours are read as such, which is much less than their minutes."""
        return _Windows.read(self._tiles, _CALLS, self.end - LONGEST, self.end, LONGEST)

    def calls(self, version: "Deployed | str", start: float, end: float) -> tuple[int, int]:
        """Calls that were answered and calls that failed. A call is a request; where none is timed, a row."""
        failed = int(self.total(naming.ERRORS, version, start, end).sum())
        timed = int(self.total(naming.DURATION, version, start, end, stage=naming.TOTAL).sum())
        return timed or int(self.total(naming.PREDICTIONS, version, start, end).sum()), failed

    def by_label(
        self, metric: Metric, version: Deployed, label: str, start: float, end: float
    ) -> dict[str, int]:
        """The same by the values of one label."""
        values = {s.label(label) or "" for s in self._minutes.of(metric, version.model)}
        return {v: int(self.total(metric, version, start, end, **{label: v}).sum()) for v in sorted(values)}

    def hours(self, metric: Metric, model: str, **labels: str) -> np.ndarray:
        """int64[H] by hour from `first_hour`, over all series of a model with these labels."""
        found = (counts[:, 0] for counts in self._hours.find(metric, model, labels))
        return np.asarray(sum(found, np.zeros((self.hour - self.first_hour) // HOUR, dtype=np.int64)))

    def events(self, model: str) -> dict[str, int]:
        """The business events of a model in the last four weeks, each with when it was first seen."""
        found: dict[str, int] = {}
        for series in self._hours.of(naming.BUSINESS, model):
            event, seen = series.label("event") or "", self._tiles.seen(series)
            found[event] = min(found.get(event, self.end), self.end if seen is None else seen[0])
        return dict(sorted(found.items()))

    def answering(self, versions: Iterable[Deployed], end: int) -> list[Deployed]:
        """The versions that answered in the two hours before `end`, a whole hour of the last four weeks."""
        last = (end - self.first_hour) // HOUR
        return [
            v
            for v in versions
            if last >= 2 and self.hours(naming.PREDICTIONS, **v.names)[last - 2 : last].any()
        ]


@dataclass(frozen=True)
class Look:
    """One version of a model at one moment, with what its owner allows. `first` is when the model was first seen."""

    tiles: Tiles
    counters: Counters
    version: Deployed
    first: int
    config: ModelConfig
    known_of: Callable[[Deployed, str], Known | None] = lambda *_: None
    book: DayBook | None = None

    @property
    def end(self) -> int:
        return self.counters.end

    def known(self) -> Iterator[tuple[str, Known]]:
        """The references that the version is judged by, each with the id of its bins."""
        for bins in self.version.series:
            known = self.known_of(self.version, bins)
            if known is not None:
                yield bins, known

    def days(self, bins: OutcomeBins, segment: str = "") -> Days:
        """What labels say of the version's last 90 days, of all rows or of a segment."""
        book = self.book or DayBook(self.tiles)
        return book.of(self.version.model, self.version.version, bins, self.end, segment)

    def early(self, bins: str) -> np.ndarray:
        """Counts of the columns in the version's first day, int64[slots]."""
        first = self.version.first // HOUR * HOUR
        return self.tiles.window(self.version.series[bins], first, min(first + DAY, self.end)).counts

    def total(self, metric: Metric, start: float, end: float, **labels: str) -> int:
        """What a counter grew by."""
        return int(self.counters.total(metric, self.version, start, end, **labels).sum())

    def condition(
        self,
        rule: Rule,
        active: bool | None,
        start: float,
        end: float | None = None,
        *,
        value: float | None = None,
        threshold: float | None = None,
        text: str = "",
        column: str = "",
        limit: str = "",
    ) -> Condition:
        """A condition of this version, seen in [start, end); `limit` names that of the owner which it is about."""
        at = float(self.end if end is None else end)
        said = text if active else ""
        model, version = self.version.model, self.version.version
        return Condition(
            rule.name, model, version, active, float(start), at, column, limit, value, threshold, said, bool(limit)
        )  # fmt: skip

    def recent(self, enough: Callable[[int], bool]) -> int | None:
        """The begin of the last five minutes, or of the last hour where these are not `enough`; None where neither is."""
        starts = (self.end - minutes * MINUTE for minutes in (5, 60))
        return next((start for start in starts if enough(start)), None)

    def usual(self, metric: Metric, first: int, **labels: str) -> np.ndarray:
        """Events usual in the hour before the last minute's and in that one, from the same hours of earlier weeks.

        They are counted since `first` (epoch seconds).
        """
        starts = np.arange(self.counters.first_hour, self.counters.hour, HOUR)
        known = starts >= first // HOUR * HOUR
        counts = self.counters.hours(metric, self.version.model, **labels)
        here = (self.end - 1) // HOUR * HOUR
        return traffic.usual(np.array([here - HOUR, here]), starts[known], counts[known], least=1).expected

    def infos(self, within: int) -> list[Series]:
        """What processes of this version said of themselves, in the last so many seconds."""
        found = self.tiles.series(naming.MODEL_INFO.name, **self.version.names)
        return [s for s in found if (seen := self.tiles.seen(s)) is not None and self.end - seen[1] <= within]


def silence(look: Look) -> list[Condition]:
    """No predictions came where some were expected. What ends with an import was never going to go on."""
    if look.counters.imported.get(look.version.model, -math.inf) >= look.version.last:
        return []
    return [_silence(look, naming.NO_TRAFFIC, naming.PREDICTIONS, look.first, sentences.no_traffic)]


def volume(look: Look) -> list[Condition]:
    """Fewer rows in the last hour than the owner wants."""
    limit = look.config.limits.get("traffic")
    if limit is None:
        return []
    start, model = look.end - HOUR, look.version.model
    if look.first > start or look.counters.imported.get(model, -math.inf) >= look.version.last:
        return []
    rows = look.counters.lately(naming.PREDICTIONS, model, HOUR // MINUTE)
    text = sentences.few_rows(rows, limit)
    found = look.condition(
        naming.TRAFFIC_LOW,
        rows < limit,
        start,
        value=float(rows),
        threshold=limit,
        text=text,
        limit="traffic",
    )
    return [replace(found, version="")]


def business(look: Look) -> list[Condition]:
    """None of a business event came where some were expected."""
    return [
        replace(
            _silence(
                look, naming.BUSINESS_STOPPED, naming.BUSINESS, first,
                partial(sentences.business_stopped, event), event=event,
            ),
            column=event,
        )
        for event, first in look.counters.events(look.version.model).items()
    ]  # fmt: skip


def _silence(
    look: Look, rule: Rule, metric: Metric, first: int, say: Callable[[float, int], str], **labels: str
) -> Condition:
    """Whether nothing came in the shortest window in which enough events are expected: of the model, whatever the version.

    Events that come in bursts (a batch an hour) leave gaps; they are missed after two hours without any.
    """
    least = float(look.usual(metric, first, **labels).min())
    model, counters = look.version.model, look.counters
    minutes = next((m for m in (5, 15) if least * m / 60 >= traffic.SILENCE), 60)
    came = counters.lately(metric, model, minutes, **labels)
    while not came and least >= traffic.SILENCE and minutes < _BURSTS:
        if counters.steady(metric, model, min(minutes, 15), **labels):
            break
        minutes = {5: 15, 15: 60, 60: _BURSTS}[minutes]
        came = counters.lately(metric, model, minutes, **labels)
    expected = None if np.isnan(least) else least * minutes / 60
    start = look.end - minutes * MINUTE
    silent = traffic.silent(came, None if expected is None else min(expected, least))
    text = say(expected or 0.0, minutes)
    found = look.condition(rule, silent, start, value=0.0, threshold=expected, text=text)
    return replace(found, version="")  # a version that another one replaced is silent by right


def errors(look: Look) -> list[Condition]:
    """Failing predictions use up the error budget too fast, or are a larger share than the owner allows."""
    limit = look.config.limits.get("errors")
    if limit is None:

        def failed(start: int) -> tuple[int, int]:
            answered, failed = look.counters.calls(look.version, start, look.end)
            return failed, answered + failed

        return [_burning(look, naming.ERRORS_HIGH, 1 - ERROR_OBJECTIVE, failed, sentences.errors_burn)]
    start = look.recent(lambda start: sum(look.counters.calls(look.version, start, look.end)) >= ENOUGH_CALLS)
    if start is None:
        return [look.condition(naming.ERRORS_HIGH, None, look.end - HOUR, limit="errors")]
    answered, bad = look.counters.calls(look.version, start, look.end)
    value = bad / (answered + bad)
    text, over = sentences.errors(value, limit), value > limit
    return [
        look.condition(
            naming.ERRORS_HIGH, over, start, value=value, threshold=limit, text=text, limit="errors"
        )
    ]


def latency(look: Look) -> list[Condition]:
    """Predictions slower than the objective use up their budget too fast, or take longer than the owner allows."""
    limits = {name: look.config.limits[name] for name in LATENCY if name in look.config.limits}
    if not limits:

        def slow(start: int) -> tuple[int, int]:
            counts = _timed(look, start)
            return traffic.slower(counts, LATENCY_SECONDS), int(counts.sum())

        say = partial(sentences.slow_burn, objective=LATENCY_SECONDS)
        return [_burning(look, naming.SLOW, 1 - LATENCY_OBJECTIVE, slow, say)]
    return [_limited_latency(look, name, limit) for name, limit in limits.items()]


def _limited_latency(look: Look, name: str, limit: float) -> Condition:
    """Whether a quantile is above the owner's limit; so many calls that one in them is expected beyond it tell."""
    q = LATENCY[name]
    enough = max(ENOUGH_CALLS, round(1 / (1 - q)))
    start = look.recent(lambda start: bool(_timed(look, start).sum() >= enough))
    if start is None:
        return look.condition(naming.SLOW, None, look.end - HOUR, limit=name)
    value = float(traffic.duration_quantiles(_timed(look, start), np.array([q]))[0])
    text = sentences.slow(value, limit, q)
    return look.condition(
        naming.SLOW, value > limit, start, value=value, threshold=limit, text=text, limit=name
    )


def _timed(look: Look, start: int) -> np.ndarray:
    return look.counters.total(naming.DURATION, look.version, start, look.end, stage=naming.TOTAL)


def _burning(
    look: Look,
    rule: Rule,
    budget: float,
    spent: Callable[[int], tuple[int, int]],
    say: Callable[[int, int, float, float], str],
) -> Condition:
    """Whether a budget burns too fast over any pair of windows; `spent` counts bad calls and all since a moment.

    It was seen in the last minute, not in the hours that the windows span: so it waits as long as in Prometheus.
    """
    start = look.end - MINUTE
    known = False
    for burn in BURNS:
        (bad, calls), (lately, of) = (spent(look.end - seconds) for seconds in (burn.long, burn.short))
        limit = burn.limit(budget)
        known |= calls >= ENOUGH_CALLS
        if calls < ENOUGH_CALLS or bad < ENOUGH_BAD or not of:
            continue
        if min(bad / calls, lately / of) > limit:
            text = say(bad, calls, burn.long, budget)
            return look.condition(rule, True, start, value=bad / calls, threshold=limit, text=text)
    return look.condition(rule, False if known else None, start)


def empty(look: Look) -> list[Condition]:
    """Too large a share of the last whole hour's answers held none."""
    start, end = look.counters.start, look.counters.hour
    found, rows = (look.total(metric, start, end) for metric in (naming.EMPTY, naming.PREDICTIONS))
    if rows < ENOUGH_ROWS:
        mine = "empty" if "empty" in look.config.limits else ""
        return [look.condition(naming.EMPTY_HIGH, None, start, end, limit=mine)]
    labels = look.version.names
    week = slice(-WEEK // HOUR - 1, -1)
    usual, known = EMPTY_UNKNOWN, False
    for least, named in ((EMPTY_KNOWN, labels), (ENOUGH_ROWS, {"model": look.version.model})):
        before, all_before = (
            int(look.counters.hours(m, **named)[week].sum()) for m in (naming.EMPTY, naming.PREDICTIONS)
        )
        if all_before >= least:
            usual, known = before / all_before, True
            break
    owners, value = look.config.limits.get("empty"), found / rows
    limit = empty_limit(usual, rows) if owners is None else owners
    text = sentences.empty(value, usual) if known else f"{sentences.share(value)} of answers are empty"
    if owners is not None:
        text = sentences.limited(text, sentences.share(limit))
    over, mine = value > limit, "" if owners is None else "empty"
    return [
        look.condition(
            naming.EMPTY_HIGH, over, start, end, value=value, threshold=limit, text=text, limit=mine
        )
    ]


def empty_limit(usual: float, rows: float) -> float:
    """The share of empty answers among so many that is too large: 5 points above what is usual, and what chance adds.

    >>> round(empty_limit(0.05, 40), 3), round(empty_limit(0.05, 90_000), 3)
    (0.242, 0.103)
    """
    share = usual + EMPTY_POINTS
    return share + EMPTY_DEVIATIONS * math.sqrt(max(share * (1 - share), 0.0) / rows)


def dependencies(look: Look) -> list[Condition]:
    """Packages run in another version than the model was made with, in any of its processes."""
    differing: dict[str, str] = {}
    for series in look.tiles.series(naming.DEPENDENCY_INFO.name, **look.version.names):
        package, running, trained = (series.label(n) or "" for n in ("package", "running", "trained"))
        seen = look.tiles.seen(series)
        here = running != trained and seen is not None and look.end - seen[1] <= STILL_SEEN
        if here or package not in differing:
            differing[package] = sentences.dependency(package, running, trained) if here else ""
    start = look.end - MINUTE
    return [
        look.condition(naming.DEPENDENCY_DIFFERS, bool(text), start, text=text, column=package)
        for package, text in differing.items()
    ]


def dropped(look: Look) -> list[Condition]:
    """The monitor could not count rows. Those that carry another time are counted by the join, and are not lost."""
    start = look.end - 10 * MINUTE
    by_reason = look.counters.by_label(naming.DROPPED_ROWS, look.version, "reason", start, look.end)
    lost = {reason: n for reason, n in by_reason.items() if n and reason != "time"}
    text = sentences.dropped(sum(lost.values()), sorted(lost))
    return [
        look.condition(naming.ROWS_DROPPED, bool(lost), start, value=float(sum(lost.values())), text=text)
    ]


def references(look: Look) -> list[Condition]:
    """One version runs with several references, or ran with another one within a day."""
    seen, live = ({s.label("reference") for s in look.infos(t)} - {None, ""} for t in (DAY, STILL_SEEN))
    text = sentences.references(look.version.version, len(live), len(seen))
    return [look.condition(naming.REFERENCE_CHANGED, len(seen) > 1, look.end - MINUTE, text=text)]


def artifacts(look: Look) -> list[Condition]:
    """Processes of one version run different artifacts, or configurations. Those that do not tell say nothing."""
    infos = look.infos(STILL_SEEN)
    digests, configs = (len({s.label(name) for s in infos} - {None, ""}) for name in ("digest", "config"))
    text = sentences.artifacts(look.version.version, digests, configs)
    over = max(digests, configs) > 1
    return [look.condition(naming.ARTIFACT_DIFFERS, over, look.end - MINUTE, text=text)]


def targets(
    model: str, statuses: Iterable[Status], before: Mapping[tuple[str, str], float], end: float
) -> list[Condition]:
    """Serving processes of a model that cannot be read, or whose workers count for themselves.

    `before` has since when alerts of a (rule, url) hold: after a restart nothing else tells whose process it is.
    """
    found = []
    for s in statuses:
        since = before.get((naming.TARGET_DOWN.name, s.url))
        if model in s.models or since is not None:
            down = s.failures >= FAILURES if s.up is not None else None
            start = min(end, s.succeeded if s.succeeded is not None else since or end)
            text = sentences.unread(s.url, end - start) if down else ""
            found.append(
                Condition(naming.TARGET_DOWN.name, model, "", down, start, end, s.url, "", None, None, text)
            )
        if model in s.models:
            apart = s.unshared > 0 if s.up else None
            text = sentences.apart(s.url, s.unshared) if apart else ""
            name, start, value = naming.WORKERS_APART.name, end - MINUTE, float(s.unshared)
            found.append(Condition(name, model, "", apart, start, end, s.url, "", value, None, text))
    return found


def resources(
    model: str, statuses: Iterable[Status], limits: Mapping[str, float], end: float
) -> list[Condition]:
    """Serving processes of a model that use more memory, processor or disk than its owner allows."""
    rule, found = naming.RESOURCES_HIGH.name, []
    for s in statuses:
        for what in RESOURCES:
            if what in limits and model in s.models and what in s.usage:
                value, limit = s.usage[what], limits[what]
                over = value > limit if s.up else None
                text = sentences.resource(s.url, what, value, limit) if over else ""
                start = end - MINUTE
                found.append(
                    Condition(
                        rule, model, "", over, start, end, s.url, what, value, limit, text, by_owner=True
                    )
                )
    return found


# Of a model as a whole: of its versions, the one that answers is given.
OF_MODEL: tuple[Callable[[Look], list[Condition]], ...] = (silence, volume, business)

# Of each version that answers.
CHECKS: tuple[Callable[[Look], list[Condition]], ...] = (
    errors,
    latency,
    empty,
    dependencies,
    dropped,
    references,
    artifacts,
)


@dataclass(frozen=True)
class _Windows:
    """Counts of windows, by metric and model: those of a model are few, those of all models are not."""

    counts: Mapping[tuple[str, str], Mapping[Series, np.ndarray]]

    @classmethod
    def read(cls, tiles: Tiles, metrics: tuple[Metric, ...], start: int, end: int, step: int) -> "_Windows":
        """All models in one read. A series that ended before `start` is left out."""
        series = [s for metric in metrics for s in tiles.series(metric.name)]
        series = [s for s in series if (seen := tiles.seen(s)) is not None and seen[1] >= start]
        found: dict[tuple[str, str], dict[Series, np.ndarray]] = {}
        for one, windows in zip(series, tiles.windows_many(series, start, end, step), strict=True):
            found.setdefault((one.metric, one.label("model") or ""), {})[one] = windows.counts
        return cls(found)

    def of(self, metric: Metric, model: str) -> Mapping[Series, np.ndarray]:
        """A model's series, each with its counts (T, k)."""
        return self.counts.get((metric.name, model), {})

    def find(self, metric: Metric, model: str, labels: Mapping[str, str]) -> Iterator[np.ndarray]:
        """Counts (T, k) of those that have these labels."""
        wanted = tuple(labels.items())
        for series, counts in self.of(metric, model).items():
            if all(pair in series.labels for pair in wanted):
                yield counts
