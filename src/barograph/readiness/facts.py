"""What is known of a model's monitoring at one moment: what is judged, who hears of alerts, what labels say of signals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from barograph.naming import RULES
from barograph.readiness.indicators import Indicator

ON, LEARNING, FEW, MUTE, OFF = "on", "learning", "too few rows", "cannot alarm", "off"
ANY = "*"  # of rules


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at, or is not.

    `kind` says which of its sort it is (a column is one of many), `group` the order that it belongs to. `state` is on, learning
    (gross faults alone), too few rows, cannot alarm, or off; `text` what was seen, `remedy` what would make it so, or better.
    `rules` are the alerts that it raises, none where nobody is told. `since` is when data came first, epoch seconds; `judged`
    how many windows of the last day had a verdict. `effect` is the smallest change that it finds.
    """

    kind: str
    group: str
    name: str
    state: str
    text: str
    remedy: str = ""
    rules: tuple[str, ...] = ()
    since: float | None = None
    judged: int = 0
    effect: str = ""

    @property
    def faults(self) -> bool:
        """Whether gross faults at least are judged: values missing, never seen, out of range."""
        return self.state in (ON, LEARNING, MUTE)


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of alerts: those of `severities` reach somebody, but for the `muted` rules.

    `text` says how, `remedy` what is lacking.
    """

    severities: tuple[str, ...] = ()
    muted: tuple[str, ...] = ()
    text: str = "nobody is told"
    remedy: str = ""

    def hears(self, rule: str) -> bool:
        """Whether an alert of a rule reaches anybody.

        >>> Told(("page",)).hears("MLModelErrors"), Told(("page",)).hears("MLModelSlowLeak")
        (True, False)
        """
        return RULES[rule].severity in self.severities and not {ANY, rule} & set(self.muted)


@dataclass(frozen=True, slots=True)
class Indicators:
    """How signals went along with the error by `metric`, over `days` that have their labels. `why` says why nothing is told."""

    metric: str = ""
    days: int = 0
    found: tuple[Indicator, ...] = ()
    why: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it, of the version of a model that answers. `references` are the ids of what its columns are judged by."""

    model: str
    version: str
    now: float
    references: tuple[str, ...]
    checks: tuple[Check, ...]
    told: Told
    indicators: Indicators

    def of(self, *kinds: str) -> tuple[Check, ...]:
        """Checks of some kinds."""
        return tuple(check for check in self.checks if check.kind in kinds)

    def to_json(self) -> dict[str, Any]:
        """As plain values, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "Facts":
        """What `to_json` gave, once it was JSON.

        >>> made = Facts(
        ...     "m", "1", 0.0, (), (Check("errors", "service", "Errors", OFF, ""),), Told(), Indicators()
        ... )
        >>> Facts.from_json(made.to_json()) == made
        True
        """
        checks = tuple(Check(**{**one, "rules": tuple(one["rules"])}) for one in item["checks"])
        told = Told(**{**item["told"], **{k: tuple(item["told"][k]) for k in ("severities", "muted")}})
        found = tuple(Indicator(**_numbers(one)) for one in item["indicators"]["found"])
        indicators = Indicators(**{**item["indicators"], "found": found})
        return cls(
            item["model"], item["version"], item["now"], tuple(item["references"]), checks, told, indicators
        )


def _numbers(item: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {name: float("nan") if value is None else value for name, value in item.items()}
