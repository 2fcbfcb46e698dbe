"""The hand-off: whatever the rows do while they are read, the flush ends and the thread goes on."""

import logging
import threading
import time

import numpy as np

from barograph import Monitor, Reference, naming

RNG = np.random.default_rng(0)
REFERENCE = Reference.fit({"x": RNG.normal(10, 2, 500), "p": RNG.uniform(size=500)}, task="binary", score="p")
GOOD = {"x": 10.0}


def test_a_flush_that_a_value_asks_for_within_a_flush_does_not_wait_for_itself(tmp_path):
    class Asking:
        def __float__(self):
            monitor.record(GOOD, score=0.5)
            monitor.flush()
            return 1.0

    with Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=60) as monitor:
        monitor.record({**GOOD, "x": Asking()}, score=0.5)
        flushing = threading.Thread(target=monitor.flush, daemon=True)
        flushing.start()
        flushing.join(timeout=10)
        assert not flushing.is_alive() and monitor.total(naming.PREDICTIONS) == 2


def test_the_flusher_outlives_whatever_a_value_raises(tmp_path, caplog):
    class Leaving:
        def __float__(self):
            raise SystemExit

    with (
        Monitor("m", reference=REFERENCE, directory=tmp_path, flush_interval=0.01) as monitor,
        caplog.at_level(logging.ERROR),
    ):
        monitor.record({**GOOD, "x": Leaving()})
        deadline = time.monotonic() + 10
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
        assert monitor._flusher._thread.is_alive()
        monitor.record(GOOD)
        assert monitor.total(naming.PREDICTIONS) == 1
    assert len(caplog.records) == 1
