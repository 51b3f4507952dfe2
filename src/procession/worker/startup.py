"""Turning a fresh child into a copy of its parent's circumstances.

Runs once, in the child, right after it was forked or executed: before any user code.  Owns the
process-wide things that it sets: folder, environment, path, signals, streams, names.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import Any, NamedTuple

from procession.system import process_fd
from procession.wire.mirrored import install_main
from procession.worker.nesting import nesting
from procession.worker.seeding import renew


class Launch(NamedTuple):
    """What a child must know about the process that asked for it."""

    role: str  #: "worker" or "process"
    name: str
    identity: tuple[int, ...]
    daemon: bool
    parent_name: str
    parent_pid: int
    authkey: bytes
    cwd: str | None
    environ: dict[str, str]
    path: list[str]
    argv: list[str]
    main_path: str | None
    start_method: str
    own_group: bool  #: lead a process group, so that the terminal's Ctrl-C does not reach it
    tracker: bool  #: the last descriptor leads to the parent's resource tracker
    outputs: tuple[int, ...]  #: which of stdout and stderr came as the last descriptors, before the tracker's
    nesting: tuple[int, int]  #: its place in the tree of pools
    log_level: int | None = None  #: of multiprocessing's logger, if the parent has one
    log_to_stderr: bool = False
    preparations: tuple[str, ...] = ()  #: "module:function" to be called before anything else
    body: bytes = b""  #: the role's own payload, pickled


#: What children of this process are to call first, each as "module:function".
preparations: list[str] = []

#: The start method of this child, which is the default for its own children; None in the first process.
start_method: str | None = None


def adopt_method(method: str) -> None:
    """Make ``method`` the default of this child, and undo the choice that a fork has inherited."""
    global start_method
    start_method = method
    context = sys.modules.get("procession.context")
    if context is not None:
        context.default_context.forget_choice()


def settle(launch: Launch) -> None:
    """Take over the parent's folder, environment, import path, arguments and names."""
    if launch.own_group:
        os.setpgid(0, 0)
    if launch.cwd is not None:
        with suppress(OSError):  # removed meanwhile: the parent cannot see files there either
            os.chdir(launch.cwd)
    _update_environ(launch.environ)
    sys.path[:] = launch.path
    sys.argv[:] = launch.argv
    install_main(launch.main_path)
    adopt_method(launch.start_method)
    nesting.adopt(*launch.nesting)
    _reset_signals()
    _reset_streams()
    renew()
    _name(
        launch.name,
        launch.identity,
        daemon=launch.daemon,
        authkey=launch.authkey,
        parent_name=launch.parent_name,
        parent_pid=launch.parent_pid,
    )
    _set_logging(launch.log_level, to_stderr=launch.log_to_stderr)
    for each in launch.preparations:
        module, _, function = each.partition(":")
        getattr(importlib.import_module(module), function)()


def become_forked_worker(name: str, number: int) -> None:
    """Take a worker's streams and name, in a fork of the parent, which has given all the rest."""
    from multiprocessing import process as standard
    from multiprocessing import util

    parent = standard.current_process()
    util._run_after_forkers()  # type: ignore[attr-defined]
    _reset_streams()
    _name(
        name,
        (number,),
        daemon=False,
        authkey=bytes(parent.authkey),
        parent_name=parent.name,
        parent_pid=os.getppid(),
    )


def _update_environ(environ: dict[str, str]) -> None:
    for name in set(os.environ) - set(environ):
        del os.environ[name]
    for name, value in environ.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _reset_streams() -> None:
    """Read nothing, and write whole lines as they are printed: a killed worker flushes nothing."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if null != 0:
        os.close(null)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True, write_through=False)  # PYTHONUNBUFFERED sets it


def _set_logging(level: int | None, *, to_stderr: bool) -> None:
    """Let multiprocessing's logger say as much as the parent's."""
    if level is None:
        return
    from multiprocessing import util

    util.get_logger().setLevel(level)
    if to_stderr and not util._log_to_stderr:  # type: ignore[attr-defined]
        util.log_to_stderr()


def _name(
    name: str,
    identity: tuple[int, ...],
    *,
    daemon: bool,
    authkey: bytes,
    parent_name: str,
    parent_pid: int,
) -> None:
    """Make ``multiprocessing.current_process()`` and ``parent_process()`` tell the truth."""
    from multiprocessing import process as standard

    current: Any = standard.BaseProcess.__new__(standard.BaseProcess)
    current._identity = identity
    current._config = {
        "authkey": standard.AuthenticationString(authkey),  # type: ignore[attr-defined]
        "semprefix": "/mp",
        "daemon": daemon,
    }
    current._parent_pid, current._parent_name = parent_pid, parent_name
    current._popen, current._closed = None, False
    current._target, current._args, current._kwargs = None, (), {}
    current._name = name
    module: Any = standard
    module._current_process = current
    module._parent_process = module._ParentProcess(parent_name, parent_pid, process_fd(parent_pid))
    module._children = set()
