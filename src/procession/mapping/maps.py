"""A map: all items through one function, all results in one list.

``run_map`` blocks and drives; ``start_map`` returns at once.  What an error does is the policy
``on_error``; the items' order is that of the results, whatever the order of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from procession.backends.base import Backend
from procession.checks import OnError
from procession.engine.interning import Function
from procession.errors import TaskCancelled
from procession.mapping.batch import Batch, begin_batch
from procession.mapping.collectors import ListCollector
from procession.mapping.frames import KNOWN_ARRAYS, Frames
from procession.mapping.halting import Halt
from procession.mapping.sequence import Sequence
from procession.options import TaskOptions
from procession.wire.messages import Style
from procession.wire.outcomes import Outcomes
from procession.wire.parcel import Known
from procession.worker.seeding import Seeded


def intern(backend: Backend, func: Callable[..., Any], options: TaskOptions) -> Function:
    """A function made fit to be run under the options.  On failure: ``NotPicklable``, ``TypeError``."""
    if options.seed is not None and callable(func):
        func = Seeded(func, options.seed)
    return backend.intern(func, thorough=True)


def run_map(
    backend: Backend,
    func: Callable[..., Any],
    items: Iterable[Any],
    *,
    style: Style,
    chunksize: int | None,
    options: TaskOptions,
) -> list[Any]:
    """Run every item and return the values, in order.

    On failure: what ``options.on_error`` says.  An interrupt stops what runs before it goes on its way.
    """
    function = intern(backend, func, options)
    sequence = as_sequence(items)
    if not len(sequence):
        return []
    batch = begin_batch(backend, func, options, len(sequence), stop_at_errors=True)
    collector = ListCollector(len(sequence), lambda: backend.withdraw(source))
    source = Sequence(function, sequence, style, collector, chunksize, options, backend.retry, batch)
    finished = False
    try:
        if batch is not None:
            batch.on_halt = collector.stop
            source.leave_out(_replay(batch, sequence, collector))
        if not collector.done:
            backend.submit(source)
            backend.wait(lambda: collector.done)
        finished = not collector.stopped
    finally:
        if not finished:
            backend.interrupt(source, TaskCancelled("the map was stopped"))
        if batch is not None:
            try:
                if not finished:
                    batch.settle_down(backend, source)
            finally:  # also if a second Ctrl-C ends the wait
                batch.close(finished=finished)
    return finish(collector, options.on_error, batch)


def _replay(batch: Batch, items: Any, collector: ListCollector) -> list[int]:
    """Give the collector what the journal has; return the positions of that."""
    known: list[int] = []
    if batch.recorder is not None:
        for position, outcome in batch.recorder.find_all(items):
            known.append(position)
            give(batch, position, outcome, collector)
    return known


def give(batch: Batch, position: int, outcome: Outcomes, collector: Any) -> None:
    """Give a collector an outcome that the journal has, as far as it counts."""
    counted = batch.replay(outcome)
    if counted.values:
        collector.take(position, counted)
    batch.settle()


def finish(collector: ListCollector, on_error: OnError, batch: Batch | None = None) -> list[Any]:
    """The results of a map that is done, under its policy."""
    if batch is not None and batch.error is not None:
        batch.error.results = collector.results()  # type: ignore[attr-defined]
        raise batch.error
    errors = collector.errors
    is_whole = batch is None or batch.halt is not Halt.ENOUGH
    if not errors and is_whole:
        return collector.values
    if errors and on_error is OnError.RAISE:
        raise errors[min(errors)]
    if errors and on_error is OnError.STOP:
        raise collector.first_error or errors[min(errors)]
    results = collector.results()
    if on_error is OnError.RETURN:
        results.update(errors)
    return [results[position] for position in sorted(results)]


def start_map(
    backend: Backend,
    func: Callable[..., Any],
    items: Iterable[Any],
    *,
    style: Style,
    chunksize: int | None,
    options: TaskOptions,
    on_done: Callable[[ListCollector, Batch | None], None],
) -> None:
    """Pickle every item now, and begin; ``on_done`` is called once, with all outcomes.

    On failure: ``NotPicklable``, and nothing more is run: items before it may have been, if there was no room for all.
    """
    function = intern(backend, func, options)
    sequence = as_sequence(items)
    batch = begin_batch(backend, func, options, len(sequence), stop_at_errors=True)

    def done() -> None:
        if collector.stopped:
            backend.interrupt(source, TaskCancelled("the map was stopped"))
        if batch is not None:
            batch.close(finished=not collector.stopped)
        on_done(collector, batch)

    collector: ListCollector = ListCollector(len(sequence), done)
    source = Frames(
        function,
        style,
        collector,
        chunksize,
        options,
        encode=backend.encode,
        again=backend.retry,
        eager=False,
        known=Known(KNOWN_ARRAYS, verify=False),  # until this call returns, the same array is the same content
        batch=batch,
    )
    try:
        if batch is not None:
            batch.on_halt = collector.stop
        _add_all(source, sequence, collector, batch, lambda: backend.submit(source))
    except BaseException as error:
        backend.interrupt(source, TaskCancelled(f"the map was given up: {type(error).__name__}"))
        if batch is not None:
            batch.close(finished=False)
        raise
    if not len(sequence):
        done()
    elif source.left():
        backend.submit(source)


def _add_all(
    source: Frames, items: Any, collector: ListCollector, batch: Batch | None, submit: Callable[[], None]
) -> None:
    """Pickle all items but those that the journal has; ``submit`` is called when there is no room for more."""
    for item in items:
        if collector.stopped:  # an error, while there was no room for the rest
            break
        known = None
        if batch is not None and batch.recorder is not None:
            known = batch.recorder.find(source.added, item)
        if known is None:
            source.add(item, submit)
        else:
            give(batch, source.skip(), known, collector)  # type: ignore[arg-type]  # it has a recorder
    source.forget_known()


def as_sequence(items: Iterable[Any]) -> Any:
    """The items as something that can be sliced: as it is, if it can be, else a list."""
    if isinstance(items, (list, tuple, range)):
        return items
    return list(items)
