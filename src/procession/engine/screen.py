"""The screen: what of this process's progress is shown, and what is written on the terminal beside it.

Owns the list of meters, and knows whether a bar stands on the terminal; how a bar is drawn, it does not know.
While one does, what workers print and log comes through this process (see ``Reporting``) and is written above the
bars, in whole lines.

Any thread draws: mostly the one that drives.  Drawing is a nicety, so whoever finds the lock taken leaves it to a
later look, and nothing that goes wrong here may cost an outcome: an exception of a bar ends with it.  User code (a
logging handler) runs without the lock, while the bars are kept away by ``_pauses``.

    driver of one pool: hides the bars, calls a handler | driver of another: an outcome comes, wants to draw: skipped
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

#: Between two looks at the meters while something runs.
SCREEN_SECONDS = 0.1

#: Under a flood of output, bars are drawn again only after this time: one costs some 0.1 ms, a line 5 us.
_SHOW_SECONDS = 0.05

#: Whoever writes waits so long for another that draws; a Ctrl-C at the wrong line may have left the lock taken.
_LOCK_SECONDS = 2.0

#: An unfinished line that is longer is written as it is.
_LINE_LIMIT = 10_000

#: Movements of the cursor, of bars within workers: they would draw over ours.  Colours may pass.
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTfhlsu]")


class Watched(Protocol):
    """Something that shows progress."""

    def is_due(self, now: float) -> bool:
        """Whether it is time to draw it."""

    def refresh(self) -> None:
        """Draw it."""


class Canvas(Protocol):
    """All bars on the terminal."""

    def hide(self) -> None:
        """Clear them away, and leave the cursor where they begin."""

    def show(self) -> None:
        """Draw them."""


class Screen:
    """What this process draws."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  #: of the terminal
        self._meters: dict[Watched, None] = {}
        self._canvas: Canvas | None = None
        self._covers = 0  # bars on the terminal
        self._hidden = False
        self._pauses = 0  # of those that write at this moment
        self._shown_at = 0.0
        self._rests: dict[tuple[int, int], str] = {}  # unfinished lines, by process and stream

    @property
    def wanted(self) -> bool:
        """Whether anybody is shown any progress."""
        return bool(self._meters)

    @property
    def covered(self) -> bool:
        """Whether a bar stands on the terminal."""
        return self._covers > 0

    def add(self, meter: Watched) -> None:
        """Have a meter drawn again and again while its mapping waits."""
        self._meters[meter] = None

    def remove(self, meter: Watched) -> None:
        """Forget a meter."""
        self._meters.pop(meter, None)

    def look(self, add_errand: Callable[..., None]) -> float | None:
        """Note the errand of drawing if that is due; return in how many seconds to look again, None for never."""
        if not self._meters:
            return None
        now = time.monotonic()
        if any(meter.is_due(now) for meter in list(self._meters)):
            add_errand(self.refresh)
        return SCREEN_SECONDS

    def refresh(self) -> None:
        """Draw what is due.  An errand."""
        now = time.monotonic()
        for meter in list(self._meters):
            if meter.is_due(now):
                meter.refresh()

    # The terminal.

    def cover(self, canvas: Canvas) -> None:
        """There is one more bar on the terminal."""
        if not self._covers:  # whatever a Ctrl-C has left
            self._hidden, self._pauses = False, 0
        self._canvas = canvas
        self._covers += 1

    def uncover(self, draw_last: Callable[[], None]) -> None:
        """A bar goes: ``draw_last`` leaves what is to stay of it; before, unfinished lines are written above it."""
        with self._taken():
            if self._covers == 1:
                self._write_rests()
            self._restore()
            try:
                draw_last()
            finally:
                self._covers = max(0, self._covers - 1)

    def paint(self, draw: Callable[[], None]) -> None:
        """Call ``draw``, which draws one bar, unless somebody is writing; where all are hidden, draw all before."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self._pauses:
                return
            self._restore()
            draw()
        finally:
            self.lock.release()

    @contextmanager
    def above(self) -> Iterator[None]:
        """Keep the bars away while the caller writes."""
        if not self._covers:
            yield
            return
        paused = 0
        try:
            with self._taken():
                self._pauses += 1
                paused = 1
                self._hide()
            yield
        finally:
            with self._taken():
                self._pauses = max(0, self._pauses - paused)
                if not self._pauses and time.monotonic() >= self._shown_at + _SHOW_SECONDS:
                    self._restore()

    def write(self, pid: int, number: int, text: str) -> None:
        """Write what the process ``pid`` has printed to our stdout or stderr (``number`` 0 or 1)."""
        stream = (sys.stdout, sys.stderr)[number]
        if not self._covers or not is_terminal(stream):
            _write(stream, text)
            return
        lines, end, rest = (self._rests.pop((pid, number), "") + text).rpartition("\n")
        rest = _last_state(rest)
        if len(rest) > _LINE_LIMIT:
            lines, end, rest = lines + end + rest, "\n", ""
        if rest:
            self._rests[pid, number] = rest
        if end:
            with self.above():
                _write(stream, "\n".join(map(_last_state, lines.split("\n"))) + end)

    def _write_rests(self) -> None:
        rests, self._rests = self._rests, {}
        if rests:
            self._hide()
        for (_pid, number), rest in rests.items():
            _write((sys.stdout, sys.stderr)[number], rest + "\n")

    def _hide(self) -> None:
        if not self._hidden:
            self._hidden = True
            self._try(lambda canvas: canvas.hide())

    def _restore(self) -> None:
        if self._hidden:
            self._hidden = False
            self._shown_at = time.monotonic()
            self._try(lambda canvas: canvas.show())

    def _try(self, act: Callable[[Canvas], None]) -> None:
        try:
            if self._canvas is not None:
                act(self._canvas)
        except Exception:  # of somebody's own bar: what it is about goes on without it
            self._canvas = None

    @contextmanager
    def _taken(self) -> Iterator[None]:
        taken = self.lock.acquire(timeout=_LOCK_SECONDS)
        try:
            yield
        finally:
            if taken:
                self.lock.release()

    def forget(self) -> None:
        """In a forked child: all of it is the parent's."""
        self.__init__()  # type: ignore[misc]


def is_terminal(stream: Any) -> bool:
    """Whether a stream, which may be closed or None, leads to a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError, AttributeError):  # closed, full, or None
        pass


def _last_state(line: str) -> str:
    """What a terminal would show of a line that has been written over again and again."""
    if "\r" in line:
        line = line.rstrip("\r").rpartition("\r")[2]
    return _MOVES.sub("", line) if "\x1b" in line else line


screen = Screen()
os.register_at_fork(after_in_child=screen.forget)
