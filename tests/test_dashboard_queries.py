"""Every query of every dashboard on a real Prometheus, which reads real services and what the evaluator says of them."""

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from barograph import Monitor, Reference, naming
from barograph.cells import CellMap
from barograph.config import Config
from barograph.drift import MEASURES, ColumnReference
from barograph.grafana import dashboards, queries
from barograph.increments import increments
from barograph.mixin import rules
from barograph.mixin.options import Options
from barograph.mixin.text import to_yaml
from barograph.naming import PREDICTION, SCORE
from barograph.serve import MEMORY, Server
from barograph.shares import reference_gauges
from barograph.tiles import Increment
from outcome_world import outcomes
from panels import columns_of, every_annotation, every_choice, every_query, filled, labels_of, panels
from test_prometheus import free_port, program, running, wait_for
from world import DAY, START, World, draw, reference

pytestmark = pytest.mark.workers

DASHBOARDS = dashboards(Options())
MODELS = (("risk", "1"), ("fraud", "3"))
SERVICE = """
import asyncio, os, sys
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from barograph import Monitor, Reference, naming
from barograph.integrations.fastapi import instrument

monitors = {
    name: Monitor(name, version=version, reference="reference.json", flush_interval=0.05, directory=f"counts-{sys.argv[1]}",
                  artifact=b"model", config={"trees": 7})
    for name, version in (("risk", "1"), ("fraud", "3"))
}

async def predict(request):
    monitor = monitors[request.path_params["model"]]
    row = await request.json()
    score = row.pop("p")
    with monitor.stage("ranking"):
        await asyncio.sleep(0.001)
    if score is not None and score > 0.6:
        monitor.error("TimeoutError")
    monitor.record(row, score=score, prediction=None if score is None else float(score > 0.5), rule="cap" if score == 0.5 else None)
    monitor.business("order")
    return JSONResponse(score)

app = Starlette(routes=[Route("/predict/{model}", predict, methods=["POST"])])
for monitor in monitors.values():
    instrument(app, monitor)

import uvicorn
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""
# What fires: the evaluator's alerts are real, those of Prometheus stand for any.
FIRING = [
    {"alert": "MLModelErrors", "expr": "sum by (model, version) (ml_predictions_total) >= 0", "labels": {"severity": "critical"}},
    {"alert": "MLModelFeatureShifted", "expr": "max by (model, version, column, signal) (ml_signal) >= 0", "labels": {"severity": "warning"}},
]  # fmt: skip
# What answers nothing where all is well, or before a week has gone by: (panel, part of the query).
QUIET = [
    ("How many predictions are made?", "offset 1w"),
    ("How many business events are there?", "expected1h"),
    ("Does the monitor lose rows?", ""),
    ("Are workers missing from the totals?", "unshared"),
    ("Are columns left out?", ""),
]


# A real service with two models, twice, and an evaluator that has judged a day of them.


def judged(folder: Path) -> bytes:
    """What an evaluator says on /metrics after a day of both models, the last hours out of the ordinary."""
    world = World(folder / "risk")
    other = Monitor("fraud", version="3", reference=world.reference, clock=world.clock, directory=folder / "fraud", flush_interval=3600, strict=True)  # fmt: skip
    before = other.snapshot()
    for hour in range(5):
        factor = 1000 if hour >= 3 else 1
        features, score = draw(80)
        other.record({**features, "amount": features["amount"] * factor}, score=score)
        world.hour(change=lambda f, s, factor=factor: ({**f, "amount": f["amount"] * factor}, np.sqrt(s)))
        after = other.snapshot()
        world.tiles.add(increments(before, after))
        before = after
    for model in MODELS:
        world.tiles.add(labelled(world, model))
    world.tiles.roll_up(world.clock.time)
    world.evaluate()
    server = Server(Config(store=MEMORY, port=free_port()))
    server.clock = world.clock
    server.tiles, server.ledger, server.references = world.tiles, world.ledger, world.references
    server.state = world.state()
    server.health.succeeded(world.clock.now())
    server.outbox = SimpleNamespace(waiting=lambda: 0)
    text = server.metrics()
    server._socket.close()
    other.close()
    world.close()
    return text


def labelled(world: World, model: tuple[str, str]) -> Iterator[Increment]:
    """What labels said of a fortnight before, and of a day whose labels are still arriving."""
    rng, bins = np.random.default_rng(3), world.reference.outcomes
    for day in range(-14, 1):
        score = rng.beta(2, 8, 800)
        label = (rng.random(800) < score).astype(float)
        lag = rng.exponential(20_000, 800)
        come = lag < 6 * 3600 if day >= -1 else lag < 1e9
        for segment in ("", "origin=JFK"):
            start = START + day * DAY
            yield from outcomes(model, bins, start, label[come], score[come], lag[come], 800, segment)


class Evaluator(http.server.BaseHTTPRequestHandler):
    """Answers what the evaluator said."""

    text = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> Iterator[str]:
    """The API of a Prometheus that has read all this for some seconds."""
    prometheus = program("prometheus")
    folder = tmp_path_factory.mktemp("dashboards")
    reference().save(folder / "reference.json")
    (folder / "service.py").write_text(SERVICE)
    Evaluator.text = judged(folder)
    evaluator = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evaluator)
    threading.Thread(target=evaluator.serve_forever, daemon=True).start()
    ports = [free_port(), free_port()]
    port = free_port()
    (folder / "prometheus.yml").write_text(to_yaml(_scraping(ports, evaluator.server_port)))
    grouped = [{**group, "interval": "1s"} for group in rules.groups(Options())]
    grouped.append({"name": "firing", "interval": "1s", "rules": FIRING})
    (folder / "rules.yaml").write_text(to_yaml({"groups": grouped}))
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    services = [
        running([sys.executable, "service.py", str(p)], folder, f"log-{p}", **environment) for p in ports
    ]
    command = [prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with services[0], services[1], running(command, folder, "log"):
        urls = [f"http://127.0.0.1:{p}" for p in ports]
        wait_for(lambda: all(httpx.get(f"{url}/metrics").is_success for url in urls))
        found = f"http://127.0.0.1:{port}/api/v1"
        wait_for(lambda: len(ask(found, "up == 1")) == 3)
        for _ in range(4):
            for url in urls:
                send(url, 8)
            time.sleep(2)
        yield found
    evaluator.shutdown()


def _scraping(ports: list[int], evaluator: int) -> dict[str, Any]:
    def job(name: str, targets: list[int]) -> dict[str, Any]:
        return {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{p}" for p in targets]}]}

    options = Options()
    jobs = [job(options.job, ports), job(options.evaluator_job, [evaluator])]
    return {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["rules.yaml"], "scrape_configs": jobs}  # fmt: skip


def send(url: str, rows: int) -> None:
    """Ordinary rows, one with an unknown category, one empty answer, one that a rule changed, and some errors."""
    features, scores = draw(rows)
    for i in range(rows):
        row = {name: np.asarray(values)[i].item() for name, values in features.items()}
        row["p"] = {1: None, 2: 0.5, 3: 0.9}.get(i, float(scores[i]))
        if i == 4:
            row |= {"country": "XX", "amount": 1e9}
        for model, _ in MODELS:
            httpx.post(f"{url}/predict/{model}", json=row).raise_for_status()


def ask(api: str, expression: str, at: float | None = None) -> list[dict[str, Any]]:
    """The series of an instant answer."""
    given = {"query": expression} | ({} if at is None else {"time": str(at)})
    answer = httpx.post(f"{api}/query", data=given, timeout=30)
    assert answer.is_success, f"{answer.text}\n{expression}"
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


answered = lru_cache(ask)


def is_quiet(title: str, expression: str) -> bool:
    return any(title == panel and part in expression for panel, part in QUIET)


QUERIES = list(every_query(DASHBOARDS))


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_query_answers_with_the_labels_that_its_legend_names(api, uid):
    for query in QUERIES:
        if query.dashboard != uid:
            continue
        found = answered(api, query.expr)
        where = f"{query.panel}\n{query.expr}"
        assert found or is_quiet(query.panel, query.expr), where
        for series in found:
            assert labels_of(query.legend) <= set(series["metric"]), (series["metric"], where)
            assert np.isfinite(float(series["value"][1])), (series, where)


def test_what_is_said_to_answer_nothing_does(api):
    for title, part in QUIET:
        listed = [q for q in QUERIES if q.panel == title and part in q.expr]
        assert listed and not any(answered(api, q.expr) for q in listed), title


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_table_shows_labels_that_its_queries_answer(api, uid):
    for panel in panels(DASHBOARDS[uid]):
        if wanted := columns_of(panel):
            found = [answered(api, filled(target["expr"])) for target in panel["targets"]]
            shown = {name for answer in found for series in answer for name in series["metric"]}
            optional = {"of", "values"} if panel["type"] == "barchart" else set()
            if shown:
                assert wanted - optional <= shown, (panel["title"], wanted - shown)


def test_no_legend_names_two_series_alike(api):
    """A legend that leaves a label out would draw two lines under one name."""
    for query in QUERIES:
        if query.legend:
            names = [_said(query.legend, one["metric"]) for one in answered(api, query.expr)]
            assert len(names) == len(set(names)), (query.panel, names)


def _said(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def test_every_choice_has_values_and_every_annotation_answers(api):
    for uid, name, series, label in every_choice(DASHBOARDS):
        found = httpx.get(f"{api}/label/{label}/values", params={"match[]": series}).json()["data"]
        assert found, (uid, name, series)
    for query in every_annotation(DASHBOARDS):
        found = answered(api, query.expr)
        assert found, query
        if query.panel == "Alerts":
            assert {s["metric"]["alertname"] for s in found} >= {"MLModelErrors", "MLModelFeatureShifted"}
        else:
            assert all(labels_of(query.legend) <= set(s["metric"]) for s in found)


def test_the_overlay_has_both_sides_and_each_adds_up_to_1(api):
    for column in ("amount", "country", SCORE, PREDICTION):
        found = answered(api, filled(queries.overlay("10m", f'column="{column}"')))
        sides: dict[str, float] = {}
        for one in found:
            side = f"{one['metric']['model']} {one['metric']['of']}"
            sides[side] = sides.get(side, 0.0) + float(one["value"][1])
        assert len(sides) == 4, sides
        assert all(total == pytest.approx(1, abs=1e-9) for total in sides.values()), sides


# PSI over the range that a user picked, against ours.

STEP, PICKED = 60, 2 * 3600


def history(folder: Path, start: int, end: int) -> np.ndarray:
    """Two replicas of two models that count as much every minute, and the reference of two evaluators, as OpenMetrics text.

    Returns what both replicas of the first model count in a minute, int64[slots]. The second has a row in six minutes.
    """
    known = reference()
    cells = CellMap.of(known.bins, known.baseline.counts, threshold=known.threshold)
    rng = np.random.default_rng(3)
    times = np.arange(start, end + 1, STEP)
    minute = np.zeros(known.bins.size, dtype=np.int64)
    lines = ["# TYPE ml_column_values counter"]
    for replica in ("10.0.0.1:80", "10.0.0.2:80"):
        drawn = np.concatenate([rng.multinomial(4000, shares(known, name)) for name in known.bins.columns])
        minute += drawn
        seldom = np.concatenate([rng.multinomial(1, shares(known, name)) for name in known.bins.columns])
        for model, steps in (("busy", np.outer(np.arange(len(times)), drawn)), ("quiet", np.outer(np.arange(len(times)) // 12, seldom))):  # fmt: skip
            for line, (column, role, cell) in enumerate(cells.lines):
                labels = f'model="{model}",version="1",bins="{known.bins.id}",column="{column}",role="{role}",cell="{cell}",instance="{replica}"'
                values = 1000 + steps[:, cells.index == line].sum(axis=1)
                lines += [
                    f"ml_column_values_total{{{labels}}} {v} {t}" for v, t in zip(values, times, strict=True)
                ]
    for metric in (naming.REFERENCE_RATIO, naming.REFERENCE_ROWS):
        lines.append(f"# TYPE {metric.name} gauge")
        for _, labels, value in (one for one in reference_gauges(known) if one[0] is metric):
            for model, evaluator in product(("busy", "quiet"), ("10.0.1.1:8700", "10.0.1.2:8700")):
                named = {"model": model, "version": "1", **labels, "instance": evaluator}
                text = ",".join(f'{k}="{v}"' for k, v in named.items())
                lines += [f"{metric.name}{{{text}}} {value!r} {t}" for t in times[::4]]
    (folder / "history.txt").write_text("\n".join([*lines, "# EOF", ""]))
    return minute


def shares(known: Reference, name: str) -> np.ndarray:
    """How a column's live values are spread: those of some have moved by three bins in part."""
    counts = known.baseline.counts[known.bins.slice(name)]
    moved = 0.3 if name in ("amount", "country", SCORE) else 0.0
    return (1 - moved) * counts / counts.sum() + moved * np.roll(counts, 3) / counts.sum()


