"""What a worker prints, on its way to the parent's ``sys.stdout`` and ``sys.stderr``.

Owns the two streams while they are forwarded.  The parent says which: when its own stream is the
process's real one, the worker's inherited descriptor leads to the same place, and nothing is sent.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from procession.wire.messages import OUTPUT

if TYPE_CHECKING:
    from procession.wire.channel import Channel

_NAMES = ("stdout", "stderr")


class _Forward(io.RawIOBase):
    """Sends what is written as OUTPUT messages."""

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel = channel
        self._head = bytes((OUTPUT, number))
        self._fileno = number + 1

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fileno

    def write(self, data: Any) -> int:
        size = len(data)
        self._channel.send([self._head, bytes(data)])
        return size


class Streams:
    """The worker's ``sys.stdout`` and ``sys.stderr``."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._real = (sys.stdout, sys.stderr)

    def redirect(self, flags: bytes) -> None:
        """Forward each stream whose flag is set; let the others go to the inherited descriptor."""
        for number, name in enumerate(_NAMES):
            getattr(sys, name).flush()
            stream: Any = self._real[number]
            if flags[number]:
                raw = io.BufferedWriter(_Forward(self._channel, number))
                stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
            setattr(sys, name, stream)

    def flush(self) -> None:
        """Send what is left of an unfinished line."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):  # closed or replaced by a task
                continue
