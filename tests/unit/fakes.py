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

    def cut(self, count: int) -> Chunk:
        """See `Source`."""
        start = self.waiting.popleft()
        taken = 1
        while taken < count and self.waiting and self.waiting[0] == start + taken:
            self.waiting.popleft()
            taken += 1
        chunk: Any = Chunk(self, start, taken)  # type: ignore[arg-type]
        return chunk

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None) -> None:
        """See `Source`."""
        end = chunk.count if stop is None else stop
        self.waiting.extendleft(reversed(range(chunk.start + first, chunk.start + end)))

    def settle(self, chunk: Chunk) -> None:
        """Count an outcome for every item of the chunk."""
        self.outcomes.update(range(chunk.start, chunk.start + chunk.count))
