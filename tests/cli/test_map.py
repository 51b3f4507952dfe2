"""`procession map`: where items come from, what is written, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import DEADLINE, CommandLine, lines_of


class TestTargets:
    """TARGET is `file.py:function` or `pkg.mod:function`."""

    def test_a_function_of_a_file(self, cli: CommandLine) -> None:
        """`file.py:function` calls that function on each item."""
        assert [line["value"] for line in cli.records("targets.py:upper", "a", "b")] == ["A", "B"]

    def test_a_function_of_a_module_of_the_current_folder(self, cli: CommandLine) -> None:
        """`module:function` finds modules of the current folder, as `python -m` does."""
        assert [line["value"] for line in cli.records("targets:upper", "a")] == ["A"]

    def test_a_function_of_an_installed_module(self, cli: CommandLine) -> None:
        """`pkg.mod:function` finds what is installed."""
        assert cli.records("os.path:basename", "/a/b")[0]["value"] == "b"

    def test_a_file_elsewhere_imports_its_neighbours(self, cli: CommandLine) -> None:
        """A file of another folder imports the modules beside it, in the workers too."""
        there = cli.folder / "there"
        there.mkdir()
        (there / "neighbour.py").write_text("def twice(x):\n    return x * 2\n")
        (there / "job-one.py").write_text("def go(x):\n    import neighbour\n    return neighbour.twice(x)\n")
        assert cli.records("there/job-one.py:go", "ab")[0]["value"] == "abab"
        assert cli.records(str(there / "job-one.py") + ":go", "ab")[0]["value"] == "abab"

    def test_a_method_of_a_class(self, cli: CommandLine) -> None:
        """The function may be an attribute of a class: `file.py:Class.method`."""
        assert cli.records("targets.py:Shouter.shout", "hey")[0]["value"] == "hey!"

    def test_a_lambda_of_a_file(self, cli: CommandLine) -> None:
        """A lambda bound to a name of a file is a function like any other."""
        (cli.folder / "job.py").write_text("double = lambda x: x * 2\n")
        assert cli.records("job.py:double", "ab")[0]["value"] == "abab"


class TestItems:
    """Items come from the arguments, from the lines of a file or from standard input."""

    def test_arguments_that_look_like_options(self, cli: CommandLine) -> None:
        """After `--`, everything is an item."""
        finished = cli.map("--output", "-", "targets.py:upper", "--", "-a", "--b")
        assert [line["value"] for line in lines_of(finished.stdout)] == ["-A", "--B"]

    def test_lines_of_a_file(self, cli: CommandLine) -> None:
        """With --from FILE each line is an item, without its line end; the last one needs none."""
        (cli.folder / "list").write_bytes(b"a\nb c\r\n\nd")
        assert [line["item"] for line in cli.records("targets.py:upper", "--from", "list")] == ["a", "b c", "", "d"]

    def test_from_dash_is_standard_input(self, cli: CommandLine) -> None:
        """`--from -` reads the items from standard input."""
        records = cli.records("targets.py:upper", "--from", "-", input="a\nb\n")
        assert [line["value"] for line in records] == ["A", "B"]

    def test_standard_input_when_there_are_no_arguments(self, cli: CommandLine) -> None:
        """Without items and --from, a standard input that is no terminal gives the items."""
        assert [line["value"] for line in cli.records("targets.py:upper", input="a\nb\n")] == ["A", "B"]

    def test_arguments_leave_standard_input_alone(self, cli: CommandLine) -> None:
        """With items as arguments standard input is not read."""
        assert [line["item"] for line in cli.records("targets.py:upper", "a", input="b\n")] == ["a"]

    def test_no_items_at_all(self, cli: CommandLine) -> None:
        """An empty list of items is done at once, with exit code 0."""
        finished = cli.map("targets.py:upper", "--output", "-", input="")
        assert (finished.returncode, finished.stdout) == (0, "")

    def test_a_name_that_is_no_utf8(self, cli: CommandLine) -> None:
        """A file name of any bytes reaches the function as it does in an argument, and the output as a JSON escape."""
        name = os.fsdecode(b"caf\xe9")
        (cli.folder / "list").write_bytes(b"caf\xe9\n")
        for arguments in (["--from", "list"], [name]):
            assert cli.records("targets.py:picky", *arguments) == [
                {"item": name, "outcome": "ok", "value": name, "error": None, "seconds": pytest.approx(0, abs=5)}
            ]

    def test_many_items(self, cli: CommandLine) -> None:
        """Twenty thousand lines come out as they went in, in their order."""
        names = [str(number) for number in range(20_000)]
        records = cli.records("targets.py:upper", input="\n".join(names))
        assert [line["item"] for line in records] == names
        assert [line["value"] for line in records] == names


class TestOutput:
    """--output writes a JSON line per item, in the items' order."""

    def test_the_keys(self, cli: CommandLine) -> None:
        """A line has exactly the keys item, outcome, value, error, seconds, in this order."""
        good, bad = cli.records("targets.py:picky", "good", "bad")
        assert list(good) == list(bad) == ["item", "outcome", "value", "error", "seconds"]
        assert {**good, "seconds": 0} == {"item": "good", "outcome": "ok", "value": "good", "error": None, "seconds": 0}
        assert (bad["outcome"], bad["value"], bad["error"]) == ("error", None, "ValueError: bad is bad")
        assert good["seconds"] >= 0

    def test_a_file(self, cli: CommandLine) -> None:
        """--output FILE replaces the file and leaves standard output empty."""
        output = cli.folder / "out.jsonl"
        output.write_text("of the run before\n")
        finished = cli.map("targets.py:upper", "a", "b", "--output", "out.jsonl")
        assert (finished.returncode, finished.stdout) == (0, "")
        assert [line["value"] for line in lines_of(output.read_text())] == ["A", "B"]

    def test_nothing_without_output(self, cli: CommandLine) -> None:
        """Without --output nothing is written on standard output, and one line of summary on standard error."""
        finished = cli.map("targets.py:upper", "a", "b")
        assert (finished.returncode, finished.stdout) == (0, "")
        assert finished.stderr.startswith("2 done, in ")
        assert len(finished.stderr.splitlines()) == 1

    def test_the_order_of_the_items(self, cli: CommandLine) -> None:
        """Lines are in the items' order, though the second item is done before the first."""
        os.mkfifo(cli.folder / "meeting")
        records = cli.records("targets.py:meet", "first", "second", "--chunksize", "1")
        assert [line["item"] for line in records] == ["first", "second"]

    def test_a_line_is_written_when_its_item_is_done(self, cli: CommandLine) -> None:
        """An item's line can be read while later items still run."""
        os.mkfifo(cli.folder / "meeting")
        process = cli.start("map", "targets.py:meet", "zero", "first", "-j1", "--chunksize=1", "--output=-")
        assert process.stdout is not None
        line = process.stdout.readline()
        assert '"item": "zero"' in line
        with open(cli.folder / "meeting", "w"):  # lets `first` go on
            pass
        out, _err = process.communicate(timeout=DEADLINE)
        assert [line["item"] for line in lines_of(out)] == ["first"]
        assert process.returncode == 0

    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("[1, 2.5, None, True, {'a': 'b'}]", [1, 2.5, None, True, {"a": "b"}]),
            ("{1, 1}", "{1}"),
            ("b'x'", "b'x'"),
            ("[1, {2}]", [1, "{2}"]),
            ("{(1, 2): 3}", "{(1, 2): 3}"),
            ("float('nan')", "NaN"),
            ("__import__('pathlib').PurePosixPath('x')", "x"),
            ("chr(0xdcff)", "\udcff"),
        ],
    )
    def test_values_that_json_cannot_hold(self, cli: CommandLine, expression: str, value: object) -> None:
        """What JSON cannot hold is written as its repr, or as a text; the line is strict JSON always."""
        assert cli.records("targets.py:value", expression)[0]["value"] == value

    def test_prints_of_the_function_do_not_mix_with_the_lines(self, cli: CommandLine) -> None:
        """With `--output -` standard output has the lines alone: what the function prints is on standard error."""
        finished = cli.map("targets.py:say", "a", "b", "--output", "-")
        assert [line["value"] for line in lines_of(finished.stdout)] == ["a", "b"]
        assert "said a" in finished.stderr
        assert "said b" in finished.stderr

    def test_prints_of_the_function_without_output(self, cli: CommandLine) -> None:
        """Without `--output -` what the function prints is on standard output, as from any script."""
        finished = cli.map("targets.py:say", "a")
        assert finished.stdout == "said a\n"

    def test_a_reader_that_goes_away(self, cli: CommandLine) -> None:
        """When the reader of the output goes away, as `head` does, the command ends, with exit code 141."""
        (cli.folder / "list").write_text("line\n" * 50_000)
        process = cli.start("map", "targets.py:upper", "--from", "list", "-j2", "--output", "-")
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(DEADLINE) == 141
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        process.stderr.close()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk(self, cli: CommandLine) -> None:
        """When the output cannot be written the command says so in a line and ends with exit code 2."""
        finished = cli.map("targets.py:upper", "a", "--output", "/dev/full")
        assert finished.returncode == 2
        assert "cannot write /dev/full: No space left on device" in finished.stderr.splitlines()[-1]
        assert "Traceback" not in finished.stderr


