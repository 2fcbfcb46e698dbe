"""Old versions leave /metrics and /profile after a day, and there are never more series than are allowed."""

import json
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from barograph import Monitor, Reference, naming
from barograph.counters import Series, SharedCounters, shared, tenure
from barograph.exposition import render
from barograph.increments import increments

DAY = tenure.RETIRED_AFTER
SHARED = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
COLUMNS = ["a", "b", "c"]


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=SHARED) as name:
        yield Path(name)


class Wall:
    """Wall time and the monotonic clock, to be moved by hand."""

    def __init__(self, patch) -> None:
        self.moved, real, steady = 0.0, time.time, time.monotonic
        self._lag = 0.0
        patch.setattr("barograph.counters.folder.time.time", lambda: real() + self.moved)
        patch.setattr("barograph.counters.shared.time.monotonic", lambda: steady() + self._lag)

    def pass_by(self, seconds: float) -> None:
        self.moved += seconds
        self._lag += max(seconds, shared.TIDYING)


@pytest.fixture
def wall(monkeypatch) -> Wall:
    return Wall(monkeypatch)


def predictions(version: str, model: str = "m") -> Series:
    return Series.of(naming.PREDICTIONS, {"model": model, "version": version})


def info(version: str, reference: str = "a" * 16) -> Series:
    labels = {"task": "", "reference": reference, "bins": "", "digest": "", "framework": "", "config": ""}
    return Series.of(naming.MODEL_INFO, {"model": "m", "version": version, **labels})


def serve(folder: Path, version: str, rows: int = 0, **options: str) -> SharedCounters:
    """A process that holds a version."""
    counters = SharedCounters(folder)
    counters.vector(info(version, **options)).sums[0] = 1
    counters.vector(predictions(version)).counts[0] += rows
    return counters


def versions(counters: SharedCounters) -> dict[str, int]:
    series = counters.snapshot().series
    return {
        s.label("version"): int(v.counts[0]) for s, v in series.items() if s.metric == naming.PREDICTIONS.name
    }


def die(counters: SharedCounters) -> None:
    counters._closed = True
    counters._let_go()


# Retirement.


@pytest.mark.parametrize("end", [SharedCounters.close, die], ids=["ended", "killed"])
def test_a_version_is_shown_for_a_day_after_its_last_process_and_then_retired(folder, wall, end):
    old, new = serve(folder, "1", 7), serve(folder, "2", 1)
    end(old)
    wall.pass_by(60)  # one that was killed is found to be dead
    assert versions(new) == {"1": 7, "2": 1}
    wall.pass_by(DAY - 120)
    assert versions(new) == {"1": 7, "2": 1}
    wall.pass_by(180)
    assert versions(new) == {"2": 1}
    assert 'version":"1' not in folder.joinpath(naming.DEAD_COUNTS).read_bytes().decode("latin-1")
    new.close()


def test_all_processes_retire_a_version_at_the_same_moment(folder, wall):
    """What is shown is what lies in the directory, so that no worker shows it to one scrape and not to the next."""
    serve(folder, "1", 7).close()
    team = [serve(folder, "2", 1) for _ in range(3)]
    wall.moved += DAY + 1  # a day has passed; none has looked yet
    assert [versions(one) for one in team] == [{"1": 7, "2": 3}] * 3
    wall.pass_by(0)
    assert [versions(one) for one in team] == [{"2": 3}] * 3
    for one in team:
        one.close()


def test_a_version_that_a_process_holds_stays_however_long_ago_others_of_it_ended(folder, wall):
    keeper = serve(folder, "1", 1)
    for _ in range(5):
        serve(folder, "1", 10).close()
        wall.pass_by(3 * DAY)
        versions(keeper)
    assert versions(keeper) == {"1": 51}
    new = serve(folder, "2")
    keeper.close()  # from now on the day is counted
    wall.pass_by(DAY - 60)
    assert versions(new)["1"] == 51
    wall.pass_by(61)
    assert "1" not in versions(new)
    new.close()


