"""The worker's shared memory: what it lends to its parent, and its views on what the parent lends.

Runs in the worker's main thread.  Owns the worker's arena and the loans from it.  Its descriptor is sent
to the parent before the first block is, so whatever the parent finds in the ledger it can read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from procession.system import peak_memory
from procession.wire import ledger as page
from procession.wire import messages
from procession.wire.arena import IDLE_SECONDS, Arena, Block, NoRoom
from procession.wire.leases import Leases
from procession.wire.parcel import AnyBlock, FileBlock, Frame, pack
from procession.wire.views import Views, pinned_bytes

if TYPE_CHECKING:
    from procession.wire.channel import Channel
    from procession.wire.ledger import Ledger
    from procession.wire.pickled import Pickled
    from procession.wire.segments import Segment


#: An idle worker keeps the segments of its last chunk no longer than this.
SEGMENT_SECONDS = 0.1


class Limits(NamedTuple):
    """How many bytes a worker may lend."""

    arena: int  #: in recycled blocks, at one time
    object: int  #: in one result


class Memory:
    """Blocks out, views in."""

    def __init__(self, channel: Channel, ledger: Ledger, limits: Limits) -> None:
        self._channel = channel
        self._words = ledger.words
        self._limits = limits
        self._arena = Arena(limits.arena)
        self._leases = Leases(ledger.taken)
        self.views = Views(ledger.given)

    def box(self, pickled: Pickled, fds: list[int]) -> bytes:
        """A pickle for the parent, with its large parts in shared memory.

        Descriptors that must go with it are added to ``fds``, and have to be closed when it is sent.  On
        failure: ``MemoryError``.
        """
        self._leases.collect()
        frame: Frame = pack(pickled, self._allocate)
        return frame if isinstance(frame, bytes) else frame.describe(self._lend, fds)

    def _allocate(self, length: int) -> AnyBlock:
        """A block of the arena; when that is full, a file that the parent frees when it likes."""
        if length > self._limits.object:
            raise MemoryError(
                f"a result of {length:,} bytes is more than a pool with block_memory={self._limits.object:,} "
                "may hold; return it in parts, write it to a file, or give the pool more"
            )
        try:
            return self._arena.allocate(length)
        except NoRoom:
            return FileBlock(length)

    def _lend(self, block: Block) -> int:
        if not self._words[page.ARENA]:
            self._channel.send([bytes((messages.ARENA,))], [self._arena.fileno()])
            self._words[page.ARENA] = 1
        return self._leases.lend(block)

    def keep_segments(self) -> list[Segment]:
        """Keep the segments that are opened from now on until the next such call, or until all is idle.

        So a segment that is an argument of one item after another is not mapped again for each.  Returns
        those kept before, for the caller to drop when the new ones are open.
        """
        kept, self.views.opened = self.views.opened or [], []
        return kept

    def note(self) -> None:
        """Tell the parent what this process will not give back before its end, and the most that it has had."""
        self._words[page.PINNED] = pinned_bytes()
        self._words[page.PEAK] = peak_memory()

    @property
    def idle_seconds(self) -> float | None:
        """How long to wait for work before ``trim``; None when there is nothing to give back."""
        self.views.settle()
        if self._leases:
            self._leases.collect()
        if self.views.opened:
            return SEGMENT_SECONDS
        return IDLE_SECONDS if self._arena.has_free or self._leases else None

    def trim(self) -> None:
        """Give back to the system what has not been used for a while."""
        if self.views.opened:
            self.views.opened = None
            return
        self._leases.collect()
        self._arena.trim(IDLE_SECONDS / 2)

    def close(self) -> None:
        """Lend nothing more; what the parent has mapped stays with it."""
        self._arena.close()
        self.views.close()
