"""Compiled kernels: from a sample's bytes in a beton to its pixels in a batch, without Python in between.

They are plain functions of arrays, cached on disk by numba, that release the GIL; threads run them on parts of a batch.
The usual JPEGs are decoded by formwork.kernels.jpeg, all others by libjpeg-turbo: the pixels are the same. An image is
(rows, bytes) uint8 with a pixel in three bytes, as in formwork.kernels.scaling.
"""

from collections.abc import Sequence

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from formwork.beton.format import RAW
from formwork.kernels import libjpeg
from formwork.kernels.checksum_kernel import checksum_with, new_memory
from formwork.kernels.compile import inner_kernel, kernel
from formwork.kernels.jpeg.decode import SLACK, decode, memory_needed, new_decoder
from formwork.kernels.scaling import HALF, PRECISION_BITS, scale_row, scale_widths
from formwork.loading.augmentation import NATIVE
from formwork.loading.augmentation.base import AugmentPlan, PixelOperation
from formwork.loading.augmentation.mixup import NO_MIX, blend
from formwork.loading.augmentation.views import Views
from formwork.loading.batch_pixels import BatchPixels
from formwork.loading.buffers import BufferPool
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
    plans: Sequence[AugmentPlan],
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
        plans: of the batch, by view; their pixel operations are not carried out.
        normal: (2, 3) float32: value v of channel c becomes (v - normal[0, c]) * normal[1, c].
        out: of B images; its type is one in formwork.loading.dtypes.STORED.
        status: (B,) uint8 out, see formwork.loading.status; pixels are undefined but after OK and after JPEG_WARNING,
            where they are what the decoder made of it.
    """
    boxes, windows, shifts, flips, fills = (
        _stacked([getattr(plan, name) for plan in plans]) for name in ("box", "window", "shift", "flip", "fill")
    )
    _load(
        data.memory, data.offsets, data.descriptors, sizes, modes, heights, widths,
        checks.wanted, checks.checksums, checks.padding, checks.trusted,
        boxes, windows, shifts, flips, fills, normal, start, stop, out.flat, out.places, out.sides, status,
    )  # fmt: skip
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
        box, window, shift, flip = (np.ascontiguousarray(part[:, one]) for part in (boxes, windows, shifts, flips))
        places = out.places + 3 * i * out.sides**2
        _load(
            pixels.reshape(-1), np.zeros(1, np.int64), NO_FILES, np.array([pixels.size]), np.full(1, RAW, np.uint8),
            heights[one], widths[one], *NO_CHECKS,
            box, window, shift, flip, fills, normal, 0, 1, out.flat, places, out.sides, status[one],
        )  # fmt: skip
        status[i] = OK if sound else JPEG_WARNING


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0][None] if len(parts) == 1 else np.stack(parts)  # of one view nothing is copied


def change(operation: PixelOperation, images: np.ndarray, values: np.ndarray) -> None:
    """Let a pixel operation change images (n, S, S, 3) uint8 in place, by its values (n, P) int64."""
    operation.kernel(images, values)


@intrinsic
def _half_bits(typing_context, value):
    """The bits of a float32 rounded to float16, int16."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.int16(types.float32), generate


