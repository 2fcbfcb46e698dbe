"""History: predictions, features and labels that were kept elsewhere, as tiles and outcomes, as if they had been recorded live.

Each row counts in the minute of its own time, over the bins of the reference, and its label is joined to it by the code that
joins logs. So what comes out is what a Monitor, its logs and the join would have made of the same rows.
"""

from barograph.history.importer import AlreadyImported, Importer
from barograph.history.named import Named
from barograph.history.report import Report

__all__ = ["AlreadyImported", "Importer", "Named", "Report"]
