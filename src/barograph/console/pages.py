"""The documents of the API: fleet, model, column, incidents. Each is a pure function of what is stored and of the span."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from barograph import limited, naming, sentences
from barograph.alert import FIRING, Alert, Incident, firing, group_status, status
from barograph.checks import Counters
from barograph.clock import iso
from barograph.console import columns, decisions, outcomes, panels
from barograph.console.key import Key, key_of, latest, usual
from barograph.console.state import HOUR, ROWS_OF_A_RATE, Span, State, View, begins, listed, plain, tidy
from barograph.naming import ACT, LEARNING, NO_DATA, OK, PREDICTION, WATCH
from barograph.policy import Policy

SPARK_POINTS = 96
_ORDER = {ACT: 0, WATCH: 1, NO_DATA: 2, LEARNING: 3, OK: 4}


def fleet(state: State, span: Span) -> dict[str, Any]:
    """Every model in a row, the most urgent first."""
    counters = Counters(state.tiles, span.now)
    policy = state.ledger.policy(span.now)
    opened = {i.model: i for i in state.ledger.incidents(since=9e18) if i.open}
    rows = [
        _fleet_row(state.choose(versions, span, counters), policy, opened.get(name))
        for name, versions in state.models().items()
    ]
    rows.sort(key=lambda r: (_ORDER[r["status"]], -r["predictions"], r["name"]))
    statuses = [r["status"] for r in rows]
    worst = min(statuses, key=_ORDER.__getitem__, default=NO_DATA)
    document = {
        "now": iso(int(span.now)),
        "range": span.to_json(),
        "status": worst,
        "headline": sentences.fleet(statuses),
        "lede": _fleet_lede(rows),
        "incidents": pages_firing(state),
        "models": rows,
        "mutes": decisions.mutes_json(policy, state.models()),
        "events": events(state, span, None),
        "targets": targets(state),
    }
    return tidy(document)  # type: ignore[no-any-return]


def pages_firing(state: State) -> int:
    """How many incidents that page are open now, over all models."""
    return sum(i.open and i.severity == "page" for i in state.ledger.incidents(since=9e18))


def names(state: State, span: Span) -> dict[str, Any]:
    """Every model with its columns by name, for the find box."""
    found = []
    for name in sorted(state.models()):
        view = state.view(name, span)
        known = [one.known for one in (view, *view.beside)]
        columns = [column for one in known if one is not None for column in one.reference.bins.columns]
        found.append({"name": name, "columns": columns})
    return {"now": iso(int(span.now)), "models": found}


def _of(view: View, policy: Policy) -> list[Alert]:
    """Alerts of this version, and those of the model as a whole, that are not muted."""
    return policy.heard(_all_of(view))


def _all_of(view: View) -> list[Alert]:
    found = view.state.ledger.alerts(view.version.model)
    return [a for a in found if a.condition.version in ("", view.version.version)]


def _muted(view: View, policy: Policy) -> list[dict[str, Any]]:
    """Alerts that fire and that nobody is told of, the most urgent first, with the reason and until when."""
    quiet = [a for a in firing(_all_of(view)) if policy.muting(a) is not None]
    return [_alert(a, policy) for a in quiet]


def _fleet_lede(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "Point barograph serve at a service that runs a Monitor."
    first = rows[0]
    if first["status"] in (OK, LEARNING):
        total = sum(r["predictions"] for r in rows)
        text = f"{sentences.plural(len(rows), 'model')} answered {sentences.plural(total, 'prediction')}"
        partly = [r for r in rows if r["status"] == LEARNING]
        if not partly:
            return f"{text} as usual."
        more = f", and {len(partly) - 1} more are judged in part" if len(partly) > 1 else ""
        return f"{text}. {partly[0]['name']}: {_lowered(partly[0]['reason'])}{more}."
    healthy = (
        " Its service is healthy, so uptime checks do not notice."
        if first["service"]["status"] == OK and first["status"] == ACT
        else ""
    )
    return f"{first['name']}: {first['reason'].split('. ')[0]}.{healthy}"


def _fleet_row(view: View, policy: Policy, opened: Incident | None) -> dict[str, Any]:
    alerts = _of(view, policy)
    state, reason, since = _status(view, alerts)
    config = view.state.config.model(view.version.model)
    end = view.span.end
    seconds = HOUR if view.rate * HOUR >= ROWS_OF_A_RATE else end - view.span.start
    calls = view.counter(naming.PREDICTIONS, end - seconds, end)
    idle = not calls and not view.counter(naming.ERRORS, end - seconds, end)
    column_rows = _columns_changed(view, alerts)
    return {
        "name": view.version.model,
        "version": view.version.version,
        "status": state,
        "reason": reason,
        "since": since,
        "owner": config.owner,
        "team": config.team,
        "predictions": view.rows,
        "service": {
            "rate": plain(calls / seconds, 3),
            "p95": None if idle else plain(panels.durations_now(view)[1], 3),
            "errors": None if idle else plain(panels.errors_now(view), 3),
            "status": group_status(alerts, "service"),
        },
        "output": {**_key_output(view, idle), "status": _group(view, alerts, "output")},
        "outcomes": outcomes.cell(view),
        "causes": {**column_rows, "status": _group(view, alerts, "causes")},
        "muted": len(_muted(view, policy)),
        "acknowledged": decisions.acknowledged_json(policy, opened),
        "spark": _spark(view, state),
    }


def _status(view: View, alerts: Sequence[Alert]) -> tuple[str, str, str | None]:
    """State of a model, the reason in a line, and since when."""
    urgent = firing(alerts)
    silence = _silence(view)
    state = status(alerts)
    if state == OK and silence is not None:
        state = NO_DATA
    elif state == OK and view.unjudged is not None:
        state = LEARNING
    _, reason = sentences.model(view.version.model, state, alerts, view.unjudged, silence)
    since = min((a.since for a in urgent if a.rule.severity == urgent[0].rule.severity), default=None)
    return state, reason, None if since is None else iso(since)


def _group(view: View, alerts: Sequence[Alert], group: str) -> str:
    """Status of output or causes: what nobody judges is not fine."""
    state = group_status(alerts, group)
    return state if state != OK or view.unjudged is None else view.unjudged.status


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _silence(view: View) -> str | None:
    """Why nothing is known: no prediction for hours, and what the targets say."""
    if not view.silent or view.unjudged is None:
        return None
    failing = [s for s in view.state.statuses() if s.up is False]
    why = f": {failing[0].error}" if failing else ""
    return f"{view.unjudged.reason}{why}"


def _columns_changed(view: View, alerts: Sequence[Alert]) -> dict[str, int | None]:
    if view.known is None:
        return {"drifted": None, "columns": 0}
    features = [n for n, role in view.known.reference.bins.roles.items() if role == "feature"]
    changed = {a.condition.column for a in alerts if a.state == FIRING} & set(features)
    judged = changed or view.unjudged is None
    return {"drifted": len(changed) if judged else None, "columns": len(features)}


def _key_output(view: View, idle: bool) -> dict[str, Any]:
    """What it answers now or, where it is idle, what it answered last."""
    empty_rows = view.counter(naming.EMPTY, view.span.start, view.span.end)
    empty = plain(empty_rows / view.rows, 3) if view.rows else None
    key = key_of(view)
    value = None if key is None else latest(view, key)
    text = "–" if key is None or value is None else f"{'last ' * idle}{key.text(value)}"
    return {"text": text, "value": plain(value, 3), "empty": empty}


def _spark(view: View, state: str) -> dict[str, Any]:
    step = max(60, (view.span.end - view.span.start) // SPARK_POINTS, view.tiles.finest(view.span.start))
    step = max(step, view.span.step(step, view.rate))
    key = key_of(view)
    band = None if key is None else usual(view, key)
    y, ends = _key_series(view, key, step)
    incidents = view.state.ledger.incidents(model=view.version.model, since=view.span.start)
    calm = OK if view.unjudged is None or view.silent else LEARNING
    return {
        "t": [int(t) for t in ends],
        "y": listed(y, 4),
        "usual": None if band is None else [plain(side, 3) for side in band],
        "ribbon": _ribbon(ends, step, incidents, y, calm),
    }


def _key_series(view: View, key: Key | None, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The key output over time; without one, predictions."""
    if key is None:
        ends, rate = view.rate_over_time(step)
        return rate, ends
    ends, counts, sums = view.column_over_time(key.column, step)
    return key.of(counts, sums, 10), ends


