"""Sources: where the items of a mapping come from, and how they are pickled.

``Sequence`` items exist already and are pickled by the chunk, when a worker is there for them: while
the caller of ``map`` waits, nothing can change under it.  ``Frames`` are pickled one by one, when they
are handed in, since after that the caller may do with them what it likes (a generator may fill the
same buffer again).  ``Calls`` are frames whose outcomes go to a task each.
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
from procession.wire.arena import NoRoom
from procession.wire.channel import FDS_LIMIT
from procession.wire.faults import reraise_interrupt
from procession.wire.mainmodule import Definition
from procession.wire.messages import Encoding, Part, Style, pack_frames, pack_range
from procession.wire.outcomes import Outcomes, read_outcomes
from procession.wire.parcel import Frame, Known, Parcel
from procession.wire.pickled import SEGMENTS_LIMIT, Pickled
from procession.wire.serial import loads

if TYPE_CHECKING:
    from procession.engine.store import Store
    from procession.mapping.collectors import Collector
    from procession.task import Task

EncodeItem = Callable[..., tuple[Any, tuple[Definition, ...]]]

#: Arrays that are remembered in case that they come again: most maps repeat one or two.
KNOWN_ARRAYS = 4

_INT64 = 1 << 63
_TEXT_LIMIT = 80


class _Delivering:
    """What all sources do with outcomes: read them, and skip those that are known."""

    def is_open(self, function: Function) -> bool:
        """Whether single calls of the function may be added."""
        return False

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``."""
        raise NotImplementedError

    def deliver(self, chunk: Chunk, skip: int, part: Part) -> None:
        """See ``Source``."""
        skip = max(0, skip)
        outcomes = read_outcomes(part, skip)
        if outcomes.values:
            self.take(chunk, part.first + skip, outcomes)

    def deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        """See ``Source``."""
        if count > 0:
            outcomes = Outcomes([None] * count, dict.fromkeys(range(count), error))
            self.take(chunk, first, outcomes)


