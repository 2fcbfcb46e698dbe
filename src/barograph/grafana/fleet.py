"""Fleet: all models at a glance, and whether the monitoring itself works."""

from collections.abc import Iterator

from barograph import naming, promql
from barograph.grafana import queries
from barograph.grafana.parts import (
    FLEET,
    GREEN,
    MAIN,
    RED,
    Choices,
    Dashboard,
    Json,
    Override,
    Panel,
    Row,
    Target,
    Threshold,
    falling,
    lines,
    merged,
    named,
    ranks,
    rising,
    sorted_by,
    stat,
    table,
)
from barograph.grafana.queries import ANY_VERSION, FIRING, PAGES, RATE, TICKETS
from barograph.promql import MODEL as BY_MODEL
from barograph.promql import matcher, selector

TO_MAIN = (
    f"/d/{MAIN}?var-model=${{__value.text:percentencode}}&${{datasource:queryparam}}&${{__url_time_range}}"
)


def dashboard(options: Choices) -> Dashboard:
    """All models."""
    rows = (
        Row("Now", tuple(_now(options))),
        Row("Models", tuple(_models(options))),
        Row("Traffic, errors, time", tuple(_service(options))),
        Row("Out of the ordinary", tuple(_unusual())),
        Row("Does the monitoring work?", tuple(_monitoring(options))),
    )
    return Dashboard(
        FLEET,
        "barograph / Fleet",
        "Which model needs somebody, and does the monitoring itself work?",
        rows,
        (queries.EVERY_MODEL,),
        queries.ANNOTATIONS,
        queries.links(FLEET, options),
    )


def _now(options: Choices) -> Iterator[Panel]:
    yield stat(
        "How many pages fire?",
        "Alerts of all models that wake somebody, and fire now.",
        "0.",
        "none",
        Target(queries.firing(PAGES, ANY_VERSION), "pages"),
        terms=("page",),
        thresholds=(Threshold(GREEN), Threshold(RED, 1)),
    )
    yield stat(
        "How many tickets are open?",
        "Alerts of all models that can wait for working hours, and fire now.",
        "few: each is looked at within days. Red from 10 on: nobody looks at them any more.",
        "none",
        Target(queries.firing(TICKETS, ANY_VERSION), "tickets"),
        terms=("ticket",),
        thresholds=rising(1, 10),
    )
    yield stat(
        "How much traffic is there in all?",
        "Predictions a second of all models chosen. No threshold: what is usual depends on the hour.",
        "about the same as at this hour a week ago.",
        "reqps",
        Target(promql.rate(naming.PREDICTIONS, RATE, ANY_VERSION, by=()), "predictions"),
        thresholds=(Threshold("blue"),),
    )
    counted = f"count(count by (model) ({selector(naming.PREDICTIONS, ANY_VERSION)}))"
    yield stat(
        "How many models report?",
        "Models of which at least one replica is scraped.",
        "as many as are deployed. A step down is a model whose last replica is gone.",
        "none",
        Target(counted, "models"),
        thresholds=(Threshold("blue"),),
    )
    yield stat(
        "How many replicas cannot be read?",
        "Targets of Prometheus that do not answer its scrape, of all serving processes.",
        "0.",
        "none",
        Target(f"count({selector('up', matcher('job', options.job, '=~'))} == 0) or vector(0)", "down"),
        terms=("replica",),
        thresholds=rising(1, 3),
    )
    yield stat(
        "When did the evaluator last finish?",
        "Seconds since the evaluator last finished a pass over all models. With two evaluators, the one that is ahead.",
        "below two minutes: it looks every minute. Red from five on: drift and outcomes are not judged.",
        "s",
        Target(f"time() - max({naming.EVALUATOR_SUCCESS.name})", "ago"),
        terms=("evaluator",),
        thresholds=rising(120, 300),
        empty="the evaluator is not scraped",
    )


