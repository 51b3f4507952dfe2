"""The enforcer: ends items that are not to go on, be it that their time is over or that they are cancelled.

Called by the driver's looks, under the engine's lock.  The warden of each worker decides; here it is done: what
the worker has not begun is taken back first, the item's call gets an exception, and in the end the worker is
killed, with the verdict kept for when its death is settled.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from procession.engine.loop import soonest
from procession.engine.slots import SlotState
from procession.engine.warden import GRACE_SECONDS, STEP_SECONDS, Action, Stage
from procession.errors import TaskTimeout
from procession.system import STOP_SIGNAL, is_frozen
from procession.wire.ledger import BEFORE, Position

#: How long a worker may take to end by itself when it has been asked to: time for its ``atexit`` functions, and
#: for threads and children that it has to wait for.
EXIT_SECONDS = 10.0

if TYPE_CHECKING:
    from procession.engine.core import Core
    from procession.engine.handle import Handle
    from procession.engine.slots import Slot
    from procession.engine.work import Chunk


class Enforcer:
    """Looks after the limits of what the workers of one pool run."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def look(self) -> float | None:
        """Take the next step with every worker; return in how many seconds to look again, None for never."""
        scheduler = self._core.scheduler
        wanted = [self._look_at(slot) for slot in scheduler.busy_slots()]
        # One that was frozen just when it had finished, and is idle now.
        others = [slot for slot in scheduler.slots.values() if not slot.chunks]
        wanted += [self._look_at(each) for each in others if self._core.crew.handle(each).warden.stage is Stage.FROZEN]
        if scheduler.leaving:
            wanted += [self._look_at_leaving(slot) for slot in scheduler.slots.values()]
        return soonest(*wanted)

    def _look_at_leaving(self, slot: Slot) -> float | None:
        """Kill a worker that was asked to end, and does not."""
        handle = self._core.crew.handle(slot)
        if handle.stopped_at is None:
            return None
        left = handle.stopped_at + EXIT_SECONDS - time.monotonic()
        if left <= 0:
            handle.kill()
        return max(left, STEP_SECONDS)

    def _look_at(self, slot: Slot) -> float | None:
        handle = self._core.crew.handle(slot)
        chunk, position = handle.running()
        if chunk is None and slot.chunks and slot.state is not SlotState.STARTING:
            chunk = slot.chunks[0]
            position = Position(chunk.seq, BEFORE, 0, reading=False)
        reason, left = None, None
        if chunk is not None and position is not None:
            reason, left = self._reason(handle, chunk, position)
        warden = handle.warden
        frozen = warden.stage is Stage.FROZEN and is_frozen(handle.child.pid)
        action = warden.step(time.monotonic(), position, must_stop=reason is not None, is_frozen=frozen)
        if action is not Action.NONE:
            self._act(action, handle, chunk, position, reason)
        return STEP_SECONDS if warden.stage in (Stage.ASKED, Stage.FROZEN) else left

    def _reason(self, handle: Handle, chunk: Chunk, position: Position) -> tuple[BaseException | None, float | None]:
        """The error for the item that runs, if it has to stop, and the seconds until it may have to."""
        doom = chunk.doom_of(position.index) if position.index != BEFORE else None
        if doom is not None:
            return doom, None
        if not position.begun_ns:
            return self._reason_to_give_up(handle, chunk, position)
        timeout = chunk.source.timeout
        if timeout is None:
            return None, STEP_SECONDS if chunk.doom else None
        left = timeout - (time.monotonic_ns() - position.begun_ns) * 1e-9
        return (TaskTimeout(timeout, killed=True), None) if left <= 0 else (None, left)

    def _reason_to_give_up(
        self, handle: Handle, chunk: Chunk, position: Position
    ) -> tuple[BaseException | None, float | None]:
        """The same for an item that its worker does not begin, which may take as long as the item itself.

        It is busy with what came before: garbage that is being collected, a module that is being imported; or it
        has been stopped.
        """
        now, place = time.monotonic(), (position.seq, position.index)
        if handle.waiting[0] != place:
            handle.waiting = place, now
        limit = chunk.source.timeout
        if limit is None:
            if chunk.doom is None:
                others = any(each.doom or each.source.timeout is not None for each in handle.slot.chunks)
                return None, STEP_SECONDS if others else None
            limit = GRACE_SECONDS
        if now - handle.waiting[1] < limit:
            return None, STEP_SECONDS
        return TaskTimeout(limit, killed=True), None

    def _act(
        self,
        action: Action,
        handle: Handle,
        chunk: Chunk | None,
        position: Position | None,
        reason: BaseException | None,
    ) -> None:
        pid = handle.child.pid
        if action is Action.RELEASE:
            _signal(pid, signal.SIGCONT)
        elif action is Action.FREEZE:
            _signal(pid, signal.SIGSTOP)
        elif chunk is not None and position is not None and reason is not None:
            if action is Action.ASK:
                self._core.lookout.unburden(handle, chunk, position)  # it is not to be begun here any more
                limit = reason.seconds if isinstance(reason, TaskTimeout) else 0.0
                handle.ledger.stop(position, max(1, round(limit * 1e9)) if limit else 0)
                _signal(pid, STOP_SIGNAL)
            else:
                handle.verdict = (position.seq, position.index, reason)
                handle.kill()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # its end is about to be read
        os.kill(pid, number)
