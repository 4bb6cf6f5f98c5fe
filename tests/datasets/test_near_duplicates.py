"""Near duplicates: which images look alike, and what link does about them."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sklearn.datasets import load_digits, load_sample_images

from formwork.datasets.near_duplicates import FIELDS, clusters, look_alike
from formwork.datasets.near_search import ALL_CROPS, UNCROPPED, VIEWED, VIEWS, find_pairs
from formwork.datasets.perceptual_hash import COEFFICIENTS, HASH_BYTES, PerceptualHashes, decode_hashes
from formwork.datasets.splits import FREE
from formwork.datasets.verify_file import RECORD, PixelFigures
from formwork.errors import DatasetError
from tests.datasets.linking import NAME, report, rows, run_link


def photos() -> list[Image.Image]:
    """Different parts of two photos, of 160 x 120 pixels."""
    whole = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    return [image.crop((x, y, x + 160, y + 120)) for image in whole for y in (0, 120, 240) for x in (0, 160, 320, 480)]


def figures(images: list[Image.Image]) -> np.ndarray:
    found = PixelFigures()
    for image in images:
        found.add(image)
    result = np.zeros(len(images), RECORD)
    for place, (moments, hash_) in enumerate(found.finish()):
        result["moments"][place], result["hash"][place] = moments, np.void(hash_)
        result["width"][place], result["height"][place] = images[place].size
    return result[FIELDS]


def alike(images: list[Image.Image]) -> set[tuple[int, int]]:
    return {(a, b) for a, b in look_alike(figures(images)).tolist()}


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((90, 68), Image.Resampling.BICUBIC),
    "larger": lambda image: image.resize((300, 220), Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((8, 4, 154, 114)),
    "cropped at a side": lambda image: image.crop((12, 0, 160, 120)),
    "cropped and mirrored": lambda image: ImageOps.mirror(image.crop((8, 6, 152, 114))),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "paler": lambda image: ImageEnhance.Color(image).enhance(0.7),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_among_other_images(name: str) -> None:
    images = photos()
    copies = [COPIES[name](image) for image in images]

    found = alike([*images, *copies])

    right = {(a, b) for a, b in found if b - a == len(images)}
    assert found == right
    assert len(right) >= (0.6 if "cropped" in name else 0.85) * len(images)


def test_saved_again_as_jpeg_a_photo_is_a_copy(tmp_path: Path) -> None:
    image = photos()[6]
    image.save(tmp_path / "50.jpg", quality=50)
    image.save(tmp_path / "20.webp", quality=20)
    again = [Image.open(tmp_path / name).convert("RGB") for name in ("50.jpg", "20.webp")]

    assert alike([image, *again, *photos()[:6]]) == {(0, 1), (0, 2), (1, 2)}


def test_plain_images_are_copies_of_none() -> None:
    plain = [Image.new("RGB", (64, 64), (value, value, value)) for value in range(0, 256, 5)]
    gradients = [
        Image.linear_gradient("L").resize((100, 80)).point(lambda v, k=k: v * k // 40).convert("RGB")
        for k in range(20, 40)
    ]

    assert alike(plain + gradients) == set()


def test_handwritten_digits_are_copies_of_none_and_found_when_saved_again(tmp_path: Path) -> None:
    digits = [Image.fromarray((pixels * 15.9).astype(np.uint8)).convert("RGB") for pixels in load_digits().images]
    for side in (8, 28):
        images = [image.resize((side, side), Image.Resampling.BICUBIC) for image in digits]
        images[0].save(tmp_path / "again.jpg", quality=90)

        found = alike([*images, Image.open(tmp_path / "again.jpg")])

        assert found == {(0, len(images))}


def test_images_of_other_colours_are_no_copies() -> None:
    red, blue = (
        Image.merge("RGB", [part if i == at else Image.new("L", part.size) for i in range(3)])
        for at, part in ((0, photos()[3].convert("L")), (2, photos()[3].convert("L")))
    )

    assert alike([red, blue, *photos()[:3]]) == set()


def test_pairs_do_not_depend_on_the_order_of_the_images() -> None:
    images = [*photos(), *map(COPIES["cropped"], photos()), *map(ImageOps.mirror, photos())]
    order = np.random.default_rng(0).permutation(len(images)).tolist()

    shuffled = {tuple(sorted((order[a], order[b]))) for a, b in alike([images[i] for i in order])}

    assert shuffled == alike(images)


def test_a_hash_is_the_same_in_any_company() -> None:
    images = [*photos()[:5], Image.new("RGB", (1, 3000)), Image.new("RGB", (1, 1)), photos()[0].resize((500, 400))]
    together, alone = PerceptualHashes(), PerceptualHashes()
    for image in images:
        together.add(image)
    hashes = together.finish()

    for image, expected in zip(images, hashes, strict=True):
        alone = PerceptualHashes()
        alone.add(image, image.tobytes())
        if max(image.size) <= 160:  # of larger ones the pixels to look at are chosen from all
            assert alone.finish() == [expected]
    assert {len(found) for found in hashes} == {HASH_BYTES}


@pytest.mark.parametrize("size", [(32, 24), (64, 48), (128, 96), (101, 75)])
def test_mirrored_hashes_are_hashes_of_mirrored_images(size: tuple[int, int]) -> None:
    images = [image.resize(size) for image in photos()]
    codes, scales = decode_hashes(figures(images)["hash"])
    mirrored, their_scales = decode_hashes(figures([ImageOps.mirror(image) for image in images])["hash"])
    view = next(i for i, view in enumerate(VIEWS) if view.mirrored)

    assert scales == pytest.approx(their_scales)
    assert np.abs(codes.astype(np.float32) @ VIEWED[view] / 1024 - mirrored).max() < 2


def test_sums_of_views_are_exact() -> None:
    assert max(np.abs(view).sum(axis=0).max() for view in VIEWED) * 127 < 1 << 24
    assert all((view == np.rint(view)).all() for view in VIEWED)


@pytest.mark.parametrize("kind", ["equal", "alike"])
def test_many_images_that_are_alike_cost_no_more_than_others(kind: str) -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(-100, 100, COEFFICIENTS)
    noise = rng.integers(-20, 20, (5_000, COEFFICIENTS)) * (kind == "alike")
    start = time.process_time()

    pairs = find_pairs((one + noise).astype(np.int8), np.full(5_000, UNCROPPED))

    assert len(pairs.first) <= 8 * 5_000
    assert time.process_time() - start < 60  # 0.5 s; each with each would be 25 million pairs


def test_clusters_are_connected_images_with_their_equal_files() -> None:
    found = clusters(np.array([[1, 4], [4, 6], [2, 3]]), [[3, 7]], 9).tolist()

    assert found == [FREE, 1, 2, 2, 1, FREE, 1, 2, FREE]


def test_there_may_be_no_pairs_at_all() -> None:
    for images in (0, 1, 2):
        assert len(find_pairs(np.zeros((images, COEFFICIENTS), np.int8), np.full(images, ALL_CROPS)).first) == 0
        assert alike(photos()[6 : 6 + images]) == set()


# --- link ---------------------------------------------------------------------------------------


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Photos of two classes in train and val; a copy in the same split, one in the other, and one of another class."""
    raw = tmp_path / "raw" / NAME
    images = photos()
    for number, image in enumerate(images):
        place = raw / ("val" if number % 4 == 0 else "train") / "ab"[number % 2 if number % 4 else number // 4 % 2]
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number:02d}.png")
    images[1].save(raw / "train/b/01 again.jpg", quality=70)
    COPIES["cropped"](images[4]).save(raw / "train/b/04 cropped.png")
    ImageOps.mirror(images[7]).save(raw / "train/a/07 mirrored.png")
    return raw


