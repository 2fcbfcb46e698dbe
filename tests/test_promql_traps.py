"""Traps of PromQL that are known from practice, each on a real Prometheus: the usual query is wrong, ours is right."""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest

from barograph import Monitor, Reference, naming, promql
from barograph.mixin import alerts, rules
from barograph.mixin.options import Options
from promtool import program

pytestmark = pytest.mark.workers

START = 1_700_000_000 // 7200 * 7200  # a block of Prometheus begins here
STEP = 15  # seconds between scrapes
STEPS = 3 * 3600 // STEP
END = START + (STEPS - 1) * STEP
MINUTES_5 = 300 // STEP
LATE = STEPS - 20
Value = Callable[[int], float | None]


def growing(by: float) -> Value:
    """A counter that grows by so many at each scrape."""
    return lambda k: by * k


def buckets(name: str, labels: str, shares: dict[str, float], by: float) -> dict[str, Value]:
    """A histogram whose cumulative buckets hold these shares of `by` values a scrape."""
    found = {f'{name}_bucket{{{labels},le="{le}"}}': growing(by * share) for le, share in shares.items()}
    return {**found, f"{name}_count{{{labels}}}": growing(by), f"{name}_sum{{{labels}}}": growing(by * 0.2)}


M = 'model="m",version="1"'
CELLS = {"c00": 4, "c01": 8, "zero": 0, "missing": 0}
SERIES: dict[str, Value] = {
    # a counter that is first seen at 5, and one that was there at 0
    'late_total{at="5"}': lambda k: None if k < STEPS - 10 else 5.0,
    'late_total{at="0"}': lambda k: 0.0 if k < STEPS - 10 else 5.0,
    # a process that restarts
    'restarted_total{instance="a"}': lambda k: 2.0 * (k if k < STEPS - 20 else k - STEPS + 20),
    # ratings of 1 to 5, ten a scrape, two of each
    **buckets("rating", 'model="m"', {"1": 0.2, "2": 0.4, "3": 0.6, "4": 0.8, "5": 1.0, "+Inf": 1.0}, 10),
    # two replicas, one of which fails at times
    f'ml_predictions_total{{{M},instance="a"}}': growing(30),
    f'ml_predictions_total{{{M},instance="b"}}': growing(10),
    f'ml_prediction_errors_total{{{M},error="x",instance="a"}}': growing(0),
    f'ml_prediction_errors_total{{{M},error="x",instance="b"}}': growing(2),
    **buckets(
        "ml_prediction_duration_seconds",
        f'{M},stage="total",instance="a"',
        {"0.1": 0.5, "0.5": 0.9, "1.0": 0.99, "2.0": 1.0, "+Inf": 1.0},
        30,
    ),
    **buckets(
        "ml_prediction_duration_seconds",
        f'{M},stage="total",instance="b"',
        {"0.1": 0.0, "0.5": 0.5, "1.0": 1.0, "2.0": 1.0, "+Inf": 1.0},
        10,
    ),
    # a model that answered nothing in the last hour, and one that is gone
    'ml_predictions_total{model="quiet",version="1",instance="a"}': lambda k: min(k, STEPS - 260),
    'ml_prediction_errors_total{model="quiet",version="1",error="x",instance="a"}': growing(0),
    'ml_predictions_total{model="gone",version="1",instance="a"}': lambda k: (
        float(k) if k < STEPS - 200 else None
    ),
    # cells of a column by two sets of bins, on two replicas
    **{
        f'ml_column_values_total{{{M},bins="{bins}",column="x",role="feature",cell="{cell}",instance="{i}",pod="{i}"}}': growing(
            n * factor
        )
        for bins, factor in (("aaaa", 1), ("bbbb", 10))
        for cell, n in CELLS.items()
        for i in ("a", "b")
    },
    # recordings every five minutes
    "recorded:every:5m": lambda k: 7.0 if k % MINUTES_5 == 0 else None,
    "recorded:late:5m": lambda k: 7.0 if k in (LATE - MINUTES_5 - 2, LATE) else None,  # half a minute late
    # gauges of two evaluators; the last scrape of one failed
    'ml_alert_state{model="m",version="1",alert="MLModelFeatureShifted",column="x",signal="D",state="firing",instance="a"}': lambda k: (
        1.0
    ),
    'ml_alert_state{model="m",version="1",alert="MLModelFeatureShifted",column="x",signal="D",state="firing",instance="b"}': lambda k: (
        1.0
    ),
    'flapping{instance="a"}': lambda k: 1.0 if k < STEPS - 4 else None,
    # HTTP as prometheus-fastapi-instrumentator counts it
    'http_requests_total{handler="/predict",method="POST",status="2xx"}': growing(9),
    'http_requests_total{handler="/predict",method="POST",status="5xx"}': growing(1),
    **buckets(
        "http_request_duration_seconds",
        'handler="/predict",method="POST"',
        {"0.1": 0.2, "0.5": 0.9, "1.0": 1.0, "+Inf": 1.0},
        10,
    ),
}


