"""What runs the mixin: Alertmanager, Compose and Kubernetes take their files, and these do what they are for."""

import copy
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
import yaml

from barograph import naming
from barograph.mixin import alertmanager, compose, kubernetes, provisioning
from barograph.mixin.options import Options
from barograph.mixin.write import write
from schemas import SCHEMAS, faults
from test_prometheus import free_port, program, running, wait_for

PYTHON = sys.executable


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("mixin")
    write(place, Options())
    return place


def output(*command, folder: Path, **settings) -> str:
    done = subprocess.run(
        [str(c) for c in command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **settings,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# Alertmanager.


def test_amtool_takes_the_configuration_with_its_templates(folder):
    said = output(program("amtool"), "check-config", "alertmanager.yaml", folder=folder)
    assert "SUCCESS" in said and "1 templates" in said and "4 receivers" in said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=MLModelErrors severity=critical model=fraud", "pages"),
        ("alertname=MLModelFeatureShifted severity=warning model=fraud", "tickets"),
        ("alertname=Watchdog severity=none", "heartbeat"),
        ("alertname=Watchdog severity=critical", "heartbeat"),
        ("alertname=Something severity=info", "nobody"),
        ("alertname=Something severity=none", "nobody"),
        ("alertname=Something", "tickets"),
    ],
)
def test_an_alert_goes_to_the_receiver_of_its_severity(folder, labels, receiver):
    test = ["config", "routes", "test", "--config.file=alertmanager.yaml", f"--verify.receivers={receiver}"]
    output(program("amtool"), *test, *labels.split(), folder=folder)


