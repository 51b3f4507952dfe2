"""What can happen to a process that runs user code, by name, and jobs to which it happens at a chosen place.

Importable by workers.  `meet(how)` has it happen to this process; it returns if one survives it.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.helpers.eventually import eventually
from tests.helpers.gates import Notes

EXIT_CODE = 3
SPARE_MEMORY = 48 << 20  # bytes that a process whose address space is limited may still take
FORKED = -1  # what a forked child returns, where its parent returns a value of 0 or more


def meet(how: str) -> bool:
    """Have it happen to this process; if there is anything after it, return whether this is a forked child."""
    return bool(_FATES[how]())


def _raise() -> NoReturn:
    raise ValueError("on purpose")


def _signal(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()  # not reached: the kernel delivers before the call returns


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE_MEMORY, hard))


def _exhaust_memory() -> NoReturn:
    """Take memory until there is no megabyte left.  The traceback holds all of it."""
    _limit_memory()
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


def _exhaust_memory_to_the_last_byte() -> NoReturn:
    """Take memory until there is none at all.  The traceback holds all of it."""
    _limit_memory()
    hoard: list[Any] = [None] * 2_000_000
    size, place = 1 << 20, 0
    while True:
        try:
            hoard[place] = bytearray(size)
            place += 1
        except MemoryError:
            if size == 1 << 6:
                raise
            size >>= 7


def _overflow_stack() -> None:
    """Need more of the C stack than there may be, in a recursion of native code."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 17, hard))  # it grows when touched, and now cannot
    sys.setrecursionlimit(20_000)
    deep: list[Any] = []
    for _ in range(9_000):
        deep = [deep]
    repr(deep)


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _stop_and_be_continued() -> None:
    """Stop; a helper process sees it and lets this one go on."""
    me = os.getpid()
    helper = os.fork()
    if helper == 0:
        try:
            eventually(lambda: _state_of(me) == "T")
            os.kill(me, signal.SIGCONT)
        finally:
            os._exit(0)
    os.kill(me, signal.SIGSTOP)
    os.waitpid(helper, 0)


def _hang() -> NoReturn:
    while True:
        pass


def _hang_deaf_in_native_code() -> None:
    """Wait for ever in native code that holds the GIL, with all signals blocked."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    ctypes.PyDLL(None).pause()


def fork_a_deadlock() -> int:
    """Fork a child that waits for ever for a lock; return its pid, in the parent."""
    child = os.fork()
    if child == 0:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    return child


def _fork_a_deadlock() -> None:
    fork_a_deadlock()


def _fork_a_deadlock_and_exit() -> NoReturn:
    """End while a child holds copies of all descriptors."""
    fork_a_deadlock()
    os._exit(EXIT_CODE)


def _fork_and(go_on: Callable[[], object]) -> bool:
    """Fork a child that goes on as if it were this process; return once it has ended, and whether this is it."""
    child = os.fork()
    if child == 0:
        go_on()
        return True
    os.waitpid(child, 0)
    return False


def _close_outputs() -> None:
    os.close(1)
    os.close(2)


def _close_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()


_FATES: dict[str, Callable[[], object]] = {
    "error": _raise,
    "sys.exit": lambda: sys.exit(5),
    "os._exit": lambda: os._exit(EXIT_CODE),
    "SIGKILL": lambda: _signal(signal.SIGKILL),
    "SIGSEGV": lambda: _signal(signal.SIGSEGV),
    "native-abort": lambda: ctypes.CDLL(None).abort(),
    "memory": _exhaust_memory,
    "all-memory": _exhaust_memory_to_the_last_byte,
    "stack": _overflow_stack,
    "stop-and-continue": _stop_and_be_continued,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": _hang,
    "native-hang": _hang_deaf_in_native_code,
    "fork-deadlocks": _fork_a_deadlock,
    "fork-deadlocks-then-exit": _fork_a_deadlock_and_exit,
    "fork-returns": lambda: _fork_and(lambda: None),
    "fork-raises": lambda: _fork_and(_raise),
    "fork-sys.exit": lambda: _fork_and(lambda: sys.exit(5)),
    "no-descriptors": lambda: os.closerange(3, 65_536),
    "no-outputs": _close_outputs,
    "no-streams": _close_streams,
}


# ---------------------------------------------------------------------------------------------------------------- jobs


class Job:
    """A number to double.  It meets its fate as an `argument`, in the `call`, as `result` or as `garbage`.

    The place `parent` is the unpickling of the result there.
    """

    def __init__(self, number: int, how: str = "", where: str = "", parent: int = 0) -> None:
        self.number = number
        self.how = how
        self.where = where
        self.parent = parent or os.getpid()

    def __reduce__(self) -> Any:
        return _revive, (self.number, self.how, self.where, self.parent)

    def __del__(self) -> None:
        if self.where == "garbage" and self.how and os.getpid() != self.parent:
            meet(self.how)


def _revive(number: int, how: str, where: str, parent: int) -> Job:
    if where == "argument" and how and os.getpid() != parent:
        meet(how)
    return Job(number, how, where, parent)


class _Result:
    """A number whose pickling, or whose unpickling in the parent, does something."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __reduce__(self) -> Any:
        if self.job.where == "result":
            meet(self.job.how)
            return int, (2 * self.job.number,)
        return _unpickle, (self.job.how, self.job.parent)


def _unpickle(how: str, parent: int) -> int:
    if os.getpid() == parent:
        meet(how)
    return 0


def nest(depth: int) -> list[Any]:
    """Return a list in a list in a list."""
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    return deep


def work(notes: Notes, job: Job) -> Any:
    """Note that the job runs, have happen to it what shall, and double its number."""
    notes.write(job.number)
    if job.how and job.where == "call" and meet(job.how):
        return FORKED
    if job.how and job.where in ("result", "parent"):
        return nest(100_000) if job.how == "nested" else _Result(job)
    return 2 * job.number


class Function:
    """Doubles numbers; it meets its fate when it is unpickled in a process that is not the parent."""

    def __init__(self, how: str, notes: Notes, parent: int = 0) -> None:
        self.how = how
        self.notes = notes
        self.parent = parent or os.getpid()

    def __call__(self, number: int) -> int:
        """Note the number and double it."""
        self.notes.write(number)
        return 2 * number

    def __reduce__(self) -> Any:
        return _revive_function, (self.how, self.notes, self.parent)


def _revive_function(how: str, notes: Notes, parent: int) -> Function:
    if os.getpid() != parent:
        meet(how)
    return Function(how, notes, parent)


def meet_at_exit(how: str) -> None:
    """Have it happen when this process ends: an initializer."""
    atexit.register(meet, how)


def double_and_meet(notes: Notes, how: str, job: Job | None = None) -> None:
    """Have it happen, then note that it is over: the target of a process."""
    if not meet(how):
        notes.write("over")


def pid_of_a_deadlock(_: object) -> int:
    """Return the pid of a child that waits for ever."""
    return fork_a_deadlock()
