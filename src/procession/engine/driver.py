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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.engine.accounts import Accounts
from procession.engine.crew import Crew, WorkerSettings
from procession.engine.hunger import HUNGER_SECONDS, Hunger
from procession.engine.lookout import LOOK_SECONDS, Lookout
from procession.engine.relief import Relief
from procession.engine.scheduler import Scheduler, SlotState
from procession.engine.seat import Seat
from procession.engine.supervisor import Supervisor
from procession.engine.work import Chunk, Source, Unencodable
from procession.errors import InternalError, PoolBroken, TaskCancelled, WorkerDied
from procession.system import close_all, usable_cores
from procession.wire import ledger as page
from procession.wire import messages
from procession.wire.arena import NoRoom
from procession.wire.faults import unpack_error
from procession.wire.messages import Encoding, Part, Run

#: Looks at the sockets before the thread sleeps, about 0.6 us each.
SPINS = 100

if TYPE_CHECKING:
    from procession.engine.handle import Handle
    from procession.engine.interning import Function
    from procession.engine.scheduler import Slot
    from procession.engine.store import Store
    from procession.wire.channel import Message


class Driver:
    """The engine of one pool."""

    def __init__(self, workers: int, settings: WorkerSettings, store: Store) -> None:
        self._lock = threading.Lock()
        self.store = store
        self._hunger = Hunger()
        self._clean = True
        self._workers = workers
        self._scheduler = Scheduler(workers, usable_cores())
        self._supervisor = Supervisor(workers)
        self.crew = Crew(settings)
        self._accounts = Accounts(self._scheduler)
        self._errands = self._accounts.errands
        self._lookout = Lookout(self._scheduler, self.crew, self._accounts)
        self.broken: BaseException | None = None
        self._closing = False
        self._released = False
        self._poller = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._watch(self._wake_read, self._on_nudge)
        self._next_look = 0.0
        self._flags = bytes(2)
        self._streams: tuple[Any, Any] = (None, None)
        self.seat = Seat(self.turn, self.nudge)
        self.relief = Relief(self.seat, lambda: not self.has_work, self.nudge, self._tidy)

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
                waits = scheduler.saturated or (self._next_look and scheduler.can_wait(source))
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
        if self._accounts or self._scheduler.queued:
            return True
        return self._closing and bool(self.crew.handles())

    def wait_for_room(self, full: NoRoom) -> None:
        """Block until the store has room again, driving meanwhile.  On failure: ``MemoryError``."""
        self._hunger.waiters += 1
        until = 0.0
        try:
            self._keep_looking()
            while not self.store.has_room(full.wanted):
                if self.broken is not None or self._closing:
                    raise self.store.exhausted(full)
                if not self.has_work:  # then somebody else's, or nobody's
                    until = until or time.monotonic() + HUNGER_SECONDS
                    if time.monotonic() >= until:
                        raise self.store.exhausted(full)
                else:
                    until = 0.0
                self._keep_looking()
                self._wait_for_return()
        finally:
            self._hunger.waiters -= 1

    def _wait_for_return(self) -> None:
        """Wait until something is given back; look around every now and then all the same."""
        seen = self._hunger.returns
        self.wait(lambda: self._hunger.returns != seen, LOOK_SECONDS)

    def _keep_looking(self) -> None:
        """Have the ledgers looked at soon, for what workers give back without a message."""
        with self._lock:
            self._begin()
            self._collect()
            self._next_look = self._next_look or time.monotonic() + LOOK_SECONDS
            self._clean = True

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
                self.store.close()
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
        self._scheduler.clear()
        self._accounts = Accounts(self._scheduler)
        self._errands = self._accounts.errands
        self.crew.abandon()
        self.store.close_after_fork()
        self._poller.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def nudge(self) -> None:
        """Make a blocked ``turn`` return."""
        if not self._released:
            try:  # noqa: SIM105
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
            if self._next_look and time.monotonic() >= self._next_look:
                self._look()
            self._run_errands()
        except Exception as error:
            self._fail_internally(error)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if self._next_look:
            left = max(0.0, self._next_look - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        if self._scheduler.answer_is_near():
            # Going to sleep and being woken costs more than the item will take; see `answer_is_near`.
            for _ in range(SPINS):
                events = self._poller.poll(0)
                if events:
                    return events
        return self._poller.poll(timeout)

    def _run_errands(self) -> bool:
        errands = self._errands
        if not errands:
            return False
        if not self._clean:  # or another thread is in a transition: the lock tells
            with self._lock:
                self._begin()
                self._clean = True
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
        try:  # noqa: SIM105
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
        if self.crew.stale:
            self.crew.forget_stale()

    def _collect(self) -> None:
        """Take back the blocks that workers need no longer."""
        found = False
        for handle in self.crew.handles():
            handle.views.settle()
            found = handle.leases.collect() or found
        if found:
            self._hunger.returns += 1

    def _tidy(self) -> bool:
        """Give back what lies idle; return whether there will be more to do later.  By the relief thread."""
        with self._lock:
            if self._released:
                return False
            self._begin()
            self._collect()
            self.store.trim()
            self._clean = True
        return self.store.has_free

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
        self._note_streams()
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
        self._accounts.open(chunk)
        if chunk.frames is not None:  # pickled already
            encoded = chunk.source.encode(chunk, self.store)
            self._send(slot, chunk, encoded.encoding, encoded.parts)
        else:
            self._accounts.add_errand(self._encode_and_send, slot, chunk)

    def _encode_and_send(self, slot: Slot, chunk: Chunk) -> None:
        if chunk not in slot.chunks:  # withdrawn since; its errors are on their way
            return
        try:
            encoded = chunk.source.encode(chunk, self.store)
        except Unencodable as failure:
            self._on_unencodable(slot, chunk, failure)
            return
        except NoRoom as full:
            self._on_no_room(slot, chunk, full)
            return
        with self._lock:
            self._begin()
            chunk.definitions = encoded.definitions
            if encoded.count is not None and encoded.count < chunk.count:
                self._accounts.shorten(chunk, encoded.count)
            self._hunger.since = 0.0
            if slot.state is not SlotState.GONE and chunk in slot.chunks:
                self._send(slot, chunk, encoded.encoding, encoded.parts)
            if encoded.count is not None:
                self._advance()  # what did not fit may go to another worker
            self._clean = True

    def _on_unencodable(self, slot: Slot, chunk: Chunk, failure: Unencodable) -> None:
        """One item cannot be pickled: it has its outcome, and the others are cut anew."""
        source = chunk.source
        with self._lock:
            self._begin()
            if chunk in slot.chunks:
                self._scheduler.take_back(slot, {chunk.seq}, skip=failure.index)
            self._accounts.close(chunk)
            self._advance()
            self._clean = True
        source.deliver_error(chunk, failure.index, 1, failure.error)

    def _on_no_room(self, slot: Slot, chunk: Chunk, full: NoRoom) -> None:
        """The store is full: hand out nothing until something comes back, if anything is under way."""
        with self._lock:
            self._begin()
            if chunk in slot.chunks:
                self._scheduler.take_back(slot, {chunk.seq})
            self._accounts.close(chunk)
            self._collect()
            self._scheduler.held = True  # until a chunk is done, or the next look
            self._next_look = self._next_look or time.monotonic() + LOOK_SECONDS
            starving = self._hunger.is_starving(bool(self._accounts), time.monotonic())
            if starving and chunk.source.left():
                chunk = chunk.source.cut(1)
            self._clean = True
        if starving:
            self._hunger.since = 0.0
            self._accounts.deliver_error(chunk, 0, chunk.count, self.store.exhausted(full))

    def _send(self, slot: Slot, chunk: Chunk, encoding: Encoding, parts: list[Any]) -> None:
        handle = self.crew.handle(slot)
        source = chunk.source
        self._note_streams()
        if handle.streams != self._flags:
            handle.redirect(self._flags, chunk.seq)
        if source.function.parcel is not None:
            self.crew.watch(source.function)
        handle.define(source.function, chunk.definitions, chunk.seq, self.store)
        head = messages.pack_run(Run(source.style, encoding, source.timed, chunk.count, chunk.seq, source.function.id))
        if encoding is Encoding.FRAMES or encoding is Encoding.RANGE:
            handle.send(head, *parts)
        else:
            handle.send_frames(self.store, chunk.seq, head, *parts)
        if handle.blocked:
            self._poller.modify(handle.channel.fileno(), select.EPOLLIN | select.EPOLLOUT)
        if not self._next_look and (source.eager or chunk.count > 1 or len(slot.chunks) > 1):
            self._next_look = time.monotonic() + LOOK_SECONDS

    def _note_streams(self) -> None:
        """See which of our streams are not the process's own, so that workers must send their text."""
        if sys.stdout is not self._streams[0] or sys.stderr is not self._streams[1]:
            self._streams = (sys.stdout, sys.stderr)
            self._flags = bytes((sys.stdout is not sys.__stdout__, sys.stderr is not sys.__stderr__))

    # Events.

    def _on_socket(self, handle: Handle) -> None:
        if handle.blocked:
            with self._lock:
                handle.flush()
                if not handle.blocked:
                    self._poller.modify(handle.channel.fileno(), select.EPOLLIN)  # type: ignore[unreachable]  # flush changes it
        message = handle.receive()
        if message is not None:
            self._on_message(handle, message)

    def _on_message(self, handle: Handle, message: Message) -> None:
        data = message.data
        kind = data[0]
        if kind == messages.PART:
            self._on_part(handle, messages.unpack_part(data, handle.views, message.fds))
        elif kind == messages.OUTPUT:
            self._accounts.add_errand(_print, data[1], bytes(data[2:]))
        elif kind == messages.REFUSED:
            seq = int.from_bytes(data[1:9], "little")
            self._accounts.add_errand(self._on_refused, handle, seq, bytes(data[9:]))
        elif kind == messages.READY:
            with self._lock:
                self._begin()
                self._scheduler.on_ready(handle.slot)
                self._advance()
                self._clean = True
        elif kind == messages.ARENA:
            handle.views.adopt(message.fds[0])
        elif kind == messages.FAILED:
            handle.stopping = True
            self._accounts.add_errand(self._on_initializer_failed, bytes(data[1:]))

    def _on_part(self, handle: Handle, part: Part) -> None:
        with self._lock:
            self._begin()
            slot = handle.slot
            chunk = slot.find(part.seq)
            if handle.leases and handle.leases.collect():
                self._hunger.returns += 1
            if chunk is None:
                close_all(part.fds)
            else:
                if part.final and part.first + part.count < chunk.count:
                    self._accounts.shorten(chunk, part.first + part.count)  # it was recalled
                    handle.end_loans(part.seq, part.first + part.count)
                self._accounts.take(chunk, part)
                if part.final:
                    handle.forget_loans(part.seq)
                    if handle.ledger.words[page.PINNED] > self.store.pinned_limit:
                        slot.quota = 0  # what it keeps on account of its forks ends with it
                    self._supervisor.on_success()
                    self._scheduler.on_final(slot, chunk, part.seconds)
                    if slot.quota == 0 and not slot.chunks:
                        self._retire(slot)
                    self._advance()
            self._clean = True

    def _on_refused(self, handle: Handle, seq: int, pickled: bytes) -> None:
        """A worker could not read a chunk: together its items go apart, apart they have failed."""
        error = unpack_error(pickled)
        with self._lock:
            self._begin()
            slot = handle.slot
            chunk = slot.find(seq)
            handle.forget_loans(seq)
            apart = chunk is not None and chunk.frames is None and not chunk.apart
            if chunk is None:
                pass
            elif apart and chunk.count > 1:
                chunk.apart = True
                self._scheduler.take_back(slot, {seq})
                self._accounts.close(chunk)
                chunk = None
            else:
                self._scheduler.on_final(slot, chunk, 0.0)
            self._advance()
            self._clean = True
        if chunk is not None:
            self._accounts.deliver_error(chunk, 0, chunk.count, error)

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
            end = self._accounts.settle_dead(handle, ending.exitcode)
            self._accounts.add_errand(handle.views.close)  # behind the outcomes that it still reads
            self.crew.remove(handle)
            self._hunger.returns += 1
            if not self._supervisor.on_end(end, time.monotonic()) and self.broken is None:
                cause = WorkerDied(handle.child.pid, ending.exitcode)
                reason = "workers keep ending before they can run anything; the last one "
                self._break(PoolBroken(reason + cause.ending), cause)
            self._advance()
            self._clean = True

    def _abort(self, slot: Slot, source: Source, error: BaseException) -> None:
        """Kill a worker for the sake of the chunks of ``source`` that it holds."""
        handle = self.crew.handle(slot)
        others = []
        for chunk in self._scheduler.remove_slot(slot):
            if chunk.source is source:
                self._accounts.lose(chunk, error)
            else:
                others.append(chunk)
        self._accounts.give_back(others)
        handle.kill()

    def _break(self, broken: BaseException, cause: BaseException) -> None:
        """Give the pool up: nothing can be run any more."""
        broken.__cause__ = cause
        if self.broken is None:
            self.broken = broken
            self._fail_all(broken)

    def _fail_all(self, error: BaseException) -> None:
        """Give ``error`` to everything that has no outcome, and kill the workers."""
        self._accounts.fail_all(error)
        self._scheduler.clear()
        for handle in self.crew.handles():
            handle.slot.state = SlotState.GONE
            handle.slot.chunks.clear()
            handle.kill()

    def _look(self) -> None:
        with self._lock:
            self._begin()
            again = self._lookout.look()
            if self._scheduler.held or self._hunger.waiters:
                self._collect()
                self._scheduler.held = False
                again = True
            self._next_look = time.monotonic() + LOOK_SECONDS if again else 0.0
            self._advance()
            self._clean = True


def _print(number: int, data: bytes) -> None:
    """Write what a worker printed to our own stream, whatever that is now."""
    stream = (sys.stdout, sys.stderr)[number]
    try:
        stream.write(data.decode("utf-8", "replace"))
        stream.flush()
    except (OSError, ValueError, AttributeError):  # closed, full, or None
        pass
