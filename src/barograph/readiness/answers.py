"""Four questions answered from facts: what is monitored, do the metrics tell success, how soon is a bug found, would a
difference between development and production be seen; and the score that comes of it. Facts and a drill in, sentences out."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from barograph.clock import iso, parse_time
from barograph.naming import LEARNING as LEARNING_STATUS
from barograph.naming import NO_DATA, OK, WATCH
from barograph.readiness.drilled import Drill, Drilled, current
from barograph.readiness.facts import LEARNING, MUTE, OFF, ON, Check, Facts, Indicators
from barograph.readiness.indicators import ENOUGH_DAYS, Indicator, least_told
from barograph.readiness.rubric import SOURCE, TESTS, Mark, level, marks
from barograph.sentences import duration, plural

MONTH = 30 * 86_400
MOST_COLUMNS, MOST_SIGNALS = 12, 10  # that are shown one by one
GROUPS = {"service": "Service", "output": "Output", "outcomes": "Outcomes", "causes": "Causes"}
_STATUS = {ON: OK, LEARNING: LEARNING_STATUS, MUTE: WATCH}
# What would show that production is not what the model was made for, and the faults of drills that try it.
DEVELOPMENT: dict[str, tuple[str, ...]] = {
    "skew": ("swapped-columns", "wrong-entity", "stale-features", "time-zone"),
    "label skew": ("labels-flipped",),
    "packages": ("faulty-library",),
    "artifact": ("old-model", "flawed-threshold"),
    "reference": ("reference-replaced",),
    "schema": ("column-dropped", "type-changed"),
}
_OTHERS = "Correlation over days, not cause: a fault that no day had yet can still move other signals first."

Row = dict[str, Any]


def answers(facts: Facts, drill: Drill | None, wall: float, problem: str = "") -> dict[str, Any]:
    """The document. `wall` (epoch seconds) is when it is asked, `problem` why the drill's file cannot be read."""
    mine = () if drill is None else drill.of(facts.model)
    fresh = mine if current(mine, facts.references) else ()
    score = marks(facts, fresh)
    points = sum(mark.points for mark in score)
    proven = sum(mark.proven is True for mark in score)
    return {
        "points": points,
        "of": len(TESTS),
        "proven": proven,
        "level": level(points),
        "source": SOURCE,
        "headline": f"{points:g} of {len(TESTS)} points for monitoring",
        "lede": _lede(points, proven),
        "drill": _drill_json(drill, mine, bool(fresh), wall),
        "answers": [
            _answer("score", "Score", "What is tested, by itself, all the time?", _summary(score), map(_marked, score)),
            _monitored(facts),
            _indicators(facts.indicators),
            _delays(drill, mine, bool(fresh), wall, problem),
            _development(facts, fresh),
        ],
    }  # fmt: skip


def _lede(points: float, proven: int) -> str:
    shown = f"{plural(proven, 'test')} proven by the last drill" if proven else "none proven by a drill"
    return (
        f"{level(points)} So the ML Test Score calls it, if the sections on data, model and infrastructure, which barograph does "
        f"not see, are no lower. {shown[:1].upper()}{shown[1:]}."
    )


def _answer(
    id: str,
    name: str,
    question: str,
    summary: str,
    rows: Iterable[Row] = (),
    *,
    groups: Sequence[dict[str, Any]] | None = None,
    table: dict[str, Any] | None = None,
    note: str = "",
) -> dict[str, Any]:
    found = [{"name": "", "rows": list(rows)}] if groups is None else list(groups)
    return {
        "id": id, "name": name, "question": question, "summary": summary, "groups": [g for g in found if g["rows"]],
        "table": table, "note": note,
    }  # fmt: skip


def _row(name: str, status: str, text: str, *notes: str) -> Row:
    return {"name": name, "status": status, "text": text, "note": _sentences(notes)}


def _remedy(text: str) -> str:
    return _sentences((f"to do: {text}",)) if text else ""


def _sentences(parts: Iterable[str]) -> str:
    """Each part as a sentence."""
    return " ".join(f"{p[:1].upper()}{p[1:].rstrip('.')}." for p in parts if p)


# The score.


def _summary(score: Sequence[Mark]) -> str:
    whole = sum(mark.points == 1 for mark in score)
    return f"{whole} of {len(score)} tests run by themselves, and somebody is told"


