"""The receiving side of ``__main__``, name by name: what a process has been sent of its parent's.

What is needed at once is set in this process's ``__main__`` when it arrives; what is for later is
read when something asks ``__main__`` for it, and told apart from what the parent could not send by
``Unsent``, which says so when it is used.

``Mirrored`` owns what waits to be asked for, under its lock: any thread may read a pickle that names it.
"""

from __future__ import annotations

import copyreg
import os
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from procession.wire.serial import loads


class Packed(NamedTuple):
    """One definition on its way: names, which need each other if there are several, and their values."""

    names: tuple[str, ...]
    frame: bytes  #: the pickle of a tuple of the values
    uses: Sequence[str] | None  #: for later: what the code in it refers to


class Unsent:
    """Stands in a worker for a global of ``__main__`` that could not be pickled."""

    def __init__(self, name: str, reason: str) -> None:
        self.__dict__["_unsent"] = (name, reason)

    def __reduce__(self) -> Any:
        return Unsent, self.__dict__["_unsent"]

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        raise self._error()

    def _error(self) -> TypeError:
        name, reason = self.__dict__["_unsent"]
        return TypeError(
            f"the global {name!r} of __main__ is not available in this worker, because it could "
            f"not be sent ({reason}). Create it in the worker (an initializer can), or pass "
            "it as an argument."
        )

    def _refuse(self, *_args: Any, **_kwargs: Any) -> Any:
        raise self._error()

    __call__ = __enter__ = __exit__ = __iter__ = __next__ = __getitem__ = __setitem__ = _refuse
    __len__ = __bool__ = __contains__ = __setattr__ = __add__ = __radd__ = __lt__ = _refuse


class _UnsentType(type):
    """Makes what stands for classes: pickles of instances, and classes below, say why there are none."""

    def __call__(cls, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise cls.unsent._error()

    def __getattr__(cls, attribute: str) -> Any:
        return getattr(cls.unsent, attribute)

    def __reduce__(cls) -> Any:
        return unsent_class, cls.unsent.__reduce__()[1]


copyreg.pickle(_UnsentType, _UnsentType.__reduce__)


def unsent_class(name: str, reason: str) -> type:
    """What stands in a worker for a class of ``__main__`` that could not be pickled."""

    unsent = Unsent(name, reason)

    def refuse(_cls: type, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise unsent._error()

    body = {"unsent": unsent, "__new__": refuse, "__init_subclass__": classmethod(refuse)}
    return _UnsentType(name, (), body)


def install_main(path: str | None) -> types.ModuleType:
    """Give this process an empty ``__main__`` for mirrored names, as if run from ``path``."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if path is not None:
        main.__file__ = path
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return main


class Mirrored:
    """The names of ``__main__`` that this process has received from its parent."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._later: dict[str, Packed] = {}
        self._expected: set[str] = set()  # that have ever waited
        self._fresh: dict[str, Any] = {}  # that have been read, and what they use not yet
        self._begun: set[str] = set()  # whose reading has begun, and which are not shown yet
        self._reading = False
        self._lock = threading.RLock()

    def receive(self, definitions: list[Packed], read: Callable[[bytes], Any] = loads) -> None:
        """Set the named values in ``__main__``, in the order given: what is needed comes first.

        What this process had set before anything was sent under its name stays.
        """
        global _received
        for each in definitions:
            if each.uses is None:
                self._set(each, read)
            else:
                self._later.update(dict.fromkeys(each.names, each))
                self._expected.update(each.names)
        if self._later and _received is not self:
            # An attribute that a module has not got is asked of this function: PEP 562.
            sys.modules["__main__"].__dict__["__getattr__"] = self._find
            _received = self

    def unread(self) -> list[Packed]:
        """What nobody has asked for, to be sent on."""
        with self._lock:
            return list({each.names: each for each in self._later.values()}.values())

    def _set(self, definition: Packed, read: Callable[[bytes], Any]) -> None:
        main = sys.modules["__main__"].__dict__
        for name, value in zip(definition.names, _values_of(definition, read), strict=True):
            self._later.pop(name, None)
            if name not in main or name in self.names:
                main[name] = value
            self.names.add(name)

    def _find(self, name: str) -> Any:
        """What ``__main__`` has not got yet."""
        # Without the lock: an import asks for names of any kind, and who holds the lock may wait for that import.
        if name not in self._expected:
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        with self._lock:
            main = sys.modules["__main__"].__dict__
            if name not in main and name not in self._fresh:
                self._read(name, main)
            found = main if name in main else self._fresh
            if name not in found:
                raise AttributeError(f"module '__main__' has no attribute {name!r}")
            return found[name]

    def _read(self, name: str, main: dict[str, Any]) -> None:
        """Read what was for later, with all that its code uses, since a global is not asked for.

        They are shown together: another thread that finds one must find the others.  What is there already stays.
        """
        outermost, self._reading = not self._reading, True
        waiting = [name]
        try:
            while waiting:
                asked = waiting.pop()
                definition = self._later.get(asked)
                if definition is None or asked in self._begun:
                    continue
                self._begun.update(definition.names)
                values = zip(definition.names, _values_of(definition, loads), strict=True)
                self._fresh.update({key: value for key, value in values if key not in main})
                waiting.extend(definition.uses or ())
        finally:
            if outermost:
                self.names.update(self._fresh)
                main.update(self._fresh)
                for each in self._begun:
                    self._later.pop(each, None)
                self._forget_reading()

    def _forget_reading(self) -> None:
        self._fresh, self._begun, self._reading = {}, set(), False

    def renew(self) -> None:
        """Go on in a forked child: the thread that was reading is not there, and has shown nothing."""
        self._lock = threading.RLock()
        self._forget_reading()


def _values_of(definition: Packed, read: Callable[[bytes], Any]) -> tuple[Any, ...]:
    try:
        values: tuple[Any, ...] = read(definition.frame)
        return values
    except Exception as error:
        reason = f"{type(error).__name__} while unpickling: {error}"
        return tuple(Unsent(name, reason) for name in definition.names)


#: Of this process, if something waits there.
_received: Mirrored | None = None


def unread() -> list[Packed]:
    """What this process was sent for later, and nobody has asked for yet."""
    return _received.unread() if _received is not None else []


def _renew() -> None:
    if _received is not None:
        _received.renew()


os.register_at_fork(after_in_child=_renew)
