"""Limits of the owner: how they are written, what they count, and that they win over what was calibrated."""

import contextlib
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from barograph import Reference, limited, naming
from barograph.bins import CategoryBins, category_bins, numeric_bins
from barograph.calibrate import calibrate
from barograph.checks import resources
from barograph.cli import app
from barograph.clock import Clock
from barograph.config import Config, ConfigError, ModelConfig, load_text
from barograph.console import pages
from barograph.counters import Series
from barograph.limited import Bound, Limited, declared
from barograph.limits import OF_COLUMN, SERVICE, ColumnLimits, of_columns, of_quality, parse
from barograph.policy import Mute
from barograph.prometheus.coarse import CoarseReference
from barograph.schema import Schema
from barograph.serve import Server
from barograph.sources import Status
from world import START, World, draw, reference

HOUR = 3600
REFERENCE = cache(reference)

WRITTEN = """
[models.risk.limits]
errors = 0.01
latency_p99 = 0.8
traffic = 100
memory = "2 GiB"
disk = 0.9
quality.roc_auc = 0.85
"amount.D" = 0.3
amount.min = 0
amount.max = 10_000
amount.missing = 0.02
amount.type = "number"
country.values = ["DE", "FR"]

[models.risk.limits."billing.city"]
missing = 0.1
"""


def test_limits_are_written_as_one_would_guess():
    found = load_text(WRITTEN).model("risk").limits
    assert found == {
        "errors": 0.01, "latency_p99": 0.8, "traffic": 100.0, "memory": 2.0 * 2**30, "disk": 0.9, "quality.roc_auc": 0.85,
        "amount.D": 0.3, "amount.min": 0.0, "amount.max": 10_000.0, "amount.missing": 0.02, "amount.type": "number",
        "country.values": ("DE", "FR"), "billing.city.missing": 0.1,
    }  # fmt: skip
    assert of_quality(found) == {"roc_auc": 0.85}
    amount = of_columns(found)["amount"]
    assert amount == ColumnLimits({"D": 0.3}, 0.02, 0.0, 10_000.0, (), "number")
    assert set(of_columns(found)) == {"amount", "country", "billing.city"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("eror = 0.1", "unknown limit 'eror'; did you mean 'errors'?"),
        ("latency_95 = 0.1", "did you mean 'latency_p95'?"),
        ("amount.mim = 0", "unknown limit 'amount.mim'; did you mean 'amount.min'?"),
        ("amount.value = [1]", "did you mean 'amount.values'?"),
        ("amount = 3", "known are errors, latency_p50"),
        ("errors = 5", "errors is 5; write a share from 0 to 1, such as 0.01 for 1 %"),
        ("errors = true", "errors is True; it must be a number"),
        ("errors = nan", "errors is nan; it must be a number"),
        ("latency_p95 = 300", "latency_p95 is 300; write seconds above 0 and up to 30, such as 0.3 for 300 ms"),
        ("traffic = 0", "traffic is 0; write rows an hour, a number above 0"),
        ("memory = '2 gigs'", "memory is '2 gigs'; write bytes"),
        ("cpu = -1", "cpu is -1; write a number above 0, such as 1.5 processors"),
        ("amount.min = 'zero'", "amount.min is 'zero'; it must be a number"),
        ("amount.D = -0.1", "amount.D is -0.1; write a number from 0 on"),
        ("amount.A = 2", "amount.A is 2; write a share from 0 to 1"),
        ("amount.type = 'decimal'", "amount.type is 'decimal'; write one of number, boolean, text, time"),
        ("amount.type = ['number']", "amount.type is ['number']; write one of number"),
        ("country.values = []", "country.values is []; write a list of texts"),
        ("country.values = 'DE'", "country.values is 'DE'; write a list of texts"),
        ("country.values = ['DE', 3]", "country.values is ['DE', 3]; write a list of texts"),
        ("country.values = [nan]", "country.values is [nan]; write a list"),
        ("amount.min = 9\namount.max = 3", "amount.min is 9, above amount.max 3; exchange them"),
        ("'amount.min' = 9\namount.min = 3", "'amount.min' is set twice; write it once"),
        ("quality.roc_acu = 0.9", "did you mean 'roc_auc'?"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_is_named_with_the_remedy(line, said):
    with pytest.raises(ConfigError) as refused:
        load_text(f"[models.m.limits]\n{line}")
    assert said in str(refused.value) and "models.m: limits" in str(refused.value)


def test_the_example_of_the_docs_is_read():
    page = (Path(__file__).parent.parent / "docs" / "limits-and-policy.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.+?)```", page, re.DOTALL)
    found = load_text(example).model("fraud").limits
    assert found["memory"] == 2 * 2**30 and of_columns(found)["country"].values == ("DE", "FR")
    assert set(SERVICE) <= set(re.findall(r"\w+", page)) and set(OF_COLUMN) <= set(re.findall(r"\w+", page))


def test_limits_are_a_table():
    with pytest.raises(ConfigError, match="limits is 3; write a table"):
        load_text("[models.m]\nlimits = 3")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=8)
NUMBERS = st.one_of(st.integers(0, 1), st.floats(0, 1))
OF_ONE = st.dictionaries(st.sampled_from(["min", "missing", "D", "L", "A", "U", "O"]), NUMBERS, min_size=1)


@given(st.dictionaries(NAMES.filter(lambda n: n not in SERVICE), OF_ONE, max_size=4))
def test_a_limit_is_the_same_however_toml_wrote_it(columns):
    flat = {f"{column}.{what}": value for column, given in columns.items() for what, value in given.items()}
    found = parse(columns)
    assert found == parse(flat) == parse(parse(columns))
    assert set(of_columns(found)) == set(columns)
    for column, one in of_columns(found).items():
        assert one.signals == {what: value for what, value in columns[column].items() if what in "DLAUO"}
        assert (one.minimum, one.missing) == (columns[column].get("min"), columns[column].get("missing"))


@given(st.text(max_size=12), st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats(), st.lists(st.integers(), max_size=2)))  # fmt: skip
def test_whatever_is_written_is_read_or_refused_by_name(name, value):
    known = name in SERVICE or name.rpartition(".")[2] in OF_COLUMN or name.startswith("quality.")
    with (
        contextlib.suppress(ValueError)
        if known
        else pytest.raises(ValueError, match="^limits: unknown limit")
    ):
        assert list(parse({name: value})) == [name]


