"""The start methods: how a request becomes a running child.

``forkserver`` asks the zygote, ``spawn`` executes a fresh interpreter; both hand over the same
request.  ``fork`` forks this very process, which needs no request: the child has everything.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable

from procession.launch.child import Child, OwnChild, ServedChild
from procession.launch.request import Request
from procession.launch.server import server, spawn
from procession.system import hold_standard_descriptors
from procession.wire.channel import Channel, socket_pair

METHODS = ("forkserver", "spawn", "fork")


def start(request: Request, fds: list[int]) -> Child:
    """Start the child that ``request`` describes, with ``fds`` for its role.

    Returns at once; ``wait_started`` of the child tells when it runs.  On failure: ``OSError``.
    """
    hold_standard_descriptors()
    return _start_fresh(request, fds) if request.method == "spawn" else _start_served(request, fds)


def preload(names: Iterable[str]) -> None:
    """Let the zygote import modules, so that its later forks have them."""
    server.preload(names)


def _start_served(request: Request, fds: list[int]) -> Child:
    from procession.worker.zygote import FORK

    body, passed = request.pack(fds)
    sentinel, ending = os.pipe()
    try:
        server.request(FORK, body, [ending, *passed])
    except BaseException:
        os.close(sentinel)
        raise
    finally:
        os.close(ending)
    return ServedChild(sentinel)


def _start_fresh(request: Request, fds: list[int]) -> Child:
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    body, passed = request.pack(fds)
    ours, theirs = socket_pair()
    # The child must find this package before it has read the request, which has the path.
    command = (
        f"import sys; sys.path[:] = {[p for p in sys.path if isinstance(p, str)]!r}; "
        f"from procession.worker.child import spawned; spawned({theirs.fileno()})"
    )
    read_end, write_end = os.pipe()
    try:
        argv = [sys.executable, *_args_from_interpreter_flags(), "-c", command]
        pid = spawn(argv, [theirs.fileno(), write_end])
        Channel(ours).send([body], [lifeline(), *passed])
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
        ours.close()
        theirs.close()
    return OwnChild(pid, read_end)


def start_forked(run: Callable[[], int], *, own_group: bool) -> Child:
    """Fork this process; the child calls ``run`` and ends with its exit code."""
    from procession.worker.leave import flush_streams

    flush_streams()
    line = os.dup(lifeline())
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run_forked(run, line, own_group)
    os.close(line)
    os.close(write_end)
    return OwnChild(pid, read_end)


def _run_forked(run: Callable[[], int], line: int, own_group: bool) -> None:
    import atexit
    from multiprocessing import util

    from procession.system import die_with
    from procession.worker.leave import leave
    from procession.worker.startup import adopt_method

    atexit._clear()  # what the parent has registered is the parent's to run
    util._finalizer_registry.clear()  # type: ignore[attr-defined]
    code = 1
    try:
        if own_group:
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with(line, group=own_group)
        adopt_method("fork")
        code = run()
    except BaseException:
        traceback.print_exc()
    leave(code)


class _Lifeline:
    """A pipe that only this process holds open, for children that are not the zygote's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fds: tuple[int, int] | None = None

    def forget_after_fork(self) -> None:
        """In a forked child: the write end is the parent's alone."""
        self.lock = threading.Lock()
        self.drop()

    def drop(self) -> None:
        """Close the pipe: what still hangs on it ends."""
        if self.fds is not None:
            for fd in self.fds:
                os.close(fd)
            self.fds = None


_lifeline = _Lifeline()
os.register_at_fork(after_in_child=_lifeline.forget_after_fork)


def lifeline() -> int:
    """The read end of this process's lifeline."""
    with _lifeline.lock:
        if _lifeline.fds is None:
            _lifeline.fds = os.pipe()
        return _lifeline.fds[0]


def drop_lifeline() -> None:
    """Close this process's lifeline; a new one is made when it is needed."""
    with _lifeline.lock:
        _lifeline.drop()
