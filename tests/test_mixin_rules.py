"""The rules of the mixin: promtool accepts them, each alert fires on its incident and is silent without it."""

import re
import subprocess
from pathlib import Path

import pytest

import promtool
from barograph import alert, naming, promql
from barograph.mixin import alerts, rules
from barograph.mixin.alerts import ALERTS, WATCHDOG
from barograph.mixin.options import Options
from promtool import Story, program

OF_MODEL = {"model": "m", "version": "1"}
PREDICTIONS = 'ml_predictions_total{model="m",version="1",instance="a"}'
COUNT = 'ml_prediction_duration_seconds_count{model="m",version="1",stage="total",instance="a"}'
SOON = 'ml_prediction_duration_seconds_bucket{model="m",version="1",stage="total",le="0.5",instance="a"}'
ERRORS = 'ml_prediction_errors_total{model="m",version="1",error="ValueError",instance="a"}'
EMPTY = 'ml_empty_responses_total{model="m",version="1",instance="a"}'
ORDERS = 'ml_business_events_total{model="m",event="order",instance="a"}'
LIMIT = 'ml_limit{model="m",limit="%s",job="barograph",instance="e"}'
AT = {"job": "models", "instance": "a"}
HERE = 'model="m",version="1",job="models",instance="a"'
OTHER = HERE.replace('model="m"', 'model="n"')
REASON = 'ml_monitor_dropped_rows_total{model="m",version="1",instance="a",reason="%s"}'
UNSHARED = 'ml_monitor_workers_unshared{job="models",instance="a"}'
PASSED = 'ml_evaluator_last_success_timestamp_seconds{instance="%s"}'


def rising(by: float, steps: int, start: int = 0) -> str:
    """A counter over so many steps."""
    return f"{start}+{by}x{steps - 1}"


def state(
    rule: naming.Rule, instance: str, state: str = "firing", signal: str = "D", column: str = "delay"
) -> str:
    labels = f'model="m",version="1",alert="{rule.name}",column="{column}",signal="{signal}",state="{state}"'
    return f'ml_alert_state{{{labels},job="barograph",instance="{instance}"}}'


def info(version: str = "1", instance: str = "a", **labels: str) -> str:
    named = {"reference": "aaaa", "digest": "d1", "config": "c1", **labels}
    listed = ",".join(f'{k}="{v}"' for k, v in named.items())
    return f'ml_model_info{{model="m",version="{version}",instance="{instance}",{listed}}}'


def package(running: str, trained: str, version: str = "1", name: str = "scikit-learn") -> str:
    labels = f'package="{name}",running="{running}",trained="{trained}"'
    return f'ml_dependency_info{{model="m",version="{version}",instance="a",{labels}}}'


def week_ago(metric: str, by: float, step: int, now: str, *, earlier: bool = True) -> dict[str, str]:
    """A counter that grew by `by` a step for four hours a week ago, was not there since, and is `now` from an hour before
    the same hours on."""
    four, week = 240 // step, 7 * 1440 // step
    history = rising(by, four) if earlier else f"_x{four}"
    return {metric: f"{history} _x{week - four - 15} {now}"}


def at(step: int, minutes: int = 160) -> int:
    """The minute of the evaluation: so many minutes after the same time of the first hours a week ago."""
    return (7 * 1440 + minutes) // step * step


def silence(metric: str, labels: dict[str, str]) -> tuple[dict[str, Story], dict[str, Story]]:
    """Stories of events that stop: a hundred in five minutes at a step of 4 minutes, twenty an hour at one of 2."""
    going = rising(80, 30)
    quick, slow = {"step": 4, "evaluate": 4, "at": at(4)}, {"step": 2, "evaluate": 2, "at": at(2)}
    fires = {
        "it stops": Story(week_ago(metric, 80, 4, f"{going} 2320x60"), fires=[labels], **quick),
        "it is gone": Story(week_ago(metric, 80, 4, f"{going} _x60"), fires=[labels], **quick),
        "few an hour, and an hour without": Story(
            week_ago(metric, 1, 2, f"{rising(1, 25)} 24x100"), fires=[labels], **slow
        ),
    }
    calm = {
        "it goes on": Story(week_ago(metric, 80, 4, rising(80, 100)), **quick),
        "as quiet as ever": Story(week_ago(metric, 0, 4, "0x100"), **quick),
        "ten an hour, and an hour without": Story(
            week_ago(metric, 1 / 3, 2, f"{rising(1 / 3, 25)} 8x100"), **slow
        ),
        "nothing is known of last week": Story(
            week_ago(metric, 80, 4, f"{going} 2320x60", earlier=False), **quick
        ),
    }
    return fires, calm


