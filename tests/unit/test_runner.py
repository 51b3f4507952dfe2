"""The runner against a ledger and a socket pair, in this process: every item has its outcome, in order."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import tasks

from procession.system import STOP_SIGNAL
from procession.wire import ledger as page
from procession.wire.channel import Channel, socket_pair
from procession.wire.ledger import Ledger
from procession.wire.messages import ARENA, Encoding, Part, Run, Style, pack_frames, unpack_part
from procession.wire.outcomes import read_outcomes
from procession.wire.serial import Encoder, loads
from procession.wire.views import Views
from procession.worker.calling import read_items
from procession.worker.memory import Limits, Memory
from procession.worker.runner import Runner


class Bench:
    """A runner, and the parent's end of its channel and ledger."""

    def __init__(self) -> None:
        fd = Ledger.create()
        self.seen, self.written = Ledger(os.dup(fd)), Ledger(fd)
        ours, theirs = socket_pair()
        self.ours, self.theirs = Channel(ours, many_fds=True), Channel(theirs)
        self.memory = Memory(self.theirs, self.written, Limits(1 << 30, 1 << 30))
        self.views = Views(self.seen.taken)
        self.runner = Runner(self.theirs, self.written, Encoder(set()), self.memory)
        self.seq = 0

    def run(self, function: Callable[..., Any], items: list[Any], **options: Any) -> list[Part]:
        """Run a chunk and return the parts that were posted."""
        self.seq += 1
        head = Run(
            options.get("style", Style.MAP),
            options.get("encoding", Encoding.BATCH),
            options.get("timed", False),
            options.get("stoppable", False),
            len(items),
            self.seq,
            options.get("function_id", 1),
        )
        parts: list[Part] = []
        reader = threading.Thread(target=self._read, args=(parts,))
        reader.start()
        self.runner.begin(head)
        self.runner.run(head, function, [items])
        reader.join(20)
        assert not reader.is_alive()
        return parts

    def _read(self, parts: list[Part]) -> None:
        while not parts or not parts[-1].final:
            message = self.ours.recv()
            assert message is not None
            if message.data[0] == ARENA:
                self.views.adopt(message.fds[0])
            else:
                parts.append(unpack_part(message.data)._replace(views=self.views, fds=message.fds))

    def close(self) -> None:
        """Give everything back."""
        signal.signal(STOP_SIGNAL, signal.SIG_DFL)
        self.runner = None  # type: ignore[assignment]
        self.memory.close()
        self.views.close()
        for each in (self.ours, self.theirs):
            each.close()
        self.seen.close()
        self.written.close()


@pytest.fixture
def bench(no_leaks: None) -> Iterator[Bench]:
    """Give a runner."""
    made = Bench()
    yield made
    made.close()


