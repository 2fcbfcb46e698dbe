"""What the dashboards share: variables, annotations, links, matchers, and the queries that compare live with reference."""

from barograph import naming, promql
from barograph.alert import BURNS
from barograph.drift import MINIMUM_ROWS
from barograph.grafana.parts import (
    FEATURES,
    FLEET,
    MAIN,
    MODEL,
    RED,
    SYSTEM,
    Annotation,
    Choices,
    Link,
    Target,
    Threshold,
    Variable,
    rising,
)
from barograph.promql import matcher, ratio, selector, total

RATE, RANGE = "$__rate_interval", "$__range"
ANY_VERSION = matcher("model", "$model", "=~")
VERSIONS = (ANY_VERSION, matcher("version", "$version", "=~"))
INSTANCES = matcher("instance", "$instance", "=~")
COLUMNS = matcher("column", "$column", "=~")
ALERTS = "ALERTS"
FIRING = (matcher("alertstate", "firing"), matcher("alertname", "ML(Model|Monitor|Pipeline).*", "=~"))
PAGES, TICKETS = matcher("severity", "critical"), matcher("severity", "warning")
OUTPUTS = f"{naming.SCORE}|{naming.PREDICTION}"
COLUMN = ("model", "version", "bins", "column")  # what counts may be added within
STAGES = matcher("stage", naming.TOTAL, "!=")
REGION = 300  # seconds that a deployment is marked for


def error_colours(options: Choices) -> tuple[Threshold, ...]:
    """Yellow where the error budget is used up too fast, red where the first alert pages."""
    allowed = 1 - options.error_objective
    return rising(allowed, max(burn.limit(allowed) for burn in BURNS))


def slow_colours(options: Choices) -> tuple[Threshold, ...]:
    """Yellow above the objective, red at twice as long."""
    return rising(options.latency_seconds, 2 * options.latency_seconds)


# What the top of a dashboard shows.

MODEL_CHOICE = Variable(
    "model",
    "Model",
    f"label_values({naming.PREDICTIONS.name}, model)",
    "Models that were scraped in the time shown: choose one.",
)
EVERY_MODEL = Variable(
    MODEL_CHOICE.name, MODEL_CHOICE.label, MODEL_CHOICE.query, MODEL_CHOICE.help, everything=True
)
VERSION_CHOICE = Variable(
    "version",
    "Version",
    f"label_values({selector(naming.PREDICTIONS, ANY_VERSION)}, version)",
    "Versions of the model in the time shown.",
    everything=True,
)
COLUMN_CHOICE = Variable(
    "column",
    "Feature",
    f"label_values({selector(naming.REFERENCE_ROWS, *VERSIONS, matcher('column', OUTPUTS, '!~'))}, column)",
    "Features that the reference knows. Choose a few: each has a row of its own below.",
)
METRIC_CHOICE = Variable(
    "metric",
    "Metric",
    f"label_values({selector(naming.QUALITY, *VERSIONS)}, metric)",
    "Metrics of outcomes that labels can tell. Choose one, or a few of the same scale.",
)
INSTANCE_CHOICE = Variable(
    "instance",
    "Replica",
    f"label_values({selector(naming.PREDICTIONS, *VERSIONS)}, instance)",
    "Replicas that served the model in the time shown.",
    everything=True,
    listed=True,
)

_INFO = ("model", "version", "digest", "config", "reference")
_NOW = f"group by ({', '.join(_INFO)}) ({selector(naming.MODEL_INFO, ANY_VERSION)})"
_BEFORE = (
    f"group by ({', '.join(_INFO)}) "
    f"(last_over_time({selector(naming.MODEL_INFO, ANY_VERSION)}[1h] offset {promql.span(REGION)}))"
)
DEPLOYMENTS = Annotation(
    "Deployments",
    f"{_NOW}\nunless\n{_BEFORE}",
    "{{model}} {{version}}",
    "deployed: artifact {{digest}}, configuration {{config}}, reference {{reference}}",
    "blue",
)
ALARMS = Annotation(
    "Alerts",
    selector(ALERTS, *FIRING, matcher("model", "$model|", "=~")),
    "{{alertname}}",
    "{{model}} {{version}} {{column}} {{severity}}",
    RED,
)
ANNOTATIONS = (DEPLOYMENTS, ALARMS)

_TITLES = {MAIN: "Main", SYSTEM: "System", MODEL: "Model", FEATURES: "Features", FLEET: "Fleet"}


def links(uid: str, options: Choices) -> tuple[Link, ...]:
    """The ways from a dashboard to the others, and to the console."""
    others = tuple(Link(title, to) for to, title in _TITLES.items() if to != uid)
    return (
        *others,
        Link("Diagnosis", f"{options.console_url}{'' if uid == FLEET else '/models/${model:percentencode}'}"),
    )


