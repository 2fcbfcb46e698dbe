"""Quality heuristics: a user's function makes a column like any other, inline or from the log, and harms nothing when it fails."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import world as served
from barograph import Monitor, Reference, naming
from barograph.cli import app
from barograph.config import Config, ConfigError, ModelConfig, load_text
from barograph.console import columns, pages
from barograph.heuristics import Batch, Heuristic, HeuristicError, load, named
from barograph.heuristics_job.job import ENOUGH, HeuristicsJob
from barograph.heuristics_job.rounds import Rounds, Shown, counter, due
from barograph.increments import increments
from barograph.known import References
from barograph.logs import Log, PredictionLog
from barograph.serve import ServeError, Server
from barograph.sources import StoredReferences
from barograph.tiles import DAY, HOUR, Tiles
from barograph.versions import deployed

START = served.START


def spent(batch):
    """Numbers, of a batch."""
    return batch["amount"] / (1 + batch["visits"])


def answer(row):
    """Texts, of a row."""
    return "sure" if abs(row["score"] - 0.5) > 0.3 else "unsure"


def fails(batch):
    raise RuntimeError("a bug")


def fails_at_times(row):
    if row["visits"] == 3:
        raise RuntimeError("a bug")
    return row["visits"]


# Functions.


def test_a_function_of_a_row_and_one_of_a_batch_see_the_same():
    batch = Batch({"visits": [1, None, 3], "country": ["DE", None, "PL"]}, 3)
    whole = Heuristic.of("a", lambda columns: columns["visits"] * 2).compute(batch)
    each = Heuristic.of("b", lambda row: row["visits"] * 2).compute(batch)
    assert np.array_equal(whole.values, each.values, equal_nan=True)
    assert Heuristic.of("c", lambda row: row["country"]).compute(batch).values == ["DE", None, "PL"]


def test_a_function_cannot_change_what_it_is_shown():
    given = np.array([1.0, 2.0])
    found = Heuristic.of("a", lambda batch: batch["x"].__setitem__(0, 9.0)).compute(Batch({"x": given}, 2))
    assert isinstance(found.error, ValueError) and given.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "wrong", [lambda batch: 3, lambda batch: "ab", lambda batch: [1], lambda batch: None]
)
def test_a_result_that_is_no_column_is_an_error_and_its_values_are_missing(wrong):
    found = Heuristic.of("a", wrong).compute(Batch({"x": [1, 2]}, 2))
    assert list(found.values) == [None, None] and found.failed == 2 and "2 rows" in str(found.error)


def test_functions_are_found_by_name_in_modules_and_files(tmp_path):
    (tmp_path / "my_checks.py").write_text("def late(batch):\n    return batch['x'] > 1\nother = 3\n")
    for given in ("my_checks:late", "my_checks.py:late", "slow=my_checks:late"):
        (found,) = load([given], tmp_path)
        assert found.name == ("slow" if "=" in given else "late") and not found.by_row
    for given, said in (
        ("my_checks:early", "no function 'early'"), ("my_checks:other", "no function 'other'"),
        ("no_such_module:f", "cannot import"), ("nothing.py:f", "no file"), ("late", "MODULE:FUNCTION"),
    ):  # fmt: skip
        with pytest.raises(HeuristicError, match=said):
            load([given], tmp_path)
    with pytest.raises(HeuristicError, match="twice"):
        load(["my_checks:late", "my_checks.py:late"], tmp_path)
    assert str(tmp_path) not in sys.path


# Inline.


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(1)
    n = 14 * 24 * 60
    features, score = served.draw(n, rng)
    frame = {**features, "p": score, "t": START - 14 * DAY + np.sort(rng.uniform(0, 14 * DAY, n))}
    return Reference.fit(
        frame,
        task="binary",
        score="p",
        threshold=0.5,
        time="t",
        heuristics={"spent": spent, "answer": answer},
    )


def test_a_reference_freezes_heuristics_as_columns(reference):
    assert reference.bins.roles["spent"] == reference.bins.roles["answer"] == "heuristic"
    assert reference.schema["answer"].kind == "categorical" and reference.schema.features == (
        "amount",
        "visits",
        "country",
    )
    assert Reference.from_json(reference.to_json()).id == reference.id
    with pytest.raises(HeuristicError, match="failed on 2 of 2 rows"):
        Reference.fit({"x": [1, 2]}, task="regression", heuristics={"a": fails})
    with pytest.raises(HeuristicError, match="another name"):
        Reference.fit({"x": [1, 2]}, task="regression", heuristics={"x": spent})


@pytest.fixture
def monitor(reference, tmp_path):
    with Monitor(
        "risk",
        reference=reference,
        directory=tmp_path,
        flush_interval=3600,
        heuristics={"spent": spent, "answer": answer},
    ) as made:
        yield made


def counted(monitor, name):
    (vector,) = [v for s, v in monitor.snapshot().series.items() if s.metric == naming.COLUMN_VALUES.name]
    return vector.counts[monitor.bins.slice(name)]


@pytest.mark.parametrize("rows", [20, 2_000])
def test_inline_heuristics_are_counted_over_the_bins_of_the_reference(monitor, reference, rows):
    features, score = served.draw(rows, np.random.default_rng(3))
    monitor.record(features, score=score)
    for i in range(10):
        monitor.record({name: values[i] for name, values in features.items()}, score=float(score[i]))
    again = [*range(rows), *range(10)]
    batch = Batch(
        {**{n: [v[i] for i in again] for n, v in features.items()}, "score": score[again]}, rows + 10
    )
    for name, function in (("spent", spent), ("answer", answer)):
        bins = reference.bins.columns[name]
        wanted = np.bincount(
            bins.index(Heuristic.of(name, function).compute(batch).values), minlength=bins.size
        )
        assert np.array_equal(counted(monitor, name), wanted)
    assert counted(monitor, "amount").sum() == rows + 10 == monitor.total(naming.PREDICTIONS)
    assert monitor.total(naming.BAD_ROWS) == monitor.total(naming.VIOLATIONS, kind="extra_column") == 0


def test_inline_heuristics_are_shown_on_metrics(monitor):
    text = monitor.render().decode()
    assert any(naming.COLUMN_VALUES.name in line and 'role="heuristic"' in line for line in text.splitlines())


def test_a_heuristic_that_fails_harms_nothing_and_is_told_once(reference, tmp_path, caplog):
    functions = {"spent": fails_at_times, "answer": fails}
    with Monitor(
        "risk", reference=reference, directory=tmp_path, flush_interval=3600, heuristics=functions
    ) as monitor:
        for visits in (1, 2, 3):
            monitor.record({"amount": 1.0, "visits": visits, "country": "DE"}, score=0.7)
        monitor.flush()
        monitor.record({"amount": 1.0, "visits": 3, "country": "DE"}, score=0.7)
        assert monitor.total(naming.PREDICTIONS) == 4 and counted(monitor, "amount").sum() == 4
        bins = reference.bins.columns
        assert counted(monitor, "spent")[bins["spent"].missing] == 2
        assert counted(monitor, "answer")[bins["answer"].missing] == 4
        assert monitor.total(naming.BAD_ROWS, reason="failed") == 6
    assert len(caplog.records) == 2


def test_with_strict_a_failing_heuristic_is_raised(reference, tmp_path):
    with Monitor(
        "risk", reference=reference, directory=tmp_path, strict=True, heuristics={"answer": fails}
    ) as monitor:
        monitor.record({"amount": 1.0, "visits": 1, "country": "DE"}, score=0.7)
        with pytest.raises(RuntimeError, match="a bug"):
            monitor.flush()


def test_a_heuristic_that_the_reference_lacks_is_refused(tmp_path):
    with pytest.raises(HeuristicError, match="barograph heuristics"):
        Monitor("m", directory=tmp_path, heuristics={"spent": spent})


def test_rows_that_cannot_be_read_are_no_trouble_to_heuristics(monitor):
    monitor.record("no row at all", score=0.2)
    monitor.record({"amount": [1, 2], "visits": [1]}, score=[0.1, 0.2])
    monitor.record({"amount": 1.0}, score=0.3)
    assert monitor.total(naming.PREDICTIONS) == 2 and counted(monitor, "spent").sum() == 2


def test_inline_heuristics_are_logged(reference, tmp_path):
    functions = {"spent": spent, "answer": answer}
    with Monitor(
        "risk",
        reference=reference,
        directory=tmp_path / "d",
        log=tmp_path / "log",
        flush_interval=3600,
        heuristics=functions,
    ) as monitor:
        monitor.record({"amount": 6.0, "visits": 2, "country": "DE"}, score=0.9)
        monitor.record({"amount": [4.0, 8.0], "visits": [1, 3], "country": ["DE", "FR"]}, score=[0.5, 0.1])
        monitor.flush()
    (table,) = Log(tmp_path / "log").read("predictions", "risk", ["spent", "answer", "amount"])
    assert table["spent"].to_pylist() == [2.0, 2.0, 2.0]
    assert table["answer"].to_pylist() == ["sure", "unsure", "sure"]


# From the log.


class Jobs:
    """A log, tiles, and the job between them."""

    def __init__(self, place):
        self.place, self.time = place, START
        self.log = Log(place / "log")
        self.open()

    def now(self):
        return self.time

    def open(self):
        self.tiles = Tiles(self.place / "tiles.duckdb")
        self.files = StoredReferences(self.tiles)
        self.references = References(self.files, Config())
        self.job = HeuristicsJob(self.tiles, self.log, self.references, self.files, now=self.now)

    def answer(self, n, version="1", seed=0, first=None, seconds=HOUR):
        rng = np.random.default_rng(seed)
        features, score = served.draw(n, rng)
        times = (self.time if first is None else first) + np.sort(rng.uniform(0, seconds, n))
        with PredictionLog(self.log, "m", version, "b1", clock=self) as log:
            log.append({"id": [f"{seed}-{i}" for i in range(n)], "time": times, "score": score}, n, features)
        return {**features, "score": score, "time": times}

    def counts(self, name, version="1", start=START, end=START + 400 * DAY):
        place = self.job.places.of("m", version, "b1", name)
        return self.tiles.windows(place.series, start, end, int(end - start), place.slots).counts[0], place


@pytest.fixture
def jobs(tmp_path):
    made = Jobs(tmp_path)
    yield made
    made.tiles.close()


BOTH = named({"spent": spent, "answer": answer})


def test_the_job_counts_each_logged_row_once_at_the_time_of_its_prediction(jobs):
    rows = jobs.answer(3_000, seconds=3 * HOUR)
    done = jobs.job.run("m", BOTH)
    assert done.rows == 3_000 and done.counted == {"spent": 3_000, "answer": 3_000} and not done.errors
    again = jobs.job.run("m", BOTH)
    assert again.rows == 0 and not again.counted
    values = np.asarray(rows["amount"]) / (1 + np.asarray(rows["visits"]))
    for hour in range(3):
        here = (rows["time"] - START) // HOUR == hour
        counts, place = jobs.counts("spent", start=START + hour * HOUR, end=START + (hour + 1) * HOUR)
        bins = place.bins.columns["spent"]
        assert np.array_equal(counts, np.bincount(bins.index(values[here]), minlength=bins.size))
    window = jobs.tiles.window(place.series, START, START + DAY)
    assert window.sums.sum() == pytest.approx(values.sum())


def test_what_is_new_is_counted_over_the_same_bins_of_each_version(jobs):
    jobs.answer(2_000)
    jobs.job.run("m", BOTH)
    _, place = jobs.counts("spent")
    jobs.answer(500, version="2", seed=1)
    jobs.answer(10, seed=2)
    assert jobs.job.run("m", BOTH).rows == 510
    assert jobs.counts("spent")[0].sum() == 2_010
    counts, other = jobs.counts("spent", version="2")
    assert counts.sum() == 500 and other.bins.id == place.bins.id and other.series.label("version") == "2"


def test_a_heuristic_that_is_new_reads_all_of_the_log_and_the_others_do_not(jobs):
    jobs.answer(2_000)
    jobs.job.run("m", BOTH[:1])
    done = jobs.job.run("m", BOTH)
    assert done.rows == 2_000 and done.counted == {"answer": 2_000}
    assert jobs.counts("spent")[0].sum() == jobs.counts("answer")[0].sum() == 2_000


def test_bins_wait_for_rows_enough_or_a_day(jobs):
    jobs.answer(ENOUGH - 1)
    assert jobs.job.run("m", BOTH).halted == ("spent", "answer")
    jobs.time += DAY + HOUR
    assert jobs.job.run("m", BOTH).counted["spent"] == ENOUGH - 1


def test_a_heuristic_that_fails_counts_as_missing_and_says_why(jobs):
    rows = jobs.answer(2_000)
    broken = named({"a": fails, "b": fails_at_times, "spent": spent})
    done = jobs.job.run("m", broken)
    assert "failed on all of 2,000 rows" in done.errors["a"] and "a bug" in done.errors["b"]
    threes = int((rows["visits"] == 3).sum())
    assert done.failed == {"b": threes, "spent": 0} and done.counted == {"b": 2_000 - threes, "spent": 2_000}
    counts, place = jobs.counts("b")
    assert counts[place.bins.columns["b"].missing] == threes


def test_a_job_that_stops_anywhere_counts_nothing_twice(jobs, monkeypatch):
    jobs.answer(2_000)
    with monkeypatch.context() as patch:
        patch.setattr(jobs.job.state, "move", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            jobs.job.run("m", BOTH)
    jobs.tiles.close()
    jobs.open()
    assert jobs.job.run("m", BOTH).counted["spent"] == 2_000
    assert jobs.counts("spent")[0].sum() == 2_000


def test_kill_9_counts_nothing_twice_and_leaves_nothing_out(jobs):
    for seed in range(8):
        jobs.answer(2_000, seed=seed)
    jobs.tiles.close()
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        import barograph.heuristics_job.job as job
        from test_heuristics import BOTH, Jobs
        job.MOST_ROWS = 1_000
        Jobs(Path(sys.argv[1])).job.run("m", BOTH, lambda n: print(n, flush=True))
    """)
    where = {**os.environ, "PYTHONPATH": "tests"}
    with subprocess.Popen(
        [sys.executable, "-c", code, jobs.place], stdout=subprocess.PIPE, env=where
    ) as process:
        for _ in range(4):
            assert process.stdout.readline() == b"2000\n"
        process.send_signal(signal.SIGKILL)
    jobs.open()
    before = jobs.job.state.progress("m", "spent").counted
    assert 0 < before < 16_000
    done = jobs.job.run("m", BOTH)
    assert before + done.counted["spent"] == 16_000
    assert jobs.counts("spent")[0].sum() == jobs.counts("answer")[0].sum() == 16_000