class TestFailures:
    """One bad item costs one item."""

    def test_failing_items_are_listed_at_the_end(self, cli: CommandLine) -> None:
        """Failing items are listed on standard error, each with its error; exit code 1; the others are done."""
        finished = cli.map("targets.py:picky", "a", "bad1", "b", "bad2", "c", "--output", "-")
        assert finished.returncode == 1
        assert [line["outcome"] for line in lines_of(finished.stdout)] == ["ok", "error", "ok", "error", "ok"]
        lines = finished.stderr.splitlines()
        assert lines[:2] == ["  bad1: ValueError: bad1 is bad", "  bad2: ValueError: bad2 is bad"]
        assert lines[2].startswith("3 done, 2 failed, in ")

    def test_an_error_of_more_than_one_line(self, cli: CommandLine) -> None:
        """An error of more than one line is shown whole, indented below its item."""
        finished = cli.map("targets.py:two_lines", "a")
        assert finished.stderr.startswith("  a: RuntimeError: first line\n    second line\n0 done, 1 failed, in ")

    def test_a_worker_that_dies(self, cli: CommandLine) -> None:
        """An item that kills its worker is the outcome `died`; every other item is done."""
        finished = cli.map("targets.py:die", "a", "die", "b", "c", "--output", "-")
        assert finished.returncode == 1
        lines = lines_of(finished.stdout)
        assert [line["outcome"] for line in lines] == ["ok", "died", "ok", "ok"]
        assert "WorkerDied" in lines[1]["error"]
        assert "SIGKILL" in lines[1]["error"]
        assert "  die: " in finished.stderr

    def test_an_item_that_takes_too_long(self, cli: CommandLine) -> None:
        """With --timeout it has the outcome `timed_out`; every other item is done."""
        finished = cli.map("targets.py:hang", "a", "hang", "b", "--timeout", "0.5", "--output", "-")
        assert finished.returncode == 1
        assert [line["outcome"] for line in lines_of(finished.stdout)] == ["ok", "timed_out", "ok"]
        assert "ran longer than its timeout of 0.5 s" in finished.stderr

    def test_an_item_that_fails_at_first(self, cli: CommandLine) -> None:
        """With --retries it is run again."""
        finished = cli.map("targets.py:fail_once", "a", "b", "--retries", "1", "--output", "-")
        assert finished.returncode == 0
        assert [line["value"] for line in lines_of(finished.stdout)] == ["a", "b"]

    def test_a_value_that_cannot_be_pickled(self, cli: CommandLine) -> None:
        """A value that cannot leave its worker fails its own item alone."""
        one, two = cli.records("targets.py:value", "__import__('threading').Lock()", "2")
        assert (one["outcome"], two["outcome"], two["value"]) == ("error", "ok", 2)

    def test_no_tracebacks_of_ours(self, cli: CommandLine) -> None:
        """A failing item shows its error, not the inside of the command."""
        assert "Traceback" not in cli.map("targets.py:picky", "bad").stderr


