"""Messages about alerts: stored with what they tell of, delivered in order and at least once, given up after a day."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from barograph import naming, notify
from barograph.alert import FIRING, RESOLVED, Alert, Condition, Incident
from barograph.config import WebhookConfig
from barograph.evaluate import Change
from barograph.notify import Notifier, shown
from barograph.outbox import Outbox
from barograph.tiles import Tiles
from world import World


class Receiver:
    """A webhook's server on a free port, or on a given one: keeps bodies, and answers with `code` (by model, or 200)."""

    def __init__(self, port=0):
        self.bodies, self.codes, self.tried = [], {}, []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.tried.append((body["groupLabels"]["model"], self.headers["authorization"]))
                code = receiver.codes.get(body["groupLabels"]["model"], 200)
                if code == 200:
                    receiver.bodies.append(body)
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def told(self):
        return [(b["groupLabels"]["model"], b["status"]) for b in self.bodies]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def tiles():
    with Tiles() as made:
        yield made


def change(model="fraud", state=FIRING, rule=naming.INPUT_BROKEN, moment=3600.0):
    condition = Condition(
        rule.name, model, "1", True, 0.0, moment, "age", "O", 0.2, 0.01, "age is outside 0 to 9"
    )
    alert = Alert(condition, state, 0.0, moment, moment if state == RESOLVED else None)
    return Change(alert, Incident(f"{model}-0", model, "1", "page", "age is outside", 0.0))


def tell(notifier, tiles, *changes):
    with tiles.transaction():
        notifier.put(changes)
    notifier.wake()


def wait_for(check, seconds=15.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing in {seconds} s")


def unused_port():
    closed = Receiver()
    closed.close()
    return closed.port


def test_what_was_taken_is_removed(tiles, receiver):
    outbox = Outbox(tiles)
    notifier = Notifier([WebhookConfig(receiver.url)], "http://console", outbox)
    tell(notifier, tiles, change(), change("loans"), change("fraud", RESOLVED))
    wait_for(lambda: outbox.waiting() == 0)
    assert sorted(receiver.told()) == [("fraud", "firing"), ("loans", "firing")]
    assert [a["status"] for a in receiver.bodies[0]["alerts"]] == ["firing", "resolved"]
    notifier.close()


def test_a_change_that_is_taken_back_is_not_told(tiles, receiver):
    outbox = Outbox(tiles)
    notifier = Notifier([WebhookConfig(receiver.url)], "", outbox)

    def fail():
        with tiles.transaction():
            notifier.put([change()])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    notifier.wake()
    notifier.close()
    assert outbox.waiting() == 0 and receiver.tried == []


CRASH = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
from barograph.config import WebhookConfig
from barograph.notify import Notifier
from barograph.outbox import Outbox
from barograph.tiles import Tiles
from test_notify import change
tiles = Tiles(sys.argv[1])
notifier = Notifier([WebhookConfig(sys.argv[2])], "http://console", Outbox(tiles))
with tiles.transaction() as connection:
    notifier.put([change()])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_waited_in_an_evaluator_that_was_killed_goes_out_when_the_next_one_starts(tmp_path):
    port = unused_port()
    url = f"http://127.0.0.1:{port}/hook"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}
    arguments = [sys.executable, "-c", CRASH, str(tmp_path / "tiles.duckdb"), url, str(Path(__file__).parent)]
    assert subprocess.run(arguments, env=environment, timeout=60).returncode == -signal.SIGKILL  # noqa: PLW1510
    receiver = Receiver(port)
    with Tiles(tmp_path / "tiles.duckdb") as tiles:
        outbox = Outbox(tiles)
        assert outbox.waiting() == 1
        notifier = Notifier([WebhookConfig(url)], "http://elsewhere", outbox)
        wait_for(lambda: outbox.waiting() == 0)
        notifier.close()
    receiver.close()
    assert receiver.told() == [("fraud", "firing")]


def test_a_receiver_that_was_down_gets_everything_in_order_once_it_answers(tiles):
    outbox, port = Outbox(tiles), unused_port()
    notifier = Notifier([WebhookConfig(f"http://127.0.0.1:{port}/hook")], "", outbox)
    for state in (FIRING, RESOLVED, FIRING):
        tell(notifier, tiles, change(state=state))
    time.sleep(0.3)
    assert outbox.waiting() == 3
    receiver = Receiver(port)
    wait_for(lambda: outbox.waiting() == 0)
    notifier.close()
    receiver.close()
    assert receiver.told() == [("fraud", "firing"), ("fraud", "resolved"), ("fraud", "firing")]


def test_a_body_that_is_refused_holds_up_no_other_model(tiles, receiver):
    receiver.codes["fraud"] = 400
    outbox = Outbox(tiles)
    notifier = Notifier([WebhookConfig(receiver.url)], "", outbox)
    tell(notifier, tiles, change())
    tell(notifier, tiles, change(state=RESOLVED))
    tell(notifier, tiles, change("loans"))
    wait_for(lambda: receiver.told() == [("loans", "firing")])
    assert outbox.waiting() == 2
    receiver.codes.clear()
    wait_for(lambda: outbox.waiting() == 0)
    notifier.close()
    assert receiver.told() == [("loans", "firing"), ("fraud", "firing"), ("fraud", "resolved")]


