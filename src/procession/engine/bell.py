"""The bell: wakes one thread, whatever interrupts those who ring.

A bare lock, which is held as long as nobody has rung.  The conditions and events of ``threading`` are written in
Python, so a Ctrl-C in the main thread may leave their inner lock held, and the next who touches them waits for ever:
    main thread: in Event.set, has the inner lock | Ctrl-C | another thread: in Event.wait, waits for that lock
"""

from __future__ import annotations

import threading

from procession.system import nap


class Bell:
    """What one thread waits for and others ring."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake the one that waits, or will wait next; ringing twice is ringing once."""
        try:  # noqa: SIM105 (in the hot path)
            self._lock.release()
        except RuntimeError:
            pass

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it has been rung since the last wait; return whether it has.

        The main thread may come back before ``timeout`` seconds, see ``nap``.
        """
        seconds = nap(timeout)
        return self._lock.acquire(timeout=-1.0 if seconds is None else min(threading.TIMEOUT_MAX, seconds))

    def hush(self) -> None:
        """Forget that it has been rung."""
        self._lock.acquire(blocking=False)