def test_what_is_ordinary_is_learnt_from_the_tiles_after_two_weeks(jobs):
    jobs.answer(2_000)
    jobs.job.run("m", BOTH)
    first = jobs.job.state.learnt("m", "spent")
    for day in range(1, 15):
        jobs.time = START + day * DAY
        jobs.answer(24 * 40, seed=day, seconds=DAY)
    jobs.time += DAY
    jobs.job.run("m", BOTH)
    later = jobs.job.state.learnt("m", "spent")
    assert later != first
    found = json.loads(jobs.files[later])
    assert found["bins"] == json.loads(jobs.files[first])["bins"] and found["windows"]["hours"] == 1 + 14 * 24
    jobs.job.run("m", BOTH)
    assert jobs.job.state.learnt("m", "spent") == later


# Beside a service: like any other column.


@pytest.fixture
def fleet(tmp_path):
    made = served.World(tmp_path / "world")
    made.log, made.place = Log(tmp_path / "log"), tmp_path
    made.job = HeuristicsJob(made.tiles, made.log, made.references, made.files, now=made.clock.now)
    yield made
    made.close()


def hour(world, change=None, rows=80, heuristics=BOTH):
    """An hour of traffic that is logged, too, and a run of the job before it is judged."""

    def logged(features, score):
        features = features if change is None else change(features)
        times = np.full(len(score), world.clock.now())
        with PredictionLog(world.log, "risk", "1", world.reference.bins.id, clock=world.clock) as log:
            log.append({"time": times, "score": score}, len(score), features)
        return features, score

    evaluate, done = world.evaluate, []
    world.evaluate = lambda: (done.append(world.job.run("risk", heuristics)), evaluate())[1]
    try:
        changes = world.hour(rows, change=logged)
    finally:
        world.evaluate = evaluate
    return changes, done[0]


