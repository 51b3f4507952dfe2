"""Our pool and executor, with those internals of the standard ones that only CPython's tests look at.

A copy of this module is put into the generated package: the tests and their child scripts import it from there.
"""

from __future__ import annotations

from typing import Any

import procession
from procession.pool import Pool


class _ManagerThread:
    """In place of the standard executor's managing thread: joined when everything has ended."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def join(self) -> None:
        """Wait until the workers have ended."""
        self._backend.wait_ended()


class _CallQueue:
    """In place of the standard executor's queue of calls: there is no such queue, nor its thread."""

    def join_thread(self) -> None:
        """Do nothing: there is no thread."""


class ProcessPoolExecutor(procession.ProcessPoolExecutor):
    """``procession.ProcessPoolExecutor``, whose end the tests can wait for as they do with the standard one."""

    @property
    def _executor_manager_thread(self) -> Any:
        return _ManagerThread(self._backend)

    @property
    def _call_queue(self) -> Any:
        return _CallQueue()


def _repopulate_pool(pool: Any) -> None:
    """Start the workers that are missing; ours need not be told, and what `_pool` gives has them all."""
    assert pool._pool is not None


Pool._repopulate_pool = _repopulate_pool