class _Collecting(_Delivering):
    """Hands outcomes to a collector, by position."""

    collector: Collector

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``."""
        self.collector.take(chunk.start + first, outcomes)


class Sequence(_Collecting):
    """A sequence whose items are pickled by the chunk, when they are sent."""

    def __init__(
        self,
        function: Function,
        items: Any,
        style: Style,
        collector: Collector,
        chunksize: int | None,
    ) -> None:
        self.function = function
        self.style = style
        self.timed = False
        self.eager = False
        self.chunksize = chunksize
        self.collector = collector
        self._items = items
        self._next = 0
        self._total = len(items)
        self._returned: deque[tuple[int, int, bool]] = deque()
        self._known: Known | None = None  # once items have turned out to hold large buffers
        self._repeated: set[int] | None = None
        self._most = self._total  # items of one chunk, by their size

    def left(self) -> int:
        """See ``Source``."""
        if self._returned:
            start, stop, _apart = self._returned[0]
            return stop - start
        return self._total - self._next

    def cut(self, count: int) -> Chunk:
        """See ``Source``."""
        count = min(count, self._most)
        if self._returned:
            start, stop, apart = self._returned.popleft()
            if stop - start > count:
                self._returned.appendleft((start + count, stop, apart))
                stop = start + count
            return Chunk(self, start, stop - start, apart=apart)
        start = self._next
        self._next = stop = min(self._total, start + count)
        return Chunk(self, start, stop - start)

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None) -> None:
        """See ``Source``."""
        end = chunk.count if stop is None else stop
        if first < end:
            self._returned.appendleft((chunk.start + first, chunk.start + end, chunk.apart))

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
            frame = store.pack(pickled)
        except (NoRoom, MemoryError):  # not for all of them; one by one, some may fit
            return self._encode_apart(chunk, items, store)
        return Encoded(Encoding.BATCH, [frame], definitions_of(pickled.needs))

    def _encode_apart(self, chunk: Chunk, items: Any, store: Store) -> Encoded:
        """One frame an item; no more of them than fit into a message and into the store."""
        frames: list[Any] = []
        definitions: list[Definition] = []
        size = fds = 0
        for index, item in enumerate(items):
            try:
                known = self._known if self._repeats(item) else None
                frame, more = encode_item(item, f"item {chunk.start + index}", _packing(store, known))
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


class Frames(_Collecting):
    """Items that are pickled one by one as they are added."""

    def __init__(
        self,
        function: Function,
        style: Style,
        collector: Collector,
        chunksize: int | None,
        *,
        encode: EncodeItem,
        eager: bool,
        timed: bool = False,
        known: Known | None = None,
    ) -> None:
        self.function = function
        self.style = style
        self.timed = timed
        self.eager = eager
        self.chunksize = chunksize
        self.collector = collector
        self._encode = encode
        self._known = known
        self._sizes: dict[int, int] = {}
        self.bytes = 0  #: of shared memory behind the items that have no outcome yet
        self._frames: deque[tuple[int, Any, tuple[Definition, ...]]] = deque()
        self._added = 0

    def add(self, item: Any, before_wait: Callable[[], object]) -> None:
        """Pickle an item and queue it.

        ``before_wait`` is called when there is no room for it, before waiting for some.  On failure:
        ``NotPicklable``, ``MemoryError``, and nothing is added.
        """
        frame, definitions = self._encode(item, f"item {self._added}", self._known, before_wait)
        if type(frame) is Parcel:
            self._sizes[self._added] = frame.nbytes
            self.bytes += frame.nbytes
        self._frames.append((self._added, frame, definitions))
        self._added += 1

    def forget_known(self) -> None:
        """Nothing more will be added."""
        self._known = None

    def skip(self) -> int:
        """Leave out an item that got its outcome otherwise; return its position."""
        self._added += 1
        return self._added - 1

    @property
    def added(self) -> int:
        """Items that have been added or skipped."""
        return self._added

    def left(self) -> int:
        """See ``Source``."""
        return len(self._frames)

    def cut(self, count: int) -> Chunk:
        """See ``Source``."""
        start, frame, definitions = self._frames.popleft()
        frames, needed = [frame], list(definitions)
        load = _Load(frame)
        while len(frames) < count and self._frames:
            if self._frames[0][0] != start + len(frames):
                break  # an item in between has been skipped
            if self._sizes and not load.takes(self._frames[0][1]):
                break
            _position, frame, definitions = self._frames.popleft()
            frames.append(frame)
            needed.extend(definitions)
        return Chunk(self, start, len(frames), frames, definitions=tuple(needed))

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None) -> None:
        """See ``Source``."""
        frames = chunk.frames or []
        end = chunk.count if stop is None else stop
        for index in range(end - 1, first - 1, -1):
            self._frames.appendleft((chunk.start + index, frames[index], chunk.definitions))

    def item(self, chunk: Chunk, index: int) -> Any:
        """See ``Source``."""
        return (chunk.frames or [])[index]

    def encode(self, chunk: Chunk, store: Store) -> Encoded:
        """See ``Source``; the frames are there already."""
        return encode_frames(chunk)

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``."""
        if self._sizes:
            start = chunk.start + first
            for position in range(start, start + len(outcomes.values)):
                self.bytes -= self._sizes.pop(position, 0)
        super().take(chunk, first, outcomes)

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """See ``Source``."""
        return chunk.start + index, describe_frame((chunk.frames or [])[index], self.style)


