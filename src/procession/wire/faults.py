"""Errors on their way between processes: with the traceback as text, and always picklable.

Owns nothing.  The sending side turns any exception into bytes that cannot fail to be read; the
receiving side gets the user's own class back, with the remote traceback as its cause.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.wire.serial import PROTOCOL, loads

if TYPE_CHECKING:
    from procession.wire.pickled import Pickled
    from procession.wire.serial import Encoder


def pack_error(error: BaseException, encoder: Encoder, box: Callable[[Pickled], bytes] | None = None) -> bytes:
    """Pickle ``error`` with the text of its traceback; ``box`` may move its large parts elsewhere.

    On failure to pickle it the receiver gets a ``RemoteError`` that says what it was.
    """
    text = format_error(error)
    try:
        pickled = encoder.dumps(error) if box is None else box(encoder.encode(error))
    except BaseException as failure:  # anything can be raised by a foreign __reduce__
        summary = _summary(error)
        return pickle.dumps((None, summary, text, _summary(failure)), PROTOCOL)
    return pickle.dumps((pickled, _summary(error), text, ""), PROTOCOL)


def unpack_error(data: bytes | memoryview, read: Callable[[bytes], Any] = loads) -> BaseException:
    """Read what ``pack_error`` wrote; the traceback's text becomes the error's cause.

    ``read`` reads what a ``box`` has made.
    """
    from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]

    pickled, summary, text, failure = loads(data)
    error: object = None
    if pickled is not None:
        try:
            error = read(pickled)
        except BaseException as caught:  # a constructor that wants other arguments, and worse
            reraise_interrupt(caught)
            failure = _summary(caught)
    if not isinstance(error, BaseException):
        from procession.errors import RemoteError

        error = RemoteError(summary, failure)
    error.__cause__ = RemoteTraceback(text)
    return error


def format_error(error: BaseException) -> str:
    """The traceback as Python prints it."""
    import traceback

    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def reraise_interrupt(error: BaseException) -> None:
    """Raise a Ctrl-C again, which is nobody's error.

    It only ever comes to the main thread, and without arguments; what a foreign method raises by the
    same name mostly has some, and is that object's error.
    """
    main = threading.current_thread() is threading.main_thread()
    if main and isinstance(error, KeyboardInterrupt) and not error.args:
        raise error


def is_stop(error: BaseException) -> bool:
    """Whether an exception is the one that ends a call whose time is over, or that was cancelled."""
    errors = sys.modules.get("procession.errors")
    return errors is not None and isinstance(error, (errors.TaskTimeout, errors.TaskCancelled))


def _summary(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # __str__ is the user's
        return type(error).__name__
