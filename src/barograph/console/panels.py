"""Panels: one question each, answered over time. A new panel is a function here and its name in SERVICE or OUTPUT."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from barograph import naming, sentences
from barograph.bins import CategoryBins, NumericBins
from barograph.calibrate import pool
from barograph.console.state import HOUR, MINUTE, ROWS_A_POINT, View, begins, listed, plain
from barograph.naming import PREDICTION, SCORE
from barograph.output import class_shares, empty_share, positive_share, response_quantiles
from barograph.traffic import duration_quantiles, shares, usual

Panel = dict[str, Any]
MOST_CLASSES = 4
TRAFFIC_ROWS = 6  # a count needs fewer rows a point than a share


def panel(id: str, name: str, unit: str, t: Sequence[int] | np.ndarray, **rest: Any) -> Panel:
    """A panel with what it does not say left at its defaults. `t`: the end of each step, epoch seconds; durations in seconds."""
    return {
        "id": id, "name": name, "unit": unit, "value": None, "text": "", "status": "ok", "t": [int(x) for x in t],
        "series": [], "bands": [], "usual": None, "limits": None, "n": None, "scale": "linear", "zero": True, "note": None,
        **rest,
    }  # fmt: skip


def line(name: str, y: np.ndarray, role: str = "main") -> dict[str, Any]:
    """One series of a panel."""
    return {"name": name, "y": listed(y), "role": role}


# Service.


def traffic(view: View) -> Panel:
    """How many predictions, beside what is usual for the hour of the week; by the second, minute or hour as suits the model."""
    step = view.span.step(view.tiles.finest(view.span.start), view.rate * TRAFFIC_ROWS)
    ends, rate = view.rate_over_time(step)
    unit, factor = per(view.rate)
    band = _usual_rate(view, begins(ends, step))
    text = "usual for this hour not known yet"
    if band is not None and np.isfinite(band[0][-1]):
        low, high = (sentences.number(float(side[-1]) * factor) for side in band)
        text = f"usual {low}–{high} at this hour"
    return panel(
        "traffic", "Traffic", f"requests/{unit}", ends, value=plain(rate_now(view) * factor, 3), text=text,
        series=[line("Requests", rate * factor)],
        usual=None if band is None else {"lo": listed(band[0] * factor), "hi": listed(band[1] * factor)},
    )  # fmt: skip


def per(rate: float) -> tuple[str, int]:
    """The unit in which a rate a second reads well, and its factor: s, min or h."""
    return ("s", 1) if rate >= 1 else ("min", MINUTE) if rate >= 1 / MINUTE else ("h", HOUR)


def rate_now(view: View) -> float:
    """Predictions a second over the last five minutes, or, where they hold too few, over the last hour."""
    rows = view.counter(naming.PREDICTIONS, view.span.end - 5 * MINUTE, view.span.end)
    if rows >= ROWS_A_POINT:
        return rows / (5 * MINUTE)
    return view.counter(naming.PREDICTIONS, view.span.end - HOUR, view.span.end) / HOUR


def _usual_rate(view: View, at: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    start = int(at[0]) // HOUR * HOUR - 4 * 7 * 24 * HOUR
    end = view.span.end // HOUR * HOUR
    series = view.tiles.series(naming.PREDICTIONS.name, model=view.version.model)
    found = view.tiles.windows_many(series, start, end, HOUR)
    first = min((s[0] for x in series if (s := view.tiles.seen(x))), default=end)
    known = found[0].starts >= first // HOUR * HOUR
    counts = np.asarray(sum(w.counts[:, 0] for w in found))
    band = usual(at // HOUR * HOUR, found[0].starts[known], counts[known], least=1)
    return None if not np.isfinite(band.low).any() else (band.low / HOUR, band.high / HOUR)


def latency(view: View) -> Panel:
    """How long a prediction takes."""
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, counts, _ = view.over_time(naming.DURATION, step, stage=naming.TOTAL)
    found = (
        duration_quantiles(counts, np.array([0.5, 0.95]))
        if counts.shape[1] > 1
        else np.full((len(ends), 2), np.nan)
    )
    whole = (
        duration_quantiles(counts.sum(axis=0), np.array([0.5, 0.95]))
        if counts.shape[1] > 1
        else (np.nan, np.nan)
    )
    limit = view.state.config.model(view.version.model).limits.get("latency_p95")
    text = f"median {sentences.duration(whole[0])}" if np.isfinite(whole[0]) else "too few requests"
    if limit is not None:
        text += f", act above {sentences.duration(limit)} (set by owner)"
    return panel(
        "latency", "Latency p95", "seconds", ends, value=plain(whole[1]), text=text,
        series=[line("p95", found[:, 1])], n=counts.sum(axis=1).tolist(), limits=_limits(limit),
    )  # fmt: skip


def errors(view: View) -> Panel:
    """What share of predictions fails."""
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, failed, _ = view.over_time(naming.ERRORS, step)
    _, rows, _ = view.over_time(naming.PREDICTIONS, step)
    calls = rows[:, 0] + failed[:, 0]
    limit = view.state.config.model(view.version.model).limits.get("errors", 0.05)
    value = failed.sum() / calls.sum() if calls.sum() else None
    return panel(
        "errors", "Errors", "share", ends, value=plain(value), text=f"act above {sentences.share(limit)}",
        series=[line("Errors", shares(failed[:, 0], calls))], n=calls.tolist(), limits=_limits(limit),
    )  # fmt: skip


def stages(view: View) -> Panel:
    """Where the time goes: mean seconds by stage."""
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    names = sorted({s.label("stage") or "" for s in view.series(naming.DURATION)} - {naming.TOTAL})
    found = []
    ends = view.span.ends(step)
    for stage in names:
        ends, counts, sums = view.over_time(naming.DURATION, step, stage=stage)
        if counts.sum():
            n = counts.sum(axis=1)
            found.append(
                (sums.sum() / n.sum(), stage, np.where(n > 0, sums[:, 0] / np.maximum(n, 1), np.nan))
            )
    found = sorted(found, reverse=True)[:MOST_CLASSES]
    text = f"mean, slowest: {found[0][1]}" if found else "no stage timed"
    return panel(
        "stages", "Time by stage", "seconds", ends, value=plain(found[0][0]) if found else None, text=text,
        series=[line(stage, y) for _, stage, y in found],
    )  # fmt: skip


# Output.


def answers(view: View) -> Panel | None:
    """What the model answers: the share of positives, of the first classes, or the median of a number."""
    if view.known is None or PREDICTION not in view.known.reference.bins.columns:
        return None
    bins = view.known.reference.bins.columns[PREDICTION]
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, counts, sums = view.column_over_time(PREDICTION, step)
    n = counts.sum(axis=1)
    if isinstance(bins, CategoryBins):
        classes = class_shares(bins, counts)
        lines = [line(label, y) for label, y in list(classes.items())[:MOST_CLASSES]]
        return panel("answers", "Answers by class", "share", ends, series=lines, n=n.tolist())
    if view.known.reference.task == "binary":
        return _positives(view, bins, ends, counts)
    quantiles = response_quantiles(bins, counts, sums, (0.05, 0.5, 0.95), minimum=5)
    whole = response_quantiles(bins, counts.sum(axis=0), sums.sum(axis=0), (0.05, 0.5, 0.95), minimum=5)
    return panel(
        "answers", "Answers, spread", "", ends, value=plain(whole[1]), series=[line("median", quantiles[:, 1], "live")],
        bands=[{"name": "p5–p95", "lo": listed(quantiles[:, 0]), "hi": listed(quantiles[:, 2])}], n=n.tolist(), zero=False,
    )  # fmt: skip


def _positives(view: View, bins: NumericBins, ends: np.ndarray, counts: np.ndarray) -> Panel:
    low, high = usual_positives(view)
    share = positive_share(bins, counts, minimum=10)
    now = last_share(view)
    text = (
        f"of answers, usual {_percent_range(low, high)}"
        if low is not None and high is not None
        else "of answers"
    )
    band = {"lo": [plain(low)] * len(ends), "hi": [plain(high)] * len(ends)} if low is not None else None
    return panel(
        "answers", "Positive answers", "share", ends, value=plain(now), text=text,
        series=[line("Positive", share)], usual=band, n=counts.sum(axis=1).tolist(),
    )  # fmt: skip


def usual_positives(view: View) -> tuple[float | None, float | None]:
    """Between which shares of positive answers nine in ten of the reference's windows lie."""
    known = view.known
    if known is None or known.reference.windows is None or PREDICTION not in known.reference.bins.columns:
        return None, None
    hours = known.reference.windows
    pooled = pool(hours.starts, hours.rows)
    counts = pooled.sum(hours.counts[:, known.reference.bins.slice(PREDICTION)])[pooled.enough]
    bins = known.reference.bins.columns[PREDICTION]
    if isinstance(bins, CategoryBins) or not len(counts):
        return None, None
    low, high = np.nanquantile(positive_share(bins, counts, minimum=1), [0.05, 0.95])
    return float(low), float(high)


