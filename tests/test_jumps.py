"""Sudden jumps of outputs: the steps between quarters of an hour, what hours tell of them, and alerts through the real code path."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.streams import MONTH, T0, Stream
from hypothesis import given
from hypothesis import strategies as st

from barograph import Reference, naming
from barograph.bins import CategoryBins, NumericBins
from barograph.calibrate import RISE, Calibration, calibrate
from barograph.drift import ColumnReference, Columns
from barograph.jumps import Outputs, Pairs, pairs, quarter_for_hour
from barograph.lanes import DAY, HOUR, JUMP, LANES
from barograph.ledger import Counted
from barograph.naming import PREDICTION, SCORE
from barograph.refresh import Live, refresh
from world import START, World

STEP = JUMP.seconds
BINS = NumericBins(np.array([0.0, 1.0, 2.0]), low=-1.0, high=3.0)
NUMBER = ColumnReference(BINS, np.array([10, 40, 40, 10, 0, 0]))
ANSWER = ColumnReference(NumericBins(np.array([0.5]), low=0.0, high=1.0), np.array([90, 10, 0, 0]))
CHOICE = ColumnReference(CategoryBins(("a", "b", "c")), np.array([50, 30, 20, 0, 0, 0, 0]))
COLUMNS = Columns({"score": NUMBER, "prediction": ANSWER, "choice": CHOICE})
OUTPUTS = Outputs.of(COLUMNS, np.ones(3, dtype=bool))
COUNTS = st.tuples(*(st.integers(0, 300) for _ in range(9))).map(np.array)


def slots(drawn):
    """Counts of the three columns: four of the number, two of the answer, three of the choice."""
    return np.concatenate([drawn[:4], [0, 0], drawn[4:6], [0, 0], drawn[6:], [0, 0, 0, 0]])


def steps(later, before):
    return OUTPUTS.steps(COLUMNS.totals(slots(later)), COLUMNS.totals(slots(before)))


# Steps.


@given(COUNTS, st.integers(1, 9), st.integers(1, 9))
def test_what_stays_the_same_never_jumps_however_many_rows_there_are(counts, more, times):
    found, chance = steps(counts * more, counts * times)
    known = ~np.isnan(found)
    assert (np.abs(found[known]) <= np.broadcast_to(np.sqrt(chance)[:, None], found.shape)[known]).all()
    assert not known[0].any() or abs(found[0, 0]) < 1e-9


@given(COUNTS, COUNTS)
def test_a_step_back_is_as_far_as_the_step(later, before):
    there, back = steps(later, before), steps(before, later)
    assert np.allclose(there[0], -back[0], equal_nan=True) and np.allclose(there[1], back[1], equal_nan=True)


@given(COUNTS, COUNTS, st.integers(2, 20))
def test_more_rows_of_the_same_make_chance_smaller_and_leave_the_step_of_numbers(later, before, more):
    few, chance = steps(later, before)
    many, less = steps(later * more, before * more)
    assert np.allclose(few[0], many[0], equal_nan=True)
    with np.errstate(invalid="ignore"):
        assert np.allclose(less * more, chance, equal_nan=True)


@given(st.integers(6, 30), st.integers(1, 4), st.integers(0, 1000))
def test_pairs_of_sums_are_sums_of_pairs(windows, width, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 9, (2, windows, width))
    at = STEP * np.arange(windows)
    whole, one, other = (pairs(at, counts, STEP) for counts in (a + b, a, b))
    assert np.array_equal(whole.later, one.later + other.later)
    assert np.array_equal(whole.before, one.before + other.before)
    assert np.array_equal(whole.starts, at[3:-2]) and len(whole.later) == windows - 5


@pytest.mark.parametrize("windows", range(6))
def test_fewer_windows_than_two_quarters_make_no_pair(windows):
    found = pairs(STEP * np.arange(windows), np.ones((windows, 2)), STEP)
    assert found.later.shape == found.before.shape == (0, 2) and not len(found.starts)


def test_chance_moves_rare_and_common_answers_alike():
    rng = np.random.default_rng(1)
    for share in (0.01, 0.1, 0.5):
        yes = rng.binomial(2000, share, (2, 4000))
        counts = np.zeros((2, 4000, 9), dtype=np.int64)
        counts[..., 4], counts[..., 5] = 2000 - yes, yes
        later, before = (COLUMNS.totals(np.array([slots(one) for one in part])) for part in counts)
        found, chance = OUTPUTS.steps(later, before)
        moved = found[:, 1][OUTPUTS.measured[1][None, :].repeat(4000, axis=0)]
        assert moved.std() == pytest.approx(np.sqrt(chance[0, 1]), rel=0.05)


def test_a_constant_column_and_one_without_rows_have_no_step_that_is_a_jump():
    constant = Columns({"x": ColumnReference(BINS, np.array([0, 100, 0, 0, 0, 0]))})
    outputs, one = Outputs.of(constant, np.ones(1, dtype=bool)), np.array([0, 700, 0, 0, 0, 0])
    same, _ = outputs.steps(constant.totals(one), constant.totals(one))
    none, _ = outputs.steps(constant.totals(one), constant.totals(0 * one))
    assert np.nanmax(np.abs(same)) == 0 and np.isnan(none).all()


# What hours tell.


@pytest.mark.parametrize(("kind", "factor"), [("slope", 0.25), ("walk", 0.5), ("white", 2.0)])
def test_steps_of_quarters_follow_from_those_of_hours(kind, factor):
    rng = np.random.default_rng(2)
    minutes = 60 * 24 * 400
    noise = rng.normal(size=minutes)
    slope = np.sin(np.arange(minutes) * 2 * np.pi / (60 * 24 * 7))
    series = {"slope": slope, "walk": np.cumsum(noise), "white": noise}[kind]

    def size(length):
        return float(np.mean(np.diff(series.reshape(-1, length).mean(axis=1)) ** 2))

    told = float(quarter_for_hour(np.array(size(60)), np.array(size(120))))
    assert told == pytest.approx(factor, rel=0.06)
    assert told == pytest.approx(np.sqrt(size(15) / size(60)), rel=0.06)


def swinging(size, rows=4000, live=8 * 24, seed=5, days=0.3, later=1.0):
    """A stream whose outputs follow the hour of the day, on some days more than on others, and `later` times as much live."""
    hours = np.arange(MONTH + live)
    more = 1 + days * np.random.default_rng(seed).normal(size=len(hours) // 24)[hours // 24]
    driver = size * np.sin(2 * np.pi * hours / 24) * more * np.where(hours < MONTH, 1.0, later)
    return Stream(seed, columns=2, rows=rows, driver=driver, strength=1.0, live=live, outputs=True)


@pytest.fixture(scope="module")
def stream():
    return swinging(1.5)


@pytest.fixture(scope="module")
def calibration(stream):
    return calibrate(stream.reference(), lane=JUMP)


def line(calibration, column, n):
    return float(calibration.thresholds(column, n)["L"])


def ratios(calibration, stream, counts, starts=None):
    at = T0 + STEP * np.arange(len(counts)) if starts is None else starts
    return calibration.jumps(pairs(at, counts, STEP)).ratios["L"][:, -2:]


def test_the_line_grows_with_what_ordinary_hours_step(stream, calibration):
    still = calibrate(swinging(0.0).reference(), lane=JUMP)
    wild = calibrate(swinging(3.0).reference(), lane=JUMP)
    lines = [line(one, SCORE, 833) for one in (still, calibration, wild)]
    assert lines == sorted(lines) and lines[0] < 0.8 * lines[2]
    assert lines[0] == pytest.approx(still.swing.z * np.sqrt(2 / 833), rel=0.05)


def test_the_line_falls_as_rows_grow(calibration):
    lines = calibration.thresholds(PREDICTION, np.array([600, 2500, 10_000]))["L"]
    assert (np.diff(lines) < 0).all()


def test_an_ordinary_week_of_seasons_has_no_jump_and_half_a_standard_deviation_is_one(stream, calibration):
    starts, fine = stream.fine()
    found = ratios(calibration, stream, fine, starts)
    assert np.nanmax(found) < 1
    hits = 0
    for hour in range(30, 54):
        counts, where = fine[hour * 12 - 6 : hour * 12 + 3].copy(), stream.bins.slice(SCORE)
        shares = stream.shifted(SCORE, np.array([MONTH + hour]), 0.5)[0]
        counts[-3:, where] = stream.rng.multinomial(counts[-3:, where].sum(axis=1), shares)
        hits += ratios(calibration, stream, counts, starts[hour * 12 - 6 : hour * 12 + 3])[-1, 0] > 1
    assert hits >= 20


def test_features_do_not_jump_and_few_rows_are_no_verdict(stream, calibration):
    _, fine = stream.fine()
    found = calibration.jumps(pairs(T0 + STEP * np.arange(8), fine[:8], STEP))
    assert set(found.values) == {"L"} and np.isnan(found.values["L"][:, :2]).all()
    assert np.isfinite(found.ratios["L"][:, 2:]).all()
    counts, where = np.zeros((6, stream.bins.size), dtype=np.int64), stream.bins.slice(SCORE)
    counts[:, where.start + 20] = JUMP.minimum // 3
    counts[:, where.start + 21] = [0, 0, 0, 0, 0, 1]
    at, score = T0 + STEP * np.arange(6), stream.names.index(SCORE)
    assert np.isfinite(calibration.jumps(pairs(at, counts, STEP)).values["L"][0, score])
    counts[0, where.start + 20] -= 1
    assert np.isnan(calibration.jumps(pairs(at, counts, STEP)).values["L"][0, score])


def test_the_lane_of_jumps_refuses_windows_without_what_came_before(stream, calibration):
    with pytest.raises(ValueError, match=r"judged in pairs; call jumps\(pairs\)"):
        calibration.verdicts(stream.counts[:1])


def test_hours_too_small_to_tell_of_seasons_draw_no_line():
    thin = calibrate(swinging(1.0, rows=500).reference(), lane=JUMP)
    assert (
        thin.learning == "the reference has 0 days with hours of 600 rows, one after the other, fewer than 7"
    )
    many = 10 * swinging(1.0, rows=500).fine()[1][:6]
    found = thin.jumps(pairs(T0 + STEP * np.arange(6), many, STEP))
    assert np.isfinite(found.values["L"][:, 2:]).all() and np.isnan(found.thresholds["L"]).all()


def test_a_model_without_answers_is_not_judged_for_jumps():
    features = calibrate(Stream(1, columns=2).reference(), lane=JUMP)
    assert features.learning == "the reference has no column of answers"
    assert features.jumps(pairs(T0 + STEP * np.arange(6), Stream(1, columns=2).counts[:6], STEP)).values == {}


def test_steps_over_a_gap_teach_nothing(stream):
    reference = stream.reference()
    whole = calibrate(reference, lane=JUMP)
    windows = reference.windows
    odd = np.arange(MONTH) % 2 == 1
    kept = replace(windows, starts=windows.starts[odd], rows=windows.rows[odd], counts=windows.counts[odd],
                   novel={n: v[odd] for n, v in windows.novel.items()})  # fmt: skip
    assert whole.learning is None and whole.days == 28
    assert calibrate(replace(reference, windows=kept), lane=JUMP).days == 0


def test_the_refresh_learns_wilder_days_up_to_a_quarter_more_and_beyond_it_what_was_no_problem():
    stream = swinging(1.5, later=4.0)
    first, live = calibrate(stream.reference(), lane=JUMP), Live(*stream.live())
    again, taught, left_out = (
        refresh(first, stream.reference(), live, **options)
        for options in ({}, {"taught": {(SCORE, "L")}}, {"leave_out": np.ones(len(live.starts), dtype=bool)})
    )
    lines = {
        n: line(one, SCORE, 10_000) for n, one in (("first", first), ("again", again), ("taught", taught))
    }
    assert lines["again"] == pytest.approx(RISE * lines["first"]) and lines["taught"] > lines["again"]
    assert line(left_out, SCORE, 10_000) == pytest.approx(lines["first"])
    _, fine = stream.fine()
    capped, free = (one.jumps(pairs(T0 + STEP * np.arange(300), fine[:300], STEP)) for one in (again, taught))
    score = stream.names.index(SCORE)
    assert (capped.thresholds["L"][:, score] <= free.thresholds["L"][:, score] + 1e-12).all()
    assert (capped.thresholds["L"][:, score] < free.thresholds["L"][:, score]).any()


def test_a_reference_that_tells_nothing_is_learnt_in_two_weeks(stream):
    long = swinging(1.5, live=15 * 24)
    timeless = replace(long.reference(), windows=None)
    first = calibrate(timeless, lane=JUMP)
    assert first.learning == "the reference has no timestamps"
    early, late = (
        refresh(first, timeless, Live(*(part[: days * 24] for part in long.live()))) for days in (13, 15)
    )
    assert "13 of 14 days" in early.learning and np.isnan(line(early, SCORE, 833))
    assert late.learning is None and np.isfinite(line(late, SCORE, 833))


def test_the_share_of_one_of_many_answers_is_judged_by_its_own_line():
    rng = np.random.default_rng(3)
    hours = 14 * 24
    data = {
        "answer": rng.choice(["a", "b", "c", "d"], 700 * hours, p=[0.4, 0.3, 0.2, 0.1]).tolist(),
        "t": T0 + np.repeat(np.arange(hours) * HOUR, 700),
    }
    reference = Reference.fit({**data, "x": rng.normal(size=700 * hours)}, task="multiclass", prediction="answer", time="t")  # fmt: skip
    calibrated = calibrate(reference, lane=JUMP)
    name = PREDICTION
    where, i = reference.bins.slice(name), list(reference.bins.columns).index(name)
    own = reference.baseline.counts[where] / reference.baseline.counts[where].sum()

    def judged(shares):
        counts = np.zeros((2, reference.bins.size), dtype=np.int64)
        counts[:, where] = [rng.multinomial(2500, own), rng.multinomial(2500, shares)]
        found = calibrated.jumps(Pairs(np.array([T0]), np.array([T0 + 900]), counts[1:], counts[:1]))
        return float(found.ratios["D"][0, i])

    moved = own.copy()
    slot = int(np.argmin(np.where(own > 0, own, 1)))
    moved[slot] *= 2.5
    assert judged(own) < 1 < judged(moved / moved.sum())


# Through the evaluator.


def draw_scores(rows, middle, rng):
    return 1 / (1 + np.exp(-rng.normal(middle - 1, 0.5, rows)))


def middle_at(time):
    """The middle of the scores' logits: seasons move it by more than two standard deviations a day."""
    return 0.6 * np.sin(2 * np.pi * (time - START) / DAY)


