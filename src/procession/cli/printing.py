"""Printing: what shell commands have written comes out one after another, each when it has ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from procession.cli.outputs import OutputFailed, reader_gone
from procession.cli.shell import captured

if TYPE_CHECKING:
    from procession import Outcome


class Printed:
    """What commands have written, one after another, each when it has ended."""

    def __init__(self, *, tag: bool) -> None:
        self._tag = tag

    def write(self, item: Any, outcome: Outcome) -> None:
        """See `Output`.  On failure: OutputFailed."""
        from procession.engine.screen import screen

        result = captured(outcome)
        if result is None:
            return
        with screen.above():
            for stream, written in ((sys.stdout, result.stdout), (sys.stderr, result.stderr)):
                if stream is not None and written:
                    try:
                        stream.flush()
                        stream.buffer.write(self._tagged(item, written))
                        stream.flush()
                    except BrokenPipeError as error:
                        raise reader_gone(stream, stream.name) from error
                    except OSError as error:
                        raise OutputFailed(f"cannot write {stream.name}: {error.strerror}") from error

    def _tagged(self, item: Any, written: bytes) -> bytes:
        if not self._tag:
            return written
        head = f"{item}\t".encode("utf-8", "surrogateescape")
        return b"".join(head + line for line in written.splitlines(keepends=True))

    def close(self) -> None:
        """See `Output`."""
