"""Counts through a real Prometheus, and a VictoriaMetrics: exactly what was sent, over restarts of everything."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from barograph import Reference, naming
from barograph.counters import Series, Snapshot
from barograph.prometheus import CoarseReference, Endpoint, PrometheusPoller
from barograph.tiles import Tiles
from test_prometheus import free_port, program, wait_for

pytestmark = pytest.mark.workers

APP = """
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from barograph import Monitor
from barograph.integrations.fastapi import instrument

monitor = Monitor("risk", version="1", reference="reference.json", flush_interval=0.05)

async def predict(request):
    rows = await request.json()
    with monitor.stage("look up"):
        monitor.record({k: v for k, v in rows.items() if k != "p"}, score=rows["p"])
    return JSONResponse(os.getpid())

app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
instrument(app, monitor)
"""
ROWS = 6  # a request


def draw(rng: np.random.Generator, rows: int = ROWS) -> dict[str, list]:
    return {
        "amount": rng.lognormal(3, 0.5, rows).tolist(),
        "visits": rng.integers(0, 9, rows).tolist(),
        "country": rng.choice(["DE", "FR", "PL", "XX"], rows).tolist(),
        "p": rng.beta(2, 8, rows).tolist(),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds the reference."""
    found = tmp_path_factory.mktemp("fleet")
    rng = np.random.default_rng(1)
    frame = draw(rng, 4000)
    frame["country"] = rng.choice(["DE", "FR", "PL"], 4000).tolist()
    Reference.fit(frame, task="binary", score="p", threshold=0.5).save(found / "reference.json")
    (found / "app.py").write_text(APP)
    return found


@contextlib.contextmanager
def process(command: Sequence[str], folder: Path, log: str) -> Iterator[subprocess.Popen]:
    """A program that is ended with the block, if it has not ended before."""
    path = os.pathsep.join([str(folder), *sys.path])
    with (folder / log).open("a") as output:
        started = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, stdout=output, stderr=output
        )
        try:
            yield started
        finally:
            started.terminate()
            started.wait(timeout=20)


@contextlib.contextmanager
def service(folder: Path, port: int, workers: int = 2) -> Iterator[str]:
    options = ["--workers", str(workers), "--port", str(port), "--log-level", "warning"]
    with process([sys.executable, "-m", "uvicorn", "app:app", *options], folder, "service.log"):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/metrics").is_success)
        yield url


@contextlib.contextmanager
def prometheus(folder: Path, port: int, targets: Sequence[str], kind: str = "prometheus") -> Iterator[str]:
    """Scrapes once a second. Started again in the same folder it has what it had."""
    listed = json.dumps([target.removeprefix("http://") for target in targets])
    scrapes = (
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: models, static_configs: [{{targets: {listed}}}]}}]\n"
    )
    (folder / "prometheus.yml").write_text(scrapes)
    command = {
        "prometheus": ["--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}",
                       f"--storage.tsdb.path={folder / 'data'}"],
        "victoria-metrics": ["-promscrape.config=prometheus.yml", f"-httpListenAddr=127.0.0.1:{port}",
                             f"-storageDataPath={folder / 'data'}"],
    }[kind]  # fmt: skip
    with process([program(kind), *command], folder, f"{kind}.log"):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/api/v1/query", params={"query": "1"}).is_success)
        yield url


def send(url: str, requests: int, seed: int = 0) -> int:
    rng = np.random.default_rng(seed)
    for _ in range(requests):
        httpx.post(f"{url}/predict", json=draw(rng)).raise_for_status()
    return requests * ROWS


def poller(tiles: Tiles, url: str, folder: Path, **options) -> PrometheusPoller:
    endpoint = Endpoint(url, timeout=10)
    return PrometheusPoller(tiles, endpoint, files=[str(folder / "reference.json")], history=300, **options)


def total(tiles: Tiles, metric: naming.Metric, **labels: str) -> int:
    found = [tiles.window(s, 0, 4e9).counts.sum() for s in tiles.series(metric.name, **labels)]
    return int(sum(found))


