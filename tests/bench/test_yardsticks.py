"""What the scenarios of big data measure with: repeats, memory, and halves that are forked."""

from __future__ import annotations

import gc
import itertools
import time
import weakref
from pathlib import Path

import pytest

from bench import memory, repeats, split


class Big:
    """Something whose end can be seen."""


def test_the_first_repeat_is_not_counted_and_each_has_its_own_argument() -> None:
    """The median is that of the others; making the argument and checking the result takes no counted time."""
    arguments = itertools.count()
    seen: list[int] = []

    def action(argument: int) -> int:
        time.sleep(0.05 if argument == 0 else 0)
        seen.append(argument)
        return argument

    def check(argument: int, result: int) -> bool:
        time.sleep(0.01)
        return argument == result == seen[-1]

    assert repeats.median_seconds(3, action, lambda: next(arguments), check) < 0.01
    assert seen == [0, 1, 2, 3]


def test_something_slow_is_done_once_and_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many repeats were asked for."""
    monkeypatch.setattr(repeats, "PATIENCE", 0.0001)
    slow = [0.001] * 100
    assert repeats.median_seconds(9, lambda _: time.sleep(slow.pop()), lambda: None, lambda _, __: True) >= 0.001
    assert len(slow) == 98


def test_a_result_is_dropped_before_the_next_argument_is_made() -> None:
    """One that were kept would cost a library with recycled memory a fresh block every time."""
    made: list[weakref.ref[Big]] = []

    def action(_: object) -> Big:
        result = Big()
        made.append(weakref.ref(result))
        return result

    def prepare() -> None:
        gc.collect()
        assert all(one() is None for one in made)

    repeats.median_seconds(2, action, prepare, lambda _, __: True)
    assert len(made) == 3


def test_a_wrong_result_is_not_measured() -> None:
    """It is an error."""
    with pytest.raises(AssertionError, match="the result is wrong"):
        repeats.median_seconds(1, lambda _: 1, lambda: None, lambda _, result: result == 2)


def test_memory_is_told_in_bytes() -> None:
    """An interpreter has some megabytes, and the peak is never below what there is now."""
    assert 1e6 < memory.family_pss() < 1e12
    before = memory.peak()
    block = bytearray(b"x") * 50_000_000
    assert memory.peak() >= before
    assert memory.peak() > len(block)


def test_forked_halves_begin_at_each_signal_and_end_with_their_parent(tmp_path: Path) -> None:
    """Both have done their work when the function returns, as often as it is called."""

    def append(name: str) -> None:
        with (tmp_path / name).open("a") as file:
            file.write("x")

    with split.forked_halves([lambda: append("a"), lambda: append("b")]) as run:
        for turn in range(1, 4):
            run()
            assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "x" * turn


def test_a_forked_half_that_raises_is_noticed(capfd: pytest.CaptureFixture[str]) -> None:
    """While the other one goes on."""
    with split.forked_halves([lambda: 1 // 0, lambda: None]) as run, pytest.raises(EOFError):
        run()
    assert "ZeroDivisionError" in capfd.readouterr().err
