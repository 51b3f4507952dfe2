"""Names for items by their content, and fingerprints of functions."""

from __future__ import annotations

import cmath
import copy
import functools
import itertools
import math
import os
import pathlib
import subprocess
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.journal.digest import digest
from procession.journal.fingerprint import fingerprint
from procession.journal.identity import identify

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@dataclass
class Point:
    """Something with fields."""

    x: int
    y: Any


class Colour(Enum):
    """Something of a few."""

    RED = 1
    BLUE = 2


def typed(value: Any) -> str:
    """A text that is the same for equal values of the same types."""
    return f"{type(value).__name__}:{value!r}"


@given(plain, plain)
def test_what_differs_has_another_digest(one: Any, other: Any) -> None:
    """And what is the same has the same."""
    assert (digest(one) == digest(other)) == (typed(one) == typed(other))


DIFFERENT = [
    *(0, False, 0.0, -0.0, None, "", b"", (), [], {}, set(), frozenset(), bytearray(), 0j, 1, True, 1.0, "1", b"1"),
    *((1, 2), [1, 2], ((1,), 2), (1, (2,)), ("12",), ("1", "2"), {1: 2}, {2: 1}, {1, 2}, frozenset({1, 2})),
    *(pathlib.PurePosixPath("a"), Point(1, 2), Point(1, [2]), Colour.RED, Colour.BLUE),
    *(np.zeros(2), np.zeros(3), np.zeros((1, 2)), np.zeros(2, np.float32), np.int64(1), np.int32(1), np.ones(2)),
    np.array([(1, 2.0)], [("a", int), ("b", float)]),
    np.array([(1, 2.0)], [("a", int), ("c", float)]),
    np.array([1, "x"], object),
]


def test_no_two_of_many_kinds_have_the_same() -> None:
    """Not even those that are equal, as `1`, `True` and `1.0`."""
    assert len({digest(each) for each in DIFFERENT}) == len(DIFFERENT)


def test_the_order_of_a_dict_counts_and_that_of_a_set_does_not() -> None:
    """As it does for a function that goes through them."""
    assert digest({1: 1, 2: 2}) != digest({2: 2, 1: 1})
    names = [f"name {n}" for n in range(50)]
    other = set[str]()
    for name in reversed(names):
        other.add(name)
    assert digest(set(names)) == digest(other)


def test_the_layout_of_an_array_does_not_count() -> None:
    """Only its elements in their places."""
    array = np.arange(12.0).reshape(3, 4)
    assert digest(array) == digest(np.asfortranarray(array)) == digest(np.hstack([array, array])[:, :4])


def test_what_contains_itself_or_cannot_be_pickled_has_one_too() -> None:
    """It is up to the run to say what is wrong with it."""
    cycle: list[Any] = []
    cycle.append(cycle)
    assert digest(cycle) == digest(cycle)
    assert len(digest(threading.Lock())) == 16
    assert digest(OrderedDict(a=1)) != digest(OrderedDict(a=2))


def test_it_is_the_same_in_every_process() -> None:
    """Whatever the order of hashes there."""
    text = "from procession.journal.digest import digest; print(digest(({'a', 'b', 'c'}, 1, 'x', 2.5)).hex())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert seen == {digest(({"a", "b", "c"}, 1, "x", 2.5)).hex() + "\n"}


def build(text: str, name: str = "f") -> Any:
    """A function of a module with this text."""
    module = types.ModuleType("some_module")
    sys.modules["some_module"] = module
    exec(compile(text, "some_module.py", "exec"), module.__dict__)
    return getattr(module, name)


