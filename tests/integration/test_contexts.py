"""Our contexts are contexts for the standard library, and for others that take or check one."""

from __future__ import annotations

import concurrent.futures
import logging
import logging.handlers
import multiprocessing
import multiprocessing.context
from typing import Any

import pytest
from tests.helpers import tasks

import procession

METHODS = multiprocessing.get_all_start_methods()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_the_standard_executor_takes_them(method: str) -> None:
    """With its queues, its processes and its pipes of our making."""
    context = procession.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(
        2, mp_context=context, initializer=tasks.set_state, initargs=(7,)
    ) as executor:
        assert list(executor.map(tasks.double, range(20))) == [2 * number for number in range(20)]
        assert executor.submit(tasks.get_state).result(30)[0] == 7


@pytest.mark.parametrize("method", [None, *METHODS])
def test_they_are_contexts(method: str | None) -> None:
    """As libraries check: by class, by name, and by the start method."""
    context = procession.get_context(method)
    assert isinstance(context, multiprocessing.context.BaseContext)
    assert context.get_start_method() in METHODS
    if method is not None:
        assert isinstance(context, getattr(multiprocessing.context, type(context).__name__))
        assert context.get_context() is context


def log_to(queue: Any, number: int) -> None:
    """Log one record through a queue, as the logging cookbook does."""
    logger = logging.getLogger("tests.cookbook")
    handler = logging.handlers.QueueHandler(queue)
    logger.addHandler(handler)
    logger.warning("number %d", number)
    logger.removeHandler(handler)


class Kept(logging.Handler):
    """Keeps messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.messages.append(record.getMessage())


@pytest.mark.parametrize("method", METHODS)
def test_queues_of_log_records(method: str) -> None:
    """`QueueHandler` in processes and in workers, `QueueListener` here: each record once."""
    context = procession.get_context(method)
    queue, kept = context.Queue(), Kept()
    listener = logging.handlers.QueueListener(queue, kept)
    listener.start()
    process = context.Process(target=log_to, args=(queue, 1))
    process.start()
    process.join()
    process.close()
    with context.Pool(1) as pool:
        pool.starmap(log_to, [(queue, 2), (queue, 3)])
        pool.close()
        pool.join()
    listener.stop()
    queue.close()
    queue.join_thread()
    assert sorted(kept.messages) == ["number 1", "number 2", "number 3"]


def log_by(logger: Any, number: int) -> None:
    """Log by a logger that was passed."""
    logger.info(f"number {number}")  # noqa: G004 (it is no logger of `logging`)


@pytest.mark.parametrize("method", METHODS)
def test_loguru_takes_them(method: str) -> None:
    """With `enqueue=True, context=`: a logger that is passed to workers and processes writes here."""
    logger = pytest.importorskip("loguru").logger
    context = procession.get_context(method)
    messages: list[str] = []
    logger.remove()
    logger.add(lambda message: messages.append(message.record["message"]), enqueue=True, context=context)
    with context.Pool(1) as pool:
        pool.starmap(log_by, [(logger, 1), (logger, 2)])
        pool.close()
        pool.join()
    process = context.Process(target=log_by, args=(logger, 3))
    process.start()
    process.join()
    process.close()
    logger.complete()
    logger.remove()
    assert sorted(messages) == ["number 1", "number 2", "number 3"]
