"""Long batches by `procession map`: where items come from, what is kept, how it goes on; `status` and `export`."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.eventually import eventually

import procession
from procession.journal.reading import iterate_journal

from .conftest import DEADLINE, CommandLine, lines_of

MORE = '''
"""Functions of several arguments, and some that note their calls."""
import random
import procession

def join(*args, **kwargs):
    return " ".join([*map(str, args), *(f"{k}={v}" for k, v in kwargs.items())])

def noted(item):
    with open("calls", "a") as file:
        file.write(item + "\\n")
    if item.startswith("bad"):
        raise ValueError(item)
    return item.upper()

def draw(item):
    return random.random()

def block(item):
    if item == "wait":
        with open("begun", "w") as begun:
            begun.write("begun\\n")
        import threading
        threading.Event().wait()
    return noted(item)
'''


@pytest.fixture
def batch(cli: CommandLine) -> CommandLine:
    """Give the command line with the functions above in `more.py`."""
    (cli.folder / "more.py").write_text(MORE)
    return cli


def calls(cli: CommandLine) -> list[str]:
    """The items that were run, in any order."""
    path = cli.folder / "calls"
    return sorted(path.read_text().splitlines()) if path.exists() else []


def recorded(cli: CommandLine) -> list[str]:
    """The items that the journal has."""
    path = cli.folder / "run.db"
    try:
        return [row.item for row in iterate_journal(path)] if path.exists() else []
    except procession.JournalError:  # it is just being made
        return []


# Items.


def test_the_columns_of_a_csv_are_keywords(batch: CommandLine) -> None:
    """A row's columns by their names; a field may have several lines."""
    (batch.folder / "rows.csv").write_text('a,b\n1,x\n2,"y\nz"\n')
    records = batch.records("more.py:join", "--csv", "rows.csv")
    assert [record["value"] for record in records] == ["a=1 b=x", "a=2 b=y\nz"]
    assert records[0]["item"] == {"a": "1", "b": "x"}


def test_json_lines_are_arguments(batch: CommandLine) -> None:
    """An object by its names, an array by its order, anything else alone."""
    (batch.folder / "rows.jsonl").write_text('{"a": 1}\n[1, 2.5]\n"x"\n7\n')
    records = batch.records("more.py:join", "--json-lines", "rows.jsonl")
    assert [record["value"] for record in records] == ["a=1", "1 2.5", "x", "7"]


def test_lists_are_combined(batch: CommandLine) -> None:
    """Side by side, or each with each."""
    lists = (":::", "1", "2", ":::", "a", "b")
    assert [record["value"] for record in batch.records("more.py:join", "--zip", *lists)] == ["1 a", "2 b"]
    product = ["1 a", "1 b", "2 a", "2 b"]
    assert [record["value"] for record in batch.records("more.py:join", "--product", *lists)] == product
    assert [record["value"] for record in batch.records("more.py:join", *lists)] == product


def test_items_are_split_and_globbed(batch: CommandLine) -> None:
    """As a shell splits them; and files by a pattern, sorted."""
    assert batch.records("more.py:join", "--args", "1 'two words'")[0]["value"] == "1 two words"
    for name in ("b.txt", "a.txt", "c.dat"):
        (batch.folder / name).touch()
    assert [record["item"] for record in batch.records("more.py:join", "--glob", "*.txt")] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a", "--glob", "*"), "items come as arguments or with --glob, not both"),
        (("--glob", "no*such"), "no file matches no*such"),
        (("--zip", ":::", "1", ":::", "a", "b"), "--zip wants lists of the same length, not of 1, 2"),
        (("--zip", "1"), "--zip wants lists, each behind :::"),
        (("--zip", "--product", ":::", "1"), "by --zip or by --product"),
        (("--args", "'open"), "cannot be split"),
        (("a", "--resume"), "--resume wants the --journal"),
        (("a", "--journal", "missing.db", "--resume"), "there is no journal missing.db"),
        (("a", "--journal", "no/such/folder.db"), "JournalFailed: the journal"),
        (("a", "--max-failures", "lots"), "max_failures must be"),
        (("a", "--seed", "-1"), "seed must be 0 or more"),
        (("a", "--format", "csv"), "--format is that of --output"),
        (("a", "--on-error", "stop", "--max-failures", "2"), "--on-error stop ends at the first failure"),
        (("--zip", "--args", ":::", "1", ":::", "2"), "--args splits lines, files and arguments"),
        (("a", ":::", "b"), "lists stand behind :::, the first one too"),
        (("a", "--journal", "same", "--output", "same"), "same is the journal: --output would overwrite it"),
        (("a", "--tag"), "--tag is about what commands print: it goes with --shell"),
        (("a", "-k"), "--keep-order is about what commands print: it goes with --shell"),
        (("a", "--shell", "--tag", "--output", "-"), "which with --output - stands in the records"),
    ],
)
def test_mistakes(refused: Callable[..., str], arguments: tuple[str, ...], says: str) -> None:
    """One line that says what would be right."""
    assert says in refused("targets.py:upper", *arguments)


