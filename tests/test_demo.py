"""The demo: incidents, traffic, processes, and the whole of it end to end."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the demo does, before scikit-learn is loaded
pd = pytest.importorskip("pandas")
for needed in ("sklearn", "fastapi", "httpx", "rich", "duckdb"):
    pytest.importorskip(needed)

from barograph import Clock  # noqa: E402
from barograph.demo import flights, processes  # noqa: E402
from barograph.demo import model as artefacts  # noqa: E402
from barograph.demo.incidents import INCIDENTS, find  # noqa: E402
from barograph.demo.live import moment_of_incident  # noqa: E402
from barograph.demo.replay import STALE, Departure, Traffic, departures, replay  # noqa: E402
from barograph.demo.run import run  # noqa: E402

ROW = {
    "dep_delay": -4.0, "distance": 1089, "carrier": "AA", "origin": "JFK", "dest": "MIA", "hour": 9, "weekday": 0,
    "temp": 59.0, "humid": 60.0, "wind_speed": 5.8, "precip": 0.02, "visib": 10.0, "pressure": None,
}  # fmt: skip


# Incidents.


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_leaves_the_row_given_as_it_is_and_keeps_its_columns(name):
    row = dict(ROW)
    altered = find(name).apply(row)
    assert row == ROW
    assert list(altered) == list(ROW)


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_changes_the_columns_that_it_names_and_no_other(name):
    altered = find(name).apply(ROW)
    assert {column for column in ROW if altered[column] != ROW[column]} == set(find(name).columns)


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_takes_a_row_in_which_everything_is_missing(name):
    altered = find(name).apply(dict.fromkeys(ROW))
    assert set(altered) == set(ROW)


def test_an_unknown_incident_is_refused_with_all_names():
    with pytest.raises(ValueError, match="'unit-chnage' is not one of none, unit-change, nulls"):
        find("unit-chnage")


# Traffic.


def test_departures_have_the_features_as_json_has_them():
    rows = pd.DataFrame({**{name: [value] for name, value in ROW.items()}, "id": ["AA1"]}).astype(
        {"pressure": float}
    )
    rows["departed_at"] = pd.to_datetime(["2013-10-14T13:20:30Z"])
    (departure,) = departures(rows)
    assert departure == Departure(1381756830.0, "AA1", ROW)
    assert json.loads(json.dumps(departure.features)) == ROW


class Taker(ThreadingHTTPServer):
    """Takes requests and remembers when each came, in its handler's own words."""

    daemon_threads = True

    def __init__(self, delay=0.0, status=200):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.delay, self.status, self.taken, self.connections = delay, status, [], set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/predict"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.taken.append((time.time(), self.headers["X-Request-ID"], body))
        self.server.connections.add(self.client_address)
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def taker(request):
    server = Taker(**getattr(request, "param", {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _send(server, times, *, speed=60.0, incident="none", start=0.0):
    clock = Clock(start=start, origin=time.time(), speed=speed)
    traffic = Traffic(incident=find(incident))
    flights_to_come = (Departure(t, f"F{i}", dict(ROW)) for i, t in enumerate(times))
    asyncio.run(replay(flights_to_come, server.url, clock, traffic))
    return clock, traffic


def test_each_flight_is_sent_at_its_own_time_on_the_clock(taker):
    times = [6.0, 12.0, 30.0, 31.0]
    clock, traffic = _send(taker, times)
    assert [name for _, name, _ in taker.taken] == ["F0", "F1", "F2", "F3"]
    for (wall, _, _), due in zip(taker.taken, times, strict=True):
        assert 0 <= clock.at(wall) - due < 60  # 1 s of wall time, on a busy machine
    assert (traffic.sent, traffic.failed, traffic.skipped, traffic.altered) == (4, 0, 0, 0)


@pytest.mark.parametrize("taker", [{"delay": 0.5}], indirect=True)
def test_a_slow_answer_delays_no_other_request(taker):
    begin = time.time()
    _send(taker, [6.0, 12.0, 18.0])  # 0.1 s apart
    assert max(wall for wall, _, _ in taker.taken) - begin < 0.5


def test_connections_are_kept(taker):
    _send(taker, [float(t) for t in range(0, 60, 6)])
    assert len(taker.taken) == 10
    assert len(taker.connections) <= 3  # more than one where a busy machine answers late


def test_the_incident_alters_what_is_sent(taker):
    _, traffic = _send(taker, [1.0, 2.0], incident="nulls")
    assert [body["dep_delay"] for _, _, body in taker.taken] == [None, None]
    assert traffic.altered == 2


def test_what_was_missed_for_half_an_hour_is_skipped_and_the_rest_comes_without_a_burst(taker):
    now = STALE + 1000.0
    late = [now - STALE - 600.0] * 50 + [now - 900.0] * 5
    begin = time.time()
    _, traffic = _send(taker, late, start=now)
    assert traffic.skipped == 50
    assert len(taker.taken) == 5
    assert max(wall for wall, _, _ in taker.taken) - begin >= 4 / 20.0


@pytest.mark.parametrize("taker", [{"status": 500}], indirect=True)
def test_an_error_is_counted_and_traffic_goes_on(taker):
    _, traffic = _send(taker, [1.0, 2.0, 3.0])
    assert (traffic.sent, traffic.failed) == (3, 3)
    assert "500" in traffic.error


def test_a_service_that_is_not_there_is_counted_as_failed():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = type("Nobody", (), {"url": f"http://127.0.0.1:{closed.getsockname()[1]}/predict"})
        _, traffic = _send(server, [1.0])
    assert traffic.failed == 1


def test_the_incident_waits_for_a_busy_hour():
    quiet, busy = np.arange(0, 7200, 600.0), np.arange(7200, 14_400, 60.0)
    assert moment_of_incident(np.concatenate([quiet, busy]), 3700.0) == 7200.0
    assert moment_of_incident(np.concatenate([quiet, busy]), 7700.0) == 7700.0
    assert moment_of_incident(quiet, 3700.0) == 3700.0  # never busy: no longer than it must


# Processes.


def _sleeper(tmp_path, code):
    script = tmp_path / "sleeper_for_a_test.py"
    script.write_text(code)
    return processes.start("sleeper", ["sleeper_for_a_test"], tmp_path, PYTHONPATH=str(tmp_path))


def test_a_process_is_ended_even_if_it_will_not_listen(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.2)
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up')\ntime.sleep(60)"
    child = _sleeper(tmp_path, code)
    while "up" not in child.log.read_text():
        time.sleep(0.02)
    processes.stop([child])
    assert child.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("listens", [True, False])
def test_a_process_ends_when_its_parent_is_killed(tmp_path, listens):
    code = "import signal, time\n" + ("" if listens else "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n")
    (tmp_path / "sleeper_for_a_test.py").write_text(f"{code}print('up')\ntime.sleep(60)")
    start = f"""
import time
from pathlib import Path
from barograph.demo import processes
child = processes.start("sleeper", ["sleeper_for_a_test"], Path({str(tmp_path)!r}), PYTHONPATH={str(tmp_path)!r})
while "up" not in child.log.read_text():
    time.sleep(0.02)
print(child.process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    limit = time.monotonic() + (3 if listens else 10)
    while _runs(pid):
        assert time.monotonic() < limit
        time.sleep(0.05)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_that_fails_is_reported_with_its_last_lines(tmp_path):
    child = _sleeper(tmp_path, "raise SystemExit('no such model here')")
    with pytest.raises(
        processes.ChildError, match=r"(?s)sleeper ended with exit status 1.*no such model here"
    ) as raised:
        processes.wait_until_ready(child, "http://127.0.0.1:9/", seconds=20)
    assert "\n" in str(raised.value)


def test_a_taken_port_is_named_with_the_option_that_helps():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(processes.DemoError, match=rf"port {port} .*--port"):
            processes.require_free([port])


# Arguments.


def test_a_taken_port_ends_the_demo_before_it_trains_anything():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        begin = time.monotonic()
        with pytest.raises(processes.DemoError, match="--port"):
            run(port=taken.getsockname()[1], headless=True)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("speed", [0.0, -1.0, 241.0, float("nan")])
def test_a_speed_that_cannot_be_is_refused_with_the_reason(speed):
    with pytest.raises(processes.DemoError, match=r"speed: .* at most 240"):
        run(speed=speed)


def test_an_unknown_incident_ends_the_demo_at_once():
    with pytest.raises(processes.DemoError, match="is not one of none, unit-change"):
        run(incident="meteor")


def test_the_model_is_not_read_from_where_others_can_write(tmp_path):
    (tmp_path / artefacts.MODEL_FILE).write_bytes(b"")
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod go-w"):
        artefacts.load(tmp_path)


# With the real data.


@pytest.fixture(scope="module")
def year():
    try:
        return flights.load()
    except flights.DemoDataMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def frozen(year):
    training = flights.between(year, *artefacts.TRAINING)
    held_out = flights.between(year, *artefacts.REFERENCE)
    model = artefacts.train(training)
    return model, artefacts.freeze(model, held_out, training), held_out


def _judged(frozen, rows):
    """What is in alarm, by the same functions as live: {(column, signal): severity} within the windows of `rows`."""
    from barograph import alert, calibrate
    from barograph.lanes import HOURLY
    from barograph.pooling import pool
    from barograph.reference import Reference

    model, reference, _ = frozen
    scored = rows.assign(p_late=artefacts.scores(model, rows))
    hours = scored.groupby(scored["departed_at"].dt.floor("h"), sort=True)
    starts = [int(start.timestamp()) for start, _ in hours]
    counts = np.array([Reference.profile(reference, some).counts for _, some in hours])
    pooled = pool(starts, [len(some) for _, some in hours])
    found = calibrate.calibrate(reference).verdicts(pooled.sum(counts))
    alarms = {}
    for signal_name, ratios in found.ratios.items():
        for i, column in enumerate(reference.bins.columns):
            hit = HOURLY.alarm(signal_name, pooled.starts, pooled.ends, ratios[:, i])
            if hit.any():
                value = float(found.values[signal_name][hit, i].max())
                rule = alert.column_rule(reference.bins.roles[column], signal_name, value)
                alarms[column, signal_name] = rule.severity
    return alarms


def test_the_model_ranks_later_flights_well(frozen, year):
    model, _, held_out = frozen
    assert artefacts.auc(model, held_out) > 0.91
    assert artefacts.auc(model, flights.between(year, artefacts.LIVE, "2013-10-21T13:20Z")) > 0.86


def test_the_reference_holds_five_weeks_by_the_hour(frozen):
    _, reference, held_out = frozen
    assert reference.baseline.rows == held_out["late"].notna().sum()
    assert reference.windows is not None
    assert reference.training is not None
    assert reference.importance["dep_delay"] > 0.5


def test_seven_clean_days_raise_no_alarm(frozen, year):
    assert _judged(frozen, flights.between(year, artefacts.LIVE, "2013-10-21T13:20Z")) == {}


def test_the_gap_in_the_weather_after_them_is_found(frozen, year):
    alarms = _judged(frozen, flights.between(year, "2013-10-21T13:20Z", "2013-10-24T00:00Z"))
    assert alarms == {(column, "A"): "page" for column in ("temp", "humid", "wind_speed", "precip", "visib")}


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_reaches_the_status_that_it_promises_within_two_hours(name, frozen, year):
    hours = flights.between(year, "2013-10-14T14:20Z", "2013-10-14T16:00Z")
    plain = [d.features for d in departures(hours)]
    types = {c: "object" if c in flights.CATEGORIES else "float64" for c in flights.FEATURES}
    altered = pd.DataFrame([find(name).apply(row) for row in plain]).astype(types)
    alarms = _judged(frozen, altered.assign(departed_at=hours["departed_at"].to_numpy()))
    status = "act" if "page" in alarms.values() else "watch" if alarms else "ok"
    assert status == find(name).status
    assert {column for column, _ in alarms} <= set(find(name).columns)


# All of it.


def _free_pair():
    """Two neighbouring free ports."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two neighbouring ports are free")


def _demo(port, tmp_path, *options):
    command = [sys.executable, "-m", "barograph", "demo", "--headless", "--port", str(port), *options]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "200"}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def _left_over(tmp_path):
    """Processes whose command line names a directory of the demo."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(tmp_path) in line:
            found.append(line)
    return found


@pytest.mark.demo
def test_the_demo_catches_the_fault_within_two_judged_hours_and_ctrl_c_ends_all_of_it(year, tmp_path):
    import httpx

    port = _free_pair()
    process = _demo(port, tmp_path, "--speed", "240", "--after", "5")
    try:
        seen = _watch_fleet(httpx, port, until="act", seconds=150)
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        assert _left_over(tmp_path)
        time.sleep(2)  # the terminal tells a second later
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    first, last = seen[0], seen[-1]
    assert first["name"] == "flight-delay"
    assert first["predictions"] > 0
    assert first["status"] == "ok"
    assert last["status"] == "act"
    injected = re.search(r"(\d\d):(\d\d) UTC  Injected", output)
    caught = re.search(r"(\d\d):(\d\d) UTC  flight-delay ok -> act", output)
    assert injected and caught, output
    minutes = [int(m[1]) * 60 + int(m[2]) for m in (injected, caught)]
    assert minutes[1] - minutes[0] <= 120 + 5
    quality = re.search(
        r'ml_quality\{basis="confirmed",metric="roc_auc",model="flight-delay",segment="",version="3"\} (\S+)',
        told,
    )
    assert quality and 0.8 < float(quality[1]) < 1, (
        told
    )  # of the last day of history whose flights have landed
    assert re.search(
        r'ml_quality\{basis="confirmed",metric="mae",model="arrival-delay",segment="",version="1"\} 1\d\.',
        told,
    )
    for basis in ("weighted", "estimated"):
        assert f'ml_quality{{basis="{basis}",metric="roc_auc",model="flight-delay",segment=""' in told
    assert re.search(r"[\d,]+ landings told", output)
    assert not _left_over(tmp_path)
    assert list(tmp_path.glob("barograph-demo-*")) == []
    processes.require_free([port, port + 1])


def _watch_fleet(httpx, port, *, until, seconds):
    seen, limit = [], time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            models = httpx.get(f"http://127.0.0.1:{port}/api/fleet", timeout=5).json()["models"]
        except (httpx.HTTPError, KeyError, ValueError):
            models = []
        seen += [model for model in models if model["name"] == artefacts.NAME]
        if seen and seen[-1]["status"] == until:
            return seen
        time.sleep(0.5)
    return seen


@pytest.mark.slow
@pytest.mark.demo
def test_a_demo_that_is_killed_leaves_no_process_and_no_port_behind(year, tmp_path):
    port = _free_pair()
    process = _demo(port, tmp_path, "--incident", "none")
    for line in process.stdout:
        if "Ctrl-C ends" in line:
            break
    assert len(_left_over(tmp_path)) == 2
    process.kill()
    process.wait()
    limit = time.monotonic() + 15
    while _left_over(tmp_path):
        assert time.monotonic() < limit, _left_over(tmp_path)
        time.sleep(0.1)
    process.stdout.close()
    processes.require_free([port, port + 1])
