"""A channel carries whole messages, of any size and with descriptors, between two processes.

Owns one end of a ``SOCK_SEQPACKET`` socket pair.  The kernel keeps the boundaries, so a message
arrives whole or not at all: a process killed in the middle of a send tears nothing, and a message
is read by exactly one reader, which is what lets the parent take back what a worker has not begun.
A message over ``INLINE_LIMIT`` travels in an anonymous file whose descriptor is the message.

Not thread-safe: the owner of the channel serialises its sends, and its receives.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from procession.system import anonymous_file, close_all, write_all

#: Bytes of one datagram.  Below a quarter of Linux's default send buffer (212,992), so that several
#: fit; 60 kB cost 4.7 us to send and receive, little over the 1.2 us of an empty one.
INLINE_LIMIT = 64 * 1024

#: The most descriptors that Linux passes with one message (SCM_MAX_FD).
FDS_LIMIT = 253

#: Parts of one datagram: below the kernel's UIO_MAXIOV of 1,024.
_PARTS_LIMIT = 1000

_SPILL = struct.Struct("<cxxxxxxxQ")
_SPILLED = b"\0"
_FD_SPACE = socket.CMSG_SPACE(4)
_MANY_FDS_SPACE = socket.CMSG_SPACE(FDS_LIMIT * 4)

Buffer = bytes | bytearray | memoryview


class Message(NamedTuple):
    """One received message: its bytes, and the descriptors that came with it (ours to close)."""

    data: memoryview
    fds: list[int]


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of message sockets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end of a message socket."""

    __slots__ = ("_fd_space", "sock")

    def __init__(self, sock: socket.socket, *, many_fds: bool = False) -> None:
        self.sock = sock
        self._fd_space = _MANY_FDS_SPACE if many_fds else _FD_SPACE

    def fileno(self) -> int:
        """The descriptor, for a poll."""
        return self.sock.fileno()

    def send(self, parts: Sequence[Buffer], fds: Sequence[int] = ()) -> None:
        """Send the concatenation of ``parts`` as one message.

        Blocks as the socket does.  On failure: ``BlockingIOError`` from a non-blocking socket
        that is full, with nothing sent; ``BrokenPipeError`` when the other end is gone.
        """
        size = sum(map(len, parts))
        if size <= INLINE_LIMIT:
            if len(parts) > _PARTS_LIMIT:
                parts = [b"".join(parts)]
            if fds:
                socket.send_fds(self.sock, list(parts), list(fds))
            elif len(parts) == 1:
                self.sock.send(parts[0])
            else:
                self.sock.sendmsg(parts)
            return
        spill = anonymous_file("procession-message")
        try:
            for part in parts:
                write_all(spill, part)
            socket.send_fds(self.sock, [_SPILL.pack(_SPILLED, size)], [*fds, spill])
        finally:
            os.close(spill)

    def recv(self, flags: int = socket.MSG_CMSG_CLOEXEC) -> Message | None:
        """Receive one message, or None at the end of the stream.

        On failure: ``BlockingIOError`` from a non-blocking socket with nothing to read; ``OSError`` when there are
        no descriptors left for those of the message, which is lost.
        """
        data, ancillary, got, _address = self.sock.recvmsg(INLINE_LIMIT, self._fd_space, flags)
        if not data:
            return None
        fds = _descriptors(ancillary) if ancillary else []
        if got & socket.MSG_CTRUNC:
            close_all(fds)
            raise OSError(errno.EMFILE, "a message lost descriptors, of which this process has too many (ulimit -n)")
        if data[0]:
            return Message(memoryview(data), fds)
        return Message(_read_spill(fds.pop(), _SPILL.unpack(data)[1]), fds)

    def recv_nowait(self) -> Message | None:
        """Receive one message if there is one.

        For an end that is shared with another process, which would see a non-blocking mode too.
        """
        try:
            return self.recv(socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close this end; the other end reads the end of the stream."""
        self.sock.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.extend(memoryview(data[: len(data) // 4 * 4]).cast("i"))
    return fds


def _read_spill(fd: int, size: int) -> memoryview:
    """Map a spilled message.  The view holds the mapping; the memory goes with the last view."""
    try:
        return memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ))
    finally:
        os.close(fd)
