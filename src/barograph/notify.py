"""Telling people: webhooks with Alertmanager's version 4 payload."""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Sequence
from typing import Any

import httpx

from barograph.alert import RESOLVED, Alert
from barograph.bins import hash64
from barograph.clock import iso
from barograph.config import WebhookConfig
from barograph.evaluate import Change

log = logging.getLogger("barograph")

PAUSES = (0.0, 1.0, 5.0, 30.0)  # seconds before each try
MOST_WAITING = 1_000
NEVER = "0001-01-01T00:00:00Z"
_SEVERITIES = {"page": "critical", "ticket": "warning"}


class Notifier:
    """Posts on a thread of its own, so that a receiver that hangs holds up nothing. A failed post is tried again, with pauses."""

    def __init__(self, webhooks: Sequence[WebhookConfig], console: str) -> None:
        self._webhooks, self._console = tuple(webhooks), console
        self._queue: queue.Queue[tuple[WebhookConfig, dict[str, Any]] | None] = queue.Queue(
            maxsize=MOST_WAITING
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="barograph-notifier", daemon=True)
        self._thread.start()

    def tell(self, changes: Sequence[Change]) -> None:
        """Queue what began and what ended, one payload a model and webhook."""
        for webhook in self._webhooks:
            told = [c for c in changes if c.alert.rule.severity in webhook.severities]
            for model in dict.fromkeys(c.incident.model for c in told):
                body = payload([c for c in told if c.incident.model == model], self._console)
                try:
                    self._queue.put_nowait((webhook, body))
                except queue.Full:
                    log.error(
                        "webhook %s is too slow: %d alerts of %s not sent",
                        _shown(webhook),
                        len(body["alerts"]),
                        model,
                    )

    def close(self, seconds: float = 10.0) -> None:
        """Send what waits, for so long at most."""
        self._stop.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._post(*item)

    def _post(self, webhook: WebhookConfig, body: dict[str, Any]) -> None:
        problem: Exception | None = None
        for pause in PAUSES:
            if pause and self._stop.wait(pause):
                break
            try:
                token = os.environ.get(webhook.token_variable, "") if webhook.token_variable else ""
                headers = {"authorization": f"Bearer {token}"} if token else {}
                httpx.post(
                    webhook.url, json=body, headers=headers, timeout=5.0, trust_env=False
                ).raise_for_status()
                return
            except Exception as error:  # noqa: BLE001 (a bad address, a token that no header can carry: logged, and no end of telling)
                problem = error
        log.error("webhook %s did not take %d alerts: %s", _shown(webhook), len(body["alerts"]), problem)


def _shown(webhook: WebhookConfig) -> str:
    """Its address without what may be a secret."""
    return webhook.url.split("?")[0]


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
