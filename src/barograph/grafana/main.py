"""Main: one model at a glance, in the order of what matters: service, output, outcomes, causes; each with a way down."""

from collections.abc import Iterator

from barograph import naming, promql
from barograph.grafana import queries
from barograph.grafana.parts import (
    FEATURES,
    GREEN,
    MAIN,
    MODEL,
    RED,
    SYSTEM,
    YELLOW,
    Choices,
    Dashboard,
    Link,
    Override,
    Panel,
    Row,
    Target,
    Threshold,
    lines,
    named,
    ranks,
    rising,
    sorted_by,
    stat,
    table,
)
from barograph.grafana.queries import ANY_VERSION, OUTPUTS, RATE, VERSIONS
from barograph.promql import MODEL as BY_MODEL
from barograph.promql import matcher, selector

TO_SYSTEM = Link("Time, errors and processes", SYSTEM)
TO_MODEL = Link("The model's answers", MODEL)
TO_FEATURES = Link("Each feature against its reference", FEATURES)


def dashboard(options: Choices) -> Dashboard:
    """The first page to look at."""
    rows = (
        Row("Now", tuple(_now(options))),
        Row("Service: is it answering?", tuple(_service(options))),
        Row("Output: are the answers plausible?", tuple(_output())),
        Row("Outcomes: is the business going on?", tuple(_outcomes())),
        Row("Causes: what changed?", tuple(_causes(options))),
    )
    return Dashboard(
        MAIN,
        "barograph / Main",
        "Is the model answering, are its answers plausible, and if not, what changed?",
        rows,
        (queries.MODEL_CHOICE, queries.VERSION_CHOICE),
        queries.ANNOTATIONS,
        queries.links(MAIN, options),
    )


def _now(options: Choices) -> Iterator[Panel]:
    yield stat(
        "Which alerts fire?",
        "Alerts of this model that fire now: pages are about what users notice, tickets about causes. The list is below.",
        "0 and 0. A page is for now, a ticket for working hours.",
        "none",
        *queries.counted_alerts(ANY_VERSION),
        terms=("page", "ticket"),
        thresholds=(Threshold(GREEN), Threshold(RED, 1)),
        overrides=(
            Override(
                "tickets", {"thresholds": {"mode": "absolute", "steps": [_step(GREEN), _step(YELLOW, 1)]}}
            ),
        ),
    )
    yield stat(
        "How much traffic is there?",
        "Predictions a second, all versions chosen. No threshold: what is usual depends on the hour, see the chart below.",
        "about the same as at this hour a week ago.",
        "reqps",
        Target(promql.rate(naming.PREDICTIONS, RATE, *VERSIONS, by=BY_MODEL), "{{model}}"),
        thresholds=(Threshold("blue"),),
    )
    yield stat(
        "What share of calls fails?",
        "Calls that raised an error, as a share of all calls. Yellow uses up more than the error budget, red would use up a "
        "month's budget in two days.",
        f"below {1 - options.error_objective:.3%}, the error budget.",
        "percentunit",
        Target(promql.error_ratio(RATE, *VERSIONS, by=BY_MODEL), "{{model}}"),
        terms=("call", "error budget"),
        thresholds=queries.error_colours(options),
        link=TO_SYSTEM,
    )
    yield stat(
        "How long do calls take?",
        f"Seconds that {options.latency_objective:.0%} of calls do not exceed: the quantile that the objective is about.",
        f"below {options.latency_seconds:g} s, the objective. Yellow is above it, red at twice as long.",
        "s",
        Target(
            promql.quantile(options.latency_objective, RATE, promql.TOTAL, *VERSIONS, by=BY_MODEL) + " >= 0",
            "{{model}}",
        ),
        terms=("quantile", "objective"),
        thresholds=queries.slow_colours(options),
        link=TO_SYSTEM,
    )
    yield stat(
        "What share of answers is empty?",
        "Answers of the last hour that hold nothing, as a share of all.",
        "what it was last week, or less: see the chart below. Yellow above 1 %, red above 5 %.",
        "percentunit",
        Target(f"max by (model) ({selector(promql.EMPTY_RATIO, *VERSIONS)})", "{{model}}"),
        terms=("empty share",),
        thresholds=rising(0.01, 0.05),
        link=TO_MODEL,
    )
    yield stat(
        "Are the answers as usual?",
        "The highest signal of the score and the answers in the last judged hour, as a multiple of its threshold.",
        "below 1. Red from 2: that alarms at once; between, two hours running do.",
        "none",
        Target(
            f"max by (model) ({queries.alarm_ratio(*VERSIONS, matcher('column', OUTPUTS, '=~'))})",
            "{{model}}",
        ),
        terms=("signal", "threshold"),
        thresholds=rising(1, 2),
        decimals=2,
        empty="not judged yet",
        link=TO_MODEL,
    )


