"""``multiprocessing.managers``, whose servers are processes of our context, not of the standard library's.

A manager that is made without a context would else fork this process, whatever the start method, threads and all.
"""

from __future__ import annotations

from multiprocessing import managers as standard
from multiprocessing.managers import BaseProxy, Token
from typing import Any

__all__ = ["BaseManager", "BaseProxy", "SharedMemoryManager", "SyncManager", "Token"]


class BaseManager(standard.BaseManager):
    """See ``multiprocessing.managers.BaseManager``."""

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Any = None,
        **options: Any,
    ) -> None:
        if ctx is None:
            from procession.context import default_context

            ctx = default_context.get_context()
        super().__init__(address, authkey, serializer, ctx, **options)


def _make_pool(*args: Any, **options: Any) -> Any:
    """In the server: a pool of ours."""
    from procession.pool import Pool

    return Pool(*args, **options)


class SyncManager(BaseManager, standard.SyncManager):
    """See ``multiprocessing.managers.SyncManager``."""

    # What is registered with our `BaseManager` is not known here, as with the standard library.
    _registry: Any = standard.SyncManager._registry.copy()  # type: ignore[attr-defined]
    _registry["Pool"] = (_make_pool, *_registry["Pool"][1:])


class SharedMemoryManager(BaseManager, standard.SharedMemoryManager):
    """See ``multiprocessing.managers.SharedMemoryManager``."""

    _registry = standard.SharedMemoryManager._registry.copy()  # type: ignore[attr-defined]


def __getattr__(name: str) -> Any:
    """Whatever else the standard module has."""
    return getattr(standard, name)