# What is counted over bins.


@given(
    data=st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=60),
    live=st.lists(st.floats(-1e9, 1e9), max_size=60),
    ends=st.tuples(st.none() | st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6)),
)
def test_what_is_counted_past_a_range_is_never_more_than_there_is_and_all_where_it_is_exact(data, live, ends):
    low, high = sorted(ends) if None not in ends else ends
    bins = numeric_bins(np.array(data, dtype=float))
    bound = Bound.of(bins, ColumnLimits({}, minimum=low, maximum=high))
    x = np.array(live, dtype=float)
    counted = int(bound.mask[bins.index(x)].sum())
    low_here, high_here = bins.low if low is None else low, bins.high if high is None else high
    truly = int(((x < low_here) | (x > high_here if high is not None else x >= bins.high)).sum())
    assert counted <= truly
    assert counted == truly or not bound.exact
    assert bound.exact == (bound.note is None)


@given(
    data=st.lists(st.integers(-30, 30), min_size=1, max_size=80),
    live=st.lists(st.integers(-60, 60), max_size=60),
    low=st.integers(-40, 0),
    high=st.integers(0, 40),
)
def test_whole_numbers_are_counted_exactly_where_each_has_its_bin(data, live, low, high):
    bins = numeric_bins(np.array(data, dtype=float))
    bound = Bound.of(bins, ColumnLimits({}, minimum=float(low), maximum=float(high)), whole=True)
    x = np.array(live, dtype=float)
    counted, truly = int(bound.mask[bins.index(x)].sum()), int(((x < low) | (x > high)).sum())
    assert counted <= truly and (counted == truly or not bound.exact)


CATEGORIES = st.sampled_from(["DE", "FR", "PL", "IT", "ES", "a, b", "a", "other"])