def bursts(hours: int, then: int = 0) -> dict[str, str]:
    """Five hundred rows at each full hour, and none between; for so many hours, then so many without."""
    listed = " ".join(f"{500 * hour}x29" for hour in range(1, hours + 1))
    return {PREDICTIONS: f"{listed} {500 * hours}x{30 * then}"}


NO_TRAFFIC, TRAFFIC = silence(PREDICTIONS, {"model": "m"})
NO_ORDERS, ORDERED = silence(ORDERS, {"model": "m", "event": "order"})
SILENCE_REPLACED = Story(
    {
        **week_ago(PREDICTIONS, 80, 4, f"{rising(80, 20)} _x60"),
        PREDICTIONS.replace('"1"', '"2"'): f"_x{7 * 1440 // 4 + 3} {rising(80, 60)}",
    },
    at=at(4),
    step=4,
    evaluate=4,
)

DELAY = {**OF_MODEL, "column": "delay", "signal": "D", "job": "barograph"}


def judged(rule: naming.Rule) -> tuple[dict[str, Story], dict[str, Story]]:
    """Stories of what the evaluator says."""
    fires = {
        "two evaluators say so": Story({state(rule, i): "1x30" for i in ("a", "b")}, 20, [DELAY]),
        "a scrape failed": Story({state(rule, "a"): "1x10 _x3 1x10"}, 12, [DELAY]),
        "two columns": Story(
            {state(rule, "a", column=c): "1x30" for c in ("delay", "dep")},
            20,
            [DELAY, {**DELAY, "column": "dep"}],
        ),
    }
    others = [r for r in (naming.OUTPUT_SHIFTED, naming.INPUT_BROKEN, naming.FEATURE_SHIFTED) if r != rule]
    calm = {
        "pending": Story({state(rule, "a", "pending"): "1x30"}, 20),
        "over for six minutes": Story({state(rule, "a"): "1x10 _x20"}, 17),
        "another alert": Story({state(r, "a"): "1x30" for r in others}, 20),
    }
    return fires, calm


OUTPUT, INPUT, FEATURE = (
    judged(r) for r in (naming.OUTPUT_SHIFTED, naming.INPUT_BROKEN, naming.FEATURE_SHIFTED)
)
SCIKIT = {**OF_MODEL, "package": "scikit-learn", "running": "1.6", "trained": "1.5"}

