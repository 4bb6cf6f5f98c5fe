"""Damaged betons, loaded from the first to the last sample.

A loader that compares samples with their checksums must give an error, or the very images that were written. One that
does not, as of betons of FFCV's own writer, may give other images, and must neither crash nor hang: there the kernels
read the file from memory between pages that must not be touched.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from formwork.beton import format as layout
from formwork.beton.beton import Beton
from formwork.beton.read import open_beton
from formwork.conversion import beton_file
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import write_manifest
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.params import BetonParams
from tests.fuzz.guard import Guards
from tests.make_images import make_dataset, make_manifest

GUARDS = Guards()
UNVERIFIED = 0.2  # of the cases
SIDE = 24
KINDS = {
    "jpg": (BetonParams(write_mode="jpg"), 6, [(60, 40), (33, 50)], layout.MIN_PAGE_SIZE),
    "marked": (BetonParams(write_mode="jpg", restart_markers="all"), 2, [(170, 120)], layout.MIN_PAGE_SIZE),
    "raw": (BetonParams(write_mode="raw"), 6, [(20, 10), (9, 7)], layout.MIN_PAGE_SIZE),
    "mixed": (BetonParams(write_mode="proportion"), 9, [(30, 30), (1, 1), (70, 3)], layout.MIN_PAGE_SIZE),
    "pages": (BetonParams(write_mode="raw"), 2, [(900, 400), (30, 20)], layout.MIN_PAGE_SIZE),
    "part": (BetonParams(write_mode="raw", part_mb=0.003), 6, [(20, 10), (9, 7)], layout.MIN_PAGE_SIZE),
}
"""Params, images of each of two classes, their sizes in turn, and bytes of a page."""


class Sound(NamedTuple):
    """A beton as it was written. regions: (start, stop) of each of its parts, in bytes. images: what is loaded."""

    split: SplitFiles
    content: bytes
    beton: Beton
    regions: dict[str, list[tuple[int, int]]]
    images: torch.Tensor


def case(seed: int) -> str:
    """See tests.fuzz.runner.Target."""
    rng = np.random.default_rng(seed)
    sound = example(str(rng.choice(list(KINDS))))
    content = damaged(rng, sound)
    if content == sound.content:
        return "not changed"
    if rng.random() < UNVERIFIED:
        return f"without checksums: {_loaded(sound, _unmarked(content, rng), _config(rng, 'never'), guarded=True)[0]}"
    outcome, error = _loaded(sound, content, _config(rng, str(rng.choice(["first", "always"]))), guarded=False)
    if outcome == "other images":
        raise AssertionError("other images are loaded without a word")
    touched = _only_sample_touched(sound, content)
    if touched is not None and f"sample {touched} (" not in error:
        raise AssertionError(f"sample {touched} is damaged, and the message is {error!r}")
    return f"with checksums: {outcome}"


def warm_up() -> None:
    for kind in KINDS:
        example(kind)


@cache
def example(kind: str) -> Sound:
    folder = Path(tempfile.mkdtemp(prefix="formwork-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    params, per_class, sizes, page_size = KINDS[kind]
    raw = make_dataset(folder / "raw", per_class=per_class, size=sizes)
    split = SplitFiles("train", make_manifest(raw, folder / "train.csv"), folder / "train.beton", raw)
    with patch.object(beton_file, "PAGE_SIZE", page_size):
        write_beton(split.manifest, raw, split.beton, params, 1)
    if split.beton.is_dir():
        split = _one_part(split)
    beton, content = open_beton(split.beton).of_manifest(split.manifest), split.beton.read_bytes()
    images = torch.cat([images for images, _ in FFCVDataLoader(split, _config(np.random.default_rng(0), "always"))])
    return Sound(split, content, beton, _regions(beton, content), images)


def _one_part(split: SplitFiles) -> SplitFiles:
    """One of the parts of a beton, with the images that it holds."""
    part = sorted(split.beton.glob("*.beton"))[0]
    held = {key.tobytes().hex() for key in open_beton(part).keys}
    rows = [row for row in split.manifest.rows if row.sha256 in held]
    return SplitFiles("train", write_manifest(split.manifest.path, rows), part, split.raw)


def _regions(beton: Beton, content: bytes) -> dict[str, list[tuple[int, int]]]:
    assert beton.provenance is not None
    header, fields = layout.HEADER.itemsize, layout.HEADER.itemsize + 2 * layout.FIELD.itemsize
    metadata = fields + len(beton) * layout.METADATA.itemsize
    ends = (beton.offsets + beton.sizes).tolist()
    gaps = zip(ends, (beton.offsets + beton.sizes + beton.padding).tolist(), strict=True)
    return {
        "header": [(0, header)],
        "field descriptors": [(header, fields)],
        "metadata": [(fields, metadata)],
        "provenance": [(metadata, beton.provenance.end)],
        "samples": list(zip(beton.offsets.tolist(), ends, strict=True)),
        "padding": [(start, stop) for start, stop in gaps if start < stop] or [(0, header)],
        "allocation table": [(max(ends), len(content))],
    }


def damaged(rng: np.random.Generator, sound: Sound) -> bytes:
    """The bytes of a beton with one thing wrong, in a part that is chosen first: small ones are hit as often."""
    content = bytearray(sound.content)
    parts = sound.regions[str(rng.choice(list(sound.regions)))]
    start, stop = parts[rng.integers(len(parts))]
    return bytes(DAMAGES[rng.integers(len(DAMAGES))](rng, sound, content, int(rng.integers(start, stop))))


def _flip(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    content[place] ^= 1 << int(rng.integers(8))
    return content


def _flip_some(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    for _ in range(rng.integers(2, 9)):
        _flip(rng, sound, content, min(place + int(rng.integers(64)), len(content) - 1))
    return content


def _set(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    """Zeros, ones or noise over some bytes, or over a block of a disk."""
    size, value = int(2 ** rng.integers(14)), int(rng.choice([0, 255, -1]))
    if rng.random() < 0.5:
        size, place = 4096, place // 4096 * 4096
    size = min(size, len(content) - place)
    content[place : place + size] = rng.bytes(size) if value < 0 else bytes([value]) * size
    return content


def _cut(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    return content[:place]


def _remove(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    del content[place : place + int(2 ** rng.integers(14))]
    return content


def _insert(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    size = int(2 ** rng.integers(14))
    content[place:place] = bytes(size) if rng.random() < 0.5 else content[place : place + size]
    return content


def _append(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    size = int(rng.integers(1, 100))
    return content + (bytes(size) if rng.random() < 0.5 else content[-24:] * size)


def _splice(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    """The rest, or some bytes, of another beton."""
    other = example(str(rng.choice(list(KINDS)))).content
    stop = len(other) if rng.random() < 0.3 else place + int(2 ** rng.integers(14))
    content[place:stop] = other[place:stop]
    return content


def _exchange_samples(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    """The data of two samples, as far as the shorter one goes."""
    beton = sound.beton
    one, other = rng.choice(len(beton), 2, replace=False).tolist()
    size = int(min(beton.sizes[one], beton.sizes[other]))
    first, second = int(beton.offsets[one]), int(beton.offsets[other])
    content[first : first + size], content[second : second + size] = (
        content[second : second + size],
        content[first : first + size],
    )
    return content


def _exchange_blocks(rng: np.random.Generator, sound: Sound, content: bytearray, place: int) -> bytearray:
    """Two blocks of a disk."""
    blocks = len(content) // 4096
    first, second = 4096 * rng.integers(max(blocks, 1), size=2)
    one, other = content[first : first + 4096], content[second : second + 4096]
    if len(one) == len(other):
        content[first : first + 4096], content[second : second + 4096] = other, one
    return content


Damage = Callable[[np.random.Generator, Sound, bytearray, int], bytearray]
DAMAGES: list[Damage] = [
    *[_flip] * 4,
    _flip_some,
    _set,
    _cut,
    _remove,
    _insert,
    _append,
    _splice,
    _exchange_samples,
    _exchange_blocks,
]


def _unmarked(content: bytes, rng: np.random.Generator) -> bytes:
    """In half of all cases as FFCV's own writer would have it: then the tables have no digest either."""
    return content.replace(b"FORMWORK", bytes(8)) if rng.random() < 0.5 else content