def test_bad_rows_are_said(batch: CommandLine) -> None:
    """With the file and the number of the line."""
    (batch.folder / "rows.csv").write_text("a,b\n1\n")
    (batch.folder / "rows.jsonl").write_text("{}\n{]\n")
    assert "rows.csv: row 2 has another number of columns" in batch.map("more.py:join", "--csv", "rows.csv").stderr
    assert "rows.jsonl: line 2 is no JSON" in batch.map("more.py:join", "--json-lines", "rows.jsonl").stderr


# Runs.


def test_a_journal_is_taken_up(batch: CommandLine) -> None:
    """The same command does what is not done; with --resume-failed what has failed, too."""
    how = ("more.py:noted", "--journal", "run.db")
    assert batch.map(*how, "a", "bad1").returncode == 1
    assert batch.map(*how, "bad1", "b", "a").returncode == 1
    assert calls(batch) == ["a", "b", "bad1"]
    finished = batch.map(*how, "bad1", "b", "a", "--resume", "--resume-failed")
    assert finished.returncode == 1
    assert calls(batch) == ["a", "b", "bad1", "bad1"]
    assert "2 done, 1 failed" in finished.stderr


def test_ctrl_c_says_how_to_continue(batch: CommandLine) -> None:
    """And the rest is done by that."""
    os.mkfifo(batch.folder / "begun")
    arguments = ("map", "more.py:block", "a", "b", "wait", "c d", "-j1", "--journal", "run.db")
    with os.fdopen(os.open(batch.folder / "begun", os.O_RDWR), "rb", buffering=0) as begun:
        process = batch.start(*arguments)
        assert begun.readline()
        # What has been done the very moment before may be lost; within a second it is there.
        eventually(lambda: len(recorded(batch)) == 2, 20, describe=lambda: recorded(batch))
        os.killpg(process.pid, signal.SIGINT)
        _out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert (
        err.splitlines()[-1]
        == f"to continue: procession {' '.join(arguments).replace('c d', chr(39) + 'c d' + chr(39))}"
    )
    assert calls(batch) == ["a", "b"]
    assert batch.run("map", "more.py:block", "a", "b", "c d", "-j1", "--journal", "run.db").returncode == 0
    assert calls(batch) == ["a", "b", "c d"]


def test_it_stops_at_failures(batch: CommandLine) -> None:
    """At the first, or when there are too many."""
    items = [*(f"bad{n}" for n in range(20)), "a"]
    finished = batch.map("more.py:noted", "--on-error", "stop", *items)
    assert finished.returncode == 1
    assert len(calls(batch)) < 20
    assert "0 done, 1 failed, stopped after" in finished.stderr
    finished = batch.map("more.py:noted", "--max-failures", "50%", *items)
    assert "11 failed, stopped after" in finished.stderr


def test_a_seed_gives_the_same_numbers(batch: CommandLine) -> None:
    """For any number of workers."""
    runs = [
        [record["value"] for record in batch.records("more.py:draw", *"abcdef", "--seed", "7", "--workers", workers)]
        for workers in ("1", "-1", "50%")
    ]
    assert runs[0] == runs[1] == runs[2]
    assert len(set(runs[0])) == 6


def test_a_dry_run_runs_nothing(batch: CommandLine) -> None:
    """It prints what would be run."""
    assert batch.map("more.py:noted", "a", "b c", "--dry-run").stdout == "noted('a')\nnoted('b c')\n"
    assert batch.map("--shell", "echo {} {#}", "a", "b c", "--dry-run").stdout == "echo a 1\necho 'b c' 2\n"
    assert calls(batch) == []


def test_quiet_says_nothing_but_failures(batch: CommandLine) -> None:
    """Not even that all went well."""
    assert batch.map("more.py:noted", "a", "-q").stderr == ""
    assert "bad: ValueError: bad" in batch.map("more.py:noted", "bad", "-q").stderr


