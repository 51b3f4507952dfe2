"""Installing: programs that import ``multiprocessing`` get Procession, unchanged.

Owns the names of the standard library's modules that it has replaced, and what they were.  The modules stay, since
others hold them; it is their contents that change: ``multiprocessing``'s functions, its contexts, its ``Pool`` and its
process classes.  A name that a module has imported before the installation is that module's own and stays as it was.
Children know whether their parent has installed it, and do the same.
"""

from __future__ import annotations

import importlib
from typing import Any

from procession.worker.startup import preparations

#: What a child calls when its parent has installed this: with the executors, or without.
_IN_CHILD = {False: "procession.installing:install", True: "procession.installing:install_with_executors"}

_replaced: list[tuple[Any, str, Any]] = []


def install(*, executors: bool = False) -> None:
    """Have everything that imports ``multiprocessing`` from now on get Procession; twice is as good as once.

    With ``executors`` also ``concurrent.futures.ProcessPoolExecutor``.
    """
    if _replaced:
        uninstall()
    for module, names in _replacements(executors):
        for name, value in names.items():
            _replaced.append((module, name, getattr(module, name)))
            setattr(module, name, value)
    preparations.append(_IN_CHILD[executors])


def install_with_executors() -> None:
    """``install(executors=True)``, for a child."""
    install(executors=True)


def uninstall() -> None:
    """Give the standard library its own names back."""
    while _replaced:
        module, name, value = _replaced.pop()
        setattr(module, name, value)
    preparations[:] = [each for each in preparations if each not in _IN_CHILD.values()]


def _thread_pool() -> type:
    """The standard pool of threads, which takes ``Pool`` from its module: it must find the standard one."""
    from multiprocessing.pool import Pool, ThreadPool

    class InstalledThreadPool(ThreadPool):
        __doc__ = ThreadPool.__doc__

        def __init__(self, processes: Any = None, initializer: Any = None, initargs: Any = ()) -> None:
            Pool.__init__(self, processes, initializer, initargs)

    InstalledThreadPool.__name__ = InstalledThreadPool.__qualname__ = ThreadPool.__name__
    return InstalledThreadPool


def _replacements(executors: bool) -> list[tuple[Any, dict[str, Any]]]:
    """The modules, and for each the names with our values."""
    import multiprocessing

    from procession import context, pool, process

    default = context.default_context
    of_processes = {name: getattr(process, name) for name in ("ForkProcess", "ForkServerProcess", "SpawnProcess")}
    of_contexts = {name: getattr(context, name) for name in ("ForkContext", "ForkServerContext", "SpawnContext")}
    found: list[tuple[Any, dict[str, Any]]] = [
        (multiprocessing, {name: getattr(default, name) for name in multiprocessing.__all__}),
        (
            importlib.import_module("multiprocessing.context"),
            {
                **of_processes,
                **of_contexts,
                "Process": process.Process,
                "DefaultContext": context.DefaultContext,
                "_default_context": default,
                "_concrete_contexts": context.contexts,
            },
        ),
        (importlib.import_module("multiprocessing.pool"), {"Pool": pool.Pool, "ThreadPool": _thread_pool()}),
    ]
    if executors:
        from procession.executor import ProcessPoolExecutor

        names = {"ProcessPoolExecutor": ProcessPoolExecutor}
        futures = importlib.import_module("concurrent.futures")
        futures.ProcessPoolExecutor  # noqa: B018 (it is looked up when it is first used: now)
        found += [(futures, names), (importlib.import_module("concurrent.futures.process"), names)]
    return found
