"""The items of a command: from its arguments, from the lines of a file or from standard input.

Invariants: lines are read when the pool asks for them, never all at once; an item is remembered from when it is handed
to the pool until its outcome is written, and no longer.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TextIO

import click


class Items:
    """The items in their order, to be iterated once; `total` is their number where it is known beforehand."""

    def __init__(self, items: Iterable[str], total: int | None = None, file: TextIO | None = None) -> None:
        self.total = total
        self._items = items
        self._file = file
        self._waiting: dict[int, str] = {}

    def __iter__(self) -> Iterator[str]:
        for index, item in enumerate(self._items):
            self._waiting[index] = item
            yield item

    def take(self, index: int) -> str:
        """Return the item at this place and forget it."""
        return self._waiting.pop(index)

    def come_from(self, path: str) -> bool:
        """Tell whether this file is the one that the items are read from: writing to it would destroy them."""
        if self._file is None or not os.path.isfile(path):
            return False
        return os.path.samestat(os.fstat(self._file.fileno()), os.stat(path))


def open_items(arguments: tuple[str, ...], source: str | None, stack: ExitStack) -> Items:
    """Return the items of the command line; a file that has to be opened is closed by `stack`.

    On failure: click.UsageError, also later, from the iteration, when reading fails.
    """
    if arguments and source is not None:
        raise click.UsageError("items come as arguments or with --from, not both")
    if arguments:
        return Items(arguments, len(arguments))
    if source is None:
        if _stdin_closed() or os.isatty(0):
            raise click.UsageError("no items: give them as arguments, with --from FILE or on standard input")
        source = "-"
    if source == "-":
        if _stdin_closed():
            raise click.UsageError("cannot read standard input: it is closed")
        file = _open(0)
        return Items(_lines(file, "standard input"), file=file)
    try:
        file = stack.enter_context(_open(source))
        total = _count_lines(source, file)
    except OSError as error:
        raise click.UsageError(f"cannot read {source}: {error.strerror}") from error
    return Items(_lines(file, source), total, file)


def _stdin_closed() -> bool:
    return sys.stdin is None  # how Python starts with `<&-`; descriptor 0 may be anything by now


def _open(file: str | int) -> TextIO:
    # surrogateescape: a file name may hold bytes that are no UTF-8, and comes out here as it does in an argument.
    # newline="\n": a lone carriage return is part of an item.
    return open(file, encoding="utf-8", errors="surrogateescape", newline="\n", closefd=file != 0)


def _lines(file: TextIO, name: str) -> Iterator[str]:
    """Yield each line without its end; an empty line is an empty item, so that outcomes and lines stay side by side."""
    try:
        for line in file:
            yield line.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise click.UsageError(f"cannot read {name}: {error.strerror}") from error


def _count_lines(path: str, file: TextIO) -> int | None:
    """Count the lines of a regular file, for the bar; None for a pipe, which can be read only once."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return None
    count, last = 0, b"\n"
    with open(path, "rb") as raw:
        while block := raw.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")
