"""The zygote: a clean, single-threaded process that forks every worker and process.

It is started once, with nothing of the parent's but its circumstances, imports what the work needs,
and forks on request; a fork of it takes milliseconds and cannot copy a lock held by a thread.  It
reaps its children and writes how each ended into the pipe that came with the request.

Owns: the control channel, the pipe of every living child, and the lifeline (a pipe that only it
holds open, so that its end kills every child).  Its own end follows the parent's: the kernel kills it
when the parent's lifeline closes, and the loop ends when the control channel does.

Interruptible places: none but ``poll``; SIGINT is ignored and SIGCHLD only wakes the loop.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, NamedTuple

from procession.system import die_with, hold_standard_descriptors, write_all
from procession.wire.channel import Channel
from procession.wire.endings import pack_ending, pack_start
from procession.wire.serial import loads
from procession.worker import child

FORK = ord("f")
PRELOAD = ord("p")


class _Forked(Exception):
    """Unwinds the zygote's stack in a child, to run what it was forked for."""

    def __init__(self, request: bytes, fds: list[int]) -> None:
        super().__init__()
        self.request = request
        self.fds = fds


class State(NamedTuple):
    """What a zygote is started with, and what it hands to itself when it executes itself anew."""

    control: int  #: the socket on which requests come
    parent_lifeline: int  #: the read end of a pipe that the parent holds open
    path: list[str]
    lifeline: tuple[int, int] | None = None  #: the pipe that the zygote holds open
    children: dict[str, int] = {}  # noqa: RUF012  #: pid -> the pipe for its ending
    banned: list[str] = []  # noqa: RUF012  #: modules that must not be preloaded

    def fds(self) -> list[int]:
        """Every descriptor that belongs to the state."""
        return [self.control, self.parent_lifeline, *(self.lifeline or ()), *self.children.values()]


class Zygote:
    """The server's loop and its table of children."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._channel = Channel(socket.socket(fileno=state.control), many_fds=True)
        self._channel.sock.setblocking(False)
        self._children = {int(pid): fd for pid, fd in state.children.items()}
        self._lifeline = state.lifeline or os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def serve(self) -> None:
        """Handle requests and deaths until the parent is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        self._reap()  # after an exec, children may have ended before the handler was there
        while True:
            ready = {fd for fd, _event in poll.poll()}
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._channel.fileno() in ready and not self._handle():
                return

    def _handle(self) -> bool:
        """Handle one request; return False at the end of the control channel."""
        try:
            message = self._channel.recv()
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        if message is None:
            return False
        kind, body = message.data[0], bytes(message.data[1:])
        if kind == FORK:
            self._fork(body, message.fds)
        elif kind == PRELOAD:
            self._preload(loads(body))
        return True

    def _fork(self, request: bytes, fds: list[int]) -> None:
        ending, *others = fds
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            self._become_child(ending)
            raise _Forked(request, others)
        for fd in others:
            os.close(fd)
        with suppress(BrokenPipeError):  # the one who asked has lost interest; its lifelines end the child
            write_all(ending, pack_start(pid))
        if pid > 0:
            self._children[pid] = ending
        else:
            os.close(ending)

    def _become_child(self, ending: int) -> None:
        """Let go, in the child, of everything that is the zygote's."""
        signal.set_wakeup_fd(-1)
        ours = (self._wake_read, self._wake_write, self._lifeline[1], self._state.parent_lifeline)
        for fd in (ending, *ours):
            os.close(fd)
        for fd in self._children.values():
            os.close(fd)
        self._channel.close()

    def _reap(self) -> None:
        while self._children:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                return
            if ended is None:
                return
            with suppress(OSError):  # what it has left in a group of its own, while its number is still its own
                os.killpg(ended.si_pid, signal.SIGKILL)
            pid, status, usage = os.wait4(ended.si_pid, 0)
            ending = self._children.pop(pid, None)
            if ending is None:
                continue  # a child of something that was imported
            with suppress(BrokenPipeError):
                write_all(ending, pack_ending(os.waitstatus_to_exitcode(status), usage.ru_maxrss))
            os.close(ending)

    def _preload(self, names: list[str]) -> None:
        """Import modules that the work will need; a module that leaves a thread is undone.

        A forked child has only the forking thread, so a lock that another thread held stays held
        there.  Libraries that care stop their threads around a fork (OpenBLAS does); so what counts
        is what is left of them right after one.
        """
        for name in names:
            if name in self._state.banned:
                continue
            try:
                importlib.import_module(name)
            except BaseException:  # the worker that needs it will meet, and report, the same
                continue
            if _has_threads_around_fork():
                self._restart_without(name)
        gc.collect()
        gc.freeze()  # keep the collector from touching, and so copying, the pages that are shared

    def _restart_without(self, name: str) -> None:
        """Execute the zygote anew: the same process, so the children stay ours, in fresh memory."""
        state = State(
            control=self._channel.fileno(),
            parent_lifeline=self._state.parent_lifeline,
            path=sys.path,
            lifeline=self._lifeline,
            children={str(pid): fd for pid, fd in self._children.items()},
            banned=sorted({*self._state.banned, name}),
        )
        for fd in state.fds():
            os.set_inheritable(fd, True)
        os.execv(sys.executable, command_line(state))

    def kill_children(self) -> None:
        """End every child, and what it has started in its own group."""
        for pid in self._children:
            for kill in (os.killpg, os.kill):
                try:
                    kill(pid, signal.SIGKILL)
                except OSError:  # no group of its own, or gone
                    continue

    @property
    def lifeline(self) -> int:
        """The pipe end that hangs up when the zygote ends."""
        return self._lifeline[0]


def command_line(state: State) -> list[str]:
    """The arguments that start a zygote; the descriptors of ``state`` must be inheritable."""
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    command = (
        "import json, sys; state = json.loads(sys.argv[1]); sys.path[:] = state['path']; "
        "from procession.worker.zygote import main; main(state)"
    )
    flags: list[str] = _args_from_interpreter_flags()
    return [sys.executable, *flags, "-c", command, json.dumps(state._asdict())]


def _has_threads_around_fork() -> bool:
    """Whether another thread is alive right after a fork's own handlers have run."""
    if _threads() == 1:
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    threads = _threads()
    os.waitpid(pid, 0)
    return threads > 1


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()


def main(fields: dict[str, Any]) -> None:
    """Be the zygote whose ``State`` has these fields; in a fork of it, be what was asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # blocked by who started us
    state = State(**fields)
    for fd in state.fds():
        os.set_inheritable(fd, False)
    hold_standard_descriptors()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    die_with(os.dup(state.parent_lifeline))
    zygote = Zygote(state)
    order: _Forked | None = None
    try:
        zygote.serve()
    except _Forked as forked:
        order = forked
    if order is not None:
        child.main(order.request, order.fds, zygote.lifeline)
    zygote.kill_children()
    os._exit(0)
