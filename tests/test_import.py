"""What is imported is what would have been recorded: the same tiles, the same outcomes, once."""

import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from barograph import Monitor, Reference, checks, naming, serve, versions
from barograph.cli import app
from barograph.config import Config, ModelConfig
from barograph.evaluate import evaluate
from barograph.history import AlreadyImported, Importer, Named
from barograph.increments import increments
from barograph.known import References
from barograph.labels.join import Join
from barograph.labels.state import JoinState
from barograph.ledger import Ledger
from barograph.logs import Feedback, FeedbackLog, Log
from barograph.outcomes import OutcomeBins
from barograph.sources import StoredReferences
from barograph.tables import ImportFailed, located
from barograph.tiles import DAY, HOUR, MINUTE, Tiles

START = 1_380_499_200  # 2013-09-30T00:00:00Z
NOW = START + 9 * DAY
EARLIEST = NOW - 3 * DAY - 4 * HOUR  # rows of four hours are kept by hours, those after them by minutes
METRICS = (
    naming.PREDICTIONS.name, naming.EMPTY.name, naming.COLUMN_VALUES.name, naming.VIOLATIONS.name,
    naming.OUTCOMES, naming.LOGGED, naming.LABEL_AGES,
)  # fmt: skip
FEATURES = ("amount", "visits", "country", "late_at")
NAMED = Named(time="at", score="p", prediction="answer", label="y", label_time="told_at", id="id", segments=("country", "site"))  # fmt: skip


class Hands:
    simulated = True

    def __init__(self, time=START):
        self.time = time

    def now(self):
        return self.time


def reference(task, rows=600):
    rng = np.random.default_rng(3)
    score = rng.beta(2, 5, rows)
    answer = {
        "binary": score > 0.4,
        "multiclass": rng.choice(["cat", "dog", "cow"], rows).tolist(),
        "regression": rng.normal(20, 5, rows),
    }[task]
    frame = {
        "amount": rng.lognormal(3, 0.5, rows),
        "visits": rng.integers(0, 9, rows),
        "country": rng.choice(["DE", "FR", "PL"], rows).tolist(),
        "late_at": (np.datetime64("2013-09-01") + rng.integers(0, 86_400 * 20, rows).astype("m8[s]")).astype("M8[us]"),
        "p": score, "answer": answer, "at": START - 5 * DAY + np.sort(rng.uniform(0, 4 * DAY, rows)),
    }  # fmt: skip
    return Reference.fit(
        frame, task=task, features=FEATURES, score=None if task == "regression" else "p", prediction="answer",
        threshold=0.4 if task == "binary" else None, time="at", segments=["country"],
    )  # fmt: skip


REFERENCES = {task: reference(task) for task in ("binary", "multiclass", "regression")}


