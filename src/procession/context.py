"""The contexts: multiprocessing's, with our processes and pools in them.

A context is a start method and everything that goes with it.  Locks, queues, managers, and the other
things that multiprocessing does well, are its own, made for this context.
"""

from __future__ import annotations

import functools
import multiprocessing.context as standard
from collections.abc import Callable, Iterable
from typing import Any

from procession.process import ForkProcess, ForkServerProcess, Process, SpawnProcess
from procession.system import usable_cores
from procession.worker import startup


class _Extras:
    """What our contexts have instead of, or beyond, the standard ones."""

    def Pool(  # noqa: N802
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        **extras: Any,
    ) -> Any:
        """Make a ``procession.Pool`` of this context."""
        from procession.pool import Pool

        context: Any = self
        return Pool(
            processes,
            initializer,
            initargs,
            maxtasksperchild,
            context=context.get_context(),
            **extras,
        )

    def Manager(self) -> Any:  # noqa: N802
        """Start a ``SyncManager`` in a process of this context, and return it."""
        from procession.managers import SyncManager

        context: Any = self
        manager = SyncManager(ctx=context.get_context())
        manager.start()
        return manager

    def get_context(self, method: str | None = None) -> Any:
        """The context of a start method; this one by default."""
        return self if method is None else context_of(method)

    def cpu_count(self) -> int:
        """The number of cores that this process may use: affinity and cgroup quota count."""
        return usable_cores()

    def set_forkserver_preload(self, module_names: list[str]) -> None:
        """Have the zygote import modules, so that its forks have them."""
        if not all(type(name) is str for name in module_names):
            raise TypeError("module_names must be a list of strings")
        from procession.launch.start import preload

        preload(set(module_names) - {"__main__"})


class ForkServerContext(_Extras, standard.ForkServerContext):
    """Children are forks of a clean server process: our zygote."""

    Process = ForkServerProcess  # type: ignore[assignment]


class SpawnContext(_Extras, standard.SpawnContext):
    """Children are fresh interpreters."""

    Process = SpawnProcess  # type: ignore[assignment]


class ForkContext(_Extras, standard.ForkContext):
    """Children are forks of this process."""

    Process = ForkProcess  # type: ignore[assignment]


def _named(name: str) -> Any:
    """A method of the fork context that makes what has a name, so that any process may be given it at any time."""

    @functools.wraps(getattr(standard.BaseContext, name))
    def make(_self: ForkContext, *args: Any, **kwargs: Any) -> Any:
        return getattr(contexts["forkserver"], name)(*args, **kwargs)

    return make


# The standard fork context gives its semaphores no name: only forks that come later can use them.
for _name in (
    *("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"),
    *("Queue", "JoinableQueue", "SimpleQueue", "Value", "Array"),
):
    setattr(ForkContext, _name, _named(_name))


#: Every start method with its context; the default comes first.
contexts: dict[str, Any] = {
    "forkserver": ForkServerContext(),
    "spawn": SpawnContext(),
    "fork": ForkContext(),
}


def context_of(method: str) -> Any:
    """The context of a start method.  On failure: ``ValueError``."""
    try:
        return contexts[method]
    except KeyError:
        raise ValueError(f"cannot find context for {method!r}") from None


class DefaultContext(_Extras, standard.DefaultContext):
    """The context behind the functions of the package: its method is fixed when it is first used."""

    Process = Process

    def __init__(self) -> None:
        self.forget_choice()

    def forget_choice(self) -> None:
        """Have no choice made; the default in a child is the method by which it was started."""
        self._default_context = contexts[startup.start_method or "forkserver"]
        self._actual_context: Any = None

    def get_context(self, method: str | None = None) -> Any:
        """The context of a start method; the chosen one by default, which fixes the choice."""
        if method is not None:
            return context_of(method)
        if self._actual_context is None:
            self._actual_context = self._default_context
        return self._actual_context

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Choose the start method, once.  On failure: ``RuntimeError``, ``ValueError``."""
        if self._actual_context is not None and not force:
            raise RuntimeError("context has already been set")
        self._actual_context = None if method is None and force else self.get_context(method)

    def get_start_method(self, allow_none: bool = False) -> str | None:  # type: ignore[override]
        """The chosen start method."""
        if self._actual_context is None:
            if allow_none:
                return None
            self._actual_context = self._default_context
        name: str = self._actual_context._name
        return name

    def get_all_start_methods(self) -> list[str]:
        """The start methods there are, the default first."""
        return list(contexts)


default_context = DefaultContext()


def __getattr__(name: str) -> Any:
    """Whatever else the standard module has."""
    return getattr(standard, name)
