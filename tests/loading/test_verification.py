"""A damaged beton is an error when the damage is first read, and an image that was compared is not compared again."""

import os

import numpy as np
import pytest
import torch

from formwork.errors import BetonError
from formwork.loading.ffcv_loader import FFCVDataLoader
from tests.fuzz import betons
from tests.loading.conftest import make_config

PARTS = ("header", "field descriptors", "metadata", "provenance", "samples", "padding", "allocation table")


@pytest.mark.parametrize("verify", ["first", "always"])
@pytest.mark.parametrize("part", PARTS)
def test_any_flipped_bit_is_an_error(part: str, verify: str) -> None:
    rng = np.random.default_rng(PARTS.index(part))
    sound = betons.example("pages")
    for start, stop in sound.regions[part]:
        for place in {start, stop - 1, *rng.integers(start, stop, 4).tolist()}:
            content = bytearray(sound.content)
            content[place] ^= 1 << int(rng.integers(8))
            sound.split.beton.write_bytes(content)
            with pytest.raises(BetonError) as error:
                list(FFCVDataLoader(sound.split, make_config(verify=verify, os_cache=bool(rng.random() < 0.5))))
            if part in ("samples", "padding"):
                sample = np.flatnonzero(sound.beton.offsets <= place)
                sample = int(sample[np.argmax(sound.beton.offsets[sample])])
                assert f"sample {sample}" in str(error.value)
            if part == "samples":
                assert f"({sound.split.manifest.rows[sample].path})" in str(error.value)


@pytest.mark.parametrize("damage", betons.DAMAGES[4:], ids=lambda damage: damage.__name__)
def test_other_damage_is_an_error(damage: betons.Damage) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sound = betons.example(("jpg", "pages")[seed % 2])
        content = damage(rng, sound, bytearray(sound.content), int(rng.integers(len(sound.content))))
        if content != sound.content:
            sound.split.beton.write_bytes(content)
            with pytest.raises(BetonError):
                list(FFCVDataLoader(sound.split, make_config(os_cache=bool(seed % 3))))


@pytest.mark.parametrize("mark", [b"FORMWORK", bytes(8)], ids=["with checksums", "without"])
def test_without_a_comparison_other_images_are_loaded(make_split, mark: bytes) -> None:
    split = make_split()
    content = split.beton.read_bytes().replace(b"FORMWORK", mark)
    split.beton.write_bytes(content)
    verify = "never" if any(mark) else "always"
    before = list(FFCVDataLoader(split, make_config([{"Resize": {}}], verify=verify)))
    loader = FFCVDataLoader(split, make_config([{"Resize": {}}], verify=verify))
    place = int(loader.beton.offsets[40])

    split.beton.write_bytes(content[:place] + bytes([content[place] ^ 128]) + content[place + 1 :])

    after = list(FFCVDataLoader(split, make_config([{"Resize": {}}], verify=verify)))
    same = [torch.equal(a, b) for (a, _), (b, _) in zip(before, after, strict=True)]
    assert same.count(False) == 1


def overwrite_unnoticed(loader: FFCVDataLoader, sample: int) -> None:
    """Change a sample where it is read from, as a disk or memory may that gives other bytes than it was given."""
    place, source = int(loader.beton.offsets[sample]), loader.source
    if source.whole is not None:
        source.whole[place] ^= 128
        return
    (known,) = source.files
    before = known.path.stat()
    with known.path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 128]))
    os.utime(known.path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("os_cache", [True, False])
def test_first_compares_each_image_once_and_always_each_time(make_split, os_cache: bool) -> None:
    for verify in ("first", "always"):
        loader = FFCVDataLoader(make_split(), make_config(verify=verify, os_cache=os_cache))
        list(loader)
        assert loader.source.verification.pending.any() == (verify == "always")

        overwrite_unnoticed(loader, 40)

        if verify == "first":
            list(loader)
            continue
        with pytest.raises(BetonError, match=r"sample 40 .* does not have the checksum that it was written with"):
            list(loader)


@pytest.mark.parametrize(
    ("verify", "mark"), [("first", b"FORMWORK"), ("never", b"FORMWORK"), ("first", bytes(8))],
    ids=["compared", "never compared", "without checksums"],
)  # fmt: skip
def test_all_of_a_jpeg_is_read_where_it_is_not_compared(make_split, verify: str, mark: bytes) -> None:
    split = make_split(write_mode="jpg")
    split.beton.write_bytes(split.beton.read_bytes().replace(b"FORMWORK", mark))
    loader = FFCVDataLoader(split, make_config([{"CenterCrop": {"ratio": 0.4}}], verify=verify))
    before = [images for images, _ in loader]
    sample = int(np.argmax(loader.beton.heights))
    end = int(loader.beton.offsets[sample] + loader.beton.sizes[sample])

    loader.source.whole[end - 42 : end - 2] = 0

    if any(mark) and verify == "first":
        assert all(torch.equal(one, images) for one, (images, _) in zip(before, loader, strict=True))
    else:
        with pytest.raises(BetonError, match=rf"sample {sample} .* its JPEG data is damaged"):
            list(loader)


def test_what_an_epoch_leaves_out_is_compared_when_it_is_first_read(make_split) -> None:
    options = make_config(order="random", drop_last=True)
    loader = FFCVDataLoader(make_split(), options)
    list(loader)
    left = np.flatnonzero(loader.source.verification.pending)
    assert len(left) == 70 % 16

    for sample in left.tolist():
        overwrite_unnoticed(loader, sample)

    with pytest.raises(BetonError, match=rf"sample ({'|'.join(map(str, left))}) .* does not have the checksum"):
        [list(loader) for _ in range(20)]
