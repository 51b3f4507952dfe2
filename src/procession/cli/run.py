"""`procession run`: a program that imports `multiprocessing`, unchanged, on Procession.

Runs the program in this very process, as its `__main__`, with its arguments, its folder first on sys.path, its exit
code and its tracebacks, as `python` would.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from typing import Any

import click


@click.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run an unmodified multiprocessing program.",
)
@click.option("-m", "as_module", help="Run a module, as `python -m` does.", is_flag=True)
@click.option("--executors", is_flag=True, help="Replace concurrent.futures.ProcessPoolExecutor as well.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT|MODULE [ARGUMENTS]...")
def run_command(as_module: bool, executors: bool, arguments: Sequence[str]) -> Callable[[], None]:
    """Run a program in which `multiprocessing` is Procession.

    SCRIPT is a Python file, or a folder or zip file with a __main__.py.
    """
    if not arguments:
        raise click.UsageError("there is no program to run: procession run SCRIPT, or procession run -m MODULE")
    # What comes behind the name is the program's, whatever it looks like.
    sys.argv[:] = list(arguments)
    program = _module(arguments[0], os.getcwd(), alter_argv=True) if as_module else _script(arguments[0])

    def run() -> None:
        from procession.installing import install

        install(executors=executors)
        _run(program)

    return run


def _script(path: str) -> Callable[[], None]:
    if not os.path.exists(path):
        raise click.UsageError(f"there is no file {path}")
    path = os.path.abspath(path)
    if os.path.isdir(path) or _is_zip(path):
        return _module("__main__", path, alter_argv=False)
    code = _compile(path)

    def run() -> None:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
        exec(code, _become_main(path))

    return run


def _module(name: str, folder: str, *, alter_argv: bool) -> Callable[[], None]:
    def run() -> None:
        sys.path[0] = folder
        _become_main(None)
        runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]

    return run


def _is_zip(path: str) -> bool:
    import zipfile

    return zipfile.is_zipfile(path)


def _compile(path: str) -> types.CodeType:
    """Read the script.  On failure: a usage error; a ``SyntaxError`` is shown as Python shows it."""
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        sys.excepthook(type(error), error.with_traceback(None), None)
        raise SystemExit(1) from None


def _become_main(path: str | None) -> dict[str, Any]:
    """Give the program a ``__main__`` of its own and return its names.

    Not the one there is: our command, or a profiler that has started it, lives there.
    """
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    namespace = vars(main)
    namespace.update(__builtins__=builtins, __annotations__={})
    if path is not None:
        namespace.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
    return namespace


def _run(program: Callable[[], None]) -> None:
    """Run it; what nobody catches goes on its way, but is shown without our own frames."""
    try:
        program()
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        show = sys.excepthook
        sys.excepthook = lambda kind, value, _trace: show(kind, value.with_traceback(trace), trace)
        raise
