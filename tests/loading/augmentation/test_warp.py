"""Rotation, shear, translation and perspective are torchvision's, on photos; both forms give the same pixels."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from formwork.loading.augmentation.affine import RandomAffine, RandomRotation
from formwork.loading.augmentation.base import Draw, PixelOperation
from formwork.loading.augmentation.perspective import RandomPerspective, perspective
from formwork.loading.augmentation.warp import BILINEAR, NEAREST, NO_FILL, affine, as_floats

DIFFERENT = 1e-3
"""Largest share of pixels for which another nearest one is chosen than torchvision does. There is none where it adds up
float32 products without FMA, as on the CPU that this was written on; elsewhere, some of those half-way between two."""

MODES = {NEAREST: InterpolationMode.NEAREST, BILINEAR: InterpolationMode.BILINEAR}
FILLS = [None, 0, [10, 200, 30]]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """(427, 640, 3) uint8."""
    return load_sample_image("china.jpg").copy()  # torch wants arrays that it may write to


def compare(operation: PixelOperation, image: np.ndarray, values: np.ndarray, expected: torch.Tensor, mode: int) -> int:
    """How many pixels differ from torchvision's. Fails where the two forms do, or by more than 1 between pixels."""
    source = torch.from_numpy(image).permute(2, 0, 1)
    plain = operation.function(source, values.tolist()).permute(1, 2, 0).numpy()
    found = image[None].copy()
    operation.kernel(found, values[None])
    assert np.array_equal(found[0], plain)
    difference = np.abs(plain - expected.permute(1, 2, 0).int().numpy())
    assert mode == NEAREST or difference.max() <= 1
    return int(difference.any(axis=2).sum())


def moves(rng: np.random.Generator, size: int) -> list[dict]:
    """Arguments of torchvision's affine: of its AutoAugment and the like, of ties, of extremes, and any."""
    none = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], "center": None}
    level = math.degrees(math.atan(int(rng.integers(-30, 31)) / 100))
    return [
        none,
        none | {"shear": [level, 0.0], "center": [0, 0]},
        none | {"shear": [0.0, level], "center": [0, 0]},
        none | {"translate": [size // 3, -1]},
        *[none | {"angle": float(angle)} for angle in (90, 180, 270, -360, 45)],
        *[none | {"scale": scale} for scale in (0.01, 0.5, 2.0, 100.0)],
        none | {"shear": [89.9, 90.0]},
        *[
            {
                "angle": rng.uniform(-180, 180),
                "translate": rng.integers(-size, size, 2).tolist(),
                "scale": rng.uniform(0.3, 3),
                "shear": rng.uniform(-70, 70, 2).tolist(),
                "center": rng.uniform(-size, 2 * size, 2).tolist(),
            }
            for _ in range(4)
        ],
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 2, 7, 64, 129])
def test_an_affine_move_is_torchvisions(photo: np.ndarray, mode: int, size: int) -> None:
    rng, image = np.random.default_rng(size), photo[100 : 100 + size, 200 : 200 + size]
    source, different, cases = torch.from_numpy(image).permute(2, 0, 1), 0, moves(rng, size)
    for i, move in enumerate(cases):
        fill = FILLS[i % 3]
        x, y = move["translate"]
        across, down = move["shear"]
        coefficients = affine(
            size, angle=move["angle"], scale=move["scale"], center=move["center"],
            translate_x=x, translate_y=y, shear_x=across, shear_y=down,
        )  # fmt: skip
        colour = NO_FILL if fill is None else np.broadcast_to(fill, 3)
        values = np.concatenate([coefficients[0], [mode], colour])
        expected = tv.affine(source, **move, interpolation=MODES[mode], fill=fill)
        different += compare(RandomAffine(0), image, values, expected, mode)
    assert mode == BILINEAR or different <= DIFFERENT * len(cases) * size**2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [2, 7, 64, 129])
