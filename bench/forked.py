"""A forked child that serves one connection: what the yardsticks without a library stand on."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def forked_child(
    serve: Callable[[socket.socket], object], others: Sequence[socket.socket] = ()
) -> Iterator[socket.socket]:
    """A connection to a forked child that runs `serve` on its own end, and ends with the connection.

    `others` are connections to other children, which this one must not keep open. On failure: the child prints its
    traceback and ends.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            for connection in (ours, *others):
                connection.close()
            serve(theirs)
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
