"""From the samples of a JPEG file to RGB, as libjpeg-turbo does it, to the bit.

Chroma is enlarged with weights of 3/4 and 1/4 in each direction ("fancy upsampling", jdsample.c of libjpeg-turbo), and
becomes RGB by JFIF's formulas in fixed-point arithmetic (jdcolor.c).
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from formwork.kernels.compile import inlined_kernel, inner_kernel
from formwork.kernels.vectors import all_of, load, narrowed, shuffled, store

STEP = 16  # pixels that are made together
FRACTION = 16  # bits
HALF = 1 << (FRACTION - 1)
CENTRE = 128
RED, GREEN_BLUE, GREEN_RED, BLUE = (round(value * (1 << FRACTION)) for value in (1.402, 0.34414, 0.71414, 1.772))

BYTES, NUMBERS = ir.VectorType(ir.IntType(8), STEP), ir.VectorType(ir.IntType(32), STEP)


@intrinsic
def _to_rgb(typing_context, luma, blue, red, out):
    """STEP pixels from the addresses of as many samples of each component; out: address of 3 * STEP bytes."""

    def generate(context, builder, signature, arguments):
        *samples, out = arguments

        def scaled(*products):
            total = all_of(NUMBERS, HALF)
            for value, factor in products:
                total = builder.add(total, builder.mul(value, all_of(NUMBERS, factor)))
            return builder.ashr(total, all_of(NUMBERS, FRACTION))

        def clamped(value):
            return narrowed(builder, value, BYTES, 0, 255)

        y, cb, cr = (builder.zext(load(builder, BYTES, address), NUMBERS) for address in samples)
        cb, cr = (builder.sub(chroma, all_of(NUMBERS, CENTRE)) for chroma in (cb, cr))
        red = clamped(builder.add(y, scaled((cr, RED))))
        green = clamped(builder.add(y, scaled((cb, -GREEN_BLUE), (cr, -GREEN_RED))))
        blue = clamped(builder.add(y, scaled((cb, BLUE))))
        pair = shuffled(builder, red, green, [*range(2 * STEP)])
        single = shuffled(builder, blue, blue, [*range(2 * STEP)])
        for start in range(0, 3 * STEP, STEP):
            order = [(byte % 3) * STEP + byte // 3 for byte in range(start, start + STEP)]
            store(builder, shuffled(builder, pair, single, order), out, start)
        return context.get_dummy_value()

    return types.none(*[types.intp] * 4), generate


@inner_kernel
def to_rgb(luma, blue, red, left, right, out):
    """Pixels left <= x < right of a row, and up to STEP - 1 more.

    Args:
        luma, blue, red: (at least right + STEP,) uint8.
        out: (bytes,) uint8 row, which as many pixels more may be written behind.
    """
    for x in range(left, right, STEP):
        _to_rgb(luma.ctypes.data + x, blue.ctypes.data + x, red.ctypes.data + x, out.ctypes.data + 3 * x)


@inner_kernel
def enlarge_both(near, far, length, low, high, sums, out):
    """A row of chroma that was sampled once for 2 x 2 pixels.

    Args:
        near, far: (at least length,) uint8, the rows of samples nearest to the row and next to nearest.
        length: how many samples a row has, at least 3.
        low, high: samples low <= i < high are enlarged.
        sums: (at least length,) uint16, memory to work in.
        out: (at least 2 * length,) uint8.
    """
    for i in range(np.uint64(max(low - 1, 0)), np.uint64(min(high + 1, length))):
        sums[i] = np.uint16(np.uint16(3) * np.uint16(near[i]) + np.uint16(far[i]))
    _enlarge(sums, length, low, high, np.uint16(8), np.uint16(7), np.uint16(4), out)


@inner_kernel
def enlarge_width(row, length, low, high, out):
    """A row of chroma that was sampled once for two pixels of a row; see enlarge_both."""
    _enlarge(row, length, low, high, np.uint16(1), np.uint16(2), np.uint16(2), out)


@inlined_kernel
def _enlarge(row, length, low, high, left, right, bits, out):
    """Two pixels for each sample: three parts of it and one of its neighbour on that side, or of itself at an end.

    Args:
        left, right: uint16, what is added before the lowest `bits` of the left and of the right one are cut off.
    """
    three, two, one = np.uint16(3), np.uint64(2), np.uint64(1)
    for i in range(np.uint64(max(low, 1)), np.uint64(min(high, length - 1))):
        here = np.uint16(three * np.uint16(row[i]))
        out[two * i] = np.uint16(here + np.uint16(row[i - one]) + left) >> bits
        out[two * i + one] = np.uint16(here + np.uint16(row[i + one]) + right) >> bits
    if low == 0:
        out[0] = (4 * np.int64(row[0]) + left) >> bits
        out[1] = (3 * np.int64(row[0]) + np.int64(row[1]) + right) >> bits
    if high == length:
        out[2 * length - 2] = (3 * np.int64(row[length - 1]) + np.int64(row[length - 2]) + left) >> bits
        out[2 * length - 1] = (4 * np.int64(row[length - 1]) + right) >> bits
