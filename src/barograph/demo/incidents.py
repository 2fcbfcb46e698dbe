"""Faults to inject into live traffic: small pure functions of one row's features.

Each answers HTTP 200 all the way. What it changes, somebody else's service could change tomorrow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from barograph.demo.flights import WEATHER
from barograph.naming import ACT, OK, WATCH

Features = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Incident:
    """One fault: what it does to a row (a new dict, the row given stays as it is), and where it shows.

    `status` is what the model is to reach within two judged hours of it.
    """

    name: str
    title: str
    apply: Callable[[Features], dict[str, Any]]
    columns: tuple[str, ...]
    status: str
    look: str


def unchanged(features: Features) -> dict[str, Any]:
    """The row as it is.

    >>> unchanged({"temp": 50.0})
    {'temp': 50.0}
    """
    return dict(features)


def unit_change(features: Features) -> dict[str, Any]:
    """Departure delays in milliseconds instead of minutes, as after a move to a library that counts so.

    >>> unit_change({"dep_delay": -4.0})
    {'dep_delay': -240000.0}
    """
    minutes = features.get("dep_delay")
    return {**features, "dep_delay": None if minutes is None else minutes * 60_000.0}


def nulls(features: Features) -> dict[str, Any]:
    """The feature store answers nothing for the departure delay."""
    return {**features, "dep_delay": None}


def sentinel(features: Features) -> dict[str, Any]:
    """An upstream error arrives as the number -1 in the air pressure."""
    return {**features, "pressure": -1.0}


def renamed_category(features: Features) -> dict[str, Any]:
    """Airports by their international code: JFK becomes KJFK.

    >>> renamed_category({"origin": "JFK"})
    {'origin': 'KJFK'}
    """
    origin = features.get("origin")
    return {**features, "origin": None if origin is None else f"K{origin}"}


def swapped_columns(features: Features) -> dict[str, Any]:
    """Two neighbouring columns change places: departure delay and distance.

    >>> swapped_columns({"dep_delay": 3.0, "distance": 1089})
    {'dep_delay': 1089, 'distance': 3.0}
    """
    return {**features, "dep_delay": features.get("distance"), "distance": features.get("dep_delay")}


def frozen(features: Features) -> dict[str, Any]:
    """The distance stands still: every flight has that of the last one that was looked up, to Los Angeles."""
    return {**features, "distance": 2475.0}


def celsius(features: Features) -> dict[str, Any]:
    """Temperatures in Celsius instead of Fahrenheit.

    >>> celsius({"temp": 50.0})
    {'temp': 10.0}
    """
    temp = features.get("temp")
    return {**features, "temp": None if temp is None else round((temp - 32.0) * 5.0 / 9.0, 2)}


def zero_fill(features: Features) -> dict[str, Any]:
    """The weather feed is down, and a job upstream fills its gaps with zeros."""
    return {**features, **dict.fromkeys(WEATHER, 0.0)}


INCIDENTS: dict[str, Incident] = {
    incident.name: incident
    for incident in (
        Incident(
            "none", "nothing is injected", unchanged, (), OK, "all stays calm, apart from what is in the data"
        ),
        Incident(
            "unit-change",
            "dep_delay turns from minutes into milliseconds",
            unit_change,
            ("dep_delay",),
            ACT,
            "dep_delay out of range; four flights in ten called late instead of one",
        ),
        Incident(
            "nulls",
            "dep_delay is missing in every row",
            nulls,
            ("dep_delay",),
            ACT,
            "missing values of dep_delay; no flight called late any more",
        ),
        Incident(
            "sentinel",
            "pressure is -1 in every row",
            sentinel,
            ("pressure",),
            ACT,
            "pressure out of range; the answers hardly move",
        ),
        Incident(
            "renamed-category",
            "origins are renamed, JFK to KJFK",
            renamed_category,
            ("origin",),
            ACT,
            "unseen categories in origin; the answers hardly move",
        ),
        Incident(
            "swapped-columns",
            "dep_delay and distance change places",
            swapped_columns,
            ("dep_delay", "distance"),
            ACT,
            "dep_delay out of range, the shape of distance; every flight called late",
        ),
        Incident(
            "frozen",
            "distance stands still at 2,475",
            frozen,
            ("distance",),
            WATCH,
            "the shape of distance: a ticket and no page, for the answers do not move",
        ),
        Incident(
            "celsius",
            "temp turns from Fahrenheit into Celsius",
            celsius,
            ("temp",),
            OK,
            "the values of temp, but no alarm: an hour holds three readings of the weather, and ordinary days move them as far",
        ),
        Incident(
            "zero-fill",
            "gaps in the weather are filled with zeros",
            zero_fill,
            WEATHER,
            ACT,
            "temp and pressure out of range, zeros in all columns of the weather",
        ),
    )
}


def find(name: str) -> Incident:
    """The incident of that name; ValueError that lists them all otherwise."""
    if name not in INCIDENTS:
        raise ValueError(f"incident: {name!r} is not one of {', '.join(INCIDENTS)}")
    return INCIDENTS[name]
