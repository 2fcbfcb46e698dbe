"""The page of a model's readiness: what is seen of its monitoring now, as facts; `barograph.readiness` answers from them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from barograph import checks, delivered, lines, naming, outcome_checks, sentences, skew, traffic
from barograph.alert import ENOUGH_CALLS, Condition
from barograph.calibrate import BOUND
from barograph.clock import Clock, iso
from barograph.console.by_day import indicators
from barograph.console.state import DAY, HOUR, Span, State, View, tidy
from barograph.judging import by_lane
from barograph.labels.days import ENOUGH_DAYS, DayBook, Days
from barograph.lanes import DAILY
from barograph.ledger import CHANGE
from barograph.naming import Rule
from barograph.outbox import Outbox
from barograph.readiness.answers import answers
from barograph.readiness.drilled import Drill, DrillFileError
from barograph.readiness.facts import ANY, FEW, LEARNING, MUTE, OFF, ON, Check, Facts, Indicators, Told
from barograph.sentences import plural, share

LATE_LETTER = HOUR  # wall time after which a message that nobody took says that a webhook takes none
_HOURS = DAY // HOUR
_BURN = 6  # hours over which calls are enough to judge a budget by
_RESOURCES = {
    "memory": ("Memory", '"2 GiB"'),
    "cpu": ("Processor", "1.5"),
    "disk": ("Disk", "0.9"),
}  # and such a limit
_OF_FEATURES = (naming.INPUT_BROKEN.name, naming.FEATURE_SHIFTED.name)


def document(state: State, name: str, span: Span, version: str | None = None) -> dict[str, Any]:
    """The answers, and the facts that they are made of."""
    known = facts(state, name, span.now, version)
    problem, drill = "", None
    try:
        drill = Drill.load(state.config.drill.report)
    except DrillFileError as error:
        problem = str(error)
    found = {
        "name": name,
        "version": known.version,
        "now": iso(int(span.now)),
        **answers(known, drill, Clock().now(), problem),
        "facts": known.to_json(),
    }
    return tidy(found)  # type: ignore[no-any-return]


def facts(state: State, name: str, now: float, version: str | None = None) -> Facts:
    """What is seen at `now` (epoch seconds); KeyError where there is no such model, or version."""
    view = state.view(name, Span("24h", now), version)
    look = _look(view)
    days = next((look.days(known.outcomes) for _, known in look.known() if known.outcomes is not None), None)
    columns = list(_columns(view))
    found = [
        *_service(look, view),
        *_output(look, view, columns),
        *_outcomes(look, view, days),
        *_causes(look, view, columns),
    ]
    why, remedy = _unlabelled(view, days)
    told = Indicators(why=why, remedy=remedy) if why or days is None else indicators(view, days)
    references = tuple(sorted(set(view.version.references.values())))
    return Facts(name, view.version.version, now, references, tuple(found), _told(view), told)


def _look(view: View) -> checks.Look:
    state, first = view.state, min(v.first for v in view.versions)
    counters = checks.Counters(state.tiles, view.span.now)
    config = state.config.model(view.version.model)
    return checks.Look(
        state.tiles, counters, view.version, first, config, state.references.of, DayBook(state.tiles)
    )


def _rules(*rules: Rule) -> tuple[str, ...]:
    return tuple(rule.name for rule in rules)


def _hourly(
    kind: str,
    group: str,
    name: str,
    enough: np.ndarray,
    rules: tuple[Rule, ...],
    few: tuple[str, str],
    first: int,
    more: str,
) -> Check:
    """A check of the last day's hours: on where any had enough to judge. `few` is what is said, and done, where none had."""
    n = int(np.sum(enough))
    text = f"judged in {n} of the last {len(enough)} hours{more}" if n else few[0]
    return Check(
        kind, group, name, ON if n else FEW, text, "" if n else few[1], _rules(*rules), float(first), n
    )  # fmt: skip


# Service.


