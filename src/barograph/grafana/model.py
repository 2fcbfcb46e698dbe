"""Model: what it answers, live against reference, and its versions side by side."""

from collections.abc import Iterator

from barograph import naming, promql
from barograph.grafana import queries
from barograph.grafana.parts import (
    FEATURES,
    MODEL,
    Choices,
    Dashboard,
    Link,
    Override,
    Panel,
    Row,
    Target,
    bars,
    lines,
    matrix,
    named,
    rising,
    shades,
    sorted_by,
    table,
)
from barograph.grafana.queries import ANY_VERSION, OUTPUTS, RANGE, RATE, VERSIONS
from barograph.promql import matcher, selector

SCORE, ANSWER = matcher("column", naming.SCORE), matcher("column", naming.PREDICTION)


def dashboard(options: Choices) -> Dashboard:
    """One model."""
    rows = (
        Row("Versions side by side", tuple(_versions(options))),
        Row("What it answers", tuple(_answers())),
        Row("How far from usual", tuple(_unusual())),
        Row("Were the answers right?", tuple(_right())),
        Row("What is wrong with answers and rows", tuple(_wrong())),
    )
    return Dashboard(
        MODEL,
        "barograph / Model",
        "What does the model answer, does a version answer differently, and is that usual?",
        rows,
        (queries.MODEL_CHOICE, queries.VERSION_CHOICE, queries.METRIC_CHOICE),
        queries.ANNOTATIONS,
        queries.links(MODEL, options),
    )


def _versions(options: Choices) -> Iterator[Panel]:
    columns = {
        "model": "Model",
        "version": "Version",
        "task": "Task",
        "reference": "Reference",
        "bins": "Bins",
        "digest": "Artifact",
        "framework": "Framework",
        "config": "Configuration",
        "Value": "Replicas",
    }
    labels = ", ".join(name for name in columns if name != "Value")
    yield table(
        "Which versions run?",
        "What each replica says that it runs: version, reference, bins, artifact (SHA-256) and configuration (hash).",
        "one row; during a roll-out two, of two versions. Two artifacts under one version are a mistake.",
        "none",
        Target(f"count by ({labels}) ({selector(naming.MODEL_INFO, *VERSIONS)})"),
        terms=("version", "digest"),
        width=24,
        height=6,
        transformations=(sorted_by("version", falling=True), named(columns)),
    )
    own, every = (promql.rate(naming.PREDICTIONS, RATE, *m) for m in (VERSIONS, (ANY_VERSION,)))
    yield lines(
        "Which version gets the traffic?",
        "Share of the model's predictions that each version made.",
        "what the roll-out planned. A version that should be gone and is not has forgotten replicas.",
        "percentunit",
        Target(f"{own}\n/ on (model) group_left ()\n(sum by (model) ({every}) > 0)", "{{version}}"),
        least=0,
        most=1,
    )
    allowed = 1 - options.error_objective
    yield lines(
        "Which version fails more often?",
        "Share of each version's calls that fail.",
        f"both below {allowed:.3%}, the error budget, and the new version not above the old.",
        "percentunit",
        Target(promql.error_ratio(RATE, *VERSIONS), "{{version}}"),
        terms=("call", "error budget"),
        thresholds=queries.error_colours(options),
    )
    yield lines(
        "Which version is slower?",
        "Seconds that 95 of 100 calls of each version do not exceed.",
        f"both below {options.latency_seconds:g} s, and the new version not above the old.",
        "s",
        Target(
            promql.quantile(0.95, RATE, promql.TOTAL, *VERSIONS, by=promql.VERSION) + " >= 0", "{{version}}"
        ),
        terms=("quantile",),
        thresholds=queries.slow_colours(options),
    )


