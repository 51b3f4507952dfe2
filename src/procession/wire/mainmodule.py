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

Names that cannot be read one without the other (a class whose table of subclasses holds one of them) are one
definition.

``Mirror`` lives in the sending process and owns the table of definitions, under its lock; ``mirrored.py``
is the other side.
"""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from procession.wire.faults import reraise_interrupt
from procession.wire.mirrored import Packed, Unsent, unread, unsent_class
from procession.wire.parcel import Frame, Parcel, describe_file, pack_file
from procession.wire.passing import passing
from procession.wire.pickled import Pickled
from procession.wire.scope import OF_THREADS, Scope, is_definition
from procession.wire.serial import Buffers, encode_by_value

#: Values that cannot change in place: the same object is the same content.
_CONSTANT = (int, float, complex, str, bytes, bool, type(None), range, types.ModuleType)

#: What costs nothing to send, as far as it contains nothing.
_PLAIN = (*_CONSTANT, *OF_THREADS, Unsent)

#: What takes longer than this to pickle is not pickled again for every single task, only when it is assigned, when an
#: attribute of it is, if it is a function or class, or when the next map begins.
_CHEAP_SECONDS = 200e-6

#: What is small: bytes of a text or an array, things within each other in all.
_SMALL_BYTES = 1 << 20
_SMALL_COUNT = 2000

#: Names that every module has of its own.
_OWN = {"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__loader__", "__package__"}

_EMPTY: Mapping[str, Any] = {}
_NONE: frozenset[str] = frozenset()
_NO_PARTS: dict[str, Any] = {}

#: The number of what leads to nothing that is open.
_PLACED = sys.maxsize


class Definition(NamedTuple):
    """One version of one name of ``__main__``, or of several that need each other."""

    names: tuple[str, ...]
    version: int
    frame: Frame  #: the pickle of a tuple of their values, a parcel if it is large: stored once, for all workers
    needs: frozenset[str]  #: names that the pickle refers to
    uses: frozenset[str]  #: names that the code in it refers to
    later: bool = False  #: it is to be read when something names it


class _Entry(NamedTuple):
    value: Any
    definition: Definition
    cost: float
    parts: dict[str, Any]


class _Joint(NamedTuple):
    versions: tuple[int, ...]  #: of its names, each by itself
    definition: Definition


class Mirror:
    """The definitions of this process's ``__main__`` that have been needed so far."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._joints: dict[tuple[str, ...], _Joint] = {}
        self._lock = threading.RLock()
        self._versions = 0

    def closure(
        self, names: Iterable[str], *, thorough: bool, inherited: Mapping[str, Any] = _EMPTY
    ) -> tuple[Definition, ...]:
        """The definitions behind ``names`` and all that they refer to, what a pickle needs first.

        ``thorough`` compares the content even of values that are slow to pickle.  ``inherited`` is
        what the receiver already has, by a fork: those very objects are not looked into.
        """
        with self._lock:
            walk = self._walk(inherited)
            walk.follow(names, partial(self._define, thorough=thorough))
            return tuple(walk.found)

    def whole(self, names: Iterable[str]) -> tuple[Definition, ...]:
        """The closure of ``names``, and behind it that of all functions and classes, without large values."""
        main = sys.modules["__main__"].__dict__
        others = [name for name, value in list(main.items()) if _is_defined_there(name, value)]
        with self._lock:
            walk = self._walk()
            walk.follow(names, partial(self._define, thorough=True))
            at_once = len(walk.found)
            walk.follow(others, self._define_sparingly)
        now, later = walk.found[:at_once], [each._replace(later=True) for each in walk.found[at_once:]]
        known = {name for each in walk.found for name in each.names}
        more = [each for each in unread() if known.isdisjoint(each.names)]
        passed_on = [Definition(each.names, 0, each.frame, _NONE, frozenset(each.uses or ()), True) for each in more]
        return (*now, *later, *passed_on)

    def _walk(self, inherited: Mapping[str, Any] = _EMPTY) -> _Walk:
        main = sys.modules["__main__"].__dict__
        for name in self._entries.keys() - main.keys():
            del self._entries[name]  # and what it may have kept alive
        for names in [names for names in self._joints if not main.keys() >= set(names)]:
            del self._joints[names]
        return _Walk(main, inherited, self._join)

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
        return self._define(name, _stand_in(name, value, reason), thorough=True)

    def _define(self, name: str, value: Any, thorough: bool) -> Definition:
        entry = self._entries.get(name)
        if entry is not None and entry.value is value:
            if isinstance(value, _CONSTANT):
                return entry.definition
            if not thorough and entry.cost > _CHEAP_SECONDS and _are_same(_parts(value), entry.parts):
                return entry.definition
        begin, parts = time.perf_counter(), _parts(value)
        pickled, scope = _pickle((name,), (value,))
        cost = time.perf_counter() - begin
        if entry is not None and _holds(entry.definition.frame, pickled):
            self._entries[name] = _Entry(value, entry.definition, cost, parts)
            return entry.definition
        definition = self._version((name,), pack_file(pickled), scope)
        self._entries[name] = _Entry(value, definition, cost, parts)
        return definition

    def _join(self, parts: Sequence[Definition]) -> Definition:
        """One definition of all the names."""
        names = tuple([name for part in parts for name in part.names])
        versions = tuple([part.version for part in parts])
        joint = self._joints.get(names)
        if joint is None or joint.versions != versions:
            main = sys.modules["__main__"].__dict__
            plain = not any(isinstance(part.frame, Parcel) for part in parts)
            how = Buffers.WITHIN if plain else Buffers.BESIDE
            pickled, scope = _pickle(names, tuple([main[name] for name in names]), how)
            for others in [others for others in self._joints if not set(names).isdisjoint(others)]:
                del self._joints[others]
            # What is plain stays so: what is to be read later can be read without descriptors only.
            frame = pickled.join() if plain else pack_file(pickled)
            joint = self._joints[names] = _Joint(versions, self._version(names, frame, scope))
        return joint.definition

    def _version(self, names: tuple[str, ...], frame: Frame, scope: Scope) -> Definition:
        self._versions += 1
        return Definition(names, self._versions, frame, frozenset(scope.needs), frozenset(scope.uses))