class Calls(_Delivering):
    """Single calls of one function; each one's outcome goes to its task."""

    style = Style.CALL
    timed = False
    eager = True
    chunksize: int | None = None

    def __init__(self, function: Function) -> None:
        self.function = function
        self._calls: deque[tuple[Task[Any], Any, tuple[Definition, ...]]] = deque()
        self._tasks: dict[int, Task[Any]] = {}
        self._next = 0

    def is_open(self, function: Function) -> bool:
        """Whether another call of the function may be added."""
        mine = self.function
        return function.id == mine.id and function.definitions == mine.definitions

    def append(self, call: tuple[Task[Any], Any, tuple[Definition, ...]]) -> None:
        """Add a call: its task, its pickled arguments, and what they need of ``__main__``."""
        self._calls.append(call)

    def left(self) -> int:
        """See ``Source``; calls cancelled meanwhile drop out here."""
        calls = self._calls
        while calls and calls[0][0].cancelled():
            calls.popleft()[0].set_running_or_notify_cancel()
        return len(calls)

    def cut(self, count: int) -> Chunk:
        """See ``Source``; from here on the calls cannot be cancelled."""
        calls, tasks = self._calls, self._tasks
        frames: list[Any] = []
        definitions: list[Definition] = []
        start = self._next
        load: _Load | None = None
        while calls and len(frames) < count:
            if type(calls[0][1]) is Parcel:
                if load is None:
                    load = _Load(None)
                if not load.takes(calls[0][1]) and frames:
                    break
            task, frame, needed = calls.popleft()
            if task.begin():
                tasks[start + len(frames)] = task
                frames.append(frame)
                if needed:
                    definitions.extend(needed)
        self._next = start + len(frames)
        return Chunk(self, start, len(frames), frames, definitions=tuple(definitions))

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None) -> None:
        """See ``Source``."""
        frames = chunk.frames or []
        end = chunk.count if stop is None else stop
        for index in range(end - 1, first - 1, -1):
            task = self._tasks.pop(chunk.start + index)
            self._calls.appendleft((task, frames[index], chunk.definitions))

    def item(self, chunk: Chunk, index: int) -> Any:
        """See ``Source``."""
        return (chunk.frames or [])[index]

    def encode(self, chunk: Chunk, store: Store) -> Encoded:
        """See ``Source``; the frames are there already."""
        return encode_frames(chunk)

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``."""
        values, errors = outcomes.values, outcomes.errors
        tasks, position = self._tasks, chunk.start + first
        for offset, value in enumerate(values):
            task = tasks.pop(position + offset, None)
            if task is not None:
                task.settle(value, errors.get(offset) if errors else None)

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """See ``Source``."""
        return None, describe_frame((chunk.frames or [])[index], Style.CALL)


def shorten(value: Any) -> str:
    """A short text of an item, whatever its ``__repr__`` does."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 3] + "..."


def _objects(item: Any) -> Iterable[Any]:
    """An item, or its parts, as far as they may hold large buffers."""
    if type(item) is tuple or type(item) is list:
        return [part for part in item if type(part) not in _SMALL]
    if type(item) is dict:
        return [part for part in item.values() if type(part) not in _SMALL]
    return () if type(item) in _SMALL else (item,)


_SMALL = {int, float, bool, complex, str, type(None)}


def _packing(store: Store, known: Known | None) -> Callable[[Pickled], Frame]:
    return lambda pickled: store.pack(pickled, known)


class _Load:
    """What a chunk weighs, in shared memory and in descriptors: neither may be too much for a message."""

    def __init__(self, frame: Any) -> None:
        self._bytes = self._fds = 0
        self.takes(frame)

    def takes(self, frame: Any) -> bool:
        """Add a frame; return whether there was room for it beside the others."""
        if type(frame) is not Parcel:
            return True
        self._bytes += frame.nbytes
        self._fds += frame.fd_count
        return self._bytes <= CHUNK_BYTES and self._fds < FDS_LIMIT


def encoding_of(frames: Iterable[Any]) -> Encoding:
    """How frames are written: whether some are parcels."""
    for frame in frames:
        if type(frame) is Parcel:
            return Encoding.PARCELS
    return Encoding.FRAMES


def encode_frames(chunk: Chunk) -> Encoded:
    """A chunk whose frames are there already."""
    frames = chunk.frames or []
    return Encoded(encoding_of(frames), pack_frames(frames), chunk.definitions)


def describe_frame(frame: Frame, style: Style) -> str:
    """A short text of a pickled item, unless reading it would run code.

    It may be what has just killed a worker, so only plain data is read here.
    """
    if isinstance(frame, Parcel):
        return f"an item of {frame.nbytes:,} bytes"
    if not is_plain(frame):
        return f"an item of {len(frame)} pickled bytes"
    item = loads(frame)
    if style is not Style.CALL:
        return shorten(item)
    args, kwargs = item
    words = [shorten(arg) for arg in args]
    words += [f"{key}={shorten(value)}" for key, value in kwargs.items()]
    text = ", ".join(words)
    return text if len(text) <= 2 * _TEXT_LIMIT else text[: 2 * _TEXT_LIMIT] + "..."


def is_plain(pickled: bytes) -> bool:
    """Whether a pickle is of numbers, texts and containers alone: it names nothing to be called."""
    import pickletools

    names = {code.name for code, _argument, _position in pickletools.genops(pickled)}
    return not names & _CALLING


_CALLING = {
    "GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD",
    "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID",
}  # fmt: skip
