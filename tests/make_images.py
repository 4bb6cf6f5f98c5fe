"""Tiny raw datasets for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from formwork.datasets.candidates import find_candidates
from formwork.datasets.manifests import write_split
from formwork.datasets.verify import verify
from formwork.images.manifest import Manifest
from formwork.kernels.resize import scaled

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # what a viewer shows of (H, W, ...) pixels that a file of this orientation holds
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def photo(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Smooth colours, which JPEG compresses well."""
    blocks = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
    return blocks.resize((width, height), Image.Resampling.BICUBIC)


def pillow_resize(image: Image.Image, size: tuple[int, int], box: Sequence[float] | None = None) -> Image.Image:
    """PIL.Image.resize(size, BILINEAR, box) of Pillow 13, whichever version is there."""
    whole = (0, 0, *image.size)
    return scaled(image, np.array(box or whole, np.float32), np.array(whole, np.int32), *size)


def noise(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Random pixels, which nothing compresses."""
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def make_dataset(
    root: Path,
    classes: Sequence[str] = ("cat", "dog"),
    per_class: int = 8,
    size: tuple[int, int] | Sequence[tuple[int, int]] = (12, 10),
    format: str = "PNG",  # noqa: A002  (Pillow's word)
    seed: int = 0,
    content: str = "photo",
) -> Path:
    """Write <root>/<class>/<number>.<format>; the same arguments give the same images.

    Args:
        size: (width, height), or several of them to be taken in turn.
        content: "photo" or "noise".
    """
    rng = np.random.default_rng(seed)
    sizes = [size] if isinstance(size[0], int) else size
    draw = {"photo": photo, "noise": noise}[content]
    for name in classes:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            draw(rng, *sizes[number % len(sizes)]).save(folder / f"{number:03d}.{format.lower()}", format)
    return root


def make_manifest(raw: Path, path: Path) -> Manifest:
    """A manifest of all images of a raw dataset laid out <class>/*."""
    candidates = find_candidates(raw)
    verified = verify(raw, candidates.paths, 1, path.with_name(".verified.sqlite3"))
    return write_split(path, candidates, verified, np.flatnonzero(verified.good))
