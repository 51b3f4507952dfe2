"""Passing: locks, queues, pipes and shared values of multiprocessing in the pickle of a task, at any time.

multiprocessing lets them be pickled only for a child that is starting, and asks the process object that does so for
a place for each descriptor.  A ``Passport`` answers in its stead: the descriptor travels with the message, as
segments do.  Owns nothing.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from procession.wire.pickled import attach
from procession.wire.segments import NO_MEMORY, Name, Segment


class _Passed:
    """Stands in a pickle for a descriptor; multiprocessing asks it to detach."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def detach(self) -> int:
        """The descriptor, in the receiver; the caller's to close."""
        return os.dup(self._segment.fd)


class Passport:
    """What multiprocessing takes for a starting child."""

    attaches = True  #: segments travel with the message, too
    DupFd = _Passed

    def duplicate_for_child(self, fd: int) -> Segment:
        """Have a descriptor travel; one copy serves all messages that are under way, and is closed with the last."""
        found = os.fstat(fd)
        # The same descriptor has the same name, so that what has not changed is not sent again.  The two ends of a
        # pipe are one file.
        end = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        return _under_way((found.st_ino, found.st_dev * 4 + end), lambda: os.dup(fd))


#: What travels at this moment, or waits for its turn.
_travelling: WeakValueDictionary[Name, Segment] = WeakValueDictionary()


def _under_way(name: Name, open_fd: Callable[[], int]) -> Segment:
    segment = _travelling.get(name)
    if segment is None:
        segment = _travelling[name] = Segment(name, open_fd(), NO_MEMORY)
    return segment


_passport = Passport()


@contextmanager
def passing() -> Iterator[None]:
    """Within, what only a starting child may get can be pickled for any worker."""
    from multiprocessing.context import get_spawning_popen, set_spawning_popen

    before = get_spawning_popen()
    if before is not None:
        yield
        return
    set_spawning_popen(_passport)  # type: ignore[arg-type]
    try:
        yield
    finally:
        set_spawning_popen(None)


def is_passing() -> bool:
    """Whether something is being pickled for a starting child, or as if it were."""
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def passes(reduce: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reducer of multiprocessing, for whom descriptors travel instead of being fetched later."""

    def reduced(obj: Any) -> Any:
        with passing():
            return reduce(obj)

    return reduced


def reduce_semaphore(semaphore: Any) -> Any:
    """A lock or another semaphore, which must have a name by which others find it.

    On failure: ``OnlyForForks``.
    """
    _check_named(semaphore._semlock, type(semaphore).__name__)
    _keep(semaphore)
    return semaphore.__reduce_ex__(2)


def reduce_raw_semaphore(semaphore: Any) -> Any:
    """What is in each of them, whose methods are theirs: ``lock.acquire`` as a function."""
    _check_named(semaphore, "Semaphore")
    return type(semaphore)._rebuild, (semaphore.handle, semaphore.kind, semaphore.maxvalue, semaphore.name)


class OnlyForForks(RuntimeError):
    """Something exists only in forks of this process."""


def _check_named(semaphore: Any, kind: str) -> None:
    if semaphore.name is None:
        raise OnlyForForks(
            f"this {kind} was made by the fork context of multiprocessing: only forks of this process can have it. "
            f"Make it with procession.{kind}() instead"
        )


def _keep(semaphore: Any) -> None:
    """Have a semaphore live until the message is read, though its owner lets go of it: its name goes with it."""
    name = semaphore._semlock.name
    segment = _under_way((hash(name), -1), lambda: os.open(os.devnull, os.O_RDONLY))
    segment.kept = semaphore
    attach(segment)
