"""``Process``: multiprocessing's, started by our zygote, and telling what ended it.

A face: everything about a process object is ``multiprocessing.process.BaseProcess``; here is how it is
started and watched.
"""

from __future__ import annotations

import multiprocessing.context
import multiprocessing.process as standard
import os
import pickle
import signal
from multiprocessing import util
from multiprocessing.process import (  # noqa: F401
    BaseProcess,
    active_children,
    current_process,
    parent_process,
)
from typing import Any

from procession.launch import Child, Request, start
from procession.launch.start import start_forked
from procession.system import anonymous_file, close_all, process_fd
from procession.wire.mainmodule import Mirror, pack_names
from procession.wire.parcel import describe_file, pack_file
from procession.wire.serial import PROTOCOL


class _Ended:
    """Adds to a process what it ended with."""

    @property
    def exception(self) -> BaseException | None:
        """The error that ended the process, with its remote traceback as the cause, or None.

        None as long as it runs, after a normal end or ``sys.exit``, and when it was killed: then
        ``exitcode`` tells.
        """
        process: Any = self
        popen = getattr(process, "_last_popen", None)
        return None if popen is None else popen.error()


class Process(_Ended, multiprocessing.context.Process):
    """A process object; see ``multiprocessing.Process``."""

    _start_method = None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        from procession.context import default_context

        return default_context.get_context().Process._Popen(process_obj)


class ForkServerProcess(_Ended, BaseProcess):
    """A process that is forked by the zygote."""

    _start_method = "forkserver"

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:  # noqa: N802
        return Popen(process_obj, "forkserver")


class SpawnProcess(_Ended, BaseProcess):
    """A process that is a fresh interpreter."""

    _start_method = "spawn"

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:  # noqa: N802
        return Popen(process_obj, "spawn")


class ForkProcess(_Ended, BaseProcess):
    """A process that is a fork of this one."""

    _start_method = "fork"

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:  # noqa: N802
        return Popen(process_obj, "fork")


class Popen:
    """A started process, as ``BaseProcess`` wants to see it."""

    def __init__(self, process_obj: Any, method: str) -> None:
        util._flush_std_streams()  # type: ignore[attr-defined]
        self.method = method
        self._error: BaseException | None = None
        self._report = anonymous_file("procession-report")
        try:
            self._child = self._fork(process_obj) if method == "fork" else self._ask(process_obj)
            self.pid = self._child.wait_started()
        except BaseException:
            os.close(self._report)
            raise
        self.sentinel = self._child.sentinel
        process_obj._last_popen = self
        self.finalizer = util.Finalize(self, _release, (self._child, self._report))

    def _ask(self, process_obj: Any) -> Child:
        from procession.engine.interning import interner

        request = Request(
            "process",
            process_obj.name,
            identity=process_obj._identity,
            daemon=process_obj.daemon,
            method=self.method,
        )
        with request.pickling():
            pickled = interner.encoder.encode(process_obj)
            # A mirror of its own: what it pickles for a starting child is good for this child only.
            found = Mirror().whole(pickled.needs)
        fds, others = request.inherited, len(request.inherited)
        try:
            # Large buffers go into files, which the child gets as it gets its other descriptors.
            body = (pack_names(found, fds), describe_file(pack_file(pickled), fds))
            request.body = pickle.dumps(body, PROTOCOL)
            return start(request, [self._report])
        finally:
            close_all(fds[others:])

    def _fork(self, process_obj: Any) -> Child:
        report = self._report

        def run() -> int:
            from procession.wire.serial import Encoder
            from procession.worker.process import record_error

            record_error(process_obj, report, Encoder(set(vars(_main()))))
            code: int = process_obj._bootstrap(parent_sentinel=process_fd(os.getppid()))
            return code

        return start_forked(run, own_group=False)

    @property
    def returncode(self) -> int | None:
        """The exit code as far as it is known."""
        ending = self._child.ending
        return None if ending is None else ending.exitcode

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code, or None while it runs."""
        ending = self._child.poll() if flag == os.WNOHANG else self._child.wait()
        return None if ending is None else ending.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end, at most ``timeout`` seconds; return the exit code, or None."""
        ending = self._child.wait(timeout)
        return None if ending is None else ending.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._child.signal(signal.SIGKILL)

    def interrupt(self) -> None:
        """Send SIGINT."""
        self._child.signal(signal.SIGINT)

    def error(self) -> BaseException | None:
        """The error that ended it, if it ended with one."""
        if self._error is None and self.finalizer.still_active() and self._child.poll() is not None:
            size = os.fstat(self._report).st_size
            if size:
                from procession.wire.faults import unpack_error

                self._error = unpack_error(os.pread(self._report, size, 0))
        return self._error

    def close(self) -> None:
        """Give the descriptors back; the error stays."""
        self.error()
        self.finalizer()


def _release(child: Child, report: int) -> None:
    child.close()
    os.close(report)


def _main() -> Any:
    import sys

    return sys.modules["__main__"]


def __getattr__(name: str) -> Any:
    """Whatever else the standard module has."""
    return getattr(standard, name)
