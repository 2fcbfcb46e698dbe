"""Runs a module as a process that ends when its parent does, however that dies.

    python -m barograph.demo.child barograph.demo.service --dir DIR

The parent holds the other end of this process's standard input, and the system closes it with the parent: that needs no
parent that can still do something, and is the same on every system.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading
import time

GRACE = 5.0  # seconds for what is under way, as when the parent asks


def main() -> None:
    """Run the module that the arguments name, with the rest of them as its own."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
