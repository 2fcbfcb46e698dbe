"""Telling people: webhooks with Alertmanager's version 4 payload."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import httpx

from barograph.alert import RESOLVED, Alert
from barograph.bins import hash64
from barograph.clock import iso
from barograph.config import WebhookConfig
from barograph.evaluate import Change

log = logging.getLogger("barograph")

TRIES = 3
NEVER = "0001-01-01T00:00:00Z"
_SEVERITIES = {"page": "critical", "ticket": "warning"}


def send(webhook: WebhookConfig, changes: Sequence[Change], console: str) -> None:
    """Post what began and what ended, one payload a model. A receiver that fails is tried three times, then logged."""
    told = [c for c in changes if c.alert.rule.severity in webhook.severities]
    for model in dict.fromkeys(c.incident.model for c in told):
        mine = [c for c in told if c.incident.model == model]
        _post(webhook, payload(mine, console))


def payload(changes: Sequence[Change], console: str) -> dict[str, Any]:
    """The body that Alertmanager would send for these alerts of one model."""
    model = changes[0].incident.model
    alerts = [_alert(c.alert, console) for c in changes]
    firing = any(a["status"] == "firing" for a in alerts)
    common = {"model": model}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{model="{model}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "barograph",
        "groupLabels": common,
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": console,
        "alerts": alerts,
    }


def _alert(alert: Alert, console: str) -> dict[str, Any]:
    c = alert.condition
    labels = {
        "alertname": c.rule,
        "model": c.model,
        "version": c.version,
        "severity": _SEVERITIES[alert.rule.severity],
    }
    labels |= {name: value for name, value in (("column", c.column), ("signal", c.signal)) if value}
    return {
        "status": "resolved" if alert.state == RESOLVED else "firing",
        "labels": labels,
        "annotations": {
            "summary": f"{c.text}.",
            "description": alert.rule.help,
            "dashboard_url": f"{console}/models/{c.model}",
        },
        "startsAt": iso(alert.since),
        "endsAt": NEVER if alert.until is None else iso(alert.until),
        "generatorURL": f"{console}/models/{c.model}",
        "fingerprint": f"{hash64(chr(0).join(c.key)):016x}",
    }


def _post(webhook: WebhookConfig, body: dict[str, Any]) -> None:
    token = os.environ.get(webhook.token_variable, "") if webhook.token_variable else ""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    problem = ""
    for _ in range(TRIES):
        try:
            httpx.post(webhook.url, json=body, headers=headers, timeout=5.0).raise_for_status()
            return
        except httpx.HTTPError as error:
            problem = str(error)
    log.error(
        "webhook %s did not take %d alerts: %s", webhook.url.split("?")[0], len(body["alerts"]), problem
    )
