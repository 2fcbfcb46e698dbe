"""Totals over the workers of real servers: exact, through kills and restarts, and never mixed with another server's."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from barograph.counters import Snapshot
from barograph.counters.workers import SHARED_MEMORY

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(sys.platform != "linux", reason="workers are found by what Linux tells of processes"),
]

FLUSH = 0.1  # seconds
APP = f"""
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from barograph import Monitor
from barograph.exposition import wsgi_app
from barograph.integrations.fastapi import instrument

monitor = Monitor("flight-delay", version="3", flush_interval={FLUSH})

async def predict(request):
    monitor.record({{"dep_delay": 3.0}}, score=0.25)
    return JSONResponse(os.getpid())

app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
instrument(app, monitor)

exposed = wsgi_app(monitor)

def wsgi(environ, start_response):
    if environ["PATH_INFO"] != "/predict":
        return exposed(environ, start_response)
    monitor.record({{"dep_delay": 3.0}}, score=0.25)
    start_response("200 OK", [("content-type", "application/json")])
    return [str(os.getpid()).encode()]
"""
UVICORN = ["uvicorn", "app:app", "--workers", "4", "--log-level", "warning", "--port"]
GUNICORN = ["gunicorn", "app:wsgi", "--workers", "4", "--log-level", "warning", "--bind"]


class Server:
    """A server of the application above, and what was sent to it."""

    def __init__(self, folder: Path, command: list[str], **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "app.py").write_text(APP)
        address = f"127.0.0.1:{self.port}" if command[-1] == "--bind" else str(self.port)
        inherited = {k: v for k, v in os.environ.items() if k not in ("BAROGRAPH_DIR", "WEB_CONCURRENCY")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, address],
            cwd=folder,
            env={**inherited, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), **environment},
            start_new_session=True,
        )
        self.sent = 0
        self.pids: set[int] = set()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def send(self, count: int) -> None:
        """Send requests, each on a connection of its own so that all workers get some."""
        for _ in range(count):
            self.pids.add(httpx.post(self.url("/predict")).raise_for_status().json())
            self.sent += 1

    def send_until(self, workers: int) -> None:
        """Send requests until that many workers have answered."""
        deadline = time.monotonic() + 20
        while len(self.pids) < workers:
            assert time.monotonic() < deadline, f"only {len(self.pids)} of {workers} workers answer"
            with contextlib.suppress(httpx.TransportError):
                self.send(10)

    def lines(self) -> dict[str, float]:
        """What /metrics says, line by line."""
        text = httpx.get(self.url("/metrics")).raise_for_status().text
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def value(self, metric: str) -> float:
        """The sum over a metric's lines."""
        return sum(v for name, v in self.lines().items() if re.match(rf"{metric}(\{{|$)", name))

    def snapshot(self) -> Snapshot:
        return Snapshot.from_bytes(httpx.get(self.url("/profile")).raise_for_status().content)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


@contextlib.contextmanager
def server(folder: Path, command: list[str], **environment: str) -> Iterator[Server]:
    """A server that answers."""
    started = Server(folder, command, **environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(started.url("/metrics"))
                break
            assert started.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        yield started
    finally:
        started.stop()


def await_total(running: Server, expected: int) -> None:
    """Any worker must answer with the total, once all have flushed."""
    time.sleep(3 * FLUSH)
    for _ in range(8):
        assert running.value("ml_predictions_total") == expected


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (UVICORN, 0),
        (GUNICORN, 0),
        ([*GUNICORN[:-1], "--preload", "--bind"], 1),  # the arbiter is one of those that hold counters
        (["gunicorn", "app:app", "-k", "uvicorn.workers.UvicornWorker", "-w", "4", "--bind"], 0),
    ],
    ids=["uvicorn", "gunicorn", "gunicorn-preload", "gunicorn-asgi"],
)
def test_totals_are_exact_over_four_workers_of_which_one_is_killed(tmp_path, command, extra):
    with server(tmp_path, command) as running, watched(running) as fell:
        running.send_until(workers=4)
        await_total(running, running.sent)
        assert running.value("ml_monitor_workers") == 4 + extra
        assert running.value("ml_monitor_workers_unshared") == 0

        victim = min(running.pids)
        os.kill(victim, signal.SIGKILL)
        running.pids.discard(victim)
        running.send_until(workers=4)  # one of them new
        assert victim not in running.pids
        await_total(running, running.sent)
        assert running.value("ml_monitor_workers") == 4 + extra
        assert running.value("ml_monitor_clock_seconds") == pytest.approx(time.time(), abs=5)
        assert not fell


