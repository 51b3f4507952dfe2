"""The protocol between a mapping and whatever runs its chunks.

A backend runs the items that it cuts from a source, and gives every item exactly one outcome, through
the source.  Order, windows, callbacks and policies are the mapping's, written once for all backends.
What a backend cannot do it does not declare, and asking for it is an error when a pool is made.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from procession.engine.interning import Function
    from procession.engine.stacks import WorkerStack
    from procession.engine.work import Chunk, Source
    from procession.wire.mainmodule import Definition
    from procession.wire.parcel import Known


class Capability(Enum):
    """What a backend may be able to do."""

    SURVIVES_CRASHES = "the death of a worker costs one item"
    PARALLEL = "items run at the same time"
    INITIALIZER = "an initializer runs in every worker"
    RECYCLING = "workers are replaced after a number of chunks"
    STOPPING = "what runs can be stopped: by a timeout, or since it is cancelled"
    MEMORY = "the memory of a worker is limited"


class Backend(Protocol):
    """Something that runs chunks."""

    name: str
    capabilities: frozenset[Capability]
    workers: int

    @property
    def broken(self) -> BaseException | None:
        """Why nothing can be run any more, or None."""

    def intern(self, function: Callable[..., Any], *, thorough: bool) -> Function:
        """Make a function fit to be run, as it is now.  On failure: ``NotPicklable``."""

    def encode(
        self,
        item: Any,
        name: str,
        known: Known | None = None,
        before_wait: Callable[[], object] | None = None,
        *,
        exclusive: bool = True,
    ) -> tuple[Any, tuple[Definition, ...]]:
        """Make an item fit to be kept until it is run; waits when there is no memory for it.

        ``known`` arrays are not stored again; ``before_wait`` is called before waiting; what is ``exclusive``
        is run once.  On failure: ``NotPicklable``, ``MemoryError``.
        """

    def submit(self, source: Source, *, more: bool = False) -> None:
        """Run the items of a source; called again when a source has got new items.

        ``more``: others are about to follow, so that tiny ones may wait a moment for them.
        """

    def append(self, make: Callable[[Function, Any], Any], function: Function, options: Any, item: Any) -> None:
        """Run a single call, together with others of its kind that wait."""

    def retry(self, chunk: Chunk, index: int, delay: float) -> bool:
        """Run an item once more, in ``delay`` seconds; return whether that can be done.

        Called by a source while it takes the item's outcome.
        """

    def stop(self, task: Any) -> None:
        """Stop the call of a task, which gets ``TaskCancelled``; does not wait for that."""

    def dump_stacks(self) -> list[WorkerStack]:
        """What every worker is doing now, without its help."""

    def withdraw(self, source: Source) -> None:
        """Begin nothing more of a source."""

    def interrupt(self, source: Source, error: BaseException) -> None:
        """Begin nothing more of a source, and stop what runs of it: that gets ``error``."""

    def settle(self, source: Source, seconds: float) -> None:
        """Block until nothing of a source is under way, at most for so long; not within a transition of its own."""

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Block until ``ready()``, or for ``timeout`` seconds; return whether it is."""

    def attend(self) -> None:
        """Somebody waits without calling ``wait``: see to it that outcomes arrive."""

    def wake(self) -> None:
        """Let those that wait look again."""

    def start_workers(self) -> None:
        """Start all workers without waiting for work."""

    def worker_processes(self) -> list[Any]:
        """The live workers, as objects with ``pid``, ``is_alive()`` and the like."""

    def cancel_queued(self, error: BaseException, *, handed_out: bool = False) -> None:
        """Drop what is queued: it gets ``error``; with ``handed_out`` also what a worker holds and has not begun."""

    def close(self) -> None:
        """Take no more work; end when what there is has been done."""

    def terminate(self, error: BaseException) -> None:
        """End now; what has no outcome gets ``error``.  Returns when all is over."""

    def wait_ended(self) -> None:
        """Block until everything has ended, after ``close`` or ``terminate``."""
