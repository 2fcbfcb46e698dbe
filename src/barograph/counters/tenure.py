"""Which versions the processes of a server hold, and which of those that none holds any more are to be retired."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

RETIRED_AFTER = (
    86_400.0  # seconds of wall time between the end of a version's last process and its retirement
)

Owner = tuple[str, str]  # a model and its version; "" for what a series does not say


@dataclass(frozen=True, slots=True)
class Register:
    """What `dead.counts` says of what is in it.

    `files` are the ids of the files that were added up, the latest first. `seen` says when a process of each version was
    last seen, in epoch seconds, and `references` what these were judged by (content ids).

    >>> Register(("7f",), {("m", "1"): 60.0}).due({("m", "1")}, now=1e6)
    set()
    >>> Register(("7f",), {("m", "1"): 60.0}).due(set(), now=1e6)
    {('m', '1')}
    """

    files: tuple[str, ...] = ()
    seen: Mapping[Owner, float] = field(default_factory=dict)
    references: Mapping[Owner, tuple[str, ...]] = field(default_factory=dict)

    def due(self, held: Iterable[Owner], *, now: float) -> set[Owner]:
        """The versions to retire: those that no live process holds, nor has for a day."""
        ended = self.seen.keys() - set(held)
        return {owner for owner in ended if owner[0] and now - self.seen[owner] > RETIRED_AFTER}

    def with_files(
        self, files: Iterable[str], ended: Iterable[bytes], held: Iterable[Owner], *, now: float
    ) -> "Register":
        """After more files were added up: `ended` are the descriptors of their blocks, `held` what live processes hold.

        A moment in the future is one that was taken before the clock was set back.
        """
        blocks = set(ended)
        seen = {owner: min(moment, now) for owner, moment in self.seen.items()}
        seen |= dict.fromkeys((*owners(blocks), *(seen.keys() & set(held))), now)
        references = dict(self.references)
        for descriptor in blocks:
            if name := labels_of(descriptor).get("reference"):
                owner = owner_of(descriptor)
                references[owner] = tuple(dict.fromkeys((*references.get(owner, ()), name)))
        return Register(tuple(files), seen, references)

    def without(self, retired: Iterable[Owner]) -> "Register":
        """After some versions were retired."""
        gone = set(retired)
        return Register(
            self.files,
            {owner: moment for owner, moment in self.seen.items() if owner not in gone},
            {owner: names for owner, names in self.references.items() if owner not in gone},
        )

    def to_bytes(self) -> bytes:
        """As JSON."""
        versions = [[*owner, at, list(self.references.get(owner, ()))] for owner, at in self.seen.items()]
        return json.dumps({"files": self.files, "versions": versions}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Register":
        """Back from `to_bytes`."""
        found = json.loads(data)
        versions = [((str(m), str(v)), float(at), names) for m, v, at, names in found["versions"]]
        return cls(
            tuple(found["files"]),
            {owner: at for owner, at, _ in versions},
            {owner: tuple(names) for owner, _, names in versions if names},
        )


def owners(descriptors: Iterable[bytes]) -> set[Owner]:
    """The versions that blocks belong to, and what of their models has no version."""
    found = {owner_of(descriptor) for descriptor in descriptors}
    return found | {(model, "") for model, _ in found}


def owner_of(descriptor: bytes) -> Owner:
    """The version that a block belongs to.

    >>> owner_of(b'["ml_predictions_total",[["model","m"],["version","3"]],"counter"]')
    ('m', '3')
    """
    labels = labels_of(descriptor)
    return labels.get("model", ""), labels.get("version", "")


@lru_cache(maxsize=8192)
def labels_of(descriptor: bytes) -> Mapping[str, str]:
    """The labels of a block's series; none where it was not written by us."""
    try:
        _, labels, _ = json.loads(descriptor)
        return {str(name): str(value) for name, value in labels}
    except (ValueError, TypeError):
        return dict[str, Any]()
