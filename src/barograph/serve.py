"""`barograph serve`: reads the services, keeps tiles, evaluates each minute of its clock, tells, and serves the console."""

import contextlib
import hmac
import json
import logging
import math
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from barograph import naming
from barograph.alert import FIRING, MUTED
from barograph.bins import score_alone
from barograph.clock import Clock
from barograph.config import Config, PrometheusConfig
from barograph.console.app import PROOF_HEADER, create, proof
from barograph.console.health import PATIENCE, Health
from barograph.console.state import State
from barograph.counters import Series, Snapshot, Vector
from barograph.evaluate import Change, evaluate
from barograph.exposition import render
from barograph.heuristics import load
from barograph.heuristics_job.job import HeuristicsJob
from barograph.heuristics_job.rounds import Rounds, Shown, counter
from barograph.inbox import Feedback, Store, route
from barograph.judging import by_lane, last_closed
from barograph.known import References
from barograph.labels.counting import BinsOf
from barograph.labels.days import DayBook
from barograph.labels.joiner import Joiner, UnknownBins
from barograph.labels.quality import expected, quality_gauges
from barograph.ledger import Ledger
from barograph.limits import SERVICE
from barograph.logs import Log
from barograph.notify import Notifier
from barograph.outbox import Outbox
from barograph.outcomes import OutcomeBins
from barograph.performance import Estimate
from barograph.prometheus import Endpoint, PrometheusPoller, refuse_mixed
from barograph.reference import Reference
from barograph.sentences import duration
from barograph.shares import reference_gauges
from barograph.sources import Poller, StoredReferences, Target
from barograph.tiles import DAY, HOUR, MINUTE, Tiles
from barograph.versions import Deployed, deployed

log = logging.getLogger("barograph")

MEMORY = ":memory:"
ADDRESS_SUFFIX = ".server.json"
FIRST_READ = 15.0  # seconds of wall time that the first pass waits for targets
FLEET_INTERVAL = 30.0  # seconds between two questions to Prometheus
LATE = 180.0  # seconds behind the clock at which counts are waited for
JOIN_EVERY = 60.0  # seconds of the clock between two joins of labels,
LEAST_PAUSE = 2.0  # and of wall time at least
MISSED_PASSES = 5  # after which something is wrong, if that is not too soon:
LEAST_PATIENCE = 60.0  # seconds of wall time


class ServeError(RuntimeError):
    """The evaluator cannot start: what is wrong, and the remedy."""


def address_file(store: str | Path) -> Path:
    """Where a running server writes its address and token, readable by its user alone."""
    return Path(f"{store}{ADDRESS_SUFFIX}")


@dataclass(frozen=True)
class Address:
    """Where a running server answers, and the token for what writes."""

    url: str
    token: str

    @classmethod
    def of(cls, store: str | Path) -> "Address | None":
        """That of the server that has this store open, or None where none answers.

        The file may be left over from one that crashed, and its port another program's by now: what answers must prove,
        before it is shown the token, that it has the same one.
        """
        try:
            content = json.loads(address_file(store).read_text())
            found = cls(content["url"], content["token"])
            challenge = secrets.token_hex(16)
            answer = httpx.get(
                f"{found.url}/-/healthy", params={"challenge": challenge}, timeout=2.0, trust_env=False
            )
            given = answer.headers.get(PROOF_HEADER, "")
            expected = proof(found.token, challenge)
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            httpx.HTTPError,
            httpx.InvalidURL,
        ):
            return None
        return found if hmac.compare_digest(given.encode(), expected.encode()) else None

    def post(self, path: str, json: Any = None, *, timeout: float = 10.0) -> httpx.Response:
        """Ask the server for what needs the token; `timeout` in seconds."""
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.post(f"{self.url}{path}", json=json, headers=headers, timeout=timeout, trust_env=False)


def join_folder(store: str | Path) -> Path:
    """Where the join keeps what it knows of predictions and labels: beside the tiles."""
    return Path(f"{store}.join")


def outcome_bins(tiles: Tiles, references: References, model: str) -> BinsOf:
    """How the outcomes of a model's versions are counted: over the bins of the reference that each was counted with."""
    versions = {v.version: v for v in deployed(tiles) if v.model == model}

    def find(version: str, bins: str) -> OutcomeBins:
        known = references.of(versions[version], bins) if version in versions else None
        if known is not None and known.outcomes is not None:
            return known.outcomes
        if bins != score_alone().id:
            raise UnknownBins(
                f"no reference with bins {bins} of {model} {version} is known yet; its service tells it"
            )
        return OutcomeBins.default("binary")

    return find


