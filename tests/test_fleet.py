"""Fleet mode over days of a real Prometheus' blocks: replicas add up, nothing is raised for nothing, and what is real is."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from barograph import naming
from barograph.calibrate import calibrate
from barograph.cells import CellMap
from barograph.config import Config, ConfigError, load_text
from barograph.counters import Series, Snapshot, Vector
from barograph.drift import MEASURES, ColumnReference
from barograph.evaluate import evaluate
from barograph.exposition import render
from barograph.known import References
from barograph.ledger import Counted, Ledger
from barograph.prometheus import CoarseReference, Endpoint, PrometheusPoller
from barograph.serve import ServeError, Server
from barograph.sources import StoredReferences
from barograph.tiles import Increment, Tiles
from test_prometheus import free_port, program, running, wait_for
from world import START, draw, reference

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 7 * 86_400
pytestmark = pytest.mark.workers
NAMES = {"model": "risk", "version": "1"}


@pytest.fixture(scope="module")
def ref():
    return reference()


@pytest.fixture(scope="module")
def files(ref, tmp_path_factory) -> list[str]:
    path = tmp_path_factory.mktemp("references") / "risk.json"
    ref.save(path)
    return [str(path)]


def profiles(ref, rows: Sequence[int], rng: np.random.Generator, change=None) -> list:
    """Profiles of that many undrifted rows each, or of changed ones."""
    found = []
    for n in rows:
        features, score = draw(n, rng)
        found.append(ref.profile({**(change(features) if change else features), "p": score}))
    return found


@dataclass
class Replica:
    """A serving process, as its text on /metrics."""

    ref: object
    instance: str
    counts: np.ndarray = field(init=False)
    rows: int = 0

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.ref.bins.size, dtype=np.int64)
        self.cells = {self.ref.id: CellMap.of_reference(self.ref.to_json())}

    def text(self, clock: float) -> bytes:
        bins = self.ref.bins
        series = {
            Series.of(naming.PREDICTIONS, NAMES): Vector(np.array([self.rows]), np.zeros(0)),
            Series.of(naming.COLUMN_VALUES, {**NAMES, "bins": bins.id}, size=bins.size): Vector(
                self.counts, np.zeros(bins.size)
            ),
        }
        info = {**NAMES, "task": "binary", "reference": self.ref.id, "bins": bins.id}
        for one, value in ((Series.of(naming.MODEL_INFO, info), 1.0), (Series.of(naming.CLOCK, {}), clock)):
            series[one] = Vector(np.zeros(0, np.int64), np.array([value]))
        return render(Snapshot(clock, "e", 1, series), self.cells)


class Tape:
    """Scrapes as OpenMetrics text for `promtool tsdb create-blocks-from`, in the order of time."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def scrape(self, replica: Replica, at: float) -> None:
        labels = f'instance="{replica.instance}",job="models"'
        for line in replica.text(at).decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                named = f"{name[:-1]},{labels}}}" if name.endswith("}") else f"{name}{{{labels}}}"
                self.lines.append(f"{named} {value} {at:.3f}\n")
        self.up(replica.instance, at, 1)

    def up(self, instance: str, at: float, value: int = 1, job: str = "models") -> None:
        self.lines.append(f'up{{instance="{instance}",job="{job}"}} {value} {at:.3f}\n')

    def blocks(self, folder: Path) -> Path:
        path = folder / "tape.txt"
        with path.open("w") as file:
            file.writelines(self.lines)
            file.write("# EOF\n")
        command = [
            program("promtool"),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(path),
            str(folder / "data"),
        ]
        made = subprocess.run([*command], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        return folder / "data"


@contextlib.contextmanager
def prometheus(data: Path) -> Iterator[str]:
    """Serves blocks, scrapes nothing."""
    port = free_port()
    (data.parent / "prometheus.yml").write_text("scrape_configs: []\n")
    options = ["--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}",
               f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=100y"]  # fmt: skip
    with running([program("prometheus"), *options], data.parent, "prometheus.log"):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/api/v1/query", params={"query": "1"}).is_success)
        yield url


@dataclass
class Hands:
    """A clock that stands until it is moved."""

    time: float
    speed = 1.0

    def now(self) -> float:
        return self.time


class Evaluator:
    """Reads and judges as `barograph serve` does, at moments that the test chooses."""

    def __init__(
        self, url: str, files: list[str], now: float, *, history: float = 0, path: object = ":memory:"
    ) -> None:
        self.clock, self.config = Hands(now), Config()
        self.tiles = Tiles(path)
        self.ledger = Ledger(self.tiles)
        stored = StoredReferences(self.tiles)
        self.references = References(stored, self.config)
        self.poller = PrometheusPoller(
            self.tiles, Endpoint(url), files=files, references=stored, history=history, clock=self.clock
        )
        self.fired: list[tuple[str, str]] = []

    def step(self, now: float) -> None:
        self.clock.time = now
        self.poller.poll()
        until = self.poller.until(now)
        if until is not None:
            changes = evaluate(self.tiles, self.ledger, self.references, self.config, until)
            self.fired += [
                (c.alert.condition.rule, c.alert.condition.column)
                for c in changes
                if c.alert.state == "firing"
            ]

    def steps(self, start: float, end: float, step: float) -> None:
        for now in np.arange(start, end, step).tolist():
            self.step(now)

    def hours(self, metric: naming.Metric, start: float, end: float) -> np.ndarray:
        (series,) = self.tiles.series(metric.name)
        return self.tiles.windows(series, start, end, HOUR).counts

    def close(self) -> None:
        self.tiles.close()


REPLICAS, A_REPLICA, HOURS, EVERY = 20, 100, 30, 900


@pytest.fixture(scope="module")
def fleet(ref, tmp_path_factory):
    """20 replicas of 100 undrifted rows an hour, and one with all of the rows; the last three hours in another unit.

    Returns addresses of the two, and full counts by hour.
    """
    rng = np.random.default_rng(5)
    many = [Replica(ref, f"10.0.0.{i}:8000") for i in range(REPLICAS)]
    one = Replica(ref, "10.0.1.1:8000")
    tapes = Tape(), Tape()
    full = []
    for replica in many:
        tapes[0].scrape(replica, START)
    tapes[1].scrape(one, START)
    for hour in range(HOURS):
        change = None if hour < HOURS - 3 else lambda f: {**f, "amount": f["amount"] * 1000}
        full.append(np.zeros(ref.bins.size, dtype=np.int64))
        for at in range(START + hour * HOUR + EVERY, START + (hour + 1) * HOUR + 1, EVERY):
            rows = [A_REPLICA * EVERY // HOUR] * REPLICAS
            for replica, profile in zip(many, profiles(ref, rows, rng, change), strict=True):
                for each in (replica, one):
                    each.counts, each.rows = each.counts + profile.counts, each.rows + profile.rows
                full[-1] += profile.counts
                tapes[0].scrape(replica, at)
            tapes[1].scrape(one, at)
    with contextlib.ExitStack() as stack:
        folders = [tape.blocks(tmp_path_factory.mktemp("tape")) for tape in tapes]
        yield [stack.enter_context(prometheus(folder)) for folder in folders], np.array(full)


def test_twenty_quiet_replicas_raise_nothing_and_add_up_to_one(fleet, files, ref):
    urls, full = fleet
    quiet = HOURS - 3
    both = [Evaluator(url, files, START) for url in urls]
    for evaluator in both:
        evaluator.steps(START, START + quiet * HOUR + EVERY, HOUR)
        evaluator.step(START + quiet * HOUR + EVERY)
        assert evaluator.fired == []
    coarse = CoarseReference.of(ref)
    for evaluator in both:
        counted = evaluator.hours(naming.COLUMN_VALUES, START, START + quiet * HOUR)
        assert counted.tolist() == coarse.merge(full[:quiet]).tolist()
        judged = evaluator.ledger.judged_until(Counted("risk", "1", coarse.reference.bins.id))
        assert judged == START + quiet * HOUR
        rows = evaluator.hours(naming.PREDICTIONS, START, START + quiet * HOUR)[:, 0]
        assert set(rows.tolist()) == {REPLICAS * A_REPLICA}

    # The change of unit in the last hours is caught, in both alike.
    for evaluator in both:
        evaluator.steps(START + quiet * HOUR + 2 * EVERY, START + HOURS * HOUR + 1, EVERY)
        assert ("MLModelInputBroken", "amount") in evaluator.fired, evaluator.fired
        assert {column for _, column in evaluator.fired} == {"amount"}
        evaluator.close()
    assert both[0].fired == both[1].fired


def test_scores_of_replicas_are_no_score_of_the_fleet(ref):
    """What adding up is for: each replica alone seems to have drifted."""
    amount = ColumnReference(ref.bins.columns["amount"], *ref.baseline.column("amount"))
    counts = [p.column("amount")[0] for p in profiles(ref, [A_REPLICA] * REPLICAS, np.random.default_rng(1))]
    alone = [float(MEASURES["psi"](amount, one)) for one in counts]
    assert np.mean(alone) > 10 * float(MEASURES["psi"](amount, sum(counts)))


def test_a_reference_over_cells_is_judged_as_the_whole_one(ref):
    """The signals of shape, missing, unseen and out of range, and their lines, are the same; location is near."""
    coarse = CoarseReference.of(ref)
    whole, cells = (calibrate(one).verdicts(one.windows.counts) for one in (ref, coarse.reference))
    for signal in "DAUO":
        assert np.array_equal(whole.values[signal], cells.values[signal], equal_nan=True)
        assert np.array_equal(whole.thresholds[signal], cells.thresholds[signal], equal_nan=True)
    assert np.nanmax(np.abs(whole.values["L"] - cells.values["L"])) < 0.05
    assert coarse.reference.bins.size < ref.bins.size / 5
    assert coarse.reference.bins.id != ref.bins.id
    assert coarse.reference.baseline.counts.sum() == ref.baseline.counts.sum()
    assert np.allclose(coarse.reference.baseline.sums.sum(), ref.baseline.sums.sum())


# An hour without scrapes, of three kinds: what cannot be read is no silence, what is down is.

BEFORE, AWAY, AFTER = 20, 60, 30  # minutes
RATE = 10  # rows a minute


@dataclass
class Hour:
    """A service of 10 rows a minute, scraped once a minute but for the hour in the middle, and a machine beside it."""

    ref: object
    folder: Path
    scraped: bool = False  # in the hour: the service is
    up: int | None = None  # in the hour: what `up` of the service says
    machine: bool = False  # in the hour: the machine is scraped

    def prometheus(self) -> contextlib.AbstractContextManager[str]:
        tape, replica = Tape(), Replica(self.ref, "10.0.0.1:8000")
        rng = np.random.default_rng(2)
        tape.scrape(replica, START)
        for minute in range(1, BEFORE + AWAY + AFTER + 1):
            at = START + minute * MINUTE
            away = BEFORE < minute <= BEFORE + AWAY
            serving = not away or self.up != 0
            if serving:
                (profile,) = profiles(self.ref, [RATE], rng)
                replica.counts, replica.rows = replica.counts + profile.counts, replica.rows + RATE
            if not away or self.machine:
                tape.up("10.0.9.9:9100", at - 30, 1, "node")
            if not away or self.scraped:
                tape.scrape(replica, at)
            elif self.up is not None:
                tape.up(replica.instance, at, self.up)
        return prometheus(tape.blocks(self.folder))


def usual_last_week(evaluator: Evaluator) -> None:
    """Traffic in the same hours a week before, so that silence would be out of the ordinary."""
    rows = Series.of(naming.PREDICTIONS, NAMES)
    moments = range(START - WEEK - 2 * HOUR, START - WEEK + 6 * HOUR, MINUTE)
    evaluator.tiles.add([Increment(rows, at, Vector(np.array([RATE]), np.zeros(0))) for at in moments])


@contextlib.contextmanager
def evaluator(url: str, files: list[str]) -> Iterator[Evaluator]:
    found = Evaluator(url, files, START)
    usual_last_week(found)
    yield found
    found.close()


BEGIN, END = START + (BEFORE + 1) * MINUTE, START + (BEFORE + AWAY + 1) * MINUTE


def test_an_hour_in_which_nothing_was_scraped_is_no_silence(ref, files, tmp_path):
    with Hour(ref, tmp_path).prometheus() as url, evaluator(url, files) as found:
        found.steps(START, BEGIN, MINUTE)
        found.steps(BEGIN, END, 5 * MINUTE)
        assert found.poller.until(END) == BEGIN - MINUTE
        status = found.poller.statuses()[0]
        assert status.up is False and "has scraped nothing since 2013-09-30T00:20:00Z" in status.error
        found.steps(
            END - 20, END + AFTER * MINUTE, 10
        )  # the machine is scraped first, the service half a minute later
        assert found.fired == []
        rows = found.hours(naming.PREDICTIONS, START, START + 2 * HOUR)
        assert rows.sum() == RATE * (BEFORE + AWAY + AFTER)
        assert abs(int(rows[0, 0]) - RATE * 60) <= RATE
        status = found.poller.statuses()[0]
        assert status.up
        assert "nothing was scraped from 2013-09-30T00:20:00Z to 2013-09-30T01:21:00Z" in status.error
        assert "caught up" in status.error


@pytest.mark.slow
def test_an_hour_in_which_prometheus_did_not_answer_is_read_afterwards(ref, files, tmp_path):
    with Hour(ref, tmp_path, scraped=True, machine=True).prometheus() as url, evaluator(url, files) as whole:
        whole.steps(START, END + AFTER * MINUTE, MINUTE)
        assert whole.fired == []
        with evaluator(url, files) as found:
            found.steps(START, BEGIN, MINUTE)
            there, found.poller.endpoint = found.poller.endpoint, Endpoint(f"http://127.0.0.1:{free_port()}")
            found.steps(BEGIN, END, 5 * MINUTE)
            assert found.poller.statuses()[0].up is False
            found.poller.endpoint = there
            found.steps(END, END + AFTER * MINUTE, MINUTE)
            assert found.fired == []
            assert found.poller.statuses()[0].up
            assert found.poller.statuses()[0].error.startswith(
                "caught up: what was counted from 2013-09-30T00:20"
            )
            for series in whole.tiles.series(naming.COLUMN_VALUES.name) + whole.tiles.series(
                "ml_predictions_total"
            ):
                ours, theirs = (
                    e.tiles.windows(series, START, END + AFTER * MINUTE, MINUTE) for e in (found, whole)
                )
                assert ours.counts.tolist() == theirs.counts.tolist()
                assert ours.present.tolist() == theirs.present.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("up", [0, None])
def test_a_service_that_is_down_or_gone_while_others_are_scraped_is_silent(ref, files, tmp_path, up):
    with Hour(ref, tmp_path, up=up, machine=True).prometheus() as url, evaluator(url, files) as found:
        found.steps(START, BEGIN, MINUTE)
        assert found.fired == []
        found.steps(BEGIN, BEGIN + 14 * MINUTE, MINUTE)
        assert found.fired == [("MLModelNoTraffic", "")]
        found.steps(BEGIN + 14 * MINUTE, END + AFTER * MINUTE, MINUTE)
        assert found.fired == [("MLModelNoTraffic", "")]
        assert not [a for a in found.ledger.alerts() if a.state == "firing"]


# `barograph serve --source prometheus=URL`.


@pytest.fixture
def recent(ref, tmp_path) -> Iterator[str]:
    """A Prometheus that has scraped a service for five hours, and does so for some minutes more; two hours in another unit."""
    tape, replica = Tape(), Replica(ref, "10.0.0.1:8000")
    now = time.time() // HOUR * HOUR
    rng = np.random.default_rng(4)
    (tmp_path / "tape").mkdir()
    for at in np.arange(now - 5 * HOUR, time.time() + 10 * MINUTE, MINUTE).tolist():
        tape.scrape(replica, at)
        change = (lambda f: {**f, "amount": f["amount"] * 1000}) if at >= now - 2 * HOUR else None
        (profile,) = profiles(ref, [5], rng, change)
        replica.counts, replica.rows = replica.counts + profile.counts, replica.rows + 5
    with prometheus(tape.blocks(tmp_path / "tape")) as url:
        yield url


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "barograph", "serve", "--port", str(port), *arguments]
    with running(command, folder, "serve.log"):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/-/ready").is_success, 90)
        yield url


def gauges(url: str) -> dict[str, float]:
    lines = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_serve_judges_what_prometheus_scraped_and_shows_gauges_and_pages(recent, ref, files, tmp_path):
    source = ["--source", f"prometheus={recent}", "--references", files[0]]
    with serving(tmp_path, *source) as url:
        found = wait_for(lambda: {n: v for n, v in gauges(url).items() if n.startswith("ml_alert_state")})
        firing = [name for name in found if 'state="firing"' in name]
        assert any('alert="MLModelInputBroken"' in name and 'column="amount"' in name for name in firing)
        assert not any('column="visits"' in name for name in firing)
        shown = gauges(url)
        signals = {name: value for name, value in shown.items() if name.startswith("ml_signal{")}
        assert {name.replace("ml_signal{", "ml_signal_threshold{") for name in signals} <= shown.keys()
        over = [n for n, v in signals.items() if v > shown[n.replace("ml_signal{", "ml_signal_threshold{")]]
        assert over and all('column="amount"' in name for name in over)
        shares = {
            n: v for n, v in shown.items() if n.startswith("ml_reference_ratio{") and 'column="country"' in n
        }
        assert all(f'bins="{ref.bins.id}"' in name for name in shares)  # those of the services' own /metrics
        assert sum(shares.values()) == pytest.approx(1.0)
        assert shown["ml_evaluator_last_success_timestamp_seconds"] == pytest.approx(time.time(), abs=120)

        (model,) = httpx.get(f"{url}/api/fleet").json()["models"]
        assert model["status"] == "act" and model["predictions"] > 1000
        assert httpx.get(f"{url}/api/models/risk").is_success
        for column in ref.bins.columns:
            page = httpx.get(f"{url}/api/models/risk/columns/{column}").json()
            assert page["n"]["live"] > 100
            assert np.isfinite([m["value"] for m in page["measures"]]).all()
        status = subprocess.run(
            [sys.executable, "-m", "barograph", "status"], cwd=tmp_path, capture_output=True, check=False
        )
        assert status.returncode == 1 and b"risk" in status.stdout

    # Its store is for Prometheus' counts alone.
    embedded = [sys.executable, "-m", "barograph", "serve", "--port", "0", "--target", "http://127.0.0.1:9"]
    refused = subprocess.run(embedded, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2 and "so that nothing counts twice" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source", "graphite=http://h"], "write prometheus="),
        (["--source", "prometheus=h:9090"], "is no base address"),
        (["--source", "prometheus=http://h:9", "--target", "http://h:8"], "leave one of them out"),
        (["--source", "prometheus=http://h:9", "--clock", "2013-10-14T13:00:00Z@60"], "leave the speed out"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path, arguments, said):
    command = [sys.executable, "-m", "barograph", "serve", "--port", "0", *arguments]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.split())


def test_a_configuration_names_prometheus_and_its_secrets(tmp_path, monkeypatch):
    config = load_text(
        """
        references = ["models/*.json"]
        [prometheus]
        url = "https://mimir/prometheus"
        match = 'namespace="ml"'
        token_variable = "SECRET"
        headers = {X-Scope-OrgID = "ml"}
        history = 2
        """
    )
    monkeypatch.setenv("SECRET", "s3cret")
    config = replace(config, store=":memory:", port=0)
    server = Server(config)
    assert server.poller.endpoint.token == "s3cret"
    assert server.poller.endpoint.headers == {"X-Scope-OrgID": "ml"}
    assert server.poller.history == 2 * HOUR
    assert server.evaluate() == []  # nothing has been read
    assert server.health.last_success is None
    server._socket.close()
    server.tiles.close()
    monkeypatch.delenv("SECRET")
    with pytest.raises(ServeError, match="SECRET is not set"):
        Server(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[prometheus]\nurl = 3", "url is 3; it must be of type str"),
        ("[prometheus]\nurl = 'http://h'\ntokn_file = 'x'", "did you mean 'token_file'"),
        ("[prometheus]\nurl = 'http://h'\nverify = 'no'", "write true or false"),
        ("[prometheus]\nurl = 'http://h'\nheaders = {A = 1}", "write texts"),
        ("references = 'x.json'", "write a list"),
        ("references = [1]", "references holds 1"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(text, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_text(text)