def test_a_perspective_is_torchvisions(photo: np.ndarray, mode: int, size: int) -> None:
    rng, image = np.random.default_rng(size), photo[100 : 100 + size, 200 : 200 + size]
    source, different, reach, last = torch.from_numpy(image).permute(2, 0, 1), 0, size // 4 + 1, size - 1
    for i in range(9):
        x, y = rng.integers(0, reach, (2, 4))
        corners = [[x[0], y[0]], [last - x[1], y[1]], [last - x[2], last - y[2]], [x[3], last - y[3]]]
        coefficients, possible = perspective(size, *np.array(corners, float).T[..., None])
        assert possible.all()
        start = [[0, 0], [last, 0], [last, last], [0, last]]
        fill = FILLS[i % 3]
        expected = tv.perspective(source, start, [[int(a), int(b)] for a, b in corners], MODES[mode], fill)
        colour = NO_FILL if fill is None else np.broadcast_to(fill, 3)
        values = np.concatenate([coefficients[0], [mode], colour])
        different += compare(RandomPerspective(), image, values, expected, mode)
    assert mode == BILINEAR or different <= DIFFERENT * 9 * size**2


def draw(count: int) -> Draw:
    return Draw(7, 3, np.arange(count), "test")


def matrices(operation: PixelOperation, size: int) -> np.ndarray:
    """(6, 1000): a to f, what is seen at (x, y) was at (a x + b y + c, d x + e y + f) in pixels from the centre."""
    values = operation.draw(draw(1000), size)[:, :6]
    return as_floats(values.ravel().tolist()).reshape(-1, 6).T * size / 2


def test_a_rotation_turns_counter_clockwise_by_any_angle_of_its_range(photo: np.ndarray) -> None:
    operation, image = RandomRotation([20, 60], "bilinear"), photo[:64, :64]
    a, b, _, d, e, _ = matrices(operation, 64)
    angles = np.degrees(np.arctan2(-b, a))
    assert np.allclose([a, d], [e, -b], atol=1e-6)
    assert (angles.min(), angles.max()) == pytest.approx((20, 60), abs=0.5)
    assert 38 < angles.mean() < 42
    expected = tv.rotate(torch.from_numpy(image).permute(2, 0, 1), float(angles[5]), MODES[BILINEAR], fill=0)
    compare(operation, image, operation.draw(draw(6), 64)[5], expected, BILINEAR)
    assert RandomRotation(30).degrees == (-30, 30)


def test_an_affine_operation_covers_its_ranges_and_moves_by_whole_pixels() -> None:
    a, b, c, d, e, f = matrices(RandomAffine(0, translate=[0.25, 0.1]), 100)
    assert np.allclose([a, b, d, e], [[1], [0], [0], [1]], atol=1e-6)
    assert set(np.round(c, 4)) == set(range(-25, 26))
    assert set(np.round(f, 4)) == set(range(-10, 11))
    a, b, c, d, e, f = matrices(RandomAffine(0, scale=[0.5, 2]), 100)
    assert np.allclose([b, c, d, f], 0, atol=1e-6)
    assert np.array_equal(a, e)
    assert (1 / a.max(), 1 / a.min()) == pytest.approx((0.5, 2), abs=0.02)
    for shear, x, y in ((30, (-30, 30), (0, 0)), ([5, 9], (5, 9), (0, 0)), ([5, 9, -4, 2], (5, 9), (-4, 2))):
        a, b, c, d, e, f = matrices(RandomAffine(0, shear=shear), 100)
        across, down = np.degrees(np.arctan(b / a if shear == 30 else b)), np.degrees(np.arctan(d))
        found = (across.min(), across.max()), (down.min(), down.max())
        assert found[0] == pytest.approx(x, abs=0.5)
        assert found[1] == pytest.approx(y, abs=0.5)


def test_a_perspective_moves_each_corner_by_up_to_its_part_of_the_way_to_the_centre() -> None:
    x, y = RandomPerspective(0.5).corners(draw(1000), 41)
    low, high = set(range(11)), set(range(30, 41))
    assert [set(corner) for corner in x] == [low, high, high, low]
    assert [set(corner) for corner in y] == [low, low, high, high]
    applied = RandomPerspective(0.5, p=0.3).draw(draw(1000), 41)[:, 8]
    assert 250 < np.count_nonzero(applied) < 350
    assert set(applied) == {0, BILINEAR}


def test_where_no_perspective_leads_an_image_stays_as_it_is() -> None:
    image = torch.arange(3, dtype=torch.uint8).view(3, 1, 1)
    values = RandomPerspective(p=1).draw(draw(3), 1)
    assert torch.equal(RandomPerspective().function(image, values[0].tolist()), image)
    corners = np.array([[0, 0], [4, 0], [8, 0], [0, 8]], float).T[..., None]
    assert not perspective(9, *corners)[1]
