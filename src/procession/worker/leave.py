"""The end of a child: everything that a normal exit of the interpreter would do, and then the exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def flush_streams() -> None:
    """Write what stdout and stderr hold back, if there are such and they are open."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.flush()


def leave(code: int) -> NoReturn:
    """End the process in an orderly way: children joined, threads too, streams flushed."""
    try:
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util._exit_function()
        atexit._run_exitfuncs()
        threading._shutdown()  # type: ignore[attr-defined]
        flush_streams()
    except BaseException:
        import traceback

        traceback.print_exc()
        code = code or 1
    finally:
        os._exit(code)
