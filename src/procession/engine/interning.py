"""Functions, shipped to a worker once and named by number afterwards.

Owns the process-wide numbers, by content: the same pickle has the same number, so a function that
was edited has another.  Also finds out what a function will need imported, for the zygote.
"""

from __future__ import annotations

import pickle
import sys
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from procession.errors import NotPicklable
from procession.wire.diagnose import find_culprit
from procession.wire.faults import reraise_interrupt
from procession.wire.mainmodule import Definition, Mirror
from procession.wire.parcel import Frame, Parcel
from procession.wire.pickled import Pickled
from procession.wire.serial import Encoder

_Content = tuple[bytes, tuple[tuple[tuple[str, ...], int], ...]]

_LIMIT = 512  #: functions remembered; a worker is told to forget the one that falls out


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function as workers get it."""

    id: int
    pickled: bytes
    name: str
    definitions: tuple[Definition, ...] = ()
    parcel: Parcel | None = None  #: in place of the pickle, if it has large buffers: stored once for all workers
    by_value: bool = False  #: whether reading it takes cloudpickle
    target: Callable[..., Any] | None = None  #: the function itself, for a backend in this process


class Interner:
    """The functions of this process that have been shipped."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.mirror = Mirror()
        self._ids = count(1)
        self._by_content: OrderedDict[_Content, int] = OrderedDict()
        self._importable: weakref.WeakKeyDictionary[Callable[..., Any], Function]
        self._importable = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def intern(
        self,
        function: Callable[..., Any],
        *,
        thorough: bool,
        inherited: Mapping[str, Any],
        pack: Callable[[Pickled], Frame],
    ) -> Function:
        """The function as it is now, with its present globals.

        ``thorough`` looks for changes even in globals that are slow to compare; ``pack`` stores what is
        large.  On failure: ``NotPicklable``; ``TypeError`` for what cannot be called; ``MemoryError``.
        """
        if type(function) is types.FunctionType:
            known = self._importable.get(function)
            if known is not None:
                return known
        if not callable(function):
            raise TypeError(f"a function is needed to run, not {function!r}")
        name = function_name(function)
        encoded = self._encode(function, name)
        definitions: tuple[Definition, ...] = ()
        needs = encoded.needs
        if needs:
            definitions = self.mirror.closure(needs, thorough=thorough, inherited=inherited)
        pickled = encoded.small
        frame = pack(encoded) if pickled is None else pickled
        if isinstance(frame, Parcel):
            # Never the same as another: comparing it would cost as much as sending it.
            by_value = any(b"cloudpickle" in piece for piece in encoded.stream)
            return Function(next(self._ids), b"", name, definitions, frame, by_value)
        pickled = frame
        shipped = self._shipped(pickled, name, definitions)
        if type(function) is types.FunctionType and not needs and len(pickled) < 300:
            module = sys.modules.get(function.__module__)
            if module is not None and getattr(module, function.__qualname__, None) is function:
                self._importable[function] = shipped
        return shipped

    def _encode(self, function: Callable[..., Any], name: str) -> Pickled:
        try:
            return self.encoder.encode(function)
        except BaseException as error:
            reraise_interrupt(error)
            path, culprit = find_culprit(function, name, self.encoder.encode)
            reason = f"{type(error).__name__}: {error} ({type(culprit).__name__})"
            raise NotPicklable(path, reason) from error

    def is_fixed(self, function: Any) -> bool:
        """Whether the function will always be shipped in the same way: by its name in a module."""
        return type(function) is types.FunctionType and function in self._importable

    def _shipped(self, pickled: bytes, name: str, definitions: tuple[Definition, ...]) -> Function:
        """The function of this content; what it refers to by name is part of it."""
        content = pickled, tuple([(each.names, each.version) for each in definitions])
        with self._lock:
            number = self._by_content.get(content)
            if number is None:
                number = self._by_content[content] = next(self._ids)
                if len(self._by_content) > _LIMIT:
                    self._by_content.popitem(last=False)
            else:
                self._by_content.move_to_end(content)
        # The function itself is not kept: its definitions may hold big globals, and old versions of them.
        return Function(number, pickled, name, definitions, None, bool(definitions) or b"cloudpickle" in pickled)


def function_name(function: Any) -> str:
    """What a person calls a function."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if name is None and hasattr(function, "func"):  # a partial
        return function_name(function.func)
    return str(name or type(function).__name__)


def installed_modules(function: Any) -> set[str]:
    """The installed packages that a function's module refers to, through modules of the user's own.

    They are what makes a worker slow to start, and they do not change under a running program, as
    the user's own modules may; so only they are worth importing once, in the zygote.
    """
    found: set[str] = set()
    seen: set[str] = set()

    def visit(namespace: Mapping[str, Any]) -> None:
        for name in _modules_in(namespace):
            if name in seen:
                continue
            seen.add(name)
            module = sys.modules.get(name)
            if module is None or name in ("__main__", "builtins") or name.startswith("procession"):
                continue
            if is_installed(module):
                found.add(name)
            else:
                visit(vars(module))

    function = getattr(function, "func", function)  # a partial
    function = getattr(function, "__func__", function)  # a bound method
    visit({"": function, **getattr(function, "__globals__", {})})
    return found


def _modules_in(namespace: Mapping[str, Any]) -> Iterator[str]:
    for value in list(namespace.values()):
        if isinstance(value, types.ModuleType):
            yield value.__name__
        else:
            name = getattr(value, "__module__", None)
            if isinstance(name, str):
                yield name


def is_installed(module: types.ModuleType) -> bool:
    """Whether a module comes from site-packages rather than from the user's own folders."""
    file = getattr(module, "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def pack_function(frame: bytes) -> bytes:
    """The body of a DEFINE message: the import path that it may need, and the function's frame."""
    return pickle.dumps((list(sys.path), frame), 5)


interner = Interner()