def promtool(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [program("promtool"), "tsdb", "create-blocks-from", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_psi_in_promql_equals_ours_over_the_range_that_was_picked(tmp_path):
    prometheus = program("prometheus")
    end = int(time.time()) // 300 * 300 - 3600
    minute = history(tmp_path, end - PICKED - 1200, end + 600)
    (tmp_path / "rules.yaml").write_text(to_yaml({"groups": rules.groups(Options())}))
    (tmp_path / "prometheus.yml").write_text("{}")
    promtool(tmp_path, "openmetrics", "history.txt", "data")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with running(command, tmp_path, "log"):
        wait_for(lambda: httpx.get(f"{url}/-/ready").is_success)
        window = [
            f"--start={end - PICKED - 600}",
            f"--end={end + 300}",
            f"--url={url}",
            "--output-dir=recorded",
        ]
        promtool(tmp_path, "rules", *window, "rules.yaml")
    for block in (tmp_path / "recorded").iterdir():
        block.rename(tmp_path / "data" / block.name)
    with running(command, tmp_path, "log"):
        wait_for(lambda: httpx.get(f"{url}/-/ready").is_success)
        asked = filled(queries.psi("$__range"), {"$__range": f"{PICKED}s"})
        found = {(s["metric"]["model"], s["metric"]["column"]): float(s["value"][1]) for s in ask(f"{url}/api/v1", asked, end)}  # fmt: skip
    known = reference()
    assert {model for model, _ in found} == {"busy"}  # the other has too few rows
    for name, column in known.bins.columns.items():
        own = ColumnReference(column, *known.baseline.column(name))
        counts = minute[known.bins.slice(name)] * (PICKED // STEP)
        assert found["busy", name] == pytest.approx(
            float(MEASURES["psi"](own, counts)), rel=1e-9, abs=1e-12
        ), name
    assert found["busy", "amount"] > 0.01 > found["busy", "visits"]
