"""A user's own panels in our dashboards, and what of a dashboard is ours.

The rule: a panel whose id is above 10000 is the user's. Every dashboard ends with an empty row "Own panels" whose id is 10000,
so that whatever Grafana adds gets a higher one. Own panels stay when the dashboards are written again; they stand in that row.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from barograph.grafana.parts import OWN

ROW = OWN  # the id of the row
TITLE = "Own panels"
_COLUMNS = 24

Panel = Mapping[str, Any]


def is_dashboard(path: str) -> bool:
    """Whether a path in the mixin's folder is a dashboard's."""
    return path.startswith("dashboards/") and path.endswith(".json")


def to_json(dashboard: Mapping[str, Any]) -> str:
    """A dashboard as text that reads well in a diff.

    >>> to_json({"a": [1]})
    '{\\n "a": [\\n  1\\n ]\\n}\\n'
    """
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def own_panels(text: str) -> list[Panel]:
    """The user's panels in a dashboard's text, as they stand; none where the text is no dashboard."""
    dashboard = _parsed(text)
    return [] if dashboard is None else list(_own(dashboard))


def _own(dashboard: Mapping[str, Any]) -> Iterator[Panel]:
    for panel in _panels(dashboard):
        if _id(panel) > ROW:
            yield panel
        else:  # a row of ours that was folded up, with panels in it
            yield from (inner for inner in _panels(panel) if _id(inner) > ROW)


def with_own(text: str, own: Sequence[Panel]) -> str:
    """A dashboard with the row for own panels at its end, and these in it, in the places that they had to each other.

    >>> added = with_own(
    ...     '{"panels": [{"id": 1, "gridPos": {"h": 8, "y": 0}}]}',
    ...     [{"id": 10001, "gridPos": {"h": 4, "y": 70}}],
    ... )
    >>> [panel["gridPos"]["y"] for panel in json.loads(added)["panels"]]
    [0, 8, 9]
    """
    dashboard = json.loads(text)
    panels = dashboard.setdefault("panels", [])
    end = max((_bottom(panel) for panel in panels), default=0)
    place = {"h": 1, "w": _COLUMNS, "x": 0, "y": end}
    row = {"id": ROW, "type": "row", "title": TITLE, "collapsed": False, "gridPos": place, "panels": []}
    first = min((_place(panel).get("y", 0) for panel in own), default=0)
    panels.append(row)
    panels.extend(_moved(panel, end + 1 - first) for panel in own)
    return to_json(dashboard)


def _moved(panel: Panel, by: int) -> dict[str, Any]:
    place = _place(panel)
    inner = [_moved(each, by) for each in _panels(panel)]
    found = {**panel, "gridPos": {**place, "y": place.get("y", 0) + by}}
    return {**found, "panels": inner} if inner else found


def fingerprint(path: str, text: str) -> str:
    """What tells whether a file is still as it was written.

    Of a dashboard, only what is ours counts, and of that only what a person chooses: Grafana writes its defaults into what it
    saves, and those are no change.
    """
    content = text
    if is_dashboard(path) and (dashboard := _parsed(text)) is not None:
        with contextlib.suppress(AttributeError, TypeError):  # no dashboard of Grafana's making
            content = json.dumps(_essence(dashboard), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _essence(dashboard: Mapping[str, Any]) -> dict[str, Any]:
    listed = dashboard.get("templating", {}).get("list", [])
    return {
        "title": dashboard.get("title"),
        "uid": dashboard.get("uid"),
        "variables": [[v.get("name"), v.get("type"), _query(v)] for v in listed],
        "links": [[link.get("title"), link.get("url")] for link in dashboard.get("links", [])],
        "annotations": [
            [a.get("name"), a.get("expr")]
            for a in dashboard.get("annotations", {}).get("list", [])
            if not a.get("builtIn")
        ],
        "panels": sorted(_shown(panel) for panel in _ours(dashboard)),
    }


def _query(variable: Mapping[str, Any]) -> Any:
    found = variable.get("query")
    return found.get("query") if isinstance(found, Mapping) else found


def _ours(dashboard: Mapping[str, Any]) -> Iterator[Panel]:
    for panel in _panels(dashboard):
        if _id(panel) < ROW:
            yield panel
            yield from (inner for inner in _panels(panel) if _id(inner) <= ROW)


def _shown(panel: Panel) -> str:
    field = panel.get("fieldConfig", {}).get("defaults", {})
    steps = field.get("thresholds", {}).get("steps", [])
    place = _place(panel)
    return json.dumps(
        [
            _id(panel),
            panel.get("type"),
            panel.get("title"),
            panel.get("description"),
            [[target.get("expr"), target.get("legendFormat")] for target in panel.get("targets") or ()],
            [[step.get("color"), step.get("value") or 0] for step in steps],
            [field.get(key) for key in ("unit", "min", "max", "decimals")],
            [place.get("w"), place.get("h")],
        ]
    )


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
        return found if isinstance(found, dict) and isinstance(found.get("panels", []), list) else None
    except ValueError:
        return None


def _panels(holder: Mapping[str, Any]) -> list[Panel]:
    return [panel for panel in holder.get("panels") or () if isinstance(panel, Mapping)]


def _id(panel: Panel) -> int:
    found = panel.get("id")
    return found if isinstance(found, int) else 0


def _place(panel: Panel) -> Mapping[str, int]:
    found = panel.get("gridPos")
    return found if isinstance(found, Mapping) else {}


def _bottom(panel: Panel) -> int:
    place = _place(panel)
    return max([place.get("y", 0) + place.get("h", 0), *(_bottom(inner) for inner in _panels(panel))])