def test_a_heuristic_of_the_reference_is_counted_and_judged_like_any_other_column(reference, tmp_path):
    world = served.World(tmp_path / "world", ref=reference)
    world.log = Log(tmp_path / "log")
    world.job = HeuristicsJob(world.tiles, world.log, world.references, world.files, now=world.clock.now)
    try:
        for _ in range(3):
            _, done = hour(world, rows=200)
        assert done.counted["spent"] == 200 and not world.firing()
        state, span = world.state(), world.span()
        view = state.view("risk", span)
        found = {row["name"]: row for row in columns.rows(view, [])}
        assert found["spent"]["role"] == "heuristic" and found["spent"]["status"] == "ok" and not view.beside
        page = pages.column(state, "risk", "spent", span)
        assert page["n"]["live"] == 600 and page["description"] == "A quality heuristic."
        # The function goes wrong: the features do not move, the heuristic does, and it pages.
        broken = named({"spent": lambda batch: spent(batch) * 1000, "answer": answer})
        changes = [change for _ in range(3) for change in hour(world, rows=200, heuristics=broken)[0]]
        assert (naming.OUTPUT_SHIFTED.name, "spent") in world.firing()
        assert {c.alert.condition.column for c in changes} == {"spent"}
        assert changes[0].alert.rule.severity == "page"
    finally:
        world.close()


