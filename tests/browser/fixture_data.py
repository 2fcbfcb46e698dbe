"""TEST FIXTURE: invented documents in the shape of the console's API, for the browser tests only.

Nothing here is measured and nothing here ships: it lets the pages be tested in every state without an evaluator.
Series are functions of the time, so that every range of the same moment tells the same story.
"""

import itertools
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

NOW = int(datetime(2013, 10, 14, 18, 0, tzinfo=UTC).timestamp())
SPANS = {
    "1h": (3600, 60),
    "6h": (21600, 120),
    "24h": (86400, 300),
    "7d": (604800, 1800),
    "30d": (2592000, 7200),
}

ONSET = NOW - 73 * 60  # when the late share left its band
CHANGE = NOW - 79 * 60  # when the upstream service was deployed
GAP = (NOW - int(4.35 * 3600), NOW - int(4.1 * 3600))

Json = dict[str, Any]
Curve = Callable[[int], float]


def iso(t: float) -> str:
    return datetime.fromtimestamp(int(t), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def noise(seed: int, t: int) -> float:
    """A repeatable number of about normal distribution, mean 0 and deviation 1."""
    total = 0.0
    for k in range(4):
        x = math.sin((t // 60) * 12.9898 + seed * 78.233 + k * 37.719) * 43758.5453
        total += x - math.floor(x)
    return (total - 2) * 1.7


def season(t: int) -> float:
    """Busy afternoons, quiet nights: -1 to 1."""
    return math.sin((t % 86400 - 8 * 3600) / 86400 * 2 * math.pi)


def ramp(t: int) -> float:
    return 0.0 if t < CHANGE else min(1.0, (t - CHANGE) / 840)


class Window:
    """The times of one document."""

    def __init__(self, name: str, end: int) -> None:
        self.name = name if name in SPANS else "24h"
        span, self.step = SPANS[self.name]
        self.end = end
        self.start = end - span
        self.t = list(range(self.start - self.start % self.step + self.step, end + 1, self.step))

    def curve(self, f: Curve) -> list[float | None]:
        return [None if GAP[0] < t < GAP[1] else round(f(t), 6) for t in self.t]

    def json(self) -> Json:
        return {"name": self.name, "from": iso(self.start), "to": iso(self.end)}


def base(window: Window, now: int) -> Json:
    return {
        "now": iso(now),
        "updated": iso(now - 20),
        "range": window.json(),
        "poll_seconds": 5,
        "speed": 60,
        "incidents": 1,
    }


def panel(window: Window, id: str, name: str, unit: str, text: str, f: Curve, **more: Any) -> Json:
    y = window.curve(f)
    usual = more.pop("usual", None)
    shape = usual if callable(usual) else (lambda t: usual) if usual else None
    bounds = [shape(t) for t in window.t] if shape else None
    return {
        "id": id, "name": name, "unit": unit, "value": y[-1] if y else None, "text": text, "status": "ok", "t": window.t,
        "series": [{"name": name, "y": y, "role": "main"}], "bands": [],
        "usual": {"lo": [b[0] for b in bounds], "hi": [b[1] for b in bounds]} if bounds else None,
        "limits": None, "n": [int(400 + 120 * season(t)) * window.step // 300 for t in window.t],
        "scale": "linear", "zero": True, "note": None,
    } | more  # fmt: skip


# The fleet ---------------------------------------------------------------------------------------------------------

FLEET: list[tuple[Any, ...]] = [
    # name, version, status, reason, level, amplitude, noise, usual, rate, p95, errors, output, empty, outcomes, sub, drifted, columns
    ("flight-delay", "3", "act", "Late share 2.1 times the usual level since 16:47. Main suspect: `dep_delay` 60 times larger", 0.31, 0.02, 0.012, (0.27, 0.35), 7.1, 0.038, 0.0002, "66 % late", 0.0, "No labels yet", "first expected 15 Oct", 1, 17),
    ("search-rerank", "31", "watch", "Empty results rising for 5 h. Filter on_sale removes 4 in 10 candidates", 0.009, 0.001, 0.0009, (0.006, 0.013), 2140, 0.061, 0.0011, "3.1 % empty", 0.031, "NDCG@10 0.412", "96 % of labels", 2, 41),
    ("loan-approval", "3.1", "watch", "Estimated precision below target for 6 days. Labels confirm up to 8 Oct", 0.31, 0.02, 0.008, (0.27, 0.35), 3.4, 0.112, 0.0, "31 % approved", 0.0, "Precision 0.78 est.", "62 % of labels", 3, 54),
    ("churn-weekly", "5", "no_data", "Batch is 2 h 10 min late. Expected daily at 15:50", 0.118, 0.003, 0.002, (0.11, 0.125), None, None, None, "last 11.8 %", None, "AUC 0.84", "100 % of labels", 0, 33),
    ("credit-limit", "2.4", "ok", "", 2400, 90, 40, (2150, 2650), 8.1, 0.047, 0.0, "€ 2,430 median", 0.002, "MAE € 212", "88 % of labels", 0, 37),
    ("delivery-eta", "18", "ok", "", 41, 6, 1.1, (32, 50), 96, 0.022, 0.0001, "41 min median", 0.0, "MAE 6.2 min", "100 % of labels", 1, 22),
    ("home-ranking", "12", "ok", "", 2.1, 0.12, 0.06, (1.7, 2.5), 5830, 0.044, 0.0003, "rank 2.1 favourite", 0.001, "CTR 7.4 %", "100 % of labels", 0, 63),
    ("image-moderation", "9", "ok", "", 0.006, 0.0005, 0.0004, (0.004, 0.008), 188, 0.21, 0.0005, "0.6 % flagged", 0.0, "Recall 0.93", "41 % of labels", 0, 12),
    ("support-intent", "4.0", "ok", "", 0.86, 0.01, 0.006, (0.83, 0.89), 14, 0.083, 0.0, "0.86 confidence", 0.009, "Accuracy 0.91", "74 % of labels", 1, 8),
    ("price-elasticity", "1", "learning", "Learning what is usual: 3,120 of 10,000 responses", 1.2, 0.1, 0.08, None, 0.9, 0.031, 0.0, "1.2 median", 0.0, "No labels yet", "first expected 4 Nov", None, 19),
]  # fmt: skip

STATUS = {row[0]: row[2] for row in FLEET}


def spark(row: tuple[Any, ...], window: Window, number: int) -> Json:
    name, status, level, amplitude, spread, usual = row[0], row[2], row[4], row[5], row[6], row[7]
    step = max(1, len(window.t) // 96)
    times = window.t[::step]
    y: list[float | None] = []
    ribbon = []
    for t in times:
        value: float | None = level + amplitude * season(t) + spread * 0.6 * noise(number, t)
        state = "ok"
        if name == "flight-delay":
            value = (value or 0) + 0.34 * ramp(t)
            state = "act" if t >= ONSET else "ok"
        if name == "search-rerank" and t > window.end - 18000:
            value = (value or 0) + 0.022 * (t - window.end + 18000) / 18000
            state = "watch" if t > window.end - 12600 else "ok"
        if name == "churn-weekly" and t > window.end - 21600:
            value, state = None, "no_data" if t > window.end - 7800 else "ok"
        if name == "price-elasticity" and t < window.start + 0.4 * (window.end - window.start):
            value = None
        if name == "loan-approval":
            state = "watch" if t > window.end - 5 * 86400 and window.name == "30d" else "ok"
        y.append(None if value is None else round(value, 5))
        ribbon.append("learning" if status == "learning" else state)
    return {"t": times, "y": y, "usual": list(usual) if usual else None, "ribbon": ribbon}


def fleet_model(row: tuple[Any, ...], window: Window, number: int) -> Json:
    name, version, status, reason = row[:4]
    rate, p95, errors, text, empty, outcome, sub, drifted, columns = row[8:]
    output = {"flight-delay": "act", "search-rerank": "watch", "churn-weekly": "no_data"}.get(name, "ok")
    outcomes = {"loan-approval": "watch", "flight-delay": "no_data", "price-elasticity": "no_data"}.get(
        name, "ok"
    )
    return {
        "name": name, "version": version, "status": status, "reason": reason, "owner": "ml-platform", "team": None,
        "since": iso(ONSET) if status == "act" else None, "predictions": int((rate or 0) * 86400),
        "service": {"rate": rate, "p95": p95, "errors": errors, "status": "ok" if rate else "no_data", "over": []},
        "output": {"text": text, "value": row[4], "empty": empty, "status": output,
                   "over": ["value", "empty"] if name == "search-rerank" else ["value"]},
        "outcomes": {"text": outcome, "sub": sub, "status": outcomes},
        "causes": {"drifted": drifted, "columns": columns, "status": "act" if name == "flight-delay" else "ok"},
        "spark": spark(row, window, number),
    }  # fmt: skip


def fleet(window: Window, now: int) -> Json:
    hour = 3600
    minor = [
        {
            "t": iso(now - (k + 0.7) * hour),
            "until": None,
            "kind": "label",
            "model": None,
            "label": "",
            "status": None,
        }
        for k in range(0, 23, 2)
    ]
    events = [
        {"t": iso(ONSET), "until": None, "kind": "incident", "model": "flight-delay", "label": "Late share 2.1 times usual", "status": "act"},
        {"t": iso(now - 3.5 * hour), "until": None, "kind": "incident", "model": "search-rerank", "label": "Empty results rising", "status": "watch"},
        {"t": iso(CHANGE), "until": None, "kind": "deployment", "model": None, "label": "feature-store 4.12", "status": "act"},
        {"t": iso(now - 8.7 * hour), "until": None, "kind": "deployment", "model": "search-rerank", "label": "search-rerank v31", "status": None},
        {"t": iso(now - 18.4 * hour), "until": None, "kind": "deployment", "model": "home-ranking", "label": "home-ranking v12", "status": None},
        {"t": iso(now - 6 * hour), "until": None, "kind": "label", "model": "search-rerank", "label": "1,204 clicks", "status": None},
        {"t": iso(now - 14 * hour), "until": None, "kind": "label", "model": "loan-approval", "label": "388 repayments", "status": None},
        *minor,
    ]  # fmt: skip
    return base(window, now) | {
        "status": "act",
        "headline": "One model needs action, two are worth a look",
        "lede": "flight-delay calls 2.1 times as many flights late as usual since 16:47 UTC. "
        "Its service is healthy, so customers notice and uptime checks do not.",
        "models": [fleet_model(row, window, number) for number, row in enumerate(FLEET)],
        "events": events,
        "targets": [{"url": "http://127.0.0.1:8701", "up": True, "error": None, "lag": 1.0}],
    }


def calm_fleet(window: Window, now: int) -> Json:
    document = fleet(window, now)
    document["models"] = [m for m in document["models"] if m["status"] == "ok"]
    document["events"] = []
    return document | {
        "status": "ok", "headline": "Nothing to do", "incidents": 0,
        "lede": "38 checks passed in the last hour. The last incident ended 12 days ago.",
    }  # fmt: skip


# Columns of flight-delay -------------------------------------------------------------------------------------------


def bell(center: float, width: float, size: int = 26, tail: float = 0.0) -> list[float]:
    raw = [
        math.exp(-((k - center) ** 2) / (2 * width**2)) + tail * math.exp(-abs(k - center) / 6)
        for k in range(size)
    ]
    total = sum(raw)
    return [round(v / total, 5) for v in raw]


COLUMNS: list[tuple[Any, ...]] = [
    # name, kind, unit, status, what, since, psi, ratio, weight, mini reference, mini live
    ("dep_delay", "numeric", "minutes", "act", "Looks like minutes → seconds (×60)", CHANGE + 60, 11.3, 38.0, 0.62, bell(6, 2.2), bell(19, 3.4)),
    ("wind_gust", "numeric", "miles/h", "watch", "Missing 12 % (usual 0.3 %)", NOW - 26 * 3600, 0.31, 1.6, 0.04, bell(8, 4), bell(6, 4)),
    ("dest", "categorical", None, "ok", "ATL share 5.1 → 6.8 %", NOW - 3 * 86400, 0.06, 0.7, 0.21, bell(2, 5), bell(2.4, 5)),
    ("sched_dep_minute", "numeric", "minutes", "ok", "", None, 0.02, 0.4, 0.18, bell(13, 7), bell(13.2, 7)),
    ("carrier", "categorical", None, "ok", "", None, 0.02, 0.4, 0.14, bell(1, 4), bell(1.1, 4)),
    ("distance", "numeric", "miles", "ok", "", None, 0.02, 0.3, 0.12, bell(9, 4), bell(9.3, 4)),
    ("origin", "categorical", None, "ok", "", None, 0.01, 0.3, 0.1, bell(1, 1, 3), bell(1.05, 1, 3)),
    ("temp", "numeric", "°F", "ok", "Follows the season", None, 0.09, 0.8, 0.09, bell(15, 5), bell(12, 4)),
    ("wind_speed", "numeric", "miles/h", "ok", "", None, 0.02, 0.4, 0.08, bell(7, 4), bell(7.1, 4)),
    ("visib", "numeric", "miles", "ok", "", None, 0.01, 0.2, 0.08, bell(24, 1.5), bell(24, 1.6)),
    ("precip", "numeric", "inches", "ok", "", None, 0.01, 0.2, 0.07, bell(0, 1), bell(0, 1.1)),
    ("pressure", "numeric", "mbar", "ok", "", None, 0.03, 0.5, 0.05, bell(13, 4), bell(13.8, 4)),
    ("humid", "numeric", "%", "ok", "", None, 0.03, 0.5, 0.05, bell(12, 6), bell(12.5, 6)),
    ("dewp", "numeric", "°F", "ok", "", None, 0.05, 0.6, 0.04, bell(14, 5), bell(12.6, 5)),
    ("hour", "numeric", None, "ok", "Follows the clock", None, 0.2, 0.4, 0.04, bell(12, 6), bell(17, 3)),
    ("month", "numeric", None, "ok", "", None, 0.0, 0.1, 0.03, bell(12, 6, 12), bell(12, 6, 12)),
    ("tailnum", "categorical", None, "no_data", "Not tested: open set of categories", None, None, None, 0.01, bell(1, 0.5), bell(1, 0.5)),
]  # fmt: skip


def column_row(row: tuple[Any, ...]) -> Json:
    name, kind, _, status, what, since, psi, ratio, weight, ref, live = row
    return {
        "name": name, "role": "feature", "kind": kind, "status": status, "what": what or "no meaningful change",
        "since": iso(since) if since else None, "psi": psi, "ratio": ratio, "weight": weight, "mini": {"ref": ref, "live": live},
    }  # fmt: skip


# Models ------------------------------------------------------------------------------------------------------------


def model_events(now: int) -> list[Json]:
    hour = 3600
    ticks = [
        {
            "t": iso(now - (k * 20 + 9) * 60),
            "until": None,
            "kind": "label",
            "model": "flight-delay",
            "label": "",
            "status": None,
        }
        for k in range(18)
    ]
    return [
        {"t": iso(ONSET), "until": None, "kind": "incident", "model": "flight-delay", "label": "Late share 2.1× usual", "status": "act"},
        {"t": iso(CHANGE), "until": None, "kind": "deployment", "model": "flight-delay", "label": "feature-store 4.12", "status": "act"},
        {"t": iso(now - 4.6 * hour), "until": None, "kind": "change", "model": "flight-delay", "label": "v3 to 100 %", "status": None},
        {"t": iso(now - 3 * hour), "until": None, "kind": "label", "model": "flight-delay", "label": "1,204 labels for 4–13 Oct", "status": None},
        *ticks,
    ]  # fmt: skip


def flight_delay(window: Window, now: int, version: str) -> Json:
    late: Curve = lambda t: 0.31 + 0.02 * season(t) + 0.011 * noise(3, t) + 0.34 * ramp(t)
    median: Curve = lambda t: 0.34 + 0.006 * noise(4, t) + 0.3 * ramp(t)
    spread = [(0.45, 1.9), (0.72, 1.35)]
    bands = [
        {"name": name, "lo": [None if v is None else v * lo for v in window.curve(median)],
         "hi": [None if v is None else min(0.99, v * hi) for v in window.curve(median)]}
        for name, (lo, hi) in zip(("p5–p95", "p25–p75"), spread, strict=True)
    ]  # fmt: skip
    rate_usual: Curve = lambda t: (5.7 + 0.4 * season(t), 8.1 + 0.5 * season(t))  # type: ignore[return-value,assignment]
    service = [
        panel(window, "rate", "Traffic", "requests/s", "usual 5.7–8.1", lambda t: 6.9 + 0.5 * season(t) + 0.2 * noise(1, t), usual=rate_usual),
        panel(window, "p95", "Latency p95", "seconds", "usual 33–45 ms, act above 80 ms", lambda t: 0.038 + 0.0016 * noise(2, t),
              usual=(0.033, 0.045), limits={"watch": 0.06, "act": 0.08, "worse": "high"}),
        panel(window, "errors", "Errors", "share", "act above 1 %", lambda t: max(0.0, 0.0002 + 0.0002 * noise(5, t)), usual=(0, 0.0008),
              limits={"watch": 0.005, "act": 0.01, "worse": "high"}),
        panel(window, "in_progress", "Requests in progress", "count", "usual 0–3", lambda t: max(0, round(1.1 + 0.8 * noise(6, t))), usual=(0, 3)),
    ]  # fmt: skip
    output = [
        panel(window, "late", "Late", "share", "of flights, usual 27–35 %, act above 45 %", late, status="act", usual=(0.27, 0.35),
              limits={"watch": 0.4, "act": 0.45, "worse": "high"}),
        panel(window, "score", "Score, spread", "", "median, usual 0.31–0.37", median, bands=bands, zero=True,
              series=[{"name": "median", "y": window.curve(median), "role": "main"}], status="ok"),
    ]  # fmt: skip
    return base(window, now) | {
        "name": "flight-delay", "version": version, "versions": ["3", "2"], "status": "act",
        "headline": "flight-delay calls 2.1 times as many flights late as usual",
        "lede": "Traffic, latency and errors are normal. The scores moved up within five minutes of a change in one input: "
        "`dep_delay` is 60 times larger.",
        "since": iso(ONSET), "owner": "flights-ml", "runbook": "https://runbooks.example/flight-delay/late-share", "incident": "INC-214",
        "reference": {"id": "9f2c01ab", "rows": 52011, "from": "2013-08-01T00:00:00Z", "to": "2013-09-15T00:00:00Z",
                      "text": "1 Aug to 15 Sep 2013, 52,011 labelled flights"},
        "events": model_events(now), "gaps": [{"from": GAP[0], "to": GAP[1]}],
        "service": {"status": "ok", "summary": "Normal", "panels": service},
        "output": {"status": "act", "summary": "2 of 6 checks failing", "panels": output, "checks": [
            {"name": "Empty answers", "status": "ok", "text": "0 %", "note": None},
            {"name": "Score outside 0–1", "status": "ok", "text": "0 %", "note": None},
            {"name": "On-time flights called late", "status": "act", "text": "41 %", "note": "usual 12 %"},
            {"name": "Same input, same score", "status": "ok", "text": "100 %", "note": None},
            {"name": "Changed by a rule after the model", "status": "watch", "text": "2.6 %", "note": "usual 0.4–0.9 %"},
        ]},
        "outcomes": {"status": "no_data", "summary": "Labels still arriving", "judged": False,
                     "panels": [received_panel(window, 0.004)],
                     "state": {"kind": "no_labels", "title": "Labels still arriving",
                               "text": "None of 42,117 predictions of the last 6 h has a label yet. A longer range shows those that have.",
                               "code": "monitor.feedback(request_id, label)"}},
        "causes": {"status": "act", "summary": "1 of 17 features drifted", "columns": [column_row(row) for row in COLUMNS]},
    }  # fmt: skip


def plain_model(name: str, window: Window, now: int) -> Json:
    """A model of the fleet that is not the incident's: also in the states without data."""
    row = next(row for row in FLEET if row[0] == name)
    status = row[2]
    end = window.end - 7800
    dead = status == "no_data"

    def alive(f: Curve) -> Curve:
        return f

    service = [
        panel(window, "rate", "Traffic", "requests/s", "usual 7–9", alive(lambda t: 8.1 + 0.3 * noise(1, t)), usual=(7, 9)),
        panel(window, "p95", "Latency p95", "seconds", "act above 200 ms", lambda t: 0.047 + 0.002 * noise(2, t), usual=(0.04, 0.055),
              limits={"watch": None, "act": 0.2, "worse": "high"}),
        panel(window, "errors", "Errors", "share", "act above 1 %", lambda t: 0.0, usual=(0, 0.001)),
    ]  # fmt: skip
    output = [
        panel(
            window,
            "value",
            "Key output",
            "",
            row[11],
            lambda t: row[4] + row[5] * season(t) + row[6] * noise(7, t),
            zero=False,
            usual=row[7],
        )
    ]
    if dead:
        for one in [*service, *output]:
            one["series"][0]["y"] = [
                None if t > end else v for t, v in zip(one["t"], one["series"][0]["y"], strict=True)
            ]
            one["value"], one["status"] = None, "no_data"
    state = None
    if status == "learning":
        state = {"kind": "learning", "title": "Learning what is usual", "progress": 0.312,
                 "text": "3,120 of 10,000 responses. Alerts on usual ranges start at about 16:40 UTC; fixed limits already work."}  # fmt: skip
        output[0]["state"] = {"kind": "too_few", "title": "Not tested: 41 of 200 rows",
                              "text": "With so few rows a distance of 0.2 is expected by chance. Widen the range to 7 days."}  # fmt: skip
        output[0]["t"] = []
        output[0]["series"][0]["y"] = []
        output[0]["usual"] = None
    columns = (
        []
        if status == "learning"
        else [column_row((*row[:3], "ok", "", None, 0.01, 0.2, None, row[9], row[9])) for row in COLUMNS[2:6]]
    )
    return base(window, now) | {
        "name": name, "version": row[1], "versions": [row[1]], "status": status, "state": state, "incident": None,
        "headline": {"no_data": f"No data from {name} for 2 h 10 min", "learning": f"{name} is still learning"}.get(status, f"{name} is as usual"),
        "lede": row[3] or "38 checks passed in the last hour.", "since": iso(end) if dead else None, "owner": None, "runbook": None,
        "reference": None, "events": [], "gaps": [],
        "service": {"status": "no_data" if dead else "ok", "summary": "No data" if dead else "Normal", "panels": service},
        "output": {"status": status, "summary": "", "panels": output, "checks": []},
        "outcomes": outcomes(window, row[14]) if status == "ok" else
                    {"status": "no_data", "summary": "No labels yet", "judged": False, "panels": [],
                     "state": {"kind": "no_labels", "title": "No labels yet", "text": "812 predictions of the last 24 h can have a label."}},
        "causes": {"status": "ok", "summary": "", "columns": columns},
    }  # fmt: skip


def outcomes(window: Window, summary: str) -> Json:
    """Confirmed quality beside the estimated one, the last labels of which are still arriving."""
    confirmed: Curve = lambda t: 0.9 + 0.008 * noise(8, t)
    estimated: Curve = lambda t: 0.895 + 0.006 * noise(9, t)
    few = window.start + (window.end - window.start) * 0.2
    y = [None if t < few else v for t, v in zip(window.t, window.curve(confirmed), strict=True)]
    guess = window.curve(estimated)
    open_ = [t > window.end - 4 * window.step for t in window.t]

    def band(name: str, middle: list[float | None], half: float) -> Json:
        ends = [[None if v is None else v + side for v in middle] for side in (-half, half)]
        return {"name": name, "lo": ends[0], "hi": ends[1]}

    quality = panel(
        window, "precision", "Precision, by hour of prediction", "", "so far, 95 % interval 0.88–0.92", confirmed, zero=False,
        value=0.903, digits=4, few="too few labels",
        series=[{"name": "confirmed", "y": y, "role": "live", "open": open_}, {"name": "estimated", "y": guess, "role": "estimate"}],
        bands=[band("95 % interval", y, 0.02), band("estimated, 95 %", guess, 0.03) | {"role": "estimate"}],
        limits={"watch": 0.85, "act": 0.8, "worse": "low"},
        note="Open circles: under 90 % of the labels. Estimated from scores, if they still mean what the labels of 2013-09-16 to "
        "2013-10-12 say. Confirmed values in its band: 21 of 22.",
    )  # fmt: skip
    middle: Curve = lambda t: 8900 + 300 * noise(10, t)
    ages = panel(
        window, "ages", "How fast labels come", "seconds", "median, 90 % within 5 h 12 min", middle, few="too few labels",
        series=[{"name": "median", "y": window.curve(middle), "role": "live", "open": open_}],
        bands=[{"name": "median–p90", "lo": window.curve(middle), "hi": window.curve(lambda t: 2 * middle(t))}],
    )  # fmt: skip
    worse = [
        quality | {"id": name.lower(), "name": f"{name}, by hour of prediction"}
        for name in ("Recall", "Accuracy")
    ]
    return {
        "status": "learning", "summary": summary, "judged": False,
        "panels": [quality, *worse, received_panel(window, 1.0), ages],
    }  # fmt: skip


def received_panel(window: Window, share: float) -> Json:
    """Labels as a share of predictions, the last of which have none yet."""
    length = window.end - window.start
    return panel(
        window, "labels", "Labels received", "share", "of 6,338 predictions that can have one",
        lambda t: share * min(1.0, (window.end - t) / (0.2 * length)), few="no predictions",
        note="From 90 % on, a metric counts as confirmed.",
    )  # fmt: skip


def model(name: str, window: Window, now: int, version: str | None) -> Json | None:
    if name == "flight-delay":
        return flight_delay(window, now, version or "3")
    return plain_model(name, window, now) if name in STATUS else None


# Features ----------------------------------------------------------------------------------------------------------


def delay_shares(factor: float, edges: list[float]) -> list[float]:
    """Departure delays: a sharp peak just before the schedule and a long late tail."""

    def mass(x: float) -> float:
        x /= factor
        early = 1 / (1 + math.exp(min(700.0, -(x + 3) / 2.2)))
        late = 1 - math.exp(-max(0.0, x) / 42)
        return 0.68 * early + 0.32 * late

    shares = [max(0.0, mass(b) - mass(a)) for a, b in itertools.pairwise(edges)]
    total = sum(shares)
    return [round(s / total, 6) for s in shares]


def symmetric_edges(reach: float, knee: float, count: int) -> list[float]:
    top = math.asinh(reach / knee)
    return [round(knee * math.sinh(top * (2 * k / count - 1)), 6) for k in range(count + 1)]


def values_panel(window: Window, factor: float, reference: Json) -> Json:
    def at(level: float, seed: int) -> list[float | None]:
        return window.curve(
            lambda t: level * (factor if t > CHANGE + 60 else 1) * (1 + 0.05 * noise(seed, t))
        )

    return panel(
        window, "values", "Values over time", "minutes", "p10 to p90 and median", lambda t: 0.0, zero=False, scale="symlog",
        series=[{"name": "median", "y": at(-2, 11), "role": "live"}],
        bands=[{"name": "p10–p90", "lo": at(-7, 12), "hi": at(44, 13)}], reference=reference,
    )  # fmt: skip


def signal_panel(window: Window, code: str, peak: float, calm: float) -> Json:
    """The signal and its limit, which follows the traffic."""
    limit: Curve = lambda t: 0.02 - 0.004 * season(t)
    level: Curve = lambda t: limit(t) * (max(0.0, calm + 0.12 * noise(ord(code), t)) + peak * ramp(t))
    series = [
        {"name": code, "y": window.curve(level), "role": "main"},
        {"name": "limit", "y": window.curve(limit), "role": "reference"},
    ]
    return panel(window, f"signal-{code}", code, "", "", level, series=series)


def signals(window: Window, hot: bool) -> list[Json]:
    rows = [
        ("D", "Shape", 7.9, "The mix of values differs from the reference’s.", 11.4, 0.4),
        ("L", "Location", 37.6, "Values as a whole moved up by 3.1 standard deviations.", 37.2, 0.3),
        ("A", "Missing", 0.2, "0.3 % are missing, as in the reference.", 0, 0.2),
        ("O", "Out of range", 34.0, "34 % lie outside of anything the reference held.", 33.9, 0.1),
    ]
    return [
        {"signal": code, "name": name, "value": ratio * 0.02 if hot else 0.004, "threshold": 0.02, "ratio": ratio if hot else calm,
         "status": "act" if hot and ratio > 1 else "ok", "text": text if hot else "As in the reference.",
         "panel": signal_panel(window, code, peak if hot else 0, calm)}
        for code, name, ratio, text, peak, calm in rows
    ]  # fmt: skip


def feature(model_name: str, column: str, window: Window, now: int) -> Json | None:
    row = next((row for row in COLUMNS if row[0] == column), None)
    if model_name not in STATUS or row is None:
        return None
    name, kind, unit, status = row[:4]
    document = base(window, now) | {
        "name": name, "model": model_name, "role": "feature", "kind": kind, "unit": unit, "status": status, "incident": None,
        "since": iso(row[5]) if row[5] else None, "events": model_events(now), "gaps": [{"from": GAP[0], "to": GAP[1], "text": "no data"}],
        "n": {"reference": 52011, "live": 33200}, "columns": [column_row(row) for row in COLUMNS], "evidence": [], "measures": [],
        "headline": "No meaningful change", "lede": "All signals are within their limits.", "values": None, "comparison": [], "signals": [],
    }  # fmt: skip
    if name == "dep_delay":
        return document | unit_change(window)
    if kind == "categorical":
        return document | categories(window)
    return document | plain_numbers(window)


def unit_change(window: Window) -> Json:
    edges = symmetric_edges(60000, 4, 96)
    reference = delay_shares(1, edges)
    return {
        "headline": "Looks like a unit change: minutes → seconds", "incident": "INC-214",
        "lede": "Live values are 60 times the reference at every quantile. Divide them by 60 and the two distributions match. "
        "This started at 16:42 UTC, one minute after feature-store 4.12 was deployed.",
        "distribution": {"kind": "numeric", "scale": "auto", "edges": edges, "labels": None, "reference": reference,
                         "live": delay_shares(60, edges),
                         "transform": {"text": "÷ 60", "shares": delay_shares(1.03, edges)}},
        "evidence": [
            {"text": "Ratio of quantiles is constant", "value": "60.1 at p5, 60.0 at p50, 60.0 at p95"},
            {"text": "Shape matches after ÷ 60", "value": "distance falls from PSI 11.3 to 0.02"},
            {"text": "Change is instant, not gradual", "value": "complete within 4 minutes"},
            {"text": "A deployment fits the moment", "value": "feature-store 4.12 at 16:41 UTC"},
            {"text": "Not explained by missing values", "value": "0.3 % missing, as in the reference"},
        ],
        "comparison": [
            {"name": "Median", "reference": -2, "live": -120, "ratio": 60, "unit": "value", "status": "act"},
            {"name": "Mean", "reference": 12.6, "live": 757, "ratio": 60.1, "unit": "value", "status": "act"},
            {"name": "p95", "reference": 88, "live": 5280, "ratio": 60, "unit": "value", "status": "act"},
            {"name": "Missing", "reference": 0.003, "live": 0.003, "ratio": 1.0, "unit": "share", "status": "ok"},
            {"name": "Out of range", "reference": 0, "live": 0.34, "ratio": None, "unit": "share", "status": "act"},
        ],
        "values": values_panel(window, 60, {"lo": -7, "mid": -2, "hi": 44}),
        "signals": signals(window, True),
        "measures": [
            {"name": "PSI", "value": 11.3, "text": "Population stability index, natural logarithm, 18 cells, bias removed"},
            {"name": "Jensen–Shannon distance", "value": 0.81, "text": "Square root of the divergence, base 2"},
            {"name": "Kolmogorov–Smirnov", "value": 0.62, "text": "Largest distance of the cumulative shares"},
        ],
        "advice": "Roll back feature-store to 4.11, or divide by 60 in the feature pipeline until it is fixed. Then add a range check: "
        "−60 to 1,440 covers 99.98 % of the reference.",
    }  # fmt: skip


def plain_numbers(window: Window) -> Json:
    edges = [float(k) for k in range(27)]
    return {
        "distribution": {"kind": "numeric", "scale": "auto", "edges": edges, "labels": None, "reference": bell(9, 4), "live": bell(9.3, 4), "transform": None},
        "comparison": [{"name": "Median", "reference": 9.1, "live": 9.3, "ratio": 1.02, "unit": "value", "status": "ok"},
                       {"name": "Missing", "reference": 0.003, "live": 0.003, "ratio": 1.0, "unit": "share", "status": "ok"}],
        "signals": signals(window, False),
    }  # fmt: skip


def categories(window: Window) -> Json:
    labels = ["ATL", "ORD", "LAX", "BOS", "MCO", "CLT", "SFO", "FLL", "MIA", "DCA", "DTW", "DFW", "RDU", "TPA", "DEN", "IAH", "MSP", "PBI",
              "BNA", "LAS", "a category with quite a long name", "other", "unseen"]  # fmt: skip
    reference = [0.051 * 0.93**k for k in range(len(labels))]
    live = list(reference)
    live[0], live[5], live[-1] = 0.068, 0.012, 0.001
    reference[-1] = 0.0
    return {
        "distribution": {"kind": "categorical", "scale": "linear", "edges": None, "labels": labels,
                         "reference": [round(v / sum(reference), 5) for v in reference], "live": [round(v / sum(live), 5) for v in live]},
        "signals": signals(window, False)[:1],
        "comparison": [{"name": "Unseen", "reference": 0.0, "live": 0.001, "ratio": None, "unit": "share", "status": "ok"}],
    }  # fmt: skip


# Incidents ---------------------------------------------------------------------------------------------------------


def incidents(window: Window, now: int) -> Json:
    day = 86400
    rows = [
        {"id": "INC-214", "model": "flight-delay", "version": "3", "status": "firing", "severity": "page",
         "headline": "Late share is 2.1 times the usual level", "since": iso(ONSET), "until": None, "alerts": [
             {"name": "output_late", "column": "prediction", "signal": "D", "severity": "page", "state": "firing", "value": 0.66, "threshold": 0.45,
              "since": iso(ONSET), "until": None, "text": "66 % of flights are called late, act above 45 %."},
             {"name": "input_out_of_range", "column": "dep_delay", "signal": "O", "severity": "page", "state": "firing", "value": 0.34,
              "threshold": 0.01, "since": iso(CHANGE + 60), "until": None, "text": "34 % of values lie outside of anything the reference held."}]},
        {"id": "INC-209", "model": "flight-delay", "version": "2", "status": "resolved", "severity": "ticket",
         "headline": "`wind_gust` was missing in 18 % of rows", "since": iso(now - 12 * day), "until": iso(now - 12 * day + 7400), "alerts": [
             {"name": "input_missing", "column": "wind_gust", "signal": "A", "severity": "ticket", "state": "resolved", "value": 0.18,
              "threshold": 0.02, "since": iso(now - 12 * day), "until": iso(now - 12 * day + 7400), "text": "18 % missing, usual 0.3 %."}]},
    ]  # fmt: skip
    return base(window, now) | {"incidents": rows}


def names() -> Json:
    """Every model with its columns: what the find box searches."""
    columns = [row[0] for row in COLUMNS]
    return {
        "models": [{"name": row[0], "columns": columns if row[0] == "flight-delay" else []} for row in FLEET]
    }
