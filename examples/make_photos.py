"""Photos to try things on: synthetic JPEGs of 4000x3000, about 3 MB each, the same ones every time.

    python examples/make_photos.py FOLDER

Soft shapes (noise of a few pixels, blown up) give a photo's large areas, grain its fine detail: a JPEG of this costs
about as much to decode as one of a camera. A photo that is there is not made again.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import procession

COUNT = 24
WIDTH, HEIGHT = 4000, 3000
QUALITY = 88
GRAIN = 7.0  # standard deviation in grey levels; sets the size of the file


def make_photo(path: Path) -> Path:
    """Make the photo of this path; the number at the end of its name is the seed."""
    random = np.random.default_rng(int(path.stem.rpartition("-")[2]))
    shapes = random.integers(30, 226, (12, 16, 3), dtype=np.uint8)
    soft = Image.fromarray(shapes).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grain = random.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32) * GRAIN
    pixels = np.clip(np.asarray(soft, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
    unfinished = path.with_suffix(".part")
    Image.fromarray(pixels).save(unfinished, format="JPEG", quality=QUALITY)
    unfinished.replace(path)
    return path


def make_photos(folder: Path, count: int = COUNT) -> list[Path]:
    """Return the paths of the photos of this folder, having made those that are missing, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = [folder / f"photo-{number:02}.jpg" for number in range(1, count + 1)]
    missing = [photo for photo in photos if not photo.exists()]
    if missing:
        print(f"making {len(missing)} photos of {WIDTH}x{HEIGHT} in {folder} (once)", flush=True)
        procession.map(make_photo, missing)
    return photos


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/make_photos.py FOLDER")
    make_photos(Path(sys.argv[1]))
