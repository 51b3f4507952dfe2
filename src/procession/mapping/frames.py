"""The source of an iterator or a map that goes on by itself: items that are pickled one by one, as they are added.

They are pickled when they are handed in, since after that the caller may do with them what it likes (a generator
may fill the same buffer again); but for plain ones, with which it can do nothing, see ``waiting``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from procession.engine.interning import Function
from procession.engine.store import CHUNK_BYTES
from procession.engine.work import Chunk, Encoded
from procession.mapping.delivering import Collecting
from procession.mapping.describing import describe_item
from procession.mapping.retries import Again
from procession.mapping.waiting import Plain, Waiting, is_plain
from procession.wire.channel import FDS_LIMIT
from procession.wire.mainmodule import Definition
from procession.wire.messages import Encoding, Style, pack_frames
from procession.wire.outcomes import Outcomes
from procession.wire.parcel import Known, Parcel

if TYPE_CHECKING:
    from procession.engine.store import Store
    from procession.mapping.batch import Batch
    from procession.mapping.collectors import Collector
    from procession.options import TaskOptions

EncodeItem = Callable[..., tuple[Any, tuple[Definition, ...]]]

#: Arrays that are remembered in case that they come again: most maps repeat one or two.
KNOWN_ARRAYS = 4


class Frames(Collecting):
    """Items that are pickled one by one as they are added."""

    def __init__(
        self,
        function: Function,
        style: Style,
        collector: Collector,
        chunksize: int | None,
        options: TaskOptions,
        *,
        encode: EncodeItem,
        eager: bool,
        timed: bool = False,
        known: Known | None = None,
        again: Again | None = None,
        batch: Batch | None = None,
    ) -> None:
        super().__init__(options, again, batch)
        self.stoppable = True
        self.gives_way = eager
        self.function = function
        self.style = style
        self.timed = timed or (batch is not None and batch.recorder is not None)
        self.eager = eager
        self.chunksize = chunksize
        self.collector = collector
        self._encode = encode
        self._known = known
        self._sizes: dict[int, int] = {}
        # Each is counted by one thread at a time: by whoever adds, and by whoever drives.
        self._bytes_added = self._bytes_done = 0
        self._waiting = Waiting()
        self._added = 0  # but for those of the run that is open

    def add(self, item: Any, before_wait: Callable[[], object]) -> None:
        """Pickle an item and queue it.

        ``before_wait`` is called when there is no room for it, before waiting for some.  On failure:
        ``NotPicklable``, ``MemoryError``, and nothing is added.
        """
        if is_plain(item):
            self.open_run().append(item)
            return
        self._close_run()
        exclusive = self.retries is None  # else it may be read twice
        frame, definitions = self._encode(item, f"item {self._added}", self._known, before_wait, exclusive=exclusive)
        if type(frame) is Parcel:
            self._sizes[self._added] = frame.nbytes
            self._bytes_added += frame.nbytes
        self._waiting.add(self._added, frame, definitions)
        self._added += 1

    @property
    def bytes(self) -> int:
        """Bytes of shared memory behind the items that have no outcome yet."""
        return self._bytes_added - self._bytes_done

    def forget_known(self) -> None:
        """Nothing more will be added."""
        self._known = None

    def skip(self) -> int:
        """Leave out an item that got its outcome otherwise; return its position."""
        self._close_run()
        self._added += 1
        return self._added - 1

    def open_run(self) -> list[Any]:
        """Where to append plain items, as long as no other method is called by the thread that adds."""
        self._added = self.added
        return self._waiting.open_run(self._added)

    def _close_run(self) -> None:
        self._added = self.added
        self._waiting.close_run()

    @property
    def added(self) -> int:
        """Items that have been added or skipped."""
        return max(self._added, self._waiting.end)

    def left(self) -> int:
        """See ``Source``."""
        return self._waiting.count

    @property
    def shunned(self) -> int:
        """See ``Source``."""
        return self._failed_in.get(self._waiting.first, 0) if self._failed_in and self._waiting.count else 0

    def cut(self, count: int, worker: int = 0) -> Chunk:
        """See ``Source``."""
        waiting = self._waiting
        if worker and self.shunned == worker:
            waiting.put_off()  # others first
        plain = waiting.take_plain(count)
        if plain is not None:
            start, items = plain
            self._failed_in.pop(start, None)
            return Chunk(self, start, len(items), items)
        start, frame, definitions = waiting.take()
        self._failed_in.pop(start, None)
        frames, needed = [frame], list(definitions)
        load = Load(frame)
        while len(frames) < count:
            following = waiting.peek(start + len(frames))
            if following is None or (self._sizes and not load.takes(following)):
                break
            _position, frame, definitions = waiting.take()
            frames.append(frame)
            needed.extend(definitions)
        return Chunk(self, start, len(frames), frames, definitions=tuple(needed))

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None, *, failed: bool = False) -> None:
        """See ``Source``."""
        frames = chunk.frames or []
        end = chunk.count if stop is None else stop
        part = frames[first:end]
        kept = Plain(part) if isinstance(frames, Plain) else part
        self._waiting.put_back(chunk.start + first, kept, chunk.definitions, singly=failed)
        if failed:
            for position in range(chunk.start + first, chunk.start + end):
                self._failed_in[position] = chunk.worker

    def item(self, chunk: Chunk, index: int) -> Any:
        """See ``Source``."""
        return (chunk.frames or [])[index]

    def encode(self, chunk: Chunk, store: Store) -> Encoded:
        """See ``Source``; the frames are there already, or take no code of the user's."""
        if isinstance(chunk.frames, Plain):
            return Encoded(Encoding.BATCH, [pickle.dumps(list(chunk.frames), 5)])
        return encode_frames(chunk)

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``."""
        if self._sizes:
            start = chunk.start + first
            done = sum(self._sizes.pop(position, 0) for position in range(start, start + len(outcomes.values)))
            if done:  # else it may be the thread that adds, with an item that could not be added
                self._bytes_done += done
        super().take(chunk, first, outcomes)

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """See ``Source``."""
        return chunk.start + index, describe_item(chunk, index, self.style)


class Load:
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
    encoding, parts = encoding_of(frames), pack_frames(frames)
    if encoding is Encoding.FRAMES:  # one buffer is sent in a tenth of the time of a thousand tiny ones
        parts = [parts[0], b"".join(parts[1:])]
    return Encoded(encoding, parts, chunk.definitions)
