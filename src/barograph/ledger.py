"""What the evaluator remembers beside the tiles, in the same file: judgements, alerts, incidents, events."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from barograph.alert import FIRING, PENDING, Alert, Condition, Incident
from barograph.tiles import Tiles

_TABLES = """
CREATE TABLE IF NOT EXISTS judgements (
    model VARCHAR, version VARCHAR, bins VARCHAR, start BIGINT, finish BIGINT, signal VARCHAR,
    rows BIGINT[], level DOUBLE[], threshold DOUBLE[]
);
CREATE TABLE IF NOT EXISTS alerts (
    rule VARCHAR, model VARCHAR, version VARCHAR, "column" VARCHAR, signal VARCHAR,
    state VARCHAR, since DOUBLE, last DOUBLE, until DOUBLE, condition JSON
);
CREATE TABLE IF NOT EXISTS incidents (
    id VARCHAR, model VARCHAR, version VARCHAR, severity VARCHAR, headline VARCHAR, since DOUBLE, until DOUBLE
);
CREATE TABLE IF NOT EXISTS events (moment DOUBLE, until DOUBLE, kind VARCHAR, model VARCHAR, label VARCHAR);
"""
DEPLOYMENT, CHANGE = "deployment", "change"


@dataclass(frozen=True, slots=True)
class Counted:
    """Whose columns are judged: counts of different bins are never judged together."""

    model: str
    version: str
    bins: str


@dataclass(frozen=True, eq=False)
class History:
    """Judged windows in order: `starts`, `ends` int64[W] epoch seconds; by signal arrays (W, C) over the bins' columns."""

    starts: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    values: dict[str, np.ndarray]
    thresholds: dict[str, np.ndarray]

    @property
    def ratios(self) -> dict[str, np.ndarray]:
        """Value / threshold; NaN where there is no verdict."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return {signal: value / self.thresholds[signal] for signal, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a deployment, a change that someone told of. Times in epoch seconds."""

    moment: float
    kind: str
    model: str | None
    label: str
    until: float | None = None


class Ledger:
    """The evaluator's tables in the tiles' file."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        with tiles.transaction() as connection:
            connection.execute(_TABLES)

    # Judgements.

    def judged_until(self, counted: Counted) -> int | None:
        """Where judging goes on (epoch seconds), or None where nothing is judged yet."""
        found = self._one(
            "SELECT max(finish) FROM judgements WHERE model = ? AND version = ? AND bins = ?", _key(counted)
        )
        return None if found is None else int(found)

    def add(self, counted: Counted, history: History) -> None:
        """Remember judged windows."""
        if not len(history.starts):
            return
        rows = [
            (
                int(history.starts[w]),
                int(history.ends[w]),
                signal,
                history.rows[w],
                values[w],
                history.thresholds[signal][w],
            )
            for signal, values in history.values.items()
            for w in range(len(history.starts))
        ]
        names = ("start", "finish", "signal", "rows", "level", "threshold")
        table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
        with self._tiles.transaction() as connection:
            connection.register("judged", table)
            connection.execute(
                "INSERT INTO judgements SELECT ?, ?, ?, start, finish, signal, rows, level, threshold FROM judged",
                _key(counted),
            )
            connection.unregister("judged")

    def history(self, counted: Counted, start: float, end: float, columns: int) -> History:
        """Windows that end within (start, end]."""
        found = self._all(
            "SELECT start, finish, signal, rows, level, threshold FROM judgements"
            " WHERE model = ? AND version = ? AND bins = ? AND finish > ? AND finish <= ? ORDER BY signal, start",
            [*_key(counted), start, end],
        )
        starts = sorted({(row[0], row[1]) for row in found})
        at = {start: i for i, (start, _) in enumerate(starts)}
        values: dict[str, np.ndarray] = {}
        thresholds: dict[str, np.ndarray] = {}
        rows = np.zeros((len(starts), columns), dtype=np.int64)
        for begin, _, signal, n, level, threshold in found:
            i = at[begin]
            rows[i] = n
            for store, given in ((values, level), (thresholds, threshold)):
                store.setdefault(signal, np.full((len(starts), columns), np.nan))[i] = [
                    np.nan if v is None else v for v in given
                ]
        begins, ends = (np.array([pair[k] for pair in starts], dtype=np.int64) for k in (0, 1))
        return History(begins, ends, rows, values, thresholds)

    # Alerts and incidents.

    def alerts(self, model: str | None = None, *, since: float | None = None) -> list[Alert]:
        """Pending and firing alerts, and with `since` those resolved after it."""
        where, values = (
            ["(state IN (?, ?) OR until >= ?)"],
            [PENDING, FIRING, 9e18 if since is None else since],
        )
        if model is not None:
            where.append("model = ?")
            values.append(model)
        found = self._all(
            f"SELECT state, since, last, until, condition FROM alerts WHERE {' AND '.join(where)} ORDER BY since",
            values,
        )
        return [Alert(Condition(**json.loads(text)), s, a, b, c) for s, a, b, c, text in found]

    def save_alerts(self, changed: Iterable[tuple[Alert | None, Alert | None]]) -> None:
        """Put each alert in the place of what it was; None is no alert."""
        with self._tiles.transaction() as connection:
            for before, after in changed:
                if before is not None:
                    connection.execute(
                        'DELETE FROM alerts WHERE rule = ? AND model = ? AND version = ? AND "column" = ? AND signal = ?'
                        " AND since = ?",
                        [*before.condition.key, before.since],
                    )
                if after is not None:
                    connection.execute(
                        "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        [
                            *after.condition.key,
                            after.state,
                            after.since,
                            after.last,
                            after.until,
                            _condition(after),
                        ],
                    )

    def incidents(self, *, model: str | None = None, since: float = 0.0) -> list[Incident]:
        """Incidents that are open or ended after `since`, the newest first."""
        found = self._all(
            "SELECT id, model, version, severity, headline, since, until FROM incidents"
            " WHERE (until IS NULL OR until >= ?) AND (? IS NULL OR model = ?) ORDER BY since DESC",
            [since, model, model],
        )
        return [Incident(*row) for row in found]

    def save_incident(self, incident: Incident) -> None:
        """Put an incident in the place of what it was."""
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM incidents WHERE id = ?", [incident.id])
            connection.execute(
                "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?)", list(asdict(incident).values())
            )

    # Events.

    def add_event(self, event: Event) -> None:
        """Remember an event; the same one again changes nothing."""
        values = [event.moment, event.until, event.kind, event.model, event.label]
        known = self._one(
            "SELECT count(*) FROM events WHERE kind = ? AND model IS NOT DISTINCT FROM ? AND label = ? AND moment = ?",
            [event.kind, event.model, event.label, event.moment],
        )
        if not known:
            with self._tiles.transaction() as connection:
                connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", values)

    def events(self, start: float, end: float, model: str | None = None) -> list[Event]:
        """Events of a model (and of all models at once), in order."""
        found = self._all(
            "SELECT moment, kind, model, label, until FROM events WHERE moment BETWEEN ? AND ?"
            " AND (? IS NULL OR model IS NULL OR model = ?) ORDER BY moment",
            [start, end, model, model],
        )
        return [Event(*row) for row in found]

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._tiles.lock:
            return self._tiles.connection.execute(query, list(values)).fetchall()

    def _one(self, query: str, values: Sequence[object] = ()) -> Any:
        rows = self._all(query, values)
        return rows[0][0] if rows else None


def _key(counted: Counted) -> list[str]:
    return [counted.model, counted.version, counted.bins]


def _condition(alert: Alert) -> str:
    return json.dumps(asdict(alert.condition))
