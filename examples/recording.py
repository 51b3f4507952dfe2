"""Makes docs/images/recording.svg, the picture on the first screen of the README, from a real run.

    python examples/recording.py

Types commands into a terminal of its own, presses Ctrl-C in the midst of the first, and keeps what the screen shows.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "recording.svg"
COLUMNS, ROWS = 92, 11

#: The function that is run: what takes long is played by waiting.
FITS = """
import random, time

def fit(model):
    time.sleep(random.uniform(0.02, 0.08))
    return len(model)
"""
COMMAND = "procession map fits.py:fit --from models.txt --journal fits.db"

#: The percentage at which Ctrl-C is pressed, and the seconds between two pictures.
PRESS, FRAME = 45, 0.2


class Screen:
    """What a terminal shows, as far as the command uses it."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        """Take what is written to the terminal."""
        for piece in re.findall(r"\x1b\[\d*[A-Za-z]|[^\x1b]|\x1b", text):
            if piece == "\r":
                self._column = 0
            elif piece == "\n":
                self._row += 1
                self._column = 0
            elif piece.startswith("\x1b["):
                if piece[-1] == "A":
                    self._row = max(0, self._row - int(piece[2:-1] or 1))
                elif piece[-1] == "K":
                    self.lines[self._row] = self.lines[self._row][: self._column]
            else:
                self._put(piece)
            while len(self.lines) <= self._row:
                self.lines.append("")

    def _put(self, character: str) -> None:
        line = self.lines[self._row].ljust(self._column)
        self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
        self._column += 1

    def shown(self) -> list[str]:
        """The last lines that fit."""
        return [line.rstrip() for line in self.lines][-ROWS:]


def percentage(screen: Screen) -> int:
    """What the bar shows."""
    found = re.search(r"(\d+)%", screen.lines[-1] or "0%")
    return int(found[1]) if found else 0


def run(folder: str, screen: Screen, frames: list[list[str]], press: int | None) -> None:
    """Type the command, and keep a picture now and then; press Ctrl-C when the bar is at ``press``."""
    screen.feed(f"$ {COMMAND}\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ROOT / "src")
        os.execv(sys.executable, [sys.executable, "-m", *COMMAND.split()])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    begun = time.monotonic()
    while True:
        if select.select([terminal], [], [], FRAME)[0]:
            try:
                written = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            screen.feed(written.decode("utf-8", "replace"))
        if time.monotonic() - begun > len(frames) * FRAME:
            frames.append(screen.shown())
        if press is not None and percentage(screen) >= press:
            press = None
            os.write(terminal, b"\x03")
    os.waitpid(pid, 0)
    os.close(terminal)
    frames.append(screen.shown())


def draw(frames: list[list[str]]) -> str:
    """An SVG that shows one picture after another, for ever."""
    width, height = COLUMNS * 8 + 24, ROWS * 18 + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        (
            "<style>text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre}"
            "g{visibility:hidden;animation:f linear infinite}@keyframes f{0%{visibility:visible}"
            f"{100 / len(frames):.3f}%{{visibility:hidden}}100%{{visibility:hidden}}}}</style>"
        ),
        f'<rect width="{width}" height="{height}" rx="8" fill="#1f2430"/>',
    ]
    seconds = len(frames) * FRAME
    for number, lines in enumerate(frames):
        parts.append(f'<g style="animation-duration:{seconds:.1f}s;animation-delay:{number * FRAME:.1f}s">')
        for row, line in enumerate(lines):
            if line:
                parts.append(f'<text x="12" y="{28 + 18 * row}" xml:space="preserve">{html.escape(line)}</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Record, and write the picture."""
    frames: list[list[str]] = []
    screen = Screen()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "fits.py").write_text(FITS)
        Path(folder, "models.txt").write_text("".join(f"model-{number:03}\n" for number in range(160)))
        run(folder, screen, frames, PRESS)
        second: list[list[str]] = []
        run(folder, screen, second, None)
    frames += second
    frames += [frames[-1]] * 15
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(draw(frames))
    print("\n".join(frames[-1]))


if __name__ == "__main__":
    main()