@contextlib.contextmanager
def watched(running: Server) -> Iterator[list[tuple[float, float]]]:
    """Read the total over and over meanwhile; collects where it fell."""
    fell: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        last = 0.0
        while not over.wait(0.02):
            with contextlib.suppress(httpx.TransportError):
                total = running.value("ml_predictions_total")
                if total < last:
                    fell.append((last, total))
                last = total

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield fell
    finally:
        over.set()
        thread.join()


def test_http_counts_are_exact_over_workers(tmp_path):
    with server(tmp_path, UVICORN) as running:
        running.send_until(workers=4)
        httpx.get(running.url("/nothing"))
        time.sleep(3 * FLUSH)
        lines = running.lines()
        assert lines['http_requests_total{handler="/predict",method="POST",status="2xx"}'] == running.sent
        assert lines['http_requests_total{handler="none",method="GET",status="4xx"}'] == 1
        count = lines['http_request_duration_seconds_count{handler="/predict",method="POST"}']
        assert (
            count == lines['http_request_duration_seconds_bucket{handler="/predict",method="POST",le="+Inf"}']
        )
        assert count == running.sent


def test_a_kill_in_the_middle_of_traffic_loses_at_most_one_flush_interval(tmp_path):
    with server(tmp_path, UVICORN) as running:
        running.send_until(workers=4)
        stop = time.monotonic() + 2
        answered: list[tuple[float, int]] = []
        killed = 0.0
        while time.monotonic() < stop:
            with contextlib.suppress(httpx.TransportError):
                pid = httpx.post(running.url("/predict")).json()
                answered.append((time.monotonic(), pid))
            if not killed and time.monotonic() > stop - 1:
                os.kill(pid, signal.SIGKILL)
                killed, victim = time.monotonic(), pid
        time.sleep(3 * FLUSH)
        sent = running.sent + len(answered)
        # A flush waits for the interval and then for its turn on a busy machine: half an interval more.
        at_stake = sum(pid == victim and moment > killed - 1.5 * FLUSH for moment, pid in answered)
        assert sent - at_stake <= running.value("ml_predictions_total") <= sent


def test_two_servers_of_one_application_never_add_up(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    pair = [*UVICORN[:3], "2", *UVICORN[4:]]
    with server(tmp_path / "a", pair) as one, server(tmp_path / "b", pair) as other:
        one.send(30)
        other.send(50)
        await_total(one, 30)
        await_total(other, 50)
        assert one.snapshot().epoch != other.snapshot().epoch


def test_a_server_that_is_started_again_counts_from_0_and_leaves_nothing_behind(tmp_path):
    single = ["uvicorn", "app:app", "--log-level", "warning", "--port"]
    with server(tmp_path, UVICORN) as running:
        running.send(20)
        await_total(running, 20)
        before = running.snapshot().epoch
        directories = {path.parent for path in team_files(before)}
        assert len(directories) == 1
    with server(tmp_path, single) as running:
        running.send(5)
        await_total(running, 5)
        assert running.snapshot().epoch != before
        assert not directories.pop().exists()


def team_files(epoch: str) -> list[Path]:
    """The files of the epoch's id among those that this user has in shared memory."""
    base = SHARED_MEMORY / f"barograph-{os.geteuid()}"
    return [path for path in base.glob("*/epoch") if path.read_text() == epoch]


def test_servers_that_are_told_one_directory_share_it(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    shared = {"BAROGRAPH_DIR": str(tmp_path / "counts")}
    single = ["uvicorn", "app:app", "--log-level", "warning", "--port"]
    with server(folders[0], single, **shared) as one, server(folders[1], single, **shared) as other:
        one.send(3)
        other.send(4)
        await_total(one, 7)
        await_total(other, 7)
        assert one.snapshot().epoch == other.snapshot().epoch
