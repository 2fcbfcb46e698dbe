"""What the evaluator remembers beside the tiles, in the same file: judgements, alerts, incidents, policy, events."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from barograph.alert import FIRING, PENDING, RESOLVED, Alert, Condition, Incident
from barograph.policy import Acknowledgement, Mark, Mute, Policy
from barograph.tiles import DAY, HOUR, Tiles

_TABLES = """
CREATE TABLE IF NOT EXISTS judgements (
    model VARCHAR, version VARCHAR, bins VARCHAR, start BIGINT, finish BIGINT, signal VARCHAR,
    rows BIGINT[], level DOUBLE[], threshold DOUBLE[], lane VARCHAR DEFAULT ''
);
ALTER TABLE judgements ADD COLUMN IF NOT EXISTS lane VARCHAR DEFAULT '';
CREATE TABLE IF NOT EXISTS alerts (
    rule VARCHAR, model VARCHAR, version VARCHAR, "column" VARCHAR, signal VARCHAR,
    state VARCHAR, since DOUBLE, last DOUBLE, until DOUBLE, condition JSON
);
CREATE TABLE IF NOT EXISTS incidents (
    id VARCHAR, model VARCHAR, version VARCHAR, severity VARCHAR, headline VARCHAR, since DOUBLE, until DOUBLE
);
CREATE TABLE IF NOT EXISTS told (
    rule VARCHAR, model VARCHAR, version VARCHAR, "column" VARCHAR, signal VARCHAR, alert JSON
);
CREATE TABLE IF NOT EXISTS mutes (
    id VARCHAR, model VARCHAR, rule VARCHAR, "column" VARCHAR, since DOUBLE, until DOUBLE, reason VARCHAR, who VARCHAR
);
CREATE TABLE IF NOT EXISTS acknowledgements (
    incident VARCHAR, model VARCHAR, severity VARCHAR, moment DOUBLE, who VARCHAR, note VARCHAR
);
CREATE TABLE IF NOT EXISTS marks (
    id VARCHAR, rule VARCHAR, model VARCHAR, version VARCHAR, bins VARCHAR, "column" VARCHAR, signal VARCHAR,
    since DOUBLE, until DOUBLE, moment DOUBLE, who VARCHAR, reason VARCHAR
);
CREATE TABLE IF NOT EXISTS events (moment DOUBLE, until DOUBLE, kind VARCHAR, model VARCHAR, label VARCHAR);
"""
DEPLOYMENT, CHANGE = "deployment", "change"
_EVENT = "moment, kind, model, label, until"
_MARK = 'id, rule, model, version, bins, "column", signal, since, until, moment, who, reason'
_ACKNOWLEDGED = "incident, model, severity, moment, who, note"


@dataclass(frozen=True, slots=True)
class Counted:
    """Whose columns are judged, and in which lane (empty: by the hour): counts of different bins are never judged together."""

    model: str
    version: str
    bins: str
    lane: str = ""


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


@dataclass(slots=True)
class _Memory:
    """What each pass asks for: held in memory while no transaction is taken back."""

    rollbacks: int
    judged: dict[Counted, int]
    deployments: set[Event]
    looked: dict[Counted, tuple[int, int]] = field(default_factory=dict)


class Ledger:
    """The evaluator's tables in the tiles' file."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        with tiles.transaction() as connection:
            connection.execute(_TABLES)
        self._kept: _Memory | None = None

    def expire(self, now: float) -> None:
        """Forget what is over for longer than the tiles' retention allows; judgements together with the hours they judge."""
        over = now - self._tiles.retention.records * DAY
        hours = self._tiles.kept_from(HOUR)
        with self._tiles.transaction() as connection:
            connection.execute("DELETE FROM judgements WHERE finish <= ?", [hours])
            connection.execute("DELETE FROM alerts WHERE state = ? AND until < ?", [RESOLVED, over])
            connection.execute("DELETE FROM incidents WHERE until < ?", [over])
            connection.execute("DELETE FROM events WHERE coalesce(until, moment) < ?", [over])
            connection.execute("DELETE FROM mutes WHERE until < ?", [over])
            connection.execute("DELETE FROM marks WHERE moment < ?", [over])
            connection.execute(
                "DELETE FROM acknowledgements WHERE incident NOT IN (SELECT id FROM incidents)"
            )

    def _memory(self) -> _Memory:
        with self._tiles.lock:
            if self._kept is None or self._kept.rollbacks != self._tiles.rollbacks:
                judged = self._all(
                    "SELECT model, version, bins, lane, max(finish) FROM judgements GROUP BY model, version, bins, lane"
                )
                events = self._all(f"SELECT {_EVENT} FROM events WHERE kind = ?", [DEPLOYMENT])
                self._kept = _Memory(
                    self._tiles.rollbacks,
                    {Counted(*key): int(finish) for *key, finish in judged},
                    {Event(*row) for row in events},
                )
            return self._kept

    # Judgements.

    def judged_until(self, counted: Counted) -> int | None:
        """Where judging goes on (epoch seconds), or None where nothing is judged yet."""
        return self._memory().judged.get(counted)

    def looked(self, counted: Counted, mark: tuple[int, int]) -> bool:
        """Whether judging was tried at this mark (how far hours have closed, and what has grown): it finds the same again.

        In memory only: the first pass after a start looks.
        """
        looked = self._memory().looked
        before, looked[counted] = looked.get(counted), mark
        return before == mark

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
            with self._tiles.given(table):
                connection.execute(
                    "INSERT INTO judgements SELECT ?, ?, ?, start, finish, signal, rows, level, threshold, ? FROM given",
                    _key(counted),
                )
            judged = self._memory().judged
            judged[counted] = max(judged.get(counted, 0), int(history.ends[-1]))

    def history(self, counted: Counted, start: float, end: float, columns: int) -> History:
        """Windows that end within (start, end]."""
        found = self._all(
            "SELECT start, finish, signal, rows, level, threshold FROM judgements"
            " WHERE model = ? AND version = ? AND bins = ? AND lane = ? AND finish > ? AND finish <= ? ORDER BY signal, start",
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
                    if after.state == RESOLVED:
                        connection.execute(
                            "UPDATE marks SET until = ? WHERE until IS NULL AND rule = ? AND model = ? AND version = ?"
                            ' AND "column" = ? AND signal = ? AND since = ?',
                            [after.until, *after.condition.key, after.since],
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

    # Policy.

    def policy(self, now: float) -> Policy:
        """What people decided of alerts, as it holds at `now`."""
        mutes = self._all(
            'SELECT id, model, rule, "column", since, until, reason, who FROM mutes WHERE until > ? ORDER BY since, id',
            [now],
        )
        marks = self._all(f"SELECT {_MARK} FROM marks ORDER BY moment, id")
        acknowledged = self._all(f"SELECT {_ACKNOWLEDGED} FROM acknowledgements")
        found = (Acknowledgement(*row) for row in acknowledged)
        return Policy(
            now,
            tuple(Mute(*row) for row in mutes),
            tuple(Mark(*row) for row in marks),
            {one.incident: one for one in found},
        )

    def save_mute(self, mute: Mute) -> None:
        """Remember a mute, in the place of the one with its id."""
        self._put("mutes", "id", astuple(mute))

    def end_mute(self, id: str, now: float) -> bool:
        """End a mute early; whether there was one that goes on."""
        with self._tiles.transaction() as connection:
            found = connection.execute(
                "UPDATE mutes SET until = ? WHERE id = ? AND until > ?", [now, id, now]
            ).fetchall()
        return bool(found and found[0][0])

    def acknowledge(self, one: Acknowledgement) -> None:
        """Remember who works on an incident; the last who says so does."""
        self._put("acknowledgements", "incident", astuple(one))

    def save_mark(self, mark: Mark) -> None:
        """Remember that an alert was no problem."""
        self._put("marks", "id", astuple(mark))

    def take_back(self, table: str, id: str) -> bool:
        """Forget an acknowledgement (by its incident) or a mark (by its id); whether there was one."""
        column = {"acknowledgements": "incident", "marks": "id"}[table]
        with self._tiles.transaction() as connection:
            found = connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [id]).fetchall()
        return bool(found and found[0][0])

    def told(self) -> dict[str, list[Alert]]:
        """By model the alerts that people were told of, and not yet that they are over."""
        found: dict[str, list[Alert]] = {}
        for model, text in self._all("SELECT model, alert FROM told"):
            given = json.loads(text)
            found.setdefault(model, []).append(
                Alert(**{**given, "condition": Condition(**given["condition"])})
            )
        return found

    def save_told(self, begun: Iterable[Alert], ended: Iterable[Alert]) -> None:
        """Remember what people are told of now."""
        with self._tiles.transaction() as connection:
            for one in ended:
                connection.execute(
                    'DELETE FROM told WHERE rule = ? AND model = ? AND version = ? AND "column" = ? AND signal = ?',
                    list(one.condition.key),
                )
            for one in begun:
                values = [*one.condition.key, json.dumps(asdict(one))]
                connection.execute("INSERT INTO told VALUES (?, ?, ?, ?, ?, ?)", values)

    def _put(self, table: str, key: str, values: tuple[Any, ...]) -> None:
        """Put a row, whose key comes first, in the place of what it was."""
        with self._tiles.transaction() as connection:
            connection.execute(f"DELETE FROM {table} WHERE {key} = ?", [values[0]])
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", list(values))

    # Events.

    def add_event(self, event: Event) -> None:
        """Remember an event; the same one again changes nothing."""
        with self._tiles.transaction() as connection:
            deployments = self._memory().deployments
            if event in deployments:
                return
            known = connection.execute(
                "SELECT count(*) FROM events WHERE kind = ? AND model IS NOT DISTINCT FROM ? AND label = ?"
                " AND moment = ?",
                [event.kind, event.model, event.label, event.moment],
            ).fetchall()
            if known == [(0,)]:
                values = [event.moment, event.until, event.kind, event.model, event.label]
                connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", values)
            if event.kind == DEPLOYMENT:
                deployments.add(event)

    def events(self, start: float, end: float, model: str | None = None) -> list[Event]:
        """Events of a model (and of all models at once), in order."""
        found = self._all(
            f"SELECT {_EVENT} FROM events WHERE moment BETWEEN ? AND ?"
            " AND (? IS NULL OR model IS NULL OR model = ?) ORDER BY moment",
            [start, end, model, model],
        )
        return [Event(*row) for row in found]

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._tiles.lock:
            return self._tiles.connection.execute(query, list(values)).fetchall()


def _key(counted: Counted) -> list[str]:
    return [counted.model, counted.version, counted.bins, counted.lane]


def _condition(alert: Alert) -> str:
    return json.dumps(asdict(alert.condition))
