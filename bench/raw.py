"""The yardstick of the call scenario: what two processes and pickle cost with no library at all."""

from __future__ import annotations

import pickle
import socket

Exchange = tuple[int, int]
"""An identifier and a number: the least that a task and its result have to say."""


def serve(connection: socket.socket) -> None:
    """The child's loop: read a pickled pair, answer with the number plus one, until the other side is closed."""
    while data := connection.recv(65536):
        index, number = pickle.loads(data)
        connection.sendall(pickle.dumps((index, number + 1), pickle.HIGHEST_PROTOCOL))


def round_trip(connection: socket.socket, message: Exchange) -> Exchange:
    """Send one pickled pair to the child and wait for its pickled answer."""
    connection.sendall(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    answer: Exchange = pickle.loads(connection.recv(65536))
    return answer