# For each alert: incidents on which it fires, and times at which it does not.
STORIES: dict[naming.Rule, tuple[dict[str, Story], dict[str, Story]]] = {
    naming.NO_TRAFFIC: (
        {
            **NO_TRAFFIC,
            "a batch an hour, and two hours without": Story(
                bursts(172, then=3), at=171 * 60 + 124, fires=[{"model": "m"}], step=2, evaluate=2
            ),
        },
        {
            **TRAFFIC,
            "a new version took over": SILENCE_REPLACED,
            "a batch an hour": Story(bursts(175), at=172 * 60 + 40, step=2, evaluate=2),
            "a batch that is late": Story(bursts(172, then=3), at=172 * 60 + 10, step=2, evaluate=2),
        },
    ),
    naming.BUSINESS_STOPPED: (
        {name: NO_ORDERS[name] for name in ("it stops", "few an hour, and an hour without")},
        {
            **{name: ORDERED[name] for name in ("it goes on", "as quiet as ever")},
            "all replicas are new, and had one each": Story(
                {
                    **week_ago(ORDERS, 1, 2, f"{rising(1, 25)} _x60"),
                    **{
                        ORDERS.replace('"a"', f'"new{i}"'): f"_x{7 * 720 + 30 + i} 1x60"
                        for i in range(0, 50, 2)
                    },
                },
                at=at(2),
                step=2,
                evaluate=2,
            ),
        },
    ),
    naming.ERRORS_HIGH: (
        {
            "five in a hundred, for an hour": Story(
                {COUNT: rising(19, 500), ERRORS: f"0x299 {rising(1, 200)}"}, 370, [OF_MODEL]
            ),
            "one in a hundred, for hours": Story(
                {COUNT: rising(99, 500), ERRORS: rising(1, 500)}, 400, [OF_MODEL]
            ),
            "nothing is timed": Story({PREDICTIONS: rising(19, 100), ERRORS: rising(1, 100)}, 70, [OF_MODEL]),
            "all of them": Story({COUNT: "0x200", ERRORS: rising(1, 200)}, 70, [OF_MODEL]),
            "over for five minutes": Story(
                {COUNT: rising(19, 200), ERRORS: f"{rising(5, 100)} 495x100"}, 108, [OF_MODEL]
            ),
            "past its owner's limit": Story(
                {COUNT: rising(1000, 100), ERRORS: rising(1, 100), LIMIT % "errors": "0.0005x100"},
                70,
                [OF_MODEL],
            ),
        },
        {
            "one in a thousand": Story({COUNT: rising(1000, 500), ERRORS: rising(1, 500)}, 400),
            "five in a thousand": Story({COUNT: rising(199, 500), ERRORS: rising(1, 500)}, 400),
            "one of thirty an hour": Story({COUNT: "0+1x60", ERRORS: "0x50 1x20"}, 55),
            "nineteen, all failed": Story({COUNT: "0x100", ERRORS: "0+1x18 18x100"}, 22),
            "over for three quarters of an hour": Story(
                {COUNT: rising(19, 200), ERRORS: f"{rising(1, 100)} 99x100"}, 145
            ),
            "no series at all": Story({"up": "1x100"}, 60),
            "what its owner allows": Story(
                {COUNT: rising(19, 100), ERRORS: rising(1, 100), LIMIT % "errors": "0.1x100"}, 70
            ),
        },
    ),
    naming.SLOW: (
        {
            "a third, for an hour": Story({COUNT: rising(30, 200), SOON: rising(20, 200)}, 100, [OF_MODEL]),
            "a tenth, for hours": Story({COUNT: rising(30, 500), SOON: rising(27, 500)}, 450, [OF_MODEL]),
            "past its owner's limit": Story(
                {
                    COUNT: rising(200, 100),
                    SOON.replace('le="0.5"', 'le="0.2"'): rising(196, 100),
                    SOON: rising(199, 100),
                    SOON.replace('le="0.5"', 'le="+Inf"'): rising(200, 100),
                    LIMIT % "latency_p99": "0.3x100",
                    LIMIT % "latency_p50": "0.3x100",
                },
                70,
                [OF_MODEL],
            ),
        },
        {
            "one in two hundred": Story({COUNT: rising(200, 500), SOON: rising(199, 500)}, 400),
            "ten calls": Story({COUNT: "0+1x9 9x100", SOON: "0x110"}, 15),
            "what its owner allows": Story(
                {COUNT: rising(30, 200), SOON: rising(20, 200), LIMIT % "latency_p95": "2x200"}, 100
            ),
            "no buckets": Story({COUNT: rising(30, 200)}, 100),
        },
    ),
    naming.EMPTY_HIGH: (
        {
            "a tenth": Story(
                {PREDICTIONS: rising(50, 200), EMPTY: f"0x99 {rising(5, 100)}"}, 170, [OF_MODEL], evaluate=5
            ),
            "all of a new model": Story(
                {PREDICTIONS: rising(90, 60), EMPTY: rising(90, 60)}, 40, [OF_MODEL], evaluate=5
            ),
            "past its owner's limit": Story(
                {PREDICTIONS: rising(100, 100), EMPTY: rising(2, 100), LIMIT % "empty": "0.01x100"},
                90,
                [OF_MODEL],
                evaluate=5,
            ),
            "as usual and six points more": Story(
                {PREDICTIONS: rising(250, 400), EMPTY: f"{rising(50, 320)} {rising(140, 80, 16090)}"},
                1920,
                [OF_MODEL],
                step=5,
                evaluate=5,
            ),
        },
        {
            "as usual": Story(
                {PREDICTIONS: rising(250, 400), EMPTY: rising(50, 400)}, 1900, step=5, evaluate=5
            ),
            "what its owner allows": Story(
                {PREDICTIONS: rising(90, 60), EMPTY: rising(90, 60), LIMIT % "empty": "1x60"}, 40, evaluate=5
            ),
            "four in a hundred": Story(
                {PREDICTIONS: rising(100, 200), EMPTY: f"0x99 {rising(4, 100)}"}, 170, evaluate=5
            ),
            "by chance three times as usual, of forty rows": Story(
                {
                    PREDICTIONS: rising(10, 400),
                    EMPTY: " ".join(f"{i // 2}" for i in range(320)) + " 161 163 165 166" + " 166x60",
                },
                at=324 * 15,
                step=15,
                evaluate=5,
            ),
            "a new version of a model of which a third is empty": Story(
                {
                    PREDICTIONS: rising(90, 400),
                    EMPTY: rising(30, 400),
                    PREDICTIONS.replace('"1"', '"2"'): f"_x350 {rising(90, 50)}",
                    EMPTY.replace('"1"', '"2"'): f"_x350 {rising(30, 50)}",
                },
                at=358 * 5,
                step=5,
                evaluate=5,
            ),
            "a third, and nothing is known of earlier ones": Story(
                {PREDICTIONS: rising(90, 60), EMPTY: rising(30, 60)}, 40, evaluate=5
            ),
            "twenty rows, all empty": Story({PREDICTIONS: "0+1x20 20x50", EMPTY: "0+1x20 20x50"}, 50),
        },
    ),
    naming.OUTPUT_SHIFTED: OUTPUT,
    naming.QUALITY_LOW: judged(naming.QUALITY_LOW),
    **{
        rule: judged(rule)
        for rule in (
            naming.FEAR_CAME_TRUE,
            naming.SLOW_LEAK,
            naming.CONCEPT_DRIFT,
            naming.LABELS_LATE,
            naming.TRAIN_SERVE_SKEW,
        )
    },
    naming.INPUT_BROKEN: INPUT,
    naming.FEATURE_SHIFTED: FEATURE,
    naming.DEPENDENCY_DIFFERS: (
        {
            "another version": Story({package("1.6", "1.5"): "1x20"}, 10, [SCIKIT]),
            "one of two packages": Story(
                {package("1.6", "1.5"): "1x20", package("2.0", "2.0", name="numpy"): "1x20"}, 10, [SCIKIT]
            ),
        },
        {
            "the same": Story({package("1.5", "1.5"): "1x20"}, 10),
            "two versions of the model, each as made": Story(
                {package("1.5", "1.5"): "1x20", package("1.6", "1.6", "2"): "1x20"}, 10
            ),
        },
    ),
    naming.ROWS_DROPPED: (
        {"the buffer is full": Story({REASON % "buffer": f"0x9 {rising(7, 30)}"}, 20, [OF_MODEL])},
        {
            "of another time": Story({REASON % "time": rising(7, 60)}, 20),
            "none": Story({REASON % "buffer": "5x60"}, 20),
            "a restart": Story({REASON % "buffer": "5x20 0x40"}, 25),
        },
    ),
    naming.REFERENCE_CHANGED: (
        {
            "two at once": Story(
                {info(): "1x90", info(instance="b", reference="bbbb"): "1x90"}, 60, [OF_MODEL]
            ),
            "another one than an hour ago": Story(
                {info(): "1x60 _x90", info(reference="bbbb"): "_x61 1x90"}, 120, [OF_MODEL]
            ),
        },
        {
            "a new version with its own": Story(
                {info(): "1x90", info("2", "b", reference="bbbb"): "_x30 1x60"}, 80
            ),
            "one without a reference": Story({info(): "1x90", info(instance="b", reference=""): "1x90"}, 60),
            "for ten minutes": Story({info(): "1x90", info(instance="b", reference="bbbb"): "_x50 1x40"}, 60),
        },
    ),
    naming.ARTIFACT_DIFFERS: (
        {
            "two files": Story({info(): "1x90", info(instance="b", digest="d2"): "1x90"}, 60, [OF_MODEL]),
            "two configurations": Story(
                {info(): "1x90", info(instance="b", config="c2"): "1x90"}, 60, [OF_MODEL]
            ),
            "a scrape failed": Story(
                {info(): "1x90", info(instance="b", digest="d2"): "1x40 _x3 1x40"}, 60, [OF_MODEL]
            ),
        },
        {
            "a roll-out of a version": Story(
                {info(): "1x90", info("2", "b", digest="d2", config="c2"): "1x90"}, 60
            ),
            "replicas restart one by one": Story(
                {info(): "1x40 _x50", info(instance="b", digest="d2"): "_x20 1x70"}, 44
            ),
            "one tells nothing": Story(
                {info(): "1x90", info(instance="b", digest="", config=""): "1x90"}, 60
            ),
        },
    ),
    naming.TARGET_DOWN: (
        {
            "down": Story(
                {'up{job="models",instance="a"}': "1x10 0x20"}, 20, [{"job": "models", "instance": "a"}]
            ),
            "it restarts again and again": Story(
                {'up{job="models",instance="a"}': "1x10 " + "0 0 1 " * 8},
                30,
                [{"job": "models", "instance": "a"}],
            ),
            "no target is left": Story({'up{job="barograph",instance="a"}': "1x30"}, 20, [{}]),
        },
        {
            "up": Story({'up{job="models",instance="a"}': "1x30"}, 20),
            "for three minutes": Story({'up{job="models",instance="a"}': "1x10 0x2 1x20"}, 13),
            "another job": Story(
                {'up{job="other",instance="a"}': "0x30", 'up{job="models",instance="a"}': "1x30"}, 20
            ),
        },
    ),
    naming.WORKERS_APART: (
        {"two workers": Story({UNSHARED: "2x30"}, 20, [{"job": "models", "instance": "a"}])},
        {
            "none": Story({UNSHARED: "0x30"}, 20),
            "while they start": Story({UNSHARED: "2x3 0x30"}, 8),
        },
    ),
    naming.TRAFFIC_LOW: (
        {
            "fewer than its owner wants": Story(
                {PREDICTIONS: rising(1, 200), LIMIT % "traffic": "100x200"}, 150, [{"model": "m"}]
            ),
        },
        {
            "as many": Story({PREDICTIONS: rising(2, 200), LIMIT % "traffic": "100x200"}, 150),
            "in the first hour of a model": Story(
                {PREDICTIONS: rising(1, 50), LIMIT % "traffic": "100x50"}, 40
            ),
            "no limit": Story({PREDICTIONS: rising(1, 200)}, 150),
        },
    ),
    naming.RESOURCES_HIGH: (
        {
            "memory": Story(
                {
                    f"ml_model_info{{{HERE}}}": "1x30",
                    'process_resident_memory_bytes{job="models",instance="a"}': "3e9x30",
                    LIMIT % "memory": "2e9x30",
                },
                20,
                [{"model": "m", "limit": "memory", **AT}],
            ),
            "processors": Story(
                {
                    f"ml_model_info{{{HERE}}}": "1x30",
                    'process_cpu_seconds_total{job="models",instance="a"}': rising(120, 30),
                    LIMIT % "cpu": "1.5x30",
                },
                20,
                [{"model": "m", "limit": "cpu", **AT}],
            ),
            "disk": Story(
                {
                    f"ml_model_info{{{HERE}}}": "1x30",
                    'process_disk_free_bytes{job="models",instance="a"}': "5x30",
                    'process_disk_size_bytes{job="models",instance="a"}': "100x30",
                    LIMIT % "disk": "0.9x30",
                },
                20,
                [{"model": "m", "limit": "disk", **AT}],
            ),
        },
        {
            "below": Story(
                {
                    f"ml_model_info{{{HERE}}}": "1x30",
                    'process_resident_memory_bytes{job="models",instance="a"}': "1e9x30",
                    LIMIT % "memory": "2e9x30",
                },
                20,
            ),
            "another model's process": Story(
                {
                    f"ml_model_info{{{OTHER}}}": "1x30",
                    'process_resident_memory_bytes{job="models",instance="a"}': "3e9x30",
                    LIMIT % "memory": "2e9x30",
                },
                20,
            ),
        },
    ),
    naming.EVALUATOR_STALE: (
        {
            "it hangs": Story({PASSED % "a": "0+60x20 1200x30"}, 40, [{}]),
            "it is gone": Story({PASSED % "a": "0+60x20 _x30"}, 40, [{}]),
            "there never was one": Story({"up": "1x30"}, 20, [{}]),
        },
        {
            "one of two": Story({PASSED % "a": "0+60x60", PASSED % "b": "0+60x20 1200x40"}, 50),
            "for eight minutes": Story({PASSED % "a": "0+60x20 _x30"}, 28),
        },
    ),
}
# Both are of one expression, over other events: of the second one story is enough where time is short.
SAME = [
    name
    for name in (*STORIES[naming.BUSINESS_STOPPED][0], *STORIES[naming.BUSINESS_STOPPED][1])
    if name != "it stops"
]
# And these are long: of traffic in bursts, or of little, one each is enough.
LONG = ["a batch an hour", "a batch that is late", "ten an hour, and an hour without"]
SLOW = [*((naming.BUSINESS_STOPPED, name) for name in SAME), *((naming.NO_TRAFFIC, name) for name in LONG)]
CASES = [
    pytest.param(
        rule.name, story, id=f"{rule.name}: {name}", marks=pytest.mark.slow if (rule, name) in SLOW else ()
    )
    for rule, (fires, calm) in STORIES.items()
    for name, story in (fires | calm).items()
]  # fmt: skip


