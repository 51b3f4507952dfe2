"""Admission: how many single calls may be without an outcome at a time.

Owned by a pool or an executor, and shared with the views of it.  Entered by any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from procession.errors import PoolFull

if TYPE_CHECKING:
    from procession.backends.base import Backend


class Admission:
    """Holds callers up while there are enough calls."""

    def __init__(self, backend: Backend, limit: int) -> None:
        self._backend = backend
        self._limit = limit
        self._pending: list[Callable[[], bool]] = []
        self._lock = threading.Lock()

    @contextmanager
    def entered(self, is_done: Callable[[], bool], *, wait: bool) -> Iterator[None]:
        """Count the call that is sent within, until it ``is_done``; ``wait`` for a place if there is none.

        On failure: ``PoolFull``.
        """
        while not self._try_enter(is_done):
            if not wait:
                raise PoolFull(self._limit)
            self._backend.wait(self._has_room)
        try:
            yield
        except BaseException:  # it was not sent
            with self._lock:
                self._pending.remove(is_done)
            raise

    def _try_enter(self, is_done: Callable[[], bool]) -> bool:
        with self._lock:
            if len(self._pending) >= self._limit:  # only then is it worth while to look which are done
                self._pending = [each for each in self._pending if not each()]
                if len(self._pending) >= self._limit:
                    return False
            self._pending.append(is_done)
            return True

    def _has_room(self) -> bool:
        pending = self._pending
        return len(pending) < self._limit or any(each() for each in pending)