def _ribbon(
    ends: np.ndarray, step: int, incidents: Sequence[Incident], y: np.ndarray, calm: str
) -> list[str]:
    found = []
    for start, end, value in zip(begins(ends, step).tolist(), ends.tolist(), y.tolist(), strict=True):
        here = {i.severity for i in incidents if i.since < end and (i.until is None or i.until > start)}
        found.append(ACT if "page" in here else WATCH if here else NO_DATA if np.isnan(value) else calm)
    return found


def model(state: State, name: str, span: Span, version: str | None = None) -> dict[str, Any]:
    """A model: service, output, outcomes, causes, in this order."""
    view, policy = state.view(name, span, version), state.ledger.policy(span.now)
    alerts = _of(view, policy)
    status_, reason, since = _status(view, alerts)
    headline, _ = sentences.model(name, status_, alerts, view.unjudged, reason)
    unjudged = view.unjudged
    config = state.config.model(name)
    opened = next((i for i in state.ledger.incidents(model=name, since=9e18)), None)
    column_rows = columns.rows(view, alerts)
    document = {
        "name": name,
        "version": view.version.version,
        "versions": [v.version for v in sorted(view.versions, key=lambda v: -v.last)],
        "status": status_,
        "headline": headline,
        "lede": _model_lede(view, alerts, status_, reason),
        "since": since,
        "owner": config.owner,
        "team": config.team,
        "runbook": config.runbook,
        "now": iso(int(span.now)),
        "range": span.to_json(),
        "predictions": view.rows,
        "reference": _reference(view),
        "events": events(state, span, name),
        "gaps": view.gaps,
        "incident": None if opened is None else opened.id,
        "acknowledged": decisions.acknowledged_json(policy, opened),
        "muted": _muted(view, policy),
        "mutes": decisions.mutes_json(policy, [name]),
        "no_problem": [decisions.mark_json(one) for one in policy.marks if one.model == name],
        "limits": _limits(view),
        "service": _section(alerts, "service", _drawn(view, panels.SERVICE), "Normal"),
        "output": {
            **_section(
                alerts, "output", _drawn(view, panels.OUTPUT), unjudged.output if unjudged else "As usual"
            ),
            "status": _group(view, alerts, "output"),
            "checks": panels.checks(view, alerts),
        },
        "outcomes": outcomes.section(view),
        "causes": {
            "status": _group(view, alerts, "causes"),
            "summary": _causes(column_rows, view),
            "columns": [row for row in column_rows if row["role"] in ("feature", "heuristic")],
            "state": _uncompared(view),
        },
    }
    return tidy(document)  # type: ignore[no-any-return]


