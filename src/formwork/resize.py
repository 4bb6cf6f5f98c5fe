"""Scaling images as Pillow does, bit for bit, and several times faster.

Pillow's antialiased bilinear scaling (`ImagingResample` in its src/libImaging/Resample.c) is two passes of weighted
sums in fixed-point arithmetic, each rounded to 8 bits. The sums are the same here, so the pixels are too; what differs
is that the processor adds many of them at once. A pass over columns would step through memory by pixels of three bytes:
it works on transposed blocks of rows, in which the bytes that share their weights lie side by side.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

PRECISION_BITS = 22  # Pillow: 32 - 8 - 2, so that weights times 8-bit pixels cannot overflow 32 bits
HALF = 1 << (PRECISION_BITS - 1)
ROWS = 64  # in a transposed block: a multiple of 8; a block of a wide image then fits the second-level cache


@njit(nogil=True, cache=True, error_model="numpy")
def resize(source, box, window, out):
    """Scale a part of an image as PIL.Image.resize(size, BILINEAR, box) does, bit for bit.

    Args:
        source: (H, W, 3) uint8, each row contiguous.
        box: (4,) float32 left, top, right, bottom, the part to scale.
        window: (4,) int32 left, top, right, bottom, the pixels that may take part; (0, 0, W, H) for resize(box=...),
            the box itself for crop(box).resize(...).
        out: (height, width, 3) uint8, each row contiguous.
    """
    height, width = out.shape[0], out.shape[1]
    left, top, right, bottom = window
    # Pillow scales what crop() returned, so edges count from the window, which is also what float32 is kind to.
    x0, y0, x1, y1 = box[0] - left, box[1] - top, box[2] - left, box[3] - top
    rows, columns = bottom - top, right - left
    x_first, x_taps, x_weights = _weights(width, columns, x0, x1)
    y_first, y_taps, y_weights = _weights(height, rows, y0, y1)
    if _rows_first(rows, columns, height, width):
        narrow = np.empty((height, columns, 3), np.uint8)
        _scale_rows(source, top, left, y_first, y_taps, y_weights, narrow)
        _scale_columns(narrow, 0, 0, x_first, x_taps, x_weights, out)
    else:
        used = y_first[0]
        wide = np.empty((y_first[height - 1] + y_taps[height - 1] - used, width, 3), np.uint8)
        _scale_columns(source, top + used, left, x_first, x_taps, x_weights, wide)
        _scale_rows(wide, -used, 0, y_first, y_taps, y_weights, out)


@njit(nogil=True, cache=True, error_model="numpy")
def _rows_first(rows, columns, height, width):
    """Pillow's rule for the order of the two passes."""
    return rows > height and rows - height > 2 * (columns - width)


@njit(nogil=True, cache=True, error_model="numpy")
def _weights(size, limit, start, end):
    """Weights that scale the pixels between the edges `start` and `end` to `size` pixels.

    Args:
        limit: source pixels 0 <= i < limit take part.
        start, end: float32 edges.

    Returns:
        first, taps: (size,) int64, output pixel o is made from source pixels first[o] <= i < first[o] + taps[o].
        weights: (size, K) int32, in units of 2**-PRECISION_BITS, zero after the last tap.
    """
    scale = np.float64(np.float32(end - start)) / size
    support = max(scale, 1.0)
    inverse = 1.0 / support
    most = int(np.ceil(support)) * 2 + 1
    first = np.empty(size, np.int64)
    taps = np.empty(size, np.int64)
    weights = np.zeros((size, max(most, 4)), np.int32)
    for o in range(size):
        centre = start + (o + 0.5) * scale
        a = max(int(centre - support + 0.5), 0)
        b = min(int(centre + support + 0.5), limit)
        total = 0.0
        for i in range(a, b):
            total += max(0.0, 1.0 - abs((i - centre + 0.5) * inverse))
        for i in range(a, b):
            weight = max(0.0, 1.0 - abs((i - centre + 0.5) * inverse))
            if total != 0.0:
                weight /= total
            weights[o, i - a] = int(0.5 + weight * (1 << PRECISION_BITS))
        first[o] = a
        taps[o] = b - a
    return first, taps, weights


@njit(nogil=True, cache=True, error_model="numpy")
def _scale_columns(source, top, left, first, taps, weights, out):
    """Scale (H, W, 3) uint8 to the width of out, (rows, width, 3) uint8; row r of out is top + r of source."""
    rows, width = out.shape[0], out.shape[1]
    low = first[0]
    columns = first[width - 1] + taps[width - 1] - low
    block = np.zeros((columns, 3 * ROWS), np.uint8)  # a line a pixel: the reds of ROWS rows, their greens, their blues
    scaled = np.empty((width, 3 * ROWS), np.uint8)
    sums = np.empty(3 * ROWS, np.int32)
    start = source.ctypes.data + 3 * (left + low)
    pitch = source.strides[0]
    for r in range(0, rows, ROWS):
        count = min(ROWS, rows - r)
        _transpose_in(start + (top + r) * pitch, pitch, count, 3 * columns, block)
        for o in range(width):
            _weigh(block, first[o] - low, taps[o], weights[o], sums, scaled[o])
        _transpose_out(scaled, out.ctypes.data + r * out.strides[0], out.strides[0], count, 3 * width)


