"""Dispatch: how an assigned chunk gets to its worker.

What is pickled already is sent at once, with the engine's lock held.  A chunk of items that have yet to be
pickled takes an errand, since that runs user code; meanwhile its worker may have gone, or the chunk may have
been taken back.  What cannot be pickled, stored or sent is the failure of its items alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procession.engine.lookout import LOOK_SECONDS
from procession.engine.slots import SlotState
from procession.engine.work import Unencodable
from procession.errors import SendFailed
from procession.wire import messages
from procession.wire.arena import NoRoom
from procession.wire.messages import Encoding, Run

if TYPE_CHECKING:
    from procession.engine.core import Core
    from procession.engine.room import Room
    from procession.engine.slots import Slot
    from procession.engine.work import Chunk, Encoded


class Dispatcher:
    """Sends the chunks of one engine."""

    def __init__(self, core: Core, room: Room) -> None:
        self._core = core
        self._room = room
        core.dispatch = self.dispatch

    def dispatch(self, slot: Slot, chunk: Chunk) -> None:
        """Send a chunk, or note the errand of pickling it first.  With the lock held."""
        core = self._core
        core.accounts.open(chunk)
        if chunk.frames is not None:  # pickled already
            self._send(slot, chunk, chunk.source.encode(chunk, core.store))
        else:
            core.accounts.add_errand(self._encode_and_send, slot, chunk)

    def _encode_and_send(self, slot: Slot, chunk: Chunk) -> None:
        core = self._core
        if chunk not in slot.chunks:  # withdrawn since; its errors are on their way
            return
        if chunk.doom is not None:
            self._drop(slot, chunk)
            return
        try:
            encoded = chunk.source.encode(chunk, core.store)
        except Unencodable as failure:
            self._on_unencodable(slot, chunk, failure)
            return
        except NoRoom as full:
            self._on_no_room(slot, chunk, full)
            return
        with core.lock:
            core.begin()
            chunk.definitions = encoded.definitions
            if encoded.count is not None and encoded.count < chunk.count:
                core.accounts.shorten(chunk, encoded.count)
            self._room.hunger.note_return()
            if slot.state is not SlotState.GONE and chunk in slot.chunks:
                self._send(slot, chunk, encoded)
            if encoded.count is not None:
                core.advance()  # what did not fit may go to another worker
            core.clean = True

    def _drop(self, slot: Slot, chunk: Chunk) -> None:
        """A chunk has been cancelled before it could be sent."""
        core = self._core
        with core.lock:
            core.begin()
            core.accounts.give_back(core.scheduler.take_back(slot, {chunk.seq}))
            core.advance()
            core.clean = True

    def _on_unencodable(self, slot: Slot, chunk: Chunk, failure: Unencodable) -> None:
        """One item cannot be pickled: it has its outcome, and the others are cut anew."""
        core, source = self._core, chunk.source
        with core.lock:
            core.begin()
            core.accounts.give_back(core.scheduler.take_back(slot, {chunk.seq}), skip=failure.index)
            core.accounts.close(chunk)
            core.advance()
            core.clean = True
        source.deliver_error(chunk, failure.index, 1, failure.error)

    def _on_no_room(self, slot: Slot, chunk: Chunk, full: NoRoom) -> None:
        core = self._core
        with core.lock:
            core.begin()
            hopeless = self._room.on_none(slot, chunk)
            core.clean = True
        if hopeless is not None:
            core.accounts.deliver_error(hopeless, 0, hopeless.count, core.store.exhausted(full))

    def _send(self, slot: Slot, chunk: Chunk, encoded: Encoded) -> None:
        core = self._core
        try:
            self._post(slot, chunk, encoded)
        except OSError as error:  # no descriptor to be had, or no memory for a long message
            core.scheduler.drop(slot, chunk)
            core.retire_if_spent(slot)
            text = f"the item could not be sent to a worker, and has not run: {error.strerror} (is ulimit -n too low?)"
            core.accounts.lose(chunk, SendFailed(error.errno, text))
            return
        source = chunk.source
        if source.eager or chunk.count > 1 or len(slot.chunks) > 1:
            core.loop.look_within(LOOK_SECONDS)
        elif source.timeout is not None:
            core.loop.look_within(source.timeout)
        if core.watch_seconds is not None:
            core.loop.look_within(core.watch_seconds)

    def _post(self, slot: Slot, chunk: Chunk, encoded: Encoded) -> None:
        """Send a chunk behind all that it needs.  On failure: ``OSError``, and the chunk is not sent."""
        core, source, encoding = self._core, chunk.source, encoded.encoding
        handle = core.crew.handle(slot)
        handle.tell_reporting(core.reporting.packed, chunk.seq)
        if source.function.parcel is not None:
            core.crew.watch(source.function)
        handle.define(source.function, chunk.definitions, chunk.seq, core.store)
        number = source.function.id
        run = Run(
            source.style,
            encoding,
            source.timed,
            source.stoppable,
            chunk.count,
            chunk.seq,
            number,
            chunk.start,
        )
        head = messages.pack_run(run)
        if encoding is Encoding.FRAMES or encoding is Encoding.RANGE:
            handle.send(head, *encoded.parts)  # type: ignore[arg-type]  # no parcels among them
        else:
            handle.send_frames(core.store, chunk.seq, head, *encoded.parts)
        if handle.blocked:
            core.loop.watch_writing(handle.channel.fileno(), wanted=True)
