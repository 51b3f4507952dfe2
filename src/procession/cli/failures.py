"""Failures: the list of what went wrong, which a person reads at the end.

Invariant: memory does not grow with the number of outcomes, failed or not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procession import Outcome

# Failures stay in memory up to this size, then go to an unnamed temporary file.
FAILURES_IN_MEMORY = 1 << 20


class Failures:
    """The outcomes that were not ok, each with its item and its error, in the items' order."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115, closed by __exit__
            FAILURES_IN_MEMORY, mode="w+", encoding="utf-8", errors="surrogateescape", newline="\n"
        )

    def note(self, item: Any, outcome: Outcome) -> None:
        """Keep what a person needs to know of this failure."""
        self.count += 1
        name = str(item)
        name = name if name and name.isprintable() else repr(name)
        text = describe(outcome).replace("\n", "\n    ")
        self._file.write(f"  {name}: {text}\n")

    def lines(self) -> Iterator[str]:
        """Yield the list, line by line, with line ends."""
        self._file.seek(0)
        yield from self._file

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()


def describe(outcome: Outcome) -> str:
    """Return the error as Python prints it at the foot of a traceback: `Type: message`."""
    error = outcome.error
    if error is None:
        return str(outcome.kind.value)
    kind = type(error)
    plain = kind.__module__ in {"builtins", "__main__"}
    name = kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as fault:
        message = f"<its text cannot be had: {type(fault).__name__}>"
    if kind.__name__ == "CommandFailed" and kind.__module__ == "procession.cli.shell":
        return message
    return f"{name}: {message}" if message else name
