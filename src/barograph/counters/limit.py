"""How many series a server shows on /metrics, and what gives way where there are more.

Label values that callers make up fold into `other`, each series when it is made: what was counted is never moved. Columns get
the room that is left, when they are shown; on /profile they are whole.
"""

import logging
import os
from functools import lru_cache

from barograph import naming
from barograph.counters.series import HISTOGRAM, Series

MAX_SERIES = 20_000

_MADE_UP = {
    naming.ERRORS.name: "error",
    naming.DURATION.name: "stage",
    naming.OVERRIDDEN.name: "rule",
    naming.BUSINESS.name: "event",
    naming.VIOLATIONS.name: "column",
    naming.HTTP_REQUESTS.name: "handler",
    naming.HTTP_DURATION.name: "handler",
    naming.HTTP_IN_PROGRESS.name: "handler",
}
_OURS = (naming.TOTAL, naming.PREDICT)

log = logging.getLogger("barograph")


def most_series() -> int:
    """The number of series that BAROGRAPH_MAX_SERIES allows, by default 20,000."""
    return _number(os.environ.get(naming.SERIES_VARIABLE) or str(MAX_SERIES))


@lru_cache(maxsize=8)
def _number(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    log.warning(
        "%s: %r is no number of series; give one from 1. It is %d until then",
        naming.SERIES_VARIABLE, text, MAX_SERIES,
    )  # fmt: skip
    return MAX_SERIES


def lines(series: Series) -> int:
    """How many lines a series is on /metrics, but for one of columns."""
    return series.counts + 2 if series.kind == HISTOGRAM else series.counts + series.sums


def folded(series: Series) -> Series:
    """The series with `other` for the label value that a caller made up; itself where there is none.

    >>> folded(Series.of(naming.BUSINESS, {"model": "m", "event": "order"})).label("event")
    'other'
    """
    label = _MADE_UP.get(series.metric)
    ours = label is None or series.label(label) in _OURS
    if ours or series.label("kind") not in (None, "extra_column"):
        return series
    labels = tuple((name, naming.OTHER if name == label else value) for name, value in series.labels)
    return Series(series.metric, labels, series.kind, series.counts, series.sums)
