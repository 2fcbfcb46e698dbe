"""Frames of every make come out as the same arrays."""

import datetime as dt
import math

import numpy as np
import pytest

from barograph import frames
from barograph.bins import category_bins
from barograph.profile import category_counts
from barograph.schema import Schema

NUMBERS, INTEGERS, FLAGS = [1.5, None, -2.0], [1, 2, None], [True, False, None]
TEXTS, MOMENTS = (
    ["a", None, "b"],
    [dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC), None, dt.datetime(2013, 1, 2, tzinfo=dt.UTC)],
)


def pandas_frame():
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(
        {
            "x": NUMBERS,
            "i": pd.array(INTEGERS, dtype="Int64"),
            "f": pd.array(FLAGS, dtype="boolean"),
            "c": TEXTS,
            "k": pd.Categorical(TEXTS),
            "t": pd.to_datetime(MOMENTS, utc=True),
        }
    )


def polars_frame():
    pl = pytest.importorskip("polars")
    return pl.DataFrame(
        {
            "x": NUMBERS,
            "i": INTEGERS,
            "f": FLAGS,
            "c": TEXTS,
            "k": pl.Series(TEXTS, dtype=pl.Categorical),
            "t": MOMENTS,
        }
    )


def arrow_frame():
    pa = pytest.importorskip("pyarrow")
    return pa.table(
        {
            "x": NUMBERS,
            "i": INTEGERS,
            "f": FLAGS,
            "c": TEXTS,
            "k": pa.array(TEXTS).dictionary_encode(),
            "t": MOMENTS,
        }
    )


def dict_of_columns():
    return {"x": NUMBERS, "i": INTEGERS, "f": FLAGS, "c": TEXTS, "k": TEXTS, "t": MOMENTS}


def rows_of_dicts():
    columns = dict_of_columns()
    return [{name: values[i] for name, values in columns.items()} for i in range(3)]


makes = pytest.mark.parametrize(
    "make", [pandas_frame, polars_frame, arrow_frame, dict_of_columns, rows_of_dicts]
)


@makes
def test_numbers_flags_texts_and_times_read_alike(make):
    data = frames.table(make())
    assert data.rows == 3
    nan = math.nan
    np.testing.assert_array_equal(frames.floats(data.columns["x"]), [1.5, nan, -2])
    np.testing.assert_array_equal(frames.floats(data.columns["i"]), [1, 2, nan])
    np.testing.assert_array_equal(frames.floats(data.columns["f"]), [1, 0, nan])
    np.testing.assert_array_equal(
        frames.times(data.columns["t"]), [MOMENTS[0].timestamp(), nan, MOMENTS[2].timestamp()]
    )
    bins = category_bins({"a": 2, "b": 1})
    for name in ("c", "k"):
        assert category_counts(bins, data.columns[name]).tolist() == [1, 1, 0, 0, 1, 0]


@makes
def test_kinds_are_inferred_alike(make):
    kinds = {column.name: column.kind for column in Schema.infer(make()).columns}
    assert kinds["x"] == "numeric" and kinds["c"] == kinds["k"] == "categorical" and kinds["t"] == "datetime"


def test_a_matrix_takes_the_schemas_names():
    data = frames.table(np.array([[1.0, 2.0]]), ("a", "b"))
    assert data.columns["b"].tolist() == [2.0]
    with pytest.raises(ValueError, match="2 columns"):
        frames.table(np.array([[1.0, 2.0]]), ("a",))


def test_parts_of_a_time_are_those_of_the_calendar():
    moments = [
        dt.datetime(2013, 10, 14, 13, 59, tzinfo=dt.UTC),
        dt.datetime(1969, 12, 31, 23, 0, tzinfo=dt.UTC),
        dt.datetime(2024, 2, 29, 0, 0, tzinfo=dt.UTC),
    ]
    seconds = np.array([m.timestamp() for m in moments])
    for part, expected in {
        "hour": [m.hour for m in moments],
        "weekday": [m.weekday() for m in moments],
        "day": [m.day for m in moments],
        "month": [m.month for m in moments],
    }.items():
        assert frames.datetime_part(seconds, part, 0.0).tolist() == expected, part
    assert frames.datetime_part(seconds[:1], "age", seconds[0] + 86_400).tolist() == [1.0]


def test_a_time_that_no_calendar_knows_is_invalid():
    assert np.isinf(frames.datetime_part(np.array([1e18]), "hour", 0.0)).all()


def test_what_is_one_row_and_what_is_a_batch():
    assert (
        not frames.is_batch({"a": 1}) and not frames.is_batch([1, 2]) and not frames.is_batch(np.array([1.0]))
    )
    assert (
        frames.is_batch({"a": [1]})
        and frames.is_batch([[1, 2]])
        and frames.is_batch(np.ones((1, 2)))
        and frames.is_batch([])
    )
