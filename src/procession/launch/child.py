"""A started process, seen from the one that started it.

A ``Child`` owns the descriptor that tells of the end.  ``poll`` may be called by any thread; a lock
keeps two of them from reading one record, or from reaping the same pid.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress

from procession.errors import StartFailed
from procession.system import process_fd, wait_readable
from procession.wire.endings import (
    ENDING_SIZE,
    START_SIZE,
    Ending,
    unpack_ending,
    unpack_start,
)

#: What the standard library's forkserver also reports for a child whose server is gone.
LOST = Ending(255, 0)


class Child(ABC):
    """A process of ours: its pid, a descriptor that is readable at its end, and the ending."""

    def __init__(self, pid: int, sentinel: int) -> None:
        self.pid = pid
        self.sentinel = sentinel
        self.ending: Ending | None = None
        self._lock = threading.Lock()

    def poll(self) -> Ending | None:
        """How it ended, or None as long as it has not.  Never blocks."""
        # Without waiting for the lock: who holds it is reading the same record.
        if self.ending is None and self._lock.acquire(blocking=False):
            try:
                if self.ending is None:
                    self.ending = self._read_ending()
            finally:
                self._lock.release()
        return self.ending

    @abstractmethod
    def wait_started(self) -> int:
        """Block until it runs and return its pid."""

    @abstractmethod
    def _read_ending(self) -> Ending | None:
        """Find out, without blocking, whether and how the process ended."""

    def wait(self, timeout: float | None = None) -> Ending | None:
        """Block until it has ended, at most ``timeout`` seconds; return how, or None."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (ending := self.poll()) is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not wait_readable(self.sentinel, left):
                return self.poll()
        return ending

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal, to its process ``group`` if it leads one; nothing if it has ended."""
        if self.poll() is not None or self.pid <= 0:
            return
        try:
            os.killpg(self.pid, number) if group else os.kill(self.pid, number)
        except ProcessLookupError:
            # A leader that has not made its group yet, or an end that is not recorded yet.
            if group:
                self.signal(number)

    def kill(self) -> None:
        """End it and its process group for certain."""
        self.signal(signal.SIGKILL, group=True)

    def close(self) -> None:
        """Give the descriptor back."""
        if self.sentinel >= 0:
            os.close(self.sentinel)
            self.sentinel = -1


class ServedChild(Child):
    """A fork of the zygote: its records come through a pipe, the pid as the first."""

    def __init__(self, sentinel: int) -> None:
        super().__init__(0, sentinel)
        os.set_blocking(sentinel, False)

    def wait_started(self) -> int:
        """Block until it has been forked and return its pid.

        On failure: ``StartFailed`` when the zygote could not fork, or died.
        """
        # With the lock: another thread's poll would take the record that is waited for here.
        with self._lock:
            while self.pid == 0:
                wait_readable(self.sentinel, None)
                self.ending = self._read_ending()
        if self.pid < 0:
            code = -self.pid
            raise StartFailed(code, f"the process could not be forked: {os.strerror(code)}")
        return self.pid

    def _read_ending(self) -> Ending | None:
        try:
            if self.pid == 0:
                record = os.read(self.sentinel, START_SIZE)
                if len(record) < START_SIZE:
                    self.pid = -errno.ECONNRESET
                    return LOST
                self.pid = unpack_start(record)
                if self.pid < 0:
                    return LOST
            record = os.read(self.sentinel, ENDING_SIZE)
        except BlockingIOError:
            return None
        # The reaper writes and then closes; from the close on the sentinel stays readable.
        wait_readable(self.sentinel, 1.0)
        if len(record) == ENDING_SIZE:
            return unpack_ending(record)
        self._make_certain()
        return LOST

    def _make_certain(self) -> None:
        """Its reaper is gone, and the kernel ends it for that; but what it holds must not be given to others before:

        zygote: dies, its pipes close one by one | parent: reads this end | child: begins one more item, is killed
        """
        fd = process_fd(self.pid)
        if fd is None:
            return
        try:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            wait_readable(fd, 1.0)
        finally:
            os.close(fd)


class OwnChild(Child):
    """A child of this very process, reaped here."""

    def __init__(self, pid: int, fallback: int) -> None:
        """``fallback`` is a pipe whose other end the child holds, for systems without pidfds."""
        fd = process_fd(pid)
        if fd is not None:
            os.close(fallback)
        super().__init__(pid, fallback if fd is None else fd)

    def wait_started(self) -> int:
        """The pid; it has been started already."""
        return self.pid

    def _read_ending(self) -> Ending | None:
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else's waitpid(-1) has taken it
            return LOST
        if pid == 0:
            return None
        return Ending(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
