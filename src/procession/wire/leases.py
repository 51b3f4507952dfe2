"""Leases: which blocks another process has been given, until it says that it needs them no longer.

The lender numbers each loan and keeps the block; the borrower, when the last view on it has gone,
writes a 1 at that number in a page that both see, and the lender, when it next looks, takes it away.
So a loan has one writer at a time, and no message is needed:

    lender: number 7 is free; keeps the block; sends "7"    borrower: maps it ... last view gone: page[7] = 1
    lender: sees 1; forgets the block; page[7] = 0; number 7 is free again
"""

from __future__ import annotations

from procession.wire.arena import Block
from procession.wire.parcel import NEVER_REPORTED

#: Loans to one process at a time; beyond, a block is lent until that process ends.
LEASES = 4096


class Leases:
    """The loans to one borrower, on the lender's side."""

    def __init__(self, page: memoryview) -> None:
        self._page = page  #: one byte a number; owned by the ledger
        self._blocks: dict[int, Block] = {}
        self._free: list[int] = []
        self._top = 0
        self._forever: list[Block] = []

    def __bool__(self) -> bool:
        """Whether something is lent."""
        return bool(self._blocks)

    def lend(self, block: Block) -> int:
        """Lend a block; return the number of the loan."""
        if self._free:
            number = self._free.pop()
        elif self._top < LEASES:
            number = self._top
            self._top += 1
        else:
            self.collect()
            if not self._free:
                self._forever.append(block)
                return NEVER_REPORTED
            number = self._free.pop()
        self._blocks[number] = block
        return number

    def collect(self) -> bool:
        """Take back what has been reported; return whether there was anything."""
        if not self._blocks:
            return False
        page = self._page
        reported = bytes(page[: self._top])
        at = reported.find(1)
        found = at >= 0
        while at >= 0:
            page[at] = 0
            self._blocks.pop(at, None)
            self._free.append(at)
            at = reported.find(1, at + 1)
        return found

    def take_back(self, number: int) -> None:
        """End a loan of which the borrower has not heard, and will not hear."""
        if self._blocks.pop(number, None) is not None:
            self._free.append(number)

    def clear(self) -> None:
        """The borrower is gone, and what it held."""
        self._blocks.clear()
        self._forever.clear()