def _drawn(view: View, questions: Sequence[Any]) -> list[dict[str, Any]]:
    return [panel for ask in questions if (panel := ask(view)) is not None]


def _section(alerts: Sequence[Alert], group: str, drawn: list[dict[str, Any]], calm: str) -> dict[str, Any]:
    urgent = [a for a in firing(alerts) if a.rule.group == group]
    answers = {"traffic": naming.NO_TRAFFIC, "errors": naming.ERRORS_HIGH, "latency": naming.SLOW}
    for panel in drawn:
        rule = answers.get(panel["id"])
        mine = [a for a in urgent if rule is not None and a.condition.rule == rule.name]
        if group == "output":
            column = {"answers": PREDICTION, "scores": naming.SCORE}.get(panel["id"])
            mine = [a for a in urgent if a.condition.column == column]
        panel["status"] = status(mine)
        panel["since"] = min((a.since for a in mine), default=None)  # from here on its line is past the limit
    summary = urgent[0].condition.text if urgent else calm
    return {"status": group_status(alerts, group), "summary": summary, "panels": drawn}


def _model_lede(view: View, alerts: Sequence[Alert], state: str, reason: str) -> str:
    if state in (ACT, WATCH):
        watched = "latency_p95" in view.state.config.model(view.version.model).limits
        timed = watched and np.isfinite(panels.durations_now(view)[1])
        normal = "Traffic, latency and errors are normal" if timed else "Traffic and errors are normal"
        calm = normal if group_status(alerts, "service") == OK else _silence(view)
        changed = sentences.because(alerts)
        return " ".join(f"{part}." for part in (calm, changed) if part)
    if state == NO_DATA:
        return f"{reason}."
    if view.unjudged is not None:
        return view.unjudged.lede
    return "Nothing to do."


def _causes(rows: Sequence[dict[str, Any]], view: View) -> str:
    features = [r for r in rows if r["role"] == "feature"]
    changed = sum(r["status"] in (ACT, WATCH) for r in features)
    if changed:
        return f"{changed} of {len(features)} features changed"
    if view.unjudged is not None:
        return view.unjudged.causes
    return f"{len(features)} features as usual" if features else "No features"


def _uncompared(view: View) -> dict[str, Any] | None:
    """What stands where features would be compared."""
    if view.known is not None or (view.bins is not None and view.version.references.get(view.bins)):
        return None
    text = "What was usual is in a reference, and this model has none. Fit one where it is evaluated, with timestamps:"
    code = (
        'reference = barograph.Reference.fit(frame, task="binary", score="p", time="t")\n'
        f"monitor = barograph.Monitor({view.version.model!r}, version={view.version.version!r}, reference=reference)"
    )
    return {"kind": "empty", "title": "Features are not compared", "text": text, "code": code}


def _reference(view: View) -> dict[str, Any] | None:
    if view.known is None:
        return None
    reference = view.known.reference
    period = reference.period or (None, None)
    return {
        "id": reference.id,
        "rows": reference.baseline.rows,
        "from": None if period[0] is None else iso(int(period[0])),
        "to": None if period[1] is None else iso(int(period[1])),
        "text": reference.describe(),
    }


