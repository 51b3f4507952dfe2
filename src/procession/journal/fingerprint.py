"""Fingerprints: whether a function is still the one that a journal has outcomes of.

It is of the bytecode with its constants and names, of the function and of what it refers to in its own module,
whatever that is called: the same file is ``__main__`` when it is run, and something else when it is imported.
Comments, blank lines and the words of docstrings change nothing, nor do the values that are bound to a function
(``identity`` knows these).  Another version of Python has other bytecode.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import sys
import types
from contextlib import suppress
from typing import Any

from procession.journal.digest import digest

_LIBRARY = os.path.dirname(os.__file__)


def fingerprint(function: Any) -> str:
    """The fingerprint of whatever can be called, as text.  Never fails."""
    found = _Fingerprint()
    try:
        found.add(function)
    except Exception as error:  # a ``__getattr__`` of somebody's, say: better one that never changes than none
        found.write(type(error).__name__)
    return found.text()


def python_version() -> str:
    """What the bytecode depends on, as in "3.12"."""
    return "{}.{}".format(*sys.version_info)


class _Fingerprint:
    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._seen: set[int] = set()

    def text(self) -> str:
        return self._hash.hexdigest()

    def write(self, *words: Any) -> None:
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:" % len(data))
            self._hash.update(data)

    def add(self, thing: Any) -> None:
        """Add whatever can be called, once."""
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        if isinstance(thing, functools.partial):
            self.write("partial")
            self.add(thing.func)
            for value in (*thing.args, *(value for _name, value in sorted(thing.keywords.items()))):
                self._add_if_code(value)
        elif isinstance(thing, types.MethodType):
            self.write("method", type(thing.__self__).__qualname__)
            self.add(thing.__func__)
        elif isinstance(thing, types.FunctionType):
            self._add_function(thing)
        elif isinstance(thing, type):
            self._add_class(thing)
        elif (wrapped := inspect.getattr_static(thing, "__wrapped__", None)) is not None:
            self.write("wrapper")
            self.add(type(thing))
            self.add(wrapped)
        elif isinstance(thing, types.BuiltinFunctionType):
            self.write("builtin", thing.__module__, thing.__qualname__)
        else:
            self.write("object", getattr(thing, "__qualname__", ""))
            self.add(type(thing))

    def _add_function(self, function: types.FunctionType) -> None:
        self.write("function", function.__qualname__)
        if _is_installed(function.__module__):
            self.write(function.__module__)
            return
        self.add_code(function.__code__)
        if not is_made_anew(function):
            self.write(digest(function.__defaults__), digest(function.__kwdefaults__))
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # not filled yet
                self._add_if_code(cell.cell_contents)
        if function.__dict__.get("__wrapped__") is not None:
            self.add(function.__dict__["__wrapped__"])
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                self._add_global(name, function.__globals__[name], function.__module__)

    def add_code(self, code: types.CodeType) -> None:
        """Add code with that inside of it."""
        self.write(code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags)
        for place, constant in enumerate(code.co_consts):
            if isinstance(constant, types.CodeType):
                self.add_code(constant)
            elif place or not isinstance(constant, str):  # the first may be the docstring
                self.write(digest(constant))

    def _add_class(self, kind: type) -> None:
        self.write("class", kind.__qualname__)
        if _is_installed(kind.__module__):
            self.write(kind.__module__)
            return
        for base in kind.__bases__:
            self.add(base)
        for name, member in sorted(vars(kind).items()):
            inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if isinstance(inner, types.FunctionType):
                self.write(name)
                self.add(inner)

    def _add_global(self, name: str, value: Any, module: str) -> None:
        """What a function refers to by name: code of its own module, and constants, which are in capitals."""
        if isinstance(value, (types.FunctionType, type)):
            if value.__module__ == module:
                self.write(name)
                self.add(value)
        elif name.isupper():
            self.write(name, digest(value))

    def _add_if_code(self, value: Any) -> None:
        if is_code(value):
            self.add(value)


def is_code(value: Any) -> bool:
    """Whether a value that is bound to a function is a function itself, or a class."""
    return isinstance(value, _CODE)


_CODE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial, type)


def is_made_anew(function: types.FunctionType) -> bool:
    """Whether a function is made at each run of the line that it stands in, with what its defaults are there."""
    return bool(function.__code__.co_flags & inspect.CO_NESTED) or is_lambda(function)


def is_lambda(function: types.FunctionType) -> bool:
    """Whether a function has no name of its own."""
    return function.__code__.co_name == "<lambda>"


def own_code(function: types.FunctionType) -> str:
    """The fingerprint of a function's code, without anything that it refers to."""
    found = _Fingerprint()
    found.add_code(function.__code__)
    return found.text()


def _names(code: types.CodeType) -> set[str]:
    """The global names in a function and in those inside of it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _is_installed(module: str | None) -> bool:
    """Whether a module is of the standard library or of an installed package, which are taken as they are."""
    if module == "__main__":
        return False
    if module in sys.builtin_module_names or module in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file or file.startswith(_LIBRARY + os.sep)