@given(
    st.lists(CATEGORIES, min_size=1, max_size=40),
    st.lists(CATEGORIES, max_size=40),
    st.sets(CATEGORIES, min_size=1),
)
@example(["a, b"], ["a"], {"a"})
def test_an_allowed_category_is_never_counted_and_all_others_are_where_it_is_exact(seen, live, allowed):
    tally = {name: seen.count(name) for name in seen}
    bins = category_bins(tally)
    bound = Bound.of(bins, ColumnLimits({}, values=tuple(sorted(allowed))))
    past = [name for name in live if bound.mask[bins.index([name])[0]]]
    assert not set(past) & allowed
    assert not bound.exact or len(past) == sum(name not in allowed for name in live)
    assert bound.mask[bins.invalid] and not bound.mask[bins.missing]


def test_rare_categories_of_a_long_list_are_not_blamed():
    bins = category_bins({f"c{i:03d}": 200 - i for i in range(100)})
    bound = Bound.of(bins, ColumnLimits({}, values=("c000", "c090")))
    assert not bound.mask[bins.slot("c091")] and bound.mask[bins.slot("c001")] and bound.mask[bins.unseen]
    assert bound.note == "c090 has no bin of its own: rare ones are not counted"
    unknown = Bound.of(bins, ColumnLimits({}, values=("c000", "new")))
    assert not unknown.mask[bins.unseen] and "rare and unseen ones" in unknown.note


def test_listed_numbers_and_booleans():
    bins = numeric_bins(np.array([0.0, 1.0] * 50))
    bound = Bound.of(bins, ColumnLimits({}, type="boolean"), whole=True)
    assert bound.mask[bins.index([-3.0, 0.0, 1.0, 7.0, None, "x"])].tolist() == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    listed = Bound.of(bins, ColumnLimits({}, values=(1.0,)), whole=True)
    assert listed.mask[bins.index([0.0, 1.0])].tolist() == [True, False]


@given(st.sets(st.sampled_from([f"c{i:02d}" for i in range(40)]), min_size=1, max_size=5))
def test_the_cells_that_prometheus_has_blame_no_category_that_is_allowed(allowed):
    fine, coarse = many_categories()
    bins = coarse.reference.bins.columns["c"]
    assert isinstance(bins, CategoryBins)
    bound = Bound.of(bins, ColumnLimits({}, values=tuple(sorted(allowed))))
    for name in allowed:
        slot = fine.bins.offsets["c"] + fine.bins.columns["c"].slot(name)
        one = np.zeros(fine.bins.size, dtype=np.int64)
        one[slot] = 1
        assert not coarse.merge(one)[coarse.reference.bins.slice("c")] @ bound.mask, name


@cache
def many_categories():
    rng = np.random.default_rng(0)
    frame = {"c": [f"c{min(i, 39):02d}" for i in rng.geometric(0.1, 3000)], "x": rng.normal(size=3000)}
    fine = Reference.fit(frame, task="regression")
    return fine, CoarseReference.of(fine)


def test_a_reference_that_is_fitted_with_the_limits_counts_to_the_row_in_both_modes():
    rng = np.random.default_rng(3)
    frame = {"amount": rng.lognormal(3, 0.5, 2000), "c": ["a", "b"] * 1000}
    limits = parse({"amount": {"min": 7, "max": 41.5}})
    schema = declared(Schema.infer(frame), limits)
    exact = Reference.fit(frame, task="regression", features=schema)
    coarse = CoarseReference.of(exact)
    one = of_columns(limits)["amount"]
    x = np.array([6.999, 7.0, 41.5, np.nextafter(41.5, 50), 1e12, -1e12, 20.0])
    for bins in (exact.bins.columns["amount"], coarse.reference.bins.columns["amount"]):
        bound = Bound.of(bins, one)
        assert bound.exact and bound.mask[bins.index(x)].tolist() == [
            True,
            False,
            False,
            True,
            True,
            True,
            False,
        ]
    loose = Reference.fit(frame, task="regression")
    assert not Bound.of(loose.bins.columns["amount"], one).exact


