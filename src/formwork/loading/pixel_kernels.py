"""Kernels of one image: from its pixels to those of a batch, scaled, shifted, mirrored and normalised in one pass.

An image is (rows, bytes) uint8 with a pixel in three bytes, as in formwork.kernels.scaling.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from formwork.kernels.compile import inner_kernel
from formwork.kernels.scaling import HALF, PRECISION_BITS, scale_row, scale_widths


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
def transform(source, box, window, shift, flip, normal, outside, line, out):
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
def spread_numbers(normal, length):
    """(2, length) float32, the numbers of each channel for each byte of a row."""
    spread = np.empty((2, length), np.float32)
    for i in range(length):
        spread[0, i], spread[1, i] = normal[0, i % 3], normal[1, i % 3]
    return spread


@inner_kernel
def used(start, end, low, high, size):
    """First and last row or column of an image that scaling the part between two edges to `size` pixels may read.

    Args:
        low, high: low <= i < high may take part.
    """
    reach = max((end - start) / size, 1.0) + 1.0
    return max(int(np.floor(start - reach)), low), min(int(np.ceil(end + reach)), high)