def test_every_alert_has_a_route_of_its_own_severity(folder):
    rules = yaml.safe_load((folder / "alerts.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    config = alertmanager.config()
    routed = " ".join(m for route in config["route"]["routes"] for m in route["matchers"])
    assert {a["alert"] for a in alerts} >= {alertmanager.WATCHDOG, *naming.RULES}
    for alert in alerts:
        assert re.search(rf'severity=~?"[^"]*\b{alert["labels"]["severity"]}\b', routed), alert


def test_secrets_are_files(folder):
    text = (folder / "alertmanager.yaml").read_text()
    config = yaml.safe_load(text)
    webhooks = [w for receiver in config["receivers"] for w in receiver.get("webhook_configs", [])]
    named = [w["http_config"]["authorization"]["credentials_file"] for w in webhooks if "http_config" in w]
    assert len(named) == 2 and all((folder / name).is_file() for name in named)
    assert not re.search(r"(credentials|password|token|key):", text.split("global:")[1])


def test_the_words_of_a_message(folder, tmp_path):
    alert = {
        "status": "firing",
        "labels": {"alertname": "MLModelErrors", "model": "fraud"},
        "annotations": {"summary": "Too many calls fail.", "runbook_url": "https://r/MLModelErrors"},
    }
    data = {
        "status": "firing",
        "commonLabels": alert["labels"],
        "alerts": [alert, {**alert, "status": "resolved"}],
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    said = output(
        program("amtool"), "template", "render", "--template.glob=templates/*.tmpl",
        '--template.text={{ template "barograph.title" . }}\n{{ template "barograph.text" . }}',
        f"--template.data={tmp_path / 'data.json'}", folder=folder,
    )  # fmt: skip
    assert said.startswith(
        "1 firing: fraud, MLModelErrors\nToo many calls fail.\nWhat to do: https://r/MLModelErrors\n"
    )
    assert "Over: Too many calls fail." in said


class Receiver:
    """Takes what Alertmanager sends: (path, authorization, alert)."""

    def __init__(self):
        self.taken = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    outer.taken.append((self.path, self.headers.get("Authorization"), alert["labels"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def told(self) -> set[tuple[str, str, str]]:
        return {(path, labels["alertname"], labels.get("model", "")) for path, _, labels in self.taken}


@pytest.mark.workers
def test_a_real_alertmanager_tells_pages_and_keeps_what_they_explain_quiet(folder, tmp_path):
    receiver = Receiver()
    config = alertmanager.config()
    text = yaml.safe_dump(config).replace("inbox:8080", f"127.0.0.1:{receiver.port}")
    text = re.sub(r"group_(wait|interval): \w+", r"group_\1: 2s", text)  # waits are not what is tested
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pages-token").write_text("one\n")
    (tmp_path / "secrets" / "tickets-token").write_text("two\n")
    (tmp_path / "alertmanager.yaml").write_text(text)
    port = free_port()
    command = [
        program("prometheus-alertmanager"), "--config.file=alertmanager.yaml", "--storage.path=data",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip

    def alert(name: str, severity: str, model: str = "") -> dict:
        labels = {"alertname": name, "severity": severity, "model": model}
        return {"labels": {key: value for key, value in labels.items() if value}}

    alerts = [
        alert("MLModelErrors", "critical", "a"),
        alert("MLModelFeatureShifted", "warning", "a"),  # the page says it
        alert("MLModelFeatureShifted", "warning", "b"),  # of another model
        alert("MLModelNoTraffic", "critical", "c"),
        alert("MLModelOutputShifted", "critical", "c"),  # of the time before
        alert("MLModelErrors", "critical", "c"),  # why there is no traffic
        alert("MLMonitorEvaluatorStale", "warning"),
        alert("SomethingElse", "critical"),  # of no model: mutes nothing
        alert("Watchdog", "none"),
    ]
    with running(command, tmp_path, "log"):
        api = f"http://127.0.0.1:{port}/api/v2"
        wait_for(lambda: httpx.get(f"{api}/status").is_success)
        httpx.post(f"{api}/alerts", json=alerts).raise_for_status()
        expected = {
            ("/pages", "MLModelErrors", "a"), ("/tickets", "MLModelFeatureShifted", "b"),
            ("/pages", "MLModelNoTraffic", "c"), ("/pages", "MLModelErrors", "c"),
            ("/tickets", "MLMonitorEvaluatorStale", ""), ("/pages", "SomethingElse", ""), ("/heartbeat", "Watchdog", ""),
        }  # fmt: skip
        wait_for(lambda: receiver.told() >= expected)
        time.sleep(3)  # a group's interval: what is muted would have come by now
        found = httpx.get(f"{api}/alerts").json()
    assert receiver.told() == expected
    quiet = [(a["labels"]["alertname"], a["labels"]["model"]) for a in found if a["status"]["inhibitedBy"]]
    assert sorted(quiet) == [("MLModelFeatureShifted", "a"), ("MLModelOutputShifted", "c")]
    tokens = {path: token for path, token, _ in receiver.taken}
    assert tokens == {"/pages": "Bearer one", "/tickets": "Bearer two", "/heartbeat": None}


# Prometheus and Grafana.


def test_promtool_takes_the_configuration_and_all_rules_are_run(folder):
    said = output(program("promtool"), "check", "config", "prometheus.yaml", folder=folder)
    rules = {
        p.name
        for p in [*folder.glob("*.yaml"), *folder.glob("adapters/*.yaml")]
        if "groups:" in p.read_text()
    }
    assert rules == {path.split("/")[-1] for path in provisioning.rule_files(texts(folder))}
    assert f"SUCCESS: {len(rules)} rule files found" in said and len(rules) >= 2


def texts(folder: Path) -> dict[str, str]:
    paths = [*folder.glob("*.yaml"), *folder.glob("adapters/*.yaml")]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


@pytest.mark.parametrize(
    ("job", "name"), [("services", "services"), ("a.*|ranking", "ranking"), ("(a|b)", "a")]
)
def test_the_jobs_are_those_that_the_rules_look_for(job, name):
    config = provisioning.prometheus(Options(job=job, evaluator_job="watch"), [])
    assert [c["job_name"] for c in config["scrape_configs"]] == [name, "watch"]


def test_grafana_reads_the_dashboards_where_compose_puts_them(folder):
    provider = yaml.safe_load((folder / provisioning.PROVIDERS).read_text())["providers"][0]
    mounts = yaml.safe_load((folder / compose.FILE).read_text())["services"]["grafana"]["volumes"]
    assert f"./dashboards:{provider['options']['path']}:ro" in mounts
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in mounts
    assert list((folder / "dashboards").glob("*.json"))


def test_a_rate_in_grafana_spans_four_scrapes(folder):
    sources = yaml.safe_load((folder / provisioning.DATASOURCES).read_text())["datasources"]
    scrape = yaml.safe_load((folder / provisioning.PROMETHEUS).read_text())["global"]["scrape_interval"]
    assert [s["jsonData"]["timeInterval"] for s in sources if s["type"] == "prometheus"] == [scrape]


# Compose.


@pytest.fixture(scope="module")
def services(folder) -> dict:
    return yaml.safe_load((folder / compose.FILE).read_text())["services"]


def test_docker_compose_takes_the_file(folder, services):
    said = output(program("docker-compose"), "config", folder=folder)
    assert set(yaml.safe_load(said)["services"]) == set(services)


def test_images_are_pinned(services, folder):
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", (folder / "Dockerfile").read_text(), re.MULTILINE)
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+", image), image


def test_ports_are_published_on_loopback_alone(services):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 5 and all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in published)


def test_what_others_wait_for_says_when_it_is_healthy(services):
    waited = {name for service in services.values() for name in service.get("depends_on", {})}
    assert waited == {"service", "prometheus"}
    checked = {name for name, service in services.items() if "healthcheck" in service}
    assert checked == {"service", "evaluator", "prometheus", "alertmanager", "grafana"}


def test_every_file_that_is_mounted_is_there(services, folder):
    mounted = [v.split(":")[0] for service in services.values() for v in service.get("volumes", [])]
    local = [path for path in mounted if path.startswith("./")]
    assert len(local) >= 8 and all((folder / path).exists() for path in local)
    named = set(yaml.safe_load((folder / compose.FILE).read_text())["volumes"])
    assert {path for path in mounted if not path.startswith("./")} == named


def test_the_evaluator_reads_the_references_that_the_service_writes(services):
    assert "references:/references" in services["service"]["volumes"]
    assert "references:/references:ro" in services["evaluator"]["volumes"]


def test_every_address_within_is_of_a_service(services, folder):
    text = "".join(
        (folder / p).read_text()
        for p in ("prometheus.yaml", "alertmanager.yaml", *provisioning.seeds(Options()))
    )
    text += (
        json.dumps(services)
        + (folder / provisioning.DATASOURCES).read_text()
        + (folder / "demo/traffic.py").read_text()
    )
    hosts = set(re.findall(r"\b([a-z]+):(?:\d{4})\b", text))
    assert hosts - {"localhost"} == {"service", "evaluator", "prometheus", "alertmanager", "inbox"}


def test_processes_of_ours_can_write_to_their_volume_alone(services):
    ours = [service for service in services.values() if service["image"] == compose.IMAGE]
    assert len(ours) == 4
    assert all(service["read_only"] and service["tmpfs"] == ["/tmp"] for service in ours)
    assert all(service["cap_drop"] == ["ALL"] for service in services.values())


@pytest.mark.parametrize("arguments", [
    compose.composition([], None)["services"]["evaluator"]["command"],
    kubernetes.evaluator()[2]["spec"]["template"]["spec"]["containers"][0]["args"],
])  # fmt: skip
def test_the_evaluator_is_started_with_flags_that_there_are(arguments):
    said = output(
        Path(PYTHON).with_name("barograph"),
        *arguments[1:2],
        "--help",
        folder=Path(),
        env={**os.environ, "COLUMNS": "200"},
    )
    flags = {argument for argument in arguments if argument.startswith("--")}
    assert len(flags) == 4 and all(flag in said for flag in flags)


# The image.


def test_the_image_runs_as_nobody_who_may_do_anything(folder):
    text = (folder / "Dockerfile").read_text()
    assert re.search(r"^USER (\d+):\1$", text, re.MULTILINE)[1] == str(kubernetes.USER)
    ignored = (folder / ".dockerignore").read_text().split()
    sources = [
        source.rstrip("/")
        for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE)
        for source in line.split()
    ]
    assert ignored[0] == "*" and {f"!{source}" for source in sources} <= set(ignored)


@pytest.mark.parametrize("lying", ["", "barograph-0.1.0.tar.gz", "barograph-0.1.0-py3-none-any.whl"])
def test_the_image_installs_what_lies_beside_it_else_the_release(folder, tmp_path, lying):
    text = (folder / "Dockerfile").read_text()
    script = re.search(r"^RUN (set -eu.*?)\n\n", text, re.MULTILINE | re.DOTALL)[1].replace("\\\n", "")
    (tmp_path / "from").mkdir()
    if lying:
        (tmp_path / "from" / lying).touch()
    (tmp_path / "pip").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = script.replace("/tmp/from", str(tmp_path / "from"))
    asked = output("sh", "-c", script, folder=tmp_path, env={"PATH": path}).split()[-1]
    release = f"barograph[serve,fastapi]=={compose.IMAGE.split(':')[1]}"
    assert asked == (f"{tmp_path / 'from' / lying}[serve,fastapi]" if lying else release)


# The example.


@pytest.mark.workers
def test_the_example_service_answers_and_is_monitored(folder, tmp_path):
    demo, port = folder / "demo", free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {
        "PORT": str(port),
        "REFERENCE": str(tmp_path / "r.json"),
        "SERVICE": address,
        "A_SECOND": "100",
    }

    def rows() -> float:
        text = httpx.get(f"{address}/metrics").text
        return value(text, f"{naming.PREDICTIONS.name}{{")

    def value(text: str, start: str) -> float:
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(start))

    with running([PYTHON, "service.py"], demo, "../service.log", **settings):
        wait_for(lambda: value(httpx.get(f"{address}/metrics").text, f"{naming.WORKERS.name} ") == 2)
        with running([PYTHON, "traffic.py"], demo, "../traffic.log", **settings):
            wait_for(lambda: rows() >= 50)
        usual = httpx.get(f"{address}/metrics").text
        with running([PYTHON, "traffic.py"], demo, "../traffic.log", **settings, FAULT="unit-change"):
            wait_for(lambda: rows() >= value(usual, f"{naming.PREDICTIONS.name}{{") + 50)
        broken = httpx.get(f"{address}/metrics").text
    far = re.compile(
        rf'^{naming.COLUMN_VALUES.name}{{.*cell="above",column="distance_km".*}} (\S+)$', re.MULTILINE
    )
    before, after = (sum(map(float, far.findall(text))) for text in (usual, broken))
    assert before <= 1 and after >= 45
    assert value(broken, f"{naming.BUSINESS.name}{{") >= 100


@pytest.mark.workers
def test_the_inbox_prints_what_it_is_sent(folder):
    port = free_port()
    alert = {
        "status": "firing",
        "labels": {"alertname": "A", "model": "m"},
        "annotations": {"summary": "Why."},
    }

    def sent(path: str) -> bool:
        return httpx.post(f"http://127.0.0.1:{port}/{path}", json={"alerts": [alert]}).is_success

    with running([PYTHON, "inbox.py"], folder / "demo", "../inbox.log", PORT=str(port), PYTHONUNBUFFERED="1"):
        wait_for(lambda: sent("heartbeat"))
        assert sent("pages")
    assert (folder / "inbox.log").read_text() == "/pages firing A m Why.\n"


# Kubernetes.


def manifests(folder: Path) -> list[dict]:
    paths = sorted((folder / "kubernetes").glob("*.yaml"))
    return [document for path in paths for document in yaml.safe_load_all(path.read_text())]


def test_every_manifest_fits_its_schema(folder):
    found = manifests(folder)
    assert {document["kind"] for document in found} == set(SCHEMAS)
    for document in found:
        assert faults(document, SCHEMAS[document["kind"]], document["metadata"]["name"]) == []


def test_a_manifest_that_does_not_fit_is_refused(folder):
    (deployment,) = [d for d in manifests(folder) if d["kind"] == "Deployment"]
    container = ["spec", "template", "spec", "containers", 0]
    for path, value in [
        (["metadata", "name"], "Under_scored"),
        (["spec", "replicas"], "1"),
        ([*container, "securityContext", "readonlyRootFilesystem"], True),
        ([*container, "resources", "limits", "memory"], "1 GB"),
        ([*container, "livenessProbe", "httpGet"], {"path": "/"}),
    ]:
        broken = copy.deepcopy(deployment)
        place = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert faults(broken, SCHEMAS["Deployment"]), path


def test_kubernetes_validate_takes_them_too(folder):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for document in manifests(folder):
        if "monitoring.coreos.com" not in document["apiVersion"]:
            validator.validate(document, "1.33", strict=True)


def test_names_of_objects_differ(folder):
    assert Counter((d["kind"], d["metadata"]["name"]) for d in manifests(folder)).most_common(1)[0][1] == 1


def test_the_rules_of_the_operator_are_those_of_prometheus(folder):
    of_files = [g for text in texts(folder).values() for g in (yaml.safe_load(text) or {}).get("groups", [])]
    of_operator = [g for d in manifests(folder) if d["kind"] == "PrometheusRule" for g in d["spec"]["groups"]]
    assert sorted(of_files, key=str) == sorted(of_operator, key=str)


def test_the_dashboards_of_the_sidecar_are_those_of_the_files(folder):
    files = {path.name: json.loads(path.read_text()) for path in (folder / "dashboards").glob("*.json")}
    maps = [d for d in manifests(folder) if d["kind"] == "ConfigMap"]
    assert {name: json.loads(text) for d in maps for name, text in d["data"].items()} == files
    assert all(d["metadata"]["labels"]["grafana_dashboard"] == "1" for d in maps)
    assert (
        max(len(json.dumps(d)) for d in maps) < 250_000
    )  # `kubectl apply` keeps a copy in an annotation of 256 KiB


def test_what_is_selected_is_there(folder):
    found = {(d["kind"], d["metadata"]["name"]): d for d in manifests(folder)}
    name = "barograph-evaluator"
    deployment, service = found["Deployment", name], found["Service", name]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector.items() <= labels.items()
    monitor = found["ServiceMonitor", name]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {service["spec"]["ports"][0]["targetPort"]: compose.PORT}
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert ("PersistentVolumeClaim", name) in found and ("ServiceAccount", name) in found


def test_the_evaluator_on_kubernetes_may_do_nothing_it_need_not(folder):
    (deployment,) = [d for d in manifests(folder) if d["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    probes = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")
    }
    assert probes == {"startup": "/-/healthy", "liveness": "/-/healthy", "readiness": "/-/ready"}


def test_the_jobs_of_kubernetes_are_those_that_the_rules_look_for():
    monitors = kubernetes.service_monitors(Options(job="services", evaluator_job="watch"))
    given = [m["spec"]["endpoints"][0]["relabelings"][0] for m in monitors]
    assert given == [{"targetLabel": "job", "replacement": name} for name in ("services", "watch")]