# Outputs.


def test_csv_and_folders(batch: CommandLine) -> None:
    """A row for each item, under a head; or a file for each that succeeded."""
    batch.map("more.py:noted", "a", "bad,x", "--output", "out.csv", "--output-dir", "values")
    rows = list(csv.DictReader(io.StringIO((batch.folder / "out.csv").read_text())))
    assert [(row["item"], row["outcome"], row["value"]) for row in rows] == [("a", "ok", "A"), ("bad,x", "error", "")]
    assert [path.name for path in (batch.folder / "values").iterdir()] == ["000000-a.txt"]
    assert (batch.folder / "values" / "000000-a.txt").read_text() == "A"


# Shell commands.


def test_commands_are_run_with_quoted_items(batch: CommandLine) -> None:
    """Whatever is in an item, it is one word; what is printed is printed whole, in order if that is wanted."""
    items = ["a b", "$(touch pwned)", "it's", "-n", "*"]
    finished = batch.map("--shell", "printf '%s\\n' {}; printf '%s\\n' {}", "-k", "--", *items)
    assert finished.stdout == "".join(f"{item}\n{item}\n" for item in items)
    assert finished.returncode == 0
    assert not (batch.folder / "pwned").exists()


def test_columns_are_words_of_a_command(batch: CommandLine) -> None:
    """By their numbers, or all of them; as the fields of a JSON object are."""
    (batch.folder / "sizes.csv").write_text("width,height\n2,3\n")
    (batch.folder / "sizes.jsonl").write_text('{"width": 2, "height": 3}\n')
    for rows in (["--csv", "sizes.csv"], ["--json-lines", "sizes.jsonl"]):
        assert batch.map("--shell", "echo [{1}] [{2}] {}", *rows).stdout == "[2] [3] 2 3\n"


