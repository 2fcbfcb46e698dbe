"""Grafana's dashboards, as typed values that become its JSON. They name no model: every model appears in them by itself."""

import json
from collections.abc import Callable

from barograph.grafana import features, fleet, main, model, system
from barograph.grafana.parts import FEATURES, FLEET, MAIN, MODEL, SYSTEM, Choices, Dashboard, Json

DASHBOARDS: dict[str, Callable[[Choices], Dashboard]] = {
    MAIN: main.dashboard,
    SYSTEM: system.dashboard,
    MODEL: model.dashboard,
    FEATURES: features.dashboard,
    FLEET: fleet.dashboard,
}


def dashboards(options: Choices) -> dict[str, Json]:
    """Each dashboard as Grafana Classic JSON, by its uid, which never changes."""
    return {uid: make(options).to_dict() for uid, make in DASHBOARDS.items()}


def files(options: Choices) -> dict[str, str]:
    """Each dashboard as a file: `dashboards/<uid>.json`."""
    found = dashboards(options)
    return {
        f"dashboards/{uid}.json": json.dumps(one, indent=1, ensure_ascii=False) + "\n"
        for uid, one in found.items()
    }


__all__ = ["DASHBOARDS", "FEATURES", "FLEET", "MAIN", "MODEL", "SYSTEM", "dashboards", "files"]
