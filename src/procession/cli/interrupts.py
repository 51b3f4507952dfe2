"""Interrupts: Ctrl-C, held back until the command waits for its workers.

A ``KeyboardInterrupt`` amid a step of the engine costs all that is under way: the state is found half changed, and the
workers are replaced.  Amid the writing of an outcome, that is written and not counted.  While it waits, nothing is
lost: what runs can be asked to end, and what has just been done is kept.  A library must leave the handler of SIGINT
alone; a command owns its process.

Runs in the main thread, between any two instructions of it, so it only looks at frames and sets a timer.  A step that
takes long (a pipe that nobody reads) and a second Ctrl-C end the patience.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: How long until it is tried again, and how often; a step takes microseconds.
_RETRY_SECONDS = 0.001
_RETRIES = 200

#: Where nothing is lost: the waits for workers, and the caller's own function, which runs in this process if so wanted.
_WAITS = {("procession.engine.loop", "poll"), ("procession.engine.bell", "wait")}
_INLINE = "procession.backends.inline"


@contextmanager
def held_back() -> Iterator[None]:
    """Have Ctrl-C raise ``KeyboardInterrupt`` in the body, but not amid a step.

    Leaves alone a handler that somebody has set.
    """
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    patience = _RETRIES

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal patience
        if number == signal.SIGINT and patience < _RETRIES:
            patience = 0
        if patience > 0 and _amid_step(frame):
            patience -= 1
            # Again and again, not once: CPython 3.12 may lose a signal that another thread happens to notice.
            signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS, _RETRY_SECONDS)
            return
        patience = 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _amid_step(frame: FrameType | None) -> bool:
    """Whether code of ours is at work in a frame, or in what has called it, and does not just wait."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("procession."):
            return module != _INLINE and (module, frame.f_code.co_name) not in _WAITS
        frame = frame.f_back
    return False