def test_the_command_line_fits_a_reference_with_the_limits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("barograph.toml").write_text("[models.risk.limits]\nx.min = -7.5\n")
    Path("data.csv").write_text("x,p\n" + "\n".join(f"{i / 10},{i / 100}" for i in range(100)))

    def fit(model):
        arguments = ["reference", "fit", "data.csv", "--task", "binary", "--score", "p", "--threshold", "0.5"]
        return CliRunner().invoke(app, [*arguments, "--limits", model, "-o", "r.json"])

    assert fit("risk").exit_code == 0
    made = Reference.load("r.json")
    assert made.bins.columns["x"].low == -7.5 and made.schema.features == ("x",)
    assert Bound.of(made.bins.columns["x"], ColumnLimits({}, minimum=-7.5)).exact
    refused = fit("rsk")
    assert refused.exit_code == 2 and "has no model 'rsk'; it has risk" in " ".join(refused.output.split())


def test_without_limits_nothing_changes():
    ref = REFERENCE()
    verdicts = calibrate(ref).verdicts(ref.windows.counts[:3])
    assert Limited.of(ref, {"errors": 0.1})(verdicts, ref.windows.counts[:3]) is verdicts


def test_few_rows_have_no_verdict_and_a_limit_of_0_is_passed_by_one_row():
    ref = REFERENCE()
    some = Limited.of(ref, parse({"amount.missing": 0, "amount.O": 0, "amount.max": 1e9}))
    bins, where = ref.bins.columns["amount"], ref.bins.slice("amount")
    counts = ref.windows.counts[:3].copy()
    counts[1, where.start + bins.missing] += 1
    counts[2] = 0
    found = some(calibrate(ref).verdicts(counts), counts)
    i = list(ref.bins.columns).index("amount")
    assert (found.ratios["A"][:2, i] > 1).tolist() == [False, True] and np.isnan(found.ratios["A"][2, i])
    assert found.ratios["O"][:2, i].tolist() == [0.0, 0.0] and np.isnan(found.ratios["O"][2, i])


def test_one_window_past_a_limit_is_an_alarm_and_only_of_that_column():
    ref = REFERENCE()
    some = Limited.of(ref, parse({"amount.D": 0.3}))
    i = list(ref.bins.columns).index("amount")
    ratios = {s: np.full((2, len(ref.bins.columns)), 1.1) for s in "DL"}
    none = {s: np.zeros((2, len(ref.bins.columns)), dtype=bool) for s in "DL"}
    found = some.alarms(none, ratios)
    assert found["D"][:, i].all() and found["D"].sum() == 2 and not found["L"].any()


# Live.


@pytest.fixture
def live(tmp_path):
    made = []

    def make(text, ref=None):
        config = load_text(f"[models.risk.limits]\n{text}")
        made.append(World(tmp_path, config, ref or REFERENCE()))
        return made[-1]

    yield make
    for world in made:
        world.close()


def alerts(world, column):
    return {
        a.condition.signal: a.condition
        for a in world.ledger.alerts()
        if a.state == "firing" and a.condition.column == column
    }


def some_blank(features, score):
    amount = features["amount"].copy()
    amount[::10] = np.nan
    return {**features, "amount": amount}, score


def test_a_share_of_missing_values_past_its_limit_is_told_at_once_as_set_by_owner(live):
    world = live("amount.missing = 0.08")
    world.hour()
    assert alerts(world, "amount") == {}
    world.hour(change=some_blank)
    found = alerts(world, "amount")["A"]
    assert found.by_owner and found.rule == naming.FEATURE_SHIFTED.name
    said = "amount is missing in 10 % of rows, usual 0 %, limit 8.0 % (set by owner)"
    assert found.text.replace("\xa0", " ") == said
    listed = pages.incidents(world.state(), world.span())["incidents"][0]["alerts"]
    assert {(a["signal"], a["set_by"]) for a in listed} >= {("A", "owner")}
    (drawn,) = [
        s
        for s in pages.column(world.state(), "risk", "amount", world.span())["signals"]
        if s["signal"] == "A"
    ]
    assert drawn["set_by"] == "owner" and drawn["threshold"] == 0.08 and "set by the owner" in drawn["text"]


def test_a_wider_limit_silences_what_calibration_would_tell(live, tmp_path):
    def half_blank(features, score):
        amount = features["amount"].copy()
        amount[::2] = np.nan
        return {**features, "amount": amount}, score

    world = live("amount.missing = 0.6\namount.D = 20\namount.O = 1")
    for _ in range(3):
        world.hour(change=half_blank)
    assert not {"A", "D", "O"} & alerts(world, "amount").keys()


