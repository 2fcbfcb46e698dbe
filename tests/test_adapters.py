"""Other servers' metrics in our vocabulary: each adapter is fed the exposition that its server documents."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import promtool
from barograph import naming
from barograph.mixin import adapters, rules
from barograph.mixin.adapters import ADAPTERS
from barograph.mixin.options import Options

# Each as its server documents it, or as a running one of the version named has answered.
TRITON = """
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="fraud",version="1"} 160
# HELP nv_inference_request_failure Number of failed inference requests, all batch sizes
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="fraud",reason="OTHER",version="1"} 2
nv_inference_request_failure{model="fraud",reason="BACKEND",version="1"} 38
nv_inference_request_failure{model="fraud",reason="CANCELED",version="1"} 0
nv_inference_request_failure{model="fraud",reason="REJECTED",version="1"} 0
# HELP nv_inference_count Number of inferences performed (does not include cached requests)
# TYPE nv_inference_count counter
nv_inference_count{model="fraud",version="1"} 640
# HELP nv_inference_request_duration_us Cumulative inference request duration in microseconds (includes cached requests)
# TYPE nv_inference_request_duration_us counter
nv_inference_request_duration_us{model="fraud",version="1"} 48000000
# HELP nv_inference_queue_duration_us Cumulative inference queuing duration in microseconds (includes cached requests)
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="fraud",version="1"} 8000000
# HELP nv_inference_compute_infer_duration_us Cumulative compute inference duration in microseconds
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="fraud",version="1"} 32000000
"""


def histogram(name: str, labels: str, buckets: dict[str, float], total: float) -> str:
    """A histogram as prometheus_client writes it."""
    lines = [f"# HELP {name} As documented.", f"# TYPE {name} histogram"]
    lines += [f'{name}_bucket{{le="{le}",{labels}}} {n}' for le, n in buckets.items()]
    return "\n".join(
        [*lines, f"{name}_count{{{labels}}} {buckets['+Inf']}", f"{name}_sum{{{labels}}} {total}\n"]
    )


_STEPS = {"0.005": 0.0, "0.1": 40.0, "0.25": 60.0, "0.5": 80.0, "1.0": 100.0, "+Inf": 100.0}
KSERVE = "".join(
    histogram(f"request_{stage}_seconds", 'model_name="iris"', _STEPS, seconds)
    for stage, seconds in (("preprocess", 5.0), ("predict", 25.0), ("postprocess", 2.0))
)
MLSERVER = """
# HELP model_infer_request_success_total Model infer request success count
# TYPE model_infer_request_success_total counter
model_infer_request_success_total{model="taxi-eta",version="None"} 90.0
# HELP model_infer_request_failure_total Model infer request failure count
# TYPE model_infer_request_failure_total counter
model_infer_request_failure_total{model="taxi-eta",version="None"} 10.0
# HELP model_infer_request_duration Model infer request duration
# TYPE model_infer_request_duration summary
model_infer_request_duration_count{model="taxi-eta",version="None"} 100.0
model_infer_request_duration_sum{model="taxi-eta",version="None"} 20.0
"""
_BENTO = 'endpoint="{}",http_response_code="{}",runner_name="Summarization",service_name="summary",service_version="v7"'
BENTOML = """
# HELP bentoml_service_request_total Total number of HTTP requests
# TYPE bentoml_service_request_total counter
""" + "".join(
    f"bentoml_service_request_total{{{_BENTO.format(endpoint, code)}}} {n}\n"
    for endpoint, code, n in (
        ("/summarize", 200, 90),
        ("/summarize", 400, 30),
        ("/summarize", 500, 8),
        ("/summarize", 503, 2),
        ("/healthz", 200, 500),
        ("/", 200, 3),
    )
)
BENTOML += histogram(
    "bentoml_service_request_duration_seconds", _BENTO.format("/summarize", 200), _STEPS, 25.0
)
BENTOML += """# HELP bentoml_service_request_in_progress Number of requests in progress
# TYPE bentoml_service_request_in_progress gauge
bentoml_service_request_in_progress{endpoint="/summarize",runner_name="S",service_name="summary",service_version="v7"} 3
"""
_RAY = 'application="{}",deployment="Ranker",replica="r1",route="/rank"'
_RAY_STEPS = {f"{ms}.0": min(100.0, ms / 10) for ms in adapters.MILLISECONDS} | {"+Inf": 100.0}
RAY_SERVE = f"""
# HELP ray_serve_deployment_request_counter_total The number of queries that have been processed in this replica.
# TYPE ray_serve_deployment_request_counter_total counter
ray_serve_deployment_request_counter_total{{{_RAY.format("shop")}}} 95
# HELP ray_serve_deployment_error_counter_total The number of exceptions that have occurred in this replica.
# TYPE ray_serve_deployment_error_counter_total counter
ray_serve_deployment_error_counter_total{{{_RAY.format("shop")}}} 5
# HELP ray_serve_replica_processing_queries The current number of queries being processed.
# TYPE ray_serve_replica_processing_queries gauge
ray_serve_replica_processing_queries{{{_RAY.format("")}}} 4
""" + histogram("ray_serve_deployment_processing_latency_ms", _RAY.format("shop"), _RAY_STEPS, 40_000.0)
_VLLM = 'engine="0",model_name="org/llm-8b"'
VLLM = "# HELP vllm:request_success_total Count of successfully processed requests.\n"
VLLM += "# TYPE vllm:request_success_total counter\n" + "".join(
    f'vllm:request_success_total{{{_VLLM},finished_reason="{reason}"}} {n}\n'
    for reason, n in (("stop", 80), ("length", 20), ("abort", 7), ("error", 1))
)
VLLM += f"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{{_VLLM}}} 2
"""
VLLM += histogram("vllm:e2e_request_latency_seconds", _VLLM, _STEPS, 30.0)
VLLM += histogram("vllm:time_to_first_token_seconds", _VLLM, _STEPS, 10.0)
VLLM += "".join(
    histogram(f"vllm:request_{part}_time_seconds", _VLLM, _STEPS, s)
    for part, s in (("queue", 1.0), ("prefill", 9.0), ("decode", 20.0))
)
EXPOSITIONS = {
    "triton": TRITON,
    "kserve": KSERVE,
    "mlserver": MLSERVER,
    "bentoml": BENTOML,
    "ray_serve": RAY_SERVE,
    "vllm": VLLM,
}

