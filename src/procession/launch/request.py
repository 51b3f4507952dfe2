"""The request for a child: the circumstances that it takes over, and what it is to do.

``Request`` collects the descriptors that the child gets while its payload is being pickled, since
connections, queues and locks may only be pickled for a starting child, and ask for it by name.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from procession.system import is_open
from procession.wire.inherit import InheritedFd
from procession.wire.serial import PROTOCOL
from procession.worker.nesting import nesting
from procession.worker.startup import Launch, preparations


class Request:
    """The description of one child to be started."""

    def __init__(
        self,
        role: str,
        name: str,
        *,
        identity: tuple[int, ...] = (),
        daemon: bool = False,
        method: str,
        own_group: bool = False,
        nesting: tuple[int, int] | None = None,
    ) -> None:
        self.role = role
        self.name = name
        self.identity = identity
        self.daemon = daemon
        self.method = method
        self.own_group = own_group
        self.nesting = nesting  #: the child's place in the tree of pools; None for the same as ours
        self.body = b""
        self.inherited: list[int] = []

    # The two that multiprocessing calls while it pickles for a starting child.
    DupFd = InheritedFd

    def duplicate_for_child(self, fd: int) -> int:
        """Pass ``fd`` along with the request; the position is what gets pickled."""
        self.inherited.append(fd)
        return len(self.inherited) - 1

    @contextmanager
    def pickling(self) -> Iterator[None]:
        """Within, things that only a starting child may get can be pickled."""
        from multiprocessing.context import get_spawning_popen, set_spawning_popen

        before = get_spawning_popen()
        set_spawning_popen(self)  # type: ignore[arg-type]
        try:
            yield
        finally:
            set_spawning_popen(before)

    def pack(self, fds: list[int]) -> tuple[bytes, list[int]]:
        """The request as bytes, and all descriptors that go with it, after ``fds`` of the role."""
        from multiprocessing.process import current_process

        tracker = _tracker_fd()
        log_level, log_to_stderr = _logging()
        current: Any = current_process()
        # Where our output goes now: a zygote has what it went to when that was started.
        outputs = [fd for fd in (1, 2) if is_open(fd)]
        launch = Launch(
            role=self.role,
            name=self.name,
            identity=self.identity,
            daemon=self.daemon,
            parent_name=current.name,
            parent_pid=os.getpid(),
            authkey=bytes(current.authkey),
            cwd=_cwd(),
            environ=dict(os.environ),
            path=list(sys.path),
            argv=list(sys.argv) if hasattr(sys, "argv") else [],
            main_path=getattr(sys.modules.get("__main__"), "__file__", None),
            start_method=self.method,
            own_group=self.own_group,
            tracker=tracker is not None,
            outputs=tuple(outputs),
            nesting=self.nesting or (nesting.depth, nesting.sharers),
            log_level=log_level,
            log_to_stderr=log_to_stderr,
            preparations=tuple(preparations),
            body=self.body,
        )
        passed = [*fds, *self.inherited, *outputs]
        if tracker is not None:
            passed.append(tracker)
        return pickle.dumps(launch, PROTOCOL), passed


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return None


def _logging() -> tuple[int | None, bool]:
    """The level of multiprocessing's logger, if something has asked for it, and whether it writes to stderr."""
    util: Any = sys.modules.get("multiprocessing.util")
    logger = getattr(util, "_logger", None)
    return (None, False) if logger is None else (logger.getEffectiveLevel(), bool(util._log_to_stderr))


def _tracker_fd() -> int | None:
    """The pipe to the resource tracker, if something has needed one."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    return getattr(module._resource_tracker, "_fd", None) if module is not None else None
