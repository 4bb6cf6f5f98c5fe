"""Near duplicates: which copies of photos are found, and how many other images are taken for copies."""

import argparse
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.page import ROOT, publish
from formwork.datasets.near_duplicates import FIELDS, look_alike
from formwork.datasets.verify_file import RECORD, PixelFigures
from formwork.errors import FormworkError
from formwork.images.pixels import EXTENSIONS, read_rgb
from formwork.text import table

TILE = 512, 384
LARGEST = 2048  # pixels of the longer side: larger photos are scaled down to it before they are cut
SMALL = 64, 48


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", type=Path, nargs="+", help="photos, or folders with photos, no two of them alike")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/near-duplicates.md", help="page to write into")
    parser.add_argument("--results", type=Path, default=ROOT / "results/bench", help="folder for the figures as JSON")


def main(arguments: argparse.Namespace) -> None:
    tiles = [tile for path in _files(arguments.photos) for tile in cut(read_rgb(path))]
    if not tiles:
        raise FormworkError(f"No photos of at least {TILE[0]} x {TILE[1]} pixels in {arguments.photos[0]}.")
    large = measure(tiles)
    small = measure([tile.resize(SMALL, Image.Resampling.LANCZOS) for tile in tiles])
    results = {"tiles": len(tiles), "large": large, "small": small}
    publish(
        "near_duplicates",
        "python benchmarks/run.py near_duplicates <photos>",
        body(results),
        results,
        arguments.page,
        arguments.results,
    )


def _files(folders: Sequence[Path]) -> list[Path]:
    named = {extension for kind in ("JPEG", "PNG", "WEBP") for extension in EXTENSIONS[kind]}
    files = (path for given in folders for path in ([given] if given.is_file() else sorted(given.rglob("*"))))
    return [path for path in files if path.suffix.lower() in named]


def cut(photo: Image.Image) -> list[Image.Image]:
    """Parts of a photo that do not overlap, each taken for an image of its own."""
    photo.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    width, height = TILE
    corners = [
        (x, y) for y in range(0, photo.height - height + 1, height) for x in range(0, photo.width - width + 1, width)
    ]
    return [photo.crop((x, y, x + width, y + height)) for x, y in corners]


def measure(tiles: Sequence[Image.Image]) -> dict[str, object]:
    """By transformation, how many tiles were copied, how many copies were found, and how many wrong pairs.

    The copies of every second tile are looked for among all tiles. Tiles that look alike without any copies are counted
    once, and not again for their copies.
    """
    copied = range(0, len(tiles), 2)
    originals = _figures(tiles)
    alike = {tuple(pair) for pair in look_alike(originals).tolist()}
    found: dict[str, object] = {}
    for name, transform in TRANSFORMATIONS.items():
        copies = _figures([transform(tiles[tile]) for tile in copied])
        right, wrong = 0, 0
        for a, b in look_alike(np.concatenate([originals, copies])).tolist():
            if b < len(tiles):
                continue  # of two tiles
            one, other = (image if image < len(tiles) else copied[image - len(tiles)] for image in (a, b))
            right += a == other
            wrong += one != other and (min(one, other), max(one, other)) not in alike
        found[name] = {"copies": len(copied), "found": right, "wrong": wrong}
    return {"alike": len(alike), "transformations": found}


def _figures(images: Sequence[Image.Image]) -> np.ndarray:
    """What verification makes of the images."""
    figures = PixelFigures()
    for image in images:
        figures.add(image)
    result = np.zeros(len(images), RECORD)
    moments, hashes = zip(*figures.finish(), strict=True)
    result["moments"], result["hash"] = moments, hashes
    result["width"], result["height"] = np.array([image.size for image in images]).T
    return result[FIELDS]


def body(results: dict) -> str:
    large, small = (results[size]["transformations"] for size in ("large", "small"))
    rows = []
    for name in TRANSFORMATIONS:
        row = [name]
        for found in (large[name], small[name]):
            precision = found["found"] / max(found["found"] + found["wrong"], 1)
            row += [f"{found['found'] / found['copies']:.0%}", f"{precision:.1%}" if found["found"] else ""]
        rows.append(row)
    header = ["copy", "found", "precision", "found, 64 x 48", "precision, 64 x 48"]
    alike = [results[size]["alike"] for size in ("large", "small")]
    copied = next(iter(large.values()))["copies"]
    return (
        f"{results['tiles']:,} parts of photos, {TILE[0]} x {TILE[1]} pixels each, taken for as many images, and "
        f"copies of {copied:,} of them. Without any copies, {alike[0]} pairs look alike, and {alike[1]} at "
        f"{SMALL[0]} x {SMALL[1]} pixels.\n\n{table(header, rows)}"
    )