def test_a_heuristic_that_the_reference_lacks_is_a_column_of_its_own_on_the_same_pages(fleet):
    for _ in range(3):
        hour(fleet, rows=400)
    state, span = fleet.state(), fleet.span()
    view = state.view("risk", span)
    assert view.bins == fleet.reference.bins.id and len(view.beside) == 2
    found = {row["name"]: row for row in columns.rows(view, [])}
    assert {"amount", "score", "spent", "answer"} <= set(found)
    assert found["spent"]["role"] == "heuristic" and found["spent"]["status"] == "learning"
    page = pages.column(state, "risk", "spent", span)
    assert page["n"]["live"] == 1_200 and {row["name"] for row in page["columns"]} == set(found)
    assert "spent" in pages.names(state, span)["models"][0]["columns"]
    (model,) = pages.fleet(state, span)["models"]
    assert model["status"] == "ok"
    assert "spent" in {row["name"] for row in pages.model(state, "risk", span)["causes"]["columns"]}
    # A fault that is gross enough is found while it is learning.
    for _ in range(2):
        hour(fleet, change=lambda features: {**features, "amount": features["amount"] * 1e5})
    assert (naming.OUTPUT_SHIFTED.name, "spent") in fleet.firing()


def test_what_the_job_counts_is_shown_as_services_show_their_columns(fleet):
    for _ in range(3):
        hour(fleet, rows=400)
    shown = Shown(fleet.tiles, fleet.job, {"risk": BOTH})
    (version,) = deployed(fleet.tiles)

    def reference_of(bins):
        return fleet.references.of(version, bins).reference

    found = shown.of(version, reference_of, fleet.clock.now())
    total = {
        name: sum(v for _, labels, v in found if labels["column"] == name) for name in ("spent", "answer")
    }
    assert total == {"spent": 1_200, "answer": 1_200}
    assert {labels["role"] for _, labels, _ in found} == {"heuristic"}
    metric, labels, _ = found[0]
    assert counter(metric, labels).kind == "counter"


