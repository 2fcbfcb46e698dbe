"""Other servers' metrics in this vocabulary: recording rules that rename, relabel and convert units. One file a server.

Counters stay counters, replica by replica, so that restarts are seen and all other rules work on them as they are.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from barograph import naming
from barograph.mixin.options import Options
from barograph.mixin.text import to_yaml
from barograph.naming import Metric
from barograph.promql import matcher, selector

FOLDER = "adapters"
VERSION = "0"  # of a server that tells none, as in Monitor
MILLISECONDS = (
    1, 2, 5, 10, 20, 50, 100, 200, 300, 400, 500, 1000, 2000, 5000, 10_000, 60_000, 120_000, 300_000, 600_000,
)  # fmt: skip
_COUNT, _SUM, _BUCKET = "_count", "_sum", "_bucket"


@dataclass(frozen=True, slots=True)
class Recording:
    """One rule: what is recorded (a metric and the suffix of its series), from what, with which labels added."""

    metric: Metric
    expression: str
    suffix: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        added = {"labels": dict(self.labels)} if self.labels else {}
        return {"record": f"{self.metric.name}{self.suffix}", "expr": self.expression, **added}


@dataclass(frozen=True, slots=True)
class Adapter:
    """A server: its name, what a reader must know of its metrics, and the rules."""

    name: str
    note: str
    recordings: Callable[[], Iterable[Recording]]


def files(_: Options) -> dict[str, str]:
    """A file of rules for each server."""
    return {f"{FOLDER}/{adapter.name}.yaml": _text(adapter) for adapter in ADAPTERS.values()}


def _text(adapter: Adapter) -> str:
    rules = [recording.to_dict() for recording in adapter.recordings()]
    header = f"{adapter.note}\nPut it among Prometheus' rule_files beside rules.yaml."
    return to_yaml({"groups": [{"name": f"barograph-{adapter.name}", "rules": rules}]}, header=header)


def _renamed(expression: str, **labels: str) -> str:
    """The same series with labels copied: `model="model_name"` copies the server's `model_name` to `model`."""
    for label, source in labels.items():
        expression = f'label_replace({expression}, "{label}", "$1", "{source}", "(.+)")'
    return expression


def _histogram(
    name: str, stage: str, rename: Callable[[str], str], *matchers: str, versioned: bool = False
) -> Iterator[Recording]:
    """A stage from a histogram in seconds."""
    labels = _labels(stage=stage) if versioned else _labels(stage=stage, version=VERSION)
    for suffix in (_BUCKET, _SUM, _COUNT):
        expression = rename(selector(name, *matchers, suffix=suffix))
        yield Recording(naming.DURATION, expression, suffix, labels)


