"""One worker, seen from the engine: its socket, its ledger, its process, and what it knows.

Touched only by the driver, under the engine's lock.  Sends never block: what the socket does not
take waits in the outbox until the poller says that there is room.
"""

from __future__ import annotations

import os
import pickle
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from procession.engine.interning import Function, pack_function
from procession.engine.warden import Warden
from procession.system import close_all
from procession.wire import ledger as page
from procession.wire import messages
from procession.wire.channel import Buffer, Channel, Message
from procession.wire.leases import Leases
from procession.wire.mainmodule import Definition, pack_names
from procession.wire.mirrored import Packed
from procession.wire.parcel import Parcel
from procession.wire.pickled import SEGMENTS_LIMIT
from procession.wire.serial import PROTOCOL
from procession.wire.views import Views

if TYPE_CHECKING:
    import socket

    from procession.engine.slots import Slot
    from procession.engine.store import Store
    from procession.engine.work import Chunk
    from procession.launch import Child
    from procession.wire.arena import Block
    from procession.wire.ledger import Ledger, Position
    from procession.wire.messages import Part

#: Functions that a worker keeps; the one unused for longest is forgotten.
_FUNCTIONS = 256

#: Definitions of one message.  Large ones have a descriptor each, or several for what is shared.
_DEFINITIONS = 100


