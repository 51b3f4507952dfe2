"""The journal as the process that writes it has it open: its runs, what they have recorded, and what they record.

A process opens a file once, whoever of it uses it; the last one closes it.  Reading and writing share one connection,
and one lock guards it.  A forked child has nothing to do with it: its parent goes on to write.
"""

from __future__ import annotations

import atexit
import json
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from procession.errors import JournalChanged, JournalError, JournalWarning
from procession.journal.file import explained, open_to_write
from procession.journal.fingerprint import python_version
from procession.journal.identity import Identity
from procession.journal.packing import pack_failure, pack_value, traceback_of, unpack_failure, unpack_value
from procession.journal.writer import Writer
from procession.outcome import OutcomeKind, kind_of

#: Bytes of a value at most; SQLite takes 1e9 in a row.
LARGEST = 990_000_000

#: Keys asked for in one statement; SQLite takes 999 at least.
_ASKED = 500


class Recorded:
    """An outcome that a journal has."""

    __slots__ = ("_compressed", "_data", "kind", "seconds")

    def __init__(self, kind: OutcomeKind, data: bytes, compressed: bool, seconds: float) -> None:
        self.kind = kind
        self.seconds = seconds  #: that the item ran
        self._data = data
        self._compressed = compressed

    def load(self) -> tuple[Any, BaseException | None]:
        """The value, or the error with its traceback as the cause.  On failure: whatever unpickling a value raises."""
        if self.kind is OutcomeKind.OK:
            return unpack_value(self._data, compressed=self._compressed), None
        return None, unpack_failure(self._data, compressed=self._compressed)


class Run:
    """The outcomes of one function, with what is bound to it, in a journal.

    Owns the places of what it has found there, by key; what is recorded anew takes the old one's place.
    """

    def __init__(self, journal: Journal, number: int) -> None:
        self._journal = journal
        self.number = number
        journal.runs.add(self)
        self._places: dict[bytes, int] = {}
        for place, key in journal.select("SELECT rowid, key FROM items WHERE run = ? ORDER BY rowid", (number,)):
            before = self._places.pop(key, None)
            self._places[key] = place
            if before is not None:  # two threads have run the same at the same time
                self._delete(before)

    @property
    def recorded(self) -> int:
        """Outcomes that there were when it was taken up, and have not been replaced since."""
        return len(self._places)

    def find(self, keys: Sequence[bytes]) -> list[Recorded | None]:
        """What is recorded under each of the keys.  On failure: ``JournalError``."""
        places = [self._places.get(key) for key in keys]
        asked = [place for place in places if place is not None]
        found: dict[int, Recorded] = {}
        for start in range(0, len(asked), _ASKED):
            some = asked[start : start + _ASKED]
            rows = self._journal.select(
                "SELECT rowid, outcome, value, packed, seconds FROM items"
                f" WHERE rowid IN ({','.join('?' * len(some))})",
                tuple(some),
            )
            for place, outcome, data, compressed, seconds in rows:
                if data is not None:
                    found[place] = Recorded(OutcomeKind(outcome), data, bool(compressed), seconds)
        return [None if place is None else found.get(place) for place in places]

    def row(
        self,
        key: bytes,
        position: int,
        item: str,
        value: Any,
        error: BaseException | None,
        tries: int,
        seconds: float,
        pid: int,
        memory: int | None,
    ) -> tuple[Any, ...]:
        """The outcome of an item, pickled, to be ``put``.

        ``item`` says in a few words what it is; ``memory`` is the most that its worker has had, in bytes.  A value
        that cannot be pickled, or is larger than ``LARGEST``, leaves an outcome without a value, and is run again.
        """
        if key in self._places:
            self._delete(self._places.pop(key))
        outcome, text, trace = "ok", None, None
        if error is None:
            packed = pack_value(value)
            if packed is None:
                text = f"the value, of type {type(value).__name__}, cannot be pickled"
        else:
            outcome, packed, text, trace = (
                kind_of(error).value,
                pack_failure(error),
                _in_words(error),
                traceback_of(error),
            )
        data, compressed = packed or (None, False)
        size = 0 if data is None else len(data)
        if size > LARGEST:
            data, text = None, f"the value has {size:,} bytes, and a journal takes {LARGEST:,}"
        head = (self.number, key, position, _clean(item), outcome, compressed, data)
        return (*head, _clean(text), _clean(trace), tries, seconds, time.time(), pid, memory)

    def put(self, rows: list[tuple[Any, ...]]) -> None:
        """Note outcomes, which are durable within a second.  Waits for the disk when far too much waits for it already.

        On failure: ``JournalError``, that of an earlier write.
        """
        self._journal.writer.put(rows)

    def _delete(self, place: int) -> None:
        with suppress(JournalError):  # whoever puts something gets that
            self._journal.writer.execute("DELETE FROM items WHERE rowid = ?", (place,))

    def finish(self, state: str) -> None:
        """Note how the run has ended, as "done" or "interrupted"."""
        self._journal.runs.discard(self)
        with suppress(JournalError):  # whoever closes it gets that
            self._journal.writer.execute(
                "UPDATE runs SET state = ?, updated = ? WHERE id = ?", (state, time.time(), self.number)
            )


