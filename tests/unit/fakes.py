"""A source that only counts."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from procession.engine.interning import Function
from procession.engine.work import Chunk
from procession.wire.messages import Style


class FakeSource:
    """Positions 0 to `total`; counts how often each was cut and returned."""

    style = Style.MAP
    timed = False
    timeout = None
    stoppable = False
    dropped = False
    queued = False
    watched = False
    gives_way = False
    shunned = 0

    def __init__(self, total: int, function: int = 1, chunksize: int | None = None, *, eager: bool = False) -> None:
        self.function = Function(function, b"", f"function {function}")
        self.total = total
        self.chunksize = chunksize
        self.eager = eager
        self.waiting = deque(range(total))
        self.outcomes: Counter[int] = Counter()

    def left(self) -> int:
        """See `Source`; up to the next gap, since a chunk is of consecutive items."""
        return len(self.waiting)

    def add(self, count: int) -> None:
        """Have so many items more."""
        self.waiting.extend(range(self.total, self.total + count))
        self.total += count

    def cut(self, count: int, worker: int = 0) -> Chunk:
        """See `Source`."""
        start = self.waiting.popleft()
        taken = 1
        while taken < count and self.waiting and self.waiting[0] == start + taken:
            self.waiting.popleft()
            taken += 1
        chunk: Any = Chunk(self, start, taken)  # type: ignore[arg-type]
        return chunk

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None, *, failed: bool = False) -> None:
        """See `Source`."""
        end = chunk.count if stop is None else stop
        self.waiting.extendleft(reversed(range(chunk.start + first, chunk.start + end)))
        if failed:
            self.shunned = chunk.worker

    def deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        """See `Source`."""
        self.outcomes.update(range(chunk.start + first, chunk.start + first + count))

    def settle(self, chunk: Chunk) -> None:
        """Count an outcome for every item of the chunk."""
        self.outcomes.update(range(chunk.start, chunk.start + chunk.count))
