"""Where a function or class can be found again by name, seen from the process that pickles it.

Decides "by reference or by value" for every function and class that a pickler meets, and collects
the names of ``__main__`` that the other side will need.  Owns only caches about modules.
"""

from __future__ import annotations

import copyreg
import importlib.machinery
import sys
import threading
import types
import typing
from collections.abc import Callable, Collection
from enum import Enum, auto
from functools import lru_cache
from typing import Any

#: The type of a function under ``functools.lru_cache``; it pickles as a bare name.
LRU_WRAPPER: type = type(lru_cache(lambda: None))


class Where(Enum):
    """How the other side gets a function or class."""

    MODULE = auto()  #: it imports the module
    MAIN = auto()  #: by its name in the mirrored ``__main__``
    NOWHERE = auto()  #: only by value


class Scope:
    """The names that the other side can resolve: importable modules, and names of ``__main__``.

    ``main_names`` limits the latter (a worker may only refer to what its parent has sent);
    None means every name, each of which is added to ``needs`` when it is referred to (the receiver
    must have it to read the pickle), or to ``uses`` when the code of a function sent by value names
    it (the receiver must have it when the function runs).  ``defining`` are the names whose
    definition is being pickled: they, and what is inside of them, go by value.
    """

    __slots__ = ("_defining", "_main_names", "needs", "uses")

    def __init__(self, main_names: Collection[str] | None = None, defining: Collection[str] = ()) -> None:
        self._main_names = main_names
        self._defining = defining
        self.needs: set[str] = set()
        self.uses: set[str] = set()

    @property
    def is_defining(self) -> bool:
        """Whether it is a global of ``__main__`` that is being pickled."""
        return bool(self._defining)

    def locate(self, obj: Any) -> Where:
        """Find out how the other side can get ``obj``, noting a name of ``__main__`` as needed."""
        module_name = getattr(obj, "__module__", None)
        qualname = getattr(obj, "__qualname__", None)
        if module_name is None or qualname is None:
            return Where.MODULE  # no function of Python's own making; pickle knows what to do
        module = sys.modules.get(module_name)
        if module is None or resolve(module, qualname) is not obj:
            return Where.NOWHERE
        if module_name != "__main__":
            return Where.MODULE if importable(module_name) else Where.NOWHERE
        name = qualname.partition(".")[0]
        if name in self._defining:
            return Where.NOWHERE
        if self._main_names is None:
            self.needs.add(name)
        elif name not in self._main_names:
            return Where.NOWHERE
        return Where.MAIN

    def reduce_named(self, obj: Any) -> Any:
        """The reduction of what may pickle as a name of ``__main__``, which is noted as needed."""
        reduced = obj.__reduce__()
        if not isinstance(reduced, str) or resolve(sys.modules["__main__"], reduced) is not obj:
            return reduced
        name = reduced.partition(".")[0]
        if name in self._defining:
            return object.__new__, (type(obj),), getattr(obj, "__dict__", None)
        if self._main_names is None:
            self.needs.add(name)
        return reduced

    def unshared(self, names: dict[str, Any]) -> dict[str, Any]:
        """Note that a function uses these globals of ``__main__``; return those it must carry."""
        if self._main_names is None:
            self.uses.update(names)
            return {}
        return {name: value for name, value in names.items() if name not in self._main_names}


def is_definition(obj: Any) -> bool:
    """Whether ``obj`` is something that is looked up by name: a function, a class or a ``NewType``."""
    kind = type(obj)
    return kind is types.FunctionType or kind is LRU_WRAPPER or kind is typing.NewType or issubclass(kind, type)


def names_itself(obj: Any) -> bool:
    """Whether an object of a class of ``__main__`` may pickle as the name that it has there, as sentinels do."""
    kind: Any = type(obj)
    if kind.__module__ != "__main__" or kind.__reduce_ex__ is not object.__reduce_ex__:
        return False
    return kind.__reduce__ is not object.__reduce__ and kind not in copyreg.dispatch_table


#: What threads of one process have between them.  In a global it is a new one in each process, as if the process had
#: run the script; in an argument or a result it is a mistake, and refused.
OF_THREADS: dict[type, Callable[[], Any]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
    threading.local: threading.local,
}


def has_reducer(obj: Any) -> bool:
    """Whether the metaclass of a class says by ``copyreg`` how its classes are pickled."""
    kind = type(obj)
    return kind is not type and kind is not types.FunctionType and kind in copyreg.dispatch_table


def resolve(module: types.ModuleType, qualname: str) -> Any:
    """The object that ``qualname`` names in ``module``, or None."""
    obj: Any = module
    for part in qualname.split("."):
        obj = getattr(obj, part, None)
        if obj is None:
            return None
    return obj


_importable: dict[str, bool] = {}


def importable(module_name: str) -> bool:
    """Whether another process with our ``sys.path`` finds the same module under this name.

    A module made by hand, or loaded from a file that is not on the path, cannot be found.
    """
    known = _importable.get(module_name)
    if known is None:
        known = _importable[module_name] = _find(module_name)
    return known


def _find(module_name: str) -> bool:
    spec: importlib.machinery.ModuleSpec | None = getattr(sys.modules.get(module_name), "__spec__", None)
    if spec is None:
        return module_name in sys.builtin_module_names
    top = module_name.partition(".")[0]
    if top != module_name:
        return importable(top)
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        found: importlib.machinery.ModuleSpec | None = find_spec and find_spec(top, None)
        if found is not None:
            return found.origin == spec.origin
    return False
