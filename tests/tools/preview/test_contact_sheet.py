"""Contact sheets show as many images of one class as of any other, and no more than fit."""

import numpy as np
import pytest

from formwork.drawing.image_grid import COLUMNS
from formwork.tools.preview.contact_sheet import ROWS, SIDE, class_rows, spread


def sheet(classes: int, each: int):
    return class_rows(
        {f"class {label}": np.arange(each) + each * label for label in range(classes)},
        lambda sample: np.full((400, 300, 3), sample % 256, np.uint8),
        str,
    )


@pytest.mark.parametrize(("classes", "rows"), [(1, ROWS), (2, ROWS // 2), (5, ROWS // 5), (ROWS, 1), (ROWS + 5, 1)])
def test_classes_share_the_rows_equally(classes, rows):
    found = sheet(classes, each=1000)
    assert len(found) == classes * rows
    assert [row.heading for row in found[::rows]] == [f"class {label}" for label in range(classes)]
    assert all(len(row.images) == COLUMNS for row in found)
    captions = [int(caption) for row in found for caption in row.captions]
    assert captions == sorted(set(captions))
    assert captions[0] < 1000 / COLUMNS  # from all over the class
    assert captions[rows * COLUMNS - 1] > 1000 * (1 - 2 / COLUMNS)
    assert found[0].images[1].shape == (SIDE, SIDE * 3 // 4, 3)


def test_a_class_of_few_or_no_images():
    found = class_rows(
        {"none": np.array([], int), "two": np.array([3, 7])}, lambda s: np.zeros((2, 2, 3), np.uint8), str
    )
    assert [(row.heading, list(row.captions)) for row in found] == [("none", []), ("two", ["3", "7"])]


def test_a_damaged_image_is_said():
    (row,) = class_rows({"one": np.array([4])}, lambda sample: None, lambda sample: f"sample {sample}")
    assert list(row.captions) == ["sample 4\ndamaged"]


def test_values_at_equal_distances():
    assert spread(np.arange(10), 20).tolist() == list(range(10))
    assert spread(np.arange(10), 5).tolist() == [0, 2, 4, 6, 8]
