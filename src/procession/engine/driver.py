"""The driver: the only writer of a pool's engine state, and the one who carries out its decisions.

One lock guards scheduler, supervisor and crew.  Under it nothing blocks and no user code runs: what
needs user code (pickling items, unpickling outcomes, callbacks, the parent's streams) becomes an
errand, which the thread in the seat runs afterwards, without the lock.

Ctrl-C lands in whichever thread drives, when that is the main thread.  In the wait it is harmless.
Within a transition it would leave the state half changed: a transition marks the engine unclean
while it lasts, and so does an interrupted errand; who finds an unclean engine resets it, which cancels
what was under way and replaces the workers.  Any other exception in a turn is a bug of ours; it fails
every pending task.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.engine.crew import Crew, WorkerSettings
from procession.engine.relief import Relief
from procession.engine.scheduler import Scheduler, SlotState
from procession.engine.seat import Seat
from procession.engine.supervisor import End, Supervisor
from procession.engine.work import Chunk, Source, Unencodable
from procession.errors import InternalError, PoolBroken, TaskCancelled, WorkerDied
from procession.system import usable_cores
from procession.wire import messages
from procession.wire.faults import unpack_error
from procession.wire.messages import Encoding, Part, Run

if TYPE_CHECKING:
    from procession.engine.handle import Handle
    from procession.engine.interning import Function
    from procession.engine.scheduler import Slot
    from procession.wire.channel import Message
    from procession.wire.ledger import Position

#: How often a chunk that takes longer than expected is looked at.
TICK_SECONDS = 0.005

Errand = tuple[Callable[..., None], tuple[Any, ...]]


class Driver:
    """The engine of one pool."""

    def __init__(self, workers: int, settings: WorkerSettings) -> None:
        self._lock = threading.Lock()
        self._clean = True
        self._workers = workers
        self._scheduler = Scheduler(workers, usable_cores())
        self._supervisor = Supervisor(workers)
        self.crew = Crew(settings)
        self._errands: deque[Errand] = deque()
        self._outstanding: dict[Chunk, None] = {}  # cut, and not all outcomes delivered
        self.broken: BaseException | None = None
        self._closing = False
        self._released = False
        self._poller = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._watch(self._wake_read, self._on_nudge)
        self._next_tick = 0.0
        self._flags = bytes(2)
        self._streams: tuple[Any, Any] = (None, None)
        self.seat = Seat(self.turn, self.nudge)
        self.relief = Relief(self.seat, lambda: not self.has_work, self.nudge)

    # For the backends; from any thread.

    def submit(self, source: Source) -> None:
        """Queue a source, or one that has got new items again.  On failure: ``PoolBroken``."""
        with self._lock:
            self._begin()
            broken = self.broken
            if broken is None:
                self._scheduler.add_source(source)
                self._advance()
            self._clean = True
        if broken is not None:
            raise broken
        self.relief.note_work()
        if self._errands and self.seat.relief_drives:
            self.nudge()

    def append(self, make: Callable[[Function], Any], function: Function, item: Any) -> None:
        """Add an item to the last source if that is open for the function, else to a new one.

        Items that come one by one are so sent together when they have to wait.
        """
        with self._lock:
            self._begin()
            broken = self.broken
            if broken is None:
                scheduler = self._scheduler
                source: Any = scheduler.last_source
                if source is None or not source.is_open(function):
                    source = make(function)
                    scheduler.add_source(source)
                source.append(item)
                # What waits is looked at by the next tick at the latest, if no report comes before.
                waits = scheduler.saturated or (self._next_tick and scheduler.can_wait(source))
                if not waits:
                    self._advance()
            self._clean = True
        if broken is not None:
            raise broken
        self.relief.note_work()

    def withdraw(self, source: Source) -> None:
        """Cut nothing more from a source."""
        with self._lock:
            self._begin()
            self._scheduler.drop_source(source)
            self._clean = True

    def interrupt(self, source: Source, error: BaseException) -> None:
        """Withdraw a source and stop, by replacing their workers, what runs of it.

        Its chunks get ``error``; what others had in those workers' backlog runs elsewhere.
        """
        with self._lock:
            self._begin()
            self._scheduler.drop_source(source)
            for slot in self._scheduler.busy_slots():
                if any(chunk.source is source for chunk in slot.chunks):
                    self._abort(slot, source, error)
            self._advance()
            self._clean = True
        self.relief.note_work()
        self.nudge()

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Block until ``ready()``, driving the engine meanwhile; return whether it is."""
        return self.seat.wait(ready, timeout)

    @property
    def has_work(self) -> bool:
        """Whether something is queued, under way, ending, or still to be delivered."""
        if self._outstanding or self._errands or self._scheduler.queued:
            return True
        return self._closing and bool(self.crew.handles())

    def start_workers(self) -> None:
        """Start all workers now, without waiting for work."""
        with self._lock:
            self._begin()
            while len(self._scheduler.slots) < self._workers and self.broken is None:
                self._start_worker()
            self._clean = True

    def close(self) -> None:
        """Take no more work; the workers end when what there is has been done."""
        with self._lock:
            self._begin()
            self._closing = True
            self._advance()
            self._clean = True
        self.relief.note_work()
        self.relief.attend()
        self.nudge()

    def terminate(self, error: BaseException) -> None:
        """Kill every worker; what has no outcome gets ``error``.  Returns when the workers are gone."""
        with self._lock:
            self._begin()
            self._closing = True
            self.broken = self.broken or error
            self._fail_all(error)
            self._clean = True
        self.nudge()
        self.wait_ended()

    def wait_ended(self) -> None:
        """Block until all work is done and every worker has ended; then give everything back."""
        self.wait(lambda: not self.has_work)
        self._release()

    def _release(self) -> None:
        self.relief.stop()
        with self._lock:
            if not self._released:
                self._released = True
                self.crew.release()
                self._poller.close()
                os.close(self._wake_read)
                os.close(self._wake_write)

    def forget_after_fork(self) -> None:
        """In a forked child: the workers are the parent's; close what leads to them."""
        if self._released:
            return
        self._released = self._closing = True
        self._lock = threading.Lock()
        self._clean = True
        self.broken = PoolBroken("this pool belongs to the process that forked this one")
        self._outstanding.clear()
        self._errands.clear()
        self._scheduler = Scheduler(self._workers, 1)
        self.crew.abandon()
        self._poller.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def nudge(self) -> None:
        """Make a blocked ``turn`` return."""
        if not self._released:
            try:
                os.write(self._wake_write, b"!")
            except OSError:  # full, which does as well, or just closed
                pass

    # Driving; by the thread in the seat.

    def turn(self, timeout: float | None) -> None:
        """Run the errands; if there were none, wait for events, handle them and run what they bring."""
        try:
            if self._run_errands():
                return
            for fd, _events in self._poll(timeout):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()
            if self._next_tick and time.monotonic() >= self._next_tick:
                self._tick()
            self._run_errands()
        except Exception as error:
            self._fail_internally(error)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if self._next_tick:
            left = max(0.0, self._next_tick - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        return self._poller.poll(timeout)

    def _run_errands(self) -> bool:
        errands = self._errands
        if not errands:
            return False
        try:
            while errands:
                run, args = errands.popleft()
                run(*args)
        except Exception:
            raise
        except BaseException:  # Ctrl-C; what the errand was about may be half done
            self._clean = False
            raise
        return True

    def _fail_internally(self, error: Exception) -> None:
        failure = InternalError(f"the engine failed, please report this: {error!r}")
        failure.__cause__ = error
        with self._lock:
            self._clean = True
            self._fail_all(failure)
        self._run_errands()

    def _watch(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poller.register(fd, select.EPOLLIN)

    def _unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def _on_nudge(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    # Transitions; with the lock held.

    def _begin(self) -> None:
        """Open a transition; one that was interrupted is found here, and undone by a reset."""
        if not self._clean:
            self._clean = True
            self._fail_all(TaskCancelled("the engine was interrupted while it handed out work"))
        self._clean = False

    def _advance(self) -> None:
        """Hand out what can be handed out, and start or stop the workers that this takes."""
        scheduler = self._scheduler
        while True:
            for slot, chunk in scheduler.assign():
                self._dispatch(slot, chunk)
            shortage = scheduler.shortage()
            if not shortage or self.broken is not None:
                break
            for _ in range(shortage):
                self._start_worker()
        if self._closing and not scheduler.queued:
            for slot in list(scheduler.slots.values()):
                if not slot.chunks:
                    self._retire(slot)

    def _start_worker(self) -> None:
        slot = self._scheduler.add_slot(self.crew.settings.chunks_per_worker)
        try:
            handle = self.crew.start(slot, self._flags)
        except OSError as error:
            self._scheduler.remove_slot(slot)
            if not self._scheduler.slots:  # with some workers the work goes on, only slower
                self._break(PoolBroken(f"no worker could be started: {error}"), error)
            return
        self._watch(handle.channel.fileno(), lambda: self._on_socket(handle))
        self._watch(handle.child.sentinel, lambda: self._on_sentinel(handle))

    def _retire(self, slot: Slot) -> None:
        if slot.state is not SlotState.RETIRING:
            self._scheduler.retire(slot)
        self.crew.handle(slot).stop()

    def _dispatch(self, slot: Slot, chunk: Chunk) -> None:
        self._outstanding[chunk] = None
        if chunk.frames is not None:  # pickled already
            self._send(slot, chunk, Encoding.FRAMES, list(messages.pack_frames(chunk.frames)))
        else:
            self._errands.append((self._encode_and_send, (slot, chunk)))

    def _encode_and_send(self, slot: Slot, chunk: Chunk) -> None:
        try:
            encoded = chunk.source.encode(chunk)
        except Unencodable as failure:
            self._on_unencodable(slot, chunk, failure)
            return
        with self._lock:
            self._begin()
            chunk.definitions = encoded.definitions
            if slot.state is not SlotState.GONE and chunk in slot.chunks:
                self._send(slot, chunk, encoded.encoding, encoded.parts)
            self._clean = True

    def _on_unencodable(self, slot: Slot, chunk: Chunk, failure: Unencodable) -> None:
        """One item cannot be pickled: it has its outcome, and the others are cut anew."""
        source = chunk.source
        with self._lock:
            self._begin()
            if chunk in slot.chunks:
                self._scheduler.take_back(slot, {chunk.seq}, skip=failure.index)
            self._outstanding.pop(chunk, None)
            self._advance()
            self._clean = True
        source.deliver_error(chunk, failure.index, 1, failure.error)

    def _send(self, slot: Slot, chunk: Chunk, encoding: Encoding, parts: list[Any]) -> None:
        handle = self.crew.handle(slot)
        source = chunk.source
        if (sys.stdout, sys.stderr) != self._streams:
            self._streams = (sys.stdout, sys.stderr)
            self._flags = bytes((sys.stdout is not sys.__stdout__, sys.stderr is not sys.__stderr__))
        if handle.streams != self._flags:
            handle.redirect(self._flags, chunk.seq)
        handle.define(source.function, chunk.definitions, chunk.seq)
        head = Run(source.style, encoding, source.timed, chunk.count, chunk.seq, source.function.id)
        handle.send(messages.pack_run(head), *parts)
        if handle.blocked:
            self._poller.modify(handle.channel.fileno(), select.EPOLLIN | select.EPOLLOUT)
        if not self._next_tick and (source.eager or chunk.count > 1 or len(slot.chunks) > 1):
            self._next_tick = time.monotonic() + TICK_SECONDS

    # Events.

    def _on_socket(self, handle: Handle) -> None:
        if handle.blocked:
            with self._lock:
                handle.flush()
                if not handle.blocked:
                    self._poller.modify(handle.channel.fileno(), select.EPOLLIN)
        message = handle.receive()
        if message is not None:
            self._on_message(handle, message)

    def _on_message(self, handle: Handle, message: Message) -> None:
        data = message.data
        kind = data[0]
        if kind == messages.PART:
            self._on_part(handle, messages.unpack_part(data))
        elif kind == messages.OUTPUT:
            self._errands.append((_print, (data[1], bytes(data[2:]))))
        elif kind == messages.REFUSED:
            seq = int.from_bytes(data[1:9], "little")
            self._errands.append((self._on_refused, (handle, seq, bytes(data[9:]))))
        elif kind == messages.READY:
            with self._lock:
                self._begin()
                self._scheduler.on_ready(handle.slot)
                self._advance()
                self._clean = True
        elif kind == messages.FAILED:
            handle.stopping = True
            self._errands.append((self._on_initializer_failed, (bytes(data[1:]),)))

    def _on_part(self, handle: Handle, part: Part) -> None:
        with self._lock:
            self._begin()
            slot = handle.slot
            chunk = slot.find(part.seq)
            if chunk is not None:
                if part.final and part.first + part.count < chunk.count:
                    self._shorten(chunk, part.first + part.count)  # it was recalled
                self._take_part(chunk, part)
                if part.final:
                    self._supervisor.on_success()
                    self._scheduler.on_final(slot, chunk, part.seconds)
                    if slot.quota == 0 and not slot.chunks:
                        self._retire(slot)
                    self._advance()
            self._clean = True

    def _take_part(self, chunk: Chunk, part: Part) -> None:
        """Put the delivery of what is new in ``part`` on the list of errands."""
        skip = chunk.received - part.first
        chunk.received = max(chunk.received, part.first + part.count)
        if skip < part.count or chunk.received == chunk.count:
            self._errands.append((self._deliver, (chunk, skip, part)))

    def _shorten(self, chunk: Chunk, count: int) -> None:
        """Put the items of a chunk from ``count`` on, which will not be begun, back in the queue."""
        chunk.source.give_back(chunk, count)
        self._scheduler.return_source(chunk.source)
        chunk.count = count

    def _deliver(self, chunk: Chunk, skip: int, part: Part) -> None:
        chunk.source.deliver(chunk, skip, part)
        if part.first + part.count >= chunk.count:
            self._outstanding.pop(chunk, None)

    def _deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        chunk.source.deliver_error(chunk, first, count, error)
        self._outstanding.pop(chunk, None)

    def _on_refused(self, handle: Handle, seq: int, pickled: bytes) -> None:
        """A worker could not read a chunk: together its items go apart, apart they have failed."""
        error = unpack_error(pickled)
        with self._lock:
            self._begin()
            slot = handle.slot
            chunk = slot.find(seq)
            apart = chunk is not None and chunk.frames is None and not chunk.apart
            if chunk is None:
                pass
            elif apart and chunk.count > 1:
                chunk.apart = True
                self._scheduler.take_back(slot, {seq})
                self._outstanding.pop(chunk, None)
                chunk = None
            else:
                self._scheduler.on_final(slot, chunk, 0.0)
            self._advance()
            self._clean = True
        if chunk is not None:
            self._deliver_error(chunk, 0, chunk.count, error)

    def _on_initializer_failed(self, pickled: bytes) -> None:
        error = unpack_error(pickled)
        broken = PoolBroken(
            f"the initializer of the pool raised {type(error).__name__}: {error}. No worker can "
            "start without it, so nothing was run"
        )
        with self._lock:
            self._begin()
            self._break(broken, error)
            self._clean = True

    def _on_sentinel(self, handle: Handle) -> None:
        ending = handle.child.poll()
        if ending is None:
            return  # only the record of its start
        while (message := handle.receive()) is not None:
            self._on_message(handle, message)
        self._run_errands()  # a refusal among them changes what it holds
        with self._lock:
            self._begin()
            self._unwatch(handle.channel.fileno())
            self._unwatch(handle.child.sentinel)
            end = self._settle_dead(handle, ending.exitcode)
            self.crew.remove(handle)
            if not self._supervisor.on_end(end, time.monotonic()) and self.broken is None:
                cause = WorkerDied(handle.child.pid, ending.exitcode)
                reason = "workers keep ending before they can run anything; the last one "
                self._break(PoolBroken(reason + cause.ending), cause)
            self._advance()
            self._clean = True

    def _settle_dead(self, handle: Handle, exitcode: int) -> End:
        """Account for what a dead worker held; return what kind of end it was."""
        slot = handle.slot
        was_starting = slot.state is SlotState.STARTING
        end = End.PLANNED if handle.stopping else End.UNSTARTED if was_starting else End.IDLE
        if slot.state is SlotState.GONE:  # aborted, and accounted for then
            return End.PLANNED
        position = handle.ledger.position()
        chunk = slot.find(position.seq) if position is not None else None
        chunks = self._scheduler.remove_slot(slot)
        if chunk is not None and position is not None:
            chunks.remove(chunk)
            part = handle.ledger.peek()
            if part is not None:
                self._take_part(chunk, part)
            at = chunk.received if part is None else max(chunk.received, position.index)
            if at < chunk.count:
                error = WorkerDied(handle.child.pid, exitcode)
                self._errands.append((self._deliver_death, (chunk, at, error)))
                end = End.WITH_ITEM
                if at + 1 < chunk.count:
                    chunk.source.give_back(chunk, at + 1)
                    self._scheduler.return_source(chunk.source)
        self._return(chunks)
        return end

    def _deliver_death(self, chunk: Chunk, at: int, error: WorkerDied) -> None:
        error.index, error.item = chunk.source.describe(chunk, at)
        error.function = chunk.source.function.name
        self._deliver_error(chunk, at, 1, error)

    def _return(self, chunks: list[Chunk]) -> None:
        """Put chunks of which nothing has begun back to the front of the queue."""
        for chunk in reversed(chunks):
            self._outstanding.pop(chunk, None)
            chunk.source.give_back(chunk, 0)
            self._scheduler.return_source(chunk.source)

    def _abort(self, slot: Slot, source: Source, error: BaseException) -> None:
        """Kill a worker for the sake of the chunks of ``source`` that it holds."""
        handle = self.crew.handle(slot)
        others = []
        for chunk in self._scheduler.remove_slot(slot):
            if chunk.source is source:
                left = chunk.count - chunk.received
                self._errands.append((self._deliver_error, (chunk, chunk.received, left, error)))
            else:
                others.append(chunk)
        self._return(others)
        handle.kill()

    def _break(self, broken: BaseException, cause: BaseException) -> None:
        """Give the pool up: nothing can be run any more."""
        broken.__cause__ = cause
        if self.broken is None:
            self.broken = broken
            self._fail_all(broken)

    def _fail_all(self, error: BaseException) -> None:
        """Give ``error`` to everything that has no outcome, and kill the workers."""
        for source in self._scheduler.sources():
            while source.left():
                chunk = source.cut(source.left())
                self._errands.append((self._deliver_error, (chunk, 0, chunk.count, error)))
        for chunk in self._outstanding:
            self._errands.append((self._deliver_error, (chunk, 0, chunk.count, error)))
        self._scheduler.clear()
        for handle in self.crew.handles():
            handle.slot.state = SlotState.GONE
            handle.kill()

    def _tick(self) -> None:
        """Look at chunks that take long: deliver what is done in them, unburden their workers."""
        with self._lock:
            self._begin()
            again = False
            for slot in self._scheduler.busy_slots():
                again = self._look_at(slot) or again
            self._next_tick = time.monotonic() + TICK_SECONDS if again else 0.0
            self._advance()
            self._clean = True

    def _look_at(self, slot: Slot) -> bool:
        """Look at one busy worker; return whether it should be looked at again."""
        handle = self.crew.handle(slot)
        position, before = handle.ledger.position(), handle.last_position
        handle.last_position = position
        running = slot.find(position.seq) if position is not None else None
        if running is None:
            return True
        stuck = position == before
        if stuck and running.source.eager and position is not None:
            if position.index > running.received:
                # Nothing moved since the last look, so the stores behind it are long visible.
                part = handle.ledger.peek()
                if part is not None:
                    self._take_part(running, part)
        self._scheduler.set_stuck(slot, stuck)
        if stuck and position is not None and self._scheduler.has_idle():
            self._recall(handle, running, position)
        if stuck and len(slot.chunks) > 1 and self._scheduler.has_idle():
            taken = handle.take_back()
            for chunk in slot.chunks:
                if chunk.seq in taken:
                    self._outstanding.pop(chunk, None)
            self._scheduler.take_back(slot, taken)
        return len(slot.chunks) > 1 or running.count > 1 or self._scheduler.queued

    def _recall(self, handle: Handle, chunk: Chunk, position: Position) -> None:
        """Take back what a stuck worker has not begun of its chunk: ask first, take at the next look."""
        begun = position.index + 1
        if begun >= chunk.count:
            return
        if handle.recalled != chunk.seq:
            handle.recalled = chunk.seq
            handle.ledger.recall(chunk.seq)
        else:
            self._shorten(chunk, begun)


def _print(number: int, data: bytes) -> None:
    """Write what a worker printed to our own stream, whatever that is now."""
    stream = (sys.stdout, sys.stderr)[number]
    try:
        stream.write(data.decode("utf-8", "replace"))
        stream.flush()
    except (OSError, ValueError, AttributeError):  # closed, full, or None
        pass
