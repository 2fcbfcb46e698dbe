"""Labels that lie elsewhere, in a file, at a URL or in a database: into the feedback log."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from barograph.logs import FeedbackLog
from barograph.tables import ImportFailed


@dataclass(frozen=True, slots=True)
class Imported:
    """How many labels were stored, and how many rows lack an id or a label."""

    stored: int = 0
    lacking: int = 0


def store(log: FeedbackLog, model: str, table: pa.Table, columns: Mapping[str, str | None]) -> Imported:
    """Write one table's labels to the disk. `columns` name its id, label, time and kind (None: there is none).

    ImportFailed where a column is not there; OSError where the disk takes nothing.
    """
    named = {what: name for what, name in columns.items() if name is not None}
    for what, name in named.items():
        if name not in table.column_names:
            raise ImportFailed(
                f"--{what}: there is no column {name!r}; there are {', '.join(table.column_names)}"
            )
    whole = table.filter(pc.and_(pc.is_valid(table[named["id"]]), pc.is_valid(table[named["label"]])))
    log.append_columns(model, {what: whole[name] for what, name in named.items()}, len(whole))
    return Imported(len(whole), len(table) - len(whole))
