"""Real flights without an injected fault: days go by, and nothing is raised that is not in the data."""

import numpy as np
import pytest

from barograph import Monitor
from barograph.config import Config
from barograph.evaluate import evaluate
from barograph.increments import increments
from barograph.known import References
from barograph.ledger import Ledger
from barograph.sources import StoredReferences
from barograph.tiles import Tiles

flights = pytest.importorskip("barograph.demo.flights", reason="the demo's libraries are not installed")
model = pytest.importorskip("barograph.demo.model")
arrival = pytest.importorskip("barograph.demo.arrival")
backfill = pytest.importorskip("barograph.demo.backfill")
parse_time = pytest.importorskip("barograph.clock").parse_time

pytestmark = [pytest.mark.demo, pytest.mark.slow]
DAY, STEP = 86_400, 1800


class Hands:
    """A clock that stands until it is moved."""

    simulated = True

    def __init__(self, time):
        self.time = time

    def now(self):
        return self.time


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The demo's model, reference and four weeks of history, as `barograph demo` makes them."""
    try:
        rows = flights.load()
    except flights.DemoDataMissing as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("demo")
    folder.chmod(0o700)
    fitted = model.train(flights.between(rows, *model.TRAINING))
    reference = model.freeze(
        fitted, flights.between(rows, *model.REFERENCE), flights.between(rows, *model.TRAINING)
    )
    model.save(fitted, folder)
    reference.save(folder / model.REFERENCE_FILE)
    places = (folder / "tiles.duckdb", folder / "counters", folder / "log")
    other = arrival.train(flights.between(rows, *model.TRAINING))
    arrival.save(other, folder)
    weeks = (flights.between(rows, *model.REFERENCE), flights.between(rows, *model.TRAINING))
    arrival.freeze(other, *weeks).save(folder / arrival.REFERENCE_FILE)
    for _ in backfill.backfill(rows, folder, *places):
        pass
    return rows, fitted, reference, folder


@pytest.mark.parametrize("days", [7])
def test_ordinary_days_of_flights_raise_nothing(trained, tmp_path, days):
    rows, fitted, reference, folder = trained
    store = tmp_path / "tiles.duckdb"
    store.write_bytes((folder / "tiles.duckdb").read_bytes())
    times, clock = flights.seconds(rows["departed_at"]), Hands(parse_time(model.LIVE))
    end, raised, served = clock.time + days * DAY, [], 0
    with (
        Tiles(store) as tiles,
        Monitor(
            model.NAME,
            version=model.VERSION,
            reference=reference,
            clock=clock,
            directory=tmp_path / "c",
            flush_interval=3600,
        ) as monitor,
    ):
        ledger, references = Ledger(tiles), References(StoredReferences(tiles), Config())
        before = monitor.snapshot()
        while clock.time < end:
            first, last = np.searchsorted(times, [clock.time, clock.time + STEP])
            clock.time += STEP
            if last > first:
                part = rows.iloc[first:last]
                monitor.record(part[list(flights.FEATURES)], score=model.scores(fitted, part))
                served += last - first
            after = monitor.snapshot()
            tiles.add(increments(before, after))
            before = after
            raised += evaluate(tiles, ledger, references, Config(), clock.time)
    assert served > 300 * days
    here = [
        c.alert.condition for c in raised if c.alert.condition.model == model.NAME
    ]  # the other one is not served
    assert [condition.text for condition in here] == []
