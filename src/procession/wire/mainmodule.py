"""``__main__``, name by name: what a task needs of it is mirrored in the workers' ``__main__``.

A function of ``__main__`` travels by value, but its globals must be real ones: what an initializer
sets, the task reads, and an instance of a class comes back as an instance of the caller's class.
So the names that a function uses (followed through functions and classes) are sent as definitions,
each once per content, and set in the worker's ``__main__``; everything else refers to them by name.
A definition is sent again only when it has changed at home: what a worker has assigned to a global
of its own stays.  ``__main__`` is never imported again.

A ``Process`` may be told more later, by a queue, a pipe or a manager, in pickles that are not ours and
name whatever they like.  So it gets all functions and classes of ``__main__``, with the small values
that these use, to be read when they are asked for; what is large, and named by nothing that the process
is given, stays here.

``Mirror`` lives in the sending process and owns the table of definitions, under its lock.
"""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from procession.wire.faults import reraise_interrupt
from procession.wire.parcel import Frame, Parcel, describe_file, pack_file
from procession.wire.passing import passing
from procession.wire.pickled import Pickled
from procession.wire.scope import Scope, is_definition
from procession.wire.serial import Buffers, encode_by_value, loads

#: Values that cannot change in place: the same object is the same content.
_CONSTANT = (int, float, complex, str, bytes, bool, type(None), range, types.ModuleType)

#: A name that takes longer than this to pickle is not looked at again for every single task, only
#: when it is assigned, or when the next map begins.
_CHEAP_SECONDS = 200e-6

#: What is small: bytes of a text or an array, things within each other in all.
_SMALL_BYTES = 1 << 20
_SMALL_COUNT = 2000

#: Names that every module has of its own.
_OWN = {"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__loader__", "__package__"}

_EMPTY: Mapping[str, Any] = {}


class Definition(NamedTuple):
    """One version of one name of ``__main__``."""

    name: str
    version: int
    frame: Frame  #: its pickle, which is a parcel if it is large: stored once, for every worker there will be
    needs: frozenset[str]  #: names that the pickle refers to
    uses: frozenset[str]  #: names that the code in it refers to
    later: bool = False  #: it is to be read when something names it


class _Entry(NamedTuple):
    value: Any
    definition: Definition
    cost: float


class Mirror:
    """The definitions of this process's ``__main__`` that have been needed so far."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.RLock()
        self._versions = 0

    def closure(
        self, names: Iterable[str], *, thorough: bool, inherited: Mapping[str, Any] = _EMPTY
    ) -> tuple[Definition, ...]:
        """The definitions behind ``names`` and all that they refer to, what a pickle needs first.

        ``thorough`` compares the content even of values that are slow to pickle.  ``inherited`` is
        what the receiver already has, by a fork: those very objects are not looked into.
        """
        return self._follow(names, None, thorough=thorough, inherited=inherited)

    def whole(self, names: Iterable[str]) -> tuple[Definition, ...]:
        """The closure of ``names``, and behind it that of all functions and classes, without large values."""
        main = sys.modules["__main__"].__dict__
        others = [name for name, value in list(main.items()) if _is_defined_there(name, value)]
        found = self._follow(names, others, thorough=True)
        unread = _received.unread() if _received is not None else []
        return (*found, *(each for each in unread if each.name not in {known.name for known in found}))

    def _follow(
        self,
        names: Iterable[str],
        others: list[str] | None,
        *,
        thorough: bool,
        inherited: Mapping[str, Any] = _EMPTY,
    ) -> tuple[Definition, ...]:
        found: dict[str, Definition] = {}
        visited: set[str] = set()
        waiting = sorted(names, reverse=True)
        main = sys.modules["__main__"].__dict__
        sparing = False  # of large values

        def visit(name: str) -> None:
            if name in visited or name in _OWN or name not in main:
                return
            if inherited and inherited.get(name, inherited) is main[name]:
                return
            visited.add(name)
            value = main[name]
            definition = self._define_sparingly(name, value) if sparing else self._define(name, value, thorough)
            for need in sorted(definition.needs):
                visit(need)
            found[name] = definition._replace(later=sparing)
            # What only code names may come later, and must: a class whose attribute is a function
            # that makes such a class would otherwise wait for itself.
            waiting.extend(sorted(definition.uses, reverse=True))

        with self._lock:
            for name in self._entries.keys() - main.keys():
                del self._entries[name]  # and what it may have kept alive
            while waiting:
                visit(waiting.pop())
            if others is not None:
                sparing, waiting = True, sorted(others, reverse=True)
                while waiting:
                    visit(waiting.pop())
        return tuple(found.values())

    def _define_sparingly(self, name: str, value: Any) -> Definition:
        """The definition of what is sent in case something asks for it: it must not cost, fail or hold descriptors."""
        reason = "nothing that the process was given when it was started names it, and it is large or no plain value"
        try:
            if is_definition(value) or is_small(value):
                definition = self._define(name, value, thorough=True)
                if not isinstance(definition.frame, Parcel):
                    return definition
        except BaseException as error:  # whatever a __reduce__ raises
            reraise_interrupt(error)
            reason = f"{type(error).__name__}: {error}"
        return self._define(name, Unsent(name, reason), thorough=True)

    def _define(self, name: str, value: Any, thorough: bool) -> Definition:
        entry = self._entries.get(name)
        if entry is not None and entry.value is value:
            if isinstance(value, _CONSTANT):
                return entry.definition
            if not thorough and entry.cost > _CHEAP_SECONDS:
                return entry.definition
        begin = time.perf_counter()
        pickled, scope = _pickle(name, value)
        cost = time.perf_counter() - begin
        if entry is not None and _holds(entry.definition.frame, pickled):
            self._entries[name] = _Entry(value, entry.definition, cost)
            return entry.definition
        self._versions += 1
        frame = pack_file(pickled)
        definition = Definition(name, self._versions, frame, frozenset(scope.needs), frozenset(scope.uses))
        self._entries[name] = _Entry(value, definition, cost)
        return definition


def _is_defined_there(name: str, value: Any) -> bool:
    """Whether a name of ``__main__`` is that of a function or class which a pickle may refer to by it."""
    try:
        if not is_definition(value) or value.__module__ != "__main__" or value.__qualname__ != name:
            return False
    except Exception:  # a metaclass may have anything for these
        return False
    return not isinstance(value, type) or all(is_small(each, others=True) for each in list(vars(value).values()))


def is_small(value: Any, *, others: bool = False) -> bool:
    """Whether a value is small and plain, with all that is in it, or a function or class; runs none of its code.

    ``others``: what is not plain counts as small, too.
    """
    waiting, count, size = [value], 0, 0
    while waiting:
        each = waiting.pop()
        kind, count = type(each), count + 1
        if kind in (str, bytes, bytearray):
            size += len(each)
        elif kind in (list, tuple, set, frozenset, dict):
            count += len(each)
            if count <= _SMALL_COUNT:
                waiting += [*each, *each.values()] if kind is dict else each
        elif not (others or kind in _CONSTANT or kind is Unsent or is_definition(each)):
            return False
        if count > _SMALL_COUNT or size > _SMALL_BYTES:
            return False
    return True


def _holds(frame: Frame, pickled: Pickled) -> bool:
    """Whether a frame is what the pickle would become."""
    if isinstance(frame, Parcel):
        return frame.holds(pickled)
    return pickled.is_plain and frame == pickled.join()


def _pickle(name: str, value: Any) -> tuple[Pickled, Scope]:
    scope = Scope(defining=name)
    try:
        with passing():
            pickled = encode_by_value(value, scope, Buffers.BESIDE)
    except Exception as error:
        # A function may name a global without using it in a worker (the pool itself, often).
        # So this is no error yet: who uses it there is told.
        scope = Scope()
        pickled = encode_by_value(Unsent(name, f"{type(error).__name__}: {error}"), scope, Buffers.WITHIN)
    return pickled, scope


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


def install_main(path: str | None) -> types.ModuleType:
    """Give this process an empty ``__main__`` for mirrored names, as if run from ``path``."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if path is not None:
        main.__file__ = path
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return main


