"""Images moved by a matrix or a perspective: what rotation, shear, translation and their like have in common.

For an operation that has such a step among others:

    draw      `affine(S, angle=..., shear_x=...)` gives (B, 6) int64, columns of its values. They hold floating-point
              numbers by their bits, so they are handed on as they are.
    kernel    `scratch = new_scratch(S)` once, then for each image
              `warp(images[i], scratch, values[i, a : a + 6], interpolation, fill)`, which changes it in place.
    function  `warped(image, values[a : a + 6], interpolation, fill)` gives the same pixels as a new tensor.

interpolation is NEAREST or BILINEAR, in both forms; fill three numbers, or NO_FILL.

Definitions are torchvision's, of `affine`, `rotate` and `perspective` of its transforms.v2.functional for tensors of
uint8. A pixel's place in the source is calculated in float32, in the very steps that torchvision takes: where a place
lies half-way between two pixels, rounding errors decide which is the nearest, and here they are the same. Each step is
rounded by itself, as IEEE 754 has it, but for that of `to_pixels`; no compiler may put two together, so that both forms
agree. Colours are calculated in whole numbers.
"""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel

NEAREST, BILINEAR = 1, 2
NO_FILL = -1, -1, -1
"""torchvision's `fill: null`: black outside. BILINEAR fades to it once at the edge, and twice with `fill: 0`."""

WEIGHT_BITS = 13  # of the share of each of four pixels: 255 << 13 and a half still fit into the 21 bits of a channel
WHOLE, HALF = 1 << WEIGHT_BITS, 1 << (WEIGHT_BITS - 1)
GREEN, BLUE = 21, 42  # where these channels start in the 64 bits of a pixel; red starts at 0
HALVES = HALF | HALF << GREEN | HALF << BLUE
BORDER = 3  # pixels added to each side: one before it and two behind it, where pixels outside the image are looked for


def affine(
    size: int,
    *,
    angle: np.ndarray | float = 0.0,
    translate_x: np.ndarray | float = 0.0,
    translate_y: np.ndarray | float = 0.0,
    scale: np.ndarray | float = 1.0,
    shear_x: np.ndarray | float = 0.0,
    shear_y: np.ndarray | float = 0.0,
    center: tuple[float, float] | None = None,
) -> np.ndarray:
    """What `warp` and `warped` take, of torchvision's `affine`; `rotate` by an angle is `affine` by -angle.

    Args:
        size: S, side of the images in pixels.
        angle, shear_x, shear_y: degrees, clockwise. translate_x, translate_y: pixels. Numbers, or (B,) arrays.
        center: what rotation and shear leave where it is, (x, y) in pixels from the top left corner of the image; None
            for its centre.

    Returns:
        (B, 6) int64; B is 1 where only numbers were given.
    """
    rotation, sx, sy = np.radians(angle), np.radians(shear_x), np.radians(shear_y)
    cx, cy = (0.0, 0.0) if center is None else (center[0] - size * 0.5, center[1] - size * 0.5)
    a = np.cos(rotation - sy) / np.cos(sy)
    b = -(a * np.tan(sx) + np.sin(rotation))
    c = np.sin(rotation - sy) / np.cos(sy)
    d = np.cos(rotation) - c * np.tan(sx)
    # The inverse: where in the source a pixel comes from.
    rows = [d / scale, -b / scale, 0.0, -c / scale, a / scale, 0.0]
    rows[2] = cx - rows[0] * (cx + translate_x) - rows[1] * (cy + translate_y)
    rows[5] = cy - rows[3] * (cx + translate_x) - rows[4] * (cy + translate_y)
    matrix = np.stack(np.broadcast_arrays(*map(np.atleast_1d, rows)), axis=1)
    with np.errstate(over="ignore"):  # of shears by 90 degrees: everything is outside the image then
        return as_bits(matrix.astype(np.float32) / np.float32(0.5 * size))


def as_bits(numbers: np.ndarray) -> np.ndarray:
    """Floating-point numbers as int64 that have their bits as float64."""
    return np.ascontiguousarray(numbers, np.float64).view(np.int64)


@inner_kernel
def new_scratch(size):
    """Memory for warping images of size x size pixels, one after the other: pixels with a border; and of a row, places
    in the image, places in memory and weights."""
    side = size + BORDER
    return np.empty(side * side, np.uint64), np.empty((2, size), np.float32), np.empty((4, size), np.int32)


