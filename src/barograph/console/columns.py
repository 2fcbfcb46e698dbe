"""The pages of columns: live against reference, in pictures, numbers and sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from barograph import lines as meanings
from barograph import sentences
from barograph.alert import FIRING, Alert, firing, status
from barograph.bins import CategoryBins, NumericBins
from barograph.clock import iso
from barograph.console.panels import line, panel
from barograph.console.state import DAY, View, listed, plain
from barograph.drift import MEASURES, SIGNALS, ColumnReference
from barograph.glossary import GLOSSARY
from barograph.ledger import Counted, History
from barograph.limited import Limited
from barograph.naming import NO_DATA
from barograph.output import response_quantiles
from barograph.quality import faults
from barograph.quantiles import moments, quantile

CELLS_OF_MINI, CELLS_OF_CHART = 26, 72
TOP_CATEGORIES = 14
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
MOST_WHOLE = 28  # whole numbers, such as hours or weekdays, that get a cell each
_RATIO_OF_LOG = 100.0
_NOTHING = 1e-9  # of the largest magnitude: the edge beside an isolated zero is a number that differs from zero in name only
_NOTES = {"linear": "", "log": ", log scale", "symlog": ", log scale on both sides of zero"}


class Column:
    """One column of a view: its reference, and what was counted live since its alert began, or else in the span."""

    def __init__(self, view: View, name: str, alerts: Sequence[Alert]) -> None:
        assert view.known is not None and view.columns is not None
        self.view, self.name = view, name
        self.alerts = [a for a in alerts if a.condition.column == name and a.state == FIRING]
        self.role = view.known.reference.bins.roles[name]
        self.bins = view.known.reference.bins.columns[name]
        self.reference: ColumnReference = view.known.calibration.columns.references[name]
        self.began = min((a.since for a in self.alerts), default=None)
        past = self.began is None or self.began >= view.span.end
        self.start = float(view.span.start) if past or self.began is None else self.began
        found = view.counted(self.start)
        where = view.known.reference.bins.slice(name)
        self.counts, self.sums = found.counts[where], found.sums[where]

    @property
    def since(self) -> str | None:
        """When the first of its alerts began."""
        return None if self.began is None else iso(self.began)

    @property
    def status(self) -> str:
        """ok, watch or act by its alerts; learning or no_data where nothing can be said."""
        if self.alerts:
            return status(self.alerts)
        if not self.counts.sum():
            return NO_DATA
        return self.view.unjudged.status if self.view.unjudged else "ok"

    def what(self) -> str:
        """What happened to it, in a line."""
        if self.alerts:
            text = firing(self.alerts)[0].condition.text
            return text.removeprefix(f"{self.name} is ").removeprefix(f"{self.name} ")
        if not self.counts.sum():
            return "no values received"
        return self.view.unjudged.column if self.view.unjudged else "no meaningful change"


def rows(view: View, alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """A row for each column, the model's own answers too: by urgency, then by signal, then by weight in the model."""
    columns: list[Column] = []
    ratios: dict[str, float | None] = {}
    for one in (view, *view.beside):
        if one.known is None or one.columns is None:
            continue
        history, names = recent(one, DAY), list(one.known.reference.bins.columns)
        columns += [Column(one, name, alerts) for name in names]
        ratios |= {name: _worst(history, i) for i, name in enumerate(names)}
    weights = {} if view.known is None else _weights(view)
    order = {"act": 0, "watch": 1}
    columns.sort(key=lambda c: (order.get(c.status, 2), -(ratios[c.name] or 0), -(weights.get(c.name) or 0)))
    return [_row(column, ratios[column.name], weights.get(column.name)) for column in columns]


def recent(view: View, seconds: float) -> History:
    """Judged windows that end within the last `seconds`."""
    assert view.known is not None and view.bins is not None
    counted = Counted(view.version.model, view.version.version, view.bins)
    end = view.span.until
    return view.state.ledger.history(counted, end - seconds, end, len(view.known.reference.bins.columns))


def _row(column: Column, ratio: float | None, weight: float | None) -> dict[str, Any]:
    psi = float(MEASURES["psi"](column.reference, column.counts)) if column.counts.sum() else float("nan")
    return {
        "name": column.name,
        "role": column.role,
        "kind": column.bins.kind,
        "status": column.status,
        "what": column.what(),
        "since": column.since,
        "psi": plain(psi, 3),
        "ratio": plain(ratio, 3),
        "weight": plain(weight, 3),
        "mini": _mini(column),
    }


