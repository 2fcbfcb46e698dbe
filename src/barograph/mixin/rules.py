"""Recording rules: what alerts and dashboards ask again and again, worked out once. They are the same for every model."""

from collections.abc import Mapping
from typing import Any

from barograph import naming, promql
from barograph.checks import EMPTY_DEVIATIONS, EMPTY_KNOWN, EMPTY_POINTS, EMPTY_UNKNOWN, ENOUGH_ROWS
from barograph.mixin.options import Options
from barograph.mixin.text import to_yaml
from barograph.naming import Metric
from barograph.promql import HOUR, WEEK, span
from barograph.traffic import STEADY_BEFORE

FILE = "rules.yaml"
WEEKS = 4
HEADER = """\
Written by `barograph mixin`, and the same for every model. Add rules of your own in another file.
Check it: promtool check rules --lint=all --lint-fatal rules.yaml
"""


def files(options: Options) -> dict[str, str]:
    """The file of recording rules."""
    return {FILE: to_yaml({"groups": groups(options)}, header=HEADER)}


def groups(options: Options) -> list[dict[str, Any]]:
    """Groups of rules as Prometheus reads them. Those without an interval are evaluated at Prometheus' own."""
    return [
        _group("barograph-traffic", traffic()),
        _group("barograph-budgets", budgets(options)),
        _group("barograph-durations", durations()),
        _group("barograph-counts", counts(), interval=promql.CELL_STEP),
    ]


def _group(name: str, rules: Mapping[str, str], interval: int | None = None) -> dict[str, Any]:
    paused = {} if interval is None else {"interval": span(interval)}
    listed = [{"record": record, "expr": expression} for record, expression in rules.items()]
    return {"name": name, **paused, "rules": listed}


def traffic() -> dict[str, str]:
    """Events by model and what is usual for the hour of the week; empty answers; references in use."""
    found = {
        promql.RULES_ALIVE: "vector(1)",
        promql.PREDICTION_RATE: promql.rate(naming.PREDICTIONS, "5m"),
        promql.ERROR_RATE: promql.rate(naming.ERRORS, "5m"),
    }
    for metric in (naming.PREDICTIONS, naming.BUSINESS):
        for window in promql.SILENCE_WINDOWS:
            counted = promql.increase(metric, span(window), by=promql.events_level(metric))
            found[promql.events_name(metric, window)] = counted
        for window in promql.STEADY_WINDOWS:
            found[promql.steady_name(metric, window)] = steady(metric, window)
        past, coming = promql.usual_name(metric), promql.usual_name(metric, coming=True)
        found[past], found[coming] = usual(metric), usual(metric, later=HOUR)
        found[promql.expected_name(metric)] = f"({past} <= {coming}) or ({coming} <= {past})"
    empty = promql.increase(naming.EMPTY, "1h")
    return found | {
        promql.ROWS_1H: promql.increase(naming.PREDICTIONS, "1h"),
        promql.EMPTY_RATIO: promql.ratio(empty, promql.ROWS_1H),
        promql.EMPTY_EXPECTED: expected_empty(),
        promql.EMPTY_LIMIT: empty_limit(),
        promql.REFERENCES: promql.count(naming.MODEL_INFO, "reference"),
    }


def usual(metric: Metric, later: int = 0) -> str:
    """The median of the events in the same hour one to four weeks ago; the hour ends `later` seconds after this time of week.

    An hour that is absent where an older one is known had none. Nothing is usual for what was not there a week ago.
    """
    counted, by = promql.events_name(metric, HOUR), ", ".join(promql.events_level(metric))
    hours = [f"{counted} offset {span(week * WEEK - later)}" for week in range(1, WEEKS + 1)]
    weeks = [f'label_replace({" or 0 * ".join(hours[i:])}, "week", "{i + 1}", "", "")' for i in range(WEEKS)]
    return f"quantile by ({by}) (0.5,\n  " + "\n  or ".join(weeks) + "\n)"


