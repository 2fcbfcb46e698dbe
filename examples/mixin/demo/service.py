"""An example of a monitored service: will this parcel be late? Put your own in its place.

It freezes a reference on its first start, from parcels that it makes up, and serves with two workers.
"""

import math
import os
import time
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import barograph

REFERENCE = Path(os.environ.get("REFERENCE", "/references/parcels.reference.json"))
CARRIERS = ("north", "south", "express")
DAYS, PARCELS_AN_HOUR = 21, 40


class Parcel(BaseModel):
    distance_km: float | None = None
    weight_kg: float | None = None
    carrier: str | None = None


class Model:
    """Far and heavy parcels are late; express ones less so."""

    def predict_proba(self, rows: list[dict]) -> np.ndarray:
        p = np.array([self.p_late(row) for row in rows])
        return np.column_stack([1 - p, p])

    def p_late(self, row: dict) -> float:
        x = 0.004 * (row["distance_km"] or 0) + 0.08 * (row["weight_kg"] or 0) - 3.2
        return 1 / (1 + math.exp(-min(x - 1.5 * (row["carrier"] == "express"), 50.0)))


def parcels(random: np.random.Generator, n: int) -> dict:
    """Parcels as they usually are; traffic.py sends the same."""
    return {
        "distance_km": random.gamma(2.0, 150.0, n).round(1).tolist(),
        "weight_kg": random.gamma(2.0, 3.0, n).round(2).tolist(),
        "carrier": random.choice(CARRIERS, n, p=[0.5, 0.3, 0.2]).tolist(),
    }


def freeze() -> None:
    """What normal looks like."""
    random = np.random.default_rng(0)
    n = DAYS * 24 * PARCELS_AN_HOUR
    frame = parcels(random, n)
    rows = [dict(zip(frame, values, strict=True)) for values in zip(*frame.values(), strict=True)]
    frame["p_late"] = Model().predict_proba(rows)[:, 1].tolist()
    frame["late"] = (random.random(n) < frame["p_late"]).tolist()
    frame["sent_at"] = (time.time() // 3600 * 3600 - np.arange(n)[::-1] * 3600 / PARCELS_AN_HOUR).tolist()
    REFERENCE.parent.mkdir(parents=True, exist_ok=True)
    barograph.Reference.fit(
        frame, task="binary", features=["distance_km", "weight_kg", "carrier"],
        score="p_late", threshold=0.5, label="late", time="sent_at",
    ).save(REFERENCE)  # fmt: skip


def create_app() -> FastAPI:
    app = FastAPI(title="Parcels")
    monitor = barograph.Monitor("parcels", version="1", reference=REFERENCE)
    barograph.integrations.fastapi.instrument(app, monitor)
    model = monitor.watch(Model())

    @app.post("/predict")
    def predict(parcel: Parcel) -> dict:
        p = float(model.predict_proba([parcel.model_dump()])[0, 1])
        monitor.business("parcel")
        return {"late": p >= 0.5, "p_late": round(p, 4)}

    return app


if __name__ == "__main__":
    if not REFERENCE.exists():
        freeze()
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run("service:create_app", factory=True, host="0.0.0.0", port=port, workers=2, log_level="warning")
