"""From conditions to alerts: the policy and the state machine. The only place that says "bad".

A condition is what one look at the numbers found; an alert is what became of it over time: inactive, pending, firing,
resolved. Alarms of what the model answers page; those of what it is given are tickets, unless they are gross.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from barograph.bins import hash64
from barograph.naming import ACT, FEATURE_SHIFTED, INPUT_BROKEN, OK, OUTPUT_SHIFTED, RULES, WATCH, Rule

HOUR = 3600
GROSS = 0.20  # share of missing or unseen values that is a fault and not a drift
PAGE, TICKET = "page", "ticket"
INACTIVE, PENDING, FIRING, RESOLVED = "inactive", "pending", "firing", "resolved"
MUTED = "muted"  # what the state of one that fires is called where nobody is to be told of it
COLUMN_RULES = (OUTPUT_SHIFTED, INPUT_BROKEN, FEATURE_SHIFTED)
OF_COLUMNS = frozenset(rule.name for rule in COLUMN_RULES)
_GROUPS = ("service", "output", "outcomes", "causes")


@dataclass(frozen=True, slots=True)
class Burn:
    """An error budget (the share of calls that may fail, or be slow) burns `factor` times too fast.

    The share is over the limit in the long window (seconds), so that it matters, and in the short one, so that it lasts.
    """

    factor: float
    long: int
    short: int

    def limit(self, budget: float) -> float:
        """The share that both windows must exceed; half-way from the budget to 1 at most, so that a wide budget can burn too.

        >>> round(BURNS[0].limit(0.001), 6), BURNS[0].limit(0.2)
        (0.0144, 0.6)
        """
        return min(self.factor * budget, (1 + budget) / 2)


BURNS = (Burn(14.4, HOUR, 300), Burn(6.0, 6 * HOUR, 1800))  # 2 % of a month's budget in 1 h, 5 % in 6 h
ENOUGH_CALLS = 20  # in the long window: fewer say nothing
ENOUGH_BAD = 5  # of them failed or slow: one or two are no trend
ERROR_OBJECTIVE, LATENCY_OBJECTIVE = 0.999, 0.99  # shares of calls that succeed, and that are fast enough
LATENCY_SECONDS = 0.5  # a call that takes no longer is fast enough


@dataclass(frozen=True, slots=True)
class Condition:
    """What one look found. `active` is None where nothing can be said (too few rows): the alert then stays as it is.

    `since` and `at` (epoch seconds) are the begin and the end of the time looked at.
    """

    rule: str
    model: str
    version: str
    active: bool | None
    since: float
    at: float
    column: str = ""
    signal: str = ""
    value: float | None = None
    threshold: float | None = None
    text: str = ""
    by_owner: bool = False  # the threshold is a limit that the owner set

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What is one alert: rule, model, version, column, signal."""
        return (self.rule, self.model, self.version, self.column, self.signal)


@dataclass(frozen=True, slots=True)
class Alert:
    """The last active condition and what became of it. Times are epoch seconds."""

    condition: Condition
    state: str
    since: float  # when the condition first held
    last: float  # when it was last seen to hold
    until: float | None = None  # when it was resolved

    @property
    def rule(self) -> Rule:
        """The rule that it is an alert of."""
        return RULES[self.condition.rule]

    @property
    def urgency(self) -> tuple[int, int, float]:
        """Sorts the most urgent alert first: pages, then service, output, outcomes, causes, then how far past its line."""
        c = self.condition
        ratio = c.value / c.threshold if c.value is not None and c.threshold else 0.0
        return (self.rule.severity != PAGE, _GROUPS.index(self.rule.group), -ratio)


def column_rule(role: str, signal: str, value: float) -> Rule:
    """Severity by policy: answers page; inputs are tickets, except values out of range and 20 points missing or unseen.

    >>> column_rule("feature", "A", 0.31).severity, column_rule("feature", "D", 9.0).severity
    ('page', 'ticket')
    """
    if role in ("score", "prediction", "heuristic"):
        return OUTPUT_SHIFTED
    gross = signal == "O" or (signal in ("A", "U") and value >= GROSS)
    return INPUT_BROKEN if gross else FEATURE_SHIFTED


def step(previous: Alert | None, condition: Condition) -> Alert | None:
    """The state after one more look; None is inactive. Looking twice at the same moment changes nothing.

    >>> seen = Condition("MLModelErrors", "m", "1", True, since=0, at=60)
    >>> pending = step(None, seen)
    >>> later = replace(seen, since=120, at=180)
    >>> pending.state, step(pending, later).state
    ('pending', 'firing')
    """
    rule = RULES[condition.rule]
    over = previous is None or previous.state == RESOLVED
    if condition.active is None or (previous is not None and condition.at < previous.last):
        return previous
    if condition.active:
        since = condition.since if over or previous is None else previous.since
        fires = condition.at - since >= rule.pending or (previous is not None and previous.state == FIRING)
        return Alert(condition, FIRING if fires else PENDING, since, condition.at)
    if over or previous is None:
        return previous
    if previous.state == PENDING:
        return None
    if condition.at - previous.last >= rule.keep_firing:
        return replace(previous, state=RESOLVED, until=condition.at)
    return previous


def firing(alerts: Iterable[Alert]) -> list[Alert]:
    """The firing ones, most urgent first."""
    return sorted((a for a in alerts if a.state == FIRING), key=lambda a: a.urgency)


def status(alerts: Sequence[Alert]) -> str:
    """ok, watch or act: a model needs action where an alert pages, and a look where a ticket is open."""
    severities = {a.rule.severity for a in alerts if a.state == FIRING}
    return ACT if PAGE in severities else WATCH if severities else OK


def group_status(alerts: Sequence[Alert], group: str) -> str:
    """Status of one of service, output, outcomes, causes."""
    return status([a for a in alerts if a.rule.group == group])


@dataclass(frozen=True, slots=True)
class Incident:
    """A model's firing alerts as one thing to act on, from the first to fire until none fires."""

    id: str
    model: str
    version: str
    severity: str
    headline: str
    since: float
    until: float | None = None

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.until is None


def incident(previous: Incident | None, model: str, alerts: Sequence[Alert], now: float) -> Incident | None:
    """The incident of a model after a pass: opened with its first firing alert, closed when none is left.

    Its severity never falls while it is open, and its headline is that of the most urgent alert.
    """
    urgent = firing(alerts)
    if previous is not None and previous.open:
        if not urgent:
            return replace(previous, until=max(now, previous.since))
        pages = PAGE in (previous.severity, urgent[0].rule.severity)
        worse = previous.severity != PAGE or urgent[0].rule.severity == PAGE
        headline = urgent[0].condition.text if worse else previous.headline
        return replace(previous, severity=PAGE if pages else TICKET, headline=headline)
    if not urgent:
        return previous
    first, since = urgent[0], min(a.since for a in urgent)
    mark = hash64(chr(0).join(first.condition.key)) % 0x10000  # two versions may begin in the same hour
    return Incident(
        f"{model}-{int(since)}-{mark:04x}",
        model,
        first.condition.version,
        first.rule.severity,
        first.condition.text,
        since,
    )