TIMES = 10  # minutes; counters grow by what the exposition says each minute


def series(exposition: str) -> dict[str, str]:
    """What promtool reads: counters that grow by their value each minute, and gauges that stand.

    prometheus_client's parser would add `_total` to the names of Triton's counters.
    """
    gauges = set(re.findall(r"^# TYPE (\S+) gauge$", exposition, re.MULTILINE))
    return {
        f'{name}{{{labels},instance="a",job="servers"}}': f"{value}x30" if name in gauges else f"0+{value}x30"
        for name, labels, value in re.findall(r"^([\w:]+)\{(.*)\} (\S+)$", exposition, re.MULTILINE)
    }


def groups(name: str) -> list[dict[str, Any]]:
    """The adapter's rules, then the mixin's."""
    text = adapters.files(Options())[f"adapters/{name}.yaml"]
    return [*yaml.safe_load(text)["groups"], *rules.groups(Options())]


VOCABULARY = '{__name__=~"ml_.*"}'


@cache
def answers(name: str) -> dict[str, dict[str, float]]:
    """What is answered after ten minutes, in one run: expression -> labels -> value."""
    asked = [*EXPECTED[name], VOCABULARY]
    return promtool.ask(groups(name), series(EXPOSITIONS[name]), asked, at=TIMES)


