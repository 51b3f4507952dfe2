"""What workers print, log and warn of reaches the parent's streams, handlers and filters, once."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers.scripts import Completed

import procession

METHODS = multiprocessing.get_all_start_methods()
log = logging.getLogger("tests.reports")


class Kept(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)

    def texts(self) -> list[str]:
        """The messages, in order."""
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Give a handler of this module's logger, at the level INFO."""
    handler = Kept()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


class Odd:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("no")

    def __repr__(self) -> str:
        return "<odd>"


def say(number: int) -> int:
    """Log at two levels."""
    log.debug("not wanted")
    log.info("said %d", number)
    return number


def say_what_failed(_: object = None) -> None:
    """Log an exception, with something odd."""
    try:
        raise LookupError("on purpose")
    except LookupError:
        log.exception("failed", extra={"odd": Odd()})


def say_it_wrong(_: object = None) -> str:
    """Log with a format that does not fit."""
    log.warning("%d items", "some")
    return "done"


def say_by_module(_: object = None) -> None:
    """Log by the functions of the module, which configure what has no handler."""
    logging.error("by the module")  # noqa: LOG015 (that is what is tested)


def say_twice(path: str) -> None:
    """Log with a handler of the worker's own, and by one of a library that has none."""
    handler = logging.FileHandler(path)
    log.addHandler(handler)
    log.error("here")
    log.removeHandler(handler)
    handler.close()
    log.addHandler(logging.NullHandler())
    log.error("there")


def warn(text: str) -> str:
    """Warn."""
    warnings.warn(text, DeprecationWarning, stacklevel=1)
    return text


@pytest.mark.parametrize("method", METHODS)
def test_records_reach_the_parents_handlers(kept: Kept, method: str) -> None:
    """With level, process, name and place; those below the parent's level do not."""
    with procession.get_context(method).Pool(1) as pool:
        assert pool.map(say, range(3)) == [0, 1, 2]
    assert kept.texts() == ["said 0", "said 1", "said 2"]
    record = kept.records[0]
    assert (record.levelname, record.name, record.funcName) == ("INFO", "tests.reports", "say")
    assert "PoolWorker-" in (record.processName or "")


def test_an_exception_is_shown_in_full(kept: Kept) -> None:
    """As text, since a traceback cannot travel; what cannot be pickled is shown in words."""
    with procession.Pool(1) as pool:
        pool.apply(say_what_failed)
    (record,) = kept.records
    assert "LookupError: on purpose" in (record.exc_text or "")
    assert "say_what_failed" in (record.exc_text or "")
    assert record.odd == "<odd>"  # type: ignore[attr-defined]


def test_a_wrong_format_is_no_error_of_the_task(capfd: pytest.CaptureFixture[str]) -> None:
    """It is told on stderr, as by any handler."""
    with procession.Pool(1) as pool:
        assert pool.apply(say_it_wrong) == "done"
    assert "Logging error" in capfd.readouterr().err


def test_levels_may_change(kept: Kept) -> None:
    """Workers know before the next call."""
    with procession.Pool(1) as pool:
        pool.apply(say, (1,))
        log.setLevel(logging.ERROR)
        pool.apply(say, (2,))
        log.setLevel(logging.INFO)
        pool.apply(say, (3,))
        logging.disable(logging.ERROR)
        try:
            pool.apply(say, (4,))
        finally:
            logging.disable(logging.NOTSET)
    assert kept.texts() == ["said 1", "said 3"]


def test_the_functions_of_the_module_configure_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """`logging.error` in a worker goes the same way."""
    with procession.Pool(1) as pool:
        pool.map(say_by_module, range(2))
    assert caplog.messages == ["by the module"] * 2


def test_what_a_worker_handles_is_not_reported_twice(kept: Kept, tmp_path: Any) -> None:
    """A handler that a task has added is enough; one that does nothing is none."""
    path = tmp_path / "log"
    with procession.Pool(1) as pool:
        pool.apply(say_twice, (str(path),))
    assert path.read_text() == "here\n"
    assert kept.texts() == ["there"]


