"""What Prometheus and Grafana read when they start: where the models are, which rules to run, which dashboards to show."""

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from barograph.mixin.options import Options
from barograph.mixin.text import to_yaml

PROMETHEUS = "prometheus.yaml"
TARGETS = "targets/models.yaml"
DATASOURCES = "grafana/provisioning/datasources/barograph.yaml"
PROVIDERS = "grafana/provisioning/dashboards/barograph.yaml"
DASHBOARDS = "/var/lib/grafana/dashboards"  # in Grafana's container
SCRAPE_INTERVAL = "15s"

_GROUPS = re.compile(r"^groups:", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")


def files(options: Options, others: Mapping[str, str]) -> dict[str, str]:
    """Prometheus' configuration, which runs the rule files among `others`, and Grafana's provisioning."""
    return {
        PROMETHEUS: to_yaml(prometheus(options, rule_files(others)), header=_PROMETHEUS_HEADER),
        DATASOURCES: to_yaml(datasources()),
        PROVIDERS: to_yaml(providers(), header=_PROVIDERS_HEADER),
    }


def seeds(_: Options) -> dict[str, str]:
    """Where the services are: the user's from the first moment."""
    return {TARGETS: to_yaml([{"targets": ["service:8000"]}], header=_TARGETS_HEADER)}


_TARGETS_HEADER = """\
The services that hold models, host:port, each with /metrics. Yours: it is written once, and read again when it changes.
A service of several replicas needs each of them here, or the discovery of your platform in prometheus.yaml.
"""
_PROMETHEUS_HEADER = """\
The models are read from targets/*.yaml; where you run Prometheus already, take the two jobs and rule_files from here.
Check it: promtool check config prometheus.yaml
"""
_PROVIDERS_HEADER = """\
Dashboards come from files and are read again when those change. What you add in Grafana, save to the file: in Grafana's
dialogue to save, copy the JSON. Panels in the row "Own panels" stay when the files are written again.
"""


def rule_files(texts: Mapping[str, str]) -> list[str]:
    """The files of rules among these, rules that are recorded before the alerts on them.

    >>> rule_files({"alerts.yaml": "groups: [{name: a, rules: []}]", "b.yaml": "x: 1", "c.md": ""})
    ['alerts.yaml']
    """
    found = [path for path, text in texts.items() if path.endswith(".yaml") and _GROUPS.search(text)]
    return sorted(found, key=lambda path: (path == "alerts.yaml", path))


def prometheus(options: Options, rules: list[str]) -> dict[str, Any]:
    """The configuration, as Prometheus 2.42 and later read it."""
    return {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": rules,
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]},
        "scrape_configs": [
            {
                "job_name": job_name(options.job),
                "file_sd_configs": [{"files": ["targets/*.yaml"], "refresh_interval": "1m"}],
            },
            {
                "job_name": job_name(options.evaluator_job),
                "static_configs": [{"targets": ["evaluator:8700"]}],
            },
        ],
    }


def job_name(expression: str) -> str:
    """A name that a regular expression of jobs matches: its first alternative that is plain.

    >>> job_name("models"), job_name("rank.*|search")
    ('models', 'search')
    """
    with contextlib.suppress(re.error):
        for alternative in expression.strip("()").split("|"):
            if _PLAIN.fullmatch(alternative) and re.fullmatch(expression, alternative):
                return alternative
    raise ValueError(
        f"job: {expression!r} names no job that could be written down; give a name among its alternatives, "
        f"such as {expression + '|models'!r}"
    )


def datasources() -> dict[str, Any]:
    """Where Grafana asks. `timeInterval` is what it makes `$__rate_interval` of."""
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Prometheus",
                "uid": "prometheus",
                "type": "prometheus",
                "access": "proxy",
                "url": "http://prometheus:9090",
                "isDefault": True,
                "jsonData": {"httpMethod": "POST", "timeInterval": SCRAPE_INTERVAL},
            },
            {
                "name": "Alertmanager",
                "uid": "alertmanager",
                "type": "alertmanager",
                "access": "proxy",
                "url": "http://alertmanager:9093",
                "jsonData": {"implementation": "prometheus"},
            },
        ],
    }


def providers() -> dict[str, Any]:
    """Which dashboards Grafana shows, in a folder of their own."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "barograph",
                "folder": "Models",
                "type": "file",
                "disableDeletion": True,
                "allowUiUpdates": False,
                "updateIntervalSeconds": 10,
                "options": {"path": DASHBOARDS},
            }
        ],
    }
