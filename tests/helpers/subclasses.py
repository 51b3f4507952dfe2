"""Subclasses of Process, one for each library and start method, importable by the name by which they are asked for.

`named("procession", "spawn")` is also the attribute `Recorder__procession__spawn` of this module: a child that
unpickles it by reference finds it there, made on demand.
"""

from __future__ import annotations

import importlib
from typing import Any


def named(library: str, method: str) -> Any:
    """Return the subclass of that library's process class."""
    return __getattr__(f"Recorder__{library}__{method}")


def __getattr__(name: str) -> Any:
    kind, _, rest = name.partition("__")
    if kind != "Recorder" or not rest or rest.endswith("__"):
        raise AttributeError(name)
    library, _, method = rest.partition("__")
    base = importlib.import_module(library).get_context(method).Process
    if name not in globals():
        globals()[name] = _subclass(name, base)
    return globals()[name]


def _subclass(name: str, base: Any) -> Any:
    def __init__(self: Any, queue: Any, value: object) -> None:  # noqa: N807
        base.__init__(self)
        self.queue = queue
        self.value = value

    def run(self: Any) -> None:
        self.queue.put((type(self).__name__, self.value, self.name))

    body = {"__init__": __init__, "run": run, "__module__": __name__, "__qualname__": name}
    return type(name, (base,), body)
