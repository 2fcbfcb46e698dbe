"""What people decide, as requests: mute, unmute, acknowledge, not a problem. The same for the API and the command line.

Each takes the state, the time and a JSON object, checks it, stores what was decided, and answers what it stored.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from barograph.alert import FIRING, OF_COLUMNS, PENDING, Alert, Incident
from barograph.calibrate import BOUND
from barograph.clock import iso, parse_time
from barograph.console.state import DAY, State
from barograph.naming import RULES
from barograph.policy import LONGEST_MUTE, Acknowledgement, Mark, Mute, Policy

LOOKED_BACK = 30 * DAY  # for an alert that is over and was no problem
LONGEST_TEXT = 500


class Refused(Exception):
    """A decision that cannot be taken: the code of the answer, what is wrong, and the remedy."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def mute(state: State, now: float, body: Mapping[str, Any]) -> dict[str, Any]:
    """Nobody is told of some alerts of a model for `seconds`, or `until` a time."""
    _known(body, "model", "rule", "column", "seconds", "until", "reason", "by")
    model, rule, column = _model(state, body), _text(body, "rule", ""), _text(body, "column", "")
    if rule and rule not in RULES:
        near = difflib.get_close_matches(rule, RULES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(RULES)}"
        raise Refused(422, f"rule: no alert is named {rule!r}; {hint}")
    if rule or column:
        _used(state, model, rule, column, now)
    one = Mute.of(model, rule, column, now, _until(body, now), _text(body, "reason"), _text(body, "by"))
    state.ledger.save_mute(one)
    return mute_json(one)


def unmute(state: State, now: float, body: Mapping[str, Any]) -> dict[str, Any]:
    """End a mute by its `id`, or all of a `model`."""
    _known(body, "id", "model")
    mutes = state.ledger.policy(now).mutes
    if ("id" in body) == ("model" in body):
        raise Refused(422, "id: give the id of a mute, or a model whose mutes are all to end")
    if "id" in body:
        ended = [m.id for m in mutes if m.id == _text(body, "id")]
    else:
        name = _model(state, body)
        ended = [m.id for m in mutes if m.model == name]
    if not ended:
        listed = ", ".join(f"{m.id} ({m.model})" for m in mutes) or "none"
        raise Refused(404, f"no such mute goes on; there {'is' if len(mutes) < 2 else 'are'} {listed}")
    for one in ended:
        state.ledger.end_mute(one, now)
    return {"ended": ended}


def acknowledge(state: State, now: float, body: Mapping[str, Any]) -> dict[str, Any]:
    """Somebody works on an open incident, named by its id or by its model; with `undo` nobody does any more."""
    _known(body, "incident", "by", "note", "undo")
    named, opened = _text(body, "incident"), [i for i in state.ledger.incidents(since=9e18) if i.open]
    found = next((i for i in opened if named in (i.id, i.model)), None)
    if found is None:
        listed = ", ".join(i.id for i in opened) or "none"
        raise Refused(
            404, f"incident: {named!r} is not open; there {'is' if len(opened) < 2 else 'are'} {listed}"
        )
    if body.get("undo") is True:
        if not state.ledger.take_back("acknowledgements", found.id):
            raise Refused(404, f"incident: nobody has acknowledged {found.id}; leave undo out to do so")
        return {"incident": found.id, "acknowledged": None}
    by, note = _text(body, "by"), _text(body, "note", "")
    one = Acknowledgement(found.id, found.model, found.severity, now, by, note)
    state.ledger.acknowledge(one)
    return {"incident": found.id, "acknowledged": acknowledgement_json(one)}


def not_a_problem(state: State, now: float, body: Mapping[str, Any]) -> dict[str, Any]:
    """The alert that a column has, or last had, was none: its windows are learnt from; with `undo` they are not."""
    _known(body, "model", "column", "signal", "by", "reason", "undo")
    model, column, signal = _model(state, body), _text(body, "column"), _text(body, "signal", "")
    if signal and signal not in BOUND:
        raise Refused(
            422, f"signal: {signal!r} is not one of {', '.join(BOUND)}, which are learnt; mute it instead"
        )
    if body.get("undo") is True:
        marks = state.ledger.policy(now).marks
        mine = [m for m in marks if (m.model, m.column) == (model, column) and signal in ("", m.signal)]
        if not mine:
            raise Refused(
                404, f"column: nothing of {column!r} was said to be no problem; leave undo out to do so"
            )
        for one in mine:
            state.ledger.take_back("marks", one.id)
        return {"taken_back": [one.id for one in mine]}
    by, reason = _text(body, "by"), _text(body, "reason")
    marks = [
        Mark.of(a, _bins(state, a), now, by, reason) for a in _last_alerts(state, model, column, signal, now)
    ]
    for one in marks:
        state.ledger.save_mark(one)
    return {"marks": [mark_json(one) for one in marks]}


DECISIONS: dict[str, Callable[[State, float, Mapping[str, Any]], dict[str, Any]]] = {
    "mute": mute,
    "unmute": unmute,
    "acknowledge": acknowledge,
    "not-a-problem": not_a_problem,
}


