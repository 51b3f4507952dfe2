"""What every child does first and last, whatever it was started for.

Runs in the child's main thread.  ``main`` never returns.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

from procession.system import die_with
from procession.wire import inherit
from procession.wire.channel import Channel
from procession.wire.serial import loads
from procession.worker.leave import leave
from procession.worker.startup import Launch, settle


def main(request: bytes, fds: list[int], lifeline: int | None) -> NoReturn:
    """Settle in, do the work of the role, and end the process with its exit code."""
    code = 1
    try:
        launch: Launch = loads(request)
        if launch.tracker:
            _share_tracker(fds.pop())
        for number in reversed(launch.outputs):
            fd = fds.pop()
            os.dup2(fd, number)
            os.close(fd)
        settle(launch)
        if lifeline is not None:
            die_with(lifeline, group=launch.own_group)
        if launch.role == "worker":
            from procession.worker.main import main

            _drop_interrupts()
            sock, ledger, *others = fds
            inherit.fill(others)
            code = main(launch.body, sock, ledger)
        else:
            from procession.worker import process

            report, *others = fds
            inherit.fill(others)
            code = process.main(launch.body, report)
    except BaseException:
        sys.stderr.write(f"Process {os.getpid()}:\n")
        import traceback

        traceback.print_exc()
    leave(code)


def _drop_interrupts() -> None:
    """Forget a Ctrl-C that came while a fresh interpreter started, which has it blocked: the parent stops workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _share_tracker(fd: int) -> None:
    """Report named semaphores and shared memory to the tracker of our parent, which outlives us."""
    from multiprocessing import resource_tracker

    resource_tracker._resource_tracker._fd = fd  # type: ignore[attr-defined]


def spawned(control: int) -> NoReturn:
    """Be the child that a fresh interpreter was started for; the request waits on ``control``.

    The first descriptor with it is the parent's lifeline.
    """
    channel = Channel(socket.socket(fileno=control), many_fds=True)
    message = channel.recv()
    if message is None:
        os._exit(1)
    channel.close()
    lifeline, *fds = message.fds
    main(bytes(message.data), fds, lifeline)
