"""The portable way to each service of the system, used where Linux has no better one.

Owns no state, except the watching thread that ``die_with`` starts in a child.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterable


def anonymous_file(name: str, size: int = 0) -> int:
    """Make a file that has no name in any folder and return its descriptor.

    The kernel frees it with its last descriptor and mapping, whatever dies.  The environment variable
    ``PROCESSION_MEMORY`` chooses the way: "memfd" (where there is one), "shm", or "file".
    """
    make = _MAKERS.get(os.environ.get("PROCESSION_MEMORY", _DEFAULT_MAKER), _MAKERS[_DEFAULT_MAKER])
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


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte of ``data``; a short write (a signal, a full pipe) goes on."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def wait_readable(fd: int, timeout: float | None) -> bool:
    """Block until ``fd`` can be read or has hung up, at most ``timeout`` seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0, timeout * 1000)))


class Descriptor:
    """A descriptor that is closed with the last reference to it; -1 for none."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


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
