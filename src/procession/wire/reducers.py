"""The reducers that every pickler of ours knows: those registered anywhere, and a few of our own.

Owns the table, which is made anew when more have been registered.
"""

from __future__ import annotations

import copyreg
import pickle
import sys
from collections.abc import Callable
from typing import Any

from procession.wire.passing import passes, reduce_raw_semaphore, reduce_semaphore


def _reduce_view(view: memoryview) -> Any:
    """A memoryview by its bytes, which may travel beside the pickle."""
    if not view.nbytes:
        return _rebuild_empty, (view.format, view.readonly)
    if not view.c_contiguous:
        data: Any = bytes(view) if view.readonly else bytearray(view)
    else:
        data = view
    return _rebuild_view, (pickle.PickleBuffer(data), view.format, view.shape)


def _rebuild_empty(code: str, readonly: bool) -> memoryview:
    """An empty view can only be had of an empty array."""
    from array import array, typecodes

    view = memoryview(array(code) if code in typecodes else bytearray())
    return view.toreadonly() if readonly else view


def _rebuild_view(data: Any, code: str, shape: tuple[int, ...]) -> memoryview:
    flat = memoryview(data).cast("B")
    return flat if code == "B" and len(shape) == 1 else flat.cast(code, shape)  # type: ignore[call-overload]


_table: dict[type, Callable[[Any], Any]] = {}
_table_sizes = (-1, -1, False)
_SEMAPHORES = ("Lock", "RLock", "Semaphore", "BoundedSemaphore")


def dispatch_table() -> dict[type, Callable[[Any], Any]]:
    """The reducers registered with ``copyreg`` and with multiprocessing, as one plain dict.

    multiprocessing keeps its own as a ChainMap, which the C pickler can only look up by calling
    Python, for every object.
    """
    global _table, _table_sizes
    reduction = sys.modules.get("multiprocessing.reduction")
    extra = reduction.ForkingPickler._extra_reducers if reduction else {}
    synchronize = sys.modules.get("multiprocessing.synchronize")
    sizes = (len(copyreg.dispatch_table), len(extra), synchronize is not None)
    if sizes != _table_sizes:
        semaphores = [getattr(synchronize, name) for name in _SEMAPHORES] if synchronize is not None else []
        raw = {} if synchronize is None else {synchronize._multiprocessing.SemLock: reduce_raw_semaphore}
        _table = {
            memoryview: _reduce_view,
            **copyreg.dispatch_table,
            **{kind: passes(reduce) for kind, reduce in extra.items()},
            **dict.fromkeys(semaphores, reduce_semaphore),
            **raw,
        }
        _table_sizes = sizes
    return _table
