"""Hunger: who waits for room in the store, and for how long nothing has been given back.

Pure.  Touched by the driver, under the engine's lock, but for the two counters, which are only compared.
"""

from __future__ import annotations

#: With nothing under way, and nothing given back for so long, there is nobody to wait for: long against
#: the garbage collection of a worker that has just become idle.
HUNGER_SECONDS = 2.0


class Hunger:
    """The state of a store that is full."""

    __slots__ = ("returns", "since", "waiters")

    def __init__(self) -> None:
        self.waiters = 0  #: threads that wait for room
        self.returns = 0  #: how often something has been given back
        self.since = 0.0  #: when an item did not fit though nothing was under way, 0 when it was not so

    def is_starving(self, under_way: bool, now: float) -> bool:
        """Note that an item does not fit; return whether it never will."""
        if under_way:
            self.since = 0.0
            return False
        self.since = self.since or now
        return now - self.since > HUNGER_SECONDS
