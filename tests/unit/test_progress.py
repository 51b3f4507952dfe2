"""The meter, and the bars that it draws: how often, in which words, and what goes wrong without harm."""

from __future__ import annotations

import functools
import io
import itertools
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tqdm import std

import procession
from procession.checks import check_progress
from procession.engine.screen import screen
from procession.mapping import bars
from procession.mapping.bars import LOG_FIRST_SECONDS, LogBar, make_display, postfixes
from procession.mapping.progress import DRAW_SECONDS, QUIET_SECONDS, Meter, Progress, TaskProgress, make_meter
from procession.mapping.terminal import TerminalBar, Tqdm, canvas
from procession.worker.nesting import nesting
from procession.worker.telling import here


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell them."""
        return self.now


class Kept:
    """A display that keeps what it is to show."""

    patience = QUIET_SECONDS

    def __init__(self) -> None:
        self.drawn: list[Progress] = []
        self.last: list[Progress] = []
        self.abandoned = 0

    def draw(self, progress: Progress) -> None:
        """Keep one."""
        self.drawn.append(progress)

    def close(self, progress: Progress) -> None:
        """Keep the last one."""
        self.last.append(progress)

    def abandon(self) -> None:
        """Count."""
        self.abandoned += 1


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"
    patch: pytest.MonkeyPatch

    def isatty(self) -> bool:
        """Say so."""
        return True

    def take_over(self) -> None:
        """Be both stdout and stderr.  In the test itself: pytest sets them after its fixtures."""
        self.patch.setattr(sys, "stdout", self)
        self.patch.setattr(sys, "stderr", self)


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
def kept() -> Kept:
    """Give a display."""
    return Kept()


@pytest.fixture
def make(clock: Clock, kept: Kept) -> Iterator[Callable[..., Meter]]:
    """Give a function that makes meters on the clock; they are closed at the end."""
    made: list[Meter] = []

    def meter(display: Any = kept, total: int | None = 10) -> Meter:
        made.append(Meter(display, total=total, workers=lambda: 3, clock=clock))
        return made[-1]

    yield meter
    for each in made:
        each.close()
    assert not screen.wanted
    assert not screen.covered


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Give a terminal."""
    shown = Terminal()
    shown.patch = monkeypatch
    return shown


def test_a_meter_counts(make: Callable[..., Meter], kept: Kept, clock: Clock) -> None:
    """Values, errors, retries and what a journal had are counted; the rate leaves out what nobody worked for."""
    meter = make(total=100)
    meter.replay(40, 0)
    meter.on_retry()
    clock.now += 5
    meter.take(8, 2)
    found = kept.drawn[-1]
    assert (found.done, found.failed, found.retried, found.replayed) == (50, 2, 1, 40)
    assert (found.total, found.workers, found.seconds) == (100, 3, 5)
    assert (found.rate, found.left) == (2, 25)


def test_a_meter_is_drawn_ten_times_a_second_at_most(make: Callable[..., Meter], kept: Kept, clock: Clock) -> None:
    """However fast outcomes come in; the last state is shown when it is closed, once."""
    meter = make(total=None)
    for _ in range(1000):
        clock.now += 0.001
        meter.take(1, 0)
    assert 9 <= len(kept.drawn) <= 11
    meter.close()
    meter.close()
    assert [each.done for each in kept.last] == [1000]
    assert kept.last[0].left is None


def test_a_meter_is_due_when_something_has_changed(make: Callable[..., Meter], kept: Kept, clock: Clock) -> None:
    """With news after a tenth of a second, without any once a second, since time goes on."""
    meter = make()
    meter.take(1, 0)
    meter.take(1, 0)
    assert len(kept.drawn) == 1
    assert not meter.is_due(clock.now)
    assert meter.is_due(clock.now + DRAW_SECONDS)
    clock.now += DRAW_SECONDS
    meter.refresh()
    assert kept.drawn[-1].done == 2
    assert not meter.is_due(clock.now + DRAW_SECONDS)
    assert meter.is_due(clock.now + QUIET_SECONDS)


