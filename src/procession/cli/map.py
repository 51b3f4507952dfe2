"""`procession map`: one function on every item, an outcome per item.

Owns the command, its bar and its summary. It must not know how work is spread: that is one call, in `_outcomes`. Runs
in the main thread of the caller's process.

Invariants: items are read as they are needed and outcomes written as they come, both in constant memory; a line that is
in the output is the whole outcome of an item that is done; standard output carries results and nothing else.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from procession.cli.items import Items, open_items
from procession.cli.record import Failures, Output
from procession.cli.target import resolve

if TYPE_CHECKING:
    from procession import Outcome

ALL_DONE = 0
SOME_FAILED = 1
INTERRUPTED = 128 + 2  # what a shell shows for a death by SIGINT


@click.command("map", no_args_is_help=False)
@click.argument("target", metavar="TARGET")
@click.argument("items", metavar="[ITEMS]...", nargs=-1)
@click.option("--from", "source", metavar="FILE", help="Take the items from FILE, one a line; - is standard input.")
@click.option("-j", "--workers", type=click.IntRange(min=1), help="How many processes; default: one per usable CPU.")
@click.option(
    "--chunksize", type=click.IntRange(min=1), help="How many items a worker gets at once; default: by measured time."
)
@click.option("--output", metavar="FILE", help="Write a JSON line per item, in the items' order; - is standard output.")
@click.pass_context
def map_command(
    context: click.Context,
    target: str,
    items: tuple[str, ...],
    source: str | None,
    workers: int | None,
    chunksize: int | None,
    output: str | None,
) -> None:
    """Call a function on each item, on all cores.

    TARGET is FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION. The function is called with one item, a string. Items are the
    arguments, or the lines of --from FILE, or those of standard input.

    \b
    A line of --output has the keys
      item      as it was given
      outcome   ok, error, died, timed_out or cancelled
      value     what the function returned; what JSON cannot hold, as its repr
      error     null, or "Type: message"
      seconds   how long it ran in its worker

    Exit code: 0 all done; 1 some items failed (they are listed at the end, the others are done); 2 the command cannot
    be carried out as it is; 130 interrupted.

    \b
    Example:
      procession map thumbnails.py:thumbnail photos/*.jpg
    """
    function = resolve(target)
    with ExitStack() as stack:
        feed = open_items(items, source, stack)
        if output is not None and feed.come_from(output):
            raise click.UsageError(f"{output} holds the items: --output would overwrite them")
        # Opened last: a mistake elsewhere in the command must not cost the results of the run before.
        results = stack.enter_context(Output.open(output)) if output is not None else None
        outcomes = stack.enter_context(closing(_outcomes(function, feed, workers, chunksize)))
        status = _record(outcomes, feed, results)
    context.exit(status)


def _outcomes(
    function: Callable[[Any], Any], items: Iterable[str], workers: int | None, chunksize: int | None
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each item, in the items' order; closing it ends the workers.

    On failure: click.ClickException, when no item can be run at all (workers cannot be started, say).
    """
    from procession import Pool
    from procession.errors import InternalError, ProcessionError

    try:
        with Pool(workers) as pool:
            yield from pool.outcomes(function, items, chunksize=chunksize)
    except InternalError:
        raise  # a fault of ours: its traceback is wanted
    except ProcessionError as error:
        raise click.UsageError(f"{type(error).__name__}: {error}") from error


def _record(outcomes: Iterable[Outcome], feed: Items, results: Output | None) -> int:
    """Take each outcome as it comes: write it, note a failure, move the bar. Sums up and returns the exit code."""
    began = time.monotonic()
    done = 0
    ending = "stopped after"
    with Failures() as failures:
        try:
            with _bar(feed.total) as move:
                for outcome in outcomes:
                    item = feed.take(outcome.index)
                    if results is not None:
                        results.write(item, outcome)
                    if outcome.kind.value == "ok":
                        done += 1
                    else:
                        failures.note(item, outcome)
                    move(failures.count)
            ending = "in"
        except KeyboardInterrupt:
            ending = "interrupted after"
            return INTERRUPTED
        finally:
            _summarise(done, failures, f"{ending} {time.monotonic() - began:.1f} s")
        return SOME_FAILED if failures.count else ALL_DONE


@contextmanager
def _bar(total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar, if standard error is a terminal; yields what moves it by one item, given the failures so far."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _failed: None
        return

    import threading

    from tqdm import tqdm

    # Without these two, tqdm starts a monitor thread and makes a multiprocessing lock: one process draws this bar. With
    # miniters=1 no monitor is needed, since the clock is read at each item.
    tqdm.monitor_interval = 0
    tqdm.set_lock(threading.RLock())
    # A terminal that does not know its size says 0, and tqdm would draw a bar of that size: nothing.
    size: dict[str, Any] = {"dynamic_ncols": True}
    if not all(os.get_terminal_size(sys.stderr.fileno())):
        size = {"ncols": 80, "nrows": 24}
    with tqdm(total=total, unit="item", miniters=1, file=sys.stderr, **size) as bar:

        def move(failed: int) -> None:
            if failed:
                bar.set_postfix_str(f"{failed} failed", refresh=False)
            bar.update()

        yield move


def _summarise(done: int, failures: Failures, ending: str) -> None:
    for line in failures.lines():
        click.echo(line, err=True, nl=False)
    counts = f"{done} done, {failures.count} failed" if failures.count else f"{done} done"
    click.echo(f"{counts}, {ending}", err=True)
