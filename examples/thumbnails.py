"""Thumbnails of photos: the job of `make demo`.

From the command line, on all cores:

    procession map examples/thumbnails.py:thumbnail photos/*.jpg

From Python:

    import procession
    from thumbnails import thumbnail

    procession.map(thumbnail, photos, progress=True)
"""

import os
from pathlib import Path

from PIL import Image, ImageOps

SIZE = (1200, 900)
QUALITY = 85


def thumbnail(photo: str) -> str:
    """Write a small copy of a photo and return its path.

    It goes into the folder that the environment variable THUMBNAILS names, else into `thumbnails/` next to the folder
    of the photo. A thumbnail under its final name is whole, whenever this is interrupted.
    """
    source = Path(photo)
    folder = Path(os.environ.get("THUMBNAILS") or source.absolute().parent.parent / "thumbnails")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}.jpg"
    with Image.open(source) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    small = ImageOps.contain(upright, SIZE, Image.Resampling.LANCZOS)
    unfinished = target.with_suffix(".part")
    small.save(unfinished, format="JPEG", quality=QUALITY)
    unfinished.replace(target)
    return str(target)