def _last_alerts(state: State, model: str, column: str, signal: str, now: float) -> list[Alert]:
    """The alerts that a column has, by signal; where it has none, the one that ended last."""
    found = [
        a
        for a in state.ledger.alerts(model, since=now - LOOKED_BACK)
        if a.condition.rule in OF_COLUMNS
        and a.condition.column == column
        and a.state != PENDING
        and signal in ("", a.condition.signal)
    ]
    firing = [a for a in found if a.state == FIRING]
    chosen = firing or sorted(found, key=lambda a: a.until or 0.0)[-1:]
    if not chosen:
        what = f"signal {signal} of {column!r}" if signal else repr(column)
        raise Refused(404, f"column: {what} of {model} has had no alert in 30 days; see GET /api/incidents")
    if all(a.condition.by_owner for a in chosen):
        raise Refused(
            422, f"column: the limit of {column!r} is set by its owner; change it in barograph.toml"
        )
    learnt = [a for a in chosen if a.condition.signal in BOUND and not a.condition.by_owner]
    if not learnt:
        raise Refused(
            422, f"column: {column!r} is out of range, which is not learnt; mute it, or limit its O"
        )
    return learnt


def _bins(state: State, alert: Alert) -> str:
    """The bins that the column of an alert was counted over."""
    c = alert.condition
    for version in state.models().get(c.model, ()):
        for bins in version.series if version.version == c.version else ():
            known = state.references.of(version, bins)
            if known is not None and c.column in known.reference.bins.columns:
                return bins
    raise Refused(
        404, f"column: version {c.version} of {c.model} is not known any more; nothing is learnt of it"
    )


def _used(state: State, model: str, rule: str, column: str, now: float) -> None:
    """Whether a mute could ever be of anything: columns are known by the reference, all else by its alerts."""
    if not column:
        return
    versions = state.models()[model]
    known = (state.references.of(v, bins) for v in versions for bins in v.series)
    names = {name for one in known if one is not None for name in one.reference.bins.columns}
    names |= {a.condition.column for a in state.ledger.alerts(model, since=now - LOOKED_BACK)}
    if column not in names and rule in ("", *OF_COLUMNS):
        near = difflib.get_close_matches(column, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(names - {''})[:12])}"
        raise Refused(422, f"column: {model} has no column {column!r}; {hint}")


def _until(body: Mapping[str, Any], now: float) -> float:
    given, seconds = body.get("until"), body.get("seconds")
    if (given is None) == (seconds is None):
        raise Refused(422, "until: give either until, a time, or seconds")
    if seconds is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
            raise Refused(422, f"seconds: {seconds!r} is no length of time; give a number above 0")
        moment = now + seconds
    else:
        try:
            moment = parse_time(str(given))
        except (ValueError, OverflowError):
            text = str(given)[:60]
            raise Refused(
                422, f"until: {text!r} is no time with a zone; give one such as 2026-11-20T09:00:00Z"
            ) from None
    if not now < moment <= now + LONGEST_MUTE:
        remedy = f"give a time after {iso(int(now))}, within a year"
        ends = "more than a year from" if moment > now else "before"
        raise Refused(422, f"until: it would end {ends} now; {remedy}")
    return moment


def _known(body: Mapping[str, Any], *names: str) -> None:
    for key in body:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
            raise Refused(422, f"{key[:60]!r} is not known; {hint}")


def _model(state: State, body: Mapping[str, Any]) -> str:
    name, models = _text(body, "model"), state.models()
    if name not in models:
        near = difflib.get_close_matches(name, models, 1)
        hint = f"did you mean {near[0]!r}?" if near else "GET /api/fleet lists what is"
        raise Refused(404, f"model: {name!r} is not known here; {hint}")
    return name


def _text(body: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = body.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not 0 < len(value.strip()) <= LONGEST_TEXT:
        shown = repr(value)[:60]
        raise Refused(422, f"{key}: {shown}; give a text of 1 to {LONGEST_TEXT} characters")
    return value.strip()


# What was decided, as JSON.


def mute_json(one: Mute) -> dict[str, Any]:
    """A mute."""
    return {
        "id": one.id, "model": one.model, "rule": one.rule or None, "column": one.column or None, "since": iso(one.since),
        "until": iso(one.until), "reason": one.reason, "by": one.by,
    }  # fmt: skip


def mark_json(one: Mark) -> dict[str, Any]:
    """What was no problem."""
    return {
        "id": one.id, "rule": one.rule, "model": one.model, "version": one.version, "column": one.column,
        "signal": one.signal, "since": iso(one.since), "until": None if one.until is None else iso(one.until),
        "at": iso(one.moment), "by": one.by, "reason": one.reason,
    }  # fmt: skip


def acknowledgement_json(one: Acknowledgement | None) -> dict[str, Any] | None:
    """Who works on an incident."""
    return None if one is None else {"by": one.by, "at": iso(one.moment), "note": one.note or None}


def muted_json(policy: Policy, alert: Alert) -> dict[str, Any] | None:
    """Why nobody is told of an alert, and until when; None where it is not muted."""
    found = policy.muting(alert) if alert.state == FIRING else None
    if found is None:
        return None
    until = iso(found.until) if isinstance(found, Mute) and found.until is not None else None
    kind = "mute" if isinstance(found, Mute) else "not a problem"
    return {"kind": kind, "id": found.id, "reason": found.reason, "by": found.by, "until": until}


def mutes_json(policy: Policy, models: Iterable[str]) -> list[dict[str, Any]]:
    """The mutes of some models that go on."""
    names = set(models)
    return [mute_json(one) for one in policy.mutes if one.model in names and one.since <= policy.now]


def acknowledged_json(policy: Policy, incident: Incident | None) -> dict[str, Any] | None:
    """Who works on an incident now."""
    return acknowledgement_json(policy.acknowledged(incident))
