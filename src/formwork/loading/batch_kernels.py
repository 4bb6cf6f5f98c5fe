"""Compiled kernels: from a sample's bytes in a beton to its pixels in a batch, without Python in between.

They are plain functions of arrays, cached on disk by numba, that release the GIL; threads run them on parts of a batch.
The usual JPEGs are decoded by formwork.kernels.jpeg, all others by libjpeg-turbo: the pixels are the same. An image is
(rows, bytes) uint8 with a pixel in three bytes, as in formwork.kernels.scaling.
"""

import numpy as np

from formwork.beton.format import RAW
from formwork.kernels import libjpeg
from formwork.kernels.checksum_kernel import checksum_with, new_memory
from formwork.kernels.compile import inner_kernel, kernel
from formwork.kernels.jpeg.decode import SLACK, decode, memory_needed, new_decoder
from formwork.loading.augmentation.base import PixelOperation
from formwork.loading.augmentation.mixup import NO_MIX, blend
from formwork.loading.augmentation.python import is_native
from formwork.loading.augmentation.views import Crops, Views
from formwork.loading.batch_pixels import BatchPixels
from formwork.loading.buffers import BufferPool
from formwork.loading.pixel_kernels import spread_numbers, store, transform, used
from formwork.loading.read import NO_FILES, NO_MEMORY, Data
from formwork.loading.read_kernel import all_zero, memory_for, read_behind, read_sample
from formwork.loading.status import (
    BAD_JPEG,
    CHANGED,
    FOLLOWED,
    JPEG_WARNING,
    OK,
    OUTSIDE_FILE,
    UNKNOWN_MODE,
    UNREADABLE,
    UNUSUAL_JPEG,
    WRONG_SIZE,
)
from formwork.loading.verification import NO_CHECKS, Checks


def load(
    data: Data,
    sizes: np.ndarray,
    modes: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    checks: Checks,
    crops: Crops,
    normal: np.ndarray,
    start: int,
    stop: int,
    out: BatchPixels,
    status: np.ndarray,
) -> None:
    """Decode samples start <= i < stop of a batch of B, and transform each to its views.

    Args:
        data: where the samples are. What is in files is read just before it is decoded; of raw pixels that are not
            compared with a checksum, the rows that are needed.
        sizes: (B,) int64, bytes of each sample.
        modes: (B,) uint8, 0 JPEG, 1 raw; heights, widths: (B,) int64 pixels.
        checks: which samples are to be compared with their checksums, and what follows them with zeros.
        crops: of the batch.
        normal: (2, 3) float32: value v of channel c becomes (v - normal[0, c]) * normal[1, c].
        out: of B images; its type is one in formwork.loading.dtypes.STORED.
        status: (B,) uint8 out, see formwork.loading.status; pixels are undefined but after OK and after JPEG_WARNING,
            where they are what the decoder made of it.
    """
    if not _load(
        data.memory, data.offsets, data.descriptors, sizes, modes, heights, widths,
        checks.wanted, checks.checksums, checks.padding, checks.trusted,
        *crops, normal, start, stop, out.flat, out.places, out.sides, status,
    ):  # fmt: skip
        return
    unusual = start + np.flatnonzero(status[start:stop] == UNUSUAL_JPEG)
    decoded = np.empty(3 * int((heights[unusual] * widths[unusual]).max(initial=0)), np.uint8)
    for i in unusual.tolist():
        sample = data.of(i, int(sizes[i]))
        if sample is None:
            status[i] = UNREADABLE
            continue
        pixels, sound = libjpeg.decode_anyhow(sample.tobytes(), int(widths[i]), int(heights[i]), decoded)
        if pixels is None:
            status[i] = BAD_JPEG
            continue
        one = slice(i, i + 1)
        box, window, shift, flip = (np.ascontiguousarray(part[:, one]) for part in crops[:4])
        places = out.places + 3 * i * out.sides**2
        _load(
            pixels.reshape(-1), np.zeros(1, np.int64), NO_FILES, np.array([pixels.size]), np.full(1, RAW, np.uint8),
            heights[one], widths[one], *NO_CHECKS,
            box, window, shift, flip, crops.fills, normal, 0, 1, out.flat, places, out.sides, status[one],
        )  # fmt: skip
        status[i] = OK if sound else JPEG_WARNING