class TestWorkers:
    """-j and --chunksize."""

    def test_one_worker(self, cli: CommandLine) -> None:
        """With -j 1 one process does all items, and it is not the command's own."""
        process = cli.start("map", "targets.py:pid", *"abcdef", "-j", "1", "--output", "-")
        out, _err = process.communicate(timeout=DEADLINE)
        workers = {line["value"] for line in lines_of(out)}
        assert len(workers) == 1
        assert process.pid not in workers

    def test_two_workers_run_at_the_same_time(self, cli: CommandLine) -> None:
        """With --workers 2 two items run at the same time: these two meet."""
        os.mkfifo(cli.folder / "meeting")
        finished = cli.run("map", "targets.py:meet", "first", "second", "--workers", "2", "--chunksize", "1")
        assert finished.returncode == 0

    @pytest.mark.parametrize("chunksize", ["1", "7", "1000"])
    def test_chunksize_changes_no_result(self, cli: CommandLine, chunksize: str) -> None:
        """The chunk size changes neither the outcomes nor their order."""
        items = [str(number) for number in range(50)]
        records = cli.records("targets.py:picky", *items, "bad", "--chunksize", chunksize)
        assert [line["item"] for line in records] == [*items, "bad"]
        assert [line["outcome"] for line in records] == ["ok"] * 50 + ["error"]


def test_the_script_is_the_same_command(cli: CommandLine) -> None:
    """The script `procession` beside the interpreter does what `python -m procession` does."""
    script = Path(sys.executable).with_name("procession")
    if not script.exists():
        pytest.skip("procession is not installed as a script here")
    finished = subprocess.run(
        [str(script), "map", "targets:upper", "a", "--output", "-"],
        cwd=cli.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert lines_of(finished.stdout)[0]["value"] == "A"