def test_what_is_computed_inline_is_not_counted_again(reference, tmp_path):
    world = served.World(tmp_path / "world", ref=reference)
    log = Log(tmp_path / "log")
    job = HeuristicsJob(world.tiles, log, world.references, world.files, now=world.clock.now)
    with PredictionLog(log, "risk", "1", reference.bins.id, clock=world.clock) as predictions:
        predictions.append({"score": [0.1] * 2_000}, 2_000, {"spent": [1.0] * 2_000})
    assert "its service computes it" in job.run("risk", named({"spent": spent})).errors["spent"]
    world.close()


def test_rows_over_bins_that_are_not_counted_go_to_those_that_are(reference, tmp_path):
    """As with Prometheus, of which the tiles hold other bins than the log says: numbers are counted there, texts are refused."""
    world = served.World(tmp_path / "world", ref=reference)
    world.tick(60)
    log = Log(tmp_path / "log")
    job = HeuristicsJob(world.tiles, log, world.references, world.files, now=world.clock.now)
    with PredictionLog(log, "risk", "1", "other", clock=world.clock) as predictions:
        features, score = served.draw(2_000)
        predictions.append({"score": score}, 2_000, features)
    done = job.run("risk", BOTH)
    assert done.counted == {"spent": 2_000} and "Prometheus" in done.errors["answer"]
    (version,) = deployed(world.tiles)
    assert set(version.series) == {reference.bins.id}
    counts = world.tiles.window(version.series[reference.bins.id], START, START + DAY).counts
    assert counts[reference.bins.slice("spent")].sum() == 2_000 and counts.sum() == 2_000
    world.close()


def test_a_name_that_the_model_has_is_refused(fleet):
    hour(fleet)
    assert "another name" in fleet.job.run("risk", named({"amount": spent})).errors["amount"]


# Every ten minutes, and by hand.


def test_a_run_is_due_a_minute_after_every_ten():
    assert due(START + 59) == START - 540 and due(START + 60) == START + 60 == due(START + 659)


