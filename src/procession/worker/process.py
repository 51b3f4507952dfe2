"""The child's side of ``Process``: run the object that the parent pickled, report its error.

Runs in the main thread of a forked or fresh child, after ``startup.settle``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from procession.system import write_all
from procession.wire.faults import pack_error
from procession.wire.mirrored import Mirrored
from procession.wire.serial import Encoder, loads
from procession.wire.views import Views


def main(body: bytes, report: int) -> int:
    """Unpickle a process object and run it; return the exit code.

    ``report`` is a file that gets the error that ends the process.
    """
    from multiprocessing import process as standard

    definitions, pickled = loads(body)
    mirrored = Mirrored()
    current: Any = standard.current_process()
    sentinel: Any = standard.parent_process()._sentinel  # type: ignore[union-attr]
    current._inheriting = True
    try:
        views = Views()
        mirrored.receive(definitions, views.read_started)
        process: Any = views.read_started(pickled)
    except BaseException as error:
        write_all(report, pack_error(error, Encoder(mirrored.names)))
        raise
    finally:
        del current._inheriting
    process.run = partial(_run_interruptibly, process.run)
    record_error(process, report, Encoder(mirrored.names))
    code: int = process._bootstrap(parent_sentinel=sentinel)
    return code


def _run_interruptibly(run: Callable[[], object]) -> None:
    """Run with Ctrl-C let through, which a fresh interpreter has blocked: one that came meanwhile interrupts it now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    run()


def record_error(process: Any, report: int, encoder: Encoder) -> None:
    """Have the error that ends ``process.run`` written to the file ``report``, which gets closed."""
    run, pid = process.run, os.getpid()

    def run_and_report() -> None:
        try:
            run()
        except SystemExit:
            raise
        except BaseException as error:
            if os.getpid() == pid:  # not the error of a fork
                with suppress(OSError):
                    write_all(report, pack_error(error, encoder))
            raise
        finally:
            with suppress(OSError):  # it has closed all descriptors
                os.close(report)

    process.run = run_and_report
