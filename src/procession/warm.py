"""The warm pool behind ``procession.map``: made at the first call and kept for the next.

Owns one pool.  It is replaced when the number of workers is another, or when the folder or the
environment, which its workers took over when they started, have changed; and left behind by a fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procession.pool import Pool

_lock = threading.Lock()
_pool: Pool | None = None
_circumstances: Any = None


def map(
    func: Callable[..., Any],
    *iterables: Iterable[Any],
    workers: int | None = None,
    chunksize: int | None = None,
    on_error: str = "raise",
) -> list[Any]:
    """Return ``list(map(func, *iterables))``, computed by worker processes, in order.

    The pool is made at the first call and kept warm for the next.  ``on_error`` as for ``Pool.map``.
    On failure: the error of the first item that failed; the workers stay.
    """
    pool = _warm_pool(workers)
    if len(iterables) == 1:
        return pool.map(func, iterables[0], chunksize, on_error=on_error)
    if not iterables:
        raise TypeError("map() needs at least one iterable")
    return pool.starmap(func, zip(*iterables), chunksize, on_error=on_error)  # noqa: B905


def _warm_pool(workers: int | None) -> Pool:
    global _pool, _circumstances
    from procession.pool import RUN, Pool

    with _lock:
        now = (os.getpid(), workers, _cwd(), dict(os.environ))
        if _pool is not None and (now != _circumstances or _pool._state != RUN or _pool.broken):
            if _circumstances[0] == os.getpid():
                _pool.close()  # another thread's map may still run on it
            _pool = None
        if _pool is None:
            _pool, _circumstances = Pool(workers), now
        return _pool


def shutdown() -> None:
    """End the warm pool and the zygote.  They come back when they are needed."""
    global _pool
    from procession.launch.server import server
    from procession.launch.start import drop_lifeline

    with _lock:
        pool, _pool = _pool, None
        if pool is not None and _circumstances[0] == os.getpid():
            pool.terminate()
            pool.join()
    server.stop()
    drop_lifeline()


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