# --- Transformations ----------------------------------------------------------------------------

Transform = Callable[[Image.Image], Image.Image]


def _saved(kind: str, **options: int) -> Transform:
    def transform(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, kind, **options)
        return read_rgb(file.getvalue())

    return transform


def _scaled(width: float, height: float) -> Transform:
    return lambda image: image.resize(
        (round(image.width * width), round(image.height * height)), Image.Resampling.BICUBIC
    )


def _cropped(left: float, top: float, right: float, bottom: float) -> Transform:
    def transform(image: Image.Image) -> Image.Image:
        w, h = image.size
        return image.crop((round(w * left), round(h * top), round(w * (1 - right)), round(h * (1 - bottom))))

    return transform


def _noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image) + np.random.default_rng(0).normal(0, 10, (image.height, image.width, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _warmer(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * [1.1, 1, 0.9]).clip(0, 255).astype(np.uint8))


def _marked(image: Image.Image) -> Image.Image:
    marked, (w, h) = image.copy(), image.size
    marked.paste((255, 255, 255), (w * 3 // 4, h * 7 // 8, w - w // 40, h - h // 32))
    return marked


def _turned(image: Image.Image) -> Image.Image:
    return _cropped(0.03, 0.03, 0.03, 0.03)(image.rotate(2, Image.Resampling.BICUBIC))


def _all(*transforms: Transform) -> Transform:
    def transform(image: Image.Image) -> Image.Image:
        for one in transforms:
            image = one(image)
        return image

    return transform


TRANSFORMATIONS: dict[str, Transform] = {
    "saved as JPEG, quality 90": _saved("JPEG", quality=90),
    "saved as JPEG, quality 50": _saved("JPEG", quality=50),
    "saved as JPEG, quality 20": _saved("JPEG", quality=20),
    "saved as WebP, quality 50": _saved("WEBP", quality=50),
    "half the size": _scaled(0.5, 0.5),
    "a quarter of the size": _scaled(0.25, 0.25),
    "one and a half times the size": _scaled(1.5, 1.5),
    "made square": _scaled(0.75, 1),
    "mirrored": ImageOps.mirror,
    "mirrored, half the size, JPEG 50": _all(ImageOps.mirror, _scaled(0.5, 0.5), _saved("JPEG", quality=50)),
    "cropped by 2 % at each side": _cropped(0.02, 0.02, 0.02, 0.02),
    "cropped by 5 % at each side": _cropped(0.05, 0.05, 0.05, 0.05),
    "cropped by 10 % at each side": _cropped(0.1, 0.1, 0.1, 0.1),
    "cropped by 5 % at one side": _cropped(0.05, 0, 0, 0),
    "cropped by 10 % at one side": _cropped(0, 0, 0, 0.1),
    "cropped by 10 % at two sides": _cropped(0.1, 0.1, 0, 0),
    "cropped by 5 %, mirrored, half the size, JPEG 70": _all(
        _cropped(0.05, 0.03, 0.05, 0.06), ImageOps.mirror, _scaled(0.5, 0.5), _saved("JPEG", quality=70)
    ),
    "brighter by 20 %": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker by 20 %": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "30 % less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "half the saturation": lambda image: ImageEnhance.Color(image).enhance(0.5),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "warmer (red + 10 %, blue - 10 %)": _warmer,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "noise, standard deviation 10": _noisy,
    "turned by 2 degrees": _turned,
    "white mark in a corner, 2 % of the area": _marked,
    "cropped by 15 % at each side": _cropped(0.15, 0.15, 0.15, 0.15),
    "cropped by 20 % at one side": _cropped(0.2, 0, 0, 0),
    "black border, 3 % of the width": lambda image: ImageOps.expand(image, round(image.width * 0.03)),
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "upside down": ImageOps.flip,
}
