"""Features: each against its reference, by signal and by cell, and PSI over the time that the user picked."""

from collections.abc import Iterator

from barograph import naming, promql
from barograph.drift import SIGNALS, Signal
from barograph.grafana import queries
from barograph.grafana.model import overlay
from barograph.grafana.parts import (
    FEATURES,
    Choices,
    Dashboard,
    Override,
    Panel,
    Row,
    Target,
    lines,
    named,
    ranks,
    rising,
    sorted_by,
    table,
)
from barograph.grafana.queries import COLUMNS, OUTPUTS, RANGE, RATE, VERSIONS
from barograph.promql import matcher, selector

INPUTS = matcher("column", OUTPUTS, "!~")
UNITS = {"share": "percentunit"}
FAULTS = (
    ("Are values missing?", f"{naming.MISSING}|{naming.INVALID}", "missing or invalid", "as in the reference", "signal A"),
    ("Are there values never seen before?", naming.UNSEEN, "categories that the reference never had", "0", "signal U"),
    ("Are values out of range?", f"{naming.BELOW}|{naming.ABOVE}", "below or above the reference's range", "0", "signal O"),
    ("Is a default sent in place of a value?", f"{naming.ZERO}|{naming.SENTINEL}", "exactly 0, or -1 if the reference has none",
     "as in the reference", "cell"),
)  # fmt: skip


def dashboard(options: Choices) -> Dashboard:
    """All features, then those that were chosen."""
    rows = (
        Row("All features", tuple(_all_features())),
        Row("$column: live against reference", tuple(_column()), repeat="column"),
        Row(
            "Features chosen: signals against their thresholds",
            tuple(signal(one) for one in SIGNALS.values()),
        ),
        Row("Features chosen: faults", tuple(faults(*one) for one in FAULTS)),
    )
    return Dashboard(
        FEATURES,
        "barograph / Features",
        "Which features have moved, how, and since when?",
        rows,
        (queries.MODEL_CHOICE, queries.VERSION_CHOICE, queries.COLUMN_CHOICE),
        queries.ANNOTATIONS,
        queries.links(FEATURES, options),
    )


def _all_features() -> Iterator[Panel]:
    yield ranks(
        "Which features are past their threshold?",
        "The twenty features whose signals are furthest up, as multiples of their thresholds, in the last judged hour.",
        "all below 1. From 2 on, or two hours running above 1, there is a ticket.",
        "none",
        Target(
            f"topk(20, max by (version, column, signal) ({queries.alarm_ratio(*VERSIONS, INPUTS)}))",
            "{{version}} {{column}} {{signal}}",
            instant=True,
        ),
        terms=("signal", "threshold"),
        thresholds=rising(1, 2),
        decimals=2,
        height=10,
        empty="not judged yet",
    )
    yield ranks(
        "How large is each shift, in PSI?",
        "PSI of each feature over the time range picked, live against the reference; the twenty highest. It is computed from "
        "the counts that are recorded every five minutes, and equals what the evaluator's page shows for the same rows.",
        "close to what it is in other weeks. 0.1 and 0.2 are common usage, not calibrated: the signals beside it are.",
        "none",
        Target(f"topk(20, {queries.psi(RANGE, *VERSIONS, INPUTS)})", "{{version}} {{column}}", instant=True),
        terms=("PSI", "too few rows"),
        thresholds=rising(0.1, 0.2),
        decimals=3,
        height=10,
        empty="too few rows in this time, or the evaluator is not scraped",
    )
    columns = {
        "version": "Version",
        "column": "Feature",
        "bins": "Bins",
        "Value #A": "Live rows",
        "Value #B": "Reference rows",
    }
    yield table(
        "On how many rows does this stand?",
        "Rows that were counted in the time range picked, and rows of the reference, by feature.",
        "hundreds of rows at least. Below 30 nothing is said.",
        "none",
        Target(promql.total(promql.recorded_cells(RANGE, *VERSIONS, INPUTS), queries.COLUMN)),
        Target(
            f"max by ({', '.join(queries.COLUMN)}) ({selector(naming.REFERENCE_ROWS, *VERSIONS, INPUTS)})"
        ),
        terms=("too few rows",),
        decimals=0,
        height=10,
        transformations=(
            {"id": "merge", "options": {}},
            sorted_by("column"),
            named(columns, hidden=("model",)),
        ),
    )
    yield lines(
        "Which features break the schema?",
        "Values a second of the wrong type, out of range or never seen, by feature and kind; the ten most frequent.",
        "0.",
        "cps",
        Target(
            f"topk(10, {promql.rate(naming.VIOLATIONS, RATE, *VERSIONS, by=(*promql.VERSION, 'column', 'kind'))} > 0)",
            "{{version}} {{column}} {{kind}}",
        ),
        terms=("schema violation",),
        width=24,
        height=7,
        empty="nothing breaks it",
    )


