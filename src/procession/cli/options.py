"""The options of `procession map`: their words, and what they become for a pool and its call."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from procession.cli.outputs import FORMATS


def _several(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for each in reversed(decorators):
            command = each(command)
        return command

    return decorate


ITEM_OPTIONS = _several(
    click.option("--from", "source", metavar="FILE", help="Take the items from FILE, one a line; - is standard input."),
    click.option("--glob", "pattern", metavar="PATTERN", help="Take the files that match, ** included, sorted."),
    click.option("--csv", "csv_file", metavar="FILE", help="Call with the columns of each row as keywords."),
    click.option("--delimiter", metavar="CHAR", help="Of --csv: between the columns; tab for a tab."),
    click.option(
        "--json-lines", metavar="FILE", help="Call with each line's object as keywords, its array as arguments."
    ),
    click.option("--zip", "zipped", is_flag=True, help="Call with one of each list, each behind :::, side by side."),
    click.option("--product", is_flag=True, help="Call with each combination of lists, each behind :::."),
    click.option("--args", "split", is_flag=True, help="Split each item as a shell would, into several arguments."),
)
RUN_OPTIONS = _several(
    click.option("-j", "--workers", metavar="N", help="Processes: 4, 50% of the CPUs, or -1 for all; default: all."),
    click.option("--chunksize", type=click.IntRange(min=1), help="Items handed out at once; default: by the clock."),
    click.option("--timeout", type=float, metavar="SECONDS", help="Stop an item that runs longer: it has timed_out."),
    click.option("--retries", type=int, default=0, metavar="N", help="Run an item that failed again, at most N times."),
    click.option("--memory-limit", metavar="SIZE", help="Kill a worker that takes more memory, as in 2GB."),
    click.option("--seed", type=int, help="Give each item its own random numbers, the same each time."),
    click.option("--backend", type=click.Choice(["processes", "inline"]), default="processes", help="inline: for pdb."),
    click.option("--on-error", type=click.Choice(["continue", "stop"]), default="continue", help="stop: at the first."),
    click.option("--max-failures", metavar="N|N%", help="Stop when more items have failed."),
)
JOURNAL_OPTIONS = _several(
    click.option("--journal", metavar="FILE", help="Keep the outcomes in FILE; the same command again does the rest."),
    click.option("--resume", is_flag=True, help="Only take up a journal that is there."),
    click.option("--resume-failed", is_flag=True, help="Run again what has failed."),
)
OUTPUT_OPTIONS = _several(
    click.option("--output", metavar="FILE", help="Write a line per item, in the items' order; - is standard output."),
    click.option("--format", "kind", type=click.Choice(FORMATS), help="Of --output; default: by its name, else jsonl."),
    click.option("--output-dir", metavar="DIR", help="Write each value into a file of its own."),
    click.option("-k", "--keep-order", is_flag=True, help="With --shell: print in the items' order."),
    click.option("--tag", is_flag=True, help="With --shell: put the item before each line."),
    click.option("--dry-run", is_flag=True, help="Print what would be run, and run nothing."),
    click.option("-q", "--quiet", is_flag=True, help="No bar, and no summary unless something failed."),
)


def checked(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the pool and of the call.  On failure: click.UsageError, which says what would be right."""
    from procession.checks import check_bytes
    from procession.options import TaskOptions

    journal = options["journal"]
    if options["kind"] is not None and options["output"] is None:
        raise click.UsageError("--format is that of --output FILE, and there is none")
    if options["delimiter"] is not None and options["csv_file"] is None:
        raise click.UsageError("--delimiter is that of --csv FILE, and there is none")
    if options["on_error"] == "stop" and options["max_failures"] is not None:
        raise click.UsageError("--on-error stop ends at the first failure: --max-failures says something else")
    if (options["resume"] or options["resume_failed"]) and journal is None:
        which = "--resume" if options["resume"] else "--resume-failed"
        raise click.UsageError(f"{which} wants the --journal FILE that is to be taken up")
    if options["resume"] and not os.path.exists(journal):
        raise click.UsageError(f"there is no journal {journal} to resume")
    chosen = {name: options[name] for name in ("timeout", "retries", "seed", "max_failures", "journal")}
    if options["on_error"] == "stop":
        chosen["max_failures"] = 0
    if options["resume_failed"]:
        chosen["resume"] = "failed"
    try:
        TaskOptions().changed(chosen)
        pool = {
            "processes": _workers(options["workers"]),
            "memory_limit": check_bytes(options["memory_limit"], "--memory-limit"),
            "backend": options["backend"],
        }
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    terminal = sys.stderr is not None and sys.stderr.isatty()
    chosen["progress"] = None if options["quiet"] or not terminal else True
    return pool, chosen


def _workers(text: str | None) -> int | None:
    """A number of processes: as it is, a share of the CPUs, or counted from their number down, as -1 for all."""
    if text is None:
        return None
    from procession.system import usable_cores

    cores = usable_cores()
    try:
        if text.endswith("%"):
            return max(1, round(cores * float(text[:-1]) / 100)) if float(text[:-1]) > 0 else int("none")
        count = int(text)
        if count == 0:
            raise ValueError(text)
    except ValueError:
        raise click.UsageError(
            f"-j, --workers is a number, a share of the CPUs as 50%, or -1 for all, not {text}"
        ) from None
    return count if count > 0 else max(1, cores + 1 + count)