def test_what_was_idle_for_a_week_counts_on_where_it_stopped(folder, wall):
    serve(folder, "1", 7).close()
    wall.pass_by(7 * DAY)
    again = serve(folder, "1", 1)
    assert versions(again) == {"1": 8}
    wall.pass_by(DAY)
    assert versions(again) == {"1": 8}
    again.close()


def test_a_version_that_ended_while_nobody_could_read_is_shown_before_it_is_retired(folder, wall):
    serve(folder, "1", 7).close()
    wall.pass_by(7 * DAY)
    new = serve(folder, "2", 1)
    assert versions(new) == {"1": 7, "2": 1}
    wall.pass_by(shared.TIDYING)
    assert versions(new) == {"2": 1}
    new.close()


def test_a_retired_version_that_comes_back_counts_from_0_and_nothing_is_counted_twice(folder, wall):
    """The evaluator was away meanwhile: it sees one version fall, and takes none of the others for new."""
    serve(folder, "1", 7).close()
    new = serve(folder, "2", 5)
    before = new.snapshot(clock=60.0)
    wall.pass_by(DAY + 1)
    versions(new)
    back = serve(folder, "1", 2)
    assert versions(new) == {"1": 2, "2": 5}
    grown = increments(before, new.snapshot(clock=90.0))
    counted = {
        one.series.label("version"): int(one.vector.counts.sum()) for one in grown if one.series.counts
    }
    assert counted == {"1": 2, "2": 0}
    back.close()
    new.close()


def test_a_clock_that_is_set_back_delays_a_retirement_by_a_day_at_most(folder, wall):
    wall.moved = 3650 * DAY
    serve(folder, "1", 7).close()
    new = serve(folder, "2", 1)
    wall.moved = 0.0
    wall.pass_by(0)
    serve(folder, "2").close()
    assert versions(new) == {"1": 7, "2": 1}
    wall.pass_by(DAY + 1)
    assert versions(new) == {"2": 1}
    new.close()


def test_what_has_no_version_goes_with_its_model_and_what_has_no_model_stays(folder, wall):
    business = Series.of(naming.BUSINESS, {"model": "m", "event": "order"})
    http = Series.of(naming.HTTP_REQUESTS, {"handler": "/", "method": "GET", "status": "2xx"})
    old = serve(folder, "1", 7)
    old.vector(business).counts[0] += 3
    old.vector(http).counts[0] += 4
    old.close()
    new = serve(folder, "2")
    wall.pass_by(DAY + 1)
    series = new.snapshot().series
    assert (series[business].counts[0], series[http].counts[0]) == (3, 4)
    new.close()
    other = SharedCounters(folder)
    other.vector(predictions("1", "another"))
    wall.pass_by(DAY + 1)
    series = other.snapshot().series
    assert business not in series
    assert series[http].counts[0] == 4
    other.close()


def test_references_go_with_the_last_version_that_they_judged(folder, wall):
    old, kept, new = "a" * 16, "b" * 16, "c" * 16
    first = serve(folder, "1", 1, reference=old)
    second = serve(folder, "2", 1, reference=kept)
    third = serve(folder, "3", 1, reference=new)
    for counters, name in ((first, old), (second, kept), (third, new)):
        counters.publish(f"{name}.reference.json", b"{}")
        os.utime(folder / f"{name}.reference.json", (0, 0))  # long ago
    third.publish("d.reference.json", b"{}")  # of a process that has not said yet that it judges by it
    first.close()
    wall.pass_by(DAY - 60)
    second.close()
    versions(third)
    assert set(third.references()) == {old, kept, new, "d"}
    wall.pass_by(120)
    versions(third)
    assert set(third.references()) == {kept, new, "d"}
    third.close()


def test_a_reference_that_is_in_use_again_is_young_again(folder):
    counters = SharedCounters(folder)
    path = folder / f"{'a' * 16}.reference.json"
    counters.publish(path.name, b"{}")
    os.utime(path, (0, 0))
    counters.publish(path.name, b"{}")
    assert time.time() - path.stat().st_mtime < 60
    counters.close()


