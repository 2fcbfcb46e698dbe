"""From snapshots to tiles: what each process counted since its last snapshot, stored together with that snapshot.

What was counted waits in memory until tiles are read, or a minute has passed, so that hundreds of targets are stored in one
transaction. A process of ours that dies before has lost nothing: it counts on from the snapshot that was stored last.
"""

import logging
from collections.abc import Callable, Iterable

import pyarrow as pa

from barograph.counters import Snapshot
from barograph.increments import increments, restarted
from barograph.tiles import Increment, Tiles

EPOCHS_KEPT = 64  # cursors of a target: a load balancer may show many processes under one address
MOST_WAITING = 8_000_000  # numbers that wait in memory: what is more is stored at once

log = logging.getLogger(__name__)


class Intake:
    """Counts snapshots of targets into tiles. `failed` is told the targets of what could not be stored, and why.

    `error` is why the last write failed, None where it did not; as long as there is one, nothing waits.

    >>> from barograph.counters import Snapshot
    >>> with Tiles() as tiles:
    ...     intake = Intake(tiles, lambda targets, error: None)
    ...     snapshot = Snapshot(60.0, "e", 1, {})
    ...     intake.add("http://127.0.0.1:8701", snapshot, snapshot.to_bytes())
    False
    """

    def __init__(self, tiles: Tiles, failed: Callable[[Iterable[str], Exception], None]) -> None:
        self._tiles, self._failed = tiles, failed
        self._cursors = Cursors(tiles)
        self.error: Exception | None = None
        self._waiting: list[Increment] = []
        self._numbers = 0
        tiles.before_reading(self._write)

    def add(self, target: str, snapshot: Snapshot, body: bytes) -> bool:
        """Count what a target's process has counted since its last snapshot; `body` is the snapshot as bytes.

        Returns whether the process had begun anew.
        """
        with self._tiles.lock:
            previous = self._previous(target, snapshot)
            found = increments(previous, snapshot)
            self._cursors.hold(target, snapshot, body)
            self._waiting += found
            self._numbers += sum(one.series.counts + one.series.sums for one in found)
            if self._numbers > MOST_WAITING or self.error is not None:
                self._tiles.catch_up()
        return previous is not None and restarted(previous, snapshot)

    def _previous(self, target: str, snapshot: Snapshot) -> Snapshot | None:
        try:
            return self._cursors.previous(target, snapshot.epoch)
        except ValueError as error:
            log.error(
                "the last snapshot stored for %s cannot be read (%s): what it counted since is lost, counting goes on "
                "from now",
                target,
                error,
            )
            return snapshot

    def _write(self) -> None:
        """Store what waits, all or nothing. Where that fails, the next snapshots count from what was stored before."""
        if not self._cursors.held:
            return
        waiting, self._waiting, self._numbers = self._waiting, [], 0
        try:
            with self._tiles.transaction():
                self._tiles.add(waiting)
                self._cursors.save()
        except Exception as error:  # noqa: BLE001 (a full disk, a damaged file: whoever reads now must not fail for it)
            self.error = error
            self._failed(self._cursors.forget(), error)
        else:
            self.error = None
            self._cursors.settle()


class Cursors:
    """The last snapshot of each epoch, stored with the tiles it was counted into, so that nothing counts twice."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        with tiles.transaction() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS cursors "
                "(epoch VARCHAR, target VARCHAR, clock DOUBLE, snapshot BLOB, place BIGINT)"
            )
            ((place,),) = connection.execute("SELECT coalesce(max(place), 0) FROM cursors").fetchall()
        self._place = int(place)
        self._latest: dict[str, Snapshot] = {}  # by epoch
        self._epochs: dict[str, str] = {}  # by target
        self._held: dict[str, tuple[str, Snapshot, bytes]] = {}  # by epoch: what is not stored yet
        self._moved: set[str] = set()  # targets that show another epoch than before

    @property
    def held(self) -> bool:
        """Whether anything is not stored yet."""
        return bool(self._held)

    def previous(self, target: str, epoch: str) -> Snapshot | None:
        """The snapshot to count from: this epoch's last, else the target's last of any epoch.

        Raises:
            ValueError: the stored bytes cannot be read.
        """
        return (
            self._latest.get(epoch)
            or self._stored("epoch = ?", epoch)
            or self._latest.get(self._epochs.get(target, ""))
            or self._stored("target = ?", target)
        )

    def hold(self, target: str, snapshot: Snapshot, body: bytes) -> None:
        """Remember a snapshot as the last one; `save` stores it."""
        self._held.pop(snapshot.epoch, None)
        self._held[snapshot.epoch] = target, snapshot, body
        if self._epochs.get(target) != snapshot.epoch:
            self._moved.add(target)
        self._latest[snapshot.epoch], self._epochs[target] = snapshot, snapshot.epoch

    def save(self) -> None:
        """Store what is held, within a transaction; `settle` once it is committed, `forget` if it was not."""
        rows = [(epoch, target, one.clock, body) for epoch, (target, one, body) in self._held.items()]
        names = ("epoch", "target", "clock", "snapshot")
        given = pa.table({
            **{name: [row[i] for row in rows] for i, name in enumerate(names)},
            "place": [self._place + 1 + i for i in range(len(rows))],
        })  # fmt: skip
        with self._tiles.transaction() as connection:
            with self._tiles.given(given):
                connection.execute("DELETE FROM cursors WHERE epoch IN (SELECT epoch FROM given)")
                connection.execute("INSERT INTO cursors SELECT * FROM given")
            for target in self._moved:
                connection.execute(
                    "DELETE FROM cursors WHERE target = ? AND place NOT IN "
                    "(SELECT place FROM cursors WHERE target = ? ORDER BY place DESC LIMIT ?)",
                    [target, target, EPOCHS_KEPT],
                )

    def settle(self) -> None:
        """What is held is stored now."""
        self._place += len(self._held)
        self._held, self._moved = {}, set()
        self._latest = {epoch: self._latest[epoch] for epoch in self._epochs.values()}

    def forget(self) -> list[str]:
        """What is held was not stored, and will not be: counting goes on from what is. Returns its targets."""
        lost = sorted({target for target, _, _ in self._held.values()})
        self._latest, self._epochs, self._held, self._moved = {}, {}, {}, set()
        return lost

    def _stored(self, condition: str, value: str) -> Snapshot | None:
        query = f"SELECT snapshot FROM cursors WHERE {condition} ORDER BY place DESC LIMIT 1"
        with self._tiles.lock:
            found = self._tiles.connection.execute(query, [value]).fetchall()
        return Snapshot.from_bytes(bytes(found[0][0])) if found else None