WEEK = 7 * 86_400
HOURS = promql.events_name(naming.PREDICTIONS, 3600)
# Events of hours: by model and seconds before the end of the samples.
EARLIER = {
    ("steady", week * WEEK - later): n - later / 100
    for week, n in ((1, 100), (2, 64), (3, 81))
    for later in (0, 3600)
}
EARLIER |= {("hole", 2 * WEEK): 50.0, ("new", WEEK // 2): 70.0}


def _oldest(one: tuple[tuple[str, int], float]) -> tuple[str, int]:
    return one[0][0], -one[0][1]


def openmetrics() -> str:
    """The samples as `promtool tsdb create-blocks-from openmetrics` reads them."""
    lines = [
        f'{HOURS}{{model="{model}"}} {n!r} {END - ago}'
        for (model, ago), n in sorted(EARLIER.items(), key=_oldest)
    ]
    for name, value in SERIES.items():
        found = ((k, value(k)) for k in range(STEPS))
        lines += [f"{name} {n!r} {START + k * STEP}" for k, n in found if n is not None]
    return "\n".join([*lines, "# EOF\n"])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def ask(tmp_path_factory) -> Iterator[Callable[..., dict[str, float]]]:
    """Asks a Prometheus that holds the samples: expression (and seconds before their end) -> value by its labels."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples").write_text(openmetrics())
    (folder / "prometheus.yml").write_text("{}")
    made = ["tsdb", "create-blocks-from", "openmetrics", "--quiet", "samples", "data"]
    subprocess.run([program("promtool"), *made], cwd=folder, check=True, capture_output=True, timeout=60)
    port = free_port()
    command = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=50y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ})
    api = f"http://127.0.0.1:{port}/api/v1/query"

    def query(expression: str, before: float = 0) -> dict[str, float]:
        answer = httpx.post(api, data={"query": expression, "time": END - before}).json()
        assert answer["status"] == "success", (expression, answer)
        found = {}
        for one in answer["data"]["result"]:
            labels = " ".join(f"{k}={v}" for k, v in sorted(one["metric"].items()) if k != "__name__")
            found[labels] = float(one["value"][1])
        return found

    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError, KeyError):
                if query("vector(1)"):
                    break
            assert time.monotonic() < deadline and process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield query
    finally:
        process.terminate()
        process.wait(timeout=15)


def only(found: dict[str, float]) -> float:
    (value,) = found.values()
    return value


EDGES = 0.14  # versions of Prometheus differ by as much on what a window holds


# 0. Nothing aggregates across bins.


def test_counts_of_different_bins_stay_apart(ask):
    naive = ask("sum by (model, version, column, cell) (increase(ml_column_values_total[5m]))")
    assert len(naive) == len(CELLS)  # PromQL does not refuse
    ours = ask(promql.cells("5m"))
    assert len(ours) == 2 * len(CELLS) and all("bins=" in labels for labels in ours)
    by_bins = ask(f"sum without (cell) ({promql.cells('5m')})")
    small, large = (n for _, n in sorted(by_bins.items()))
    assert large == pytest.approx(10 * small)
    for share in ask(f"sum without (cell) ({promql.smoothed_share(promql.cells('1h'))})").values():
        assert share == pytest.approx(1)


# 1. A counter that is first seen at 5 has not grown.


def test_a_counter_that_is_first_seen_at_5_has_not_grown(ask):
    found = ask("increase(late_total[5m])")
    assert found["at=5"] == 0
    assert found["at=0"] == pytest.approx(5, rel=EDGES)


def test_our_counters_are_there_before_the_first_row(tmp_path):
    rng = np.random.default_rng(0)
    reference = Reference.fit(
        {"x": rng.normal(size=500), "p": rng.beta(2, 5, 500)}, task="binary", score="p", threshold=0.5
    )
    monitor = Monitor("m", version="1", reference=reference, directory=tmp_path)
    monitor.flush()
    lines = [line for line in monitor.render().decode().splitlines() if not line.startswith("#")]
    for metric in (naming.PREDICTIONS, naming.EMPTY, naming.COLUMN_VALUES, naming.DURATION):
        mine = [line for line in lines if line.startswith(metric.name)]
        assert mine and all(float(line.rpartition(" ")[2]) == 0 for line in mine)
    monitor.close()


def test_a_restart_is_no_fall(ask):
    grown = only(ask("increase(restarted_total[15m])"))
    assert grown == pytest.approx(2 * 900 / STEP, rel=EDGES)


# 4. Buckets are cumulative.


def test_buckets_are_cumulative(ask):
    total = only(ask("sum(increase(rating_count[5m]))"))
    naive = only(ask('sum(increase(rating_bucket{le=~"3|4|5"}[5m]))'))
    right = only(ask('sum(increase(rating_bucket{le="5"}[5m])) - sum(increase(rating_bucket{le="2"}[5m]))'))
    assert naive == pytest.approx(2.4 * total)  # more than there are
    assert right == pytest.approx(0.6 * total)


def test_the_share_of_slow_calls_takes_one_bucket(ask):
    found = only(ask(promql.slow_ratio("5m", 0.5)))
    assert found == pytest.approx((30 * 0.1 + 10 * 0.5) / 40)
    assert only(ask(promql.slow_ratio("5m", 1.0))) == pytest.approx(30 * 0.01 / 40)


def test_quantiles_are_of_all_replicas_and_not_a_mean_of_theirs(ask):
    ours = only(ask(promql.quantile(0.9, "5m")))
    averaged = only(ask("avg(histogram_quantile(0.9, rate(ml_prediction_duration_seconds_bucket[5m])))"))
    assert ours == pytest.approx(0.5 + 0.5 * (36 - 32) / (39.7 - 32))
    assert averaged == pytest.approx((0.5 + 0.9) / 2)
    assert only(ask(promql.highest("5m"))) == 2.0
    assert only(ask(promql.mean("5m"))) == pytest.approx(0.2)


# 5. A ratio over absent series is absent.


def test_a_ratio_without_calls_is_absent_and_not_nan(ask):
    naive = ask(
        'rate(ml_prediction_errors_total{model="quiet"}[5m]) / ignoring (error) rate(ml_predictions_total{model="quiet"}[5m])'
    )
    assert np.isnan(only(naive))
    assert ask(promql.error_ratio("5m", 'model="quiet"')) == {}
    assert only(ask(promql.error_ratio("5m", 'model="m"'))) == pytest.approx(2 / 42)
    assert ask(promql.error_ratio("5m", 'model="gone"')) == {}


def test_what_is_absent_is_not_0(ask):
    """Nothing came from one model, the other is gone: `== 0` sees the first one only, `unless ... > 0` both."""
    came = promql.increase(naming.PREDICTIONS, "5m", by=promql.MODEL)
    known = "group by (model) (ml_predictions_total offset 2h)"
    assert set(ask(f"{came} == 0")) == {"model=quiet"}
    assert set(ask(f"{known} unless on (model) {came} > 0")) == {"model=gone", "model=quiet"}


def test_silence_is_looked_for_in_what_was_expected(ask):
    written = alerts.silent(naming.PREDICTIONS)
    hour = f"{promql.events_name(naming.PREDICTIONS, promql.HOUR)} offset 1h"
    written = written.replace(hour, "(sum by (model) (increase(ml_predictions_total[1h] offset 1h)))")
    for window in promql.STEADY_WINDOWS:
        steady = promql.steady_name(naming.PREDICTIONS, window)
        written = written.replace(steady, "group by (model) (ml_predictions_total offset 2h)")
    for window in promql.SILENCE_WINDOWS:
        came = promql.increase(naming.PREDICTIONS, promql.span(window), by=promql.MODEL)
        written = written.replace(promql.events_name(naming.PREDICTIONS, window), f"({came})")
    written = written.replace(
        promql.expected_name(naming.PREDICTIONS), "group by (model) (ml_predictions_total offset 2h) * 240"
    )
    alive = written.replace(promql.RULES_ALIVE, 'ml_alert_state{instance="a"}')
    assert set(ask(alive)) == {"model=gone", "model=quiet"}
    assert {round(n) for n in ask(alive).values()} == {20}
    assert ask(written) == {}  # no rule was evaluated when the window began: Prometheus itself was down


def test_what_is_usual_is_the_median_of_earlier_weeks(ask):
    """An hour that is absent where an older one is known had no events; nothing is usual for a model that is new."""
    metric = naming.PREDICTIONS
    past, coming = rules.usual(metric), rules.usual(metric, later=3600)
    assert ask(past) == {"model=steady": 81, "model=hole": 25}
    assert ask(coming) == {"model=steady": 81 - 36}
    expected = rules.traffic()[promql.expected_name(metric)]
    for name, expression in (
        (promql.usual_name(metric, coming=True), coming),
        (promql.usual_name(metric), past),
    ):
        expected = expected.replace(name, f"({expression})")
    assert ask(expected) == {"model=steady": 81 - 36}


# 6. A scrape that failed.


def test_a_gauge_outlives_a_failed_scrape(ask):
    before = 2 * STEP
    assert ask("max_over_time(flapping[5m]) == 1", before) != {}
    assert ask(f"max_over_time(flapping[{STEP}s]) == 1") == {}


# 7. Smoothed shares.


def test_smoothed_shares_add_up_to_1_and_none_is_0(ask):
    counts = "sum without (instance, pod) (ml_column_values_total{bins='aaaa'})"
    ours = ask(promql.smoothed_share(counts))
    assert sum(ours.values()) == pytest.approx(1) and min(ours.values()) > 0
    n = 2 * sum(CELLS.values()) * (STEPS - 1)
    missing = next(share for labels, share in ours.items() if "cell=missing" in labels)
    assert missing == pytest.approx(0.5 / (n + 0.5 * len(CELLS)))
    naive = ask(f"({counts} + 0.5) / ignoring (cell) group_left () (sum without (cell) ({counts}) + 0.5)")
    assert sum(naive.values()) > 1 + 1 / n


# 8. Edges of windows.


def test_an_hour_of_recordings_holds_twelve_of_them(ask):
    at = (STEPS - 1) % MINUTES_5 * STEP  # seconds since the last recording
    inclusive = only(ask("count_over_time(recorded:every:5m[1h])", at))
    assert inclusive in (12, 13)  # Prometheus 3 leaves the left edge out, 2 does not
    assert only(ask("count_over_time(recorded:every:5m[59m])", at)) == 12
    hour = rules.counts()[promql.CELLS_1H].replace(promql.CELLS_5M, "recorded:every:5m")
    assert only(ask(hour, at)) == 12 * 7


def test_a_recording_that_is_late_leaves_a_gap_unless_the_latest_is_asked_for(ask):
    before = (STEPS - 1 - LATE) * STEP + STEP  # just before the late one
    assert ask("recorded:late:5m", before) == {}
    assert only(ask(promql.latest("recorded:late:5m"), before)) == 7


@pytest.mark.parametrize("window", ["5m", "15m", "1h"])
def test_a_window_holds_what_was_counted_but_for_its_edges(ask, window):
    seconds = {"5m": 300, "15m": 900, "1h": 3600}[window]
    found = only(ask(promql.increase(naming.PREDICTIONS, window, 'model="m"')))
    assert found == pytest.approx(40 * seconds / STEP, rel=EDGES)


# 10. Replicas add up.


def test_counts_of_replicas_add_up_and_name_none(ask):
    found = ask(promql.cells("5m", 'bins="aaaa"'))
    assert not any("instance" in labels or "pod" in labels for labels in found)
    one = ask('increase(ml_column_values_total{bins="aaaa",instance="a"}[5m])')
    assert sorted(found.values()) == pytest.approx(sorted(2 * n for n in one.values()))


# 11. Two evaluators.


def test_two_evaluators_say_the_same_thing_once(ask):
    expression = alerts.judged(naming.FEATURE_SHIFTED)(Options())
    assert ask("sum without (instance) (ml_alert_state)") != {}
    assert only(ask(expression)) == 1
    assert only(ask(f"count({expression})")) == 1


# The usual queries on HTTP work as they are written.


def test_golden_signals_of_http_are_as_everybody_writes_them(ask):
    every = "sum(rate(http_requests_total[5m]))"
    assert only(ask(every)) == pytest.approx(10 / STEP)
    assert only(ask(f'sum(rate(http_requests_total{{status="5xx"}}[5m])) / {every}')) == pytest.approx(0.1)
    mean = "rate(http_request_duration_seconds_sum[5m]) / rate(http_request_duration_seconds_count[5m])"
    assert only(ask(mean)) == pytest.approx(0.2)
    p95 = "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"
    assert only(ask(p95)) == pytest.approx(0.75)
    by_version = ask("sum by (model, version) (rate(ml_predictions_total[5m]))")
    assert by_version["model=m version=1"] == pytest.approx(40 / STEP)
