"""The prediction log and the feedback log: append-only files in a folder or in an object store.

Rows are appended to Arrow IPC streams (lz4), which are compacted to Parquet (zstd), in folders by model, day, version and
bins. A process writes files of its own; any number may write, read and compact beside each other.
"""

from barograph.logs.appender import Limits
from barograph.logs.cursor import Cursor, Position
from barograph.logs.feedback import Feedback, FeedbackLog
from barograph.logs.keeper import Keeper
from barograph.logs.keeping import Kept
from barograph.logs.log import LIMITS, Log
from barograph.logs.predictions import PredictionLog
from barograph.logs.reading import Reading
from barograph.logs.types import FEEDBACK_COLUMNS, PREDICTION_COLUMNS, feature_column, feature_types

__all__ = [
    "FEEDBACK_COLUMNS", "LIMITS", "PREDICTION_COLUMNS", "Cursor", "Feedback", "FeedbackLog", "Keeper", "Kept", "Limits",
    "Log", "Position", "PredictionLog", "Reading", "feature_column", "feature_types",
]  # fmt: skip
