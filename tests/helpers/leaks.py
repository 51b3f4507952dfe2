"""What a test must leave as it found it: descriptors, children, threads, signal handlers, environment, cwd, /dev/shm.

`Snapshot.take()` before, `wait_until_clean(before)` after. What the libraries keep on purpose is not counted: the
standard library's resource tracker and fork server, and Procession's zygote, which serves all tests of a run, and whose
end with its process has tests of its own. The warm pool is ended; a test without processes costs well under a
millisecond.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SHM = Path("/dev/shm")
MARK = "PROCESSION_TEST_RUN"  # in the environment of everything that this run starts; its value is unique to the run
STDLIB_ARENA = re.compile(r"/pym-\d+-\w+ \(deleted\)$")  # the heap of shared ctypes keeps its arenas for ever
UNSTABLE_VARIABLES = frozenset({"PYTEST_CURRENT_TEST", "PYTEST_VERSION"})
PATIENCE = 6.0  # seconds: a child has the time to be reaped and a daemon thread to end, also on a busy machine


@dataclass(frozen=True)
class Snapshot:
    """The state of this process at one moment, as far as a test could spoil it."""

    descriptors: Counter[str]
    processes: frozenset[int]
    threads: frozenset[threading.Thread]
    handlers: dict[int, object]
    environment: dict[str, str]
    directory: str
    shm: frozenset[str]
    all_pids: frozenset[int] = field(repr=False)

    @classmethod
    def take(cls) -> Snapshot:
        """Look at everything now."""
        all_pids = frozenset(_all_pids())
        return cls(
            descriptors=Counter(_descriptors()),
            processes=frozenset(_descendants()),
            threads=frozenset(threading.enumerate()),
            handlers={number: signal.getsignal(number) for number in signal.valid_signals()},
            environment={k: v for k, v in os.environ.items() if k not in UNSTABLE_VARIABLES},
            directory=os.getcwd(),
            shm=frozenset(_shm_entries()),
            all_pids=all_pids,
        )


def differences(before: Snapshot, after: Snapshot, strict: bool = True) -> list[str]:
    """Return a line for each thing that is not as it was before; none if all is well.

    Not strict: a descriptor may have been closed, as those are that an earlier test, which failed, has left open.
    """
    lines = [f"new process: {_describe(pid)}" for pid in sorted(_new_processes(before, after))]
    lines += [f"new thread: {t.name} (daemon={t.daemon})" for t in after.threads - before.threads if t.is_alive()]
    lines += [f"new descriptor: {target}" for target in (after.descriptors - before.descriptors).elements()]
    closed = before.descriptors - after.descriptors if strict else Counter[str]()
    lines += [f"closed descriptor: {target}" for target in closed.elements()]
    lines += [f"new in /dev/shm: {name}" for name in sorted(after.shm - before.shm) if not _is_foreign(name)]
    lines += _changed("signal handler", before.handlers, after.handlers)
    lines += _changed("environment variable", before.environment, after.environment)
    if before.directory != after.directory:
        lines.append(f"cwd: {before.directory} -> {after.directory}")
    return lines


def wait_until_clean(before: Snapshot, patience: float = PATIENCE, strict: bool = True) -> list[str]:
    """Return what is still different after the libraries were shut down and `patience` seconds have passed."""
    shut_down_libraries()
    end = time.monotonic() + patience
    pause = 0.001
    while True:
        gc.collect()
        found = differences(before, Snapshot.take(), strict)
        if not found or time.monotonic() > end:
            return found
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def shut_down_libraries() -> None:
    """End the warm pool, if there is one."""
    warm = sys.modules.get("procession.warm")
    if warm is not None and warm._pool is not None:
        warm.shutdown()


def kill_all(pids: Iterable[int]) -> None:
    """Kill these processes, so that the next test starts clean."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def new_processes(before: Snapshot) -> set[int]:
    """Return the pids of the processes that this run has now and had not before."""
    return _new_processes(before, Snapshot.take())


def marked_processes(mark: str, among: Iterable[int] | None = None) -> set[int]:
    """Return the live processes started with this value of MARK in their environment, this one excluded."""
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for pid in _all_pids() if among is None else among:
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if wanted in variables and pid != os.getpid():
                found.add(pid)
    return found


