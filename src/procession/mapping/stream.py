"""A stream: items in as room allows, outcomes out as an iterator.

Owns the input iterator, a source, and a collector.  Items are pulled while those in flight and those
undelivered are fewer than the window, so an endless input runs in constant memory.  A list cannot
block, so it is pulled by whoever has made room; any other iterable is pulled by a thread of its own,
since it may wait for anything, even for results of this very stream.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from procession.backends.base import Backend, Capability
from procession.engine.interning import Function
from procession.errors import TaskCancelled, WaitTimeout
from procession.mapping.collectors import StreamCollector
from procession.mapping.sources import KNOWN_ARRAYS, Frames
from procession.outcome import Outcome, OutcomeKind
from procession.wire.messages import Style
from procession.wire.outcomes import Outcomes
from procession.wire.parcel import Known

#: Items in flight and undelivered, for every worker and in all; times the chunk size.  Enough to keep
#: workers busy with tasks of microseconds.
_WINDOW_PER_WORKER = 16
_WINDOW_BASE = 32

#: Of shared memory in flight and undelivered, for every worker; but always some items more than workers.
_WINDOW_BYTES = 64 << 20


class Stream:
    """One lazily fed mapping."""

    def __init__(
        self,
        backend: Backend,
        function: Function,
        items: Iterable[Any],
        *,
        style: Style,
        chunksize: int | None,
        ordered: bool,
        timed: bool = False,
    ) -> None:
        self._backend = backend
        self._collector = StreamCollector(self._on_arrival, ordered=ordered)
        self._source = Frames(
            function,
            style,
            self._collector,
            chunksize,
            encode=backend.encode,
            eager=True,
            timed=timed,
            # The caller goes on, and may change what it has handed in: what seems to be the same is compared.
            known=Known(KNOWN_ARRAYS, verify=True),
        )
        self._items = iter(items)
        self._lock = threading.Lock()
        self._room = threading.Condition(threading.Lock())
        self._pulling = threading.Lock()
        self._taken = 0
        self._exhausted = False
        self._closed = False
        self._input_error: BaseException | None = None
        self._error_given = False
        per_worker = _WINDOW_PER_WORKER * backend.workers
        self._window = (_WINDOW_BASE + per_worker) * (chunksize or 1)
        self._least = backend.workers + 1
        self._window_bytes = _WINDOW_BYTES * backend.workers
        self._parallel = Capability.PARALLEL in backend.capabilities
        self._threaded = self._parallel and not isinstance(items, (list, tuple, range))
        if self._threaded:
            feeder = threading.Thread(target=self._feed, name="procession-feeder", daemon=True)
            feeder.start()
        elif self._parallel:
            self._make_room()

    @property
    def ready(self) -> bool:
        """Whether ``next`` would not block."""
        return self._collector.has_next or self._ended or self._owes_input_error

    @property
    def _owes_input_error(self) -> bool:
        """Whether all that was pulled has been taken, and the input's own error is next."""
        return self._drained and self._input_error is not None and not self._error_given

    @property
    def _drained(self) -> bool:
        return self._exhausted and self._taken >= self._source.added

    @property
    def _ended(self) -> bool:
        return self._closed or (self._drained and not self._owes_input_error)

    def next(self, timeout: float | None = None) -> Outcome | None:
        """The next outcome, or None at the end.

        On failure: ``TimeoutError`` of multiprocessing when ``timeout`` seconds bring none.
        """
        if not self._parallel and not self.ready:
            self._pull(1)
        if not self._backend.wait(lambda: self.ready, timeout) and not self.ready:
            raise WaitTimeout(f"no result after {timeout:g} seconds; the tasks go on")
        with self._lock:
            if self._owes_input_error:
                self._error_given = True
                return Outcome(self._taken, OutcomeKind.ERROR, error=self._input_error)
            if not self._collector.has_next:
                self._let_go()
                return None
            outcome = self._collector.pop()
            self._taken += 1
        self._make_room()
        return outcome

    def is_input_error(self, outcome: Outcome) -> bool:
        """Whether this is not an item's outcome, but what the input raised in its place."""
        return outcome.error is not None and outcome.error is self._input_error

    def close(self) -> None:
        """Drop what is queued and stop what runs; nothing more is pulled."""
        if self._closed:
            return
        self._closed = True
        self._let_go()
        with self._room:
            self._room.notify_all()
        if not (self._exhausted and self._collector.arrived >= self._source.added):
            self._backend.interrupt(self._source, TaskCancelled("the iterator was closed"))

    def _free_places(self) -> int:
        """How many items more may be in flight or undelivered: by their number, and by their bytes."""
        under_way = self._source.added - self._taken
        if self._counts_bytes:
            room = self._window_bytes - self._source.bytes - self._collector.undelivered_bytes
            size = max(1, self._source.bytes + self._collector.undelivered_bytes) // max(1, under_way)
            return max(min(self._window - under_way, room // max(1, size)), self._least - under_way)
        return self._window - under_way

    @property
    def _counts_bytes(self) -> bool:
        """Whether items or results under way stand in shared memory."""
        return bool(self._source.bytes or self._collector.undelivered_bytes)

    def _let_go(self) -> None:
        """At the end, keep nothing until the garbage collector comes, nor until the iterator goes."""
        self._collector.detach()
        self._source.forget_known()

    def _on_arrival(self) -> None:
        """Outcomes have come in; called by the thread that drives."""
        self._make_room()

    def _make_room(self) -> None:
        if self._threaded:
            if self._wants_items:
                with self._room:
                    self._room.notify()
            return
        # One at a time, or items would change places; and not from within, when `_pull` waits for room
        # and drives.  Who finds another pulling may leave: that one looks again when it has finished.
        while self._parallel and self._wants_items and self._pulling.acquire(blocking=False):
            try:
                self._pull(self._free_places())
            finally:
                self._pulling.release()

    @property
    def _wants_items(self) -> bool:
        """Whether it is time to pull some.  Not for every single item; but large ones are few."""
        if self._exhausted or self._closed:
            return False
        room = self._free_places()
        return room > 0 and (room * 4 >= self._window or self._counts_bytes)

    def _feed(self) -> None:
        """Pull items whenever there is room; in the feeder's thread."""
        while not (self._exhausted or self._closed):
            with self._room:
                while (room := self._free_places()) <= 0:
                    if self._closed:
                        return  # type: ignore[unreachable]  # another thread closes
                    self._room.wait()
            self._pull(min(room, 1 + room // 4), singly=True)
        self._backend.wake()

    def _pull(self, count: int, *, singly: bool = False) -> None:
        """Pull up to ``count`` items and submit them; ``singly`` when each may take long to come."""
        source = self._source
        for _ in range(count):
            try:
                item = next(self._items)
            except StopIteration:
                self._exhausted = True
                break
            except BaseException as error:  # the input's own error, in its place
                self._input_error = error
                self._exhausted = True
                self._backend.wake()
                if not isinstance(error, Exception):
                    raise
                break
            try:
                source.add(item, self._submit)
            except Exception as error:
                self._fail(error)
            if singly and not self._submit():
                return
        self._submit()

    def _submit(self) -> bool:
        """Announce new items; return False when the pool takes no more."""
        if not self._source.left():
            return True
        try:
            self._backend.submit(self._source)
        except Exception as error:
            while self._source.left():
                chunk = self._source.cut(1)
                self._source.deliver_error(chunk, 0, 1, error)
            self._exhausted = True
            self._backend.wake()
            return False
        return True

    def _fail(self, error: BaseException) -> None:
        position = self._source.skip()
        self._collector.take(position, Outcomes([None], {0: error}))
        self._backend.wake()
