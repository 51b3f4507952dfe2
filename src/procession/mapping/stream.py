"""A stream: items in as room allows, outcomes out as an iterator.

Owns the input iterator, a source, and a collector.  Items are pulled while those in flight and those
undelivered are fewer than the window, so an endless input runs in constant memory.  A list cannot
block, so it is pulled by whoever has made room; any other iterable is pulled by a thread of its own,
since it may wait for anything, even for results of this very stream.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from procession.backends.base import Backend, Capability
from procession.engine.bell import Bell
from procession.engine.work import Chunk
from procession.errors import TaskCancelled, WaitTimeout
from procession.mapping.arrivals import StreamCollector
from procession.mapping.batch import begin_batch, length_of
from procession.mapping.frames import KNOWN_ARRAYS, Frames
from procession.mapping.maps import give, intern
from procession.mapping.waiting import NUMBERS
from procession.options import TaskOptions
from procession.outcome import Outcome, OutcomeKind
from procession.wire.messages import Style
from procession.wire.outcomes import Outcomes
from procession.wire.parcel import Known

#: Items in flight and undelivered, for every worker and in all; times the chunk size.  Enough to keep
#: workers busy with tasks of microseconds.
_WINDOW_PER_WORKER = 16
_WINDOW_BASE = 32

#: To what a window grows that was not asked for, while workers have done all of it before more can be handed out:
#: the round trip of 64 items of a microsecond takes ten times as long as the items.  Of results of the largest size
#: that does not count as bytes, some 200 MB.
_WINDOW_LIMIT = 4096

#: In a wide window, room is looked for once in so many items that are taken.
_CHECKED = 16

#: Of shared memory in flight and undelivered, for every worker; but always some items more than workers.
_WINDOW_BYTES = 64 << 20

#: A window without bounds.
UNBOUNDED = sys.maxsize


class Stream:
    """One lazily fed mapping."""

    def __init__(
        self,
        backend: Backend,
        func: Callable[..., Any],
        items: Iterable[Any],
        *,
        style: Style,
        chunksize: int | None,
        options: TaskOptions,
        ordered: bool,
        timed: bool = False,
        window: int | None = None,
        by_caller: bool = False,
        total: int | None = None,
    ) -> None:
        """``window``: how many items may be in flight or undelivered, or ``UNBOUNDED``; by default some per worker.

        ``by_caller``: the caller pulls the input himself, whenever he asks for an outcome.  ``total``: how many items
        there are, if that is known.  On failure: ``NotPicklable``, ``TypeError``, ``JournalError``.
        """
        function = intern(backend, func, options)
        self._backend = backend
        self._items = _iterator(items)
        total = length_of(items) if total is None else total
        self._batch = begin_batch(backend, func, options, total, ordered=ordered)
        if self._batch is not None:
            self._batch.on_halt = self._on_halt
        self._collector = StreamCollector(self._on_arrival, ordered=ordered)
        self._source = Frames(
            function,
            style,
            self._collector,
            chunksize,
            options,
            encode=backend.encode,
            again=backend.retry,
            eager=True,
            timed=timed,
            # The caller goes on, and may change what it has handed in: what seems to be the same is compared.
            known=Known(KNOWN_ARRAYS, verify=True),
            batch=self._batch,
        )
        self._lock = threading.Lock()
        self._room = Bell()  # the feeder waits for it
        self._pulling = threading.Lock()
        self._awaiting: deque[Callable[[], object]] = deque()  # of event loops
        self._taken = 0
        self._exhausted = self._reading = False
        self._held = False  # what was announced last may wait for more
        self._halted = False
        self._closed = False
        self._last_error: BaseException | None = None  # of the input, or of the run: it comes behind the outcomes
        self._error_given = False
        self._stops_in_order = ordered and options.stop_when is not None
        self._set_window(options.window if window is None else window, chunksize or 1)
        self._parallel = Capability.PARALLEL in backend.capabilities
        # One that takes all of the input does so now, as its caller wants it.
        at_once = self._window >= UNBOUNDED
        self._by_caller = by_caller and not at_once
        self._threaded = self._parallel and not by_caller and not isinstance(items, (list, tuple, range))
        self._begin_to_pull(at_once=at_once)

    def _set_window(self, window: int | None, chunksize: int) -> None:
        workers = self._backend.workers
        default = (_WINDOW_BASE + _WINDOW_PER_WORKER * workers) * chunksize
        self._window = default if window is None else window
        self._limit = max(default, _WINDOW_LIMIT) if window is None else window
        self._least = min(workers + 1, self._window)
        self._window_bytes = _WINDOW_BYTES * workers
        #: Outcomes are taken one by one: the window is the caller's own, or whether there are enough is asked of each.
        self._fixed = window is not None or self._stops_in_order

    def _begin_to_pull(self, *, at_once: bool) -> None:
        if at_once:
            with self._pulling:  # an arrival must not pull as well
                self._pull_all()
        elif self._by_caller:
            self._pull(self._free_places())
        elif self._threaded:
            feeder = threading.Thread(target=self._feed, name="procession-feeder", daemon=True)
            feeder.start()
        elif self._parallel:
            self._make_room()

    @property
    def ready(self) -> bool:
        """Whether ``next`` would not block."""
        return self._collector.has_next or self._ended or self._owes_error

    @property
    def _owes_error(self) -> bool:
        """Whether all outcomes have been taken, and an error of the input or of the run is next."""
        return self._drained and self._last_error is not None and not self._error_given

    @property
    def _drained(self) -> bool:
        if self._halted:
            return not self._collector.has_next
        return self._exhausted and self._taken >= self._source.added

    @property
    def _ended(self) -> bool:
        return self._closed or (self._drained and not self._owes_error)

    def next(self, timeout: float | None = None) -> Outcome | None:
        """The next outcome, or None at the end.

        On failure: ``TimeoutError`` of multiprocessing when ``timeout`` seconds bring none.
        """
        if self._by_caller and not self._exhausted and self._free_places() > 0:
            self._pull(self._free_places())
        if not self._collector.has_next:
            self._wait(timeout)
        with self._lock:
            if not self._collector.has_next and self._drained:
                self._end_batch(finished=not self._halted)
            if self._owes_error:
                self._error_given = True
                return Outcome(self._taken, OutcomeKind.ERROR, error=self._last_error)
            if not self._collector.has_next:
                self._let_go()
                return None
            outcome = self._collector.pop()
            self._taken += 1
        if self._stops_in_order and self._is_last(outcome):
            return outcome
        # By far not every item is one for which it is time to pull others.
        if self._exhausted or (self._taken % _CHECKED and not self._counts_bytes and self._window > _CHECKED * 4):
            return outcome
        self._make_room()
        return outcome

    def next_values(self) -> list[Any] | None:
        """The next values, if several are there that came together; else None, and ``next`` tells.

        They count as taken, so the window is at most a chunk wider.
        """
        if self._fixed or not self._collector.has_next:
            return None
        with self._lock:
            values = self._collector.pop_values() if self._collector.has_next else None
            if values is None:
                return None
            self._taken += len(values)
        self._make_room()
        return values

    def _wait(self, timeout: float | None) -> None:
        """Block until there is an outcome, or the end.  On failure: ``TimeoutError``."""
        if not self._parallel and not self.ready:
            self._pull(1)
        if not self.ready:
            self._grow()
        if not self._backend.wait(lambda: self.ready, timeout) and not self.ready:
            raise WaitTimeout(f"no result after {timeout:g} seconds; the tasks go on")

    def _is_last(self, outcome: Outcome) -> bool:
        """Whether nothing more is wanted behind an outcome that is being given out in order."""
        if outcome.error is not None or self._batch is None or not self._batch.halting.is_enough(outcome.value):
            return False
        self._on_halt(keep=False)
        return True

    def _grow(self) -> None:
        """Widen the window, if the workers run out of items although the input has more, and somebody waits.

        Tiny items come back faster than a thread that pulls others gets its turn (5 ms in CPython): what it pulls
        in a turn has to last until the next.
        """
        if self._window < self._limit and not self._source.left() and not self._reading and not self._exhausted:
            self._window = min(2 * self._window, self._limit)
            self._make_room()

    async def wait(self) -> None:
        """Wait in an event loop until ``next`` does not block."""
        import asyncio

        loop = asyncio.get_running_loop()
        while self._parallel and not self.ready:
            arrival = asyncio.Event()
            self._awaiting.append(partial(loop.call_soon_threadsafe, arrival.set))
            if not self.ready:  # it has not come meanwhile
                self._backend.attend()
                await arrival.wait()

    def _wake(self) -> None:
        """Have all look again that wait for the next outcome."""
        self._backend.wake()
        self._wake_loops()

    def _wake_loops(self) -> None:
        while self._awaiting:
            with suppress(RuntimeError, IndexError):  # the loop is closed; another thread was quicker
                self._awaiting.popleft()()

    def is_last_error(self, outcome: Outcome) -> bool:
        """Whether this is not an item's outcome, but what the input raised in its place, or why the run is over."""
        return outcome.error is not None and outcome.error is self._last_error

    def close(self, *, stop: bool = True) -> None:
        """Drop what is queued, and ``stop`` what runs; nothing more is pulled."""
        if self._closed:
            return
        self._closed = True
        self._let_go()
        self._room.ring()
        self._wake_loops()
        finished = self._exhausted and self._collector.arrived >= self._source.added
        if not finished:
            if stop:
                self._backend.interrupt(self._source, TaskCancelled("the iterator was closed"))
                if self._batch is not None:
                    self._batch.settle_down(self._backend, self._source)
            else:
                self._backend.withdraw(self._source)
        self._end_batch(finished=finished)

    def _on_halt(self, *, keep: bool = True) -> None:
        """The run is over before its items are; called by the thread that drives, pulls or takes.

        What has come in is still given out, if it is to be kept.
        """
        self._collector.end(keep=keep)
        if self._batch is not None:
            self._last_error = self._batch.error
        self._halted = self._exhausted = True
        self._room.ring()
        self._backend.interrupt(self._source, TaskCancelled("the run is over"))
        self._wake()

    def _end_batch(self, *, finished: bool) -> None:
        """Let go of what goes along with the stream; if the journal cannot be written to its end, that comes last."""
        if self._batch is not None:
            self._batch.close(finished=finished)
            self._last_error = self._last_error or self._batch.error

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
        if self._awaiting:
            self._wake_loops()

    def _make_room(self) -> None:
        if self._threaded or self._by_caller:
            if self._threaded and self._wants_items:
                self._room.ring()
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
            while (room := self._free_places()) <= 0:
                if self._closed:
                    return  # type: ignore[unreachable]  # another thread closes
                self._room.wait()
            self._pull(min(room, 1 + room // 2), singly=True)
        self._wake()

    def _pull_all(self) -> None:
        """Pull all items now.  On failure: what the input raises, and what has been pulled is withdrawn."""
        try:
            for number, item in enumerate(self._items):
                self._add(item)
                if number % self._backend.workers == 0:  # the workers need not wait for the rest
                    self._submit()
        except BaseException:
            self.close(stop=False)
            raise
        self._exhausted = True
        self._submit()

    def _pull(self, count: int, *, singly: bool = False) -> None:
        """Pull up to ``count`` items and submit them; ``singly`` when each may take long to come."""
        if count <= 0:  # another thread was quicker
            return
        try:
            self._reading = True
            exhausted = not self._read(count, singly=singly)
            self._reading = False
        except BaseException as error:  # the input's own error, in its place
            self._last_error = error
            self._exhausted = True
            self._wake()
            if not isinstance(error, Exception):
                raise
        else:
            if exhausted:
                self._exhausted = True
                if self._batch is not None and self._batch.meter is not None:
                    self._batch.meter.set_total(self._source.added)
        self._submit()

    def _read(self, count: int, *, singly: bool) -> bool:
        """Pull up to ``count`` items and add them; return False at the end of the input.

        Of a tiny item this loop is most of what it costs, so a number costs it no call.
        """
        source, numbers = self._source, NUMBERS
        recorded = self._batch is not None and self._batch.recorder is not None
        append = source.open_run().append
        for item in self._items:
            if self._closed:  # while the input was waited for
                return True
            if type(item) in numbers and not recorded:
                append(item)
            else:
                self._add(item)
                append = source.open_run().append
            if singly and not source.queued and not self._submit(more=True):
                return True
            count -= 1
            if not count:
                return True
        return False

    def _submit(self, *, more: bool = False) -> bool:
        """Announce new items, ``more`` when others may follow at once; return False when the pool takes no more."""
        if self._closed:
            return False
        # While the source is queued, its next items are handed out like those before.
        if not self._source.left() or (self._source.queued and (more or not self._held)):
            return True
        self._held = more
        try:
            self._backend.submit(self._source, more=more)
        except Exception as error:
            while self._source.left():
                chunk = self._source.cut(1)
                self._source.deliver_error(chunk, 0, 1, error)
            self._exhausted = True
            self._wake()
            return False
        return True

    def _add(self, item: Any) -> None:
        """Queue an item; one that cannot be pickled has its outcome, and one that the journal has, too."""
        batch = self._batch
        try:
            if batch is not None and batch.recorder is not None:
                known = batch.recorder.find(self._source.added, item)
                if known is not None:
                    give(batch, self._source.skip(), known, self._collector)
                    self._wake()
                    return
            self._source.add(item, self._submit)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        outcomes = Outcomes([None], {0: error})
        position = self._source.skip()
        self._source.take(Chunk(self._source, position, 1), 0, outcomes)
        self._wake()


def _iterator(items: Iterable[Any]) -> Iterator[Any]:
    """An iterator of the items that is one in all respects; of what ``iter`` gives, only ``__next__`` is certain."""
    found = iter(items)
    return found if isinstance(found, Iterator) else iter(found.__next__, object())