class Server:
    """The evaluator: a poller, a loop, and the console, around one store."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self.config, self.clock = config, clock or Clock()
        self._socket = _bind(config.host, config.port)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://{_printable(config.host)}:{self.port}"
        self.token = _token(config)
        try:
            self._open()
        except BaseException:
            self._socket.close()
            raise

    def _open(self) -> None:
        store = self.config.store
        if store != MEMORY:
            Path(store).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.tiles = Tiles(store)
        self.ledger = Ledger(self.tiles)
        files = StoredReferences(self.tiles)
        self.references = References(files, self.config)
        self._pause = max(0.2, min(5.0, MINUTE / self.clock.speed / 2))
        patience = min(PATIENCE, max(LEAST_PATIENCE, MISSED_PASSES * MINUTE / self.clock.speed))
        self.health = Health(patience, also=self._unread)
        refuse_mixed(self.tiles, fleet=self.config.prometheus is not None)
        self.poller = self._reader(files)
        self.joiner = self._joiner()
        self.rounds, self._counted_here = self._heuristics(files)
        self.outbox = Outbox(self.tiles)
        self._book = DayBook(self.tiles)
        self.notifier = Notifier(self.config.webhooks, self.url, self.outbox)
        self._stop = threading.Event()
        self._started = self.clock.now()
        self._evaluated = 0.0
        self._rolled = 0.0
        self._told: dict[
            tuple[str, str], tuple[float, list[tuple[naming.Metric, dict[str, str], float]]]
        ] = {}
        self.state = State(self.tiles, self.ledger, self.references, self.config, self.poller.statuses)
        app = create(
            self.state, self.clock.now, health=self.health, token=self.token, metrics=self.metrics,
            poll_seconds=max(1.0, min(5.0, self.poller.interval)),
            hosts=_own_names(self.config.host), join=None if self.joiner is None else self.joiner.join,
            inboxes=[] if self.joiner is None else [route(Feedback(self._stores).inbox(lambda: self.token))],
        )  # fmt: skip
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        self._web = uvicorn.Server(settings)

    def _reader(self, files: StoredReferences) -> Poller | PrometheusPoller:
        config = self.config
        if config.prometheus is None:
            interval = config.interval or min(15.0, 60.0 / self.clock.speed)
            targets = [Target(t.url, t.secret()) for t in config.targets]
            return Poller(self.tiles, targets, references=files, interval=interval, clock=self.clock)
        if config.targets:
            raise ServeError(
                "targets: Prometheus is given too, which is read in their place; leave one of them out"
            )
        if self.clock.speed != 1:
            raise ServeError(f"--clock: {self.clock} is not as fast as Prometheus' own; leave the speed out")
        return PrometheusPoller(
            self.tiles, _endpoint(config.prometheus), files=config.references, references=files,
            interval=config.interval or FLEET_INTERVAL, history=config.prometheus.history * 3600, clock=self.clock,
            moved=self.health.moved,
        )  # fmt: skip

    def _joiner(self) -> Joiner | None:
        """Who joins labels, where services log; what it knows lies beside the tiles."""
        if self.config.log is None:
            return None
        folder = (
            Path(tempfile.mkdtemp(prefix="barograph-"))
            if self.config.store == MEMORY
            else join_folder(self.config.store)
        )
        pause = max(LEAST_PAUSE, JOIN_EVERY / self.clock.speed)
        return Joiner(
            self.tiles,
            Log(self.config.log),
            folder,
            partial(outcome_bins, self.tiles, self.references),
            now=self.clock.now,
            pause=pause,
        )

    def _heuristics(self, files: StoredReferences) -> tuple[Rounds | None, Shown | None]:
        """Who computes heuristics over the log, where some are configured; and who shows what they have counted."""
        models = {name: model.heuristics for name, model in self.config.models.items() if model.heuristics}
        if not models:
            return None, None
        if self.config.log is None:
            raise ServeError("heuristics: they are computed over the log; say where services log with --log")
        made = {
            model: load((f"{name}={where}" for name, where in given.items()), Path.cwd())
            for model, given in models.items()
        }
        job = HeuristicsJob(self.tiles, Log(self.config.log), self.references, files, now=self.clock.now)
        return Rounds(job, made, now=self.clock.now, pause=self._pause), Shown(self.tiles, job, made)

    def _stores(self) -> dict[str, Store]:
        """For each model that is known, what writes labels of it to the disk."""
        assert self.joiner is not None
        return {model: partial(self.joiner.store, model) for model in self.state.models()}

    def run(self) -> None:
        """Serve until a signal or `stop`; everything is stored and closed then."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(
                signal.SIGTERM, signal.default_int_handler
            )  # so that it ends as cleanly as Ctrl-C does
        loop = threading.Thread(target=self._loop, name="barograph-evaluator", daemon=True)
        self.poller.start()
        loop.start()
        if self.joiner is not None:
            self.joiner.start()
        if self.rounds is not None:
            self.rounds.start()
        try:
            self._write_address()
            self._web.run(sockets=[self._socket])
        except KeyboardInterrupt:  # uvicorn has shut down, and hands the signal on
            pass
        finally:
            self._stop.set()
            self.poller.stop()
            loop.join()
            for worker in (self.joiner, self.rounds):
                if worker is not None:
                    worker.stop()
            self.notifier.close()
            address_file(self.config.store).unlink(missing_ok=True)
            self.tiles.close()

    def stop(self) -> None:
        """End `run` from another thread."""
        self._web.should_exit = True

    def evaluate(self) -> list[Change]:
        """One pass now. What it finds is in the outbox, stored together with the finding, when it is told.

        It judges up to where the counts are known, and nothing where none are yet.
        """
        now, judged, errors = self.poller.until(self.clock.now()), 0, list[Exception]()
        if now is None:
            return []

        def done(_: str, error: Exception | None) -> None:
            nonlocal judged
            if error is None:
                judged += 1
                self.health.moved()
            else:
                errors.append(error)

        hour = last_closed(now, HOUR)
        if hour != self._rolled:  # an hour is judged by its tile, which is much less to read than its minutes
            self.tiles.roll_up(now)
            self.tiles.expire(now)
            self.ledger.expire(now)
            self._rolled = hour
        changes = evaluate(
            self.tiles, self.ledger, self.references, self.config, now,
            statuses=self.poller.statuses(), book=self._book, keep=self.notifier.put, done=done,
        )  # fmt: skip
        self.notifier.wake()
        if errors and not judged:
            raise errors[-1]
        self.health.succeeded(now)
        return changes

    def metrics(self) -> bytes:
        """The evaluator's own gauges as Prometheus text."""
        series: dict[Series, Vector] = {}

        def gauge(metric: naming.Metric, labels: dict[str, str], value: float) -> None:
            key = Series.of(metric, labels)
            vector = Vector.zero(key)
            vector.sums[0] = value
            series[key] = vector

        if self.health.finished is not None:
            gauge(naming.EVALUATOR_SUCCESS, {}, self.health.finished)
        gauge(naming.MESSAGES_WAITING, {}, self.outbox.waiting())
        policy = self.ledger.policy(self.clock.now())
        for alert in self.ledger.alerts():
            c = alert.condition
            names = {"model": c.model, "version": c.version, "column": c.column, "signal": c.signal}
            state = MUTED if alert.state == FIRING and policy.muting(alert) else alert.state
            gauge(naming.ALERT_STATE, {**names, "alert": c.rule, "state": state}, 1.0)
        for model in self.state.models():
            for name, value in self.config.model(model).limits.items():
                if name in SERVICE:
                    gauge(naming.LIMIT, {"model": model, "limit": name}, value)
        for versions in self.state.models().values():
            for version in versions:
                for labels, value, threshold in _last_signals(self, version):
                    gauge(naming.SIGNAL, labels, value)
                    gauge(naming.SIGNAL_THRESHOLD, labels, threshold)
                for bins in version.series:
                    known = self.references.of(version, bins)
                    reference = None if known is None else self._shown(known.reference)
                    for metric, labels, value in () if reference is None else reference_gauges(reference):
                        gauge(metric, {**version.names, **labels}, value)
                for metric, labels, value in self._quality(version):
                    if metric.type == "counter":
                        series[counter(metric, labels)] = Vector(np.array([int(value)]), np.zeros(0))
                    else:
                        gauge(metric, labels, value)
                for metric, labels, value in self._heuristic_counts(version):
                    series[counter(metric, labels)] = Vector(np.array([int(value)]), np.zeros(0))
        return render(Snapshot(self.clock.now(), "", 1, series), {})

    def _quality(self, version: Deployed) -> list[tuple[naming.Metric, dict[str, str], float]]:
        """What labels say of a version, over the bins that its outcomes are counted in; looked at once a minute."""
        if not self.tiles.series(naming.LOGGED, **version.names):
            return []
        made_at, found = self._told.get((version.model, version.version), (-math.inf, []))
        if time.monotonic() - made_at > MINUTE:
            find, found = outcome_bins(self.tiles, self.references, version.model), []
            for bins in version.series:
                with contextlib.suppress(UnknownBins):
                    over, now = find(version.version, bins), self.clock.now()
                    found += quality_gauges(
                        self.tiles, version.model, version.version, over, now,
                        formulas=self.config.model(version.model).metrics, expected=self._expected(version, bins, now),
                    )  # fmt: skip
            self._told[(version.model, version.version)] = (time.monotonic(), found)
        return found

    def _heuristic_counts(self, version: Deployed) -> list[tuple[naming.Metric, dict[str, str], float]]:
        """What heuristics over the log counted, as services show columns; not told to a Prometheus that would count it anew."""
        if self._counted_here is None or self.config.prometheus is not None:
            return []

        def reference_of(bins: str) -> Reference | None:
            known = self.references.of(version, bins)
            return None if known is None else known.reference

        return self._counted_here.of(version, reference_of, self.clock.now())

    def _expected(self, version: Deployed, bins: str, now: float) -> Mapping[str, Estimate]:
        known = self.references.of(version, bins)
        if known is None or known.promising not in known.reference.bins.columns:
            return {}
        slots = known.reference.bins.slice(known.promising)
        return expected(self.tiles, version.series[bins], slots, known.promised, now)

    def _shown(self, reference: Reference) -> Reference:
        """A reference as services count over it: what Prometheus' counts are judged by is made of one."""
        if isinstance(self.poller, Poller):
            return reference
        made = self.poller.references.of_cells(reference.bins.id)
        return reference if made is None else made.original

    def _loop(self) -> None:
        self._wait_for_targets()
        while not self._stop.is_set():
            now = self.clock.now()
            known = self.poller.until(now)
            if known is not None and known // MINUTE != self._evaluated:
                self._evaluated = known // MINUTE
                self._pass()
            elif known is None or now - known > LATE:
                self.health.moved()  # it waits, and would do no better if it were restarted
            self._stop.wait(self._pause)

    def _wait_for_targets(self) -> None:
        """Each target is tried once before the first pass: what was counted while nobody read is no silence."""
        until = time.monotonic() + FIRST_READ
        while time.monotonic() < until and any(s.attempted is None for s in self.poller.statuses()):
            if self._stop.wait(0.1):
                return

    def _pass(self) -> None:
        try:
            self.evaluate()
        except Exception as error:
            self.health.failed(error)
            log.exception("a pass of the evaluator failed; the next one catches up")

    def _unread(self) -> str | None:
        """Whether anything reads the services: their being down is a finding, nobody's asking them is none."""
        tried = [s.attempted for s in self.poller.statuses()]
        if not tried:
            return None
        last = max((t for t in tried if t is not None), default=self._started)
        silent = (self.clock.now() - last) / self.clock.speed
        if silent <= max(self.health.patience, 5 * self.poller.longest_wait):
            return None
        return f"no service has been asked for {duration(silent)}; see the log of barograph serve, restart it"

    def _write_address(self) -> None:
        if self.config.store == MEMORY:
            return
        path = address_file(self.config.store)
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"url": self.url, "token": self.token, "pid": os.getpid()}, file)


