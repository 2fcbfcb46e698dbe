"""Telling people: webhooks with Alertmanager's version 4 payload, each delivered at least once."""

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

import httpx

from barograph.alert import RESOLVED, Alert
from barograph.bins import hash64
from barograph.clock import iso
from barograph.config import WebhookConfig
from barograph.evaluate import Change
from barograph.links import model_path
from barograph.outbox import Letter, Outbox
from barograph.sentences import plural

log = logging.getLogger("barograph")

LONGEST_PAUSE = 300.0  # seconds between two tries, at most
MOST_AGE = 86_400.0  # seconds after which a letter is given up: it tells of what is long over
TIMEOUT = 5.0
NEVER = "0001-01-01T00:00:00Z"
_SEVERITIES = {"page": "critical", "ticket": "warning"}
# Answers that concern this very body. Whatever else goes wrong concerns them all.
_REFUSALS = frozenset({400, 413, 415, 422})


class Notifier:
    """Writes down what is to be told, and delivers it: a thread for each receiver, so that one that hangs holds up no other.

    `put` belongs into the transaction that stores the changes: they and what tells of them survive a crash together, or
    neither does. What a receiver has accepted is told no more; a crash in between tells it twice.
    """

    def __init__(self, webhooks: Sequence[WebhookConfig], console: str, outbox: Outbox) -> None:
        self._console, self._outbox = console, outbox
        self._severities: dict[str, set[str]] = {}
        self._receivers: dict[str, _Receiver] = {}
        for webhook in webhooks:
            name = _name(webhook)
            self._severities.setdefault(name, set()).update(webhook.severities)
            self._receivers.setdefault(name, _Receiver(name, webhook, outbox))
        if lost := outbox.remove_others(set(self._receivers)):
            log.warning(
                "%s waited for webhooks that are not configured any more; not sent", plural(lost, "message")
            )
        for receiver in self._receivers.values():
            receiver.start()

    def put(self, changes: Sequence[Change]) -> None:
        """Write down what began and what ended, one message a model and receiver."""
        for name, severities in self._severities.items():
            told = [c for c in changes if c.alert.rule.severity in severities]
            for model in dict.fromkeys(c.incident.model for c in told):
                body = payload([c for c in told if c.incident.model == model], self._console)
                self._outbox.put(name, model, time.time(), json.dumps(body))

    def wake(self) -> None:
        """Deliver what was put, now that it is stored."""
        for receiver in self._receivers.values():
            receiver.wake()

    def close(self, seconds: float = 10.0) -> None:
        """Try once more what waits, for so long at most. What is left is delivered after the next start."""
        end = time.monotonic() + seconds
        for receiver in self._receivers.values():
            receiver.stop()
        for receiver in self._receivers.values():
            receiver.join(max(0.0, end - time.monotonic()))


class _Receiver:
    """Delivers to one webhook, in order: where it does not answer, all waits; where it refuses a body, that model's waits."""

    def __init__(self, name: str, webhook: WebhookConfig, outbox: Outbox) -> None:
        self._name, self._webhook, self._outbox = name, webhook, outbox
        self._thread = threading.Thread(target=self._run, name="barograph-notifier", daemon=True)
        self._wake, self._lock = threading.Event(), threading.Lock()
        self._stopping = self._left = False
        self._failures = 0  # in a row
        self._refused: dict[
            str, tuple[int, float]
        ] = {}  # by model: how often in a row, and when it is due again

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)
        with self._lock:  # whatever it still does, the store is closed to it
            self._left = True

    def _run(self) -> None:
        pause: float | None = 0.0  # what waited when the last server ended goes out at once
        last = False
        while not last:
            self._wake.wait(pause)
            self._wake.clear()
            last = self._stopping
            try:
                pause = self._round()
            except Exception:
                log.exception("what waits for webhook %s cannot be read; tried again", shown(self._webhook))
                pause = LONGEST_PAUSE

    def _round(self) -> float | None:
        """Try each letter that is due once. Seconds after which another is due, None where nothing waits."""
        tried: set[int] = set()
        while due := [letter for letter in self._next() if letter.id not in tried and self._is_due(letter)]:
            for letter in due:
                tried.add(letter.id)
                if not self._deliver(letter):
                    return _pause(self._failures)
        now = time.monotonic()
        return min((max(0.0, at - now) for _, at in self._refused.values()), default=None)

    def _next(self) -> list[Letter]:
        with self._lock:
            return [] if self._left else self._outbox.next(self._name)

    def _is_due(self, letter: Letter) -> bool:
        return self._stopping or self._refused.get(letter.model, (0, 0.0))[1] <= time.monotonic()

    def _deliver(self, letter: Letter) -> bool:
        """Post it, and remove what was taken; whether the receiver is there at all."""
        if time.time() - letter.written > MOST_AGE:
            log.error(
                "webhook %s took no message about %s for a day; given up", shown(self._webhook), letter.model
            )
            self._remove(letter)
            return True
        try:
            code = self._post(letter.body)
            problem = None if 200 <= code < 300 or code in _REFUSALS else f"it answers {code}"
        except Exception as error:  # noqa: BLE001 (a bad address, a token that no header can carry: said, and tried again)
            code, problem = 0, repr(error)
        if problem is not None:
            self._failures += 1
            self._say(self._failures, f"takes no messages ({problem})")
            return False
        if self._failures:
            log.info("webhook %s answers again", shown(self._webhook))
        self._failures = 0
        if code in _REFUSALS:
            times = self._refused.get(letter.model, (0, 0.0))[0] + 1
            self._refused[letter.model] = times, time.monotonic() + _pause(times)
            self._say(times, f"refuses a message about {letter.model} ({code})")
        else:
            self._remove(letter)
        return True

    def _post(self, body: str) -> int:
        variable = self._webhook.token_variable
        token = os.environ.get(variable, "") if variable else ""
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        with httpx.stream(
            "POST",
            self._webhook.url,
            content=body.encode(),
            headers=headers,
            timeout=TIMEOUT,
            trust_env=False,
        ) as answer:  # how it begins says all: what follows may never end
            return answer.status_code

    def _remove(self, letter: Letter) -> None:
        with self._lock:
            if not self._left:
                self._outbox.remove(letter)
        self._refused.pop(letter.model, None)

    def _say(self, times: int, what: str) -> None:
        """The first time, and once more after it has gone on for minutes."""
        if times in (1, 8):
            log.error("webhook %s %s; tried again for a day", shown(self._webhook), what)


def _pause(failures: int) -> float:
    """1, 2, 4 ... seconds."""
    return min(2.0 ** min(failures - 1, 16), LONGEST_PAUSE)


def _name(webhook: WebhookConfig) -> str:
    """What it is called in the store: its address may hold a secret."""
    return blake2b(f"{webhook.url}\n{webhook.token_variable}".encode(), digest_size=12).hexdigest()


def shown(webhook: WebhookConfig) -> str:
    """Where it is, without what may be a secret: users, and the path that chat services take for a password.

    >>> shown(WebhookConfig("https://me:pass@hooks.example/services/T0/B0/XYZ"))
    'https://hooks.example'
    """
    parts = urlsplit(webhook.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


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
            "dashboard_url": console + model_path(c.model),
        },
        "startsAt": iso(alert.since),
        "endsAt": NEVER if alert.until is None else iso(alert.until),
        "generatorURL": console + model_path(c.model),
        "fingerprint": f"{hash64(chr(0).join(c.key)):016x}",
    }
