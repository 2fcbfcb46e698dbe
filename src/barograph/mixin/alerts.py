"""Alerts for Prometheus: each rule of `naming.RULES` as an expression. Nobody else says what is bad, `alert` and `naming` do.

A ratio over series that are absent is absent, not 0: silence is therefore looked for in what was expected, and every share
has a least number of calls. A gauge is wrapped in an `..._over_time`, so that a scrape that failed resets no alert.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from barograph import alert, naming, promql
from barograph.checks import ENOUGH_ROWS
from barograph.drift import SIGNALS
from barograph.grafana.parts import FEATURES, MAIN, MODEL, SYSTEM
from barograph.limits import LATENCY, RESOURCES
from barograph.mixin.options import Options
from barograph.mixin.text import to_yaml
from barograph.naming import Metric, Rule
from barograph.promql import HOUR, matcher, selector, span
from barograph.traffic import SILENCE

FILE = "alerts.yaml"
HEADER = """\
Written by `barograph mixin`, and the same for every model. `keep_firing_for` asks for Prometheus 2.42 or later.
Check it: promtool check rules --lint=all --lint-fatal alerts.yaml
"""
WATCHDOG = "Watchdog"
SEVERITIES = {alert.PAGE: "critical", alert.TICKET: "warning"}
HELD = "5m"  # how long a gauge that was last seen counts as there
FLAPPING = "10m"  # over which most of a process's scrapes fail while it restarts again and again
OWNED = "1h"  # how long a limit of an owner holds while nobody tells of it
SEEN = "1d"  # how long what was seen is remembered
STALE = 300  # seconds after which the evaluator, which makes a pass a minute, is late


@dataclass(frozen=True, slots=True)
class Alert:
    """How Prometheus finds an alert, and what it says. Templates see the labels of the expression's result, and its value."""

    expression: Callable[[Options], str]
    summary: str
    description: str | Callable[[Options], str]
    dashboard: str = MAIN
    judged: bool = False  # by the evaluator, which has waited already
    shown: tuple[str, ...] | None = (
        None  # labels that choose what the dashboard shows, where others than usual
    )


def files(options: Options) -> dict[str, str]:
    """The file of alerts."""
    return {FILE: to_yaml({"groups": groups(options)}, header=HEADER)}


