"""The incidents that drills inject, one entry each. A new one is a function in `faults`, and its entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from barograph import naming
from barograph.drill import faults
from barograph.drill.rows import ABSENT, Rows
from barograph.drill.scene import Scene
from barograph.naming import Metric, Rule

_COLUMNS = (naming.INPUT_BROKEN.name, naming.FEATURE_SHIFTED.name)
_OUTPUT = (naming.OUTPUT_SHIFTED.name,)
_QUALITY = (
    naming.QUALITY_LOW.name, naming.SLOW_LEAK.name, naming.CONCEPT_DRIFT.name, naming.FEAR_CAME_TRUE.name,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Twin:
    """How the other replica differs: arguments of its Monitor, whether its reference is another one, whether its packages are."""

    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reference: bool = False
    packages: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """One fault.

    `inject` takes (rows, scene, f). `mde` is the smallest f that is to be found, `unit` what it counts; with `whole` there is no
    other f. `tasks` and `needs` say which models it applies to (see NEEDS), `columns` where it is. `rules` are those expected to
    fire and `signal` says it in words; `days` is how long it is watched at most. `lacking` is what would catch it, where nothing
    did.
    """

    number: int
    name: str
    title: str
    inject: Callable[[Rows, Scene, float], Rows]
    mde: float
    rules: tuple[str, ...]
    signal: str
    lacking: str
    unit: str = "of rows"
    whole: bool = False
    most: float = 1.0
    tasks: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    columns: Callable[[Scene], tuple[str, ...]] = faults.nowhere
    days: int = 2
    twin: Twin = field(default_factory=Twin)
    gauges: tuple[tuple[Metric, float], ...] = ()
    stopped: bool = False  # the evaluator is

    def described(self, scene: Scene) -> str:
        """The title with the names of its columns, as far as the model has such."""
        return self.title.format(*(*self.columns(scene), "a column", "another"))


# What an incident may need: why it cannot be drilled, where that is lacking.
NEEDS: Mapping[str, tuple[Callable[[Rows], bool], str]] = {
    "labels": (
        lambda rows: rows.label is not None and rows.label_time is not None,
        "no labels: name their column with --label",
    ),
    "durations": (lambda rows: rows.duration is not None, "no durations: name their column with --duration"),
    "events": (lambda rows: rows.events is not None, "no business events: name their column with --events"),
    "score": (lambda rows: rows.score is not None, "no score: name its column with --score"),
    "runs": (
        lambda rows: len(np.unique(rows.time // 3600)) < 0.5 * _hours(rows),
        "rows come all the time, in no runs",
    ),
}  # fmt: skip


def _hours(rows: Rows) -> float:
    return (rows.time[-1] - rows.time[0]) / 3600 if len(rows) else 0.0


def why_not(incident: Incident, rows: Rows, scene: Scene) -> str | None:
    """Why an incident does not apply to a model, or None where it does."""
    if incident.tasks and scene.reference.task not in incident.tasks:
        return f"a matter of {' and '.join(incident.tasks)} models"
    for need in incident.needs:
        there, why = NEEDS[need]
        if not there(rows):
            return why
    if incident.columns is not faults.nowhere and not incident.columns(scene):
        return "the model has no such column"
    return None


_REPLICA = 0.25  # of rows, by one replica of four

INCIDENTS: dict[str, Incident] = {
    incident.name: incident
    for incident in (
        Incident(
            1, "unit-change", "{0} is 1,000 times larger: another unit", faults.scaled(faults.number, 1000.0), 0.01,
            _COLUMNS, "values out of range", "a range: limits on the column", columns=faults.number,
        ),
        Incident(
            2, "filter-too-aggressive", "a filter leaves no answer", faults.emptied, 0.014,
            (naming.EMPTY_HIGH.name,), "empty answers", "a line for empty answers that is nearer to what is usual",
        ),
        Incident(
            3, "faulty-library", "one replica answers the opposite, with another version of a package",
            faults.faulty_library, _REPLICA, (naming.DEPENDENCY_DIFFERS.name, *_OUTPUT),
            "a package differs, then the answers", "a reference that names the packages it was made with",
            tasks=("binary", "regression"), twin=Twin(packages=True),
        ),
        Incident(
            4, "orders-stop", "no business event comes any more", faults.no_events, 1.0,
            (naming.BUSINESS_STOPPED.name,), "none where some were expected", "14 events an hour", whole=True,
            needs=("events",),
        ),
        Incident(
            5, "nulls", "{0} is missing", faults.filled(faults.feature, None), 0.005, _COLUMNS, "missing values",
            "a limit on the column's missing share", columns=faults.feature,
        ),
        Incident(
            6, "zero-fill", "zeros in place of {0}", faults.filled(faults.rarely(0.0), 0.0), 0.15,
            _COLUMNS, "too many zeros", "the share of one value", columns=faults.rarely(0.0),
        ),
        Incident(
            7, "sentinel", "{0} is -1: an error upstream", faults.filled(faults.rarely(-1.0, within=False), -1.0), 0.01,
            _COLUMNS, "values out of range", "a range: limits on the column",
            columns=faults.rarely(-1.0, within=False),
        ),
        Incident(
            7, "sentinel-in-range", "{0} is -1, which it might be", faults.filled(faults.rarely(-1.0, within=True), -1.0),
            0.01, _COLUMNS, "the share of one value", "the share of values that the reference never had",
            columns=faults.rarely(-1.0, within=True),
        ),
        Incident(
            8, "renamed-category", "a category of {0} has another name", faults.renamed, 0.01, _COLUMNS,
            "unseen categories", "a list of the categories that are allowed", columns=faults.category,
        ),
        Incident(
            9, "currency", "{0} is in another currency", faults.cheaper(faults.amount), 0.10, _COLUMNS, "location",
            "a finer line for the column's mean", unit="less", columns=faults.amount,
        ),
        Incident(
            10, "time-zone", "{0} is that of another time zone, by an hour", faults.hour_later, 1.0,
            (*_QUALITY, *_OUTPUT), "residual by hour", "the error by hour of the day", whole=True,
            columns=faults.hour,
        ),
        Incident(
            11, "swapped-columns", "{0} and {1} change places", faults.swapped, 0.15, _COLUMNS, "shape of both",
            "a finer line for their shapes", columns=faults.two_numbers,
        ),
        Incident(
            12, "cut-off", "each day is sorted by {0}, and what comes first is lost", faults.cut, 0.02,
            (*_COLUMNS, naming.NO_TRAFFIC.name), "shape; fewer rows than usual",
            "rows of a day against the usual number", columns=faults.key, days=3,
        ),
        Incident(
            13, "duplicates", "rows are sent again, under the same ids", faults.twice, 0.005, (),
            "duplicate share", "rows minus distinct ids, which the join can count",
        ),
        Incident(
            14, "stale-features", "{0} is what it was hours ago", faults.stale, 1.5, _COLUMNS, "feature age",
            "the age of features, told by the store that serves them", unit="hours", most=24.0,
            columns=faults.number,
        ),
        Incident(
            15, "wrong-entity", "{0} is that of another row", faults.of_others, 0.001, (*_QUALITY, *_OUTPUT),
            "served against recomputed", "an audit: served features against recomputed ones, on some rows",
            columns=faults.feature, days=3,
        ),
        Incident(
            16, "old-model", "one replica runs another artifact under the same version", faults.other_replica,
            _REPLICA, (naming.ARTIFACT_DIFFERS.name,), "digests differ", "artifact= of the Monitor",
            twin=Twin(MappingProxyType({"artifact": b"another model"})),
        ),
        Incident(
            17, "labels-flipped", "labels say something else", faults.flipped, 0.15, _QUALITY,
            "matured quality", "labels that come sooner", needs=("labels",), days=4,
        ),
        Incident(
            17, "label-before-prediction", "labels came before their predictions: clocks differ",
            faults.before_prediction, 0.001, (), "negative lag", "the share of labels that are older than their prediction",
            unit="of labels", needs=("labels",),
        ),
        Incident(
            18, "bots", "one request comes again and again", faults.bots, 0.01, _COLUMNS, "the share of one row",
            "the share of one row among all, counted by its hash",
        ),
        Incident(
            19, "category-bias", "more and more rows of one category of {0}", faults.biased, 0.05, _COLUMNS,
            "exposure by category", "the share of each category in the answers", columns=faults.category, days=3,
        ),
        Incident(
            20, "slow-leak", "answers are wrong a little more each day", faults.leaks, 0.02 / 21, _QUALITY,
            "matured quality, day by day", "more labels a day", unit="of rows more a day", most=0.02,
            needs=("labels",), days=28,
        ),
        Incident(
            21, "positives-jump", "more rows are called positive", faults.positives, 1.0, _OUTPUT, "output shape",
            "more rows an hour", unit="times more", most=4.0, tasks=("binary",), needs=("score",),
        ),
        Incident(
            22, "flawed-threshold", "one replica decides at 0.05", faults.flawed_threshold, _REPLICA,
            (naming.ARTIFACT_DIFFERS.name, *_OUTPUT), "share of the predicted class; configurations differ",
            "config= of the Monitor", tasks=("binary",), needs=("score",),
            twin=Twin(MappingProxyType({"config": {"threshold": faults.FLAWED_THRESHOLD}})),
        ),
        Incident(
            23, "slow-stage", "a stage takes 0.3 s longer", faults.slower, 0.15, (naming.SLOW.name,),
            "latency of the stage", "a limit on latency, or a line at what is usual for the stage",
            unit="of requests", needs=("durations",),
        ),
        Incident(
            24, "errors", "requests are answered with errors", faults.fails, 0.05, (naming.ERRORS_HIGH.name,),
            "error budget", "more requests an hour", unit="of requests",
        ),
        Incident(
            25, "no-traffic", "no request comes any more", faults.none_at_all, 1.0, (naming.NO_TRAFFIC.name,),
            "none where some were expected", "14 requests an hour", whole=True,
        ),
        Incident(
            26, "disk-full", "the disk of the service is full", lambda rows, *_: rows, 1.0, (), "resources",
            "a limit on the disk, in barograph.toml or in Prometheus", whole=True,
            gauges=((naming.DISK_FREE, 0.0),),
        ),
        Incident(
            27, "column-dropped", "{0} is not sent any more", faults.filled(faults.number, ABSENT), 0.01, _COLUMNS,
            "missing values", "a limit on the column's missing share", columns=faults.number,
        ),
        Incident(
            27, "type-changed", "{0} is sent as a text", faults.as_text, 0.01, _COLUMNS, "invalid values",
            "schema violations", columns=faults.number,
        ),
        Incident(
            28, "dip", "answers are wrong on one day", faults.dips, 0.10, _QUALITY, "matured quality",
            "more labels a day", unit="of rows more", needs=("labels",), days=4,
        ),
        Incident(
            29, "late-run", "a run starts late", faults.late_run, 1.0, (naming.NO_TRAFFIC.name,), "freshness",
            "when the next run is due", unit="periods", most=24.0, needs=("runs",),
        ),
        Incident(
            30, "inverted", "a rule delivers the opposite of the decision", faults.inverted, 0.01,
            _OUTPUT, "share of answers that a rule replaced",
            "the share of overridden answers against the usual one", tasks=("binary",), needs=("score",),
        ),
        Incident(
            31, "evaluator-dies", "the evaluator stops", lambda rows, *_: rows, 1.0, (), "Watchdog",
            "somebody else who looks: the rules of barograph mixin (MLMonitorEvaluatorStale), or a dead man's switch",
            whole=True, stopped=True,
        ),
        Incident(
            31, "buffer-full", "one replica cannot count its rows", faults.other_replica, _REPLICA,
            (naming.ROWS_DROPPED.name,), "dropped rows", "a larger buffer_rows of the Monitor",
            twin=Twin(MappingProxyType({"buffer_rows": 1})),
        ),
        Incident(
            32, "reference-replaced", "one replica has another reference", faults.other_replica, _REPLICA,
            (naming.REFERENCE_CHANGED.name,), "reference ids differ", "two replicas, or a day with both",
            twin=Twin(reference=True),
        ),
    )
}  # fmt: skip


def expected(incident: Incident, rule: Rule, column: str, columns: tuple[str, ...]) -> bool:
    """Whether an alert is of the kind that an incident should raise: its rule, and of inputs its column."""
    if rule.name not in incident.rules:
        return False
    return rule.name not in _COLUMNS or not columns or column in columns


def of_user(name: str, given: Any) -> Incident:
    """An incident of the configuration: an Incident under that name, or a function (rows, scene, f) -> rows."""
    if isinstance(given, Incident):
        return replace(given, name=name)
    return Incident(0, name, name, given, 0.5, (), "any", "what the author of the incident knows")
