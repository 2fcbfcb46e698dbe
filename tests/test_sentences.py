"""Sentences: each state says what it should, word by word."""

import numpy as np
import pytest

from barograph import naming, sentences
from barograph.alert import Condition, step
from barograph.bins import category_bins, numeric_bins
from barograph.drift import ColumnReference

RNG = np.random.default_rng(0)


def tally(bins, values):
    """Counts and sums by slot."""
    slots = bins.index(values)
    counts, sums = (
        np.bincount(slots, minlength=bins.size),
        np.bincount(slots, weights=values, minlength=bins.size),
    )
    sums[-2:] = 0
    return counts, sums


def numeric(values):
    bins = numeric_bins(values)
    return bins, ColumnReference(bins, *tally(bins, values))


DATA = RNG.lognormal(3, 0.4, 20_000)
BINS, REFERENCE = numeric(DATA)


@pytest.mark.parametrize(
    ("signal", "live", "said"),
    [
        ("L", DATA * 1000, "age is about 1,000 times larger: median"),
        ("D", DATA / 60, "times smaller: median 0.3"),
        ("L", DATA * 1.3, "age is higher than usual: median"),
        ("L", DATA * 0.7, "age is lower than usual: median"),
        (
            "D",
            np.where(RNG.random(20_000) < 0.5, DATA * 0.5, DATA * 2),
            "age is spread differently than usual",
        ),
        (
            "A",
            np.where(RNG.random(20_000) < 0.5, np.nan, DATA),
            "age is missing in 50\u00a0% of rows, usual 0\u00a0%",
        ),
        ("O", np.where(np.arange(20_000) < 200, 1e9, DATA), "in 1.0\u00a0% of rows"),
        ("O", np.where(np.arange(20_000) < 200, np.inf, DATA), "age is no number in 1.0\u00a0% of rows"),
    ],
)
def test_what_a_signal_saw_is_said_in_a_sentence(signal, live, said):
    assert said in sentences.column("age", signal, REFERENCE, *tally(BINS, live))


def test_categories_answers_and_unseen_values_have_their_own_words():
    bins = category_bins({"JFK": 60, "LGA": 40})
    reference = ColumnReference(bins, np.array([60, 40, 0, 0, 0, 0]))
    live = np.array([10, 40, 0, 50, 0, 0])
    assert (
        sentences.column("origin", "D", reference, live, None)
        == "origin is JFK in 10\u00a0% of rows, usual 60\u00a0%"
    )
    assert (
        sentences.column("origin", "U", reference, live, None)
        == "origin has values never seen in the reference in 50\u00a0% of rows"
    )
    yes = numeric_bins(np.array([0.0, 1.0]))
    usual = np.bincount(yes.index([0] * 90 + [1] * 10), minlength=yes.size)
    live = np.bincount(yes.index([0] * 62 + [1] * 38), minlength=yes.size)
    said = sentences.column(naming.PREDICTION, "D", ColumnReference(yes, usual), live, None)
    assert said == "Positive answers are 3.8 times the usual level: 38\u00a0%, usual 10\u00a0%"


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([], "No model has reported yet"),
        (["ok", "ok"], "Nothing to do"),
        (["learning"], "Nothing to do"),
        (["act", "watch", "watch", "watch", "ok"], "One model needs action, three are worth a look"),
        (["act", "act"], "Two models need action"),
        (["watch"], "One model is worth a look"),
        (["watch", "watch"], "Two models are worth a look"),
        (["no_data", "ok"], "One model sends no data"),
        (["act", "watch", "no_data"], "One model needs action, one is worth a look, one sends no data"),
    ],
)
def test_the_fleets_headline(statuses, said):
    assert sentences.fleet(statuses) == said


def test_a_models_headline_follows_its_state():
    fire = step(
        None,
        Condition(
            naming.INPUT_BROKEN.name, "m", "1", True, 0, 3600, "x", "O", 0.2, 0.01, "x is outside 0 to 9"
        ),
    )
    assert sentences.model("m", "act", [fire], None, None) == (
        "m: x is outside 0 to 9",
        "x is outside 0 to 9",
    )
    assert sentences.model("m", "ok", [], None, None) == ("m answers as usual", "")
    assert sentences.model("m", "no_data", [], None, "No predictions since noon") == (
        "m sends no data",
        "No predictions since noon",
    )
    assert sentences.model("m", "learning", [], sentences.faults_only("it has no timestamps"), None) == (
        "m is judged for faults only",
        "Drift is not judged: it has no timestamps",
    )


def test_a_model_without_a_reference_promises_nothing_that_is_not_judged():
    given, unread = sentences.no_reference(False), sentences.no_reference(True)
    for said in (given, unread):
        assert "features and drift are not judged" in said.reason and "empty answers" in said.lede
        assert "as usual" not in " ".join((said.headline, said.reason, said.lede, said.output, said.causes))
    assert "`Reference.fit`" in given.lede and "could not be read" in unread.lede


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (1.0, "one alarm a month"),
        (2.5, "2.5 alarms a month"),
        (30, "30 alarms a month"),
        (0.1, "one alarm in 10 months"),
    ],
)
def test_a_budget_is_said_in_alarms_a_month(budget, said):
    assert sentences.often(budget) == said


def test_no_sentence_shouts_or_blames():
    texts = [
        sentences.no_traffic(40, 15),
        sentences.errors(0.2, 0.05),
        sentences.slow(0.4, 0.2),
        sentences.empty(0.1, 0.01),
        sentences.dependency("numpy", "2.1", "2.0"),
        sentences.dropped(1, ["buffer_full"]),
        sentences.errors_burn(33, 1_200, 3600, 0.001),
        sentences.slow_burn(80, 1_000, 6 * 3600, 0.01, 0.5),
        sentences.business_stopped("order", 20.4, 15),
        sentences.references("7", 2, 2),
        sentences.references("7", 1, 2),
        sentences.artifacts("7", 2, 1),
        sentences.artifacts("7", 2, 3),
        sentences.unread("http://a:8000", 400),
        sentences.apart("http://a:8000", 1),
        sentences.apart("http://a:8000", 3),
    ]
    assert texts == [
        "No predictions in the last 15 minutes, usual about 40",
        "20\u00a0% of predictions fail, limit 5.0\u00a0% (set by owner)",
        "95\u00a0% of predictions take up to 400 ms, limit 200 ms (set by owner)",
        "Empty answers are 10 times the usual level: 10\u00a0%, usual 1.0\u00a0%",
        "numpy runs in version 2.1, the model was made with 2.0",
        "The monitor dropped 1 row in 10 minutes (buffer_full)",
        "2.8\u00a0% of predictions in the last hour (33 of 1,200) failed, 28 times the share that a month may have: 0.10\u00a0%",
        "8.0\u00a0% of predictions in the last 6 hours (80 of 1,000) took over 500 ms, 8.0 times the share that a month may have: "
        "1.0\u00a0%",
        "order rate fell to 0: about 20 were expected in the last 15 minutes",
        "Version 7 runs with 2 references at once: drift is not measured against the same",
        "Version 7 had 2 references within a day: drift before and after is not measured against the same",
        "Processes of version 7 run 2 artifacts: answers depend on which one is asked",
        "Processes of version 7 run 2 artifacts and 3 configurations: answers depend on which one is asked",
        "http://a:8000 has not been read for 6 min 40 s: what it counts is not known",
        "1 worker of http://a:8000 does not share counters: totals are too low",
        "3 workers of http://a:8000 do not share counters: totals are too low",
    ]
