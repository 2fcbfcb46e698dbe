"""The join of labels and predictions: whatever comes in whatever order and pieces, the last label of the first prediction counts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.labels.keys import keys
from barograph.labels.match import LATEST, NONE, match
from barograph.labels.runs import Run, argsort, in_order, load, merged, save, to_merge

IDS = st.integers(0, 12)
PREDICTION = st.tuples(IDS, st.integers(0, 50), st.floats(0, 1))  # id, time, score
LABEL = st.tuples(IDS, st.integers(0, 50), st.sampled_from([0.0, 1.0]))  # id, time, label
BATCH = st.tuples(st.lists(PREDICTION, max_size=8), st.lists(LABEL, max_size=8))


def predictions(rows) -> Run:
    ids, times, scores = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"time": np.array(times, dtype=np.int64), "score": np.array(scores, dtype=np.float64)}
    return in_order(keys([str(i) for i in ids]), columns, by=["time"], first=True)[0]


def labels(rows, arrival: int) -> Run:
    ids, times, values = zip(*rows, strict=True) if rows else ((), (), ())
    n = len(rows)
    columns = {
        "time": np.array(times, dtype=np.int64),
        "arrival": np.arange(arrival, arrival + n, dtype=np.int64),
        "label": np.array(values, dtype=np.float64),
        "class": np.full(n, NONE, dtype=np.int32),
    }
    return in_order(keys([str(i) for i in ids]), columns, by=LATEST)[0]


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
@given(st.lists(BATCH, max_size=6), st.booleans())
def test_any_order_and_any_pieces_count_the_last_label_of_the_first_prediction(batches, merging):
    known_predictions, known_labels, changes, arrival = [], [], [], 0
    for made, told in batches:
        found = match(known_predictions, known_labels, predictions(made), labels(told, arrival))
        arrival += len(told)
        changes += found.changes
        known_predictions.append(found.predictions)
        known_labels.append(found.labels)
        if merging:
            known_predictions = [merged(known_predictions, ["time"])]
            known_labels = [merged(known_labels, LATEST)]
    assert total(changes) == expected(batches)


def test_every_label_is_tallied_once():
    first = match(
        [], [], predictions([(1, 0, 0.1), (1, 5, 0.2), (2, 0, 0.3)]), labels([(1, 9, 1.0), (7, 9, 0.0)], 0)
    )
    assert (
        first.tally | {"predictions": 2, "labels": 2, "matched": 1, "waiting": 1, "early": 0} == first.tally
    )
    more = labels([(1, 10, 0.0), (2, 10, 1.0), (7, 3, 1.0)], 10)
    second = match([first.predictions], [first.labels], predictions([(7, 8, 0.9), (2, 1, 0.4)]), more)
    wanted = {
        "predictions": 1,
        "duplicate_predictions": 1,
        "corrected": 1,
        "matched": 1,
        "outdated": 1,
        "early": 1,
        "waiting": 0,
    }
    assert second.tally | wanted == second.tally
    third = match(
        [first.predictions, second.predictions],
        [first.labels, second.labels],
        predictions([]),
        labels([(1, 11, 0.0)], 20),
    )
    assert third.tally["repeated"] == 1 and not third.changes


@given(st.lists(st.text(max_size=80), max_size=30))
def test_the_key_of_an_id_depends_on_the_id_alone(ids):
    together = keys(ids)
    assert together.tolist() == [int(keys([i])[0]) for i in ids]
    assert len(set(together.tolist())) == len(set(ids))


def test_keys_of_alike_ids_spread():
    found = keys([f"request-{i:020d}" for i in range(200_000)])
    assert len(np.unique(found)) == len(found)
    bits = np.unpackbits(found.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert abs(bits - 0.5).max() < 0.01


def test_a_key_is_the_same_for_ever():
    assert keys(["", "b41f", "r17/3", "ü" * 60]).tolist() == GOLDEN


GOLDEN = [0, 15482018627297766372, 2065503913191891282, 9194287701293854662]


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), max_size=60))
def test_keys_are_put_in_order(values):
    array = np.array(values, dtype=np.uint64)
    assert array[argsort(array)].tolist() == sorted(values)


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = labels([(i, i * 2, float(i % 2)) for i in range(1000)], 5)
    save(run, tmp_path / "a.run")
    again = load(tmp_path / "a.run")
    assert np.array_equal(again.keys, run.keys)
    assert all(np.array_equal(again.columns[name], run.columns[name]) for name in run.columns)
    assert [path.name for path in tmp_path.iterdir()] == ["a.run"]


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
