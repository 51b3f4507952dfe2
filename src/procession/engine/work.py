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
    from procession.wire.channel import Buffer
    from procession.wire.mainmodule import Definition
    from procession.wire.outcomes import Outcomes
    from procession.wire.parcel import Parcel


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
    received: int = 0  #: outcomes that have arrived, from the first on
    sent_at: float = 0.0


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
    eager: bool  #: somebody waits for single outcomes, not only for all
    chunksize: int | None  #: items a chunk; None leaves it to the clock

    def left(self) -> int:
        """Items that could be cut now."""

    def cut(self, count: int) -> Chunk:
        """Take the next items, at most ``count``."""

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None) -> None:
        """Take items ``first`` to ``stop`` of ``chunk`` back: they have not been started."""

    def encode(self, chunk: Chunk, store: Store) -> Encoded:
        """Pickle a chunk.  On failure: ``Unencodable``; ``NoRoom`` when the store is full."""

    def item(self, chunk: Chunk, index: int) -> Any:
        """An item as it was given, for a backend that does not pickle."""

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """Take the outcomes of the items of ``chunk`` from ``first`` on."""

    def deliver(self, chunk: Chunk, skip: int, part: Part) -> None:
        """Take the outcomes of ``part`` but for the first ``skip``, which are known already."""

    def deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        """Take ``error`` as the outcome of ``count`` items of ``chunk``."""

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """The position and a short text of an item, for an error."""
