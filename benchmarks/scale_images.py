"""Any number of small JPEGs, no two alike, in class folders or in a tar for each class."""

import io
import os
import tarfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from formwork.system import cores

CLASSES = 1000
SIDE = 40  # pixels
OLD = 1_000_000_000  # s since 1970, when the files were made, to their readers: `link` remembers none made just now
CHANGED = 100  # one image of so many

Image = tuple[str, bytes]
"""File name and content."""


def make_images(raw: Path, images: int, tars: bool) -> None:
    """Write so many images into `raw`: <class>/<number>.jpg, or <class>.tar with <number>.jpg."""
    raw.mkdir(parents=True)
    with ProcessPoolExecutor(cores()) as pool:
        for _ in pool.map(partial(_make_class, raw, images, tars), range(CLASSES), chunksize=10):
            pass


def replace_images(raw: Path, images: int, tars: bool) -> None:
    """Give 1 % of the images another content: each hundredth of a class, or all of each hundredth tar."""
    for label in range(0, CLASSES, CHANGED if tars else 1):
        of_class = count(images, label)
        numbers = range(0, of_class, 1 if tars else CHANGED)
        write_class(raw, label, drawn(numbers, np.random.default_rng([1, label])), tars, OLD + 1)


def count(images: int, label: int) -> int:
    """How many of the images are of a class."""
    return images // CLASSES + (label < images % CLASSES)


def _make_class(raw: Path, images: int, tars: bool, label: int) -> None:
    write_class(raw, label, drawn(range(count(images, label)), np.random.default_rng([0, label])), tars)


def drawn(numbers: Iterable[int], rng: np.random.Generator) -> Iterable[Image]:
    """Smooth colours with some noise, different at sight: `link` looks for copies."""
    noise = rng.integers(-12, 13, (SIDE, SIDE, 3), dtype=np.int16)
    for number in numbers:
        few = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        pixels = (cv2.resize(few, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) + noise).clip(0, 255).astype(np.uint8)
        yield f"{number:06d}.jpg", simplejpeg.encode_jpeg(pixels, quality=85, colorsubsampling="420")


def write_class(raw: Path, label: int, images: Iterable[Image], tars: bool, made: int = OLD) -> None:
    """Write the images of a class; others of its folder stay. `made`: when, which DVC and `link` tell changes by."""
    name = f"n{label:08d}"  # as those of ImageNet
    if tars:
        with tarfile.open(raw / f"{name}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for file, content in images:
                member = tarfile.TarInfo(file)
                member.size, member.mtime = len(content), made
                tar.addfile(member, io.BytesIO(content))
        os.utime(raw / f"{name}.tar", (made, made))
        return
    (raw / name).mkdir(exist_ok=True)
    for file, content in images:
        path = raw / name / file
        path.write_bytes(content)
        os.utime(path, (made, made))
