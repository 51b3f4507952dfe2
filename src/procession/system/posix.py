"""The portable way to each service of the system, used where Linux has no better one.

Owns no state, except the watching thread that ``die_with`` starts in a child.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable

_REALTIME = getattr(signal, "SIGRTMAX", None)
#: Two signals that neither the system nor other libraries use, where there are real-time signals: to stop an item,
#: and to have stacks written.
STOP_SIGNAL = signal.SIGUSR1 if _REALTIME is None else _REALTIME - 3
STACKS_SIGNAL = signal.SIGUSR2 if _REALTIME is None else _REALTIME - 4

#: The longest that the main thread sleeps at a time, see ``nap``.
NAP_SECONDS = 0.5


def anonymous_file(name: str, size: int = 0) -> int:
    """Make a file that has no name in any folder and return its descriptor.

    The kernel frees it with its last descriptor and mapping, whatever dies.  The environment variable
    ``PROCESSION_MEMORY`` chooses the way: "memfd" (where there is one), "shm", or "file".  On failure: ``OSError``;
    ``ValueError`` for another name.
    """
    chosen = os.environ.get("PROCESSION_MEMORY", _DEFAULT_MAKER)
    make = _MAKERS.get(chosen)
    if make is None:
        raise ValueError(f"PROCESSION_MEMORY must be one of {', '.join(_MAKERS)} on this system, not {chosen!r}")
    try:
        return _sized(make(name), size, reserve=make is not _MAKERS.get("memfd"))
    except OSError:
        if make is not _make_shm:
            raise
        return _sized(_make_file(name), size, reserve=True)  # /dev/shm may be tiny


def _sized(fd: int, size: int, *, reserve: bool) -> int:
    """Give a new file its size, and its place on a file system that may be full: better an error here than
    a SIGBUS when a page is touched.
    """
    try:
        if size and reserve:
            os.posix_fallocate(fd, 0, size)
        elif size:
            os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make_memfd(name: str) -> int:
    return os.memfd_create(name, os.MFD_CLOEXEC)


def _make_shm(name: str) -> int:
    """POSIX shared memory whose name is gone before anybody else can have seen it."""
    import _posixshmem

    path = f"/{name}-{os.getpid()}-{os.urandom(6).hex()}"
    fd: int = _posixshmem.shm_open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600)
    _posixshmem.shm_unlink(path)
    return fd


def _make_file(name: str) -> int:
    import tempfile

    fd, path = tempfile.mkstemp(prefix=f"{name}-")
    os.unlink(path)
    return fd


_MAKERS = {"shm": _make_shm, "file": _make_file}
if hasattr(os, "memfd_create"):
    _MAKERS["memfd"] = _make_memfd
_DEFAULT_MAKER = "memfd" if "memfd" in _MAKERS else "file"


def usable_memory() -> int:
    """The bytes of memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def own_memory(pid: int) -> int:
    """The bytes of memory of a process, 0 if it has ended."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def is_frozen(pid: int) -> bool:
    """Whether a process has been stopped by a signal, or has ended: it runs nothing."""
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def oom_kills() -> int:
    """How often the kernel has killed a process for want of memory: unknown here."""
    return 0


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte of ``data``; a short write (a signal, a full pipe) goes on."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def wait_readable(fd: int, timeout: float | None) -> bool:
    """Block until ``fd`` can be read or has hung up, at most ``timeout`` seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        seconds = nap(left)
        if poll.poll(None if seconds is None else seconds * 1000):
            return True
        if seconds == left:
            return False


def nap(seconds: float | None) -> float | None:
    """How long of ``seconds`` (None: for ever) a thread may sleep at a time.

    Python calls signal handlers between two instructions, or out of a wait that a signal interrupts; so one may
    be late for the wait that comes next:
        main thread: its last instruction before the wait | Ctrl-C: noted | main thread: waits, perhaps for ever
    The main thread therefore wakes now and then, and handles what it has missed.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return seconds
    return NAP_SECONDS if seconds is None else min(seconds, NAP_SECONDS)


class Descriptor:
    """A descriptor that is closed with the last reference to it; -1 for none."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def hold_standard_descriptors() -> None:
    """Have 0, 1 and 2 lead nowhere where they are closed.

    Else a pipe of ours gets such a number, and what a child prints goes into it.
    """
    for fd in range(3):
        if not is_open(fd):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, fd)
            os.set_inheritable(fd, True)
            if null != fd:
                os.close(null)


def is_open(fd: int) -> bool:
    """Whether a descriptor leads anywhere."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)


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


def peak_memory() -> int:
    """The most memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