class Handle:
    """The engine's end of a worker."""

    def __init__(
        self,
        slot: Slot,
        name: str,
        child: Child,
        ours: socket.socket,
        theirs: socket.socket,
        ledger: Ledger,
        inherited: Mapping[str, Any],
        definitions: Sequence[Definition],
    ) -> None:
        self.slot = slot
        self.name = name
        self.child = child
        self.channel = Channel(ours, many_fds=True)
        self._theirs = Channel(theirs, many_fds=True)
        self.ledger = ledger
        self.inherited = inherited  #: names of __main__ that a fork gave it
        self.last_position: Position | None = None
        self.recalled: Position | None = None  #: behind which its chunk was asked back
        self.recalled_at = 0.0
        self.harvested_at = 0.0  #: when the ledger was last read of a chunk that goes on
        self.warden = Warden()
        #: The chunk and the item that it is about to begin, and since when that is seen.
        self.waiting = ((0, 0), 0.0)
        self.verdict: tuple[int, int, BaseException] | None = (
            None  #: the chunk, the item and the error it is killed for
        )
        self.memory_limit: int | None = None  #: that it is killed for
        self.held = False  #: it is sent nothing before it is ready, and has been looked at
        self.stopping = False
        self.stopped_at: float | None = None  #: when it was asked to end
        self.leases = Leases(ledger.given)
        self.views = Views(ledger.taken)
        self._arena_sent = False
        self._loans: dict[int, list[tuple[int, int]]] = {}  # by chunk: the item, and the number of the loan
        self._outbox: deque[tuple[list[Buffer], list[int]]] = deque()
        self._functions: OrderedDict[int, None] = OrderedDict()
        self._versions = {each.names: each.version for each in definitions}
        self._last_seq = 0
        self._last_control = 0  # the first chunk behind the last message that was not a chunk
        self.reporting = bytes(messages.FLAGS)
        ours.setblocking(False)

    @property
    def blocked(self) -> bool:
        """Whether something waits in the outbox for room in the socket."""
        return bool(self._outbox) and not self.held

    def send(self, *parts: Buffer, fds: list[int] | None = None) -> None:
        """Send a message now or later; ``fds`` are closed then.  A worker that is gone takes everything.

        On failure: ``OSError`` when the system has no descriptor or memory for it; ``fds`` are the caller's again.
        """
        if self._outbox or self.held:
            self._outbox.append((list(parts), fds or []))
            return
        try:
            self.channel.send(parts, fds or ())
        except BlockingIOError:
            self._outbox.append((list(parts), fds or []))
            return
        except ConnectionError:
            pass  # its sentinel tells, and accounts for what it held
        if fds:
            close_all(fds)

    def flush(self) -> None:
        """Send what has been waiting, as far as there is room."""
        while self._outbox and not self.held:
            parts, fds = self._outbox[0]
            try:
                self.channel.send(parts, fds)
            except BlockingIOError:
                return
            except ConnectionError:
                self._drop_outbox()
                return
            self._outbox.popleft()
            close_all(fds)

    def _drop_outbox(self) -> None:
        for _parts, fds in self._outbox:
            close_all(fds)
        self._outbox.clear()

    def send_frames(self, store: Store, seq: int, head: Buffer, *parts: Buffer | Parcel) -> None:
        """Send a message for chunk ``seq`` in which parcels stand for their descriptions.

        They are the frames of its items, behind a table, or that of all items in one.
        """
        fds: list[int] = []
        loans: list[tuple[int, int]] = []
        described: list[Buffer] = [head]
        item = 0

        def lend(block: Block) -> int:
            loans.append((item, self._lend(block, store, seq)))
            return loans[-1][1]

        try:
            for place, part in enumerate(parts):
                item = max(0, place - 1)
                described.append(part.describe(lend, fds) if type(part) is Parcel else part)  # type: ignore[arg-type]
            self.send(*described, fds=fds)
        except BaseException:
            self._undo([number for _item, number in loans], fds)
            raise
        self._loans[seq] = loans

    def _undo(self, lent: list[int], fds: list[int]) -> None:
        """A message was not sent: take back what it would have lent."""
        for number in lent:
            self.leases.take_back(number)
        close_all(fds)

    def end_loans(self, seq: int, first: int) -> None:
        """The worker has not begun the items of a chunk from ``first`` on, and never will: it knows of no loans."""
        loans = self._loans.pop(seq, None)
        if loans:
            self._loans[seq] = [(item, number) for item, number in loans if item < first]
            for item, number in loans:
                if item >= first:
                    self.leases.take_back(number)

    def forget_loans(self, seq: int) -> None:
        """A chunk is done: the worker has seen all of it, and reports the ends of its loans itself."""
        self._loans.pop(seq, None)

    def _lend(self, block: Block, store: Store, seq: int) -> int:
        if not self._arena_sent:
            self._arena_sent = True
            self.send(bytes((messages.ARENA,)), fds=[os.dup(store.fileno())])
            self._last_control = seq
        return self.leases.lend(block)

    def define(self, function: Function, more: Sequence[Definition], seq: int, store: Store) -> None:
        """Make sure that the worker has a function, and what chunk ``seq`` needs of __main__."""
        self._last_seq = max(self._last_seq, seq)
        # Each once: what it is replaced by would not be what others hold.
        missing = {
            (each.names, each.version): each
            for each in (*function.definitions, *more)
            if self._versions.get(each.names) != each.version
        }
        if missing:
            self._last_control = seq
            self._send_definitions(list(missing.values()))
            self._versions.update(missing.keys())  # pairs
        functions = self._functions
        if function.id in functions:
            functions.move_to_end(function.id)
            return
        fds: list[int] = []
        lent: list[int] = []

        def lend(block: Block) -> int:
            lent.append(self._lend(block, store, seq))
            return lent[-1]

        self._last_control = seq
        frame = function.pickled
        try:
            if function.parcel is not None:
                frame = function.parcel.describe(lend, fds)
            self.send(messages.pack_define(function.id), pack_function(frame), fds=fds)
        except BaseException:
            self._undo(lent, fds)
            raise
        functions[function.id] = None
        if len(functions) > _FUNCTIONS:
            self.forget(next(iter(functions)))

    def undefine(self, function: Function) -> None:
        """The worker could not read a function: it gets it again when it is next needed."""
        self._functions.pop(function.id, None)

    def _send_definitions(self, definitions: Sequence[Definition]) -> None:
        """Send definitions, in as many messages as their descriptors need."""
        names: list[Packed] = []
        fds: list[int] = []
        try:
            for each in definitions:
                if len(names) >= _DEFINITIONS or len(fds) >= SEGMENTS_LIMIT:
                    self._send_names(names, fds)
                    names, fds = [], []
                names += pack_names([each], fds)
        except BaseException:
            close_all(fds)
            raise
        self._send_names(names, fds)

    def _send_names(self, names: list[Packed], fds: list[int]) -> None:
        self.send(bytes((messages.MAIN,)), pickle.dumps(names, PROTOCOL), fds=fds)

    def forget(self, function_id: int) -> None:
        """Have the worker forget a function, if it has it."""
        if self._functions.pop(function_id, self) is not self:
            self._last_control = self._last_seq + 1  # behind what was sent: not to be taken for a chunk
            self.send(bytes((messages.FORGET,)), function_id.to_bytes(8, "little"))

    def tell_reporting(self, packed: bytes, seq: int) -> None:
        """Tell the worker where its reports go, if that has changed."""
        if packed is not self.reporting:
            self.reporting = packed
            self.send(bytes((messages.REPORTING,)), packed)
            self._last_control = seq

    def take_back(self) -> set[int]:
        """Take the chunks that the worker has not read out of its socket, and return their numbers.

        Each datagram has one reader, so a chunk is either the worker's or ours, never both.  Only
        when nothing but chunks can be there: a definition must not be taken from before its chunk.
        """
        position = self.ledger.position()
        if self._outbox or position is None or position.seq < self._last_control:
            return set()
        taken = set()
        while (message := self._theirs.recv_nowait()) is not None:
            taken.add(messages.run_seq(message.data))
            close_all(message.fds)
        return taken

    def running(self) -> tuple[Chunk, Position] | tuple[None, None]:
        """The chunk that runs, and where in it the worker is; nothing if it is idle, or has lost the chunk."""
        position = self.ledger.position()
        chunk = self.slot.find(position.seq) if position is not None else None
        return (None, None) if chunk is None or position is None else (chunk, position)

    def peek(self, limit: int | None = None) -> Part | None:
        """The committed outcomes of the chunk that runs, as far as they can be read; those before ``limit``."""
        if self.ledger.words[page.ARENA] and not self.views.has_arena:
            return None  # the descriptor of its arena is still in the socket
        part = self.ledger.peek(limit)
        return None if part is None else part._replace(views=self.views)

    def receive(self) -> Message | None:
        """One message from the worker, or None when there is none now."""
        try:
            return self.channel.recv()
        except (BlockingIOError, ConnectionError):
            return None
        except OSError:  # it has been read, and could not be: what it was about must not wait for ever
            self.kill()
            return None

    def stop(self) -> None:
        """Ask the worker to end in an orderly way when it has done what it holds."""
        if not self.stopping:
            self.stopping = True
            self.stopped_at = time.monotonic()
            self.send(bytes((messages.EXIT,)))

    def kill(self) -> None:
        """Kill the worker and its process group.  Waits, if need be, until it has been forked."""
        self.stopping = True
        try:
            self.child.wait_started()
        except OSError:  # it never was
            return
        self.child.kill()

    def close(self) -> None:
        """Give back every descriptor and mapping, but the views' one, which may still be read with."""
        self._drop_outbox()
        self.leases.clear()
        self.channel.close()
        self._theirs.close()
        self.ledger.close()
        self.child.close()