def groups(options: Options) -> list[dict[str, Any]]:
    """Groups of alerts as Prometheus reads them."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for name, found in ALERTS.items():
        rule = naming.RULES[name]
        grouped.setdefault(rule.group, []).append(_alert(rule, found, options))
    listed = [{"name": f"barograph-{group}-alerts", "rules": rules} for group, rules in grouped.items()]
    return [*listed, {"name": "barograph-watchdog", "rules": [_watchdog(options)]}]


def _alert(rule: Rule, found: Alert, options: Options) -> dict[str, Any]:
    """`for` and `keep_firing_for` (Prometheus 2.42 and later) where the rule waits."""
    description = found.description if isinstance(found.description, str) else found.description(options)
    waits = {"for": rule.pending, "keep_firing_for": 0 if found.judged else rule.keep_firing}
    return {
        "alert": rule.name,
        "expr": found.expression(options),
        **{key: span(seconds) for key, seconds in waits.items() if seconds},
        "labels": {"severity": SEVERITIES[rule.severity], "group": rule.group},
        "annotations": {
            "summary": found.summary,
            "description": description,
            "runbook_url": options.runbook(rule.name),
            "dashboard_url": dashboard_url(found.dashboard, options, found.shown),
        },
    }


def _watchdog(options: Options) -> dict[str, Any]:
    summary = "This alert always fires: where it stops arriving, alerts do not arrive."
    description = "Prometheus evaluates its rules and reaches Alertmanager. Have something outside notice when this one stops."
    return {
        "alert": WATCHDOG,
        "expr": "vector(1)",
        "labels": {"severity": "none", "group": "service"},
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": options.runbook(WATCHDOG),
            "dashboard_url": f"{options.grafana_url}/d/{SYSTEM}",
        },
    }


def dashboard_url(uid: str, options: Options, labels: tuple[str, ...] | None = None) -> str:
    """A dashboard at the model, version and column of the alert, or at what else of its labels the dashboard knows."""
    chosen = _VARIABLES[uid] if labels is None else labels
    variables = [f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in chosen]
    return f"{options.grafana_url}/d/{uid}{'?' if variables else ''}{'&'.join(variables)}"


_VARIABLES = {
    MAIN: ("model",),
    SYSTEM: (),
    MODEL: ("model", "version"),
    FEATURES: ("model", "version", "column"),
}


# Expressions.


def burning(ratio: Callable[[int], str], bad: Callable[[int], str], every: Callable[[int], str]) -> Any:
    """Burn rates over several windows: the share is over the limit in the long window, and still is in the short one."""

    def of(budget: float) -> str:
        parts = []
        for burn in alert.BURNS:
            limit = f"{burn.limit(budget):.6g}"
            parts.append(
                f"{ratio(burn.long)} > {limit}\n"
                f"and {ratio(burn.short)} > {limit}\n"
                f"and {every(burn.long)} >= {alert.ENOUGH_CALLS}\n"
                f"and {bad(burn.long)} >= {alert.ENOUGH_BAD}"
            )
        return "\nor\n".join(parts)

    return of


_errors = burning(promql.error_ratio_name, promql.failed_name, promql.calls_name)
_slow = burning(promql.slow_ratio_name, promql.slow_name, promql.timed_name)


def limit(name: str, sign: str = "=") -> str:
    """The limits that owners set, by model, as the evaluator tells of them; absent where there are none."""
    told = selector(naming.LIMIT, matcher("limit", name, sign))
    return f"max by (model, limit) (max_over_time({told}[{OWNED}]))"


def _owned(burns: str, name: str, past: str) -> str:
    """What burns a budget, of models whose owner set no limit; of the others what is past it."""
    return f"({burns})\nunless on (model) {limit(name, '=~')}\nor\n{past}"


def _errors_owned(options: Options) -> str:
    past = (
        f"{promql.error_ratio_name(300)} > on (model) group_left () {limit('errors')}\n"
        f"and {promql.calls_name(300)} >= {alert.ENOUGH_CALLS}"
    )
    return _owned(_errors(1 - options.error_objective), "errors", past)


def _slow_owned(options: Options) -> str:
    past = []
    for name, q in LATENCY.items():
        seconds = promql.quantile(q, "5m", promql.TOTAL, by=promql.VERSION)
        enough = max(alert.ENOUGH_CALLS, round(1 / (1 - q)))
        past.append(
            f"{seconds} > on (model) group_left () {limit(name)}\nand {promql.timed_name(300)} >= {enough}"
        )
    return _owned(_slow(1 - options.latency_objective), "latency_p.*", "\nor\n".join(past))


def _few(_: Options) -> str:
    """Rows of an hour, of a model that was there an hour ago; the value is how many there were."""
    rows = promql.events_name(naming.PREDICTIONS, HOUR)
    return f"{rows} < on (model) {limit('traffic')}\nand on (model) {rows} offset {span(HOUR)} >= 0"


def _resources(_: Options) -> str:
    """What the processes of an instance use, for each model that they answer; the value is in bytes, processors, or a share."""
    at = "job, instance"
    held, free, size = (
        f"by ({at}) (avg_over_time({m.name}[{HELD}]))"
        for m in (naming.PROCESS_MEMORY, naming.DISK_FREE, naming.DISK_SIZE)
    )
    used = {
        "memory": f"sum {held}",
        "cpu": f"sum by ({at}) (rate({naming.PROCESS_CPU.name}[5m]))",
        "disk": f"1 - max {free} / max {size}",
    }
    runs = f"max by ({at}, model) (max_over_time({naming.MODEL_INFO.name}[{HELD}]))"
    return "\nor\n".join(
        f"{runs} * on ({at}) group_left () ({used[name]}) > on (model) group_left (limit) {limit(name)}"
        for name in RESOURCES
    )


def silent(metric: Metric) -> str:
    """None came, at 0 or absent, in the shortest window in which enough were expected; the value is how many were.

    Quiet where nothing is known of earlier weeks, and where the rules were not evaluated when the window began: then
    Prometheus was down, and counted nothing. Events that come in bursts, a batch an hour, leave gaps that are as long as the
    window: they are missed after two hours without any.
    """
    by = ", ".join(promql.events_level(metric))
    parts = []
    for window in promql.SILENCE_WINDOWS:
        share = f" * {window} / {HOUR}" if window != HOUR else ""
        steady = promql.steady_name(metric, min(window, max(promql.STEADY_WINDOWS)))
        parts.append(
            f"{promql.expected_name(metric)}{share} >= {SILENCE}\n"
            f"unless on ({by}) {promql.events_name(metric, window)} > 0\n"
            f"unless on ({by}) {_first_seen(metric, window)} > 0\n"
            f"and on ({by}) {steady}\n"
            f"and on () {_alive(window)}"
        )
    hour = promql.events_name(metric, HOUR)
    parts.append(
        f"{promql.expected_name(metric)} >= {SILENCE}\n"
        f"unless on ({by}) {hour} > 0\n"
        f"unless on ({by}) {hour} offset {span(HOUR)} > 0\n"
        f"unless on ({by}) {_first_seen(metric, 2 * HOUR)} > 0\n"
        f"and on () {_alive(2 * HOUR)}"
    )
    return "\nor\n".join(parts)


def _first_seen(metric: Metric, window: int) -> str:
    """What counters stand at that were not there a window ago: `increase` does not see what they were first seen with."""
    new = f"{metric.name} unless {metric.name} offset {span(window)}"
    return promql.total(new, promql.events_level(metric))


def _alive(window: int) -> str:
    """The rules were evaluated so many seconds ago."""
    return f"present_over_time({promql.RULES_ALIVE}[2m] offset {span(window - 120)})"


def _empty(_: Options) -> str:
    usual = f"{promql.EMPTY_RATIO} > {promql.EMPTY_LIMIT} unless on (model) {limit('empty')}"
    past = f"{promql.EMPTY_RATIO} > on (model) group_left () {limit('empty')}"
    return f"({usual}\nor {past})\nand {promql.ROWS_1H} >= {ENOUGH_ROWS}"


def judged(rule: Rule) -> Callable[[Options], str]:
    """What the evaluator says of a rule, by column and signal; of two evaluators either one."""
    state = selector(naming.ALERT_STATE, matcher("alert", rule.name), matcher("state", alert.FIRING))
    expression = f"max without (alert, state, instance, pod) (max_over_time({state}[{HELD}])) > 0"
    return lambda _: expression


def _dependency(_: Options) -> str:
    """PromQL compares no two labels: each is written into a third one, and what is then the same is left out."""
    labels = "model, version, package, running, trained"
    seen = f"max by ({labels}) (max_over_time({naming.DEPENDENCY_INFO.name}[{HELD}]))"
    parts = [f'label_replace({seen}, "same", "$1", "{label}", "(.*)")' for label in ("running", "trained")]
    return f"max by ({labels}) (\n{parts[0]}\nunless\n{parts[1]}\n)"


def _references(_: Options) -> str:
    return f"count by (model, version) (max_over_time({promql.REFERENCES}[{SEEN}])) > 1"


def _artifacts(_: Options) -> str:
    """Processes that tell nothing of their artifact are left out: they say neither that it differs nor that it is the same."""
    parts = []
    for label in ("digest", "config"):
        held = f"max_over_time({selector(naming.MODEL_INFO, matcher(label, '', '!='))}[{HELD}])"
        parts.append(f"count by (model, version) (count by (model, version, {label}) ({held})) > 1")
    return "\nor\n".join(parts)


def _dropped(_: Options) -> str:
    """Rows that carry another time are counted by the join, and are not lost."""
    lost = promql.increase(naming.DROPPED_ROWS, "10m", matcher("reason", "time", "!="))
    return f"{lost} > 0"


def _unshared(_: Options) -> str:
    return f"max by (job, instance) (min_over_time({naming.WORKERS_UNSHARED.name}[{HELD}])) > 0"


def _down(options: Options) -> str:
    """`up` is there after a scrape that failed, too; where no target is left, it is absent.

    A process that restarts again and again answers now and then: it is down where it does not answer most of the time.
    """
    up = selector("up", matcher("job", options.job, "=~"))
    return f"{up} == 0\nor\navg_over_time({up}[{FLAPPING}]) < 0.5\nor\nabsent({up})"


def _stale(_: Options) -> str:
    """The value is the seconds since any evaluator finished a pass; 1 where none was seen for a day."""
    passed = f"{naming.EVALUATOR_SUCCESS.name}[{SEEN}]"
    return f"time() - max(max_over_time({passed})) > {STALE}\nor\nabsent_over_time({passed})"


# Texts. Prometheus' templates are Go's; a label that is not there is empty.


_WHO = "{{ $labels.model }} {{ $labels.version }}"
_NAMES = "".join(
    f'{{{{ if eq $labels.signal "{s.name}" }}}}{s.title.lower()}{{{{ end }}}}' for s in SIGNALS.values()
)


def _number(metric: Metric) -> str:
    """The last value of a gauge of the evaluator, of the alert's column and signal; `unknown` where there is none."""
    labels = ("model", "version", "column", "signal")
    asked = selector(metric, *(f"{label}=%q" for label in labels))
    values = " ".join(f"$labels.{label}" for label in labels)
    found = f"printf `{asked}` {values} | query"
    return (
        f"{{{{ with {found} }}}}{{{{ . | first | value | printf `%.3g` }}}}{{{{ else }}}}unknown{{{{ end }}}}"
    )


