"""Procession: process-based parallelism, under the names of ``multiprocessing``.

``import procession as multiprocessing`` and the old script runs.  Every public name of multiprocessing
is here, and ``map``, ``Task``, ``Outcome`` and the errors beyond it.  Names are looked up when they are
first used, so that importing the package costs next to nothing: a worker imports it too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procession.errors import (  # noqa: I001 (one statement a module)
        InternalError as InternalError,
        NotPicklable as NotPicklable,
        NotSendable as NotSendable,
        PoolBroken as PoolBroken,
        ProcessionError as ProcessionError,
        RemoteError as RemoteError,
        StartFailed as StartFailed,
        TaskCancelled as TaskCancelled,
        UnsupportedOption as UnsupportedOption,
        WaitTimeout as WaitTimeout,
        WorkerDied as WorkerDied,
    )
    from procession.outcome import Outcome as Outcome, OutcomeKind as OutcomeKind
    from procession.pool import Pool as Pool
    from procession.process import Process as Process
    from procession.sharing import share as share, shared_array as shared_array
    from procession.task import Task as Task
    from procession.warm import map as map, shutdown as shutdown

__version__ = "0.1.0.dev0"

#: Our own names, and where they are.
_OURS = {
    "map": "warm",
    "share": "sharing",
    "shared_array": "sharing",
    "shutdown": "warm",
    "Outcome": "outcome",
    "OutcomeKind": "outcome",
    "Task": "task",
    "Pool": "pool",
    "Process": "process",
    "InternalError": "errors",
    "NotPicklable": "errors",
    "NotSendable": "errors",
    "PoolBroken": "errors",
    "ProcessionError": "errors",
    "RemoteError": "errors",
    "StartFailed": "errors",
    "TaskCancelled": "errors",
    "UnsupportedOption": "errors",
    "WaitTimeout": "errors",
    "WorkerDied": "errors",
}

#: The public names of multiprocessing (the same in 3.10 to 3.13); a test compares.
_STANDARD = [
    "Array", "AuthenticationError", "Barrier", "BoundedSemaphore", "BufferTooShort", "Condition",
    "Event", "JoinableQueue", "Lock", "Manager", "Pipe", "Pool", "Process", "ProcessError", "Queue",
    "RLock", "RawArray", "RawValue", "Semaphore", "SimpleQueue", "TimeoutError", "Value",
    "active_children", "allow_connection_pickling", "cpu_count", "current_process",
    "freeze_support", "get_all_start_methods", "get_context", "get_logger", "get_start_method",
    "log_to_stderr", "parent_process", "reducer", "set_executable", "set_forkserver_preload",
    "set_start_method",
]  # fmt: skip

_SUBMODULES = {
    "connection", "context", "dummy", "errors", "managers", "pool", "process", "queues",
    "reduction", "shared_memory", "sharedctypes", "synchronize",
}  # fmt: skip

# ``map`` is not among them: ``from procession import *`` must not replace the builtin.
__all__ = sorted({*_STANDARD, *_OURS} - {"map"})  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _OURS:
        value = getattr(importlib.import_module(f"procession.{_OURS[name]}"), name)
    elif name in _SUBMODULES:
        return importlib.import_module(f"procession.{name}")
    elif name in _STANDARD:
        from procession.context import default_context

        value = getattr(default_context, name)
    elif name in ("SUBDEBUG", "SUBWARNING"):
        import multiprocessing

        value = getattr(multiprocessing, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_STANDARD, *_OURS, *_SUBMODULES})
