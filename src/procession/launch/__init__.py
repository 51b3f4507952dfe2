"""Starting child processes, and knowing how they end; one module a start method.

A layer between the engine (or ``Process``) and the wire.  ``start(request, fds, method)`` is all
that the layers above use, and the ``Child`` that it returns.
"""

from __future__ import annotations

from procession.launch.child import Child
from procession.launch.request import Request
from procession.launch.start import METHODS, start

__all__ = ["METHODS", "Child", "Request", "start"]
