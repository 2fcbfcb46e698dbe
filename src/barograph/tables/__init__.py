"""Tables that lie elsewhere, in files, at URLs and in databases, as Arrow, some rows at a time."""

from barograph.tables.failed import ImportFailed
from barograph.tables.source import BATCH, Source, located, read

__all__ = ["BATCH", "ImportFailed", "Source", "located", "read"]
