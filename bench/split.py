"""The yardstick of the row-blocks scenario: forked processes that inherited all they need, and begin at a signal."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager


def serve(connection: socket.socket, work: Callable[[], object]) -> None:
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
            connections.append(stack.enter_context(_forked(work, connections)))
        yield lambda: _run(connections)


@contextmanager
def _forked(work: Callable[[], object], others: Sequence[socket.socket]) -> Iterator[socket.socket]:
    """A connection to a forked child that serves `work`; the child ends with it, so keeps none of those to others."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            for connection in (ours, *others):
                connection.close()
            serve(theirs, work)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _run(connections: Sequence[socket.socket]) -> None:
    for connection in connections:
        connection.sendall(b".")
    for connection in connections:
        if not connection.recv(1):
            raise EOFError("a forked half has ended")
