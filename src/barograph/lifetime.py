"""Forks and the end of a process: who counts in it must begin anew in a child, and write what it holds before the end."""

import atexit
import os
import sys
import weakref
from typing import Protocol


class Living(Protocol):
    """What lives as long as its process, and in each of the processes that are forked from it."""

    def begin_again(self) -> None:
        """In a forked child: take nothing of the parent's, and begin."""

    def close(self) -> None:
        """Write what is held, and end."""


def follow(living: Living) -> None:
    """Have `begin_again` called in forked children, and `close` at the end of a process. It is not kept alive by that."""
    ref = weakref.ref(living)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _begin_again(ref))
    _close_with_process(ref)
    atexit.register(_close, ref)


def _begin_again(ref: "weakref.ref[Living]") -> None:
    living = ref()
    if living is None:
        return
    living.begin_again()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:  # a child that multiprocessing starts forgets all finalizers, and then asks these
        util.register_after_fork(living, lambda _: _close_with_process(ref))


def _close_with_process(ref: "weakref.ref[Living]") -> None:
    """A child of multiprocessing ends without a word to atexit, but runs the finalizers of its own."""
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _close, args=(ref,), exitpriority=100)


def _close(ref: "weakref.ref[Living]") -> None:
    living = ref()
    if living is not None:
        living.close()
