"""Runs drills: the same rows with and without the fault, look by look; what fires with it alone is what caught it."""

import math
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from barograph.drill.incidents import Incident, expected, why_not
from barograph.drill.report import Result, Seen, Try
from barograph.drill.rows import Rows
from barograph.drill.scene import Scene
from barograph.drill.world import (
    COARSE,
    FINE,
    JOINED_EVERY,
    Firing,
    Model,
    World,
    build,
    copied,
    references_of,
    struck,
)
from barograph.naming import RULES
from barograph.tiles import DAY, HOUR, MINUTE

LADDER = (0.25, 0.5, 1.0, 2.0)  # of the stated smallest magnitude
AFTER = 3 * MINUTE  # past the end of a window at which it is looked at
DENSE, SPARSE = 6 * HOUR, 2 * DAY  # until when it is looked every hour, every three hours; then twice a day
Moved = Callable[[int], object]


def looks(start: float, days: int) -> list[float]:
    """When the evaluator looks, epoch seconds: often at first, and last when the day of so many days later is judged.

    >>> [round((t - 3600) / 60) for t in looks(3600.0, 2)][:6]
    [5, 10, 15, 30, 63, 123]
    """
    end = (start // DAY + days) * DAY + (DAY if days > 3 else 0) + 8 * HOUR * (days > 3)
    moments = [start + m * MINUTE for m in (5, 10, 15, 30)]
    at = start // HOUR * HOUR
    while at < end:
        after = at - start
        at += HOUR if after < DENSE else 3 * HOUR if after < SPARSE else 12 * HOUR
        at = min(at, end)
        moments.append(at + AFTER)
    return moments


@dataclass(frozen=True, eq=False)
class Course:
    """What fired at each look, epoch seconds."""

    at: list[float]
    firing: list[Firing]


class Runner:
    """Drills of one model in `folder`, which it fills."""

    def __init__(self, model: Model, folder: Path, seed: int = 0) -> None:
        self.model, self._folder = model, folder
        self.scene = Scene(model.reference, model.start, seed)
        self._references = references_of(model)
        self._past = folder / "past"
        self.clean_course: Course | None = None
        self._runs = 0

    def prepare(self, moved: Moved = lambda _: None) -> None:
        """Build the past, if it is not there yet; `moved` is told of rows."""
        if not self._past.exists():
            made = self._folder / "making"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            build(self.model, made, self._references, moved)
            made.rename(self._past)

    @contextmanager
    def world(self) -> Iterator[World]:
        """A world as it is when the fault comes; gone afterwards."""
        self.prepare()
        self._runs += 1
        place = self._folder / f"run-{os.getpid()}-{self._runs}"
        world = copied(self.model, self._past, place, self._references)
        try:
            yield world
        finally:
            world.close()
            shutil.rmtree(place, ignore_errors=True)

    def clean(self, days: int) -> Course:
        """What fires without a fault: run once for all processes that share the folder."""
        wanted = looks(self.model.start, days)
        file = self._folder / "clean.pickle"
        if self.clean_course is None and file.exists():
            self.clean_course = pickle.loads(file.read_bytes())
        if self.clean_course is None or not set(wanted) <= set(self.clean_course.at):
            everything = sorted({*wanted, *looks(self.model.start, 2), *looks(self.model.start, 3)})
            with self.world() as world:
                found = [f for _, f in self._course(world, self.model.future, everything)]
            self.clean_course = Course(everything, found)
            part = file.with_suffix(f".{os.getpid()}")
            part.write_bytes(pickle.dumps(self.clean_course))
            part.replace(file)
        return self.clean_course

    def _course(
        self, world: World, rows: Rows, moments: Sequence[float], *, stopped: bool = False
    ) -> Iterator[tuple[float, Firing]]:
        joined, firing = world.now, dict[tuple[str, str, str], object]()
        for moment in moments:
            after = moment - self.model.start
            world.serve(rows, moment, FINE if after < 3 * HOUR else COARSE if after < SPARSE + DAY else HOUR)
            if world.now - joined >= JOINED_EVERY:
                joined = world.now
                world.store()
                world.join(rows)
            yield moment, firing if stopped else world.evaluate()  # type: ignore[misc]

    def try_out(self, incident: Incident, f: float, days: int | None = None) -> Try:
        """One drill: until an alert of the expected kind fires that does not fire without the fault, or it is over."""
        clean = self.clean(self._days(incident, days))
        usual = dict(zip(clean.at, clean.firing, strict=True))
        rows, columns = struck(self.model, incident, self.scene, f), incident.columns(self.scene)
        first = kind = None
        with self.world() as world:
            world.service.struck(incident)
            wanted = looks(self.model.start, self._days(incident, days))
            for moment, firing in self._course(world, rows, wanted, stopped=incident.stopped):
                new = sorted((k for k in firing if k not in usual[moment]), key=lambda k: firing[k].urgency)
                if new and first is None:
                    first = self._seen(firing[new[0]].condition.text, new[0], moment)
                meant = [k for k in new if expected(incident, RULES[k[0]], k[1], columns)]
                if meant:
                    kind = self._seen(firing[meant[0]].condition.text, meant[0], moment)
                if kind is not None or (first is not None and not self._worth_waiting(incident, first)):
                    break
        return Try(f, first, kind)

    @staticmethod
    def _worth_waiting(incident: Incident, first: Seen) -> bool:
        """Whether an alert of the expected kind may still come: caught is caught, and a day later it is no news."""
        return bool(incident.rules) and first.delay < DAY

    def applies(self, incident: Incident, days: int | None = None) -> bool:
        """Whether an incident can be drilled with this model."""
        return self._why_not(incident, days) is None

    def _why_not(self, incident: Incident, days: int | None) -> str | None:
        wanted = self._days(incident, days)
        spare = self.model.days + 0.5 - (looks(self.model.start, wanted)[-1] - self.model.start) / DAY
        late = f"needs {wanted} days of rows after the fault; there are {self.model.days:.1f}"
        return why_not(incident, self.model.rows, self.scene) or (late if spare < 0 else None)

    def _days(self, incident: Incident, days: int | None) -> int:
        return incident.days if days is None else days

    def _seen(self, text: str, key: tuple[str, str, str], moment: float) -> Seen:
        delay = moment - self.model.start
        rule = RULES[key[0]]
        windows = max(1, math.ceil((delay - AFTER) / self.model.config.window))
        return Seen(rule.name, rule.severity, key[1], key[2], text, delay, windows)

    def drill(self, incident: Incident, magnitude: float | None = None, days: int | None = None) -> Result:
        """One incident: at `magnitude`, or at the smallest of the ladder that is caught, or of all if that is larger."""
        scene = self.scene
        about = {
            "number": incident.number, "name": incident.name, "title": incident.described(scene), "stated": incident.mde,
            "unit": incident.unit, "signal": incident.signal, "lacking": incident.lacking,
            "columns": incident.columns(scene), "model": self.model.name, "reference": self.model.reference.id,
        }  # fmt: skip
        why = self._why_not(incident, days)
        if why is not None:
            return Result(**about, why_not=why)  # type: ignore[arg-type]
        if magnitude is not None or incident.whole:
            tries = [self.try_out(incident, incident.mde if magnitude is None else magnitude, days)]
        else:
            tries = self._ladder(incident, days)
        changes = self.model.answer is None and _changes(self, incident)
        return Result(**about, tries=tuple(sorted(tries, key=lambda t: t.f)), stale_scores=changes)  # type: ignore[arg-type]

    def _ladder(self, incident: Incident, days: int | None) -> list[Try]:
        """The largest that is to be found; then the smallest rung that is caught, halving what is left: more is caught sooner."""
        rungs = sorted({min(incident.most, step * incident.mde) for step in LADDER})
        tries = [self.try_out(incident, rungs.pop(), days)]
        if not tries[0].caught:
            if tries[0].f >= incident.most:
                return tries
            rungs = doubled(tries[0].f, incident.most)
            tries.append(self.try_out(incident, incident.most, days))
            if not tries[1].caught:
                return tries
        while rungs:
            middle = len(rungs) // 2
            tries.append(self.try_out(incident, rungs[middle], days))
            rungs = rungs[:middle] if tries[-1].caught else rungs[middle + 1 :]
        return tries


def doubled(low: float, high: float) -> list[float]:
    """Magnitudes between, each twice the one before.

    >>> doubled(0.125, 1.0)
    [0.25, 0.5]
    """
    found = [2 * low]
    while found[-1] < high:
        found.append(2 * found[-1])
    return found[:-1]


def _changes(runner: Runner, incident: Incident) -> bool:
    """Whether an incident changes what the model is given: without the model its answers stay as they were."""
    some = runner.model.future.take(slice(0, 1000))
    return bool(some.changed(incident.inject(some, runner.scene, incident.most)).any())