def test_a_thousand_deployments_leave_no_trace(folder, wall):
    keeper = SharedCounters(folder)
    for i in range(200):
        serve(folder, str(i), 1).close()
        wall.pass_by(DAY / 4)
        keeper.snapshot()
    assert sorted(versions(keeper), key=int) == ["197", "198", "199"]
    assert (folder / naming.DEAD_COUNTS).stat().st_size < 8_000
    keeper.close()


def test_a_service_shows_one_version_a_day_after_the_other_ended(folder, wall):
    """With real monitors: on /metrics as on /profile."""
    rng = np.random.default_rng(0)
    references = [Reference.fit({"x": rng.normal(i, 1, 300)}, task="regression") for i in range(2)]
    with Monitor("m", version="1", reference=references[0], directory=folder) as old:
        old.record({"x": 0.0})
    with Monitor("m", version="2", reference=references[1], directory=folder) as new:
        new.record({"x": 0.0})
        text = new.render().decode()
        assert 'ml_predictions_total{model="m",version="1"} 1' in text
        assert f'bins="{references[0].bins.id}"' in text
        wall.pass_by(DAY + 1)
        text = new.render().decode()
        assert 'version="1"' not in text
        assert 'ml_predictions_total{model="m",version="2"} 1' in text
        assert {s.label("version") for s in new.snapshot().series} == {None, "2"}


# How many series there are.


def numbers(text: bytes) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_the_number_of_series_is_shown_as_one_of_them(folder):
    with Monitor("m", directory=folder) as monitor:
        found = numbers(monitor.render())
        assert found["ml_monitor_series"] == len(found)
        assert found["ml_monitor_series_hidden"] == 0


def orders(counters: SharedCounters) -> dict[str, int]:
    series = counters.snapshot().series
    return {s.label("event"): int(v.counts[0]) for s, v in series.items() if s.metric == naming.BUSINESS.name}


def order(name: str) -> Series:
    return Series.of(naming.BUSINESS, {"model": "m", "event": name})


def test_label_values_past_the_limit_fold_into_other_for_ever(folder, monkeypatch, caplog):
    monkeypatch.setenv(naming.SERIES_VARIABLE, "10")
    counters = SharedCounters(folder)
    for round_ in range(3):
        for i in range(30):
            counters.vector(order(f"event {i}")).counts[0] += 1
        found = orders(counters)
        assert sum(found.values()) == 30 * (round_ + 1)
        assert found["other"] > found["event 0"] == round_ + 1
        assert len(found) <= 11
    assert sum("are too many" in record.getMessage() for record in caplog.records) == 1
    counters.close()


def test_what_another_process_has_made_is_no_new_series(folder, monkeypatch):
    monkeypatch.setenv(naming.SERIES_VARIABLE, "10")
    one = SharedCounters(folder)
    for i in range(30):
        one.vector(order(f"event {i}")).counts[0] += 1
    late = SharedCounters(folder)
    for i in range(30):
        late.vector(order(f"event {i}")).counts[0] += 1
    found = orders(one)
    assert found == orders(late)
    assert found["event 0"] == 2 and sum(found.values()) == 60 and len(found) <= 11
    one.close()
    late.close()


def test_values_of_ended_processes_use_up_the_room_too(folder, monkeypatch):
    """Each worker of a server that starts one after the other makes up values of its own."""
    monkeypatch.setenv(naming.SERIES_VARIABLE, "100")
    for i in range(20):
        worker = SharedCounters(folder)
        for k in range(20):
            worker.vector(order(f"{i}/{k}")).counts[0] += 1
        worker.close()
    last = SharedCounters(folder)
    found = orders(last)
    assert sum(found.values()) == 400 and len(found) <= 101
    last.close()


