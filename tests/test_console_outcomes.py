"""Outcomes on the pages: what labels say, through the real log and the real join, against scikit-learn on the raw rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error, precision_score, recall_score, roc_auc_score

from barograph import Monitor, Reference
from barograph.config import Config
from barograph.console import outcomes, pages
from barograph.console.outcomes import Outcomes, together
from barograph.console.state import Span
from barograph.estimate import Calibrated, estimate
from barograph.labels.join import Join
from barograph.labels.state import JoinState
from barograph.logs import Log
from barograph.naming import LEARNING, NO_DATA, OK, SCORE
from barograph.outcomes import OutcomeBins, OutcomeProfile
from barograph.performance import METRICS, metrics
from barograph.sentences import NBSP
from world import DAY, START, World, draw, reference

HOUR, ROWS = 3600, 80


class Labelled(World):
    """A service that logs, people who tell it what became true, and the join."""

    def __init__(self, place, ref=None, *, logs=True, reads=True):
        super().__init__(place / "counters", Config(log=str(place / "log") if reads else None), ref)
        self.monitor.close()
        self.monitor = Monitor(
            "risk", version="1", reference=self.reference, directory=place / "counters", clock=self.clock,
            flush_interval=3600, strict=True, log=place / "log" if logs else None,
        )  # fmt: skip
        self.before = self.monitor.snapshot()
        self.joins = Join(
            self.tiles, Log(place / "log"), JoinState(self.tiles, place / "runs"),
            lambda model: lambda version, bins: OutcomeBins.of(self.reference),
        )  # fmt: skip
        self.made = 0

    def predict(self, rows, seconds=HOUR, **columns):
        """Rows of one hour; their ids."""
        ids = [f"p{self.made + i}" for i in range(rows)]
        self.made += rows
        self.monitor.record(draw(rows)[0], id=ids, **columns)
        self.monitor.flush()
        self.tick(seconds)
        return ids

    def tell(self, ids, labels):
        values = [v if isinstance(v, str) else float(v) for v in np.asarray(labels).tolist()]
        self.monitor.store_feedback([(i, v, None, None) for i, v in zip(ids, values, strict=True)])

    def join(self):
        self.joins.run("risk")

    def view(self, name="24h", back=0.0):
        now = self.clock.time
        return self.state().view("risk", Span(name, now, now - back if back else None))


def hour_of(world, rows, seed, seconds=HOUR):
    """An hour of scored predictions, and what became true of them: as often as the score says."""
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 4, rows)
    return world.predict(rows, seconds, score=score), score, rng.random(rows) < score


def usual():
    """A reference whose scores are spread as those to come."""
    rng = np.random.default_rng(2)
    times = START - 14 * DAY + np.linspace(0, 14 * DAY - 1, 30_000)
    frame = {**draw(30_000, rng)[0], "p": rng.beta(2, 4, 30_000), "t": times}
    return Reference.fit(frame, task="binary", score="p", threshold=0.5, time="t")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Eleven days. Of the last one each label comes two hours after its prediction, so that two hours have none yet."""
    world = Labelled(tmp_path_factory.mktemp("told"), usual())
    rng, rows, waiting = np.random.default_rng(11), [], []
    for _ in range(10):
        score = rng.beta(2, 4, 24 * ROWS)
        label = rng.random(len(score)) < score
        times = world.clock.time + np.arange(len(score)) * (HOUR / ROWS)
        world.tell(world.predict(len(score), DAY, score=score, time=times), label)
        rows += zip(score.reshape(24, ROWS), label.reshape(24, ROWS), strict=True)
    for hour in range(24):
        ids, score, label = hour_of(world, ROWS, hour)
        waiting.append((ids, label))
        rows.append((score, label))
        if hour >= 2:
            world.tell(*waiting.pop(0))
    world.join()
    world.tiles.roll_up(world.clock.time)
    world.rows = rows
    yield world
    world.close()


def raw(world, first, last):
    """Scores and labels of some hours."""
    return (np.concatenate(column) for column in zip(*world.rows[first:last], strict=True))


def drawn(view):
    return {panel["id"]: panel for panel in outcomes.section(view)["panels"]}