class Journal:
    """One file, open for writing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self.runs: set[Run] = set()  #: that have not ended
        self._guard = threading.Lock()
        self._taking_up = threading.Lock()
        self._closed = False  # for good: also in a forked child, to which it does not belong, and at the exit
        self._connection, self._lock = open_to_write(path)
        self.writer = Writer(path, self._connection, self._guard)

    def run(
        self, identity: Identity, code: str, *, options: Mapping[str, Any], total: int | None, on_change: str
    ) -> Run:
        """Take up the run of a function, or begin it; ``code`` is the function's fingerprint.

        On failure: ``JournalChanged``, when the function is another than before and ``on_change`` is "refuse".
        """
        with self._taking_up:  # two threads may begin the same run
            now = time.time()
            known = identity.function, identity.label, identity.bound
            row = self._find(known)
            facts = (python_version(), json.dumps(dict(options)), total, os.getpid(), now)
            if row is None:
                self._tell_beginning(identity)
                self.writer.execute(
                    "INSERT INTO runs (function, label, bound, arguments, fingerprint, python, options, total, pid,"
                    " updated, state, started) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?)",
                    (*known, _clean(identity.words), code, *facts, now),
                )
                self.writer.flush()
                row = self._find(known)
                assert row is not None
                return Run(self, row[0])
            number, before, python = row
            # As long as there are outcomes of other code, they are told of: not only once.
            codes = before.split() if self._has_outcomes(number) else []
            if any(each != code for each in codes):
                _tell_change(self.path, identity.function, python, on_change)
            self.writer.execute(
                "UPDATE runs SET fingerprint = ?, python = ?, options = ?, total = ?, pid = ?, updated = ?,"
                " state = 'running' WHERE id = ?",
                (" ".join(dict.fromkeys([*codes, code])), *facts, number),
            )
            self.writer.flush()
            return Run(self, number)

    def _find(self, known: tuple[str, str, bytes]) -> tuple[Any, ...] | None:
        """The number of a run, the fingerprints of all code that has run in it, and its Python."""
        statement = "SELECT id, fingerprint, python FROM runs WHERE function = ? AND label = ? AND bound = ?"
        return next(iter(self.select(statement, known)), None)

    def _has_outcomes(self, number: int) -> bool:
        return bool(self.select("SELECT 1 FROM items WHERE run = ? LIMIT 1", (number,)))

    def _tell_beginning(self, identity: Identity) -> None:
        """Warn of a run that begins beside an unfinished one of its function, which it may be meant to continue."""
        under_way = {run.number for run in self.runs}
        rows = self.select(
            "SELECT id, arguments FROM runs WHERE function = ? AND label = ? AND state != 'done' ORDER BY updated DESC",
            (identity.function, identity.label),
        )
        for number, arguments in rows:
            if number not in under_way:
                ours, theirs = (f" ({words})" if words else "" for words in (identity.words, arguments))
                warnings.warn(
                    f"{identity.function}{ours} begins a run of its own in {self.path}: it is not what has left a run "
                    f"there unfinished{theirs}, since it holds other values or is of another module",
                    JournalWarning,
                    stacklevel=2,
                )
                return

    def select(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows that a statement gives.  On failure: ``JournalError``."""
        with self._guard, explained(self.path):
            return self._connection.execute(statement, values).fetchall()

    def flush(self) -> None:
        """Block until all that was recorded is durable.  On failure: ``JournalError``."""
        self.writer.flush()

    def close(self) -> None:
        """Give up one use; with the last one, make all durable and let go of the file.

        On failure: ``JournalError``, and it is let go of all the same.
        """
        if self._closed:
            return
        with _lock:
            self.users -= 1
            last = not self.users
            if last:  # with the lock: who opens the file again must find it free
                try:
                    self._end()
                finally:
                    _open.pop(self.path, None)
        if not last:
            self.writer.flush()

    def _end(self) -> None:
        self._closed = True
        try:
            self.writer.close()
        finally:
            with suppress(sqlite3.Error):
                self._connection.close()
            os.close(self._lock)

    def forget(self) -> None:
        """In a forked child: the connection is the parent's, and must not even be closed."""
        self._closed = True
        self.writer.forget()
        with suppress(OSError):
            os.close(self._lock)


_lock = threading.RLock()
_open: dict[str, Journal] = {}
_abandoned: list[Journal] = []  # of the parent; kept, since the end of a connection writes to its file


def open_journal(path: str) -> Journal:
    """Open a journal, or make it; the same for all who have it open.  Each has to close it.

    On failure: ``JournalLocked``, ``JournalUnsafe``, ``NoJournal``, ``JournalFailed``.
    """
    real = os.path.realpath(path)
    with _lock:
        journal = _open.get(real)
        if journal is None:
            journal = _open[real] = Journal(real)
        journal.users += 1
        return journal


def is_open_here(path: str) -> Journal | None:
    """The journal at a path, if this process has it open."""
    return _open.get(os.path.realpath(path))


def _tell_change(path: str, function: str, python: str, on_change: str) -> None:
    text = f"{function} has changed since {path} was written"
    if python != python_version():
        text += f" (by Python {python}; this is {python_version()}, whose bytecode differs anyway)"
    if on_change == "refuse":
        raise JournalChanged(f"{text}, and its outcomes may be others now; use another file, or on_change='warn'")
    warnings.warn(
        f"{text}; its outcomes are taken all the same (for new ones use another file)", JournalWarning, stacklevel=2
    )


def _clean(text: str | None) -> str | None:
    """The text with escapes in place of what is no Unicode: names of files may have it, and SQLite does not take it."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _in_words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # __str__ is the user's
        return type(error).__name__


def _close_all() -> None:
    """At the exit: what nobody has closed is made durable."""
    with _lock:
        journals = list(_open.values())
        _open.clear()
    for journal in journals:
        for run in list(journal.runs):
            run.finish("interrupted")
        with suppress(JournalError):
            journal._end()


def _forget_all() -> None:
    global _lock
    _lock = threading.RLock()
    for journal in _open.values():
        journal.forget()
    _abandoned.extend(_open.values())
    _open.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)
