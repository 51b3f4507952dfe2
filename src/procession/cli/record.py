"""What is kept of each outcome: its line in the output, and the list of failures that a person reads at the end.

Invariants: a line is written whole, as soon as its outcome is there, and flushed; memory does not grow with the number
of outcomes, failed or not.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from procession import Outcome

# Failures stay in memory up to this size, then go to an unnamed temporary file.
FAILURES_IN_MEMORY = 1 << 20


class OutputFailed(click.UsageError):
    """The output cannot be opened or written."""


class OutputClosed(OutputFailed):
    """The reader of the output went away, as `head` does."""

    exit_code = 128 + 13  # what a shell shows for a death by SIGPIPE


class Output:
    """The JSON lines of a run, in the items' order."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name

    @classmethod
    def open(cls, path: str) -> Output:
        """Open a file for writing, or take standard output, if `path` is `-`, for the lines alone.

        On failure: OutputFailed.
        """
        try:
            if path == "-":
                return cls(os.fdopen(_take_stdout(), "w", encoding="utf-8"), "standard output")
            return cls(open(path, "w", encoding="utf-8"), path)
        except OSError as error:
            raise OutputFailed(f"cannot write {path}: {error.strerror}") from error

    def write(self, item: str, outcome: Outcome) -> None:
        """Write the line of one outcome and flush it.

        On failure: OutputFailed.
        """
        ok = outcome.kind.value == "ok"
        fields = {
            "item": item,
            "outcome": outcome.kind.value,
            "value": outcome.value if ok else None,
            "error": None if ok else describe(outcome),
            "seconds": round(outcome.seconds, 6),
        }
        try:
            self._file.write(_as_json(fields) + "\n")
            self._file.flush()
        except BrokenPipeError as error:
            raise OutputClosed(f"the reader of {self._name} has gone") from error
        except OSError as error:
            raise OutputFailed(f"cannot write {self._name}: {error.strerror}") from error

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_exception: object) -> None:
        # What could not be written has been said by write(); the buffer would only fail again.
        with suppress(OSError):
            self._file.close()


class Failures:
    """The outcomes that were not ok, each with its item and its error, in the items' order."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115, closed by __exit__
            FAILURES_IN_MEMORY, mode="w+", encoding="utf-8", errors="surrogateescape", newline="\n"
        )

    def note(self, item: str, outcome: Outcome) -> None:
        """Keep what a person needs to know of this failure."""
        self.count += 1
        name = item if item and item.isprintable() else repr(item)
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
    return f"{name}: {message}" if message else name


def _as_json(fields: dict[str, Any]) -> str:
    # ASCII escapes carry every str, lone surrogates of odd file names included. NaN and infinity are no JSON.
    try:
        return json.dumps(fields, default=_as_repr, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # a key that is no str, a NaN or a cycle, too deep
        return json.dumps({**fields, "value": _as_repr(fields["value"])})


def _as_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: its repr failed with {type(error).__name__}>"


def _take_stdout() -> int:
    """Return a descriptor of standard output, and make what the function prints go to standard error instead."""
    own = os.dup(1)
    try:
        os.dup2(2, 1)
    except OSError as error:
        if error.errno != errno.EBADF:  # standard error is closed: then prints have nowhere else to go
            os.close(own)
            raise
    return own