def test_the_total_may_come_late(make: Callable[..., Meter], kept: Kept, clock: Clock) -> None:
    """With the end of the input known, there is something left to wait for."""
    meter = make(total=None)
    clock.now += 2
    meter.take(4, 0)
    assert kept.drawn[-1].left is None
    clock.now += 2
    meter.set_total(12)
    assert (kept.drawn[-1].total, kept.drawn[-1].left) == (12, 8)


def test_running_items_count_by_their_parts(make: Callable[..., Meter], kept: Kept, clock: Clock) -> None:
    """What is left follows from the parts of items that run; with its outcome an item tells nothing more."""
    meter = make(total=4)
    clock.now += 10
    meter.on_task(2, 5, 10, "half")
    meter.on_task(3, 30, 10, "")
    found = kept.drawn[-1]
    assert found.tasks == {2: TaskProgress(5, 10, "half")}
    clock.now += 1
    meter.refresh()
    found = kept.drawn[-1]
    assert (found.done, found.parts) == (0, 1.5)
    assert found.left == pytest.approx(11 / 1.5 * 2.5)
    meter.end_tasks(2, 1)
    meter.close()
    assert list(kept.last[0].tasks) == [3]


@pytest.mark.parametrize("fails", ["draw", "close"])
def test_a_display_that_fails_is_given_up(
    make: Callable[..., Meter], kept: Kept, clock: Clock, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """With one warning, also where warnings are errors (as here); the run goes on."""
    said: list[Any] = []
    monkeypatch.setattr(warnings, "showwarning", lambda *told: said.append(told[:2]))
    monkeypatch.setattr(kept, fails, lambda _progress: 1 / 0)
    meter = make()
    meter.take(1, 0)
    clock.now += 1
    meter.take(1, 0)
    meter.close()
    assert [category for _text, category in said] == [RuntimeWarning]
    assert "ZeroDivisionError" in str(said[0][0])
    assert kept.abandoned == 1


def test_a_callback_may_call_what_waits(make: Callable[..., Meter], clock: Clock) -> None:
    """A callback that comes to draw the same meter again, or another thread that does, finds it taken."""
    seen: list[int] = []

    def callback(progress: Progress) -> None:
        seen.append(progress.done)
        meter.refresh()
        other = threading.Thread(target=meter.refresh)
        other.start()
        other.join()

    meter = make(bars.CallbackDisplay(callback))
    meter.take(1, 0)
    assert seen == [1]
    meter.close()
    assert seen == [1, 1]


def test_a_line_of_progress() -> None:
    """A snapshot reads as one line, with what there is to say and nothing else."""
    some = Progress(1200, 3, 1, 200, 10_000, 100.0, 10.0, 880.0, 1, {4: TaskProgress(3, 10, "epoch")})
    assert str(some) == (
        "1,200/10,000 (12%), 3 failed, 1 retried, 200 from the journal, 1 worker, 10 items/s, 1:40 elapsed, "
        "14:40 left, item 4: 3/10 epoch"
    )
    assert str(Progress(0, 0, 0, 0, None, 0.2, 0.0, None, 4)) == "0, 4 workers, 0:00 elapsed"
    assert "4 s/item" in str(Progress(1, 0, 0, 0, 1, 4000.0, 0.25, 0.0, 4))
    assert "1:06:40 elapsed" in str(Progress(1, 0, 0, 0, 1, 4000.0, 0.25, 0.0, 4))
    assert "3,401,985 items/s" in str(Progress(1, 0, 0, 0, 1, 1.0, 3401985.08, 0.0, 4))


@pytest.mark.parametrize(
    ("told", "text"),
    [((3, 10, ""), "3/10"), ((3, None, ""), "3"), ((3, None, "third"), "third"), ((0.5, 1, "half"), "0.5/1 half")],
)
def test_a_line_of_a_task(told: tuple[float, float | None, str], text: str) -> None:
    """The count only where it says something beside the message."""
    assert str(TaskProgress(*told)) == text


def _at(seconds: float, done: int = 5) -> Progress:
    return Progress(done, 0, 0, 0, 10, seconds, done / seconds, 1.0, 2)


def test_a_log_gets_few_lines() -> None:
    """The first after ten seconds, then ever fewer up to one a minute, and one at the end; no carriage return."""
    stream = io.StringIO()
    log = LogBar("a run", stream)
    when = []
    for tenth in range(1, 6000):
        before = stream.tell()
        log.draw(_at(tenth / 10))
        if stream.tell() > before:
            when.append(tenth / 10)
    gaps = [round(after - before) for before, after in itertools.pairwise(when)]
    assert when[0] == LOG_FIRST_SECONDS
    assert gaps[:3] == [15, 22, 34]
    assert set(gaps[4:]) == {60}
    log.close(_at(600, 10))
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(when) + 1
    assert lines[-1] == "a run: 10/10 (100%), 2 workers, 60 s/item, 10:00 elapsed"
    assert "\r" not in stream.getvalue()


def test_a_short_run_leaves_no_line_in_a_log() -> None:
    """A run of a few seconds writes nothing; one of more than ten says how it ended."""
    stream = io.StringIO()
    LogBar("a run", stream).close(_at(9))
    assert stream.getvalue() == ""
    LogBar("a\nrun", stream).close(_at(11))
    assert stream.getvalue().startswith("a run: 5/10")


def test_a_closed_log_is_no_error() -> None:
    """Nobody reads it any more, so nothing is written."""
    stream = io.StringIO()
    log = LogBar("a run", stream)
    stream.close()
    log.draw(_at(20))
    log.close(_at(21))


@pytest.mark.parametrize("progress", [None, False])
def test_no_progress(progress: Any) -> None:
    """None and False show nothing, and cost nothing."""
    assert make_meter(progress, label="x", total=1, workers=lambda: 1) is None


@pytest.mark.parametrize("stream", [None, "closed"])
def test_nowhere_to_show_it(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    """Without a stderr, or with a closed one, there is no bar."""
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert make_meter(True, label="x", total=1, workers=lambda: 1) is None


def test_no_bar_in_a_worker(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pool within a worker the bar of the parent tells; a function is called all the same."""
    terminal.take_over()
    monkeypatch.setattr(nesting, "depth", 1)
    assert make_display(True, "x", 1) is None
    assert make_display("a run", "x", 1) is None
    assert make_display(print, "x", 1) is not None
    assert terminal.getvalue() == ""


def _terminal_bar(terminal: Terminal, clock: Clock, total: int | None = 40, label: str = "run") -> Meter:
    return Meter(TerminalBar(label, total, terminal), total=total, workers=lambda: 2, clock=clock)


def test_a_bar_on_a_terminal(terminal: Terminal, clock: Clock) -> None:
    """It begins at nothing, ends with the last state and a fresh line, and leaves tqdm as it was."""
    had_lock = hasattr(std.tqdm, "_lock")
    meter = _terminal_bar(terminal, clock)
    assert screen.covered
    assert "run:   0%|" in terminal.getvalue()
    meter.take(9, 1)
    meter.take(30, 0)
    meter.close()
    shown = terminal.getvalue()
    assert "10/40" in shown
    assert "40/40" in shown.split("\r")[-1]
    assert "1 failed, 2 workers]" in shown
    assert shown.endswith("\n")
    assert not screen.covered
    assert (std.tqdm.monitor, hasattr(std.tqdm, "_lock")) == (None, had_lock)  # type: ignore[attr-defined]


def test_a_bar_within_a_bar(terminal: Terminal, clock: Clock) -> None:
    """It takes the next line, and leaves nothing behind."""
    outer = _terminal_bar(terminal, clock, label="outer")
    inner = _terminal_bar(terminal, clock, label="inner")
    start = terminal.tell()
    inner.take(1, 0)
    assert terminal.getvalue()[start:].startswith("\n\rinner:")
    inner.close()
    outer.close()
    assert terminal.getvalue().count("outer") >= 2
    assert terminal.getvalue().count("\n\r") == terminal.getvalue().count("\x1b[A")
    assert terminal.getvalue().endswith("\n")


def test_the_lower_bar_moves_up(terminal: Terminal, clock: Clock) -> None:
    """When the upper of two bars is done, the other one takes its place below the line that stays."""
    upper = _terminal_bar(terminal, clock, label="upper")
    lower = _terminal_bar(terminal, clock, label="lower")
    upper.close()
    start = terminal.tell()
    lower.take(1, 0)
    assert terminal.getvalue()[start:].startswith("\rlower:")
    lower.close()


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_bar_fits_its_terminal(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Never a line longer than the terminal is wide; a narrow one shows less beside the bar."""
    monkeypatch.setattr("procession.mapping.terminal.shape", lambda _stream: (columns - 1, 23))
    meter = _terminal_bar(terminal, clock, label="a_function_with_a_long_name")
    meter.on_task(7, 1, 2, "an item that has quite a lot to say about itself")
    meter.take(9, 1)
    clock.now += 1
    meter.refresh()
    meter.close()
    drawn = terminal.getvalue().split("\r")
    assert max(len(each.rstrip("\n")) for each in drawn) == columns - 1
    wide = "1 failed, 2 workers, item 7: 1/2 an item that has quite a ...]"
    assert (wide in terminal.getvalue()) == (columns == 200)


def test_text_that_a_terminal_cannot_show(clock: Clock) -> None:
    """Control characters of a description or a message are not written, nor what its encoding has not."""
    terminal = Terminal()
    terminal.encoding = "ascii"  # type: ignore[misc]
    meter = _terminal_bar(terminal, clock, label="\x1b[2Jgröße\n")
    meter.on_task(1, 1, None, "two\nlines")
    meter.close()
    assert " [2Jgr??e : " in terminal.getvalue()
    assert "two lines" in terminal.getvalue()


def test_output_is_written_above_the_bars(terminal: Terminal, clock: Clock) -> None:
    """In whole lines: what has not ended yet waits for its end, each worker's for its own."""
    terminal.take_over()
    meter = _terminal_bar(terminal, clock)
    start = terminal.tell()
    screen.write(1, 0, "one\ntw")
    assert terminal.getvalue()[start:].rpartition("one\n")[2].strip(" \r").startswith("run:")
    screen.write(2, 0, "of another\n")
    screen.write(1, 0, "o\n")
    screen.write(1, 0, "no end")
    screen.write(1, 1, "\r 10%\r 20%")
    meter.close()
    lines = [each.rpartition("\r")[2] for each in terminal.getvalue()[start:].split("\n")]
    assert lines[:3] == ["one", "of another", "two"]
    assert lines[3:5] == ["no end", " 20%"]
    assert lines[5].startswith("run:")


def test_output_past_a_bar(terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to a file is not held back, and no bar is moved for it."""
    terminal.take_over()
    meter = _terminal_bar(terminal, clock)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    start = terminal.tell()
    screen.write(1, 0, "no end")
    assert (stream.getvalue(), terminal.getvalue()[start:]) == ("no end", "")
    meter.close()


def test_nothing_is_drawn_while_somebody_writes(terminal: Terminal, clock: Clock) -> None:
    """A handler that writes has the terminal to itself, also when an outcome comes in meanwhile."""
    terminal.take_over()
    meter = _terminal_bar(terminal, clock)
    with screen.above():
        start = terminal.tell()
        meter.take(1, 0)
        assert terminal.getvalue()[start:] == ""
    with screen.above():  # so soon that they are not drawn again behind it
        pass
    clock.now += 1
    meter.take(1, 0)
    assert "2/40" in terminal.getvalue()[start:]
    meter.close()


def test_a_bar_that_cannot_be_drawn_costs_no_output(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker has printed is written, whatever a bar does."""
    terminal.take_over()
    meter = _terminal_bar(terminal, clock)
    monkeypatch.setattr(type(canvas), "hide", lambda _self: 1 / 0)
    screen.write(1, 0, "said\n")
    assert "said\n" in terminal.getvalue()
    meter.close()


class Counter:
    """Somebody's own bar."""

    def __init__(self, total: int | None = None, desc: str = "") -> None:
        self.total, self.desc, self.n, self.closed = total, desc, 0, False

    def update(self, n: int) -> None:
        """Move."""
        self.n += n

    def close(self) -> None:
        """End."""
        self.closed = True


def test_a_class_of_bars(clock: Clock) -> None:
    """An instance is made for the run, told the total when that is known, and closed."""
    made: list[Counter] = []

    class Mine(Counter):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            made.append(self)

    meter = make_meter(Mine, label="a run", total=None, workers=lambda: 1)
    assert meter is not None
    meter.take(3, 1)
    meter.set_total(9)
    meter.close()
    assert [(each.total, each.desc, each.n, each.closed) for each in made] == [(9, "a run", 4, True)]


def test_a_bar_of_the_callers() -> None:
    """It is moved, and neither closed nor told another total."""
    bar = Counter(total=100)
    meter = make_meter(bar, label="a run", total=5, workers=lambda: 1)
    assert meter is not None
    meter.take(3, 1)
    meter.close()
    assert (bar.total, bar.n, bar.closed) == (100, 4, False)


@pytest.mark.parametrize("given", ["class", "partial", "bar"])
def test_a_tqdm_of_the_callers(terminal: Terminal, given: str) -> None:
    """A class of tqdm, one with settings, and a bar of it are drawn, with output above them."""
    terminal.take_over()
    kinds = {"class": Tqdm, "partial": functools.partial(Tqdm, desc="mine"), "bar": None}
    bar = Tqdm(total=5, file=terminal) if given == "bar" else None
    meter = make_meter(bar if bar is not None else kinds[given], label="a run", total=5, workers=lambda: 1)
    assert meter is not None
    assert screen.covered
    screen.write(1, 0, "said\n")
    meter.take(5, 0)
    meter.close()
    assert not screen.covered
    assert "said\n" in terminal.getvalue()
    assert "5/5" in terminal.getvalue()
    assert ("mine:" in terminal.getvalue()) == (given == "partial")
    if bar is not None:
        assert not bar.disable
        bar.close()


def test_the_words_behind_a_bar() -> None:
    """From all that there is to say down to the failures, for terminals that are ever narrower."""
    progress = Progress(5, 2, 1, 0, 10, 1.0, 5.0, 1.0, 4, {3: TaskProgress(1, 2, "x" * 100)})
    told = "item 3: 1/2 " + "x" * 25 + "..."
    assert postfixes(progress) == [
        f"2 failed, 1 retried, 4 workers, {told}",
        f"2 failed, 1 retried, {told}",
        "2 failed, 1 retried, 4 workers",
        "2 failed, 1 retried",
        "2 failed",
    ]


@pytest.mark.parametrize("value", [None, True, False, "a run", Counter, Counter(), print])
def test_what_progress_may_be(value: Any) -> None:
    """What shows progress passes."""
    assert check_progress(value) is value


@pytest.mark.parametrize("value", [1, 2.5, [], {}, {1}, sys])
def test_what_progress_may_not_be(value: Any) -> None:
    """Anything else is an error that says what would be right."""
    with pytest.raises(TypeError, match="progress must be True, a description, a class of bars"):
        check_progress(value)


def test_telling_outside_of_a_task_does_nothing() -> None:
    """The same function can be called directly, in a test or without a pool."""
    procession.progress(1)
    procession.progress(1, "one", total=2)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((("1",), {}), TypeError),
        (((None,), {}), TypeError),
        (((1, 2), {}), TypeError),
        (((1,), {"total": "2"}), TypeError),
        (((math.nan,), {}), ValueError),
        (((1,), {"total": math.inf}), ValueError),
    ],
)
def test_wrong_arguments_of_progress(arguments: tuple[tuple[Any, ...], dict[str, Any]], error: type[Exception]) -> None:
    """They are an error wherever it is called, so that a test of the function finds them."""
    args, keywords = arguments
    with pytest.raises(error, match="must be"):
        procession.progress(*args, **keywords)


def test_who_hears_a_task_in_this_process() -> None:
    """A backend without workers hears what its thread's task tells, as numbers."""
    heard: list[Any] = []
    here.listener = lambda *told: heard.append(told)
    try:
        procession.progress(1, "one", total=2)
        other = threading.Thread(target=procession.progress, args=(3,))
        other.start()
        other.join()
    finally:
        here.listener = None
    assert heard == [(1.0, 2.0, "one")]
