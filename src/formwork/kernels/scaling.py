"""The compiled form of formwork.kernels.resize: as Pillow, bit for bit, and several times faster.

Pillow's antialiased bilinear scaling (`ImagingResample` in its src/libImaging/Resample.c) is two passes of weighted
sums in fixed-point arithmetic, each rounded to 8 bits. The sums are the same here, so the pixels are too; what differs
is that many of them are made at once. In these kernels an image is (rows, bytes) uint8 with a pixel in three bytes; a
scaled one has PAD bytes more in each row.
"""

import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from formwork.kernels import vectors
from formwork.kernels.compile import inner_kernel, kernel

PRECISION_BITS = 22  # Pillow: 32 - 8 - 2, so that weights times 8-bit pixels cannot overflow 32 bits
HALF = 1 << (PRECISION_BITS - 1)
LANES = 4  # rows scaled together: four pixels, of four bytes each, fill one register of 16 32-bit numbers
GROUP = 4  # neighbouring pixels of a row that are made together, if all that they are made of lies within 16 bytes
BLOCK = 16  # bytes
PAD = 4  # bytes after each row of a scaled image, because GROUP pixels of three bytes are stored as BLOCK bytes
SHUFFLE = {
    "x86_64": "llvm.x86.ssse3.pshuf.b.128",
    "AMD64": "llvm.x86.ssse3.pshuf.b.128",
    "aarch64": "llvm.aarch64.neon.tbl1.v16i8",
    "arm64": "llvm.aarch64.neon.tbl1.v16i8",
}.get(platform.machine())
"""The instruction that picks BLOCK bytes from as many by their places."""
WHOLE = np.int32(1 << PRECISION_BITS)  # the weight of a pixel that stays as it is


@intrinsic
def _scale_pixel(typing_context, source, stride, weights, count, out, out_stride):
    """One output pixel of LANES rows: the sum of `count` pixels times their weights.

    It reads and writes four bytes a pixel. Numba cannot make a vector of the bytes of four rows by itself, and does
    three multiplications a pixel where this does one for all four rows.

    Args:
        source: address of the first pixel in the first row; stride: bytes from one row to the next.
        weights: address of int32.
        out, out_stride: where the output pixel of the first row goes, and bytes to that of the next.
    """

    def generate(context, builder, signature, arguments):
        source, stride, weights, count, out, out_stride = arguments
        number, byte = ir.IntType(32), ir.IntType(8)
        sums_type = ir.VectorType(number, 4 * LANES)
        address = source.type

        sums = cgutils.alloca_once_value(builder, vectors.all_of(sums_type, HALF))
        with cgutils.for_range(builder, count) as loop:
            pixel = builder.add(source, builder.mul(loop.index, ir.Constant(address, 3)))
            words = ir.Constant(ir.VectorType(number, LANES), ir.Undefined)
            for row in range(LANES):
                place = builder.add(pixel, builder.mul(stride, ir.Constant(address, row)))
                word = vectors.load(builder, number, place)
                words = builder.insert_element(words, word, ir.Constant(number, row))
            values = builder.zext(builder.bitcast(words, ir.VectorType(byte, 4 * LANES)), sums_type)
            place = builder.add(weights, builder.mul(loop.index, ir.Constant(address, 4)))
            weight = vectors.load(builder, number, place, align=4)
            single = builder.insert_element(ir.Constant(sums_type, ir.Undefined), weight, ir.Constant(number, 0))
            spread = vectors.shuffled(builder, single, single, [0] * (4 * LANES))
            builder.store(builder.add(builder.load(sums), builder.mul(values, spread)), sums)
        pixels = builder.lshr(builder.load(sums), vectors.all_of(sums_type, PRECISION_BITS))
        pixels = builder.trunc(pixels, ir.VectorType(byte, 4 * LANES))
        for row in range(LANES):
            place = builder.add(out, builder.mul(out_stride, ir.Constant(address, row)))
            vectors.store(builder, vectors.shuffled(builder, pixels, pixels, [4 * row + i for i in range(4)]), place)
        return context.get_dummy_value()

    return types.none(*[types.intp] * 6), generate


