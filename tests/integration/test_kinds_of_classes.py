"""Many kinds of classes of a script are in a worker what they are in a fork of the standard library."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.scripts import run_script

SCRIPT = """
import abc, collections, contextvars, dataclasses, enum, functools, threading, typing, weakref
import {library}

NOTED = []

class Meta(type):
    def __new__(meta, name, bases, body, tag=None):
        made = super().__new__(meta, name, bases, body)
        made.tag = tag
        NOTED.append(name)
        return made
    def __init__(cls, name, bases, body, tag=None):
        super().__init__(name, bases, body)
    @classmethod
    def __prepare__(meta, name, bases, **arguments):
        return collections.OrderedDict()
    def __len__(cls):
        return 7

class Made(metaclass=Meta, tag="t"):
    x = 1

class MadeBelow(Made, tag="u"):
    pass

class Hook:
    below = []
    def __init_subclass__(cls, /, flavor, **arguments):
        super().__init_subclass__(**arguments)
        cls.flavor = flavor
        Hook.below.append(cls.__name__)

class Sweet(Hook, flavor="sweet"):
    pass

class Sour(Sweet, flavor="sour"):
    pass

class Field:
    def __set_name__(self, owner, name):
        self.name = name
        owner.names = getattr(owner, "names", ()) + (name,)
    def __get__(self, instance, owner=None):
        return self if instance is None else vars(instance).get(self.name, "unset")
    def __set__(self, instance, value):
        vars(instance)[self.name] = value

class Record:
    a, b = Field(), Field()

class Access(enum.Flag):
    READ, WRITE = 1, 2
    def both(self):
        return self | Access.WRITE

class Number(enum.IntEnum):
    ONE = 1
    @classmethod
    def make(cls):
        return cls.ONE

class Letter(str, enum.Enum):
    A = "a"

T = typing.TypeVar("T")

class Stack(typing.Generic[T]):
    def __init__(self):
        self.items = []

class IntStack(Stack[int]):
    pass

@typing.runtime_checkable
class HasSize(typing.Protocol):
    def size(self) -> int: ...

class Sized:
    def size(self):
        return 3

class Options(typing.TypedDict, total=False):
    k: int

@dataclasses.dataclass(slots=True, frozen=True, kw_only=True)
class Frozen:
    a: int
    b: list = dataclasses.field(default_factory=list)

@dataclasses.dataclass(order=True)
class Plain:
    a: int = 0

@dataclasses.dataclass(slots=True)
class SlotsBelow(Plain):
    c: int = 5

@dataclasses.dataclass(slots=True)
class SlotsOne:
    a: int

@dataclasses.dataclass(slots=True)
class SlotsTwo(SlotsOne):
    b: int = 2

class OneSlot:
    __slots__ = "only"
    def __init__(self, value):
        self.only = value

class DocumentedSlot:
    __slots__ = {{"p": "what it is"}}
    def __init__(self, value):
        self.p = value

class Mixin:
    __slots__ = ()

class Mixed(Mixin, OneSlot):
    __slots__ = ("z",)

class Referable:
    __slots__ = ("a", "__weakref__")

class Node:
    child = None

class Leaf(Node):
    parent = Node

Node.child, Node.me = Leaf, Node

class Single:
    one = None
    def __new__(cls):
        if cls.one is None:
            cls.one = super().__new__(cls)
        return cls.one
    def __reduce__(self):
        return Single, ()

ONLY = Single()

class Coded(Exception):
    def __init__(self, code, thing):
        super().__init__(code, thing)
        self.code = code

class Renamed(Exception):
    def __init__(self, code):
        super().__init__("text")
        self.code = code
    def __reduce__(self):
        return Renamed, (self.code,)

@functools.singledispatch
def kind(x):
    return "object"

@kind.register
def _(x: int):
    return "int"

@kind.register
def _(x: Plain):
    return "plain"

kind("cached")

class Cached:
    calls = 0
    @functools.cached_property
    def value(self):
        Cached.calls += 1
        return 42