def _models(options: Choices) -> Iterator[Panel]:
    columns = {
        "model": "Model",
        "Value #A": "Pages",
        "Value #B": "Tickets",
        "Value #C": "Predictions/s",
        "Value #D": "Errors",
        "Value #E": "p95",
        "Value #F": "Empty",
        "Value #G": "Answers, × threshold",
        "Value #H": "Features, × threshold",
        "Value #I": "Replicas",
    }
    yield table(
        "Which model needs somebody?",
        "One row a model: what fires, traffic, share of calls that fail, p95, share of empty answers, the highest signal of "
        "answers and features as a multiple of its threshold, replicas. The name leads to the model's page.",
        "no colour. Red cells first, then yellow ones.",
        "none",
        *(Target(expression) for expression in by_model()),
        terms=("page", "ticket", "signal"),
        width=24,
        height=12,
        transformations=(merged(), sorted_by("Value #A", falling=True), named(columns)),
        overrides=(
            Override("^Model$", {"links": [{"title": "Main", "url": TO_MAIN}], "custom.filterable": True}),
            _coloured("^Pages$", "none", (Threshold("transparent"), Threshold(RED, 1))),
            _coloured("^Tickets$", "none", (Threshold("transparent"), Threshold("yellow", 1))),
            _coloured("^Predictions/s$", "reqps", ()),
            _coloured(
                "^Errors$",
                "percentunit",
                _plain(queries.error_colours(options)),
            ),
            _coloured("^p95$", "s", _plain(queries.slow_colours(options))),
            _coloured("^Empty$", "percentunit", _plain(rising(0.01, 0.05))),
            _coloured("× threshold$", "none", _plain(rising(1, 2))),
        ),
    )


def _service(options: Choices) -> Iterator[Panel]:
    yield lines(
        "Which models get the traffic?",
        "Predictions a second by model; the twenty busiest.",
        "the usual course of the day. A line that falls to 0 alone is one model's outage, all together are the network's.",
        "reqps",
        Target(f"topk(20, {promql.rate(naming.PREDICTIONS, RATE, ANY_VERSION, by=BY_MODEL)})", "{{model}}"),
    )
    allowed = 1 - options.error_objective
    yield lines(
        "Which models fail?",
        "Share of calls that fail by model; the twenty highest.",
        f"below {allowed:.3%}, the error budget.",
        "percentunit",
        Target(f"topk(20, {promql.error_ratio(RATE, ANY_VERSION, by=BY_MODEL)})", "{{model}}"),
        terms=("call", "error budget"),
        thresholds=queries.error_colours(options),
    )
    yield lines(
        "Which models are slow?",
        "Seconds that 95 of 100 calls do not exceed, by model; the twenty highest.",
        f"below {options.latency_seconds:g} s.",
        "s",
        Target(
            f"topk(20, {promql.quantile(0.95, RATE, promql.TOTAL, ANY_VERSION, by=BY_MODEL)} >= 0)",
            "{{model}}",
        ),
        terms=("quantile",),
        thresholds=queries.slow_colours(options),
    )


def _unusual() -> Iterator[Panel]:
    yield _furthest(
        "Which models answer differently than usual?",
        "The highest signal of the score and the answers, as a multiple of its threshold, by model; the twenty highest.",
        "=~",
    )
    yield _furthest(
        "Which models get other inputs than usual?",
        "The highest signal of any feature, as a multiple of its threshold, by model; the twenty highest.",
        "!~",
    )
    columns = {
        "model": "Model",
        "alert": "Alert",
        "column": "Column",
        "signal": "Signal",
        "state": "State",
        "version": "Version",
    }
    labels = ", ".join(columns)
    yield table(
        "What does the evaluator hold against models?",
        "Alerts as the evaluator keeps them: pending ones have not lasted long enough yet. Prometheus keeps its own.",
        "an empty table.",
        "none",
        Target(
            f"max by ({labels}) ({selector(naming.ALERT_STATE, ANY_VERSION, matcher('state', 'pending|firing', '=~'))})"
        ),
        terms=("alert", "evaluator"),
        height=9,
        empty="nothing pending, nothing firing",
        transformations=(sorted_by("model"), named(columns, hidden=("Value",))),
    )


