"""`procession map`: one function, or one shell command, on every item, an outcome per item.

Owns the command, its summary and its exit codes. It must not know how work is spread: that is one call, in `_outcomes`.
Runs in the main thread of the caller's process.

Invariants: items are read as they are needed and outcomes written as they come, both in constant memory; a line that is
in the output is the whole outcome of an item that is done; standard output carries results and nothing else.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from procession.cli.calling import Spread
from procession.cli.completing import complete_target
from procession.cli.failures import Failures
from procession.cli.interrupts import held_back
from procession.cli.items import SEPARATOR, Items, Wanted, open_items
from procession.cli.options import ITEM_OPTIONS, JOURNAL_OPTIONS, OUTPUT_OPTIONS, RUN_OPTIONS, checked
from procession.cli.outputs import Folder, Output, open_output
from procession.cli.printing import Printed
from procession.cli.shell import Numbered, Shell
from procession.cli.target import resolve

if TYPE_CHECKING:
    from procession import Outcome

ALL_DONE = 0
SOME_FAILED = 1
INTERRUPTED = 128 + 2  # what a shell shows for a death by SIGINT


@click.command("map", no_args_is_help=False)
@click.argument("target", metavar="TARGET", shell_complete=complete_target)
@click.argument("items", metavar="[ITEMS]...", nargs=-1)
@click.option("--shell", is_flag=True, help="TARGET is a shell command, with {} for the item.")
@ITEM_OPTIONS
@RUN_OPTIONS
@JOURNAL_OPTIONS
@OUTPUT_OPTIONS
@click.pass_context
def map_command(context: click.Context, /, target: str, items: tuple[str, ...], shell: bool, **options: Any) -> None:
    """Call a function on each item, on all cores.

    TARGET is FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION. The function is called with one item, a string. Items are the
    arguments, or the lines of --from FILE, or those of standard input.

    With --shell it is a command: {} is the item, {.} without extension, {/} without folder, {//} its folder, {1} its
    first argument, {#} its number. What it prints is printed when it has ended.

    \b
    A line of --output has the keys
      item      as it was given
      outcome   ok, error, died, timed_out or cancelled
      value     what the function returned, arrays as lists; what JSON cannot hold, as its repr; of a command
                its exitcode, stdout and stderr, also if it has failed or timed out
      error     null, or "Type: message"
      seconds   how long it ran in its worker

    Exit code: 0 all done; 1 some items failed (they are listed at the end, the others are done); 2 the command cannot
    be carried out as it is; 130 interrupted.

    \b
    Examples:
      procession map thumbnails.py:thumbnail photos/*.jpg
      procession map fit.py:fit --csv models.csv --journal fits.db --retries 2
      procession map --shell 'gzip -k {}' *.csv
    """
    combine = _combination(options["zipped"], options["product"], items)
    if combine is not None and items.count(SEPARATOR) == 1 and len(items) > 1:  # one list: nothing to combine
        items, combine = items[1:], None
    wanted = Wanted(
        items,
        options["source"],
        options["pattern"],
        options["csv_file"],
        options["delimiter"],
        options["json_lines"],
        combine,
        options["split"],
    )
    _check_printing(shell, options)
    function: Any = _shell(target) if shell else resolve(target)
    pool_options, call_options = checked(options)
    with ExitStack() as stack:
        feed = open_items(wanted, stack)
        if options["dry_run"]:
            _show_calls(function, target, feed)
            context.exit(ALL_DONE)
        outputs = _open_outputs(options, feed, stack)
        ordered = bool(outputs) or not shell or options["keep_order"]
        if wanted.has_arguments and not shell:
            function = Spread(function)
        outcomes = stack.enter_context(
            closing(_outcomes(function, feed, options["chunksize"], pool_options, {**call_options, "ordered": ordered}))
        )
        if shell and options["output"] != "-":
            outputs.append(Printed(tag=options["tag"]))
        stack.enter_context(_warnings_in_one_line())
        stack.enter_context(held_back())
        status = _record(outcomes, feed, outputs, options)
    context.exit(status)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show a warning of ours as a sentence above the bar: the line of our code that has it helps nobody here."""
    from procession.engine.screen import screen
    from procession.errors import ProcessionError

    def show(message: Warning | str, category: type[Warning], *where: Any, **how: Any) -> None:
        if issubclass(category, ProcessionError):
            with screen.above():
                click.echo(f"procession map: warning: {message}", err=True)
        else:
            usual(message, category, *where, **how)

    with warnings.catch_warnings():
        usual, warnings.showwarning = warnings.showwarning, show
        yield


def _shell(template: str) -> Shell:
    try:
        return Shell(template)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _check_printing(shell: bool, options: dict[str, Any]) -> None:
    """On failure: click.UsageError, when something is said of what is printed, and nothing is."""
    for name, words in (("keep_order", "-k, --keep-order"), ("tag", "--tag")):
        if options[name] and not shell:
            raise click.UsageError(f"{words} is about what commands print: it goes with --shell")
        if options[name] and options["output"] == "-":
            raise click.UsageError(f"{words} is about what commands print, which with --output - stands in the records")


def _combination(zipped: bool, product: bool, items: tuple[str, ...]) -> str | None:
    if zipped and product:
        raise click.UsageError("lists are combined by --zip or by --product, not both")
    if zipped or product:
        return "zip" if zipped else "product"
    return "product" if items and items[0] == SEPARATOR else None


def _open_outputs(options: dict[str, Any], feed: Items, stack: ExitStack) -> list[Output]:
    """What the outcomes are written to.  Opened last: a mistake elsewhere must not cost the results of before."""
    outputs: list[Output] = []
    path = options["output"]
    if path is not None:
        if feed.come_from(path):
            raise click.UsageError(f"{path} holds the items: --output would overwrite them")
        if options["journal"] is not None and os.path.realpath(path) == os.path.realpath(options["journal"]):
            raise click.UsageError(f"{path} is the journal: --output would overwrite it")
        outputs.append(open_output(path, options["kind"]))
        stack.callback(outputs[-1].close)
    if options["output_dir"] is not None:
        outputs.append(Folder(options["output_dir"]))
    return outputs


def _show_calls(function: Any, target: str, feed: Items) -> None:
    for number, item in enumerate(feed, 1):
        feed.take(number - 1)
        if isinstance(function, Shell):
            try:
                click.echo(function.command(item, number))
            except ValueError as error:
                raise click.UsageError(f"item {number}: {error}") from error
            continue
        args, kwargs = ((item,), {}) if isinstance(item, str) else item
        words = [repr(each) for each in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
        click.echo(f"{target.rpartition(':')[2]}({', '.join(words)})")


def _outcomes(
    function: Callable[[Any], Any],
    feed: Items,
    chunksize: int | None,
    pool_options: dict[str, Any],
    options: dict[str, Any],
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each item; closing it ends the workers.

    On failure: click.ClickException, when no item can be run at all (workers cannot be started, say).
    """
    from procession import Pool
    from procession.errors import InternalError, ProcessionError, TooManyFailures

    items: Iterable[Any] = feed
    if isinstance(function, Shell) and function.wants_number:
        items = (Numbered(number, item) for number, item in enumerate(feed, 1))
    if feed.total is not None:
        items = _Sized(items, feed.total)
    try:
        with Pool(**pool_options) as pool:
            try:
                yield from pool.outcomes(function, items, chunksize=chunksize, **options)
            except (KeyboardInterrupt, GeneratorExit):
                if isinstance(function, Shell):  # the commands have been asked to end, and may take a moment for it
                    pool.close()
                    pool.join()
                raise
    except (InternalError, TooManyFailures):
        raise
    except ProcessionError as error:
        raise click.UsageError(f"{type(error).__name__}: {error}") from error


class _Sized:
    """Items that are read one by one, and of which the number is known."""

    def __init__(self, items: Iterable[Any], total: int) -> None:
        self._items = items
        self._total = total

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


def _record(outcomes: Iterable[Outcome], feed: Items, outputs: list[Output], options: dict[str, Any]) -> int:
    """Take each outcome as it comes: write it, note a failure. Sums up and returns the exit code."""
    from procession.errors import TooManyFailures

    began = time.monotonic()
    done = 0
    ending = "stopped after"
    with Failures() as failures:
        try:
            with suppress(TooManyFailures):
                for outcome in outcomes:
                    item = feed.take(outcome.index)
                    for output in outputs:
                        output.write(item, outcome)
                    if outcome.kind.value == "ok":
                        done += 1
                    else:
                        failures.note(item, outcome)
                ending = "in"
        except KeyboardInterrupt:
            ending = "interrupted after"
            return INTERRUPTED
        except click.ClickException:
            ending = ending if done or failures.count else ""  # it has not even begun
            raise
        finally:
            if ending and (failures.count or ending != "in" or not options["quiet"]):
                _summarise(done, failures, f"{ending} {time.monotonic() - began:.1f} s")
            if ending not in ("", "in") and options["journal"] is not None:
                _tell_how_to_continue(again=ending == "stopped after" and not options["resume_failed"])
        return SOME_FAILED if failures.count else ALL_DONE


def _tell_how_to_continue(*, again: bool) -> None:
    """``again``: failures have stopped the run, and would at once if they were not tried again."""
    words = ["procession", *sys.argv[1:], *(["--resume-failed"] if again else [])]
    click.echo(f"to continue: {shlex.join(words)}", err=True)


def _summarise(done: int, failures: Failures, ending: str) -> None:
    for line in failures.lines():
        click.echo(line, err=True, nl=False)
    counts = f"{done} done, {failures.count} failed" if failures.count else f"{done} done"
    click.echo(f"{counts}, {ending}", err=True)