def change(operation: PixelOperation, images: np.ndarray, values: np.ndarray) -> None:
    """Let a pixel operation change images (n, S, S, 3) uint8 in place, by its values (n, P) int64."""
    operation.kernel(images, values)


@inner_kernel
def _part(boxes, windows, i, axis, sides, size):
    """First and last row (axis 1) or column (axis 0) of image i that any view may read."""
    low, high = size, 0
    for view in range(len(sides)):
        box, window = boxes[view, i], windows[view, i]
        first, last = used(box[axis], box[axis + 2], window[axis], window[axis + 2], sides[view])
        low, high = min(low, first), max(high, last)
    return low, high


@kernel
def _load(
    memory, offsets, descriptors, sizes, modes, heights, widths, wanted, checksums, padding, trusted,
    boxes, windows, shifts, flips, fills, normal, start, stop, out, places, sides, status,
):  # fmt: skip
    """See load; what libjpeg-turbo must decode gets the status UNUSUAL_JPEG. Returns how many these are.

    Args:
        boxes, windows, shifts, flips, fills: see Crops.
        out, places, sides: see BatchPixels.
    """
    decoder, decoded, memory_of_decoder = new_decoder(), np.empty(0, np.uint8), np.empty(0, np.uint8)
    memory_of_checksum = new_memory()
    in_files = len(descriptors) > 0
    own = memory_for(sizes, start, stop) if in_files else memory
    length = unusual = 0
    for view in range(len(sides)):
        length = max(length, 3 * sides[view])
    spread = spread_numbers(normal, length)
    outside = np.empty((len(sides), length), out.dtype)
    line = np.empty(length, np.uint8)
    for view in range(len(sides)):
        for i in range(length):
            line[i] = fills[view, i % 3]
        store(line, spread[0], spread[1], outside[view])
    for i in range(start, stop):
        h, w = heights[i], widths[i]
        status[i] = OK
        end = offsets[i] + sizes[i]
        if offsets[i] < 0 or sizes[i] <= 0 or (not in_files and end + padding[i] > memory.size):
            status[i] = OUTSIDE_FILE
            continue
        if modes[i] > RAW:
            status[i] = UNKNOWN_MODE
            continue
        at = np.int64(0) if in_files else offsets[i]  # in `own`
        if in_files:
            if padding[i]:
                status[i] = read_behind(descriptors[i], end, padding[i], own)
            first, last = np.int64(0), sizes[i]
            if modes[i] == RAW and not wanted[i] and sizes[i] == h * w * 3:
                top, bottom = _part(boxes, windows, i, 1, sides, h)
                first, last = top * w * 3, bottom * w * 3
            if status[i] == OK:
                status[i] = read_sample(descriptors[i], offsets[i], first, last, own)
        elif padding[i] and not all_zero(memory, end, end + padding[i]):
            status[i] = FOLLOWED
        if status[i] != OK:
            continue
        data = own[at : at + sizes[i]]
        if (
            wanted[i] and checksum_with(memory_of_checksum, data) != checksums[i]
        ):  # the data is in the CPU's cache afterwards
            status[i] = CHANGED
            continue
        if modes[i] == RAW:
            if data.size != h * w * 3:
                status[i] = WRONG_SIZE
                continue
            image = data.reshape(h, w * 3)
        else:
            if decoded.size < h * w * 3 + SLACK:
                decoded = np.empty(h * w * 3 + SLACK, np.uint8)
            if memory_of_decoder.size < memory_needed(h, w, data.size):
                memory_of_decoder = np.empty(memory_needed(h, w, 2 * data.size), np.uint8)
            top, bottom = _part(boxes, windows, i, 1, sides, h)
            left, right = _part(boxes, windows, i, 0, sides, w)
            if not decode(data, h, w, top, bottom, left, right, not trusted, decoder, memory_of_decoder, decoded):
                status[i] = UNUSUAL_JPEG
                unusual += 1
                continue
            image = decoded[: h * w * 3].reshape(h, w * 3)
        for view in range(len(sides)):
            size = sides[view]
            begin = places[view] + i * 3 * size * size
            lines = out[begin : begin + 3 * size * size].reshape(size, 3 * size)
            transform(
                image, boxes[view, i], windows[view, i], shifts[view, i], flips[view, i],
                spread, outside[view], line, lines,
            )  # fmt: skip
    return unusual


