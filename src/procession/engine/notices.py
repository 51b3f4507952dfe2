"""Notices: what workers log and warn of, on its way to this process's loggers, handlers and filters.

``Reporting`` tells workers what is wanted here: which streams to forward, whether anybody is shown any progress, the
levels of the loggers, and the filters of warnings.  It is asked with every call, so it must cost next to nothing when
nothing has changed; and before the engine's lock is taken, since it takes that of ``logging``.
"""

from __future__ import annotations

import logging
import pickle
import sys
import traceback
import warnings
from typing import Any

from procession.engine.screen import is_terminal, screen
from procession.wire.messages import FLAGS, Forwarding

#: A level that nobody uses.  ``Logger.isEnabledFor`` keeps its answer for each level until any level of any logger
#: changes: as long as ours is kept, nothing has.
_MARK = -7

_registries: dict[str, dict[Any, Any]] = {}  # what has been warned of, by file


class Reporting:
    """What workers have to know of where their reports go: the streams, the levels, the filters."""

    def __init__(self) -> None:
        self._packed = bytes(FLAGS)
        self._streams: tuple[Any, Any] = (None, None)
        self._filters: tuple[Any, ...] | None = None
        self._shown = (False, False)  # bars on the terminal; any progress at all

    @property
    def packed(self) -> bytes:
        """The flags of what is forwarded, and what ``Notices.adopt`` reads, as of the last ``note``.

        The same object as long as they are the same.
        """
        return self._packed

    def note(self) -> None:
        """See how the settings are now.

        Any thread may, and finds nothing changed only when what was found is there to be sent:
            one: sees a change, notes what it has seen | another: sees none, starts a worker with what was before
        """
        filters, streams = tuple(warnings.filters), (sys.stdout, sys.stderr)
        covered, wanted = shown = screen.covered, screen.wanted
        if (
            streams[0] is self._streams[0]
            and streams[1] is self._streams[1]
            and filters == self._filters
            and shown == self._shown
            and _MARK in logging.root._cache  # type: ignore[attr-defined]
        ):
            return
        out = _forwarding(streams[0], sys.__stdout__, covered=covered)
        err = _forwarding(streams[1], sys.__stderr__, covered=covered)
        flags = bytes((out, err, wanted))
        try:
            packed = flags + pickle.dumps((_levels(), [_describe(each) for each in filters]))
        except Exception:  # somebody's own kind of level or filter: workers go on with what they have
            packed = flags + (self._packed[FLAGS:] or pickle.dumps(((0, {}), [])))
        if packed != self._packed:
            self._packed = packed
        self._streams, self._filters, self._shown = streams, filters, shown  # last, see above


def _forwarding(stream: Any, real: Any, *, covered: bool) -> Forwarding:
    """Where what workers write should go: a real stream is theirs, too, but nobody draws over the bars on it."""
    if stream is not real:
        return Forwarding.TEXT
    return Forwarding.TERMINAL if covered and is_terminal(stream) else Forwarding.NOT


def _levels() -> tuple[int, dict[str, int]]:
    """What is disabled, and the level of every logger that has one."""
    logging.root.isEnabledFor(_MARK)
    manager = logging.root.manager
    found = {"": logging.root.level}
    for name, logger in list(manager.loggerDict.items()):
        level = getattr(logger, "level", 0)
        if level:
            found[name] = level
    return manager.disable, found


def _describe(entry: Any) -> tuple[Any, ...]:
    """A filter of warnings, with its category by name: a worker need not import it."""
    action, message, category, module, line = entry
    patterns = [getattr(each, "pattern", each) for each in (message, module)]
    return action, patterns[0], (category.__module__, category.__qualname__), patterns[1], line


def deliver(data: bytes) -> None:
    """Hand what a worker has logged or warned of to whoever listens here.  An errand: handlers are user code."""
    try:
        kind, *facts = pickle.loads(data)
        with screen.above():
            (_log if kind == "log" else _warn)(*facts)
    except Exception:  # a handler's own fault, which is nobody's outcome
        traceback.print_exc()


def _log(fields: dict[str, Any]) -> None:
    record = logging.makeLogRecord(fields)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _warn(message: Any, category: type[Warning], filename: str, line: int, module: str | None) -> None:
    try:
        registry = _registries.setdefault(filename, {})
        warnings.warn_explicit(message, category, filename, line, module, registry)
    except Warning:  # the filter makes it an error, which in the worker it was not
        warnings.showwarning(message, category, filename, line)
