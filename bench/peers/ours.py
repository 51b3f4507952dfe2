"""Procession itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.model import OURS
from bench.peers.base import Function, missing_module


@dataclass
class ProcessionSession:
    """An open `procession.Pool`."""

    pool: Any

    def call(self, function: Function, argument: object) -> object:
        """`submit(...).result()`."""
        result: object = self.pool.submit(function, argument).result()
        return result

    def submit_many(self, function: Function, arguments: Sequence[object]) -> list[object]:
        """`submit` for each, then `result` of each."""
        pending = [self.pool.submit(function, argument) for argument in arguments]
        return [task.result() for task in pending]

    def map(self, function: Function, items: Sequence[object], chunksize: int | None = None) -> list[object]:
        """`map`; by default the chunks follow the clock."""
        return list(self.pool.map(function, items, chunksize=chunksize))

    def imap(self, function: Function, items: Iterable[object]) -> Iterator[object]:
        """`imap`, which takes items as slots free up."""
        results: Iterator[object] = self.pool.imap(function, items)
        return results

    def close(self) -> None:
        """`close` and `join`."""
        self.pool.close()
        self.pool.join()


@dataclass(frozen=True)
class Procession:
    """`procession.Pool(workers)`."""

    name: str = OURS
    distribution: str = "procession"
    batches: bool = True

    def missing(self) -> str:
        """Whether it is installed, and is more than an empty folder."""
        if reason := missing_module("procession"):
            return reason
        return "" if hasattr(importlib.import_module("procession"), "Pool") else "procession has no Pool yet"

    def open(self, workers: int) -> ProcessionSession:
        """A new pool on the default start method and backend."""
        return ProcessionSession(importlib.import_module("procession").Pool(workers))