def to_pixels(place, half):
    """float32 pixels, of places in half sides from the edge, float32: place * half - 0.5, rounded once, as by the fused
    instruction of CPUs that PyTorch takes."""
    return np.float32(np.float64(place) * np.float64(half) - 0.5)


in_pixels = inner_kernel(to_pixels)


@inner_kernel
def warp(image, scratch, coefficients, interpolation, fill):
    """Move an image (S, S, 3) uint8, in place.

    Args:
        scratch: of new_scratch(S). coefficients: (6,) int64, of `affine`.
        interpolation: NEAREST or BILINEAR. fill: (3,) int64.
    """
    size = image.shape[0]
    pixels, place, _ = scratch
    pack(image, pixels, interpolation, fill)
    m = coefficients.view(np.float64)
    a, b, c = np.float32(m[0]), np.float32(m[1]), np.float32(m[2])
    d, e, f = np.float32(m[3]), np.float32(m[4]), np.float32(m[5])
    half, one, start = np.float32(size * 0.5), np.float32(1), np.float32((1 - size) * 0.5)
    for row in range(size):
        y = np.float32(start + np.float32(row))
        by, ey = np.float32(b * y), np.float32(e * y)
        for column in range(np.uint64(size)):
            x = np.float32(start + np.float32(column))
            place[0, column] = in_pixels((x * a + by) + c + one, half)
            place[1, column] = in_pixels((x * d + ey) + f + one, half)
        sample(scratch, size, interpolation, fill, image[row])


@inner_kernel
def pack(image, pixels, interpolation, fill):
    """Pixels of three bytes to those of 64 bits, with a border: of the colour `fill` to choose the nearest from, and of
    black to add up."""
    size, side = image.shape[0], image.shape[0] + BORDER
    border = np.uint64(0)
    if interpolation == NEAREST and fill[0] >= 0:
        border = np.uint64(fill[0] | fill[1] << GREEN | fill[2] << BLUE)
    for i in range(side):
        pixels[i] = border
    for y in range(size):
        start = (y + 1) * side
        pixels[start] = pixels[start + size + 1] = pixels[start + size + 2] = border
        line = image[y]
        target = pixels[start + 1 : start + 1 + size]
        for x in range(np.uint64(size)):
            target[x] = (
                np.uint64(line[x, 0])
                | (np.uint64(line[x, 1]) << np.uint64(GREEN))
                | (np.uint64(line[x, 2]) << np.uint64(BLUE))
            )
    for i in range((size + 1) * side, side * side):
        pixels[i] = border


@inner_kernel
def _limited(place, size):
    """A coordinate, cut to the border of an image; any that is no number is outside."""
    place = place if place > np.float32(-1) else np.float32(-1)
    return place if place < np.float32(size) else np.float32(size)


@inner_kernel
def sample(scratch, size, interpolation, fill, out):
    """A row of pixels (S, 3) uint8, of the places in scratch[1]: (2, S), x and y in pixels of the image."""
    pixels, place, work = scratch
    side = size + BORDER
    count = np.uint64(size)
    where, across, down, inside = work[0], work[1], work[2], work[3]
    if interpolation == NEAREST:
        for i in range(count):
            x = np.int32(np.rint(_limited(place[0, i], size)))
            y = np.int32(np.rint(_limited(place[1, i], size)))
            where[i] = (y + np.int32(1)) * np.int32(side) + x + np.int32(1)
        for i in range(count):
            pixel = pixels[np.uint64(where[i])]
            out[i, 0] = np.uint8(pixel)
            out[i, 1] = np.uint8(pixel >> np.uint64(GREEN))
            out[i, 2] = np.uint8(pixel >> np.uint64(BLUE))
        return
    end, next_one = np.float32(size), np.uint64(1)
    for i in range(count):
        x, y = _limited(place[0, i], size), _limited(place[1, i], size)
        left, top = np.floor(x), np.floor(y)
        where[i] = (np.int32(top) + np.int32(1)) * np.int32(side) + np.int32(left) + np.int32(1)
        across[i] = np.int32(np.rint((x - left) * np.float32(WHOLE)))
        down[i] = np.int32(np.rint((y - top) * np.float32(WHOLE)))
        # How much of the square of a pixel's side around the place lies inside the image.
        part = min(x + np.float32(1), end - x, np.float32(1))
        part *= min(y + np.float32(1), end - y, np.float32(1))
        inside[i] = np.int32(np.rint(part * np.float32(WHOLE)))
    for i in range(count):
        k = np.uint64(where[i])  # no index counts from the end then
        both = (across[i] * down[i] + np.int32(HALF)) >> np.int32(WEIGHT_BITS)
        right, below = across[i] - both, down[i] - both
        total = pixels[k] * np.uint64(WHOLE - across[i] - below) + pixels[k + next_one] * np.uint64(right)
        k += np.uint64(side)
        total += pixels[k] * np.uint64(below) + pixels[k + next_one] * np.uint64(both)
        if inside[i] == WHOLE or fill[0] < 0:
            total += np.uint64(HALVES)
            out[i, 0] = np.uint8(total >> np.uint64(WEIGHT_BITS))
            out[i, 1] = np.uint8(total >> np.uint64(GREEN + WEIGHT_BITS))
            out[i, 2] = np.uint8(total >> np.uint64(BLUE + WEIGHT_BITS))
        else:
            for c in range(3):
                value = np.int64(total >> np.uint64(c * GREEN)) & ((1 << GREEN) - 1)
                shown = inside[i] * (value - (fill[c] << WEIGHT_BITS)) + (1 << (2 * WEIGHT_BITS - 1))
                out[i, c] = fill[c] + (shown >> (2 * WEIGHT_BITS))