def _worst(history: History, i: int) -> float | None:
    """The largest signal / threshold of the last judged window."""
    if not len(history.starts):
        return None
    last = [r[-1, i] for r in history.ratios.values() if np.isfinite(r[-1, i])]
    return float(max(last)) if last else None


def _weights(view: View) -> dict[str, float]:
    assert view.known is not None
    weights = {name: abs(w) for name, w in view.known.reference.importance.items()}
    most = max(weights.values(), default=0.0)
    return {name: w / most for name, w in weights.items()} if most else {}


def _mini(column: Column) -> dict[str, list[float | None]]:
    picture = distribution(column, CELLS_OF_MINI)
    return {"ref": picture["reference"], "live": picture["live"]}


def distribution(column: Column, cells: int = CELLS_OF_CHART) -> dict[str, Any]:
    """Live against reference as shares of values: by category, or over cells of equal width on a linear or log axis."""
    live, reference = column.counts, column.reference.counts
    if isinstance(column.bins, CategoryBins):
        return _bars(column.bins, reference, live)
    found = _whole(column)
    if found is None:
        edges, scale = _axis(column.bins, reference, live, cells)
        shares = [_resampled(column.bins, counts, edges) for counts in (reference, live)]
    else:
        edges, shares, scale = *found, "linear"
    return {
        "kind": "numeric", "scale": scale, "edges": listed(edges, 8), "labels": None,
        "reference": listed(shares[0], 4), "live": listed(shares[1], 4), "note": f"Share of values{_NOTES[scale]}",
    }  # fmt: skip


def _whole(column: Column) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Edges around each whole number and shares of them, where both sides hold few and nothing else."""
    pairs = ((column.reference.counts, column.reference.sums), (column.counts, column.sums))
    sides = []
    for counts, sums in pairs:
        if sums is None:
            return None
        held = counts[: column.bins.values]
        with np.errstate(over="ignore"):
            values = sums[: column.bins.values][held > 0] / held[held > 0]
        near = np.round(values)
        if not np.all(np.abs(values - near) <= 1e-9 * np.maximum(np.abs(near), 1)):
            return None
        sides.append((near, held[held > 0]))
    every = np.concatenate([values for values, _ in sides])
    if not len(every) or not np.ptp(every) < MOST_WHOLE:
        return None
    edges = np.arange(every.min(), every.max() + 2) - 0.5
    shares = [np.histogram(values, edges, weights=n)[0] / max(n.sum(), 1) for values, n in sides]
    return edges, shares


def _bars(bins: CategoryBins, reference: np.ndarray, live: np.ndarray) -> dict[str, Any]:
    shares = [counts / max(counts.sum(), 1) for counts in (reference, live)]
    largest = np.maximum(*shares)
    shown = [slot for slot in np.argsort(-largest, kind="stable").tolist() if largest[slot] > 0][
        :TOP_CATEGORIES
    ]
    labels = bins.labels()
    rest = [1 - sum(float(s[slot]) for slot in shown) for s in shares]
    names = [labels[slot][:40] for slot in shown]
    columns = [[float(s[slot]) for slot in shown] for s in shares]
    if max(rest) > 1e-9:
        names.append("all others")
        columns = [[*values, max(r, 0.0)] for values, r in zip(columns, rest, strict=True)]
    return {
        "kind": "categorical", "scale": "linear", "edges": None, "labels": names,
        "reference": listed(np.array(columns[0]), 4), "live": listed(np.array(columns[1]), 4), "note": "Share of rows",
    }  # fmt: skip


def _axis(bins: NumericBins, reference: np.ndarray, live: np.ndarray, cells: int) -> tuple[np.ndarray, str]:
    """Edges of a chart that shows all but the outermost half per cent of both, and how they are spaced."""
    ends = np.array([0.005, 0.995])
    usual = quantile(bins, reference, ends)
    low, high = float(usual[0]), float(usual[1])
    if live[: bins.values].sum():
        spread = quantile(bins, live, ends)
        low, high = float(np.fmin(low, spread[0])), float(np.fmax(high, spread[1]))
    if not np.isfinite(low) or not np.isfinite(high):
        low, high = 0.0, 1.0
    low, high = _zeroed(low, high)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    scale = _scale(low, high, usual)
    if scale == "log":
        return np.geomspace(low, high, cells + 1), scale
    if scale == "symlog":
        knee = max(_knee(bins, reference), _NOTHING * (high - low))
        return knee * np.sinh(np.linspace(np.arcsinh(low / knee), np.arcsinh(high / knee), cells + 1)), scale
    return np.linspace(low, high, cells + 1), scale


def _zeroed(low: float, high: float) -> tuple[float, float]:
    """What differs from zero by next to nothing as zero."""
    nothing = _NOTHING * max(abs(low), abs(high))
    return (0.0 if abs(low) < nothing else low), (0.0 if abs(high) < nothing else high)


def _scale(low: float, high: float, usual: np.ndarray) -> str:
    """The scale that keeps the reference, from usual[0] to usual[-1], from becoming a needle between `low` and `high`."""
    if low > 0:
        return "log" if high > low * _RATIO_OF_LOG else "linear"
    width = float(usual[-1] - usual[0])
    return "symlog" if np.isfinite(width) and high - low > _RATIO_OF_LOG * max(width, 0.0) else "linear"


def _knee(bins: NumericBins, reference: np.ndarray) -> float:
    """Where a symmetric log axis turns linear: about the reference's median, at least a tenth of its middle half."""
    low, middle, high = quantile(bins, reference, np.array([0.25, 0.5, 0.75]))
    spread, size = float(high - low), abs(float(middle))
    if spread > _NOTHING * max(abs(low), abs(high)):
        return float(np.clip(size, spread / 10, spread))
    return size


