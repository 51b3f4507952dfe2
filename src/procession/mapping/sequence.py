"""The source of a map: a sequence whose items are pickled by the chunk, when a worker is there for them.

While the caller of ``map`` waits, nothing can change under it, so an array that comes again is stored once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from procession.engine.interning import Function, interner
from procession.engine.items import definitions_of, encode_item
from procession.engine.store import CHUNK_BYTES
from procession.engine.work import Chunk, Encoded, Unencodable
from procession.errors import NotPicklable
from procession.mapping.delivering import Collecting
from procession.mapping.describing import shorten
from procession.mapping.frames import KNOWN_ARRAYS, encoding_of
from procession.mapping.retries import Again
from procession.wire.arena import NoRoom
from procession.wire.channel import FDS_LIMIT
from procession.wire.faults import reraise_interrupt
from procession.wire.mainmodule import Definition
from procession.wire.messages import Encoding, Style, pack_frames, pack_range
from procession.wire.parcel import Frame, Known, Parcel
from procession.wire.pickled import SEGMENTS_LIMIT, Pickled

if TYPE_CHECKING:
    from procession.engine.store import Store
    from procession.mapping.batch import Batch
    from procession.mapping.collectors import Collector
    from procession.options import TaskOptions

_INT64 = 1 << 63


class Sequence(Collecting):
    """A sequence whose items are pickled by the chunk, when they are sent."""

    def __init__(
        self,
        function: Function,
        items: Any,
        style: Style,
        collector: Collector,
        chunksize: int | None,
        options: TaskOptions,
        again: Again | None = None,
        batch: Batch | None = None,
    ) -> None:
        super().__init__(options, again, batch)
        self.function = function
        self.style = style
        self.timed = batch is not None and batch.recorder is not None
        # The loop over tiny items is the fastest without; what is cancelled then has its worker killed.
        self.stoppable = options.timeout is not None
        self.eager = False
        self.chunksize = chunksize
        self.collector = collector
        self._items = items
        self._next = 0
        self._total = len(items)
        self._returned: deque[tuple[int, int, bool]] = deque()  # the ranges to be run before the rest
        self._returned_count = 0
        self._known: Known | None = None  # once items have turned out to hold large buffers
        self._repeated: set[int] | None = None
        self._most = self._total  # items of one chunk, by their size

    def left(self) -> int:
        """See ``Source``."""
        return self._returned_count + self._total - self._next

    def leave_out(self, positions: Iterable[int]) -> None:
        """Run all but the items at these positions, which are in order.  Before anything is run."""
        start = 0
        for position in (*positions, self._total):
            if start < position:
                self._returned.append((start, position, False))
                self._returned_count += position - start
            start = position + 1
        self._next = self._total

    @property
    def shunned(self) -> int:
        """See ``Source``."""
        return self._failed_in.get(self._returned[0][0], 0) if self._returned and self._failed_in else 0

    def cut(self, count: int, worker: int = 0) -> Chunk:
        """See ``Source``."""
        count = min(count, self._most)
        if worker and self.shunned == worker and self._next < self._total:  # others first
            return self._cut_next(count)
        if self._returned:
            start, stop, apart = self._returned.popleft()
            self._failed_in.pop(start, None)
            if stop - start > count:
                self._returned.appendleft((start + count, stop, apart))
                stop = start + count
            self._returned_count -= stop - start
            return Chunk(self, start, stop - start, apart=apart)
        return self._cut_next(count)

    def _cut_next(self, count: int) -> Chunk:
        start = self._next
        self._next = stop = min(self._total, start + count)
        return Chunk(self, start, stop - start)

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None, *, failed: bool = False) -> None:
        """See ``Source``."""
        end = chunk.count if stop is None else stop
        if first < end:
            self._returned.appendleft((chunk.start + first, chunk.start + end, chunk.apart))
            self._returned_count += end - first
            if failed:
                self._failed_in[chunk.start + first] = chunk.worker

    def item(self, chunk: Chunk, index: int) -> Any:
        """See ``Source``."""
        return self._items[chunk.start + index]

    def encode(self, chunk: Chunk, store: Store) -> Encoded:
        """See ``Source``.

        Items with large buffers go apart, since each has views of its own: what one task writes into
        its array, another that got the same must not see.
        """
        items = self._items[chunk.start : chunk.start + chunk.count]
        if type(items) is range and min(items.start, items.stop) >= -_INT64 and max(items.start, items.stop) < _INT64:
            return Encoded(Encoding.RANGE, [pack_range(items)])
        if type(items) is not list and type(items) is not tuple:
            items = list(items)
        if chunk.apart or self._known is not None:
            return self._encode_apart(chunk, items, store)
        try:
            pickled = interner.encoder.encode_batch(items)
        except BaseException as error:
            reraise_interrupt(error)
            return self._encode_apart(chunk, items, store)
        if pickled is None or (pickled.has_arrays and self._find_repeated()):
            # The caller of ``map`` waits, so the same array is the same content.
            self._known = Known(KNOWN_ARRAYS, verify=False)
            return self._encode_apart(chunk, items, store)
        size = pickled.nbytes
        if size > CHUNK_BYTES:
            self._most = max(1, chunk.count * CHUNK_BYTES // size)
        try:
            frame = store.pack(pickled, exclusive=self.retries is None)
            definitions = definitions_of(pickled.needs)
        except (NoRoom, MemoryError):  # not for all of them; one by one, some may fit
            return self._encode_apart(chunk, items, store)
        return Encoded(Encoding.BATCH, [frame], definitions)

    def _encode_apart(self, chunk: Chunk, items: Any, store: Store) -> Encoded:
        """One frame an item; no more of them than fit into a message and into the store."""
        frames: list[Any] = []
        definitions: list[Definition] = []
        size = fds = 0
        for index, item in enumerate(items):
            try:
                known = self._known if self._repeats(item) else None
                packing = _packing(store, known, exclusive=self.retries is None)
                frame, more = encode_item(item, f"item {chunk.start + index}", packing)
            except (NotPicklable, MemoryError) as error:
                raise Unencodable(index, error) from error
            except NoRoom:
                if not frames:
                    raise
                break
            frames.append(frame)
            definitions.extend(more)
            if type(frame) is Parcel:
                size, fds = size + frame.nbytes, fds + frame.fd_count
                if size >= CHUNK_BYTES or fds >= SEGMENTS_LIMIT:
                    break
        if fds >= FDS_LIMIT:  # a long message needs one more
            frames.pop()  # it has too many to go with the others, and never too many to go alone
        return Encoded(encoding_of(frames), pack_frames(frames), tuple(definitions), len(frames))

    def _repeats(self, item: Any) -> bool:
        """Whether an item, or a part of it, is an object that other items are or have, too."""
        repeated = self._find_repeated()
        return bool(repeated) and any(id(part) in repeated for part in _objects(item))

    def _find_repeated(self) -> set[int]:
        """The objects that several items are or have; in a batch, they would be one object in the worker."""
        if self._repeated is None:
            counts = Counter(id(part) for each in self._items for part in _objects(each))
            self._repeated = {key for key, count in counts.items() if count > 1}
        return self._repeated

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """See ``Source``."""
        position = chunk.start + index
        return position, shorten(self._items[position])


def _objects(item: Any) -> Iterable[Any]:
    """An item, or its parts, as far as they may hold large buffers."""
    if type(item) is tuple or type(item) is list:
        return [part for part in item if type(part) not in _SMALL]
    if type(item) is dict:
        return [part for part in item.values() if type(part) not in _SMALL]
    return () if type(item) in _SMALL else (item,)


_SMALL = {int, float, bool, complex, str, type(None)}


def _packing(store: Store, known: Known | None, *, exclusive: bool) -> Callable[[Pickled], Frame]:
    return lambda pickled: store.pack(pickled, known, exclusive=exclusive)
