"""Ranges of files as memory: mapped without a descriptor each, freed with their last reference.

Owns the calls into the C library, which are looked up when the first range is mapped.  A range is an
anonymous ``mmap`` of Python's, over which the file is mapped: so Python's own object, when it is
deallocated, unmaps it, and not before: a ``__del__`` of ours would be called by the garbage collector
while others in the same cycle may still read the memory.  A ``mmap`` of the file itself would duplicate
its descriptor (up to 3.12), and thousands of arrays would need thousands.
"""

from __future__ import annotations

import mmap
import os
import sys
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

PAGE = mmap.PAGESIZE

_MAP_FIXED = 0x10  # the same on every system with mmap
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # <linux/falloc.h>


class _Calls(NamedTuple):
    """What is needed of ``ctypes`` and of the C library."""

    mmap: Callable[..., int | None]
    address_of: Callable[[Any], int]
    byte: Any
    get_errno: Callable[[], int]
    fallocate: Callable[..., int] | None


@lru_cache(maxsize=1)
def _calls() -> _Calls:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    offset = ctypes.c_int64 if sys.maxsize > 2**32 else ctypes.c_long
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, offset]
    fallocate = getattr(library, "fallocate", None)
    if fallocate is not None:
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, offset, offset]
    return _Calls(library.mmap, ctypes.addressof, ctypes.c_ubyte, ctypes.get_errno, fallocate)


class Range(mmap.mmap):
    """A mapped range.  Views of it (``memoryview``, arrays) keep it mapped."""

    address: int
    #: Goes when the range does, and may be watched by a weak reference.  It is a code object since that is
    #: the one type whose weak references the garbage collector leaves alone: of any other it clears them,
    #: and calls their callbacks, while the ``__del__`` of something in the same cycle may still read the range.
    token: types.CodeType


def _token() -> types.CodeType:
    return _token.__code__.replace()


def map_range(fd: int, offset: int, length: int, *, shared: bool) -> Range:
    """Map bytes of a file, writable.  ``offset`` is a multiple of the page size.

    Writes to a ``shared`` range go to the file; otherwise they stay here, on copies of the pages.  On
    failure: ``OSError``.
    """
    calls = _calls()
    made = Range(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made.address = calls.address_of(calls.byte.from_buffer(made))
    made.token = _token()
    _map_over(made, fd, offset, mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE)
    return made


def make_private(mapped: Range, fd: int, offset: int) -> None:
    """Turn a shared range into a private one, where it is: what was written stays, what will be is ours alone."""
    _map_over(mapped, fd, offset, mmap.MAP_PRIVATE)


def _map_over(mapped: Range, fd: int, offset: int, flags: int) -> None:
    calls = _calls()
    address, length = mapped.address, len(mapped)
    if calls.mmap(address, length, mmap.PROT_READ | mmap.PROT_WRITE, flags | _MAP_FIXED, fd, offset) != address:
        number = calls.get_errno()
        raise OSError(number, f"{length} bytes could not be mapped: {os.strerror(number)}")


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Give the memory behind a range of an anonymous file back to the system; it reads as zeros.

    Return whether that is possible here.
    """
    fallocate = _calls().fallocate
    if fallocate is None:
        return False
    return fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length) == 0
