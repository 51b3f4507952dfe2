"""The choice of a backend: by its name, with what is asked of it."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

from procession.errors import ForkFallback, NotPicklable, UnsupportedOption
from procession.wire.passing import OnlyForForks

if TYPE_CHECKING:
    from procession.backends.base import Backend
    from procession.engine.settings import WorkerSettings


def make_backend(name: str, settings: WorkerSettings, context: Any) -> Backend:
    """Make the backend of this name, if it can do what is asked.  On failure: ``ValueError``."""
    if name == "processes":
        settings.method = context.get_start_method()
        if settings.method == "forkserver":
            from procession.launch.server import server

            server.ensure()  # it boots while this process imports the engine
        return _make_processes(settings)
    if name == "inline":
        from procession.backends.inline import Inline

        for option in Inline.without:
            if getattr(settings, option) is not None:
                shown = "maxtasksperchild" if option == "chunks_per_worker" else option
                raise UnsupportedOption(f"the inline backend has no worker processes: no {shown}")
        return Inline(settings.workers, settings.initializer, settings.initargs)
    raise ValueError(f"backend must be 'processes' or 'inline', not {name!r}")


def _make_processes(settings: WorkerSettings) -> Backend:
    """Worker processes; forks of this very process where the initializer's arguments have a lock that only these have.

    tqdm hands one to every pool.  Forking is safe as long as there is one thread.
    """
    from procession.backends.processes import Processes

    try:
        return Processes(settings)
    except NotPicklable as error:
        if not isinstance(error.__cause__, OnlyForForks) or threading.active_count() > 1:
            raise
        text = f"{error}; the workers of this pool are forks of this process instead"
        warnings.warn(text, ForkFallback, stacklevel=4)
    settings.method = "fork"
    return Processes(settings)
