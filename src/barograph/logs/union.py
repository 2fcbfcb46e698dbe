"""Columns of many files as one table: by name, an int widens to float, any other change of type is a column `name__type`."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from barograph.logs.paths import Partition
from barograph.logs.types import FIXED, FLOAT, FOLDERS, INT, TEXT, canonical, family

_NUMBER = "number"


class Union:
    """What columns files of these schemas have together. The first type that a name had keeps the name.

    >>> files = [pa.schema({"x": pa.int64()}), pa.schema({"x": FLOAT}), pa.schema({"x": TEXT})]
    >>> {k: str(t) for k, t in Union("predictions", files).columns(["x", "x__string", "y"]).items()}
    {'x': 'double', 'x__string': 'string', 'y': 'null'}
    """

    def __init__(self, kind: str, schemas: Iterable[pa.Schema]) -> None:
        self._fixed = FIXED[kind]
        self._types: dict[tuple[str, str], pa.DataType] = {}  # by name and family
        owners: dict[str, str] = {}
        for schema in dict.fromkeys(schemas):
            for field in schema:
                if field.name not in self._fixed:
                    key = field.name, _family(field.type)
                    self._types[key] = _wider(self._types.get(key), canonical(field.type))
                    owners.setdefault(*key)
        self._sources: dict[str, list[tuple[str, str]]] = {}
        for name, own in owners.items():
            self._sources[name] = [(name, own)]
        for name, own in self._types:
            self._sources.setdefault(self._suffixed(name, own), []).append((name, own))
        retyped = [self._suffixed(name, own) for name, own in self._types if owners[name] != own]
        self.stored = list(dict.fromkeys([*self._fixed, *owners, *retyped]))
        self._all = list(dict.fromkeys([*self._fixed, *FOLDERS, *owners, *retyped]))

    def columns(self, wanted: Sequence[str] | None = None) -> dict[str, pa.DataType]:
        """The columns wanted, or all, and their types; `null` for one that no file has.

        `name__type` may always be asked for, also where that type has the plain name.
        """
        return {name: self._type(name) for name in (self._all if wanted is None else wanted)}

    def needed(self, schema: pa.Schema, wanted: Iterable[str]) -> list[str]:
        """The columns of a file that are to be read for these. At least one, to know how many rows there are."""
        found = [source for name in wanted if (source := self._source(schema, name)) is not None]
        return list(dict.fromkeys(found)) or schema.names[:1]

    def table(self, part: pa.RecordBatch, columns: dict[str, pa.DataType], partition: Partition) -> pa.Table:
        """A part of a file as a table of these columns."""
        n, schema = part.num_rows, part.schema
        arrays = []
        for name, own in columns.items():
            source = self._source(schema, name)
            if source is not None:
                column = part.column(source)
                arrays.append(column if column.type == own else column.cast(own))
            elif name in FOLDERS and name not in self._fixed:
                arrays.append(pa.repeat(pa.scalar(getattr(partition, name), TEXT), n))
            else:
                arrays.append(pa.nulls(n, own))
        return pa.Table.from_arrays(arrays, schema=pa.schema(list(columns.items())))

    def _source(self, schema: pa.Schema, name: str) -> str | None:
        if name in self._fixed:
            return name if name in schema.names else None
        for source, own in self._sources.get(name, ()):
            at = schema.get_field_index(source)
            if at >= 0 and _family(schema.field(at).type) == own:
                return source
        return None

    def _type(self, name: str) -> pa.DataType:
        if name in self._fixed:
            return self._fixed[name]
        if name in FOLDERS:
            return TEXT
        found = [self._types[source] for source in self._sources.get(name, ())]
        return found[0] if found else pa.null()

    def _suffixed(self, name: str, own: str) -> str:
        return f"{name}__{family(self._types[name, own]) if own == _NUMBER else own}"


def _family(type: pa.DataType) -> str:
    found = family(type)
    return _NUMBER if found in ("int", "float") else found


def _wider(one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
    return FLOAT if one is not None and {one, other} == {INT, FLOAT} else other
