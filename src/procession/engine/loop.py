"""The loop: one wait for all of a pool's descriptors, with a way to end it early.

Owns the poller, the pipe that interrupts it, and the time of the next look.  Knows what to call for a
descriptor that can be read; does not know why.  Registered and polled by the driver; ``nudge`` and
``look_within`` may be called from any thread.

A look that another thread asks for must not be missed by one that is just going to sleep:
    sleeper: no look is due; sleeps until woken | another: hands out a chunk, wants a look in 5 ms
So the sleeper says until when it will sleep, and then looks at the time of the next look once more; who wants
one earlier than that writes to the pipe.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from procession.system import nap

#: Looks at the sockets before the thread sleeps, about 0.6 us each.
SPINS = 100

_NEVER = float("inf")

#: What epoll takes, in milliseconds, is an int; whoever waits longer polls again.
_LONGEST_SECONDS = 1e6


def soonest(*waits: float | None) -> float | None:
    """The shortest of some waits, of which None has no end."""
    return min((each for each in waits if each is not None), default=None)


class Loop:
    """Waits for events, and knows their handlers."""

    def __init__(self) -> None:
        self._poller = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._closed = False
        self._next_look = _NEVER
        self._asleep_until = 0.0  #: until when the driver will sleep; it is awake if that is past
        self.watch(self._wake_read, self._on_nudge)

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Have ``handler`` called whenever ``fd`` can be read; nothing if it is watched already."""
        if fd not in self._handlers:
            self._handlers[fd] = handler
            self._poller.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor."""
        if self._handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def watch_writing(self, fd: int, *, wanted: bool) -> None:
        """Have the handler of ``fd`` called also when it can be written, or no longer."""
        self._poller.modify(fd, select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

    def look_within(self, seconds: float) -> None:
        """Have ``look_is_due`` come true in ``seconds`` at the latest."""
        moment = time.monotonic() + seconds
        if moment < self._next_look:
            self._next_look = moment
            if moment < self._asleep_until:
                self.nudge()

    def looks_within(self, seconds: float) -> bool:
        """Whether a look is to come so soon."""
        return self._next_look is not _NEVER and self._next_look <= time.monotonic() + seconds

    def look_is_due(self) -> bool:
        """Whether it is time to look; the next look has to be asked for anew."""
        if self._next_look is _NEVER or time.monotonic() < self._next_look:
            return False
        self._next_look = _NEVER
        return True

    def poll(self, timeout: float | None, *, spin: bool) -> list[tuple[int, int]]:
        """Block until something can be read, or a look is due; return what ``handle`` takes.

        ``spin``: stay awake a little first.
        """
        poll = self._poller.poll
        if spin:
            for _ in range(SPINS):
                events = poll(0)
                if events:
                    return events
        end = _NEVER if timeout is None else time.monotonic() + timeout
        try:
            self._asleep_until = end = min(end, self._next_look)
            end = min(end, self._next_look)  # asked for while the line before was run
            left = None if end is _NEVER else min(max(0.0, end - time.monotonic()), _LONGEST_SECONDS)
            return poll(nap(left))
        finally:
            self._asleep_until = 0.0

    def handle(self, fd: int) -> None:
        """Call the handler of a descriptor, if it has one still: another's may have ended its watch."""
        handler = self._handlers.get(fd)
        if handler is not None:
            handler()

    def nudge(self) -> None:
        """Make a blocked ``poll`` return."""
        if not self._closed:
            try:  # noqa: SIM105
                os.write(self._wake_write, b"!")
            except OSError:  # full, which does as well, or just closed
                pass

    def _on_nudge(self) -> None:
        try:  # noqa: SIM105
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give the descriptors back."""
        self._closed = True
        self._poller.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