def test_metrics_of_a_span_are_scikit_learns_on_the_raw_rows(told):
    score, label = raw(told, -24, -2)
    panels = drawn(told.view())
    assert list(panels) == ["roc_auc", "precision", "recall", "labels", "ages"]
    answer = score >= 0.5
    found = Outcomes(told.view(), OutcomeBins.of(told.reference))
    exact = metrics(found.total)
    assert exact["precision"].value == pytest.approx(precision_score(label, answer), abs=1e-12)
    assert exact["recall"].value == pytest.approx(recall_score(label, answer), abs=1e-12)
    assert exact["roc_auc"].value == pytest.approx(roc_auc_score(label, score), abs=1e-3)
    for name in ("precision", "recall", "roc_auc"):
        assert panels[name]["value"] == pytest.approx(exact[name].value, abs=0.005)
    assert found.rows == 22 * ROWS and found.logged == 24 * ROWS


@pytest.mark.parametrize(("span", "says"), [("24h", "each point over 3 h"), ("7d", "by 3 h of prediction")])
def test_each_point_is_scikit_learns_on_the_rows_of_its_window(told, span, says):
    panels, found = drawn(told.view(span)), Outcomes(told.view(span), OutcomeBins.of(told.reference))
    hours, hop = found.steps.width // HOUR, found.steps.step // HOUR
    assert panels["roc_auc"]["name"] == f"ROC AUC, {says}"
    compared = 0
    for back in range(1, 15):
        last = 11 * 24 - back * hop - 2
        last -= last % hop
        score, label = raw(told, last - hours, last)
        place = panels["recall"]["t"].index(START + last * HOUR)
        assert panels["recall"]["n"][place] == len(label)
        wanted = {
            "recall": recall_score(label, score >= 0.5),
            "precision": precision_score(label, score >= 0.5),
            "roc_auc": roc_auc_score(label, score),
        }
        for name, value in wanted.items():
            y, band = panels[name]["series"][0]["y"][place], panels[name]["bands"][0]
            if label.sum() < 50:
                assert y is None and band["lo"][place] is None
                continue
            compared += 1
            assert y == pytest.approx(value, abs=1e-3 if name == "roc_auc" else 1e-6)
            assert band["lo"][place] < y < band["hi"][place]
    assert compared > 20


def test_points_whose_labels_are_still_arriving_are_open(told):
    found = Outcomes(told.view(), OutcomeBins.of(told.reference))
    series = drawn(told.view())["roc_auc"]["series"][0]
    width = found.steps.width // HOUR
    share = [1 - max(0, 2 - k) / width for k in range(2, -1, -1)]  # of the last three points
    assert series["open"][-3:] == [s < 0.9 for s in share]
    assert "Open circles" in drawn(told.view())["roc_auc"]["note"]
    assert series["y"][-2] is not None


def test_received_labels_are_a_share_of_the_predictions_that_were_logged(told):
    panel = drawn(told.view())["labels"]
    assert panel["series"][0]["y"][-4:] == [1.0, 1.0, 0.0, 0.0]
    assert panel["value"] == pytest.approx(22 / 24, abs=1e-5) and panel["n"][-1] == ROWS
    assert panel["text"] == "of 1,920 predictions that can have one"


def test_how_fast_labels_come_is_told_to_within_the_ages_that_are_counted(told):
    panel = drawn(told.view())["ages"]
    assert 1.4 * HOUR < panel["value"] <= 3 * HOUR and panel["unit"] == "seconds"
    assert panel["text"].startswith("median, 90 % within 2 h")
    (line,), (band,) = panel["series"], panel["bands"]
    for low, middle, high in zip(band["lo"], line["y"], band["hi"], strict=True):
        assert middle is None or low == middle < high


def test_the_estimate_is_what_the_days_before_the_span_promise(told):
    view = told.view()
    found = Outcomes(view, OutcomeBins.of(told.reference))
    bins, days = found.bins, []
    for day in range(10):
        score, label = raw(told, day * 24, day * 24 + 24)
        days.append(OutcomeProfile.of(bins, label * 1.0, score, (score >= 0.5) * 1.0).scores)
    learnt = Calibrated.fit(bins, np.stack(days))
    panels = drawn(view)
    width = found.steps.width // HOUR
    score, _ = raw(told, 11 * 24 - width, 11 * 24)
    live = np.bincount(bins.score.index(score), minlength=bins.slots)
    for name in ("roc_auc", "precision", "recall"):
        confirmed, *_, estimated = panels[name]["series"]
        assert (confirmed["role"], estimated["role"]) == ("live", "estimate")
        wanted = estimate(learnt, live)[name]
        assert estimated["y"][-1] == pytest.approx(wanted.value, abs=1e-6)
        band = panels[name]["bands"][-1]
        assert band["lo"][-1] == pytest.approx(wanted.low, abs=1e-6) and band["role"] == "estimate"
        note = panels[name]["note"]
        assert "if they still mean what the labels of 2013-09-30 to 2013-10-09 say" in note
        assert "Confirmed values in its band: " in note


