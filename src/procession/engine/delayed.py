"""Items that wait for their next try.  Pure: the clock is passed in.  Touched under the engine's lock."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procession.engine.work import Chunk, Source

#: A chunk, and the index in it of the item.
Item = tuple["Chunk", int]


class Delayed:
    """A heap of items, by the time at which they are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Chunk, int]] = []
        self._numbers = count()

    def __bool__(self) -> bool:
        """Whether an item waits."""
        return bool(self._heap)

    def add(self, due: float, chunk: Chunk, index: int) -> None:
        """Keep an item until ``due``."""
        heapq.heappush(self._heap, (due, next(self._numbers), chunk, index))

    def pop_due(self, now: float) -> list[Item]:
        """The items whose time has come."""
        found: list[Item] = []
        while self._heap and self._heap[0][0] <= now:
            _due, _number, chunk, index = heapq.heappop(self._heap)
            found.append((chunk, index))
        return found

    def seconds_left(self, now: float) -> float | None:
        """How long until the next is due; None when there is none."""
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def remove(self, source: Source, index: int | None = None, chunk: Chunk | None = None) -> list[Item]:
        """Take out the items of a source, or the one at ``index`` of ``chunk``."""
        if not self._heap:
            return []
        taken: list[tuple[float, int, Chunk, int]] = []
        kept: list[tuple[float, int, Chunk, int]] = []
        for entry in sorted(self._heap):
            is_meant = entry[2].source is source and (chunk is None or (entry[2] is chunk and entry[3] == index))
            (taken if is_meant else kept).append(entry)
        self._heap = kept  # sorted, so it is a heap
        return [(each[2], each[3]) for each in taken]

    def items(self) -> list[Item]:
        """All of them."""
        return [(chunk, index) for _due, _number, chunk, index in self._heap]

    def clear(self) -> None:
        """Forget them."""
        self._heap.clear()