@pytest.mark.parametrize("method", METHODS)
def test_warnings_reach_the_parents_filters(method: str) -> None:
    """With category, file and line; they are told once, as here."""
    with procession.get_context(method).Pool(2) as pool:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            pool.map(warn, ["one"] * 4 + ["two"], chunksize=1)
        with warnings.catch_warnings(record=True) as ignored:
            warnings.simplefilter("ignore")
            pool.map(warn, ["three"] * 4)
    found = {(str(each.message), each.category, each.filename) for each in caught}
    assert found == {(text, DeprecationWarning, __file__) for text in ("one", "two")}
    assert len(caught) == 2
    assert not ignored


def test_a_filter_that_raises_does_so_in_the_task() -> None:
    """As it would without workers."""
    with procession.Pool(1) as pool:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(DeprecationWarning, match="on purpose"):
                pool.apply(warn, ("on purpose",))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert pool.apply(warn, ("on purpose",)) == "on purpose"


def ignore_warnings_and_be_verbose() -> None:
    """Set what holds for a worker alone: an initializer."""
    warnings.simplefilter("ignore", DeprecationWarning)
    log.setLevel(logging.DEBUG)


def test_what_an_initializer_sets_stays(kept: Kept) -> None:
    """Also when something changes in the parent."""
    with procession.Pool(1, ignore_warnings_and_be_verbose) as pool, warnings.catch_warnings(record=True) as caught:
        for category in (ResourceWarning, UserWarning):
            warnings.simplefilter("always", category)
            warnings.simplefilter("always", DeprecationWarning)
            logging.getLogger("tests.other").setLevel(logging.ERROR)
            pool.apply(warn, ("one",))
            pool.apply(say, (1,))
            logging.getLogger("tests.other").setLevel(logging.NOTSET)
    assert not caught
    assert kept.texts() == ["said 1"] * 2


def test_a_handler_that_fails_costs_nothing(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Its error is shown, and the call has its value."""
    kept.emit = lambda record: 1 / 0  # type: ignore[assignment]
    with procession.Pool(1) as pool:
        assert pool.apply(say, (1,)) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def talk(number: int) -> None:
    """Print lines to both streams, and a piece of one."""
    print(f"out {number}")
    print(f"err {number}", file=sys.stderr)
    sys.stdout.write("a piece of a line, ")
    sys.stdout.write(f"ended {number}\n")


def have_workers_talk(method: str) -> None:
    """Twenty times."""
    with procession.get_context(method).Pool(2) as pool:
        pool.map(talk, range(20), chunksize=1)


def _is_whole(text: str, count: int) -> bool:
    lines = Counter(text.splitlines())
    wanted = [line for number in range(count) for line in (f"out {number}", f"a piece of a line, ended {number}")]
    return lines == Counter(wanted)


@pytest.mark.parametrize("method", METHODS)
def test_prints_are_captured(capsys: pytest.CaptureFixture[str], method: str) -> None:
    """Where the parent's streams are replaced, in whole lines."""
    have_workers_talk(method)
    out, err = capsys.readouterr()
    assert _is_whole(out, 20)
    assert sorted(err.splitlines()) == sorted(f"err {number}" for number in range(20))


@pytest.mark.parametrize("method", METHODS)
def test_prints_are_captured_by_descriptor(capfd: pytest.CaptureFixture[str], method: str) -> None:
    """As by `nohup`, a shell's redirection, or pytest."""
    have_workers_talk(method)
    out, _err = capfd.readouterr()
    assert _is_whole(out, 20)


@pytest.mark.parametrize("variable", ["", "1"])
def test_prints_are_whole_lines_in_a_file(script: Callable[..., Completed], variable: str) -> None:
    """Also with PYTHONUNBUFFERED."""
    run = script(
        """
        import procession
        from tests.conformance.test_reports import talk

        with procession.Pool(2) as pool:
            pool.map(talk, range(20), chunksize=1)
        """,
        env={"PYTHONUNBUFFERED": variable},
    )
    assert _is_whole(run.check().stdout, 20)