def test_no_estimate_without_labels_before_the_span(told):
    assert "estimate" not in {one["role"] for one in drawn(told.view("30d"))["roc_auc"]["series"]}


def test_the_summary_and_the_fleet_say_the_same(told):
    section, cell = outcomes.section(told.view()), outcomes.cell(told.view())
    figure = sentence_figure(section["summary"], "ROC AUC ")
    assert section["summary"].endswith(f" on 92{NBSP}% of the labels of the last 24 h")
    assert cell == {"text": f"AUC {figure}", "sub": f"92{NBSP}% of labels, confirmed", "status": OK}
    assert section["status"] == OK and section["judged"] is False and section["state"] is None


def sentence_figure(text, title):
    assert text.startswith(title)
    return text.removeprefix(title).split(" ")[0]


def test_early_labels_are_said_to_be_early(told):
    section, cell = outcomes.section(told.view("6h")), outcomes.cell(told.view("6h"))
    assert cell["sub"] == f"67{NBSP}% of labels so far" and cell["status"] == LEARNING
    assert f" so far, on 67{NBSP}% of the labels of the last 6 h" in section["summary"]


def test_a_span_with_few_early_labels_waits_for_more(tmp_path):
    world = Labelled(tmp_path)
    ids, _, label = hour_of(world, 80, 1)
    world.tell(ids[:20], label[:20])
    world.join()
    cell, section = outcomes.cell(world.view("1h")), outcomes.section(world.view("1h"))
    assert cell == {"text": "Labels still arriving", "sub": f"25{NBSP}% of labels so far", "status": LEARNING}
    assert section["summary"] == f"Labels still arriving: 25{NBSP}% of those of the last hour are there"
    assert section["panels"][0]["text"].startswith("labels still arriving, too few positives: ")
    world.close()


def test_a_span_without_predictions_waits_for_no_label(tmp_path):
    world = Labelled(tmp_path)
    ids, _, label = hour_of(world, 80, 1)
    world.tell(ids, label)
    world.join()
    world.tick(2 * DAY)
    assert outcomes.cell(world.view())["text"] == "No predictions logged"
    section = outcomes.section(world.view())
    assert section["summary"] == "No predictions of the last 24 h are logged" and section["state"] is None
    assert section["panels"][0]["text"] == "no predictions are logged"
    world.close()


def test_a_span_whose_labels_are_all_still_to_come_says_so(told):
    section = outcomes.section(told.view("1h"))
    assert section["summary"] == "Labels still arriving" and section["status"] == NO_DATA
    assert "None of 80 predictions of the last hour has a label yet" in section["state"]["text"]
    assert outcomes.cell(told.view("1h"))["text"] == "Labels still arriving"
    panels = {panel["id"]: panel for panel in section["panels"]}
    assert panels["roc_auc"]["value"] is None and panels["roc_auc"]["text"] == "labels still arriving"


def test_the_past_is_told_as_such(told):
    view = told.view("6h", back=5 * HOUR)
    section = outcomes.section(view)
    assert section["status"] == OK
    assert section["summary"].endswith("of the labels of the 6 h to 2013-10-10T19:00:00Z")


def test_hours_without_labels_are_gaps_and_the_documents_hold_no_nan(told):
    for name in ("1h", "6h", "24h", "7d", "30d"):
        span = Span(name, told.clock.time)
        document = pages.model(told.state(), "risk", span)
        json.dumps([document, pages.fleet(told.state(), span)], allow_nan=False)
        for panel in document["outcomes"]["panels"]:
            assert panel["status"] == "ok" and len(panel["t"]) <= 600
            for series in panel["series"]:
                assert len(series["y"]) == len(panel["t"]) == len(series.get("open", panel["t"]))
    before = pages.model(told.state(), "risk", Span("30d", told.clock.time))["outcomes"]["panels"][0]
    first = next(i for i, y in enumerate(before["series"][0]["y"]) if y is not None)
    assert before["t"][first] > START and all(n == 0 for n in before["n"][: first - 1])
    assert before["few"] == "too few labels"


