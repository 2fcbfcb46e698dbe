"""Ids as 64-bit keys: what predictions and labels are matched by.

A key is the same on every machine and in every version: it is kept in files. Of a hundred million ids two share a key with a
probability of 0.03 %.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barograph import compiled

_SEED, _STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_FINAL = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_HALF, _WORD = np.uint64(32), 8
_PIECE = 16_384  # ids at once, which stay in the processor's cache
_LONGEST = 64  # bytes of an id that are taken as they are


def keys(ids: "pa.Array | pa.ChunkedArray | Iterable[str | None]", *, first: bool = False) -> np.ndarray:
    """uint64[n]: the key of each id. A missing id has the key of the empty text: leave it out before.

    With `first` the first row of a request goes by the request's own id, too: `b41f/0` is `b41f`.

    >>> (keys(["b41f", "b41f/1"]) == keys(["b41f", "b41f/2"])).tolist()
    [True, False]
    """
    texts = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(list(ids), pa.string())
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    found = [_chunk(chunk, first) for chunk in chunks if len(chunk)]
    return found[0] if len(found) == 1 else np.concatenate([np.zeros(0, dtype=np.uint64), *found])


def _chunk(texts: pa.Array, first: bool) -> np.ndarray:
    texts = pc.fill_null(texts, "") if texts.null_count else texts
    if texts.type == pa.string() and compiled.keys is not None:
        found, (_, offsets, data) = np.empty(len(texts), dtype=np.uint64), texts.buffers()
        places = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
        if compiled.keys(b"" if data is None else data, places, first, found):
            return found
    pieces = [texts.slice(at, _PIECE) for at in range(0, len(texts), _PIECE)]
    return np.concatenate([_keys(_by_request(piece) if first else piece) for piece in pieces])


def _by_request(texts: pa.Array) -> pa.Array:
    starts = pc.ends_with(texts, "/0")
    return pc.replace_substring_regex(texts, "/0$", "") if pc.any(starts).as_py() else texts


def _keys(texts: pa.Array) -> np.ndarray:
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    long = np.flatnonzero(lengths > _LONGEST)
    if len(long):
        found = texts.cast(pa.binary()).to_pylist()
        short = [_digest(text) if text and len(text) > _LONGEST else text for text in found]
        texts = pa.array(short, pa.binary())
    return _mixed(texts.cast(pa.large_binary()).cast(pa.large_string(), safe=False), lengths)


def _mixed(texts: pa.Array, lengths: np.ndarray) -> np.ndarray:
    """Of texts of at most 64 bytes, eight bytes at a time."""
    width = -(-min(int(lengths.max()), _LONGEST) // _WORD) * _WORD
    padded = pc.ascii_rpad(texts, width=width, padding="\0")
    words = np.frombuffer(padded.buffers()[2], dtype="<u8", count=len(texts) * width // _WORD)
    mixed = lengths.astype(np.uint64) * _SEED
    for at, column in enumerate(words.reshape(len(texts), -1).T):
        more = lengths > at * _WORD
        mixed = _mix(mixed ^ column) if more.all() else np.where(more, _mix(mixed ^ column), mixed)
    return _finish(mixed)


def _mix(values: np.ndarray) -> np.ndarray:
    values *= _STEP
    values ^= values >> _HALF
    values *= _SEED
    return values


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=_LONGEST).digest()


def _finish(values: np.ndarray) -> np.ndarray:
    for factor in _FINAL:
        values ^= values >> _HALF
        values *= factor
    values ^= values >> _HALF
    return values
