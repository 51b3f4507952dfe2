"""The yardstick of the row-blocks scenario: forked processes that inherited all they need, and begin at a signal."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from bench.forked import forked_child


def serve(work: Callable[[], object], connection: socket.socket) -> None:
    """The child's loop: for each byte read, do the work and send one back, until the other side is closed."""
    while connection.recv(1):
        work()
        connection.sendall(b".")


@contextmanager
def forked_halves(works: Sequence[Callable[[], object]]) -> Iterator[Callable[[], None]]:
    """A function that lets one forked child for each of `works` do it, all at once, and returns when all have.

    On failure: a child whose work raises prints its traceback and ends, and the function raises `EOFError`.
    """
    with ExitStack() as stack:
        connections: list[socket.socket] = []
        for work in works:
            connections.append(stack.enter_context(forked_child(partial(serve, work), connections)))
        yield lambda: _run(connections)


def _run(connections: Sequence[socket.socket]) -> None:
    for connection in connections:
        connection.sendall(b".")
    for connection in connections:
        if not connection.recv(1):
            raise EOFError("a forked half has ended")