def _new_processes(before: Snapshot, after: Snapshot) -> set[int]:
    """Children of children included, and those that lost their parent but carry the mark of this run."""
    descendants = after.processes - before.processes
    orphans = marked_processes(os.environ.get(MARK, "-"), after.all_pids - before.all_pids)
    return {pid for pid in descendants | orphans if pid not in kept_by_libraries()}


def _all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _descriptors() -> Iterator[str]:
    """What each descriptor points to; the standard library's own long-lived ones are left out."""
    kept = _descriptors_kept_by_libraries()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the directory's own descriptor is closed by now
            target = os.readlink(f"/proc/self/fd/{name}")
            listing = target.startswith(f"/proc/{os.getpid()}/fd")
            if int(name) not in kept and not listing and not STDLIB_ARENA.search(target):
                yield target


def _descendants() -> set[int]:
    """Pids of all descendants but those that the standard library keeps; psutil reads all of /proc, hence the check."""
    if not any(_child_lists()):
        return set()
    try:
        found = {child.pid for child in psutil.Process().children(recursive=True)}
    except psutil.Error:
        return set()
    return found - kept_by_libraries()


def _child_lists() -> Iterator[bytes]:
    """The kernel's list of children of each thread; one that looks full where the kernel keeps no such lists."""
    for thread in os.listdir("/proc/self/task"):
        try:
            yield Path(f"/proc/self/task/{thread}/children").read_bytes()
        except FileNotFoundError:
            yield b"" if not Path(f"/proc/self/task/{thread}").exists() else b"unknown"
        except ProcessLookupError:  # the thread has just ended
            yield b""


def _stdlib_server(module: str, instance: str) -> Any:
    return getattr(sys.modules.get(f"multiprocessing.{module}"), instance, None)


def kept_by_libraries() -> set[int]:
    """Return the pids of the resource tracker, the fork server and the zygote, which live as long as we do."""
    tracker = _stdlib_server("resource_tracker", "_resource_tracker")
    server = _stdlib_server("forkserver", "_forkserver")
    found = (getattr(tracker, "_pid", None), getattr(server, "_forkserver_pid", None), getattr(_zygote(), "pid", None))
    return {pid for pid in found if pid}


def _descriptors_kept_by_libraries() -> set[int]:
    tracker = _stdlib_server("resource_tracker", "_resource_tracker")
    server = _stdlib_server("forkserver", "_forkserver")
    found = [getattr(tracker, "_fd", None), getattr(server, "_forkserver_alive_fd", None)]
    zygote = _zygote()
    if zygote is not None and zygote.pid:
        found += [zygote._channel.fileno(), zygote._lifeline]
    start = sys.modules.get("procession.launch.start")
    if start is not None and start._lifeline.fds is not None:
        found += start._lifeline.fds
    return {descriptor for descriptor in found if descriptor is not None}


def _zygote() -> Any:
    return getattr(sys.modules.get("procession.launch.server"), "server", None)


def _shm_entries() -> list[str]:
    try:
        return os.listdir(SHM)
    except FileNotFoundError:
        return []


def _is_foreign(name: str) -> bool:
    """Say whether a /dev/shm entry is in use by a process that is not of this run, or gone, and so is not our leak.

    By inode: the C library maps a semaphore under a temporary name, and gives it its own only then.  What joblib
    and loky make is in use by nobody for some of the time.
    """
    if name.startswith(("joblib_", "sem.loky-")):
        return True
    try:
        inode = str((SHM / name).stat().st_ino)
    except FileNotFoundError:
        return True
    ours = _descendants() | {os.getpid()}
    return any(inode in _shm_inodes(pid) for pid in _all_pids() if pid not in ours)


def _shm_inodes(pid: int) -> set[str]:
    """Inodes of what the process has mapped from /dev/shm; the fifth column of its maps."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {line.split()[4] for line in lines if f" {SHM}/" in line}


def _changed(what: str, before: dict[Any, Any], after: dict[Any, Any]) -> list[str]:
    keys = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    return [f"{what} {key}: {before.get(key)!r} -> {after.get(key)!r}" for key in keys]


def _describe(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return f"{pid} ({process.status()}, parent {process.ppid()}) {' '.join(process.cmdline())[:160]}"
    except psutil.Error:
        return f"{pid} (gone)"
