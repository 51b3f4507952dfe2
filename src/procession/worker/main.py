"""The worker: reads messages, runs chunks, and ends when its parent says so or is gone.

Runs in the main thread of a forked child, after ``startup.settle``.  Owns its functions, by the ids
that the engine gave them, and what it has received of ``__main__``.  The first thing it sends is
READY or FAILED; after that, one final PART or one REFUSED for every RUN.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from procession.system import close_all, wait_readable
from procession.wire import messages
from procession.wire.channel import Channel, Message
from procession.wire.faults import pack_error
from procession.wire.ledger import Ledger
from procession.wire.messages import FLAGS, Encoding, Run, split_frames
from procession.wire.mirrored import Mirrored, Packed
from procession.wire.segments import Segment
from procession.wire.serial import Encoder, loads
from procession.worker.calling import Read, read_items
from procession.worker.lastwords import LastWords
from procession.worker.memory import Limits, Memory
from procession.worker.notices import Notices, forget_handlers
from procession.worker.output import Streams
from procession.worker.runner import Runner
from procession.worker.telling import Teller


class _Exit(Exception):
    """The engine asked for an orderly end."""


class _Severed:
    """The socket of a fork of a worker that has come back from the user's code: its way ends here."""

    def _end(self, *_args: Any) -> Any:
        os._exit(0)

    fileno = send = sendmsg = recvmsg = _end


class _Unloadable(Exception):
    """A function could not be unpickled before."""


