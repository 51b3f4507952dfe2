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
    from typing_extensions import Unpack

    from procession.calls import MapOptions
    from procession.pool import Pool
    from procession.results import IMapIterator

_lock = threading.Lock()
_pool: Pool | None = None
_circumstances: Any = None


def imap(
    func: Callable[..., Any],
    *iterables: Iterable[Any],
    workers: int | None = None,
    chunksize: int | None = None,
    ordered: bool = True,
    **options: Unpack[MapOptions],
) -> IMapIterator:
    """Like ``map``, but return an iterator: of an input without an end, only as much is read as is needed.

    The values come in order, or with ``ordered=False`` as they come.
    """
    pool = _warm_pool(_check(workers, iterables))
    if len(iterables) == 1:
        return pool._imap(func, iterables[0], chunksize, options, ordered=ordered)
    from procession.mapping.batch import shortest
    from procession.wire.messages import Style

    items, total = zip(*iterables), shortest(iterables)  # noqa: B905
    return pool._imap(func, items, chunksize, options, ordered=ordered, style=Style.STAR, total=total)


def map(
    func: Callable[..., Any],
    *iterables: Iterable[Any],
    workers: int | None = None,
    chunksize: int | None = None,
    **options: Unpack[MapOptions],
) -> list[Any]:
    """Return ``list(map(func, *iterables))``, computed by worker processes, in order.

    The pool is made at the first call and kept warm for the next.  The options are those of ``Pool``: ``timeout``,
    ``retries``, ``retry_on``, ``backoff``, ``on_error``.
    On failure: the error of the first item that failed; the workers stay.
    """
    pool = _warm_pool(_check(workers, iterables))
    if len(iterables) == 1:
        return pool.map(func, iterables[0], chunksize, **options)
    return pool.starmap(func, zip(*iterables), chunksize, **options)  # noqa: B905


def _check(workers: int | None, iterables: tuple[Iterable[Any], ...]) -> int | None:
    if isinstance(workers, int) and workers < 1:
        raise ValueError(f"workers must be 1 or more, not {workers!r}")
    if not iterables:
        raise TypeError("at least one iterable is needed")
    return workers


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
