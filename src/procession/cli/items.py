"""The items of a command: its arguments, lines or rows of a file, files of a pattern, or lists that are combined.

Invariants: what is read from files is read when the pool asks for it, never all at once; an item is remembered from
when it is handed to the pool until its outcome is written, and no longer.
"""

from __future__ import annotations

import csv
import glob
import itertools
import json
import os
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TextIO

import click

from procession.cli.calling import Arguments

#: What separates lists that are combined, as of GNU parallel.
SEPARATOR = ":::"


@dataclass(frozen=True)
class Wanted:
    """Where the items are to come from: at most one of these."""

    arguments: tuple[str, ...] = ()
    lines: str | None = None  #: a file
    pattern: str | None = None
    csv: str | None = None
    delimiter: str | None = None  #: of its columns; a tab, if its name ends with .tsv, else a comma
    json_lines: str | None = None
    combine: str | None = None  #: "zip" or "product": lists within the arguments
    split: bool = False  #: each line or argument is several arguments

    @property
    def has_arguments(self) -> bool:
        """Whether an item is something else than a text."""
        return bool(self.csv or self.json_lines or self.combine or self.split)


class Items:
    """The items in their order, to be iterated once; `total` is their number where it is known beforehand."""

    def __init__(self, items: Iterable[Any], total: int | None = None, file: TextIO | None = None) -> None:
        self.total = total
        self._items = items
        self._file = file
        self._waiting: dict[int, Any] = {}

    def __iter__(self) -> Iterator[Any]:
        for index, item in enumerate(self._items):
            self._waiting[index] = item
            yield item

    def take(self, index: int) -> Any:
        """Return the item at this place and forget it."""
        return self._waiting.pop(index)

    def come_from(self, path: str) -> bool:
        """Tell whether this file is the one that the items are read from: writing to it would destroy them."""
        if self._file is None or not os.path.isfile(path):
            return False
        return os.path.samestat(os.fstat(self._file.fileno()), os.stat(path))


def open_items(wanted: Wanted, stack: ExitStack) -> Items:
    """Return the items of the command line; a file that has to be opened is closed by `stack`.

    On failure: click.UsageError, also later, from the iteration, when reading fails.
    """
    sources = [
        ("as arguments", bool(wanted.arguments)),
        ("with --from", wanted.lines is not None),
        ("with --glob", wanted.pattern is not None),
        ("with --csv", wanted.csv is not None),
        ("with --json-lines", wanted.json_lines is not None),
    ]
    given = [name for name, is_given in sources if is_given]
    if len(given) > 1:
        raise click.UsageError(f"items come {given[0]} or {given[1]}, not both")
    if wanted.split and (wanted.combine or wanted.csv or wanted.json_lines):
        raise click.UsageError("--args splits lines, files and arguments; these items are several arguments already")
    if wanted.combine is None and SEPARATOR in wanted.arguments:
        raise click.UsageError(
            f"lists stand behind {SEPARATOR}, the first one too: {SEPARATOR} 1 2 3 {SEPARATOR} a b c"
        )
    if wanted.combine is not None:
        return _combined(wanted.arguments, wanted.combine)
    if wanted.arguments:
        return Items(_split(wanted.arguments) if wanted.split else wanted.arguments, len(wanted.arguments))
    if wanted.pattern is not None:
        return _globbed(wanted.pattern, split=wanted.split)
    return _read(wanted, stack)


def _combined(arguments: tuple[str, ...], how: str) -> Items:
    """Lists within the arguments, each behind a separator: side by side, or each with each."""
    if not arguments or arguments[0] != SEPARATOR:
        raise click.UsageError(f"--{how} wants lists, each behind {SEPARATOR}: {SEPARATOR} 1 2 3 {SEPARATOR} a b c")
    lists: list[list[str]] = []
    for word in arguments:
        if word == SEPARATOR:
            lists.append([])
        else:
            lists[-1].append(word)
    lengths = [len(each) for each in lists]
    if how == "zip" and len(set(lengths)) > 1:
        raise click.UsageError(f"--zip wants lists of the same length, not of {', '.join(map(str, lengths))}")
    rows = zip(*lists, strict=True) if how == "zip" else itertools.product(*lists)
    total = lengths[0]
    if how == "product":
        for length in lengths[1:]:
            total *= length
    return Items((Arguments(row) for row in rows), total)