def test_without_a_log_the_lines_that_add_one_are_shown(tmp_path):
    world = Labelled(tmp_path, logs=False, reads=False)
    world.predict(80, score=draw(80)[1])
    section = outcomes.section(world.view())
    assert section["summary"] == "No labels yet" and section["status"] == NO_DATA and not section["panels"]
    assert "log=" in section["state"]["code"] and "barograph serve --log" in section["state"]["code"]
    assert outcomes.cell(world.view()) == {"text": "No labels yet", "sub": "", "status": NO_DATA}
    world.close()


def test_a_service_that_does_not_log_is_told_how(tmp_path):
    world = Labelled(tmp_path, logs=False)
    world.predict(80, score=draw(80)[1])
    state = outcomes.section(world.view())["state"]
    assert state["title"] == "No predictions are logged"
    assert f"log={str(tmp_path / 'log')!r}" in state["code"] and "serve" not in state["code"]
    world.close()


def test_logged_predictions_without_any_label_wait_for_the_first(tmp_path):
    world = Labelled(tmp_path)
    hour_of(world, 80, 1)
    world.join()
    section = outcomes.section(world.view())
    assert section["summary"] == "No labels yet" and section["state"]["title"] == "No labels yet"
    assert "80 predictions of the last 24 h can have a label" in section["state"]["text"]
    assert "monitor.feedback(" in section["state"]["code"]
    (panel,) = section["panels"]
    assert panel["id"] == "labels" and panel["series"][0]["y"][-1] == 0.0
    world.close()


def test_too_few_positives_are_an_answer_and_not_a_number(tmp_path):
    world = Labelled(tmp_path)
    score = np.linspace(0.01, 0.9, 60)
    world.tell(world.predict(60, score=score), score > 0.7)
    world.join()
    positives = int((score > 0.7).sum())
    cell, section = outcomes.cell(world.view()), outcomes.section(world.view())
    assert cell == {"text": "Too few positives", "sub": f"{positives} of 50", "status": LEARNING}
    assert section["summary"].startswith(f"Too few positives: {positives} of 50, on 100")
    panel = section["panels"][0]
    assert panel["value"] is None and panel["text"] == f"too few positives: {positives} of 50"
    assert all(y is None for y in panel["series"][0]["y"])
    world.close()


def test_answers_without_a_score_are_told_by_precision_and_recall(tmp_path):
    rng = np.random.default_rng(3)
    features, answer = draw(4000)[0], rng.random(4000) < 0.4
    times = START - 7 * DAY + np.linspace(0, 7 * DAY - 1, 4000)
    ref = Reference.fit({**features, "y": answer * 1.0, "t": times}, task="binary", prediction="y", time="t")
    world = Labelled(tmp_path, ref)
    answer, label = rng.random(300) < 0.4, rng.random(300) < 0.5
    world.tell(world.predict(300, prediction=answer * 1.0), label)
    world.join()
    panels = drawn(world.view())
    assert list(panels) == ["precision", "recall", "labels", "ages"]
    assert panels["precision"]["value"] == pytest.approx(precision_score(label, answer), abs=0.005)
    assert outcomes.cell(world.view())["text"].startswith("Precision 0.")
    world.close()


def test_accuracy_is_told_of_classes(tmp_path):
    rng = np.random.default_rng(4)
    names = np.array(["ham", "spam", "bulk"])
    times = START - 7 * DAY + np.linspace(0, 7 * DAY - 1, 4000)
    frame = {
        **draw(4000)[0],
        "y": names[rng.integers(0, 3, 4000)].tolist(),
        "c": rng.random(4000),
        "t": times,
    }
    world = Labelled(tmp_path, Reference.fit(frame, task="multiclass", prediction="y", score="c", time="t"))
    answer, label = names[rng.integers(0, 3, 400)], names[rng.integers(0, 3, 400)]
    world.tell(world.predict(400, prediction=answer.tolist(), score=rng.random(400)), label)
    world.join()
    panels = drawn(world.view())
    assert list(panels) == ["accuracy", "labels", "ages"]
    assert panels["accuracy"]["value"] == pytest.approx(accuracy_score(label, answer), abs=0.005)
    assert panels["accuracy"]["series"][0]["y"][-1] == pytest.approx(accuracy_score(label, answer), abs=1e-6)
    assert outcomes.cell(world.view())["text"] == f"Accuracy {accuracy_score(label, answer):.2f}"
    world.close()