@pytest.fixture(scope="module")
def seasonal():
    """A reference of ten days, whose scores follow the hour."""
    rng = np.random.default_rng(4)
    rows = 10 * 24 * 650
    times = START - 10 * DAY + np.sort(rng.uniform(0, 10 * DAY, rows))
    score = draw_scores(rows, middle_at(times), rng)
    frame = {"amount": rng.normal(size=rows), "p": score, "late": score > 0.5, "t": times}
    return Reference.fit(frame, task="binary", score="p", threshold=0.5, label="late", time="t")


class Season(World):
    """Ten thousand rows an hour of a model that follows the hour."""

    rng = np.random.default_rng(8)

    def five_minutes(self, rows=833, shift=0.0, late=120):
        """Five minutes of traffic, its scores moved by so many standard deviations, and a pass two minutes later."""
        if rows:
            score = draw_scores(rows, middle_at(self.clock.time + 150) + 0.5 * shift, self.rng)
            self.monitor.record({"amount": self.rng.normal(size=rows)}, score=score)
        self.tick(STEP)
        self.clock.time += late
        changes = self.evaluate()
        self.clock.time -= late
        return changes

    def judged(self, lane):
        counted = Counted("risk", "1", self.reference.bins.id, lane)
        return self.ledger.history(counted, 0, 9e12, len(self.reference.bins.columns))


