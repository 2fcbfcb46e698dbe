"""The stack on Kubernetes, for a cluster that runs the Prometheus operator, as kube-prometheus-stack installs it.

Services with models are found by a label of theirs, not by name; rules and dashboards are those of the other files.
"""

import json
import re
from collections.abc import Mapping
from textwrap import indent
from typing import Any

from barograph import __version__
from barograph.mixin.compose import IMAGE, PORT, REFERENCES, evaluator_command
from barograph.mixin.options import Options
from barograph.mixin.provisioning import SCRAPE_INTERVAL, job_name, rule_files
from barograph.mixin.text import to_yaml

FOLDER = "kubernetes"
SELECTOR = {"barograph/monitored": "true"}  # on the Service of whatever holds a model
RELEASE = {"release": "kube-prometheus-stack"}  # what the stack's Prometheus selects by
PROMETHEUS = "http://prometheus-operated:9090"
DATA, SCRATCH, FROZEN = "data", "scratch", "references"
USER = 10_001  # that of the Dockerfile

_MONITORS_HEADER = f"""\
Which Services Prometheus reads: those with the label {next(iter(SELECTOR))}: "true" and a port that is named http.
The label release is what kube-prometheus-stack selects by; where yours is installed under another name, change it.
"""
_EVALUATOR_HEADER = f"""\
The evaluator: one process, which asks Prometheus and keeps what it found. Its image is made by the Dockerfile beside this
folder: push it where your cluster finds it, and write its name in the place of {IMAGE}. It judges drift by references:
  kubectl create configmap barograph-references --from-file=flight-delay.reference.json
"""


def files(options: Options, others: Mapping[str, str]) -> dict[str, str]:
    """Manifests; rules and dashboards are taken from `others`."""
    found = {
        "servicemonitors.yaml": to_yaml(*service_monitors(options), header=_MONITORS_HEADER),
        "evaluator.yaml": to_yaml(*evaluator(), header=_EVALUATOR_HEADER),
    }
    for path in rule_files(others):
        name = _name(path.removesuffix(".yaml"))
        found[f"prometheusrule-{name}.yaml"] = prometheus_rule(name, others[path])
    for path, text in others.items():
        if path.startswith("dashboards/"):
            name = _name(path.removeprefix("dashboards/").removesuffix(".json"))
            found[f"dashboard-{name}.yaml"] = to_yaml(config_map(name, text))
    return {f"{FOLDER}/{name}": text for name, text in sorted(found.items())}


def prometheus_rule(name: str, text: str) -> str:
    """A file of rules, as the operator takes it: its text, indented."""
    head = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _metadata(f"barograph-{name}", "rules", **RELEASE),
    }
    return f"{to_yaml(head)}spec:\n{indent(text, '  ')}"


def config_map(name: str, dashboard: str) -> dict[str, Any]:
    """A dashboard, as Grafana's sidecar finds it."""
    compact = json.dumps(json.loads(dashboard), separators=(",", ":"), ensure_ascii=False)
    metadata = _metadata(f"barograph-dashboard-{name}", "dashboard", grafana_dashboard="1")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**metadata, "annotations": {"grafana_folder": "Models"}},
        "data": {f"{name}.json": compact},
    }


def service_monitors(options: Options) -> list[dict[str, Any]]:
    """What Prometheus reads: models in all namespaces, and the evaluator."""
    models = {"namespaceSelector": {"any": True}, "selector": {"matchLabels": SELECTOR}}
    own = {"selector": {"matchLabels": _labels("evaluator")}}
    return [
        _service_monitor("barograph-models", "models", job_name(options.job), models),
        _service_monitor("barograph-evaluator", "evaluator", job_name(options.evaluator_job), own),
    ]


def _service_monitor(name: str, component: str, job: str, selected: dict[str, Any]) -> dict[str, Any]:
    endpoint = {
        "port": "http",
        "path": "/metrics",
        "interval": SCRAPE_INTERVAL,
        "relabelings": [{"targetLabel": "job", "replacement": job}],  # the rules know it by this name
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _metadata(name, component, **RELEASE),
        "spec": {**selected, "endpoints": [endpoint]},
    }


def evaluator() -> list[dict[str, Any]]:
    """Its account, which may do nothing; its disk; the process; its address."""
    name = "barograph-evaluator"
    metadata = _metadata(name, "evaluator")
    selector = _labels("evaluator")
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "5Gi"}},
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},  # two would want the same disk
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": metadata["labels"]}, "spec": _pod(name)},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "type": "ClusterIP",
                "selector": selector,
                "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
            },
        },
    ]


def _pod(name: str) -> dict[str, Any]:
    return {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container()],
        "volumes": [
            {"name": DATA, "persistentVolumeClaim": {"claimName": name}},
            {"name": SCRATCH, "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": FROZEN, "configMap": {"name": "barograph-references", "optional": True}},
        ],
    }


def _container() -> dict[str, Any]:
    return {
        "name": "evaluator",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": evaluator_command(PROMETHEUS),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/-/healthy", period=5, failures=24),
        "readinessProbe": _probe("/-/ready", period=10, failures=3),
        "livenessProbe": _probe("/-/healthy", period=30, failures=5),
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "1Gi"},  # a limit of CPU would only make it late
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": DATA, "mountPath": "/data"},
            {"name": SCRATCH, "mountPath": "/tmp"},
            {"name": FROZEN, "mountPath": REFERENCES, "readOnly": True},
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _name(path: str) -> str:
    """A path as part of the name of an object: lower case letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", path.lower())


def _metadata(name: str, component: str, **more: str) -> dict[str, Any]:
    version = {"app.kubernetes.io/version": __version__}
    labels = {**_labels(component), **version, "app.kubernetes.io/part-of": "barograph", **more}
    return {"name": name, "labels": labels}


def _labels(component: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "barograph", "app.kubernetes.io/component": component}
