"""The window: how many items of a stream may be in flight or undelivered, by their number and by their bytes.

Pure.  Owned by the intake of a stream, which tells what there is.
"""

from __future__ import annotations

import sys

#: Items in flight and undelivered, for every worker and in all; times the chunk size.  Enough to keep
#: workers busy with tasks of microseconds.
_PER_WORKER = 16
_BASE = 32

#: To what a window grows that was not asked for, while workers have done all of it before more can be handed out:
#: the round trip of 64 items of a microsecond takes ten times as long as the items.  Of results of the largest size
#: that does not count as bytes, some 400 MB.
_LIMIT = 8192

#: In a wide window, room is looked for once in so many items that are taken.
_CHECKED = 16

#: Of shared memory in flight and undelivered, for every worker; but always some items more than workers.
_BYTES = 64 << 20

#: A window without bounds.
UNBOUNDED = sys.maxsize


class Window:
    """The bounds, which widen by themselves if nobody has asked for them."""

    def __init__(self, workers: int, chunksize: int, asked: int | None) -> None:
        default = (_BASE + _PER_WORKER * workers) * chunksize
        self.size = default if asked is None else asked
        self._limit = max(default, _LIMIT) if asked is None else asked
        self._least = min(workers + 1, self.size)
        self._bytes = _BYTES * workers

    def room(self, under_way: int, size: int) -> int:
        """How many items more may be under way, when so many are, with ``size`` bytes of shared memory."""
        if not size:
            return self.size - under_way
        each = max(1, size // max(1, under_way))
        return max(min(self.size - under_way, (self._bytes - size) // each), self._least - under_way)

    def is_worth_it(self, room: int) -> bool:
        """Whether it is time to pull some for that room: not for every single tiny item."""
        return room > 0 and room * 4 >= self.size

    def may_skip_look(self, taken: int) -> bool:
        """Whether room need not be looked for behind the outcome that has just been taken, a small one."""
        return bool(taken % _CHECKED) and self.size > _CHECKED * 4

    @property
    def can_grow(self) -> bool:
        """Whether it may become wider."""
        return self.size < self._limit

    def grow(self) -> None:
        """Become wider."""
        self.size = min(2 * self.size, self._limit)