FOUND = {
    "train/b/01.png": ("near duplicate", "train/b/01 again.jpg"),
    "train/b/04 cropped.png": ("near leakage", "val/b/04.png"),
    "train/b/07.png": ("near label conflict", "train/a/07 mirrored.png"),
    "train/a/07 mirrored.png": ("near label conflict", "train/b/07.png"),
}


def near(tmp_path: Path) -> dict[str, tuple[str, str]]:
    with (tmp_path / "report.csv").open(newline="") as file:
        return {found["path"]: (found["kind"], found["duplicate_of"]) for found in csv.DictReader(file)}


def test_near_duplicates_are_reported_and_kept(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_link(tmp_path)

    assert near(tmp_path) == FOUND
    assert "train/b/04 cropped.png ~ val/b/04.png" in capsys.readouterr().out
    assert len(rows(tmp_path, "train") | rows(tmp_path, "val")) == 27

    run_link(tmp_path)  # from the cache
    assert near(tmp_path) == FOUND


def test_near_duplicates_are_left_out_on_demand(raw: Path, tmp_path: Path) -> None:
    run_link(tmp_path, on_near_duplicate="skip")

    left = {path.relative_to(raw).as_posix() for path in raw.rglob("*.*")} - (
        rows(tmp_path, "train") | rows(tmp_path, "val")
    ).keys()
    assert left == set(FOUND)


def test_copies_of_an_image_are_in_one_split_on_demand(tmp_path: Path) -> None:
    for number, image in enumerate(photos()):
        folder = tmp_path / "raw" / NAME / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number:02d}.png")
        ImageOps.mirror(image).save(folder / f"{number:02d} mirrored.jpg", quality=80)

    run_link(tmp_path)
    assert "near leakage" in report(tmp_path).values()

    run_link(tmp_path, on_near_duplicate="same_split")
    assert len(report(tmp_path)) >= 19
    assert set(report(tmp_path).values()) == {"near duplicate"}
    assert 3 <= len(rows(tmp_path, "val")) <= 20


def test_near_duplicates_stop_the_stage_on_demand(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"4 of 27 files .* look like another, and data\.on_near_duplicate is error"):
        run_link(tmp_path, on_near_duplicate="error")

    assert report(tmp_path).keys() == FOUND.keys()
