"""Classes of `__main__` are in a worker as their definitions left them, and their instances come back."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from tests.helpers.scripts import Completed, run_main

SCRIPT = """
import abc, collections, dataclasses, enum, threading, typing
import procession as multiprocessing

UserId = typing.NewType("UserId", int)
T = typing.TypeVar("T")

class Missing:
    def __reduce__(self):
        return "MISSING"

MISSING = Missing()

class Plugin:
    registry, made = {}, []
    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        Plugin.registry[cls.__name__] = cls
        MADE.append(cls.__name__)

MADE = []

class A(Plugin):
    pass

class B(A):
    pass

A.partner = B

class Meta(abc.ABCMeta):
    classes = []
    def __new__(meta, name, bases, body):
        if "value" not in body:
            raise TypeError("a class of this kind has a value")
        made = super().__new__(meta, name, bases, body)
        Meta.classes.append(made)
        return made

class First(metaclass=Meta):
    value = 1

class Second(First):
    value = 2

@dataclasses.dataclass(slots=True)
class Row:
    a: int
    b: str = "b"

class Slots:
    __slots__ = ("x", "__hidden")
    def __init__(self):
        self.x, self.__hidden = 1, 2
    def __eq__(self, other):
        return (self.x, self.__hidden) == (other.x, other.__hidden)

class Outer:
    class Inner:
        def __eq__(self, other):
            return type(other) is type(self)
    class Color(enum.Enum):
        RED = 1

class Pair(typing.NamedTuple):
    a: int
    b: str = "b"

Point = collections.namedtuple("Point", "x y")

class Box(typing.Generic[T]):
    def __eq__(self, other):
        return type(other) is type(self)

class IntBox(Box[int]):
    pass

class Locked:
    lock = threading.RLock()
    here = threading.local()
    def __eq__(self, other):
        return type(other) is type(self)

VALUES = [Row(1), Slots(), Outer.Inner(), Outer.Color.RED, Pair(1), Point(1, 2), Box(), IntBox(), Locked()]
VALUES += [A(), Second()]

def give(x):
    return x

def consume(inbox, outbox):
    while (value := inbox.get()) is not None:
        outbox.put((value, type(value).__qualname__))

"""


def run(text: str, folder: Path) -> Completed:
    """Run a script with all of these classes in it."""
    definitions, _, body = text.rpartition("---\n")
    return run_main(SCRIPT + definitions, body, folder)


def test_their_instances_come_back(tmp_path: Path) -> None:
    """From a call, as what they were, and equal."""
    text = """
with multiprocessing.Pool(1) as pool:
    for value in VALUES:
        found = pool.apply(give, (value,))
        assert type(found) is type(value), value
        assert type(value) in (A, Second) or found == value
    print(pool.apply(give, (MISSING,)) is MISSING)
"""
    assert run(text, tmp_path).stdout == "True\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_their_instances_come_back_by_queues(method: str, tmp_path: Path) -> None:
    """Which nobody has told what they will bring; under their qualified names."""
    text = f"""
context = multiprocessing.get_context("{method}")
inbox, outbox = context.Queue(), context.Queue()
process = context.Process(target=consume, args=(inbox, outbox))
process.start()
for value in VALUES:
    inbox.put(value)
    found, name = outbox.get(timeout=10)
    assert type(found) is type(value), value
    assert name == type(value).__qualname__
    assert type(value) in (A, Second) or found == value
inbox.put(None)
process.join()
print(process.exitcode)
"""
    assert run(text, tmp_path).stdout == "0\n"


def test_tables_of_subclasses_are_as_they_were(tmp_path: Path) -> None:
    """Classes that need each other come together; what noted them when they were defined has not run again."""
    text = """
def look(_):
    table, others = Plugin.registry, [each.__name__ for each in Meta.classes]
    return list(table), MADE, table["B"].__mro__[1] is table["A"], A.partner is B, others
---
with multiprocessing.Pool(1) as pool:
    print(*pool.map(look, [0])[0])
    class C(B):
        pass
    del Plugin.registry["A"], MADE[0]
    Plugin.registry["A"] = A
    print(*pool.map(look, [0])[0])
