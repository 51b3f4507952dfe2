"""Hunger: for how long nothing has been given back to a full store, and whether there is hope.

Pure: the clock is passed in.  Written under the engine's lock, but for ``waiters``, which every waiting
thread counts for itself; ``returns`` is also read without the lock, and only compared.
"""

from __future__ import annotations

#: With nothing under way, and nothing given back for so long, there is nobody to wait for: long against
#: the garbage collection of a worker that has just become idle.
HUNGER_SECONDS = 2.0


class Hunger:
    """The state of a store that is full."""

    __slots__ = ("_since", "returns", "waiters")

    def __init__(self) -> None:
        self.waiters = 0  #: threads that wait for room
        self.returns = 0  #: how often something has been given back
        self._since = 0.0  #: since when something does not fit though nothing is under way, 0 when it is not so

    def note_return(self) -> None:
        """Something has been given back, or found its place."""
        self.returns += 1
        self._since = 0.0

    def is_starving(self, under_way: bool, now: float) -> bool:
        """Note that something does not fit; return whether it never will."""
        if under_way:
            self._since = 0.0
            return False
        self._since = self._since or now
        return now - self._since > HUNGER_SECONDS
