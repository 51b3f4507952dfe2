"""Progress: counts how far one mapping is, and has it shown at the pace of a person.

A ``Meter`` belongs to one mapping.  It is told of outcomes by the thread that drives, one call at a time, and then
only adds and looks at the clock; what costs something, a ``Progress`` and its drawing, happens ten times a second at
most.  How it looks is for ``bars`` to know.

Invariant: whatever a bar or a callback does, no outcome is lost by it.  It is told nothing more then, with a warning.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from procession.engine.screen import screen

#: Between two drawings.
DRAW_SECONDS = 0.1

#: After so long without news, what moves by itself (the elapsed time) is drawn again.
QUIET_SECONDS = 1.0

#: Who closes a meter waits so long for another thread that draws it.
_CLOSE_SECONDS = 2.0


class TaskProgress(NamedTuple):
    """What an item that runs has told of itself, by ``procession.progress``."""

    n: float
    total: float | None
    message: str

    @property
    def part(self) -> float:
        """The part of the item that is done, as far as it has told."""
        return min(1.0, max(0.0, self.n / self.total)) if self.total else 0.0

    def __str__(self) -> str:
        """For example ``3/10 the third epoch``."""
        count = f"{self.n:g}/{self.total:g}" if self.total is not None else f"{self.n:g}"
        return f"{count} {self.message}".rstrip() if self.total is not None or not self.message else self.message


@dataclass(frozen=True)
class Progress:
    """How far a mapping is: what a function that is given as ``progress=`` gets, ten times a second at most."""

    done: int  #: items that have their outcome, of whatever kind
    failed: int  #: of them, those whose outcome is an error
    retried: int  #: how often an item has been tried again
    replayed: int  #: of ``done``, those whose outcome was in the journal
    total: int | None  #: all items, if that is known yet
    seconds: float  #: since the beginning
    rate: float  #: items a second since the beginning, without those of the journal
    left: float | None  #: seconds that the rest will take at this rate, if that can be known
    workers: int
    tasks: Mapping[int, TaskProgress] = field(default_factory=dict)  #: what running items have told, by position

    @property
    def parts(self) -> float:
        """What is done of the items that run, as a number of items."""
        return sum(each.part for each in self.tasks.values())

    def __str__(self) -> str:
        """One line, for a log."""
        words = [f"{self.done:,}"]
        if self.total is not None:
            words = [f"{self.done:,}/{self.total:,}"]
            words[0] += f" ({100 * self.done // self.total}%)" if self.total else ""
        words += counts(self)
        words += [pace(self.rate)] if self.rate else []
        words.append(f"{clock(self.seconds)} elapsed")
        if self.left is not None and self.done != self.total:
            words.append(f"{clock(self.left)} left")
        words += [f"item {at}: {told}" for at, told in list(self.tasks.items())[-1:]]
        return ", ".join(words)


def counts(progress: Progress) -> list[str]:
    """What there is to say of failures, retries and what a journal had; the last is how many workers there are."""
    found = [
        f"{number:,} {word}"
        for number, word in (
            (progress.failed, "failed"),
            (progress.retried, "retried"),
            (progress.replayed, "from the journal"),
        )
        if number
    ]
    return [*found, f"{progress.workers} worker{'s' if progress.workers != 1 else ''}"]


def pace(rate: float) -> str:
    """A rate, which is not 0, as people say it: items a second, or seconds an item."""
    number, unit = (rate, "items/s") if rate >= 1 else (1 / rate, "s/item")
    return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"


def clock(seconds: float) -> str:
    """A span of time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display(Protocol):
    """Shows progress to somebody."""

    patience: float  #: seconds without news after which it is to be drawn again

    def draw(self, progress: Progress) -> None:
        """Show this.  On failure: anything; it is closed then."""

    def close(self, progress: Progress) -> None:
        """Show this as the last one."""

    def abandon(self) -> None:
        """Leave the terminal as it is: it has failed."""