@intrinsic
def _scale_group(typing_context, source, places, weights, out):
    """GROUP neighbouring output pixels of a row, each the sum of two source pixels times their weights.

    Args:
        source: address of a BLOCK of bytes; out: where the pixels go, BLOCK bytes, of which the last PAD mean nothing.
        places, weights: addresses of (2, BLOCK), for each of the two source pixels, uint8 and int32: for each output
            pixel, the places of four bytes in the block, the last of which means nothing; and its weight four times.
    """

    def generate(context, builder, signature, arguments):
        source, places, weights, out = arguments
        block, number = ir.VectorType(ir.IntType(8), BLOCK), ir.IntType(32)
        sums_type = ir.VectorType(number, BLOCK)

        shuffle = cgutils.get_or_insert_function(builder.module, ir.FunctionType(block, [block, block]), SHUFFLE)
        found = vectors.load(builder, block, source)
        sums = vectors.all_of(sums_type, HALF)
        for tap in range(2):
            picked = builder.call(shuffle, [found, vectors.load(builder, block, places, BLOCK * tap)])
            weight = vectors.load(builder, sums_type, weights, 4 * BLOCK * tap, align=4)
            sums = builder.add(sums, builder.mul(builder.zext(picked, sums_type), weight))
        pixels = builder.trunc(builder.lshr(sums, vectors.all_of(sums_type, PRECISION_BITS)), block)
        order = [4 * pixel + i for pixel in range(GROUP) for i in range(3)] + [3] * PAD
        vectors.store(builder, vectors.shuffled(builder, pixels, pixels, order), out)
        return context.get_dummy_value()

    return types.none(*[types.intp] * 4), generate


