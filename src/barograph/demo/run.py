"""`barograph demo`: a real service, monitored, and a silent fault in it that is caught, on this machine alone.

This process trains the model, freezes the reference, backfills history and sends traffic; the service and `barograph serve`
are processes of their own, as they would be anywhere. All of them read one simulated clock.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from barograph.demo import processes
from barograph.demo.incidents import find
from barograph.demo.processes import Child, ChildError, DemoError

MOST_SPEED = 240.0
PORT = 8700


def run(
    *,
    speed: float = 60.0,
    incident: str = "unit-change",
    after: float = 60.0,
    port: int = PORT,
    headless: bool = False,
    duration: float | None = None,
    directory: str | Path | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo until Ctrl-C, or for `duration` seconds after its pages are up; the exit status, 0 or 1.

    `speed` is simulated seconds a second, at most 240; `incident` a name of `incidents.INCIDENTS`, injected `after` so many
    seconds at the earliest. The console listens on `port` of 127.0.0.1, the service on the next one. `directory` keeps the model,
    the reference, the tiles and the logs; without it they go with the demo. `console` takes what it says.

    Raises:
        DemoError: an argument that cannot be, a port that is taken, data that is not installed.
    """
    _check(speed, incident, after, duration)
    processes.require_free([port, port + 1])
    # On few and busy cores OpenMP's threads wait for each other in loops: a training of 2 s took 15, an answer of 5 ms took
    # 500. It must be said before scikit-learn is loaded, which is why the imports below are not at the top.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from barograph.demo.flights import DemoDataMissing
    from barograph.demo.live import play
    from barograph.demo.prepare import prepare

    out = Console(highlight=False) if console is None else console
    children: list[Child] = []
    try:
        with _interruptible(), _directory(directory) as place, contextlib.ExitStack() as ending:
            ending.callback(processes.stop, children)
            show = prepare(out, place, children, speed, find(incident), after, port)
            if not headless and _has_screen():
                webbrowser.open(show.pages)
            play(show, duration)
    except (DemoDataMissing, PermissionError) as error:
        raise DemoError(str(error)) from error
    except ChildError as error:
        out.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        pass
    out.print("The demo has ended, with all its processes.")
    return 0


def _has_screen() -> bool:
    """Where there is none, `webbrowser` may open a browser of text in this very terminal."""
    return not sys.platform.startswith("linux") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


def _check(speed: float, incident: str, after: float, duration: float | None) -> None:
    try:
        find(incident)
    except ValueError as error:
        raise DemoError(str(error)) from None
    if not 0 < speed <= MOST_SPEED:
        raise DemoError(
            f"speed: {speed:g} is not above 0 and at most {MOST_SPEED:g}, where the console reads the service four times "
            "a second; a faster clock would blur its minutes"
        )
    if not after >= 0:
        raise DemoError(f"after: {after:g} seconds; it must be 0 or more")
    if duration is not None and not duration >= 0:
        raise DemoError(f"duration: {duration:g} seconds; it must be 0 or more")


@contextlib.contextmanager
def _directory(given: str | Path | None) -> Iterator[Path]:
    """A place that nobody else can write to: removed at the end, unless it was asked for by name."""
    if given is None:
        with tempfile.TemporaryDirectory(prefix="barograph-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    from barograph.demo.model import require_private
    from barograph.demo.prepare import COUNTERS, LOG, PAST_COUNTERS, STORE

    place = Path(given).resolve()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(place)
    for old in (STORE, f"{STORE}.wal"):  # each run begins at the same moment: what it counts would add up
        (place / old).unlink(missing_ok=True)
    for old in (COUNTERS, PAST_COUNTERS, LOG, f"{STORE}.join"):
        shutil.rmtree(place / old, ignore_errors=True)
    yield place


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """A closed terminal and a plain `kill` end the demo as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
