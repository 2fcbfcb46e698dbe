"""Alertmanager: who is told what, and what is kept quiet because something louder says it already.

Critical alerts page, warnings are tickets, and `Watchdog`, which always fires, is a heartbeat: whoever receives it must
complain when it stays away. A model is one group, so that one incident is one message.
"""

from collections.abc import Iterable
from typing import Any

from barograph.mixin.alerts import WATCHDOG
from barograph.mixin.options import Options
from barograph.mixin.text import template, to_yaml
from barograph.naming import EMPTY_HIGH, INPUT_BROKEN, NO_TRAFFIC, OUTPUT_SHIFTED

FILE = "alertmanager.yaml"
TEMPLATES = "templates/barograph.tmpl"
TOKENS = {"pages": "secrets/pages-token", "tickets": "secrets/tickets-token"}
PAGES, TICKETS, HEARTBEAT, NOBODY = "pages", "tickets", "heartbeat", "nobody"

# A rate or a distribution of the time before, when there still was traffic: it may go on firing after the traffic has gone.
_OF_TRAFFIC = (EMPTY_HIGH, OUTPUT_SHIFTED, INPUT_BROKEN)

_HEADER = f"""\
Who is told, of the alerts in alerts.yaml. The receivers here are the example's inbox: put yours in their place.
Secrets are read from files, relative to this one; nothing secret is in it. Instead of a webhook, for example:
  pagerduty_configs: [{{routing_key_file: {TOKENS[PAGES]}}}]
  slack_configs: [{{api_url_file: {TOKENS[TICKETS]}, channel: '#models', title: '{{{{ template "barograph.title" . }}}}',
                  text: '{{{{ template "barograph.text" . }}}}'}}]
Check it: amtool check-config {FILE}
"""


def files(_: Options) -> dict[str, str]:
    """The configuration, and the texts of messages."""
    return {FILE: to_yaml(config(), header=_HEADER), TEMPLATES: template("barograph.tmpl")}


def seeds() -> dict[str, str]:
    """Files that are the user's from the first moment: written where there is none, and never again."""
    return dict.fromkeys(TOKENS.values(), "example-token-put-yours-here\n")


def config() -> dict[str, Any]:
    """The configuration, as Alertmanager 0.25 and later read it."""
    return {
        "global": {"resolve_timeout": "5m"},
        "templates": ["templates/*.tmpl"],
        "route": _routes(),
        "inhibit_rules": _inhibitions(),
        "receivers": [
            {"name": PAGES, "webhook_configs": [_webhook("pages", TOKENS[PAGES])]},
            {"name": TICKETS, "webhook_configs": [_webhook("tickets", TOKENS[TICKETS])]},
            {"name": HEARTBEAT, "webhook_configs": [_webhook("heartbeat", None)]},
            {"name": NOBODY},
        ],
    }


def _routes() -> dict[str, Any]:
    return {
        "receiver": TICKETS,  # an alert without a severity is a mistake, but not one to miss
        "group_by": ["model"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "1d",
        "routes": [
            {
                "matchers": [f'alertname="{WATCHDOG}"'],
                "receiver": HEARTBEAT,
                "group_by": ["alertname"],
                "group_wait": "0s",
                "group_interval": "30s",
                "repeat_interval": "1m",
            },
            {
                "matchers": ['severity="critical"'],
                "receiver": PAGES,
                "group_wait": "10s",
                "group_interval": "1m",
                "repeat_interval": "4h",
            },
            {"matchers": ['severity="warning"'], "receiver": TICKETS},
            {"matchers": ['severity=~"info|none"'], "receiver": NOBODY},
        ],
    }


def _inhibitions() -> list[dict[str, Any]]:
    """Alertmanager takes a label that both lack for equal: so only alerts that are of a model quiet each other."""
    of_a_model = 'model=~".+"'
    return [
        # The page says that something is wrong with the model; what may have caused it waits on its page.
        _mute(['severity="critical"', of_a_model], ['severity="warning"', of_a_model]),
        _mute(
            [f'alertname="{NO_TRAFFIC.name}"', of_a_model],
            [f'alertname=~"{"|".join(rule.name for rule in _OF_TRAFFIC)}"', of_a_model],
        ),
    ]


def _mute(source: Iterable[str], target: Iterable[str]) -> dict[str, Any]:
    return {"source_matchers": list(source), "target_matchers": list(target), "equal": ["model"]}


def _webhook(path: str, token: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"url": f"http://inbox:8080/{path}", "send_resolved": path != HEARTBEAT}
    if token is not None:
        found["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": token}}
    return found