def _resampled(bins: NumericBins, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Shares of values in the cells between `edges`: each bin's values spread evenly over what of it is in reach."""
    values = counts[: bins.values].astype(float)
    total = values.sum()
    if not total:
        return np.zeros(len(edges) - 1)
    left = np.concatenate([[min(edges[0], bins.edges[0])], bins.edges])
    right = np.concatenate([bins.edges, [max(edges[-1], bins.edges[-1])]])
    left, right = (np.clip(side, edges[0], edges[-1]) for side in (left, right))
    cumulative = np.concatenate([[0.0], np.cumsum(values)])
    points = np.concatenate([left[:1], right])
    points = np.maximum.accumulate(
        points + np.arange(len(points)) * 1e-12 * max(abs(edges[-1] - edges[0]), 1e-300)
    )
    return np.asarray(np.diff(np.interp(edges, points, cumulative)) / total)


def page(view: View, name: str, alerts: Sequence[Alert]) -> dict[str, Any]:
    """All that the page of a column shows; KeyError where there is no such column."""
    whole = view
    view = next((v for v in (view, *view.beside) if v.known and name in v.known.reference.bins.columns), view)
    if view.known is None or name not in view.known.reference.bins.columns:
        raise KeyError(name)
    column = Column(view, name, alerts)
    history = recent(view, max(view.span.end - view.span.start, 2 * DAY))
    i = list(view.known.reference.bins.columns).index(name)
    return {
        "name": name,
        "model": view.version.model,
        "version": view.version.version,
        "role": column.role,
        "kind": column.bins.kind,
        "unit": None,
        "description": _description(column),
        "status": column.status,
        "headline": _headline(column),
        "lede": _lede(column),
        "since": column.since,
        "n": {"reference": int(column.reference.counts.sum()), "live": int(column.counts.sum())},
        "columns": rows(whole, alerts),
        "distribution": distribution(column),
        "evidence": evidence(column),
        "comparison": comparison(column),
        "values": values(column),
        "signals": signals(column, history, i),
        "measures": measures(column),
    }


def _headline(column: Column) -> str:
    if column.alerts:
        return firing(column.alerts)[0].condition.text
    if not column.counts.sum():
        return f"{column.name} received no values"
    unjudged = column.view.unjudged
    return f"{column.name} {unjudged.column if unjudged else 'is as usual'}"


def _description(column: Column) -> str:
    """What kind of column it is, and how much it weighs in the model."""
    view = column.view
    kinds = {
        "score": "The model's score",
        "prediction": "The model's answer",
        "heuristic": "A quality heuristic",
    }
    kind = kinds.get(column.role)
    if kind is not None:
        return f"{kind}."
    kind = "Numeric input" if isinstance(column.bins, NumericBins) else "Categorical input"
    order = sorted(_weights(view).items(), key=lambda item: -item[1])
    rank = next((i for i, (name, _) in enumerate(order) if name == column.name), None)
    places = ("the heaviest", "the second heaviest", "the third heaviest")
    if rank is not None:
        place = places[rank] if rank < 3 else f"number {rank + 1} by weight"
        kind += f", {place} of {len(order)}"
    return f"{kind}."


def _lede(column: Column) -> str:
    """Since when, and what it is compared with."""
    assert column.view.known is not None
    rows = f"compared with {column.view.known.reference.baseline.rows:,} rows of reference."
    return f"Since {column.since}, {rows}" if column.since else f"{rows[0].upper()}{rows[1:]}"


def evidence(column: Column) -> list[dict[str, str]]:
    """What speaks for the headline, each with its figure; empty where the column is as usual."""
    if not column.alerts:
        return []
    found = [{"text": "Began", "value": column.since or ""}]
    if isinstance(column.bins, NumericBins) and column.counts[: column.bins.values].sum():
        live, usual = (
            quantile(column.bins, c, np.array([0.25, 0.5, 0.75]))
            for c in (column.counts, column.reference.counts)
        )
        ratios = sentences.quotients(live, usual)
        if len(ratios) == len(live):
            text = ", ".join(
                f"{sentences.number(r)} at p{q}" for q, r in zip((25, 50, 75), ratios, strict=True)
            )
            found.append({"text": "Live divided by reference", "value": text})
    psi = float(MEASURES["psi"](column.reference, column.counts))
    found.append({"text": "Distance from the reference", "value": f"PSI {sentences.number(psi)}"})
    here, there = (faults(column.bins, c, minimum=1) for c in (column.counts, column.reference.counts))
    found.append(
        {
            "text": "Missing",
            "value": f"{sentences.share(float(here.missing))}, in the reference {sentences.share(float(there.missing))}",
        }
    )
    if isinstance(column.bins, NumericBins):
        reach = f"{sentences.number(column.bins.low)} to {sentences.number(column.bins.high)}"
        found.append({"text": f"Outside {reach}", "value": sentences.share(float(here.out_of_range))})
    seen = {SIGNALS[a.condition.signal].title.lower() for a in column.alerts if a.condition.signal in SIGNALS}
    found.append({"text": "Signals past their limit", "value": ", ".join(sorted(seen))})
    return found


def comparison(column: Column) -> list[dict[str, Any]]:
    """Figures of the reference beside the live ones."""
    here, there = (faults(column.bins, c, minimum=1) for c in (column.counts, column.reference.counts))
    table = []
    if isinstance(column.bins, NumericBins):
        live, usual = (
            quantile(column.bins, c, QUANTILES, s)
            for c, s in ((column.counts, column.sums), (column.reference.counts, column.reference.sums))
        )
        means = [
            moments(column.bins, c, s)[0]
            for c, s in ((column.counts, column.sums), (column.reference.counts, column.reference.sums))
        ]
        figures = [
            ("p5", usual[0], live[0]),
            ("Median", usual[2], live[2]),
            ("Mean", means[1], means[0]),
            ("p95", usual[4], live[4]),
        ]
        table += [_compared(name, float(a), float(b), "value", bool(column.alerts)) for name, a, b in figures]
        table.append(
            _compared(
                "Out of range",
                float(there.out_of_range),
                float(here.out_of_range),
                "share",
                bool(column.alerts),
            )
        )
    elif here.unseen is not None and there.unseen is not None:
        table.append(
            _compared("Unseen", float(there.unseen), float(here.unseen), "share", bool(column.alerts))
        )
    table.append(
        _compared("Missing", float(there.missing), float(here.missing), "share", bool(column.alerts))
    )
    return table


def _compared(name: str, reference: float, live: float, unit: str, alarmed: bool) -> dict[str, Any]:
    ratio = live / reference if reference and np.isfinite(live) else None
    far = unit == "share" and abs(live - reference) > 0.05
    far = far or (unit == "value" and ratio is not None and not 0.5 < ratio < 2)
    return {
        "name": name, "reference": plain(reference, 4), "live": plain(live, 4), "ratio": plain(ratio, 4), "unit": unit,
        "status": "act" if alarmed and far else "ok",
    }  # fmt: skip


def values(column: Column) -> dict[str, Any]:
    """A column over time: quantiles of a number, shares of categories."""
    view = column.view
    step = view.span.step(view.tiles.finest(view.span.start), view.rate)
    ends, counts, sums = view.column_over_time(column.name, step)
    n = counts.sum(axis=1)
    if isinstance(column.bins, CategoryBins):
        labels = column.bins.labels()
        top = np.argsort(-(counts.sum(axis=0) + column.reference.counts), kind="stable")[:3]
        lines = [
            line(labels[k], np.where(n >= 10, counts[:, k] / np.maximum(n, 1), np.nan)) for k in top.tolist()
        ]
        return panel("values", "Shares over time", "share", ends, series=lines, n=n.tolist())
    q = response_quantiles(column.bins, counts, sums, (0.1, 0.5, 0.9), minimum=5)
    usual = quantile(column.bins, column.reference.counts, np.array([0.1, 0.5, 0.9]), column.reference.sums)
    reach = np.concatenate([q[:, [0, 2]].ravel(), usual[[0, 2]]])
    reach = reach[np.isfinite(reach)]
    low, high = _zeroed(float(reach.min()), float(reach.max())) if np.isfinite(q).any() else (0.0, 0.0)
    return panel(
        "values", "Values over time", "", ends, series=[line("median", q[:, 1], "live")],
        bands=[{"name": "p10–p90", "lo": listed(q[:, 0]), "hi": listed(q[:, 2])}], n=n.tolist(),
        scale=_scale(low, high, usual) if high > low else "linear", zero=False, text="p10 to p90 and median",
        reference={"lo": plain(usual[0]), "mid": plain(usual[1]), "hi": plain(usual[2])},
    )  # fmt: skip


def signals(column: Column, history: History, i: int) -> list[dict[str, Any]]:
    """Each signal of the column in its judged windows, against its threshold; the last verdict may lie before the span."""
    known = column.view.known
    limits = column.view.state.config.model(column.view.version.model).limits
    owned = None if known is None else Limited.of(known.reference, limits)
    shown = history.ends > column.view.span.start
    found = []
    for signal, value in history.values.items():
        y, threshold = value[:, i], history.thresholds[signal][:, i]
        if not np.isfinite(y).any():
            continue
        last = int(np.flatnonzero(np.isfinite(y))[-1])
        owner = owned is not None and owned.by_owner(column.name, signal)
        n = int(history.rows[last, i])
        title, unit = SIGNALS[signal].title, SIGNALS[signal].unit
        lines = [line(title, y[shown]), line("limit", threshold[shown], "reference")]
        found.append(
            {
                "signal": signal,
                "name": title,
                "unit": unit,
                "value": plain(y[last], 3),
                "threshold": plain(threshold[last], 3),
                "ratio": plain(y[last] / threshold[last], 3),
                "set_by": "owner" if owner else None,
                "status": status([a for a in column.alerts if a.condition.signal == signal]),
                "text": f"{_meaning(signal)} {_said(column, signal, float(threshold[last]), n, owner)}",
                "panel": panel(
                    f"signal-{signal}",
                    title,
                    unit,
                    history.ends[shown],
                    value=plain(y[last], 3),
                    series=lines,
                ),
            }
        )
    return found


def _meaning(signal: str) -> str:
    """What the glossary says of a signal, without its title, which stands above.

    >>> _meaning("U")
    'The share of values that the reference never had. For closed sets of categories only.'
    """
    _, _, meaning = GLOSSARY[f"signal {signal}"].partition(": ")
    return meaning[0].upper() + meaning[1:]


def _said(column: Column, signal: str, threshold: float, n: int, owner: bool) -> str:
    """What the line means, by the calibration that is in force."""
    if owner:
        share = SIGNALS[signal].unit == "share"
        return f"The limit of {sentences.share(threshold) if share else sentences.number(threshold)} is set by the owner."
    calibration = column.view.calibration
    assert calibration is not None
    return f"{meanings.said(calibration, column.name, signal, n)}."


def measures(column: Column) -> list[dict[str, Any]]:
    """The classical measures of drift, over the same counts."""
    if not column.counts.sum():
        return []
    found = []
    for measure in MEASURES.values():
        value = float(measure(column.reference, column.counts, column.sums))
        if np.isfinite(value):
            found.append(
                {
                    "name": measure.title,
                    "value": plain(value, 3),
                    "text": measure.definition.split("\n\n")[0].split("\n")[0],
                }
            )
    return found
