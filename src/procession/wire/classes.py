"""Classes by value: made again as they are, without running again what their definition has run.

cloudpickle makes an empty class and sets its attributes, which loses slots and qualified names, and calls
``__init_subclass__`` and the metaclass as if somebody defined a new class: tables of subclasses get doubles, and
what these use of ``__main__`` may not be there yet.  The hooks and metaclasses that came by value themselves have
done their work at home, and what they did is in the attributes; those of importable modules are called here,
since their tables are this process's own.

Owns the set of classes that were made here; a class that comes home is the one that is there already.  Who is
making one is known to each thread by itself.
"""

from __future__ import annotations

import functools
import threading
import types
import weakref
from typing import Any

from cloudpickle import cloudpickle


class _Making(threading.local):
    depth = 0


_making = _Making()
_made: weakref.WeakSet[type] = weakref.WeakSet()


def reduce_class(reduced: tuple[Any, ...], cls: type) -> tuple[Any, ...]:
    """How ``cls`` is pickled, where cloudpickle would have it ``reduced`` like this."""
    if reduced[0] is not cloudpickle._make_skeleton_class:  # a type like that of None, or an enumeration
        return reduced
    _make, (meta, name, _bases, namespace, tracker, *_), state, *_ = reduced
    if meta.__name__ == "_TypedDictMeta":  # a dict in the end, made from what stands for its base
        return reduced
    attributes = dict(state[0])
    namespace = {**namespace, "__qualname__": cls.__qualname__}
    if "__orig_bases__" in attributes:  # what makes the real bases of these has done so; Generic looks at them
        namespace["__orig_bases__"] = attributes["__orig_bases__"]
    attributes.pop("__slotnames__", None)  # of copyreg: what Python notes in a class is no change of it
    if not attributes.get("__annotations__", True):
        del attributes["__annotations__"]
    if "__slots__" in vars(cls):
        added = _slots(cls)
        declared = _declared(cls, added)
        namespace["__slots__"] = declared
        # What stands over a slot, a property say, is an attribute.
        attributes.update({name: vars(cls)[name] for name in {*declared} - {*added} if name in vars(cls)})
        for slot in added:
            attributes.pop(slot, None)
    hook = attributes.get("__init_subclass__")
    if isinstance(hook, _Hook):
        attributes["__init_subclass__"] = classmethod(hook.__func__.__wrapped__)  # type: ignore[attr-defined]
    return _make_class, (meta, name, cls.__bases__, namespace, tracker), attributes, None, None, _set_attributes


def _slots(cls: type) -> tuple[str, ...]:
    """The slots that a class has added, under the names that it really has them."""
    found = []
    for name, value in vars(cls).items():
        slot = isinstance(value, types.MemberDescriptorType)
        slot = slot or (name in ("__dict__", "__weakref__") and isinstance(value, types.GetSetDescriptorType))
        if slot and value.__objclass__ is cls:  # dataclasses copies those of another class
            found.append(name)
    return tuple(found)


def _declared(cls: type, added: tuple[str, ...]) -> tuple[str, ...]:
    declared = vars(cls)["__slots__"]
    if isinstance(declared, str):
        return (declared,)
    return tuple(declared) if isinstance(declared, (tuple, list, dict)) else added  # else it may be used up


def _make_class(meta: type, name: str, bases: tuple[type, ...], namespace: dict[str, Any], tracker: str) -> type:
    """The class of this number, if it is known here, or a new one without attributes."""
    known: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    if known is not None:
        return known
    # The first that came by a name: its work is not in the attributes.
    maker: Any = next(each for each in meta.__mro__ if each not in _made and issubclass(each, type))

    def make(*arguments: Any) -> Any:
        made = maker.__new__(meta, *arguments)
        maker.__init__(made, *arguments)
        return made

    call = meta if maker is meta else make
    _making.depth += 1
    try:
        made = types.new_class(name, bases, {"metaclass": call}, lambda body: body.update(namespace))
    finally:
        _making.depth -= 1
    _made.add(made)
    found: type = cloudpickle._lookup_class_or_track(tracker, made)
    return found


def _set_attributes(cls: type, attributes: dict[str, Any]) -> type:
    if cls in _made:
        cloudpickle._class_setstate(cls, (attributes, {}))
        hook = vars(cls).get("__init_subclass__")
        if isinstance(hook, classmethod) and not isinstance(hook, _Hook):
            cls.__init_subclass__ = _Hook(_unless_making(hook.__func__, cls))  # type: ignore[assignment]
    return cls


class _Hook(classmethod):  # type: ignore[type-arg]
    """The ``__init_subclass__`` of a class that was made here: it is called for classes that are defined here."""


def _unless_making(hook: Any, owner: Any) -> Any:
    @functools.wraps(hook)
    def init_subclass(cls: type, **arguments: Any) -> None:
        if _making.depth:  # the next may be one of an imported class
            super(owner, cls).__init_subclass__(**arguments)
        else:
            hook(cls, **arguments)

    return init_subclass