def recorded(rows, frozen, place, *, model="m", step=MINUTE, now=NOW):
    """The tiles after a service has recorded these rows, one by one at their times, logged them, been told, and joined.

    It is read every `step`, of which none holds more than one tile.
    """
    clock, tiles = Hands(), Tiles()
    tiles.expire(now)
    timed = sorted((r for r in rows if r["at"] is not None), key=lambda r: r["at"])
    by_step, features = {}, frozen.schema.features
    for row in timed:
        by_step.setdefault(int(row["at"] // step) * step, []).append(row)
    with Monitor(
        model,
        version="3",
        reference=frozen,
        clock=clock,
        log=place / "log",
        directory=place,
        flush_interval=3600,
    ) as monitor:
        for start, mine in by_step.items():
            clock.time = start + step - MINUTE
            before = monitor.snapshot()
            clock.time = start + step
            for row in mine:
                monitor.record(
                    {name: row[name] for name in features}, score=row["p"], prediction=row["answer"], id=row["id"],
                    time=row["at"], segments={"site": row["site"]},
                )  # fmt: skip
            tiles.add(increments(before, monitor.snapshot()))
    logs = Log(place / "log")
    with FeedbackLog(logs, clock=clock) as feedback:
        for row in timed:
            if row["y"] is not None:
                clock.time = now if row["told_at"] is None else row["told_at"]
                feedback.append([Feedback(model, row["id"], row["y"], clock.time)])
    bins = OutcomeBins.of(frozen)
    Join(tiles, logs, JoinState(tiles, place / "runs"), lambda _: lambda version, over: bins).run(model)
    tiles.roll_up(now)
    return tiles


ANSWER = {"binary": pa.bool_(), "multiclass": pa.string(), "regression": pa.float64()}


def table(rows, task="binary"):
    types = {
        "id": pa.string(), "at": pa.float64(), "amount": pa.float64(), "visits": pa.float64(), "country": pa.string(),
        "late_at": pa.timestamp("us", "UTC"), "site": pa.string(), "p": pa.float64(),
        "answer": ANSWER[task], "y": pa.string() if task == "multiclass" else pa.float64(),
        "told_at": pa.float64(),
    }  # fmt: skip
    return pa.table({name: pa.array([r[name] for r in rows], kind) for name, kind in types.items()})


def imported(
    rows, frozen, place, *, named=NAMED, batch=50_000, kind="parquet", tiles=None, now=NOW, name="rows"
):
    """The tiles after the same rows have been imported from a file."""
    path = place / f"{name}.{kind}"
    given = rows if isinstance(rows, pa.Table) else table(rows, frozen.task)
    if kind == "parquet":
        pq.write_table(given, path)
    else:
        pyarrow.csv.write_csv(given, path)
    if tiles is None:
        tiles = Tiles()
    importer = Importer(
        tiles, place / "join", "m", version="3", reference=frozen, named=named, now=now, rows=batch
    )
    (report,) = [importer.add(source) for source in located(str(path))]
    importer.finish()
    return tiles, report


def counted(tiles, step, start, now=NOW, *, without=()):
    """By series and step what is counted, as far as anything is."""
    found = {}
    for metric in METRICS:
        for series in tiles.series(metric) if metric not in without else ():
            windows = tiles.windows(series, start, now, step)
            for i in np.flatnonzero(windows.counts.any(axis=1) | windows.sums.any(axis=1)).tolist():
                found[(series, int(windows.starts[i]))] = windows.counts[i], windows.sums[i]
    return found


def same(one, other, *, without=(), start=START - DAY, now=NOW):
    """The same counts in every hour, and in every minute as far back as these are kept; sums to the rounding."""
    for step, first in ((HOUR, start), (MINUTE, one.kept_from(MINUTE))):
        a, b = (counted(tiles, step, first, now, without=without) for tiles in (one, other))
        assert a.keys() == b.keys()
        for key in a:
            assert np.array_equal(a[key][0], b[key][0]), key
            assert np.allclose(a[key][1], b[key][1], rtol=1e-9, atol=1e-9), key


maybe = st.none() | st.floats(allow_nan=False, width=32)
minutes = st.sampled_from([EARLIEST + 60 * m for m in (0, 1, 61, 239, 240, 300)])
moments = st.builds(lambda minute, quarter: minute + 15 * quarter + 0.25, minutes, st.integers(0, 3))
ANSWERS = {
    "binary": (st.none() | st.booleans(), st.sampled_from([None, 0.0, 1.0])),
    "multiclass": (
        st.sampled_from([None, "cat", "dog", "ox", ""]),
        st.sampled_from([None, "cat", "cow", "new"]),
    ),
    "regression": (st.none() | st.floats(-50, 50, width=32), st.none() | st.floats(-50, 50, width=32)),
}


@st.composite
def some_rows(draw, task):
    answer, label = ANSWERS[task]
    rows = draw(st.lists(st.fixed_dictionaries({
        "at": st.none() | moments if draw(st.booleans()) else moments,
        "amount": maybe,
        "visits": st.sampled_from([None, 0.0, 3.0, 8.0, 2.5, 1e9]),
        "country": st.sampled_from([None, "DE", "FR", "XX", ""]),
        "late_at": st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
        "site": st.sampled_from([None, "a", "b"]),
        "p": st.none() | st.floats(0, 1, width=32),
        "answer": answer,
        "y": label,
        "told_at": st.integers(60, 3 * DAY),
    }), min_size=1, max_size=12))  # fmt: skip
    rows[0]["at"] = EARLIEST + 600.25
    for i, row in enumerate(rows):
        row["id"] = f"i{i}"
        row["told_at"] = (row["at"] or START) + row["told_at"]
    return draw(st.permutations(rows))


UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)  # to shrink takes minutes, and the rows are few


def check(data, task):
    rows, frozen = data.draw(some_rows(task)), REFERENCES[task]
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("live", "import")]
        for place in places:
            place.mkdir()
        tiles, report = imported(rows, frozen, places[1], batch=data.draw(st.sampled_from([1, 3, 50_000])))
        with recorded(rows, frozen, places[0]) as live, tiles:
            same(live, tiles)
        timeless = sum(row["at"] is None for row in rows)
        assert (report.counted, report.timeless) == (len(rows) - timeless, timeless)


