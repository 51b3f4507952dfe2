"""How a child's beginning and end are told: two fixed records in a pipe of its own.

The first is its pid, or a negative errno when it could not be forked; the second, written by its
reaper, is its exit code (negative for a signal) and its peak memory.  End of file without the second
means that the reaper itself is gone.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_START = struct.Struct("<q")
_ENDING = struct.Struct("<qq")
START_SIZE = _START.size
ENDING_SIZE = _ENDING.size


class Ending(NamedTuple):
    """How a process ended."""

    exitcode: int
    peak_kb: int  #: most resident memory, in KiB


def pack_start(pid: int) -> bytes:
    """Write the record of a start."""
    return _START.pack(pid)


def unpack_start(data: bytes) -> int:
    """Read the record of a start."""
    pid: int = _START.unpack(data)[0]
    return pid


def pack_ending(exitcode: int, peak_kb: int) -> bytes:
    """Write the record of an end."""
    return _ENDING.pack(exitcode, peak_kb)


def unpack_ending(data: bytes) -> Ending:
    """Read the record of an end."""
    return Ending(*_ENDING.unpack(data))
