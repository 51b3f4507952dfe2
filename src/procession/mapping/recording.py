"""Recording: a mapping's use of a journal: it names items, finds what is known of them, and notes what becomes of them.

Owned by a batch.  Items are named by whoever pulls them, outcomes recorded by the thread that drives; the two meet
in a dict by position.  The names of unseeded items are counted, which takes some 100 bytes an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from procession.errors import InternalError, PoolBroken, SendFailed, TaskCancelled
from procession.journal.digest import digest
from procession.journal.fingerprint import fingerprint
from procession.journal.identity import identify
from procession.journal.journal import Journal, Recorded, Run, open_journal
from procession.mapping.describing import shorten
from procession.outcome import OutcomeKind
from procession.wire.outcomes import Outcomes

if TYPE_CHECKING:
    from procession.engine.work import Chunk
    from procession.options import TaskOptions

#: What says nothing of the item itself: it has not been run.
_NOT_OF_THE_ITEM = (TaskCancelled, PoolBroken, SendFailed, InternalError)

#: A text is its own description up to this length.
_ITEM_LIMIT = 200

#: Outcomes asked for at one time.
_ASKED = 1000


class Recorder:
    """What one mapping knows of its journal."""

    def __init__(self, journal: Journal, run: Run, options: TaskOptions) -> None:
        self._journal = journal
        self._run = run
        self._key = options.key
        self._seed = options.seed
        self._only_values = options.resume == "failed"
        self._seen: dict[bytes, int] = {}
        self._named: dict[int, tuple[bytes, str]] = {}

    def name(self, position: int, item: Any) -> bytes:
        """The name of an item, from now on that of its position.

        By default its content, and how many of that content there were before; with a seed also its position,
        since its value depends on that.  On failure: what the user's ``key`` raises; ``ValueError`` for a key that
        another item has.
        """
        if self._key is not None:
            given = self._key(item)
            key = digest(given)
            if key in self._seen:
                raise ValueError(f"two items have the key {shorten(given)}; each needs one of its own")
            self._seen[key] = 1
        else:
            key = digest(item)
            if self._seed is None:
                before = self._seen.get(key, 0)
                self._seen[key] = before + 1
                if before:
                    key = digest((key, before))
        if self._seed is not None:
            key = digest((key, position, self._seed.entropy, self._seed.spawn_key))
        self._named[position] = key, item if type(item) is str and len(item) <= _ITEM_LIMIT else shorten(item)
        return key

    def find(self, position: int, item: Any) -> Outcomes | None:
        """The outcome of an item, if it is known; it has its name from here on.  On failure: as ``name``."""
        key = self.name(position, item)
        if not self._run.recorded:
            return None
        return self._outcome(position, self._run.find([key])[0])

    def find_all(self, items: Any) -> Iterator[tuple[int, Outcomes]]:
        """The known outcomes of a sequence, by position.  All items have their names when the last was asked for."""
        keys = [self.name(position, item) for position, item in enumerate(items)]
        if self._run.recorded:
            for start in range(0, len(keys), _ASKED):
                for offset, found in enumerate(self._run.find(keys[start : start + _ASKED])):
                    outcome = self._outcome(start + offset, found)
                    if outcome is not None:
                        yield start + offset, outcome

    def _outcome(self, position: int, found: Recorded | None) -> Outcomes | None:
        if found is None or (self._only_values and found.kind is not OutcomeKind.OK):
            return None
        try:
            value, error = found.load()
        except Exception:  # of a class that is not there any more, say: it is run again
            return None
        del self._named[position]
        return Outcomes([value], {} if error is None else {0: error}, [found.seconds], replayed=True)

    def record(self, chunk: Chunk, start: int, outcomes: Outcomes) -> None:
        """Note outcomes.  On failure: ``JournalFailed``."""
        rows = []
        seconds, tries, errors = outcomes.seconds, outcomes.tries, outcomes.errors
        pid, memory = chunk.pid, chunk.memory or None
        for offset, value in enumerate(outcomes.values):
            error = errors.get(offset)
            named = self._named.pop(start + offset, None)
            if named is None or (error is not None and isinstance(error, _NOT_OF_THE_ITEM)):
                continue
            count = 1 + len(tries.get(offset, ()))
            took = 0.0 if seconds is None else seconds[offset]
            rows.append(self._run.row(named[0], start + offset, named[1], value, error, count, took, pid, memory))
        if rows:
            self._run.put(rows)

    def close(self, *, finished: bool) -> None:
        """Make all durable, and let go of the file.  On failure: ``JournalFailed``."""
        self._run.finish("done" if finished else "interrupted")
        self._journal.close()


def open_recorder(func: Callable[..., Any], options: TaskOptions, total: int | None) -> Recorder:
    """Take up the run of this function in its journal, or begin it.  On failure: ``JournalError``."""
    journal = open_journal(options.journal or "")
    try:
        run = journal.run(
            identify(func, options.label),
            fingerprint(func),
            options=options.described(),
            total=total,
            on_change=options.on_change,
        )
    except BaseException:
        journal.close()
        raise
    return Recorder(journal, run, options)
