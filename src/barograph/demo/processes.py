"""Child processes of the demo: started, waited for, and ended without leaving one behind."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

GRACE = 5.0  # seconds between asking a process to end and ending it
LAST_LINES = 15


class DemoError(RuntimeError):
    """The demo cannot start; the text says why, and what to do."""


class ChildError(RuntimeError):
    """A process of the demo ended, or never answered; the text holds its last lines."""


@dataclass(frozen=True)
class Child:
    """A process of the demo: its name for people, and the file that takes what it prints."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.process.poll() is not None

    def report(self) -> str:
        """How it ended, and the last lines that it printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
        return f"{self.name} ended with exit status {self.process.returncode}; its last lines were:\n{last or '  (none)'}"


def start(name: str, module: Sequence[str], directory: Path, **environment: str) -> Child:
    """Run `python -m module...` in a session of its own, so that Ctrl-C reaches the demo alone, which then ends it.

    It also ends when the demo does without a word, killed or out of memory: see `child`.
    """
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "barograph.demo.child", *module],
            stdin=subprocess.PIPE,  # held open, and closed by the system with this process
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
    return Child(name, process, log)


def stop(children: Sequence[Child]) -> None:
    """Ask all of them to end, the last one first, and end those that have not after five seconds."""
    for child in reversed(children):
        if not child.ended:
            child.process.terminate()
    limit = time.monotonic() + GRACE
    for child in children:
        try:
            child.process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        if child.process.stdin is not None:
            child.process.stdin.close()


def wait_until_ready(child: Child, url: str, seconds: float = 60.0) -> None:
    """Wait until `url` answers 200; ChildError where the process ends first, or time runs out."""
    limit = time.monotonic() + seconds
    while not answers(url):
        if child.ended:
            raise ChildError(child.report())
        if time.monotonic() > limit:
            raise ChildError(
                f"{child.name} did not answer at {url} within {seconds:.0f} s; look at {child.log}"
            )
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether `url` answers 200 now."""
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def require_free(ports: Sequence[int]) -> None:
    """DemoError where another program listens on one of these ports of 127.0.0.1."""
    for port in ports:
        if not 0 < port < 65_536:
            raise DemoError(f"port {port} does not exist; choose another with --port, 1024 to 65534")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise DemoError(
                    f"port {port} of 127.0.0.1 is taken ({error.strerror}); end what listens there, or choose another "
                    f"with --port (the console takes it, the service the next one)"
                ) from None