def _service(look: checks.Look, view: View) -> Iterator[Check]:
    limits, first = look.config.limits, view.version.first
    yield _expected(look, "traffic", "Traffic", naming.NO_TRAFFIC, naming.PREDICTIONS, look.first)
    calls = _over_hours(look.counters.hours(naming.PREDICTIONS, **view.version.names))
    few = (f"fewer than {ENOUGH_CALLS} calls in 6 hours", "more calls; no share of so few can be told")
    owner = "errors" in limits
    drawn = (
        f", above {share(limits['errors'])} (set by owner)"
        if owner
        else ", by how fast they use up the budget of 0.1 %"
    )
    yield _hourly(
        "errors", "service", "Errors", calls >= ENOUGH_CALLS, (naming.ERRORS_HIGH,), few, first, drawn
    )
    yield _latency(look, view)
    statuses = [s for s in view.state.statuses() if view.version.model in s.models]
    up = sum(s.up is True for s in statuses)
    yield Check(
        "processes", "service", "Serving processes", ON if statuses else OFF,
        f"{up} of {len(statuses)} can be read" if statuses else "no process of it is read here",
        "" if statuses else "barograph serve --target, which asks its processes itself",
        _rules(naming.TARGET_DOWN, naming.WORKERS_APART),
    )  # fmt: skip
    for what, (title, such) in _RESOURCES.items():
        known = sum(what in s.usage for s in statuses)
        state = ON if known and what in limits else OFF
        text = (
            f"told by {known} of {plural(len(statuses), 'process', 'processes')}"
            if known
            else "no process tells it"
        )
        where = "" if known else ", and barograph serve --target, which asks its processes"
        remedy = f"{what} = {such} under [models.{view.version.model}.limits]{where}"
        yield Check(what, "service", title, state, text, remedy, _rules(naming.RESOURCES_HIGH))


def _expected(
    look: checks.Look, kind: str, name: str, rule: Rule, metric: naming.Metric, first: int, **labels: str
) -> Check:
    """Silence: judged in hours for which so many events are usual that none at all is no chance."""
    counters = look.counters
    starts = np.arange(counters.first_hour, counters.hour, HOUR)
    known = starts >= first // HOUR * HOUR
    counts = counters.hours(metric, look.version.model, **labels)
    usual = traffic.usual(starts[-_HOURS:], starts[known], counts[known], least=1).expected
    group = "service" if kind == "traffic" else "outcomes"
    if np.isnan(usual).all():
        text = "what is usual is known once the same hours of a week before are there"
        return Check(kind, group, name, LEARNING, text, "wait for a week", _rules(rule), float(first))
    most = float(np.nanmax(usual))
    few = (
        f"at most {most:.0f} an hour are usual",
        f"{traffic.SILENCE} an hour are needed: fewer may fail to come by chance",
    )
    enough = np.nan_to_num(usual) >= traffic.SILENCE
    return _hourly(kind, group, name, enough, (rule,), few, first, ", where some were due")


def _over_hours(hours: np.ndarray) -> np.ndarray:
    """Sums of six hours to the end of each of the last 24."""
    return np.convolve(hours, np.ones(_BURN, dtype=np.int64))[: len(hours)][-_HOURS:]


def _latency(look: checks.Look, view: View) -> Check:
    limits, end = look.config.limits, look.counters.hour
    series = view.series(naming.DURATION, stage=naming.TOTAL)
    found = view.tiles.windows_many(series, end - DAY - _BURN * HOUR, end, HOUR)
    hours = sum((w.counts.sum(axis=1) for w in found), np.zeros(_HOURS + _BURN, dtype=np.int64))
    own = [name for name in ("latency_p50", "latency_p95", "latency_p99") if name in limits]
    if not np.sum(hours):
        remedy = "have calls timed: instrument(app, monitor), or monitor.stage"
        return Check("latency", "service", "Latency", OFF, "no call is timed", remedy, _rules(naming.SLOW))
    drawn = (
        f", limit {', '.join(own)} (set by owner)" if own else ", slower than 0.5 s in more than 1 % of calls"
    )
    few = (f"fewer than {ENOUGH_CALLS} timed calls in 6 hours", "more timed calls")
    enough = _over_hours(np.asarray(hours)) >= ENOUGH_CALLS
    return _hourly("latency", "service", "Latency", enough, (naming.SLOW,), few, view.version.first, drawn)