def read_until(reader: PrometheusPoller, rows: int, seconds: float = 30) -> None:
    """Read until as many rows are there; then a little more, to see that they stay as many."""

    def there() -> bool:
        reader.poll()
        return total(reader.tiles, naming.PREDICTIONS) >= rows

    wait_for(there, seconds)
    for _ in range(3):
        time.sleep(1)
        reader.poll()
    assert total(reader.tiles, naming.PREDICTIONS) == rows
    assert reader.statuses()[0].up, reader.statuses()[0]


def assert_same_as_profile(tiles: Tiles, urls: Sequence[str], folder: Path) -> None:
    """The tiles hold what the services' full profiles hold, merged to cells, and durations to the bucket."""
    reference = Reference.load(folder / "reference.json")
    coarse = CoarseReference.of(reference)
    snapshots = [Snapshot.from_bytes(httpx.get(f"{url}/profile").content) for url in urls]
    labels = {"model": "risk", "version": "1"}
    fine = Series.of(naming.COLUMN_VALUES, {**labels, "bins": reference.bins.id}, size=reference.bins.size)
    expected = sum(coarse.merge(s.series[fine].counts) for s in snapshots)
    (columns,) = tiles.series(naming.COLUMN_VALUES.name)
    assert columns.label("bins") == coarse.reference.bins.id != reference.bins.id
    assert tiles.window(columns, 0, 4e9).counts.tolist() == expected.tolist()
    for stage in ("total", "look up"):
        timed = Series.of(naming.DURATION, {**labels, "stage": stage})
        counted = tiles.window(timed, 0, 4e9)
        if timed in snapshots[0].series:
            assert counted.counts.tolist() == sum(s.series[timed].counts for s in snapshots).tolist()
            assert np.isclose(counted.sums[0], sum(s.series[timed].sums[0] for s in snapshots))


