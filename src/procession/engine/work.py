"""What the engine is given to run: sources of chunks of items.

A source belongs to a mapping.  The engine cuts chunks from it, and gives back an outcome for every
item of every chunk exactly once.  ``cut``, ``give_back`` and ``left`` are called with the engine's
lock held and must not run user code; ``encode`` and the two ``deliver`` are called without it, by the
thread that drives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from procession.wire.messages import Encoding, Part, Style

if TYPE_CHECKING:
    from procession.engine.interning import Function
    from procession.engine.store import Store
    from procession.errors import TaskTimeout, WorkerDied
    from procession.wire.channel import Buffer
    from procession.wire.mainmodule import Definition
    from procession.wire.outcomes import Outcomes
    from procession.wire.parcel import Parcel


#: In a chunk's doom: whatever has no error of its own.
ALL = -1


@dataclass(slots=True, eq=False)
class Chunk:
    """Consecutive items of one source, on their way to an outcome each."""

    source: Source
    start: int  #: position of the first item in the source
    count: int
    frames: list[Any] | None = None  #: the items' pickles, where they are made beforehand
    apart: bool = False  #: pickle the items one by one, since together they cannot be read
    definitions: tuple[Definition, ...] = ()  #: what of __main__ the items need
    seq: int = 0
    worker: int = 0  #: the number of the slot that it was given to last
    doom: dict[int, BaseException] | None = None  #: the errors of items that must not go on, by index; see ``ALL``
    forfeit: BaseException | None = None  #: what those of its items get that are given back
    received: int = 0  #: outcomes that have arrived, from the first on
    pid: int = 0  #: of the worker that has reported last
    memory: int = 0  #: the most that this worker has had, in bytes, when it finished a chunk

    def doom_of(self, index: int) -> BaseException | None:
        """The error that an item is to end with, if it must not go on."""
        doom = self.doom
        return None if doom is None else doom.get(index) or doom.get(ALL)


@dataclass(slots=True)
class Encoded:
    """A chunk's items as they are sent: bytes, and parcels for some of them."""

    encoding: Encoding
    parts: list[Buffer | Parcel]
    definitions: tuple[Definition, ...] = ()
    count: int | None = None  #: how many items these are, if not all: the others must be cut anew


class Unencodable(Exception):
    """An item of a chunk cannot be pickled: its place in the chunk, and the error for it."""

    def __init__(self, index: int, error: BaseException) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error


class Source(Protocol):
    """A supply of items for one function, and the receiver of their outcomes."""

    function: Function
    style: Style
    timed: bool  #: measure every item
    stoppable: bool  #: have workers note when items begin, and let them be stopped politely
    eager: bool  #: somebody waits for single outcomes, not only for all
    dropped: bool  #: nothing more of it is to be begun
    queued: bool  #: it stands in the scheduler's queue, which is the only one to change this
    gives_way: bool  #: others get their turn after each of its chunks: it may never come to an end
    chunksize: int | None  #: items a chunk; None leaves it to the clock

    @property
    def timeout(self) -> float | None:
        """Seconds that an item may run."""

    @property
    def watched(self) -> bool:
        """Whether somebody is shown how it goes on, item by item."""

    @property
    def shunned(self) -> int:
        """The number of the slot in which the next item has failed before, 0 if it has not."""

    def left(self) -> int:
        """Items that could be cut now."""

    def cut(self, count: int, worker: int = 0) -> Chunk:
        """Take the next items, at most ``count``, for the slot of the number ``worker``."""

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None, *, failed: bool = False) -> None:
        """Take items ``first`` to ``stop`` of ``chunk`` back: they have not been started, or have ``failed``."""

    def encode(self, chunk: Chunk, store: Store) -> Encoded:
        """Pickle a chunk.  On failure: ``Unencodable``; ``NoRoom`` when the store is full."""

    def item(self, chunk: Chunk, index: int) -> Any:
        """An item as it was given, for a backend that does not pickle."""

    def settle(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """Take the outcomes of the items of ``chunk`` from ``first`` on, but for those that are tried again."""

    def deliver(self, chunk: Chunk, skip: int, part: Part, *, last: bool) -> None:
        """Take the outcomes of ``part`` but for the first ``skip``, which are known already.

        After the ``last`` ones the chunk's items are not needed any more.
        """

    def deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        """Take ``error`` as the outcome of ``count`` items of ``chunk``."""

    def on_task(self, chunk: Chunk, index: int, n: float, total: float | None, message: str) -> None:
        """An item that runs tells that ``n`` of its ``total`` units are done.  An errand."""

    def find(self, chunk: Chunk, task: Any) -> int | None:
        """The index of a task's call in ``chunk``, if it is there."""

    def remove(self, task: Any) -> bool:
        """Take the call of a task out of the queue; return whether it was there."""

    def suspect(self, chunk: Chunk) -> bool:
        """A worker died before it had read the items; return whether that may be by chance."""

    def name_item(self, error: WorkerDied | TaskTimeout, chunk: Chunk, index: int) -> None:
        """Write into an error which item it is about."""

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """The position and a short text of an item, for an error."""