def test_stages_and_reasons_of_our_own_are_never_folded(folder, monkeypatch):
    monkeypatch.setenv(naming.SERIES_VARIABLE, "1")
    with Monitor("m", directory=folder) as monitor:
        monitor.record({}, score=0.5)
        with monitor.request(), monitor.stage("look up"):
            monitor.record({}, score=0.5)
        series = monitor.snapshot().series
        stages = {s.label("stage"): int(v.counts.sum()) for s, v in series.items() if s.kind == "histogram"}
        assert stages == {"total": 1, "predict": 0, "other": 1}
        assert monitor.total(naming.PREDICTIONS) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_folds_what_its_parent_folded(folder, monkeypatch):
    monkeypatch.setenv(naming.SERIES_VARIABLE, "10")
    counters = SharedCounters(folder)
    for i in range(30):
        counters.vector(order(f"event {i}")).counts[0] += 1
    pid = os.fork()
    if pid == 0:
        for i in range(30):
            counters.vector(order(f"event {i}")).counts[0] += 1
        os._exit(0)
    os.waitpid(pid, 0)
    found = orders(counters)
    assert sum(found.values()) == 60 and len(found) <= 11 and found["event 0"] == 2
    counters.close()


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e9"])
def test_a_limit_that_is_no_number_is_said_and_not_used(folder, monkeypatch, caplog, text):
    monkeypatch.setenv(naming.SERIES_VARIABLE, text)
    with Monitor("m", directory=folder) as monitor:
        assert numbers(monitor.render())["ml_monitor_series_hidden"] == 0
    assert f"{naming.SERIES_VARIABLE}: {text!r}" in caplog.text


def fitted(seed: int) -> Reference:
    rng = np.random.default_rng(seed)
    return Reference.fit({name: rng.normal(seed, 1, 300) for name in COLUMNS}, task="regression")


def test_columns_past_the_limit_are_hidden_on_metrics_and_whole_on_profile(folder, monkeypatch, caplog):
    with Monitor("m", reference=fitted(0), directory=folder) as monitor:
        whole = numbers(monitor.render())
        columns = sum(name.startswith(("ml_column_values", "ml_schema")) for name in whole)
        monkeypatch.setenv(naming.SERIES_VARIABLE, str(len(whole) - 1))
        caplog.set_level(logging.WARNING)
        for _ in range(3):
            found = numbers(monitor.render())
        assert not any(name.startswith("ml_column_values") for name in found)
        assert len(found) == found["ml_monitor_series"] < len(whole)
        assert len(found) + found["ml_monitor_series_hidden"] == len(whole)
        assert found["ml_monitor_series_hidden"] <= columns
        assert any(s.kind == "columns" for s in monitor.snapshot().series)
        monkeypatch.setenv(naming.SERIES_VARIABLE, str(len(whole)))
        assert numbers(monitor.render()).keys() == whole.keys()
    said = [r.getMessage() for r in caplog.records if "does not show the columns" in r.getMessage()]
    assert len(said) == 1 and naming.SERIES_VARIABLE in said[0]


def test_columns_of_versions_that_run_are_shown_before_those_of_others(folder, monkeypatch):
    """In every worker alike, whatever was there first."""
    with Monitor("m", version="1", reference=fitted(1), directory=folder) as old:
        old.record(dict.fromkeys(COLUMNS, 1.0))
    with (
        Monitor("m", version="2", reference=fitted(2), directory=folder) as one,
        Monitor("m", version="2", reference=fitted(2), directory=folder) as other,
    ):
        both = len(numbers(one.render()))
        monkeypatch.setenv(naming.SERIES_VARIABLE, str(both - 1))
        for monitor in (one, other):
            found = numbers(monitor.render())
            shown = {json.dumps('version="2"' in n) for n in found if n.startswith("ml_column_values")}
            assert shown == {"true"}


def test_a_snapshot_is_rendered_under_the_limit_that_holds_now(folder, monkeypatch):
    with Monitor("m", reference=fitted(0), directory=folder) as monitor:
        snapshot, cells = monitor.snapshot(), {"r": monitor.reference.to_json()}
        assert b"ml_column_values_total{" in render(snapshot, cells)
        monkeypatch.setenv(naming.SERIES_VARIABLE, "1")
        assert b"ml_column_values_total{" not in render(snapshot, cells)
