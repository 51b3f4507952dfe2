"""The portable way to each service of the system, used where Linux has no better one.

Owns no state, except the watching thread that ``die_with`` starts in a child.
"""

from __future__ import annotations

import os
import select
import signal
import threading


def anonymous_file(name: str, size: int = 0) -> int:
    """Make a file that has no name in any folder and return its descriptor.

    The kernel frees it with its last descriptor and mapping, whatever dies.
    """
    memfd_create = getattr(os, "memfd_create", None)
    if memfd_create is not None:
        fd: int = memfd_create(name, os.MFD_CLOEXEC)
    else:
        import tempfile

        fd, path = tempfile.mkstemp(prefix="procession-")
        os.unlink(path)
    if size:
        os.ftruncate(fd, size)
    return fd


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte of ``data``; a short write (a signal, a full pipe) goes on."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def usable_cores() -> int:
    """The number of cores of the machine: nothing finer is known here."""
    return os.cpu_count() or 1


def process_fd(pid: int) -> int | None:
    """A descriptor that is readable once ``pid`` has ended, or None where there is none."""
    return None


def die_with(lifeline: int, *, group: bool = False) -> None:
    """Kill this process (its ``group`` too) as soon as the other end of the pipe ``lifeline`` is closed.

    A thread waits for it: code that holds the GIL for long delays the end.
    """

    def watch() -> None:
        select.select([lifeline], [], [])
        os.killpg(os.getpgrp(), signal.SIGKILL) if group else os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="procession-lifeline", daemon=True).start()
