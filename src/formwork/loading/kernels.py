"""Compiled kernels: from a sample's bytes in a beton to its pixels in a batch, without Python in between.

They are plain functions of arrays, cached on disk by numba, that release the interpreter's lock; threads run them on
parts of a batch. JPEGs are decoded by the libturbojpeg that ffcv is linked with.

The scaling is Pillow's antialiased bilinear one (`ImagingResample` in Pillow's src/libImaging/Resample.c), in the same
fixed-point arithmetic, so that both loaders give the same pixels to the last bit.
"""

import ctypes

import llvmlite.binding
import numpy as np
from numba import njit, types

from formwork.beton.format import RAW
from formwork.loading.quick import LIBRARY

# Sample status, in the order in which a sample is checked.
OK, OUTSIDE_FILE, UNKNOWN_MODE, WRONG_SIZE, BAD_JPEG = range(5)

RGB = 0  # TJPF_RGB
# TJFLAG_ACCURATEDCT: the integer DCT that Pillow uses; TJFLAG_STOPONWARNING: a damaged JPEG is an error.
DECODE_FLAGS = 4096 | 8192

PRECISION_BITS = 22  # Pillow: 32 - 8 - 2, so that weights times 8-bit pixels cannot overflow 32 bits
HALF = 1 << (PRECISION_BITS - 1)

_turbojpeg = ctypes.CDLL(LIBRARY)
for _name in ("tjInitDecompress", "tjDecompress2", "tjDestroy"):
    # By name and not by address: numba can cache on disk what calls a named symbol.
    llvmlite.binding.add_symbol(_name, ctypes.cast(getattr(_turbojpeg, _name), ctypes.c_void_p).value)
_init_decompress = types.ExternalFunction("tjInitDecompress", types.intp())
_destroy = types.ExternalFunction("tjDestroy", types.int32(types.intp))
_decompress = types.ExternalFunction(
    "tjDecompress2",
    types.int32(
        types.intp,
        types.intp,
        types.uint64,
        types.intp,
        types.int32,
        types.int32,
        types.int32,
        types.int32,
        types.int32,
    ),
)


@njit(nogil=True, cache=True)
def _weights(size, low, high, start, end, first, count, weights):
    """Weights that scale the pixels between the edges `start` and `end` to `size` pixels.

    Args:
        size: number of output pixels.
        low, high: int, only source pixels low <= i < high take part.
        start, end: float32 edges, counted from 0 like low and high.
        first, count: (size,) int64 out, the source pixels that output pixel o needs.
        weights: (size, K) int32 out, in units of 2**-PRECISION_BITS.
    """
    scale = np.float64(np.float32(end - start)) / size
    support = max(scale, 1.0)
    inverse = 1.0 / support
    for o in range(size):
        centre = start + (o + 0.5) * scale
        a = max(int(centre - support + 0.5), low)
        b = min(int(centre + support + 0.5), high)
        total = 0.0
        for i in range(a, b):
            total += max(0.0, 1.0 - abs((i - centre + 0.5) * inverse))
        for i in range(a, b):
            weight = max(0.0, 1.0 - abs((i - centre + 0.5) * inverse))
            if total != 0.0:
                weight /= total
            weights[o, i - a] = int(0.5 + weight * (1 << PRECISION_BITS))
        first[o] = a
        count[o] = b - a


@njit(nogil=True, cache=True)
def _taps(size, start, end):
    """The most weights that an output pixel can have."""
    return int(np.ceil(max((end - start) / size, 1.0))) * 2 + 1


@njit(nogil=True, cache=True)
def resize(source, box, window, out):
    """Scale a part of an image as PIL.Image.resize(size, BILINEAR, box) does, bit for bit.

    Args:
        source: (H, W, 3) uint8.
        box: (4,) float32 left, top, right, bottom, the part to scale.
        window: (4,) int32 left, top, right, bottom, the pixels that may take part; (0, 0, W, H) for resize(box=...),
            the box itself for crop(box).resize(...).
        out: (S, S, 3) uint8.
    """
    size = out.shape[0]
    left, top, right, bottom = window
    # Pillow scales what crop() returned, so edges count from the window, which is also what float32 is kind to.
    x0, y0, x1, y1 = box[0] - left, box[1] - top, box[2] - left, box[3] - top
    x_first = np.empty(size, np.int64)
    x_count = np.empty(size, np.int64)
    x_weights = np.empty((size, _taps(size, x0, x1)), np.int32)
    y_first = np.empty(size, np.int64)
    y_count = np.empty(size, np.int64)
    y_weights = np.empty((size, _taps(size, y0, y1)), np.int32)
    _weights(size, 0, right - left, x0, x1, x_first, x_count, x_weights)
    _weights(size, 0, bottom - top, y0, y1, y_first, y_count, y_weights)

    rows, columns = bottom - top, right - left
    if rows > size and rows - size > 2 * (columns - size):  # Pillow's rule for the order of the two passes
        narrow = np.empty((size, columns, 3), np.uint8)
        _scale_rows(source, top, left, y_first, y_count, y_weights, narrow)
        _scale_columns(narrow, 0, 0, x_first, x_count, x_weights, out)
    else:
        used = y_first[0]
        wide = np.empty((y_first[size - 1] + y_count[size - 1] - used, size, 3), np.uint8)
        _scale_columns(source, top + used, left, x_first, x_count, x_weights, wide)
        _scale_rows(wide, -used, 0, y_first, y_count, y_weights, out)