@pytest.mark.parametrize("task", REFERENCES)
@settings(max_examples=3, phases=UNSHRUNK)
@given(data=st.data())
def test_an_import_is_what_recording_the_same_rows_would_have_been(task, data):
    check(data, task)


@pytest.mark.slow
@pytest.mark.parametrize("task", REFERENCES)
@settings(max_examples=40, phases=UNSHRUNK)
@given(data=st.data())
def test_whatever_the_rows_an_import_is_what_recording_them_would_have_been(task, data):
    check(data, task)


def rows_of(n, *, seed=0, task="binary"):
    """Plain rows, as a table of them might hold, without oddities."""
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"i{i}", "at": EARLIEST + float(rng.integers(0, 6 * HOUR)), "amount": float(rng.lognormal(3, 0.5)),
            "visits": float(rng.integers(0, 9)), "country": str(rng.choice(["DE", "FR", "XX"])),
            "late_at": datetime(2013, 9, 2, int(rng.integers(0, 24)), tzinfo=UTC), "site": str(rng.choice(["a", "b"])),
            "p": float(rng.beta(2, 5)), "answer": bool(rng.random() < 0.3),
            "y": None if rng.random() < 0.2 else float(rng.random() < 0.3), "told_at": START + 8 * DAY + float(i),
        }
        for i in range(n)
    ]  # fmt: skip


BINARY = REFERENCES["binary"]


def test_a_csv_file_without_ids_and_without_times_of_labels_counts_alike(tmp_path):
    rows = rows_of(20)
    for place in ("live", "csv"):
        (tmp_path / place).mkdir()
    named = Named(time="at", score="p", prediction="answer", label="y", segments=("country", "site"))
    tiles, report = imported(rows, BINARY, tmp_path / "csv", named=named, kind="csv", batch=7)
    with tiles, recorded(rows, BINARY, tmp_path / "live") as live:
        same(live, tiles, without={naming.LABEL_AGES})
        assert tiles.series(naming.LABEL_AGES) == []
    assert report.labelled == sum(row["y"] is not None for row in rows)
    assert list((tmp_path / "csv" / "join").glob("*")) == []  # nothing can ask for them


def test_a_quiet_hour_is_no_gap_and_the_version_was_seen_in_its_own_minutes(tmp_path):
    rows = [
        {**rows_of(1)[0], "id": str(i), "at": START + hours * HOUR + 90.0} for i, hours in enumerate((1, 9))
    ]
    tiles, _ = imported(rows, BINARY, tmp_path)
    with tiles:
        (predictions,) = tiles.series(naming.PREDICTIONS.name)
        found = tiles.windows(predictions, START, START + 12 * HOUR, HOUR)
        assert found.present.tolist() == [False] + [True] * 9 + [False] * 2
        assert tiles.seen(predictions) == (START + HOUR + MINUTE, START + 9 * HOUR + MINUTE)


def test_a_file_that_was_imported_does_not_count_again_whatever_its_name(tmp_path):
    rows, named = rows_of(40), Named(time="at", score="p", label="y")
    tiles, _ = imported(rows, BINARY, tmp_path, named=named)
    with tiles:
        before = counted(tiles, HOUR, START)
        with pytest.raises(
            AlreadyImported, match=r"'.*other.parquet' was imported as '.*rows.parquet' at 2013.*40 rows"
        ):
            imported(rows, BINARY, tmp_path, named=named, tiles=tiles, name="other")
        assert [a[0].tolist() for a in counted(tiles, HOUR, START).values()] == [
            a[0].tolist() for a in before.values()
        ]
        imported(rows_of(40, seed=1), BINARY, tmp_path, named=named, tiles=tiles)  # other rows do