def test_rounds_go_on_after_a_failure_and_tell_it_once(jobs, caplog):
    jobs.answer(2_000)
    rounds = Rounds(jobs.job, {"m": named({"a": fails, "spent": spent})}, now=jobs.now, pause=0.01)
    rounds.run()
    rounds.run()
    assert jobs.counts("spent")[0].sum() == 2_000
    assert len([r for r in caplog.records if "failed on all" in r.getMessage()]) == 1
    rounds.start()
    jobs.answer(100, seed=5)
    jobs.time += 700
    until = time.monotonic() + 10
    while jobs.counts("spent")[0].sum() < 2_100 and time.monotonic() < until:
        time.sleep(0.02)
    rounds.stop()
    assert jobs.counts("spent")[0].sum() == 2_100


def test_the_evaluator_runs_what_is_configured_and_shows_it(tmp_path, monkeypatch):
    (tmp_path / "served_checks.py").write_text(
        "def sure(row):\n    return 'yes' if row['score'] > 0.8 else 'no'\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = Config(
        store=":memory:",
        port=0,
        log="log",
        models={"m": ModelConfig(heuristics={"sure": "served_checks:sure"})},
    )
    server = Server(settings)
    try:
        with Monitor("m", directory=tmp_path / "d", log="log", flush_interval=3600) as monitor:
            monitor.record([{"x": 1.0}] * 2_000, score=np.linspace(0, 1, 2_000))
            server.tiles.add(increments(None, monitor.snapshot()))
        server.rounds.run()
        lines = server.metrics().decode().splitlines()
    finally:
        server._socket.close()
        server.tiles.close()
    found = [line for line in lines if line.startswith("ml_column_values_total") and 'column="sure"' in line]
    assert sum(int(line.split()[-1]) for line in found) == 2_000 and 'role="heuristic"' in found[0]
    with pytest.raises(ServeError, match="--log"):
        Server(replace(settings, log=None))
    with pytest.raises(HeuristicError, match="no function"):
        Server(replace(settings, models={"m": ModelConfig(heuristics={"sure": "served_checks:no"})}))


def test_the_configuration_names_functions():
    found = load_text('[models.m.heuristics]\nspent = "checks:spent"')
    assert found.models["m"].heuristics == {"spent": "checks:spent"}
    with pytest.raises(ConfigError, match="MODULE:FUNCTION"):
        load_text('[models.m.heuristics]\nspent = "checks"')


def test_the_verb_reads_what_is_new_and_says_what_failed(jobs, monkeypatch):
    jobs.answer(2_000)
    jobs.tiles.close()
    (jobs.place / "named_checks.py").write_text(
        "def spent(batch):\n    return batch['amount'] / (1 + batch['visits'])\n"
    )
    (jobs.place / "barograph.toml").write_text(
        'log = "log"\nstore = "tiles.duckdb"\n[models.m.heuristics]\nspent = "named_checks:spent"\n'
    )
    monkeypatch.chdir(jobs.place)

    def verb(*arguments):
        return CliRunner().invoke(app, ["heuristics", *arguments], env={"COLUMNS": "200"})

    first = verb("--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["m"]["counted"] == {"spent": 2_000}
    second = verb("named_checks:spent", "--model", "m")
    assert second.exit_code == 0 and "Nothing new" in second.stdout
    wrong = verb("named_checks:late", "--model", "m")
    assert wrong.exit_code == 2 and "no function 'late'" in " ".join(wrong.output.split())
    assert verb("named_checks:spent").exit_code == 2 and verb("--model", "other").exit_code == 2
    jobs.open()
    assert jobs.counts("spent")[0].sum() == 2_000


@pytest.mark.slow
def test_a_million_responses_are_read_once(jobs):
    rows = [jobs.answer(100_000, seed=seed, first=START + seed * DAY, seconds=DAY) for seed in range(10)]
    jobs.time = START + 10 * DAY
    begin = time.process_time()
    first = jobs.job.run("m", BOTH[:1])
    cost = time.process_time() - begin
    assert first.rows == 1_000_000
    jobs.answer(1_000, seed=77)
    begin = time.process_time()
    second = jobs.job.run("m", BOTH[:1])
    again = time.process_time() - begin
    assert second.rows == 1_000
    counts, place = jobs.counts("spent")
    bins = place.bins.columns["spent"]
    values = np.concatenate([np.asarray(r["amount"]) / (1 + np.asarray(r["visits"])) for r in rows])
    wanted = np.bincount(bins.index(values), minlength=bins.size)
    assert counts.sum() == 1_001_000 and (counts >= wanted).all()
    early, _ = jobs.counts("spent", end=START + 10 * DAY)
    assert np.array_equal(early, wanted)
    assert again < cost / 10