def steady(metric: Metric, window: int) -> str:
    """The fewest events in a window of some hour before, where none was empty: where all were full, a gap is no burst's end."""
    counted = promql.events_name(metric, window)
    ago = (span(seconds) for seconds in STEADY_BEFORE)
    return " or ".join(f"min_over_time({counted}[{span(HOUR)}] offset {one}) > 0" for one in ago)


def expected_empty() -> str:
    """The share of empty answers that is usual of a version; of its model, while little is known of it."""
    own, model = promql.latest(promql.EMPTY_USUAL), promql.latest(promql.EMPTY_USUAL_OF_MODEL)
    none = f"0 * {promql.EMPTY_RATIO}"
    return f"{own} or {none} + on (model) group_left () {model} or {none} + {EMPTY_UNKNOWN}"


def empty_limit() -> str:
    """The same as `checks.empty_limit`."""
    share = f"({promql.EMPTY_EXPECTED} + {EMPTY_POINTS})"
    chance = f"sqrt(clamp_min({share} * (1 - {share}), 0) / {promql.ROWS_1H})"
    return f"{share} + {EMPTY_DEVIATIONS} * {chance}"


def budgets(options: Options) -> dict[str, str]:
    """Calls that failed or were slow over the windows of burn rates, of how many, and their shares."""
    found: dict[str, str] = {}
    soon = promql.le(promql.bucket(options.latency_seconds))
    for window in promql.BURN_WINDOWS:
        timed, failed = promql.timed_name(window), promql.failed_name(window)
        answered, calls, slow = (
            name(window) for name in (promql.answered_name, promql.calls_name, promql.slow_name)
        )
        in_time = promql.increase(naming.DURATION, span(window), promql.TOTAL, soon, suffix="_bucket")
        rows = promql.increase(naming.PREDICTIONS, span(window))
        found |= {
            failed: promql.increase(naming.ERRORS, span(window)),
            timed: promql.increase(naming.DURATION, span(window), promql.TOTAL, suffix="_count"),
            answered: f"{timed} > 0 or {rows} or {timed}",
            slow: f"{timed} - {in_time}",
            calls: f"{answered} + {failed} or {answered} or {failed}",
            promql.error_ratio_name(window): promql.ratio(failed, calls),
            promql.slow_ratio_name(window): promql.ratio(slow, timed),
        }
    return found


def durations() -> dict[str, str]:
    """Seconds by stage: mean and quantiles."""
    return {promql.MEAN_SECONDS: promql.mean("5m")} | {
        promql.quantile_name(q): promql.quantile(q, "5m") for q in promql.QUANTILES
    }


def counts() -> dict[str, str]:
    """Rows, empty answers and cells of columns every five minutes, so that hours and weeks are sums of these.

    A window that is a whole number of steps has one recording more at its edge in Prometheus 2 than in 3: an hour
    therefore reaches back 59 minutes, and holds twelve of them in both.
    """
    week = f"[{span(WEEK)}] offset {span(HOUR)}"
    empty, rows = (f"sum_over_time({series}{week})" for series in (promql.EMPTY_5M, promql.ROWS_5M))
    return {
        promql.ROWS_5M: promql.increase(naming.PREDICTIONS, "5m"),
        promql.EMPTY_5M: promql.increase(naming.EMPTY, "5m"),
        promql.EMPTY_USUAL: promql.ratio(empty, rows, EMPTY_KNOWN),
        promql.EMPTY_USUAL_OF_MODEL: promql.ratio(
            promql.total(empty, promql.MODEL), promql.total(rows, promql.MODEL), ENOUGH_ROWS
        ),
        promql.CELLS_5M: promql.cells("5m"),
        promql.CELLS_1H: promql.recorded_cells(f"{HOUR // 60 - 1}m"),
        promql.SHARE_1H: promql.smoothed_share(promql.CELLS_1H),
    }
