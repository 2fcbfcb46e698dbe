"""Signals of a version by day beside how good its answers of that day were: what tells whether a signal means anything."""

import numpy as np

from barograph import naming
from barograph.console.state import DAY, View
from barograph.drift import MINIMUM_ROWS, SIGNALS
from barograph.judging import by_lane
from barograph.labels.days import Days
from barograph.lanes import DAILY
from barograph.leak import Losses
from barograph.readiness.facts import Indicators
from barograph.readiness.indicators import indicators as compared
from barograph.traffic import duration_quantiles, shares


def indicators(view: View, days: Days) -> Indicators:
    """How each signal went along with the loss of the days whose labels have matured."""
    told = days.where(days.matured & (days.labelled >= MINIMUM_ROWS))
    if not len(told):
        return Indicators(why=f"Too few labels: no day has {MINIMUM_ROWS}", remedy="more labels a day")
    losses = Losses.of(told.profiles)
    found = {
        **_of_columns(view, told.starts),
        **_of_service(view, told.starts),
        **_estimated(view, told.starts),
    }
    loss = np.where(losses.rows > 0, losses.mean, np.nan)
    return Indicators(losses.metric, len(told), compared(loss, found), remedy="labels of more days")


def _of_columns(view: View, starts: np.ndarray) -> dict[str, np.ndarray]:
    """Each signal of each column over its line, by the day's verdicts: float64[D] a signal."""
    found: dict[str, np.ndarray] = {}
    for one in (view, *view.beside):
        if one.known is None or one.bins is None:
            continue
        names = list(one.known.reference.bins.columns)
        counted = dict(by_lane(one.version, one.bins, view.state.config.window))[DAILY]
        end = float(starts[-1] + DAY)
        past = view.state.ledger.history(counted, float(starts[0]), end, len(names))
        at = {int(start): i for i, start in enumerate(past.starts // DAY * DAY)}
        here = [at.get(int(start), -1) for start in starts]
        for signal, ratios in past.ratios.items():
            padded = np.vstack([ratios, np.full((1, len(names)), np.nan)])[here]
            title = SIGNALS[signal].title.lower()
            found |= {
                f"{name}, {title}": padded[:, i]
                for i, name in enumerate(names)
                if np.isfinite(padded[:, i]).any()
            }
    return found


def _of_service(view: View, starts: np.ndarray) -> dict[str, np.ndarray]:
    """Traffic, latency, and the shares of failed, empty and replaced answers."""
    first, end = int(starts[0]), int(starts[-1]) + DAY
    where = (starts - first) // DAY

    def counts(metric: naming.Metric, **labels: str) -> np.ndarray:
        found = view.tiles.windows_many(view.series(metric, **labels), first, end, DAY)
        return (
            np.asarray(sum((w.counts for w in found[1:]), found[0].counts))[where]
            if found
            else np.zeros((len(where), 1))
        )

    rows = counts(naming.PREDICTIONS)[:, 0]
    found = {"traffic": np.where(rows > 0, rows, np.nan).astype(np.float64)}
    for name, metric in (
        ("errors", naming.ERRORS),
        ("empty answers", naming.EMPTY),
        ("replaced answers", naming.OVERRIDDEN),
    ):
        found[name] = shares(counts(metric).sum(axis=1), rows, MINIMUM_ROWS)
    timed = counts(naming.DURATION, stage=naming.TOTAL)
    if timed.shape[1] > 1:
        found["latency p95"] = duration_quantiles(timed, np.array([0.95]))[:, 0]
    return found


def _estimated(view: View, starts: np.ndarray) -> dict[str, np.ndarray]:
    """The error that scores promised before labels came."""
    known, columns = view.known, view.columns
    if known is None or columns is None or known.promised is None:
        return {}
    if known.promising not in known.reference.bins.columns:
        return {}
    slots = known.reference.bins.slice(known.promising)
    first = int(starts[0])
    live = view.tiles.windows(columns, first, int(starts[-1]) + DAY, DAY, slots).counts[
        (starts - first) // DAY
    ]
    promised = known.promised.expect(live)
    for name, error in (("accuracy", False), ("mae", True)):
        if name in promised.names:
            values = np.where(promised.n < MINIMUM_ROWS, np.nan, promised.values[promised.names.index(name)])
            return {"estimated error": values if error else 1 - values}
    return {}
