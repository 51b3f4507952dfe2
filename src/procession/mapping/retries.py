"""Retries: which failed items of one source are tried again, and what is on record about their tries.

Written by the thread that drives, when it delivers.  What never reached a worker because of the pool itself
(cancelled, broken) is not tried again, whatever ``retry_on`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.errors import InternalError, NotPicklable, PoolBroken, TaskCancelled
from procession.outcome import Attempt, kind_of
from procession.wire.outcomes import Outcomes

if TYPE_CHECKING:
    from procession.engine.work import Chunk
    from procession.options import TaskOptions

#: Queues an item of a chunk once more, after a delay in seconds; says whether it could.
Again = Callable[["Chunk", int, float], bool]

_NEVER = (TaskCancelled, PoolBroken, NotPicklable, InternalError)


class Retries:
    """The tries of one source's items."""

    def __init__(self, options: TaskOptions, again: Again) -> None:
        self._options = options
        self._again = again
        self._tries: dict[Any, list[Attempt]] = {}  # by what an item is known by
        self.on_retry: Callable[[], object] | None = None

    def sort_out(
        self, chunk: Chunk, first: int, outcomes: Outcomes, key: Callable[[Chunk, int], Any]
    ) -> list[tuple[int, Outcomes]]:
        """Queue again what is to be tried again of the outcomes of ``chunk`` from ``first`` on.

        Return the others, in runs of consecutive items.  ``key`` tells what an item is known by.
        """
        kept: list[tuple[int, Outcomes]] = []
        start = 0
        for offset in sorted(outcomes.errors):
            seconds = outcomes.seconds[offset] if outcomes.seconds else None
            attempt = Attempt(kind_of(outcomes.errors[offset]), outcomes.errors[offset], seconds)
            if self._try_again(chunk, first + offset, key(chunk, first + offset), attempt):
                if start < offset:
                    kept.append((first + start, part_of(outcomes, start, offset)))
                start = offset + 1
        if start < len(outcomes.values):
            kept.append((first + start, part_of(outcomes, start, len(outcomes.values)) if start else outcomes))
        return kept

    def _try_again(self, chunk: Chunk, index: int, key: Any, attempt: Attempt) -> bool:
        options, error = self._options, attempt.error
        if not isinstance(error, options.retry_on) or isinstance(error, _NEVER):
            return False
        tries = self._tries.setdefault(key, [])
        if len(tries) >= options.retries:
            return False
        tries.append(attempt)
        if self._again(chunk, index, options.delay(len(tries) - 1)):
            if self.on_retry is not None:
                self.on_retry()
            return True
        tries.pop()
        return False

    def tries(self, key: Any) -> list[Attempt]:
        """The failed tries of an item so far."""
        return self._tries.get(key, [])

    def pop(self, key: Any) -> list[Attempt]:
        """The failed tries of an item before the last one; it has its outcome now."""
        return self._tries.pop(key, []) if self._tries else []


def part_of(outcomes: Outcomes, start: int, stop: int) -> Outcomes:
    """Those from ``start`` to before ``stop``."""
    return Outcomes(
        outcomes.values[start:stop],
        {at - start: error for at, error in outcomes.errors.items() if start <= at < stop},
        None if outcomes.seconds is None else outcomes.seconds[start:stop],
        {at - start: size for at, size in outcomes.sizes.items() if start <= at < stop},
        {at - start: tries for at, tries in outcomes.tries.items() if start <= at < stop},
        outcomes.replayed,
    )
