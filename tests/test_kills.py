"""The whole under kills: a service under load, the evaluator and `barograph join` are killed at random moments, again and again.

No acknowledged label is lost, no outcome is counted twice, at most one flush interval of predictions is lost, and the service
that is started next tells about how many.
"""

import http.client
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from barograph.labels.counting import logged_series, outcome_series
from barograph.logs import Feedback, FeedbackLog, Log
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.tiles import HOUR, Tiles
from test_logs import killed, started

pytestmark = pytest.mark.workers

FLUSH = 0.25  # seconds: the default
LATE = 0.5  # that a flush may come late where others fill the machine
ROWS = 5  # of a request
THREADS = 3
COUNTED = 'ml_predictions_total{model="m",version="1"} '
NOT_LOGGED = 'ml_monitor_dropped_rows_total{model="m",reason="not_logged",version="1"} '

# Files are rotated, compacted and merged all the time, so that kills fall within that, too.
SMALL = """
import os, sys, threading, time
from barograph.labels import joiner, step
from barograph.logs import LIMITS, Limits, keeping
LIMITS.update({kind: Limits(rotate_seconds=0.4, rotate_bytes=60_000) for kind in LIMITS})
for module, name, value in (keeping, "MANY", 2), (joiner, "KEEP_EVERY", 0.2), (step, "MOST_ROWS", 400), (step, "PART", 150):
    assert hasattr(module, name), name
    setattr(module, name, value)

def end_with(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)

threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
"""
SERVICE = f"""{SMALL}
import uvicorn
from fastapi import FastAPI, Request
from barograph import Monitor
from barograph.integrations.fastapi import instrument
place, port = sys.argv[1:]
monitor = Monitor("m", version="1", log=place + "/log", directory=place + "/counts", flush_interval={FLUSH})
app = FastAPI()

@app.post("/predict")
async def predict(request: Request):
    for score in await request.json():
        monitor.record({{"x": score}}, score=score)

instrument(app, monitor)
uvicorn.run(app, port=int(port), log_level="error")
"""
EVALUATOR = f"""{SMALL}
from barograph import cli, serve
serve.JOIN_EVERY = serve.LEAST_PAUSE = 0.1
sys.argv[0] = "barograph"
cli.main()
"""
JOIN = f"""{SMALL}
from barograph import cli, serve
cli.out.quiet = True
print("ready", flush=True)
while True:
    code = cli.app(["join", *sys.argv[1:]], standalone_mode=False)
    assert not code, code
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Client:
    """One client: it asks, and tells what became true of what was answered. `answered` is when, by id."""

    name: str
    port: int
    answered: dict[str, float] = field(default_factory=dict)
    stored: Counter[tuple[str, float, float]] = field(default_factory=Counter)  # labels: id, label, time
    again: set[tuple[str, float, float]] = field(
        default_factory=set
    )  # sent more than once, for want of an answer

    def run(self, stop: threading.Event) -> None:
        rng, asked, moment = random.Random(self.name), 0, 1e9
        while not stop.is_set():
            request, asked = f"{self.name}-{asked}", asked + 1
            if self._post("/predict", [rng.random() for _ in range(ROWS)], {"X-Request-ID": request}) != 200:
                continue
            now = time.monotonic()
            self.answered |= dict.fromkeys((f"{request}/{k}" for k in range(ROWS)), now)
            known, moment = list(self.answered)[-40:], moment + 1
            labels = [(one, float(rng.random() < 0.4), moment) for one in rng.sample(known, 3)]
            self._tell(labels, stop)

    def _tell(self, labels: list[tuple[str, float, float]], stop: threading.Event) -> None:
        """Send labels until they are said to be stored: the later ones of an id correct it."""
        items = [{"id": i, "label": label, "time": moment} for i, label, moment in labels]
        while not stop.is_set():
            if self._post("/feedback", items) == 202:
                self.stored.update(labels)
                return
            self.again.update(labels)

    def _post(self, path: str, content: Any, headers: dict[str, str] | None = None) -> int | None:
        connection = getattr(self, "_connection", None) or http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=20
        )
        self._connection: http.client.HTTPConnection | None = connection
        try:
            head = {"content-type": "application/json", **(headers or {})}
            connection.request("POST", path, json.dumps(content), head)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            self._connection = None
            time.sleep(0.02)
            return None


class World:
    """The three processes, their clients, and what became of all."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.rng = place, random.Random(seed)
        self.store, self.ports = place / "tiles.duckdb", (free_port(), free_port())
        self.clients = [Client(f"{seed}{'abc'[i]}", self.ports[0]) for i in range(THREADS)]
        self.kills: Counter[str] = Counter()
        self.fell: list[float] = []  # when the service was killed
        self.counted = self.told = (
            0  # rows that the service has counted, and says were not logged; through all kills
        )
        self.service = self._serve()

    def _serve(self) -> "subprocess.Popen[str]":
        return started(SERVICE, self.place, self.ports[0])

    def answers(self) -> int:
        return sum(len(client.answered) for client in self.clients)

    def look(self) -> None:
        """See what the service says of itself."""
        lines = httpx.get(f"http://127.0.0.1:{self.ports[0]}/metrics").raise_for_status().text.splitlines()
        self.counted, self.told = (
            next(int(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
            for name in (COUNTED, NOT_LOGGED)
        )

    def under_load(self) -> None:
        """Wait until the service answers, for some flushes."""
        before = self.answers()
        until(lambda: self.answers() > before + 50, "the service answers nobody")
        time.sleep(self.rng.uniform(1.2, 2.2) * FLUSH)

    def kill_service(self) -> None:
        self.under_load()
        time.sleep(self.rng.uniform(0, 2 * FLUSH))
        assert self.service.poll() is None, "the service ended by itself"
        self.fell.append(time.monotonic())
        killed(self.service)
        self.kills["service"] += 1
        self.service = self._serve()

    def kill_evaluator(self) -> None:
        url, port = f"http://127.0.0.1:{self.ports[0]}", self.ports[1]
        config = self.place / "barograph.toml"
        config.write_text(
            f'store = "{self.store}"\nlog = "{self.place}/log"\nport = {port}\ntargets = ["{url}"]\ninterval = 0.2\n'
        )
        evaluator = started(EVALUATOR, "serve", "--config", config)

        def up() -> bool:
            assert evaluator.poll() is None, "the evaluator does not start"
            with suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/-/healthy").status_code == 200
            return False

        until(up, "the evaluator does not answer")
        time.sleep(self.rng.uniform(0.0, 1.2))
        assert evaluator.poll() is None, "the evaluator ended by itself"
        killed(evaluator)
        self.kills["evaluator"] += 1

    def kill_join(self) -> None:
        join = started(JOIN, "--log", self.place / "log", "--store", self.store)
        assert join.stdout is not None and join.stdout.readline().strip() == "ready"
        time.sleep(self.rng.uniform(0.05, 1.0))
        assert join.poll() is None, "the join ended by itself"
        killed(join)
        self.kills["join"] += 1

    def join(self) -> dict[str, int]:
        """Join in peace; what came of it."""
        command = [sys.executable, "-m", "barograph", "join", "--json", "--log", self.place / "log"]
        done = subprocess.run(
            [*map(str, command), "--store", str(self.store)], check=True, capture_output=True, text=True
        )
        found: dict[str, dict[str, int]] = json.loads(done.stdout)
        return found["m"]

    def logged(self, kind: str) -> pd.DataFrame:
        """All rows of a log, read with pandas alone; what a keeper was writing when it was killed is hidden, and no part of it."""
        found = (self.place / "log" / kind).rglob("*.parquet")
        files = sorted(file for file in found if not file.name.startswith("."))
        assert files and not list((self.place / "log" / kind).rglob("*.arrows"))
        assert not list((self.place / "log").rglob("*.damaged"))
        return pd.concat([pd.read_parquet(file, partitioning=None) for file in files], ignore_index=True)


@contextmanager
def running(place: Path, seed: int) -> Iterator[World]:
    """A world whose clients ask without a pause until the block ends; then the service ends as it should."""
    world, stop = World(place, seed), threading.Event()
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in world.clients]
    try:
        for thread in threads:
            thread.start()
        yield world
        world.under_load()
        stop.set()
        for thread in threads:
            thread.join()
        world.look()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        world.service.terminate()
        world.service.communicate(timeout=30)


def check_feedback(world: World, labels: pd.DataFrame) -> None:
    """What was acknowledged is there; once, if it was sent once."""
    there = Counter(zip(labels["id"], labels["label"], labels["time"].astype("int64") / 1e6, strict=True))
    for client in world.clients:
        assert not client.stored.keys() - there.keys(), "acknowledged labels are lost"
        for label, n in client.stored.items():
            assert there[label] == n or (label in client.again and there[label] >= n)


def check_predictions(world: World, predictions: pd.DataFrame) -> dict[str, float]:
    """None is there twice, and what is lost was answered shortly before a kill; figures of that."""
    assert predictions["id"].is_unique
    answered = {i: at for client in world.clients for i, at in client.answered.items()}
    lost = answered.keys() - set(predictions["id"])
    # An answer may have reached its client just after the kill of who had sent it.
    fell = {i: min((kill for kill in world.fell if kill > answered[i] - 0.05), default=np.inf) for i in lost}
    oldest = max((kill - answered[i] for i, kill in fell.items()), default=0.0)
    assert oldest <= FLUSH + LATE, "more than one flush interval is lost"
    assert len(lost) <= world.told, "rows are lost that nobody is told of"
    assert len(predictions) <= world.counted <= len(predictions) + world.told
    most = max(Counter(fell.values()).values(), default=0)
    return {
        "answered": len(answered), "logged": len(predictions), "counted": world.counted, "lost": len(lost),
        "lost_at_once": most, "oldest_s": round(oldest, 3), "told": world.told,
    }  # fmt: skip


def check_outcomes(world: World, predictions: pd.DataFrame, labels: pd.DataFrame) -> int:
    """Outcomes are what pandas makes of the logs: the last label of each prediction, by the slot of its score."""
    bins = OutcomeBins.default("binary")
    last = labels.sort_values(["time", "arrival"], kind="stable").drop_duplicates("id", keep="last")
    both = predictions.merge(last[["id", "label"]], on="id")
    slot = np.searchsorted(bins.score.edges, both["score"], side="right")
    expected = np.zeros((2, bins.slots), dtype=np.int64)
    np.add.at(expected, (both["label"].astype(int), slot), 1)
    end = int(time.time()) // HOUR * HOUR + 2 * HOUR
    with Tiles(world.store) as tiles:
        found = tiles.window(outcome_series("m", "1", "", bins), end - 24 * HOUR, end)
        logged = tiles.window(logged_series("m", "1", ""), end - 24 * HOUR, end)
    assert np.array_equal(OutcomeProfile(bins, found.counts, found.sums).scores, expected)
    assert logged.counts.tolist() == [len(predictions)]
    return len(both)


def check(world: World) -> dict[str, float]:
    """All that must hold, once all is joined; then once more, after a correction."""
    world.join()
    assert not any(world.join().values()), "what is joined is joined again"
    predictions, labels = world.logged("predictions"), world.logged("feedback")
    check_feedback(world, labels)
    figures = check_predictions(world, predictions)
    figures["outcomes"] = check_outcomes(world, predictions, labels)
    with FeedbackLog(Log(world.place / "log")) as feedback:
        feedback.append([Feedback("m", one, 1.0, 3e9) for one in labels["id"].iloc[:50].unique()])
    world.join()
    assert check_outcomes(world, predictions, world.logged("feedback")) == figures["outcomes"]
    return figures | {"labels": len(labels)}


def kills(place: Path, cycles: int, seed: int) -> None:
    """Kill each of the three in every cycle, the service at any moment of it."""
    with running(place, seed) as world:
        for _ in range(cycles):
            order = [world.kill_evaluator, world.kill_join]
            order.insert(world.rng.randrange(3), world.kill_service)
            for kill in order:
                kill()
    print(dict(world.kills), check(world))  # noqa: T201 (figures for whoever runs it with -s)


def test_a_kill_of_each_loses_no_label_counts_nothing_twice_and_is_told(tmp_path: Path) -> None:
    kills(tmp_path, 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 13))  # each ends in time where the machine is busy, too
def test_a_hundred_kills(tmp_path: Path, seed: int) -> None:
    kills(tmp_path, 3 if seed > 2 else 2, seed)