def warped(image: torch.Tensor, coefficients: Sequence[int], interpolation: int, fill: Sequence[int]) -> torch.Tensor:
    """`warp` for an image (3, S, S) uint8, with torch; gives a new one."""
    size = image.shape[1]
    a, b, c, d, e, f = as_floats(coefficients)
    line = np.arange(size, dtype=np.float32) + np.float32((1 - size) * 0.5)
    x, y = line[None], line[:, None]
    half, one = np.float32(size * 0.5), np.float32(1)
    with np.errstate(over="ignore", invalid="ignore"):
        px, py = (to_pixels((x * u + y * v) + w + one, half) for u, v, w in ((a, b, c), (d, e, f)))
    return sampled(image, px, py, interpolation, fill)


def as_floats(bits: Sequence[int]) -> np.ndarray:
    """float32, of what as_bits gave."""
    return np.array(bits, np.int64).view(np.float64).astype(np.float32)


def sampled(image: torch.Tensor, x: np.ndarray, y: np.ndarray, interpolation: int, fill: Sequence[int]) -> torch.Tensor:
    """An image (3, S, S) uint8 of another's pixels at x and y, (S, S) float32."""
    size = image.shape[1]
    side, one, end = size + BORDER, np.float32(1), np.float32(size)
    x, y = (np.minimum(np.where(place > -one, place, -one), end) for place in (x, y))
    border = 0
    if interpolation == NEAREST and fill[0] >= 0:
        border = fill[0] | fill[1] << GREEN | fill[2] << BLUE
    padded = torch.full((side, side), border)
    red, green, blue = image.long()
    padded[1 : size + 1, 1 : size + 1] = red | green << GREEN | blue << BLUE
    pixels = padded.view(-1)

    def whole(numbers: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(numbers).long().view(-1)

    if interpolation == NEAREST:
        total = pixels.index_select(0, (whole(np.rint(y)) + 1) * side + whole(np.rint(x)) + 1)
        return torch.stack([(total >> start).byte() for start in (0, GREEN, BLUE)]).view_as(image)
    left, top = np.floor(x), np.floor(y)
    across, down = (whole(np.rint(part * np.float32(WHOLE))) for part in (x - left, y - top))
    where = (whole(top) + 1) * side + whole(left) + 1
    both = (across * down).add_(HALF) >> WEIGHT_BITS
    total = pixels.index_select(0, where) * (WHOLE - across - down + both)
    total.addcmul_(pixels.index_select(0, where + 1), across - both)
    total.addcmul_(pixels.index_select(0, where + side), down - both)
    total.addcmul_(pixels.index_select(0, where + side + 1), both)
    rounded = total + HALVES
    out = torch.stack([(rounded >> (start + WEIGHT_BITS)).byte() for start in (0, GREEN, BLUE)])
    if fill[0] >= 0:
        parts = [np.minimum(np.minimum(place + one, end - place), one) for place in (x, y)]
        inside = whole(np.rint(parts[0] * parts[1] * np.float32(WHOLE)))
        edge = (inside < WHOLE).nonzero().view(-1)
        colour, inside, total = torch.tensor(fill).view(3, 1), inside[edge], total[edge]
        channels = torch.stack([(total >> start) & ((1 << GREEN) - 1) for start in (0, GREEN, BLUE)])
        shown = (inside * (channels - (colour << WEIGHT_BITS)) + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS)
        out[:, edge] = (shown + colour).byte()
    return out.view_as(image)
