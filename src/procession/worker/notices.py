"""Notices: what is logged or warned of in this worker goes to the parent, whose handlers and filters decide.

A logger with a handler of its own, which a task or an initializer has given it, is left alone: nothing is reported
twice.  Owns the hooks, in ``logging`` and ``warnings``, from the first settings on that the parent sends.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.wire.faults import is_stop
from procession.wire.messages import NOTICE

if TYPE_CHECKING:
    from procession.wire.channel import Channel


class Notices:
    """Sends what is logged or warned of."""

    def __init__(self, channel: Channel, flush: Callable[[], None]) -> None:
        """``flush`` sends what has been printed before."""
        self._channel = channel
        self._flush = flush
        self._pid = os.getpid()
        self._hooked = False
        # What has been taken over: what the worker's own code sets besides stays.
        self._levels: dict[str, int] = {}
        self._filters: list[Any] = []

    def adopt(self, packed: bytes) -> None:
        """Take over the levels and the filters of the parent."""
        levels, filters = pickle.loads(packed)
        self._adopt_filters([each for each in map(_filter, filters) if each is not None])
        self._adopt_levels(*levels)
        if not self._hooked:
            self._hooked = True
            self._hook_warnings()

    def _adopt_filters(self, filters: list[Any]) -> None:
        own = _in_front(list(warnings.filters), self._filters) if self._hooked else []
        warnings.filters[:] = own + [each for each in filters if each not in own]  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
        self._filters = filters

    def _adopt_levels(self, disabled: int, levels: dict[str, int]) -> None:
        import logging

        if not self._hooked:
            self._hook_logging(logging)
        logging.root.manager.disable = disabled
        for name in self._levels.keys() - levels.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in levels.items():
            if self._levels.get(name) != level:
                logging.getLogger(name).setLevel(level)
        self._levels = levels

    def _hook_logging(self, logging: Any) -> None:
        original = logging.Logger.callHandlers
        nothing = logging.NullHandler

        def call_handlers(logger: Any, record: Any) -> None:
            if os.getpid() != self._pid or _has_handler(logger, nothing):
                original(logger, record)
            else:
                self._forward(record)

        configure = logging.basicConfig

        def basic_config(**settings: Any) -> None:
            # `logging.info` and the like call it without any while the root has no handler, which is as it should be.
            if settings or os.getpid() != self._pid:
                configure(**settings)

        logging.Logger.callHandlers = call_handlers
        logging.basicConfig = basic_config

    def _hook_warnings(self) -> None:
        original = warnings.showwarning

        def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
            if os.getpid() != self._pid or file is not None:
                original(message, category, filename, lineno, file, line)
            else:
                self._send(("warning", message, category, filename, lineno, _module_of(filename)))

        warnings.showwarning = show

    def _forward(self, record: Any) -> None:
        try:
            self._send(("log", _portable(record)))
        except Exception as error:  # a wrong format, say: as with any handler, no fault of the task
            if is_stop(error):
                raise
            import logging

            logging.Handler().handleError(record)

    def _send(self, notice: tuple[Any, ...]) -> None:
        try:
            packed = pickle.dumps(notice)
            pickle.loads(packed)  # the parent could not say what is wrong with it
        except Exception as error:
            if is_stop(error):
                raise
            packed = pickle.dumps(_in_words(notice))
        self._flush()
        self._channel.send([bytes((NOTICE,)), packed])


def forget_handlers() -> None:
    """In a fork of the parent: its handlers are there to be reached from the parent."""
    logging = sys.modules.get("logging")
    if logging is not None:
        for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
            if getattr(logger, "handlers", None):
                logger.handlers = []


def _has_handler(logger: Any, nothing: type) -> bool:
    while logger is not None:
        if any(type(each) is not nothing for each in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _portable(record: Any) -> dict[str, Any]:
    """A record with its message made, and its exception as text."""
    import logging

    fields = dict(vars(record))
    fields["msg"], fields["args"] = record.getMessage(), None
    if record.exc_info:
        fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        fields["exc_info"] = None
    return fields


def _in_words(notice: tuple[Any, ...]) -> tuple[Any, ...]:
    """A notice that cannot travel as it is: what cannot be pickled, as text."""
    if notice[0] == "log":
        plain = (str, int, float, bool, type(None))
        return "log", {name: value if type(value) in plain else repr(value) for name, value in notice[1].items()}
    _kind, message, category, *place = notice
    return ("warning", f"{category.__name__}: {message}", UserWarning, *place)


def _in_front(filters: list[Any], before: list[Any]) -> list[Any]:
    """What has been put in front of the filters that were there before, some of which were moved or removed for it."""
    for place in range(len(filters)):
        rest = filters[place:]
        if rest == [each for each in before if each in rest]:
            return filters[:place]
    return filters


def _filter(described: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A filter, if the category of it is known here; what is not cannot be warned of."""
    import re

    action, message, (module_name, name), module, line = described
    category: Any = sys.modules.get(module_name)
    for part in name.split("."):
        category = getattr(category, part, None)
    if category is None:
        return None
    pattern = re.compile(message, re.IGNORECASE) if message else None
    return action, pattern, category, re.compile(module) if module else None, line


def _module_of(filename: str) -> str | None:
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name
    return None
