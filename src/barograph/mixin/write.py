"""The mixin's folder: written whole, written again, and what a user made of it kept.

A file is ours while it is as it was written, which a manifest with fingerprints tells. One that the user changed stays as it is,
and the new one is put beside it as `NAME.new`; one that we did not write is never removed.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from barograph import grafana
from barograph.mixin import (
    adapters,
    alertmanager,
    alerts,
    compose,
    kubernetes,
    own,
    provisioning,
    rules,
    runbooks,
)
from barograph.mixin.options import Options
from barograph.mixin.text import template

MANIFEST = ".barograph-mixin.json"
BESIDE = ".new"

Files = Mapping[str, str]
# What each part writes: relative path -> text ...
PARTS: tuple[Callable[[Options], Files], ...] = (
    rules.files,
    alerts.files,
    runbooks.files,
    adapters.files,
    grafana.files,
    alertmanager.files,
)
# ... and those that are made of what the others write.
AROUND: tuple[Callable[[Options, Files], Files], ...] = (
    provisioning.files,
    compose.files,
    kubernetes.files,
)


class MixinError(ValueError):
    """The folder cannot be used: what is wrong, and the remedy."""


NEW, RENEWED, SAME, KEPT, YOURS, REMOVED = "new", "renewed", "same", "kept", "yours", "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one file; `text` is a sentence where there is something to say.

    `kind`: new, renewed, same, kept (the user changed it; the new one lies beside it), yours (no longer written, or the
    user's from the start), removed.
    """

    path: str
    kind: str
    text: str = ""


def render(options: Options, panels: Mapping[str, list[own.Panel]] | None = None) -> dict[str, str]:
    """All files, with a user's own panels by the path of their dashboard."""
    found: dict[str, str] = {}
    for part in PARTS:
        found |= part(options)
    for path in filter(own.is_dashboard, found):
        found[path] = own.with_own(found[path], (panels or {}).get(path, []))
    for around in AROUND:
        found |= around(options, dict(found))
    return {"README.md": template("README.md"), **found}


def seeds(options: Options) -> dict[str, str]:
    """Files that are the user's from the first moment: secrets, and where the services are."""
    return {**alertmanager.seeds(), **provisioning.seeds(options)}


def write(folder: str | Path, options: Options | None = None) -> list[Change]:
    """Write the mixin into a folder, or write it again there, and say what became of each file.

    Without `options`, those with which it was last written there. Nothing is written before everything is ready, and each
    file is replaced whole or not at all.

    Raises:
        MixinError: the folder cannot be written to, or its manifest is damaged.
    """
    place = Path(folder)
    manifest = Manifest.read(place)
    options = options or manifest.options
    kept = {path: own.own_panels(_read(place / path) or "") for path in _dashboards(place)}
    files = render(options, kept)
    plan = _Plan(place, manifest.files)
    for path, text in files.items():
        plan.put(path, text)
    for path, text in seeds(options).items():
        plan.seed(path, text)
    for path in sorted(set(manifest.files) - set(plan.known)):
        plan.drop(path)
    plan.texts[MANIFEST] = Manifest(options, plan.known).text()
    try:
        plan.carry_out()
    except OSError as error:
        raise MixinError(f"cannot write {str(error.filename or place)!r} ({error.strerror})") from error
    return plan.changes


def _dashboards(place: Path) -> Iterable[str]:
    return sorted(f"dashboards/{path.name}" for path in place.glob("dashboards/*.json"))


@dataclass(frozen=True)
class Manifest:
    """What was written into a folder, and how: fingerprints by path."""

    options: Options = field(default_factory=Options)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, place: Path) -> Self:
        """That of a folder; an empty one where there is none."""
        path = place / MANIFEST
        text = _read(path)
        if text is None:
            if place.exists() and not place.is_dir():
                raise MixinError(f"{str(place)!r} is a file; give a folder")
            return cls()
        try:
            content = json.loads(text)
            known = {f.name for f in fields(Options)}
            options = Options(**{k: v for k, v in content["options"].items() if k in known})
            return cls(options, {str(k): str(v) for k, v in content["files"].items()})
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise MixinError(
                f"{str(path)!r} is damaged ({error}); remove it, and every file that differs from ours is taken for yours"
            ) from None

    def text(self) -> str:
        """Its JSON. Options that have their default are left out: they follow it."""
        default = asdict(Options())
        options = {name: value for name, value in asdict(self.options).items() if value != default[name]}
        content: dict[str, Any] = {"options": options, "files": dict(sorted(self.files.items()))}
        return json.dumps(content, indent=1) + "\n"


class _Plan:
    """What to do with a folder, so that what is not ours is kept: everything is looked at before anything is written."""

    def __init__(self, place: Path, before: Mapping[str, str]) -> None:
        self.place, self.before = place, before
        self.known: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.gone: list[str] = []
        self.changes: list[Change] = []

    def put(self, path: str, text: str) -> None:
        there = _read(self.place / path)
        self.known[path] = own.fingerprint(path, text)
        if there is None or there == text or self._ours(path, there):
            kind = NEW if there is None else SAME if there == text else RENEWED
            if kind != SAME:
                self.texts[path] = text
            self._say(path, kind)
            return
        beside = path + BESIDE
        offered = _read(self.place / beside)
        if offered is not None and offered != text and not self._ours(beside, offered):
            self._say(path, KEPT, f"you changed it, and {beside} too; move that away for the new one")
            return
        self.texts[beside] = text
        self.known[beside] = own.fingerprint(beside, text)
        self._say(path, KEPT, f"you changed it, so it stays; the new one is {beside}")

    def seed(self, path: str, text: str) -> None:
        if _read(self.place / path) is not None:
            self._say(path, YOURS)
            return
        self.texts[path] = text
        self._say(path, NEW, "yours from now on: put in it what is true for you")

    def drop(self, path: str) -> None:
        """What was written once, and is no more, is removed, unless the user changed it."""
        there = _read(self.place / path)
        if there is None:
            return
        if self._ours(path, there):
            self.gone.append(path)
            self._say(path, REMOVED)
        else:
            self._say(path, YOURS, "no longer written; you changed it, so it stays")

    def carry_out(self) -> None:
        """The manifest last: whatever stops it before, the next run takes what it finds for what it is."""
        for path, text in self.texts.items():
            _replace(self.place / path, text)
        for path in self.gone:
            (self.place / path).unlink(missing_ok=True)

    def _ours(self, path: str, text: str) -> bool:
        return self.before.get(path) == own.fingerprint(path, text)

    def _say(self, path: str, kind: str, text: str = "") -> None:
        self.changes.append(Change(path, kind, text))


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise MixinError(f"cannot read {str(path)!r} ({error.strerror})") from error


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(scratch).chmod(0o644)  # read by other users of the machine: those of the containers
        Path(scratch).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(scratch).unlink()
        raise