SECONDS = "model_version_stage:ml_prediction_duration_seconds:mean5m"
P95 = "model_version_stage:ml_prediction_duration_seconds:p95_5m"
# For each server: an expression in our vocabulary, and what it answers after ten minutes.
EXPECTED: dict[str, dict[str, float]] = {
    "triton": {
        'ml_predictions_total{model="fraud",version="1"}': 6400,
        'ml_prediction_errors_total{model="fraud",error="BACKEND"}': 380,
        'ml_prediction_duration_seconds_sum{stage="total"}': 480,
        f'{SECONDS}{{model="fraud",version="1",stage="total"}}': 0.3,
        f'{SECONDS}{{model="fraud",version="1",stage="queue"}}': 0.05,
        f'{SECONDS}{{model="fraud",version="1",stage="predict"}}': 0.2,
        'model_version:ml_prediction_errors:ratio5m{model="fraud"}': 0.2,
    },
    "kserve": {
        'ml_predictions_total{model="iris",version="0"}': 1000,
        f'{SECONDS}{{model="iris",version="0",stage="total"}}': 0.25,
        f'{SECONDS}{{model="iris",version="0",stage="predict"}}': 0.25,
        f'{SECONDS}{{model="iris",version="0",stage="preprocess"}}': 0.05,
        f'{P95}{{model="iris",version="0",stage="total"}}': 0.875,
        'model_version:ml_prediction_duration_seconds:slow_ratio5m{model="iris"}': 0.2,
    },
    "mlserver": {
        'ml_predictions_total{model="taxi-eta",version="None"}': 900,
        'sum by (model, version) (ml_prediction_errors_total{error!=""})': 100,
        f'{SECONDS}{{model="taxi-eta",stage="total"}}': 0.2,
    },
    "bentoml": {
        'sum by (model, version) (ml_predictions_total{model="summary",version="v7"})': 900,
        'ml_prediction_errors_total{model="summary",version="v7",error="503"}': 20,
        "count(ml_prediction_errors_total)": 2,
        'ml_predictions_in_progress{model="summary"}': 3,
        f'{P95}{{model="summary",version="v7",stage="total"}}': 0.875,
        'model_version:ml_prediction_errors:ratio5m{model="summary",version="v7"}': 10 / 110,
        'model_version:ml_prediction_duration_seconds:slow_ratio5m{model="summary"}': 0.2,
    },
    "ray_serve": {
        'ml_predictions_total{model="shop/Ranker",version="0"}': 950,
        'ml_prediction_errors_total{model="shop/Ranker",version="0",error="exception"}': 50,
        'ml_predictions_in_progress{model="Ranker"}': 4,
        'ml_prediction_duration_seconds_bucket{model="shop/Ranker",stage="total",le="0.5"}': 500,
        "count(ml_prediction_duration_seconds_bucket)": len(adapters.MILLISECONDS) + 1,
        f'{SECONDS}{{model="shop/Ranker",stage="total"}}': 0.4,
        f'{P95}{{model="shop/Ranker",stage="total"}}': 0.95,
        'model_version:ml_prediction_duration_seconds:slow_ratio5m{model="shop/Ranker"}': 0.5,
    },
    "vllm": {
        'sum by (model, version) (ml_predictions_total{model="org/llm-8b",version="0"})': 1000,
        'ml_prediction_errors_total{model="org/llm-8b",error="error"}': 10,
        'ml_predictions_in_progress{model="org/llm-8b"}': 2,
        f'{SECONDS}{{model="org/llm-8b",stage="total"}}': 0.3,
        f'{SECONDS}{{model="org/llm-8b",stage="first_token"}}': 0.1,
        f'{SECONDS}{{model="org/llm-8b",stage="decode"}}': 0.2,
        f'{P95}{{model="org/llm-8b",stage="total"}}': 0.875,
    },
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_promtool_finds_nothing_to_say(name, tmp_path):
    (tmp_path / "a.yaml").write_text(adapters.files(Options())[f"adapters/{name}.yaml"])
    command = [promtool.program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", "a.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_exposition_is_one_that_prometheus_reads(name):
    done = subprocess.run(
        [promtool.program("promtool"), "check", "metrics"],
        input=EXPOSITIONS[name].strip() + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error while linting" not in done.stderr, (
        done.stderr
    )  # they do not all keep to the conventions of names


@pytest.mark.parametrize(
    ("name", "expression", "expected"),
    [(name, expression, value) for name, found in EXPECTED.items() for expression, value in found.items()],
)
def test_a_server_s_numbers_are_ours(name, expression, expected):
    (found,) = answers(name)[expression].values()
    assert found == pytest.approx(expected)


def test_every_adapter_has_an_exposition_and_expectations():
    assert set(ADAPTERS) == set(EXPOSITIONS) == set(EXPECTED)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_asks_only_for_what_its_server_shows(name):
    """A name that is not in the exposition is a guess."""
    shown = {sample.partition("{")[0] for sample in series(EXPOSITIONS[name])}
    for recording in ADAPTERS[name].recordings():
        asked = re.findall(
            r"\b(?:nv_|request_|model_infer|bentoml_|ray_|vllm:)[\w:]+(?=[{,) ]|$)", recording.expression
        )
        assert asked
        if "explain" not in recording.expression:  # KServe's explainers have it
            assert set(asked) <= shown, recording.expression


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_recorded_is_in_our_vocabulary(name):
    metrics = {m.name: m for m in naming.METRICS.values()}
    for recording in ADAPTERS[name].recordings():
        assert metrics[recording.metric.name] is recording.metric
        assert recording.suffix in (
            ("_bucket", "_sum", "_count") if recording.metric is naming.DURATION else ("",)
        )
    assert answers(name)[VOCABULARY]
    for labels in answers(name)[VOCABULARY]:
        for label in ("model", "version", "instance"):
            assert f'{label}="' in labels, labels
        if "duration" in labels:
            assert 'stage="' in labels
        if "errors" in labels:
            assert 'error="' in labels


def test_an_alert_works_on_another_server_s_numbers(tmp_path):
    story = promtool.Story(series(TRITON), at=20, fires=[{"model": "fraud", "version": "1"}])
    assert promtool.tell(tmp_path, naming.ERRORS_HIGH.name, story, before=groups("triton")[:1]) == ""


def test_the_rule_in_the_docs_makes_business_events_of_a_counter_that_is_there_already(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "mixin.md").read_text()
    own = yaml.safe_load(re.search(r"```yaml\n(groups:.+?)```", page, re.DOTALL)[1])["groups"]
    week = 7 * 1440 // 4
    orders = f"0+80x59 _x{week - 60 - 15} 0+80x29 2320x60"  # as many a week ago, and then none
    story = promtool.Story(
        {'shop_orders_total{job="shop",instance="a"}': orders},
        at=(7 * 1440 + 160) // 4 * 4,
        fires=[{"model": "ranking", "event": "order"}],
        step=4,
        evaluate=4,
    )
    assert promtool.tell(tmp_path, naming.BUSINESS_STOPPED.name, story, before=own) == ""
