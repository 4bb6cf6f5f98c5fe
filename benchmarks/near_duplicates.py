"""Near duplicates: which copies of photos are found, how many other images are taken for copies, and what it costs."""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from itertools import product
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.page import ROOT, publish
from formwork.datasets.link import link
from formwork.datasets.near_duplicates import FIELDS, look_alike
from formwork.datasets.perceptual_hash import PerceptualHashes
from formwork.datasets.verify import CHUNK_FILES
from formwork.datasets.verify_file import BATCH, RECORD, PixelFigures, verify_files
from formwork.errors import FormworkError
from formwork.images.pixels import EXTENSIONS, read_rgb
from formwork.params import Params
from formwork.text import table

TILE = 512, 384
LARGEST = 2048  # pixels of the longer side: larger photos are scaled down to it before they are cut
SMALL = 64, 48
COST = [(TILE, "JPEG", 1), ((128, 96), "JPEG", 4), ((32, 32), "PNG", 4)]
"""Size and format of the images whose cost is measured, and into how many parts along a side a tile is cut for them."""
ROUNDS = 3
WARM = 16  # images hashed again and again: as in verification, their pixels are in the cache


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
    results = {"tiles": len(tiles), "large": large, "small": small, "cost": [cost(tiles, *kind) for kind in COST]}
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


def cost(tiles: Sequence[Image.Image], size: tuple[int, int], kind: str, parts: int) -> dict[str, object]:
    """CPU time of near duplicates and of all of link, in seconds an image: the least of ROUNDS."""
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "raw" / "photos"
        width, height = TILE[0] // parts, TILE[1] // parts
        for number, tile in enumerate(tiles):
            place = raw / f"{number % 10}"
            place.mkdir(parents=True, exist_ok=True)
            for part, (x, y) in enumerate(product(range(parts), repeat=2)):
                image = tile.crop((x * width, y * height, (x + 1) * width, (y + 1) * height)).resize(size)
                image.save(place / f"{number}-{part}.{kind.lower()}", quality=85)
        paths = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.*"))
        params = Params.model_validate({"data": {"name": "photos", "fetch": [], "num_workers": 0}})
        verified = np.array(verify_files(str(raw), paths), RECORD)
        images = [(image := read_rgb(raw / path), image.tobytes()) for path in paths[:WARM]] * (CHUNK_FILES // WARM)
        interim = Path(folder) / "interim"

        def hash_all() -> None:
            hashes = PerceptualHashes()
            for image, data in images:
                hashes.add(image, data if len(data) <= 3 * BATCH else None)
            hashes.finish()

        def link_all() -> None:
            rmtree(interim, ignore_errors=True)
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                link(params, raw, interim / "photos", Path(folder) / "findings.csv")

        rounds = [
            (_seconds(hash_all) / len(images), _seconds(lambda: look_alike(verified)), _seconds(link_all))
            for _ in range(ROUNDS)
        ]
        hashing, search, whole = np.array(rounds).min(axis=0)
        return {
            "size": size,
            "format": kind,
            "images": len(paths),
            "bytes": int(verified["size"].mean()),
            "hash": hashing,
            "search": search / len(paths),
            "link": whole / len(paths),
        }


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _cost_row(of: dict) -> list[str]:
    near = of["hash"] + of["search"]
    times = [f"{seconds * 1e6:,.0f} us" for seconds in (of["hash"], of["search"], of["link"])]
    share = f"{near / (of['link'] - near):.1%}"
    return [f"{of['size'][0]} x {of['size'][1]} {of['format']}", f"{of['images']:,}", *times, share]


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
        f"{SMALL[0]} x {SMALL[1]} pixels.\n\n{table(header, rows)}\n\n"
        "CPU time an image, of the same photos in smaller parts, without workers:\n\n"
        + table(
            ["images", "number", "hash", "search", "all of link", "share of the rest"], map(_cost_row, results["cost"])
        )
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
