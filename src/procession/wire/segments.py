"""Segments: memory that processes share on purpose, known to all of them by one name.

A segment is an anonymous file, mapped once in every process that has it, and gone with the last of
them.  It travels by descriptor: with our own messages (``pickled.attach``), with a starting child, or,
in the queues and pipes of multiprocessing, through its resource sharer.

Owns this process's table of segments, which does not keep them.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakValueDictionary

from procession.system import Descriptor, anonymous_file
from procession.system.mapping import map_range
from procession.wire.pickled import SEGMENTS_LIMIT, attach

Name = tuple[int, int]

#: The size of what is no memory but another descriptor, a pipe's for example, that travels as segments do.
NO_MEMORY = -1


class Segment:
    """One segment in this process."""

    __slots__ = ("__weakref__", "_file", "kept", "mapped", "name", "size")

    def __init__(self, name: Name, fd: int, size: int) -> None:
        self.name = name
        self._file = Descriptor(fd)  # ours from here on, whatever happens
        self.size = size
        self.kept: object = None  #: what must live as long
        if size != NO_MEMORY:
            self.mapped = map_range(fd, 0, max(1, size), shared=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segment) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def fd(self) -> int:
        """The descriptor of its file."""
        return self._file.fd

    @property
    def view(self) -> memoryview:
        """Its bytes; the view keeps the memory, but not the segment."""
        return memoryview(self.mapped)[: self.size]

    @property
    def address(self) -> int:
        """Where it is mapped here."""
        return self.mapped.address

    def __reduce__(self) -> Any:
        from multiprocessing.context import get_spawning_popen

        starting: Any = get_spawning_popen()
        if (starting is None or getattr(starting, "attaches", False)) and attach(self):
            return find, (self.name,)
        if getattr(starting, "attaches", False):
            raise ValueError(f"more than {SEGMENTS_LIMIT} queues, pipes, locks and shared arrays in one item")
        from multiprocessing.reduction import DupFd

        return _receive, (self.name, DupFd(self.fd), self.size)


_known: WeakValueDictionary[Name, Segment] = WeakValueDictionary()
_lock = threading.Lock()


def create(size: int) -> Segment:
    """Make a segment of zeros.  On failure: ``MemoryError``."""
    words = memoryview(os.urandom(16)).cast("q")
    try:
        fd = anonymous_file("procession-segment", max(1, size))
        segment = Segment((words[0], words[1]), fd, size)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"the system has no room for {size:,} bytes of shared memory: {error}") from error
    _known[segment.name] = segment
    return segment


def adopt(name: Name, fd: int, size: int) -> Segment:
    """The segment of this name; maps ``fd``, which is then the segment's, if it is not here yet."""
    with _lock:
        segment = _known.get(name)
        if segment is None:
            segment = _known[name] = Segment(name, fd, size)
        else:
            os.close(fd)
        return segment


def find(name: Name) -> Segment:
    """The segment of this name, which came with the message that is being read."""
    return _known[name]


def _receive(name: Name, dup: Any, size: int) -> Segment:
    """Rebuild a segment whose descriptor comes by multiprocessing's own ways."""
    return adopt(name, dup.detach(), size)  # fetched even if it is here: the sender keeps it until then


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