@functools.total_ordering
class Ordered:
    def __init__(self, value):
        self.value = value
    def __eq__(self, other):
        return self.value == other.value
    def __lt__(self, other):
        return self.value < other.value

KNOWN = {{}}

def register(cls):
    KNOWN[cls.__name__] = cls
    return cls

@register
class Known:
    pass

@register
class KnownBelow(Known):
    pass

class Holder:
    def __init__(self):
        self.lock, self.count = threading.Lock(), 0

HOLDER, VARIABLE, UNSET = Holder(), contextvars.ContextVar("variable", default=5), contextvars.ContextVar("unset")

class Property:
    __slots__ = ("_x",)
    def __init__(self):
        self._x = 1
    @property
    def x(self):
        return self._x
    @x.setter
    def x(self, value):
        self._x = value
    @staticmethod
    def me():
        return Property
    @classmethod
    def name(cls):
        return cls.__name__

class Deep:
    class In:
        class In:
            def who(self):
                return type(self).__qualname__

class Callable:
    def __call__(self, x):
        return x, type(self).__name__

def slots_of(x):
    return type(x).__slots__, hasattr(x, "__dict__"), type(x).__name__

def fail(x):
    raise x

def look(_):
    record, field = Record(), Property()
    record.a, field.x = 3, 8
    yield Made.tag, MadeBelow.tag, len(MadeBelow), MadeBelow.x, NOTED, type(Made).__name__
    yield Hook.below, Sweet.flavor, Sour.flavor
    yield record.a, record.b, Record.names
    yield Access.READ.both() == Access.READ | Access.WRITE, Number.make() is Number.ONE, Letter("a") is Letter.A
    yield IntStack().items, IntStack.__orig_bases__[0].__args__, isinstance(Sized(), HasSize), Options(k=1)
    yield dataclasses.replace(Frozen(a=1), a=5), SlotsBelow(2).c, Plain(1) < Plain(2), SlotsTwo(1)
    yield weakref.ref(referable := Referable())() is referable
    yield Node.child is Leaf, Leaf.parent is Node, Node.me is Node, Leaf.child is Leaf
    yield ONLY is Single(), Single.one is ONLY
    yield kind(3), kind(""), kind(Plain()), kind(SlotsBelow())
    yield Cached().value, Cached.calls, Ordered(1) >= Ordered(1)
    yield list(KNOWN), KNOWN["Known"] is Known, KnownBelow.__base__ is Known
    with HOLDER.lock:
        yield HOLDER.count, VARIABLE.get(), UNSET.get("none")
    yield field.x, Property.me() is Property, Property.name(), Deep.In.In().who()

def look_at_all(_):
    return [str(each) for each in look(_)]

if __name__ == "__main__":
    with multiprocessing.get_context("fork" if {standard} else None).Pool(1) as pool:
        print(*pool.map(look_at_all, [0])[0], sep="\\n")
        values = [OneSlot(1), DocumentedSlot(2), Mixed(3), SlotsTwo(1), Frozen(a=1), SlotsBelow(1), Property()]
        print(*pool.map(slots_of, values), sep="\\n")
        print(pool.map(Callable(), [1, 2]), pool.apply(Single) is ONLY)
        for error in (Coded(3, Frozen(a=1)), Renamed(4)):
            try:
                pool.apply(fail, (error,))
            except (Coded, Renamed) as found:
                print(type(found).__name__, found.args, found.code)
"""


def shown(folder: Path, library: str) -> list[str]:
    """What the script prints with a library."""
    text = SCRIPT.format(library=library, standard=library == "multiprocessing")
    return run_script(text, folder=folder, timeout=30).check().stdout.splitlines()


def test_they_are_what_they_are_in_a_fork(tmp_path: Path) -> None:
    """Line by line."""
    ours = shown(tmp_path, "procession as multiprocessing")
    assert len(ours) == 24
    assert ours == shown(tmp_path, "multiprocessing")
