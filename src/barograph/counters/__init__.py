"""What a process counts, and what its server counts in all.

Everything that is counted is a `Series` with a `Vector` of int64 counts and float64 sums; vectors of one series add up over
threads, processes, replicas and hours. `SharedCounters` keeps a process's vectors in shared memory, so that any worker of a
server answers for all of them. A `Snapshot` is their total at one moment.

series.py: identity, numbers, bytes.  workers.py: who shares with whom.  files.py: files in shared memory.  folder.py: the
directory of them.  tenure.py: versions that ended.  limit.py: how many series.  shared.py: totals.
"""

from barograph.counters.limit import most_series
from barograph.counters.series import (
    ADDITIVE,
    Layout,
    Series,
    Snapshot,
    SnapshotFormatError,
    Table,
    Vector,
)
from barograph.counters.shared import SharedCounters

__all__ = [
    "ADDITIVE",
    "Layout",
    "Series",
    "SharedCounters",
    "Snapshot",
    "SnapshotFormatError",
    "Table",
    "Vector",
    "most_series",
]
