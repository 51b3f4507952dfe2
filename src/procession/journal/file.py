"""The file of a journal: what is checked before it is opened, its tables, and its lock.

A file is one process's to write: a lock (``flock``) on a descriptor of its own says so.  That descriptor is opened
before SQLite's and closed after it, since a process that closes any descriptor of a file loses the locks of POSIX that
it has on it, which are SQLite's.  Values are pickles, so a file that others could have written is not read.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from procession.errors import JournalFailed, JournalLocked, JournalUnsafe, NoJournal

#: What says that a file of SQLite is a journal, and of which kind.
APPLICATION_ID = 0x50524A31  # "PRJ1"
VERSION = 2

_MAGIC = b"SQLite format 3\0"

_TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, function TEXT NOT NULL, label TEXT NOT NULL, bound BLOB NOT NULL,
    arguments TEXT NOT NULL, fingerprint TEXT NOT NULL, python TEXT NOT NULL, options TEXT NOT NULL, total INTEGER,
    state TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL, updated REAL NOT NULL,
    UNIQUE (function, label, bound)
);
CREATE TABLE items (
    run INTEGER NOT NULL, key BLOB NOT NULL, position INTEGER NOT NULL, item TEXT NOT NULL, outcome TEXT NOT NULL,
    packed INTEGER NOT NULL, value BLOB, error TEXT, traceback TEXT, tries INTEGER NOT NULL, seconds REAL NOT NULL,
    finished REAL NOT NULL, pid INTEGER NOT NULL, memory INTEGER
);
"""
# No index: it would double what a row costs (4.5 to 9 us).  Who takes a run up reads its keys, once.


def open_to_write(path: str) -> tuple[sqlite3.Connection, int]:
    """Open a journal, or make it, for this process alone; return the connection and the descriptor of the lock.

    On failure: ``JournalLocked``, ``JournalUnsafe``, ``NoJournal``, ``JournalFailed``.
    """
    lock = _open_locked(path)
    try:
        with explained(path):
            check_header(path, lock)
            check_beside(path)
            connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            try:
                _prepare(connection, path)
            except BaseException:
                connection.close()
                raise
    except BaseException:
        os.close(lock)
        raise
    return connection, lock


def _open_locked(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalFailed(f"the journal {path} cannot be opened: {error.strerror}", error.errno) from error
    try:
        check_safe(path, os.fstat(fd))
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        writer = _writer_of(path)
        os.close(fd)
        raise JournalLocked(
            f"the journal {path} is being written by {writer}; wait for that to end, or use another file"
        ) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_safe(path: str, found: os.stat_result) -> None:
    """Check that nobody else can have written a file.  On failure: ``JournalUnsafe``, ``NoJournal``."""
    if not stat.S_ISREG(found.st_mode):
        raise NoJournal(f"{path} is no file")
    if found.st_mode & 0o022:
        raise JournalUnsafe(
            f"others than its owner can write to {path} (mode {stat.S_IMODE(found.st_mode):03o}), and reading a "
            f"journal can run what is in it; if it is yours: chmod go-w {path}"
        )
    if found.st_uid not in (os.geteuid(), 0):
        raise JournalUnsafe(f"{path} belongs to another user (id {found.st_uid}), and reading a journal can run it")


def check_beside(path: str) -> None:
    """Check the files beside a journal, from which SQLite takes up what is in them.  On failure: as ``check_safe``."""
    for name in (f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError):
            check_safe(name, os.lstat(name))


def check_header(path: str, fd: int) -> None:
    """Check that a file is empty, or one of SQLite's.  On failure: ``NoJournal``."""
    header = os.pread(fd, 100, 0)
    if header and (len(header) < 100 or not header.startswith(_MAGIC)):
        what = "it is cut off" if _MAGIC.startswith(header[:16]) else "it is a file of another kind"
        raise NoJournal(f"{path} is no journal: {what}")


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk: the machine may lose its power
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables == 0 and connection.execute("PRAGMA application_id").fetchone()[0] == 0:
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {_TABLES} COMMIT;"
        )
    check_kind(connection, path)


def check_kind(connection: sqlite3.Connection, path: str) -> None:
    """Check that a database is a journal of our version.  On failure: ``NoJournal``."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise NoJournal(f"{path} is a database of something else, not a journal")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise NoJournal(f"{path} is a journal of version {version}; this Procession reads version {VERSION}")


def _writer_of(path: str) -> str:
    """Who writes a journal, as far as it says so."""
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)
        try:
            row = connection.execute(
                "SELECT pid, datetime(started, 'unixepoch', 'localtime') FROM runs ORDER BY updated DESC LIMIT 1"
            ).fetchone()
        finally:
            connection.close()
        if row is not None:
            return f"process {row[0]}, since {row[1]}"
    return "another process"


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors within into ours.  On failure: ``NoJournal``, ``JournalFailed``."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise JournalFailed(f"the journal {path} cannot be written: {_reason(error, path)}") from error
    except sqlite3.DatabaseError as error:
        raise NoJournal(f"{path} cannot be read as a journal: {error}; it may be cut off or overwritten") from error


def _reason(error: sqlite3.Error, path: str) -> str:
    text = str(error)
    if "full" in text:
        return "the disk is full"
    if "disk I/O" in text or "readonly" in text or "unable to open" in text:
        folder = os.path.dirname(path) or "."
        if not os.access(folder, os.W_OK):
            return f"its folder {folder} cannot be written to, where SQLite needs a file beside it"
    return text