@intrinsic
def _bits(typing_context, value):
    """The bits of a float32, uint32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


def stored(value, shift, scale, out):
    """A value of a pixel, uint8 or int32, as an element of `out`; called by kernels only.

    Args:
        shift, scale: float32.
        out: of a type in STORED: uint8 as it is, any other (value - shift) * scale, rounded to float32 after each step
            and then to what it is.
    """
    raise NotImplementedError("compiled code only")


@overload(stored, inline="always")
def _stored(value, shift, scale, out):
    if out.dtype == types.uint8:
        return lambda value, shift, scale, out: np.uint8(value)
    if out.dtype == types.int16:
        return lambda value, shift, scale, out: _half_bits((np.float32(value) - shift) * scale)
    if out.dtype == types.uint16:
        return lambda value, shift, scale, out: _bfloat16_bits((np.float32(value) - shift) * scale)
    return lambda value, shift, scale, out: (np.float32(value) - shift) * scale


@inner_kernel
def _bfloat16_bits(value):
    """The upper half of a float32, rounded to nearest, ties to even."""
    bits = _bits(value)
    odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
    return np.uint32(bits + np.uint32(odd + np.uint32(0x7FFF))) >> np.uint32(16)


@inner_kernel
def store(line, shift, scale, out):
    """A row of pixels: (N,) all; line uint8, the others as for `stored`."""
    for i in range(np.uint64(len(out))):  # no index counts from the end then: numba makes a vector of this loop
        out[i] = stored(line[i], shift[i], scale[i], out)


@inner_kernel
def _transform(source, box, window, shift, flip, normal, outside, line, out):
    """Scale, shift, mirror and normalise an image (H, 3 * W) uint8 into out, (S, 3 * S); see formwork.loading.dtypes.

    Args:
        normal: (2, at least 3 * S) float32, what is subtracted from a pixel's values, and what they are then multiplied
            by.
        outside: (at least 3 * S,) of out's type, a row of what is shown outside the image.
        line: (at least 3 * S,) uint8, memory to work in.
    """
    size = out.shape[0]
    image, first, count, weights, start = scale_widths(source, box, window, flip, size, size)
    dx = -shift[1] if flip else shift[1]  # the row is mirrored by now
    low, high = 3 * min(max(-dx, 0), size), 3 * max(min(size - dx, size), 0)
    subtract, multiply, line = normal[0, low:high], normal[1, low:high], line[low:high]
    start += low + 3 * dx
    for y in range(size):
        target = out[y]
        o = y + shift[0]
        if not 0 <= o < size or low >= high:
            _copy(outside, target, 0, len(target))
            continue
        _copy(outside, target, 0, low)
        _scale_and_store(image, first[o], start, count[o], weights[o], subtract, multiply, line, target[low:high])
        _copy(outside, target, high, len(target))


@inner_kernel
def _copy(source, target, start, stop):
    """target[start:stop] = source[start:stop], which numba compiles for two seconds, because of its error messages."""
    for i in range(start, stop):
        target[i] = source[i]


@inner_kernel
def _scale_and_store(source, top, start, count, weights, shift, scale, line, out):
    """scale_row and store, in one pass where few rows are added: what is stored is many times what they are made of.

    Args:
        source, top, start, count, weights: see scale_row. shift, scale, out: see store.
        line: uint8, as long as out, memory to work in.
    """
    length = np.uint64(len(out))
    if count == 1:
        w0 = weights[0]
        a = source[top, start : start + len(out)]
        for i in range(length):
            total = np.uint32(HALF + w0 * np.int32(a[i]))
            out[i] = stored(np.int32(total >> PRECISION_BITS), shift[i], scale[i], out)
    elif count == 2:
        w0, w1 = weights[0], weights[1]
        a, b = source[top, start : start + len(out)], source[top + 1, start : start + len(out)]
        for i in range(length):
            total = np.uint32(HALF + w0 * np.int32(a[i]) + w1 * np.int32(b[i]))
            out[i] = stored(np.int32(total >> PRECISION_BITS), shift[i], scale[i], out)
    elif count == 3:
        w0, w1, w2 = weights[0], weights[1], weights[2]
        a, b = source[top, start : start + len(out)], source[top + 1, start : start + len(out)]
        c = source[top + 2, start : start + len(out)]
        for i in range(length):
            total = np.uint32(HALF + w0 * np.int32(a[i]) + w1 * np.int32(b[i]) + w2 * np.int32(c[i]))
            out[i] = stored(np.int32(total >> PRECISION_BITS), shift[i], scale[i], out)
    else:
        scale_row(source, top, start, count, weights, line)
        store(line, shift, scale, out)


@inner_kernel
def _spread(normal, length):
    """(2, length) float32, the numbers of each channel for each byte of a row."""
    spread = np.empty((2, length), np.float32)
    for i in range(length):
        spread[0, i], spread[1, i] = normal[0, i % 3], normal[1, i % 3]
    return spread


@inner_kernel
def _used(start, end, low, high, size):
    """First and last row or column of an image that scaling the part between two edges to `size` pixels may read.

    Args:
        low, high: low <= i < high may take part.
    """
    reach = max((end - start) / size, 1.0) + 1.0
    return max(int(np.floor(start - reach)), low), min(int(np.ceil(end + reach)), high)


@inner_kernel
def _part(boxes, windows, i, axis, sides, size):
    """First and last row (axis 1) or column (axis 0) of image i that any view may read."""
    low, high = size, 0
    for view in range(len(sides)):
        box, window = boxes[view, i], windows[view, i]
        first, last = _used(box[axis], box[axis + 2], window[axis], window[axis + 2], sides[view])
        low, high = min(low, first), max(high, last)
    return low, high


@kernel
def _load(
    memory, offsets, descriptors, sizes, modes, heights, widths, wanted, checksums, padding, trusted,
    boxes, windows, shifts, flips, fills, normal, start, stop, out, places, sides, status,
):  # fmt: skip
    """See load; what libjpeg-turbo must decode gets the status UNUSUAL_JPEG.

    Args:
        boxes, windows, shifts, flips, fills: of the plans, with an axis of views before the others.
        out, places, sides: see BatchPixels.
    """
    decoder, decoded, memory_of_decoder = new_decoder(), np.empty(0, np.uint8), np.empty(0, np.uint8)
    memory_of_checksum = new_memory()
    in_files = len(descriptors) > 0
    own = memory_for(sizes, start, stop) if in_files else memory
    length = 0
    for view in range(len(sides)):
        length = max(length, 3 * sides[view])
    spread = _spread(normal, length)
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
                continue
            image = decoded[: h * w * 3].reshape(h, w * 3)
        for view in range(len(sides)):
            size = sides[view]
            begin = places[view] + i * 3 * size * size
            lines = out[begin : begin + 3 * size * size].reshape(size, 3 * size)
            _transform(
                image, boxes[view, i], windows[view, i], shifts[view, i], flips[view, i],
                spread, outside[view], line, lines,
            )  # fmt: skip


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
    spread = _spread(normal, length)
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
    load(Data(NO_MEMORY, none), none, nothing, none, none, NO_CHECKS, plans, normal, 0, 0, out, nothing)
    for augmentation, plan, of_view in zip(views, plans, pixels.views, strict=True):
        for (name, operation), values in zip(augmentation.steps, plan.values, strict=True):
            if name in NATIVE:
                change(operation, of_view, values)
                continue
            with augmentation.named(name):  # the kernels of others are no reason to do without ours
                change(operation, of_view, values)
    if changed:
        finish(pixels.views[0], none, NO_MIX.values, normal, 0, 0, images.views[0])
