"""What people decide about alerts: to mute some for a while, that an incident is being worked on, that one was no problem.

Times are epoch seconds of the evaluator's clock, so that all of it works on a simulated one, too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from barograph.alert import FIRING, PAGE, Alert, Condition, Incident
from barograph.bins import hash64

LONGEST_MUTE = 366 * 86_400  # seconds: what is to be quiet for good is a limit, or a rule that is left out


@dataclass(frozen=True, slots=True)
class Mute:
    """Alerts of a model that nobody is told of in [since, until). An empty `rule` or `column` is any."""

    id: str
    model: str
    rule: str
    column: str
    since: float
    until: float
    reason: str
    by: str

    @classmethod
    def of(
        cls, model: str, rule: str, column: str, since: float, until: float, reason: str, by: str
    ) -> "Mute":
        """With an id that the same alerts and the same begin always have."""
        mark = _id("mute", model, rule, column, str(since))
        return cls(mark, model, rule, column, since, until, reason, by)

    def covers(self, condition: Condition, now: float) -> bool:
        """Whether an alert is muted now.

        >>> mute = Mute.of("risk", "", "amount", 0.0, 60.0, "backfill", "ada")
        >>> seen = Condition("MLModelFeatureShifted", "risk", "1", True, 0, 30, "amount", "D")
        >>> mute.covers(seen, 59.0), mute.covers(seen, 60.0)
        (True, False)
        """
        mine = self.model == condition.model and self.since <= now < self.until
        return mine and self.rule in ("", condition.rule) and self.column in ("", condition.column)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody works on an incident. It was of this `severity` then: a ticket that becomes a page is told of again."""

    incident: str
    model: str
    severity: str
    moment: float
    by: str
    note: str = ""

    def covers(self, incident: Incident) -> bool:
        """Whether there is nothing new to tell of an incident."""
        return incident.id == self.incident and (self.severity == PAGE or incident.severity != PAGE)


@dataclass(frozen=True, slots=True)
class Mark:
    """An alert of a column that was no problem. It teaches: its windows, [since, until), are ordinary, and the line may rise.

    `until` is None while the alert still fires. Counts of other `bins`, or of another version, are not concerned.
    """

    id: str
    rule: str
    model: str
    version: str
    bins: str
    column: str
    signal: str
    since: float
    until: float | None
    moment: float
    by: str
    reason: str

    @classmethod
    def of(cls, alert: Alert, bins: str, moment: float, by: str, reason: str) -> "Mark":
        """Of an alert that fires, or is over."""
        c = alert.condition
        mark = _id("mark", *c.key, str(alert.since))
        where = (c.model, c.version, bins, c.column, c.signal)
        return cls(mark, c.rule, *where, alert.since, alert.until, moment, by, reason)

    def covers(self, alert: Alert) -> bool:
        """Whether it was made of this alert: another one of the same column is told of again."""
        return alert.condition.key == self.key and alert.since == self.since

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """That of the alert's condition."""
        return (self.rule, self.model, self.version, self.column, self.signal)


@dataclass(frozen=True)
class Policy:
    """All that was decided, at one moment."""

    now: float
    mutes: Sequence[Mute] = ()
    marks: Sequence[Mark] = ()
    acknowledgements: Mapping[str, Acknowledgement] = field(default_factory=dict)  # by incident

    def muting(self, alert: Alert) -> Mute | Mark | None:
        """What keeps an alert quiet: of several mutes the one that lasts longest."""
        found = [mute for mute in self.mutes if mute.covers(alert.condition, self.now)]
        if found:
            return max(found, key=lambda mute: mute.until)
        return next((mark for mark in self.marks if mark.covers(alert)), None)

    def heard(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Those that are not muted: what statuses and incidents are made of."""
        return [alert for alert in alerts if self.muting(alert) is None]

    def acknowledged(self, incident: Incident | None) -> Acknowledgement | None:
        """By whom an incident is worked on."""
        found = None if incident is None else self.acknowledgements.get(incident.id)
        return found if found is not None and incident is not None and found.covers(incident) else None

    def hushed(self, alert: Alert, incident: Incident | None) -> bool:
        """Whether nobody is to be told that an alert fires."""
        return self.muting(alert) is not None or self.acknowledged(incident) is not None


def news(
    told: Sequence[Alert], alerts: Iterable[Alert], hushed: Callable[[Alert], bool]
) -> tuple[list[Alert], list[Alert]]:
    """Of alerts, those that fire and are to be told of; and of those `told` the ones that fire no more.

    What was told of is told to be over, muted or not; what nobody was told of ends in silence, and is told of once nothing
    hushes it any more.

    >>> seen = Alert(Condition("MLModelErrors", "m", "1", True, 0, 60), FIRING, 0.0, 60.0)
    >>> (
    ...     [len(found) for found in news([], [seen], lambda _: True)],
    ...     [len(found) for found in news([seen], [], bool)],
    ... )
    ([0, 0], [0, 1])
    """
    firing = {alert.condition.key: alert for alert in alerts if alert.state == FIRING}
    known = {alert.condition.key for alert in told}
    begun = [alert for key, alert in firing.items() if key not in known and not hushed(alert)]
    return begun, [alert for alert in told if alert.condition.key not in firing]


def _id(*parts: str) -> str:
    return f"{hash64(chr(0).join(parts)) % 2**32:08x}"