def _answers() -> Iterator[Panel]:
    yield overlay(
        "How are the scores spread, against the reference?",
        "Share of the scores by cell over the time range picked: live beside the reference of each version. The decision "
        "threshold lies between two cells, so that no bar holds both answers.",
        SCORE,
    )
    yield shades(
        "How do the scores move?",
        "Share of the scores in each cell over the last hour, by time; dark is more. Cells are of about equal share in the "
        "reference: an ordinary model is evenly shaded.",
        "even stripes that stay as they are. A band that goes dark at a deployment is the deployment's.",
        "percentunit",
        Target(recent_shares(SCORE), "{{version}} {{cell}}"),
        terms=("cell",),
        width=12,
        height=9,
    )
    yield overlay(
        "What does it answer, against the reference?",
        "Share of the answers by class or by range over the time range picked: live beside the reference of each version. A "
        "binary model answers 0 and 1.",
        ANSWER,
    )
    yield lines(
        "How do the answers move?",
        "Share of the answers by class or range over the last hour. For a binary model the cell zero is the share of negatives.",
        "lines that follow the usual course of the day, and do not jump at a deployment.",
        "percentunit",
        Target(f"{recent_shares(ANSWER)} > 0", "{{version}} {{cell}}"),
        terms=("cell",),
        width=12,
        height=9,
    )


def _unusual() -> Iterator[Panel]:
    yield lines(
        "Do the answers leave their ordinary range?",
        "Each signal of the score and the answers as a multiple of its threshold, by the judged hour.",
        "below 1, the dashed yellow line. Above it two hours running, or above 2 once, there is a page.",
        "none",
        Target(
            queries.alarm_ratio(*VERSIONS, matcher("column", OUTPUTS, "=~")),
            "{{version}} {{column}} {{signal}}",
        ),
        terms=("signal", "signal D", "signal L", "threshold"),
        thresholds=rising(1, 2),
        steps=True,
        width=16,
        empty="not judged yet",
    )
    yield table(
        "How large is the shift, in PSI?",
        "PSI of the score and the answers over the time range picked. It has no threshold of its own: what is ordinary depends "
        "on the model and on the number of rows. The signals beside it know.",
        "close to what it is in other weeks.",
        "none",
        Target(queries.psi(RANGE, *VERSIONS, matcher("column", OUTPUTS, "=~"))),
        terms=("PSI",),
        decimals=3,
        empty="too few rows in this time, or the evaluator is not scraped",
        link=Link("Each feature", FEATURES),
        transformations=(
            named(
                {"version": "Version", "column": "Column", "bins": "Bins", "Value": "PSI"}, hidden=("model",)
            ),
        ),
    )


def _right() -> Iterator[Panel]:
    whole = (*VERSIONS, matcher("metric", "$metric", "=~"), matcher("segment", ""))
    ends = ((naming.QUALITY_LOWER, "lower"), (naming.QUALITY_UPPER, "upper"))
    yield lines(
        "How good are the answers?",
        "Metrics of outcomes with their 95 % intervals. Confirmed: of the last day of predictions that has its labels. "
        "Weighted: of the days whose labels are still arriving, each label weighed by how many it stands for. Estimated: of the "
        "last day, by what its scores promise, if they still mean what they meant.",
        "confirmed values as good as the reference's, the others within each other's intervals. Judge by confirmed ones.",
        "none",
        Target(_held(naming.QUALITY, "metric", "basis", among=whole), "{{version}} {{metric}} {{basis}}"),
        *(
            Target(
                _held(metric, "metric", "basis", among=whole),
                f"{{{{version}}}} {{{{metric}}}} {{{{basis}}}} {end}",
            )
            for metric, end in ends
        ),
        terms=("confirmed", "weighted", "estimated"),
        width=16,
        height=9,
        empty="no labels yet, or the evaluator is not scraped",
        overrides=(
            Override(" (lower|upper)$", {"custom.lineWidth": 0.5, "custom.lineStyle": {"fill": "dash"}}),
        ),
    )
    yield lines(
        "Have the labels come?",
        "Share of the last day's predictions whose label has come.",
        "what it was at this time of the day last week. Where it falls to 0, nobody tells labels any more.",
        "percentunit",
        Target(_held(naming.LABEL_COMPLETENESS), "{{version}}"),
        least=0,
        most=1,
        height=9,
        empty="no predictions are logged",
    )
    parts = (
        *VERSIONS,
        matcher("metric", "$metric", "=~"),
        matcher("segment", "", "!="),
        matcher("basis", "confirmed"),
    )
    yield lines(
        "Is it worse for some?",
        "Confirmed metrics by segment: what the whole hides.",
        "lines close together, as they were when the model was validated.",
        "none",
        Target(_held(naming.QUALITY, "metric", "segment", among=parts), "{{version}} {{metric}} {{segment}}"),
        terms=("segment", "confirmed"),
        empty="no segment has labels enough",
    )
    yield lines(
        "How long do labels take?",
        "Seconds from the prediction to its label, of the labels of 30 days: the median, and what 90 of 100 do not exceed.",
        "steady lines. Where they rise, quality is known later.",
        "s",
        Target(_held(naming.LABEL_LAG, "quantile"), "{{version}} {{quantile}}"),
        terms=("quantile",),
        empty="no labels yet",
    )
    yield lines(
        "What do the labels say that arrive?",
        "Labels a second by whether the answer was right, by when they came and not by when the prediction was made: what the "
        "day's post says. tp, fp, fn, tn are true and false positives and negatives. Early labels are a biased sample.",
        "the usual shares of each. A jump of wrong ones here comes before confirmed metrics move.",
        "reqps",
        Target(
            promql.rate(naming.OUTCOMES_ARRIVED, RATE, *VERSIONS, by=(*promql.VERSION, "outcome")),
            "{{version}} {{outcome}}",
        ),
        terms=("label",),
        empty="no labels yet, or the evaluator is not scraped",
    )