# Output.


def _output(look: checks.Look, view: View, columns: Sequence[Check]) -> Iterator[Check]:
    rows = look.counters.hours(naming.PREDICTIONS, **view.version.names)[-_HOURS:]
    few = (f"fewer than {checks.ENOUGH_ROWS} answers in any hour", "more rows an hour")
    yield _hourly(
        "empty", "output", "Empty answers", rows >= checks.ENOUGH_ROWS, (naming.EMPTY_HIGH,), few, view.version.first, ""
    )  # fmt: skip
    mine = [one for one in columns if one.group == "output"]
    yield from mine or [_unreferenced(view, "answer", "output", "Answers")]
    found = delivered.overridden(look)
    known = any(c.active is not None for c in found)
    yield Check(
        "overridden", "output", "Answers that rules replaced", ON if known else FEW,
        "judged by the last 24 hours" if known else "too few days and rows to know what is usual",
        "" if known else f"{delivered.ENOUGH_DAYS} days of {delivered.ENOUGH_ROWS} rows", _rules(naming.OUTPUT_SHIFTED),
        float(view.version.first),
    )  # fmt: skip


def _unreferenced(view: View, kind: str, group: str, name: str) -> Check:
    rule = (naming.OUTPUT_SHIFTED.name,) if kind == "answer" else _OF_FEATURES
    if view.known is not None:
        return Check(
            kind, group, name, OFF, "the reference has none", "name its column in Reference.fit", rule
        )
    remedy = "Reference.fit where the model is evaluated, and reference= of the Monitor"
    return Check(kind, group, name, OFF, "no reference says what is usual", remedy, rule)


