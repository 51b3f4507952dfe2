"""The backend of worker processes: the engine, behind the protocol.

Owns one driver.  Also sees to what the engine must not know: which modules the zygote should import,
and that the workers end with the interpreter.
"""

from __future__ import annotations

import os
import pickle
import signal
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from procession.backends.base import Capability
from procession.engine.driver import Driver
from procession.engine.interning import Function, installed_modules, interner
from procession.engine.items import encode_item
from procession.engine.store import Store
from procession.launch.start import preload
from procession.system import hold_standard_descriptors
from procession.wire.arena import NoRoom
from procession.wire.serial import PROTOCOL

if TYPE_CHECKING:
    from procession.engine.handle import Handle
    from procession.engine.settings import WorkerSettings
    from procession.engine.stacks import WorkerStack
    from procession.wire.mainmodule import Definition
    from procession.wire.parcel import Frame, Known
    from procession.wire.pickled import Pickled

_EMPTY: Mapping[str, Any] = {}
_NOTHING = object()
_PLAIN = {int, float, bool, complex, type(None)}
_living: weakref.WeakSet[Processes] = weakref.WeakSet()


class Processes:
    """Worker processes of one pool."""

    name = "processes"
    capabilities = frozenset(Capability)

    def __init__(self, settings: WorkerSettings) -> None:
        hold_standard_descriptors()
        self.workers = settings.workers
        self._served = settings.method == "forkserver"
        self._store = Store(settings.block_memory, settings.workers)
        self._driver = Driver(settings, self._store)
        self._preloaded: set[int] = set()
        self._last: tuple[Any, Any] = (_NOTHING, None)  # the last function, if it cannot change
        self._inherited: Mapping[str, Any] = _EMPTY
        _living.add(self)
        if self._served:
            preload({"logging", "procession.errors"})  # for reports; and a worker without memory cannot import any more
        if settings.method == "fork":
            # As with multiprocessing, a fork is of the moment at which the pool was made.
            self._driver.start_workers()
            self._inherited = self._driver.crew.inherited()
        self.submit = self._driver.submit
        self.append = self._driver.append
        self.retry = self._driver.retry
        self.stop = self._driver.stop
        self.dump_stacks = self._driver.dump_stacks
        self.withdraw = self._driver.withdraw
        self.cancel_queued = self._driver.cancel_queued
        self.interrupt = self._driver.interrupt
        self.settle = self._driver.settle
        self.wait = self._driver.wait
        self.attend = self._driver.relief.attend
        self.start_workers = self._driver.start_workers

    @property
    def broken(self) -> BaseException | None:
        """See ``Backend``."""
        return self._driver.broken

    def intern(self, function: Callable[..., Any], *, thorough: bool) -> Function:
        """See ``Backend``."""
        known: Function
        last, known = self._last
        if function is last:
            return known
        known = interner.intern(function, thorough=thorough, inherited=self._inherited, pack=self._pack_shared)
        if interner.is_fixed(function):
            self._last = (function, known)
        if known.id not in self._preloaded:
            self._preloaded.add(known.id)
            if self._served:
                names = installed_modules(function)
                if known.by_value:
                    names.add("cloudpickle.cloudpickle")
                preload(names)
        return known

    def encode(
        self,
        item: Any,
        name: str,
        known: Known | None = None,
        before_wait: Callable[[], object] | None = None,
        *,
        exclusive: bool = True,
    ) -> tuple[Frame, tuple[Definition, ...]]:
        """See ``Backend``."""
        if type(item) in _PLAIN:  # 0.4 us instead of 4; a stream of tiny items is made of them
            return pickle.dumps(item, PROTOCOL), ()
        return encode_item(item, name, lambda pickled: self._pack(pickled, known, before_wait, exclusive=exclusive))

    def _pack_shared(self, pickled: Pickled) -> Frame:
        """Store what is large of a function, for all workers."""
        return self._pack(pickled, None, None, exclusive=False)

    def _pack(
        self,
        pickled: Pickled,
        known: Known | None,
        before_wait: Callable[[], object] | None,
        *,
        exclusive: bool,
    ) -> Frame:
        """Store what is large of a pickle, when there is room for it."""
        while True:
            try:
                return self._store.pack(pickled, known, exclusive=exclusive)
            except NoRoom as full:
                if before_wait is not None:
                    before_wait()
                self._driver.room.wait(full)

    def wake(self) -> None:
        """See ``Backend``."""
        self._driver.seat.wake_ready()
        self._driver.nudge()

    def worker_processes(self) -> list[Any]:
        """See ``Backend``."""
        return [WorkerProcess(handle) for handle in self._driver.crew.handles()]

    def close(self) -> None:
        """See ``Backend``."""
        self._driver.close()

    def terminate(self, error: BaseException) -> None:
        """See ``Backend``."""
        self._driver.terminate(error)
        _living.discard(self)

    def wait_ended(self) -> None:
        """See ``Backend``."""
        self._driver.wait_ended()
        _living.discard(self)


class WorkerProcess:
    """A worker as the clients of ``pool._pool`` know it: like a process object."""

    def __init__(self, handle: Handle) -> None:
        self._child = handle.child
        self.name = handle.name

    @property
    def pid(self) -> int:
        """The process id; waits until the worker has been forked."""
        return self._child.wait_started()

    ident = pid

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once the worker has ended."""
        return self._child.sentinel

    @property
    def exitcode(self) -> int | None:
        """How it ended, or None while it lives."""
        ending = self._child.poll()
        return None if ending is None else ending.exitcode

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.exitcode is None

    def kill(self) -> None:
        """Kill it."""
        self._child.wait_started()
        self._child.kill()

    def terminate(self) -> None:
        """Ask it to end, by SIGTERM."""
        self._child.wait_started()
        self._child.signal(signal.SIGTERM)

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        self._child.wait(timeout)

    def __repr__(self) -> str:
        state = "alive" if self.is_alive() else f"ended with {self.exitcode}"
        return f"<{self.name} pid={self._child.pid} {state}>"


def all_stacks() -> list[WorkerStack]:
    """The stacks of the workers of every pool of this process."""
    return [row for backend in list(_living) for row in backend.dump_stacks()]


def _forget_all() -> None:
    for backend in list(_living):
        backend._driver.forget_after_fork()
    _living.clear()


os.register_at_fork(after_in_child=_forget_all)