@pytest.mark.thorough  # it is the shell that reads them, whatever the Python
@pytest.mark.parametrize(
    "template",
    [
        'echo "{}"',
        "echo '{}'",
        "echo {}",
        'echo "$(echo {})"',
        'echo "$(echo "{}")"',
        "echo `echo {}`",
        'echo "$( (true); echo {} )"',
        'echo "`echo {}`"',
        "# don't\necho {}",
    ],
)
def test_no_quotes_around_an_item_make_code_of_it(batch: CommandLine, template: str) -> None:
    """Whatever is in it, and whatever it is put into."""
    for item in ("$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "a  b"):
        finished = batch.map("--shell", template, "-q", "--", item)
        assert not (batch.folder / "pwned").exists()
        # As in any shell, what a command in bare backticks writes is split into words.
        split = template.startswith("echo `")
        assert (finished.stdout.split() if split else finished.stdout) == (item.split() if split else f"{item}\n")


def test_a_dry_run_shows_what_does_the_same(batch: CommandLine) -> None:
    """Also where the item is within quotes."""
    for template in ('echo "<{}>"', "echo '<{}>'", "echo {}"):
        shown = batch.map("--shell", template, "--dry-run", "--", "$(a) 'b'").stdout
        typed = subprocess.run(["/bin/sh", "-c", shown], capture_output=True, text=True, check=True).stdout
        assert typed == batch.map("--shell", template, "-q", "--", "$(a) 'b'").stdout


def test_the_parts_of_an_item(batch: CommandLine) -> None:
    """Without its extension, its folders, both; its folder; its arguments; and at the end where none is named."""
    template = "echo {.} {/} {//} {/.} {#}"
    assert batch.map("--shell", template, "x/y.tar.gz").stdout == "x/y.tar y.tar.gz x y.tar 1\n"
    assert batch.map("--shell", "echo {2}-{1}", "--zip", ":::", "1", ":::", "a").stdout == "a-1\n"
    assert batch.map("--shell", "echo", "x").stdout == "x\n"


def test_a_command_that_fails(batch: CommandLine) -> None:
    """Its exit code and its last words are in the list, its output in the record."""
    finished = batch.map("--shell", "echo out {}; echo why >&2; exit 3", "x")
    assert (finished.returncode, finished.stdout) == (1, "out x\n")
    assert "  x: exit code 3: why" in finished.stderr
    (record,) = batch.records("--shell", "echo {}; echo e >&2", "y")
    assert record["value"] == {"exitcode": 0, "stdout": "y\n", "stderr": "e\n"}
    finished = batch.map("--shell", "echo out; exit 3", "z", "--output", "-")
    record = json.loads(finished.stdout)
    assert (record["outcome"], record["value"]) == ("error", {"exitcode": 3, "stdout": "out\n", "stderr": ""})


def test_what_is_cut_off_is_said(batch: CommandLine) -> None:
    """Of a command that writes more than is kept."""
    finished = batch.map("--shell", "head -c {} /dev/zero", "68000000")
    assert len(finished.stdout) == 64 << 20
    assert "only the first 67,108,864 of 68,000,000 bytes of stdout are kept" in finished.stderr


def test_ctrl_c_asks_commands_to_end(batch: CommandLine) -> None:
    """They get a SIGTERM first, and a moment to heed it; none is begun behind that."""
    os.mkfifo(batch.folder / "begun")
    command = "trap 'echo {} >> trapped; exit 1' TERM; echo {} > begun; sleep 1000 & wait"
    with os.fdopen(os.open(batch.folder / "begun", os.O_RDWR), "rb", buffering=0) as begun:
        process = batch.start("map", "--shell", command, "-j2", "a", "b", "c", "d")
        started = begun.readline() + begun.readline()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert sorted((batch.folder / "trapped").read_bytes().split()) == sorted(started.split())
    assert batch.left_over() == []


def test_lines_are_tagged(batch: CommandLine) -> None:
    """By their item."""
    assert batch.map("--shell", "echo 1; echo 2; : {}", "--tag", "x").stdout == "x\t1\nx\t2\n"


def test_a_command_that_takes_too_long_is_ended_with_its_children(batch: CommandLine) -> None:
    """It gets a SIGTERM first; nothing of it is left."""
    command = "trap 'echo ended > trapped; exit 1' TERM; sleep 1000 & sleep 1000 & wait"
    finished = batch.map("--shell", f"{command}; : {{}}", "x", "--timeout", "0.5")
    assert "TaskTimeout" in finished.stderr
    assert (batch.folder / "trapped").read_text() == "ended\n"
    assert batch.left_over() == []


def test_commands_have_a_journal_too(batch: CommandLine) -> None:
    """Another command is another run."""
    for _ in range(2):
        batch.map("--shell", "echo {} >> calls", "--journal", "run.db", "a", "b")
    assert calls(batch) == ["a", "b"]
    batch.map("--shell", "echo {}{} >> calls", "--journal", "run.db", "a")
    assert calls(batch) == ["a", "aa", "b"]


# What is kept.


def test_status_tells_how_far_it_is(batch: CommandLine) -> None:
    """Done, failed, left; the slowest items; the errors by their kind."""
    batch.map("more.py:noted", "a", "b", "bad1", "bad2", "--journal", "run.db")
    finished = batch.run("status", "run.db")
    assert finished.returncode == 0
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("noted: done, begun 20")
    assert lines[1] == "  2 done, 2 failed, 0 left of 4"
    assert "  2 x ValueError, as of bad1: bad1" in lines
    assert batch.run("status", "missing.db").returncode == 2


def test_rows_are_exported(batch: CommandLine) -> None:
    """As lines of JSON, or of CSV; another kind is an error that names those."""
    batch.map("more.py:noted", "a", "bad", "--journal", "run.db")
    assert batch.run("export", "run.db", "-o", "rows.jsonl").returncode == 0
    rows = lines_of((batch.folder / "rows.jsonl").read_text())
    assert [(row["item"], row["outcome"], row["value"]) for row in rows] == [("a", "ok", "A"), ("bad", "error", None)]
    assert batch.run("export", "run.db", "-o", "rows.csv").returncode == 0
    table = list(csv.DictReader(io.StringIO((batch.folder / "rows.csv").read_text())))
    assert [row["error"] for row in table] == ["", "ValueError: bad"]
    wrong = batch.run("export", "run.db", "-o", "rows.txt")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "must end with one of .csv, .jsonl, .parquet" in wrong.stderr


# Completion.


def test_a_shell_can_complete(batch: CommandLine) -> None:
    """Options, files, and functions of a file without importing it."""
    (batch.folder / "broken.py").write_text("raise SystemExit\ndef alpha(): ...\ndef beta(): ...\ndef _hidden(): ...\n")

    def complete(words: str) -> list[str]:
        environment = {
            "_PROCESSION_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        return [line.partition(",")[2] for line in batch.run(env=environment).stdout.splitlines()]

    assert {"broken.py:", "more.py:", "targets.py:"} <= set(complete("procession map "))
    assert complete("procession map broken.py:a") == ["broken.py:alpha"]
    assert "--journal" in complete("procession map --jo")
    for shell in ("bash", "zsh", "fish"):
        assert "_PROCESSION_COMPLETE" in batch.run("completion", shell).stdout


def test_help_fits_a_screen(batch: CommandLine) -> None:
    """Two of them."""
    assert len(batch.run("map", "--help").stdout.splitlines()) <= 90
    assert Path(batch.folder / "calls").exists() is False


def test_an_export_replaces_a_file_whole_or_not_at_all(batch: CommandLine) -> None:
    """What was there stays if there is nothing to write; any value can be written."""
    (batch.folder / "rows.jsonl").write_text("before")
    assert batch.run("export", "missing.db", "-o", "rows.jsonl").returncode == 2
    assert (batch.folder / "rows.jsonl").read_text() == "before"
    batch.map("targets.py:value", "{(1, 2): float('nan')}", "'\\udcff'", "--journal", "run.db")
    for name in ("rows.jsonl", "rows.csv"):
        assert batch.run("export", "run.db", "-o", name).returncode == 0
    rows = [json.loads(line) for line in (batch.folder / "rows.jsonl").read_text().splitlines()]
    assert sorted(row["value"] for row in rows) == ["{(1, 2): nan}", "\udcff"]


@pytest.mark.parametrize(
    "arguments", [("map", "--shell", "echo {}; echo {}", "1", "2"), ("export", "run.db", "-o", "-")]
)
def test_a_reader_that_goes_away_is_said(batch: CommandLine, arguments: tuple[str, ...]) -> None:
    """As by the death of any command in a pipe."""
    batch.map("targets.py:upper", "a", "--journal", "run.db")
    ours, theirs = os.pipe()
    os.close(ours)
    process = batch.start(*arguments, stdout=theirs)
    os.close(theirs)
    _out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 141
    assert "has gone" in err
    assert "Traceback" not in err


def test_a_full_device_is_said(batch: CommandLine) -> None:
    """Nobody could read what the commands print."""
    with open("/dev/full", "w") as full:
        process = batch.start("map", "--shell", "echo {}", "1", stdout=full)
        _out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert "No space left on device" in err
    assert "Traceback" not in err


def test_templates_that_are_not_understood(batch: CommandLine) -> None:
    """Are refused before anything is run; an argument that is not there is its item's failure."""
    for template, says in (("echo $(( {} + 1 ))", "read as code"), ("$(case x in x) {};; esac)", "`case`")):
        finished = batch.map("--shell", template, "1")
        assert finished.returncode == 2
        assert says in finished.stderr
    for more in ((), ("--dry-run",)):
        finished = batch.map("--shell", "echo {1} {3}", "--zip", ":::", "a", ":::", "b", *more)
        assert finished.returncode == (2 if more else 1)
        assert "there is no {3}: the item has 2 arguments" in finished.stderr


def test_a_command_with_children_ends_in_time(batch: CommandLine) -> None:
    """Its worker lives on: it has reacted."""
    finished = batch.map("--shell", "echo {}; sleep 1000; true", "1", "--timeout", "0.3")
    assert "TaskTimeout" in finished.stderr
    assert "killed" not in finished.stderr


def test_what_failures_have_stopped_goes_on_with_them(batch: CommandLine) -> None:
    """Else they would stop it again at once."""
    finished = batch.map("--shell", "test {} -lt 2", "1", "2", "3", "--on-error", "stop", "--journal", "run.db", "-j1")
    assert finished.stderr.splitlines()[-1].endswith("--journal run.db -j1 --resume-failed")


def test_a_table_may_begin_with_a_mark(batch: CommandLine) -> None:
    """As spreadsheets write them."""
    (batch.folder / "rows.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    assert [record["outcome"] for record in batch.records("more.py:join", "--csv", "rows.csv")] == ["ok"]


def test_what_a_command_wrote_until_its_time_was_over(batch: CommandLine) -> None:
    """It is printed, and in the record, which has no exit code."""
    command = ("--shell", "echo {}; echo bad >&2; sleep 1000", "1", "--timeout", "0.5")
    assert batch.map(*command).stdout == "1\n"
    (record,) = batch.records(*command)
    assert record["outcome"] == "timed_out"
    assert record["value"] == {"exitcode": None, "stdout": "1\n", "stderr": "bad\n"}


def test_an_item_in_a_here_document(batch: CommandLine) -> None:
    """It is text there, and one word in a command within it; what `--dry-run` shows does the same."""
    item = '$(echo no)  "quoted" `no`  *'
    template = "cat <<END\ndon't \"{}\" $(printf '<%s>' {})\nEND\necho {}"
    wanted = f'don\'t "{item}" <{item}>\n{item}\n'
    assert batch.map("--shell", template, item).stdout == wanted
    shown = batch.map("--shell", template, item, "--dry-run").stdout
    assert subprocess.run(["/bin/sh", "-c", shown], capture_output=True, text=True, check=True).stdout == wanted


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("cat <<'END'\n{}\nEND\n", "ends with a quoted word"),
        ("cat <<END-1\n{}\nEND-1\n", "its end is one plain word"),
        ("cat <<{}\n", "its end is one plain word"),
        ("cat <<END\n$(( {} ))\nEND\n", "would be read as code"),
        ("cat <<END\n\\{}\nEND\n", "a backslash before {}"),
        ("echo \\{}", "a backslash before {}"),
    ],
)
def test_where_an_item_cannot_be_put(batch: CommandLine, template: str, says: str) -> None:
    """It is refused, before anything is run."""
    finished = batch.map("--shell", template, "1")
    assert finished.returncode == 2
    assert says in finished.stderr


def test_a_shift_is_no_here_document(batch: CommandLine) -> None:
    """Behind it an item is one word as before."""
    assert batch.map("--shell", "x=$((1 << 2))\necho $x '{}'", "a  *").stdout == "4 a  *\n"


def test_a_list_alone_is_as_without_its_mark(batch: CommandLine) -> None:
    """Also for a journal: the items are the same."""
    batch.map("more.py:noted", "a", "b", "--journal", "run.db")
    finished = batch.map("more.py:noted", "--journal", "run.db", ":::", "a", "b", "c")
    assert finished.returncode == 0
    assert recorded(batch) == ["a", "b", "c"]


def test_a_table_may_have_another_delimiter(batch: CommandLine) -> None:
    """A tab in a file that is called so; else it is to be said."""
    (batch.folder / "rows.csv").write_text("a;b\n1;2\n")
    (batch.folder / "rows.tsv").write_text("a\tb\n1\t2\n")
    (batch.folder / "rows").write_text("a\tb\n1\t2\n")
    for options in (("rows.csv", "--delimiter", ";"), ("rows.tsv",), ("rows", "--delimiter", "tab")):
        assert [each["item"] for each in batch.records("more.py:join", "--csv", *options)] == [{"a": "1", "b": "2"}]
    assert "--delimiter is one character that" in batch.map("more.py:join", "--csv", "rows", "--delimiter", "xy").stderr
    assert "--delimiter is that of --csv FILE" in batch.map("more.py:join", "1", "--delimiter", ";").stderr


def test_arrays_and_odd_numbers_in_a_record(batch: CommandLine) -> None:
    """Arrays are lists, and what is no number of JSON's is a text."""
    text = """
        import pathlib
        import numpy as np

        def make(item):
            odd = [np.inf, {"a": float("nan")}]
            day = np.array(["2026-01-02"], "datetime64[ns]").astype("datetime64[D]")
            return {"array": np.arange(3), "one": np.float32(2), "odd": odd, "path": pathlib.Path("a/b"), "day": day}
    """
    (batch.folder / "arrays.py").write_text(textwrap.dedent(text))
    (record,) = batch.records("arrays.py:make", "1")
    assert record["value"] == {
        "array": [0, 1, 2],
        "one": 2.0,
        "odd": ["Infinity", {"a": "NaN"}],
        "path": "a/b",
        "day": ["2026-01-02"],
    }


def test_a_changed_function_is_told_of_in_one_line(batch: CommandLine) -> None:
    """Without the line of our code that says so."""
    for text in ("item", "item * 2"):
        (batch.folder / "changing.py").write_text(f"def work(item):\n    return {text}\n")
        finished = batch.map("changing.py:work", "a", "--journal", "run.db")
    told, summary = finished.stderr.splitlines()
    assert told.startswith("procession map: warning: work has changed since ")
    assert summary.startswith("1 done")


def test_status_shows_items_as_they_were_given(batch: CommandLine) -> None:
    """Rows by their columns."""
    (batch.folder / "rows.csv").write_text("a,b\n1,2\n")
    batch.map("more.py:join", "--csv", "rows.csv", "--journal", "run.db")
    batch.map("--shell", "echo {} {#}", "x y", "--journal", "run.db")
    assert recorded(batch) == ["a=1 b=2", "x y"]