def _config(rng: np.random.Generator, verify: str) -> LoaderConfig:
    return LoaderConfig(
        augmentation=Augmentation([{"Resize": {}}], SIDE, seed=0),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        batch_size=5,
        dtype="uint8",
        os_cache=bool(rng.random() < 0.5),
        verify=verify,
    )


def _loaded(sound: Sound, content: bytes, config: LoaderConfig, guarded: bool) -> tuple[str, str]:
    """What becomes of damaged content: an outcome in words, and the message of the error.

    Args:
        guarded: let the kernels read the file from guarded memory.
    """
    sound.split.beton.write_bytes(content)
    try:
        loader = FFCVDataLoader(sound.split, config)
    except BetonError as error:
        return "refused when it is opened", _advice(sound, error)
    if guarded:
        loader.source.held, loader.source.whole = True, GUARDS.copy("beton", np.frombuffer(content, np.uint8), False)
    try:
        images = torch.cat([images for images, _ in loader])
    except BetonError as error:
        return "refused at the first read", _advice(sound, error)
    return ("the same images" if torch.equal(images, sound.images) else "other images"), ""


def _advice(sound: Sound, error: BetonError) -> str:
    message = str(error)
    if str(sound.split.beton) not in message or not ("Run `" in message or "Write it with" in message):
        raise AssertionError(f"this message names no file, or nothing to do: {message}")
    return message


def _only_sample_touched(sound: Sound, content: bytes) -> int | None:
    """The sample that all changes lie in; None where there is none such."""
    if len(content) != len(sound.content):
        return None
    changed = np.flatnonzero(np.frombuffer(content, np.uint8) != np.frombuffer(sound.content, np.uint8))
    ends = sound.beton.offsets + sound.beton.sizes
    around = np.flatnonzero((sound.beton.offsets <= changed[0]) & (changed[-1] < ends))
    return int(around[0]) if len(around) else None
