"""What a person can get wrong: each gives one clear line on standard error, and exit code 2."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from .conftest import CommandLine

Refused = Callable[..., str]


class TestLimits:
    """Limits that make no sense."""

    @pytest.mark.parametrize(
        ("option", "value", "says"),
        [
            ("--timeout", "0", "timeout must be more than 0 seconds"),
            ("--retries", "-1", "retries must be 0 or more"),
            ("--memory-limit", "much", "--memory-limit must be a number of bytes"),
        ],
    )
    def test_a_limit_that_is_none(self, refused: Refused, option: str, value: str, says: str) -> None:
        """It is refused before anything is run, and the line says what would be right."""
        assert says in refused("targets.py:upper", option, value, "a")


class TestTargets:
    """Targets that name nothing that can be called."""

    @pytest.mark.parametrize("target", ["targets.py", "targets.py:", ":upper", "nothing"])
    def test_a_target_of_another_form(self, refused: Refused, target: str) -> None:
        """A target that is not of the two forms is refused with the two forms."""
        line = refused(target, "a")
        assert line == f"target {target!r} is neither FILE.py:FUNCTION nor PACKAGE.MODULE:FUNCTION"

    def test_no_target(self, refused: Refused) -> None:
        """A missing target is named as what is missing."""
        assert "TARGET" in refused()

    def test_a_missing_file(self, refused: Refused) -> None:
        """A file that does not exist is named."""
        assert refused("missing.py:f", "a") == "there is no file missing.py"

    def test_a_folder(self, cli: CommandLine, refused: Refused) -> None:
        """A folder is no file."""
        (cli.folder / "folder.py").mkdir()
        assert refused("folder.py:f", "a") == "folder.py is not a file"

    def test_a_file_of_another_kind(self, cli: CommandLine, refused: Refused) -> None:
        """A path that is no .py file is refused."""
        (cli.folder / "x.txt").write_text("")
        assert "is not a .py file" in refused("./x.txt:f", "a")

    def test_a_missing_module(self, refused: Refused) -> None:
        """A module that does not exist is named, its package too."""
        assert refused("no_such_package.mod:f", "a") == "there is no module no_such_package"
        assert refused("os.no_such_module:f", "a").startswith("there is no module os.no_such_module")

    def test_a_file_named_as_a_module(self, refused: Refused, cli: CommandLine) -> None:
        """Where a file was meant, the file is proposed."""
        (cli.folder / "sub").mkdir()
        (cli.folder / "sub" / "job.py").write_text("")
        (cli.folder / "sub.py").write_text("")  # wins over the folder
        assert refused("sub.job:f", "a").endswith("is sub/job.py meant?")

    def test_a_missing_function(self, refused: Refused) -> None:
        """A name that the file does not have is refused, with the nearest one that it has."""
        assert refused("targets.py:uper", "a") == "targets.py has no uper; is upper meant?"
        assert refused("targets.py:Shouter.missing", "a") == "targets.py has no Shouter.missing"

    def test_something_that_is_no_function(self, refused: Refused) -> None:
        """What cannot be called is named with its type."""
        assert refused("targets.py:number", "a") == "targets.py:number is not a function: it is of type int"

    @pytest.mark.parametrize(
        ("source", "error", "line"),
        [
            ("x = 1\nx.nothing\n", "AttributeError: 'int' object has no attribute 'nothing'", 2),
            ("import not_installed\n", "ModuleNotFoundError: No module named 'not_installed'", 1),
            ("def f(:\n", "SyntaxError: ", 1),
            ("import sys\n\nsys.exit('no')\n", "SystemExit: no", 3),
            ("raise ValueError('two\\nlines')\n", "ValueError: two lines", 1),
        ],
    )
    def test_a_file_that_cannot_be_imported(
        self, cli: CommandLine, refused: Refused, source: str, error: str, line: int
    ) -> None:
        """A file that fails at import is refused in one line, with the error and the line of it."""
        (cli.folder / "broken.py").write_text(source)
        message = refused("broken.py:f", "a")
        assert message.startswith(f"broken.py cannot be imported: {error}")
        assert f"broken.py, line {line})" in message

    @pytest.mark.parametrize("name", ["json", "sys", "procession", "__main__"])
    def test_a_file_with_the_name_of_another_module(self, cli: CommandLine, refused: Refused, name: str) -> None:
        """A file whose name is taken by another module is refused, never silently replaced by it."""
        (cli.folder / f"{name}.py").write_text("def dumps(x):\n    return x\n")
        # Away from the folder, so that the command itself does not import the file instead of its own.
        elsewhere = cli.folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / f"{name}.py").write_text((cli.folder / f"{name}.py").read_text())
        (cli.folder / f"{name}.py").unlink()
        message = refused(f"elsewhere/{name}.py:dumps", "a")
        assert f"another module is called {name}" in message

    def test_a_file_with_a_dot_in_its_name(self, cli: CommandLine, refused: Refused) -> None:
        """A file that no import can name is refused."""
        (cli.folder / "job.v2.py").write_text("def f(x):\n    return x\n")
        assert "its name has a dot in it" in refused("job.v2.py:f", "a")


class TestItems:
    """Items that are not there, or there twice."""

    def test_a_missing_list(self, refused: Refused) -> None:
        """A file of items that does not exist is named."""
        assert refused("targets.py:upper", "--from", "missing") == "cannot read missing: No such file or directory"

    def test_a_folder_as_a_list(self, refused: Refused) -> None:
        """A folder is no list of items."""
        assert refused("targets.py:upper", "--from", ".") == "cannot read .: Is a directory"

    def test_items_twice(self, cli: CommandLine, refused: Refused) -> None:
        """Items as arguments and with --from do not go together."""
        (cli.folder / "list").write_text("a\n")
        assert refused("targets.py:upper", "a", "--from", "list") == (
            "items come as arguments or with --from, not both"
        )

    def test_no_items_and_a_terminal(self, refused: Refused) -> None:
        """Without items the command does not wait at a terminal: it says how items are given."""
        parent, terminal = os.openpty()
        try:
            line = refused("targets.py:upper", stdin=terminal)
        finally:
            os.close(terminal)
            os.close(parent)
        assert line == "no items: give them as arguments, with --from FILE or on standard input"

    def test_the_output_would_overwrite_the_items(self, cli: CommandLine, refused: Refused) -> None:
        """An output that is the file of the items is refused, and the file is left as it is."""
        (cli.folder / "list").write_text("a\n")
        assert "would overwrite" in refused("targets.py:upper", "--from", "list", "--output", "./list")
        with open(cli.folder / "list") as items:
            assert "would overwrite" in refused("targets.py:upper", "--output", "list", stdin=items)
        assert (cli.folder / "list").read_text() == "a\n"


class TestOptions:
    """Options with values that mean nothing."""

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            *[("--chunksize", value) for value in ("0", "-1", "many")],
            *[(option, value) for option in ("-j", "--workers") for value in ("0", "many", "0%", "half%")],
        ],
    )
    def test_counts_are_positive(self, refused: Refused, option: str, value: str) -> None:
        """A count that is not a positive number is refused, with the option and the value."""
        line = refused("targets.py:upper", "a", option, value)
        assert option in line
        assert value in line

    def test_an_unknown_option(self, refused: Refused) -> None:
        """An option that does not exist is named."""
        assert "--nothing" in refused("targets.py:upper", "a", "--nothing")

    def test_an_output_that_cannot_be_opened(self, cli: CommandLine) -> None:
        """An output in a folder that does not exist is refused before anything runs."""
        finished = cli.map("targets.py:say", "a", "--output", "missing/out.jsonl")
        assert (finished.returncode, finished.stdout) == (2, "")
        assert finished.stderr == "procession map: cannot write missing/out.jsonl: No such file or directory\n"

    def test_a_mistake_leaves_the_output_of_the_run_before(self, cli: CommandLine, refused: Refused) -> None:
        """A command that is refused does not touch the file of --output."""
        (cli.folder / "out.jsonl").write_text("precious\n")
        refused("targets.py:uper", "a", "--output", "out.jsonl")
        refused("targets.py:upper", "--from", "missing", "--output", "out.jsonl")
        assert (cli.folder / "out.jsonl").read_text() == "precious\n"
