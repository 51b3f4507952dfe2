"""The stopper: lets the parent end the call of one item by an exception, and nothing else.

Runs in the worker's main thread, where Python calls signal handlers.  The parent names the item in the ledger
and sends the signal; the handler raises only if that item's call is going on, once, and not in the midst of
our own bookkeeping.  A signal that finds no fit moment is dropped: the parent asks again, and kills in the end.

    parent: item 7 has to stop, signals | worker: finishes 7, begins 8; handler: 8 is not meant, does nothing
    worker: in views.read for item 7; handler: our own frame, does nothing | parent: signals again
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from procession.system import STOP_SIGNAL
from procession.wire import ledger as page

if TYPE_CHECKING:
    from procession.wire.ledger import Ledger

#: Where an exception at any line would leave things half done.
_OURS = os.path.dirname(page.__file__) + os.sep


class Stopper:
    """Raises in the call that is to be stopped."""

    def __init__(self, ledger: Ledger) -> None:
        self._words = ledger.words
        self._armed = False  # whether a call may be stopped now; one exception is all that a call gets
        signal.signal(STOP_SIGNAL, self._on_signal)

    def guard(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same call, but noted in the ledger with its beginning, and to be stopped from outside."""
        words, clock, begun, begun_at = self._words, time.monotonic_ns, page.BEGUN, page.BEGUN_AT
        first, done = page.FIRST, page.DONE

        def guarded(item: Any) -> Any:
            words[begun] = clock()
            words[begun_at] = words[first] + words[done]  # last: who finds the index has its beginning
            try:
                self._armed = True
                return call(item)
            finally:
                self._armed = False

        return guarded

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        words = self._words
        if not self._armed or words[page.STOP_CHUNK] != words[page.CHUNK]:
            return
        if words[page.STOP_INDEX] != words[page.FIRST] + words[page.DONE]:
            return
        if frame is not None and frame.f_code.co_filename.startswith(_OURS):
            return
        self._armed = False
        raise _reason(words[page.STOP_LIMIT])


def _reason(limit_ns: int) -> BaseException:
    from procession.errors import TaskCancelled, TaskTimeout

    if limit_ns:
        return TaskTimeout(round(limit_ns * 1e-9, 9))
    return TaskCancelled("the task was stopped while it ran")