def _columns(view: View) -> Iterator[Check]:
    """Each column that is counted, of the model and of heuristics: what its lanes judged in the last day."""
    for one in (view, *view.beside):
        if one.known is None or one.bins is None or one.columns is None:
            continue
        names, ledger, now = list(one.known.reference.bins.columns), view.state.ledger, view.span.now
        judged = {}
        for lane, counted in by_lane(one.version, one.bins, view.state.config.window):
            reach = (
                DAY if lane is not DAILY else DAY + HOUR
            )  # the last day that is over is judged a little later
            judged[lane] = ledger.history(counted, now - reach, now, len(names))
        seen = one.tiles.seen(one.columns)
        counts = one.counted(now - DAY).counts
        for i, name in enumerate(names):
            found = {
                lane: np.any([np.isfinite(r[:, i]) for r in h.ratios.values()], axis=0) if h.ratios else np.zeros(0, bool)
                for lane, h in judged.items()
            }  # fmt: skip
            by = {lane: min(int(np.sum(flags)), DAY // lane.seconds) for lane, flags in found.items()}
            main = judged[one.known.lane]
            rows = main.rows[found[one.known.lane], i] if by[one.known.lane] else np.zeros(0)
            received = int(counts[one.known.reference.bins.slice(name)].sum())
            yield _column(one, name, {lane.title: n for lane, n in by.items()}, rows, received, seen)


def _column(
    view: View, name: str, by: dict[str, int], rows: np.ndarray, received: int, seen: tuple[int, int] | None
) -> Check:
    assert view.known is not None
    role = view.known.reference.bins.roles[name]
    kind, group = ("feature", "causes") if role == "feature" else ("answer", "output")
    rules = _OF_FEATURES if role == "feature" else (naming.OUTPUT_SHIFTED.name,)
    judged, since = sum(by.values()), None if seen is None else float(seen[0])

    def check(state: str, text: str, remedy: str = "", effect: str = "") -> Check:
        return Check(kind, group, name, state, text, remedy, rules, since, judged, effect)

    if not received:
        return check(OFF, "no values in the last day", "see that the service sends it, and is read")
    calibration = (
        view.calibration
    )  # not where nothing came for long: it would be drawn of all the hours until now
    assert calibration is not None
    if not judged:
        least = calibration.lane.minimum
        return check(
            FEW,
            f"no window of {least} rows in the last day, {received} in all",
            f"{least} rows a day at least",
        )
    windowed = ", ".join(f"{n} of {lines.article(title)}" for title, n in by.items() if n)
    text = f"judged in {plural(judged, 'window')} of the last day: {windowed}"
    if calibration.learning is not None:
        remedy = "a reference with the times of a week, or 14 days of live traffic"
        return check(LEARNING, f"{text}; gross faults alone, as {calibration.learning}", remedy)
    n = int(np.median(rows)) if len(rows) else received
    mute, every = _mute(view, name, n)
    effect = _effect(lines.detectable(calibration, name, n), n)
    if every:
        return check(
            MUTE,
            f"{text}; of {lines.article(calibration.lane.title)} values out of range alone can alarm",
            "more rows, or limits of its owner",
        )
    quiet = (
        f"; {', '.join(mute)} cannot alarm in windows of {lines.article(calibration.lane.title)}"
        if mute
        else ""
    )
    return check(ON, f"{text}{quiet}", "", effect)


def _mute(view: View, name: str, n: int) -> tuple[list[str], bool]:
    """Signals of a column whose line lies beyond what they can reach, and whether these are all that it has."""
    assert view.calibration is not None
    found, column = view.calibration.thresholds(name, n), view.calibration.columns.references[name]
    has = {"L": bool(np.isfinite(column.ridit_sd)), "U": column.tests_unseen}
    mine = [s for s in BOUND if has.get(s, True) and np.isfinite(found[s])]
    mute = [s for s in mine if float(found[s]) >= column.ceilings[s]]
    return mute, len(mute) == len(mine)


def _effect(found: lines.Effects, n: int) -> str:
    """The smallest changes that windows of n rows find nine times in ten."""
    parts = []
    if found.shift is not None:
        parts.append(f"a shift of {sentences.about(found.shift)} sd")
    if found.missing is not None:
        parts.append(f"{sentences.about(found.missing * 100)} points more missing")
    if found.unseen is not None:
        parts.append(f"{share(found.unseen)} never seen")
    return f"finds {', '.join(parts)} in windows of {n} rows" if parts else ""


# Outcomes.


def _outcomes(look: checks.Look, view: View, days: Days | None) -> Iterator[Check]:
    events = look.counters.events(view.version.model)
    for event, first in events.items():
        yield _expected(
            look, "business", f"Event {event}", naming.BUSINESS_STOPPED, naming.BUSINESS, first, event=event
        )
    if not events:
        remedy = 'monitor.business("order"), for what stakeholders count'
        rules = _rules(naming.BUSINESS_STOPPED)
        yield Check("business", "outcomes", "Business events", OFF, "none is counted", remedy, rules)
    why, remedy = _unlabelled(view, days)
    course = outcome_checks.fall(look)
    told = [c for c in (*outcome_checks.quality(look), *course) if c.rule == naming.QUALITY_LOW.name]
    leak = [c for c in course if c.rule == naming.SLOW_LEAK.name]
    many = 0 if days is None else len(days.settled)
    few = (
        why or f"labels of {plural(many, 'day')} have matured",
        remedy or f"labels of {outcome_checks.FIRST_DAYS} days",
    )
    since = None if days is None or not days.matured.any() else float(days.starts[days.matured][0])
    for kind, name, found, rule in (
        ("quality", "Quality", told, naming.QUALITY_LOW),
        ("leak", "Slow leak of quality", leak, naming.SLOW_LEAK),
        ("concept", "Meaning of scores", outcome_checks.concept(look), naming.CONCEPT_DRIFT),
        ("late", "Labels in time", outcome_checks.late(look), naming.LABELS_LATE),
    ):
        text = (
            f"judged by {plural(many, 'day')} with their labels{_reading(found) if kind != 'concept' else ''}"
        )
        state = ON if found else OFF if why else FEW
        yield Check(
            kind,
            "outcomes",
            name,
            state,
            text if found else few[0],
            "" if found else few[1],
            _rules(rule),
            since,
        )
    if look.config.fears:
        feared = outcome_checks.fears(look)
        yield Check(
            "fears", "outcomes", "What stakeholders fear", ON if feared else OFF if why else FEW,
            f"{len(feared)} of {len(look.config.fears)} can be told" if feared else few[0], "" if feared else few[1],
            _rules(naming.FEAR_CAME_TRUE), since,
        )  # fmt: skip
    promised = view.known is not None and view.known.promised is not None
    begun, period = view.version.first, None if view.known is None else view.known.reference.period
    ends = "" if period is None else f", what was usual is of up to {iso(period[1])[:10]}"
    age = f"this version has served for {sentences.duration(view.span.now - begun)}{ends}"
    yield Check("age", "outcomes", "Age of the model", ON, age, since=float(begun))
    if not promised:
        yield Check(
            "estimate",
            "outcomes",
            "Quality before labels",
            OFF,
            "the reference has no labels",
            "label= of Reference.fit",
        )
    elif not view.rows:
        yield Check("estimate", "outcomes", "Quality before labels", OFF, "no rows in the last day")
    else:
        yield Check("estimate", "outcomes", "Quality before labels", ON, "estimated from what scores promise")


def _reading(found: Sequence[Condition]) -> str:
    """The last figure of the first of them beside its line."""
    one = next((c for c in found if c.value is not None and c.threshold is not None), None)
    return (
        ""
        if one is None
        else f": {sentences.number(one.value or 0)} against {sentences.number(one.threshold or 0)}"
    )


def _unlabelled(view: View, days: Days | None) -> tuple[str, str]:
    """Why labels say nothing, and the remedy; empty where they do."""
    names = view.version.names
    if not view.tiles.series(naming.LOGGED, **names):
        log = view.state.config.log
        remedy = (
            "Monitor(log=...) and monitor.feedback(id, label)"
            if log
            else "Monitor(log=...), and barograph serve --log"
        )
        return "No labels: no predictions are logged", remedy
    if days is None:
        known = view.known
        if known is not None and known.outcomes is None:
            return f"Outcomes of {known.reference.task} are not told", "see docs/outcomes.md"
        return "No labels: no reference says how to count them", "reference= of the Monitor"
    if not days.labelled.any():
        return "No labels have come", "monitor.feedback(id, label), or barograph labels import"
    if not days.matured.any():
        return (
            "Labels still arrive: no day has nearly all of them",
            f"wait for {ENOUGH_DAYS} days that have their labels",
        )
    return "", ""


# Causes.


def _causes(look: checks.Look, view: View, columns: Sequence[Check]) -> Iterator[Check]:
    mine = [one for one in columns if one.group == "causes"]
    yield from mine or [_unreferenced(view, "feature", "causes", "Features")]
    yield from _skews(look, view)
    yield _packages(look, view)
    infos, rows, first = look.infos(DAY), view.rows > 0, float(view.version.first)
    for kind, name, labels, rule in (
        ("artifact", "Artifact and configuration", {"digest": "artifact", "config": "config"}, naming.ARTIFACT_DIFFERS),
        ("reference", "Reference of all processes", {"reference": "reference"}, naming.REFERENCE_CHANGED),
    ):  # fmt: skip
        known = [given for label, given in labels.items() if any(s.label(label) for s in infos)]
        lacking = [f"{given}=" for given in labels.values() if given not in known]
        text = f"{' and '.join(known)} told by processes of the last day" if known else "no process tells it"
        remedy = f"{' and '.join(lacking)} of the Monitor" if lacking else ""
        yield Check(kind, "causes", name, OFF if lacking else ON, text, remedy, _rules(rule), first)
    yield Check(
        "dropped", "causes", "Rows that are not counted", ON if rows else OFF,
        "looked at each minute" if rows else "no rows in the last day", "", _rules(naming.ROWS_DROPPED), first,
    )  # fmt: skip
    series = view.series(naming.VIOLATIONS)
    day = view.tiles.windows_many(series, view.span.start, view.span.end, DAY)
    broken = int(sum(w.counts.sum() for w in day))
    yield Check(
        "schema", "causes", "Schema", ON if rows and view.known is not None else OFF,
        f"{plural(broken, 'value')} of the last day broke it" if rows and view.known else "no reference, or no rows in a day",
        "" if view.known else "reference= of the Monitor", (), first,
    )  # fmt: skip
    now = view.span.now
    told = sum(e.kind == CHANGE for e in view.state.ledger.events(now - 30 * DAY, now, view.version.model))
    yield Check(
        "changes", "causes", "Changes of other services", ON if told else OFF,
        f"{told} told of in 30 days" if told else "none told of in 30 days",
        "" if told else 'barograph event "profile-service 4.12", where it is deployed',
    )  # fmt: skip


def _skews(look: checks.Look, view: View) -> Iterator[Check]:
    """Training against serving: features of the version's first day, and labels of its first week."""
    known, found = view.known, outcome_checks.skew(look)
    rule, since = _rules(naming.TRAIN_SERVE_SKEW), float(view.version.first)
    for kind, name, there, mine, few in (
        (
            "skew", "Training against serving, features", known is not None and known.reference.training is not None,
            [c for c in found if c.column != skew.LABEL], f"fewer than {skew.EARLY_ROWS} rows in the version's first day",
        ),
        (
            "label skew", "Training against serving, labels",
            known is not None and known.reference.training_labels is not None,
            [c for c in found if c.column == skew.LABEL], f"fewer than {skew.EARLY_ROWS} labels of the version's first week",
        ),
    ):  # fmt: skip
        if not there:
            remedy = "training= of Reference.fit" + (", with its labels" if kind != "skew" else "")
            yield Check(kind, "causes", name, OFF, "the reference knows no training data", remedy, rule)
        elif not mine:
            yield Check(kind, "causes", name, FEW, few, "wait for them", rule, since)
        else:
            over = [c.column for c in mine if c.active]
            text = f"skewed: {', '.join(over)}" if over else f"{plural(len(mine), 'comparison')}, none skewed"
            yield Check(kind, "causes", name, ON, text, "", rule, since)


def _packages(look: checks.Look, view: View) -> Check:
    found = look.tiles.series(naming.DEPENDENCY_INFO.name, **view.version.names)
    lately = [s for s in found if (seen := look.tiles.seen(s)) is not None and look.end - seen[1] <= DAY]
    rule = _rules(naming.DEPENDENCY_DIFFERS)
    if not lately:
        remedy = "fit the reference where the model's packages are loaded: it keeps their versions"
        return Check("packages", "causes", "Package versions", OFF, "none is compared", remedy, rule)
    names = sorted({s.label("package") or "" for s in lately})
    differ = sorted({s.label("package") or "" for s in lately if s.label("running") != s.label("trained")})
    text = f"{', '.join(differ)} differs" if differ else f"as trained with: {', '.join(names)}"
    return Check("packages", "causes", "Package versions", ON, text, "", rule, float(view.version.first))


# Who is told.


def _told(view: View) -> Told:
    config, now = view.state.config, view.span.now
    muted = tuple(
        sorted(
            {
                m.rule or ANY
                for m in view.state.ledger.policy(now).mutes
                if m.model == view.version.model and not m.column and m.since <= now
            }
        )
    )
    if config.prometheus is not None:
        text = "Prometheus' rules tell (barograph mixin writes them; whether they are loaded there is not looked at)"
        return Told(("page", "ticket"), muted, text)
    remedy = 'webhooks = ["https://..."] in barograph.toml'
    if not config.webhooks:
        return Told((), muted, "nobody is told", remedy)
    oldest = Outbox(view.tiles).oldest()
    if oldest is not None and Clock().now() - oldest > LATE_LETTER:
        text = f"a webhook has taken no message for {sentences.duration(Clock().now() - oldest)}"
        return Told((), muted, text, "see the log of barograph serve for what it answers")
    heard = tuple(s for s in ("page", "ticket") if any(s in w.severities for w in config.webhooks))
    names = " and ".join(f"{s}s" for s in heard)
    return Told(heard, muted, f"{names} go to {plural(len(config.webhooks), 'webhook')}", remedy)
