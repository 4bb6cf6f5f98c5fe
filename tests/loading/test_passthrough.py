"""JPEG sources that a beton holds as they are, up to the end of the picture, give the same batches as the files."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from formwork.beton.format import JPG
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.errors import BetonError
from formwork.images.manifest import read_manifest
from formwork.kernels import libjpeg
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.params import BetonParams, Params
from tests.loading.conftest import make_config

SAMPLING = {name: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in ("444", "422", "420", "440", "411")}


def encoded(image: np.ndarray, *options: int) -> bytes:
    """A JPEG file of (H, W, 3) uint8."""
    return cv2.imencode(".jpg", image, options)[1].tobytes()


def several(image: np.ndarray) -> bytes:
    """A JPEG file that holds a second, smaller picture, as some cameras write (MPO)."""
    buffer = io.BytesIO()
    first, second = Image.fromarray(image), Image.fromarray(image[::2, ::2])
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    return buffer.getvalue()


def before_the_end(image: np.ndarray) -> bytes:
    """With needless bytes before the end-of-image marker: libjpeg warns of them."""
    return encoded(image)[:-2] + b"needless" + b"\xff\xd9"


def between_segments(image: np.ndarray) -> bytes:
    """With needless bytes before a table: libjpeg warns of them, too."""
    content = encoded(image)
    position = content.index(b"\xff\xc4")
    return content[:position] + b"needless" + content[position:]


SOURCES: dict[str, Callable[[np.ndarray], bytes]] = {
    **{name: lambda image, factor=factor: encoded(image, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor)
       for name, factor in SAMPLING.items()},
    "progressive": lambda image: encoded(image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restart markers": lambda image: encoded(image, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "several pictures": several,
    "bytes after the end": lambda image: encoded(image) + b"needless" * 100,
    "bytes before the end": before_the_end,
    "bytes between segments": between_segments,
}  # fmt: skip
APPENDED = ("several pictures", "bytes after the end")
WARNED = ("bytes before the end", "bytes between segments")


def make_split(folder: Path, source: Callable[[np.ndarray], bytes]) -> SplitFiles:
    """12 images, linked and converted as they are."""
    rng = np.random.default_rng(0)
    raw = folder / "raw/mine"
    for number in range(24):
        height, width = rng.integers(17, 70, size=2)
        image = cv2.resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), (int(width), int(height)))
        path = raw / ("train" if number < 12 else "val") / f"class {number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source(image))
    link(Params.model_validate({"data": {"name": "mine"}}), raw, folder / "interim/mine", folder / "bad.csv")
    manifest = read_manifest(folder / "interim/mine/train.csv")
    summary = write_beton(manifest, raw, folder / "train.beton", BetonParams(write_mode="jpg"), 2)
    assert summary.passed_through == len(manifest) == 12
    return SplitFiles("train", manifest, folder / "train.beton", raw)


def stored(split: SplitFiles) -> dict[str, bytes]:
    beton = open_beton(split.beton)
    content = split.beton.read_bytes()
    assert (beton.modes == JPG).all()
    starts, ends = beton.offsets.tolist(), (beton.offsets + beton.sizes).tolist()
    return {row.path: content[starts[i] : ends[i]] for i, row in enumerate(split.manifest.rows)}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_file_is_stored_as_it_is_and_both_loaders_give_its_pixels(tmp_path: Path, kind: str) -> None:
    split = make_split(tmp_path, SOURCES[kind])
    files = stored(split)
    for path, content in files.items():
        source = (split.raw / path).read_bytes()
        assert source.startswith(content)
        assert content.endswith(b"\xff\xd9")
        assert (len(content) < len(source)) == (kind in APPENDED)
    for row in split.manifest.rows:  # whether the case is what it says it is
        complains = libjpeg.decode(files[row.path], row.width, row.height) is None
        assert complains == (kind in WARNED)

    for os_cache in (True, False):
        options = make_config(batch_size=5, os_cache=os_cache, num_workers=1)
        ours, theirs = (list(loader(split, options)) for loader in (FFCVDataLoader, PyTorchDataLoader))
        assert len(ours) == len(theirs) == 3
        assert all(
            torch.equal(a, b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)
        )


@pytest.mark.parametrize("kind", WARNED)
def test_a_warning_is_an_error_where_the_bytes_are_not_those_that_were_written(tmp_path: Path, kind: str) -> None:
    split = make_split(tmp_path, SOURCES[kind])
    beton, content = open_beton(split.beton), bytearray(split.beton.read_bytes())
    position = content.index(b"needless", int(beton.offsets[7]))
    content[position] ^= 1
    split.beton.write_bytes(content)

    for verify, fault in [("never", "its JPEG data is damaged"), ("first", "it does not have the checksum")]:
        with pytest.raises(BetonError, match=rf"sample 7 \(.*\) cannot be used: {fault}"):
            list(FFCVDataLoader(split, make_config(verify=verify)))
