"""`barograph serve`: reads the services, keeps tiles, evaluates each minute of its clock, tells, and serves the console."""

import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from barograph import naming
from barograph.clock import Clock
from barograph.config import Config
from barograph.console.app import Health, create
from barograph.console.state import State
from barograph.counters import Series, Snapshot, Vector
from barograph.evaluate import Change, References, evaluate
from barograph.exposition import render
from barograph.ledger import Counted, Ledger
from barograph.notify import Notifier
from barograph.sources import Poller, StoredReferences, Target
from barograph.tiles import Tiles

log = logging.getLogger("barograph")

MEMORY = ":memory:"
ADDRESS_SUFFIX = ".server.json"
FIRST_READ = 15.0  # seconds of wall time that the first pass waits for targets
ROLL_UP_EVERY = 3600  # seconds of the evaluator's clock


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
    pid: int

    @classmethod
    def of(cls, store: str | Path) -> "Address | None":
        """That of the server that has this store open, or None where none answers."""
        try:
            content = json.loads(address_file(store).read_text())
            found = cls(content["url"], content["token"], content["pid"])
            httpx.get(f"{found.url}/-/healthy", timeout=2.0, trust_env=False).raise_for_status()
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            return None
        return found


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
        interval = self.config.interval or min(15.0, 60.0 / self.clock.speed)
        targets = [Target(t.url, t.secret()) for t in self.config.targets]
        self.poller = Poller(self.tiles, targets, references=files, interval=interval, clock=self.clock)
        self.health = Health()
        self.notifier = Notifier(self.config.webhooks, self.url)
        self._stop = threading.Event()
        self._evaluated = 0.0
        self._rolled = 0.0
        self.state = State(self.tiles, self.ledger, self.references, self.config, self.poller.statuses)
        app = create(
            self.state, self.clock.now, health=self.health, token=self.token, metrics=self.metrics,
            poll_seconds=max(1.0, min(5.0, interval)),
            hosts=_own_names(self.config.host),
        )  # fmt: skip
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        self._web = uvicorn.Server(settings)

    def run(self) -> None:
        """Serve until a signal or `stop`; everything is stored and closed then."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(
                signal.SIGTERM, signal.default_int_handler
            )  # so that it ends as cleanly as Ctrl-C does
        loop = threading.Thread(target=self._loop, name="barograph-evaluator", daemon=True)
        self.poller.start()
        loop.start()
        try:
            self._write_address()
            self._web.run(sockets=[self._socket])
        except KeyboardInterrupt:  # uvicorn has shut down, and hands the signal on
            pass
        finally:
            self._stop.set()
            self.poller.stop()
            loop.join()
            self.notifier.close()
            address_file(self.config.store).unlink(missing_ok=True)
            self.tiles.close()

    def stop(self) -> None:
        """End `run` from another thread."""
        self._web.should_exit = True

    def evaluate(self) -> list[Change]:
        """One pass now."""
        started, now = time.perf_counter(), self.clock.now()
        changes = evaluate(self.tiles, self.ledger, self.references, self.config, now)
        if now - self._rolled >= ROLL_UP_EVERY:
            self.tiles.roll_up(now)
            self.tiles.expire(now)
            self._rolled = now
        self.health.last_success, self.health.seconds = now, time.perf_counter() - started
        self.health.ready = True
        return changes

    def metrics(self) -> bytes:
        """The evaluator's own gauges as Prometheus text."""
        series: dict[Series, Vector] = {}

        def gauge(metric: naming.Metric, labels: dict[str, str], value: float) -> None:
            key = Series.of(metric, labels)
            vector = Vector.zero(key)
            vector.sums[0] = value
            series[key] = vector

        if self.health.last_success is not None:
            gauge(naming.EVALUATOR_SUCCESS, {}, self.health.last_success)
        for alert in self.ledger.alerts():
            c = alert.condition
            names = {"model": c.model, "version": c.version, "column": c.column, "signal": c.signal}
            gauge(naming.ALERT_STATE, {**names, "alert": c.rule, "state": alert.state}, 1.0)
        for model, versions in self.state.models().items():
            for version in versions:
                for labels, value, threshold in _last_signals(
                    self, model, version.version, tuple(version.series)
                ):
                    gauge(naming.SIGNAL, labels, value)
                    gauge(naming.SIGNAL_THRESHOLD, labels, threshold)
        return render(Snapshot(self.clock.now(), "", 1, series), {})

    def _loop(self) -> None:
        pause = max(0.2, min(5.0, 60.0 / self.clock.speed / 2))
        self._wait_for_targets()
        while not self._stop.is_set():
            minute = self.clock.now() // 60
            if minute != self._evaluated:
                self._evaluated = minute
                self._pass()
            self._stop.wait(pause)

    def _wait_for_targets(self) -> None:
        """Each target is tried once before the first pass: what was counted while nobody read is no silence."""
        until = time.monotonic() + FIRST_READ
        while time.monotonic() < until and any(s.attempted is None for s in self.poller.statuses()):
            if self._stop.wait(0.1):
                return

    def _pass(self) -> None:
        try:
            changes = self.evaluate()
        except Exception:
            log.exception("a pass of the evaluator failed; the next one catches up")
            return
        self.notifier.tell(changes)

    def _write_address(self) -> None:
        if self.config.store == MEMORY:
            return
        path = address_file(self.config.store)
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"url": self.url, "token": self.token, "pid": os.getpid()}, file)


def _last_signals(
    server: Server, model: str, version: str, bins: Sequence[str]
) -> list[tuple[dict[str, str], float, float]]:
    found = []
    now = server.clock.now()
    for one in bins:
        known = server.references.get(one, model)
        if known is None:
            continue
        names = list(known.reference.bins.columns)
        history = server.ledger.history(Counted(model, version, one), now - 86_400, now, len(names))
        for letter, values in history.values.items():
            for i, name in enumerate(names):
                labels = {
                    "model": model,
                    "version": version,
                    "column": name,
                    "signal": letter,
                    "window": "1h",
                }
                value, threshold = values[-1, i], history.thresholds[letter][-1, i]
                if value == value and threshold == threshold:
                    found.append((labels, float(value), float(threshold)))
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
