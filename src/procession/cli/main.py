"""The `procession` command: its group, its exit codes and how it speaks of a mistake.

Runs in the main thread of the caller's process. Invariant: whatever a person got wrong gives one line on standard
error.

Exit codes, as of Unix tools: 0 all done; 1 some items failed; 2 the command cannot be carried out as it was given; 130
interrupted by Ctrl-C; 141 the reader of the output went away.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import click

from procession.cli.completing import completion_command
from procession.cli.export import export_command
from procession.cli.map import INTERRUPTED, map_command
from procession.cli.run import run_command
from procession.cli.status import status_command

BAD_USAGE = 2


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"procession {importlib.metadata.version('procession')}")
        context.exit()


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def commands(context: click.Context) -> None:
    """Process-based parallelism for Python."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(BAD_USAGE)


for each in (map_command, run_command, status_command, export_command, completion_command):
    commands.add_command(each)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` defaults to those of the process."""
    try:
        # Not standalone: click would print three lines of usage around each error.
        status = commands.main(arguments, prog_name="procession", standalone_mode=False)
    except click.ClickException as error:
        _complain(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):  # click turns the second into the first, where it gets to see it
        return INTERRUPTED
    if callable(status):  # a program, which is run here: its Ctrl-C is its own
        status()
    return status if isinstance(status, int) else 0


def _complain(error: click.ClickException) -> None:
    """Say what is wrong in one line, whatever line breaks its message has."""
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "procession"
    click.echo(f"{command}: {message}", err=True)
