"""`barograph serve` beside a real service: pages fill, every verb works beside it, webhooks are told, and it ends cleanly."""

import http.server
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from barograph import naming
from barograph.clock import Clock
from barograph.config import Config, WebhookConfig
from barograph.serve import Address, Server, address_file
from barograph.sources import StoredReferences
from barograph.tiles import Tiles
from world import World, draw, reference

SERVICE = """
import sys
import uvicorn
from fastapi import FastAPI
import barograph
from barograph.integrations.fastapi import instrument
app = FastAPI()
monitor = barograph.Monitor("risk", version="1", reference=sys.argv[1], clock=barograph.Clock.parse(sys.argv[3]), token="read-me", flush_interval=0.05)
instrument(app, monitor)
@app.post("/predict")
def predict(row: dict) -> dict:
    score = row.pop("p")
    monitor.record(row, score=score)
    return {"score": score}
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(check, seconds=40.0):
    """What `check` gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"{check} gave nothing in {seconds} s")


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps the bodies of webhooks."""

    bodies: list = []  # noqa: RUF012

    def do_POST(self):
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def barograph(*arguments, cwd):
    return subprocess.run(  # noqa: PLW1510
        [sys.executable, "-m", "barograph", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60
    )


@pytest.mark.workers
def test_a_fault_goes_from_a_request_to_a_page_a_webhook_and_the_command_line(tmp_path):
    reference().save(tmp_path / "reference.json")
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    service_port, port = free_port(), free_port()
    clock = f"2013-09-30T09:00:00Z@240#{time.time() + 1}"  # an hour in 15 s
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "barograph.toml").write_text(
        f"""
        port = {port}
        targets = [{{url = "http://127.0.0.1:{service_port}", token = "read-me"}}]
        webhooks = ["http://127.0.0.1:{hook.server_port}/hook"]
        [models.risk]
        owner = "lending"
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}
    service = subprocess.Popen(
        [sys.executable, "service.py", "reference.json", str(service_port), clock],
        cwd=tmp_path,
        env=environment,
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "barograph", "serve", "--clock", clock],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    url, base = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{service_port}"
    try:
        wait_for(lambda: httpx.get(f"{base}/metrics").status_code == 200)
        wait_for(lambda: httpx.get(f"{url}/-/ready").status_code == 200)
        assert httpx.get(f"{base}/profile").status_code in (401, 403)
        send(base, 60, factor=1)
        wait_for(lambda: httpx.get(f"{url}/api/fleet").json()["models"])
        send(base, 60, factor=1000, seconds=14)
        model = wait_for(lambda: acting(url), 60)
        assert model["owner"] == "lending" and model["predictions"] >= 120
        assert "amount" in model["reason"] or "usual" in model["reason"]
        wait_for(lambda: Receiver.bodies)
        body = Receiver.bodies[0]
        assert (
            body["version"] == "4" and body["status"] == "firing" and body["groupLabels"] == {"model": "risk"}
        )
        assert {"alertname", "model", "severity"} <= set(body["alerts"][0]["labels"])

        store = tmp_path / ".barograph" / "tiles.duckdb"
        assert stat.S_IMODE(address_file(store).stat().st_mode) == 0o600
        status = barograph("status", cwd=tmp_path)
        assert status.returncode == 1 and "risk" in status.stdout
        assert barograph("event", "profile-service 4.12", "--model", "risk", cwd=tmp_path).returncode == 0
        events = httpx.get(f"{url}/api/models/risk").json()["events"]
        assert "profile-service 4.12" in [e["label"] for e in events]
        assert barograph("reference", "show", "reference.json", cwd=tmp_path).returncode == 0
        second = barograph("serve", "--port", str(free_port()), cwd=tmp_path)
        assert second.returncode == 2 and "open" in second.stderr
        metrics = httpx.get(f"{url}/metrics").text
        assert 'ml_alert_state{alert="' in metrics and "ml_signal_threshold{" in metrics
    finally:
        server.send_signal(signal.SIGINT)
        service.send_signal(signal.SIGINT)
        log = server.communicate(timeout=40)[1]
        service.wait(timeout=20)
        hook.shutdown()
    assert server.returncode == 0 and "Traceback" not in log, log
    assert not address_file(store).exists()
    again = barograph("status", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["models"][0]["name"] == "risk"


def send(base, rows, factor, seconds=0.0):
    features, score = draw(rows)
    with httpx.Client(base_url=base) as client:
        for i in range(rows):
            row = {
                "amount": float(features["amount"][i]) * factor,
                "visits": int(features["visits"][i]),
                "country": features["country"][i],
            }
            assert client.post("/predict", json={**row, "p": float(score[i])}).status_code == 200
            time.sleep(seconds / rows)


def acting(url):
    (model,) = httpx.get(f"{url}/api/fleet").json()["models"]
    return model if model["status"] == "act" else None


def test_a_busy_port_is_said_with_the_remedy(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = barograph("serve", "--port", str(port), cwd=tmp_path)
    assert found.returncode == 2 and f"127.0.0.1:{port}" in found.stderr and "--port" in found.stderr


def test_a_server_of_this_machine_answers_to_no_other_name(tmp_path):
    server = Server(Config(store=str(tmp_path / "tiles.duckdb"), port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: httpx.get(f"{server.url}/-/healthy").status_code == 200)
        assert httpx.get(f"{server.url}/api/fleet", headers={"host": "evil.example"}).status_code == 421
        for name in ("localhost", f"127.0.0.1:{server.port}", "[::1]:8700"):
            assert httpx.get(f"{server.url}/api/fleet", headers={"host": name}).status_code == 200
    finally:
        server.stop()
        thread.join(30)


def test_a_server_counts_as_running_only_if_it_proves_to_hold_the_token(tmp_path, running):
    store = Path(running.config.store)
    found = Address.of(store)
    assert found == Address(running.url, running.token)
    asked = []

    class Impostor(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(str(self.headers) + self.path)
            self.send_response(200)
            self.send_header("x-barograph-proof", "0" * 64)
            self.end_headers()
            self.wfile.write(b"healthy\n")

        def log_message(self, *_):
            pass

    left_over = tmp_path / "old.duckdb"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Impostor) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address_file(left_over).write_text(
            json.dumps(
                {"url": f"http://127.0.0.1:{other.server_port}", "token": "sesame", "pid": os.getpid()}
            )
        )
        assert Address.of(left_over) is None
        other.shutdown()
    assert len(asked) == 1 and "sesame" not in asked[0]
    for content in ("", "[]", '{"url": 7, "token": "x"}', '{"url": "http://127.0.0.1:9", "token": "x"}'):
        address_file(left_over).write_text(content)
        assert Address.of(left_over) is None


def test_a_server_that_is_unwell_is_still_the_one_that_has_the_store(running):
    running.health.patience = -1.0
    assert httpx.get(f"{running.url}/-/healthy").status_code == 503
    assert Address.of(running.config.store) == Address(running.url, running.token)


@pytest.fixture
def running(tmp_path):
    """A server whose clock stands at noon, with nothing to read."""
    server = Server(
        Config(store=str(tmp_path / "tiles.duckdb"), port=0),
        clock=Clock(start=1_380_542_400.0, origin=time.time(), speed=60.0),
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: httpx.get(f"{server.url}/-/healthy").status_code == 200)
    wait_for(lambda: address_file(server.config.store).exists())
    yield server
    server.stop()
    thread.join(30)


def test_health_tells_of_a_loop_that_hangs_and_of_one_that_has_died(running, monkeypatch):
    wait_for(lambda: httpx.get(f"{running.url}/-/ready").status_code == 200)
    let_go = threading.Event()
    monkeypatch.setattr(running, "evaluate", lambda: let_go.wait(30))
    running.health.patience = 1.0
    answer = wait_for(lambda: unwell(running))
    assert "no pass has ended well for" in answer.text and "restart it" in answer.text
    assert httpx.get(f"{running.url}/-/ready").status_code == 503
    assert httpx.get(f"{running.url}/api/fleet").status_code == 200  # what was judged can still be read
    monkeypatch.undo()
    let_go.set()
    wait_for(lambda: httpx.get(f"{running.url}/-/healthy").status_code == 200)
    running._stop.set()  # the loop ends, and nobody said that the server should
    assert unwell(running) or wait_for(lambda: unwell(running))


def unwell(server):
    answer = httpx.get(f"{server.url}/-/healthy")
    return answer if answer.status_code == 503 else None


def test_health_tells_of_passes_that_fail_one_after_the_other(running):
    wait_for(lambda: httpx.get(f"{running.url}/-/ready").status_code == 200)
    with running.tiles.transaction() as connection:
        connection.execute("DROP TABLE incidents")
    running.health.patience = 1.0
    # On a busy machine it may first be unwell for being late: a pass has to come to the table that is gone.
    answer = wait_for(lambda: (found := unwell(running)) and "stopped by" in found.text and found)
    assert "stopped by CatalogException" in answer.text and "incidents" in answer.text


def test_the_last_success_is_wall_time_and_stands_still_while_nothing_succeeds(running, monkeypatch):
    def last():
        (found,) = [
            float(line.split()[1])
            for line in httpx.get(f"{running.url}/metrics").text.splitlines()
            if line.startswith(naming.EVALUATOR_SUCCESS.name)
        ]
        return found

    wait_for(lambda: httpx.get(f"{running.url}/-/ready").status_code == 200)
    assert abs(time.time() - last()) < 30  # though the evaluator's clock shows 2013
    before = last()
    wait_for(lambda: last() > before)

    def fail():
        raise OSError("no space left on device")

    monkeypatch.setattr(running, "evaluate", fail)
    time.sleep(0.3)
    before = last()
    time.sleep(2.5)  # two minutes of its clock
    assert last() == before


def test_a_pass_in_which_no_model_can_be_judged_is_no_success(tmp_path):
    server, _ = stored(tmp_path)
    try:
        with server.tiles.transaction() as connection:
            connection.execute("DROP TABLE judgements")
        with pytest.raises(Exception, match="judgements"):
            server.evaluate()
        assert server.health.finished is None
    finally:
        crash(server)


def stored(tmp_path, **settings):
    """A server over a store that holds six ordinary hours and three broken ones, not judged yet; and its configuration."""
    store = tmp_path / "tiles.duckdb"
    world = World(tmp_path / "counters")
    world.tiles.close()
    world.tiles, world.evaluate = Tiles(store), list
    StoredReferences(world.tiles)[world.reference.id] = world.reference.to_json()
    for hour in range(9):
        world.hour(change=None if hour < 6 else lambda f, s: ({**f, "amount": f["amount"] * 1000}, s))
    world.close()
    config = Config(store=str(store), port=0, **settings)
    return Server(config, clock=Clock(start=world.clock.time + 180, origin=time.time())), config


def crash(server):
    """What a kill leaves: the file as it is, the port free."""
    server.notifier.close(0.0)
    server.tiles.connection.close()
    server._socket.close()


def test_alerts_outlive_a_crash_and_a_receiver_that_is_down(tmp_path):
    port = free_port()
    server, config = stored(tmp_path, webhooks=(WebhookConfig(f"http://127.0.0.1:{port}/hook"),))
    clock = server.clock
    assert {c.alert.condition.column for c in server.evaluate()} == {"amount"}
    assert f"{naming.MESSAGES_WAITING.name} 1" in server.metrics().decode()
    crash(server)
    Receiver.bodies.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver) as hook:
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        server = Server(config, clock=clock)
        wait_for(lambda: Receiver.bodies)
        assert server.evaluate() == []
        wait_for(lambda: server.outbox.waiting() == 0)
        crash(server)
        hook.shutdown()
    (body,) = Receiver.bodies
    assert body["alerts"][0]["labels"]["column"] == "amount"
