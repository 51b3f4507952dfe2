"""The options of calls: one place, one meaning each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from procession.checks import (
    Limit,
    OnError,
    Seed,
    check_backoff,
    check_chunksize,
    check_count,
    check_journal,
    check_key,
    check_label,
    check_max_failures,
    check_on_error,
    check_progress,
    check_retries,
    check_retry_on,
    check_seconds,
    check_seed,
    check_stop_when,
    check_word,
)


@dataclass(frozen=True, eq=False, slots=True)
class TaskOptions:
    """What holds for the items of one call."""

    timeout: float | None = None  #: seconds that an item may run
    retries: int = 0  #: how often an item is tried again
    retry_on: tuple[type[BaseException], ...] = (Exception,)  #: after which errors
    backoff: tuple[float, ...] = ()  #: seconds before each of the retries; the last one holds for those behind it
    seed: Seed | None = None  #: of the random streams of the items
    # For calls with many items only.
    on_error: OnError = OnError.RAISE
    stop_when: int | Callable[[Any], Any] | None = None  #: after so many values, or one of which it is true
    max_failures: Limit | None = None  #: of items, before all is given up
    chunksize: int | None = None  #: where the call does not say
    ordered: bool | None = None  #: where the call does not say
    window: int | None = None  #: how many items an iterator may have in flight or undelivered
    label: str | None = None  #: what the run is called
    progress: Any = None  #: see ``check_progress``
    journal: str | None = None  #: the file that keeps the outcomes
    key: Callable[[Any], Any] | None = None  #: names an item in the journal
    resume: str = "done"  #: "failed": what failed is run again
    on_change: str = "warn"  #: what is done if the journal is of another version of the function

    def delay(self, failures: int) -> float:
        """How long to wait before the next try, when ``failures`` retries have been made."""
        return self.backoff[min(failures, len(self.backoff) - 1)] if self.backoff else 0.0

    @property
    def for_many(self) -> list[str]:
        """The options for calls with many items that are set."""
        return [name for name in MANY_OPTIONS if name in self.described()]

    def described(self) -> dict[str, str]:
        """What is not as usual, in words."""
        usual = TaskOptions()
        values = ((name, getattr(self, name)) for name in _CHECKS)
        return {name: repr(value) for name, value in values if value != getattr(usual, name)}

    def changed(self, changes: Mapping[str, Any]) -> TaskOptions:
        """The same with some options changed, which are validated.  On failure: ``ValueError``, ``TypeError``."""
        if not changes:
            return self
        unknown = changes.keys() - _CHECKS.keys()
        if unknown:
            known = ", ".join(_CHECKS)
            raise TypeError(f"{', '.join(sorted(unknown))} is no option of a call; there are {known}")
        return replace(self, **{name: _CHECKS[name](value) for name, value in changes.items()})

    def check_use(self, names: Collection[str]) -> None:
        """Check that the options of a call by these names mean something.  On failure: ``ValueError``.

        An option may be about another that the call itself turns off: both may be a program's variables.
        """
        usual = TaskOptions()
        for name in names:
            needed = _OF.get(name)
            if needed is None or needed in names or getattr(self, needed):
                continue
            if getattr(self, name) != getattr(usual, name):
                raise ValueError(f"{name}= says something of {needed}=, and this call has no {needed}=")


#: Options that are about another.
_OF = {"retry_on": "retries", "backoff": "retries", "key": "journal", "resume": "journal", "on_change": "journal"}

_CHECKS: dict[str, Callable[[Any], Any]] = {
    "timeout": lambda value: check_seconds(value, "timeout"),
    "retries": check_retries,
    "retry_on": check_retry_on,
    "backoff": check_backoff,
    "seed": check_seed,
    "on_error": check_on_error,
    "stop_when": check_stop_when,
    "max_failures": check_max_failures,
    "chunksize": check_chunksize,
    "ordered": lambda value: None if value is None else bool(value),
    "window": lambda value: check_count(value, "window"),
    "label": check_label,
    "progress": check_progress,
    "journal": check_journal,
    "key": check_key,
    "resume": lambda value: check_word(value, "resume", ("done", "failed")),
    "on_change": lambda value: check_word(value, "on_change", ("warn", "refuse")),
}

#: The names of the options of single calls, and of those that are for calls with many items alone.
SINGLE_OPTIONS = ("timeout", "retries", "retry_on", "backoff", "seed")
MANY_OPTIONS = tuple(name for name in _CHECKS if name not in SINGLE_OPTIONS)
ALL_OPTIONS = tuple(_CHECKS)