def _labels(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(labels.items())


def _triton() -> Iterator[Recording]:
    done = selector("nv_inference_request_success")
    yield Recording(naming.PREDICTIONS, "nv_inference_count")
    yield Recording(naming.ERRORS, _renamed("nv_inference_request_failure", error="reason"))
    for stage, part in ((naming.TOTAL, "request"), ("queue", "queue"), (naming.PREDICT, "compute_infer")):
        microseconds = f"nv_inference_{part}_duration_us"
        yield Recording(naming.DURATION, f"{microseconds} / 1e6", _SUM, _labels(stage=stage))
        yield Recording(naming.DURATION, done, _COUNT, _labels(stage=stage))


def _kserve() -> Iterator[Recording]:
    def rename(expression: str) -> str:
        return _renamed(expression, model="model_name")

    asked = rename("request_predict_seconds_count")
    yield Recording(naming.PREDICTIONS, asked, labels=_labels(version=VERSION))
    yield from _histogram("request_predict_seconds", naming.TOTAL, rename)
    for stage in ("preprocess", naming.PREDICT, "postprocess", "explain"):
        yield from _histogram(f"request_{stage}_seconds", stage, rename)


def _mlserver() -> Iterator[Recording]:
    yield Recording(naming.PREDICTIONS, "model_infer_request_success_total")
    yield Recording(
        naming.ERRORS,
        "model_infer_request_failure_total",
        labels=_labels(error="model_infer_request_failure"),
    )
    for suffix in (_SUM, _COUNT):
        seconds = f"model_infer_request_duration{suffix}"
        yield Recording(naming.DURATION, seconds, suffix, _labels(stage=naming.TOTAL))


def _bentoml() -> Iterator[Recording]:
    def rename(expression: str) -> str:
        return _renamed(expression, model="service_name", version="service_version")

    asked = matcher("endpoint", r"/(healthz|livez|readyz|metrics|docs\.json)?|/static_content/.*", "!~")
    answered = matcher("http_response_code", "2..", "=~")
    failed = selector("bentoml_service_request_total", matcher("http_response_code", "5..", "=~"), asked)
    yield Recording(naming.PREDICTIONS, rename(selector("bentoml_service_request_total", answered, asked)))
    yield Recording(naming.ERRORS, _renamed(rename(failed), error="http_response_code"))
    yield Recording(naming.IN_PROGRESS, rename(selector("bentoml_service_request_in_progress", asked)))
    yield from _histogram(
        "bentoml_service_request_duration_seconds", naming.TOTAL, rename, answered, asked, versioned=True
    )


def _ray_serve() -> Iterator[Recording]:
    """PromQL cannot calculate with labels: each bound of a bucket is a rule of its own."""

    def rename(expression: str) -> str:
        joined = f'label_join({expression}, "model", "/", "application", "deployment")'
        return f'label_replace({joined}, "model", "$1", "model", "/(.+)")'  # without an application

    took = "ray_serve_deployment_processing_latency_ms"
    version = _labels(version=VERSION)
    total = _labels(version=VERSION, stage=naming.TOTAL)
    yield Recording(naming.PREDICTIONS, rename("ray_serve_deployment_request_counter_total"), labels=version)
    yield Recording(
        naming.ERRORS,
        rename("ray_serve_deployment_error_counter_total"),
        labels=(*version, ("error", "exception")),
    )
    yield Recording(naming.IN_PROGRESS, rename("ray_serve_replica_processing_queries"), labels=version)
    for bound in MILLISECONDS:
        held = rename(selector(took, matcher("le", rf"{bound}(\.0)?", "=~"), suffix=_BUCKET))
        yield Recording(naming.DURATION, held, _BUCKET, (*total, ("le", repr(bound / 1000))))
    held = rename(selector(took, matcher("le", "+Inf"), suffix=_BUCKET))
    yield Recording(naming.DURATION, held, _BUCKET, total)
    yield Recording(naming.DURATION, f"{rename(took + _SUM)} / 1e3", _SUM, total)
    yield Recording(naming.DURATION, rename(took + _COUNT), _COUNT, total)


def _vllm() -> Iterator[Recording]:
    def rename(expression: str) -> str:
        return _renamed(expression, model="model_name")

    finished = "vllm:request_success_total"
    answered = selector(finished, matcher("finished_reason", "abort|error", "!~"))
    failed = selector(finished, matcher("finished_reason", "error"))
    version = _labels(version=VERSION)
    yield Recording(naming.PREDICTIONS, rename(answered), labels=version)
    yield Recording(naming.ERRORS, _renamed(rename(failed), error="finished_reason"), labels=version)
    yield Recording(naming.IN_PROGRESS, rename("vllm:num_requests_running"), labels=version)
    yield from _histogram("vllm:e2e_request_latency_seconds", naming.TOTAL, rename)
    yield from _histogram("vllm:time_to_first_token_seconds", "first_token", rename)
    for stage in ("queue", "prefill", "decode"):
        yield from _histogram(f"vllm:request_{stage}_time_seconds", stage, rename)


ADAPTERS: dict[str, Adapter] = {
    a.name: a
    for a in (
        Adapter(
            "triton",
            "NVIDIA Triton Inference Server: microseconds become seconds; its counters have no _total.\n"
            "It tells sums of durations, not how they are spread: means by stage, no quantiles, no MLModelSlow.",
            _triton,
        ),
        Adapter(
            "kserve",
            "KServe's Python model servers. They time steps and no whole request: predict stands for total, too.\n"
            "They tell neither versions nor errors: take errors from your ingress.",
            _kserve,
        ),
        Adapter(
            "mlserver",
            "Seldon's MLServer. It tells sums of durations, not how they are spread: no quantiles, no MLModelSlow.\n"
            "A prediction is a request here; one that failed is timed, too.",
            _mlserver,
        ),
        Adapter(
            "bentoml",
            "BentoML 1.2 and later. A prediction is a request that was answered with 2xx; 5xx are errors, 4xx are neither.",
            _bentoml,
        ),
        Adapter(
            "ray_serve",
            "Ray Serve (Ray 2.10 and later): milliseconds become seconds, by its default buckets; the model is\n"
            "application/deployment. A prediction is a request here; one that failed is timed, too.",
            _ray_serve,
        ),
        Adapter(
            "vllm",
            "vLLM: a prediction is a request that was finished; one that the client broke off is none, and no error.",
            _vllm,
        ),
    )
}