def test_the_mean_error_is_told_of_numbers(tmp_path):
    rng = np.random.default_rng(5)
    times = START - 7 * DAY + np.linspace(0, 7 * DAY - 1, 4000)
    frame = {**draw(4000)[0], "y": rng.normal(40, 9, 4000), "t": times}
    world = Labelled(tmp_path, Reference.fit(frame, task="regression", prediction="y", time="t"))
    answer = rng.normal(40, 9, 200)
    label = answer + rng.normal(1, 5, 200)
    world.tell(world.predict(200, prediction=answer), label)
    world.join()
    panels, wanted = drawn(world.view()), mean_absolute_error(label, answer)
    assert list(panels) == ["mae", "labels", "ages"] and panels["mae"]["zero"] is True
    assert panels["mae"]["series"][0]["y"][-1] == pytest.approx(wanted, rel=1e-5)
    assert outcomes.cell(world.view())["text"].startswith("MAE ")
    assert outcomes.section(world.view())["summary"].startswith(f"Mean absolute error {wanted:.0f}"[:22])
    world.close()


def test_a_task_without_outcomes_says_which_have_them(told):
    known = told.view().known
    ranked = replace(told.view(), state=told.state())
    ranked.__dict__["known"] = replace(known, reference=replace(known.reference, task="ranking"))
    section = outcomes.section(ranked)
    assert section["summary"] == "Outcomes are not told of this task" and not section["panels"]
    assert outcomes.cell(ranked)["text"] == "No labels yet"


def test_a_reference_that_is_missing_is_waited_for(told):
    view = told.view()
    view.__dict__["known"] = None
    section = outcomes.section(view)
    assert section["summary"] == "Labels wait for the reference" and section["status"] == NO_DATA


def test_sums_of_values_in_a_row():
    assert together(np.array([1, 2, 3, 4]), 1).tolist() == [1, 2, 3, 4]
    assert together(np.array([[1], [2], [3]]), 3).tolist() == [[6]]


def test_scores_have_the_same_slots_in_counts_and_in_outcomes():
    ref = reference(2)
    assert OutcomeBins.of(ref).slots == ref.bins.columns[SCORE].size


def labelled_usual():
    """The same, with what became true: as often as the score says."""
    rng = np.random.default_rng(2)
    times = START - 14 * DAY + np.linspace(0, 14 * DAY - 1, 30_000)
    p = rng.beta(2, 4, 30_000)
    frame = {**draw(30_000, rng)[0], "p": p, "t": times, "late": (rng.random(30_000) < p).astype(float)}
    return Reference.fit(frame, task="binary", score="p", threshold=0.5, time="t", label="late")


def test_labels_of_the_reference_promise_quality_from_the_first_day_on(tmp_path):
    world = Labelled(tmp_path, labelled_usual())
    for hour in range(24):
        ids, _, label = hour_of(world, 3 * ROWS, hour)
        world.tell(ids, label)
    world.join()
    panel = drawn(world.view())["roc_auc"]
    confirmed, estimated = panel["series"]
    assert (confirmed["name"], estimated["name"]) == ("confirmed", "estimated")
    band = panel["bands"][1]
    known = [
        (y, low, high)
        for y, low, high in zip(confirmed["y"], band["lo"], band["hi"], strict=True)
        if y and low
    ]
    assert known and sum(low <= y <= high for y, low, high in known) >= 0.8 * len(known)
    assert "if they still mean what the labels of 2013-09-16 to 2013-09-29 say" in panel["note"]
    world.close()


