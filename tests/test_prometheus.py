"""A real Prometheus on a real service: it reads everything without an error, and its numbers are what was sent."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from barograph import Reference, naming

pytestmark = pytest.mark.workers

SENT = 200
OURS = re.compile(f"__name__=({'|'.join(naming.METRICS)})(_bucket|_sum|_count)?")
APP = """
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from barograph import Monitor
from barograph.integrations.fastapi import instrument

monitor = Monitor("flight-delay", version="3", reference="reference.json", flush_interval=0.1)

class Model:
    def predict_proba(self, rows):
        return [[0.75, 0.25]] * len(rows)

model = monitor.watch(Model())

async def predict(request):
    row = await request.json()
    with monitor.stage("look up"):
        score = model.predict_proba([row])[0][1]
    if row["carrier"] == "crash":
        raise RuntimeError("no such carrier")
    monitor.business('an "order"\\n')
    return JSONResponse(os.getpid())

app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
instrument(app, monitor)
"""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


SETTLED = 1.0  # seconds after which every worker has flushed what it counted, whichever of them is scraped


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], folder: Path, log: str, **environment: str) -> Iterator[None]:
    with (folder / log).open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=15)


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """The first answer that is true."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):  # not answering yet, or not in JSON
            if found := what():
                return found
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[str]:
    """The address of a service with two workers that watches a model."""
    folder = tmp_path_factory.mktemp("service")
    rng = np.random.default_rng(0)
    frame = {"delay": rng.normal(10, 5, 2000), "carrier": rng.choice(["AA", "B6", "UA"], 2000).tolist()}
    frame["p"] = rng.beta(2, 5, 2000)
    Reference.fit(frame, task="binary", score="p", threshold=0.5).save(folder / "reference.json")
    (folder / "app.py").write_text(APP)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "app:app",
        "--workers",
        "2",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    with running(command, folder, "log", PYTHONPATH=os.pathsep.join([str(folder), *sys.path])):
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{address}/metrics").is_success)
        yield address


def send(service: str, count: int) -> None:
    for i in range(count):
        row = {"delay": float(i % 20), "carrier": ["AA", "B6", "Cessna"][i % 3]}
        httpx.post(f"{service}/predict", json=row).raise_for_status()


def test_promtool_finds_nothing_to_say(service):
    send(service, 5)
    httpx.post(f"{service}/predict", json={"delay": None, "carrier": "crash"})
    time.sleep(SETTLED)
    text = httpx.get(f"{service}/metrics").content
    for metric in (b"ml_column_values_total", b"ml_prediction_errors_total", b"ml_business_events_total"):
        assert metric in text
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.fixture
def query(service, tmp_path) -> Iterator[Callable[[str], dict[str, float]]]:
    """Asks a Prometheus that scrapes the service once a second: expression -> value by its labels."""
    port = free_port()
    target = service.removeprefix("http://")
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: service, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    command = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",  # Debian's default is one directory for all, with what others wrote before
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, tmp_path, "log"):
        api = f"http://127.0.0.1:{port}/api/v1"

        def ask(expression: str) -> dict[str, float]:
            answer = httpx.get(f"{api}/query", params={"query": expression}).raise_for_status().json()
            found = {}
            for series in answer["data"]["result"]:
                labels = {k: v for k, v in series["metric"].items() if k not in ("instance", "job")}
                found[" ".join(f"{k}={v}" for k, v in sorted(labels.items()))] = float(series["value"][1])
            return found

        def healthy() -> bool:
            targets = httpx.get(f"{api}/targets").json()["data"]["activeTargets"]
            assert all(t["health"] != "down" for t in targets), targets
            return bool(targets) and targets[0]["health"] == "up"

        wait_for(healthy)
        yield ask
        assert healthy()
    log = (tmp_path / "log").read_text()
    assert not re.search(r"level=(warn|error).*(scrape|sample|duplicate|append)", log), log


def total(found: dict[str, float]) -> float:
    return sum(found.values())


def test_prometheus_counts_what_was_sent(service, query):
    rows = "ml_predictions_total"

    def lines() -> int:
        text = httpx.get(f"{service}/metrics").text
        return sum(not line.startswith("#") for line in text.splitlines())

    wait_for(lambda: total(query("count_over_time(ml_monitor_workers[1m])")) >= 3)
    for samples in ("scrape_samples_scraped", "scrape_samples_post_metric_relabeling"):
        assert query(samples) == {f"__name__={samples}": lines()}
    stored = query('count({job="service",__name__!~"up|scrape_.*"})')
    assert stored == {"": lines()}  # each line is a series of its own
    before = query(rows), query("ml_column_values_total"), query("http_requests_total")

    send(service, SENT)
    wait_for(lambda: total(query(rows)) == total(before[0]) + SENT)
    time.sleep(2)  # two scrapes more
    assert total(query(rows)) == total(before[0]) + SENT
    answered = "handler=/predict method=POST status=2xx"
    name = f"__name__=http_requests_total {answered}"
    assert query("http_requests_total")[name] == before[2][name] + SENT

    by_column = query("sum by (column) (ml_column_values_total)")
    assert {round(n) for n in by_column.values()} == {total(before[0]) + SENT}
    unseen = query('ml_column_values_total{column="carrier",cell="unseen"}')
    violated = query('ml_schema_violations_total{column="carrier",kind="category"}')
    assert total(unseen) == total(violated) >= SENT // 3
    assert total(query("ml_monitor_workers")) == 2
    assert total(query("ml_monitor_workers_unshared")) == 0
    by_name = query('count by (__name__) ({job="service"})')
    ours = {name: n for name, n in by_name.items() if OURS.fullmatch(name)}
    assert total(query("ml_monitor_series")) == total(ours)

    # increase() stretches what lies between the first and the last sample of the window, by at most 1.1 intervals each side.
    window = 60
    samples = total(query(f"count_over_time({rows}[{window}s])"))
    increase = total(query(f"increase({rows}[{window}s])"))
    assert SENT * 0.999 <= increase <= SENT * (1 + 2.2 / (samples - 1.5))
    quantile = query(f"histogram_quantile(0.5, rate(http_request_duration_seconds_bucket[{window}s]))")
    assert 0 < quantile["handler=/predict method=POST"] < 1
