"""Identity: what makes two calls of a function the same run.

That is the function's name, a label, and what the function *holds*: the arguments of a ``partial``, the object of a
method, what a function within another takes from there, the state of an object that can be called.  With other values
its items have other outcomes, so each set of them is a run of its own.  Code is known by its name there, and by itself
where the name does not tell which it is: of a lambda, of a function or class that is made within another.
"""

from __future__ import annotations

import functools
import inspect
import re
import reprlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from procession.engine.interning import function_name
from procession.journal.digest import digest, leaves_to_python, name_of
from procession.journal.fingerprint import fingerprint, is_code, is_lambda, is_made_anew, own_code

#: Characters of the words for what a function holds.
_WORDS_LIMIT = 160

_short = reprlib.Repr()
_short.maxstring, _short.maxother = 40, 80
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Identity:
    """A run's."""

    function: str
    label: str
    bound: bytes  #: the digest of what the function holds, and of whose it is
    words: str  #: that in words, as in "alpha=0.1"


def identify(function: Callable[..., Any], label: str | None) -> Identity:
    """The identity of the run of a function.  Never fails."""
    try:
        name = function_name(function)
        bound, words = _Holding(_innermost(function)).of(function), _in_words(function, name)
    except Exception as error:  # a ``__getattr__`` of somebody's, say: what cannot be looked into is one of its kind
        name, words = type(function).__name__, ""
        bound = digest((name_of(type(function)), type(error).__name__))
    return Identity(name, label or "", bound, words)


def digest_of_code(value: Any) -> bytes:
    """The digest of a function that is part of a value: of its code and of what it holds."""
    return digest((fingerprint(value), _Holding(None).of(value)))


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__func__", function) if isinstance(function, types.MethodType) else function


class _Holding:
    """Digests of what functions hold: of names and values, and of what is held by these."""

    def __init__(self, main: Any) -> None:
        """``main`` is the function whose code may change within a run."""
        self._main = main
        self._path: list[int] = []  # of what is being looked at; one of these again is a cycle
        self._known: dict[int, tuple[Any, bytes]] = {}  # with the thing itself, whose id stays its own so

    def of(self, thing: Any) -> bytes:
        """The digest of a function, a class or a value."""
        key = id(thing)
        if key in self._path:
            return b"again %d" % (len(self._path) - self._path.index(key))
        if key not in self._known:
            self._path.append(key)
            try:
                self._known[key] = thing, digest(self._described(thing))
            finally:
                self._path.pop()
        return self._known[key][1]

    def _described(self, thing: Any) -> Any:
        """What is digested of it, as plain data."""
        if isinstance(thing, functools.partial):
            return "partial", self.of(thing.func), list(map(self.of, thing.args)), self._named(thing.keywords.items())
        if isinstance(thing, types.MethodType):
            return "method", self.of(thing.__self__), self.of(thing.__func__)
        if isinstance(thing, types.BuiltinFunctionType):
            own = thing.__self__
            return "builtin", name_of(thing), None if isinstance(own, (types.ModuleType, type(None))) else self.of(own)
        if isinstance(thing, types.FunctionType):
            known = is_made_anew(thing) and (thing is not self._main or is_lambda(thing))
            code = own_code(thing) if known else ""
            return "function", name_of(thing), code, self._named(_held_by_function(thing))
        if isinstance(thing, type):
            return "class", name_of(thing), self._named(_held_by_class(thing))
        if isinstance(getattr(thing, "__dict__", None), dict) and leaves_to_python(type(thing)):
            return "object", self.of(type(thing)), self._named(_held_by_object(thing))
        wrapped = inspect.getattr_static(thing, "__wrapped__", None)
        return ("value", thing) if wrapped is None else ("wrapper", name_of(type(thing)), self.of(wrapped))

    def _named(self, held: Iterable[tuple[str, Any]]) -> list[tuple[str, bytes]]:
        return [(name, self.of(value)) for name, value in sorted(held, key=itemgetter(0))]


def _held_by_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not filled yet
            yield name, cell.cell_contents
    if is_made_anew(function):
        defaults, code = function.__defaults__ or (), function.__code__
        yield from zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True)
        yield from (function.__kwdefaults__ or {}).items()


def _held_by_class(kind: type) -> Iterator[tuple[str, Any]]:
    """Of a class that is made within a function, or in a call: its attributes and its methods."""
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is kind:
        return
    for name, member in vars(kind).items():
        inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if isinstance(inner, types.FunctionType) or not (name.startswith("__") or inspect.isdatadescriptor(inner)):
            yield name, inner


def _held_by_object(thing: Any) -> Iterator[tuple[str, Any]]:
    state = vars(thing)
    if "__wrapped__" not in state:
        return iter(state.items())
    return ((name, value) for name, value in state.items() if name not in functools.WRAPPER_ASSIGNMENTS)


def _in_words(function: Any, name: str) -> str:
    """What is bound, for people: of the outermost things alone."""
    held: list[tuple[str, Any]] = []
    while isinstance(function, functools.partial):
        held = [*(("", value) for value in function.args), *sorted(function.keywords.items()), *held]
        function = function.func
    if isinstance(function, types.MethodType):
        held.append(("self", function.__self__))
    elif isinstance(function, types.BuiltinFunctionType):
        if not isinstance(function.__self__, (types.ModuleType, type(None))):
            held.append(("self", function.__self__))
    elif isinstance(function, types.FunctionType):
        held += _held_by_function(function)
    elif not isinstance(function, type):
        state = _held_by_object(function) if isinstance(getattr(function, "__dict__", None), dict) else ()
        held += ((each, value) for each, value in state if not is_code(value))
    words = []
    for each, value in held:
        if is_code(value):
            text = function_name(value)
            if text == name:  # what a decorator has around it
                continue
        else:
            text = _short.repr(value)
            text = type(value).__name__ if text.startswith("<") else _ADDRESS.sub("", text)
        words.append(f"{each}={text}" if each else text)
    text = ", ".join(words)
    return text if len(text) <= _WORDS_LIMIT else f"{text[: _WORDS_LIMIT - 3]}..."