@njit(nogil=True, cache=True, error_model="numpy")
def _scale_rows(source, top, left, first, taps, weights, out):
    """Scale (H, W, 3) uint8 to the height of out, (height, columns, 3) uint8; column x of out is left + x of source."""
    height, columns = out.shape[0], out.shape[1]
    # A slice rather than an offset to each index, of which numba would ask whether it is negative.
    lines = source.reshape(source.shape[0], 3 * source.shape[1])[:, 3 * left : 3 * (left + columns)]
    target = out.reshape(height, 3 * columns)
    sums = np.empty(3 * columns, np.int32)
    for o in range(height):
        _weigh(lines, top + first[o], taps[o], weights[o], sums, target[o])


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _weigh(lines, first, taps, weights, sums, out):
    """out[x] = the weighted sum of lines[first, x], lines[first + 1, x], ..., rounded to 8 bits.

    sums: int32 scratch of the length of out.
    """
    size = out.shape[0]
    if taps <= 2:
        second = first + taps - 1
        u, v = weights[0], weights[1]
        for x in range(size):
            total = u * np.int32(lines[first, x]) + v * np.int32(lines[second, x])
            out[x] = (total + np.int32(HALF)) >> PRECISION_BITS
    elif taps <= 4:
        second, third, fourth = first + 1, first + 2, first + taps - 1
        u, v, w, z = weights[0], weights[1], weights[2], weights[3]
        for x in range(size):
            total = u * np.int32(lines[first, x]) + v * np.int32(lines[second, x])
            total += w * np.int32(lines[third, x]) + z * np.int32(lines[fourth, x])
            out[x] = (total + np.int32(HALF)) >> PRECISION_BITS
    else:
        for x in range(size):
            sums[x] = HALF
        for k in range(taps):
            line, weight = first + k, weights[k]
            for x in range(size):
                sums[x] += weight * np.int32(lines[line, x])
        for x in range(size):
            out[x] = sums[x] >> PRECISION_BITS


@njit(nogil=True, cache=True, error_model="numpy")
def _transpose_in(start, pitch, rows, columns, block):
    """Byte x of row r, of `rows` rows from address `start`, goes to [x, r] of the block, taken as (columns, ROWS)."""
    to = block.ctypes.data
    for r in range(0, rows, 8):
        near = min(r, max(rows - 8, 0))  # the last eight rows overlap those before
        if rows < 8 or columns < 8:
            for y in range(near, min(near + 8, rows)):
                for x in range(columns):
                    _store8(to + x * ROWS + y, _load8(start + y * pitch + x))
            continue
        for x in range(0, columns, 8):
            x = min(x, columns - 8)
            _transpose_8x8(start + near * pitch + x, pitch, to + x * ROWS + near, ROWS)


@njit(nogil=True, cache=True, error_model="numpy")
def _transpose_out(block, start, pitch, rows, columns):
    """_transpose_in the other way round."""
    at = block.ctypes.data
    for r in range(0, rows, 8):
        near = min(r, max(rows - 8, 0))
        if rows < 8 or columns < 8:
            for y in range(near, min(near + 8, rows)):
                for x in range(columns):
                    _store8(start + y * pitch + x, _load8(at + x * ROWS + y))
            continue
        for x in range(0, columns, 8):
            x = min(x, columns - 8)
            _transpose_8x8(at + x * ROWS + near, ROWS, start + near * pitch + x, pitch)


@intrinsic
def _load64(typingctx, address):
    """The 8 bytes at an address, aligned or not, the first of them lowest."""
    return _memory_read(64)


@intrinsic
def _load8(typingctx, address):
    return _memory_read(8)


@intrinsic
def _store64(typingctx, address, value):
    return _memory_write(64, types.uint64)


@intrinsic
def _store8(typingctx, address, value):
    return _memory_write(8, types.uint8)


def _memory_read(bits):
    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
        return builder.load(pointer, align=1)

    return (types.uint64 if bits == 64 else types.uint8)(types.intp), generate


def _memory_write(bits, kind):
    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
        builder.store(arguments[1], pointer, align=1)
        return context.get_dummy_value()

    return types.none(types.intp, kind), generate


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _swap(a, b, shift, mask):
    """Exchange the bits of a above `shift`, and those of b below, that `mask` marks."""
    t = ((a >> shift) ^ b) & mask
    return a ^ (t << shift), b ^ t


@njit(nogil=True, cache=True, error_model="numpy")
def _transpose_8x8(at, at_pitch, to, to_pitch):
    """Transpose 8 x 8 bytes, in three rounds that exchange halves, quarters and single bytes of pairs of rows.

    After H. S. Warren, Hacker's Delight, 2nd edition, section 7-3.
    """
    a, b, c, d = _load64(at), _load64(at + at_pitch), _load64(at + 2 * at_pitch), _load64(at + 3 * at_pitch)
    at += 4 * at_pitch
    e, f, g, h = _load64(at), _load64(at + at_pitch), _load64(at + 2 * at_pitch), _load64(at + 3 * at_pitch)
    s, m = np.uint64(32), np.uint64(0x00000000FFFFFFFF)
    a, e = _swap(a, e, s, m)
    b, f = _swap(b, f, s, m)
    c, g = _swap(c, g, s, m)
    d, h = _swap(d, h, s, m)
    s, m = np.uint64(16), np.uint64(0x0000FFFF0000FFFF)
    a, c = _swap(a, c, s, m)
    b, d = _swap(b, d, s, m)
    e, g = _swap(e, g, s, m)
    f, h = _swap(f, h, s, m)
    s, m = np.uint64(8), np.uint64(0x00FF00FF00FF00FF)
    a, b = _swap(a, b, s, m)
    c, d = _swap(c, d, s, m)
    e, f = _swap(e, f, s, m)
    g, h = _swap(g, h, s, m)
    _store64(to, a)
    _store64(to + to_pitch, b)
    _store64(to + 2 * to_pitch, c)
    _store64(to + 3 * to_pitch, d)
    to += 4 * to_pitch
    _store64(to, e)
    _store64(to + to_pitch, f)
    _store64(to + 2 * to_pitch, g)
    _store64(to + 3 * to_pitch, h)
