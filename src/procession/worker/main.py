"""The worker: reads messages, runs chunks, and ends when its parent says so or is gone.

Runs in the main thread of a forked child, after ``startup.settle``.  Owns its functions, by the ids
that the engine gave them, and what it has received of ``__main__``.  The first thing it sends is
READY or FAILED; after that, one final PART or one REFUSED for every RUN.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

from procession.wire import messages
from procession.wire.channel import Channel, Message
from procession.wire.faults import pack_error
from procession.wire.ledger import Ledger
from procession.wire.mainmodule import Mirrored
from procession.wire.serial import Encoder, loads
from procession.worker.output import Streams
from procession.worker.runner import Runner, read_items


class _Exit(Exception):
    """The engine asked for an orderly end."""


class Worker:
    """One worker process's side of the conversation."""

    def __init__(self, channel: Channel, ledger: Ledger) -> None:
        self._channel = channel
        self._mirrored = Mirrored()
        self._encoder = Encoder(self._mirrored.names)
        self._runner = Runner(channel, ledger, self._encoder)
        self._streams = Streams(channel)
        self._functions: dict[int, Callable[..., Any]] = {}
        self._pickled: dict[int, memoryview] = {}  # functions that have not been needed yet
        self._handlers: dict[int, Callable[[Message], None]] = {
            messages.RUN: self._on_run,
            messages.DEFINE: self._on_define,
            messages.MAIN: self._on_main,
            messages.FORGET: self._on_forget,
            messages.STREAMS: self._on_streams,
            messages.EXIT: self._on_exit,
        }

    def initialize(self, body: bytes) -> bool:
        """Run the initializer and tell the engine; return whether it worked."""
        flags, definitions, pickled = loads(body)

        def prepare() -> None:
            self._mirrored.receive(definitions)
            if pickled is not None:
                initializer, initargs = loads(pickled)
                initializer(*initargs)

        return self.start(flags, prepare)

    def start(self, flags: bytes, prepare: Callable[[], None]) -> bool:
        """Redirect the streams, ``prepare``, and tell the engine; return whether it worked."""
        try:
            self._streams.redirect(flags)
            prepare()
        except BaseException as error:
            self._streams.flush()
            self._channel.send([bytes((messages.FAILED,)), pack_error(error, self._encoder)])
            return False
        self._channel.send([bytes((messages.READY,))])
        return True

    def inherit_main(self) -> None:
        """Know every name of ``__main__``: this process is a fork of the one that has them."""
        self._mirrored.names.update(vars(sys.modules["__main__"]))

    def serve(self) -> None:
        """Handle messages until the end."""
        handlers = self._handlers
        try:
            while (message := self._channel.recv()) is not None:
                handlers[message.data[0]](message)
        except (_Exit, ConnectionError):
            return

    def _on_run(self, message: Message) -> None:
        head, body = messages.unpack_run(message.data)
        self._runner.begin(head)
        try:
            function = self._functions.get(head.function_id)
            if function is None:
                function = self._load(head.function_id)
            items = read_items(head, body)
        except BaseException as error:  # unpickling runs the user's code
            self._refuse(head.seq, error)
            self._runner.abandon()
            return
        self._runner.run(head, function, items)
        self._streams.flush()

    def _load(self, function_id: int) -> Callable[..., Any]:
        """Unpickle a function when it is first needed: what dies of it is that chunk's."""
        path, pickled = loads(self._pickled[function_id])
        sys.path[:] = path
        function: Callable[..., Any] = loads(pickled)
        self._functions[function_id] = function
        del self._pickled[function_id]
        return function

    def _refuse(self, seq: int, error: BaseException) -> None:
        head = bytes((messages.REFUSED,)) + seq.to_bytes(8, "little")
        self._channel.send([head, pack_error(error, self._encoder)])

    def _on_define(self, message: Message) -> None:
        function_id, pickled = messages.unpack_define(message.data)
        self._pickled[function_id] = pickled

    def _on_main(self, message: Message) -> None:
        self._mirrored.receive(loads(message.data[1:]))

    def _on_forget(self, message: Message) -> None:
        for function_id in memoryview(bytes(message.data[1:])).cast("Q"):
            self._functions.pop(function_id, None)
            self._pickled.pop(function_id, None)
            self._runner.forget(function_id)

    def _on_streams(self, message: Message) -> None:
        self._streams.redirect(bytes(message.data[1:]))

    def _on_exit(self, message: Message) -> None:
        raise _Exit


def main(body: bytes, sock: int, ledger: int) -> int:
    """Be a worker on the socket ``sock`` and the memory ``ledger``; return the exit code."""
    channel = Channel(socket.socket(fileno=sock))
    worker = Worker(channel, Ledger.adopt(ledger))
    if not worker.initialize(body):
        return 1
    worker.serve()
    return 0


def serve_forked(
    channel: Channel,
    ledger: int,
    flags: bytes,
    initializer: tuple[Callable[..., Any], tuple[Any, ...]] | None,
    identity: tuple[str, int],
) -> int:
    """Be a worker in a fork of the parent itself: ``__main__`` is all there; return the exit code."""
    from procession.worker.startup import become_forked_worker

    become_forked_worker(*identity)
    worker = Worker(channel, Ledger(ledger))
    worker.inherit_main()

    def prepare() -> None:
        if initializer is not None:
            function, initargs = initializer
            function(*initargs)

    if not worker.start(flags, prepare):
        return 1
    worker.serve()
    return 0
