"""Messages of any size, with descriptors, whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from procession.wire.channel import FDS_LIMIT, INLINE_LIMIT, Channel, socket_pair

SIZES = [1, 2, 100, INLINE_LIMIT - 1, INLINE_LIMIT, INLINE_LIMIT + 1, 200_000, 1 << 20, 5_000_001]


@pytest.fixture
def ends(no_leaks: None) -> Iterator[tuple[Channel, Channel]]:
    """Give the two ends of a channel."""
    a, b = (Channel(sock, many_fds=True) for sock in socket_pair())
    yield a, b
    a.close()
    b.close()


def _pattern(size: int) -> bytes:
    return (b"P" + bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_message_arrives_whole(ends: tuple[Channel, Channel], size: int, pieces: int) -> None:
    """What was sent in parts arrives as one message with the same bytes, whatever its size."""
    a, b = ends
    data = _pattern(size)
    step = -(-size // pieces)
    a.send([data[at : at + step] for at in range(0, size, step)])
    message = b.recv()
    assert message is not None
    assert bytes(message.data) == data
    assert message.fds == []


@pytest.mark.parametrize("size", [1, INLINE_LIMIT, 1 << 20])
@pytest.mark.parametrize("count", [1, 5, FDS_LIMIT - 1])
def test_descriptors_come_along(ends: tuple[Channel, Channel], size: int, count: int) -> None:
    """Descriptors arrive in order, open, and not inheritable, beside a message of any size."""
    a, b = ends
    pipes = [os.pipe() for _ in range(count)]
    a.send([_pattern(size)], [write for _, write in pipes])
    message = b.recv()
    assert message is not None
    assert len(message.data) == size
    for number, fd in enumerate(message.fds):
        assert not os.get_inheritable(fd)
        os.write(fd, b"%d" % number)
        assert os.read(pipes[number][0], 10) == b"%d" % number
        os.close(fd)
    assert len(message.fds) == count
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_messages_keep_order_and_bounds(ends: tuple[Channel, Channel]) -> None:
    """Small and spilled messages in turns come out in the order in which they went in."""
    a, b = ends
    sent = [_pattern(size) for size in (3, 100_000, 1, 70_000, 8)]
    for data in sent:
        a.send([data])
    received = [b.recv() for _ in sent]
    assert [bytes(message.data) for message in received if message is not None] == sent


def test_the_end_of_the_other_side(ends: tuple[Channel, Channel]) -> None:
    """What was sent before the other end closed is read; then None; sending raises BrokenPipeError."""
    a, b = ends
    a.send([b"last"])
    a.close()
    message = b.recv()
    assert message is not None
    assert bytes(message.data) == b"last"
    assert b.recv() is None
    with pytest.raises(BrokenPipeError):
        b.send([b"x"])
    with pytest.raises(BrokenPipeError):
        b.send([_pattern(1 << 20)])


def test_nothing_to_read_is_none(ends: tuple[Channel, Channel]) -> None:
    """`recv_nowait` gives None when there is nothing, and leaves the socket blocking."""
    a, b = ends
    assert b.recv_nowait() is None
    assert b.sock.getblocking()
    a.send([b"now"])
    message = b.recv_nowait()
    assert message is not None
    assert bytes(message.data) == b"now"


def _sends(channel: Channel, data: bytes) -> bool:
    try:
        channel.send([data])
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("size", [1000, INLINE_LIMIT, 100_000])
def test_a_full_socket_takes_nothing(ends: tuple[Channel, Channel], size: int) -> None:
    """A non-blocking send that finds no room raises BlockingIOError, and nothing of it arrives."""
    a, b = ends
    a.sock.setblocking(False)
    sent = 0
    while _sends(a, _pattern(size)):
        sent += 1
    received = 0
    while (message := b.recv_nowait()) is not None:
        assert bytes(message.data) == _pattern(size)
        received += 1
    assert received == sent > 0


def test_one_message_has_one_reader(ends: tuple[Channel, Channel]) -> None:
    """Of two readers of one end, each message goes to one."""
    a, b = ends
    found: list[list[int]] = [[], []]

    def read(into: list[int]) -> None:
        while (message := b.recv()) is not None and message.data[0] != ord("E"):
            into.append(int(bytes(message.data)[1:]))

    readers = [threading.Thread(target=read, args=(into,)) for into in found]
    for reader in readers:
        reader.start()
    for number in range(500):
        a.send([b"N%d" % number])
    for _ in readers:
        a.send([b"E"])
    for reader in readers:
        reader.join(10)
    assert sorted(found[0] + found[1]) == list(range(500))


def test_a_spilled_message_outlives_its_channel(ends: tuple[Channel, Channel]) -> None:
    """The memory of a large message lasts as long as a view of it."""
    a, b = ends
    a.send([_pattern(1 << 20)])
    message = b.recv()
    assert message is not None
    part = message.data[5:10]
    del message
    b.close()
    assert bytes(part) == _pattern(10)[5:10]
