"""The live part of the demo: traffic, the incident, and a line in the terminal for what changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape

from barograph import Clock
from barograph.demo import flights
from barograph.demo import model as artefacts
from barograph.demo.incidents import Incident
from barograph.demo.processes import Child, ChildError
from barograph.demo.replay import Traffic, departures, landings, replay, tell
from barograph.naming import OK

BUSY = 40  # flights in the hour of the incident
SETTLED = 120  # seconds after its end at which an hour is judged
POLL = 1.0


@dataclass(frozen=True)
class Show:
    """What is needed to play: `flights` to come and those to land, the fault, which comes `after` so many seconds, and the
    addresses of the pages and the service.
    """

    out: Console
    clock: Clock
    flights: pd.DataFrame
    landing: pd.DataFrame
    fault: Incident
    after: float
    pages: str
    service: str
    children: Sequence[Child]
    traffic: Traffic = field(default_factory=Traffic)

    def say(self, text: str) -> None:
        """A line with the clock's time before it."""
        self.out.print(f"{shown(self.clock.now())}  {text}", soft_wrap=True)


def play(show: Show, duration: float | None) -> None:
    """Send traffic, inject the fault and tell what changes, for `duration` seconds (None: until Ctrl-C).

    Raises:
        ChildError: a process ended.
    """
    _introduce(show)
    try:
        asyncio.run(_play(show, duration))
    finally:
        _say_traffic(show)


async def _play(show: Show, duration: float | None) -> None:
    tasks = [asyncio.create_task(part(show)) for part in (_watch, _send, _land, _inject, _tell)]
    try:
        done, _ = await asyncio.wait(tasks, timeout=duration, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def moment_of_incident(times: np.ndarray, earliest: float) -> float:
    """When to inject: at `earliest` if its hour has 40 flights, else when the next such hour begins; epoch seconds.

    `times` are those of the flights to come, in order. Where no hour is busy it is `earliest`.

    >>> moment_of_incident(np.arange(7200.0, 14_400.0, 60.0), earliest=1800.0)
    7200.0
    """
    hours, counts = np.unique(times // 3600, return_counts=True)
    busy = hours[(counts >= BUSY) & (hours >= earliest // 3600)]
    return max(earliest, float(busy[0]) * 3600) if len(busy) else earliest


def _introduce(show: Show) -> None:
    hour = 3600 / show.clock.speed
    passes = f"{hour:.3g} seconds" if hour < 120 else f"{hour / 60:.3g} minutes"
    nothing = show.fault.name == "none"
    fault = show.fault.title if nothing else f"in about {show.after:.0f} s: {show.fault.title}"
    lines = (
        f"\n  Pages     [bold]{show.pages}[/]",
        f"  Service   {show.service}/docs, what it counts: {show.service}/metrics",
        f"  Clock     {shown(show.clock.now())}; an hour passes in {passes}",
        f"  Incident  {fault}",
        "\nCtrl-C ends everything.\n",
    )
    show.out.print("\n".join(lines), soft_wrap=True)


async def _watch(show: Show) -> None:
    while True:
        for child in show.children:
            if child.ended:
                raise ChildError(child.report())
        await asyncio.sleep(POLL / 2)


async def _send(show: Show) -> None:
    await replay(departures(show.flights), f"{show.service}/predict", show.clock, show.traffic)
    show.say("The last flight of the year has left; the pages stay up.")


async def _land(show: Show) -> None:
    """Tell the service whether each flight was late, once it has landed."""
    await tell(landings(show.landing), f"{show.service}/feedback", show.clock, show.traffic)


async def _inject(show: Show) -> None:
    if show.fault.name == "none":
        return
    begin = max(show.clock.now(), show.clock.at(show.clock.origin))
    onset = moment_of_incident(
        flights.seconds(show.flights["departed_at"]), begin + show.after * show.clock.speed
    )
    while (left := onset - show.clock.now()) > 0:
        await asyncio.sleep(min(left / show.clock.speed, POLL))
    show.traffic.incident = show.fault
    show.say(f"[bold]Injected: {show.fault.title}.[/] Every request is still answered with 200.")
    page = f"{show.pages}/models/{artefacts.NAME}"
    if len(show.fault.columns) == 1:
        page += f"/columns/{show.fault.columns[0]}"
    show.say(f"Look at {page} for {show.fault.look}.")
    if show.fault.status != OK:
        judged = (onset // 3600 + 1) * 3600 + SETTLED
        left = max(0.0, judged - show.clock.now()) / show.clock.speed
        show.say(f"This hour is judged at {shown(judged)}, in {left:.0f} s.")


async def _tell(show: Show) -> None:
    """A line for each change of a model's status."""
    known: dict[str, str] = {}
    async for models in _fleet(show.pages):
        for model in models:
            name, status = model["name"], model["status"]
            if known.get(name) != status:
                was = f"{known[name]} -> " if name in known else ""
                reason = f"  {escape(model['reason'])}" if model["reason"] else ""
                show.say(f"[bold]{escape(name)}[/] {was}[bold]{status}[/]{reason}")
                known[name] = status


async def _fleet(pages: str) -> AsyncIterator[list[dict[str, Any]]]:
    async with httpx.AsyncClient(base_url=pages, timeout=10.0, trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.get("/api/fleet")
                if answer.status_code == 200:
                    yield answer.json()["models"]
            await asyncio.sleep(POLL)


def _say_traffic(show: Show) -> None:
    traffic = show.traffic
    parts = [f"{traffic.sent:,} flight{'s' * (traffic.sent != 1)} sent"]
    if traffic.altered:
        parts.append(f"{traffic.altered:,} of them altered")
    if traffic.told:
        parts.append(f"{traffic.told:,} landings told")
    if traffic.skipped:
        parts.append(f"{traffic.skipped:,} skipped, as this machine was too slow or asleep")
    if traffic.failed:
        parts.append(f"{traffic.failed:,} not answered ({escape(traffic.error)})")
    show.out.print(f"\n{', '.join(parts)}.", soft_wrap=True)


def shown(moment: float) -> str:
    """Epoch seconds for people.

    >>> shown(1381756800)
    '14 Oct 13:20 UTC'
    """
    return f"{datetime.fromtimestamp(moment, UTC):%d %b %H:%M} UTC"
