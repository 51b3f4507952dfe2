"""`make demo`: thumbnails of 24 photos by the real command, and what it took.

    python examples/demo.py [FOLDER]

FOLDER (build/demo) keeps the photos for the next time.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from make_photos import make_photos

HERE = Path(__file__).parent


def main(folder: Path) -> int:
    """Run the demo in this folder and return the exit code of the command."""
    photos = make_photos(folder / "photos")
    thumbnails = folder / "thumbnails"
    outcomes = folder / "outcomes.jsonl"

    command = ["procession", "map", f"{os.path.relpath(HERE)}/thumbnails.py:thumbnail"]
    shown = shlex.join(command) + f" {folder}/photos/*.jpg --output {outcomes}"
    print(f"$ {shown}", flush=True)
    began = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-m", *command, *map(str, photos), "--output", str(outcomes)],
        env={**os.environ, "THUMBNAILS": str(thumbnails.absolute())},
        check=False,
    )
    wall = time.perf_counter() - began
    if finished.returncode not in {0, 1}:  # 1: some photos failed, the command has said which
        return finished.returncode

    lines = [json.loads(line) for line in outcomes.read_text().splitlines()]
    done = sum(line["outcome"] == "ok" for line in lines)
    one_core = sum(line["seconds"] for line in lines)
    print()
    print(f"done         {done} of {len(photos)} photos")
    print(f"wall time    {wall:.1f} s, from the command's start to its end")
    print(f"one core     {one_core:.1f} s, the photos' own times added up: {one_core / wall:.1f} times as long")
    print(f"thumbnails   {thumbnails}")
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo")))
