"""The settings of a pool: what is decided when it is made, and holds for all its workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from procession.checks import check_bytes, check_seconds
from procession.engine.limits import LIMIT_SECONDS
from procession.options import ALL_OPTIONS


class WorkerOptions(TypedDict, total=False):
    """The options of all that starts workers; see ``Pool``."""

    block_memory: int | str | None
    memory_limit: int | str | None
    max_memory: int | str | None
    idle_timeout: float | None
    stall_warning: float | None


def check_known(options: Iterable[str], what: str) -> None:
    """Check that each is an option of ``what`` or its calls.  On failure: ``TypeError``, with those that there are."""
    known = (*ALL_OPTIONS, *WorkerOptions.__annotations__, "backend", "max_pending")
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"{', '.join(unknown)} is no option of {what}; there are {', '.join(known)}")


@dataclass
class WorkerSettings:
    """What all workers of a pool have in common."""

    method: str
    initializer: Callable[..., Any] | None = None
    initargs: tuple[Any, ...] = ()
    chunks_per_worker: int | None = None
    workers: int = 1
    block_memory: int | None = None  #: bytes of shared memory for what is sent
    memory_limit: int | None = None  #: bytes at which a worker is killed
    max_memory: int | None = None  #: bytes at which it is replaced between two chunks
    idle_timeout: float | None = None  #: seconds after which idle workers end
    stall_warning: float | None = None  #: seconds after which to warn of an item that runs

    def set_options(self, options: WorkerOptions) -> None:
        """Take over the options.  On failure: ``ValueError``, ``TypeError``."""
        self.block_memory = check_bytes(options.get("block_memory"), "block_memory")
        self.memory_limit = check_bytes(options.get("memory_limit"), "memory_limit")
        self.max_memory = check_bytes(options.get("max_memory"), "max_memory")
        self.idle_timeout = check_seconds(options.get("idle_timeout"), "idle_timeout")
        self.stall_warning = check_seconds(options.get("stall_warning"), "stall_warning")

    @property
    def watch_seconds(self) -> float | None:
        """After how many seconds a busy worker is to be looked at for the first time, None for never."""
        if self.memory_limit is not None:
            return LIMIT_SECONDS
        return self.stall_warning
