"""Ranges of files as memory: mapped without a descriptor each, freed with their last reference.

Owns the calls into the C library, which are looked up when the first range is mapped: Python's own
``mmap`` duplicates the descriptor for every mapping (up to 3.12), and thousands of arrays would need
thousands of descriptors.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

PAGE = mmap.PAGESIZE

_MAP_FIXED = 0x10  # the same on every system with mmap
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # <linux/falloc.h>


class _Calls(NamedTuple):
    """What is needed of ``ctypes`` and of the C library."""

    mmap: Callable[..., int | None]
    munmap: Callable[[int, int], int]
    byte: Any
    get_errno: Callable[[], int]
    fallocate: Callable[..., int] | None
    failed: int  #: MAP_FAILED


@lru_cache(maxsize=1)
def _calls() -> _Calls:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    offset = ctypes.c_int64 if sys.maxsize > 2**32 else ctypes.c_long
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, offset]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fallocate = getattr(library, "fallocate", None)
    if fallocate is not None:
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, offset, offset]
    failed = ctypes.c_void_p(-1).value or 0
    return _Calls(library.mmap, library.munmap, ctypes.c_ubyte, ctypes.get_errno, fallocate, failed)


class Keeper:
    """Keeps a range mapped; the end of the last reference unmaps it, and then calls ``on_free``.

    ``on_free`` may be called in any thread and at any time, by the garbage collector: it must take no
    lock.
    """

    __slots__ = ("__weakref__", "_munmap", "address", "length", "on_free")

    def __init__(self, address: int, length: int, munmap: Callable[[int, int], int]) -> None:
        self.address = address
        self.length = length
        self.on_free: Callable[[], None] | None = None
        self._munmap = munmap

    def __del__(self) -> None:
        self._munmap(self.address, self.length)
        if self.on_free is not None:
            self.on_free()


class Region(NamedTuple):
    """A mapped range: its bytes, and what keeps it mapped while they are referred to."""

    view: memoryview
    keeper: Keeper


def make_private(keeper: Keeper, fd: int, offset: int) -> None:
    """Turn a shared range into a private one, where it is: what was written stays, what will be is ours alone."""
    calls = _calls()
    protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED
    if calls.mmap(keeper.address, keeper.length, protection, flags, fd, offset) != keeper.address:
        number = calls.get_errno()
        raise OSError(number, f"{keeper.length} bytes could not be mapped anew: {os.strerror(number)}")


def map_range(fd: int, offset: int, length: int, *, shared: bool) -> Region:
    """Map bytes of a file, writable.  ``offset`` is a multiple of the page size.

    Writes to a ``shared`` range go to the file; otherwise they stay here, on copies of the pages.
    The view, and everything made of it, keeps the range mapped.  On failure: ``OSError``.
    """
    calls = _calls()
    flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    address = calls.mmap(None, length, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, offset)
    if address is None or address == calls.failed:
        number = calls.get_errno()
        raise OSError(number, f"{length} bytes could not be mapped: {os.strerror(number)}")
    keeper = Keeper(address, length, calls.munmap)
    array = (calls.byte * length).from_address(address)
    array.keeper = keeper  # goes when the array, which every view refers to, goes
    return Region(memoryview(array).cast("B"), keeper)


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Give the memory behind a range of an anonymous file back to the system; it reads as zeros.

    Return whether that is possible here.
    """
    fallocate = _calls().fallocate
    if fallocate is None:
        return False
    return fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length) == 0