@pytest.mark.slow
def test_labels_that_are_still_arriving_are_weighed_by_how_labels_came_before(tmp_path):
    world = Labelled(tmp_path, labelled_usual())
    rng, rows, waiting, groups = np.random.default_rng(6), [], [], 7 * 24
    for hour in range(groups):
        start = world.clock.time
        score = rng.beta(2, 4, ROWS)
        label = rng.random(ROWS) < score
        due = start + rng.exponential(np.where(label, HOUR, 8 * HOUR))
        waiting += zip(due.tolist(), world.predict(ROWS, score=score), label.tolist(), strict=True)
        rows.append((score, label))
        come = [(i, y) for at, i, y in waiting if at <= world.clock.time]
        if hour % 2 and come:
            world.tell(*zip(*come, strict=True))
            waiting = [one for one in waiting if one[0] > world.clock.time]
    world.join()
    world.tiles.roll_up(world.clock.time)
    world.rows = rows
    found = Outcomes(world.view(), OutcomeBins.of(world.reference))
    panel = drawn(world.view())["precision"]
    named = {one["name"]: one["y"] for one in panel["series"]}
    assert set(named) == {"confirmed", "weighted", "estimated"} and "Weighed: labels so far" in panel["note"]
    naive = [METRICS["binary"]["precision"].of(profile).value for profile in found.steps.profiles]
    told = [i for i, y in enumerate(named["weighted"]) if y is not None]
    assert told and all(named["confirmed"][i] is None for i in told)
    width, inside, off = found.steps.width // HOUR, 0, []
    for i in told:
        end = groups - (len(found.steps.ends) - 1 - i)
        score, label = raw(world, end - width, end)
        true = precision_score(label, score >= 0.5)
        inside += panel["bands"][1]["lo"][i] <= true <= panel["bands"][1]["hi"][i]
        off.append((abs(naive[i] - true), abs(named["weighted"][i] - true)))
    assert inside >= 0.8 * len(told)
    early = np.array(off).mean(axis=0)
    assert early[1] < early[0] / 2  # weighing takes most of the error of early labels away
    world.close()


def test_expected_errors_of_a_regression_promise_how_far_off_it_is(tmp_path):
    rng = np.random.default_rng(8)

    def drawn_rows(n, harder=0.0):
        features, _ = draw(n, rng)
        sd = 1.0 + features["visits"] + harder
        truth = rng.normal(50, 10, n)
        return features, sd, truth, truth + rng.normal(0, sd)

    features, sd, truth, answer = drawn_rows(30_000)
    times = START - 14 * DAY + np.linspace(0, 14 * DAY - 1, 30_000)
    reference = Reference.fit(
        {**features, "answer": answer, "truth": truth, "t": times, "far": sd * 0.8},
        task="regression", prediction="answer", label="truth", time="t", expected_error="far",
    )  # fmt: skip
    reference.save(tmp_path / "r.json")
    assert Reference.load(tmp_path / "r.json").id == reference.id
    heuristic = {"expected_error": lambda batch: (1.0 + batch["visits"]) * 0.8}
    world = Labelled(tmp_path, Reference.load(tmp_path / "r.json"))
    world.monitor.close()
    world.monitor = Monitor(
        "risk", version="1", reference=reference, directory=tmp_path / "counters", clock=world.clock,
        flush_interval=3600, strict=True, log=tmp_path / "log", heuristics=heuristic,
    )  # fmt: skip
    world.before = world.monitor.snapshot()
    for hour in range(24):
        features, _, truth, answer = drawn_rows(ROWS)
        features["visits"] = np.minimum(features["visits"] + 2 * (hour >= 12), 8)  # harder ones come
        answer = truth + rng.normal(0, 1.0 + features["visits"])
        ids = [f"h{hour}-{i}" for i in range(ROWS)]
        world.monitor.record(features, prediction=answer, id=ids)
        world.monitor.flush()
        world.tick(HOUR)
        if hour < 18:
            world.tell(ids, truth)
    world.join()
    panel = drawn(world.view())["mae"]
    named = {one["name"]: one["y"] for one in panel["series"]}
    estimated = [y for y in named["estimated"] if y is not None]
    assert np.mean(estimated[-6:]) > 1.2 * np.mean(estimated[:6])  # before any label says so
    band = panel["bands"][-1]
    known = [
        low <= y <= high
        for y, low, high in zip(named["confirmed"], band["lo"], band["hi"], strict=True)
        if y is not None and low is not None
    ]
    assert len(known) >= 5 and np.mean(known) >= 0.8
    assert "Estimated from expected errors, if they still mean what the labels of 2013-09-16" in panel["note"]
    world.close()
