"""One worker, seen from the engine: its socket, its ledger, its process, and what it knows.

Touched only by the driver, under the engine's lock.  Sends never block: what the socket does not
take waits in the outbox until the poller says that there is room.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from procession.engine.interning import Function, pack_function
from procession.wire import messages
from procession.wire.channel import Buffer, Channel, Message
from procession.wire.mainmodule import Definition, pack_definitions

if TYPE_CHECKING:
    import socket

    from procession.engine.scheduler import Slot
    from procession.launch import Child
    from procession.wire.ledger import Ledger, Position

#: Functions that a worker keeps; the one unused for longest is forgotten.
_FUNCTIONS = 256


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
        self.channel = Channel(ours)
        self._theirs = Channel(theirs)
        self.ledger = ledger
        self.inherited = inherited  #: names of __main__ that a fork gave it
        self.last_position: Position | None = None
        self.recalled: Position | None = None  #: behind which its chunk was asked back
        self.stopping = False
        self._outbox: deque[list[Buffer]] = deque()
        self._functions: OrderedDict[int, None] = OrderedDict()
        self._versions = {each.name: each.version for each in definitions}
        self._last_control = 0  # the first chunk behind the last message that was not a chunk
        self.streams = bytes(2)
        ours.setblocking(False)

    @property
    def blocked(self) -> bool:
        """Whether something waits in the outbox."""
        return bool(self._outbox)

    def send(self, *parts: Buffer) -> None:
        """Send a message now or later.  A worker that is gone takes everything."""
        if self._outbox:
            self._outbox.append(list(parts))
            return
        try:
            self.channel.send(parts)
        except BlockingIOError:
            self._outbox.append(list(parts))
        except ConnectionError:
            pass  # its sentinel tells, and accounts for what it held

    def flush(self) -> None:
        """Send what has been waiting, as far as there is room."""
        while self._outbox:
            try:
                self.channel.send(self._outbox[0])
            except BlockingIOError:
                return
            except ConnectionError:
                self._outbox.clear()
                return
            self._outbox.popleft()

    def define(self, function: Function, more: Sequence[Definition], seq: int) -> None:
        """Make sure that the worker has a function, and what chunk ``seq`` needs of __main__."""
        missing = [each for each in (*function.definitions, *more) if self._versions.get(each.name) != each.version]
        if missing:
            self._versions.update({each.name: each.version for each in missing})
            self.send(bytes((messages.MAIN,)), pack_definitions(missing))
            self._last_control = seq
        functions = self._functions
        if function.id in functions:
            functions.move_to_end(function.id)
            return
        functions[function.id] = None
        self.send(messages.pack_define(function.id), pack_function(function))
        self._last_control = seq
        if len(functions) > _FUNCTIONS:
            oldest, _ = functions.popitem(last=False)
            self.send(bytes((messages.FORGET,)), oldest.to_bytes(8, "little"))

    def redirect(self, flags: bytes, seq: int) -> None:
        """Tell the worker which of its streams to forward."""
        if flags != self.streams:
            self.streams = flags
            self.send(bytes((messages.STREAMS,)), flags)
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
        return taken

    def receive(self) -> Message | None:
        """One message from the worker, or None when there is none now."""
        try:
            return self.channel.recv()
        except (BlockingIOError, ConnectionError):
            return None

    def stop(self) -> None:
        """Ask the worker to end in an orderly way when it has done what it holds."""
        if not self.stopping:
            self.stopping = True
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
        """Give back every descriptor and mapping."""
        self.channel.close()
        self._theirs.close()
        self.ledger.close()
        self.child.close()