# Live against reference. Nothing is added up over different bins.


def by_cell(window: str, *matchers: str) -> str:
    """Values by cell in a window, from what is recorded: a fixed step, whatever the replicas."""
    return total(promql.recorded_cells(window, *matchers), (*COLUMN, "cell"))


def share_by_cell(window: str, *matchers: str) -> str:
    """Share of each cell among the values of its column."""
    whole = total(promql.recorded_cells(window, *matchers), COLUMN)
    on = f"on ({', '.join(COLUMN)}) group_left ()"
    return f"{by_cell(window, *matchers)}\n/ {on}\n({whole} > 0)"


def overlay(window: str, *matchers: str) -> str:
    """Shares by cell, live and of the reference, one under the other: `of` says which, `values` what falls into the cell."""
    places = f"max by ({', '.join((*COLUMN, 'cell', 'position', 'values'))}) ({selector(naming.REFERENCE_RATIO, *matchers)})"
    live = share_by_cell(window, *matchers)
    on = f"on ({', '.join((*COLUMN, 'cell'))})"
    known = f"({live})\n* {on} group_left (position, values)\n({places} * 0 + 1)"
    unknown = f"({live})\nunless {on}\n{places}"
    plain = f'label_replace(label_replace(\n{unknown}\n, "values", "$1", "cell", "(.+)"), "position", "$1", "cell", "(.+)")'
    return f"{_of('live', f'{known}{chr(10)}or{chr(10)}{plain}')}\n> 0\nor\n{_of('reference', places)}\n> 0"


def _of(what: str, expression: str) -> str:
    joined = f'label_join(\n{expression}\n, "of", ", bins ", "version", "bins")'
    return f'label_replace({joined}, "of", "{what}, version $1", "of", "(.*)")'


def psi(window: str, *matchers: str) -> str:
    """PSI of each column over a window, as `drift.psi` has it: the 18 cells, half a row added to each, less what chance adds.

    With a = live + 1/2 and b = reference + 1/2 in each cell, sum (q - p) ln(q / p) is
    sum(a ln(a / b)) / sum(a) - sum(b ln(a / b)) / sum(b), the sums below the line over cells that hold rows of either side:
    a cell that holds none has ln(a / b) = 0. Absent below 30 rows.
    """
    by, shape = ", ".join(COLUMN), ", ".join((*COLUMN, "shape"))
    cell = ", ".join((*COLUMN, "cell"))
    ratios = f"max by ({cell}, shape) ({selector(naming.REFERENCE_RATIO, *matchers)})"
    rows = f"max by ({by}) ({selector(naming.REFERENCE_ROWS, *matchers)})"
    counted = f"{by_cell(window, *matchers)} * on ({cell}) group_left (shape) ({ratios} * 0 + 1)"
    live, own = (
        f"sum by ({shape}) ({counted})",
        f"sum by ({shape}) ({ratios} * on ({by}) group_left () {rows})",
    )
    n = total(promql.recorded_cells(window, *matchers), COLUMN)
    logs = f"ln(({live} + 0.5) / ({own} + 0.5))"
    half = f"0.5 * count by ({by}) ({live} + {own} > 0)"
    live_part = f"sum by ({by}) (({live} + 0.5) * {logs}) / ({n} + {half})"
    own_part = f"sum by ({by}) (({own} + 0.5) * {logs}) / ({rows} + {half})"
    chance = f"(count by ({by}) ({own} > 0) - 1) * (1 / {n} + 1 / {rows})"
    return f"clamp_min(\n{live_part}\n- {own_part}\n- {chance}\n, 0)\nand {n} >= {MINIMUM_ROWS}"


def alarm_ratio(*matchers: str) -> str:
    """Each signal as a multiple of its threshold, the highest of its bins and evaluators."""
    labels = ("model", "version", "column", "signal", "window")
    value, limit = (
        f"max by ({', '.join(labels)}) ({selector(m, *matchers)})"
        for m in (naming.SIGNAL, naming.SIGNAL_THRESHOLD)
    )
    return ratio(value, limit)


# Alerts.


def firing(*matchers: str) -> str:
    """How many alerts fire; 0 where none does."""
    return f"count({selector(ALERTS, *FIRING, *matchers)}) or vector(0)"


def counted_alerts(*matchers: str) -> tuple[Target, Target]:
    """Pages and tickets."""
    return Target(firing(PAGES, *matchers), "pages"), Target(firing(TICKETS, *matchers), "tickets")
