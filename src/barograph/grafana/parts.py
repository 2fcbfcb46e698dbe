"""The parts of a dashboard, typed, and the Grafana Classic JSON that they become (schemaVersion 41)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from zlib import crc32

from barograph.glossary import GLOSSARY

SCHEMA_VERSION = 41
MAIN, SYSTEM, MODEL, FEATURES, FLEET = (
    f"barograph-{name}" for name in ("main", "system", "model", "features", "fleet")
)
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # columns of the grid
OWN = 10_000  # from here on ids are of panels that a user adds
GREEN, YELLOW, RED = "green", "yellow", "red"
Json = dict[str, Any]


class Choices(Protocol):
    """What a user may choose of what is drawn: objectives are shares in 0..1, times seconds, jobs regular expressions."""

    @property
    def job(self) -> str: ...
    @property
    def evaluator_job(self) -> str: ...
    @property
    def console_url(self) -> str: ...
    @property
    def error_objective(self) -> float: ...
    @property
    def latency_seconds(self) -> float: ...
    @property
    def latency_objective(self) -> float: ...
    def runbook(self, alert: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Target:
    """One query. `legend` names its series: `{{label}}` is a label's value. `instant` asks for one moment, `table` for rows."""

    expr: str
    legend: str = ""
    instant: bool = False
    table: bool = False

    def to_dict(self, ref: str) -> Json:
        """As Grafana's Prometheus data source has it."""
        return {
            "refId": ref, "datasource": DATASOURCE, "editorMode": "code", "expr": self.expr,
            "legendFormat": self.legend or "__auto", "instant": self.instant, "range": not self.instant,
            "format": "table" if self.table else "time_series",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Threshold:
    """The colour from a value on; None is where the scale begins."""

    color: str
    value: float | None = None


def rising(yellow: float, red: float) -> tuple[Threshold, ...]:
    """Green, then yellow, then red as a value grows."""
    return Threshold(GREEN), Threshold(YELLOW, yellow), Threshold(RED, red)


def falling(yellow: float, red: float) -> tuple[Threshold, ...]:
    """Red below `red`, yellow below `yellow`, green above."""
    return Threshold(RED), Threshold(YELLOW, red), Threshold(GREEN, yellow)


@dataclass(frozen=True, slots=True)
class Override:
    """Properties of the fields whose name a regular expression matches; `properties` by Grafana's id: `custom.width`."""

    pattern: str
    properties: Mapping[str, Any]

    def to_dict(self) -> Json:
        """As Grafana has it."""
        given = [{"id": name, "value": value} for name, value in self.properties.items()]
        return {"matcher": {"id": "byRegexp", "options": f"/{self.pattern}/"}, "properties": given}


@dataclass(frozen=True, slots=True)
class Link:
    """A way to another dashboard, by uid, or to a page, by address; the time and the variables go along."""

    title: str
    to: str

    def of_dashboard(self) -> Json:
        """As Grafana has it at the top of a dashboard, where it adds time and variables itself."""
        outside = "://" in self.to
        return self._to_dict(self.to if outside else f"/d/{self.to}", carried=not outside)

    def of_panel(self, variables: Iterable[str]) -> Json:
        """As Grafana has it in a panel's corner, where the address must ask for them."""
        given = "&".join(["${__url_time_range}", *(f"${{{name}:queryparam}}" for name in variables)])
        return self._to_dict(f"/d/{self.to}?{given}", carried=False)

    def _to_dict(self, url: str, *, carried: bool) -> Json:
        outside = "://" in url
        return {
            "title": self.title, "type": "link", "icon": "external link" if outside else "dashboard", "url": url,
            "tooltip": "", "tags": [], "targetBlank": outside, "asDropdown": False, "includeVars": carried, "keepTime": carried,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Panel:
    """One question and its answer. `help` says what is shown and how to read it, `good` what is good; `terms` need the glossary.

    `options` and `custom` are the panel type's own options and field options. `width` is of 24.
    """

    title: str
    type: str
    help: str
    good: str
    unit: str
    targets: tuple[Target, ...]
    terms: tuple[str, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    width: int = 8
    height: int = 8
    least: float | None = None
    most: float | None = None
    decimals: int | None = None
    link: Link | None = None
    empty: str = "no data"
    options: Mapping[str, Any] | None = None
    custom: Mapping[str, Any] | None = None
    mappings: tuple[Json, ...] = ()
    overrides: tuple[Override, ...] = ()
    transformations: tuple[Json, ...] = ()
    repeat: str = ""

    @property
    def description(self) -> str:
        """The help text."""
        words = [f"**{term}**: {GLOSSARY[term]}" for term in self.terms]
        return "\n\n".join([self.help, f"Good: {self.good}", *words])

    def to_dict(self, id: int, x: int, y: int, variables: Iterable[str]) -> Json:
        """As Grafana has it, at a place of the grid."""
        steps = self.thresholds or (Threshold(GREEN),)
        limits = {"min": self.least, "max": self.most, "decimals": self.decimals}
        defaults: Json = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.type in _COLOURED else "palette-classic-by-name"},
            "thresholds": {"mode": "absolute", "steps": [{"color": t.color, "value": t.value} for t in steps]},
            "mappings": list(self.mappings),
            "noValue": self.empty,
            "custom": dict(self.custom or {}),
        } | {name: value for name, value in limits.items() if value is not None}  # fmt: skip
        found: Json = {
            "id": id, "type": self.type, "title": self.title, "description": self.description,
            "datasource": DATASOURCE, "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [t.to_dict(chr(ord("A") + i)) for i, t in enumerate(self.targets)],
            "fieldConfig": {"defaults": defaults, "overrides": [o.to_dict() for o in self.overrides]},
            "options": dict(self.options or {}), "transformations": list(self.transformations),
            "links": [self.link.of_panel(variables)] if self.link else [],
        }  # fmt: skip
        return found | ({"repeat": self.repeat, "repeatDirection": "h"} if self.repeat else {})


_COLOURED = ("stat", "bargauge", "table")


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]
    repeat: str = ""


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: the values of a label. `everything` adds All, and starts with it.

    All stands for any value, or, where it is `listed`, for each that the query found: series of others may have the label, too.
    """

    name: str
    label: str
    query: str
    help: str
    everything: bool = False
    listed: bool = False

    def to_dict(self) -> Json:
        """As Grafana has it. Several can be chosen, and thereby Grafana escapes what a regular expression would read."""
        chosen: Json = {"current": {"text": ["All"], "value": ["$__all"]}}
        if not self.listed:
            chosen["allValue"] = ".*"
        return {
            "name": self.name, "label": self.label, "description": self.help, "type": "query",
            "datasource": DATASOURCE, "query": {"query": self.query, "refId": self.name}, "refresh": 2, "sort": 7,
            "multi": True, "includeAll": self.everything, "regex": "", "hide": 0, "skipUrlSync": False, "options": [],
            **(chosen if self.everything else {"current": {}}),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on every chart where an expression answers. `text` may name labels: `{{version}}`."""

    name: str
    expr: str
    title: str
    text: str
    color: str

    def to_dict(self) -> Json:
        """As Grafana has it."""
        target = {
            "refId": "Anno",
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "interval": "1m",
        }
        return {
            "name": self.name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": self.color,
            "expr": self.expr, "step": "1m", "titleFormat": self.title, "textFormat": self.text, "tagKeys": "",
            "useValueForTime": False, "target": target,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Rows of panels with their variables, annotations and links to other dashboards."""

    uid: str
    title: str
    help: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    links: tuple[Link, ...]
    since: str = "now-24h"

    def to_dict(self) -> Json:
        """Grafana Classic JSON."""
        names = ["datasource", *(v.name for v in self.variables if v.name in _CARRIED)]
        return {
            "uid": self.uid, "title": self.title, "description": self.help, "tags": ["barograph"],
            "schemaVersion": SCHEMA_VERSION, "version": 1, "id": None, "editable": True, "graphTooltip": 1,
            "timezone": "utc", "time": {"from": self.since, "to": "now"}, "refresh": "1m", "fiscalYearStartMonth": 0,
            "liveNow": False, "preload": False, "timepicker": {},
            "links": [link.of_dashboard() for link in self.links],
            "annotations": {"list": [_BUILT_IN, *(a.to_dict() for a in self.annotations)]},
            "templating": {"list": [_CHOICE_OF_DATASOURCE, *(v.to_dict() for v in self.variables)]},
            "panels": list(_laid_out(self.rows, names)),
        }  # fmt: skip


_CARRIED = ("model", "version")  # variables that go along to other dashboards
_BUILT_IN: Json = {
    "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
}  # fmt: skip
_CHOICE_OF_DATASOURCE: Json = {
    "name": "datasource", "label": "Prometheus", "description": "Where the metrics are.", "type": "datasource",
    "query": "prometheus", "regex": "", "multi": False, "includeAll": False, "refresh": 1, "hide": 0,
    "skipUrlSync": False, "options": [], "current": {},
}  # fmt: skip


def _laid_out(rows: Iterable[Row], variables: list[str]) -> Iterable[Json]:
    """Panels from left to right and down. Their ids follow from their titles, so that they stay when others come or go."""
    y = 0
    for row in rows:
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        heading: Json = {"id": _id("row", row.title), "type": "row", "title": row.title, "collapsed": False}
        yield heading | {"gridPos": place, "panels": []} | ({"repeat": row.repeat} if row.repeat else {})
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            yield panel.to_dict(_id(row.title, panel.title), x, y, variables)
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _id(*names: str) -> int:
    return crc32("\n".join(names).encode()) % (OWN - 1) + 1


# The types of panels that are used, each with its options.


def lines(
    title: str, help: str, good: str, unit: str, *targets: Target, thresholds: tuple[Threshold, ...] = (),
    steps: bool = False, points: bool = False, **rest: Any,
) -> Panel:  # fmt: skip
    """Lines over time; thresholds are drawn across. `steps` holds each value until the next one."""
    custom = {
        "drawStyle": "line", "lineInterpolation": "stepAfter" if steps else "linear", "lineWidth": 1.5, "fillOpacity": 0,
        "showPoints": "always" if points else "never", "pointSize": 5, "spanNulls": False,
        "axisSoftMin": 0, "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
    }  # fmt: skip
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(
        title,
        "timeseries",
        help,
        good,
        unit,
        targets,
        thresholds=thresholds,
        custom=custom,
        options=options,
        **rest,
    )


def stat(
    title: str,
    help: str,
    good: str,
    unit: str,
    *targets: Target,
    thresholds: tuple[Threshold, ...],
    **rest: Any,
) -> Panel:
    """The last value, large, in the colour of its threshold; a line of its course below it."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "auto",
        "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "textMode": "auto", "wideLayout": True,
        "showPercentChange": False, "percentChangeColorMode": "standard",
    }  # fmt: skip
    size = {"width": 4, "height": 4} | rest
    return Panel(title, "stat", help, good, unit, targets, thresholds=thresholds, options=options, **size)


