"""Completion: what a shell offers for the words of a command, and the script that asks for it."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from click import Context, Parameter

SHELLS = ("bash", "zsh", "fish")


def complete_target(_context: Context, _parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """The Python files that begin so, or, behind the colon, the functions of one: read, not imported."""
    path, colon, beginning = incomplete.partition(":")
    if colon:
        return [CompletionItem(f"{path}:{name}") for name in _functions(path) if name.startswith(beginning)]
    folder, start = os.path.split(incomplete)
    try:
        names = sorted(os.listdir(folder or "."))
    except OSError:
        return []
    found = []
    for name in names:
        whole = os.path.join(folder, name)
        if name.startswith(start) and (name.endswith(".py") or os.path.isdir(whole)):
            found.append(CompletionItem(whole + ("/" if os.path.isdir(whole) else ":")))
    return found


def _functions(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return []
    return sorted(each.name for each in tree.body if isinstance(each, ast.FunctionDef) and each.name[0] != "_")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    \b
    Examples:
      eval "$(procession completion bash)"      in ~/.bashrc
      procession completion fish | source       in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    if shell == "bash":
        click.echo("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}  # so that FILE.py:FUNCTION is one word")
    click.echo(kind(context.find_root().command, {}, "procession", "_PROCESSION_COMPLETE").source())
