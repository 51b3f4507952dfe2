"""Outputs: where the outcomes of a command go: lines of JSON, rows of CSV, or a file for each item.

Invariants: what is in the output is the whole outcome of an item that is done; memory does not grow with their number.
"""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Protocol, TextIO

import click

from procession.cli.failures import describe
from procession.cli.shell import Result, captured

if TYPE_CHECKING:
    from procession import Outcome

FORMATS = ("jsonl", "csv")

_FIELDS = ("item", "outcome", "value", "error", "seconds")

#: Characters of an item that its file is named by, and how many of them.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LIMIT = 80


class OutputFailed(click.UsageError):
    """The output cannot be opened or written."""


class OutputClosed(OutputFailed):
    """The reader of the output went away, as `head` does."""

    exit_code = 128 + 13  # what a shell shows for a death by SIGPIPE


class Output(Protocol):
    """Something that outcomes are written to, in the items' order."""

    def write(self, item: Any, outcome: Outcome) -> None:
        """Write one outcome.  On failure: OutputFailed."""

    def close(self) -> None:
        """Let go of it."""


def open_output(path: str, kind: str | None) -> Output:
    """Open a file, or take standard output, if `path` is `-`, for the outcomes alone; the name tells the format.

    On failure: OutputFailed.
    """
    kind = kind or ("csv" if path.lower().endswith(".csv") else "jsonl")
    try:
        if path == "-":
            file, name = os.fdopen(_take_stdout(), "w", encoding="utf-8", errors="surrogateescape"), "standard output"
        else:
            newline = "" if kind == "csv" else None
            file = open(path, "w", encoding="utf-8", errors="surrogateescape", newline=newline)  # noqa: SIM115
            name = path
    except OSError as error:
        raise OutputFailed(f"cannot write {path}: {error.strerror}") from error
    return Table(file, name) if kind == "csv" else Lines(file, name)


class _File:
    """A file that is written piece by piece."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._above: Callable[[], AbstractContextManager[object]] = nullcontext
        if file.isatty():  # a bar may be there
            from procession.engine.screen import screen

            self._above = screen.above

    def _put(self, text: str) -> None:
        try:
            with self._above():
                self._file.write(text)
                self._file.flush()
        except BrokenPipeError as error:
            raise OutputClosed(f"the reader of {self._name} has gone") from error
        except OSError as error:
            raise OutputFailed(f"cannot write {self._name}: {error.strerror}") from error

    def close(self) -> None:
        """Let go of it; what could not be written has been said by `write`, and the buffer would only fail again."""
        with suppress(OSError):
            self._file.close()


class Lines(_File):
    """A line of JSON for each item."""

    def write(self, item: Any, outcome: Outcome) -> None:
        """See `Output`."""
        self._put(as_json(_fields(item, outcome)) + "\n")


class Table(_File):
    """A row of CSV for each item, under a head."""

    def __init__(self, file: TextIO, name: str) -> None:
        super().__init__(file, name)
        self._rows = csv.writer(self)
        self._rows.writerow(_FIELDS)

    def write(self, item: Any, outcome: Any = None) -> Any:  # also what the csv writer calls, with a text
        """See `Output`."""
        if outcome is None:
            self._put(item)
            return
        fields = {**_fields(item, outcome), "item": str(item)}
        self._rows.writerow([as_cell(fields[name]) for name in _FIELDS])


class Folder:
    """A file for each item that succeeded, named by its number and the item; written whole or not at all."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mode = 0o666 & ~_umask()
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise OutputFailed(f"cannot make the folder {path}: {error.strerror}") from error

    def write(self, item: Any, outcome: Outcome) -> None:
        """See `Output`."""
        if outcome.kind.value != "ok":
            return
        data, suffix = _content(outcome.value)
        name = f"{outcome.index:06}-{_UNSAFE.sub('_', os.path.basename(str(item)))[:_NAME_LIMIT]}{suffix}"
        target = os.path.join(self._path, name)
        try:
            with whole_file(target, self._mode) as file:
                file.write(data)
        except OSError as error:
            raise OutputFailed(f"cannot write {target}: {error.strerror}") from error

    def close(self) -> None:
        """See `Output`."""