KINDS = ["prometheus", "victoria-metrics"]
IN_TURN = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_tiles_hold_exactly_what_was_sent(folder, tmp_path, workers):
    with (
        service(folder, free_port(), workers) as url,
        prometheus(tmp_path, free_port(), [url]) as source,
        Tiles() as tiles,
    ):
        reader = poller(tiles, source, folder)
        reader.poll()
        sent = send(url, 50)
        read_until(reader, sent)
        sent += send(url, 30, seed=1)
        read_until(reader, sent)
        assert_same_as_profile(tiles, [url], folder)
        assert [s.up for s in reader.statuses()] == [True, True]
        assert reader.until(time.time()) == pytest.approx(time.time(), abs=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_replicas_add_up_and_one_that_begins_anew_loses_and_doubles_nothing(folder, tmp_path, kind):
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with contextlib.ExitStack() as stack, Tiles() as tiles:
        stack.enter_context(service(folder, ports[0]))
        source = stack.enter_context(prometheus(tmp_path, free_port(), urls, kind))
        reader = poller(tiles, source, folder)
        reader.poll()
        with service(folder, ports[1]):  # is new while all is at work
            sent = send(urls[0], 20) + send(urls[1], 30, seed=1)
            read_until(reader, sent)
            assert_same_as_profile(tiles, urls, folder)
        stack.enter_context(service(folder, ports[1]))  # counts from 0 again
        sent += send(urls[0], 5) + send(urls[1], 40, seed=2)  # past where it was
        read_until(reader, sent)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_counted_while_prometheus_is_down_is_there_once_it_is_back(folder, tmp_path, kind):
    port = free_port()
    with service(folder, free_port()) as url, Tiles() as tiles:
        with prometheus(tmp_path, port, [url], kind) as source:
            reader = poller(tiles, source, folder)
            sent = send(url, 20)
            read_until(reader, sent)
            reached = reader.until(time.time())
        sent += send(url, 30, seed=1)
        reader.poll()
        (status,) = reader.statuses()[:1]
        assert not status.up and "start Prometheus" in status.error
        assert reader.until(time.time()) == reached  # what is not read is not judged
        with prometheus(tmp_path, port, [url], kind):
            read_until(reader, sent)
            assert_same_as_profile(tiles, [url], folder)


@pytest.mark.slow
def test_an_evaluator_that_was_away_goes_on_where_it_was(folder, tmp_path):
    port = free_port()
    with service(folder, port) as url, prometheus(tmp_path, free_port(), [url]) as source:
        with Tiles(tmp_path / "tiles.duckdb") as tiles:
            sent = send(url, 20)
            read_until(poller(tiles, source, folder), sent)
        sent += send(url, 30, seed=1)
        time.sleep(3)
        with Tiles(tmp_path / "tiles.duckdb") as tiles:
            read_until(poller(tiles, source, folder), sent)
            assert_same_as_profile(tiles, [url], folder)
        with Tiles() as tiles:  # and one that begins with nothing reads what Prometheus has
            read_until(poller(tiles, source, folder), sent)
            assert_same_as_profile(tiles, [url], folder)


@pytest.mark.slow
def test_a_process_that_ran_before_counting_began_counts_from_then_on(folder, tmp_path):
    with service(folder, free_port()) as url, Tiles() as tiles:
        send(url, 20)
        time.sleep(3)
        with prometheus(tmp_path, free_port(), [url]) as source:
            asked = {"query": "ml_predictions_total"}
            wait_for(lambda: httpx.get(f"{source}/api/v1/query", params=asked).json()["data"]["result"])
            reader = PrometheusPoller(tiles, Endpoint(source), history=0)
            reader.poll()
            read_until(reader, send(url, 10))


def test_a_model_without_its_reference_has_golden_signals_and_says_so(folder, tmp_path):
    with (
        service(folder, free_port()) as url,
        prometheus(tmp_path, free_port(), [url]) as source,
        Tiles() as tiles,
    ):
        reader = PrometheusPoller(tiles, Endpoint(source), files=[str(tmp_path / "*.json")], history=60)
        reader.poll()
        sent = send(url, 20)
        read_until(reader, sent)
        assert not tiles.series(naming.COLUMN_VALUES.name)
        assert total(tiles, naming.DURATION, stage="total") == 20
        error = reader.statuses()[0].error
        name = Reference.load(folder / "reference.json").id
        assert f"risk 1 is judged by its golden signals alone: reference {name} is in none" in error
        assert "no file matches" in error

        # The file arrives: columns are counted from then on, and what they held before is not.
        (tmp_path / "late.json").write_bytes((folder / "reference.json").read_bytes())
        reader.poll()
        sent += send(url, 10)
        read_until(reader, sent)
        (columns,) = tiles.series(naming.COLUMN_VALUES.name)
        where = Reference.load(folder / "reference.json").bins.columns
        assert tiles.window(columns, 0, 4e9).counts.sum() == 10 * ROWS * len(where)
        assert reader.statuses()[0].error is None


def test_a_service_that_is_down_is_named(folder, tmp_path):
    port = free_port()
    with contextlib.ExitStack() as stack, Tiles() as tiles:
        with service(folder, port) as url:
            source = stack.enter_context(prometheus(tmp_path, free_port(), [url]))
            reader = poller(tiles, source, folder)
            read_until(reader, send(url, 5))
        time.sleep(2)
        reader.poll()
        reader.poll()
        _, down = reader.statuses()
        assert down.up is False and f"Prometheus cannot scrape 127.0.0.1:{port} (models)" in down.error
        assert reader.until(time.time()) == pytest.approx(time.time(), abs=3)  # that it is down is known


def test_the_background_reads_and_ends_promptly(folder, tmp_path):
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(service(folder, free_port()))
        source = stack.enter_context(prometheus(tmp_path, free_port(), [url]))
        tiles = stack.enter_context(Tiles())
        reader = stack.enter_context(poller(tiles, source, folder, interval=0.5))
        sent = send(url, 10)
        wait_for(lambda: total(tiles, naming.PREDICTIONS) == sent)
        with pytest.raises(RuntimeError, match="runs in the background"):
            reader.poll()
        began = time.monotonic()
        reader.stop()
        assert time.monotonic() - began < 5