def _column() -> Iterator[Panel]:
    yield overlay(
        "How is $column spread, against the reference?",
        "Share of the values by cell over the time range picked: live beside the reference of each version.",
        COLUMNS,
    )
    columns = {
        "values": "Values",
        "Value #A": "Live",
        "Value #B": "Reference",
        "version": "Version",
        "cell": "Cell",
    }
    labels = ", ".join((*queries.COLUMN, "cell", "position", "values"))
    places = f"max by ({labels}) ({selector(naming.REFERENCE_RATIO, *VERSIONS, COLUMNS)})"
    cell = ", ".join((*queries.COLUMN, "cell"))
    live = queries.share_by_cell(RANGE, *VERSIONS, COLUMNS)
    yield table(
        "What does each cell of $column hold?",
        "The values of each cell, and their live and reference shares over the time range picked.",
        "the same share in both columns.",
        "percentunit",
        Target(f"{live}\n* on ({cell}) group_left (position, values)\n({places} * 0 + 1)"),
        Target(places),
        terms=("cell",),
        width=12,
        height=9,
        decimals=2,
        transformations=(
            {"id": "merge", "options": {}},
            sorted_by("position"),
            named(columns, hidden=("model", "column", "bins", "position")),
        ),
    )


def signal(one: Signal) -> Panel:
    """One signal and its threshold."""
    only = (matcher("signal", one.name), COLUMNS, *VERSIONS)
    by = "max by (version, column)"
    return lines(
        f"{one.name}: {one.title}",
        "The signal of each feature chosen, by the judged hour; dashed, its threshold, which falls as rows grow.",
        "each line below the dashed one of its feature.",
        UNITS.get(one.unit, "none"),
        Target(f"{by} ({selector(naming.SIGNAL, *only)})", "{{version}} {{column}}"),
        Target(f"{by} ({selector(naming.SIGNAL_THRESHOLD, *only)})", "{{version}} {{column}} threshold"),
        terms=(f"signal {one.name}", "threshold"),
        steps=True,
        empty="not judged yet, or not for this kind of feature",
        overrides=(
            Override(
                ".*threshold", {"custom.lineStyle": {"fill": "dash", "dash": [6, 6]}, "custom.lineWidth": 1}
            ),
        ),
    )


def faults(title: str, which: str, what: str, good: str, term: str) -> Panel:
    """Share of some cells, over the last hour."""
    counted = promql.latest(selector(promql.CELLS_1H, matcher("cell", which, "=~"), COLUMNS, *VERSIONS))
    every = promql.latest(selector(promql.CELLS_1H, COLUMNS, *VERSIONS))
    part, whole = (promql.total(series, queries.COLUMN) for series in (counted, every))
    return lines(
        title,
        f"Share of values that are {what}, over the last hour, by feature.",
        f"{good}.",
        "percentunit",
        Target(promql.ratio(part, whole), "{{version}} {{column}}"),
        terms=(term,),
        thresholds=rising(0.05, 0.2),
        width=6,
        least=0,
    )
