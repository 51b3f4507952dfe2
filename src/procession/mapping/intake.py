"""The intake of a stream: pulls its input as room allows, and queues what it has pulled.

Owns the input, the window, and why nothing more is pulled.  A list cannot block, so it is pulled by whoever has made
room; any other iterable by a thread of its own, since it may wait for anything, even for results of this very stream.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from procession.engine.bell import Bell
from procession.mapping.waiting import LARGE, NUMBERS
from procession.mapping.window import UNBOUNDED, Window

if TYPE_CHECKING:
    from procession.backends.base import Backend
    from procession.mapping.arrivals import StreamCollector
    from procession.mapping.batch import Batch
    from procession.mapping.frames import Frames


def _ignore(*_args: object) -> None:
    pass


class Intake:
    """The input of one stream."""

    def __init__(
        self,
        backend: Backend,
        items: Iterator[Any],
        source: Frames,
        collector: StreamCollector,
        window: Window,
        *,
        batch: Batch | None,
        replay: Callable[[int, Any], bool] | None,
        fail: Callable[[int, BaseException], None],
        wake: Callable[[], None],
        parallel: bool,
        by_caller: bool,
        may_block: bool,
    ) -> None:
        """``replay`` gives out what is known of an item, if something is; ``fail`` an item's error; ``wake`` has all
        look again who wait for an outcome.  ``by_caller``: the caller pulls, whenever he asks for an outcome;
        ``may_block``: the input is no list, say.
        """
        self._backend = backend
        self._items = items
        self._source = source
        self._collector = collector
        self.window = window
        self._batch = batch
        self._replay = replay
        self._fail = fail
        self._wake = wake
        self._parallel = parallel
        # One that takes all of the input does so now, as its caller wants it.
        self._at_once = window.size >= UNBOUNDED
        self._by_caller = by_caller and not self._at_once
        self._threaded = parallel and not by_caller and may_block
        self._room = Bell()  # the feeder waits for it
        self._pulling = threading.Lock()
        self._running = threading.RLock()  # where the caller runs the items
        self._reading = False
        self._held = False  # what was announced last may wait for more
        self._stopped = False
        self.taken = 0  #: outcomes that the stream has given out; fewer by those that a Ctrl-C has cost
        self.exhausted = False  #: nothing more comes
        self.error: BaseException | None = None  #: that comes behind the outcomes: of the input, or of the run

    def begin(self) -> None:
        """Begin to pull.  On failure: what an input raises that is pulled at once."""
        if self._at_once:
            with self._pulling:  # an arrival must not pull as well
                self._pull_all()
        elif self._by_caller:
            self.pull(self._free_places())
        elif self._threaded:
            threading.Thread(target=self._feed, name="procession-feeder", daemon=True).start()
        elif self._parallel:
            self.make_room()

    @property
    def drained(self) -> bool:
        """Whether the outcomes of all that was pulled have been given out, and nothing more comes."""
        return self.complete and not self._collector.has_next  # in this order: the last may be just arriving

    @property
    def complete(self) -> bool:
        """Whether the outcomes of all that was pulled have arrived, and nothing more comes."""
        return self.exhausted and self.all_arrived

    @property
    def all_arrived(self) -> bool:
        """Whether the outcomes of all that was pulled have arrived."""
        return self._collector.arrived >= self._source.added

    @property
    def finished(self) -> bool:
        """The same, and the input has come to its end, not to an error."""
        return self.complete and self.error is None

    def stop(self) -> None:
        """Pull nothing more, and announce nothing."""
        self._stopped = True
        self._room.ring()

    def detach(self) -> None:
        """The stream wants to hear nothing more: let go of it."""
        self._replay, self._fail, self._wake = None, _ignore, _ignore

    def end(self, error: BaseException | None) -> None:
        """The run is over before its input is, with ``error`` behind the outcomes."""
        self.error = error
        self.exhausted = True
        self._room.ring()

    def cut_off(self, error: BaseException | None) -> None:
        """The input ends here, with this error in place of what it still had; unless it is over for another reason."""
        if not self.exhausted:
            self.end(error)

    def refill(self) -> None:
        """Pull for the caller, who asks for an outcome, if it is his to pull."""
        if self._by_caller and not self.exhausted:
            self.pull(self._free_places())

    def on_taken(self) -> None:
        """An outcome has been taken.  By far not each is one for which it is time to pull others."""
        if not (self.exhausted or (not self._bytes and self.window.may_skip_look(self.taken))):
            self.make_room()

    def grow(self) -> None:
        """Widen the window, if the workers run out of items although the input has more, and somebody waits.

        Tiny items come back faster than a thread that pulls others gets its turn (5 ms in CPython): what it pulls
        in a turn has to last until the next.
        """
        if self.window.can_grow and not self._source.left() and not self._reading and not self.exhausted:
            self.window.grow()
            self.make_room()

    @property
    def _bytes(self) -> int:
        """Of shared memory, of items and results under way."""
        return self._source.bytes + self._collector.undelivered_bytes

    def _free_places(self) -> int:
        return self.window.room(self._source.added - self.taken, self._bytes)

    def make_room(self) -> None:
        """There may be room for others."""
        if self._threaded or self._by_caller:
            if self._threaded and self._wants_items:
                self._room.ring()
            return
        # One at a time, or items would change places; and not from within, when `pull` waits for room
        # and drives.  Who finds another pulling may leave: that one looks again when it has finished.
        while self._parallel and self._wants_items and self._pulling.acquire(blocking=False):
            try:
                self.pull(self._free_places())
            finally:
                self._pulling.release()

    @property
    def _wants_items(self) -> bool:
        """Whether it is time to pull some.  Not for every single item; but large ones are few."""
        if self.exhausted or self._stopped:
            return False
        room = self._free_places()
        return self.window.is_worth_it(room) or (room > 0 and self._bytes > 0)

    def _feed(self) -> None:
        """Pull items whenever there is room; in the feeder's thread."""
        while not (self.exhausted or self._stopped):
            while (room := self._free_places()) <= 0:
                if self._stopped or self.exhausted:
                    return  # type: ignore[unreachable]  # another thread stops it
                self._room.wait()
            self.pull(min(room, 1 + room // 2), singly=True)
        self._wake()

    def _pull_all(self) -> None:
        """Pull all items now.  On failure: what the input raises."""
        for number, item in enumerate(self._items):
            self._add(item)
            if number % self._backend.workers == 0:  # the workers need not wait for the rest
                self._submit()
        self.exhausted = True
        self._submit()

    def pull(self, count: int, *, singly: bool = False) -> None:
        """Pull up to ``count`` items and submit them; ``singly`` when each may take long to come."""
        if count <= 0:  # another thread was quicker
            return
        try:
            self._reading = True
            more = self._read(count, singly=singly)
            self._reading = False
        except BaseException as error:  # the input's own error, in its place
            self.cut_off(error)
            self._wake()
            if not singly and not isinstance(error, Exception):  # a Ctrl-C is the caller's, too; the feeder has none
                raise
        else:
            if not more:
                self.exhausted = True
                if self._batch is not None and self._batch.meter is not None:
                    self._batch.meter.set_total(self._source.added)
        self._submit()

    def run_one(self) -> None:
        """Pull an item for a backend that runs it in the calling thread; others that want one wait for that."""
        with self._running:
            if not self.exhausted and not self._collector.has_next:
                self.pull(1)

    def _read(self, count: int, *, singly: bool) -> bool:
        """Pull up to ``count`` items and add them; return False at the end of the input.

        Of a tiny item this loop is most of what it costs, so a number costs it no call.
        """
        source, numbers, replayed = self._source, NUMBERS, self._replay is not None
        wanted = source.added + count
        append = source.open_run().append
        for item in islice(self._items, count):
            if self._stopped:  # while the input was waited for
                return True
            kind = type(item)
            if kind in numbers and not replayed and (kind is not int or -LARGE < item < LARGE):
                append(item)
            else:
                self._add(item)
                append = source.open_run().append
            if singly and not source.queued and not self._submit(more=True):
                return True
        return source.added >= wanted

    def _add(self, item: Any) -> None:
        """Queue an item; one that cannot be pickled has its outcome, and one that the journal has, too."""
        replay = self._replay
        try:
            if replay is None or not replay(self._source.added, item):
                self._source.add(item, self._submit)
        except Exception as error:
            self._fail(self._source.skip(), error)

    def _submit(self, *, more: bool = False) -> bool:
        """Announce new items, ``more`` when others may follow at once; return False when the pool takes no more."""
        if self._stopped:
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
            self.cut_off(error)
            self._wake()
            return False
        return True


def as_iterator(items: Iterable[Any]) -> Iterator[Any]:
    """An iterator of the items that is one in all respects; of what ``iter`` gives, only ``__next__`` is certain."""
    found = iter(items)
    return found if isinstance(found, Iterator) else iter(found.__next__, object())
