"""Sends parcels to the service, two a second. FAULT=unit-change sends metres for kilometres; FAULT=silence nothing."""

import os
import time

import httpx
import numpy as np

from service import parcels

SERVICE = os.environ.get("SERVICE", "http://service:8000")
FAULT = os.environ.get("FAULT", "none")
A_SECOND = float(os.environ.get("A_SECOND", "2"))


def main() -> None:
    random = np.random.default_rng()
    print(f"fault: {FAULT}")
    with httpx.Client(base_url=SERVICE, timeout=10, trust_env=False) as client:
        while True:
            time.sleep(random.exponential(1 / A_SECOND))
            if FAULT == "silence":
                continue
            parcel = {name: values[0] for name, values in parcels(random, 1).items()}
            if FAULT == "unit-change":
                parcel["distance_km"] *= 1000
            try:
                client.post("/predict", json=parcel)
            except httpx.HTTPError as error:
                print(f"not answered: {error!r}")


if __name__ == "__main__":
    main()
