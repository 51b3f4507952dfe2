"""Unread: failures of calls that nobody has asked for, told when the interpreter exits.

A call that is sent off and forgotten fails in silence otherwise.  Owns the texts of the failures that nobody has asked
for yet.  They come from whoever drives an engine and go with whoever asks, in any thread; each step is one of a dict's.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections import Counter
from contextlib import suppress
from itertools import count

#: Failures that are kept in mind, characters of each, and how many different ones are told.
_LIMIT = 10_000
_TEXT_LIMIT = 300
_TOLD = 10

_failures: dict[int, str] = {}
_numbers = count(1)


def note(error: BaseException) -> int:
    """A call has failed, and nobody has asked for its outcome yet; return a number to ``heed`` it by.

    Whoever has killed the workers knows.
    """
    if len(_failures) >= _LIMIT or getattr(error, "was_wanted", False):
        return 0
    number = next(_numbers)
    _failures[number] = _in_words(error)
    return number


def heed(number: int) -> None:
    """Somebody has asked for that outcome."""
    _failures.pop(number, None)


def _in_words(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = f"{name}: {error}".rstrip(": ")
    except Exception:  # __str__ is the user's
        text = name
    place = _place(error)
    return text.partition("\n")[0][:_TEXT_LIMIT] + (f" ({place})" if place else "")


def _place(error: BaseException) -> str:
    """Where it was raised, as a traceback says it; of a worker's error the traceback is a text."""
    text = getattr(error.__cause__, "tb", None)
    if isinstance(text, str):
        start = text.rfind('  File "')
        return text[start:].partition("\n")[0].strip() if start >= 0 else ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f'File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}'


def _tell() -> None:
    """At the exit: what is left is told on stderr, like failures together."""
    failures = list(_failures.values())
    if not failures or sys.stderr is None:
        return
    number = f"{len(failures):,} calls have" if len(failures) > 1 else "a call has"
    kinds = Counter(failures).most_common()
    lines = [f"procession: {number} failed, and nobody has asked for the outcome:"]
    lines += [f"  {times:,} x {text}" if times > 1 else f"  {text}" for text, times in kinds[:_TOLD]]
    lines += [f"  and others of {len(kinds) - _TOLD:,} kinds"] if len(kinds) > _TOLD else []
    with suppress(OSError, ValueError):  # it may be closed
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()


atexit.register(_tell)
os.register_at_fork(after_in_child=_failures.clear)
