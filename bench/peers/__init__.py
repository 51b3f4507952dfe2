"""The peers, one adapter each, by their names as subjects. To add one: an adapter, and a line here."""

from __future__ import annotations

from bench.peers.base import Peer
from bench.peers.executors import Loky, StdlibExecutor
from bench.peers.joblib_parallel import Joblib
from bench.peers.ours import Procession
from bench.peers.stdlib_pool import StdlibPool

_ALL: tuple[Peer, ...] = (
    Procession(),
    StdlibPool("pool-fork", "fork"),
    StdlibPool("pool-forkserver", "forkserver"),
    StdlibExecutor("futures-fork", "fork"),
    StdlibExecutor("futures-forkserver", "forkserver"),
    Loky(),
    Joblib(),
)

POOLS: dict[str, Peer] = {peer.name: peer for peer in _ALL}
"""Procession and its peers: everything that can open a pool."""

PEERS: tuple[str, ...] = tuple(peer.name for peer in _ALL[1:])
"""The names of the peers, Procession not among them."""

PICKLING: tuple[str, ...] = ("pool-fork", "pool-forkserver", "futures-fork", "loky")
"""The peers of the scenarios of big data that send all of it through a pipe (futures-forkserver is as futures-fork)."""

DATA_PEERS: tuple[str, ...] = (*PICKLING, "joblib")
"""All peers of the scenarios of big data: joblib maps a file into its workers for an array argument above 1 MB."""
