"""What waits of a source that is fed item by item: pickled items one by one, plain ones in runs.

Plain items (numbers, short texts) are copies of themselves, so they need not be pickled before their feeder goes on;
the pickle of a hundred takes a tenth of the time of a hundred pickles.

One thread adds, another takes, with the engine's lock; neither waits for the other, so that adding costs no lock:
    taker: the last run is used up, removes it | adder: has found that run, appends to it: the item is lost
So a run is removed only when the adder has closed it, after which it never touches it again.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from procession.wire.mainmodule import Definition

#: Items of one run: what has been taken of it is kept until all of it has.
_RUN_LENGTH = 2048

#: Characters or bytes of a text, and members of a tuple, that is plain.
_TEXT_LIMIT = 256
_TUPLE_LIMIT = 8

#: An int is plain up to here: it may have any length.
LARGE = 1 << 512

#: The types of which every other item is plain.
NUMBERS = frozenset({int, float, bool, complex, type(None)})


class Plain(list[Any]):
    """Items that are pickled together, when they are sent."""


class _Run:
    """Plain items one after another."""

    __slots__ = ("closed", "items", "start", "taken")

    def __init__(self, start: int, items: list[Any], *, closed: bool = False) -> None:
        self.start = start
        self.items = items
        self.taken = 0
        self.closed = closed  #: nothing will be added


#: A position, the pickle of its item, and what that needs of __main__.
_Single = tuple[int, Any, tuple[Definition, ...]]


class Waiting:
    """The items that wait, with their positions."""

    def __init__(self) -> None:
        self._entries: deque[_Single | _Run] = deque()
        #: The adder's: how many it has added, without those of the run that is open; and that run.  One object: the
        #: taker must see both as they were at one moment: too few, and it would say that nothing is left.
        self._added: tuple[int, _Run | None] = (0, None)
        self._taken = 0

    @property
    def count(self) -> int:
        """How many there are."""
        added, run = self._added
        # The taker may have a pickled one that the adder is about to count, and to announce.
        return max(0, added + (0 if run is None else len(run.items)) - self._taken)

    @property
    def end(self) -> int:
        """The position behind the open run, for the adder; 0 if none is open."""
        run = self._added[1]
        return 0 if run is None else run.start + len(run.items)

    # By the adder.

    def add(self, position: int, frame: Any, definitions: tuple[Definition, ...]) -> None:
        """Add a pickled item."""
        self.close_run()
        self._entries.append((position, frame, definitions))
        self._added = (self._added[0] + 1, None)

    def open_run(self, position: int) -> list[Any]:
        """Where to append plain items, of which the first has this position, as long as no other method is called.

        They can be taken as soon as they are there.
        """
        added, run = self._added
        if run is None or len(run.items) >= _RUN_LENGTH:
            if run is not None:
                self.close_run()
                added = self._added[0]
            run = _Run(position, [])
            self._entries.append(run)
            self._added = (added, run)
        return run.items

    def close_run(self) -> None:
        """The next plain item does not follow the last."""
        added, run = self._added
        if run is not None:
            self._added = (added + len(run.items), None)
            run.closed = True

    # By the taker.

    @property
    def first(self) -> int:
        """The position of the next item; there must be one."""
        head = self._head()
        return head.start + head.taken if isinstance(head, _Run) else head[0]

    def _head(self) -> _Single | _Run:
        """The entry of the next item; there must be one."""
        entries = self._entries
        while True:
            head = entries[0]
            if not isinstance(head, _Run):
                return head
            closed = head.closed  # read before the length: what is added until it is closed counts
            if head.taken < len(head.items):
                return head
            if closed:
                entries.popleft()
            else:
                entries.rotate(-1)

    def put_off(self) -> None:
        """Let the others go before the next item."""
        self._head()
        self._entries.rotate(-1)

    def take_plain(self, count: int) -> tuple[int, Plain] | None:
        """Take at most ``count`` plain items, with the position of the first; None if the next one is pickled."""
        head = self._head()
        if not isinstance(head, _Run):
            return None
        start = head.start + head.taken
        items = Plain(head.items[head.taken : head.taken + count])
        head.taken += len(items)
        self._taken += len(items)
        return start, items

    def take(self) -> _Single:
        """Take the next item, a pickled one."""
        head = self._entries.popleft()
        assert not isinstance(head, _Run)
        self._taken += 1
        return head

    def peek(self, position: int) -> Any:
        """The pickle of the next item if that is at ``position``, else None."""
        head = self._entries[0] if self._entries else None
        return None if head is None or isinstance(head, _Run) or head[0] != position else head[1]

    def put_back(self, position: int, frames: list[Any], definitions: tuple[Definition, ...], *, singly: bool) -> None:
        """Take consecutive items back: they are the next ones again."""
        self._taken -= len(frames)
        numbered = list(enumerate(frames, position))
        if not isinstance(frames, Plain):
            entries: list[_Single | _Run] = [(at, frame, definitions) for at, frame in numbered]
        elif singly:
            entries = [_Run(at, [item], closed=True) for at, item in numbered]
        else:
            entries = [_Run(position, frames, closed=True)]
        self._entries.extendleft(reversed(entries))


def is_plain(item: Any) -> bool:
    """Whether an item is small, never changes, and runs no code when it is pickled."""
    kind = type(item)
    if kind in NUMBERS:
        return kind is not int or -LARGE < item < LARGE
    if kind is str or kind is bytes:
        return len(item) <= _TEXT_LIMIT
    return (
        kind is tuple and len(item) <= _TUPLE_LIMIT and all(type(part) in NUMBERS and is_plain(part) for part in item)
    )
