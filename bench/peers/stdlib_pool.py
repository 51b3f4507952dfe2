"""`multiprocessing.Pool`, under one start method."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool

from bench.peers.base import Function


@dataclass
class PoolSession:
    """An open `multiprocessing.Pool`."""

    pool: Pool

    def call(self, function: Function, argument: object) -> object:
        """`apply_async(...).get()`."""
        return self.pool.apply_async(function, (argument,)).get()

    def submit_many(self, function: Function, arguments: Sequence[object]) -> list[object]:
        """`apply_async` for each, then `get` of each."""
        pending = [self.pool.apply_async(function, (argument,)) for argument in arguments]
        return [result.get() for result in pending]

    def map(self, function: Function, items: Sequence[object], chunksize: int | None = None) -> list[object]:
        """`map`; by default a quarter of each worker's share makes a chunk."""
        return self.pool.map(function, items, chunksize)

    def imap(self, function: Function, items: Iterable[object]) -> Iterator[object]:
        """`imap`, which takes items as fast as its pipe does, and keeps results that nobody has taken yet."""
        return self.pool.imap(function, items)

    def close(self) -> None:
        """`close` and `join`."""
        self.pool.close()
        self.pool.join()


@dataclass(frozen=True)
class StdlibPool:
    """`multiprocessing.Pool` of a context."""

    name: str
    method: str
    distribution: str = ""
    batches: bool = True

    def missing(self) -> str:
        """The standard library is there, but not every platform has every start method."""
        methods = multiprocessing.get_all_start_methods()
        return "" if self.method in methods else f"this platform has no start method {self.method}"

    def open(self, workers: int) -> PoolSession:
        """`get_context(method).Pool(workers)`."""
        return PoolSession(multiprocessing.get_context(self.method).Pool(workers))
