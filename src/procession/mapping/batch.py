"""A batch: what goes along with one mapping: the rule that ends it early, its journal, its meter.

Made by the mapping, with its options; most have none.  ``take`` is called by the thread that drives, ``replay`` by
whoever pulls the input, so a lock keeps the counts.  Nothing here is raised to either of them: what makes it
impossible to go on ends the run, and its caller gets it behind the outcomes that there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.errors import JournalError, TaskCancelled
from procession.mapping.halting import Halt, Halting, make_halting
from procession.mapping.retries import part_of

if TYPE_CHECKING:
    from procession.backends.base import Backend
    from procession.engine.work import Chunk, Source
    from procession.mapping.progress import Meter
    from procession.mapping.recording import Recorder
    from procession.options import TaskOptions
    from procession.wire.outcomes import Outcomes


#: How long a run that is interrupted waits for what its items have done already, so that the journal has it.  What
#: stops when it is asked to takes some milliseconds, and what does not is looked at twice in that time.
SETTLE_SECONDS = 0.3


def _nothing() -> None:
    pass


class Batch:
    """Sees every outcome of one mapping once, before its consumer does."""

    def __init__(self, halting: Halting, recorder: Recorder | None, meter: Meter | None) -> None:
        self.halting = halting
        self.recorder = recorder
        self.meter = meter
        #: Called once, when the run is over before its items are; what comes behind that does not count.
        self.on_halt: Callable[[], object] = _nothing
        # Reentrant: a progress function or a rule, both the user's, may close the iterator that it is called for.
        self._lock = threading.RLock()
        self._closed = False

    def take(self, chunk: Chunk, start: int, outcomes: Outcomes) -> Outcomes:
        """Note outcomes that have come in; return those that count."""
        with self._lock:
            kept = self.halting.see(outcomes)
            if self.recorder is not None and not self._closed:  # also what does not count: it has been done
                try:
                    self.recorder.record(chunk, start, outcomes)
                except JournalError as error:
                    self.halting.fail(error)
            if self.meter is not None:
                dropped = sum(isinstance(error, TaskCancelled) for error in outcomes.errors.values())
                errors = len(outcomes.errors) - dropped
                self.meter.take(len(outcomes.values) - errors - dropped, errors)
        return outcomes if kept == len(outcomes.values) else part_of(outcomes, 0, kept)

    def replay(self, outcomes: Outcomes) -> Outcomes:
        """Note an outcome that the journal had; return it if it counts."""
        with self._lock:
            kept = self.halting.see(outcomes)
            if self.meter is not None:
                errors = len(outcomes.errors)
                self.meter.replay(len(outcomes.values) - errors, errors)
        return outcomes if kept else part_of(outcomes, 0, 0)

    def settle(self) -> None:
        """Behind the outcomes that are taken: say it if the run is over."""
        if self.halting.halt is not None:
            on_halt, self.on_halt = self.on_halt, _nothing
            on_halt()

    @property
    def watches(self) -> bool:
        """Whether outcomes are wanted before their chunk is done: to be seen, or to be kept."""
        return self.meter is not None or self.recorder is not None

    @property
    def halt(self) -> Halt | None:
        """Why the run is over before its items are, or None."""
        return self.halting.halt

    @property
    def error(self) -> BaseException | None:
        """What the caller gets behind the outcomes, if anything."""
        return self.halting.error

    def settle_down(self, backend: Backend, source: Source) -> None:
        """The run has been interrupted: see to it that what has been done of it comes in, if somebody keeps that."""
        if self.recorder is not None and not self._closed:
            backend.settle(source, SETTLE_SECONDS)

    def close(self, *, finished: bool) -> None:
        """Let go of everything; what the journal has is durable.  The first call counts."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.on_halt = _nothing
        try:
            if self.meter is not None:
                self.meter.close()
        finally:
            self._close_recorder(finished=finished)

    def _close_recorder(self, *, finished: bool) -> None:
        if self.recorder is not None:
            try:
                self.recorder.close(finished=finished)
            except JournalError as error:
                self.halting.fail(error)


def begin_batch(
    backend: Backend,
    func: Callable[..., Any],
    options: TaskOptions,
    total: int | None,
    *,
    stop_at_errors: bool = False,
    ordered: bool = False,
) -> Batch | None:
    """What the options ask for besides the values, or None if they ask for nothing.

    On failure: ``JournalError``, when the journal cannot be opened.
    """
    halting = make_halting(options, total, stop_at_errors=stop_at_errors, ordered=ordered)
    if halting is None and options.journal is None and options.progress is None:
        return None
    recorder, meter = None, None
    if options.journal is not None:
        from procession.mapping.recording import open_recorder

        recorder = open_recorder(func, options, total)
    if options.progress is not None:
        from procession.engine.interning import function_name
        from procession.mapping.progress import make_meter

        label = options.label or function_name(func)
        try:
            meter = make_meter(
                options.progress, label=label, total=total, workers=lambda: len(backend.worker_processes())
            )
        except BaseException:  # the caller's own class of bars raises
            if recorder is not None:
                recorder.close(finished=False)
            raise
    if halting is None:
        halting = Halting(options, total, stop_at_errors=stop_at_errors, ordered=ordered)
    return Batch(halting, recorder, meter)


def shortest(iterables: tuple[Any, ...]) -> int | None:
    """How many items they make together, where that is known."""
    lengths = [length_of(each) for each in iterables]
    known = [each for each in lengths if each is not None]
    return min(known, default=0) if len(known) == len(lengths) else None


def length_of(items: Any) -> int | None:
    """How many items there are, where that is known."""
    try:
        return len(items)
    except TypeError:
        return None
