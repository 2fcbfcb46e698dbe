"""Traffic: flights as HTTP requests, each at its own departure on a clock that may run fast.

Open loop: a request leaves at its time whether or not earlier ones were answered, as travellers don't wait for each other.
"""

import asyncio
import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pandas as pd

from barograph import Clock
from barograph.demo import arrival
from barograph.demo import model as artefacts
from barograph.demo.flights import FEATURES, seconds
from barograph.demo.incidents import Incident, find
from barograph.naming import REQUEST_ID_HEADER

IN_FLIGHT = 32  # requests without an answer; more are left out, as by a client's own limit
CATCH_UP = 20.0  # requests a second while behind
STALE = 1800.0  # seconds on the clock: a flight that is later than this is left out
TIMEOUT = 10.0
_NAP = 0.5  # seconds: the longest sleep, so that a clock that is set is noticed


@dataclass(frozen=True, slots=True)
class Departure:
    """One request to come: its time (epoch seconds on the clock), the flight's id and its features."""

    time: float
    id: str
    features: dict[str, Any]


@dataclass(slots=True)
class Traffic:
    """What was sent so far. `at` is the time of the last departure on the clock, `behind` how late it was sent, seconds of it."""

    sent: int = 0
    told: int = 0
    failed: int = 0
    skipped: int = 0
    altered: int = 0
    at: float = 0.0
    behind: float = 0.0
    error: str = ""
    incident: Incident = field(default_factory=lambda: find("none"))


def departures(rows: pd.DataFrame) -> Iterator[Departure]:
    """The flights of a frame (see `flights.load`), in order; what is missing is None, as in JSON."""
    times = seconds(rows["departed_at"])
    columns = [rows[name].tolist() for name in FEATURES]
    for time, id_, *values in zip(times.tolist(), rows["id"].tolist(), *columns, strict=True):
        yield Departure(time, id_, dict(zip(FEATURES, map(_plain, values), strict=True)))


def landings(rows: pd.DataFrame) -> Iterator[tuple[float, dict[str, Any]]]:
    """When each flight landed, and both models' labels: whether it was late, and by how much; in the order of `landed_at`."""
    known = rows[rows["late"].notna() & rows["landed_at"].notna()]
    columns = (known[name].tolist() for name in ("id", "late", "arr_delay"))
    for time, id_, late, delay in zip(seconds(known["landed_at"]).tolist(), *columns, strict=True):
        yield time, {"model": artefacts.NAME, "id": id_, "label": bool(late), "time": time}
        yield time, {"model": arrival.NAME, "id": id_, "label": float(delay), "time": time}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


async def replay(flights: Iterator[Departure], url: str, clock: Clock, traffic: Traffic) -> None:
    """Send each departure to `url` at its time, until none is left.

    `traffic.incident` may be set at any moment: it alters every row from then on. After a pause (a laptop that slept) what is
    due goes out at 20 requests a second, and what is older than half an hour on the clock is skipped and counted.
    """
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False) as client:
        running: set[asyncio.Task[None]] = set()
        try:
            for departure in flights:
                late = await _due(departure.time, clock)
                traffic.at, traffic.behind = departure.time, late
                if late > STALE or len(running) >= IN_FLIGHT:
                    traffic.skipped += 1
                    continue
                task = asyncio.create_task(_send(client, url, departure, traffic))
                running.add(task)
                task.add_done_callback(running.discard)
                if late > clock.speed:  # a second of wall time
                    await asyncio.sleep(1.0 / CATCH_UP)
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()


async def _due(moment: float, clock: Clock) -> float:
    """Wait for a moment; answers how late it is, in seconds on the clock."""
    while (early := moment - clock.now()) > 0:
        await asyncio.sleep(min(early / clock.speed, _NAP))
    return -early


async def tell(
    landed: Iterator[tuple[float, dict[str, Any]]], url: str, clock: Clock, traffic: Traffic
) -> None:
    """Post what became known of each flight to `url` when it lands: what has landed meanwhile goes in one request."""
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
        waiting: list[dict[str, Any]] = []
        for moment, label in landed:
            if waiting and moment > clock.now():
                with contextlib.suppress(httpx.HTTPError):  # told again with the next ones
                    (await client.post(url, json=waiting)).raise_for_status()
                    traffic.told += len(waiting)
                    waiting = []
            await _due(moment, clock)
            waiting.append(label)


async def _send(client: httpx.AsyncClient, url: str, departure: Departure, traffic: Traffic) -> None:
    incident = traffic.incident
    features = incident.apply(departure.features)
    traffic.sent += 1
    traffic.altered += incident.name != "none"
    try:
        answer = await client.post(url, json=features, headers={REQUEST_ID_HEADER: departure.id})
        answer.raise_for_status()
    except httpx.HTTPError as error:
        traffic.failed += 1
        traffic.error = f"{type(error).__name__}: {error}"
