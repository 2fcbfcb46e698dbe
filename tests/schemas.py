"""What Kubernetes and the Prometheus operator take of our manifests: closed schemas of the fields that we use, and a check.

They are the published ones (Kubernetes 1.28 to 1.36, operator 0.93), cut down to these fields: another field is refused until it
is written here. `kubernetes-validate`, where it is installed, is asked too.
"""

import re
from typing import Any

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123
KEY = re.compile(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
DURATION = re.compile(r"(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?")
LABELS = {KEY: VALUE}
TEXTS = {re.compile(".+"): str}
METADATA = {"name": NAME, "labels": LABELS, "annotations?": TEXTS}


def _object(version: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": {version}, "kind": {kind}, "metadata": METADATA, **fields}


_PROBE = {
    "httpGet": {"path": re.compile("/.*"), "port": NAME},
    "periodSeconds": int,
    "timeoutSeconds": int,
    "failureThreshold": int,
}
_CONTAINER = {
    "name": NAME,
    "image": re.compile(r"[-a-z0-9./]+:[-\w.]+"),
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "args": [str],
    "ports": [{"name": NAME, "containerPort": int, "protocol": {"TCP"}}],
    "startupProbe": _PROBE,
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "resources": {
        "requests": {"cpu": QUANTITY, "memory": QUANTITY},
        "limits": {"cpu?": QUANTITY, "memory": QUANTITY},
    },
    "securityContext": {
        "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
        "capabilities": {"drop": [str]},
    },
    "volumeMounts": [{"name": NAME, "mountPath": re.compile("/.*"), "readOnly?": bool}],
}
_POD = {
    "serviceAccountName": NAME,
    "automountServiceAccountToken": bool,
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "runAsGroup": int,
        "fsGroup": int,
        "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
        "seccompProfile": {"type": {"RuntimeDefault", "Unconfined", "Localhost"}},
    },
    "containers": [_CONTAINER],
    "volumes": [
        {
            "name": NAME,
            "persistentVolumeClaim?": {"claimName": NAME},
            "emptyDir?": {"sizeLimit": QUANTITY},
            "configMap?": {"name": NAME, "optional": bool},
        }
    ],
}
_RULE = {
    "record?": re.compile("[a-zA-Z_:][a-zA-Z0-9_:]*"),
    "alert?": str,
    "expr": str,
    "for?": DURATION,
    "keep_firing_for?": DURATION,
    "labels?": {re.compile("[a-zA-Z_][a-zA-Z0-9_]*"): str},
    "annotations?": {re.compile("[a-zA-Z_][a-zA-Z0-9_]*"): str},
}
SCHEMAS: dict[str, Any] = {
    "ServiceAccount": _object("v1", "ServiceAccount", automountServiceAccountToken=bool),
    "PersistentVolumeClaim": _object(
        "v1",
        "PersistentVolumeClaim",
        spec={
            "accessModes": [{"ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"}],
            "resources": {"requests": {"storage": QUANTITY}},
        },
    ),
    "Deployment": _object(
        "apps/v1",
        "Deployment",
        spec={
            "replicas": int,
            "strategy": {"type": {"Recreate", "RollingUpdate"}},
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": _POD},
        },
    ),
    "Service": _object(
        "v1",
        "Service",
        spec={
            "type": {"ClusterIP", "NodePort", "LoadBalancer"},
            "selector": LABELS,
            "ports": [{"name": NAME, "port": int, "targetPort": NAME, "protocol": {"TCP"}}],
        },
    ),
    "ConfigMap": _object("v1", "ConfigMap", data={re.compile(r"[-._a-zA-Z0-9]+"): str}),
    "ServiceMonitor": _object(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        spec={
            "namespaceSelector?": {"any": bool},
            "selector": {"matchLabels": LABELS},
            "endpoints": [
                {
                    "port": NAME,
                    "path": re.compile("/.*"),
                    "interval": DURATION,
                    "relabelings": [{"targetLabel": str, "replacement": str}],
                }
            ],
        },
    ),
    "PrometheusRule": _object(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        spec={"groups": [{"name": str, "interval?": DURATION, "rules": [_RULE]}]},
    ),
}


def faults(value: Any, schema: Any, place: str = "") -> list[str]:
    """What does not fit. A schema is a type, a pattern of a text, a set of values, a list of one schema, or a dict: its keys
    are names, with a question mark where they may be absent, or patterns."""
    if isinstance(schema, dict):
        return (
            _of_a_table(value, schema, place)
            if isinstance(value, dict)
            else [f"{place}: {value!r} is no table"]
        )
    if isinstance(schema, list):
        if not isinstance(value, list) or not value:
            return [f"{place}: {value!r} is no list, or an empty one"]
        return [found for i, item in enumerate(value) for found in faults(item, schema[0], f"{place}[{i}]")]
    if isinstance(schema, set):
        fits = value in schema
    elif isinstance(schema, re.Pattern):
        fits = isinstance(value, str) and schema.fullmatch(value) is not None
    else:
        fits = type(value) is schema
    return [] if fits else [f"{place}: {value!r}"]


def _of_a_table(value: dict[str, Any], schema: dict[Any, Any], place: str) -> list[str]:
    found = [
        f"{place}.{name} is missing"
        for name in schema
        if isinstance(name, str) and not name.endswith("?") and name not in value
    ]
    for key, inner in value.items():
        known = schema.get(key, schema.get(f"{key}?"))
        patterns = [s for p, s in schema.items() if isinstance(p, re.Pattern) and p.fullmatch(key)]
        if known is None and not patterns:
            found.append(f"{place}.{key} is not known")
        else:
            found += faults(inner, patterns[0] if known is None else known, f"{place}.{key}")
    return found
