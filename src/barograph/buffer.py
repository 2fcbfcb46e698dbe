"""The hand-off from the request path: a bounded queue that never blocks, and the thread that empties it."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

CHUNK = 32  # rows read in one hold of the interpreter's lock, some 0.1 ms, which a request may have to wait
IN_A_HURRY = 256  # rows read at once where nobody waits for the lock, or the queue has grown long
PAUSE = 0.001  # seconds between chunks, in which requests are answered
PAUSED = 0.25  # of an interval may go by in pauses


class Flusher:
    """Empties a queue into `consume` every `interval` seconds, in chunks with pauses, on a daemon thread.

    `consume(chunk)` takes a list; `finish()` is called after the last chunk of a flush. With a long queue the pauses are
    left out, so that it does not grow. A full queue is the caller's to refuse: `queue.append` is all a request pays.
    `failed(error)` is told what went wrong on the thread, which goes on: nothing would be counted without it.
    What is in the queue is counted at most `interval` later, as far as the work allows: that is what a killed process loses.
    """

    def __init__(
        self,
        queue: deque[Any],
        consume: Callable[[list[Any]], None],
        finish: Callable[[], None],
        failed: Callable[[BaseException], None],
        *,
        interval: float,
        limit: int,
    ) -> None:
        self.queue, self._consume, self._finish, self._failed = queue, consume, finish, failed
        self._interval = interval
        self._hurry = min(limit // 8, int(interval * PAUSED / PAUSE) * CHUNK)
        self._lock = threading.RLock()
        self._flushing = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to flush."""
        self._thread = threading.Thread(target=self._run, name="barograph-flusher", daemon=True)
        self._thread.start()

    def flush(self, *, gently: bool = False) -> None:
        """Empty what is in the queue now. `gently` pauses between chunks.

        Within a flush of the same thread it does nothing: a signal's handler, or code of a value that is read, asked for it.
        """
        with self._lock:
            if self._flushing:
                return
            self._flushing = True
            try:
                self._empty(gently)
            finally:
                self._flushing = False

    def _empty(self, gently: bool) -> None:
        left = len(self.queue)
        while left > 0:
            size = CHUNK if gently and left < self._hurry else IN_A_HURRY
            chunk = self._drain(min(size, left))
            left -= max(len(chunk), 1)
            self._consume(chunk)
            if gently and 0 < left < self._hurry:
                time.sleep(PAUSE)
        self._finish()

    def stop(self) -> None:
        """Flush once more and end the thread."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)
        self.flush()

    def _drain(self, size: int) -> list[Any]:
        take = self.queue.popleft  # never a new queue: a thread that holds the old one would lose its row
        return [take() for _ in range(min(size, len(self.queue)))]

    def _run(self) -> None:
        wait = self._interval
        while not self._stop.wait(wait):
            start = time.monotonic()
            try:
                self.flush(gently=True)
            except BaseException as error:  # noqa: BLE001 (a value's own code may even raise SystemExit)
                self._failed(error)
            # What comes just after a flush has begun waits for the end of the next one.
            wait = max(self._interval - 2 * (time.monotonic() - start), self._interval / 4)
