"""Pickling one item, and the error that names the part of it that cannot be pickled.

Runs the user's ``__reduce__``; called without the engine's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from procession.engine.interning import interner
from procession.errors import NotPicklable
from procession.wire.diagnose import find_culprit
from procession.wire.faults import reraise_interrupt
from procession.wire.mainmodule import Definition
from procession.wire.parcel import Frame
from procession.wire.pickled import Pickled

CALL = "call"  #: the name of an item that is a call's arguments


def encode_item(item: Any, name: str, pack: Callable[[Pickled], Frame]) -> tuple[Frame, tuple[Definition, ...]]:
    """Pickle one item; ``pack`` stores what is large of it.

    On failure: ``NotPicklable``, which names the part at fault; what ``pack`` raises.
    """
    try:
        pickled = interner.encoder.encode(item)
    except BaseException as error:
        reraise_interrupt(error)
        if name == CALL:
            name, item = _guilty_half(*item)
        path, culprit = find_culprit(item, name, interner.encoder.encode)
        reason = f"{type(error).__name__}: {error} ({type(culprit).__name__})"
        raise NotPicklable(path, reason) from error
    frame: Frame | None = pickled.small
    needs = pickled.needs
    return pack(pickled) if frame is None else frame, definitions_of(needs) if needs else ()


def _guilty_half(args: Any, kwargs: Any) -> tuple[str, Any]:
    """The positional or the keyword arguments of a call, whichever cannot be pickled."""
    try:
        interner.encoder.encode(args)
    except BaseException:
        return "args", args
    return "kwargs", kwargs


def definitions_of(needs: frozenset[str]) -> tuple[Definition, ...]:
    """The definitions of what pickled arguments refer to in ``__main__``."""
    return interner.mirror.closure(needs, thorough=False) if needs else ()