def last_share(view: View, rows: int = 30) -> float | None:
    """Share of positive answers in the last hours that hold some 30 of them."""
    if view.known is None or PREDICTION not in view.known.reference.bins.columns or view.columns is None:
        return None
    bins = view.known.reference.bins.columns[PREDICTION]
    if isinstance(bins, CategoryBins):
        return None
    where = view.known.reference.bins.slice(PREDICTION)
    for hours in (1, 3, 6, 24):
        counts = view.tiles.window(view.columns, view.span.end - hours * HOUR, view.span.end).counts[where]
        if counts.sum() >= rows:
            return float(positive_share(bins, counts, minimum=1))
    return None


def scores(view: View) -> Panel | None:
    """How the scores are spread."""
    if view.known is None or SCORE not in view.known.reference.bins.columns:
        return None
    bins = view.known.reference.bins.columns[SCORE]
    assert isinstance(bins, NumericBins)
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, counts, sums = view.column_over_time(SCORE, step)
    q = response_quantiles(bins, counts, sums, (0.05, 0.25, 0.5, 0.75, 0.95), minimum=10)
    whole = response_quantiles(bins, counts.sum(axis=0), sums.sum(axis=0), (0.5,), minimum=10)
    base, base_sums = view.known.reference.baseline.column(SCORE)
    usual_median = float(response_quantiles(bins, base, base_sums, (0.5,))[0])
    return panel(
        "scores", "Score, spread", "", ends, value=plain(whole[0], 3),
        text=f"median, usual {sentences.number(usual_median)}", series=[line("median", q[:, 2], "live")],
        bands=[
            {"name": "p5–p95", "lo": listed(q[:, 0]), "hi": listed(q[:, 4])},
            {"name": "p25–p75", "lo": listed(q[:, 1]), "hi": listed(q[:, 3])},
        ],
        n=counts.sum(axis=1).tolist(),
    )  # fmt: skip


