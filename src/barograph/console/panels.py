"""Panels: one question each, answered over time. A new panel is a function here and its name in SERVICE or OUTPUT."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from barograph import naming, sentences
from barograph.alert import BURNS, ERROR_OBJECTIVE, Alert, firing, status
from barograph.bins import CategoryBins, NumericBins
from barograph.console.key import key_of, latest, median, spread
from barograph.console.key import usual as usual_range
from barograph.console.state import HOUR, MINUTE, ROWS_A_POINT, View, begins, listed, plain
from barograph.naming import NO_DATA, OK, PREDICTION, SCORE
from barograph.output import class_shares, empty_share, response_quantiles
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
    text = "usual not known yet"
    if band is not None and np.isfinite(band[0][-1]):
        low, high = (sentences.about(float(side[-1]) * factor) for side in band)
        text = f"usual {low}–{high}"
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
    q = np.array([0.5, 0.95])
    found = duration_quantiles(counts, q) if counts.shape[1] > 1 else np.full((len(ends), 2), np.nan)
    middle, high = durations_now(view)
    limit = view.state.config.model(view.version.model).limits.get("latency_p95")
    text = "no request was timed" if not counts.sum() else "too few requests"
    if np.isfinite(middle):
        text = f"median {sentences.duration(middle)}"
    if limit is not None:
        text += f", act above {sentences.duration(limit)}"
    return panel(
        "latency", "Latency p95", "seconds", ends, value=plain(high), text=text,
        series=[line("p95", found[:, 1])], n=counts.sum(axis=1).tolist(), limits=_limits(limit),
    )  # fmt: skip


def durations_now(view: View) -> tuple[float, float]:
    """Median and p95 of the last predictions, seconds; NaN where few were timed."""
    start, end = view.span.end - view.recent, view.span.end
    counts = [
        view.tiles.window(s, start, end).counts for s in view.series(naming.DURATION, stage=naming.TOTAL)
    ]
    found = duration_quantiles(np.sum(counts, axis=0), np.array([0.5, 0.95])) if counts else (np.nan, np.nan)
    return float(found[0]), float(found[1])


def errors_now(view: View) -> float | None:
    """Share of the last predictions that failed."""
    start, end = view.span.end - view.recent, view.span.end
    answered, failed = (view.counter(m, start, end) for m in (naming.PREDICTIONS, naming.ERRORS))
    return failed / (answered + failed) if answered + failed else None


def errors(view: View) -> Panel:
    """What share of predictions fails."""
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, failed, _ = view.over_time(naming.ERRORS, step)
    _, rows, _ = view.over_time(naming.PREDICTIONS, step)
    calls = rows[:, 0] + failed[:, 0]
    limit = view.state.config.model(view.version.model).limits.get(
        "errors", BURNS[0].limit(1 - ERROR_OBJECTIVE)
    )
    return panel(
        "errors", "Errors", "share", ends, value=plain(errors_now(view)), text=f"act above {sentences.share(limit)}",
        series=[line("Errors", shares(failed[:, 0], calls))], n=calls.tolist(), limits=_limits(limit),
    )  # fmt: skip


def stages(view: View) -> Panel | None:
    """Where the time goes: mean seconds by stage, where any is timed."""
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
    if not found:
        return None
    found = sorted(found, reverse=True)[:MOST_CLASSES]
    return panel(
        "stages", "Time by stage", "seconds", ends, value=plain(found[0][0]), text=f"mean, slowest: {found[0][1]}",
        series=[line(stage, y) for _, stage, y in found],
    )  # fmt: skip


# Output.


def answers(view: View) -> Panel | None:
    """What the model answers: the share of positives, of the first classes, or the median of a number."""
    key = key_of(view)
    if view.known is None or key is None or key.column != PREDICTION:
        return None
    bins = view.known.reference.bins.columns[PREDICTION]
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, counts, sums = view.column_over_time(PREDICTION, step)
    n, now, band = counts.sum(axis=1).tolist(), latest(view, key), usual_range(view, key)
    if isinstance(bins, CategoryBins):
        classes = class_shares(bins, counts)
        lines = [line(label, y) for label, y in list(classes.items())[:MOST_CLASSES]]
        text = f"of answers are {key.words}{spread(band, True)}"
        return panel(
            "answers", "Answers by class", "share", ends, value=plain(now), text=text, series=lines, n=n
        )
    if key.is_share:
        return panel(
            "answers", "Positive answers", "share", ends, value=plain(now), text=f"of answers{spread(band, True)}",
            series=[line("Positive", key.of(counts, sums, 10))], usual=_band(band, len(ends)), n=n,
        )  # fmt: skip
    q = response_quantiles(bins, counts, sums, (0.05, 0.5, 0.95), minimum=5)
    return panel(
        "answers", "Answers, spread", "", ends, value=plain(now, 3), text=f"median{spread(band, False)}",
        series=[line("median", q[:, 1], "live")], n=n, zero=False,
        bands=[{"name": "p5–p95", "lo": listed(q[:, 0]), "hi": listed(q[:, 2])}],
    )  # fmt: skip


def _band(usual: tuple[float, float] | None, steps: int) -> dict[str, Any] | None:
    return None if usual is None else {"lo": [plain(usual[0])] * steps, "hi": [plain(usual[1])] * steps}


def scores(view: View) -> Panel | None:
    """How the scores are spread."""
    if view.known is None or SCORE not in view.known.reference.bins.columns:
        return None
    bins = view.known.reference.bins.columns[SCORE]
    assert isinstance(bins, NumericBins)
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, counts, sums = view.column_over_time(SCORE, step)
    q = response_quantiles(bins, counts, sums, (0.05, 0.25, 0.5, 0.75, 0.95), minimum=10)
    key = median(SCORE, bins)
    return panel(
        "scores", "Score, spread", "", ends, value=plain(latest(view, key), 3),
        text=f"median{spread(usual_range(view, key), False)}", series=[line("median", q[:, 2], "live")],
        bands=[
            {"name": "p5–p95", "lo": listed(q[:, 0]), "hi": listed(q[:, 4])},
            {"name": "p25–p75", "lo": listed(q[:, 1]), "hi": listed(q[:, 3])},
        ],
        n=counts.sum(axis=1).tolist(),
    )  # fmt: skip


def checks(view: View, alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """Shares that should be near nothing, each with the state of its alerts."""
    start, end = view.span.start, view.span.end
    urgent = firing(alerts)

    def raised(column: str, signal: str) -> str:
        found = status([a for a in urgent if (a.condition.column, a.condition.signal) == (column, signal)])
        return calm if found == OK else found

    calm = NO_DATA if view.silent else OK
    empty = view.counter(naming.EMPTY, start, end)
    state = status([a for a in urgent if a.condition.rule == naming.EMPTY_HIGH.name])
    found = [_check("Empty responses", empty, view.rows, calm if state == OK else state)]
    known = view.known
    if known is not None and view.columns is not None:
        counts = view.counted(start).counts
        for name, title in ((SCORE, "Score"), (PREDICTION, "Answer")):
            if name in known.reference.bins.columns:
                bins = known.reference.bins.columns[name]
                column = counts[known.reference.bins.slice(name)]
                out = int(column[bins.outside].sum() + column[bins.invalid])
                rows = int(column.sum())
                found.append(_check(f"{title} out of range", out, rows, raised(name, "O")))
                if name == PREDICTION and bins.unseen is not None:
                    new = int(column[bins.unseen])
                    found.append(_check("Answer never seen before", new, rows, raised(name, "U")))
    rules = {
        s.label("rule") or "": int(view.tiles.window(s, start, end).counts[0])
        for s in view.series(naming.OVERRIDDEN)
    }
    found.append(
        _check(
            "Changed by post-processing",
            sum(rules.values()),
            view.rows,
            calm,
            note=", ".join(sorted(rules)) or None,
        )
    )
    return found


def _check(name: str, part: int, whole: int, state: str, note: str | None = None) -> dict[str, Any]:
    value = float(empty_share(np.array(part), np.array(whole)))
    return {
        "name": name, "status": NO_DATA if np.isnan(value) and state == OK else state, "note": note,
        "text": "too few rows" if np.isnan(value) else sentences.share(value),
    }  # fmt: skip


def _limits(act: float | None) -> dict[str, Any] | None:
    return None if act is None else {"watch": None, "act": act, "worse": "high"}


SERVICE: tuple[Callable[[View], Panel | None], ...] = (traffic, latency, errors, stages)
OUTPUT: tuple[Callable[[View], Panel | None], ...] = (answers, scores)
