"""Starting child processes, and knowing how they end.

A layer between the engine (or ``Process``) and the wire.  ``start(request, fds)`` starts what a request
describes, by its start method, and returns the ``Child``; ``start_forked`` forks this very process.
"""

from __future__ import annotations

from procession.launch.child import Child
from procession.launch.request import Request
from procession.launch.start import METHODS, start

__all__ = ["METHODS", "Child", "Request", "start"]
