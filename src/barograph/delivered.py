"""What post-processing makes of answers, looked at each minute: the share that rules replaced, against the days before."""

import math
from dataclasses import replace

import numpy as np

from barograph import naming, sentences
from barograph.alert import Condition
from barograph.checks import Look

DAYS = 7  # before the last one: rules may follow the week
ENOUGH_DAYS, ENOUGH_ROWS = 3, 300  # of them, and rows of each, to know what is usual
POINTS = 0.005  # above the largest share of those days
DEVIATIONS = 3  # of chance
ENOUGH_REPLACED = 5  # rows: fewer are no trend
SIGNAL = "overridden"


def overridden(look: Look) -> list[Condition]:
    """Rules replaced a larger share of the last 24 hours' answers than on any of the seven days before."""
    replaced, rows = (
        look.counters.hours(metric, **look.version.names)[-(DAYS + 1) * 24 :].reshape(-1, 24).sum(axis=1)
        for metric in (naming.OVERRIDDEN, naming.PREDICTIONS)
    )
    known = rows[:-1] >= ENOUGH_ROWS
    start, end = look.counters.hour - 24 * 3600, look.counters.hour
    if known.sum() < ENOUGH_DAYS or rows[-1] < ENOUGH_ROWS:
        return [_named(look.condition(naming.OUTPUT_SHIFTED, None, start, end))]
    usual = float(np.max(replaced[:-1][known] / rows[:-1][known]))
    limit, value = overridden_limit(usual, int(rows[-1])), float(replaced[-1] / rows[-1])
    over = bool(value > limit and replaced[-1] - usual * rows[-1] >= ENOUGH_REPLACED)
    text = f"{sentences.share(value)} of answers are replaced by rules, {sentences.share(usual)} at most in the week before"
    return [
        _named(
            look.condition(naming.OUTPUT_SHIFTED, over, start, end, value=value, threshold=limit, text=text)
        )
    ]


def overridden_limit(usual: float, rows: int) -> float:
    """The share of replaced answers among so many that is too large: half a point above usual, and what chance adds.

    >>> round(overridden_limit(0.0, 1_000), 4), round(overridden_limit(0.1, 1_000), 4)
    (0.0117, 0.1341)
    """
    share = min(usual + POINTS, 1.0)
    return share + DEVIATIONS * math.sqrt(share * (1 - share) / rows)


def _named(condition: Condition) -> Condition:
    return replace(condition, signal=SIGNAL)


CHECKS = (overridden,)
