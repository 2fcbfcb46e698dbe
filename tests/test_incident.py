"""An incident, end to end: real flights, four workers, Prometheus, Alertmanager and both ways to run the evaluator.

Everything is what a user would run, with the files that `barograph mixin` writes; only addresses are filled in, and waits made
short: columns are judged every minute, Prometheus scrapes every five seconds.
"""

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from barograph import naming
from test_deploy import Receiver
from test_prometheus import free_port, program, running, wait_for

pytest.importorskip("sklearn")
from barograph.demo import arrival, flights
from barograph.demo import model as artefacts
from barograph.demo.incidents import frozen, unit_change
from barograph.demo.replay import departures

pytestmark = [pytest.mark.slow, pytest.mark.workers]

A_MINUTE = 100  # flights: more than enough for a verdict
CALM, LONGEST = 130, 210  # seconds before the incident, and for it to be found
APP = """
from pathlib import Path
from barograph.demo.service import create_app
app = create_app(Path(__file__).parent)
"""


@dataclass
class Traffic(threading.Thread):
    """Flights as requests, until `over` is set; from `broken` on with delays in milliseconds and a distance that stands still."""

    url: str
    rows: Iterator
    broken: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    answers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self):
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self):
        with httpx.Client(timeout=30) as client:
            for departure in self.rows:
                row = departure.features
                if self.broken.is_set():
                    row = frozen(unit_change(row))
                status = client.post(f"{self.url}/predict", json=row).status_code
                self.answers[status] = self.answers.get(status, 0) + 1
                if self.over.wait(60 / A_MINUTE):
                    return


@dataclass
class Site:
    """What runs: addresses of the evaluators, of Prometheus and Alertmanager, what was received, and the traffic."""

    fleet: str
    embedded: str
    prometheus: str
    alertmanager: str
    receiver: Receiver
    traffic: Traffic


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    place, mixin = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("mixin")
    place.chmod(0o700)
    try:
        rows = flights.load()
    except flights.DemoDataMissing as missing:
        pytest.skip(str(missing))
    training, later = (flights.between(rows, *weeks) for weeks in (artefacts.TRAINING, artefacts.REFERENCE))
    model = artefacts.train(training.iloc[::4])
    artefacts.save(model, place)
    artefacts.freeze(model, later, training).save(place / artefacts.REFERENCE_FILE)
    second = arrival.train(training.iloc[::4])
    arrival.save(second, place)
    arrival.freeze(second, later, training).save(place / arrival.REFERENCE_FILE)
    live = flights.between(rows, artefacts.LIVE, "2013-10-15T04:00Z")
    receiver, ports = Receiver(), [free_port() for _ in range(5)]
    service, fleet, embedded, prometheus, alertmanager = (f"http://127.0.0.1:{port}" for port in ports)
    barograph = [sys.executable, "-m", "barograph"]
    (place / "app.py").write_text(APP)
    uvicorn = [sys.executable, "-m", "uvicorn", "app:app", "--workers", "4", "--port", str(ports[0]), "--log-level", "warning"]  # fmt: skip
    configured(mixin, barograph, ports, receiver)
    evaluators = {
        "fleet": f'port = {ports[1]}\nwindow = 60\ninterval = 2\nreferences = ["{place}/*.json"]\n[prometheus]\nurl = "{prometheus}"\n',
        "embedded": f'port = {ports[2]}\nwindow = 60\ninterval = 2\ntargets = ["{service}"]\n'
        f'webhooks = ["http://127.0.0.1:{receiver.port}/embedded"]\n',
    }
    for name, text in evaluators.items():
        (place / name).mkdir()
        (place / name / "barograph.toml").write_text(text)
    one_thread = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(place), *sys.path])}
    with (
        running(uvicorn, place, "service.log", BAROGRAPH_DIR=str(place / "counters"), **one_thread),
        running(command_of_prometheus(ports[3]), mixin, "prometheus.log"),
        running(command_of_alertmanager(ports[4]), mixin, "alertmanager.log"),
    ):
        wait_for(lambda: httpx.get(f"{service}/metrics").is_success)
        traffic = Traffic(service, itertools.cycle(departures(live)))
        traffic.start()
        with (
            running([*barograph, "serve"], place / "fleet", "log"),
            running([*barograph, "serve"], place / "embedded", "log"),
        ):
            for url in (fleet, embedded):
                wait_for(lambda url=url: httpx.get(f"{url}/-/ready").is_success, 120)
            yield Site(fleet, embedded, prometheus, alertmanager, receiver, traffic)
            traffic.over.set()
            traffic.join()