@pytest.mark.parametrize(("name", "story"), CASES)
def test_an_alert_fires_on_its_incident_and_is_silent_without(name, story, tmp_path):
    assert promtool.tell(tmp_path, name, story) == ""


def test_every_alert_has_an_incident_and_a_time_without():
    assert set(STORIES) == set(naming.RULES.values())
    for fires, calm in STORIES.values():
        assert fires and all(story.fires for story in fires.values())
        assert calm and not any(story.fires for story in calm.values())


def test_every_rule_has_its_expression_and_no_other():
    assert set(ALERTS) == set(naming.RULES)
    written = [r["alert"] for g in alerts.groups(Options()) for r in g["rules"]]
    assert sorted(written) == sorted([*naming.RULES, WATCHDOG])


def test_the_watchdog_always_fires(tmp_path):
    for minute in (0, 90):
        story = Story({"up": "1x2"}, minute, fires=[{}])
        assert promtool.tell(tmp_path, WATCHDOG, story) == ""


def _options() -> list[Options]:
    return [
        Options(),
        Options(job="a|b.*", console_url="https://c/x", grafana_url="https://g", runbook_url="https://r"),
        Options(error_objective=0.5, latency_seconds=1.0, latency_objective=0.9),
    ]


@pytest.mark.parametrize("options", _options())
def test_promtool_finds_nothing_to_say(options, tmp_path):
    for name, text in {**rules.files(options), **alerts.files(options)}.items():
        (tmp_path / name).write_text(text)
        command = [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_alerts_wait_and_weigh_as_naming_says():
    written = {r["alert"]: r for g in alerts.groups(Options()) for r in g["rules"]}
    for rule in naming.RULES.values():
        one = written[rule.name]
        severity = {"page": "critical", "ticket": "warning"}[rule.severity]
        assert one["labels"] == {"severity": severity, "group": rule.group}
        assert one.get("for") == (promql.span(rule.pending) if rule.pending else None)
        kept = 0 if ALERTS[rule.name].judged else rule.keep_firing
        assert one.get("keep_firing_for") == (promql.span(kept) if kept else None)


def test_names_say_what_they_are_about():
    for name in ALERTS:
        assert re.fullmatch(r"ML(Model|Monitor|Pipeline)([A-Z][a-z]+)+", name)
    for record in (r["record"] for g in rules.groups(Options()) for r in g["rules"]):
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", record)


def test_no_rule_names_a_model_or_a_column():
    written = rules.groups(Options()) + alerts.groups(Options())
    for rule in (r for g in written for r in g["rules"]):
        assert not re.search(r"\b(model|version|column|bins)=", rule["expr"]), rule


def test_nothing_is_added_up_over_bins():
    for rule in (r for g in rules.groups(Options()) for r in g["rules"]):
        if naming.COLUMN_VALUES.name in rule["expr"] or promql.CELLS_5M in rule["expr"]:
            for kept in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
                assert "bins" in kept
            for dropped in re.findall(r"without \(([^)]*)\)", rule["expr"]):
                assert "bins" not in dropped and "version" not in dropped


def test_a_gauge_in_an_alert_outlives_a_failed_scrape():
    gauges = [m.name for m in naming.METRICS.values() if m.type in ("gauge", "gauge_max", "info")]
    for rule in (r for g in alerts.groups(Options()) for r in g["rules"]):
        for gauge in gauges:
            for before, after in re.findall(rf"(\S*)\b{gauge}\b(\S*)", rule["expr"]):
                assert "_over_time(" in before and "[" in after, (rule["alert"], gauge)


def test_every_recorded_series_that_is_asked_for_is_recorded():
    written = rules.groups(Options()) + alerts.groups(Options())
    recorded = {r["record"] for g in written for r in g["rules"] if "record" in r}
    asked = {name for g in written for r in g["rules"] for name in promtool.RECORDED.findall(r["expr"])}
    assert asked <= recorded


def test_a_wide_budget_can_burn_too():
    for budget in (0.001, 0.01, 0.05, 0.2, 0.5):
        limits = [burn.limit(budget) for burn in alert.BURNS]
        assert limits == sorted(limits, reverse=True)
        assert all(budget < limit < 1 for limit in limits)


def test_the_objectives_of_the_options_are_in_the_rules():
    options = Options(error_objective=0.99, latency_seconds=1.4, latency_objective=0.95)
    expressions = {
        r.get("alert") or r["record"]: r["expr"] for g in promtool.groups(options) for r in g["rules"]
    }
    assert (
        "> 0.144\n" in expressions[naming.ERRORS_HIGH.name]
        and "> 0.06\n" in expressions[naming.ERRORS_HIGH.name]
    )
    assert "> 0.525\n" in expressions[naming.SLOW.name] and "> 0.3\n" in expressions[naming.SLOW.name]
    assert 'le="1.5"' in expressions[promql.slow_name(300)]


# What is recorded.


def answer(expression: str, series: dict[str, str], at: int = 60, *, evaluate: int = 1) -> list[float]:
    (found,) = promtool.ask(rules.groups(Options()), series, [expression], at=at, evaluate=evaluate).values()
    return sorted(found.values())


@pytest.mark.parametrize(
    ("series", "calls", "ratio"),
    [
        ({COUNT: rising(18, 90), ERRORS: rising(2, 90), PREDICTIONS: rising(900, 90)}, 100, 0.1),
        ({COUNT: "0x90", PREDICTIONS: rising(18, 90), ERRORS: rising(2, 90)}, 100, 0.1),
        ({COUNT: rising(18, 90)}, 90, None),
        ({ERRORS: rising(2, 90)}, 10, 1),
    ],
    ids=["timed", "nothing is timed", "no errors", "errors only"],
)
def test_calls_are_timed_requests_else_rows_and_those_that_failed(series, calls, ratio):
    assert answer(promql.calls_name(300), series) == pytest.approx([calls])
    assert answer(promql.error_ratio_name(300), series) == ([] if ratio is None else pytest.approx([ratio]))


def test_cells_of_replicas_are_an_hour_s_count_and_its_shares():
    def cell(bins: str, cell: str, instance: str) -> str:
        labels = f'model="m",version="1",bins="{bins}",column="x",role="feature",cell="{cell}"'
        return f'ml_column_values_total{{{labels},instance="{instance}",pod="{instance}"}}'

    series = {
        cell(bins, name, i): rising(by, 200)
        for bins, factor in (("aaaa", 1), ("bbbb", 10))
        for name, by in (("c00", factor), ("c01", 3 * factor), ("zero", 0))
        for i in ("a", "b")
    }
    hour = answer(promql.CELLS_1H, series, 120, evaluate=5)
    assert hour == pytest.approx([0, 0, 120, 360, 1200, 3600])
    assert answer(f"sum without (cell) ({promql.SHARE_1H})", series, 120, evaluate=5) == pytest.approx([1, 1])
    rare = answer(f'{promql.SHARE_1H}{{bins="aaaa",cell="zero"}}', series, 120, evaluate=5)
    assert rare == pytest.approx([0.5 / 481.5])


def test_durations_are_told_by_stage():
    series = {COUNT: rising(10, 90), COUNT.replace("_count", "_sum"): rising(4, 90)}
    series |= {
        SOON: rising(9, 90),
        SOON.replace("0.5", "+Inf"): rising(10, 90),
        SOON.replace("0.5", "1.0"): rising(10, 90),
    }
    assert answer(f'{promql.MEAN_SECONDS}{{stage="total"}}', series) == pytest.approx([0.4])
    assert answer(f'{promql.quantile_name(0.95)}{{stage="total"}}', series) == pytest.approx([0.75])


# Texts.


def texts(alert: str, story: Story, folder: Path) -> list[dict[str, str]]:
    return promtool.annotations(promtool.tell(folder, alert, story, annotations=True))


@pytest.mark.parametrize("rule", STORIES, ids=lambda rule: rule.name)
def test_every_annotation_can_be_written(rule, tmp_path):
    told = texts(rule.name, next(iter(STORIES[rule][0].values())), tmp_path)
    assert told
    for one in told:
        assert set(one) == {"summary", "description", "runbook_url", "dashboard_url"}
        for name in ("summary", "description"):
            assert re.search(r"[.]$", one[name]) and "<" not in one[name] and "{{" not in one[name], one
            assert "  " not in one[name]
        assert re.fullmatch(r"https?://[^ {}<>]+", one["dashboard_url"])
        assert one["runbook_url"].endswith(f"/{rule.name}")


def test_a_description_holds_the_numbers(tmp_path):
    (errors,) = texts(
        naming.ERRORS_HIGH.name, STORIES[naming.ERRORS_HIGH][0]["one in a hundred, for hours"], tmp_path
    )
    assert errors["summary"] == "Predictions of m 1 fail."
    assert (
        errors["description"].startswith("1% of the calls failed")
        and "at most 0.1% may" in errors["description"]
    )
    (slow,) = texts(naming.SLOW.name, STORIES[naming.SLOW][0]["a tenth, for hours"], tmp_path)
    assert "took longer than 0.5 s" in slow["description"] and "at most 1% may" in slow["description"]
    (quiet,) = texts(naming.NO_TRAFFIC.name, NO_TRAFFIC["it stops"], tmp_path)
    assert quiet["description"].startswith("100 predictions were expected")


def test_a_column_s_alert_tells_its_signal_and_its_line(tmp_path):
    labels = 'model="m",version="1",column="delay",signal="D",window="1h"'
    rule = naming.FEATURE_SHIFTED
    story = Story(
        {
            state(rule, "a"): "1x9",
            f"ml_signal{{{labels}}}": "0.31x9",
            f"ml_signal_threshold{{{labels}}}": "0.12x9",
        },
        5,
    )
    (one,) = texts(rule.name, story, tmp_path)
    assert one["summary"] == "Feature delay of m 1 is out of the ordinary."
    assert one["description"] == (
        "delay: signal D (shape) is at 0.31, its line at 0.12. Judged by the evaluator."
    )


def test_a_link_leads_to_the_model_whatever_its_name(tmp_path):
    name = r'team/r "50 %" \ü'
    rule = naming.OUTPUT_SHIFTED
    series = state(rule, "a").replace('"m"', '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"')
    (one,) = texts(rule.name, Story({series: "1x9"}, 5), tmp_path)
    assert "var-model=team%2Fr+%2250+%25%22+%5C%C3%BC&var-version=1" in one["dashboard_url"]
    assert "signal D (shape) is at unknown" in one["description"]
