"""Finishing: what becomes of an executor's work when it is shut down or dropped, and when the interpreter exits.

Owns the set of the backends whose executors have not been shut down: the exit waits for them.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Any

from procession.backends.base import Backend
from procession.errors import TaskCancelled

exiting = False  #: the interpreter is on its way out, and nothing new can be done

_living: weakref.WeakSet[Backend] = weakref.WeakSet()


def watch(executor: Any, backend: Backend) -> weakref.finalize[[Backend, int], Any]:
    """See to it that the executor finishes what it has, also when it is dropped, until the returned is detached."""
    _living.add(backend)
    finalizer = weakref.finalize(executor, _on_dropped, backend, os.getpid())
    finalizer.atexit = False  # the exit of the interpreter waits for all of them, see below
    return finalizer


def forget(backend: Backend) -> None:
    """It has been ended."""
    _living.discard(backend)


def finish(backend: Backend) -> None:
    """Block until its work is done, and its workers have ended."""
    backend.close()
    backend.wait_ended()
    _living.discard(backend)


def finish_later(backend: Backend) -> None:
    """Have a thread see to the end of an executor that nobody waits for: its work is done, and its workers end.

    Nothing here itself, since it may be the garbage collector that drops an executor, in the midst of anything.
    """
    thread = threading.Thread(target=finish, args=(backend,), name="procession-shutdown", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is on its way out, and waits for all that are left
        return


def _on_dropped(backend: Backend, owner: int) -> None:
    """The last reference to an executor is gone.

    Nothing is done by a fork that drops its copy, maybe before that has been abandoned: the workers are its parent's.
    """
    if os.getpid() == owner:
        finish_later(backend)


def _finish_all() -> None:
    """At the interpreter's exit: all that was submitted is done first; but not when it ends by a Ctrl-C."""
    global exiting
    exiting = True
    # At a prompt it may be long past.
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    for backend in list(_living):
        if interrupted:
            backend.terminate(TaskCancelled("the interpreter is shutting down"))
        else:
            finish(backend)


def _forget_all() -> None:
    """In a forked child: the executors are the parent's."""
    _living.clear()


os.register_at_fork(after_in_child=_forget_all)

# Before the functions of `atexit`, which find executors shut down, as with the standard library.
threading._register_atexit(_finish_all)  # type: ignore[attr-defined]
