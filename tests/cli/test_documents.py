"""The examples of commands in the documents: each is typed, and gives what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import DEADLINE, CommandLine

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r"^```\w+\n# ([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def without_numbers(text: str) -> str:
    """The same with what is of the moment replaced: times, dates, durations."""
    return re.sub(r"\d+\.\d+(e-\d+)?|\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|\d+e-\d+", "N", text).strip()


@pytest.mark.parametrize("name", ["docs/command-line.md", "README.md"])
def test_commands_give_what_is_shown(cli: CommandLine, name: str) -> None:
    """One after another, in one folder with the files that are shown."""
    text = (ROOT / name).read_text()
    for file, content in FILE.findall(text):
        (cli.folder / file).write_text(content)
    (cli.folder / "procession").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m procession "$@"\n')
    (cli.folder / "procession").chmod(0o755)
    environment = {**os.environ, "PATH": f"{cli.folder}:{os.environ['PATH']}", "PROCESSION_TEST_MARK": cli.mark}
    for block in BLOCK.findall(text):
        if not block.startswith("$ procession "):  # what is typed in a clone
            continue
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            run = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=cli.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=DEADLINE,
            )
            assert sorted(without_numbers(run.stdout).splitlines()) == sorted(without_numbers(shown).splitlines()), (
                command
            )