def _endpoint(config: PrometheusConfig) -> Endpoint:
    given = {f.name: getattr(config, f.name) for f in fields(Endpoint) if hasattr(config, f.name)}
    for key in ("token", "password"):
        variable = getattr(config, f"{key}_variable")
        given[key] = os.environ.get(variable) if variable else None
        if variable and not given[key]:
            raise ServeError(
                f"prometheus: {key}_variable: {variable} is not set; set it, or leave the key out"
            )
    return Endpoint(**given)


def _last_signals(server: Server, version: Deployed) -> list[tuple[dict[str, str], float, float]]:
    """The last verdict of each lane, of the last day or two."""
    found, now = [], server.clock.now()
    for one in version.series:
        known = server.references.of(version, one)
        if known is None:
            continue
        names = list(known.reference.bins.columns)
        for lane, counted in by_lane(version, one, server.config.window):
            history = server.ledger.history(counted, now - DAY - lane.seconds, now, len(names))
            for letter, values in history.values.items():
                lines = history.thresholds[letter]
                for i in np.flatnonzero(np.isfinite(values[-1]) & np.isfinite(lines[-1])).tolist():
                    labels = {**version.names, "column": names[i], "signal": letter, "window": lane.name}
                    found.append((labels, float(values[-1, i]), float(lines[-1, i])))
    return found


def _token(config: Config) -> str:
    if config.token_variable is None:
        return secrets.token_urlsafe(24)
    token = os.environ.get(config.token_variable)
    if not token:
        raise ServeError(f"token_variable: {config.token_variable} is not set; set it, or leave the key out")
    return token


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise ServeError(
            f"--port: cannot listen on {host}:{port} ({error.strerror}); choose another with --port"
        ) from None
    return found


def _own_names(host: str) -> frozenset[str] | None:
    """The names of a server that listens on this machine alone; None for one that listens to a network."""
    if host not in ("127.0.0.1", "::1", "localhost"):
        return None
    return frozenset({"127.0.0.1", "localhost", "[::1]"})


def _printable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