"""
    assert run(text, tmp_path).stdout.splitlines() == [
        "['A', 'B'] ['A', 'B'] True True ['First', 'Second']",
        "['B', 'C', 'A'] ['B', 'C'] True True ['First', 'Second']",
    ]


def test_a_class_that_a_task_defines_is_noted(tmp_path: Path) -> None:
    """By the hook of its base, which has travelled; twice through a pool within a task."""
    text = """
def define(_):
    class New(A):
        pass
    return list(Plugin.registry)

def define_below(_):
    with multiprocessing.Pool(1) as pool:
        return pool.apply(define, (0,))
---
with multiprocessing.Pool(1) as pool:
    print(pool.apply(define, (0,)), pool.apply(define_below, (0,)))
print(list(Plugin.registry))
"""
    new = "['A', 'B', 'New']"
    assert run(text, tmp_path).stdout.splitlines() == [f"{new} {new}", "['A', 'B']"]


def test_slots_stay_slots(tmp_path: Path) -> None:
    """An instance has no other attributes in a worker either; annotations may be new types."""
    text = """
def assign(value: UserId, default=MISSING) -> UserId:
    try:
        value.other = 1
    except AttributeError:
        return default is MISSING
---
with multiprocessing.Pool(1) as pool:
    print(pool.map(assign, [Row(1), Slots(), Pair(1)]), pool.apply(give, (UserId,)) is UserId)
"""
    assert run(text, tmp_path).stdout == "[True, True, True] True\n"


def test_locks_of_threads_in_globals_are_new_ones(tmp_path: Path) -> None:
    """Open ones, whoever holds them at home; in an argument they are refused."""
    text = """
LOCK = threading.Lock()

def guarded(x):
    with LOCK, Locked.lock:
        return x, hasattr(Locked.here, "value")
---
Locked.here.value = 1
with multiprocessing.Pool(1) as pool, LOCK:
    print(pool.map(guarded, [1]))
    try:
        pool.apply(give, (threading.Lock(),))
    except multiprocessing.NotPicklable as error:
        print("lock" in str(error))
"""
    assert run(text, tmp_path).stdout == "[(1, False)]\nTrue\n"


def test_what_the_worker_has_set_itself_stays(tmp_path: Path) -> None:
    """Also under a name that nothing had been sent under: whatever an initializer does."""
    text = """
CONNECTION = None

def connect():
    globals()["CONNECTION"] = "open"

def use(_):
    return CONNECTION
---
with multiprocessing.Pool(1, connect) as pool:
    print(pool.map(use, [0]))
    CONNECTION = "changed at home"
    print(pool.map(use, [0]))
"""
    assert run(text, tmp_path).stdout == "['open']\n['changed at home']\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_class_that_cannot_be_sent_says_why(method: str, tmp_path: Path) -> None:
    """When a task makes an instance, when one is brought to it, by a queue too, and when it is the base of a class."""
    text = f"""
class Stuck:
    items = (x for x in ())

class Below(Stuck):
    pass

def make(kind):
    try:
        return {{"Stuck": lambda: Stuck(), "Below": lambda: Below()}}[kind]()
    except TypeError as error:
        return str(error)

def consume_all(inbox, outbox):
    while True:
        try:
            inbox.get()
        except TypeError as error:
            outbox.put(str(error))
---
context = multiprocessing.get_context("{method}")
with context.Pool(1) as pool:
    print(*pool.map(make, ["Stuck", "Below"]), sep="\\n")
    try:
        pool.apply(give, (Stuck(),))
    except TypeError as error:
        print(error)
inbox, outbox = context.Queue(), context.Queue()
process = context.Process(target=consume_all, args=(inbox, outbox), daemon=True)
process.start()
for _ in range(2):
    inbox.put(Stuck())
    print(outbox.get(timeout=10))
