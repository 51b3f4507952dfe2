"""Calling: how the items of a command become the arguments of its function.

Travels to the workers, so it imports nothing of the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Arguments(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012 (never changed)

    def __str__(self) -> str:
        words = [str(each) for each in self.args]
        return " ".join([*words, *(f"{name}={value}" for name, value in self.kwargs.items())])

    def __repr__(self) -> str:  # what a journal calls it
        return str(self)


class Spread:
    """A function of several arguments, as one of ``Arguments``."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self.__wrapped__ = func

    def __call__(self, item: Arguments) -> Any:
        """Call the function."""
        return self.func(*item.args, **item.kwargs)
