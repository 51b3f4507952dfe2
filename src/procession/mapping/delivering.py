"""What all sources have in common: how they take outcomes, and what they do before these get anywhere.

Read by the thread that drives, without the engine's lock, since that runs the user's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procession.engine.interning import Function
from procession.engine.work import Chunk
from procession.errors import TaskTimeout, WorkerDied
from procession.mapping.retries import Again, Retries
from procession.wire.messages import Part
from procession.wire.outcomes import Outcomes, read_outcomes

if TYPE_CHECKING:
    from procession.mapping.batch import Batch
    from procession.mapping.collectors import Collector
    from procession.mapping.progress import Meter
    from procession.options import TaskOptions

#: So many workers in a row may die before they have read what they were given, until it is what kills them.
_UNREAD_DEATHS = 5


class Delivering:
    """What all sources do with outcomes: read them, skip those that are known, have failed items tried again."""

    function: Function

    options: TaskOptions
    retries: Retries | None
    batch: Batch | None  #: what goes along with the mapping
    meter: Meter | None
    stoppable: bool
    dropped: bool
    gives_way = False

    def __init__(self, options: TaskOptions, again: Again | None, batch: Batch | None = None) -> None:
        """Follow the options; ``again`` is what the backend does to try an item again."""
        self.options = options
        self.dropped = self.queued = False
        self.batch = batch
        self.meter = None if batch is None else batch.meter
        self.retries = Retries(options, again) if options.retries and again is not None else None
        if self.retries is not None and self.meter is not None:
            self.retries.on_retry = self.meter.on_retry
        self._unread_deaths = 0  # of workers before they had read the items, since the last outcome
        self._failed_in: dict[Any, int] = {}  # of items that are to be tried again, by their key: the slot

    @property
    def timeout(self) -> float | None:
        """See ``Source``."""
        return self.options.timeout

    @property
    def shunned(self) -> int:
        """See ``Source``."""
        return 0

    @property
    def watched(self) -> bool:
        """See ``Source``."""
        return self.batch is not None and self.batch.watches

    def on_task(self, chunk: Chunk, index: int, n: float, total: float | None, message: str) -> None:
        """See ``Source``."""
        if self.meter is not None:
            self.meter.on_task(chunk.start + index, n, total, message)

    def is_open(self, function: Function, options: TaskOptions) -> bool:
        """Whether single calls of the function may be added."""
        return False

    def find(self, chunk: Chunk, task: Any) -> int | None:
        """See ``Source``."""
        return None

    def remove(self, task: Any) -> bool:
        """See ``Source``."""
        return False

    def describe(self, chunk: Chunk, index: int) -> tuple[int | None, str]:
        """See ``Source``."""
        raise NotImplementedError

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``."""
        raise NotImplementedError

    def deliver(self, chunk: Chunk, skip: int, part: Part, *, last: bool) -> None:
        """See ``Source``."""
        skip = max(0, skip)
        self._unread_deaths = 0
        outcomes = read_outcomes(part, skip)
        for at, error in outcomes.errors.items():
            if type(error) is TaskTimeout:  # it was raised there, where nothing is known of the item
                self.name_item(error, chunk, part.first + skip + at)
        if last and self.retries is None:
            chunk.frames = None  # a callback that sends more must not wait for the memory of what it is called for
        if outcomes.values:
            self.settle(chunk, part.first + skip, outcomes)

    def name_item(self, error: WorkerDied | TaskTimeout, chunk: Chunk, index: int) -> None:
        """See ``Source``."""
        error.index, error.item = self.describe(chunk, index)
        error.function = self.function.name

    def settle(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """Take the outcomes, but for those that are to be tried again."""
        if self.meter is not None:
            self.meter.end_tasks(chunk.start + first, len(outcomes.values))
        if self.retries is None or not outcomes.errors:
            self.take(chunk, first, outcomes)
            return
        for start, kept in self.retries.sort_out(chunk, first, outcomes, self._key):
            self.take(chunk, start, kept)

    def suspect(self, chunk: Chunk) -> bool:
        """See ``Source``."""
        self._unread_deaths += 1
        return self._unread_deaths <= _UNREAD_DEATHS

    def _key(self, chunk: Chunk, index: int) -> Any:
        """What an item is known by while it is tried again and again: its position."""
        return chunk.start + index

    def deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        """See ``Source``."""
        if count > 0:
            outcomes = Outcomes([None] * count, dict.fromkeys(range(count), error))
            self.settle(chunk, first, outcomes)


class Collecting(Delivering):
    """Hands outcomes to a collector, by position."""

    collector: Collector

    def take(self, chunk: Chunk, first: int, outcomes: Outcomes) -> None:
        """See ``Source``."""
        start = chunk.start + first
        if self.retries is not None:
            tries = {at: found for at in range(len(outcomes.values)) if (found := self.retries.pop(start + at))}
            if tries:
                outcomes = outcomes._replace(tries=tries)
        if self.batch is None:
            self.collector.take(start, outcomes)
            return
        counted = self.batch.take(chunk, start, outcomes)
        if counted.values:
            self.collector.take(start, counted)
        self.batch.settle()
