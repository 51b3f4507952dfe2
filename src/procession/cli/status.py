"""`procession status`: how far the runs of a journal are, also while they go on."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from procession.journal.reading import Row, RunFacts

#: Items that are named.
_SLOWEST = 3
_ERRORS = 5


@click.command("status")
@click.argument("journal", type=click.Path())
def status_command(journal: str) -> None:
    """Show how far the runs of a JOURNAL are: done, failed, left, rate, slowest items, errors by their kind."""
    from procession.errors import JournalError
    from procession.journal.reading import iterate_journal, read_runs

    try:
        for number, run in enumerate(read_runs(journal)):
            if number:
                click.echo()
            _show(run, list(iterate_journal(journal, run=run.number, values=False)))
    except JournalError as error:
        raise click.UsageError(str(error)) from error


def _show(run: RunFacts, rows: list[Row]) -> None:
    words = [each for each in (run.label, run.arguments) if each]
    name = f"{run.function} ({'; '.join(words)})" if words else run.function
    state = "running" if run.alive else "ended without a word" if run.state == "running" else run.state
    done, failed = run.counts.get("ok", 0), sum(run.counts.values()) - run.counts.get("ok", 0)
    click.echo(f"{name}: {state}, begun {run.started:%Y-%m-%d %H:%M:%S}, last outcome {run.updated:%H:%M:%S}")
    # The last call's items, or more: those of its earlier calls are in the journal, too.
    total = None if run.total is None else max(run.total, done + failed)
    left = "" if total is None else f", {total - done - failed:,} left of {total:,}"
    click.echo(f"  {done:,} done, {failed:,} failed{left}")
    if run.alive and run.rate:
        eta = "" if total is None else f", {_clock((total - done - failed) / run.rate)} to go"
        click.echo(f"  {run.rate:,.3g} items/s{eta}")
    for row in heapq.nlargest(_SLOWEST, rows, key=lambda row: row.seconds):
        click.echo(f"  {row.seconds:.3g} s: {row.item}")
    errors = Counter((row.error or row.outcome).partition(":")[0] for row in rows if row.outcome != "ok")
    for kind, count in errors.most_common(_ERRORS):
        first = next(row for row in rows if row.outcome != "ok" and (row.error or row.outcome).startswith(kind))
        click.echo(f"  {count:,} x {kind}, as of {first.item}: {(first.error or first.outcome).partition(': ')[2]}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
