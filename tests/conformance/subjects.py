"""What the battery is run on: a library, a start method, a backend."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

METHODS = ("forkserver", "spawn", "fork")


@dataclass(frozen=True)
class Subject:
    """One implementation of the same promises; imported only when used."""

    library: str
    method: str = "forkserver"
    backend: str = "processes"

    @property
    def name(self) -> str:
        """What the test ids show."""
        return f"{self.library}-{self.method if self.backend == 'processes' else self.backend}"

    @property
    def module(self) -> Any:
        """The library."""
        return importlib.import_module(self.library)

    @property
    def context(self) -> Any:
        """Its context for the start method."""
        return self.module.get_context(self.method)

    @property
    def is_stdlib(self) -> bool:
        """Whether it is the standard library itself."""
        return self.library == "multiprocessing"

    def pool(self, processes: int | None = 2, *args: Any, **options: Any) -> Any:
        """Make a pool."""
        if self.backend != "processes":
            return self.module.Pool(processes, *args, backend=self.backend, **options)
        return self.context.Pool(processes, *args, **options)


def subjects() -> list[Subject]:
    """Return the subjects of this run: all, or those of one start method, or the standard library's."""
    battery = os.environ.get("PROCESSION_BATTERY", "")
    if battery == "stdlib":
        return [Subject("multiprocessing", method) for method in METHODS]
    methods = [battery] if battery in METHODS else METHODS
    return [*(Subject("procession", method) for method in methods), Subject("procession", backend="inline")]
