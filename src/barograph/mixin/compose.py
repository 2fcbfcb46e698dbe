"""The whole stack on one machine: an example service with a model in it, Prometheus, Alertmanager, Grafana, the evaluator.

`docker compose up` is all that it takes. Images are pinned; what is published is published on loopback alone.
"""

from collections.abc import Mapping
from typing import Any

from barograph import __version__
from barograph.mixin import alertmanager, provisioning
from barograph.mixin.options import Options
from barograph.mixin.text import template, to_yaml

FILE = "docker-compose.yaml"
IMAGE = f"barograph:{__version__}"
PROMETHEUS_IMAGE = "prom/prometheus:v3.13.4"
ALERTMANAGER_IMAGE = "prom/alertmanager:v0.34.1"
GRAFANA_IMAGE = "grafana/grafana:12.4.12"
RETENTION = "40d"  # what is usual for an hour of the week is the median of four weeks
REFERENCES = (
    "/references"  # what normal looks like, a file a model: what the service freezes, the evaluator judges by
)
PORT = 8700

VOLUMES = ("references", "evaluator-data", "prometheus-data", "alertmanager-data", "grafana-data")

_HEADER = """\
docker compose up             the stack: Grafana on http://127.0.0.1:3000 (admin, admin), the console on :8700,
                              Prometheus on :9090, Alertmanager on :9093, the example service on :8000
FAULT=unit-change docker compose up -d traffic
                              breaks what the service is sent; FAULT=silence sends nothing, FAULT=none mends it
docker compose logs -f inbox  what Alertmanager sends
"""
_TEMPLATES = {
    "Dockerfile": "Dockerfile",
    ".dockerignore": "dockerignore",
    "demo/service.py": "service.py.txt",
    "demo/traffic.py": "traffic.py.txt",
    "demo/inbox.py": "inbox.py.txt",
}


def files(_: Options, others: Mapping[str, str]) -> dict[str, str]:
    """The composition, and what its images are made of."""
    home = next((path for path in sorted(others) if path.startswith("dashboards/") and "main" in path), None)
    content = composition(provisioning.rule_files(others), home)
    return {FILE: to_yaml(content, header=_HEADER)} | {
        path: template(name) for path, name in _TEMPLATES.items()
    }


def evaluator_command(prometheus: str) -> list[str]:
    """How the evaluator is started in fleet mode, in an image of ours."""
    source = ["--source", f"prometheus={prometheus}", "--references", REFERENCES]
    return ["barograph", "serve", *source, "--host", "0.0.0.0", "--store", "/data/tiles.duckdb"]


def composition(rules: list[str], home: str | None) -> dict[str, Any]:
    """The services; `home` is the dashboard that Grafana opens with."""
    return {
        "services": {
            "service": _service(),
            "traffic": _ours(["python", "traffic.py"], environment={"FAULT": "${FAULT:-none}"}, after=["service"]),
            "evaluator": _evaluator(),
            "prometheus": _prometheus(rules),
            "alertmanager": _alertmanager(),
            "inbox": _ours(["python", "inbox.py"]),
            "grafana": _grafana(home),
        },
        "volumes": {name: {} for name in VOLUMES},
    }  # fmt: skip


def _service() -> dict[str, Any]:
    return _ours(
        ["python", "service.py"],
        volumes=[f"references:{REFERENCES}"],
        ports=[_published(8000)],
        healthcheck=_python_check("http://127.0.0.1:8000/metrics"),
    )


def _evaluator() -> dict[str, Any]:
    return _ours(
        evaluator_command("http://prometheus:9090"),
        volumes=["evaluator-data:/data", f"references:{REFERENCES}:ro"],
        ports=[_published(PORT)],
        healthcheck=_python_check(f"http://127.0.0.1:{PORT}/-/healthy"),
        after=["prometheus"],
    )


def _prometheus(rules: list[str]) -> dict[str, Any]:
    read = dict.fromkeys(path.split("/")[0] for path in (provisioning.PROMETHEUS, *rules, "targets"))
    return _theirs(
        PROMETHEUS_IMAGE,
        command=[
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/prometheus",
            f"--storage.tsdb.retention.time={RETENTION}",
            "--web.external-url=http://127.0.0.1:9090",
        ],
        volumes=[*(f"./{path}:/etc/prometheus/{path}:ro" for path in read), "prometheus-data:/prometheus"],
        ports=[_published(9090)],
        healthcheck=_wget_check("http://127.0.0.1:9090/-/ready"),
    )


def _alertmanager() -> dict[str, Any]:
    read = [alertmanager.FILE, "templates", "secrets"]
    return _theirs(
        ALERTMANAGER_IMAGE,
        command=[
            "--config.file=/etc/alertmanager/alertmanager.yaml",
            "--storage.path=/alertmanager",
            "--web.external-url=http://127.0.0.1:9093",
            "--cluster.listen-address=",
        ],
        volumes=[*(f"./{path}:/etc/alertmanager/{path}:ro" for path in read), "alertmanager-data:/alertmanager"],
        ports=[_published(9093)],
        healthcheck=_wget_check("http://127.0.0.1:9093/-/ready"),
    )  # fmt: skip


def _grafana(home: str | None) -> dict[str, Any]:
    settings = {
        "GF_SECURITY_ADMIN_PASSWORD": "${GRAFANA_PASSWORD:-admin}",
        "GF_AUTH_ANONYMOUS_ENABLED": "true",  # may look, on loopback
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
    }
    if home is not None:
        page = f"{provisioning.DASHBOARDS}/{home.removeprefix('dashboards/')}"
        settings["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] = page
    return _theirs(
        GRAFANA_IMAGE,
        environment=settings,
        volumes=[
            "./grafana/provisioning:/etc/grafana/provisioning:ro",
            f"./dashboards:{provisioning.DASHBOARDS}:ro",
            "grafana-data:/var/lib/grafana",
        ],
        ports=[_published(3000)],
        healthcheck=_wget_check("http://127.0.0.1:3000/api/health"),
        depends_on={"prometheus": {"condition": "service_healthy"}},
    )


def _ours(
    command: list[str],
    *,
    environment: Mapping[str, str] | None = None,
    volumes: list[str] | None = None,
    ports: list[str] | None = None,
    healthcheck: dict[str, Any] | None = None,
    after: list[str] | None = None,
) -> dict[str, Any]:
    """A process of the image that the Dockerfile makes: it can write to its volume and to /tmp, and nowhere else."""
    given = {
        "environment": environment,
        "volumes": volumes,
        "ports": ports,
        "healthcheck": healthcheck,
        "depends_on": after and {name: {"condition": "service_healthy"} for name in after},
    }
    return {
        "image": IMAGE,
        "build": {"context": "."},
        "command": command,
        **{key: value for key, value in given.items() if value},
        "read_only": True,
        "tmpfs": ["/tmp"],
        **_CONFINED,
    }


def _theirs(image: str, **settings: Any) -> dict[str, Any]:
    return {"image": image, **settings, **_CONFINED}


_CONFINED = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}


def _published(port: int) -> str:
    return f"127.0.0.1:{port}:{port}"


def _python_check(url: str) -> dict[str, Any]:
    code = f"import urllib.request; urllib.request.urlopen('{url}', timeout=5)"
    return _check(["CMD", "python", "-c", code])


def _wget_check(url: str) -> dict[str, Any]:
    return _check(["CMD", "wget", "-q", "-O", "/dev/null", url])


def _check(test: list[str]) -> dict[str, Any]:
    return {"test": test, "interval": "10s", "timeout": "6s", "retries": 5, "start_period": "60s"}