def _marked(mark: Mark) -> Row:
    status = OK if mark.points == 1 else WATCH if mark.points else NO_DATA
    missing = [f"lacking: {'; '.join(mark.missing)}"] if mark.missing else []
    undrilled = ["no drill has tried it"] if mark.points and mark.proven is None else []
    points = {0.0: "0 points", 0.5: "½ point", 1.0: "1 point"}[mark.points]
    return _row(f"{mark.number}. {mark.name}", status, points, *mark.seen, *undrilled, *missing)


# What is monitored.


def _monitored(facts: Facts) -> dict[str, Any]:
    on, asked = sum(c.state == ON for c in facts.checks), len(facts.checks)
    told = facts.told.text if facts.told.severities else f"{facts.told.text}: {facts.told.remedy}"
    groups = [
        {"name": title, "rows": _checked([c for c in facts.checks if c.group == group])}
        for group, title in GROUPS.items()
    ]
    summary = f"{on} of {asked} checks are on"
    return _answer(
        "monitored", "Monitored", "What is looked at?", summary, groups=groups,
        note=_sentences((f"alerts: {told}",)),
    )  # fmt: skip


def _checked(checks: Sequence[Check]) -> list[Row]:
    """Each check; of many columns those that are not on, then some that are."""
    features = sorted((c for c in checks if c.kind == "feature"), key=lambda c: c.state == ON)
    hidden = features[MOST_COLUMNS:] if len(features) > MOST_COLUMNS + 1 else []
    rows = [_check(c) for c in checks if c not in hidden]
    if hidden:
        on = sum(c.state == ON for c in hidden)
        rows.append(_row(f"{len(hidden)} more features", _STATUS.get(hidden[0].state, NO_DATA), f"{on} on"))
    return rows


def _check(check: Check) -> Row:
    since = "" if check.since is None else f"since {iso(check.since)[:10]}"
    remedy = _remedy(check.remedy) if check.state != ON else ""
    untold = "it raises no alert of its own" if check.state == ON and not check.rules else ""
    notes = (check.text, check.effect, untold, remedy, since if check.state != OFF else "")
    return _row(check.name, _STATUS.get(check.state, NO_DATA), check.state, *notes)


# Indicators.


def _indicators(known: Indicators) -> dict[str, Any]:
    name, question = "Indicators", "Do the metrics go along with success?"
    if known.why:
        return _answer("indicators", name, question, known.why, note=_remedy(known.remedy))
    asked = [one for one in known.found if not one.why]
    told = [one for one in asked if one.told]
    if not asked:
        whys = {one.why.partition(" (")[0] for one in known.found}
        why = next(iter(whys)) if len(whys) == 1 else "no signal can be compared"
        if known.days < ENOUGH_DAYS:
            why = f"too few days ({known.days} of {ENOUGH_DAYS})"
        return _answer(
            "indicators", name, question, f"{why[:1].upper()}{why[1:]}", note=_remedy(known.remedy)
        )
    helpful = sum(one.rho > 0 for one in told)
    verb, by = "rises" if helpful == 1 else "rise", f"{known.metric}, {plural(known.days, 'day')}"
    summary = f"{helpful} of {plural(len(asked), 'signal')} {verb} with the error ({by})"
    weakest = least_told(median(one.apart for one in asked), len(asked))
    left = len(known.found) - len(asked)
    notes = (
        _OTHERS,
        f"of so many days a correlation below {weakest:.2f} may go untold" if weakest < 1 else "",
        f"{plural(left, 'signal')} could not be compared, most of them as they never moved" if left else "",
        "one in twenty of those told may be by chance" if told else "",
    )
    return _answer(
        "indicators", name, question, summary, map(_indicator, asked[:MOST_SIGNALS]), note=_sentences(notes)
    )


def _indicator(one: Indicator) -> Row:
    worth = "" if one.apart > one.days - 1 else f", worth {one.apart:.0f} that are not alike"
    ends = f"95 % interval {one.low:.2f} to {one.high:.2f}, {plural(one.days, 'day')}{worth}".replace(
        " -", " −"
    )
    q = f"q {one.q:.3f}" if one.q >= 0.001 else "q under 0.001"
    return _row(
        one.name, OK if one.told and one.rho > 0 else WATCH if one.told else NO_DATA, f"{one.rho:.2f}".replace("-", "−"),
        one.verdict, f"{ends}, {q}",
    )  # fmt: skip


# Delays.


