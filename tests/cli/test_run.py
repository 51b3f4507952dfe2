"""`procession run` and `install`: an unmodified program that imports `multiprocessing` gets Procession."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import multiprocessing, os, sys
from multiprocessing.pool import Pool

square = lambda number: number * number

if __name__ == "__main__":
    print(sys.argv[1:], os.path.basename(__file__), os.path.basename(sys.path[0]))
    with Pool(2) as pool, multiprocessing.Pool(2) as other:
        print(type(pool).__module__, type(other).__module__, pool.map(square, range(4)))
    print(multiprocessing.get_context("spawn").Process.__module__)
"""
SHOWN = ["procession.pool procession.pool [0, 1, 4, 9]", "procession.process"]


def test_a_script_gets_procession(cli: Any) -> None:
    """Its arguments are its own, also those that look like options of ours."""
    (cli.folder / "script.py").write_text(SCRIPT)
    run = cli.run("run", "script.py", "a", "--executors", "-m")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [f"['a', '--executors', '-m'] script.py {cli.folder.name}", *SHOWN]


def test_a_module_gets_procession(cli: Any) -> None:
    """As by `python -m`."""
    package = cli.folder / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "program.py").write_text(SCRIPT)
    run = cli.run("run", "-m", "package.program", "a", "-m", "b", "--help")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [f"['a', '-m', 'b', '--help'] program.py {cli.folder.name}", *SHOWN]


def test_a_folder_gets_procession(cli: Any) -> None:
    """By its `__main__.py`."""
    (cli.folder / "program").mkdir()
    (cli.folder / "program" / "__main__.py").write_text(SCRIPT)
    run = cli.run("run", "program", "a")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["['a'] __main__.py program", *SHOWN]


def test_libraries_get_procession_in_workers_too(cli: Any) -> None:
    """Deep inside, and in a process that a worker starts."""
    (cli.folder / "library.py").write_text(
        textwrap.dedent("""
        def module_of_pool(_):
            from multiprocessing import pool
            return pool.Pool.__module__
        """)
    )
    (cli.folder / "script.py").write_text(
        textwrap.dedent("""
        import library, multiprocessing
        with multiprocessing.Pool(1) as pool:
            print(pool.map(library.module_of_pool, [1]), library.module_of_pool(1))
        """)
    )
    run = cli.run("run", "script.py")
    assert run.stdout == "['procession.pool'] procession.pool\n", run.stderr


@pytest.mark.parametrize(
    ("options", "module"), [((), "concurrent.futures.process"), (("--executors",), "procession.executor")]
)
def test_executors_are_replaced_when_asked_for(cli: Any, options: tuple[str, ...], module: str) -> None:
    """By a flag, since a dead worker does not break ours."""
    (cli.folder / "script.py").write_text(
        "from concurrent.futures import ProcessPoolExecutor\nprint(ProcessPoolExecutor.__module__)\n"
    )
    assert cli.run("run", *options, "script.py").stdout.split() == [module]


def test_an_error_is_shown_as_python_shows_it(cli: Any) -> None:
    """With the program's own frames, and exit code 1."""
    text = "def fail():\n    raise LookupError('on purpose')\n\nfail()\n"
    (cli.folder / "script.py").write_text(text)
    run = cli.run("run", "script.py")
    plain = subprocess.run([sys.executable, "script.py"], cwd=cli.folder, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (plain.returncode, plain.stderr)


@pytest.mark.parametrize(
    ("line", "code"),
    [("import sys; sys.exit(7)", 7), ("import sys; sys.exit('no')", 1), ("raise KeyboardInterrupt", -signal.SIGINT)],
)
def test_the_exit_code_is_the_programs(cli: Any, line: str, code: int) -> None:
    """Also that of `sys.exit`, and of a Ctrl-C."""
    (cli.folder / "script.py").write_text(line + "\n")
    assert cli.run("run", "script.py").returncode == code


def test_profilers_see_the_program(cli: Any, tmp_path: Path) -> None:
    """A hook that is set before stays set."""
    (cli.folder / "script.py").write_text("def traced():\n    pass\n\ntraced()\n")
    command = [sys.executable, "-m", "cProfile", "-m", "procession", "run", "script.py"]
    run = subprocess.run(command, cwd=cli.folder, capture_output=True, text=True, timeout=60)
    assert "script.py:1(traced)" in run.stdout, run.stderr


@pytest.mark.parametrize("arguments", [(), ("nothing.py",)])
def test_a_program_that_is_not_there_is_a_mistake(cli: Any, arguments: tuple[str, ...]) -> None:
    """In one line, with exit code 2."""
    run = cli.run("run", *arguments)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1


def test_installing_can_be_undone(script: Any) -> None:
    """All names are the standard library's again."""
    run = script(
        """
        import multiprocessing, multiprocessing.context, multiprocessing.dummy, multiprocessing.pool
        import concurrent.futures, procession

        def names():
            modules = (multiprocessing, multiprocessing.context, multiprocessing.pool, concurrent.futures)
            return [dict(vars(module)) for module in modules]

        concurrent.futures.ProcessPoolExecutor
        before = names()
        procession.install(executors=True)
        procession.install(executors=True)
        assert multiprocessing.Pool(1).__class__ is procession.Pool
        assert multiprocessing.pool.Pool is procession.Pool
        assert concurrent.futures.ProcessPoolExecutor is procession.ProcessPoolExecutor
        with multiprocessing.pool.ThreadPool(2) as threads:
            assert threads.map(abs, [-1, 2]) == list(threads.imap(abs, [1, -2]))
        with multiprocessing.dummy.Pool(2) as threads:
            assert isinstance(threads, multiprocessing.pool.ThreadPool)
            assert threads.apply(abs, (-1,)) == 1
        procession.uninstall()
        for now, then in zip(names(), before):  # submodules may have been imported meanwhile
            assert {name: now[name] for name in then} == then
        """,
        env={"PYTHONWARNINGS": "ignore::ResourceWarning"},
    )
    run.check()
