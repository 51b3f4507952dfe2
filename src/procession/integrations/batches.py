"""The worker's side of the joblib backend: what is called in a worker, and what it is told when it starts.

Runs in workers, and imports no more than joblib itself needs there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

#: The name of our backend, for joblib.
NAME = "procession"

#: What libraries with threads of their own are told how many to use, and each with the others' help.
_THREADS = "OPENBLAS_NUM_THREADS"

_limiter: Any = None  #: dropped, it would take its limits back


def run_batch(batch: Callable[[], list[Any]]) -> list[Any]:
    """Run a batch of joblib's calls."""
    return batch()


def prepare_worker(
    threads: Mapping[str, str], initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    """Make a process a worker of joblib: few threads in native libraries, and our backend known by its name."""
    os.environ.update(threads)
    if "numpy" in sys.modules or "torch" in sys.modules:  # read the environment when the zygote imported them
        _limit_threads(int(threads[_THREADS]))
    register_lazily()
    if initializer is not None:
        initializer(*initargs)


def _limit_threads(count: int) -> None:
    global _limiter
    from threadpoolctl import threadpool_limits

    _limiter = threadpool_limits(count)


def register_lazily() -> None:
    """Have joblib know our backend by its name; it is imported when it is asked for."""
    from joblib import register_parallel_backend

    register_parallel_backend(NAME, _make)


def _make(**settings: Any) -> Any:
    from procession.integrations.joblib import ProcessionBackend

    return ProcessionBackend(**settings)