def checks(view: View) -> list[dict[str, Any]]:
    """Shares that should be near nothing."""
    start, end = view.span.start, view.span.end
    empty = view.counter(naming.EMPTY, start, end)
    found = [_check("Empty responses", empty, view.rows)]
    known = view.known
    if known is not None and view.columns is not None:
        counts = view.tiles.window(view.columns, start, end).counts
        for name, title in ((SCORE, "Score"), (PREDICTION, "Answer")):
            if name in known.reference.bins.columns:
                bins = known.reference.bins.columns[name]
                column = counts[known.reference.bins.slice(name)]
                out = int(column[bins.outside].sum() + column[bins.invalid])
                found.append(_check(f"{title} out of range", out, int(column.sum())))
                if name == PREDICTION and bins.unseen is not None:
                    found.append(
                        _check("Answer never seen before", int(column[bins.unseen]), int(column.sum()))
                    )
    rules = {
        s.label("rule") or "": int(view.tiles.window(s, start, end).counts[0])
        for s in view.series(naming.OVERRIDDEN)
    }
    found.append(
        _check(
            "Changed by post-processing",
            sum(rules.values()),
            view.rows,
            note=", ".join(sorted(rules)) or None,
        )
    )
    return found


def _check(name: str, part: int, whole: int, note: str | None = None) -> dict[str, Any]:
    value = float(empty_share(np.array(part), np.array(whole)))
    return {
        "name": name, "status": "no_data" if np.isnan(value) else "ok", "note": note,
        "text": "too few rows" if np.isnan(value) else sentences.share(value),
    }  # fmt: skip


def _limits(act: float | None) -> dict[str, Any] | None:
    return None if act is None else {"watch": None, "act": act, "worse": "high"}


def _percent_range(low: float, high: float) -> str:
    return f"{sentences.share(low).removesuffix(sentences.NBSP + '%')}–{sentences.share(high)}"


SERVICE: tuple[Callable[[View], Panel | None], ...] = (traffic, latency, errors, stages)
OUTPUT: tuple[Callable[[View], Panel | None], ...] = (answers, scores)
