"""Time tiles: what was counted, by minute, hour and day, in one DuckDB file.

A tile is one row per (series, resolution, start). Increments add to minutes; closed hours and days are computed from
them; a window is read from the coarsest tiles that answer it exactly. Only one process can have the file open.
"""

from barograph.tiles.file import TilesFileError
from barograph.tiles.model import DAY, HOUR, MINUTE, Increment, Retention, Size, Windows
from barograph.tiles.store import Tiles

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "Increment",
    "Retention",
    "Size",
    "Tiles",
    "TilesFileError",
    "Windows",
]
