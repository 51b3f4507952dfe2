"""The peers that are a `concurrent.futures.Executor`: the standard library's, under one start method, and loky's."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass

from bench.peers.base import Function, missing_module


@dataclass
class ExecutorSession:
    """An open executor."""

    executor: Executor

    def call(self, function: Function, argument: object) -> object:
        """`submit(...).result()`."""
        return self.executor.submit(function, argument).result()

    def submit_many(self, function: Function, arguments: Sequence[object]) -> list[object]:
        """`submit` for each, then `result` of each."""
        pending = [self.executor.submit(function, argument) for argument in arguments]
        return [future.result() for future in pending]

    def map(self, function: Function, items: Sequence[object], chunksize: int | None = None) -> list[object]:
        """`map`; by default each item is a message of its own."""
        if chunksize is None:
            return list(self.executor.map(function, items))
        return list(self.executor.map(function, items, chunksize=chunksize))

    def imap(self, function: Function, items: Iterable[object]) -> Iterator[object]:
        """`map`, which takes all items at once, and whose results are taken one at a time."""
        return self.executor.map(function, items, chunksize=1)

    def close(self) -> None:
        """`shutdown`, waiting."""
        self.executor.shutdown(wait=True)


@dataclass(frozen=True)
class StdlibExecutor:
    """`concurrent.futures.ProcessPoolExecutor` of a context."""

    name: str
    method: str
    distribution: str = ""
    batches: bool = False

    def missing(self) -> str:
        """The standard library is there, but not every platform has every start method."""
        methods = multiprocessing.get_all_start_methods()
        return "" if self.method in methods else f"this platform has no start method {self.method}"

    def open(self, workers: int) -> ExecutorSession:
        """`ProcessPoolExecutor(workers, mp_context=...)`."""
        return ExecutorSession(ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(self.method)))


@dataclass(frozen=True)
class Loky:
    """`loky.ProcessPoolExecutor`, with its own default start method."""

    name: str = "loky"
    distribution: str = "loky"
    batches: bool = False

    def missing(self) -> str:
        """Whether loky is installed."""
        return missing_module("loky")

    def open(self, workers: int) -> ExecutorSession:
        """`loky.ProcessPoolExecutor(workers)`: a new one, which `get_reusable_executor` need not give."""
        return ExecutorSession(importlib.import_module("loky").ProcessPoolExecutor(workers))
