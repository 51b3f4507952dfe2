"""Last words: what a worker leaves behind for the case that it dies.

Owns the end of the ledger's file, behind the page, where the C-level handler of ``faulthandler`` writes the
stacks of a crash or those that the parent asks for; and the tail of stderr within the page.  Nothing here
takes Python code at the time of the death.
"""

from __future__ import annotations

import faulthandler
import os
from typing import TYPE_CHECKING

from procession.system import STACKS_SIGNAL
from procession.wire import ledger as page

if TYPE_CHECKING:
    from procession.wire.ledger import Ledger


class LastWords:
    """Writes to the ledger what would explain this process's death."""

    def __init__(self, ledger: Ledger) -> None:
        self._words = ledger.words
        self._region = ledger.stderr
        self._tail = b""
        self._pid = os.getpid()
        ledger.seek_stacks()
        faulthandler.enable(file=ledger.fd, all_threads=True)
        faulthandler.register(STACKS_SIGNAL, file=ledger.fd, all_threads=True)
        os.register_at_fork(after_in_child=self._let_go)

    def note(self, data: bytes) -> None:
        """Keep the end of what has been written to stderr."""
        if os.getpid() != self._pid:  # a fork does not have the page
            return
        tail = self._tail = (self._tail + data)[-page.STDERR_SIZE :]
        self._words[page.STDERR] = 0  # a death in between leaves nothing rather than a mixture
        self._region[: len(tail)] = tail
        self._words[page.STDERR] = len(tail)

    def _let_go(self) -> None:
        """In a fork of the worker: its crash is not the worker's."""
        faulthandler.disable()
        faulthandler.unregister(STACKS_SIGNAL)
