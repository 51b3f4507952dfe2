"""Descriptors that travel with the pickle of a starting child.

Connections, queues and the like pickle as the position of their descriptor among those that are
passed along; the child looks it up in the table, which it fills once before it unpickles.
"""

from __future__ import annotations

_table: list[int] = []


def fill(fds: list[int]) -> None:
    """Set, in the child, the descriptors that came with it."""
    _table[:] = fds


def fds() -> list[int]:
    """The descriptors that came with this child, by position."""
    return _table


class InheritedFd:
    """Stands in a pickle for the descriptor at a position; multiprocessing asks it to detach."""

    def __init__(self, position: int) -> None:
        self.position = position

    def detach(self) -> int:
        """The descriptor, in the child."""
        return _table[self.position]
