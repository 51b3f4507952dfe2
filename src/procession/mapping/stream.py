"""A stream: items in as room allows, outcomes out as an iterator.

Owns an intake, a source, and a collector.  Items are pulled while those in flight and those undelivered are fewer
than the window, so an endless input runs in constant memory.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from procession.backends.base import Backend, Capability
from procession.engine.work import Chunk
from procession.errors import JournalError, TaskCancelled, WaitTimeout
from procession.mapping.arrivals import StreamCollector
from procession.mapping.batch import begin_batch, length_of
from procession.mapping.frames import KNOWN_ARRAYS, Frames
from procession.mapping.intake import Intake, as_iterator
from procession.mapping.maps import give, intern
from procession.mapping.window import Window
from procession.options import TaskOptions
from procession.outcome import Outcome, OutcomeKind
from procession.wire.messages import Style
from procession.wire.outcomes import Outcomes
from procession.wire.parcel import Known


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
        pulled = as_iterator(items)
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
        self._awaiting: deque[Callable[[], object]] = deque()  # of event loops
        self._halted = False
        self._closed = False
        self._error_given = False
        window = options.window if window is None else window
        self._stops_in_order = ordered and options.stop_when is not None
        #: Outcomes are taken one by one: the window is the caller's own, or whether there are enough is asked of each.
        self._fixed = window is not None or self._stops_in_order
        self._parallel = Capability.PARALLEL in backend.capabilities
        may_block = not isinstance(items, (list, tuple, range))
        bounds = Window(backend.workers, chunksize or 1, window)
        self._intake = self._make_intake(pulled, bounds, by_caller=by_caller, may_block=may_block)
        try:
            self._intake.begin()
        except BaseException:  # and what has been pulled is withdrawn
            self.close(stop=False)
            raise

    def _make_intake(self, items: Iterator[Any], window: Window, *, by_caller: bool, may_block: bool) -> Intake:
        return Intake(
            self._backend,
            items,
            self._source,
            self._collector,
            window,
            batch=self._batch,
            replay=None if self._batch is None or self._batch.recorder is None else self._replay,
            fail=self._fail,
            wake=self._wake,
            parallel=self._parallel,
            by_caller=by_caller,
            may_block=may_block,
        )

    @property
    def ready(self) -> bool:
        """Whether ``next`` would not block."""
        return self._collector.has_next or self._ended or self._owes_error or self._is_cut_off

    @property
    def _is_cut_off(self) -> bool:
        """Whether nothing can come any more although the input may have more: the pool has ended, or is broken."""
        return self._backend.broken is not None and self._intake.all_arrived

    @property
    def _owes_error(self) -> bool:
        """Whether all outcomes have been taken, and an error of the input or of the run is next."""
        return self._drained and self._intake.error is not None and not self._error_given

    @property
    def _drained(self) -> bool:
        return not self._collector.has_next if self._halted else self._intake.drained

    @property
    def _ended(self) -> bool:
        return self._closed or (self._drained and not self._owes_error)

    def next(self, timeout: float | None = None) -> Outcome | None:
        """The next outcome, or None at the end.

        On failure: ``TimeoutError`` of multiprocessing when ``timeout`` seconds bring none.
        """
        intake, collector = self._intake, self._collector
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            intake.refill()
            if not collector.has_next:
                self._wait(timeout, end)
            with self._lock:
                if collector.has_next:
                    outcome = collector.pop()
                    intake.taken += 1
                    break
                if self._is_cut_off and not collector.has_next:
                    intake.cut_off(self._backend.broken)
                if self._drained or self._closed:
                    return self._finish()
            # Another thread was quicker; there will be more, or the end.
        if not (self._stops_in_order and self._is_last(outcome)):
            intake.on_taken()
        return outcome

    def _finish(self) -> Outcome | None:
        """There are no more outcomes: an error of the input or of the run comes behind them, once, and then nothing."""
        if self._drained:
            self._end_batch(finished=not self._halted and self._intake.finished)
        if self._owes_error:
            self._error_given = True
            return Outcome(self._intake.taken, OutcomeKind.ERROR, error=self._intake.error)
        self._let_go()
        return None

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
            self._intake.taken += len(values)
        self._intake.make_room()
        return values

    def _wait(self, timeout: float | None, end: float | None) -> None:
        """Block until there is an outcome, or the end.  On failure: ``TimeoutError``, at the moment ``end``."""
        if not self._parallel and not self.ready:
            self._intake.run_one()
        if not self.ready:
            self._intake.grow()
        left = None if end is None else max(0.0, end - time.monotonic())
        if not self._backend.wait(lambda: self.ready, left) and not self.ready and timeout is not None:
            raise WaitTimeout(f"no result after {timeout:g} seconds; the tasks go on")

    def _is_last(self, outcome: Outcome) -> bool:
        """Whether nothing more is wanted behind an outcome that is being given out in order."""
        if outcome.error is not None or self._batch is None or not self._batch.halting.is_enough(outcome.value):
            return False
        self._on_halt(keep=False)
        return True

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
        return outcome.error is not None and outcome.error is self._intake.error

    def close(self, *, stop: bool = True) -> None:
        """Drop what is queued, and ``stop`` what runs; nothing more is pulled."""
        if self._closed:
            return
        self._closed = True
        self._let_go()
        self._intake.stop()
        self._wake_loops()
        finished = self._intake.finished  # before what is interrupted arrives as well
        try:
            if not self._intake.complete:
                if stop:
                    self._backend.interrupt(self._source, TaskCancelled("the iterator was closed"))
                    if self._batch is not None:
                        self._batch.settle_down(self._backend, self._source)
                else:
                    self._backend.withdraw(self._source)
        finally:  # also if a Ctrl-C ends the wait
            self._end_batch(finished=finished)

    def drop(self) -> None:
        """Close it later, if that takes locks or the disk: it may be the garbage collector that drops it, anywhere.

        writer of the journal: amid a transaction, allocates | collector: closes the journal, waits for the writer
        """
        if self._closed or self._batch is None:
            self.close()
            return
        self._intake.stop()
        if not sys.is_finalizing():  # else no thread would run any more, and the journal has closed itself
            with suppress(RuntimeError):  # the same, as newer Pythons say it
                threading.Thread(target=self.close, name="procession-closing", daemon=True).start()

    def _on_halt(self, *, keep: bool = True) -> None:
        """The run is over before its items are; called by the thread that drives, pulls or takes.

        What has come in is still given out, if it is to be kept.
        """
        self._collector.end(keep=keep)
        self._halted = True
        self._intake.end(None if self._batch is None else self._batch.error)
        self._backend.interrupt(self._source, TaskCancelled("the run is over"))
        self._wake()

    def _end_batch(self, *, finished: bool) -> None:
        """Let go of what goes along with the stream; if the journal cannot be written to its end, that comes last."""
        if self._batch is not None:
            self._batch.close(finished=finished)
            self._intake.error = self._intake.error or self._batch.error

    def _let_go(self) -> None:
        """At the end, keep nothing until the garbage collector comes, nor until the iterator goes."""
        self._collector.detach()
        self._intake.detach()
        self._source.forget_known()

    def _on_arrival(self) -> None:
        """Outcomes have come in; called by the thread that drives."""
        self._intake.make_room()
        if self._awaiting:
            self._wake_loops()

    def _replay(self, position: int, item: Any) -> bool:
        """Give out what the journal has of an item, if it has something.  On failure: what naming the item raises."""
        assert self._batch is not None
        assert self._batch.recorder is not None
        try:
            known = self._batch.recorder.find(position, item)
        except JournalError as error:  # not of the item: the run is over
            self._batch.halting.fail(error)
            self._batch.settle()
            return True
        if known is None:
            return False
        give(self._batch, self._source.skip(), known, self._collector)
        self._wake()
        return True

    def _fail(self, position: int, error: BaseException) -> None:
        """An item has this error before it is sent."""
        self._source.take(Chunk(self._source, position, 1), 0, Outcomes([None], {0: error}))
        self._wake()