_QUALITY = (
    f'{{{{ with printf `{naming.QUALITY.name}{{model=%q,version=%q,segment="",metric=%q,basis="confirmed"}}`'
    " $labels.model $labels.version $labels.signal | query }}"
    "{{ . | first | value | printf `%.3g` }}{{ else }}unknown{{ end }}"
)
_JUDGED = (
    f"{{{{ $labels.column }}}}: signal {{{{ $labels.signal }}}} ({_NAMES}) is at {_number(naming.SIGNAL)},"
    f" its line at {_number(naming.SIGNAL_THRESHOLD)}. Judged by the evaluator."
)


_OWNER = " Where the model's owner set a limit, that one is passed."


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _silence(what: str, remedy: str) -> str:
    return f"{{{{ $value | printf `%.0f` }}}} {what} were expected by the same hours of earlier weeks, and none came. {remedy}"


ALERTS: dict[str, Alert] = {
    rule.name: found
    for rule, found in (
        (
            naming.NO_TRAFFIC,
            Alert(
                lambda _: silent(naming.PREDICTIONS),
                "Model {{ $labels.model }} gets no requests.",
                _silence("predictions", "The service is down, unreachable, or nobody asks it."),
            ),
        ),
        (
            naming.ERRORS_HIGH,
            Alert(
                _errors_owned,
                f"Predictions of {_WHO} fail.",
                lambda options: (
                    "{{ $value | humanizePercentage }} of the calls failed over the last hour, or six, and still do: at most"
                    f" {_percent(1 - options.error_objective)} may. A month's error budget is used up many times too fast."
                    f"{_OWNER}"
                ),
            ),
        ),
        (
            naming.SLOW,
            Alert(
                _slow_owned,
                f"Predictions of {_WHO} are slow.",
                lambda options: (
                    "{{ $value | humanizePercentage }} of the calls over the last hour, or six, took longer than"
                    f" {promql.bucket(options.latency_seconds):g} s, and still do: at most"
                    f" {_percent(1 - options.latency_objective)} may.{_OWNER}"
                ),
            ),
        ),
        (
            naming.EMPTY_HIGH,
            Alert(
                _empty,
                f"Too many answers of {_WHO} are empty.",
                "{{ $value | humanizePercentage }} of the last hour's answers held nothing. The line is 5 points above usual,"
                f" and more where answers are few.{_OWNER}",
                MODEL,
            ),
        ),
        (
            naming.OUTPUT_SHIFTED,
            Alert(
                judged(naming.OUTPUT_SHIFTED),
                f"What {_WHO} answers is out of the ordinary.",
                _JUDGED,
                MODEL,
                judged=True,
            ),
        ),
        (
            naming.INPUT_BROKEN,
            Alert(
                judged(naming.INPUT_BROKEN),
                f"Feature {{{{ $labels.column }}}} of {_WHO} is grossly wrong.",
                _JUDGED,
                FEATURES,
                judged=True,
            ),
        ),
        (
            naming.FEATURE_SHIFTED,
            Alert(
                judged(naming.FEATURE_SHIFTED),
                f"Feature {{{{ $labels.column }}}} of {_WHO} is out of the ordinary.",
                _JUDGED,
                FEATURES,
                judged=True,
            ),
        ),
        (
            naming.QUALITY_LOW,
            Alert(
                judged(naming.QUALITY_LOW),
                f"Outcomes of {_WHO} are worse than allowed.",
                f"{{{{ $labels.signal }}}} of confirmed labels is {_QUALITY}: past its owner's limit, or fallen. Judged by the"
                " evaluator.",
                MODEL,
                judged=True,
            ),
        ),
        (
            naming.FEAR_CAME_TRUE,
            Alert(
                judged(naming.FEAR_CAME_TRUE),
                f"What is feared of {_WHO} has come true: {{{{ $labels.column }}}}.",
                "{{ $labels.signal }} of confirmed labels is past the limit that was set for it. Judged by the evaluator.",
                MODEL,
                judged=True,
            ),
        ),
        (
            naming.SLOW_LEAK,
            Alert(
                judged(naming.SLOW_LEAK),
                f"Outcomes of {_WHO} get worse day by day.",
                f"{{{{ $labels.signal }}}} of confirmed labels is {_QUALITY}. Judged by the evaluator, by a CUSUM over days.",
                MODEL,
                judged=True,
            ),
        ),
        (
            naming.CONCEPT_DRIFT,
            Alert(
                judged(naming.CONCEPT_DRIFT),
                f"Scores of {_WHO} no longer mean what they meant.",
                "Labels of two days in a row, or of one by far, are not what the scores promised. Judged by the evaluator.",
                MODEL,
                judged=True,
            ),
        ),
        (
            naming.LABELS_LATE,
            Alert(
                judged(naming.LABELS_LATE),
                f"Labels of {_WHO} are late.",
                "Less than half of the labels have come that should be there by now. Judged by the evaluator.",
                MODEL,
                judged=True,
            ),
        ),
        (
            naming.TRAIN_SERVE_SKEW,
            Alert(
                judged(naming.TRAIN_SERVE_SKEW),
                f"{{{{ $labels.column }}}} of {_WHO} never looked like the training data.",
                f"Signal {{{{ $labels.signal }}}} ({_NAMES}) of the version's first day is beyond its line. Judged by the"
                " evaluator.",
                FEATURES,
                judged=True,
            ),
        ),
        (
            naming.DEPENDENCY_DIFFERS,
            Alert(
                _dependency,
                f"{_WHO} runs with another {{{{ $labels.package }}}} than it was made with.",
                "{{ $labels.package }} {{ $labels.running }} runs; the model was made with {{ $labels.trained }}.",
                MODEL,
            ),
        ),
        (
            naming.ROWS_DROPPED,
            Alert(
                _dropped,
                f"The monitor of {_WHO} drops rows.",
                "About {{ $value | printf `%.0f` }} rows of the last 10 minutes were not counted.",
                SYSTEM,
                shown=("model", "version"),
            ),
        ),
        (
            naming.BUSINESS_STOPPED,
            Alert(
                lambda _: silent(naming.BUSINESS),
                "There is no {{ $labels.event }} any more with {{ $labels.model }}.",
                _silence("events", "The model may answer and be useless: look at its output first."),
            ),
        ),
        (
            naming.REFERENCE_CHANGED,
            Alert(
                _references,
                f"{_WHO} has run with more than one reference.",
                "{{ $value }} references in a day under one version: signals before and after are not compared with the same.",
                MODEL,
            ),
        ),
        (
            naming.ARTIFACT_DIFFERS,
            Alert(
                _artifacts,
                f"Processes of {_WHO} do not run the same.",
                "{{ $value }} different artifacts or configurations answer under one version.",
                MODEL,
            ),
        ),
        (
            naming.TARGET_DOWN,
            Alert(
                _down,
                "{{ if $labels.instance }}{{ $labels.instance }} cannot be read.{{ else }}No serving process is read.{{ end }}",
                "{{ if $labels.instance }}Prometheus gets no answer from its /metrics (job {{ $labels.job }}), or seldom one."
                "{{ else }}Prometheus has no target of the jobs that the mixin was written for.{{ end }}",
                SYSTEM,
            ),
        ),
        (
            naming.WORKERS_APART,
            Alert(
                _unshared,
                "Workers of {{ $labels.instance }} do not share their counters.",
                "{{ $value }} workers count for themselves: a scrape sees one of them, and totals are too low.",
                SYSTEM,
            ),
        ),
        (
            naming.TRAFFIC_LOW,
            Alert(
                _few,
                "Model {{ $labels.model }} gets fewer requests than its owner wants.",
                "{{ $value | printf `%.0f` }} predictions came in the last hour. The limit is set by its owner.",
            ),
        ),
        (
            naming.RESOURCES_HIGH,
            Alert(
                _resources,
                "{{ $labels.instance }}, which answers {{ $labels.model }}, uses more {{ $labels.limit }} than its owner allows.",
                "It uses {{ $value | humanize }} (memory in bytes, cpu in processors, disk as a share). The limit is set by the"
                " owner.",
                SYSTEM,
            ),
        ),
        (
            naming.EVALUATOR_STALE,
            Alert(
                _stale,
                "The evaluator does not judge.",
                "{{ if gt $value 1.0 }}It last finished a pass {{ $value | humanizeDuration }} ago."
                "{{ else }}No evaluator was seen for a day.{{ end }} Drift and outcomes are not looked at.",
                SYSTEM,
            ),
        ),
    )
}