def test_values_past_a_range_page_with_what_they_are_past(live):
    world = live("amount.max = 60")
    for _ in range(2):
        world.hour()
    quiet = alerts(world, "amount").get("O")
    world.hour(
        change=lambda f, s: ({**f, "amount": f["amount"] + np.where(np.arange(len(s)) % 2, 1e4, 0)}, s)
    )
    found = alerts(world, "amount")["O"]
    assert quiet is None or quiet.value < 0.1
    assert found.rule == naming.INPUT_BROKEN.name and found.by_owner and 0.4 < found.value <= 0.6
    said = found.text.replace("\xa0", " ")
    assert re.fullmatch(r"amount is above 60 in at least \d\d % of rows, limit .* % \(set by owner\)", said)
    (limit,) = pages.model(world.state(), "risk", world.span())["limits"]
    assert limit["limit"] == "amount.max" and limit["kept"] and "60 is no edge" in limit["note"]


def test_a_category_that_is_not_listed_is_told(live):
    world = live('country.values = ["DE", "FR"]\ncountry.O = 0.2')
    world.hour()
    assert "O" not in alerts(world, "country"), "a tenth is PL, and a fifth is allowed"
    world.hour(change=lambda f, s: ({**f, "country": ["PL"] * 10 + f["country"][10:]}, s))
    found = alerts(world, "country")["O"]
    assert found.text.replace("\xa0", " ").startswith("country is none of DE, FR in ")


def test_a_limit_is_kept_while_drift_is_still_learnt(live):
    rng = np.random.default_rng(5)
    features, score = draw(3000, rng)
    untimed = Reference.fit({**features, "p": score}, task="binary", score="p", threshold=0.5)
    world = live("amount.D = 0.5", untimed)
    for _ in range(2):
        world.hour(change=lambda f, s: ({**f, "amount": f["amount"] * 3}, s))
    assert alerts(world, "amount")["D"].by_owner


def test_a_limit_that_is_not_kept_says_so_and_what_was_meant(live):
    world = live(
        'amuont.min = 0\ncountry.min = 1\ncountry.L = 0.1\nvisits.type = "text"\nvisits.U = 0.1\n'
        'visits.values = ["a"]\namount.missing = 0.1\nquality.mae = 3\nquality.roc_auc = 0.5'
    )
    world.hour()
    found = {
        one["limit"]: (one["kept"], one["note"])
        for one in pages.model(world.state(), "risk", world.span())["limits"]
    }
    kept = {name for name, (kept, _) in found.items() if kept}
    assert kept == {"amount.missing", "quality.roc_auc"} and found["amount.missing"] == (True, None)
    assert found["quality.mae"][1] == "not kept: the labels of a binary model tell no mae"
    assert "did you mean 'amount'?" in found["amuont.min"][1]
    assert "limit its values" in found["country.min"][1] and "limit its D" in found["country.L"][1]
    assert "visits is a number in the reference" in found["visits.type"][1]
    assert limited.notes([], {"amount.min": 0.0}) == {}


# Golden signals and resources.


def told(world, rule):
    return {a.condition.signal: a.condition for a in world.ledger.alerts() if a.condition.rule == rule.name}


def test_fewer_rows_than_the_owner_wants_page_after_the_first_hour(live):
    world = live("traffic = 100")
    for _ in range(4):
        features, score = draw(10)
        world.monitor.record(features, score=score)
        world.tick(600)
    world.evaluate()
    assert told(world, naming.TRAFFIC_LOW) == {}, "it is not there for an hour yet"
    world.tick(1800)
    world.evaluate()
    (found,) = told(world, naming.TRAFFIC_LOW).values()
    assert found.threshold == 100 and found.by_owner
    assert found.text == f"{int(found.value)} predictions in the last hour, limit 100 (set by owner)"
    features, score = draw(100)
    world.monitor.record(features, score=score)
    world.tick(60)
    world.evaluate()
    world.tick(600)
    world.evaluate()
    assert not {a for a in world.ledger.alerts() if a.condition.rule == naming.TRAFFIC_LOW.name}


