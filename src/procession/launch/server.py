"""The one zygote of this process, seen from here.

Owns the control channel to it and the write end of its lifeline.  A zygote that has died is replaced
at the next request; its children have died with it.  A fork of this process forgets it, and will
start its own.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress

from procession.system import hold_standard_descriptors
from procession.wire.channel import Channel, socket_pair
from procession.wire.serial import PROTOCOL


class Server:
    """Starts the zygote when it is first needed, and sends it requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._preloaded: set[str] = set()  #: what every zygote has to import, one that replaces another too
        self._forget()

    def _forget(self) -> None:
        self._channel: Channel | None = None
        self._lifeline = -1
        self._pid = 0

    def ensure(self) -> None:
        """Have a zygote started.  Does not wait until it is ready."""
        with self._lock:
            self._ensure()

    def request(self, kind: int, body: bytes, fds: Iterable[int] = ()) -> None:
        """Send a request; a zygote that is gone is replaced, once."""
        passed = list(fds)
        with self._lock:
            for attempt in (1, 2):
                channel = self._ensure()
                try:
                    channel.send([bytes((kind,)), body], passed)
                    return
                except (BrokenPipeError, ConnectionError):
                    self._stop()
                    if attempt == 2:
                        raise

    def preload(self, names: Iterable[str]) -> None:
        """Have the zygote import modules that it has not been asked for yet."""
        from procession.worker.zygote import PRELOAD

        new = sorted(set(names) - self._preloaded)
        if new:
            self.request(PRELOAD, pickle.dumps(new, PROTOCOL))
            self._preloaded.update(new)

    def stop(self) -> None:
        """End the zygote, and with it every child that is left."""
        with self._lock:
            self._stop()

    @property
    def pid(self) -> int:
        """The zygote's pid, 0 while there is none."""
        return self._pid

    def _ensure(self) -> Channel:
        if self._channel is None:
            self._channel = self._start()
        return self._channel

    def _start(self) -> Channel:
        from multiprocessing.util import Finalize

        from procession.worker.zygote import PRELOAD, State, command_line

        hold_standard_descriptors()
        ours, theirs = socket_pair()
        read_end, write_end = os.pipe()
        path = [entry for entry in sys.path if isinstance(entry, str)]
        state = State(control=theirs.fileno(), parent_lifeline=read_end, path=path)
        try:
            self._pid = spawn(command_line(state), [theirs.fileno(), read_end])
        except BaseException:
            ours.close()
            os.close(write_end)
            raise
        finally:
            theirs.close()
            os.close(read_end)
        self._lifeline = write_end
        # After multiprocessing has joined the children that are not daemons.
        Finalize(None, self.stop, exitpriority=-100)
        channel = Channel(ours, many_fds=True)
        if self._preloaded:
            with suppress(ConnectionError):  # it has ended already, which the next request finds
                channel.send([bytes((PRELOAD,)), pickle.dumps(sorted(self._preloaded), PROTOCOL)])
        return channel

    def _stop(self) -> None:
        if self._channel is None:
            return
        pid = self._pid
        self._channel.close()
        os.close(self._lifeline)
        self._forget()
        with suppress(ChildProcessError):  # reaped by somebody's waitpid(-1)
            os.waitpid(pid, 0)

    def forget_after_fork(self) -> None:
        """In a forked child: let go of the parent's zygote."""
        channel, lifeline = self._channel, self._lifeline
        self._lock = threading.Lock()
        self._preloaded = set()
        self._forget()
        if channel is not None:
            channel.close()
            os.close(lifeline)


def spawn(argv: list[str], fds: list[int]) -> int:
    """Execute a fresh interpreter that keeps ``fds``; return its pid.

    SIGINT is blocked in it until it says otherwise: a Ctrl-C while it starts must not kill it, nor
    make it print.
    """
    from multiprocessing.util import spawnv_passfds

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        pid: int = spawnv_passfds(os.fsencode(argv[0]), argv, fds)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


server = Server()
os.register_at_fork(after_in_child=server.forget_after_fork)
