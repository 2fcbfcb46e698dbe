"""Documents, each made once for as long as what it is made of stays the same: many readers cost what one does."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

MOST = 48


@dataclass(slots=True)
class _Kept:
    """A document, and the mark of what it was made of."""

    mark: Hashable = None
    body: bytes | None = None
    tag: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Documents:
    """The `most` documents that were asked for last. `mark` gives another value once anything that they show has changed.

    >>> documents, made = Documents(lambda: "the same"), []
    >>> for _ in range(2):
    ...     body, tag = documents.get("/", lambda: made.append(1) or b"{}")
    >>> body, made
    (b'{}', [1])
    """

    def __init__(self, mark: Callable[[], Hashable], most: int = MOST) -> None:
        self._mark, self._most = mark, most
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], bytes]) -> tuple[bytes, str]:
        """The document and its ETag: as kept, or made anew; two who ask at once wait for one making."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        with kept.lock:
            mark = self._mark()
            if kept.body is None or kept.mark != mark:
                try:
                    body = make()
                except BaseException:
                    self._drop(key)
                    raise
                tag = hashlib.blake2b(body, digest_size=12).hexdigest()
                kept.mark, kept.body, kept.tag = mark, body, f'"{tag}"'
            return kept.body, kept.tag

    def clear(self) -> None:
        """Make each anew when it is next asked for."""
        with self._lock:
            self._kept.clear()

    def _drop(self, key: str) -> None:
        with self._lock:
            self._kept.pop(key, None)
