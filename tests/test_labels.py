"""The join of labels and predictions: whatever comes in whatever order and pieces, the last label of the first prediction counts."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph import compiled
from barograph.labels.counting import Counting, Group, Known, Names, UnknownBins, coarse_cells
from barograph.labels.files import Writer, load
from barograph.labels.keys import keys
from barograph.labels.match import LATEST, NONE, Matched, match, unknown
from barograph.labels.runs import (
    MOST_PARTS,
    Loose,
    Run,
    alike,
    in_order,
    merged,
    narrow,
    parts,
    repeated,
    sort,
    to_merge,
)
from barograph.maturity import AGES, count_lags
from barograph.outcomes import Countable, OutcomeBins, count
from barograph.tiles import HOUR

needs_compiler = pytest.mark.skipif(not compiled.available(), reason="nothing was compiled here")

IDS = st.integers(0, 12)
PREDICTION = st.tuples(IDS, st.integers(0, 50), st.floats(0, 1))  # id, time, score
LABEL = st.tuples(IDS, st.integers(0, 50), st.sampled_from([0.0, 1.0]))  # id, time, label
BATCH = st.tuples(st.lists(PREDICTION, max_size=8), st.lists(LABEL, max_size=8))


def predictions(rows) -> Run:
    ids, times, scores = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"time": np.array(times, dtype=np.int64), "score": np.array(scores, dtype=np.float64)}
    return in_order(keys([str(i) for i in ids]), columns, by=["time"], first=True)


def labels(rows, arrival: int) -> Run:
    ids, times, values = zip(*rows, strict=True) if rows else ((), (), ())
    n = len(rows)
    columns = {
        "time": np.array(times, dtype=np.int64),
        "delay": np.arange(arrival, arrival + n, dtype=np.int64) - np.array(times, dtype=np.int64),
        "label": np.array(values, dtype=np.float64),
        "class": np.full(n, NONE, dtype=np.int32),
    }
    return in_order(keys([str(i) for i in ids]), columns, by=LATEST)


def total(changes) -> dict[tuple[float, float], int]:
    """How many outcomes of each (score, label) the changes add up to."""
    found: dict[tuple[float, float], int] = {}
    for change in changes:
        pairs = zip(
            change.predictions.columns["score"].tolist(), change.labels.columns["label"].tolist(), strict=True
        )
        for pair in pairs:
            found[pair] = found.get(pair, 0) + change.sign
    return {pair: n for pair, n in found.items() if n}


def expected(batches) -> dict[tuple[float, float], int]:
    """The same by hand: the first prediction of each id that came (of one batch the earliest), its latest label."""
    scores: dict[int, float] = {}
    last: dict[int, tuple[int, int, float]] = {}
    arrival = 0
    for made, told in batches:
        first: dict[int, tuple[int, int, float]] = {}
        for n, (i, time, score) in enumerate(made):
            if i not in scores:
                first[i] = min(first.get(i, (time, n, score)), (time, n, score))
        scores |= {i: score for i, (_, _, score) in first.items()}
        for i, time, value in told:
            last[i] = max(last.get(i, (time, arrival, value)), (time, arrival, value))
            arrival += 1
    found: dict[tuple[float, float], int] = {}
    for i, score in scores.items():
        if i in last:
            pair = (score, last[i][2])
            found[pair] = found.get(pair, 0) + 1
    return found


@settings(max_examples=400)
@given(st.lists(BATCH, max_size=6), st.booleans(), st.sampled_from([1, 2, 8]))
def test_any_order_and_any_pieces_count_the_last_label_of_the_first_prediction(batches, merging, n):
    known_predictions, known_labels, changes, arrival = [], [], [], 0
    for made, told in batches:
        fresh, new = unknown(known_predictions, predictions(made)), labels(told, arrival)
        every = parts([*known_predictions, *known_labels, fresh, new], n)
        for part in every:
            old = part[: len(known_predictions)], part[len(known_predictions) : -2]
            changes += match(*old, *part[-2:]).changes
        arrival += len(told)
        known_predictions.append(fresh)
        known_labels.append(new)
        if merging:
            known_predictions = [merged(known_predictions, ["time"])]
            known_labels = [merged(known_labels, LATEST)]
    assert total(changes) == expected(batches)


def test_every_label_is_tallied_once():
    made = predictions([(1, 0, 0.1), (1, 5, 0.2), (2, 0, 0.3)])
    told = labels([(1, 9, 1.0), (7, 9, 0.0)], 0)
    first = match([], [], made, told)
    wanted = {"predictions": 2, "labels": 2, "matched": 1, "waiting": 1, "early": 0}
    assert first.tally | wanted == first.tally
    more = labels([(1, 10, 0.0), (2, 10, 1.0), (7, 3, 1.0)], 10)
    fresh = unknown([made], predictions([(7, 8, 0.9), (2, 1, 0.4)]))
    second = match([made], [told], fresh, more)
    wanted = {"predictions": 1, "corrected": 1, "matched": 1, "outdated": 1, "early": 1, "waiting": 0}
    assert second.tally | wanted == second.tally
    third = match([made, fresh], [told, more], predictions([]), labels([(1, 11, 0.0)], 20))
    assert third.tally["repeated"] == 1 and not third.changes


def test_of_two_labels_of_one_moment_the_later_one_stays_the_later_one():
    """Also once runs are merged: what is taken back must be what was counted."""
    sizes = [40, 1, 30, 2, 2, 2, 2, 2, 2, 2, 2]
    assert to_merge(sizes) == list(range(3, 11))
    runs = [labels([(1, 5, v)], 5) for v in (1.0, 0.0)]
    assert merged(runs, LATEST).columns["label"].tolist() == [0.0]
    assert merged(runs[::-1], LATEST).columns["label"].tolist() == [1.0]


@given(st.lists(st.text(max_size=80), max_size=30))
def test_the_key_of_an_id_depends_on_the_id_alone(ids):
    together = keys(ids)
    assert together.tolist() == [int(keys([i])[0]) for i in ids]
    assert len(set(together.tolist())) == len(set(ids))


def test_keys_of_alike_ids_spread(either):
    found = keys([f"request-{i:020d}" for i in range(200_000)])
    assert len(np.unique(found)) == len(found)
    bits = np.unpackbits(found.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert abs(bits - 0.5).max() < 0.01


def test_a_key_is_the_same_for_ever(either):
    assert keys(["", "b41f", "r17/3", "ü" * 60]).tolist() == GOLDEN


GOLDEN = [0, 15482018627297766372, 2065503913191891282, 9194287701293854662]


KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5) | st.integers(2**60, 2**60 + 9), max_size=90)


def uint64(values):
    return np.array(values, dtype=np.uint64)


@pytest.fixture(params=["compiled", "pure"])
def either(request, monkeypatch):
    """With compiled code, and without."""
    if request.param == "pure":
        for name in ("keys", "sort", "find"):
            monkeypatch.setattr(compiled, name, None)
    elif not compiled.available():
        pytest.skip("nothing was compiled here")


@given(KEYS)
def test_keys_are_put_in_order(values):
    found, order = sort(uint64(values))
    assert found.tolist() == sorted(values) and uint64(values)[order].tolist() == sorted(values)


@needs_compiler
@given(KEYS, KEYS, st.integers(1, 40))
def test_compiled_keys_are_put_in_order_and_found_as_others_are(values, wanted, times):
    both = []
    for pure in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if pure:
                patch.setattr(compiled, "sort", None)
                patch.setattr(compiled, "find", None)
            found, order = sort(uint64(values * times))
            run = Run(np.unique(found), {})
            some = uint64(wanted + values)
            both.append([found.tolist(), run.find(some).tolist(), run.find(np.sort(some)).tolist()])
            assert uint64(values * times)[order].tolist() == found.tolist()
    assert both[0] == both[1]


@needs_compiler
def test_many_compiled_keys_are_put_in_order_and_found_however_they_are_spread():
    rng = np.random.default_rng(0)
    high = rng.integers(0, 2**64, 200_000, dtype=np.uint64)
    alike_above = (high >> np.uint64(40)) | np.uint64(
        7 << 40
    )  # made to be: they differ in the last bits alone
    for values in (high, alike_above, np.concatenate([high, alike_above, high[:1000]])):
        found, order = sort(values.copy())
        assert np.array_equal(order, np.argsort(values, kind="stable")) and np.array_equal(
            found, values[order]
        )
        run = Run(np.unique(values), {})
        for some in (
            high[:100],
            np.sort(high[:3000]),
            np.sort(np.concatenate([values, high + np.uint64(1)])),
        ):
            at = np.minimum(np.searchsorted(run.keys, some), len(run) - 1)
            assert np.array_equal(run.find(some), np.where(run.keys[at] == some, at, -1))


IDS_AS_THEY_COME = st.lists(
    st.none()
    | st.text(max_size=80)
    | st.sampled_from(["b41f", "b41f/0", "/0", "0", "/0/0", "x" * 64, "x" * 64 + "/0"]),
    max_size=30,
)


@needs_compiler
@given(IDS_AS_THEY_COME, st.booleans(), st.integers(0, 3))
def test_compiled_keys_are_those_of_ids(ids, first, skipped):
    texts = pa.array(ids, pa.string()).slice(skipped)
    found = keys(texts, first=first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "keys", None)
        assert keys(texts, first=first).tolist() == found.tolist()
    plain = ["" if i is None else i.removesuffix("/0") if first else i for i in ids[skipped:]]
    assert keys(plain).tolist() == found.tolist()


@needs_compiler
def test_arrays_of_keys_that_do_not_fit_are_refused():
    rows, order = np.zeros(3, dtype=np.uint64), np.zeros(3, dtype=np.uint32)
    with pytest.raises(ValueError, match="do not fit"):
        compiled.sort(rows, order[:2])
    with pytest.raises(ValueError, match="do not fit"):
        compiled.find(rows, rows, order)
    with pytest.raises(ValueError, match="do not fit"):
        compiled.keys(b"abc", np.zeros(3, dtype=np.int32), False, rows)
    beyond = np.array([0, 1, 2, 9], dtype=np.int32)
    assert compiled.keys(b"abc", beyond, False, rows) is False


@given(st.lists(st.floats() | st.sampled_from([0.0, 1.0, -0.0, 127.0, 128.0]), min_size=1, max_size=80))
def test_numbers_are_held_in_few_bytes_and_stay_the_same(values):
    array = np.array(values)
    assert np.array_equal(narrow(array), array, equal_nan=True)
    whole = np.array([int(v) for v in values if abs(v) < 2**62] or [0])
    assert np.array_equal(narrow(whole), whole)


def test_what_is_the_same_everywhere_takes_no_room():
    rows = Loose("group", "class", "score")
    for score in (0.1, np.nan):
        columns = {"group": np.full(9, 3), "class": np.arange(9), "score": np.full(9, score)}
        rows.add(np.arange(9, dtype=np.uint64) << np.uint64(59), columns)
    assert {name: value.item() for name, value in rows.constants.items()} == {"group": 3}
    run = in_order(*rows.part(0, 1), ["class"])
    assert alike(run.columns["group"]) and alike(run.take(np.array([2, 3])).columns["group"])
    assert not Loose("group").constants and len(Loose("group").part(0, 1)[0]) == 0


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), max_size=5),
    st.sampled_from([1, 2, 4, MOST_PARTS]),
)
def test_loose_rows_are_cut_as_runs_are(pieces, n):
    rows, every = Loose("value"), uint64([k for piece in pieces for k in piece])
    for piece in pieces:
        rows.add(uint64(piece), {"value": uint64(piece).astype(np.float64)})
    run = in_order(every.copy(), {"value": every.astype(np.float64)}, ["value"])
    for i, (part,) in enumerate(parts([run], n)):
        made = in_order(*rows.part(i, n), ["value"])
        assert made.keys.tolist() == part.keys.tolist()
        assert made.columns["value"].tolist() == part.columns["value"].tolist()


def written(path, most, runs, constants=()):
    kinds = {name: values.dtype for name, values in runs[0].columns.items()}
    same = {name: runs[0].columns[name][:1] for name in constants}
    with ThreadPoolExecutor(4) as disk, ThreadPoolExecutor(4) as pool:
        writer = Writer(path, most, kinds, same, disk)
        order = list(enumerate(runs))[::-1]  # the last one comes first, and waits
        list(pool.map(lambda one: writer.put(*one), order))
        writer.finish()
    return writer


def test_a_run_is_read_as_its_parts_were_written_in_whatever_order(tmp_path):
    run = labels([(i, i * 2, float(i % 2)) for i in range(1000)], 5)
    run = Run(run.keys, {**run.columns, "class": repeated(np.int8(-1), 1000), "none": repeated(np.nan, 1000)})
    pieces = [part for (part,) in parts([run], 4)]
    assert written(tmp_path / "a.run", 1200, pieces, ["class", "none"]).rows == 1000
    again = load(tmp_path / "a.run")
    assert np.array_equal(again.keys, run.keys)
    assert all(np.array_equal(again.columns[name], run.columns[name], equal_nan=True) for name in run.columns)
    assert again.columns["label"].dtype == run.columns["label"].dtype and alike(again.columns["none"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.run"]


def test_a_run_of_no_rows_is_no_file_and_another_file_is_no_run(tmp_path):
    written(tmp_path / "a.run", 10, [labels([], 0)])
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.run").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=r"b\.run is no run"):
        load(tmp_path / "b.run")


def test_a_part_does_not_wait_for_one_that_failed(tmp_path):
    run = labels([(1, 1, 1.0)], 0)
    with ThreadPoolExecutor(1) as disk, ThreadPoolExecutor(1) as pool:
        writer = Writer(tmp_path / "a.run", 9, {n: v.dtype for n, v in run.columns.items()}, {}, disk)
        later = pool.submit(writer.put, 1, run)
        writer.fail()
        with pytest.raises(RuntimeError, match="another part"):
            later.result(timeout=10)
        writer.discard()
    assert not list(tmp_path.iterdir())


# Counting.

BINS = OutcomeBins.default("binary", threshold=0.5)


def matched(n, groups, seed=0, hours=30, sign=+1):
    rng = np.random.default_rng(seed)
    order = np.arange(n, dtype=np.uint64)
    time = rng.integers(0, hours * HOUR * 1_000_000, n)
    made = {
        "time": time,
        "group": rng.integers(0, groups, n).astype(np.int8),
        "score": rng.random(n),
        "prediction": rng.integers(0, 2, n).astype(np.int8),
        "class": repeated(np.int8(NONE), n),
    }
    told = {
        "time": time + (rng.exponential(1e4, n) * 1e6).astype(np.int64),
        "delay": rng.integers(0, 9, n),
        "label": rng.choice([0.0, 1.0, np.nan, 0.5], n, p=[0.6, 0.3, 0.05, 0.05]),
        "class": repeated(np.int8(NONE), n),
    }
    return Matched(Run(order, made), Run(order, told), sign)


NAMES = Names(
    [
        Group("1", "b", (("origin", "JFK"),)),
        Group("1", "b", (("dest", "X"), ("origin", "LGA"))),
        Group("1", "b"),
        Group("2", "b", (("origin", "JFK"),)),
    ],
    [],
)


def test_outcomes_and_ages_by_segment_and_hour_are_a_plain_recount():
    counting = Counting("m", NAMES, Known(lambda version, bins: BINS))
    changes = [matched(4_000, 4, seed) for seed in range(3)]
    taken_back = matched(4_000, 4, 1, sign=-1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(counting.label, [*changes, taken_back]))
    found = {
        (i.series.metric, i.series.label("version"), i.series.label("segment"), i.start): i.vector
        for i in counting.increments()
    }
    left = [changes[0], changes[2]]
    made, told = (
        {
            k: np.concatenate([getattr(c, side).columns[k] for c in left])
            for k in getattr(left[0], side).columns
        }
        for side in ("predictions", "labels")
    )
    hours, seen = made["time"] // (HOUR * 1_000_000) * HOUR, 0
    assert counting.unreadable == sum(
        int((~np.isin(c.labels.columns["label"], [0, 1])).sum()) for c in changes
    )
    for version, segment, codes in (
        ("1", "", [0, 1, 2]), ("1", "origin=JFK", [0]), ("1", "origin=LGA", [1]), ("1", "dest=X", [1]), ("2", "", [3]),
        ("2", "origin=JFK", [3]),
    ):  # fmt: skip
        for hour in np.unique(hours):
            here = np.isin(made["group"], codes) & (hours == hour)
            columns = told["label"][here], made["score"][here], made["prediction"][here]
            counts, sums = count(BINS, *columns)
            vector = found["ml_outcomes", version, segment, hour]
            assert np.array_equal(vector.counts, counts[0]) and np.allclose(vector.sums, sums[0])
            seen += 1
            if segment == "":
                lag = (told["time"] + told["delay"] - made["time"])[here] / 1e6
                good = np.isin(columns[0], [0, 1])
                slots = BINS.score.index(columns[1][good])
                wanted = count_lags(coarse_cells(BINS), columns[0][good], slots, lag[good])
                assert np.array_equal(found["ml_label_ages", version, "", hour].counts, wanted.ravel())
    assert seen == sum(1 for metric, *_ in found if metric == "ml_outcomes")


@pytest.mark.parametrize("rows", [40, 60_000])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_outcomes_are_added_in_place_as_they_are_counted(task, rows):
    rng = np.random.default_rng(0)
    bins = OutcomeBins.default(task, None, ("0", "1") if task == "multiclass" else ())
    label = rng.choice([0.0, 1.0, np.nan], rows)
    some = Countable.of(
        bins, label, rng.choice([0.5, 0.2, np.nan, np.inf, 1e300], rows), rng.choice([0.0, 1.0, np.nan], rows)
    )
    group = rng.integers(0, 3, len(some))
    counts, sums = some.by(group, 3)
    found = np.ones_like(counts), np.ones_like(sums)
    some.add_to(*found, group, +1)
    assert np.array_equal(found[0], counts + 1) and np.allclose(found[1], sums + 1)
    some.add_to(*found, group, -1)
    assert (found[0] == 1).all() and counts.sum() >= len(some) == np.isfinite(label).sum()


def test_an_age_of_exactly_a_limit_is_counted_where_maturity_counts_it():
    counting = Counting("m", NAMES, Known(lambda version, bins: BINS))
    micro = np.concatenate([np.round(AGES * 1e6) + d for d in (-1, 0, 1)] + [[-5.0, 0.0, 1e16]]).astype(
        np.int64
    )
    change = matched(len(micro), 1)
    change.predictions.columns["time"][:] = 7
    change.labels.columns.update(
        {"time": micro + 7, "delay": repeated(0, len(micro)), "label": np.ones(len(micro))}
    )
    counting.label(change)
    (found,) = [i.vector.counts for i in counting.increments() if i.series.metric == "ml_label_ages"]
    slots = BINS.score.index(change.predictions.columns["score"])
    assert np.array_equal(
        found, count_lags(coarse_cells(BINS), np.ones(len(micro)), slots, micro / 1e6).ravel()
    )


def test_bins_that_were_known_and_no_longer_are_stop_everything():
    def find(version, bins):
        raise UnknownBins(f"no {bins}")

    known = Known(find, waiting={("1", "b"): "no a"}, counted=[("2", "b")])
    assert known.of(("1", "b")) is None and known.of(("3", "b")) is None
    assert known.waiting == {("1", "b"): "no a", ("3", "b"): "no b"}
    with pytest.raises(UnknownBins):
        known.of(("2", "b"))


def test_runs_are_merged_so_seldom_that_each_row_moves_a_logarithm_of_times():
    sizes, moved = [], 0
    for _ in range(3000):
        sizes.append(10)
        chosen = to_merge(sizes)
        if chosen:
            total_size = sum(sizes[i] for i in chosen)
            moved += total_size
            sizes = [s for i, s in enumerate(sizes) if i not in chosen] + [total_size]
    assert len(sizes) < 40 and moved < 30_000 * 6
