"""What a worker prints, on its way to the parent's ``sys.stdout`` and ``sys.stderr``.

Owns the two streams while they are forwarded.  The parent says which: when its own stream is the
process's real one, the worker's inherited descriptor leads to the same place, and nothing is sent; but while there
is a bar on that terminal, the parent writes above it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.wire.messages import OUTPUT, Forwarding

if TYPE_CHECKING:
    from procession.wire.channel import Channel
    from procession.worker.lastwords import LastWords

_NAMES = ("stdout", "stderr")


class _Forward(io.RawIOBase):
    """Sends what is written as OUTPUT messages."""

    def __init__(self, channel: Channel, number: int, note: Callable[[bytes], None], forwarding: int) -> None:
        self._channel = channel
        self._terminal = forwarding == Forwarding.TERMINAL
        self._note = note
        self._head = bytes((OUTPUT, number))
        self._fileno = number + 1
        self._pid = os.getpid()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fileno

    def isatty(self) -> bool:
        return self._terminal

    def write(self, data: Any) -> int:
        size = len(data)
        text = bytes(data)
        self._note(text)
        if os.getpid() != self._pid:  # a fork has no channel
            return os.write(self._fileno, text)
        self._channel.send([self._head, text])
        return size


class _Noted(io.FileIO):
    """The process's real stderr; what is written is noted, too."""

    def __init__(self, note: Callable[[bytes], None]) -> None:
        super().__init__(2, "w", closefd=False)
        self._note = note

    def write(self, data: Any) -> int:
        self._note(bytes(data))
        return super().write(data)


def _ignore(_data: bytes) -> None:
    pass


def _noted(stream: Any, note: Callable[[bytes], None]) -> Any:
    """The process's stderr, but with all that is written noted; as it is, if it is something else."""
    if getattr(stream, "encoding", None) is None:  # there is none
        return stream
    stream.flush()
    raw = io.BufferedWriter(_Noted(note))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True)


class Streams:
    """The worker's ``sys.stdout`` and ``sys.stderr``."""

    def __init__(self, channel: Channel, last_words: LastWords) -> None:
        self._channel = channel
        self._notes = (_ignore, last_words.note)
        self._real = (sys.stdout, _noted(sys.stderr, last_words.note))

    def redirect(self, flags: bytes) -> None:
        """Forward each stream as its flag, a ``Forwarding``, says; let the others go to the inherited descriptor."""
        for number, name in enumerate(_NAMES):
            if (before := getattr(sys, name)) is not None:
                before.flush()
            stream: Any = self._real[number]
            if flags[number]:
                raw = io.BufferedWriter(_Forward(self._channel, number, self._notes[number], flags[number]))
                stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
            setattr(sys, name, stream)

    def flush(self) -> None:
        """Send what is left of an unfinished line."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):  # closed or replaced by a task
                continue
