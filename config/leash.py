"""Become a command that dies with its parent: `python -I -S leash.py PARENT_PID COMMAND ARGUMENT...`.

Run by its path, so it may import nothing but the standard library. prctl(PR_SET_PDEATHSIG) must be called in the child
(prctl(2)); it outlives execve. Python's `preexec_fn` would be the other place for it, but runs Python between fork and
exec in a process whose threads may have held locks, which is why the documentation warns of it. A shim costs 20 ms a
start and cannot deadlock.

The signal is SIGTERM, not SIGKILL: Redis then writes its file, and the engine's supervisor takes vLLM with it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_NOT_FOUND = 127


def main() -> None:
    """Ask for the signal, make sure that it was not too late, and exec."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux; elsewhere children of a killed `serve` have to be stopped by hand.
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # The parent died before the kernel knew whom to tell.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on.
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        sys.exit(_NOT_FOUND)


if __name__ == "__main__":
    main()