@inner_kernel
def _group(first, count, weights):
    """Arguments of _scale_group for a row, which are its pixels from starts[g] on for each group g.

    Returns:
        Whether they can be used: no pixel is made of more than two, and those of a group lie in one block.
        starts, sources: (G,) int64, the first output pixel, and the source pixel that the block begins with.
        places (G, 2, BLOCK) uint8, spread (G, 2, BLOCK) int32.
    """
    size = len(first)
    groups = -(-size // GROUP)
    starts, sources = np.empty(groups, np.int64), np.empty(groups, np.int64)
    places, spread = np.empty((groups, 2, BLOCK), np.uint8), np.empty((groups, 2, BLOCK), np.int32)
    if size < GROUP:
        return False, starts, sources, places, spread
    for g in range(groups):
        start = min(GROUP * g, size - GROUP)  # the last group may do some of the one before it again
        source = first[start]
        for o in range(start, start + GROUP):
            source = min(source, first[o])
        starts[g], sources[g] = start, source
        for j in range(GROUP):
            offset, taps = 3 * (first[start + j] - source), count[start + j]
            if taps > 2 or offset + 3 * taps > BLOCK:
                return False, starts, sources, places, spread
            for tap in range(2):
                weight = weights[start + j, tap] if tap < taps else np.int32(0)
                for i in range(4):
                    places[g, tap, 4 * j + i] = offset + 3 * tap + i
                    spread[g, tap, 4 * j + i] = weight
    return True, starts, sources, places, spread


@inner_kernel
def weigh(size, low, high, start, end, mirrored, first, count, weights):
    """Weights that scale the pixels between the edges `start` and `end` to `size` pixels.

    Args:
        size: number of output pixels.
        low, high: int, only source pixels low <= i < high take part.
        start, end: float32 edges, counted from 0 like low and high.
        mirrored: whether output pixel 0 is the last one.
        first, count: (size,) int64 out, the source pixels that output pixel o needs.
        weights: (size, K) int32 out, in units of 2**-PRECISION_BITS.
    """
    if end - start == size and start == np.floor(start):  # nothing to scale: each pixel is one of the source
        for p in range(size):
            o = size - 1 - p if mirrored else p
            first[o], count[o], weights[o, 0] = int(start) + p, 1, WHOLE
        return
    scale = np.float64(np.float32(end - start)) / size
    support = max(scale, 1.0)
    inverse = 1.0 / support
    for p in range(size):
        centre = start + (p + 0.5) * scale
        a = max(int(centre - support + 0.5), low)
        b = min(int(centre + support + 0.5), high)
        total = 0.0
        for i in range(a, b):
            total += max(0.0, 1.0 - abs((i - centre + 0.5) * inverse))
        o = size - 1 - p if mirrored else p
        for i in range(a, b):
            weight = max(0.0, 1.0 - abs((i - centre + 0.5) * inverse))
            if total != 0.0:
                weight /= total
            weights[o, i - a] = int(0.5 + weight * (1 << PRECISION_BITS))
        while b - a > 1 and weights[o, b - a - 1] == 0:  # a pixel that would add nothing
            b -= 1
        first[o] = a
        count[o] = b - a


@inner_kernel
def taps(size, start, end):
    """The most weights that an output pixel can have."""
    return int(np.ceil(max((end - start) / size, 1.0))) * 2 + 1


@inner_kernel
def scale_columns(source, top, left, first, count, weights, out, rows):
    """Scale to the width of out.

    Args:
        source: (H, W) bytes. Row r of out is made of row top + r; pixels count from `left`.
        out: (at least rows, 3 * S + PAD) uint8.
    """
    size = len(first)
    r = 0
    # Blocks, and the fourth byte of a pixel, may reach into the row below: the last row is left to the last loop.
    if SHUFFLE is not None and source.shape[1] >= BLOCK:
        usable, starts, sources, places, spread = _group(first, count, weights)
        while usable and r < rows and top + r + 1 < source.shape[0]:
            line, target = (
                source.ctypes.data + (top + r) * source.strides[0] + 3 * left,
                out.ctypes.data + r * out.strides[0],
            )
            for g in range(len(starts)):
                _scale_group(
                    line + 3 * sources[g],
                    places.ctypes.data + g * places.strides[0],
                    spread.ctypes.data + g * spread.strides[0],
                    target + 3 * starts[g],
                )
            r += 1
    while r + LANES <= rows and top + r + LANES < source.shape[0]:
        for o in range(size):
            _scale_pixel(
                source.ctypes.data + (top + r) * source.strides[0] + 3 * (left + first[o]),
                source.strides[0],
                weights.ctypes.data + o * weights.strides[0],
                count[o],
                out.ctypes.data + r * out.strides[0] + 3 * o,
                out.strides[0],
            )
        r += LANES
    while r < rows:
        line = source[top + r]
        for o in range(size):
            x = 3 * (left + first[o])
            red = green = blue = np.int32(HALF)
            for k in range(count[o]):
                weight = weights[o, k]
                red += weight * np.int32(line[x + 3 * k])
                green += weight * np.int32(line[x + 3 * k + 1])
                blue += weight * np.int32(line[x + 3 * k + 2])
            out[r, 3 * o] = red >> PRECISION_BITS
            out[r, 3 * o + 1] = green >> PRECISION_BITS
            out[r, 3 * o + 2] = blue >> PRECISION_BITS
        r += 1


@kernel
def scale_row(source, top, start, count, weights, out):
    """One row of the sum of `count` rows from `top` on, times their weights: out[i] from the bytes start + i."""
    # Numba multiplies 32-bit integers as 64-bit ones. What is cut to 32 bits at once is done in 32 bits, which is exact
    # here and several times as fast. Up to three rows, which all enlarging needs, are added in registers; the sums of
    # more go through memory.
    length = len(out)
    if count == 1:
        w0 = weights[0]
        a = source[top, start : start + length]
        for i in range(length):
            out[i] = np.uint32(HALF + w0 * np.int32(a[i])) >> PRECISION_BITS
    elif count == 2:
        w0, w1 = weights[0], weights[1]
        a, b = source[top, start : start + length], source[top + 1, start : start + length]
        for i in range(length):
            out[i] = np.uint32(HALF + w0 * np.int32(a[i]) + w1 * np.int32(b[i])) >> PRECISION_BITS
    elif count == 3:
        w0, w1, w2 = weights[0], weights[1], weights[2]
        a, b = source[top, start : start + length], source[top + 1, start : start + length]
        c = source[top + 2, start : start + length]
        for i in range(length):
            total = HALF + w0 * np.int32(a[i]) + w1 * np.int32(b[i]) + w2 * np.int32(c[i])
            out[i] = np.uint32(total) >> PRECISION_BITS
    else:
        sums = np.full(length, HALF, np.int32)
        for k in range(count):
            weight = weights[k]
            line = source[top + k, start : start + length]
            for i in range(length):
                sums[i] += weight * np.int32(line[i])
        for i in range(length):
            out[i] = np.uint32(sums[i]) >> PRECISION_BITS


@kernel
def scale_widths(source, box, window, flip, height, width):
    """All of the scaling but a last pass over rows, which can then be one with what follows it.

    Returns:
        image (rows, bytes) uint8, first, count (height,) and weights (height, K): row o of the scaled image is
        scale_row(image, first[o], start, count[o], weights[o], ...), and `start`, in bytes.
    """
    left, top, right, bottom = window
    # Pillow scales what crop() returned, so edges count from the window, which is also what float32 is kind to.
    x0, y0, x1, y1 = box[0] - left, box[1] - top, box[2] - left, box[3] - top
    y_first = np.empty(height, np.int64)
    y_count = np.empty(height, np.int64)
    y_weights = np.empty((height, taps(height, y0, y1)), np.int32)
    # Types, and not literals: each set of types, or literals, of a kernel is compiled on its own.
    weigh(height, 0, bottom - top, y0, y1, np.bool_(False), y_first, y_count, y_weights)
    rows, columns = bottom - top, right - left
    if x0 == np.floor(x0) and x1 - x0 == width and not flip:  # nothing to do along rows
        for o in range(height):
            y_first[o] += top
        return source, y_first, y_count, y_weights, 3 * (left + int(x0))

    x_first = np.empty(width, np.int64)
    x_count = np.empty(width, np.int64)
    x_weights = np.empty((width, taps(width, x0, x1)), np.int32)
    weigh(width, 0, columns, x0, x1, flip, x_first, x_count, x_weights)
    if rows > height and rows - height > 2 * (columns - width):  # Pillow's rule for the order of the two passes
        short = np.empty((height + 1, 3 * columns), np.uint8)  # a row more, so that the fast loop may do all of them
        for o in range(height):
            scale_row(source, top + y_first[o], 3 * left, y_count[o], y_weights[o], short[o])
        image = np.empty((height, 3 * width + PAD), np.uint8)
        scale_columns(short, np.int64(0), np.int64(0), x_first, x_count, x_weights, image, height)
        for o in range(height):
            y_first[o], y_count[o], y_weights[o, 0] = o, 1, WHOLE
        return image, y_first, y_count, y_weights, 0
    used = y_first[0]
    rows = y_first[height - 1] + y_count[height - 1] - used
    image = np.empty((rows, 3 * width + PAD), np.uint8)
    scale_columns(source, np.int64(top + used), np.int64(left), x_first, x_count, x_weights, image, rows)
    for o in range(height):
        y_first[o] -= used
    return image, y_first, y_count, y_weights, 0


@kernel
def resize(source, box, window, out):
    """See formwork.kernels.resize.resize."""
    height, width = out.shape[0], out.shape[1]
    flat = source.reshape(source.shape[0], source.shape[1] * 3)
    image, first, count, weights, start = scale_widths(flat, box, window, False, height, width)
    lines = out.reshape(height, 3 * width)
    for o in range(height):
        scale_row(image, first[o], start, count[o], weights[o], lines[o])