@inner_kernel
def _mix_and_store(image, other, values, shift, scale, line, out):
    """Mix and store an image, (S, 3 * S) uint8 as its partner.

    Args:
        values: (5,), see formwork.loading.augmentation.mixup.Mix.
        shift, scale: (3 * S,) float32. out: (S, 3 * S), see store.
        line: (3 * S,) uint8, memory to work in.
    """
    share, top, left, bottom, right = np.int32(values[0]), values[1], 3 * values[2], values[3], 3 * values[4]
    size, length = len(out), 3 * len(out)
    if left == 0 and top == 0 and right == length and bottom == size:
        for y in range(size):
            blend(image[y], other[y], share, line)
            store(line, shift, scale, out[y])
        return
    for y in range(size):
        store(image[y], shift, scale, out[y])
    if left >= right:
        return
    shift, scale = shift[left:right], scale[left:right]
    for y in range(top, bottom):
        inside = other[y, left:right]
        if share:
            blend(image[y, left:right], inside, share, line[left:right])
            inside = line[left:right]
        store(inside, shift, scale, out[y, left:right])


@kernel
def finish(pixels, places, values, normal, start, stop, out):
    """Mix and normalise images start <= i < stop of a batch, after their pixel operations.

    Args:
        pixels: (N, S, S, 3) uint8, the images of the batch first.
        places: (B,) int64 of the partners. values: (B, 5) int64, see formwork.loading.augmentation.mixup.Mix. Both are
            empty where nothing is mixed.
        normal, out: as for `load`; out is not `pixels`.
    """
    size, length = out.shape[1], 3 * out.shape[1]
    spread = spread_numbers(normal, length)
    line = np.empty(length, np.uint8)
    for i in range(start, stop):
        image, lines = pixels[i].reshape(size, length), out[i].reshape(size, length)
        if len(values):
            other = pixels[places[i]].reshape(size, length)
            _mix_and_store(image, other, values[i], spread[0], spread[1], line, lines)
        else:
            for y in range(size):
                store(image[y], spread[0], spread[1], lines[y])


def compile_for(views: Views, dtype: np.dtype) -> None:
    """Compile all that batches need, or load what is compiled already, with a batch of no images.

    Args:
        dtype: in formwork.loading.dtypes.STORED, of the batches.

    Raises:
        AugmentationError: an operation of the user's own, or of FFCV's, cannot be compiled.
    """
    none, nothing = np.empty(0, np.int64), np.empty(0, np.uint8)
    normal = np.ones((2, 3), np.float32)
    plans = views.plans(0, none, none, none)
    changed = views.mixes or any(plan.values for plan in plans)
    pixels, images = (BatchPixels(BufferPool(), views.sides, 0, kind) for kind in (np.uint8, dtype))
    out = pixels if changed else images
    load(Data(NO_MEMORY, none), none, nothing, none, none, NO_CHECKS, Crops.of(plans), normal, 0, 0, out, nothing)
    for augmentation, plan, of_view in zip(views, plans, pixels.views, strict=True):
        for (name, operation), values in zip(augmentation.steps, plan.values, strict=True):
            if is_native(operation):
                change(operation, of_view, values)
                continue
            with augmentation.named(name):  # the kernels of others are no reason to do without ours
                change(operation, of_view, values)
    if changed:
        finish(pixels.views[0], none, NO_MIX.values, normal, 0, 0, images.views[0])