class Worker:
    """One worker process's side of the conversation."""

    def __init__(self, channel: Channel, ledger: Ledger, limits: Limits) -> None:
        ledger.keep_from_forks()
        os.register_at_fork(after_in_child=self._sever)
        self._channel = channel
        self._memory = Memory(channel, ledger, limits)
        self._views = self._memory.views
        self._mirrored = Mirrored()
        self._encoder = Encoder(self._mirrored.names)
        self._runner = Runner(channel, ledger, self._encoder, self._memory)
        self._streams = Streams(channel, LastWords(ledger))
        self._notices = Notices(channel, self._streams.flush)
        self._teller = Teller(channel, ledger)
        self._functions: dict[int, Callable[..., Any]] = {}
        self._pickled: dict[int, Message] = {}  # functions that have not been needed yet
        self._failures: dict[int, bytes] = {}  # and those that could not be unpickled: the packed errors
        self._handlers: dict[int, Callable[[Message], None]] = {
            messages.RUN: self._on_run,
            messages.DEFINE: self._on_define,
            messages.MAIN: self._on_main,
            messages.FORGET: self._on_forget,
            messages.REPORTING: self._on_reporting,
            messages.EXIT: self._on_exit,
            messages.ARENA: self._on_arena,
        }

    def _sever(self) -> None:
        """In a fork of the worker: only the worker itself answers, whatever the fork's code returns or raises."""
        self._channel.sock.close()
        self._channel.sock = _Severed()  # type: ignore[assignment]  # all that is left of a socket

    def initialize(self, reporting: bytes, definitions: list[Packed], pickled: bytes | None) -> bool:
        """Run the initializer and tell the engine; return whether it worked."""

        def prepare() -> None:
            # What is large came as files, which a starting child gets among its descriptors.
            self._mirrored.receive(definitions, self._views.read_started)
            if pickled is not None:
                initializer, initargs = self._views.read_started(pickled)
                initializer(*initargs)

        return self.start(reporting, prepare)

    def start(self, reporting: bytes, prepare: Callable[[], None]) -> bool:
        """Set up the reports, ``prepare``, and tell the engine; return whether it worked."""
        try:
            self._report(reporting)
            prepare()
        except BaseException as error:
            self._streams.flush()
            self._channel.send([bytes((messages.FAILED,)), pack_error(error, self._encoder)])
            return False
        try:
            self._channel.send([bytes((messages.READY,))])
        except ConnectionError:  # the pool has gone meanwhile
            return False
        return True

    def inherit_main(self) -> None:
        """Know every name of ``__main__``: this process is a fork of the one that has them."""
        self._mirrored.names.update(vars(sys.modules["__main__"]))

    def serve(self) -> None:
        """Handle messages until the end."""
        handlers = self._handlers
        try:
            while (message := self._receive()) is not None:
                handlers[message.data[0]](message)
        except (_Exit, ConnectionError):
            return

    def _receive(self) -> Message | None:
        """The next message; what lies idle meanwhile is given back."""
        idle = self._memory.idle_seconds
        if idle is not None and not wait_readable(self._channel.fileno(), idle):
            self._memory.trim()
        return self._channel.recv()

    def _on_run(self, message: Message) -> None:
        head, body = messages.unpack_run(message.data)
        self._runner.begin(head)
        fds = message.fds
        if head.encoding is Encoding.PARCELS or fds:
            kept: list[Segment] | None = self._memory.keep_segments()
            read: Read = lambda frame: self._views.read(frame, fds)  # noqa: E731
        else:
            kept, self._views.opened = self._views.opened, None
            read = self._views.read if head.encoding is Encoding.BATCH else loads
        function = None
        try:
            function = self._functions.get(head.function_id)
            if function is None:
                function = self._load(head.function_id)
            items = [read_items(head, body, read)]
        except BaseException as error:  # unpickling runs the user's code
            if head.encoding is Encoding.PARCELS:
                for frame in split_frames(body, head.count):
                    self._views.skip(frame)
            elif head.encoding is Encoding.BATCH and function is None:
                self._views.skip(body)
            self._refuse(head, error)
            self._runner.abandon()
        else:
            self._runner.run(head, function, items, read)
            self._streams.flush()
        finally:
            del kept
            close_all(fds)

    def _load(self, function_id: int) -> Callable[..., Any]:
        """Unpickle a function when it is first needed: what dies of it is that chunk's."""
        if function_id in self._failures:
            raise _Unloadable
        # It is read once: what a description lends is given back when reading it has failed.
        message = self._pickled.pop(function_id)
        try:
            path, pickled = loads(messages.unpack_define(message.data)[1])
            sys.path[:] = path
            function: Callable[..., Any] = self._views.read(pickled, message.fds)
        finally:
            close_all(message.fds)
        self._functions[function_id] = function
        return function

    def _refuse(self, head: Run, error: BaseException) -> None:
        """Tell why a chunk cannot be read; a function's failure is kept for the chunks that come for it."""
        in_function = head.function_id not in self._functions
        if type(error) is _Unloadable:
            packed = self._failures[head.function_id]
        else:
            packed = pack_error(error, self._encoder)
            if in_function:
                self._failures[head.function_id] = packed
        self._channel.send([messages.pack_refused(head.seq, in_function), packed])

    def _on_define(self, message: Message) -> None:
        function_id = messages.unpack_define(message.data)[0]
        self._drop(function_id)  # it failed, and is tried once more
        self._pickled[function_id] = message

    def _drop(self, function_id: int) -> None:
        """Forget a function, read or not."""
        self._functions.pop(function_id, None)
        self._failures.pop(function_id, None)
        unread = self._pickled.pop(function_id, None)
        if unread is not None:
            self._views.skip(loads(messages.unpack_define(unread.data)[1])[1])
            close_all(unread.fds)

    def _on_main(self, message: Message) -> None:
        self._mirrored.receive(loads(message.data[1:]), lambda frame: self._views.read(frame, message.fds))
        close_all(message.fds)

    def _on_forget(self, message: Message) -> None:
        for function_id in memoryview(bytes(message.data[1:])).cast("Q"):
            self._drop(function_id)
            self._runner.forget(function_id)

    def _on_arena(self, message: Message) -> None:
        self._views.adopt(message.fds[0])

    def _on_reporting(self, message: Message) -> None:
        self._report(bytes(message.data[1:]))

    def _report(self, settings: bytes) -> None:
        self._streams.redirect(settings[:2])
        self._teller.wanted = bool(settings[2])
        self._notices.adopt(settings[FLAGS:])

    def _on_exit(self, message: Message) -> None:
        raise _Exit


def main(body: bytes, sock: int, ledger: int) -> int:
    """Be a worker on the socket ``sock`` and the memory ``ledger``; return the exit code."""
    channel = Channel(socket.socket(fileno=sock), many_fds=True)
    reporting, definitions, pickled, limits = loads(body)
    worker = Worker(channel, Ledger(ledger), Limits(*limits))
    if not worker.initialize(reporting, definitions, pickled):
        return 1
    worker.serve()
    return 0


def serve_forked(
    channel: Channel,
    ledger: int,
    reporting: bytes,
    initializer: tuple[Callable[..., Any], tuple[Any, ...]] | None,
    identity: tuple[str, int],
    limits: Limits,
) -> int:
    """Be a worker in a fork of the parent itself: ``__main__`` is all there; return the exit code."""
    from procession.worker.startup import become_forked_worker

    become_forked_worker(*identity)
    forget_handlers()
    worker = Worker(channel, Ledger(ledger), limits)
    worker.inherit_main()

    def prepare() -> None:
        if initializer is not None:
            function, initargs = initializer
            function(*initargs)

    if not worker.start(reporting, prepare):
        return 1
    worker.serve()
    return 0
