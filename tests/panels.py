"""Dashboards as tests see them: every panel, every query with its variables filled in, and the labels that each is to answer."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "10m",
    "$__interval": "15s",
    "$model": ".*",
    "$version": ".*",
    "$column": ".*",
    "$instance": ".*",
    "$metric": ".*",
}
MADE = ("Time", "Value")  # fields of a table that are no labels


class Query(NamedTuple):
    """One query of a panel, as Prometheus gets it; `legend` is Grafana's template, `{{label}}`."""

    dashboard: str
    panel: str
    expr: str
    legend: str


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels but rows, those in folded rows too."""
    for panel in dashboard.get("panels", ()):
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def filled(text: str, values: Mapping[str, str] = VARIABLES) -> str:
    """A query with Grafana's variables filled in, `$name` and `${name}`."""
    for name, value in sorted(values.items(), key=lambda item: -len(item[0])):
        text = text.replace(name, value).replace(f"${{{name[1:]}}}", value)
    assert "$" not in text.replace("$1", ""), text  # $1 is label_replace's
    return text


def every_query(dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[Query]:
    """Each query of each panel: dashboard's uid, panel's title, expression, legend."""
    for uid, dashboard in dashboards.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                legend = target["legendFormat"]
                yield Query(uid, panel["title"], filled(target["expr"]), "" if legend == "__auto" else legend)


def every_choice(dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Each variable that lists the values of a label: dashboard's uid, variable's name, series, label."""
    for uid, dashboard in dashboards.items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert found is not None, variable
                yield uid, variable["name"], filled(found[1]), found[2]


def every_annotation(dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[Query]:
    """Each query of an annotation; its legend is its title and its text."""
    for uid, dashboard in dashboards.items():
        for annotation in dashboard["annotations"]["list"]:
            if "expr" in annotation:
                texts = f"{annotation['titleFormat']} {annotation['textFormat']}"
                yield Query(uid, annotation["name"], filled(annotation["expr"]), texts)


def labels_of(legend: str) -> set[str]:
    """The labels that a legend names."""
    return set(re.findall(r"{{\s*(\w+)\s*}}", legend))


def columns_of(panel: Mapping[str, Any]) -> set[str]:
    """The labels that a table, or bars made of one, show."""
    found: set[str] = set()
    for step in panel["transformations"]:
        options = step["options"]
        if step["id"] == "organize":
            found |= set(options["indexByName"]) | set(options["excludeByName"])
        elif step["id"] == "groupingToMatrix":
            found |= {options["rowField"], options["columnField"]}
        elif step["id"] == "sortBy":
            found |= {by["field"] for by in options["sort"]}
    return {name for name in found if not name.startswith(MADE)}
