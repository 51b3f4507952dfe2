"""What every peer's adapter offers, so that a scenario is written once.

An adapter says what its library would have its users write, not the fastest trick that could be played with it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

Function = Callable[[Any], object]


class Session(Protocol):
    """An open pool of workers."""

    def call(self, function: Function, argument: object) -> object:
        """Hand over one task and wait for its result."""

    def submit_many(self, function: Function, arguments: Sequence[object]) -> list[object]:
        """Hand over one task an argument, each on its own, then wait for all results, in order."""

    def map(self, function: Function, items: Sequence[object], chunksize: int | None = None) -> list[object]:
        """The results in order; without a chunksize, whatever the library does by default."""

    def imap(self, function: Function, items: Iterable[object]) -> Iterator[object]:
        """The results in order, one at a time as they come; each item is a message of its own."""

    def close(self) -> None:
        """End the workers, and wait for that."""


class Peer(Protocol):
    """A library that can open a pool."""

    @property
    def name(self) -> str:
        """The subject's name in scenarios and tables."""

    @property
    def distribution(self) -> str:
        """What the package index calls it, to report its version; empty for the standard library."""

    @property
    def batches(self) -> bool:
        """Whether its `map` sends many tiny items in a message by default, at a few microseconds an item or less."""

    def missing(self) -> str:
        """Why it cannot be measured here; empty when it can."""

    def open(self, workers: int) -> Session:
        """A new pool of so many workers."""


def missing_module(name: str) -> str:
    """Why module `name` cannot be used, for `Peer.missing`; empty when it can."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        return f"{name} cannot be imported: {error}"
    return ""
