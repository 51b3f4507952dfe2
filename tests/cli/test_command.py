"""`procession` itself: help, version, and commands that do not exist."""

from __future__ import annotations

import subprocess
import sys

from .conftest import CommandLine


def test_help_names_the_commands(cli: CommandLine) -> None:
    """`procession --help` lists `map` on standard output and succeeds."""
    finished = cli.run("--help")
    assert finished.returncode == 0
    assert "map " in finished.stdout


def test_help_of_map_names_its_options_and_keys(cli: CommandLine) -> None:
    """`procession map --help` names every option and every key of an output line."""
    finished = cli.run("map", "--help")
    assert finished.returncode == 0
    for word in ["--from", "--workers", "--chunksize", "--output", "item", "outcome", "value", "error", "seconds"]:
        assert word in finished.stdout


def test_version(cli: CommandLine) -> None:
    """`procession --version` says the version of the installed package."""
    finished = cli.run("--version")
    assert finished.returncode == 0
    assert finished.stdout.startswith("procession 0.")


def test_no_command_shows_the_help(cli: CommandLine) -> None:
    """`procession` alone shows the help on standard error, with exit code 2."""
    finished = cli.run()
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "map " in finished.stderr


def test_an_unknown_command_is_one_line(cli: CommandLine) -> None:
    """A command that does not exist gives one line and exit code 2."""
    finished = cli.run("mapp")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert len(finished.stderr.splitlines()) == 1
    assert "mapp" in finished.stderr


def test_help_imports_neither_tqdm_nor_the_engine(cli: CommandLine) -> None:
    """A command that only speaks starts no faster machinery than it needs: no tqdm, no engine, no numpy."""
    code = (
        "import sys; from procession.cli.main import main; main(['map', '--help']); "
        "print(*(m for m in sys.modules if m.startswith(('tqdm', 'procession.engine', 'numpy'))), file=sys.stderr)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stderr.split() == []
