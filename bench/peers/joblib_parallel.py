"""`joblib.Parallel` on its default backend."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.peers.base import Function, missing_module


@dataclass
class ParallelSession:
    """A `Parallel` kept open as a context, as joblib's manual advises for many calls.

    joblib has no way to submit one task, so a "submitted" task is a dispatch of its own: batch_size=1.
    """

    workers: int
    stack: ExitStack = field(default_factory=ExitStack)
    opened: dict[object, Any] = field(default_factory=dict)

    def call(self, function: Function, argument: object) -> object:
        """A `Parallel` call of one task."""
        return self._run(function, [argument], batch_size=1)[0]

    def submit_many(self, function: Function, arguments: Sequence[object]) -> list[object]:
        """A `Parallel` call of all tasks, each dispatched by itself."""
        return self._run(function, arguments, batch_size=1)

    def map(self, function: Function, items: Sequence[object], chunksize: int | None = None) -> list[object]:
        """A `Parallel` call; by default the batches grow with the measured time per item."""
        return self._run(function, items, batch_size="auto" if chunksize is None else chunksize)

    def imap(self, function: Function, items: Iterable[object]) -> Iterator[object]:
        """A `Parallel` call that returns a generator, which takes a few items ahead."""
        return iter(self._parallel(batch_size=1, return_as="generator")(self._delayed(function, items)))

    def close(self) -> None:
        """Leave the context; joblib itself keeps the workers for the next call."""
        self.stack.close()

    def _run(self, function: Function, items: Iterable[object], batch_size: int | str) -> list[object]:
        return list(self._parallel(batch_size, return_as="list")(self._delayed(function, items)))

    def _delayed(self, function: Function, items: Iterable[object]) -> Iterator[Any]:
        delayed = importlib.import_module("joblib").delayed(function)
        return (delayed(item) for item in items)

    def _parallel(self, batch_size: int | str, return_as: str) -> Any:
        key = batch_size, return_as
        if key not in self.opened:
            joblib = importlib.import_module("joblib")
            parallel = joblib.Parallel(n_jobs=self.workers, batch_size=batch_size, return_as=return_as)
            self.opened[key] = self.stack.enter_context(parallel)
        return self.opened[key]


@dataclass(frozen=True)
class Joblib:
    """`joblib.Parallel(n_jobs=workers)`."""

    name: str = "joblib"
    distribution: str = "joblib"
    batches: bool = True

    def missing(self) -> str:
        """Whether joblib is installed."""
        return missing_module("joblib")

    def open(self, workers: int) -> ParallelSession:
        """A session; joblib starts its workers at the first call."""
        return ParallelSession(workers)
