"""Files of rows: which there are, where they come from, what is in them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from barograph.tables.databases import shown, without_secrets
from barograph.tables.failed import ImportFailed

READERS = {
    ".csv": "read_csv", ".tsv": "read_csv", ".parquet": "read_parquet",
    ".ndjson": "read_json", ".jsonl": "read_json", ".json": "read_json",
}  # fmt: skip
_PACKED = (".gz", ".zst")
_WILD = frozenset("*?[")


def reader_of(name: str) -> str:
    """DuckDB's function for a file of this name; ImportFailed where there is none.

    >>> reader_of("labels.csv.gz")
    'read_csv'
    """
    plain = name.lower()
    for packed in _PACKED:
        plain = plain.removesuffix(packed)
    for ending, reader in READERS.items():
        if plain.endswith(ending):
            return reader
    raise ImportFailed(
        f"{name!r} ends with none of {', '.join(READERS)}; rename it, or give a query with --sql"
    )


def named(source: str) -> list[str]:
    """The paths, or URLs, that a source names: itself or, with `*`, all that match, in order of their names.

    ImportFailed where there is none.
    """
    if not _WILD.intersection(source) or Path(source).is_file():
        return [source]
    if "://" not in source:
        path = Path(source)
        found = sorted(
            str(one) for one in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if one.is_file()
        )
    elif source.startswith(("http://", "https://")):
        return [source]
    else:
        import fsspec

        system, pattern = fsspec.core.url_to_fs(source)
        found = sorted(system.unstrip_protocol(one) for one in system.glob(pattern))
    if not found:
        raise ImportFailed(f"{shown(source)!r} cannot be read: no file is of that name; correct it")
    return found


def fetched(source: str, folder: Path) -> Path:
    """The file itself: what lies at a URL is copied into `folder` first. ImportFailed where it cannot be had."""
    if "://" not in source:
        if not Path(source).is_file():
            raise ImportFailed(f"{source!r} cannot be read: there is no such file; correct the name")
        return Path(source)
    copy = folder / Path(urlsplit(source).path).name
    reader_of(copy.name)
    try:
        with copy.open("wb") as file:
            for piece in _pieces(source):
                file.write(piece)
    except Exception as error:  # noqa: BLE001 (an object store's library raises what it likes)
        why = without_secrets(str(error) or repr(error), source).splitlines()[0]
        raise ImportFailed(f"{shown(source)!r} cannot be read: {why}") from None
    return copy


def _pieces(url: str) -> Iterator[bytes]:
    if url.startswith(("http://", "https://")):
        import httpx

        with httpx.stream("GET", url, follow_redirects=True, timeout=60.0) as answer:
            if answer.is_error:
                raise ImportFailed(f"it answered {answer.status_code}")
            yield from answer.iter_bytes()
        return
    import fsspec

    with fsspec.open(url, "rb") as file:
        while piece := file.read(1 << 22):
            yield piece


def digest(path: Path) -> str:
    """SHA-256 of a file's content, as hex digits: what tells whether it was there before, under whatever name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def discard(path: Path, folder: Path) -> None:
    """Remove a file that was copied into `folder`; any other stays."""
    if path.parent == folder:
        path.unlink(missing_ok=True)
