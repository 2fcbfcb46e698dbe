"""The two models of the demo, to be drilled: flights out of New York, of which it is soon known whether they were late.

What flights do not have is made up: how long an answer took (20 ms, about as here), and a booking with three requests in ten.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from barograph.clock import parse_time
from barograph.demo import arrival, flights
from barograph.demo import model as artefacts
from barograph.drill.rows import Rows
from barograph.drill.world import Model
from barograph.reference import Reference
from barograph.tiles import DAY

NAMES = (artefacts.NAME, arrival.NAME)
START = "2013-10-15T13:00:00Z"  # a Tuesday, 9 in New York
PAST, FUTURE = 29, 29  # days
TAKES, BOOKED = 0.02, 0.3  # seconds; bookings a request


def prepare(folder: Path) -> Iterator[str]:
    """Train both models and freeze their references in `folder`; says what it does."""
    yield "Load the flights of 2013"
    rows = flights.load()
    training, held_out = (
        flights.between(rows, *artefacts.TRAINING),
        flights.between(rows, *artefacts.REFERENCE),
    )
    yield "Train two models"
    model, second = artefacts.train(training), arrival.train(training)
    artefacts.save(model, folder)
    arrival.save(second, folder)
    yield "Freeze their references"
    artefacts.freeze(model, held_out, training).save(folder / artefacts.REFERENCE_FILE)
    arrival.freeze(second, held_out, training).save(folder / arrival.REFERENCE_FILE)


def models(folder: Path, name: str) -> Model:
    """A model that `prepare` made, with four weeks of rows before the fault and four after it."""
    start = parse_time(START)
    flown = flights.load()
    times = flights.seconds(flown["departed_at"])
    chosen = flown[(times >= start - PAST * DAY) & (times < start + FUTURE * DAY)]
    return (_delay if name == artefacts.NAME else _arrival)(folder, chosen, start)


def _delay(folder: Path, chosen: pd.DataFrame, start: float) -> Model:
    model = artefacts.load(folder)
    rows = Rows(
        _columns(chosen, flights.FEATURES),
        score=artefacts.scores(model, chosen),
        label=chosen["late"].astype("float64").to_numpy(dtype=np.float64, na_value=np.nan),
        **_rows(chosen),
    )
    reference = Reference.load(folder / artefacts.REFERENCE_FILE)
    return Model(
        artefacts.NAME,
        reference,
        rows,
        start,
        answer=lambda columns: artefacts.scores(model, _frame(columns)),
    )


def _arrival(folder: Path, chosen: pd.DataFrame, start: float) -> Model:
    model = arrival.load(folder)
    rows = Rows(
        _columns(chosen, arrival.FEATURES),
        prediction=arrival.minutes(model, chosen),
        label=chosen["arr_delay"].to_numpy(dtype=np.float64),
        **_rows(chosen),
    )
    reference = Reference.load(folder / arrival.REFERENCE_FILE)
    return Model(
        arrival.NAME, reference, rows, start, answer=lambda columns: arrival.minutes(model, _frame(columns))
    )


def _columns(rows: pd.DataFrame, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    found = {}
    for name in names:
        text = name in flights.CATEGORIES
        found[name] = rows[name].to_numpy(dtype=object if text else np.float64)
    return found


def _rows(rows: pd.DataFrame) -> dict[str, Any]:
    """What both models' rows have in common."""
    rng = np.random.default_rng(0)
    n = len(rows)
    landed = rows["landed_at"].dt.tz_convert(None).to_numpy()
    known = (landed - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    return {
        "time": flights.seconds(rows["departed_at"]),
        "id": rows["id"].to_numpy(dtype=object),
        "label_time": np.where(np.isnan(known), np.inf, known),
        "duration": TAKES * rng.lognormal(0, 0.4, n),
        "events": (rng.random(n) < BOOKED).astype(np.int64),
    }


def _frame(columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """As the service reads rows: what is no number reaches the model as missing."""
    return pd.DataFrame({
        name: values if name in flights.CATEGORIES else pd.to_numeric(pd.Series(values), errors="coerce")
        for name, values in columns.items()
    })  # fmt: skip
