"""Which worker gets which chunk.  Pure: no I/O, no clock of its own, no user code.

Owns the queue of sources, and of every slot the chunks that it holds.  The queue stays here; a slot
holds the chunk that it runs and a small measured backlog (its credit).  Sources are served in the
order of their arrival.  Invariant: a chunk is in exactly one slot, or its items are in its source.
"""

from __future__ import annotations

from collections import deque
from itertools import count, islice
from typing import TYPE_CHECKING

from procession.engine.pace import Pace
from procession.engine.slots import Slot, SlotState

if TYPE_CHECKING:
    from procession.engine.work import Chunk, Source


#: Chunks that a worker holds when it does not run out of them before its next report has been answered.
ENOUGH_CHUNKS = 2


class Scheduler:
    """The queue and the slots of one pool."""

    def __init__(self, limit: int, hot_limit: int) -> None:
        self.limit = limit
        self.slots: dict[int, Slot] = {}
        self._hot_limit = hot_limit  #: workers that tiny tasks may keep awake: the cores
        self._queue: deque[Source] = deque()
        self._idle: list[Slot] = []  # the last one to become idle is first: its caches are warm
        self._busy: dict[Slot, None] = {}
        self._open: dict[Slot, None] = {}  # busy slots that may have credit left
        self._paces: dict[int, Pace] = {}
        self._seqs = count(1)
        self._numbers = count(1)
        self._stuck = 0
        self._counted = False
        self.held = False  #: there is no memory for more items: nothing is handed out until something is done
        self.saturated = False  #: no worker can take more, so there is no use in asking
        self._waiting = False  # the only source waits for the next report, though there are workers

    # Slots.

    def add_slot(self, quota: int | None) -> Slot:
        """Make a place for a worker that is being started."""
        slot = Slot(next(self._numbers), quota)
        self._counted = quota is not None
        self.slots[slot.number] = slot
        self._idle.insert(0, slot)
        self.saturated = False
        return slot

    def on_ready(self, slot: Slot) -> None:
        """A worker is up."""
        if slot.state is SlotState.STARTING:
            slot.become(SlotState.READY)
            self.saturated = False
            if not slot.chunks:
                self._idle.remove(slot)
                self._idle.append(slot)
            elif slot.can_take:
                self._open[slot] = None

    def retire(self, slot: Slot) -> None:
        """Give a worker nothing more."""
        slot.become(SlotState.RETIRING)
        if slot in self._idle:
            self._idle.remove(slot)

    def remove_slot(self, slot: Slot) -> list[Chunk]:
        """Forget a worker; the chunks that it held are the caller's to account for."""
        self.held = False
        self.set_stuck(slot, False)
        slot.become(SlotState.GONE)
        del self.slots[slot.number]
        if slot in self._idle:
            self._idle.remove(slot)
        self._busy.pop(slot, None)
        self._open.pop(slot, None)
        self.saturated = False
        chunks = list(slot.chunks)
        slot.chunks.clear()
        return chunks

    def can_wait(self, source: Source) -> bool:
        """Whether a tiny item had better wait for the next report of a busy worker.

        Handing it out now would cost more than running it, and together with others it costs less.
        """
        return self._enough_awake() and self.is_tiny(source)

    def is_tiny(self, source: Source) -> bool:
        """Whether handing out an item of a source is known to cost more than running it."""
        return self._pace(source).is_tiny(1)

    def answer_is_near(self) -> bool:
        """Whether a single tiny item is under way, and a core is free to wait for it awake."""
        if len(self._busy) != 1 or self._queue or self._hot_limit < 2:
            return False
        (slot,) = self._busy
        if len(slot.chunks) != 1 or slot.stuck:
            return False
        chunk = slot.chunks[0]
        return self._pace(chunk.source).is_tiny(chunk.count)

    def _enough_awake(self) -> bool:
        """Whether as many workers make progress as there are cores."""
        return len(self._busy) - self._stuck >= self._hot_limit

    def set_stuck(self, slot: Slot, stuck: bool) -> None:
        """Note whether a busy worker's item takes unexpectedly long."""
        if slot.stuck != stuck:
            slot.stuck = stuck
            self._stuck += 1 if stuck else -1
            self.saturated = False
            if not stuck and slot.chunks and slot.can_take:
                self._open[slot] = None

    def shortage(self) -> int:
        """How many workers more could be busy now."""
        room = self.limit - len(self.slots)
        if room <= 0 or not self._queue or self.held or (self._waiting and len(self._queue) == 1):
            return 0
        wanted = 0
        for source in self._queue:
            wanted += source.left() if source.chunksize is None else -(-source.left() // source.chunksize)
            if wanted >= room:
                return room
        return wanted

    # Work.

    def add_source(self, source: Source) -> None:
        """Queue a source; one that gets more items later is added again, unless it is still ``queued``."""
        if not source.dropped and not source.queued:
            source.queued = True
            self._queue.append(source)

    def return_source(self, source: Source) -> None:
        """Put a source whose items were given back before all others."""
        if not source.queued and not source.dropped:
            source.queued = True
            self._queue.appendleft(source)

    def drop_source(self, source: Source) -> None:
        """Cut nothing more from a source, also of what comes back from a worker later."""
        source.dropped = True
        if source.queued:
            source.queued = False
            self._queue.remove(source)

    @property
    def last_source(self) -> Source | None:
        """The source at the end of the queue, which may still be extended."""
        return self._queue[-1] if self._queue else None

    @property
    def queued(self) -> bool:
        """Whether a source is waiting for a worker."""
        return bool(self._queue)

    @property
    def leaving(self) -> bool:
        """Whether a worker is on its way out.  Also without the lock."""
        return any(slot.state is SlotState.RETIRING for slot in list(self.slots.values()))

    @property
    def busy(self) -> bool:
        """Whether a worker holds a chunk."""
        return bool(self._busy)

    def sources(self) -> list[Source]:
        """The queued sources, in order."""
        return list(self._queue)

    def busy_slots(self) -> list[Slot]:
        """The slots that hold chunks."""
        return list(self._busy)

    def has_spare(self) -> bool:
        """Whether a worker that is up has nothing to do, or one more can be started."""
        if len(self.slots) < self.limit:
            return True
        return any(slot.state is SlotState.READY and slot.can_take for slot in self._idle)

    def assign(self) -> list[tuple[Slot, Chunk]]:
        """Cut chunks for the workers that can take them."""
        assigned: list[tuple[Slot, Chunk]] = []
        queue, self._waiting = self._queue, False
        while queue and not self.held:
            source = queue[0]
            left = source.left()
            if not left:
                self._release(source)
                continue
            pace = self._pace(source)
            size = self._size(source, pace, left)
            slot = self._pick(pace, size, source.shunned)
            if slot is None:
                self.saturated = True
                break
            if len(queue) == 1 and self._can_wait_behind(slot, pace, size):
                self._waiting = True
                break
            chunk = source.cut(size, slot.number)
            if not chunk.count:  # all its calls were cancelled at this very moment
                self._loosen(slot)
                continue
            chunk.seq = next(self._seqs)
            chunk.worker = slot.number
            slot.chunks.append(chunk)
            if source.gives_way and len(queue) > 1:
                queue.rotate(-1)
            if slot.quota is not None:
                slot.quota -= 1
            assigned.append((slot, chunk))
        return assigned

    def _can_wait_behind(self, slot: Slot, pace: Pace, size: int) -> bool:
        """Whether so little had better wait for the next report, since its worker has enough until then.

        More of it may be there by then; what is pulled in one turn of a thread would end as many chunks of a few items.
        """
        return len(slot.chunks) >= ENOUGH_CHUNKS and pace.is_tiny(size) and self._enough_awake()

    def _release(self, source: Source) -> None:
        """Take the first source, which has nothing left, out of the queue.

        Who adds to it does not take the lock, and announces it only if it is not queued:
            scheduler: nothing left | other thread: adds an item, sees that it is queued | scheduler: takes it out
        So it is looked at again when it is not queued any more: one of the two sees what the other has done.
        """
        source.queued = False
        if source.left():
            source.queued = True
        else:
            self._queue.popleft()

    def on_final(self, slot: Slot, chunk: Chunk, seconds: float) -> None:
        """A chunk is done."""
        self._pace(chunk.source).observe(chunk.count, seconds)
        self.set_stuck(slot, False)
        self.drop(slot, chunk)

    def drop(self, slot: Slot, chunk: Chunk) -> None:
        """A worker does not hold a chunk any more; its items are the caller's to account for."""
        self.held = False
        slot.chunks.remove(chunk)
        self._loosen(slot)

    def take_back(self, slot: Slot, seqs: set[int]) -> list[Chunk]:
        """Take chunks from a worker that has not begun them; their items are the caller's to give back."""
        kept = deque(chunk for chunk in slot.chunks if chunk.seq not in seqs)
        taken = [chunk for chunk in slot.chunks if chunk.seq in seqs]
        slot.chunks = kept
        if slot.quota is not None:
            slot.quota += len(taken)
        self._loosen(slot)
        return taken

    def clear(self) -> None:
        """Forget every source and every slot."""
        self._stuck = 0
        self.held = False
        for source in self._queue:
            source.queued = False
        self._queue.clear()
        self._idle.clear()
        self._busy.clear()
        self._open.clear()
        self.slots.clear()
        self.saturated = False

    def _loosen(self, slot: Slot) -> None:
        self.saturated = False
        if slot.chunks:
            if slot.can_take and not slot.stuck:
                self._open[slot] = None
            return
        self._busy.pop(slot, None)
        self._open.pop(slot, None)
        if slot.can_take and slot not in self._idle:
            self._idle.append(slot)

    def _pace(self, source: Source) -> Pace:
        pace = self._paces.get(source.function.id)
        if pace is None:
            pace = self._paces[source.function.id] = Pace()
        return pace

    def _size(self, source: Source, pace: Pace, left: int) -> int:
        workers = self.limit
        if source.chunksize is None and not source.eager:
            return pace.chunk_size(left, workers)
        # What is handed out as one is the caller's choice; what is tiny still travels together.
        unit = source.chunksize or 1
        if self._counted:  # each one counts against its worker's quota
            return min(left, unit)
        units = pace.bundle_size(-(-left // unit), unit, min(workers, self._hot_limit))
        return min(left, units * unit)

    def _pick(self, pace: Pace, size: int, shunned: int) -> Slot | None:
        """The worker for a chunk: an awake one for tiny work, else an idle one, else one with credit.

        Not the one of the number ``shunned``, if there is another to be had.
        """
        tiny = pace.is_tiny(size)
        if tiny and self._enough_awake():
            slot = self._with_credit(pace, size)
            if slot is not None:
                return slot
        if shunned and self._idle and self._idle[-1].number == shunned:
            if len(self._idle) == 1 and len(self.slots) < self.limit:
                return None  # one more will be started
            self._idle.insert(0, self._idle.pop())
        while self._idle:
            slot = self._idle.pop()
            if slot.can_take:
                self._busy[slot] = None
                if slot.state is SlotState.READY:
                    self._open[slot] = None
                return slot
        return self._with_credit(pace, size)

    def _with_credit(self, pace: Pace, size: int) -> Slot | None:
        credit = pace.credit(size)
        if credit == 1:
            return None
        while self._open:
            # Among as many as there are cores: the others run dry, and go to sleep.
            slot = min(islice(self._open, self._hot_limit), key=_backlog)
            ready = slot.can_take and slot.state is SlotState.READY and not slot.stuck
            if ready and len(slot.chunks) < credit:
                return slot
            del self._open[slot]
        return None


def _backlog(slot: Slot) -> int:
    return len(slot.chunks)
