"""Nesting: where in a tree of pools this process stands, so that pools within pools share what there is.

Owns two numbers, which a starting child gets from its parent.  Without them a function that makes a pool, and is
run by one, would start as many processes as cores, squared; or, if it calls itself so, processes without end.
"""

from __future__ import annotations

from procession.system import usable_cores

#: Pools in pools in pools: deeper than this is a mistake.
_DEPTH_LIMIT = 8

#: Workers that a tree of pools may have, if all are busy at once: for each core, and at least.
_WORKERS_PER_CORE = 16
_WORKERS_LEAST = 64


class Nesting:
    """The place of this process in the tree."""

    def __init__(self) -> None:
        self.depth = 0  #: pools above
        self.sharers = 1  #: processes that share the machine with this one, itself included

    def adopt(self, depth: int, sharers: int) -> None:
        """Take the place that the parent has given to this process."""
        self.depth, self.sharers = depth, sharers

    def below(self, workers: int) -> tuple[int, int]:
        """The place of each worker of a pool of this process."""
        return self.depth + 1, self.sharers * workers

    def default_workers(self) -> int:
        """How many workers a pool gets that does not say: the cores, or this process's part of them."""
        return max(1, usable_cores() // self.sharers)

    def check(self, workers: int) -> None:
        """Check that a pool of so many workers may be made here.  On failure: ``NestingLimit``."""
        most = max(_WORKERS_LEAST, _WORKERS_PER_CORE * usable_cores())
        if self.depth >= _DEPTH_LIMIT or (self.depth and self.sharers * workers > most):
            from procession.errors import NestingLimit

            raise NestingLimit(
                f"this pool of {workers} would be within {self.depth} others, with up to {self.sharers * workers:,} "
                f"workers in all (at most {most:,} and {_DEPTH_LIMIT} pools deep). Does a task make a pool that runs "
                "itself? Without a number, a pool within a pool takes its part of the cores"
            )


nesting = Nesting()
