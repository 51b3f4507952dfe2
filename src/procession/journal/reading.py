"""Reading a journal, also while a process writes it: its runs, and its rows one by one.

Opens the file for itself, read-only.  Nothing is unpickled before it is known whose file it is.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from procession.errors import JournalFailed
from procession.journal.file import check_beside, check_header, check_kind, check_safe, explained
from procession.journal.journal import is_open_here
from procession.journal.packing import unpack_value

_ROWS = (
    "SELECT run, runs.function, runs.label, arguments, position, key, item, outcome, value, packed, error, traceback,"
    " tries, seconds, finished, items.pid, memory FROM items JOIN runs ON runs.id = items.run"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One item in a journal."""

    run: int  #: the number of its run
    function: str
    label: str
    arguments: str  #: that are bound to the function, in words, as in "alpha=0.1"
    position: int
    key: str  #: hexadecimal
    item: str  #: in a few words
    outcome: str
    value: Any  #: what cannot be unpickled here is an error of its own, as text
    error: str | None  #: "Type: message"
    traceback: str | None
    tries: int
    seconds: float
    finished: datetime
    pid: int
    memory: int | None  #: the most that its worker had, in bytes


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run in a journal, as far as it is."""

    number: int
    function: str
    label: str
    arguments: str  #: that are bound to the function, in words, as in "alpha=0.1"
    state: str  #: "running", "done" or "interrupted"; of a process that was killed, still "running"
    alive: bool  #: whether its process runs
    total: int | None  #: items of the last call
    counts: dict[str, int]  #: items by their outcome
    started: datetime
    updated: datetime
    options: dict[str, str]  #: of the last call, as they were given
    rate: float  #: items a second, over the last minute of its work


def read_journal(path: str | os.PathLike[str], function: str | None = None) -> Any:
    """The rows of a journal, of one function if it is named: a DataFrame where pandas is installed, else a list.

    On failure: ``NoJournal``, ``JournalUnsafe``, ``JournalFailed``.
    """
    rows = list(iterate_journal(path, function))
    try:
        import pandas as pd  # type: ignore[import-untyped]
    except ImportError:
        return rows
    columns = {name: [getattr(row, name) for row in rows] for name in Row.__dataclass_fields__}
    return pd.DataFrame({**columns, "value": pd.Series(columns["value"], dtype=object)})


def iterate_journal(
    path: str | os.PathLike[str], function: str | None = None, *, run: int | None = None, values: bool = True
) -> Iterator[Row]:
    """The rows of a journal one by one, run by run and in order, of all runs or of one function's or of one alone.

    Without their ``values`` nothing is unpickled.

    On failure: as ``read_journal``.
    """
    name = os.fsdecode(path)
    with _open_to_read(name) as connection:
        where = "coalesce(runs.function = ?, TRUE) AND coalesce(runs.id = ?, TRUE)"
        for row in connection.execute(f"{_ROWS} WHERE {where} ORDER BY items.run, position", (function, run)):
            number, found, label, bound, position, key, item, outcome, data, packed, error, trace, *facts = row
            tries, seconds, finished, pid, memory = facts
            value = _value(data, packed) if values and outcome == "ok" and data is not None else None
            moment = datetime.fromtimestamp(finished)  # noqa: DTZ006 (the reader's own time)
            yield Row(
                number,
                found,
                label,
                bound,
                position,
                key.hex(),
                item,
                outcome,
                value,
                error,
                trace,
                tries,
                seconds,
                moment,
                pid,
                memory,
            )


def read_runs(path: str | os.PathLike[str]) -> list[RunFacts]:
    """The runs of a journal.  On failure: as ``read_journal``."""
    with _open_to_read(os.fsdecode(path)) as connection:
        return [_facts(connection, row) for row in connection.execute("SELECT * FROM runs ORDER BY id").fetchall()]


def _facts(connection: sqlite3.Connection, row: tuple[Any, ...]) -> RunFacts:
    number, function, label, _bound, arguments, _print, _python, options, total, state, pid, started, updated = row
    counted = connection.execute("SELECT outcome, count(*) FROM items WHERE run = ? GROUP BY outcome", (number,))
    count, first = connection.execute(
        "SELECT count(*), min(finished) FROM items WHERE run = ? AND finished > ?", (number, updated - 60)
    ).fetchone()
    span = updated - max(first or updated, started)
    return RunFacts(
        number,
        function,
        label,
        arguments,
        state,
        state == "running" and _is_alive(pid),
        total,
        dict(counted.fetchall()),
        _moment(started),
        _moment(updated),
        json.loads(options),
        count / span if span > 0 else 0.0,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds)  # noqa: DTZ006 (the reader's own time)


@contextmanager
def _open_to_read(path: str) -> Iterator[sqlite3.Connection]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise JournalFailed(f"the journal {path} cannot be read: {error.strerror}", error.errno) from error
    check_safe(path, found)
    check_beside(path)
    if is_open_here(path) is None:  # else the file must not be opened and closed beside SQLite, see `file`
        _check_file(path)
    with explained(path):
        connection = _connect(path)
        try:
            check_kind(connection, path)
            yield connection
        finally:
            connection.close()


def _check_file(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise JournalFailed(f"the journal {path} cannot be read: {error.strerror}", error.errno) from error
    try:
        check_header(path, fd)
    finally:
        os.close(fd)


def _connect(path: str) -> sqlite3.Connection:
    """Open a file for reading; what stands in a folder where nothing can be written is not being written either."""
    address = f"file:{quote(os.path.abspath(path))}"
    connection = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=5.0)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):  # then it is being written, and what is not in the file itself yet counts, too
            raise
        connection = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)
    return connection


def _value(data: bytes, packed: int) -> Any:
    try:
        return unpack_value(data, compressed=bool(packed))
    except Exception as error:  # of a class that is not there, say
        return f"<a value that cannot be read here: {type(error).__name__}: {error}>"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