BASE = """
LIMIT = 3
def helper(x):
    return x + 1
def f(x, y=2):
    'Say something.'
    return helper(x) * LIMIT + y
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return helper", "# a comment\n\n    return helper"),
        ("Say something.", "Say another thing."),
        ("LIMIT = 3", "LIMIT = 3\nOTHER = 7"),
    ],
)
def test_what_does_not_change_a_function(old: str, new: str) -> None:
    """Comments, blank lines, the docstring's words, and what it does not refer to."""
    assert fingerprint(build(BASE)) == fingerprint(build(BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [("* LIMIT", "+ LIMIT"), ("y=2", "y=3"), ("x + 1", "x + 2"), ("LIMIT = 3", "LIMIT = 4"), ("+ y", "+ x")],
)
def test_what_changes_a_function(old: str, new: str) -> None:
    """Its code, its defaults, its constants, and the helpers of its module."""
    assert fingerprint(build(BASE)) != fingerprint(build(BASE.replace(old, new)))


def scale(factor: int) -> Any:
    """A function that has a factor bound to it."""
    return lambda x: x * factor


class Model:
    """Something with methods, and a state."""

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def one(self) -> int:
        """One of two."""
        return 1

    def two(self) -> int:
        """The other."""
        return 2

    def __call__(self, x: Any) -> Any:
        """A method of its own."""
        return x


def test_which_code_it_is_counts() -> None:
    """Of methods, classes and builtins as well."""
    things = [scale(2), Model().one, Model().two, pow, abs, print, Model, Model(), len, np.sin]
    assert len({fingerprint(each) for each in things}) == len(things)


def test_what_is_bound_does_not_change_the_code() -> None:
    """It makes another run instead."""
    assert fingerprint(scale(2)) == fingerprint(scale(3))
    assert fingerprint(functools.partial(pow, 2)) == fingerprint(functools.partial(pow, 3))
    assert fingerprint(Model(2).one) == fingerprint(Model(3).one)


BOUND: list[tuple[Callable[[Any], Any], str]] = [
    (lambda value: functools.partial(pow, value), "{}"),
    (lambda value: functools.partial(functools.partial(pow, 1), exp=value), "1, exp={}"),
    (lambda value: functools.partial(scale, scale(value)), "scale.<locals>.<lambda>"),
    (lambda value: functools.partial(scale, Model(value).one), "Model.one"),
    (lambda value: Model(value).one, "self=Model"),
    (Model, "state={}"),
    (scale, "factor={}"),
    (lambda value: functools.partial(map, lambda x, y=value: x + y), "<lambda>.<locals>.<lambda>"),
    (lambda value: lambda x, y=value: x + y, "y={}"),
    (lambda value: lambda x, *, y=value: x + y, "y={}"),
    (lambda value: [value].count, "self=[{}]"),
    (lambda value: functools.lru_cache(scale(value)), ""),
    (lambda value: functools.wraps(abs)(scale(value)), "factor={}"),
    (lambda value: Retry(abs, value), "times={}"),
    (lambda value: made_class(value)().one, "self=Made"),
    (lambda value: functools.partial(isinstance, made_class(value)), "made_class.<locals>.Made"),
    (lambda value: functools.partial(isinstance, type("C", (), {"rate": value})), "C"),
    (lambda value: functools.partial(scale, factor=functools.partial(pow, value)), "factor=pow"),
    (lambda value: functools.partial(scale, [Model(scale(value))]), "[<test_digest.Model object>]"),
]


class Retry:
    """A decorator that is a class."""

    def __init__(self, function: Any, times: Any) -> None:
        functools.update_wrapper(self, function)
        self.times = times

    def __call__(self, x: Any) -> Any:
        """Call it."""
        return self.__wrapped__(x)  # type: ignore[attr-defined]


def made_class(value: Any) -> Any:
    """A class within a function, which has something from there."""

    class Made:
        def one(self) -> Any:
            return value

    return Made


@pytest.mark.parametrize("make", [make for make, _words in BOUND])
@pytest.mark.parametrize(("value", "other"), [(2, 3), (2, 2.0), ([1], [2]), (Model(1), Model(2)), ({1, 2}, {1, 3})])
def test_with_other_values_it_is_another_run(make: Callable[[Any], Any], value: Any, other: Any) -> None:
    """Of whatever kind they are, and wherever they are held; with equal ones it is the same."""
    one, same, another = (identify(make(each), None) for each in (value, copy.deepcopy(value), other))
    assert one.bound == same.bound != another.bound


@pytest.mark.parametrize(("make", "words"), BOUND)
def test_a_run_tells_what_its_function_holds(make: Callable[[Any], Any], words: str) -> None:
    """By the names of parameters, without addresses."""
    found = identify(make(2), None).words.replace(f"{__package__}." if __package__ else "", "")
    assert found == words.format(2)


def test_what_is_held_stands_in_its_place() -> None:
    """The same things in other places are another run; one object twice is as good as two that are equal."""
    half, same = functools.partial(pow, 2), functools.partial(pow, 2)
    assert identify(functools.partial(map, half, half), None) != identify(functools.partial(map, half, pow), None)
    assert identify(functools.partial(map, half, half), None) == identify(functools.partial(map, half, same), None)


def decorated(function: Any, *, k: int = 0) -> Any:
    """The function, with something around it."""

    @functools.wraps(function)
    def around(*args: Any, k: int = k) -> Any:
        return function(*args)

    return around


def test_what_is_around_a_function_counts() -> None:
    """Whatever name it has given itself; what it has around it is not told, since it is the function itself."""
    runs = [identify(each, None) for each in (scale, decorated(scale), decorated(scale, k=1))]
    assert len({each.bound for each in runs}) == 3
    assert [each.words for each in runs] == ["", "k=0", "k=1"]


def test_which_function_is_held_counts() -> None:
    """By its name, or by its code if that does not tell."""
    functions: list[Any] = [math.sin, cmath.sin, abs, Model, scale, (lambda x: x + 1), (lambda x: x + 2)]
    seen = {identify(functools.partial(map, each), None).bound for each in functions}
    assert len(seen) == len(functions)


def test_a_lambda_is_known_by_its_code() -> None:
    """It has no name that tells it from another."""
    one, same, other = (identify(eval(text), None) for text in ("lambda x: x + 1", "lambda x:x+1", "lambda x: x + 2"))
    assert one == same
    assert one.bound != other.bound


def test_a_function_that_knows_itself_has_an_identity() -> None:
    """As one does that calls itself, within another."""

    def down(n: int) -> int:
        return down(n - 1) if n else 0

    assert identify(down, None) == identify(down, None)


class Awkward:
    """Something that is in nobody's way on purpose."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)

    def __call__(self, x: Any) -> Any:
        """Give it back."""
        return x


def test_what_cannot_be_looked_into_has_an_identity() -> None:
    """It never fails: whatever is wrong with the function shows when it is run."""
    assert identify(Awkward(), None) == identify(Awkward(), None)
    assert identify(functools.partial(pow, Awkward()), None).function == "pow"


def test_an_object_is_known_by_its_state() -> None:
    """And not by which texts in it are one object, as its pickle is."""
    text = "a text"
    same = Model([text, text])
    assert digest(same) == digest(Model([text, "".join(text)])) == digest(Model([text, text[:2] + text[2:]]))
    assert digest(same) != digest(Model([text, "another"]))


def test_a_function_as_a_value_is_known_by_what_it_is() -> None:
    """By its code and by what it holds, not by where it stands."""
    texts = ("lambda x: x + 1", "\n\n\nlambda x: x + 1  # the same", "lambda x: x + 2")
    one, same, other = (digest([eval(text.strip(), {})]) for text in texts)
    assert one == same != other
    assert digest([scale(2)]) == digest([scale(2)]) != digest([scale(3)])


HELD = """
import dataclasses, functools
from procession.journal.identity import identify

@dataclasses.dataclass
class Point:
    x: int
    names: set

def work(point, item):
    return item

function = functools.partial(work, Point(1, {"a", "b", "c"}), key=lambda x: x in {"d", "e"})
if __name__ == "__main__":
    print(identify(function, None).bound.hex())
"""


def test_it_is_the_same_run_in_another_process(tmp_path: Path) -> None:
    """Whatever the order of hashes there, in the script and where that is imported."""
    (tmp_path / "held.py").write_text(HELD)
    imported = "import held; print(held.identify(held.function, None).bound.hex())"
    found = set()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "held.py").write_text(HELD)
    inside = imported.replace("import held", "import package.held as held")
    ways = (["held.py"], ["-c", imported], ["-m", "held"], ["-m", "package.held"], ["package/held.py"], ["-c", inside])
    for seed, words in itertools.product("12", ways):
        command = [sys.executable, *words]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        found.add(run.stdout)
    assert len(found) == 1