def test_with_ids_a_file_that_has_grown_counts_what_is_new_and_takes_labels_that_have_come(tmp_path):
    rows = rows_of(60)
    early = [{**row, "y": None if i % 3 else row["y"]} for i, row in enumerate(rows[:40])]
    tiles, first = imported(early, BINARY, tmp_path)
    _, second = imported(rows, BINARY, tmp_path, tiles=tiles)
    _, third = imported(rows, BINARY, tmp_path, tiles=tiles)
    (tmp_path / "once").mkdir()
    once, _ = imported(rows, BINARY, tmp_path / "once")
    with tiles, once:
        same(once, tiles)
    assert [(r.counted, r.known) for r in (first, second, third)] == [(40, 0), (20, 40), (0, 60)]
    assert (
        first.labelled + second.labelled == sum(row["y"] is not None for row in rows) and not third.labelled
    )


def test_a_label_that_changed_corrects_its_cohort_and_one_that_is_told_later_finds_its_prediction(tmp_path):
    rows = rows_of(30)
    tiles, _ = imported(
        [{**row, "y": None if i < 5 else 0.0} for i, row in enumerate(rows)], BINARY, tmp_path
    )
    changed = [
        {**row, "y": None if i < 5 else float(i < 15), "told_at": NOW - 60.0} for i, row in enumerate(rows)
    ]
    _, report = imported(changed, BINARY, tmp_path, tiles=tiles)
    assert (report.counted, report.corrected) == (0, 10)
    logs, bins = Log(tmp_path / "log"), OutcomeBins.of(BINARY)
    with FeedbackLog(logs, clock=Hands(NOW - 30)) as feedback:
        feedback.append([Feedback("m", row["id"], 1.0, None) for row in rows[:5]])
    with tiles:
        Join(tiles, logs, JoinState(tiles, tmp_path / "join"), lambda _: lambda version, over: bins).run("m")
        final = [{**row, "y": float(i < 15)} for i, row in enumerate(rows)]
        (tmp_path / "once").mkdir()
        once, _ = imported(final, BINARY, tmp_path / "once")
        with once:
            same(once, tiles, without={naming.LABEL_AGES})


def test_a_label_of_a_prediction_over_other_bins_is_counted_over_those(tmp_path):
    rows = rows_of(20)
    tiles, _ = imported([{**row, "y": None} for row in rows], BINARY, tmp_path)
    other = reference("binary", rows=300)
    with tiles:
        bins_of = serve.outcome_bins(tiles, References(StoredReferences(tiles), Config()), "m")
        pq.write_table(table(rows), tmp_path / "rows.parquet")
        importer = Importer(
            tiles, tmp_path / "join", "m", version="4", reference=other, named=NAMED, bins_of=bins_of, now=NOW
        )
        assert importer.add(source_of(tmp_path)).known == 20 and other.bins.id != BINARY.bins.id
        (outcomes,) = tiles.series(naming.OUTCOMES, segment="")
        assert (
            outcomes.label("bins") == OutcomeBins.of(BINARY).id
            and tiles.window(outcomes, START, NOW).counts.any()
        )


def test_an_id_that_comes_twice_counts_once(tmp_path):
    rows = rows_of(20)
    tiles, report = imported([*rows, *rows[:7]], BINARY, tmp_path, batch=6)
    with tiles:
        assert (report.counted, report.known) == (20, 7)
        (predictions,) = tiles.series(naming.PREDICTIONS.name)
        assert tiles.window(predictions, START, NOW).counts.tolist() == [20]


def test_what_cannot_be_counted_is_told(tmp_path):
    rows = rows_of(6)
    table_ = table([
        rows[0], {**rows[1], "at": None}, {**rows[2], "at": 1.38e12}, {**rows[3], "id": None},
        {**rows[4], "at": START - 900.0 * DAY}, {**rows[5], "y": 7.0},
    ])  # fmt: skip
    tiles, report = imported(table_, BINARY, tmp_path)
    tiles.close()
    assert (report.counted, report.timeless, report.nameless, report.forgotten, report.unreadable) == (
        2,
        2,
        1,
        1,
        1,
    )
    assert report.told("m").splitlines()[1:] == [
        "2 rows left out: no time (epoch seconds, or ISO 8601)",
        "1 row left out: no id",
        "1 row left out: older than what is kept",
        "1 label left out: not of the model's task",
    ]


