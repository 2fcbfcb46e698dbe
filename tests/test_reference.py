"""References: fitted once, one file, refused when they are not what they say."""

import json
import math

import numpy as np
import pytest

from barograph import Column, Reference, ReferenceFileError, Schema


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    n = 4_000
    return {
        "x": rng.normal(10, 2, n), "k": rng.integers(0, 9, n), "c": rng.choice(["a", "b", "c"], n, p=[0.7, 0.2, 0.1]).tolist(),
        "p": rng.beta(2, 5, n), "y": rng.integers(0, 2, n), "t": 1.38e9 + rng.uniform(0, 14 * 86_400, n),
    }  # fmt: skip


@pytest.fixture
def reference(frame):
    return Reference.fit(frame, task="binary", score="p", threshold=0.5, label="y", time="t")


def test_the_windows_add_up_to_the_whole(reference):
    windows = reference.windows
    assert windows.counts.sum(axis=0).tolist() == reference.baseline.counts.tolist()
    assert windows.rows.sum() == reference.baseline.rows
    assert (windows.starts % 3600 == 0).all() and (np.diff(windows.starts) > 0).all()


def test_the_order_of_rows_does_not_matter(frame, reference):
    order = np.random.default_rng(1).permutation(4_000)
    shuffled = {name: np.asarray(values)[order] for name, values in frame.items()}
    again = Reference.fit(shuffled, task="binary", score="p", threshold=0.5, label="y", time="t")
    assert again.baseline == reference.baseline and again.bins.id == reference.bins.id


def test_a_saved_reference_loads_to_the_same_content(reference, tmp_path):
    reference.save(tmp_path / "r.json")
    again = Reference.load(tmp_path / "r.json")
    assert again.id == reference.id
    assert again.baseline == reference.baseline
    assert np.array_equal(again.windows.counts, reference.windows.counts)
    assert again.threshold == 0.5 and again.columns["score"] == "p"
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "no JSON"),
        (lambda text: text.replace('"threshold": 0.5', '"threshold": 0.6'), "damaged"),
        (lambda text: text.replace('"version": 1', '"version": 9'), "format version 9"),
        (lambda text: "[]", "no barograph reference"),
        (lambda text: '{"format": "barograph-reference", "version": 1}', "damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_the_remedy(reference, tmp_path, damage, message):
    path = tmp_path / "r.json"
    reference.save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ReferenceFileError, match=message):
        Reference.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ReferenceFileError, match=r"gone\.json"):
        Reference.load(tmp_path / "gone.json")


def test_the_file_holds_no_pickle_and_is_plain_json(reference):
    content = json.loads(reference.to_json())
    assert content["format"] == "barograph-reference" and content["environment"]["python"]


def test_check_names_each_violation(reference):
    found = reference.check({"x": 1e9, "k": 2.5, "c": "zzz", "extra": 1})
    assert {(v.column, v.kind) for v in found} == {
        ("x", "range"),
        ("k", "grid"),
        ("c", "category"),
        ("extra", "extra_column"),
    }
    found = reference.check([{"x": "12", "k": 1, "c": None}])
    assert [(v.column, v.kind, v.row) for v in found] == [("x", "type", 0)]
    assert [v.kind for v in reference.check({"x": 10.0, "c": "a"})] == ["missing_column"]
    assert reference.check({"x": 10.0, "k": 3, "c": "a"}) == []
    assert reference.check({"x": math.nan, "k": None, "c": None}) == []


def test_check_shortens_what_it_quotes(reference):
    (violation,) = reference.check({"x": 10.0, "k": 3, "c": "z" * 10_000})
    assert len(violation.text) < 200 and "10002 characters" in violation.text


def test_a_declared_schema_is_kept(frame):
    schema = Schema((Column("x", "numeric", minimum=0, maximum=40), Column("c", "categorical")))
    reference = Reference.fit(frame, task="binary", features=schema, score="p")
    assert reference.schema.features == ("x", "c")
    assert [v.kind for v in reference.check({"x": 41, "c": "a"})] == ["range"]


def test_training_is_profiled_over_the_same_bins(frame):
    reference = Reference.fit(frame, task="binary", score="p", label="y", time="t", training=frame)
    assert reference.training.column("x")[0].tolist() == reference.baseline.column("x")[0].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "rank"}, "task: 'rank'"),
        ({"task": "binary", "score": "nope"}, r"\['nope'\] are not in the frame"),
        ({"task": "binary", "features": ["x", "gone"]}, "gone"),
        ({"task": "binary", "importance": {"zz": 1}}, "importance"),
        ({"task": "binary", "time": "c"}, "are no time"),
    ],
)
def test_bad_arguments_are_named_with_their_value(frame, options, message):
    with pytest.raises(ValueError, match=message):
        Reference.fit(frame, **options)