def _service(options: Choices) -> Iterator[Panel]:
    yield lines(
        "How many predictions are made?",
        "Predictions a second by version; dashed, all of them a week ago. A version that is rolled out takes over.",
        "close to the dashed line. 0 where there was traffic a week ago is an outage, wherever it is.",
        "reqps",
        Target(promql.rate(naming.PREDICTIONS, RATE, *VERSIONS), "{{model}} {{version}}"),
        Target(
            f"sum by (model) (rate({selector(naming.PREDICTIONS, ANY_VERSION)}[{RATE}] offset 1w))",
            "{{model}} a week ago",
        ),
        overrides=(_dashed(".*a week ago"),),
    )
    yield lines(
        "Which errors are raised?",
        "Calls that failed by the type of the error, as a share of all calls. A new type that appears with a deployment is its.",
        f"below {1 - options.error_objective:.3%} in all; no type that was not there before.",
        "percentunit",
        Target(
            promql.rate(naming.ERRORS, RATE, *VERSIONS, by=(*promql.VERSION, "error"))
            + f"\n/ on (model, version) group_left ()\n({promql.calls(RATE, *VERSIONS)} > 0)",
            "{{version}} {{error}}",
        ),
        terms=("call",),
        thresholds=queries.error_colours(options),
        link=TO_SYSTEM,
    )
    yield lines(
        "How long do calls take, and the slow ones?",
        "Seconds that a call takes: the mean, and what 95 and 99 of 100 calls do not exceed. By stage on System.",
        f"{options.latency_objective:.0%} of calls below {options.latency_seconds:g} s, the dashed yellow line.",
        "s",
        Target(promql.mean(RATE, promql.TOTAL, *VERSIONS, by=BY_MODEL), "{{model}} mean"),
        *(
            Target(
                promql.quantile(q, RATE, promql.TOTAL, *VERSIONS, by=BY_MODEL) + " >= 0",
                f"{{{{model}}}} p{q * 100:g}",
            )
            for q in (0.95, 0.99)
        ),
        terms=("quantile",),
        thresholds=queries.slow_colours(options),
        link=TO_SYSTEM,
    )
    yield lines(
        "Do requests pile up?",
        "Requests that are being answered at the same moment, over all replicas. A line that climbs while traffic does not is a "
        "service that cannot keep up.",
        "flat, or following the traffic.",
        "none",
        Target(
            f"sum by (model, version) (max_over_time({selector(naming.IN_PROGRESS, *VERSIONS)}[{RATE}]))",
            "{{model}} {{version}}",
        ),
        terms=("replica",),
        link=TO_SYSTEM,
    )


def _output() -> Iterator[Panel]:
    yield lines(
        "How many answers are empty?",
        "Answers that hold nothing as a share of all, over the last hour; dashed, the line above which it pages: five "
        "points above what is usual of the version, or of its model while it is new, and more where answers are few.",
        "well below the dashed line.",
        "percentunit",
        Target(selector(promql.EMPTY_RATIO, *VERSIONS), "{{model}} {{version}}"),
        Target(selector(promql.EMPTY_LIMIT, *VERSIONS), "{{model}} {{version}} line"),
        terms=("empty share",),
        thresholds=rising(0.01, 0.05),
        overrides=(_dashed(".*line"),),
        link=TO_MODEL,
    )
    yield lines(
        "Have the answers shifted?",
        "Each signal of the score and the answers as a multiple of its threshold, by the hour. The deployment marks tell whether "
        "a new version did it.",
        "below 1, the dashed yellow line.",
        "none",
        Target(
            queries.alarm_ratio(*VERSIONS, matcher("column", OUTPUTS, "=~")),
            "{{version}} {{column}} {{signal}}",
        ),
        terms=("signal", "threshold"),
        thresholds=rising(1, 2),
        steps=True,
        link=TO_MODEL,
    )
    yield lines(
        "How many answers are changed afterwards?",
        "Answers that a rule of post-processing changed, by rule, as a share of all. A rule that suddenly fires often hides a "
        "model that went wrong, or is wrong itself.",
        "steady: a few per cent by rules that are meant to.",
        "percentunit",
        Target(
            promql.rate(naming.OVERRIDDEN, RATE, *VERSIONS, by=(*promql.VERSION, "rule"))
            + f"\n/ on (model, version) group_left ()\n({promql.rate(naming.PREDICTIONS, RATE, *VERSIONS)} > 0)",
            "{{version}} {{rule}}",
        ),
        terms=("overridden",),
        thresholds=rising(0.1, 0.3),
        link=TO_MODEL,
    )


