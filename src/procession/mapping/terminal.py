"""The bars that tqdm draws for us: on a terminal, and as a widget of a notebook.

Loads tqdm.  Drawn under the lock of the ``Screen``, by ``bars`` alone.

Invariants: see ``bars``.  A bar is drawn, cleared and closed without waiting for any lock of tqdm's, whose methods
keep theirs when a Ctrl-C comes in between.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from tqdm import std

from procession.engine.screen import is_terminal, screen
from procession.mapping.bars import GivenBar, postfixes
from procession.mapping.progress import QUIET_SECONDS, Progress

#: A terminal that does not know its size says 0, as that of a container or of a test may.
_COLUMNS, _ROWS = 80, 24

_LOCK_SECONDS = 2.0

#: What must be left of the bar itself, so that it is one.
_BAR_COLUMNS = 6


def shape(stream: Any) -> tuple[int, int]:
    """Columns and rows of the terminal behind a stream, less one each: a full last column would break the line."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):
        columns = rows = 0
    return (columns or _COLUMNS) - 1, (rows or _ROWS) - 1


class _Lock:
    """The screen's lock, for tqdm's own methods: a Ctrl-C leaves it taken, and nobody must wait for that for ever."""

    def acquire(self, *_how: Any) -> bool:
        return screen.lock.acquire(timeout=_LOCK_SECONDS)

    def release(self) -> None:
        with suppress(RuntimeError):  # it was not to be had
            screen.lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()


class Quiet:
    """What makes a class of tqdm start no monitor thread, and make no lock of several processes."""

    monitor_interval = 0
    _lock = _Lock()


class Tqdm(Quiet, std.tqdm):  # type: ignore[type-arg]  # it iterates over nothing
    """A bar of ours on a terminal."""

    def __init__(self, **settings: Any) -> None:
        self._pid = os.getpid()
        super().__init__(**settings)

    def fit(self, found: list[str], label: str) -> None:
        """Say as much behind the rate as leaves room for a bar; if need be, the label is cut, too."""
        self.desc = label + ": " if label else ""
        columns = shape(self.fp)[0] - (_BAR_COLUMNS if self.total else 0)
        for each in found:
            self.postfix = each
            over = self._columns() - columns
            if over <= 0:
                return
        kept = len(label) - over - 3
        if kept > 0:
            self.desc = f"{label[:kept]}...: "

    def _columns(self) -> int:
        """How long the line is without the bar."""
        found: int = std.disp_len(  # type: ignore[attr-defined]
            self.format_meter(**{**self.format_dict, "ncols": None, "bar_format": self._texts})
        )
        return found

    @property
    def _texts(self) -> str | None:
        return "{l_bar}{r_bar}" if self.total else None

    def leave_line(self) -> None:
        """Draw it for the last time; only the outermost one stays, and those below take the next line up."""
        below = [each for each in _on_terminal() if isinstance(each, Tqdm) and each.pos > self.pos >= 0]
        for each in below:
            each.clear(nolock=True)
        self.close()
        for each in below:
            each.pos -= 1
            each.refresh(nolock=True)

    def close(self) -> None:
        """As of tqdm; but a bar that a fork has inherited is its parent's to close."""
        if getattr(self, "_pid", 0) != os.getpid():
            self.disable = True
        super().close()


class Canvas:
    """All bars of tqdm on the terminal, whoever has made them."""

    def hide(self) -> None:
        """See ``Canvas`` in ``screen``."""
        for bar in _on_terminal():
            bar.clear(nolock=True)

    def show(self) -> None:
        """See ``Canvas`` in ``screen``."""
        for bar in _on_terminal():
            bar.refresh(nolock=True)


canvas = Canvas()


def _on_terminal() -> list[Any]:
    """The bars that stand there, from the top."""
    bars: Any = std.tqdm._instances  # type: ignore[attr-defined]
    found = [
        bar for bar in list(bars) if hasattr(bar, "start_t") and not (bar.disable or bar.gui) and is_terminal(bar.fp)
    ]
    return sorted(found, key=lambda bar: abs(bar.pos))


def _forget_inherited() -> None:
    """In a forked child: the parent's bars are not on its list, or its own would begin below them."""
    bars: Any = std.tqdm._instances  # type: ignore[attr-defined]
    for bar in list(bars):
        if isinstance(bar, Tqdm):
            bar.disable = True
            bars.discard(bar)


os.register_at_fork(after_in_child=_forget_inherited)


class TerminalBar:
    """A bar on a terminal."""

    patience = QUIET_SECONDS

    def __init__(self, label: str, total: int | None, stream: TextIO) -> None:
        self._encoding = getattr(stream, "encoding", None) or "ascii"
        self._label = self._shown(label)
        columns, rows = shape(stream)
        bar: Any = Tqdm(
            desc=self._label,
            total=total,
            file=stream,
            leave=None,  # only of the outermost
            ncols=columns,
            nrows=rows,
            smoothing=0,  # an average over all that was done is what the rest will take
            unit="item",
        )
        self._bar = bar
        self._covers = not bar.disable  # as TQDM_DISABLE has it
        if self._covers:
            bar.dynamic_ncols = shape
            screen.cover(canvas)

    def _shown(self, text: str) -> str:
        """One line of what the terminal can show of a text."""
        line = "".join(each if each.isprintable() else " " for each in text)
        return line.encode(self._encoding, "replace").decode(self._encoding)

    def draw(self, progress: Progress) -> None:
        """See ``Display``."""
        if self._covers:
            screen.paint(lambda: self._draw(progress))

    def _draw(self, progress: Progress) -> None:
        self._set(progress)
        self._bar.refresh(nolock=True)

    def _set(self, progress: Progress) -> None:
        bar = self._bar
        bar.total, bar.initial = progress.total, progress.replayed
        bar.n = progress.done
        if progress.parts and progress.total is not None:
            bar.n = min(progress.total, round(progress.done + progress.parts, 1))
        bar.fit([self._shown(each) for each in postfixes(progress)], self._label)

    def close(self, progress: Progress) -> None:
        """See ``Display``."""
        if self._covers:
            self._covers = False
            screen.uncover(lambda: self._end(progress))

    def _end(self, progress: Progress) -> None:
        self._set(progress)
        self._bar.leave_line()

    def abandon(self) -> None:
        """See ``Display``."""
        if self._covers:
            self._covers = False
            screen.uncover(lambda: None)
            self._bar.disable = True
            std.tqdm._instances.discard(self._bar)  # type: ignore[attr-defined]


def make_notebook_bar(label: str, total: int | None) -> GivenBar:
    """A bar for the cell of a notebook: a widget, or text where there are no widgets."""
    # Only the outermost one stays: of another's meter it is known before this one's.
    settings: dict[str, Any] = {"leave": not screen.wanted, "desc": label, "total": total, "unit": "item"}
    settings.update(smoothing=0, miniters=1)
    if importlib.util.find_spec("ipywidgets") is None:
        return GivenBar(Tqdm(**settings, file=sys.stderr, ncols=_COLUMNS), ours=True)
    from tqdm.notebook import tqdm_notebook

    class Widget(Quiet, tqdm_notebook):  # type: ignore[type-arg]  # it iterates over nothing
        """A bar of ours in a cell."""

    return GivenBar(Widget(**settings), ours=True)
