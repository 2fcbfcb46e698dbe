"""What a line means: its sentence is honest, and what it is said to find is found."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.streams import MONTH, Stream, lose

from barograph.calibrate import calibrate
from barograph.jumps import Pairs
from barograph.lanes import DAILY, JUMP
from barograph.lines import detectable, said
from barograph.reference import Reference
from barograph.refresh import Live, refresh


@pytest.fixture(scope="module")
def stream():
    return Stream(1, columns=50)


@pytest.fixture(scope="module")
def calibration(stream):
    return calibrate(stream.reference())


def test_a_line_says_how_often_ordinary_days_cross_it(calibration):
    text = said(calibration, "c0", "L", 1000)
    assert text.startswith(
        "Ordinary days cross 0.16 sd about once in 17 years, and one of the lines of 50 columns about once a month"
    )
    assert "points" in said(calibration, "c1", "A", 1000)


def test_a_line_of_a_larger_budget_is_crossed_more_often(stream):
    assert "50 columns about 4 times a month" in said(
        calibrate(stream.reference(), budget=4.0), "c0", "D", 1000
    )


def test_few_days_and_unknown_ones_are_said(stream, calibration):
    few = calibrate(stream.reference(10 * 24))
    assert said(few, "c0", "L", 1000).endswith("as far as 10 days can tell")
    timeless = replace(stream.reference(), windows=None)
    learning = calibrate(timeless)
    assert said(learning, "c0", "L", 1000) == "No line yet: the reference has no timestamps"
    assert said(learning, "c0", "A", 1000).startswith(
        "An alarm above 20 points, until ordinary days are known"
    )
    assert said(calibration, "c0", "D", 29) == "No verdict below 30 rows"
    starts, counts = stream.live()
    young = refresh(learning, timeless, Live(starts[: 15 * 24], counts[: 15 * 24]))
    assert "as far as 15 days can tell" in said(young, "c0", "L", 1000)


def test_a_line_that_needs_no_calibration_is_said(calibration):
    assert "5 rows" in said(calibration, "c0", "O", 1000)


def test_a_line_beyond_reach_and_one_that_is_held_are_said():
    driver = np.append(np.zeros(MONTH), np.random.default_rng(1).normal(size=21 * 24) * 3)
    held = Stream(2, columns=2, driver=driver, strength=1.0, live=21 * 24)
    reference = held.reference()
    first = calibrate(reference)
    later = refresh(first, reference, Live(*held.live()))
    assert "may rise no farther" in said(later, "c0", "L", 1000)
    wild = Stream(
        5, columns=2, driver=np.repeat(np.random.default_rng(0).standard_cauchy(58), 24) * 3, strength=9.0
    )
    assert said(calibrate(wild.reference()), "c0", "L", 1000).startswith("Cannot alarm in windows of an hour")


# The smallest changes that are found.


@pytest.mark.parametrize("n", [300, 2000])
def test_what_is_said_to_be_found_is_found_as_often_as_said(n):
    stream = Stream(3, columns=4, rows=n)
    calibration, rng, at = (
        calibrate(stream.reference()),
        np.random.default_rng(4),
        np.arange(MONTH, MONTH + 300),
    )

    def power(signal, name, shares):
        """Share of pairs of windows that are both above the line."""
        counts = stream.counts[at].copy()
        counts[:, stream.bins.slice(name)] = rng.multinomial(n, shares)
        above = calibration.verdicts(counts).ratios[signal][:, stream.names.index(name)] > 1
        return np.mean(above) ** 2

    effects = detectable(calibration, "c0", n)
    assert power("L", "c0", stream.shifted("c0", at, effects.shift)) > 0.8
    assert power("L", "c0", stream.shifted("c0", at, effects.shift * 0.7)) < 0.5
    of_missing = [
        np.array([lose(x)(stream.kinds["c0"], p.copy()) for p in stream.shares["c0"][at]])
        for x in (effects.missing / 0.98, effects.missing * 0.6)
    ]
    assert power("A", "c0", of_missing[0]) > 0.8 and power("A", "c0", of_missing[1]) < 0.5
    seldom = detectable(calibration, "c1", n).unseen
    shares = stream.shares["c1"][at] * (1 - seldom)
    shares[:, stream.kinds["c1"].unseen] += seldom
    assert power("U", "c1", shares) > 0.8


def test_more_rows_find_less_and_a_day_finds_less_than_an_hour(stream, calibration):
    found = [detectable(calibration, "c0", n) for n in (100, 1000, 10_000)]
    assert found[0].shift > found[1].shift > found[2].shift
    assert found[0].missing > found[1].missing > found[2].missing
    daily = calibrate(stream.reference(), lane=DAILY)
    assert detectable(daily, "c0", 24_000).shift < found[1].shift


def test_what_cannot_be_found_is_none_and_never_a_number(stream, calibration):
    assert detectable(calibration, "c1", 1000).shift is None  # no order
    assert detectable(calibration, "c0", 1000).unseen is None  # numbers are never unseen
    few = detectable(calibration, "c0", 29)
    assert (few.shift, few.missing, few.unseen) == (None, None, None)
    timeless = detectable(calibrate(replace(stream.reference(), windows=None)), "c0", 1000)
    assert timeless.shift is None and timeless.missing > 0.2


def test_a_power_that_is_no_probability_is_refused(calibration):
    with pytest.raises(ValueError, match="power: 90 is no probability"):
        detectable(calibration, "c0", 1000, power=90)


def test_the_reference_of_a_constant_column_finds_no_shift():
    reference = Reference.fit({"x": [1.0] * 100, "y": list(range(100))}, task="regression")
    assert detectable(calibrate(reference), "x", 1000).shift is None


def test_the_line_of_jumps_is_said_of_quarters_of_an_hour_and_finds_less_than_half_a_standard_deviation():
    outputs = Stream(3, columns=2, rows=4000, outputs=True)
    jumps = calibrate(outputs.reference(), lane=JUMP)
    text = said(jumps, "score", "L", 2500)
    assert text.startswith("In the hours in which it moves most, ordinary days move it by 0.1")
    assert text.endswith(" sd from one quarter of an hour to the next about once in 16 months")
    assert said(jumps, "score", "L", 599) == "No verdict below 600 rows"
    few, many = (detectable(jumps, "score", n) for n in (833, 2500))
    assert few.shift > many.shift and many.shift < 0.5 and (many.missing, many.unseen) == (None, None)

    def power(shift):
        rng, where = np.random.default_rng(1), outputs.bins.slice("score")
        before, later = np.zeros((2, 300, outputs.bins.size), dtype=np.int64)
        before[:, where] = rng.multinomial(2500, outputs.shares["score"][MONTH], 300)
        later[:, where] = rng.multinomial(2500, outputs.shifted("score", np.array([MONTH]), shift)[0], 300)
        found = jumps.jumps(Pairs(np.zeros(300, int), np.full(300, 900), later, before)).ratios["L"]
        return (found[:, outputs.names.index("score")] > 1).mean()

    assert power(many.shift) > 0.8 and power(0.7 * many.shift) < 0.5