@contextmanager
def whole_file(path: str, mode: int | None = None) -> Iterator[IO[bytes]]:
    """A file that has its name when all of it is written; what was there before stays until then.

    On failure: ``OSError``.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a device, a pipe
        with open(path, "wb") as file:
            yield file
        return
    target = os.path.realpath(path)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o666 & ~_umask() if mode is None else mode)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def reader_gone(stream: TextIO, name: str) -> OutputClosed:
    """The error to raise when a standard stream has no reader any more; nothing is written to it from now on."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())  # what is in its buffer would fail again at the exit
    os.close(null)
    return OutputClosed(f"the reader of {name} has gone")


def _fields(item: Any, outcome: Outcome) -> dict[str, Any]:
    ok = outcome.kind.value == "ok"
    return {
        "item": item_field(item),
        "outcome": outcome.kind.value,
        "value": plain(captured(outcome) or (outcome.value if ok else None)),
        "error": None if ok else describe(outcome),
        "seconds": round(outcome.seconds, 6),
    }


def plain(value: Any) -> Any:
    """A value as it is; of a shell command its exit code, and what it has written by the names of the streams."""
    if isinstance(value, Result):
        stdout, stderr = (each.decode("utf-8", "replace") for each in (value.stdout, value.stderr))
        return {"exitcode": value.exitcode, "stdout": stdout, "stderr": stderr}
    return value


def item_field(item: Any) -> Any:
    """An item as it was given: a text, or the arguments of the call."""
    if isinstance(item, str):
        return item
    args, kwargs = item
    return kwargs if kwargs and not args else list(args) if not kwargs else {"args": args, **kwargs}


def _content(value: Any) -> tuple[bytes, str]:
    """What a value is in a file of its own, and how the name of that ends."""
    if isinstance(value, bytes):
        return value, ""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape"), ".txt"
    if isinstance(value, Result):
        return value.stdout, ".txt"
    return as_json(value).encode() + b"\n", ".json"


def as_cell(value: Any) -> Any:
    """A value as it stands in a table."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    return os.fspath(value) if isinstance(value, PurePath) else as_json(value)


def as_json(fields: Any) -> str:
    """Any value as JSON, in one line: arrays as lists, paths as texts, and what JSON cannot hold, as its repr."""
    # ASCII escapes carry every str, lone surrogates of odd file names included. NaN and infinity are no JSON.
    try:
        return json.dumps(fields, default=_in_json, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # a key that is no str, a NaN or a cycle, too deep
        with suppress(TypeError, ValueError, RecursionError):
            return json.dumps(_finite(fields), default=_in_json, allow_nan=False)
        if isinstance(fields, dict) and "value" in fields:
            return json.dumps({**fields, "value": _as_repr(fields["value"])}, default=_as_repr)
        return json.dumps(_as_repr(fields))


def _in_json(value: Any) -> Any:
    """What stands for a value that is none of JSON's own kinds."""
    if _is_array(value):
        return _as_list(value)
    with suppress(Exception):  # __fspath__ may be the user's
        return os.fspath(value)
    return _as_repr(value)


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and hasattr(value, "dtype")


def _as_list(value: Any) -> Any:
    """A numpy array as lists, a scalar as a number; what Python has no number for, as texts."""
    if value.dtype.kind in "mM":  # dates and times: as numbers they would have lost their unit
        return value.astype(str).tolist()
    found = value.tolist()
    return _as_repr(value) if type(found) is type(value) else found


def _finite(value: Any) -> Any:
    """The same with a text for each float that is no number of JSON's: the texts that protobuf's JSON has for them."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return _finite(_as_list(value)) if _is_array(value) else value


def _as_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: its repr failed with {type(error).__name__}>"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
