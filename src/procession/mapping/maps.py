"""A map: all items through one function, all results in one list.

``run_map`` blocks and drives; ``start_map`` returns at once.  What an error does is the policy
``on_error``; the items' order is that of the results, whatever the order of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from procession.backends.base import Backend
from procession.engine.interning import Function
from procession.errors import TaskCancelled
from procession.mapping.collectors import ListCollector
from procession.mapping.sources import KNOWN_ARRAYS, Frames, Sequence
from procession.options import OnError
from procession.wire.messages import Style
from procession.wire.parcel import Known


def run_map(
    backend: Backend,
    function: Function,
    items: Iterable[Any],
    *,
    style: Style,
    chunksize: int | None,
    on_error: OnError,
) -> list[Any]:
    """Run every item and return the values, in order.

    On failure: what ``on_error`` says.  An interrupt stops what runs before it goes on its way.
    """
    sequence = as_sequence(items)
    if not len(sequence):
        return []
    stop = on_error is OnError.STOP
    collector = ListCollector(len(sequence), lambda: backend.withdraw(source), stop=stop)
    source = Sequence(function, sequence, style, collector, chunksize)
    finished = False
    try:
        backend.submit(source)
        backend.wait(lambda: collector.done)
        finished = not collector.stopped
    finally:
        if not finished:
            backend.interrupt(source, TaskCancelled("the map was stopped"))
    return finish(collector, on_error)


def finish(collector: ListCollector, on_error: OnError) -> list[Any]:
    """The results of a map that is done, under its policy."""
    errors = collector.errors
    if not errors:
        return collector.values
    if on_error is OnError.RAISE:
        raise errors[min(errors)]
    if on_error is OnError.STOP:
        raise collector.first_error or errors[min(errors)]
    if on_error is OnError.RETURN:
        for position, error in errors.items():
            collector.values[position] = error
        return collector.values
    return [value for at, value in enumerate(collector.values) if at not in errors]


def start_map(
    backend: Backend,
    function: Function,
    items: Iterable[Any],
    *,
    style: Style,
    chunksize: int | None,
    on_error: OnError,
    on_done: Callable[[ListCollector], None],
) -> None:
    """Pickle every item now, and begin; ``on_done`` is called once, with all outcomes.

    On failure: ``NotPicklable``, and nothing is run.
    """
    sequence = as_sequence(items)

    def done() -> None:
        if collector.stopped:
            backend.interrupt(source, TaskCancelled("an error stopped the map"))
        on_done(collector)

    stop = on_error is OnError.STOP
    collector: ListCollector = ListCollector(len(sequence), done, stop=stop)
    source = Frames(
        function,
        style,
        collector,
        chunksize,
        encode=backend.encode,
        eager=False,
        known=Known(KNOWN_ARRAYS, verify=False),  # until this call returns, the same array is the same content
    )
    for item in sequence:
        source.add(item, lambda: backend.submit(source))
    source.forget_known()
    if not len(sequence):
        done()
        return
    backend.submit(source)


def as_sequence(items: Iterable[Any]) -> Any:
    """The items as something that can be sliced: as it is, if it can be, else a list."""
    if isinstance(items, (list, tuple, range)):
        return items
    return list(items)