def ranks(
    title: str,
    help: str,
    good: str,
    unit: str,
    *targets: Target,
    thresholds: tuple[Threshold, ...],
    **rest: Any,
) -> Panel:
    """A bar for each of several values at one moment, coloured by threshold."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "horizontal",
        "displayMode": "basic", "valueMode": "color", "namePlacement": "left", "showUnfilled": True, "sizing": "auto",
        "minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 300,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
    }  # fmt: skip
    found = Panel(
        title, "bargauge", help, good, unit, targets, thresholds=thresholds, options=options, **rest
    )
    return found if found.least is not None else replace(found, least=0.0)


def bars(title: str, help: str, good: str, unit: str, x: str, *targets: Target, **rest: Any) -> Panel:
    """Groups of bars, one for each value of the field `x`."""
    options = {
        "xField": x, "orientation": "auto", "xTickLabelRotation": -45, "xTickLabelMaxLength": 24,
        "xTickLabelSpacing": 0, "showValue": "never", "stacking": "none", "groupWidth": 0.8, "barWidth": 0.95,
        "barRadius": 0, "fullHighlight": True, "tooltip": {"mode": "multi", "sort": "none"},
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
    }  # fmt: skip
    custom = {"fillOpacity": 70, "lineWidth": 1, "gradientMode": "none", "axisSoftMin": 0}
    return Panel(title, "barchart", help, good, unit, targets, options=options, custom=custom, **rest)


def shades(title: str, help: str, good: str, unit: str, *targets: Target, **rest: Any) -> Panel:
    """A row of shaded cells for each series, over time."""
    options = {
        "calculate": False, "cellGap": 0, "showValue": "never", "legend": {"show": True}, "exemplars": {"color": "red"},
        "color": {"mode": "scheme", "scheme": "Blues", "fill": "dark-blue", "exponent": 0.5, "steps": 64, "reverse": True},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True}, "yAxis": {"unit": "none"},
        "rowsFrame": {"layout": "auto"}, "cellValues": {"unit": unit},
    }  # fmt: skip
    return Panel(title, "heatmap", help, good, unit, targets, options=options, **rest)


def table(title: str, help: str, good: str, unit: str, *targets: Target, **rest: Any) -> Panel:
    """Rows of labels and values at one moment."""
    asked = tuple(replace(target, instant=True, table=True) for target in targets)
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True}
    options = {"showHeader": True, "cellHeight": "sm", "frameIndex": 0}
    return Panel(title, "table", help, good, unit, asked, options=options, custom=custom, **rest)


# What is done to the rows of a table.


def merged() -> Json:
    """One row for the same labels of several queries."""
    return {"id": "merge", "options": {}}


def named(columns: Mapping[str, str], *, hidden: Iterable[str] = ()) -> Json:
    """Fields by name: which are shown, in this order, and under which name."""
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(("Time", *hidden), True),
            "indexByName": {name: i for i, name in enumerate(columns)},
            "renameByName": {name: title for name, title in columns.items() if name != title},
        },
    }


def sorted_by(field: str, *, falling: bool = False) -> Json:
    """Rows in the order of a field."""
    return {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": field, "desc": falling}]}}


def matrix(*, rows: str, columns: str) -> Json:
    """One row for each value of a field, and one column for each value of another; 0 where there is none."""
    options = {"rowField": rows, "columnField": columns, "valueField": "Value", "emptyValue": "zero"}
    return {"id": "groupingToMatrix", "options": options}
