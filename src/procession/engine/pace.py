"""How long the items of a function take, and what follows from it.

Pure: fed with measured times, asked for sizes.  Sizes never change results, order, or the
granularity of errors; they only decide how much travels at a time.
"""

from __future__ import annotations

#: A chunk should take about this long: long against the 0.1 ms that a chunk costs the parent,
#: short against what a person notices and against the imbalance at the end of a map.
CHUNK_SECONDS = 0.015

#: Separate calls, and chunks of a size that the caller chose, are sent together up to this much
#: work.  One of them that takes longer than it should is seen in the ledger, and holds nothing up.
BUNDLE_SECONDS = 0.001
BUNDLE_LIMIT = 1024

#: What it costs to wake an idle worker for a chunk.  Less work than that is not shared out any further: shares of what
#: is left would end as one chunk for each of the last items.
HANDOUT_SECONDS = 50e-6

#: Work that may wait in a worker's socket: enough to cover the parent's reaction.
BACKLOG_SECONDS = 0.002
CREDIT_LIMIT = 16

#: A chunk above this is not worth hiding the reaction of the parent for (1 %).
LONG_SECONDS = 0.02

#: A chunk may be at most this much longer than the last: the first items may be untypical.
GROWTH = 12

#: Toward the end every worker should still get this many chunks.
SHARES = 3


class Pace:
    """The measured pace of one function."""

    __slots__ = ("_largest", "seconds_per_item")

    def __init__(self) -> None:
        self.seconds_per_item: float | None = None
        self._largest = 1

    def observe(self, count: int, seconds: float) -> None:
        """Learn from a chunk of ``count`` items that took ``seconds``."""
        sample = max(seconds, 1e-9) / count
        known = self.seconds_per_item
        # The newest chunk weighs half: items of one map are alike at the same time.  Of a short one, most is what it
        # takes to begin a chunk.
        weight = 0.5 * min(1.0, seconds / HANDOUT_SECONDS)
        self.seconds_per_item = sample if known is None else known + weight * (sample - known)
        self._largest = max(self._largest, count)

    def chunk_size(self, left: int, workers: int) -> int:
        """Items for the next chunk of a map with ``left`` items to go."""
        if self.seconds_per_item is None:
            return 1
        by_time = int(CHUNK_SECONDS / self.seconds_per_item)
        fair = -(-left // (SHARES * workers))
        return max(1, min(by_time, self._largest * GROWTH, fair))

    def bundle_size(self, left: int, unit: int, workers: int) -> int:
        """Units of ``unit`` items to send together, with ``left`` of them waiting."""
        if self.seconds_per_item is None:
            return 1
        seconds = self.seconds_per_item * unit
        share = max(-(-left // workers), min(left, int(HANDOUT_SECONDS / seconds)))
        return max(1, min(int(BUNDLE_SECONDS / seconds), BUNDLE_LIMIT, share))

    def credit(self, items: int) -> int:
        """Chunks of ``items`` that a worker may hold: the one it runs, and those that wait."""
        if self.seconds_per_item is None:
            return 1
        seconds = self.seconds_per_item * items
        if seconds > LONG_SECONDS:
            return 1
        return min(CREDIT_LIMIT, 2 + int(BACKLOG_SECONDS / seconds))

    def is_tiny(self, items: int) -> bool:
        """Whether waking an idle worker costs more than running the chunk on a busy one."""
        return self.seconds_per_item is not None and self.seconds_per_item * items < HANDOUT_SECONDS
