"""What workers are told of where their reports go."""

from __future__ import annotations

import logging
import threading

import pytest

from procession.engine import notices
from procession.engine.notices import Reporting
from procession.wire.messages import FLAGS


def test_who_finds_nothing_changed_finds_what_is_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may be about to find it out: a worker that is started now must not get less."""
    within, go_on = threading.Event(), threading.Event()
    levels = notices._levels

    def slow() -> tuple[int, dict[str, int]]:
        found = levels()
        if threading.current_thread() is first:
            within.set()
            go_on.wait(60)
        return found

    monkeypatch.setattr(notices, "_levels", slow)
    reporting = Reporting()
    first = threading.Thread(target=reporting.note)
    first.start()
    within.wait(60)
    reporting.note()
    assert len(reporting.packed) > FLAGS
    go_on.set()
    first.join()


def test_it_is_the_same_until_something_changes() -> None:
    """So that it is sent once."""
    reporting = Reporting()
    reporting.note()
    before = reporting.packed
    reporting.note()
    assert reporting.packed is before
    logger = logging.getLogger("procession.tests.reporting")
    logger.setLevel(logging.ERROR)
    try:
        reporting.note()
        assert reporting.packed != before
    finally:
        logger.setLevel(logging.NOTSET)