@njit(nogil=True, cache=True)
def _scale_columns(source, top, left, first, count, weights, out):
    """Scale (H, W, 3) uint8 to the width of out, (rows, S, 3) uint8; row r of out is top + r of source."""
    for r in range(out.shape[0]):
        line = source[top + r]
        for o in range(out.shape[1]):
            x = left + first[o]
            red = green = blue = np.int32(HALF)
            for k in range(count[o]):
                weight = weights[o, k]
                red += weight * np.int32(line[x + k, 0])
                green += weight * np.int32(line[x + k, 1])
                blue += weight * np.int32(line[x + k, 2])
            out[r, o, 0] = red >> PRECISION_BITS
            out[r, o, 1] = green >> PRECISION_BITS
            out[r, o, 2] = blue >> PRECISION_BITS


@njit(nogil=True, cache=True)
def _scale_rows(source, top, left, first, count, weights, out):
    """Scale (H, W, 3) uint8 to the height of out, (S, columns, 3) uint8; column x of out is left + x of source."""
    columns = out.shape[1]
    sums = np.empty((columns, 3), np.int32)
    for o in range(out.shape[0]):
        sums[:] = HALF
        for k in range(count[o]):
            weight = weights[o, k]
            line = source[top + first[o] + k]
            for x in range(columns):
                for c in range(3):
                    sums[x, c] += weight * np.int32(line[left + x, c])
        for x in range(columns):
            for c in range(3):
                out[o, x, c] = sums[x, c] >> PRECISION_BITS


@njit(nogil=True, cache=True)
def _place(image, shift, flip, table, out):
    """Shift, mirror and normalise an image: (S, S, 3) uint8 to (S, S, 3) float32, through table (256, 3) float32."""
    size = image.shape[0]
    for y in range(size):
        source_y = y + shift[0]
        for x in range(size):
            source_x = (size - 1 - x if flip else x) + shift[1]
            inside = 0 <= source_y < size and 0 <= source_x < size
            for c in range(3):
                value = image[source_y, source_x, c] if inside else np.uint8(0)
                out[y, x, c] = table[value, c]


@njit(nogil=True, cache=True)
def load(memory, offsets, sizes, modes, heights, widths, box, window, shift, flip, table, start, stop, out, status):
    """Decode and transform samples start <= i < stop of a batch; B samples, S the training resolution.

    Args:
        memory: (bytes,) uint8, the file or a part of it.
        offsets, sizes: (B,) int64, where each sample lies in memory.
        modes: (B,) uint8, 0 JPEG, 1 raw; heights, widths: (B,) int64 pixels.
        box, window, shift, flip: the formwork.loading.augment.Plan.
        table: (256, 3) float32, what each pixel value of each channel becomes.
        out: (B, S, S, 3) float32.
        status: (B,) uint8 out, OK or what is wrong with the sample, whose pixels are then undefined.
    """
    handle = _init_decompress()
    scaled = np.empty(out.shape[1:], np.uint8)
    decoded = np.empty(0, np.uint8)
    for i in range(start, stop):
        h, w = heights[i], widths[i]
        if offsets[i] < 0 or sizes[i] <= 0 or offsets[i] + sizes[i] > memory.size:
            status[i] = OUTSIDE_FILE
            continue
        if modes[i] > RAW:
            status[i] = UNKNOWN_MODE
            continue
        data = memory[offsets[i] : offsets[i] + sizes[i]]
        if modes[i] == RAW:
            if data.size != h * w * 3:
                status[i] = WRONG_SIZE
                continue
            image = data.reshape(h, w, 3)
        else:
            if decoded.size < h * w * 3:
                decoded = np.empty(h * w * 3, np.uint8)
            pixels = decoded[: h * w * 3]
            if _decompress(handle, data.ctypes.data, data.size, pixels.ctypes.data, w, 0, h, RGB, DECODE_FLAGS) != 0:
                status[i] = BAD_JPEG
                continue
            image = pixels.reshape(h, w, 3)
        resize(image, box[i], window[i], scaled)
        _place(scaled, shift[i], flip[i], table, out[i])
        status[i] = OK
    _destroy(handle)
