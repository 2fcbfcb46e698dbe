"""Arrow tables of whatever make with plain columns: numbers, texts, truth values, times."""

from uuid import UUID

import pyarrow as pa

TEXT, FLOAT = pa.string(), pa.float64()
_SAID = b"POSTGRESQL:type"  # by its driver, of each column


def plain(table: "pa.Table | pa.RecordBatch") -> pa.Table:
    """The same rows, with decimals as float64, and with texts and ids of any make as text.

    >>> from decimal import Decimal
    >>> plain(pa.table({"x": [Decimal("0.5"), None]}))["x"].to_pylist()
    [0.5, None]
    """
    whole = table if isinstance(table, pa.Table) else pa.Table.from_batches([table])
    columns = [
        _plain(whole.column(i), whole.schema.field(i).metadata or {}) for i in range(whole.num_columns)
    ]
    return pa.table(columns, names=whole.column_names)


def _plain(column: pa.ChunkedArray, said: dict[bytes, bytes]) -> pa.ChunkedArray:
    """PostgreSQL's numbers come as texts, and its ids (UUID) as bytes: Arrow has no types for them."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    kind = column.type
    if pa.types.is_decimal(kind) or said.get(_SAID) == b"numeric":
        return column.cast(FLOAT)
    if said.get(_SAID) == b"uuid":
        texts = [None if value is None else str(UUID(bytes=value)) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, TEXT)])
    if pa.types.is_large_string(kind) or str(kind) == "string_view":
        return column.cast(TEXT)
    return column