def test_versions_come_from_a_column_and_without_a_reference_scores_count(tmp_path):
    rows = table(rows_of(30))
    rows = rows.append_column("made_by", pa.array(["7", "8", None] * 10))
    pq.write_table(rows, tmp_path / "rows.parquet")
    with Tiles() as tiles:
        importer = Importer(tiles, tmp_path / "join", "m", version="made_by", named=NAMED, now=NOW)
        (report,) = [importer.add(source) for source in located(str(tmp_path / "rows.parquet"))]
        assert (report.counted, report.versionless) == (20, 10)
        found = {
            s.label("version"): tiles.window(s, START, NOW).counts.tolist()
            for s in tiles.series(naming.PREDICTIONS.name)
        }
        assert found == {"7": [10], "8": [10]}


@pytest.mark.parametrize(
    ("named", "options", "said"),
    [
        (Named(time="when"), {}, "--time: there is no column 'when'; there are id, at, amount"),
        (Named(time="at", score="nope"), {}, "--score: there is no column 'nope'"),
        (Named(time="at", label_time="nope"), {}, "--label-time: there is no column 'nope'"),
        (Named(time="country"), {}, "holds nothing to count: 10 rows left out: no time"),
        (
            Named(time="at"),
            {"now": START + DAY},
            "--time: 'at' goes to 2013-10-0.*times without a zone are UTC",
        ),
        (Named(time="at"), {"now": NOW + 900 * DAY}, "--clock: it is 2016.*longer ago than anything is kept"),
        (Named(time="at"), {"version": ""}, "--version: '' is no name"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy_and_nothing_is_counted(tmp_path, named, options, said):
    pq.write_table(table(rows_of(10)), tmp_path / "rows.parquet")
    with Tiles() as tiles:

        def add(**given):
            return Importer(tiles, tmp_path / "join", "m", reference=BINARY, **given).add(source_of(tmp_path))

        with pytest.raises(ValueError, match=said):
            add(named=named, **{"now": NOW, **options})
        assert tiles.series() == []
        assert add(named=Named(time="at"), now=NOW).counted == 10


def source_of(place):
    (source,) = located(str(place / "rows.parquet"))
    return source


def test_rows_of_another_model_are_refused(tmp_path):
    pq.write_table(pa.table({"at": [START + 1.0], "x": [1.0]}), tmp_path / "rows.parquet")
    with (
        Tiles() as tiles,
        pytest.raises(ImportFailed, match="--reference: none of its features .amount, visits"),
    ):
        Importer(tiles, tmp_path / "j", "m", reference=BINARY, named=Named(time="at"), now=NOW).add(
            source_of(tmp_path)
        )


def test_a_feature_that_the_rows_lack_counts_as_missing_and_is_told(tmp_path):
    rows = table(rows_of(9)).drop_columns(["visits", "p"])
    tiles, report = imported(rows, BINARY, tmp_path, named=Named(time="at"))
    with tiles:
        assert report.told("m").splitlines()[1] == "there is no column of visits, score: counted as missing"
        (violations,) = tiles.series(naming.VIOLATIONS.name)
        assert violations.label("column") == "visits" and tiles.window(
            violations, START, NOW
        ).counts.tolist() == [9]


def test_a_ranking_model_has_no_outcomes_and_its_files_are_known_by_content(tmp_path):
    frozen = Reference.fit({"amount": [1.0, 2.0, 3.0], "p": [0.1, 0.2, 0.9]}, task="ranking", score="p")
    rows, named = table(rows_of(9)), Named(time="at", id="id", label="y")
    tiles, report = imported(rows, frozen, tmp_path, named=named)
    assert report.counted == 9 and not tiles.series(naming.OUTCOMES)
    with tiles, pytest.raises(AlreadyImported):
        imported(rows, frozen, tmp_path, named=named, tiles=tiles)


def test_a_query_without_ids_is_refused_for_it_may_answer_otherwise_the_next_time(tmp_path):
    (source,) = located("SELECT 1.0 AS at", sql=True)
    with Tiles() as tiles, pytest.raises(ImportFailed, match="--id: is not given"):
        Importer(tiles, tmp_path / "j", "m", named=Named(time="at"), now=NOW).add(source)


def test_a_clock_by_which_all_in_the_store_would_be_forgotten_is_refused(tmp_path):
    tiles, _ = imported(rows_of(5), BINARY, tmp_path)
    later = [{**row, "at": row["at"] + 900 * DAY, "id": f"l{row['id']}"} for row in rows_of(5)]
    with tiles, pytest.raises(ImportFailed, match="--clock: it is 2016.*would be forgotten"):
        imported(later, BINARY, tmp_path, tiles=tiles, now=NOW + 900 * DAY)


KILLED = """
import os, signal, sys
from pathlib import Path
from barograph import Reference
from barograph.history import Importer, Named
from barograph.tables import located
from barograph.tiles import Tiles

def run(place, id, now):
    named, steps = Named(time="at", score="p", prediction="answer", label="y", label_time="told_at", id=id), iter(range(9))
    importer = Importer(Tiles(place / "tiles.duckdb"), place / "join", "m", version="3", named=named, now=now, rows=12,
                        reference=Reference.load("reference.json"))
    for source in located("rows.parquet"):
        importer.add(source, lambda rows: next(steps) < 3 or os.kill(os.getpid(), signal.SIGKILL))

for id in ("id", None):
    child = os.fork()
    if not child:
        run(Path(str(id)), id, float(sys.argv[1]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_an_import_that_is_killed_counts_nothing_twice(tmp_path):
    rows = rows_of(120)
    BINARY.save(tmp_path / "reference.json")
    pq.write_table(table(rows), tmp_path / "rows.parquet")
    for place in ("id", "None"):
        (tmp_path / place).mkdir()
    command = [sys.executable, "-c", KILLED, str(NOW)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * 2, done.stderr
    named = Named(time="at", score="p", prediction="answer", label="y", label_time="told_at", id="id")
    once, _ = imported(rows, BINARY, tmp_path, named=named)
    with once:
        for column, counted_before in (("id", 4 * 12), (None, 0)):
            place = tmp_path / str(column)
            named = Named(
                time="at", score="p", prediction="answer", label="y", label_time="told_at", id=column
            )
            with Tiles(place / "tiles.duckdb") as tiles:
                importer = Importer(
                    tiles,
                    place / "join",
                    "m",
                    version="3",
                    reference=BINARY,
                    named=replace(named, id=column),
                    now=NOW,
                )
                report = importer.add(source_of(tmp_path))
                importer.finish()
                assert (report.counted, report.known) == (120 - counted_before, counted_before)
                same(once, tiles)


def loans(data, rows):
    folder = data / "car-loan"
    own, target = (
        pyarrow.csv.read_csv(folder / f"synthetic_car_loan_{name}.csv")
        for name in ("analysis", "analysis_target")
    )
    joined = own.join(target, "id").sort_by("timestamp").slice(0, rows)
    names = {"timestamp": "at", "y_pred_proba": "p", "y_pred": "answer", "repaid": "y"}
    return joined.rename_columns([names.get(name, name) for name in joined.column_names])


def test_car_loans_count_as_if_they_had_been_recorded_and_are_judged(data, tmp_path):
    own = pyarrow.csv.read_csv(data / "car-loan" / "synthetic_car_loan_reference.csv").slice(0, 8_000)
    frozen = Reference.fit(
        own.drop_columns(["id"]), task="binary", score="y_pred_proba", prediction="y_pred", threshold=0.5, label="repaid",
        time="timestamp",
    )  # fmt: skip
    rows = loans(data, 600)
    start, now = 1_540_857_600, 1_540_857_600 + 10 * DAY  # 2018-10-30
    plain = [
        {
            **row,
            "id": str(row["id"]),
            "at": row["at"].replace(tzinfo=UTC).timestamp(),
            "site": None,
            "told_at": None,
        }
        for row in rows.to_pylist()
    ]
    for place in ("live", "import"):
        (tmp_path / place).mkdir()
    named = Named(time="at", score="p", prediction="answer", label="y", id="id")
    tiles, report = imported(rows, frozen, tmp_path / "import", named=named, batch=500, now=now)
    with tiles, recorded(plain, frozen, tmp_path / "live", step=HOUR, now=now) as live:
        same(live, tiles, without={naming.LABEL_AGES}, start=start, now=now)
        assert report.labelled == 600
        ledger = Ledger(tiles)
        evaluate(tiles, ledger, References(StoredReferences(tiles), Config()), Config(), now)
        (columns,) = tiles.series(naming.COLUMN_VALUES.name)
        assert ledger.judged_until(counted_as(columns)) > start + 2 * DAY


def counted_as(series):
    from barograph.ledger import Counted

    return Counted(*(series.label(name) for name in ("model", "version", "bins")))


def test_a_model_that_was_only_imported_is_not_missed_when_its_rows_end(tmp_path):
    n, start = 28 * 24 * 30, NOW - 28 * DAY
    rows = pa.table({"at": start + np.arange(n) * 120.0, "p": np.tile([0.1, 0.6], n // 2)})
    named = Named(time="at", score="p")
    with Tiles() as tiles:
        importer = Importer(tiles, tmp_path / "join", "m", named=named, now=NOW)
        pq.write_table(rows, tmp_path / "rows.parquet")
        (source,) = located(str(tmp_path / "rows.parquet"))
        importer.add(source)
        importer.finish()
        ledger, references = Ledger(tiles), References(StoredReferences(tiles), Config())
        (version,) = versions.deployed(tiles)
        for hours in (1, 3):
            evaluate(tiles, ledger, references, Config(), NOW + hours * HOUR)
            found = checks.Counters(tiles, NOW + hours * HOUR)
            look = checks.Look(tiles, found, version, version.first, ModelConfig())
            assert (
                look.usual(naming.PREDICTIONS, version.first).min() > 14
            )  # so many were usual, and none came
        assert [alert.condition.rule for alert in ledger.alerts()] == []


# The command line.


def run(*arguments):
    done = CliRunner().invoke(app, ["import", *map(str, arguments)])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def given_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    BINARY.save("r.json")
    for name, seed in (("a", 0), ("b", 1)):
        pq.write_table(table(rows_of(9, seed=seed)).drop_columns(["id"]), f"{name}.parquet")
    return ["--model", "m", "--reference", "r.json", "--label", "y", "--clock", "2013-10-09T00:00:00Z"]


def test_the_command_imports_each_file_once_and_serve_knows_what_it_made(given_rows):
    code, said = run("a.parquet", *given_rows)
    assert code == 0 and "9 predictions of m imported, from 2013-10-05 2" in said
    code, said = run("*.parquet", *given_rows)
    assert (
        code == 0
        and "'a.parquet' was imported as 'a.parquet'" in said
        and "9 predictions of m imported" in said
    )
    code, said = run("*.parquet", *given_rows)
    assert code == 0 and "predictions of m imported" not in said
    with Tiles(".barograph/tiles.duckdb") as tiles:
        (columns,) = tiles.series(naming.COLUMN_VALUES.name)
        assert columns.label("bins") == BINARY.bins.id and BINARY.id in StoredReferences(tiles)


@pytest.mark.parametrize("command", [["import"], ["labels", "import"]])
def test_the_commands_explain_themselves(command):
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0 and "--attach-variable" in done.output and len(done.output) > 1_000


def test_while_serve_runs_the_command_says_what_to_do(given_rows, monkeypatch):
    monkeypatch.setattr(serve.Address, "of", lambda _: serve.Address("http://127.0.0.1:8700", "t"))
    code, said = run("a.parquet", *given_rows)
    assert (
        code == 2
        and "is open in barograph serve, at http://127.0.0.1:8700; stop it, import, and start it again"
        in said
    )
    assert not Path(".barograph").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.parquet"], "'gone.parquet' cannot be read: there is no such file"),
        (["gone-*.parquet"], "'gone-*.parquet' cannot be read: no file is of that name"),
        (["a.xlsx"], "ends with none of .csv"),
        (["a.parquet", "--segment", "nope"], "--segment: there is no column 'nope'"),
        (["a.parquet", "--config", "gone.toml"], "--config: cannot read 'gone.toml'"),
        (["a.parquet", "--attach", "x", "--attach-variable", "Y"], "--attach is given too"),
        (["a.parquet", "--clock", "then"], "clock: cannot read 'then'"),
    ],
)
def test_wrong_use_of_the_command_ends_with_2_and_the_remedy(given_rows, arguments, said):
    code, found = run(*arguments, *given_rows[:-2], *(given_rows[-2:] if "--clock" not in arguments else ()))
    assert code == 2 and said in found
