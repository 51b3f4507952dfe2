"""The source of single calls: frames whose outcomes go to a task each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from procession.engine.interning import Function
from procession.engine.items import CALL
from procession.engine.work import Chunk, Encoded
from procession.mapping.delivering import Delivering
from procession.mapping.describing import describe_item
from procession.mapping.frames import Load, encode_frames
from procession.mapping.retries import Again
from procession.wire.mainmodule import Definition
from procession.wire.messages import Style
from procession.wire.outcomes import Outcomes
from procession.wire.parcel import Known, Parcel
from procession.worker.seeding import Seeded

if TYPE_CHECKING:
    from procession.backends.base import Backend
    from procession.engine.store import Store
    from procession.options import TaskOptions
    from procession.task import Task


class SingleCalls(Delivering):
    """Single calls of one function; each one's outcome goes to its task."""

    style = Style.CALL
    timed = False
    stoppable = True
    eager = True
    chunksize: int | None = None

    def __init__(self, function: Function, options: TaskOptions, again: Again | None = None) -> None:
        super().__init__(options, again)
        self.function = function
        self._calls: deque[tuple[Task[Any], Any, tuple[Definition, ...]]] = deque()
        self._tasks: dict[int, Task[Any]] = {}
        self._next = 0

    def is_open(self, function: Function, options: TaskOptions) -> bool:
        """Whether another call of the function may be added."""
        mine = self.function
        return function.id == mine.id and options is self.options and function.definitions == mine.definitions

    def append(self, call: tuple[Task[Any], Any, tuple[Definition, ...]]) -> None:
        """Add a call: its task, its pickled arguments, and what they need of ``__main__``."""
        self._calls.append(call)

    def left(self) -> int:
        """See ``Source``; calls cancelled meanwhile drop out here."""
        calls = self._calls
        while calls and calls[0][0].cancelled():
            calls.popleft()[0].set_running_or_notify_cancel()
        return len(calls)

    @property
    def shunned(self) -> int:
        """See ``Source``."""
        return self._failed_in.get(self._calls[0][0], 0) if self._failed_in and self._calls else 0

    def _key(self, chunk: Chunk, index: int) -> Any:
        """What a call is known by while it is tried again and again: its task."""
        return self._tasks.get(chunk.start + index)

    def cut(self, count: int, worker: int = 0) -> Chunk:
        """See ``Source``; from here on the calls cannot be cancelled."""
        calls, tasks = self._calls, self._tasks
        if worker and self.shunned == worker:
            calls.rotate(-1)  # others first
        frames: list[Any] = []
        definitions: list[Definition] = []
        start = self._next
        load: Load | None = None
        while calls and len(frames) < count:
            if type(calls[0][1]) is Parcel:
                if load is None:
                    load = Load(None)
                if not load.takes(calls[0][1]) and frames:
                    break
            task, frame, needed = calls.popleft()
            if self._failed_in:
                self._failed_in.pop(task, None)
            if task.begin():
                tasks[start + len(frames)] = task
                frames.append(frame)
                if needed:
                    definitions.extend(needed)
        self._next = start + len(frames)
        return Chunk(self, start, len(frames), frames, definitions=tuple(definitions))

    def give_back(self, chunk: Chunk, first: int, stop: int | None = None, *, failed: bool = False) -> None:
        """See ``Source``."""
        frames = chunk.frames or []
        end = chunk.count if stop is None else stop
        for index in range(end - 1, first - 1, -1):
            task = self._tasks.pop(chunk.start + index, None)
            if task is None:  # it has its outcome, by a reset
                continue
            self._calls.appendleft((task, frames[index], chunk.definitions))
            if failed:
                self._failed_in[task] = chunk.worker

    def find(self, chunk: Chunk, task: Any) -> int | None:
        """See ``Source``."""
        for index in range(chunk.count):
            if self._tasks.get(chunk.start + index) is task:
                return index
        return None

    def remove(self, task: Any) -> bool:
        """See ``Source``."""
        for call in self._calls:
            if call[0] is task:
                self._calls.remove(call)
                return True
        return False

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
                if self.retries is not None:
                    task.tries = tuple(self.retries.pop(task))
                task.settle(value, errors.get(offset) if errors else None)

    def settle(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``; a task that is tried again shows the tries that have failed."""
        super().settle(chunk, first, outcomes)
        if self.retries is not None:
            for offset in outcomes.errors:
                task = self._tasks.get(chunk.start + first + offset)
                if task is not None:
                    task.tries = tuple(self.retries.tries(task))

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """See ``Source``."""
        return None, describe_item(chunk, index, Style.CALL)


def run_call(
    backend: Backend,
    task: Any,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: TaskOptions,
    positions: Iterator[int],
    known: Known | None = None,
) -> None:
    """Have ``function(*args, **kwargs)`` run, with the outcome for ``task``.

    The arguments are pickled now; ``known`` arrays are not stored again.  With a seed the call draws from the stream of
    the next of ``positions``.  On failure: ``NotPicklable``, ``MemoryError``, ``PoolBroken``.
    """
    if options.seed is not None and callable(function):
        function, args = Seeded(function, options.seed), (next(positions), *args)
    interned = backend.intern(function, thorough=False)
    frame, definitions = backend.encode((args, kwargs), CALL, known, exclusive=not options.retries)

    def make(function: Function, options: TaskOptions) -> SingleCalls:
        return SingleCalls(function, options, backend.retry)

    backend.append(make, interned, options, (task, frame, definitions))
