"""The monitoring part of the ML Test Score: seven tests, each worth half a point or a whole one, by what is seen to work.

Breck, Cai, Nielsen, Salib, Sculley: "The ML Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction",
IEEE Big Data (2017). What a test rests on is its entry in TESTS.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from barograph.naming import RULES
from barograph.readiness.drilled import Drilled
from barograph.readiness.facts import ANY, ON, Check, Facts
from barograph.sentences import plural

SOURCE = "Breck et al. (2017), The ML Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction"
# The paper's words for the whole score, which is the least of four sections; monitoring is one of them.
LEVELS: tuple[tuple[float, str], ...] = (
    (0, "More of a research project than a productionized system."),
    (1, "Not totally untested, but it is worth considering the possibility of serious holes in reliability."),
    (2, "There's been first pass at basic productionization, but additional investment may be needed."),
    (3, "Reasonably tested, but it's possible that more of those tests and procedures may be automated."),
    (5, "Strong levels of automated testing and monitoring, appropriate for mission-critical systems."),
    (7, "Exceptional levels of automated testing and monitoring."),
)


@dataclass(frozen=True, slots=True)
class Test:
    """One of the seven: what must be looked at, by kinds of checks, and the faults of drills that show whether it works.

    With `faults` a check counts that finds gross faults alone. `half` are kinds that are worth half a point where none of the
    others is there: a person can see them on a page.
    """

    __test__ = False  # for pytest, which collects what is called so

    number: int
    name: str
    kinds: tuple[str, ...]
    incidents: tuple[str, ...]
    faults: bool = False
    half: tuple[str, ...] = ()


TESTS: tuple[Test, ...] = (
    Test(1, "Dependency changes result in notification", ("packages",), ("faulty-library",)),
    Test(
        2, "Data invariants hold for inputs", ("feature",),
        ("unit-change", "nulls", "sentinel", "renamed-category", "column-dropped", "type-changed"), faults=True,
    ),
    Test(3, "Training and serving are not skewed", ("skew",), ("swapped-columns", "wrong-entity")),
    Test(4, "Models are not too stale", ("leak", "concept"), ("slow-leak",)),
    Test(5, "Models are numerically stable", ("answer",), ("filter-too-aggressive",), faults=True),
    Test(6, "Computing performance has not regressed", ("latency", "traffic", "memory"), ("slow-stage", "no-traffic")),
    Test(7, "Prediction quality has not regressed", ("quality",), ("labels-flipped", "dip"), half=("estimate",)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """What a test got: 0, 0.5 or 1 point, what was seen for it, and what would give the rest.

    `proven` is True where the last drill injected its faults and all were caught at the size that is stated for them, False
    where one was not, None without a drill.
    """

    number: int
    name: str
    points: float
    seen: tuple[str, ...]
    missing: tuple[str, ...]
    proven: bool | None


def marks(facts: Facts, drilled: Sequence[Drilled]) -> tuple[Mark, ...]:
    """The seven tests. `drilled` is what a drill of this model and reference found; nothing, where there was none."""
    return tuple(_mark(test, facts, drilled) for test in TESTS)


def level(points: float) -> str:
    """The paper's words for a score.

    >>> level(0.0)[:4], level(0.5)[:11], level(5.0)[:6], level(5.5)[:11]
    ('More', 'Not totally', 'Strong', 'Exceptional')
    """
    return next(text for most, text in LEVELS if points <= most)


def _mark(test: Test, facts: Facts, drilled: Sequence[Drilled]) -> Mark:
    """A whole point: all is judged, somebody is told, and no drill went by unnoticed. Half of one: a part of that."""
    checks = facts.of(*test.kinds)
    judged = [c for c in checks if (c.faults if test.faults else c.state == ON)]
    whole = bool(checks) and len(judged) == len(checks) and {c.kind for c in judged} == set(test.kinds)
    seen, missing = _looked_at(test, checks, judged)
    if not judged:
        half = [c for c in facts.of(*test.half) if c.state == ON]
        seen += [f"{c.name}: {c.text}" for c in half]
        return Mark(test.number, test.name, 0.5 if half else 0.0, tuple(seen), tuple(missing), None)
    deaf = sorted({rule for c in judged for rule in c.rules if not facts.told.hears(rule)})
    if deaf:
        muted = set(deaf) & set(facts.told.muted) or ANY in facts.told.muted
        missing.append("end the mute" if muted else f"{_severities(deaf)} reach nobody: {facts.told.remedy}")
    else:
        seen.append(facts.told.text)
    mine = [one for one in drilled if one.name in test.incidents and one.caught is not None]
    blind = [one for one in mine if not one.caught]
    late = [one for one in mine if one.caught and not one.proven]
    if mine:
        seen.append(f"the last drill caught {len(mine) - len(blind)} of its {plural(len(mine), 'fault')}")
        seen += [f"only from {one.needs} on: {one.title}" for one in late]
        missing += [
            f"unnoticed by the last drill: {one.title} (what would catch it: {one.lacking})" for one in blind
        ]
    points = 1.0 if whole and not deaf and not blind else 0.5
    proven = not blind and not late if mine else None
    return Mark(test.number, test.name, points, tuple(seen), tuple(missing), proven)


def _looked_at(test: Test, checks: Sequence[Check], judged: Sequence[Check]) -> tuple[list[str], list[str]]:
    """What is looked at, and what is not with its remedy; of many checks of one kind their number."""
    seen, missing = [], []
    for kind in test.kinds:
        mine = [c for c in checks if c.kind == kind]
        there = [c for c in mine if c in judged]
        lacking = [c for c in mine if c not in judged]
        if len(mine) > 1:
            seen += [f"{len(there)} of {len(mine)} {kind}s are judged"]
            missing += [f"{', '.join(c.name for c in lacking[:5])}: {lacking[0].remedy}"] if lacking else []
        else:
            seen += [f"{c.name}: {c.text}" for c in there]
            missing += [f"{c.name}: {c.remedy or c.text}" for c in lacking]
    return seen, missing


def _severities(rules: Sequence[str]) -> str:
    return " and ".join(sorted({f"{RULES[rule].severity}s" for rule in rules}))