def configured(mixin: Path, barograph: list[str], ports: list[int], receiver: Receiver) -> None:
    """The mixin as its verb writes it, with the addresses of this test and short waits."""
    subprocess.run([*barograph, "mixin", str(mixin)], check=True, capture_output=True)
    addresses = {"evaluator:8700": ports[1], "alertmanager:9093": ports[4], "inbox:8080": receiver.port, "service:8000": ports[0]}  # fmt: skip
    for path in (mixin / "prometheus.yaml", mixin / "alertmanager.yaml", mixin / "targets" / "models.yaml"):
        text = path.read_text()
        for given, port in addresses.items():
            text = text.replace(given, f"127.0.0.1:{port}")
        text = re.sub(r"(scrape|evaluation)_interval: \w+", r"\1_interval: 5s", text)
        path.write_text(re.sub(r"group_(wait|interval): \w+", r"group_\1: 5s", text))


def command_of_prometheus(port: int) -> list[str]:
    return [
        program("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip


def command_of_alertmanager(port: int) -> list[str]:
    return [
        program("prometheus-alertmanager"), "--config.file=alertmanager.yaml", "--storage.path=data-alerts",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip


def firing(url: str) -> set[tuple[str, str]]:
    """Alerts that an evaluator says are firing: (name, column)."""
    found = set()
    for line in httpx.get(f"{url}/metrics", timeout=30).text.splitlines():
        if line.startswith("ml_alert_state{") and 'state="firing"' in line:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found.add((labels["alert"], labels.get("column", "")))
    return found


def told(site: Site, path: str) -> set[tuple[str, str]]:
    return {(labels["alertname"], labels.get("column", "")) for where, _, labels in site.receiver.taken if where == path}  # fmt: skip


def quiet(site: Site) -> set[tuple[str, str]]:
    """Alerts that Alertmanager holds back, as another one says it already."""
    found = httpx.get(f"{site.alertmanager}/api/v2/alerts").json()
    return {(a["labels"]["alertname"], a["labels"].get("column", "")) for a in found if a["status"]["inhibitedBy"]}  # fmt: skip


PAGE = (naming.INPUT_BROKEN.name, "dep_delay")
TICKET = (naming.FEATURE_SHIFTED.name, "distance")


def test_ordinary_flights_page_nobody(site):
    time.sleep(CALM)
    for url in (site.fleet, site.embedded):
        models = httpx.get(f"{url}/api/fleet", timeout=30).json()["models"]
        assert {m["name"] for m in models} == {artefacts.NAME, arrival.NAME}
        for model in models:
            assert (model["status"], model["reason"]) == ("ok", ""), (url, model["name"])
            assert model["predictions"] > A_MINUTE
    assert told(site, "/pages") == told(site, "/embedded") == set()
    assert {name for name, _ in told(site, "/heartbeat")} == {"Watchdog"}


def test_an_incident_pages_through_alertmanager_and_from_the_embedded_evaluator(site):
    site.traffic.broken.set()
    wait_for(lambda: PAGE in told(site, "/pages") and PAGE in told(site, "/embedded"), LONGEST)
    tokens = {
        token
        for where, token, labels in site.receiver.taken
        if labels.get("column") == "dep_delay" and where == "/pages"
    }
    assert tokens == {"Bearer example-token-put-yours-here"}
    assert {name for name, _ in told(site, "/pages")} <= {
        naming.INPUT_BROKEN.name,
        naming.OUTPUT_SHIFTED.name,
    }
    assert set(site.traffic.answers) == {200}  # what HTTP dashboards see


def test_both_evaluators_say_the_same_and_the_page_keeps_its_tickets_quiet(site):
    wait_for(lambda: firing(site.fleet) == firing(site.embedded) >= {PAGE, TICKET}, LONGEST)
    wait_for(lambda: TICKET in quiet(site), LONGEST)
    assert TICKET not in told(site, "/tickets")
    rules = httpx.get(f"{site.prometheus}/api/v1/rules").json()["data"]["groups"]
    assert [r["lastError"] for group in rules for r in group["rules"] if r.get("lastError")] == []
    answer = httpx.get(
        f"{site.prometheus}/api/v1/query", params={"query": "ALERTS{severity='critical'}"}
    ).json()
    assert {r["metric"]["model"] for r in answer["data"]["result"]} == {artefacts.NAME, arrival.NAME}
