"""Shell commands as items' work: a template becomes a command for each item, which a worker runs and captures.

Travels to the workers, so it imports nothing of the command line.  A command runs in its worker's process group: what
ends the worker for certain ends the command with all that it has started.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from procession.cli.quotes import Quotes

if TYPE_CHECKING:
    import psutil

#: What is kept of each stream of a command; the rest is cut off, and that is said on its stderr.
AT_MOST = 64 << 20

#: A command that has to end has so long after SIGTERM; the worker itself is killed one second after it was asked.
GRACE_SECONDS = 0.6

_REPLACED = re.compile(r"\{(#|\.|/|//|/\.|[0-9]+)?\}")


class Result(NamedTuple):
    """What a command has written, and how it has ended."""

    stdout: bytes
    stderr: bytes
    exitcode: int | None = 0  #: None if it has not ended by itself


class CommandFailed(Exception):
    """A command has ended with another exit code than 0, or by a signal, whose number is negative then."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        last = self.result.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        code = self.result.exitcode or 0
        how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        return f"{how}: {last}" if last else how


class Shell:
    """A command template, to be called with an item.

    ``{}`` is the item, as one word whatever is in it; ``{.}`` without its extension, ``{/}`` without its folders,
    ``{//}`` its folder, ``{/.}`` without both; ``{1}`` and so on its arguments; ``{#}`` the number of the item, from 1
    on.  A template without any gets the item at its end.  On failure: ``ValueError``, for one that is not understood.
    """

    def __init__(self, template: str) -> None:
        self.template = template if _REPLACED.search(template) else f"{template} {{}}"
        self._pieces: list[tuple[str, str | None, str]] = []  # a text, what stands behind it, and how that is quoted
        quotes, end = Quotes(), 0
        for match in _REPLACED.finditer(self.template):
            text = self.template[end : match.start()]
            quotes.read(text)
            self._pieces.append((text, match[1], quotes.within("%s")))
            end = match.end()
        self._rest = self.template[end:]
        quotes.read(self._rest)
        self._has_here = quotes.has_here
        self.__qualname__ = template

    @property
    def wants_number(self) -> bool:
        """Whether a command depends on the number of its item."""
        return "{#}" in self.template

    def script(self, item: Any, number: int = 0) -> tuple[str, list[str]]:
        """The command for an item, with ``$1`` and so on in it, and the words that these stand for.

        What is put in never becomes a part of the script, so no quoting around it can make code of it.
        """
        parts = (*getattr(item, "args", ()), *getattr(item, "kwargs", {}).values())
        words = [str(each) for each in parts or (item,)]
        given: list[str] = []

        def stand_for(value: str) -> str:
            given.append(value)
            return f"${{{len(given)}}}"

        pieces = []
        for text, kind, quoted in self._pieces:
            values = [str(number)] if kind == "#" else _chosen(words, kind)
            pieces += [text, " ".join(quoted % stand_for(each) for each in values)]
        return "".join([*pieces, self._rest]), given

    def command(self, item: Any, number: int = 0) -> str:
        """The command for an item as a person would type it."""
        script, given = self.script(item, number)
        if self._has_here or any(f'"${{{place}}}"' not in script for place in range(1, len(given) + 1)):
            # Within quotes, where a text may mean something else.
            return shlex.join(["sh", "-c", script, "sh", *given])
        return re.sub(r'"\$\{(\d+)\}"', lambda match: shlex.quote(given[int(match[1]) - 1]), script)

    def __call__(self, item: Any) -> Result:
        """Run the command for an item.

        On failure: ``CommandFailed``; what ends the call from outside has what was written until then as ``result``.
        """
        number = 0
        if isinstance(item, Numbered):
            number, item = item
        script, given = self.script(item, number)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            words = ["/bin/sh", "-c", script, "sh", *given]
            try:
                code = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr).wait()
            except BaseException as error:  # its time is over, or the run is; also while `Popen` waits for its begin
                _end_children()
                error.result = _written(stdout, stderr, None)  # type: ignore[attr-defined]
                raise
            result = _written(stdout, stderr, code)
            if code:
                raise CommandFailed(result)
            return result


class Numbered(NamedTuple):
    """An item with its number, from 1 on."""

    number: int
    item: Any

    def __repr__(self) -> str:  # what a journal calls it
        return str(self.item)


def _chosen(words: list[str], kind: str | None) -> list[str]:
    """The words that a replacement string stands for."""
    if kind is None or not kind.isdigit():
        return [_part(word, kind) for word in words]
    place = int(kind) - 1
    if not 0 <= place < len(words):
        raise ValueError(f"there is no {{{kind}}}: the item has {len(words)} argument{'s' * (len(words) != 1)}")
    return [words[place]]


def _part(word: str, kind: str | None) -> str:
    folder, name = os.path.split(word)
    if kind == ".":
        return os.path.splitext(word)[0]
    if kind == "/":
        return name
    if kind == "//":
        return folder or "."
    if kind == "/.":
        return os.path.splitext(name)[0]
    return word


def _written(stdout: IO[bytes], stderr: IO[bytes], code: int | None) -> Result:
    cut = _what_is_cut(stdout=stdout, stderr=stderr)
    return Result(_read(stdout), cut + _read(stderr), code)


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(AT_MOST)


def _what_is_cut(**streams: IO[bytes]) -> bytes:
    """A line for each stream of which not all is kept."""
    sizes = {name: os.fstat(file.fileno()).st_size for name, file in streams.items()}
    lines = [
        f"procession: only the first {AT_MOST:,} of {size:,} bytes of {name} are kept; it could write to a file\n"
        for name, size in sizes.items()
        if size > AT_MOST
    ]
    return "".join(lines).encode()


def captured(outcome: Any) -> Result | None:
    """What the command of an item has written, also if it has failed or timed out; None if its worker has died."""
    source = outcome.value if outcome.error is None else getattr(outcome.error, "result", None)
    return source if isinstance(source, Result) else None


def _end_children() -> None:
    """End the command that this process runs, with all that it has started: politely, then for certain."""
    import psutil

    tree = psutil.Process().children(recursive=True)
    for each in tree:
        with suppress(psutil.Error):
            each.terminate()
    end = time.monotonic() + GRACE_SECONDS
    while (alive := [each for each in tree if _is_alive(each)]) and time.monotonic() < end:
        psutil.wait_procs(alive, timeout=0.02)
    for each in alive:
        with suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(tree[:1], timeout=0.1)  # ours to reap


def _is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one that has lost its parent may be a zombie for long."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