class Mirrored:
    """The names of ``__main__`` that this process has received from its parent.

    Owns those that wait to be asked for, under its lock: any thread may read a pickle that names them.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._later: dict[str, tuple[bytes, Sequence[str]]] = {}
        self._expected: set[str] = set()  # that have ever waited
        self._fresh: dict[str, Any] = {}  # that have been read, and what they use not yet
        self._reading = False
        self._lock = threading.RLock()

    def receive(self, definitions: list[Packed], read: Callable[[bytes], Any] = loads) -> None:
        """Set the named values in ``__main__``, in the order given: what is needed comes first."""
        global _received
        for name, frame, uses in definitions:
            if uses is None:
                self._later.pop(name, None)
                self._set(name, frame, read)
            else:
                self._later[name] = frame, uses
                self._expected.add(name)
        if self._later and _received is not self:
            # An attribute that a module has not got is asked of this function: PEP 562.
            sys.modules["__main__"].__dict__["__getattr__"] = self._find
            _received = self

    def unread(self) -> list[Definition]:
        """What nobody has asked for, to be sent on."""
        with self._lock:
            waiting = list(self._later.items())
        return [Definition(name, 0, frame, frozenset(), frozenset(uses), True) for name, (frame, uses) in waiting]

    def _set(self, name: str, frame: bytes, read: Callable[[bytes], Any]) -> None:
        setattr(sys.modules["__main__"], name, _value_of(name, frame, read))
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
                each = waiting.pop()
                frame, uses = self._later.pop(each, (None, ()))
                if frame is not None and each not in main:
                    self._fresh[each] = _value_of(each, frame, loads)
                    waiting.extend(uses)
        finally:
            if outermost:
                self._reading = False
                self.names.update(self._fresh)
                main.update(self._fresh)
                self._fresh = {}


def _value_of(name: str, frame: bytes, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(frame)
    except Exception as error:
        return Unsent(name, f"{type(error).__name__} while unpickling: {error}")


#: Of this process, if something waits there.
_received: Mirrored | None = None

#: A name, its pickle, and if that is for later, what its code uses.
Packed = tuple[str, bytes, Sequence[str] | None]


def pack_names(definitions: Iterable[Definition], fds: list[int]) -> list[Packed]:
    """The definitions as ``Mirrored.receive`` takes them; what must travel with them is added to ``fds``."""
    return [
        (each.name, describe_file(each.frame, fds), sorted(each.uses) if each.later else None) for each in definitions
    ]
