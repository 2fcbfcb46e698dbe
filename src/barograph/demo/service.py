"""The demo's service: two scikit-learn models behind FastAPI, with barograph's three lines for each.

    python -m barograph.demo.service --dir DIR --port 8701 --clock 2013-10-14T13:20:00Z@60

A flight departs; will it arrive 15 minutes late or more, and by how many? A field that is missing, or holds nonsense of the
right type, reaches the models and is answered with 200, as in most services: that is what monitoring is for.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import barograph
import barograph.integrations.fastapi
from barograph.demo import arrival
from barograph.demo import model as artefacts


class Flight(BaseModel):
    """What is known of a flight as it departs. Units and meanings: `flights.load`."""

    dep_delay: float | None = None
    distance: float | None = None
    carrier: str | None = None
    origin: str | None = None
    dest: str | None = None
    hour: float | None = None
    weekday: float | None = None
    temp: float | None = None
    humid: float | None = None
    wind_speed: float | None = None
    precip: float | None = None
    visib: float | None = None
    pressure: float | None = None


class Answer(BaseModel):
    """Whether the flight will be late, how likely that is, and by how many minutes."""

    late: bool
    p_late: float
    minutes: float


TYPES = {
    name: "object" if name in ("carrier", "origin", "dest") else "float64" for name in Flight.model_fields
}


def create_app(
    directory: Path,
    clock: barograph.Clock | None = None,
    counters: Path | None = None,
    log: Path | None = None,
) -> FastAPI:
    """The service, with the models and the references that lie in `directory`; see `Monitor` for the others."""
    app = FastAPI(title="Flight delay")
    made = partial(barograph.Monitor, clock=clock, directory=counters, log=log)
    monitor = made(
        artefacts.NAME,
        version=artefacts.VERSION,
        reference=directory / artefacts.REFERENCE_FILE,
        artifact=directory / artefacts.MODEL_FILE,
        config=artefacts.CONFIG,
    )
    second = made(
        arrival.NAME,
        version=arrival.VERSION,
        reference=directory / arrival.REFERENCE_FILE,
        artifact=directory / arrival.MODEL_FILE,
    )
    app.state.monitors = (monitor, second)
    for one in app.state.monitors:
        barograph.integrations.fastapi.instrument(app, one)
    model: Any = monitor.watch(artefacts.load(directory))
    regressor: Any = second.watch(arrival.load(directory))

    @app.post("/predict")
    def predict(flight: Flight) -> Answer:
        row = pd.DataFrame([flight.model_dump()]).astype(TYPES)
        p_late = float(model.predict_proba(row)[0, 1])
        minutes = float(regressor.predict(row[list(arrival.FEATURES)])[0])
        return Answer(late=p_late >= artefacts.THRESHOLD, p_late=round(p_late, 4), minutes=round(minutes, 1))

    return app


def main() -> None:
    """Serve on 127.0.0.1 until SIGTERM or Ctrl-C."""
    options = argparse.ArgumentParser(description="The demo's prediction service.")
    options.add_argument("--dir", type=Path, required=True, help="where the model and the reference lie")
    options.add_argument("--port", type=int, default=8701)
    options.add_argument("--log", type=Path, help="where predictions and their outcomes are logged")
    options.add_argument("--clock", type=barograph.Clock.parse, default=barograph.Clock())
    given = options.parse_args()
    uvicorn.run(
        create_app(given.dir, given.clock, log=given.log),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