def _wrong() -> Iterator[Panel]:
    yield lines(
        "Which version answers with nothing?",
        "Empty answers as a share of all, over the last hour.",
        "what it was last week: see Main. The new version not above the old.",
        "percentunit",
        Target(selector(promql.EMPTY_RATIO, *VERSIONS), "{{version}}"),
        terms=("empty share",),
        thresholds=rising(0.01, 0.05),
    )
    yield lines(
        "Which rules change answers?",
        "Answers a second that each rule of post-processing changed.",
        "a steady share of the traffic, by rules that are meant to.",
        "reqps",
        Target(
            promql.rate(naming.OVERRIDDEN, RATE, *VERSIONS, by=(*promql.VERSION, "rule")),
            "{{version}} {{rule}}",
        ),
        terms=("overridden",),
        empty="no rule has changed an answer",
    )
    columns = {"version": "Version", "column": "Feature", "kind": "Kind", "Value": "Values"}
    yield table(
        "What breaks the schema?",
        "Values that the reference's schema does not allow, by feature and kind, in the time range picked.",
        "an empty table.",
        "none",
        Target(
            promql.increase(naming.VIOLATIONS, RANGE, *VERSIONS, by=(*promql.VERSION, "column", "kind"))
            + " >= 0.5"
        ),
        terms=("schema violation",),
        decimals=0,
        empty="nothing breaks it",
        link=Link("Each feature", FEATURES),
        transformations=(sorted_by("Value", falling=True), named(columns, hidden=("model",))),
    )


def _held(metric: naming.Metric, *labels: str, among: tuple[str, ...] = VERSIONS) -> str:
    """A gauge of the evaluator; of two evaluators either one."""
    return f"max by ({', '.join((*promql.VERSION, *labels))}) ({selector(metric, *among)})"


# Answers.


def overlay(title: str, help: str, *matchers: str) -> Panel:
    """A bar for each cell and side."""
    return bars(
        title,
        f"{help} Counts of different bins are never added: each has bars of its own.",
        "bars of the same height side by side.",
        "percentunit",
        "values\\of",
        Target(queries.overlay(RANGE, *matchers, *VERSIONS), instant=True, table=True),
        terms=("cell", "reference"),
        width=12,
        height=9,
        empty="nothing recorded in this time: pick a longer one",
        transformations=(sorted_by("position"), matrix(rows="values", columns="of")),
    )


def recent_shares(*matchers: str) -> str:
    """Share by cell over the last recorded hour."""
    counted = promql.latest(selector(promql.CELLS_1H, *matchers, *VERSIONS))
    by = ", ".join(queries.COLUMN)
    cells, whole = f"sum by ({by}, cell) ({counted})", f"sum by ({by}) ({counted})"
    return f"{cells}\n/ on ({by}) group_left ()\n({whole} > 0)"