def _globbed(pattern: str, *, split: bool) -> Items:
    found = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
    if not found:
        raise click.UsageError(f"no file matches {pattern}")
    return Items(_split(found) if split else found, len(found))


def _read(wanted: Wanted, stack: ExitStack) -> Items:
    source = wanted.csv or wanted.json_lines or wanted.lines
    if source is None:
        if _stdin_closed() or os.isatty(0):
            raise click.UsageError("no items: give them as arguments, with --from FILE or on standard input")
        source = "-"
    total = None
    if source == "-":
        if _stdin_closed():
            raise click.UsageError("cannot read standard input: it is closed")
        name, file = "standard input", _open(0)
    else:
        name = source
        try:
            file = stack.enter_context(_open(source, encoding="utf-8-sig" if wanted.csv else "utf-8"))
            total = _count_lines(source, file, blank=not wanted.json_lines)
        except OSError as error:
            raise click.UsageError(f"cannot read {source}: {error.strerror}") from error
    if wanted.csv:
        return Items(_csv_rows(file, name, _delimiter_of(wanted)), None, file)  # a row may have several lines
    lines = _lines(file, name)
    if wanted.json_lines:
        return Items(_json_rows(lines, name), total, file)
    return Items(_split(lines) if wanted.split else lines, total, file)


def _split(items: Iterable[str]) -> Iterator[Arguments]:
    for item in items:
        try:
            yield Arguments(tuple(shlex.split(item)))
        except ValueError as error:
            raise click.UsageError(f"{item!r} cannot be split into arguments: {error}") from error


def _delimiter_of(wanted: Wanted) -> str:
    if wanted.delimiter is None:
        return "\t" if (wanted.csv or "").lower().endswith(".tsv") else ","
    given = {"tab": "\t", "\\t": "\t"}.get(wanted.delimiter, wanted.delimiter)
    if len(given) != 1 or given in '"\r\n ':
        raise click.UsageError(f"--delimiter is one character that no column begins with, or tab, not {given!r}")
    return given


def _csv_rows(file: TextIO, name: str, delimiter: str) -> Iterator[Arguments]:
    try:
        for number, row in enumerate(csv.DictReader(file, delimiter=delimiter), 2):
            if None in row or None in row.values():
                raise click.UsageError(f"{name}: row {number} has another number of columns than the first row")
            yield Arguments(kwargs=dict(row))
    except (csv.Error, OSError) as error:
        raise click.UsageError(f"cannot read {name}: {error}") from error


def _json_rows(lines: Iterator[str], name: str) -> Iterator[Arguments]:
    """An object is keyword arguments, an array positional ones, anything else the only argument."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise click.UsageError(f"{name}: line {number} is no JSON: {error}") from error
        if isinstance(value, dict):
            yield Arguments(kwargs=value)
        else:
            yield Arguments(tuple(value) if isinstance(value, list) else (value,))


def _stdin_closed() -> bool:
    return sys.stdin is None  # how Python starts with `<&-`; descriptor 0 may be anything by now


def _open(file: str | int, encoding: str = "utf-8") -> TextIO:
    # surrogateescape: a file name may hold bytes that are no UTF-8, and comes out here as it does in an argument.
    # newline="\n": a lone carriage return is part of an item.
    return open(file, encoding=encoding, errors="surrogateescape", newline="\n", closefd=file != 0)


def _lines(file: TextIO, name: str) -> Iterator[str]:
    """Yield each line without its end; an empty line is an empty item, so that outcomes and lines stay side by side."""
    try:
        for line in file:
            yield line.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise click.UsageError(f"cannot read {name}: {error.strerror}") from error


def _count_lines(path: str, file: TextIO, *, blank: bool) -> int | None:
    """Count the lines of a regular file, ``blank`` ones too; None for a pipe, which can be read only once."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return None
    if not blank:
        with open(path, "rb") as raw:
            return sum(not line.isspace() for line in raw)
    count, last = 0, b"\n"
    with open(path, "rb") as raw:
        while block := raw.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")
