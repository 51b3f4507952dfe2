"""The writer: the one thread that puts rows into a journal's file.

Whoever delivers outcomes hands rows over and goes on; they are written together, and are durable half a second later
at the latest.  A write that fails is told to all who hand over or wait from then on; what was durable before stays.

What is handed over is one queue, which needs no lock; when a slow disk lets too much of it pile up, who hands over
waits, so that memory does not grow.  A Ctrl-C may strike in any thread that hands over or waits, so
they wait by bells, which it cannot leave locked.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from procession.engine.bell import Bell
from procession.errors import JournalError, JournalFailed
from procession.journal.file import explained

#: The longest that an outcome waits to be written; a commit costs one to twenty milliseconds of the disk's.
COMMIT_SECONDS = 0.4

#: Bytes of values that may wait to be written.  Who hands over more waits; what is being written comes on top.
WAITING_BYTES = 256 << 20

#: Rows of one statement, of 14 values each; SQLite takes 999.  Python lets other threads run at every statement, and
#: waits for them: with one row in each, a row cost twice as much beside a busy thread.
_TOGETHER = 64
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

#: The places of the value in a row, and of the time when it came.
_VALUE, _FINISHED = 6, 11

_TOUCH = "UPDATE runs SET updated = max(updated, ?) WHERE id = ?"


@dataclass(slots=True)
class _Parcel:
    """What is handed over at once: rows, a statement, or only the wish to know when all before it is durable."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    statement: tuple[str, tuple[Any, ...]] | None = None
    done: Bell | None = None


class Writer:
    """Writes rows to one connection."""

    def __init__(self, path: str, connection: sqlite3.Connection, guard: threading.Lock) -> None:
        """``guard`` is held while the connection is used, which others do to read."""
        self._path = path
        self._connection = connection
        self._guard = guard
        self._queue: deque[_Parcel] = deque()
        self._work = Bell()
        self._waiting = 0  # bytes of values in the queue; about, since several threads may count at once
        self._hurry = False  # somebody waits, so nothing more is waited for
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="procession-journal", daemon=True)
        self._thread.start()

    def put(self, rows: list[tuple[Any, ...]]) -> None:
        """Hand rows over.  On failure: ``JournalError``, that of an earlier write."""
        self._hand_over(_Parcel(rows))
        self._waiting += sum(len(row[_VALUE]) for row in rows if row[_VALUE] is not None)
        if self._waiting > WAITING_BYTES:
            self.flush()

    def execute(self, statement: str, values: tuple[Any, ...]) -> None:
        """Hand over another statement, to be carried out behind what came before it.  On failure: as ``put``."""
        self._hand_over(_Parcel(statement=(statement, values)))

    def flush(self) -> None:
        """Block until all that was handed over is durable.  On failure: ``JournalError``."""
        done = Bell()
        self._hurry = True
        if self._hand_over(_Parcel(done=done)):
            while not done.wait():
                pass
            self._check()

    def close(self) -> None:
        """Write the rest, and end the thread; what is handed over later is lost.  On failure: ``JournalError``."""
        self._closing = self._hurry = True
        self._work.ring()
        self._thread.join()
        self._check()

    def _check(self) -> None:
        failure = self._failure
        if failure is None:
            return
        if isinstance(failure, JournalError):
            raise failure
        raise JournalFailed(f"the journal {self._path} cannot be written: {failure!r}") from failure

    def forget(self) -> None:
        """In a forked child, which has no such thread: nothing that is handed over is ever written."""
        self._closing = True

    def _hand_over(self, parcel: _Parcel) -> bool:
        """Queue it; return False if nothing is written any more.  On failure: as ``put``."""
        if self._closing:
            return False
        # First into the queue, then the look: the writer says that it has failed, and then empties the queue.
        self._queue.append(parcel)
        self._check()
        self._work.ring()
        return True

    def _run(self) -> None:
        while self._failure is None:
            if not self._queue:
                if self._closing:
                    return
                self._work.wait()
                continue
            self._wait_for_more()
            self._waiting = 0
            parcels = [self._queue.popleft() for _ in range(len(self._queue))]
            self._failure = self._write(parcels)
            _tell(parcels)
        while self._queue:
            _tell([self._queue.popleft()])

    def _wait_for_more(self) -> None:
        """Let some more come, unless somebody waits."""
        end = time.monotonic() + COMMIT_SECONDS
        while not self._hurry and (left := end - time.monotonic()) > 0:
            self._work.wait(left)
        self._hurry = self._closing

    def _write(self, parcels: list[_Parcel]) -> BaseException | None:
        """Write all that was handed over, in one transaction; return what went wrong, whatever it is.

        Those who hand over or wait get it: this thread must not end without a word to them.
        """
        try:
            with self._guard, explained(self._path):
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    self._write_parcels(parcels)
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:  # a full disk has rolled it back already
                        self._connection.execute("ROLLBACK")
                    raise
        except BaseException as error:
            return error
        return None

    def _write_parcels(self, parcels: list[_Parcel]) -> None:
        rows: list[tuple[Any, ...]] = []
        touched: dict[int, float] = {}
        for parcel in parcels:
            if parcel.rows:
                rows.extend(parcel.rows)
                touched[parcel.rows[-1][0]] = parcel.rows[-1][_FINISHED]
            elif parcel.statement is not None:
                self._insert(rows)
                self._connection.execute(*parcel.statement)
        self._insert(rows)
        for run, finished in touched.items():
            self._connection.execute(_TOUCH, (finished, run))

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        """Insert rows, and empty the list."""
        for start in range(0, len(rows), _TOGETHER):
            some = rows[start : start + _TOGETHER]
            statement = "INSERT INTO items VALUES " + ", ".join([_ROW] * len(some))
            self._connection.execute(statement, [value for row in some for value in row])
        rows.clear()


def _tell(parcels: list[_Parcel]) -> None:
    for parcel in parcels:
        if parcel.done is not None:
            parcel.done.ring()