def _outcomes() -> Iterator[Panel]:
    yield lines(
        "How many business events are there?",
        "Events that stakeholders count (orders, loans paid out) in the last hour, by kind; dashed, what is usual for this hour "
        "of the week.",
        "close to the dashed line. None at all where at least 14 were expected pages.",
        "none",
        Target(
            selector(promql.events_name(naming.BUSINESS, promql.HOUR), ANY_VERSION), "{{model}} {{event}}"
        ),
        Target(selector(promql.expected_name(naming.BUSINESS), ANY_VERSION), "{{model}} {{event}} usual"),
        terms=("usual",),
        width=24,
        empty='no business events counted: monitor.business("order")',
        overrides=(_dashed(".*usual"),),
    )


def _causes(options: Choices) -> Iterator[Panel]:
    ratio = queries.alarm_ratio(*VERSIONS, matcher("column", OUTPUTS, "!~"))
    yield ranks(
        "Which features are out of the ordinary?",
        "The ten features whose signals are furthest up, as multiples of their thresholds, in the last judged hour. Drift is a "
        "suspect, no verdict: look at what came first.",
        "all below 1. From 2 on, or two hours running above 1, there is a ticket.",
        "none",
        Target(f"topk(10, max by (column, signal) ({ratio}))", "{{column}} {{signal}}", instant=True),
        terms=("signal", "threshold"),
        thresholds=rising(1, 2),
        decimals=2,
        height=9,
        empty="not judged yet",
        link=TO_FEATURES,
    )
    yield lines(
        "Which values break the schema?",
        "Values of the wrong type, out of range or never seen, by feature and kind, as a share of predictions.",
        "0. A step up at one moment is an upstream change; one at a deployment is ours.",
        "percentunit",
        Target(
            "topk(10, "
            + promql.rate(naming.VIOLATIONS, RATE, *VERSIONS, by=(*promql.VERSION, "column", "kind"))
            + f"\n/ on (model, version) group_left ()\n({promql.rate(naming.PREDICTIONS, RATE, *VERSIONS)} > 0))",
            "{{version}} {{column}} {{kind}}",
        ),
        terms=("schema violation",),
        thresholds=rising(0.01, 0.05),
        height=9,
        link=TO_FEATURES,
    )
    shown = ("alertname", "severity", "version", "column", "signal")
    yield table(
        "Alerts that fire",
        "What fires now. The name leads to the runbook: what it means for users, how to check, what to do.",
        "an empty table.",
        "none",
        Target(f"max by ({', '.join(shown)}) ({selector(queries.ALERTS, *queries.FIRING, ANY_VERSION)})"),
        height=9,
        empty="no alert fires",
        transformations=(
            named(
                dict(zip(shown, ("Alert", "Severity", "Version", "Column", "Signal"), strict=True)),
                hidden=("Value",),
            ),
        ),
        overrides=(
            Override(
                "Alert",
                {
                    "links": [
                        {"title": "Runbook", "url": options.runbook("${__value.text}"), "targetBlank": True}
                    ]
                },
            ),
        ),
    )
    columns = {
        "version": "Version",
        "package": "Package",
        "running": "Running",
        "trained": "Trained with",
        "Value": "Replicas",
    }
    yield table(
        "Do packages run as in training?",
        "Packages that matter to the model: the version that runs, the one it was trained with, and in how many replicas.",
        "the same in both columns, and one row a package.",
        "none",
        Target(
            f"count by (version, package, running, trained) ({selector(naming.DEPENDENCY_INFO, *VERSIONS)})"
        ),
        terms=("dependency",),
        width=24,
        empty="no package is declared",
        transformations=(sorted_by("package"), named(columns)),
    )


def _step(color: str, value: float | None = None) -> dict[str, object]:
    return {"color": color, "value": value}


def _dashed(pattern: str) -> Override:
    return Override(
        pattern,
        {
            "custom.lineStyle": {"fill": "dash", "dash": [6, 6]},
            "color": {"mode": "fixed", "fixedColor": "gray"},
        },
    )