def _outcomes(parts: list[Part], count: int) -> list[Any]:
    """Join the parts, which must be consecutive, into values and errors."""
    found: list[Any] = []
    for part in parts:
        assert part.first == len(found)
        values, errors, seconds, *_ = read_outcomes(part)
        assert (seconds is not None) == part.timed
        assert seconds is None or all(0 <= each < 60 for each in seconds)
        found += [errors.get(at, value) for at, value in enumerate(values)]
    assert [part.final for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(found) == count
    return found


def _give(item: Any) -> Any:
    if isinstance(item, BaseException):
        raise item
    return item


def _same(found: Any, given_: Any) -> bool:
    if isinstance(given_, BaseException):
        return type(found) is type(given_) and found.args == given_.args
    return type(found) is type(given_) and repr(found) == repr(given_)  # also for nan


MIXES: dict[str, list[Any]] = {
    "ints": list(range(3000)),
    "many-ints": list(range(20_000)),
    "floats": [n / 3 for n in range(10_000)],
    "nones": [None] * 20_000,
    "bools": [True, False] * 500,
    "big-ints": [2**63, -(2**63) - 1, 2**63 - 1, -(2**63), 2**200, 5] * 10,
    "late-misfit": [*range(8000), "text", *range(8000), 1.5, None, *range(100)],
    "alternating": [1, 1.5, None, True, "x", 2**70] * 300,
    "texts": [f"text {n}" for n in range(5000)],
    "errors": [ValueError(n) if n % 3 == 0 else n for n in range(2000)],
    "only-errors": [ValueError(n) for n in range(1500)],
    "error-in-nones": [None, None, KeyError("k"), None],
    "large": [b"x" * 70_000, 1, "y" * 200_000, 2.5, b"z" * 44 * 1024, b"" * 3, b"w" * 5_000_000],
    "near-the-leaf": [b"x" * n for n in range(44 * 1024 - 40, 44 * 1024 + 10)],
    "many-medium": [b"m" * 10_000] * 50,
    "exits": [SystemExit(3), KeyboardInterrupt("k"), GeneratorExit(), 4],
    "nothing-but-one": [7],
    "large-error": [ValueError("e" * 300_000), 1, 2.0],
}


@pytest.mark.leaves_things("the errors among the items live on, and the frames that they came through")
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("name", MIXES)
def test_every_mix_of_values(bench: Bench, name: str, timed: bool) -> None:
    """Values of any type, size and order come out as they went in; errors too; the function may be run again."""
    items = MIXES[name]
    for _ in range(2):
        found = _outcomes(bench.run(_give, items, timed=timed), len(items))
        assert all(map(_same, found, items))


values = st.one_of(
    st.integers(),
    st.integers(-(2**64), 2**64),
    st.floats(),
    st.none(),
    st.booleans(),
    st.text(max_size=20),
    st.binary(max_size=200),
    st.builds(lambda size: b"L" * size, st.sampled_from([40_000, 45_000, 70_000])),
    st.builds(ValueError, st.integers()),
)


@settings(max_examples=200, deadline=None)
@given(chunks=st.lists(st.tuples(st.lists(values, min_size=1, max_size=40), st.booleans()), min_size=1, max_size=4))
def test_any_sequence_of_chunks(chunks: list[tuple[list[Any], bool]]) -> None:
    """What a runner has learned from earlier chunks never changes what comes out of the next."""
    bench = Bench()
    try:
        for items, timed in chunks:
            found = _outcomes(bench.run(_give, items, timed=timed), len(items))
            assert all(map(_same, found, items))
    finally:
        bench.close()


@pytest.mark.parametrize("encoding", [Encoding.BATCH, Encoding.FRAMES])
@pytest.mark.parametrize(
    ("style", "items", "expected"),
    [
        (Style.MAP, [1, 2], [2, 4]),
        (Style.STAR, [(1, 2), (3,)], [3, 3]),
        (Style.CALL, [((1,), {"z": 4}), ((1, 2), {})], [5, 3]),
    ],
    ids=["map", "star", "call"],
)
def test_items_become_calls(
    bench: Bench, style: Style, items: list[Any], expected: list[int], encoding: Encoding
) -> None:
    """An item is the argument, the arguments, or arguments and keywords, pickled together or apart."""
    function = tasks.double if style is Style.MAP else tasks.add
    head = Run(style, encoding, False, False, len(items), 1, 1)
    body = (
        pickle.dumps(items) if encoding is Encoding.BATCH else b"".join(pack_frames([pickle.dumps(i) for i in items]))
    )
    read = list(read_items(head, memoryview(body), loads))
    assert _outcomes(bench.run(function, read, style=style, encoding=encoding), len(items)) == expected


def test_the_ledger_names_the_running_item(bench: Bench) -> None:
    """During each call the position in the ledger is that item's, in columns, pickles and after a large value."""
    seen = []

    def function(item: int) -> Any:
        position = bench.seen.position()
        assert position is not None
        seen.append(position.index)
        return {2: "text", 5: 1.5, 7: b"x" * 100_000}.get(item % 10, item)

    for timed in (False, True):
        seen.clear()
        bench.run(function, list(range(3000)), timed=timed)
        assert seen == list(range(3000))
    assert bench.seen.position() is None


def test_the_ledger_has_the_outcomes_before_the_running_item(bench: Bench) -> None:
    """At any moment, what was posted and what the ledger shows are together all outcomes so far."""
    counts = []

    def function(item: int) -> Any:
        part = bench.seen.peek()
        first = bench.seen.words[page.FIRST]
        shown = 0 if part is None else part.count
        assert part is None or read_outcomes(part).values == [_value(n) for n in range(first, item)]
        counts.append(first + shown)
        return _value(item)

    def _value(item: int) -> Any:
        return item if item % 1000 < 500 else str(item)

    found = _outcomes(bench.run(function, list(range(2500))), 2500)
    assert found == [_value(n) for n in range(2500)]
    assert counts == list(range(2500))


def test_results_that_cannot_be_pickled_stay_alone(bench: Bench) -> None:
    """A lock among the results is an error of its item, in a chunk of ints and in one of texts."""
    for other in (1, "text"):
        found = _outcomes(bench.run(lambda n, o=other: threading.Lock() if n == 3 else o, list(range(6))), 6)
        assert [type(each).__name__ for each in found] == [type(other).__name__] * 3 + ["NotSendable"] + [
            type(other).__name__
        ] * 2


def test_shared_parts_of_results_are_kept_apart(bench: Bench) -> None:
    """Two results that share an object each have their own: one pickle never refers to another's memo."""
    shared = [1, 2]
    found = _outcomes(bench.run(lambda n: [shared, n], [0, 1]), 2)
    assert found == [[[1, 2], 0], [[1, 2], 1]]
    assert found[0][0] is not found[1][0]
