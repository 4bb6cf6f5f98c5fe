"""The photo workload: its statistics, and the same files each time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.params import Sources
from formwork.sources.fetch import fetch
from formwork.sources.synthetic import photo, write_photos
from tests import limits


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.jpg"))}


def test_sizes_in_pixels_and_bytes_are_those_of_the_workload(tmp_path: Path) -> None:
    write_photos(tmp_path, 60, classes=7, seed=0, workers=2)
    paths = sorted(tmp_path.rglob("*.jpg"))
    sizes = []
    for path in paths:
        with Image.open(path) as image:
            sizes.append(image.size)

    assert set(sizes) == {(500, 375), (375, 500)}
    assert 0.6 < sizes.count((500, 375)) / len(sizes) < 0.9
    assert np.mean([path.stat().st_size for path in paths]) == pytest.approx(117_000, rel=0.05)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"class{label}" for label in range(7)]


def test_files_are_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 3):
        write_photos(tmp_path / str(workers), 9, classes=2, seed=3, workers=workers)

    assert len(content(tmp_path / "1")) == 9
    assert content(tmp_path / "1") == content(tmp_path / "3")


def test_every_image_differs_by_index_label_and_seed() -> None:
    images = {photo(*key).tobytes() for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]}
    assert len(images) == 4


def statistics(image: np.ndarray) -> np.ndarray:
    """What a crop or a flip keeps: correlations of the channels, and horizontal over vertical roughness."""
    values = image.astype(np.float64)
    rough = [np.log(np.abs(np.diff(values.mean(2), axis=axis)).mean()) for axis in (0, 1)]
    return np.array([*np.corrcoef(values.reshape(-1, 3).T)[np.triu_indices(3, 1)], rough[0] - rough[1]])


def test_classes_can_be_told_apart_in_flipped_crops() -> None:
    """By the nearest class mean: well above chance, which is 0.2."""
    classes, train, val = range(5), range(12), range(12, 20)
    known = np.array([[statistics(photo(i, c, 0)) for i in train] for c in classes])
    centres, spread = known.mean(1), known.std((0, 1))
    crops = [(c, photo(i, c, 0)[100:300, 300:60:-1]) for c in classes for i in val]
    hits = [np.argmin((((centres - statistics(crop)) / spread) ** 2).sum(1)) == c for c, crop in crops]

    assert np.mean(hits) > 0.6


def test_other_options_make_the_dataset_again(tmp_path: Path) -> None:
    target = tmp_path / "synthetic"
    for images in (4, 6, 6):
        fetch("synthetic", target, Sources.model_validate({"synthetic": {"images": images, "classes": 2}}))
        assert len(content(target)) == images
    assert list(tmp_path.iterdir()) == [target]


def test_a_photo_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    """Pillow itself says nothing where the disk is full."""
    with limits.file_size(20_000), pytest.raises(OSError, match="File too large"):
        write_photos(tmp_path, images=2, classes=1, seed=0, workers=1)