def column(
    state: State, name: str, column_name: str, span: Span, version: str | None = None
) -> dict[str, Any]:
    """A column of a model."""
    view = state.view(name, span, version)
    alerts = _of(view, state.ledger.policy(span.now))
    document = {
        **columns.page(view, column_name, alerts),
        "now": iso(int(span.now)),
        "range": span.to_json(),
        "events": events(state, span, name),
        "gaps": view.gaps,
    }
    return tidy(document)  # type: ignore[no-any-return]


def incidents(state: State, span: Span) -> dict[str, Any]:
    """Open incidents, and those that ended within 30 days, each with its alerts."""
    since, policy = span.until - 30 * 86_400, state.ledger.policy(span.now)
    found = []
    for incident in state.ledger.incidents(since=since):
        if incident.since > span.until:
            continue
        mine = [a for a in state.ledger.alerts(incident.model, since=since) if _belongs(a, incident)]
        found.append(
            {
                **_incident(incident),
                "acknowledged": decisions.acknowledged_json(policy, incident),
                "alerts": [_alert(a, policy) for a in sorted(mine, key=lambda a: a.urgency)],
            }
        )
    return tidy({"now": iso(int(span.now)), "range": span.to_json(), "incidents": found})  # type: ignore[no-any-return]


def _belongs(alert: Alert, incident: Incident) -> bool:
    end = incident.until if incident.until is not None else float("inf")
    return (
        alert.since <= end
        and (alert.until is None or alert.until >= incident.since)
        and alert.state != "pending"
    )


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id, "model": incident.model, "version": incident.version, "headline": incident.headline,
        "status": "firing" if incident.open else "resolved", "severity": incident.severity,
        "since": iso(incident.since), "until": None if incident.until is None else iso(incident.until),
    }  # fmt: skip


def _alert(alert: Alert, policy: Policy) -> dict[str, Any]:
    c = alert.condition
    return {
        "name": c.rule, "column": c.column or None, "signal": c.signal or None, "severity": alert.rule.severity,
        "state": alert.state, "value": plain(c.value, 4), "threshold": plain(c.threshold, 4), "text": c.text,
        "since": iso(alert.since), "until": None if alert.until is None else iso(alert.until),
        "set_by": "owner" if c.by_owner else None, "muted": decisions.muted_json(policy, alert),
    }  # fmt: skip


def policy(state: State, span: Span) -> dict[str, Any]:
    """What people decided: mutes that go on, open incidents that are worked on, alerts that were no problem."""
    found = state.ledger.policy(span.now)
    opened = [i for i in state.ledger.incidents(since=9e18) if i.open]
    worked_on = [{**_incident(i), "acknowledged": decisions.acknowledged_json(found, i)} for i in opened]
    return {
        "now": iso(int(span.now)),
        "mutes": decisions.mutes_json(found, state.models()),
        "acknowledged": [one for one in worked_on if one["acknowledged"] is not None],
        "no_problem": [decisions.mark_json(one) for one in found.marks],
    }


def _limits(view: View) -> list[dict[str, Any]]:
    """What the owner of a model limits, and what is to be known of each limit: that it is not kept, or what it does not count."""
    config = view.state.config.model(view.version.model)
    limits = config.limits
    known = [one.known.reference for one in (view, *view.beside) if one.known is not None]
    said = limited.notes(known, limits, config.metrics)
    return [
        {
            "limit": name, "value": list(value) if isinstance(value, tuple) else value, "set_by": "owner",
            "kept": not said.get(name, "").startswith(limited.NOT_KEPT), "note": said.get(name),
        }
        for name, value in limits.items()
    ]  # fmt: skip


def events(state: State, span: Span, name: str | None) -> list[dict[str, Any]]:
    """What happened in the span: deployments, changes, incidents."""
    found = [
        {
            "t": iso(e.moment), "until": None if e.until is None else iso(e.until), "kind": e.kind, "model": e.model,
            "label": e.label, "status": None,
        }
        for e in state.ledger.events(span.start, span.until, name)
    ]  # fmt: skip
    for i in state.ledger.incidents(model=name, since=span.start):
        if i.since > span.until:
            continue
        label = i.headline if name else i.model
        until = None if i.until is None else iso(i.until)
        level = ACT if i.severity == "page" else WATCH
        found.append(
            {
                "t": iso(i.since),
                "until": until,
                "kind": "incident",
                "model": i.model,
                "label": label,
                "status": level,
            }
        )
    return sorted(found, key=lambda e: str(e["t"]))


def targets(state: State) -> list[dict[str, Any]]:
    """How reading each target goes."""
    return [{"url": s.url, "up": s.up, "error": s.error, "lag": plain(s.lag, 3)} for s in state.statuses()]