def of_score(changes):
    return [c for c in changes if c.alert.condition.column == "score"]


@pytest.fixture
def season(tmp_path, seasonal):
    made = Season(tmp_path, ref=seasonal)
    yield made
    made.close()


def test_a_jump_that_a_season_hides_pages_within_a_quarter_of_an_hour_and_says_from_what_to_what(season):
    for _ in range(6):
        season.five_minutes()
    assert season.firing() == set()
    began = season.clock.time
    changes = [c for _ in range(3) for c in season.five_minutes(shift=0.6)]
    assert (naming.OUTPUT_SHIFTED.name, "score") in season.firing()
    (told,) = of_score(changes)
    assert told.alert.condition.signal == "L" and told.alert.since >= began - 600
    assert told.alert.condition.text.startswith(
        "The model's score is higher than a quarter of an hour before: median 0."
    )
    assert ", before 0." in told.alert.condition.text
    score = list(season.reference.bins.columns).index("score")
    assert not np.nanmax([r[:, score].max() for r in season.judged("5m").ratios.values()]) > 1


def test_a_jump_is_one_alert_until_two_hours_after_it(season):
    for _ in range(6):
        season.five_minutes()
    begun = [c for _ in range(8) for c in season.five_minutes(shift=0.7)]
    assert len(of_score(begun)) == 1 and len(season.ledger.incidents()) == 1
    jump, score = season.judged("jump"), list(season.reference.bins.columns).index("score")
    over = jump.ends[np.nan_to_num(jump.ratios["L"][:, score]) > 1]
    assert 2 <= len(over) <= 6  # it is no news any more
    later = [c for _ in range(26) for c in season.five_minutes(shift=0.7)]
    assert [c.alert.state for c in of_score(later)] == ["resolved"] and season.firing() == set()


