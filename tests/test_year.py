"""The year of real flights in docs/flights.md: what an alarm is, what the flights say of it, and that the table is whole."""

import pytest

from barograph.alert import RESOLVED, Alert, Condition

flights = pytest.importorskip("benchmarks.flights", reason="the demo's libraries are not installed")
HOUR = flights.HOUR
FEBRUARY_20 = 1_361_386_800  # 19:00 UTC, when one airport had no weather


def alert(since, hours, column="temp", signal="A"):
    text = f"{column} is missing in 26 % of rows, usual 0 %"
    condition = Condition(
        "MLModelInputBroken", "m", "1", True, since, since + HOUR, column, signal, 0.26, 0.1, text
    )
    return Alert(condition, RESOLVED, since, since + hours * HOUR, since + hours * HOUR)


@pytest.fixture(autouse=True)
def year():
    try:
        flights.year()
    except flights.flights.DemoDataMissing as missing:
        pytest.skip(str(missing))


def test_alerts_less_than_six_hours_apart_are_one_alarm():
    at = FEBRUARY_20
    alerts = [alert(at, 1), alert(at + 5 * HOUR, 1, "humid"), alert(at + 20 * HOUR, 1)]
    found = list(flights.alarms_of(alerts))
    assert [len(a.told) for a in found] == [2, 1]
    assert found[0].until == at + 6 * HOUR


def test_a_gap_of_the_weather_feed_is_told_of_the_columns_that_are_said_to_be_missing():
    gap = list(flights.facts(FEBRUARY_20, FEBRUARY_20 + 2 * HOUR, {"temp", "humid"}))
    assert gap[0].startswith(f"{flights.FEED} temp and humid for ")
    assert not any(f.startswith(flights.FEED) for f in flights.facts(FEBRUARY_20, FEBRUARY_20 + 2 * HOUR))


def test_the_blizzard_is_known_and_an_ordinary_day_says_nothing():
    blizzard = 1_360_328_400  # 8 February, 13:00 UTC
    told = list(flights.facts(blizzard, blizzard + 12 * HOUR))
    assert flights.KNOWN["2013-02-08"] in told and any("cancelled" in t for t in told)
    assert list(flights.facts(1_366_722_000, 1_366_725_600)) == []  # 23 April, 13:00


def test_rain_as_few_flights_had_it_in_the_weeks_before_is_told():
    hour = 1_368_100_800  # 9 May, 12:00 UTC
    assert any(f.startswith("precip as ") for f in flights.facts(hour, hour + 2 * HOUR, beyond={"precip"}))


def test_an_event_in_several_months_is_listed_once():
    first, second = (list(flights.alarms_of([alert(FEBRUARY_20 + k * HOUR, 2)])) for k in (0, 1))
    months = [flights.Month(0.0, tuple(a), (1, 100), {"temp": (1, 1)}) for a in (first, second)]
    ((_, raised),) = flights.events(months)
    assert raised == 2
    assert [b.met for b in flights.budgets(months)] == [True, True, True]


def test_the_table_in_the_docs_is_of_all_months_and_each_alarm_has_its_date_and_cause():
    text = (flights.ROOT / "docs" / "flights.md").read_text("utf-8")
    assert "make bench-flights" in text and f"{len(flights.starts())} months that begin" in text
    rows = [
        line.split("|")[1:-1] for line in text.splitlines() if line.startswith(("| Mon", "| Tue", "| Wed"))
    ]
    assert rows and all(len(row) == 6 and row[4].strip() for row in rows)
    assert sum(line.startswith(("| ≤", "| ≥")) for line in text.splitlines()) == len(flights.LIMITS)
    for name in flights.flights.FEATURES:
        assert name in flights.flights.CATEGORIES or f"| {name} |" in text
