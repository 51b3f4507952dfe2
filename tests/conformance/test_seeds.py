"""Promise 6, the same digits everywhere: with `seed=` each item draws from the stream of its position."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import procession

pytestmark = pytest.mark.not_in_stdlib("seed= is ours")

COUNT = 12


def draw(item: int, *_more: int) -> tuple[int, float, float, float]:
    """The item, and a number of each generator."""
    return item, random.random(), float(procession.rng().random()), float(np.random.random())


def draw_star(item: int, other: int) -> tuple[int, float, float, float]:
    """The same of two arguments."""
    assert item == other
    return draw(item)


def fail_once(path: str, item: int) -> tuple[int, float, float, float]:
    """Draw, but fail at the first try of some items, after having drawn."""
    found = draw(item)
    if item % 3 == 0:
        try:
            with open(f"{path}/{item}", "x"):
                pass
        except FileExistsError:
            return found
        raise ValueError(item)
    return found


@functools.cache
def expected(seed: int = 7) -> list[tuple[int, float, float, float]]:
    """What one worker draws; the generator of numpy is the one that anybody can make."""
    with procession.Pool(1, backend="inline") as pool:
        found = pool.map(draw, range(COUNT), seed=seed)
    children = np.random.SeedSequence(seed).spawn(COUNT)
    assert [row[2] for row in found] == [float(np.random.default_rng(child).random()) for child in children]
    return found


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_digits_do_not_depend_on_workers_and_chunks(make_pool: Callable[..., Any], workers: int) -> None:
    """One, two or seven workers, any chunks, in order or not, by any call of many items."""
    pool = make_pool(workers)
    for chunksize in (1, 5, 100):
        assert pool.map(draw, range(COUNT), chunksize, seed=7) == expected()
        assert sorted(pool.imap_unordered(draw, iter(range(COUNT)), chunksize, seed=7)) == expected()
    assert pool.starmap(draw_star, [(n, n) for n in range(COUNT)], seed=7) == expected()
    assert pool.map_async(draw, range(COUNT), seed=7).get(60) == expected()
    assert list(pool.imap(draw, range(COUNT), seed=7)) == expected()
    assert [outcome.value for outcome in pool.outcomes(draw, range(COUNT), seed=7)] == expected()


def test_the_digits_do_not_depend_on_retries(make_pool: Callable[..., Any], tmp_path: Any) -> None:
    """A second try draws what the first drew."""
    function = functools.partial(fail_once, str(tmp_path))
    assert make_pool(2).map(function, range(COUNT), seed=7, retries=1) == expected()


def test_single_calls_are_numbered_by_their_view(make_pool: Callable[..., Any]) -> None:
    """The calls of a view are its items, from the first on; one that brings its own seed is the first."""
    pool = make_pool(2)
    view = pool.options(seed=7)
    assert [task.result() for task in [view.submit(draw, n) for n in range(COUNT)]] == expected()
    assert pool.apply(draw, (0,), seed=7) == expected()[0]
    assert pool.apply_async(draw, (0,), seed=7).get(60) == expected()[0]


def test_another_seed_draws_other_numbers(make_pool: Callable[..., Any]) -> None:
    """And a SeedSequence, or several integers, are seeds as numpy has them."""
    pool = make_pool(2)
    assert pool.map(draw, range(COUNT), seed=8) != expected()
    assert pool.map(draw, range(COUNT), seed=np.random.SeedSequence(7)) == expected()
    child = np.random.SeedSequence(7, spawn_key=(3,))
    (found,) = pool.map(draw, [0], seed=child)
    assert found[2] == float(np.random.default_rng(np.random.SeedSequence(7, spawn_key=(3, 0))).random())
    (found,) = pool.map(draw, [0], seed=[1, 2])
    assert found[2] == float(np.random.default_rng(np.random.SeedSequence([1, 2]).spawn(1)[0]).random())


def test_an_executor_keeps_the_digits() -> None:
    """By `map`, and by `submit` in the order of the calls."""
    with procession.ProcessPoolExecutor(2, seed=7) as executor:
        assert list(executor.map(draw, range(COUNT))) == expected()
        assert [future.result() for future in [executor.submit(draw, n) for n in range(COUNT)]] == expected()


def test_without_a_seed_nothing_is_shared(make_pool: Callable[..., Any]) -> None:
    """Nor do workers go on with what a seeded run has left."""
    pool = make_pool(2)
    for _ in range(2):
        pool.map(draw, range(COUNT), 1, seed=7)
        found = pool.map(draw, range(COUNT), 1)
        assert all(len({row[column] for row in found}) == COUNT for column in (1, 2, 3))
        assert not {row[1] for row in found} & {row[1] for row in expected()}


def test_the_caller_keeps_its_own_state() -> None:
    """Where items run in the caller's process."""
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    with procession.Pool(1, backend="inline") as pool:
        pool.map(draw, range(3), seed=7)
        pool.apply(draw, (1,), seed=7)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


@pytest.mark.parametrize(("seed", "kind"), [(-1, ValueError), (1.5, TypeError), ("x", TypeError), ([], ValueError)])
def test_a_seed_that_is_none(seed: Any, kind: type[Exception]) -> None:
    """Is an error at once."""
    with procession.Pool(1, backend="inline") as pool, pytest.raises(kind, match="seed"):
        pool.map(draw, [1], seed=seed)
