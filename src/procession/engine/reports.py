"""Reports: what comes from the workers, and what each event changes.

Called by the thread that drives, without the engine's lock, when a worker's socket or sentinel can be read.
An outcome is noted and becomes an errand; a death is settled by the ledger.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from procession.engine.notices import deliver
from procession.engine.screen import screen
from procession.engine.supervisor import End
from procession.errors import PoolBroken
from procession.launch.child import LOST
from procession.system import close_all
from procession.wire import ledger as page
from procession.wire import messages
from procession.wire.faults import unpack_error

if TYPE_CHECKING:
    from procession.engine.core import Core
    from procession.engine.handle import Handle
    from procession.engine.room import Room
    from procession.engine.slots import Slot
    from procession.engine.work import Chunk
    from procession.wire.channel import Message
    from procession.wire.endings import Ending
    from procession.wire.messages import Part


class Reports:
    """Handles the events of one engine's workers."""

    def __init__(self, core: Core, room: Room) -> None:
        self._core = core
        self._room = room
        core.listen = self.listen

    def listen(self, handle: Handle) -> None:
        """Have the events of a new worker handled.  With the lock held."""
        loop = self._core.loop
        loop.watch(handle.channel.fileno(), lambda: self._on_socket(handle))
        loop.watch(handle.child.sentinel, lambda: self._on_sentinel(handle))

    def _on_socket(self, handle: Handle) -> None:
        core = self._core
        if handle.blocked:
            with core.lock:
                handle.flush()
                if not handle.blocked:
                    core.loop.watch_writing(handle.channel.fileno(), wanted=False)  # type: ignore[unreachable]  # flush changes it
        message = handle.receive()
        if message is not None:
            self._on_message(handle, message)

    def _on_message(self, handle: Handle, message: Message) -> None:
        data, accounts = message.data, self._core.accounts
        kind = data[0]
        if kind == messages.PART:
            self._on_part(handle, messages.unpack_part(data, handle.views, message.fds))
        elif kind == messages.OUTPUT:
            accounts.add_errand(_print, handle.child.pid, data[1], bytes(data[2:]))
        elif kind == messages.NOTICE:
            accounts.add_errand(deliver, bytes(data[1:]))
        elif kind == messages.PROGRESS:
            self._on_progress(handle, *messages.unpack_progress(data))
        elif kind == messages.REFUSED:
            accounts.add_errand(self._on_refused, handle, *messages.unpack_refused(data))
        elif kind == messages.READY:
            self._on_ready(handle)
        elif kind == messages.ARENA:
            handle.views.adopt(message.fds[0])
        elif kind == messages.FAILED:
            handle.stopping = True
            accounts.add_errand(self._on_initializer_failed, bytes(data[1:]))

    def _on_ready(self, handle: Handle) -> None:
        core = self._core
        with core.lock:
            core.begin()
            if core.limits.admit(handle):
                core.scheduler.on_ready(handle.slot)
                core.advance()
            core.clean = True

    def _on_part(self, handle: Handle, part: Part) -> None:
        core = self._core
        with core.lock:
            core.begin()
            chunk = handle.slot.find(part.seq)
            if handle.leases and handle.leases.collect():
                self._room.hunger.note_return()
            if chunk is None:
                close_all(part.fds)
            else:
                self._take(handle, chunk, part)
            core.clean = True

    def _take(self, handle: Handle, chunk: Chunk, part: Part) -> None:
        """Note the outcomes of a part; the last one of a chunk frees its worker for the next."""
        core, slot = self._core, handle.slot
        chunk.pid, chunk.memory = handle.child.pid, handle.ledger.words[page.PEAK]
        if part.final and part.first + part.count < chunk.count:
            core.accounts.shorten(chunk, part.first + part.count)  # it was recalled
            handle.end_loans(part.seq, part.first + part.count)
        core.accounts.take(chunk, part)
        if part.final:
            handle.forget_loans(part.seq)
            if handle.ledger.words[page.PINNED] > core.store.pinned_limit or core.limits.is_full(handle):
                slot.quota = 0  # what it keeps on account of its forks, or has not given back, ends with it
            core.supervisor.on_success()
            core.idle_since = time.monotonic()
            core.scheduler.on_final(slot, chunk, part.seconds)
            core.retire_if_spent(slot)
            core.advance()

    def _on_progress(self, handle: Handle, seq: int, index: int, n: float, total: float | None, message: str) -> None:
        """An item tells how far it is; one that has its outcome already, from the ledger, is not asked any more."""
        core = self._core
        with core.lock:
            core.begin()
            chunk = handle.slot.find(seq)
            if chunk is not None and chunk.received <= index < chunk.count:
                core.accounts.add_errand(chunk.source.on_task, chunk, index, n, total, message)
            core.clean = True

    def _on_refused(self, handle: Handle, seq: int, in_function: bool, pickled: bytes) -> None:
        """A worker could not read a chunk: together its items go apart, apart they have failed.

        If it is the function that cannot be read, so have all; the worker forgets it, and may get it again.
        """
        core, error = self._core, unpack_error(pickled)
        with core.lock:
            core.begin()
            slot = handle.slot
            chunk = slot.find(seq)
            handle.forget_loans(seq)
            if chunk is not None and in_function:
                handle.undefine(chunk.source.function)
            failed = self._refuse(slot, chunk, apart=not in_function)
            core.advance()
            core.clean = True
        if failed is not None:
            core.accounts.deliver_error(failed, 0, failed.count, error)

    def _refuse(self, slot: Slot, chunk: Chunk | None, *, apart: bool) -> Chunk | None:
        """Take a chunk from its worker; return it if its items have failed."""
        core = self._core
        if chunk is None:
            return None
        if apart and chunk.count > 1 and chunk.frames is None and not chunk.apart:
            chunk.apart = True
            core.accounts.give_back(core.scheduler.take_back(slot, {chunk.seq}))
            return None
        core.scheduler.on_final(slot, chunk, 0.0)
        core.retire_if_spent(slot)
        return chunk

    def _on_initializer_failed(self, pickled: bytes) -> None:
        core, error = self._core, unpack_error(pickled)
        broken = PoolBroken(
            f"the initializer of the pool raised {type(error).__name__}: {error}. No worker can "
            "start without it, so nothing was run"
        )
        with core.lock:
            core.begin()
            core.give_up(broken, error)
            core.clean = True

    def _on_sentinel(self, handle: Handle) -> None:
        core = self._core
        ending = handle.child.poll()
        if ending is None:
            return  # only the record of its start
        while (message := handle.receive()) is not None:
            self._on_message(handle, message)
        with core.lock:
            core.begin()
            core.loop.unwatch(handle.channel.fileno())
            core.loop.unwatch(handle.child.sentinel)
            # A refusal among them changes what the worker holds: behind those, what is left is settled.
            core.accounts.add_errand(self._on_end, handle, ending)
            core.clean = True

    def _on_end(self, handle: Handle, ending: Ending) -> None:
        core = self._core
        if handle not in core.crew.handles():  # for the same reason this may be the second time
            return
        with core.lock:
            core.begin()
            death = core.autopsy.examine(handle, ending)
            end = core.accounts.settle_dead(handle, death)
            core.accounts.add_errand(handle.views.close)  # behind the outcomes that it still reads
            core.loop.unwatch(handle.channel.fileno())  # a reset may have listened to it once more
            core.loop.unwatch(handle.child.sentinel)
            core.crew.remove(handle)
            self._room.hunger.note_return()
            if ending is LOST and end is not End.PLANNED:
                end = End.LOST
            if not core.supervisor.on_end(end, time.monotonic()) and core.broken is None:
                reason = "workers keep ending before they can run anything; the last one "
                core.give_up(PoolBroken(reason + death.ending), death)
            core.advance()
            core.clean = True


def _print(pid: int, number: int, data: bytes) -> None:
    """Write what a worker printed to our own stream, whatever that is now."""
    screen.write(pid, number, data.decode("utf-8", "replace"))