class _Walk:
    """Goes from names to all that they refer to, and puts them in an order in which they can be read.

    Those that need each other are the strongly connected components of what pickles refer to: Tarjan, "Depth-first
    search and linear graph algorithms", SIAM J. Comput. 1 (1972), which finds each behind all that it leads to.
    """

    def __init__(
        self, main: dict[str, Any], inherited: Mapping[str, Any], join: Callable[[Sequence[Definition]], Definition]
    ) -> None:
        self.found: list[Definition] = []
        self._main = main
        self._inherited = inherited
        self._join = join
        self._lowest: dict[str, int] = {}  # of what has been met: its number; _PLACED once it is in ``found``
        self._open: list[Definition] = []  # met, and not in ``found`` yet
        self._waiting: list[str] = []

    def follow(self, names: Iterable[str], define: Callable[[str, Any], Definition]) -> None:
        """Add what ``names`` lead to, as ``define`` defines it."""
        self._waiting = sorted(names, reverse=True)
        while self._waiting:
            self._visit(self._waiting.pop(), define)

    def _visit(self, name: str, define: Callable[[str, Any], Definition]) -> int:
        """Meet a name; return the least number of what it leads to that is open."""
        if name in self._lowest:
            return self._lowest[name]
        if name in _OWN or name not in self._main:
            return _PLACED
        if self._inherited and self._inherited.get(name, self._inherited) is self._main[name]:
            return _PLACED
        place = len(self._open)
        number = lowest = self._lowest[name] = len(self._lowest)
        definition = define(name, self._main[name])
        self._open.append(definition)
        for need in sorted(definition.needs):
            lowest = min(lowest, self._visit(need, define))
        # What only code names may come later, and must: a class whose attribute is a function
        # that makes such a class would otherwise wait for itself.
        self._waiting.extend(sorted(definition.uses, reverse=True))
        if lowest < number:
            return lowest
        parts = self._open[place:]
        del self._open[place:]
        self._lowest.update((each, _PLACED) for part in parts for each in part.names)
        self.found.append(definition if len(parts) == 1 else self._join(sorted(parts)))
        return _PLACED


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
        elif not (others or kind in _PLAIN or is_definition(each)):
            return False
        if count > _SMALL_COUNT or size > _SMALL_BYTES:
            return False
    return True


def _parts(value: Any) -> dict[str, Any]:
    """What is assigned when a function or class is changed."""
    if type(value) is types.FunctionType:
        cells = value.__closure__ or ()
        return {**vars(value), "1": value.__code__, "2": value.__defaults__, "3": value.__kwdefaults__, "4": cells}
    return dict(vars(value)) if isinstance(value, type) else _NO_PARTS


def _are_same(parts: dict[str, Any], others: dict[str, Any]) -> bool:
    """Whether these are the very same objects under the same names."""
    return parts.keys() == others.keys() and all(value is others[name] for name, value in parts.items())


def _holds(frame: Frame, pickled: Pickled) -> bool:
    """Whether a frame is what the pickle would become."""
    if isinstance(frame, Parcel):
        return frame.holds(pickled)
    return pickled.is_plain and frame == pickled.join()


def _pickle(names: tuple[str, ...], values: tuple[Any, ...], how: Buffers = Buffers.BESIDE) -> tuple[Pickled, Scope]:
    scope = Scope(defining=names)
    try:
        with passing():
            pickled = encode_by_value(values, scope, how)
    except Exception as error:
        # A function may name a global without using it in a worker (the pool itself, often).
        # So this is no error yet: who uses it there is told.
        scope = Scope()
        reason = f"{type(error).__name__}: {error}"
        stand_ins = [_stand_in(name, value, reason) for name, value in zip(names, values, strict=True)]
        pickled = encode_by_value(tuple(stand_ins), scope, Buffers.WITHIN)
    return pickled, scope


def _stand_in(name: str, value: Any, reason: str) -> Any:
    return (unsent_class if isinstance(value, type) else Unsent)(name, reason)


def pack_names(definitions: Iterable[Definition], fds: list[int]) -> list[Packed]:
    """The definitions as ``Mirrored.receive`` takes them; what must travel with them is added to ``fds``."""
    return [
        Packed(each.names, describe_file(each.frame, fds), sorted(each.uses) if each.later else None)
        for each in definitions
    ]