def test_a_failing_receiver_is_tried_with_growing_pauses_and_is_said_once(tiles, receiver, caplog):
    receiver.codes["fraud"] = 503
    notifier = Notifier([WebhookConfig(receiver.url)], "", Outbox(tiles))
    tell(notifier, tiles, change())
    time.sleep(4.0)  # tries after 0, 1, 3 and 7 seconds
    notifier.close()
    assert 3 <= len(receiver.tried) <= 4  # closing tries once more
    assert caplog.text.count("takes no messages (it answers 503)") == 1
    assert notify._pause(1) == 1 and notify._pause(5000) == notify.LONGEST_PAUSE


def test_a_receiver_that_hangs_holds_up_no_other_and_no_shutdown(tiles, receiver):
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hanging = WebhookConfig(f"http://127.0.0.1:{silent.getsockname()[1]}/hook")
        notifier = Notifier([hanging, WebhookConfig(receiver.url)], "", Outbox(tiles))
        tell(notifier, tiles, change())
        wait_for(receiver.told, 3)
        began = time.monotonic()
        notifier.close(0.5)
        assert time.monotonic() - began < 3


def test_what_nobody_took_for_a_day_is_given_up(tiles, receiver, caplog):
    outbox = Outbox(tiles)
    name = notify._name(WebhookConfig(receiver.url))
    body = json.dumps(notify.payload([change()], ""))
    outbox.put(name, "fraud", time.time() - notify.MOST_AGE - 1, body)
    outbox.put(name, "fraud", time.time() - notify.MOST_AGE + 60, body)
    notifier = Notifier([WebhookConfig(receiver.url)], "", outbox)
    wait_for(lambda: outbox.waiting() == 0)
    notifier.close()
    assert len(receiver.bodies) == 1 and "took no message about fraud for a day" in caplog.text


def test_what_waits_for_a_webhook_that_is_gone_is_forgotten_and_said(tiles, receiver, caplog):
    outbox = Outbox(tiles)
    outbox.put("somebody else", "fraud", time.time(), "{}")
    Notifier([WebhookConfig(receiver.url)], "", outbox).close()
    assert outbox.waiting() == 0 and "1 message waited for webhooks" in caplog.text


def test_a_webhook_gets_the_severities_that_it_asks_for_and_its_token(tiles, receiver, monkeypatch):
    monkeypatch.setenv("HOOK_TOKEN", "let-me-in")
    outbox = Outbox(tiles)
    webhook = WebhookConfig(receiver.url, ("page",), "HOOK_TOKEN")
    notifier = Notifier([webhook], "", outbox)
    tell(notifier, tiles, change("tickets", rule=naming.FEATURE_SHIFTED), change("pages"))
    wait_for(receiver.told)
    notifier.close()
    assert receiver.tried == [("pages", "Bearer let-me-in")]


def test_the_store_and_the_log_show_no_secret_of_an_address(tiles, caplog):
    webhook = WebhookConfig("http://user:pass@127.0.0.1:9/services/T0/SECRET?key=SECRET")
    outbox = Outbox(tiles)
    notifier = Notifier([webhook], "", outbox)
    tell(notifier, tiles, change())
    wait_for(lambda: "takes no messages" in caplog.text)
    notifier.close()
    rows = str(tiles.connection.execute("SELECT * FROM outbox").fetchall())
    assert shown(webhook) == "http://127.0.0.1:9"
    assert "SECRET" not in caplog.text + rows and "pass@" not in caplog.text + rows


def test_links_reach_models_of_any_name():
    body = notify.payload([change("..")], "http://console")
    assert body["alerts"][0]["annotations"]["dashboard_url"] == "http://console/models/~.."
    body = notify.payload([change("team/risk #1")], "http://console")
    assert body["alerts"][0]["generatorURL"] == "http://console/models/team%2Frisk%20%231"


def test_a_pass_tells_in_the_transaction_that_stores_what_it_found(tmp_path, receiver):
    world = World(tmp_path)
    outbox = Outbox(world.tiles)
    notifier = Notifier([WebhookConfig(receiver.url)], "", outbox)
    depths = []

    def keep(changes):
        depths.append(world.tiles._depth)
        notifier.put(changes)

    from barograph.evaluate import evaluate

    world.evaluate = lambda: evaluate(
        world.tiles, world.ledger, world.references, world.config, world.clock.time, keep=keep
    )
    for _ in range(2):
        world.hour()
    for _ in range(3):
        world.hour(change=lambda f, s: ({**f, "amount": f["amount"] * 1000}, s))
    notifier.wake()
    wait_for(lambda: outbox.waiting() == 0)
    notifier.close()
    world.close()
    assert depths == [1] * 5
    (body,) = receiver.bodies
    assert body["alerts"][0]["labels"]["column"] == "amount" and body["status"] == "firing"
