"""`joblib.Parallel` on its default backend."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
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

    def close(self) -> None:
        """Leave the context; joblib itself keeps the workers for the next call."""
        self.stack.close()

    def _run(self, function: Function, items: Iterable[object], batch_size: int | str) -> list[object]:
        joblib = importlib.import_module("joblib")
        if batch_size not in self.opened:
            parallel = joblib.Parallel(n_jobs=self.workers, batch_size=batch_size)
            self.opened[batch_size] = self.stack.enter_context(parallel)
        delayed = joblib.delayed(function)
        return list(self.opened[batch_size](delayed(item) for item in items))


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