def _drill_json(
    drill: Drill | None, mine: Sequence[Drilled], fresh: bool, wall: float
) -> dict[str, Any] | None:
    if drill is None:
        return None
    return {
        "began": drill.began, "age": _age(drill, wall), "current": fresh, "results": len(mine),
        "references": sorted({one.reference for one in mine} - {""}),
    }  # fmt: skip


def _age(drill: Drill, wall: float) -> float | None:
    try:
        return max(0.0, wall - parse_time(drill.began))
    except (ValueError, OverflowError):
        return None


def _delays(
    drill: Drill | None, mine: Sequence[Drilled], fresh: bool, wall: float, problem: str
) -> dict[str, Any]:
    name, question = "Delays", "How soon would a bug be found?"
    again = (
        "barograph drill injects faults into your own traffic; what it writes is read here ([drill] report)"
    )
    if problem:
        return _answer("delays", name, question, "The last drill cannot be read", note=_sentences((problem,)))
    if drill is None:
        return _answer("delays", name, question, "No drill yet", note=_sentences((again,)))
    if not mine:
        others = ", ".join(dict.fromkeys(one.model for one in drill.found)) or "no model"
        return _answer(
            "delays",
            name,
            question,
            "No drill of this model",
            note=_sentences((f"the last one was of {others}", again)),
        )
    tried = [one for one in mine if one.caught is not None]
    caught = [one for one in tried if one.caught]
    delays = [one.delay for one in caught if one.delay is not None]
    soon = f", half of them within {_after(median(delays))}" if delays else ""
    age = _age(drill, wall)
    old = age is not None and age > MONTH
    ago = f"of {drill.began[:10]}" + ("" if age is None else f", {duration(age)} ago")
    summary = f"{len(caught)} of {plural(len(tried), 'fault')} caught{soon}"
    notes = (
        f"drill {ago}",
        "" if fresh else _stale(mine),
        "it is more than a month old: drill again" if old else "",
    )
    head = ["Found after", "Fault", "Verdict", "From", "First signal"]
    return _answer(
        "delays", name, question, summary if fresh else f"Stale: {summary}", note=_sentences(notes),
        table={"head": head, "rows": [_delay(one) for one in mine]},
    )  # fmt: skip


def _stale(mine: Sequence[Drilled]) -> str:
    names = ", ".join(sorted({one.reference for one in mine} - {""}))
    which = f"it was judged by reference {names}, which is not the one that is live" if names else (
        "it does not say by which reference it was judged"
    )  # fmt: skip
    return f"{which}: it counts for nothing here, drill again"


def _delay(one: Drilled) -> list[str]:
    signal = f"{one.signal}; what would catch it: {one.lacking}" if one.lacking else one.signal
    after = "never" if one.caught is False else "–" if one.caught is None else _after(one.delay)
    return [after, one.title, one.verdict, one.needs, signal]


def _after(seconds: float | None) -> str:
    """How long it took, to the minute.

    >>> _after(300.0), _after(43_380.0), _after(None)
    ('5 min', '12 h 3 min', '')
    """
    return "" if seconds is None else duration(seconds).removesuffix(" 0 s").removesuffix(" 0 min")


# Development against production.


def _development(facts: Facts, drilled: Sequence[Drilled]) -> dict[str, Any]:
    rows = [
        _compared(check, [one for one in drilled if one.name in incidents and one.caught is not None])
        for kind, incidents in DEVELOPMENT.items()
        for check in facts.of(kind)
    ]
    on = sum(c.state == ON for c in facts.of(*DEVELOPMENT))
    summary = f"{on} of {plural(len(rows), 'comparison')} are made"
    return _answer(
        "development", "Development and production", "Would a difference be caught?", summary, rows
    )


def _compared(check: Check, drilled: Sequence[Drilled]) -> Row:
    found = _check(check)
    caught = [f"{one.title} ({one.needs}, after {_after(one.delay)})" for one in drilled if one.caught]
    blind = [f"{one.title} ({one.lacking})" for one in drilled if not one.caught]
    said = (
        f"the drill caught: {'; '.join(caught)}" if caught else "",
        f"the drill went unnoticed: {'; '.join(blind)}" if blind else "",
    )
    status = WATCH if blind and found["status"] == OK else found["status"]
    return {**found, "status": status, "note": " ".join(p for p in (found["note"], _sentences(said)) if p)}