class Meter:
    """Counts one mapping's outcomes."""

    def __init__(
        self,
        display: Display,
        *,
        total: int | None,
        workers: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``workers`` tells how many there are now."""
        self._display: Display | None = display
        self._total = total
        self._workers = workers
        self._clock = clock
        self._done = self._failed = self._retried = self._replayed = 0
        self._tasks: dict[int, TaskProgress] = {}
        self._drawing = threading.Lock()
        self._pending = False  # something has changed since it was drawn
        self._began = now = clock()
        self._next = now  # not to be drawn before
        self._latest = now + display.patience  # to be drawn at the latest, even if nothing changes
        screen.add(self)

    def take(self, values: int, errors: int) -> None:
        """Outcomes have come in: so many values, and so many errors."""
        self._done += values + errors
        self._failed += errors
        self._note()

    def replay(self, values: int, errors: int) -> None:
        """Outcomes that a journal had: they are done, but nobody has worked for them."""
        self._replayed += values + errors
        self.take(values, errors)

    def on_retry(self) -> None:
        """An item is tried again."""
        self._retried += 1
        self._note()

    def on_task(self, position: int, n: float, total: float | None, message: str) -> None:
        """The running item at ``position`` tells how far it is."""
        self._tasks.pop(position, None)
        self._tasks[position] = TaskProgress(n, total, message)  # the newest is last
        self._note()

    def end_tasks(self, start: int, count: int) -> None:
        """Items do not run any more: what they have told of themselves is over."""
        if self._tasks:
            for position in [each for each in list(self._tasks) if start <= each < start + count]:
                self._tasks.pop(position, None)

    def set_total(self, total: int) -> None:
        """The end of the input is known."""
        self._total = total
        self._note()

    def _note(self) -> None:
        self._pending = True
        if self._clock() >= self._next:
            self.refresh()

    def is_due(self, now: float) -> bool:
        """See ``Watched``."""
        return now >= (self._next if self._pending else self._latest)

    def refresh(self) -> None:
        """See ``Watched``; if another thread is just drawing it, or a callback is being called, that is left to it."""
        if not self._drawing.acquire(blocking=False):
            return
        try:
            display = self._display
            if display is not None:
                self._pending = False
                self._show(display, display.draw)
                now = self._clock()
                # A callback that takes long must not be all that is done.
                self._next, self._latest = now + DRAW_SECONDS, now + display.patience
        finally:
            self._drawing.release()

    def close(self) -> None:
        """Show the last state, and nothing more.  Again: nothing."""
        screen.remove(self)
        taken = self._drawing.acquire(timeout=_CLOSE_SECONDS)
        try:
            display, self._display = self._display, None
            if display is not None:
                self._show(display, display.close)
        finally:
            if taken:
                self._drawing.release()

    def _show(self, display: Display, show: Callable[[Progress], None]) -> None:
        try:
            show(self.progress())
        except Exception as error:
            self._display = None
            screen.remove(self)
            display.abandon()
            _warn(error)

    def progress(self) -> Progress:
        """How far it is now."""
        seconds = max(self._clock() - self._began, 1e-9)
        tasks = dict(self._tasks)
        fresh = self._done - self._replayed
        speed = (fresh + sum(each.part for each in tasks.values())) / seconds
        left = None
        if self._total is not None and speed:
            left = max(0.0, self._total - self._replayed - speed * seconds) / speed
        return Progress(
            self._done,
            self._failed,
            self._retried,
            self._replayed,
            self._total,
            seconds,
            fresh / seconds,
            left,
            self._workers(),
            tasks,
        )


def _warn(error: Exception) -> None:
    text = f"progress= has failed, and is not shown any more; the work goes on: {type(error).__name__}: {error}"
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    except RuntimeWarning:  # warnings are errors; but this one is about nobody's outcome
        warnings.showwarning(text, RuntimeWarning, __file__, 0)


def make_meter(progress: Any, *, label: str, total: int | None, workers: Callable[[], int]) -> Meter | None:
    """The meter that ``progress=`` asks for, or None.

    ``label`` names the bar where ``progress`` does not.  On failure: what a class that is given raises when it is
    called.
    """
    if progress is None or progress is False:
        return None
    from procession.mapping.bars import make_display

    display = make_display(progress, label, total)
    return None if display is None else Meter(display, total=total, workers=workers)