def test_the_steepest_hours_of_an_ordinary_day_raise_nothing(season):
    for _ in range(24):  # it begins in the middle of its rise, a third of a standard deviation an hour
        season.five_minutes()
    assert np.isfinite(season.judged("jump").ratios["L"]).any() and season.firing() == set()


def test_the_first_quarters_of_a_version_and_those_after_a_gap_have_no_verdict(season):
    for rows in [833] * 7 + [0] * 2 + [833] * 7:
        season.five_minutes(rows)
    found = season.judged("jump")
    judged = found.ends[np.isfinite(found.ratios["L"]).any(axis=1)]
    assert ((judged - START) // STEP).tolist() == [6, 7, 15, 16]


def test_a_service_that_starts_anew_makes_no_jump(season, tmp_path):
    for _ in range(7):
        season.five_minutes()
    season.ledger = type(season.ledger)(season.tiles)  # and the evaluator too
    for _ in range(3):
        season.five_minutes()
    ends = season.judged("jump").ends
    assert len(set(ends.tolist())) == len(ends) == 10 and season.firing() == set()


def test_limits_of_levels_change_no_line_of_jumps(tmp_path, seasonal, season):
    from barograph.config import Config, ModelConfig

    config = Config(models={"risk": ModelConfig(limits={"score.L": 0.001})})
    other = Season(tmp_path / "other", config, ref=seasonal)
    try:
        for world in (season, other):
            world.rng = np.random.default_rng(9)
            for _ in range(7):
                world.five_minutes()
        plain, limited = (w.judged("jump").thresholds["L"] for w in (season, other))
        assert np.array_equal(plain, limited, equal_nan=True)
    finally:
        other.close()


def test_calibrations_of_every_lane_name_their_windows():
    assert JUMP.name in LANES and JUMP.windows == 8640
    assert isinstance(calibrate(Stream(1, columns=2).reference(), lane=JUMP), Calibration)
