"""What is packed is what is unpacked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from procession.wire import messages
from procession.wire.messages import Encoding, Mode, Run, Style

seqs = st.integers(0, 2**63 - 1)
counts = st.integers(0, 2**32 - 1)


@given(
    style=st.sampled_from(Style),
    encoding=st.sampled_from(Encoding),
    flags=st.tuples(st.booleans(), st.booleans()),
    count=counts,
    seqs=st.tuples(seqs, seqs, seqs),
    body=st.binary(max_size=100),
)
def test_run(
    style: Style,
    encoding: Encoding,
    flags: tuple[bool, bool],
    count: int,
    seqs: tuple[int, int, int],
    body: bytes,
) -> None:
    """The head of a chunk, its number and its body survive."""
    head = Run(style, encoding, *flags, count, *seqs)
    data = memoryview(messages.pack_run(head) + body)
    assert data[0] == messages.RUN
    found, rest = messages.unpack_run(data)
    assert (found, bytes(rest)) == (head, body)
    assert messages.run_seq(data) == seqs[0]


@given(
    mode=st.sampled_from(Mode),
    final=st.booleans(),
    timed=st.booleans(),
    count=counts,
    seq=seqs,
    first=seqs,
    seconds=st.floats(allow_nan=False),
    body=st.binary(max_size=100),
)
def test_part(
    mode: Mode, final: bool, timed: bool, count: int, seq: int, first: int, seconds: float, body: bytes
) -> None:
    """The head of a part and its body survive, and the head has the size that it says."""
    head = messages.pack_part(mode, final, timed, count, seq, first, seconds)
    assert len(head) == messages.PART_SIZE
    found = messages.unpack_part(memoryview(head + body))
    assert tuple(found[:7]) == (mode, final, timed, count, seq, first, seconds)
    assert bytes(found.body) == body


@given(function=seqs, body=st.binary(max_size=100))
def test_define(function: int, body: bytes) -> None:
    """A function's number and its pickle survive."""
    number, rest = messages.unpack_define(memoryview(messages.pack_define(function) + body))
    assert (number, bytes(rest)) == (function, body)


@given(frames=st.lists(st.binary(max_size=50), max_size=20))
def test_frames(frames: list[bytes]) -> None:
    """Frames of any sizes, empty ones too, are split where they were joined."""
    body = memoryview(b"".join(messages.pack_frames(frames)))
    assert [bytes(frame) for frame in messages.split_frames(body, len(frames))] == frames


@given(start=st.integers(-(2**63), 2**63 - 1), stop=st.integers(-(2**63), 2**63 - 1), step=st.integers(1, 2**62))
def test_range(start: int, stop: int, step: int) -> None:
    """A range survives, at the limits of 64 bits too."""
    items = range(start, stop, step)
    found = messages.unpack_range(memoryview(messages.pack_range(items)))
    assert (found.start, found.stop, found.step) == (start, stop, step)


@given(
    seq=seqs,
    index=counts,
    n=st.floats(allow_nan=False),
    total=st.none() | st.floats(allow_nan=False),
    message=st.text(max_size=50).filter(lambda text: text.isprintable()),
)
def test_progress(seq: int, index: int, n: float, total: float | None, message: str) -> None:
    """What an item tells of itself survives, with a total or without."""
    data = memoryview(messages.pack_progress(seq, index, n, total, message))
    assert data[0] == messages.PROGRESS
    assert messages.unpack_progress(data) == (seq, index, n, total, message)


def test_kinds_differ() -> None:
    """No two kinds of message have the same first byte, and none is the mark of a spilled one."""
    names = ["DEFINE", "MAIN", "RUN", "FORGET", "REPORTING", "EXIT", "READY", "FAILED", "PART", "REFUSED", "OUTPUT"]
    names += ["NOTICE", "PROGRESS", "ARENA"]
    kinds = [getattr(messages, name) for name in names]
    assert len(set(kinds)) == len(kinds)
    assert 0 not in kinds
