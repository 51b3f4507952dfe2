"""The services of the system that Linux does best.

Owns no state.  Kernel facts, with the version they need: ``F_SETSIG`` (2.4),
``pidfd_open`` (5.3), cgroup version 2 and 1 quotas.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import select
import signal

from procession.system import posix

_F_SETSIG = 10  # <asm-generic/fcntl.h>; Python's fcntl has no name for it


def die_with(lifeline: int, *, group: bool = False) -> None:
    """Have the kernel kill this process as soon as the other end of ``lifeline`` is closed.

    With ``group`` the signal goes to the whole process group, which must be our own.
    It needs no thread and no GIL, so native code and ``SIG_IGN`` do not stop it: the pipe's
    hang-up is an I/O event, and ``F_SETSIG`` chooses the signal that an I/O event sends.
    The owner of that signal belongs to the open file description, which a fork shares;
    opening the pipe again through ``/proc`` gives this process one of its own.
    """
    fd = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.close(lifeline)
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpid() if group else os.getpid())
    fcntl.fcntl(fd, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    # The holder may have died before O_ASYNC was set; its hang-up is then already there to see.
    poll = select.poll()
    poll.register(fd, 0)
    if poll.poll(0):
        os.kill(os.getpid(), signal.SIGKILL)


def process_fd(pid: int) -> int | None:
    """A descriptor that is readable once ``pid`` has ended, or None before Linux 5.3."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def usable_cores() -> int:
    """The number of cores that this process may use: affinity and cgroup quota, at least 1."""
    cores = len(os.sched_getaffinity(0))
    quota = _cgroup_cores()
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def _cgroup_cores() -> float | None:
    """The CPU quota of the control group in cores, or None when there is no limit."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            limit, period = file.read().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as file:
            micros = int(file.read())
        with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
            return micros / int(file.read()) if micros > 0 else None
    except (OSError, ValueError):
        return None


def own_memory(pid: int) -> int:
    """The bytes of memory that are a process's own, 0 if it has ended: without what it shares in files or blocks."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _size, resident, shared, *_ = file.read().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * mmap.PAGESIZE


def is_frozen(pid: int) -> bool:
    """Whether a process has been stopped by a signal, or has ended: it runs nothing."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state in (b"T", b"t", b"Z", b"X")


def oom_kills() -> int:
    """How often the kernel has killed a process for want of memory: in our control group, or else at all."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat"):
        try:
            with open(path, "rb") as file:
                for line in file:
                    name, _, number = line.partition(b" ")
                    if name == b"oom_kill":
                        return int(number)
        except (OSError, ValueError):
            continue
    return 0


def usable_memory() -> int:
    """The bytes of memory that this process may use: the machine's, or its control group's limit."""
    total = posix.usable_memory()
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                return min(total, int(file.read()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return total
