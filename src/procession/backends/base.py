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
    from procession.engine.work import Source
    from procession.wire.mainmodule import Definition
    from procession.wire.parcel import Known


class Capability(Enum):
    """What a backend may be able to do."""

    SURVIVES_CRASHES = "the death of a worker costs one item"
    PARALLEL = "items run at the same time"
    INITIALIZER = "an initializer runs in every worker"
    RECYCLING = "workers are replaced after a number of chunks"


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
    ) -> tuple[Any, tuple[Definition, ...]]:
        """Make an item fit to be kept until it is run; waits when there is no memory for it.

        ``known`` arrays are not stored again; ``before_wait`` is called before waiting.  On failure:
        ``NotPicklable``, ``MemoryError``.
        """

    def submit(self, source: Source) -> None:
        """Run the items of a source; called again when a source has got new items."""

    def append(self, make: Callable[[Function], Any], function: Function, item: Any) -> None:
        """Run a single call, together with others of its kind that wait."""

    def withdraw(self, source: Source) -> None:
        """Begin nothing more of a source."""

    def interrupt(self, source: Source, error: BaseException) -> None:
        """Begin nothing more of a source, and stop what runs of it: that gets ``error``."""

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

    def close(self) -> None:
        """Take no more work; end when what there is has been done."""

    def terminate(self, error: BaseException) -> None:
        """End now; what has no outcome gets ``error``.  Returns when all is over."""

    def wait_ended(self) -> None:
        """Block until everything has ended, after ``close`` or ``terminate``."""
