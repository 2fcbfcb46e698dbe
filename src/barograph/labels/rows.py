"""Rows of the logs as those of runs: ids become keys, texts become codes, times are microseconds."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph.labels.counting import Group
from barograph.labels.keys import keys
from barograph.labels.runs import Loose, grouped
from barograph.labels.state import KnownNames

PREDICTION_COLUMNS = ("id", "time", "score", "prediction", "prediction_text", "segments", "version", "bins")
FEEDBACK_COLUMNS = ("id", "time", "arrival", "label", "label_text", "kind")
LABEL = "label"  # the kind of feedback that tells the outcome; another kind tells something else of the prediction


def prediction_rows(tables: Iterable[pa.Table], names: KnownNames) -> tuple[Loose, int]:
    """Predictions that can have a label; and how many rows have no id."""
    rows, nameless = Loose("time", "group", "score", "prediction", "class"), 0
    for table in tables:
        named = _named(table)
        nameless += len(table) - len(named)
        columns = {
            "time": times(named["time"]),
            "group": _groups(named, names),
            "score": floats(named["score"]),
            "prediction": floats(named["prediction"]),
            "class": _codes(named["prediction_text"], names),
        }
        rows.add(keys(named["id"], first=True), columns)
    return rows, nameless


def feedback_rows(tables: Iterable[pa.Table], names: KnownNames) -> Loose:
    """Labels."""
    rows = Loose("time", "delay", "label", "class")
    for table in tables:
        named = _named(outcomes(table))
        arrival = times(named["arrival"])
        time = times(pc.coalesce(named["time"], named["arrival"]))
        columns = {
            "time": time,
            "delay": arrival - time,
            "label": floats(named["label"]),
            "class": _codes(named["label_text"], names),
        }
        rows.add(keys(named["id"], first=True), columns)
    return rows


def _named(table: pa.Table) -> pa.Table:
    return table.filter(pc.is_valid(table["id"])) if table["id"].null_count else table


def outcomes(table: pa.Table) -> pa.Table:
    """Feedback that tells the outcome."""
    kinds = table["kind"]
    return (
        table if kinds.null_count == len(kinds) else table.filter(pc.equal(pc.fill_null(kinds, LABEL), LABEL))
    )


def times(column: pa.ChunkedArray) -> np.ndarray:
    """int64[n]: microseconds."""
    return np.asarray(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy())


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """float64[n]: NaN where there is none."""
    values = column.cast(pa.float64())
    return np.asarray((pc.fill_null(values, np.nan) if values.null_count else values).to_numpy())


def _codes(column: pa.ChunkedArray, names: KnownNames) -> np.ndarray:
    """Codes of texts (whole numbers), -1 for none."""
    if column.null_count == len(column):
        return np.full(len(column), -1, dtype=np.int8)
    positions, texts = _encoded(column)
    table = np.array([names.text(text) for text in texts] + [-1], dtype=np.int32)
    return np.asarray(table[positions])


def _encoded(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Whole numbers [n]: the position of each value among the distinct ones, -1 for none."""
    text = _repeated(column)
    if text is not None:
        return np.zeros(len(column), dtype=np.int8), [text]
    found = column.cast(pa.string()).combine_chunks().dictionary_encode()
    indices = pc.fill_null(found.indices, -1) if found.null_count else found.indices
    return indices.to_numpy(zero_copy_only=False), found.dictionary.to_pylist()


def _repeated(column: pa.ChunkedArray) -> str | None:
    """The text that all of a column is, if it is known at a glance: those of a folder, as version and bins are."""
    if column.num_chunks != 1 or column.null_count or column.type != pa.string() or not len(column):
        return None
    texts = column.chunk(0)
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    size = int(offsets[1] - offsets[0])
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    alike = (np.diff(offsets) == size).all() and np.array_equal(data[size:], data[: len(data) - size])
    return str(texts[0]) if alike else None


def _groups(table: pa.Table, names: KnownNames) -> np.ndarray:
    """Whole numbers [n]: the code of what each row has in common with others."""
    if not len(table):
        return np.zeros(0, dtype=np.int8)
    segments = _segments(table["segments"])
    version, bins = _repeated(table["version"]), _repeated(table["bins"])
    if version is not None and bins is not None and not segments:
        return np.full(len(table), names.group(Group(version, bins)), dtype=np.int32)
    encoded = [_encoded(table[name]) for name in ("version", "bins")]
    combinations, index = grouped(*(codes for codes, _ in encoded), *(codes for _, codes, _ in segments))
    table_of = np.zeros(len(combinations), dtype=np.int32)
    for i, (a, b, *values) in enumerate(combinations):
        found = [(key, texts[v]) for (key, _, texts), v in zip(segments, values, strict=True) if v >= 0]
        group = Group(_text(encoded[0][1], a), _text(encoded[1][1], b), names.bounded(found))
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