process.terminate()
process.join()
"""
    lines = run(text, tmp_path).stdout.splitlines()
    assert len(lines) == 5
    assert all("cannot pickle 'generator' object" in line for line in lines)


def test_many_that_need_each_other_are_read_later(tmp_path: Path) -> None:
    """A megabyte of classes in one table, of which a queue brings an instance."""
    text = """
class Many:
    table = []
    def __init_subclass__(cls):
        Many.table.append(cls)

for number in range(100):
    exec(f"class Many{number}(Many):\\n    text = 'x' * 10_000 + '{number}'")

def count(inbox, outbox):
    outbox.put(len(type(inbox.get()).__mro__[1].table))
---
inbox, outbox = multiprocessing.Queue(), multiprocessing.Queue()
process = multiprocessing.Process(target=count, args=(inbox, outbox))
process.start()
inbox.put(Many7())
print(outbox.get(timeout=10))
process.join()
"""
    assert run(text, tmp_path).stdout == "100\n"


def test_what_is_imported_is_called(tmp_path: Path) -> None:
    """Its tables are the worker's own; through hooks and metaclasses of the script, and beside mixins of these."""
    (tmp_path / "imported.py").write_text(
        textwrap.dedent("""
        NOTED = []

        class Hook:
            def __init_subclass__(cls, **arguments):
                super().__init_subclass__(**arguments)
                NOTED.append(cls.__name__)

        class InitMeta(type):
            def __init__(cls, *arguments):
                super().__init__(*arguments)
                NOTED.append(cls.__name__)

        class Mixin:
            pass
        """)
    )
    text = """
import imported

class Mid(imported.Hook):
    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        cls.seen = True

class Leaf(Mid):
    pass

class OwnMeta(imported.InitMeta):
    pass

class OfMeta(metaclass=OwnMeta):
    pass

class MixedMeta(imported.Mixin, type):
    pass

class OfMixed(metaclass=MixedMeta):
    pass

def look(_):
    return Leaf.seen, OfMeta.__name__, type(OfMixed).__name__, sorted(imported.NOTED)
---
with multiprocessing.Pool(1) as pool:
    print(*pool.apply(look, (0,)))
"""
    assert run(text, tmp_path).stdout == "True OfMeta MixedMeta ['Leaf', 'Mid', 'OfMeta']\n"


def test_what_python_notes_in_a_class_is_no_change(tmp_path: Path) -> None:
    """So what a worker has set in it stays, when an instance is pickled at home, or its annotations are looked at."""
    text = """
class Db:
    connection = None
    def __init__(self, key):
        self.key = key

def connect():
    Db.connection = "open"

def use(db):
    return Db.connection, db.key
---
with multiprocessing.Pool(1, connect) as pool:
    for number in range(3):
        Db.__annotations__
        print(*pool.map(use, [Db(number)]))
"""
    assert run(text, tmp_path).stdout == "('open', 0)\n('open', 1)\n('open', 2)\n"


def test_what_function_and_items_need_is_one(tmp_path: Path) -> None:
    """A function that is a key of a global is the one that comes as an item."""
    text = """
def f():
    pass

def g():
    pass

WEIGHTS = {f: 1, g: 2}

def weigh(function):
    return WEIGHTS[function]
---
with multiprocessing.Pool(1) as pool:
    print(pool.map(weigh, [f, g]), pool.apply(weigh, (g,)))
"""
    assert run(text, tmp_path).stdout == "[1, 2] 2\n"


def test_a_property_over_a_slot_stays(tmp_path: Path) -> None:
    """With the slot behind it."""
    text = """
class Wrapped:
    __slots__ = ("x",)

def doubling(slot):
    return property(lambda self: slot.__get__(self) * 2, slot.__set__)

Wrapped.x = doubling(Wrapped.x)

def double(value):
    wrapped = Wrapped()
    wrapped.x = value
    return wrapped.x, hasattr(wrapped, "__dict__")
---
with multiprocessing.Pool(1) as pool:
    print(pool.map(double, [4]))
"""
    assert run(text, tmp_path).stdout == "[(8, False)]\n"
