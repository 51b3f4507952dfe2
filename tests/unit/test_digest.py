"""Names for items by their content, and fingerprints of functions."""

from __future__ import annotations

import copy
import functools
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
    (lambda value: functools.partial(scale, scale(value)), "scale.<locals>.<lambda>, factor={}"),
    (lambda value: Model(value).one, "self=Model"),
    (Model, "Model"),
    (scale, "factor={}"),
    (lambda value: functools.partial(map, lambda x, y=value: x + y), "<lambda>.<locals>.<lambda>, y={}"),
    (lambda value: functools.partial(map, lambda x, *, y=value: x + y), "<lambda>.<locals>.<lambda>, y={}"),
    (lambda value: [value].count, "self=[{}]"),
    (lambda value: functools.lru_cache(scale(value)), "factor={}"),
    (lambda value: functools.wraps(abs)(scale(value)), "factor={}"),
]


@pytest.mark.parametrize("make", [make for make, _words in BOUND])
@pytest.mark.parametrize(("value", "other"), [(2, 3), (2, 2.0), ([1], [2]), (Model(1), Model(2)), ({1, 2}, {1, 3})])
def test_with_other_values_bound_it_is_another_run(make: Callable[[Any], Any], value: Any, other: Any) -> None:
    """Of whatever kind they are; equal ones are the same, and sure to be."""
    one, same, another = (identify(make(each), None) for each in (value, copy.deepcopy(value), other))
    assert one.bound == same.bound != another.bound
    assert one.unsure == another.unsure == ""


@pytest.mark.parametrize(("make", "words"), BOUND)
def test_a_run_tells_what_is_bound_to_its_function(make: Callable[[Any], Any], words: str) -> None:
    """By the names of parameters, without addresses."""
    assert identify(make(2), None).words == words.format(2)


def decorated(function: Any) -> Any:
    """The function, with something around it."""

    @functools.wraps(function)
    def around(*args: Any) -> Any:
        return function(*args)

    return around


def test_a_decorator_binds_nothing() -> None:
    """What it has around it is the function itself."""
    assert identify(decorated(scale), None).words == identify(scale, None).words == ""
    assert identify(decorated(scale), None).bound == b""


def test_which_function_is_bound_counts() -> None:
    """By its name, or by its code if that does not tell."""
    functions: list[Any] = [math.sin, math.cos, abs, Model, scale, (lambda x: x + 1), (lambda x: x + 2)]
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


def test_what_is_known_by_its_pickle_alone_is_told() -> None:
    """That may differ though the object is the same."""
    state = identify(functools.partial(pow, exp=np.random.default_rng(1)), None)
    assert state.unsure == "exp, a Generator"
    assert state.bound != identify(functools.partial(pow, exp=np.random.default_rng(2)), None).bound


def test_an_object_is_known_by_its_state() -> None:
    """And not by which texts in it are one object, as its pickle is."""
    text = "a text"
    same = Model([text, text])
    assert digest(same) == digest(Model([text, "".join(text)])) == digest(Model([text, text[:2] + text[2:]]))
    assert digest(same) != digest(Model([text, "another"]))
