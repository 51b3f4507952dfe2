"""Bars: how progress is shown, on a terminal, in a notebook, in a log, by somebody's own bar or function.

``make_display`` chooses; each ``Display`` is drawn by the thread that its meter is drawn by.  What stands on the
terminal is drawn under the lock of the ``Screen``, which makes room for what others write.

Invariants: no thread is started, no lock of several processes is made, and no setting of tqdm that others see is
changed: our bars are subclasses with settings of their own.  They do share tqdm's list of bars, so that ours take
the lines below those of the caller, and ``tqdm.write`` makes room for both.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TextIO

from procession.engine.screen import is_terminal, screen
from procession.mapping.progress import QUIET_SECONDS, Display, Progress, counts
from procession.worker.nesting import nesting

#: A log gets its first line after so many seconds, and each further one after half as long again, up to the last.
LOG_FIRST_SECONDS = 10.0
LOG_GROWTH = 1.5
LOG_LAST_SECONDS = 60.0

#: Of what a task tells, what there is room for behind a bar.
TOLD_COLUMNS = 40

_NEVER = float("inf")


class CallbackDisplay:
    """Calls a function with each ``Progress``."""

    patience = _NEVER  # where nothing has changed, there is nothing to say

    def __init__(self, callback: Callable[[Progress], object]) -> None:
        self._callback = callback

    def draw(self, progress: Progress) -> None:
        """See ``Display``."""
        self._callback(progress)

    def close(self, progress: Progress) -> None:
        """See ``Display``."""
        self._callback(progress)

    def abandon(self) -> None:
        """See ``Display``."""


class LogBar:
    """Writes a line now and then, where nothing can be drawn over."""

    patience = QUIET_SECONDS

    def __init__(self, label: str, stream: TextIO) -> None:
        self._label = label
        self._stream = stream
        self._step = LOG_FIRST_SECONDS
        self._due = LOG_FIRST_SECONDS
        self._written = False

    def draw(self, progress: Progress) -> None:
        """See ``Display``."""
        if progress.seconds >= self._due:
            self._step = min(LOG_LAST_SECONDS, self._step * LOG_GROWTH)
            self._due = progress.seconds + self._step
            self._write(progress)

    def close(self, progress: Progress) -> None:
        """See ``Display``."""
        if self._written or progress.seconds >= LOG_FIRST_SECONDS:
            self._write(progress)

    def _write(self, progress: Progress) -> None:
        self._written = True
        line = f"{self._label}: {progress}".replace("\r", " ").replace("\n", " ")
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except UnicodeError:
            self._stream.write(line.encode("ascii", "replace").decode() + "\n")
        except (OSError, ValueError):  # full, or closed
            pass

    def abandon(self) -> None:
        """See ``Display``."""


class GivenBar:
    """Moves a bar of the caller's: of tqdm, or whatever has ``update``."""

    patience = QUIET_SECONDS

    def __init__(self, bar: Any, *, ours: bool) -> None:
        """``ours``: it was made for this mapping, which closes it and tells it the total."""
        self._bar = bar
        self._ours = ours
        self._at = 0
        self._postfix = ""
        self._covers = _is_on_terminal(bar)
        if self._covers:
            from procession.mapping.terminal import canvas

            screen.cover(canvas)

    def draw(self, progress: Progress) -> None:
        """See ``Display``."""
        if self._covers:
            screen.paint(lambda: self._draw(progress))
        else:
            self._draw(progress)

    def _draw(self, progress: Progress) -> None:
        bar, more = self._bar, progress.done - self._at
        if self._ours and progress.total is not None and getattr(bar, "total", 0) is None:
            bar.total = progress.total
        self._tell(progress)
        if more:
            self._at = progress.done
        if (not more or bar.update(more) is not True) and hasattr(bar, "refresh"):
            bar.refresh()

    def _tell(self, progress: Progress) -> None:
        set_postfix = getattr(self._bar, "set_postfix_str", None)
        postfix = postfixes(progress)[0]
        if set_postfix is not None and postfix != self._postfix:
            self._postfix = postfix
            set_postfix(postfix, refresh=False)

    def close(self, progress: Progress) -> None:
        """See ``Display``."""
        covers, self._covers = self._covers, False
        if covers:
            screen.uncover(lambda: self._end(progress))
        else:
            self._end(progress)

    def _end(self, progress: Progress) -> None:
        self._draw(progress)
        close = getattr(self._bar, "close", None)
        if self._ours and close is not None:
            close()

    def abandon(self) -> None:
        """See ``Display``."""
        if self._covers:
            self._covers = False
            screen.uncover(lambda: None)


def postfixes(progress: Progress) -> list[str]:
    """What stands behind the rate, from all that there is to say to the least."""
    *words, workers = counts(progress)
    told = [_cut(f"item {at}: {each}") for at, each in list(progress.tasks.items())[-1:]]
    choice = ([*words, workers, *told], [*words, *told], [*words, workers], words, words[:1] if progress.failed else [])
    return [", ".join(each) for each in choice]


def _cut(text: str) -> str:
    return text if len(text) <= TOLD_COLUMNS else text[: TOLD_COLUMNS - 3] + "..."


def _is_on_terminal(bar: Any) -> bool:
    """Whether a bar is one of tqdm's that stands on a terminal."""
    std: Any = sys.modules.get("tqdm.std")
    if std is None or not isinstance(bar, std.tqdm) or bar.disable or bar.gui:
        return False
    return is_terminal(bar.fp)


def make_display(progress: Any, label: str, total: int | None) -> Display | None:
    """What ``progress=`` asks for, or None where nobody would see it."""
    if progress is True or isinstance(progress, str):
        return _make_bar(label if progress is True else progress, total)
    called = progress.func if isinstance(progress, functools.partial) else progress
    if isinstance(called, type):
        given = progress.keywords if isinstance(progress, functools.partial) else {}
        return GivenBar(progress(**{**_settings(called, label, total), **given}), ours=True)
    if callable(getattr(progress, "update", None)):
        return GivenBar(progress, ours=False)
    return CallbackDisplay(progress)


def _settings(kind: type, label: str, total: int | None) -> dict[str, Any]:
    """What a class of bars is called with."""
    settings: dict[str, Any] = {"total": total, "desc": label}
    std: Any = sys.modules.get("tqdm.std")
    if std is not None and issubclass(kind, std.tqdm):
        settings.update(unit="item", smoothing=0)  # an average over all that was done is what the rest will take
    return settings


def _make_bar(label: str, total: int | None) -> Display | None:
    if nesting.depth:  # a worker: the bar of its parent tells
        return None
    stream = sys.stderr
    if in_notebook():
        from procession.mapping.terminal import make_notebook_bar

        return make_notebook_bar(label, total)
    if stream is None or getattr(stream, "closed", False):
        return None
    if not is_terminal(stream):
        return LogBar(label, stream)
    from procession.mapping.terminal import TerminalBar

    return TerminalBar(label, total, stream)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    kernel: Any = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()
