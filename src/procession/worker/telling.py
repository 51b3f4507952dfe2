"""Telling: what a task says of its own progress, on its way to whoever shows it.

``progress`` may be called from anywhere, by any thread.  In a worker it sends a message to the engine, which knows
the item by the ledger's words; in a backend without workers it calls what the item's caller has set for this
thread; elsewhere it does nothing.

Invariant: a worker sends at most ten messages a second, and none that nobody wants.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.wire.messages import pack_progress

if TYPE_CHECKING:
    from procession.wire.channel import Channel
    from procession.wire.ledger import Ledger

#: Takes units that are done, of how many, and a message.
Listener = Callable[[float, float | None, str], None]

#: Between two messages: what a person can follow.
TELL_SECONDS = 0.1

#: Characters of a message: more than a line of any terminal.
_MESSAGE_LIMIT = 500

_in_worker: Listener | None = None


class _Local(threading.local):
    listener: Listener | None = None


#: Who hears the items that this very thread runs, in a backend without workers.
here = _Local()


def progress(n: float, message: str = "", *, total: float | None = None) -> None:
    """Tell, from inside a task, that ``n`` units of the running item are done, of ``total`` if that is known.

    For items that take long: a bar moves by parts of an item, and shows the message.  Of calls that come faster than
    ten a second some are left out.  Outside of a task, and where nobody shows any progress, it does nothing.
    On failure: ``TypeError`` for what is no number or no text, ``ValueError`` for a number that is not finite.
    """
    done = _number(n, "n")
    whole = None if total is None else _number(total, "total")
    if not isinstance(message, str):
        raise TypeError(f"message must be a str, not {message!r}")
    listener = here.listener or _in_worker
    if listener is not None:
        listener(done, whole, message)


def _number(value: Any, name: str) -> float:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return number


class Teller:
    """Sends what the tasks of this worker tell."""

    def __init__(self, channel: Channel, ledger: Ledger) -> None:
        """Become what ``progress`` calls in this process."""
        global _in_worker
        self._channel = channel
        self._ledger = ledger
        self._pid = os.getpid()
        self._next = 0.0
        self.wanted = False  #: whether the parent shows it to anybody
        _in_worker = self.tell

    def tell(self, n: float, total: float | None, message: str) -> None:
        """Send how far the running item is, if that is due."""
        if not self.wanted or os.getpid() != self._pid:  # a fork has no channel
            return
        now = time.monotonic()
        if now < self._next:
            return
        place = self._ledger.place()
        if place is None:
            return
        self._next = now + TELL_SECONDS
        try:
            self._channel.send([pack_progress(*place, n, total, message[:_MESSAGE_LIMIT])])
        except ConnectionError:  # the parent has gone: the worker sees that itself, and it is no fault of the task
            return