def test_an_empty_frame_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        Reference.fit({"x": []}, task="regression")


def test_profile_counts_another_frame_by_its_own_answers(frame, reference):
    assert reference.profile(frame) == reference.baseline


TYPED = {
    "flag": [True, False, None, True], "whole": [True, False, False, True], "count": [1, 2, None, 4], "small": [1, 2, 3, 4],
    "share": [0.5, 1.0, None, 2.0], "name": ["a", None, "b", "a"],
}  # fmt: skip
KINDS = {
    "flag": "boolean",
    "whole": "boolean",
    "count": "integer",
    "small": "integer",
    "share": "numeric",
    "name": "categorical",
}


def nullable(pd):
    types = {"flag": "boolean", "whole": "boolean", "count": "Int64", "small": "UInt8", "share": "Float64"}
    return pd.DataFrame(TYPED).astype({**types, "name": "string"})


def of_arrow_in_pandas(pd):
    pa = pytest.importorskip("pyarrow")
    return pa.table(TYPED).to_pandas(types_mapper=pd.ArrowDtype)


FRAMES = {
    "pandas": lambda: nullable(pytest.importorskip("pandas")),
    "pandas with Arrow's types": lambda: of_arrow_in_pandas(pytest.importorskip("pandas")),
    "Arrow": lambda: pytest.importorskip("pyarrow").table(TYPED),
    "Polars": lambda: pytest.importorskip("polars").DataFrame(TYPED),
    "columns of pandas": lambda: dict(nullable(pytest.importorskip("pandas"))),
    "lists": lambda: TYPED,
}


@pytest.mark.parametrize("make", FRAMES)
def test_whole_numbers_and_booleans_with_missing_values_keep_their_kind(make):
    frame = FRAMES[make]()
    assert {column.name: column.kind for column in Schema.infer(frame).columns} == KINDS
    reference = Reference.fit(frame, task="regression", prediction="count", features=["flag", "small"])
    assert reference.schema["prediction"].kind == "integer"
    assert reference.schema["flag"].kind == "boolean"
    assert [v.kind for v in reference.check({"flag": 0.5, "small": 2.5})] == ["grid", "grid"]
    assert reference.check({"flag": True, "small": 2}) == reference.check({"flag": None, "small": 2.0}) == []


def test_a_column_whose_name_is_no_text_is_read_all_the_same():
    pd = pytest.importorskip("pandas")
    assert [c.kind for c in Schema.infer(pd.DataFrame({0: [1, 2], 1: [0.5, 1.0]})).columns] == [
        "integer",
        "numeric",
    ]


def test_labels_of_the_reference_are_kept_by_day_and_of_training_in_all(tmp_path):
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 3 * 86_400, 900))
    p = rng.random(900)
    frame = {"x": p * 2, "p": p, "late": (rng.random(900) < p).astype(float), "t": times}
    training = {"x": p, "late": (rng.random(900) < 0.25).astype(float)}
    reference = Reference.fit(
        frame, task="binary", score="p", threshold=0.5, label="late", time="t", training=training
    )
    reference.save(tmp_path / "r.json")
    read = Reference.load(tmp_path / "r.json")
    assert read.id == reference.id
    for one in (reference, read):
        assert one.labelled.starts.tolist() == [0, 86_400, 172_800]
        total = one.labelled.total(one.outcomes)
        assert total.answers[:, :2].tolist() == sk_confusion(frame["late"], p >= 0.5)
        day = (times >= 86_400) & (times < 172_800)
        assert one.labelled.profiles(one.outcomes)[1].rows == day.sum()
        assert one.training_labels.tolist() == np.bincount(training["late"].astype(int)).tolist()


def sk_confusion(label, answer):
    return [[int(((label == y) & (answer == a)).sum()) for a in (0, 1)] for y in (0, 1)]


def test_a_reference_without_labels_holds_none_and_one_of_a_regression_holds_errors():
    frame = {"x": [1.0, 2.0, 3.0] * 20, "minutes": [1.0, 2.0, 4.0] * 20, "found": [1.5, 2.0, 3.0] * 20}
    assert Reference.fit(frame, task="regression", prediction="minutes").labelled is None
    reference = Reference.fit(frame, task="regression", prediction="minutes", label="found")
    total = reference.labelled.total(reference.outcomes)
    assert total.rows == 60 and total.total("abs_e")[0] == pytest.approx(30.0)
    assert reference.training_labels is None