def _monitoring(options: Choices) -> Iterator[Panel]:
    yield lines(
        "Is the evaluator up?",
        "1 while Prometheus can read an evaluator. Without one the alerts on service go on; drift and outcomes are not judged.",
        "1, at least one of them.",
        "none",
        Target(selector("up", matcher("job", options.evaluator_job, "=~")), "{{instance}}"),
        terms=("evaluator",),
        thresholds=falling(1, 0.5),
        width=6,
        steps=True,
        least=0,
        most=1,
        empty="the evaluator is not scraped",
    )
    yield lines(
        "Do the evaluator's messages arrive?",
        "Messages about alerts that a webhook has not taken yet.",
        "0, but for seconds. A line that stays up is a webhook that refuses.",
        "none",
        Target(naming.MESSAGES_WAITING.name, "{{instance}}"),
        thresholds=rising(1, 10),
        width=6,
    )
    yield stat(
        "Are the rules evaluated?",
        "1 while Prometheus evaluates the recording rules that alerts and these pages stand on.",
        "1. 0 is a rules.yaml that is not loaded.",
        "none",
        Target(f"max({promql.RULES_ALIVE}) or vector(0)", "evaluated"),
        thresholds=falling(1, 0.5),
        width=6,
        height=8,
        mappings=({"type": "value", "options": {"0": {"text": "no"}, "1": {"text": "yes"}}},),
    )
    yield lines(
        "Does the monitor lose rows?",
        "Rows a second that the monitor did not count, by model and reason. Rows of another time are left to the join.",
        "0: then every number here is of all rows.",
        "cps",
        Target(
            promql.rate(naming.DROPPED_ROWS, RATE, ANY_VERSION, by=("model", "reason")) + " > 0",
            "{{model}} {{reason}}",
        ),
        thresholds=rising(0.1, 1),
        width=6,
        empty="no row was lost",
    )
    yield lines(
        "Does the monitor keep up?",
        "How full the buffer between serving and counting is, the fullest replica of each model; the twenty fullest.",
        "below 50 %. At 100 % rows are dropped, and requests go on.",
        "percentunit",
        Target(
            f"topk(20, max by (model) (max_over_time({selector(naming.BUFFER_FILL, ANY_VERSION)}[{RATE}])))",
            "{{model}}",
        ),
        thresholds=rising(0.5, 0.9),
        width=6,
        least=0,
        most=1,
    )
    yield lines(
        "Are workers missing from the totals?",
        "Workers that do not share their counters with the one that is scraped: totals of these replicas are too low.",
        "0. Else give all workers of a service one folder: BAROGRAPH_DIR.",
        "none",
        Target(f"{naming.WORKERS_UNSHARED.name} > 0", "{{instance}}"),
        thresholds=rising(1, 2),
        width=6,
        empty="all workers share theirs",
    )
    yield lines(
        "How many series are there?",
        "Series that replicas show to Prometheus, the twenty largest replicas. It grows with columns, cells and versions, not "
        "with traffic.",
        "flat, but for deployments. Retire old versions when it climbs.",
        "none",
        Target(f"topk(20, {naming.SERIES.name})", "{{instance}}"),
        terms=("series",),
        width=6,
    )
    yield lines(
        "Are columns left out?",
        "Series of columns that a replica does not show, since they would be more than its cap.",
        f"0. Else raise {naming.SERIES_VARIABLE}, or watch fewer columns.",
        "none",
        Target(f"{naming.SERIES_HIDDEN.name} > 0", "{{instance}}"),
        terms=("series",),
        thresholds=rising(1, 100),
        width=6,
        empty="none is left out",
    )


# Models.


def by_model() -> tuple[str, ...]:
    """The queries of the table, in the order of its columns."""
    outputs, inputs = (
        f"max by (model) ({queries.alarm_ratio(ANY_VERSION, matcher('column', queries.OUTPUTS, sign))})"
        for sign in ("=~", "!~")
    )
    return (
        f"count by (model) ({selector(queries.ALERTS, *FIRING, PAGES, ANY_VERSION)})",
        f"count by (model) ({selector(queries.ALERTS, *FIRING, TICKETS, ANY_VERSION)})",
        promql.rate(naming.PREDICTIONS, RATE, ANY_VERSION, by=BY_MODEL),
        promql.error_ratio(RATE, ANY_VERSION, by=BY_MODEL),
        promql.quantile(0.95, RATE, promql.TOTAL, ANY_VERSION, by=BY_MODEL) + " >= 0",
        f"max by (model) ({selector(promql.EMPTY_RATIO, ANY_VERSION)})",
        outputs,
        inputs,
        f"count by (model) (group by (model, instance) ({selector(naming.PREDICTIONS, ANY_VERSION)}))",
    )


def _plain(steps: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
    """The same with no colour where all is well: colour is for problems."""
    return (Threshold("transparent"), *steps[1:])


def _coloured(pattern: str, unit: str, steps: tuple[Threshold, ...]) -> Override:
    listed: list[Json] = [{"color": t.color, "value": t.value} for t in steps]
    shown: dict[str, object] = {"unit": unit, "decimals": 2 if unit != "none" or "×" in pattern else 0}
    if steps:
        shown["thresholds"] = {"mode": "absolute", "steps": listed}
        shown["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
    return Override(pattern, shown)


# Out of the ordinary.


def _furthest(title: str, help: str, sign: str) -> Panel:
    ratio = queries.alarm_ratio(ANY_VERSION, matcher("column", queries.OUTPUTS, sign))
    return ranks(
        title,
        help,
        "below 1. From 2 on, or two hours running above 1, an alert fires.",
        "none",
        Target(f"topk(20, max by (model) ({ratio}))", "{{model}}", instant=True),
        terms=("signal", "threshold"),
        thresholds=rising(1, 2),
        decimals=2,
        height=9,
        empty="not judged yet",
    )
