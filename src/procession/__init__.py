"""Procession: process-based parallelism, under the names of ``multiprocessing``.

``import procession as multiprocessing`` and the old script runs.  Every public name of multiprocessing
is here, and ``map``, ``Task``, ``Outcome`` and the errors beyond it.  Names are looked up when they are
first used, so that importing the package costs next to nothing: a worker imports it too.
"""

from __future__ import annotations

import importlib
import typing

if typing.TYPE_CHECKING:
    from procession.errors import (  # noqa: I001 (one statement a module)
        ForkFallback as ForkFallback,
        InternalError as InternalError,
        JournalChanged as JournalChanged,
        JournalError as JournalError,
        JournalFailed as JournalFailed,
        JournalLocked as JournalLocked,
        JournalUnsafe as JournalUnsafe,
        JournalWarning as JournalWarning,
        NestingLimit as NestingLimit,
        NoJournal as NoJournal,
        NotPicklable as NotPicklable,
        NotSendable as NotSendable,
        PoolBroken as PoolBroken,
        PoolFull as PoolFull,
        ProcessionError as ProcessionError,
        RemoteError as RemoteError,
        SendFailed as SendFailed,
        StallWarning as StallWarning,
        StartFailed as StartFailed,
        TaskCancelled as TaskCancelled,
        TaskTimeout as TaskTimeout,
        TooManyFailures as TooManyFailures,
        UnsupportedOption as UnsupportedOption,
        WaitTimeout as WaitTimeout,
        WorkerDied as WorkerDied,
    )
    from procession.executor import ProcessPoolExecutor as ProcessPoolExecutor
    from procession.installing import install as install, uninstall as uninstall
    from procession.outcome import Attempt as Attempt, Outcome as Outcome, OutcomeKind as OutcomeKind
    from procession.pool import Pool as Pool
    from procession.process import Process as Process
    from procession.reusable import get_reusable_executor as get_reusable_executor
    from procession.sharing import share as share, shared_array as shared_array
    from procession.task import Task as Task
    from procession.trigger import dump_stacks_on as dump_stacks_on
    from procession.warm import imap as imap, map as map, shutdown as shutdown
    from procession.journal.reading import read_journal as read_journal
    from procession.mapping.progress import Progress as Progress
    from procession.worker.seeding import rng as rng
    from procession.worker.telling import progress as progress

__version__ = "0.1.0.dev0"

#: Our own names, and where they are.
_OURS = {
    "dump_stacks_on": "trigger",
    "get_reusable_executor": "reusable",
    "imap": "warm",
    "install": "installing",
    "map": "warm",
    "progress": "worker.telling",
    "read_journal": "journal.reading",
    "rng": "worker.seeding",
    "share": "sharing",
    "shared_array": "sharing",
    "shutdown": "warm",
    "uninstall": "installing",
    "Attempt": "outcome",
    "Outcome": "outcome",
    "OutcomeKind": "outcome",
    "Task": "task",
    "Pool": "pool",
    "Progress": "mapping.progress",
    "Process": "process",
    "ProcessPoolExecutor": "executor",
    "ForkFallback": "errors",
    "InternalError": "errors",
    "JournalChanged": "errors",
    "JournalError": "errors",
    "JournalFailed": "errors",
    "JournalLocked": "errors",
    "JournalUnsafe": "errors",
    "JournalWarning": "errors",
    "NestingLimit": "errors",
    "NoJournal": "errors",
    "NotPicklable": "errors",
    "NotSendable": "errors",
    "PoolBroken": "errors",
    "PoolFull": "errors",
    "ProcessionError": "errors",
    "RemoteError": "errors",
    "SendFailed": "errors",
    "StallWarning": "errors",
    "StartFailed": "errors",
    "TaskCancelled": "errors",
    "TaskTimeout": "errors",
    "TooManyFailures": "errors",
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
    "connection", "context", "dummy", "errors", "forkserver", "heap", "managers", "pool", "process", "queues",
    "reduction", "resource_sharer", "resource_tracker", "shared_memory", "sharedctypes", "spawn", "synchronize",
    "util",
}  # fmt: skip

# ``from procession import *`` must not replace a builtin, nor a name as common as ``install``.
__all__ = sorted({*_STANDARD, *_OURS} - {"install", "map", "progress", "uninstall"})  # noqa: PLE0605


def __getattr__(name: str) -> typing.Any:
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
