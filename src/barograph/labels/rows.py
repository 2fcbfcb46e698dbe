"""Rows of the logs as sorted runs: ids become keys, texts become codes, times are microseconds."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph.labels.counting import Group
from barograph.labels.keys import keys
from barograph.labels.match import LATEST
from barograph.labels.runs import Run, grouped, in_order
from barograph.labels.state import KnownNames

PREDICTION_COLUMNS = ("id", "time", "score", "prediction", "prediction_text", "segments", "version", "bins")
FEEDBACK_COLUMNS = ("id", "time", "arrival", "label", "label_text", "kind")
LABEL = "label"  # the kind of feedback that tells the outcome; another kind tells something else of the prediction


def prediction_run(tables: Iterable[pa.Table], names: KnownNames) -> tuple[Run, int]:
    """Predictions that can have a label, the first of each id; and how many rows have no id."""
    kinds = {
        "time": np.int64,
        "group": np.int32,
        "score": np.float64,
        "prediction": np.float64,
        "class": np.int32,
    }
    pieces, nameless = [], 0
    for table in tables:
        named = table.filter(pc.is_valid(table["id"]))
        nameless += len(table) - len(named)
        columns = {
            "time": _times(named["time"]),
            "group": _groups(named, names),
            "score": _floats(named["score"]),
            "prediction": _floats(named["prediction"]),
            "class": _codes(named["prediction_text"], names),
        }
        pieces.append((keys(_ids(named["id"])), columns))
    found, columns = _joined(pieces, kinds)
    return in_order(found, columns, ["time"], first=True)[0], nameless


def feedback_run(tables: Iterable[pa.Table], names: KnownNames) -> Run:
    """Labels, the last of each id by its own time."""
    kinds = {"time": np.int64, "arrival": np.int64, "label": np.float64, "class": np.int32}
    pieces = []
    for table in tables:
        outcome = pc.equal(pc.fill_null(table["kind"], LABEL), LABEL)
        named = table.filter(pc.and_(pc.is_valid(table["id"]), outcome))
        arrival = _times(named["arrival"])
        columns = {
            "time": _times(pc.coalesce(named["time"], named["arrival"])),
            "arrival": arrival,
            "label": _floats(named["label"]),
            "class": _codes(named["label_text"], names),
        }
        pieces.append((keys(_ids(named["id"])), columns))
    found, columns = _joined(pieces, kinds)
    return in_order(found, columns, LATEST)[0]


def _ids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first row of a request goes by the request's own id, too: `b41f/0` is `b41f`."""
    first = pc.ends_with(column, "/0")
    return pc.replace_substring_regex(column, "/0$", "") if pc.any(first).as_py() else column


def _joined(
    pieces: Sequence[tuple[np.ndarray, dict[str, np.ndarray]]], kinds: Mapping[str, type]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    found = np.concatenate([np.zeros(0, dtype=np.uint64), *(piece for piece, _ in pieces)])
    columns = {
        name: np.concatenate([np.zeros(0, dtype=kind), *(columns[name] for _, columns in pieces)])
        for name, kind in kinds.items()
    }
    return found, {name: values.astype(kinds[name], copy=False) for name, values in columns.items()}


def _times(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy())


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    values = column.cast(pa.float64())
    return np.asarray((pc.fill_null(values, np.nan) if values.null_count else values).to_numpy())


def _codes(column: pa.ChunkedArray, names: KnownNames) -> np.ndarray:
    """int32[n]: codes of texts, -1 for none."""
    if column.null_count == len(column):
        return np.full(len(column), -1, dtype=np.int32)
    positions, texts = _encoded(column)
    table = np.array([names.text(text) for text in texts] + [-1], dtype=np.int32)
    return np.asarray(table[positions])


def _encoded(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """int64[n]: the position of each value among the distinct ones, -1 for none."""
    found = column.cast(pa.string()).combine_chunks().dictionary_encode()
    indices = pc.fill_null(found.indices, -1).to_numpy(zero_copy_only=False)
    return np.asarray(indices, dtype=np.int64), found.dictionary.to_pylist()


def _groups(table: pa.Table, names: KnownNames) -> np.ndarray:
    """int32[n]: the code of what each row has in common with others."""
    if not len(table):
        return np.zeros(0, dtype=np.int32)
    encoded = [_encoded(table[name]) for name in ("version", "bins")]
    segments = _segments(table["segments"])
    combinations, index = grouped(*(codes for codes, _ in encoded), *(codes for _, codes, _ in segments))
    table_of = np.zeros(len(combinations), dtype=np.int32)
    for i, (version, bins, *values) in enumerate(combinations):
        found = [(key, texts[v]) for (key, _, texts), v in zip(segments, values, strict=True) if v >= 0]
        group = Group(_text(encoded[0][1], version), _text(encoded[1][1], bins), names.bounded(found))
        table_of[i] = names.group(group)
    return np.asarray(table_of[index])


def _text(texts: Sequence[str], code: int) -> str:
    return texts[code] if code >= 0 else ""


def _segments(column: pa.ChunkedArray) -> list[tuple[str, np.ndarray, list[str]]]:
    """By key of segments: the position of each row's value among the distinct ones (-1 for none), and those."""
    maps = column.combine_chunks()
    if maps.null_count == len(maps) or not len(maps.keys):
        return []
    rows = np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    key_codes, found = _encoded(pa.chunked_array([maps.keys[first:last]]))
    value_codes, texts = _encoded(pa.chunked_array([maps.items[first:last]]))
    columns = []
    for i, key in enumerate(found):
        codes = np.full(len(maps), -1, dtype=np.int64)
        mine = key_codes == i
        codes[rows[mine]] = value_codes[mine]
        columns.append((key, codes, texts))
    return sorted(columns, key=lambda column: column[0])