def test_each_quantile_of_latency_has_a_limit_of_its_own(live):
    world = live("latency_p50 = 0.1\nlatency_p99 = 0.1\nlatency_p95 = 2")
    total = Series.of(naming.DURATION, {"model": "risk", "version": "1", "stage": naming.TOTAL})

    def minutes(n, calls, slow):
        for _ in range(n):
            for i in range(calls):
                world.monitor.observe(total, 0.8 if i < slow else 0.02)
            world.tick(60)
            world.evaluate()

    minutes(12, 30, 0)
    assert told(world, naming.SLOW) == {}
    minutes(8, 30, 1)  # a thirtieth takes 0.8 s
    found = told(world, naming.SLOW)
    assert set(found) == {"latency_p99"} and found["latency_p99"].by_owner
    said = found["latency_p99"].text.replace("\xa0", " ")
    assert re.fullmatch(r"99 % of predictions take up to \d+ ms, limit 100 ms \(set by owner\)", said)
    minutes(8, 30, 20)
    assert set(told(world, naming.SLOW)) == {"latency_p50", "latency_p99"}, "p95 is below 2 s"


def test_an_owners_limit_of_empty_answers_wins_over_what_is_usual(live):
    world = live("empty = 0.02")
    world.hour()
    assert told(world, naming.EMPTY_HIGH) == {}
    world.monitor.record(draw(4)[0])  # no answer
    world.hour()
    found = told(world, naming.EMPTY_HIGH)["empty"]
    assert found.by_owner and found.threshold == 0.02 and found.value == pytest.approx(4 / 84)
    assert found.text.endswith(", limit 2.0\xa0% (set by owner)")


RUNNING = Status("http://a:8000", up=True, models=("m",), usage={"memory": 2.5e9, "cpu": 0.5, "disk": 0.95})


def test_processes_past_a_limit_of_resources_are_told():
    found = resources("m", [RUNNING], {"memory": 2e9, "cpu": 1.0, "disk": 0.9, "errors": 0.1}, 600.0)
    assert {c.signal: c.active for c in found} == {"memory": True, "cpu": False, "disk": True}
    assert all(c.by_owner and c.column == "http://a:8000" for c in found)
    assert found[0].text == "http://a:8000 uses 2.5 GB of memory, limit 2 GB (set by owner)"
    assert resources("other", [RUNNING], {"memory": 1.0}, 600.0) == []
    assert resources("m", [Status("http://a:8000")], {"memory": 1.0}, 600.0) == []


def test_limits_and_mutes_are_told_to_prometheus(tmp_path):
    config = Config(
        store=str(tmp_path / "tiles.duckdb"), port=0,
        models={"risk": ModelConfig(limits=parse({"errors": 0.02, "amount.missing": 0.08, "memory": "1 kB"}))},
    )  # fmt: skip
    server = Server(config, clock=Clock(start=START + 2.1 * HOUR, origin=0.0, speed=1e-9))
    world = World(tmp_path, config, REFERENCE())
    world.tiles, world.ledger, world.references = server.tiles, server.ledger, server.references
    try:
        server.poller.references[world.reference.id] = world.reference.to_json()
        for _ in range(2):
            world.hour(change=some_blank)
        text = server.metrics().decode()
        assert 'ml_limit{limit="errors",model="risk"} 0.02' in text
        assert 'ml_limit{limit="memory",model="risk"} 1000.0' in text and 'limit="amount' not in text
        assert re.search(r'ml_signal_threshold\{column="amount",model="risk",signal="A".*\} 0\.08', text)
        assert re.search(
            r'ml_alert_state\{alert="MLModelFeatureShifted",column="amount".*state="firing"', text
        )
        server.ledger.save_mute(Mute.of("risk", "", "amount", START - 1.0, START + 1e6, "r", "ada"))
        muted = server.metrics().decode()
        states = set(re.findall(r'ml_alert_state\{[^}]*column="amount"[^}]*state="(\w+)"', muted))
        assert states == {"muted"}
    finally:
        world.monitor.close()
        server._socket.close()
        server.tiles.close()
