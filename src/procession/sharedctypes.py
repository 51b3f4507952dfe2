"""``multiprocessing.sharedctypes``, with locks of our context, not of the standard library's, unless one is given."""

from __future__ import annotations

from multiprocessing import sharedctypes as standard
from multiprocessing.sharedctypes import RawArray, RawValue, copy
from typing import Any

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:  # noqa: N802
    """A ctypes object in shared memory with a lock; see ``multiprocessing.sharedctypes.Value``."""
    return standard.Value(typecode_or_type, *args, lock=lock, ctx=ctx or _default())


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True, ctx: Any = None) -> Any:  # noqa: N802
    """A ctypes array in shared memory with a lock; see ``multiprocessing.sharedctypes.Array``."""
    return standard.Array(typecode_or_type, size_or_initializer, lock=lock, ctx=ctx or _default())


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """A wrapper with a lock for a shared object; see ``multiprocessing.sharedctypes.synchronized``."""
    return standard.synchronized(obj, lock, ctx or _default())


def _default() -> Any:
    from procession.context import default_context

    return default_context.get_context()


def __getattr__(name: str) -> Any:
    """Whatever else the standard module has."""
    return getattr(standard, name)
