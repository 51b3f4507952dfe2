"""The crew: the worker processes of one pool, from their start to their last descriptor.

Touched only by the driver, under the engine's lock.  Knows how a worker is made; does not know why.
"""

from __future__ import annotations

import os
import pickle
import sys
import weakref
from collections import deque
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from procession.engine.handle import Handle
from procession.engine.interning import function_name, interner
from procession.errors import NotPicklable
from procession.launch import Child, Request, start
from procession.launch.start import start_forked
from procession.wire.channel import Channel, socket_pair
from procession.wire.faults import reraise_interrupt
from procession.wire.ledger import Ledger
from procession.wire.mainmodule import Mirror, pack_names
from procession.wire.mirrored import Packed
from procession.wire.parcel import describe_file, pack_file
from procession.worker.memory import Limits
from procession.worker.nesting import nesting

if TYPE_CHECKING:
    from procession.engine.interning import Function
    from procession.engine.settings import WorkerSettings
    from procession.engine.slots import Slot
    from procession.wire.mainmodule import Definition
    from procession.wire.parcel import Parcel

_numbers = count(1)
_NAMES = {"forkserver": "ForkServer", "spawn": "Spawn", "fork": "Fork"}


class Crew:
    """Starts workers and keeps their handles until they are gone."""

    def __init__(self, settings: WorkerSettings, limits: Limits) -> None:
        """``limits`` are those of what a worker may lend."""
        self.settings = settings
        self._handles: dict[Slot, Handle] = {}
        self._limits = limits
        self._template = Request("worker", "", method=settings.method)
        self._pickled: bytes | None = None
        self._first: list[Packed] = []
        self._definitions: tuple[Definition, ...] = ()
        self._watched: dict[int, weakref.ref[Parcel]] = {}  # by the function's number
        self._numbers: dict[int, int] = {}  # and that by the id of the reference
        self.stale: deque[weakref.ref[Parcel]] = deque()  #: to functions that are gone
        if settings.method != "fork":
            self._pickle_initializer()

    def _pickle_initializer(self) -> None:
        """Pickle the initializer once; descriptors in it are kept for workers to come."""
        initializer, template = self.settings.initializer, self._template
        if initializer is not None:
            try:
                with template.pickling():
                    pair = (initializer, self.settings.initargs)
                    pickled = interner.encoder.encode(pair)
                    # What is pickled for a starting child, queues and locks too, is for that only.
                    first = Mirror().whole(pickled.needs)
            except BaseException as error:
                reraise_interrupt(error)
                name = f"the initializer {function_name(initializer)} with its initargs"
                raise NotPicklable(name, f"{type(error).__name__}: {error}") from error
            template.inherited = [os.dup(fd) for fd in template.inherited]
            # What is large is stored once, for all workers that there will be.
            self._first = pack_names(first, template.inherited)
            self._pickled = describe_file(pack_file(pickled), template.inherited)
            self._definitions = interner.mirror.closure(pickled.needs, thorough=True)

    def start(self, slot: Slot, reporting: bytes) -> Handle:
        """Start a worker.  On failure: ``OSError``, with nothing left behind."""
        number = next(_numbers)
        name = f"{_NAMES[self.settings.method]}PoolWorker-{number}"
        ours, theirs = socket_pair()
        ledger_fd = Ledger.create()
        ledger = Ledger(ledger_fd)
        inherited: Mapping[str, Any] = {}
        try:
            if self.settings.method == "fork":
                inherited = dict(vars(sys.modules["__main__"]))
                child = self._fork(name, number, ours, theirs, ledger_fd, reporting)
            else:
                child = self._request(name, number, theirs.fileno(), ledger_fd, reporting)
        except BaseException:
            ours.close()
            theirs.close()
            ledger.close()
            raise
        handle = Handle(slot, name, child, ours, theirs, ledger, inherited, self._definitions)
        handle.reporting = reporting
        self._handles[slot] = handle
        return handle

    def _request(self, name: str, number: int, sock: int, ledger: int, reporting: bytes) -> Child:
        request = Request(
            "worker",
            name,
            identity=(number,),
            method=self.settings.method,
            own_group=True,
            nesting=nesting.below(self.settings.workers),
        )
        request.body = pickle.dumps((reporting, self._first, self._pickled, tuple(self._limits)))
        request.inherited = self._template.inherited
        return start(request, [sock, ledger])

    def _fork(self, name: str, number: int, ours: Any, theirs: Any, ledger_fd: int, reporting: bytes) -> Child:
        from procession.worker.main import serve_forked

        settings = self.settings

        def run() -> int:
            ours.close()
            initializer = settings.initializer
            bound = None if initializer is None else (initializer, settings.initargs)
            channel = Channel(theirs, many_fds=True)
            nesting.adopt(*nesting.below(settings.workers))
            return serve_forked(channel, ledger_fd, reporting, bound, (name, number), self._limits)

        return start_forked(run, own_group=True)

    def inherited(self) -> Mapping[str, Any]:
        """The names of ``__main__`` that every worker has by its fork."""
        for handle in self._handles.values():
            return handle.inherited
        return {}

    def watch(self, function: Function) -> None:
        """Have workers forget a function with large buffers when nobody here can run it any more."""
        number, parcel = function.id, function.parcel
        if parcel is not None and number not in self._watched:
            # The end may come in any thread, and while the lock is held: it is only noted, by no code of ours.
            self._watched[number] = end = weakref.ref(parcel, self.stale.append)
            self._numbers[id(end)] = number

    def forget_stale(self) -> None:
        """Tell the workers what they need not keep."""
        while self.stale:
            number = self._numbers.pop(id(self.stale.popleft()))
            self._watched.pop(number, None)
            for handle in self.handles():
                handle.forget(number)

    def handles(self) -> list[Handle]:
        """The handles of all workers that are not gone."""
        return list(self._handles.values())

    def handle(self, slot: Slot) -> Handle:
        """The handle of the worker in ``slot``."""
        return self._handles[slot]

    def remove(self, handle: Handle) -> None:
        """A worker is gone: give back what it needed."""
        del self._handles[handle.slot]
        handle.close()

    def release(self) -> None:
        """No worker will be started any more."""
        for fd in self._template.inherited:
            os.close(fd)
        self._template.inherited = []

    def abandon(self) -> None:
        """In a forked child: close what leads to the parent's workers."""
        for handle in self.handles():
            handle.close()
            handle.views.close()
        self._handles.clear()
        self.release()
