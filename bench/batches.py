"""The uneven batches: what people do with a pool, on data that is made here."""

from __future__ import annotations

import gzip
import io
import random
import re
from collections import Counter

import numpy as np


def mandelbrot_row(y: int) -> int:
    """The iterations of one row of a picture of 600 by 400 points: near the middle they are many."""
    x = np.linspace(-2.0, 1.0, 600)
    c = x + 1j * (-1.2 + 2.4 * y / 400)
    z = np.zeros_like(c)
    counts = np.zeros(600, int)
    for _ in range(400):
        inside = np.abs(z) <= 2
        z[inside] = z[inside] ** 2 + c[inside]
        counts += inside
    return int(counts.sum())


def log_text(number: int) -> str:
    """The lines of a log file; some files are ten times as long as others."""
    chance = random.Random(number)
    lines = []
    for _ in range(chance.choice((2_000, 4_000, 20_000))):
        ip = ".".join(str(chance.randrange(256)) for _ in range(4))
        lines.append(
            f'{ip} - - [2026] "GET /page/{chance.randrange(50)} HTTP/1.1" {chance.choice((200, 404, 500))} 512'
        )
    return "\n".join(lines)


_LINE = re.compile(r'^(\S+) .* "GET (\S+) [^"]*" (\d+) (\d+)$')


def parse_log(text: str) -> list[tuple[str, int]]:
    """The pages that were asked for most."""
    pages: Counter[str] = Counter()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match[3] == "200":
            pages[match[2]] += 1
    return pages.most_common(3)


def photo(number: int) -> bytes:
    """A picture as a file; some are large."""
    from PIL import Image

    side = (600, 900, 1800)[number % 3]
    noise = np.random.default_rng(number).integers(0, 255, (side // 20, side // 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((side, side)).save(file, "JPEG")
    return file.getvalue()


def thumbnail(data: bytes) -> int:
    """The size of its thumbnail as a file."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((128, 128))
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG")
    return len(file.getvalue())


def table_text(number: int) -> bytes:
    """The rows of a CSV file, some megabytes; the last ones are larger."""
    chance = np.random.default_rng(number)
    rows = chance.normal(size=(20_000 + 10_000 * number, 6)).round(4)
    return "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()


def compress(data: bytes) -> int:
    """The size of its gzip."""
    return len(gzip.compress(data, 6))


def estimate_pi(number: int) -> float:
    """By random points, some thousands or some millions of them."""
    chance = np.random.default_rng(number)
    points = chance.random((200_000 * (1 + number % 10), 2))
    return float(4 * (np.square(points).sum(axis=1) < 1).mean())
